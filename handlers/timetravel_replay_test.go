package handlers_test

import (
	"context"
	"testing"

	"pgregory.net/rapid"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/projections"
)

// history makes a random history with every feature, by two nodes.
func history(rt *rapid.T) *world {
	w := newWorld(rt)
	w.seen = map[string]int{}
	for range 4 {
		w.grant()
	}
	rt.Repeat(map[string]func(*rapid.T){
		"":            func(*rapid.T) {},
		"grant":       w.step(w.grant),
		"replace":     w.step(w.replace),
		"revoke":      w.step(w.revoke),
		"disable":     w.step(w.disable),
		"drive":       w.step(w.drive),
		"limit":       w.step(w.limit),
		"change role": w.step(w.changeRole),
		"verify":      w.step(w.verify),
		"verify more": w.step(w.verify),
		"verify most": w.step(w.verify),
		"again":       w.step(w.again),
		"approve":     w.step(w.approve),
		"approve too": w.step(w.approve),
		"deny":        w.step(w.deny),
		"cancel":      w.step(w.cancel),
		"settle":      w.step(w.settle),
		"wait":        w.step(w.wait),
		"ring":        w.step(w.ring),
		"restart":     w.step(w.restart),
		"follow":      w.step(func() { w.node().catchUp() }),
	})
	return w
}

// read hands over all that the lab's log holds.
func (l *lab) read(take func(domain.Recorded, error) error) error {
	return l.log.Join().Scan(context.Background(), domain.Scan{}, take)
}

func TestReplayOfWhatVerifyDecided(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		w := history(rt)
		replay := projections.Replay{MostShown: 3}
		if err := replay.Run(w.read); err != nil {
			rt.Fatalf("replay: %v", err)
		}
		if replay.Different != 0 {
			rt.Errorf("got %d different of %d, want none: %+v", replay.Different, replay.Decisions, replay.Shown()[0])
		}
	})
}

// A candidate under which nothing can come out otherwise changes nothing, in
// either mode, from wherever the range begins.
func TestWhatIfNothingIsOtherwise(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		w := history(rt)
		candidate := projections.Candidate{Agents: map[domain.AgentID]projections.AgentCandidate{}}
		for id := range w.agents {
			candidate.Agents[id] = projections.AgentCandidate{Add: []domain.Terms{{Action: "never:asked"}}}
		}
		var head uint64
		if err := w.read(func(r domain.Recorded, err error) error { head = r.Position.Seq; return err }); err != nil {
			rt.Fatal(err)
		}
		from := rapid.Uint64Range(0, head).Draw(rt, "from")
		for _, mode := range []projections.WhatIfMode{projections.RecordedState, projections.Consequences} {
			whatIf := projections.WhatIf{Range: projections.Range{From: from}, Candidate: candidate, Mode: mode, MostExamples: 3}
			report, err := whatIf.Run(w.read)
			if err != nil {
				rt.Fatalf("%s: %v", mode, err)
			}
			for _, c := range report.Changes {
				rt.Errorf("%s from %d: got a change, want none: %+v", mode, from, c)
			}
		}
	})
}
