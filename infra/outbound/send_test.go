package outbound_test

import (
	"bufio"
	"context"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	official "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"go.uber.org/goleak"

	"github.com/behalf-platform/behalf/infra/outbound"
	"github.com/behalf-platform/behalf/infra/webhooksig"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestStatuses(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	in90 := now.Add(90 * time.Second).Format(http.TimeFormat)
	for _, test := range []struct {
		status int
		header map[string]string
		want   outbound.Result // but for what all have
	}{
		{status: 200, want: outbound.Result{Category: outbound.OK}},
		{status: 204, want: outbound.Result{Category: outbound.OK}},
		{status: 299, header: map[string]string{"webhook-delivery": " Disable"}, want: outbound.Result{Category: outbound.OK, Hint: outbound.Disable}},
		{status: 301, header: map[string]string{"Location": "https://new.example.com/a?secret"}, want: outbound.Result{Category: outbound.Redirected, RedirectHost: "new.example.com"}},
		{status: 307, header: map[string]string{"Location": "/other"}, want: outbound.Result{Category: outbound.Redirected}},
		{status: 304, want: outbound.Result{Category: outbound.Redirected}},
		{status: 400, header: map[string]string{"webhook-delivery": "abort-message"}, want: outbound.Result{Category: outbound.Refused, Hint: outbound.AbortMessage}},
		{status: 404, header: map[string]string{"Retry-After": "5", "webhook-delivery": "more"}, want: outbound.Result{Category: outbound.Refused}},
		{status: 410, want: outbound.Result{Category: outbound.Gone}},
		{status: 429, want: outbound.Result{Category: outbound.Throttled}},
		{status: 429, header: map[string]string{"Retry-After": "120"}, want: outbound.Result{Category: outbound.Throttled, RetryAfter: 2 * time.Minute}},
		{status: 429, header: map[string]string{"Retry-After": "soon"}, want: outbound.Result{Category: outbound.Throttled}},
		{status: 500, want: outbound.Result{Category: outbound.Failed}},
		{status: 503, want: outbound.Result{Category: outbound.Failed}},
		{status: 503, header: map[string]string{"Retry-After": in90}, want: outbound.Result{Category: outbound.Throttled, RetryAfter: 90 * time.Second}},
		{status: 503, header: map[string]string{"Retry-After": "-1"}, want: outbound.Result{Category: outbound.Failed}},
		{status: 504, want: outbound.Result{Category: outbound.Failed}},
		{status: 600, want: outbound.Result{Category: outbound.Protocol}},
		{status: 999, want: outbound.Result{Category: outbound.Protocol}},
	} {
		t.Run(strconv.Itoa(test.status), func(t *testing.T) {
			t.Parallel()
			server := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				for name, value := range test.header {
					w.Header().Set(name, value)
				}
				w.WriteHeader(test.status)
			})
			client := mustClient(t, func(c *outbound.Config) { c.Now = func() time.Time { return now } })
			got := client.Send(t.Context(), delivery(t, server.URL))
			test.want.Status, test.want.Whole, test.want.Latency = test.status, test.want.Category != outbound.Protocol, got.Latency
			if got != test.want || got.Latency <= 0 {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
			if got.Category.Text() == "" {
				t.Errorf("%s has no text", got.Category)
			}
		})
	}
}

// What a receiver sees, over both versions of HTTP: an official library takes it.
func TestDelivery(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"HTTP/1.1", "HTTP/2.0"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			type seen struct {
				*http.Request
				body []byte
			}
			got := make(chan seen, 1)
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				got <- seen{r, body}
				_, _ = io.WriteString(w, "thanks")
			}))
			server.EnableHTTP2 = version == "HTTP/2.0"
			server.StartTLS()
			t.Cleanup(server.Close)
			client := mustClient(t, trust(server))
			d := delivery(t, server.URL+"/hooks?a=b")
			d.Header, d.Replay = http.Header{"X-Tenant": {"seven"}}, "rp_1"
			result := client.Send(t.Context(), d)
			if result.Category != outbound.OK || result.Status != 200 || result.Answer != "thanks" || !result.Whole || result.Err != nil {
				t.Fatalf("got %+v, want it taken", result)
			}
			r := <-got
			if r.Proto != version || r.Method != "POST" || r.RequestURI != "/hooks?a=b" || string(r.body) != string(d.Body) || r.ContentLength != int64(len(d.Body)) {
				t.Errorf("got %s %s %s %q, want the delivery", r.Proto, r.Method, r.RequestURI, r.body)
			}
			for name, want := range map[string]string{
				"Content-Type": "application/json", "Accept-Encoding": "identity", "User-Agent": "Behalf-Webhooks/1", "X-Tenant": "seven",
				"Webhook-Id": "evt_01", "Webhook-Replay": "rp_1", "Behalfid-Event-Id": "evt_01", "Idempotency-Key": "", "Cookie": "",
			} {
				if got := r.Header.Get(name); got != want {
					t.Errorf("%s: got %q, want %q", name, got, want)
				}
			}
			receiver, err := official.NewWebhook(vectorSecret)
			if err != nil {
				t.Fatal(err)
			}
			if err := receiver.Verify(r.body, r.Header); err != nil {
				t.Errorf("the official library: %v", err)
			}
		})
	}
}

