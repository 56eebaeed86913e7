package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers"
	"github.com/behalf-platform/behalf/handlers/httpapi"
	"github.com/behalf-platform/behalf/handlers/natsapi"
	"github.com/behalf-platform/behalf/infra/natsalarm"
	"github.com/behalf-platform/behalf/infra/natsevents"
	"github.com/behalf-platform/behalf/infra/natslog"
	"github.com/behalf-platform/behalf/infra/natsshadow"
	"github.com/behalf-platform/behalf/infra/natsvisits"
	"github.com/behalf-platform/behalf/projections"
)

func newServeCommand(getenv func(string) string) *cobra.Command {
	var cfg serveConfig
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the server: NATS and its log inside, or beside an external NATS",
		Long: `Run the server. Without --nats, NATS JetStream runs inside and keeps the log
in --data. Each flag can be given as an environment variable too: --listen as
BEHALF_LISTEN, --nats-listen as BEHALF_NATS_LISTEN, and so on.

The first start makes an account and its owner, and prints the owner's token
once; BEHALF_OWNER_TOKEN presets it.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := fromEnv(cmd.Flags(), getenv); err != nil {
				return err
			}
			cfg.settle()
			if err := cfg.validate(); err != nil {
				return usagef("these settings can't be used:\n%v", err)
			}
			return serve(cmd.Context(), cfg, getenv("BEHALF_OWNER_TOKEN"), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cfg.flags(cmd.Flags())
	return cmd
}

// fromEnv sets each flag that was not given from its environment variable.
func fromEnv(flags *pflag.FlagSet, getenv func(string) string) error {
	var faults []error
	flags.VisitAll(func(f *pflag.Flag) {
		name := "BEHALF_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		value := getenv(name)
		if f.Changed || value == "" || f.Name == "help" {
			return
		}
		if err := f.Value.Set(value); err != nil {
			faults = append(faults, fmt.Errorf("the environment variable %s is %q: %w", name, value, err))
		}
	})
	return errors.Join(faults...)
}

// node is one running server.
type node struct {
	cfg  serveConfig
	logs *slog.Logger
	// broker is the NATS connections and, when it runs inside, the server.
	broker *broker
	log    *natslog.Log
	anchor *anchor // of an embedded log, else nil

	passports projections.Passports
	gate      *handlers.Gate
	desk      *handlers.Desk
	minder    *handlers.Minder
	watcher   *handlers.Watcher // of what queries are answered from
	alarms    *natsalarm.Alarms
	rechecks  *rechecks
	events    *natsevents.Events // nil when they are turned off
	courier   *courier           // nil when webhooks are turned off
	registry  *prometheus.Registry
	// opened says that there is an account, and an owner to come with a token.
	opened atomic.Bool
}

// serve runs a node until ctx ends.
//
//	+-1--------+      +-2----------+      +-3-----------+      +-4---------+
//	| HTTP,    | ---> | desk:      | ---> | event log   | ---> | NATS      |
//	| NATS     |      | who, what  |      | (the fence) |      | JetStream |
//	+----------+      +------------+      +-------------+      +-----------+
//	       |                |                    | follow
//	       | queries        v                    v
//	       |          +-5----------+      +-6-----------+
//	       |          | gate:      | <--- | passports   |
//	       |          | decide now?|      | (in memory) |
//	       |          +------------+      +-------------+
//	       v                                     | scan
//	+-8--------+      +-7----------+             |
//	| database | <--- | projector: | <-----------+
//	| (rows)   |      | read models|
//	+----------+      +------------+             | scan
//	                  +-9----------+             |
//	   NATS  <------- | publisher: | <-----------+
//	 (public events)  | CloudEvents|
//	                  +------------+
func serve(ctx context.Context, cfg serveConfig, ownerToken string, out, errs io.Writer) (err error) {
	logs, err := newLogger(cfg, errs)
	if err != nil {
		return err
	}
	if ownerToken != "" && !domain.ValidMemberToken(ownerToken) {
		return fmt.Errorf("BEHALF_OWNER_TOKEN is not a token: it must be %s and 32 to 128 characters A-Z a-z 0-9 _ -", domain.MemberTokenPrefix)
	}
	shutdownTraces, err := startTraces(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, shutdownTraces()) }()

	if os.Getenv("GOGC") == "" {
		// What a server holds is small and what it allocates lives for a request,
		// so that collecting less often costs little memory and saves a lot of work.
		debug.SetGCPercent(400)
	}

	n := &node{cfg: cfg, logs: logs, rechecks: newRechecks()}
	n.wire() // first, so that the broker can ask it whose a credential is
	if n.broker, err = connect(cfg, n.authenticate, logs); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.broker.close()) }()
	if err := n.open(ctx); err != nil {
		return err
	}
	return n.run(ctx, ownerToken, out)
}

// wire builds the parts, in order, all but the log, which they get when it is open.
func (n *node) wire() {
	n.registry = prometheus.NewRegistry()
	n.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	n.gate = &handlers.Gate{
		Now: time.Now, Every: 250 * time.Millisecond, MostLag: n.cfg.MaxLag, MostSkew: n.cfg.MaxSkew, Logs: n.logs,
	}
	lanes := handlers.NewLanes()
	n.desk = &handlers.Desk{
		Identifier: &handlers.Identifier{Passports: &n.passports},
		Verifier: &handlers.Verifier{
			Passports: &n.passports, Lanes: lanes, Now: time.Now, Ready: n.gate.MayDecide, CatchUp: n.gate.CatchUp,
			Timeout: n.cfg.VerifyTimeout, Metrics: handlers.NewMetrics(n.registry), Crowd: handlers.NewCrowd(time.Now),
		},
		Writer: &handlers.Writer{
			Passports: &n.passports, Lanes: lanes, Now: time.Now, CatchUp: n.gate.CatchUp, Timeout: 10 * time.Second,
		},
		History:   &handlers.History{KeptSince: handlers.KeptSince(&n.passports, time.Now)},
		Approvals: &handlers.Approvals{Passports: &n.passports, Now: time.Now, Current: n.gate.Current},
		Faults:    handlers.Faults{Logs: n.logs, Now: time.Now},
		Limits: handlers.Limits{
			Agents:    handlers.NewLimiter(n.cfg.RateAgent, time.Now),
			Reads:     handlers.NewLimiter(n.cfg.RateAgent, time.Now),
			Members:   handlers.NewLimiter(n.cfg.RateMember, time.Now),
			Addresses: handlers.NewLimiter(n.cfg.RateAddress, time.Now),
			Failures:  handlers.NewLimiter(n.cfg.RateFailures, time.Now),
		},
	}
	n.wireWebhooks()
	n.desk.Links = &handlers.Links{Writer: n.desk.Writer, PublicURL: strings.TrimRight(n.cfg.PublicURL, "/"), Logs: n.logs}
	n.minder = &handlers.Minder{
		Passports: &n.passports, Writer: n.desk.Writer, Ready: n.gate.MayDecide, Now: time.Now, Logs: n.logs,
	}
	n.watcher = &handlers.Watcher{Now: time.Now, MostLag: n.cfg.MaxQueryLag, Logs: n.logs}
	n.desk.Queries = &handlers.Queries{Watcher: n.watcher}
	n.desk.Shadows = &handlers.Shadows{Writer: n.desk.Writer, Now: time.Now, Logs: n.logs}
	n.registerGauges()
	n.registerViewGauges()
	n.registerEventGauges()
}

// openTime is how long a log may take to become one that can be used.
const openTime = 30 * time.Second

// open opens the log and hands it to the parts.
func (n *node) open(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, openTime)
	defer cancel()
	log, err := natslog.Open(ctx, natslog.Config{
		Conn: n.broker.conn, Bulk: n.broker.bulk, Partitions: n.cfg.Partitions, Replicas: n.cfg.Replicas,
		DedupeWindow: n.cfg.DedupeWindow, Barrier: n.broker.barrier, FirstAccount: firstAccount(n.cfg.Partitions),
		Now: time.Now, Logger: n.logs,
	})
	if err != nil {
		return err
	}
	if n.broker.server != nil {
		n.anchor = newAnchor(n.cfg.Data, log, n.logs)
		if err := n.anchor.check(ctx); err != nil {
			return err
		}
	}
	if n.alarms, err = natsalarm.Open(ctx, natsalarm.Config{Conn: n.broker.conn, Replicas: n.cfg.Replicas, Logger: n.logs, Now: time.Now}); err != nil {
		return err
	}
	if err := n.openEvents(ctx, log); err != nil {
		return err
	}
	if err := n.openWebhooks(ctx, log); err != nil {
		return err
	}
	if err := n.openReceipts(); err != nil {
		return err
	}
	shadows, err := natsshadow.Open(ctx, natsshadow.Config{Conn: n.broker.conn, Replicas: n.cfg.Replicas, Age: n.cfg.ShadowAge, Logger: n.logs})
	if err != nil {
		return err
	}
	if n.desk.Links.Visits, err = natsvisits.Open(ctx, natsvisits.Config{Conn: n.broker.conn, Replicas: n.cfg.Replicas}); err != nil {
		return err
	}
	n.log = log
	n.desk.Shadows.Log, n.desk.Shadows.Decisions = shadows, log
	n.minder.Alarms = n.alarms
	n.minder.Wake = natsapi.Waker(ctx, n.broker.conn, n.logs)
	n.desk.Approvals.Partitions = log.Partitions
	n.gate.Log, n.gate.Healthy = log, n.broker.healthy
	n.watcher.Log, n.desk.Queries.Log = log, log
	n.desk.Identifier.Log, n.desk.Verifier.Log, n.desk.Writer.Log, n.desk.History.Log = log, log, log, log
	return nil
}

// run runs the parts together until ctx ends or one fails, then stops them in
// the order in which callers stop depending on them.
func (n *node) run(ctx context.Context, ownerToken string, out io.Writer) error {
	if host, _, _ := net.SplitHostPort(n.cfg.Listen); !loopback(host) {
		n.logs.WarnContext(ctx, "HTTP is served in clear beyond this machine; put a proxy with TLS before it", slog.String("listen", n.cfg.Listen))
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", n.cfg.Listen)
	if err != nil {
		return fmt.Errorf("listen on %s: %w; stop what uses it, or choose another with --listen", n.cfg.Listen, err)
	}
	// What reads the log outlives what answers callers, so that an answer in
	// flight can still be finished.
	readers, stopReaders := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stopReaders(nil)
	callers, stopCallers := context.WithCancelCause(ctx)
	defer stopCallers(nil)

	var reading, serving sync.WaitGroup
	var drained [2]error // how the two that answer callers ended
	for p := range n.log.Partitions() {
		reading.Go(func() {
			err := n.log.Follow(readers, uint16(p), 0, n.fold)
			stopCallers(unlessDone(readers, err, "follow the log"))
		})
	}
	for doing, part := range map[string]func(context.Context) error{
		"watch the log":     n.gate.Run,
		"keep read models":  n.keepViews,
		"set alarms":        n.minder.Run,
		"run shadows":       n.desk.Shadows.Run,
		"count visits":      n.desk.Links.Run,
		"publish events":    n.publishEvents,
		"send webhooks":     n.sendWebhooks,
		"share limits":      func(ctx context.Context) error { return n.desk.Share(ctx, n.gate.MayDecide, n.logs) },
		"end connections":   n.endConnections,
		"listen for alarms": func(ctx context.Context) error { return n.alarms.Run(ctx, n.minder.Ring) },
	} {
		reading.Go(func() { stopCallers(unlessDone(readers, part(readers), doing)) })
	}
	if n.anchor != nil {
		reading.Go(func() { stopCallers(unlessDone(readers, n.anchor.run(readers), "anchor the log")) })
	}
	for i, serve := range []func(context.Context) error{
		func(ctx context.Context) error { return n.serveHTTP(ctx, listener) }, n.serveNATS,
	} {
		serving.Go(func() {
			drained[i] = serve(callers)
			stopCallers(drained[i])
		})
	}
	serving.Go(func() {
		if err := n.welcome(callers, listener.Addr(), ownerToken, out); err != nil && callers.Err() == nil {
			stopCallers(err)
		}
	})

	<-callers.Done()
	n.logs.InfoContext(ctx, "stopping")
	n.gate.Drain()
	serving.Wait()
	n.gate.Stop()
	stopReaders(nil)
	reading.Wait()
	if err := context.Cause(callers); !errors.Is(err, context.Canceled) {
		return err
	}
	return errors.Join(drained[:]...)
}

// fold takes in one event of the log.
func (n *node) fold(r domain.Recorded, err error) error {
	if fault := cmp.Or(n.passports.Apply(r, err), n.minder.Apply(r, err)); fault != nil {
		return fault
	}
	if err == nil {
		n.rechecks.note(&r)
	}
	return nil
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// unlessDone is the error of a part that ended before it was told to.
func unlessDone(ctx context.Context, err error, doing string) error {
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("%s: %w", doing, cmp.Or(err, errEnded))
}

var errEnded = errors.New("it ended by itself")

// drainTime is how long answers in flight may take when the node stops.
const drainTime = 10 * time.Second

func (n *node) serveHTTP(ctx context.Context, listener net.Listener) error {
	stopping, stop := context.WithCancel(context.WithoutCancel(ctx))
	api := httpapi.New(stopping, n.desk, n.logs)
	defer api.Wait()
	defer stop()
	server := &http.Server{
		Handler:           n.routes(api.Handler()),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      30 * time.Second, // a stream moves its own deadline
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(n.logs.Handler(), slog.LevelWarn),
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve HTTP: %w", err)
	case <-ctx.Done():
	}
	stop() // ends streams, which would otherwise be waited for
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer cancel()
	err := server.Shutdown(drain)
	<-failed
	if err != nil {
		return errors.Join(fmt.Errorf("stop serving HTTP: %w", err), server.Close())
	}
	return nil
}

func (n *node) serveNATS(ctx context.Context) error {
	working := context.WithoutCancel(ctx) // requests in flight are finished
	service, err := natsapi.Start(working, natsapi.Config{
		Conn: n.broker.conn, Desk: n.desk, Logs: n.logs, Version: semver(version()), MostInFlight: 1024, MostWaits: 8192,
	})
	if err != nil {
		return err
	}
	<-ctx.Done()
	if err := service.Stop(); err != nil {
		return fmt.Errorf("stop serving NATS: %w", err)
	}
	return n.broker.conn.FlushTimeout(drainTime) // the answers are out
}

func newLogger(cfg serveConfig, w io.Writer) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.LogLevel)); err != nil {
		return nil, fmt.Errorf("--log-level %q: use debug, info, warn or error", cfg.LogLevel)
	}
	options := &slog.HandlerOptions{Level: level}
	if cfg.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, options)), nil
	}
	return slog.New(slog.NewTextHandler(w, options)), nil
}

// waitUntil polls a condition that has no event of its own.
func waitUntil(ctx context.Context, met func() bool) error {
	t := time.NewTicker(5 * time.Millisecond)
	defer t.Stop()
	for !met() {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-t.C:
		}
	}
	return nil
}

// natsErrors tells what happens to a connection. A lost one is tried again for
// ever; meanwhile nothing is decided.
func natsErrors(logs *slog.Logger) []nats.Option {
	return []nats.Option{
		nats.MaxReconnects(-1),
		nats.ReconnectWait(250 * time.Millisecond),
		nats.ReconnectBufSize(-1), // an append that can't be sent now fails now
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				logs.Warn("lost the connection to NATS", slog.Any("error", err))
			}
		}),
		nats.ReconnectHandler(func(c *nats.Conn) {
			logs.Info("connected to NATS again", slog.String("server", c.ConnectedServerName()))
		}),
		nats.ErrorHandler(func(_ *nats.Conn, s *nats.Subscription, err error) {
			subject := ""
			if s != nil {
				subject = s.Subject
			}
			logs.Warn("NATS", slog.String("subject", subject), slog.Any("error", err))
		}),
	}
}
