package domain

import (
	"errors"
	"fmt"
	"time"
)

// ErrMoved says that an append was refused, and nothing written, because its
// stream has newer events than the writer had folded, or because another append
// to it is in flight. The writer folds up to date and decides again.
var ErrMoved = errors.New("the stream has moved")

// ErrUnknownKind says that the log holds a kind of event this program does not
// know. A fold that authorizes stops there: it must not skip what it can't read.
var ErrUnknownKind = errors.New("unknown kind of event")

// ErrNotRecorded says that a position holds no event.
var ErrNotRecorded = errors.New("no event at this position")

// Unreadable is an event of a stream that can't be decoded.
type Unreadable struct {
	Stream   Stream
	Position Position
	Err      error
}

func (e *Unreadable) Error() string {
	return fmt.Sprintf("event %d of %s: %v", e.Position.Seq, e.Stream, e.Err)
}

func (e *Unreadable) Unwrap() error { return e.Err }

// Receipt is the log's word that a record is stored.
type Receipt struct {
	Position Position
	// Duplicate says that an earlier append with the same dedupe id holds the
	// place; Position is that one's, and the record of this append was dropped.
	Duplicate bool
}

// LogStatus is where one partition of the log stands.
type LogStatus struct {
	// Head is the sequence of its newest record, whatever its kind.
	Head uint64
	// Followed reports that the follower of this process has been handed
	// everything it follows up to Head.
	Followed bool
	// Clock is the log's own time. It was read between Asked and Answered by
	// this node's clock, which it is compared with.
	Clock           time.Time
	Asked, Answered time.Time
}

// Scan says which records to read.
type Scan struct {
	Partition uint16
	// Only chooses by what records are for. If it is empty, Account narrows the
	// scan to one account's decisions, Agent further to one agent's, and with no
	// account it is every record of the partition of any kind.
	Only    Only
	Account AccountID
	Agent   AgentID
	// From and Through bound the sequences, both inclusive; 0 is no bound.
	From, Through uint64
	// Most ends it after so many records, and no more are fetched than that takes;
	// 0 is no bound.
	Most int
	// Live goes on with new records as they are stored.
	Live bool
}

// Only is a choice of records. Each is narrowed by an account, or is of all, and
// by the id of an agent, with or without an account.
type Only string

const (
	// OnlyAgents has every record of agents.
	OnlyAgents Only = "agents"
	// OnlyPassports has those that move an agent's stream: no decision that is
	// only recorded.
	OnlyPassports Only = "passports"
	// OnlyAccounts has accounts' own events and those of what their agents spend
	// together. An agent doesn't narrow it, as it doesn't the next.
	OnlyAccounts Only = "accounts"
	// OnlyBudgets has those of what accounts' agents spend together.
	OnlyBudgets Only = "budgets"
)
