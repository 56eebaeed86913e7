package behalf_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/behalf-platform/behalf"
)

// approvalIn is an approval in a state.
func approvalIn(state string) string {
	return `{"approvalId":"apr_1","state":"` + state + `","agentId":"ollie","agentName":"Ollie","requestId":"req_1","permissionId":"perm_1",
		"riskLevel":"low","action":"purchase","amount":"742.00","currency":"USD","digest":"d","minRole":"APPROVER","quorum":1,"saidYes":0,
		"openedAt":"2026-11-23T12:00:00Z","expiresAt":"2026-11-24T12:00:00Z","wakeSubject":"behalf.wake.a.ollie.apr_1"}`
}

// answersOf are the calls that answer with one approval.
var answersOf = map[string]struct {
	call func(ctx context.Context, c *behalf.Client) (behalf.Approval, error)
	want string
}{
	"read": {func(ctx context.Context, c *behalf.Client) (behalf.Approval, error) {
		return c.Approval(ctx, "apr_1")
	}, `GET /v1/approvals/apr_1 `},
	"wait": {func(ctx context.Context, c *behalf.Client) (behalf.Approval, error) {
		return c.WaitApproval(ctx, "apr_1")
	}, `GET /v1/approvals/apr_1 `},
	"approve": {func(ctx context.Context, c *behalf.Client) (behalf.Approval, error) {
		return c.Approve(ctx, "apr_1", "")
	}, `POST /v1/approvals/apr_1/approve {}`},
	"deny": {func(ctx context.Context, c *behalf.Client) (behalf.Approval, error) {
		return c.Deny(ctx, "apr_1", "too much")
	}, `POST /v1/approvals/apr_1/deny {"comment":"too much"}`},
	"cancel": {func(ctx context.Context, c *behalf.Client) (behalf.Approval, error) {
		return c.Cancel(ctx, "apr_1", "")
	}, `POST /v1/approvals/apr_1/cancel {}`},
}

func TestApprovalsAreAskedForAsTheServerExpects(t *testing.T) {
	t.Parallel()
	for name, c := range answersOf {
		var got string
		client := handledBy(t, func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			got = fmt.Sprintf("%s %s %s", r.Method, r.URL.RequestURI(), body)
			_, _ = io.WriteString(w, approvalIn("denied"))
		})
		a, err := c.call(t.Context(), client)
		if err != nil || a.State != behalf.ApprovalDenied || a.AgentName != "Ollie" || a.ExpiresAt.Day() != 24 {
			t.Errorf("%s: got %+v, %v", name, a, err)
		}
		if got != c.want {
			t.Errorf("%s: got %s, want %s", name, got, c.want)
		}
	}
}

func TestWhatIsNoStateOfTheApprovalIsNoAnswer(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"an unknown state": approvalIn("sure"),
		"no state":         approvalIn(""),
		"a state in caps":  approvalIn("APPROVED"),
		"another approval": strings.Replace(approvalIn("approved"), "apr_1", "apr_2", 1),
		"an empty object":  "{}",
		"no JSON":          "approved",
	} {
		for verb, c := range answersOf {
			a, err := c.call(t.Context(), serving(t, 200, body))
			if !errors.Is(err, behalf.ErrUnavailable) || a.State != "" {
				t.Errorf("%s, to %s: got %q, %v; want ErrUnavailable", name, verb, a.State, err)
			}
		}
	}
}

func TestARefusedApprovalIsNoOutage(t *testing.T) {
	t.Parallel()
	for verb, c := range answersOf {
		_, err := c.call(t.Context(), serving(t, 409, `{"error":{"code":"CONFLICT","message":"approval apr_1 is used and can't be approved"}}`))
		if refused, ok := errors.AsType[*behalf.Error](err); !ok || refused.Code != "CONFLICT" || errors.Is(err, behalf.ErrUnavailable) {
			t.Errorf("%s: got %v, want the refusal", verb, err)
		}
	}
}

