package delivery_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/behalf-platform/behalf/handlers/delivery"
	"github.com/behalf-platform/behalf/infra/memlanes"
)

// replayed is a bed with an endpoint that has taken the first twenty, but for
// two that are dead.
func replayed(t *testing.T, b *bed) *delivery.Engine {
	t.Helper()
	rules := delivery.Usual()
	rules.Beat, rules.Lapse = time.Minute, 4*time.Minute // or days take long
	b.rules = &rules
	e := endpoint("whe_a")
	e.Rate = 1000
	b.roll.set(e)
	b.world.answer("whe_a", func(_ context.Context, m delivery.Message, _ int) delivery.Result {
		if m.Seq == 3 || m.Seq == 15 {
			return answer(422)
		}
		return ok()
	})
	engine := b.engine(t, nil)
	stop := start(t, engine)
	t.Cleanup(stop)
	rest(time.Second)
	for i := range 20 {
		b.book.write(account, "agent_a", []string{"decision.allowed", "agent.disabled"}[i%2])
		rest(time.Second)
	}
	rest(5 * 24 * time.Hour)
	b.world.answer("whe_a", nil)
	return engine
}

func mustReplay(t *testing.T, e *delivery.Engine, r delivery.Replay) {
	t.Helper()
	r.Account, r.Endpoint, r.At = account, "whe_a", time.Now()
	if err := e.StartReplay(t.Context(), r); err != nil {
		t.Fatal(err)
	}
}

func mustProgress(t *testing.T, e *delivery.Engine, id string) delivery.Progress {
	t.Helper()
	list, err := e.Replays(t.Context(), account, "whe_a")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range list {
		if p.ID == id {
			return p
		}
	}
	t.Fatalf("there is no replay %s in %+v", id, list)
	return delivery.Progress{}
}

func TestReplays(t *testing.T) {
	for _, test := range []struct {
		name   string
		replay func(t *testing.T, e *delivery.Engine) delivery.Replay
		want   []string
	}{
		{"one event", func(*testing.T, *delivery.Engine) delivery.Replay {
			return delivery.Replay{Places: []delivery.Place{{Seq: 7}}}
		}, []string{"evt_7"}},
		{"some events, in the order of the log", func(*testing.T, *delivery.Engine) delivery.Replay {
			return delivery.Replay{Places: []delivery.Place{{Seq: 9}, {Seq: 2}, {Seq: 9}}}
		}, []string{"evt_2", "evt_9"}},
		{"a range", func(*testing.T, *delivery.Engine) delivery.Replay { return delivery.Replay{From: 5, Through: 8} }, ids(5, 8)},
		{"all since a time", func(t *testing.T, e *delivery.Engine) delivery.Replay {
			seq, err := e.Source.SeqAt(t.Context(), 0, time.Now().Add(-5*24*time.Hour-4500*time.Millisecond))
			if err != nil {
				t.Fatal(err)
			}
			return delivery.Replay{From: seq}
		}, ids(17, 20)},
		{"all dead letters", func(t *testing.T, e *delivery.Engine) delivery.Replay {
			places, err := e.DeadPlaces(t.Context(), account, "whe_a", time.Time{}, time.Time{})
			if err != nil {
				t.Fatal(err)
			}
			return delivery.Replay{Places: places}
		}, []string{"evt_3", "evt_15"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			in(t, func(t *testing.T, b *bed) {
				e := replayed(t, b)
				before := len(b.world.arrived("whe_a"))
				r := test.replay(t, e)
				r.ID = "rpl_a"
				mustReplay(t, e, r)
				rest(time.Minute)
				got := b.world.arrived("whe_a")[before:]
				if !same(got, test.want) {
					t.Errorf("got %s, want %s", got, test.want)
				}
				if n := b.world.replays["rpl_a"]; n != len(test.want) {
					t.Errorf("got %d with the id of the replay, want %d", n, len(test.want))
				}
				p := mustProgress(t, e, "rpl_a")
				if p.State != "done" || p.Totals.Delivered != uint64(len(test.want)) {
					t.Errorf("got %+v, want it done", p)
				}
				found, err := e.Attempts(t.Context(), delivery.Question{Account: account, Endpoint: "whe_a", Replay: "rpl_a", Most: 100})
				if err != nil || len(found) != len(test.want) {
					t.Errorf("got %d attempts of it and %v, want %d", len(found), err, len(test.want))
				}
				b.book.write(account, "agent_a", "decision.allowed") // it goes on as ever
				rest(time.Second)
				if got := b.world.arrived("whe_a"); got[len(got)-1] != "evt_21" || len(got) != before+len(test.want)+1 {
					t.Errorf("got %s, want what is new, once", brief(got))
				}
			})
		})
	}
}

