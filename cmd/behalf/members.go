package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/behalf-platform/behalf"
)

func (s *shell) members() *cobra.Command {
	return s.group("members", "Manage the people and tools that manage the account",
		s.listMembers(), s.addMember(), s.changeRole(), s.rotateToken(), s.removeMember())
}

func (s *shell) listMembers() *cobra.Command {
	return s.command("list", "List the account's members", func(ctx context.Context, r *remote, _ []string) error {
		ctx, cancel := r.once(ctx)
		defer cancel()
		members, err := r.Members(ctx)
		if err != nil {
			return err
		}
		return r.show(func(t *table) {
			t.row("MEMBER", "NAME", "ROLE")
			for _, m := range members {
				t.row(m.MemberID, m.Name, m.Role)
			}
		})
	})
}

const roles = "OWNER everything, ADMIN agents, permissions and members below owner, APPROVER reads and approves, VIEWER reads"

func (s *shell) addMember() *cobra.Command {
	var name, role string
	var tokenOnly bool
	cmd := s.command("add", "Add a member and show the token, once", func(ctx context.Context, r *remote, _ []string) error {
		if name == "" || role == "" {
			return usagef("behalf members add needs --name and --role")
		}
		return r.member(ctx, tokenOnly, func(ctx context.Context) (behalf.Member, error) { return r.AddMember(ctx, name, role) })
	})
	cmd.Flags().StringVar(&name, "name", "", "name for people")
	cmd.Flags().StringVar(&role, "role", "", roles)
	cmd.Flags().BoolVar(&tokenOnly, "token-only", false, "print the token and nothing else, for scripts")
	return cmd
}

func (s *shell) changeRole() *cobra.Command {
	return s.command("role MEMBER ROLE", "Give a member another role: OWNER, ADMIN, APPROVER or VIEWER", func(ctx context.Context, r *remote, args []string) error {
		return r.member(ctx, false, func(ctx context.Context) (behalf.Member, error) { return r.ChangeRole(ctx, args[0], args[1]) })
	})
}

func (s *shell) rotateToken() *cobra.Command {
	var tokenOnly bool
	cmd := s.command("rotate-token MEMBER", "Give a member a new token; the old one is dead at once", func(ctx context.Context, r *remote, args []string) error {
		return r.member(ctx, tokenOnly, func(ctx context.Context) (behalf.Member, error) { return r.RotateToken(ctx, args[0]) })
	})
	cmd.Flags().BoolVar(&tokenOnly, "token-only", false, "print the token and nothing else, for scripts")
	return cmd
}

func (s *shell) removeMember() *cobra.Command {
	return s.command("remove MEMBER", "End a member's rights, at once", func(ctx context.Context, r *remote, args []string) error {
		ctx, cancel := r.once(ctx)
		defer cancel()
		if err := r.RemoveMember(ctx, args[0]); err != nil {
			return err
		}
		return r.show(func(t *table) {
			t.field("Member", args[0])
			t.field("Status", "removed")
		})
	})
}

// member does something with a member and shows it, or its new token alone.
func (r *remote) member(ctx context.Context, tokenOnly bool, do func(context.Context) (behalf.Member, error)) error {
	ctx, cancel := r.once(ctx)
	defer cancel()
	m, err := do(ctx)
	switch {
	case err != nil:
		return err
	case tokenOnly && m.Token == "":
		return fmt.Errorf("the answer holds no token for member %s", m.MemberID)
	case tokenOnly:
		return r.print([]byte(m.Token))
	}
	return r.show(func(t *table) {
		t.field("Member", m.MemberID)
		t.field("Name", m.Name)
		t.field("Role", m.Role)
		if m.Token != "" {
			t.field("Token", m.Token)
			t.row("", "Keep it now: it is not shown again.")
		}
	})
}