func TestWaitApprovalWaitsForAPerson(t *testing.T) {
	t.Parallel()
	for _, state := range []behalf.ApprovalState{
		behalf.ApprovalApproved, behalf.ApprovalUsed, behalf.ApprovalDenied, behalf.ApprovalExpired, behalf.ApprovalCancelled,
	} {
		var asked []string
		client := handledBy(t, func(w http.ResponseWriter, r *http.Request) {
			asked = append(asked, r.URL.RawQuery)
			if len(asked) == 1 {
				_, _ = io.WriteString(w, approvalIn("pending"))
				return
			}
			_, _ = io.WriteString(w, approvalIn(string(state)))
		})
		a, err := client.WaitApproval(t.Context(), "apr_1")
		if err != nil || a.State != state {
			t.Errorf("got %q, %v; want %q", a.State, err, state)
		}
		if got := strings.Join(asked, "; "); got != "; wait=30s" {
			t.Errorf("got the questions %q, want one without wait and one with", got)
		}
	}
}

func TestWaitApprovalEndsWithItsContext(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]http.HandlerFunc{
		"while the server waits": func(w http.ResponseWriter, r *http.Request) {
			if r.URL.RawQuery != "" {
				<-r.Context().Done()
				return
			}
			_, _ = io.WriteString(w, approvalIn("pending"))
		},
		"with a server that doesn't wait": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, approvalIn("pending")) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var questions atomic.Int32
			client := handledBy(t, func(w http.ResponseWriter, r *http.Request) { questions.Add(1); answer(w, r) })
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			a, err := client.WaitApproval(ctx, "apr_1")
			if a.State != behalf.ApprovalPending || !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, behalf.ErrUnavailable) {
				t.Errorf("got %q, %v; want it pending, and the deadline", a.State, err)
			}
			if n := questions.Load(); n != 2 {
				t.Errorf("got %d questions, want 2: the server is not to be flooded", n)
			}
		})
	}
}

func TestWaitApprovalFailsWithItsServer(t *testing.T) {
	t.Parallel()
	n := 0
	client := handledBy(t, func(w http.ResponseWriter, _ *http.Request) {
		if n++; n > 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = io.WriteString(w, `{"error":{"code":"UNAVAILABLE","message":"stopping"}}`)
			return
		}
		_, _ = io.WriteString(w, approvalIn("pending"))
	})
	if a, err := client.WaitApproval(t.Context(), "apr_1"); !errors.Is(err, behalf.ErrUnavailable) || a.State != "" {
		t.Errorf("got %q, %v; want ErrUnavailable", a.State, err)
	}
}

