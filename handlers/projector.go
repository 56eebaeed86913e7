package handlers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/projections"
)

// ProjectorLog is what projecting needs of the event log.
type ProjectorLog interface {
	// Scan calls yield with every record of a partition, oldest first, and with
	// the error in place of one that can't be read; with Live it goes on until ctx ends.
	Scan(ctx context.Context, q domain.Scan, yield func(domain.Recorded, error) error) error
	// Settle returns when all that was read is as durable as what is acknowledged.
	Settle(ctx context.Context) error
	StatusLog
}

// RowStore takes rows. An error that is none of those package projections names
// is the database's, and leaves the outcome of a write unknown.
type RowStore interface {
	// Own waits until this process is the one that projects. Lost is closed when
	// that is not known to be so any more.
	Own(ctx context.Context, p projections.Projection) (release func(), lost <-chan struct{}, err error)
	// Begin makes a view ready to be filled from a partition, and says how far it is.
	Begin(ctx context.Context, v projections.View, partition uint16, epoch uint32) (projections.Checkpoint, error)
	// Apply writes a batch and moves the checkpoint over its span, or does neither.
	Apply(ctx context.Context, v projections.View, span projections.Span, b *projections.Batch) error
	// Stop records that a view can't go on from an event on, and why.
	Stop(ctx context.Context, v projections.View, partition uint16, seq uint64, reason string) error
}

// ViewStore keeps the versions of each projection.
type ViewStore interface {
	Status(ctx context.Context) ([]projections.Checkpoint, error)
	StartRebuild(ctx context.Context, p projections.Projection) (projections.View, error)
	Switch(ctx context.Context, v projections.View) error
	Drop(ctx context.Context, v projections.View) error
	// Prune removes some of what an account decided before a time, and reports
	// whether there may be more.
	Prune(ctx context.Context, v projections.View, account domain.AccountID, before time.Time) (more bool, err error)
}

// ProjectorStore is the database of a [Projector].
type ProjectorStore interface {
	RowStore
	ViewStore
}

// Projector makes rows of the log. Nothing that decides looks at them, and
// nothing that goes wrong here stands in the way of a decision.
//
// Of all nodes one projects at a time. Whoever takes over goes on from the
// checkpoint, which moves only together with the rows. An event that can't be
// applied is never skipped: its view stops there, until it is rebuilt or a node
// starts to project it anew.
type Projector struct {
	Log   ProjectorLog
	Store ProjectorStore
	Logs  *slog.Logger
	// Crowd is those who are decided on, whom projecting gives way to. It may be nil.
	Crowd *Crowd
	// Linger is how long a batch waits for more events, 50ms if 0.
	Linger time.Duration
	// MostEvents bounds a batch, 10,000 if 0; more for what makes few rows of many
	// events.
	MostEvents int
	// Every is how often it is looked whether a rebuild was asked for, a second if 0.
	Every time.Duration
	// Pruning has the rows go that accounts don't keep. If nil, all stay.
	Pruning *Pruning

	tapes []*tapes // by partition, made by Run
}

const (
	usualLinger = 50 * time.Millisecond
	mostEvents  = 10_000
	// mostOfFew bounds a batch of usage: its rows are counts, and each is written
	// once a batch.
	mostOfFew    = 100_000
	lingersOfFew = 20
	// rush is how many events in the time that a batch lingers are many.
	rush = 500
	// mostBytes bounds the records of a batch.
	mostBytes = 32 << 20
	// tapeRoom is how many events of each partition are in memory at most.
	tapeRoom = 16384
	// mostApply bounds one exchange with the database.
	mostApply = time.Minute
)

// Run projects until ctx ends.
func (p *Projector) Run(ctx context.Context) error {
	p.tapes = make([]*tapes, p.Log.Partitions())
	var parts sync.WaitGroup
	for i := range p.tapes {
		p.tapes[i] = newTapes(p.Log, uint16(i), max(tapeRoom/len(p.tapes), 2*segmentSize))
		parts.Go(func() { p.tapes[i].run(ctx) })
	}
	for _, name := range projections.Projections() {
		parts.Go(func() { p.project(ctx, name) })
	}
	parts.Wait()
	return nil
}

