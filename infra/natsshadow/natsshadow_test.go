package natsshadow_test

import (
	"context"
	"errors"
	"math"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/infra/clustertest"
	"github.com/behalf-platform/behalf/infra/embedded"
	"github.com/behalf-platform/behalf/infra/natsshadow"
	"github.com/behalf-platform/behalf/infra/shadowtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestLog(t *testing.T) {
	t.Parallel()
	shadowtest.Run(t, func(t *testing.T) shadowtest.Log {
		return mustOpen(t, mustConnect(t, mustStart(t, embedded.Config{Dir: t.TempDir(), Durability: embedded.OS})), 1)
	})
}

func TestLogOnACluster(t *testing.T) {
	t.Parallel()
	c := clustertest.Start(t, 3)
	l := mustOpen(t, c.Connect(t), 3)
	// A new stream is not known at once to the servers that don't lead it. It is
	// when an append gets as far as being refused.
	for {
		_, err := l.Append(t.Context(), math.MaxInt64, record())
		if errors.Is(err, domain.ErrMoved) {
			break
		}
		if t.Context().Err() != nil {
			t.Fatal(err)
		}
	}
	shadowtest.Run(t, func(*testing.T) shadowtest.Log { return l })
}

func TestItIsStillThereAfterARestart(t *testing.T) {
	t.Parallel()
	config := embedded.Config{Dir: t.TempDir(), Durability: embedded.OS}
	s, err := embedded.Start(config)
	if err != nil {
		t.Fatal(err)
	}
	nc := mustConnect(t, s)
	seq, err := mustOpen(t, nc, 1).Append(t.Context(), 0, record())
	if err != nil {
		t.Fatal(err)
	}
	nc.Close()
	if err := s.Shutdown(); err != nil {
		t.Fatal(err)
	}
	l := mustOpen(t, mustConnect(t, mustStart(t, config)), 1)
	if r, err := l.Newest(t.Context(), record().Stream()); err != nil || r.Seq != seq || r.ID != record().ID {
		t.Errorf("got %+v, %v, want %s at %d", r, err, record().ID, seq)
	}
}

// TestRights follows and appends with no more rights than the package comment
// asks for, while the server restarts.
func TestRights(t *testing.T) {
	t.Parallel()
	config := embedded.Config{
		Dir: t.TempDir(), Durability: embedded.OS, Listen: "127.0.0.1:0",
		Authenticate: func(string, string) (embedded.Access, bool) {
			return embedded.Access{Name: "node", Publish: []string{
				"behalf.shadow.>",
				"$JS.API.STREAM.INFO.BEHALF_SHADOW",
				"$JS.API.STREAM.CREATE.BEHALF_SHADOW",
				"$JS.API.STREAM.UPDATE.BEHALF_SHADOW",
				"$JS.API.STREAM.MSG.GET.BEHALF_SHADOW",
				"$JS.API.CONSUMER.CREATE.BEHALF_SHADOW.>",
				"$JS.API.CONSUMER.MSG.NEXT.BEHALF_SHADOW.>",
				"$JS.API.CONSUMER.DELETE.BEHALF_SHADOW.>",
			}, Subscribe: []string{"_INBOX.>"}}, true
		},
	}
	s, err := embedded.Start(config)
	if err != nil {
		t.Fatal(err)
	}
	config.Listen = s.Addr().String()
	var refused atomic.Value
	nc, err := nats.Connect("nats://"+config.Listen, nats.UserInfo("node", "secret"), nats.MaxReconnects(-1),
		nats.ReconnectWait(20*time.Millisecond), nats.ReconnectBufSize(-1),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			if errors.Is(err, nats.ErrPermissionViolation) {
				refused.Store(err)
			}
		}))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	l := mustOpen(t, nc, 1)
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	seen, done := make(chan domain.Kind, 100), make(chan error, 1)
	go func() { done <- l.Follow(ctx, func(_ domain.Stream, k domain.Kind) { seen <- k }) }()
	last, err := l.Append(ctx, 0, record())
	if err != nil {
		t.Fatal(err)
	}
	<-seen
	if err := s.Shutdown(); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Append(ctx, last, record()); err == nil {
		t.Error("append without a server: got no error")
	}
	mustStart(t, config)
	stopped := record()
	stopped.Event = domain.ShadowStopped{ShadowID: "shd_1", StartedSeq: last}
	for err = errors.New("not yet"); err != nil && ctx.Err() == nil; {
		_, err = l.Append(ctx, last, stopped)
	}
	for k := domain.Kind(""); k != domain.KindShadowStopped; {
		select {
		case k = <-seen:
		case <-ctx.Done():
			t.Fatal("the follower never went on")
		}
	}
	stop()
	<-done
	if err := refused.Load(); err != nil {
		t.Errorf("got %v, want no right to be missing", err)
	}
}

