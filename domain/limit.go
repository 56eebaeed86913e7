package domain

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// Limits bound what is allowed over time: money by Budgets, the number of
// allows by Rates. All of them hold at once.
type Limits struct {
	Budgets []Budget `json:"budgets,omitzero"`
	Rates   []Rate   `json:"rates,omitzero"`
}

// Budget is the most that may be spent in each window of a calendar.
type Budget struct {
	Amount   Decimal  `json:"amount"`
	Currency Currency `json:"currency"`
	// Per is hour, day, week, month or total.
	Per Period `json:"per"`
	// TimeZone is the IANA name of the zone whose calendar counts. It is the
	// account's when the limit was set, unless the limit names one. A total has
	// none.
	TimeZone string `json:"timeZone,omitempty"`
}

// Rate is the most allows in each window of a calendar.
type Rate struct {
	Count int64 `json:"count"`
	// Per is minute, hour, day or total.
	Per      Period `json:"per"`
	TimeZone string `json:"timeZone,omitempty"`
}

// mostLimits bounds each list of limits.
const mostLimits = 32

// Accept checks limits as whoever sets them wrote them, and fills in what they
// leave to the account. It returns them in the form they are kept in.
func (l Limits) Accept(currency Currency, zone string) (Limits, error) {
	l.Budgets, l.Rates = slices.Clone(l.Budgets), slices.Clone(l.Rates)
	for i := range l.Budgets {
		b := &l.Budgets[i]
		if b.Currency == "" {
			b.Currency = currency
		}
		if b.TimeZone == "" && b.Per != InTotal {
			b.TimeZone = zone
		}
	}
	for i := range l.Rates {
		if r := &l.Rates[i]; r.TimeZone == "" && r.Per != InTotal {
			r.TimeZone = zone
		}
	}
	limits, err := l.compile()
	if err != nil {
		return Limits{}, err
	}
	for i := range l.Budgets {
		l.Budgets[i].Amount = Decimal(Money{limits[len(l.Rates)+i].most, l.Budgets[i].Currency}.String())
	}
	return l, nil
}

// limit is a budget or a rate made ready to count.
type limit struct {
	limitKey
	most int64 // minor units, or allows
	zone *time.Location
}

// limitKey is what makes two limits count the same thing. Terms that replace
// others go on counting where those stood.
type limitKey struct {
	currency Currency // empty for a rate
	per      Period
	timeZone string
}

// compile makes limits ready, the rates first: they are looked at first.
func (l *Limits) compile() ([]limit, error) {
	if l.Budgets != nil && len(l.Budgets) == 0 {
		return nil, RejectField(Invalid, "/budgets", "is an empty list; leave it out for no budget")
	}
	if l.Rates != nil && len(l.Rates) == 0 {
		return nil, RejectField(Invalid, "/rates", "is an empty list; leave it out for no rate")
	}
	if n := len(l.Budgets); n > mostLimits {
		return nil, RejectField(Invalid, "/budgets", "has %d entries; at most %d are taken", n, mostLimits)
	}
	if n := len(l.Rates); n > mostLimits {
		return nil, RejectField(Invalid, "/rates", "has %d entries; at most %d are taken", n, mostLimits)
	}
	if len(l.Budgets)+len(l.Rates) == 0 {
		return nil, nil
	}
	limits := make([]limit, 0, len(l.Rates)+len(l.Budgets))
	for i, r := range l.Rates {
		c, err := r.compile()
		if err == nil && hasKey(limits, c.limitKey) {
			err = fmt.Errorf("counts per %s in the same zone as an earlier one", r.Per)
		}
		if err != nil {
			return nil, RejectField(Invalid, pointer("rates", i), "%v", err)
		}
		limits = append(limits, c)
	}
	for i, b := range l.Budgets {
		c, err := b.compile()
		if err == nil && hasKey(limits, c.limitKey) {
			err = fmt.Errorf("counts %s per %s in the same zone as an earlier one", b.Currency, b.Per)
		}
		if err != nil {
			return nil, RejectField(Invalid, pointer("budgets", i), "%v", err)
		}
		limits = append(limits, c)
	}
	return limits, nil
}

