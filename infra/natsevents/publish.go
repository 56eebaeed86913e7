package natsevents

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/infra/internal/wait"
	"github.com/behalf-platform/behalf/projections"
)

const (
	firstPause   = 50 * time.Millisecond
	longestPause = 15 * time.Second
	// checkpointEvery is how often the checkpoint is written while events are
	// published.
	checkpointEvery = time.Second
)

// publisher is what is known of the publishing on this node.
type publisher struct {
	mu sync.Mutex
	// leading and behind are guarded by mu: whether this node publishes, and
	// since when something has been waiting to be published.
	leading bool
	behind  time.Time
}

// Publishes reports whether this node publishes.
func (e *Events) Publishes() bool {
	e.publisher.mu.Lock()
	defer e.publisher.mu.Unlock()
	return e.leading
}

// Lag is the age of the oldest record that this node has to publish and hasn't,
// 0 for none, and on nodes that don't publish.
func (e *Events) Lag() time.Duration {
	e.publisher.mu.Lock()
	defer e.publisher.mu.Unlock()
	if e.behind.IsZero() {
		return 0
	}
	return max(e.Now().Sub(e.behind), 0)
}

// waiting is since when something has been waiting to be published.
func (e *Events) waiting() time.Time {
	e.publisher.mu.Lock()
	defer e.publisher.mu.Unlock()
	return e.behind
}

func (e *Events) note(leading bool, behind time.Time) {
	e.publisher.mu.Lock()
	defer e.publisher.mu.Unlock()
	e.leading, e.behind = leading, behind
}

// Run publishes what is public of the log whenever this node is the one that
// does, until ctx ends. Each event is in the stream once, in the order of the
// log; only what was published less than a second before a stream lost its newest
// event, by its limits or by an operator, can be there again.
func (e *Events) Run(ctx context.Context) error {
	for pause := firstPause; ; {
		mine, err := e.acquire(ctx)
		if err != nil {
			return err
		}
		progress, err := e.lead(ctx, mine)
		e.release(ctx, mine)
		if ctx.Err() != nil {
			e.note(false, time.Time{})
			return ctx.Err()
		}
		if progress {
			pause = firstPause
		}
		level := slog.LevelWarn
		if errors.Is(err, errTaken) || errors.Is(err, errMoved) {
			level = slog.LevelInfo
		}
		e.Logger.LogAttrs(ctx, level, "publishing of events begins again", slog.Any("error", err))
		if err := wait.For(ctx, pause); err != nil {
			return err
		}
		pause = min(2*pause, longestPause)
	}
}

// lead publishes while the lease holds, and reports whether it got anywhere.
func (e *Events) lead(ctx context.Context, mine *lease) (bool, error) {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	var holding sync.WaitGroup
	defer holding.Wait()
	defer end(nil)
	holding.Go(func() { end(e.hold(ctx, mine)) })
	s := &session{Events: e, sink: e, end: end}
	err := s.run(ctx)
	e.stopped(err)
	return s.moved, err
}

// stopped notes that this node doesn't publish now, and that what comes waits.
func (e *Events) stopped(why error) {
	switch behind := e.waiting(); {
	case errors.Is(why, errTaken): // now it is the other's
		e.note(false, time.Time{})
	case behind.IsZero():
		e.note(false, e.Now())
	default:
		e.note(false, behind)
	}
}

// sink is where a session publishes.
type sink interface {
	// extent is how far the stream reaches, and the version of the checkpoint.
	extent(ctx context.Context) (extent, uint64, error)
	// append stores events in order after the newest, which is at last, and
	// returns the newest then. After an error some of the first may be stored.
	append(ctx context.Context, last uint64, events []projections.PublicEvent) (uint64, error)
	// save writes the checkpoint over the one of that version.
	save(ctx context.Context, version uint64, c checkpoint) (uint64, error)
}

func (e *Events) save(ctx context.Context, version uint64, c checkpoint) (uint64, error) {
	return e.writeState(ctx, checkpointSubject, version, c)
}

// session publishes from where the stream ends until something is wrong.
type session struct {
	*Events
	sink sink
	end  context.CancelCauseFunc

	mu sync.Mutex
	// All below are guarded by mu, since each partition has a handler.
	reached extent
	version uint64 // of the checkpoint
	dirty   bool   // something was done since it was saved
	moved   bool
	events  []projections.PublicEvent
}

func (s *session) run(ctx context.Context) error {
	var err error
	if s.reached, s.version, err = s.sink.extent(ctx); err != nil {
		return err
	}
	from, behind := map[uint16]uint64{}, time.Time{}
	for p := range s.Log.Partitions() {
		var head uint64
		if from[uint16(p)], head, err = s.begin(ctx, uint16(p)); err != nil {
			return fmt.Errorf("begin partition %d: %w", p, err)
		}
		if from[uint16(p)] <= head { // it may have waited for long
			behind = s.waiting()
		}
	}
	s.note(true, behind)
	s.Logger.InfoContext(ctx, "this node publishes the public events", slog.Uint64("after", s.reached.last))
	// Its own logger tells of things that are none, and prints what it can't publish.
	router, err := message.NewRouter(message.RouterConfig{CloseTimeout: appendTimeout}, watermill.NopLogger{})
	if err != nil {
		return err
	}
	feed := &feed{log: s.Log, from: from, fail: s.end}
	for p := range s.Log.Partitions() {
		topic := strconv.Itoa(p)
		router.AddConsumerHandler("public events of partition "+topic, topic, feed, s.publish)
	}
	var saving sync.WaitGroup
	saving.Go(func() { s.checkpoints(ctx) })
	err = router.Run(ctx)
	s.end(err)
	_ = feed.Close() // never fails
	saving.Wait()
	if why := context.Cause(ctx); why != nil && !errors.Is(why, context.Canceled) {
		return why
	}
	return err
}

