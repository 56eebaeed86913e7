package domain

import (
	"math"
	"math/big"
	"slices"
	"strings"
	"testing"

	"golang.org/x/text/currency"
)

func TestParseCurrency(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, text string
		ok         bool
	}{
		{"a currency", "USD", true},
		{"a new one", "XCG", true},
		{"a fund", "CHE", true},
		{"lower case is not folded", "usd", false},
		{"mixed case is not folded", "Usd", false},
		{"nothing", "", false},
		{"a space after it", "USD ", false},
		{"too long", "USDT", false},
		{"an unknown code", "ZZZ", false},
		{"a withdrawn currency", "DEM", false},
		{"the code for testing", "XTS", false},
		{"the code for no currency", "XXX", false},
		{"a metal has no minor unit", "XAU", false},
		{"full-width letters", "ＵＳＤ", false},
		{"a NUL after it", "USD\x00", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := ParseCurrency(tt.text)
			if tt.ok != (err == nil) || tt.ok && got != Currency(tt.text) || !tt.ok && got != "" {
				t.Errorf("got %q, %v, want ok %v", got, err, tt.ok)
			}
		})
	}
}

// The second opinion on scales is CLDR's. Where it differs, ISO 4217 is right,
// and the difference is here to be read.
func TestScalesAreThoseOfISO4217(t *testing.T) {
	t.Parallel()
	for c, want := range map[Currency]int{
		"USD": 2, "EUR": 2, "GBP": 2, "CHF": 2, "CNY": 2, "INR": 2, "BRL": 2, "MXN": 2, "CAD": 2, "AUD": 2,
		"SEK": 2, "PLN": 2, "HUF": 2, "CZK": 2, "TRY": 2, "ZAR": 2, "TWD": 2, "SGD": 2, "HKD": 2, "CLF": 4,
		"JPY": 0, "KRW": 0, "CLP": 0, "ISK": 0, "VND": 0, "PYG": 0, "UGX": 0, "XAF": 0, "XOF": 0, "XPF": 0,
		"BHD": 3, "IQD": 3, "JOD": 3, "KWD": 3, "LYD": 3, "OMR": 3, "TND": 3, "UYW": 4, "MGA": 2, "MRU": 2,
	} {
		if got, ok := c.scale(); got != want || !ok {
			t.Errorf("%s: got scale %d, want %d", c, got, want)
		}
	}
	var known, differ, missing []string
	for a := 'A'; a <= 'Z'; a++ {
		for b := 'A'; b <= 'Z'; b++ {
			for c := 'A'; c <= 'Z'; c++ {
				code := string([]rune{a, b, c})
				scale, ok := Currency(code).scale()
				if !ok {
					continue
				}
				known = append(known, code)
				unit, err := currency.ParseISO(code)
				if err != nil {
					missing = append(missing, code)
					continue
				}
				if cldr, _ := currency.Standard.Rounding(unit); cldr != scale {
					differ = append(differ, code)
				}
			}
		}
	}
	if len(known) != 165 {
		t.Errorf("got %d currencies, want 165", len(known))
	}
	if want := strings.Fields("MRU SLE UYW VED VES XAD XCG ZWG"); !slices.Equal(missing, want) {
		t.Errorf("got %v as unknown to CLDR, want %v", missing, want)
	}
	want := strings.Fields("AFN ALL AMD COP GYD IDR IQD IRR KPW LAK LBP MGA MMK MNT MUR PKR RSD SOS SYP TZS UZS YER")
	if !slices.Equal(differ, want) {
		t.Errorf("got %v as different in CLDR, want %v", differ, want)
	}
}

