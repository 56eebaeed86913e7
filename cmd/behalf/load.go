package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/spf13/cobra"

	"github.com/behalf-platform/behalf/cmd/behalf/access"
	"github.com/behalf-platform/behalf/cmd/behalf/load"
)

func (s *shell) load() *cobra.Command {
	o := load.Options{StartBare: startBare, Progress: s.errs}
	var packets string
	cmd := &cobra.Command{
		Use: "load", Short: "Measure a server and check each of its answers", Args: arguments,
		Long: `Make agents with permissions, ask about them as fast as the server answers, and
compare each answer with the right one. Half of the asks are allowed; the rest
are over the limit, for another resource, or for an action that no permission
names. With --revoke, permissions are revoked and granted again meanwhile, and an
allow by one whose revocation was acknowledged before is a violation.

It needs a member token that may manage agents, and leaves its agents behind: use
a server made for it. Exit codes: 0 every answer was right, 1 some were wrong or
missing, 2 the command line is wrong, 3 the server is unavailable.`,
		Example: `  behalf load --agents 1000 --permissions 10 --concurrency 64 --duration 10s --compare
  behalf load --target nats --revoke --duration 60s
  behalf load --budget --agents 1 --permissions 1
  behalf load --revoke --url http://127.0.0.1:8080 --url http://127.0.0.1:8081 --tolerate-unavailable`,
	}
	f := cmd.Flags()
	s.given.otherFlags(f)
	f.StringArrayVar(&o.URLs, "url", nil, "where the server is (BEHALF_URL; default "+access.UsualURL+"); may be repeated for further nodes")
	f.StringVar(&o.Target, "target", load.TargetHTTP, "how to ask: http, nats, or bare for a server that does nothing")
	f.IntVar(&o.Agents, "agents", 1000, "how many agents to make")
	f.IntVar(&o.Permissions, "permissions", 10, "how many permissions each gets")
	f.IntVar(&o.Concurrency, "concurrency", 64, "how many asks are in flight")
	f.DurationVar(&o.Duration, "duration", 10*time.Second, "how long to ask")
	f.Uint64Var(&o.Seed, "seed", 1, "makes the asks repeatable")
	f.BoolVar(&o.Preview, "preview", false, "ask for previews, which are not recorded")
	f.BoolVar(&o.Budget, "budget", false, "give every permission a budget, and ask only for what spends from it")
	f.BoolVar(&o.Revoke, "revoke", false, "revoke and grant permissions meanwhile")
	f.BoolVar(&o.TolerateUnavailable, "tolerate-unavailable", false, "unavailable answers don't fail the run, as when a node is stopped")
	f.BoolVar(&o.Compare, "compare", false, "drive a bare HTTP server too, and print the ratio")
	f.StringVar(&packets, "packets", "", "file to keep every packet in, one a line, to compare with the log")
	f.StringArrayVar(&o.NATSURLs, "nats-url", nil, "NATS server to ask with --target nats, may be repeated; without credentials in it, the token is the password (default nats://127.0.0.1:4222)")
	f.StringVar(&o.NATSCreds, "nats-creds", "", "credentials file for the NATS servers")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := s.readLoad(cmd, &o); err != nil {
			return err
		}
		report, err := runLoad(cmd.Context(), o, packets)
		if err != nil {
			return err
		}
		return s.showReport(&report)
	}
	cmd.AddCommand(bareCommand(s))
	return cmd
}

// readLoad fills in what the connection's settings say.
func (s *shell) readLoad(cmd *cobra.Command, o *load.Options) error {
	o.Timeout = s.given.timeout
	if o.Target != load.TargetBare { // which needs no server and no credential
		if len(o.URLs) > 0 {
			s.given.url = o.URLs[0]
		}
		r, err := s.connect(cmd)
		if err != nil {
			return err
		}
		o.Token = r.Token
		if len(o.URLs) == 0 {
			o.URLs = []string{r.BaseURL}
		}
	}
	for i, u := range o.URLs {
		if err := access.CheckURL(u, "the flag --url"); err != nil {
			return err
		}
		o.URLs[i] = strings.TrimRight(u, "/")
	}
	if len(o.NATSURLs) == 0 {
		o.NATSURLs = []string{"nats://127.0.0.1:4222"}
	}
	if err := o.Validate(); err != nil {
		return usagef("%v", err)
	}
	return nil
}

// runLoad runs, and keeps the packets in a file if there is one.
func runLoad(ctx context.Context, o load.Options, path string) (load.Report, error) {
	if path == "" {
		return load.Run(ctx, o)
	}
	file, err := os.Create(path)
	if err != nil {
		return load.Report{}, fmt.Errorf("keep packets: %w", err)
	}
	buffer := bufio.NewWriterSize(file, 1<<16)
	o.Packets = buffer
	report, err := load.Run(ctx, o)
	return report, errors.Join(err, buffer.Flush(), file.Close())
}

func (s *shell) showReport(report *load.Report) error {
	if s.given.output == "json" {
		b, err := json.Marshal(report)
		if err != nil {
			return fmt.Errorf("encode the report: %w", err)
		}
		if _, err := fmt.Fprintf(s.out, "%s\n", b); err != nil {
			return fmt.Errorf("write to standard output: %w", err)
		}
	} else if err := report.Print(s.out); err != nil {
		return err
	}
	return report.Err()
}

// bareCommand is the process that "load" compares with.
func bareCommand(s *shell) *cobra.Command {
	var agents int
	cmd := &cobra.Command{
		Use: "bare-server", Short: "Serve nothing but fixed packets until standard input ends", Hidden: true, Args: arguments,
		RunE: func(*cobra.Command, []string) error { return load.ServeBare(agents, s.in, s.out) },
	}
	cmd.Flags().IntVar(&agents, "agents", 1000, "how many keys to know")
	return cmd
}

// startBare starts this program as a bare server. It ends with its standard
// input, so that it can't outlive us.
func startBare(ctx context.Context, agents int) (url string, stop func() error, err error) {
	self, err := os.Executable()
	if err != nil {
		return "", nil, err
	}
	child := exec.CommandContext(ctx, self, "load", "bare-server", "--agents", strconv.Itoa(agents))
	child.Stderr = os.Stderr
	in, err := child.StdinPipe()
	if err != nil {
		return "", nil, err
	}
	out, err := child.StdoutPipe()
	if err != nil {
		return "", nil, err
	}
	if err := child.Start(); err != nil {
		return "", nil, err
	}
	stop = func() error {
		_ = in.Close() // which is what stops it
		return child.Wait()
	}
	url, err = bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return "", nil, fmt.Errorf("it did not say its address: %w", errors.Join(err, stop()))
	}
	return strings.TrimSpace(url), stop, nil
}
