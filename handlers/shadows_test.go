package handlers_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers"
	"github.com/behalf-platform/behalf/projections"
)

const ollie domain.AgentID = "agent_ollie"

// shadowing has the node run shadows, until stop is called or the test ends.
func (n *node) shadowing() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var run sync.WaitGroup
	run.Go(func() {
		if err := n.Shadows.Run(ctx); err != nil {
			n.bed.t.Errorf("run shadows: %v", err)
		}
	})
	stop = func() { cancel(); run.Wait() }
	n.bed.t.Cleanup(stop)
	return stop
}

func (b *bed) asOwner() handlers.Caller { return handlers.Caller{Member: b.owner} }

// shadow starts a shadow in which the agent may spend half and read its mail.
func (n *node) shadow(p domain.PermissionID) handlers.ShadowView {
	n.bed.t.Helper()
	return n.shadowFor(p, "168h")
}

func (n *node) shadowFor(p domain.PermissionID, long string) handlers.ShadowView {
	n.bed.t.Helper()
	body := fmt.Sprintf(`{"for":%q,"candidate":{"replace":{%q:{"action":"purchase","vendors":"coachella.com","maxAmount":"250"}},"add":[{"action":"mail.read"}]},"note":"half"}`, long, p)
	v, err := n.Shadows.Start(n.bed.t.Context(), n.bed.asOwner(), ollie, []byte(body))
	if err != nil {
		n.bed.t.Fatalf("start a shadow: %v", err)
	}
	return v
}

// asks verifies a round of requests: one comes out as it did, one stricter and
// one looser.
func (n *node) asks(key domain.TokenHash) {
	n.bed.t.Helper()
	for _, a := range []*domain.Ask{
		{Action: "purchase", Vendor: "coachella.com", Amount: "120"}, {Action: "purchase", Vendor: "coachella.com", Amount: "400"}, {Action: "mail.read"},
	} {
		if _, err := n.verify(key, a); err != nil {
			n.bed.t.Fatalf("verify: %v", err)
		}
	}
}

// after is what so many rounds come to.
func after(rounds uint64) domain.ShadowTotals {
	allowed, none := domain.Came{Outcome: "allowed", ReasonCode: "ALLOWED"}, domain.Came{Outcome: "denied", ReasonCode: "NO_PERMISSION"}
	return domain.ShadowTotals{
		Decided: 3 * rounds, Same: rounds, Stricter: rounds, Looser: rounds,
		Changes: []domain.ShadowChange{
			{From: allowed, To: domain.Came{Outcome: "denied", ReasonCode: "AMOUNT_EXCEEDS_LIMIT"}, Count: rounds}, {From: none, To: allowed, Count: rounds},
		},
		Money: []domain.ShadowMoney{{Currency: "USD", Allowed: "0.00", Stopped: domain.Decimal(fmt.Sprintf("%d.00", 400*rounds))}},
	}
}

// wantShadow fails unless the shadow stands so, and each decision was recorded
// once and in order.
func (n *node) wantShadow(state domain.ShadowState, because domain.ShadowEnd, counts domain.ShadowTotals) handlers.ShadowView {
	n.bed.t.Helper()
	v, err := n.Shadows.Find(context.Background(), n.bed.asOwner(), ollie)
	if err != nil || v.State != state || v.Because != because || !reflect.DeepEqual(v.Counts, counts) {
		n.bed.t.Errorf("got  %+v, %v\nwant %s %s %+v", v, err, state, because, counts)
	}
	last := map[domain.ShadowID]uint64{}
	for _, r := range n.bed.shadowed() {
		if d, ok := r.Event.(domain.ShadowDecided); ok {
			if d.Sequence <= last[d.ShadowID] {
				n.bed.t.Errorf("decision %d is recorded after %d", d.Sequence, last[d.ShadowID])
			}
			last[d.ShadowID] = d.Sequence
		}
	}
	return v
}

// shadowed is all that was recorded of the agent's shadows.
func (b *bed) shadowed() (all []domain.ShadowRecorded) {
	of := domain.Stream{Account: home, Agent: ollie}
	newest, err := b.shadows.Newest(context.Background(), of)
	for seq := uint64(1); err == nil && seq <= newest.Seq; seq++ {
		if r, err := b.shadows.Read(context.Background(), of, seq); err == nil {
			all = append(all, r)
		}
	}
	return all
}