func TestParseMoney(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, text string
		currency   Currency
		want       int64 // -1 if refused
		shown      string
	}{
		{"full scale", "742.00", "USD", 74200, "742.00"},
		{"fewer digits than the scale", "742.5", "USD", 74250, "742.50"},
		{"whole units", "742", "USD", 74200, "742.00"},
		{"nothing", "0", "USD", 0, "0.00"},
		{"nothing in full scale", "0.00", "USD", 0, "0.00"},
		{"a cent", "0.01", "USD", 1, "0.01"},
		{"yen have no fraction", "742", "JPY", 742, "742"},
		{"nothing in yen", "0", "JPY", 0, "0"},
		{"dinars have three digits", "1.234", "KWD", 1234, "1.234"},
		{"fils alone", "0.005", "KWD", 5, "0.005"},
		{"four digits", "1.0001", "CLF", 10001, "1.0001"},
		{"as many digits as are taken", "9999999999999999.99", "USD", 999999999999999999, "9999999999999999.99"},
		{"as many yen as are taken", "999999999999999999", "JPY", 999999999999999999, "999999999999999999"},

		{"one digit too many", "10000000000000000", "USD", -1, ""},
		{"one yen too many", "1000000000000000000", "JPY", -1, ""},
		{"the largest int64 in cents", "92233720368547758.07", "USD", -1, ""},
		{"what overflows an int64", "9223372036854775808", "JPY", -1, ""},
		{"what wraps around to one", "18446744073709551617", "JPY", -1, ""},
		{"very long", strings.Repeat("9", 100_000), "USD", -1, ""},
		{"a very long fraction", "0." + strings.Repeat("0", 100_000), "USD", -1, ""},
		{"more digits than the scale", "1.234", "USD", -1, ""},
		{"a zero more than the scale", "1.000", "USD", -1, ""},
		{"a fraction of a yen", "1.0", "JPY", -1, ""},
		{"a point after yen", "1.", "JPY", -1, ""},
		{"empty", "", "USD", -1, ""},
		{"a trailing point", "1.", "USD", -1, ""},
		{"a leading point", ".5", "USD", -1, ""},
		{"a point alone", ".", "USD", -1, ""},
		{"two points", "1.2.3", "USD", -1, ""},
		{"leading zeros", "007", "USD", -1, ""},
		{"leading zeros before a fraction", "00.5", "USD", -1, ""},
		{"minus zero", "-0", "USD", -1, ""},
		{"a negative amount", "-1", "USD", -1, ""},
		{"a plus", "+1", "USD", -1, ""},
		{"an exponent", "1e9", "USD", -1, ""},
		{"an exponent after a fraction", "1.5E2", "USD", -1, ""},
		{"hexadecimal", "0x10", "USD", -1, ""},
		{"not a number", "NaN", "USD", -1, ""},
		{"infinity", "Inf", "USD", -1, ""},
		{"a space before", " 1", "USD", -1, ""},
		{"a newline after", "1\n", "USD", -1, ""},
		{"a space within", "1 000", "USD", -1, ""},
		{"an underscore", "1_000", "USD", -1, ""},
		{"a thousands separator", "1,000", "USD", -1, ""},
		{"a decimal comma", "1,50", "USD", -1, ""},
		{"a currency sign", "$1", "USD", -1, ""},
		{"Arabic digits", "١٢", "USD", -1, ""},
		{"full-width digits", "１２", "USD", -1, ""},
		{"a NUL", "1\x00", "USD", -1, ""},
		{"broken UTF-8", "1\xff", "USD", -1, ""},
		{"no currency", "1", "", -1, ""},
		{"an unknown currency", "1", "ZZZ", -1, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := ParseMoney(tt.text, tt.currency)
			if tt.want < 0 {
				if err == nil || got != (Money{}) {
					t.Errorf("got %v, %v, want it refused", got, err)
				}
				if err != nil && len(err.Error()) > 1000 {
					t.Errorf("got an error of %d bytes, want it short", len(err.Error()))
				}
				return
			}
			if want := (Money{tt.want, tt.currency}); err != nil || got != want || got.String() != tt.shown {
				t.Errorf("got %d %s (%v), want %d %s", got.Minor, got, err, tt.want, tt.shown)
			}
		})
	}
}

