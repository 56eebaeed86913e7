package logtest

import (
	"context"
	"errors"
	"sync"

	"github.com/behalf-platform/behalf/domain"
)

// fate is what becomes of the first attempt at each append.
type fate string

const (
	answered   fate = "answered"
	notWritten fate = "lost before it was written"
	written    fate = "lost after it was written"
)

// errLost is an append whose outcome nobody was told.
var errLost = errors.New("the answer is lost")

// lossy is a log that loses one attempt at every append.
type lossy struct {
	Log
	fate fate

	mu sync.Mutex
	// lost is guarded by mu.
	lost map[domain.EventID]bool
}

func (b *bench) lose(l Log) Log {
	if b.fate == answered {
		return l
	}
	return &lossy{Log: l, fate: b.fate, lost: map[domain.EventID]bool{}}
}

// sure is the log as the maker made it.
func sure(l Log) Log {
	if l, ok := l.(*lossy); ok {
		return l.Log
	}
	return l
}

func (l *lossy) Append(ctx context.Context, last uint64, r domain.Record, dedupe string) (domain.Receipt, error) {
	if l.fate == notWritten && l.lose(r.ID) {
		return domain.Receipt{}, errLost
	}
	receipt, err := l.Log.Append(ctx, last, r, dedupe)
	if err == nil && l.fate == written && l.lose(r.ID) {
		return domain.Receipt{}, errLost
	}
	return receipt, err
}

func (l *lossy) AppendAll(ctx context.Context, records []domain.Guarded, dedupe string) ([]domain.Receipt, error) {
	if l.fate == notWritten && l.lose(records[0].ID) {
		return nil, errLost
	}
	receipts, err := l.Log.AppendAll(ctx, records, dedupe)
	if err == nil && l.fate == written && l.lose(records[0].ID) {
		return nil, errLost
	}
	return receipts, err
}

// lose reports whether the record's attempt is the one to be lost.
func (l *lossy) lose(id domain.EventID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lost[id] {
		return false
	}
	l.lost[id] = true
	return true
}
