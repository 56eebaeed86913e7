package behalf_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"

	"github.com/behalf-platform/behalf"
)

// An agent asks before it acts, and acts only on an allow.
func ExampleClient_Verify() {
	server := httptest.NewServer(http.HandlerFunc(answerAsBehalf))
	defer server.Close()

	client := behalf.Client{BaseURL: server.URL, Token: "bhf_sk_example"}
	packet, err := client.Verify(context.Background(), behalf.Ask{
		Action: "purchase", Vendor: "coachella.com", Amount: "742.00", Currency: "USD",
	})
	switch {
	case errors.Is(err, behalf.ErrUnavailable):
		fmt.Println("don't act, try again later:", err)
	case err != nil:
		fmt.Println("don't act, the ask was refused:", err)
	case !packet.Allowed:
		fmt.Println("don't act:", packet.Reason)
	default:
		fmt.Println("go ahead")
	}
	// Output: don't act: 742.00 USD exceeds the limit of 500.00 USD
}

// answerAsBehalf stands in for a server.
func answerAsBehalf(w http.ResponseWriter, _ *http.Request) {
	_, _ = io.WriteString(w, `{"requestId":"req_01","agentId":"agent_ollie","decision":"denied","allowed":false,
		"reasonCode":"AMOUNT_EXCEEDS_LIMIT","reason":"742.00 USD exceeds the limit of 500.00 USD","riskLevel":"medium",
		"action":"purchase","vendor":"coachella.com","amount":"742.00","currency":"USD","passportVersion":7,
		"position":"AAAAAAAJ","decidedAt":"2026-11-23T12:00:00Z","approvalRequired":false,"risk":"medium"}`)
}

// An ask that requires approval waits for a person and is verified again: what a
// person approved is allowed once, and only by a packet that says so.
func ExampleClient_WaitApproval() {
	server := httptest.NewServer(http.HandlerFunc(answerWithAPerson()))
	defer server.Close()

	ctx := context.Background()
	client := behalf.Client{BaseURL: server.URL, Token: "bhf_sk_example"}
	ask := behalf.Ask{Action: "purchase", Vendor: "coachella.com", Amount: "742.00", Currency: "USD"}
	packet, err := client.Verify(ctx, ask)
	if err == nil && packet.Decision == behalf.RequiresApproval {
		var approval behalf.Approval
		if approval, err = client.WaitApproval(ctx, packet.ApprovalID); err == nil && approval.State == behalf.ApprovalApproved {
			packet, err = client.Verify(ctx, ask)
		}
	}
	if err != nil || !packet.Allowed {
		fmt.Println("don't act:", packet.Reason, err)
		return
	}
	fmt.Println("go ahead")
	// Output: go ahead
}

// An agent reports what came of an allow that spent, so that what it did not
// spend goes back to the budgets.
func ExampleClient_Outcome() {
	server := httptest.NewServer(http.HandlerFunc(answerWithAPerson()))
	defer server.Close()

	client := behalf.Client{BaseURL: server.URL, Token: "bhf_sk_example"}
	settled, err := client.Outcome(context.Background(), "req_02", behalf.Report{Outcome: behalf.Executed, Amount: "700.00"})
	if err != nil {
		fmt.Println("it stays spent:", err)
		return
	}
	fmt.Println("given back:", settled.Released, settled.Currency)
	// Output: given back: 42.00 USD
}

// answerWithAPerson stands in for a server where somebody says yes at once.
func answerWithAPerson() http.HandlerFunc {
	const asked = `"agentId":"agent_ollie","riskLevel":"medium","action":"purchase","vendor":"coachella.com","amount":"742.00","currency":"USD",
		"permissionId":"perm_01","approvalId":"apr_01"`
	decision := `"decision":"requires_approval","allowed":false,"reasonCode":"APPROVAL_REQUIRED","approvalRequired":true`
	return func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/v1/verify":
			_, _ = io.WriteString(w, `{"requestId":"req_02","position":"AAAAAAAJ",`+decision+`,`+asked+`}`)
		case "/v1/approvals/apr_01":
			decision = `"decision":"allowed","allowed":true,"reserved":true,"reasonCode":"ALLOWED"`
			_, _ = io.WriteString(w, `{"state":"approved",`+asked+`}`)
		default:
			_, _ = io.WriteString(w, `{"requestId":"req_02","outcome":"executed","amount":"700.00","currency":"USD","released":"42.00"}`)
		}
	}
}
