package embedded

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// tail is where a stream grows: its newest message block.
type tail struct {
	dir   string
	meta  [2]os.FileInfo // meta.inf and meta.sum, as they were when they were last synced
	block *os.File       // the newest block, or nil while there is none
	index int            // its number
	size  int64          // what is known to be on disk of it
	// looked is when the directory of the blocks had last changed when it was last
	// listed.
	looked time.Time
}

func (t *tail) close() {
	if t.block != nil {
		_ = t.block.Close() // it was only synced, never written
		t.block = nil
	}
}

// sync makes durable what the stream holds now. Once it had a block, a file that
// is missing is an error: the server goes on acknowledging what it writes to one
// that was pulled away, and that goes nowhere.
func (t *tail) sync(fsync func(*os.File) error) error {
	// The block comes first: the server makes it last, so that what is missing
	// beside it is not still to come.
	if err := t.find(fsync); err != nil {
		return err
	}
	err := t.syncMeta(fsync)
	if t.block == nil {
		return unlessGone(err) // a stream without them is still being made, and has no messages
	}
	if err != nil {
		return err
	}
	if err := t.advance(fsync); err != nil {
		return err
	}
	return t.syncBlock(fsync)
}

// syncMeta syncs what the stream is, if that was written since it was last
// synced. The server replaces the files when a stream is updated.
func (t *tail) syncMeta(fsync func(*os.File) error) error {
	changed := false
	for i, name := range [...]string{"meta.inf", "meta.sum"} {
		path := filepath.Join(t.dir, name)
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		was := t.meta[i]
		if was != nil && os.SameFile(was, info) && was.ModTime().Equal(info.ModTime()) && was.Size() == info.Size() {
			continue
		}
		if err := syncPath(path, fsync); err != nil {
			return err
		}
		t.meta[i], changed = info, true
	}
	if changed {
		return syncPath(t.dir, fsync)
	}
	return nil
}

// find opens the newest block when there is none yet, or another file has taken
// its place. Then nothing is known of what is on disk, and all of it is synced.
func (t *tail) find(fsync func(*os.File) error) error {
	had := t.block != nil
	if had {
		open, err := t.block.Stat()
		if err != nil {
			return err
		}
		there, err := os.Stat(t.block.Name())
		if err != nil && !t.left(err) {
			return err
		}
		if err == nil && os.SameFile(open, there) {
			return nil
		}
		t.close()
	}
	index, err := t.newest()
	if err != nil && !had {
		return unlessGone(err) // there is no message yet
	}
	if err != nil {
		return err
	}
	if err := t.open(index); err != nil {
		return err
	}
	return errors.Join(
		syncTree(t.dir, time.Time{}, fsync),
		syncUp(filepath.Dir(t.dir), storeDepth, fsync),
	)
}

// left reports whether the block is not there because the server removed it: all
// its messages have expired, and it goes on in a newer one, which it makes before.
func (t *tail) left(err error) bool {
	if !errors.Is(err, fs.ErrNotExist) {
		return false
	}
	newest, err := t.newest()
	return err == nil && newest > t.index
}

// storeDepth is how many directories, from the one of the streams upwards, are
// changed by the server: streams, account, jetstream and the data directory.
const storeDepth = 4

// newest is the number of the newest block. If there is none, the error is
// [fs.ErrNotExist].
func (t *tail) newest() (int, error) {
	entries, err := os.ReadDir(filepath.Join(t.dir, "msgs"))
	if err != nil {
		return 0, err
	}
	newest := 0
	for _, e := range entries {
		if number, ok := strings.CutSuffix(e.Name(), ".blk"); ok {
			n, err := strconv.Atoi(number)
			if err != nil {
				return 0, fmt.Errorf("%s in %s is not the name of a message block", e.Name(), t.dir)
			}
			newest = max(newest, n)
		}
	}
	if newest == 0 {
		return 0, fmt.Errorf("message blocks in %s: %w", t.dir, fs.ErrNotExist)
	}
	return newest, nil
}

func (t *tail) open(index int) error {
	f, err := os.OpenFile(filepath.Join(t.dir, "msgs", strconv.Itoa(index)+".blk"), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	t.block, t.index, t.size = f, index, 0
	return nil
}

// advance moves on to the newest block and syncs those it leaves.
func (t *tail) advance(fsync func(*os.File) error) error {
	for moved := false; ; moved = true {
		complete := *t
		err := t.open(t.index + 1)
		if errors.Is(err, fs.ErrNotExist) {
			if skipped, err := t.skip(fsync); skipped || err != nil {
				return err
			}
			if moved {
				return syncPath(filepath.Join(t.dir, "msgs"), fsync)
			}
			return nil
		}
		if err != nil {
			return err
		}
		err = complete.syncBlock(fsync)
		complete.close()
		if err != nil {
			return err
		}
	}
}

// skip moves on to the newest block where the one that comes next is not there
// any more: it was made and removed again, because its messages expired. That
// takes longer than a directory's time of change is exact to.
func (t *tail) skip(fsync func(*os.File) error) (skipped bool, err error) {
	info, err := os.Stat(filepath.Join(t.dir, "msgs"))
	if err != nil || info.ModTime().Equal(t.looked) {
		return false, err
	}
	newest, err := t.newest()
	if err != nil {
		return false, err
	}
	t.looked = info.ModTime()
	if newest <= t.index {
		return false, nil
	}
	t.close()
	if err := t.open(newest); err != nil {
		return false, err
	}
	return true, syncTree(t.dir, time.Time{}, fsync)
}

// syncBlock syncs the open block if it has grown.
func (t *tail) syncBlock(fsync func(*os.File) error) error {
	info, err := t.block.Stat()
	if err != nil {
		return err
	}
	size := info.Size()
	switch {
	case size == t.size:
		return nil
	case size < t.size:
		return fmt.Errorf("%s has shrunk from %d to %d bytes", t.block.Name(), t.size, size)
	}
	if err := fsync(t.block); err != nil {
		return fmt.Errorf("sync %s: %w", t.block.Name(), err)
	}
	t.size = size
	return nil
}
