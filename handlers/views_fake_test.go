package handlers_test

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers"
	"github.com/behalf-platform/behalf/projections"
)

// fakeViews keeps read models in memory, and every promise of a real store. It
// can break each call before and after it does something.
type fakeViews struct {
	mu sync.Mutex
	// All below are guarded by mu.
	views   map[projections.View]*fakeView
	serving map[projections.Projection]int
	locks   map[projections.Projection]*fakeLock
	// before and after fail a call by its name, if they return an error.
	before, after func(call string) error
	// refuses is the rows the database refuses, by sequence; named says whether
	// it tells which.
	refuses map[uint64]bool
	named   bool
	applied int
}

type fakeView struct {
	checkpoints map[uint16]projections.Checkpoint
	decisions   []projections.DecisionRow
	changes     []projections.ChangeRow
	usage       []projections.UsageRow
	events      int
}

type fakeLock struct {
	free chan struct{} // holds a token while nobody has it
	lost chan struct{}
}

func newFakeViews() *fakeViews {
	f := &fakeViews{
		views: map[projections.View]*fakeView{}, serving: map[projections.Projection]int{},
		locks: map[projections.Projection]*fakeLock{}, refuses: map[uint64]bool{},
	}
	for _, name := range projections.Projections() {
		f.locks[name] = &fakeLock{free: make(chan struct{}, 1)}
		f.locks[name].free <- struct{}{}
	}
	return f
}

// breaks has calls fail. Nil ends it.
func (f *fakeViews) breaks(before, after func(call string) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.before, f.after = before, after
}

// call does something under the lock, between its two faults.
func (f *fakeViews) call(ctx context.Context, name string, do func() error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if f.before != nil {
		if err := f.before(name); err != nil {
			return err
		}
	}
	if err := do(); err != nil {
		return err
	}
	if f.after != nil {
		return f.after(name)
	}
	return nil
}

// Own takes the lock of a projection.
func (f *fakeViews) Own(ctx context.Context, p projections.Projection) (func(), <-chan struct{}, error) {
	if err := f.call(ctx, "own", func() error { return nil }); err != nil {
		return nil, nil, err
	}
	f.mu.Lock()
	lock := f.locks[p]
	f.mu.Unlock()
	select {
	case <-lock.free:
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	lost := make(chan struct{})
	lock.lost = lost
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if lock.lost == lost {
			lock.lost = nil
			lock.free <- struct{}{}
		}
	}, lost, nil
}

// steal takes every lock away from who has it. Who had it is told if tell is set.
func (f *fakeViews) steal(tell bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, lock := range f.locks {
		if lock.lost == nil {
			continue
		}
		if tell {
			close(lock.lost)
		}
		lock.lost = nil
		lock.free <- struct{}{}
	}
}

func (f *fakeViews) Begin(ctx context.Context, v projections.View, partition uint16, epoch uint32) (c projections.Checkpoint, err error) {
	err = f.call(ctx, "begin", func() error {
		if f.serving[v.Projection] == 0 {
			f.serving[v.Projection] = v.Version
			f.views[v] = &fakeView{checkpoints: map[uint16]projections.Checkpoint{}}
		}
		view := f.views[v]
		if view == nil {
			return projections.ErrNoView
		}
		if _, ok := view.checkpoints[partition]; !ok {
			view.checkpoints[partition] = projections.Checkpoint{View: v, Partition: partition, Epoch: epoch}
		}
		if c = view.checkpoints[partition]; c.Epoch != epoch {
			return projections.ErrAnotherLog
		}
		return nil
	})
	return c, err
}

func (f *fakeViews) Apply(ctx context.Context, v projections.View, span projections.Span, b *projections.Batch) error {
	return f.call(ctx, "apply", func() error {
		view := f.views[v]
		if view == nil {
			return projections.ErrNoView
		}
		c := view.checkpoints[span.Partition]
		switch {
		case c.Epoch != span.Epoch:
			return projections.ErrAnotherLog
		case c.Seq != span.From:
			return projections.ErrStale
		}
		for seq := span.From + 1; seq <= span.Through; seq++ {
			if f.refuses[seq] && f.named {
				return &projections.Inapplicable{Seq: seq, Err: fmt.Errorf("row %d breaks a constraint", seq)}
			}
			if f.refuses[seq] {
				return &projections.Inapplicable{Err: fmt.Errorf("a row breaks a constraint")}
			}
		}
		f.applied++
		for _, row := range b.Decisions { // the batch takes its memory back
			row.Record = slices.Clone(row.Record)
			view.decisions = append(view.decisions, row)
		}
		for _, row := range b.Changes {
			row.Record = slices.Clone(row.Record)
			view.changes = append(view.changes, row)
		}
		view.usage = append(view.usage, b.Usage...)
		view.events += b.Events
		c.Seq, c.StoppedAt, c.Reason = span.Through, 0, ""
		view.checkpoints[span.Partition] = c
		return nil
	})
}

