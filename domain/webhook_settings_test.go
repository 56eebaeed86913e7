package domain

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

func TestTheSettingsOfAWebhook(t *testing.T) {
	t.Parallel()
	header := func(name, value string) func(*EndpointSettings) {
		return func(s *EndpointSettings) { s.Headers = append(s.Headers, EndpointHeader{name, value}) }
	}
	types := func(filters ...string) func(*EndpointSettings) {
		return func(s *EndpointSettings) { s.Types = append([]string{}, filters...) }
	}
	agents := func(ids ...AgentID) func(*EndpointSettings) {
		return func(s *EndpointSettings) { s.Agents = append([]AgentID{}, ids...) }
	}
	many := make([]AgentID, mostAgents+1)
	for i := range many {
		many[i] = AgentID(fmt.Sprint("a", i))
	}
	headers := func(n int) func(*EndpointSettings) {
		return func(s *EndpointSettings) {
			for i := range n {
				header(fmt.Sprint("X-", i), "x")(s)
			}
		}
	}

	for _, tt := range []struct {
		name   string
		change func(*EndpointSettings)
		field  string // of what is wrong with it, empty if nothing is
	}{
		{"a port, a path and a query", hookAt("https://hooks.example.com:8443/a/b;c?d=e%20f&g"), ""},
		{"an address by number", hookAt("https://[2001:db8::1]/x"), ""},
		{"no address", hookAt(""), "/url"},
		{"an address in plain text", hookAt("http://example.com/"), "/url"},
		{"another scheme", hookAt("ftp://example.com/"), "/url"},
		{"no scheme", hookAt("example.com/hook"), "/url"},
		{"no host", hookAt("https:///hook"), "/url"},
		{"a scheme and words", hookAt("https:example.com"), "/url"},
		{"a password", hookAt("https://user:secret@example.com/"), "/url"},
		{"a name", hookAt("https://user@example.com/"), "/url"},
		{"a fragment", hookAt("https://example.com/#x"), "/url"},
		{"an empty fragment", hookAt("https://example.com/#"), "/url"},
		{"a blank", hookAt("https://example.com/a b"), "/url"},
		{"a line break", hookAt("https://example.com/\r\nHost: x"), "/url"},
		{"a backslash", hookAt(`https://example.com\@evil.example/`), "/url"},
		{"a name that is not ASCII", hookAt("https://exämple.com/"), "/url"},
		{"an escape that is none", hookAt("https://example.com/%zz"), "/url"},
		{"a colon without a port", hookAt("https://example.com:/"), "/url"},
		{"a port that is none", hookAt("https://example.com:65536/"), "/url"},
		{"a pattern", hookAt("https://*.example.com/"), "/url"},
		{"the longest address", hookAt("https://example.com/" + strings.Repeat("a", 2028)), ""},
		{"an address that is too long", hookAt("https://example.com/" + strings.Repeat("a", 2029)), "/url"},

		{"types", types("approval.*", "verification.denied", VerificationAllowed), ""},
		{"all types", types("*"), ""},
		{"no types", types(), "/types"},
		{"an unknown type", types("approval.denied", "approval.maybe"), "/types/1"},
		{"an unknown noun", types("approvals.*"), "/types/0"},
		{"half a word", types("approval.app*"), "/types/0"},
		{"half a noun", types("appro*"), "/types/0"},
		{"a star in the middle", types("*.denied"), "/types/0"},
		{"an empty type", types(""), "/types/0"},
		{"a type in other case", types("Approval.denied"), "/types/0"},
		{"a type twice", types("approval.denied", "approval.denied"), "/types/1"},
		{"too many types", types(make([]string, mostTypes+1)...), "/types"},

		{"agents", agents("agent_mia", "agent_ops"), ""},
		{"no agents", agents(), "/agents"},
		{"an agent that can't be", agents("agent_mia", "*"), "/agents/1"},
		{"an agent twice", agents("agent_mia", "agent_mia"), "/agents/1"},
		{"too many agents", agents(many...), "/agents"},

		{"the longest description", func(s *EndpointSettings) { s.Description = strings.Repeat("ü", 256) }, ""},
		{"a description that is too long", func(s *EndpointSettings) { s.Description = strings.Repeat("ü", 257) }, "/description"},
		{"an unknown ordering", func(s *EndpointSettings) { s.Ordering = "fifo" }, "/ordering"},
		{"an unknown format", func(s *EndpointSettings) { s.Format = "xml" }, "/format"},
		{"the highest rate", func(s *EndpointSettings) { s.RatePerSecond = 1000 }, ""},
		{"a rate that is too high", func(s *EndpointSettings) { s.RatePerSecond = 1001 }, "/ratePerSecond"},
		{"a rate below nothing", func(s *EndpointSettings) { s.RatePerSecond = -1 }, "/ratePerSecond"},
		{"one signature", func(s *EndpointSettings) { s.Signatures = []Signature{SignEd25519} }, ""},
		{"no signature", func(s *EndpointSettings) { s.Signatures = []Signature{} }, "/signatures"},
		{"an unknown signature", func(s *EndpointSettings) { s.Signatures = []Signature{"v1", "none"} }, "/signatures/1"},
		{"a signature twice", func(s *EndpointSettings) { s.Signatures = []Signature{"v1", "v1"} }, "/signatures/1"},

		{"a header", header("X-Environment", "production, west"), ""},
		{"no headers", func(s *EndpointSettings) { s.Headers = []EndpointHeader{} }, "/headers"},
		{"as many headers as there may be", headers(10), ""},
		{"too many headers", headers(11), "/headers"},
		{"a header without a name", header("", "x"), "/headers/0/name"},
		{"a header with a blank in it", header("X Y", "x"), "/headers/0/name"},
		{"a header with a colon in it", header("X:Y", "x"), "/headers/0/name"},
		{"a header twice", func(s *EndpointSettings) { header("X-A", "1")(s); header("x-a", "2")(s) }, "/headers/1/name"},
		{"a header of ours", header("Webhook-Id", "x"), "/headers/0/name"},
		{"a header of the reference's", header("BehalfID-Signature", "x"), "/headers/0/name"},
		{"where it goes", header("host", "evil.example"), "/headers/0/name"},
		{"how long it is", header("Content-Length", "1"), "/headers/0/name"},
		{"a header of the connection", header("Transfer-Encoding", "chunked"), "/headers/0/name"},
		{"a proxy's header", header("Proxy-Connection", "close"), "/headers/0/name"},
		{"a credential", header("Authorization", "x"), "/headers/0/name"},
		{"a cookie", header("Cookie", "a=b"), "/headers/0/name"},
		{"a key", header("X-API-Key", "x"), "/headers/0/name"},
		{"a key in one word", header("X-Apikey", "x"), "/headers/0/name"},
		{"a token", header("X-Gitlab-Token", "x"), "/headers/0/name"},
		{"a secret", header("my_secret", "x"), "/headers/0/name"},
		{"the author is no credential", header("X-Author", "Ada"), ""},
		{"a credential under another name", header("X-A", "Bearer abc"), "/headers/0/value"},
		{"one of our secrets", header("X-A", "whsec_abc"), "/headers/0/value"},
		{"a header without a value", header("X-A", ""), "/headers/0/value"},
		{"a line break in a header", header("X-A", "a\r\nHost: b"), "/headers/0/value"},
		{"a header that is not ASCII", header("X-A", "ü"), "/headers/0/value"},
		{"blanks around a value", header("X-A", "a "), "/headers/0/value"},
		{"the longest value", header("X-A", strings.Repeat("a", 512)), ""},
		{"a value that is too long", header("X-A", strings.Repeat("a", 513)), "/headers/0/value"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := hookSettings(tt.change).Complete(hookRules)
			rule, _ := errors.AsType[*RuleError](err)
			switch {
			case tt.field == "" && err != nil:
				t.Errorf("got %v, want it taken", err)
			case tt.field != "" && (rule == nil || rule.Field != tt.field || rule.Code != Invalid):
				t.Errorf("got %v, want it refused at %s", err, tt.field)
			}
		})
	}
}

