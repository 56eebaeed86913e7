package behalf_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/behalf-platform/behalf"
)

func TestAskOf(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		method, url, host string
		want              behalf.Ask
	}{
		{"", "https://api.example.com", "", behalf.Ask{Action: "http.get", Vendor: "api.example.com", Resource: "https://api.example.com/"}},
		{"DELETE", "https://u:p@API.Example.com:443/v1/a%2Fb/c#x", "", behalf.Ask{Action: "http.delete", Vendor: "api.example.com", Resource: "https://api.example.com/v1/a%2Fb/c"}},
		{"GET", "http://example.com:80/a", "example.com", behalf.Ask{Action: "http.get", Vendor: "example.com", Resource: "http://example.com/a"}},
		{"GET", "http://example.com:/a", "", behalf.Ask{Action: "http.get", Vendor: "example.com", Resource: "http://example.com/a"}},
		{"GET", "http://example.com:443/a", "", behalf.Ask{Action: "http.get", Vendor: "example.com:443", Resource: "http://example.com:443/a"}},
		{"POST", "http://127.0.0.1:8000/a..b/", "", behalf.Ask{Action: "http.post", Vendor: "127.0.0.1:8000", Resource: "http://127.0.0.1:8000/a..b/"}},
		{"GET", "http://[::1]:8000/", "", behalf.Ask{Action: "http.get", Vendor: "[::1]:8000", Resource: "http://[::1]:8000/"}},
		{"GET", "https://bücher.example/", "", behalf.Ask{Action: "http.get", Vendor: "xn--bcher-kva.example", Resource: "https://xn--bcher-kva.example/"}},
		{"GET", "https://ｅxample.com/", "", behalf.Ask{}}, // looked up as example.com, and named xn--xample-hy68a.com
		{"GET", "https://example.com/a?b=c", "", behalf.Ask{Action: "http.get", Vendor: "example.com", Resource: "https://example.com/a", Arguments: map[string]string{
			"querySha256": "49941ed07f95ce372877cafb13860fee485282d0adacadaf16a3370645699673",
		}}},
		{"GET", "https://example.com/", "evil.io", behalf.Ask{}},
		{"GET", "https://example.com/public/../admin", "", behalf.Ask{}},
		{"GET", "https://example.com/public/%2e%2e/admin", "", behalf.Ask{}},
		{"GET", "https://example.com/public/..%2fadmin", "", behalf.Ask{}},
		{"GET", `https://example.com/public/..%5cadmin`, "", behalf.Ask{}},
		{"GET", "https://example.com/public/..;x=y/admin", "", behalf.Ask{}},
		{"GET", "https://example.com/public/./", "", behalf.Ask{}},
		{"GET", "https://example.com/public/%252e%252E/admin", "", behalf.Ask{}},
		{"GET", "https://example.com/public/..%25252fadmin", "", behalf.Ask{}},
		{"GET", "https://example.com/100%25/a", "", behalf.Ask{Action: "http.get", Vendor: "example.com", Resource: "https://example.com/100%25/a"}},
		{"GET", "ftp://example.com/", "", behalf.Ask{}},
		{"GET", "https:opaque", "", behalf.Ask{}},
		{"GET", "https:///a", "", behalf.Ask{}},
		{"GET", "/a", "", behalf.Ask{}},
	} {
		r, err := http.NewRequestWithContext(t.Context(), c.method, c.url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if c.host != "" {
			r.Host = c.host
		}
		got, err := behalf.AskOf(r)
		if (err != nil) != (c.want.Action == "") {
			t.Errorf("%s %s: got %+v, %v", c.method, c.url, got, err)
		}
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s %s: got  %+v\nwant %+v", c.method, c.url, got, c.want)
		}
	}
}

// site is what an agent calls, and what it was called for.
type site struct {
	*httptest.Server
	mu  sync.Mutex
	got []string // guarded by mu
}

