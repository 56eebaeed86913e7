package domain

import (
	"strconv"
	"strings"
	"testing"
)

// text is a spelling that reads back as h.
func (h host) text() string {
	switch h.port {
	case 0:
		return h.name
	case 443:
		return "http://" + h.name + ":443"
	}
	return h.name + ":" + strconv.Itoa(int(h.port))
}

func TestParseHost(t *testing.T) {
	t.Parallel()
	long := strings.Repeat(strings.Repeat("a", 49)+".", 5)
	for _, tt := range []struct {
		name, text string
		want       host
	}{
		{"a host", "example.com", host{"example.com", 0}},
		{"a single label", "localhost", host{"localhost", 0}},
		{"upper case", "Shop.EXAMPLE.com", host{"shop.example.com", 0}},
		{"a port", "example.com:8443", host{"example.com", 8443}},
		{"the default port", "example.com:443", host{"example.com", 0}},
		{"the port of http without a scheme", "example.com:80", host{"example.com", 80}},
		{"https", "https://example.com", host{"example.com", 0}},
		{"https and a slash", "https://example.com/", host{"example.com", 0}},
		{"https and its port", "https://example.com:443/", host{"example.com", 0}},
		{"https and the port of http", "https://example.com:80", host{"example.com", 80}},
		{"http", "http://example.com", host{"example.com", 0}},
		{"http and its port", "http://example.com:80/", host{"example.com", 0}},
		{"http and the port of https", "http://example.com:443", host{"example.com", 443}},
		{"a scheme in upper case", "HTTPS://example.com", host{"example.com", 0}},
		{"the highest port", "example.com:65535", host{"example.com", 65535}},
		{"double hyphens", "r3---sn-apo3.example.com", host{"r3---sn-apo3.example.com", 0}},
		{"an underscore", "my_bucket.example.com", host{"my_bucket.example.com", 0}},
		{"a leading underscore", "_dmarc.example.com", host{"_dmarc.example.com", 0}},
		{"digits in the name", "3com.163.com", host{"3com.163.com", 0}},
		{"a hexadecimal label that is not the last", "0x7f.example.com", host{"0x7f.example.com", 0}},
		{"253 characters", long + "com", host{long + "com", 0}},
		{"a label of 63", strings.Repeat("a", 63) + ".com", host{strings.Repeat("a", 63) + ".com", 0}},

		{"letters beyond ASCII", "münchen.de", host{"xn--mnchen-3ya.de", 0}},
		{"such letters in upper case", "MÜNCHEN.de", host{"xn--mnchen-3ya.de", 0}},
		{"an encoded name", "xn--mnchen-3ya.de", host{"xn--mnchen-3ya.de", 0}},
		{"an encoded name in upper case", "XN--MNCHEN-3YA.DE", host{"xn--mnchen-3ya.de", 0}},
		{"such a name with scheme and port", "https://München.de:8443/", host{"xn--mnchen-3ya.de", 8443}},
		{"sharp s is not ss", "straße.de", host{"xn--strae-oqa.de", 0}},
		{"Greek with its final sigma", "ΒΌΛΟΣ.com", host{"xn--nxasmq6b.com", 0}},
		{"Cyrillic stays apart from Latin", "аpple.com", host{"xn--pple-43d.com", 0}},
		{"Japanese", "日本語.jp", host{"xn--wgv71a119e.jp", 0}},
		{"Arabic", "موقع.وزارة-الاتصالات.مصر", host{"xn--4gbrim.xn----ymcbaaajlc6dj7bxne2c.xn--wgbh1c", 0}},

		{"an IPv4 address", "192.0.2.1", host{"192.0.2.1", 0}},
		{"an IPv4 address with a port", "192.0.2.1:8080", host{"192.0.2.1", 8080}},
		{"an IPv6 address", "[2001:db8::1]", host{"[2001:db8::1]", 0}},
		{"a long IPv6 address", "[2001:0DB8:0:0:0:0:0:0001]:443", host{"[2001:db8::1]", 0}},
		{"an IPv6 address in a URL", "http://[::1]:8080/", host{"[::1]", 8080}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := parseHost(tt.text)
			if err != nil || got != tt.want {
				t.Errorf("got %+v, %v, want %+v", got, err, tt.want)
			}
		})
	}
}

