package delivery

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/behalf-platform/behalf/domain"
)

// model is a lane that anything happens to, with what is known of each message
// from outside.
type model struct {
	*bench
	endpoint Endpoint
	agents   []domain.AgentID // of the messages, the first one is message 1
	saved    []byte
	offered  uint64 // in this life
	taken    map[uint64]bool
	given    map[uint64]bool // up: dead, or unwanted
	newest   map[domain.AgentID]uint64
}

// TestAnyLane has anything happen to a lane, crashes included.
func TestAnyLane(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		o := rapid.SampledFrom([]Ordering{Parallel, PerAgent, Strict}).Draw(t, "ordering")
		m := &model{bench: newBench(o), taken: map[uint64]bool{}, given: map[uint64]bool{}, newest: map[domain.AgentID]uint64{}}
		m.endpoint = Endpoint{ID: "whe_a", Ordering: o}
		m.rules.Parked = rapid.IntRange(1, 20).Draw(t, "parked")
		m.rules.Window = rapid.IntRange(8, 30).Draw(t, "window")
		m.rules.DisableAfter = 1000 * time.Hour
		m.save(t)
		t.Repeat(map[string]func(*rapid.T){
			"happens": m.happens, "sends": m.sends, "comes": m.comes, "passes": m.passes, "save": m.save, "crash": m.crash, "": m.check,
		})
		m.end(t)
	})
}

func (m *model) happens(t *rapid.T) {
	for range rapid.IntRange(1, 10).Draw(t, "events") {
		agent := rapid.SampledFrom([]domain.AgentID{"a", "b", "c"}).Draw(t, "agent")
		m.agents = append(m.agents, agent)
	}
	m.fill()
}

// fill offers what there is room for.
func (m *model) fill() {
	for m.offered < uint64(len(m.agents)) && m.room() > 0 {
		m.offered++
		m.offer(&Message{ID: fmt.Sprint(m.offered), Seq: m.offered, Agent: m.agents[m.offered-1], At: dawn})
	}
	if m.offered == uint64(len(m.agents)) {
		m.pass(through(m.offered))
	}
}

func (m *model) sends(t *rapid.T) {
	m.fill()
	for {
		it, _ := m.next(m.now)
		if it == nil {
			break
		}
		if m.on[it.place.Seq] != nil {
			t.Fatalf("%d is sent while it is on its way", it.place.Seq)
		}
		m.on[it.place.Seq] = it
	}
	busy := map[domain.AgentID]int{}
	for _, it := range m.on {
		busy[it.agent]++
	}
	for agent, n := range busy {
		if m.ordering == PerAgent && n > 1 {
			t.Fatalf("%d of %s are on their way", n, agent)
		}
	}
	if len(m.on) > m.most {
		t.Fatalf("%d are on their way, want no more than %d", len(m.on), m.most)
	}
}

var results = []Result{
	fine, fine, fine, no, broken, away, tooMany, moved,
	{Category: Timeout},
	{Category: Unready},
	{Category: Aborted},
	{Category: Expired},
	asked(429, time.Hour),
}

func (m *model) comes(t *rapid.T) {
	if len(m.on) == 0 {
		t.Skip("nothing is on its way")
	}
	seq := rapid.SampledFrom(slices.Sorted(maps.Keys(m.on))).Draw(t, "which")
	m.come(t, seq, rapid.SampledFrom(results).Draw(t, "result"))
}

func (m *model) come(t *rapid.T, seq uint64, r Result) {
	it := m.on[seq]
	delete(m.on, seq)
	if classify(r) == delivered {
		m.arrive(t, seq)
	}
	outcome := m.settle(it, r, m.now)
	if outcome == OutcomeDead || classify(r) == unwanted {
		m.given[seq] = true
	}
}

// arrive is a message being taken by the endpoint.
func (m *model) arrive(t *rapid.T, seq uint64) {
	if m.taken[seq] {
		return
	}
	m.taken[seq] = true
	if m.given[seq] { // which a crash may have forgotten
		return
	}
	of := m.agents[seq-1]
	switch m.ordering {
	case Parallel:
		return
	case Strict:
		of = ""
	case PerAgent:
	}
	if seq < m.newest[of] {
		t.Fatalf("%d of %s comes after %d", seq, of, m.newest[of])
	}
	m.newest[of] = seq
}

func (m *model) passes(t *rapid.T) {
	m.now = m.now.Add(rapid.SampledFrom([]time.Duration{time.Second, time.Minute, time.Hour, 24 * time.Hour}).Draw(t, "time"))
}

func (m *model) save(t *rapid.T) {
	raw, err := m.state().encode()
	if err != nil {
		t.Fatal(err)
	}
	m.saved = raw
}

// crash begins another life with what was saved. What is on its way may still
// have arrived.
func (m *model) crash(t *rapid.T) {
	for _, seq := range slices.Sorted(maps.Keys(m.on)) {
		if rapid.Bool().Draw(t, "arrived") {
			m.arrive(t, seq)
		}
	}
	s, err := decodeState(m.saved)
	if err != nil {
		t.Fatal(err)
	}
	rules := m.rules
	m.lane = newLane(m.endpoint, rules, Place{}, func() float64 { return 1 })
	m.restore(s, rapid.Bool().Draw(t, "changed"), m.now)
	m.on = map[uint64]*item{}
	m.offered = s.Cursor.Seq
	if s.Cursor.Index != whole && s.Cursor.Seq > 0 {
		m.offered--
	}
	m.fill()
}

// check is that nothing is behind the cursor that nobody will look at again.
func (m *model) check(t *rapid.T) {
	m.checkState(t, m.state())
	s, err := decodeState(m.saved)
	if err != nil {
		t.Fatal(err)
	}
	m.checkState(t, s)
	if len(m.parked) > m.rules.Parked {
		t.Fatalf("%d are parked, want no more than %d", len(m.parked), m.rules.Parked)
	}
}

func (m *model) checkState(t *rapid.T, s State) {
	settled := map[uint64]bool{}
	for seq := uint64(1); through(seq).Compare(s.Cursor) <= 0; seq++ {
		settled[seq] = true
	}
	for _, p := range s.Ahead {
		settled[p.Seq] = true
	}
	for _, p := range s.Parked {
		delete(settled, p.Seq)
	}
	for seq := range settled {
		if !m.taken[seq] && !m.given[seq] {
			t.Fatalf("%d is settled, and neither delivered, parked nor given up: %+v", seq, s)
		}
	}
}

// end has the endpoint take everything, after which nothing may be left.
func (m *model) end(t *rapid.T) {
	for range 10*len(m.agents) + 200 {
		m.sends(t)
		for _, seq := range slices.Sorted(maps.Keys(m.on)) {
			m.come(t, seq, fine)
		}
		m.now = m.now.Add(24 * time.Hour)
	}
	m.check(t)
	for i := range m.agents {
		if seq := uint64(i + 1); !m.taken[seq] && !m.given[seq] {
			t.Fatalf("%d is never delivered; the lane is %s", seq, is(m.bench))
		}
	}
	if !m.idle() || m.cursor().Seq != uint64(len(m.agents)) {
		t.Fatalf("all is delivered, but the lane is %s", is(m.bench))
	}
}
