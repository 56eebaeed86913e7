package natslog

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/behalf-platform/behalf/domain"
)

func TestSubjects(t *testing.T) {
	s := newSubjects(7)
	for _, c := range []struct {
		stream         domain.Stream
		state, decided string
	}{
		{domain.Stream{Account: "a"}, "behalf.7.account.a", "behalf.7.*.a.*"},
		{domain.Stream{Account: "a", Budget: true}, "behalf.7.budget.a", "behalf.7.*.a.*"},
		{domain.Stream{Account: "a", Agent: "b"}, "behalf.7.agent.a.b", "behalf.7.*.a.b"},
	} {
		state, err := s.state(c.stream)
		decided, err2 := s.decided(c.stream)
		if err != nil || err2 != nil || state != c.state || decided != c.decided {
			t.Errorf("%s: got %s, %s and errors %v, %v, want %s and %s", c.stream, state, decided, err, err2, c.state, c.decided)
		}
		if got, moves, ok := s.parse(state); got != c.stream || !moves || !ok {
			t.Errorf("parse %s: got %s, %v, %v", state, got, moves, ok)
		}
		decision, err := s.decision(c.stream)
		if c.stream.Agent == "" {
			if err == nil {
				t.Errorf("%s: its decisions are on %s, want an error", c.stream, decision)
			}
			continue
		}
		if got, moves, ok := s.parse(decision); err != nil || decision != "behalf.7.decision.a.b" || got != c.stream || moves || !ok {
			t.Errorf("parse %s: got %s, %v, %v, and error %v", decision, got, moves, ok, err)
		}
	}
	if got, err := s.state(domain.Stream{Account: "a", Agent: "b", Budget: true}); err == nil {
		t.Errorf("the budget of an agent: got %s, want an error", got)
	}
}

// A record belongs where an append puts it, and nowhere else.
func TestPlaces(t *testing.T) {
	p := &partition{subjects: newSubjects(7)}
	decision := domain.Record{ID: "evt_1", At: time.Unix(1, 0), Account: "a", Agent: "b", Event: domain.DecisionMade{RequestID: "req_1"}}
	spending := decision
	spending.Event = domain.DecisionMade{RequestID: "req_1", Spends: true}
	charge, disabled, settings := decision, decision, decision
	charge.Event, disabled.Event = domain.BudgetCharged{RequestID: "req_1"}, domain.AgentDisabled{}
	settings.Agent, settings.Event = "", domain.AccountSettingsChanged{}
	nobodys := spending
	nobodys.Agent = ""
	subjects := []string{
		"behalf.7.decision.a.b", "behalf.7.agent.a.b", "behalf.7.budget.a", "behalf.7.account.a",
		"behalf.7.decision.a.x", "behalf.7.agent.a.x", "behalf.7.agent.x.b", "behalf.7.budget.x", "behalf.7.account.x",
	}
	for _, c := range []struct {
		record             domain.Record
		subject, guard, id string
	}{
		{decision, "behalf.7.decision.a.b", "behalf.7.agent.a.b", "req_1"},
		{spending, "behalf.7.agent.a.b", "behalf.7.agent.a.b", "req_1"},
		{charge, "behalf.7.budget.a", "behalf.7.budget.a", "evt_1"},
		{disabled, "behalf.7.agent.a.b", "behalf.7.agent.a.b", "evt_1"},
		{settings, "behalf.7.account.a", "behalf.7.account.a", "evt_1"},
		{nobodys, "", "", ""},
	} {
		at, err := p.place(c.record, 5, "name")
		want := placed{guard: c.guard, subject: c.subject, id: c.id, last: 5, name: "name"}
		if c.subject == "" {
			if err == nil {
				t.Errorf("%s: got %+v, want an error", c.record.Event.Kind(), at)
			}
		} else if err != nil || at != want {
			t.Errorf("%s: got %+v and error %v, want %+v", c.record.Event.Kind(), at, err, want)
		}
		raw, err := c.record.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, subject := range subjects {
			var unreadable *domain.Unreadable
			_, err := p.decode(subject, nats.Header{headerLast: {"5"}}, raw, 6, time.Time{})
			if (err == nil) != (subject == c.subject) || err != nil && !errors.As(err, &unreadable) {
				t.Errorf("a %s of %s on %s: got error %v", c.record.Event.Kind(), c.record.Stream(), subject, err)
			}
		}
	}
}

