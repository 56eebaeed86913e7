package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/behalf-platform/behalf"
)

func (s *shell) permissions() *cobra.Command {
	return s.group("permissions", "Grant, replace and revoke what agents may do",
		s.listPermissions(), s.showPermission(), s.grant(), s.replace(), s.revoke())
}

func (s *shell) listPermissions() *cobra.Command {
	return s.command("list AGENT", "List an agent's permissions, those that ended too", func(ctx context.Context, r *remote, args []string) error {
		ctx, cancel := r.once(ctx)
		defer cancel()
		list, err := r.Permissions(ctx, args[0])
		if err != nil {
			return err
		}
		if len(list.Permissions) == 0 {
			r.note("%s has no permissions and is denied everything. Grant one with: behalf permissions grant %s --action ACTION", args[0], args[0])
		}
		return r.show(func(t *table) { listPermissions(t, list.Permissions) })
	})
}

func (s *shell) showPermission() *cobra.Command {
	return s.command("show AGENT PERMISSION", "Show a permission", func(ctx context.Context, r *remote, args []string) error {
		return r.permission(ctx, func(ctx context.Context) (behalf.Permission, error) { return r.Permission(ctx, args[0], args[1]) })
	})
}

func (s *shell) grant() *cobra.Command {
	var terms termsFlags
	cmd := s.command("grant AGENT", "Add a permission to an agent's passport", func(ctx context.Context, r *remote, args []string) error {
		body, err := terms.json(s.in, s.now())
		if err != nil {
			return err
		}
		return r.permission(ctx, func(ctx context.Context) (behalf.Permission, error) { return r.GrantJSON(ctx, args[0], body) })
	})
	cmd.Long = `Add a permission to an agent's passport. What is not said is not limited, so say
as much as you can.

With --requires-approval a person is asked before it allows; with
--requires-approval=AMOUNT only above that amount. The = is needed.

Budgets and rates bound what it allows over time, beside those of the agent and
of the account. ` + limitsText
	cmd.Example = `  behalf permissions grant agent_ollie --action purchase --vendor coachella.com \
    --max-amount 500.00 --currency USD --expires 30d
  behalf permissions grant agent_ollie --action purchase --vendor coachella.com \
    --max-amount 500.00 --requires-approval=100.00 --budget 1000.00/month --rate 10/day
  behalf permissions grant agent_ollie --file terms.json`
	terms.flags(cmd.Flags())
	return cmd
}

func (s *shell) replace() *cobra.Command {
	var terms termsFlags
	var version uint64
	cmd := s.command("replace AGENT PERMISSION", "Give a permission other terms in one step", func(ctx context.Context, r *remote, args []string) error {
		body, err := terms.json(s.in, s.now())
		if err != nil {
			return err
		}
		return r.permission(ctx, func(ctx context.Context) (behalf.Permission, error) {
			return r.ReplaceJSON(ctx, args[0], args[1], body, version)
		})
	})
	cmd.Long = `Give a permission other terms in one step: no moment has both, or neither. The
new terms stand alone; what they leave out is no longer limited.`
	terms.flags(cmd.Flags())
	cmd.Flags().Uint64Var(&version, "if-match", 0, `refuse if it has changed since this version, as "show" gives it`)
	return cmd
}

func (s *shell) revoke() *cobra.Command {
	var reason string
	cmd := s.command("revoke AGENT PERMISSION", "End a permission, at once and for good", func(ctx context.Context, r *remote, args []string) error {
		ctx, cancel := r.once(ctx)
		defer cancel()
		done, err := r.Revoke(ctx, args[0], args[1], reason)
		if err != nil {
			return err
		}
		return r.show(func(t *table) {
			t.field("Permission", done.PermissionID)
			t.field("Status", done.Status)
			t.field("Passport", "version "+number(done.PassportVersion))
		})
	})
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the record")
	return cmd
}

// permission does something with a permission and shows it.
func (r *remote) permission(ctx context.Context, do func(context.Context) (behalf.Permission, error)) error {
	ctx, cancel := r.once(ctx)
	defer cancel()
	p, err := do(ctx)
	if err != nil {
		return err
	}
	return r.show(func(t *table) { showPermission(t, p) })
}

func listPermissions(t *table, list []behalf.Permission) {
	t.row("PERMISSION", "STATUS", "EXPIRES", "SUMMARY")
	for _, p := range list {
		t.row(p.PermissionID, p.Status, orDash(stamp(p.ExpiresAt)), p.Summary)
	}
}

func showPermission(t *table, p behalf.Permission) {
	t.field("Permission", p.PermissionID)
	t.field("Status", p.Status)
	t.field("Summary", p.Summary)
	t.field("Action", p.Action)
	t.list("Allowed actions", p.AllowedActions)
	t.list("Blocked actions", p.BlockedActions)
	t.list("Resource", p.Resource)
	t.list("Vendors", p.Vendors)
	if p.MaxAmount != "" {
		t.field("Max amount", money(p.MaxAmount, p.Currency))
	}
	t.field("Approval", approvalText(p.Terms))
	listLimits(t, p.Limits)
	if c := p.Context; c != nil {
		t.list("Branch", c.Branch)
		t.list("Environment", c.Environment)
		t.list("Repository", c.Repository)
	}
	t.list("Paths", p.Paths)
	t.list("Denied paths", p.DeniedPaths)
	t.list("Denied commands", p.DeniedCommands)
	t.field("Not before", stamp(p.NotBefore))
	t.field("Expires", stamp(p.ExpiresAt))
	for _, w := range p.TimeWindows {
		t.field("Time window", strings.Join(w.Days, " ")+" "+w.From+" to "+w.To+" "+w.TimeZone)
	}
	t.field("Description", p.Description)
	t.field("Notes", p.Notes)
	t.field("Granted", stamp(p.GrantedAt))
	t.field("Revoked", stamp(p.RevokedAt))
	t.field("Version", number(p.Version))
	t.field("Passport", "version "+number(p.PassportVersion))
	showLeft(t, "LIMIT", p.Left)
}

// approvalText says when a permission asks a person, and whom.
func approvalText(terms behalf.Terms) string {
	var text string
	switch rule := terms.RequiresApproval; {
	case rule.Above != "":
		text = "above " + money(rule.Above, terms.Currency)
	case rule.Always:
		text = "always"
	default:
		return ""
	}
	a := terms.Approval
	if a == nil {
		return text
	}
	if a.Quorum > 1 {
		text += fmt.Sprintf(", by %d people", a.Quorum)
	}
	if a.MinRole != "" {
		text += ", by " + a.MinRole + " or higher"
	}
	for _, d := range []struct {
		what string
		long behalf.Duration
	}{{"waits", a.PendingFor}, {"a yes is valid", a.ValidFor}, {"a no is valid", a.DenialFor}} {
		if d.long != 0 {
			text += ", " + d.what + " " + d.long.String()
		}
	}
	return text
}
