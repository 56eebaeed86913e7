package natslog_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/infra/clustertest"
	"github.com/behalf-platform/behalf/infra/logtest"
	"github.com/behalf-platform/behalf/infra/natslog"
)

// replicated makes logs on one cluster. It has room for one log at a time, so
// tests that want one wait for each other.
type replicated struct {
	cluster *clustertest.Cluster
	turn    sync.Mutex
}

func (r *replicated) open(t *testing.T) logtest.Log {
	r.turn.Lock()
	t.Cleanup(r.turn.Unlock)
	js, err := jetstream.New(r.cluster.Connect(t))
	if err != nil {
		t.Fatal(err)
	}
	// That one is gone is known when it can't be removed again. Until then the
	// servers may not agree, and not answer.
	for gone := false; !gone; {
		attempt, giveUp := context.WithTimeout(t.Context(), time.Second)
		err := js.DeleteStream(attempt, natslog.StreamNames(1)[0])
		giveUp()
		if gone = errors.Is(err, jetstream.ErrStreamNotFound); !gone && t.Context().Err() != nil {
			t.Fatal(err)
		}
	}
	return r.join(t, nil)
}

func (r *replicated) join(t *testing.T, _ logtest.Log) logtest.Log {
	l := mustOpenReplicated(t, r.cluster.Connect(t))
	// A new stream is not known at once to the servers that don't lead it. It is
	// when an append gets as far as being refused.
	for refused := (writer{"probe", "agent_a"}).record(0); ; {
		_, err := l.Append(t.Context(), math.MaxInt64, refused, "")
		if errors.Is(err, domain.ErrMoved) {
			return l
		}
		if t.Context().Err() != nil {
			t.Fatal(err)
		}
	}
}

// mustOpenReplicated tries until it can: a server may not have removed all of
// the stream that had the name before.
func mustOpenReplicated(t *testing.T, nc *nats.Conn) *natslog.Log {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), 30*time.Second)
	defer stop()
	for {
		l, err := natslog.Open(ctx, natslog.Config{
			Conn: nc, Bulk: nc, Partitions: 1, Replicas: 3, FirstAccount: "acct_first",
		})
		if err == nil {
			return l
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			t.Fatal(err)
		}
	}
}

// TestCluster is about what only a replicated log does. The cluster is one for
// all of it, since it takes its time to start.
func TestCluster(t *testing.T) {
	r := &replicated{cluster: clustertest.Start(t, 3)}
	t.Run("suite", func(t *testing.T) {
		logtest.Maker{Open: r.open, Join: r.join, Restart: r.join}.Run(t)
	})
	t.Run("a batch is abandoned", func(t *testing.T) { abandons(t, r.open(t), r.cluster.Connect(t)) })
	t.Run("a name is asked for", func(t *testing.T) { asksForNames(t, r.open(t), r.cluster.Connect(t)) })
	t.Run("the leader stops", func(t *testing.T) { leaderStops(t, r) })
	t.Run("two processes", func(t *testing.T) { twoProcesses(t, r) })
}

// writer makes the records of one writer to one agent.
type writer struct {
	name  string
	agent domain.AgentID
}

func (w writer) record(i int) domain.Record {
	r := domain.Record{
		ID: domain.EventID(fmt.Sprintf("evt_%s_%d", w.name, i)), At: time.Unix(int64(i), 0).UTC(),
		Actor: domain.BySystem("test"), Account: "acct_a", Agent: w.agent, Event: domain.AgentEnabled{},
	}
	if i%2 == 1 {
		r.Event = domain.DecisionMade{RequestID: domain.RequestID("req_" + string(r.ID)), Outcome: domain.OutcomeDenied}
	}
	return r
}

// pair is a decision that spends, and its charge.
func (w writer) pair(i int) []domain.Record {
	decision, charge := w.record(i), w.record(i)
	request := domain.RequestID("req_" + string(decision.ID))
	decision.Event = domain.DecisionMade{RequestID: request, Outcome: domain.OutcomeAllowed, Spends: true}
	charge.ID, charge.Event = decision.ID+"_charge", domain.BudgetCharged{RequestID: request}
	return []domain.Record{decision, charge}
}

