package main

import (
	"context"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/behalf-platform/behalf"
)

// askFlags are what an agent asks, on the command line.
type askFlags struct {
	ask       behalf.Ask
	arguments string
}

func (a *askFlags) flags(f *pflag.FlagSet) {
	f.StringVar(&a.ask.AgentID, "agent", "", "agent that asks; with an agent key it must be the key's")
	f.StringVar(&a.ask.Action, "action", "", "what it wants to do, such as purchase or repo:push")
	f.StringVar(&a.ask.Vendor, "vendor", "", "host or URL it deals with")
	f.StringVar(&a.ask.Resource, "resource", "", "what it is done to")
	f.StringVar(&a.ask.Amount, "amount", "", "money it moves, such as 120 or 120.00")
	f.StringVar(&a.ask.Currency, "currency", "", "currency of --amount (default: the account's)")
	f.StringVar(&a.ask.Path, "path", "", "file or directory it touches")
	f.StringVar(&a.ask.Command, "command", "", "shell command it runs")
	f.StringVar(&a.ask.Cwd, "cwd", "", "directory that --path and --command are relative to")
	f.StringVar(&a.ask.Context.Branch, "branch", "", "branch it works on")
	f.StringVar(&a.ask.Context.Environment, "environment", "", "environment it works in")
	f.StringVar(&a.ask.Context.Repository, "repository", "", "repository it works in")
	f.StringVar(&a.arguments, "arguments", "", "what the action is called with, as JSON; recorded as a digest, not judged")
	f.StringVar(&a.ask.AtLeast, "at-least", "", "position of a packet that the server must have seen")
}

func (a *askFlags) read() (behalf.Ask, error) {
	ask := a.ask
	if ask.Action == "" {
		return ask, usagef("say what the agent wants to do with --action")
	}
	if a.arguments != "" {
		arguments := jsontext.Value(a.arguments)
		if !arguments.IsValid() {
			return ask, usagef("--arguments is not one JSON value, or has a name twice")
		}
		ask.Arguments = arguments
	}
	return ask, nil
}

func (s *shell) verify() *cobra.Command {
	var given askFlags
	var wait waitFlag
	cmd := s.command("verify", "Ask whether an agent may do something now; the exit code is the answer", func(ctx context.Context, r *remote, _ []string) error {
		ask, err := given.read()
		if err != nil {
			return err
		}
		if err := wait.check(ask); err != nil {
			return err
		}
		packet, err := r.verify(ctx, ask)
		if err != nil {
			return err
		}
		if wait.set && packet.Decision == behalf.OutcomeRequiresApproval && packet.ApprovalID != "" {
			_, err = r.awaited(ctx, ask, packet, wait.most)
			return err
		}
		if wait.set && packet.Decision == behalf.OutcomeRequiresApproval {
			r.tell("The decision names no approval that could be waited for.")
		}
		if err := r.show(func(t *table) { showPacket(t, packet) }); err != nil {
			return err
		}
		return verdict(packet)
	})
	cmd.Long = `Ask whether an agent may do something now. The credential is the agent's key. The
decision is recorded before it is answered.

Exit codes: 0 allowed, 1 denied, 2 requires approval, 3 unavailable or any error,
a wrong command line included. Go on only after 0.

With --wait, an ask that requires approval waits until a person has answered, and
verifies the same again when they said yes; the exit code is that decision's. If
nobody said yes before the approval ended it is 1, and --output json prints the
approval. If the time of --wait is over first it is 2; the approval stays open,
and the same command keeps waiting.`
	cmd.Example = `  BEHALF_TOKEN=bhf_sk_… behalf verify --action purchase --vendor coachella.com --amount 120 && buy
  behalf verify --action purchase --vendor coachella.com --amount 120 --wait=10m && buy`
	cmd.Annotations = map[string]string{failsClosed: "yes", onlyAsks: "yes"}
	given.flags(cmd.Flags())
	cmd.Flags().StringVar(&given.ask.IdempotencyKey, "idempotency-key", "", "makes repeating this safe: the repeat gets the first one's packet")
	wait.flag(cmd.Flags())
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if wait.set && len(args) == 1 {
			if _, err := duration(args[0]); err == nil {
				return usagef("%s: %q is too much; to wait that long write --wait=%s", cmd.CommandPath(), args[0], args[0])
			}
		}
		return arguments(cmd, args)
	}
	return cmd
}

