package delivery_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers/delivery"
	"github.com/behalf-platform/behalf/infra/memlanes"
)

// TestNeighbours has one endpoint that hangs and one that is dead among twenty.
func TestNeighbours(t *testing.T) {
	in(t, func(t *testing.T, b *bed) {
		late := map[delivery.EndpointID]time.Duration{}
		for i := range 20 {
			e := endpoint(delivery.EndpointID(fmt.Sprintf("whe_%d", i)))
			b.roll.set(e)
			b.world.answer(e.ID, func(_ context.Context, m delivery.Message, _ int) delivery.Result {
				b.world.mu.Lock()
				late[e.ID] = max(late[e.ID], time.Since(m.At))
				b.world.mu.Unlock()
				switch i {
				case 0:
					time.Sleep(20 * time.Second)
					return failed(delivery.Timeout)
				case 1:
					return failed(delivery.Connect)
				}
				time.Sleep(5 * time.Millisecond)
				return ok()
			})
		}
		defer start(t, b.engine(t, nil))()
		rest(time.Second)
		const events = 5000
		for range events {
			b.book.write(account, "agent_a", "decision.allowed")
			rest(10 * time.Millisecond)
		}
		rest(time.Second)
		for i := 2; i < 20; i++ {
			id := delivery.EndpointID(fmt.Sprintf("whe_%d", i))
			if got := b.world.arrived(id); !same(got, ids(1, events)) {
				t.Errorf("%s: got %s, want all, each once", id, brief(got))
			}
			if late[id] > 0 {
				t.Errorf("%s: one came %s late, want no delay", id, late[id])
			}
		}
	})
}

// TestLanesBehindShareWhatIsRead has many lanes catch up from the same place.
func TestLanesBehindShareWhatIsRead(t *testing.T) {
	in(t, func(t *testing.T, b *bed) {
		const events = 5120 // ten chunks
		for range events {
			b.book.write(account, "agent_a", "decision.allowed")
		}
		for i := range 50 {
			b.roll.set(endpoint(delivery.EndpointID(fmt.Sprintf("whe_%d", i))))
		}
		defer start(t, b.engine(t, nil))()
		rest(time.Minute)
		for i := range 50 {
			if got := b.world.arrived(delivery.EndpointID(fmt.Sprintf("whe_%d", i))); !same(got, ids(1, events)) {
				t.Errorf("lane %d: got %s, want all", i, brief(got))
			}
		}
		if n := b.book.scans; n > 40 {
			t.Errorf("the log was read %d times, want about ten", n)
		}
	})
}

func TestIdleLanesMoveOn(t *testing.T) {
	in(t, func(t *testing.T, b *bed) {
		e := endpoint("whe_a")
		e.Types = []string{"approval.*"}
		b.roll.set(e)
		foreign := endpoint("whe_b")
		foreign.Account = "acct_b"
		b.roll.set(foreign)
		stop := start(t, b.engine(t, nil))
		rest(time.Second)
		for range 9000 {
			b.book.write(account, "agent_a", "decision.allowed")
		}
		rest(2 * time.Minute)
		stop()
		scans := b.book.scans
		engine := b.engine(t, nil)
		for _, of := range []delivery.Endpoint{e, foreign} {
			if s, err := engine.Status(t.Context(), of.Account, of.ID); err != nil || s.Behind > 1000 {
				t.Errorf("%s: got %d behind and %v, want it to have moved on", of.ID, s.Behind, err)
			}
		}
		defer start(t, engine)()
		rest(time.Minute)
		if n := b.book.scans - scans; n > 5 {
			t.Errorf("the log was read %d times again", n)
		}
	})
}

