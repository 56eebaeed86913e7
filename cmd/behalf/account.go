package main

import (
	"context"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/behalf-platform/behalf"
)

func (s *shell) account() *cobra.Command {
	return s.group("account", "Show and change the account's settings", s.showAccount(), s.setAccount(), s.accountLimits())
}

func (s *shell) showAccount() *cobra.Command {
	return s.command("show", "Show the account's settings", func(ctx context.Context, r *remote, _ []string) error {
		ctx, cancel := r.once(ctx)
		defer cancel()
		a, err := r.Account(ctx)
		if err != nil {
			return err
		}
		return r.show(func(t *table) { showAccount(t, a) })
	})
}

func (s *shell) setAccount() *cobra.Command {
	var change behalf.Settings
	var approvals approvalSettings
	var cmd *cobra.Command
	cmd = s.command("set", "Change the account's settings", func(ctx context.Context, r *remote, _ []string) error {
		change.Approvals = approvals.changes(cmd.Flags())
		if change == (behalf.Settings{}) {
			return usagef("behalf account set needs a flag that says what to change, such as --name, --default-currency, --time-zone or --pending-for")
		}
		ctx, cancel := r.once(ctx)
		defer cancel()
		a, err := r.ChangeAccount(ctx, change)
		if err != nil {
			return err
		}
		return r.show(func(t *table) { showAccount(t, a) })
	})
	cmd.Flags().StringVar(&change.Name, "name", "", "name of the account")
	cmd.Flags().StringVar(&change.DefaultCurrency, "default-currency", "", "currency of amounts that name none, such as USD")
	cmd.Flags().StringVar(&change.TimeZone, "time-zone", "", "zone whose calendar budgets and rates count in, such as Europe/Berlin or UTC; those that are set keep theirs")
	cmd.Flags().Var(span{&change.DecisionRetention}, "decision-retention", "how long decisions are kept, such as 90d, at least 1d; 0s for ever; those made before keep their time in the log")
	approvals.flags(cmd.Flags())
	return cmd
}

// approvalSettings are what the account says of approvals, on the command line.
type approvalSettings struct {
	change              behalf.ApprovalChanges
	mostPending         int
	selfApproval, share bool
}

func (a *approvalSettings) flags(f *pflag.FlagSet) {
	f.Var(span{&a.change.PendingFor}, "pending-for", "how long an approval waits for people, such as 24h")
	f.Var(span{&a.change.ValidFor}, "valid-for", "how long their yes can be used, such as 30m")
	f.Var(span{&a.change.DenialFor}, "denial-for", "how long their no answers the same request, such as 1h")
	f.Var(span{&a.change.RemindEvery}, "remind-every", "how often they are told again, such as 4h; 0s for never")
	f.IntVar(&a.mostPending, "most-pending", 0, "how many approvals of one agent may wait at once")
	f.BoolVar(&a.selfApproval, "self-approval", false, "let members approve what the agents they drive ask, recorded as such; =false ends it; for an owner")
	f.BoolVar(&a.share, "share-comments", false, "let agents read the comments of those who deny them; =false ends it")
}

// changes are those of the flags that were given.
func (a *approvalSettings) changes(f *pflag.FlagSet) behalf.ApprovalChanges {
	change := a.change
	if f.Changed("most-pending") {
		change.MostPending = &a.mostPending
	}
	if f.Changed("self-approval") {
		change.SelfApproval = &a.selfApproval
	}
	if f.Changed("share-comments") {
		change.ShareComments = &a.share
	}
	return change
}

func showAccount(t *table, a behalf.Account) {
	t.field("Account", a.AccountID)
	t.field("Name", a.Name)
	t.field("Default currency", a.DefaultCurrency)
	t.field("Time zone", a.TimeZone)
	if p := a.Approvals; p != (behalf.ApprovalSettings{}) {
		t.field("Approvals wait", p.PendingFor.String())
		t.field("A yes is valid", p.ValidFor.String())
		t.field("A no is valid", p.DenialFor.String())
		t.field("Remind every", remindText(p.RemindEvery))
		t.field("Most pending", strconv.Itoa(p.MostPending)+" an agent")
		t.field("Self-approval", yesNo(p.SelfApproval))
		t.field("Share comments", yesNo(p.ShareComments))
	}
	t.field("Decisions kept", retentionText(a.DecisionRetention))
	t.field("Version", number(a.Version))
}

func retentionText(d behalf.Duration) string {
	if d == 0 {
		return "for ever"
	}
	return d.String()
}

func remindText(d behalf.Duration) string {
	if d == 0 {
		return "never"
	}
	return d.String()
}