func TestSettingsAreStoredInOneForm(t *testing.T) {
	t.Parallel()
	given := hookSettings(func(s *EndpointSettings) {
		s.Headers = []EndpointHeader{{"x-team", "ops"}, {"X-Environment", "production"}}
		s.Signatures = []Signature{SignEd25519, SignHMAC}
	})
	got, err := given.Complete(hookRules)
	want := hookSettings(func(s *EndpointSettings) {
		s.Headers = []EndpointHeader{{"X-Environment", "production"}, {"x-team", "ops"}}
	})
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	if given.Headers[0].Name != "x-team" || given.Signatures[0] != SignEd25519 {
		t.Errorf("got %+v, want what was handed in left as it was", given)
	}
	if again, err := got.Complete(hookRules); err != nil || !reflect.DeepEqual(got, again) {
		t.Errorf("got %+v, %v the second time, want %+v", again, err, got)
	}
}

func TestAnUnknownTypeIsAnsweredWithThoseThereAre(t *testing.T) {
	t.Parallel()
	_, err := hookSettings(func(s *EndpointSettings) { s.Types = []string{"approval.maybe"} }).Complete(hookRules)
	for _, kind := range hookRules.Types {
		if err == nil || !strings.Contains(err.Error(), kind) {
			t.Errorf("got %v, want it to name %s", err, kind)
		}
	}
}

func TestPlainAddressesAreTakenWhereTheOperatorSaysSo(t *testing.T) {
	t.Parallel()
	rules := hookRules
	rules.PlainHTTP = true
	for url, want := range map[string]bool{"http://127.0.0.1:9000/": true, "https://example.com": true, "ftp://example.com/": false} {
		if err := checkAddress(url, rules.PlainHTTP); (err == nil) != want {
			t.Errorf("%s: got %v, want it taken: %t", url, err, want)
		}
	}
}

func TestTheOutlineOfSettingsHasNothingThatLetsOthersIn(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"https://example.com":                  "https://example.com",
		"https://example.com/":                 "https://example.com",
		"https://example.com:8443/a/b?c=d":     "https://example.com:8443",
		"https://example.com?token=a/b":        "https://example.com",
		"http://[2001:db8::1]:80/x://y":        "http://[2001:db8::1]:80",
		"https://example.com/?next=https://x/": "https://example.com",
	} {
		s := hookSettings(hookAt(url), func(s *EndpointSettings) { s.Headers = []EndpointHeader{{"X-A", "b"}} })
		if got := s.Outline(); got.URL != want || got.Headers != nil || got.Ordering != s.Ordering {
			t.Errorf("%s: got %+v, want %s", url, got, want)
		}
	}
}
