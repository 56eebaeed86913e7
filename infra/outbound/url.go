package outbound

import (
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/behalf-platform/behalf/domain"
)

// mostURL bounds a receiver's URL, in bytes.
const mostURL = 2048

// localNames are what stands for a host of somebody's own network, as suffixes.
var localNames = []string{
	".localhost", ".local", ".internal", ".localdomain", ".home.arpa",
	".lan", ".home", ".corp", ".intranet", ".private", ".onion",
}

// CheckURL returns a receiver's URL as it will be used: the host in its only
// spelling, without a default port. What can never be delivered to is refused,
// with a [*domain.RuleError] whose message is safe to show. It looks no name
// up: what a name stands for is judged at each connect.
func (g *Guard) CheckURL(text string) (string, error) {
	u, err := g.parse(text)
	if err == nil {
		err = g.checkHost(u)
	}
	if err != nil {
		return "", err
	}
	return u.String(), nil
}

// parse reads a URL into the form it is used in.
func (g *Guard) parse(text string) (*url.URL, error) {
	if err := checkText(text); err != nil {
		return nil, err
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, badURL("it can't be read; write it like https://example.com/webhooks")
	case u.Scheme != "https" && u.Scheme != "http", u.Opaque != "":
		return nil, badURL("it must begin with https://")
	case u.Scheme == "http" && !g.policy.HTTP:
		return nil, badURL("it must begin with https://: plain http can be read on the way")
	case u.User != nil:
		return nil, badURL("it holds a user name or password; send a credential in a custom header")
	}
	// The text itself: a parser that decodes would let a host through that the
	// check has not seen.
	_, authority, _ := strings.Cut(text, "://")
	if end := strings.IndexAny(authority, "/?"); end >= 0 {
		authority = authority[:end]
	}
	name, port, err := hostAndPort(u, authority)
	if err != nil {
		return nil, err
	}
	u.Host = name
	if port != usualPort(u) {
		u.Host += ":" + strconv.Itoa(int(port))
	}
	return u, nil
}

func checkText(text string) error {
	if text == "" || len(text) > mostURL {
		return badURL("it must have 1 to %d bytes", mostURL)
	}
	for _, c := range text {
		switch {
		case c <= ' ' || c == 0x7f || c == '\\' || c == '\uFFFD':
			return badURL("the character %U is not taken", c)
		case c == '#':
			return badURL("it has a fragment, which is never sent")
		}
	}
	return nil
}

func hostAndPort(u *url.URL, authority string) (name string, port uint16, err error) {
	if u.Host == "" {
		return "", 0, badURL("it names no host")
	}
	text, port := authority, usualPort(u)
	if colon := strings.LastIndexByte(authority, ':'); colon > strings.LastIndexByte(authority, ']') {
		digits := authority[colon+1:]
		n, err := strconv.ParseUint(digits, 10, 16)
		if err != nil || n == 0 || digits[0] < '1' || digits[0] > '9' {
			return "", 0, badURL("the port must be a plain number from 1 to 65535")
		}
		text, port = authority[:colon], uint16(n)
	}
	name, err = domain.CanonicalHost(text)
	if err != nil {
		return "", 0, badURL("%v", err)
	}
	return name, port, nil
}

func usualPort(u *url.URL) uint16 {
	if u.Scheme == "http" {
		return 80
	}
	return 443
}

// checkHost refuses early what connecting would refuse in any case, and names
// that only mean something near the server. Whoever opened a network may have
// names for what is in it.
func (g *Guard) checkHost(u *url.URL) error {
	name, port := u.Hostname(), usualPort(u)
	if given, err := strconv.ParseUint(u.Port(), 10, 16); err == nil {
		port = uint16(given)
	}
	if addr, err := netip.ParseAddr(name); err == nil {
		if g.Allow(netip.AddrPortFrom(addr, port)) != nil {
			return badURL("deliveries don't go to %s: not a public address, or not a port for receivers", netip.AddrPortFrom(addr, port))
		}
		return nil
	}
	if !g.allowPort(port) {
		return badURL("deliveries don't go to port %d", port)
	}
	if len(g.policy.Networks) > 0 {
		return nil
	}
	if !strings.Contains(name, ".") {
		return badURL("%q is a name in a local network; use a full public one", name)
	}
	for _, local := range localNames {
		if strings.HasSuffix(name, local) {
			return badURL("names that end in %q are local; use a public one", local)
		}
	}
	return nil
}

func badURL(format string, args ...any) error {
	return domain.RejectField(domain.Invalid, "/url", "the URL is not taken: %s", fmt.Sprintf(format, args...))
}