func TestWhatTheLogForgotIsReportedOnce(t *testing.T) {
	in(t, func(t *testing.T, b *bed) {
		b.roll.set(endpoint("whe_a"))
		stop := start(t, b.engine(t, nil))
		rest(time.Second)
		for range 10 {
			b.book.write(account, "agent_a", "decision.allowed")
		}
		rest(time.Second)
		stop()
		for range 2000 {
			b.book.write(account, "agent_a", "decision.allowed")
		}
		b.book.retain(1501)
		for range 2 {
			engine := b.engine(t, nil)
			stop = start(t, engine)
			rest(time.Minute)
			stop()
		}
		if got, want := b.world.arrived("whe_a"), slices.Concat(ids(1, 10), ids(1501, 2010)); !same(got, want) {
			t.Errorf("got %s, want what there still was", brief(got))
		}
		if len(b.desk.made) != 1 || b.desk.made[0].Kind != delivery.Gap || b.desk.made[0].From != 11 || b.desk.made[0].Through != 1500 {
			t.Errorf("got %+v, want the gap once", b.desk.made)
		}
		found, err := b.engine(t, nil).Attempts(t.Context(), delivery.Question{Account: account, Endpoint: "whe_a", Outcomes: []string{delivery.OutcomeFailed}, Most: 10})
		if err != nil || len(found) != 1 || found[0].Category != delivery.Skipped || found[0].Seq != 11 || found[0].Through != 1500 {
			t.Errorf("got %+v and %v, want the gap once", found, err)
		}
	})
}

// What leaves the log from between other records leaves no lane waiting for it:
// the last of a chunk, a whole chunk, the newest that a lane has not read.
func TestALaneGoesOnBehindRecordsThatAreGone(t *testing.T) {
	in(t, func(t *testing.T, b *bed) {
		b.roll.set(endpoint("whe_a"))
		for range 3000 {
			b.book.write(account, "agent_a", "decision.allowed")
		}
		var removed []uint64
		for seq := uint64(500); seq <= 1200; seq++ {
			removed = append(removed, seq)
		}
		removed = append(removed, 1536, 2048, 3000)
		b.book.remove(removed...)
		stop := start(t, b.engine(t, nil))
		rest(time.Minute)
		stop()
		var want []string
		for _, id := range ids(1, 3000) {
			if !slices.ContainsFunc(removed, func(seq uint64) bool { return id == fmt.Sprintf("evt_%d", seq) }) {
				want = append(want, id)
			}
		}
		if got := b.world.arrived("whe_a"); !same(got, want) {
			t.Errorf("got %s, want what there still was", brief(got))
		}
		if len(b.desk.made) > 0 {
			t.Errorf("got the reports %+v, want none", b.desk.made)
		}
	})
}

func TestWhatExpiresIsWarnedAbout(t *testing.T) {
	in(t, func(t *testing.T, b *bed) {
		b.roll.set(endpoint("whe_a"))
		b.roll.set(endpoint("whe_b"))
		b.world.answer("whe_a", func(context.Context, delivery.Message, int) delivery.Result { return failed(delivery.Connect) })
		defer start(t, b.engine(t, nil))()
		rest(time.Second)
		for range 1000 {
			b.book.write(account, "agent_a", "decision.allowed")
		}
		rest(10 * time.Minute)
		if len(b.desk.made) > 0 {
			t.Errorf("got %+v while the log removes nothing", b.desk.made)
		}
		for range 1000 {
			b.book.write(account, "agent_a", "decision.allowed")
		}
		b.book.retain(2)
		rest(10 * time.Minute)
		if len(b.desk.made) != 1 || b.desk.made[0].Kind != delivery.Expiring || b.desk.made[0].From != 1 || b.desk.made[0].Endpoint != "whe_a" {
			t.Errorf("got %+v, want one warning of the one that is down", b.desk.made)
		}
	})
}

