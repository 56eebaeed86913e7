package main

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/behalf-platform/behalf/handlers"
	"github.com/behalf-platform/behalf/infra/natsevents"
	"github.com/behalf-platform/behalf/infra/natslog"
)

// openEvents opens the stream of public events, unless there is to be none.
func (n *node) openEvents(ctx context.Context, log *natslog.Log) (err error) {
	if n.cfg.Events == "off" {
		return nil
	}
	n.events, err = natsevents.Open(ctx, natsevents.Config{
		Conn: n.broker.bulk, Log: log, Node: handlers.NewULID(time.Now()), Alone: n.broker.server != nil, Replicas: n.cfg.Replicas,
		MaxAge: n.cfg.EventsMaxAge, MaxBytes: n.cfg.EventsMaxBytes, Binary: n.cfg.EventsFormat == "binary", Now: time.Now, Logger: n.logs,
		Work: func() func(context.Context) { return n.desk.Crowd.Work().Rest },
	})
	if err != nil {
		return err
	}
	n.desk.Events = n.events
	return nil
}

// publishEvents publishes public events until ctx ends. Nothing that decides
// waits for it.
func (n *node) publishEvents(ctx context.Context) error {
	if n.events == nil {
		<-ctx.Done()
		return nil
	}
	return n.events.Run(ctx)
}

func (n *node) registerEventGauges() {
	gauge := func(name, help string, value func() float64) {
		n.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value))
	}
	gauge("behalf_events_lag_seconds", "Age of the oldest record that this node has to publish and hasn't.", func() float64 {
		if n.events == nil {
			return 0
		}
		return n.events.Lag().Seconds()
	})
	gauge("behalf_events_publishing", "1 on the node that publishes the public events.", func() float64 {
		if n.events == nil || !n.events.Publishes() {
			return 0
		}
		return 1
	})
}
