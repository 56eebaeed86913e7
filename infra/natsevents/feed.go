package natsevents

import (
	"cmp"
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/behalf-platform/behalf/domain"
)

const (
	// batchSize bounds the records of a message, and ahead those that are read
	// while a message is worked on.
	batchSize = 512
	ahead     = 2 * batchSize
	// linger is how long a message waits for more: many small ones would cost
	// those who decide more than what is in them.
	linger = 5 * time.Millisecond
)

// feed is the log as a watermill subscriber: its topics are the partitions, its
// messages stretches of records, in order, the next one only when the one before
// it was acknowledged. A record for each message would be as slow as the
// acknowledgements. One that is not acknowledged ends it: what is to be read
// again, the public stream says.
type feed struct {
	log Log
	// from is the first record that is wanted of each partition.
	from map[uint16]uint64
	// fail is told why a partition's messages have ended.
	fail func(error)

	mu sync.Mutex
	// stops is guarded by mu.
	stops []context.CancelFunc
	all   sync.WaitGroup
}

var errNacked = errors.New("a batch was refused")

// Subscribe gives the messages of a partition.
func (f *feed) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	partition, err := strconv.ParseUint(topic, 10, 16)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	f.mu.Lock()
	f.stops = append(f.stops, stop)
	f.mu.Unlock()
	messages, records := make(chan *message.Message), make(chan domain.Recorded, ahead)
	var reading sync.WaitGroup
	var ended error // why reading did
	reading.Go(func() {
		defer close(records)
		ended = f.log.Scan(ctx, domain.Scan{Partition: uint16(partition), From: f.from[uint16(partition)], Live: true},
			func(r domain.Recorded, err error) error {
				if err != nil {
					return err
				}
				select {
				case records <- r:
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			})
	})
	f.all.Go(func() {
		defer close(messages)
		err := f.hand(ctx, records, messages)
		stop()
		reading.Wait()
		f.fail(cmp.Or(err, ended)) // once all before it was published
	})
	return messages, nil
}

// hand makes messages of the records there are, one after the other.
func (f *feed) hand(ctx context.Context, records <-chan domain.Recorded, messages chan<- *message.Message) error {
	for r := range records {
		b := &batch{records: make([]domain.Recorded, 1, batchSize)}
		b.records[0] = r
		over := time.After(linger)
		for more := true; more && len(b.records) < batchSize; {
			select {
			case next, ok := <-records:
				if more = ok; ok {
					b.records = append(b.records, next)
				}
			case <-over:
				more = false
			}
		}
		m := message.NewMessageWithContext(context.WithValue(ctx, batchKey{}, b), "", nil)
		select {
		case messages <- m:
		case <-ctx.Done():
			return ctx.Err()
		}
		select {
		case <-m.Acked():
		case <-m.Nacked():
			return errNacked
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Close ends all messages, and waits until nothing is read any more.
func (f *feed) Close() error {
	f.mu.Lock()
	for _, stop := range f.stops {
		stop()
	}
	f.mu.Unlock()
	f.all.Wait()
	return nil
}

// batch is a stretch of records. It is in the message's context, since nothing
// is gained by encoding what never leaves the process.
type batch struct{ records []domain.Recorded }

type batchKey struct{}

func batchOf(m *message.Message) *batch { return m.Context().Value(batchKey{}).(*batch) }
