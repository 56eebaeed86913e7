// Package memlog is an event log in memory, for tests and for trying Behalf
// out. It keeps every promise of the real log and can break them on request. It
// keeps nothing: what it holds is gone with the process.
package memlog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
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
	// first, as a log on a single server does, unless several records are
	// appended together.
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
	receipts, err := l.AppendAll(ctx, []domain.Guarded{{Record: r, Last: last}}, dedupe)
	if err != nil {
		return domain.Receipt{}, err
	}
	return receipts[0], nil
}

// AppendAll stores all records or none, each if the newest event of its stream
// is at its Last. The faults are those of the first one.
func (l *Log) AppendAll(ctx context.Context, records []domain.Guarded, dedupe string) ([]domain.Receipt, error) {
	entries, err := entriesOf(records)
	if err != nil {
		return nil, err
	}
	first := records[0].Record
	if err := l.faults.before(ctx, first); err != nil {
		return nil, err
	}
	p := l.data.partitions[domain.PartitionOf(first.Account, l.Partitions())]
	receipts, err := p.append(l.data, entries, dedupe)
	if err != nil {
		return nil, err
	}
	if err := l.faults.after(ctx, first); err != nil {
		return nil, err
	}
	return receipts, nil
}

// entriesOf is what is stored of records that may be stored together.
func entriesOf(records []domain.Guarded) ([]entry, error) {
	if len(records) == 0 {
		return nil, errors.New("there is no record to append")
	}
	entries := make([]entry, len(records))
	for i, r := range records {
		e := entry{stream: r.Stream(), last: r.Last}
		var err error
		if e.class, err = classOf(r.Record); err != nil {
			return nil, err
		}
		if r.Account != records[0].Account {
			return nil, fmt.Errorf("record %s is of another account than %s", r.ID, records[0].ID)
		}
		if slices.ContainsFunc(entries[:i], func(o entry) bool { return o.stream == e.stream }) {
			return nil, fmt.Errorf("record %s is the second one of %s", r.ID, e.stream)
		}
		if e.raw, err = r.Append(nil); err != nil {
			return nil, err
		}
		if e.class == decision {
			e.keep = r.Keep
		}
		entries[i] = e
	}
	return entries, nil
}

// classOf is where r is put. What could not be a subject of the real log is refused.
func classOf(r domain.Record) (class, error) {
	if r.Event == nil {
		return 0, fmt.Errorf("record %s has no event", r.ID)
	}
	if err := checkStream(r.Stream()); err != nil {
		return 0, err
	}
	if isDecision(r) && r.Agent == "" {
		return 0, fmt.Errorf("decision %s is of no agent", r.ID)
	}
	if r.Moves() {
		return event, nil
	}
	return decision, nil
}

func isDecision(r domain.Record) bool {
	_, ok := r.Event.(domain.DecisionMade)
	return ok
}

func checkStream(s domain.Stream) error {
	if !domain.ValidID(string(s.Account)) || s.Agent != "" && (s.Budget || !domain.ValidID(string(s.Agent))) {
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
	if err != nil || at.Epoch != l.data.config.Epoch || !p.there(at.Seq, l.data.now()) {
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
	if err := checkScan(q); err != nil {
		return err
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
		if !matches(q, e) || e.goneAt(l.data.now()) {
			continue
		}
		r, err := p.decode(seq, e)
		if q.Only == "" && q.Account != "" && err == nil && !isDecision(r.Record) {
			continue
		}
		if err := yield(r, err); err != nil {
			return err
		}
		if q.Most--; q.Most == 0 {
			return nil
		}
	}
	return nil
}

func checkScan(q domain.Scan) error {
	switch q.Only {
	case domain.OnlyAgents, domain.OnlyPassports, domain.OnlyAccounts, domain.OnlyBudgets:
		for _, id := range []string{string(q.Account), string(q.Agent)} {
			if id != "" && !domain.ValidID(id) {
				return fmt.Errorf("%q is not an id", id)
			}
		}
		return nil
	case "":
		if q.Account == "" && q.Agent == "" {
			return nil
		}
		return checkStream(domain.Stream{Account: q.Account, Agent: q.Agent})
	}
	return fmt.Errorf("%q is no choice of records", q.Only)
}

// matches reports whether a scan reads an entry. One for decisions reads all
// there is of the agents, and leaves out what turns out to be something else.
func matches(q domain.Scan, e entry) bool {
	if q.Account != "" && e.stream.Account != q.Account {
		return false
	}
	of := e.stream.Agent != "" && (q.Agent == "" || e.stream.Agent == q.Agent)
	switch q.Only {
	case domain.OnlyAgents:
		return of
	case domain.OnlyPassports:
		return of && e.class == event
	case domain.OnlyAccounts:
		return e.stream.Agent == ""
	case domain.OnlyBudgets:
		return e.stream.Budget
	}
	return q.Account == "" || of
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
	return p.since(t, l.data.now()), nil
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
