package delivery

import "time"

// Outcomes of an attempt, as they are kept.
const (
	OutcomeOK     = "ok"
	OutcomeFailed = "failed"
	OutcomeDead   = "dead" // and the message is not tried again
)

// class is what a result says, and about whom.
type class int

const (
	delivered class = iota
	// refused is about the message: put it aside and go on.
	refused
	// down is about the endpoint: hold what is there.
	down
	// throttled and unready are a wish to wait, theirs or ours.
	throttled
	unready
	// unwanted is a message, and gone an endpoint, that is not to come again.
	unwanted
	gone
	// blocked is an address that nothing may be sent to.
	blocked
	// expired is a message that is not there any more.
	expired
)

// classify says what a result is about. A redirect is never followed, so it is
// an endpoint that is not where it should be.
func classify(r Result) class {
	switch r.Category {
	case Answered:
	case Gone:
		return gone
	case Aborted:
		return unwanted
	case Blocked:
		return blocked
	case Unready:
		return unready
	case Expired:
		return expired
	case DNS, Connect, TLS, Timeout, Broken, Skipped:
		return down
	default:
		return down
	}
	switch {
	case 200 <= r.Status && r.Status < 300:
		return delivered
	case r.Status == 429, r.Status == 503 && r.RetryAfter > 0:
		return throttled
	case r.Status == 410:
		return gone
	case 400 <= r.Status && r.Status < 500, r.Status == 500, r.Status == 501, r.Status > 504:
		return refused
	}
	return down
}

// settle takes what became of an item that was sent, and says how it came out.
func (l *lane) settle(it *item, r Result, now time.Time) string {
	probed := l.probe == it
	l.recall(it)
	it.tries++
	l.last = r
	l.last.Answer = nil
	outcome := OutcomeFailed
	switch classify(r) {
	case delivered:
		l.totals.Delivered++
		l.well(it, now, r)
		l.leave(it)
		return OutcomeOK
	case unwanted: // it is there, and has read it
		l.totals.Refused++
		l.well(it, now, r)
		l.leave(it)
	case expired:
		l.die(it, r, now)
		outcome = OutcomeDead
	case throttled, unready:
		l.pause(r, now)
	case gone:
		l.failing(r, now)
		l.stop(r, now)
	case blocked:
		l.blocked++
		l.down(it, probed, r, now)
		if l.blocked >= l.rules.BlockedAfter {
			l.stop(r, now)
		}
	case down:
		outcome = l.down(it, probed, r, now)
	case refused:
		outcome = l.refuse(it, probed, r, now)
	}
	l.totals.Failed++
	if len(l.queue) == 0 && len(l.parked) == 0 { // nothing is kept waiting
		l.since, l.warned = time.Time{}, 0
	}
	return outcome
}

// well is the endpoint having taken a message.
func (l *lane) well(it *item, now time.Time, r Result) {
	if it.tries == 1 {
		l.sample.add(false)
	}
	if l.warned > 0 {
		l.report(Report{Kind: Recovered, Since: l.since}, r, now)
	}
	l.allowed = min(l.allowed+1, l.most)
	if l.held {
		l.allowed = 1 // go easy on who has just come back
		l.sample.clear()
	}
	l.held, l.probe, l.pauses = false, nil, 0
	l.strikes, l.blocked, l.throttles = 0, 0, 0
	l.since, l.warned = time.Time{}, 0
}

// pause leaves the endpoint alone, for at least as long as it asked.
func (l *lane) pause(r Result, now time.Time) {
	if !now.Before(l.pausedUntil) { // not the answer to another one of the same time
		l.throttles++
		l.allowed = max(1, l.allowed/2)
	}
	pause := min(max(r.RetryAfter, l.doubled(l.throttles)), l.rules.LongestRetryAfter)
	if until := now.Add(pause); until.After(l.pausedUntil) {
		l.pausedUntil = until
	}
}

