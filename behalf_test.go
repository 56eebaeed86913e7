package behalf_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/behalf-platform/behalf"
)

var ask = behalf.Ask{AgentID: "ollie", Action: "purchase", Vendor: "coachella.com"}

// packet is a good allow.
const packet = `{"requestId":"req_1","agentId":"ollie","decision":"allowed","allowed":true,"reasonCode":"ALLOWED","reason":"",
	"riskLevel":"low","action":"purchase","vendor":"coachella.com","passportVersion":7,"position":"AAAAAAAJ",
	"decidedAt":"2026-11-23T12:00:00Z","approvalRequired":false,"risk":"low"}`

// packetWith is the packet with some of its text replaced.
func packetWith(old, replacement string) string {
	if !strings.Contains(packet, old) {
		panic("the packet has no " + old)
	}
	return strings.Replace(packet, old, replacement, 1)
}

// serving is a client of a server that answers everything alike.
func serving(t *testing.T, status int, body string) *behalf.Client {
	t.Helper()
	return handledBy(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	})
}

func handledBy(t *testing.T, h http.HandlerFunc) *behalf.Client {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return &behalf.Client{BaseURL: server.URL, Token: "bhf_sk_x", HTTPClient: server.Client()}
}

func TestVerifyTakesWholeDecisions(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, body string
		decision   behalf.Outcome
		allowed    bool
	}{
		{"allowed", packet, behalf.OutcomeAllowed, true},
		{"denied", packetWith(`"allowed","allowed":true`, `"denied","allowed":false`), behalf.OutcomeDenied, false},
		{
			"requires approval",
			strings.Replace(packetWith(`"allowed","allowed":true`, `"requires_approval","allowed":false`), `"approvalRequired":false`, `"approvalRequired":true`, 1),
			behalf.OutcomeRequiresApproval, false,
		},
		{"a field this version doesn't know", packetWith(`{`, `{"later":{"x":[1]},`), behalf.OutcomeAllowed, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p, err := serving(t, 200, c.body).Verify(t.Context(), ask)
			if err != nil || p.Decision != c.decision || p.Allowed != c.allowed {
				t.Errorf("got %s, %t, %v; want %s, %t", p.Decision, p.Allowed, err, c.decision, c.allowed)
			}
		})
	}
}

func TestVerifyFailsClosedOnEveryOtherAnswer(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]struct {
		status int
		body   string
	}{
		"nothing":                     {200, ""},
		"not JSON":                    {200, "<html>allowed</html>"},
		"cut off":                     {200, packet[:200]},
		"two answers":                 {200, packet + packet},
		"null":                        {200, "null"},
		"a list":                      {200, "[" + packet + "]"},
		"allowed is a string":         {200, packetWith(`"allowed":true`, `"allowed":"true"`)},
		"allowed is missing":          {200, packetWith(`"allowed":true,`, ``)},
		"allowed is there twice":      {200, packetWith(`"allowed":true`, `"allowed":false,"allowed":true`)},
		"names in another case":       {200, packetWith(`"decision":"allowed"`, `"Decision":"allowed"`)},
		"allowed but denied":          {200, packetWith(`"decision":"allowed"`, `"decision":"denied"`)},
		"allowed but needs approval":  {200, packetWith(`"approvalRequired":false`, `"approvalRequired":true`)},
		"denied but allowed":          {200, packetWith(`"allowed":true`, `"allowed":false`)},
		"a denial that reserved":      {200, packetWith(`"allowed","allowed":true`, `"denied","reserved":true,"allowed":false`)},
		"unknown decision":            {200, packetWith(`"decision":"allowed"`, `"decision":"permitted"`)},
		"no decision":                 {200, packetWith(`"decision":"allowed",`, ``)},
		"another agent":               {200, packetWith(`"ollie"`, `"olli"`)},
		"no agent":                    {200, packetWith(`"agentId":"ollie",`, ``)},
		"another action":              {200, packetWith(`"purchase"`, `"refund"`)},
		"another vendor":              {200, packetWith(`"coachella.com"`, `"evil.io"`)},
		"a resource not asked for":    {200, packetWith(`"vendor"`, `"resource":"x","vendor"`)},
		"not recorded":                {200, packetWith(`"AAAAAAAJ"`, `""`)},
		"no request id":               {200, packetWith(`"req_1"`, `""`)},
		"bad UTF-8":                   {200, packetWith(`"reason":""`, "\"reason\":\"\xff\"")},
		"over a mebibyte":             {200, packetWith(`"reason":""`, `"reason":"`+strings.Repeat("a", 1<<20)+`"`)},
		"a packet with another 2xx":   {201, packet},
		"a packet with an error":      {500, packet},
		"503":                         {503, `{"allowed":false,"error":{"code":"UNAVAILABLE","message":"try again"}}`},
		"429":                         {429, `{"error":{"code":"RATE_LIMITED","message":"wait"}}`},
		"a 404 that isn't Behalf's":   {404, "not found"},
		"a 403 by some proxy":         {403, `{"error":"denied"}`},
		"an error without its code":   {400, `{"error":{"message":"x"}}`},
		"an answer to something else": {200, `{"agentId":"ollie","wouldBe":"allowed"}`},
		"what would be":               {200, packetWith(`{`, `{"wouldBe":"allowed",`)},
		"a dry run":                   {200, packetWith(`{`, `{"dryRun":true,`)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, err := serving(t, answer.status, answer.body).Verify(t.Context(), ask)
			if !errors.Is(err, behalf.ErrUnavailable) {
				t.Errorf("got %v, want ErrUnavailable", err)
			}
			if p.Allowed || p.Decision != "" {
				t.Errorf("got the packet %+v beside an error", p)
			}
		})
	}
}

