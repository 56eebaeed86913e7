package handlers_test

import (
	"context"
	"encoding/base64"
	"encoding/csv"
	"errors"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers"
	"github.com/behalf-platform/behalf/projections"
)

// raw is the body of an answer that isn't JSON.
func (w *web) raw(path, token string) (body string, err error) {
	w.t.Helper()
	r := httptest.NewRequest("GET", path, nil)
	r.Header.Set("Authorization", "Bearer "+token)
	recorder := httptest.NewRecorder()
	defer func() {
		if recover() != nil {
			err = http.ErrAbortHandler
		}
		body = recorder.Body.String()
	}()
	w.api.ServeHTTP(recorder, r)
	if recorder.Code != 200 {
		w.t.Errorf("GET %s: got %d %s, want 200", path, recorder.Code, recorder.Body)
	}
	return "", nil
}

func TestEveryFilterNarrowsAListItsTotalsAndAnExport(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		o := b.office(t, `{"action":"purchase","vendors":["coachella.com"],"maxAmount":"500.00","currency":"USD","requiresApproval":"300"}`)
		o.n.project()
		one := o.verified(`{"action":"purchase","vendor":"coachella.com","amount":"120","resource":"ticket/1"}`, "ALLOWED")
		denied := o.verified(`{"action":"purchase","vendor":"coachella.com","amount":"742"}`, "AMOUNT_EXCEEDS_LIMIT")
		path := o.asked(`{"action":"purchase","vendor":"coachella.com","amount":"400"}`)
		time.Sleep(time.Hour)
		later := time.Now().UTC().Format(time.RFC3339)
		last := o.verified(`{"action":"mail.send","resource":"=HYPERLINK(1)","vendor":"@evil.example.com"}`, "NO_PERMISSION")
		at := last.body["position"].(string)
		approval := strings.TrimPrefix(path, "/v1/approvals/")
		version := func(r reply) string { return strconv.Itoa(int(r.body["passportVersion"].(float64))) }
		for _, c := range []struct {
			query string
			want  int
		}{
			{"", 4},
			{"agentId=agent_ollie", 4},
			{"agentId=agent_other", 0},
			{"outcome=denied", 2},
			{"reasonCode=AMOUNT_EXCEEDS_LIMIT", 1},
			{"action=purchase", 3},
			{"vendor=coachella.com", 3},
			{"vendor=coachella", 0},
			{"resource=ticket/1", 1},
			{"permissionId=" + o.permission, 3},
			{"approvalId=" + approval, 1},
			{"riskLevel=" + one.body["riskLevel"].(string) + "&outcome=allowed", 1},
			{"currency=USD&amountMin=120&amountMax=400", 2},
			{"currency=USD&amountMin=400.01", 1},
			{"currency=EUR&amountMax=1000", 0},
			{"passportVersion=" + version(one) + "&outcome=allowed", 1},
			{"passportVersion=1", 0},
			{"since=" + later, 1},
			{"until=" + later, 3},
			{"text=EXCEEDS%20the", 1},
			{"text=nothing%20like%20it", 0},
		} {
			query := c.query + "&atLeast=" + at
			if got := o.must(200, "GET", "/v1/decisions?"+query, o.token, ""); len(got.body["decisions"].([]any)) != c.want {
				t.Errorf("%s: got %s, want %d", c.query, got.text, c.want)
			}
			for _, totals := range []string{"/v1/decisions/totals?", "/v1/decisions?totals=true&"} {
				if got := o.must(200, "GET", totals+query, o.token, ""); got.body["count"] != float64(c.want) {
					t.Errorf("%s%s: got %s, want %d", totals, c.query, got.text, c.want)
				}
			}
			if text, err := o.raw("/v1/decisions?format=ndjson&"+query, o.token); err != nil || strings.Count(text, "\n") != c.want {
				t.Errorf("%s as ndjson: got %q, %v, want %d lines", c.query, text, err, c.want)
			}
			text, err := o.raw("/v1/decisions?format=csv&"+query, o.token)
			rows, unreadable := csv.NewReader(strings.NewReader(text)).ReadAll()
			if err != nil || unreadable != nil || len(rows) != c.want+1 {
				t.Errorf("%s as csv: got %q, %v, %v, want %d rows", c.query, text, err, unreadable, c.want)
			}
		}
		for _, query := range []string{
			"riskLevel=some", "reasonCode=nope", "amountMin=1", "amountMin=x&currency=USD", "currency=usd1", "amountMin=3&amountMax=2&currency=USD",
			"passportVersion=0", "passportVersion=-1", "format=xml", "format=csv&limit=3", "format=csv&cursor=x", "follow=true&format=csv",
			"follow=true&totals=true", "totals=maybe", "atLeast=x", "atLeast=" + domain.Position{Epoch: 9, Seq: 1}.String(), "textt=x",
		} {
			if r := o.do("GET", "/v1/decisions?"+query, o.token, ""); r.status != 400 {
				t.Errorf("%s: got %d %s, want 400", query, r.status, r.text)
			}
		}
		text, _ := o.raw("/v1/decisions?format=csv", o.token)
		for _, cell := range []string{",'=HYPERLINK(1),", ",'@evil.example.com,"} {
			if !strings.Contains(text, cell) {
				t.Errorf("got %s, want %s in it, which is no formula", text, cell)
			}
		}
		other := o.register(o.token, "agent_other")
		for _, path := range []string{"/v1/decisions", "/v1/decisions/totals", "/v1/usage"} {
			if r := o.must(200, "GET", path+"?atLeast="+at, other, ""); strings.Contains(r.text, "agent_ollie") || strings.Contains(r.text, `"count":4`) {
				t.Errorf("%s: got %s, want nothing of another agent", path, r.text)
			}
			o.must(404, "GET", path+"?agentId=agent_ollie", other, "")
		}
		o.pagesOfUsage()
		if text, _ := o.raw("/v1/decisions?format=ndjson", other); text != "" {
			t.Errorf("got %q exported, want nothing of another agent", text)
		}
		o.must(200, "GET", "/v1/decisions/"+denied.body["requestId"].(string), o.key, "")
	})
}

