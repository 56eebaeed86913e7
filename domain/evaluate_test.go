package domain

import (
	"strings"
	"testing"
	"time"
)

// may is a history of one agent with these permissions, perm_1 first.
func may(terms ...Terms) []Event {
	events := []Event{registered}
	for i, t := range terms {
		events = append(events, PermissionGranted{PermissionID: permissionAt(i), Terms: t})
	}
	return events
}

func permissionAt(i int) PermissionID { return PermissionID("perm_" + string(rune('1'+i))) }

func TestEvaluate(t *testing.T) {
	t.Parallel()
	buy := Terms{Action: "purchase", Vendors: Patterns{"*.ticketmaster.com", "coachella.com"}, MaxAmount: "500.00", Currency: "USD"}
	asked := Ask{Action: "purchase", Vendor: "coachella.com", Amount: "120"}
	with := func(a Ask, change func(*Ask)) Ask { change(&a); return a }
	run := Terms{Action: "run", DeniedCommands: []string{"rm -rf"}}
	read := Terms{Action: "read", Paths: []string{"/data"}, DeniedPaths: []string{"/data/secret"}}
	push := Terms{Action: "push", Context: &Condition{Branch: Patterns{"main", "release/*"}, Environment: Patterns{"staging"}}}
	repo := Terms{Action: "open", Resource: Patterns{"github.com/acme/*", "s3://backup/**"}}
	hours := Terms{Action: "deploy", TimeWindows: []Window{{Days: []string{"mon"}, From: "09:00", To: "17:00", TimeZone: "Europe/Berlin"}}}
	block := func(scope Patterns) Terms { return Terms{BlockedActions: []Action{"open"}, Resource: scope} }

	for _, tt := range []struct {
		name  string
		given []Event
		ask   Ask
		want  ReasonCode
		by    PermissionID
	}{
		{"what the permission covers", may(buy), asked, Allowed, "perm_1"},
		{"the very limit", may(buy), with(asked, func(a *Ask) { a.Amount = "500.00" }), Allowed, "perm_1"},
		{"a minor unit over the limit", may(buy), with(asked, func(a *Ask) { a.Amount = "500.01" }), AmountExceedsLimit, "perm_1"},
		{"no amount under a limit", may(buy), with(asked, func(a *Ask) { a.Amount = "" }), AmountRequired, "perm_1"},
		{"another currency", may(buy), with(asked, func(a *Ask) { a.Currency = "EUR" }), CurrencyMismatch, "perm_1"},
		{"the account's currency is not the limit's", may(Terms{Action: "purchase", MaxAmount: "5.00", Currency: "EUR"}), Ask{Action: "purchase", Amount: "1"}, CurrencyMismatch, "perm_1"},
		{"a host below the wildcard", may(buy), with(asked, func(a *Ask) { a.Vendor = "www.ticketmaster.com" }), Allowed, "perm_1"},
		{"the apex of the wildcard", may(buy), with(asked, func(a *Ask) { a.Vendor = "ticketmaster.com" }), VendorNotAllowed, "perm_1"},
		{"a host that ends like it", may(buy), with(asked, func(a *Ask) { a.Vendor = "evil-ticketmaster.com" }), VendorNotAllowed, "perm_1"},
		{"a host that begins like it", may(buy), with(asked, func(a *Ask) { a.Vendor = "coachella.com.evil.io" }), VendorNotAllowed, "perm_1"},
		{"a host in userinfo", may(buy), with(asked, func(a *Ask) { a.Vendor = "https://coachella.com@evil.io" }), VendorNotAllowed, "perm_1"},
		{"a full-width host", may(buy), with(asked, func(a *Ask) { a.Vendor = "ｃoachella.com" }), VendorNotAllowed, "perm_1"},
		{"no vendor", may(buy), with(asked, func(a *Ask) { a.Vendor = "" }), VendorNotAllowed, "perm_1"},

		{"an agent that is disabled", append(may(buy), AgentDisabled{}), asked, AgentDisabledCode, ""},
		{"an agent that is enabled again", append(may(buy), AgentDisabled{}, AgentEnabled{}), asked, Allowed, "perm_1"},
		{"an agent that was never registered", nil, asked, AgentDisabledCode, ""},
		{"an empty passport", may(), asked, NoPermission, ""},
		{"another action", may(buy), with(asked, func(a *Ask) { a.Action = "Purchase" }), NoPermission, ""},
		{"a revoked permission", append(may(buy), PermissionRevoked{PermissionID: "perm_1"}), asked, PermissionRevokedCode, "perm_1"},
		{"an expired permission", may(Terms{Action: "purchase", ExpiresAt: noon}), asked, PermissionExpired, "perm_1"},
		{"a permission not yet valid", may(Terms{Action: "purchase", NotBefore: noon.Add(1)}), asked, PermissionNotYet, "perm_1"},
		{"a revoked one does not hide an active one", append(may(buy, buy), PermissionRevoked{PermissionID: "perm_2"}), asked, Allowed, "perm_1"},
		{"of inactive ones the newest tells", may(Terms{Action: "purchase", ExpiresAt: noon}, Terms{Action: "purchase", NotBefore: noon.Add(1)}), asked, PermissionNotYet, "perm_2"},

		{"the newest of two that pass", may(buy, buy), asked, Allowed, "perm_2"},
		{"one that does not pass does not hide one that does", may(buy, Terms{Action: "purchase", MaxAmount: "1", Currency: "USD"}), asked, Allowed, "perm_1"},
		{"the code of the one that got furthest", may(buy, Terms{Action: "purchase", Vendors: Patterns{"other.com"}}), with(asked, func(a *Ask) { a.Amount = "742" }), AmountExceedsLimit, "perm_1"},
		{"an action from the list", may(Terms{AllowedActions: []Action{"read", "list"}}), Ask{Action: "list"}, Allowed, "perm_1"},
		{"the permission's own action, when a list leaves it out", may(Terms{Action: "repo", AllowedActions: []Action{"repo.read"}}), Ask{Action: "repo"}, ActionNotAllowed, "perm_1"},

		{"a resource by glob", may(repo), Ask{Action: "open", Resource: "github.com/acme/site"}, Allowed, "perm_1"},
		{"a glob within a segment", may(repo), Ask{Action: "open", Resource: "github.com/acme/site/issues"}, ResourceNotAllowed, "perm_1"},
		{"a glob across segments", may(repo), Ask{Action: "open", Resource: "s3://backup/2026/11/23"}, Allowed, "perm_1"},
		{"a resource that climbs", may(repo), Ask{Action: "open", Resource: "s3://backup/../prod"}, ResourceNotAllowed, "perm_1"},
		{"a resource that climbs in disguise", may(repo), Ask{Action: "open", Resource: "s3://backup/%2e%2e/prod"}, ResourceNotAllowed, "perm_1"},
		{"no resource", may(repo), Ask{Action: "open"}, ResourceNotAllowed, "perm_1"},
		{"a vendor stands in for a resource", may(Terms{Action: "open", Resource: Patterns{"acme.com"}}), Ask{Action: "open", Vendor: "acme.com"}, Allowed, "perm_1"},
		{"a vendor does not stand in beside a resource", may(Terms{Action: "open", Resource: Patterns{"acme.com"}}), Ask{Action: "open", Vendor: "acme.com", Resource: "other.com"}, ResourceNotAllowed, "perm_1"},

		{"a block", may(repo, block(nil)), Ask{Action: "open", Resource: "github.com/acme/site"}, ActionBlocked, "perm_2"},
		{"a block of this resource", may(repo, block(Patterns{"github.com/acme/*"})), Ask{Action: "open", Resource: "github.com/acme/site"}, ActionBlocked, "perm_2"},
		{"a block of another resource", may(repo, block(Patterns{"s3://backup/**"})), Ask{Action: "open", Resource: "github.com/acme/site"}, Allowed, "perm_1"},
		{"a block of some resource, and a request that names none", may(Terms{Action: "open"}, block(Patterns{"s3://backup/**"})), Ask{Action: "open"}, ActionBlocked, "perm_2"},
		{"a block of some resource, and a request that names a vendor in its place", may(Terms{Action: "open"}, block(Patterns{"s3://backup/**"})), Ask{Action: "open", Vendor: "anything.com"}, ActionBlocked, "perm_2"},
		{"a block of a resource, and one in disguise", may(Terms{Action: "open"}, block(Patterns{"s3://backup/**"})), Ask{Action: "open", Resource: "s3://x/../backup/y"}, ActionBlocked, "perm_2"},
		{"a block of a resource, and one that is spelt in another way", may(Terms{Action: "open"}, block(Patterns{"prod/**"})), Ask{Action: "open", Resource: "%70rod/db"}, ActionBlocked, "perm_2"},
		{"a block of a resource, and one in wide letters", may(Terms{Action: "open"}, block(Patterns{"prod/**"})), Ask{Action: "open", Resource: "ｐrod/db"}, ActionBlocked, "perm_2"},
		{"a block of a resource, and one with a slash before it", may(Terms{Action: "open"}, block(Patterns{"prod/**"})), Ask{Action: "open", Resource: "/prod/db"}, ActionBlocked, "perm_2"},
		{"a block of a URL, and one in capitals", may(Terms{Action: "open"}, block(Patterns{"https://api.x.com/**"})), Ask{Action: "open", Resource: "https://API.x.com/a"}, ActionBlocked, "perm_2"},
		{"a block of a URL, and one with its port", may(Terms{Action: "open"}, block(Patterns{"https://api.x.com/**"})), Ask{Action: "open", Resource: "https://api.x.com:443/a"}, ActionBlocked, "perm_2"},
		{"a URL whose host hides behind a query", may(Terms{Action: "open", Resource: Patterns{"https://*.example.com/**"}}), Ask{Action: "open", Resource: "https://evil.com?.example.com/x"}, ResourceNotAllowed, "perm_1"},
		{"a URL whose host hides behind a fragment", may(Terms{Action: "open", Resource: Patterns{"https://*.example.com/**"}}), Ask{Action: "open", Resource: "https://evil.com#.example.com/x"}, ResourceNotAllowed, "perm_1"},
		{"a URL whose host hides behind a name", may(Terms{Action: "open", Resource: Patterns{"https://*.example.com/**"}}), Ask{Action: "open", Resource: "https://u@evil.com?a.example.com/x"}, ResourceNotAllowed, "perm_1"},
		{"a block of another vendor", may(Terms{Action: "open"}, Terms{BlockedActions: []Action{"open"}, Vendors: Patterns{"evil.com"}}), Ask{Action: "open", Vendor: "acme.com"}, Allowed, "perm_1"},
		{"a block of a vendor, and one that can't be read", may(Terms{Action: "open"}, Terms{BlockedActions: []Action{"open"}, Vendors: Patterns{"evil.com"}}), Ask{Action: "open", Vendor: "evil.com/"}, ActionBlocked, "perm_2"},
		{"a block that was revoked", append(may(repo, block(nil)), PermissionRevoked{PermissionID: "perm_2"}), Ask{Action: "open", Resource: "github.com/acme/site"}, Allowed, "perm_1"},
		{"a block is not lifted by what the caller asserts", may(Terms{Action: "open"}, Terms{BlockedActions: []Action{"open"}, Context: &Condition{Branch: Patterns{"main"}}}), Ask{Action: "open", Context: Facts{Branch: "dev"}}, ActionBlocked, "perm_2"},
		{"only a block elsewhere", may(block(Patterns{"s3://backup/**"})), Ask{Action: "open", Resource: "github.com/acme/site"}, NoPermission, ""},

		{"a context that fits", may(push), Ask{Action: "push", Context: Facts{Branch: "release/1", Environment: "staging"}}, Allowed, "perm_1"},
		{"a context with another branch", may(push), Ask{Action: "push", Context: Facts{Branch: "dev", Environment: "staging"}}, ContextNotAllowed, "perm_1"},
		{"a context that leaves a fact out", may(push), Ask{Action: "push", Context: Facts{Branch: "main"}}, ContextNotAllowed, "perm_1"},

		{"a path below", may(read), Ask{Action: "read", Path: "/data/x"}, Allowed, "perm_1"},
		{"a path that begins alike", may(read), Ask{Action: "read", Path: "/database"}, PathNotAllowed, "perm_1"},
		{"a path that is denied", may(read), Ask{Action: "read", Path: "/data/secret/x"}, PathNotAllowed, "perm_1"},
		{"a path that climbs into what is denied", may(read), Ask{Action: "read", Path: "/data/x/../secret"}, PathNotAllowed, "perm_1"},
		{"a path that climbs out", may(read), Ask{Action: "read", Path: "/data/../etc/passwd"}, PathNotAllowed, "perm_1"},
		{"a path in disguise", may(read), Ask{Action: "read", Path: "/data/%2e%2e/etc"}, PathNotAllowed, "perm_1"},
		{"a relative path with a working directory", may(read), Ask{Action: "read", Path: "x", Cwd: "/data"}, Allowed, "perm_1"},
		{"a relative path without one", may(read), Ask{Action: "read", Path: "x"}, PathNotAllowed, "perm_1"},
		{"no path", may(read), Ask{Action: "read"}, PathNotAllowed, "perm_1"},
		{"no path where only some are denied", may(Terms{Action: "read", DeniedPaths: []string{"/etc"}}), Ask{Action: "read"}, PathNotAllowed, "perm_1"},

		{"a harmless command", may(run), Ask{Action: "run", Command: "go test ./..."}, Allowed, "perm_1"},
		{"a denied command", may(run), Ask{Action: "run", Command: "rm  -rf /"}, CommandNotAllowed, "perm_1"},
		{"a denied command by its path, flags apart", may(run), Ask{Action: "run", Command: "/bin/rm -r -f /"}, CommandNotAllowed, "perm_1"},
		{"a denied command in a substitution", may(run), Ask{Action: "run", Command: "echo $(rm -fr /)"}, CommandNotAllowed, "perm_1"},
		{"a command that can't be parsed", may(run), Ask{Action: "run", Command: "echo 'open"}, CommandNotAllowed, "perm_1"},
		{"no command", may(run), Ask{Action: "run"}, CommandNotAllowed, "perm_1"},

		{"within the window", may(hours), Ask{Action: "deploy"}, Allowed, "perm_1"},
		{"outside the window", may(Terms{Action: "deploy", TimeWindows: []Window{{Days: []string{"tue"}, From: "09:00", To: "17:00", TimeZone: "UTC"}}}), Ask{Action: "deploy"}, OutsideTimeWindow, "perm_1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			agent := givenAgent(tt.given...)
			if err := agent.Fault(); err != nil {
				t.Fatalf("given: %v", err)
			}
			req, err := tt.ask.Request("USD")
			if err != nil {
				t.Fatalf("ask: %v", err)
			}
			now := Situation{Agent: &agent, Now: noon}
			d := Evaluate(now, req)
			d.Name("1")
			if d.ReasonCode != tt.want || d.PermissionID != tt.by {
				t.Errorf("got %s by %q (%s), want %s by %q", d.ReasonCode, d.PermissionID, d.Reason, tt.want, tt.by)
			}
			mustBeWhole(t, &agent, d)
			mustDeriveAgain(t, now, d)
		})
	}
}

