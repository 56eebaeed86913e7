package handlers_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/behalf-platform/behalf/domain"
)

// figures are what is left of limits, as clients see them.
func figures(list any) (figures []string) {
	for _, item := range list.([]any) {
		left := item.(map[string]any)
		text := fmt.Sprintf("%v %v/%v", left["per"], left["used"], left["most"])
		if ends, ok := left["windowEndsAt"].(string); ok {
			text += " until " + ends
		}
		figures = append(figures, text)
	}
	return figures
}

func (o *office) wantFigures(what string, list any, want ...string) {
	o.web.t.Helper()
	if got := figures(list); !slices.Equal(got, want) {
		o.web.t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

func TestLimits(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		o := b.office(t, `{"action":"purchase","budgets":[{"amount":300,"currency":"USD","per":"day"}],"rates":[{"count":3,"per":"minute"}]}`)
		o.must(200, "PATCH", "/v1/account", o.token, `{"timeZone":"Asia/Tokyo"}`)
		limits := o.must(200, "PUT", "/v1/agents/agent_ollie/limits", o.token, `{"budgets":[{"amount":"400","per":"month"},{"amount":"9","currency":"EUR","per":"total"}]}`)
		const month = "month 0.00/400.00 until 2000-01-31T15:00:00Z"
		o.wantFigures("the agent's", limits.body["left"], month, "total 0.00/9.00")
		if got := o.must(200, "GET", "/v1/agents/agent_ollie/limits", o.tokens["vi"], ""); got.text != limits.text || got.body["agentId"] != "agent_ollie" {
			t.Errorf("read again: got %s, want %s", got.text, limits.text)
		}
		before := o.must(200, "PUT", "/v1/agents/agent_ollie/limits", o.token, `{"budgets":[{"amount":"400","per":"month"},{"amount":"9","currency":"EUR","per":"total"}]}`)
		if before.body["passportVersion"] != limits.body["passportVersion"] {
			t.Errorf("set again: got %s, want nothing changed", before.text)
		}

		o.verified(`{"action":"purchase"}`, "AMOUNT_REQUIRED")
		o.verified(`{"action":"purchase","amount":1,"currency":"CHF"}`, "CURRENCY_MISMATCH")
		if r := o.verified(`{"action":"purchase","amount":120}`, "ALLOWED"); r.body["reserved"] != true {
			t.Errorf("got %s, want it reserved", r.text)
		}
		r := o.verified(`{"action":"purchase","amount":"180.01"}`, "BUDGET_EXCEEDED")
		if r.body["windowEndsAt"] != "2000-01-02T00:00:00Z" || r.header.Get("Retry-After") != "" {
			t.Errorf("got %s with Retry-After %q, want the window's end and no header", r.text, r.header.Get("Retry-After"))
		}
		o.verified(`{"action":"purchase","amount":180}`, "ALLOWED")
		o.verified(`{"action":"purchase","amount":0}`, "ALLOWED")

		passport := o.must(200, "GET", "/v1/passport", o.key, "")
		o.wantFigures("the agent's in its passport", passport.body["left"], "month 300.00/400.00 until 2000-01-31T15:00:00Z", "total 0.00/9.00")
		permission := passport.body["permissions"].([]any)[0].(map[string]any)
		o.wantFigures("the permission's", permission["left"], "minute 3/3 until 2000-01-01T00:01:00Z", "day 300.00/300.00 until 2000-01-02T00:00:00Z")
		if passport.body["accountLeft"] != nil || passport.body["budgets"] == nil {
			t.Errorf("got %s, want the agent's own budgets and not the account's", passport.text)
		}
		toMember := o.must(200, "GET", "/v1/agents/agent_ollie/passport", o.tokens["vi"], "")
		if toMember.text != passport.text {
			t.Errorf("to a member: got %s, want %s", toMember.text, passport.text)
		}

		now := time.Now().UTC()
		r = o.verified(`{"action":"purchase","amount":0}`, "RATE_EXCEEDED")
		if want := fmt.Sprint(60 - now.Second()); r.header.Get("Retry-After") != want || r.body["windowEndsAt"] != "2000-01-01T00:01:00Z" {
			t.Errorf("got %s with Retry-After %q, want %s", r.text, r.header.Get("Retry-After"), want)
		}
		p := o.must(200, "POST", "/v1/preview", o.key, `{"action":"purchase","amount":0}`)
		if p.body["reasonCode"] != "RATE_EXCEEDED" || p.body["windowEndsAt"] != "2000-01-01T00:01:00Z" {
			t.Errorf("preview: got %s, want RATE_EXCEEDED and the window's end", p.text)
		}
		o.wantFigures("the permission's in a preview", p.body["left"], figures(permission["left"])...)
		o.wantFigures("the agent's in a preview", p.body["agentLeft"], figures(passport.body["left"])...)
		if p.body["accountLeft"] != nil {
			t.Errorf("preview: got %s, want nothing of the account's limits", p.text)
		}
		p = o.must(200, "POST", "/v1/preview", o.tokens["vi"], `{"agentId":"agent_ollie","action":"sell"}`)
		if o.wantFigures("the agent's in a preview", p.body["agentLeft"], figures(passport.body["left"])...); p.body["left"] != nil {
			t.Errorf("preview of what no permission names: got %s, want no permission's limits", p.text)
		}
		time.Sleep(time.Until(time.Date(2000, 1, 1, 0, 0, 59, 999e6, time.UTC)))
		if r := o.verified(`{"action":"purchase","amount":0}`, "RATE_EXCEEDED"); r.header.Get("Retry-After") != "1" {
			t.Errorf("got Retry-After %q, want at least 1", r.header.Get("Retry-After"))
		}
		time.Sleep(time.Millisecond)
		o.verified(`{"action":"purchase","amount":0}`, "ALLOWED")

		ended := o.must(200, "PUT", "/v1/agents/agent_ollie/limits", o.token, `{}`)
		if ended.body["budgets"] != nil || len(ended.body["left"].([]any)) != 0 {
			t.Errorf("ended: got %s, want no limits", ended.text)
		}
		if p := o.must(200, "GET", "/v1/passport", o.key, ""); p.body["left"] != nil || p.body["budgets"] != nil {
			t.Errorf("got %s, want no limits of the agent", p.text)
		}
		o.must(404, "GET", "/v1/agents/agent_nobody/limits", o.token, "")
	})
}

