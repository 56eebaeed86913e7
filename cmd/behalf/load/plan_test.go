package load

import (
	"slices"
	"testing"
)

func TestJudge(t *testing.T) {
	t.Parallel()
	standsA := &phase{step: granted, id: "a"}
	leavesA := &phase{step: revoking, id: "a"}
	goneA := &phase{step: revoked, id: "a", dead: []string{"a"}}
	comesB := &phase{step: granting, id: "a", dead: []string{"a"}}
	standsB := &phase{step: granted, id: "b", dead: []string{"a"}}
	goneB := &phase{step: revoked, id: "b", dead: []string{"a", "b"}}
	standsC := &phase{step: granted, id: "c", dead: []string{"a", "b"}}

	allowed := func(id string) wanted { return wanted{"allowed", "ALLOWED", id} }
	over := func(id string) wanted { return wanted{"denied", "AMOUNT_EXCEEDS_LIMIT", id} }
	gone := func(id string) wanted { return wanted{"denied", "PERMISSION_REVOKED", id} }
	none := wanted{"denied", "NO_PERMISSION", ""}

	for _, c := range []struct {
		name          string
		kind          kind
		before, after *phase
		got           wanted
		want          judgement
	}{
		{"stands", right, standsA, standsA, allowed("a"), correct},
		{"stands, over the limit", overLimit, standsA, standsA, over("a"), correct},
		{"stands, other resource", otherResource, standsA, standsA, wanted{"denied", "RESOURCE_NOT_ALLOWED", "a"}, correct},
		{"stands, unknown action", unknownAction, standsA, standsA, none, correct},
		{"stands, and is denied", right, standsA, standsA, gone("a"), wrong},
		{"stands, allowed over the limit", overLimit, standsA, standsA, allowed("a"), wrong},
		{"stands, right outcome, wrong code", overLimit, standsA, standsA, wanted{"denied", "RESOURCE_NOT_ALLOWED", "a"}, wrong},
		{"stands, allowed by another", right, standsA, standsA, allowed("x"), wrong},
		{"unknown action allowed", unknownAction, standsA, standsA, allowed(""), wrong},

		{"is gone", right, goneA, goneA, gone("a"), correct},
		{"is gone, over the limit", overLimit, goneA, goneA, gone("a"), correct},
		{"is gone, unknown action", unknownAction, goneA, goneA, none, correct},
		{"is gone, and allowed", right, goneA, goneA, allowed("a"), violation},
		{"is gone, and allowed by nobody knows what", right, goneA, goneA, allowed("x"), violation},
		{"is gone, and allowed over the limit", overLimit, goneA, goneA, allowed("a"), violation},
		{"is gone, and judged as if it stood", overLimit, goneA, goneA, over("a"), wrong},

		{"revocation under way, allowed", right, leavesA, leavesA, allowed("a"), correct},
		{"revocation under way, denied", right, leavesA, leavesA, gone("a"), correct},
		{"revoked meanwhile, allowed", right, standsA, goneA, allowed("a"), correct},
		{"revoked meanwhile, denied", right, standsA, goneA, gone("a"), correct},
		{"revoked meanwhile, wrong code", overLimit, standsA, goneA, none, wrong},

		{"grant under way, allowed by the new one", right, comesB, comesB, allowed("b"), correct},
		{"grant under way, still gone", right, comesB, comesB, gone("a"), correct},
		{"grant under way, allowed by the dead one", right, comesB, comesB, allowed("a"), violation},
		{"grant under way, judged by the dead one", overLimit, comesB, comesB, over("a"), wrong},
		{"grant under way, the new one can't be gone", right, comesB, comesB, gone("b"), wrong},
		{"granted meanwhile", right, goneA, standsB, allowed("b"), correct},
		{"granted meanwhile, still gone", right, goneA, standsB, gone("a"), correct},
		{"granted meanwhile, allowed by the dead one", right, goneA, standsB, allowed("a"), violation},
		{"granted meanwhile, allowed by nobody knows what", right, goneA, standsB, allowed("x"), wrong},
		{"granted long ago, allowed by the dead one", right, standsB, standsB, allowed("a"), violation},

		{"all round meanwhile, by the first", right, standsA, standsC, allowed("a"), correct},
		{"all round meanwhile, by the one between", right, standsA, standsC, allowed("b"), correct},
		{"all round meanwhile, the one between gone", right, standsA, standsC, gone("b"), correct},
		{"all round meanwhile, by the last", right, standsA, standsC, allowed("c"), correct},
		{"all round meanwhile, the last can't be gone", right, standsA, standsC, gone("c"), wrong},
		{"all round meanwhile, the first was dead before", right, goneA, standsC, allowed("a"), violation},
		{"revoked twice meanwhile", right, standsB, goneB, gone("b"), correct},
	} {
		if got := judge(c.kind, c.before, c.after, c.got); got != c.want {
			t.Errorf("%s: got %d, want %d", c.name, got, c.want)
		}
	}
}

func TestTheSameSeedAsksTheSame(t *testing.T) {
	t.Parallel()
	p := newPlan("x", 20, 5)
	asks := func(seed uint64, worker int) (bodies []string) {
		m := newMix(p, seed, worker)
		for range 100 {
			bodies = append(bodies, string(m.next().body))
		}
		return bodies
	}
	if !slices.Equal(asks(1, 0), asks(1, 0)) {
		t.Error("the same seed and worker ask differently")
	}
	if slices.Equal(asks(1, 0), asks(2, 0)) || slices.Equal(asks(1, 0), asks(1, 1)) {
		t.Error("another seed or worker asks the same")
	}
}

func TestHalfOfTheMixIsAllowed(t *testing.T) {
	t.Parallel()
	m := newMix(newPlan("x", 20, 5), 1, 0)
	var kinds [4]int
	const n = 6000
	for range n {
		kinds[m.next().kind]++
	}
	for k, want := range []int{n / 2, n / 6, n / 6, n / 6} {
		if got := kinds[k]; got < want*9/10 || got > want*11/10 {
			t.Errorf("got %d of kind %d, want about %d", got, k, want)
		}
	}
}
