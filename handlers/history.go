package handlers

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/behalf-platform/behalf/domain"
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
	Epoch(partition uint16) uint32
}

// History answers what was decided, from the log itself.
type History struct {
	Log DecisionLog
	// MostScanned bounds the work of one page. A page that reaches it is short,
	// perhaps empty, and its cursor goes on from there. 0 is 200,000.
	MostScanned int
}

// DecisionQuery says which decisions of an account are wanted. The zero value
// of a field is no limit.
type DecisionQuery struct {
	Account      domain.AccountID
	Agent        domain.AgentID
	Outcome      domain.Outcome
	Action       domain.Action
	Since, Until time.Time
	// Limit is the most on a page.
	Limit int
	// Cursor is what the page before ended with.
	Cursor string
}

func (q *DecisionQuery) matches(r domain.Recorded) bool {
	d, ok := r.Event.(domain.DecisionMade)
	return ok && (q.Outcome == "" || d.Outcome == q.Outcome) &&
		(q.Action == "" || d.Request.Action == q.Action) &&
		(q.Since.IsZero() || !r.At.Before(q.Since)) && (q.Until.IsZero() || r.At.Before(q.Until))
}

const (
	// ClockSlack is how far a record's own time and the log's may lie apart: the
	// bound on a node's clock, and the time an append may take.
	ClockSlack = 10 * time.Second
	// mostScanned is how many records one page looks at, unless a History says
	// otherwise.
	mostScanned = 200_000
)

// unread is the log not answering a read.
func unread(err error) error { return unavailable(err, "the log could not be read; try again") }

// List returns a page of decisions, newest first, and the cursor of the next
// page, empty when there is none.
func (h *History) List(ctx context.Context, q DecisionQuery) (page []domain.Recorded, cursor string, err error) {
	partition := domain.PartitionOf(q.Account, h.Log.Partitions())
	floor, through, err := h.bounds(ctx, partition, q)
	if err != nil {
		return nil, "", err
	}
	lowest := max(floor, 1)
	if most := uint64(cmp.Or(h.MostScanned, mostScanned)); through > most {
		lowest = max(lowest, through-most+1)
	}
	for width := uint64(512); through >= lowest; width *= 4 {
		from := max(lowest, through-min(through-1, width-1))
		found, err := h.newest(ctx, q, partition, from, through, q.Limit-len(page))
		if err != nil {
			return nil, "", err
		}
		if page = append(page, found...); q.Limit > 0 && len(page) == q.Limit {
			return page, h.cursor(partition, page[len(page)-1].Position.Seq-1, floor), nil
		}
		through = from - 1
	}
	return page, h.cursor(partition, through, floor), nil
}

// newest is the newest decisions of a stretch of the log that match, newest
// first, or the newest most of them if most is above 0. The log is read from the oldest on, so
// what turns out to be too old is dropped on the way.
func (h *History) newest(ctx context.Context, q DecisionQuery, partition uint16, from, through uint64, most int) ([]domain.Recorded, error) {
	var found []domain.Recorded
	err := h.Log.Scan(ctx, domain.Scan{
		Partition: partition, Account: q.Account, Agent: q.Agent, From: from, Through: through,
	}, func(r domain.Recorded, err error) error {
		if err != nil || !q.matches(r) {
			return err
		}
		if found = append(found, r); most > 0 && len(found) == 2*most {
			found = slices.Delete(found, 0, most)
		}
		return nil
	})
	if err != nil {
		return nil, unread(err)
	}
	if most > 0 {
		found = found[max(0, len(found)-most):]
	}
	slices.Reverse(found)
	return found, nil
}

func (h *History) cursor(partition uint16, through, floor uint64) string {
	if through < floor || through == 0 {
		return ""
	}
	return domain.Position{Partition: partition, Epoch: h.Log.Epoch(partition), Seq: through}.String()
}

// bounds is the range of sequences a query is about, both inclusive.
func (h *History) bounds(ctx context.Context, partition uint16, q DecisionQuery) (floor, through uint64, err error) {
	floor = 1
	if !q.Since.IsZero() {
		if floor, err = h.Log.SeqAt(ctx, partition, q.Since.Add(-ClockSlack)); err != nil {
			return 0, 0, unread(err)
		}
	}
	if q.Cursor != "" {
		p, err := domain.ParsePosition(q.Cursor)
		if err != nil || p.Partition != partition || p.Epoch != h.Log.Epoch(partition) {
			return 0, 0, domain.RejectField(domain.Invalid, "/cursor", "is not a cursor of this list; send the nextCursor of the page before")
		}
		return floor, p.Seq, nil
	}
	if !q.Until.IsZero() {
		after, err := h.Log.SeqAt(ctx, partition, q.Until.Add(ClockSlack))
		if err != nil {
			return 0, 0, unread(err)
		}
		return floor, max(after, 1) - 1, nil
	}
	status, err := h.Log.Status(ctx, partition)
	if err != nil {
		return 0, 0, unread(err)
	}
	return floor, status.Head, nil
}

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
// on, or from Since if the query has it, until ctx ends.
func (h *History) Tail(ctx context.Context, q DecisionQuery, yield func(domain.Recorded) error) error {
	partition := domain.PartitionOf(q.Account, h.Log.Partitions())
	status, err := h.Log.Status(ctx, partition)
	if err != nil {
		return unread(err)
	}
	from := status.Head + 1
	if !q.Since.IsZero() {
		if from, err = h.Log.SeqAt(ctx, partition, q.Since.Add(-ClockSlack)); err != nil {
			return unread(err)
		}
	}
	return h.Log.Scan(ctx, domain.Scan{
		Partition: partition, Account: q.Account, Agent: q.Agent, From: from, Live: true,
	}, func(r domain.Recorded, err error) error {
		if err != nil || !q.matches(r) {
			return err
		}
		return yield(r)
	})
}
