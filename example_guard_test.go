package behalf_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/behalf-platform/behalf"
)

// What an agent wants to do is in a function that only an allow reaches. Here a
// person is asked, and less is spent than was allowed.
func ExampleClient_Guard() {
	server := httptest.NewServer(answerWithAPerson())
	defer server.Close()

	client := &behalf.Client{BaseURL: server.URL, Token: "bhf_sk_example"}
	ask := behalf.Ask{Action: "purchase", Vendor: "coachella.com", Amount: "742.00", Currency: "USD"}
	var spent string
	err := client.Guard(context.Background(), ask, func(_ context.Context, packet behalf.Packet) error {
		fmt.Println("bought, on", packet.ApprovalID)
		spent = "700.00"
		return nil
	}, behalf.WaitForApproval(10*time.Minute), behalf.ReportSpent(&spent))
	fmt.Println(err)
	// Output:
	// bought, on apr_01
	// <nil>
}

// The type of the error says whether it was denied, waits for a person, or could
// not be decided. In none of these cases anything was done.
func ExampleClient_Guard_blocked() {
	server := httptest.NewServer(http.HandlerFunc(answerAsBehalf))
	defer server.Close()

	buy := behalf.Ask{Action: "purchase", Vendor: "coachella.com", Amount: "742.00", Currency: "USD"}
	for _, client := range []*behalf.Client{{BaseURL: server.URL, Token: "bhf_sk_example"}, {}} {
		err := client.Guard(context.Background(), buy, func(context.Context, behalf.Packet) error {
			fmt.Println("bought")
			return nil
		})
		var (
			denied      *behalf.Denied
			required    *behalf.ApprovalRequired
			unavailable *behalf.Unavailable
		)
		switch {
		case errors.As(err, &denied):
			fmt.Println("don't ask again:", denied.Packet.Reason)
		case errors.As(err, &required):
			fmt.Println("somebody has to approve", required.Packet.ApprovalID)
		case errors.As(err, &unavailable):
			fmt.Println("try again later:", unavailable.Err)
		}
	}
	// Output:
	// don't ask again: 742.00 USD exceeds the limit of 500.00 USD
	// try again later: the client has no Token
}

// An agent's HTTP client sends what it may, and nothing else.
func ExampleTransport() {
	server := httptest.NewServer(http.HandlerFunc(answerAsBehalf))
	defer server.Close()
	shop := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { fmt.Println("bought") }))
	defer shop.Close()

	web := &http.Client{Transport: &behalf.Transport{
		Client: &behalf.Client{BaseURL: server.URL, Token: "bhf_sk_example"},
		// What is asked without this is what AskOf makes of the request.
		Ask: func(*http.Request) (behalf.Ask, error) {
			return behalf.Ask{Action: "purchase", Vendor: "coachella.com", Amount: "742.00", Currency: "USD"}, nil
		},
	}}
	resp, err := web.Post(shop.URL, "text/plain", nil)
	if err == nil {
		resp.Body.Close()
	}
	var denied *behalf.Denied
	if errors.As(err, &denied) {
		fmt.Println("not sent:", denied.Packet.Reason)
	}
	// Output: not sent: 742.00 USD exceeds the limit of 500.00 USD
}

// A handler that acts for an agent is reached only by what the agent may do.
func ExampleMiddleware() {
	server := httptest.NewServer(http.HandlerFunc(answerAsBehalf))
	defer server.Close()

	client := &behalf.Client{BaseURL: server.URL, Token: "bhf_sk_example"}
	guarded := behalf.Middleware(client, func(r *http.Request) behalf.Ask {
		return behalf.Ask{Action: "purchase", Vendor: "coachella.com", Amount: r.FormValue("amount"), Currency: "USD"}
	})
	tool := httptest.NewServer(guarded(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "bought")
	})))
	defer tool.Close()

	resp, err := http.Post(tool.URL+"?amount=742.00", "text/plain", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	fmt.Println(resp.StatusCode, string(body))
	// Output: 403 {"allowed":false,"error":{"code":"AMOUNT_EXCEEDS_LIMIT","message":"this was denied; nothing was done"},"requestId":"req_01"}
}

// Over NATS it is the same client with another connection.
func ExampleConnectNATS() {
	client, err := behalf.ConnectNATS("nats://127.0.0.1:4222", "agent_mia", "bhf_sk_example")
	if err != nil {
		return // nothing may be done
	}
	defer client.NATS.Close()
	packet, err := client.Verify(context.Background(), behalf.Ask{Action: "purchase", Vendor: "coachella.com", Amount: "120", Currency: "USD"})
	if err == nil && packet.Allowed {
		fmt.Println("go ahead")
	}
}
