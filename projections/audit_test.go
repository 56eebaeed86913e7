package projections

import (
	"errors"
	"fmt"
	"testing"
	"time"
	_ "time/tzdata" // the same zones on every machine

	"github.com/behalf-platform/behalf/domain"
)

var (
	noon  = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	ollie = domain.Stream{Account: "acct_home", Agent: "agent_ollie"}
)

// writer makes the records of a sound log, or of one that is not: add asks for
// no rule's leave.
type writer struct {
	records []domain.Recorded
	// now is the time of what is added next, by all clocks there are.
	now     time.Time
	account domain.Account
	agents  map[domain.AgentID]*domain.Agent
	budget  domain.SharedBudget
}

func newWriter() *writer { return &writer{now: noon, agents: map[domain.AgentID]*domain.Agent{}} }

func (w *writer) agent(id domain.AgentID) *domain.Agent {
	if w.agents[id] == nil {
		w.agents[id] = &domain.Agent{}
	}
	return w.agents[id]
}

// add records an event on the newest version of its stream. A record without an
// agent is the account's.
func (w *writer) add(agent domain.AgentID, by domain.Actor, e domain.Event) *domain.Recorded {
	seq := uint64(len(w.records) + 1)
	r := domain.Recorded{
		Record: domain.Record{
			ID: domain.EventID(fmt.Sprintf("evt_%d", seq)), At: w.now, Actor: by, Account: ollie.Account, Agent: agent, Event: e,
		},
		Position: domain.Position{Seq: seq}, LoggedAt: w.now,
	}
	switch s := r.Stream(); {
	case s.Budget:
		r.Last = w.budget.Version
		w.budget = w.budget.Evolve(r)
	case s.Agent == "":
		r.Last = w.account.Version
		w.account = w.account.Evolve(r)
	default:
		r.Last = w.agent(agent).Version
		next := w.agent(agent).Evolve(r)
		w.agents[agent] = &next
	}
	w.records = append(w.records, r)
	return &w.records[seq-1]
}

func (w *writer) event(e domain.Event) { w.add(ollie.Agent, "member:mem_owner", e) }

// by records what a member does.
func (w *writer) by(id domain.MemberID, e domain.Event) { w.add(ollie.Agent, domain.ByMember(id), e) }

func (w *writer) evaluate(agent domain.AgentID, amount domain.Decimal) domain.DecisionMade {
	ask := domain.Ask{Action: "purchase", Amount: amount}
	req, err := ask.Request("USD")
	if err != nil {
		panic(err)
	}
	d := domain.Evaluate(domain.Situation{Agent: w.agent(agent), Budget: &w.budget, Settings: w.account.Approvals, Now: w.now}, req)
	d.Name(fmt.Sprint(len(w.records) + 1))
	return d
}

// decide records a decision as it comes out, and what is charged for it.
func (w *writer) decide(agent domain.AgentID, amount domain.Decimal) domain.DecisionMade {
	d := w.evaluate(agent, amount)
	w.record(agent, d)
	return d
}

func (w *writer) record(agent domain.AgentID, d domain.DecisionMade) {
	shared := w.agent(agent).Shared
	w.add(agent, domain.ByAgent(agent), d)
	if shared && d.Outcome == domain.OutcomeAllowed {
		w.add(agent, domain.ByAgent(agent), domain.BudgetCharged{RequestID: d.RequestID, Amount: d.Request.Amount, Currency: d.Request.Currency})
	}
}

// forge records a decision that was changed after it was made.
func (w *writer) forge(d domain.DecisionMade, change func(*domain.DecisionMade)) {
	change(&d)
	w.add(ollie.Agent, domain.ByAgent(ollie.Agent), d)
}

// do records what a rule decides.
func (w *writer) do(agent domain.AgentID, by domain.Actor, events []domain.Event, err error) {
	if err != nil || len(events) == 0 {
		panic(fmt.Sprintf("got %v, %v, want an event", events, err))
	}
	for _, e := range events {
		w.add(agent, by, e)
	}
}

