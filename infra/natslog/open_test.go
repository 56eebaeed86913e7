package natslog_test

import (
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/infra/embedded"
	"github.com/behalf-platform/behalf/infra/natslog"
)

func TestNodesThatStartTogetherOpenOneLog(t *testing.T) {
	t.Parallel()
	const partitions = 3
	s := mustServe(t)
	logs := make([]*natslog.Log, 8)
	var wg sync.WaitGroup
	for i := range logs {
		wg.Go(func() {
			var err error
			c := s.config(partitions)
			for c.FirstAccount = ""; c.FirstAccount == "" || domain.PartitionOf(c.FirstAccount, partitions) != 0; {
				c.FirstAccount += domain.AccountID("acct_" + string(rune('a'+i)))
			}
			if logs[i], err = natslog.Open(t.Context(), c); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	epochs := map[uint32]bool{}
	for _, l := range logs {
		if l.FirstAccount() != logs[0].FirstAccount() {
			t.Errorf("got first accounts %s and %s", l.FirstAccount(), logs[0].FirstAccount())
		}
		for p := range uint16(partitions) {
			epochs[l.Epoch(p)] = true
		}
	}
	if len(epochs) != partitions || epochs[0] {
		t.Errorf("got epochs %v, want one for each of %d partitions", epochs, partitions)
	}

	reader, err := natslog.Open(t.Context(), natslog.Config{Conn: s.conn, Bulk: s.bulk, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	if reader.Partitions() != partitions || reader.FirstAccount() != logs[0].FirstAccount() || reader.Epoch(2) != logs[0].Epoch(2) {
		t.Errorf("got %d partitions and first account %s, want %d and %s", reader.Partitions(), reader.FirstAccount(), partitions, logs[0].FirstAccount())
	}
	if _, err := reader.Append(t.Context(), 0, decided("agent_a"), ""); err == nil {
		t.Error("append to a log that is read only: got no error")
	}
}

func TestAnotherNumberOfPartitionsIsRefused(t *testing.T) {
	t.Parallel()
	for _, n := range []struct{ made, asked int }{{1, 2}, {2, 1}, {4, 8}, {8, 4}} {
		s := mustServe(t)
		mustOpenConfig(t, s.config(n.made))
		refuses(t, s.config(n.asked), "made with", "open it with")
		mustOpenConfig(t, s.config(n.made))
	}
}

func TestAStreamThatBreaksPromisesIsRefused(t *testing.T) {
	t.Parallel()
	sound := mustServe(t)
	mustOpenConfig(t, sound.config(1))
	stream, err := mustJetStream(t, sound.conn).Stream(t.Context(), "BEHALF")
	if err != nil {
		t.Fatal(err)
	}
	for mention, change := range map[string]func(*jetstream.StreamConfig){
		"deleted": func(c *jetstream.StreamConfig) { c.DenyDelete = false },
		"purged":  func(c *jetstream.StreamConfig) { c.DenyPurge = false },
		"limits":  func(c *jetstream.StreamConfig) { c.MaxAge = time.Hour },
		"markers": func(c *jetstream.StreamConfig) {
			c.SubjectDeleteMarkerTTL, c.AllowRollup, c.DenyPurge = time.Hour, true, false
		},
		"direct gets":          func(c *jetstream.StreamConfig) { c.AllowDirect = false },
		"atomic batches":       func(c *jetstream.StreamConfig) { c.AllowAtomicPublish = false },
		"files":                func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage },
		"consumed":             func(c *jetstream.StreamConfig) { c.Retention = jetstream.InterestPolicy },
		"compressed":           func(c *jetstream.StreamConfig) { c.Compression = jetstream.S2Compression },
		"does not acknowledge": func(c *jetstream.StreamConfig) { c.NoAck = true },
		"before it writes": func(c *jetstream.StreamConfig) {
			c.PersistMode, c.AllowAtomicPublish = jetstream.AsyncPersistMode, false
		},
		"behalf.7.>":         func(c *jetstream.StreamConfig) { c.Subjects = []string{"behalf.7.>"} },
		"not made by Behalf": func(c *jetstream.StreamConfig) { c.Metadata = nil },
		"behalf-epoch":       func(c *jetstream.StreamConfig) { delete(c.Metadata, "behalf-epoch") },
		"the first account":  func(c *jetstream.StreamConfig) { delete(c.Metadata, "behalf-first-account") },
	} {
		c := stream.CachedInfo().Config
		c.Metadata = maps.Clone(c.Metadata)
		change(&c)
		s := mustServe(t)
		if _, err := mustJetStream(t, s.conn).CreateStream(t.Context(), c); err != nil {
			t.Fatalf("%s: %v", mention, err)
		}
		refuses(t, s.config(1), mention)
	}
}

func TestTheDedupeWindowFollowsTheSetting(t *testing.T) {
	t.Parallel()
	s := mustServe(t)
	for _, window := range []time.Duration{0, time.Minute, 5 * time.Minute, 0} {
		c := s.config(1)
		c.DedupeWindow = window
		mustOpenConfig(t, c)
		stream, err := mustJetStream(t, s.conn).Stream(t.Context(), "BEHALF")
		if err != nil {
			t.Fatal(err)
		}
		if window == 0 {
			window = 2 * time.Minute
		}
		if got := stream.CachedInfo().Config.Duplicates; got != window {
			t.Errorf("got window %s, want %s", got, window)
		}
	}
}

func TestWhatCannotBeOpenedSaysWhy(t *testing.T) {
	t.Parallel()
	s := mustServe(t)
	refuses(t, natslog.Config{}, "connection", "partitions", "replicas")
	refuses(t, natslog.Config{Conn: s.conn, Bulk: s.bulk, ReadOnly: true}, "there is none")
	for mention, change := range map[string]func(*natslog.Config){
		"2000 partitions": func(c *natslog.Config) { c.Partitions = 2000 },
		"2 replicas":      func(c *natslog.Config) { c.Replicas = 2 },
		"replicas > 1":    func(c *natslog.Config) { c.Replicas = 3 }, // the server is alone
		`account "*"`:     func(c *natslog.Config) { c.FirstAccount = "*" },
		"partition 0":     func(c *natslog.Config) { c.Partitions, c.FirstAccount = 2, elsewhere() },
		"negative":        func(c *natslog.Config) { c.DedupeWindow = -1 },
	} {
		c := s.config(1)
		change(&c)
		refuses(t, c, mention)
	}
}

// elsewhere is an account that does not lie in the first of two partitions.
func elsewhere() domain.AccountID {
	id := domain.AccountID("acct_")
	for domain.PartitionOf(id, 2) == 0 {
		id += "x"
	}
	return id
}

// mustServe starts a server without a log.
func mustServe(t *testing.T) *running {
	t.Helper()
	r := &running{node: node{config: embedded.Config{Dir: t.TempDir(), Durability: embedded.OS}}}
	r.mustStart(t)
	return r
}

func mustOpenConfig(t *testing.T, c natslog.Config) *natslog.Log {
	t.Helper()
	l, err := natslog.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func refuses(t *testing.T, c natslog.Config, mention ...string) {
	t.Helper()
	_, err := natslog.Open(t.Context(), c)
	if err == nil {
		t.Errorf("open: got no error, want one that mentions %q", mention)
		return
	}
	for _, m := range mention {
		if !strings.Contains(err.Error(), m) {
			t.Errorf("got error %q, want one that mentions %q", err, m)
		}
	}
}
