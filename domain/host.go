package domain

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"unicode"

	"golang.org/x/net/idna"
)

// host is where a vendor is, in the one form that hosts are compared in. The
// zero host is nowhere, and no pattern matches it.
type host struct {
	// name is a lower-case name of A-labels, an IPv4 address, or an IPv6
	// address in brackets.
	name string
	// port is 0 for the default one.
	port uint16
}

// hostPattern is a host, or every host below one. The zero pattern matches
// nothing.
type hostPattern struct {
	// host has a leading dot in its name if below.
	host  host
	below bool
}

// mostHost bounds the text of a host: 253 characters of up to four bytes each,
// a scheme and a port. Punycode takes quadratic time, so it is checked first.
const mostHost = 1040

// parseHost reads host, host:port, or http(s)://host[:port][/]. What more than
// one program could read in more than one way is refused, never repaired.
func parseHost(s string) (host, error) {
	h, below, err := readHost(s)
	switch {
	case err != nil:
		return host{}, fmt.Errorf("%s is not a host: %w", quote(s), err)
	case below:
		return host{}, fmt.Errorf("%s is a pattern; send the one host that is meant", quote(s))
	}
	return h, nil
}

// compileHostPattern reads what parseHost does, and *.host for the names one or
// more labels below host.
func compileHostPattern(s string) (hostPattern, error) {
	h, below, err := readHost(s)
	switch {
	case err != nil:
		return hostPattern{}, fmt.Errorf("%s is not a host pattern: %w", quote(s), err)
	case !below:
		return hostPattern{host: h}, nil
	case isIP(h.name):
		return hostPattern{}, fmt.Errorf("%s is not a host pattern: there are no names below an IP address", quote(s))
	case !strings.Contains(h.name, "."):
		return hostPattern{}, fmt.Errorf("%s covers a whole top-level domain; after *. write at least two labels", quote(s))
	}
	h.name = "." + h.name
	return hostPattern{host: h, below: true}, nil
}

// match compares whole labels: the leading dot of a pattern keeps both the apex
// and evil-example.com out.
func (p hostPattern) match(h host) bool {
	switch {
	case h.name == "":
		return false
	case !p.below:
		return p.host == h
	}
	return p.host.port == h.port && len(h.name) > len(p.host.name) && strings.HasSuffix(h.name, p.host.name)
}

// readHost reads the grammar of patterns. below says that *. came first.
func readHost(s string) (h host, below bool, err error) {
	if len(s) > mostHost {
		return host{}, false, errors.New("it is too long")
	}
	usual := uint16(443)
	if scheme, rest, ok := strings.Cut(s, "://"); ok {
		switch lowerASCII(scheme) {
		case "https":
		case "http":
			usual = 80
		default:
			return host{}, false, errors.New("the scheme must be http or https")
		}
		s = strings.TrimSuffix(rest, "/")
	}
	s, below = strings.CutPrefix(s, "*.")
	if err := checkHostText(s); err != nil {
		return host{}, false, err
	}
	name, port, err := splitPort(s)
	if err != nil {
		return host{}, false, err
	}
	if port != usual {
		h.port = port
	}
	h.name, err = canonicalName(name)
	if err != nil {
		return host{}, false, err
	}
	return h, below, nil
}

// checkHostText names what people may put around a host and programs disagree
// on.
func checkHostText(s string) error {
	for _, c := range s {
		switch {
		case c == '@':
			return errors.New("user information is not taken")
		case c == '/' || c == '?' || c == '#':
			return errors.New("a path, query or fragment is not taken")
		case c == '\\' || c == '%':
			return fmt.Errorf("%q is not taken", c)
		case c == '*':
			return errors.New("the only wildcard is *. in front")
		case unicode.IsSpace(c) || unseen(c):
			return fmt.Errorf("the character %U is not taken", c)
		}
	}
	return nil
}

// splitPort takes a port off. It is 0 if there is none.
func splitPort(s string) (name string, port uint16, err error) {
	digits, found := "", false
	if strings.HasPrefix(s, "[") {
		end := strings.IndexByte(s, ']')
		if end < 0 {
			return "", 0, errors.New("the bracket is not closed")
		}
		name, digits = s[:end+1], s[end+1:]
		if digits == "" {
			return name, 0, nil
		}
		if digits, found = strings.CutPrefix(digits, ":"); !found {
			return "", 0, errors.New("only a port may follow the bracket")
		}
	} else if name, digits, found = strings.Cut(s, ":"); !found {
		return name, 0, nil
	}
	if strings.Contains(digits, ":") {
		return "", 0, errors.New("an IPv6 address goes in brackets")
	}
	n, err := strconv.ParseUint(digits, 10, 16)
	if err != nil || n == 0 || !allDigits(digits) || digits[0] == '0' {
		return "", 0, errors.New("the port must be a plain number from 1 to 65535")
	}
	return name, uint16(n), nil
}

