package projections

import (
	"errors"
	"maps"
	"slices"
	"strconv"
	"sync/atomic"

	"github.com/behalf-platform/behalf/domain"
)

// WhatIfMode says what a supposed decision stands on.
type WhatIfMode string

const (
	// Consequences folds what is supposed: an allow that would not have been
	// spends nothing, and so on.
	Consequences WhatIfMode = "consequences"
	// RecordedState decides each request on what had really been spent and
	// approved by then.
	RecordedState WhatIfMode = "recorded-state"
)

// WhatIf reads one partition of the log from its first record on and decides the
// requests of a range under other permissions. It records nothing.
//
// The passports it folds have the candidate's terms from the day the permissions
// were granted; before the range they are fed what really happened, so that
// limits count what was really spent. In the range that goes on in the mode
// RecordedState, while in the mode Consequences its own decisions take the place
// of those that were recorded.
type WhatIf struct {
	Range
	Candidate Candidate
	Mode      WhatIfMode
	// Workers is how many decide at once in the mode RecordedState, one for each
	// processor if 0. Consequences follow one after another.
	Workers int
	// MostExamples bounds the examples of each change.
	MostExamples int

	// Records is how many were read. It can be looked at meanwhile.
	Records atomic.Uint64

	accounts map[domain.AccountID]*supposedAccount
	agents   map[domain.Stream]*supposedAgent
	// named are the agents of the candidate that were met.
	named map[domain.AgentID][]*accepted
	made  uint64 // supposed events so far, other than decisions
	// alone says that what is read is one agent's, with its account and what the
	// account's agents spend: the other agents' own records are not among it.
	alone bool
	// see, if there is one, is shown each decision that was made.
	see   func(*supposition)
	tally whatIfTally
	// failed is why no more can be decided, set once.
	failed atomic.Pointer[CandidateError]
}

// supposedAccount is an account, and what its agents spend together: really, and
// as supposed.
type supposedAccount struct {
	state domain.Account
	// gate carries the account's settings to where a decision is made.
	gate     *domain.Gate
	real     budgetVersions
	supposed domain.SharedBudget
	named    bool // one of its agents is in the candidate
}

// supposedAgent is an agent, really and as supposed.
type supposedAgent struct {
	changes *accepted // nil if the candidate doesn't name it
	begun   bool      // the range has, for it
	// real is followed for what is asked of people, and only where it can differ.
	real, supposed *domain.Agent
}

// Run decides. It calls read once, which hands over every record of the
// partition in order, or the error that came in place of one. A candidate that
// can't be decided under is a [*CandidateError].
func (w *WhatIf) Run(read func(take func(domain.Recorded, error) error) error) (WhatIfReport, error) {
	if err := w.Candidate.Check(); err != nil {
		return WhatIfReport{}, err
	}
	w.accounts, w.agents = map[domain.AccountID]*supposedAccount{}, map[domain.Stream]*supposedAgent{}
	w.named = map[domain.AgentID][]*accepted{}
	w.tally = newWhatIfTally(w.MostExamples)
	var err error
	if w.Mode == RecordedState {
		err = w.runRecorded(read)
	} else {
		err = w.runConsequences(read)
	}
	switch failed := w.failed.Load(); {
	case failed != nil:
		return WhatIfReport{}, failed
	case err != nil:
		return WhatIfReport{}, err
	}
	return w.tally.report(w.Mode, w.Records.Load()), nil
}

// Met are the agents of the candidate that the partition has; an error says that
// it has one without a permission that the candidate names.
func (w *WhatIf) Met() ([]domain.AgentID, error) {
	for _, id := range slices.Sorted(maps.Keys(w.named)) {
		for _, a := range w.named[id] {
			if err := a.unmet(); err != nil {
				return nil, err
			}
		}
	}
	return slices.Sorted(maps.Keys(w.named)), nil
}