func TestVerifyWantsTheAnswerToItsAsk(t *testing.T) {
	t.Parallel()
	priced := func(amount, currency string) string {
		return packetWith(`"vendor"`, `"amount":"`+amount+`","currency":"`+currency+`","vendor"`)
	}
	for name, c := range map[string]struct {
		change func(*behalf.Ask)
		body   string
		ok     bool
	}{
		"the vendor left out":               {func(*behalf.Ask) {}, packetWith(`"vendor":"coachella.com",`, ``), false},
		"a vendor not asked for":            {func(a *behalf.Ask) { a.Vendor = "" }, packet, false},
		"the vendor in another case":        {func(a *behalf.Ask) { a.Vendor = "Coachella.com" }, packet, false},
		"the resource":                      {func(a *behalf.Ask) { a.Resource = "x" }, packetWith(`"vendor"`, `"resource":"x","vendor"`), true},
		"the resource left out":             {func(a *behalf.Ask) { a.Resource = "x" }, packet, false},
		"any agent, of the key":             {func(a *behalf.Ask) { a.AgentID = "" }, packet, true},
		"the amount":                        {func(a *behalf.Ask) { a.Amount, a.Currency = "742.00", "USD" }, priced("742.00", "USD"), true},
		"the amount in full scale":          {func(a *behalf.Ask) { a.Amount, a.Currency = "742", "USD" }, priced("742.00", "USD"), true},
		"the amount with half a scale":      {func(a *behalf.Ask) { a.Amount, a.Currency = "742.5", "USD" }, priced("742.50", "USD"), true},
		"an amount without a scale":         {func(a *behalf.Ask) { a.Amount, a.Currency = "700", "JPY" }, priced("700", "JPY"), true},
		"the amount in the account's money": {func(a *behalf.Ask) { a.Amount = "742" }, priced("742.00", "EUR"), true},
		"zero":                              {func(a *behalf.Ask) { a.Amount = "0" }, priced("0.00", "USD"), true},
		"zero for no amount":                {func(a *behalf.Ask) { a.Currency = "USD" }, priced("0.00", "USD"), false},
		"no amount for zero":                {func(a *behalf.Ask) { a.Amount = "0" }, packet, false},
		"a lower amount":                    {func(a *behalf.Ask) { a.Amount, a.Currency = "742.00", "USD" }, priced("74.20", "USD"), false},
		"a hundredth":                       {func(a *behalf.Ask) { a.Amount, a.Currency = "700", "USD" }, priced("7.00", "USD"), false},
		"the amount left out":               {func(a *behalf.Ask) { a.Amount, a.Currency = "742.00", "USD" }, packet, false},
		"an amount not asked for":           {func(*behalf.Ask) {}, priced("742.00", "USD"), false},
		"another currency":                  {func(a *behalf.Ask) { a.Amount, a.Currency = "742.00", "USD" }, priced("742.00", "EUR"), false},
		"a currency alone":                  {func(a *behalf.Ask) { a.Currency = "USD" }, packetWith(`"vendor"`, `"currency":"USD","vendor"`), true},
		"a currency alone left out":         {func(a *behalf.Ask) { a.Currency = "USD" }, packet, false},
		"a currency not asked for":          {func(*behalf.Ask) {}, packetWith(`"vendor"`, `"currency":"USD","vendor"`), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			asked := ask
			c.change(&asked)
			p, err := serving(t, 200, c.body).Verify(t.Context(), asked)
			if c.ok && (err != nil || !p.Allowed) {
				t.Errorf("got %t, %v; want an allow", p.Allowed, err)
			}
			if !c.ok && (!errors.Is(err, behalf.ErrUnavailable) || p.Allowed) {
				t.Errorf("got %t, %v; want ErrUnavailable", p.Allowed, err)
			}
		})
	}
}

