package outbound_test

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/behalf-platform/behalf/infra/outbound"
)

func TestGuard(t *testing.T) {
	t.Parallel()
	production := outbound.Policy{}
	private := outbound.Policy{Networks: networks("10.1.0.0/16", "fd12:3456::/32")}
	development := outbound.Policy{HTTP: true, Networks: networks("127.0.0.0/8", "::1/128")}
	wide := outbound.Policy{Networks: networks("169.254.0.0/16", "fd00::/8", "100.64.0.0/10", "168.0.0.0/8", "224.0.0.0/8", "ff00::/8", "fe80::/10", "2002::/16", "2001::/16", "192.0.0.0/8")}
	nat64 := outbound.Policy{Networks: networks("64:ff9b::/96")}
	for _, test := range []struct {
		name   string
		policy outbound.Policy
		allow  []string
		block  []string
	}{
		{
			name: "production", policy: production,
			allow: []string{"93.184.215.14:443", "[2606:2800:21f:cb07:6820:80da:af6b:8b2c]:443", "1.1.1.1:8443", "1.1.1.1:1024", "1.1.1.1:65535"},
			block: []string{
				"127.0.0.1:443", "127.255.255.254:443", "0.0.0.0:443", "0.1.2.3:443", // this host
				"10.0.0.1:443", "172.16.0.1:443", "172.31.255.255:443", "192.168.0.1:443", // private
				"100.64.0.1:443", "100.100.100.200:443", "100.127.255.255:443", // shared
				"169.254.169.254:443", "169.254.170.2:443", "168.63.129.16:443", "192.0.0.192:443", // metadata
				"192.0.2.1:443", "198.51.100.1:443", "203.0.113.1:443", "198.18.0.1:443", "198.19.255.255:443", // documentation, benchmarks
				"224.0.0.1:443", "239.255.255.250:443", "240.0.0.1:443", "255.255.255.255:443", "192.88.99.1:443",
				"[::]:443", "[::1]:443", "[fe80::1]:443", "[febf::1]:443", "[fec0::1]:443", "[fc00::1]:443", "[fd00:ec2::254]:443", "[ff02::1]:443",
				"[2001:db8::1]:443", "[3fff::1]:443", "[100::1]:443", "[5f00::1]:443", "[4000::1]:443",
				"[::ffff:127.0.0.1]:443", "[::ffff:93.184.215.14]:443", "[::127.0.0.1]:443", "[::93.184.215.14]:443", "[::ffff:0:127.0.0.1]:443",
				"[2002:7f00:1::]:443", "[2002:5db8:d70e::]:443", "[2001:0:4136:e378:8000:63bf:3fff:fdd2]:443",
				"[64:ff9b::7f00:1]:443", "[64:ff9b::5db8:d70e]:443", "[64:ff9b:1::1]:443", "[64:ff9b:1:fffe::5db8:d70e]:443",
				"[fe80::1%eth0]:443", "[2606:2800:21f:cb07:6820:80da:af6b:8b2c%1]:443",
				"1.1.1.1:0", "1.1.1.1:22", "1.1.1.1:25", "1.1.1.1:80", "1.1.1.1:1023",
			},
		},
		{
			name: "an opened network opens no other", policy: private,
			allow: []string{"10.1.0.1:443", "10.1.255.255:9000", "[fd12:3456::1]:443", "1.1.1.1:443"},
			block: []string{
				"10.0.255.255:443", "10.2.0.0:443", "192.168.0.1:443", "127.0.0.1:443", "10.1.0.1:22", "[fd12:3457::1]:443",
				"[::ffff:10.1.0.1]:443", "[::10.1.0.1]:443", "[64:ff9b::a01:1]:443", "[2002:a01:1::]:443",
			},
		},
		{
			name: "development", policy: development,
			allow: []string{"127.0.0.1:80", "127.0.0.1:8080", "127.9.9.9:443", "[::1]:443", "1.1.1.1:80"},
			block: []string{"[::]:80", "0.0.0.0:80", "[::2]:443", "[::ffff:127.0.0.1]:8080", "10.0.0.1:80", "127.0.0.1:22"},
		},
		{
			name: "no network opens what is never a receiver", policy: wide,
			allow: []string{"100.64.0.1:443", "[fd00:1::1]:443", "168.63.129.17:443"},
			block: []string{
				"169.254.169.254:443", "[fd00:ec2::254]:443", "[fd20:ce::254]:443", "100.100.100.200:443", "168.63.129.16:443", "192.0.0.192:443",
				"224.0.0.1:443", "[ff02::1]:443", "[fe80::1]:443", "[2002:7f00:1::]:443", "[2001:0:4136:e378:8000:63bf:3fff:fdd2]:443",
			},
		},
		{
			name: "through NAT64, the address inside is judged", policy: nat64,
			allow: []string{"[64:ff9b::5db8:d70e]:443", "93.184.215.14:443"},
			block: []string{"[64:ff9b::7f00:1]:443", "[64:ff9b::a9fe:a9fe]:443", "[64:ff9b::5db8:d70e]:25", "[64:ff9b:1::5db8:d70e]:443", "[64:ff9b::a00:1]:443"},
		},
		{
			name: "ports that are named are all", policy: outbound.Policy{HTTP: true, Ports: []uint16{8443, 25}},
			allow: []string{"1.1.1.1:8443", "1.1.1.1:25"},
			block: []string{"1.1.1.1:443", "1.1.1.1:80", "1.1.1.1:9000"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			guard, err := outbound.NewGuard(test.policy)
			if err != nil {
				t.Fatal(err)
			}
			for _, address := range test.allow {
				if err := guard.Allow(netip.MustParseAddrPort(address)); err != nil {
					t.Errorf("%s: got %v, want it allowed", address, err)
				}
			}
			for _, address := range test.block {
				var blocked *outbound.BlockedError
				if err := guard.Allow(netip.MustParseAddrPort(address)); !errors.As(err, &blocked) {
					t.Errorf("%s: got %v, want it blocked", address, err)
				}
			}
			if guard.Allow(netip.AddrPort{}) == nil {
				t.Error("no address at all is allowed")
			}
		})
	}
}

func TestPolicyIsChecked(t *testing.T) {
	t.Parallel()
	for name, policy := range map[string]outbound.Policy{
		"everything":           {Networks: networks("0.0.0.0/0")},
		"everything of IPv6":   {Networks: networks("::/0")},
		"nearly everything":    {Networks: networks("0.0.0.0/1")},
		"not a network":        {Networks: []netip.Prefix{netip.PrefixFrom(netip.MustParseAddr("10.1.2.3"), 16)}},
		"nothing":              {Networks: []netip.Prefix{{}}},
		"mapped IPv4":          {Networks: networks("::ffff:10.0.0.0/104")},
		"around mapped IPv4":   {Networks: networks("::/8")},
		"a part of NAT64":      {Networks: networks("64:ff9b::a00:0/104")},
		"around NAT64":         {Networks: networks("64:ff9b::/32")},
		"a port that is none":  {Ports: []uint16{443, 0}},
		"one bad one of three": {Networks: networks("10.0.0.0/8", "::/0", "fd00::/8")},
	} {
		if _, err := outbound.NewGuard(policy); err == nil {
			t.Errorf("%s: got a guard, want an error", name)
		}
	}
}

func networks(all ...string) []netip.Prefix {
	read := make([]netip.Prefix, len(all))
	for i, s := range all {
		read[i] = netip.MustParsePrefix(s)
	}
	return read
}
