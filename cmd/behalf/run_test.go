package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// guard is a server that answers verifies with what become changes the packet
// to, and keeps what it was sent.
type guard struct {
	changes []string
	status  int
	before  func()
	// silent says nothing until the caller gives up; promises is the length that
	// an answer doesn't have.
	silent   bool
	promises int

	mu   sync.Mutex
	sent []string // guarded by mu
}

func (g *guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	g.mu.Lock()
	g.sent = append(g.sent, r.URL.Path+" "+string(body))
	g.mu.Unlock()
	if g.before != nil {
		g.before()
	}
	var ask struct{ Action string }
	_ = json.Unmarshal(body, &ask)
	if strings.HasSuffix(r.URL.Path, "/outcome") {
		var report struct{ Outcome string }
		_ = json.Unmarshal(body, &report)
		_, _ = io.WriteString(w, `{"requestId":"req_1","outcome":"`+report.Outcome+`"}`)
		return
	}
	if g.silent {
		<-r.Context().Done()
		return
	}
	if g.promises > 0 {
		w.Header().Set("Content-Length", strconv.Itoa(g.promises))
	}
	if g.status != 0 {
		w.WriteHeader(g.status)
	}
	packet := `{"requestId":"req_1","agentId":"ollie","decision":"allowed","allowed":true,"reasonCode":"ALLOWED","reason":"allowed by permission perm_1",` +
		`"riskLevel":"low","permissionId":"perm_1","action":"` + ask.Action + `","passportVersion":7,"position":"AAAAAAAJ","decidedAt":"2026-11-23T12:00:00Z","approvalRequired":false,"risk":"low"}`
	_, _ = io.WriteString(w, strings.NewReplacer(g.changes...).Replace(packet))
}

func TestRunRunsWhatWasVerified(t *testing.T) {
	t.Parallel()
	g := &guard{}
	c := newConsole(t, g.ServeHTTP)
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	code, out, errs := c.run("run", "--", "sh", "-c", `printf '[%s]' "$@"; echo oops >&2; exit 7`, "sh", "a b", "it's", "x\ny", "--help", "$HOME", "")
	if code != 7 || out != "[a b][it's][x\ny][--help][$HOME][]" || errs != "oops\n" {
		t.Errorf("got %d, %q, %q", code, out, errs)
	}
	var ask struct {
		Action, Command, Cwd string
		Arguments            struct {
			File string
			Argv []string
		}
	}
	if err := json.Unmarshal([]byte(strings.TrimPrefix(g.sent[0], "/v1/verify ")), &ask); err != nil {
		t.Fatal(err)
	}
	if want := sh + ` -c 'printf '`; ask.Action != "shell.exec" || ask.Cwd != dir || !strings.HasPrefix(ask.Command, want[:len(sh)+4]) || len(ask.Arguments.Argv) != 10 || ask.Arguments.File != sh {
		t.Errorf("got the ask %s", g.sent[0])
	}
	// A shell reads the command as the arguments that were given.
	read, err := exec.Command("bash", "-c", `set -- `+ask.Command+`; shift; printf '%s|' "$@"`).Output()
	if err == nil && string(read) != strings.Join(ask.Arguments.Argv[1:], "|")+"|" {
		t.Errorf("got the command %s, which bash reads as %q", ask.Command, read)
	}

	c.in = "from here"
	c.want(0, "from here", "run", "cat")
	c.wantError(137, nil, "run", "--", "sh", "-c", "kill -9 $$")
}

