// Package projections holds read models: folds of the log that answer questions.
// Each can be dropped and made again from the first event. None decides.
package projections

import (
	"cmp"
	"errors"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/behalf-platform/behalf/domain"
)

// Passports is the read model verify decides from: every agent's passport and
// every account's members, in memory. It may lag behind the log; the fence of
// the decision's append is what makes that safe.
//
// The zero Passports is empty and ready to use.
type Passports struct {
	mu sync.RWMutex
	// All below are guarded by mu. What the pointers point at never changes.
	agents   map[domain.Stream]*domain.Agent
	accounts map[domain.AccountID]*account
	keys     map[domain.TokenHash]domain.Stream
	tokens   map[domain.TokenHash]memberRef
	// links are those that were not revoked, whether or not they have expired.
	links map[domain.TokenHash]linkRef
	// approvals holds every approval there ever was, as it stands, since any can be
	// asked for: about 1 KB of memory each.
	approvals map[domain.ApprovalID]*domain.Approval
	// waiting are closed, and taken out, when an approval of the agent changes.
	waiting map[domain.Stream]chan struct{}
	// endpoints is closed, and taken out, when an endpoint of any account changes.
	endpoints chan struct{}
}

type account struct {
	state  *domain.Account
	fault  error
	budget domain.SharedBudget
	// agents are the ids of the account's agents, in no order; approvals those of
	// its approvals, as they were opened.
	agents    []domain.AgentID
	approvals []domain.ApprovalID
}

type memberRef struct {
	account domain.AccountID
	member  domain.MemberID
}

type linkRef struct {
	account domain.AccountID
	link    domain.LinkID
}

// Apply folds one event in, or the error that came in place of one. Events come
// at least once and from two sides, the follower and a writer that was told it
// is behind; those already folded change nothing. It has the shape a follower
// calls and never returns an error: what can't be folded stops its own stream
// and no other.
func (p *Passports) Apply(r domain.Recorded, err error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		p.stop(err)
		return nil
	}
	switch s := r.Stream(); {
	case s.Budget:
		acct := p.account(s.Account)
		acct.budget = acct.budget.Evolve(r)
	case s.Agent == "":
		p.foldAccount(r)
	default:
		p.foldAgent(r)
	}
	return nil
}

// stop marks what the unreadable event belongs to. An error that names no
// stream could belong to any, so nothing may be decided any more.
func (p *Passports) stop(err error) {
	var unreadable *domain.Unreadable
	if !errors.As(err, &unreadable) {
		for s, a := range p.agents {
			stopped := a.Stop(err)
			p.agents[s] = &stopped
		}
		for _, acct := range p.accounts {
			acct.fault = cmp.Or(acct.fault, err)
			acct.budget = acct.budget.Stop(err)
		}
		return
	}
	if s := unreadable.Stream; s.Budget {
		acct := p.account(s.Account)
		acct.budget = acct.budget.Stop(err)
		return
	}
	if s := unreadable.Stream; s.Agent != "" {
		var a domain.Agent
		if known := p.agents[s]; known != nil {
			a = *known
		}
		a = a.Stop(err)
		p.put(s, &a)
		return
	}
	acct := p.account(unreadable.Stream.Account)
	acct.fault = cmp.Or(acct.fault, err)
}

func (p *Passports) foldAgent(r domain.Recorded) {
	s := r.Stream()
	var before domain.Agent
	if known := p.agents[s]; known != nil {
		before = *known
	}
	after := before.Evolve(r)
	if before.Key != after.Key {
		delete(p.keys, before.Key)
		if p.keys == nil {
			p.keys = map[domain.TokenHash]domain.Stream{}
		}
		p.keys[after.Key] = s
	}
	p.put(s, &after)
	changed := after.Changed(r.Event)
	for _, a := range changed {
		if p.approvals[a.ID] == nil {
			acct := p.account(s.Account)
			acct.approvals = append(acct.approvals, a.ID)
		}
		if p.approvals == nil {
			p.approvals = map[domain.ApprovalID]*domain.Approval{}
		}
		p.approvals[a.ID] = a
	}
	if waiting := p.waiting[s]; waiting != nil && len(changed) > 0 {
		close(waiting)
		delete(p.waiting, s)
	}
}

func (p *Passports) put(s domain.Stream, a *domain.Agent) {
	if p.agents == nil {
		p.agents = map[domain.Stream]*domain.Agent{}
	}
	if p.agents[s] == nil {
		acct := p.account(s.Account)
		acct.agents = append(acct.agents, s.Agent)
	}
	p.agents[s] = a
}

func (p *Passports) foldAccount(r domain.Recorded) {
	acct := p.account(r.Account)
	before, after := *acct.state, acct.state.Evolve(r)
	if p.tokens == nil {
		p.tokens = map[domain.TokenHash]memberRef{}
	}
	for id, m := range after.Members {
		if old := before.Members[id]; old.Token != m.Token {
			delete(p.tokens, old.Token)
			if m.Token != "" {
				p.tokens[m.Token] = memberRef{r.Account, id}
			}
		}
	}
	if !slices.Equal(before.Links, after.Links) {
		p.foldLinks(r.Account, before.Links, after.Links)
	}
	acct.state = &after
	if p.endpoints != nil && !slices.Equal(before.Endpoints, after.Endpoints) {
		close(p.endpoints)
		p.endpoints = nil
	}
}

