package natsapi_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers"
	"github.com/behalf-platform/behalf/handlers/natsapi"
	"github.com/behalf-platform/behalf/infra/memlog"
	"github.com/behalf-platform/behalf/projections"
)

const account domain.AccountID = "acct_home"

// stand is the service over a log in memory, and a client of it.
type stand struct {
	t       *testing.T
	desk    *handlers.Desk
	service *natsapi.Service
	client  *nats.Conn
	owner   handlers.Caller
	token   string
	key     string // of agent_ollie, who may purchase once a person said yes
	// broken makes the service panic where it looks at an approval.
	broken atomic.Bool
	logged written
}

// written is what was logged.
type written struct {
	mu   sync.Mutex
	text []byte // guarded by mu
}

func (w *written) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text = append(w.text, b...)
	return len(b), nil
}

func (w *written) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return string(w.text)
}

func mustServe(t *testing.T, mostWaits int) *stand {
	t.Helper()
	conn, client := mustConnect(t)
	log, passports := memlog.New(memlog.Config{FirstAccount: account}), &projections.Passports{}
	lanes := handlers.NewLanes()
	caughtUp := func(context.Context, domain.Position) error { return nil }
	s := &stand{t: t, client: client, token: domain.MemberTokenPrefix + "owner-of-the-test-account-0123456789"}
	logs := slog.New(slog.NewJSONHandler(&s.logged, nil))
	s.desk = &handlers.Desk{
		Faults:     handlers.Faults{Logs: logs, Now: time.Now},
		Identifier: &handlers.Identifier{Log: log, Passports: passports},
		Verifier: &handlers.Verifier{
			Log: log, Passports: passports, Lanes: lanes, Now: time.Now, Timeout: time.Minute,
			Ready: func() error { return nil }, CatchUp: caughtUp,
		},
		Writer:  &handlers.Writer{Log: log, Passports: passports, Lanes: lanes, Now: time.Now, CatchUp: caughtUp, Timeout: time.Minute},
		History: &handlers.History{Log: log},
		Approvals: &handlers.Approvals{
			Passports: passports, Now: s.now, Partitions: log.Partitions,
			Current: func(context.Context, uint16) error { return nil },
		},
	}
	minder := &handlers.Minder{Passports: passports, Now: time.Now, Logs: logs, Wake: natsapi.Waker(t.Context(), conn, logs)}
	following, stop := context.WithCancel(context.Background())
	var follower sync.WaitGroup
	follower.Go(func() {
		_ = log.Follow(following, 0, 0, func(r domain.Recorded, err error) error {
			_ = passports.Apply(r, err)
			return minder.Apply(r, err)
		})
	})
	service, err := natsapi.Start(t.Context(), natsapi.Config{Conn: conn, Desk: s.desk, Logs: logs, Version: "0.0.1", MostInFlight: 4 * handlers.MostWaits, MostWaits: mostWaits})
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Flush(); err != nil { // the subscriptions are there
		t.Fatal(err)
	}
	s.service = service
	t.Cleanup(func() { _ = service.Stop(); stop(); follower.Wait() })
	s.furnish()
	return s
}

func (s *stand) now() time.Time {
	if s.broken.Load() {
		panic("the clock fell off the wall")
	}
	return time.Now()
}

