package embedded_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/behalf-platform/behalf/infra/embedded"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const anyPort = "127.0.0.1:0"

func TestWhatIsStoredIsThereAfterARestart(t *testing.T) {
	t.Parallel()
	for _, c := range []embedded.Config{
		{Durability: embedded.Fsync, Listen: anyPort},
		{Durability: embedded.OS, Listen: anyPort},
		{}, // Fsync, with no address
	} {
		t.Run(fmt.Sprintf("%s on %q", c.Durability, c.Listen), func(t *testing.T) {
			t.Parallel()
			c.Dir = filepath.Join(t.TempDir(), "new", "log")
			s := mustStart(t, c)
			js := mustJetStream(t, mustConnect(t, s.Connect))
			mustCreate(t, js, "S")
			for range 100 {
				mustPublish(t, js, "S", nil)
			}
			if err := s.Sync(t.Context()); err != nil {
				t.Fatal(err)
			}
			mustShutdown(t, s)
			if err := s.Sync(t.Context()); err == nil && c.Durability != embedded.OS {
				t.Error("sync after the end: got no error")
			}

			s = mustStart(t, c)
			js = mustJetStream(t, mustConnect(t, s.Bulk))
			if n := mustCount(t, js, "S"); n != 100 {
				t.Errorf("got %d messages, want 100", n)
			}
			if (s.Addr() == nil) != (c.Listen == "") {
				t.Errorf("listens on %v, want %q", s.Addr(), c.Listen)
			}
			if info, err := os.Stat(c.Dir); err != nil || info.Mode().Perm() != 0o700 {
				t.Errorf("data directory: got %v and error %v, want mode 0700", info.Mode(), err)
			}
			mustShutdown(t, s)
		})
	}
}

// A stream that messages are deleted from loses its files, which must not be
// taken for a loss of the log.
func TestAStreamThatIsNotSyncedMayBeEmptied(t *testing.T) {
	t.Parallel()
	s := mustStart(t, embedded.Config{Dir: t.TempDir(), Unsynced: []string{"WORK"}})
	defer mustShutdown(t, s)
	js := mustJetStream(t, mustConnect(t, s.Connect))
	mustCreate(t, js, "LOG")
	mustCreate(t, js, "WORK")
	work, err := js.Stream(t.Context(), "WORK")
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		mustPublish(t, js, "LOG", nil)
		mustPublish(t, js, "WORK", nil)
		if err := s.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := work.Purge(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := s.Sync(t.Context()); err != nil {
			t.Errorf("sync once it is empty: %v", err)
		}
	}
}

func TestOneDirectoryHasOneServer(t *testing.T) {
	t.Parallel()
	c := embedded.Config{Dir: t.TempDir()}
	s := mustStart(t, c)
	refused(t, c, c.Dir, "another process")
	mustShutdown(t, s)
	mustShutdown(t, mustStart(t, c))
}

func TestWhatCannotStartSaysWhy(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", anyPort)
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	addr := taken.Addr().String()
	refused(t, embedded.Config{Dir: t.TempDir(), Listen: addr}, addr)

	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	refused(t, embedded.Config{Dir: file}, file)
	refused(t, embedded.Config{Dir: filepath.Join(file, "log")}, file)

	blocked := t.TempDir()
	if err := os.WriteFile(filepath.Join(blocked, "jetstream"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	refused(t, embedded.Config{Dir: blocked}, blocked)

	refused(t, embedded.Config{Durability: "perhaps"}, "no directory", `"perhaps"`)
	refused(t, embedded.Config{Dir: t.TempDir(), Listen: "nowhere"}, "nowhere")
	refused(t, embedded.Config{Dir: t.TempDir(), Listen: "localhost:http"}, "localhost:http")
}

// A server that starts without one of its streams would have its clients make
// an empty one.
func TestAStreamThatIsNotRecoveredStopsTheStart(t *testing.T) {
	t.Parallel()
	c := embedded.Config{Dir: t.TempDir()}
	s := mustStart(t, c)
	js := mustJetStream(t, mustConnect(t, s.Connect))
	mustCreate(t, js, "S")
	mustPublish(t, js, "S", nil)
	mustShutdown(t, s)
	meta := filepath.Join(c.Dir, "jetstream", "$G", "streams", "S", "meta.inf")
	raw, err := os.ReadFile(meta)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(meta, bytes.Replace(raw, []byte(`"S"`), []byte(`"T"`), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	refused(t, c, c.Dir, "backup")
}

// The server goes on acknowledging what it writes to a file that is not there
// any more, until it needs the next one.
func TestADirectoryThatIsPulledAwayShows(t *testing.T) {
	t.Parallel()
	for _, d := range []embedded.Durability{embedded.Fsync, embedded.OS} {
		t.Run(string(d), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			s := mustStart(t, embedded.Config{Dir: dir, Durability: d})
			js := mustJetStream(t, mustConnect(t, s.Connect))
			mustCreate(t, js, "S")
			mustPublish(t, js, "S", nil)
			if err := s.Sync(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := os.RemoveAll(filepath.Join(dir, "jetstream", "$G", "streams", "S", "msgs")); err != nil {
				t.Fatal(err)
			}
			mustPublish(t, js, "S", nil)
			if err := s.Sync(t.Context()); (err == nil) != (d == embedded.OS) {
				t.Errorf("sync: got error %v", err)
			}
			for err := error(nil); err == nil; {
				ctx, stop := context.WithTimeout(t.Context(), time.Second)
				_, err = js.Publish(ctx, "S", make([]byte, 100<<10))
				stop()
			}
			if err := s.Healthy(); err == nil {
				t.Error("healthy: got no error")
			}
			_ = s.Shutdown() // what it finds of the directory is of no interest
		})
	}
}

func refused(t *testing.T, c embedded.Config, mention ...string) {
	t.Helper()
	s, err := embedded.Start(c)
	if err == nil {
		mustShutdown(t, s)
		t.Errorf("start with %+v: got no error", c)
		return
	}
	for _, m := range mention {
		if !strings.Contains(err.Error(), m) {
			t.Errorf("got error %q, want one that mentions %q", err, m)
		}
	}
}

func mustStart(t *testing.T, c embedded.Config) *embedded.Server {
	t.Helper()
	s, err := embedded.Start(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Healthy(); err != nil {
		t.Fatal(err)
	}
	return s
}

func mustShutdown(t *testing.T, s *embedded.Server) {
	t.Helper()
	if err := s.Shutdown(); err != nil {
		t.Fatal(err)
	}
}

func mustConnect(t *testing.T, connect func() (*nats.Conn, error)) *nats.Conn {
	t.Helper()
	nc, err := connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

func mustJetStream(t *testing.T, nc *nats.Conn) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// mustCreate creates a stream of one subject, both called name.
func mustCreate(t *testing.T, js jetstream.JetStream, name string) {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
	defer stop()
	if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: name, Subjects: []string{name}}); err != nil {
		t.Fatal(err)
	}
}

func mustPublish(t *testing.T, js jetstream.JetStream, name string, data []byte) {
	t.Helper()
	if _, err := js.Publish(t.Context(), name, data); err != nil {
		t.Fatal(err)
	}
}

func mustCount(t *testing.T, js jetstream.JetStream, name string) uint64 {
	t.Helper()
	s, err := js.Stream(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return s.CachedInfo().State.Msgs
}
