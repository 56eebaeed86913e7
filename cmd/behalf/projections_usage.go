package main

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/behalf-platform/behalf"
)

func (s *shell) usage() *cobra.Command {
	var q behalf.UsageQuery
	var p paging
	var outcome string
	cmd := s.command("usage", "Count decisions per day, agent and outcome", func(ctx context.Context, r *remote, _ []string) error {
		var err error
		if q.Outcome, err = outcomeFlag(outcome); err != nil {
			return err
		}
		return r.pages(&p, func(limit int, cursor string) (int, string, error) {
			ctx, cancel := r.once(ctx)
			defer cancel()
			q.Limit, q.Cursor = limit, cursor
			list, err := r.Usage(ctx, q)
			if err != nil {
				return 0, "", err
			}
			if len(list.Usage) == 0 {
				r.note("Nothing was decided from %s until before %s.", list.Since, list.Until)
			}
			q.Since, q.Until = list.Since, list.Until // also if a day ends before the next page
			return len(list.Usage), list.NextCursor, r.show(func(t *table) {
				p.head(t, "DAY", "AGENT", "DECISION", "COUNT", "AMOUNT")
				for _, u := range list.Usage {
					t.row(u.Day, u.AgentID, string(u.Decision), strconv.FormatInt(u.Count, 10), orDash(money(u.Amount, u.Currency)))
				}
			})
		})
	})
	cmd.Long = `Count decisions per day (UTC), agent, outcome and currency, the newest day first. A
member's token counts the account's, an agent's key its own.`
	f := cmd.Flags()
	f.StringVar(&q.AgentID, "agent", "", "only this agent's")
	f.StringVar(&outcome, "outcome", "", "only these: allowed, denied or requires_approval")
	f.StringVar(&q.Currency, "currency", "", "only amounts in this currency")
	f.StringVar(&q.Since, "since", "", "from which day on, such as 2027-01-31 (default: 30 days before --until)")
	f.StringVar(&q.Until, "until", "", "up to before which day (default: tomorrow)")
	f.StringVar(&q.AtLeast, "at-least", "", "position of a packet that has to be counted")
	p.flags(f)
	return cmd
}

func (s *shell) agentHistory() *cobra.Command {
	var p paging
	cmd := s.command("history AGENT", "List everything that ever changed an agent's passport, newest first", func(ctx context.Context, r *remote, args []string) error {
		return r.pages(&p, func(limit int, cursor string) (int, string, error) {
			ctx, cancel := r.once(ctx)
			defer cancel()
			page, err := r.History(ctx, args[0], behalf.Page{Limit: limit, Cursor: cursor})
			if err != nil {
				return 0, "", err
			}
			return len(page.Changes), page.NextCursor, r.show(func(t *table) {
				p.head(t, "TIME", "VERSION", "WHAT", "BY", "CAUSE", "CHANGE")
				for _, c := range page.Changes {
					t.row(stamp(c.At), number(c.PassportVersion), c.Kind, c.Actor, orDash(c.Cause), changeText(c))
				}
			})
		})
	})
	p.flags(cmd.Flags())
	return cmd
}

// changeText is what a change says, on a line that can be read.
func changeText(c behalf.Change) string {
	const most = 160
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(c.Change)) {
		parts = append(parts, name+"="+string(c.Change[name]))
	}
	text := strings.Join(parts, " ")
	if runes := []rune(text); len(runes) > most {
		text = string(runes[:most]) + "…"
	}
	return text
}