func TestParseHostRefuses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, text string }{
		{"nothing", ""},
		{"a scheme alone", "https://"},
		{"a scheme and a slash", "https:///"},
		{"another scheme", "ftp://example.com"},
		{"a scheme that only looks like https", "httpſ://example.com"},
		{"a script", "javascript://example.com"},
		{"no scheme before the slashes", "//example.com"},
		{"an empty scheme", "://example.com"},
		{"a scheme twice", "https://https://example.com"},
		{"a slash without a scheme", "example.com/"},
		{"two slashes", "https://example.com//"},
		{"a path", "https://example.com/a"},
		{"a query", "https://example.com?a"},
		{"a query after the slash", "https://example.com/?a"},
		{"a fragment", "https://example.com#a"},
		{"a fragment hiding a host", "evil.io#.example.com"},
		{"user information", "https://user@example.com"},
		{"a host posing as user information", "https://example.com@evil.io"},
		{"user and password", "https://example.com:443@evil.io"},
		{"a backslash", `https://evil.io\.example.com`},
		{"a backslash as slash", `https:\\example.com`},
		{"a percent sign", "ex%61mple.com"},
		{"an escaped dot", "example%2ecom"},
		{"an escaped NUL", "example.com%00.evil.io"},
		{"a space before", " example.com"},
		{"a space after", "example.com "},
		{"a space within", "exam ple.com"},
		{"a tab", "example\t.com"},
		{"a newline", "example.com\n"},
		{"a header", "example.com\r\nX: y"},
		{"a NUL", "example.com\x00.evil.io"},
		{"a delete", "example\x7f.com"},
		{"broken UTF-8", "example\xff.com"},
		{"the replacement character", "example\ufffd.com"},
		{"a leading dot", ".example.com"},
		{"a trailing dot", "example.com."},
		{"two dots", "example..com"},
		{"a dot alone", "."},
		{"a wildcard", "*"},
		{"a wildcard for labels", "*.example.com"},
		{"a wildcard within", "a.*.com"},
		{"a leading hyphen", "-example.com"},
		{"a trailing hyphen", "example-.com"},
		{"a hyphen alone", "-"},
		{"underscores alone", "__.com"},
		{"an underscore alone", "_"},
		{"a quote", `"example".com`},
		{"a comma", "example.com,evil.io"},
		{"a semicolon", "example.com;evil.io"},
		{"254 characters", strings.Repeat(strings.Repeat("a", 49)+".", 5) + "comm"},
		{"a label of 64", strings.Repeat("a", 64) + ".com"},
		{"very long", strings.Repeat("a.", 100_000) + "com"},
		{"very long beyond ASCII", strings.Repeat("ü", 100_000)},
		{"a long label beyond ASCII", strings.Repeat("ü", 60) + ".de"},

		{"no port after the colon", "example.com:"},
		{"port 0", "example.com:0"},
		{"a port too high", "example.com:65536"},
		{"a port that wraps around", "example.com:4294967739"},
		{"a port with a leading zero", "example.com:0443"},
		{"a port with a sign", "example.com:+443"},
		{"a negative port", "example.com:-443"},
		{"a port in hexadecimal", "example.com:0x1bb"},
		{"a port with an underscore", "example.com:4_43"},
		{"a port in other digits", "example.com:٤٤٣"},
		{"two ports", "example.com:443:443"},
		{"a port alone", ":443"},

		{"full-width letters", "ｅｘａｍｐｌｅ.com"},
		{"full-width capitals", "ＥＸＡＭＰＬＥ.com"},
		{"a full-width dot", "example．com"},
		{"an ideographic dot", "example。com"},
		{"a half-width ideographic dot", "example｡com"},
		{"a one-dot leader", "example․com"},
		{"a full-width slash", "example.com／.evil.io"},
		{"a full-width at sign", "example.com＠evil.io"},
		{"an account-of sign", "example.com℀.evil.io"},
		{"a soft hyphen", "exam\u00adple.com"},
		{"a zero-width space", "exam\u200bple.com"},
		{"a zero-width non-joiner", "exam\u200cple.com"},
		{"a zero-width joiner where it is valid", "क्\u200dष.com"},
		{"such a joiner encoded", "xn--11b2ezcw70k.com"},
		{"a byte order mark", "\ufeffexample.com"},
		{"a direction override", "\u202eexample.com"},
		{"a variation selector", "example\ufe0f.com"},
		{"a ligature", "ﬁrst.com"},
		{"the Kelvin sign", "boo\u212aing.com"},
		{"the Angstrom sign", "\u212bngstrom.com"},
		{"the ohm sign", "\u2126.com"},
		{"a dotted capital I", "İstanbul.com"},
		{"a long s", "ſhop.com"},
		{"a circled letter", "ⓔxample.com"},
		{"a mathematical letter", "𝐞xample.com"},
		{"letters that are not composed", "mu\u0308nchen.de"},
		{"a leading mark", "\u0308a.com"},
		{"left-to-right and right-to-left in a label", "aא.com"},
		{"no-break space", "example\u00a0.com"},

		{"an empty encoding", "xn--.com"},
		{"an encoding of ASCII", "xn--example-.com"},
		{"an encoding of a dot", "xn--.-3ya.com"},
		{"an invalid encoding", "xn--a.com"},
		{"an encoding that overflows", "xn--99999999999.com"},
		{"an encoding of capitals", "xn--mnchen-psa.de"},
		{"an encoding of full-width letters", "xn--mi7chab1aes7c.com"},
		{"an encoding of a capital", "xn--wca.com"},
		{"an encoding of an ideographic dot", "xn--ab-r13a.com"},
		{"an encoding of a soft hyphen", "xn--example-oka.com"},
		{"an encoding of a zero-width space", "xn--ab-g1t.com"},
		{"an encoding of the Kelvin sign", "xn--b-3wn.com"},
		{"an encoding of letters that are not composed", "xn--munchen-gie.de"},
		{"an encoding with a bad character", "xn--m_nchen.de"},
		{"an encoding within an encoding", "xn--xn--mnchen-3ya-abc.de"},

		{"an octal address", "0177.0.0.1"},
		{"a leading zero in an address", "127.0.0.01"},
		{"an address as one number", "2130706433"},
		{"a hexadecimal number", "0x7f000001"},
		{"a hexadecimal part", "0x7f.1"},
		{"a hexadecimal last part", "127.0.0.0x1"},
		{"an empty hexadecimal part", "127.0.0.0x"},
		{"a short address", "127.1"},
		{"five numbers", "127.0.0.0.1"},
		{"a number above 255", "127.0.0.256"},
		{"a name that ends in a number", "example.1"},
		{"an international name that ends in a number", "münchen.1"},
		{"zero", "0"},
		{"full-width digits", "１２７.0.0.1"},
		{"an IPv6 address without brackets", "2001:db8::1"},
		{"an IPv4 address in brackets", "[127.0.0.1]"},
		{"an IPv4 address mapped into IPv6", "[::ffff:127.0.0.1]"},
		{"the same in hexadecimal", "[::ffff:7f00:1]"},
		{"a zone", "[fe80::1%eth0]"},
		{"an escaped zone", "[fe80::1%25eth0]"},
		{"an open bracket", "[::1"},
		{"a closing bracket", "::1]"},
		{"nothing in brackets", "[]"},
		{"brackets in brackets", "[[::1]]"},
		{"a name after the bracket", "[::1].example.com"},
		{"a port after the bracket that is none", "[::1]:"},
		{"a name in brackets", "[example.com]"},
		{"a future address", "[v1.a:b]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got, err := parseHost(tt.text); err == nil || got != (host{}) {
				t.Errorf("got %+v, %v, want it refused", got, err)
			}
			if _, err := compileHostPattern(tt.text); err == nil && !strings.HasPrefix(tt.text, "*.") {
				t.Error("got a pattern, want it refused")
			}
		})
	}
}

