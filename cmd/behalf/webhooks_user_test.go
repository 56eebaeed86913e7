package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/behalf-platform/behalf"
	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers"
	"github.com/behalf-platform/behalf/handlers/delivery"
	"github.com/behalf-platform/behalf/infra/memlanes"
	"github.com/behalf-platform/behalf/infra/memlog"
	"github.com/behalf-platform/behalf/infra/outbound"
	"github.com/behalf-platform/behalf/infra/webhooksig"
)

var eventID = regexp.MustCompile(`evt_[0-9A-Z]{26}(-[0-9]+)?`)

// until runs a command line until it succeeds and prints all parts, and returns
// what it printed.
func (c *console) until(parts []string, args ...string) (out string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 20*time.Second)
	defer cancel()
	var code int
	var errs, words string
	spaces := regexp.MustCompile(` +`)
	if err := waitUntil(ctx, func() bool {
		code, out, errs = c.run(args...)
		words = spaces.ReplaceAllString(out, " ")
		return code == 0 && !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(words, part) })
	}); err != nil {
		c.t.Fatalf("behalf %s: got %d\n%s%s\nwant it to say %q", strings.Join(args, " "), code, out, errs, parts)
	}
	return out
}

// What the README says of webhooks is what a new user sees: from the endpoint
// that nobody answers at to the event that is sent once more.
func TestAWebhookFromTheREADME(t *testing.T) {
	t.Parallel()
	s := startServer(t, t.TempDir(), hookFlags()...)
	c := &console{t: t, env: map[string]string{"BEHALF_URL": s.url, "BEHALF_TOKEN": testToken}}
	port := mustFindPort(t)
	created := c.shows([]string{"Verified no", "Types approval.*, verification.denied", "Secret whsec_", "not shown again"},
		"webhooks", "create", "http://127.0.0.1:"+port+"/behalf", "--type", "approval.*", "--type", "verification.denied")
	id := hookID.FindString(created)
	c.wantError(1, []string{"could not be reached: the connection was refused"}, "webhooks", "verify", id)

	printed := startReceiver(t, port, regexp.MustCompile(`whsec_\S+`).FindString(created))
	c.until([]string{"Verified yes"}, "webhooks", "verify", id)
	c.shows([]string{"State idle", "Behind 0s", "Dead letters 0"}, "webhooks", "status", id)
	test := eventID.FindString(c.shows([]string{"Event evt_"}, "webhooks", "test", id))
	printed.want(t, "webhook.test", `"webhookId":"`+id+`"`)

	key := s.agent("agent_ollie")
	s.asked(key, purchase) // allowed, and nobody asked to be told
	denied := s.asked(key, `{"action":"purchase","amount":501}`)
	printed.want(t, "verification.denied", denied, "AMOUNT_EXCEEDS_LIMIT")
	told := eventID.FindString(c.until([]string{"verification.denied 1 delivered 204"}, "webhooks", "attempts", id, "--outcome", "delivered"))
	c.shows([]string{test + " webhook.test 1 delivered 204"}, "webhooks", "attempts", id, "--event", test)
	c.shows([]string{"webhook.challenge 1 failed - ", " connect"}, "webhooks", "attempts", id, "--outcome", "failed")
	c.shows([]string{"GIVEN UP"}, "webhooks", "dead-letters", id)
	c.until([]string{"State idle", "Last delivery 20"}, "webhooks", "status", id)

	asked := c.shows([]string{"State running"}, "webhooks", "replay", id, "--event", told)
	replay := regexp.MustCompile(`whr_[0-9A-Z]{26}`).FindString(asked)
	c.until([]string{"State finished", "Delivered 1", "Failed 0"}, "webhooks", "replays", id, replay)
	c.shows([]string{told + " verification.denied 1 delivered 204"}, "webhooks", "attempts", id, "--replay", replay)
	if got := printed.all(); strings.Contains(got, `"outcome":"allowed"`) || strings.Count(got, denied) != 1 {
		t.Errorf("the receiver printed\n%s\nwant the denial, once, and not the allow", got)
	}
}

func mustFindPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err := errors.Join(err, l.Close()); err != nil {
		t.Fatal(err)
	}
	return port
}

// printout is what a receiver prints.
type printout struct{ said }

func (p *printout) all() string { return p.String() }

// want waits until there is a line that begins with the type and has the parts.
func (p *printout) want(t *testing.T, kind string, parts ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := waitUntil(ctx, func() bool {
		for line := range strings.Lines(p.all()) {
			if strings.HasPrefix(line, kind+" ") && !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(line, part) }) {
				return true
			}
		}
		return false
	}); err != nil {
		t.Fatalf("the receiver printed\n%s\nwant a %s with %q", p.all(), kind, parts)
	}
}

// startReceiver runs the example in schemas where there is Node, and else one
// that does the same in Go.
func startReceiver(t *testing.T, port, secret string) *printout {
	t.Helper()
	p := &printout{}
	node, err := exec.LookPath("node")
	if err != nil {
		startGoReceiver(t, port, secret, p)
		return p
	}
	cmd := exec.Command(node, "../../schemas/webhooks/receiver.mjs")
	cmd.Env = append(os.Environ(), "PORT="+port, "WEBHOOK_SECRET="+secret)
	cmd.Stdout = p
	errs, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	lines := bufio.NewScanner(errs)
	if !lines.Scan() || !strings.HasPrefix(lines.Text(), "listening on ") {
		t.Fatalf("the receiver says %q", lines.Text())
	}
	go func() { // whatever else it says, it need not wait for us
		for lines.Scan() {
			_, _ = p.Write(append(lines.Bytes(), '\n'))
		}
	}()
	return p
}

