package natslog_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/infra/embedded"
	"github.com/behalf-platform/behalf/infra/logtest"
	"github.com/behalf-platform/behalf/infra/natslog"
)

// spent is a decision of an agent that spends, and what it charges to the
// budget of the account.
func spent(by domain.AgentID, i int) []domain.Record {
	decision, charge := enabled(2*i), enabled(2*i+1)
	decision.Agent, charge.Agent = by, by
	decision.Event = domain.DecisionMade{RequestID: domain.RequestID(fmt.Sprintf("req_%d", i)), Outcome: domain.OutcomeAllowed, Spends: true}
	charge.Event = domain.BudgetCharged{RequestID: domain.RequestID(fmt.Sprintf("req_%d", i)), Amount: "1.00", Currency: "USD"}
	return []domain.Record{decision, charge}
}

// onNothing has records stand on empty streams.
func onNothing(records []domain.Record) []domain.Guarded {
	all := make([]domain.Guarded, len(records))
	for i, r := range records {
		all[i].Record = r
	}
	return all
}

func TestWhatIsStoredOfABatch(t *testing.T) {
	t.Parallel()
	l := mustRun(t, node{config: embedded.Config{Dir: t.TempDir()}, partitions: 1})
	if _, err := l.AppendAll(t.Context(), onNothing(spent(agent.Agent, 1)), "name"); err != nil {
		t.Fatal(err)
	}
	stream, err := mustJetStream(t, l.conn).Stream(t.Context(), "BEHALF")
	if err != nil {
		t.Fatal(err)
	}
	for seq, want := range map[uint64]string{
		1: `behalf.0.agent.acct_a.agent_a map[Behalf-Id:[req_1] Behalf-Kind:[decision.made.v1] Nats-Batch-Sequence:[1] ` +
			`Nats-Expected-Last-Subject-Sequence:[0] Nats-Expected-Last-Subject-Sequence-Subject:[behalf.0.agent.acct_a.agent_a] Nats-Msg-Id:[name]]`,
		2: `behalf.0.budget.acct_a map[Behalf-Id:[evt_3] Behalf-Kind:[budget.charged.v1] Nats-Batch-Commit:[1] Nats-Batch-Sequence:[2] ` +
			`Nats-Expected-Last-Subject-Sequence:[0] Nats-Expected-Last-Subject-Sequence-Subject:[behalf.0.budget.acct_a]]`,
	} {
		m, err := stream.GetMsg(t.Context(), seq)
		if err != nil {
			t.Fatal(err)
		}
		if id := m.Header.Get("Nats-Batch-Id"); id == "" || len(id) > 64 {
			t.Errorf("message %d: got batch %q", seq, id)
		}
		for _, added := range []string{"Nats-Batch-Id", jetstream.StreamHeader, jetstream.SequenceHeader, jetstream.TimeStampHeaer, jetstream.SubjectHeader} {
			m.Header.Del(added)
		}
		if got := fmt.Sprint(m.Subject, " ", m.Header); got != want {
			t.Errorf("message %d: got %s, want %s", seq, got, want)
		}
	}
}

func TestABatchWaitsForTheBarrier(t *testing.T) {
	t.Parallel()
	s := mustServe(t)
	var result error
	calls := 0
	c := s.config(1)
	c.Barrier = func(context.Context) error { calls++; return result }
	l := mustOpenConfig(t, c)
	calls, result = 0, errors.New("the disk is gone")
	for range 2 {
		if receipts, err := l.AppendAll(t.Context(), onNothing(spent(agent.Agent, 1)), "name"); !errors.Is(err, result) || receipts != nil {
			t.Errorf("got %+v and error %v, want %v", receipts, err, result)
		}
	}
	result = nil
	if receipts, err := l.AppendAll(t.Context(), onNothing(spent(agent.Agent, 1)), "name"); err != nil || len(receipts) != 1 || !receipts[0].Duplicate {
		t.Errorf("got %+v and error %v, want one duplicate", receipts, err)
	}
	if calls != 3 {
		t.Errorf("got %d calls, want 3", calls)
	}
	calls = 0
	if _, err := l.AppendAll(t.Context(), onNothing(spent(agent.Agent, 2)), ""); !errors.Is(err, domain.ErrMoved) || calls != 0 {
		t.Errorf("got %v after %d calls, want %v after none", err, calls, domain.ErrMoved)
	}
	if records, err := logtest.All(t.Context(), l, 0); err != nil || len(records) != 2 {
		t.Errorf("got %d records and error %v, want 2", len(records), err)
	}
}

// mustStage sends the first of two messages of a batch and waits until the
// server has it.
func mustStage(t *testing.T, nc *nats.Conn, batch string, r domain.Record) {
	t.Helper()
	raw, err := r.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	subject := fmt.Sprintf("behalf.0.agent.%s.%s", r.Account, r.Agent)
	reply, err := nc.RequestMsgWithContext(soon(t), &nats.Msg{Subject: subject, Data: raw, Header: nats.Header{
		"Nats-Batch-Id": {batch}, "Nats-Batch-Sequence": {"1"},
		jetstream.ExpectedLastSubjSeqHeader: {"0"}, jetstream.ExpectedLastSubjSeqSubjHeader: {subject},
	}})
	if err != nil || len(reply.Data) > 0 {
		t.Fatalf("stage: got %q and error %v, want an empty answer", reply.Data, err)
	}
}