func TestHostPattern(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		pattern, host string
		want          bool
	}{
		{"example.com", "example.com", true},
		{"example.com", "EXAMPLE.com:443", true},
		{"https://example.com/", "example.com", true},
		{"example.com", "www.example.com", false},
		{"example.com", "example.com:8443", false},
		{"example.com:8443", "example.com:8443", true},
		{"example.com:8443", "example.com", false},
		{"example.com", "evil-example.com", false},
		{"example.com", "example.com.evil.io", false},
		{"münchen.de", "xn--mnchen-3ya.de", true},
		{"xn--mnchen-3ya.de", "MÜNCHEN.de", true},
		{"munchen.de", "münchen.de", false},

		{"*.example.com", "www.example.com", true},
		{"*.example.com", "a.b.c.example.com", true},
		{"*.EXAMPLE.com", "www.example.COM", true},
		{"https://*.example.com", "www.example.com", true},
		{"*.example.com", "example.com", false},
		{"*.example.com", "evil-example.com", false},
		{"*.example.com", "evilexample.com", false},
		{"*.example.com", "example.com.evil.io", false},
		{"*.example.com", "www.example.com.evil.io", false},
		{"*.example.com", "www.example.comx", false},
		{"*.example.com", "www.example.com:8443", false},
		{"*.example.com:8443", "www.example.com:8443", true},
		{"*.example.com:8443", "www.example.com", false},
		{"*.münchen.de", "shop.MÜNCHEN.de", true},
		{"*.co.uk", "example.co.uk", true},

		{"192.0.2.1", "192.0.2.1", true},
		{"192.0.2.1", "192.0.2.10", false},
		{"[::1]", "[0:0:0:0:0:0:0:1]", true},
		{"[::1]", "[::2]", false},
	} {
		t.Run(tt.pattern+" and "+tt.host, func(t *testing.T) {
			t.Parallel()
			p, err := compileHostPattern(tt.pattern)
			if err != nil {
				t.Fatal(err)
			}
			h, err := parseHost(tt.host)
			if err != nil {
				t.Fatal(err)
			}
			if got := p.match(h); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestHostPatternRefuses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, text string }{
		{"everything", "*"},
		{"everything below the root", "*."},
		{"a top-level domain", "*.com"},
		{"an international top-level domain", "*.рф"},
		{"two wildcards", "*.*.example.com"},
		{"a wildcard within", "www.*.example.com"},
		{"a wildcard at the end", "www.example.*"},
		{"part of a label", "*example.com"},
		{"part of a label with a dot", "a*.example.com"},
		{"two stars", "**.example.com"},
		{"a question mark", "?.example.com"},
		{"below an IPv4 address", "*.192.0.2.1"},
		{"below part of an IPv4 address", "*.0.2.1"},
		{"below an IPv6 address", "*.[::1]"},
		{"an empty label", "*..example.com"},
		{"a wildcard before the scheme", "*.https://example.com"},
		{"a scheme wildcard", "*://example.com"},
		{"a port wildcard", "example.com:*"},
		{"a full-width wildcard", "＊.example.com"},
		{"user information", "*.example.com@evil.io"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if p, err := compileHostPattern(tt.text); err == nil || p != (hostPattern{}) {
				t.Errorf("got %+v, %v, want it refused", p, err)
			}
		})
	}
}

