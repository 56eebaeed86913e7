package handlers

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/projections"
)

// Pauses after what is wrong for longer: what this version can't read, and a log
// that doesn't answer.
const (
	shadowUnreadable = time.Minute
	shadowBroken     = 5 * time.Second
)

// shadowRun is one agent's shadow as this node decides it. Only Run touches it.
type shadowRun struct {
	of    domain.Stream
	known domain.Shadow
	// fold is what the candidate has come to, nil before it was begun; through is
	// up to where the log was read.
	fold    *projections.Shadow
	through uint64
	// waits is a verdict that is to be recorded before anything else is read, and
	// ending why the shadow is to end.
	waits  *domain.ShadowVerdict
	ending domain.ShadowEnd
	// stale says that known has to be read again, rest until when the shadow is
	// left alone.
	stale bool
	rest  time.Time
}

// Run decides under the candidates of all shadows until ctx ends. Without any
// shadow it reads nothing. Several nodes may run: what one has recorded, the
// others skip.
func (s *Shadows) Run(ctx context.Context) error {
	s.init()
	var following sync.WaitGroup
	following.Go(func() { _ = s.Log.Follow(ctx, s.note) }) // ends with ctx alone
	defer following.Wait()
	runs := map[domain.Stream]*shadowRun{}
	for {
		pause := s.turns(ctx, runs)
		var again <-chan time.Time // never, if nothing runs
		if pause > 0 {
			again = time.After(pause)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-s.noted:
		case <-again:
		}
	}
}

// note takes what was recorded, here or by another node.
func (s *Shadows) note(of domain.Stream, kind domain.Kind) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch _, known := s.running[of]; {
	case kind == domain.KindShadowStopped:
		delete(s.running, of)
	case kind == domain.KindShadowDecided && known:
		return // whoever needs to know is told by its own append
	default:
		s.running[of] = true
	}
	select {
	case s.noted <- struct{}{}:
	default:
	}
}

// turns gives each shadow a turn, and returns how long to wait before the next,
// 0 for as long as nothing is noted.
func (s *Shadows) turns(ctx context.Context, runs map[domain.Stream]*shadowRun) time.Duration {
	s.mu.Lock()
	for of, news := range s.running {
		if runs[of] == nil {
			runs[of] = &shadowRun{of: of}
		}
		if news {
			runs[of].stale, runs[of].rest, s.running[of] = true, time.Time{}, false
		}
	}
	for of := range runs {
		if _, there := s.running[of]; !there {
			delete(runs, of)
		}
	}
	s.mu.Unlock()
	if len(runs) == 0 {
		return 0
	}
	pause := s.Idle
	for _, run := range runs {
		if ctx.Err() != nil || s.Now().Before(run.rest) {
			continue
		}
		more, err := s.turn(ctx, run)
		if errors.Is(err, errAgain) {
			run.stale, more = true, true
		} else if err != nil && ctx.Err() == nil {
			s.failed(ctx, run, err)
		}
		if more {
			pause = s.Busy
		}
	}
	return pause
}

// errAside says that another node records the shadow.
var errAside = errors.New("another node records it")

// failed leaves a shadow alone for a while.
func (s *Shadows) failed(ctx context.Context, run *shadowRun, err error) {
	run.stale = true
	wait, level := shadowBroken, slog.LevelWarn
	if _, unreadable := errors.AsType[*domain.Unreadable](err); unreadable || errors.Is(err, domain.ErrUnknownKind) {
		wait, level = shadowUnreadable, slog.LevelError
	} else if errors.Is(err, errAside) {
		wait, level = s.Aside+rand.N(s.Aside/2+1), slog.LevelDebug
	}
	run.rest = s.Now().Add(wait)
	s.Logs.LogAttrs(ctx, level, "a shadow waits", slog.String("account_id", string(run.of.Account)), slog.String("agent_id", string(run.of.Agent)),
		slog.Duration("wait", wait), slog.Any("error", err))
}

// turn takes a shadow a batch further, and reports whether there is more.
func (s *Shadows) turn(ctx context.Context, run *shadowRun) (more bool, err error) {
	if run.stale || run.fold == nil {
		known, err := s.load(ctx, run.of)
		if err != nil {
			return false, err
		}
		run.learn(known)
		run.stale = false
	}
	if run.known.State != domain.ShadowIsRunning {
		return false, nil // Follow tells, and then it is forgotten
	}
	if run.fold == nil {
		run.fold, run.through = projections.NewShadow(run.of, run.known.Begun), 0
	}
	if s.Decisions.Epoch(run.known.Begun.Partition) != run.known.Begun.Epoch {
		run.ending = domain.ShadowOfAnotherLog
	}
	if v := run.waits; v != nil {
		if err := s.record(ctx, run, *v); err != nil {
			return false, err
		}
	}
	if run.ending == "" {
		if more, err = s.read(ctx, run); err != nil {
			return false, err
		}
	}
	if run.ending != "" {
		return false, s.end(ctx, run)
	}
	return more, nil
}

// learn takes what is recorded of the shadow. What was folded for another one,
// or from what the shadow's log has lost since, is folded again.
func (run *shadowRun) learn(known domain.Shadow) {
	if known.ID != run.known.ID || known.Version < run.known.Version {
		run.fold, run.through, run.waits, run.ending = nil, 0, nil, ""
	}
	run.known = known
}