func TestApprovalRules(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]behalf.ApprovalRule{
		`true`: {Always: true}, `false`: {}, `"100.00"`: {Above: "100.00"}, `100.10`: {Above: "100.10"}, `0`: {Above: "0"},
	} {
		var got behalf.ApprovalRule
		if err := json.Unmarshal([]byte(text), &got); err != nil || got != want {
			t.Errorf("%s: got %+v, %v; want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{`null`, `""`, `{}`, `[true]`, `{"always":true}`} {
		p, err := serving(t, 200, `{"permissionId":"perm_1","requiresApproval":`+text+`}`).Permission(t.Context(), "x", "perm_1")
		if !errors.Is(err, behalf.ErrUnavailable) {
			t.Errorf("%s: got %+v, %v; want an error, not that nobody is asked", text, p.RequiresApproval, err)
		}
	}
}

func TestLimitsAndSettingsAreRead(t *testing.T) {
	t.Parallel()
	const limited = `"budgets":[{"amount":"5.00","currency":"EUR","per":"day","timeZone":"UTC"}],"rates":[{"count":3,"per":"minute","timeZone":"UTC"}],
		"left":[{"per":"minute","most":"3","used":"1","left":"2","windowEndsAt":"2026-11-23T12:01:00Z"},{"per":"total","currency":"EUR","most":"5.00","used":"0.00","left":"5.00"}]`
	check := func(name string, limits behalf.Limits, left []behalf.Left) {
		t.Helper()
		if len(limits.Budgets) != 1 || limits.Budgets[0].Amount != "5.00" || len(limits.Rates) != 1 || limits.Rates[0].Count != 3 {
			t.Errorf("%s: got the limits %+v", name, limits)
		}
		if len(left) != 2 || left[0].Left != "2" || left[0].WindowEndsAt.Minute() != 1 || !left[1].WindowEndsAt.IsZero() {
			t.Errorf("%s: got %+v left", name, left)
		}
	}
	client := serving(t, 200, `{"agentId":"x","permissionId":"perm_1",`+limited+`,"accountLeft":[{"per":"day","most":"9","used":"0","left":"9"}],"permissions":[{`+limited+`}]}`)
	agent, err := client.AgentLimits(t.Context(), "x")
	if err != nil {
		t.Fatal(err)
	}
	check("agent", agent.Limits, agent.Left)
	account, _ := client.AccountLimits(t.Context())
	check("account", account.Limits, account.Left)
	permission, _ := client.Permission(t.Context(), "x", "perm_1")
	check("permission", permission.Limits, permission.Left)
	passport, _ := client.Passport(t.Context())
	check("passport", passport.Limits, passport.Left)
	check("the passport's permission", passport.Permissions[0].Limits, passport.Permissions[0].Left)
	if len(passport.AccountLeft) != 1 || passport.AccountLeft[0].Left != "9" {
		t.Errorf("got %+v left of the account's", passport.AccountLeft)
	}

	settings, err := serving(t, 200, `{"accountId":"acct_1","timeZone":"Europe/Berlin","approvals":{"pendingFor":"24h","validFor":"30m","denialFor":"1h30m",
		"remindEvery":"0s","mostPending":20,"selfApproval":false,"shareComments":true}}`).Account(t.Context())
	want := behalf.ApprovalSettings{
		PendingFor: behalf.Duration(24 * time.Hour), ValidFor: behalf.Duration(30 * time.Minute), DenialFor: behalf.Duration(90 * time.Minute),
		MostPending: 20, ShareComments: true,
	}
	if err != nil || settings.Approvals != want || settings.TimeZone != "Europe/Berlin" {
		t.Errorf("got %+v, %v; want %+v", settings, err, want)
	}
}

func TestDurationsAreWrittenShort(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0: "0s", 90 * time.Second: "1m30s", 30 * time.Minute: "30m", 24 * time.Hour: "24h", 90 * time.Minute: "1h30m", time.Hour + time.Second: "1h0m1s",
	} {
		if got := behalf.Duration(d).String(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestAnOutcomeIsReported(t *testing.T) {
	t.Parallel()
	var got string
	body := `{"requestId":"req_1","outcome":"executed","amount":"99.50","currency":"USD","released":"20.50"}`
	client := handledBy(t, func(w http.ResponseWriter, r *http.Request) {
		sent, _ := io.ReadAll(r.Body)
		got = r.Method + " " + r.URL.RequestURI() + " " + string(sent)
		_, _ = io.WriteString(w, body)
	})
	s, err := client.Outcome(t.Context(), "req_1", behalf.Report{Outcome: behalf.Executed, Amount: "99.50"})
	if err != nil || s.Released != "20.50" || s.Amount != "99.50" || s.Currency != "USD" {
		t.Errorf("got %+v, %v", s, err)
	}
	if want := `POST /v1/decisions/req_1/outcome {"outcome":"executed","amount":"99.50"}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for id, outcome := range map[string]behalf.ActionOutcome{"req_1": behalf.Failed, "req_2": behalf.Executed} {
		if s, err := client.Outcome(t.Context(), id, behalf.Report{Outcome: outcome}); !errors.Is(err, behalf.ErrUnavailable) || s.RequestID != "" {
			t.Errorf("%s %s: got %+v, %v; want ErrUnavailable for an answer to something else", id, outcome, s, err)
		}
	}
}
