package handlers_test

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers"
	"github.com/behalf-platform/behalf/handlers/hooktest"
)

// sender is what stands in for whoever sends to endpoints.
type sender struct {
	secrets    hooktest.Secrets
	challenger hooktest.Challenger
	deliveries hooktest.Deliveries
	guard      error // what CheckURL says
}

// hooks is a node whose webhooks are on.
func (b *bed) hooks() (*node, *sender) {
	b.t.Helper()
	n, s := b.node(), &sender{}
	n.Webhooks = &handlers.Webhooks{
		Writer: n.Writer, Rules: domain.EndpointRules{Types: []string{"approval.denied", domain.VerificationAllowed}, Most: 3},
		CheckURL: func(context.Context, string) error { return s.guard },
		Secrets:  &s.secrets, Challenger: &s.challenger, Deliveries: &s.deliveries,
	}
	return n, s
}

const plainHook = `{"url":"https://example.com/hook"}`

func (w *web) hook(token string) (path string, created reply) {
	w.t.Helper()
	created = w.must(201, "POST", "/v1/webhooks", token, plainHook)
	return "/v1/webhooks/" + created.body["webhookId"].(string), created
}

func TestTheLifeOfAWebhook(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		n, _ := b.hooks()
		w := n.web(t)
		path, created := w.hook(b.token)
		if created.body["secret"] == nil || created.body["verified"] != false || created.body["status"] != "active" || created.header.Get("ETag") == "" {
			t.Fatalf("got %s, want a secret, and an address still to verify", created.text)
		}
		got := w.must(200, "GET", path, b.token, "")
		if got.body["secret"] != nil || got.body["ordering"] != "parallel" || got.body["format"] != "standard" {
			t.Errorf("got %s, want the defaults, and no secret", got.text)
		}
		w.must(409, "POST", path+"/test", b.token, "")
		if got := w.must(200, "POST", path+"/verify", b.token, ""); got.body["verified"] != true {
			t.Errorf("got %s, want it verified", got.text)
		}
		tested := w.must(202, "POST", path+"/test", b.token, "").body["eventId"]
		if id, kind := b.newest(); id != tested || kind != domain.KindWebhookTested {
			t.Errorf("got the id %v for the message, want that of the event, %s %s", tested, kind, id)
		}
		for _, step := range []struct{ act, body, status string }{
			{"pause", `{"reason":"tonight"}`, "paused"},
			{"resume", `{"from":"now"}`, "active"},
			{"disable", ``, "disabled"},
			{"enable", `{"from":"held"}`, "active"},
		} {
			var after [2]int
			for i := range after {
				if got := w.must(200, "POST", path+"/"+step.act, b.token, step.body); got.body["status"] != step.status || got.body["disabled"] != (step.status == "disabled") {
					t.Errorf("%s: got %s, want it %s", step.act, got.text, step.status)
				}
				after[i] = b.decided()
			}
			if after[0] != after[1] {
				t.Errorf("%s again: got another event, want none", step.act)
			}
		}
		changed := w.must(200, "PUT", path, b.token, `{"url":"https://example.org/","types":["approval.*"],"ordering":"strict"}`)
		if changed.body["verified"] != false || changed.body["ordering"] != "strict" {
			t.Errorf("got %s, want the new address not verified", changed.text)
		}
		w.must(412, "PUT", path, b.token, plainHook, "If-Match", created.header.Get("ETag"))
		w.must(200, "PUT", path, b.token, plainHook, "If-Match", changed.header.Get("ETag"))
		w.must(204, "DELETE", path, b.token, "")
		w.must(404, "DELETE", path, b.token, "")
		w.must(404, "GET", path, b.token, "")
	})
}

// newest is the newest event in the log.
func (b *bed) newest() (id any, kind domain.Kind) {
	b.t.Helper()
	if err := b.log.Join().Scan(b.t.Context(), domain.Scan{}, func(r domain.Recorded, err error) error {
		id, kind = string(r.ID), r.Event.Kind()
		return err
	}); err != nil {
		b.t.Fatal(err)
	}
	return id, kind
}

