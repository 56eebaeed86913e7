package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"github.com/behalf-platform/behalf"
	"github.com/behalf-platform/behalf/infra/webhooksig"
)

// asNATS, in the environment, makes the test binary a NATS server that can be
// killed. It is the address, a space, and the directory.
const asNATS = "BEHALF_TEST_AS_NATS"

func serveNATSUntilKilled(task string) {
	address, dir, _ := strings.Cut(task, " ")
	host, port, _ := strings.Cut(address, ":")
	number, err := strconv.Atoi(port)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	s, err := natsserver.NewServer(&natsserver.Options{
		Host: host, Port: number, JetStream: true, StoreDir: dir, NoSigs: true, NoLog: true,
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	s.Start()
	s.WaitForShutdown()
}

// hookKills is how often to kill what sends: BEHALF_KILLS, which is 25 for the
// whole trial, or what is enough for every change.
func hookKills(t *testing.T, enough int) int {
	t.Helper()
	text := os.Getenv("BEHALF_KILLS")
	if text == "" {
		return enough
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("BEHALF_KILLS: %v", err)
	}
	return n
}

// hookTrial has agents ask while what sends webhooks is killed again and again.
type hookTrial struct {
	t         *testing.T
	receivers []*hookReceiver
	// asked is the node that is asked, and told the one that sends, which may be
	// the same.
	asked, told atomic.Pointer[server]
	// restart kills what sends, and what else the round asks for, and starts it
	// again.
	restart func(round int)
	tickets chan struct{} // to ask once
	asks    sync.WaitGroup
	feeding sync.WaitGroup

	mu       sync.Mutex
	answered map[string]bool // ids of decisions that were answered, guarded by mu
}

const hookAgents = 20

// hookAsks is how many asks there are between two kills. How many events come
// again depends on the kills, so with few of them there are more between.
func hookAsks(kills int) int { return max(120, 600/kills) }

// Nothing that an endpoint wants is lost while what decides and sends is killed,
// nor while what sends is killed alone or with the NATS server: each event comes
// at least once, signed, those of an agent in order, and few come again. With
// BEHALF_KILLS=25 it is the whole trial of some minutes.
func TestWebhooksThroughKills(t *testing.T) {
	t.Parallel()
	t.Run("of a node with its log inside", func(t *testing.T) {
		t.Parallel()
		kills, dir := hookKills(t, 3), t.TempDir()
		tr := newHookTrial(t)
		spawn := func() {
			s := spawnServer(t, dir, hookFlags("--durability", "os", "--database", "off")...)
			tr.asked.Store(s)
			tr.told.Store(s)
		}
		spawn()
		tr.restart = func(int) {
			tr.told.Load().kill()
			spawn()
		}
		tr.run(kills)
	})
	t.Run("of a node that sends, and of the NATS server", func(t *testing.T) {
		t.Parallel()
		kills := hookKills(t, 1) // each is followed by some seconds until the lease has lapsed
		tr := newHookTrial(t)
		broker := newKilledNATS(t)
		dir := t.TempDir()
		key := filepath.Join(dir, "webhooks.key")
		if _, err := webhooksig.OpenOrMakeMaster(key); err != nil {
			t.Fatal(err)
		}
		outside := []string{"--nats", "nats://" + broker.address, "--database", "off", "--durability", "os"}
		tr.asked.Store(spawnServer(t, t.TempDir(), append(outside, "--webhooks", "off", "--rate-agent", "0", "--verify-timeout", "1s")...))
		spawn := func() {
			tr.told.Store(spawnServer(t, dir, hookFlags(append(outside, "--events", "off", "--webhook-key", key)...)...))
		}
		spawn()
		servers := max(1, kills*2/5)
		tr.restart = func(round int) {
			if (round+1)*servers/kills > round*servers/kills {
				broker.kill()
				broker.start()
				if round%2 == 0 { // else both are gone at once
					tr.getOver(20)
				}
			}
			tr.told.Load().kill()
			spawn()
		}
		tr.run(kills)
	})
}

func hookFlags(more ...string) []string {
	return append(more, "--rate-agent", "0", "--plain-http-webhooks", "--webhook-network", "127.0.0.0/8")
}

// killedNATS is a NATS server in a process of its own.
type killedNATS struct {
	t            *testing.T
	address, dir string
	process      *exec.Cmd
}

func newKilledNATS(t *testing.T) *killedNATS {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &killedNATS{t: t, address: l.Addr().String(), dir: t.TempDir()}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.kill)
	b.start()
	return b
}

func (b *killedNATS) start() {
	b.t.Helper()
	b.process = exec.Command(os.Args[0])
	b.process.Env = append(os.Environ(), asNATS+"="+b.address+" "+b.dir)
	b.process.Stderr = os.Stderr
	if err := b.process.Start(); err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(b.t.Context(), 20*time.Second)
	defer cancel()
	if err := waitUntil(ctx, func() bool {
		c, err := net.Dial("tcp", b.address)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	}); err != nil {
		b.t.Fatalf("the NATS server is not ready: %v", err)
	}
}

func (b *killedNATS) kill() {
	_ = b.process.Process.Kill()
	_ = b.process.Wait()
}

// newHookTrial has seven receivers, of which hardly one is well.
func newHookTrial(t *testing.T) *hookTrial {
	tr := &hookTrial{t: t, tickets: make(chan struct{}), answered: map[string]bool{}}
	status := func(code int) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
	}
	tr.receivers = []*hookReceiver{
		{name: "fast", ordering: "parallel"},
		{name: "slow", ordering: "per_agent", pause: 40 * time.Millisecond},
		{name: "hanging", ordering: "parallel", ill: func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }},
		{name: "dead", ordering: "strict", dead: true},
		{name: "failing", ordering: "per_agent", ill: status(500)},
		{name: "redirecting", ordering: "parallel", ill: func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/moved", http.StatusFound)
		}},
		{name: "flaky", ordering: "per_agent", ill: status(503), chance: 0.1, random: rand.Float64},
	}
	for _, r := range tr.receivers {
		r.t, r.times, r.forms = t, map[string]int{}, map[string]int{}
		r.well.Store(r.chance > 0)
		r.mustListen()
	}
	return tr
}

