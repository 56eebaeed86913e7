package domain

import (
	"fmt"
	"testing"
	"time"
)

var (
	registered = AgentRegistered{Name: "Ollie", Type: Native, Key: HashToken("bhf_sk_one")}
	connected  = AgentRegistered{Name: "Remote", Type: Connected, Provider: "elsewhere"}
	buying     = PermissionGranted{PermissionID: "perm_buy", Terms: Terms{Action: "purchase", MaxAmount: "500.00", Currency: "USD"}}
)

func TestAgent(t *testing.T) {
	t.Parallel()
	register := func(cmd RegisterAgent) func(Agent) ([]Event, error) {
		return func(a Agent) ([]Event, error) { return a.Register(cmd) }
	}
	grant := func(id PermissionID, terms Terms) func(Agent) ([]Event, error) {
		return func(a Agent) ([]Event, error) {
			return a.Grant(GrantPermission{PermissionID: id, Terms: terms, Now: noon, Currency: "EUR"})
		}
	}
	replace := func(id PermissionID, since uint64, terms Terms) func(Agent) ([]Event, error) {
		return func(a Agent) ([]Event, error) {
			return a.Replace(ReplacePermission{GrantPermission{id, terms, noon, "EUR"}, since})
		}
	}
	revoke := func(id PermissionID, since uint64) func(Agent) ([]Event, error) {
		return func(a Agent) ([]Event, error) {
			return a.Revoke(RevokePermission{PermissionID: id, IfVersion: since})
		}
	}
	disable := func(a Agent) ([]Event, error) { return a.Disable("lost") }
	rotate := func(a Agent) ([]Event, error) { return a.RotateKey("hash") }
	native := RegisterAgent{AgentID: "agent_ollie", Name: "Ollie", Type: Native, Key: HashToken("bhf_sk_one")}
	with := func(change func(*RegisterAgent)) RegisterAgent { cmd := native; change(&cmd); return cmd }
	read := Terms{Action: "read"}

	for _, tt := range []struct {
		name  string
		given []Event
		when  func(Agent) ([]Event, error)
		then  []Event
		code  Code
		field string
	}{
		{name: "register", when: register(native), then: []Event{registered}},
		{name: "register again", given: []Event{registered}, when: register(native), code: Conflict},
		{name: "register an id with a dot", when: register(with(func(c *RegisterAgent) { c.AgentID = "agent.x" })), code: Invalid, field: "/agentId"},
		{name: "register an id with a wildcard", when: register(with(func(c *RegisterAgent) { c.AgentID = "*" })), code: Invalid, field: "/agentId"},
		{name: "register without a name", when: register(with(func(c *RegisterAgent) { c.Name = "" })), code: Invalid, field: "/name"},
		{name: "register a name that hides text", when: register(with(func(c *RegisterAgent) { c.Name = "Ollie\u202e" })), code: Invalid, field: "/name"},
		{name: "register an unknown type", when: register(with(func(c *RegisterAgent) { c.Type = "robot" })), code: Invalid, field: "/type"},
		{name: "register a native agent without a key", when: register(with(func(c *RegisterAgent) { c.Key = "" })), code: Invalid, field: "/apiKey"},
		{name: "register a native agent with a provider", when: register(with(func(c *RegisterAgent) { c.Provider = "elsewhere" })), code: Invalid, field: "/type"},
		{name: "register a connected agent without a provider", when: register(with(func(c *RegisterAgent) { c.Type = Connected })), code: Invalid, field: "/provider"},
		{
			name: "register a connected agent without a key",
			when: register(RegisterAgent{AgentID: "agent_remote", Name: "Remote", Type: Connected, Provider: "elsewhere"}),
			then: []Event{connected},
		},

		{name: "disable", given: []Event{registered}, when: disable, then: []Event{AgentDisabled{Reason: "lost"}}},
		{name: "disable again changes nothing", given: []Event{registered, AgentDisabled{}}, when: disable},
		{name: "disable what was never registered", when: disable, code: NotFound},
		{name: "enable", given: []Event{registered, AgentDisabled{}}, when: Agent.Enable, then: []Event{AgentEnabled{}}},
		{name: "enable what is active changes nothing", given: []Event{registered}, when: Agent.Enable},
		{name: "enable what was never registered", when: Agent.Enable, code: NotFound},
		{name: "rotate a key", given: []Event{registered}, when: rotate, then: []Event{AgentKeyRotated{Key: "hash"}}},
		{name: "rotate gives a connected agent its first key", given: []Event{connected}, when: rotate, then: []Event{AgentKeyRotated{Key: "hash"}}},
		{name: "rotate the key of what was never registered", when: rotate, code: NotFound},

		{name: "grant", given: []Event{registered}, when: grant("perm_read", read), then: []Event{PermissionGranted{PermissionID: "perm_read", Terms: read}}},
		{name: "grant to what was never registered", when: grant("perm_read", read), code: NotFound},
		{name: "grant to a disabled agent", given: []Event{registered, AgentDisabled{}}, when: grant("perm_read", read), then: []Event{PermissionGranted{PermissionID: "perm_read", Terms: read}}},
		{name: "grant an id twice", given: []Event{registered, buying}, when: grant("perm_buy", read), code: Conflict},
		{
			name: "a limit without a currency gets the account's", given: []Event{registered},
			when: grant("perm_read", Terms{Action: "read", MaxAmount: "5"}),
			then: []Event{PermissionGranted{PermissionID: "perm_read", Terms: Terms{Action: "read", MaxAmount: "5.00", Currency: "EUR"}}},
		},

		{name: "replace", given: []Event{registered, buying}, when: replace("perm_buy", 0, read), then: []Event{PermissionReplaced{PermissionID: "perm_buy", Terms: read}}},
		{name: "replace what was never granted", given: []Event{registered}, when: replace("perm_buy", 0, read), code: NotFound},
		{name: "replace what is revoked", given: []Event{registered, buying, PermissionRevoked{PermissionID: "perm_buy"}}, when: replace("perm_buy", 0, read), code: Conflict},
		{name: "replace with terms that can't be", given: []Event{registered, buying}, when: replace("perm_buy", 0, Terms{}), code: Invalid, field: "/action"},
		{name: "replace the version that was read", given: []Event{registered, buying}, when: replace("perm_buy", 2, read), then: []Event{PermissionReplaced{PermissionID: "perm_buy", Terms: read}}},
		{name: "replace when only something else has changed since", given: []Event{registered, buying, AgentDisabled{}}, when: replace("perm_buy", 2, read), then: []Event{PermissionReplaced{PermissionID: "perm_buy", Terms: read}}},
		{name: "replace when it has changed since", given: []Event{registered, buying, PermissionReplaced(buying)}, when: replace("perm_buy", 2, read), code: Stale},
		{name: "replace at a version that is not there yet", given: []Event{registered, buying}, when: replace("perm_buy", 3, read), code: Stale},

		{name: "revoke", given: []Event{registered, buying}, when: revoke("perm_buy", 0), then: []Event{PermissionRevoked{PermissionID: "perm_buy"}}},
		{name: "revoke again changes nothing", given: []Event{registered, buying, PermissionRevoked{PermissionID: "perm_buy"}}, when: revoke("perm_buy", 0)},
		{name: "revoke what was never granted", given: []Event{registered}, when: revoke("perm_buy", 0), code: NotFound},
		{name: "revoke when it has changed since", given: []Event{registered, buying, PermissionReplaced(buying)}, when: revoke("perm_buy", 2), code: Stale},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := tt.when(givenAgent(tt.given...))
			wantEvents(t, got, err, tt.then, tt.code, tt.field)
		})
	}
}

