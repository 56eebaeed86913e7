package outbound

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"syscall"

	"code.dny.dev/ssrf"
)

// Policy is which receivers the operator lets deliveries go to. The zero Policy
// is for production: https, to public addresses.
type Policy struct {
	// HTTP allows http:// beside https://, for receivers in development. What is
	// sent that way can be read by everybody on the path.
	HTTP bool
	// Networks are private networks that receivers may be in, such as
	// 10.1.0.0/16, or 127.0.0.0/8 in development. Each opens itself and no more;
	// no network opens multicast, link-local or metadata addresses.
	Networks []netip.Prefix
	// Ports are all that may be connected to. None stands for 443 and whatever
	// takes no privilege to listen on, from 1024; and for 80 if HTTP is allowed.
	Ports []uint16
}

// Guard judges addresses. It judges them after names are resolved, when they are
// about to be connected to, so that it does not matter what a name stood for a
// moment ago.
type Guard struct {
	policy Policy
	public *ssrf.Guardian // and what the operator opened
}

// BlockedError is the guard saying no. It names the address, and so is for the
// operator's log and not for the customer.
type BlockedError struct {
	Address string
	Why     string
}

func (e *BlockedError) Error() string { return e.Address + " is blocked: " + e.Why }

var (
	// mapped and the rest are IPv6 addresses that carry an IPv4 address. Where
	// they lead is for a gateway to say, so none of them is taken but nat64, and
	// that only if the operator names it.
	mapped = netip.MustParsePrefix("::ffff:0:0/96")
	nat64  = netip.MustParsePrefix("64:ff9b::/96")

	// never are addresses that no setting opens.
	never = prefixes(
		"0.0.0.0/8", "224.0.0.0/4", "255.255.255.255/32",
		"169.254.0.0/16",     // link-local, and the metadata of most clouds
		"168.63.129.16/32",   // the agent of Azure, in public space
		"100.100.100.200/32", // metadata of Alibaba Cloud, in shared space
		"192.0.0.192/32",     // metadata of Oracle Cloud
		"::/128", "ff00::/8", "fe80::/10",
		"fec0::/10",              // site-local: whatever site this is
		"fd00:ec2::/32",          // metadata of AWS, in private space
		"fd20:ce::254/128",       // metadata of Google Cloud, likewise
		"::/96", mapped.String(), // IPv4 inside IPv6, compatible and mapped
		"::ffff:0:0:0/96", // and translated
		"64:ff9b:1::/48",  // NAT64 for local use
		"2001::/32",       // Teredo
		"2002::/16",       // 6to4
	)
	// loopback6 lies in ::/96, and may be opened all the same.
	loopback6 = netip.IPv6Loopback()
)

// NewGuard checks a policy.
func NewGuard(p Policy) (*Guard, error) {
	var faults []error
	opened := map[bool][]netip.Prefix{}
	for _, network := range p.Networks {
		switch {
		case !network.IsValid() || network != network.Masked():
			faults = append(faults, fmt.Errorf("%s is not a network; write it like 10.1.0.0/16", network))
		case network.Bits() < 7: // fc00::/7 is the widest there is
			faults = append(faults, fmt.Errorf("%s is too wide; name the networks that receivers are in", network))
		case network != nat64 && network.Addr().Is6() && (network.Overlaps(nat64) || network.Overlaps(mapped)):
			faults = append(faults, fmt.Errorf("%s holds IPv4 addresses; name these themselves", network))
		}
		if network != nat64 {
			opened[network.Addr().Is6()] = append(opened[network.Addr().Is6()], network)
		}
	}
	if slices.Contains(p.Ports, 0) {
		faults = append(faults, errors.New("port 0 can't be connected to"))
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	p.Networks, p.Ports = slices.Clone(p.Networks), slices.Clone(p.Ports)
	return &Guard{policy: p, public: ssrf.New(ssrf.WithAnyPort(),
		ssrf.WithAllowedV4Prefixes(opened[false]...), ssrf.WithAllowedV6Prefixes(opened[true]...))}, nil
}

// Allow returns nil if the address may be connected to, and else a
// [*BlockedError].
func (g *Guard) Allow(to netip.AddrPort) error {
	why := ""
	switch addr := to.Addr(); {
	case !addr.IsValid() || addr.Zone() != "":
		why = "it is not a plain address"
	case !g.allowPort(to.Port()):
		why = "receivers are not on this port"
	case nat64.Contains(addr):
		if why = "it leads through a NAT64 gateway"; slices.Contains(g.policy.Networks, nat64) {
			bytes := addr.As16()
			return g.Allow(netip.AddrPortFrom(netip.AddrFrom4([4]byte(bytes[12:])), to.Port()))
		}
	case addr != loopback6 && within(never, addr), g.public.SafeAddr(addr) != nil:
		why = "it is not a public address, or one that was opened"
	}
	if why == "" {
		return nil
	}
	return &BlockedError{Address: to.String(), Why: why}
}

func (g *Guard) allowPort(port uint16) bool {
	if len(g.policy.Ports) > 0 {
		return slices.Contains(g.policy.Ports, port)
	}
	return port == 443 || port >= 1024 || port == 80 && g.policy.HTTP
}

// control is asked by the dialer about each address it is about to connect to.
func (g *Guard) control(_ context.Context, network, address string, _ syscall.RawConn) error {
	if network != "tcp4" && network != "tcp6" {
		return &BlockedError{Address: address, Why: network + " is not TCP"}
	}
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return &BlockedError{Address: address, Why: "it can't be read"}
	}
	return g.Allow(to)
}

func within(networks []netip.Prefix, addr netip.Addr) bool {
	return slices.ContainsFunc(networks, func(n netip.Prefix) bool { return n.Contains(addr) })
}

func prefixes(all ...string) []netip.Prefix {
	read := make([]netip.Prefix, len(all))
	for i, s := range all {
		read[i] = netip.MustParsePrefix(s)
	}
	return read
}
