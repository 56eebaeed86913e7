package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// secret is a credential that must never be seen in any output.
const secret = "bhf_sk_do-not-print-me"

// console runs command lines against a server.
type console struct {
	t   *testing.T
	env map[string]string
	in  string
}

// newConsole is a console with a server that handles everything with h. It sees
// no setting of the machine the test runs on.
func newConsole(t *testing.T, h http.HandlerFunc) *console {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return &console{t: t, env: map[string]string{
		"BEHALF_URL": server.URL, "BEHALF_TOKEN": secret, "BEHALF_CONFIG": filepath.Join(t.TempDir(), "behalf", "config.json"),
	}}
}

// answering is a server that always says the same.
func answering(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func (c *console) run(args ...string) (code int, out, errs string) {
	c.t.Helper()
	return c.runIn(c.t.Context(), args...)
}

func (c *console) runIn(ctx context.Context, args ...string) (code int, out, errs string) {
	c.t.Helper()
	var stdout, stderr bytes.Buffer
	code = run(ctx, args, strings.NewReader(c.in), &stdout, &stderr, func(name string) string { return c.env[name] })
	out, errs = stdout.String(), stderr.String()
	if strings.Contains(out+errs, secret) {
		c.t.Errorf("behalf %s prints the credential:\n%s%s", strings.Join(args, " "), out, errs)
	}
	return code, out, errs
}

// want runs a command line and compares its exit code and what it prints.
func (c *console) want(code int, out string, args ...string) {
	c.t.Helper()
	gotCode, gotOut, errs := c.run(args...)
	if gotCode != code || gotOut != out {
		c.t.Errorf("behalf %s: got %d and\n%s\nwant %d and\n%s\nwith the errors\n%s", strings.Join(args, " "), gotCode, gotOut, code, out, errs)
	}
}

// wantError runs a command line and compares its exit code and parts of what it
// complains of. It must print nothing else.
func (c *console) wantError(code int, parts []string, args ...string) {
	c.t.Helper()
	gotCode, out, errs := c.run(args...)
	if gotCode != code || out != "" {
		c.t.Errorf("behalf %s: got %d and %q, want %d and nothing\n%s", strings.Join(args, " "), gotCode, out, code, errs)
	}
	for _, part := range parts {
		if !strings.Contains(errs, part) {
			c.t.Errorf("behalf %s: got the error\n%s\nwant it to say %q", strings.Join(args, " "), errs, part)
		}
	}
}

const allowedPacket = `{"requestId":"req_1","agentId":"ollie","decision":"allowed","allowed":true,"reasonCode":"ALLOWED","reason":"allowed by permission perm_1",` +
	`"riskLevel":"low","permissionId":"perm_1","action":"purchase","vendor":"coachella.com","amount":"120.00","currency":"USD","passportVersion":7,` +
	`"position":"AAAAAAAJ","decidedAt":"2026-11-23T12:00:00.123Z","approvalRequired":false,"risk":"low"}`

func deniedPacket() string {
	return strings.NewReplacer(`"allowed","allowed":true`, `"denied","allowed":false`, `"ALLOWED"`, `"AMOUNT_EXCEEDS_LIMIT"`,
		"allowed by permission perm_1", "120.00 USD exceeds the limit of 50.00 USD").Replace(allowedPacket)
}

func TestVerifyExitsWithTheDecision(t *testing.T) {
	t.Parallel()
	verify := []string{"verify", "--action", "purchase", "--vendor", "coachella.com", "--amount", "120"}
	for name, c := range map[string]struct {
		status int
		body   string
		code   int
	}{
		"allowed":            {200, allowedPacket, 0},
		"denied":             {200, deniedPacket(), 1},
		"requires approval":  {200, strings.NewReplacer(`"allowed","allowed":true`, `"requires_approval","allowed":false`, `"approvalRequired":false`, `"approvalRequired":true`).Replace(allowedPacket), 2},
		"contradictory":      {200, strings.Replace(allowedPacket, `"decision":"allowed"`, `"decision":"denied"`, 1), 3},
		"unknown decision":   {200, strings.Replace(allowedPacket, `"decision":"allowed"`, `"decision":"yes"`, 1), 3},
		"another action":     {200, strings.Replace(allowedPacket, `"purchase"`, `"refund"`, 1), 3},
		"not JSON":           {200, "<html>", 3},
		"empty":              {200, "", 3},
		"unavailable":        {503, `{"allowed":false,"error":{"code":"UNAVAILABLE","message":"try again"}}`, 3},
		"a bad request":      {400, `{"error":{"code":"INVALID_REQUEST","message":"is negative","field":"/amount"}}`, 3},
		"a bad credential":   {401, `{"error":{"code":"UNAUTHENTICATED","message":"no"}}`, 3},
		"a used key":         {409, `{"error":{"code":"IDEMPOTENCY_KEY_REUSED","message":"no"}}`, 3},
		"too many":           {429, `{"error":{"code":"RATE_LIMITED","message":"wait"}}`, 3},
		"a redirect":         {302, "", 3},
		"created, not an OK": {201, allowedPacket, 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, output := range []string{"table", "json"} {
				code, _, errs := newConsole(t, answering(c.status, c.body)).run(append(verify, "-o", output)...)
				if code != c.code {
					t.Errorf("got the exit code %d, want %d\n%s", code, c.code, errs)
				}
				if c.code == 3 && !strings.HasPrefix(errs, "behalf: not allowed: ") {
					t.Errorf("got the error %q, want it to say first that nothing is allowed", errs)
				}
			}
		})
	}
}

