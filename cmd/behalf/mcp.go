package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/behalf-platform/behalf/cmd/behalf/mcpserver"
)

func (s *shell) mcp() *cobra.Command {
	var listen, agent string
	cmd := &cobra.Command{
		Use: "mcp", Short: "Serve the permission layer to a model, as MCP tools",
		Long: `Serve MCP tools with which a model asks what it may do: verify_action,
get_passport, get_approval and wait_for_approval. The credential is the agent's
key.

They advise and record. A model that doesn't ask is not stopped by them: for that
there is "behalf mcp-proxy", or a check where the action is carried out. Whatever
goes wrong is a tool error that says that the permission layer was unavailable
and that the action must not be done.

It speaks over standard input and output, or with --listen by streamable HTTP at
/mcp. There a request may bring another agent's key as its bearer token; on an
address that is not this machine's alone, each has to bring one.`,
		Example: `  BEHALF_TOKEN=bhf_sk_… behalf mcp
  BEHALF_TOKEN=bhf_sk_… behalf mcp --listen 127.0.0.1:8090`,
		Args: arguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			tools := &mcpserver.Tools{Version: version(), Agent: cmp.Or(agent, s.getenv("BEHALF_AGENT"))}
			tools.Client, tools.Timeout, tools.Fault = s.asker(cmd)
			if tools.Fault != nil {
				// It starts all the same, so that the model hears why.
				_, _ = fmt.Fprintln(s.errs, "behalf: everything will be refused:", tools.Fault)
			}
			if listen != "" {
				return s.mcpHTTP(cmd.Context(), tools, listen)
			}
			return tools.Serve(cmd.Context(), s.in, s.out)
		},
	}
	s.given.flags(cmd.Flags())
	_ = cmd.Flags().MarkHidden("output") // it has none of its own
	cmd.Flags().StringVar(&agent, "agent", "", "the one agent whose packets are taken (BEHALF_AGENT; default: whose key it is)")
	cmd.Flags().StringVar(&listen, "listen", "", "address to serve streamable HTTP on, at /mcp, such as 127.0.0.1:8090")
	return cmd
}

// mcpHTTP serves until ctx is done.
func (s *shell) mcpHTTP(ctx context.Context, tools *mcpserver.Tools, address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return usagef("--listen %q is not host:port; use one like 127.0.0.1:8090", address)
	}
	found, err := s.settle() // requests may bring their own key, so that none of ours is needed
	if err != nil {
		return err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", address, err)
	}
	mux := http.NewServeMux()
	mux.Handle("/mcp", tools.HTTP(found.URL, loopback(host)))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, IdleTimeout: 2 * time.Minute}
	stopped := make(chan struct{})
	defer context.AfterFunc(ctx, func() {
		defer close(stopped)
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if server.Shutdown(last) != nil {
			_ = server.Close() // what still waits for a person is told nothing more
		}
	})()
	_, _ = fmt.Fprintf(s.errs, "behalf: MCP at http://%s/mcp\n", listener.Addr()) // it is not worth failing for
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve on %s: %w", address, err)
	}
	<-stopped
	return nil
}
