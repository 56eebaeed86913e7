package main

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// argumentsOfTest is the SHA-256 of {"a":[1.10,"x"],"b":null}.
const argumentsOfTest = "05ccebe47cba485884f7995dced5e44dbcb4e316d34114ca492e0242659f1052"

func TestApprovalTables(t *testing.T) {
	t.Parallel()
	var query string
	list := func(w http.ResponseWriter, r *http.Request) {
		query = r.URL.RawQuery
		opened := time.Now().Add(-3*time.Minute - time.Second).UTC().Format(time.RFC3339)
		expires := time.Now().Add(23*time.Hour + time.Minute).UTC().Format(time.RFC3339)
		_, _ = io.WriteString(w, `{"approvals":[
			{"approvalId":"apr_2","state":"pending","agentId":"ollie","action":"shell","command":"make a very long command that would make the table wide","quorum":3,"saidYes":1,"openedAt":"`+opened+`","expiresAt":"`+expires+`"},
			{"approvalId":"apr_1","state":"denied","agentId":"max","action":"purchase","vendor":"a.com","amount":"5.00","currency":"EUR","quorum":1,"openedAt":"`+opened+`","expiresAt":"`+expires+`"}]}`)
	}
	c := newConsole(t, list)
	c.want(0, `APPROVAL  STATE        AGENT  ACTION    TARGET                                    AMOUNT    AGE  EXPIRES IN
apr_2     pending 1/3  ollie  shell     make a very long command that would mak…  -         3m   23h
apr_1     denied       max    purchase  a.com                                     5.00 EUR  3m   -
`, "approvals", "list")
	for _, q := range []struct {
		args []string
		want string
	}{
		{nil, "limit=50&state=pending"},
		{[]string{"--state", "approved", "--agent", "x", "--permission", "perm_1"}, "agentId=x&limit=50&permissionId=perm_1&state=approved"},
		{[]string{"--state", "any"}, "limit=50"},
		{[]string{"--all"}, "limit=500"},
		{[]string{"--all", "--state", "denied"}, "limit=500&state=denied"},
	} {
		if code, _, errs := c.run(append([]string{"approvals", "list"}, q.args...)...); code != 0 || query != q.want {
			t.Errorf("%v: got %d, %s; want %s\n%s", q.args, code, query, q.want, errs)
		}
	}
	c.wantError(2, []string{`--state "open" is unknown`, "pending, approved, used, denied, expired, cancelled or any"}, "approvals", "list", "--state", "open")
	if _, _, errs := newConsole(t, answering(200, `{"approvals":[]}`)).run("approvals", "list"); !strings.Contains(errs, "Nothing is pending") {
		t.Errorf("got %q, want that nothing is pending", errs)
	}
}

func TestApprovalsShowWhatAReviewerNeeds(t *testing.T) {
	t.Parallel()
	c := newConsole(t, answering(200, approvalIn("pending")))
	code, out, errs := c.run("approvals", "show", "apr_1")
	want := `PENDING: ollie asks to purchase

Approval     apr_1
Agent        ollie (Ollie's` + "\uFFFD" + `[2J agent)
Action       purchase
Vendor       coachella.com
Amount       120.00 USD
Branch       main
Arguments    sha256 ` + argumentsOfTest + ` (compare a file with --arguments)
Risk         medium
Needs        2 people's yes by ADMIN or higher, 1 given
Opened       2026-11-23T12:00:00Z (X ago)
Waits until  2999-11-24T12:00:00Z (in X)
Comment      too much
Request      req_1
Permission   perm_1
Digest       d1

APPROVED BY  AT                    OWN AGENT  COMMENT
mem_1        2026-11-23T12:01:00Z  no         fine
`
	if got := withoutSpans(out); code != 0 || got != want {
		t.Errorf("got %d\n%s\nwant\n%s\n%s", code, got, want, errs)
	}
	c.want(0, approvalIn("pending")+"\n", "approvals", "show", "apr_1", "-o", "json")
}

