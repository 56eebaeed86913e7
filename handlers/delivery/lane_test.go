package delivery

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/behalf-platform/behalf/domain"
)

// day one of all tables; nothing in a lane asks what time it is.
var dawn = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// bench is a lane and the time by which it is told things.
type bench struct {
	*lane
	now time.Time
	on  map[uint64]*item // on their way
}

func newBench(o Ordering) *bench {
	e := Endpoint{ID: "whe_a", Account: "acct_a", Ordering: o}
	return &bench{newLane(e, Usual(), Place{}, func() float64 { return 1 }), dawn, map[uint64]*item{}}
}

// step is what is done to a lane. It says what it sees.
type step func(b *bench) string

// events offers messages n to m, of an agent each.
func events(n, m uint64, agents ...domain.AgentID) step {
	return func(b *bench) string {
		for seq := n; seq <= m; seq++ {
			agent := domain.AgentID("agent_a")
			if len(agents) > 0 {
				agent = agents[(seq-n)%uint64(len(agents))]
			}
			b.offer(&Message{ID: fmt.Sprint(seq), Seq: seq, Agent: agent, At: dawn})
		}
		b.pass(through(m))
		return ""
	}
}

// sends has the lane send what it wants to, and says what that is, or when it
// wants to be asked again.
func sends(b *bench) (seen string) {
	for {
		it, wake := b.next(b.now)
		if it == nil {
			if !wake.IsZero() {
				seen += "+" + wake.Sub(b.now).String()
			}
			return seen
		}
		b.on[it.place.Seq] = it
		seen += fmt.Sprint(it.place.Seq, " ")
	}
}

// comes is what becomes of some that are on their way, and says how each came out.
func comes(r Result, seqs ...uint64) step {
	return func(b *bench) (seen string) {
		for _, seq := range seqs {
			it := b.on[seq]
			delete(b.on, seq)
			seen += b.settle(it, r, b.now) + " "
		}
		return seen
	}
}

func wait(d time.Duration) step {
	return func(b *bench) string { b.now = b.now.Add(d); return "" }
}

// is says how the lane is.
func is(b *bench) string {
	s := fmt.Sprintf("at %d", b.cursor().Seq)
	if len(b.parked) > 0 {
		s += " parked"
		for _, it := range b.parked {
			s += fmt.Sprint(" ", it.place.Seq)
		}
	}
	if b.held {
		s += " held"
	}
	if b.stopped {
		s += " stopped"
	}
	return s
}

func reports(b *bench) (seen string) {
	for _, r := range b.takeReports() {
		seen += string(r.Kind) + " "
	}
	return seen
}

// again is a step some times, each after a pause.
func again(n int, pause time.Duration, steps ...step) step {
	return func(b *bench) string {
		for range n {
			b.now = b.now.Add(pause)
			for _, s := range steps {
				s(b)
			}
		}
		return ""
	}
}

// retry sends what is due and has it come out so.
func retry(r Result) step {
	return func(b *bench) (seen string) {
		sends(b)
		var all []uint64
		for seq := range b.on {
			all = append(all, seq)
		}
		slices.Sort(all)
		return comes(r, all...)(b)
	}
}

var (
	fine    = Result{Status: 204, Category: Answered}
	no      = Result{Status: 422, Category: Answered}
	broken  = Result{Status: 500, Category: Answered}
	away    = Result{Category: Connect}
	tooMany = Result{Status: 429, Category: Answered}
	moved   = Result{Status: 302, Category: Answered}
)

func asked(status int, d time.Duration) Result {
	return Result{Status: status, Category: Answered, RetryAfter: d}
}

// saw is a step and what it must say.
type saw struct {
	do   step
	want string
}

