package projections

import (
	"fmt"
	"math/big"
	"strings"
	"time"

	"github.com/behalf-platform/behalf/domain"
)

// counts are what was used of the limits of a permission, an agent or an account.
type counts []*count

// count is what was used of one limit in its present window. What was used in an
// earlier one can't matter any more: time does not run back, and a settlement
// only gives back.
type count struct {
	currency domain.Currency // empty for a number of allows
	per      domain.Period
	zone     string
	// since is the sequence of the event that began the count. Terms that took
	// the place of others went on with it.
	since uint64

	most   *big.Int
	where  *time.Location
	window window
	used   *big.Int
}

// set puts limits in the place of others: a limit of the same kind goes on
// counting, any other begins.
func (c *counts) set(r *domain.Recorded, limits *domain.Limits) error {
	var next counts
	add := func(currency domain.Currency, per domain.Period, zone string, most *big.Int) error {
		where, err := time.LoadLocation(zone)
		if err != nil {
			return broken(r, promiseReadable, "%v", err)
		}
		n := &count{currency: currency, per: per, zone: zone, since: r.Position.Seq, used: new(big.Int)}
		for _, old := range *c {
			if old.currency == currency && old.per == per && old.zone == zone {
				n = old
			}
		}
		n.most, n.where = most, where
		next = append(next, n)
		return nil
	}
	for _, l := range limits.Rates {
		if err := add("", l.Per, l.TimeZone, big.NewInt(l.Count)); err != nil {
			return err
		}
	}
	for _, l := range limits.Budgets {
		most, err := parseUnits(l.Amount)
		if err != nil {
			return broken(r, promiseReadable, "%v", err)
		}
		if err := add(l.Currency, l.Per, l.TimeZone, most); err != nil {
			return err
		}
	}
	*c = next
	return nil
}

// spend counts one allow.
func (c counts) spend(r *domain.Recorded, p price) error {
	priced, matched := false, false
	for _, n := range c {
		by := big.NewInt(1)
		if n.currency != "" {
			priced = true
			if p.units == nil || p.currency != n.currency {
				continue
			}
			matched, by = true, p.units
		}
		if w := windowAt(r.At, n.per, n.where); w != n.window {
			n.window, n.used = w, new(big.Int)
		}
		if n.used.Add(n.used, by).Cmp(n.most) > 0 {
			return broken(r, promiseWindow, "%s are used of %s per %s", showUnits(n.used, n.currency), showUnits(n.most, n.currency), n.per)
		}
	}
	if priced && !matched {
		return broken(r, promiseCounted, "there are budgets, and none counts its amount of %q %s", showUnits(p.units, p.currency), p.currency)
	}
	return nil
}

// giveBack takes off what an allow reserved and did not spend, where it counts.
func (c counts) giveBack(back *big.Int, currency domain.Currency, at time.Time, seq uint64) {
	for _, n := range c {
		if n.currency == currency && n.currency != "" && n.since < seq && windowAt(at, n.per, n.where) == n.window {
			n.used.Sub(n.used, back)
		}
	}
}

// price is an amount, or none if units is nil.
type price struct {
	units    *big.Int
	currency domain.Currency // empty if there is no amount
}

func parsePrice(d domain.Decimal, c domain.Currency) (price, error) {
	if d == "" {
		return price{}, nil
	}
	units, err := parseUnits(d)
	return price{units, c}, err
}

// unitDigits is how many digits of a fraction are kept: no currency has more.
const unitDigits = 4

// parseUnits reads a decimal in parts of which 10^unitDigits are one.
func parseUnits(d domain.Decimal) (*big.Int, error) {
	whole, fraction, _ := strings.Cut(string(d), ".")
	if len(fraction) <= unitDigits {
		n, ok := new(big.Int).SetString(whole+fraction+strings.Repeat("0", unitDigits-len(fraction)), 10)
		if ok && n.Sign() >= 0 {
			return n, nil
		}
	}
	return nil, fmt.Errorf("%q is not an amount", d)
}

func showUnits(n *big.Int, c domain.Currency) string {
	switch {
	case n == nil:
		return "nothing"
	case c == "":
		return n.String()
	}
	return new(big.Rat).SetFrac(n, big.NewInt(10_000)).FloatString(unitDigits)
}

// window is what tells a calendar's windows apart. It is all zero for a total.
type window struct {
	year, month, day     int
	hour, minute, offset int
}

// windowAt is the window of a moment: the numbers that a clock on the wall shows,
// cut off at the period. For short periods the offset from UTC is one of them,
// which tells apart the two hours of a clock that is set back.
func windowAt(at time.Time, per domain.Period, zone *time.Location) (w window) {
	local := at.In(zone)
	date := dateOf(local)
	switch per {
	case domain.InTotal:
		return window{}
	case domain.PerMinute, domain.PerHour:
		w.hour = local.Hour()
		_, w.offset = local.Zone()
		if per == domain.PerMinute {
			w.minute = local.Minute()
		}
	case domain.PerDay, domain.PerWeek, domain.PerMonth:
		// A date that was shown once has begun, even if the clock was then set
		// back to the one before.
		if set, _ := local.ZoneBounds(); !set.IsZero() && !set.After(at) {
			if shown := dateOf(set.Add(-time.Nanosecond).In(zone)); shown.After(date) {
				date = shown
			}
		}
		if per == domain.PerWeek {
			date = date.AddDate(0, 0, -int(date.Weekday()+6)%7)
		}
	}
	var month time.Month
	if w.year, month, w.day = date.Date(); per == domain.PerMonth {
		w.day = 1
	}
	w.month = int(month)
	return w
}

func dateOf(t time.Time) time.Time {
	year, month, day := t.Date()
	return time.Date(year, month, day, 0, 0, 0, 0, time.UTC)
}
