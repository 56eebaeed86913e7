package mcpproxy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/behalf-platform/behalf"
)

// asChild makes the test binary an MCP server, or whatever else it says.
const asChild = "BEHALF_TEST_CHILD"

func TestMain(m *testing.M) {
	switch os.Getenv(asChild) {
	case "":
		os.Exit(m.Run())
	case "exits":
		_, _ = fmt.Fprint(os.Stderr, "going\n")
		fmt.Print(`{"jsonrpc":"2.0","method":"last"}`) // without the end of the line
		os.Exit(7)
	case "signals":
		fmt.Println("ready")
		time.Sleep(time.Minute)
	case "endless":
		signal.Ignore(syscall.SIGPIPE)
		long := []byte(strings.Repeat("x", 1<<20))
		for range mostMessage>>20 + 1 {
			_, _ = os.Stdout.Write(long) // it doesn't look whether anybody reads it
		}
		_, _ = io.Copy(io.Discard, os.Stdin)
	case "environment":
		for _, name := range []string{"BEHALF_TOKEN", "behalf_token", "BEHALF_OWNER_TOKEN", "BEHALF_URL", "PATH"} {
			fmt.Println(name, os.Getenv(name) != "")
		}
	case "server":
		serveChild()
	}
}

type input struct {
	Text string `json:"text"`
}

// serveChild is an MCP server with what a proxy has to let through.
func serveChild() {
	s := mcp.NewServer(&mcp.Implementation{Name: "child", Version: "1"}, nil)
	for _, name := range []string{"echo", "deny_this"} {
		mcp.AddTool(s, &mcp.Tool{Name: name}, func(ctx context.Context, req *mcp.CallToolRequest, in input) (*mcp.CallToolResult, any, error) {
			if token := req.Params.GetProgressToken(); token != nil {
				_ = req.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{ProgressToken: token, Progress: 1, Message: "half"})
			}
			return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: name + " " + in.Text}}}, nil, nil
		})
	}
	mcp.AddTool(s, &mcp.Tool{Name: "elicit"}, func(ctx context.Context, req *mcp.CallToolRequest, _ input) (*mcp.CallToolResult, any, error) {
		answer, err := req.Session.Elicit(ctx, &mcp.ElicitParams{Message: "sure?", RequestedSchema: json.RawMessage(`{"type":"object","properties":{}}`)})
		if err != nil {
			return nil, nil, err
		}
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: answer.Action}}}, nil, nil
	})
	s.AddResource(&mcp.Resource{Name: "r", URI: "file:///r"}, func(context.Context, *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
		return &mcp.ReadResourceResult{Contents: []*mcp.ResourceContents{{URI: "file:///r", Text: "the resource"}}}, nil
	})
	s.AddPrompt(&mcp.Prompt{Name: "deny_prompt"}, func(context.Context, *mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
		return &mcp.GetPromptResult{Description: "the prompt"}, nil
	})
	if err := s.Run(context.Background(), &mcp.StdioTransport{}); err != nil && !errors.Is(err, io.EOF) {
		os.Exit(9)
	}
}

func child(what string, more ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = Environment(append(append(os.Environ(), asChild+"="+what), more...))
	return cmd
}

// behind connects a client of the SDK to a server behind a proxy whose layer
// decides by the resource.
func behind(t *testing.T, server *exec.Cmd, version string, opts *mcp.ClientOptions) *mcp.ClientSession {
	t.Helper()
	layer := httptest.NewServer(http.HandlerFunc(deciding))
	t.Cleanup(layer.Close)
	p := &Proxy{Server: "child", FilterTools: true, Gate: Gate{
		Client: &behalf.Client{BaseURL: layer.URL, Token: "bhf_sk_test"}, Agent: "ollie", Timeout: 5 * time.Second,
	}}
	toProxy, fromClient := io.Pipe()
	fromProxy, toClient := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		code, err := p.Run(context.Background(), server, toProxy, toClient)
		if code != 0 {
			err = errors.Join(err, fmt.Errorf("exit code %d", code))
		}
		_ = toClient.Close()
		ended <- err
	}()
	session, err := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, opts).
		Connect(t.Context(), &mcp.IOTransport{Reader: fromProxy, Writer: fromClient}, &mcp.ClientSessionOptions{ProtocolVersion: version})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = session.Close()
		_ = fromClient.Close()
		_, _ = io.Copy(io.Discard, fromProxy)
		if err := <-ended; err != nil {
			t.Errorf("the proxy ended with %v", err)
		}
	})
	return session
}

