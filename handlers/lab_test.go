package handlers_test

import (
	"cmp"
	"context"
	"log/slog"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers"
	"github.com/behalf-platform/behalf/infra/memlog"
	"github.com/behalf-platform/behalf/projections"
)

// lab is a log with nodes that follow it only when they are told to, and with a
// clock that stands still until it is moved.
type lab struct {
	log     *memlog.Log
	now     time.Time
	nodes   []*labNode
	owner   handlers.Member
	members []handlers.Member // the owner first
	keys    map[domain.AgentID]domain.TokenHash
}

// labNode is a node without goroutines.
type labNode struct {
	*handlers.Verifier
	*handlers.Writer
	lab       *lab
	passports *projections.Passports
	approvals *handlers.Approvals
	minder    *handlers.Minder
	seen      uint64
}

// noAlarms has nobody to ring for: steps ring by themselves.
type noAlarms struct{}

func (noAlarms) Set(context.Context, domain.Alarm) error { return nil }

func (l *lab) start() *labNode { return l.startWith(func() time.Time { return l.now }) }

// startWith starts a node with a clock of its own.
func (l *lab) startWith(now func() time.Time) *labNode {
	passports, lanes := &projections.Passports{}, handlers.NewLanes()
	n := &labNode{lab: l, passports: passports}
	ready := func() error { return nil }
	catchUp := func(context.Context, domain.Position) error { n.catchUp(); return nil }
	log := l.log.Join()
	n.Verifier = &handlers.Verifier{
		Log: log, Passports: passports, Lanes: lanes, Now: now, Ready: ready, CatchUp: catchUp, Timeout: time.Minute,
	}
	n.Writer = &handlers.Writer{Log: log, Passports: passports, Lanes: lanes, Now: now, CatchUp: catchUp, Timeout: time.Minute}
	n.approvals = &handlers.Approvals{
		Passports: passports, Now: now, Partitions: log.Partitions, Current: func(context.Context, uint16) error { n.catchUp(); return nil },
	}
	n.minder = &handlers.Minder{
		Passports: passports, Writer: n.Writer, Alarms: noAlarms{}, Ready: ready, Now: now, Logs: slog.New(slog.DiscardHandler),
	}
	n.catchUp()
	return n
}

// catchUp folds what the log has that the node has not seen.
func (n *labNode) catchUp() {
	err := n.lab.log.Scan(context.Background(), domain.Scan{From: n.seen + 1}, func(r domain.Recorded, err error) error {
		n.seen = max(n.seen, r.Position.Seq)
		if err != nil || !r.Moves() {
			return err
		}
		return n.passports.Apply(r, nil)
	})
	if err != nil {
		panic(err) // the log holds only what the test put there
	}
}

func newWorld(t *rapid.T) *world {
	begins := rapid.SampledFrom([]time.Time{ // before a year, a day of 25 hours, and one of 23
		time.Date(2026, 12, 30, 20, 0, 0, 0, time.UTC), time.Date(2026, 10, 24, 20, 0, 0, 0, time.UTC), time.Date(2027, 3, 27, 20, 0, 0, 0, time.UTC),
	}).Draw(t, "begins")
	l := &lab{now: begins, keys: map[domain.AgentID]domain.TokenHash{}}
	l.log = memlog.New(memlog.Config{FirstAccount: home, Now: func() time.Time { return l.now }, DedupeWindow: time.Second})
	w := &world{T: t, lab: l, model: model{
		agents: map[domain.AgentID]*modelAgent{}, roles: map[domain.MemberID]domain.Role{},
	}}
	l.nodes = []*labNode{l.start(), l.start()}
	n, ctx := l.nodes[0], t.Context()
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	account, err := n.OpenAccount(ctx, home, domain.OpenAccount{Name: "Home", Currency: "USD", Owner: "mem_owner", Token: "hash"})
	must(err)
	owner, _ := account.Member("mem_owner")
	l.owner = handlers.Member{Account: home, Member: owner}
	pending, valid, denial := domain.Duration(modelPendingFor), domain.Duration(modelValidFor), domain.Duration(modelDenialFor)
	remind, most := domain.Duration(modelRemindEvery), modelMostPending
	_, err = n.ChangeSettings(ctx, l.owner, domain.ChangeSettings{Approvals: domain.ChangeApprovals{
		PendingFor: &pending, ValidFor: &valid, DenialFor: &denial, RemindEvery: &remind, MostPending: &most,
	}})
	must(err)
	l.members = []handlers.Member{l.owner}
	for _, role := range []domain.Role{domain.RoleAdmin, domain.RoleApprover, domain.RoleViewer} {
		m, _, err := n.AddMember(ctx, l.owner, "Reviewer", role)
		must(err)
		l.members = append(l.members, handlers.Member{Account: home, Member: m})
	}
	for _, m := range l.members {
		w.roles[m.ID] = m.Role
	}
	for i := range 2 {
		id := domain.AgentID("agent_" + strconv.Itoa(i))
		_, key, err := n.RegisterAgent(ctx, l.owner, domain.RegisterAgent{AgentID: id, Name: "Ollie", Type: domain.Native}, true)
		must(err)
		l.keys[id] = domain.HashToken(key)
		w.agents[id] = &modelAgent{}
	}
	for _, n := range l.nodes {
		n.catchUp()
	}
	w.head = n.seen
	return w
}

func (l *lab) caller(id domain.AgentID) handlers.Caller {
	return handlers.Caller{Hash: l.keys[id], Agent: domain.Stream{Account: home, Agent: id}}
}

// restart puts a node in the place of one: it knows what the log holds, and
// nothing else.
func (w *world) restart() {
	w.nodes[rapid.IntRange(0, len(w.nodes)-1).Draw(w.T, "node")] = w.start()
}

// found is an approval as a node finds it.
func (w *world) found(n *labNode, id domain.ApprovalID) *domain.Approval {
	a, err := n.approvals.Find(w.Context(), domain.Stream{Account: home}, id)
	if err != nil {
		w.Fatalf("find %s: %v", id, err)
	}
	return a
}

// open opens the account with one agent, which has one permission, and returns
// its key.
func (l *lab) open(t testing.TB, n *labNode, terms domain.Terms) domain.TokenHash {
	t.Helper()
	account, err := n.OpenAccount(t.Context(), home, domain.OpenAccount{Name: "Home", Currency: "USD", Owner: "mem_owner", Token: "hash"})
	if err != nil {
		t.Fatal(err)
	}
	owner, _ := account.Member("mem_owner")
	l.owner = handlers.Member{Account: home, Member: owner}
	_, key, err := n.RegisterAgent(t.Context(), l.owner, domain.RegisterAgent{AgentID: "agent_ollie", Name: "Ollie", Type: domain.Native}, true)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := n.Grant(t.Context(), l.owner, "agent_ollie", terms); err != nil {
		t.Fatal(err)
	}
	return domain.HashToken(key)
}

// audit proves that the log keeps its promises.
func (l *lab) audit(t interface{ Fatalf(string, ...any) }) {
	var audit projections.Audit
	err := l.log.Scan(context.Background(), domain.Scan{}, audit.Check)
	if err := cmp.Or(err, audit.End(audit.Records)); err != nil {
		t.Fatalf("audit: %v", err)
	}
}