// read reads a batch and decides.
func (s *Shadows) read(ctx context.Context, run *shadowRun) (more bool, err error) {
	now := s.Now()
	status, err := s.Decisions.Status(ctx, run.known.Begun.Partition)
	if err != nil {
		return false, err
	}
	from := max(run.through, run.fold.Seq()) + 1
	through := status.Head
	if from <= through {
		var own []domain.Recorded
		if own, err = s.batch(ctx, run.of, run.known.Begun.Partition, from, through); err != nil {
			return false, err
		}
		if more = len(own) == s.Batch; more {
			through = own[len(own)-1].Position.Seq
		}
		if err := s.merge(ctx, run, own, from, through); err != nil || run.ending != "" {
			return false, err
		}
		run.through = through
	}
	// What is decided now may still be recorded with a time before the end.
	if !more && !now.Before(run.known.Begun.Until.Add(ClockSlack)) {
		run.ending = domain.ShadowExpired
	}
	return more, nil
}

// batch is what there is of the agent between two sequences, so much of it as
// may be kept at a time.
func (s *Shadows) batch(ctx context.Context, of domain.Stream, partition uint16, from, through uint64) (own []domain.Recorded, err error) {
	err = s.Decisions.Scan(ctx, domain.Scan{
		Partition: partition, Account: of.Account, Agent: of.Agent, Only: domain.OnlyAgents, From: from, Through: through, Most: s.Batch,
	}, func(r domain.Recorded, err error) error {
		own = append(own, r)
		return err
	})
	return own, err
}

// merge takes what is the agent's, and what is its account's, in the order of
// the log.
func (s *Shadows) merge(ctx context.Context, run *shadowRun, own []domain.Recorded, from, through uint64) error {
	upTo := func(seq uint64) error {
		for len(own) > 0 && own[0].Position.Seq <= seq {
			if err := s.take(ctx, run, &own[0]); err != nil {
				return err
			}
			own = own[1:]
		}
		return nil
	}
	err := s.Decisions.Scan(ctx, domain.Scan{
		Partition: run.known.Begun.Partition, Account: run.of.Account, Only: domain.OnlyAccounts, From: from, Through: through,
	}, func(r domain.Recorded, err error) error {
		if err != nil {
			return err
		}
		if err := upTo(r.Position.Seq); err != nil {
			return err
		}
		return s.take(ctx, run, &r)
	})
	if err == nil {
		err = upTo(through)
	}
	if errors.Is(err, errFound) {
		err = nil
	}
	return err
}

// take takes one record, and records what comes of it. It returns errFound when
// the shadow is to end.
func (s *Shadows) take(ctx context.Context, run *shadowRun, r *domain.Recorded) error {
	if _, disabled := r.Event.(domain.AgentDisabled); disabled && r.Position.Seq > run.known.Begun.After {
		run.ending = domain.ShadowAgentDisabled
		return errFound
	}
	v, decided, err := run.fold.Take(r)
	if _, broken := errors.AsType[*projections.CandidateError](err); broken {
		run.ending = domain.ShadowCandidateBroken
		return errFound
	}
	if err != nil || !decided {
		return err
	}
	run.waits = &v // it is not seen again
	return s.record(ctx, run, v)
}

// record records a verdict, unless that was done.
func (s *Shadows) record(ctx context.Context, run *shadowRun, v domain.ShadowVerdict) error {
	leave, err := s.lanes.enter(ctx, run.of)
	if err != nil {
		return err
	}
	defer leave()
	if events := run.known.Record(v); len(events) > 0 {
		known, err := s.append(ctx, run.of, run.known, domain.BySystem("shadow"), string(v.RequestID), events[0])
		if err != nil {
			return s.lost(ctx, run, &v, err)
		}
		run.known = known
	}
	run.waits = nil
	return nil
}

// lost finds out what became of an append, and what is the case in its place.
func (s *Shadows) lost(ctx context.Context, run *shadowRun, v *domain.ShadowVerdict, why error) error {
	known, err := s.load(ctx, run.of)
	if err != nil {
		return errors.Join(why, err)
	}
	before := run.known
	run.learn(known)
	switch recorded := known.ID == before.ID && known.Through >= v.Sequence; {
	case known.State != domain.ShadowIsRunning, run.fold == nil: // it ended, or is another one
		return errAgain
	case recorded && !errors.Is(why, domain.ErrMoved):
		run.waits = nil // it was this one's, or is as good
		return nil
	case errors.Is(why, domain.ErrMoved):
		return errAside
	}
	return why
}

// end records why a shadow ends.
func (s *Shadows) end(ctx context.Context, run *shadowRun) error {
	leave, err := s.lanes.enter(ctx, run.of)
	if err != nil {
		return err
	}
	defer leave()
	events, err := run.known.Stop(run.ending, "")
	if err != nil || len(events) == 0 {
		return err
	}
	known, err := s.append(ctx, run.of, run.known, domain.BySystem("shadow"), "", events[0])
	if err != nil {
		return err // known is read again, and it is tried again
	}
	run.learn(known)
	return nil
}