func TestWebhooksAreForThoseWhoManageTheAccount(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		n, _ := b.hooks()
		w := n.web(t)
		path, _ := w.hook(b.token)
		w.must(200, "POST", path+"/verify", b.token, "")
		key := w.register(b.token, "agent_ollie")
		tokens := map[string]string{"": "", "agent": key}
		for _, role := range []domain.Role{domain.RoleAdmin, domain.RoleApprover, domain.RoleViewer} {
			_, token, err := n.AddMember(t.Context(), b.owner, string(role), role)
			if err != nil {
				t.Fatal(err)
			}
			tokens[string(role)] = token
		}
		tokens["OWNER"] = b.token
		replay := w.must(202, "POST", path+"/replays", b.token, `{"deadLetters":true}`).body["replayId"].(string)
		for _, op := range []struct {
			method, path, body string
			want               int
		}{
			{"GET", "/v1/webhooks", "", 200},
			{"POST", "/v1/webhooks", plainHook, 201},
			{"GET", path, "", 200},
			{"PUT", path, plainHook, 200},
			{"POST", path + "/verify", "", 200},
			{"POST", path + "/test", "", 202},
			{"POST", path + "/pause", "", 200},
			{"POST", path + "/resume", "", 200},
			{"POST", path + "/disable", "", 200},
			{"POST", path + "/enable", "", 200},
			{"POST", path + "/rotate-secret", `{"overlap":"0s"}`, 200},
			{"GET", path + "/status", "", 200},
			{"GET", path + "/attempts", "", 200},
			{"GET", path + "/dead-letters", "", 200},
			{"POST", path + "/replays", `{"deadLetters":true}`, 202},
			{"GET", path + "/replays", "", 200},
			{"GET", path + "/replays/" + replay, "", 200},
			{"DELETE", path + "/replays/" + replay, "", 200},
			{"DELETE", path, "", 204},
		} {
			for _, who := range []string{"", "agent", "VIEWER", "APPROVER", "ADMIN"} {
				want := map[string]int{"": 401, "ADMIN": op.want}[who]
				if want == 0 {
					want = 403
				}
				if got := w.do(op.method, op.path, tokens[who], op.body); got.status != want {
					t.Errorf("%s %s by %q: got %d %s, want %d", op.method, op.path, who, got.status, got.text, want)
				}
			}
		}
	})
}

func TestAnothersWebhookIsLikeOneThatIsNotThere(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		n, _ := b.hooks()
		w := n.web(t)
		path, _ := w.hook(b.token)
		const other = "bhf_dev_another-accounts-owner-0123456789abcdef"
		if _, err := n.OpenAccount(t.Context(), "acct_other", domain.OpenAccount{
			Name: "Other", Currency: "USD", Owner: "mem_other", Token: domain.HashToken(other),
		}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second) // in the bubble; it is folded
		nothing := "/v1/webhooks/whe_00000000000000000000000000"
		for _, op := range []struct{ method, rest, body string }{
			{"GET", "", ""},
			{"PUT", "", plainHook},
			{"DELETE", "", ""},
			{"POST", "/verify", ""},
			{"POST", "/test", ""},
			{"POST", "/pause", ""},
			{"POST", "/resume", ""},
			{"POST", "/disable", ""},
			{"POST", "/enable", ""},
			{"POST", "/rotate-secret", ""},
			{"GET", "/status", ""},
			{"GET", "/attempts", ""},
			{"GET", "/dead-letters", ""},
			{"POST", "/replays", `{"deadLetters":true}`},
			{"GET", "/replays", ""},
			{"GET", "/replays/whr_x", ""},
			{"DELETE", "/replays/whr_x", ""},
		} {
			foreign, unknown := w.must(404, op.method, path+op.rest, other, op.body), w.must(404, op.method, nothing+op.rest, other, op.body)
			if a, b := strings.ReplaceAll(foreign.text, path[len("/v1/webhooks/"):], "ID"), strings.ReplaceAll(unknown.text, nothing[len("/v1/webhooks/"):], "ID"); a != b {
				t.Errorf("%s %s: got %s, want %s, as of one that isn't there", op.method, op.rest, a, b)
			}
		}
		if list := w.must(200, "GET", "/v1/webhooks", other, ""); list.text != `{"webhooks":[]}` {
			t.Errorf("got %s, want none of another account's", list.text)
		}
	})
}