func mustSite(t *testing.T) *site {
	t.Helper()
	s := &site{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		s.mu.Lock()
		s.got = append(s.got, strings.TrimSpace(r.Method+" "+r.URL.RequestURI()+" "+string(body)))
		s.mu.Unlock()
		switch r.URL.Path {
		case "/open/elsewhere":
			http.Redirect(w, r, "/secret", http.StatusTemporaryRedirect)
		case "/open/here":
			http.Redirect(w, r, "/open/", http.StatusSeeOther)
		case "/open/refused":
			w.WriteHeader(http.StatusConflict)
		case "/open/broken":
			w.WriteHeader(http.StatusBadGateway)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *site) calls() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	calls := strings.Join(s.got, "; ")
	s.got = nil
	return calls
}

func TestTransportVerifiesEachRequestThatIsSent(t *testing.T) {
	t.Parallel()
	for _, transport := range transports {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			s, target := mustStand(t, transport), mustSite(t)
			s.grant(behalf.Terms{AllowedActions: []string{"http.get", "http.post"}, Resource: behalf.Patterns{target.URL + "/open/**", target.URL + "/open/"}})
			web := &http.Client{Transport: &behalf.Transport{Client: s.agent}}
			for _, c := range []struct {
				method, path, calls string
				denied              bool
				status              int
			}{
				{"POST", "/open/a?b=c", "POST /open/a?b=c order", false, 200},
				{"DELETE", "/open/a", "", true, 0},
				{"POST", "/secret", "", true, 0},
				{"POST", "/open/elsewhere", "POST /open/elsewhere order", true, 0},
				{"POST", "/open/here", "POST /open/here order; GET /open/", false, 200},
				{"POST", "/open/refused", "POST /open/refused order", false, 409},
				{"POST", "/open/broken", "POST /open/broken order", false, 502},
			} {
				r, err := http.NewRequestWithContext(t.Context(), c.method, target.URL+c.path, strings.NewReader("order"))
				if err != nil {
					t.Fatal(err)
				}
				resp, err := web.Do(r)
				status := 0
				if err == nil {
					status = resp.StatusCode
					resp.Body.Close()
				}
				if calls := target.calls(); calls != c.calls || isDenied(err) != c.denied || status != c.status {
					t.Errorf("%s %s: got %d, %v, and the calls %q; want %d, denied %t, %q", c.method, c.path, status, err, calls, c.status, c.denied, c.calls)
				}
			}
		})
	}
}

func TestTransportBlocksWhatItCantAskFor(t *testing.T) {
	t.Parallel()
	f, target := fakeHTTP(t, said{status: 200, body: packet}), mustSite(t)
	var told error
	loop := &behalf.Transport{Client: f.client}
	loop.Base = loop
	for name, transport := range map[string]*behalf.Transport{
		"an ask that fails": {Client: f.client, Ask: func(*http.Request) (behalf.Ask, error) { return ask, errors.New("which order?") }},
		"the usual ask, of a request that may lead elsewhere": {Client: f.client},
		"a loop":             loop,
		"the zero":           {},
		"no Client":          {Ask: func(*http.Request) (behalf.Ask, error) { return ask, nil }},
		"one amount for all": {Client: f.client, Ask: func(*http.Request) (behalf.Ask, error) { return ask, nil }},
		"no Ask yet":         {Client: f.client, Ask: func(*http.Request) (behalf.Ask, error) { return behalf.Ask{}, nil }},
	} {
		transport.Options = []behalf.GuardOption{behalf.OnBlocked(func(_ context.Context, err error) { told = err })}
		if name == "one amount for all" {
			transport.Options = append(transport.Options, behalf.ReportSpent(new(string)))
		}
		told = nil
		body := &closing{Reader: strings.NewReader("order")}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, target.URL+"/a/../b", body)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := transport.RoundTrip(r)
		if resp != nil {
			resp.Body.Close()
		}
		if !isUnavailable(err) || !errors.Is(told, err) || !body.closed.Load() || target.calls() != "" || f.asked.Load() != 0 {
			t.Errorf("%s: got %v, told %v, body closed %t, asked %d times", name, err, told, body.closed.Load(), f.asked.Load())
		}
	}
}