// canonicalName is the only spelling of a name or address.
func canonicalName(s string) (string, error) {
	if strings.HasPrefix(s, "[") {
		return canonicalIPv6(s[1 : len(s)-1])
	}
	name, encoded := lowerASCII(s), false
	if !plainASCII(name) || strings.HasPrefix(name, "xn--") || strings.Contains(name, ".xn--") {
		a, err := toASCII(name)
		if err != nil {
			return "", err
		}
		name, encoded = a, true
	}
	if len(name) > 253 {
		return "", errors.New("it is longer than 253 characters")
	}
	last := ""
	for rest, more := name, true; more; {
		last, rest, more = strings.Cut(rest, ".")
		if err := checkLabel(last); err != nil {
			return "", err
		}
	}
	// Anything that a lenient parser takes for an IPv4 address ends in a
	// number, be it decimal, octal or hexadecimal.
	if allDigits(last) || strings.HasPrefix(last, "0x") {
		if _, err := netip.ParseAddr(name); err != nil || encoded {
			return "", errors.New("an IPv4 address must be four plain decimal numbers")
		}
	}
	return name, nil
}

// canonicalIPv6 meets no zone: the percent sign before one is refused earlier.
func canonicalIPv6(s string) (string, error) {
	addr, err := netip.ParseAddr(s)
	switch {
	case err != nil || !addr.Is6():
		return "", errors.New("it is not an IPv6 address in brackets")
	case addr.Is4In6():
		return "", errors.New("send the IPv4 address itself, not mapped into IPv6")
	}
	return "[" + addr.String() + "]", nil
}

// isIP reports whether a canonical name is an address. No name's last label is
// a number.
func isIP(name string) bool {
	return strings.HasPrefix(name, "[") || allDigits(name[strings.LastIndexByte(name, '.')+1:])
}

// checkLabel allows the underscore, which real names have, but not a label
// without a letter or digit.
func checkLabel(label string) error {
	switch {
	case label == "":
		return errors.New("it has an empty label; leave leading, trailing and double dots out")
	case len(label) > 63:
		return errors.New("it has a label longer than 63 characters")
	case label[0] == '-' || label[len(label)-1] == '-':
		return errors.New("a label begins or ends with a hyphen")
	}
	wordy := false
	for i := range len(label) {
		switch c := label[i]; {
		case 'a' <= c && c <= 'z' || '0' <= c && c <= '9':
			wordy = true
		case c != '-' && c != '_':
			return fmt.Errorf("%q is not taken", c)
		}
	}
	if !wordy {
		return errors.New("a label has neither letters nor digits")
	}
	return nil
}

// strictNames refuses, where the profiles for lookup would map.
var strictNames = idna.New(idna.ValidateForRegistration())

// toASCII encodes a name with letters beyond ASCII, and checks encoded labels.
// Only case is folded: full-width letters, ideographic dots, soft hyphens and
// whatever else a lookup would map to something else are refused.
func toASCII(name string) (string, error) {
	lower, err := lowerLetters(name)
	if err != nil {
		return "", err
	}
	a, err := strictNames.ToASCII(lower)
	if err != nil {
		return "", fmt.Errorf("it is not a valid international name (%w)", err)
	}
	u, err := strictNames.ToUnicode(a)
	if err != nil {
		return "", fmt.Errorf("it is not a valid international name (%w)", err)
	}
	for _, c := range u {
		if unseen(c) { // joiners are valid in some scripts, and hide in all
			return "", fmt.Errorf("the character %U is not taken", c)
		}
	}
	given, got := strings.Split(lower, "."), strings.Split(a, ".")
	for i := range min(len(given), len(got)) {
		if plainASCII(given[i]) && given[i] != got[i] {
			return "", errors.New("a label is not in canonical punycode")
		}
	}
	return a, nil
}

// lowerLetters folds the case of letters whose two cases are a pair. The Kelvin
// sign is not K: folding it would turn one name into another.
func lowerLetters(s string) (string, error) {
	var b strings.Builder
	for _, c := range s {
		l := unicode.ToLower(c)
		if l != c && unicode.ToUpper(l) != c {
			return "", fmt.Errorf("the character %U is not taken", c)
		}
		b.WriteRune(l)
	}
	return b.String(), nil
}

// lowerASCII leaves every other letter alone, and does not copy what is lower
// case.
func lowerASCII(s string) string {
	for i := range len(s) {
		if c := s[i]; 'A' <= c && c <= 'Z' {
			b := []byte(s)
			for j, c := range b {
				if 'A' <= c && c <= 'Z' {
					b[j] = c + 'a' - 'A'
				}
			}
			return string(b)
		}
	}
	return s
}

func plainASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