func (f *fakeViews) Stop(ctx context.Context, v projections.View, partition uint16, seq uint64, reason string) error {
	return f.call(ctx, "stop", func() error {
		c := f.views[v].checkpoints[partition]
		if c.Seq >= seq {
			return projections.ErrStale
		}
		c.StoppedAt, c.Reason = seq, reason
		f.views[v].checkpoints[partition] = c
		return nil
	})
}

func (f *fakeViews) Status(ctx context.Context) (list []projections.Checkpoint, err error) {
	err = f.call(ctx, "status", func() error {
		for v, view := range f.views {
			for _, c := range view.checkpoints {
				c.Serving = f.serving[v.Projection] == v.Version
				list = append(list, c)
			}
		}
		slices.SortFunc(list, func(a, b projections.Checkpoint) int {
			if a.Projection != b.Projection {
				return slices.Index(projections.Projections(), a.Projection) - slices.Index(projections.Projections(), b.Projection)
			}
			if a.Version != b.Version {
				return a.Version - b.Version
			}
			return int(a.Partition) - int(b.Partition)
		})
		return nil
	})
	return list, err
}

func (f *fakeViews) StartRebuild(ctx context.Context, p projections.Projection) (v projections.View, err error) {
	err = f.call(ctx, "rebuild", func() error {
		v = projections.View{Projection: p}
		for other := range f.views {
			if other.Projection == p {
				v.Version = max(v.Version, other.Version)
			}
		}
		if v.Version > f.serving[p] {
			return nil
		}
		v.Version++
		f.views[v] = &fakeView{checkpoints: map[uint16]projections.Checkpoint{}}
		if f.serving[p] == 0 {
			f.serving[p] = v.Version
		}
		return nil
	})
	return v, err
}

func (f *fakeViews) Switch(ctx context.Context, v projections.View) error {
	return f.call(ctx, "switch", func() error {
		made, serving := f.views[v], f.views[projections.View{Projection: v.Projection, Version: f.serving[v.Projection]}]
		if made == nil {
			return projections.ErrNoView
		}
		for partition, c := range serving.checkpoints {
			if n := made.checkpoints[partition]; n.Epoch == c.Epoch && n.Seq < c.Seq || n.StoppedAt != 0 {
				return projections.ErrBehind
			}
		}
		f.serving[v.Projection] = v.Version
		return nil
	})
}

func (f *fakeViews) Drop(ctx context.Context, v projections.View) error {
	return f.call(ctx, "drop", func() error {
		if f.serving[v.Projection] == v.Version {
			return projections.ErrServing
		}
		delete(f.views, v)
		return nil
	})
}

// answers is the view that serves.
func (f *fakeViews) answers(p projections.Projection) (*fakeView, error) {
	v := projections.View{Projection: p, Version: f.serving[p]}
	view := f.views[v]
	if view == nil {
		return nil, projections.ErrNoView
	}
	for _, c := range view.checkpoints {
		if c.StoppedAt != 0 {
			return nil, &projections.Stopped{Checkpoint: c}
		}
	}
	return view, nil
}

func (f *fakeViews) Decisions(ctx context.Context, q projections.DecisionFilter, limit int, after projections.Cursor) (rows []projections.DecisionRow, next projections.Cursor, err error) {
	err = f.call(ctx, "decisions", func() error {
		view, err := f.answers(projections.ProjectionDecisions)
		if err != nil {
			return err
		}
		for _, row := range slices.Backward(view.decisions) {
			r, err := row.Recorded(1)
			if err != nil {
				return err
			}
			if !handlers.Matches(&q, &r) || after.Seq != 0 && row.Seq >= after.Seq {
				continue
			}
			if len(rows) == limit {
				last := rows[limit-1]
				next = projections.Cursor{Partition: last.Partition, Seq: last.Seq}
				return nil
			}
			rows = append(rows, row)
		}
		return nil
	})
	return rows, next, err
}

func (f *fakeViews) EachDecision(ctx context.Context, q projections.DecisionFilter, yield func(projections.DecisionRow) error) error {
	rows, _, err := f.Decisions(ctx, q, 1<<30, projections.Cursor{})
	if err != nil {
		return err
	}
	for _, row := range rows {
		if err := yield(row); err != nil {
			return err
		}
	}
	return nil
}

func (f *fakeViews) Totals(ctx context.Context, q projections.DecisionFilter) (totals []projections.Total, err error) {
	err = f.EachDecision(ctx, q, func(row projections.DecisionRow) error {
		i := slices.IndexFunc(totals, func(t projections.Total) bool { return t.Outcome == row.Outcome })
		if i < 0 {
			i = len(totals)
			totals = append(totals, projections.Total{Outcome: row.Outcome})
		}
		totals[i].Count++
		return nil
	})
	return totals, err
}

