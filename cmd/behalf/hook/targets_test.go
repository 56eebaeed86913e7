package hook

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/behalf-platform/behalf/cmd/behalf/before"
)

func TestClimbingPatternsAreFound(t *testing.T) {
	t.Parallel()
	for glob, want := range map[string]bool{
		"":                         false,
		"**/*.{ts,tsx}":            false,
		"./src/**":                 false,
		"./{a,b}/**":               false,
		"**/*.{test,spec}.{ts,js}": false,
		"**/{.env,.eslintrc}":      false,
		"**/.{git,env}/x":          false,
		"a..b/*":                   false,
		"..":                       true,
		"../x":                     true,
		"a/../b":                   true,
		`..\x`:                     true,
		"{..,a}/x":                 true,
		"{.,x}{.,y}/z":             true,
		".{.,x}/z":                 true,
		".{./b,c}":                 true,
		"{x,.}./z":                 true,
		"{a/.,b}{.,c}":             true,
		"+(.)/z":                   true,
		".{,x}./z":                 true,
	} {
		if got := climbs(glob); got != want {
			t.Errorf("%q: got %t, want %t", glob, got, want)
		}
	}
}

// asked are the action and the target of each verify.
func (s *server) asked(t *testing.T) (asked []string) {
	t.Helper()
	for _, body := range s.sent {
		var ask struct{ Action, Path string }
		if err := json.Unmarshal([]byte(body), &ask); err != nil {
			t.Fatal(err)
		}
		asked = append(asked, ask.Action+" "+ask.Path)
	}
	return asked
}

func TestAPathThatLeadsElsewhereIsAskedAboutTwice(t *testing.T) {
	t.Parallel()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, sub := range []string{"work", "secret"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	link := func(target, name string) {
		t.Helper()
		if err := os.Symlink(target, filepath.Join(dir, "work", name)); err != nil {
			t.Fatal(err)
		}
	}
	link(filepath.Join(dir, "secret"), "link")
	link(filepath.Join(dir, "secret", "not-yet"), "dangling")
	link("../secret/./nor/this", "relative")
	link("dangling", "twice")
	link("round", "round")
	write := "file.write " + dir
	for path, want := range map[string]string{
		dir + "/work/new.go":         write + "/work/new.go",
		dir + "/work/link/key":       write + "/work/link/key|" + write + "/secret/key",
		"link/deep/er":               "file.write link/deep/er|" + write + "/secret/deep/er",
		dir + "/work/../work/new.go": write + "/work/../work/new.go",
		dir + "/work/dangling":       write + "/work/dangling|" + write + "/secret/not-yet",
		dir + "/work/relative":       write + "/work/relative|" + write + "/secret/nor/this",
		dir + "/work/twice":          write + "/work/twice|" + write + "/secret/not-yet",
		// Cleaned it is below work; to the system it is beside what the link leads to.
		dir + "/work/link/../key":          write + "/work/link/../key|" + write + "/key",
		"link/../key":                      "file.write link/../key|" + write + "/key",
		dir + "/work/dangling/../link/key": write + "/work/dangling/../link/key|" + write + "/secret/key|" + write + "/secret/link/key",
	} {
		s := newServer(t, allowing)
		call := `{"hook_event_name":"PreToolUse","tool_name":"Write","cwd":"` + dir + `/work","tool_input":{"file_path":"` + path + `"}}`
		if got := run(t, Options{Editor: ClaudeCode}, envOf(t, s.URL), strings.NewReader(call)); got.code != 0 {
			t.Errorf("%s: got %+v", path, got)
		}
		if got := strings.Join(s.asked(t), "|"); got != want {
			t.Errorf("%s: got %s, want %s", path, got, want)
		}
	}
	round := `{"hook_event_name":"PreToolUse","tool_name":"Write","tool_input":{"file_path":"` + dir + `/work/round"}}`
	run(t, Options{Editor: ClaudeCode}, envOf(t, newServer(t, allowing).URL), strings.NewReader(round)).says(t, ClaudeCode, "The permission layer is unavailable", "too many links")

	// One that may not be written is enough.
	s := newServer(t, func(w http.ResponseWriter, _ *http.Request, body []byte) {
		if strings.Contains(string(body), "/secret/") {
			_, _ = io.WriteString(w, packet(body, `"allowed","allowed":true`, `"denied","allowed":false`))
			return
		}
		_, _ = io.WriteString(w, packet(body))
	})
	call := `{"hook_event_name":"PreToolUse","tool_name":"Write","tool_input":{"file_path":"` + dir + `/work/link/key"}}`
	run(t, Options{Editor: ClaudeCode}, envOf(t, s.URL), strings.NewReader(call)).says(t, ClaudeCode, "Denied by the agent's passport")
}

func TestSeveralTargetsThatNeedAPersonAreAskedForAtOnce(t *testing.T) {
	t.Parallel()
	s := newServer(t, allowing)
	s.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.URL.Path == "/v1/preview" {
			if strings.Contains(string(body), "idempotencyKey") {
				t.Errorf("a preview has a key: %s", body)
			}
			_, _ = io.WriteString(w, `{"agentId":"`+agent+`","wouldBe":"requires_approval"}`)
			return
		}
		var ask struct{ Path string }
		_ = json.Unmarshal(body, &ask)
		_, _ = io.WriteString(w, packet(body, `"allowed","allowed":true`, `"requires_approval","allowed":false`, `"approvalRequired":false`, `"approvalRequired":true`,
			`"permissionId"`, `"approvalId":"apr_`+filepath.Base(ask.Path)+`","permissionId"`))
	})
	run(t, Options{Editor: Codex}, envOf(t, s.URL), strings.NewReader(mustCall(t, "codex.patch"))).says(t, Codex, "Needs approval",
		"Approval apr_a.rs", "Approval apr_b.rs", "Approval apr_old.rs", "Approval apr_new")
}

