package handlers_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers"
)

// aPast makes a history an hour apart: registered, granted up to 500 with a
// budget of 300, 120 allowed, revoked. It returns the key, and when what was.
func aPast(t *testing.T, b *bed, n *node) (w *web, key string, began time.Time, versions []string) {
	t.Helper()
	w = n.web(t)
	began = time.Now().UTC()
	wait := func() { time.Sleep(time.Hour) }
	wait()
	key = w.register(b.token, "agent_ollie")
	note := func(r reply) { versions = append(versions, fmt.Sprintf("%.0f", r.body["passportVersion"])) }
	note(w.must(200, "GET", "/v1/agents/agent_ollie/passport", b.token, ""))
	wait()
	granted := w.must(201, "POST", "/v1/agents/agent_ollie/permissions", b.token,
		`{"action":"purchase","maxAmount":"500.00","budgets":[{"amount":"300.00","per":"total"}]}`)
	note(granted)
	wait()
	w.must(200, "POST", "/v1/verify", key, `{"action":"purchase","amount":"120"}`)
	note(w.must(200, "GET", "/v1/agents/agent_ollie/passport", b.token, ""))
	wait()
	note(w.must(200, "POST", "/v1/agents/agent_ollie/permissions/"+granted.body["permissionId"].(string)+"/revoke", b.token, `{}`))
	wait()
	return w, key, began, versions
}

func TestThePassportAsItWas(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		w, key, began, versions := aPast(t, b, b.node())
		at := func(hours int) string {
			return began.Add(time.Duration(hours)*time.Hour + 30*time.Minute).Format(time.RFC3339Nano)
		}
		for _, tt := range []struct {
			at          string
			version     string
			permissions int
			used        string // of the budget
			wouldBe     string // of 200
		}{
			{at(1), versions[0], 0, "", "NO_PERMISSION"},
			{at(2), versions[1], 1, "0.00", "ALLOWED"},
			{at(3), versions[2], 1, "120.00", "BUDGET_EXCEEDED"},
			{at(4), versions[3], 0, "", "PERMISSION_REVOKED"},
			{versions[0], versions[0], 0, "", "NO_PERMISSION"},
			{versions[1], versions[1], 1, "0.00", "ALLOWED"},
			{versions[2], versions[2], 1, "120.00", "BUDGET_EXCEEDED"},
		} {
			for _, token := range []string{b.token, key} {
				p := w.must(200, "GET", "/v1/agents/agent_ollie/passport?at="+tt.at, token, "")
				held := p.body["permissions"].([]any)
				if got := fmt.Sprintf("%.0f", p.body["passportVersion"]); got != tt.version || len(held) != tt.permissions || p.body["asOf"] == nil {
					t.Errorf("at %s: got %s, want version %s with %d permissions", tt.at, p.text, tt.version, tt.permissions)
				}
				if len(held) > 0 && !strings.Contains(p.text, `"used":"`+tt.used+`"`) {
					t.Errorf("at %s: got %s, want %s used", tt.at, p.text, tt.used)
				}
				v := w.must(200, "POST", "/v1/preview?at="+tt.at, token, `{"agentId":"agent_ollie","action":"purchase","amount":"200"}`)
				if v.body["reasonCode"] != tt.wouldBe || fmt.Sprintf("%.0f", v.body["passportVersion"]) != tt.version {
					t.Errorf("preview at %s: got %s, want %s on version %s", tt.at, v.text, tt.wouldBe, tt.version)
				}
				if !strings.ContainsAny(tt.at, "T") {
					continue
				}
				if v.body["evaluatedAt"] != tt.at {
					t.Errorf("preview at %s: got evaluated at %s", tt.at, v.body["evaluatedAt"])
				}
			}
		}
		// A position that a packet carried.
		packet := w.must(200, "POST", "/v1/verify", key, `{"action":"purchase","amount":"1"}`)
		p := w.must(200, "GET", "/v1/agents/agent_ollie/passport?at="+packet.body["position"].(string), b.token, "")
		if p.body["position"] != packet.body["position"] || p.body["asOf"] != packet.body["decidedAt"] {
			t.Errorf("got %s, want the place and time of %s", p.text, packet.text)
		}
	})
}

