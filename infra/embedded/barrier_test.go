package embedded

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
)

// disk is what would be left after a loss of power: the files as they were when
// they were last synced, if their directories were synced too.
type disk struct {
	mu sync.Mutex
	// sizes and entries are guarded by mu.
	sizes   map[string]int64
	entries map[string][]string
}

func newDisk() *disk { return &disk{sizes: map[string]int64{}, entries: map[string][]string{}} }

// sync is called for (*os.File).Sync.
func (d *disk) sync(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if !info.IsDir() {
		d.sizes[f.Name()] = info.Size()
		return nil
	}
	entries, err := os.ReadDir(f.Name())
	d.entries[f.Name()] = nil
	for _, e := range entries {
		d.entries[f.Name()] = append(d.entries[f.Name()], e.Name())
	}
	return err
}

// rescue copies what is left of a directory and returns how many message
// blocks there are.
func (d *disk) rescue(t *testing.T, from, to string) (blocks int) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	var dir func(from, to string)
	dir = func(from, to string) {
		if err := os.MkdirAll(to, 0o700); err != nil {
			t.Fatal(err)
		}
		for _, name := range d.entries[from] {
			from, to := filepath.Join(from, name), filepath.Join(to, name)
			if _, ok := d.entries[from]; ok {
				dir(from, to)
				continue
			}
			size, ok := d.sizes[from]
			if !ok {
				continue // its name is there, but nothing of it
			}
			raw, err := os.ReadFile(from)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(to, raw[:size], 0o600); err != nil {
				t.Fatal(err)
			}
			if strings.HasSuffix(to, ".blk") {
				blocks++
			}
		}
	}
	dir(from, to)
	return blocks
}

// The server itself syncs as it likes here; only what the barrier synced counts.
func TestWhatWasWaitedForSurvivesALossOfPower(t *testing.T) {
	t.Parallel()
	c := Config{Dir: t.TempDir(), Durability: OS}
	s := mustStart(t, c)
	d := newDisk()
	b, err := newBarrier(s.streams(), nil, s.holds, d.sync)
	if err != nil {
		t.Fatal(err)
	}
	defer b.close()
	js := mustJetStream(t, s)

	type state struct {
		msgs        uint64
		description string
	}
	acked := map[string]state{}
	blocks := 0
	for round := range 6 {
		name, description := []string{"A", "B"}[round%2], fmt.Sprint(round)
		if _, err := js.CreateOrUpdateStream(t.Context(), jetstream.StreamConfig{
			Name: name, Subjects: []string{name}, Description: description,
		}); err != nil {
			t.Fatal(err)
		}
		for range 6 {
			var ack *jetstream.PubAck
			var err error
			for range 5 { // 65 fill a block
				if ack, err = js.Publish(t.Context(), name, make([]byte, 127<<10)); err != nil {
					t.Fatal(err)
				}
			}
			if err := b.wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			acked[name] = state{ack.Sequence, description}
		}
		rescued := t.TempDir()
		blocks = d.rescue(t, c.Dir, rescued)
		after := mustStart(t, Config{Dir: rescued})
		for name, want := range acked {
			stream, err := mustJetStream(t, after).Stream(t.Context(), name)
			if err != nil {
				t.Fatalf("stream %s: %v", name, err)
			}
			info := stream.CachedInfo()
			if got := (state{info.State.Msgs, info.Config.Description}); got != want {
				t.Errorf("round %d, stream %s: got %+v, want %+v", round, name, got, want)
			}
		}
		mustStop(t, after)
	}
	if blocks != 4 {
		t.Errorf("got %d blocks, want 2 of each stream", blocks)
	}
	mustStop(t, s)
}

func TestARoundBeginsAfterTheCall(t *testing.T) {
	t.Parallel()
	dir, block := fakeStream(t)
	begun, end := make(chan struct{}), make(chan struct{})
	gate := (*os.File).Sync
	b := mustBarrier(t, dir, func(f *os.File) error { return gate(f) })
	gate = func(f *os.File) error { // nobody waits yet, so no one reads it
		if f.Name() == block {
			begun <- struct{}{}
			<-end
		}
		return nil
	}

	first, second := make(chan error, 1), make(chan error, 1)
	grow(t, block)
	go func() { first <- b.wait(t.Context()) }()
	<-begun
	grow(t, block)
	go func() { second <- b.wait(t.Context()) }()
	for b.waiting() == 0 {
		runtime.Gosched()
	}
	end <- struct{}{}
	if err := <-first; err != nil {
		t.Error(err)
	}
	<-begun
	select {
	case err := <-second:
		t.Errorf("who came during the first round was let go by it, with error %v", err)
	default:
	}

	impatient, stop := context.WithCancel(t.Context())
	stop()
	if err := b.wait(impatient); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	end <- struct{}{}
	if err := <-second; err != nil {
		t.Error(err)
	}
}

