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

func TestTheIDOfAPublicEvent(t *testing.T) {
	t.Parallel()
	const id = "evt_01K8M3Z5V1A3C5E7G9J1M3P5R7"
	for s, want := range map[string]bool{
		id: true, id + "-1": true, id + "-12": true,
		"": false, "evt_": false, id[4:]: false, id + "-": false, id + "-0": false, id + "-01": false, id + "-x": false,
		id + "-1-1": false, id + "7": false, id[:29]: false, "evt_81K8M3Z5V1A3C5E7G9J1M3P5R7": false,
		"evt_01K8M3Z5V1A3C5E7G9J1M3P5Rl": false, "req_01K8M3Z5V1A3C5E7G9J1M3P5R7": false, id + "-1234567890": false,
	} {
		if got := validPublicID(s); got != want {
			t.Errorf("%q: got %t, want %t", s, got, want)
		}
	}
}
