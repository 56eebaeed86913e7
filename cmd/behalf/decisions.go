package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/behalf-platform/behalf"
)

func (s *shell) decisions() *cobra.Command {
	cmd := s.listDecisions("decisions", "Read what was decided; lists the newest by itself")
	cmd.AddCommand(s.listDecisions("list", "List decisions, newest first"), s.showDecision(), s.tailDecisions())
	return cmd
}

// decisionFilter is the flags that choose decisions.
type decisionFilter struct {
	query        behalf.DecisionQuery
	outcome      string
	since, until string
}

func (d *decisionFilter) flags(f *pflag.FlagSet) {
	f.StringVar(&d.query.AgentID, "agent", "", "only this agent's")
	f.StringVar(&d.outcome, "outcome", "", "only these: allowed, denied or requires_approval")
	f.StringVar(&d.query.Action, "action", "", "only about this action")
	f.StringVar(&d.since, "since", "", "from when on: a duration back such as 90m, 12h or 7d, a time such as 2027-01-01T00:00:00Z, or a date (UTC)")
}

func (d *decisionFilter) read(s *shell) (q behalf.DecisionQuery, err error) {
	q = d.query
	switch q.Outcome = behalf.Outcome(d.outcome); q.Outcome {
	case "", behalf.Allowed, behalf.Denied, behalf.RequiresApproval:
	default:
		return q, usagef("--outcome %q is unknown; use allowed, denied or requires_approval", d.outcome)
	}
	if q.Since, err = momentFlag("since", d.since, s.now(), back); err != nil {
		return q, err
	}
	q.Until, err = momentFlag("until", d.until, s.now(), back)
	return q, err
}

func (s *shell) listDecisions(use, short string) *cobra.Command {
	var filter decisionFilter
	var p paging
	cmd := s.command(use, short, func(ctx context.Context, r *remote, _ []string) error {
		q, err := filter.read(s)
		if err != nil {
			return err
		}
		return r.pages(&p, func(limit int, cursor string) (int, string, error) {
			ctx, cancel := r.once(ctx)
			defer cancel()
			q.Limit, q.Cursor = limit, cursor
			page, err := r.Decisions(ctx, q)
			if err != nil {
				return 0, "", err
			}
			return len(page.Decisions), page.NextCursor, r.show(func(t *table) {
				p.head(t, decisionColumns...)
				for _, d := range page.Decisions {
					t.row(decisionRow(d)...)
				}
			})
		})
	})
	filter.flags(cmd.Flags())
	cmd.Flags().StringVar(&filter.until, "until", "", "up to when, written as for --since")
	p.flags(cmd.Flags())
	return cmd
}

func (s *shell) showDecision() *cobra.Command {
	return s.command("show REQUEST", "Show a decision with every check that was made", func(ctx context.Context, r *remote, args []string) error {
		ctx, cancel := r.once(ctx)
		defer cancel()
		p, err := r.Decision(ctx, args[0])
		if err != nil {
			return err
		}
		return r.show(func(t *table) { showPacket(t, p) })
	})
}

func (s *shell) tailDecisions() *cobra.Command {
	var filter decisionFilter
	cmd := s.command("tail", "Follow decisions as they are recorded, until interrupted", func(ctx context.Context, r *remote, _ []string) error {
		q, err := filter.read(s)
		if err != nil {
			return err
		}
		r.note(decisionFormat, anys(decisionColumns)...)
		for p, err := range r.Follow(ctx, q) {
			switch {
			case ctx.Err() != nil:
				return nil // interrupted, which is how this ends
			case err != nil:
				return err
			}
			if err := r.follow(p); err != nil {
				return err
			}
		}
		return nil
	})
	filter.flags(cmd.Flags())
	return cmd
}

// follow prints one decision of a stream.
func (r *remote) follow(p behalf.Packet) error {
	line := r.wire.line()
	if !r.json {
		line = fmt.Appendf(nil, decisionFormat, anys(decisionRow(p))...)
	}
	return r.print(line)
}

var decisionColumns = []string{"TIME", "DECISION", "REASON", "AGENT", "ACTION", "TARGET", "AMOUNT", "REQUEST"}

// decisionFormat is for a stream, whose widths can't be known before its end.
const decisionFormat = "%-20s  %-8s  %-20s  %-16s  %-16s  %-20s  %-12s  %s"

func decisionRow(p behalf.Packet) []string {
	target := p.Resource
	if target == "" {
		target = p.Vendor
	}
	return []string{
		stamp(p.DecidedAt), string(p.Decision), p.ReasonCode, p.AgentID, p.Action,
		orDash(target), orDash(money(p.Amount, p.Currency)), p.RequestID,
	}
}

// anys readies text for formatting, so that it can't do more than be shown.
func anys(cells []string) []any {
	list := make([]any, len(cells))
	for i, cell := range cells {
		list[i] = visible(cell)
	}
	return list
}
