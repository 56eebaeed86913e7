package handlers_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers"
	"github.com/behalf-platform/behalf/handlers/delivery"
	"github.com/behalf-platform/behalf/infra/memlanes"
)

// eventID is the id of the newest event.
func (c *courier) eventID() domain.EventID {
	c.t.Helper()
	id, _ := c.bed.newest()
	return domain.EventID(id.(string))
}

// over waits until a replay has ended, and returns it.
func (c *courier) over(hook domain.EndpointID, id domain.ReplayID) domain.Replay {
	c.t.Helper()
	for range 100 {
		for _, r := range c.replays(hook) {
			if r.ID == id && r.State != domain.ReplayIsRunning {
				return r
			}
		}
		time.Sleep(time.Second)
	}
	c.t.Fatalf("replay %s didn't end", id)
	return domain.Replay{}
}

func TestAReplayOfWhatWasSelected(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		c := b.courier(&memlanes.Store{})
		c.run(c.engine.Run, c.steward.Run)
		id := c.hook("agent.registered")
		var at []time.Time
		var ids []domain.EventID
		for _, name := range []string{"agent_a", "agent_b", "agent_c"} {
			time.Sleep(time.Minute)
			at = append(at, time.Now())
			c.register(name)
			ids = append(ids, c.eventID())
		}
		time.Sleep(time.Minute)
		if got, want := c.arrived(id), "agent.registered:agent_a, agent.registered:agent_b, agent.registered:agent_c"; got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
		for _, replay := range []struct {
			name string
			what domain.ReplaySelection
			want string
			sent int
		}{
			{"all since", domain.ReplaySelection{Since: at[1]}, "agent.registered:agent_b again, agent.registered:agent_c again", 2},
			{"until is not part of it", domain.ReplaySelection{Since: at[0], Until: at[1]}, "agent.registered:agent_a again", 1},
			{"by id", domain.ReplaySelection{EventIDs: []domain.EventID{ids[2], ids[0]}}, "agent.registered:agent_a again, agent.registered:agent_c again", 2},
			{"what is not there", domain.ReplaySelection{EventIDs: []domain.EventID{"evt_01K8M3Z5V1A3C5E7G9J1M3P5R7", ids[0] + "-1"}}, "", 0},
			{"nothing was given up", domain.ReplaySelection{DeadLetters: true}, "", 0},
			{"a time in which nothing was", domain.ReplaySelection{Since: at[0].Add(time.Second), Until: at[0].Add(2 * time.Second)}, "", 0},
		} {
			r := c.over(id, c.replay(id, replay.what))
			if got := c.arrived(id); got != replay.want || r.State != domain.ReplayIsFinished || r.Delivered != replay.sent || r.Failed != 0 {
				t.Errorf("%s: got %q, and %+v, want %q", replay.name, got, r, replay.want)
			}
		}
	})
}

// TestAReplayIsOfTheAccountAlone names events of another account, and a test that
// was for another endpoint.
func TestAReplayIsOfTheAccountAlone(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		c := b.courier(&memlanes.Store{})
		if _, err := c.OpenAccount(t.Context(), "acct_other", domain.OpenAccount{
			Name: "Other", Currency: "USD", Owner: "mem_other", Token: domain.HashToken(b.token + "other"),
		}); err != nil {
			t.Fatal(err)
		}
		foreign := c.eventID()
		c.run(c.engine.Run, c.steward.Run)
		neighbour, id := c.hook("agent.registered"), c.hook("agent.registered")
		test, err := c.Webhooks.Test(t.Context(), b.owner, neighbour)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		r := c.over(id, c.replay(id, domain.ReplaySelection{EventIDs: []domain.EventID{foreign, test}}))
		if got := c.arrived(id); got != "" || r.Delivered != 0 {
			t.Errorf("got %q, and %+v, want nothing", got, r)
		}
		r = c.over(neighbour, c.replay(neighbour, domain.ReplaySelection{EventIDs: []domain.EventID{foreign, test}}))
		if got := c.arrived(neighbour); got != "webhook.test, webhook.test again" || r.Delivered != 1 {
			t.Errorf("got %q, and %+v, want its own test twice", got, r)
		}
	})
}