func TestLane(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name     string
		ordering Ordering
		steps    []saw
	}{
		{"parallel has eight on their way", Parallel, []saw{
			{do: events(1, 10)},
			{sends, "1 2 3 4 5 6 7 8 "},
			{comes(fine, 3), "ok "},
			{is, "at 0"},
			{sends, "9 "},
			{comes(fine, 1, 2), "ok ok "},
			{is, "at 3"},
			{sends, "10 "},
			{comes(fine, 10, 9, 8, 7, 6, 5, 4), "ok ok ok ok ok ok ok "},
			{is, "at 10"},
		}},
		{"per agent has one of each on its way", PerAgent, []saw{
			{do: events(1, 6, "a", "b", "a")},
			{sends, "1 2 "},
			{comes(fine, 1), "ok "},
			{sends, "3 "},
			{comes(fine, 3), "ok "},
			{sends, "4 "},
			{comes(fine, 4, 2), "ok ok "},
			{sends, "5 6 "},
		}},
		{"strict has one on its way", Strict, []saw{
			{do: events(1, 3, "a", "b")}, {sends, "1 "}, {comes(fine, 1), "ok "}, {sends, "2 "}, {is, "at 1"},
		}},
		{"what an endpoint doesn't want moves the cursor", Parallel, []saw{
			{do: func(b *bench) string { b.pass(through(7)); return "" }}, {is, "at 7"}, {sends, ""},
		}},
		{"a refused message is put aside, and tried by the schedule", Parallel, []saw{
			{do: events(1, 3)},
			{sends, "1 2 3 "},
			{comes(no, 2), "failed "},
			{comes(fine, 1, 3), "ok ok "},
			{is, "at 3 parked 2"},
			{sends, "+5s"},
			{do: wait(5 * time.Second)},
			{sends, "2 "},
			{comes(no, 2), "failed "},
			{sends, "+5m0s"},
			{do: wait(5 * time.Minute)},
			{retry(no), "failed "},
			{sends, "+30m0s"},
			{do: wait(30 * time.Minute)},
			{retry(no), "failed "},
			{sends, "+2h0m0s"},
			{do: wait(2 * time.Hour)},
			{retry(no), "failed "},
			{do: wait(5 * time.Hour)},
			{retry(no), "failed "},
			{do: wait(10 * time.Hour)},
			{retry(no), "failed "},
			{do: wait(14 * time.Hour)},
			{retry(no), "failed "},
			{do: wait(20 * time.Hour)},
			{retry(no), "failed "},
			{sends, "+24h0m0s"},
			{is, "at 3 parked 2"},
			{do: wait(24 * time.Hour)},
			{retry(no), "dead "},
			{is, "at 3"},
			{reports, "exhausted "},
			{sends, ""},
		}},
		{"a refused message that is taken later is settled", Parallel, []saw{
			{do: events(1, 2)}, {sends, "1 2 "}, {comes(broken, 1), "failed "}, {comes(fine, 2), "ok "}, {do: wait(time.Minute)}, {retry(fine), "ok "}, {is, "at 2"}, {reports, ""},
		}},
		{"an agent's later messages wait behind the refused one, in order", PerAgent, []saw{
			{do: events(1, 4, "a", "b")},
			{sends, "1 2 "},
			{comes(no, 1), "failed "},
			{is, "at 1 parked 1 3"},
			{comes(fine, 2), "ok "},
			{sends, "4 +5s"},
			{do: events(5, 6, "a", "b")},
			{is, "at 3 parked 1 3 5"},
			{comes(fine, 4), "ok "},
			{sends, "6 +5s"},
			{comes(fine, 6), "ok "},
			{is, "at 6 parked 1 3 5"},
			{do: wait(5 * time.Second)},
			{sends, "1 "},
			{comes(fine, 1), "ok "},
			{sends, "3 "},
			{comes(fine, 3), "ok "},
			{sends, "5 "},
			{comes(fine, 5), "ok "},
			{is, "at 6"},
		}},
		{"in strict order all wait for a refused message", Strict, []saw{
			{do: events(1, 3)},
			{sends, "1 "},
			{comes(no, 1), "failed "},
			{is, "at 0"},
			{sends, "+5s"},
			{do: wait(5 * time.Second)},
			{retry(no), "failed "},
			{sends, "+5m0s"},
			{do: wait(5 * time.Minute)},
			{retry(fine), "ok "},
			{sends, "2 "},
			{is, "at 1"},
		}},
		{"five that fail in a row hold the lane, and one that is taken opens it", Parallel, []saw{
			{do: events(1, 20)},
			{sends, "1 2 3 4 5 6 7 8 "},
			{comes(away, 1, 2, 3, 4), "failed failed failed failed "},
			{is, "at 0"},
			{comes(away, 5), "failed "},
			{is, "at 0 held"},
			{comes(away, 6, 7, 8), "failed failed failed "},
			{sends, "+1s"},
			{do: wait(time.Second)},
			{sends, "1 "},
			{comes(away, 1), "failed "},
			{sends, "+2s"},
			{do: wait(2 * time.Second)},
			{retry(away), "failed "},
			{sends, "+4s"},
			{do: again(20, 5*time.Minute, retry(away))},
			{sends, "+5m0s"},
			{do: wait(5 * time.Minute)},
			{sends, "1 "},
			{comes(fine, 1), "ok "},
			{is, "at 1"},
			{sends, "2 "},
			{comes(fine, 2), "ok "},
			{sends, "3 4 "},
			{comes(fine, 3), "ok "},
			{sends, "5 6 "},
			{is, "at 3"},
		}},
		{"one that fails is tried again while others go on", Parallel, []saw{
			{do: events(1, 3)},
			{sends, "1 2 3 "},
			{comes(away, 1), "failed "},
			{comes(fine, 2, 3), "ok ok "},
			{is, "at 0"},
			{sends, "+1s"},
			{do: wait(time.Second)},
			{retry(fine), "ok "},
			{is, "at 3"},
		}},
		{"who refuses everything is held, and not with all put aside", Parallel, []saw{
			{do: events(1, 100)},
			{sends, "1 2 3 4 5 6 7 8 "},
			{comes(broken, 1, 2, 3, 4, 5, 6, 7, 8), "failed failed failed failed failed failed failed failed "},
			{is, "at 4 parked 1 2 3 4 held"},
			{sends, "+1s"},
			{do: wait(time.Second)},
			{sends, "5 "},
			{comes(broken, 5), "failed "},
			{is, "at 5 parked 1 2 3 4 5 held"},
			{sends, "+2s"},
			{do: wait(2 * time.Second)},
			{retry(fine), "ok "},
			{is, "at 6 parked 1 2 3 4 5"},
		}},
		{"who refuses a fifth is held", Parallel, []saw{
			{do: events(1, 100)}, {do: again(10, 0, sends, func(b *bench) string {
				var all []uint64
				for seq := range b.on {
					all = append(all, seq)
				}
				slices.Sort(all)
				comes(no, all[0])(b)
				return comes(fine, all[1:4]...)(b)
			})}, {sends, "45 46 47 48 "}, {comes(no, 41), "failed "}, {is, "at 40 parked 1 5 9 13 17 21 25 29 33 37 held"},
		}},
		{"who asks for patience gets it, and no more than an hour", Parallel, []saw{
			{do: events(1, 20)},
			{sends, "1 2 3 4 5 6 7 8 "},
			{comes(asked(429, 10*time.Minute), 1, 2), "failed failed "},
			{is, "at 0"},
			{comes(fine, 3, 4, 5, 6, 7, 8), "ok ok ok ok ok ok "},
			{sends, "+10m0s"},
			{do: wait(10 * time.Minute)},
			{sends, "1 2 9 10 11 12 13 14 "},
			{comes(asked(503, 1000*time.Hour), 1), "failed "},
			{sends, "+1h0m0s"},
			{is, "at 0"},
		}},
		{"who has too many and doesn't say for how long is left alone for longer and longer", Strict, []saw{
			{do: events(1, 2)},
			{sends, "1 "},
			{comes(tooMany, 1), "failed "},
			{sends, "+1s"},
			{do: wait(time.Second)},
			{retry(tooMany), "failed "},
			{sends, "+2s"},
			{do: again(30, time.Hour, retry(tooMany))},
			{sends, "+5m0s"},
			{is, "at 0"},
			{reports, ""},
		}},
		{"who is gone is disabled at once, and nothing is settled", Parallel, []saw{
			{do: events(1, 3)}, {sends, "1 2 3 "}, {comes(Result{Status: 410, Category: Answered}, 2), "failed "}, {is, "at 0 stopped"}, {sends, ""}, {reports, "disable "},
		}},
		{"who asks for no more is disabled at once", Parallel, []saw{
			{do: events(1, 1)}, {sends, "1 "}, {comes(Result{Status: 200, Category: Gone}, 1), "failed "}, {is, "at 0 stopped"}, {reports, "disable "},
		}},
		{"who wants a message no more doesn't get it again", PerAgent, []saw{
			{do: events(1, 2)}, {sends, "1 "}, {comes(Result{Status: 400, Category: Aborted}, 1), "failed "}, {is, "at 1"}, {sends, "2 "}, {reports, ""},
		}},
		{"what may not be sent to is disabled after three attempts", Strict, []saw{
			{do: events(1, 1)},
			{do: again(2, time.Minute, retry(Result{Category: Blocked}))},
			{reports, ""},
			{do: again(1, time.Minute, retry(Result{Category: Blocked}))},
			{is, "at 0 stopped"},
			{reports, "disable "},
		}},
		{"a redirect is not followed, and not the message's fault", Parallel, []saw{
			{do: events(1, 1)}, {sends, "1 "}, {comes(moved, 1), "failed "}, {is, "at 0"}, {sends, "+1s"},
		}},
		{"who is down for days is warned about, and disabled", Parallel, []saw{
			{do: events(1, 1)},
			{do: again(6, time.Second, retry(away))},
			{reports, ""},
			{do: again(12, 5*time.Minute, retry(away))},
			{reports, "failing "},
			{do: again(280, 5*time.Minute, retry(away))},
			{reports, "failing "},
			{do: again(580, 5*time.Minute, retry(away))},
			{reports, "failing "},
			{do: again(570, 5*time.Minute, retry(away))},
			{reports, "disable "},
			{is, "at 0 held stopped"},
		}},
		{"that it is back is reported if that it was gone was", Parallel, []saw{
			{do: events(1, 1)}, {do: again(20, 5*time.Minute, retry(away))}, {reports, "failing "}, {do: again(1, 5*time.Minute, retry(fine))}, {reports, "recovered "}, {is, "at 1"},
		}},
		{"what we can't send is nobody's fault", Parallel, []saw{
			{do: events(1, 1)}, {do: again(3000, 5*time.Minute, retry(Result{Category: Unready}))}, {reports, ""}, {is, "at 0"},
		}},
		{"what the log doesn't hold any more is dead", Parallel, []saw{
			{do: events(1, 1)}, {sends, "1 "}, {comes(no, 1), "failed "}, {do: wait(time.Minute)}, {retry(Result{Category: Expired}), "dead "}, {is, "at 1"}, {reports, "exhausted "},
		}},
		{"one that alone times out is put aside in the end", Parallel, []saw{
			{do: events(1, 40)}, {do: again(5, time.Minute, func(b *bench) string {
				sends(b)
				for seq := range b.on {
					if seq != 1 {
						comes(fine, seq)(b)
					}
				}
				return comes(Result{Category: Timeout}, 1)(b)
			})}, {is, "at 36 parked 1"},
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(test.ordering)
			for i, s := range test.steps {
				if got := s.do(b); got != s.want {
					t.Errorf("step %d: got %q, want %q", i+1, got, s.want)
				}
			}
		})
	}
}

