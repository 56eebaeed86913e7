package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// editor is a coding agent's editor that has hooks installed.
type editor struct {
	t    *testing.T
	name string
	home string
	env  []string
}

// installed installs the hook of an editor for this very program.
func installed(t *testing.T, name, url, key string, more ...string) *editor {
	t.Helper()
	e := &editor{t: t, name: name, home: t.TempDir()}
	e.env = append(os.Environ(), "HOME="+e.home, "XDG_CONFIG_HOME="+e.home, "BEHALF_URL="+url, "BEHALF_TOKEN="+key)
	args := append([]string{"hook", "install", name, "--program", os.Args[0]}, more...)
	code, out, errs := command(t, map[string]string{"HOME": e.home, "XDG_CONFIG_HOME": e.home, "BEHALF_TOKEN": key, "BEHALF_CONFIG": filepath.Join(e.home, "none")}, args...)
	if code != 0 || !strings.Contains(out, "+") || !strings.Contains(out, "Written to "+e.home) || !strings.Contains(errs, "What to know:\n* ") {
		t.Fatalf("got %d\n%s%s", code, out, errs)
	}
	return e
}

// hook is the command the settings name, started as the editor does: by itself
// with its arguments, or by a shell.
func (e *editor) hook() *exec.Cmd {
	e.t.Helper()
	type handler struct {
		Type, Command string
		Args          []string
		OnFailure     string
		FailClosed    bool
		Timeout       int
	}
	var file struct {
		Hooks map[string][]struct {
			handler
			Matcher string
			Hooks   []handler
		}
	}
	path := map[string]string{"claude-code": ".claude/settings.json", "cursor": ".cursor/hooks.json", "codex": ".codex/hooks.json"}[e.name]
	text, err := os.ReadFile(filepath.Join(e.home, path))
	if err == nil {
		err = json.Unmarshal(text, &file)
	}
	if err != nil {
		e.t.Fatal(err)
	}
	var cmd *exec.Cmd
	switch e.name {
	case "claude-code":
		group := file.Hooks["PreToolUse"][0]
		if h := group.Hooks[0]; group.Matcher != "*" || h.Type != "command" || h.OnFailure != "block" || h.Timeout < 30 || !filepath.IsAbs(h.Command) {
			e.t.Errorf("got the settings\n%s", text)
		}
		cmd = exec.Command(group.Hooks[0].Command, group.Hooks[0].Args...)
	case "cursor":
		if !file.Hooks["preToolUse"][0].FailClosed {
			e.t.Errorf("got the settings\n%s", text)
		}
		cmd = exec.Command("sh", "-c", file.Hooks["preToolUse"][0].Command)
	case "codex":
		cmd = exec.Command("sh", "-c", file.Hooks["PreToolUse"][0].Hooks[0].Command)
	}
	cmd.Env, cmd.Dir = e.env, e.home
	return cmd
}

// call starts the hook for a call, and returns what the editor makes of it.
func (e *editor) call(id, command string) (code int, out, errs string) {
	e.t.Helper()
	event, tool := "PreToolUse", "Bash"
	if e.name == "cursor" {
		event, tool = "preToolUse", "Shell"
	}
	input, err := json.Marshal(map[string]any{
		"hook_event_name": event, "session_id": "s1", "conversation_id": "c1", "tool_use_id": id, "cwd": e.home,
		"tool_name": tool, "tool_input": map[string]any{"command": command, "description": "x"},
	})
	if err != nil {
		e.t.Fatal(err)
	}
	var o, x bytes.Buffer
	cmd := e.hook()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(input), &o, &x
	if err := cmd.Run(); err != nil {
		if _, ok := errors.AsType[*exec.ExitError](err); !ok {
			e.t.Fatal(err)
		}
	}
	return cmd.ProcessState.ExitCode(), o.String(), x.String()
}

func (e *editor) wants(code int, says, id, command string) string {
	e.t.Helper()
	got, out, errs := e.call(id, command)
	if got != code || !strings.Contains(out+errs, says) || (code == 2) != strings.Contains(out, `"deny"`) {
		e.t.Errorf("%s: got %d\n%s%s\nwant %d and %q", e.name, got, out, errs, code, says)
	}
	return out + errs
}

func TestInstalledHooksDecideEachCall(t *testing.T) {
	t.Parallel()
	s := startServer(t, t.TempDir())
	for _, name := range []string{"claude-code", "cursor", "codex"} {
		t.Run(name, func(t *testing.T) {
			id := "agent_" + strings.ReplaceAll(name, "-", "_")
			var agent struct{ APIKey string }
			if err := json.Unmarshal([]byte(s.must(201, "POST", "/v1/agents", testToken, `{"agentId":"`+id+`","name":"Coder"}`)), &agent); err != nil {
				t.Fatal(err)
			}
			var granted struct{ PermissionID string }
			if err := json.Unmarshal([]byte(s.must(201, "POST", "/v1/agents/"+id+"/permissions", testToken, `{"action":"shell.exec","deniedCommands":["rm -rf"]}`)), &granted); err != nil {
				t.Fatal(err)
			}
			e := installed(t, name, s.url, agent.APIKey, "--agent", id)
			yes := "{}\n"
			if name == "cursor" {
				yes = `{"permission":"allow"}`
			}
			e.wants(0, yes, "toolu_1", "go test ./...")
			e.wants(2, "COMMAND_NOT_ALLOWED", "toolu_2", "cd /tmp && rm -r --force x")
			e.wants(2, "IDEMPOTENCY", "toolu_1", "go vet ./...") // another call that says it is the first

			// A person is asked, says yes, and the same call goes through, once.
			revoke := "/v1/agents/" + id + "/permissions/" + granted.PermissionID + "/revoke"
			s.must(201, "POST", "/v1/agents/"+id+"/permissions", testToken, `{"action":"shell.exec","requiresApproval":true}`)
			s.must(200, "POST", revoke, testToken, `{}`)
			said := e.wants(2, "Needs approval", "toolu_3", "make deploy")
			_, approval, _ := strings.Cut(said, "Approval ")
			approval, _, _ = strings.Cut(approval, ",")
			s.must(200, "POST", "/v1/approvals/"+approval+"/approve", testToken, `{}`)
			e.wants(0, yes, "toolu_4", "make deploy")
			e.wants(2, "APPROVAL_USED", "toolu_5", "make deploy")

			e.env = append(e.env, "BEHALF_TOKEN=bhf_sk_"+strings.Repeat("A", 43))
			e.wants(2, "doesn't take the agent key", "toolu_6", "ls")
			e.env = append(e.env, "BEHALF_TOKEN=")
			e.wants(2, "no agent key is set", "toolu_7", "ls")
			e.env = append(e.env, "BEHALF_TOKEN="+agent.APIKey, "BEHALF_URL=http://127.0.0.1:1")
			e.wants(2, "permission layer is unavailable", "toolu_8", "ls")
		})
	}
}