// pagesOfUsage reads usage row by row, which is what there is at once.
func (o *office) pagesOfUsage() {
	t := o.web.t
	t.Helper()
	whole := o.must(200, "GET", "/v1/usage", o.token, "")
	want, _ := whole.body["usage"].([]any)
	if _, more := whole.body["nextCursor"]; len(want) < 2 || more {
		t.Fatalf("got %s, want all there is", whole.text)
	}
	var got []any
	for cursor := ""; ; {
		page := o.must(200, "GET", "/v1/usage?limit=1&cursor="+cursor, o.token, "")
		got = append(got, page.body["usage"].([]any)...)
		if cursor, _ = page.body["nextCursor"].(string); cursor == "" || len(got) > len(want) {
			break
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v in pages, want %v", got, want)
	}
	for _, query := range []string{
		"limit=0", "limit=501", "cursor=x", "cursor=" + base64.RawURLEncoding.EncodeToString([]byte("2026-10-31 agent_1 allowed")),
		"cursor=" + base64.RawURLEncoding.EncodeToString([]byte("yesterday agent_1 allowed USD")),
		"cursor=" + base64.RawURLEncoding.EncodeToString([]byte("2026-10-31 agent* allowed USD")),
	} {
		if r := o.do("GET", "/v1/usage?"+query, o.token, ""); r.status != 400 {
			t.Errorf("%s: got %d %s, want 400", query, r.status, r.text)
		}
	}
}

func TestAQueryWaitsForAPositionButNotForEver(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		o := b.office(t, `{"action":"purchase"}`)
		stop := o.n.project()
		at := o.verified(`{"action":"purchase"}`, "ALLOWED").body["position"].(string)
		for _, path := range []string{"/v1/decisions", "/v1/decisions/totals", "/v1/usage", "/v1/agents/agent_ollie/history"} {
			o.must(200, "GET", path+"?atLeast="+at, o.token, "")
		}
		stop()
		at = o.verified(`{"action":"purchase"}`, "ALLOWED").body["position"].(string)
		began := time.Now()
		o.must(503, "GET", "/v1/decisions?atLeast="+at, o.token, "")
		if took := time.Since(began); took < time.Second || took > time.Minute {
			t.Errorf("got an answer after %s, want it to wait for some seconds", took)
		}
	})
}

func TestAnExportThatBreaksOffIsNotTakenForWhole(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		o := b.office(t, `{"action":"purchase"}`)
		o.n.project()
		for range 300 {
			o.verified(`{"action":"purchase"}`, "ALLOWED")
		}
		time.Sleep(caughtUp)
		o.n.Queries.Use(&breaking{fakeViews: b.views, after: 200})
		if text, err := o.raw("/v1/decisions?format=ndjson", o.token); !errors.Is(err, http.ErrAbortHandler) || text == "" {
			t.Errorf("got %d bytes and %v, want some, and the connection broken", len(text), err)
		}
	})
}