func (f *fakeViews) Usage(ctx context.Context, q projections.UsageFilter, limit int, after projections.UsageCursor) (usage []projections.Usage, next projections.UsageCursor, err error) {
	err = f.call(ctx, "usage", func() error {
		view, err := f.answers(projections.ProjectionUsage)
		if err != nil {
			return err
		}
		for _, row := range view.usage {
			if row.Account != q.Account || q.Agent != "" && row.Agent != q.Agent || row.Day.Before(q.Since) || !row.Day.Before(q.Until) {
				continue
			}
			i := slices.IndexFunc(usage, func(u projections.Usage) bool {
				return u.Agent == row.Agent && u.Day.Equal(row.Day) && u.Outcome == row.Outcome
			})
			if i < 0 {
				i = len(usage)
				usage = append(usage, projections.Usage{Agent: row.Agent, Day: row.Day, Total: projections.Total{Outcome: row.Outcome}})
			}
			usage[i].Count += row.Count
		}
		usage, next = pageOfUsage(usage, limit, after)
		return nil
	})
	return usage, next, err
}

// pageOfUsage is a page of a list, and the cursor of the next one.
func pageOfUsage(list []projections.Usage, limit int, after projections.UsageCursor) (page []projections.Usage, next projections.UsageCursor) {
	cursor := func(u projections.Usage) projections.UsageCursor {
		return projections.UsageCursor{Day: u.Day, Agent: u.Agent, Outcome: u.Outcome, Currency: u.Currency}
	}
	order := func(a, b projections.UsageCursor) int {
		return cmp.Or(b.Day.Compare(a.Day), cmp.Compare(a.Agent, b.Agent), cmp.Compare(a.Outcome, b.Outcome), cmp.Compare(a.Currency, b.Currency))
	}
	slices.SortFunc(list, func(a, b projections.Usage) int { return order(cursor(a), cursor(b)) })
	for _, u := range list {
		switch {
		case after != (projections.UsageCursor{}) && order(cursor(u), after) <= 0:
		case len(page) == limit:
			return page, cursor(page[limit-1])
		default:
			page = append(page, u)
		}
	}
	return page, next
}

func (f *fakeViews) Changes(ctx context.Context, account domain.AccountID, agent domain.AgentID, limit int, after projections.Cursor) (rows []projections.ChangeRow, next projections.Cursor, err error) {
	err = f.call(ctx, "changes", func() error {
		view, err := f.answers(projections.ProjectionPassports)
		if err != nil {
			return err
		}
		for _, row := range slices.Backward(view.changes) {
			if row.Account == account && row.Agent == agent && (after.Seq == 0 || row.Seq < after.Seq) && len(rows) < limit {
				rows = append(rows, row)
			}
		}
		return nil
	})
	return rows, next, err
}

// seqs are the decisions of the view that serves, and what is in the log.
func (f *fakeViews) seqs(v projections.View) (seqs []uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if view := f.views[v]; view != nil {
		for _, row := range view.decisions {
			seqs = append(seqs, row.Seq)
		}
	}
	return seqs
}

// counts is how many batches of usage of one agent there were, and the sum of it.
func (f *fakeViews) counts() (batches int, sum int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, row := range f.views[projections.View{Projection: projections.ProjectionUsage, Version: 1}].usage {
		batches++
		sum += row.Count
	}
	return batches, sum
}

func (f *fakeViews) version(p projections.Projection) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.serving[p]
}

func (f *fakeViews) checkpoint(v projections.View) projections.Checkpoint {
	f.mu.Lock()
	defer f.mu.Unlock()
	if view := f.views[v]; view != nil {
		return view.checkpoints[0]
	}
	return projections.Checkpoint{}
}

// caughtUp is longer than projecting a few events takes.
const caughtUp = time.Second

// Prune removes what an account decided before a time, one row at a time.
func (f *fakeViews) Prune(ctx context.Context, v projections.View, account domain.AccountID, before time.Time) (more bool, err error) {
	err = f.call(ctx, "prune", func() error {
		view := f.views[v]
		if view == nil {
			return projections.ErrNoView
		}
		if i := slices.IndexFunc(view.decisions, func(r projections.DecisionRow) bool {
			return r.Account == account && r.LoggedAt.Before(before)
		}); i >= 0 {
			view.decisions, more = slices.Delete(view.decisions, i, i+1), true
		}
		view.usage = slices.DeleteFunc(view.usage, func(r projections.UsageRow) bool {
			return r.Account == account && r.Day.Before(before)
		})
		return nil
	})
	return more, err
}
