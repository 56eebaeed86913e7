package behalf_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/behalf-platform/behalf"
)

func TestBothTransportsAnswerTheSame(t *testing.T) {
	overBoth(t, func(t *testing.T, s *stand, permission string) {
		ctx := t.Context()
		passport, err := s.agent.Passport(ctx)
		if err != nil || passport.AgentID != "ollie" || len(passport.Permissions) != 1 || passport.Permissions[0].PermissionID != permission {
			t.Errorf("passport: got %+v, %v", passport, err)
		}
		preview, err := s.agent.Preview(ctx, buy("101"))
		if err != nil || preview.WouldBe != behalf.OutcomeDenied || preview.ReasonCode != "BUDGET_EXCEEDED" || len(preview.Left) != 1 {
			t.Errorf("preview: got %+v, %v", preview, err)
		}
		packet, err := s.agent.Verify(ctx, buy("40"))
		if err != nil || !packet.Allowed || !packet.Reserved {
			t.Fatalf("verify: got %+v, %v", packet, err)
		}
		report := behalf.Report{Outcome: behalf.Executed, Amount: "38.50"}
		if settled, err := s.agent.Outcome(ctx, packet.RequestID, report); err != nil || settled.Released != "1.50" {
			t.Errorf("outcome: got %+v, %v", settled, err)
		}
		wantRefused(t, "another outcome", "CONFLICT", func() error {
			_, err := s.agent.Outcome(ctx, packet.RequestID, behalf.Report{Outcome: behalf.Failed})
			return err
		})

		s.grant(behalf.Terms{Action: "deploy", RequiresApproval: behalf.ApprovalRule{Always: true}})
		asked, err := s.agent.Verify(ctx, behalf.Ask{Action: "deploy"})
		if err != nil || asked.Decision != behalf.OutcomeRequiresApproval {
			t.Fatalf("verify: got %+v, %v", asked, err)
		}
		if a, err := s.agent.Approval(ctx, asked.ApprovalID); err != nil || a.State != behalf.ApprovalPending {
			t.Errorf("approval: got %+v, %v", a, err)
		}
		page, err := s.agent.Approvals(ctx, behalf.ApprovalQuery{State: behalf.ApprovalPending, Limit: 1})
		if err != nil || len(page.Approvals) != 1 || page.Approvals[0].ApprovalID != asked.ApprovalID {
			t.Errorf("approvals: got %+v, %v", page, err)
		}
		if a, err := s.agent.Cancel(ctx, asked.ApprovalID, ""); err != nil || a.State != behalf.ApprovalCancelled {
			t.Errorf("cancel: got %+v, %v", a, err)
		}
		if a, err := s.agent.WaitApproval(ctx, asked.ApprovalID); err != nil || a.State != behalf.ApprovalCancelled {
			t.Errorf("wait: got %+v, %v", a, err)
		}

		wantRefused(t, "no action", "INVALID_REQUEST", func() error { _, err := s.agent.Verify(ctx, behalf.Ask{}); return err })
		wantRefused(t, "another's name", "UNAUTHENTICATED", func() error { _, err := s.agent.Verify(ctx, behalf.Ask{AgentID: "mia", Action: "a"}); return err })
		wantRefused(t, "a wrong key", "UNAUTHENTICATED", func() error { _, err := s.wrong.Passport(ctx); return err })
		wantRefused(t, "an unknown approval", "NOT_FOUND", func() error { _, err := s.agent.Approval(ctx, "apr_00000000000000000000000000"); return err })
		wantRefused(t, "an id that is none", "INVALID_REQUEST", func() error { _, err := s.agent.Approval(ctx, ""); return err })
		wantRefused(t, "what can't be written", "INVALID_REQUEST", func() error {
			_, err := s.agent.Verify(ctx, behalf.Ask{Action: "a", Arguments: func() {}})
			return err
		})
	})
}

// wantRefused fails unless the request is refused with a code, for its own sake.
func wantRefused(t *testing.T, name, code string, call func() error) {
	t.Helper()
	err := call()
	if refused, ok := errors.AsType[*behalf.Error](err); !ok || refused.Code != code || errors.Is(err, behalf.ErrUnavailable) {
		t.Errorf("%s: got %v, want it refused as %s", name, err, code)
	}
}

