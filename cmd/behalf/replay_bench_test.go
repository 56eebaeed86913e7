package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/infra/embedded"
	"github.com/behalf-platform/behalf/infra/natslog"
	"github.com/behalf-platform/behalf/projections"
)

// generated writes what verify would have made straight into a log: it decides
// by the same rules, and knows the sequence of each record because nobody else
// writes.
type generated struct {
	t       testing.TB
	stream  jetstream.JetStream
	account domain.AccountID
	seq     uint64
	now     time.Time
	state   domain.Account
	agents  []*generatedAgent
	budget  domain.SharedBudget
	pending []jetstream.PubAckFuture
	write   func([]byte) []byte // a record's bytes, or nil to write them as they are
}

type generatedAgent struct {
	id    domain.AgentID
	state domain.Agent
	asks  []domain.Request
}

// generate fills a log in dir: agents with five permissions each, one in ten of
// them with a budget, and decisions, half of them allowed.
func generate(t testing.TB, dir string, agents, decisions int) {
	t.Helper()
	generateAs(t, dir, agents, decisions, nil)
}

func generateAs(t testing.TB, dir string, agents, decisions int, write func([]byte) []byte) {
	t.Helper()
	generateWith(t, dir, func(g *generated) {
		g.write = write
		g.open()
		for i := range agents {
			g.register(domain.AgentID(fmt.Sprintf("agent_%d", i)), i%10 == 0)
		}
		for i := range decisions {
			g.now = g.now.Add(250 * time.Millisecond)
			a := g.agents[i%len(g.agents)]
			g.decide(a, a.asks[i/len(g.agents)%len(a.asks)])
		}
	})
}

// generateWith fills a log in dir with what fill writes.
func generateWith(t testing.TB, dir string, fill func(*generated)) {
	t.Helper()
	server, err := embedded.Start(embedded.Config{Dir: filepath.Join(dir, "nats"), Durability: embedded.OS, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := server.Shutdown(); err != nil {
			t.Error(err)
		}
	}()
	conn, err := server.Connect()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	g := &generated{t: t, account: "acct_home", now: time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC)}
	if _, err := natslog.Open(t.Context(), natslog.Config{Conn: conn, Bulk: conn, Partitions: 1, Replicas: 1, FirstAccount: g.account}); err != nil {
		t.Fatal(err)
	}
	if g.stream, err = jetstream.New(conn, jetstream.WithPublishAsyncMaxPending(4096)); err != nil {
		t.Fatal(err)
	}
	info, err := g.stream.Stream(t.Context(), "BEHALF")
	if err != nil {
		t.Fatal(err)
	}
	g.seq = info.CachedInfo().State.LastSeq
	fill(g)
	select {
	case <-g.stream.PublishAsyncComplete():
	case <-time.After(time.Minute):
		t.Fatal("the log does not acknowledge what was written")
	}
	for _, f := range g.pending {
		select {
		case <-f.Ok():
		case err := <-f.Err():
			t.Fatal(err)
		}
	}
}

// open opens the account, whose owner has the tests' token.
func (g *generated) open() {
	g.add("", "member:mem_owner", domain.AccountOpened{Name: "Home", Currency: "USD", Owner: "mem_owner", Token: domain.HashToken(testToken)})
}

func (g *generated) register(id domain.AgentID, limited bool) {
	a := &generatedAgent{id: id}
	g.agents = append(g.agents, a)
	evolve := func(e domain.Event) { a.state = a.state.Evolve(g.addOn(a.state.Version, id, "member:mem_owner", e)) }
	evolve(domain.AgentRegistered{Name: "Ollie", Type: domain.Native, Key: domain.TokenHash(id)})
	for i := range 5 {
		terms := domain.Terms{
			Action: g.action(i), Vendors: domain.Patterns{fmt.Sprintf("shop%d.example.com", i)}, MaxAmount: "500.00", Currency: "USD",
		}
		if limited && i == 0 {
			terms.Limits.Budgets = []domain.Budget{{Amount: "1000.00", Currency: "USD", Per: domain.PerDay, TimeZone: "UTC"}}
		}
		evolve(domain.PermissionGranted{PermissionID: domain.PermissionID(fmt.Sprintf("perm_%s_%d", id, i)), Terms: terms})
		for _, amount := range []domain.Decimal{"120.00", "742.00"} {
			ask := domain.Ask{Action: g.action(i), Vendor: fmt.Sprintf("shop%d.example.com", i), Amount: amount}
			req, err := ask.Request("USD")
			if err != nil {
				g.t.Fatal(err)
			}
			a.asks = append(a.asks, req)
		}
	}
}

