package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/behalf-platform/behalf"
)

func (s *shell) account() *cobra.Command {
	return s.group("account", "Show and change the account's settings", s.showAccount(), s.setAccount())
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
	cmd := s.command("set", "Change the account's settings", func(ctx context.Context, r *remote, _ []string) error {
		if change == (behalf.Settings{}) {
			return usagef("behalf account set needs --name or --default-currency")
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
	return cmd
}

func showAccount(t *table, a behalf.Account) {
	t.field("Account", a.AccountID)
	t.field("Name", a.Name)
	t.field("Default currency", a.DefaultCurrency)
	t.field("Version", number(a.Version))
}
