package projections

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/behalf-platform/behalf/domain"
)

// whatIfBed is a history that a candidate is tried on.
type whatIfBed struct {
	*writer
	t *testing.T
}

const buyer domain.AgentID = "agent_ollie"

func newWhatIfBed(t *testing.T, terms domain.Terms) *whatIfBed {
	b := &whatIfBed{newWriter(), t}
	b.add("", "member:mem_owner", domain.AccountOpened{Name: "Home", Currency: "USD", Owner: "mem_owner", Token: "hash"})
	b.account = domain.Account{}.Evolve(b.records[0])
	b.add("", "member:mem_owner", domain.MemberAdded{MemberID: "mem_second", Name: "Second", Role: domain.RoleApprover, Token: "hash2"})
	b.register(buyer, terms)
	return b
}

func (b *whatIfBed) register(id domain.AgentID, terms domain.Terms) {
	b.add(id, "member:mem_owner", domain.AgentRegistered{Name: "Ollie", Type: domain.Native, Key: "hash"})
	b.add(id, "member:mem_owner", domain.PermissionGranted{PermissionID: "perm_buy", Terms: b.accept(terms)})
}

func (b *whatIfBed) accept(terms domain.Terms) domain.Terms {
	terms, err := terms.Accept(time.Time{}, "USD", "UTC")
	if err != nil {
		b.t.Fatal(err)
	}
	return terms
}

// asks has the agent ask for amounts, a second apart, and checks how that really
// came out.
func (b *whatIfBed) asks(want ...any) {
	b.t.Helper()
	for i := 0; i < len(want); i += 2 {
		b.now = b.now.Add(time.Second)
		if d := b.decide(buyer, domain.Decimal(want[i].(string))); d.ReasonCode != want[i+1].(domain.ReasonCode) {
			b.t.Fatalf("the history: got %s for %s (%s), want %s", d.ReasonCode, want[i], d.Reason, want[i+1])
		}
	}
}

// answers has a member approve the newest approval.
func (b *whatIfBed) approves(by domain.MemberID) {
	b.t.Helper()
	b.now = b.now.Add(time.Second)
	a := b.agent(buyer)
	all := a.Approvals()
	events, err := a.Approve(domain.Review{ApprovalID: all[len(all)-1].ID, By: by, Account: b.account, Now: b.now})
	b.do(buyer, domain.ByMember(by), events, err)
}

func (b *whatIfBed) whatIf(mode WhatIfMode, c AgentCandidate, g Range) WhatIfReport {
	b.t.Helper()
	w := WhatIf{Range: g, Candidate: Candidate{Agents: map[domain.AgentID]AgentCandidate{buyer: c}}, Mode: mode, MostExamples: 2}
	report, err := w.Run(reader(b.records))
	if err != nil {
		b.t.Fatalf("%s: %v", mode, err)
	}
	if met, err := w.Met(); err != nil || !slices.Equal(met, []domain.AgentID{buyer}) {
		b.t.Errorf("%s: met %v, %v", mode, met, err)
	}
	return report
}

func total(amount domain.Decimal) []domain.Budget {
	return []domain.Budget{{Amount: amount, Currency: "USD", Per: domain.InTotal}}
}

func buy(most, budget domain.Decimal) domain.Terms {
	terms := domain.Terms{Action: "purchase", MaxAmount: most, Currency: "USD"}
	if budget != "" {
		terms.Limits.Budgets = total(budget)
	}
	return terms
}

// changesOf is a report in short: how many, from what to what.
func changesOf(r WhatIfReport) string {
	var list []string
	for _, c := range r.Changes {
		list = append(list, fmt.Sprintf("%s %d %s->%s", c.Agent, c.Count, c.From.ReasonCode, c.To.ReasonCode))
	}
	for _, m := range r.Money {
		list = append(list, fmt.Sprintf("+%s -%s %s", m.Allowed, m.Stopped, m.Currency))
	}
	return strings.Join(list, "; ")
}

const (
	allowedCode = domain.Allowed
	overBudget  = domain.BudgetExceeded
)

