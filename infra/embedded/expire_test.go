package embedded

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// blocks is a stream's directory with message blocks of these numbers.
func blocks(t *testing.T, dir string, numbers ...string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(dir, "msgs"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"meta.inf", "meta.sum"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("meta"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range numbers {
		if err := os.WriteFile(filepath.Join(dir, "msgs", n+".blk"), []byte("block "+n), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// The server removes a block whose messages have all expired once it goes on in
// a newer one, which may not be the next one.
func TestTheTailFollowsWhereBlocksHaveExpired(t *testing.T) {
	t.Parallel()
	remove := func(t *testing.T, dir, n string) {
		t.Helper()
		if err := os.Remove(filepath.Join(dir, "msgs", n+".blk")); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name   string
		change func(t *testing.T, dir string)
		newest int // 0 if it must fail
	}{
		{"the newest was removed, and another made", func(t *testing.T, dir string) { blocks(t, dir, "2"); remove(t, dir, "1") }, 2},
		{"the next one was made and removed", func(t *testing.T, dir string) { blocks(t, dir, "3") }, 3},
		{"both are gone", func(t *testing.T, dir string) { blocks(t, dir, "3"); remove(t, dir, "1") }, 3},
		{"the next, and one further on", func(t *testing.T, dir string) { blocks(t, dir, "2", "4") }, 4},
		{"the newest is gone, and no other is there", func(t *testing.T, dir string) { remove(t, dir, "1") }, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "a", "b", "streams", "BEHALF")
			blocks(t, dir, "1")
			synced := map[string]bool{}
			fsync := func(f *os.File) error {
				synced[filepath.Base(f.Name())] = true
				return nil
			}
			tail := &tail{dir: dir}
			t.Cleanup(tail.close)
			if err := tail.sync(fsync); err != nil {
				t.Fatal(err)
			}
			// That something expired takes longer than a directory's time is exact to.
			past := time.Now().Add(-time.Second)
			if err := os.Chtimes(filepath.Join(dir, "msgs"), past, past); err != nil {
				t.Fatal(err)
			}
			if err := tail.sync(fsync); err != nil {
				t.Fatal(err)
			}
			clear(synced)
			tt.change(t, dir)
			err := tail.sync(fsync)
			if tt.newest == 0 {
				if err == nil {
					t.Error("got no error, want one: what is acknowledged goes nowhere")
				}
				return
			}
			if name := filepath.Base(tail.block.Name()); err != nil || tail.index != tt.newest || !synced[name] {
				t.Errorf("got %v at %s, synced %v; want block %d synced", err, name, synced, tt.newest)
			}
		})
	}
}
