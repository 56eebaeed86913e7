package main

import (
	"context"
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers"
	"github.com/behalf-platform/behalf/handlers/hooktest"
	"github.com/behalf-platform/behalf/handlers/httpapi"
	"github.com/behalf-platform/behalf/infra/memlog"
	"github.com/behalf-platform/behalf/projections"
)

// hookConsole is a console of an owner, with a server in memory whose webhooks
// are on.
func hookConsole(t *testing.T) (*console, *hooktest.Challenger, *hooktest.Deliveries, *handlers.Webhooks) {
	t.Helper()
	const account, token = "acct_01K8M3Z5V0QX4T7R9WBYDAFC2E", "bhf_dev_0123456789abcdef0123456789abcdef"
	log := memlog.New(memlog.Config{FirstAccount: account})
	passports, lanes := &projections.Passports{}, handlers.NewLanes()
	caughtUp := func(context.Context, domain.Position) error { return nil }
	writer := &handlers.Writer{Log: log, Passports: passports, Lanes: lanes, Now: time.Now, CatchUp: caughtUp, Timeout: time.Minute}
	challenger, deliveries := &hooktest.Challenger{}, &hooktest.Deliveries{}
	desk := &handlers.Desk{
		Faults:     handlers.Faults{Logs: slog.New(slog.DiscardHandler), Now: time.Now},
		Identifier: &handlers.Identifier{Log: log, Passports: passports},
		Verifier: &handlers.Verifier{
			Log: log, Passports: passports, Lanes: lanes, Now: time.Now, Timeout: time.Minute, Ready: func() error { return nil }, CatchUp: caughtUp,
		},
		Writer: writer, History: &handlers.History{Log: log},
		Webhooks: &handlers.Webhooks{
			Writer: writer, Rules: domain.EndpointRules{Types: eventTypes(), Most: 10}, Secrets: &hooktest.Secrets{},
			CheckURL: func(context.Context, string) error { return nil }, Challenger: challenger, Deliveries: deliveries,
		},
	}
	if _, err := desk.OpenAccount(t.Context(), account, domain.OpenAccount{
		Name: "Behalf", Currency: "USD", Owner: "mem_01K8M3Z5V0J6N8P1S3T5V7X9ZA", Token: domain.HashToken(token),
	}); err != nil {
		t.Fatal(err)
	}
	c := newConsole(t, httpapi.New(t.Context(), desk, slog.New(slog.DiscardHandler)).Handler().ServeHTTP)
	c.env["BEHALF_TOKEN"] = token
	return c, challenger, deliveries, desk.Webhooks
}

// shows runs a command line that succeeds, and looks for parts in what it prints,
// however far apart its words are.
func (c *console) shows(parts []string, args ...string) string {
	c.t.Helper()
	code, out, errs := c.run(args...)
	if code != 0 {
		c.t.Fatalf("behalf %s: got %d\n%s", strings.Join(args, " "), code, errs)
	}
	words := regexp.MustCompile(` +`).ReplaceAllString(out, " ")
	for _, part := range parts {
		if !strings.Contains(words, part) {
			c.t.Errorf("behalf %s: got\n%s\nwant it to say %q", strings.Join(args, " "), out, part)
		}
	}
	return out
}

var hookID = regexp.MustCompile(`whe_[0-9A-Z]{26}`)

