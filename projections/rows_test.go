package projections_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/projections"
)

// logged is events of one agent as the log would hold them.
func logged(events ...domain.Event) []domain.Recorded {
	at := time.Date(2026, 10, 31, 23, 59, 59, 0, time.UTC)
	list := make([]domain.Recorded, 0, len(events))
	for i, e := range events {
		r := domain.Recorded{
			Record:   domain.Record{ID: "evt_1", At: at.Add(time.Duration(i) * time.Second), Actor: "member:mem_ada", Account: "acct_1", Agent: "agent_1", Event: e},
			Position: domain.Position{Epoch: 1, Seq: uint64(i) + 1}, LoggedAt: at,
		}
		list = append(list, r)
	}
	return list
}

func mustMap(t *testing.T, p projections.Projection, events []domain.Recorded) *projections.Batch {
	t.Helper()
	b := projections.NewBatch(p)
	for _, r := range events {
		if err := b.Add(r); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

func allow(id domain.RequestID, amount domain.Decimal, c domain.Currency) domain.DecisionMade {
	return domain.DecisionMade{
		RequestID: id, Outcome: domain.OutcomeAllowed, Spends: true, Request: domain.Request{Action: "purchase", Amount: amount, Currency: c},
	}
}

func TestASettlementJoinsItsDecision(t *testing.T) {
	t.Parallel()
	events := logged(
		allow("req_1", "5.00", "USD"),
		domain.DecisionSettled{RequestID: "req_1", Outcome: domain.Executed, Amount: "4.00", Currency: "USD"},
		domain.DecisionSettled{RequestID: "req_0", Outcome: domain.ActionFailed},
	)
	b := mustMap(t, projections.ProjectionDecisions, events)
	if d := b.Decisions[0]; len(b.Decisions) != 1 || d.Settled != domain.Executed || d.SettledAmount != "4.00" || !d.SettledAt.Equal(events[1].At) || d.Minor != 500 {
		t.Errorf("got %+v, want one row, settled", b.Decisions)
	}
	if len(b.Settlements) != 1 || b.Settlements[0].RequestID != "req_0" {
		t.Errorf("got settlements %+v, want that of the decision before", b.Settlements)
	}
}

func TestAnEventIsAddedOnce(t *testing.T) {
	t.Parallel()
	events := logged(allow("req_1", "5.00", "USD"), allow("req_2", "", ""), domain.AgentDisabled{})
	for _, p := range projections.Projections() {
		b := mustMap(t, p, slices.Concat(events, events, events[1:]))
		if b.Events != 3 {
			t.Errorf("%s: got %d events, want 3", p, b.Events)
		}
		if n := len(b.Decisions); p == projections.ProjectionDecisions && n != 2 {
			t.Errorf("got %d decisions, want 2", n)
		}
		if p == projections.ProjectionUsage && (len(b.Usage) != 2 || b.Usage[0].Count != 1) {
			t.Errorf("got usage %+v, want one decision of each day", b.Usage)
		}
	}
}

func TestWhatCannotBeCountedStops(t *testing.T) {
	t.Parallel()
	events := logged(allow("req_1", "5.00", "USD"), allow("req_2", "5.00", "XXX"))
	for _, p := range []projections.Projection{projections.ProjectionDecisions, projections.ProjectionUsage, "none"} {
		b := projections.NewBatch(p)
		var err error
		for _, r := range events {
			if err = b.Add(r); err != nil {
				break
			}
		}
		want := uint64(2)
		if p == "none" {
			want = 1
		}
		if e, ok := errors.AsType[*projections.Inapplicable](err); !ok || e.Seq != want {
			t.Errorf("%s: got error %v, want one of event %d", p, err, want)
		}
	}
}

func TestColumnsHoldTextOnly(t *testing.T) {
	t.Parallel()
	d := allow("req_1", "", "")
	d.Reason, d.Request.Command = "a\x00b", "c\xffd"
	b := mustMap(t, projections.ProjectionDecisions, logged(d))
	if got := b.Decisions[0]; got.Reason != "a\uFFFDb" || got.Command != "c\uFFFDd" {
		t.Errorf("got %q and %q, want them without what no column holds", got.Reason, got.Command)
	}
}

func TestARecordIsKeptAsItWas(t *testing.T) {
	t.Parallel()
	events := logged(allow("req_1", "5.00", "USD"), allow("req_2", "5.00", "USD"))
	b := mustMap(t, projections.ProjectionDecisions, events)
	for i := range b.Decisions {
		want, err := events[i].Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		if string(b.Decisions[i].Record) != string(want) {
			t.Errorf("got %s, want %s", b.Decisions[i].Record, want)
		}
		r, err := b.Decisions[i].Recorded(1)
		if err != nil || r.Position != events[i].Position || !r.At.Equal(events[i].At) {
			t.Errorf("got %+v and error %v, want %+v", r, err, events[i])
		}
	}
	b.Reset()
	if b.Events != 0 || len(b.Decisions) != 0 || b.Add(events[0]) != nil || len(b.Decisions) != 1 {
		t.Errorf("got %+v after a reset, want an empty batch that takes events", b)
	}
}

func TestUsageHoldsSumsOfAnySize(t *testing.T) {
	t.Parallel()
	most := allow("req_1", "9999999999999999.99", "USD")
	u := mustMap(t, projections.ProjectionUsage, logged(allow("req_0", "", ""), most, most, most)).Usage
	if last := u[len(u)-1]; last.Count != 3 || last.Billions != 3*999_999_999 || last.Rest != 3*999_999_999 {
		t.Errorf("got %+v, want three times the most there is", last)
	}
}
