package sqlviews_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/infra/sqlviews"
	"github.com/behalf-platform/behalf/infra/sqlviews/pgtest"
	"github.com/behalf-platform/behalf/projections"
)

// cluster is the server that the tests share, nil where none is installed. Each
// test has a database of its own.
var cluster *pgtest.Cluster

func TestMain(m *testing.M) { os.Exit(run(m)) }

// ownerURL is the variable that makes a process of its own of TestOwnerProcess.
const ownerURL = "BEHALF_TEST_OWNER"

func run(m *testing.M) (code int) {
	if os.Getenv(ownerURL) != "" || os.Getenv(projectorLog) != "" {
		return m.Run()
	}
	var err error
	cluster, err = pgtest.Start(context.Background(), "max_locks_per_transaction=256")
	if err != nil && !errors.Is(err, pgtest.ErrNotInstalled) {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code = m.Run()
	if cluster != nil {
		if err := cluster.Close(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return code
}

// onBoth runs a test on each kind of store.
func onBoth(t *testing.T, test func(t *testing.T, open func(t testing.TB) *sqlviews.Store)) {
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		url := mustURL(t, "sqlite")
		test(t, func(t testing.TB) *sqlviews.Store { return mustOpen(t, url) })
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		url := mustURL(t, "postgres")
		test(t, func(t testing.TB) *sqlviews.Store { return mustOpen(t, url) })
	})
}

// mustURL is the URL of an empty database.
func mustURL(t testing.TB, kind string) string {
	t.Helper()
	if kind == "sqlite" {
		return "sqlite:" + filepath.Join(t.TempDir(), "read models.db")
	}
	if cluster == nil {
		t.Skip(pgtest.ErrNotInstalled)
	}
	url, err := cluster.Database(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return url
}

func mustOpen(t testing.TB, url string) *sqlviews.Store {
	t.Helper()
	s, err := sqlviews.Open(t.Context(), sqlviews.Config{URL: url, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func view(p projections.Projection, version int) projections.View {
	return projections.View{Projection: p, Version: version}
}

const epoch = 7

func mustBegin(t testing.TB, s *sqlviews.Store, v projections.View) projections.Checkpoint {
	t.Helper()
	c, err := s.Begin(t.Context(), v, 0, epoch)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func mustBatch(t testing.TB, p projections.Projection, events []domain.Recorded) *projections.Batch {
	t.Helper()
	b := projections.NewBatch(p)
	for _, r := range events {
		if err := b.Add(r); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// span is the events after from up to through.
func span(from, through uint64) projections.Span {
	return projections.Span{Epoch: epoch, From: from, Through: through}
}

// mustProject brings a view up to the end of the history, in steps.
func mustProject(t testing.TB, s *sqlviews.Store, v projections.View, h *history, step int) {
	t.Helper()
	at := mustBegin(t, s, v).Seq
	for at < h.seq {
		through := min(h.seq, at+uint64(step))
		b := mustBatch(t, v.Projection, h.events[at:through])
		if err := s.Apply(t.Context(), v, span(at, through), b); err != nil {
			t.Fatal(err)
		}
		at = through
	}
}

func mustProjectAll(t testing.TB, s *sqlviews.Store, h *history, step int) {
	t.Helper()
	for _, p := range projections.Projections() {
		mustProject(t, s, view(p, 1), h, step)
	}
}

func mustDump(t testing.TB, s *sqlviews.Store, v projections.View) string {
	t.Helper()
	var b bytes.Buffer
	if err := s.Dump(t.Context(), v, &b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func mustServe(t testing.TB, s *sqlviews.Store, p projections.Projection) projections.View {
	t.Helper()
	v, err := s.Serving(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// mustStartCluster is a server that a test has to itself, to stop it.
func mustStartCluster(t *testing.T) *pgtest.Cluster {
	t.Helper()
	c, err := pgtest.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}
