package delivery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"time"

	"github.com/behalf-platform/behalf/domain"
)

// What is fleeting leaves the log from between what stays, each message at its
// own time, so that the log's first record says nothing of it. Whoever lets it
// wait for nearly that long is warned before, also while no lane runs for it; and
// a lane that comes by such a place says what may have been there.

// brink is the last record before which an endpoint may miss what is fleeting at a
// moment, or 0.
func (e *Engine) brink(ctx context.Context, partition uint16, of Endpoint, at time.Time) (uint64, error) {
	whole := e.Registry.Whole(of, at)
	if whole.IsZero() {
		return 0, nil
	}
	seq, err := e.Source.SeqAt(ctx, partition, whole)
	if err != nil {
		return 0, fmt.Errorf("find where the log is whole: %w", err)
	}
	return max(seq, 1) - 1, nil
}

// soon is a little later than now: an endpoint is warned when what it waits for
// has less than a part of its time left.
func (e *Engine) soon(of Endpoint) time.Time {
	now := e.Now()
	if whole := e.Registry.Whole(of, now); !whole.IsZero() {
		return now.Add(now.Sub(whole) / expiringPart)
	}
	return now
}

// fadedIn is from where to where a chunk may lack messages that were for the
// lane, of the records after one.
func (r *runner) fadedIn(ctx context.Context, k *chunk, after uint64) (span, error) {
	if k.missing(after, k.through) == (span{}) {
		return span{}, nil
	}
	edge, err := r.brink(ctx, r.number, r.endpoint, r.Now())
	if err != nil {
		return span{}, err
	}
	return k.missing(after, edge), nil
}

// Expires reports whether an endpoint is about to lose something that it waits
// for, or is losing it.
func (e *Engine) Expires(ctx context.Context, of Endpoint) (bool, error) {
	partition := e.partitionOf(of.Account)
	edge, err := e.brink(ctx, partition, of, e.soon(of))
	if err != nil || edge == 0 {
		return false, err
	}
	s, err := e.stateOf(ctx, laneKey(partition, of, ""))
	if errors.Is(err, domain.ErrNotRecorded) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read the state of %s: %w", of.ID, err)
	}
	search := search{chunks: newChunks(e.Source, partition), of: of, at: s.Cursor}
	return search.until(ctx, edge)
}

// search looks for something that an endpoint may miss.
type search struct {
	chunks *chunks
	of     Endpoint
	at     Place // through where was looked
	found  bool
}

// until looks on, up to a record.
func (s *search) until(ctx context.Context, edge uint64) (bool, error) {
	for !s.found && s.at.Compare(through(edge)) < 0 {
		seq := s.at.Seq
		if s.at.Index != whole && seq > 0 {
			seq--
		}
		k, err := s.chunks.after(ctx, seq, edge)
		if err != nil {
			return false, err
		}
		s.found = k.missing(seq, edge) != (span{})
		for _, m := range k.take(s.of.Account, s.at, k.messages) {
			s.found = s.found || m.Seq <= edge && m.Fleeting && s.of.Wants(m)
		}
		next := through(max(min(k.through, edge), k.lost))
		if next.Compare(s.at) <= 0 {
			return s.found, errNotYet
		}
		s.at = next
	}
	return s.found, nil
}

// warn tells those of a partition who are about to lose something, until ctx
// ends, and those of whom it was told that they are not any more.
func (p *partition) warn(ctx context.Context) {
	tick := time.NewTicker(p.rules.IdleEvery)
	defer tick.Stop()
	searches := map[string]*search{}
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		list, err := p.Registry.Endpoints(ctx, p.number)
		if err != nil {
			continue // that is told elsewhere
		}
		stands := map[string]*search{}
		for _, e := range list {
			if !e.Verified {
				continue
			}
			key := laneKey(p.number, e, "")
			s := searches[key]
			if s == nil {
				s = &search{chunks: p.chunks}
			}
			stands[key] = s
			if err := p.look(ctx, key, e, s); err != nil && ctx.Err() == nil {
				p.Logs.WarnContext(ctx, "look for what an endpoint is about to lose", slog.String("lane", key), slog.Any("error", err))
			}
		}
		searches = stands
		p.losing(searches)
	}
}

// look looks whether an endpoint is about to lose something, and says so if that
// is new.
func (p *partition) look(ctx context.Context, key string, e Endpoint, s *search) error {
	soon := p.soon(e)
	if p.Registry.Whole(e, soon).IsZero() && !s.found && !e.Warned {
		return nil
	}
	state, err := p.stateOf(ctx, key)
	if errors.Is(err, domain.ErrNotRecorded) {
		return nil
	}
	if err != nil {
		return err
	}
	edge := uint64(0)
	if _, newest := p.ring.bounds(); state.Cursor.Seq < newest {
		if edge, err = p.brink(ctx, p.number, e, soon); err != nil {
			return err
		}
	}
	s.of = e
	if s.found && state.Cursor.Compare(through(edge)) >= 0 {
		s.found = false // it has moved on
	}
	was := s.found
	if state.Cursor.Compare(s.at) > 0 {
		s.at = state.Cursor
	}
	if _, err := s.until(ctx, edge); err != nil {
		return err
	}
	report := Report{
		Account: e.Account, Endpoint: e.ID, URL: e.URL, At: p.Now(), Why: state.Why, Status: state.Status, From: state.Cursor.Seq + 1,
		Since: earlier(earlier(state.Since, state.Oldest), p.Now()),
	}
	switch {
	case s.found && !was:
		report.Kind = Expiring
	case !s.found && e.Warned && p.isWell(key):
		report.Kind = Recovered
	default:
		return nil
	}
	if err := p.Reporter.Report(ctx, report); err != nil {
		s.found = was // said again
		return fmt.Errorf("report on %s: %w", e.ID, err)
	}
	return nil
}

// isWell reports whether a lane runs to which nothing fails.
func (p *partition) isWell(key string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.runners[key]
	return r != nil && r.well.Load()
}

// losing shows the metrics who is about to lose something.
func (p *partition) losing(searches map[string]*search) {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.expires)
	for _, s := range searches {
		if s.found {
			p.expires[s.of.ID] = true
		}
	}
}

// expiring are the endpoints that are about to lose something, of those whose
// lanes this node owns.
func (e *Engine) expiring() map[EndpointID]bool {
	all := map[EndpointID]bool{}
	e.each(func(r *runner) {
		if r.expires.Load() {
			all[r.endpoint.ID] = true
		}
	})
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, p := range e.partitions {
		p.mu.Lock()
		maps.Copy(all, p.expires)
		p.mu.Unlock()
	}
	return all
}