func TestVerifyOfAnotherAgentFailsClosed(t *testing.T) {
	t.Parallel()
	c := newConsole(t, answering(200, allowedPacket))
	c.wantError(3, []string{`about the agent "ollie"`}, "verify", "--agent", "max", "--action", "purchase", "--vendor", "coachella.com")
}

func TestNoMistakeOnTheCommandLineLooksLikeADecision(t *testing.T) {
	t.Parallel()
	c := newConsole(t, func(_ http.ResponseWriter, r *http.Request) { t.Errorf("sent %s", r.URL) })
	for _, args := range [][]string{
		{"verify"},
		{"verify", "--action"},
		{"verify", "--bogus", "x"},
		{"verify", "purchase"},
		{"verify", "--action", "a", "--arguments", "{"},
		{"verify", "--action", "a", "--arguments", `{"a":1,"a":2}`},
		{"verify", "--action", "a", "--output", "yaml"},
		{"verify", "--action", "a", "--timeout", "0"},
		{"verify", "--action", "a", "--url", "localhost:8080"},
		{"--bogus", "x", "verify", "--action", "a"},
	} {
		c.wantError(3, []string{"behalf: not allowed: "}, args...)
	}
	c.env["BEHALF_TOKEN"] = ""
	c.wantError(3, []string{"BEHALF_TOKEN"}, "verify", "--action", "a")
}

func TestCommandsGiveUpInTime(t *testing.T) {
	t.Parallel()
	c := newConsole(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // so that the end of the connection is noticed
		<-r.Context().Done()
	})
	c.wantError(3, []string{"no whole answer", "within 30ms", "--timeout"}, "verify", "--action", "purchase", "--timeout", "30ms")
	if _, _, errs := c.run("preview", "--action", "a", "--timeout", "30ms"); strings.Contains(errs, "may have been made") {
		t.Errorf("got %q for a preview, which changes nothing", errs)
	}
	c.wantError(3, []string{"no whole answer", "may have been made"}, "permissions", "revoke", "x", "perm_1", "--timeout", "30ms")
}

func TestInterruptedIsNotAllowed(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	c := newConsole(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		cancel()
		<-r.Context().Done()
	})
	if code, _, errs := c.runIn(ctx, "verify", "--action", "purchase"); code != 3 || !strings.Contains(errs, "interrupted") {
		t.Errorf("got %d and %q, want 3, interrupted", code, errs)
	}
}

func TestWithoutAServer(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(nil)
	server.Close()
	c := newConsole(t, nil)
	c.env["BEHALF_URL"] = server.URL
	c.wantError(3, []string{"not allowed: no server answers at " + server.URL, "behalf serve", "BEHALF_URL"}, "verify", "--action", "a")
	c.wantError(3, []string{"behalf: no server answers at " + server.URL, "behalf serve"}, "agents", "list")
}