// project projects whenever this node is the one that does.
func (p *Projector) project(ctx context.Context, name projections.Projection) {
	var retry backoff
	for retry.wait(ctx) == nil {
		release, lost, err := p.Store.Own(ctx, name)
		if err != nil {
			if ctx.Err() == nil {
				p.Logs.WarnContext(ctx, "ask to project", slog.String("projection", string(name)), slog.Any("error", err))
				retry.longer()
			}
			continue
		}
		retry.reset()
		owned, cancel := context.WithCancel(ctx)
		var watch sync.WaitGroup
		watch.Go(func() {
			defer cancel()
			select {
			case <-lost:
				p.Logs.WarnContext(ctx, "another may project now", slog.String("projection", string(name)))
			case <-owned.Done():
			}
		})
		p.tend(owned, name)
		cancel()
		watch.Wait()
		release()
	}
}

// crew fills one view, from every partition.
type crew struct {
	dismiss context.CancelFunc
	feeds   sync.WaitGroup
}

func (c *crew) end() {
	c.dismiss()
	c.feeds.Wait()
}

// tend keeps the views of a projection filled until ctx ends: the one that
// serves, and one that is made beside it, until that can take its place.
func (p *Projector) tend(ctx context.Context, name projections.Projection) {
	crews := map[int]*crew{}
	defer func() {
		for _, c := range crews {
			c.end()
		}
	}()
	var retry backoff
	var pruner pruner
	for ctx.Err() == nil {
		views, err := p.views(ctx, name)
		if err != nil {
			if ctx.Err() == nil {
				p.Logs.WarnContext(ctx, "read the checkpoints", slog.String("projection", string(name)), slog.Any("error", err))
			}
			retry.longer()
			_ = retry.wait(ctx) // the loop says so
			continue
		}
		retry.reset()
		for _, v := range views.filled() {
			if crews[v.Version] == nil {
				crews[v.Version] = p.hire(ctx, v)
			}
		}
		pause := cmp.Or(p.Every, time.Second)
		if views.made.Version != 0 {
			pause = min(pause, 100*time.Millisecond)
			p.finish(ctx, views)
		}
		if len(views.checkpoints) > 0 {
			pause = min(pause, pruner.run(ctx, p, views.filled()))
		}
		for _, v := range views.old {
			if c := crews[v.Version]; c != nil {
				c.end()
				delete(crews, v.Version)
			}
			p.drop(ctx, v)
		}
		_ = sleep(ctx, pause) // the loop says so
	}
}

// hire begins to fill a view.
func (p *Projector) hire(ctx context.Context, v projections.View) *crew {
	c := &crew{}
	ctx, c.dismiss = context.WithCancel(ctx)
	for i := range p.tapes {
		f := &feed{p: p, view: v, tapes: p.tapes[i], partition: uint16(i)}
		f.usual, f.lingers = p.batchOf(v.Projection)
		f.most = f.usual
		c.feeds.Go(func() { f.run(ctx) })
	}
	return c
}

// batchOf is how many events a batch of a projection has at most, and how often
// it waits for more in a rush.
func (p *Projector) batchOf(name projections.Projection) (most, lingers int) {
	if name == projections.ProjectionUsage {
		return cmp.Or(p.MostEvents, mostOfFew), lingersOfFew
	}
	return cmp.Or(p.MostEvents, mostEvents), 1
}

// viewsOf is the views of one projection: the one that serves, the one that is
// being made, and those that have been replaced.
type viewsOf struct {
	serving, made projections.View
	old           []projections.View
	checkpoints   []projections.Checkpoint
}

func (v *viewsOf) filled() []projections.View {
	if v.made.Version == 0 {
		return []projections.View{v.serving}
	}
	return []projections.View{v.serving, v.made}
}