func TestASecretIsShownWhereItIsMadeAndNowhereElse(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		n, s := b.hooks()
		var logs bytes.Buffer
		n.Faults.Logs = slog.New(slog.NewTextHandler(&logs, nil))
		w := n.web(t)
		path, created := w.hook(b.token)
		secrets := []string{created.body["secret"].(string)}
		w.must(200, "POST", path+"/verify", b.token, "")
		for _, overlap := range []string{``, `{"overlap":"1h"}`} {
			rotated := w.must(200, "POST", path+"/rotate-secret", b.token, overlap)
			secrets = append(secrets, rotated.body["secret"].(string))
		}
		if secrets[0] == secrets[1] || secrets[1] == secrets[2] || !strings.HasPrefix(secrets[0], "whsec_") {
			t.Fatalf("got the secrets %q, want three", secrets)
		}
		if keys := w.must(200, "GET", path, b.token, "").body["keys"].([]any); len(keys) != 3 || keys[0].(map[string]any)["version"] != 3.0 {
			t.Errorf("got the keys %v, want three, the newest first", keys)
		}
		s.secrets.Fail(errBroken)
		w.must(503, "POST", path+"/rotate-secret", b.token, `{"overlap":"0s"}`)
		s.secrets.Fail(nil)

		var said strings.Builder
		for _, read := range []string{"/v1/webhooks", path, path + "/status", path + "/attempts", path + "/replays"} {
			said.WriteString(w.must(200, "GET", read, b.token, "").text)
		}
		for _, act := range []string{"/pause", "/resume", "/disable", "/enable", "/verify", "/test"} {
			said.WriteString(w.do("POST", path+act, b.token, "").text)
		}
		said.WriteString(logs.String())
		events := 0
		if err := b.log.Join().Scan(t.Context(), domain.Scan{}, func(r domain.Recorded, unread error) error {
			stored, err := r.Append(nil)
			said.Write(stored)
			events++
			return cmp.Or(unread, err)
		}); err != nil || events < 8 {
			t.Fatalf("got %d events, %v", events, err)
		}
		for i, secret := range append(secrets, s.challenger.Nonces()...) {
			if strings.Contains(said.String(), secret) || strings.Contains(said.String(), strings.TrimPrefix(secret, "whsec_")) {
				t.Errorf("secret %d is in an answer, the log or the events", i)
			}
		}
	})
}

func TestAnAddressIsVerifiedByRepeatingTheChallenge(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer func(e *domain.Endpoint, nonce string) (handlers.ChallengeAnswer, error)
		status int
		says   string
	}{
		{"repeated", nil, 200, ""},
		{"repeated with 204, which has no body", func(*domain.Endpoint, string) (handlers.ChallengeAnswer, error) {
			return handlers.ChallengeAnswer{Status: 204}, nil
		}, 409, "did not repeat"},
		{"repeated with an error", func(_ *domain.Endpoint, nonce string) (handlers.ChallengeAnswer, error) {
			a := hooktest.Echo(nonce)
			a.Status = 500
			return a, nil
		}, 409, "answered 500"},
		{"a redirect", func(_ *domain.Endpoint, nonce string) (handlers.ChallengeAnswer, error) {
			a := hooktest.Echo(nonce)
			a.Status = 302
			return a, nil
		}, 409, "answered 302"},
		{"another", func(_ *domain.Endpoint, nonce string) (handlers.ChallengeAnswer, error) {
			return hooktest.Echo(nonce[1:]), nil
		}, 409, "did not repeat"},
		{"none", func(*domain.Endpoint, string) (handlers.ChallengeAnswer, error) { return hooktest.Echo(""), nil }, 409, "did not repeat"},
		{"a page", func(*domain.Endpoint, string) (handlers.ChallengeAnswer, error) {
			return handlers.ChallengeAnswer{Status: 200, Body: []byte("<html>internal</html>")}, nil
		}, 409, "did not repeat"},
		{"no answer", func(*domain.Endpoint, string) (handlers.ChallengeAnswer, error) {
			return handlers.ChallengeAnswer{Fault: "it took too long"}, nil
		}, 409, "it took too long"},
		{"a fault of ours", func(*domain.Endpoint, string) (handlers.ChallengeAnswer, error) {
			return handlers.ChallengeAnswer{}, errBroken
		}, 503, "could not be sent"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			lie(t, func(t *testing.T, b *bed) {
				n, s := b.hooks()
				s.challenger.Answer = tt.answer
				w := n.web(t)
				path, _ := w.hook(b.token)
				got := w.must(tt.status, "POST", path+"/verify", b.token, "")
				if !strings.Contains(got.text, tt.says) || strings.Contains(got.text, "internal") {
					t.Errorf("got %s, want it to say %q and nothing of the answer", got.text, tt.says)
				}
				if now := w.must(200, "GET", path, b.token, "").body["verified"]; now != (tt.status == 200) {
					t.Errorf("got it verified: %v", now)
				}
			})
		})
	}
}

