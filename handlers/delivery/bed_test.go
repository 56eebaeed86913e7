package delivery_test

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers/delivery"
	"github.com/behalf-platform/behalf/infra/memlanes"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const account = domain.AccountID("acct_a")

// book is a log in memory, of one partition.
type book struct {
	mu sync.Mutex
	// All below is guarded by mu.
	first uint64
	gone  map[uint64]bool // single records that were removed
	steps []delivery.Step // the first one is record 1
	grown chan struct{}   // closed with the next record
	scans int
	err   error // of a scan that begins
}

// write adds a record with a message, or with none if typ is empty.
func (b *book) write(a domain.AccountID, agent domain.AgentID, typ string) *delivery.Message {
	b.mu.Lock()
	defer b.mu.Unlock()
	step := delivery.Step{Account: a, Seq: uint64(len(b.steps) + 1)}
	var m *delivery.Message
	if typ != "" {
		m = &delivery.Message{
			ID: fmt.Sprintf("evt_%d", step.Seq), Type: typ, Agent: agent, At: time.Now(), Seq: step.Seq,
			Data: []byte(fmt.Sprintf(`{"seq":%d}`, step.Seq)), Fleeting: strings.HasPrefix(typ, "decision."),
		}
		step.Messages = []*delivery.Message{m}
	}
	b.steps = append(b.steps, step)
	if b.grown != nil {
		close(b.grown)
		b.grown = nil
	}
	return m
}

// retain removes the records before one.
func (b *book) retain(first uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.first = first
}

// remove removes single records.
func (b *book) remove(seqs ...uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.gone == nil {
		b.gone = map[uint64]bool{}
	}
	for _, seq := range seqs {
		b.gone[seq] = true
	}
}

func (b *book) isGone(seq uint64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.gone[seq]
}

func (b *book) Partitions() int { return 1 }

func (b *book) Bounds(context.Context, uint16) (uint64, uint64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return max(b.first, 1), uint64(len(b.steps)), nil
}

func (b *book) SeqAt(_ context.Context, _ uint16, t time.Time) (uint64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.steps {
		if len(s.Messages) > 0 && !s.Messages[0].At.Before(t) {
			return s.Seq, nil
		}
	}
	return uint64(len(b.steps) + 1), nil
}

func (b *book) Scan(ctx context.Context, s delivery.Stretch, yield func(delivery.Step) error) error {
	b.mu.Lock()
	b.scans++
	err := b.err
	b.mu.Unlock()
	if err != nil {
		return err
	}
	for next := max(s.From, 1); ; {
		b.mu.Lock()
		next = max(next, b.first)
		var steps []delivery.Step
		if int(next) <= len(b.steps) {
			steps = b.steps[next-1:]
		}
		if b.grown == nil {
			b.grown = make(chan struct{})
		}
		grown := b.grown
		b.mu.Unlock()
		for _, step := range steps {
			if !s.Live && step.Seq > s.Through {
				return nil
			}
			if next = step.Seq + 1; b.isGone(step.Seq) {
				continue
			}
			if err := yield(step); err != nil {
				return err
			}
		}
		if !s.Live {
			return nil
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// roll is the endpoints.
type roll struct {
	mu sync.Mutex
	// All below is guarded by mu.
	endpoints map[delivery.EndpointID]delivery.Endpoint
	changed   chan struct{}
	// keep is how long what is fleeting is kept, 0 for ever.
	keep time.Duration
}

func (r *roll) Whole(_ delivery.Endpoint, at time.Time) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.keep == 0 {
		return time.Time{}
	}
	return at.Add(-r.keep)
}

func (r *roll) set(e delivery.Endpoint) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.endpoints == nil {
		r.endpoints = map[delivery.EndpointID]delivery.Endpoint{}
	}
	e.Revision = r.endpoints[e.ID].Revision + 1
	r.endpoints[e.ID] = e
	r.tell()
}

func (r *roll) remove(id delivery.EndpointID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.endpoints, id)
	r.tell()
}

func (r *roll) tell() {
	if r.changed != nil {
		close(r.changed)
		r.changed = nil
	}
}

func (r *roll) Changed() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.changed == nil {
		r.changed = make(chan struct{})
	}
	return r.changed
}

func (r *roll) Endpoints(context.Context, uint16) ([]delivery.Endpoint, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []delivery.Endpoint
	for _, e := range r.endpoints {
		list = append(list, e)
	}
	slices.SortFunc(list, func(a, b delivery.Endpoint) int { return cmp.Compare(a.ID, b.ID) })
	return list, nil
}

// ok is an answer of a status.
func ok() delivery.Result { return answer(200) }

func answer(s int) delivery.Result               { return delivery.Result{Status: s, Category: delivery.Answered} }
func failed(c delivery.Category) delivery.Result { return delivery.Result{Category: c} }

