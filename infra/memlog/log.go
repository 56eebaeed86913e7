// Package memlog is an event log in memory, for tests and for trying Behalf
// out. It keeps every promise of the real log and can break them on request. It
// keeps nothing: what it holds is gone with the process.
package memlog

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/behalf-platform/behalf/domain"
)

// Config is how a log is made. The zero Config makes one partition.
type Config struct {
	Partitions int // 1 if 0
	// FirstAccount must lie in partition 0. If empty, one that does is made up.
	FirstAccount domain.AccountID
	// DedupeWindow is how long the name of an append is remembered, two minutes if 0.
	DedupeWindow time.Duration
	// Replicated answers an append that repeats an earlier one with its receipt
	// even when the stream has moved since. Without it the guard is looked at
	// first, as a log on a single server does.
	Replicated bool
	// Epoch is the epoch of every position, random if 0.
	Epoch uint32
	// Now is the log's clock, the machine's if nil.
	Now func() time.Time
}

// Log is one node's client of a log. Its faults are its own, except for what
// happens to the log itself: see [Log.Skew] and [Log.Inject].
type Log struct {
	data   *data
	faults faults

	mu sync.Mutex
	// followers is guarded by mu.
	followers map[*follower]struct{}
}

// data is what all clients of one log share.
type data struct {
	config     Config
	partitions []*partition
	skew       atomic.Int64 // nanoseconds the log's clock is ahead
}

// New makes an empty log.
func New(c Config) *Log {
	c.Partitions = cmp.Or(c.Partitions, 1)
	c.DedupeWindow = cmp.Or(c.DedupeWindow, 2*time.Minute)
	c.Epoch = cmp.Or(c.Epoch, rand.Uint32()|1)
	if c.Now == nil {
		c.Now = time.Now
	}
	for i := 0; c.FirstAccount == ""; i++ {
		if id := domain.AccountID(domain.AccountPrefix + strconv.Itoa(i)); domain.PartitionOf(id, c.Partitions) == 0 {
			c.FirstAccount = id
		}
	}
	if domain.PartitionOf(c.FirstAccount, c.Partitions) != 0 {
		panic(fmt.Sprintf("memlog: the first account %s doesn't lie in partition 0", c.FirstAccount))
	}
	d := &data{config: c, partitions: make([]*partition, c.Partitions)}
	for i := range d.partitions {
		d.partitions[i] = newPartition(uint16(i), c.Epoch)
	}
	return d.client()
}

// Join is another node's client of the same log. It follows by itself and has
// no faults yet. After a restart, a node is such a client too.
func (l *Log) Join() *Log { return l.data.client() }

func (d *data) client() *Log {
	return &Log{data: d, followers: map[*follower]struct{}{}}
}

// now is the log's clock. A stored time has no monotonic part, so this has none.
func (d *data) now() time.Time {
	return d.config.Now().Add(time.Duration(d.skew.Load())).Round(0).UTC()
}

// Append stores r if the newest event of its stream is at last.
func (l *Log) Append(ctx context.Context, last uint64, r domain.Record, dedupe string) (domain.Receipt, error) {
	class, err := classOf(r)
	if err != nil {
		return domain.Receipt{}, err
	}
	raw, err := r.Append(nil)
	if err != nil {
		return domain.Receipt{}, err
	}
	if err := l.faults.before(ctx, r); err != nil {
		return domain.Receipt{}, err
	}
	p := l.data.partitions[domain.PartitionOf(r.Account, l.Partitions())]
	receipt, err := p.append(l.data, entry{stream: r.Stream(), class: class, last: last, raw: raw}, dedupe)
	if err != nil {
		return domain.Receipt{}, err
	}
	if err := l.faults.after(ctx, r); err != nil {
		return domain.Receipt{}, err
	}
	return receipt, nil
}

