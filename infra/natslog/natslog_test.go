package natslog_test

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/infra/embedded"
	"github.com/behalf-platform/behalf/infra/logtest"
	"github.com/behalf-platform/behalf/infra/natslog"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestLog(t *testing.T) {
	for name, n := range map[string]node{
		"one partition, synced": {config: embedded.Config{Listen: "127.0.0.1:0"}, partitions: 1},
		"three partitions":      {config: embedded.Config{Durability: embedded.OS}, partitions: 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			logtest.Maker{
				Open: func(t *testing.T) logtest.Log {
					n := n
					n.config.Dir = t.TempDir()
					return mustRun(t, n)
				},
				Join: func(t *testing.T, l logtest.Log) logtest.Log { return l.(*running).mustJoin(t) },
				Restart: func(t *testing.T, l logtest.Log) logtest.Log {
					l.(*running).mustStop(t)
					return mustRun(t, l.(*running).node)
				},
				Inject: func(t *testing.T, l logtest.Log, s domain.Stream, raw []byte) { l.(*running).mustInject(t, s, raw) },
			}.Run(t)
		})
	}
}

// node is how a server and its log are started, and started again.
type node struct {
	config     embedded.Config
	partitions int
}

// running is a log on a server in this process.
type running struct {
	*natslog.Log
	node       node
	server     *embedded.Server
	joined     bool // the server belongs to another
	conn, bulk *nats.Conn
}

// mustRun starts a server and opens its log. Both end with the test.
func mustRun(t testing.TB, n node) *running {
	t.Helper()
	r := &running{node: n}
	r.mustStart(t)
	r.mustOpen(t)
	return r
}

// mustJoin opens the log for another node.
func (r *running) mustJoin(t testing.TB) *running {
	t.Helper()
	other := &running{node: r.node, server: r.server, joined: true}
	other.mustConnect(t)
	other.mustOpen(t)
	return other
}

func (r *running) mustStart(t testing.TB) {
	t.Helper()
	var err error
	if r.server, err = embedded.Start(r.node.config); err != nil {
		t.Fatal(err)
	}
	r.mustConnect(t)
}

func (r *running) mustConnect(t testing.TB) {
	t.Helper()
	t.Cleanup(func() { r.mustStop(t) })
	var err error
	if r.conn, err = r.server.Connect(); err != nil {
		t.Fatal(err)
	}
	if r.bulk, err = r.server.Bulk(); err != nil {
		t.Fatal(err)
	}
}

func (r *running) mustOpen(t testing.TB) {
	t.Helper()
	var err error
	if r.Log, err = natslog.Open(t.Context(), r.config(r.node.partitions)); err != nil {
		t.Fatal(err)
	}
}

func (r *running) config(partitions int) natslog.Config {
	return natslog.Config{
		Conn: r.conn, Bulk: r.bulk, Partitions: partitions, Replicas: 1,
		Barrier: r.server.Sync, FirstAccount: firstAccount(partitions),
	}
}

// mustStop may be called again.
func (r *running) mustStop(t testing.TB) {
	t.Helper()
	for _, nc := range []*nats.Conn{r.conn, r.bulk} {
		if nc != nil {
			nc.Close()
		}
	}
	if r.server == nil || r.joined {
		return
	}
	if err := r.server.Shutdown(); err != nil {
		t.Error(err)
	}
	r.server = nil
}

func firstAccount(partitions int) domain.AccountID {
	for i := 0; ; i++ {
		if id := domain.AccountID("acct_first" + strconv.Itoa(i)); domain.PartitionOf(id, partitions) == 0 {
			return id
		}
	}
}

// mustInject stores bytes as a later version of this program would store an event.
func (r *running) mustInject(t *testing.T, s domain.Stream, raw []byte) {
	t.Helper()
	at := domain.PartitionOf(s.Account, r.Partitions())
	subject := fmt.Sprintf("behalf.%d.agent.%s.%s", at, s.Account, s.Agent)
	if s.Budget {
		subject = fmt.Sprintf("behalf.%d.budget.%s", at, s.Account)
	}
	js := mustJetStream(t, r.conn)
	stream, err := js.Stream(t.Context(), natslog.StreamNames(r.Partitions())[at])
	if err != nil {
		t.Fatal(err)
	}
	newest, err := stream.GetLastMsgForSubject(t.Context(), subject)
	if err != nil {
		t.Fatal(err)
	}
	_, err = js.Publish(t.Context(), subject, raw, jetstream.WithExpectLastSequenceForSubject(newest.Sequence, subject))
	if err != nil {
		t.Fatal(err)
	}
}

func mustJetStream(t testing.TB, nc *nats.Conn) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

func soon(t testing.TB) context.Context {
	ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(stop)
	return ctx
}
