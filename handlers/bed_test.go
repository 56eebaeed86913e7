package handlers_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers"
	"github.com/behalf-platform/behalf/infra/memlog"
	"github.com/behalf-platform/behalf/infra/memshadow"
	"github.com/behalf-platform/behalf/infra/memvisits"
	"github.com/behalf-platform/behalf/projections"
)

// home lies in partition 0 of one.
const home domain.AccountID = "acct_home"

// bed is a log and the nodes on it, with an account and its owner.
type bed struct {
	t     *testing.T
	log   *memlog.Log
	views *fakeViews
	// shadows is where all nodes record shadows.
	shadows *memshadow.Log
	// visits is where all nodes count visits to links.
	visits *memvisits.Counters
	owner  handlers.Member
	token  string
	ahead  time.Duration // of the time of the bubble, see leap
}

// node is a server without its sockets.
type node struct {
	*handlers.Desk
	bed       *bed
	log       *memlog.Log
	gate      *handlers.Gate
	passports *projections.Passports
	watcher   *handlers.Watcher
	// offset is how far the node's clock is off, in nanoseconds.
	offset atomic.Int64
	// blind makes the log not say where it stands.
	blind atomic.Bool
	// sick makes the server under the log report that it is.
	sick atomic.Bool
}

// lie runs a test in a bubble of its own time, on a new log.
func lie(t *testing.T, test func(*testing.T, *bed)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := &bed{t: t, log: memlog.New(memlog.Config{FirstAccount: home, Now: time.Now, Epoch: 1}), views: newFakeViews(), shadows: &memshadow.Log{}, visits: &memvisits.Counters{}, token: domain.MemberTokenPrefix + "owner-of-the-test-account-0123456789"}
		n := b.node()
		account, err := n.OpenAccount(t.Context(), home, domain.OpenAccount{
			Name: "Home", Currency: "USD", Owner: "mem_owner", Token: domain.HashToken(b.token),
		})
		if err != nil {
			t.Fatalf("open the account: %v", err)
		}
		owner, _ := account.Member("mem_owner")
		b.owner = handlers.Member{Account: home, Member: owner}
		test(t, b)
		b.audit()
	})
}

// node starts a node on the bed's log and waits until it has read it.
func (b *bed) node() *node {
	b.t.Helper()
	n := &node{bed: b, log: b.log.Join(), passports: &projections.Passports{}}
	now := func() time.Time { return time.Now().Add(time.Duration(n.offset.Load())) }
	n.gate = &handlers.Gate{
		Log: clocked{n, now}, Now: now, Every: 250 * time.Millisecond, MostLag: 5 * time.Second, MostSkew: 2 * time.Second,
		Logs: slog.New(slog.DiscardHandler),
		Healthy: func() error {
			if n.sick.Load() {
				return errBroken
			}
			return nil
		},
	}
	lanes := handlers.NewLanes()
	n.Desk = &handlers.Desk{
		Identifier: &handlers.Identifier{Log: n.log, Passports: n.passports},
		Verifier: &handlers.Verifier{
			Log: n.log, Passports: n.passports, Lanes: lanes, Now: now, Ready: n.gate.MayDecide, CatchUp: n.gate.CatchUp,
			Timeout: 2 * time.Second,
		},
		Writer: &handlers.Writer{
			Log: n.log, Passports: n.passports, Lanes: lanes, Now: now, CatchUp: n.gate.CatchUp, Timeout: 2 * time.Second,
		},
		History:   &handlers.History{Log: n.log, KeptSince: handlers.KeptSince(n.passports, now)},
		Approvals: &handlers.Approvals{Passports: n.passports, Now: now, Partitions: n.log.Partitions, Current: n.gate.Current},
		Faults:    handlers.Faults{Logs: slog.New(slog.DiscardHandler), Now: now},
	}
	n.Desk.Shadows = &handlers.Shadows{Log: b.shadows, Decisions: n.log, Writer: n.Desk.Writer, Now: now, Logs: slog.New(slog.DiscardHandler)}
	n.Desk.Links = &handlers.Links{Writer: n.Desk.Writer, Visits: b.visits, Logs: slog.New(slog.DiscardHandler)}
	n.watcher = &handlers.Watcher{Log: n.log, Now: now, MostLag: 5 * time.Second, Logs: slog.New(slog.DiscardHandler)}
	n.Desk.Queries = &handlers.Queries{Log: n.log, Watcher: n.watcher}
	n.Desk.Queries.Use(b.views)
	ctx, stop := context.WithCancel(context.Background())
	var parts sync.WaitGroup
	parts.Go(func() { _ = n.log.Follow(ctx, 0, 0, n.passports.Apply) })
	parts.Go(func() { _ = n.gate.Run(ctx) })
	parts.Go(func() { _ = n.Links.Run(ctx) })
	b.t.Cleanup(func() { stop(); parts.Wait() })
	time.Sleep(time.Second) // in the bubble; the gate has looked
	return n
}

