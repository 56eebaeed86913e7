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
)

// liveLog is a log on a real server in this process, which a history is being
// recorded in. Other processes may read it.
type liveLog struct {
	*natslog.Log
	url     string
	history *history
	last    map[domain.Stream]uint64 // as the log counts them, for whoever records

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
	server, err := embedded.Start(embedded.Config{
		Dir: t.TempDir(), Durability: embedded.OS, Listen: "127.0.0.1:0",
		Authenticate: func(_, password string) (embedded.Access, bool) {
			return embedded.Access{Name: "reader", Publish: []string{"$JS.API.>"}, Subscribe: []string{"_INBOX.>"}}, password == readerPassword
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Shutdown(); err != nil {
			t.Error(err)
		}
	})
	var conns [2]*nats.Conn
	for i, connect := range []func() (*nats.Conn, error){func() (*nats.Conn, error) { return server.Connect() }, func() (*nats.Conn, error) { return server.Bulk() }} {
		if conns[i], err = connect(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(conns[i].Close)
	}
	l := &liveLog{url: "nats://reader:" + readerPassword + "@" + server.Addr().String(), history: h, last: map[domain.Stream]uint64{}}
	l.Log, err = natslog.Open(t.Context(), natslog.Config{Conn: conns[0], Bulk: conns[1], Partitions: 1, Replicas: 1, FirstAccount: ours})
	if err != nil {
		t.Fatal(err)
	}
	return l
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