// verify asks once.
func (r *remote) verify(ctx context.Context, ask behalf.Ask) (behalf.Packet, error) {
	ctx, cancel := r.once(ctx)
	defer cancel()
	return r.Verify(ctx, ask)
}

// verdict is the decision as an exit code. The client has made sure that it is
// one of the three.
func verdict(p behalf.Packet) error {
	switch {
	case p.Allowed:
		return nil
	case p.Decision == behalf.OutcomeRequiresApproval:
		return exitCode(exitNeedsApproval)
	}
	return exitCode(exitDenied)
}

func (s *shell) preview() *cobra.Command {
	var given askFlags
	var at string
	cmd := s.command("preview", "Ask what verify would answer; records nothing and allows nothing", func(ctx context.Context, r *remote, _ []string) error {
		ask, err := given.read()
		if err != nil {
			return err
		}
		ctx, cancel := r.once(ctx)
		defer cancel()
		p, err := r.preview(ctx, ask, at)
		if err != nil {
			return err
		}
		return r.show(func(t *table) { showPreview(t, p) })
	})
	cmd.Long = `Ask what verify would answer now. Nothing is recorded and nothing is allowed by it.
An agent key asks for its agent; with a member token, name one with --agent.
With --at, ask what it would have answered then.

The exit code says only whether there was an answer, so that a preview can't
pass for a verify.`
	cmd.Annotations = map[string]string{onlyAsks: "yes"}
	given.flags(cmd.Flags())
	atFlag(cmd.Flags(), &at)
	return cmd
}

func showPacket(t *table, p behalf.Packet) {
	t.row(headline("", p.Decision, p.ReasonCode, p.Reason))
	t.gap()
	t.field("Request", p.RequestID)
	t.field("Agent", p.AgentID)
	t.asked(p.Action, p.Vendor, p.Resource, p.Amount, p.Currency)
	t.field("Risk", p.RiskLevel)
	t.field("Permission", p.PermissionID)
	t.field("Approval", p.ApprovalID)
	t.field("Passport", "version "+number(p.PassportVersion))
	t.field("Decided", stamp(p.DecidedAt))
	t.field("Window ends", stamp(p.WindowEndsAt))
	if p.Reserved {
		t.field("Outcome", "to be reported with: behalf outcome "+p.RequestID+" executed")
	}
	t.field("Position", p.Position)
	t.field("Receipt", p.Receipt)
	showChecks(t, p.Checks)
}

func showPreview(t *table, p behalf.Preview) {
	t.row(headline("WOULD BE ", p.WouldBe, p.ReasonCode, p.Reason))
	t.gap()
	t.field("Agent", p.AgentID)
	t.asked(p.Action, p.Vendor, p.Resource, p.Amount, p.Currency)
	t.field("Risk", p.RiskLevel)
	t.field("Permission", p.PermissionID)
	t.field("Approval", p.ApprovalID)
	t.field("Passport", "version "+number(p.PassportVersion))
	t.field("Evaluated", stamp(p.EvaluatedAt))
	t.field("Window ends", stamp(p.WindowEndsAt))
	showLeft(t, "PERMISSION'S LIMIT", p.Left)
	showLeft(t, "AGENT'S LIMIT", p.AgentLeft)
	showLeft(t, "ACCOUNT'S LIMIT", p.AccountLeft)
	showChecks(t, p.Checks)
}

// asked adds what an agent wants to do.
func (t *table) asked(action, vendor, resource, amount, currency string) {
	t.field("Action", action)
	t.field("Vendor", vendor)
	t.field("Resource", resource)
	t.field("Amount", money(amount, currency))
}

func showChecks(t *table, checks []behalf.Check) {
	if len(checks) == 0 {
		return
	}
	t.gap()
	t.row("CHECK", "PASSED", "PERMISSION", "WHY NOT")
	for _, c := range checks {
		t.row(c.Rule, yesNo(c.Passed), orDash(c.PermissionID), c.Detail)
	}
}

// headline says an outcome and why, the code only where it adds something.
func headline(lead string, outcome behalf.Outcome, code, reason string) string {
	text := lead + strings.ToUpper(strings.ReplaceAll(string(outcome), "_", " "))
	if !strings.EqualFold(code, string(outcome)) {
		text += " " + code
	}
	if reason != "" {
		text += ": " + reason
	}
	return text
}