func TestAnAddressThatChangesWhileItIsChallengedIsNotVerified(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		n, s := b.hooks()
		w := n.web(t)
		path, _ := w.hook(b.token)
		s.challenger.Answer = func(e *domain.Endpoint, nonce string) (handlers.ChallengeAnswer, error) {
			w.must(200, "PUT", path, b.token, `{"url":"https://example.org/"}`)
			return hooktest.Echo(nonce), nil
		}
		w.must(409, "POST", path+"/verify", b.token, "")
		if got := w.must(200, "GET", path, b.token, ""); got.body["verified"] != false {
			t.Errorf("got %s, want it not verified", got.text)
		}
	})
}

func TestChallengesAreBounded(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		n, s := b.hooks()
		n.Webhooks.Challenges = handlers.NewLimiter(1, time.Now)
		s.challenger.Answer = func(*domain.Endpoint, string) (handlers.ChallengeAnswer, error) {
			return handlers.ChallengeAnswer{Status: 404}, nil
		}
		w := n.web(t)
		path, _ := w.hook(b.token)
		for range 2 {
			w.must(409, "POST", path+"/verify", b.token, "")
		}
		if got := w.must(429, "POST", path+"/verify", b.token, ""); got.header.Get("Retry-After") == "" || len(s.challenger.Nonces()) != 2 {
			t.Errorf("got %s after %d challenges, want it to wait", got.text, len(s.challenger.Nonces()))
		}
		time.Sleep(time.Second) // in the bubble
		w.must(409, "POST", path+"/verify", b.token, "")
		for _, want := range []int{409, 409, 429} { // of tests, apart; it isn't verified
			w.must(want, "POST", path+"/test", b.token, "")
		}
		if n := s.challenger.Nonces(); n[0] == n[1] || n[1] == n[2] || len(n[0]) < 40 {
			t.Errorf("got the nonces %q, want each of its own", n)
		}
	})
}

