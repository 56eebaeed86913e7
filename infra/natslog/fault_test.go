package natslog_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/infra/embedded"
	"github.com/behalf-platform/behalf/infra/logtest"
	"github.com/behalf-platform/behalf/infra/natslog"
)

var agent = domain.Stream{Account: "acct_a", Agent: "agent_a"}

// enabled is an event of the agent.
func enabled(i int) domain.Record {
	return domain.Record{
		ID: domain.EventID(fmt.Sprintf("evt_%d", i)), At: time.Unix(int64(i), 0).UTC(), Actor: "system:test",
		Account: agent.Account, Agent: agent.Agent, Cause: fmt.Sprintf("cause_%d", i), Event: domain.AgentEnabled{},
	}
}

func mustAppend(t testing.TB, l logtest.Log, last uint64, r domain.Record, name string) domain.Receipt {
	t.Helper()
	receipt, err := l.Append(t.Context(), last, r, name)
	if err != nil {
		t.Fatal(err)
	}
	return receipt
}

func TestWhatIsStoredOfARecord(t *testing.T) {
	t.Parallel()
	l := mustRun(t, node{config: embedded.Config{Dir: t.TempDir()}, partitions: 1})
	first := mustAppend(t, l, 0, enabled(1), "name")
	mustAppend(t, l, first.Position.Seq, decided(agent.Agent), "")
	stream, err := mustJetStream(t, l.conn).Stream(t.Context(), "BEHALF")
	if err != nil {
		t.Fatal(err)
	}
	for seq, want := range map[uint64]string{
		1: `behalf.0.agent.acct_a.agent_a map[Behalf-Id:[evt_1] Behalf-Kind:[agent.enabled.v1] ` +
			`Nats-Expected-Last-Subject-Sequence:[0] Nats-Expected-Last-Subject-Sequence-Subject:[behalf.0.agent.acct_a.agent_a] Nats-Msg-Id:[name]]`,
		2: `behalf.0.decision.acct_a.agent_a map[Behalf-Id:[req_01HZY3V2Q2Q2Q2Q2Q2Q2Q2Q2Q2] Behalf-Kind:[decision.made.v1] ` +
			`Nats-Expected-Last-Subject-Sequence:[1] Nats-Expected-Last-Subject-Sequence-Subject:[behalf.0.agent.acct_a.agent_a]]`,
	} {
		m, err := stream.GetMsg(t.Context(), seq)
		if err != nil {
			t.Fatal(err)
		}
		for _, added := range []string{jetstream.StreamHeader, jetstream.SequenceHeader, jetstream.TimeStampHeaer, jetstream.SubjectHeader} {
			m.Header.Del(added)
		}
		if got := fmt.Sprint(m.Subject, " ", m.Header); got != want {
			t.Errorf("message %d: got %s, want %s", seq, got, want)
		}
	}
}

// An append whose barrier fails is stored, but not known to be. Its repeat is a
// duplicate, and waits for the barrier too.
func TestAnAppendWaitsForTheBarrier(t *testing.T) {
	t.Parallel()
	s := mustServe(t)
	var result error
	calls := 0
	c := s.config(1)
	c.Barrier = func(context.Context) error { calls++; return result }
	l := mustOpenConfig(t, c)
	if calls != 1 {
		t.Errorf("got %d calls for a new log, want 1", calls)
	}
	for _, record := range []domain.Record{decided(agent.Agent), enabled(1)} {
		calls, result = 0, errors.New("the disk is gone")
		for range 2 {
			if _, err := l.Append(t.Context(), 0, record, string(record.ID)); !errors.Is(err, result) {
				t.Errorf("got %v, want %v", err, result)
			}
		}
		result = nil
		if receipt := mustAppend(t, l, 0, record, string(record.ID)); !receipt.Duplicate {
			t.Errorf("got %+v, want a duplicate", receipt)
		}
		if calls != 3 {
			t.Errorf("got %d calls, want 3", calls)
		}
	}
	calls = 0
	if _, err := l.Append(t.Context(), 0, enabled(2), ""); !errors.Is(err, domain.ErrMoved) || calls != 0 {
		t.Errorf("got %v after %d calls, want %v after none", err, calls, domain.ErrMoved)
	}
	if records, err := logtest.All(t.Context(), l, 0); err != nil || len(records) != 2 {
		t.Errorf("got %d records and error %v, want 2", len(records), err)
	}
}