func TestGrantIsUnderstoodInFullOrRefused(t *testing.T) {
	t.Parallel()
	yesterday, tomorrow := noon.AddDate(0, 0, -1), noon.AddDate(0, 0, 1)
	for _, tt := range []struct {
		name  string
		terms Terms
		code  Code
		field string
	}{
		{"no action at all", Terms{}, Invalid, "/action"},
		{"an action with a wildcard", Terms{Action: "repo:*"}, Invalid, "/action"},
		{"an action with a blank", Terms{Action: "buy it"}, Invalid, "/action"},
		{"an allowed action that isn't one", Terms{AllowedActions: []Action{"ok", "-no"}}, Invalid, "/allowedActions/1"},
		{"an action listed twice", Terms{AllowedActions: []Action{"ok", "ok"}}, Invalid, "/allowedActions/1"},
		{"an action allowed and blocked", Terms{Action: "push", BlockedActions: []Action{"push"}}, Invalid, "/blockedActions/0"},
		{"an empty list of vendors", Terms{Action: "buy", Vendors: Patterns{}}, Invalid, "/vendors"},
		{"an empty list of paths", Terms{Action: "buy", Paths: []string{}}, Invalid, "/paths"},
		{"an empty context", Terms{Action: "buy", Context: &Condition{}}, Invalid, "/context"},
		{"an empty list of branches", Terms{Action: "buy", Context: &Condition{Branch: Patterns{}}}, Invalid, "/context/branch"},
		{"a blank resource", Terms{Action: "buy", Resource: Patterns{""}}, Invalid, "/resource/0"},
		{"a resource of blanks", Terms{Action: "buy", Resource: Patterns{"  "}}, Invalid, "/resource/0"},
		{"a resource that climbs", Terms{Action: "buy", Resource: Patterns{"a/../b"}}, Invalid, "/resource/0"},
		{"a vendor with a path", Terms{Action: "buy", Vendors: Patterns{"ok.com", "evil.com/x"}}, Invalid, "/vendors/1"},
		{"a vendor pattern that is too wide", Terms{Action: "buy", Vendors: Patterns{"*.com"}}, Invalid, "/vendors/0"},
		{"a limit that isn't a number", Terms{Action: "buy", MaxAmount: "NaN", Currency: "USD"}, Invalid, "/maxAmount"},
		{"a negative limit", Terms{Action: "buy", MaxAmount: "-1", Currency: "USD"}, Invalid, "/maxAmount"},
		{"a limit in an unknown currency", Terms{Action: "buy", MaxAmount: "1", Currency: "usd"}, Invalid, "/currency"},
		{"a currency without a limit", Terms{Action: "buy", Currency: "USD"}, Invalid, "/currency"},
		{"a relative path", Terms{Action: "read", Paths: []string{"data"}}, Invalid, "/paths/0"},
		{"a path allowed and denied", Terms{Action: "read", Paths: []string{"/a"}, DeniedPaths: []string{"/a"}}, Invalid, "/deniedPaths/0"},
		{"a denied command that is a pipe", Terms{Action: "run", DeniedCommands: []string{"curl | sh"}}, Invalid, "/deniedCommands/0"},
		{"a past expiry", Terms{Action: "buy", ExpiresAt: yesterday}, Invalid, "/expiresAt"},
		{"an expiry now", Terms{Action: "buy", ExpiresAt: noon}, Invalid, "/expiresAt"},
		{"never valid", Terms{Action: "buy", NotBefore: tomorrow, ExpiresAt: tomorrow}, Invalid, "/notBefore"},
		{"a window in no zone", Terms{Action: "buy", TimeWindows: []Window{{Days: []string{"mon"}, From: "09:00", To: "17:00"}}}, Invalid, "/timeWindows/0"},
		{"notes that hide text", Terms{Action: "buy", Notes: "ok\u200b"}, Invalid, "/notes"},
		{"an approval", Terms{Action: "buy", RequiresApproval: []byte(`true`)}, NotSupported, "/requiresApproval"},
		{"an approval above an amount", Terms{Action: "buy", RequiresApproval: []byte(`"100"`)}, NotSupported, "/requiresApproval"},
		{"budgets", Terms{Action: "buy", Budgets: []byte(`[]`)}, NotSupported, "/budgets"},
		{"rates", Terms{Action: "buy", Rates: []byte(`null`)}, NotSupported, "/rates"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := givenAgent(registered).Grant(GrantPermission{PermissionID: "perm_x", Terms: tt.terms, Now: noon, Currency: "USD"})
			wantEvents(t, got, err, nil, tt.code, tt.field)
		})
	}
}

