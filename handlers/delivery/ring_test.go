package delivery

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/behalf-platform/behalf/domain"
)

// A lane is given every message that it wants, in order, whether it pulls often
// or seldom, and while it rests it is woken by those only.
func TestTheRingWakesWhoWantsIt(t *testing.T) {
	t.Parallel()
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 1))
		r := newRing(0, 400) // of which these tests use less
		types := []string{"approval.requested", "approval.denied", "verification.denied", "agent.disabled", "webhook"}
		var lanes []*ringLane
		for _, want := range [][]string{
			{"*"}, {"approval.*"}, {"approval.denied"}, {"approval.*", "approval.denied", "agent.*"}, {"webhook"}, {}, {"approval"}, {"*", "webhook"},
		} {
			e := Endpoint{ID: EndpointID(fmt.Sprintf("whe_%d", len(lanes))), Account: "acct_a", Types: want}
			if random.IntN(3) == 0 {
				e.Agents = []domain.AgentID{"agent_1"}
			}
			if random.IntN(4) == 0 {
				e.Account = "acct_b"
			}
			lanes = append(lanes, &ringLane{runner: &runner{endpoint: e, awake: make(chan struct{}, 1)}, seen: through(0)})
		}
		for seq := uint64(1); seq <= 60; seq++ {
			step := Step{Account: domain.AccountID([]string{"acct_a", "acct_b"}[random.IntN(2)]), Seq: seq}
			for i := range random.IntN(3) {
				m := &Message{Type: types[random.IntN(len(types))], Agent: domain.AgentID(fmt.Sprintf("agent_%d", random.IntN(2))), Seq: seq, Index: uint16(i)}
				switch random.IntN(8) {
				case 0:
					m.To = EndpointID(fmt.Sprintf("whe_%d", random.IntN(len(lanes))))
				case 1:
					m.About = EndpointID(fmt.Sprintf("whe_%d", random.IntN(len(lanes))))
				}
				step.Messages = append(step.Messages, m)
			}
			r.add(step)
			for _, l := range lanes {
				l.hear(t, step)
				if random.IntN(4) == 0 {
					l.pull(t, r, 1+random.IntN(5))
				}
			}
		}
		for _, l := range lanes {
			for range 60 {
				l.pull(t, r, 5)
			}
			if !slices.Equal(l.got, l.want) {
				t.Errorf("seed %d: %v: got %d messages, want %d, in order", seed, l.endpoint.Types, len(l.got), len(l.want))
			}
			r.forget(l.runner)
		}
		if len(r.audience) > 0 {
			t.Errorf("seed %d: got %d accounts with lanes, want all forgotten", seed, len(r.audience))
		}
	}
}

// ringLane is a lane as a ring sees it.
type ringLane struct {
	*runner
	seen      Place
	resting   bool // since a pull that was given all there is
	got, want []*Message
}

// hear takes note of a record, and of whether the lane was woken by it.
func (l *ringLane) hear(t *testing.T, step Step) {
	t.Helper()
	wants := false
	for _, m := range step.Messages {
		if step.Account == l.endpoint.Account && l.endpoint.Wants(m) {
			l.want, wants = append(l.want, m), true
		}
	}
	select {
	case <-l.awake:
		if !wants || !l.resting {
			t.Errorf("%v was woken by a record of which it wants nothing", l.endpoint.Types)
		}
		l.resting = false
	default:
		if wants && l.resting {
			t.Errorf("%v was not woken by what it wants", l.endpoint.Types)
		}
	}
}

func (l *ringLane) pull(t *testing.T, r *ring, most int) {
	t.Helper()
	found, read, ok := r.pull(l.runner, l.seen, most)
	if !ok || read.Compare(l.seen) < 0 {
		t.Fatalf("got %v after %v, %t, want what the ring has", read, l.seen, ok)
	}
	for _, m := range found {
		if l.endpoint.Wants(m) {
			l.got = append(l.got, m)
		}
	}
	l.seen, l.resting = read, len(found) < most
}