func TestAShadowDecidesBesideVerify(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		n := b.node()
		key, p := n.agent(ollie)
		n.asks(key) // before it begins, and not of it
		n.shadowing()
		began := n.shadow(p)
		if began.State != domain.ShadowIsRunning || began.Until.Sub(began.StartedAt) != domain.ShadowUsually || began.StartedBy != "member:mem_owner" {
			t.Errorf("got %+v, want it to run for a week, by the owner", began)
		}
		n.asks(key)
		waiting, err := n.Shadows.Find(t.Context(), b.asOwner(), ollie)
		if err != nil || waiting.Lag.Waiting+int(waiting.Counts.Decided) != 3 {
			t.Errorf("got %+v, %v, want what is decided and what waits to be all", waiting, err)
		}
		n.asks(key)
		time.Sleep(5 * time.Second)
		v := n.wantShadow(domain.ShadowIsRunning, "", after(2))
		if *v.Lag != (handlers.ShadowLag{}) {
			t.Errorf("got %+v, want no lag", *v.Lag)
		}

		var differences []handlers.ShadowDifferenceView
		for cursor := ""; ; {
			page, err := n.Shadows.Differences(t.Context(), b.asOwner(), ollie, 3, cursor)
			if err != nil {
				t.Fatal(err)
			}
			differences = append(differences, page.Differences...)
			if cursor = page.NextCursor; cursor == "" {
				break
			}
		}
		var got []string
		for _, d := range differences {
			got = append(got, fmt.Sprintf("%s %s->%s by %s", d.Difference, d.Real.ReasonCode, d.Shadow.ReasonCode, strings.TrimPrefix(string(d.PermissionID), "new_")))
		}
		looser, stricter := "looser NO_PERMISSION->ALLOWED by 1", "stricter ALLOWED->AMOUNT_EXCEEDS_LIMIT by "+string(p)
		if want := []string{looser, stricter, looser, stricter}; !reflect.DeepEqual(got, want) {
			t.Errorf("got  %q\nwant %q, newest first", got, want)
		}
		for _, cursor := range []string{"x", "0", "1", "99"} {
			_, err := n.Shadows.Differences(t.Context(), b.asOwner(), ollie, 3, cursor)
			wantCode(t, err, "INVALID_REQUEST")
		}

		ended, err := n.Shadows.Stop(t.Context(), b.asOwner(), ollie, []byte(`{"note":"seen enough"}`))
		if err != nil || ended.StopNote != "seen enough" || ended.StoppedBy != "member:mem_owner" || ended.Lag != nil {
			t.Errorf("got %+v, %v, want it stopped by the owner", ended, err)
		}
		if again, err := n.Shadows.Stop(t.Context(), b.asOwner(), ollie, []byte(`{}`)); err != nil || !reflect.DeepEqual(again, ended) {
			t.Errorf("stop again: got %+v, %v, want no change", again, err)
		}
		n.asks(key)
		time.Sleep(5 * time.Second)
		n.wantShadow(domain.ShadowIsStopped, domain.ShadowEndedByMember, after(2))
	})
}

func TestOnlyMembersSeeAShadow(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		n := b.node()
		key, p := n.agent(ollie)
		n.shadow(p)
		viewer, _, err := n.AddMember(t.Context(), b.owner, "Vic", domain.RoleViewer)
		if err != nil {
			t.Fatal(err)
		}
		only := `{"candidate":{"only":true}}`
		callers := map[string]handlers.Caller{
			"the agent":                     {Hash: key, Agent: domain.Stream{Account: home, Agent: ollie}},
			"a viewer":                      {Member: handlers.Member{Account: home, Member: viewer}},
			"a member who is none any more": {Member: handlers.Member{Account: home, Member: domain.Member{ID: "mem_gone", Role: domain.RoleOwner}}},
			"a stranger":                    {Member: handlers.Member{Account: "acct_far", Member: domain.Member{ID: "mem_far", Role: domain.RoleOwner}}},
		}
		for who, c := range callers {
			_, start := n.Shadows.Start(t.Context(), c, ollie, []byte(only))
			_, stop := n.Shadows.Stop(t.Context(), c, ollie, []byte(`{}`))
			if start == nil || stop == nil || handlers.FaultOf(start).Status != 403 || handlers.FaultOf(stop).Status != 403 {
				t.Errorf("%s: got %v and %v, want both to be forbidden", who, start, stop)
			}
			_, find := n.Shadows.Find(t.Context(), c, ollie)
			_, differences := n.Shadows.Differences(t.Context(), c, ollie, 1, "")
			code := map[string]string{"the agent": "FORBIDDEN", "a stranger": "NOT_FOUND"}[who]
			for _, err := range []error{find, differences} {
				if code == "" && err != nil || code != "" && handlers.FaultOf(err).Code != code {
					t.Errorf("%s reads: got %v, want %q", who, err, code)
				}
			}
		}
		for _, field := range []string{"shadow", "candidate", "shadowId", "permissions"} {
			_, err := n.VerifyFor(t.Context(), callers["the agent"], []byte(fmt.Sprintf(`{"action":"purchase",%q:true}`, field)))
			if f := handlers.FaultOf(err); f.Code != "INVALID_REQUEST" || f.Field != "/"+field {
				t.Errorf("verify with %s: got %v, want the field to be refused", field, err)
			}
		}
		if got := len(b.shadowed()); got != 1 {
			t.Errorf("got %d events, want one", got)
		}
	})
}

