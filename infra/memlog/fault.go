package memlog

import (
	"context"
	"sync"
	"time"

	"github.com/behalf-platform/behalf/domain"
)

// faults are what a test has asked to go wrong. They can be set while the log
// is in use; a call that has passed a fault's point doesn't notice.
type faults struct {
	mu sync.Mutex
	// All are guarded by mu. A gate that is not nil holds back whoever comes to
	// it until it is closed.
	beforeAppend, afterAppend         func(domain.Record) error
	beforeGate, afterGate, followGate chan struct{}
	moved, missing                    int
	loadErr, readErr, settleErr       error
}

// BeforeAppend makes each append call fail before it writes. An error of fail
// is returned, and nothing is written. Of records that are appended together,
// fail is called with the first. Nil ends it.
func (l *Log) BeforeAppend(fail func(domain.Record) error) {
	l.faults.set(func(f *faults) { f.beforeAppend = fail })
}

// AfterAppend makes each append call fail once the record is stored. An error
// of fail is returned in place of the receipt. Nil ends it.
func (l *Log) AfterAppend(fail func(domain.Record) error) {
	l.faults.set(func(f *faults) { f.afterAppend = fail })
}

// HoldBefore makes every append wait, before it writes, until release is called
// or its context ends. In the latter case it has written nothing.
func (l *Log) HoldBefore() (release func()) {
	return l.hold(func(f *faults) *chan struct{} { return &f.beforeGate })
}

// HoldAfter makes every append wait, once its record is stored, until release
// is called or its context ends.
func (l *Log) HoldAfter() (release func()) {
	return l.hold(func(f *faults) *chan struct{} { return &f.afterGate })
}

// HoldFollow keeps new events from this client's followers until release is
// called, so that what they fold lags behind the log.
func (l *Log) HoldFollow() (release func()) {
	return l.hold(func(f *faults) *chan struct{} { return &f.followGate })
}

// Moved makes the next n appends find that the stream has moved.
func (l *Log) Moved(n int) { l.faults.set(func(f *faults) { f.moved = n }) }

// LoadMisses makes Load miss the newest n events of a stream, as a read from a
// replica that lags may.
func (l *Log) LoadMisses(n int) { l.faults.set(func(f *faults) { f.missing = n }) }

// FailLoad makes Load return err, until it is called with nil.
func (l *Log) FailLoad(err error) { l.faults.set(func(f *faults) { f.loadErr = err }) }

// FailRead makes Read return err, until it is called with nil.
func (l *Log) FailRead(err error) { l.faults.set(func(f *faults) { f.readErr = err }) }

// FailSettle makes Settle return err, until it is called with nil.
func (l *Log) FailSettle(err error) { l.faults.set(func(f *faults) { f.settleErr = err }) }

// Skew sets the log's own clock off from the machine's, for all its clients.
func (l *Log) Skew(by time.Duration) { l.data.skew.Store(int64(by)) }

// Inject puts bytes on a stream as its newest event, such as one of a kind made
// later than this program, and returns where.
func (l *Log) Inject(s domain.Stream, raw []byte) domain.Position {
	p := l.data.partitions[domain.PartitionOf(s.Account, l.Partitions())]
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.position(p.add(entry{stream: s, class: event, last: newest(p.streams[s]), at: l.data.now(), raw: raw}))
}

func (f *faults) set(change func(*faults)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

// hold shuts a gate. The one that shut it before, if any, is taken away, but
// still has to be released for those who wait there.
func (l *Log) hold(gate func(*faults) *chan struct{}) (release func()) {
	shut := make(chan struct{})
	var once sync.Once
	open := func() { once.Do(func() { close(shut) }) }
	l.faults.set(func(f *faults) { *gate(f) = shut })
	return open
}

func (f *faults) before(ctx context.Context, r domain.Record) error {
	f.mu.Lock()
	fail, gate := f.beforeAppend, f.beforeGate
	moved := f.moved > 0
	if moved {
		f.moved--
	}
	f.mu.Unlock()
	if fail != nil {
		if err := fail(r); err != nil {
			return err
		}
	}
	if err := pass(ctx, gate); err != nil {
		return err
	}
	if moved {
		return domain.ErrMoved
	}
	return nil
}

func (f *faults) after(ctx context.Context, r domain.Record) error {
	f.mu.Lock()
	fail, gate := f.afterAppend, f.afterGate
	f.mu.Unlock()
	if fail != nil {
		if err := fail(r); err != nil {
			return err
		}
	}
	return pass(ctx, gate)
}

func (f *faults) follow(ctx context.Context) error {
	f.mu.Lock()
	gate := f.followGate
	f.mu.Unlock()
	return pass(ctx, gate)
}

func (f *faults) load() (missing int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.missing, f.loadErr
}

func (f *faults) read() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.readErr
}

// pass waits at a gate. With the context at its end nobody gets past it.
func pass(ctx context.Context, gate <-chan struct{}) error {
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
		}
	}
	return ctx.Err()
}

func (f *faults) settle() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.settleErr
}
