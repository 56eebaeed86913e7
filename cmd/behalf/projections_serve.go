package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/behalf-platform/behalf/handlers"
	"github.com/behalf-platform/behalf/infra/sqlviews"
	"github.com/behalf-platform/behalf/projections"
)

// keepViews keeps the read models until ctx ends. A database that can't be
// opened is tried again for ever: what needs it is answered with 503, and
// nothing that decides waits for it.
func (n *node) keepViews(ctx context.Context) error {
	if n.cfg.Database == databaseOff {
		n.watcher.Fail("they are turned off on this node (--database off)")
		<-ctx.Done()
		return nil
	}
	for pause, failed := 250*time.Millisecond, false; ; pause = min(2*pause, 10*time.Second) {
		store, err := n.openViews(ctx)
		if err == nil {
			if failed {
				n.logs.InfoContext(ctx, "the database is open", slog.String("kind", store.Kind()))
			}
			return n.project(ctx, store)
		}
		if ctx.Err() != nil {
			return nil
		}
		if !failed {
			n.logs.ErrorContext(ctx, "can't open the database; queries are not answered, deciding goes on; it is tried again", slog.Any("error", err))
		}
		failed = true
		n.watcher.Fail("the database can't be opened")
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}

func (n *node) openViews(ctx context.Context) (*sqlviews.Store, error) {
	if n.cfg.NATS != "" { // else the log's server has made the directory
		if err := os.MkdirAll(n.cfg.Data, 0o700); err != nil {
			return nil, err
		}
	}
	return sqlviews.Open(ctx, sqlviews.Config{URL: n.cfg.Database, Logger: n.logs, Now: time.Now})
}

// project fills the read models and answers queries from them until ctx ends.
func (n *node) project(ctx context.Context, store *sqlviews.Store) error {
	n.desk.Queries.Use(store)
	projector := &handlers.Projector{
		Log: n.log, Store: store, Logs: n.logs, Crowd: n.desk.Crowd,
		Pruning: &handlers.Pruning{Retentions: &n.passports, Ready: n.gate.MayDecide, Now: time.Now},
	}
	var parts sync.WaitGroup
	var errs [2]error
	parts.Go(func() { errs[0] = projector.Run(ctx) })
	parts.Go(func() { errs[1] = n.watcher.Run(ctx, store) })
	parts.Wait()
	return errors.Join(errs[0], errs[1], store.Close())
}

// queriesReady answers whether queries may be sent here. It says nothing of deciding.
func (n *node) queriesReady(w http.ResponseWriter, _ *http.Request) {
	if err := n.watcher.Ready(); err != nil {
		plain(w, http.StatusServiceUnavailable, "queries: not ready: "+err.Error()+"\n")
		return
	}
	plain(w, http.StatusOK, "queries: ready\n")
}

// registerViewGauges adds how far the read models are, to be read when asked for.
func (n *node) registerViewGauges() {
	for _, name := range projections.Projections() {
		labels := prometheus.Labels{"projection": string(name)}
		gauge := func(metric, help string, value func() float64) {
			n.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: metric, Help: help, ConstLabels: labels}, value))
		}
		gauge("behalf_projection_lag_seconds", "How old what queries of the projection are answered from is.", func() float64 {
			lag, _ := n.watcher.Lag(name)
			return lag.Seconds()
		})
		gauge("behalf_projection_lag_events", "How many events of the log are not in the projection yet.", func() float64 {
			_, events := n.watcher.Lag(name)
			return float64(events)
		})
		gauge("behalf_projection_stopped", "1 when the projection can't go on by itself.", func() float64 {
			if n.watcher.Stopped(name) {
				return 1
			}
			return 0
		})
	}
}
