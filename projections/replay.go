package projections

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/behalf-platform/behalf/domain"
)

// Replay reads one partition of the log from its first record on and decides
// the decisions of a range again, each on the state it was made on. There should
// be no difference to what was recorded.
//
// Records are folded in the order of the log. A folded passport never changes,
// so that decisions on it are made again by all processors at once.
type Replay struct {
	Range
	// Workers is how many decide at once, one for each processor if 0.
	Workers int
	// MostShown bounds the differences that are kept; all are counted.
	MostShown int

	// Tallies of what was read. Decisions and Different are those of the range.
	Records, Decisions, Different uint64

	folded passportFold
	crew   *crew[redecided]

	mu sync.Mutex
	// different and shown are guarded by mu until the crew is dismissed.
	different uint64
	shown     []Difference // the first ones, in order
}

// Difference is a decision that comes out otherwise than it was recorded, or
// can't be made again.
type Difference struct {
	Position  domain.Position  `json:"-"`
	Sequence  uint64           `json:"sequence"`
	At        time.Time        `json:"at"`
	Account   domain.AccountID `json:"accountId"`
	Agent     domain.AgentID   `json:"agentId"`
	RequestID domain.RequestID `json:"requestId"`
	// Recorded and Decided are both sides as the log stores them. Why takes the
	// place of the second where there is none.
	Recorded jsontext.Value `json:"recorded"`
	Decided  jsontext.Value `json:"decidedAgain,omitzero"`
	Why      string         `json:"why,omitempty"`
}

// redecided is a decision and what it is to be made on again.
type redecided struct {
	r      domain.Recorded
	agent  *domain.Agent
	budget *domain.SharedBudget
}

// Run decides again. It calls read once, which hands over every record of the
// partition in order, or the error that came in place of one, and ends when that
// returns an error or there are no more.
func (p *Replay) Run(read func(take func(domain.Recorded, error) error) error) error {
	p.folded = newPassportFold()
	p.crew = hire(p.Workers, p.decide)
	err := read(p.take)
	p.crew.dismiss()
	p.Different = p.different
	return err
}

// Shown are the first differences, oldest first.
func (p *Replay) Shown() []Difference { return p.shown }

func (p *Replay) take(r domain.Recorded, err error) error {
	p.Records++
	if err != nil {
		return p.folded.stop(err)
	}
	if !p.concerns(&r) {
		return nil
	}
	if _, ok := r.Event.(domain.DecisionMade); ok && p.has(&r) {
		p.Decisions++
		agent := p.folded.agent(r.Stream())
		p.crew.add(redecided{r, agent, p.folded.budgetOf(&r, agent)})
	}
	p.folded.fold(&r)
	return nil
}

// decide makes decisions again.
func (p *Replay) decide(batch []redecided) {
	for i := range batch {
		if d, ok := batch[i].difference(); ok {
			p.add(d)
		}
	}
}

func (p *Replay) add(d Difference) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.different++
	i, _ := slices.BinarySearchFunc(p.shown, d.Sequence, func(d Difference, seq uint64) int {
		if d.Sequence < seq {
			return -1
		}
		return 1
	})
	if i >= p.MostShown {
		return
	}
	p.shown = slices.Insert(p.shown, i, d)
	p.shown = p.shown[:min(len(p.shown), p.MostShown)]
}

// difference makes a decision again and compares. Nothing is encoded unless
// there is something to show.
func (b *redecided) difference() (Difference, bool) {
	recorded := b.r.Event.(domain.DecisionMade) // take saw that it is one
	again, why := b.again(&recorded)
	if why == nil && sameDecision(&recorded, &again) {
		return Difference{}, false
	}
	d := Difference{
		Position: b.r.Position, Sequence: b.r.Position.Seq, At: b.r.At, Account: b.r.Account, Agent: b.r.Agent, RequestID: recorded.RequestID,
	}
	var err error
	if d.Recorded, err = b.r.Append(nil); err != nil {
		why = errors.Join(why, err)
	}
	if why != nil {
		d.Why = why.Error()
		return d, true
	}
	made := b.r.Record
	made.Event = again
	if d.Decided, err = made.Append(nil); err != nil {
		d.Why = err.Error()
	}
	return d, true
}

func (b *redecided) again(recorded *domain.DecisionMade) (domain.DecisionMade, error) {
	s := domain.Situation{Agent: b.agent, Budget: b.budget}
	if b.budget == nil {
		return domain.DecisionMade{}, fmt.Errorf("it stands on version %d of the account's limits, which there is not, or not any more", recorded.BudgetVersion)
	}
	if err := s.Fault(); err != nil {
		return domain.DecisionMade{}, fmt.Errorf("the passport can't be read: %w", err)
	}
	if b.r.Last != b.agent.Version {
		return domain.DecisionMade{}, fmt.Errorf("it was decided on version %d of the passport, and %d is the newest before it", b.r.Last, b.agent.Version)
	}
	return domain.Derive(b.agent, b.budget, b.r)
}

// sameDecision reports whether two decisions on one request have one stored
// form.
func sameDecision(a, b *domain.DecisionMade) bool {
	return a.RequestID == b.RequestID && a.RequestDigest == b.RequestDigest && a.PassportVersion == b.PassportVersion &&
		a.Outcome == b.Outcome && a.ReasonCode == b.ReasonCode && a.Reason == b.Reason && a.Risk == b.Risk &&
		a.PermissionID == b.PermissionID && a.ApprovalID == b.ApprovalID && a.Spends == b.Spends && a.BudgetVersion == b.BudgetVersion &&
		sameGate(a.Gate, b.Gate) && sameTime(a.WindowEndsAt, b.WindowEndsAt) && slices.Equal(a.Checks, b.Checks)
}

// sameGate is for the few decisions that ask a person.
func sameGate(a, b *domain.Gate) bool { return a == b || reflect.DeepEqual(a, b) }

// sameTime reports whether two times are written alike.
func sameTime(a, b time.Time) bool {
	_, east := a.Zone()
	_, west := b.Zone()
	return a.Equal(b) && east == west
}
