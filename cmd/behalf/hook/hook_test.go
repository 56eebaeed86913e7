package hook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/behalf-platform/behalf/cmd/behalf/before"
)

var update = flag.Bool("update", false, "write the golden files anew")

const (
	key   = "bhf_sk_do-not-print-me"
	agent = "agent_coder"
)

// server answers verifies and previews, and keeps what it was asked.
type server struct {
	*httptest.Server
	mu   sync.Mutex
	sent []string // guarded by mu: the bodies of verifies
}

// packet is the packet of an ask, changed by pairs of old and new text.
func packet(body []byte, changes ...string) string {
	var ask struct{ Action, Vendor, Resource string }
	_ = json.Unmarshal(body, &ask)
	targets := ""
	if ask.Vendor != "" {
		targets += `"vendor":"` + ask.Vendor + `",`
	}
	if ask.Resource != "" {
		targets += `"resource":"` + ask.Resource + `",`
	}
	return strings.NewReplacer(changes...).Replace(`{"requestId":"req_1","agentId":"` + agent + `","decision":"allowed","allowed":true,"reasonCode":"ALLOWED",` +
		`"reason":"allowed by permission perm_1","riskLevel":"low","permissionId":"perm_1","action":"` + ask.Action + `",` + targets +
		`"passportVersion":7,"position":"AAAAAAAJ","decidedAt":"2026-11-23T12:00:00Z","approvalRequired":false,"risk":"low"}`)
}

// newServer serves verifies with answer; previews say that all would be allowed.
func newServer(t *testing.T, answer func(w http.ResponseWriter, r *http.Request, body []byte)) *server {
	t.Helper()
	s := &server{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		switch {
		case r.URL.Path == "/v1/preview":
			_, _ = io.WriteString(w, `{"agentId":"`+agent+`","wouldBe":"allowed"}`)
			return
		case r.URL.Path == "/v1/verify":
			s.mu.Lock()
			s.sent = append(s.sent, string(body))
			s.mu.Unlock()
		}
		answer(w, r, body)
	}))
	t.Cleanup(s.Close)
	return s
}

func allowing(w http.ResponseWriter, _ *http.Request, body []byte) {
	_, _ = io.WriteString(w, packet(body))
}

// ran is what one run of a hook came to.
type ran struct {
	code      int
	out, errs string
}

// run runs a hook against the server of env.
func run(t *testing.T, o Options, env map[string]string, in io.Reader) ran {
	t.Helper()
	if o.Timeout == 0 {
		o.Timeout = usualTimeout
	}
	var out, errs bytes.Buffer
	code := Run(t.Context(), o, Process{In: in, Out: &out, Errs: &errs, Getenv: func(name string) string { return env[name] }})
	if all := out.String() + errs.String(); strings.Contains(all, key) || strings.Contains(all, "s3cret") {
		t.Errorf("it prints a secret:\n%s", all)
	}
	return ran{code, out.String(), errs.String()}
}

func envOf(t *testing.T, url string) map[string]string {
	t.Helper()
	return map[string]string{"BEHALF_URL": url, "BEHALF_TOKEN": key, "BEHALF_AGENT": agent, "BEHALF_CONFIG": filepath.Join(t.TempDir(), "none.json")}
}

