package projections

import (
	"errors"
	"fmt"
	"time"

	"github.com/behalf-platform/behalf/domain"
)

// View is one version of a projection: the one that serves, or one that is
// being made beside it.
type View struct {
	Projection Projection
	Version    int
}

func (v View) String() string { return fmt.Sprintf("%s v%d", v.Projection, v.Version) }

// Span is the stretch of one partition of the log that a batch was made of: the
// events after From, up to and including Through.
type Span struct {
	Partition uint16
	// Epoch is the log's. Rows of one log are never added to those of another.
	Epoch         uint32
	From, Through uint64
}

// Checkpoint is how far a view has come in one partition.
type Checkpoint struct {
	View
	// Serving says that queries are answered from this view.
	Serving   bool
	Partition uint16
	Epoch     uint32
	// Seq is the newest event that is in the rows, 0 for none.
	Seq uint64
	// MovedAt is when Seq last changed.
	MovedAt time.Time
	// StoppedAt is the event that could not be applied, 0 in the normal case, and
	// Reason why.
	StoppedAt uint64
	Reason    string
}

// ErrStale says that a batch was not written, because the checkpoint is not
// where its span begins: another node projects, or a write whose outcome was
// unknown did land. Whoever gets it stops, or reads the checkpoints again.
var ErrStale = errors.New("the checkpoint has moved")

// ErrAnotherLog says that the rows are those of a log with another epoch. They
// have to be made again: rebuild the projection.
var ErrAnotherLog = errors.New("the rows are of another log")

// ErrBehind says that a view can't serve yet, since the one that does is ahead
// of it.
var ErrBehind = errors.New("the view is behind the one that serves")

// ErrBusy says that somebody still reads what was to be dropped. Try later.
var ErrBusy = errors.New("the view is still being read")

// ErrServing says that the view is the one that serves, and can't be dropped.
var ErrServing = errors.New("the view is serving")

// ErrNoView says that there is no such view, or that a projection has none that
// serves yet.
var ErrNoView = errors.New("no such view")

// Inapplicable is an event that could not be made into rows, or rows the
// database refused as they are. To try again gives the same.
type Inapplicable struct {
	// Seq is the event's sequence, 0 when it isn't known which it was.
	Seq uint64
	Err error
}

func (e *Inapplicable) Error() string { return fmt.Sprintf("apply event %d: %v", e.Seq, e.Err) }

func (e *Inapplicable) Unwrap() error { return e.Err }

// Stopped is a view that serves but met an event that it could not apply.
// Queries of it have no good answer.
type Stopped struct{ Checkpoint }

func (e *Stopped) Error() string {
	return fmt.Sprintf("%s stopped at event %d of partition %d: %s", e.View, e.StoppedAt, e.Partition, e.Reason)
}

// Cursor is a place in a list that is ordered by the log, newest first: what
// comes next is older than it. The zero Cursor is before the newest. An account
// is in one partition, so of its lists only Seq tells places apart.
type Cursor struct {
	Partition uint16
	Seq       uint64
}

// DecisionFilter says which decisions are wanted. Account has to be given; the
// zero value of any other field is no limit. All that are given must hold.
type DecisionFilter struct {
	Account         domain.AccountID
	Agent           domain.AgentID
	Outcome         domain.Outcome
	ReasonCode      domain.ReasonCode
	Action          domain.Action
	Vendor          string
	Resource        string
	PermissionID    domain.PermissionID
	ApprovalID      domain.ApprovalID
	Risk            domain.Risk
	PassportVersion uint64
	Currency        domain.Currency
	// AmountMin and AmountMax, both inclusive, are in minor units. They mean
	// something only together with a Currency; a decision without an amount
	// matches neither.
	AmountMin, AmountMax *int64
	// Since is inclusive, Until is not. Times are kept to the microsecond.
	Since, Until time.Time
	// Text is part of the reason. ASCII letters match in either case.
	Text string
}

// UsageFilter says which usage is wanted. Account has to be given. Since and
// Until are days (UTC), Since inclusive, Until not.
type UsageFilter struct {
	Account      domain.AccountID
	Agent        domain.AgentID
	Outcome      domain.Outcome
	Currency     domain.Currency
	Since, Until time.Time
}

// UsageCursor is the last of a page of usage, and the zero value is before the
// first one.
type UsageCursor struct {
	Day      time.Time
	Agent    domain.AgentID
	Outcome  domain.Outcome
	Currency domain.Currency
}

// ApprovalFilter says which approvals are wanted. Account has to be given.
type ApprovalFilter struct {
	Account      domain.AccountID
	Agent        domain.AgentID
	PermissionID domain.PermissionID
	// State is the one at Now, by the clock: one whose time is over has expired,
	// whether or not that was recorded.
	State domain.ApprovalState
	Now   time.Time
}

// Total is how many decisions had an outcome, and what they asked for in one
// currency, which is empty for those without an amount.
type Total struct {
	Outcome  domain.Outcome
	Currency domain.Currency
	Count    int64
	// Amount is in full scale, and empty where Currency is.
	Amount domain.Decimal
}

// Usage is a Total of one agent and one day.
type Usage struct {
	Agent domain.AgentID
	// Day is midnight UTC.
	Day time.Time
	Total
}
