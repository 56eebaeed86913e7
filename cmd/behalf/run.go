package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"mvdan.cc/sh/v3/syntax"

	"github.com/behalf-platform/behalf"
	"github.com/behalf-platform/behalf/cmd/behalf/hook"
)

func (s *shell) runCommand() *cobra.Command {
	var ask behalf.Ask
	var wait waitFlag
	var report bool
	cmd := s.command("run COMMAND [ARGUMENT]", "Verify a command, and run it if it is allowed", func(ctx context.Context, r *remote, args []string) error {
		c, err := newCommand(args)
		if err != nil {
			return err
		}
		ask.AgentID = cmp.Or(ask.AgentID, s.getenv("BEHALF_AGENT"))
		ask.Command, ask.Cwd = c.text, c.dir
		ask.Arguments = map[string]any{"file": c.file, "argv": c.argv}
		if err := wait.check(ask); err != nil {
			return err
		}
		packet, err := r.aside().allowed(ctx, ask, wait)
		if err != nil {
			return err
		}
		code, err := c.run(ctx, s)
		if report {
			s.reportRun(r, packet, code, err)
		}
		if err != nil {
			return err
		}
		if code != exitOK {
			return exitCode(code)
		}
		return nil
	})
	cmd.Use = "run [flags] -- COMMAND [ARGUMENT…]"
	cmd.Long = `Verify a command, and run it if it is allowed. What is run is what was verified:
COMMAND is looked up before, and the same file is run, without a shell and with
exactly these arguments. The action is shell.exec, command is the command line
as bash would quote it, cwd is this directory, and arguments are
{"file": …, "argv": […]}. The environment is passed on as it is, and is not
verified: what a program makes of its variables is not seen.

Exit codes: the command's own (128 and the signal's number if a signal ended it),
or 1 denied, 2 requires approval, 3 unavailable or any error; then nothing was
run, and standard error says so. Signals are passed on.

With --wait it waits for a person, as "behalf verify" does. With --outcome it
reports what came of an allow that spent: executed if the command ends with 0,
else failed.`
	cmd.Example = `  behalf run -- git push origin agent/fix-cart
  behalf run --wait=10m --action deploy --resource production -- ./deploy.sh --all`
	cmd.Annotations = map[string]string{failsClosed: "yes"}
	f := cmd.Flags()
	f.SetInterspersed(false) // what follows the command is the command's
	f.StringVar(&ask.AgentID, "agent", "", "the one agent whose packets are taken; it must be the key's (BEHALF_AGENT)")
	f.StringVar(&ask.Action, "action", hook.ShellExec, "what the command does")
	f.StringVar(&ask.Vendor, "vendor", "", "host or URL it deals with")
	f.StringVar(&ask.Resource, "resource", "", "what it is done to")
	f.StringVar(&ask.Amount, "amount", "", "money it moves, such as 120 or 120.00")
	f.StringVar(&ask.Currency, "currency", "", "currency of --amount (default: the account's)")
	f.StringVar(&ask.Context.Branch, "branch", "", "branch it works on")
	f.StringVar(&ask.Context.Environment, "environment", "", "environment it works in")
	f.StringVar(&ask.Context.Repository, "repository", "", "repository it works in")
	f.BoolVar(&report, "outcome", false, "report what came of it, if the allow spent")
	wait.flag(f)
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 || args[0] == "" {
			return fmt.Errorf("%s needs a command; see %q", cmd.CommandPath(), cmd.CommandPath()+" --help")
		}
		return nil
	}
	return cmd
}

// aside is the same server, for a command whose standard output is another
// program's.
func (r *remote) aside() *remote {
	s, other := *r.shell, *r
	s.out, other.shell = s.errs, &s
	return &other
}

// allowed verifies an ask and waits if it was told to. Without an error the
// packet is an allow; anything else was shown.
func (r *remote) allowed(ctx context.Context, ask behalf.Ask, wait waitFlag) (behalf.Packet, error) {
	packet, err := r.verify(ctx, ask)
	switch {
	case err != nil || packet.Allowed:
		return packet, err
	case wait.set && packet.Decision == behalf.OutcomeRequiresApproval && packet.ApprovalID != "":
		return r.awaited(ctx, ask, packet, wait.most)
	}
	if err := r.show(func(t *table) { showPacket(t, packet) }); err != nil {
		return packet, err
	}
	return packet, verdict(packet)
}

// boundCommand is a program with its arguments, bound before it was asked about.
type boundCommand struct {
	file string // absolute
	argv []string
	dir  string
	text string // as a shell reads it
	seen fs.FileInfo
}

func newCommand(argv []string) (c boundCommand, err error) {
	c.argv = argv
	if c.dir, err = os.Getwd(); err != nil {
		return c, fmt.Errorf("find the working directory: %w", err)
	}
	if c.file, err = exec.LookPath(argv[0]); err != nil && !errors.Is(err, exec.ErrDot) {
		return c, usagef("%v", err)
	}
	if c.file, err = filepath.Abs(c.file); err != nil {
		return c, fmt.Errorf("find %s: %w", argv[0], err)
	}
	if c.seen, err = os.Stat(c.file); err != nil {
		return c, fmt.Errorf("find %s: %w", argv[0], err)
	}
	words := make([]string, len(argv))
	for i, word := range append([]string{c.file}, argv[1:]...) {
		if words[i], err = syntax.Quote(word, syntax.LangBash); err != nil {
			return c, usagef("argument %d can't be written for a shell: %v", i, err)
		}
	}
	c.text = strings.Join(words, " ")
	return c, nil
}

// run runs the command and returns its exit code. An error is a command that was
// not run.
func (c boundCommand) run(ctx context.Context, s *shell) (code int, err error) {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, caught()...)
	defer signal.Stop(signals)
	if ctx.Err() != nil { // by a signal that came before
		return 0, fmt.Errorf("it was allowed too late, and not run: %w", ctx.Err())
	}
	now, err := os.Stat(c.file)
	switch {
	case err != nil:
		return 0, fmt.Errorf("run %s: %w", c.file, err)
	case !os.SameFile(now, c.seen) || now.Size() != c.seen.Size() || !now.ModTime().Equal(c.seen.ModTime()):
		return 0, fmt.Errorf("%s was replaced after it was asked about; ask again", c.file)
	}
	cmd := exec.Cmd{Path: c.file, Args: c.argv, Dir: c.dir, Stdin: s.in, Stdout: s.out, Stderr: s.errs}
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("run %s: %w", c.file, err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case sig := <-signals:
			passOn(cmd.Process, sig)
		case err := <-ended:
			_, failed := errors.AsType[*exec.ExitError](err)
			if err != nil && !failed {
				return 0, fmt.Errorf("run %s: %w", c.file, err)
			}
			return ending(cmd.ProcessState), nil
		}
	}
}

// reportRun reports what came of an allow that spent. It can't change the exit
// code any more: the command has run.
func (s *shell) reportRun(r *remote, p behalf.Packet, code int, failed error) {
	if !p.Reserved {
		return
	}
	report := behalf.Report{Outcome: behalf.Executed}
	if code != 0 || failed != nil {
		report.Outcome = behalf.Failed
	}
	ctx, cancel := r.once(context.Background()) // what ended the command must not keep this back
	defer cancel()
	if _, err := r.Outcome(ctx, p.RequestID, report); err != nil {
		r.tell("behalf: the outcome was not reported: %v. Report it with: behalf outcome %s %s", err.Error(), p.RequestID, string(report.Outcome))
	}
}