// A client that knows whose key it has takes no packet of another agent, whether
// the ask names one or not.
func TestAClientsAgentIsTheOnlyOne(t *testing.T) {
	t.Parallel()
	unnamed := ask
	unnamed.AgentID = ""
	for transport, fake := range fakes {
		f := fake(t, said{status: 200, body: packet})
		for agent, ok := range map[string]bool{"ollie": true, "mia": false} {
			f.client.AgentID = agent
			for _, asked := range []behalf.Ask{ask, unnamed} {
				p, err := f.client.Verify(t.Context(), asked)
				if p.Allowed != ok || (err == nil) != ok || !ok && !errors.Is(err, behalf.ErrUnavailable) {
					t.Errorf("%s: %s, asking as %q: got %t, %v; want %t", transport, agent, asked.AgentID, p.Allowed, err, ok)
				}
			}
		}
	}
	over, err := behalf.ConnectNATS(nats.DefaultURL, "mia", "bhf_sk_x", nats.InProcessServer(mustNATS(t)))
	if err != nil {
		t.Fatal(err)
	}
	over.NATS.Close()
	if over.AgentID != "mia" {
		t.Errorf("got the agent %q, want the one that connects", over.AgentID)
	}
}

func TestARefusalIsNoOutage(t *testing.T) {
	t.Parallel()
	_, err := serving(t, 400, `{"error":{"code":"INVALID_REQUEST","message":"is negative","field":"/amount"}}`).Verify(t.Context(), ask)
	refused, ok := errors.AsType[*behalf.Error](err)
	if !ok || refused.Status != 400 || refused.Code != "INVALID_REQUEST" || refused.Field != "/amount" {
		t.Fatalf("got %#v, want the server's refusal", err)
	}
	if errors.Is(err, behalf.ErrUnavailable) {
		t.Error("a bad request counts as an outage")
	}
	if got, want := refused.Error(), "/amount: is negative (INVALID_REQUEST)"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestRetryAfterIsRead(t *testing.T) {
	t.Parallel()
	client := handledBy(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "3")
		w.WriteHeader(http.StatusTooManyRequests)
		_, _ = io.WriteString(w, `{"error":{"code":"RATE_LIMITED","message":"wait"}}`)
	})
	_, err := client.Me(t.Context())
	if refused, ok := errors.AsType[*behalf.Error](err); !ok || refused.RetryAfter != 3*time.Second {
		t.Errorf("got %#v, want to retry after 3s", err)
	}
}

func TestRedirectsAreRefused(t *testing.T) {
	t.Parallel()
	var elsewhere bool
	client := handledBy(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/elsewhere" {
			elsewhere = true
		}
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	})
	client.HTTPClient.CheckRedirect = nil // which would follow
	if _, err := client.Verify(t.Context(), ask); !errors.Is(err, behalf.ErrUnavailable) {
		t.Errorf("got %v, want ErrUnavailable", err)
	}
	if elsewhere {
		t.Error("the credential was sent elsewhere")
	}
}

func TestVerifyGivesUpWithItsContext(t *testing.T) {
	t.Parallel()
	client := handledBy(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // so that the end of the connection is noticed
		<-r.Context().Done()
	})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := client.Verify(ctx, ask)
	if !errors.Is(err, behalf.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want ErrUnavailable by the deadline", err)
	}
}