func TestWhatNATSDoesNotOfferSaysSo(t *testing.T) {
	t.Parallel()
	f := fakeNATS(t, said{status: 200, body: "{}"})
	for operation, call := range map[string]func(context.Context, *behalf.Client) error{
		"GET /v1/decisions": func(ctx context.Context, c *behalf.Client) error {
			_, err := c.Decisions(ctx, behalf.DecisionQuery{})
			return err
		},
		"GET /v1/decisions/req_1": func(ctx context.Context, c *behalf.Client) error { _, err := c.Decision(ctx, "req_1"); return err },
		"GET /v1/me":              func(ctx context.Context, c *behalf.Client) error { _, err := c.Me(ctx); return err },
		"GET /v1/approvals": func(ctx context.Context, c *behalf.Client) error {
			_, err := c.Approvals(ctx, behalf.ApprovalQuery{AgentID: "mia"})
			return err
		},
		"POST /v1/approvals/apr_1/approve": func(ctx context.Context, c *behalf.Client) error { _, err := c.Approve(ctx, "apr_1", ""); return err },
		"POST /v1/approvals/apr_1/cancel":  func(ctx context.Context, c *behalf.Client) error { _, err := c.Cancel(ctx, "apr_1", "why"); return err },
		"GET /v1/events": func(ctx context.Context, c *behalf.Client) error {
			for _, err := range c.Events(ctx, behalf.EventQuery{}) {
				return err
			}
			return nil
		},
		"GET /v1/decisions as a file": func(ctx context.Context, c *behalf.Client) error {
			return c.Export(ctx, behalf.DecisionQuery{}, "csv", io.Discard)
		},
		"GET /v1/decisions as they come": func(ctx context.Context, c *behalf.Client) error {
			for _, err := range c.Follow(ctx, behalf.DecisionQuery{}) {
				return err
			}
			return nil
		},
	} {
		want, _, _ := strings.Cut(operation, " as ")
		err := call(t.Context(), f.client)
		missing, ok := errors.AsType[*behalf.NotOverNATS](err)
		if !ok || missing.Operation != want || !errors.Is(err, errors.ErrUnsupported) || errors.Is(err, behalf.ErrUnavailable) {
			t.Errorf("%s: got %v, want that it is not offered", operation, err)
		}
	}
	if n := f.asked.Load(); n != 0 {
		t.Errorf("asked %d times", n)
	}
}

// Any header that speaks of an error makes an answer one, whatever its body says.
func TestAnAnswerWithAnErrorHeaderIsNoAllow(t *testing.T) {
	t.Parallel()
	srv := mustNATS(t)
	conn := mustConnectNATS(t, srv)
	headers := make(chan nats.Header, 1)
	_, err := conn.Subscribe("behalf.v1.verify", func(m *nats.Msg) {
		_ = m.RespondMsg(&nats.Msg{Subject: m.Reply, Header: <-headers, Data: []byte(packet)})
	})
	if err == nil {
		err = conn.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	client := &behalf.Client{NATS: mustConnectNATS(t, srv), Token: "bhf_sk_x"}
	for _, header := range []nats.Header{
		{"Nats-Service-Error": {"DENIED"}},
		{"Nats-Service-Error-Code": {"200"}},
		{"Nats-Service-Error-Code": {"0"}},
		{"Nats-Service-Error-Code": {"no"}, "Nats-Service-Error": {"no"}},
		{"Status": {"408"}},
	} {
		headers <- header
		if p, err := client.Verify(t.Context(), ask); !errors.Is(err, behalf.ErrUnavailable) || p.Allowed {
			t.Errorf("%v: got %+v, %v; want ErrUnavailable", header, p, err)
		}
	}
	headers <- nats.Header{"Trace": {"1"}}
	if p, err := client.Verify(t.Context(), ask); err != nil || !p.Allowed {
		t.Errorf("without one: got %+v, %v; want it allowed", p, err)
	}
}

func TestRequestsOverNATSAreWhatTheServiceExpects(t *testing.T) {
	t.Parallel()
	srv := mustNATS(t)
	conn := mustConnectNATS(t, srv)
	asked := make(chan string, 1)
	_, err := conn.Subscribe("behalf.v1.>", func(m *nats.Msg) {
		inbox, _, _ := strings.Cut(m.Reply, ".")
		asked <- m.Subject + " " + string(m.Data) + " " + m.Header.Get("Authorization") + " " + inbox
		_ = m.Respond([]byte("{}"))
	})
	if err == nil {
		err = conn.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	client, err := behalf.ConnectNATS(nats.DefaultURL, "ollie", "bhf_sk_x", nats.InProcessServer(srv))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.NATS.Close)
	for want, call := range map[string]func(context.Context) error{
		`verify {"action":"a"}`:                   func(ctx context.Context) error { _, err := client.Verify(ctx, behalf.Ask{Action: "a"}); return err },
		`preview {"action":"a"}`:                  func(ctx context.Context) error { _, err := client.Preview(ctx, behalf.Ask{Action: "a"}); return err },
		`passport `:                               func(ctx context.Context) error { _, err := client.Passport(ctx); return err },
		`approvals.get {"approvalId":"apr_1"}`:    func(ctx context.Context) error { _, err := client.Approval(ctx, "apr_1"); return err },
		`approvals.cancel {"approvalId":"apr_1"}`: func(ctx context.Context) error { _, err := client.Cancel(ctx, "apr_1", ""); return err },
		`approvals.list {}`:                       func(ctx context.Context) error { _, err := client.Approvals(ctx, behalf.ApprovalQuery{}); return err },
		`approvals.list {"state":"pending","limit":2,"cursor":"apr_1"}`: func(ctx context.Context) error {
			_, err := client.Approvals(ctx, behalf.ApprovalQuery{State: "pending", Limit: 2, Cursor: "apr_1"})
			return err
		},
		`outcome {"requestId":"req_1","outcome":"executed","amount":"1"}`: func(ctx context.Context) error {
			_, err := client.Outcome(ctx, "req_1", behalf.Report{Outcome: behalf.Executed, Amount: "1"})
			return err
		},
	} {
		_ = call(t.Context()) // the answer is nobody's
		if got := <-asked; got != "behalf.v1."+want+" Bearer bhf_sk_x _INBOX_ollie" {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
