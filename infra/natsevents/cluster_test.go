package natsevents

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/behalf-platform/behalf/infra/clustertest"
	"github.com/behalf-platform/behalf/infra/internal/wait"
	"github.com/behalf-platform/behalf/infra/natslog"

	"github.com/behalf-platform/behalf/domain"
)

// Two nodes share a cluster whose leader, of the log or of the public stream,
// stops again and again. Each event is there once, and in order.
func TestALeaderThatStops(t *testing.T) {
	t.Parallel()
	cluster := clustertest.Start(t, 3)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	in := &installation{conn: cluster.Connect(t), bulk: cluster.Connect(t)}
	open := func(node string) *Events {
		t.Helper()
		for {
			e, err := Open(ctx, Config{Conn: cluster.Connect(t), Log: in.log, Node: node, Replicas: 3, Lease: time.Second})
			if err == nil {
				return e
			}
			if wait.For(ctx, 100*time.Millisecond) != nil {
				t.Fatal(err)
			}
		}
	}
	var err error
	for in.log == nil {
		in.log, err = natslog.Open(ctx, natslog.Config{Conn: in.conn, Bulk: in.bulk, Partitions: 1, Replicas: 3, FirstAccount: "acct_first"})
		if err != nil && wait.For(ctx, 100*time.Millisecond) != nil {
			t.Fatal(err)
		}
	}
	in.events = open("reader")
	for i := range 2 {
		run(t, open(fmt.Sprint("node", i)))
	}
	filling, stop := context.WithCancel(ctx)
	var filled sync.WaitGroup
	filled.Go(func() {
		for filling.Err() == nil {
			in.mustPut(t, domain.AccountID("acct_1"))
		}
	})
	for _, stream := range []string{StreamName, natslog.StreamNames(1)[0], StateName, StreamName} {
		state, err := in.events.state(ctx)
		for err != nil {
			state, err = in.events.state(ctx)
		}
		in.mustReach(t, state.LastSeq+20) // it goes on
		node, err := cluster.StopLeader(stream)
		if err == nil {
			err = cluster.Restart(ctx, node)
		}
		if err == nil {
			err = cluster.WaitHealthy(ctx)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	stop()
	filled.Wait()
	in.mustMatch(t)
	t.Logf("the stream has %d events", len(in.mustRead(t)))
}