func TestRedirectIsNotFollowed(t *testing.T) {
	t.Parallel()
	var reached atomic.Bool
	inside := serve(t, func(http.ResponseWriter, *http.Request) { reached.Store(true) })
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, inside.URL, http.StatusPermanentRedirect)
	})
	got := mustClient(t).Send(t.Context(), delivery(t, server.URL))
	if got.Category != outbound.Redirected || got.Status != 308 || reached.Load() {
		t.Errorf("got %+v, reached inside: %t; want it not followed", got, reached.Load())
	}
}

// A kept connection that the receiver has closed costs no attempt.
func TestConnectionsAreKept(t *testing.T) {
	t.Parallel()
	seen := map[string]int{}
	server := serve(t, func(_ http.ResponseWriter, r *http.Request) { seen[r.RemoteAddr]++ })
	client := mustClient(t)
	for i := range 6 {
		if i == 3 {
			server.CloseClientConnections()
		}
		if got := client.Send(t.Context(), delivery(t, server.URL)); got.Category != outbound.OK {
			t.Fatalf("attempt %d: got %+v, want it taken", i, got)
		}
	}
	if len(seen) != 2 {
		t.Errorf("got connections %v, want one, and one after it was closed", seen)
	}
}

// One that the receiver closes just as it is used again costs none either.
func TestClosedWhileUsedAgain(t *testing.T) {
	t.Parallel()
	var connections atomic.Int32
	address := listen(t, func(conn net.Conn) {
		connections.Add(1)
		_, _ = io.WriteString(conn, "HTTP/1.1 204 No Content\r\n\r\n")
		_, _ = http.ReadRequest(bufio.NewReader(conn))
	})
	client := mustClient(t)
	for i := range 2 {
		if got := client.Send(t.Context(), delivery(t, "http://"+address)); got.Category != outbound.OK {
			t.Fatalf("attempt %d: got %+v, want it taken", i, got)
		}
	}
	if got := connections.Load(); got != 2 {
		t.Errorf("got %d connections, want one for each", got)
	}
}

func TestCallerGivesUp(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	server := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // or the server would not notice
		cancel()
		<-r.Context().Done()
	})
	if got := mustClient(t).Send(ctx, delivery(t, server.URL)); got.Category != outbound.Cancelled || got.Err == nil {
		t.Errorf("got %+v, want it cancelled", got)
	}
	ended, cancel := context.WithDeadline(t.Context(), time.Unix(0, 0))
	defer cancel()
	if got := mustClient(t).Send(ended, delivery(t, server.URL)); got.Category != outbound.Timeout {
		t.Errorf("got %+v, want the caller's deadline to count as one", got)
	}
}

func TestInvalidDeliveries(t *testing.T) {
	t.Parallel()
	var reached atomic.Bool
	server := serve(t, func(http.ResponseWriter, *http.Request) { reached.Store(true) })
	client := mustClient(t)
	for name, breakIt := range map[string]func(*outbound.Delivery){
		"no URL":              func(d *outbound.Delivery) { d.URL = "" },
		"a password":          func(d *outbound.Delivery) { d.URL = strings.Replace(d.URL, "//", "//a:b@", 1) },
		"no signer":           func(d *outbound.Delivery) { d.Signer = nil },
		"an id with a dot":    func(d *outbound.Delivery) { d.ID = "evt.1" },
		"a reserved header":   func(d *outbound.Delivery) { d.Header = http.Header{"Host": {"x"}} },
		"a broken header":     func(d *outbound.Delivery) { d.Header = http.Header{"X-A": {"a\r\nb: c"}} },
		"a replay in two":     func(d *outbound.Delivery) { d.Replay = "a\r\nb: c" },
		"a replay with a dot": func(d *outbound.Delivery) { d.Replay = "a.b" },
	} {
		d := delivery(t, server.URL)
		breakIt(&d)
		if got := client.Send(t.Context(), d); got.Category != outbound.Invalid || got.Err == nil || reached.Load() {
			t.Errorf("%s: got %+v, want it invalid, and not sent", name, got)
		}
	}
}

func TestCheckHeader(t *testing.T) {
	t.Parallel()
	many := http.Header{}
	for i := range 17 {
		many.Set("X-"+strconv.Itoa(i), "a")
	}
	for name, header := range map[string]http.Header{
		"signature": {"webhook-signature": {"a"}}, "reference": {"BehalfID-Signature": {"a"}}, "host": {"Host": {"a"}}, "length": {"content-LENGTH": {"1"}},
		"encoding": {"Transfer-Encoding": {"chunked"}}, "proxy": {"Proxy-Authorization": {"a"}}, "pseudo": {":authority": {"a"}}, "forwarded": {"X-Forwarded-For": {"a"}},
		"idempotency": {"Idempotency-Key": {"a"}}, "no name": {"": {"a"}}, "space": {"X A": {"a"}}, "line": {"X-A\n": {"a"}}, "value": {"X-A": {"ok", "a\x00"}},
		"many": many, "large": {"X-A": {strings.Repeat("a", 4096)}},
	} {
		err := outbound.CheckHeader(header)
		if err == nil || strings.Contains(err.Error(), "aaaa") {
			t.Errorf("%s: got %v, want it refused", name, err)
		}
	}
	if err := outbound.CheckHeader(http.Header{"Authorization": {"Bearer x"}, "X-Tenant": {"a", "b"}}); err != nil {
		t.Errorf("got %v, want it taken", err)
	}
}

const vectorSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// development allows receivers on this host, without TLS.
var development = outbound.Policy{HTTP: true, Networks: networks("127.0.0.0/8", "::1/128")}

func mustClient(t testing.TB, set ...func(*outbound.Config)) *outbound.Client {
	t.Helper()
	cfg := outbound.Config{Policy: development, Timeout: 20 * time.Second}
	for _, s := range set {
		s(&cfg)
	}
	client, err := outbound.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

func trust(server *httptest.Server) func(*outbound.Config) {
	return func(c *outbound.Config) {
		c.RootCAs = x509.NewCertPool()
		c.RootCAs.AddCert(server.Certificate())
	}
}

func serve(t testing.TB, handle http.HandlerFunc) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(handle)
	t.Cleanup(server.Close)
	return server
}

func delivery(t testing.TB, to string) outbound.Delivery {
	t.Helper()
	signer, err := webhooksig.NewSigner(webhooksig.V1|webhooksig.Reference, webhooksig.Key{Secret: vectorSecret})
	if err != nil {
		t.Fatal(err)
	}
	return outbound.Delivery{
		URL: to, Signer: signer, ID: "evt_01", At: time.Now(),
		Body: []byte(`{"type":"decision.allowed","timestamp":"2026-11-23T12:00:00.000Z","data":{"requestId":"req_01"}}`),
	}
}

func TestProxy(t *testing.T) {
	t.Parallel()
	var asked atomic.Value
	proxy := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Store(r.Method + " " + r.RequestURI)
		if r.Method == http.MethodConnect {
			w.WriteHeader(http.StatusForbidden)
		}
	})
	at, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	client := mustClient(t, func(c *outbound.Config) { c.Policy, c.Proxy = outbound.Policy{HTTP: true}, at })
	if got := client.Send(t.Context(), delivery(t, "http://hooks.example.com:8080/a")); got.Category != outbound.OK || asked.Load() != "POST http://hooks.example.com:8080/a" {
		t.Errorf("got %+v and %q, want it sent through the proxy", got, asked.Load())
	}
	if got := client.Send(t.Context(), delivery(t, "https://hooks.example.com/a")); got.Category != outbound.Connect || asked.Load() != "CONNECT hooks.example.com:443" {
		t.Errorf("got %+v and %q, want the proxy to have refused it", got, asked.Load())
	}
	asked.Store("nothing")
	if got := client.Send(t.Context(), delivery(t, "https://169.254.169.254/a")); got.Category != outbound.Blocked || asked.Load() != "nothing" {
		t.Errorf("got %+v and %q, want the address blocked before the proxy is asked", got, asked.Load())
	}
	proxy.Close()
	if got := client.Send(t.Context(), delivery(t, "https://hooks.example.com/a")); got.Category != outbound.Connect {
		t.Errorf("got %+v, want no connection", got)
	}
	if _, err := outbound.New(outbound.Config{Proxy: &url.URL{Scheme: "socks5", Host: "a:1"}}); err == nil {
		t.Error("a proxy of another kind is taken")
	}
}

// A delivery through a proxy is secured end to end.
func TestProxyTunnels(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	server.Config.ErrorLog = quiet
	server.StartTLS()
	t.Cleanup(server.Close)
	proxy := serve(t, tunnelTo(t, server.Listener.Addr().String()))
	at, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	through := func(c *outbound.Config) { c.Policy, c.Proxy = outbound.Policy{}, at }
	if got := mustClient(t, trust(server), through).Send(t.Context(), delivery(t, "https://example.com/a")); got.Category != outbound.OK {
		t.Errorf("got %+v, want it taken", got)
	}
	if got := mustClient(t, through).Send(t.Context(), delivery(t, "https://example.com/a")); got.Category != outbound.TLS {
		t.Errorf("got %+v, want the certificate refused", got)
	}
}

// tunnelTo is a proxy that has one place to connect to, whatever is asked.
func tunnelTo(t *testing.T, address string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		far, err := net.Dial("tcp", address)
		if err != nil {
			t.Error(err)
			return
		}
		defer far.Close()
		near, read, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer near.Close()
		_, _ = io.WriteString(near, "HTTP/1.1 200 OK\r\n\r\n")
		go func() {
			defer far.Close()
			_, _ = io.Copy(far, read)
		}()
		_, _ = io.Copy(near, far)
	}
}
