package natsapi_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers"
	"github.com/behalf-platform/behalf/handlers/hooktest"
)

// consumer listens to a replay.
type consumer struct {
	*stand
	inbox string
	sub   *nats.Subscription
}

func (s *stand) consumer() *consumer {
	s.t.Helper()
	c := &consumer{stand: s, inbox: nats.NewInbox()}
	var err error
	if c.sub, err = s.client.SubscribeSync(c.inbox); err != nil {
		s.t.Fatal(err)
	}
	return c
}

func (c *consumer) next() *nats.Msg {
	c.t.Helper()
	m, err := c.sub.NextMsg(20 * time.Second)
	if err != nil {
		c.t.Fatalf("next message: %v", err)
	}
	return m
}

// silent fails if a message comes.
func (c *consumer) silent() {
	c.t.Helper()
	if m, err := c.sub.NextMsg(200 * time.Millisecond); err == nil {
		c.t.Fatalf("got %s %s, want nothing", m.Header, m.Data)
	}
}

// begin asks for a replay, and returns the subject that stops it.
func (c *consumer) begin(more string) string {
	c.t.Helper()
	r := c.ask(c.token, "replay", `{"deliver":"`+c.inbox+`"`+more+`}`)
	if r.code != "" {
		c.t.Fatalf("replay: got %s", r.Data)
	}
	return r.body["stop"].(string)
}

// records takes records until all that was recorded was sent.
func (c *consumer) records() (kinds []string, all string, last *nats.Msg) {
	c.t.Helper()
	for {
		m := c.next()
		if m.Header.Get("Behalf-Status") == "live" {
			return kinds, all, last
		}
		var r struct{ Kind string }
		if err := json.Unmarshal(m.Data, &r); err != nil {
			c.t.Fatalf("got %s %s: %v", m.Header, m.Data, err)
		}
		if m.Reply != "" {
			if err := m.Respond(nil); err != nil {
				c.t.Fatal(err)
			}
		}
		kinds, all, last = append(kinds, r.Kind), all+string(m.Data), m
	}
}

func TestReplayOverNATS(t *testing.T) {
	t.Parallel()
	s := mustServe(t, 16)
	s.open(100)
	c := s.consumer()
	stop := c.begin("")
	kinds, all, last := c.records()
	want := "account.opened.v1 agent.registered.v1 permission.granted.v1 decision.made.v1"
	if got := strings.Join(kinds, " "); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for _, secret := range []string{s.token, s.key} {
		if hash := string(domain.HashToken(secret)); strings.Contains(all, hash) || strings.Contains(all, secret) {
			t.Errorf("got a record with the hash of a secret: %s", all)
		}
	}
	if _, err := domain.ParsePosition(last.Header.Get("Behalf-Position")); err != nil || last.Header.Get("Behalf-Sequence") != "4" || last.Header.Get("Behalf-Last") != "3" {
		t.Errorf("got the headers %v, want the place of the record", last.Header)
	}
	// It goes on with what comes.
	s.open(200)
	if m := c.next(); m.Header.Get("Behalf-Sequence") != "5" || !strings.Contains(string(m.Data), `"amount":"200.00"`) {
		t.Errorf("got %s %s, want what was just decided", m.Header, m.Data)
	}
	// From where another ended.
	d := s.consumer()
	d.begin(`,"from":"` + last.Header.Get("Behalf-Position") + `"`)
	if kinds, _, _ := d.records(); len(kinds) != 2 {
		t.Errorf("got %v, want two", kinds)
	}
	e := s.consumer()
	e.begin(`,"since":"` + time.Now().Add(time.Hour).UTC().Format(time.RFC3339) + `"`)
	if kinds, _, _ := e.records(); len(kinds) != 0 {
		t.Errorf("got %v, want none", kinds)
	}
	if err := s.client.Publish(stop, nil); err != nil {
		t.Fatal(err)
	}
	if m := c.next(); m.Header.Get("Behalf-Status") != "end" || m.Header.Get("Behalf-Reason") != "the consumer stopped it" {
		t.Errorf("got %v, want the end", m.Header)
	}
	s.open(300)
	c.silent()
}