func TestWhatNoShadowIsStartedWith(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		n := b.node()
		n.agent(ollie)
		for body, code := range map[string]string{
			`{}`:                          "INVALID_REQUEST",
			`{"candidate":{"only":null}}`: "INVALID_REQUEST",
			`{"candidate":{"add":[{"action":"a b"}]}}`:   "INVALID_REQUEST",
			`{"candidate":{"adds":[]}}`:                  "INVALID_REQUEST",
			`{"candidate":{"remove":["perm_x"]}}`:        "INVALID_REQUEST",
			`{"candidate":{"only":true},"for":"2161h"}`:  "INVALID_REQUEST",
			`{"candidate":{"only":true},"agentId":"a"}`:  "INVALID_REQUEST",
			`{"candidate":{"only":true},"after":100000}`: "INVALID_REQUEST",
		} {
			_, err := n.Shadows.Start(t.Context(), b.asOwner(), ollie, []byte(body))
			if err == nil || handlers.FaultOf(err).Code != code {
				t.Errorf("%s: got %v, want %s", body, err, code)
			}
		}
		_, err := n.Shadows.Start(t.Context(), b.asOwner(), "agent_nobody", []byte(`{"candidate":{"only":true}}`))
		wantCode(t, err, "NOT_FOUND")
		if _, err := n.DisableAgent(t.Context(), b.owner, ollie, ""); err != nil {
			t.Fatal(err)
		}
		_, err = n.Shadows.Start(t.Context(), b.asOwner(), ollie, []byte(`{"candidate":{"only":true}}`))
		wantCode(t, err, "CONFLICT")
		_, err = n.Shadows.Find(t.Context(), b.asOwner(), ollie)
		wantCode(t, err, "NOT_FOUND")
	})
}

func TestHowAShadowEnds(t *testing.T) {
	for _, c := range []struct {
		name    string
		end     func(*node)
		because domain.ShadowEnd
	}{
		{"it expires", func(n *node) { time.Sleep(time.Minute + handlers.ClockSlack) }, domain.ShadowExpired},
		{"its agent is disabled", func(n *node) {
			if _, err := n.DisableAgent(context.Background(), n.bed.owner, ollie, "leaked"); err != nil {
				n.bed.t.Fatal(err)
			}
			if _, err := n.EnableAgent(context.Background(), n.bed.owner, ollie); err != nil {
				n.bed.t.Fatal(err)
			}
		}, domain.ShadowAgentDisabled},
	} {
		t.Run(c.name, func(t *testing.T) {
			lie(t, func(t *testing.T, b *bed) {
				n := b.node()
				key, p := n.agent(ollie)
				n.shadowing()
				n.shadowFor(p, "1m")
				n.asks(key)
				c.end(n)
				n.asks(key)
				time.Sleep(5 * time.Second)
				v := n.wantShadow(domain.ShadowIsStopped, c.because, after(1))
				if v.StoppedBy != "system:shadow" {
					t.Errorf("got %s, want it ended by the system", v.StoppedBy)
				}
			})
		})
	}
}

