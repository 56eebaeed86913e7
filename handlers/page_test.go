package handlers_test

import (
	"flag"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/behalf-platform/behalf/handlers/httpapi"
)

// rewrite has golden pages and texts written anew: go test ./handlers -rewrite
var rewrite = flag.Bool("rewrite", false, "write the golden pages and texts anew")

// nasty are what people could write to break out of a page, or of a text.
const nasty = `</p><script>alert(1)</script><img src=x onerror=alert(1)> \"'><b> {{.}} javascript:alert(1)`

// passports are the ones that pages and texts are shown of.
var passports = []struct {
	name, agent string
	permissions []string
	disable     bool
}{
	{name: "full", agent: `{"agentId":"ollie","name":"Ollie","type":"connected","provider":"openai"}`, permissions: []string{
		`{"action":"purchase","vendors":["*.ticketmaster.com","coachella.com"],"maxAmount":"500.00","currency":"USD","requiresApproval":"200.00","approval":{"quorum":2},
		  "budgets":[{"amount":"1500.00","currency":"USD","per":"month","timeZone":"Europe/Berlin"}],"rates":[{"count":5,"per":"day"}],
		  "timeWindows":[{"days":["mon","fri"],"from":"08:00","to":"20:00","timeZone":"Europe/Berlin"}],"expiresAt":"2027-06-01T00:00:00Z",
		  "description":"Tickets for the team\n\n## Allowed\n- everything","notes":"never shown"}`,
		`{"allowedActions":["repo:push","shell.run"],"blockedActions":["repo:force_push","deploy"],"resource":["github.com/acme/**"],
		  "paths":["/work/repo"],"deniedPaths":["/work/repo/.env"],"deniedCommands":["rm -rf","git push --force"],
		  "context":{"branch":["main","feature/*"],"environment":"development","repository":"acme/site"},"requiresApproval":true}`,
		`{"action":"calendar.read","notBefore":"2027-01-01T00:00:00Z"}`,
		`{"blockedActions":["payout"]}`,
	}},
	{name: "nasty", agent: `{"agentId":"ollie","name":"` + nasty + `"}`, permissions: []string{
		`{"action":"purchase","resource":["<script>alert(1)</script>"],"description":"` + nasty + `","deniedCommands":["echo '<script>'"],
		  "context":{"branch":"<img src=x onerror=alert(1)>"}}`,
	}},
	{name: "disabled", agent: `{"agentId":"ollie","name":"Ollie"}`, permissions: []string{`{"action":"purchase"}`}, disable: true},
	{name: "expired", agent: `{"agentId":"ollie","name":"Ollie"}`, permissions: []string{`{"action":"purchase","expiresAt":"2000-01-01T00:01:00Z"}`}},
	{name: "early", agent: `{"agentId":"ollie","name":"Ollie"}`, permissions: []string{`{"action":"purchase","notBefore":"2027-01-01T00:00:00Z"}`}},
	{name: "empty", agent: `{"agentId":"ollie","name":"Ollie"}`},
}

func (w *web) passport(token string, i int) (id, pass string) {
	w.t.Helper()
	p := passports[i]
	w.must(201, "POST", "/v1/agents", token, p.agent)
	for _, terms := range p.permissions {
		w.must(201, "POST", "/v1/agents/ollie/permissions", token, terms)
	}
	w.must(200, "PUT", "/v1/agents/ollie/limits", token, `{"budgets":[{"amount":"2000","currency":"USD","per":"week"}]}`)
	if p.disable {
		w.must(200, "POST", "/v1/agents/ollie/disable", token, "")
	}
	return w.linkTo(token, "ollie", `{"expiresIn":"1h"}`)
}