func hasKey(limits []limit, k limitKey) bool {
	return slices.ContainsFunc(limits, func(l limit) bool { return l.limitKey == k })
}

func (b Budget) compile() (limit, error) {
	if _, err := ParseCurrency(string(b.Currency)); err != nil {
		return limit{}, err
	}
	if b.Amount == "" {
		return limit{}, fmt.Errorf("has no amount")
	}
	m, err := ParseMoney(string(b.Amount), b.Currency)
	if err != nil {
		return limit{}, err
	}
	if m.Minor == 0 {
		return limit{}, fmt.Errorf("is nothing at all; block the action, or grant no permission for it")
	}
	switch b.Per {
	case PerHour, PerDay, PerWeek, PerMonth, InTotal:
	default:
		return limit{}, fmt.Errorf("per %s is not a period of a budget; use hour, day, week, month or total", quote(string(b.Per)))
	}
	l := limit{limitKey: limitKey{currency: b.Currency, per: b.Per, timeZone: b.TimeZone}, most: m.Minor}
	l.zone, err = zoneOf(b.Per, b.TimeZone)
	return l, err
}

func (r Rate) compile() (limit, error) {
	switch r.Per {
	case PerMinute, PerHour, PerDay, InTotal:
	default:
		return limit{}, fmt.Errorf("per %s is not a period of a rate; use minute, hour, day or total", quote(string(r.Per)))
	}
	if r.Count < 1 || r.Count > math.MaxInt32 {
		return limit{}, fmt.Errorf("has the count %d; use 1 to %d", r.Count, math.MaxInt32)
	}
	l := limit{limitKey: limitKey{per: r.Per, timeZone: r.TimeZone}, most: r.Count}
	var err error
	l.zone, err = zoneOf(r.Per, r.TimeZone)
	return l, err
}

func zoneOf(p Period, name string) (*time.Location, error) {
	if p == InTotal {
		if name != "" {
			return nil, fmt.Errorf("has a time zone, and a total has no calendar")
		}
		return time.UTC, nil
	}
	return loadZone(name)
}

// money reports whether the limit is one of money.
func (k limitKey) money() bool { return k.currency != "" }

// counter is how much of one limit is used in the window that was last counted
// in. Windows only follow one another: a moment before the counter's window
// counts in it, so that no two nodes' ideas of the time make two of one window.
type counter struct {
	limitKey
	from, until time.Time // until is zero for a total
	used        int64
	// since is the sequence of the event the counter began with.
	since uint64
}

// at is the counter as it stands at a moment.
func (c counter) at(l limit, now time.Time) counter {
	if c.since != 0 && (c.until.IsZero() || now.Before(c.until)) {
		return c
	}
	from, until := l.per.window(now, l.zone)
	if from.Before(c.until) {
		from = c.until
	}
	return counter{limitKey: l.limitKey, from: from, until: until, since: c.since}
}

// tally is what was used of a set of limits: a permission's, an agent's, or an
// account's. It is never written to once it can be seen by others.
type tally []counter

func (t tally) find(k limitKey) (c counter, i int) {
	for i, c := range t {
		if c.limitKey == k {
			return c, i
		}
	}
	return counter{limitKey: k}, -1
}

// charge is the tally with one allow counted, of an amount when it has one.
func (t tally) charge(limits []limit, amount Money, at time.Time, seq uint64) tally {
	if len(limits) == 0 {
		return t
	}
	next := make(tally, 0, len(limits))
	for _, l := range limits {
		c, _ := t.find(l.limitKey)
		switch n := int64(1); {
		case l.money() && l.currency != amount.Currency:
			if c.since != 0 { // as it was
				next = append(next, c)
			}
		default:
			if l.money() {
				n = amount.Minor
			}
			c = c.at(l, at)
			c.used = addUp(c.used, n)
			if c.since == 0 {
				c.since = seq
			}
			next = append(next, c)
		}
	}
	return next
}