func TestWebhooksThatAreRefused(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		n, s := b.hooks()
		w := n.web(t)
		w.register(b.token, "agent_ollie")
		path, _ := w.hook(b.token)
		before := b.decided()
		for _, tt := range []struct {
			method, path, body string
			status             int
			field              string
		}{
			{"POST", "/v1/webhooks", ``, 400, ""},
			{"POST", "/v1/webhooks", `{}`, 400, "/url"},
			{"POST", "/v1/webhooks", `{"url":"https://example.com/","secret":"whsec_mine"}`, 400, "/secret"},
			{"POST", "/v1/webhooks", `{"URL":"https://example.com/"}`, 400, "/URL"},
			{"POST", "/v1/webhooks", `{"url":"https://example.com/","url":"https://example.org/"}`, 400, "/url"},
			{"POST", "/v1/webhooks", `{"url":"https://example.com/","types":null}`, 400, "/types"},
			{"POST", "/v1/webhooks", `{"url":"https://example.com/","types":["approval.maybe"]}`, 400, "/types/0"},
			{"POST", "/v1/webhooks", `{"url":"https://example.com/","agents":["agent_ollie","agent_nobody"]}`, 400, "/agents/1"},
			{"POST", "/v1/webhooks", `{"url":"https://example.com/","ratePerSecond":1.5}`, 400, "/ratePerSecond"},
			{"POST", "/v1/webhooks", `{"url":"https://example.com/","headers":{"X-A":"b"}}`, 400, "/headers"},
			{"POST", "/v1/webhooks", `{"url":"https://example.com/","headers":[{"name":"Authorization","value":"x"}]}`, 400, "/headers/0/name"},
			{"PUT", path, `{"url":"http://example.com/"}`, 400, "/url"},
			{"POST", path + "/resume", `{"from":"yesterday"}`, 400, "/from"},
			{"POST", path + "/rotate-secret", `{"overlap":"8d"}`, 400, "/overlap"},
			{"POST", path + "/rotate-secret", `{"overlap":"169h"}`, 400, "/overlap"},
			{"POST", path + "/verify", `{"force":true}`, 400, "/force"},
			{"POST", path + "/replays", ``, 400, ""},
			{"GET", path + "/attempts?outcome=lost", ``, 400, "/outcome"},
			{"GET", path + "/attempts?cursor=x", ``, 400, "/cursor"},
			{"GET", path + "/attempts?limit=0", ``, 400, "/limit"},
			{"GET", path + "/dead-letters?event=x", ``, 400, "/event"},
		} {
			if got := w.do(tt.method, tt.path, b.token, tt.body); got.status != tt.status || got.field() != tt.field {
				t.Errorf("%s %s %s: got %d %s, want %d at %q", tt.method, tt.path, tt.body, got.status, got.text, tt.status, tt.field)
			}
		}
		s.guard = domain.RejectField(domain.Invalid, "/url", "leads to an address of a private network")
		for _, op := range []struct{ method, path, body string }{{"POST", "/v1/webhooks", plainHook}, {"PUT", path, plainHook}, {"POST", path + "/verify", ""}} {
			if got := w.do(op.method, op.path, b.token, op.body); got.field() != "/url" || !strings.Contains(got.text, `"leads to an address of a private network"`) {
				t.Errorf("%s %s: got %s, want the address refused, and why", op.method, op.path, got.text)
			}
		}
		if after := b.decided(); after != before || len(s.challenger.Nonces()) > 0 {
			t.Errorf("got %d events of %d refusals, and %d challenges; want none", after-before, before, len(s.challenger.Nonces()))
		}
	})
}

func TestThereAreNoMoreWebhooksThanTheOperatorSays(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		n, _ := b.hooks()
		w := n.web(t)
		for range 3 {
			w.hook(b.token)
			time.Sleep(time.Millisecond) // in the bubble; ids sort by it
		}
		w.must(409, "POST", "/v1/webhooks", b.token, plainHook)
		var ids []string
		for cursor := ""; ; {
			page := w.must(200, "GET", "/v1/webhooks?limit=2&cursor="+cursor, b.token, "")
			for _, v := range page.body["webhooks"].([]any) {
				ids = append(ids, v.(map[string]any)["webhookId"].(string))
			}
			if cursor, _ = page.body["nextCursor"].(string); cursor == "" {
				break
			}
		}
		if len(ids) != 3 || ids[0] >= ids[1] || ids[1] >= ids[2] {
			t.Errorf("got %q, want three, the oldest first", ids)
		}
	})
}

