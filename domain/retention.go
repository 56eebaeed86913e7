package domain

import (
	"slices"
	"time"
)

// Bounds of how long decisions may be kept, if not for ever.
const (
	LeastRetention = Duration(24 * time.Hour)
	MostRetention  = Duration(10 * 365 * 24 * time.Hour)
)

// RetentionMargin is how much longer than the setting the log keeps a decision.
// It is more than clocks may be apart, and than a node may lag that still decides
// by an earlier setting, so that the log never loses what is to be there.
const RetentionMargin = time.Minute

// Retention is for how long an account keeps its decisions. Each is written to
// go after the time that is set then, which no later setting can change; so what
// was set before matters too. The zero Retention keeps all for ever.
type Retention struct {
	// terms is in the order of time, the last one is what is set now. It is never
	// written to.
	terms []retentionTerm
}

type retentionTerm struct {
	since time.Time
	keep  Duration
}

// Now is what is set now, 0 for ever.
func (k Retention) Now() Duration {
	if len(k.terms) == 0 {
		return 0
	}
	return k.terms[len(k.terms)-1].keep
}

// Keep is how long the log is to keep a record that is made now: what
// [Record.Keep] is of a decision that moves nothing.
func (k Retention) Keep() time.Duration {
	if now := k.Now(); now > 0 {
		return time.Duration(now) + RetentionMargin
	}
	return 0
}

// Start is the time from which on an account's decisions are whole at a moment:
// what is older has gone, or is to go. It is the zero Time if nothing ever goes.
func (k Retention) Start(now time.Time) time.Time {
	var start time.Time
	for i, term := range k.terms {
		if term.keep == 0 {
			continue
		}
		gone := now.Add(-time.Duration(term.keep))
		if i < len(k.terms)-1 {
			// Only what was written under it goes by it.
			if !gone.After(term.since) {
				continue
			}
			gone = earlier(gone, k.terms[i+1].since.Add(RetentionMargin))
		}
		start = Later(start, gone)
	}
	return start
}

func (k Retention) change(at time.Time, keep Duration) Retention {
	if keep == k.Now() {
		return k
	}
	return Retention{terms: append(slices.Clip(k.terms), retentionTerm{since: at, keep: keep})}
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func checkRetention(keep Duration) error {
	if keep != 0 && (keep < LeastRetention || keep > MostRetention || time.Duration(keep)%time.Hour != 0) {
		return RejectField(Invalid, "/decisionRetention", "is %s; use %s to %s, in whole hours, or 0s to keep decisions for ever", keep, LeastRetention, MostRetention)
	}
	return nil
}
