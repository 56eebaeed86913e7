package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/behalf-platform/behalf"
)

// events are the account's, once there are those of the newest decision.
func (s *server) events(newest string, q behalf.EventQuery) []behalf.Event {
	s.t.Helper()
	client := &behalf.Client{BaseURL: s.url, Token: testToken}
	ctx, cancel := context.WithTimeout(s.t.Context(), 30*time.Second)
	defer cancel()
	for {
		var all []behalf.Event
		seen := newest == ""
		for e, err := range client.Events(ctx, q) {
			if err != nil {
				s.t.Fatal(err)
			}
			all, seen = append(all, e), seen || strings.Contains(string(e.Data), newest)
		}
		if seen {
			return all
		}
		if !sleep(ctx, 10*time.Millisecond) {
			s.t.Fatalf("no event of %s among %d", newest, len(all))
		}
	}
}

// asked verifies, and returns the request's id.
func (s *server) asked(key, body string) string {
	s.t.Helper()
	var p behalf.Packet
	if err := json.Unmarshal([]byte(s.must(200, "POST", "/v1/verify", key, body)), &p); err != nil {
		s.t.Fatal(err)
	}
	return p.RequestID
}

func types(events []behalf.Event) string {
	var list []string
	for _, e := range events {
		list = append(list, e.Type)
	}
	return strings.Join(list, " ")
}

func TestEventsOverHTTP(t *testing.T) {
	t.Parallel()
	s := startServer(t, t.TempDir())
	ollie, mia := s.agent("agent_ollie"), s.agent("agent_mia")
	s.asked(ollie, purchase)
	s.asked(mia, `{"action":"purchase","amount":501}`)
	newest := s.asked(ollie, `{"action":"fly"}`)
	all := s.events(newest, behalf.EventQuery{})
	const want = "account.opened agent.registered permission.granted agent.registered permission.granted " +
		"verification.allowed verification.denied verification.denied"
	if got := types(all); got != want {
		t.Fatalf("got  %s\nwant %s", got, want)
	}
	p, err := all[5].Packet()
	if err != nil || !p.Allowed || p.AgentID != "agent_ollie" || p.Amount != "120.00" {
		t.Errorf("got the packet %+v, %v", p, err)
	}
	for name, c := range map[string]struct {
		q    behalf.EventQuery
		want int
	}{
		"a type":           {behalf.EventQuery{Types: []string{"verification.denied"}}, 2},
		"a noun":           {behalf.EventQuery{Types: []string{"verification.*"}}, 3},
		"two types":        {behalf.EventQuery{Types: []string{"verification.allowed", "agent.*"}}, 3},
		"an agent":         {behalf.EventQuery{Agents: []string{"agent_mia"}}, 3},
		"both":             {behalf.EventQuery{Types: []string{"verification.*"}, Agents: []string{"agent_mia"}}, 1},
		"after an event":   {behalf.EventQuery{After: all[5].Cursor}, 2},
		"after a packet":   {behalf.EventQuery{After: p.Position}, 2},
		"after the last":   {behalf.EventQuery{After: all[7].Cursor}, 0},
		"since":            {behalf.EventQuery{Since: all[5].Time}, 3},
		"since later":      {behalf.EventQuery{Since: all[7].Time.Add(1)}, 0},
		"an unknown agent": {behalf.EventQuery{Agents: []string{"agent_nobody"}}, 0},
	} {
		if got := s.events("", c.q); len(got) != c.want {
			t.Errorf("%s: got %s, want %d", name, types(got), c.want)
		}
	}
	for query, field := range map[string]string{
		"type=verification.refused": "/type", "type=*": "/type", "type=verification.%3E": "/type", "type=agent.*,agent.disabled": "/type",
		"agent=a.b": "/agent", "agent=*": "/agent", "after=x": "/after", "after=" + all[5].Cursor + "&since=2027-01-01T00:00:00Z": "/since",
		"follow=yes": "/follow", "types=x": "/types", "since=yesterday": "/since", "after=AAEAAAACrAI": "/after",
	} {
		if got := s.must(400, "GET", "/v1/events?"+query, testToken, ""); !strings.Contains(got, `"`+field+`"`) {
			t.Errorf("%s: got %s, want the field %s", query, got, field)
		}
	}
	s.must(403, "GET", "/v1/events", ollie, "")
	s.must(401, "GET", "/v1/events", "bhf_dev_somebody-elses-token-0123456789", "")

	code, out, errs := command(t, map[string]string{"BEHALF_URL": s.url, "BEHALF_TOKEN": testToken},
		"events", "tail", "--type", "verification.denied", "--since", "1h", "--output", "json")
	if code != 0 || strings.Count(out, "\n") != 2 || !strings.Contains(out, `{"specversion":"1.0"`) {
		t.Errorf("got exit code %d, %s %s, want two CloudEvents", code, out, errs)
	}
	code, out, errs = command(t, map[string]string{"BEHALF_URL": s.url, "BEHALF_TOKEN": testToken}, "events", "tail", "--agent", "agent_mia")
	if code != 0 || !strings.Contains(out, "AMOUNT_EXCEEDS_LIMIT purchase") {
		t.Errorf("got exit code %d, %s %s, want what was denied and why", code, out, errs)
	}
	if got := s.must(200, "GET", "/metrics", "", ""); !strings.Contains(got, "behalf_events_publishing 1") || !strings.Contains(got, "behalf_events_lag_seconds 0") {
		t.Error("the metrics don't say that this node publishes, and is not behind")
	}
}

