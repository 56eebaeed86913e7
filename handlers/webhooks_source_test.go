package handlers_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers/delivery"
	"github.com/behalf-platform/behalf/infra/memlanes"
)

// steps reads a stretch of a courier's log, as "sequence:types" of each record.
func (c *courier) steps(ctx context.Context, s delivery.Stretch, yield func() error) (all []string, err error) {
	err = c.source.Scan(ctx, s, func(step delivery.Step) error {
		var types []string
		for _, m := range step.Messages {
			types = append(types, m.Type)
		}
		all = append(all, fmt.Sprintf("%d:%s", step.Seq, strings.Join(types, "+")))
		return yield()
	})
	return all, err
}

func goOn() error { return nil }

func TestTheSourceYieldsEachRecordOnce(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		c := b.courier(&memlanes.Store{})
		id := c.hook("*") // after the account: created, verified
		if _, err := c.Webhooks.Test(t.Context(), b.owner, id); err != nil {
			t.Fatal(err)
		}
		c.register("agent_a")
		want := []string{"1:account.opened", "2:webhook.created", "3:webhook.verified", "4:webhook.test", "5:agent.registered"}
		for _, tt := range []struct {
			from, through uint64
			want          []string
		}{
			{1, 5, want}, {0, 3, want[:3]}, {3, 3, want[2:3]}, {5, 9, want[4:]}, {6, 9, nil},
		} {
			got, err := c.steps(t.Context(), delivery.Stretch{From: tt.from, Through: tt.through}, goOn)
			if err != nil || !slices.Equal(got, tt.want) {
				t.Errorf("%d to %d: got %v, %v, want %v", tt.from, tt.through, got, err, tt.want)
			}
		}
		first, newest, err := c.source.Bounds(t.Context(), 0)
		if err != nil || first != 1 || newest != 5 {
			t.Errorf("got %d to %d, %v, want 1 to 5", first, newest, err)
		}
		if after, err := c.source.SeqAt(t.Context(), 0, time.Now().Add(time.Hour)); err != nil || after != 6 {
			t.Errorf("got %d, %v, want the one after the newest", after, err)
		}
		enough := errors.New("enough")
		if got, err := c.steps(t.Context(), delivery.Stretch{From: 1, Through: 5}, func() error { return enough }); !errors.Is(err, enough) || len(got) != 1 {
			t.Errorf("got %v, %v, want one and %v", got, err, enough)
		}
	})
}

func TestTheSourceGoesOnWithWhatIsNew(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		c := b.courier(&memlanes.Store{})
		ctx, stop := context.WithCancel(t.Context())
		came, ended := make(chan int, 2000), make(chan error)
		go func() {
			n := 0
			_, err := c.steps(ctx, delivery.Stretch{From: 1, Live: true}, func() error { n++; came <- n; return nil })
			ended <- err
		}()
		synctest.Wait()
		for i := range 1200 { // more than is settled at once
			c.register(fmt.Sprintf("agent_%d", i))
		}
		synctest.Wait()
		if n := len(came); n != 1201 {
			t.Errorf("got %d records, want 1201", n)
		}
		stop()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want %v", err, context.Canceled)
		}
	})
}

func TestTheSourceTellsNothingThatIsNotSettled(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		c := b.courier(&memlanes.Store{})
		c.run(c.engine.Run)
		id := c.hook("agent.registered")
		broken := errors.New("the disk is full")
		c.log.FailSettle(broken)
		if got, err := c.steps(t.Context(), delivery.Stretch{From: 1, Through: 1}, goOn); !errors.Is(err, broken) || len(got) > 0 {
			t.Errorf("got %v, %v, want nothing but %v", got, err, broken)
		}
		c.register("agent_a")
		time.Sleep(time.Minute)
		if got := c.arrived(id); got != "" {
			t.Errorf("got %q, want nothing told that may be untold", got)
		}
		c.log.FailSettle(nil)
		time.Sleep(time.Minute)
		if got := c.arrived(id); got != "agent.registered:agent_a" {
			t.Errorf("got %q, want it once", got)
		}
	})
}

// TestTheSourceStopsAtWhatItCannotRead rather than leave it out, as whoever
// publishes events does.
func TestTheSourceStopsAtWhatItCannotRead(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		c := b.courier(&memlanes.Store{})
		at := b.log.Inject(domain.Stream{Account: "acct_other"}, []byte(`{"kind":"of.tomorrow.v1"}`))
		c.register("agent_a")
		got, err := c.steps(t.Context(), delivery.Stretch{From: 1, Through: at.Seq + 1}, goOn)
		if unreadable, ok := errors.AsType[*domain.Unreadable](err); !ok || unreadable.Position.Seq != at.Seq || len(got) != int(at.Seq)-1 {
			t.Errorf("got %v, %v, want all before it, and which it is", got, err)
		}
	})
}
