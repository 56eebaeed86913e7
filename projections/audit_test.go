package projections

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/behalf-platform/behalf/domain"
)

var (
	noon  = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	ollie = domain.Stream{Account: "acct_home", Agent: "agent_ollie"}
)

// writer makes the records of a sound log.
type writer struct {
	records []domain.Recorded
	agent   domain.Agent
}

func (w *writer) add(at time.Time, last uint64, e domain.Event) {
	seq := uint64(len(w.records) + 1)
	r := domain.Recorded{
		Record: domain.Record{
			ID: domain.EventID(fmt.Sprintf("evt_%d", seq)), At: at, Actor: "member:mem_owner",
			Account: ollie.Account, Agent: ollie.Agent, Event: e,
		},
		Position: domain.Position{Seq: seq}, Last: last, LoggedAt: at,
	}
	w.records = append(w.records, r)
	w.agent = w.agent.Evolve(r)
}

func (w *writer) event(e domain.Event) { w.add(noon, w.agent.Version, e) }

func (w *writer) decide(at time.Time) {
	ask := domain.Ask{Action: "purchase", Amount: "120"}
	req, err := ask.Request("USD")
	if err != nil {
		panic(err)
	}
	d := domain.Evaluate(&w.agent, req, at)
	d.RequestID = domain.RequestID(fmt.Sprintf("req_%d", len(w.records)+1))
	w.add(at, w.agent.Version, d)
}

// sound is a log of eight records: granted, allowed, disabled, denied, enabled,
// allowed, revoked, denied.
func sound() []domain.Recorded {
	w := &writer{}
	w.event(domain.AgentRegistered{Name: "Ollie", Type: domain.Native, Key: "hash"})
	w.event(domain.PermissionGranted{PermissionID: "perm_buy", Terms: domain.Terms{
		Action: "purchase", MaxAmount: "500.00", Currency: "USD", ExpiresAt: noon.Add(time.Hour),
	}})
	w.decide(noon)
	w.event(domain.AgentDisabled{})
	w.decide(noon)
	w.event(domain.AgentEnabled{})
	w.decide(noon)
	w.event(domain.PermissionRevoked{PermissionID: "perm_buy"})
	w.decide(noon)
	return w.records
}

func check(records []domain.Recorded) (Audit, error) {
	a := Audit{MostSkew: time.Second}
	for _, r := range records {
		if err := a.Check(r, nil); err != nil {
			return a, err
		}
	}
	return a, nil
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
			rs[1].Event = domain.PermissionGranted{PermissionID: "perm_buy", Terms: domain.Terms{Action: "purchase", Budgets: []byte(`[]`)}}
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