func TestWhoIsGoneIsDisabledAndGoesOnWhenEnabled(t *testing.T) {
	in(t, func(t *testing.T, b *bed) {
		e := endpoint("whe_a")
		b.roll.set(e)
		b.world.answer("whe_a", func(context.Context, delivery.Message, int) delivery.Result { return answer(410) })
		engine := b.engine(t, nil)
		defer start(t, engine)()
		rest(time.Second)
		for range 100 {
			b.book.write(account, "agent_a", "decision.allowed")
		}
		rest(time.Hour)
		if n := b.world.attempts("whe_a"); n > 8 {
			t.Errorf("got %d attempts, want no more than what was on its way", n)
		}
		if got := b.desk.kinds(); fmt.Sprint(got) != "[disable]" {
			t.Errorf("got reports %v, want it disabled once", got)
		}
		if s, err := engine.Status(t.Context(), account, "whe_a"); err != nil || s.State != "stopped" || s.Behind != 100 || s.Status != 410 {
			t.Errorf("got %+v and %v, want it stopped at the beginning", s, err)
		}
		b.world.answer("whe_a", nil)
		b.roll.set(e)
		rest(time.Minute)
		if got := b.world.arrived("whe_a"); !same(got, ids(1, 100)) {
			t.Errorf("got %s, want all", brief(got))
		}
	})
}

func TestSkippingToNowIsReported(t *testing.T) {
	in(t, func(t *testing.T, b *bed) {
		e := endpoint("whe_a")
		e.Enabled = false
		b.roll.set(e)
		on := e
		on.Enabled = true
		defer start(t, b.engine(t, nil))()
		b.roll.set(on)
		rest(time.Second)
		b.book.write(account, "agent_a", "decision.allowed")
		rest(time.Second)
		b.roll.set(e)
		rest(2 * time.Second)
		for range 50 {
			b.book.write(account, "agent_a", "decision.allowed")
		}
		on.From = 41
		b.roll.set(on)
		rest(time.Second)
		if got, want := b.world.arrived("whe_a"), slices.Concat(ids(1, 1), ids(42, 51)); !same(got, want) {
			t.Errorf("got %s, want %s", brief(got), brief(want))
		}
		if len(b.desk.made) != 1 || b.desk.made[0].From != 2 || b.desk.made[0].Through != 41 {
			t.Errorf("got %+v, want the gap", b.desk.made)
		}
	})
}

func TestAnEndpointThatWasRemovedIsForgotten(t *testing.T) {
	in(t, func(t *testing.T, b *bed) {
		b.roll.set(endpoint("whe_a"))
		engine := b.engine(t, nil)
		defer start(t, engine)()
		rest(time.Second)
		b.book.write(account, "agent_a", "decision.allowed")
		rest(time.Second)
		mustReplay(t, engine, delivery.Replay{ID: "rpl_a", From: 1, Rate: 0.001})
		rest(time.Second)
		b.roll.remove("whe_a")
		rest(5 * time.Second)
		before := b.world.attempts("whe_a")
		b.book.write(account, "agent_a", "decision.allowed")
		rest(time.Hour)
		if n := b.world.attempts("whe_a"); n != before {
			t.Errorf("%d were sent to it", n-before)
		}
		left := 0
		err := engine.Store.Values(t.Context(), "lane", false, func(string, []byte, uint64) error { left++; return nil })
		if err != nil || left > 0 {
			t.Errorf("%d states are left, %v", left, err)
		}
		if list, err := engine.Replays(t.Context(), account, "whe_a"); err != nil || len(list) > 0 {
			t.Errorf("got %v and %v, want no replays", list, err)
		}
	})
}