// A rate in total never begins again, so there is nothing to wait for.
func TestRateInTotal(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		o := b.office(t, `{"action":"purchase","rates":[{"count":1,"per":"total"}]}`)
		o.verified(`{"action":"purchase"}`, "ALLOWED")
		if r := o.verified(`{"action":"purchase"}`, "RATE_EXCEEDED"); r.header.Get("Retry-After") != "" || r.body["windowEndsAt"] != nil {
			t.Errorf("got %s with Retry-After %q, want neither", r.text, r.header.Get("Retry-After"))
		}
	})
}

func TestAccountLimits(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		o := b.office(t, `{"action":"purchase"}`)
		other := b.node()
		if r := o.must(200, "GET", "/v1/account/limits", o.tokens["vi"], ""); r.text != `{"left":[]}` {
			t.Errorf("got %s, want none", r.text)
		}
		const limits = `{"budgets":[{"amount":"100","currency":"USD","per":"day"}]}`
		set := o.must(200, "PUT", "/v1/account/limits", o.tokens["amy"], limits)
		o.wantFigures("the account's", set.body["left"], "day 0.00/100.00 until 2000-01-02T00:00:00Z")
		o.must(200, "PUT", "/v1/account/limits", o.token, limits)
		late := o.register(o.token, "agent_late")
		o.must(201, "POST", "/v1/agents/agent_late/permissions", o.token, `{"action":"purchase"}`)
		for _, agent := range []string{"agent_ollie", "agent_late"} {
			if r := o.must(200, "GET", "/v1/agents/"+agent, o.token, ""); r.body["sharesAccountLimits"] != true {
				t.Errorf("got %s, want it under the account's limits", r.text)
			}
		}
		synctest.Wait()
		var (
			group   sync.WaitGroup
			mu      sync.Mutex
			allowed int
		)
		for i := range 60 {
			group.Go(func() {
				n, key := []*node{o.n, other}[i%2], []string{o.key, late}[i/2%2]
				r, err := n.Verify(context.Background(), domain.HashToken(key), &domain.Ask{Action: "purchase", Amount: "3"})
				if err != nil {
					return // too busy, which is no allow
				}
				mu.Lock()
				defer mu.Unlock()
				if r.Event.(domain.DecisionMade).Outcome == domain.OutcomeAllowed {
					allowed++
				}
			})
		}
		group.Wait()
		if allowed != 33 {
			t.Errorf("got %d allows of 3.00, want 33", allowed)
		}
		synctest.Wait()
		o.wantFigures("what is spent", o.must(200, "GET", "/v1/account/limits", o.token, "").body["left"], "day 99.00/100.00 until 2000-01-02T00:00:00Z")
		o.wantFigures("in a passport", o.must(200, "GET", "/v1/passport", o.key, "").body["accountLeft"], "day 99.00/100.00 until 2000-01-02T00:00:00Z")
		o.wantFigures("in a preview", o.must(200, "POST", "/v1/preview", o.key, `{"action":"purchase","amount":3}`).body["accountLeft"], "day 99.00/100.00 until 2000-01-02T00:00:00Z")
		o.verified(`{"action":"purchase","amount":3}`, "BUDGET_EXCEEDED")
		o.must(200, "PUT", "/v1/account/limits", o.token, `{}`)
		if r := o.must(200, "GET", "/v1/agents/agent_ollie", o.token, ""); r.body["sharesAccountLimits"] != nil {
			t.Errorf("ended: got %s, want it free of the account's limits", r.text)
		}
		o.verified(`{"action":"purchase","amount":3}`, "ALLOWED")
	})
}

