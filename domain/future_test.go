package domain

import (
	"maps"
	"slices"
	"testing"
	"time"
)

// Two nodes, or two requests on one, go on from one agent in different ways.
// Neither sees what the other made of it, and who kept the agent they began with
// sees neither.
func TestTwoFuturesOfOneAgentShareNothingThatIsWritten(t *testing.T) {
	t.Parallel()
	five := Terms{Action: "purchase", RequiresApproval: ApprovalRule{Above: "100"}, Approval: &ApprovalTerms{Quorum: 5}, Limits: Limits{
		Budgets: []Budget{{Amount: "1000", Per: PerDay}}, Rates: []Rate{{Count: 100, Per: PerHour}},
	}}
	w := newWorld(
		t, granted(five, Terms{Action: "read"}), limited(budgets(Budget{Amount: "900", Per: PerDay})), sharing(budgets(Budget{Amount: "800", Per: PerDay})),
		gets(Allowed, buy("10")), gets(Allowed, buy("20")), settled("req_1", Executed, "5"),
		gets(ApprovalRequired, buy("101")), gets(ApprovalRequired, buy("102")), gets(ApprovalRequired, buy("103")),
		// Three votes are where a list that grows has room for the next.
		approved("apr_3", "mem_al", "mem_bo", "mem_cy"), approved("apr_4", "mem_al", "mem_bo", "mem_cy", "mem_ada", "mem_owner"),
	)
	futures := map[string]step{
		"a vote":              approved("apr_3", "mem_ada"),
		"another's vote":      approved("apr_3", "mem_owner"),
		"a no":                refused("apr_3", "mem_bo", "no"),
		"a use":               gets(Allowed, buy("102")),
		"a withdrawal":        withdrawn("apr_4", "mem_al"),
		"a cancellation":      cancelled("apr_5"),
		"a reminder":          func(w *world) { w.do(at(hours(4)), reminded("apr_5")) },
		"an expiry":           func(w *world) { w.do(at(hours(24)), expired("apr_5")) },
		"a new approval":      gets(ApprovalRequired, buy("104")),
		"another approval":    gets(ApprovalRequired, buy("105")),
		"an allow":            gets(Allowed, buy("30")),
		"another allow":       gets(Allowed, buy("40")),
		"an allow tomorrow":   func(w *world) { w.do(at(hours(24)), gets(Allowed, buy("50"))) },
		"a settlement":        settled("req_2", ActionFailed, ""),
		"another settlement":  settled("req_2", Executed, "1"),
		"a grant":             granted(Terms{Action: "purchase"}),
		"a replacement":       replaced("perm_1", Terms{Action: "purchase"}),
		"another replacement": replaced("perm_2", five),
		"a revocation":        revoked("perm_1"),
		"other limits":        limited(budgets(Budget{Amount: "1", Per: PerHour})),
		"no limits":           limited(Limits{}),
		"another driver":      driven("mem_al"),
		"an end":              disabled,
	}
	begin := dump(w.agent)
	left := w.budget.Left(noon)
	on := func(s step) *world {
		next := *w
		next.handed = nil
		next.do(s)
		return &next
	}
	names := slices.Sorted(maps.Keys(futures))
	backwards := slices.Clone(names)
	slices.Reverse(backwards)
	for _, order := range [][]string{names, backwards} { // what is written over is what was made before
		made, want := map[string]Agent{}, map[string]string{}
		for _, name := range order {
			made[name] = on(futures[name]).agent
			if want[name] = dump(made[name]); want[name] == begin {
				t.Errorf("%s: got the agent as it was, want it to change", name)
			}
		}
		for name, a := range made {
			if got := dump(a); got != want[name] {
				t.Errorf("%s, after others were made: got\n%s\nwant\n%s", name, got, want[name])
			}
		}
		if got := dump(w.agent); got != begin {
			t.Errorf("the agent they began with: got\n%s\nwant\n%s", got, begin)
		}
	}
	if got := used(w.budget.Left(noon)); got != used(left) {
		t.Errorf("got %s used of the account's limits, want %s", got, used(left))
	}
}