func TestAnotherShadowTakesTheOnesPlace(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		n, other := b.node(), b.node()
		key, p := n.agent(ollie)
		n.shadowing()
		first := n.shadow(p)
		n.asks(key)
		time.Sleep(5 * time.Second)
		n.wantShadow(domain.ShadowIsRunning, "", after(1))
		second := other.shadow(p)
		if second.Supersedes != first.ShadowID || second.Counts.Decided != 0 {
			t.Errorf("got %+v, want it to supersede %s, and to count from nothing", second, first.ShadowID)
		}
		n.asks(key)
		n.asks(key)
		time.Sleep(5 * time.Second)
		v := n.wantShadow(domain.ShadowIsRunning, "", after(2))
		if v.ShadowID != second.ShadowID {
			t.Errorf("got %s, want %s", v.ShadowID, second.ShadowID)
		}
	})
}

// TestAShadowReadsInTheOrderOfTheLog has agents spend what is their account's, so
// that each decision of one stands on what the other has done, and reads a few
// records at a time.
func TestAShadowReadsInTheOrderOfTheLog(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		n := b.node()
		key, p := n.agent(ollie)
		other, _ := n.agent("agent_other")
		n.Shadows.Batch = 3
		limits := domain.Limits{Budgets: []domain.Budget{{Amount: "1000", Currency: "USD", Per: domain.InTotal}}}
		if _, err := n.SetAccountLimits(t.Context(), b.owner, limits); err != nil {
			t.Fatal(err)
		}
		n.asks(key)
		time.Sleep(time.Second)
		began := n.shadow(p)
		spend := func(key domain.TokenHash, amount domain.Decimal) {
			if _, err := n.verify(key, &domain.Ask{Action: "purchase", Vendor: "coachella.com", Amount: amount}); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 12 {
			switch i {
			case 2, 7:
				spend(other, "90")
			case 5:
				limits.Budgets[0].Amount = "1500"
				if _, err := n.SetAccountLimits(t.Context(), b.owner, limits); err != nil {
					t.Fatal(err)
				}
			}
			spend(key, domain.Decimal([]string{"100", "260", "30"}[i%3]))
		}
		n.shadowing()
		time.Sleep(5 * time.Second)
		v, err := n.Shadows.Find(t.Context(), b.asOwner(), ollie)
		if err != nil {
			t.Fatal(err)
		}
		whatIf := projections.WhatIf{
			Range: projections.Range{Agent: ollie, Since: began.StartedAt}, Mode: projections.Consequences,
			Candidate: projections.Candidate{Agents: map[domain.AgentID]projections.AgentCandidate{ollie: projections.AgentCandidate(began.Candidate)}},
		}
		want, err := whatIf.Run(func(take func(domain.Recorded, error) error) error {
			return n.log.Scan(context.Background(), domain.Scan{}, take)
		})
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]uint64{}
		for _, c := range v.Counts.Changes {
			got[fmt.Sprint(c.From, c.To)] = c.Count
		}
		wants := map[string]uint64{}
		for _, c := range want.Changes {
			wants[fmt.Sprint(c.From, c.To)] = c.Count
		}
		if v.Counts.Decided != want.Decisions || !reflect.DeepEqual(got, wants) || len(wants) < 2 {
			t.Errorf("got  %d, %v\nwant %d, %v, of two kinds or more", v.Counts.Decided, got, want.Decisions, wants)
		}
	})
}

// counted counts what is asked of the log.
type counted struct {
	handlers.FollowedLog
	asked atomic.Int64
}

func (c *counted) Status(ctx context.Context, partition uint16) (domain.LogStatus, error) {
	c.asked.Add(1)
	return c.FollowedLog.Status(ctx, partition)
}

func (c *counted) Scan(ctx context.Context, q domain.Scan, yield func(domain.Recorded, error) error) error {
	c.asked.Add(1)
	return c.FollowedLog.Scan(ctx, q, yield)
}

func TestNothingIsReadWithoutAShadow(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		n := b.node()
		log := &counted{FollowedLog: n.log}
		n.Shadows.Decisions = log
		key, p := n.agent(ollie)
		n.shadowing()
		n.asks(key)
		time.Sleep(time.Hour)
		if got := log.asked.Load(); got != 0 {
			t.Errorf("got %d reads without a shadow, want none", got)
		}
		n.shadow(p)
		n.asks(key)
		time.Sleep(5 * time.Second)
		n.wantShadow(domain.ShadowIsRunning, "", after(1))
		if _, err := n.Shadows.Stop(t.Context(), b.asOwner(), ollie, []byte(`{}`)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		log.asked.Store(0)
		time.Sleep(time.Hour)
		if got := log.asked.Load(); got != 0 {
			t.Errorf("got %d reads after its end, want none", got)
		}
	})
}

var errTorn = errors.New("the connection broke")

