package projections

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/behalf-platform/behalf/domain"
)

// Audit reads one partition of the log from its first record on and proves that
// it keeps its promises. It trusts nothing a record says of itself: passports
// are folded again, and every decision is derived again from them. Nor does it
// trust how that is done: what was spent and who said yes is recounted by its
// own reading of the events, see ledger.
//
// The zero Audit is ready for the first record.
type Audit struct {
	// MostSkew is how far a record's own time and the log's may lie apart; 0
	// doesn't look.
	MostSkew time.Duration
	// Clock is the log's own. Without it nothing may be missing; with it, decisions
	// may that have expired.
	Clock func() time.Time

	// Marks, if there are any, say of when missing records were, and so whether they
	// can have expired; the oldest first. The audit uses them up.
	Marks []Mark

	// Tallies of what was read, and of what has expired.
	Records, Decisions, Allowed, Expired uint64
	// Unproven are those among Expired that lie where only the older records can
	// have expired. Where that is, the first Holes say. That is so where an account
	// was silent while its decisions expired, too, and is no fault.
	Unproven uint64
	Holes    []Hole

	next     uint64
	newest   time.Time // what is at next was stored after it: the time of the record before it, or a mark
	agents   map[domain.Stream]*auditedAgent
	accounts map[domain.AccountID]*auditedAccount
	requests map[domain.RequestID]uint64
	events   map[domain.EventID]uint64
	opened   map[domain.ApprovalID]uint64
	consumed map[domain.RequestID]uint64
	due      *due // what the next record has to be, if anything

	retentions retentions // of all accounts
}

// auditedAgent is an agent twice: as the rules fold it, to derive its decisions
// again, and as the audit reads its events.
type auditedAgent struct {
	agent  *domain.Agent
	ledger ledger
}

// auditedAccount is what an account's own events say, and, twice as well, what
// its agents spend together.
type auditedAccount struct {
	version uint64
	people  people
	// retention is what is set now, and retentions what was, too.
	retention  domain.Duration
	retentions retentions

	// budget is the newest version of recent. A denial may stand on one that isn't.
	budget *domain.SharedBudget
	recent versions
	shared sharedLedger
}

// AuditFault is a promise the log broke, and where it shows first.
type AuditFault struct {
	Seq     uint64
	Promise string
	Detail  string
}

func (f *AuditFault) Error() string {
	return fmt.Sprintf("sequence %d: %s: %s", f.Seq, f.Promise, f.Detail)
}

// The promises, in the words a report uses.
const (
	promiseWhole     = "nothing that was acknowledged is missing"
	promiseKept      = "a decision is kept as long as its account says, and what is decided on for ever"
	promiseReadable  = "every record can be read"
	promiseFence     = "every record stands on the newest version before it"
	promiseOnce      = "every id is used once"
	promiseDerived   = "every decision can be derived again from the log"
	promiseRevoked   = "nothing is allowed after a revocation, disablement or expiry"
	promiseTimely    = "a record's time is close to the log's"
	promiseInPackets = "a decision says what version it was made on"
	promiseForward   = "time does not run back where something is counted"
	promiseCounted   = "an allow under limits counts against each of them"
	promiseWindow    = "no window of a limit is overspent"
	promiseCharged   = "the account's limits are charged by each allow under them, and by nothing else"
	promiseShared    = "an agent is under the account's limits as they were set"
	promiseSettled   = "an allow is settled once, by its agent, for no more than it reserved"
	promiseAsked     = "an approval is opened once, by a request that needs one and has no answer"
	promiseUsed      = "what needs a person's yes is allowed by one that was given to it, once and in time"
	promiseInOrder   = "an approval changes once, in order and in time"
	promiseReviewed  = "an approval is answered by people who may, and by enough of them"
	promiseConsumed  = "a decision is consumed once, after it was made"
	promiseCancelled = "a permission that changes takes the open approvals with it that stand on it"
)

// broken is a promise that a record breaks.
func broken(r *domain.Recorded, promise, format string, args ...any) error {
	return &AuditFault{Seq: r.Position.Seq, Promise: promise, Detail: fmt.Sprintf(format, args...)}
}

// Check takes the next record, or the error that came in place of one.
func (a *Audit) Check(r domain.Recorded, err error) error {
	a.begin()
	if unreadable, ok := errors.AsType[*domain.Unreadable](err); ok {
		return &AuditFault{Seq: unreadable.Position.Seq, Promise: promiseReadable, Detail: err.Error()}
	}
	if err != nil {
		return &AuditFault{Seq: a.next, Promise: promiseReadable, Detail: err.Error()}
	}
	if err := a.gap(r.Position.Seq, r.LoggedAt); err != nil {
		return err
	}
	a.next++
	a.newest = r.LoggedAt
	a.Records++
	if skew := r.LoggedAt.Sub(r.At).Abs(); a.MostSkew > 0 && skew > a.MostSkew {
		return broken(&r, promiseTimely, "%s apart", skew)
	}
	if err := a.comes(&r); err != nil {
		return err
	}
	if err := a.kept(&r, r.Moves()); err != nil {
		return err
	}
	if d, ok := r.Event.(domain.DecisionMade); ok {
		return a.decision(&r, &d)
	}
	if earlier, twice := a.events[r.ID]; twice {
		return broken(&r, promiseOnce, "event %s is at sequence %d too", r.ID, earlier)
	}
	a.events[r.ID] = r.Position.Seq
	switch s := r.Stream(); {
	case s.Budget:
		return a.budget(&r)
	case s.Agent == "":
		return a.account(&r)
	}
	return a.agent(&r)
}

