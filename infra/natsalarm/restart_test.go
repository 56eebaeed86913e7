package natsalarm_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/infra/clustertest"
	"github.com/behalf-platform/behalf/infra/embedded"
	"github.com/behalf-platform/behalf/infra/natsalarm"
)

// nodeRights are those the package comment asks for.
var nodeRights = embedded.Access{
	Name: "node",
	Publish: []string{
		"behalf.alarm.set.>",
		"$JS.API.STREAM.INFO.BEHALF_ALARMS",
		"$JS.API.STREAM.CREATE.BEHALF_ALARMS",
		"$JS.API.CONSUMER.CREATE.BEHALF_ALARMS.>",
		"$JS.API.CONSUMER.MSG.NEXT.BEHALF_ALARMS.bell",
		"$JS.ACK.BEHALF_ALARMS.bell.>",
	},
	Subscribe: []string{"_INBOX.>"},
}

// TestRestart has a node with no more rights than it needs, and a server that
// restarts: before an alarm is due, while it is due, and while it rings.
func TestRestart(t *testing.T) {
	t.Parallel()
	c := embedded.Config{
		Dir: t.TempDir(), Durability: embedded.OS, Listen: "127.0.0.1:0",
		Authenticate: func(string, string) (embedded.Access, bool) { return nodeRights, true },
	}
	s, err := embedded.Start(c)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { mustShutdown(t, s) }()
	c.Listen = s.Addr().String()
	var refused atomic.Value
	nc, err := nats.Connect("nats://"+c.Listen, nats.UserInfo("node", "secret"),
		nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond), nats.ReconnectBufSize(-1),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refused.Store(err) }))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	a := mustOpen(t, nc)

	rings := make(chan struct{}, 10)
	cut := atomic.Bool{}
	b := mustRunWith(t, a, func(ctx context.Context, got domain.Alarm) error {
		if got.ApprovalID != "apr_2" || cut.Swap(true) {
			return nil
		}
		rings <- struct{}{}
		<-time.After(500 * time.Millisecond) // the connection breaks meanwhile
		return errors.New("not now")
	})
	defer b.mustStop(t)
	wants := []domain.Alarm{
		alarm(0, time.Now().Add(3*time.Second)),
		alarm(1, time.Now().Add(400*time.Millisecond)),
		alarm(2, time.Now()),
	}
	for _, want := range wants {
		mustSet(t, a, want)
	}
	b.mustRing(t, wants[2])
	<-rings
	mustShutdown(t, s)
	if err := a.Set(t.Context(), wants[0]); err == nil {
		t.Error("set without a server: got no error")
	}
	<-time.After(time.Until(wants[1].At) + 100*time.Millisecond)
	if s, err = embedded.Start(c); err != nil {
		t.Fatal(err)
	}

	rang := map[domain.Alarm]bool{}
	for len(rang) < len(wants) {
		select {
		case got := <-b.rang:
			rang[got] = true
		case <-time.After(patience):
			t.Fatalf("got %v, want %v", rang, wants)
		}
	}
	for _, want := range wants {
		if !rang[want] {
			t.Errorf("%+v did not ring", want)
		}
	}
	mustBeEmpty(t, s)
	if err := refused.Load(); err != nil {
		t.Errorf("got %v, want no right to be missing", err)
	}
}

// TestCluster is about alarms on replicated streams: the server that leads the
// stream stops, and with it the one that leads their consumer.
func TestCluster(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	c := clustertest.Start(t, 3)
	nodes := make([]*natsalarm.Alarms, 2)
	opened := make(chan error)
	for i := range nodes {
		nc := c.Connect(t)
		go func() {
			var err error
			nodes[i], err = natsalarm.Open(ctx, natsalarm.Config{Conn: nc, Replicas: 3})
			opened <- err
		}()
	}
	for range nodes {
		if err := <-opened; err != nil {
			t.Fatal(err)
		}
	}
	// Each alarm is followed by the next one of its approval, as in real life.
	const approvals, each = 10, 4
	rang := make(chan domain.Alarm, 1000)
	begun := make(chan struct{}, 1)
	end := time.Now().Add(4 * time.Second)
	at := func(n int) time.Time { return end.Add(time.Duration(n-each) * time.Second) }
	for i, a := range nodes {
		b := mustRunWith(t, a, func(ctx context.Context, got domain.Alarm) error {
			select {
			case begun <- struct{}{}:
			default:
			}
			for n := 1; n < each; n++ {
				if got.At.Equal(at(n)) {
					got.At = at(n + 1).UTC()
					return nodes[1-i].Set(ctx, got)
				}
			}
			rang <- got
			return nil
		})
		defer b.mustStop(t)
	}
	for i := range approvals {
		want := alarm(i, at(1))
		eventually(t, func() error { return nodes[0].Set(ctx, want) })
	}
	select {
	case <-begun: // a server that stops while a consumer is made on it leaves goroutines behind
	case <-ctx.Done():
		t.Fatal("nothing rings")
	}
	if _, err := c.StopLeader(natsalarm.StreamName); err != nil {
		t.Fatal(err)
	}
	last := map[domain.ApprovalID]bool{}
	for len(last) < approvals {
		select {
		case got := <-rang:
			last[got.ApprovalID] = true
		case <-ctx.Done():
			t.Fatalf("got the last alarm of %d approvals, want %d", len(last), approvals)
		}
	}
	js := mustJetStream(t, c.Connect(t))
	eventually(t, func() error {
		attempt, giveUp := context.WithTimeout(ctx, 3*time.Second)
		defer giveUp()
		s, err := js.Stream(attempt, natsalarm.StreamName)
		if err == nil && s.CachedInfo().State.Msgs > 0 {
			err = errors.New("the stream is not empty")
		}
		return err
	})
}