func TestWhatIf(t *testing.T) {
	t.Parallel()
	replace := func(terms domain.Terms) AgentCandidate {
		return AgentCandidate{Replace: map[domain.PermissionID]domain.Terms{"perm_buy": terms}}
	}
	for _, tt := range []struct {
		name      string
		real      domain.Terms
		history   func(*whatIfBed)
		candidate AgentCandidate
		// recorded and consequences are what changes in each mode.
		recorded, consequences string
	}{
		{
			name: "the same terms", real: buy("500.00", "300.00"),
			history:   func(b *whatIfBed) { b.asks("100", allowedCode, "200", allowedCode, "40", overBudget) },
			candidate: replace(buy("500.00", "300.00")),
		},
		{
			// What the second did not spend is left for the last.
			name: "a lower limit", real: buy("500.00", "300.00"),
			history: func(b *whatIfBed) {
				b.asks("100", allowedCode, "150", allowedCode, "50", allowedCode, "40", overBudget)
			},
			candidate:    replace(buy("120.00", "300.00")),
			recorded:     "agent_ollie 1 ALLOWED->AMOUNT_EXCEEDS_LIMIT; +0.00 -150.00 USD",
			consequences: "agent_ollie 1 ALLOWED->AMOUNT_EXCEEDS_LIMIT; agent_ollie 1 BUDGET_EXCEEDED->ALLOWED; +40.00 -150.00 USD",
		},
		{
			// What the one that was there has spent, the new one has not.
			name: "only what is added", real: buy("500.00", "300.00"),
			history:      func(b *whatIfBed) { b.asks("100", allowedCode, "200", allowedCode, "40", overBudget) },
			candidate:    AgentCandidate{Only: true, Add: []domain.Terms{buy("150.00", "")}},
			recorded:     "agent_ollie 1 ALLOWED->AMOUNT_EXCEEDS_LIMIT; agent_ollie 1 BUDGET_EXCEEDED->ALLOWED; +40.00 -200.00 USD",
			consequences: "agent_ollie 1 ALLOWED->AMOUNT_EXCEEDS_LIMIT; agent_ollie 1 BUDGET_EXCEEDED->ALLOWED; +40.00 -200.00 USD",
		},
		{
			// One that is replaced is kept.
			name: "only what is replaced", real: buy("500.00", "300.00"),
			history:      func(b *whatIfBed) { b.asks("100", allowedCode, "200", allowedCode, "40", overBudget) },
			candidate:    AgentCandidate{Only: true, Replace: map[domain.PermissionID]domain.Terms{"perm_buy": buy("150.00", "")}},
			recorded:     "agent_ollie 1 ALLOWED->AMOUNT_EXCEEDS_LIMIT; agent_ollie 1 BUDGET_EXCEEDED->ALLOWED; +40.00 -200.00 USD",
			consequences: "agent_ollie 1 ALLOWED->AMOUNT_EXCEEDS_LIMIT; agent_ollie 1 BUDGET_EXCEEDED->ALLOWED; +40.00 -200.00 USD",
		},
		{
			name: "a permission removed", real: buy("500.00", "300.00"),
			history:      func(b *whatIfBed) { b.asks("100", allowedCode, "200", allowedCode, "40", overBudget) },
			candidate:    AgentCandidate{Remove: []domain.PermissionID{"perm_buy"}},
			recorded:     "agent_ollie 2 ALLOWED->PERMISSION_REVOKED; agent_ollie 1 BUDGET_EXCEEDED->PERMISSION_REVOKED; +0.00 -300.00 USD",
			consequences: "agent_ollie 2 ALLOWED->PERMISSION_REVOKED; agent_ollie 1 BUDGET_EXCEEDED->PERMISSION_REVOKED; +0.00 -300.00 USD",
		},
		{
			// Really 300 were spent when the last was asked for; supposedly 200.
			name: "a budget added", real: buy("500.00", ""),
			history: func(b *whatIfBed) {
				b.asks("100", allowedCode, "100", allowedCode, "100", allowedCode, "40", allowedCode)
			},
			candidate:    replace(buy("500.00", "250.00")),
			recorded:     "agent_ollie 2 ALLOWED->BUDGET_EXCEEDED; +0.00 -140.00 USD",
			consequences: "agent_ollie 1 ALLOWED->BUDGET_EXCEEDED; +0.00 -100.00 USD",
		},
		{
			name: "limits of the agent", real: buy("500.00", ""),
			history:      func(b *whatIfBed) { b.asks("100", allowedCode, "100", allowedCode, "40", allowedCode) },
			candidate:    AgentCandidate{Limits: &domain.Limits{Budgets: total("150.00")}},
			recorded:     "agent_ollie 2 ALLOWED->BUDGET_EXCEEDED; +0.00 -140.00 USD",
			consequences: "agent_ollie 1 ALLOWED->BUDGET_EXCEEDED; +0.00 -100.00 USD",
		},
		{
			name: "a budget lifted", real: buy("500.00", "150.00"),
			history:      func(b *whatIfBed) { b.asks("100", allowedCode, "100", overBudget, "100", overBudget) },
			candidate:    replace(buy("500.00", "250.00")),
			recorded:     "agent_ollie 2 BUDGET_EXCEEDED->ALLOWED; +200.00 -0.00 USD",
			consequences: "agent_ollie 1 BUDGET_EXCEEDED->ALLOWED; +100.00 -0.00 USD",
		},
		{
			name: "what was given back", real: buy("500.00", "200.00"),
			history: func(b *whatIfBed) {
				b.asks("100", allowedCode)
				first := b.records[len(b.records)-1].Event.(domain.DecisionMade)
				events, _, err := b.agent(buyer).Settle(domain.SettleDecision{RequestID: first.RequestID, Outcome: domain.ActionFailed})
				b.do(buyer, domain.ByAgent(buyer), events, err)
				b.asks("100", allowedCode, "100", allowedCode, "100", overBudget)
			},
			candidate:    replace(buy("500.00", "100.00")),
			recorded:     "agent_ollie 1 ALLOWED->BUDGET_EXCEEDED; +0.00 -100.00 USD",
			consequences: "agent_ollie 1 ALLOWED->BUDGET_EXCEEDED; +0.00 -100.00 USD",
		},
		{
			name: "an approval added", real: buy("500.00", ""),
			history: func(b *whatIfBed) { b.asks("100", allowedCode, "100", allowedCode, "200", allowedCode) },
			candidate: replace(domain.Terms{
				Action: "purchase", MaxAmount: "500.00", Currency: "USD", RequiresApproval: domain.ApprovalRule{Always: true},
			}),
			recorded:     "agent_ollie 3 ALLOWED->APPROVAL_REQUIRED; +0.00 -400.00 USD",
			consequences: "agent_ollie 3 ALLOWED->APPROVAL_REQUIRED; +0.00 -400.00 USD",
		},
		{
			name: "an approval not asked for", real: asksAbove50(500, 1),
			history: func(b *whatIfBed) {
				b.asks("100", domain.ApprovalRequired)
				b.approves("mem_owner")
				b.asks("100", allowedCode, "100", domain.ApprovalUsed)
			},
			candidate:    replace(buy("500.00", "")),
			recorded:     "agent_ollie 1 APPROVAL_REQUIRED->ALLOWED; agent_ollie 1 APPROVAL_USED->ALLOWED; +200.00 -0.00 USD",
			consequences: "agent_ollie 1 APPROVAL_REQUIRED->ALLOWED; agent_ollie 1 APPROVAL_USED->ALLOWED; +200.00 -0.00 USD",
		},
		{
			// On the state that really was, the yes had been given.
			name: "two people instead of one", real: asksAbove50(500, 1),
			history: func(b *whatIfBed) {
				b.asks("100", domain.ApprovalRequired)
				b.approves("mem_owner")
				b.asks("100", allowedCode, "100", domain.ApprovalUsed)
			},
			candidate:    replace(asksAbove50(500, 2)),
			consequences: "agent_ollie 1 ALLOWED->APPROVAL_REQUIRED; agent_ollie 1 APPROVAL_USED->APPROVAL_REQUIRED; +0.00 -100.00 USD",
		},
		{
			name: "one person instead of two", real: asksAbove50(500, 2),
			history: func(b *whatIfBed) {
				b.asks("100", domain.ApprovalRequired)
				b.approves("mem_owner")
				b.asks("100", domain.ApprovalRequired)
				b.approves("mem_second")
				b.asks("100", allowedCode)
			},
			candidate:    replace(asksAbove50(500, 1)),
			consequences: "agent_ollie 1 ALLOWED->APPROVAL_USED; agent_ollie 1 APPROVAL_REQUIRED->ALLOWED; +100.00 -100.00 USD",
		},
		{
			name: "a lower limit under an approval", real: asksAbove50(500, 1),
			history: func(b *whatIfBed) {
				b.asks("100", domain.ApprovalRequired)
				b.approves("mem_owner")
				b.asks("100", allowedCode)
			},
			candidate: replace(asksAbove50(90, 1)),
			recorded:  "agent_ollie 1 ALLOWED->AMOUNT_EXCEEDS_LIMIT; agent_ollie 1 APPROVAL_REQUIRED->AMOUNT_EXCEEDS_LIMIT; +0.00 -100.00 USD",
			consequences: "agent_ollie 1 ALLOWED->AMOUNT_EXCEEDS_LIMIT; agent_ollie 1 APPROVAL_REQUIRED->AMOUNT_EXCEEDS_LIMIT; " +
				"+0.00 -100.00 USD",
		},
		{
			// A person would have been asked earlier, for the same; the yes they
			// gave later is to that.
			name: "an answer to what was asked before", real: rated(1),
			history: func(b *whatIfBed) {
				b.asks("10", allowedCode, "100", domain.RateExceeded)
				b.now = b.now.Add(time.Minute)
				b.asks("100", domain.ApprovalRequired)
				b.approves("mem_owner")
				b.asks("100", allowedCode)
			},
			candidate:    replace(rated(100)),
			recorded:     "agent_ollie 1 RATE_EXCEEDED->APPROVAL_REQUIRED",
			consequences: "agent_ollie 1 RATE_EXCEEDED->APPROVAL_REQUIRED",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newWhatIfBed(t, tt.real)
			tt.history(b)
			for mode, want := range map[WhatIfMode]string{RecordedState: tt.recorded, Consequences: tt.consequences} {
				report := b.whatIf(mode, tt.candidate, Range{})
				if got := changesOf(report); got != want || report.Unreadable > 0 {
					t.Errorf("%s: got %q, want %q", mode, got, want)
				}
			}
		})
	}
}