func TestRunRunsNothingWithoutAnAllow(t *testing.T) {
	t.Parallel()
	denied := []string{`"allowed","allowed":true`, `"denied","allowed":false`, `"ALLOWED"`, `"COMMAND_NOT_ALLOWED"`}
	for name, c := range map[string]struct {
		guard   *guard
		env     map[string]string
		unnamed bool // no --agent
		args    []string
		code    int
		says    string
	}{
		"denied":            {guard: &guard{changes: denied}, code: 1, says: "DENIED COMMAND_NOT_ALLOWED"},
		"requires approval": {guard: &guard{changes: []string{`"allowed","allowed":true`, `"requires_approval","allowed":false`, `"approvalRequired":false`, `"approvalRequired":true`}}, code: 2, says: "REQUIRES APPROVAL"},
		"server down":       {env: map[string]string{"BEHALF_URL": "http://127.0.0.1:1"}, code: 3, says: "no server answers"},
		"500":               {guard: &guard{status: 500}, code: 3, says: "not allowed: "},
		"401":               {guard: &guard{status: 401}, code: 3, says: "not allowed: "},
		"429":               {guard: &guard{status: 429}, code: 3, says: "not allowed: "},
		"malformed":         {guard: &guard{changes: []string{"{", "<"}}, code: 3, says: "can't be read"},
		"slow":              {guard: &guard{silent: true}, args: []string{"--timeout", "50ms"}, code: 3, says: "not allowed: no "}, // no whole answer, or no connection on a machine that is slower
		"dry answer":        {guard: &guard{changes: []string{`{"requestId"`, `{"dryRun":true,"requestId"`}}, code: 3, says: "nothing was decided"},
		"a preview":         {guard: &guard{changes: []string{`"decision":"allowed","allowed":true`, `"wouldBe":"allowed"`}}, code: 3, says: "nothing was decided"},
		"broken off":        {guard: &guard{promises: 10_000}, code: 3, says: "broke off"},
		"truncated":         {guard: &guard{changes: []string{`"risk":"low"}`, ``}}, code: 3, says: "can't be read"},
		"empty":             {guard: &guard{changes: []string{`"requestId":"req_1",`, ``}}, code: 3, says: "doesn't say where it is recorded"},
		"wrong agent":       {guard: &guard{changes: []string{"ollie", "mia"}}, code: 3, says: `about the agent "mia"`},
		"wrong action":      {guard: &guard{changes: []string{"shell.exec", "file.read"}}, code: 3, says: `about the action "file.read"`},
		"contradictory":     {guard: &guard{changes: []string{`"decision":"allowed"`, `"decision":"denied"`}}, code: 3, says: "contradicts itself"},
		"no configuration":  {env: map[string]string{"BEHALF_TOKEN": "", "BEHALF_URL": ""}, code: 3, says: "needs a credential"},
		"another's key":     {env: map[string]string{"BEHALF_AGENT": "mia"}, unnamed: true, code: 3, says: `about the agent "ollie", not "mia"`},
		"no credential":     {env: map[string]string{"BEHALF_TOKEN": ""}, code: 3, says: "needs a credential"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := c.guard
			if g == nil {
				g = &guard{}
			}
			console := newConsole(t, g.ServeHTTP)
			for key, value := range c.env {
				console.env[key] = value
			}
			file := filepath.Join(t.TempDir(), "made")
			args := append([]string{"run"}, c.args...)
			if !c.unnamed {
				args = append(args, "--agent", "ollie")
			}
			console.wantError(c.code, []string{c.says}, append(args, "--", "touch", file)...)
			if _, err := os.Stat(file); err == nil {
				t.Error("the command was run")
			}
		})
	}
	c := newConsole(t, (&guard{}).ServeHTTP)
	c.wantError(3, []string{"no-such-program-anywhere"}, "run", "--", "no-such-program-anywhere")
	c.wantError(3, []string{"needs a command"}, "run")
	c.wantError(3, []string{"--no-such-flag"}, "run", "--no-such-flag", "true")
}

func TestRunRunsNoFileThatWasReplaced(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	tool, made := filepath.Join(dir, "tool"), filepath.Join(dir, "made")
	write := func(text string) {
		_ = os.Remove(tool)
		if err := os.WriteFile(tool, []byte("#!/bin/sh\n"+text), 0o700); err != nil {
			t.Error(err)
		}
	}
	write("exit 0")
	g := &guard{before: func() { write("touch " + made) }}
	newConsole(t, g.ServeHTTP).wantError(3, []string{"was replaced after it was asked about"}, "run", tool)
	if _, err := os.Stat(made); err == nil {
		t.Error("the command was run")
	}
}

func TestRunRunsNothingForACallerWhoIsGone(t *testing.T) {
	t.Parallel()
	made := filepath.Join(t.TempDir(), "made")
	c, err := newCommand([]string{"touch", made})
	if err != nil {
		t.Fatal(err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.run(gone, &shell{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that it was too late", err)
	}
	if _, err := os.Stat(made); err == nil {
		t.Error("the command was run")
	}
}

func TestRunReportsTheOutcomeIfAsked(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args     []string
		reserved bool
		code     int
		want     string
	}{
		{[]string{"run", "--outcome", "--", "true"}, true, 0, `/v1/decisions/req_1/outcome {"outcome":"executed"}`},
		{[]string{"run", "--outcome", "--", "false"}, true, 1, `/v1/decisions/req_1/outcome {"outcome":"failed"}`},
		{[]string{"run", "--", "true"}, true, 0, ""},
		{[]string{"run", "--outcome", "--", "true"}, false, 0, ""},
	} {
		g := &guard{}
		if c.reserved {
			g.changes = []string{`"approvalRequired":false`, `"approvalRequired":false,"reserved":true`}
		}
		newConsole(t, g.ServeHTTP).want(c.code, "", c.args...)
		if got := strings.Join(g.sent[1:], "\n"); got != c.want {
			t.Errorf("%q: got %s, want %s", c.args, got, c.want)
		}
	}
}

func TestRunPassesSignalsOn(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(&guard{})
	defer server.Close()
	for sig, name := range map[syscall.Signal]string{syscall.SIGTERM: "TERM", syscall.SIGHUP: "HUP", syscall.SIGUSR1: "USR1", syscall.SIGINT: "INT"} {
		cmd := exec.Command(os.Args[0], "run", "--", "sh", "-c", `trap 'echo bye; exit 42' `+name+`; echo ready; while :; do sleep 0.02; done`)
		cmd.Env = append(os.Environ(), asServer+"=1", "BEHALF_URL="+server.URL, "BEHALF_TOKEN="+secret)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		if !lines.Scan() || lines.Text() != "ready" {
			t.Errorf("got %q, want ready", lines.Text())
		}
		if err := cmd.Process.Signal(sig); err != nil {
			t.Error(err)
		}
		if !lines.Scan() || lines.Text() != "bye" {
			t.Errorf("%s: got %q, want bye", name, lines.Text())
		}
		_ = cmd.Wait()
		if code := cmd.ProcessState.ExitCode(); code != 42 {
			t.Errorf("%s: got %d, want the command's own 42", name, code)
		}
	}
}
