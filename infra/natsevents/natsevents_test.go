package natsevents

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/infra/embedded"
	"github.com/behalf-platform/behalf/infra/internal/wait"
	"github.com/behalf-platform/behalf/infra/logtest"
	"github.com/behalf-platform/behalf/infra/natslog"
	"github.com/behalf-platform/behalf/projections"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// installation is a server with a log and the public events of it.
type installation struct {
	server     *embedded.Server
	conn, bulk *nats.Conn
	log        *natslog.Log
	events     *Events
	ids        int
}

// mustInstall starts a server in this process. It ends with the test.
func mustInstall(t testing.TB, partitions int, change func(*Config)) *installation {
	t.Helper()
	in := &installation{}
	var err error
	all := embedded.Access{Name: "node", Publish: []string{">"}, Subscribe: []string{">"}}
	in.server, err = embedded.Start(embedded.Config{
		Dir: t.TempDir(), Durability: embedded.OS, Listen: "127.0.0.1:0",
		Authenticate: func(_, password string) (embedded.Access, bool) { return all, password == "node" },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := in.server.Shutdown(); err != nil {
			t.Error(err)
		}
	})
	in.conn, in.bulk = mustConnect(t, in.server.Connect), mustConnect(t, in.server.Bulk)
	first := domain.AccountID("acct_a")
	for i := 0; domain.PartitionOf(first, partitions) != 0; i++ {
		first = domain.AccountID(fmt.Sprintf("acct_a%d", i))
	}
	in.log, err = natslog.Open(t.Context(), natslog.Config{Conn: in.conn, Bulk: in.bulk, Partitions: partitions, Replicas: 1, FirstAccount: first})
	if err != nil {
		t.Fatal(err)
	}
	in.events = in.mustOpen(t, "one", change)
	return in
}

func mustConnect(t testing.TB, connect func() (*nats.Conn, error)) *nats.Conn {
	t.Helper()
	nc, err := connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

func (in *installation) mustOpen(t testing.TB, node string, change func(*Config)) *Events {
	t.Helper()
	c := Config{Conn: mustConnect(t, in.server.Bulk), Log: in.log, Node: node, Replicas: 1, Lease: 300 * time.Millisecond}
	if change != nil {
		change(&c)
	}
	e, err := Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// run publishes until stop is called, which waits, or the test ends.
func run(t testing.TB, e *Events) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = e.Run(ctx) })
	stop = sync.OnceFunc(func() { cancel(); running.Wait() })
	t.Cleanup(stop)
	return stop
}

// mustPut appends a mix of records that make no event, one, and several.
func (in *installation) mustPut(t testing.TB, accounts ...domain.AccountID) {
	t.Helper()
	for _, a := range accounts {
		for _, agent := range []domain.AgentID{"agent_a", "agent_b"} {
			for _, e := range []domain.Event{
				decision(domain.OutcomeAllowed, domain.Allowed), decision(domain.OutcomeDenied, domain.BudgetExceeded),
				domain.PermissionRevoked{PermissionID: "perm_1", Cancels: []domain.ApprovalID{"apr_1", "apr_2"}},
			} {
				in.mustAppend(t, domain.Record{Account: a, Agent: agent, Actor: domain.ByAgent(agent), Event: e})
			}
		}
		in.mustAppend(t, domain.Record{Account: a, Actor: "member:mem_1", Event: domain.BudgetCharged{RequestID: "req_1"}})
	}
}

func decision(o domain.Outcome, code domain.ReasonCode) domain.DecisionMade {
	return domain.DecisionMade{
		RequestID: "req_1", Request: domain.Request{Action: "purchase", Amount: "7.00", Currency: "USD"}, Outcome: o, ReasonCode: code,
		Reason: "why", Risk: domain.RiskLow, PermissionID: "perm_1", Checks: []domain.Check{{Rule: domain.RuleAgent, Passed: true}},
	}
}

func (in *installation) mustAppend(t testing.TB, r domain.Record) domain.Recorded {
	t.Helper()
	in.ids++
	r.ID, r.At = domain.EventID(fmt.Sprintf("evt_%06d", in.ids)), time.Unix(int64(in.ids), 0).UTC()
	receipts, err := logtest.PutAll(t.Context(), in.log, r)
	if err != nil {
		t.Fatal(err)
	}
	return domain.Recorded{Record: r, Position: receipts[0].Position}
}