// asksAbove50 asks so many people for whatever moves more than 50.
func asksAbove50(most, quorum int) domain.Terms {
	return domain.Terms{
		Action: "purchase", MaxAmount: domain.Decimal(fmt.Sprintf("%d.00", most)), Currency: "USD",
		RequiresApproval: domain.ApprovalRule{Above: "50.00"}, Approval: &domain.ApprovalTerms{Quorum: quorum},
	}
}

func rated(perMinute int64) domain.Terms {
	terms := asksAbove50(500, 1)
	terms.Limits.Rates = []domain.Rate{{Count: perMinute, Per: domain.PerMinute, TimeZone: "UTC"}}
	return terms
}

// Who shares the account's limits has what another doesn't spend.
func TestWhatIfReachesOtherAgents(t *testing.T) {
	t.Parallel()
	b := newWhatIfBed(t, buy("500.00", ""))
	b.register("agent_polly", buy("500.00", ""))
	b.add("", "member:mem_owner", domain.BudgetSet{Limits: domain.Limits{Budgets: total("1000.00")}})
	set := uint64(len(b.records))
	for _, id := range []domain.AgentID{buyer, "agent_polly"} {
		b.add(id, "member:mem_owner", domain.AgentBudgetShared{Shared: true, Budget: set})
	}
	b.asks("400", allowedCode)
	b.decide("agent_polly", "400")
	b.asks("400", overBudget)
	b.decide("agent_polly", "300") // which is too much in fact
	c := AgentCandidate{Replace: map[domain.PermissionID]domain.Terms{"perm_buy": buy("300.00", "")}}
	want := "agent_ollie 1 ALLOWED->AMOUNT_EXCEEDS_LIMIT; agent_ollie 1 BUDGET_EXCEEDED->AMOUNT_EXCEEDS_LIMIT; +0.00 -400.00 USD"
	if got := changesOf(b.whatIf(RecordedState, c, Range{})); got != want {
		t.Errorf("recorded state: got %q, want %q", got, want)
	}
	want = "agent_ollie 1 ALLOWED->AMOUNT_EXCEEDS_LIMIT; agent_ollie 1 BUDGET_EXCEEDED->AMOUNT_EXCEEDS_LIMIT; " +
		"agent_polly 1 BUDGET_EXCEEDED->ALLOWED; +300.00 -400.00 USD"
	if got := changesOf(b.whatIf(Consequences, c, Range{})); got != want {
		t.Errorf("consequences: got %q, want %q", got, want)
	}
	// Looking at one agent, the others do what they did.
	want = "agent_ollie 1 ALLOWED->AMOUNT_EXCEEDS_LIMIT; agent_ollie 1 BUDGET_EXCEEDED->AMOUNT_EXCEEDS_LIMIT; +0.00 -400.00 USD"
	if got := changesOf(b.whatIf(Consequences, c, Range{Agent: buyer})); got != want {
		t.Errorf("consequences for one agent: got %q, want %q", got, want)
	}
}