func startGoReceiver(t *testing.T, port, secret string, p *printout) {
	l, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	handled := map[string]bool{}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		e, err := behalf.VerifyWebhook(r.Header, body, secret)
		switch {
		case err != nil:
			w.WriteHeader(http.StatusUnauthorized)
		case e.Type == "webhook.challenge":
			_, _ = w.Write(e.Data)
		default:
			w.WriteHeader(http.StatusNoContent)
			p.mu.Lock() // which guards handled too
			defer p.mu.Unlock()
			if !handled[e.ID] {
				_, _ = p.text.WriteString(e.Type + " " + string(e.Data) + "\n")
			}
			handled[e.ID] = true
		}
	})}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close() })
}

// What an endpoint refuses to the end is a dead letter, and can be sent again. The
// schedule, which takes days, is cut short; all else is what serve runs.
func TestADeadLetterIsSentAgain(t *testing.T) {
	t.Parallel()
	c, _, _, hooks := hookConsole(t)
	sendQuickly(t, hooks)
	r := &hookReceiver{
		t: t, name: "picky", times: map[string]int{}, forms: map[string]int{},
		ill: func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "not like this", http.StatusUnprocessableEntity)
		},
	}
	r.mustListen()
	if err := json.Unmarshal([]byte(c.shows(nil, "webhooks", "create", "http://"+r.addr+"/", "-o", "json")), &r.webhook); err != nil {
		t.Fatal(err)
	}
	id := r.webhook.WebhookID
	c.shows([]string{"Verified yes"}, "webhooks", "verify", id)
	event := eventID.FindString(c.shows(nil, "webhooks", "test", id))
	c.until([]string{event + " webhook.test 3 http_422"}, "webhooks", "dead-letters", id)
	c.shows([]string{event + " webhook.test 3 given_up 422", "http_422 not like this"}, "webhooks", "attempts", id, "--outcome", "given_up", "--answers")
	c.shows([]string{event + " webhook.test 2 failed 422", event + " webhook.test 1 failed 422"}, "webhooks", "attempts", id, "--event", event)
	c.until([]string{"State idle", "Dead letters 1", "Last error http_422"}, "webhooks", "status", id)

	r.recover()
	asked := c.shows([]string{"What dead letters"}, "webhooks", "replay", id, "--dead-letters")
	replay := regexp.MustCompile(`whr_[0-9A-Z]{26}`).FindString(asked)
	c.until([]string{"State finished", "Delivered 1", "Failed 0"}, "webhooks", "replays", id, replay)
	c.shows([]string{event + " webhook.test 1 delivered 204"}, "webhooks", "attempts", id, "--replay", replay)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.times[event] != 1 || len(r.forms) > 0 {
		t.Errorf("got %v, %v, want the event once, and all signed", r.times, r.forms)
	}
}

// sendQuickly has webhooks sent, by the real sender, to addresses of this machine.
func sendQuickly(t *testing.T, hooks *handlers.Webhooks) {
	t.Helper()
	keys, err := webhooksig.NewKeyring(slices.Repeat([]byte{7}, webhooksig.MasterSize))
	if err != nil {
		t.Fatal(err)
	}
	client, err := outbound.New(outbound.Config{Policy: outbound.Policy{HTTP: true, Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}})
	if err != nil {
		t.Fatal(err)
	}
	passports := hooks.Writer.Passports
	source := &handlers.WebhookSource{Log: hooks.Writer.Log.(*memlog.Log).Join()}
	rules := delivery.Usual()
	rules.Schedule = []time.Duration{10 * time.Millisecond, 10 * time.Millisecond}
	logs := slog.New(slog.DiscardHandler)
	current := func(context.Context, uint16) error { return nil }
	engine := &delivery.Engine{
		Source:   source,
		Registry: &handlers.WebhookRegistry{Passports: passports, Partitions: 1, Current: current},
		Sender: &hookSender{client: client, keys: keys, now: time.Now, logs: logs, endpoint: func(account domain.AccountID, id domain.EndpointID) (*domain.Endpoint, bool) {
			a, err := passports.Account(account)
			if err != nil {
				return nil, false
			}
			return a.Endpoint(id)
		}},
		Reporter: &handlers.WebhookReporter{Webhooks: hooks}, Store: &memlanes.Client{Store: &memlanes.Store{}}, Node: "test", Logs: logs, Now: time.Now, Rules: &rules,
	}
	known := &handlers.EngineDeliveries{Engine: engine, Now: time.Now}
	hooks.Secrets, hooks.Challenger, hooks.Deliveries, hooks.Rules.PlainHTTP = secretsOf{keys}, known, known, true
	steward := &handlers.WebhookSteward{Passports: passports, Engine: engine, Webhooks: hooks, Source: source, Current: current, Logs: logs, Every: 10 * time.Millisecond}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	var parts sync.WaitGroup
	parts.Go(func() { _ = engine.Run(ctx) })
	parts.Go(func() { _ = steward.Run(ctx) })
	t.Cleanup(func() { stop(); parts.Wait(); client.Close() })
}