// published is one message of the public stream.
type published struct {
	subject, id, cursor string
	data                []byte
}

// mustRead reads the public stream as it is.
func (in *installation) mustRead(t testing.TB) []published {
	t.Helper()
	state, err := in.events.state(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var all []published
	if state.Msgs == 0 {
		return nil
	}
	err = in.events.each(t.Context(), jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverAllPolicy}, state.LastSeq, func(m jetstream.Msg, _ *jetstream.MsgMetadata) error {
		h := m.Headers()
		all = append(all, published{m.Subject(), h.Get(nats.MsgIdHdr), h.Get(headerCursor), bytes.Clone(m.Data())})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// mustMap is what the log says that the public stream has to hold, by partition.
func (in *installation) mustMap(t testing.TB) [][]published {
	t.Helper()
	all := make([][]published, in.log.Partitions())
	for p := range all {
		err := in.log.Scan(t.Context(), domain.Scan{Partition: uint16(p)}, func(r domain.Recorded, err error) error {
			if err != nil {
				return err
			}
			events, err := projections.Public(nil, &r)
			for _, e := range events {
				all[p] = append(all[p], published{e.Subject(), e.ID(), e.Cursor().String(), e.AppendCloudEvent(nil)})
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// mustSettle waits until as many events were published as the log makes.
func (in *installation) mustSettle(t testing.TB) (want [][]published) {
	t.Helper()
	want = in.mustMap(t)
	n := 0
	for _, part := range want {
		n += len(part)
	}
	in.mustReach(t, uint64(n))
	return want
}

func (in *installation) mustReach(t testing.TB, last uint64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute) // a cluster may be without a leader for long
	defer cancel()
	for {
		state, err := in.events.state(ctx)
		if err == nil && state.LastSeq >= last {
			return
		}
		if err := wait.For(ctx, 5*time.Millisecond); err != nil {
			t.Fatalf("the stream reaches to %d, want %d: %v", state.LastSeq, last, err)
		}
	}
}

// mustMatch fails unless the stream has each event of the log once, those of
// one partition in order.
func (in *installation) mustMatch(t testing.TB) {
	t.Helper()
	want := in.mustSettle(t)
	got := make([][]published, len(want))
	for _, m := range in.mustReadAll(t, want) {
		c, err := projections.ParsePublicCursor(m.cursor)
		if err != nil {
			t.Fatal(err)
		}
		p := c.Position.Partition
		got[p] = append(got[p], m)
	}
	for p := range want {
		if !slices.EqualFunc(got[p], want[p], func(a, b published) bool {
			return a.subject == b.subject && a.id == b.id && a.cursor == b.cursor && bytes.Equal(a.data, b.data)
		}) {
			t.Errorf("partition %d: got %d events, want the %d of the log, each once and in order\ngot  %s\nwant %s",
				p, len(got[p]), len(want[p]), ids(got[p]), ids(want[p]))
		}
	}
}

// mustReadAll reads until there are as many events as are wanted. Whoever reads
// from a server that was away may be told that there are no more, for a while.
func (in *installation) mustReadAll(t testing.TB, want [][]published) []published {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for all := in.mustRead(t); ; all = in.mustRead(t) {
		if len(all) >= len(slices.Concat(want...)) || wait.For(ctx, 50*time.Millisecond) != nil {
			return all
		}
	}
}

func ids(list []published) string {
	var out []string
	for _, p := range list {
		out = append(out, p.id)
	}
	if len(out) > 60 {
		out = append(append(out[:30:30], "…"), out[len(out)-30:]...)
	}
	return strings.Join(out, " ")
}

func TestTheStreamHoldsWhatTheLogSays(t *testing.T) {
	t.Parallel()
	for name, partitions := range map[string]int{"one partition": 1, "three partitions": 3} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := mustInstall(t, partitions, nil)
			accounts := []domain.AccountID{"acct_1", "acct_2", "acct_3", "acct_4", "acct_5"}
			in.mustPut(t, accounts...) // before anybody publishes
			stop := run(t, in.events)
			in.mustMatch(t)
			in.mustPut(t, accounts...) // meanwhile
			in.mustMatch(t)
			stop()
			in.mustPut(t, accounts...) // while nobody does
			run(t, in.mustOpen(t, "two", nil))
			in.mustMatch(t)
		})
	}
}

func TestAStreamThatWasEmptiedIsGoneOnWith(t *testing.T) {
	t.Parallel()
	t.Run("by the checkpoint", func(t *testing.T) { t.Parallel(); emptied(t, false) })
	t.Run("by the ids", func(t *testing.T) { t.Parallel(); emptied(t, true) })
}

func emptied(t *testing.T, lost bool) {
	in := mustInstall(t, 1, nil)
	in.mustPut(t, "acct_1")
	stop := run(t, in.events)
	before := len(in.mustSettle(t)[0])
	stop() // which writes the checkpoint
	if lost {
		if err := in.events.js.DeleteStream(t.Context(), StateName); err != nil {
			t.Fatal(err)
		}
	}
	config := in.events.wanted()
	config.MaxBytes = 1 // no event fits
	stream, err := in.events.js.UpdateStream(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	if state := stream.CachedInfo().State; state.Msgs != 0 {
		t.Fatalf("the stream still has %d messages", state.Msgs)
	}
	run(t, in.mustOpen(t, "two", nil)) // which raises the limit again
	in.mustPut(t, "acct_1")
	want := in.mustSettle(t)[0][before:]
	got := in.mustRead(t)
	if ids(got) != ids(want) {
		t.Errorf("got  %s\nwant %s", ids(got), ids(want))
	}
}

// What a node that was thought dead still publishes is refused, whatever it
// believes.
func TestAZombieIsRefused(t *testing.T) {
	t.Parallel()
	in := mustInstall(t, 1, nil)
	in.mustPut(t, "acct_1", "acct_2")
	x, _, err := in.events.extent(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	zombie := in.mustOpen(t, "zombie", nil)
	run(t, in.events)
	in.mustMatch(t)
	r := in.mustAppend(t, domain.Record{Account: "acct_1", Actor: "member:mem_1", Event: domain.MemberRemoved{MemberID: "mem_1"}})
	in.mustMatch(t)
	r.ID = "evt_of_the_zombie" // the stream would know the other one again by its id
	events, err := projections.Public(nil, &r)
	if err != nil {
		t.Fatal(err)
	}
	for _, last := range []uint64{x.last, x.last + 1, 1000} {
		if _, err := zombie.append(t.Context(), last, events); err == nil {
			t.Errorf("an event after %d was taken", last)
		}
	}
	in.mustMatch(t)
}

func TestOneNodePublishesAndAnotherTakesOver(t *testing.T) {
	t.Parallel()
	in := mustInstall(t, 2, nil)
	nodes := map[*Events]func(){}
	for i := range 3 {
		e := in.mustOpen(t, fmt.Sprint("node", i), nil)
		nodes[e] = run(t, e)
	}
	for len(nodes) > 0 {
		in.mustPut(t, "acct_1", "acct_2", "acct_3")
		in.mustMatch(t)
		var leading []*Events
		for e := range nodes {
			if e.Publishes() {
				leading = append(leading, e)
			}
		}
		if len(leading) != 1 {
			t.Fatalf("%d nodes publish", len(leading))
		}
		nodes[leading[0]]()
		delete(nodes, leading[0])
	}
}

func TestBothModesOfCloudEventsSayTheSame(t *testing.T) {
	t.Parallel()
	in := mustInstall(t, 1, func(c *Config) { c.Binary = true })
	in.mustPut(t, "acct_1")
	run(t, in.events)
	want := in.mustSettle(t)[0]
	at := 0
	state, err := in.events.state(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	err = in.events.each(t.Context(), jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverAllPolicy}, state.LastSeq, func(m jetstream.Msg, _ *jetstream.MsgMetadata) error {
		if m.Headers().Get(headerContentType) != plainJSON || m.Headers().Get("ce-specversion") != "1.0" || bytes.Contains(m.Data(), []byte("specversion")) {
			t.Errorf("got %v %s, want binary mode", m.Headers(), m.Data())
		}
		got, err := structured(m.Headers(), m.Data())
		if err != nil || !bytes.Equal(got, want[at].data) {
			t.Errorf("got  %s, %v\nwant %s", got, err, want[at].data)
		}
		at++
		return nil
	})
	if err != nil || at != len(want) {
		t.Errorf("got %d events, %v, want %d", at, err, len(want))
	}
}