func TestThePastThatWasNot(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		n := b.node()
		w, key, began, _ := aPast(t, b, n)
		other := w.register(b.token, "agent_polly")
		path := "/v1/agents/agent_ollie/passport?at="
		before := w.must(404, "GET", path+began.Add(time.Minute).Format(time.RFC3339), b.token, "")
		if !strings.Contains(before.text, "there was no agent agent_ollie at") || !strings.Contains(before.text, "registered") {
			t.Errorf("got %s, want it to say when the agent was registered", before.text)
		}
		w.must(404, "POST", "/v1/preview?at="+began.Format(time.RFC3339), key, `{"action":"purchase"}`)
		w.must(404, "GET", "/v1/agents/agent_nobody/passport?at="+time.Now().UTC().Format(time.RFC3339), b.token, "")
		w.must(404, "GET", path+time.Now().UTC().Format(time.RFC3339), other, "") // of another agent
		for _, at := range []string{
			"", "soon", "0", "-1", "999999", "2999-01-01T00:00:00Z", domain.Position{Partition: 7, Seq: 1}.String(),
			domain.Position{Epoch: 2, Seq: 3}.String(),
		} {
			if r := w.must(400, "GET", path+at, b.token, ""); r.field() != "/at" {
				t.Errorf("at %q: got %s, want it to name /at", at, r.text)
			}
		}
		if r := w.must(400, "GET", path+"2&until=3", b.token, ""); r.field() != "/until" {
			t.Errorf("got %s, want it to name /until", r.text)
		}
		w.must(401, "GET", path+"3", "bhf_sk_unknown", "")
		w.must(400, "POST", "/v1/preview?at=3", b.token, `{"action":"purchase"}`)
		w.must(400, "POST", "/v1/preview?at=3", b.token, `{"action":"purchase","agentId":"agent_ollie","atLeast":"AAAA"}`)
		w.must(403, "GET", "/v1/agents/agent_ollie/passport", key, "") // without a moment it is for members
		// Nothing of it is recorded.
		if got := b.decided(); got != 1 {
			t.Errorf("got %d decisions, want the one that was verified", got)
		}
	})
}

// A history that a node has not folded yet is a past too.
func TestThePastOnANodeThatLags(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		w, _, _, versions := aPast(t, b, b.node())
		_ = w
		lagging := b.node().web(t)
		p := lagging.must(200, "GET", "/v1/agents/agent_ollie/passport?at="+versions[3], b.token, "")
		if fmt.Sprintf("%.0f", p.body["passportVersion"]) != versions[3] {
			t.Errorf("got %s, want version %s", p.text, versions[3])
		}
	})
}