func TestVerifyWithoutAServer(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(nil)
	server.Close()
	for _, url := range []string{"", "http://[", server.URL} {
		client := behalf.Client{BaseURL: url}
		if _, err := client.Verify(t.Context(), ask); !errors.Is(err, behalf.ErrUnavailable) {
			t.Errorf("with the address %q: got %v, want ErrUnavailable", url, err)
		}
	}
}

func TestRequestsAreWhatTheServerExpects(t *testing.T) {
	t.Parallel()
	yes := true
	expires := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name string
		call func(ctx context.Context, c *behalf.Client) error
		// want is method, path, If-Match and body.
		want   string
		status int
	}{
		{"verify", func(ctx context.Context, c *behalf.Client) error {
			_, err := c.Verify(ctx, behalf.Ask{Action: "a", Amount: "1.10", Context: behalf.Facts{Branch: "main"}, Arguments: map[string]int{"n": 1}})
			return err
		}, `POST /v1/verify  {"action":"a","amount":"1.10","context":{"branch":"main"},"arguments":{"n":1}}`, 200},
		{"register", func(ctx context.Context, c *behalf.Client) error {
			_, err := c.RegisterAgent(ctx, behalf.NewAgent{AgentID: "x", Name: "X", Type: "connected", Provider: "p", WithKey: &yes})
			return err
		}, `POST /v1/agents  {"agentId":"x","name":"X","type":"connected","provider":"p","withKey":true}`, 201},
		{"a page of agents", func(ctx context.Context, c *behalf.Client) error {
			_, err := c.Agents(ctx, behalf.Page{Limit: 2, Cursor: "a b"})
			return err
		}, `GET /v1/agents?cursor=a+b&limit=2  `, 200},
		{"an id that tries to be a path", func(ctx context.Context, c *behalf.Client) error {
			_, err := c.Agent(ctx, "../members?x")
			return err
		}, `GET /v1/agents/..%2Fmembers%3Fx  `, 200},
		{"disable", func(ctx context.Context, c *behalf.Client) error {
			_, err := c.DisableAgent(ctx, "x", "lost")
			return err
		}, `POST /v1/agents/x/disable  {"reason":"lost"}`, 200},
		{"enable", func(ctx context.Context, c *behalf.Client) error { _, err := c.EnableAgent(ctx, "x"); return err }, `POST /v1/agents/x/enable  {}`, 200},
		{"grant", func(ctx context.Context, c *behalf.Client) error {
			_, err := c.Grant(ctx, "x", behalf.Terms{Action: "a", Vendors: behalf.Patterns{"b.com"}, ExpiresAt: expires, Paths: []string{}})
			return err
		}, `POST /v1/agents/x/permissions  {"action":"a","vendors":["b.com"],"paths":[],"expiresAt":"2027-01-01T00:00:00Z"}`, 201},
		{"grant JSON", func(ctx context.Context, c *behalf.Client) error {
			_, err := c.GrantJSON(ctx, "x", []byte(`{"misspelt":1, "maxAmount":1.10}`))
			return err
		}, `POST /v1/agents/x/permissions  {"misspelt":1,"maxAmount":1.10}`, 201},
		{"replace", func(ctx context.Context, c *behalf.Client) error {
			_, err := c.Replace(ctx, "x", "perm_1", behalf.Terms{Action: "a"}, 42)
			return err
		}, `PUT /v1/agents/x/permissions/perm_1 "42" {"action":"a"}`, 200},
		{"revoke", func(ctx context.Context, c *behalf.Client) error {
			_, err := c.Revoke(ctx, "x", "perm_1", "")
			return err
		}, `POST /v1/agents/x/permissions/perm_1/revoke  {}`, 200},
		{"settings", func(ctx context.Context, c *behalf.Client) error {
			_, err := c.ChangeAccount(ctx, behalf.Settings{DefaultCurrency: "EUR"})
			return err
		}, `PATCH /v1/account  {"defaultCurrency":"EUR"}`, 200},
		{"add a member", func(ctx context.Context, c *behalf.Client) error {
			_, err := c.AddMember(ctx, "Ann", "VIEWER")
			return err
		}, `POST /v1/members  {"name":"Ann","role":"VIEWER"}`, 201},
		{"what limits and asks a person", func(ctx context.Context, c *behalf.Client) error {
			_, err := c.Grant(ctx, "x", behalf.Terms{
				Action: "a", RequiresApproval: behalf.ApprovalRule{Above: "100.00"},
				Approval: &behalf.ApprovalTerms{MinRole: "ADMIN", Quorum: 2, PendingFor: behalf.Duration(2 * time.Hour)},
				Limits: behalf.Limits{
					Budgets: []behalf.Budget{{Amount: "5.00", Currency: "EUR", Per: "day", TimeZone: "Europe/Berlin"}},
					Rates:   []behalf.Rate{{Count: 3, Per: "minute"}},
				},
			})
			return err
		}, `POST /v1/agents/x/permissions  {"action":"a","requiresApproval":"100.00","approval":{"minRole":"ADMIN","quorum":2,"pendingFor":"2h"},` +
			`"budgets":[{"amount":"5.00","currency":"EUR","per":"day","timeZone":"Europe/Berlin"}],"rates":[{"count":3,"per":"minute"}]}`, 201},
		{"what always asks a person", func(ctx context.Context, c *behalf.Client) error {
			_, err := c.Grant(ctx, "x", behalf.Terms{Action: "a", RequiresApproval: behalf.ApprovalRule{Always: true}})
			return err
		}, `POST /v1/agents/x/permissions  {"action":"a","requiresApproval":true}`, 201},
		{"approval settings", func(ctx context.Context, c *behalf.Client) error {
			never, no := behalf.Duration(0), false
			_, err := c.ChangeAccount(ctx, behalf.Settings{TimeZone: "UTC", Approvals: behalf.ApprovalChanges{RemindEvery: &never, SelfApproval: &no}})
			return err
		}, `PATCH /v1/account  {"timeZone":"UTC","approvals":{"remindEvery":"0s","selfApproval":false}}`, 200},
		{"approvals", func(ctx context.Context, c *behalf.Client) error {
			_, err := c.Approvals(ctx, behalf.ApprovalQuery{State: behalf.ApprovalPending, AgentID: "x", PermissionID: "perm_1", Limit: 5, Cursor: "apr_1"})
			return err
		}, `GET /v1/approvals?agentId=x&cursor=apr_1&limit=5&permissionId=perm_1&state=pending  `, 200},
		{"reservations", func(ctx context.Context, c *behalf.Client) error {
			_, err := c.Reservations(ctx, behalf.ReservationQuery{AgentID: "x", Limit: 5})
			return err
		}, `GET /v1/reservations?agentId=x&limit=5  `, 200},
		{"an agent's limits", func(ctx context.Context, c *behalf.Client) error { _, err := c.AgentLimits(ctx, "x"); return err }, `GET /v1/agents/x/limits  `, 200},
		{"an agent's limits set", func(ctx context.Context, c *behalf.Client) error {
			_, err := c.SetAgentLimits(ctx, "x", behalf.Limits{Rates: []behalf.Rate{{Count: 3, Per: "total"}}})
			return err
		}, `PUT /v1/agents/x/limits  {"rates":[{"count":3,"per":"total"}]}`, 200},
		{"the account's limits", func(ctx context.Context, c *behalf.Client) error { _, err := c.AccountLimits(ctx); return err }, `GET /v1/account/limits  `, 200},
		{"the account's limits ended", func(ctx context.Context, c *behalf.Client) error {
			_, err := c.SetAccountLimits(ctx, behalf.Limits{})
			return err
		}, `PUT /v1/account/limits  {}`, 200},
		{"a driver", func(ctx context.Context, c *behalf.Client) error {
			_, err := c.SetDriver(ctx, "x", "mem_1")
			return err
		}, `PUT /v1/agents/x/driver  {"driver":"mem_1"}`, 200},
		{"no driver", func(ctx context.Context, c *behalf.Client) error { _, err := c.SetDriver(ctx, "x", ""); return err }, `PUT /v1/agents/x/driver  {"driver":""}`, 200},
		{"remove a member", func(ctx context.Context, c *behalf.Client) error { return c.RemoveMember(ctx, "mem_1") }, `DELETE /v1/members/mem_1  `, 204},
		{"decisions", func(ctx context.Context, c *behalf.Client) error {
			_, err := c.Decisions(ctx, behalf.DecisionQuery{AgentID: "x", Outcome: behalf.OutcomeDenied, Since: expires, Limit: 5})
			return err
		}, `GET /v1/decisions?agentId=x&limit=5&outcome=denied&since=2027-01-01T00%3A00%3A00Z  `, 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var got string
			client := handledBy(t, func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				got = fmt.Sprintf("%s %s %s %s", r.Method, r.URL.RequestURI(), r.Header.Get("If-Match"), body)
				if r.Header.Get("Authorization") != "Bearer bhf_sk_x" {
					got += " without the credential"
				}
				if len(body) > 0 && r.Header.Get("Content-Type") != "application/json" {
					got += " without its type"
				}
				w.WriteHeader(c.status)
				if c.status != http.StatusNoContent {
					_, _ = io.WriteString(w, "{}")
				}
			})
			err := c.call(t.Context(), client)
			if got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if err != nil && c.name != "verify" { // {} is no packet
				t.Error(err)
			}
		})
	}
}

