package logtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/behalf-platform/behalf/domain"
)

// patience is how long an attempt may take. What is sent to a replicated log
// while nobody leads it may never be answered.
const patience = 2 * time.Second

// Put appends r on the newest version of its stream, however often it takes,
// and finds out by itself what became of attempts that were not answered. The
// record is stored once. When ctx ends, the outcome is unknown.
func Put(ctx context.Context, l Log, r domain.Record) (domain.Receipt, error) {
	var last uint64
	for {
		receipt, seen, err := attempt(ctx, l, r, last)
		if err == nil {
			return receipt, nil
		}
		if ctx.Err() != nil {
			return domain.Receipt{}, fmt.Errorf("put %s: %w, after: %w", r.ID, context.Cause(ctx), err)
		}
		last = seen
		if !errors.Is(err, errLost) {
			pause(ctx)
		}
	}
}

// attempt looks whether r is there since last, and appends it if it isn't. It
// returns the newest version it has seen.
func attempt(ctx context.Context, l Log, r domain.Record, last uint64) (domain.Receipt, uint64, error) {
	ctx, giveUp := context.WithTimeout(ctx, patience)
	defer giveUp()
	newer, err := l.Load(ctx, r.Stream(), last)
	if err != nil {
		return domain.Receipt{}, last, err
	}
	for _, e := range newer {
		last = e.Position.Seq
		if e.ID == r.ID {
			return domain.Receipt{Position: e.Position}, last, nil
		}
	}
	receipt, err := l.Append(ctx, last, r, string(r.ID))
	return receipt, last, err
}

// pause lets others go first, so that those who lost to each other don't meet again.
func pause(ctx context.Context) {
	select {
	case <-time.After(time.Duration(rand.Int64N(int64(2 * time.Millisecond)))):
	case <-ctx.Done():
	}
}

// All reads every record of a partition.
func All(ctx context.Context, l Log, partition uint16) ([]domain.Recorded, error) {
	return scan(ctx, l, domain.Scan{Partition: partition})
}

func scan(ctx context.Context, l Log, q domain.Scan) ([]domain.Recorded, error) {
	var records []domain.Recorded
	err := l.Scan(ctx, q, func(r domain.Recorded, err error) error {
		records = append(records, r)
		return err
	})
	return records, err
}

func mustPut(ctx context.Context, t *testing.T, l Log, r domain.Record) domain.Receipt {
	t.Helper()
	receipt, err := Put(ctx, l, r)
	if err != nil {
		t.Fatal(err)
	}
	return receipt
}

// mustLoad loads the n events that are known to follow on a sequence. It asks
// until it has them, because a load may miss the newest.
func mustLoad(ctx context.Context, t *testing.T, l Log, s domain.Stream, after uint64, n int) []domain.Recorded {
	t.Helper()
	for {
		loaded, err := l.Load(ctx, s, after)
		if err != nil {
			t.Fatalf("load %s after %d: %v", s, after, err)
		}
		if len(loaded) >= n {
			return loaded
		}
		pause(ctx)
	}
}

func mustScan(ctx context.Context, t *testing.T, l Log, q domain.Scan) []domain.Recorded {
	t.Helper()
	records, err := scan(ctx, l, q)
	if err != nil {
		t.Fatalf("scan %+v: %v", q, err)
	}
	return records
}

// mustHold checks the whole of a stream's partition and returns it. It must
// hold these records and no more, in any order.
func mustHold(ctx context.Context, t *testing.T, l Log, s domain.Stream, want ...domain.Record) []domain.Recorded {
	t.Helper()
	records := mustScan(ctx, t, l, domain.Scan{Partition: partitionOf(l, s)})
	if err := Check(records); err != nil {
		t.Fatalf("the log does not hold together: %v", err)
	}
	stored := map[domain.EventID]domain.Recorded{}
	for _, r := range records {
		stored[r.ID] = r
	}
	for _, r := range want {
		if got, ok := stored[r.ID]; !ok {
			t.Errorf("%s is not in the log", r.ID)
		} else {
			sameRecord(t, got, r)
		}
	}
	if len(records) != len(want) {
		t.Errorf("got %d records, want %d", len(records), len(want))
	}
	return records
}

func mustStatus(ctx context.Context, t *testing.T, l Log, s domain.Stream) Status {
	t.Helper()
	status, err := l.Status(ctx, partitionOf(l, s))
	if err != nil {
		t.Fatalf("status: %v", err)
	}
	return status
}

// sameRecord compares the stored forms, which hold all there is.
func sameRecord(t *testing.T, got domain.Recorded, want domain.Record) {
	t.Helper()
	gotRaw, err := got.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	wantRaw, err := want.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(gotRaw, wantRaw) {
		t.Errorf("got record %s, want %s", gotRaw, wantRaw)
	}
}

// sameSeqs compares what was read with the positions of receipts.
func sameSeqs(t *testing.T, got []domain.Recorded, want ...domain.Receipt) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("got %d records, want %d", len(got), len(want))
		return
	}
	for i := range got {
		if got[i].Position != want[i].Position {
			t.Errorf("record %d: got position %+v, want %+v", i, got[i].Position, want[i].Position)
		}
	}
}
