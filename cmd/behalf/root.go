package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/behalf-platform/behalf/cmd/behalf/access"
)

// shell is one run of the program: what it has of the outside world, and what
// its commands share.
type shell struct {
	in        io.Reader
	out, errs io.Writer
	getenv    func(string) string
	now       func() time.Time

	given connection
	// used is what was made of given, for the error messages.
	used access.Settings
	// began is whether a command was understood and run.
	began bool
}

// run runs one command line and returns the exit code.
func run(ctx context.Context, args []string, in io.Reader, out, errs io.Writer, getenv func(string) string) int {
	s := &shell{in: in, out: out, errs: errs, getenv: getenv, now: time.Now}
	root := s.root()
	root.SetArgs(append([]string{}, args...)) // not nil, which would mean os.Args
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errs)
	cmd, err := root.ExecuteContextC(ctx)
	s.report(cmd, err)
	return s.exitCode(cmd, err)
}

func (s *shell) root() *cobra.Command {
	root := s.group("behalf", "Permission passports for AI agents")
	for _, section := range []struct {
		title    string
		commands []*cobra.Command
	}{
		{"Run a server:", []*cobra.Command{newServeCommand(s.getenv), newLogCommand(s.getenv), s.replay(), s.projections(), s.load()}},
		{"Say what agents may do:", []*cobra.Command{s.agents(), s.permissions(), s.members(), s.account(), s.approvals()}},
		{"Send what happens elsewhere:", []*cobra.Command{s.webhooks()}},
		{"Keep it in files:", []*cobra.Command{s.apply(), s.export(), s.test(), s.lint(), s.presets()}},
		{"Ask what an agent may do:", []*cobra.Command{s.verify(), s.preview(), s.passport(), s.decisions(), s.events(), s.shadow(), s.usage(), s.outcome(), s.reservations(), s.receipts()}},
		{"Stand before what an agent does:", []*cobra.Command{s.hook(), s.mcp(), s.mcpProxy(), s.runCommand()}},
		{"This program:", []*cobra.Command{s.config(), s.versionCommand()}},
	} {
		root.AddGroup(&cobra.Group{ID: section.title, Title: section.title})
		for _, cmd := range section.commands {
			cmd.GroupID = section.title
			root.AddCommand(cmd)
		}
	}
	root.SetHelpCommandGroupID("This program:")
	root.SetCompletionCommandGroupID("This program:")
	root.Long = `Permission passports for AI agents: an agent asks before it acts, and the answer
is one recorded decision.

The commands that speak to a server find it and their credential in flags, in
the environment (BEHALF_URL, BEHALF_TOKEN), or in a file ("behalf config"), in
that order.

Exit codes: 0 done, 1 refused or failed, 2 the command line is wrong,
3 the server is unavailable. "behalf verify" has its own: 0 allowed, 1 denied,
2 requires approval, 3 unavailable or any error. So has "behalf run", or else the
command's own, and "behalf hook": 0 lets a call through, 2 blocks it.`
	s.refuseAlone(root)
	root.SilenceErrors, root.SilenceUsage = true, true
	root.PersistentPreRun = func(*cobra.Command, []string) { s.began = true }
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fmt.Errorf("%s: %w", cmd.CommandPath(), err)
	})
	return root
}

// group is a command that only holds others.
func (s *shell) group(use, short string, commands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short}
	cmd.AddCommand(commands...)
	return cmd
}

// refuseAlone makes a command that only holds others a mistake by itself, not a
// success as cobra has it: a script whose variable was empty must not go on.
func (s *shell) refuseAlone(cmd *cobra.Command) {
	for _, held := range cmd.Commands() {
		s.refuseAlone(held)
	}
	if cmd.Runnable() {
		return
	}
	cmd.SuggestionsMinimumDistance = 2
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		text := fmt.Sprintf("%s has no command %q", cmd.CommandPath(), args[0])
		if like := cmd.SuggestionsFor(args[0]); len(like) > 0 {
			text += "; did you mean " + strings.Join(like, " or ") + "?"
		}
		return errors.New(text)
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cmd.SetOut(s.errs)
		if err := cmd.Help(); err != nil {
			return err
		}
		return exitCode(exitUsage)
	}
}

// act is what a client command does.
type act func(ctx context.Context, r *remote, args []string) error

// command is a client command. Its use line names the arguments it takes, those
// in brackets may be left out.
func (s *shell) command(use, short string, do act) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short, Args: arguments,
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := s.connect(cmd)
			if err != nil {
				return err
			}
			return do(cmd.Context(), r, args)
		},
	}
	s.given.flags(cmd.Flags())
	return cmd
}

// openCommand is a client command that sends no credential.
func (s *shell) openCommand(use, short string, do act) *cobra.Command {
	cmd := s.command(use, short, do)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		r, err := s.reach()
		if err != nil {
			return err
		}
		r.Token = ""
		return do(cmd.Context(), r, args)
	}
	return cmd
}

// arguments checks positional arguments against the use line.
func arguments(cmd *cobra.Command, args []string) error {
	names := strings.Fields(cmd.Use)[1:]
	if len(args) > len(names) {
		return fmt.Errorf("%s: %q is too much; see %q", cmd.CommandPath(), args[len(names)], cmd.CommandPath()+" --help")
	}
	for _, name := range names[len(args):] {
		if !strings.HasPrefix(name, "[") {
			return fmt.Errorf("%s needs %s; see %q", cmd.CommandPath(), name, cmd.CommandPath()+" --help")
		}
	}
	return nil
}