func TestEveryCheckIsRecorded(t *testing.T) {
	t.Parallel()
	agent := givenAgent(may(Terms{
		Action: "purchase", Vendors: Patterns{"other.com"}, MaxAmount: "1", Currency: "USD", Paths: []string{"/x"},
	})...)
	ask := Ask{Action: "purchase", Vendor: "coachella.com", Amount: "2"}
	req, err := ask.Request("USD")
	if err != nil {
		t.Fatal(err)
	}
	d := Evaluate(Situation{Agent: &agent, Now: noon}, req)
	var failed []string
	for _, c := range d.Checks {
		if !c.Passed {
			failed = append(failed, string(c.Rule))
		}
	}
	if got, want := strings.Join(failed, " "), "vendor amount path"; got != want {
		t.Errorf("got the failures %q, want %q", got, want)
	}
}

func TestAskIsRefused(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, field string
		ask         Ask
	}{
		{"no action", "/action", Ask{}},
		{"an action with a blank", "/action", Ask{Action: "buy it"}},
		{"an amount that isn't a number", "/amount", Ask{Action: "buy", Amount: "NaN"}},
		{"an exponent", "/amount", Ask{Action: "buy", Amount: "1e9"}},
		{"a negative amount", "/amount", Ask{Action: "buy", Amount: "-0"}},
		{"too many digits", "/amount", Ask{Action: "buy", Amount: "1.234"}},
		{"a very long amount", "/amount", Ask{Action: "buy", Amount: Decimal(strings.Repeat("9", 500))}},
		{"an unknown currency", "/currency", Ask{Action: "buy", Currency: "XXQ"}},
		{"NUL in a path", "/path", Ask{Action: "read", Path: "/a\x00b"}},
		{"a line feed in a vendor", "/vendor", Ask{Action: "buy", Vendor: "a\nb"}},
		{"a zero-width space in a resource", "/resource", Ask{Action: "buy", Resource: "a\u200bb"}},
		{"a direction override in a branch", "/context/branch", Ask{Action: "buy", Context: Facts{Branch: "a\u202eb"}}},
		{"NUL in a command", "/command", Ask{Action: "run", Command: "ls\x00"}},
		{"a very long resource", "/resource", Ask{Action: "buy", Resource: strings.Repeat("a", 3000)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := tt.ask.Request("USD")
			wantEvents(t, nil, err, nil, Invalid, tt.field)
		})
	}
}

