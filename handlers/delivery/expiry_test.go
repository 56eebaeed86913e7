package delivery_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers/delivery"
)

const day = 24 * time.Hour

// fleet writes records of which the log lets go.
func (b *bed) fleet(n int) {
	for range n {
		b.book.write(account, "agent_a", "decision.allowed")
	}
}

// expire removes what is fleeting and older than what is kept.
func (b *bed) expire() {
	b.book.mu.Lock()
	var gone []uint64
	for _, s := range b.book.steps {
		if len(s.Messages) > 0 && s.Messages[0].Fleeting && time.Since(s.Messages[0].At) > b.roll.keep {
			gone = append(gone, s.Seq)
		}
	}
	b.book.mu.Unlock()
	b.book.remove(gone...)
}

func (d *desk) reports() []delivery.Report {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.made)
}

func (d *desk) of(kinds ...delivery.ReportKind) (all []delivery.Report) {
	for _, r := range d.reports() {
		if slices.Contains(kinds, r.Kind) {
			all = append(all, r)
		}
	}
	return all
}

// What expires while an endpoint can't be sent to is warned about before, and told
// once when it was lost; what stays in the log is delivered all the same.
func TestWhatExpiresFromBetweenIsWarnedAboutAndTold(t *testing.T) {
	for name, off := range map[string]func(*bed, delivery.Endpoint){
		"down": func(b *bed, e delivery.Endpoint) {
			b.world.answer(e.ID, func(context.Context, delivery.Message, int) delivery.Result { return failed(delivery.Connect) })
		},
		"paused": func(b *bed, e delivery.Endpoint) {
			e.Enabled = false
			b.roll.set(e)
		},
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T, b *bed) {
				e := endpoint("whe_a")
				b.roll.keep = 2 * day
				b.roll.set(e)
				engine := b.engine(t, nil)
				stop := start(t, engine)
				rest(time.Second)
				b.fleet(1) // delivered
				rest(time.Second)
				off(b, e)
				rest(2 * time.Second)
				b.fleet(1500) // 2 to 1501
				b.book.write(account, "agent_a", "agent.registered")
				b.fleet(1500) // 1503 to 3002
				began := time.Now()
				rest(40 * time.Hour)
				if got := b.desk.of(delivery.Expiring, delivery.Gap); len(got) > 0 {
					t.Errorf("got %+v long before", got)
				}
				if expires, err := engine.Expires(t.Context(), e); err != nil || expires {
					t.Errorf("got %t and %v, want it not to expire yet", expires, err)
				}
				rest(6 * time.Hour)
				got := b.desk.of(delivery.Expiring, delivery.Gap)
				if len(got) != 1 || got[0].Kind != delivery.Expiring || got[0].From != 2 || got[0].Since.IsZero() || got[0].Since.Before(began.Add(-time.Minute)) {
					t.Errorf("got %+v, want one warning", got)
				}
				if expires, err := engine.Expires(t.Context(), e); err != nil || !expires {
					t.Errorf("got %t and %v, want it to expire", expires, err)
				}
				stop() // what a lane has read it need not read again
				rest(3 * time.Hour)
				b.expire()
				b.fleet(10) // 3003 to 3012
				defer start(t, b.engine(t, nil))()
				rest(time.Hour)
				b.world.answer(e.ID, nil)
				b.roll.set(e)
				rest(time.Hour)
				if got, want := b.world.arrived(e.ID), slices.Concat(ids(1, 1), ids(1502, 1502), ids(3003, 3012)); !same(got, want) {
					t.Errorf("got %s, want what there still was", brief(got))
				}
				if got := b.desk.of(delivery.Gap); len(got) != 1 || got[0].From != 2 || got[0].Through != 3002 {
					t.Errorf("got %+v, want it told once from where to where", got)
				}
			})
		})
	}
}

// TestWhoCatchesUpIsNotWarnedAnyMore also when nothing had failed.
func TestWhoCatchesUpIsNotWarnedAnyMore(t *testing.T) {
	in(t, func(t *testing.T, b *bed) {
		e := endpoint("whe_a")
		b.roll.keep = day
		b.roll.set(e)
		engine := b.engine(t, nil)
		defer start(t, engine)()
		rest(time.Second)
		paused := e
		paused.Enabled = false
		b.roll.set(paused)
		rest(2 * time.Second)
		b.fleet(10)
		rest(23 * time.Hour)
		paused.Warned, e.Warned = true, true
		b.roll.set(paused) // as its report has it be known
		rest(10 * time.Minute)
		b.roll.set(e)
		rest(3 * time.Minute)
		var kinds []delivery.ReportKind
		for _, r := range b.desk.of(delivery.Expiring, delivery.Recovered, delivery.Gap) {
			if len(kinds) == 0 || kinds[len(kinds)-1] != r.Kind {
				kinds = append(kinds, r.Kind)
			}
		}
		if !slices.Equal(kinds, []delivery.ReportKind{delivery.Expiring, delivery.Recovered}) {
			t.Errorf("got %v, want a warning and its end", kinds)
		}
		if got := b.world.arrived(e.ID); !same(got, ids(1, 10)) {
			t.Errorf("got %s, want all", brief(got))
		}
	})
}

// Who wants none of what goes, or has got it, is not told of anything.
func TestWhatIsNotMissedIsNotToldOf(t *testing.T) {
	in(t, func(t *testing.T, b *bed) {
		b.roll.keep = day
		got := endpoint("whe_got")
		b.roll.set(got)
		engine := b.engine(t, nil)
		stop := start(t, engine)
		rest(time.Second)
		b.fleet(2000)
		rest(time.Minute)
		paused := got
		paused.Enabled = false
		b.roll.set(paused)
		rest(2 * time.Second)
		b.book.write(account, "agent_a", "agent.registered")
		rest(25 * time.Hour)
		b.expire()
		stop()
		defer start(t, b.engine(t, nil))()
		rest(time.Hour)
		b.roll.set(got)
		rest(time.Hour)
		if made := b.desk.reports(); len(made) > 0 {
			t.Errorf("got %+v, want nothing", made)
		}
		if arrived := b.world.arrived("whe_got"); !same(arrived, ids(1, 2001)) {
			t.Errorf("got %s, want all", brief(arrived))
		}
	})
}

// What is too young to have gone by the account's setting was another's.
func TestWhatLeavesTheLogOfAnotherAccountIsNoLoss(t *testing.T) {
	in(t, func(t *testing.T, b *bed) {
		b.roll.keep = 30 * day
		e := endpoint("whe_a")
		e.Enabled = false
		b.roll.set(e)
		for range 700 {
			b.book.write(domain.AccountID("acct_b"), "agent_b", "decision.allowed")
			b.book.write(account, "agent_a", "agent.registered")
		}
		rest(2 * day)
		for seq := uint64(1); seq <= 1400; seq += 2 {
			b.book.remove(seq)
		}
		e.Enabled = true
		b.roll.set(e)
		defer start(t, b.engine(t, nil))()
		rest(time.Hour)
		if n := len(b.world.arrived(e.ID)); n != 700 || len(b.desk.reports()) > 0 {
			t.Errorf("got %d and the reports %+v, want all and none", n, b.desk.reports())
		}
	})
}