func TestReplaysToAWebhook(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		n, s := b.hooks()
		w := n.web(t)
		path, _ := w.hook(b.token)
		w.must(409, "POST", path+"/replays", b.token, `{"deadLetters":true}`)
		w.must(200, "POST", path+"/verify", b.token, "")
		asked := w.must(202, "POST", path+"/replays", b.token, `{"since":"1999-12-31T00:00:00Z","ratePerSecond":50}`)
		id := asked.body["replayId"].(string)
		one := path + "/replays/" + id
		if asked.header.Get("Location") != one || asked.body["state"] != "running" || asked.body["requestedBy"] != "member:mem_owner" {
			t.Errorf("got %s at %q", asked.text, asked.header.Get("Location"))
		}
		left := 7
		s.deliveries.Got(domain.ReplayID(id), handlers.ReplayProgress{Delivered: 3, Failed: 1, Left: &left})
		if got := fmt.Sprint(w.must(200, "GET", one, b.token, "").body["progress"]); got != "map[delivered:3 failed:1 left:7]" {
			t.Errorf("got the progress %s", got)
		}
		w.must(202, "POST", path+"/replays", b.token, `{"deadLetters":true}`)
		if list := w.must(200, "GET", path+"/replays", b.token, "").body["replays"].([]any); len(list) != 2 || list[1].(map[string]any)["replayId"] != id {
			t.Errorf("got %v, want two, the newest first", list)
		}
		err := n.Webhooks.FinishReplay(t.Context(), home, domain.EndReplay{
			EndpointID: domain.EndpointID(strings.TrimPrefix(path, "/v1/webhooks/")), ReplayID: domain.ReplayID(id), Delivered: 10, Failed: 1,
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := w.must(200, "GET", one, b.token, ""); got.body["state"] != "finished" || fmt.Sprint(got.body["progress"]) != "map[delivered:10 failed:1]" {
			t.Errorf("got %s, want it finished, with what came of it", got.text)
		}
		w.must(409, "DELETE", one, b.token, "")
		other := w.must(202, "POST", path+"/replays", b.token, `{"eventIds":["evt_01K8M3Z5V1A3C5E7G9J1M3P5R7"]}`).body["replayId"].(string)
		if got := w.must(200, "DELETE", path+"/replays/"+other, b.token, ""); got.body["state"] != "cancelled" {
			t.Errorf("got %s, want it cancelled", got.text)
		}
		s.deliveries.Fail(errBroken)
		w.must(503, "GET", path+"/replays", b.token, "")
	})
}

func TestWhatWasSentToAWebhook(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		n, s := b.hooks()
		w := n.web(t)
		path, _ := w.hook(b.token)
		w.must(200, "POST", path+"/verify", b.token, "")
		s.deliveries.Goes(handlers.DeliveryStatus{State: handlers.DeliveryHolding, LagSeconds: 60, LastError: "http_503"})
		if got := w.must(200, "GET", path+"/status", b.token, ""); got.body["state"] != "holding" || got.body["lagSeconds"] != 60.0 {
			t.Errorf("got %s", got.text)
		}
		long := strings.Repeat("a", 1023) + "é and more"
		s.deliveries.Tried(handlers.Attempt{EventID: "evt_1", Type: "approval.denied", Number: 1, At: time.Now(), Outcome: handlers.AttemptDelivered, Status: 200, Answer: "ok"})
		s.deliveries.Tried(handlers.Attempt{EventID: "evt_2", Type: "approval.denied", Number: 9, At: time.Now(), Outcome: handlers.AttemptGivenUp, Status: 500, Error: "http_500", Answer: long})
		newest := w.must(200, "GET", path+"/attempts?limit=1", b.token, "")
		first := newest.body["attempts"].([]any)[0].(map[string]any)
		if answer := first["answer"].(string); first["eventId"] != "evt_2" || newest.body["nextCursor"] == nil || answer != long[:1023]+"\uFFFD" {
			t.Errorf("got %s, want the newest, with the first KiB of what was answered", newest.text)
		}
		for query, want := range map[string]int{"": 2, "?outcome=delivered": 1, "?eventId=evt_2": 1, "?eventId=evt_3": 0, "?replayId=whr_1": 0} {
			if got := w.must(200, "GET", path+"/attempts"+query, b.token, ""); len(got.body["attempts"].([]any)) != want {
				t.Errorf("%s: got %s, want %d", query, got.text, want)
			}
		}
		if got := w.must(200, "GET", path+"/dead-letters", b.token, ""); len(got.body["deadLetters"].([]any)) != 1 {
			t.Errorf("got %s, want one", got.text)
		}
		w.must(200, "PUT", path, b.token, `{"url":"https://example.org/"}`)
		if got := w.must(200, "GET", path+"/attempts", b.token, ""); strings.Contains(got.text, `"answer"`) {
			t.Errorf("got %s, want no answers of an address that is not verified", got.text)
		}
		if got := w.must(200, "GET", path+"/status", b.token, ""); got.body["state"] != "stopped" {
			t.Errorf("got %s, want it stopped", got.text)
		}
		s.deliveries.Fail(errBroken)
		for _, read := range []string{"/status", "/attempts", "/dead-letters"} {
			w.must(503, "GET", path+read, b.token, "")
		}
	})
}