func mustBeRefused(t *testing.T, answer []byte, code jetstream.ErrorCode) {
	t.Helper()
	var a struct {
		Error jetstream.APIError `json:"error"`
	}
	if err := json.Unmarshal(answer, &a); err != nil || a.Error.ErrorCode != code {
		t.Fatalf("got %s, want the error %d", answer, code)
	}
}

// abandons leaves batches open, as a writer does whose connection is lost.
func abandons(t *testing.T, l logtest.Log, nc *nats.Conn) {
	mustStage(t, nc, "left", spent(agent.Agent, 1)[0])
	head := func() uint64 {
		s, err := l.Status(soon(t), 0)
		if err != nil {
			t.Fatal(err)
		}
		return s.Head
	}
	if got := head(); got != 0 {
		t.Errorf("got head %d, want nothing stored", got)
	}
	// It stands in nobody's way.
	records := spent(agent.Agent, 2)
	if _, err := logtest.PutAll(soon(t), l, records...); err != nil {
		t.Error(err)
	}
	// One more message than the server has of a batch is refused, and ends it.
	raw, err := records[1].Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	mustStage(t, nc, "gap", spent("agent_b", 3)[0])
	for _, batch := range []string{"gap", "unknown"} {
		reply, err := nc.RequestMsgWithContext(soon(t), &nats.Msg{Subject: "behalf.0.budget.acct_a", Data: raw, Header: nats.Header{
			"Nats-Batch-Id": {batch}, "Nats-Batch-Sequence": {"3"}, "Nats-Batch-Commit": {"1"},
		}})
		if err != nil {
			t.Fatal(err)
		}
		mustBeRefused(t, reply.Data, 10176)
	}
	if got := head(); got != 2 {
		t.Errorf("got head %d, want 2", got)
	}
}

func TestABatchThatIsAbandonedLeavesNothing(t *testing.T) {
	t.Parallel()
	n := node{config: embedded.Config{Dir: t.TempDir()}, partitions: 1}
	l := mustRun(t, n)
	abandons(t, l, l.conn)
	mustStage(t, l.conn, "stopped", spent("agent_c", 4)[0])
	l.mustStop(t)
	l = mustRun(t, n)
	if records, err := logtest.All(t.Context(), l, 0); err != nil || len(records) != 2 {
		t.Errorf("got %d records and error %v after the restart, want 2", len(records), err)
	}
}

// The server has room for so many batches of a stream. One more is not written,
// and that is all that it is told as.
func TestOneBatchTooManyIsNotWritten(t *testing.T) {
	t.Parallel()
	l := mustRun(t, node{config: embedded.Config{Dir: t.TempDir(), Durability: embedded.OS}, partitions: 1})
	for i := range 50 {
		mustStage(t, l.conn, strconv.Itoa(i), spent("agent_b", i)[0])
	}
	if receipts, err := l.AppendAll(t.Context(), onNothing(spent(agent.Agent, 1)), "name"); !errors.Is(err, domain.ErrMoved) || receipts != nil {
		t.Errorf("got %+v and error %v, want %v", receipts, err, domain.ErrMoved)
	}
	mustAppend(t, l, 0, enabled(1), "name") // what is no batch goes on, and the name is free
}

// asksForNames is about how a name is looked up: by a message that the server
// answers if it remembers the name, and refuses if it doesn't.
func asksForNames(t *testing.T, l logtest.Log, nc *nats.Conn) {
	first, err := logtest.PutAll(soon(t), l, spent(agent.Agent, 1)...)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(name string) []byte {
		reply, err := nc.RequestMsgWithContext(soon(t), &nats.Msg{Subject: "behalf.0.agent.acct_a.agent_a", Header: nats.Header{
			jetstream.MsgIDHeader: {name}, jetstream.MsgRollup: {jetstream.MsgRollupSubject},
		}})
		if err != nil {
			t.Fatal(err)
		}
		return reply.Data
	}
	mustBeRefused(t, ask("unknown"), 10111)
	if got, want := string(ask("evt_2")), fmt.Sprintf(`{"stream":"BEHALF","seq":%d,"duplicate": true}`, first[0].Position.Seq); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	mustBeRefused(t, ask("unknown"), 10111)
	if records, err := logtest.All(soon(t), l, 0); err != nil || len(records) != 2 {
		t.Errorf("got %d records and error %v, want 2", len(records), err)
	}
}

func TestAskingForANameStoresNothing(t *testing.T) {
	t.Parallel()
	l := mustRun(t, node{config: embedded.Config{Dir: t.TempDir(), Durability: embedded.OS}, partitions: 1})
	asksForNames(t, l, l.conn)
}

func TestALogThatIsReadOnlyTakesNoBatch(t *testing.T) {
	t.Parallel()
	s := mustServe(t)
	mustOpenConfig(t, s.config(1))
	l := mustOpenConfig(t, natslog.Config{Conn: s.conn, Bulk: s.bulk, ReadOnly: true})
	if _, err := l.AppendAll(t.Context(), onNothing(spent(agent.Agent, 1)), ""); err == nil || errors.Is(err, domain.ErrMoved) {
		t.Errorf("got %v, want an error", err)
	}
}