// reviewed is a server where a person is asked first.
func reviewed(t *testing.T, state string) (*server, *[]string) {
	var paths []string
	s := newServer(t, allowing)
	s.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		s.mu.Lock()
		defer s.mu.Unlock()
		switch {
		case r.URL.Path != "/v1/verify":
			_, _ = io.WriteString(w, `{"approvalId":"apr_1","state":"`+state+`","comment":"not today"}`)
		case strings.Contains(string(body), "/apr_1") || len(paths) > 1 && !strings.Contains(string(body), "idempotencyKey"):
			_, _ = io.WriteString(w, packet(body))
		default:
			_, _ = io.WriteString(w, packet(body, `"allowed","allowed":true`, `"requires_approval","allowed":false`, `"approvalRequired":false`, `"approvalRequired":true`,
				`"permissionId"`, `"approvalId":"apr_1","permissionId"`))
		}
		paths = append(paths, r.URL.Path+" "+string(body))
	})
	return s, &paths
}

func TestItWaitsForAPersonIfToldTo(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		state, lead, says string
		wait              time.Duration
		verifies          int
	}{
		{state: "approved", wait: time.Minute, verifies: 2},
		{state: "used", wait: time.Minute, verifies: 2},
		{state: "denied", wait: time.Minute, verifies: 1, lead: "Denied: approval apr_1 is denied: not today. Request req_1."},
		{state: "expired", wait: time.Minute, verifies: 1, lead: "Denied: approval apr_1 is expired"},
		{state: "sure", wait: time.Minute, verifies: 1, lead: "The permission layer is unavailable", says: "unknown"},
		{state: "pending", wait: 50 * time.Millisecond, verifies: 1, lead: "Needs approval", says: "apr_1"},
	} {
		t.Run(c.state, func(t *testing.T) {
			t.Parallel()
			s, paths := reviewed(t, c.state)
			got := run(t, Options{Editor: ClaudeCode, Wait: c.wait}, envOf(t, s.URL), strings.NewReader(mustCall(t, "claude-code.bash")))
			if c.lead == "" {
				if got != (ran{0, "{}\n", ""}) {
					t.Errorf("got %+v, want it to go through", got)
				}
			} else {
				got.says(t, ClaudeCode, c.lead, c.says)
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			if n := strings.Count(strings.Join(*paths, " "), "/v1/verify"); n != c.verifies {
				t.Errorf("got %d verifies, want %d: %s", n, c.verifies, *paths)
			}
		})
	}
}

