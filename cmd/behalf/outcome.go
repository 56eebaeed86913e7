package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/behalf-platform/behalf"
)

func (s *shell) outcome() *cobra.Command {
	var amount string
	cmd := s.command("outcome REQUEST executed|failed", "Report what came of an allow that spent", func(ctx context.Context, r *remote, args []string) error {
		report := behalf.Report{Outcome: behalf.ActionOutcome(args[1]), Amount: amount}
		switch {
		case report.Outcome != behalf.Executed && report.Outcome != behalf.Failed:
			return usagef("the outcome %q is unknown; use executed or failed", args[1])
		case report.Outcome == behalf.Failed && amount != "":
			return usagef("--amount is what an executed action spent; one that failed spent nothing")
		case amount != "" && !isAmount(amount):
			return usagef("--amount %q is not a decimal number; write it like 99.50, without a currency", amount)
		}
		ctx, cancel := r.once(ctx)
		defer cancel()
		done, err := r.Outcome(ctx, args[0], report)
		if err != nil {
			return err
		}
		return r.show(func(t *table) {
			t.field("Request", done.RequestID)
			t.field("Outcome", string(done.Outcome))
			t.field("Spent", money(done.Amount, done.Currency))
			t.field("Given back", money(done.Released, currencyOf(done)))
		})
	})
	cmd.Long = `Report what came of an allow that spent, so that what it did not spend goes back
to the budgets. The credential is the agent's key, and REQUEST the request id of
the allow. It is reported once; what is never reported stays spent.`
	cmd.Example = `  behalf outcome req_01J… executed --amount 99.50
  behalf outcome req_01J… failed`
	cmd.Flags().StringVar(&amount, "amount", "", "what it spent in fact, at most what was allowed (default: all of it)")
	return cmd
}

// currencyOf is the currency of what was given back, if anything was.
func currencyOf(s behalf.Settlement) string {
	if s.Released == "" {
		return ""
	}
	return s.Currency
}

func (s *shell) reservations() *cobra.Command {
	var p paging
	var q behalf.ReservationQuery
	cmd := s.command("reservations", "List allows that spent and whose outcome nobody reported", func(ctx context.Context, r *remote, _ []string) error {
		return r.pages(&p, func(limit int, cursor string) (int, string, error) {
			ctx, cancel := r.once(ctx)
			defer cancel()
			q.Limit, q.Cursor = limit, cursor
			page, err := r.Reservations(ctx, q)
			if err != nil {
				return 0, "", err
			}
			return len(page.Reservations), page.NextCursor, r.show(func(t *table) {
				p.head(t, "REQUEST", "AGENT", "PERMISSION", "AMOUNT", "DECIDED")
				for _, v := range page.Reservations {
					t.row(v.RequestID, v.AgentID, v.PermissionID, orDash(money(v.Amount, v.Currency)), stamp(v.DecidedAt))
				}
			})
		})
	})
	cmd.Long = `List allows that spent and whose outcome nobody reported, the newest first: an
agent's key lists its own, a member's token the account's. Report one with
"behalf outcome".`
	cmd.Flags().StringVar(&q.AgentID, "agent", "", "only this agent's")
	p.flags(cmd.Flags())
	return cmd
}