func TestExitCodesOfOtherCommands(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		status int
		body   string
		code   int
		says   []string
	}{
		{200, `{"agentId":"ollie"}`, 0, nil},
		{404, `{"error":{"code":"NOT_FOUND","message":"no agent ollie"}}`, 1, []string{"/v1/agents/ollie: no agent ollie (NOT_FOUND)"}},
		{401, `{"error":{"code":"UNAUTHENTICATED","message":"unknown"}}`, 1, []string{"is from BEHALF_TOKEN"}},
		{503, `{"error":{"code":"UNAVAILABLE","message":"starting"}}`, 3, []string{"starting"}},
		{404, `not found`, 3, []string{"404 Not Found", "is not one of a Behalf server's", "the address; it is from BEHALF_URL"}},
		{200, `{"agentId":`, 3, []string{"can't be read"}},
	} {
		console := newConsole(t, answering(c.status, c.body))
		if code, _, errs := console.run("agents", "show", "ollie"); code != c.code {
			t.Errorf("for %d %s: got the exit code %d, want %d\n%s", c.status, c.body, code, c.code, errs)
		}
		if c.says != nil {
			console.wantError(c.code, c.says, "agents", "show", "ollie")
		}
	}
	c := newConsole(t, nil)
	c.wantError(2, []string{`behalf agents has no command "lst"; did you mean list?`, "--help"}, "agents", "lst")
	c.wantError(2, []string{`behalf has no command "agnts"; did you mean agents?`}, "agnts")
	c.wantError(2, []string{"Usage:"}, "agents")
	c.wantError(2, []string{"Usage:"})
	c.wantError(2, []string{"behalf agents show needs AGENT"}, "agents", "show")
	c.wantError(2, []string{`"b" is too much`}, "agents", "show", "a", "b")
	c.wantError(2, []string{"unknown flag: --nme"}, "agents", "register", "--nme", "x")
	c.wantError(2, []string{"needs --name"}, "agents", "register")
}