func TestFactsAreWhatIsCheckedOut(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("main/.git/HEAD", "ref: refs/heads/agent/fix-cart\n")
	write("main/.git/config", "[core]\n\tbare = false\n[remote \"fork\"]\n\turl = https://github.com/me/webshop\n[remote \"origin\"]\n\turl = git@github.com:acme/webshop.git\n\tfetch = +refs\n[branch \"main\"]\n\turl = x\n")
	write("main/deep/er/file", "")
	write("main/.git/worktrees/other/HEAD", "ref: refs/heads/main\n")
	write("main/.git/worktrees/other/commondir", "../..\n")
	write("other/.git", "gitdir: "+dir+"/main/.git/worktrees/other\n")
	write("detached/.git/HEAD", "0123456789abcdef\n")
	write("none/file", "")
	for _, c := range []struct {
		cwd  string
		o    Options
		want string
	}{
		{"main", Options{}, "agent/fix-cart  acme/webshop"},
		{"main/deep/er", Options{Environment: "staging"}, "agent/fix-cart staging acme/webshop"},
		{"main", Options{Branch: "b", Repository: "r/r"}, "b  r/r"},
		{"other", Options{}, "main  acme/webshop"},
		{"detached", Options{}, "  "},
		{"none", Options{}, "  "},
	} {
		f := factsOf(filepath.Join(dir, c.cwd), c.o)
		if got := f.Branch + " " + f.Environment + " " + f.Repository; got != c.want {
			t.Errorf("%s: got %q, want %q", c.cwd, got, c.want)
		}
	}
	for remote, want := range map[string]string{
		"https://github.com/acme/webshop.git":          "acme/webshop",
		"https://user:pw@gitlab.com/a/b/c":             "a/b/c",
		"ssh://git@example.com:2222/acme/webshop.git/": "acme/webshop",
		"git@github.com:acme/webshop":                  "acme/webshop",
		"/srv/git/webshop.git":                         "",
	} {
		if got := ownerAndName(remote); got != want {
			t.Errorf("%s: got %q, want %q", remote, got, want)
		}
	}
}

// A key of the approval alone would be that of every call without an id, and the
// packet of the first of them would allow the others.
func TestACallWithoutAnIdHasNoKeyAfterAYesEither(t *testing.T) {
	t.Parallel()
	s, paths := reviewed(t, "approved")
	call := `{"hook_event_name":"PreToolUse","tool_name":"Bash","tool_input":{"command":"make"}}`
	got := run(t, Options{Editor: ClaudeCode, Wait: time.Minute}, envOf(t, s.URL), strings.NewReader(call))
	if got != (ran{0, "{}\n", ""}) || len(*paths) != 3 || strings.Contains(strings.Join(*paths, "\n"), "idempotencyKey") {
		t.Errorf("got %+v after %s", got, *paths)
	}
}

// FuzzCall looks for a call that is let through without having been asked about,
// and for one that is asked about without its input.
func FuzzCall(f *testing.F) {
	calls, _ := filepath.Glob("testdata/calls/*.json")
	for _, name := range calls {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, editor := range Editors {
			c, err := decodeCall(editor, text)
			if err != nil {
				continue
			}
			if !json.Valid(text) || c.Tool == "" {
				t.Fatalf("a call was read from %q", text)
			}
			asks, err := c.asks()
			if err != nil {
				if len(asks) > 0 {
					t.Fatalf("%v, beside %d asks", err, len(asks))
				}
				continue
			}
			if len(asks) == 0 {
				t.Fatalf("nothing is asked about %q", text)
			}
			for _, ask := range asks {
				if ask.Action == "" || len(ask.Action) > 128 || ask.Arguments == nil {
					t.Fatalf("got the ask %+v", ask)
				}
				if err := fit(&ask); err != nil {
					continue
				}
				if body, err := json.Marshal(ask.Arguments); err != nil || len(body) > before.MostBody {
					t.Fatalf("got arguments of %d bytes, %v", len(body), err)
				}
			}
		}
	})
}
