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
// are folded again, and every decision is derived again from them.
//
// The zero Audit is ready for the first record.
type Audit struct {
	// MostSkew is how far a record's own time and the log's may lie apart; 0
	// doesn't look.
	MostSkew time.Duration

	// Tallies of what was read.
	Records, Decisions, Allowed uint64

	next     uint64
	agents   map[domain.Stream]*domain.Agent
	accounts map[domain.AccountID]uint64 // newest version of each
	requests map[domain.RequestID]uint64
	events   map[domain.EventID]uint64
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
	promiseReadable  = "every record can be read"
	promiseFence     = "every record stands on the newest version before it"
	promiseOnce      = "every id is used once"
	promiseDerived   = "every decision can be derived again from the log"
	promiseRevoked   = "nothing is allowed after a revocation, disablement or expiry"
	promiseTimely    = "a record's time is close to the log's"
	promiseInPackets = "a decision says what version it was made on"
)

// Check takes the next record, or the error that came in place of one.
func (a *Audit) Check(r domain.Recorded, err error) error {
	if a.agents == nil {
		a.agents = map[domain.Stream]*domain.Agent{}
		a.accounts = map[domain.AccountID]uint64{}
		a.requests = map[domain.RequestID]uint64{}
		a.events = map[domain.EventID]uint64{}
		a.next = 1
	}
	if unreadable, ok := errors.AsType[*domain.Unreadable](err); ok {
		return &AuditFault{Seq: unreadable.Position.Seq, Promise: promiseReadable, Detail: err.Error()}
	}
	if err != nil {
		return &AuditFault{Seq: a.next, Promise: promiseReadable, Detail: err.Error()}
	}
	seq := r.Position.Seq
	if seq != a.next {
		return &AuditFault{Seq: a.next, Promise: promiseWhole, Detail: fmt.Sprintf("the next record there is has sequence %d", seq)}
	}
	a.next++
	a.Records++
	if skew := r.LoggedAt.Sub(r.At).Abs(); a.MostSkew > 0 && skew > a.MostSkew {
		return &AuditFault{seq, promiseTimely, fmt.Sprintf("%s apart", skew)}
	}
	if d, ok := r.Event.(domain.DecisionMade); ok {
		return a.decision(r, d)
	}
	if earlier, twice := a.events[r.ID]; twice {
		return &AuditFault{seq, promiseOnce, fmt.Sprintf("event %s is at sequence %d too", r.ID, earlier)}
	}
	a.events[r.ID] = seq
	if r.Agent == "" {
		return a.account(r)
	}
	return a.agent(r)
}

func (a *Audit) account(r domain.Recorded) error {
	if newest := a.accounts[r.Account]; r.Last != newest {
		return &AuditFault{r.Position.Seq, promiseFence, fmt.Sprintf("appended to account %s on version %d, but %d is the newest", r.Account, r.Last, newest)}
	}
	a.accounts[r.Account] = r.Position.Seq
	return nil
}

func (a *Audit) agent(r domain.Recorded) error {
	agent := a.known(r.Stream())
	if r.Last != agent.Version {
		return &AuditFault{r.Position.Seq, promiseFence, fmt.Sprintf("appended to agent %s on version %d, but %d is the newest", r.Agent, r.Last, agent.Version)}
	}
	next := agent.Evolve(r)
	if err := next.Fault(); err != nil {
		return &AuditFault{r.Position.Seq, promiseReadable, err.Error()}
	}
	a.agents[r.Stream()] = &next
	return nil
}

func (a *Audit) known(s domain.Stream) *domain.Agent {
	if agent := a.agents[s]; agent != nil {
		return agent
	}
	return &domain.Agent{}
}

func (a *Audit) decision(r domain.Recorded, d domain.DecisionMade) error {
	seq, agent := r.Position.Seq, a.known(r.Stream())
	a.Decisions++
	if earlier, twice := a.requests[d.RequestID]; twice {
		return &AuditFault{seq, promiseOnce, fmt.Sprintf("request %s was decided at sequence %d too", d.RequestID, earlier)}
	}
	a.requests[d.RequestID] = seq
	if r.Last != agent.Version {
		return &AuditFault{seq, promiseFence, fmt.Sprintf("decided for agent %s on version %d, but %d is the newest", r.Agent, r.Last, agent.Version)}
	}
	if d.PassportVersion != r.Last {
		return &AuditFault{seq, promiseInPackets, fmt.Sprintf("it says %d, its guard %d", d.PassportVersion, r.Last)}
	}
	if d.Outcome == domain.OutcomeAllowed {
		a.Allowed++
		if why := mayNotAllow(agent, d, r.At); why != "" {
			return &AuditFault{seq, promiseRevoked, why}
		}
	}
	return a.derived(r, agent)
}

// mayNotAllow looks at an allow apart from how decisions are evaluated, so that
// a mistake there doesn't hide here.
func mayNotAllow(agent *domain.Agent, d domain.DecisionMade, at time.Time) string {
	if agent.Status != domain.AgentActive {
		return fmt.Sprintf("agent %s is %s", agent.ID, agent.Status)
	}
	p, ok := agent.Permission(d.PermissionID)
	if !ok {
		return fmt.Sprintf("the passport has no permission %s", d.PermissionID)
	}
	if status := p.StatusAt(at); status != domain.PermissionActive {
		return fmt.Sprintf("permission %s is %s", p.ID, status)
	}
	return ""
}

func (a *Audit) derived(r domain.Recorded, agent *domain.Agent) error {
	again, err := domain.Derive(agent, r)
	if err != nil {
		return &AuditFault{r.Position.Seq, promiseDerived, err.Error()}
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
		return &AuditFault{r.Position.Seq, promiseDerived, fmt.Sprintf("recorded %s, derived %s", want, got)}
	}
	return nil
}