func TestAReplayOfWhatWasGivenUp(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		c := b.courier(&memlanes.Store{})
		rules := delivery.Usual()
		rules.Schedule, rules.Strikes, rules.Guard = []time.Duration{time.Second}, 100, 1
		c.engine.Rules = &rules
		c.run(c.engine.Run, c.steward.Run)
		id := c.hook("agent.registered")
		c.refuses(422)
		c.register("agent_a")
		time.Sleep(time.Hour)
		between := time.Now()
		c.register("agent_b")
		time.Sleep(time.Hour)
		c.answers(nil)
		c.register("agent_c")
		time.Sleep(time.Minute)
		if got := c.arrived(id); got != "agent.registered:agent_c" {
			t.Fatalf("got %q, want what was not given up", got)
		}
		left := 2
		if got, page := c.deadLetters(id); got != left || page != left {
			t.Errorf("got %d dead letters, %d of them listed, want %d", got, page, left)
		}
		for _, replay := range []struct {
			what domain.ReplaySelection
			want string
		}{
			{domain.ReplaySelection{DeadLetters: true, Until: between}, "agent.registered:agent_a again"},
			{domain.ReplaySelection{DeadLetters: true, Since: between}, "agent.registered:agent_b again"},
			{domain.ReplaySelection{DeadLetters: true}, ""}, // nothing is left of them
		} {
			c.over(id, c.replay(id, replay.what))
			left--
			if got, page := c.deadLetters(id); got != max(left, 0) || page != got {
				t.Errorf("%+v: got %d dead letters, %d of them listed, want %d", replay.what, got, page, max(left, 0))
			}
			if got := c.arrived(id); got != replay.want {
				t.Errorf("%+v: got %q, want %q", replay.what, got, replay.want)
			}
		}
	})
}

// deadLetters is how many there are, and how many are listed one by one.
func (c *courier) deadLetters(id domain.EndpointID) (counted, listed int) {
	c.t.Helper()
	status, err := c.Webhooks.Status(c.t.Context(), c.bed.owner, id)
	if err != nil {
		c.t.Fatal(err)
	}
	for q := (handlers.PageQuery{Limit: 1}); ; {
		page, err := c.Webhooks.DeadLetters(c.t.Context(), c.bed.owner, id, q)
		if err != nil {
			c.t.Fatal(err)
		}
		listed += len(page.DeadLetters)
		if q.Cursor = page.NextCursor; q.Cursor == "" {
			return status.DeadLetters, listed
		}
	}
}

func TestACancelledReplaySendsNoMore(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		c := b.courier(&memlanes.Store{})
		c.run(c.engine.Run, c.steward.Run)
		id := c.hook("agent.registered")
		began := time.Now()
		c.register("agent_a", "agent_b", "agent_c", "agent_d")
		time.Sleep(time.Minute)
		c.arrived(id)
		view, err := c.Webhooks.RequestReplay(t.Context(), b.owner, domain.RequestReplay{
			EndpointID: id, ReplaySelection: domain.ReplaySelection{Since: began}, RatePerSecond: 1,
		})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(1500 * time.Millisecond)
		if _, err := c.Webhooks.CancelReplay(t.Context(), b.owner, id, view.ReplayID); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if got := c.arrived(id); got != "agent.registered:agent_a again, agent.registered:agent_b again" {
			t.Errorf("got %q, want what was sent before it was cancelled", got)
		}
		if r := c.over(id, view.ReplayID); r.State != domain.ReplayIsCancelled {
			t.Errorf("got %+v, want it cancelled", r)
		}
	})
}