func TestWhatCanNotBeAPathIsRefused(t *testing.T) {
	t.Parallel()
	client := handledBy(t, func(_ http.ResponseWriter, r *http.Request) { t.Errorf("sent %s", r.URL) })
	for _, id := range []string{"", ".", ".."} {
		_, err := client.Agent(t.Context(), id)
		if _, ok := errors.AsType[*behalf.Error](err); !ok {
			t.Errorf("for the id %q: got %v, want a refusal", id, err)
		}
	}
	if _, err := client.GrantJSON(t.Context(), "x", []byte(`{"action":"a","action":"b"}`)); err == nil {
		t.Error("terms with a name twice are sent")
	}
}

func TestAPermissionIsReadWithItsTerms(t *testing.T) {
	t.Parallel()
	p, err := serving(t, 200, `{"permissionId":"perm_1","status":"active","version":4,"action":"a","resource":"one","vendors":["a","b"],
		"context":{"branch":"main"},"expiresAt":"2027-01-01T00:00:00Z","summary":"s","grantedAt":"2026-01-01T00:00:00Z"}`).Permission(t.Context(), "x", "perm_1")
	if err != nil {
		t.Fatal(err)
	}
	if p.Action != "a" || len(p.Resource) != 1 || p.Resource[0] != "one" || len(p.Vendors) != 2 || p.Context.Branch[0] != "main" || p.ExpiresAt.Year() != 2027 {
		t.Errorf("got %+v", p)
	}
}

