package main

import (
	"context"
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/spf13/cobra"

	"github.com/behalf-platform/behalf"
)

func (s *shell) events() *cobra.Command {
	return s.group("events", "Read the account's public events", s.tailEvents())
}

func (s *shell) tailEvents() *cobra.Command {
	var q behalf.EventQuery
	var since string
	cmd := s.command("tail", "Print events, oldest first, and with --follow those that come", func(ctx context.Context, r *remote, _ []string) error {
		var err error
		if q.Since, err = momentFlag("since", since, s.now(), back); err != nil {
			return err
		}
		r.note(eventFormat, anys(eventColumns)...)
		for e, err := range r.Events(ctx, q) {
			switch {
			case ctx.Err() != nil:
				return nil // interrupted, which is how a stream ends
			case err != nil:
				return err
			}
			line := r.wire.line()
			if !r.json {
				line = fmt.Appendf(nil, eventFormat, anys(eventRow(e))...)
			}
			if err := r.print(line); err != nil {
				return err
			}
		}
		return nil
	})
	cmd.Long = `Print the account's public events. With --output json each is a CloudEvent on a
line of its own; its "cursor" is what --after takes.

Types are those of verification, approval, permission, agent, budget, account and
member; "approval.*" is all of a noun.`
	f := cmd.Flags()
	f.StringSliceVar(&q.Types, "type", nil, "only of this type, such as verification.denied or approval.*; can be repeated")
	f.StringSliceVar(&q.Agents, "agent", nil, "only this agent's; can be repeated")
	f.StringVar(&since, "since", "", "from when on: a duration back such as 90m, 12h or 7d, a time such as 2027-01-01T00:00:00Z, or a date (UTC)")
	f.StringVar(&q.After, "after", "", "after the event with this cursor, or the packet with this position")
	f.BoolVarP(&q.Follow, "follow", "f", false, "go on with what comes, until interrupted; without --since and --after, begin there")
	return cmd
}

var eventColumns = []string{"TIME", "TYPE", "AGENT", "ABOUT"}

// eventFormat is for a stream, whose widths can't be known before its end.
const eventFormat = "%-20s  %-31s  %-16s  %s"

// eventRow shows an event, and of its data what says most in one word or two.
func eventRow(e behalf.Event) []string {
	var data struct {
		ReasonCode   string `json:"reasonCode"`
		Action       string `json:"action"`
		RequestID    string `json:"requestId"`
		ApprovalID   string `json:"approvalId"`
		PermissionID string `json:"permissionId"`
		MemberID     string `json:"memberId"`
	}
	_ = json.Unmarshal(e.Data, &data) // of another shape there is less to show
	about := ""
	for _, word := range []string{data.ReasonCode, data.Action, data.ApprovalID, data.PermissionID, data.MemberID, data.RequestID} {
		if word != "" && (about == "" || word == data.Action) {
			about += word + " "
		}
	}
	return []string{stamp(e.Time), e.Type, orDash(e.AgentID), orDash(about)}
}
