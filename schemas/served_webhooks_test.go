package schemas_test

import (
	"strings"
	"time"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers"
	"github.com/behalf-platform/behalf/handlers/hooktest"
)

// hook brings the operations about webhooks to their success, and to the
// conflicts that stand against them. It leaves one that is verified.
func (s *server) hook(w *world) {
	s.t.Helper()
	member := func(want int, route, target, body string) map[string]any {
		s.t.Helper()
		return s.do(want, ask{route: route, target: target, token: ownerToken, body: body})
	}
	const all, one = "/v1/webhooks", "/v1/webhooks/{webhook}"
	create := func() map[string]any {
		s.t.Helper()
		return member(201, "POST "+all, all, `{"url":"https://hooks.example.com/behalf","types":["approval.*","verification.denied"],"agents":["agent_ollie"],
			"description":"a pager","ordering":"per_agent","ratePerSecond":50,"headers":[{"name":"X-Team","value":"ops"}],"format":"behalfid","signatures":["v1"]}`)
	}
	w.ids["webhook"] = create()["webhookId"].(string)
	path := all + "/" + w.ids["webhook"]
	gone := all + "/" + create()["webhookId"].(string)
	member(409, "POST "+all, all, `{"url":"https://example.com/"}`)
	member(200, "GET "+all, all+"?limit=1", "")
	member(204, "DELETE "+one, gone, "")
	member(200, "GET "+one, path, "")
	member(200, "PUT "+one, path, `{"url":"https://hooks.example.com/behalf"}`)
	s.do(412, ask{route: "PUT " + one, target: path, token: ownerToken, body: `{"url":"https://example.org/"}`, header: [2]string{"If-Match", `"1"`}})

	act := func(want int, verb, body string) map[string]any {
		s.t.Helper()
		return member(want, "POST "+one+"/"+verb, path+"/"+verb, body)
	}
	act(409, "test", `{}`)
	act(409, "replays", `{"deadLetters":true}`)
	s.challenger.Answer = func(*domain.Endpoint, string) (handlers.ChallengeAnswer, error) {
		return handlers.ChallengeAnswer{Status: 404}, nil
	}
	act(409, "verify", `{}`)
	s.challenger.Answer = func(_ *domain.Endpoint, nonce string) (handlers.ChallengeAnswer, error) {
		return hooktest.Echo(nonce), nil
	}
	act(200, "verify", `{}`)
	act(202, "test", `{}`)
	act(200, "pause", `{"reason":"tonight"}`)
	act(409, "enable", `{}`)
	act(200, "resume", `{"from":"now"}`)
	act(200, "disable", `{"reason":"noisy"}`)
	act(409, "pause", `{}`)
	act(409, "resume", `{}`)
	act(200, "enable", `{"from":"held"}`)
	for range 3 {
		act(200, "rotate-secret", `{"overlap":"168h"}`)
	}
	act(409, "rotate-secret", `{}`)
	s.sent(w, path)
}

// sent brings what is told of deliveries, and replays, to their success.
func (s *server) sent(w *world, path string) {
	s.t.Helper()
	const one = "/v1/webhooks/{webhook}"
	member := func(want int, method, rest, target, body string) map[string]any {
		s.t.Helper()
		return s.do(want, ask{route: method + " " + one + rest, target: target, token: ownerToken, body: body})
	}
	now := time.Now().UTC()
	s.deliveries.Goes(handlers.DeliveryStatus{
		State: handlers.DeliveryHolding, OldestUndeliveredAt: now, LagSeconds: 1, Parked: 1, DeadLetters: 1, LastAttemptAt: now,
		LastDeliveryAt: now, FailingSince: now, NextTryAt: now, LastError: "timeout",
	})
	member(200, "GET", "/status", path+"/status", "")
	for range 2 {
		s.deliveries.Tried(handlers.Attempt{
			EventID: "evt_01K8M3Z5V1A3C5E7G9J1M3P5R7-1", Type: "approval.denied", Number: 10, ReplayID: "whr_01KASF9Q7R3C5E7G9J1M3P5R7T", At: now,
			Outcome: handlers.AttemptGivenUp, Status: 500, Error: "http_500", LatencyMS: 3, Answer: "no", NextTryAt: now,
		})
	}
	member(200, "GET", "/attempts", path+"/attempts?limit=1&outcome=given_up&eventId=evt_01K8M3Z5V1A3C5E7G9J1M3P5R7-1&replayId=whr_01KASF9Q7R3C5E7G9J1M3P5R7T", "")
	member(200, "GET", "/dead-letters", path+"/dead-letters?limit=1", "")

	replay := func(body string) string {
		s.t.Helper()
		id := member(202, "POST", "/replays", path+"/replays", body)["replayId"].(string)
		left := 1
		s.deliveries.Got(domain.ReplayID(id), handlers.ReplayProgress{Delivered: 1, Left: &left})
		member(200, "GET", "/replays/{webhookReplay}", path+"/replays/"+id, "")
		return id
	}
	finished := replay(`{"eventIds":["evt_01K8M3Z5V1A3C5E7G9J1M3P5R7-1"],"ratePerSecond":1}`)
	if err := s.hooks.FinishReplay(s.t.Context(), "acct_01K8M3Z5V0QX4T7R9WBYDAFC2E", domain.EndReplay{
		EndpointID: domain.EndpointID(strings.TrimPrefix(path, "/v1/webhooks/")), ReplayID: domain.ReplayID(finished), Delivered: 1,
	}); err != nil {
		s.t.Fatal(err)
	}
	member(409, "DELETE", "/replays/{webhookReplay}", path+"/replays/"+finished, "")
	member(200, "DELETE", "/replays/{webhookReplay}", path+"/replays/"+replay(`{"since":"2020-01-01T00:00:00Z","until":"2020-01-01T02:00:00+01:00","deadLetters":true}`), "")
	w.ids["webhookReplay"] = replay(`{"since":"2020-01-01T00:00:00Z"}`)
	member(200, "GET", "/replays", path+"/replays", "")
}
