package natslog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/infra/internal/wait"
)

const (
	// inFlight bounds what is on its way to a reader.
	inFlight      = 16 << 10
	inFlightBytes = 32 << 20
	// A batch is decoded by all processors if each gets some.
	batchSize    = 1024
	worthSharing = 64

	heartbeat    = 2 * time.Second // two are missed before a reader begins again
	abandonAfter = 30 * time.Second
	firstPause   = 10 * time.Millisecond
	longestPause = time.Second
)

// section is a part of a partition.
type section struct {
	from uint64
	// filter is the subject to read, or empty for all.
	filter string
	// keep says what is wanted of that. The rest is not decoded.
	keep keep
	// through is the last sequence that is wanted, all up to it being stored
	// already, or 0 to go on with what comes.
	through uint64
	// most is how many messages are wanted, 0 for all.
	most int
}

// keep is a choice of what is read.
type keep uint8

const (
	keepAll       keep = iota
	keepEvents         // those that move a stream
	keepDecisions      // of agents, whether or not they move them
)

// ends reports whether nothing coming for a long time means that something is
// missing.
func (s section) ends() bool { return s.through > 0 }

// inFlight is how many messages may be on their way: none that nobody wants.
func (s section) inFlight() int {
	most := inFlight
	if s.most > 0 {
		most = min(most, s.most)
	}
	if !s.ends() || s.through < s.from {
		return most
	}
	return int(min(uint64(most), s.through-s.from+1))
}

// item is a message that was read. Those that are not kept are there to show
// how far the reader has come.
type item struct {
	seq, delivery uint64
	kept          bool
	record        domain.Recorded
	err           error
}

// ErrMissing says that the log knows of a record that it does not have: it is
// damaged.
var ErrMissing = errors.New("the log does not have all records it says it has; restore it from a backup")

// stallTimeout is how long a healthy server may take to deliver what it has. It
// is asked whether there is any more after each quietTimeout without a message:
// what was to be the last may be a decision that has gone meanwhile.
const (
	stallTimeout = 15 * time.Second
	quietTimeout = time.Second
)

// errEnough ends a read in good order.
var errEnough = errors.New("enough")

// refusedBy is an error of whoever takes the items. It ends a read.
type refusedBy struct{ error }

// read hands the messages of a section over in order, each once, and goes on
// with new ones until take returns an error or ctx ends; it returns that error.
// It begins again where it was, as often as it takes, or, if patience is not 0,
// that many times without any progress.
func (l *Log) read(ctx context.Context, p *partition, s section, patience int, take func(item) error) error {
	pause := firstPause
	for failures := 1; ; failures++ {
		err := l.readOnce(ctx, p, s, func(it item) error {
			if it.seq < s.from { // a server that lags begins where it is
				return nil
			}
			if err := take(it); err != nil {
				return refusedBy{err}
			}
			s.from, failures, pause = it.seq+1, 0, firstPause
			return nil
		})
		var ended refusedBy
		if errors.As(err, &ended) {
			return ended.error
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if patience > 0 && failures >= patience {
			return fmt.Errorf("read partition %d from %d: %w", p.number, s.from, err)
		}
		if failures > 1 { // once is normal: a consumer was lost, or is not known everywhere yet
			l.logger.LogAttrs(ctx, slog.LevelWarn, "reader of the log begins again",
				slog.Int("partition", int(p.number)), slog.Uint64("from", s.from), slog.Any("error", err))
		}
		if err := wait.For(ctx, pause); err != nil {
			return err
		}
		pause = min(2*pause, longestPause)
	}
}

// readOnce reads until something is wrong with the connection or the consumer.
// The library has an ordered consumer too; it does not listen to ctx while it
// begins again, and leaves its consumers behind.
func (l *Log) readOnce(ctx context.Context, p *partition, s section, take func(item) error) error {
	if err := connected(l.bulk); err != nil {
		return err
	}
	// What is on its way when the connection breaks is lost: requests, and
	// messages, of which no gap shows if nothing comes after them. So nothing
	// here outlives the connection.
	live, broken := context.WithCancelCause(ctx)
	status := l.bulk.StatusChanged(nats.DISCONNECTED, nats.RECONNECTING, nats.CLOSED)
	var watch sync.WaitGroup
	watch.Go(func() {
		select {
		case <-status:
			broken(nats.ErrDisconnected)
		case <-live.Done():
		}
	})
	defer watch.Wait()
	defer l.bulk.RemoveStatusListener(status) // closes it

	consumer, err := l.consumer(live, p, s)
	if err != nil {
		return err
	}
	delivered := uint64(0)
	err = l.consume(live, p, consumer, s, func(messages []jetstream.Msg, items []item) error {
		p.decodeAll(s, messages, items)
		for _, it := range items {
			if delivered++; it.delivery != delivered {
				return fmt.Errorf("delivery %d came after %d", it.delivery, delivered-1)
			}
			if live.Err() != nil {
				return context.Cause(live)
			}
			if err := take(it); err != nil {
				return err
			}
		}
		return nil
	})
	if ctx.Err() != nil || errors.As(err, new(refusedBy)) {
		l.discard(ctx, p, consumer) // otherwise it is lost, or out of reach, and the server removes it in a while
	}
	return err
}

// consume has batches of what a consumer delivers taken, until that fails.
func (l *Log) consume(ctx context.Context, p *partition, c jetstream.Consumer, s section, take func([]jetstream.Msg, []item) error) error {
	ctx, stop := context.WithCancel(ctx)
	incoming, failed := make(chan jetstream.Msg, inFlight), make(chan error, 1)
	consuming, err := c.Consume(
		func(m jetstream.Msg) {
			select {
			case incoming <- m:
			case <-ctx.Done():
			}
		},
		jetstream.PullMaxMessagesWithBytesLimit(s.inFlight(), inFlightBytes),
		jetstream.PullHeartbeat(heartbeat),
		jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) {
			select {
			case failed <- err:
			default: // the first one is enough
			}
		}),
	)
	if err != nil {
		stop()
		return err
	}
	defer func() {
		stop()
		consuming.Stop()
		<-consuming.Closed()
	}()

	var quiet <-chan time.Time // never, unless it ends
	stalled := time.Duration(0)
	messages, items := make([]jetstream.Msg, 0, batchSize), make([]item, batchSize)
	for {
		if s.ends() {
			quiet = time.After(quietTimeout)
		}
		select {
		case <-quiet:
			if more, err := l.hasMore(ctx, p, s); err != nil {
				return err
			} else if !more {
				return refusedBy{errEnough}
			}
			if stalled += quietTimeout; stalled >= stallTimeout {
				return refusedBy{ErrMissing}
			}
			continue
		case m := <-incoming:
			messages = drain(incoming, append(messages[:0], m))
		case err := <-failed:
			return err
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if err := take(messages, items[:len(messages)]); err != nil {
			return err
		}
		s.from, stalled = items[len(messages)-1].seq+1, 0
	}
}

