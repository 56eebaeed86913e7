package handlers_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers"
)

// linkTo makes a link to an agent's passport, and returns its id and token.
func (w *web) linkTo(token, agent, body string) (id, pass string) {
	w.t.Helper()
	made := w.must(201, "POST", "/v1/agents/"+agent+"/links", token, body).body
	synctest.Wait() // all nodes know of it
	return made["linkId"].(string), made["token"].(string)
}

// page sends a page's form as a browser does, with or without the script.
func (w *web) page(id, pass string, form url.Values) (int, string, http.Header) {
	w.t.Helper()
	r := httptest.NewRequest("POST", "/p/"+id, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if pass != "" {
		r.Header.Set("Authorization", "Bearer "+pass)
	}
	recorder := httptest.NewRecorder()
	w.api.ServeHTTP(recorder, r)
	return recorder.Code, recorder.Body.String(), recorder.Header()
}

func TestALinkReadsOnePassportAndPreviews(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		n := b.node()
		w := n.web(t)
		w.register(b.token, "ollie")
		w.register(b.token, "dora")
		w.must(201, "POST", "/v1/agents/ollie/permissions", b.token, strings.Replace(example, "{", `{"notes":"for us alone",`, 1))
		before := w.must(200, "GET", "/v1/agents/ollie", b.token, "").body["passportVersion"]
		made := w.must(201, "POST", "/v1/agents/ollie/links", b.token, `{"label":"travel","expiresIn":"1h"}`)
		id, pass := made.body["linkId"].(string), made.body["token"].(string)
		if want := "http://example.com/p/" + id + "#" + pass; made.body["url"] != want || !strings.Contains(made.body["text"].(string), want) {
			t.Errorf("got %v, want the URL %s, in the text too", made.body, want)
		}
		for _, want := range []string{"Version ", " UTC, state: ", "good until ", "GET http://example.com/v1/passport ", "Authorization: Bearer"} {
			if text := made.body["text"].(string); !strings.Contains(text, want) {
				t.Errorf("got the text %s, want %q in it", text, want)
			}
		}
		if after := w.must(200, "GET", "/v1/agents/ollie", b.token, "").body["passportVersion"]; after != before {
			t.Errorf("got version %v, want it still at %v", after, before)
		}
		other := b.node().web(t)
		read := other.must(200, "GET", "/v1/passport", pass, "")
		if read.body["agentId"] != "ollie" || strings.Contains(read.text, "for us alone") {
			t.Errorf("got %s, want ollie's passport without notes", read.text)
		}
		if got := other.must(200, "POST", "/v1/preview", pass, `{"action":"purchase","vendor":"coachella.com","amount":742}`).body; got["wouldBe"] != "denied" || got["reasonCode"] != "AMOUNT_EXCEEDS_LIMIT" {
			t.Errorf("got %v, want it denied for its amount", got)
		}
		for _, c := range []struct {
			status             int
			method, path, body string
		}{
			{401, "POST", "/v1/verify", `{"action":"purchase"}`},
			{401, "POST", "/api/verify", `{"action":"purchase"}`},
			{401, "POST", "/v1/preview", `{"action":"purchase","agentId":"dora"}`},
			{400, "POST", "/v1/preview?at=1", `{"action":"purchase"}`},
			{401, "GET", "/v1/me", ""},
			{401, "GET", "/v1/decisions", ""},
			{401, "GET", "/v1/approvals", ""},
			{401, "GET", "/v1/events", ""},
			{401, "GET", "/v1/agents/ollie/passport", ""},
			{401, "GET", "/v1/agents/ollie/links", ""},
			{401, "POST", "/v1/agents/ollie/links", "{}"},
			{401, "GET", "/v1/agents/ollie/text?kind=task", ""},
			{401, "GET", "/v1/account", ""},
			{401, "GET", "/v1/webhooks", ""},
		} {
			w.must(c.status, c.method, c.path, pass, c.body)
		}
		if _, err := n.Admit(t.Context(), "", "Bearer "+pass); !errors.Is(err, handlers.ErrCredential) {
			t.Errorf("got %v, want the token to be no credential where every surface asks", err)
		}
		if _, err := n.Identify(t.Context(), domain.HashToken(pass)); !errors.Is(err, handlers.ErrCredential) {
			t.Errorf("got %v, want the token to be nobody's where NATS asks", err)
		}
	})
}

