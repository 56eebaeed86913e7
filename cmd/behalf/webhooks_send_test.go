package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers/delivery"
	"github.com/behalf-platform/behalf/infra/outbound"
	"github.com/behalf-platform/behalf/infra/webhooksig"
)

// hookPost is a sender, the endpoint it sends to, and what arrived there.
type hookPost struct {
	*hookSender
	endpoint domain.Endpoint
	gone     bool // the endpoint was deleted
	clock    time.Time
	reply    http.HandlerFunc
	heads    []http.Header
	bodies   []string
}

func newHookPost(t *testing.T) *hookPost {
	t.Helper()
	p := &hookPost{clock: time.Now()}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		p.heads, p.bodies = append(p.heads, r.Header), append(p.bodies, string(body))
		if p.reply != nil {
			p.reply(w, r)
		}
	}))
	t.Cleanup(server.Close)
	client, err := outbound.New(outbound.Config{Policy: outbound.Policy{HTTP: true, Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	keys, err := webhooksig.NewKeyring(bytes.Repeat([]byte{7}, webhooksig.MasterSize))
	if err != nil {
		t.Fatal(err)
	}
	p.endpoint = domain.Endpoint{
		ID: "whe_1", EndpointSettings: domain.EndpointSettings{URL: server.URL + "/hook", Signatures: []domain.Signature{domain.SignHMAC}},
		Status: domain.EndpointActive, Verified: true, Secret: 1,
	}
	p.hookSender = &hookSender{
		client: client, keys: keys, now: func() time.Time { return p.clock }, logs: slog.New(slog.DiscardHandler),
		endpoint: func(domain.AccountID, domain.EndpointID) (*domain.Endpoint, bool) {
			e := p.endpoint
			return &e, !p.gone
		},
	}
	return p
}

// send sends a message to the endpoint as it was known when its lane began.
func (p *hookPost) send(t *testing.T, url string) delivery.Result {
	t.Helper()
	to := delivery.Endpoint{ID: "whe_1", Account: "acct_a", URL: url, Verified: true, Enabled: true}
	return p.Send(t.Context(), to, delivery.Message{ID: "evt_1", Type: "agent.registered", At: p.clock, Data: []byte(`{"a":1}`)}, "whr_1")
}

func TestWhatAnAnswerIsToALane(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		status     int
		hint, wait string
		want       delivery.Category
	}{
		{status: 200, want: delivery.Answered},
		{status: 204, want: delivery.Answered},
		{status: 302, want: delivery.Answered},
		{status: 404, want: delivery.Answered},
		{status: 429, wait: "30", want: delivery.Answered},
		{status: 500, want: delivery.Answered},
		{status: 503, wait: "30", want: delivery.Answered},
		{status: 410, want: delivery.Gone},
		{status: 200, hint: "disable", want: delivery.Gone},
		{status: 500, hint: "disable", want: delivery.Gone},
		{status: 500, hint: "abort-message", want: delivery.Aborted},
		{status: 500, hint: "anything", want: delivery.Answered},
	} {
		t.Run(fmt.Sprint(tt.status, tt.hint), func(t *testing.T) {
			t.Parallel()
			p := newHookPost(t)
			p.reply = func(w http.ResponseWriter, _ *http.Request) {
				for name, value := range map[string]string{"Webhook-Delivery": tt.hint, "Retry-After": tt.wait, "Location": "http://127.0.0.1:1/"} {
					if value != "" {
						w.Header().Set(name, value)
					}
				}
				w.WriteHeader(tt.status)
			}
			r := p.send(t, p.endpoint.URL)
			if r.Category != tt.want || r.Status != tt.status || r.Key != 1 || (r.RetryAfter == 30*time.Second) != (tt.wait != "") || len(p.heads) != 1 {
				t.Errorf("got %+v after %d posts, want %s", r, len(p.heads), tt.want)
			}
		})
	}
}

func TestWhatCannotBeSent(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]delivery.Category{
		"http://10.0.0.1:8080/":   delivery.Blocked,
		"http://169.254.169.254/": delivery.Blocked,
		"gopher://127.0.0.1/":     delivery.Blocked,
		"http://127.0.0.1:1024/":  delivery.Connect,
	} {
		p := newHookPost(t)
		p.endpoint.URL = url
		if r := p.send(t, url); r.Category != want || r.Status != 0 {
			t.Errorf("%s: got %+v, want %s", url, r, want)
		}
	}
	for name, change := range map[string]func(*hookPost){
		"another address since": func(p *hookPost) { p.endpoint.URL += "/moved" },
		"deleted since":         func(p *hookPost) { p.gone = true },
		"no signature":          func(p *hookPost) { p.endpoint.Signatures = nil },
		"no secret":             func(p *hookPost) { p.endpoint.Secret = 0 },
	} {
		p := newHookPost(t)
		url := p.endpoint.URL
		change(p)
		if r := p.send(t, url); r.Category != delivery.Unready || len(p.heads) > 0 {
			t.Errorf("%s: got %+v and %d posts, want nothing sent", name, r, len(p.heads))
		}
	}
}

func TestAMessageIsSignedWithTheSecretsThatAreGood(t *testing.T) {
	t.Parallel()
	p := newHookPost(t)
	for _, step := range []struct {
		name   string
		change func()
		want   []int
	}{
		{"the first", func() {}, []int{1}},
		{"rotated", func() {
			p.endpoint.Secret, p.endpoint.Older = 2, []domain.OlderSecret{{Version: 1, Until: p.clock.Add(time.Hour)}}
		}, []int{2, 1}},
		{"an hour later", func() { p.clock = p.clock.Add(time.Hour) }, []int{2}},
		{"rotated without an overlap", func() { p.endpoint.Secret, p.endpoint.Older = 3, nil }, []int{3}},
	} {
		step.change()
		p.heads, p.bodies = nil, nil
		if r := p.send(t, p.endpoint.URL); r.Status != 200 || r.Key != step.want[0] {
			t.Fatalf("%s: got %+v, want it sent with %v", step.name, r, step.want)
		}
		h := p.heads[0]
		var signed []int
		for _, signature := range strings.Fields(h.Get("Webhook-Signature")) {
			for version := range 5 {
				if signature == p.hmac(t, version, h.Get("Webhook-Id")+"."+h.Get("Webhook-Timestamp")+"."+p.bodies[0]) {
					signed = append(signed, version)
				}
			}
		}
		if !slices.Equal(signed, step.want) || h.Get("Webhook-Replay") != "whr_1" {
			t.Errorf("%s: got signatures of %v in %v, want %v", step.name, signed, h, step.want)
		}
	}
}

// hmac is a signature as a receiver makes it.
func (p *hookPost) hmac(t *testing.T, version int, signed string) string {
	t.Helper()
	if version == 0 {
		return ""
	}
	secret, err := secretsOf{p.keys}.Secret("acct_a", "whe_1", version)
	if err != nil {
		t.Fatal(err)
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha256.New, key)
	_, _ = mac.Write([]byte(signed))
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}
