package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"

	"github.com/behalf-platform/behalf"
)

func (s *shell) watchApprovals() *cobra.Command {
	var agent string
	var every time.Duration
	cmd := s.command("watch", "Follow what is asked and answered, until interrupted", func(ctx context.Context, r *remote, _ []string) error {
		if every <= 0 {
			return usagef("--every must be more than 0")
		}
		r.note(watchFormat, anys(watchColumns)...)
		w := watch{remote: r, agent: agent, seen: map[string]behalf.Approval{}}
		return w.follow(ctx, every)
	})
	cmd.Long = `Print what waits for a person or can be used now, and then each change as it
comes: what is asked anew, each yes, and what became of it. While the server can't
be asked it says so, once, and goes on trying.`
	cmd.Flags().StringVar(&agent, "agent", "", "only this agent's")
	cmd.Flags().DurationVar(&every, "every", 2*time.Second, "how often to look")
	return cmd
}

// watch knows the approvals that are open, or were opened lately, as they were
// last seen.
type watch struct {
	*remote
	agent string
	seen  map[string]behalf.Approval
	began bool
	// newest is when the newest approval was opened that there was so far.
	newest time.Time
}

// lately is how long before the newest approval another one that wasn't there yet
// can have been opened: by a node whose clock is behind, or read from one that is.
const lately = time.Minute

// follow looks again and again until ctx is done. Once it has looked, it waits for
// a server that can't be asked.
func (w *watch) follow(ctx context.Context, every time.Duration) error {
	err := w.look(ctx)
	wait, told := every, false
	for err == nil && sleep(ctx, wait) {
		wait = every
		err = w.look(ctx)
		switch {
		case err == nil:
			told = false
		case errors.Is(err, behalf.ErrUnavailable) && ctx.Err() == nil:
			if refused, ok := errors.AsType[*behalf.Error](err); ok {
				wait = max(wait, refused.RetryAfter)
			}
			if !told {
				what, _ := w.shell.explain(err, true)
				w.tell("%s; trying again", what)
			}
			told, err = true, nil
		}
	}
	if ctx.Err() != nil {
		return nil // interrupted, which is how this ends
	}
	return err
}

// sleep reports whether it slept as long as it should, or ctx was done before.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// found is an approval with the JSON it came as.
type found struct {
	behalf.Approval
	raw []byte
}

func (f found) open() bool {
	return f.State == behalf.ApprovalPending || f.State == behalf.ApprovalApproved
}

// look prints what has changed since the last look: of what was opened since, in
// whatever state it is, and of what is open. What was open is read one by one.
func (w *watch) look(ctx context.Context) error {
	listed := map[string]bool{}
	newest := w.newest
	for _, state := range []behalf.ApprovalState{"", behalf.ApprovalPending, behalf.ApprovalApproved} {
		list, err := w.list(ctx, state)
		if err != nil {
			return err
		}
		for _, f := range slices.Backward(list) { // the oldest first
			listed[f.ApprovalID] = true
			if f.OpenedAt.After(newest) {
				newest = f.OpenedAt
			}
			if err := w.changed(f); err != nil {
				return err
			}
		}
	}
	w.began, w.newest = true, newest
	for _, id := range slices.Sorted(maps.Keys(w.seen)) {
		f := found{Approval: w.seen[id]}
		if !listed[id] && f.open() {
			one, cancel := w.once(ctx)
			a, err := w.Approval(one, id)
			cancel()
			if err != nil {
				return err
			}
			f = found{a, w.wire.said.Bytes()}
			if err := w.changed(f); err != nil {
				return err
			}
		}
		if !f.open() && f.OpenedAt.Before(w.newest.Add(-lately)) {
			delete(w.seen, id) // no look comes upon it any more
		}
	}
	return nil
}

// list reads the approvals in a state. Of those in any state it reads the ones
// that the look before can't have met, or at the first look the newest.
func (w *watch) list(ctx context.Context, state behalf.ApprovalState) (list []found, err error) {
	q := behalf.ApprovalQuery{State: state, AgentID: w.agent, Limit: mostOnPage}
	if state == "" {
		q.Limit = 0 // few are new
	}
	since := w.newest
	for {
		one, cancel := w.once(ctx)
		page, err := w.Approvals(one, q)
		cancel()
		if err != nil {
			return nil, err
		}
		var raw struct {
			Approvals []jsontext.Value `json:"approvals"`
		}
		if err := json.Unmarshal(w.wire.said.Bytes(), &raw); err != nil {
			return nil, fmt.Errorf("%w: the answer can't be read again: %w", behalf.ErrUnavailable, err)
		}
		for i, a := range page.Approvals {
			if !w.began && len(list) == 0 {
				since = a.OpenedAt
			}
			if state == "" && a.OpenedAt.Before(since.Add(-lately)) {
				return list, nil
			}
			list = append(list, found{a, raw.Approvals[i]})
		}
		if q.Cursor = page.NextCursor; q.Cursor == "" {
			return list, nil
		}
	}
}

var watchColumns = []string{"TIME", "STATE", "AGENT", "ACTION", "TARGET", "AMOUNT", "APPROVAL"}

// watchFormat is for a stream, whose widths can't be known before its end.
const watchFormat = "%-20s  %-11s  %-16s  %-16s  %-20s  %-12s  %s"

// changed prints an approval if it is not as it was.
func (w *watch) changed(f found) error {
	was, known := w.seen[f.ApprovalID]
	if known && was.State == f.State && was.SaidYes == f.SaidYes {
		return nil
	}
	w.seen[f.ApprovalID] = f.Approval
	if !w.began && !f.open() {
		return nil // it was over before
	}
	if w.json {
		return w.print(f.raw)
	}
	at := f.OpenedAt
	if !f.ResolvedAt.IsZero() {
		at = f.ResolvedAt
	} else if f.State == behalf.ApprovalExpired {
		at = f.ExpiresAt
	}
	return w.print(fmt.Appendf(nil, watchFormat, anys([]string{
		stamp(at), stateText(f.Approval), f.AgentID, f.Action, orDash(target(f.Approval)), orDash(money(f.Amount, f.Currency)), f.ApprovalID,
	})...))
}