func TestWebhooksOnTheCommandLine(t *testing.T) {
	t.Parallel()
	c, challenger, deliveries, hooks := hookConsole(t)
	created := c.shows([]string{
		"URL https://example.com/behalf\n", "Verified no", "Types approval.*, verification.denied\n", "Ordering per_agent", "Rate 50 a second",
		"Header X-Team: ops: all", "Signatures v1\n", "Secret whsec_", "not shown again",
	}, "webhooks", "create", "https://example.com/behalf", "--type", "approval.*", "--type", "verification.denied",
		"--ordering", "per_agent", "--rate", "50", "--header", "X-Team: ops: all", "--signature", "v1", "--description", "a pager")
	id := hookID.FindString(created)
	if secret := strings.TrimSpace(c.shows(nil, "webhooks", "create", "https://example.org/", "--secret-only")); !strings.HasPrefix(secret, "whsec_") || strings.ContainsAny(secret, " \n") {
		t.Errorf("got %q, want the secret and nothing else", secret)
	}
	c.shows([]string{"WEBHOOK STATUS", id + " active no approval.*,verification.denied https://example.com/behalf", "https://example.org/"}, "webhooks", "list")
	if out := c.shows([]string{`"webhookId":"` + id}, "webhooks", "show", id, "-o", "json"); strings.Contains(out, "whsec_") {
		t.Errorf("got %s, want no secret", out)
	}

	c.shows([]string{"Types approval.*, verification.denied", "Ordering strict", "URL https://example.com/behalf\n"}, "webhooks", "edit", id, "--ordering", "strict")
	if out := c.shows([]string{"URL https://example.com/v2\n", "Description a pager"}, "webhooks", "edit", id, "https://example.com/v2", "--clear", "type", "--clear", "rate", "--clear", "header"); strings.Contains(out, "Types") || strings.Contains(out, "Rate") || strings.Contains(out, "X-Team") {
		t.Errorf("got\n%s\nwant what was cleared gone", out)
	}

	challenger.Answer = func(*domain.Endpoint, string) (handlers.ChallengeAnswer, error) {
		return handlers.ChallengeAnswer{Status: 404}, nil
	}
	c.wantError(1, []string{"answered 404", "webhook.challenge"}, "webhooks", "verify", id)
	challenger.Answer = nil
	c.shows([]string{"Verified yes"}, "webhooks", "verify", id)
	c.shows([]string{"Event evt_"}, "webhooks", "test", id)
	c.shows([]string{"Secret version 2, public key whpk_", "Secret version 1", "good until", "Secret whsec_"}, "webhooks", "rotate-secret", id, "--overlap", "1h")
	if secret := c.shows(nil, "webhooks", "rotate-secret", id, "--overlap", "0s", "--secret-only"); !strings.HasPrefix(secret, "whsec_") {
		t.Errorf("got %q, want the secret", secret)
	}
	c.shows([]string{"Status paused", "Reason tonight"}, "webhooks", "pause", id, "--reason", "tonight")
	c.shows([]string{"Status active"}, "webhooks", "resume", id, "--skip-held")
	c.shows([]string{"Status disabled (member)"}, "webhooks", "disable", id)
	c.shows([]string{"Status active"}, "webhooks", "enable", id)

	deliveries.Goes(handlers.DeliveryStatus{State: handlers.DeliveryHolding, LagSeconds: 60, Parked: 3, LastError: "http_503"})
	c.shows([]string{"State holding", "Behind 60s", "Parked 3", "Last error http_503"}, "webhooks", "status", id)
	deliveries.Tried(handlers.Attempt{
		EventID: "evt_1", Type: "approval.denied", Number: 10, At: time.Now(), Outcome: handlers.AttemptGivenUp, Status: 500, Error: "http_500", LatencyMS: 41, Answer: "no\x1b[2J",
	})
	attempts := c.shows([]string{"evt_1 approval.denied 10 given_up 500 41 http_500 no\uFFFD[2J"}, "webhooks", "attempts", id, "--outcome", "given_up", "--event", "evt_1", "--answers")
	if strings.Contains(attempts, "\x1b") {
		t.Errorf("got %q, want nothing that moves a cursor", attempts)
	}
	c.shows([]string{"evt_1 approval.denied 10 http_500"}, "webhooks", "dead-letters", id)

	asked := c.shows([]string{"State running", "What dead letters\n", "Rate 10 a second", "Requested by member:mem_"}, "webhooks", "replay", id, "--dead-letters")
	replay := regexp.MustCompile(`whr_[0-9A-Z]{26}`).FindString(asked)
	left := 7
	deliveries.Got(domain.ReplayID(replay), handlers.ReplayProgress{Delivered: 5, Failed: 1, Left: &left})
	c.shows([]string{"Delivered 5", "Failed 1", "Left 7"}, "webhooks", "replays", id, replay)
	c.shows([]string{"What all since 2020-01-01T00:00:00Z until 2020-01-02T00:00:00Z", "Rate 100 a second"}, "webhooks", "replay", id, "--since", "2020-01-01", "--until", "2020-01-02", "--rate", "100")
	c.shows([]string{"What 2 events"}, "webhooks", "replay", id, "--event", "evt_01K8M3Z5V1A3C5E7G9J1M3P5R7", "--event", "evt_01K8M3Z5V1A3C5E7G9J1M3P5R7-1")
	c.shows([]string{"State cancelled"}, "webhooks", "replays", id, replay, "--cancel")
	c.shows([]string{replay + " cancelled dead letters", "running 2 events"}, "webhooks", "replays", id)

	c.shows([]string{"Status deleted"}, "webhooks", "delete", id)
	c.wantError(1, []string{"no webhook"}, "webhooks", "show", id)
	if page, err := hooks.List(handlers.Member{Account: "acct_01K8M3Z5V0QX4T7R9WBYDAFC2E"}, 10, ""); err != nil || len(page.Webhooks) != 1 {
		t.Errorf("got %+v, %v, want the other one", page, err)
	}
}

func TestMistakesInWebhookCommands(t *testing.T) {
	t.Parallel()
	c := newConsole(t, answering(500, ""))
	for _, m := range []struct {
		says string
		args []string
	}{
		{"needs URL", []string{"create"}},
		{"has no colon", []string{"create", "https://example.com/", "--header", "X-Team"}},
		{"is not a length of time", []string{"rotate-secret", "whe_1", "--overlap", "1d"}},
		{"say what to send again", []string{"replay", "whe_1"}},
		{"--since", []string{"replay", "whe_1", "--since", "yesterday"}},
		{"needs the id of a replay", []string{"replays", "whe_1", "--cancel"}},
	} {
		c.wantError(2, []string{m.says}, append([]string{"webhooks"}, m.args...)...)
	}
}

func TestAnEditThatContradictsItself(t *testing.T) {
	t.Parallel()
	c, _, _, _ := hookConsole(t)
	id := hookID.FindString(c.shows(nil, "webhooks", "create", "https://example.com/"))
	c.wantError(2, []string{"can't both be given"}, "webhooks", "edit", id, "--clear", "type", "--type", "*")
	c.wantError(2, []string{"can't be taken away"}, "webhooks", "edit", id, "--clear", "url")
}
