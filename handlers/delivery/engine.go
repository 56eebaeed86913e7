package delivery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/behalf-platform/behalf/domain"
)

// Engine delivers. On each node runs one; of all of them, one owns the lanes of
// a partition at a time.
//
//	           +-- registry --+
//	           v              |
//	log --> reader --> ring --> lane --> sender --> endpoint
//	   \                        | ^  |
//	    +------- chunks --------|-+  +--> attempts
//	                            |
//	                            +--> state
type Engine struct {
	Source   Source
	Registry Registry
	Sender   Sender
	Reporter Reporter
	Store    Store
	// Node names this node, for people.
	Node string
	// Alone says that no other node uses this store, so that a lease is that of a
	// process that has ended, and need not be waited for.
	Alone   bool
	Metrics *Metrics
	Logs    *slog.Logger
	Now     func() time.Time
	// Rules are the usual ones if nil.
	Rules *Rules

	rules Rules
	once  sync.Once
	// cursorFirst writes the cursor before what became of the messages, which
	// loses some in a crash. It is there to see the tests find that.
	cursorFirst bool

	mu sync.Mutex
	// partitions are those this node owns, guarded by mu.
	partitions map[uint16]*partition
}

// shutdown bounds how long what is on its way may take when an engine ends.
const shutdown = 5 * time.Second

func (e *Engine) init() error {
	var err error
	e.once.Do(func() {
		e.rules = Usual()
		if e.Rules != nil {
			e.rules = *e.Rules
		}
		e.partitions = map[uint16]*partition{}
	})
	return errors.Join(err, e.rules.Validate())
}

func (e *Engine) partitionOf(account domain.AccountID) uint16 {
	return domain.PartitionOf(account, e.Source.Partitions())
}

// Run delivers until ctx ends.
func (e *Engine) Run(ctx context.Context) error {
	if err := e.init(); err != nil {
		return err
	}
	var parts sync.WaitGroup
	for i := range e.Source.Partitions() {
		parts.Go(func() { e.own(ctx, uint16(i)) })
	}
	parts.Wait()
	return nil
}

// own runs a partition's lanes whenever this node has its lease.
func (e *Engine) own(ctx context.Context, number uint16) {
	l := newLease(e, number)
	var retry pause
	for ctx.Err() == nil {
		if l.acquire(ctx) != nil {
			return
		}
		e.Logs.InfoContext(ctx, "deliver a partition", slog.Int("partition", int(number)), slog.Uint64("epoch", l.epoch))
		err := e.deliver(ctx, l, number)
		if ctx.Err() == nil {
			e.Logs.WarnContext(ctx, "stopped to deliver a partition", slog.Int("partition", int(number)), slog.Any("error", err))
			_ = retry.wait(ctx) // the loop says so
		}
	}
}

// deliver runs a partition under a lease, and returns why it stopped. When ctx
// ends, what is on its way is waited for.
func (e *Engine) deliver(ctx context.Context, l *lease, number uint16) error {
	life, lost := context.WithCancelCause(context.WithoutCancel(ctx))
	defer lost(nil)
	p := newPartition(e, number, l.epoch)
	var parts sync.WaitGroup
	parts.Go(func() { lost(l.keep(life)) })
	parts.Go(func() { lost(p.run(life, ctx.Done())) })
	defer context.AfterFunc(ctx, func() {
		select {
		case <-time.After(shutdown):
			lost(ctx.Err())
		case <-life.Done():
		}
	})()
	parts.Wait()
	err := context.Cause(life)
	if err == nil || errors.Is(err, errEnded) {
		l.release(context.WithoutCancel(ctx))
	}
	return err
}

// errEnded is a partition having ended in good order.
var errEnded = errors.New("ended")

// each calls f with every lane of this node.
func (e *Engine) each(f func(*runner)) {
	e.mu.Lock()
	var all []*partition
	for _, p := range e.partitions {
		all = append(all, p)
	}
	e.mu.Unlock()
	for _, p := range all {
		p.mu.Lock()
		var lanes []*runner
		for _, r := range p.runners {
			lanes = append(lanes, r)
		}
		p.mu.Unlock()
		for _, r := range lanes {
			f(r)
		}
	}
}

// Test sends a message to an endpoint now, beside its lane, and returns what
// became of it. The endpoint must be verified.
func (e *Engine) Test(ctx context.Context, to Endpoint, m Message) (Result, error) {
	if !to.Verified {
		return Result{}, fmt.Errorf("test %s: it is not verified", to.ID)
	}
	return e.sendOnce(ctx, to, m, "test")
}

// Challenge sends an endpoint the message by whose answer it proves that it
// wants more. Nothing else is sent to one that has not.
func (e *Engine) Challenge(ctx context.Context, to Endpoint, m Message) (Result, error) {
	return e.sendOnce(ctx, to, m, "challenge")
}

// mostRecording bounds how long storing an attempt is waited for that somebody
// waits for.
const mostRecording = 5 * time.Second

func (e *Engine) sendOnce(ctx context.Context, to Endpoint, m Message, kind string) (Result, error) {
	began := e.Now()
	r := e.Sender.Send(ctx, to, m, "")
	outcome := OutcomeFailed
	if classify(r) == delivered {
		outcome = OutcomeOK
	}
	stored := e.attempt(to, Attempt{
		Message: m.ID, Type: m.Type, At: began, Try: 1, Status: r.Status, Category: r.Category, Latency: r.Latency,
		RetryAfter: r.RetryAfter, Key: r.Key, Kind: kind,
	}, r.Answer, outcome)
	// Also when its time is over: that there was no answer in time is an answer.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), mostRecording)
	defer cancel()
	if err := stored(ctx); err != nil {
		return r, fmt.Errorf("record the attempt: %w", err)
	}
	return r, nil
}