// Two asks that differ anywhere have different digests; the way a number or an
// object is written out counts only where it could change the meaning.
func TestDigest(t *testing.T) {
	t.Parallel()
	digest := func(a Ask) string {
		d, err := a.Digest()
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	base := Ask{
		Action: "a", Vendor: "b", Resource: "c", Amount: "1", Currency: "USD", Path: "/d", Command: "e", Cwd: "/f",
		Context: Facts{"g", "h", "i"}, Arguments: []byte(`{"n":9007199254740992,"s":"x"}`),
	}
	for name, change := range map[string]func(*Ask){
		"action": func(a *Ask) { a.Action = "A" }, "vendor": func(a *Ask) { a.Vendor = "B" },
		"resource": func(a *Ask) { a.Resource = "C" }, "amount": func(a *Ask) { a.Amount = "1.01" },
		"currency": func(a *Ask) { a.Currency = "EUR" }, "path": func(a *Ask) { a.Path = "/D" },
		"command": func(a *Ask) { a.Command = "E" }, "cwd": func(a *Ask) { a.Cwd = "/F" },
		"branch": func(a *Ask) { a.Context.Branch = "G" }, "environment": func(a *Ask) { a.Context.Environment = "H" },
		"repository":        func(a *Ask) { a.Context.Repository = "I" },
		"a large number":    func(a *Ask) { a.Arguments = []byte(`{"n":9007199254740993,"s":"x"}`) },
		"a byte of a text":  func(a *Ask) { a.Arguments = []byte(`{"n":9007199254740992,"s":"y"}`) },
		"no arguments":      func(a *Ask) { a.Arguments = nil },
		"a value elsewhere": func(a *Ask) { a.Vendor, a.Resource = "", "b" },
	} {
		changed := base
		change(&changed)
		if digest(changed) == digest(base) {
			t.Errorf("%s: got the same digest, want another", name)
		}
	}
	for name, change := range map[string]func(*Ask){
		"the idempotency key":    func(a *Ask) { a.IdempotencyKey = "k" },
		"the position":           func(a *Ask) { a.AtLeast = "p" },
		"the order of an object": func(a *Ask) { a.Arguments = []byte(`{ "s":"x", "n":9007199254740992 }`) },
		"an escape in a text":    func(a *Ask) { a.Arguments = []byte(`{"n":9007199254740992,"s":"\u0078"}`) },
	} {
		changed := base
		change(&changed)
		if digest(changed) != digest(base) {
			t.Errorf("%s: got another digest, want the same", name)
		}
	}
}

func TestRisk(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		terms Terms
		ask   Ask
		want  Risk
	}{
		{"reading something named", Terms{Action: "read", Resource: Patterns{"a"}}, Ask{Action: "read", Resource: "a"}, RiskLow},
		{"a little money", Terms{Action: "purchase"}, Ask{Action: "purchase", Amount: "12"}, RiskLow},
		{"some money", Terms{Action: "purchase"}, Ask{Action: "purchase", Amount: "742"}, RiskMedium},
		{"much money", Terms{Action: "purchase"}, Ask{Action: "purchase", Amount: "1000"}, RiskHigh},
		{"what can't be undone", Terms{Action: "db.delete", Resource: Patterns{"a"}}, Ask{Action: "db.delete", Resource: "a"}, RiskHigh},
		{"what reaches others", Terms{Action: "app:deploy", Resource: Patterns{"a"}}, Ask{Action: "app:deploy", Resource: "a"}, RiskMedium},
		{"what reaches others, anywhere", Terms{Action: "app:deploy"}, Ask{Action: "app:deploy"}, RiskHigh},
		{"any command", Terms{Action: "shell", Resource: Patterns{"a"}}, Ask{Action: "shell", Resource: "a", Command: "ls"}, RiskMedium},
	} {
		agent := givenAgent(may(tt.terms)...)
		req, err := tt.ask.Request("USD")
		if err != nil {
			t.Fatal(err)
		}
		if got := Evaluate(Situation{Agent: &agent, Now: noon}, req).Risk; got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
		disabled := givenAgent(append(may(tt.terms), AgentDisabled{})...)
		if got := Evaluate(Situation{Agent: &disabled, Now: noon}, req).Risk; got == "" {
			t.Errorf("%s: got no risk for a denial", tt.name)
		}
	}
}