// Nobody is asked through what asks itself.
func TestTransportThatIsItsOwnBaseEnds(t *testing.T) {
	t.Parallel()
	client := &behalf.Client{BaseURL: "http://127.0.0.1:1", Token: "bhf_sk_x"}
	loop := &behalf.Transport{Client: client}
	loop.Base, client.HTTPClient = loop, &http.Client{Transport: loop}
	if err := client.Guard(t.Context(), ask, neverRun(t)); !isUnavailable(err) || !strings.Contains(err.Error(), "itself as its Base") {
		t.Errorf("got %v, want unavailable", err)
	}
}

// A program may send everything this way, what it asks the permission layer too.
func TestTransportLetsItsOwnClientThrough(t *testing.T) {
	t.Parallel()
	s, target := mustStand(t, "HTTP"), mustSite(t)
	s.grant(behalf.Terms{Action: "http.get", Resource: behalf.Patterns{target.URL + "/open/*"}})
	transport := &behalf.Transport{Base: http.DefaultTransport, Client: s.agent}
	s.agent.HTTPClient = &http.Client{Transport: transport}
	for path, allowed := range map[string]bool{"/open/a": true, "/secret": false} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, target.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := s.agent.HTTPClient.Do(r)
		if err == nil {
			resp.Body.Close()
		}
		if called := target.calls() != ""; called != allowed || isDenied(err) == allowed {
			t.Errorf("%s: got %v, called %t", path, err, called)
		}
	}
}

// What else is sent with the context of what the client asks is verified, and so
// is what another client asks.
func TestTransportLetsNothingThroughBesidesItsOwnClient(t *testing.T) {
	t.Parallel()
	f, target := fakeHTTP(t, said{status: 401, body: "no"}), mustSite(t)
	guarded := &behalf.Transport{Client: f.client}
	var err error
	first := true
	f.client.HTTPClient = &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		if first { // such as to fetch a token
			first = false
			var more *http.Request
			if more, err = http.NewRequestWithContext(r.Context(), http.MethodGet, target.URL+"/token", nil); err != nil {
				t.Error(err)
			}
			var resp *http.Response
			if resp, err = guarded.RoundTrip(more); err == nil {
				resp.Body.Close()
				t.Error("it was sent")
			}
		}
		return http.DefaultTransport.RoundTrip(r)
	})}
	_, _ = f.client.Verify(t.Context(), ask) // which is what the other is sent in
	if !isUnavailable(err) || target.calls() != "" {
		t.Errorf("with the client's context: got %v", err)
	}
	other := &behalf.Client{BaseURL: target.URL, Token: "bhf_sk_x", HTTPClient: &http.Client{Transport: guarded}}
	if _, err := other.Verify(t.Context(), ask); !isUnavailable(err) || target.calls() != "" {
		t.Errorf("another client: got %v", err)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// What is sent is what was asked about.
func TestTransportSendsWhatWasAskedAbout(t *testing.T) {
	t.Parallel()
	target := mustSite(t)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, target.URL+"/open/a", strings.NewReader("order"))
	if err != nil {
		t.Fatal(err)
	}
	asked := handledBy(t, func(w http.ResponseWriter, _ *http.Request) {
		r.URL.Path, r.Method = "/secret", http.MethodDelete // while it is decided
		_, _ = io.WriteString(w, packet)
	})
	body := &closing{Reader: strings.NewReader("order")}
	r.Body = body
	web := &behalf.Transport{Client: asked, Ask: func(r *http.Request) (behalf.Ask, error) {
		text, err := io.ReadAll(r.Body)
		r.Body.Close()
		r.Body = io.NopCloser(strings.NewReader(string(text)))
		return ask, err
	}}
	resp, err := web.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if calls := target.calls(); calls != "POST /open/a order" || !body.closed.Load() || r.Body != body {
		t.Errorf("got the calls %q, body closed %t", calls, body.closed.Load())
	}
}
