package handlers

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/projections"
)

// DecisionLog is what reading decisions back needs of the event log.
type DecisionLog interface {
	// Scan calls yield with the decisions that match, oldest first, up to the
	// last one there was when it began, or for ever with Live.
	Scan(ctx context.Context, q domain.Scan, yield func(domain.Recorded, error) error) error
	// Status reports where a partition stands.
	Status(ctx context.Context, partition uint16) (domain.LogStatus, error)
	// SeqAt is the sequence of the oldest record stored at or after t, or the
	// one after the newest.
	SeqAt(ctx context.Context, partition uint16, t time.Time) (uint64, error)
	Partitions() int
}

// History answers from the log itself: one decision, and those that are being
// made.
type History struct {
	Log DecisionLog
	// KeptSince is from when on an account's decisions are shown. If nil, all are.
	KeptSince func(domain.AccountID) time.Time
}

// KeptSince is what a [History] asks, as it is known here.
func KeptSince(passports *projections.Passports, now func() time.Time) func(domain.AccountID) time.Time {
	return func(id domain.AccountID) time.Time {
		account, err := passports.Account(id)
		if err != nil {
			return time.Time{}
		}
		return account.Retention.Start(now())
	}
}

func (h *History) keptSince(account domain.AccountID) time.Time {
	if h.KeptSince == nil {
		return time.Time{}
	}
	return h.KeptSince(account)
}

// ClockSlack is how far a record's own time and the log's may lie apart: the
// bound on a node's clock, and the time an append may take.
const ClockSlack = 10 * time.Second

// unread is the log not answering a read.
func unread(err error) error { return unavailable(err, "the log could not be read; try again") }

// errFound ends a scan that has what it wants.
var errFound = errors.New("found")

// Find returns one decision of an account, and of one agent if it names one.
// The id holds the time it was made, which says where to look.
func (h *History) Find(ctx context.Context, s domain.Stream, id domain.RequestID) (domain.Recorded, error) {
	none := domain.Reject(domain.NotFound, "no decision %s", id)
	text, ok := strings.CutPrefix(string(id), domain.RequestPrefix)
	made, err := ulid.ParseStrict(text)
	if !ok || err != nil {
		return domain.Recorded{}, domain.Reject(domain.NotFound, "no such decision; a request id is %s and 26 characters", domain.RequestPrefix)
	}
	at := ulid.Time(made.Time())
	// Clocks rarely differ, so look close by first.
	for _, slack := range []time.Duration{50 * time.Millisecond, ClockSlack} {
		r, err := h.between(ctx, s, id, at.Add(-slack), at.Add(slack))
		if r.Event != nil && r.LoggedAt.Before(h.keptSince(s.Account)) {
			return domain.Recorded{}, none // the log may have it for longer
		}
		if err != nil || r.Event != nil {
			return r, err
		}
	}
	return domain.Recorded{}, none
}

// between looks for a decision in a stretch of the log's time.
func (h *History) between(ctx context.Context, s domain.Stream, id domain.RequestID, since, until time.Time) (found domain.Recorded, err error) {
	partition := domain.PartitionOf(s.Account, h.Log.Partitions())
	from, err := h.Log.SeqAt(ctx, partition, since)
	if err != nil {
		return found, unread(err)
	}
	after, err := h.Log.SeqAt(ctx, partition, until)
	if err != nil || after <= from {
		if err != nil {
			err = unread(err)
		}
		return found, err
	}
	err = h.Log.Scan(ctx, domain.Scan{
		Partition: partition, Account: s.Account, Agent: s.Agent, From: from, Through: after - 1,
	}, func(r domain.Recorded, err error) error {
		if err != nil {
			return err
		}
		if d, ok := r.Event.(domain.DecisionMade); ok && d.RequestID == id {
			found = r
			return errFound
		}
		return nil
	})
	if err != nil && !errors.Is(err, errFound) {
		return found, unread(err)
	}
	return found, nil
}

// Tail calls yield with each decision that matches as it is recorded, from now
// on, or from Since if the filter has it, until ctx ends.
func (h *History) Tail(ctx context.Context, f projections.DecisionFilter, yield func(domain.Recorded) error) error {
	partition := domain.PartitionOf(f.Account, h.Log.Partitions())
	status, err := h.Log.Status(ctx, partition)
	if err != nil {
		return unread(err)
	}
	from, since := status.Head+1, h.keptSince(f.Account)
	if !f.Since.IsZero() {
		if from, err = h.Log.SeqAt(ctx, partition, f.Since.Add(-ClockSlack)); err != nil {
			return unread(err)
		}
	}
	return h.Log.Scan(ctx, domain.Scan{
		Partition: partition, Account: f.Account, Agent: f.Agent, From: from, Live: true,
	}, func(r domain.Recorded, err error) error {
		if err != nil || !Matches(&f, &r) || r.LoggedAt.Before(since) {
			return err
		}
		return yield(r)
	})
}
