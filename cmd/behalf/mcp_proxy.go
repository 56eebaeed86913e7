package main

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/behalf-platform/behalf"
	"github.com/behalf-platform/behalf/cmd/behalf/mcpproxy"
)

// usualMCPWait is what --wait alone stands for: what MCP clients give a request
// is mostly not more.
const usualMCPWait = "50s"

func (s *shell) mcpProxy() *cobra.Command {
	p := &mcpproxy.Proxy{}
	cmd := &cobra.Command{
		Use: "mcp-proxy [flags] -- COMMAND [ARGUMENT…]", Short: "Verify what is asked of an MCP server before it gets there",
		Long: `Stand before an MCP server that speaks over standard input and output, and verify
each request that does something, bound to the server, what is named, and the
arguments. It reaches the server only after a recorded allow of exactly it.

  tools/call                               mcp.call      mcp://SERVER/TOOL
  resources/read, resources/subscribe      mcp.read      mcp://SERVER/URI
  prompts/get                              mcp.prompt    mcp://SERVER/PROMPT
  completion/complete                      mcp.complete  mcp://SERVER/PROMPT or URI

The parts of a resource are percent-encoded: file:///tmp/a of the server files is
mcp://files/file:%2F%2F%2Ftmp%2Fa. Lists, pings, logging, cancellations, progress
and answers to the server pass as they are, and so does all that the server
sends. A method that is unknown is refused, and so is JSON that others could read
otherwise: a name twice or in another case, a carriage return within a message, a
URI with dot segments, control characters, or more encoded than has to be.

A refusal is a JSON-RPC error whose data has decision, reasonCode, requestId and
approvalId: code -32050 for a decision (denied or requires_approval), -32051 if
the permission layer is unavailable, missing settings included.

With --filter-tools, lists of tools leave out what the passport denies. With
--wait it waits for a person; give the MCP client a longer timeout than that.

The server inherits the environment without BEHALF_TOKEN. Signals are passed on,
and the exit code is the server's own (128 and the signal's number if a signal
ended it), or 3 if it could not be run.`,
		Example: `  BEHALF_TOKEN=bhf_sk_… behalf mcp-proxy --server-name files -- npx -y @modelcontextprotocol/server-filesystem /srv/data
  behalf mcp-proxy --filter-tools --wait=5m -- ./github-mcp-server stdio`,
		Annotations: map[string]string{failsClosed: "yes"},
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := serverName(p.Server, args[0])
			if err != nil {
				return err
			}
			p.Server, p.Notes = name, s.errs
			p.Gate.Agent = cmp.Or(p.Gate.Agent, s.getenv("BEHALF_AGENT"))
			if p.Gate.Wait < 0 {
				return usagef("--wait must be more than 0")
			}
			p.Gate.Client, p.Gate.Timeout, err = s.asker(cmd)
			if err != nil {
				// The server starts all the same, so that the client hears why.
				p.Gate.Fault = err
				_, _ = fmt.Fprintln(s.errs, "behalf: everything will be refused:", err)
			}
			return s.runBehind(cmd.Context(), p, args)
		},
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 || args[0] == "" {
				return fmt.Errorf("%s needs the command that starts the MCP server; see %q", cmd.CommandPath(), cmd.CommandPath()+" --help")
			}
			return nil
		},
	}
	f := cmd.Flags()
	s.given.flags(f)
	_ = f.MarkHidden("output") // it has none of its own
	f.SetInterspersed(false)   // what follows the command is the command's
	f.StringVar(&p.Server, "server-name", "", "name of the server in resources (default: the command's own name)")
	f.BoolVar(&p.FilterTools, "filter-tools", false, "leave out what the passport denies of lists of tools")
	f.DurationVar(&p.Gate.Wait, "wait", 0, "if it requires approval, wait so long for a person, such as --wait=5m; alone "+usualMCPWait)
	f.Lookup("wait").NoOptDefVal = usualMCPWait
	f.StringVar(&p.Gate.Agent, "agent", "", "the one agent whose packets are taken (BEHALF_AGENT; default: whose key it is)")
	f.StringVar(&p.Gate.Facts.Branch, "branch", "", "branch the agent works on")
	f.StringVar(&p.Gate.Facts.Environment, "environment", "", "environment it works in")
	f.StringVar(&p.Gate.Facts.Repository, "repository", "", "repository it works in")
	return cmd
}

// asker is a client for asking many things at once, and how long each may take.
func (s *shell) asker(cmd *cobra.Command) (*behalf.Client, time.Duration, error) {
	r, err := s.connect(cmd)
	if err != nil {
		return nil, s.given.timeout, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 16
	return &behalf.Client{BaseURL: r.BaseURL, Token: r.Token, HTTPClient: &http.Client{Transport: transport}}, s.given.timeout, nil
}

// launchers start many servers, so that their name says nothing of which one.
var launchers = []string{
	"npx", "npm", "pnpm", "yarn", "bun", "bunx", "deno", "node", "uv", "uvx", "pipx", "python", "python3", "ruby", "java", "dotnet", "go",
	"docker", "podman", "sh", "bash", "zsh", "env", "cmd", "powershell", "pwsh", "sudo", "ssh",
}

// serverName is what a server's tools are verified under. The server is not
// asked: it could call itself another one.
func serverName(given, command string) (string, error) {
	if given != "" {
		return given, nil
	}
	name := filepath.Base(command)
	name = strings.TrimSuffix(strings.TrimSuffix(name, ".exe"), ".cmd")
	if slices.Contains(launchers, strings.ToLower(name)) {
		return "", usagef("%s can start any server; say which one it is with --server-name", name)
	}
	return name, nil
}

func (s *shell) runBehind(ctx context.Context, p *mcpproxy.Proxy, args []string) error {
	server := exec.Command(args[0], args[1:]...)
	server.Env, server.Stderr = mcpproxy.Environment(os.Environ()), s.errs
	code, err := p.Run(ctx, server, s.in, s.out)
	if err != nil {
		return err
	}
	if code != exitOK {
		return exitCode(code)
	}
	return nil
}