// release is the tally with part of an earlier allow given back: to the windows
// it was counted in, as far as they are not over.
func (t tally) release(back Money, at time.Time, seq uint64) tally {
	next := slices.Clone(t)
	for i := range next {
		c := &next[i]
		if c.currency == back.Currency && c.money() && c.since <= seq && !at.Before(c.from) && (c.until.IsZero() || at.Before(c.until)) {
			c.used = max(c.used-back.Minor, 0)
		}
	}
	return next
}

// carry is the tally for limits that take the place of others.
func (t tally) carry(limits []limit) tally {
	var next tally
	for _, l := range limits {
		if c, i := t.find(l.limitKey); i >= 0 {
			next = append(next, c)
		}
	}
	return next
}

func addUp(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

// Left is what is left of one limit in its present window.
type Left struct {
	Per Period `json:"per"`
	// Currency is empty for a rate, whose figures are counts of allows.
	Currency Currency `json:"currency,omitempty"`
	Most     Decimal  `json:"most"`
	Used     Decimal  `json:"used"`
	Left     Decimal  `json:"left"`
	// WindowEndsAt is absent for a total.
	WindowEndsAt time.Time `json:"windowEndsAt,omitzero"`
}

// left is what is left of each limit at a moment.
func (t tally) left(limits []limit, now time.Time) []Left {
	list := make([]Left, 0, len(limits))
	for _, l := range limits {
		c, _ := t.find(l.limitKey)
		c = c.at(l, now)
		rest := max(l.most-c.used, 0)
		text := func(n int64) Decimal {
			if l.money() {
				return Decimal(Money{n, l.currency}.String())
			}
			return Decimal(fmt.Sprint(n))
		}
		list = append(list, Left{
			Per: l.per, Currency: l.currency, Most: text(l.most), Used: text(c.used), Left: text(rest), WindowEndsAt: c.until,
		})
	}
	return list
}

// shortage is the first limit that one more allow would exceed, and how.
type shortage struct {
	code   ReasonCode // empty if there is none
	detail string
	until  time.Time // when its window ends; zero for a total
}

// short looks for a limit among those of one kind, RuleRate or RuleBudget, that
// one more allow would exceed, and reports whether there are any to check. Where there are budgets at all, an amount is
// needed, and in a currency that one of them has: what can't be counted is
// denied.
func (t tally) short(kind Rule, limits []limit, whose string, req *Request, now time.Time) (s shortage, checked bool) {
	counted := false
	for _, l := range limits {
		if l.money() != (kind == RuleBudget) {
			continue
		}
		checked = true
		n := int64(1)
		if l.money() {
			if req.Amount == "" {
				return shortage{code: AmountRequired, detail: "the request names no amount, and " + whose + " has a budget; send 0 for what costs nothing"}, true
			}
			if l.currency != req.money.Currency {
				continue
			}
			n = req.money.Minor
		}
		counted = true
		c, _ := t.find(l.limitKey)
		c = c.at(l, now)
		if n <= l.most-c.used { // less than 0 where the limit was lowered below what is used
			continue
		}
		return shortage{code: l.exceeded(), detail: l.spent(whose, c, n), until: c.until}, true
	}
	if checked && !counted {
		return shortage{code: CurrencyMismatch, detail: fmt.Sprintf("the amount is in %s, and %s has no budget in it", req.money.Currency, whose)}, true
	}
	return shortage{}, checked
}

func (k limitKey) exceeded() ReasonCode {
	if k.money() {
		return BudgetExceeded
	}
	return RateExceeded
}

// spent says what is left of a limit that is too little.
func (l limit) spent(whose string, c counter, asked int64) string {
	ends := ""
	if !c.until.IsZero() {
		ends = "; the window ends " + c.until.Format(time.RFC3339)
	}
	if !l.money() {
		return fmt.Sprintf("%s has a rate of %d %s, and %d are used%s", whose, l.most, l.per.words(), c.used, ends)
	}
	text := func(n int64) string { return Money{n, l.currency}.String() }
	return fmt.Sprintf("%s has a budget of %s %s %s, of which %s is used, and %s is asked for%s",
		whose, text(l.most), l.currency, l.per.words(), text(c.used), text(asked), ends)
}