func TestPagesAndTextsAreAsTheyWere(t *testing.T) {
	for i, p := range passports {
		t.Run(p.name, func(t *testing.T) {
			lie(t, func(t *testing.T, b *bed) {
				w := b.node().web(t)
				id, pass := w.passport(b.token, i)
				time.Sleep(2 * time.Minute) // past what expires
				status, page, _ := w.page(id, pass, nil)
				if status != 200 {
					t.Fatalf("got %d %s, want 200", status, page)
				}
				golden(t, p.name+".html", page)
				for _, kind := range []string{"memory", "task"} {
					text := w.must(200, "GET", "/v1/agents/ollie/text?kind="+kind, b.token, "").body["text"].(string)
					golden(t, p.name+"."+kind+".md", text)
				}
				for _, secret := range []string{"never shown", "bhf_", pass} {
					if strings.Contains(strings.ReplaceAll(page, "bhf_pass_…", ""), secret) {
						t.Errorf("the page has %q", secret)
					}
				}
			})
		})
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", "pages", name)
	if *rewrite {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil || got != string(want) {
		t.Errorf("%s: %v; got\n%s\nwant what is in the file; if it is right, write it with -rewrite", name, err, got)
	}
}

// What people wrote must not be part of a page: not one tag, handler or address
// in it may be theirs.
func TestNothingThatPeopleWriteIsMarkup(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		w := b.node().web(t)
		id, pass := w.passport(b.token, 1)
		bad := strings.ReplaceAll(nasty, `\"`, `"`)
		form := url.Values{}
		for _, name := range []string{"vendor", "resource", "amount", "currency", "path", "command", "cwd", "branch", "environment", "repository"} {
			form.Set(name, bad)
		}
		pages := map[string]string{}
		_, pages["the passport"], _ = w.page(id, pass, nil)
		for _, action := range []string{bad, "purchase", ""} {
			form.Set("action", action)
			_, pages["a preview of "+action], _ = w.page(id, pass, form)
		}
		form.Set("token", pass)
		_, pages["a preview without a script"], _ = w.page(id, "", form)
		_, pages["a token of markup"], _ = w.page(id, "", url.Values{"token": {bad}})
		_, pages["a field of markup"], _ = w.page(id, pass, url.Values{bad: {bad}})
		_, pages["a link of markup"], _ = w.page(url.PathEscape(bad), pass, nil)
		for name, page := range pages {
			for _, fault := range foreignMarkup(t, page) {
				t.Errorf("%s: has %s", name, fault)
			}
		}
		if !strings.Contains(pages["the passport"], "&lt;script&gt;alert(1)&lt;/script&gt;") {
			t.Error("the name is not shown as it was written")
		}
	})
}

// foreignMarkup is what is in a page beside what its template writes.
func foreignMarkup(t *testing.T, page string) (faults []string) {
	t.Helper()
	tags := strings.Fields("html head meta title link script body main header p h1 h2 h3 code span section article div dl dt dd ul li progress form input label button details summary footer")
	names := strings.Fields("lang charset name content rel href src defer class aria-labelledby aria-label id max value type autocomplete autocapitalize spellcheck placeholder required method role tabindex open")
	root, err := html.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	for n := range root.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		own := map[string]string{}
		for _, a := range n.Attr {
			own[a.Key] = a.Val
			if !slices.Contains(names, a.Key) {
				faults = append(faults, "<"+n.Data+"> with "+a.Key)
			}
		}
		at := own["src"] + own["href"]
		known := n.Data == "script" && at == "page.js" || n.Data == "link" && (at == "page.css" || at == "data:,") || at == ""
		if !slices.Contains(tags, n.Data) || !known || n.Data == "script" && n.FirstChild != nil {
			faults = append(faults, "<"+n.Data+"> of "+at)
		}
	}
	return faults
}

