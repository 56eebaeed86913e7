package handlers_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers"
)

// surface is a way to ask over HTTP.
type surface struct {
	name, path, body string
	// yes reports whether an answer would be taken for an allow.
	yes func(text string) bool
	// isText says that errors are texts.
	isText bool
	// dry is what asks to record nothing, and its status.
	dry    string
	dryAs  func(agent, member string) string
	status int
	// unlike is the status for another agent's name, and untyped that for what is not declared as JSON.
	unlike, untyped int
}

func surfaces() []surface {
	const reference = `{"agentId":"agent_ollie","action":"purchase","vendor":"coachella.com","amount":120}`
	const evaluation = `{"subject":{"type":"agent","id":"agent_ollie"},"action":{"name":"purchase","properties":{"amount":"120"}},"resource":{"type":"vendor","id":"coachella.com"}}`
	allowed := func(text string) bool {
		var a struct{ Allowed bool }
		return json.Unmarshal([]byte(text), &a) == nil && a.Allowed
	}
	decision := func(text string) bool {
		var a struct{ Decision bool }
		return json.Unmarshal([]byte(text), &a) == nil && a.Decision
	}
	first := func(text string) bool {
		var a struct{ Evaluations []struct{ Decision bool } }
		return json.Unmarshal([]byte(text), &a) == nil && len(a.Evaluations) == 1 && a.Evaluations[0].Decision
	}
	byAgent := func(agent, _ string) string { return agent }
	byMember := func(_, member string) string { return member }
	return []surface{
		{name: "the reference API", path: "/api/verify", body: reference, yes: allowed, dry: strings.Replace(reference, "{", `{"mode":"shadow",`, 1), dryAs: byAgent, status: 400, unlike: 401, untyped: 415},
		{name: "the API", path: "/v1/verify", body: reference, yes: allowed, dry: strings.Replace(reference, "{", `{"dryRun":true,`, 1), dryAs: byAgent, status: 400, unlike: 401, untyped: 415},
		{name: "AuthZEN", path: evaluationPath, body: evaluation, yes: decision, isText: true, dry: evaluation, dryAs: byMember, status: 200, unlike: 403, untyped: 400},
		{name: "AuthZEN's many", path: evaluationsPath, body: `{"evaluations":[` + evaluation + `]}`, yes: first, isText: true, dry: `{"evaluations":[` + evaluation + `]}`, dryAs: byMember, status: 200, unlike: 200, untyped: 400},
	}
}

// odd is a log that answers appends with what was recorded for somebody else.
type odd struct {
	handlers.Log
	other domain.Position
}

func (o odd) Append(context.Context, uint64, domain.Record, string) (domain.Receipt, error) {
	return domain.Receipt{Position: o.other, Duplicate: true}, nil
}

// half is a body that breaks off.
type half struct{ io.Reader }

