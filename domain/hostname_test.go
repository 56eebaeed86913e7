package domain_test

import (
	"testing"

	"github.com/behalf-platform/behalf/domain"
)

func TestCanonicalHost(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"Hooks.Example.COM": "hooks.example.com", "bücher.example": "xn--bcher-kva.example",
		"192.0.2.1": "192.0.2.1", "[2001:DB8:0::1]": "[2001:db8::1]", "localhost": "localhost",
		"": "", "example.com:443": "", "example.com.": "", "*.example.com": "", "a@example.com": "", "exa%6dple.com": "",
		"https://example.com": "", "0x7f.1": "", "2130706433": "", "[::ffff:192.0.2.1]": "", "2001:db8::1": "",
	} {
		if got, err := domain.CanonicalHost(text); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: got %q (%v), want %q", text, got, err, want)
		}
	}
}