// The time of an evaluation is an argument, and so is all else.
func TestEvaluateIsPure(t *testing.T) {
	t.Parallel()
	agent := givenAgent(may(Terms{Action: "a", AllowedActions: []Action{"a", "b"}}, Terms{Action: "b"}, Terms{BlockedActions: []Action{"b"}, Resource: Patterns{"x"}})...)
	ask := Ask{Action: "b", Resource: "y"}
	req, err := ask.Request("USD")
	if err != nil {
		t.Fatal(err)
	}
	first := Evaluate(Situation{Agent: &agent, Now: noon}, req)
	for range 100 {
		d := Evaluate(Situation{Agent: &agent, Now: noon}, req)
		if string(d.append(nil)) != string(first.append(nil)) {
			t.Fatalf("got %+v, want %+v", d, first)
		}
	}
}

func BenchmarkEvaluate(b *testing.B) {
	events := []Event{registered}
	for i := range 10 {
		events = append(events, PermissionGranted{PermissionID: permissionAt(i), Terms: Terms{
			Action: Action("load.action_" + string(rune('0'+i))), Resource: Patterns{"res/" + string(rune('0'+i))},
			MaxAmount: "100.00", Currency: "USD", ExpiresAt: noon.Add(time.Hour),
		}})
	}
	agent := givenAgent(events...)
	ask := Ask{Action: "load.action_3", Resource: "res/3", Amount: "42.00"}
	b.ReportAllocs()
	for b.Loop() {
		req, err := ask.Request("USD")
		if err != nil {
			b.Fatal(err)
		}
		if d := Evaluate(Situation{Agent: &agent, Now: noon}, req); d.Outcome != OutcomeAllowed {
			b.Fatalf("got %s", d.ReasonCode)
		}
	}
}
