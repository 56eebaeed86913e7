package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/behalf-platform/behalf"
)

func (s *shell) passport() *cobra.Command {
	cmd := s.showPassport("passport [AGENT]", "Show an agent's passport: its own by its key, any by a member's token")
	cmd.AddCommand(s.showPassport("show [AGENT]", "Show an agent's passport, as it is or as it was"),
		s.linkPassport(), s.listLinks(), s.unlinkPassport(), s.passportText())
	return cmd
}

func (s *shell) showPassport(use, short string) *cobra.Command {
	var at string
	cmd := s.command(use, short, func(ctx context.Context, r *remote, args []string) error {
		ctx, cancel := r.once(ctx)
		defer cancel()
		if at != "" {
			return r.passportAt(ctx, args, at)
		}
		var p behalf.Passport
		var err error
		if len(args) == 0 {
			p, err = r.Passport(ctx)
		} else {
			p, err = r.AgentPassport(ctx, args[0])
		}
		if err != nil {
			return err
		}
		return r.show(func(t *table) { showPassport(t, p) })
	})
	atFlag(cmd.Flags(), &at)
	return cmd
}

func showPassport(t *table, p behalf.Passport) {
	t.field("Agent", p.AgentID)
	t.field("Name", p.Name)
	t.field("Type", p.Type)
	t.field("Status", p.Status)
	t.field("Passport", "version "+number(p.PassportVersion))
	listLimits(t, p.Limits)
	showLeft(t, "AGENT'S LIMIT", p.Left)
	showLeft(t, "ACCOUNT'S LIMIT", p.AccountLeft)
	t.gap()
	if len(p.Permissions) == 0 {
		t.row("No permissions: everything is denied.")
		return
	}
	listPermissions(t, p.Permissions)
	for _, held := range p.Permissions {
		showLeft(t, "LIMIT OF "+held.PermissionID, held.Left)
	}
}