func TestAReplayHasARateOfItsOwnAndSurvivesItsNode(t *testing.T) {
	in(t, func(t *testing.T, b *bed) {
		b.roll.set(endpoint("whe_a"))
		for range 1000 {
			b.book.write(account, "agent_a", "decision.allowed")
		}
		engine := b.engine(t, nil)
		stop := start(t, engine)
		rest(time.Minute)
		mustReplay(t, engine, delivery.Replay{ID: "rpl_a", From: 1, Through: 600, Rate: 10})
		rest(20 * time.Second)
		if n := len(b.world.arrived("whe_a")); n < 1190 || n > 1210 {
			t.Errorf("got %d after 20 seconds, want 1000 and 200", n)
		}
		if p := mustProgress(t, engine, "rpl_a"); p.State != "running" || p.Cursor.Seq < 150 || p.Cursor.Seq > 210 {
			t.Errorf("got %+v, want a third of it", p)
		}
		b.book.write(account, "agent_a", "decision.allowed")
		rest(time.Second)
		if !slices.Contains(b.world.arrived("whe_a"), "evt_1001") {
			t.Error("what is new waits for the replay")
		}
		stop()
		engine = b.engine(t, nil)
		defer start(t, engine)()
		rest(2 * time.Minute)
		got := b.world.arrived("whe_a")
		if want := slices.Concat(ids(1, 1001), ids(1, 600)); !same(got, want) {
			t.Errorf("got %s, want the range twice", brief(got))
		}
		if p := mustProgress(t, engine, "rpl_a"); p.State != "done" {
			t.Errorf("got %+v, want it done", p)
		}
	})
}

func TestAReplayIsCancelled(t *testing.T) {
	in(t, func(t *testing.T, b *bed) {
		e := replayed(t, b)
		mustReplay(t, e, delivery.Replay{ID: "rpl_a", From: 1, Rate: 1})
		rest(3 * time.Second)
		for range 2 {
			if err := e.CancelReplay(t.Context(), account, "whe_a", "rpl_a"); err != nil {
				t.Fatal(err)
			}
		}
		rest(time.Second)
		before := b.world.attempts("whe_a")
		rest(time.Hour)
		if n := b.world.attempts("whe_a"); n != before {
			t.Errorf("%d more were sent", n-before)
		}
		if p := mustProgress(t, e, "rpl_a"); p.State != "cancelled" {
			t.Errorf("got %+v, want it cancelled", p)
		}
		if err := e.CancelReplay(t.Context(), account, "whe_a", "rpl_b"); !errors.Is(err, delivery.ErrNoReplay) {
			t.Errorf("got %v, want %v", err, delivery.ErrNoReplay)
		}
	})
}

func TestReplaysThatMakeNoSenseAreRefused(t *testing.T) {
	in(t, func(t *testing.T, b *bed) {
		e := replayed(t, b)
		mustReplay(t, e, delivery.Replay{ID: "rpl_a", From: 1})
		for want, r := range map[error]delivery.Replay{
			delivery.ErrReplayKnown: {ID: "rpl_a", From: 2},
			delivery.ErrNothing:     {ID: "rpl_b", From: 21},
			delivery.ErrTooMany:     {ID: "rpl_c", Places: many(10_001)},
		} {
			r.Account, r.Endpoint = account, "whe_a"
			if err := e.StartReplay(t.Context(), r); !errors.Is(err, want) {
				t.Errorf("%s: got %v, want %v", r.ID, err, want)
			}
		}
		for _, id := range []string{"", "a.b", "*", ">"} {
			if err := e.StartReplay(t.Context(), delivery.Replay{ID: id, Account: account, Endpoint: "whe_a"}); err == nil {
				t.Errorf("%q: got no error", id)
			}
		}
		rest(time.Minute)
	})
}

func many(n int) (places []delivery.Place) {
	for i := range n {
		places = append(places, delivery.Place{Seq: uint64(i + 1)})
	}
	return places
}