func TestTables(t *testing.T) {
	t.Parallel()
	newConsole(t, answering(200, allowedPacket)).want(0, `ALLOWED: allowed by permission perm_1

Request     req_1
Agent       ollie
Action      purchase
Vendor      coachella.com
Amount      120.00 USD
Risk        low
Permission  perm_1
Passport    version 7
Decided     2026-11-23T12:00:00Z
Position    AAAAAAAJ
`, "verify", "--action", "purchase", "--vendor", "coachella.com", "--amount", "120")

	newConsole(t, answering(200, `{"agentId":"ollie","wouldBe":"denied","reasonCode":"VENDOR_NOT_ALLOWED","reason":"no","riskLevel":"low","action":"purchase",
		"permissionId":"perm_1","passportVersion":7,"evaluatedAt":"2026-11-23T12:00:00Z","left":[{"per":"day","most":"3","used":"1","left":"2","windowEndsAt":"2026-11-24T00:00:00Z"}],
		"agentLeft":[{"per":"total","currency":"USD","most":"9.00","used":"8.00","left":"1.00"}],"checks":[{"permissionId":"perm_1","rule":"action","passed":true},{"permissionId":"perm_1","rule":"vendor","passed":false,"detail":"not covered"}]}`)).want(0,
		`WOULD BE DENIED VENDOR_NOT_ALLOWED: no

Agent       ollie
Action      purchase
Risk        low
Permission  perm_1
Passport    version 7
Evaluated   2026-11-23T12:00:00Z

PERMISSION'S LIMIT  MOST  USED  LEFT  WINDOW ENDS
allows/day          3     1     2     2026-11-24T00:00:00Z

AGENT'S LIMIT  MOST  USED  LEFT  WINDOW ENDS
USD/total      9.00  8.00  1.00  -

CHECK   PASSED  PERMISSION  WHY NOT
action  yes     perm_1      
vendor  no      perm_1      not covered
`, "preview", "--agent", "ollie", "--action", "purchase")

	newConsole(t, answering(200, `{"agents":[{"agentId":"a","name":"Ann's\u001b[2J agent","type":"native","status":"active","hasKey":true,"passportVersion":3,"registeredAt":"2026-01-02T03:04:05Z"},
		{"agentId":"longer","name":"B","type":"connected","status":"disabled","hasKey":false,"passportVersion":12,"registeredAt":"2026-01-02T03:04:05Z"}],"nextCursor":"longer"}`)).want(0,
		`AGENT   NAME             TYPE       STATUS    KEY  PASSPORT  REGISTERED
a       Ann's�[2J agent  native     active    yes  3         2026-01-02T03:04:05Z
longer  B                connected  disabled  no   12        2026-01-02T03:04:05Z
`, "agents", "list", "--limit", "2")

	newConsole(t, answering(200, `{"agentId":"ollie","name":"Ollie","type":"native","status":"active","passportVersion":5,"permissions":[
		{"permissionId":"perm_1","status":"active","expiresAt":"2027-01-01T00:00:00Z","summary":"may purchase"},{"permissionId":"perm_2","status":"revoked","summary":"may refund"}]}`)).want(0,
		`Agent     ollie
Name      Ollie
Type      native
Status    active
Passport  version 5

PERMISSION  STATUS   EXPIRES               SUMMARY
perm_1      active   2027-01-01T00:00:00Z  may purchase
perm_2      revoked  -                     may refund
`, "passport")

	newConsole(t, answering(200, `{"permissionId":"perm_1","status":"active","passportVersion":5,"version":4,"action":"push","resource":"repo/*","maxAmount":"5.00","currency":"EUR",
		"context":{"branch":["main","dev"]},"timeWindows":[{"days":["mon","tue"],"from":"09:00","to":"17:00","timeZone":"Europe/Berlin"}],"summary":"may push","grantedAt":"2026-01-02T03:04:05Z"}`)).want(0,
		`Permission   perm_1
Status       active
Summary      may push
Action       push
Resource     repo/*
Max amount   5.00 EUR
Branch       main, dev
Time window  mon tue 09:00 to 17:00 Europe/Berlin
Granted      2026-01-02T03:04:05Z
Version      4
Passport     version 5
`, "permissions", "show", "ollie", "perm_1")

	for _, args := range [][]string{{"decisions"}, {"decisions", "list"}} {
		newConsole(t, answering(200, `{"decisions":[`+allowedPacket+`]}`)).want(0,
			`TIME                  DECISION  REASON   AGENT  ACTION    TARGET         AMOUNT      REQUEST
2026-11-23T12:00:00Z  allowed   ALLOWED  ollie  purchase  coachella.com  120.00 USD  req_1
`, args...)
	}
}

func TestJSONIsTheServersOwn(t *testing.T) {
	t.Parallel()
	body := `{"agentId":"ollie", "later": [1,  2], "name":"Ollie"}`
	newConsole(t, answering(200, body)).want(0, body+"\n", "agents", "show", "ollie", "--output", "json")
	newConsole(t, answering(204, "")).want(0, "", "members", "remove", "mem_1", "-o", "json")
	list := `{"agents":[{"agentId":"a"}],"nextCursor":"a"}`
	newConsole(t, answering(200, list)).want(0, list+"\n", "agents", "list", "--limit", "1000", "-o", "json")
}

func TestAKeyIsShownOnce(t *testing.T) {
	t.Parallel()
	made := `{"agentId":"ollie","apiKey":"bhf_sk_new","name":"Ollie","type":"native","status":"active","hasKey":true}`
	c := newConsole(t, answering(201, made))
	c.want(0, "bhf_sk_new\n", "agents", "register", "--id", "ollie", "--key-only")
	if _, out, _ := c.run("agents", "register", "--name", "Ollie"); !strings.Contains(out, "bhf_sk_new") || !strings.Contains(out, "not shown again") {
		t.Errorf("got %q, want the key and that it is not shown again", out)
	}
	keyless := newConsole(t, answering(201, `{"agentId":"ollie"}`))
	keyless.wantError(1, []string{"has no key", "--with-key"}, "agents", "register", "--name", "x", "--provider", "p", "--key-only")
	newConsole(t, answering(201, `{"memberId":"mem_1","token":"bhf_dev_new"}`)).want(0, "bhf_dev_new\n", "members", "add", "--name", "A", "--role", "VIEWER", "--token-only")
}