func TestALinkThatIsNotGoodShowsOneThing(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		w, other := b.node().web(t), b.node().web(t)
		key := w.register(b.token, "ollie")
		id, pass := w.linkTo(b.token, "ollie", `{}`)
		first, gone := w.linkTo(b.token, "ollie", `{}`)
		w.must(200, "POST", "/v1/agents/ollie/links/"+first+"/revoke", b.token, "")
		brief, over := w.linkTo(b.token, "ollie", `{"expiresIn":"1m"}`)
		if status, _, _ := other.page(brief, over, nil); status != 200 {
			t.Fatalf("got %d, want it good for a minute", status)
		}
		time.Sleep(time.Minute)
		_, want, _ := other.page(id, "bhf_pass_unknown", nil)
		for name, c := range map[string]struct{ id, pass string }{
			"revoked on another node": {first, gone},
			"expired":                 {brief, over},
			"of another link":         {first, pass},
			"of a link nobody made":   {"lnk_x", pass},
			"none":                    {id, ""},
			"an agent's key":          {id, key},
			"a member's token":        {id, b.token},
			"with something before":   {id, "x" + pass},
			"cut short":               {id, pass[:len(pass)-1]},
		} {
			status, got, header := other.page(c.id, c.pass, nil)
			if status != 401 || got != want || header.Get("WWW-Authenticate") != "" {
				t.Errorf("%s: got %d %s, want 401 and what every other one gets", name, status, got)
			}
			if c.pass == pass || strings.HasPrefix(c.pass, "bhf_dev_") || strings.HasPrefix(c.pass, "bhf_sk_") {
				continue // good elsewhere
			}
			if r := other.do("GET", "/v1/passport", c.pass, ""); r.status != 401 {
				t.Errorf("%s: got %d %s from the API, want 401", name, r.status, r.text)
			}
		}
		if strings.Contains(want, "ollie") {
			t.Errorf("got %s, want nothing of the agent", want)
		}
	})
}

func TestVisitsAreCountedOnce(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		one, two := b.node().web(t), b.node().web(t)
		one.register(b.token, "ollie")
		id, pass := one.linkTo(b.token, "ollie", `{}`)
		for _, w := range []*web{one, two, two} {
			if status, _, _ := w.page(id, pass, nil); status != 200 {
				t.Fatalf("got %d, want 200", status)
			}
		}
		one.must(200, "GET", "/v1/passport", pass, "")
		// Neither the shell, nor a preview, nor what is refused is a visit.
		one.page(id, pass, url.Values{"action": {"purchase"}})
		one.must(200, "POST", "/v1/preview", pass, `{"action":"purchase"}`)
		one.page(id, "bhf_pass_wrong", nil)
		records := b.records()
		time.Sleep(2 * time.Second) // in the bubble; they are counted each second
		list := two.must(200, "GET", "/v1/agents/ollie/links", b.token, "").body["links"].([]any)
		got := list[0].(map[string]any)
		if len(list) != 1 || got["views"] != 4.0 || got["lastViewedAt"] == nil || got["token"] != nil || got["url"] != nil {
			t.Errorf("got %v, want 4 views, a time, and no token", got)
		}
		if b.records() != records {
			t.Error("visits are in the log")
		}
	})
}

func TestLinksAreListedThoughVisitsCanNotBeTold(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		w := b.node().web(t)
		w.register(b.token, "ollie")
		id, pass := w.linkTo(b.token, "ollie", `{}`)
		b.visits.Fail = func() error { return errBroken }
		if status, _, _ := w.page(id, pass, nil); status != 200 {
			t.Errorf("got %d, want the passport shown", status)
		}
		time.Sleep(2 * time.Second)
		list := w.must(200, "GET", "/v1/agents/ollie/links", b.token, "").body["links"].([]any)
		if got := list[0].(map[string]any); got["linkId"] != id || got["views"] != nil {
			t.Errorf("got %v, want the link without a count", got)
		}
	})
}