func TestAHookThatIsEndedBlocks(t *testing.T) {
	t.Parallel()
	asked := make(chan struct{}, 8)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // only then is it noticed that the hook has gone
		asked <- struct{}{}
		<-r.Context().Done()
	}))
	defer server.Close()
	e := installed(t, "claude-code", server.URL, secret)
	for _, sig := range []os.Signal{syscall.SIGTERM, os.Interrupt, syscall.SIGHUP, syscall.SIGQUIT} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		cmd := e.hook()
		var out bytes.Buffer
		cmd.Stdin, cmd.Stdout = strings.NewReader(`{"hook_event_name":"PreToolUse","tool_name":"LS","tool_input":{"path":"/x"}}`), &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		select {
		case <-asked:
		case <-ctx.Done():
			t.Fatal("the hook asked nothing")
		}
		if err := cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		cancel()
		if code := cmd.ProcessState.ExitCode(); code != 2 || !strings.Contains(out.String(), "permission layer is unavailable") {
			t.Errorf("%v: got %d and %q, want 2 and that it is unavailable", sig, code, out.String())
		}
	}
}

func TestAYesThatTheEditorDoesntReadBlocks(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(&guard{})
	defer server.Close()
	cmd := installed(t, "claude-code", server.URL, secret).hook()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	_ = read.Close()
	defer write.Close()
	var errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(`{"hook_event_name":"PreToolUse","tool_name":"TodoWrite","tool_input":{}}`), write, &errs
	_ = cmd.Run()
	if code := cmd.ProcessState.ExitCode(); code != 2 || !strings.Contains(errs.String(), "the answer can't be written") {
		t.Errorf("got %d and %s, want 2", code, errs.String())
	}
}

func TestWrongHookCommandLinesBlock(t *testing.T) {
	t.Parallel()
	e := installed(t, "claude-code", "http://127.0.0.1:1", secret)
	for _, args := range [][]string{
		{"hook", "claude-code", "--no-such-flag"},
		{"hook", "claude-code", "--timeout=0s"},
		{"hook", "claude-code", "more"},
		{"hook", "claude-code", "--wait=9h"},
		{"hook", "codex", "--auto-allow"},
		{"hook", "emacs"},
		{"hook"},
	} {
		cmd := exec.Command(e.hook().Path, args...)
		cmd.Env = append(e.env, asServer+"=1") // what is not a hook is the whole program
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState.ExitCode() != 2 || len(out) == 0 {
			t.Errorf("%q: got %v, %s, want 2", args, err, out)
		}
	}
}

func TestHookInstallShowsAndTakesBack(t *testing.T) {
	t.Parallel()
	c := offline(t)
	home := t.TempDir()
	c.env["HOME"] = home
	path := filepath.Join(home, ".claude", "settings.json")
	install := []string{"hook", "install", "claude-code", "--program", os.Args[0]}
	out := c.says(0, []string{"+++ " + path, `+            "onFailure": "block"`, "Nothing was written."}, append(install, "--dry-run")...)
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a dry run wrote %s", path)
	}
	written := c.says(0, []string{"Written to " + path}, install...)
	if strings.TrimSuffix(out, "Nothing was written.\n") != strings.TrimSuffix(written, "Written to "+path+".\n") {
		t.Errorf("got\n%s\nwant what was shown before\n%s", written, out)
	}
	c.says(0, []string{"Nothing to do"}, install...)
	c.says(0, []string{`-            "onFailure": "block"`, "Written to"}, "hook", "uninstall", "claude-code")
	c.says(0, []string{"Nothing to do"}, "hook", "uninstall", "claude-code")
	_, _, errs := c.run("hook", "install", "codex", "--program", os.Args[0])
	for _, part := range []string{"Codex fails open", "/hooks", "No agent key is set here"} {
		if !strings.Contains(errs, part) {
			t.Errorf("got\n%s\nwant it to say %q", errs, part)
		}
	}
	c.wantError(2, []string{`there is no editor "vim"`}, "hook", "install", "vim")
	c.wantError(2, []string{"no local settings"}, "hook", "install", "cursor", "--scope", "local", "--program", os.Args[0])
	c.wantError(2, []string{"--program"}, "hook", "install", "cursor", "--program", home)
	c.wantError(2, []string{"install behalf first"}, "hook", "install", "cursor")
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.wantError(1, []string{"is not JSON, and is left alone"}, install...)
}