func FuzzSubject(f *testing.F) {
	for _, subject := range []string{
		"behalf.7.account.a", "behalf.7.agent.a.b", "behalf.7.decision.a.b", "behalf.7.decision.a.*", "behalf.7.agent.>", "behalf.7.agent.a",
		"behalf.7.budget.a", "behalf.7.budget.a.b", "behalf.7.budget.*", "behalf.7.budget.", "behalf.7.other.a",
		"behalf.7.decision.a", "behalf.7.agent.a.b.c", "behalf.7.account.a.b", "behalf.7.account.", "behalf.7.agent..b", "behalf.8.account.a", "",
	} {
		f.Add(subject)
	}
	s := newSubjects(7)
	f.Fuzz(func(t *testing.T, subject string) {
		of, moves, ok := s.parse(subject)
		if !ok {
			return
		}
		name := s.state
		if !moves {
			name = s.decision
		}
		if got, err := name(of); err != nil || got != subject {
			t.Errorf("%q is parsed as %+v, which is %q, with error %v", subject, of, got, err)
		}
	})
}

func TestAcknowledgements(t *testing.T) {
	p := &partition{acked: []byte(`{"stream":"BEHALF","seq":`)}
	for answer, want := range map[string]ack{
		`{"stream":"BEHALF","seq":12}`:                   {Seq: 12},
		`{"stream":"BEHALF","seq":18446744073709551615}`: {Seq: 1<<64 - 1},
		`{"stream":"BEHALF","seq":12,"duplicate": true}`: {Seq: 12, Duplicate: true},
		`{"stream":"BEHALF","domain":"hub","seq":12}`:    {Seq: 12},
		`{"error":{"code":400,"err_code":10071,"description":"wrong last sequence: 8"},"stream":"BEHALF","seq":0}`: {},
		`{"error":{"code":400,"err_code":10164,"description":"wrong last sequence"},"stream":"BEHALF","seq":0}`:    {},
		`{"error":{"code":409,"err_code":10158,"description":"duplicate"},"stream":"BEHALF","seq":0}`:              {},
		`{"error":{"code":400,"err_code":10176,"description":"incomplete"},"stream":"BEHALF","seq":0}`:             {},
		`{"error":{"code":429,"err_code":10210,"description":"too many"},"stream":"BEHALF","seq":0}`:               {},
		`{"stream":"BEHALF","seq":12,"batch":"id","count":2}`:                                                      {Seq: 12, Batch: "id", Count: 2},
	} {
		got, err := p.parseAck([]byte(answer))
		if got != want || want == (ack{}) != errors.Is(err, domain.ErrMoved) {
			t.Errorf("%s: got %+v and error %v, want %+v", answer, got, err, want)
		}
	}
	for _, answer := range []string{
		"", "+OK", "{}", `{"stream":"BEHALF","seq":}`, `{"stream":"BEHALF","seq":-1}`, `{"stream":"BEHALF","seq":0,"duplicate":true}`,
		`{"stream":"BEHALF","seq":12`, `{"error":{"code":503,"err_code":10077,"description":"store failed"},"stream":"BEHALF","seq":12}`,
	} {
		if got, err := p.parseAck([]byte(answer)); err == nil || errors.Is(err, domain.ErrMoved) || got != (ack{}) {
			t.Errorf("%s: got %+v and error %v, want an error", answer, got, err)
		}
	}
	var api *jetstream.APIError
	if _, err := p.parseAck([]byte(`{"error":{"code":503,"err_code":10077}}`)); !errors.As(err, &api) || api.ErrorCode != 10077 {
		t.Errorf("got %v, want the server's error", err)
	}
}

func TestTheQueueLetsOneInAtATime(t *testing.T) {
	t.Parallel()
	q := newQueue()
	var inside [2]int // guarded by the queue, by its guard
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			leave, err := q.enter(t.Context(), fmt.Sprint(i%2))
			if err != nil {
				t.Error(err)
				return
			}
			if inside[i%2]++; inside[i%2] != 1 {
				t.Errorf("%d are inside", inside[i%2])
			}
			inside[i%2]--
			leave()
		})
	}
	wg.Wait()

	// Who enters several lines does so in one order, whatever theirs was.
	for i := range 200 {
		guards := [][]string{{"0", "1"}, {"1", "0"}, {"1"}, {"1", "2", "0"}}[i%4]
		wg.Go(func() {
			leave, err := q.enterAll(t.Context(), guards)
			if err != nil {
				t.Error(err)
				return
			}
			if inside[1]++; inside[1] != 1 {
				t.Errorf("%d are inside", inside[1])
			}
			inside[1]--
			leave()
		})
	}
	wg.Wait()

	leave, err := q.enter(t.Context(), "guard")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	wg.Go(func() {
		if _, err := q.enter(ctx, "guard"); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want %v", err, context.Canceled)
		}
	})
	wg.Go(func() {
		if _, err := q.enterAll(ctx, []string{"guard", "free"}); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want %v", err, context.Canceled)
		}
	})
	stop()
	wg.Wait()
	leave()
	if len(q.lines) > 0 {
		t.Errorf("got %d lines that nobody stands in", len(q.lines))
	}
}
