package domain

import (
	"math"
	"time"
)

// Period is the calendar window a limit counts in.
type Period string

// Every period there is. InTotal never begins again.
const (
	PerMinute Period = "minute"
	PerHour   Period = "hour"
	PerDay    Period = "day"
	PerWeek   Period = "week"
	PerMonth  Period = "month"
	InTotal   Period = "total"
)

func (p Period) valid() bool {
	switch p {
	case PerMinute, PerHour, PerDay, PerWeek, PerMonth, InTotal:
		return true
	}
	return false
}

// window is the stretch of time that holds t: from from up to but not including
// until, by the wall clock of the zone. The windows of a period meet and never
// overlap. InTotal has the zero from and the zero until, which never ends; so
// has a period that is none, for no limit is stricter.
//
// A day begins when the clock first shows its date, and so does a week, on
// Monday, and a month, on the 1st. An hour that comes twice is two windows.
func (p Period) window(t time.Time, zone *time.Location) (from, until time.Time) {
	now := t.Unix()
	s := stretchAt(now, zone)
	var begin, end int64
	switch p {
	case PerMinute:
		begin, end = s.clip(now, 60, zone)
	case PerHour:
		begin, end = s.clip(now, 60*60, zone)
	case PerDay, PerWeek, PerMonth:
		begin, end = p.dates(now, s, zone)
	case InTotal:
		return time.Time{}, time.Time{}
	default:
		return time.Time{}, time.Time{}
	}
	return time.Unix(begin, 0).UTC(), time.Unix(end, 0).UTC()
}

const daySeconds = 24 * 60 * 60

// dates is the window of a day, week or month. Dates are told as the second
// their midnight would be at in UTC.
func (p Period) dates(now int64, s stretch, zone *time.Location) (begin, end int64) {
	local := now + s.offset
	date := local - mod(local, daySeconds)
	switch p {
	case PerWeek:
		const monday = 4 * daySeconds // 1970-01-05
		date -= mod(date-monday, 7*daySeconds)
	case PerMonth:
		_, _, day := time.Unix(date, 0).UTC().Date()
		date -= int64(day-1) * daySeconds
	}
	// The clock shows the date, so it has begun. The next one may have begun as
	// well, if the clock was set back over midnight, and a date that was skipped
	// begins and ends at once.
	if before := date - daySeconds; before < s.from {
		s = stretchAt(before, zone)
	}
	begin, s = s.reach(date, zone)
	for {
		date = p.next(date)
		end, s = s.reach(date, zone)
		if now < end {
			return begin, end
		}
		begin = end
	}
}

// next is the date the window after that of date begins on.
func (p Period) next(date int64) int64 {
	switch p {
	case PerWeek:
		return date + 7*daySeconds
	case PerMonth:
		year, month, _ := time.Unix(date, 0).UTC().Date()
		return time.Date(year, month+1, 1, 0, 0, 0, 0, time.UTC).Unix()
	}
	return date + daySeconds
}

// stretch is a time in which a zone keeps its offset, in Unix seconds. The one
// next to it may have the same offset.
type stretch struct {
	offset      int64
	from, until int64
}

func stretchAt(second int64, zone *time.Location) stretch {
	t := time.Unix(second, 0).In(zone)
	_, offset := t.Zone()
	s := stretch{offset: int64(offset), from: math.MinInt64, until: math.MaxInt64}
	from, until := t.ZoneBounds()
	if !from.IsZero() {
		s.from = from.Unix()
	}
	if !until.IsZero() {
		s.until = until.Unix()
	}
	// Where a zone goes by a rule, package time ends leap years a day early.
	for s.until <= second {
		s.until += daySeconds
	}
	return s
}

// reach is the first second at which the clock shows the date or a later one,
// and the stretch it is in. It starts from s, in which or after which the date
// must begin: no zone is a whole day ahead of UTC.
func (s stretch) reach(date int64, zone *time.Location) (int64, stretch) {
	for date-s.offset >= s.until {
		s = stretchAt(s.until, zone)
	}
	return max(date-s.offset, s.from), s // s.from if midnight was skipped
}

// clip is the block of so many seconds on the clock that now is in, as far as
// the offset stays what it is.
func (s stretch) clip(now, size int64, zone *time.Location) (begin, end int64) {
	begin = now - mod(now+s.offset, size)
	end = begin + size
	for begin < s.from {
		before := stretchAt(s.from-1, zone)
		if before.offset != s.offset {
			begin = s.from
			break
		}
		s.from = before.from
	}
	for s.until < end {
		after := stretchAt(s.until, zone)
		if after.offset != s.offset {
			end = s.until
			break
		}
		s.until = after.until
	}
	return begin, end
}

// mod is what is left of n, and never negative.
func mod(n, size int64) int64 {
	return (n%size + size) % size
}
