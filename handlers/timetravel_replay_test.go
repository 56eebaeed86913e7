package handlers_test

import (
	"context"
	"reflect"
	"slices"
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

// What is read for a range is what it needs: the whole log says the same of it.
// Every third decision is forged, so that there is something to say.
func TestReplayOfARangeNeedsNoMoreThanItReads(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		w := history(rt)
		log := w.log.Join()
		scan := func(ctx context.Context, q domain.Scan, yield func(domain.Recorded, error) error) error {
			return log.Scan(ctx, q, func(r domain.Recorded, err error) error {
				if d, ok := r.Event.(domain.DecisionMade); ok && r.Position.Seq%3 == 0 {
					d.Reason = "forged"
					r.Event = d
				}
				return yield(r, err)
			})
		}
		var records []domain.Recorded
		if err := w.read(func(r domain.Recorded, err error) error { records = append(records, r); return err }); err != nil {
			rt.Fatal(err)
		}
		head, account := uint64(len(records)), records[0].Account
		agents := []domain.AgentID{""}
		for id := range w.agents {
			agents = append(agents, id)
		}
		slices.Sort(agents)
		g := projections.Range{
			Agent:   rapid.SampledFrom(agents).Draw(rt, "agent"),
			Account: rapid.SampledFrom([]domain.AccountID{"", account}).Draw(rt, "account"),
			Through: rapid.Uint64Range(0, head).Draw(rt, "through"),
		}
		begins := uint64(0)
		switch rapid.IntRange(0, 2).Draw(rt, "bound") {
		case 1:
			g.From = rapid.Uint64Range(1, head).Draw(rt, "from")
		case 2:
			since := records[rapid.IntRange(0, len(records)-1).Draw(rt, "since")]
			g.Since = since.At
			begins = uint64(slices.IndexFunc(records, func(r domain.Recorded) bool { return !r.At.Before(g.Since) })) + 1
		}
		through := head
		if g.Through > 0 {
			through = g.Through
		}
		whole, needed := projections.Replay{Range: g, MostShown: len(records)}, projections.Replay{Range: g, MostShown: len(records)}
		err := whole.Run(func(take func(domain.Recorded, error) error) error {
			return scan(context.Background(), domain.Scan{}, take)
		})
		if err != nil {
			rt.Fatal(err)
		}
		err = needed.Run(func(take func(domain.Recorded, error) error) error {
			return g.Read(context.Background(), scan, 0, begins, through, take)
		})
		if err != nil {
			rt.Fatal(err)
		}
		if needed.Decisions != whole.Decisions || needed.Different != whole.Different || !reflect.DeepEqual(needed.Shown(), whole.Shown()) {
			rt.Errorf("%+v: got %d different of %d decisions, want %d of %d\ngot  %+v\nwant %+v",
				g, needed.Different, needed.Decisions, whole.Different, whole.Decisions, needed.Shown(), whole.Shown())
		}
		if needed.Records > whole.Records {
			rt.Errorf("got %d records read, of %d", needed.Records, whole.Records)
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