// breaking breaks off after some rows.
type breaking struct {
	*fakeViews
	after int
}

func (b *breaking) EachDecision(ctx context.Context, q projections.DecisionFilter, yield func(projections.DecisionRow) error) error {
	n := 0
	return b.fakeViews.EachDecision(ctx, q, func(row projections.DecisionRow) error {
		if n++; n > b.after {
			return errDown
		}
		return yield(row)
	})
}

func TestHistoryShowsWhoChangedAPassportAndNoSecret(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		o := b.office(t, `{"action":"purchase","notes":"for members"}`)
		o.n.project()
		o.must(200, "POST", "/v1/agents/agent_ollie/rotate-key", o.token, `{}`)
		o.must(200, "POST", "/v1/agents/agent_ollie/disable", o.tokens["amy"], `{"reason":"a test"}`)
		time.Sleep(caughtUp)
		r := o.must(200, "GET", "/v1/agents/agent_ollie/history", o.tokens["vi"], "")
		var kinds []string
		for _, c := range r.body["changes"].([]any) {
			kinds = append(kinds, c.(map[string]any)["kind"].(string))
		}
		want := "agent.disabled.v1 agent.key_rotated.v1 permission.granted.v1 agent.registered.v1"
		if got := strings.Join(kinds, " "); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if !strings.Contains(r.text, `"actor":"member:`+o.ids["amy"]) || !strings.Contains(r.text, `"reason":"a test"`) {
			t.Errorf("got %s, want who disabled it and why", r.text)
		}
		if strings.Contains(r.text, "Hash") || strings.Contains(r.text, string(domain.HashToken(o.key))) {
			t.Errorf("got %s, want no hash of a credential", r.text)
		}
		if r := o.do("GET", "/v1/agents/agent_ollie/history", o.key, ""); r.status == 200 {
			t.Errorf("an agent: got %d, want it refused", r.status)
		}
		o.must(404, "GET", "/v1/agents/agent_nobody/history", o.token, "")
		o.must(404, "GET", "/v1/agents/agent_ollie/history", b.foreign(o.n), "")
	})
}