func TestSettle(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		o := b.office(t, `{"action":"purchase","budgets":[{"amount":"100","currency":"USD","per":"day"}]}`)
		o.grant(`{"action":"call","rates":[{"count":9,"per":"day"}]}`)
		o.grant(`{"action":"read"}`)
		o.must(200, "PUT", "/v1/account/limits", o.token, `{"budgets":[{"amount":"100","currency":"USD","per":"day"}],"rates":[{"count":50,"per":"day"}]}`)
		other := o.register(o.token, "agent_other")
		spend := func(body string) string {
			return o.verified(body, "ALLOWED").body["requestId"].(string)
		}
		report := func(want int, request, body string) reply {
			t.Helper()
			return o.must(want, "POST", "/v1/decisions/"+request+"/outcome", o.key, body)
		}
		left := func(permission, account string) {
			t.Helper()
			p := o.must(200, "GET", "/v1/passport", o.key, "")
			day := p.body["permissions"].([]any)[0].(map[string]any)["left"].([]any)[0].(map[string]any)
			if all := p.body["accountLeft"].([]any)[1].(map[string]any); day["used"] != permission || all["used"] != account {
				t.Errorf("got %v and %v used, want %s and %s", day["used"], all["used"], permission, account)
			}
		}

		less := spend(`{"action":"purchase","amount":40}`)
		o.must(404, "POST", "/v1/decisions/"+less+"/outcome", other, `{"outcome":"failed"}`)
		for body, field := range map[string]string{
			`{"outcome":"executed","amount":"40.01"}`: "/amount",
			`{"outcome":"executed","amount":"-1"}`:    "/amount",
			`{"outcome":"executed","amount":"1e1"}`:   "/amount",
			`{"outcome":"executed","amount":1.234}`:   "/amount",
			`{"outcome":"failed","amount":"40"}`:      "/amount",
			`{"outcome":"executed","amount":true}`:    "/amount",
			`{"outcome":"executed","currency":"USD"}`: "/currency",
			`{"outcome":"perhaps"}`:                   "/outcome",
			`{"outcome":null}`:                        "/outcome",
			`{}`:                                      "/outcome",
		} {
			if r := report(400, less, body); r.field() != field {
				t.Errorf("%s: got %s, want it to point at %s", body, r.text, field)
			}
		}
		left("40.00", "40.00")
		first := report(200, less, `{"outcome":"executed","amount":"25.5"}`)
		for name, want := range map[string]any{"requestId": less, "outcome": "executed", "amount": "25.50", "currency": "USD", "released": "14.50"} {
			if first.body[name] != want {
				t.Errorf("got %s %v, want %v", name, first.body[name], want)
			}
		}
		left("25.50", "25.50")
		if again := report(200, less, `{"outcome":"executed","amount":"25.50"}`); again.text != first.text {
			t.Errorf("reported again: got %s, want %s", again.text, first.text)
		}
		report(409, less, `{"outcome":"executed"}`)
		report(409, less, `{"outcome":"failed"}`)
		left("25.50", "25.50")

		failed := spend(`{"action":"purchase","amount":"74.50"}`)
		o.verified(`{"action":"purchase","amount":"0.01"}`, "BUDGET_EXCEEDED")
		if r := report(200, failed, `{"outcome":"failed"}`); r.body["amount"] != "0.00" || r.body["released"] != "74.50" {
			t.Errorf("failed: got %s, want all of it released", r.text)
		}
		report(409, failed, `{"outcome":"executed"}`)
		left("25.50", "25.50")

		all := spend(`{"action":"purchase","amount":"10"}`)
		if r := report(200, all, `{"outcome":"executed"}`); r.body["amount"] != "10.00" || r.body["released"] != nil {
			t.Errorf("all of it: got %s, want nothing released", r.text)
		}
		counted := spend(`{"action":"call","amount":0}`)
		report(200, counted, `{"outcome":"executed"}`)
		open := spend(`{"action":"purchase","amount":"1"}`)
		left("36.50", "36.50")

		denied := o.verified(`{"action":"sell"}`, "NO_PERMISSION").body["requestId"].(string)
		for _, id := range []string{denied, "req_00000000000000000000000000", "x", "%3E"} {
			if r := o.do("POST", "/v1/decisions/"+id+"/outcome", o.key, `{"outcome":"failed"}`); r.status != 404 {
				t.Errorf("%s: got %d %s, want 404", id, r.status, r.text)
			}
		}
		o.wantReservations(o.key, "", open)
		o.wantReservations(other, "")
		o.wantReservations(o.tokens["vi"], "&agentId=agent_ollie", open)
		o.wantReservations(o.token, "&agentId=agent_other")
		o.wantReservations(o.token, "&agentId=agent_nobody")
	})
}