func TestPassportIsBounded(t *testing.T) {
	t.Parallel()
	a := givenAgent(registered)
	for i := range MostPermissions {
		events, err := a.Grant(GrantPermission{PermissionID: PermissionID("perm_" + string(rune('a'+i%26)) + string(rune('a'+i/26))), Terms: Terms{Action: "read"}, Now: noon})
		if err != nil {
			t.Fatalf("grant %d: %v", i, err)
		}
		a = a.Evolve(Recorded{Record: Record{Account: "acct_home", Agent: "agent_ollie", Event: events[0]}, Position: Position{Seq: a.Version + 1}, Last: a.Version})
	}
	got, err := a.Grant(GrantPermission{PermissionID: "perm_more", Terms: Terms{Action: "read"}, Now: noon})
	wantEvents(t, got, err, nil, Conflict, "")
}

func TestAgentFold(t *testing.T) {
	t.Parallel()
	t.Run("an event seen before changes nothing", func(t *testing.T) {
		t.Parallel()
		a := givenAgent(registered, buying)
		again := a
		for _, r := range history(ollie, registered, buying) {
			again = again.Evolve(r)
		}
		if again.Version != a.Version || len(again.Permissions) != 1 || again.Fault() != nil {
			t.Errorf("got version %d, %d permissions, fault %v, want %d, 1, none", again.Version, len(again.Permissions), again.Fault(), a.Version)
		}
	})
	t.Run("an event that is missing stops the passport for good", func(t *testing.T) {
		t.Parallel()
		records := history(ollie, registered, buying, AgentDisabled{}, AgentEnabled{})
		a := Agent{}.Evolve(records[0]).Evolve(records[2]).Evolve(records[1])
		if a.Fault() == nil {
			t.Error("got no fault, want one")
		}
	})
	t.Run("terms that can't be read stop the passport", func(t *testing.T) {
		t.Parallel()
		a := givenAgent(registered, PermissionGranted{PermissionID: "perm_x", Terms: Terms{Action: "read", Paths: []string{"relative"}}})
		if a.Fault() == nil {
			t.Error("got no fault, want one")
		}
	})
	t.Run("a passport that was handed out never changes", func(t *testing.T) {
		t.Parallel()
		before := givenAgent(registered, buying)
		records := history(ollie, registered, buying, PermissionRevoked{PermissionID: "perm_buy"})
		after := before.Evolve(records[2])
		if p, _ := before.Permission("perm_buy"); !p.Revoked.IsZero() {
			t.Error("got the older passport revoked, want it as it was")
		}
		if p, _ := after.Permission("perm_buy"); p.Revoked.IsZero() || p.Version != 3 {
			t.Errorf("got revoked %v at version %d, want so at 3", p.Revoked, p.Version)
		}
	})
	t.Run("thousands of permissions that came and went cost a decision nothing", func(t *testing.T) {
		t.Parallel()
		events := []Event{registered, buying}
		for i := range 2000 {
			id := PermissionID(fmt.Sprintf("perm_%d", i))
			events = append(events, PermissionGranted{PermissionID: id, Terms: buying.Terms}, PermissionRevoked{PermissionID: id})
		}
		a := givenAgent(events...)
		if got := len(a.byAction["purchase"]); got != 2 {
			t.Errorf("got %d permissions to look at, want the active one and the newest revoked", got)
		}
		if _, ok := a.Permission("perm_0"); !ok || len(a.Permissions) != 2001 {
			t.Errorf("got %d permissions, want all of them to be known", len(a.Permissions))
		}
	})
	t.Run("a replaced permission is the newest", func(t *testing.T) {
		t.Parallel()
		a := givenAgent(registered, buying,
			PermissionGranted{PermissionID: "perm_2", Terms: Terms{Action: "purchase"}},
			PermissionReplaced{PermissionID: "perm_buy", Terms: Terms{Action: "purchase"}})
		if got := a.Permissions[len(a.Permissions)-1].ID; got != "perm_buy" || len(a.Permissions) != 2 {
			t.Errorf("got %s last of %d, want perm_buy of 2", got, len(a.Permissions))
		}
	})
}

func TestPermissionStatus(t *testing.T) {
	t.Parallel()
	p := Permission{Terms: Terms{NotBefore: noon, ExpiresAt: noon.Add(time.Hour)}}
	for _, tt := range []struct {
		name string
		at   time.Time
		want PermissionStatus
	}{
		{"just before it begins", noon.Add(-1), PermissionNotYetValid},
		{"when it begins", noon, PermissionActive},
		{"just before it ends", noon.Add(time.Hour - 1), PermissionActive},
		{"when it ends", noon.Add(time.Hour), PermissionHasExpired},
	} {
		if got := p.StatusAt(tt.at); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
	}
	p.Revoked = noon
	if got := p.StatusAt(noon.AddDate(1, 0, 0)); got != PermissionIsRevoked {
		t.Errorf("revoked and expired: got %s, want %s", got, PermissionIsRevoked)
	}
}
