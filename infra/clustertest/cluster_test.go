package clustertest_test

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/behalf-platform/behalf/infra/clustertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestCluster(t *testing.T) {
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	c := clustertest.Start(t, 3)
	js, err := jetstream.New(c.Connect(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}, Replicas: 3}); err != nil {
		t.Fatal(err)
	}
	mustPublish(ctx, t, js)

	stopped, err := c.StopLeader("S")
	if err != nil {
		t.Fatal(err)
	}
	mustPublish(ctx, t, js)
	if err := c.Restart(ctx, stopped); err != nil {
		t.Fatal(err)
	}
	mustPublish(ctx, t, js)
	s, err := js.Stream(ctx, "S")
	if err != nil {
		t.Fatal(err)
	}
	if n := s.CachedInfo().State.Msgs; n != 3 {
		t.Errorf("got %d messages, want 3", n)
	}
	if err := c.Restart(ctx, stopped); err == nil {
		t.Error("restart a server that runs: got no error")
	}
}

// mustPublish goes on until there is a leader who takes it. What is sent while
// there is none may never be answered. The id makes sure that only one is kept.
func mustPublish(ctx context.Context, t *testing.T, js jetstream.JetStream) {
	t.Helper()
	id := jetstream.WithMsgID(time.Now().String())
	for {
		attempt, giveUp := context.WithTimeout(ctx, time.Second)
		_, err := js.Publish(attempt, "s", nil, id)
		giveUp()
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("publish: %v", err)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	for _, n := range []int{-1, 0, 1, 2, 4} {
		if c, err := clustertest.New(t.Context(), t.TempDir(), n); err == nil {
			c.Close()
			t.Errorf("%d servers: got no error", n)
		}
	}
}
