package projections

import (
	"errors"
	"fmt"
	"testing"

	"github.com/behalf-platform/behalf/domain"
)

func fold(p *Passports, records ...domain.Recorded) {
	for _, r := range records {
		_ = p.Apply(r, nil) // is always nil
	}
}

// Events come at least once and from two sides; the fold is that of the log.
func TestPassportsFoldEachEventOnce(t *testing.T) {
	t.Parallel()
	records := sound()
	var once, twice Passports
	fold(&once, records...)
	fold(&twice, records[:4]...)
	fold(&twice, records...)
	fold(&twice, records[2:5]...)
	a, b := once.Agent(ollie), twice.Agent(ollie)
	if a.Version != 8 || b.Version != a.Version || b.Status != a.Status || len(b.Permissions) != len(a.Permissions) || b.Fault() != nil {
		t.Errorf("got %+v, want %+v", b, a)
	}
}

func TestPassportsFindAgentsByTheirNewestKey(t *testing.T) {
	t.Parallel()
	w := newWriter()
	w.event(domain.AgentRegistered{Name: "Ollie", Type: domain.Native, Key: "hash"})
	w.event(domain.AgentKeyRotated{Key: "new"})
	var p Passports
	fold(&p, w.records...)
	if s, ok := p.ByKey("new"); !ok || s != ollie {
		t.Errorf("by the new key: got %v, %t, want %v", s, ok, ollie)
	}
	for _, key := range []domain.TokenHash{"hash", ""} {
		if s, ok := p.ByKey(key); ok {
			t.Errorf("by %q: got %v, want nobody", key, s)
		}
	}
}

func TestPassportsStopWhatCannotBeRead(t *testing.T) {
	t.Parallel()
	unreadable := func(s domain.Stream) error {
		return &domain.Unreadable{Stream: s, Position: domain.Position{Seq: 10}, Err: domain.ErrUnknownKind}
	}
	var p Passports
	fold(&p, sound()...)
	other := domain.Stream{Account: ollie.Account, Agent: "agent_other"}
	_ = p.Apply(domain.Recorded{}, unreadable(other)) // is always nil
	if p.Agent(other).Fault() == nil || p.Agent(ollie).Fault() != nil {
		t.Errorf("got faults %v and %v, want one of the other agent only", p.Agent(other).Fault(), p.Agent(ollie).Fault())
	}
	_ = p.Apply(domain.Recorded{}, unreadable(domain.Stream{Account: ollie.Account})) // is always nil
	if _, err := p.Account(ollie.Account); !errors.Is(err, domain.ErrUnknownKind) {
		t.Errorf("got the account's fault %v, want %v", err, domain.ErrUnknownKind)
	}
	_ = p.Apply(domain.Recorded{}, errors.New("from nowhere")) // is always nil
	if p.Agent(ollie).Fault() == nil {
		t.Error("got no fault of what an error that names no stream may be about")
	}
}

func TestPassportsListAgents(t *testing.T) {
	t.Parallel()
	var p Passports
	for i, id := range []domain.AgentID{"agent_b", "agent_a", "agent_c"} {
		fold(&p, domain.Recorded{
			Record:   domain.Record{Account: "acct_home", Agent: id, Event: domain.AgentRegistered{Name: "x", Type: domain.Native, Key: domain.TokenHash(id)}},
			Position: domain.Position{Seq: uint64(i + 1)},
		})
	}
	var got []domain.AgentID
	for _, a := range p.Agents("acct_home") {
		got = append(got, a.ID)
	}
	if len(got) != 3 || got[0] != "agent_a" || got[2] != "agent_c" {
		t.Errorf("got %v, want them by id", got)
	}
	if agents, accounts := p.Size(); agents != 3 || accounts != 1 || len(p.Agents("acct_other")) != 0 {
		t.Errorf("got %d agents of %d accounts, want 3 of 1", agents, accounts)
	}
}

// More than are read under one lock come all, and once, the newest first.
func TestPassportsListApprovals(t *testing.T) {
	t.Parallel()
	w := newWriter()
	w.event(domain.AgentRegistered{Name: "Ollie", Type: domain.Native, Key: "hash"})
	var p Passports
	for n := range 2*atOnce + 1 {
		if n%atOnce == 0 || n == 2*atOnce { // around the ends of the blocks
			want := n
			for a := range p.Approvals(ollie.Account) {
				if want--; a.ID != domain.ApprovalID(fmt.Sprint("apr_", want)) {
					t.Fatalf("of %d: got %s, want apr_%d", n, a.ID, want)
				}
			}
			if want != 0 {
				t.Errorf("of %d: %d are missing", n, want)
			}
		}
		w.event(domain.DecisionMade{
			RequestID: domain.RequestID(fmt.Sprint("req_", n)), Outcome: domain.OutcomeRequiresApproval,
			ApprovalID: domain.ApprovalID(fmt.Sprint("apr_", n)), Gate: &domain.Gate{},
		})
		fold(&p, w.records[max(0, len(w.records)-2):]...)
	}
	for a := range p.Approvals(ollie.Account) {
		if a.ID != domain.ApprovalID(fmt.Sprint("apr_", 2*atOnce)) {
			t.Errorf("got %s first, want the newest", a.ID)
		}
		break
	}
}
