package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/behalf-platform/behalf"
)

// hookReceiver is where webhooks are sent to in a test. It takes what is signed,
// as a receiver should, and may be ill.
type hookReceiver struct {
	t        *testing.T
	name     string
	ordering string
	pause    time.Duration
	// ill is how it answers while it is not well, which is until well is true, or
	// now and then with a chance.
	ill    func(http.ResponseWriter, *http.Request)
	chance float64
	random func() float64
	dead   bool // nobody listens while it is not well
	well   atomic.Bool

	webhook behalf.Webhook
	addr    string
	hangUp  func()

	mu sync.Mutex
	// All below is guarded by mu.
	times map[string]int // how often each event was taken
	order []string       // ids of those that were new, when they were taken
	forms map[string]int // faults, by what they are
	// newest is when the last one came that was new, and delays how long after it
	// had happened one did, of those since calm.
	newest time.Time
	calm   time.Time
	delays []time.Duration
}

// mustListen listens, again on the same address.
func (r *hookReceiver) mustListen() {
	r.t.Helper()
	if r.addr == "" {
		r.addr = "127.0.0.1:0"
	}
	l, err := net.Listen("tcp", r.addr)
	if err != nil {
		r.t.Fatal(err)
	}
	r.addr = l.Addr().String()
	s := &http.Server{Handler: r}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(l) // which always ends with an error
	}()
	r.hangUp = sync.OnceFunc(func() {
		_ = s.Close() // nobody is left to be hurt
		<-done
	})
	r.t.Cleanup(r.hangUp)
}

// recover ends what ails it.
func (r *hookReceiver) recover() {
	if r.well.Swap(true) || !r.dead {
		return
	}
	r.mustListen()
}

func (r *hookReceiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil { // whoever sent it was killed
		return
	}
	e, err := behalf.VerifyWebhook(req.Header, body, r.webhook.Secret)
	if err == nil {
		_, err = behalf.VerifyWebhook(req.Header, body, r.webhook.Keys[0].PublicKey)
	}
	switch {
	case err != nil:
		r.fault(err.Error())
		w.WriteHeader(http.StatusUnauthorized)
		return
	case e.Type == "webhook.challenge":
		_, _ = io.Copy(w, bytes.NewReader(e.Data)) // the sender will say so
		return
	case r.ill != nil && !r.well.Load(), r.chance > 0 && r.random() < r.chance:
		r.ill(w, req)
		return
	}
	time.Sleep(r.pause)
	w.WriteHeader(http.StatusNoContent)
	r.take(e)
}

func (r *hookReceiver) fault(what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forms[what]++
}

func (r *hookReceiver) take(e behalf.WebhookEvent) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.times[e.ID]++; r.times[e.ID] > 1 {
		return
	}
	r.newest = now
	r.order = append(r.order, e.ID)
	if !r.calm.IsZero() && e.At.After(r.calm) {
		r.delays = append(r.delays, now.Sub(e.At))
	}
}

// setCalm begins a time in which delays count, or ends it.
func (r *hookReceiver) setCalm(at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calm = at
}

func (r *hookReceiver) since(at time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.newest.After(at)
}

// missing is how many of the events it has not taken.
func (r *hookReceiver) missing(want []behalf.Event) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range want {
		if r.times[e.ID] == 0 {
			n++
		}
	}
	return n
}

// report compares what it took with what it had to get, and returns how many came
// again.
func (r *hookReceiver) report(want []behalf.Event) (twice int) {
	missing := r.missing(want)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range r.times {
		twice += n - 1
	}
	for what, n := range r.forms {
		r.t.Errorf("%s: %d times: %s", r.name, n, what)
	}
	if missing > 0 {
		r.t.Errorf("%s: %d of %d never came", r.name, missing, len(want))
	}
	r.t.Logf("%-12s %d of %d missing, %d came again", r.name, missing, len(want), twice)
	r.inOrder(want)
	return twice
}

// inOrder is the rule that events of an agent, or all, came first in the order in
// which they happened.
func (r *hookReceiver) inOrder(want []behalf.Event) {
	if r.ordering == "parallel" {
		return
	}
	places := map[string]behalf.Event{}
	for _, e := range want {
		places[e.ID] = e
	}
	newest := map[string]string{}
	for _, id := range r.order {
		e := places[id]
		line := e.AgentID
		if r.ordering == "strict" {
			line = ""
		}
		if e.Sequence <= newest[line] {
			r.t.Errorf("%s: %s of %s came after %s", r.name, e.Sequence, e.AgentID, newest[line])
		}
		newest[line] = max(newest[line], e.Sequence)
	}
}

// delay says how long an event took between kills.
func (r *hookReceiver) delay() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.delays) == 0 {
		return "of none"
	}
	slices.Sort(r.delays)
	at := func(q float64) time.Duration {
		return r.delays[int(q*float64(len(r.delays)-1))].Round(100 * time.Microsecond)
	}
	return fmt.Sprintf("of %d: p50 %s, p99 %s", len(r.delays), at(0.5), at(0.99))
}