func mustConnect(t *testing.T) (of, to *nats.Conn) {
	t.Helper()
	srv, err := server.NewServer(&server.Options{DontListen: true, NoLog: true, NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
	connect := func() *nats.Conn {
		conn, err := nats.Connect("", nats.InProcessServer(srv))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(conn.Close)
		return conn
	}
	return connect(), connect()
}

// furnish opens the account and registers the agent.
func (s *stand) furnish() {
	s.t.Helper()
	ctx := s.t.Context()
	_, err := s.desk.OpenAccount(ctx, account, domain.OpenAccount{Name: "Home", Currency: "USD", Owner: "mem_owner", Token: domain.HashToken(s.token)})
	if err != nil {
		s.t.Fatal(err)
	}
	if s.owner, err = s.desk.Admit(ctx, "", "Bearer "+s.token); err != nil {
		s.t.Fatal(err)
	}
	if _, s.key, err = s.desk.RegisterAgent(ctx, s.owner.Member, domain.RegisterAgent{AgentID: "agent_ollie", Name: "Ollie", Type: domain.Native}, true); err != nil {
		s.t.Fatal(err)
	}
	s.grant(domain.Terms{Action: "purchase", RequiresApproval: domain.ApprovalRule{Always: true}})
}

func (s *stand) grant(terms domain.Terms) {
	s.t.Helper()
	if _, _, err := s.desk.Grant(s.t.Context(), s.owner.Member, "agent_ollie", terms); err != nil {
		s.t.Fatal(err)
	}
}

// reply is an answer: its body decoded, and the code and status of its error.
type reply struct {
	*nats.Msg
	body         map[string]any
	code, status string
}

func (r reply) field() string {
	fault, _ := r.body["error"].(map[string]any)
	field, _ := fault["field"].(string)
	return field
}

func (s *stand) ask(token, operation, body string) reply {
	s.t.Helper()
	m := nats.NewMsg("behalf.v1." + operation)
	m.Header.Set("Authorization", "Bearer "+token)
	m.Data = []byte(body)
	answer, err := s.client.RequestMsg(m, 20*time.Second)
	if err != nil {
		s.t.Fatalf("%s %s: %v", operation, body, err)
	}
	r := reply{Msg: answer, code: answer.Header.Get(micro.ErrorHeader), status: answer.Header.Get(micro.ErrorCodeHeader)}
	if err := json.Unmarshal(answer.Data, &r.body); err != nil {
		s.t.Fatalf("%s %s: the answer %q is not JSON", operation, body, answer.Data)
	}
	return r
}

// must is ask by the agent, and fails unless the answer has these members.
func (s *stand) must(operation, body string, want map[string]any) reply {
	s.t.Helper()
	r := s.ask(s.key, operation, body)
	for name, value := range want {
		if r.body[name] != value {
			s.t.Fatalf("%s %s: got %s, want %s %v", operation, body, r.Data, name, value)
		}
	}
	return r
}

// open asks for an approval, and returns its id.
func (s *stand) open(amount int) string {
	s.t.Helper()
	r := s.must("verify", fmt.Sprintf(`{"action":"purchase","amount":%d}`, amount), map[string]any{"reasonCode": "APPROVAL_REQUIRED"})
	return r.body["approvalId"].(string)
}

func TestApprovalsOverNATS(t *testing.T) {
	t.Parallel()
	s := mustServe(t, 16)
	woken, err := s.client.SubscribeSync(natsapi.WakeSubject(domain.Stream{Account: account, Agent: "agent_ollie"}) + ".>")
	if err != nil {
		t.Fatal(err)
	}
	id := s.open(1)
	which := `{"approvalId":"` + id + `"}`
	s.wantWoken(woken, id, "pending")
	s.must("approvals.get", which, map[string]any{"approvalId": id, "state": "pending"})
	list := s.must("approvals.list", ``, nil)
	if approvals := list.body["approvals"].([]any); len(approvals) != 1 {
		t.Errorf("got %s, want the one approval", list.Data)
	}
	s.must("approvals.list", `{"state":"denied","limit":1}`, map[string]any{"nextCursor": nil})

	answered := make(chan reply, 1)
	go func() { answered <- s.ask(s.key, "approvals.get", `{"approvalId":"`+id+`","wait":"20s"}`) }()
	if _, err := s.desk.ReviewFor(t.Context(), s.owner, domain.ApprovalID(id), (*handlers.Writer).Approve, "enjoy"); err != nil {
		t.Fatal(err)
	}
	if r := <-answered; r.body["state"] != "approved" || strings.Contains(string(r.Data), "enjoy") || strings.Contains(string(r.Data), "mem_") {
		t.Errorf("got %s, want approved, and nothing of who said so", r.Data)
	}
	s.wantWoken(woken, id, "approved")

	spent := s.must("verify", `{"action":"purchase","amount":1}`, map[string]any{"reasonCode": "ALLOWED", "approvalId": id, "reserved": true})
	s.wantWoken(woken, id, "used")
	request := spent.body["requestId"].(string)
	s.must("outcome", `{"requestId":"`+request+`","outcome":"executed","amount":"0.4"}`, map[string]any{"amount": "0.40", "released": "0.60"})
	s.must("outcome", `{"requestId":"`+request+`","outcome":"executed","amount":"0.4"}`, map[string]any{"amount": "0.40", "released": "0.60"})

	open := s.open(2)
	if r := s.ask(s.token, "approvals.get", `{"approvalId":"`+id+`"}`); r.body["votes"] == nil || r.body["usedBy"] != request {
		t.Errorf("to a member: got %s, want who said what", r.Data)
	}
	for _, tt := range []struct{ token, operation, body, code, status, field string }{
		{"bhf_sk_wrong", "approvals.get", which, "UNAUTHENTICATED", "401", ""},
		{s.token, "outcome", `{"requestId":"` + request + `","outcome":"failed"}`, "FORBIDDEN", "403", ""},
		{s.key, "outcome", `{"requestId":"` + request + `","outcome":"failed"}`, "CONFLICT", "409", ""},
		{s.key, "outcome", `{"requestId":">","outcome":"failed"}`, "NOT_FOUND", "404", ""},
		{s.key, "outcome", `{"requestId":"` + request + `","outcome":"executed","amount":null}`, "INVALID_REQUEST", "400", "/amount"},
		{s.key, "outcome", ``, "INVALID_REQUEST", "400", ""},
		{s.key, "approvals.cancel", which, "CONFLICT", "409", ""},
		{s.key, "approvals.cancel", `{"approvalId":"` + open + `","comment":"x"}`, "INVALID_REQUEST", "400", "/comment"},
		{s.key, "approvals.cancel", `{}`, "NOT_FOUND", "404", ""},
		{s.key, "approvals.get", `{"approvalId":"apr_00000000000000000000000000"}`, "NOT_FOUND", "404", ""},
		{s.key, "approvals.get", `{"approvalId":"*"}`, "NOT_FOUND", "404", ""},
		{s.key, "approvals.get", `{"approvalId":"` + id + `","wait":"2m"}`, "INVALID_REQUEST", "400", "/wait"},
		{s.key, "approvals.get", `{"approvalId":"` + id + `","wait":1}`, "INVALID_REQUEST", "400", "/wait"},
		{s.key, "approvals.get", `{"approvalId":"` + id + `","wait":"soon"}`, "INVALID_REQUEST", "400", "/wait"},
		{s.key, "approvals.list", `{"limit":0}`, "INVALID_REQUEST", "400", "/limit"},
		{s.key, "approvals.list", `{"state":"open"}`, "INVALID_REQUEST", "400", "/state"},
		{s.key, "approvals.list", `{"cursor":"x"}`, "INVALID_REQUEST", "400", "/cursor"},
		{s.key, "approvals.list", `{"agentId":"agent_ollie"}`, "INVALID_REQUEST", "400", "/agentId"},
	} {
		if r := s.ask(tt.token, tt.operation, tt.body); r.code != tt.code || r.status != tt.status || r.field() != tt.field {
			t.Errorf("%s %s: got %s %s %s, want %s at %q", tt.operation, tt.body, r.status, r.code, r.Data, tt.code, tt.field)
		}
	}
	s.must("approvals.cancel", `{"approvalId":"`+open+`"}`, map[string]any{"state": "cancelled"})
	again := s.open(2)
	if r := s.ask(s.token, "approvals.cancel", `{"approvalId":"`+again+`"}`); r.body["resolvedBy"] != "member:mem_owner" {
		t.Errorf("a member: got %s, want it withdrawn", r.Data)
	}
}

// wantWoken fails unless the next hint is that an approval is in a state.
func (s *stand) wantWoken(woken *nats.Subscription, id, state string) {
	s.t.Helper()
	hint, err := woken.NextMsg(5 * time.Second)
	if err != nil {
		s.t.Fatalf("woken because of %s: %v", state, err)
	}
	if want := fmt.Sprintf(`{"approvalId":"%s","state":"%s"}`, id, state); string(hint.Data) != want || !strings.HasSuffix(hint.Subject, "."+id) {
		s.t.Errorf("got the hint %s on %s, want %s", hint.Data, hint.Subject, want)
	}
}

func TestARateThatIsUsedUpSaysWhenToComeBack(t *testing.T) {
	t.Parallel()
	s := mustServe(t, 4)
	s.grant(domain.Terms{Action: "call", Limits: domain.Limits{Rates: []domain.Rate{{Count: 1, Per: domain.PerDay}}}})
	if r := s.must("verify", `{"action":"call"}`, map[string]any{"reasonCode": "ALLOWED"}); r.Header.Get("Retry-After") != "" {
		t.Errorf("got Retry-After %q, want none", r.Header.Get("Retry-After"))
	}
	r := s.must("verify", `{"action":"call"}`, map[string]any{"reasonCode": "RATE_EXCEEDED", "allowed": false})
	if r.Header.Get("Retry-After") == "" || r.code != "" {
		t.Errorf("got %v, want a packet with Retry-After", r.Header)
	}
}

// Who waits for people keeps nobody else from an answer.
func TestWaitsTakeNoWorker(t *testing.T) {
	t.Parallel()
	s := mustServe(t, 1)
	id := s.open(1)
	answered, busy := s.fill(id)
	if busy.code != "UNAVAILABLE" || busy.status != "503" || busy.Header.Get("Retry-After") == "" {
		t.Errorf("one above the bound: got %s %s, want UNAVAILABLE", busy.status, busy.Data)
	}
	s.must("verify", `{"action":"purchase","amount":1}`, map[string]any{"approvalId": id})
	s.must("approvals.get", `{"approvalId":"`+id+`"}`, map[string]any{"state": "pending"}) // it waits for nobody
	if r := s.ask("bhf_sk_wrong", "approvals.get", `{"approvalId":"`+id+`","wait":"20s"}`); r.code != "UNAUTHENTICATED" {
		t.Errorf("somebody: got %s %s, want UNAUTHENTICATED", r.status, r.Data)
	}
	if _, err := s.desk.ReviewFor(t.Context(), s.owner, domain.ApprovalID(id), (*handlers.Writer).Deny, ""); err != nil {
		t.Fatal(err)
	}
	if r := <-answered; r.body["state"] != "denied" {
		t.Errorf("got %s, want denied", r.Data)
	}
}

// fill takes the one place of those who wait, and returns its answer when there
// is one, and that of another who found no place.
func (s *stand) fill(id string) (answered <-chan reply, refused reply) {
	s.t.Helper()
	in := make(chan reply, 1)
	go func() {
		for {
			if r := s.ask(s.key, "approvals.get", `{"approvalId":"`+id+`","wait":"20s"}`); r.code != "UNAVAILABLE" {
				in <- r
				return
			}
		}
	}()
	for refused.code == "" {
		refused = s.ask(s.key, "approvals.get", `{"approvalId":"`+id+`","wait":"1s"}`)
	}
	return in, refused
}

// One agent can't take the places of all.
func TestWaitsOfAnAgentLeaveRoomForOthers(t *testing.T) {
	t.Parallel()
	s := mustServe(t, handlers.MostWaits+1)
	id := s.open(1)
	wait := `{"approvalId":"` + id + `","wait":"20s"}`
	answers := make(chan reply, 4*handlers.MostWaits)
	var asking sync.WaitGroup
	for range 2 * handlers.MostWaits {
		asking.Go(func() { answers <- s.ask(s.key, "approvals.get", wait) })
	}
	for range handlers.MostWaits { // those who find no place are answered at once
		if r := <-answers; r.code != "RATE_LIMITED" || r.status != "429" {
			t.Errorf("got %s %s, want RATE_LIMITED", r.status, r.Data)
		}
	}
	asking.Go(func() { answers <- s.ask(s.token, "approvals.get", wait) })
	s.must("approvals.get", `{"approvalId":"`+id+`"}`, map[string]any{"state": "pending"})
	if _, err := s.desk.ReviewFor(t.Context(), s.owner, domain.ApprovalID(id), (*handlers.Writer).Deny, ""); err != nil {
		t.Fatal(err)
	}
	asking.Wait()
	for range handlers.MostWaits + 1 {
		if r := <-answers; r.body["state"] != "denied" {
			t.Errorf("got %s %s, want denied", r.status, r.Data)
		}
	}
}

func TestStopAnswersWhoWaits(t *testing.T) {
	t.Parallel()
	s := mustServe(t, 1)
	id := s.open(1)
	answered, _ := s.fill(id)
	began := time.Now()
	if err := s.service.Stop(); err != nil {
		t.Fatal(err)
	}
	if r := <-answered; r.body["state"] != "pending" || time.Since(began) > 10*time.Second {
		t.Errorf("got %s after %s, want pending at once", r.Data, time.Since(began))
	}
}

// A bug in one request is that request's own.
func TestAPanicIsAnsweredAsUnavailable(t *testing.T) {
	t.Parallel()
	s := mustServe(t, 1)
	id := s.open(1)
	s.broken.Store(true)
	for _, asked := range []struct{ operation, body string }{{"approvals.list", ``}, {"approvals.get", `{"approvalId":"` + id + `","wait":"1s"}`}} {
		operation := asked.operation
		r := s.ask(s.key, operation, asked.body)
		if r.code != "UNAVAILABLE" || r.status != "503" || r.body["allowed"] != false || strings.Contains(string(r.Data), "wall") {
			t.Errorf("%s: got %s %s, want UNAVAILABLE, and nothing of what happened", operation, r.status, r.Data)
		}
		for _, part := range []string{`"panic":"the clock fell off the wall"`, `"subject":"behalf.v1.` + operation + `"`, "natsapi_test.(*stand).now"} {
			if !strings.Contains(s.logged.String(), part) {
				t.Errorf("%s: got the logs\n%s\nwant %s", operation, s.logged.String(), part)
			}
		}
	}
	s.broken.Store(false)
	s.must("approvals.list", ``, map[string]any{"error": nil})
	s.must("approvals.get", `{"approvalId":"`+id+`"}`, map[string]any{"state": "pending"})
}