// withoutSpans is text with each length of time that depends on the clock
// replaced by an X.
func withoutSpans(text string) string {
	lines := strings.SplitAfter(text, "\n")
	for i, line := range lines {
		before, rest, ok := strings.Cut(line, "Z (")
		if !ok {
			continue
		}
		if strings.HasPrefix(rest, "in ") {
			lines[i] = before + "Z (in X)\n"
		} else {
			lines[i] = before + "Z (X ago)\n"
		}
	}
	return strings.Join(lines, "")
}

func TestApprovalsCompareArguments(t *testing.T) {
	t.Parallel()
	write := func(text string) string {
		path := filepath.Join(t.TempDir(), "arguments.json")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	c := newConsole(t, answering(200, approvalIn("pending")))
	code, _, errs := c.run("approvals", "show", "apr_1", "--arguments", write("{ \"b\": null,\n\"a\": [1.10, \"\\u0078\"] }\n"))
	if code != 0 || !strings.Contains(errs, "holds the arguments that are asked for") {
		t.Errorf("got %d\n%s\nwant the arguments to match", code, errs)
	}
	c.in = `{"b":null,"a":[1.10,"x"]}`
	if code, _, errs := c.run("approvals", "show", "apr_1", "--arguments", "-"); code != 0 {
		t.Errorf("got %d\n%s\nwant the arguments on standard input to match", code, errs)
	}
	for _, text := range []string{`{"a":[1.1,"x"],"b":null}`, `{"a":[1.10,"x "],"b":null}`, `{"a":[1.10,"x"]}`, `[]`} {
		code, out, errs := c.run("approvals", "show", "apr_1", "--arguments", write(text))
		if code != 1 || !strings.Contains(out, "apr_1") || !strings.Contains(errs, "does not hold the arguments") || !strings.Contains(errs, argumentsOfTest) {
			t.Errorf("%s: got %d\n%s\nwant 1, and both digests", text, code, errs)
		}
	}
	none := newConsole(t, answering(200, strings.Replace(approvalIn("pending"), `"argumentsDigest"`, `"x"`, 1)))
	if code, _, errs := none.run("approvals", "show", "apr_1", "--arguments", write(`{}`)); code != 1 || !strings.Contains(errs, "has no arguments") {
		t.Errorf("got %d\n%s\nwant 1, and that there are none", code, errs)
	}
	c.wantError(2, []string{"not one JSON value"}, "approvals", "show", "apr_1", "--arguments", write(`{"a":1,"a":2}`))
	c.wantError(2, []string{"null is as good as none"}, "approvals", "show", "apr_1", "--arguments", write(`null`))
	c.wantError(2, []string{"read the arguments", "no such file"}, "approvals", "show", "apr_1", "--arguments", "/nowhere/x")
}

func TestApprovalsAreAnswered(t *testing.T) {
	t.Parallel()
	var sent string
	c := newConsole(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		sent = r.Method + " " + r.URL.Path + " " + string(body)
		_, _ = io.WriteString(w, approvalIn("pending"))
	})
	for _, a := range []struct {
		args []string
		want string
	}{
		{[]string{"approve", "apr_1"}, "POST /v1/approvals/apr_1/approve {}"},
		{[]string{"approve", "apr_1", "--comment", "go on"}, `POST /v1/approvals/apr_1/approve {"comment":"go on"}`},
		{[]string{"deny", "apr_1", "--comment", "no"}, `POST /v1/approvals/apr_1/deny {"comment":"no"}`},
		{[]string{"withdraw", "apr_1"}, "POST /v1/approvals/apr_1/cancel {}"},
	} {
		code, out, errs := c.run(append([]string{"approvals"}, a.args...)...)
		if code != 0 || sent != a.want || !strings.HasPrefix(out, "PENDING: ") {
			t.Errorf("%v: got %d, %s\n%s%s\nwant %s", a.args, code, sent, out, errs, a.want)
		}
		if !strings.Contains(errs, "Recorded. It needs 2 people's yes by ADMIN or higher, 1 given.") {
			t.Errorf("%v: got the note %q, want how many have to", a.args, errs)
		}
	}
	refused := newConsole(t, answering(409, `{"error":{"code":"CONFLICT","message":"approval apr_1 is used and can't be approved"}}`))
	refused.wantError(1, []string{"is used and can't be approved"}, "approvals", "approve", "apr_1")
	c.wantError(2, []string{"needs APPROVAL"}, "approvals", "approve")
}