func wantCode(t *testing.T, err error, code int64) {
	t.Helper()
	wire, ok := errors.AsType[*jsonrpc.Error](err)
	if !ok || wire.Code != code {
		t.Errorf("got %v, want an error with the code %d", err, code)
	}
}

func TestAClientAndAServerOfTheSDK(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			testSDK(t, version)
		})
	}
}

func testSDK(t *testing.T, version string) {
	progress := make(chan string, 8)
	s := behind(t, child("server"), version, &mcp.ClientOptions{
		ElicitationHandler: func(context.Context, *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
			return &mcp.ElicitResult{Action: "decline"}, nil
		},
		ProgressNotificationHandler: func(_ context.Context, r *mcp.ProgressNotificationClientRequest) { progress <- r.Params.Message },
	})
	ctx := t.Context()
	list, err := s.ListTools(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, tool := range list.Tools {
		names = append(names, tool.Name)
	}
	if want := []string{"echo", "elicit"}; !slices.Equal(names, want) {
		t.Errorf("got the tools %v, want %v", names, want)
	}
	params := &mcp.CallToolParams{Name: "echo", Arguments: input{"hi"}}
	params.SetProgressToken("p")
	result, err := s.CallTool(ctx, params)
	if err != nil || result.Content[0].(*mcp.TextContent).Text != "echo hi" {
		t.Errorf("got %+v, %v", result, err)
	}
	if got := <-progress; got != "half" {
		t.Errorf("got the progress %q", got)
	}
	_, err = s.CallTool(ctx, &mcp.CallToolParams{Name: "deny_this", Arguments: input{"hi"}})
	wantCode(t, err, CodeDenied)
	if version == "2025-06-18" || version == "2025-11-25" { // older ones have none, and newer ones no requests of the server's
		result, err = s.CallTool(ctx, &mcp.CallToolParams{Name: "elicit", Arguments: input{}})
		if err != nil || result.Content[0].(*mcp.TextContent).Text != "decline" {
			t.Errorf("got %+v, %v", result, err)
		}
	}
	read, err := s.ReadResource(ctx, &mcp.ReadResourceParams{URI: "file:///r"})
	if err != nil || read.Contents[0].Text != "the resource" {
		t.Errorf("got %+v, %v", read, err)
	}
	_, err = s.GetPrompt(ctx, &mcp.GetPromptParams{Name: "deny_prompt"})
	wantCode(t, err, CodeDenied)
}

// registry fetches a server's package, or says why the test can't run.
func registry(t *testing.T, name string) string {
	t.Helper()
	if testing.Short() {
		t.Skip("fetches a package from the npm registry")
	}
	npm, err := exec.LookPath("npm")
	if err != nil {
		t.Skip("npm is not installed, so that no server of the registry can be run")
	}
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	install := exec.CommandContext(ctx, npm, "install", "--prefix", dir, "--no-audit", "--no-fund", "--ignore-scripts", name)
	if out, err := install.CombinedOutput(); err != nil {
		t.Skipf("the npm registry can't be reached: %v: %s", err, out)
	}
	return filepath.Join(dir, "node_modules", ".bin")
}

// noRoots is a client that has nothing to be asked for: these servers wait a
// minute for an answer when it has ended.
var noRoots = &mcp.ClientOptions{Capabilities: &mcp.ClientCapabilities{}}

func TestAServerOfTheRegistryForFiles(t *testing.T) {
	t.Parallel()
	bin := registry(t, "@modelcontextprotocol/server-filesystem@2026.8.31")
	dir := t.TempDir()
	server := exec.Command(filepath.Join(bin, "mcp-server-filesystem"), dir)
	server.Env = Environment(os.Environ())
	s := behind(t, server, "", noRoots)
	ctx := t.Context()
	file := filepath.Join(dir, "a.txt")
	if r, err := s.CallTool(ctx, &mcp.CallToolParams{Name: "write_file", Arguments: map[string]any{"path": file, "content": "hello"}}); err != nil || r.IsError {
		t.Fatalf("got %+v, %v", r, err)
	}
	if got, err := os.ReadFile(file); string(got) != "hello" {
		t.Errorf("the file holds %q, %v", got, err)
	}
	_, err := s.CallTool(ctx, &mcp.CallToolParams{Name: "deny_write_file", Arguments: map[string]any{"path": file, "content": "bad"}})
	wantCode(t, err, CodeDenied)
	if list, err := s.ListTools(ctx, nil); err != nil || len(list.Tools) < 5 {
		t.Errorf("got %+v, %v, want its tools", list, err)
	}
}

func TestAServerOfTheRegistryForEverything(t *testing.T) {
	t.Parallel()
	bin := registry(t, "@modelcontextprotocol/server-everything@2026.8.31")
	server := exec.Command(filepath.Join(bin, "mcp-server-everything"))
	server.Env = Environment(os.Environ())
	s := behind(t, server, "", noRoots)
	r, err := s.CallTool(t.Context(), &mcp.CallToolParams{Name: "echo", Arguments: map[string]any{"message": "hi"}})
	if err != nil || r.IsError || !strings.Contains(r.Content[0].(*mcp.TextContent).Text, "hi") {
		t.Errorf("got %+v, %v", r, err)
	}
	_, err = s.ReadResource(t.Context(), &mcp.ReadResourceParams{URI: "demo://deny/1"})
	wantCode(t, err, CodeDenied)
}

func TestTheEndOfTheServerIsTheEnd(t *testing.T) {
	t.Parallel()
	var out, errs said
	server := child("exits")
	server.Stderr = &errs
	in, _ := io.Pipe() // a client that stays
	code, err := (&Proxy{}).Run(t.Context(), server, in, &out)
	if code != 7 || err != nil {
		t.Errorf("got %d, %v, want 7", code, err)
	}
	if got := out.String(); got != `{"jsonrpc":"2.0","method":"last"}`+"\n" {
		t.Errorf("the client got %q", got)
	}
	if got := errs.String(); got != "going\n" {
		t.Errorf("standard error got %q", got)
	}
}

func TestAServerThatCantBePassedOnIsToldToEnd(t *testing.T) {
	t.Parallel()
	var out, notes said
	in, _ := io.Pipe() // a client that stays
	_, err := (&Proxy{Notes: &notes}).Run(t.Context(), child("endless"), in, &out)
	if !errors.Is(err, errTooLong) || !strings.Contains(notes.String(), errTooLong.Error()) || out.String() != "" {
		t.Errorf("got %v, %q and %.99q, want nothing but why", err, notes.String(), out.String())
	}
}

func TestASignalIsHowItEnded(t *testing.T) {
	t.Parallel()
	server := child("signals")
	in, _ := io.Pipe()
	ready, out := io.Pipe()
	go func() {
		_, _ = ready.Read(make([]byte, 64))
		_ = server.Process.Signal(syscall.SIGTERM)
		_, _ = io.Copy(io.Discard, ready)
	}()
	if code, err := (&Proxy{}).Run(t.Context(), server, in, out); code != 128+15 || err != nil {
		t.Errorf("got %d, %v, want 143", code, err)
	}
}

func TestTheServerDoesNotInheritTheCredential(t *testing.T) {
	t.Parallel()
	var out said
	server := child("environment", "BEHALF_TOKEN=x", "behalf_token=x", "BEHALF_OWNER_TOKEN=x", "BEHALF_URL=x")
	if code, err := (&Proxy{}).Run(t.Context(), server, strings.NewReader(""), &out); code != 0 || err != nil {
		t.Fatalf("got %d, %v", code, err)
	}
	want := "BEHALF_TOKEN false\nbehalf_token false\nBEHALF_OWNER_TOKEN false\nBEHALF_URL true\nPATH true\n"
	if got := out.String(); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
