package embedded

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

// barrier makes acknowledged appends durable, many at a time.
//
// The server could sync every message before it acknowledges it, but then one
// sync pays for one message however many wait: four thousand a second where the
// barrier gives tens of thousands. Its atomic batches share a sync, but cost
// milliseconds each to stage and take away the single message's answer.
//
// So messages are written and acknowledged without a sync, and whoever must be
// sure waits here for the next round. One round syncs, once for all who wait,
// the file that each stream was last appended to. It relies on this:
//
//   - A stream of one replica is written to its file, by write(2), before it is
//     acknowledged. Replicated streams and PersistMode async are not.
//   - The file is <stream>/msgs/<n>.blk and only grows while it is the newest one.
//     A block is complete when the server makes the next one. Streams aren't
//     compressed, which would rewrite complete blocks.
//   - A message that expires is marked as such in the newest block. What is lost of
//     that, expires again. A block without messages is removed; the newest one only
//     after another was made, which says how far the stream had come. A complete
//     block of which half has expired is written anew beside, renamed, and synced
//     within the second (see flushInterval): on a file system that may write the
//     name before the content, a power cut in that second takes the block.
//   - The blocks with meta.inf and meta.sum are enough to recover a stream.
//
// Where it finds something else it fails, and never succeeds again: neither
// does an append that waits for it.
type barrier struct {
	dir   string      // of the streams
	skip  []string    // names of streams that aren't synced
	holds func() bool // whether the server has anything in the others
	fsync func(*os.File) error

	wake chan struct{}
	quit chan struct{}
	done chan struct{} // closed when run has ended

	mu sync.Mutex
	// next and err are guarded by mu. next is the round that has not begun, err
	// is why there is none.
	next *round
	err  error

	// tails is owned by run.
	tails map[string]*tail
}

// round is one sync for all who wait for it.
type round struct {
	waiting int // guarded by barrier.mu
	done    chan struct{}
	err     error // to be read when done is closed
}

var errStopped = errors.New("the server has stopped")

// newBarrier syncs all there is, so that what a process before this one left
// unsynced is not built upon.
func newBarrier(dir string, skip []string, holds func() bool, fsync func(*os.File) error) (*barrier, error) {
	b := &barrier{
		dir: dir, skip: skip, holds: holds, fsync: fsync,
		wake: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{}),
		next: &round{done: make(chan struct{})}, tails: map[string]*tail{},
	}
	if err := b.sync(); err != nil {
		b.forget()
		return nil, err
	}
	go b.run()
	return b, nil
}

// wait waits for a round that begins after the call.
func (b *barrier) wait(ctx context.Context) error {
	b.mu.Lock()
	if b.err != nil {
		defer b.mu.Unlock()
		return b.err
	}
	r := b.next
	r.waiting++
	b.mu.Unlock()

	select {
	case b.wake <- struct{}{}:
	default: // it is awake
	}
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return fmt.Errorf("wait for the disk: %w", context.Cause(ctx))
	}
}

func (b *barrier) failed() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}

func (b *barrier) run() {
	defer close(b.done)
	defer b.forget()
	for {
		select {
		case <-b.wake:
		case <-b.quit:
			b.fail(errStopped)
			return
		}
		r := b.begin()
		if r == nil {
			continue
		}
		if err := b.sync(); err != nil {
			b.fail(err)
			r.err = err
			close(r.done)
			return
		}
		close(r.done)
	}
}

// begin takes the next round if anyone waits for it. Who comes later waits for
// the one after it.
func (b *barrier) begin() *round {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := b.next
	if r.waiting == 0 {
		return nil
	}
	b.next = &round{done: make(chan struct{})}
	return r
}

// fail ends the rounds for good.
func (b *barrier) fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err = err
	b.next.err = err
	close(b.next.done)
}

// close ends run and waits for it.
func (b *barrier) close() {
	close(b.quit)
	<-b.done
}

func (b *barrier) forget() {
	for _, t := range b.tails {
		t.close()
	}
}

// sync makes durable what the streams hold now.
func (b *barrier) sync() error {
	holds := b.holds() // before the look at the files: what comes later may be missed there
	tails, gone, err := b.streams()
	if err != nil {
		return err
	}
	if holds && gone != "" {
		return fmt.Errorf("%s, where a stream had messages, is not there any more: what the server acknowledges can't be synced", gone)
	}
	errs := make([]error, len(tails))
	if len(tails) == 1 {
		errs[0] = tails[0].sync(b.fsync)
	} else {
		var wg sync.WaitGroup // the disk merges syncs that come together
		for i, t := range tails {
			wg.Go(func() { errs[i] = t.sync(b.fsync) })
		}
		wg.Wait()
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	// Each stream that ever had a block still has one, or its sync failed. The
	// server says only whether there is a message at all, so of streams that
	// never had one, no more can be asked than that one of all has.
	if holds && !slices.ContainsFunc(tails, func(t *tail) bool { return t.block != nil }) {
		return fmt.Errorf("the server holds messages, but there is no message block in %s: "+
			"this version of it keeps them in another way, so what it acknowledges can't be synced", b.dir)
	}
	return nil
}

// streams finds the streams there are now, and the directory of one that had
// messages and is gone, if any. A stream that was made since the last round may
// have been appended to already, so they are looked up each time.
func (b *barrier) streams() (found []*tail, gone string, err error) {
	entries, err := os.ReadDir(b.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, "", err
	}
	found = make([]*tail, 0, len(entries))
	tails := make(map[string]*tail, len(entries))
	for _, e := range entries {
		name := e.Name()
		if !e.IsDir() || strings.HasPrefix(name, ".") || slices.Contains(b.skip, name) { // a stream that is being removed gets a dot
			continue
		}
		t := b.tails[name]
		if t == nil {
			t = &tail{dir: filepath.Join(b.dir, name)}
		}
		delete(b.tails, name)
		tails[name] = t
		found = append(found, t)
	}
	for _, t := range b.tails {
		if t.block != nil {
			gone = t.dir
		}
	}
	b.forget() // those that are gone
	b.tails = tails
	return found, gone, nil
}

// syncTree syncs the files and directories of a tree that have changed since.
// Files that go away meanwhile need no sync.
func syncTree(root string, since time.Time, fsync func(*os.File) error) error {
	return filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return unlessGone(err)
		}
		info, err := e.Info()
		if err != nil || info.ModTime().Before(since) {
			return unlessGone(err)
		}
		return unlessGone(syncPath(path, fsync))
	})
}

// syncUp syncs a directory and those above it, up to the one that holds the
// server's store.
func syncUp(dir string, levels int, fsync func(*os.File) error) error {
	for range levels {
		if err := syncPath(dir, fsync); err != nil {
			return err
		}
		dir = filepath.Dir(dir)
	}
	return nil
}

func unlessGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func syncPath(path string, fsync func(*os.File) error) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	flags := os.O_RDWR // Windows syncs only what may be written
	if info.IsDir() {
		if runtime.GOOS == "windows" { // which has no sync of directories
			return nil
		}
		flags = os.O_RDONLY
	}
	f, err := os.OpenFile(path, flags, 0)
	if err != nil {
		return err
	}
	return errors.Join(fsync(f), f.Close())
}