// What was spent before the range is spent; what is added is there from its
// beginning on.
func TestWhatIfOfARange(t *testing.T) {
	t.Parallel()
	b := newWhatIfBed(t, buy("500.00", ""))
	b.asks("100", allowedCode, "100", allowedCode)
	b.now = b.now.Add(time.Hour)
	from := b.now
	b.asks("100", allowedCode)
	c := AgentCandidate{Replace: map[domain.PermissionID]domain.Terms{"perm_buy": buy("500.00", "250.00")}}
	for _, mode := range []WhatIfMode{RecordedState, Consequences} {
		report := b.whatIf(mode, c, Range{Since: from})
		if got, want := changesOf(report), "agent_ollie 1 ALLOWED->BUDGET_EXCEEDED; +0.00 -100.00 USD"; got != want || report.Decisions != 1 {
			t.Errorf("%s: got %q of %d decisions, want %q of 1", mode, got, report.Decisions, want)
		}
		if e := report.Changes[0].Examples[0]; e.RequestID != "req_7" || e.Amount != "100.00" || !strings.Contains(e.Reason, "of which 200.00 is used") {
			t.Errorf("%s: got the example %+v", mode, e)
		}
		for i := range b.records { // read, and not written
			if b.records[i].Position.Seq != uint64(i+1) {
				t.Fatalf("record %d was changed", i)
			}
		}
	}
}