func (a *Audit) consume(r *domain.Recorded, e domain.DecisionConsumed) error {
	if _, made := a.requests[e.RequestID]; !made && a.Expired == 0 { // else it may have gone before this
		return broken(r, promiseConsumed, "nothing was decided as %s", e.RequestID)
	}
	if earlier, twice := a.consumed[e.RequestID]; twice {
		return broken(r, promiseConsumed, "%s was consumed at sequence %d too", e.RequestID, earlier)
	}
	a.consumed[e.RequestID] = r.Position.Seq
	return nil
}

func (a *Audit) begin() {
	if a.agents != nil {
		return
	}
	a.agents = map[domain.Stream]*auditedAgent{}
	a.accounts = map[domain.AccountID]*auditedAccount{}
	a.requests = map[domain.RequestID]uint64{}
	a.events = map[domain.EventID]uint64{}
	a.opened = map[domain.ApprovalID]uint64{}
	a.consumed = map[domain.RequestID]uint64{}
	a.next = 1
}

// End takes that there is no further record, though the log reaches to head.
func (a *Audit) End(head uint64) error {
	a.begin()
	now := a.newest
	if a.Clock != nil {
		now = a.Clock()
	}
	if err := a.gap(max(head+1, a.next), now); err != nil {
		return err
	}
	if a.due == nil {
		return nil
	}
	return &AuditFault{Seq: a.next, Promise: promiseCharged, Detail: fmt.Sprintf("the log ends where %s has to follow", a.due)}
}

func (a *Audit) account(r *domain.Recorded) error {
	account := a.accountOf(r.Account)
	if r.Last != account.version {
		return broken(r, promiseFence, "appended to account %s on version %d, but %d is the newest", r.Account, r.Last, account.version)
	}
	account.version = r.Position.Seq
	account.people.read(r)
	a.retain(account, r)
	return nil
}

func (a *Audit) accountOf(id domain.AccountID) *auditedAccount {
	account := a.accounts[id]
	if account == nil {
		account = &auditedAccount{budget: &domain.SharedBudget{}}
		a.accounts[id] = account
	}
	return account
}

func (a *Audit) budget(r *domain.Recorded) error {
	account := a.accountOf(r.Account)
	if r.Last != account.budget.Version {
		return broken(r, promiseFence, "appended to the budget of %s on version %d, but %d is the newest", r.Account, r.Last, account.budget.Version)
	}
	if err := account.shared.read(r); err != nil {
		return err
	}
	next := account.budget.Evolve(*r)
	if err := next.Fault(); err != nil {
		return broken(r, promiseReadable, "%v", err)
	}
	account.budget = &next
	account.recent = account.recent.add(&next, r.LoggedAt)
	return nil
}

func (a *Audit) agent(r *domain.Recorded) error {
	agent := a.agentOf(r.Stream())
	if r.Last != agent.agent.Version {
		return broken(r, promiseFence, "appended to agent %s on version %d, but %d is the newest", r.Agent, r.Last, agent.agent.Version)
	}
	if err := agent.evolve(r); err != nil {
		return err
	}
	return a.read(r, &agent.ledger)
}

func (a *Audit) agentOf(s domain.Stream) *auditedAgent {
	agent := a.agents[s]
	if agent == nil {
		agent = &auditedAgent{agent: &domain.Agent{}}
		a.agents[s] = agent
	}
	return agent
}

func (a *auditedAgent) evolve(r *domain.Recorded) error {
	next := a.agent.Evolve(*r)
	if err := next.Fault(); err != nil {
		return broken(r, promiseReadable, "%v", err)
	}
	a.agent = &next
	return nil
}

func (a *Audit) decision(r *domain.Recorded, d *domain.DecisionMade) error {
	agent := a.agentOf(domain.Stream{Account: r.Account, Agent: r.Agent})
	a.Decisions++
	if earlier, twice := a.requests[d.RequestID]; twice {
		return broken(r, promiseOnce, "request %s was decided at sequence %d too", d.RequestID, earlier)
	}
	a.requests[d.RequestID] = r.Position.Seq
	if r.Last != agent.agent.Version {
		return broken(r, promiseFence, "decided for agent %s on version %d, but %d is the newest", r.Agent, r.Last, agent.agent.Version)
	}
	if d.PassportVersion != r.Last {
		return broken(r, promiseInPackets, "it says %d, its guard %d", d.PassportVersion, r.Last)
	}
	if d.Outcome == domain.OutcomeAllowed {
		a.Allowed++
	}
	if err := a.readDecision(r, d, &agent.ledger); err != nil {
		return err
	}
	if err := a.derived(r, d, agent.agent); err != nil || !d.Moves() {
		return err
	}
	return agent.evolve(r)
}

func (a *Audit) derived(r *domain.Recorded, d *domain.DecisionMade, agent *domain.Agent) error {
	budget := &domain.SharedBudget{}
	if d.BudgetVersion != 0 {
		if budget = a.accountOf(r.Account).recent.find(d.BudgetVersion); budget == nil {
			return broken(r, promiseDerived, "it stands on version %d of the account's limits, which is none of the last ones", d.BudgetVersion)
		}
	}
	again, err := domain.Derive(agent, budget, *r)
	if err != nil {
		return broken(r, promiseDerived, "%v", err)
	}
	copied := r.Record
	copied.Event = again
	want, err := r.Append(nil)
	if err != nil {
		return fmt.Errorf("encode record %d: %w", r.Position.Seq, err)
	}
	got, err := copied.Append(nil)
	if err != nil {
		return fmt.Errorf("encode record %d: %w", r.Position.Seq, err)
	}
	if !bytes.Equal(got, want) {
		return broken(r, promiseDerived, "recorded %s, derived %s", want, got)
	}
	return nil
}