// recover makes well who has been ill for long enough. Who is ill until the end
// is tried again minutes later, unless what sends is started anew; and so is what
// was refused twice, however often that is.
func (tr *hookTrial) recover(round, kills int) {
	for name, when := range map[string]int{
		"failing": 0, "redirecting": kills / 2, "hanging": kills / 2, "dead": kills - 1,
	} {
		for _, r := range tr.receivers {
			if r.name == name && round >= when {
				r.recover()
			}
		}
	}
}

func (tr *hookTrial) run(kills int) {
	t := tr.t
	t.Helper()
	keys := tr.begin()
	tr.createAll()
	for _, key := range keys {
		tr.asks.Go(func() { tr.ask(key) })
	}
	fast := tr.receivers[0]
	for round := range kills {
		tr.getOver(hookAsks(kills) / 2)
		fast.setCalm(time.Now())
		tr.feed(hookAsks(kills) / 2)
		tr.recover(round, kills)
		if kills > 10 && round == kills/4 { // so that who hangs is waited for to the end
			sleep(t.Context(), 20*time.Second)
		}
		sleep(t.Context(), 100*time.Millisecond+rand.N(600*time.Millisecond))
		fast.setCalm(time.Time{})
		tr.restart(round)
	}
	tr.feeding.Wait()
	close(tr.tickets)
	tr.asks.Wait()
	tr.finish(kills)
}

// begin registers agents and returns their keys.
func (tr *hookTrial) begin() (keys []string) {
	s := tr.asked.Load()
	for i := range hookAgents {
		keys = append(keys, s.agent(fmt.Sprintf("agent_%d", i)))
	}
	return keys
}