func TestTheZeroHostIsNowhere(t *testing.T) {
	t.Parallel()
	some, err := compileHostPattern("*.example.com")
	if err != nil {
		t.Fatal(err)
	}
	if (hostPattern{}).match(host{}) || some.match(host{}) || (hostPattern{}).match(host{name: "example.com"}) {
		t.Error("got a match, want none")
	}
}

func TestMatchingHostsDoesNotAllocate(t *testing.T) {
	p, _ := compileHostPattern("*.example.com")
	n := testing.AllocsPerRun(100, func() {
		h, err := parseHost("https://www.example.com:8443")
		if err != nil || p.match(h) {
			t.Error("want a host on another port")
		}
	})
	if n != 0 {
		t.Errorf("got %v allocations, want 0", n)
	}
}

func FuzzParseHost(f *testing.F) {
	for _, s := range []string{
		"example.com", "https://example.com:443/", "http://example.com:443", "*.example.com", "evil-example.com", "example.com.evil.io",
		"MÜNCHEN.de", "xn--mnchen-3ya.de", "xn--", "xn--a.com", "ｅｘａｍｐｌｅ.com", "example。com", "exam\u00adple.com", "a\u200db.com",
		"İ.com", "\u212a.com", "straße.de", "aא.com", "0177.0.0.1", "2130706433", "0x7f.1", "127.1", "[::1]:80", "[::ffff:1.2.3.4]",
		"[fe80::1%eth0]", "user@example.com", "https://example.com/../a", "ex%2e%2eample.com", "example.com\x00", "NaN", "1e9", "-0",
		strings.Repeat("a.", 600), strings.Repeat("ü", 600), "example.com:65536", "\xff", "Ꭰ.com",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, perr := compileHostPattern(s)
		h, err := parseHost(s)
		if err != nil {
			if h != (host{}) {
				t.Fatalf("got %+v with an error, want nothing", h)
			}
			if perr == nil && !p.below {
				t.Fatalf("got the pattern %+v of what is not a host", p)
			}
			return
		}
		again, err := parseHost(h.text())
		if err != nil || again != h {
			t.Fatalf("got %+v (%v) from %q, want %+v", again, err, h.text(), h)
		}
		if strings.Trim(h.name, "abcdefghijklmnopqrstuvwxyz0123456789.-_:[]") != "" || len(h.name) > 253 || h.name == "" {
			t.Fatalf("got the name %q", h.name)
		}
		if perr != nil || !p.match(h) {
			t.Fatalf("%q does not match itself: %v", s, perr)
		}
		if isIP(h.name) || !strings.Contains(h.name, ".") {
			return
		}
		below, err := compileHostPattern("*." + h.text())
		if h.port == 443 || len(h.name) > 250 {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		for prefix, want := range map[string]bool{"": false, "evil": false, "evil-": false, "a.": true, "a.b": false} {
			if other, err := parseHost(prefix + h.text()); err == nil && below.match(other) != want {
				t.Fatalf("got %v for %q under %q", !want, other.name, below.host.name)
			}
		}
		if other, err := parseHost(h.name + ".evil.io"); err == nil && below.match(other) {
			t.Fatalf("%q is under %q", other.name, below.host.name)
		}
	})
}

func BenchmarkParseHost(b *testing.B) {
	for _, s := range []string{"example.com", "https://Shop.Example.com:8443/", "münchen.de", "[2001:db8::1]", "user@evil.io"} {
		b.Run(s, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = parseHost(s)
			}
		})
	}
}

func BenchmarkHostMatch(b *testing.B) {
	p, _ := compileHostPattern("*.example.com")
	h, _ := parseHost("shop.example.com")
	b.ReportAllocs()
	for b.Loop() {
		p.match(h)
	}
}
