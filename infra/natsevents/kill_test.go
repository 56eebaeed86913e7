package natsevents

import (
	"context"
	"math/rand/v2"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/infra/internal/wait"
	"github.com/behalf-platform/behalf/infra/natslog"
)

// envPublishAt tells a process of this test which server to publish on until it
// is killed.
const envPublishAt = "BEHALF_TEST_PUBLISH_AT"

// Whoever publishes is killed 25 times, at any moment, while the log grows. Each
// event is in the stream once, and in order.
func TestPublishersAreKilled(t *testing.T) {
	t.Parallel()
	in := mustInstall(t, 2, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	filling, stop := context.WithCancel(ctx)
	var filled sync.WaitGroup
	filled.Go(func() {
		for filling.Err() == nil {
			in.mustPut(t, "acct_1", "acct_2", "acct_3")
		}
	})
	random := rand.New(rand.NewPCG(1, 2))
	led := 0
	for range 25 {
		before, err := in.events.state(ctx)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestProcessThatPublishes$", "-test.count=1")
		cmd.Env = append(os.Environ(), envPublishAt+"="+in.server.Addr().String())
		cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		in.mustReach(t, before.LastSeq+1) // it publishes
		_ = wait.For(ctx, time.Duration(random.IntN(100))*time.Millisecond)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err == nil {
			t.Fatal("the process ended before it was killed")
		}
		led++
	}
	stop()
	filled.Wait()
	run(t, in.events)
	in.mustMatch(t)
	t.Logf("%d publishers were killed; the stream has %d events", led, len(in.mustRead(t)))
}

// TestProcessThatPublishes publishes for ever.
func TestProcessThatPublishes(t *testing.T) {
	url := os.Getenv(envPublishAt)
	if url == "" {
		t.Skip("only for processes that another test starts")
	}
	connect := func() (*nats.Conn, error) { return nats.Connect(url, nats.UserInfo("node", "node")) }
	conn, bulk := mustConnect(t, connect), mustConnect(t, connect)
	log, err := natslog.Open(t.Context(), natslog.Config{Conn: conn, Bulk: bulk, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	e, err := Open(t.Context(), Config{
		Conn: bulk, Log: log, Node: string(domain.EventPrefix) + time.Now().String(), Replicas: 1, Lease: 300 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Error(e.Run(t.Context()))
}
