package embedded_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/behalf-platform/behalf/infra/embedded"
)

// clients are who may come from outside in these tests.
func clients(user, password string) (embedded.Access, bool) {
	switch {
	case user == "agent" && password == "secret":
		return embedded.Access{
			Name:      "agent",
			Publish:   []string{"behalf.v1.verify"},
			Subscribe: []string{"_INBOX_agent.>"},
		}, true
	case user == "" && password == "token":
		return embedded.Access{Name: "reader", Subscribe: []string{"behalf.events.>"}}, true
	case user == "mute":
		return embedded.Access{Name: "mute"}, true
	}
	return embedded.Access{}, false
}

func TestWhoIsNobodyIsRefused(t *testing.T) {
	t.Parallel()
	open := mustListen(t, clients)
	shut := mustListen(t, nil)
	for name, c := range map[string]struct {
		s    *embedded.Server
		auth []nats.Option
	}{
		"no credential":          {open, nil},
		"wrong password":         {open, []nats.Option{nats.UserInfo("agent", "Secret")}},
		"wrong token":            {open, []nats.Option{nats.Token("Token")}},
		"our name":               {open, []nats.Option{nats.UserInfo("_BEHALF", "")}},
		"our name and a guess":   {open, []nats.Option{nats.UserInfo("_BEHALF", "token")}},
		"anyone, when all are":   {shut, []nats.Option{nats.UserInfo("agent", "secret")}},
		"no one, when all are":   {shut, nil},
		"our name, when all are": {shut, []nats.Option{nats.UserInfo("_BEHALF", "")}},
	} {
		nc, err := nats.Connect(c.s.Addr().String(), c.auth...)
		if err == nil {
			nc.Close()
		}
		if !errors.Is(err, nats.ErrAuthorization) {
			t.Errorf("%s: got error %v, want %v", name, err, nats.ErrAuthorization)
		}
	}
}

func TestAClientMayDoWhatItsAccessLists(t *testing.T) {
	t.Parallel()
	s := mustListen(t, clients)
	js := mustJetStream(t, mustConnect(t, s.Connect))
	mustCreate(t, js, "behalf")
	in := mustConnect(t, s.Connect)
	if _, err := in.Subscribe("behalf.v1.verify", func(m *nats.Msg) { _ = m.Respond([]byte("no")) }); err != nil {
		t.Fatal(err)
	}
	if err := in.Flush(); err != nil {
		t.Fatal(err)
	}

	agent := mustDial(t, s, nats.UserInfo("agent", "secret"), nats.CustomInboxPrefix("_INBOX_agent"))
	if m, err := agent.Request("behalf.v1.verify", nil, 5*time.Second); err != nil || string(m.Data) != "no" {
		t.Errorf("request: got error %v, want an answer", err)
	}
	reader := mustDial(t, s, nats.Token("token"))
	mute := mustDial(t, s, nats.UserInfo("mute", ""))
	if !maySubscribe(t, reader, "behalf.events.a.b") || !mayPublish(t, agent, "behalf.v1.verify") {
		t.Error("a listed subject is refused")
	}
	for _, subject := range []string{
		"behalf.0.agent.a.b", "behalf", "behalf.v1.verify.x", ">", "*", "$JS.API.INFO",
		"$JS.API.STREAM.DELETE.behalf", "$JS.API.DIRECT.GET.behalf", "$SYS.REQ.USER.INFO", "_INBOX.x", "_BEHALF.x",
	} {
		for name, nc := range map[string]*nats.Conn{"agent": agent, "reader": reader, "mute": mute} {
			if mayPublish(t, nc, subject) {
				t.Errorf("%s may publish to %s", name, subject)
			}
			if maySubscribe(t, nc, subject) {
				t.Errorf("%s may subscribe to %s", name, subject)
			}
		}
	}
	for _, inbox := range []string{"_INBOX.>", "_INBOX_reader.>", "_INBOX_agent", "_BEHALF.>"} {
		if maySubscribe(t, agent, inbox) {
			t.Errorf("agent may subscribe to %s", inbox)
		}
	}
	if n := mustCount(t, js, "behalf"); n != 0 {
		t.Errorf("got %d messages, want none", n)
	}
}