// A decision that moves nothing has no place in the chain, and those that do are
// each other's fence.
func TestDecisionsInTheChain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, granted(wary))
	version := w.agent.Version
	for _, tt := range []struct {
		name  string
		ask   step
		moves bool
	}{
		{"an allow that spends nothing", gets(Allowed, buy("1")), false},
		{"a denial", gets(AmountExceedsLimit, buy("501")), false},
		{"a request that opens an approval", gets(ApprovalRequired, buy("150")), true},
		{"the same while it waits", gets(ApprovalRequired, buy("150")), false},
		{"an allow that uses it", func(w *world) { w.do(approved("apr_3", "mem_al"), gets(Allowed, buy("150"))) }, true},
		{"a request for what was used", gets(ApprovalUsed, buy("150")), false},
		{"an allow that spends", func(w *world) { w.do(limited(rates(Rate{Count: 1, Per: PerDay})), gets(Allowed, buy("1"))) }, true},
		{"a denial by a limit", gets(RateExceeded, buy("1")), false},
	} {
		w.do(tt.ask)
		if got := w.agent.Version == w.seq; got != tt.moves || w.last.Moves() != tt.moves {
			t.Errorf("%s: got it in the chain: %v, want %v", tt.name, got, tt.moves)
		}
		if tt.moves && w.agent.Version <= version {
			t.Errorf("%s: got version %d after %d", tt.name, w.agent.Version, version)
		}
		version = w.agent.Version
	}
	// One that moves and does not follow on the last is one too many.
	stale := Recorded{Record: Record{At: noon.Add(-time.Hour), Account: "acct_home", Agent: "agent_ollie", Event: DecisionMade{
		RequestID: "req_x", Outcome: OutcomeAllowed, Spends: true, PermissionID: "perm_1", Request: Request{Amount: "1.00", Currency: "USD"},
	}}, Position: Position{Seq: w.seq + 2}, Last: w.agent.Version - 1}
	if w.agent.Evolve(stale).Fault() == nil {
		t.Error("a decision made on an older passport: got no fault, want one")
	}
	stale.Last = w.agent.Version
	if err := w.agent.Evolve(stale).Fault(); err != nil {
		t.Errorf("a decision made on this passport: got %v, want none", err)
	}
	broken := stale
	broken.Event = DecisionMade{RequestID: "req_x", Outcome: OutcomeAllowed, Spends: true, Request: Request{Amount: "x", Currency: "USD"}}
	if w.agent.Evolve(broken).Fault() == nil {
		t.Error("an amount that can't be read: got no fault, want one")
	}
	limits := stale
	limits.Event = AgentLimitsSet{rates(Rate{Count: 1, Per: "year"})}
	if w.agent.Evolve(limits).Fault() == nil {
		t.Error("limits that can't be read: got no fault, want one")
	}
	if got := w.agent.Evolve(stale).Updated; !got.Equal(w.agent.Updated) || got.Before(noon) {
		t.Errorf("got the time %s, want it not to run back", got)
	}
}

// The packet says what a client has to know of limits and approvals.
func TestPacketOfLimitsAndApprovals(t *testing.T) {
	t.Parallel()
	w := newWorld(t, granted(wary), limited(rates(Rate{Count: 2, Per: PerHour})))
	for _, tt := range []struct {
		name      string
		given     step
		ask       Ask
		allowed   bool
		reserved  bool
		requires  bool
		approval  ApprovalID
		windowEnd time.Time
	}{
		{"an allow that spends", at(0), buy("1"), true, true, false, "", time.Time{}},
		{"a request that opens an approval", at(0), buy("150"), false, false, true, "apr_2", time.Time{}},
		{"an allow that uses it", approved("apr_2", "mem_al"), buy("150"), true, true, false, "apr_2", time.Time{}},
		{"a denial by a limit", at(0), buy("1"), false, false, false, "", noon.Add(time.Hour)},
		{"a denial by something else", at(time.Hour), buy("501"), false, false, false, "", time.Time{}},
	} {
		w.do(tt.given)
		d := w.verify(tt.ask)
		p, err := PacketOf(Recorded{Record: Record{At: w.now, Agent: "agent_ollie", Event: d}})
		if err != nil {
			t.Fatal(err)
		}
		if p.Allowed != tt.allowed || p.Reserved != tt.reserved || p.ApprovalRequired != tt.requires || p.ApprovalID != tt.approval || !p.WindowEndsAt.Equal(tt.windowEnd) {
			t.Errorf("%s: got %+v", tt.name, p)
		}
	}
	p, err := PacketOf(Recorded{Record: Record{At: noon, Event: DecisionMade{Outcome: "permitted", Spends: true, ApprovalID: "apr_1"}}})
	if err != nil || p.Allowed || p.Reserved {
		t.Errorf("an outcome that is not known: got %+v, %v, want no allow", p, err)
	}
}
