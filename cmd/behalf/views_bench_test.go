package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers"
	"github.com/behalf-platform/behalf/infra/embedded"
	"github.com/behalf-platform/behalf/infra/natslog"
	"github.com/behalf-platform/behalf/infra/sqlviews"
	"github.com/behalf-platform/behalf/infra/sqlviews/pgtest"
	"github.com/behalf-platform/behalf/projections"
)

// BenchmarkViews projects a log of BEHALF_BENCH_DECISIONS decisions, 200,000 if it
// isn't set, into all read models, from the log's server to the last row, and asks
// for pages and an export of what is there. BEHALF_BENCH_LOG keeps the log, and
// BEHALF_BENCH_STORE does just one of postgres and sqlite.
func BenchmarkViews(b *testing.B) {
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // as a server does
	decisions := 200_000
	if text := os.Getenv("BEHALF_BENCH_DECISIONS"); text != "" {
		var err error
		if decisions, err = strconv.Atoi(text); err != nil {
			b.Fatal(err)
		}
	}
	dir := os.Getenv("BEHALF_BENCH_LOG")
	if dir == "" {
		dir = b.TempDir()
	}
	if _, err := os.Stat(filepath.Join(dir, "nats")); err != nil {
		began := time.Now()
		generate(b, dir, 1000, decisions)
		b.Logf("generated %d decisions in %s", decisions, time.Since(began))
	}
	log := mustOpenBenchLog(b, dir)
	for _, kind := range []string{"postgres", "sqlite"} {
		if only := os.Getenv("BEHALF_BENCH_STORE"); only != "" && only != kind {
			continue
		}
		b.Run(kind, func(b *testing.B) {
			url := "sqlite:" + filepath.Join(b.TempDir(), "views.db")
			if kind == "postgres" {
				url = mustDatabase(b)
			}
			store, err := sqlviews.Open(b.Context(), sqlviews.Config{URL: url, Now: time.Now})
			if err != nil {
				b.Fatal(err)
			}
			defer func() {
				if err := store.Close(); err != nil {
					b.Error(err)
				}
			}()
			b.ResetTimer()
			head := mustProject(b, log, store)
			b.StopTimer()
			rate := float64(decisions) / b.Elapsed().Seconds()
			b.ReportMetric(rate, "decisions/s")
			b.ReportMetric(0, "ns/op")
			b.Logf("%s: %d events, %.0f decisions a second", kind, head, rate)
			if kind == "postgres" {
				bare := mustCopy(b, url, head)
				b.Logf("a bare COPY of the same rows: %.0f a second; ratio %.2f", bare, rate/bare)
			}
			timeAgentPages(b, store, decisions)
			timeExport(b, store, decisions)
		})
	}
}

func mustOpenBenchLog(b *testing.B, dir string) *natslog.Log {
	b.Helper()
	server, err := embedded.Start(embedded.Config{Dir: filepath.Join(dir, "nats"), Durability: embedded.OS, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := server.Shutdown(); err != nil {
			b.Error(err)
		}
	})
	conn, err := server.Connect()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(conn.Close)
	bulk, err := server.Bulk()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(bulk.Close)
	log, err := natslog.Open(b.Context(), natslog.Config{Conn: conn, Bulk: bulk, ReadOnly: true})
	if err != nil {
		b.Fatal(err)
	}
	return log
}

func mustDatabase(b *testing.B) string {
	b.Helper()
	pg, err := pgtest.Start(b.Context())
	if errors.Is(err, pgtest.ErrNotInstalled) {
		b.Skip(err)
	}
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := pg.Close(); err != nil {
			b.Error(err)
		}
	})
	url, err := pg.Database(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	return url
}

