package handlers_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers"
	"github.com/behalf-platform/behalf/projections"
)

var (
	decisionsV1 = projections.View{Projection: projections.ProjectionDecisions, Version: 1}
	errDown     = errors.New("the database is down")
)

// wantRows fails unless a view of decisions holds each of the log's once, in order.
func (b *bed) wantRows(v projections.View) {
	b.t.Helper()
	var want []uint64
	err := b.log.Join().Scan(context.Background(), domain.Scan{Account: home}, func(r domain.Recorded, err error) error {
		want = append(want, r.Position.Seq)
		return err
	})
	if err != nil {
		b.t.Fatalf("scan: %v", err)
	}
	if got := b.views.seqs(v); !slices.Equal(got, want) {
		b.t.Errorf("%s: got %d rows %v, want %d %v", v, len(got), got, len(want), want)
	}
}

// decide has so many decisions made.
func (n *node) decide(key domain.TokenHash, count int) {
	n.bed.t.Helper()
	for range count {
		if _, err := n.verify(key, ask()); err != nil {
			n.bed.t.Fatalf("verify: %v", err)
		}
	}
}

func TestEachRowIsThereOnceWhateverCallFails(t *testing.T) {
	for _, call := range []string{"own", "begin", "apply", "status", "settle"} {
		for _, when := range []string{"before", "after"} {
			t.Run(call+" "+when, func(t *testing.T) {
				lie(t, func(t *testing.T, b *bed) {
					n := b.node()
					key, _ := n.agent("agent_ollie")
					var count, failures atomic.Int64
					fail := func(c string) error {
						if c == call && count.Add(1)%3 != 0 {
							failures.Add(1)
							return errDown
						}
						return nil
					}
					switch {
					case call == "settle":
						n.log.FailSettle(errDown)
						failures.Add(1)
					case when == "before":
						b.views.breaks(fail, nil)
					default:
						b.views.breaks(nil, fail)
					}
					n.project()
					for range 10 {
						n.decide(key, 20)
						time.Sleep(200 * time.Millisecond)
					}
					if call == "settle" {
						if got := b.views.seqs(decisionsV1); len(got) > 0 {
							t.Errorf("got %d rows of what may still be lost, want none", len(got))
						}
						n.log.FailSettle(nil)
					}
					time.Sleep(10 * time.Minute) // two calls in three fail, and each is tried again after seconds
					if failures.Load() == 0 {
						t.Errorf("got no failure of %s, want some", call)
					}
					b.wantRows(decisionsV1)
				})
			})
		}
	}
}

func TestEachRowIsThereOnceOverRestartsAndStolenLocks(t *testing.T) {
	for _, how := range []string{"restart", "lost", "stale"} {
		t.Run(how, func(t *testing.T) {
			lie(t, func(t *testing.T, b *bed) {
				first, second := b.node(), b.node()
				key, _ := first.agent("agent_ollie")
				stop := first.project()
				second.project()
				for i := range 8 {
					first.decide(key, 30)
					time.Sleep(time.Duration(17*i) * time.Millisecond)
					switch how {
					case "restart":
						stop()
						first.decide(key, 3)
						stop = first.project()
					default: // a stale one goes on writing, since nobody has told it
						b.views.steal(how == "lost")
					}
				}
				time.Sleep(time.Minute)
				b.wantRows(decisionsV1)
			})
		})
	}
}

func TestTheLogIsReadOnceForAllProjections(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		n := b.node()
		key, _ := n.agent("agent_ollie")
		n.decide(key, 4500)
		log := &counting{ProjectorLog: n.log}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		p := &handlers.Projector{Log: log, Store: b.views, Logs: slog.New(slog.DiscardHandler)}
		done := make(chan struct{})
		go func() { defer close(done); _ = p.Run(ctx) }()
		time.Sleep(time.Minute)
		n.decide(key, 100)
		time.Sleep(time.Minute)
		b.wantRows(decisionsV1)
		status, err := n.log.Status(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		if got := log.read.Load(); got != status.Head {
			t.Errorf("got %d events read, want each of the %d once", got, status.Head)
		}
		cancel()
		<-done
	})
}

// counting counts the events that scans yield.
type counting struct {
	handlers.ProjectorLog
	read atomic.Uint64
}

func (c *counting) Scan(ctx context.Context, q domain.Scan, yield func(domain.Recorded, error) error) error {
	return c.ProjectorLog.Scan(ctx, q, func(r domain.Recorded, err error) error {
		c.read.Add(1)
		return yield(r, err)
	})
}