func TestEventsTurnedOff(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	off := startServer(t, dir, "--events", "off")
	key := off.agent("agent_ollie")
	newest := off.asked(key, purchase)
	off.must(503, "GET", "/v1/events", testToken, "")
	if err := off.stop(); err != nil {
		t.Fatal(err)
	}
	on := startServer(t, dir)
	if got := types(on.events(newest, behalf.EventQuery{})); got != "account.opened agent.registered permission.granted verification.allowed" {
		t.Errorf("got %s, want what happened meanwhile", got)
	}
}

// A member hears and reads the events of the account over NATS, and can reach
// nothing else by it; an agent can't even that.
func TestEventsOverNATS(t *testing.T) {
	t.Parallel()
	s := startServer(t, t.TempDir())
	key := s.agent("agent_ollie")
	var me behalf.Identity
	if err := json.Unmarshal([]byte(s.must(200, "GET", "/v1/me", testToken, "")), &me); err != nil {
		t.Fatal(err)
	}
	connect := func(token, id string) *nats.Conn {
		nc, err := nats.Connect(s.nats, nats.UserInfo(id, token), nats.CustomInboxPrefix("_INBOX_"+id), nats.PermissionErrOnSubscribe(true),
			nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		return nc
	}
	member, agent := connect(testToken, me.ID), connect(key, "agent_ollie")
	live, err := member.SubscribeSync("behalf.events." + me.AccountID + ".verification.denied.>")
	if err != nil {
		t.Fatal(err)
	}
	if err := member.Flush(); err != nil {
		t.Fatal(err)
	}
	s.asked(key, purchase)
	newest := s.asked(key, `{"action":"fly"}`)
	m, err := live.NextMsg(10 * time.Second)
	if err != nil || !strings.Contains(string(m.Data), newest) || m.Header.Get("Content-Type") != "application/cloudevents+json" {
		t.Fatalf("got %v, %v, want the denial as a CloudEvent", m, err)
	}
	read := func(nc *nats.Conn, token, body string) (*nats.Msg, []behalf.Event) {
		t.Helper()
		r := nats.NewMsg("behalf.v1.events.read")
		r.Header.Set("Authorization", "Bearer "+token)
		r.Data = []byte(body)
		m, err := nc.RequestMsg(r, 20*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		var page struct {
			Events []behalf.Event `json:"events"`
		}
		if err := json.Unmarshal(m.Data, &page); err != nil {
			t.Fatalf("%s: %v", m.Data, err)
		}
		return m, page.Events
	}
	_, page := read(member, testToken, `{"types":["verification.*"],"limit":1}`)
	if types(page) != "verification.allowed" {
		t.Fatalf("got %s, want the oldest", types(page))
	}
	if _, page = read(member, testToken, `{"types":["verification.*"],"after":"`+page[0].Cursor+`"}`); types(page) != "verification.denied" {
		t.Fatalf("got %s, want the other one", types(page))
	}
	if _, none := read(member, testToken, `{"after":"`+page[0].Cursor+`"}`); len(none) != 0 {
		t.Errorf("got %s after the last", types(none))
	}
	time.AfterFunc(200*time.Millisecond, func() { _, _, _ = s.do("POST", "/v1/verify", key, purchase) })
	if _, next := read(member, testToken, `{"after":"`+page[0].Cursor+`","wait":"15s"}`); types(next) != "verification.allowed" {
		t.Errorf("got %s, want the one that was waited for", types(next))
	}
	for body, code := range map[string]string{
		`{"limit":1000}`: "400", `{"wait":"1h"}`: "400", `{"types":["x"]}`: "400", `{"from":1}`: "400", `{"after":"x"}`: "400",
	} {
		if m, _ := read(member, testToken, body); m.Header.Get("Nats-Service-Error-Code") != code {
			t.Errorf("%s: got %v %s, want %s", body, m.Header, m.Data, code)
		}
	}
	if m, _ := read(agent, key, `{}`); m.Header.Get("Nats-Service-Error-Code") != "403" {
		t.Errorf("an agent: got %v %s, want 403", m.Header, m.Data)
	}
	for _, subject := range []string{
		"behalf.events." + me.AccountID + ".verification.denied.agent_ollie", "behalf.0.agent." + me.AccountID + ".agent_ollie", "behalf.publisher.lease",
		"$JS.API.CONSUMER.CREATE.BEHALF_EVENTS", "$JS.API.CONSUMER.MSG.NEXT.BEHALF_EVENTS." + me.ID + "-1", "$JS.API.STREAM.INFO.BEHALF_EVENTS",
		"$JS.API.DIRECT.GET.BEHALF_EVENTS", "$JS.ACK.BEHALF_EVENTS.x.1.1.1.1.1",
	} {
		for who, nc := range map[string]*nats.Conn{"member": member, "agent": agent} {
			before := nc.LastError()
			if err := errors.Join(nc.Publish(subject, []byte("{}")), nc.Flush()); err != nil {
				t.Fatal(err)
			}
			if nc.LastError() == before {
				t.Errorf("a %s may publish to %s", who, subject)
			}
		}
	}
	for _, subject := range []string{"behalf.events.>", "behalf.events.*.verification.denied.>", "behalf.events.acct_other.>", "behalf.0.>"} {
		for who, nc := range map[string]*nats.Conn{"member": member, "agent": agent} {
			if sub, err := nc.SubscribeSync(subject); err == nil {
				if _, err = sub.NextMsg(100 * time.Millisecond); !errors.Is(err, nats.ErrPermissionViolation) {
					t.Errorf("a %s may subscribe to %s: %v", who, subject, err)
				}
			}
		}
	}

	other := struct{ MemberID, Token string }{}
	if err := json.Unmarshal([]byte(s.must(201, "POST", "/v1/members", testToken, `{"name":"siem","role":"VIEWER"}`)), &other); err != nil {
		t.Fatal(err)
	}
	viewer := connect(other.Token, other.MemberID)
	if _, page := read(viewer, other.Token, `{"types":["member.added"],"wait":"10s"}`); types(page) != "member.added" {
		t.Errorf("a viewer: got %s", types(page))
	}
	s.must(204, "DELETE", "/v1/members/"+other.MemberID, testToken, "")
	if m, _ := read(member, other.Token, `{}`); m.Header.Get("Nats-Service-Error-Code") != "401" {
		t.Errorf("who was removed: got %v %s, want 401", m.Header, m.Data)
	}
}

// A subscriber that is killed and started again fifty times sees every event,
// those of one agent in order.
func TestASubscriberThatIsKilled(t *testing.T) {
	t.Parallel()
	s := startServer(t, t.TempDir(), "--durability", "os")
	keys := []string{s.agent("agent_a"), s.agent("agent_b"), s.agent("agent_c")}
	asking, stop := context.WithCancel(t.Context())
	var askers sync.WaitGroup
	var mu sync.Mutex
	answered := map[string]bool{} // guarded by mu
	for i, key := range keys {
		askers.Go(func() {
			for n := 0; asking.Err() == nil; n++ {
				_, body, err := s.do("POST", "/v1/verify", key, fmt.Sprintf(`{"action":"purchase","amount":%d}`, 490+(n+i)%20))
				var p behalf.Packet
				if err = errors.Join(err, json.Unmarshal([]byte(body), &p)); err != nil || p.RequestID == "" {
					t.Errorf("got %s, %v", body, err)
					return
				}
				mu.Lock()
				answered[p.RequestID] = true
				mu.Unlock()
				sleep(asking, time.Millisecond)
			}
		})
	}
	file := filepath.Join(t.TempDir(), "cursor")
	random := rand.New(rand.NewPCG(5, 6))
	var got []behalf.Event
	for range 50 {
		got = append(got, consumed(t, s.url, file, 1+random.IntN(40))...)
	}
	stop()
	askers.Wait()
	newest := s.asked(keys[0], purchase)
	want := s.events(newest, behalf.EventQuery{})
	done := errors.New("done")
	client := &behalf.Client{BaseURL: s.url, Token: testToken}
	err := client.Subscribe(t.Context(), behalf.From{Cursors: behalf.CursorFile(file)}, behalf.EventFilter{}, func(_ context.Context, e behalf.Event) error {
		got = append(got, e)
		if e.ID == want[len(want)-1].ID {
			return done
		}
		return nil
	})
	if !errors.Is(err, done) {
		t.Fatal(err)
	}
	seen, last := map[string]bool{}, map[string]string{}
	for _, e := range got {
		if seen[e.ID] {
			continue
		}
		seen[e.ID] = true
		if e.Sequence <= last[e.AgentID] {
			t.Errorf("%s of %s came after %s", e.Sequence, e.AgentID, last[e.AgentID])
		}
		last[e.AgentID] = e.Sequence
	}
	for _, e := range want {
		if !seen[e.ID] {
			t.Errorf("%s of %s is missing", e.Sequence, e.AgentID)
		}
		if p, err := e.Packet(); err == nil {
			delete(answered, p.RequestID)
		}
	}
	if len(answered) > 0 {
		t.Errorf("%d decisions that were answered have no event", len(answered))
	}
	t.Logf("%d events, %d times", len(want), len(got))
}

// consumed runs a subscriber in a process of its own, and kills it when it has
// handled some events.
func consumed(t *testing.T, url, file string, most int) (got []behalf.Event) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), asConsumer+"="+file, "BEHALF_URL="+url)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e behalf.Event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil { // what was cut short was not handled
			break
		}
		if got = append(got, e); len(got) == most {
			_ = cmd.Process.Kill()
		}
	}
	if err := cmd.Wait(); err == nil {
		t.Fatal("the subscriber ended by itself")
	}
	return got
}