func TestGrantSendsFlagsOrAFile(t *testing.T) {
	t.Parallel()
	var sent string
	c := newConsole(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		sent = r.Method + " " + r.URL.Path + " " + r.Header.Get("If-Match") + " " + string(body)
		if r.Method == http.MethodPost {
			w.WriteHeader(http.StatusCreated)
		}
		_, _ = io.WriteString(w, "{}")
	})
	file := filepath.Join(t.TempDir(), "terms.json")
	if err := os.WriteFile(file, []byte(`{"action":"a","misspelt": 1.10}`), 0o600); err != nil {
		t.Fatal(err)
	}
	c.in = `{"action":"b"}`
	const grant, replace = "POST /v1/agents/x/permissions  ", `PUT /v1/agents/x/permissions/perm_1 "42" `
	for _, s := range []struct {
		args []string
		want string
	}{
		{
			[]string{"grant", "x", "--action", "purchase", "--vendor", "a.com", "--vendor", "b,c.com", "--max-amount", "500.00", "--currency", "USD", "--expires", "2027-01-01T00:00:00Z"},
			grant + `{"action":"purchase","vendors":["a.com","b,c.com"],"maxAmount":"500.00","currency":"USD","expiresAt":"2027-01-01T00:00:00Z"}`,
		},
		{
			[]string{"grant", "x", "--action", "push", "--resource", "r/*", "--branch", "main", "--denied-command", "rm -rf", "--expires", "2027-01-01"},
			grant + `{"action":"push","resource":["r/*"],"context":{"branch":["main"]},"deniedCommands":["rm -rf"],"expiresAt":"2027-01-01T00:00:00Z"}`,
		},
		{[]string{"grant", "x", "--file", file}, grant + `{"action":"a","misspelt":1.10}`},
		{[]string{"grant", "x", "-f", "-"}, grant + `{"action":"b"}`},
		{[]string{"replace", "x", "perm_1", "--action", "a", "--if-match", "42"}, replace + `{"action":"a"}`},
	} {
		if code, _, errs := c.run(append([]string{"permissions"}, s.args...)...); code != 0 || sent != s.want {
			t.Errorf("%v: got %d and\n%s\nwant\n%s\n%s", s.args, code, sent, s.want, errs)
		}
	}
	sent = ""
	c.wantError(2, []string{"--action", "--file"}, "permissions", "grant", "x", "--file", file, "--action", "a")
	c.wantError(2, []string{"say what to allow"}, "permissions", "grant", "x")
	c.wantError(2, []string{"no such file"}, "permissions", "grant", "x", "--file", file+"x")
	c.wantError(2, []string{"--expires", "30d"}, "permissions", "grant", "x", "--action", "a", "--expires", "soon")
	c.in = `{"action":"a","action":"b"}`
	c.wantError(2, []string{"standard input", "twice"}, "permissions", "grant", "x", "--file", "-")
	if sent != "" {
		t.Errorf("a wrong command line sent %s", sent)
	}
}