// TestCountsWaitForARush has usage written once for what comes in a second of a
// rush, and at once otherwise.
func TestCountsWaitForARush(t *testing.T) {
	for _, c := range []struct {
		name        string
		every       int // events in 5ms
		least, most int // batches
	}{
		{"a rush", 150, 1, 2},
		{"no rush", 20, 5, 100},
	} {
		t.Run(c.name, func(t *testing.T) {
			lie(t, func(t *testing.T, b *bed) {
				n := b.node()
				key, _ := n.agent("agent_ollie")
				n.decide(key, 4500)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				p := &handlers.Projector{Log: &paced{n.log, c.every}, Store: b.views, Logs: slog.New(slog.DiscardHandler)}
				done := make(chan struct{})
				go func() { defer close(done); _ = p.Run(ctx) }()
				time.Sleep(time.Minute)
				b.wantRows(decisionsV1)
				batches, counted := b.views.counts()
				if batches < c.least || batches > c.most || counted != 4500 {
					t.Errorf("got %d decisions counted in %d batches, want 4500 in %d to %d", counted, batches, c.least, c.most)
				}
				cancel()
				<-done
			})
		})
	}
}

// paced yields so many events, and rests for 5ms.
type paced struct {
	handlers.ProjectorLog
	every int
}

func (p *paced) Scan(ctx context.Context, q domain.Scan, yield func(domain.Recorded, error) error) error {
	n := 0
	return p.ProjectorLog.Scan(ctx, q, func(r domain.Recorded, err error) error {
		if n++; n%p.every == 0 {
			time.Sleep(5 * time.Millisecond)
		}
		return yield(r, err)
	})
}

func TestAnEventThatCantBeReadStopsProjectionsAndNothingElse(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		n := b.node()
		w := n.web(t)
		key, _ := n.agent("agent_ollie")
		n.agent("agent_broken")
		stop := n.project()
		n.decide(key, 5)
		poison := b.log.Inject(domain.Stream{Account: home, Agent: "agent_broken"}, []byte(`{"kind":"grant.teleported.v1"}`))
		n.decide(key, 5)
		time.Sleep(time.Minute)
		for _, name := range projections.Projections() {
			c := b.views.checkpoint(projections.View{Projection: name, Version: 1})
			if c.StoppedAt != poison.Seq || c.Seq != poison.Seq-1 || c.Reason == "" {
				t.Errorf("%s: got %+v, want it stopped at %d", name, c, poison.Seq)
			}
		}
		if err := n.watcher.Ready(); err == nil || !strings.Contains(err.Error(), "decisions stopped at event") {
			t.Errorf("got %v, want the queries not to be ready", err)
		}
		for _, path := range []string{"/v1/decisions", "/v1/decisions/totals", "/v1/usage", "/v1/agents/agent_ollie/history", "/v1/decisions?format=csv"} {
			if r := w.do("GET", path, b.token, ""); r.status != 503 || !strings.Contains(r.text, "deciding is not affected") {
				t.Errorf("%s: got %d %s, want 503", path, r.status, r.text)
			}
		}
		list := w.must(200, "GET", "/v1/projections", b.token, "")
		if strings.Count(list.text, `"state":"stopped"`) != 4 {
			t.Errorf("got %s, want all stopped", list.text)
		}
		// A node that starts tries again, and so does a rebuild; both get no further.
		stop()
		n.project()
		w.must(202, "POST", "/v1/projections/decisions/rebuild", b.token, `{}`)
		time.Sleep(time.Minute)
		if got := b.views.version(projections.ProjectionDecisions); got != 1 {
			t.Errorf("got version %d serving, want the one that was not stopped earlier", got)
		}
		v2 := projections.View{Projection: projections.ProjectionDecisions, Version: 2}
		if c := b.views.checkpoint(v2); c.StoppedAt != poison.Seq {
			t.Errorf("the rebuilt view: got %+v, want it stopped at %d", c, poison.Seq)
		}
		n.decide(key, 1)
	})
}

func TestRowsThatAreRefusedStopAProjectionWhereTheyAre(t *testing.T) {
	for name, named := range map[string]bool{"the database says which": true, "it does not": false} {
		t.Run(name, func(t *testing.T) {
			lie(t, func(t *testing.T, b *bed) {
				n := b.node()
				key, _ := n.agent("agent_ollie")
				n.decide(key, 500)
				status, err := n.log.Status(t.Context(), 0)
				if err != nil {
					t.Fatal(err)
				}
				refused := status.Head - 77
				b.views.named, b.views.refuses = named, map[uint64]bool{refused: true}
				n.project()
				n.decide(key, 5)
				time.Sleep(time.Minute)
				if c := b.views.checkpoint(decisionsV1); c.StoppedAt != refused || c.Seq != refused-1 {
					t.Errorf("named %t: got %+v, want it stopped at %d", named, c, refused)
				}
			})
		})
	}
}