func TestAStreamIsTakenAsItMustBeOrRefused(t *testing.T) {
	t.Parallel()
	nc := mustConnect(t, mustStart(t, embedded.Config{Dir: t.TempDir(), Durability: embedded.OS}))
	mustOpen(t, nc, 1)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	config := func() jetstream.StreamConfig {
		t.Helper()
		stream, err := js.Stream(t.Context(), natsshadow.StreamName)
		if err != nil {
			t.Fatal(err)
		}
		return stream.CachedInfo().Config
	}
	if c := config(); !c.DenyDelete || !c.DenyPurge || c.MaxAge != natsshadow.LeastAge || c.Storage != jetstream.FileStorage {
		t.Errorf("got %+v, want files that can't be deleted or purged, for %s", c, natsshadow.LeastAge)
	}
	longer := natsshadow.Config{Conn: nc, Replicas: 1, Age: 2 * natsshadow.LeastAge}
	if _, err := natsshadow.Open(t.Context(), longer); err != nil || config().MaxAge != longer.Age {
		t.Errorf("got %s, %v, want the age to be changed to %s", config().MaxAge, err, longer.Age)
	}
	changed := config()
	changed.MaxMsgsPerSubject = 1
	if _, err := js.UpdateStream(t.Context(), changed); err != nil {
		t.Fatal(err)
	}
	if _, err := natsshadow.Open(t.Context(), longer); err == nil || !strings.Contains(err.Error(), "removes messages") {
		t.Errorf("got %v, want the stream to be refused", err)
	}
	for _, bad := range []natsshadow.Config{
		{Replicas: 1, Age: natsshadow.LeastAge},
		{Conn: nc, Replicas: 2, Age: natsshadow.LeastAge},
		{Conn: nc, Replicas: 1, Age: natsshadow.LeastAge - 1},
	} {
		if _, err := natsshadow.Open(t.Context(), bad); err == nil {
			t.Errorf("%+v: got no error", bad)
		}
	}
}

func record() domain.ShadowRecord {
	return domain.ShadowRecord{
		ID: "evt_1", At: time.Date(2026, 10, 28, 9, 0, 0, 0, time.UTC), Actor: "member:mem_1", Account: "acct_a", Agent: "agent_a",
		Event: domain.ShadowStarted{ShadowID: "shd_1"},
	}
}

func mustStart(t *testing.T, c embedded.Config) *embedded.Server {
	t.Helper()
	s, err := embedded.Start(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Shutdown(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func mustConnect(t *testing.T, s *embedded.Server) *nats.Conn {
	t.Helper()
	nc, err := s.Connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

func mustOpen(t *testing.T, nc *nats.Conn, replicas int) *natsshadow.Log {
	t.Helper()
	l, err := natsshadow.Open(t.Context(), natsshadow.Config{Conn: nc, Replicas: replicas, Age: natsshadow.LeastAge})
	if err != nil {
		t.Fatal(err)
	}
	return l
}