func TestAttemptsAreKept(t *testing.T) {
	in(t, func(t *testing.T, b *bed) {
		e := replayed(t, b)
		dead, err := e.DeadLetters(t.Context(), account, "whe_a", 0, 10)
		if err != nil {
			t.Fatal(err)
		}
		slices.SortFunc(dead, func(a, b delivery.Logged) int { return int(b.Seq) - int(a.Seq) }) // not all waited for as long
		if len(dead) != 2 || dead[0].Message != "evt_15" || dead[1].Message != "evt_3" || dead[1].Try != 10 {
			t.Errorf("got %+v, want 15 and 3, each after ten attempts", dead)
		}
		found, err := e.Attempts(t.Context(), delivery.Question{Account: account, Endpoint: "whe_a", Message: "evt_3", Most: 100})
		if err != nil {
			t.Fatal(err)
		}
		for i, a := range found {
			if a.Try != 10-i || a.Status != 422 || (a.Outcome == delivery.OutcomeDead) != (i == 0) {
				t.Errorf("got %+v, want attempt %d", a, 10-i)
			}
		}
		if len(found) != 10 {
			t.Errorf("got %d attempts, want 10", len(found))
		}
		page, err := e.Attempts(t.Context(), delivery.Question{Account: account, Endpoint: "whe_a", Before: found[3].Cursor, Message: "evt_3", Most: 2})
		if err != nil || len(page) != 2 || page[0].Try != 6 {
			t.Errorf("got %+v and %v, want the two before the fourth", page, err)
		}
		foreign, err := e.Attempts(t.Context(), delivery.Question{Account: "acct_b", Endpoint: "whe_a", Most: 10})
		if err != nil || len(foreign) > 0 {
			t.Errorf("got %v and %v by another account, want none", foreign, err)
		}
		if got := b.desk.kinds(); fmt.Sprint(got) != "[exhausted exhausted]" {
			t.Errorf("got reports %v", got)
		}
	})
}

// TestAnEndpointIsRemovedDuringAReplay has what is on its way take a while.
func TestAnEndpointIsRemovedDuringAReplay(t *testing.T) {
	in(t, func(t *testing.T, b *bed) {
		b.roll.set(endpoint("whe_a"))
		b.book.write(account, "agent_a", "decision.allowed")
		engine := b.engine(t, nil)
		defer start(t, engine)()
		rest(time.Minute)
		b.world.answer("whe_a", func(context.Context, delivery.Message, int) delivery.Result {
			rest(500 * time.Millisecond)
			return ok()
		})
		mustReplay(t, engine, delivery.Replay{ID: "rpl_a", From: 1})
		rest(100 * time.Millisecond)
		b.roll.remove("whe_a")
		rest(time.Minute)
		b.roll.set(endpoint("whe_b"))
		b.book.write(account, "agent_a", "decision.allowed")
		rest(time.Minute)
		if got := b.world.arrived("whe_b"); !same(got, ids(1, 2)) {
			t.Errorf("got %v, want lanes to begin as before", got)
		}
		b.roll.remove("whe_b")
		rest(time.Minute)
		var left []string
		for _, prefix := range []string{"lane", "replay", "lease"} {
			_ = (&memlanes.Client{Store: b.store}).Values(t.Context(), prefix, false, func(key string, value []byte, _ uint64) error {
				left = append(left, key+" "+string(value))
				return nil
			})
		}
		if len(left) != 1 || !strings.Contains(left[0], `"epoch":1,`) {
			t.Errorf("got %q, want the lease alone, held since the start", left)
		}
	})
}

// TestALaneWhoseStateIsTakenAway begins anew, and holds up no other.
func TestALaneWhoseStateIsTakenAway(t *testing.T) {
	in(t, func(t *testing.T, b *bed) {
		b.roll.set(endpoint("whe_a"))
		b.book.write(account, "agent_a", "decision.allowed")
		defer start(t, b.engine(t, nil))()
		rest(time.Minute)
		if err := (&memlanes.Client{Store: b.store}).Remove(t.Context(), "lane.0.acct_a.whe_a"); err != nil {
			t.Fatal(err)
		}
		b.book.write(account, "agent_a", "decision.allowed")
		rest(time.Minute)
		b.roll.set(endpoint("whe_b"))
		b.book.write(account, "agent_a", "decision.allowed")
		rest(time.Minute)
		if got := b.world.arrived("whe_b"); !same(got, ids(1, 3)) {
			t.Errorf("got %v, want all by one that came later", got)
		}
		if got := b.world.arrived("whe_a"); !slices.Contains(got, "evt_3") {
			t.Errorf("got %v, want it to go on", got)
		}
	})
}

