package load

import (
	"math/rand/v2"
	"strconv"
)

// ask is one thing to ask.
type ask struct {
	kind kind
	slot *slot
	// resource and action are as asked, the amount in full scale.
	action, resource, amount string
	// body is valid until the next ask.
	body []byte
}

// mix makes the asks of one worker: half of them right, the rest wrong in one
// of three ways. The same seed makes the same asks.
type mix struct {
	plan *plan
	rng  *rand.Rand
	body []byte
}

func newMix(p *plan, seed uint64, worker int) *mix {
	return &mix{plan: p, rng: rand.New(rand.NewPCG(seed, uint64(worker)))}
}

// otherAction is an action that no permission names, otherSuffix makes a
// resource that none covers.
const (
	otherAction = "load:other"
	otherSuffix = "-other"
)

// next makes an ask. Its strings are built in one buffer per worker: the
// generator shares the machine with what it measures.
func (m *mix) next() ask {
	s := m.slot()
	a := ask{slot: s, action: s.action, resource: s.resource, kind: right}
	if n := m.rng.IntN(6); n < 3 && !m.plan.spending {
		a.kind = overLimit + kind(n)
	}
	cents := 1 + m.rng.IntN(s.limit)
	switch a.kind {
	case right:
	case overLimit:
		cents += s.limit
	case otherResource:
		a.resource += otherSuffix
	case unknownAction:
		a.action = otherAction
	}
	b := append(m.body[:0], `{"agentId":"`...)
	b = append(b, s.agent.id...)
	b = append(b, `","action":"`...)
	b = append(b, a.action...)
	b = append(b, `","resource":"`...)
	b = append(b, a.resource...)
	b = append(b, `","amount":"`...)
	start := len(b)
	b = appendCents(b, cents)
	a.amount = string(b[start:])
	b = append(b, `","currency":"USD"}`...)
	m.body, a.body = b, b
	return a
}

// slot picks what to ask about: anything, or, when some slots are being
// changed, one of those in a quarter of the cases.
func (m *mix) slot() *slot {
	if n := len(m.plan.hot); n > 0 && m.rng.IntN(4) == 0 {
		if s := m.plan.hot[m.rng.IntN(n)].Load(); s != nil {
			return s
		}
	}
	agent := m.plan.agents[m.rng.IntN(len(m.plan.agents))]
	return agent.slots[m.rng.IntN(len(agent.slots))]
}

func appendCents(b []byte, cents int) []byte {
	b = strconv.AppendInt(b, int64(cents/100), 10)
	return append(b, '.', byte('0'+cents/10%10), byte('0'+cents%10))
}