// TestAStewardThatIsBehindBeginsNothing has one start on a node that has read only
// the beginning of the log, in which a replay seems to run that is over.
func TestAStewardThatIsBehindBeginsNothing(t *testing.T) {
	for name, end := range map[string]func(*courier, domain.EndpointID, domain.ReplayID) error{
		"cancelled": func(c *courier, id domain.EndpointID, r domain.ReplayID) error {
			_, err := c.Webhooks.CancelReplay(c.t.Context(), c.bed.owner, id, r)
			return err
		},
		"finished": func(c *courier, id domain.EndpointID, r domain.ReplayID) error {
			return c.Webhooks.FinishReplay(c.t.Context(), home, domain.EndReplay{EndpointID: id, ReplayID: r})
		},
	} {
		t.Run(name, func(t *testing.T) {
			lie(t, func(t *testing.T, b *bed) {
				c := b.courier(&memlanes.Store{})
				id := c.hook("agent.registered")
				c.register("agent_a")
				stop := c.run(c.engine.Run)
				replay := c.replay(id, domain.ReplaySelection{Since: time.Now().Add(-time.Hour)})
				release := c.log.HoldFollow()
				time.Sleep(time.Second)
				other := b.courier(&memlanes.Store{}) // whose writes this one has not read
				if err := end(other, id, replay); err != nil {
					t.Fatal(err)
				}
				c.run(c.steward.Run)
				time.Sleep(time.Minute)
				release()
				time.Sleep(time.Minute)
				stop()
				if got := c.arrived(id); got != "agent.registered:agent_a" {
					t.Errorf("got %q, want it once", got)
				}
			})
		})
	}
}

// TestAReplayThatStopsAnywhereIsBroughtToItsEnd has each write fail once, before
// it is written and after.
func TestAReplayThatStopsAnywhereIsBroughtToItsEnd(t *testing.T) {
	broken := errors.New("broken")
	for name, set := range map[string]func(*memlanes.Client, func(string, string) error){
		"not written": func(c *memlanes.Client, fail func(string, string) error) { c.Before = fail },
		"written":     func(c *memlanes.Client, fail func(string, string) error) { c.After = fail },
	} {
		for nth := range int32(4) {
			t.Run(name, func(t *testing.T) {
				lie(t, func(t *testing.T, b *bed) {
					c := b.courier(&memlanes.Store{})
					id := c.hook("agent.registered")
					c.register("agent_a")
					client := &memlanes.Client{Store: c.engine.Store.(*memlanes.Client).Store}
					var asked atomic.Int32
					set(client, func(write, key string) error {
						if (write == "put" || write == "read") && len(key) > 6 && key[:6] == "replay" && asked.Add(1) == nth+1 {
							return broken
						}
						return nil
					})
					c.engine.Store = client
					// Two of them, as of two nodes.
					c.run(c.engine.Run, c.steward.Run, c.steward.Run)
					time.Sleep(time.Minute)
					r := c.over(id, c.replay(id, domain.ReplaySelection{Since: time.Now().Add(-time.Hour)}))
					time.Sleep(time.Minute)
					if got := c.arrived(id); got != "agent.registered:agent_a, agent.registered:agent_a again" || r.Delivered != 1 {
						t.Errorf("got %q, and %+v, want it again once", got, r)
					}
				})
			})
		}
	}
}

// TestManyEventsAreLookedForAtOnce counts how much of the log is read to find what
// happened at about the same time, and is not there.
func TestManyEventsAreLookedForAtOnce(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		c := b.courier(&memlanes.Store{})
		read := &countedSource{Source: c.source}
		c.steward.Source = read
		c.run(c.engine.Run, c.steward.Run)
		id := c.hook("agent.registered")
		var ids []domain.EventID
		for range 100 {
			ids = append(ids, domain.EventID(domain.EventPrefix+handlers.NewULID(time.Now())))
		}
		c.register("agent_a")
		ids[99] = c.eventID()
		r := c.over(id, c.replay(id, domain.ReplaySelection{EventIDs: ids}))
		if n := read.scans.Load(); r.Delivered != 1 || n != 1 {
			t.Errorf("got %+v by %d scans, want the one that is there by one", r, n)
		}
	})
}

// countedSource counts how often a log is read.
type countedSource struct {
	delivery.Source
	scans atomic.Int32
}

func (s *countedSource) Scan(ctx context.Context, stretch delivery.Stretch, yield func(delivery.Step) error) error {
	s.scans.Add(1)
	return s.Source.Scan(ctx, stretch, yield)
}

// heldSource is a log in which looking for one time takes until it is let go.
type heldSource struct {
	delivery.Source
	at   time.Time
	held chan struct{}
}