// TestAttemptsOfAMessageAreFoundHoweverManyCameAfter looks for the oldest of all
// that are kept.
func TestAttemptsOfAMessageAreFoundHoweverManyCameAfter(t *testing.T) {
	in(t, func(t *testing.T, b *bed) {
		client := &memlanes.Client{Store: b.store}
		for i := range 12_000 {
			raw := fmt.Appendf(nil, `{"message":"evt_%d","at":"2000-01-01T00:00:00Z","category":"answered"}`, i)
			if err := client.Attempt(account, "whe_a", delivery.OutcomeOK, fmt.Sprint(i), raw)(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		found, err := b.engine(t, client).Attempts(t.Context(), delivery.Question{Account: account, Endpoint: "whe_a", Message: "evt_3", Most: 10})
		if err != nil || len(found) != 1 {
			t.Errorf("got %v, %v, want the one", found, err)
		}
	})
}

// TestAReplayThatIsNotWantedEnds rather than stay there for ever.
func TestAReplayThatIsNotWantedEnds(t *testing.T) {
	in(t, func(t *testing.T, b *bed) {
		e := endpoint("whe_a")
		b.roll.set(e)
		engine := b.engine(t, nil)
		defer start(t, engine)()
		rest(time.Second)
		for range 10 {
			b.book.write(account, "agent_a", "decision.allowed")
		}
		rest(time.Second)
		b.world.answer(e.ID, func(context.Context, delivery.Message, int) delivery.Result {
			return delivery.Result{Status: 410, Category: delivery.Gone}
		})
		mustReplay(t, engine, delivery.Replay{ID: "rpl_a", From: 1, Through: 10})
		rest(time.Minute)
		list, err := engine.Replays(t.Context(), account, e.ID)
		if err != nil || len(list) != 1 || list[0].State != "done" || list[0].Why != delivery.Gone || list[0].Status != 410 {
			t.Errorf("got %+v and %v, want it done, and why", list, err)
		}
		if n := b.world.attempts(e.ID); n > 12 {
			t.Errorf("got %d attempts, want none after the answer", n)
		}
	})
}

// TestReplaysThatAreForgottenDoNotBeginAgain also not for the next owner.
func TestReplaysThatAreForgottenDoNotBeginAgain(t *testing.T) {
	in(t, func(t *testing.T, b *bed) {
		e := endpoint("whe_a")
		b.roll.set(e)
		engine := b.engine(t, nil)
		stop := start(t, engine)
		rest(time.Second)
		for range 3 {
			b.book.write(account, "agent_a", "decision.allowed")
		}
		rest(time.Second)
		for _, id := range []string{"rpl_a", "rpl_b"} {
			mustReplay(t, engine, delivery.Replay{ID: id, From: 1, Through: 3})
		}
		rest(time.Minute)
		if err := engine.ForgetReplays(t.Context(), account, e.ID, func(id string) bool { return id == "rpl_a" }); err != nil {
			t.Fatal(err)
		}
		rest(time.Second)
		list, err := engine.Replays(t.Context(), account, e.ID)
		if err != nil || len(list) != 1 || list[0].ID != "rpl_b" || list[0].State != "done" {
			t.Errorf("got %+v and %v, want the other one", list, err)
		}
		var keys []string
		err = engine.Store.Values(t.Context(), "lane", false, func(key string, _ []byte, _ uint64) error {
			keys = append(keys, key)
			return nil
		})
		if err != nil || !same(keys, []string{"lane.0.acct_a.whe_a", "lane.0.acct_a.whe_a.rpl_b"}) {
			t.Errorf("got the states %v and %v, want none of it", keys, err)
		}
		sent := b.world.attempts(e.ID)
		b.roll.set(e)
		rest(time.Minute)
		stop()
		defer start(t, b.engine(t, nil))()
		rest(time.Minute)
		if n := b.world.attempts(e.ID); n != sent || sent != 9 {
			t.Errorf("got %d attempts and then %d, want each replay sent once", sent, n)
		}
	})
}
