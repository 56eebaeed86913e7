package load

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
)

// caller asks for one worker. It is used by one goroutine.
type caller interface {
	// call sends an ask for an agent and returns the status, in HTTP's terms,
	// and the body of the answer, valid until the next call. An error means that
	// there was no whole answer.
	call(a *agent, body []byte) (status int, answer []byte, err error)
	close()
}

// worker asks one thing after another. All it counts is its own until it is done.
type worker struct {
	plan    *plan
	mix     *mix
	caller  caller
	preview bool
	packets *packets

	latency     histogram
	errors      uint64 // answers that say neither yes nor no nor unavailable
	unavailable uint64 // including no answer at all
	wrong       uint64
	violations  uint64
	// examples are of faults, outages of what was unavailable.
	examples, outages []string
}

// mostExamples is how many faults are described.
const mostExamples = 5

func (w *worker) run(ctx context.Context) {
	for ctx.Err() == nil {
		a := w.mix.next()
		before := a.slot.phase.Load()
		began := time.Now()
		status, body, err := w.caller.call(a.slot.agent, a.body)
		took := time.Since(began)
		after := a.slot.phase.Load()
		switch {
		case err != nil:
			w.unavailable++
			describe(&w.outages, "unavailable: %v", err)
			pause(ctx, 10*time.Millisecond) // so as not to wear out what is down
		case status == http.StatusServiceUnavailable:
			w.unavailable++
			describe(&w.outages, "unavailable: %.200s", body)
			pause(ctx, 10*time.Millisecond)
		case status != http.StatusOK:
			w.errors++
			describe(&w.examples, "error: status %d, %.200s", status, body)
			pause(ctx, time.Millisecond)
		default:
			w.latency.add(took)
			w.check(&a, before, after, body)
		}
	}
}

// answer is what is compared of an answer: all that follows from the ask.
type answer struct {
	RequestID    string `json:"requestId"`
	AgentID      string `json:"agentId"`
	Decision     string `json:"decision"`
	WouldBe      string `json:"wouldBe"`
	Allowed      bool   `json:"allowed"`
	ReasonCode   string `json:"reasonCode"`
	PermissionID string `json:"permissionId"`
	Action       string `json:"action"`
	Resource     string `json:"resource"`
	Amount       string `json:"amount"`
	Currency     string `json:"currency"`
}

func (w *worker) check(a *ask, before, after *phase, body []byte) {
	var got answer
	if err := json.Unmarshal(body, &got); err != nil {
		w.errors++
		describe(&w.examples, "error: %v in %.200s", err, body)
		return
	}
	w.packets.keep(body)
	said := wanted{got.Decision, got.ReasonCode, got.PermissionID}
	if w.preview {
		said.outcome = got.WouldBe
	}
	verdict := wrong
	switch {
	case w.plan.bare != nil:
		if said == *w.plan.bare && got.Allowed {
			verdict = correct
		}
	case got.about(a) && got.Allowed == (got.Decision == "allowed") && (got.RequestID == "") == w.preview:
		verdict = judge(a.kind, before, after, said)
	case got.Allowed:
		// However garbled the rest: an allow by a dead permission is the worst.
		if judge(a.kind, before, after, wanted{"allowed", "ALLOWED", got.PermissionID}) == violation {
			verdict = violation
		}
	}
	switch verdict {
	case correct:
	case wrong:
		w.wrong++
		describe(&w.examples, "wrong: asked %s, got %.400s; the permission is %s", a.body, body, before)
	case violation:
		w.violations++
		describe(&w.examples, "ALLOWED AFTER REVOCATION: asked %s, got %.400s; the permission is %s", a.body, body, before)
	}
}

// about reports whether an answer is about what was asked.
func (g *answer) about(a *ask) bool {
	return g.AgentID == a.slot.agent.id && g.Action == a.action && g.Resource == a.resource &&
		g.Amount == a.amount && g.Currency == "USD"
}

// describe adds an example, if there is room.
func describe(examples *[]string, format string, args ...any) {
	if len(*examples) < mostExamples {
		*examples = append(*examples, fmt.Sprintf(format, args...))
	}
}

// String says where a slot stands, for examples of what went wrong.
func (p *phase) String() string {
	return p.id + " (" + [...]string{"granted", "being revoked", "revoked", "before a new grant"}[p.step] + ")"
}

// packets keeps what was received. The nil packets keeps nothing.
type packets struct {
	mu sync.Mutex
	// out and err are guarded by mu.
	out io.Writer
	err error
}

func (p *packets) keep(packet []byte) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, err := p.out.Write(append(packet, '\n')); err != nil && p.err == nil {
		p.err = fmt.Errorf("keep packets: %w", err)
	}
}

func (p *packets) failed() error {
	if p == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// pause waits about d, or until ctx is done.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d/2 + rand.N(d))
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