func mustCall(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "calls", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// says fails the test unless a run blocked, in both of the ways an editor
// listens to, with a text that begins and goes on as said.
func (r ran) says(t *testing.T, e Editor, lead string, parts ...string) {
	t.Helper()
	var told struct {
		Output struct {
			Event    string `json:"hookEventName"`
			Decision string `json:"permissionDecision"`
			Reason   string `json:"permissionDecisionReason"`
		} `json:"hookSpecificOutput"`
		Permission string `json:"permission"`
		User       string `json:"user_message"`
		Agent      string `json:"agent_message"`
	}
	if err := json.Unmarshal([]byte(r.out), &told); err != nil {
		t.Fatalf("got the answer %q: %v", r.out, err)
	}
	reason := told.Output.Reason
	if e == Cursor {
		reason = told.Agent
		if told.Permission != "deny" || told.User != told.Agent {
			t.Errorf("got the answer %s, want a denial", r.out)
		}
	} else if told.Output.Decision != "deny" || told.Output.Event != "PreToolUse" {
		t.Errorf("got the answer %s, want a denial", r.out)
	}
	if r.code != 2 {
		t.Errorf("got the exit code %d, want 2", r.code)
	}
	if r.errs != "behalf: "+reason+"\n" {
		t.Errorf("got on standard error\n%s\nwant what the answer says:\n%s", r.errs, reason)
	}
	if !strings.HasPrefix(reason, lead) {
		t.Errorf("got the text\n%s\nwant it to begin with %q", reason, lead)
	}
	for _, part := range parts {
		if !strings.Contains(reason, part) {
			t.Errorf("got the text\n%s\nwant it to say %q", reason, part)
		}
	}
}

func TestEachToolIsAskedAboutWithItsTargets(t *testing.T) {
	t.Parallel()
	calls, err := filepath.Glob("testdata/calls/*.json")
	if err != nil || len(calls) < 30 {
		t.Fatalf("got %d calls, %v", len(calls), err)
	}
	for _, file := range calls {
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			editor, _, _ := strings.Cut(name, ".")
			s := newServer(t, allowing)
			got := run(t, Options{Editor: Editor(editor)}, envOf(t, s.URL), strings.NewReader(mustCall(t, name)))
			want := "{}\n"
			if Editor(editor) == Cursor {
				want = `{"permission":"allow"}` + "\n"
			}
			if got != (ran{0, want, ""}) {
				t.Fatalf("got %+v, want %q", got, want)
			}
			sent := strings.Join(s.sent, "\n") + "\n"
			golden := filepath.Join("testdata", "asks", name+".jsonl")
			if *update {
				if err := os.WriteFile(golden, []byte(sent), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			text, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if sent != string(text) {
				t.Errorf("got the verifies\n%swant\n%s", sent, text)
			}
			for _, body := range s.sent {
				if len(body) > before.MostBody {
					t.Errorf("a verify has %d bytes, more than a server takes", len(body))
				}
			}
		})
	}
}

func TestWhateverGoesWrongBlocks(t *testing.T) {
	t.Parallel()
	const unavailable = "The permission layer is unavailable, so nothing is allowed; this is not a denial: "
	saying := func(status int, body string) func(http.ResponseWriter, *http.Request, []byte) {
		return func(w http.ResponseWriter, _ *http.Request, _ []byte) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	changed := func(changes ...string) func(http.ResponseWriter, *http.Request, []byte) {
		return func(w http.ResponseWriter, _ *http.Request, body []byte) {
			_, _ = io.WriteString(w, packet(body, changes...))
		}
	}
	for _, c := range []struct {
		name   string
		server func(http.ResponseWriter, *http.Request, []byte)
		change func(o *Options, env map[string]string)
		lead   string
		parts  []string
	}{
		{
			name: "denied", server: changed(`"allowed","allowed":true`, `"denied","allowed":false`, `"ALLOWED"`, `"COMMAND_NOT_ALLOWED"`, "allowed by permission perm_1", "the command falls under rm."),
			lead: "Denied by the agent's passport: the command falls under rm (COMMAND_NOT_ALLOWED). Request req_1.",
		},
		{
			name: "denied by a person", server: changed(`"allowed","allowed":true`, `"denied","allowed":false`, `"ALLOWED"`, `"APPROVAL_DENIED"`, `"permissionId"`, `"approvalId":"apr_1","permissionId"`),
			lead: "Denied by the agent's passport: ", parts: []string{"APPROVAL_DENIED", "Request req_1.", "Approval apr_1."},
		},
		{
			name: "requires approval", server: changed(`"allowed","allowed":true`, `"requires_approval","allowed":false`, `"approvalRequired":false`, `"approvalRequired":true`, `"permissionId"`, `"approvalId":"apr_1","permissionId"`),
			lead: "Needs approval: a person has to approve", parts: []string{"Approval apr_1, request req_1", "behalf approvals approve apr_1", "repeat exactly the same call"},
		},
		{
			name: "requires approval without one", server: changed(`"allowed","allowed":true`, `"requires_approval","allowed":false`, `"approvalRequired":false`, `"approvalRequired":true`),
			lead: "Needs approval: ", parts: []string{"req_1"},
		},
		{name: "denied as unavailable", server: changed(`"allowed","allowed":true`, `"denied","allowed":false`, `"ALLOWED"`, `"UNAVAILABLE"`), lead: unavailable},
		{name: "server down", change: func(_ *Options, env map[string]string) { env["BEHALF_URL"] = "http://127.0.0.1:1" }, lead: unavailable, parts: []string{"refused"}},
		{
			name: "slow", server: func(_ http.ResponseWriter, r *http.Request, _ []byte) { <-r.Context().Done() },
			change: func(o *Options, _ map[string]string) { o.Timeout = 50 * time.Millisecond }, lead: unavailable, parts: []string{"within 50ms"},
		},
		{name: "500", server: saying(500, "oops"), lead: unavailable, parts: []string{"500"}},
		{name: "503", server: saying(503, `{"allowed":false,"reasonCode":"UNAVAILABLE","error":{"code":"UNAVAILABLE","message":"stopping"}}`), lead: unavailable, parts: []string{"stopping"}},
		{name: "401", server: saying(401, `{"error":{"code":"UNAUTHENTICATED","message":"no such key"}}`), lead: unavailable, parts: []string{"the agent key, which is from BEHALF_TOKEN", "no such key"}},
		{name: "429", server: func(w http.ResponseWriter, _ *http.Request, _ []byte) {
			w.Header().Set("Retry-After", "3")
			w.WriteHeader(429)
			_, _ = io.WriteString(w, `{"error":{"code":"RATE_LIMITED","message":"too many requests"}}`)
		}, lead: unavailable, parts: []string{"too many requests", "wait 3s"}},
		{name: "400", server: saying(400, `{"error":{"code":"INVALID_REQUEST","message":"has a control character","field":"/command"}}`), lead: unavailable, parts: []string{"refused the question", "/command"}},
		{name: "409", server: saying(409, `{"error":{"code":"IDEMPOTENCY_CONFLICT","message":"reused"}}`), lead: unavailable, parts: []string{"reused"}},
		{name: "redirect", server: func(w http.ResponseWriter, r *http.Request, _ []byte) {
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
		}, lead: unavailable, parts: []string{"not followed"}},
		{name: "malformed body", server: saying(200, "<html>yes</html>"), lead: unavailable},
		{name: "not a packet", server: saying(200, `{"allowed":true}`), lead: unavailable},
		{name: "only a yes", server: saying(200, `true`), lead: unavailable},
		{name: "dry answer", server: changed(`{"requestId"`, `{"dryRun":true,"requestId"`), lead: unavailable, parts: []string{"nothing was decided"}},
		{name: "a preview", server: saying(200, `{"agentId":"`+agent+`","wouldBe":"allowed","action":"shell.exec"}`), lead: unavailable},
		{name: "empty answer", server: saying(200, ""), lead: unavailable},
		{name: "truncated body", server: func(w http.ResponseWriter, _ *http.Request, body []byte) {
			text := packet(body)
			w.Header().Set("Content-Length", "10000")
			_, _ = io.WriteString(w, text)
		}, lead: unavailable, parts: []string{"broke off"}},
		{name: "half a packet", server: func(w http.ResponseWriter, _ *http.Request, body []byte) {
			text := packet(body)
			_, _ = io.WriteString(w, text[:len(text)/2])
		}, lead: unavailable},
		{name: "wrong agent", server: changed(agent, "agent_other"), lead: unavailable, parts: []string{`about the agent "agent_other", not "agent_coder"`}},
		{name: "no agent", server: changed(agent, ""), change: func(_ *Options, env map[string]string) { delete(env, "BEHALF_AGENT") }, lead: unavailable},
		{name: "wrong action", server: changed(`"shell.exec"`, `"file.read"`), lead: unavailable, parts: []string{`about the action "file.read"`}},
		{name: "allowed is true and the decision denied", server: changed(`"decision":"allowed"`, `"decision":"denied"`), lead: unavailable, parts: []string{"contradicts itself"}},
		{name: "allowed is false and the decision allowed", server: changed(`"allowed":true`, `"allowed":false`), lead: unavailable, parts: []string{"contradicts itself"}},
		{name: "unknown decision", server: changed(`"decision":"allowed"`, `"decision":"sure"`), lead: unavailable},
		{name: "not recorded", server: changed(`"AAAAAAAJ"`, `""`), lead: unavailable},
		{name: "no key", change: func(_ *Options, env map[string]string) { delete(env, "BEHALF_TOKEN") }, lead: unavailable, parts: []string{"no agent key is set"}},
		{name: "no configuration", change: func(_ *Options, env map[string]string) { delete(env, "BEHALF_TOKEN"); delete(env, "BEHALF_URL") }, lead: unavailable, parts: []string{"no agent key is set"}},
		{name: "no such server's address", change: func(_ *Options, env map[string]string) { env["BEHALF_URL"] = "behalf" }, lead: unavailable, parts: []string{"is not a URL"}},
		{name: "settings of whoever is here", change: func(o *Options, _ map[string]string) { o.Config = "behalf.json" }, lead: unavailable, parts: []string{"behalf.json, is not named from the root"}},
		{name: "settings of whoever is here, by the environment", change: func(_ *Options, env map[string]string) { env["BEHALF_CONFIG"] = "behalf.json" }, lead: unavailable, parts: []string{"is not named from the root"}},
		{name: "broken settings", change: func(o *Options, env map[string]string) {
			delete(env, "BEHALF_TOKEN")
			o.Config, _ = filepath.Abs("testdata")
		}, lead: unavailable},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for _, editor := range Editors {
				if c.server == nil {
					c.server = allowing
				}
				s := newServer(t, c.server)
				o, env := Options{Editor: editor}, envOf(t, s.URL)
				if c.change != nil {
					c.change(&o, env)
				}
				call := map[Editor]string{ClaudeCode: "claude-code.bash", Cursor: "cursor.shell", Codex: "codex.bash"}[editor]
				run(t, o, env, strings.NewReader(mustCall(t, call))).says(t, editor, c.lead, c.parts...)
			}
		})
	}
}

