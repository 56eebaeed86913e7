package handlers_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers"
	"github.com/behalf-platform/behalf/projections"
)

// logged is what the log holds that matches, by sequence.
func (b *bed) logged(wanted func(*domain.Recorded) bool) (seqs []uint64) {
	b.t.Helper()
	err := b.log.Join().Scan(context.Background(), domain.Scan{}, func(r domain.Recorded, err error) error {
		if err == nil && wanted(&r) {
			seqs = append(seqs, r.Position.Seq)
		}
		return err
	})
	if err != nil {
		b.t.Fatalf("scan: %v", err)
	}
	return seqs
}

// leap has the clocks of the log and a node go on. To sleep for days is to have
// all that looks again each moment do so.
func (b *bed) leap(n *node, d time.Duration) {
	b.ahead += d
	b.log.Skew(b.ahead)
	n.offset.Store(int64(b.ahead))
	time.Sleep(5 * time.Second)
}

func isPlain(r *domain.Recorded) bool {
	d, ok := r.Event.(domain.DecisionMade)
	return ok && !d.Moves()
}

func moves(r *domain.Recorded) bool { return r.Moves() }

func TestDecisionsAreKeptAsLongAsTheAccountSays(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		o := b.office(t, `{"action":"purchase","maxAmount":500,"currency":"USD","budgets":[{"amount":300,"currency":"USD","per":"total"}]}`)
		stop := o.n.project()
		for _, refused := range []string{`"1h"`, `"87601h"`, `"24h30m"`, `"1d"`, `24`, `""`} {
			o.must(400, "PATCH", "/v1/account", o.token, `{"decisionRetention":`+refused+`}`)
		}
		o.must(403, "PATCH", "/v1/account", o.tokens["ben"], `{"decisionRetention":"24h"}`)
		r := o.must(200, "PATCH", "/v1/account", o.tokens["amy"], `{"decisionRetention":"24h"}`)
		if r.body["decisionRetention"] != "24h" {
			t.Errorf("got %s, want the setting", r.text)
		}
		spent := o.verified(`{"action":"purchase","amount":120}`, "ALLOWED").body["requestId"].(string)
		plain := o.verified(`{"action":"purchase","amount":700,"idempotencyKey":"one"}`, "AMOUNT_EXCEEDS_LIMIT").body["requestId"].(string)
		o.verified(`{"action":"purchase","amount":700}`, "AMOUNT_EXCEEDS_LIMIT")
		events, passport := b.logged(moves), o.must(200, "GET", "/v1/passport", o.key, "").text
		paths := func(id string) []string {
			return []string{"/v1/decisions/" + id, "/v1/decisions/" + id + "?explain=true"}
		}
		wantAll := func(what string, status, listed int) {
			t.Helper()
			for _, id := range []string{spent, plain} {
				for _, path := range paths(id) {
					o.must(status, "GET", path, o.token, "")
					o.must(status, "GET", path, o.key, "")
				}
			}
			list := o.must(200, "GET", "/v1/decisions", o.token, "").body["decisions"].([]any)
			if len(list) != listed {
				t.Errorf("%s: %d decisions are listed, want %d", what, len(list), listed)
			}
		}
		time.Sleep(caughtUp)
		wantAll("at first", 200, 3)

		b.leap(o.n, 24*time.Hour+domain.RetentionMargin)
		if got := b.logged(isPlain); len(got) > 0 {
			t.Errorf("the log still has %v", got)
		}
		if got := b.logged(moves); !slices.Equal(got, events) {
			t.Errorf("of what is kept for ever the log has %v, want %v", got, events)
		}
		wantAll("after a day", 404, 0)
		if usage := o.must(200, "GET", "/v1/usage", o.token, "").body["usage"].([]any); len(usage) > 0 {
			t.Errorf("got usage %v, want none of days that are not whole", usage)
		}
		if got := o.must(200, "GET", "/v1/passport", o.key, "").text; got != passport {
			t.Errorf("the passport: got %s, want %s", got, passport)
		}
		o.must(200, "POST", "/v1/decisions/"+spent+"/outcome", o.key, `{"outcome":"executed","amount":"100"}`)
		o.must(404, "POST", "/v1/decisions/"+plain+"/outcome", o.key, `{"outcome":"executed"}`)
		again := o.verified(`{"action":"purchase","amount":700,"idempotencyKey":"one"}`, "AMOUNT_EXCEEDS_LIMIT").body["requestId"]
		if again == plain {
			t.Errorf("a key that is forgotten got the decision %s, which is gone", plain)
		}

		// What is made again from what is left is the same, also where the end has gone.
		b.leap(o.n, 25*time.Hour)
		before := b.views.seqs(decisionsV1)
		if _, err := handlers.Rebuild(t.Context(), o.n.log, b.views, projections.ProjectionDecisions); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if v := b.views.version(projections.ProjectionDecisions); v != 2 {
			t.Errorf("version %d serves, want the one that was made again", v)
		}
		if got := b.views.seqs(projections.View{Projection: projections.ProjectionDecisions, Version: 2}); !slices.Equal(got, before) {
			t.Errorf("made again: got %v, want %v", got, before)
		}
		status, err := o.n.log.Status(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		if at := b.views.checkpoint(projections.View{Projection: projections.ProjectionDecisions, Version: 2}); at.Seq != status.Head {
			t.Errorf("it is at %d, want the head %d", at.Seq, status.Head)
		}
		stop()

		// A node that begins now knows the same.
		other := b.node()
		b.leap(other, 0)
		if got := other.web(t).must(200, "GET", "/v1/account", o.token, ""); got.body["decisionRetention"] != "24h" {
			t.Errorf("on another node: got %s, want the setting", got.text)
		}
		r = o.must(200, "PATCH", "/v1/account", o.token, `{"decisionRetention":"0s"}`)
		if r.body["decisionRetention"] != nil {
			t.Errorf("got %s, want for ever", r.text)
		}
	})
}

func TestAKeyWhoseDecisionIsGoneIsRefused(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		n := b.node()
		key, _ := n.agent("agent_ollie")
		a := ask()
		a.IdempotencyKey = "one"
		if _, err := n.verify(key, a); err != nil {
			t.Fatal(err)
		}
		n.log.FailRead(fmt.Errorf("read: %w", domain.ErrNotRecorded))
		_, err := n.verify(key, a)
		wantCode(t, err, string(domain.KeyReused))
	})
}

func TestWhatIsBeingMadeIsPrunedBeforeItServes(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		n := b.node()
		key, _ := n.agent("agent_ollie")
		n.decide(key, 40) // which the log keeps for ever
		b.leap(n, 48*time.Hour)
		day := domain.LeastRetention
		if _, err := n.ChangeSettings(t.Context(), b.owner, domain.ChangeSettings{DecisionRetention: &day}); err != nil {
			t.Fatal(err)
		}
		n.decide(key, 3)
		n.project()
		time.Sleep(2 * handlers.PruneEvery)
		if got := b.views.seqs(decisionsV1); len(got) != 3 {
			t.Fatalf("got the rows %v, want three", got)
		}
		var most int
		b.views.breaks(nil, func(call string) error {
			if call == "switch" {
				most = len(b.views.views[projections.View{Projection: projections.ProjectionDecisions, Version: 2}].decisions)
			}
			return nil
		})
		if _, err := handlers.Rebuild(t.Context(), n.log, b.views, projections.ProjectionDecisions); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if v := b.views.version(projections.ProjectionDecisions); v != 2 || most != 3 {
			t.Errorf("version %d serves, and had %d rows when it began; want 2 and 3", v, most)
		}
	})
}