// down is an attempt that failed by the endpoint, or so it seems. A message that
// alone fails in this way is put aside.
func (l *lane) down(it *item, probed bool, r Result, now time.Time) string {
	l.failing(r, now)
	switch {
	case l.held && probed:
		l.holdLonger(now)
		return OutcomeFailed
	case l.held:
		return OutcomeFailed
	}
	l.strikes++
	it.downs++
	it.due = now.Add(l.doubled(it.downs))
	if l.strikes >= l.rules.Strikes {
		l.hold(now, it.downs)
		return OutcomeFailed
	}
	if it.downs >= l.rules.Strikes && l.ordering != Strict {
		it.downs = 0
		return l.park(it, r, now)
	}
	return OutcomeFailed
}

// refuse is an attempt that failed by the message, or so it seems. When too many
// do, it is the endpoint.
func (l *lane) refuse(it *item, probed bool, r Result, now time.Time) string {
	if it.tries == 1 && !it.parked {
		l.sample.add(true)
		l.strikes++
	}
	switch {
	case l.held && !probed:
		it.due = now.Add(l.doubled(1))
		return OutcomeFailed
	case l.ordering == Strict:
		l.failing(r, now)
	case l.held:
		l.failing(r, now)
		l.holdLonger(now)
	case !it.parked && (l.strikes >= l.rules.Strikes || float64(l.sample.refused) > l.rules.Guard*float64(l.sample.size)):
		l.failing(r, now)
		l.hold(now, 1)
		return OutcomeFailed
	}
	return l.park(it, r, now)
}

// park puts a message aside until it is due again, and with it those that must
// not pass it. In strict order nothing is put aside: all wait.
func (l *lane) park(it *item, r Result, now time.Time) string {
	if it.refusals >= len(l.schedule) {
		l.die(it, r, now)
		return OutcomeDead
	}
	it.due = now.Add(l.shaken(l.schedule[it.refusals]))
	switch {
	case l.ordering == Strict:
		if l.held {
			l.held, l.pauses, l.strikes = false, 0, 0 // it answers
		}
	case it.parked:
	case !l.putAside(it): // no room: the lane waits until there is
		it.due = now.Add(l.shaken(l.rules.LongestPause))
		return OutcomeFailed
	}
	it.refusals++
	if it.line != nil && it.parked {
		for _, later := range it.line.items[1:] {
			if !later.parked && !l.putAside(later) {
				break
			}
		}
	}
	return OutcomeFailed
}

// die gives a message up.
func (l *lane) die(it *item, r Result, now time.Time) {
	l.totals.Dead++
	l.report(Report{Kind: Exhausted, Message: it.id}, r, now)
	l.leave(it)
}

// hold stops sending but for one message now and then.
func (l *lane) hold(now time.Time, pauses int) {
	l.held, l.probe, l.pauses = true, nil, pauses-1
	l.holdLonger(now)
}

func (l *lane) holdLonger(now time.Time) {
	l.pauses++
	l.probeAt = now.Add(l.doubled(l.pauses))
}

// failing notes that nothing gets through. Who doesn't come back for days is
// disabled, and was warned.
func (l *lane) failing(r Result, now time.Time) {
	if l.since.IsZero() {
		l.since = now
	}
	age := now.Sub(l.since)
	if age >= l.rules.DisableAfter {
		l.stop(r, now)
		return
	}
	due := l.warned
	for due < len(l.rules.Warnings) && age >= l.rules.Warnings[due] {
		due++
	}
	if due > l.warned {
		l.warned = due
		l.report(Report{Kind: Failing, Since: l.since}, r, now)
	}
}

// stop sends no more. The endpoint is to be disabled.
func (l *lane) stop(r Result, now time.Time) {
	if !l.stopped {
		l.stopped = true
		l.report(Report{Kind: Disable, Since: l.since}, r, now)
	}
}

func (l *lane) report(rep Report, r Result, now time.Time) {
	rep.At, rep.Why, rep.Status = now, r.Category, r.Status
	l.reports = append(l.reports, rep)
}

// takeReports returns what has to be reported, once.
func (l *lane) takeReports() []Report {
	reports := l.reports
	l.reports = nil
	return reports
}

// doubled is the n-th pause of a series that doubles.
func (l *lane) doubled(n int) time.Duration {
	d := l.rules.FirstPause
	for range n - 1 {
		if d = 2 * d; d >= l.rules.LongestPause {
			break
		}
	}
	return l.shaken(min(d, l.rules.LongestPause))
}

func (l *lane) shaken(d time.Duration) time.Duration {
	return time.Duration(float64(d) * l.jitter())
}
