package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers"
	"github.com/behalf-platform/behalf/handlers/delivery"
	"github.com/behalf-platform/behalf/infra/embedded"
	"github.com/behalf-platform/behalf/infra/natslanes"
	"github.com/behalf-platform/behalf/infra/natslog"
	"github.com/behalf-platform/behalf/infra/outbound"
	"github.com/behalf-platform/behalf/infra/webhooksig"
)

// asReceiver, in the environment, makes the test binary a receiver of webhooks
// that says 204 to everything.
const asReceiver = "BEHALF_TEST_AS_RECEIVER"

func receiveUntilKilled() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	fmt.Println(l.Addr())
	_ = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // the sender will say so
		w.WriteHeader(http.StatusNoContent)
	}))
}

func mustReceive(b *testing.B) (address string) {
	b.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), asReceiver+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	address, err = bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	return strings.TrimSpace(address)
}

// hookBench sends what a log holds as serve does, to endpoints that are not in it.
type hookBench struct {
	b         *testing.B
	log       *natslog.Log
	delivered atomic.Int64 // to those who are alive
}

// mustOpenHookLog opens a log of 100,000 decisions. BEHALF_BENCH_LOG keeps it.
func mustOpenHookLog(b *testing.B) *hookBench {
	b.Helper()
	dir := os.Getenv("BEHALF_BENCH_LOG")
	if dir == "" {
		dir = b.TempDir()
	}
	if _, err := os.Stat(filepath.Join(dir, "nats")); err != nil {
		generate(b, dir, 1000, 100_000)
	}
	return &hookBench{b: b, log: mustOpenBenchLog(b, dir)}
}

// hookRoll is endpoints that don't change.
type hookRoll struct {
	list  []delivery.Endpoint
	known map[domain.EndpointID]*domain.Endpoint
}

func (r *hookRoll) Whole(delivery.Endpoint, time.Time) time.Time { return time.Time{} }

func (r *hookRoll) Endpoints(context.Context, uint16) ([]delivery.Endpoint, error) {
	return r.list, nil
}
func (r *hookRoll) Changed() <-chan struct{} { return nil }

// newHookRoll makes endpoints that want some types from a record on. The i-th one
// is at address(i).
func newHookRoll(n int, from uint64, types []string, address func(i int) string) *hookRoll {
	r := &hookRoll{known: map[domain.EndpointID]*domain.Endpoint{}}
	for i := range n {
		e := &domain.Endpoint{ID: domain.EndpointID(fmt.Sprintf("whe_%d", i)), Verified: true, Secret: 1}
		e.URL, e.Signatures = "http://"+address(i)+"/", []domain.Signature{domain.SignHMAC, domain.SignEd25519}
		r.known[e.ID] = e
		r.list = append(r.list, delivery.Endpoint{
			ID: delivery.EndpointID(e.ID), Account: "acct_home", URL: e.URL, Types: types, Ordering: delivery.Parallel,
			Secret: 1, Enabled: true, Verified: true, From: from, Revision: 1,
		})
	}
	return r
}

// countedSends counts what was delivered.
type countedSends struct {
	*hookSender
	delivered *atomic.Int64
}

func (c countedSends) Send(ctx context.Context, e delivery.Endpoint, m delivery.Message, replay string) delivery.Result {
	r := c.hookSender.Send(ctx, e, m, replay)
	if r.Status == http.StatusNoContent {
		c.delivered.Add(1)
	}
	return r
}

// mustStartHooks sends until stop, with lanes in a store of its own.
func (h *hookBench) mustStartHooks(roll *hookRoll) (stop func()) {
	h.b.Helper()
	server, err := embedded.Start(embedded.Config{
		Dir: h.b.TempDir(), Durability: embedded.Fsync, Unsynced: []string{natslanes.StateStream, natslanes.AttemptsStream}, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		h.b.Fatal(err)
	}
	conn, err := server.Bulk()
	if err != nil {
		h.b.Fatal(err)
	}
	store, err := natslanes.Open(h.b.Context(), natslanes.Config{Conn: conn, Replicas: 1})
	if err != nil {
		h.b.Fatal(err)
	}
	keys, err := webhooksig.NewKeyring(slices.Repeat([]byte{7}, webhooksig.MasterSize))
	if err != nil {
		h.b.Fatal(err)
	}
	client, err := outbound.New(outbound.Config{Policy: outbound.Policy{HTTP: true, Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}})
	if err != nil {
		h.b.Fatal(err)
	}
	logs := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	sender := &hookSender{client: client, keys: keys, now: time.Now, logs: logs, endpoint: func(_ domain.AccountID, id domain.EndpointID) (*domain.Endpoint, bool) {
		e, ok := roll.known[id]
		return e, ok
	}}
	engine := &delivery.Engine{
		Source: &handlers.WebhookSource{Log: h.log}, Registry: roll, Sender: countedSends{sender, &h.delivered}, Reporter: nobody{}, Store: store,
		Node: "bench", Alone: true, Logs: logs, Now: time.Now,
	}
	ctx, cancel := context.WithCancel(h.b.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = engine.Run(ctx) })
	return func() {
		cancel()
		running.Wait()
		client.Close()
		conn.Close()
		if err := server.Shutdown(); err != nil {
			h.b.Error(err)
		}
	}
}

// nobody is told of nothing.
type nobody struct{}

func (nobody) Report(context.Context, delivery.Report) error { return nil }

