package behalf_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"time"

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
	if err == nil && packet.Decision == behalf.OutcomeRequiresApproval {
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

// A consumer of what happens goes on where it was, in this process or the next:
// its cursor is in a file, and what was handled last may come again.
func ExampleClient_Subscribe() {
	server := httptest.NewServer(http.HandlerFunc(tell))
	defer server.Close()

	dir, err := os.MkdirTemp("", "behalf")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	client := behalf.Client{BaseURL: server.URL, Token: "bhf_dev_example"}
	from := behalf.From{Cursors: behalf.CursorFile(filepath.Join(dir, "cursor")), Since: time.Now().Add(-time.Hour)}
	denials := behalf.EventFilter{Types: []string{"verification.denied"}, Agents: []string{"agent_ollie"}}
	ctx, stop := context.WithCancel(context.Background())
	err = client.Subscribe(ctx, from, denials, func(_ context.Context, e behalf.Event) error {
		packet, err := e.Packet()
		if err != nil {
			return err
		}
		fmt.Println(e.AgentID, packet.ReasonCode)
		stop()
		return nil
	})
	fmt.Println(err)
	// Output:
	// agent_ollie AMOUNT_EXCEEDS_LIMIT
	// context canceled
}

// tell stands in for a server with one event.
func tell(w http.ResponseWriter, _ *http.Request) {
	_, _ = io.WriteString(w, `{"specversion":"1.0","id":"evt_01","source":"/accounts/acct_01","type":"verification.denied","subject":"agent_ollie",`+
		`"time":"2026-11-23T12:00:00Z","sequence":"00000000000000000007-000000","cursor":"AAAAAAAJ","data":{"agentId":"agent_ollie",`+
		`"decision":"denied","allowed":false,"reasonCode":"AMOUNT_EXCEEDS_LIMIT"}}`+"\n")
}