func (s *heldSource) SeqAt(ctx context.Context, partition uint16, t time.Time) (uint64, error) {
	if t.Equal(s.at) {
		select {
		case <-s.held:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	return s.Source.SeqAt(ctx, partition, t)
}

// TestAnEndpointThatTakesLongDelaysNoOther has the replay of one be looked for
// without end.
func TestAnEndpointThatTakesLongDelaysNoOther(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		c := b.courier(&memlanes.Store{})
		slow := &heldSource{Source: c.steward.Source, at: time.Now().Add(-time.Hour), held: make(chan struct{})}
		c.steward.Source = slow
		stop := c.run(c.engine.Run, c.steward.Run)
		first, second := c.hook("agent.registered"), c.hook("agent.registered")
		c.register("agent_a")
		time.Sleep(time.Minute)
		stuck := c.replay(first, domain.ReplaySelection{Since: slow.at})
		time.Sleep(10 * time.Second)
		if r := c.over(second, c.replay(second, domain.ReplaySelection{Since: time.Now().Add(-30 * time.Minute)})); r.Delivered != 1 {
			t.Errorf("got %+v, want it sent meanwhile", r)
		}
		close(slow.held)
		if r := c.over(first, stuck); r.Delivered != 1 {
			t.Errorf("got %+v, want it sent at last", r)
		}
		stop()
	})
}

// brokenScan is a log that can't be searched.
type brokenScan struct {
	delivery.Source
	asked atomic.Int64
}

func (s *brokenScan) SeqAt(context.Context, uint16, time.Time) (uint64, error) {
	s.asked.Add(1)
	return 0, errors.New("no log")
}

func TestWhatFailsIsLeftAloneLongerEachTime(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		c := b.courier(&memlanes.Store{})
		broken := &brokenScan{Source: c.steward.Source}
		c.steward.Source = broken
		c.run(c.engine.Run, c.steward.Run)
		id := c.hook("agent.registered")
		c.replay(id, domain.ReplaySelection{Since: time.Now().Add(-time.Hour)})
		time.Sleep(time.Hour)
		if n := broken.asked.Load(); n < 20 || n > 50 {
			t.Errorf("asked %d times in an hour, want about each two minutes", n)
		}
	})
}

// TestReplaysThatAreOverAreForgotten after a week, with what came of them known.
func TestReplaysThatAreOverAreForgotten(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		c := b.courier(&memlanes.Store{})
		c.run(c.engine.Run, c.steward.Run)
		id := c.hook("agent.registered")
		c.register("agent_a")
		time.Sleep(time.Minute)
		c.over(id, c.replay(id, domain.ReplaySelection{Since: time.Now().Add(-time.Hour)}))
		kept := func() int {
			list, err := c.engine.Replays(t.Context(), home, delivery.EndpointID(id))
			if err != nil {
				t.Fatal(err)
			}
			return len(list)
		}
		b.leap(c.node, 6*24*time.Hour)
		time.Sleep(2 * time.Hour)
		if n := kept(); n != 1 {
			t.Errorf("after six days: got %d, want it kept", n)
		}
		b.leap(c.node, 48*time.Hour)
		time.Sleep(2 * time.Hour)
		if n := kept(); n != 0 {
			t.Errorf("after eight days: got %d, want it gone", n)
		}
		if r := c.replays(id); len(r) != 1 || r[0].State != domain.ReplayIsFinished || r[0].Delivered != 1 {
			t.Errorf("got %+v, want what came of it", r)
		}
	})
}

// TestAReplayThatIsNotWantedIsOver and says why.
func TestAReplayThatIsNotWantedIsOver(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		c := b.courier(&memlanes.Store{})
		c.run(c.engine.Run, c.steward.Run)
		id := c.hook("agent.registered")
		c.register("agent_a")
		time.Sleep(time.Minute)
		c.answers(func(delivery.Endpoint, delivery.Message) delivery.Result {
			return delivery.Result{Status: 410, Category: delivery.Gone}
		})
		if r := c.over(id, c.replay(id, domain.ReplaySelection{Since: time.Now().Add(-time.Hour)})); r.Reason != "gone" || r.Delivered != 0 {
			t.Errorf("got %+v, want it over, since the endpoint is gone", r)
		}
	})
}