func (b *barrier) waiting() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.next.waiting
}

func TestAFailureIsForEver(t *testing.T) {
	t.Parallel()
	dir, block := fakeStream(t)
	broken := errors.New("broken")
	fail := false
	b := mustBarrier(t, dir, func(*os.File) error {
		if fail {
			fail = false
			return broken
		}
		return nil
	})
	fail = true
	for range 3 {
		grow(t, block)
		if err := b.wait(t.Context()); !errors.Is(err, broken) {
			t.Errorf("got %v, want %v", err, broken)
		}
	}
	if err := b.failed(); !errors.Is(err, broken) {
		t.Errorf("got %v, want %v", err, broken)
	}
}

func TestOnlyWhatGrewIsSynced(t *testing.T) {
	t.Parallel()
	dir, block := fakeStream(t)
	var synced []string
	b := mustBarrier(t, dir, func(f *os.File) error {
		rel, err := filepath.Rel(dir, f.Name())
		synced = append(synced, rel)
		return err
	})
	next := strings.Replace(block, "1.blk", "2.blk", 1)
	for _, c := range []struct {
		name   string
		change func()
		want   []string
	}{
		{"nothing", func() {}, nil},
		{"the block", func() { grow(t, block) }, []string{"S/msgs/1.blk"}},
		{"two more blocks", func() {
			grow(t, block)
			grow(t, next)
			grow(t, strings.Replace(block, "1.blk", "3.blk", 1))
		}, []string{"S/msgs/1.blk", "S/msgs/2.blk", "S/msgs", "S/msgs/3.blk"}},
		{"an old block", func() { grow(t, block) }, nil},
		{"the stream's own files", func() {
			mustWrite(t, filepath.Join(dir, "S", "new"), "x")
			if err := os.Rename(filepath.Join(dir, "S", "new"), filepath.Join(dir, "S", "meta.inf")); err != nil {
				t.Fatal(err)
			}
		}, []string{"S/meta.inf", "S"}},
		{"a stream that is being made", func() { mustWrite(t, filepath.Join(dir, "T", "meta.inf"), "x") }, []string{"T/meta.inf"}},
		{"a stream that is being removed", func() { mustWrite(t, filepath.Join(dir, ".U", "meta.inf"), "x") }, nil},
	} {
		synced = nil
		c.change()
		if err := b.wait(t.Context()); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if fmt.Sprint(synced) != fmt.Sprint(c.want) {
			t.Errorf("%s: got %s synced, want %s", c.name, synced, c.want)
		}
	}
}

func TestAnUnknownLayoutFails(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(dir, block string){
		"no blocks":           func(_, block string) { rename(t, block, "1.seg") },
		"another directory":   func(dir, block string) { rename(t, filepath.Dir(block), "blocks") },
		"other metadata":      func(dir, block string) { rename(t, filepath.Join(dir, "S", "meta.inf"), "meta.json") },
		"no streams":          func(dir, _ string) { rename(t, dir, "logs") },
		"blocks not by count": func(_, block string) { rename(t, block, "one.blk") },
	} {
		dir, block := fakeStream(t)
		change(dir, block)
		if b, err := newBarrier(dir, nil, func() bool { return true }, (*os.File).Sync); err == nil {
			b.close()
			t.Errorf("%s: got no error", name)
		}
	}

	dir, block := fakeStream(t)
	b := mustBarrier(t, dir, (*os.File).Sync)
	if err := os.Truncate(block, 1); err != nil {
		t.Fatal(err)
	}
	if err := b.wait(t.Context()); err == nil {
		t.Error("a block that shrinks: got no error")
	}
}

// What the server acknowledges then goes nowhere, and other streams that are
// well say nothing of that.
func TestAStreamThatWasThereAndIsGoneFailsForEver(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(stream string) error{
		"meta.inf":      func(stream string) error { return os.Remove(filepath.Join(stream, "meta.inf")) },
		"meta.sum":      func(stream string) error { return os.Remove(filepath.Join(stream, "meta.sum")) },
		"the new block": func(stream string) error { return os.Remove(filepath.Join(stream, "msgs", "2.blk")) },
		"all blocks":    func(stream string) error { return os.RemoveAll(filepath.Join(stream, "msgs")) },
		"the stream":    os.RemoveAll,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, _ := fakeStream(t)
			grow(t, filepath.Join(dir, "S", "msgs", "2.blk"))
			well := filepath.Join(dir, "T", "msgs", "1.blk")
			mustWrite(t, filepath.Join(dir, "T", "meta.inf"), "x")
			mustWrite(t, filepath.Join(dir, "T", "meta.sum"), "x")
			mustWrite(t, well, "message")
			b := mustBarrier(t, dir, (*os.File).Sync)
			if err := b.wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			away := filepath.Join(t.TempDir(), "S")
			if err := os.CopyFS(away, os.DirFS(filepath.Join(dir, "S"))); err != nil {
				t.Fatal(err)
			}
			if err := change(filepath.Join(dir, "S")); err != nil {
				t.Fatal(err)
			}
			grow(t, well)
			if err := b.wait(t.Context()); err == nil {
				t.Error("got no error")
			}
			if err := os.RemoveAll(filepath.Join(dir, "S")); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(away, filepath.Join(dir, "S")); err != nil {
				t.Fatal(err)
			}
			if err := b.wait(t.Context()); err == nil {
				t.Error("after it was put back: got no error")
			}
		})
	}
}