// runRecorded folds here and has decisions made by a crew: none of them depends
// on another.
func (w *WhatIf) runRecorded(read func(take func(domain.Recorded, error) error) error) error {
	crew := hire(w.Workers, func(batch []supposition) {
		for i := range batch {
			w.tally.decided(&batch[i])
		}
	})
	defer crew.dismiss()
	return read(func(r domain.Recorded, err error) error {
		if err := w.taken(&r, err); err != nil || w.passes(&r) {
			return err
		}
		a, acct := w.agent(&r), w.account(r.Account)
		w.begin(a, acct, &r)
		if d, ok := r.Event.(domain.DecisionMade); ok && a.changes != nil && w.has(&r) {
			budget := noBudget
			if a.supposed.Shared {
				if budget = acct.real.at(d.BudgetVersion); budget == nil {
					budget = acct.real.newest
				}
			}
			crew.add(supposition{r: r, agent: a.supposed, budget: budget, gate: acct.gate})
		}
		return w.feed(a, acct, &r)
	})
}

// runConsequences folds and decides in one goroutine, beside the one that reads.
func (w *WhatIf) runConsequences(read func(take func(domain.Recorded, error) error) error) error {
	crew := hire(1, func(batch []domain.Recorded) {
		for i := range batch {
			if w.failed.Load() == nil {
				w.follow(&batch[i])
			}
		}
	})
	defer crew.dismiss()
	return read(func(r domain.Recorded, err error) error {
		if err := w.taken(&r, err); err != nil {
			return err
		}
		crew.add(r)
		return nil
	})
}

// errStopped ends a read whose error is known already.
var errStopped = errors.New("the candidate can't be decided under")

// taken counts a record, and says why no more are wanted.
func (w *WhatIf) taken(r *domain.Recorded, err error) error {
	w.Records.Add(1)
	switch {
	case err != nil:
		return err
	case w.failed.Load() != nil:
		return errStopped
	}
	return nil
}

// passes takes a record that is no agent's, or not of the account that is
// looked at, and reports whether it did.
func (w *WhatIf) passes(r *domain.Recorded) bool {
	if w.Account != "" && r.Account != w.Account {
		return true
	}
	switch s := r.Stream(); {
	case s.Budget:
		acct := w.account(s.Account)
		if !w.alone {
			acct.real.fold(r)
		}
		if _, set := r.Event.(domain.BudgetSet); set || w.alone && r.Agent != w.Agent {
			acct.budget(r, r.Event)
		}
		return true
	case s.Agent == "":
		acct := w.account(s.Account)
		acct.state = acct.state.Evolve(*r)
		acct.gate = gateOf(acct.state.Approvals)
		return true
	}
	return false
}

// gateOf is a gate that leads to an account's settings.
func gateOf(s domain.ApprovalSettings) *domain.Gate {
	return &domain.Gate{
		PendingFor: s.PendingFor, ValidFor: s.ValidFor, DenialFor: s.DenialFor, RemindEvery: s.RemindEvery, MostPending: s.MostPending,
	}
}

func (w *WhatIf) account(id domain.AccountID) *supposedAccount {
	acct := w.accounts[id]
	if acct == nil {
		acct = &supposedAccount{real: budgetVersions{newest: &domain.SharedBudget{}}}
		w.accounts[id] = acct
	}
	return acct
}

func (w *WhatIf) agent(r *domain.Recorded) *supposedAgent {
	a := w.agents[r.Stream()]
	if a == nil {
		a = &supposedAgent{real: &domain.Agent{}, supposed: &domain.Agent{}}
		w.agents[r.Stream()] = a
	}
	return a
}

// begin grants what the candidate adds when the range begins.
func (w *WhatIf) begin(a *supposedAgent, acct *supposedAccount, r *domain.Recorded) {
	if a.begun || a.changes == nil || !w.begun(r) || !a.supposed.Exists() {
		return
	}
	a.begun = true
	for i, terms := range a.changes.add {
		w.suppose(a, r, domain.PermissionGranted{PermissionID: domain.PermissionID("new_" + strconv.Itoa(i+1)), Terms: terms})
	}
}