func TestARefusedAmountSaysWhatToSend(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		text     string
		currency Currency
		want     string
	}{
		{"1e9", "USD", `"1e9" is not an amount; send plain digits such as "742.00", without sign, exponent, spaces or separators`},
		{"1e9", "JPY", `"1e9" is not an amount; send plain digits such as "74200", without sign, exponent, spaces or separators`},
		{"007", "USD", `"007" has leading zeros; send the amount without them`},
		{"1.0", "JPY", `"1.0" has a fraction, and JPY has none; send whole units`},
		{"1.234", "USD", `"1.234" has 3 digits after the point; USD has 2, so send at most that many`},
		{"99999999999999999", "USD", `"99999999999999999" is too large; send at most 16 digits before the point`},
		{"1", "usd", `"usd" is not a currency; send an upper-case ISO 4217 code such as "USD"`},
	} {
		if _, err := ParseMoney(tt.text, tt.currency); err == nil || err.Error() != tt.want {
			t.Errorf("got %v, want %s", err, tt.want)
		}
	}
}

func TestMoneyShowsEveryInt64(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		money Money
		want  string
	}{
		{Money{}, "0"},
		{Money{Minor: 5, Currency: "KWD"}, "0.005"},
		{Money{Minor: -5, Currency: "USD"}, "-0.05"},
		{Money{Minor: math.MaxInt64, Currency: "USD"}, "92233720368547758.07"},
		{Money{Minor: math.MinInt64, Currency: "CLF"}, "-922337203685477.5808"},
		{Money{Minor: math.MinInt64, Currency: "JPY"}, "-9223372036854775808"},
	} {
		if got := tt.money.String(); got != tt.want {
			t.Errorf("got %s, want %s", got, tt.want)
		}
	}
}

func TestMoneyExceeds(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		m, limit Money
		want     bool
	}{
		{"less than the limit", Money{49999, "USD"}, Money{50000, "USD"}, false},
		{"the limit itself", Money{50000, "USD"}, Money{50000, "USD"}, false},
		{"a cent more", Money{50001, "USD"}, Money{50000, "USD"}, true},
		{"less of another currency", Money{1, "EUR"}, Money{50000, "USD"}, true},
		{"nothing of another currency", Money{0, "EUR"}, Money{50000, "USD"}, true},
		{"no limit at all", Money{0, "USD"}, Money{}, true},
		{"no currency at all", Money{}, Money{}, true},
	} {
		if got := tt.m.exceeds(tt.limit); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}

func FuzzParseMoney(f *testing.F) {
	for _, text := range []string{
		"742.00", "742.5", "0", "-0", "+1", "1e9", "NaN", "Inf", "007", ".5", "5.", "1.234", "١٢", "１", "1_0", " 1", "1\x00",
		"9999999999999999.99", "92233720368547758.07", "9223372036854775808", "18446744073709551617", strings.Repeat("9", 5000),
	} {
		for _, c := range []string{"USD", "JPY", "KWD", "CLF", "usd", ""} {
			f.Add(text, c)
		}
	}
	f.Fuzz(func(t *testing.T, text, code string) {
		c := Currency(code)
		m, err := ParseMoney(text, c)
		if err != nil {
			if m != (Money{}) {
				t.Fatalf("got %v with an error, want nothing", m)
			}
			return
		}
		if m.Minor < 0 || m.Currency != c {
			t.Fatalf("got %+v from %q", m, text)
		}
		again, err := ParseMoney(m.String(), c)
		if err != nil || again != m {
			t.Fatalf("got %v (%v) from %s, want %v", again, err, m, m)
		}
		given, ok := new(big.Rat).SetString(text)
		shown, _ := new(big.Rat).SetString(m.String())
		if !ok || given.Cmp(shown) != 0 {
			t.Fatalf("got %s from %q, want the same number", m, text)
		}
		if m.exceeds(m) {
			t.Fatalf("%s exceeds itself", m)
		}
	})
}

func BenchmarkParseMoney(b *testing.B) {
	for _, bb := range []struct {
		text     string
		currency Currency
	}{{"742.00", "USD"}, {"742", "JPY"}, {"1e9", "USD"}} {
		b.Run(bb.text+" "+string(bb.currency), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = ParseMoney(bb.text, bb.currency)
			}
		})
	}
}

func BenchmarkMoneyString(b *testing.B) {
	b.ReportAllocs()
	m := Money{74200, "USD"}
	for b.Loop() {
		_ = m.String()
	}
}
