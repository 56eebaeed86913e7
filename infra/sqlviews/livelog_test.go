package sqlviews_test

import (
	"context"
	"slices"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/infra/embedded"
	"github.com/behalf-platform/behalf/infra/natslog"
	"github.com/behalf-platform/behalf/infra/sqlviews"
	"github.com/behalf-platform/behalf/projections"
)

// liveLog is a log on a real server in this process, which a history is being
// recorded in. Other processes may read it.
type liveLog struct {
	*natslog.Log
	dir, url string
	conn     *nats.Conn // to the server, with every right
	stop     func()     // ends the server
	history  *history
	last     map[domain.Stream]uint64 // as the log counts them, for whoever records

	mu sync.Mutex
	// decisions is guarded by mu: the sequences of the decisions of [ours], each
	// here before its append ends.
	decisions []uint64
	// recorded is guarded by mu: how many of them were about to be appended.
	recorded int
}

// readerPassword lets a process that another test starts read the log.
const readerPassword = "reader"

// mustLog starts a server with an empty log.
func mustLog(t testing.TB, h *history) *liveLog {
	t.Helper()
	l := &liveLog{dir: t.TempDir(), history: h, last: map[domain.Stream]uint64{}}
	l.mustStart(t)
	return l
}

// mustStart starts the server on what its directory has.
func (l *liveLog) mustStart(t testing.TB) {
	t.Helper()
	server, err := embedded.Start(embedded.Config{
		Dir: l.dir, Durability: embedded.OS, Listen: "127.0.0.1:0",
		Authenticate: func(_, password string) (embedded.Access, bool) {
			return embedded.Access{Name: "reader", Publish: []string{"$JS.API.>"}, Subscribe: []string{"_INBOX.>"}}, password == readerPassword
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	var conns [2]*nats.Conn
	l.stop = sync.OnceFunc(func() {
		for _, c := range conns {
			if c != nil {
				c.Close()
			}
		}
		if err := server.Shutdown(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(l.stop)
	if conns[0], err = server.Connect(); err != nil {
		t.Fatal(err)
	}
	if conns[1], err = server.Bulk(); err != nil {
		t.Fatal(err)
	}
	l.url, l.conn = "nats://reader:"+readerPassword+"@"+server.Addr().String(), conns[0]
	l.Log, err = natslog.Open(t.Context(), natslog.Config{Conn: conns[0], Bulk: conns[1], Partitions: 1, Replicas: 1, FirstAccount: ours})
	if err != nil {
		t.Fatal(err)
	}
}

// mustScan is all that the log has.
func (l *liveLog) mustScan(t testing.TB) (events []domain.Recorded) {
	t.Helper()
	err := l.Scan(t.Context(), domain.Scan{}, func(r domain.Recorded, err error) error {
		events = append(events, r)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return events
}

// mustFill fills a store with a log's events, in one go.
func (l *liveLog) mustFill(t testing.TB, s *sqlviews.Store, events []domain.Recorded) {
	t.Helper()
	whole := projections.Span{Epoch: l.Epoch(0), Through: events[len(events)-1].Position.Seq}
	for _, p := range projections.Projections() {
		if _, err := s.Begin(t.Context(), view(p, 1), 0, whole.Epoch); err != nil {
			t.Fatal(err)
		}
		if err := s.Apply(t.Context(), view(p, 1), whole, mustBatch(t, p, events)); err != nil {
			t.Fatal(err)
		}
	}
}

// grow records n more events of the history, or a few more.
func (l *liveLog) grow(ctx context.Context, n int) error {
	from := len(l.history.events)
	l.history.grow(n)
	for _, r := range l.history.events[from:] {
		counts := r.Account == ours && r.Event.Kind() == domain.KindDecisionMade
		if counts {
			l.mu.Lock()
			l.recorded++
			l.mu.Unlock()
		}
		// A decision stands on what its stream was when it was made.
		s := r.Stream()
		receipt, err := l.Append(ctx, l.last[s], r.Record, "")
		if err != nil {
			return err
		}
		if r.Moves() {
			l.last[s] = receipt.Position.Seq
		}
		if counts {
			l.mu.Lock()
			l.decisions = append(l.decisions, receipt.Position.Seq)
			l.mu.Unlock()
		}
	}
	return nil
}

// begun is how many decisions of [ours] there may be in the log.
func (l *liveLog) begun() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.recorded
}

// through is the sequences of the decisions of [ours] up to one of them, which
// may be the one that is just being acknowledged.
func (l *liveLog) through(seq uint64) []uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	i, found := slices.BinarySearch(l.decisions, seq)
	list := slices.Clone(l.decisions[:i])
	if found || i == len(l.decisions) && len(l.decisions) < l.recorded {
		list = append(list, seq)
	}
	return list
}