// A consumer that doesn't reply gets no more than a window of records.
func TestReplayWaitsForItsConsumer(t *testing.T) {
	t.Parallel()
	s := mustServe(t, 16)
	s.grant(domain.Terms{Action: "read"})
	for range 1500 {
		s.must("verify", `{"action":"read"}`, map[string]any{"allowed": true})
	}
	c := s.consumer()
	c.begin("")
	var asked []*nats.Msg
	for range 1024 {
		if m := c.next(); m.Reply != "" {
			asked = append(asked, m)
		}
	}
	c.silent()
	if len(asked) != 4 {
		t.Fatalf("got %d that want a reply, want 4", len(asked))
	}
	if err := asked[1].Respond(nil); err != nil { // it covers those before it
		t.Fatal(err)
	}
	first := c.next()
	if got := first.Header.Get("Behalf-Sequence"); got != "1025" {
		t.Errorf("got sequence %s, want 1025", got)
	}
	if kinds, _, _ := c.records(); len(kinds) != 1504-1025 { // all that there are
		t.Errorf("got %d more, want %d", len(kinds), 1504-1025)
	}
}

func TestReplayIsForMembersAndInboxes(t *testing.T) {
	t.Parallel()
	s := mustServe(t, 16)
	for _, tt := range []struct{ token, body, code, field string }{
		{s.key, `{"deliver":"_INBOX.x"}`, "FORBIDDEN", ""},
		{"bhf_dev_unknown", `{"deliver":"_INBOX.x"}`, "UNAUTHENTICATED", ""},
		{s.token, `{}`, "INVALID", "/deliver"},
		{s.token, `{"deliver":"behalf.0.account.acct_home"}`, "INVALID", "/deliver"},
		{s.token, `{"deliver":"_INBOX.>"}`, "INVALID", "/deliver"},
		{s.token, `{"deliver":"_INBOX.*.x"}`, "INVALID", "/deliver"},
		{s.token, `{"deliver":"_INBOX..x"}`, "INVALID", "/deliver"},
		{s.token, `{"deliver":"_INBOX.x y"}`, "INVALID", "/deliver"},
		{s.token, `{"deliver":"_INBOX.x","from":"soon"}`, "INVALID", "/from"},
		{s.token, `{"deliver":"_INBOX.x","from":"AAAAAAABAg","since":"2027-01-01T00:00:00Z"}`, "INVALID", "/since"},
		{s.token, `{"deliver":"_INBOX.x","as":"fast"}`, "INVALID", "/as"},
	} {
		if r := s.ask(tt.token, "replay", tt.body); !strings.HasPrefix(r.code, tt.code) || r.field() != tt.field {
			t.Errorf("%s: got %s, want %s %s", tt.body, r.Data, tt.code, tt.field)
		}
	}
	c := s.consumer()
	for i := range 8 {
		if r := s.ask(s.token, "replay", fmt.Sprintf(`{"deliver":"%s"}`, c.inbox)); r.code != "" {
			t.Fatalf("replay %d: got %s", i, r.Data)
		}
	}
	if r := s.ask(s.token, "replay", fmt.Sprintf(`{"deliver":"%s"}`, c.inbox)); r.code != "RATE_LIMITED" {
		t.Errorf("got %s, want that there are too many", r.Data)
	}
}

func TestReplayTellsOnlyTheHostOfAWebhook(t *testing.T) {
	t.Parallel()
	s := mustServe(t, 16)
	hooks := &handlers.Webhooks{
		Writer: s.desk.Writer, Rules: domain.EndpointRules{Most: 1}, Secrets: &hooktest.Secrets{}, Challenger: &hooktest.Challenger{},
		CheckURL: func(context.Context, string) error { return nil },
	}
	settings := domain.EndpointSettings{
		URL: "https://hooks.example.com:8443/services/path-secret?key=query-secret", Headers: []domain.EndpointHeader{{Name: "X-Team", Value: "header-secret"}},
	}
	made, err := hooks.Create(t.Context(), s.owner.Member, settings)
	if err != nil {
		t.Fatal(err)
	}
	settings.Ordering = domain.OrderStrict
	if _, err := hooks.Change(t.Context(), s.owner.Member, made.WebhookID, settings, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := hooks.Verify(t.Context(), s.owner.Member, made.WebhookID); err != nil {
		t.Fatal(err)
	}
	c := s.consumer()
	c.begin("")
	kinds, all, _ := c.records()
	if got := strings.Join(kinds, " "); !strings.HasSuffix(got, "webhook.created.v1 webhook.changed.v1 webhook.verified.v1") {
		t.Errorf("got %s, want the webhook's", got)
	}
	if strings.Count(all, `"url":"https://hooks.example.com:8443"`) != 3 || strings.Contains(all, "-secret") || strings.Contains(all, made.Secret) {
		t.Errorf("got %s, want the host of the address, and no more of it", all)
	}
}