// feed folds a record that really was, under the candidate's terms.
func (w *WhatIf) feed(a *supposedAgent, acct *supposedAccount, r *domain.Recorded) error {
	switch e := r.Event.(type) {
	case domain.DecisionMade:
		w.feedDecision(a, acct, r, e)
		return nil
	case domain.DecisionSettled:
		w.settle(a, acct, r, e)
		return nil
	case domain.AgentRegistered:
		a.evolve(r, e)
		return w.meet(a, acct, r)
	case domain.DecisionConsumed: // decides nothing
		return nil
	case domain.AccountOpened, domain.AccountSettingsChanged, domain.AgentBudgetShared, domain.AgentDisabled,
		domain.AgentDriverChanged, domain.AgentEnabled, domain.AgentKeyRotated, domain.AgentLimitsSet,
		domain.ApprovalApproved, domain.ApprovalCancelled, domain.ApprovalDenied, domain.ApprovalExpired,
		domain.ApprovalReminded, domain.ApprovalVoted, domain.BudgetCharged, domain.BudgetReleased, domain.BudgetSet,
		domain.MemberAdded, domain.MemberRemoved, domain.MemberRoleChanged, domain.MemberTokenRotated,
		domain.PermissionGranted, domain.PermissionReplaced, domain.PermissionRevoked,
		domain.WebhookCreated, domain.WebhookChanged, domain.WebhookVerified, domain.WebhookPaused, domain.WebhookResumed,
		domain.WebhookDisabled, domain.WebhookEnabled, domain.WebhookSecretRotated, domain.WebhookDeleted,
		domain.WebhookTested, domain.WebhookReplayRequested, domain.WebhookReplayCancelled, domain.WebhookReplayFinished,
		domain.WebhookFailing, domain.WebhookRecovered, domain.WebhookSkipped, domain.ReceiptKeyRotated,
		domain.PassportLinkCreated, domain.PassportLinkRevoked:
		// All others are taken as below.
	}
	if a.changes == nil {
		a.evolve(r, r.Event)
		return nil
	}
	switch e := r.Event.(type) {
	case domain.PermissionGranted:
		w.grant(a, r, e)
	case domain.PermissionReplaced:
		if a.changes.removes(e.PermissionID) {
			a.evolve(r, domain.PermissionRevoked{PermissionID: e.PermissionID, Cancels: e.Cancels})
			return nil
		}
		if terms, ok := a.changes.replace[e.PermissionID]; ok {
			e.Terms = terms
		}
		a.evolve(r, e)
	case domain.AgentLimitsSet:
		if a.changes.limits == nil {
			a.evolve(r, e)
		}
	case domain.AccountOpened, domain.AccountSettingsChanged, domain.AgentBudgetShared, domain.AgentDisabled,
		domain.AgentDriverChanged, domain.AgentEnabled, domain.AgentKeyRotated, domain.AgentRegistered,
		domain.ApprovalApproved, domain.ApprovalCancelled, domain.ApprovalDenied, domain.ApprovalExpired,
		domain.ApprovalReminded, domain.ApprovalVoted, domain.BudgetCharged, domain.BudgetReleased, domain.BudgetSet,
		domain.DecisionMade, domain.DecisionSettled, domain.MemberAdded, domain.MemberRemoved, domain.MemberRoleChanged,
		domain.MemberTokenRotated, domain.PermissionRevoked,
		domain.WebhookCreated, domain.WebhookChanged, domain.WebhookVerified, domain.WebhookPaused, domain.WebhookResumed,
		domain.WebhookDisabled, domain.WebhookEnabled, domain.WebhookSecretRotated, domain.WebhookDeleted,
		domain.WebhookTested, domain.WebhookReplayRequested, domain.WebhookReplayCancelled, domain.WebhookReplayFinished,
		domain.WebhookFailing, domain.WebhookRecovered, domain.WebhookSkipped, domain.ReceiptKeyRotated, domain.DecisionConsumed,
		domain.PassportLinkCreated, domain.PassportLinkRevoked:
		a.evolve(r, e)
	}
	return nil
}