// What was on its way is lost with the connection, and its caller's limit ends
// the wait. Whoever comes later is told at once.
func TestAServerThatIsGoneIsAnError(t *testing.T) {
	t.Parallel()
	l := mustRun(t, node{config: embedded.Config{Dir: t.TempDir(), Durability: embedded.OS, Listen: "127.0.0.1:0"}, partitions: 1})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			r := decided(domain.AgentID(fmt.Sprintf("agent_%d", i)))
			for err := error(nil); err == nil; {
				ctx, stop := context.WithTimeout(t.Context(), time.Second)
				_, err = l.Append(ctx, 0, r, "")
				stop()
			}
		})
	}
	if err := l.server.Shutdown(); err != nil {
		t.Fatal(err)
	}
	l.server = nil
	wg.Wait()

	begun := time.Now()
	_, appendErr := l.Append(t.Context(), 0, decided(agent.Agent), "")
	_, batchErr := l.AppendAll(t.Context(), onNothing(spent(agent.Agent, 1)), "")
	_, loadErr := l.Load(t.Context(), agent, 0)
	_, readErr := l.Read(t.Context(), domain.Position{Epoch: l.Epoch(0), Seq: 1})
	_, statusErr := l.Status(t.Context(), 0)
	_, seqErr := l.SeqAt(t.Context(), 0, time.Now())
	scanErr := l.Scan(t.Context(), domain.Scan{}, func(domain.Recorded, error) error { return nil })
	for name, err := range map[string]error{
		"append": appendErr, "append all": batchErr, "load": loadErr, "read": readErr, "status": statusErr, "seq at": seqErr, "scan": scanErr,
	} {
		if !errors.Is(err, nats.ErrDisconnected) {
			t.Errorf("%s: got %v, want %v", name, err, nats.ErrDisconnected)
		}
	}
	if took := time.Since(begun); took > time.Second {
		t.Errorf("it took %s", took)
	}
}