// sound is a log of nine records: granted, allowed, disabled, denied, enabled,
// allowed, revoked, denied.
func sound() []domain.Recorded {
	w := newWriter()
	w.event(domain.AgentRegistered{Name: "Ollie", Type: domain.Native, Key: "hash"})
	w.event(domain.PermissionGranted{PermissionID: "perm_buy", Terms: domain.Terms{
		Action: "purchase", MaxAmount: "500.00", Currency: "USD", ExpiresAt: noon.Add(time.Hour),
	}})
	w.decide(ollie.Agent, "120")
	w.event(domain.AgentDisabled{})
	w.decide(ollie.Agent, "120")
	w.event(domain.AgentEnabled{})
	w.decide(ollie.Agent, "120")
	w.event(domain.PermissionRevoked{PermissionID: "perm_buy"})
	w.decide(ollie.Agent, "120")
	return w.records
}

func check(records []domain.Recorded) (Audit, error) {
	a := Audit{MostSkew: time.Second}
	for _, r := range records {
		if err := a.Check(r, nil); err != nil {
			return a, err
		}
	}
	head := uint64(0)
	if len(records) > 0 {
		head = records[len(records)-1].Position.Seq
	}
	return a, a.End(head)
}

func TestAuditOfASoundLog(t *testing.T) {
	t.Parallel()
	a, err := check(sound())
	if err != nil || a.Records != 9 || a.Decisions != 4 || a.Allowed != 2 {
		t.Errorf("got %d records, %d decisions, %d allowed, %v, want 9, 4, 2", a.Records, a.Decisions, a.Allowed, err)
	}
}

