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