func TestAnUnknownLayoutOfOneStreamFails(t *testing.T) {
	t.Parallel()
	for _, other := range []string{"meta.inf", "meta.sum"} {
		dir, _ := fakeStream(t)
		for _, name := range []string{"meta.inf", "meta.sum", filepath.Join("msgs", "1.blk")} {
			mustWrite(t, filepath.Join(dir, "T", name), "x")
		}
		rename(t, filepath.Join(dir, "T", other), "meta.json")
		if b, err := newBarrier(dir, nil, func() bool { return true }, (*os.File).Sync); err == nil {
			b.close()
			t.Errorf("blocks without %s: got no error", other)
		}
	}
}

// A stream is made in steps: its directory, then what it is, then a block. A
// round can find it at any of them.
func TestAStreamThatIsBeingMadeIsWaitedForByNoOne(t *testing.T) {
	t.Parallel()
	dir, _ := fakeStream(t)
	d := newDisk()
	b := mustBarrier(t, dir, d.sync)
	stream := filepath.Join(dir, "T")
	block := filepath.Join(stream, "msgs", "1.blk")
	for _, step := range []func(){
		func() {
			if err := os.Mkdir(stream, 0o700); err != nil {
				t.Fatal(err)
			}
		},
		func() {
			if err := os.Mkdir(filepath.Dir(block), 0o700); err != nil {
				t.Fatal(err)
			}
		},
		func() { mustWrite(t, filepath.Join(stream, "meta.inf"), "x") },
		func() { mustWrite(t, filepath.Join(stream, "meta.sum"), "x") },
		func() { grow(t, block) },
		func() { grow(t, block) },
	} {
		step()
		if err := b.wait(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := d.sizes[block]; got != 14 {
		t.Errorf("got %d bytes synced, want 14", got)
	}
}

func TestABlockThatWasReplacedIsFound(t *testing.T) {
	t.Parallel()
	dir, block := fakeStream(t)
	d := newDisk()
	b := mustBarrier(t, dir, d.sync)
	mustWrite(t, block+".tmp", "longer than it was")
	rename(t, block+".tmp", "1.blk")
	if err := b.wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := d.sizes[block]; got != 18 {
		t.Errorf("got %d bytes synced, want 18", got)
	}
	if err := os.RemoveAll(filepath.Join(dir, "S")); err != nil {
		t.Fatal(err)
	}
	b.holds = func() bool { return false } // nobody waits, so no one reads it
	if err := b.wait(t.Context()); err != nil {
		t.Errorf("after the stream was removed: %v", err)
	}
}

// fakeStream makes the files of a stream with one block.
func fakeStream(t *testing.T) (dir, block string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "data", "jetstream", "$G", "streams")
	block = filepath.Join(dir, "S", "msgs", "1.blk")
	mustWrite(t, filepath.Join(dir, "S", "meta.inf"), "x")
	mustWrite(t, filepath.Join(dir, "S", "meta.sum"), "x")
	mustWrite(t, block, "message")
	return dir, block
}

func mustBarrier(t *testing.T, dir string, fsync func(*os.File) error) *barrier {
	t.Helper()
	b, err := newBarrier(dir, nil, func() bool { return true }, fsync)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.close)
	return b
}

func grow(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("message"); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func rename(t *testing.T, path, name string) {
	t.Helper()
	if err := os.Rename(path, filepath.Join(filepath.Dir(path), name)); err != nil {
		t.Fatal(err)
	}
}

func mustWrite(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func mustStart(t *testing.T, c Config) *Server {
	t.Helper()
	s, err := Start(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustStop(t *testing.T, s *Server) {
	t.Helper()
	if err := s.Shutdown(); err != nil {
		t.Fatal(err)
	}
}

func mustJetStream(t *testing.T, s *Server) jetstream.JetStream {
	t.Helper()
	nc, err := s.Connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}
