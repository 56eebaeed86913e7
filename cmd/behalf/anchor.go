package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/behalf-platform/behalf/infra/natslog"
)

// anchor remembers, outside of the log's own files, how far the embedded log
// reached. The NATS server cuts a stream at the first record it finds damaged
// and goes on from there, without a word: what was revoked behind it would hold
// again. A log that ends before its anchor is not opened.
type anchor struct {
	path, marks string
	log         *natslog.Log
	logs        *slog.Logger
}

// anchored is what the file holds, one entry a partition.
type anchored struct {
	Epochs []uint32 `json:"epochs"`
	Heads  []uint64 `json:"heads"`

	clocks []time.Time // the log's own, when it stood there
}

func newAnchor(data string, log *natslog.Log, logs *slog.Logger) *anchor {
	return &anchor{path: filepath.Join(data, "anchor.json"), marks: marksFile(data), log: log, logs: logs}
}

// check compares the log with its anchor, if there is one.
func (a *anchor) check(ctx context.Context) error {
	raw, err := os.ReadFile(a.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", a.path, err)
	}
	var was anchored
	if err := json.Unmarshal(raw, &was); err != nil || len(was.Heads) != len(was.Epochs) {
		return fmt.Errorf("%s can't be read; restore it and the log from a backup, or remove it if you know that the log is whole", a.path)
	}
	now, err := a.heads(ctx)
	if err != nil {
		return err
	}
	for p, head := range was.Heads {
		switch {
		case p >= len(now.Heads) || now.Epochs[p] != was.Epochs[p]:
			return fmt.Errorf("the log is not the one %s belongs to; restore the log from a backup, or remove the file if the log was replaced on purpose", a.path)
		case now.Heads[p] < head:
			return fmt.Errorf("the log ends at record %d of partition %d, but it reached %d: records are lost, revocations may be among them; restore it from a backup, or remove %s to go on without them",
				now.Heads[p], p, head, a.path)
		}
	}
	return nil
}

func (a *anchor) heads(ctx context.Context) (anchored, error) {
	var now anchored
	for p := range a.log.Partitions() {
		status, err := a.log.Status(ctx, uint16(p))
		if err != nil {
			return anchored{}, err
		}
		now.Heads = append(now.Heads, status.Head)
		now.Epochs = append(now.Epochs, a.log.Epoch(uint16(p)))
		now.clocks = append(now.clocks, status.Clock)
	}
	return now, nil
}

// anchorEvery is how often the anchor moves. It is longer than anything stays
// unsynced, and it moves to where the log was the time before: what it names
// was on disk before it is.
const anchorEvery = 2 * time.Second

// run moves the anchor until ctx ends.
func (a *anchor) run(ctx context.Context) error {
	tick := time.NewTicker(anchorEvery)
	defer tick.Stop()
	var before anchored
	var marked *marks
	for {
		now, err := a.heads(ctx)
		if err == nil {
			if marked == nil {
				var m marks
				if m, err = readMarks(a.marks, now); err != nil {
					a.logs.WarnContext(ctx, "marks of the log", slog.Any("error", err))
				}
				marked = &m // unreadable ones are replaced
			}
			err = a.save(before, marked)
			before = now
		}
		if err != nil && ctx.Err() == nil {
			a.logs.WarnContext(ctx, "anchor", slog.Any("error", err))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// save replaces the anchor, and the marks when there is one more.
func (a *anchor) save(at anchored, marked *marks) error {
	if at.Heads == nil {
		return nil
	}
	if err := replaceFile(a.path, at); err != nil {
		return fmt.Errorf("write the anchor: %w", err)
	}
	if !marked.add(at) {
		return nil
	}
	if err := replaceFile(a.marks, marked); err != nil {
		return fmt.Errorf("write the marks beside the anchor: %w", err)
	}
	return nil
}

// replaceFile writes a file as a whole, or leaves the one there is.
func replaceFile(path string, value any) error {
	b, err := json.Marshal(value)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "anchor-*")
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