func (p *Projector) views(ctx context.Context, name projections.Projection) (*viewsOf, error) {
	ctx, cancel := context.WithTimeout(ctx, mostApply)
	defer cancel()
	list, err := p.Store.Status(ctx)
	if err != nil {
		return nil, err
	}
	v := &viewsOf{}
	for _, c := range list {
		if c.Projection == name && c.Serving {
			v.serving = c.View
		}
	}
	if v.serving.Version == 0 { // the first one is made where it is begun
		v.serving = projections.View{Projection: name, Version: 1}
		return v, nil
	}
	seen := map[int]bool{}
	for _, c := range list {
		if c.Projection != name {
			continue
		}
		v.checkpoints = append(v.checkpoints, c)
		switch {
		case seen[c.Version]:
		case c.Version > v.serving.Version:
			v.made = c.View
		case c.Version < v.serving.Version:
			v.old = append(v.old, c.View)
		}
		seen[c.Version] = true
	}
	return v, nil
}

// nearly is how many events a view may be behind the one that serves when it is
// worth asking whether it can take its place.
const nearly = 5000

// finish has the view that is being made take its place once it is as far as
// the one that serves, or, where that one can't go on, as far as the log.
func (p *Projector) finish(ctx context.Context, v *viewsOf) {
	ctx, cancel := context.WithTimeout(ctx, mostApply)
	defer cancel()
	for i := range p.tapes {
		var serving, made projections.Checkpoint
		for _, c := range v.checkpoints {
			if int(c.Partition) == i && c.View == v.serving {
				serving = c
			}
			if int(c.Partition) == i && c.View == v.made {
				made = c
			}
		}
		aim := serving.Seq - min(serving.Seq, nearly)
		if serving.Epoch != p.Log.Epoch(uint16(i)) || serving.StoppedAt != 0 {
			status, err := p.Log.Status(ctx, uint16(i))
			if err != nil {
				return
			}
			aim = status.Head
		}
		if made.Version == 0 || made.Seq < aim || made.StoppedAt != 0 {
			return
		}
	}
	if done, err := p.prune(ctx, v.made); !done || err != nil { // nobody is to see again what was gone
		return
	}
	err := p.Store.Switch(ctx, v.made)
	switch {
	case err == nil:
		p.Logs.InfoContext(ctx, "a rebuilt view serves", slog.String("view", v.made.String()))
	case errors.Is(err, projections.ErrBehind), ctx.Err() != nil: // soon
	default:
		p.Logs.WarnContext(ctx, "switch to a rebuilt view", slog.String("view", v.made.String()), slog.Any("error", err))
	}
}

// drop removes a view that was replaced. Whoever still reads it is waited for.
func (p *Projector) drop(ctx context.Context, v projections.View) {
	ctx, cancel := context.WithTimeout(ctx, mostApply)
	defer cancel()
	err := p.Store.Drop(ctx, v)
	if err != nil && !errors.Is(err, projections.ErrBusy) && ctx.Err() == nil {
		p.Logs.WarnContext(ctx, "drop a view that was replaced", slog.String("view", v.String()), slog.Any("error", err))
	}
}

// Rebuild asks for a projection to be made again from the first event, beside
// the view that serves until then. Who projects it does so; to ask again while
// it is being made changes nothing.
func Rebuild(ctx context.Context, log StatusLog, store ProjectorStore, name projections.Projection) (projections.View, error) {
	v, err := store.StartRebuild(ctx, name)
	if err != nil {
		return v, err
	}
	for i := range log.Partitions() { // which is what those who project look at
		if _, err := store.Begin(ctx, v, uint16(i), log.Epoch(uint16(i))); err != nil {
			return v, fmt.Errorf("begin %s: %w", v, err)
		}
	}
	return v, nil
}

// backoff is how long to wait before something is tried again. The zero backoff
// doesn't wait.
type backoff struct{ pause time.Duration }

const (
	firstPause   = 50 * time.Millisecond
	longestPause = 5 * time.Second
)

func (b *backoff) reset()  { b.pause = 0 }
func (b *backoff) longer() { b.pause = min(max(2*b.pause, firstPause), longestPause) }

// wait waits, and fails when ctx has ended.
func (b *backoff) wait(ctx context.Context) error {
	if b.pause > 0 {
		_ = sleep(ctx, b.pause/2+rand.N(b.pause)) // the same is returned below
	}
	return ctx.Err()
}
