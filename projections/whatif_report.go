package projections

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/behalf-platform/behalf/domain"
)

// WhatIfReport is what would have come out otherwise.
type WhatIfReport struct {
	Mode WhatIfMode `json:"mode"`
	// Records is how many were read. Decisions are those that were decided
	// under the candidate: of the agents it names and, following consequences, of
	// those that share the account's limits with them.
	Records   uint64 `json:"records"`
	Decisions uint64 `json:"decisions"`
	// Changed have another outcome or reason code. Unreadable could not be decided.
	Changed    uint64        `json:"changed"`
	Unreadable uint64        `json:"unreadable,omitzero"`
	Changes    []Change      `json:"changes"`
	Money      []MoneyChange `json:"money"`
	// Asked are approvals that would have been asked for and in fact were not,
	// which nobody answers; Moot are answers of people to what would not have
	// been asked, or not so that they count.
	Asked uint64 `json:"approvalsOnlySupposed,omitzero"`
	Moot  uint64 `json:"answersWithoutPlace,omitzero"`

	sums map[domain.Currency]*moneySum
}

// Change is the decisions of an agent that change in one way.
type Change struct {
	Account domain.AccountID `json:"accountId"`
	Agent   domain.AgentID   `json:"agentId"`
	From    Came             `json:"from"`
	To      Came             `json:"to"`
	Count   uint64           `json:"count"`
	// Examples are the first ones.
	Examples []Example `json:"examples"`
}

// Came is how a decision came out.
type Came = domain.Came

// Example is one decision that changes.
type Example struct {
	RequestID domain.RequestID `json:"requestId"`
	Sequence  uint64           `json:"sequence"`
	At        time.Time        `json:"at"`
	Action    domain.Action    `json:"action"`
	Amount    domain.Decimal   `json:"amount,omitempty"`
	Currency  domain.Currency  `json:"currency,omitempty"`
	// PermissionID and Reason are the supposed decision's.
	PermissionID domain.PermissionID `json:"permissionId,omitempty"`
	Reason       string              `json:"reason"`
}

// MoneyChange is the money of the requests whose outcome changes to or from
// allowed, as it was asked for.
type MoneyChange struct {
	Currency domain.Currency `json:"currency"`
	Allowed  domain.Decimal  `json:"nowAllowed"`
	Stopped  domain.Decimal  `json:"nowStopped"`
}

// supposition is a request to decide, and on what.
type supposition struct {
	r      domain.Recorded
	agent  *domain.Agent
	budget *domain.SharedBudget
	gate   *domain.Gate
	// follows says that time is not to run back on what is supposed.
	follows bool

	made domain.DecisionMade
	at   time.Time
	why  error
}

// decide makes the supposed decision. A gate in the record is where Derive
// takes the account's settings from.
func (s *supposition) decide() {
	known := domain.Situation{Agent: s.agent, Budget: s.budget}
	if s.why = known.Fault(); s.why != nil {
		return
	}
	d, ok := s.r.Event.(domain.DecisionMade)
	if !ok {
		s.why = errors.New("is not a decision")
		return
	}
	d.Gate = s.gate
	in := s.r
	in.Event = d
	if s.at = in.At; s.follows {
		s.at = known.Moment(in.At)
	}
	in.At = s.at
	s.made, s.why = domain.Derive(s.agent, s.budget, in)
}

// whatIfTally counts what changes.
type whatIfTally struct {
	most int

	mu sync.Mutex
	// All below are guarded by mu.
	decisions, changed, unreadable, newly, mootAnswers uint64
	changes                                            map[changeKey]*Change
	money                                              map[domain.Currency]*moneySum
}

type changeKey struct {
	account  domain.AccountID
	agent    domain.AgentID
	from, to Came
}

type moneySum struct{ allowed, stopped big.Int }

func newWhatIfTally(most int) whatIfTally {
	return whatIfTally{most: most, changes: map[changeKey]*Change{}, money: map[domain.Currency]*moneySum{}}
}

