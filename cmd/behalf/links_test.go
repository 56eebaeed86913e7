package main

import (
	"context"
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestLinks makes a link as a user would, opens it, and ends it.
func TestLinks(t *testing.T) {
	t.Parallel()
	s := startServer(t, t.TempDir(), "--public-url", "https://behalf.example.com/sub/")
	s.agent("agent_ollie")
	env := map[string]string{"BEHALF_URL": s.url, "BEHALF_TOKEN": testToken}
	behalf := func(want int, args ...string) string {
		t.Helper()
		code, out, errs := command(t, env, args...)
		if code != want {
			t.Fatalf("behalf %s: got %d, %s%s, want %d", strings.Join(args, " "), code, out, errs, want)
		}
		return out + errs
	}
	url := strings.TrimSpace(behalf(0, "passport", "link", "agent_ollie", "--expires", "90d", "--label", "travel assistant", "--url-only"))
	parts := regexp.MustCompile(`^https://behalf\.example\.com/sub/p/(lnk_[0-9A-Z]{26})#(bhf_pass_[A-Za-z0-9_-]{43})$`).FindStringSubmatch(url)
	if parts == nil {
		t.Fatalf("got %q, want a link below the public URL", url)
	}
	s.must(200, "GET", "/v1/passport", parts[2], "")
	counted := func() bool {
		list := behalf(0, "passport", "links", "agent_ollie")
		return strings.Contains(list, parts[1]) && regexp.MustCompile(`active\s+\S+\s+1\s+20\S+\s+travel assistant`).MatchString(list)
	}
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	if err := waitUntil(ctx, counted); err != nil {
		t.Errorf("the view was not counted: %s", behalf(0, "passport", "links", "agent_ollie"))
	}
	if out := behalf(0, "passport", "text", "agent_ollie", "--kind", "task"); !strings.Contains(out, "Three questions") || !strings.Contains(out, "500.00 USD") {
		t.Errorf("got %s, want the text for a task", out)
	}
	if out := behalf(0, "passport", "text", "agent_ollie", "--kind", "memory"); !strings.Contains(out, "Keep to this") {
		t.Errorf("got %s, want the text for a memory", out)
	}
	if out := behalf(0, "passport", "text", "agent_ollie", "--kind", "link", "--expires", "36h"); !strings.Contains(out, "#bhf_pass_") {
		t.Errorf("got %s, want a text with a link", out)
	}
	behalf(2, "passport", "text", "agent_ollie")
	behalf(2, "passport", "text", "agent_ollie", "--kind", "task", "--expires", "1d")
	behalf(1, "passport", "link", "agent_ollie", "--expires", "400d")
	behalf(1, "passport", "link", "agent_nobody")
	for range 2 {
		if out := behalf(0, "passport", "unlink", "agent_ollie", parts[1]); !strings.Contains(out, "revoked") {
			t.Errorf("got %s, want it revoked", out)
		}
	}
	s.must(401, "GET", "/v1/passport", parts[2], "")
	if said := s.said.String(); strings.Contains(said, "bhf_pass_") {
		t.Errorf("the server's log has a token: %s", said)
	}
}

// TestThePageInABrowser has a browser run the page's script, under its policy:
// it reads the token from the fragment, and shows what the server rendered.
func TestThePageInABrowser(t *testing.T) {
	t.Parallel()
	browser := browserHere()
	if browser == "" {
		t.Skip("no Chromium here; the pages themselves are compared with golden files in handlers")
	}
	s := startServer(t, t.TempDir())
	s.must(201, "POST", "/v1/agents", testToken, `{"agentId":"agent_ollie","name":"Ollie <b>the</b> <script>document.title='mine'</script>"}`)
	s.must(201, "POST", "/v1/agents/agent_ollie/permissions", testToken, `{"action":"purchase","vendors":["coachella.com"],"maxAmount":"500.00","currency":"USD"}`)
	var link struct{ URL string }
	if err := json.Unmarshal([]byte(s.must(201, "POST", "/v1/agents/agent_ollie/links", testToken, "")), &link); err != nil {
		t.Fatal(err)
	}
	for _, size := range []string{"390,844", "1280,900"} {
		page := dom(t, browser, size, link.URL)
		for _, want := range []string{"<dd><ul><li>coachella.com</li></ul></dd>", "500.00 USD", "Ollie &lt;b&gt;the&lt;/b&gt; &lt;script&gt;", ": permission passport</title>", `id="preview"`} {
			if !strings.Contains(page, want) {
				t.Errorf("at %s: got %s, want %q in it", size, page, want)
			}
		}
	}
	for _, url := range []string{link.URL[:len(link.URL)-1] + "-", link.URL[:strings.IndexByte(link.URL, '#')]} {
		if page := dom(t, browser, "390,844", url); strings.Contains(page, "coachella.com") || !strings.Contains(page, `id="open"`) {
			t.Errorf("%s: got %s, want nothing of the passport", url, page)
		}
	}
}