func TestLinksAreMadeByWhoMay(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		w := b.node().web(t)
		key := w.register(b.token, "ollie")
		id, _ := w.linkTo(b.token, "ollie", ``)
		viewer := w.must(201, "POST", "/v1/members", b.token, `{"name":"Vi","role":"VIEWER"}`).body["token"].(string)
		for _, c := range []struct {
			status                    int
			method, path, token, body string
		}{
			{403, "POST", "/v1/agents/ollie/links", viewer, "{}"},
			{403, "POST", "/v1/agents/ollie/links", key, "{}"},
			{403, "POST", "/v1/agents/ollie/links/" + id + "/revoke", viewer, ""},
			{403, "POST", "/v1/agents/ollie/links/" + id + "/revoke", key, ""},
			{403, "GET", "/v1/agents/ollie/links", key, ""},
			{200, "GET", "/v1/agents/ollie/links", viewer, ""},
			{404, "POST", "/v1/agents/nobody/links", b.token, "{}"},
			{404, "GET", "/v1/agents/nobody/links", b.token, ""},
			{404, "POST", "/v1/agents/nobody/links/" + id + "/revoke", b.token, ""},
			{404, "POST", "/v1/agents/ollie/links/lnk_x/revoke", b.token, ""},
			{400, "POST", "/v1/agents/ollie/links", b.token, `{"expires":"1h"}`},
			{400, "POST", "/v1/agents/ollie/links", b.token, `{"expiresIn":"10d"}`},
			{400, "POST", "/v1/agents/ollie/links", b.token, `{"expiresIn":"1s"}`},
			{200, "GET", "/v1/agents/ollie/text?kind=task", viewer, ""},
			{403, "GET", "/v1/agents/ollie/text?kind=task", key, ""},
			{400, "GET", "/v1/agents/ollie/text?kind=link", viewer, ""},
			{400, "GET", "/v1/agents/ollie/text", viewer, ""},
			{404, "GET", "/v1/agents/nobody/text?kind=task", viewer, ""},
		} {
			w.must(c.status, c.method, c.path, c.token, c.body)
		}
	})
}

func TestBadTokensOfLinksAreLimited(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		n := b.node()
		n.Limits.Failures = handlers.NewLimiter(1, func() time.Time { return time.Unix(0, 0) })
		w := n.web(t)
		w.register(b.token, "ollie")
		id, pass := w.linkTo(b.token, "ollie", "")
		for _, want := range []int{401, 401, 429} {
			if got, _, _ := w.page(id, "bhf_pass_wrong", nil); got != want {
				t.Errorf("got %d, want %d", got, want)
			}
		}
		if got := w.do("GET", "/v1/passport", "bhf_pass_wrong", "").status; got != 429 {
			t.Errorf("got %d, want 429: pages and the API have one limit", got)
		}
		if got, _, _ := w.page(id, pass, nil); got != 200 {
			t.Errorf("got %d, want a good token let in all the same", got)
		}
	})
}

func TestALinkIsNotTakenWhileTheLogIsRead(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		n := b.node()
		w := n.web(t)
		w.register(b.token, "ollie")
		id, pass := w.linkTo(b.token, "ollie", "")
		n.blind.Store(true)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		status, text, _ := w.page(id, pass, nil)
		if status != 503 || !strings.Contains(text, "Take nothing as allowed") {
			t.Errorf("got %d %s, want it to be unavailable", status, text)
		}
	})
}

// records is how many records the log holds.
func (b *bed) records() int {
	b.t.Helper()
	n := 0
	ctx, stop := context.WithCancel(b.t.Context())
	defer stop()
	if err := b.log.Scan(ctx, domain.Scan{}, func(domain.Recorded, error) error { n++; return nil }); err != nil {
		b.t.Fatal(err)
	}
	return n
}
