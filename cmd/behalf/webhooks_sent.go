package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/behalf-platform/behalf"
)

func (s *shell) webhookStatus() *cobra.Command {
	return s.command("status WEBHOOK", "Show how sending to a webhook goes", func(ctx context.Context, r *remote, args []string) error {
		ctx, cancel := r.once(ctx)
		defer cancel()
		d, err := r.WebhookStatus(ctx, args[0])
		if err != nil {
			return err
		}
		return r.show(func(t *table) {
			t.field("State", d.State)
			t.field("Behind", fmt.Sprintf("%ds", d.LagSeconds))
			t.field("Oldest not delivered", stamp(d.OldestUndeliveredAt))
			t.field("Parked", strconv.Itoa(d.Parked))
			t.field("Dead letters", strconv.Itoa(d.DeadLetters))
			t.field("Last attempt", stamp(d.LastAttemptAt))
			t.field("Last delivery", stamp(d.LastDeliveryAt))
			t.field("Failing since", stamp(d.FailingSince))
			if d.Expiring {
				t.field("Expiring", "decisions it has not got leave the log")
			}
			t.field("Last error", d.LastError)
			t.field("Next try", stamp(d.NextTryAt))
		})
	})
}

func (s *shell) webhookAttempts() *cobra.Command {
	var q behalf.AttemptQuery
	var p paging
	var answers bool
	cmd := s.command("attempts WEBHOOK", "List what was sent to a webhook, newest first", func(ctx context.Context, r *remote, args []string) error {
		return r.pages(&p, func(limit int, cursor string) (int, string, error) {
			ctx, cancel := r.once(ctx)
			defer cancel()
			q.Limit, q.Cursor = limit, cursor
			page, err := r.WebhookAttempts(ctx, args[0], q)
			if err != nil {
				return 0, "", err
			}
			return len(page.Attempts), page.NextCursor, r.show(func(t *table) {
				columns := []string{"AT", "EVENT", "TYPE", "TRY", "OUTCOME", "STATUS", "MS", "ERROR"}
				if answers {
					columns = append(columns, "ANSWER")
				}
				p.head(t, columns...)
				for _, a := range page.Attempts {
					t.row(attemptRow(a, answers)...)
				}
			})
		})
	})
	f := cmd.Flags()
	f.StringVar(&q.Outcome, "outcome", "", "only what came out so: delivered, failed or given_up")
	f.StringVar(&q.EventID, "event", "", "only of this event")
	f.StringVar(&q.ReplayID, "replay", "", "only of this replay")
	f.BoolVar(&answers, "answers", false, "show what was answered too")
	p.flags(f)
	return cmd
}

func attemptRow(a behalf.Attempt, answers bool) []string {
	status := ""
	if a.Status != 0 {
		status = strconv.Itoa(a.Status)
	}
	row := []string{
		stamp(a.At), a.EventID, a.Type, strconv.Itoa(a.Number), a.Outcome, orDash(status), strconv.FormatInt(a.LatencyMS, 10), orDash(a.Error),
	}
	if answers {
		row = append(row, orDash(a.Answer))
	}
	return row
}

func (s *shell) webhookDeadLetters() *cobra.Command {
	var p paging
	cmd := s.command("dead-letters WEBHOOK", "List what was given up, newest first", func(ctx context.Context, r *remote, args []string) error {
		return r.pages(&p, func(limit int, cursor string) (int, string, error) {
			ctx, cancel := r.once(ctx)
			defer cancel()
			page, err := r.DeadLetters(ctx, args[0], behalf.Page{Limit: limit, Cursor: cursor})
			if err != nil {
				return 0, "", err
			}
			return len(page.DeadLetters), page.NextCursor, r.show(func(t *table) {
				p.head(t, "GIVEN UP", "EVENT", "TYPE", "TRIES", "LAST ERROR")
				for _, d := range page.DeadLetters {
					t.row(stamp(d.At), d.EventID, d.Type, strconv.Itoa(d.Attempts), orDash(d.LastError))
				}
			})
		})
	})
	p.flags(cmd.Flags())
	return cmd
}

