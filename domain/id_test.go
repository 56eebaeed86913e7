package domain

import (
	"regexp"
	"strings"
	"testing"
)

// The grammar as it is written in the contracts.
var actionGrammar = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}$`)

func FuzzActionValid(f *testing.F) {
	for c := range 256 {
		f.Add(string([]byte{byte(c)}))
		f.Add(string([]byte{'a', byte(c)}))
		f.Add(string([]byte{'a', byte(c), 'b'}))
	}
	for _, s := range []string{
		"", "purchase", "repo:push", "a.b_c:d/e-f", "purchase\n", "\npurchase", "purchase ", "achat-é", "ａ", "a\xff", "a\x00",
		strings.Repeat("a", 127), strings.Repeat("a", 128), strings.Repeat("a", 129), strings.Repeat("é", 64), "a" + strings.Repeat("/", 127),
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if got, want := Action(s).Valid(), actionGrammar.MatchString(s); got != want {
			t.Errorf("%q: got %t, want %t", s, got, want)
		}
	})
}