// world is the other side: it keeps what arrives, and answers as it is told.
type world struct {
	mu sync.Mutex
	// answers says how an endpoint answers a message, and may wait. All below is
	// guarded by mu.
	answers map[delivery.EndpointID]func(ctx context.Context, m delivery.Message, nth int) delivery.Result
	came    map[delivery.EndpointID]int                // with those that failed
	nth     map[string]int                             // of each endpoint and message
	took    map[delivery.EndpointID][]delivery.Message // in order of the answers
	replays map[string]int
	broken  bool // nothing arrives
}

// cut has nothing arrive any more, and mend undoes it.
func (w *world) cut()  { w.set(true) }
func (w *world) mend() { w.set(false) }

func (w *world) set(broken bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.broken = broken
}

func newWorld() *world {
	return &world{
		answers: map[delivery.EndpointID]func(context.Context, delivery.Message, int) delivery.Result{},
		came:    map[delivery.EndpointID]int{}, nth: map[string]int{}, took: map[delivery.EndpointID][]delivery.Message{},
		replays: map[string]int{},
	}
}

func (w *world) Send(ctx context.Context, e delivery.Endpoint, m delivery.Message, replay string) delivery.Result {
	w.mu.Lock()
	w.nth[string(e.ID)+m.ID]++
	nth := w.nth[string(e.ID)+m.ID]
	w.came[e.ID]++
	w.replays[replay]++
	reply := w.answers[e.ID]
	w.mu.Unlock()
	r := ok()
	if reply != nil {
		r = reply(ctx, m, nth)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.broken {
		return failed(delivery.Broken)
	}
	if r.Status/100 == 2 {
		w.took[e.ID] = append(w.took[e.ID], m)
	}
	return r
}

func (w *world) answer(e delivery.EndpointID, reply func(ctx context.Context, m delivery.Message, nth int) delivery.Result) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answers[e] = reply
}

// arrived are the ids that an endpoint took, in order, with those that came again.
func (w *world) arrived(e delivery.EndpointID) (ids []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range w.took[e] {
		ids = append(ids, m.ID)
	}
	return ids
}

func (w *world) attempts(e delivery.EndpointID) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.came[e]
}

// desk takes reports, and disables who is to be disabled.
type desk struct {
	roll *roll
	mu   sync.Mutex
	made []delivery.Report // guarded by mu
}

func (d *desk) Report(_ context.Context, r delivery.Report) error {
	d.mu.Lock()
	d.made = append(d.made, r)
	d.mu.Unlock()
	if r.Kind == delivery.Disable {
		d.roll.mu.Lock()
		e := d.roll.endpoints[r.Endpoint]
		d.roll.mu.Unlock()
		e.Enabled = false
		d.roll.set(e)
	}
	return nil
}

func (d *desk) kinds() (kinds []delivery.ReportKind) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, r := range d.made {
		kinds = append(kinds, r.Kind)
	}
	return kinds
}

// bed is all that nodes share.
type bed struct {
	book  *book
	roll  *roll
	world *world
	desk  *desk
	store *memlanes.Store
	rules *delivery.Rules
}

func newBed() *bed {
	r := &roll{}
	return &bed{book: &book{}, roll: r, world: newWorld(), desk: &desk{roll: r}, store: &memlanes.Store{}}
}

// engine makes a node's engine, with its own client of the store.
func (b *bed) engine(t testing.TB, c *memlanes.Client) *delivery.Engine {
	if c == nil {
		c = &memlanes.Client{Store: b.store}
	}
	return &delivery.Engine{
		Source: b.book, Registry: b.roll, Sender: b.world, Reporter: b.desk, Store: c, Node: t.Name(),
		Logs: slog.New(slog.DiscardHandler), Now: time.Now, Rules: b.rules,
	}
}

// start runs an engine. What it returns stops it and waits.
func start(t testing.TB, e *delivery.Engine) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := e.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	return func() {
		cancel()
		wg.Wait()
	}
}

func endpoint(id delivery.EndpointID) delivery.Endpoint {
	return delivery.Endpoint{
		ID: id, Account: account, URL: "https://example.com/" + string(id), Types: []string{"*"},
		Ordering: delivery.Parallel, Enabled: true, Verified: true,
	}
}

// ids are those of the records from one to another.
func ids(from, to int) (list []string) {
	for i := from; i <= to; i++ {
		list = append(list, fmt.Sprintf("evt_%d", i))
	}
	return list
}

// same reports whether two lists hold the same, in whatever order.
func same(got, want []string) bool {
	got, want = slices.Clone(got), slices.Clone(want)
	slices.Sort(got)
	slices.Sort(want)
	return slices.Equal(got, want)
}

func brief(list []string) string {
	if len(list) > 12 {
		return fmt.Sprintf("%d: %s … %s", len(list), strings.Join(list[:6], " "), strings.Join(list[len(list)-6:], " "))
	}
	return strings.Join(list, " ")
}