func TestFollowYieldsDecisionsUntilTheStreamEnds(t *testing.T) {
	t.Parallel()
	client := handledBy(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("follow") != "true" {
			t.Errorf("got %s, want follow=true", r.URL)
		}
		_, _ = io.WriteString(w, "\n"+strings.ReplaceAll(packet, "\n", "")+"\n\n"+`{"requestId":"req_2"}`+"\n")
	})
	var ids []string
	var last error
	for p, err := range client.Follow(t.Context(), behalf.DecisionQuery{}) {
		if last = err; err == nil {
			ids = append(ids, p.RequestID)
		}
	}
	if strings.Join(ids, " ") != "req_1 req_2" || !errors.Is(last, behalf.ErrUnavailable) {
		t.Errorf("got %v, then %v; want req_1 req_2, then ErrUnavailable", ids, last)
	}
}

func TestFollowEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	client := handledBy(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, `{"requestId":"req_1"}`+"\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	for p, err := range client.Follow(ctx, behalf.DecisionQuery{}) {
		if err == nil && p.RequestID == "req_1" {
			cancel()
		} else if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want context.Canceled", err)
		}
	}
}

func TestFollowIsRefusedLikeEverythingElse(t *testing.T) {
	t.Parallel()
	client := serving(t, 401, `{"error":{"code":"UNAUTHENTICATED","message":"no"}}`)
	n := 0
	for _, err := range client.Follow(t.Context(), behalf.DecisionQuery{}) {
		if refused, ok := errors.AsType[*behalf.Error](err); !ok || refused.Code != "UNAUTHENTICATED" {
			t.Errorf("got %v, want the refusal", err)
		}
		n++
	}
	if n != 1 {
		t.Errorf("got %d yields, want 1", n)
	}
}