// wantReservations fails unless these are the allows without an outcome.
func (o *office) wantReservations(token, query string, want ...string) {
	o.web.t.Helper()
	var got []string
	cursor := ""
	for {
		r := o.must(200, "GET", "/v1/reservations?limit=3"+query+cursor, token, "")
		for _, item := range r.body["reservations"].([]any) {
			got = append(got, item.(map[string]any)["requestId"].(string))
		}
		next, ok := r.body["nextCursor"].(string)
		if !ok {
			break
		}
		cursor = "&cursor=" + next
	}
	if !slices.Equal(got, want) {
		o.web.t.Errorf("reservations%s: got %v, want %v", query, got, want)
	}
}

func TestReservationsNewestFirst(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		o := b.office(t, `{"action":"purchase","rates":[{"count":99,"per":"day"}]}`)
		keys := []string{o.key, o.register(o.token, "agent_b"), o.register(o.token, "agent_c")}
		for _, agent := range []string{"agent_b", "agent_c"} {
			o.must(201, "POST", "/v1/agents/"+agent+"/permissions", o.token, `{"action":"purchase","rates":[{"count":99,"per":"day"}]}`)
		}
		var all, ollies []string
		for i := range 11 {
			id := o.must(200, "POST", "/v1/verify", keys[i%3], `{"action":"purchase"}`).body["requestId"].(string)
			if all = append(all, id); i%3 == 0 {
				ollies = append(ollies, id)
			}
			time.Sleep(time.Millisecond)
		}
		slices.Reverse(all)
		slices.Reverse(ollies)
		o.wantReservations(o.token, "", all...)
		o.wantReservations(o.token, "&agentId=agent_ollie", ollies...)
		o.wantReservations(o.key, "", ollies...)
		for _, limit := range []string{"11", "12"} {
			if r := o.must(200, "GET", "/v1/reservations?limit="+limit, o.token, ""); r.body["nextCursor"] != nil {
				t.Errorf("all of them: got %s, want no cursor", r.text)
			}
		}
	})
}