// asConsumer, in the environment, makes the test binary a subscriber that can be
// killed. It is the name of the file with its cursor.
const asConsumer = "BEHALF_TEST_AS_CONSUMER"

func consume(file string) {
	client := &behalf.Client{BaseURL: os.Getenv("BEHALF_URL"), Token: testToken}
	from := behalf.From{Cursors: behalf.CursorFile(file), Beginning: true}
	err := client.Subscribe(context.Background(), from, behalf.EventFilter{}, func(_ context.Context, e behalf.Event) error {
		return json.NewEncoder(os.Stdout).Encode(e)
	})
	fmt.Fprintln(os.Stderr, err)
}

// A server that is killed while it decides and publishes has each event once,
// when it is started again.
func TestEventsOfAServerThatIsKilled(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	random := rand.New(rand.NewPCG(7, 8))
	key, answered := "", map[string]bool{}
	for range 6 {
		s := spawnServer(t, dir, "--durability", "os")
		if key == "" {
			key = s.agent("agent_ollie")
		}
		for range 50 + random.IntN(200) {
			answered[s.asked(key, purchase)] = true
		}
		s.kill()
	}
	s := startServer(t, dir)
	seen := map[string]int{}
	last := ""
	for _, e := range s.events(s.asked(key, purchase), behalf.EventQuery{}) {
		if seen[e.ID]++; seen[e.ID] > 1 {
			t.Errorf("%s is there twice", e.ID)
		}
		if e.Sequence <= last {
			t.Errorf("%s comes after %s", e.Sequence, last)
		}
		last = e.Sequence
		if p, err := e.Packet(); err == nil {
			delete(answered, p.RequestID)
		}
	}
	if len(answered) > 0 {
		t.Errorf("%d decisions that were answered have no event", len(answered))
	}
}