// Each promise is broken once, and named with the first faulty sequence.
func TestAuditFindsWhatIsBroken(t *testing.T) {
	t.Parallel()
	decision := func(r *domain.Recorded, change func(*domain.DecisionMade)) {
		d := r.Event.(domain.DecisionMade)
		change(&d)
		r.Event = d
	}
	for _, tt := range []struct {
		name    string
		breaks  func([]domain.Recorded) []domain.Recorded
		seq     uint64
		promise string
	}{
		{"a record is missing", func(rs []domain.Recorded) []domain.Recorded { return append(rs[:2:2], rs[3:]...) }, 3, promiseWhole},
		{"the first records are missing", func(rs []domain.Recorded) []domain.Recorded { return rs[1:] }, 1, promiseWhole},
		{"a decision stands on an older passport", func(rs []domain.Recorded) []domain.Recorded { rs[8].Last = 6; return rs }, 9, promiseFence},
		{"an event stands on an older passport", func(rs []domain.Recorded) []domain.Recorded { rs[5].Last = 2; return rs }, 6, promiseFence},
		{"a decision names another version than its guard", func(rs []domain.Recorded) []domain.Recorded {
			decision(&rs[2], func(d *domain.DecisionMade) { d.PassportVersion = 1 })
			return rs
		}, 3, promiseInPackets},
		{"an allow after a revocation", func(rs []domain.Recorded) []domain.Recorded {
			allowed := rs[6].Event.(domain.DecisionMade)
			allowed.RequestID, allowed.PassportVersion = "req_9", 8
			rs[8].Event = allowed
			return rs
		}, 9, promiseRevoked},
		{"an allow while disabled", func(rs []domain.Recorded) []domain.Recorded {
			allowed := rs[2].Event.(domain.DecisionMade)
			allowed.RequestID, allowed.PassportVersion = "req_5", 4
			rs[4].Event = allowed
			return rs
		}, 5, promiseRevoked},
		{"an allow after the expiry", func(rs []domain.Recorded) []domain.Recorded {
			rs[2].At, rs[2].LoggedAt = noon.Add(time.Hour), noon.Add(time.Hour)
			return rs
		}, 3, promiseRevoked},
		{"an allow by a permission that is not there", func(rs []domain.Recorded) []domain.Recorded {
			decision(&rs[2], func(d *domain.DecisionMade) { d.PermissionID = "perm_x" })
			return rs
		}, 3, promiseRevoked},
		{"a decision with another reason", func(rs []domain.Recorded) []domain.Recorded {
			decision(&rs[4], func(d *domain.DecisionMade) { d.ReasonCode = domain.NoPermission })
			return rs
		}, 5, promiseDerived},
		{"a decision whose amount was changed", func(rs []domain.Recorded) []domain.Recorded {
			decision(&rs[2], func(d *domain.DecisionMade) { d.Request.Amount = "900.00" })
			return rs
		}, 3, promiseDerived},
		{"a decision whose amount is none", func(rs []domain.Recorded) []domain.Recorded {
			decision(&rs[2], func(d *domain.DecisionMade) { d.Request.Amount = "many" })
			return rs
		}, 3, promiseDerived},
		{"a decision whose check was left out", func(rs []domain.Recorded) []domain.Recorded {
			decision(&rs[2], func(d *domain.DecisionMade) { d.Checks = d.Checks[:1] })
			return rs
		}, 3, promiseDerived},
		{"a request decided twice", func(rs []domain.Recorded) []domain.Recorded {
			decision(&rs[8], func(d *domain.DecisionMade) { d.RequestID = "req_3" })
			return rs
		}, 9, promiseOnce},
		{"an event recorded twice", func(rs []domain.Recorded) []domain.Recorded { rs[7].ID = "evt_4"; return rs }, 8, promiseOnce},
		{"a record far from the log's time", func(rs []domain.Recorded) []domain.Recorded {
			rs[4].LoggedAt = noon.Add(time.Minute)
			return rs
		}, 5, promiseTimely},
		{"terms that can't be read", func(rs []domain.Recorded) []domain.Recorded {
			rs[1].Event = domain.PermissionGranted{PermissionID: "perm_buy", Terms: domain.Terms{Action: "purchase", Limits: domain.Limits{Budgets: []domain.Budget{}}}}
			return rs
		}, 2, promiseReadable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := check(tt.breaks(sound()))
			fault, ok := errors.AsType[*AuditFault](err)
			if !ok || fault.Seq != tt.seq || fault.Promise != tt.promise {
				t.Errorf("got %v, want sequence %d: %s", err, tt.seq, tt.promise)
			}
		})
	}
	t.Run("a record that can't be read", func(t *testing.T) {
		t.Parallel()
		var a Audit
		err := a.Check(domain.Recorded{}, &domain.Unreadable{Stream: ollie, Position: domain.Position{Seq: 1}, Err: domain.ErrUnknownKind})
		if fault, ok := errors.AsType[*AuditFault](err); !ok || fault.Seq != 1 || fault.Promise != promiseReadable {
			t.Errorf("got %v, want sequence 1: %s", err, promiseReadable)
		}
	})
}

// BenchmarkAudit checks plain decisions, most of what a log holds.
func BenchmarkAudit(b *testing.B) {
	w := newWriter()
	w.event(domain.AgentRegistered{Name: "Ollie", Type: domain.Native, Key: "hash"})
	for i := range 5 {
		w.event(domain.PermissionGranted{PermissionID: domain.PermissionID(fmt.Sprint("perm_", i)), Terms: domain.Terms{
			Action: "purchase", MaxAmount: "500.00", Currency: "USD", ExpiresAt: noon.Add(time.Hour),
		}})
	}
	for len(w.records) < 10_000 {
		w.decide(ollie.Agent, "120")
		w.decide(ollie.Agent, "700")
	}
	for b.Loop() {
		if _, err := check(w.records); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N*len(w.records))/b.Elapsed().Seconds(), "records/s")
}