// leaderStops has several writers, and followers of both nodes, go on while the
// leader of the stream stops and comes back.
func leaderStops(t *testing.T, r *replicated) {
	const writers, each = 4, 30
	ctx, stop := context.WithTimeout(t.Context(), 2*time.Minute)
	defer stop()
	nodes := []logtest.Log{r.open(t), r.join(t, nil)}

	var wg sync.WaitGroup
	defer wg.Wait()
	following, unfollow := context.WithCancel(ctx)
	defer unfollow()
	followed := make([][]domain.Recorded, len(nodes))
	for i, l := range nodes {
		wg.Go(func() {
			newest := map[domain.Stream]uint64{}
			err := l.Follow(following, 0, 0, func(r domain.Recorded, err error) error {
				if r.Position.Seq > newest[r.Stream()] { // the rest came again
					newest[r.Stream()] = r.Position.Seq
					followed[i] = append(followed[i], r)
				}
				return err
			})
			if !errors.Is(err, context.Canceled) {
				t.Errorf("follower %d: got %v, want %v", i, err, context.Canceled)
			}
		})
	}

	var acked sync.Map // of event ids to positions
	var count atomic.Int64
	middle := make(chan struct{})
	var writing sync.WaitGroup
	defer writing.Wait()
	for n := range writers {
		w := writer{name: strconv.Itoa(n), agent: domain.AgentID("agent_" + strconv.Itoa(n%2))}
		l := nodes[n/2%len(nodes)]
		writing.Go(func() {
			for i := range each {
				records := []domain.Record{w.record(i)}
				if i%3 == 0 {
					records = w.pair(i)
				}
				receipts, err := logtest.PutAll(ctx, l, records...)
				if err != nil {
					t.Error(err)
					return
				}
				for j, r := range receipts {
					acked.Store(records[j].ID, r.Position)
				}
				if count.Add(1) == writers*each/4 {
					close(middle)
				}
			}
		})
	}
	select {
	case <-middle:
	case <-ctx.Done():
		t.Fatal("the writers are not half way")
	}
	stopped, err := r.cluster.StopLeader(natslog.StreamNames(1)[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := r.cluster.Restart(ctx, stopped); err != nil {
		t.Fatal(err)
	}
	writing.Wait()

	records, err := logtest.All(ctx, nodes[0], 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := logtest.Check(records); err != nil {
		t.Error(err)
	}
	if want := writers * (each + each/3); len(records) != want {
		t.Errorf("got %d records, want %d", len(records), want)
	}
	for i, r := range records {
		if d, is := r.Event.(domain.DecisionMade); is && d.Spends && (i+1 == len(records) || records[i+1].ID != r.ID+"_charge") {
			t.Errorf("%s is there without its charge", r.ID)
		}
		if at, ok := acked.LoadAndDelete(r.ID); !ok || at != r.Position {
			t.Errorf("%s is at %+v, was acknowledged at %+v", r.ID, r.Position, at)
		}
	}
	acked.Range(func(id, at any) bool {
		t.Errorf("%s was acknowledged at %+v and is lost", id, at)
		return true
	})

	for _, l := range nodes {
		mustBeFollowed(ctx, t, l, records[len(records)-1].Position.Seq)
	}
	unfollow()
	wg.Wait()
	events := slices.DeleteFunc(records, func(r domain.Recorded) bool { return !r.Moves() })
	for i, seen := range followed {
		slices.SortFunc(seen, func(a, b domain.Recorded) int { return cmp.Compare(a.Position.Seq, b.Position.Seq) })
		if !slices.EqualFunc(seen, events, func(a, b domain.Recorded) bool { return a.Position == b.Position && a.ID == b.ID }) {
			t.Errorf("follower %d: got %d events, want the %d of the log", i, len(seen), len(events))
		}
	}
}

func mustBeFollowed(ctx context.Context, t *testing.T, l logtest.Log, head uint64) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	var last domain.LogStatus
	var failed error
	for {
		attempt, giveUp := context.WithTimeout(ctx, time.Second)
		s, err := l.Status(attempt, 0)
		giveUp()
		if err == nil && s.Followed && s.Head == head {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("got status %+v, or error %v, want it followed at %d", last, failed, head)
		}
		if err != nil {
			failed = err
		} else {
			last = s
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// envAppendTo tells a process of this test which servers to append to, and
// envAppendAs under which name.
const (
	envAppendTo = "BEHALF_TEST_APPEND_TO"
	envAppendAs = "BEHALF_TEST_APPEND_AS"
	perProcess  = 25
)

// twoProcesses has processes that share nothing but the log write to one agent.
func twoProcesses(t *testing.T, r *replicated) {
	l := r.open(t)
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	names := []string{"one", "two"}
	var wg sync.WaitGroup
	for _, name := range names {
		cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestAppendingProcess$", "-test.count=1")
		cmd.Env = append(os.Environ(), envAppendTo+"="+r.cluster.URL(), envAppendAs+"="+name)
		wg.Go(func() {
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("process %s: %v\n%s", name, err, out)
			}
		})
	}
	wg.Wait()
	records, err := logtest.All(ctx, l, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := logtest.Check(records); err != nil {
		t.Error(err)
	}
	if len(records) != len(names)*perProcess {
		t.Errorf("got %d records, want %d", len(records), len(names)*perProcess)
	}
}

// TestAppendingProcess is what the processes of [twoProcesses] run.
func TestAppendingProcess(t *testing.T) {
	url := os.Getenv(envAppendTo)
	if url == "" {
		t.Skip("only for processes that another test starts")
	}
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	l := mustOpenReplicated(t, nc)
	w := writer{name: os.Getenv(envAppendAs), agent: "agent_a"}
	for i := range perProcess {
		if _, err := logtest.Put(t.Context(), l, w.record(i)); err != nil {
			t.Fatal(err)
		}
	}
}