func TestNothingIsKeptOfAnAnswerBeforeAnEndpointIsVerified(t *testing.T) {
	in(t, func(t *testing.T, b *bed) {
		long := []byte("é" + strings.Repeat("x", 1022) + "éé\xff")
		b.world.answer("whe_a", func(context.Context, delivery.Message, int) delivery.Result {
			return delivery.Result{Status: 200, Category: delivery.Answered, Answer: long, Key: 3}
		})
		engine := b.engine(t, nil)
		e := endpoint("whe_a")
		m := delivery.Message{ID: "msg_1", Type: "webhook.challenge"}
		unverified := e
		unverified.Verified = false
		if _, err := engine.Test(t.Context(), unverified, m); err == nil || b.world.attempts("whe_a") > 0 {
			t.Errorf("a test of one that is not verified: got %v, want it refused", err)
		}
		r, err := engine.Challenge(t.Context(), unverified, m)
		if err != nil || !bytes.Equal(r.Answer, long) {
			t.Errorf("got %v, want the answer to the challenge", err)
		}
		if _, err := engine.Test(t.Context(), e, m); err != nil {
			t.Error(err)
		}
		found, err := engine.Attempts(t.Context(), delivery.Question{Account: account, Endpoint: "whe_a", Most: 10})
		if err != nil || len(found) != 2 {
			t.Fatalf("got %+v and %v, want two", found, err)
		}
		if a := found[1]; a.Kind != "challenge" || a.Answer != "" || a.Key != 3 {
			t.Errorf("got %+v, want no answer", a)
		}
		if a := found[0]; a.Kind != "test" || a.Answer != string(long[:1024]) {
			t.Errorf("got %d bytes of an answer, want the first KiB", len(a.Answer))
		}
	})
}