func (s *shell) replayWebhook() *cobra.Command {
	var selection behalf.ReplaySelection
	var since, until string
	var rate int
	cmd := s.command("replay WEBHOOK", "Send events once more", func(ctx context.Context, r *remote, args []string) (err error) {
		if selection.Since, err = momentFlag("since", since, s.now(), back); err != nil {
			return err
		}
		if selection.Until, err = momentFlag("until", until, s.now(), back); err != nil {
			return err
		}
		if len(selection.EventIDs) == 0 && selection.Since.IsZero() && !selection.DeadLetters {
			return usagef("say what to send again: --event, --since or --dead-letters")
		}
		return r.webhookReplay(ctx, func(ctx context.Context) (behalf.WebhookReplay, error) {
			replay, err := r.RequestWebhookReplay(ctx, args[0], selection, rate)
			if err == nil {
				r.note("See how far it got: behalf webhooks replays %s %s", args[0], replay.ReplayID)
			}
			return replay, err
		})
	})
	cmd.Long = `Send events to a webhook once more, beside what is sent to it anyway: some by
their ids, all of a time, or what was given up.`
	cmd.Example = `  behalf webhooks replay whe_… --event evt_…
  behalf webhooks replay whe_… --since 2h
  behalf webhooks replay whe_… --since 2027-01-01 --until 2027-01-02 --rate 100
  behalf webhooks replay whe_… --dead-letters`
	f := cmd.Flags()
	f.StringArrayVar(&selection.EventIDs, "event", nil, "id of an event (may be repeated)")
	f.StringVar(&since, "since", "", "all from then on: a duration back such as 90m, 12h or 7d, a time such as 2027-01-01T00:00:00Z, or a date (UTC)")
	f.StringVar(&until, "until", "", "up to when, written as for --since (default up to now)")
	f.BoolVar(&selection.DeadLetters, "dead-letters", false, "what was given up; all of it unless --since and --until bound it")
	f.IntVar(&rate, "rate", 0, "most events a second, 1 to 1000 (default 10)")
	return cmd
}

func (s *shell) webhookReplays() *cobra.Command {
	var cancel bool
	cmd := s.command("replays WEBHOOK [REPLAY]", "List the newest replays, or show or cancel one", func(ctx context.Context, r *remote, args []string) error {
		switch {
		case cancel && len(args) < 2:
			return usagef("--cancel needs the id of a replay")
		case len(args) > 1:
			return r.webhookReplay(ctx, func(ctx context.Context) (behalf.WebhookReplay, error) {
				if cancel {
					return r.CancelWebhookReplay(ctx, args[0], args[1])
				}
				return r.WebhookReplay(ctx, args[0], args[1])
			})
		}
		ctx, stop := r.once(ctx)
		defer stop()
		replays, err := r.WebhookReplays(ctx, args[0])
		if err != nil {
			return err
		}
		return r.show(func(t *table) {
			t.row("REPLAY", "STATE", "WHAT", "REQUESTED", "DELIVERED", "FAILED", "LEFT")
			for _, replay := range replays {
				delivered, failed, left := sentAgain(replay.Progress)
				t.row(replay.ReplayID, replay.State, selected(replay.ReplaySelection), stamp(replay.RequestedAt), orDash(delivered), orDash(failed), orDash(left))
			}
		})
	})
	cmd.Flags().BoolVar(&cancel, "cancel", false, "send no more of the replay")
	return cmd
}

// webhookReplay does something with a replay and shows it.
func (r *remote) webhookReplay(ctx context.Context, do func(context.Context) (behalf.WebhookReplay, error)) error {
	ctx, cancel := r.once(ctx)
	defer cancel()
	replay, err := do(ctx)
	if err != nil {
		return err
	}
	return r.show(func(t *table) {
		t.field("Replay", replay.ReplayID)
		t.field("State", replay.State)
		t.field("What", selected(replay.ReplaySelection))
		t.field("Rate", fmt.Sprintf("%d a second", replay.RatePerSecond))
		t.field("Requested by", replay.RequestedBy)
		t.field("Requested", stamp(replay.RequestedAt))
		t.field("Ended", stamp(replay.EndedAt))
		delivered, failed, left := sentAgain(replay.Progress)
		t.field("Delivered", delivered)
		t.field("Failed", failed)
		t.field("Left", left)
	})
}

// selected says in words what a replay sends.
func selected(s behalf.ReplaySelection) string {
	text := "all"
	switch {
	case len(s.EventIDs) == 1:
		return s.EventIDs[0]
	case len(s.EventIDs) > 1:
		return fmt.Sprintf("%d events", len(s.EventIDs))
	case s.DeadLetters:
		text = "dead letters"
	}
	if !s.Since.IsZero() {
		text += " since " + stamp(s.Since)
	}
	if !s.Until.IsZero() {
		text += " until " + stamp(s.Until)
	}
	return text
}

func sentAgain(p *behalf.ReplayProgress) (delivered, failed, left string) {
	if p == nil {
		return "", "", ""
	}
	if p.Left != nil {
		left = strconv.Itoa(*p.Left)
	}
	return strconv.Itoa(p.Delivered), strconv.Itoa(p.Failed), left
}
