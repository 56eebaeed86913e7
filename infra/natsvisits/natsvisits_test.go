package natsvisits_test

import (
	"testing"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/behalf-platform/behalf/infra/clustertest"
	"github.com/behalf-platform/behalf/infra/embedded"
	"github.com/behalf-platform/behalf/infra/natsvisits"
	"github.com/behalf-platform/behalf/infra/visitstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestCounters(t *testing.T) {
	t.Parallel()
	visitstest.Run(t, func(t *testing.T) visitstest.Counters {
		return mustOpen(t, mustConnect(t, mustStart(t, embedded.Config{Dir: t.TempDir(), Durability: embedded.OS, Unsynced: []string{natsvisits.StreamName}})), 1)
	})
}

func TestCountersOnACluster(t *testing.T) {
	t.Parallel()
	c := clustertest.Start(t, 3)
	one, other := mustOpen(t, c.Connect(t), 3), mustOpen(t, c.Connect(t), 3)
	// A new stream is not known at once to the servers that don't lead it.
	added := uint64(0)
	for range 100 {
		if one.Add(t.Context(), "acct_1", "lnk_1", 1) == nil {
			added++
		}
		if other.Add(t.Context(), "acct_1", "lnk_1", 1) == nil {
			added++
		}
		if added >= 20 {
			break
		}
	}
	// What was refused may have been counted.
	if got, _, err := other.Of(t.Context(), "acct_1", "lnk_1"); err != nil || got < added || added < 20 {
		t.Errorf("got %d, %v, want %d or more", got, err, added)
	}
}

// TestRights counts and reads with no more rights than the package comment asks
// for, and again after a restart.
func TestRights(t *testing.T) {
	t.Parallel()
	config := embedded.Config{
		Dir: t.TempDir(), Durability: embedded.OS, Listen: "127.0.0.1:0",
		Authenticate: func(string, string) (embedded.Access, bool) {
			return embedded.Access{Name: "node", Publish: []string{
				"behalf.visits.>",
				"$JS.API.STREAM.INFO.BEHALF_VISITS",
				"$JS.API.STREAM.CREATE.BEHALF_VISITS",
				"$JS.API.STREAM.MSG.GET.BEHALF_VISITS",
			}, Subscribe: []string{"_INBOX.>"}}, true
		},
	}
	for want := uint64(3); want <= 6; want += 3 {
		s, err := embedded.Start(config)
		if err != nil {
			t.Fatal(err)
		}
		nc, err := nats.Connect("nats://"+s.Addr().String(), nats.UserInfo("node", "x"))
		if err != nil {
			t.Fatal(err)
		}
		c := mustOpen(t, nc, 1)
		if err := c.Add(t.Context(), "acct_1", "lnk_1", 3); err != nil {
			t.Fatal(err)
		}
		if got, _, err := c.Of(t.Context(), "acct_1", "lnk_1"); err != nil || got != want {
			t.Errorf("got %d, %v, want %d", got, err, want)
		}
		nc.Close()
		if err := s.Shutdown(); err != nil {
			t.Fatal(err)
		}
	}
}

func mustStart(t *testing.T, c embedded.Config) *embedded.Server {
	t.Helper()
	s, err := embedded.Start(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Shutdown(); err != nil {
			t.Error(err)
		}
	})
	return s
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

func mustOpen(t *testing.T, nc *nats.Conn, replicas int) *natsvisits.Counters {
	t.Helper()
	c, err := natsvisits.Open(t.Context(), natsvisits.Config{Conn: nc, Replicas: replicas})
	if err != nil {
		t.Fatal(err)
	}
	return c
}