// hasMore asks the leader whether there is a message left of a section.
func (l *Log) hasMore(ctx context.Context, p *partition, s section) (bool, error) {
	next, err := l.ask(ctx, p, question{Seq: max(s.from, 1), Next: cmp.Or(s.filter, p.all)})
	if errors.Is(err, domain.ErrNotRecorded) {
		return false, nil
	}
	return err == nil && next.Sequence <= s.through, err
}

// drain takes what is there already, up to a batch.
func drain(incoming <-chan jetstream.Msg, messages []jetstream.Msg) []jetstream.Msg {
	for len(messages) < cap(messages) {
		select {
		case m := <-incoming:
			messages = append(messages, m)
		default:
			return messages
		}
	}
	return messages
}

func (l *Log) consumer(ctx context.Context, p *partition, s section) (jetstream.Consumer, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return l.readers.CreateConsumer(ctx, p.name, jetstream.ConsumerConfig{
		DeliverPolicy:     jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:       max(s.from, 1),
		FilterSubject:     s.filter,
		AckPolicy:         jetstream.AckNonePolicy,
		Replicas:          1,
		MemoryStorage:     true,
		InactiveThreshold: abandonAfter,
	})
}

// discard removes a consumer. If it can't, the server does in a while.
func (l *Log) discard(ctx context.Context, p *partition, c jetstream.Consumer) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if connected(l.bulk) == nil {
		_ = l.readers.DeleteConsumer(ctx, p.name, c.CachedInfo().Name)
	}
}

// decodeAll decodes a batch.
func (p *partition) decodeAll(s section, messages []jetstream.Msg, items []item) {
	share := max(worthSharing, (len(messages)+runtime.GOMAXPROCS(0)-1)/runtime.GOMAXPROCS(0))
	var wg sync.WaitGroup
	for start := share; start < len(messages); start += share {
		end := min(start+share, len(messages))
		wg.Go(func() { p.decodeSome(s, messages[start:end], items[start:end]) })
	}
	p.decodeSome(s, messages[:min(share, len(messages))], items)
	wg.Wait()
}

func (p *partition) decodeSome(s section, messages []jetstream.Msg, items []item) {
	for i, m := range messages {
		items[i] = p.item(s, m)
	}
}

func (p *partition) item(s section, m jetstream.Msg) item {
	meta, err := m.Metadata()
	if err != nil {
		return item{} // which is no delivery, so the reader begins again
	}
	it := item{seq: meta.Sequence.Stream, delivery: meta.Sequence.Consumer}
	if it.kept = p.mayKeep(s.keep, m); !it.kept {
		return it
	}
	it.record, it.err = p.decode(m.Subject(), m.Headers(), m.Data(), it.seq, meta.Timestamp)
	if s.keep == keepDecisions && it.err == nil {
		it.kept = it.record.Event.Kind() == domain.KindDecisionMade
	}
	return it
}

// mayKeep tells by a message's subject and header what is not wanted. Of an
// agent's events, those that say they are of a kind made later may be decisions.
func (p *partition) mayKeep(k keep, m jetstream.Msg) bool {
	switch k {
	case keepEvents:
		return !strings.HasPrefix(m.Subject(), p.decisions)
	case keepDecisions:
		return strings.HasPrefix(m.Subject(), p.decisions) || !noDecision[domain.Kind(m.Headers().Get(headerKind))]
	}
	return true
}

// noDecision has every kind that is known but one.
var noDecision = func() map[domain.Kind]bool {
	kinds := map[domain.Kind]bool{}
	for _, k := range domain.Kinds() {
		kinds[k] = k != domain.KindDecisionMade
	}
	return kinds
}()
