package outbound_test

import (
	"errors"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/infra/outbound"
)

func TestCheckURL(t *testing.T) {
	t.Parallel()
	production := outbound.Policy{}
	development := outbound.Policy{HTTP: true, Networks: networks("127.0.0.0/8", "10.0.0.0/8")}
	for _, test := range []struct {
		policy outbound.Policy
		url    string
		want   string // as it is used; empty: refused
		says   string
	}{
		{url: "https://example.com", want: "https://example.com"},
		{url: "https://EXAMPLE.com:443/Hooks/%41?a=b%20c", want: "https://example.com/Hooks/%41?a=b%20c"},
		{url: "HTTPS://example.com:8443/", want: "https://example.com:8443/"},
		{url: "https://bücher.example/ü", want: "https://xn--bcher-kva.example/%C3%BC"},
		{url: "https://1.1.1.1/", want: "https://1.1.1.1/"},
		{url: "https://[2606:4700:4700:0::1111]:8443/", want: "https://[2606:4700:4700::1111]:8443/"},
		{url: "https://hooks.internal.example.com/", want: "https://hooks.internal.example.com/"},
		{policy: development, url: "http://localhost:9000/a", want: "http://localhost:9000/a"},
		{policy: development, url: "http://receiver:9000/", want: "http://receiver:9000/"},
		{policy: development, url: "http://10.0.0.7:80/", want: "http://10.0.0.7/"},
		{policy: development, url: "https://db.internal/", want: "https://db.internal/"},

		{url: "", says: "1 to 2048"},
		{url: "https://example.com/" + strings.Repeat("a", 2048), says: "1 to 2048"},
		{url: "http://example.com/", says: "https://"},
		{url: "ftp://example.com/", says: "https://"},
		{url: "example.com/hooks", says: "https://"},
		{url: "//example.com", says: "https://"},
		{url: "https:example.com", says: "https://"},
		{url: "https:///hooks", says: "names no host"},
		{url: "https://?a", says: "names no host"},
		{url: "https://user@example.com/", says: "user name"},
		{url: "https://user:pass@example.com/", says: "user name"},
		{url: "https://@example.com/", says: "user name"},
		{url: "https://example.com/#a", says: "fragment"},
		{url: "https://example.com/#", says: "fragment"},
		{url: "https://example.com\\@10.0.0.1/", says: "U+005C"},
		{url: "https://example.com/a b", says: "U+0020"},
		{url: "https://example.com/\r\nHost: x", says: "U+000D"},
		{url: "https://example.com/\x00", says: "U+0000"},
		{url: "https://example.com/\xff", says: "U+FFFD"},
		{url: "https://example.com./", says: "dots"},
		{url: "https://example..com/", says: "dots"},
		{url: "https://exa%6dple.com/", says: "can't be read"},
		{url: "https://%31%32%37.0.0.1/", says: "can't be read"},
		{url: "https://exam%c3%bcple.com/", says: "'%'"},
		{url: "https://*.example.com/", says: "wildcard"},
		{url: "https://example.com:/", says: "port"},
		{url: "https://example.com:0/", says: "port"},
		{url: "https://example.com:0443/", says: "port"},
		{url: "https://example.com:65536/", says: "port"},
		{url: "https://example.com:22/", says: "port 22"},
		{url: "https://example.com:80/", says: "port 80"},
		{url: "https://2130706433/", says: "four plain decimal"},
		{url: "https://0177.0.0.1/", says: "four plain decimal"},
		{url: "https://0x7f.1/", says: "four plain decimal"},
		{url: "https://0x7f000001/", says: "four plain decimal"},
		{url: "https://127.1/", says: "four plain decimal"},
		{url: "https://1.1.1.1.1/", says: "four plain decimal"},
		{url: "https://１２７.0.0.1/", says: "is not"},
		{url: "https://127。0。0。1/", says: "is not"},
		{url: "https://127.0.0.1/", says: "not a public address"},
		{url: "https://10.0.0.1/", says: "not a public address"},
		{url: "https://[::1]/", says: "not a public address"},
		{url: "https://[::ffff:127.0.0.1]/", says: "mapped"},
		{url: "https://[fe80::1%25eth0]/", says: "'%'"},
		{url: "https://[::1/", says: "can't be read"},
		{url: "https://169.254.169.254/latest", says: "not a public address"},
		{url: "https://localhost/", says: "local network"},
		{url: "https://LOCALHOST:8443/", says: "local network"},
		{url: "https://a.localhost/", says: ".localhost"},
		{url: "https://redis/", says: "local network"},
		{url: "https://db.internal/", says: ".internal"},
		{url: "https://printer.local/", says: ".local"},
		{url: "https://metadata.google.internal/", says: ".internal"},
		{policy: development, url: "http://127.0.0.1:22/", says: "port"},
		{policy: development, url: "http://192.168.0.1:9000/", says: "not a public address"},
	} {
		t.Run(test.url[:min(len(test.url), 60)], func(t *testing.T) {
			t.Parallel()
			policy := test.policy
			if !policy.HTTP {
				policy = production
			}
			guard, err := outbound.NewGuard(policy)
			if err != nil {
				t.Fatal(err)
			}
			got, err := guard.CheckURL(test.url)
			var rule *domain.RuleError
			switch {
			case test.want != "" && (err != nil || got != test.want):
				t.Errorf("got %q (%v), want %q", got, err, test.want)
			case test.want == "" && (!errors.As(err, &rule) || !strings.Contains(rule.Message, test.says) || rule.Field != "/url"):
				t.Errorf("got %q (%v), want a refusal that says %q", got, err, test.says)
			}
		})
	}
}

// Whatever is taken stays what it is, and means the same to the standard parser.
func FuzzCheckURL(f *testing.F) {
	for _, seed := range []string{
		"https://example.com/a?b=c", "https://[2606:4700:4700::1111]:8443/", "https://0x7f.1/", "https://a@b/", "https://bücher.example:444",
		"https://127.0.0.1%2f@example.com/", "https://example.com:443:443/", "https://[::1]example.com/", "https://1.1.1.1/%zz",
	} {
		f.Add(seed)
	}
	guard, err := outbound.NewGuard(outbound.Policy{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := guard.CheckURL(text)
		if err != nil {
			var rule *domain.RuleError
			if !errors.As(err, &rule) {
				t.Fatalf("got %v, want a refusal that is safe to show", err)
			}
			return
		}
		if again, err := guard.CheckURL(got); err != nil || again != got {
			t.Fatalf("%q became %q, which becomes %q (%v)", text, got, again, err)
		}
		u, err := url.Parse(got)
		if err != nil || u.Scheme != "https" || u.User != nil || u.Fragment != "" || u.Hostname() == "" {
			t.Fatalf("%q was taken: %#v (%v)", text, u, err)
		}
		if addr, err := netip.ParseAddr(u.Hostname()); err == nil && guard.Allow(netip.AddrPortFrom(addr, 443)) != nil {
			t.Fatalf("%q was taken, and %s is blocked", text, addr)
		} else if err != nil && !strings.Contains(u.Hostname(), ".") {
			t.Fatalf("%q was taken, and is a local name", text)
		}
	})
}