func TestASenderDisablesOnlyTheAddressItSentTo(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		n, _ := b.hooks()
		w := n.web(t)
		path, _ := w.hook(b.token)
		id := domain.EndpointID(strings.TrimPrefix(path, "/v1/webhooks/"))
		gone := domain.DisableEndpoint{EndpointID: id, Code: domain.DisabledAsGone, URL: "https://example.org/"}
		if err := n.Webhooks.DisableFor(t.Context(), home, gone); err != nil {
			t.Fatal(err)
		}
		if got := w.must(200, "GET", path, b.token, ""); got.body["status"] != "active" {
			t.Errorf("got %s, want it active: it has another address", got.text)
		}
		gone.URL = "https://example.com/hook"
		if err := n.Webhooks.DisableFor(t.Context(), home, gone); err != nil {
			t.Fatal(err)
		}
		if got := w.must(200, "GET", path, b.token, ""); got.body["disabled"] != true || got.body["disabledCode"] != "gone" {
			t.Errorf("got %s, want it disabled as gone", got.text)
		}
	})
}

func TestANodeThatCanNotSignSaysSo(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		on, _ := b.hooks()
		path, _ := on.web(t).hook(b.token)
		off := b.node()
		off.Webhooks = &handlers.Webhooks{Writer: off.Writer, Rules: on.Webhooks.Rules}
		w := off.web(t)
		for _, op := range []struct{ method, path, body string }{
			{"POST", "/v1/webhooks", plainHook},
			{"PUT", path, plainHook},
			{"POST", path + "/verify", ""},
			{"POST", path + "/rotate-secret", ""},
			{"POST", path + "/replays", `{"deadLetters":true}`},
			{"GET", path + "/status", ""},
			{"GET", path + "/attempts", ""},
			{"GET", path + "/dead-letters", ""},
		} {
			if got := w.do(op.method, op.path, b.token, op.body); got.code() != string(domain.NotSupported) {
				t.Errorf("%s %s: got %d %s, want %s", op.method, op.path, got.status, got.text, domain.NotSupported)
			}
		}
		w.must(200, "GET", path, b.token, "")
		w.must(200, "POST", path+"/disable", b.token, "") // what ends sending always works
		w.must(204, "DELETE", path, b.token, "")
	})
}

// Fail every write twice: a member is told the truth of what is there, or that
// it is not known.
func TestWebhooksOnALogThatFails(t *testing.T) {
	for name, fails := range map[string]func(*node, func(domain.Record) error){
		"before it is written": func(n *node, fail func(domain.Record) error) { n.log.BeforeAppend(fail) },
		"after it was written": func(n *node, fail func(domain.Record) error) { n.log.AfterAppend(fail) },
	} {
		t.Run(name, func(t *testing.T) {
			lie(t, func(t *testing.T, b *bed) {
				n, _ := b.hooks()
				var once sync.Once
				fails(n, func(domain.Record) (err error) {
					once.Do(func() { err = errBroken })
					return err
				})
				created, err := n.Webhooks.Create(t.Context(), b.owner, domain.EndpointSettings{URL: "https://example.com/hook"})
				if err != nil || created.Secret == "" {
					t.Fatalf("got %+v, %v, want it created", created, err)
				}
				if page, err := n.Webhooks.List(b.owner, 10, ""); err != nil || len(page.Webhooks) != 1 {
					t.Errorf("got %+v, %v, want one webhook", page, err)
				}
			})
		})
	}
}
