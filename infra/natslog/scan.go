package natslog

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/behalf-platform/behalf/domain"
)

// scanPatience is how often a scan that has an end begins again in vain.
const scanPatience = 6

// Scan calls yield with the stored records that match, oldest first, and
// returns when it has seen the last one there was when it began. With Live it
// goes on until ctx ends.
func (l *Log) Scan(ctx context.Context, q domain.Scan, yield func(domain.Recorded, error) error) error {
	p, err := l.partition(q.Partition)
	if err != nil {
		return fmt.Errorf("scan: %w", err)
	}
	filter, err := p.scanned(q)
	if err != nil {
		return fmt.Errorf("scan: %w", err)
	}
	end, err := l.end(ctx, p, q, filter)
	if err != nil {
		return fmt.Errorf("scan partition %d: %w", q.Partition, err)
	}
	if max(q.From, 1) > end {
		return nil
	}
	wanted, patience := section{from: q.From, filter: filter, through: end, most: q.Most}, scanPatience
	if filter != "" && q.Only == "" {
		wanted.keep = keepDecisions
	}
	if q.Live {
		wanted.through, patience = 0, 0
	}
	err = l.read(ctx, p, wanted, patience, func(it item) error {
		if it.seq > end {
			return errEnough
		}
		if it.kept {
			if err := yield(it.record, it.err); err != nil {
				return err
			}
			if q.Most--; q.Most == 0 {
				return errEnough
			}
		}
		if it.seq < end {
			return nil
		}
		return errEnough
	})
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

// scanned is the subject that a scan reads, empty for all.
func (s subjects) scanned(q domain.Scan) (string, error) {
	if q.Only == "" {
		if q.Account == "" && q.Agent == "" {
			return "", nil
		}
		return s.decided(domain.Stream{Account: q.Account, Agent: q.Agent})
	}
	account, agent := "*", "*"
	if q.Account != "" {
		account = string(q.Account)
	}
	if q.Agent != "" {
		agent = string(q.Agent)
	}
	for _, id := range []string{account, agent} {
		if id != "*" && !domain.ValidID(id) || q.Account == "*" || q.Agent == "*" {
			return "", fmt.Errorf("%q is not an id", id)
		}
	}
	switch q.Only {
	case domain.OnlyAgents:
		return s.prefix + "*." + account + "." + agent, nil
	case domain.OnlyPassports:
		return s.agents + account + "." + agent, nil
	case domain.OnlyAccounts:
		return s.prefix + "*." + account, nil // one filter, where naming both subjects would be two
	case domain.OnlyBudgets:
		return s.budgets + account, nil
	}
	return "", fmt.Errorf("%q is no choice of records", q.Only)
}

// end is the sequence at which a scan is at its end: a message of its subjects
// is there or was, if not a decision, or one comes later, so a scan always gets to it.
func (l *Log) end(ctx context.Context, p *partition, q domain.Scan, filter string) (uint64, error) {
	through := q.Through
	if through == 0 {
		through = math.MaxUint64
	}
	if err := connected(l.conn); err != nil {
		return 0, err
	}
	info, err := p.info(ctx)
	if err != nil {
		return 0, err
	}
	if q.Live && info.State.LastSeq < through {
		return through, nil
	}
	if filter == "" { // the newest may be decisions that have gone
		filter = p.all
	}
	newest, err := l.ask(ctx, p, question{Last: filter})
	if errors.Is(err, domain.ErrNotRecorded) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return min(newest.Sequence, through), nil
}

// SeqAt is the sequence of the oldest record that was stored at or after t, or
// the one after the newest. The server searches by halves.
func (l *Log) SeqAt(ctx context.Context, partition uint16, t time.Time) (uint64, error) {
	p, err := l.partition(partition)
	if err != nil {
		return 0, fmt.Errorf("find a time: %w", err)
	}
	seq, err := l.seqAt(ctx, p, t)
	if err != nil {
		return 0, fmt.Errorf("find %s in partition %d: %w", t, partition, err)
	}
	return seq, nil
}

func (l *Log) seqAt(ctx context.Context, p *partition, t time.Time) (uint64, error) {
	if err := connected(l.conn); err != nil {
		return 0, err
	}
	// The head comes first: what is stored after it was read was stored after
	// all that the search can find.
	info, err := p.info(ctx)
	if err != nil {
		return 0, err
	}
	after := info.State.LastSeq + 1
	if earliest := time.Unix(0, 0).UTC(); t.Before(earliest) {
		t = earliest // the server counts nanoseconds from here, which don't reach far
	}
	if t.After(time.Unix(0, math.MaxInt64)) {
		return after, nil
	}
	first, err := l.ask(ctx, p, question{Since: &t, Next: p.all})
	if errors.Is(err, domain.ErrNotRecorded) {
		return after, nil
	}
	if err != nil {
		return 0, err
	}
	return first.Sequence, nil
}