func TestReplayOverHTTP(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		w, key, began, _ := aPast(t, b, b.node())
		candidate := `{"agents":{"agent_ollie":{"limits":{"budgets":[{"amount":"100.00","per":"total"}]}}}}`
		started := w.must(202, "POST", "/v1/replays", b.token, `{"whatIf":`+candidate+`,"since":"`+began.Format(time.RFC3339)+`"}`)
		path := started.header.Get("Location")
		synctest.Wait()
		done := w.must(200, "GET", path, b.token, "")
		report, _ := done.body["report"].(map[string]any)
		if done.body["state"] != "done" || report["changed"] != 1.0 || report["mode"] != "consequences" || done.body["recordsRead"] != done.body["records"] {
			t.Errorf("got %s, want one change", done.text)
		}
		if !strings.Contains(done.text, `"nowStopped":"120.00"`) || !strings.Contains(done.text, `"reasonCode":"BUDGET_EXCEEDED"`) {
			t.Errorf("got %s, want 120.00 stopped by the budget", done.text)
		}
		plain := w.must(202, "POST", "/v1/replays", b.token, `{}`)
		synctest.Wait()
		checked := w.must(200, "GET", plain.header.Get("Location"), b.token, "")
		if c, _ := checked.body["checked"].(map[string]any); c["decisions"] != 1.0 || c["different"] != 0.0 {
			t.Errorf("got %s, want one decision and no difference", checked.text)
		}
		unknown := w.must(202, "POST", "/v1/replays", b.token, `{"whatIf":{"agents":{"agent_olly":{"remove":["perm_1"]}}}}`)
		synctest.Wait()
		failed := w.must(200, "GET", unknown.header.Get("Location"), b.token, "")
		if failed.body["state"] != "failed" || !strings.Contains(failed.text, "agent_olly") {
			t.Errorf("got %s, want it to have failed for an unknown agent", failed.text)
		}

		w.must(403, "POST", "/v1/replays", key, `{}`)
		w.must(403, "GET", path, key, "")
		w.must(404, "GET", "/v1/replays/rpl_unknown", b.token, "")
		if r := w.do("GET", path+"?wait=30s", b.token, ""); r.status != 400 || !strings.Contains(r.text, `"/wait"`) {
			t.Errorf("got %d %s, want the parameter refused", r.status, r.text)
		}
		for body, field := range map[string]string{
			`{"whatIf":{}}`:                           "/whatIf/agents",
			`{"mode":"consequences"}`:                 "/mode",
			`{"whatIf":` + candidate + `,"mode":"x"}`: "/mode",
			`{"whatIf":null}`:                         "/whatIf",
			`{"when":"now"}`:                          "/when",
			`{"whatIf":{"agents":{"agent_ollie":{"replace":{"perm_1":{"acton":"x"}}}}}}`: "/whatIf/agents/agent_ollie/replace/perm_1/acton",
			`{"since":"2027-01-02T00:00:00Z","until":"2027-01-01T00:00:00Z"}`:            "/until",
		} {
			if r := w.must(400, "POST", "/v1/replays", b.token, body); r.field() != field {
				t.Errorf("%s: got %s, want it to name %s", body, r.text, field)
			}
		}
	})
}

// slowLog reads nothing until it is told to.
type slowLog struct {
	handlers.DecisionLog
	begun chan struct{}
}

func (l slowLog) Scan(ctx context.Context, _ domain.Scan, _ func(domain.Recorded, error) error) error {
	l.begun <- struct{}{}
	<-ctx.Done()
	return ctx.Err()
}

func TestReplaysAreBoundedAndEndWithTheServer(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		n := b.node()
		stopping, stop := context.WithCancel(t.Context())
		log := slowLog{n.History.Log, make(chan struct{}, 8)}
		r := &handlers.Replays{Log: log, Now: time.Now, Stopping: stopping}
		caller := func(account domain.AccountID) handlers.Caller {
			m := b.owner
			m.Account = account
			return handlers.Caller{Hash: "hash", Member: m}
		}
		first, err := r.Start(t.Context(), caller(home), []byte(`{}`))
		if err != nil || first.State != handlers.ReplayRuns {
			t.Fatalf("got %+v, %v, want one that runs", first, err)
		}
		_, err = r.Start(t.Context(), caller(home), []byte(`{}`))
		wantCode(t, err, "RATE_LIMITED")
		if _, err := r.Start(t.Context(), caller("acct_second"), []byte(`{}`)); err != nil {
			t.Errorf("got %v, want that another account may", err)
		}
		_, err = r.Start(t.Context(), caller("acct_third"), []byte(`{}`))
		wantCode(t, err, "RATE_LIMITED")
		_, err = r.Find(caller("acct_second"), first.ReplayID)
		wantCode(t, err, "NOT_FOUND")
		<-log.begun
		<-log.begun
		stop()
		r.Wait()
		if ended, err := r.Find(caller(home), first.ReplayID); err != nil || ended.State != handlers.ReplayCancelled {
			t.Errorf("got %+v, %v, want it cancelled", ended, err)
		}
		_, err = r.Start(t.Context(), caller(home), []byte(`{}`))
		wantCode(t, err, "UNAVAILABLE")
	})
}
