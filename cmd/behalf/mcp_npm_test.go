package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// mcpClient is a program of the npm registry's MCP client. It prints what it saw
// of a server of the registry behind the proxy, and of the tools that ask.
const mcpClient = `
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

const { BEHALF, FILES, DIR, KEY, ADDRESS } = process.env;
const say = (...what) => console.log(JSON.stringify(what));
const run = async (transport, use) => {
  const client = new Client({ name: "test", version: "1" });
  await client.connect(transport);
  await use(client);
  await client.close();
};
const start = (args, env = {}) => new StdioClientTransport({ command: BEHALF, args, env: { ...process.env, BEHALF_TOKEN: KEY, ...env }, stderr: "ignore" });
const call = (client, name, args) => client.callTool({ name, arguments: args }).then(
  (r) => [r.isError ?? false, r.content[0].text.split(/[.:(]/)[0].trim()],
  (e) => [e.code, e.data?.decision, e.data?.reasonCode, /not a denial/.test(e.message)],
);
const proxy = ["mcp-proxy", "--server-name", "files", "--filter-tools", "--", process.execPath, FILES, DIR];

await run(start(proxy), async (client) => {
  say("tools", (await client.listTools()).tools.map((t) => t.name).sort());
  say("read", await call(client, "read_text_file", { path: DIR + "/a.txt" }));
  say("write", await call(client, "write_file", { path: DIR + "/b.txt", content: "bad" }));
  say("move", await call(client, "move_file", { source: DIR + "/a.txt", destination: DIR + "/c.txt" }));
});
await run(start(proxy.filter((a) => a !== "--filter-tools"), { BEHALF_URL: "http://127.0.0.1:1" }), async (client) => {
  say("down", await call(client, "read_text_file", { path: DIR + "/a.txt" }));
});
await run(start(proxy.filter((a) => a !== "--filter-tools"), { BEHALF_TOKEN: "" }), async (client) => {
  say("no key", await call(client, "read_text_file", { path: DIR + "/a.txt" }));
});
const tools = (how) => async (client) => {
  say(how, (await client.listTools()).tools.map((t) => t.name).sort());
  say(how, await call(client, "verify_action", { action: "mcp.call", resource: "mcp://files/read_text_file" }));
  say(how, await call(client, "verify_action", { action: "mcp.call", resource: "mcp://files/write_file" }));
  say(how, await call(client, "verify_action", { action: "mcp.call", resource: "mcp://files/move_file" }));
  say(how, await call(client, "get_passport", {}));
  say(how, await call(client, "wait_for_approval", { approvalId: "apr_01K8M5C0W2X4Y6Z8A0B2C4D6E8", seconds: 1 }));
};
const web = (key) => new StreamableHTTPClientTransport(new URL(ADDRESS), { requestInit: { headers: { Authorization: "Bearer " + key } } });
await run(start(["mcp"]), tools("stdio"));
await run(web(KEY), tools("http"));
await run(web("bhf_sk_" + "a".repeat(43)), async (client) => say("bad key", await call(client, "verify_action", { action: "mcp.call" })));
await run(start(["mcp"], { BEHALF_URL: "http://127.0.0.1:1" }), async (client) => say("away", await call(client, "verify_action", { action: "mcp.call" })));
`

// fromNPM fetches packages, or says why the test can't run.
func fromNPM(t *testing.T, names ...string) (node, dir string) {
	t.Helper()
	if testing.Short() {
		t.Skip("fetches packages from the npm registry")
	}
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("node is not installed, so that no client of the npm registry can be run")
	}
	npm, err := exec.LookPath("npm")
	if err != nil {
		t.Skip("npm is not installed, so that no client of its registry can be run")
	}
	dir = t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	install := exec.CommandContext(ctx, npm, append([]string{"install", "--prefix", dir, "--no-audit", "--no-fund", "--ignore-scripts"}, names...)...)
	if out, err := install.CombinedOutput(); err != nil {
		t.Skipf("the npm registry can't be reached: %v: %s", err, out)
	}
	return node, dir
}

// serveMCP runs "behalf mcp --listen" and returns where it is.
func serveMCP(t *testing.T, url string) string {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	errs, in := io.Pipe()
	ended := make(chan int, 1)
	go func() {
		code := run(ctx, []string{"mcp", "--listen", "127.0.0.1:0"}, strings.NewReader(""), io.Discard, in, func(name string) string {
			return map[string]string{"BEHALF_URL": url, "BEHALF_CONFIG": filepath.Join(t.TempDir(), "none.json")}[name]
		})
		_ = in.Close()
		ended <- code
	}()
	t.Cleanup(func() {
		stop()
		if code := <-ended; code != 0 {
			t.Errorf("behalf mcp ended with %d", code)
		}
	})
	lines := bufio.NewScanner(errs)
	for lines.Scan() {
		if _, address, ok := strings.Cut(lines.Text(), "MCP at "); ok {
			go func() { _, _ = io.Copy(io.Discard, errs) }() // until it has ended
			return address
		}
	}
	t.Fatal("behalf mcp didn't say where it is")
	return ""
}

