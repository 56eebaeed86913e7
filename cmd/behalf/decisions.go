package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/behalf-platform/behalf"
)

func (s *shell) decisions() *cobra.Command {
	cmd := s.listDecisions("decisions", "Read what was decided; lists the newest by itself")
	cmd.AddCommand(s.listDecisions("list", "List decisions, newest first"), s.showDecision(), s.tailDecisions(), s.totalDecisions())
	return cmd
}

// decisionFilter is the flags that choose decisions.
type decisionFilter struct {
	query        behalf.DecisionQuery
	outcome      string
	since, until string
}

func (d *decisionFilter) flags(f *pflag.FlagSet) {
	q := &d.query
	f.StringVar(&q.AgentID, "agent", "", "only this agent's")
	f.StringVar(&d.outcome, "outcome", "", "only these: allowed, denied or requires_approval")
	f.StringVar(&q.ReasonCode, "reason", "", "only with this reason code, such as AMOUNT_EXCEEDS_LIMIT")
	f.StringVar(&q.Action, "action", "", "only about this action")
	f.StringVar(&q.Vendor, "vendor", "", "only about this vendor, exactly as it was asked")
	f.StringVar(&q.Resource, "resource", "", "only about this resource, exactly as it was asked")
	f.StringVar(&q.PermissionID, "permission", "", "only by this permission")
	f.StringVar(&q.ApprovalID, "approval", "", "only those that opened, awaited or used this approval")
	f.StringVar(&q.RiskLevel, "risk", "", "only of this risk: low, medium or high")
	f.StringVar(&q.AmountMin, "min", "", "only about this amount or more; needs --currency")
	f.StringVar(&q.AmountMax, "max", "", "only about this amount or less; needs --currency")
	f.StringVar(&q.Currency, "currency", "", "only about amounts in this currency")
	f.Uint64Var(&q.PassportVersion, "version", 0, "only those made on this version of the passport")
	f.StringVar(&q.Text, "text", "", "only those whose reason has this text in it")
	f.StringVar(&d.since, "since", "", "from when on: a duration back such as 90m, 12h or 7d, a time such as 2027-01-01T00:00:00Z, or a date (UTC)")
}

// ended adds the flags of what has an end.
func (d *decisionFilter) ended(f *pflag.FlagSet) {
	f.StringVar(&d.until, "until", "", "up to when, written as for --since")
	f.StringVar(&d.query.AtLeast, "at-least", "", "position of a packet that the answer has to know of")
}

func (d *decisionFilter) read(s *shell) (q behalf.DecisionQuery, err error) {
	q = d.query
	if q.Outcome, err = outcomeFlag(d.outcome); err != nil {
		return q, err
	}
	if (q.AmountMin != "" || q.AmountMax != "") && q.Currency == "" {
		return q, usagef("--min and --max need --currency")
	}
	if q.Since, err = momentFlag("since", d.since, s.now(), back); err != nil {
		return q, err
	}
	q.Until, err = momentFlag("until", d.until, s.now(), back)
	return q, err
}

func outcomeFlag(text string) (behalf.Outcome, error) {
	switch o := behalf.Outcome(text); o {
	case "", behalf.OutcomeAllowed, behalf.OutcomeDenied, behalf.OutcomeRequiresApproval:
		return o, nil
	}
	return "", usagef("--outcome %q is unknown; use allowed, denied or requires_approval", text)
}

func (s *shell) listDecisions(use, short string) *cobra.Command {
	var filter decisionFilter
	var p paging
	var format string
	cmd := s.command(use, short, func(ctx context.Context, r *remote, _ []string) error {
		q, err := filter.read(s)
		if err != nil {
			return err
		}
		switch format {
		case "csv", "ndjson":
			return r.export(ctx, q, format)
		case "":
		default:
			return usagef("--format %q is unknown; use csv or ndjson", format)
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
	filter.ended(cmd.Flags())
	p.flags(cmd.Flags())
	cmd.Flags().StringVar(&format, "format", "", "write all that match, however many, as csv or ndjson")
	return cmd
}

// export writes every decision as it comes, and keeps none of it.
func (r *remote) export(ctx context.Context, q behalf.DecisionQuery, format string) error {
	plain := &behalf.Client{BaseURL: r.BaseURL, Token: r.Token}
	return plain.Export(ctx, q, format, r.shell.out)
}

func (s *shell) totalDecisions() *cobra.Command {
	var filter decisionFilter
	cmd := s.command("totals", "Count decisions by outcome and currency", func(ctx context.Context, r *remote, _ []string) error {
		q, err := filter.read(s)
		if err != nil {
			return err
		}
		ctx, cancel := r.once(ctx)
		defer cancel()
		totals, err := r.Totals(ctx, q)
		if err != nil {
			return err
		}
		return r.show(func(t *table) {
			t.row("DECISION", "COUNT", "AMOUNT")
			for _, sum := range totals.Totals {
				t.row(string(sum.Decision), strconv.FormatInt(sum.Count, 10), orDash(money(sum.Amount, sum.Currency)))
			}
			t.row("all", strconv.FormatInt(totals.Count, 10), "-")
		})
	})
	filter.flags(cmd.Flags())
	filter.ended(cmd.Flags())
	return cmd
}

func (s *shell) showDecision() *cobra.Command {
	var explain bool
	cmd := s.command("show REQUEST", "Show a decision with every check that was made", func(ctx context.Context, r *remote, args []string) error {
		ctx, cancel := r.once(ctx)
		defer cancel()
		if explain {
			e, err := r.Explain(ctx, args[0])
			if err != nil {
				return err
			}
			return r.show(func(t *table) { s.showExplained(t, e) })
		}
		p, err := r.Decision(ctx, args[0])
		if err != nil {
			return err
		}
		return r.show(func(t *table) { showPacket(t, p) })
	})
	cmd.Flags().BoolVar(&explain, "explain", false, "show the passport as it was, how each permission was judged, the approval, and what would have made it allowed")
	return cmd
}

// showExplained shows a decision and how it came about.
func (s *shell) showExplained(t *table, e behalf.Explained) {
	p := e.Packet
	p.Checks = nil // they come by permission
	showPacket(t, p)
	x := e.Explanation
	if len(x.ToAllow) > 0 {
		t.gap()
		t.row("TO BE ALLOWED")
		for _, sentence := range x.ToAllow {
			t.row(sentence)
		}
	}
	for _, j := range x.Permissions {
		t.gap()
		decided := ""
		if j.Decided {
			decided = ", which decided"
		}
		t.row("PERMISSION " + j.PermissionID + " (" + j.Status + decided + ")")
		t.row(j.Summary)
		showJudged(t, j.Checks)
	}
	if len(x.Checks) > 0 {
		t.gap()
		t.row("THE AGENT AS A WHOLE")
		showJudged(t, x.Checks)
	}
	if x.Approval != nil {
		t.gap()
		t.row("APPROVAL")
		s.showOne(t, *x.Approval)
	}
	t.gap()
	t.row("PASSPORT AS IT WAS")
	showPassport(t, x.Passport)
}

func showJudged(t *table, checks []behalf.Check) {
	for _, c := range checks {
		passed := "passed"
		if !c.Passed {
			passed = "failed"
		}
		t.row("  "+c.Rule, passed, c.Detail)
	}
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
