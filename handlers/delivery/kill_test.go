package delivery_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers/delivery"
	"github.com/behalf-platform/behalf/infra/embedded"
	"github.com/behalf-platform/behalf/infra/natslanes"
)

const (
	// envRole tells a process of this test what to be until it is killed, and
	// envTask with what.
	envRole = "BEHALF_TEST_KILLED_AS"
	envTask = "BEHALF_TEST_KILLED_WITH"
	// envKills is how often to kill what delivers: 25 for the whole trial.
	envKills = "BEHALF_KILLS"
)

// task is what a process is told.
type task struct {
	Dir, Listen string
	Endpoints   []delivery.Endpoint
	CursorFirst bool
}

// TestKilledWhileItDelivers kills what delivers, and the server, again and again
// while events go to seven endpoints of which hardly one is well. Nothing may be
// missing in the end, and what an agent did comes in its order. With BEHALF_KILLS=25
// it is the whole trial of a minute.
func TestKilledWhileItDelivers(t *testing.T) {
	t.Parallel()
	kills := 5
	if text := os.Getenv(envKills); text != "" {
		var err error
		if kills, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	tr := newTrial(t, 120*kills, false)
	tr.run(t, kills, kills*2/5)
	missing, twice := tr.count(t)
	total := tr.events * len(tr.receivers)
	t.Logf("%d kills of the dispatcher, %d of the server; %d of %d missing, %d came again (%.1f %%); the fast lane between kills: p50 %s, p99 %s",
		kills, kills*2/5, missing, total, twice, 100*float64(twice)/float64(total), tr.quantile(0.5), tr.quantile(0.99))
	if missing > 0 {
		t.Errorf("%d of %d are missing", missing, total)
	}
	if twice > total*15/100 {
		t.Errorf("%d of %d came again, want no more than 15 %%", twice, total)
	}
	for _, r := range tr.receivers {
		if r.ordering != delivery.Parallel {
			r.mustBeInOrder(t)
		}
	}
}

// TestTheWrongOrderOfWritesLoses shows that the trial finds what it is there to
// find: a cursor that is written before what became of the messages.
func TestTheWrongOrderOfWritesLoses(t *testing.T) {
	t.Parallel()
	tr := newTrial(t, 500, true)
	tr.run(t, 5, 0)
	missing, _ := tr.count(t)
	t.Logf("%d of %d missing", missing, tr.events*len(tr.receivers))
	if missing == 0 {
		t.Error("nothing is missing, so the trial would not see a loss")
	}
}

// trial is a server, what delivers, and who is told.
type trial struct {
	events      int
	cursorFirst bool
	receivers   []*receiver
	fast        *receiver
	task        task
	published   atomic.Bool
	// calm is when the last kill had been got over, in nanoseconds, or 0 while
	// one has not.
	calm atomic.Int64
}

func newTrial(t *testing.T, events int, cursorFirst bool) *trial {
	tr := &trial{events: events, cursorFirst: cursorFirst}
	open := func() bool { return tr.published.Load() }
	status := func(code int) func(w http.ResponseWriter) { return func(w http.ResponseWriter) { w.WriteHeader(code) } }
	tr.receivers = []*receiver{
		{name: "fast", ordering: delivery.Parallel},
		{name: "slow", ordering: delivery.PerAgent, pause: 40 * time.Millisecond},
		{name: "hanging", ordering: delivery.Parallel, ill: func() bool { return !open() }, refuse: func(http.ResponseWriter) { time.Sleep(time.Second) }},
		{name: "dead", ordering: delivery.Strict, late: true},
		{name: "failing", ordering: delivery.PerAgent, ill: func() bool { return !open() }, refuse: status(500)},
		{name: "redirecting", ordering: delivery.Parallel, ill: func() bool { return !open() }, refuse: status(302)},
		{name: "flaky", ordering: delivery.PerAgent, ill: func() bool { return rand.IntN(10) == 0 }, refuse: status(500)},
	}
	for _, r := range tr.receivers {
		r.trial, r.nth = tr, map[int]int{}
		r.mustListen(t)
		tr.task.Endpoints = append(tr.task.Endpoints, delivery.Endpoint{
			ID: delivery.EndpointID("whe_" + r.name), Account: account, URL: "http://" + r.addr, Types: []string{"*"},
			Ordering: r.ordering, Enabled: true, Verified: true, Revision: 1,
		})
	}
	tr.fast = tr.receivers[0]
	tr.task.Dir, tr.task.Listen, tr.task.CursorFirst = t.TempDir(), mustFindPort(t), cursorFirst
	return tr
}

func mustFindPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func (tr *trial) run(t *testing.T, kills, serverKills int) {
	ctx, stop := context.WithTimeout(t.Context(), 3*time.Minute)
	defer stop()
	server := tr.mustStart(ctx, t, "server")
	nc, err := nats.Connect("nats://"+tr.task.Listen, nats.UserInfo("test", "test"), nats.MaxReconnects(-1),
		nats.ReconnectWait(20*time.Millisecond), nats.ReconnectBufSize(-1))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if _, err := openBook(ctx, nc); err != nil {
		t.Fatal(err)
	}
	dispatcher := tr.mustStart(ctx, t, "dispatcher")
	var publishing sync.WaitGroup
	defer publishing.Wait()
	publishing.Go(func() { tr.publish(ctx, t, nc) })
	for i := range kills {
		tr.mustGetOver(ctx, t)
		pause(ctx, 100*time.Millisecond+rand.N(700*time.Millisecond))
		tr.calm.Store(0)
		mustKill(t, dispatcher)
		if serverKills > 0 && (i+1)*serverKills/kills > i*serverKills/kills {
			mustKill(t, server)
			server = tr.mustStart(ctx, t, "server")
		}
		dispatcher = tr.mustStart(ctx, t, "dispatcher")
	}
	publishing.Wait()
	tr.published.Store(true)
	for _, r := range tr.receivers {
		if r.late {
			r.late = false
			r.mustListen(t)
		}
	}
	tr.waitForAll(ctx)
	mustKill(t, dispatcher)
	mustKill(t, server)
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// publish writes events until there are enough, about 100 a second.
func (tr *trial) publish(ctx context.Context, t *testing.T, nc *nats.Conn) {
	js, err := jetstream.New(nc)
	if err != nil {
		t.Error(err)
		return
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for i := 1; i <= tr.events; i++ {
		<-tick.C
		raw, err := json.Marshal(entry{ID: entryID(i), Agent: domain.AgentID(fmt.Sprintf("agent_%d", i%20)), At: time.Now()})
		if err != nil {
			t.Error(err)
			return
		}
		for {
			try, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
			_, err := js.Publish(try, "book", raw, jetstream.WithMsgID(entryID(i)))
			cancel()
			if err == nil {
				break
			}
			if ctx.Err() != nil {
				t.Error(err)
				return
			}
			pause(ctx, 20*time.Millisecond)
		}
	}
}

// mustGetOver waits until the fast endpoint is told of what is new.
func (tr *trial) mustGetOver(ctx context.Context, t *testing.T) {
	t.Helper()
	began := time.Now()
	for tr.fast.lastNew.Load() < began.UnixNano() && tr.fast.taken() < tr.events {
		pause(ctx, 5*time.Millisecond)
		if ctx.Err() != nil {
			t.Fatal("nothing is delivered any more")
		}
	}
	tr.calm.Store(time.Now().UnixNano())
}

// waitForAll waits until everything has arrived, or nothing new has for a while.
func (tr *trial) waitForAll(ctx context.Context) {
	patience := 10 * time.Second
	if tr.cursorFirst { // some never come
		patience = 2 * time.Second
	}
	last, since := -1, time.Now()
	for ctx.Err() == nil && time.Since(since) < patience {
		all := 0
		for _, r := range tr.receivers {
			all += r.taken()
		}
		if all == tr.events*len(tr.receivers) {
			return
		}
		if all != last {
			last, since = all, time.Now()
		}
		pause(ctx, 50*time.Millisecond)
	}
}

func (tr *trial) count(t *testing.T) (missing, twice int) {
	for _, r := range tr.receivers {
		r.mu.Lock()
		m, w := tr.events-len(r.nth), 0
		for _, n := range r.nth {
			w += n - 1
		}
		r.mu.Unlock()
		t.Logf("%-12s %d missing, %d came again", r.name, m, w)
		missing, twice = missing+m, twice+w
	}
	return missing, twice
}

// quantile is of how long after an event the fast endpoint was told.
func (tr *trial) quantile(q float64) time.Duration {
	tr.fast.mu.Lock()
	defer tr.fast.mu.Unlock()
	if len(tr.fast.delays) == 0 {
		return 0
	}
	slices.Sort(tr.fast.delays)
	return tr.fast.delays[int(q*float64(len(tr.fast.delays)-1))].Round(100 * time.Microsecond)
}

// receiver is an endpoint.
type receiver struct {
	trial    *trial
	name     string
	ordering delivery.Ordering
	pause    time.Duration
	// ill says whether to refuse, and refuse how.
	ill    func() bool
	refuse func(http.ResponseWriter)
	late   bool // nobody listens until the end
	addr   string

	lastNew atomic.Int64
	mu      sync.Mutex
	// All below is guarded by mu.
	nth    map[int]int // how often each event was taken
	order  []int       // of those that were new, when they were taken
	agents []domain.AgentID
	delays []time.Duration
}

func (r *receiver) mustListen(t *testing.T) {
	t.Helper()
	if r.late {
		r.addr = mustFindPort(t)
		return
	}
	addr := r.addr
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	r.addr = l.Addr().String()
	s := &http.Server{Handler: r}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(l) // which always ends with an error
	}()
	t.Cleanup(func() {
		_ = s.Close() // nobody is left to be hurt
		<-done
	})
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	var e entry
	body, err := io.ReadAll(req.Body)
	if err != nil || json.Unmarshal(body, &e) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if r.ill != nil && r.ill() {
		r.refuse(w)
		return
	}
	if r.pause > 0 {
		time.Sleep(r.pause)
	}
	i, _ := strconv.Atoi(strings.TrimPrefix(e.ID, "evt_")) // 0 is none, and is missed
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.nth[i]++; r.nth[i] > 1 {
		return
	}
	r.lastNew.Store(now.UnixNano())
	r.order, r.agents = append(r.order, i), append(r.agents, e.Agent)
	if calm := r.trial.calm.Load(); calm > 0 && e.At.UnixNano() > calm {
		r.delays = append(r.delays, now.Sub(e.At))
	}
}

func (r *receiver) taken() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.nth)
}

