package natslog

import (
	"context"
	"errors"
	"fmt"

	"github.com/behalf-platform/behalf/domain"
)

// whole is the rule that a stream has all records it says it has. Nothing is ever
// deleted but decisions whose time is over, so where no account ever had decisions
// go there are no holes. Where one had, what may be missing is told apart by
// reading all, which is what a check of the log is for.
func (l *Log) whole(ctx context.Context, p *partition) error {
	s := p.stream.CachedInfo().State
	if s.NumDeleted == 0 && (s.LastSeq == 0 || s.FirstSeq == 1 && s.Msgs == s.LastSeq) {
		return nil
	}
	goes, err := l.letsGo(ctx, p)
	if err != nil || goes {
		return err
	}
	return fmt.Errorf("it holds %d messages from sequence %d to %d: %w", s.Msgs, s.FirstSeq, s.LastSeq, ErrMissing)
}

// letsGo reports whether an account ever had its decisions go after a time.
func (l *Log) letsGo(ctx context.Context, p *partition) (goes bool, err error) {
	filter := p.accounts + "*"
	newest, err := l.ask(ctx, p, question{Last: filter})
	if errors.Is(err, domain.ErrNotRecorded) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	err = l.read(ctx, p, section{from: 1, filter: filter, through: newest.Sequence}, scanPatience, func(it item) error {
		if e, ok := it.record.Event.(domain.AccountSettingsChanged); ok && e.DecisionRetention > 0 {
			goes = true
		}
		if goes || it.seq >= newest.Sequence {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return goes, err
}