// project has the node project and watch what is projected, until stop is called
// or the test ends.
func (n *node) project() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	p := &handlers.Projector{
		Log: n.log, Store: n.bed.views, Logs: slog.New(slog.DiscardHandler),
		Pruning: &handlers.Pruning{Retentions: n.passports, Ready: n.gate.MayDecide, Now: n.Verifier.Now},
	}
	var parts sync.WaitGroup
	parts.Go(func() { _ = p.Run(ctx) })
	parts.Go(func() { _ = n.watcher.Run(ctx, n.bed.views) })
	stop = func() { cancel(); parts.Wait() }
	n.bed.t.Cleanup(stop)
	time.Sleep(caughtUp) // in the bubble
	return stop
}

// clocked asks the log by the node's clock.
type clocked struct {
	*node
	now func() time.Time
}

func (c clocked) Partitions() int               { return c.log.Partitions() }
func (c clocked) Epoch(partition uint16) uint32 { return c.log.Epoch(partition) }

func (c clocked) Status(ctx context.Context, partition uint16) (domain.LogStatus, error) {
	if c.blind.Load() {
		return domain.LogStatus{}, errBroken
	}
	asked := c.now()
	s, err := c.log.Status(ctx, partition)
	s.Asked, s.Answered = asked, c.now()
	return s, err
}

// audit proves what the log holds at the end of every test.
func (b *bed) audit() {
	b.t.Helper()
	audit := projections.Audit{Clock: func() time.Time { return time.Now().Add(b.ahead) }}
	log := b.log.Join()
	err := log.Scan(context.Background(), domain.Scan{}, func(r domain.Recorded, err error) error {
		if err != nil {
			return errBroken // put there by the test; what follows can't be proven
		}
		return audit.Check(r, nil)
	})
	if err == nil {
		var status domain.LogStatus
		if status, err = log.Status(context.Background(), 0); err == nil {
			err = audit.End(status.Head)
		}
	}
	if err != nil && !errors.Is(err, errBroken) {
		b.t.Errorf("audit of the log: got %v, want none", err)
	}
}

// agent registers an agent that may buy up to 500.00 USD, and returns its key.
func (n *node) agent(id domain.AgentID) (domain.TokenHash, domain.PermissionID) {
	n.bed.t.Helper()
	_, key, err := n.RegisterAgent(n.bed.t.Context(), n.bed.owner, domain.RegisterAgent{AgentID: id, Name: "Ollie", Type: domain.Native}, true)
	if err != nil {
		n.bed.t.Fatalf("register %s: %v", id, err)
	}
	_, permission, err := n.Grant(n.bed.t.Context(), n.bed.owner, id, domain.Terms{
		Action: "purchase", Vendors: domain.Patterns{"coachella.com"}, MaxAmount: "500.00", Currency: "USD",
	})
	if err != nil {
		n.bed.t.Fatalf("grant to %s: %v", id, err)
	}
	return domain.HashToken(key), permission
}

// ask is a request that agent's permission allows.
func ask() *domain.Ask {
	return &domain.Ask{Action: "purchase", Vendor: "coachella.com", Amount: "120"}
}

func (n *node) verify(key domain.TokenHash, a *domain.Ask) (domain.DecisionMade, error) {
	r, err := n.Verify(context.Background(), key, a)
	if err != nil {
		return domain.DecisionMade{}, err
	}
	return r.Event.(domain.DecisionMade), nil
}

func (b *bed) mustPacket(r domain.Recorded) string {
	b.t.Helper()
	packet, err := handlers.EncodePacket(nil, r)
	if err != nil {
		b.t.Fatalf("encode packet: %v", err)
	}
	return string(packet)
}

// decided counts the decisions in the log.
func (b *bed) decided() (n int) {
	b.t.Helper()
	err := b.log.Join().Scan(context.Background(), domain.Scan{Account: home}, func(domain.Recorded, error) error {
		n++
		return nil
	})
	if err != nil {
		b.t.Fatalf("scan: %v", err)
	}
	return n
}

// wantCode fails unless err is shown with this code.
func wantCode(t *testing.T, err error, code string) {
	t.Helper()
	if got := "none"; err != nil {
		if got = handlers.FaultOf(err).Code; got != code {
			t.Errorf("got %s (%v), want %s", got, err, code)
		}
	} else {
		t.Errorf("got %s, want %s", got, code)
	}
}