// deliver has endpoints told from the beginning of the log until so much was
// delivered, and returns how much that was a second.
func (h *hookBench) deliver(roll *hookRoll, most int64) float64 {
	h.b.Helper()
	h.delivered.Store(0)
	stop := h.mustStartHooks(roll)
	defer stop()
	warm := most / 10 // until all lanes are under way
	if err := waitUntil(h.b.Context(), func() bool { return h.delivered.Load() >= warm }); err != nil {
		h.b.Fatal(err)
	}
	first, began := h.delivered.Load(), time.Now()
	if err := waitUntil(h.b.Context(), func() bool { return h.delivered.Load() >= most }); err != nil {
		h.b.Fatal(err)
	}
	return float64(h.delivered.Load()-first) / time.Since(began).Seconds()
}

// BenchmarkWebhookDeliveries sends what a log of 100,000 decisions holds, signed,
// to receivers in another process.
func BenchmarkWebhookDeliveries(b *testing.B) {
	h, address := mustOpenHookLog(b), mustReceive(b)
	for _, endpoints := range []int{1, 20, 200} {
		b.Run(fmt.Sprintf("endpoints=%d", endpoints), func(b *testing.B) {
			h.b = b
			roll := newHookRoll(endpoints, 0, []string{"*"}, func(int) string { return address })
			for b.Loop() {
				b.ReportMetric(h.deliver(roll, 60_000), "deliveries/s")
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkWebhookDeadHalf compares what a hundred endpoints get alone with what
// they get beside a hundred at which nobody answers, by turns.
func BenchmarkWebhookDeadHalf(b *testing.B) {
	h, address := mustOpenHookLog(b), mustReceive(b)
	alone := newHookRoll(100, 0, []string{"*"}, func(int) string { return address })
	beside := newHookRoll(200, 0, []string{"*"}, func(i int) string {
		if i >= 100 {
			return "127.0.0.1:1025"
		}
		return address
	})
	for b.Loop() {
		var solo, half float64
		for range 3 {
			solo += h.deliver(alone, 30_000) / 3
			half += h.deliver(beside, 30_000) / 3
		}
		b.ReportMetric(solo, "alone/s")
		b.ReportMetric(half, "beside/s")
		b.ReportMetric(100*half/solo, "%")
	}
	b.ReportMetric(0, "ns/op")
}

// BenchmarkWebhookIdle is what a thousand endpoints take in memory that nothing
// is sent to.
func BenchmarkWebhookIdle(b *testing.B) {
	h := mustOpenHookLog(b)
	status, err := h.log.Status(b.Context(), 0)
	if err != nil {
		b.Fatal(err)
	}
	used := func(endpoints int) float64 {
		roll := newHookRoll(endpoints, status.Head, []string{"approval.*"}, func(int) string { return "127.0.0.1:1025" })
		stop := h.mustStartHooks(roll)
		defer stop()
		sleep(b.Context(), 4*time.Second) // until all are claimed
		var m runtime.MemStats
		for range 2 { // what is in a pool goes with the second one
			runtime.GC()
		}
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc+m.StackInuse) / (1 << 20)
	}
	for b.Loop() {
		none := used(0)
		b.ReportMetric(used(1000)-none, "MB")
	}
	b.ReportMetric(0, "ns/op")
}

// BenchmarkVerifyBesideIdleWebhooks measures verify on a server with a thousand
// endpoints that nothing is sent to, and on one without, by turns.
func BenchmarkVerifyBesideIdleWebhooks(b *testing.B) {
	type answered struct {
		PerSecond float64 `json:"decisionsPerSecond"`
		CPU       float64 `json:"serverCpuMicrosPerDecision"`
	}
	servers := map[int]*server{}
	for _, endpoints := range []int{0, 1000} {
		dir := b.TempDir()
		generateWith(b, dir, func(g *generated) {
			g.open()
			for i := range endpoints {
				g.endpoint(domain.EndpointID(fmt.Sprintf("whe_01HZY3V2Q2Q2Q2%012d", i)), "approval.*")
			}
		})
		servers[endpoints] = spawnServer(b, dir, hookFlags("--durability", "os", "--database", "off", "--most-webhooks", "1000")...)
	}
	for b.Loop() {
		sum := map[int]answered{}
		for range 3 {
			for endpoints, s := range servers {
				var a answered
				code, out, errs := command(b, map[string]string{"BEHALF_TOKEN": testToken, "BEHALF_URL": s.url},
					"load", "--agents", "100", "--permissions", "5", "--concurrency", "32", "--duration", "4s", "--output", "json")
				if err := json.Unmarshal([]byte(out), &a); err != nil || code != 0 {
					b.Fatalf("load: got %d, %s%s, %v", code, out, errs, err)
				}
				sum[endpoints] = answered{sum[endpoints].PerSecond + a.PerSecond/3, sum[endpoints].CPU + a.CPU/3}
			}
		}
		b.ReportMetric(sum[0].PerSecond, "without/s")
		b.ReportMetric(sum[1000].PerSecond, "with/s")
		b.ReportMetric(100*sum[1000].PerSecond/sum[0].PerSecond, "%")
		b.ReportMetric(sum[0].CPU, "without-µs")
		b.ReportMetric(sum[1000].CPU, "with-µs")
	}
	b.ReportMetric(0, "ns/op")
}

// endpoint writes a verified endpoint.
func (g *generated) endpoint(id domain.EndpointID, types ...string) {
	g.t.Helper()
	settings := domain.EndpointSettings{URL: "http://127.0.0.1:1025/", Types: types}
	created, err := g.state.CreateEndpoint(domain.CreateEndpoint{
		EndpointID: id, Settings: settings, Rules: domain.EndpointRules{Types: eventTypes(), Most: 1000, PlainHTTP: true},
	})
	if err != nil {
		g.t.Fatal(err)
	}
	g.add("", "member:mem_owner", created[0])
	verified, err := g.state.VerifyEndpoint(domain.VerifyEndpoint{EndpointID: id, URL: settings.URL})
	if err != nil {
		g.t.Fatal(err)
	}
	g.add("", "member:mem_owner", verified[0])
}