func (h half) Read(p []byte) (int, error) {
	n, err := h.Reader.Read(p)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// Whatever breaks, the answer is no yes, and says whether it was a denial or the
// permission layer not deciding.
func TestNothingButARecordedAllowIsAYes(t *testing.T) {
	type world struct {
		*node
		key, member string
		others      domain.Position // an allow of another agent's
	}
	type sent struct {
		key, kind string
		body      io.Reader
	}
	for _, on := range surfaces() {
		for _, c := range []struct {
			name   string
			breaks func(w *world, s *sent)
			status int
			down   bool // whether it must say that the permission layer is unavailable
			says   string
		}{
			{name: "down", breaks: func(w *world, _ *sent) { w.log.BeforeAppend(func(domain.Record) error { return errBroken }) }, status: 503, down: true, says: "could not be recorded"},
			{name: "slow", breaks: func(w *world, _ *sent) { w.bed.t.Cleanup(w.log.HoldBefore()) }, status: 503, down: true, says: "could not be recorded"},
			{name: "slow to acknowledge", breaks: func(w *world, _ *sent) { w.bed.t.Cleanup(w.log.HoldAfter()) }, status: 503, down: true, says: "could not be recorded"},
			{name: "500, once it was recorded", breaks: func(w *world, _ *sent) { w.log.AfterAppend(func(domain.Record) error { return errBroken }) }, status: 503, down: true, says: "could not be recorded"},
			{name: "behind the log", breaks: func(w *world, _ *sent) { w.sick.Store(true); time.Sleep(time.Second) }, status: 503, down: true, says: "can't decide now"},
			{name: "401", breaks: func(_ *world, s *sent) { s.key = "bhf_sk_" + strings.Repeat("a", 43) }, status: 401},
			{name: "429", breaks: func(w *world, _ *sent) {
				w.Limits.Addresses = handlers.NewLimiter(1, time.Now)
				for w.Limits.Addresses.Pass("192.0.2.1") == nil {
				}
			}, status: 429, says: "too many requests"},
			{name: "a malformed body", breaks: func(_ *world, s *sent) { s.body = strings.NewReader("<html>") }, status: 400},
			{name: "a body with a name twice", breaks: func(_ *world, s *sent) {
				s.body = strings.NewReader(strings.Replace(on.body, "{", `{"action":null,"action":null,`, 1))
			}, status: 400},
			{name: "no JSON", breaks: func(_ *world, s *sent) { s.kind = "text/plain" }, status: on.untyped},
			{name: "a truncated body", breaks: func(_ *world, s *sent) { s.body = half{strings.NewReader(on.body[:len(on.body)-9])} }, status: 400},
			{name: "a body that breaks off where it seems whole", breaks: func(_ *world, s *sent) { s.body = half{strings.NewReader(on.body)} }, status: 400, says: "could not be read to its end"},
			{name: "no body", breaks: func(_ *world, s *sent) { s.body = strings.NewReader("") }, status: 400},
			{name: "the packet of another agent", breaks: func(w *world, _ *sent) { w.Verifier.Log = odd{w.log, w.others} }, status: 503, down: true, says: "could not be read"},
			{name: "another agent's name", breaks: func(_ *world, s *sent) { s.body = strings.NewReader(strings.Replace(on.body, "ollie", "other", 1)) }, status: on.unlike},
			{name: "a dry answer", breaks: func(w *world, s *sent) { s.key, s.body = on.dryAs(w.key, w.member), strings.NewReader(on.dry) }, status: on.status},
			{name: "no configuration", breaks: func(_ *world, s *sent) { s.key = "" }, status: 401},
		} {
			t.Run(on.name+"/"+c.name, func(t *testing.T) {
				lie(t, func(t *testing.T, b *bed) {
					w := &world{node: b.node(), member: b.token}
					web := w.web(t)
					other, _ := w.agent("agent_other")
					r, err := w.Verify(t.Context(), other, ask())
					if err != nil {
						t.Fatal(err)
					}
					w.others = r.Position
					w.agent("agent_ollie")
					w.key = web.must(200, "POST", "/v1/agents/agent_ollie/rotate-key", b.token, `{}`).body["apiKey"].(string)
					send := func(s sent) (int, string) {
						request := httptest.NewRequest(http.MethodPost, on.path, s.body)
						request.Header.Set("Content-Type", s.kind)
						if s.key != "" {
							request.Header.Set("Authorization", "Bearer "+s.key)
						}
						recorder := httptest.NewRecorder()
						web.api.ServeHTTP(recorder, request)
						return recorder.Code, recorder.Body.String()
					}
					whole := func() sent { return sent{key: w.key, kind: "application/json", body: strings.NewReader(on.body)} }
					if status, text := send(whole()); status != 200 || !on.yes(text) {
						t.Fatalf("when nothing is broken: got %d %s, want a yes", status, text)
					}
					s := whole()
					c.breaks(w, &s)
					status, text := send(s)
					if on.yes(text) || !strings.Contains(text, c.says) {
						t.Errorf("got %d %s, want no yes, and %q", status, text, c.says)
					}
					want := c.status
					if strings.HasSuffix(on.name, "many") && c.name != "behind the log" && want == 503 {
						want = 200 // it is that one's error
					}
					if status != want {
						t.Errorf("got %d %s, want %d", status, text, want)
					}
					if saysDown := strings.Contains(text, "UNAVAILABLE") || on.isText && strings.Contains(text, "permission layer is unavailable, which is not a denial"); saysDown != c.down {
						t.Errorf("got %s, want it to say that the permission layer is unavailable: %t", text, c.down)
					}
				})
			})
		}
	}
}