// mustProject fills every view up to the log's end, which it returns.
func mustProject(b *testing.B, log *natslog.Log, store *sqlviews.Store) uint64 {
	b.Helper()
	status, err := log.Status(b.Context(), 0)
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	projector := &handlers.Projector{Log: log, Store: store, Logs: slog.New(slog.NewTextHandler(os.Stderr, nil))}
	done := make(chan error)
	go func() { done <- projector.Run(ctx) }()
	for filled := 0; filled < len(projections.Projections()); time.Sleep(20 * time.Millisecond) {
		checkpoints, err := store.Status(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		filled = 0
		for _, c := range checkpoints {
			if c.StoppedAt != 0 {
				b.Fatalf("%s stopped at %d: %s", c.View, c.StoppedAt, c.Reason)
			}
			if c.Seq == status.Head {
				filled++
			}
		}
	}
	cancel()
	if err := <-done; err != nil {
		b.Fatal(err)
	}
	return status.Head
}

// mustCopy is how many rows a second a COPY of the view's rows into a table without
// an index takes: the server's own binary form, which costs us nothing to encode.
// It goes by stretches of the log, so that memory holds what is to be copied.
func mustCopy(b *testing.B, url string, head uint64) float64 {
	b.Helper()
	conn, err := pgx.Connect(b.Context(), url)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }() // it only measured
	if _, err := conn.Exec(b.Context(), "CREATE TABLE bare AS SELECT * FROM decisions_v1 WITH NO DATA"); err != nil {
		b.Fatal(err)
	}
	const stretch = 250_000
	var (
		rows   bytes.Buffer
		copied int64
		took   time.Duration
	)
	for from := uint64(0); from < head; from += stretch {
		rows.Reset()
		sql := fmt.Sprintf("COPY (SELECT * FROM decisions_v1 WHERE account = 'acct_home' AND seq > %d AND seq <= %d ORDER BY seq) TO STDOUT BINARY", from, from+stretch)
		if _, err := conn.PgConn().CopyTo(b.Context(), &rows, sql); err != nil {
			b.Fatal(err)
		}
		began := time.Now()
		tag, err := conn.PgConn().CopyFrom(b.Context(), &rows, "COPY bare FROM STDIN BINARY")
		if err != nil {
			b.Fatal(err)
		}
		took += time.Since(began)
		copied += tag.RowsAffected()
	}
	if _, err := conn.Exec(b.Context(), "DROP TABLE bare"); err != nil {
		b.Fatal(err)
	}
	b.Logf("a bare COPY of the same %d rows took %s", copied, took.Round(time.Millisecond))
	return float64(copied) / took.Seconds()
}

func timeAgentPages(b *testing.B, store *sqlviews.Store, decisions int) {
	b.Helper()
	took := map[string][]time.Duration{}
	for range 500 {
		agent := projections.DecisionFilter{Account: "acct_home", Agent: domain.AgentID("agent_" + strconv.Itoa(rand.IntN(1000)))}
		denied := agent
		denied.Outcome = domain.OutcomeDenied
		day := agent
		day.Since = time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(rand.IntN(decisions)) * 250 * time.Millisecond)
		day.Until = day.Since.Add(24 * time.Hour)
		for name, f := range map[string]projections.DecisionFilter{"agent": agent, "agent and outcome": denied, "agent and a day": day} {
			for _, after := range []projections.Cursor{{}, {Seq: rand.Uint64N(uint64(decisions)) + 1}} {
				began := time.Now()
				if _, _, err := store.Decisions(b.Context(), f, 50, after); err != nil {
					b.Fatal(err)
				}
				took[name] = append(took[name], time.Since(began))
			}
		}
	}
	for name, list := range took {
		slices.Sort(list)
		b.Logf("page by %s: median %s, p99 %s", name, list[len(list)/2], list[len(list)*99/100])
	}
}

// timeExport reads all there is, and looks how much memory that takes.
func timeExport(b *testing.B, store *sqlviews.Store, decisions int) {
	b.Helper()
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapInuse
	}
	runtime.GC()
	first, most, rows := heap(), uint64(0), 0
	began := time.Now()
	err := store.EachDecision(b.Context(), projections.DecisionFilter{Account: "acct_home"}, func(projections.DecisionRow) error {
		if rows++; rows%10_000 == 0 {
			most = max(most, heap())
		}
		return nil
	})
	if err != nil || rows != decisions {
		b.Fatalf("got %d rows and error %v, want %d", rows, err, decisions)
	}
	b.Logf("export: %.0f rows a second, heap %d MB before and %d MB at most", float64(rows)/time.Since(began).Seconds(), first>>20, most>>20)
}