// TestAShadowGoesOnWhateverBreaks stops the node that records, before and after
// each append in turn, and starts another; or has the append fail where it is.
func TestAShadowGoesOnWhateverBreaks(t *testing.T) {
	for _, c := range []struct {
		name string
		kill bool
		on   func(b *bed, fail func(domain.ShadowRecord) error)
	}{
		{"killed before an append", true, func(b *bed, fail func(domain.ShadowRecord) error) { b.shadows.BeforeAppend = fail }},
		{"killed after an append", true, func(b *bed, fail func(domain.ShadowRecord) error) { b.shadows.AfterAppend = fail }},
		{"an append is not written", false, func(b *bed, fail func(domain.ShadowRecord) error) { b.shadows.BeforeAppend = fail }},
		{"an append is written and not acknowledged", false, func(b *bed, fail func(domain.ShadowRecord) error) { b.shadows.AfterAppend = fail }},
	} {
		t.Run(c.name, func(t *testing.T) {
			lie(t, func(t *testing.T, b *bed) {
				broke := make(chan struct{}, 100)
				var appends atomic.Int64
				c.on(b, func(r domain.ShadowRecord) error {
					if _, decided := r.Event.(domain.ShadowDecided); !decided || appends.Add(1)%2 == 0 {
						return nil
					}
					broke <- struct{}{}
					return errTorn
				})
				n := b.node()
				key, p := n.agent(ollie)
				n.shadow(p)
				for range 4 {
					n.asks(key)
				}
				if !c.kill {
					n.shadowing()
					time.Sleep(2 * time.Minute)
				}
				for c.kill && len(b.shadowed()) < 1+12 {
					worker := b.node()
					stop := worker.shadowing()
					select {
					case <-broke:
					case <-time.After(time.Minute):
					}
					stop()
				}
				n.asks(key)
				last := b.node()
				last.shadowing()
				time.Sleep(2 * time.Minute)
				n.wantShadow(domain.ShadowIsRunning, "", after(5))
			})
		})
	}
}

// A server that lost power may not have all of what it acknowledged. That is
// decided again.
func TestAShadowGoesOnFromWhatIsLeft(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		n := b.node()
		key, p := n.agent(ollie)
		n.shadowing()
		n.shadow(p)
		n.asks(key)
		n.asks(key)
		time.Sleep(5 * time.Second)
		n.wantShadow(domain.ShadowIsRunning, "", after(2))
		b.shadows.Lose(4)
		n.asks(key)
		time.Sleep(time.Minute)
		n.wantShadow(domain.ShadowIsRunning, "", after(3))
	})
}

func TestTwoNodesRecordAShadowOnce(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		n, other := b.node(), b.node()
		key, p := n.agent(ollie)
		var refused atomic.Int64
		for _, node := range []*node{n, other} {
			node.Shadows.Log = watched{b.shadows, &refused}
			node.Shadows.Aside = time.Second
		}
		stop := n.shadowing()
		other.shadowing()
		n.shadow(p)
		for range 30 {
			n.asks(key)
			time.Sleep(700 * time.Millisecond)
		}
		if refused.Load() == 0 {
			t.Error("no append was refused, so that the nodes never met")
		}
		stop() // the other one goes on alone
		n.asks(key)
		time.Sleep(10 * time.Second)
		n.wantShadow(domain.ShadowIsRunning, "", after(31))
	})
}

// watched counts the appends that are refused.
type watched struct {
	handlers.ShadowLog
	refused *atomic.Int64
}

func (w watched) Append(ctx context.Context, last uint64, r domain.ShadowRecord) (uint64, error) {
	time.Sleep(time.Millisecond) // in the bubble, so that others come between
	seq, err := w.ShadowLog.Append(ctx, last, r)
	if errors.Is(err, domain.ErrMoved) {
		w.refused.Add(1)
	}
	return seq, err
}

// remade is a log of another epoch.
type remade struct{ handlers.FollowedLog }

func (remade) Epoch(uint16) uint32 { return 99 }

func TestAShadowOfALogThatIsGoneEnds(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		n := b.node()
		key, p := n.agent(ollie)
		n.shadow(p)
		n.asks(key)
		n.Shadows.Decisions = remade{n.log}
		n.shadowing()
		time.Sleep(5 * time.Second)
		n.wantShadow(domain.ShadowIsStopped, domain.ShadowOfAnotherLog, domain.ShadowTotals{})
	})
}
