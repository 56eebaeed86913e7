package projections

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/behalf-platform/behalf/domain"
)

// traffic is a sound log of some days: agents that are granted and revoked, that
// ask and are silent, while it is changed for how long their decisions are kept.
// The marks say where it reached just before each record.
func traffic(random *rand.Rand, most time.Duration) (*writer, []Mark) {
	w, marks := newWriter(), []Mark(nil)
	agents := []domain.AgentID{"agent_a", "agent_b", "agent_c"}
	step := func(by time.Duration) {
		w.now = w.now.Add(by)
		marks = append(marks, Mark{Seq: uint64(len(w.records)), At: w.now})
	}
	for _, id := range agents {
		w.add(id, "member:mem_owner", domain.AgentRegistered{Name: "A", Type: domain.Native, Key: "hash"})
	}
	for i := range 50 {
		step(time.Duration(random.Int64N(int64(most))))
		agent := agents[random.IntN(len(agents))]
		switch random.IntN(12) {
		case 0:
			keep := []time.Duration{0, day, 2 * day, 3 * day}[random.IntN(4)]
			w.add("", "member:mem_owner", domain.AccountSettingsChanged{Name: "Home", Currency: "USD", DecisionRetention: domain.Duration(keep)})
		case 1:
			w.add(agent, "member:mem_owner", domain.PermissionGranted{
				PermissionID: domain.PermissionID(fmt.Sprint("perm_", i)), Terms: domain.Terms{Action: "purchase", MaxAmount: "500.00", Currency: "USD"},
			})
		default:
			w.decide(agent, domain.Decimal(fmt.Sprint(100*(1+random.IntN(9)))))
			w.records[len(w.records)-1].Keep = w.account.Retention.Keep()
		}
	}
	return w, marks
}

// expired reports whether the log may have let go of a record at a moment.
func expired(r *domain.Recorded, now time.Time) bool {
	return r.Keep > 0 && !r.LoggedAt.Add(r.Keep).After(now)
}

// checkHoles audits what a log still holds.
func checkHoles(records []domain.Recorded, head uint64, marks []Mark, now time.Time) (*Audit, error) {
	a := &Audit{MostSkew: time.Second, Clock: func() time.Time { return now }, Marks: marks}
	for _, r := range records {
		if err := a.Check(r, nil); err != nil {
			return a, err
		}
	}
	return a, a.End(head)
}

// Whatever has expired of a sound log, and is gone or isn't yet, it is sound. And
// of what has not expired nothing can be lost that the audit doesn't see: with
// marks that say when each record came, it is a fault; with some or none it is a
// fault or is named as where it could lie. Only the newest event of a stream, lost
// where decisions have expired, goes without.
func TestAuditOfRandomTrafficThatExpires(t *testing.T) {
	t.Parallel()
	for seed := range uint64(12) {
		random := rand.New(rand.NewPCG(seed, 1))
		w, all := traffic(random, []time.Duration{time.Minute, time.Hour, 6 * time.Hour}[seed%3])
		now := w.now.Add(time.Duration(random.Int64N(int64(4 * day))))
		head := uint64(len(w.records))
		var left []domain.Recorded
		for _, r := range w.records {
			if !expired(&r, now) || random.IntN(8) == 0 { // it isn't swept at once
				left = append(left, r)
			}
		}
		var some []Mark
		for _, m := range all {
			if random.IntN(5) == 0 {
				some = append(some, m)
			}
		}
		for _, marks := range [][]Mark{nil, some, all} {
			if _, err := checkHoles(left, head, marks, now); err != nil {
				t.Fatalf("seed %d, %d marks: a sound log: got %v, want none", seed, len(marks), err)
			}
		}
		for i, r := range left {
			if expired(&r, now) {
				continue
			}
			lost := slices.Delete(slices.Clone(left), i, i+1)
			for _, marks := range [][]Mark{nil, some, all} {
				a, err := checkHoles(lost, head, marks, now)
				named := slices.ContainsFunc(a.Holes, func(h Hole) bool { return h.First <= r.Position.Seq && r.Position.Seq <= h.Last })
				if len(marks) == len(all) {
					named = false // what is known is enough
				}
				if err == nil && !named && !unseen(&r, w, now) {
					t.Errorf("seed %d, %d marks: without %d, %s, kept for %s of %s: got holes %v, want a fault or it named",
						seed, len(marks), r.Position.Seq, r.Event.Kind(), r.Keep, now.Sub(r.LoggedAt), a.Holes)
				}
			}
		}
	}
}

// unseen reports whether a record can go unnoticed, as the README says: the newest
// event of a stream beside decisions that have expired, or a decision that was
// made while nodes might still decide by another setting.
func unseen(r *domain.Recorded, w *writer, now time.Time) bool {
	var before time.Duration // of the setting that held a moment before
	for _, s := range w.records[:r.Position.Seq-1] {
		if e, ok := s.Event.(domain.AccountSettingsChanged); ok && time.Duration(e.DecisionRetention) != before {
			young := r.LoggedAt.Sub(s.LoggedAt) <= domain.RetentionMargin+skewed
			if old := before; young && old > 0 && r.LoggedAt.Add(old+domain.RetentionMargin-skewed).Before(now) {
				return true
			}
			before = time.Duration(e.DecisionRetention)
		}
	}
	gone := before > 0 && r.LoggedAt.Add(before+domain.RetentionMargin-skewed).Before(now)
	if !r.Moves() {
		return gone && r.Keep > 0 // within a moment of its time
	}
	for _, s := range w.records[r.Position.Seq:] {
		if s.Stream() == r.Stream() && (s.Moves() || !expired(&s, now)) {
			return false // it stands on r
		}
	}
	return true
}

// skewed is more than the audit grants to clocks, twice.
const skewed = 5 * time.Second