// createAll makes the endpoints and has them verified.
func (tr *hookTrial) createAll() {
	t := tr.t
	t.Helper()
	client := &behalf.Client{BaseURL: tr.told.Load().url, Token: testToken}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, r := range tr.receivers {
		var err error
		r.webhook, err = client.CreateWebhook(ctx, behalf.WebhookSettings{
			URL: "http://" + r.addr + "/", Types: []string{"verification.*"}, Ordering: r.ordering,
		})
		if err != nil {
			t.Fatal(err)
		}
		err = waitUntil(ctx, func() bool { // addresses are challenged once a second
			_, err = client.VerifyWebhook(ctx, r.webhook.WebhookID)
			return err == nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if r.dead {
			r.hangUp()
		}
	}
}

// feed begins to hand out asks, about a hundred a second.
func (tr *hookTrial) feed(n int) {
	tr.feeding.Go(func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for range n {
			<-tick.C
			select {
			case tr.tickets <- struct{}{}:
			case <-tr.t.Context().Done():
				return
			}
		}
	})
}

// getOver asks some more, and waits until who is well is told of something new.
func (tr *hookTrial) getOver(asks int) {
	tr.t.Helper()
	began := time.Now()
	tr.feed(asks)
	ctx, cancel := context.WithTimeout(tr.t.Context(), time.Minute)
	defer cancel()
	if err := waitUntil(ctx, func() bool { return tr.receivers[0].since(began) }); err != nil {
		tr.t.Fatalf("nothing is delivered any more: %v\n%s", err, tr.told.Load().said)
	}
}

// ask asks as often as it is told to, and each time until it is answered.
func (tr *hookTrial) ask(key string) {
	for range tr.tickets {
		n := rand.Uint64()
		body := fmt.Sprintf(`{"action":"purchase","amount":%d,"idempotencyKey":"%d"}`, 490+n%20, n)
		err := waitUntil(tr.t.Context(), func() bool {
			status, text, err := tr.asked.Load().do("POST", "/v1/verify", key, body)
			var p behalf.Packet
			if err != nil || status != 200 || json.Unmarshal([]byte(text), &p) != nil || p.ReasonCode == "UNAVAILABLE" {
				return false
			}
			tr.mu.Lock()
			defer tr.mu.Unlock()
			tr.answered[p.RequestID] = true
			return true
		})
		if err != nil {
			return
		}
	}
}

// wanted is every event that the endpoints had to get.
func (tr *hookTrial) wanted() (all []behalf.Event) {
	tr.t.Helper()
	ctx, cancel := context.WithTimeout(tr.t.Context(), 30*time.Second)
	defer cancel()
	err := waitUntil(ctx, func() bool {
		all = tr.asked.Load().events("", behalf.EventQuery{Types: []string{"verification.*"}})
		seen := map[string]bool{}
		for _, e := range all {
			if p, err := e.Packet(); err == nil {
				seen[p.RequestID] = true
			}
		}
		for id := range tr.answered {
			if !seen[id] {
				return false
			}
		}
		return true
	})
	if err != nil {
		tr.t.Fatalf("of %d decisions that were answered there are %d events", len(tr.answered), len(all))
	}
	return all
}

// finish waits until everything has come, or nothing more does, and looks at it.
func (tr *hookTrial) finish(kills int) {
	t := tr.t
	t.Helper()
	want := tr.wanted()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	for least, since := -1, time.Now(); time.Since(since) < 20*time.Second && ctx.Err() == nil; sleep(ctx, 20*time.Millisecond) {
		missing := 0
		for _, r := range tr.receivers {
			missing += r.missing(want)
		}
		if missing == 0 {
			break
		}
		if missing != least {
			least, since = missing, time.Now()
		}
	}
	twice := 0
	for _, r := range tr.receivers {
		twice += r.report(want)
	}
	total := len(want) * len(tr.receivers)
	t.Logf("%d kills; %d events to %d endpoints, %d came again (%.1f %%); the fast one, between kills: %s",
		kills, len(want), len(tr.receivers), twice, 100*float64(twice)/float64(total), tr.receivers[0].delay())
	if twice > total*15/100 {
		t.Errorf("%d of %d came again, want no more than 15 %%", twice, total)
	}
	tr.status()
}

// status is the rule that nothing was given up, and nobody turned off.
func (tr *hookTrial) status() {
	client := &behalf.Client{BaseURL: tr.told.Load().url, Token: testToken}
	for _, r := range tr.receivers {
		w, err := client.Webhook(tr.t.Context(), r.webhook.WebhookID)
		if err != nil || w.Status != "active" {
			tr.t.Errorf("%s: got %+v, %v, want it active", r.name, w, err)
		}
		page, err := client.DeadLetters(tr.t.Context(), r.webhook.WebhookID, behalf.Page{})
		if err != nil || len(page.DeadLetters) > 0 {
			tr.t.Errorf("%s: got %+v, %v, want no dead letters", r.name, page, err)
		}
	}
}
