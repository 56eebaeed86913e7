package sqlviews_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/behalf-platform/behalf/infra/sqlviews"
	"github.com/behalf-platform/behalf/projections"
)

func TestARebuildIsSeenWhenItIsDone(t *testing.T) {
	onBoth(t, func(t *testing.T, open func(testing.TB) *sqlviews.Store) {
		s, h := open(t), newHistory(11).grow(800)
		for _, p := range projections.Projections() {
			mustRebuild(t, s, p, h)
		}
		list, err := s.Status(t.Context())
		if err != nil || len(list) != len(projections.Projections()) {
			t.Fatalf("got %+v and error %v, want one view of each projection", list, err)
		}
		for _, c := range list {
			if c.Version != 2 || !c.Serving || c.Seq != h.seq || c.MovedAt.IsZero() {
				t.Errorf("got %+v, want version 2 serving at %d", c, h.seq)
			}
		}
	})
}

func mustRebuild(t *testing.T, s *sqlviews.Store, p projections.Projection, h *history) {
	t.Helper()
	mustProject(t, s, view(p, 1), h, 300)
	want := mustDump(t, s, view(p, 1))
	next, err := s.StartRebuild(t.Context(), p)
	if err != nil || next != view(p, 2) {
		t.Fatalf("got %v and error %v, want version 2", next, err)
	}
	if again, err := s.StartRebuild(t.Context(), p); err != nil || again != next {
		t.Errorf("start again: got %v and error %v, want the same", again, err)
	}
	if err := s.Switch(t.Context(), next); !errors.Is(err, projections.ErrBehind) {
		t.Errorf("switch to nothing: got error %v, want %v", err, projections.ErrBehind)
	}
	mustBegin(t, s, next)
	if err := s.Apply(t.Context(), next, span(0, 400), mustBatch(t, p, h.events[:400])); err != nil {
		t.Fatal(err)
	}
	if err := s.Switch(t.Context(), next); !errors.Is(err, projections.ErrBehind) {
		t.Errorf("switch to a part: got error %v, want %v", err, projections.ErrBehind)
	}
	if got := mustServe(t, s, p); got != view(p, 1) {
		t.Errorf("got %v serving, want version 1", got)
	}
	mustProject(t, s, next, h, 300)
	if err := s.Drop(t.Context(), view(p, 1)); !errors.Is(err, projections.ErrServing) {
		t.Errorf("drop what serves: got error %v, want %v", err, projections.ErrServing)
	}
	if err := s.Switch(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	if err := s.Switch(t.Context(), next); err != nil {
		t.Errorf("switch again: got error %v, want none", err)
	}
	if got := mustServe(t, s, p); got != next {
		t.Errorf("got %v serving, want version 2", got)
	}
	if got := mustDump(t, s, next); got != want {
		t.Errorf("%s: got other rows\n%s", p, firstDifference(got, want))
	}
	for range 2 {
		if err := s.Drop(t.Context(), view(p, 1)); err != nil {
			t.Errorf("drop: got error %v, want none", err)
		}
	}
	if err := s.Switch(t.Context(), view(p, 1)); !errors.Is(err, projections.ErrNoView) {
		t.Errorf("switch to what was dropped: got error %v, want %v", err, projections.ErrNoView)
	}
}

// Readers ask all the time while views are made, switched and dropped. Each
// answer has to be whole: it holds all there was when it was asked for.
func TestReadersSeeOneWholeView(t *testing.T) {
	onBoth(t, func(t *testing.T, open func(testing.TB) *sqlviews.Store) {
		s, h := open(t), newHistory(12).grow(400)
		p := projections.ProjectionDecisions
		mustProject(t, s, view(p, 1), h, 1000)
		want := mustCount(t, s)
		ctx, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				for ctx.Err() == nil {
					n, err := count(t.Context(), s)
					if err != nil || n != want {
						t.Errorf("got %d decisions and error %v, want %d", n, err, want)
						return
					}
				}
			})
		}
		for version := 2; version < 8; version++ {
			v, err := s.StartRebuild(t.Context(), p)
			if err != nil {
				t.Fatal(err)
			}
			mustProject(t, s, v, h, 50)
			if err := s.Switch(t.Context(), v); err != nil {
				t.Fatal(err)
			}
			if err := s.Drop(t.Context(), view(p, version-1)); err != nil {
				t.Fatal(err)
			}
		}
		stop()
		wg.Wait()
	})
}