// mustFollow follows from the beginning until the test ends. What it sees comes
// through a channel.
func mustFollow(t *testing.T, l logtest.Log) <-chan domain.Recorded {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	seen, done := make(chan domain.Recorded), make(chan error)
	go func() {
		done <- l.Follow(ctx, 0, 0, func(r domain.Recorded, err error) error {
			if err != nil {
				return err
			}
			select {
			case seen <- r:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	t.Cleanup(func() {
		stop()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("follow: got %v, want %v", err, context.Canceled)
		}
	})
	return seen
}

// mustSee takes the next event that was not seen before.
func mustSee(t *testing.T, from <-chan domain.Recorded, want domain.Receipt) {
	t.Helper()
	limit := time.After(20 * time.Second)
	for {
		select {
		case r := <-from:
			if r.Position.Seq < want.Position.Seq {
				continue
			}
			if r.Position != want.Position {
				t.Fatalf("got %+v, want %+v", r.Position, want.Position)
			}
			return
		case <-limit:
			t.Fatalf("event %d does not come", want.Position.Seq)
		}
	}
}

func TestAFollowerOutlivesItsConsumer(t *testing.T) {
	t.Parallel()
	l := mustRun(t, node{config: embedded.Config{Dir: t.TempDir(), Durability: embedded.OS}, partitions: 1})
	js := mustJetStream(t, l.conn)
	seen := mustFollow(t, l)
	var last uint64
	for i := range 3 {
		receipt := mustAppend(t, l, last, enabled(i), "")
		mustSee(t, seen, receipt)
		last = receipt.Position.Seq
		stream, err := js.Stream(t.Context(), "BEHALF")
		if err != nil {
			t.Fatal(err)
		}
		for name := range stream.ConsumerNames(t.Context()).Name() {
			if err := js.DeleteConsumer(t.Context(), "BEHALF", name); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// The server comes back at the same address, with an event more than the
// follower has seen. Nothing follows it that would show the gap.
func TestAFollowerOutlivesItsServer(t *testing.T) {
	t.Parallel()
	config := embedded.Config{
		Dir: t.TempDir(), Durability: embedded.OS, Listen: "127.0.0.1:0",
		Authenticate: func(string, string) (embedded.Access, bool) {
			return embedded.Access{Publish: []string{">"}, Subscribe: []string{">"}}, true
		},
	}
	s, err := embedded.Start(config)
	if err != nil {
		t.Fatal(err)
	}
	config.Listen = s.Addr().String()
	nc, err := nats.Connect(config.Listen, nats.MaxReconnects(-1), nats.ReconnectWait(5*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	l := mustOpenConfig(t, natslog.Config{Conn: nc, Bulk: nc, Partitions: 1, Replicas: 1, FirstAccount: "acct_first"})
	seen := mustFollow(t, l)
	last := mustAppend(t, l, 0, enabled(0), "")
	mustSee(t, seen, last)
	for i := 1; i <= 2; i++ {
		if err := s.Shutdown(); err != nil {
			t.Fatal(err)
		}
		quiet := config
		quiet.Listen = ""
		last = mustAppendAlone(t, quiet, last.Position.Seq, enabled(i))
		if s, err = embedded.Start(config); err != nil {
			t.Fatal(err)
		}
		mustSee(t, seen, last)
		ctx := soon(t)
		for status := (domain.LogStatus{}); !status.Followed || status.Head != last.Position.Seq; {
			if status, err = l.Status(ctx, 0); ctx.Err() != nil {
				t.Fatalf("got %+v and error %v, want it followed", status, err)
			}
		}
	}
	t.Cleanup(func() {
		if err := s.Shutdown(); err != nil {
			t.Error(err)
		}
	})
}

// mustAppendAlone appends on a server that nobody else can reach.
func mustAppendAlone(t *testing.T, c embedded.Config, last uint64, r domain.Record) domain.Receipt {
	t.Helper()
	l := mustRun(t, node{config: c, partitions: 1})
	defer l.mustStop(t)
	return mustAppend(t, l, last, r, "")
}

// A follower that is far behind reads in another way until it has caught up.
func TestAFollowerCatchesUp(t *testing.T) {
	t.Parallel()
	l := mustRun(t, node{config: embedded.Config{Dir: t.TempDir(), Durability: embedded.OS, Listen: "127.0.0.1:0"}, partitions: 1})
	js := mustJetStream(t, l.conn)
	for _, c := range []struct {
		account           domain.AccountID
		decisions, rounds int
	}{{"acct_dense", 1, 2500}, {"acct_sparse", 40, 120}} {
		var last uint64
		var events []uint64
		for range c.rounds {
			r := decided(agent.Agent)
			r.Account, r.Event = c.account, domain.AgentEnabled{}
			last = mustAppend(t, l, last, r, "").Position.Seq
			events = append(events, last)
			d := decided(agent.Agent)
			d.Account = c.account
			raw, err := d.Append(nil)
			if err != nil {
				t.Fatal(err)
			}
			for range c.decisions {
				if _, err := js.PublishAsync(fmt.Sprintf("behalf.0.decision.%s.%s", c.account, agent.Agent), raw); err != nil {
					t.Fatal(err)
				}
			}
			<-js.PublishAsyncComplete()
		}
		i := 0
		err := l.Follow(soon(t), 0, events[0]-1, func(r domain.Recorded, err error) error {
			if err != nil {
				return err
			}
			if r.Position.Seq != events[i] {
				return fmt.Errorf("got %d, want %d", r.Position.Seq, events[i])
			}
			if i++; i == len(events) {
				return errSeenAll
			}
			return nil
		})
		if !errors.Is(err, errSeenAll) {
			t.Errorf("%s: %v", c.account, err)
		}
	}
}

// The server leaves out what it can't read and says nothing. A stream that lacks
// an event must not be taken for a whole one.
func TestAnEventThatIsDamagedIsMissed(t *testing.T) {
	t.Parallel()
	n := node{config: embedded.Config{Dir: t.TempDir(), Durability: embedded.OS}, partitions: 1}
	l := mustRun(t, n)
	var last uint64
	for i := range 3 {
		last = mustAppend(t, l, last, enabled(i), "").Position.Seq
	}
	l.mustStop(t)
	msgs := filepath.Join(n.config.Dir, "jetstream", "$G", "streams", "BEHALF", "msgs")
	block := filepath.Join(msgs, "1.blk")
	raw, err := os.ReadFile(block)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(block, bytes.Replace(raw, []byte("cause_1"), []byte("cause_?"), 1), 0o600); err != nil {
		t.Fatal(err)
	}

	l = mustRun(t, n)
	loaded, err := l.Load(t.Context(), agent, 0)
	if err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("got %d events and error %v, want an error that says the log is damaged", len(loaded), err)
	}
}