// Within a millisecond ids are in no order; each allow is listed once all the same.
func TestReservationsOfOneMoment(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		o := b.office(t, `{"action":"purchase","rates":[{"count":99,"per":"day"}]}`)
		keys := []string{o.key, o.register(o.token, "agent_b")}
		o.must(201, "POST", "/v1/agents/agent_b/permissions", o.token, `{"action":"purchase","rates":[{"count":99,"per":"day"}]}`)
		var all []string
		for i := range 24 {
			all = append(all, o.must(200, "POST", "/v1/verify", keys[i%2], `{"action":"purchase"}`).body["requestId"].(string))
			if i%8 == 7 {
				time.Sleep(time.Millisecond)
			}
		}
		slices.Sort(all)
		slices.Reverse(all)
		o.wantReservations(o.token, "", all...)
	})
}

// A list that an agent's part is missing from is none.
func TestReservationsThatCantBeRead(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		o := b.office(t, `{"action":"purchase","rates":[{"count":99,"per":"day"}]}`)
		other := o.register(o.token, "agent_other")
		o.verified(`{"action":"purchase"}`, "ALLOWED")
		b.log.Inject(domain.Stream{Account: home, Agent: "agent_ollie"}, []byte(`not JSON`))
		synctest.Wait()
		o.must(503, "GET", "/v1/reservations", o.token, "")
		o.must(503, "GET", "/v1/reservations", o.key, "")
		o.must(200, "GET", "/v1/reservations", other, "")
		o.must(200, "GET", "/v1/reservations?agentId=agent_other", o.token, "")
	})
}

// An outcome whose append failed one way or the other is reported once, to the
// agent's limits and the account's.
func TestSettlingThroughFaults(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		o := b.office(t, `{"action":"purchase","budgets":[{"amount":"100","currency":"USD","per":"day"}]}`)
		o.must(200, "PUT", "/v1/account/limits", o.token, `{"budgets":[{"amount":"100","currency":"USD","per":"day"}]}`)
		for _, failed := range []struct {
			when string
			set  func(func(domain.Record) error)
		}{
			{"before", o.n.log.BeforeAppend},
			{"after", o.n.log.AfterAppend},
		} {
			id := o.verified(`{"action":"purchase","amount":50}`, "ALLOWED").body["requestId"].(string)
			var once sync.Once
			failed.set(func(domain.Record) (err error) {
				once.Do(func() { err = errBroken })
				return err
			})
			o.must(http.StatusOK, "POST", "/v1/decisions/"+id+"/outcome", o.key, `{"outcome":"failed"}`)
			failed.set(nil)
			synctest.Wait()
			p := o.must(200, "GET", "/v1/passport", o.key, "")
			if strings.Count(p.text, `"left":"100.00"`) != 2 {
				t.Errorf("failed %s it wrote: got %s, want all of it given back, once", failed.when, p.text)
			}
		}
	})
}