func TestMoments(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"90m": now.Add(90 * time.Minute), "30d": now.AddDate(0, 0, 30), "2027-01-01": time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC),
		"2027-01-01T01:00:00+01:00": time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC), "": {},
	} {
		if got, err := momentFlag("x", text, now, ahead); err != nil || !got.Equal(want) {
			t.Errorf("%q: got %s, %v; want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"0s", "-1h", "d", "1.5d", "9999999d", "tomorrow", "2027-13-01"} {
		if got, err := momentFlag("x", text, now, ahead); err == nil {
			t.Errorf("%q: got %s, want an error", text, got)
		}
	}
	if got, _ := momentFlag("x", "1h", now, back); !got.Equal(now.Add(-time.Hour)) {
		t.Errorf("an hour back: got %s", got)
	}
}

func TestListsGoThroughShortPages(t *testing.T) {
	t.Parallel()
	// The second page is empty and not the last.
	pages := map[string]string{"": `{"decisions":[` + allowedPacket + `],"nextCursor":"p2"}`, "p2": `{"decisions":[],"nextCursor":"p3"}`, "p3": `{"decisions":[` + allowedPacket + `],"nextCursor":"p4"}`, "p4": `{"decisions":[]}`}
	var limits []string
	c := newConsole(t, func(w http.ResponseWriter, r *http.Request) {
		limits = append(limits, r.URL.Query().Get("limit"))
		_, _ = io.WriteString(w, pages[r.URL.Query().Get("cursor")])
	})
	code, out, errs := c.run("decisions", "list", "--limit", "2")
	if code != 0 || strings.Count(out, "req_1") != 2 || strings.Count(out, "REQUEST") != 1 || !strings.Contains(errs, "--cursor p4") {
		t.Errorf("got %d\n%s%s\nwant two decisions and the cursor p4", code, out, errs)
	}
	if got, want := strings.Join(limits, " "), "2 1 1"; got != want {
		t.Errorf("got the limits %s, want %s", got, want)
	}
	if _, out, errs := c.run("decisions", "list", "--all"); strings.Count(out, "req_1") != 2 || errs != "" {
		t.Errorf("got\n%s%s\nwant two decisions", out, errs)
	}
	if _, out, _ := c.run("decisions", "list", "--all", "-o", "json"); strings.Count(out, "\n") != 4 {
		t.Errorf("got\n%s\nwant a page a line", out)
	}
	c.wantError(2, []string{"--outcome", "requires_approval"}, "decisions", "list", "--outcome", "yes")
	c.wantError(2, []string{"--since"}, "decisions", "list", "--since", "yesterday")
	c.wantError(2, []string{"--limit"}, "decisions", "list", "--limit", "0")
}

func TestTailFollowsUntilInterrupted(t *testing.T) {
	t.Parallel()
	for _, output := range []string{"table", "json"} {
		ctx, cancel := context.WithCancel(t.Context())
		c := newConsole(t, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, "\n"+allowedPacket+"\n\n"+deniedPacket()+"\n")
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		})
		out := &lineWatcher{want: 2, done: cancel}
		var errs bytes.Buffer
		code := run(ctx, []string{"decisions", "tail", "--since", "1h", "-o", output}, nil, out, &errs, func(name string) string { return c.env[name] })
		cancel()
		if code != 0 {
			t.Errorf("%s: got the exit code %d, want 0\n%s", output, code, errs.String())
		}
		want := fmt.Sprintf("%s\n%s\n", allowedPacket, deniedPacket())
		if got := out.String(); output == "json" && got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
		if got := out.String(); output == "table" && (!strings.Contains(got, "AMOUNT_EXCEEDS_LIMIT") || !strings.Contains(errs.String(), "DECISION")) {
			t.Errorf("got\n%s%s\nwant a head and rows", errs.String(), got)
		}
	}
	broken := newConsole(t, answering(200, allowedPacket+"\n"))
	if code, _, errs := broken.run("decisions", "tail"); code != 3 || !strings.Contains(errs, "the stream ended") {
		t.Errorf("got %d and %q, want 3, the stream ended", code, errs)
	}
}

func TestLoadRefusesWhatMakesNoSense(t *testing.T) {
	t.Parallel()
	c := newConsole(t, answering(http.StatusServiceUnavailable, `{"error":{"code":"UNAVAILABLE","message":"starting"}}`))
	c.wantError(2, []string{"--agents 0", "--target \"ftp\""}, "load", "--agents", "0", "--target", "ftp")
	c.wantError(2, []string{"--url"}, "load", "--url", "x")
	c.wantError(2, []string{"--revoke"}, "load", "--revoke", "--preview")
	c.wantError(3, []string{"starting"}, "load", "--agents", "1", "--permissions", "1")
	c.env["BEHALF_TOKEN"] = ""
	c.wantError(2, []string{"BEHALF_TOKEN"}, "load")
}

// lineWatcher calls done when it was written so many lines.
type lineWatcher struct {
	bytes.Buffer
	want int
	done func()
}

func (w *lineWatcher) Write(b []byte) (int, error) {
	if w.want -= bytes.Count(b, []byte("\n")); w.want == 0 {
		w.done()
	}
	return w.Buffer.Write(b)
}
