package domain

import (
	"cmp"
	"fmt"
	"math/big"
	"slices"
	"strings"
)

// Came is how a decision came out.
type Came struct {
	Outcome    Outcome    `json:"outcome"`
	ReasonCode ReasonCode `json:"reasonCode"`
}

// ShadowDifference is how a shadow's decision compares with the real one.
type ShadowDifference string

const (
	ShadowSame        ShadowDifference = "same"
	ShadowStricter    ShadowDifference = "stricter"     // less is allowed
	ShadowLooser      ShadowDifference = "looser"       // more is allowed
	ShadowOtherReason ShadowDifference = "other_reason" // the same outcome for another reason
	ShadowUndecided   ShadowDifference = "undecided"    // it couldn't be decided under the candidate
)

// Compare says how a shadow's decision differs. The zero one couldn't be made.
func Compare(real, shadow Came) ShadowDifference {
	a, b := leniency(real.Outcome), leniency(shadow.Outcome)
	switch {
	case shadow == Came{}:
		return ShadowUndecided
	case b < a:
		return ShadowStricter
	case b > a:
		return ShadowLooser
	case real.ReasonCode != shadow.ReasonCode:
		return ShadowOtherReason
	}
	return ShadowSame
}

func leniency(o Outcome) int {
	switch o {
	case OutcomeAllowed:
		return 2
	case OutcomeRequiresApproval:
		return 1
	}
	return 0
}

// ShadowTotals counts what a shadow has decided. It is never changed, only
// followed by another.
type ShadowTotals struct {
	Decided     uint64 `json:"decided"`
	Same        uint64 `json:"same"`
	Stricter    uint64 `json:"stricter"`
	Looser      uint64 `json:"looser"`
	OtherReason uint64 `json:"otherReason"`
	Undecided   uint64 `json:"undecided"`
	// Changes are the differences by what they change, in the order of codes.
	Changes []ShadowChange `json:"changes,omitzero"`
	// Money is what was asked for in requests whose outcome changes to or from
	// allowed, by currency.
	Money []ShadowMoney `json:"money,omitzero"`
}

// ShadowChange counts the decisions that change in one way.
type ShadowChange struct {
	From  Came   `json:"from"`
	To    Came   `json:"to"`
	Count uint64 `json:"count"`
}

// ShadowMoney is the money that would have been allowed and was not, and the
// other way round.
type ShadowMoney struct {
	Currency Currency `json:"currency"`
	Allowed  Decimal  `json:"nowAllowed"`
	Stopped  Decimal  `json:"nowStopped"`
}

// add is the totals with one more decision.
func (t ShadowTotals) add(v ShadowVerdict, difference ShadowDifference) ShadowTotals {
	t.Decided++
	switch difference {
	case ShadowSame:
		t.Same++
		return t
	case ShadowUndecided:
		t.Undecided++
		return t
	case ShadowStricter:
		t.Stricter++
	case ShadowLooser:
		t.Looser++
	case ShadowOtherReason:
		t.OtherReason++
	}
	change := ShadowChange{From: v.Real, To: v.Shadow, Count: 1}
	t.Changes = slices.Clone(t.Changes) // others hold the ones before
	i, found := slices.BinarySearchFunc(t.Changes, change, func(a, b ShadowChange) int {
		return cmp.Or(cmp.Compare(a.From.Outcome, b.From.Outcome), cmp.Compare(a.From.ReasonCode, b.From.ReasonCode),
			cmp.Compare(a.To.Outcome, b.To.Outcome), cmp.Compare(a.To.ReasonCode, b.To.ReasonCode))
	})
	if found {
		t.Changes[i].Count++
	} else {
		t.Changes = slices.Insert(t.Changes, i, change)
	}
	return t.price(v)
}

// price adds the money of a decision that changes to or from allowed.
func (t ShadowTotals) price(v ShadowVerdict) ShadowTotals {
	was, is := v.Real.Outcome == OutcomeAllowed, v.Shadow.Outcome == OutcomeAllowed
	if v.Amount == "" || was == is {
		return t
	}
	amount, err := ParseMoney(string(v.Amount), v.Currency)
	if err != nil {
		return t // it was decided, so it could be read
	}
	t.Money = slices.Clone(t.Money)
	i, found := slices.BinarySearchFunc(t.Money, v.Currency, func(m ShadowMoney, c Currency) int { return cmp.Compare(m.Currency, c) })
	if !found {
		none := Decimal(Money{Currency: v.Currency}.String())
		t.Money = slices.Insert(t.Money, i, ShadowMoney{v.Currency, none, none})
	}
	into := &t.Money[i].Allowed
	if was {
		into = &t.Money[i].Stopped
	}
	*into = plus(*into, amount)
	return t
}

// plus adds to a sum, which may be beyond what one amount is.
func plus(sum Decimal, m Money) Decimal {
	whole, fraction, point := strings.Cut(string(sum), ".")
	total, ok := new(big.Int).SetString(whole+fraction, 10)
	if !ok {
		return sum // only this function writes them
	}
	text := total.Add(total, big.NewInt(m.Minor)).String()
	if !point {
		return Decimal(text)
	}
	text = fmt.Sprintf("%0*s", len(fraction)+1, text)
	cut := len(text) - len(fraction)
	return Decimal(text[:cut] + "." + text[cut:])
}