func (p *Passports) foldLinks(id domain.AccountID, before, after []*domain.Link) {
	if p.links == nil {
		p.links = map[domain.TokenHash]linkRef{}
	}
	for _, l := range before {
		delete(p.links, l.Token)
	}
	for _, l := range after {
		if l.RevokedAt.IsZero() {
			p.links[l.Token] = linkRef{id, l.ID}
		}
	}
}

func (p *Passports) account(id domain.AccountID) *account {
	acct := p.accounts[id]
	if acct == nil {
		acct = &account{state: &domain.Account{}}
		if p.accounts == nil {
			p.accounts = map[domain.AccountID]*account{}
		}
		p.accounts[id] = acct
	}
	return acct
}

// Agent is the passport of one agent as far as it is known here. One that is
// not known is the zero Agent, which may do nothing.
func (p *Passports) Agent(s domain.Stream) *domain.Agent {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if a := p.agents[s]; a != nil {
		return a
	}
	return &domain.Agent{}
}

// Account is an account as far as it is known here, and why nothing can be
// based on it, if so.
func (p *Passports) Account(id domain.AccountID) (*domain.Account, error) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if acct := p.accounts[id]; acct != nil {
		return acct.state, acct.fault
	}
	return &domain.Account{}, nil
}

// Accounts are the ids of all accounts that are known here, in no order.
func (p *Passports) Accounts() []domain.AccountID {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return slices.Collect(maps.Keys(p.accounts))
}

// KeptSince is, for each account whose decisions go after a time, from when on
// they are kept at a moment.
func (p *Passports) KeptSince(now time.Time) map[domain.AccountID]time.Time {
	p.mu.RLock()
	defer p.mu.RUnlock()
	kept := map[domain.AccountID]time.Time{}
	for id, acct := range p.accounts {
		if start := acct.state.Retention.Start(now); !start.IsZero() && acct.fault == nil {
			kept[id] = start
		}
	}
	return kept
}

// Budget is what an account's agents spend together, as far as it is known here.
func (p *Passports) Budget(id domain.AccountID) *domain.SharedBudget {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if acct := p.accounts[id]; acct != nil {
		budget := acct.budget
		return &budget
	}
	return &domain.SharedBudget{}
}

// Approval is one approval as far as it is known here, or nil.
func (p *Passports) Approval(id domain.ApprovalID) *domain.Approval {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.approvals[id]
}

// Approvals yields an account's approvals, the newest first.
func (p *Passports) Approvals(id domain.AccountID) iter.Seq[*domain.Approval] {
	return func(yield func(*domain.Approval) bool) {
		p.mu.RLock()
		var ids []domain.ApprovalID
		if acct := p.accounts[id]; acct != nil {
			ids = acct.approvals // only ever added to
		}
		p.mu.RUnlock()
		var block [atOnce]*domain.Approval
		for len(ids) > 0 {
			rest := max(0, len(ids)-len(block))
			n := p.read(ids[rest:], block[:])
			for _, a := range slices.Backward(block[:n]) {
				if !yield(a) {
					return
				}
			}
			ids = ids[:rest]
		}
	}
}

// atOnce is how many approvals are read under one lock: few enough that what is
// folded meanwhile hardly waits.
const atOnce = 256

func (p *Passports) read(ids []domain.ApprovalID, into []*domain.Approval) int {
	p.mu.RLock()
	defer p.mu.RUnlock()
	for i, id := range ids {
		into[i] = p.approvals[id]
	}
	return len(ids)
}

// Changed is closed when an approval of an agent changes next. Ask for it, then
// look, then wait.
func (p *Passports) Changed(s domain.Stream) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waiting[s] == nil {
		if p.waiting == nil {
			p.waiting = map[domain.Stream]chan struct{}{}
		}
		p.waiting[s] = make(chan struct{})
	}
	return p.waiting[s]
}

// EndpointsChanged is closed when an endpoint of any account changes next. Ask
// for it, then look, then wait.
func (p *Passports) EndpointsChanged() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.endpoints == nil {
		p.endpoints = make(chan struct{})
	}
	return p.endpoints
}

// ByKey finds the agent that holds a key.
func (p *Passports) ByKey(key domain.TokenHash) (domain.Stream, bool) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	s, ok := p.keys[key]
	return s, ok && key != ""
}

// ByToken finds the member who holds a token.
func (p *Passports) ByToken(token domain.TokenHash) (domain.AccountID, domain.MemberID, bool) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	ref, ok := p.tokens[token]
	return ref.account, ref.member, ok && token != ""
}

// ByLink finds the link to a passport that has a token.
func (p *Passports) ByLink(token domain.TokenHash) (domain.AccountID, domain.LinkID, bool) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	ref, ok := p.links[token]
	return ref.account, ref.link, ok && token != ""
}

// Agents is every agent of an account that was registered, by id.
func (p *Passports) Agents(id domain.AccountID) []*domain.Agent {
	agents := p.unsorted(id)
	slices.SortFunc(agents, func(a, b *domain.Agent) int { return cmp.Compare(a.ID, b.ID) })
	return agents
}

func (p *Passports) unsorted(id domain.AccountID) []*domain.Agent {
	p.mu.RLock()
	defer p.mu.RUnlock()
	acct := p.accounts[id]
	if acct == nil {
		return nil
	}
	agents := make([]*domain.Agent, 0, len(acct.agents))
	for _, agent := range acct.agents {
		if a := p.agents[domain.Stream{Account: id, Agent: agent}]; a.Exists() {
			agents = append(agents, a)
		}
	}
	return agents
}

// Size is how many agents and accounts are known.
func (p *Passports) Size() (agents, accounts int) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return len(p.agents), len(p.accounts)
}