// meet finds what the candidate says of an agent that is registered.
func (w *WhatIf) meet(a *supposedAgent, acct *supposedAccount, r *domain.Recorded) error {
	c, ok := w.Candidate.Agents[r.Agent]
	if !ok {
		return nil
	}
	changes, err := c.accept(r.Agent, acct.state)
	if err != nil {
		fault, _ := errors.AsType[*CandidateError](err) // accept returns no other
		w.failed.Store(fault)
		return errStopped
	}
	a.changes, acct.named = changes, true
	w.named[r.Agent] = append(w.named[r.Agent], changes)
	if changes.limits != nil {
		w.suppose(a, r, domain.AgentLimitsSet{Limits: *changes.limits})
	}
	w.begin(a, acct, r)
	return nil
}

func (w *WhatIf) grant(a *supposedAgent, r *domain.Recorded, e domain.PermissionGranted) {
	a.changes.met[e.PermissionID] = true
	if terms, ok := a.changes.replace[e.PermissionID]; ok {
		e.Terms = terms
	}
	a.evolve(r, e)
	if a.changes.removes(e.PermissionID) {
		w.suppose(a, r, domain.PermissionRevoked{PermissionID: e.PermissionID})
	}
}

// feedDecision folds a decision that really was. Limits that are only supposed
// count it too.
func (w *WhatIf) feedDecision(a *supposedAgent, acct *supposedAccount, r *domain.Recorded, d domain.DecisionMade) {
	allowed := d.Outcome == domain.OutcomeAllowed
	d.Spends = d.Spends || allowed && a.changes != nil && a.limited(d.PermissionID)
	if !d.Moves() {
		return
	}
	if w.Mode == Consequences && allowed && a.supposed.Shared {
		acct.charge(r, &d)
	}
	a.evolve(r, d)
}

// limited reports whether an allow by a permission counts against a limit of it
// or of the agent.
func (a *supposedAgent) limited(id domain.PermissionID) bool {
	some := func(l domain.Limits) bool { return len(l.Budgets)+len(l.Rates) > 0 }
	if some(a.supposed.Limits) {
		return true
	}
	p, ok := a.supposed.Permission(id)
	return ok && some(p.Terms.Limits)
}

// settle takes what came of an allow, if it is supposed to have been one.
func (w *WhatIf) settle(a *supposedAgent, acct *supposedAccount, r *domain.Recorded, e domain.DecisionSettled) {
	cmd := domain.SettleDecision{RequestID: e.RequestID, Outcome: e.Outcome}
	if e.Outcome == domain.Executed {
		cmd.Amount = e.Amount
	}
	events, back, err := a.supposed.Settle(cmd)
	if err != nil {
		return // it was not allowed, and spent nothing
	}
	for _, event := range events {
		w.suppose(a, r, event)
	}
	if back != nil && w.Mode == Consequences {
		acct.budget(r, *back)
	}
}

// evolve folds an event in that takes the place of a record.
func (a *supposedAgent) evolve(r *domain.Recorded, e domain.Event) {
	in := *r
	in.Event, in.Last = e, a.supposed.Version
	next := a.supposed.Evolve(in)
	a.supposed = &next
}

// suppose folds an event in that nobody recorded. It doesn't count as a version,
// since others follow at the same place.
func (w *WhatIf) suppose(a *supposedAgent, r *domain.Recorded, e domain.Event) {
	w.made++
	in := *r
	in.Event, in.Last, in.Position.Seq = e, a.supposed.Version, supposedSeq+w.made
	next := a.supposed.Evolve(in)
	next.Version = a.supposed.Version
	a.supposed = &next
}

// supposedSeq is above every sequence of a log. What a supposed event granted
// has a version that nothing recorded has.
const supposedSeq = 1 << 62

// charge takes an allow of what the account's agents spend together.
func (acct *supposedAccount) charge(r *domain.Recorded, d *domain.DecisionMade) {
	d.BudgetVersion = acct.supposed.Version
	acct.budget(r, domain.BudgetCharged{RequestID: d.RequestID, Amount: d.Request.Amount, Currency: d.Request.Currency})
}

// budget folds an event in at the place of a record.
func (acct *supposedAccount) budget(r *domain.Recorded, e domain.Event) {
	in := *r
	in.Event, in.Last = e, acct.supposed.Version
	acct.supposed = acct.supposed.Evolve(in)
}