// errAhead is a log that ends before what was published of it. A new leader of a
// cluster may not know its own end yet.
var errAhead = errors.New("the public stream reaches further than the log, which has lost events")

// begin is the first record of a partition that is to be read, and the newest
// there is.
func (s *session) begin(ctx context.Context, partition uint16) (from, head uint64, err error) {
	status, err := s.Log.Status(ctx, partition)
	if err != nil {
		return 0, 0, err
	}
	at, ok := s.reached.places[partition]
	if !ok || at.Epoch != s.Log.Epoch(partition) {
		delete(s.reached.places, partition)
		if s.MaxAge == 0 {
			return 1, status.Head, nil
		}
		from, err = s.Log.SeqAt(ctx, partition, s.Now().Add(-s.MaxAge)) // what is older would be kept for too long
		return from, status.Head, err
	}
	if at.Seq > status.Head {
		return 0, 0, fmt.Errorf("published up to %d, the log ends at %d: %w", at.Seq, status.Head, errAhead)
	}
	if at.Index == whole {
		return at.Seq + 1, status.Head, nil
	}
	return at.Seq, status.Head, nil
}

// publish publishes what is public of a batch of one partition. What it returns
// ends the session.
func (s *session) publish(m *message.Message) error {
	ctx, rest := m.Context(), s.work()
	if err := s.publishBatch(ctx, batchOf(m).records); err != nil {
		s.end(err)
		return err
	}
	rest(ctx) // what comes meanwhile is published together, which costs less
	return nil
}

// work begins to give way, if it is to.
func (e *Events) work() (rest func(context.Context)) {
	if e.Work == nil {
		return func(context.Context) {}
	}
	return e.Work()
}

func (s *session) publishBatch(ctx context.Context, records []domain.Recorded) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.note(true, records[0].LoggedAt)
	if err := s.publishAll(ctx, records); err != nil {
		return err
	}
	s.note(true, time.Time{})
	return nil
}

func (s *session) publishAll(ctx context.Context, records []domain.Recorded) error {
	partition := records[0].Position.Partition
	done, ok := s.reached.places[partition]
	s.events = s.events[:0]
	for i := range records {
		r := &records[i]
		made := len(s.events)
		var err error
		if s.events, err = projections.Public(s.events, r); err != nil {
			return fmt.Errorf("event %d of partition %d: %w", r.Position.Seq, partition, err)
		}
		if ok && r.Position.Seq <= done.Seq { // some of it was published
			rest := made
			for made < len(s.events) && !s.events[made].Cursor().After(done.cursor()) {
				made++
			}
			s.events = append(s.events[:rest], s.events[made:]...)
		}
	}
	if len(s.events) > 0 {
		// What can be read may not be as durable yet as what was acknowledged, and
		// what was published is not taken back.
		if err := s.Log.Settle(ctx); err != nil {
			return fmt.Errorf("wait for the log: %w", err)
		}
		last, err := s.sink.append(ctx, s.reached.last, s.events)
		if err != nil {
			return err
		}
		s.reached.last = last
	}
	at := records[len(records)-1].Position
	s.reached.places[partition] = place{partition, at.Epoch, at.Seq, whole}
	s.dirty, s.moved = true, true
	return nil
}

// checkpoints writes the checkpoint now and then until ctx ends, and once more.
func (s *session) checkpoints(ctx context.Context) {
	for wait.For(ctx, checkpointEvery) == nil {
		s.checkpoint(ctx)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	s.checkpoint(ctx)
}

func (s *session) checkpoint(ctx context.Context) {
	s.mu.Lock()
	c, dirty, version := checkpoint{Stream: s.reached.last}, s.dirty, s.version
	for p := range s.Log.Partitions() {
		if at, ok := s.reached.places[uint16(p)]; ok {
			c.Partitions = append(c.Partitions, at)
		}
	}
	s.dirty = false
	s.mu.Unlock()
	if !dirty {
		return
	}
	version, err := s.sink.save(ctx, version, c)
	if errors.Is(err, errTaken) { // one that was written and not acknowledged, or by whoever had the lease
		if _, version, err = s.sink.extent(ctx); err == nil {
			version, err = s.sink.save(ctx, version, c)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil { // the stream itself says how far it reaches
		s.dirty = true
		s.Logger.DebugContext(ctx, "can't write the checkpoint of the public events", slog.Any("error", err))
		return
	}
	s.version = version
}