func TestALaneWithNoRoomToPutAsideWaits(t *testing.T) {
	t.Parallel()
	b := newBench(Parallel)
	b.rules.Parked, b.rules.Guard, b.rules.Strikes = 2, 1, 1000
	events(1, 4)(b)
	sends(b)
	comes(no, 1, 2, 3)(b)
	comes(fine, 4)(b)
	if got, want := is(b), "at 2 parked 1 2"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	b.now = b.now.Add(5 * time.Second)
	if got := retry(fine)(b); got != "ok ok " {
		t.Errorf("got %s, want both to be taken", got)
	}
	b.now = b.now.Add(time.Hour)
	if got := retry(no)(b); got != "failed " {
		t.Errorf("got %s, want the third to be tried", got)
	}
	if got, want := is(b), "at 4 parked 3"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestRate(t *testing.T) {
	t.Parallel()
	b := newBench(Parallel)
	b.bucket.rate = 20
	sent := 0
	for range 100 { // of a tenth of a second each
		events(uint64(sent+1), uint64(sent+10))(b)
		b.queue, b.seen = b.queue[:0], Place{}
		events(1, 10)(b)
		for {
			it, _ := b.next(b.now)
			if it == nil {
				break
			}
			sent++
			b.settle(it, fine, b.now)
		}
		b.now = b.now.Add(100 * time.Millisecond)
	}
	if sent < 195 || sent > 202 {
		t.Errorf("got %d in ten seconds, want 200", sent)
	}
}

func TestClassify(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		want    class
		results []Result
	}{
		{delivered, []Result{answered(200), answered(204), answered(299)}},
		{refused, []Result{answered(400), answered(401), answered(404), answered(422), answered(500), answered(501), answered(505)}},
		{down, []Result{answered(502), answered(503), answered(504), answered(301), answered(308), answered(100), {Category: DNS}, {Category: TLS}, {Category: Timeout}, {Category: Broken}, {}, {Status: 200}}},
		{throttled, []Result{answered(429), asked(429, time.Second), asked(503, time.Second)}},
		{gone, []Result{answered(410), {Category: Gone}}},
		{unwanted, []Result{{Category: Aborted, Status: 500}}},
		{blocked, []Result{{Category: Blocked}}},
	} {
		for _, r := range test.results {
			if got := classify(r); got != test.want {
				t.Errorf("%+v: got class %d, want %d", r, got, test.want)
			}
		}
	}
}

func answered(status int) Result { return Result{Status: status, Category: Answered} }