func TestMetrics(t *testing.T) {
	in(t, func(t *testing.T, b *bed) {
		b.roll.set(endpoint("whe_a"))
		b.roll.set(endpoint("whe_idle"))
		idle := endpoint("whe_idle")
		idle.Types = []string{"approval.*"}
		b.roll.set(idle)
		b.world.answer("whe_a", func(_ context.Context, m delivery.Message, _ int) delivery.Result {
			if m.Seq > 2 {
				return failed(delivery.DNS)
			}
			return ok()
		})
		engine := b.engine(t, nil)
		reg := prometheus.NewRegistry()
		engine.Metrics = delivery.NewMetrics(reg, engine)
		defer start(t, engine)()
		rest(time.Second)
		for range 3 {
			b.book.write(account, "agent_a", "decision.allowed")
		}
		rest(90 * time.Second)
		got := mustGather(t, reg)
		if failed := got["behalf_webhook_attempts_total whe_a failed"]; failed < 5 || failed > 20 {
			t.Errorf("got %v failed attempts, want those of a pause that doubles", failed)
		}
		delete(got, "behalf_webhook_attempts_total whe_a failed")
		want := map[string]float64{
			"behalf_webhook_attempts_total whe_a ok": 2, "behalf_webhook_attempts_total whe_a dead": 0,
			"behalf_webhook_oldest_undelivered_seconds whe_a": 90, "behalf_webhook_attempt_seconds whe_a": 0,
		}
		if !maps.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}

// mustGather returns each series by its name and labels. That of a histogram is
// 0, whatever it counts.
func mustGather(t *testing.T, reg *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			found[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return found
}

func TestANodeThatEndsGivesItsLeaseBack(t *testing.T) {
	in(t, func(t *testing.T, b *bed) {
		b.roll.set(endpoint("whe_a"))
		stop := start(t, b.engine(t, nil))
		rest(time.Second)
		defer start(t, b.engine(t, nil))()
		rest(time.Second)
		stop()
		b.book.write(account, "agent_a", "decision.allowed")
		rest(1500 * time.Millisecond) // the usual lease lapses after eight seconds
		if got := b.world.arrived("whe_a"); !slices.Equal(got, ids(1, 1)) {
			t.Errorf("got %v, want it delivered by the other node", got)
		}
	})
}

// Who is alone need not wait for the lease of a process that was killed.
func TestANodeThatIsAloneTakesItsLeaseBack(t *testing.T) {
	for alone, want := range map[bool]int{true: 1, false: 0} {
		t.Run(fmt.Sprintf("alone is %t", alone), func(t *testing.T) {
			in(t, func(t *testing.T, b *bed) {
				b.roll.set(endpoint("whe_a"))
				left := []byte(`{"epoch":3,"node":"killed","holder":"NOBODY-ANY-MORE","beat":7}`)
				if _, err := (&memlanes.Client{Store: b.store}).Put(t.Context(), "lease.0", left, 0); err != nil {
					t.Fatal(err)
				}
				e := b.engine(t, nil)
				e.Alone = alone
				defer start(t, e)()
				rest(time.Second)
				b.book.write(account, "agent_a", "decision.allowed")
				rest(500 * time.Millisecond) // the usual lease lapses after eight seconds
				if got := b.world.arrived("whe_a"); len(got) != want {
					t.Errorf("got %v, want %d", got, want)
				}
			})
		})
	}
}

func TestTheLogMayFailForAWhile(t *testing.T) {
	in(t, func(t *testing.T, b *bed) {
		for range 2000 {
			b.book.write(account, "agent_a", "decision.allowed")
		}
		b.book.err = errors.New("no log")
		b.roll.set(endpoint("whe_a"))
		defer start(t, b.engine(t, nil))()
		rest(time.Minute)
		b.book.mu.Lock()
		b.book.err = nil
		b.book.mu.Unlock()
		rest(time.Minute)
		if got := b.world.arrived("whe_a"); !same(got, ids(1, 2000)) {
			t.Errorf("got %s, want all", brief(got))
		}
	})
}

func TestRulesThatMakeNoSenseAreRefused(t *testing.T) {
	t.Parallel()
	if err := delivery.Usual().Validate(); err != nil {
		t.Error(err)
	}
	err := delivery.Rules{}.Validate()
	for _, want := range []string{"window", "schedule", "lease", "ring", "replays"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to say something of the %s", err, want)
		}
	}
	e := newBed().engine(t, nil)
	e.Rules = &delivery.Rules{}
	if err := e.Run(t.Context()); err == nil {
		t.Error("run with them: got no error")
	}
}

func TestWants(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		types  []string
		agents []domain.AgentID
		typ    string
		want   bool
	}{
		{types: []string{"*"}, typ: "decision.allowed", want: true},
		{types: []string{"decision.*"}, typ: "decision.allowed", want: true},
		{types: []string{"decision.*"}, typ: "decisions.allowed"},
		{types: []string{"decision.*"}, typ: "decision"},
		{types: []string{"decision*"}, typ: "decision.allowed"},
		{types: []string{"agent.disabled", "decision.denied"}, typ: "decision.denied", want: true},
		{types: nil, typ: "decision.denied"},
		{types: []string{"*"}, agents: []domain.AgentID{"agent_b"}, typ: "decision.denied"},
		{types: []string{"*"}, agents: []domain.AgentID{"agent_b", "agent_a"}, typ: "decision.denied", want: true},
	} {
		e := delivery.Endpoint{Types: test.types, Agents: test.agents}
		if got := e.Wants(&delivery.Message{Type: test.typ, Agent: "agent_a"}); got != test.want {
			t.Errorf("%v of %v wants %s: got %v, want %v", test.types, test.agents, test.typ, got, test.want)
		}
	}
}

// TestALaneGoesOnWhereTheLogLostItsBeginningAndMore has the end of the chunk be gone
// in which the log begins.
func TestALaneGoesOnWhereTheLogLostItsBeginningAndMore(t *testing.T) {
	in(t, func(t *testing.T, b *bed) {
		b.roll.set(endpoint("whe_a"))
		for range 2000 {
			b.book.write(account, "agent_a", "decision.allowed")
		}
		b.book.retain(101)
		for seq := uint64(301); seq <= 600; seq++ {
			b.book.remove(seq)
		}
		defer start(t, b.engine(t, nil))()
		rest(time.Hour)
		if got, want := b.world.arrived("whe_a"), slices.Concat(ids(101, 300), ids(601, 2000)); !same(got, want) {
			t.Errorf("got %s, want what there still was", brief(got))
		}
	})
}