func TestAClientAndAServerOfTheNPMRegistry(t *testing.T) {
	t.Parallel()
	node, packages := fromNPM(t, "@modelcontextprotocol/server-filesystem@2026.8.31", "@modelcontextprotocol/sdk@1.32.2")
	s := startServer(t, t.TempDir())
	key := s.agent("ollie")
	for _, terms := range []string{`"resource":"mcp://files/read_text_file"`, `"resource":"mcp://files/move_file","requiresApproval":true`} {
		s.must(201, "POST", "/v1/agents/ollie/permissions", testToken, `{"action":"mcp.call",`+terms+`}`)
	}
	files := t.TempDir()
	if err := os.WriteFile(filepath.Join(files, "a.txt"), []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	client := exec.CommandContext(t.Context(), node, "--input-type=module", "-e", mcpClient)
	client.Dir = packages
	client.Env = append(os.Environ(), asServer+"=1", "BEHALF_URL="+s.url, "BEHALF_CONFIG="+filepath.Join(packages, "none.json"), "KEY="+key,
		"BEHALF="+os.Args[0], "FILES="+filepath.Join(packages, "node_modules/@modelcontextprotocol/server-filesystem/dist/index.js"), "DIR="+files, "ADDRESS="+serveMCP(t, s.url))
	var faults bytes.Buffer
	client.Stderr = &faults
	out, err := client.Output()
	if err != nil {
		t.Fatalf("node: %v\n%s\n%s", err, out, faults.String())
	}
	const all = `["get_approval","get_passport","verify_action","wait_for_approval"]`
	want := []string{
		`["tools",["move_file","read_text_file"]]`,
		`["read",[false,"hello"]]`,
		`["write",[-32050,"denied","RESOURCE_NOT_ALLOWED",false]]`,
		`["move",[-32050,"requires_approval","APPROVAL_REQUIRED",false]]`,
		`["down",[-32051,"unavailable","UNAVAILABLE",true]]`,
		`["no key",[-32051,"unavailable","UNAVAILABLE",true]]`,
	}
	for _, how := range []string{"stdio", "http"} {
		for _, got := range []string{all, `[false,"ALLOWED"]`, `[false,"DENIED"]`, `[false,"REQUIRES APPROVAL"]`, `[false,"The passport of ollie, who is active"]`, `[true,"NOT ALLOWED"]`} {
			want = append(want, `["`+how+`",`+got+`]`)
		}
	}
	want = append(want, `["bad key",[true,"NOT ALLOWED"]]`, `["away",[true,"NOT ALLOWED"]]`)
	if got := strings.Fields(strings.ReplaceAll(string(out), " ", "_")); !slices.Equal(got, strings.Fields(strings.ReplaceAll(strings.Join(want, "\n"), " ", "_"))) {
		t.Errorf("got\n%s\nwant\n%s", out, strings.Join(want, "\n"))
	}
	if left, err := os.ReadDir(files); err != nil || len(left) != 1 || left[0].Name() != "a.txt" {
		t.Errorf("got %v, %v, want nothing to have been written or moved", left, err)
	}
}

func TestMCPOverHTTPWithCurl(t *testing.T) {
	t.Parallel()
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("curl is not installed")
	}
	s := startServer(t, t.TempDir())
	key := s.agent("ollie")
	address := serveMCP(t, s.url)
	ask := func(header ...string) (status, text string) {
		t.Helper()
		args := []string{
			"--silent", "--show-error", "--max-time", "60", "--write-out", "\n%{http_code}", address, "-H", "Content-Type: application/json", "-H", "Accept: application/json, text/event-stream",
			"-d", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"verify_action","arguments":{"action":"purchase","amount":"120"}}}`,
		}
		for _, h := range header {
			args = append(args, "-H", h)
		}
		out, err := exec.CommandContext(t.Context(), curl, args...).Output()
		if err != nil {
			t.Fatal(err)
		}
		i := bytes.LastIndexByte(out, '\n')
		var answer struct {
			Result struct{ Content []struct{ Text string } }
		}
		if json.Unmarshal(out[:i], &answer) == nil && len(answer.Result.Content) == 1 {
			return string(out[i+1:]), answer.Result.Content[0].Text
		}
		return string(out[i+1:]), string(out[:i])
	}
	for name, c := range map[string]struct {
		header       []string
		status, says string
	}{
		"its key":          {[]string{"Authorization: Bearer " + key}, "200", "ALLOWED: "},
		"another key":      {[]string{"Authorization: Bearer bhf_sk_" + strings.Repeat("a", 43)}, "200", "NOT ALLOWED: the permission layer was unavailable"},
		"a member's token": {[]string{"Authorization: Bearer " + testToken}, "200", "NOT ALLOWED: the permission layer was unavailable"},
		"no key":           {nil, "200", "NOT ALLOWED: the permission layer was unavailable"},
		"another site":     {[]string{"Authorization: Bearer " + key, "Origin: https://evil.example"}, "403", ""},
		"another host":     {[]string{"Authorization: Bearer " + key, "Host: evil.example"}, "403", ""},
	} {
		if status, text := ask(c.header...); status != c.status || !strings.HasPrefix(text, c.says) {
			t.Errorf("%s: got %s %s, want %s %s", name, status, text, c.status, c.says)
		}
	}
}
