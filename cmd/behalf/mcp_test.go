package main

import (
	"bytes"
	"encoding/json"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

const (
	mayCall   = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read_file","arguments":{"path":"/a"}}}` + "\n"
	mayntCall = `{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"delete_file","arguments":{"path":"/a"}}}` + "\n"
)

// proxied runs the proxy before a program that sends back what it gets.
func proxied(t *testing.T, env map[string]string, in string, args ...string) (code int, out, errs string) {
	t.Helper()
	var o, e said
	args = append(append([]string{"mcp-proxy"}, args...), "--", "/bin/cat")
	code = run(t.Context(), args, strings.NewReader(in), &o, &e, func(name string) string { return env[name] })
	return code, o.String(), e.String()
}

func TestMCPProxyAsksAServer(t *testing.T) {
	t.Parallel()
	s := startServer(t, t.TempDir())
	key := s.agent("ollie")
	s.must(201, "POST", "/v1/agents/ollie/permissions", testToken, `{"action":"mcp.call","resource":"mcp://files/read_*"}`)
	env := map[string]string{"BEHALF_URL": s.url, "BEHALF_TOKEN": key}
	if code, out, errs := proxied(t, env, mayCall, "--server-name", "files"); code != 0 || out != mayCall {
		t.Errorf("got %d, %q, want what was sent\n%s", code, out, errs)
	}
	code, out, errs := proxied(t, env, mayntCall, "--server-name", "files", "--agent", "ollie")
	if code != 0 || !strings.Contains(out, `"code":-32050`) || !strings.Contains(out, `"requestId":"req_`) || strings.Contains(out, "tools/call") {
		t.Errorf("got %d, %q, want a denial\n%s", code, out, errs)
	}
	if _, out, _ := proxied(t, env, mayCall, "--server-name", "files", "--agent", "max"); !strings.Contains(out, `"code":-3205`) || strings.Contains(out, "tools/call") {
		t.Errorf("for another agent: got %q", out)
	}
}

func TestMCPProxyWithoutSettingsRefuses(t *testing.T) {
	t.Parallel()
	env := map[string]string{"BEHALF_CONFIG": filepath.Join(t.TempDir(), "none.json")}
	code, out, errs := proxied(t, env, mayCall, "--server-name", "files")
	if code != 0 || !strings.Contains(out, `"code":-32051`) || !strings.Contains(out, "BEHALF_TOKEN") || strings.Contains(out, "tools/call") {
		t.Errorf("got %d, %q, want it to be unavailable\n%s", code, out, errs)
	}
}

func TestMCPProxyIsToldWhatToRun(t *testing.T) {
	t.Parallel()
	c := newConsole(t, answering(500, ""))
	c.wantError(3, []string{"needs the command"}, "mcp-proxy")
	c.wantError(3, []string{"--server-name"}, "mcp-proxy", "--", "npx", "-y", "some-server")
	c.wantError(3, []string{"start the server"}, "mcp-proxy", "--", filepath.Join(t.TempDir(), "none"))
}

func TestMCPOverStandardInputAndOutput(t *testing.T) {
	t.Parallel()
	s := startServer(t, t.TempDir())
	key := s.agent("ollie")
	in, fromClient := io.Pipe()
	fromServer, out := io.Pipe()
	ended := make(chan int, 1)
	var errs bytes.Buffer
	go func() {
		code := run(t.Context(), []string{"mcp"}, in, out, &errs, func(name string) string {
			return map[string]string{"BEHALF_URL": s.url, "BEHALF_TOKEN": key}[name]
		})
		_ = out.Close()
		ended <- code
	}()
	session, err := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil).
		Connect(t.Context(), &mcp.IOTransport{Reader: fromServer, Writer: fromClient}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for amount, want := range map[string]string{"120": "ALLOWED", "742": "DENIED (AMOUNT_EXCEEDS_LIMIT)"} {
		r, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: "verify_action", Arguments: map[string]any{"action": "purchase", "amount": json.Number(amount)}})
		if err != nil || r.IsError || !strings.HasPrefix(r.Content[0].(*mcp.TextContent).Text, want) {
			t.Errorf("%s: got %+v, %v, want %s", amount, r, err, want)
		}
	}
	_ = session.Close()
	_ = fromClient.Close()
	if code := <-ended; code != 0 {
		t.Errorf("got the exit code %d: %s", code, errs.String())
	}
}
