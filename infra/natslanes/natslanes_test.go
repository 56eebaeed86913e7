package natslanes_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/behalf-platform/behalf/infra/embedded"
	"github.com/behalf-platform/behalf/infra/lanestest"
	"github.com/behalf-platform/behalf/infra/natslanes"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestStore(t *testing.T) {
	t.Parallel()
	lanestest.Run(t, func(t *testing.T) (lanestest.Store, func(*testing.T) lanestest.Store) {
		s := mustStart(t, embedded.Config{Dir: t.TempDir(), Durability: embedded.OS})
		join := func(t *testing.T) lanestest.Store {
			return mustOpen(t, natslanes.Config{Conn: mustConnect(t, s), Replicas: 1})
		}
		return join(t), join
	})
}

// TestRestart has a server that goes away for a while: what was begun meanwhile
// is stored when it is back.
func TestRestart(t *testing.T) {
	t.Parallel()
	c := embedded.Config{
		Dir: t.TempDir(), Durability: embedded.OS, Listen: "127.0.0.1:0",
		Authenticate: func(string, string) (embedded.Access, bool) { return rights, true },
	}
	s, err := embedded.Start(c)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { mustShutdown(t, s) }()
	c.Listen = s.Addr().String()
	nc, err := nats.Connect("nats://"+c.Listen, nats.UserInfo("node", "secret"), nats.MaxReconnects(-1),
		nats.ReconnectWait(50*time.Millisecond), nats.ReconnectBufSize(-1),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { t.Error(err) }))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	store := mustOpen(t, natslanes.Config{Conn: nc, Replicas: 1})
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	revision, err := store.Put(ctx, "k", []byte("one"), 0)
	if err != nil {
		t.Fatal(err)
	}
	before := store.Attempt("acct_a", "whe_a", "ok", "before", []byte("before"))
	mustShutdown(t, s)
	during := store.Attempt("acct_a", "whe_a", "ok", "during", []byte("during"))
	brief, end := context.WithTimeout(ctx, time.Second) // it may not be known yet that nobody answers
	if _, err := store.Put(brief, "k", []byte("two"), revision); err == nil {
		t.Error("a write without a server: got no error")
	}
	end()
	if s, err = embedded.Start(c); err != nil {
		t.Fatal(err)
	}
	for _, stored := range []func(context.Context) error{before, during} {
		if err := stored(ctx); err != nil {
			t.Fatal(err)
		}
	}
	got, at, err := store.Value(ctx, "k")
	if err != nil || string(got) != "one" || at != revision {
		t.Errorf("got %q at %d and %v, want what was written", got, at, err)
	}
	var found []string
	err = store.Attempts(ctx, "acct_a", "whe_a", []string{"ok"}, 0, 10, func(_ uint64, _ string, value []byte) error {
		found = append(found, string(value))
		return nil
	})
	if err != nil || strings.Join(found, " ") != "during before" {
		t.Errorf("got %v and %v, want both", found, err)
	}
	err = store.Values(ctx, "k", false, func(string, []byte, uint64) error { return nil })
	if err != nil {
		t.Error(err)
	}
	if err := store.Remove(ctx, "k"); err != nil {
		t.Error(err)
	}
}

// rights are those a node needs on a server of its own.
var rights = embedded.Access{
	Name: "node",
	Publish: []string{
		"behalf.webhooks.>", "behalf.attempts.>",
		"$JS.API.STREAM.INFO.BEHALF_WEBHOOKS", "$JS.API.STREAM.CREATE.BEHALF_WEBHOOKS",
		"$JS.API.STREAM.MSG.GET.BEHALF_WEBHOOKS", "$JS.API.CONSUMER.*.BEHALF_WEBHOOKS.>", "$JS.API.CONSUMER.MSG.NEXT.BEHALF_WEBHOOKS.>",
		"$JS.API.STREAM.INFO.BEHALF_ATTEMPTS", "$JS.API.STREAM.CREATE.BEHALF_ATTEMPTS",
		"$JS.API.CONSUMER.*.BEHALF_ATTEMPTS.>", "$JS.API.CONSUMER.MSG.NEXT.BEHALF_ATTEMPTS.>",
	},
	Subscribe: []string{"_INBOX.>"},
}

func TestSettingsChangeWhatIsKept(t *testing.T) {
	t.Parallel()
	nc := mustConnect(t, mustStart(t, embedded.Config{Dir: t.TempDir(), Durability: embedded.OS}))
	mustOpen(t, natslanes.Config{Conn: nc, Replicas: 1})
	mustOpen(t, natslanes.Config{Conn: nc, Replicas: 1, Keep: time.Hour, Most: 2})
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), natslanes.AttemptsStream)
	if err != nil {
		t.Fatal(err)
	}
	if c := stream.CachedInfo().Config; c.MaxAge != time.Hour || c.MaxMsgsPerSubject != 2 {
		t.Errorf("got %s and %d, want what was set last", c.MaxAge, c.MaxMsgsPerSubject)
	}
}

func TestStreamsThatLoseSomethingAreRefused(t *testing.T) {
	t.Parallel()
	nc := mustConnect(t, mustStart(t, embedded.Config{Dir: t.TempDir(), Durability: embedded.OS}))
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	_, err = js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: natslanes.StateStream, Subjects: []string{"behalf.webhooks.>"}, MaxAge: time.Hour, Storage: jetstream.MemoryStorage,
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = natslanes.Open(t.Context(), natslanes.Config{Conn: nc, Replicas: 1})
	if err == nil || !strings.Contains(err.Error(), "removes values") || !strings.Contains(err.Error(), "not stored in files") {
		t.Errorf("got %v, want an error that says what is wrong", err)
	}
	for _, c := range []natslanes.Config{{}, {Conn: nc}, {Conn: nc, Replicas: 2}, {Conn: nc, Replicas: 1, Keep: 1}, {Conn: nc, Replicas: 1, Most: -1}} {
		if _, err := natslanes.Open(t.Context(), c); err == nil {
			t.Errorf("open with %+v: got no error", c)
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if _, err := natslanes.Open(ctx, natslanes.Config{Conn: nc, Replicas: 1}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}

func mustStart(t *testing.T, c embedded.Config) *embedded.Server {
	t.Helper()
	s, err := embedded.Start(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { mustShutdown(t, s) })
	return s
}

func mustShutdown(t *testing.T, s *embedded.Server) {
	t.Helper()
	if err := s.Shutdown(); err != nil {
		t.Error(err)
	}
}

func mustConnect(t *testing.T, s *embedded.Server) *nats.Conn {
	t.Helper()
	nc, err := s.Connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

func mustOpen(t *testing.T, c natslanes.Config) *natslanes.Store {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	s, err := natslanes.Open(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
