package behalf_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/behalf-platform/behalf"
)

// priced is an ask for ten dollars, for what is sent or got.
func priced(*http.Request) behalf.Ask { return buy("10") }

func TestOutcomesAreReportedByTheStatus(t *testing.T) {
	overBoth(t, func(t *testing.T, s *stand, permission string) {
		gone := httptest.NewServer(nil)
		gone.Close()
		target := mustSite(t)
		handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			packet, ok := behalf.PacketOf(r.Context())
			if !ok || !packet.Allowed || packet.Amount != "10.00" {
				t.Errorf("the handler got the packet %+v", packet)
			}
			switch r.URL.Path {
			case "/open/refused":
				w.WriteHeader(http.StatusEarlyHints)
				w.WriteHeader(http.StatusConflict)
			case "/open/broken":
				w.WriteHeader(http.StatusBadGateway)
				w.(http.Flusher).Flush()
			case "/open/late":
				_, _ = io.WriteString(w, "done")
				w.WriteHeader(http.StatusBadGateway) // which comes too late
			case "/abort":
				panic(http.ErrAbortHandler)
			}
		})
		served := httptest.NewUnstartedServer(behalf.Middleware(s.agent, priced)(handler))
		served.Config.ErrorLog = log.New(io.Discard, "", 0)
		served.Start()
		t.Cleanup(served.Close)
		out := &http.Client{Transport: &behalf.Transport{Client: s.agent, Ask: func(r *http.Request) (behalf.Ask, error) { return priced(r), nil }}}
		for _, c := range []struct {
			name       string
			client     *http.Client
			url, left  string
			unreported int
		}{
			{"sent", out, target.URL + "/open/", "90.00", 0},
			{"sent and refused", out, target.URL + "/open/refused", "90.00", 0},
			{"sent to nobody", out, gone.URL, "90.00", 0},
			{"sent and broken", out, target.URL + "/open/broken", "80.00", 1},
			{"served", served.Client(), served.URL + "/open/", "70.00", 1},
			{"served late", served.Client(), served.URL + "/open/late", "60.00", 1},
			{"refused", served.Client(), served.URL + "/open/refused", "60.00", 1},
			{"broken", served.Client(), served.URL + "/open/broken", "50.00", 2},
			{"aborted", served.Client(), served.URL + "/abort", "40.00", 3},
		} {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.url, nil) // which is sent once
			if err != nil {
				t.Fatal(err)
			}
			if resp, err := c.client.Do(r); err == nil {
				_, _ = io.Copy(io.Discard, resp.Body) // which ends when the outcome was reported
				resp.Body.Close()
			}
			if left, n := s.left(permission), s.unreported(); left != c.left || n != c.unreported {
				t.Errorf("%s: got %s left and %d unreported, want %s and %d", c.name, left, n, c.left, c.unreported)
			}
		}
	})
}

func TestMiddlewareSaysWhyItBlocks(t *testing.T) {
	t.Parallel()
	denied := strings.Replace(packetWith(`"allowed","allowed":true`, `"denied","allowed":false`), `"ALLOWED","reason":""`, `"AMOUNT_EXCEEDS_LIMIT","reason":"742.00 exceeds 500.00"`, 1)
	required := strings.Replace(packetWith(`"allowed","allowed":true`, `"requires_approval","approvalId":"apr_1","allowed":false`), `"ALLOWED"`, `"APPROVAL_REQUIRED"`, 1)
	for name, c := range map[string]struct {
		said said
		want string
	}{
		"denied": {said{status: 200, body: denied}, `403 {"allowed":false,"error":{"code":"AMOUNT_EXCEEDS_LIMIT","message":"this was denied; nothing was done"},"requestId":"req_1"}`},
		"requires approval": {
			said{status: 200, body: required},
			`403 {"allowed":false,"error":{"code":"APPROVAL_REQUIRED","message":"a person has to approve this first; nothing was done"},"requestId":"req_1","approvalId":"apr_1"}`,
		},
		"unavailable": {
			said{status: 429, retryAfter: "7", body: `{"error":{"code":"RATE_LIMITED","message":"internal"}}`},
			`503 7{"allowed":false,"error":{"code":"UNAVAILABLE","message":"the permission layer is unavailable; nothing was done"}}`,
		},
	} {
		f := fakeHTTP(t, c.said)
		w := httptest.NewRecorder()
		next := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Errorf("%s: the handler was reached", name) })
		behalf.Middleware(f.client, func(*http.Request) behalf.Ask { return ask })(next).
			ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", nil))
		if got := fmt.Sprintf("%d %s%s", w.Code, w.Header().Get("Retry-After"), w.Body); got != c.want || w.Header().Get("Content-Type") != "application/json" {
			t.Errorf("%s: got  %s\nwant %s", name, got, c.want)
		}
	}
	var told error
	blocked := behalf.Middleware(fakeHTTP(t, said{status: 200, body: packet}).client, nil, behalf.OnBlocked(func(_ context.Context, err error) { told = err }))
	w := httptest.NewRecorder()
	blocked(http.NotFoundHandler()).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", nil))
	if w.Code != http.StatusServiceUnavailable || !isUnavailable(told) {
		t.Errorf("without an ask: got %d, %v; want 503", w.Code, told)
	}
	spent := "1.00"
	blocked = behalf.Middleware(fakeHTTP(t, said{status: 200, body: packet}).client, func(*http.Request) behalf.Ask { return ask }, behalf.ReportSpent(&spent))
	w = httptest.NewRecorder()
	blocked(http.NotFoundHandler()).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", nil))
	if w.Code != http.StatusServiceUnavailable {
		t.Errorf("with one amount for all calls: got %d, want 503", w.Code)
	}
	if _, ok := behalf.PacketOf(t.Context()); ok {
		t.Error("got a packet where there was no middleware")
	}
}

func TestMiddlewareWaitsForAPerson(t *testing.T) {
	overBoth(t, func(t *testing.T, s *stand, _ string) {
		s.grant(behalf.Terms{Action: "deploy", RequiresApproval: behalf.ApprovalRule{Always: true}})
		next := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "deployed") })
		handler := behalf.Middleware(s.agent, func(r *http.Request) behalf.Ask {
			return behalf.Ask{Action: "deploy", Resource: r.URL.Path}
		}, behalf.WaitForApproval(0))(next)
		for path, answer := range map[string]func(context.Context, string, string) (behalf.Approval, error){"/a": s.owner.Approve, "/b": s.owner.Deny} {
			w := httptest.NewRecorder()
			done := make(chan struct{})
			go func() {
				defer close(done)
				handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, nil))
			}()
			id := s.mustPending(path)
			_, err := answer(t.Context(), id, "")
			<-done
			want := "deployed"
			if path == "/b" {
				want = `"code":"APPROVAL_DENIED"`
			}
			if !strings.Contains(w.Body.String(), want) || err != nil {
				t.Errorf("%s: got %d %s, %v; want %s", path, w.Code, w.Body, err, want)
			}
		}
	})
}