func TestQueriesComeBackWithTheDatabase(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		n := b.node()
		w := n.web(t)
		key := w.register(b.token, "agent_ollie")
		n.project()
		b.views.breaks(func(string) error { return errDown }, nil)
		for range 60 {
			w.must(200, "POST", "/v1/verify", key, `{"action":"buy"}`)
			time.Sleep(time.Second)
		}
		r := w.do("GET", "/v1/decisions", key, "")
		if r.status != 503 || !strings.Contains(r.text, "deciding is not affected") {
			t.Errorf("got %d %s, want 503", r.status, r.text)
		}
		if err := n.watcher.Ready(); err == nil {
			t.Error("got the queries ready, want them not to be")
		}
		b.views.breaks(nil, nil)
		time.Sleep(15 * time.Second)
		b.wantRows(decisionsV1)
		if err := n.watcher.Ready(); err != nil {
			t.Errorf("got %v, want the queries ready", err)
		}
		if r := w.must(200, "GET", "/v1/decisions?limit=100", key, ""); strings.Count(r.text, `"requestId"`) != 60 {
			t.Errorf("got %s, want 60 decisions", r.text)
		}
	})
}

func TestARebuildServesWhenItHasCaughtUp(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		n := b.node()
		w := n.web(t)
		key, _ := n.agent("agent_ollie")
		n.project()
		n.decide(key, 300)
		time.Sleep(caughtUp)
		first := w.must(202, "POST", "/v1/projections/decisions/rebuild", b.token, "")
		if again := w.must(202, "POST", "/v1/projections/decisions/rebuild", b.token, "{}"); again.body["version"] != first.body["version"] {
			t.Errorf("asked twice: got %s, want the same as %s", again.text, first.text)
		}
		count := 0.0
		for range 100 {
			n.decide(key, 3)
			time.Sleep(30 * time.Millisecond)
			r := w.must(200, "GET", "/v1/decisions/totals", b.token, "")
			if got, _ := r.body["count"].(float64); got < count {
				t.Fatalf("got %v decisions after %v, want no fewer", got, count)
			} else {
				count = got
			}
		}
		time.Sleep(10 * time.Second)
		if got := b.views.version(projections.ProjectionDecisions); got != 2 {
			t.Fatalf("got version %d serving, want 2", got)
		}
		b.wantRows(projections.View{Projection: projections.ProjectionDecisions, Version: 2})
		if got := b.views.seqs(decisionsV1); got != nil {
			t.Errorf("got %d rows of the view that was replaced, want it dropped", len(got))
		}
		for path, want := range map[string]int{"/v1/projections/everything/rebuild": 404, "/v1/projections/x%2Fy/rebuild": 404} {
			if r := w.do("POST", path, b.token, "{}"); r.status != want {
				t.Errorf("%s: got %d, want %d", path, r.status, want)
			}
		}
	})
}

func TestRowsOfAnotherLogAreNotAddedToOrShown(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		n := b.node()
		w := n.web(t)
		key, _ := n.agent("agent_ollie")
		for _, name := range projections.Projections() {
			if _, err := b.views.Begin(t.Context(), projections.View{Projection: name, Version: 1}, 0, 7); err != nil {
				t.Fatal(err)
			}
		}
		n.project()
		n.decide(key, 5)
		time.Sleep(time.Minute)
		if c := b.views.checkpoint(decisionsV1); c.Seq != 0 {
			t.Errorf("got %+v, want nothing added", c)
		}
		if r := w.do("GET", "/v1/decisions", b.token, ""); r.status != 503 || !strings.Contains(r.text, "another log") {
			t.Errorf("got %d %s, want 503", r.status, r.text)
		}
		if err := n.watcher.Ready(); err == nil || !strings.Contains(err.Error(), "another log") {
			t.Errorf("got %v, want it to say that the rows are of another log", err)
		}
		w.must(202, "POST", "/v1/projections/decisions/rebuild", b.token, "{}")
		time.Sleep(10 * time.Second)
		b.wantRows(projections.View{Projection: projections.ProjectionDecisions, Version: 2})
		w.must(200, "GET", "/v1/decisions", b.token, "")
	})
}

func TestRowsAheadOfTheLogStopAProjection(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		n := b.node()
		ctx := t.Context()
		for _, name := range projections.Projections() {
			v := projections.View{Projection: name, Version: 1}
			if _, err := b.views.Begin(ctx, v, 0, 1); err != nil {
				t.Fatal(err)
			}
			if err := b.views.Apply(ctx, v, projections.Span{Epoch: 1, Through: 99}, projections.NewBatch(name)); err != nil {
				t.Fatal(err)
			}
		}
		n.project()
		time.Sleep(time.Minute)
		if c := b.views.checkpoint(decisionsV1); c.StoppedAt != 100 || !strings.Contains(c.Reason, "lost events") {
			t.Errorf("got %+v, want it stopped", c)
		}
	})
}