func (r *receiver) mustBeInOrder(t *testing.T) {
	t.Helper()
	newest := map[domain.AgentID]int{}
	for n, i := range r.order {
		agent := r.agents[n]
		if r.ordering == delivery.Strict {
			agent = ""
		}
		if i < newest[agent] {
			t.Errorf("%s: %d of %s came after %d", r.name, i, agent, newest[agent])
		}
		newest[agent] = max(newest[agent], i)
	}
}

// mustStart starts a process that does its part until it is killed.
func (tr *trial) mustStart(ctx context.Context, t *testing.T, role string) *exec.Cmd {
	t.Helper()
	raw, err := json.Marshal(tr.task)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestProcessToKill$", "-test.count=1", "-test.timeout=5m")
	cmd.Env = append(os.Environ(), envRole+"="+role, envTask+"="+string(raw))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if lines.Text() == "ready" {
			return cmd
		}
		t.Logf("%s: %s", role, lines.Text())
	}
	t.Fatalf("the %s ended by itself", role)
	return nil
}

func mustKill(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Fatal("a process ended before it was killed")
	}
}

// TestProcessToKill is the server, or what delivers, until it is killed.
func TestProcessToKill(t *testing.T) {
	role := os.Getenv(envRole)
	if role == "" {
		t.Skip("only for processes that another test starts")
	}
	var k task
	if err := json.Unmarshal([]byte(os.Getenv(envTask)), &k); err != nil {
		t.Fatal(err)
	}
	if role == "server" {
		_, err := embedded.Start(embedded.Config{
			Dir: k.Dir, Durability: embedded.OS, Listen: k.Listen,
			Authenticate: func(string, string) (embedded.Access, bool) {
				return embedded.Access{Name: "test", Publish: []string{">"}, Subscribe: []string{">"}}, true
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		fmt.Println("ready")
		select {}
	}
	nc, err := nats.Connect("nats://"+k.Listen, nats.UserInfo("test", "test"), nats.MaxReconnects(-1),
		nats.RetryOnFailedConnect(true), nats.ReconnectWait(20*time.Millisecond), nats.ReconnectBufSize(-1),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	if err != nil {
		t.Fatal(err)
	}
	book, err := openBook(t.Context(), nc)
	if err != nil {
		t.Fatal(err)
	}
	store, err := natslanes.Open(t.Context(), natslanes.Config{Conn: nc, Replicas: 1})
	if err != nil {
		t.Fatal(err)
	}
	endpoints := &roll{endpoints: map[delivery.EndpointID]delivery.Endpoint{}}
	for _, e := range k.Endpoints {
		endpoints.endpoints[e.ID] = e
	}
	e := &delivery.Engine{
		Source: book, Registry: endpoints, Sender: newPoster(300 * time.Millisecond), Reporter: silent{}, Store: store,
		Node: "test", Logs: slog.New(slog.DiscardHandler), Now: time.Now, Rules: killRules(),
	}
	if k.CursorFirst {
		e.CursorFirst()
	}
	fmt.Println("ready")
	if err := e.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
}