// classOf is where r is put. What could not be a subject of the real log is refused.
func classOf(r domain.Record) (class, error) {
	if err := checkStream(r.Stream()); err != nil {
		return 0, err
	}
	if _, ok := r.Event.(domain.DecisionMade); !ok {
		return event, nil
	}
	if r.Agent == "" {
		return 0, fmt.Errorf("decision %s is of no agent", r.ID)
	}
	return decision, nil
}

func checkStream(s domain.Stream) error {
	if !domain.ValidID(string(s.Account)) || s.Agent != "" && !domain.ValidID(string(s.Agent)) {
		return fmt.Errorf("%q is not a stream", s)
	}
	return nil
}

// Load reads the events of a stream after a sequence.
func (l *Log) Load(ctx context.Context, s domain.Stream, after uint64) ([]domain.Recorded, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := checkStream(s); err != nil {
		return nil, err
	}
	missing, err := l.faults.load()
	if err != nil {
		return nil, err
	}
	p := l.data.partitions[domain.PartitionOf(s.Account, l.Partitions())]
	var loaded []domain.Recorded
	for _, seq := range p.stream(s, after, missing) {
		r, err := p.read(seq)
		if err != nil {
			return loaded, err
		}
		loaded = append(loaded, r)
	}
	return loaded, nil
}

// Settle has nothing to wait for: memory is as durable as this log gets.
func (l *Log) Settle(context.Context) error { return l.faults.settle() }

// Read reads the event at a position.
func (l *Log) Read(ctx context.Context, at domain.Position) (domain.Recorded, error) {
	if err := ctx.Err(); err != nil {
		return domain.Recorded{}, err
	}
	if err := l.faults.read(); err != nil {
		return domain.Recorded{}, err
	}
	p, err := l.partition(at.Partition)
	if err != nil || at.Epoch != l.data.config.Epoch || at.Seq == 0 || at.Seq > p.head() {
		return domain.Recorded{}, domain.ErrNotRecorded
	}
	return p.read(at.Seq)
}

// Scan calls yield with the records that match.
func (l *Log) Scan(ctx context.Context, q domain.Scan, yield func(domain.Recorded, error) error) error {
	p, err := l.partition(q.Partition)
	if err != nil {
		return err
	}
	if q.Account != "" || q.Agent != "" {
		if err := checkStream(domain.Stream{Account: q.Account, Agent: q.Agent}); err != nil {
			return err
		}
	}
	head := p.head()
	for seq := max(q.From, 1); q.Through == 0 || seq <= q.Through; seq++ {
		if !q.Live && seq > head {
			return nil
		}
		e, err := p.wait(ctx, seq)
		if err != nil {
			return err
		}
		if !matches(q, e) {
			continue
		}
		if err := yield(p.decode(seq, e)); err != nil {
			return err
		}
	}
	return nil
}

func matches(q domain.Scan, e entry) bool {
	if q.Account == "" {
		return true
	}
	return e.class == decision && e.stream.Account == q.Account && (q.Agent == "" || e.stream.Agent == q.Agent)
}

// SeqAt is the sequence of the oldest record stored at or after t.
func (l *Log) SeqAt(ctx context.Context, partition uint16, t time.Time) (uint64, error) {
	p, err := l.partition(partition)
	if err != nil {
		return 0, err
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	return p.since(t), nil
}

// Partitions is the number of partitions.
func (l *Log) Partitions() int { return len(l.data.partitions) }

// Epoch is the epoch of the positions, the same for all partitions.
func (l *Log) Epoch(uint16) uint32 { return l.data.config.Epoch }

// FirstAccount is the id for the log's first account.
func (l *Log) FirstAccount() domain.AccountID { return l.data.config.FirstAccount }

func (l *Log) partition(i uint16) (*partition, error) {
	if int(i) >= len(l.data.partitions) {
		return nil, fmt.Errorf("no partition %d, there are %d", i, len(l.data.partitions))
	}
	return l.data.partitions[i], nil
}
