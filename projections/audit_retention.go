package projections

import (
	"fmt"
	"time"

	"github.com/behalf-platform/behalf/domain"
)

// retentions are the times after which decisions of a partition's accounts could
// be let go of, by how long they are kept. What a node decides by may be a little
// old, so each counts for a while longer than it was set.
type retentions map[time.Duration]*retention

type retention struct {
	accounts int       // that have it set now
	until    time.Time // when the last one changed it that did, by the log's clock
}

// set takes what an account says of how long decisions are kept.
func (k *retentions) set(before, now domain.Duration, at time.Time) {
	if before == now {
		return
	}
	if *k == nil {
		*k = retentions{}
	}
	if before > 0 {
		old := k.of(before)
		old.accounts--
		old.until = at
	}
	if now > 0 {
		k.of(now).accounts++
	}
}

func (k retentions) of(keep domain.Duration) *retention {
	d := time.Duration(keep)
	if k[d] == nil {
		k[d] = &retention{}
	}
	return k[d]
}

// holds reports whether a node may have decided by it at a moment.
func (k *retention) holds(at time.Time) bool {
	return k.accounts > 0 || !at.After(k.until.Add(domain.RetentionMargin))
}

// couldGo reports whether a decision that was written after a moment can have
// gone by another.
func (k retentions) couldGo(after, now time.Time) bool {
	for keep, r := range k {
		if r.holds(after) && !after.Add(keep+domain.RetentionMargin).After(now) {
			return true
		}
	}
	return false
}

// Mark is where a partition was known to reach at a time of the log's clock: what
// has a higher sequence was stored after it, but for [Audit.MostSkew].
type Mark struct {
	Seq uint64    `json:"seq"`
	At  time.Time `json:"at"`
}

// Hole is a run of missing records of which it can't be shown that all of them
// could have expired: those at its beginning could, and those at its end are too
// young for it, if there were any.
type Hole struct {
	First, Last uint64
}

// gap takes that the records before one are missing that is at seq, and was
// stored at a time. They were written after the one that was read last, and
// before this one; marks in between say more. Only decisions that change nothing
// ever go, and only when their time is over; what moves a stream and is missing
// shows by what stands on it.
func (a *Audit) gap(seq uint64, at time.Time) error {
	if seq == a.next {
		return nil
	}
	missing := func(format string, args ...any) error {
		return &AuditFault{Seq: a.next, Promise: promiseWhole, Detail: fmt.Sprintf(format, args...)}
	}
	switch {
	case seq < a.next:
		return missing("the next record there is has sequence %d", seq)
	case a.due != nil:
		return missing("%s has to follow, and the next record there is has sequence %d", a.due, seq)
	case a.Clock == nil:
		return missing("the next record there is has sequence %d, and no decision in between can have expired", seq)
	}
	now := a.Clock().Add(a.MostSkew)
	for a.next < seq {
		last, before := a.upTo(seq-1, at)
		if !a.retentions.couldGo(a.newest, now) {
			return missing("the next record there is has sequence %d, and no decision in between can have expired", seq)
		}
		if !a.retentions.couldGo(before, now) {
			a.unproven(a.next, last)
		}
		a.Expired += last + 1 - a.next
		a.next = last + 1
	}
	return nil
}

// upTo is the end of what is missing from next on and lies between the same two
// marks, and the time it was stored before. What is known of the time it was
// stored after becomes newest.
func (a *Audit) upTo(last uint64, before time.Time) (uint64, time.Time) {
	for ; len(a.Marks) > 0 && a.Marks[0].Seq < a.next; a.Marks = a.Marks[1:] {
		a.newest = domain.Later(a.newest, a.Marks[0].At.Add(-a.MostSkew))
	}
	if len(a.Marks) > 0 && a.Marks[0].Seq <= last {
		last = a.Marks[0].Seq
	}
	if len(a.Marks) > 0 {
		if at := a.Marks[0].At.Add(a.MostSkew); at.Before(before) {
			before = at
		}
	}
	return last, domain.Later(before, a.newest)
}

// unproven takes that what is missing could have expired at its beginning only.
func (a *Audit) unproven(first, last uint64) {
	a.Unproven += last + 1 - first
	if n := len(a.Holes); n > 0 && a.Holes[n-1].Last+1 == first {
		a.Holes[n-1].Last = last
		return
	}
	if len(a.Holes) < mostHoles {
		a.Holes = append(a.Holes, Hole{First: first, Last: last})
	}
}

// mostHoles is how many holes an audit names.
const mostHoles = 16

// kept checks how long the log was told to keep a record: no less than the
// account had set.
func (a *Audit) kept(r *domain.Recorded, moves bool) error {
	if r.Keep == 0 {
		return nil
	}
	if moves {
		return broken(r, promiseKept, "it changes what comes next, and goes after %s", r.Keep)
	}
	if k := a.accountOf(r.Account).retentions[r.Keep-domain.RetentionMargin]; k == nil || !k.holds(r.LoggedAt) {
		return broken(r, promiseKept, "it goes after %s, which the account had not set", r.Keep)
	}
	return nil
}

// retain takes an event of an account.
func (a *Audit) retain(account *auditedAccount, r *domain.Recorded) {
	e, ok := r.Event.(domain.AccountSettingsChanged)
	if !ok {
		return
	}
	account.retentions.set(account.retention, e.DecisionRetention, r.LoggedAt)
	a.retentions.set(account.retention, e.DecisionRetention, r.LoggedAt)
	account.retention = e.DecisionRetention
}