func count(ctx context.Context, s *sqlviews.Store) (n int, err error) {
	err = s.EachDecision(ctx, projections.DecisionFilter{Account: ours}, func(projections.DecisionRow) error { n++; return nil })
	return n, err
}

func mustCount(t *testing.T, s *sqlviews.Store) int {
	t.Helper()
	n, err := count(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestOneProjectsAtATime(t *testing.T) {
	onBoth(t, func(t *testing.T, open func(testing.TB) *sqlviews.Store) {
		a, b := open(t), open(t)
		p := projections.ProjectionUsage
		release, lost, err := a.Own(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 1200*time.Millisecond)
		defer cancel()
		if _, _, err := b.Own(ctx, p); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got error %v, want %v while another owns it", err, context.DeadlineExceeded)
		}
		other, _, err := b.Own(t.Context(), projections.ProjectionApprovals)
		if err != nil {
			t.Fatal(err)
		}
		other()
		select {
		case <-lost:
			t.Error("the lock was lost, want it held")
		default:
		}
		release()
		release()
		again, _, err := b.Own(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		again()
	})
}

func TestALockEndsWithItsSession(t *testing.T) {
	t.Parallel()
	url := mustURL(t, "postgres")
	a, b := mustOpen(t, url), mustOpen(t, url)
	p := projections.ProjectionDecisions
	release, lost, err := a.Own(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	owned := make(chan error, 1)
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		release, _, err := b.Own(t.Context(), p)
		if err == nil {
			release()
		}
		owned <- err
	})
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	tag, err := conn.Exec(t.Context(), `
		SELECT pg_terminate_backend(l.pid) FROM pg_locks l JOIN pg_database d ON d.oid = l.database
		WHERE l.locktype = 'advisory' AND l.granted AND d.datname = current_database()`)
	if err != nil || tag.RowsAffected() != 1 {
		t.Fatalf("got %v and error %v, want one session ended", tag, err)
	}
	for name, done := range map[string]func() error{
		"the owner hears of it": func() error { <-lost; return nil },
		"another takes over":    func() error { return <-owned },
	} {
		begun := time.Now()
		if err := done(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if took := time.Since(begun); took > 5*time.Second {
			t.Errorf("%s: it took %s, want seconds", name, took)
		}
	}
}

func TestTheStoreComesBackWithItsServer(t *testing.T) {
	t.Parallel()
	if cluster == nil {
		t.Skip("no PostgreSQL")
	}
	server := mustStartCluster(t)
	url, err := server.Database(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s, h := mustOpen(t, url), newHistory(13).grow(200)
	v := view(projections.ProjectionDecisions, 1)
	mustProject(t, s, v, h, 50)
	release, lost, err := s.Own(t.Context(), v.Projection)
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	<-lost
	release()
	for name, query := range queries(s) {
		if err := query(t.Context()); err == nil || errors.Is(err, projections.ErrNoView) {
			t.Errorf("%s: got error %v, want that the database is down", name, err)
		}
	}
	late := mustOpen(t, url) // opened while it is down
	owned := make(chan error, 1)
	var wg sync.WaitGroup
	wg.Go(func() {
		release, _, err := late.Own(t.Context(), v.Projection)
		if err == nil {
			release()
		}
		owned <- err
	})
	if err := server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	if err := <-owned; err != nil {
		t.Errorf("own: got error %v, want the lock once the server is back", err)
	}
	h.grow(200)
	mustProject(t, s, v, h, 50)
	clean := mustOpen(t, mustURL(t, "sqlite"))
	mustProject(t, clean, v, h, 1000)
	if got, want := mustDump(t, late, v), mustDump(t, clean, v); got != want {
		t.Errorf("got other rows\n%s", firstDifference(got, want))
	}
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"", "mysql://x", "sqlite:", "sqlite::memory:", "postgres://%zz", "sqlite:/no/such/folder/x.db"} {
		s, err := sqlviews.Open(t.Context(), sqlviews.Config{URL: url, Now: time.Now})
		if err == nil {
			t.Errorf("%q: got a store, want an error", url)
			err = s.Close()
		}
		_ = fmt.Sprint(err)
	}
}