func TestWhatIfAddsAPermission(t *testing.T) {
	t.Parallel()
	b := newWhatIfBed(t, buy("100.00", ""))
	b.asks("200", domain.AmountExceedsLimit)
	b.now = b.now.Add(time.Hour)
	from := b.now
	b.asks("200", domain.AmountExceedsLimit, "200", domain.AmountExceedsLimit)
	c := AgentCandidate{Add: []domain.Terms{buy("500.00", "300.00")}}
	for _, mode := range []WhatIfMode{RecordedState, Consequences} {
		want := map[WhatIfMode]string{
			RecordedState: "agent_ollie 2 AMOUNT_EXCEEDS_LIMIT->ALLOWED; +400.00 -0.00 USD",
			Consequences:  "agent_ollie 1 AMOUNT_EXCEEDS_LIMIT->ALLOWED; agent_ollie 1 AMOUNT_EXCEEDS_LIMIT->BUDGET_EXCEEDED; +200.00 -0.00 USD",
		}[mode]
		report := b.whatIf(mode, c, Range{Since: from})
		if got := changesOf(report); got != want {
			t.Errorf("%s: got %q, want %q", mode, got, want)
		}
		if got := report.Changes[0].Examples[0].PermissionID; got != "new_1" {
			t.Errorf("%s: got allowed by %s, want new_1", mode, got)
		}
	}
}

func TestWhatIfRefusesACandidateThatMeansNothing(t *testing.T) {
	t.Parallel()
	b := newWhatIfBed(t, buy("100.00", ""))
	b.asks("50", allowedCode)
	for _, tt := range []struct {
		name, want string
		c          Candidate
	}{
		{"no agents", "names no agents", Candidate{}},
		{"nothing of an agent", "changes nothing", Candidate{Agents: map[domain.AgentID]AgentCandidate{buyer: {}}}},
		{"a permission replaced and removed", "names perm_buy twice", Candidate{Agents: map[domain.AgentID]AgentCandidate{buyer: {
			Replace: map[domain.PermissionID]domain.Terms{"perm_buy": buy("1.00", "")}, Remove: []domain.PermissionID{"perm_buy"},
		}}}},
		{"terms that can't be", "is both allowed and blocked", Candidate{Agents: map[domain.AgentID]AgentCandidate{buyer: {
			Add: []domain.Terms{{Action: "purchase", BlockedActions: []domain.Action{"purchase"}}},
		}}}},
		{"a permission there never was", "never had", Candidate{Agents: map[domain.AgentID]AgentCandidate{buyer: {Remove: []domain.PermissionID{"perm_x"}}}}},
	} {
		for _, mode := range []WhatIfMode{RecordedState, Consequences} {
			w := WhatIf{Candidate: tt.c, Mode: mode}
			_, err := w.Run(reader(b.records))
			if err == nil {
				_, err = w.Met()
			}
			if fault, ok := errors.AsType[*CandidateError](err); !ok || !strings.Contains(fault.Text, tt.want) {
				t.Errorf("%s, %s: got %v, want %q", tt.name, mode, err, tt.want)
			}
		}
	}
}
