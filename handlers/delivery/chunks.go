package delivery

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"

	"golang.org/x/sync/singleflight"

	"github.com/behalf-platform/behalf/domain"
)

// chunks are pieces of the log for lanes that are behind the ring. Those that
// are at about the same place share what is read, and few are read at a time.
type chunks struct {
	source    Source
	partition uint16
	reads     singleflight.Group
	turns     chan struct{}

	mu sync.Mutex
	// kept are the last chunks that were used, the oldest first; guarded by mu.
	kept []*chunk
}

const (
	chunkRecords  = 512
	keptChunks    = 32
	readsAtOnce   = 2
	mostListReads = 32
)

// chunk is a segment that doesn't change. The log doesn't hold its records up to
// lost any more.
type chunk struct {
	*segment
	lost uint64
	// holes are records that the log doesn't hold, in order.
	holes []span
}

// span is the records from one through another.
type span struct {
	From    uint64 `json:"from"`
	Through uint64 `json:"through"`
}

// missing is what the chunk lacks of the records after one and through another,
// from the first to the last of them. None is the zero span.
func (k *chunk) missing(after, until uint64) (all span) {
	for _, h := range k.holes {
		h.From, h.Through = max(h.From, after+1), min(h.Through, until)
		if h.From > h.Through {
			continue
		}
		if all.From == 0 {
			all.From = h.From
		}
		all.Through = h.Through
	}
	return all
}

// reach says that the chunk goes up to a record, of which those since the last
// one are not there.
func (k *chunk) reach(seq uint64) {
	if seq > k.through {
		k.holes = append(k.holes, span{k.through + 1, seq})
		k.through = seq
	}
}

// join adds a record.
func (k *chunk) join(s Step) {
	k.reach(s.Seq - 1)
	k.add(s)
}

// errNotYet is the log not having shown yet what it is known to hold.
var errNotYet = errors.New("the log has not got that far")

func newChunks(source Source, partition uint16) *chunks {
	return &chunks{source: source, partition: partition, turns: make(chan struct{}, readsAtOnce)}
}

// after returns the chunk with the record after a sequence. It reads no further
// than until, which is in the log.
func (c *chunks) after(ctx context.Context, seq, until uint64) (*chunk, error) {
	start := seq - seq%chunkRecords
	if found := c.find(start); found != nil && found.through > seq {
		return found, nil
	}
	end := min(start+chunkRecords, until)
	read := c.reads.DoChan(strconv.FormatUint(start, 10)+"-"+strconv.FormatUint(end, 10), func() (any, error) {
		select {
		case c.turns <- struct{}{}:
			defer func() { <-c.turns }()
		case <-ctx.Done(): // ends with the partition, so for all alike
			return nil, ctx.Err()
		}
		return c.read(ctx, start, end)
	})
	select {
	case r := <-read:
		if r.Err != nil {
			return nil, r.Err
		}
		return r.Val.(*chunk), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (c *chunks) find(start uint64) *chunk {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, k := range c.kept {
		if k.segment.after == start {
			copy(c.kept[i:], c.kept[i+1:])
			c.kept[len(c.kept)-1] = k
			return k
		}
	}
	return nil
}

func (c *chunks) read(ctx context.Context, start, end uint64) (*chunk, error) {
	k := &chunk{segment: newSegment(start)}
	first := uint64(0)
	err := c.source.Scan(ctx, Stretch{Partition: c.partition, From: start + 1, Through: end}, func(s Step) error {
		if first == 0 {
			first = s.Seq
		}
		k.join(s)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the log from %d: %w", start+1, err)
	}
	if first != start+1 {
		oldest, _, err := c.source.Bounds(ctx, c.partition)
		if err != nil {
			return nil, fmt.Errorf("read the bounds of the log: %w", err)
		}
		if oldest > start+1 {
			k.lost = oldest - 1
		}
	}
	if k.through < end { // or whoever reads on would read the same again
		if err := c.readRest(ctx, k, end); err != nil {
			return nil, err
		}
	}
	if k.through == start+chunkRecords && k.lost == 0 {
		c.keep(k)
	}
	return k, nil
}

// readRest reads on where a chunk seemed to end early. Records may have left the
// log from between others; or whoever was asked had not got so far yet.
func (c *chunks) readRest(ctx context.Context, k *chunk, end uint64) error {
	_, newest, err := c.source.Bounds(ctx, c.partition)
	if err != nil {
		return fmt.Errorf("read the bounds of the log: %w", err)
	}
	if newest < end {
		return errNotYet
	}
	err = c.source.Scan(ctx, Stretch{Partition: c.partition, From: k.through + 1, Through: end}, func(s Step) error {
		k.join(s)
		return nil
	})
	if err != nil {
		return fmt.Errorf("read the log from %d: %w", k.through+1, err)
	}
	k.reach(end) // what is not there now won't come
	return nil
}

func (c *chunks) keep(k *chunk) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.kept) == keptChunks {
		copy(c.kept, c.kept[1:])
		c.kept = c.kept[:keptChunks-1]
	}
	c.kept = append(c.kept, k)
}

// one reads the message of an account at a place, or returns nil when the log
// doesn't hold it.
func (c *chunks) one(ctx context.Context, account domain.AccountID, p Place) (found *Message, err error) {
	err = c.source.Scan(ctx, Stretch{Partition: c.partition, From: p.Seq, Through: p.Seq}, func(s Step) error {
		for _, m := range s.Messages {
			if m.Place() == p && s.Account == account {
				found = m
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the log at %d: %w", p.Seq, err)
	}
	return found, nil
}