func TestCallsThatCantBeReadBlock(t *testing.T) {
	t.Parallel()
	bash := mustCall(t, "claude-code.bash")
	read := mustCall(t, "claude-code.read")
	fetched := mustCall(t, "claude-code.webfetch")
	glob := mustCall(t, "claude-code.glob")
	for name, c := range map[string]struct{ in, says string }{
		"nothing":                       {"", "not one JSON object"},
		"no JSON":                       {"Bash rm -rf /", "not one JSON object"},
		"an array":                      {"[" + bash + "]", "not one JSON object"},
		"half of it":                    {bash[:len(bash)/2], "not one JSON object"},
		"two of them":                   {bash + bash, "not one JSON object"},
		"a name twice":                  {strings.Replace(bash, `"tool_name"`, `"tool_name": "Read", "tool_name"`, 1), "not one JSON object"},
		"a command twice":               {strings.Replace(bash, `"command"`, `"command": "true", "command"`, 1), "not one JSON object"},
		"a command in another case":     {strings.Replace(bash, `"command"`, `"command": "true", "Command"`, 1), "the input of the tool Bash"},
		"a path in camel case":          {strings.Replace(read, `"file_path"`, `"file_path": "/a", "filePath"`, 1), "the input of the tool Read"},
		"bad UTF-8":                     {strings.Replace(bash, "Push", "\xff", 1), "not one JSON object"},
		"no tool":                       {strings.Replace(bash, `"tool_name": "Bash"`, `"tool_name": ""`, 1), "names no tool_name"},
		"another event":                 {strings.Replace(bash, `"PreToolUse"`, `"PostToolUse"`, 1), `the event "PostToolUse"`},
		"no event":                      {strings.Replace(bash, `"hook_event_name"`, `"event"`, 1), `the event ""`},
		"input is no object":            {`{"hook_event_name":"PreToolUse","tool_name":"Bash","tool_input":"rm -rf /"}`, "no tool_input that is an object"},
		"no input":                      {`{"hook_event_name":"PreToolUse","tool_name":"Bash"}`, "no tool_input that is an object"},
		"command no text":               {`{"hook_event_name":"PreToolUse","tool_name":"Bash","tool_input":{"command":["rm"]}}`, "the input of the tool Bash"},
		"no command":                    {strings.Replace(bash, `"command"`, `"cmd"`, 1), "has no command"},
		"a huge command":                {strings.Replace(bash, "git push", strings.Repeat("x", 40_000), 1), "at most 32768 are judged"},
		"no path":                       {strings.Replace(read, `"file_path"`, `"file"`, 1), "names no file"},
		"two paths":                     {strings.Replace(read, `"file_path"`, `"path": "/tmp/a", "file_path"`, 1), "names two files"},
		"URL of a file":                 {strings.Replace(fetched, "https://Docs.Example.com:8443", "file://", 1), "no url that begins with"},
		"URL with a user":               {strings.Replace(fetched, "https://", "https://good.example.com@", 1), "a user's name"},
		"URL of two readings":           {strings.Replace(fetched, "https://Docs.Example.com", `https://evil.example.com\\@good.example.com`, 1), "no url that begins with"},
		"URL that climbs once decoded":  {strings.Replace(fetched, "/a/b%20c", "/a/..%2Fb", 1), "write where it leads"},
		"URL of a host in wide letters": {strings.Replace(fetched, "https://Docs", "https://ｄocs", 1), "write where it leads"},
		"a search in no directory":      {`{"hook_event_name":"PreToolUse","tool_name":"Glob","tool_input":{"pattern":"../*"}}`, "names no directory"},
		"a move of nothing":             {`{"hook_event_name":"PreToolUse","tool_name":"apply_patch","tool_input":{"command":"*** Begin Patch\n*** Move to: b\n"}}`, "moves a file that it doesn't name"},
		"URL that climbs":               {strings.Replace(fetched, "/a/b%20c", "/a/%2E./b", 1), "write where it leads"},
		"URL with backslashes":          {strings.Replace(fetched, "/a/b%20c", `/a\\..\\b`, 1), "write where it leads"},
		"a climbing glob":               {strings.Replace(glob, "**/", "**/../../", 1), "climbs behind a wildcard"},
		"a glob that climbs by braces":  {strings.Replace(glob, "**/", "{.,x}{.,y}/", 1), "climbs behind a wildcard"},
		"an empty patch":                {strings.Replace(mustCall(t, "codex.patch"), "*** ", "--- ", -1), "apply_patch"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, allowing)
			run(t, Options{Editor: ClaudeCode}, envOf(t, s.URL), strings.NewReader(c.in)).says(t, ClaudeCode, "The permission layer is unavailable", c.says)
			if len(s.sent) > 0 {
				t.Errorf("it asked %s", s.sent)
			}
		})
	}
}

