package handlers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/behalf-platform/behalf/projections"
)

// Watcher knows how far the views that serve are behind the log. Each node has
// one, whoever projects. What it says is about queries only.
type Watcher struct {
	Log StatusLog
	Now func() time.Time
	// Every is how often it looks, half a second if 0.
	Every time.Duration
	// MostLag is how old what queries answer may be before [Watcher.Ready] says no.
	MostLag time.Duration
	Logs    *slog.Logger

	mu sync.Mutex
	// All below are guarded by mu.
	begun time.Time
	fault string // why nothing is known, or empty
	views map[projections.Projection]*viewLag
}

// viewLag is how one projection stands.
type viewLag struct {
	partitions []partitionLag
	// foreign says that the rows are of another log.
	foreign bool
	stopped *projections.Checkpoint
	behind  uint64 // events
}

type partitionLag struct {
	// current is a time at which all the log held is in the rows now. aim is the
	// next one, when the log ended at head.
	current, aim time.Time
	head         uint64
}

// Fail says that the database can't be asked at all, and why.
func (w *Watcher) Fail(why string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.begun.IsZero() {
		w.begun = w.Now()
	}
	w.fault = why
}

// Run looks until ctx ends.
func (w *Watcher) Run(ctx context.Context, store ViewStore) error {
	w.Fail("nothing is known of the read models yet")
	for failing := false; ; {
		err := w.look(ctx, store)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && !failing:
			w.Logs.WarnContext(ctx, "read models can't be asked; queries are not answered, deciding goes on", slog.Any("error", err))
		case err == nil && failing:
			w.Logs.InfoContext(ctx, "read models answer again")
		}
		failing = err != nil
		if sleep(ctx, cmp.Or(w.Every, 500*time.Millisecond)) != nil {
			return nil
		}
	}
}

// mostLook bounds how long one look takes.
const mostLook = 5 * time.Second

func (w *Watcher) look(ctx context.Context, store ViewStore) error {
	ctx, cancel := context.WithTimeout(ctx, mostLook)
	defer cancel()
	asked := w.Now()
	heads := make([]uint64, w.Log.Partitions())
	for i := range heads {
		status, err := w.Log.Status(ctx, uint16(i))
		if err != nil {
			return w.failed("the log does not say where it stands", err)
		}
		heads[i] = status.Head
	}
	list, err := store.Status(ctx)
	if err != nil {
		return w.failed("the database does not answer", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fault = ""
	for _, name := range projections.Projections() {
		w.view(name).see(list, name, heads, asked, w.Log.Epoch)
	}
	return nil
}

func (w *Watcher) failed(why string, err error) error {
	w.Fail(why)
	return fmt.Errorf("%s: %w", why, err)
}

// view is how a projection stands. The caller holds mu.
func (w *Watcher) view(name projections.Projection) *viewLag {
	if w.views == nil {
		w.views = map[projections.Projection]*viewLag{}
	}
	if w.views[name] == nil {
		w.views[name] = &viewLag{partitions: make([]partitionLag, w.Log.Partitions())}
	}
	return w.views[name]
}

// see takes in the checkpoints there are, and where the log ended before they
// were read.
func (s *viewLag) see(list []projections.Checkpoint, name projections.Projection, heads []uint64, asked time.Time, epoch func(uint16) uint32) {
	s.foreign, s.stopped, s.behind = false, nil, 0
	for i := range s.partitions {
		var at projections.Checkpoint
		for _, c := range list {
			if c.Projection == name && c.Serving && int(c.Partition) == i {
				at = c
			}
		}
		if at.Version != 0 && at.Epoch != epoch(uint16(i)) {
			s.foreign, at.Seq = true, 0
		}
		if at.StoppedAt != 0 && s.stopped == nil {
			s.stopped = &at
		}
		s.behind += heads[i] - min(heads[i], at.Seq)
		s.partitions[i].see(at, heads[i], asked)
	}
}

func (p *partitionLag) see(at projections.Checkpoint, head uint64, asked time.Time) {
	if at.Version == 0 { // there is no view, not even an empty one
		return
	}
	if !p.aim.IsZero() && at.Seq < p.head {
		return
	}
	if !p.aim.IsZero() {
		p.current = p.aim
	}
	if p.aim, p.head = asked, head; at.Seq >= head {
		p.current = asked
	}
}

// Ready says why queries are not answered well now, or nil.
func (w *Watcher) Ready() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fault != "" {
		return errors.New(w.fault)
	}
	if w.begun.IsZero() {
		return errors.New("the database is not open yet")
	}
	var faults []error
	for _, name := range projections.Projections() {
		faults = append(faults, w.ready(name))
	}
	return errors.Join(faults...)
}

func (w *Watcher) ready(name projections.Projection) error {
	s := w.view(name)
	lag, known := w.lag(s)
	switch {
	case s.foreign:
		return fmt.Errorf("%s holds the rows of another log; rebuild it", name)
	case s.stopped != nil:
		return fmt.Errorf("%s stopped at event %d of partition %d, which it can't apply; see \"behalf projections status\"", name, s.stopped.StoppedAt, s.stopped.Partition)
	case !known:
		return fmt.Errorf("%s has not caught up with the log yet; it is %d events behind", name, s.behind)
	case lag > w.MostLag:
		return fmt.Errorf("%s is %s and %d events behind the log", name, lag.Round(time.Millisecond), s.behind)
	}
	return nil
}

// lag is how old what is served is, and whether that is known. The caller holds mu.
func (w *Watcher) lag(s *viewLag) (lag time.Duration, known bool) {
	now, known := w.Now(), true
	for i := range s.partitions {
		current := s.partitions[i].current
		known = known && !current.IsZero()
		if current.IsZero() {
			current = w.begun
		}
		lag = max(lag, now.Sub(current))
	}
	return lag, known
}

// Lag is how old what a projection's queries are answered from is, and how many
// events it is behind the log.
func (w *Watcher) Lag(name projections.Projection) (time.Duration, uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.begun.IsZero() {
		return 0, 0
	}
	s := w.view(name)
	lag, _ := w.lag(s)
	return lag, s.behind
}

// Stopped reports whether a projection can't go on by itself.
func (w *Watcher) Stopped(name projections.Projection) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.begun.IsZero() {
		return false
	}
	s := w.view(name)
	return s.foreign || s.stopped != nil
}

// foreign reports whether a projection's rows are known to be of another log.
func (w *Watcher) foreign(name projections.Projection) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.views != nil && w.views[name] != nil && w.views[name].foreign
}