// decided decides and counts.
func (t *whatIfTally) decided(s *supposition) {
	s.decide()
	recorded, _ := s.r.Event.(domain.DecisionMade) // whoever adds one sees that it is
	from := Came{Outcome: recorded.Outcome, ReasonCode: recorded.ReasonCode}
	to := Came{Outcome: s.made.Outcome, ReasonCode: s.made.ReasonCode}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.decisions++
	switch {
	case s.why != nil:
		t.unreadable++
		return
	case from == to:
		return
	}
	t.changed++
	t.price(&recorded, from.Outcome, to.Outcome)
	key := changeKey{s.r.Account, s.r.Agent, from, to}
	c := t.changes[key]
	if c == nil {
		c = &Change{Account: key.account, Agent: key.agent, From: from, To: to, Examples: []Example{}}
		t.changes[key] = c
	}
	c.Count++
	i, _ := slices.BinarySearchFunc(c.Examples, s.r.Position.Seq, func(e Example, seq uint64) int { return cmp.Compare(e.Sequence, seq) })
	if i >= t.most {
		return
	}
	c.Examples = slices.Insert(c.Examples, i, Example{
		RequestID: recorded.RequestID, Sequence: s.r.Position.Seq, At: s.r.At, Action: recorded.Request.Action,
		Amount: recorded.Request.Amount, Currency: recorded.Request.Currency, PermissionID: s.made.PermissionID, Reason: s.made.Reason,
	})
	c.Examples = c.Examples[:min(len(c.Examples), t.most)]
}

// price counts the money of a decision that changes. The caller holds mu.
func (t *whatIfTally) price(d *domain.DecisionMade, from, to domain.Outcome) {
	if d.Request.Amount == "" || from == to || from != domain.OutcomeAllowed && to != domain.OutcomeAllowed {
		return
	}
	m, err := domain.ParseMoney(string(d.Request.Amount), d.Request.Currency)
	if err != nil {
		return // it was decided, so it could be read
	}
	sum := t.money[m.Currency]
	if sum == nil {
		sum = &moneySum{}
		t.money[m.Currency] = sum
	}
	into := &sum.allowed
	if from == domain.OutcomeAllowed {
		into = &sum.stopped
	}
	into.Add(into, big.NewInt(m.Minor))
}

// asked counts an approval that is asked for, unless it really was.
func (t *whatIfTally) asked(really bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !really {
		t.newly++
	}
}

// moot counts a person's answer that has no place.
func (t *whatIfTally) moot() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mootAnswers++
}

func (t *whatIfTally) report(mode WhatIfMode, records uint64) WhatIfReport {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := WhatIfReport{
		Mode: mode, Records: records, Decisions: t.decisions, Changed: t.changed, Unreadable: t.unreadable,
		Changes: []Change{}, sums: t.money, Asked: t.newly, Moot: t.mootAnswers,
	}
	for _, c := range t.changes {
		r.Changes = append(r.Changes, *c)
	}
	slices.SortFunc(r.Changes, compareChanges)
	r.count()
	return r
}

// compareChanges orders by agent, and then by how many there are.
func compareChanges(a, b Change) int {
	return cmp.Or(cmp.Compare(a.Account, b.Account), cmp.Compare(a.Agent, b.Agent), cmp.Compare(b.Count, a.Count),
		cmp.Compare(a.From.ReasonCode, b.From.ReasonCode), cmp.Compare(a.To.ReasonCode, b.To.ReasonCode),
		cmp.Compare(a.From.Outcome, b.From.Outcome), cmp.Compare(a.To.Outcome, b.To.Outcome))
}

// minorText writes a sum of minor units, which may be beyond what one amount is.
func minorText(minor *big.Int, c domain.Currency) domain.Decimal {
	_, fraction, point := strings.Cut(domain.Money{Currency: c}.String(), ".")
	if !point {
		return domain.Decimal(minor.String())
	}
	text := fmt.Sprintf("%0*s", len(fraction)+1, minor.String())
	whole := len(text) - len(fraction)
	return domain.Decimal(text[:whole] + "." + text[whole:])
}

// Add takes in the report of another partition, which has other accounts.
func (r *WhatIfReport) Add(o WhatIfReport) {
	r.Records += o.Records
	r.Decisions += o.Decisions
	r.Changed += o.Changed
	r.Unreadable += o.Unreadable
	r.Asked += o.Asked
	r.Moot += o.Moot
	r.Changes = append(r.Changes, o.Changes...)
	slices.SortFunc(r.Changes, compareChanges)
	if r.sums == nil {
		r.sums = map[domain.Currency]*moneySum{}
	}
	for c, sum := range o.sums {
		mine := r.sums[c]
		if mine == nil {
			mine = &moneySum{}
			r.sums[c] = mine
		}
		mine.allowed.Add(&mine.allowed, &sum.allowed)
		mine.stopped.Add(&mine.stopped, &sum.stopped)
	}
	r.count()
}

// count writes the sums down.
func (r *WhatIfReport) count() {
	r.Money = []MoneyChange{}
	for _, c := range slices.Sorted(maps.Keys(r.sums)) {
		r.Money = append(r.Money, MoneyChange{c, minorText(&r.sums[c].allowed, c), minorText(&r.sums[c].stopped, c)})
	}
}