// endless is an editor that never ends its input.
type endless struct{ ctx context.Context }

func (e endless) Read([]byte) (int, error) { <-e.ctx.Done(); return 0, e.ctx.Err() }

type panicking struct{}

func (panicking) Read([]byte) (int, error) { panic("no bytes today") }

type closed struct{}

func (closed) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

func TestTheHookItselfFailsClosed(t *testing.T) {
	t.Parallel()
	s := newServer(t, allowing)
	env := envOf(t, s.URL)
	run(t, Options{Editor: ClaudeCode, Timeout: 20 * time.Millisecond}, env, endless{t.Context()}).says(t, ClaudeCode, "The permission layer is unavailable", "within 20ms")
	run(t, Options{Editor: ClaudeCode}, env, panicking{}).says(t, ClaudeCode, "The permission layer is unavailable", "the hook failed: no bytes today")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out, errs bytes.Buffer
	code := Run(ctx, Options{Editor: ClaudeCode, Timeout: time.Minute}, Process{In: endless{t.Context()}, Out: &out, Errs: &errs, Getenv: func(string) string { return "" }})
	ran{code, out.String(), errs.String()}.says(t, ClaudeCode, "The permission layer is unavailable", "interrupted")

	errs.Reset()
	code = Run(t.Context(), Options{Editor: ClaudeCode, Timeout: usualTimeout}, Process{
		In: strings.NewReader(mustCall(t, "claude-code.bash")), Out: closed{}, Errs: &errs, Getenv: func(name string) string { return env[name] },
	})
	if code != 2 || !strings.Contains(errs.String(), "can't be written: broken pipe") {
		t.Errorf("got %d and %q for a yes that could not be told", code, errs.String())
	}
}