func TestExplain(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		o := b.office(t, `{"action":"purchase","vendors":["coachella.com"],"maxAmount":"500.00","currency":"USD","requiresApproval":"300","notes":"not for agents"}`)
		cheap := o.grant(`{"action":"purchase","vendors":["*.ticketmaster.com"],"maxAmount":"50.00","currency":"USD","budgets":[{"amount":"60","per":"day"}]}`)
		gone := o.grant(`{"action":"mail.send"}`)
		o.must(200, "POST", "/v1/agents/agent_ollie/permissions/"+gone+"/revoke", o.token, `{}`)
		o.grant(`{"blockedActions":["payout"]}`)
		explained := func(token string, r reply) (string, map[string]any) {
			t.Helper()
			e := o.must(200, "GET", "/v1/decisions/"+r.body["requestId"].(string)+"?explain=true", token, "")
			explanation := e.body["explanation"].(map[string]any)
			var sentences []string
			for _, s := range explanation["toAllow"].([]any) {
				sentences = append(sentences, s.(string))
			}
			return strings.Join(sentences, "\n"), explanation
		}
		for _, c := range []struct {
			body, code string
			want       []string
		}{
			{`{"action":"purchase","vendor":"coachella.com","amount":"742"}`, "AMOUNT_EXCEEDS_LIMIT", []string{"500.00 USD or less", "742.00 USD"}},
			{`{"action":"purchase","vendor":"coachella.com"}`, "AMOUNT_REQUIRED", []string{"500.00 USD or less; the request said none"}},
			{`{"action":"purchase","vendor":"evil.com","amount":"1"}`, "VENDOR_NOT_ALLOWED", []string{"a vendor that the permission"}},
			{`{"action":"mail.send"}`, "PERMISSION_REVOKED", []string{gone, "not to be revoked"}},
			{`{"action":"payout"}`, "ACTION_BLOCKED", []string{"not to block payout"}},
			{`{"action":"repo:push"}`, "NO_PERMISSION", []string{"A permission of the agent would have had to allow the action repo:push."}},
			{`{"action":"purchase","vendor":"coachella.com","amount":"400"}`, "APPROVAL_REQUIRED", []string{"A person would have had to approve it (approval apr_"}},
			{`{"action":"purchase","vendor":"coachella.com","amount":"120"}`, "ALLOWED", nil},
			{`{"action":"purchase","vendor":"www.ticketmaster.com","amount":"40"}`, "ALLOWED", nil},
			{`{"action":"purchase","vendor":"www.ticketmaster.com","amount":"40"}`, "BUDGET_EXCEEDED", []string{"More would have had to be left", "asked after"}},
		} {
			got, explanation := explained(o.token, o.verified(c.body, c.code))
			if len(c.want) == 0 && got != "" {
				t.Errorf("%s: got %q, want nothing to be otherwise", c.body, got)
			}
			for _, want := range c.want {
				if !strings.Contains(got, want) {
					t.Errorf("%s: got %q, want %q in it", c.body, got, want)
				}
			}
			if c.code == "APPROVAL_REQUIRED" && explanation["approval"] == nil {
				t.Errorf("%s: got %v, want the approval", c.body, explanation)
			}
		}
		// The passport is the one there was, not the one there is.
		denied := o.verified(`{"action":"purchase","vendor":"coachella.com","amount":"742"}`, "AMOUNT_EXCEEDS_LIMIT")
		o.must(200, "POST", "/v1/agents/agent_ollie/permissions/"+cheap+"/revoke", o.token, `{}`)
		o.must(200, "POST", "/v1/agents/agent_ollie/permissions/"+o.permission+"/revoke", o.token, `{}`)
		_, explanation := explained(o.token, denied)
		passport := explanation["passport"].(map[string]any)
		if passport["passportVersion"] != denied.body["passportVersion"] || len(passport["permissions"].([]any)) != 3 {
			t.Errorf("got %v, want the passport with its 3 permissions", passport)
		}
		for token, notes := range map[string]bool{o.token: true, o.key: false} {
			r := o.must(200, "GET", "/v1/decisions/"+denied.body["requestId"].(string)+"?explain=true", token, "")
			if strings.Contains(r.text, "not for agents") != notes {
				t.Errorf("got %s, want the notes shown: %t", r.text, notes)
			}
		}
		o.must(400, "GET", "/v1/decisions/"+denied.body["requestId"].(string)+"?explain=maybe", o.token, "")
	})
}

// What follows a stream sees what the list shows.
func TestMatchesIsOneDecisionsFilter(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		n := b.node()
		key, permission := n.agent("agent_ollie")
		r, err := n.Verify(t.Context(), key, ask())
		if err != nil {
			t.Fatal(err)
		}
		is := func(change func(*projections.DecisionFilter)) bool {
			f := projections.DecisionFilter{Account: home}
			change(&f)
			return handlers.Matches(&f, &r)
		}
		minor := func(v int64) *int64 { return &v }
		for name, c := range map[string]struct {
			change func(*projections.DecisionFilter)
			want   bool
		}{
			"all":              {func(*projections.DecisionFilter) {}, true},
			"another account":  {func(f *projections.DecisionFilter) { f.Account = "acct_other" }, false},
			"its permission":   {func(f *projections.DecisionFilter) { f.PermissionID = permission }, true},
			"its amount":       {func(f *projections.DecisionFilter) { f.AmountMin, f.AmountMax = minor(12000), minor(12000) }, true},
			"more":             {func(f *projections.DecisionFilter) { f.AmountMin = minor(12001) }, false},
			"less":             {func(f *projections.DecisionFilter) { f.AmountMax = minor(11999) }, false},
			"since then":       {func(f *projections.DecisionFilter) { f.Since = r.At.Truncate(time.Microsecond) }, true},
			"until then":       {func(f *projections.DecisionFilter) { f.Until = r.At.Truncate(time.Microsecond) }, false},
			"its reason":       {func(f *projections.DecisionFilter) { f.Text = "ALLOWED by" }, true},
			"another vendor":   {func(f *projections.DecisionFilter) { f.Vendor = "coachella" }, false},
			"another currency": {func(f *projections.DecisionFilter) { f.Currency = "EUR" }, false},
		} {
			if got := is(c.change); got != c.want {
				t.Errorf("%s: got %t, want %t", name, got, c.want)
			}
		}
	})
}