func mustListen(t *testing.T, authenticate func(string, string) (embedded.Access, bool)) *embedded.Server {
	t.Helper()
	s := mustStart(t, embedded.Config{Dir: t.TempDir(), Listen: anyPort, Durability: embedded.OS, Authenticate: authenticate})
	t.Cleanup(func() { mustShutdown(t, s) })
	return s
}

// mustDial connects from outside. What the server refuses is the connection's
// last error.
func mustDial(t *testing.T, s *embedded.Server, opts ...nats.Option) *nats.Conn {
	t.Helper()
	opts = append(opts, nats.PermissionErrOnSubscribe(true), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	return mustConnect(t, func() (*nats.Conn, error) { return nats.Connect(s.Addr().String(), opts...) })
}

func mayPublish(t *testing.T, nc *nats.Conn, subject string) bool {
	t.Helper()
	before := nc.LastError()
	if err := nc.Publish(subject, nil); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	after := nc.LastError()
	return after == before || !errors.Is(after, nats.ErrPermissionViolation) // each violation is an error of its own
}

func maySubscribe(t *testing.T, nc *nats.Conn, subject string) bool {
	t.Helper()
	sub, err := nc.SubscribeSync(subject)
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	_, err = sub.NextMsg(time.Millisecond)
	_ = sub.Unsubscribe() // what was refused is gone already
	return !errors.Is(err, nats.ErrPermissionViolation)
}

// Of the clients that have a name, those that would be refused now are ended, and
// nobody else, however they connected.
func TestRecheckEndsWhoWouldBeRefused(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	good := map[string]string{"old": "agent", "new": "agent", "token": "reader", "other": "other"} // names by password
	s := mustListen(t, func(_, password string) (embedded.Access, bool) {
		mu.Lock()
		defer mu.Unlock()
		name, ok := good[password]
		return embedded.Access{Name: name, Subscribe: []string{"_INBOX.>"}}, ok
	})
	ours := mustConnect(t, s.Connect)
	clients, closed := map[string]*nats.Conn{}, make(chan string, 8)
	for name, auth := range map[string]nats.Option{
		"old key": nats.UserInfo("whatever", "old"), "new key": nats.UserInfo("", "new"), "token": nats.Token("token"), "another": nats.UserInfo("agent", "other"),
	} {
		clients[name] = mustDial(t, s, auth, nats.MaxReconnects(0), nats.ClosedHandler(func(*nats.Conn) { closed <- name }))
	}
	mustRecheck := func(names ...string) {
		t.Helper()
		all := map[string]bool{}
		for _, n := range names {
			all[n] = true
		}
		if err := s.Recheck(all); err != nil {
			t.Fatal(err)
		}
	}
	mustStay := func(names ...string) {
		t.Helper()
		for _, name := range names {
			if err := clients[name].Flush(); err != nil {
				t.Errorf("%s: got error %v, want it connected", name, err)
			}
		}
	}
	mustRecheck("agent", "reader", "other", "nobody") // nothing has changed
	mustStay("old key", "new key", "token", "another")
	change := func(password, name string) {
		mu.Lock()
		defer mu.Unlock()
		delete(good, password)
		if name != "" {
			good[password] = name
		}
	}
	change("old", "")
	mustRecheck("reader", "other") // which it isn't
	mustStay("old key", "new key", "token", "another")
	mustRecheck("agent")
	if name := <-closed; name != "old key" {
		t.Errorf("got %s ended, want the old key", name)
	}
	mustStay("new key", "token", "another")
	change("token", "somebody else")
	mustRecheck("agent", "reader")
	if name := <-closed; name != "token" {
		t.Errorf("got %s ended, want the token", name)
	}
	mustStay("new key", "another")
	if err := ours.Flush(); err != nil {
		t.Errorf("ours: %v", err)
	}
}