func TestAutoAllowIsClaudeCodesAlone(t *testing.T) {
	t.Parallel()
	s := newServer(t, allowing)
	got := run(t, Options{Editor: ClaudeCode, AutoAllow: true}, envOf(t, s.URL), strings.NewReader(mustCall(t, "claude-code.bash")))
	want := `{"hookSpecificOutput":{"hookEventName":"PreToolUse","permissionDecision":"allow","permissionDecisionReason":"allowed by the agent's passport"}}` + "\n"
	if got != (ran{0, want, ""}) {
		t.Errorf("got %+v", got)
	}
	o := Options{Editor: Codex, Timeout: time.Second, AutoAllow: true}
	if o.Check() == nil {
		t.Error("Codex has no such answer, and none is refused")
	}
}

func TestTheSameCallHasTheSameKey(t *testing.T) {
	t.Parallel()
	bash := mustCall(t, "claude-code.bash")
	keyOf := func(text string) string {
		c, err := decodeCall(ClaudeCode, []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return c.key(0)
	}
	first := keyOf(bash)
	if first == "" || first != keyOf(bash) {
		t.Errorf("got %q and %q", first, keyOf(bash))
	}
	for _, other := range []string{
		strings.Replace(bash, "toolu_01", "toolu_02", 1),
		strings.Replace(bash, "4b1f", "4b1e", 1),
	} {
		if keyOf(other) == first {
			t.Error("another call has the same key")
		}
	}
	if got := keyOf(strings.Replace(bash, `"tool_use_id"`, `"x"`, 1)); got != "" {
		t.Errorf("got %q for a call without an id", got)
	}
}