// action is that of the i-th permission: one of its own, unless a benchmark wants
// each decision to judge all permissions of its agent.
func (g *generated) action(i int) domain.Action {
	if os.Getenv("BEHALF_BENCH_ONE_ACTION") != "" {
		return "purchase"
	}
	return domain.Action(fmt.Sprintf("purchase:%d", i))
}

func (g *generated) decide(a *generatedAgent, req domain.Request) {
	d := domain.Evaluate(domain.Situation{Agent: &a.state, Budget: &g.budget, Settings: g.state.Approvals, Now: g.now}, req)
	d.Name(fmt.Sprintf("01HZY3V2Q2Q2Q2%012d", g.seq+1))
	r := g.addOn(a.state.Version, a.id, domain.ByAgent(a.id), d)
	a.state = a.state.Evolve(r)
}

func (g *generated) add(agent domain.AgentID, by domain.Actor, e domain.Event) {
	g.state = g.state.Evolve(g.addOn(g.state.Version, agent, by, e))
}

// addOn writes an event on a version of its stream.
func (g *generated) addOn(last uint64, agent domain.AgentID, by domain.Actor, e domain.Event) domain.Recorded {
	g.seq++
	r := domain.Recorded{
		Record: domain.Record{
			ID: domain.EventID(fmt.Sprintf("evt_01HZY3V2Q2Q2Q2%012d", g.seq)), At: g.now, Actor: by, Account: g.account, Agent: agent, Event: e,
		},
		Position: domain.Position{Seq: g.seq}, Last: last,
	}
	data, err := r.Append(nil)
	if err != nil {
		g.t.Fatal(err)
	}
	if g.write != nil {
		data = g.write(data)
	}
	guard, subject := "behalf.0.account."+string(g.account), ""
	if agent != "" {
		guard = "behalf.0.agent." + string(g.account) + "." + string(agent)
	}
	if subject = guard; !r.Moves() {
		subject = "behalf.0.decision." + string(g.account) + "." + string(agent)
	}
	m := &nats.Msg{Subject: subject, Data: data, Header: nats.Header{
		"Behalf-Kind": {string(e.Kind())}, "Behalf-Id": {string(r.ID)},
		jetstream.ExpectedLastSubjSeqHeader: {strconv.FormatUint(last, 10)}, jetstream.ExpectedLastSubjSeqSubjHeader: {guard},
	}}
	f, err := g.stream.PublishMsgAsync(m, jetstream.WithStallWait(time.Minute))
	if err != nil {
		g.t.Fatal(err)
	}
	if len(g.pending) > 10_000 { // the newest are enough: a gap shows in the fences of what follows
		g.pending = g.pending[5000:]
	}
	g.pending = append(g.pending, f)
	return r
}

// BenchmarkReplay decides a log again, and under a candidate, server included.
// BEHALF_BENCH_DECISIONS says how many, BEHALF_BENCH_LOG keeps the log.
func BenchmarkReplay(b *testing.B) {
	decisions := 200_000
	if text := os.Getenv("BEHALF_BENCH_DECISIONS"); text != "" {
		var err error
		if decisions, err = strconv.Atoi(text); err != nil {
			b.Fatal(err)
		}
	}
	dir := os.Getenv("BEHALF_BENCH_LOG")
	if dir == "" {
		dir = b.TempDir()
	}
	if _, err := os.Stat(filepath.Join(dir, "nats")); err != nil {
		began := time.Now()
		generate(b, dir, 1000, decisions)
		b.Logf("generated %d decisions in %s", decisions, time.Since(began))
	}
	candidate := filepath.Join(b.TempDir(), "candidate.yaml")
	var text strings.Builder
	text.WriteString("agents:\n")
	for i := range 1000 {
		fmt.Fprintf(&text, "  agent_%d: {replace: {perm_agent_%d_0: {action: \"%s\", vendors: shop0.example.com, maxAmount: \"100.00\"}}}\n", i, i, new(generated).action(0))
	}
	if err := os.WriteFile(candidate, []byte(text.String()), 0o600); err != nil {
		b.Fatal(err)
	}
	for _, args := range [][]string{
		{"replay"},
		{"replay", "--what-if", candidate, "--mode", string(projections.RecordedState)},
		{"replay", "--what-if", candidate, "--mode", string(projections.Consequences)},
	} {
		name := args[0]
		if len(args) > 1 {
			name = args[len(args)-1]
		}
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				var out strings.Builder
				code := run(context.Background(), append(args, "--data", dir, "--examples", "1"), nil, &out, io.Discard, func(string) string { return "" })
				lines := strings.Split(strings.TrimSpace(out.String()), "\n")
				b.Logf("exit code %d: %s", code, lines[len(lines)-1])
			}
			b.ReportMetric(float64(decisions*b.N)/b.Elapsed().Seconds(), "decisions/s")
		})
	}
}