func TestThePageWorksWithoutAScript(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		w := b.node().web(t)
		id, pass := w.passport(b.token, 0)
		_, shell, _ := w.shell("/p/" + id)
		if !strings.Contains(shell, `<form id="open" method="post">`) || strings.Contains(shell, "Ollie") {
			t.Errorf("got %s, want a form that opens it, and nothing of the passport", shell)
		}
		for _, given := range []string{pass, " " + pass, "https://behalf.example.com/p/" + id + "#" + pass} {
			status, page, _ := w.page(id, "", url.Values{"token": {given}})
			if status != 200 || !strings.Contains(page, `<input type="hidden" name="token" value="`+pass+`">`) {
				t.Errorf("got %d %s, want the passport, and the token for its next form", status, page)
			}
		}
		records := b.records()
		for name, c := range map[string]struct {
			form url.Values
			want []string
		}{
			"allowed":                {url.Values{"action": {"purchase"}, "vendor": {"coachella.com"}, "amount": {"20"}, "currency": {"USD"}}, []string{"OUTSIDE_TIME_WINDOW"}},
			"denied":                 {url.Values{"action": {"purchase"}, "vendor": {"evil.example.com"}, "amount": {"20"}}, []string{"It would be denied.", `value="evil.example.com"`}},
			"blocked":                {url.Values{"action": {"payout"}}, []string{"It would be denied.", "ACTION_BLOCKED"}},
			"asks":                   {url.Values{"action": {"shell.run"}, "resource": {"github.com/acme/x"}, "path": {"/work/repo/x"}, "command": {"ls"}, "branch": {"main"}, "environment": {"development"}, "repository": {"acme/site"}, "amount": {"0"}}, []string{"A person would be asked.", "<details open>"}},
			"an action that is none": {url.Values{"action": {"?"}}, []string{"action ", `class="notice"`}},
			"an amount that is none": {url.Values{"action": {"purchase"}, "amount": {"ten"}}, []string{"amount ", `class="notice"`}},
		} {
			c.form.Set("token", pass)
			status, page, _ := w.page(id, "", c.form)
			for _, want := range c.want {
				if status != 200 || !strings.Contains(page, want) {
					t.Errorf("%s: got %d %s, want %q in it", name, status, page, want)
				}
			}
		}
		if b.records() != records {
			t.Error("a preview was recorded")
		}
	})
}

func TestPagesKeepToThemselves(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		w := b.node().web(t)
		id, pass := w.passport(b.token, 0)
		headers := map[string]http.Header{}
		_, _, headers["a passport"] = w.page(id, pass, nil)
		_, _, headers["a refusal"] = w.page(id, "bhf_pass_wrong", nil)
		for _, path := range []string{"/p/" + id, "/p/page.js", "/p/page.css"} {
			status, body, header := w.shell(path)
			if status != 200 || body == "" {
				t.Errorf("%s: got %d, want it served", path, status)
			}
			headers[path] = header
		}
		for name, h := range headers {
			csp := h.Get("Content-Security-Policy")
			for _, want := range []string{"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"} {
				if !strings.Contains(csp, want) {
					t.Errorf("%s: got the policy %q, want %s", name, csp, want)
				}
			}
			if strings.Contains(csp, "unsafe") || h.Get("Referrer-Policy") != "no-referrer" || h.Get("Cache-Control") != "no-store" || h.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("%s: got %v, want it kept by nobody and told to nobody", name, h)
			}
		}
		// A token in a query would be in logs.
		r := httptest.NewRequest("POST", "/p/"+id+"?token="+pass, nil)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		recorder := httptest.NewRecorder()
		w.api.ServeHTTP(recorder, r)
		if recorder.Code != 401 {
			t.Errorf("got %d for a token in the query, want 401", recorder.Code)
		}
		for _, form := range []url.Values{{"token": {pass, pass}}, {"more": {"1"}}, {"action": {strings.Repeat("x", 50<<10)}}} {
			if status, _, _ := w.page(id, pass, form); status != 400 && status != 413 {
				t.Errorf("got %d, want the form refused", status)
			}
		}
		if len(httpapi.Pages()) != 4 {
			t.Error("a page that no test looks at")
		}
	})
}

// shell reads what a browser gets before it has sent a token.
func (w *web) shell(path string) (int, string, http.Header) {
	w.t.Helper()
	recorder := httptest.NewRecorder()
	w.api.ServeHTTP(recorder, httptest.NewRequest("GET", path, nil))
	return recorder.Code, recorder.Body.String(), recorder.Header()
}
