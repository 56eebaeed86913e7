package domain

import (
	"fmt"
	"strings"
)

// Currency is an ISO 4217 code, such as USD. The zero Currency is none.
type Currency string

// ParseCurrency takes the exact upper-case code of a currency in use. "usd" is
// refused, not folded.
func ParseCurrency(s string) (Currency, error) {
	if _, ok := Currency(s).scale(); !ok {
		return "", fmt.Errorf(`%s is not a currency; send an upper-case ISO 4217 code such as "USD"`, quote(s))
	}
	return Currency(s), nil
}

// scale is how many digits the minor unit takes; ok is false if c is unknown.
//
// The list is ISO 4217's own, of currencies and funds that have a minor unit.
// It is not golang.org/x/text/currency, whose table is CLDR's of 2017: that one
// knows withdrawn codes (DEM), lacks new ones (MRU, SLE, VES, XCG, ZWG), and
// gives the digits people write rather than those of the standard, 0 for IDR
// and IQD where ISO has 2 and 3. Recorded amounts are read with this list: add
// to it, never remove a code or change its scale.
func (c Currency) scale() (digits int, ok bool) {
	switch c {
	case "AED", "AFN", "ALL", "AMD", "AOA", "ARS", "AUD", "AWG", "AZN", "BAM",
		"BBD", "BDT", "BMD", "BND", "BOB", "BOV", "BRL", "BSD", "BTN", "BWP",
		"BYN", "BZD", "CAD", "CDF", "CHE", "CHF", "CHW", "CNY", "COP", "COU",
		"CRC", "CUP", "CVE", "CZK", "DKK", "DOP", "DZD", "EGP", "ERN", "ETB",
		"EUR", "FJD", "FKP", "GBP", "GEL", "GHS", "GIP", "GMD", "GTQ", "GYD",
		"HKD", "HNL", "HTG", "HUF", "IDR", "ILS", "INR", "IRR", "JMD", "KES",
		"KGS", "KHR", "KPW", "KYD", "KZT", "LAK", "LBP", "LKR", "LRD", "LSL",
		"MAD", "MDL", "MGA", "MKD", "MMK", "MNT", "MOP", "MRU", "MUR", "MVR",
		"MWK", "MXN", "MXV", "MYR", "MZN", "NAD", "NGN", "NIO", "NOK", "NPR",
		"NZD", "PAB", "PEN", "PGK", "PHP", "PKR", "PLN", "QAR", "RON", "RSD",
		"RUB", "SAR", "SBD", "SCR", "SDG", "SEK", "SGD", "SHP", "SLE", "SOS",
		"SRD", "SSP", "STN", "SVC", "SYP", "SZL", "THB", "TJS", "TMT", "TOP",
		"TRY", "TTD", "TWD", "TZS", "UAH", "USD", "USN", "UYU", "UZS", "VED",
		"VES", "WST", "XAD", "XCD", "XCG", "YER", "ZAR", "ZMW", "ZWG":
		return 2, true
	case "BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF",
		"UGX", "UYI", "VND", "VUV", "XAF", "XOF", "XPF":
		return 0, true
	case "BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND":
		return 3, true
	case "CLF", "UYW":
		return 4, true
	}
	return 0, false
}

// Money is an amount in the minor units of its currency: 742.00 USD is 74200.
type Money struct {
	Minor    int64
	Currency Currency
}

// mostDigits bounds an amount written in full scale, so that every amount taken
// fits an int64 and every String is taken again.
const mostDigits = 18

// ParseMoney reads plain decimal text. Anything that would need rounding or
// guessing is refused.
func ParseMoney(text string, c Currency) (Money, error) {
	scale, ok := c.scale()
	if !ok {
		_, err := ParseCurrency(string(c))
		return Money{}, err
	}
	whole, fraction, point := strings.Cut(text, ".")
	switch {
	case !allDigits(whole) || point && !allDigits(fraction):
		return Money{}, fmt.Errorf("%s is not an amount; send plain digits such as %q, without sign, exponent, spaces or separators",
			quote(text), Money{74200, c})
	case len(whole) > 1 && whole[0] == '0':
		return Money{}, fmt.Errorf("%s has leading zeros; send the amount without them", quote(text))
	case point && scale == 0:
		return Money{}, fmt.Errorf("%s has a fraction, and %s has none; send whole units", quote(text), c)
	case len(fraction) > scale:
		return Money{}, fmt.Errorf("%s has %d digits after the point; %s has %d, so send at most that many",
			quote(text), len(fraction), c, scale)
	case len(whole)+scale > mostDigits:
		return Money{}, fmt.Errorf("%s is too large; send at most %d digits before the point", quote(text), mostDigits-scale)
	}
	minor := int64(0)
	for i := range len(whole) {
		minor = minor*10 + int64(whole[i]-'0')
	}
	for i := range scale {
		minor *= 10
		if i < len(fraction) {
			minor += int64(fraction[i] - '0')
		}
	}
	return Money{Minor: minor, Currency: c}, nil
}

// allDigits reports whether s is one or more ASCII digits.
func allDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// String is the amount in full scale, without the currency: "742.00".
func (m Money) String() string {
	scale, _ := m.Currency.scale()
	n := uint64(m.Minor)
	if m.Minor < 0 {
		n = -n
	}
	var text [24]byte // an int64 has 19 digits
	i := len(text)
	for k := 0; n > 0 || k <= scale; k++ {
		if k == scale && scale > 0 {
			i--
			text[i] = '.'
		}
		i--
		text[i] = byte('0' + n%10)
		n /= 10
	}
	if m.Minor < 0 {
		i--
		text[i] = '-'
	}
	return string(text[i:])
}

// exceeds reports whether m is more than limit allows. Another currency always
// is, for there is no rate to compare by, and so is none.
func (m Money) exceeds(limit Money) bool {
	return m.Currency == "" || m.Currency != limit.Currency || m.Minor > limit.Minor
}
