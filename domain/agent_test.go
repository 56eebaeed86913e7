package domain

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"
)

var (
	registered = AgentRegistered{Name: "Ollie", Type: Native, Key: HashToken("bhf_sk_one")}
	connected  = AgentRegistered{Name: "Remote", Type: Connected, Provider: "elsewhere"}
	buying     = PermissionGranted{PermissionID: "perm_buy", Terms: Terms{Action: "purchase", MaxAmount: "500.00", Currency: "USD"}}
	rebought   = PermissionReplaced{PermissionID: buying.PermissionID, Terms: buying.Terms}
)

func TestAgent(t *testing.T) {
	t.Parallel()
	register := func(cmd RegisterAgent) func(Agent) ([]Event, error) {
		return func(a Agent) ([]Event, error) { return a.Register(cmd) }
	}
	grant := func(id PermissionID, terms Terms) func(Agent) ([]Event, error) {
		return func(a Agent) ([]Event, error) {
			return a.Grant(GrantPermission{PermissionID: id, Terms: terms, Now: noon, Currency: "EUR", TimeZone: "Europe/Berlin"})
		}
	}
	replace := func(id PermissionID, since uint64, terms Terms) func(Agent) ([]Event, error) {
		return func(a Agent) ([]Event, error) {
			return a.Replace(ReplacePermission{GrantPermission{id, terms, noon, "EUR", "Europe/Berlin"}, since})
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
		{name: "register by the operator's name", when: register(with(func(c *RegisterAgent) { c.AgentID = "behalf-operator" })), code: Invalid, field: "/agentId"},
		{name: "register by the server's name", when: register(with(func(c *RegisterAgent) { c.AgentID = "_BEHALF" })), code: Invalid, field: "/agentId"},
		{name: "register by a member's id", when: register(with(func(c *RegisterAgent) { c.AgentID = "mem_01JZ0000000000000000000000" })), code: Invalid, field: "/agentId"},
		{name: "register again by a name that was not reserved then", given: []Event{registered}, when: register(with(func(c *RegisterAgent) { c.AgentID = "behalf-operator" })), code: Conflict},
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
		{name: "replace when it has changed since", given: []Event{registered, buying, rebought}, when: replace("perm_buy", 2, read), code: Stale},
		{name: "replace at a version that is not there yet", given: []Event{registered, buying}, when: replace("perm_buy", 3, read), code: Stale},

		{name: "revoke", given: []Event{registered, buying}, when: revoke("perm_buy", 0), then: []Event{PermissionRevoked{PermissionID: "perm_buy"}}},
		{name: "revoke again changes nothing", given: []Event{registered, buying, PermissionRevoked{PermissionID: "perm_buy"}}, when: revoke("perm_buy", 0)},
		{name: "revoke what was never granted", given: []Event{registered}, when: revoke("perm_buy", 0), code: NotFound},
		{name: "revoke when it has changed since", given: []Event{registered, buying, rebought}, when: revoke("perm_buy", 2), code: Stale},
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

		{"an approval above what isn't a number", Terms{Action: "buy", RequiresApproval: ApprovalRule{Above: "much"}}, Invalid, "/requiresApproval"},
		{"an approval above less than nothing", Terms{Action: "buy", RequiresApproval: ApprovalRule{Above: "-1"}}, Invalid, "/requiresApproval"},
		{"an approval above half a cent", Terms{Action: "buy", RequiresApproval: ApprovalRule{Above: "0.005"}}, Invalid, "/requiresApproval"},
		{"an approval above an amount in an unknown currency", Terms{Action: "buy", Currency: "usd", RequiresApproval: ApprovalRule{Above: "1"}}, Invalid, "/currency"},
		{"an approval above the limit", Terms{Action: "buy", MaxAmount: "5", RequiresApproval: ApprovalRule{Above: "5.01"}}, Invalid, "/requiresApproval"},
		{"an approval above the very limit", Terms{Action: "buy", MaxAmount: "5", RequiresApproval: ApprovalRule{Above: "5.00"}}, Invalid, "/requiresApproval"},
		{"a currency for an approval that is asked for always", Terms{Action: "buy", Currency: "USD", RequiresApproval: ApprovalRule{Always: true}}, Invalid, "/currency"},
		{"a currency for budgets, which have their own", Terms{Action: "buy", Currency: "USD", Limits: Limits{Budgets: []Budget{{Amount: "1", Per: PerDay}}}}, Invalid, "/currency"},
		{"how to approve what nobody is asked for", Terms{Action: "buy", Approval: &ApprovalTerms{Quorum: 2}}, Invalid, "/approval"},
		{"how to approve, left empty", Terms{Action: "buy", RequiresApproval: ApprovalRule{Always: true}, Approval: &ApprovalTerms{}}, Invalid, "/approval"},
		{"an approval by viewers", approvedBy(ApprovalTerms{MinRole: RoleViewer}), Invalid, "/approval/minRole"},
		{"an approval by nobody known", approvedBy(ApprovalTerms{MinRole: "approver"}), Invalid, "/approval/minRole"},
		{"an approval by fewer than none", approvedBy(ApprovalTerms{Quorum: -1}), Invalid, "/approval/quorum"},
		{"an approval by too many", approvedBy(ApprovalTerms{Quorum: 17}), Invalid, "/approval/quorum"},
		{"an approval that waits too short", approvedBy(ApprovalTerms{PendingFor: Duration(time.Second - 1)}), Invalid, "/approval/pendingFor"},
		{"an approval that waits too long", approvedBy(ApprovalTerms{PendingFor: Duration(30*24*time.Hour + time.Second)}), Invalid, "/approval/pendingFor"},
		{"a yes that holds for less than no time", approvedBy(ApprovalTerms{ValidFor: -1}), Invalid, "/approval/validFor"},
		{"a yes that holds too long", approvedBy(ApprovalTerms{ValidFor: Duration(31 * 24 * time.Hour)}), Invalid, "/approval/validFor"},
		{"a no that holds too long", approvedBy(ApprovalTerms{DenialFor: Duration(31 * 24 * time.Hour)}), Invalid, "/approval/denialFor"},

		{"no budgets in a list", limitedTo(Limits{Budgets: []Budget{}}), Invalid, "/budgets"},
		{"no rates in a list", limitedTo(Limits{Rates: []Rate{}}), Invalid, "/rates"},
		{"a budget without an amount", limitedTo(Limits{Budgets: []Budget{{Per: PerDay}}}), Invalid, "/budgets/0"},
		{"a budget of nothing", limitedTo(Limits{Budgets: []Budget{{Amount: "0.00", Per: PerDay}}}), Invalid, "/budgets/0"},
		{"a budget of less than nothing", limitedTo(Limits{Budgets: []Budget{{Amount: "-1", Per: PerDay}}}), Invalid, "/budgets/0"},
		{"a budget with too many digits", limitedTo(Limits{Budgets: []Budget{{Amount: "1.001", Per: PerDay}}}), Invalid, "/budgets/0"},
		{"a budget in an unknown currency", limitedTo(Limits{Budgets: []Budget{{Amount: "1", Currency: "usd", Per: PerDay}}}), Invalid, "/budgets/0"},
		{"a budget for no period", limitedTo(Limits{Budgets: []Budget{{Amount: "1"}}}), Invalid, "/budgets/0"},
		{"a budget per year", limitedTo(Limits{Budgets: []Budget{{Amount: "1", Per: "year"}}}), Invalid, "/budgets/0"},
		{"a budget per Day", limitedTo(Limits{Budgets: []Budget{{Amount: "1", Per: "Day"}}}), Invalid, "/budgets/0"},
		{"a budget per minute", limitedTo(Limits{Budgets: []Budget{{Amount: "1", Per: PerMinute}}}), Invalid, "/budgets/0"},
		{"a budget in no zone there is", limitedTo(Limits{Budgets: []Budget{{Amount: "1", Per: PerDay, TimeZone: "Europe/Atlantis"}}}), Invalid, "/budgets/0"},
		{"a budget in the machine's zone", limitedTo(Limits{Budgets: []Budget{{Amount: "1", Per: PerDay, TimeZone: "Local"}}}), Invalid, "/budgets/0"},
		{"a budget in total in a zone", limitedTo(Limits{Budgets: []Budget{{Amount: "1", Per: InTotal, TimeZone: "UTC"}}}), Invalid, "/budgets/0"},
		{"two budgets of one currency and period", limitedTo(Limits{Budgets: []Budget{{Amount: "1", Per: PerDay}, {Amount: "2", Per: PerDay, TimeZone: "UTC", Currency: "USD"}}}), Invalid, "/budgets/1"},
		{"too many budgets", limitedTo(Limits{Budgets: make([]Budget, 33)}), Invalid, "/budgets"},
		{"a rate of nothing", limitedTo(Limits{Rates: []Rate{{Per: PerDay}}}), Invalid, "/rates/0"},
		{"a rate of less than nothing", limitedTo(Limits{Rates: []Rate{{Count: -1, Per: PerDay}}}), Invalid, "/rates/0"},
		{"a rate beyond all counting", limitedTo(Limits{Rates: []Rate{{Count: 1 << 31, Per: PerDay}}}), Invalid, "/rates/0"},
		{"a rate per week", limitedTo(Limits{Rates: []Rate{{Count: 1, Per: PerWeek}}}), Invalid, "/rates/0"},
		{"a rate per month", limitedTo(Limits{Rates: []Rate{{Count: 1, Per: PerMonth}}}), Invalid, "/rates/0"},
		{"a rate for no period", limitedTo(Limits{Rates: []Rate{{Count: 1}}}), Invalid, "/rates/0"},
		{"a rate in no zone there is", limitedTo(Limits{Rates: []Rate{{Count: 1, Per: PerDay, TimeZone: "../etc/passwd"}}}), Invalid, "/rates/0"},
		{"a rate in total in a zone", limitedTo(Limits{Rates: []Rate{{Count: 1, Per: InTotal, TimeZone: "UTC"}}}), Invalid, "/rates/0"},
		{"two rates of one period", limitedTo(Limits{Rates: []Rate{{Count: 1, Per: PerDay}, {Count: 2, Per: PerDay}}}), Invalid, "/rates/1"},
		{"too many rates", limitedTo(Limits{Rates: make([]Rate, 33)}), Invalid, "/rates"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := givenAgent(registered).Grant(GrantPermission{PermissionID: "perm_x", Terms: tt.terms, Now: noon, Currency: "USD", TimeZone: "UTC"})
			wantEvents(t, got, err, nil, tt.code, tt.field)
		})
	}
}

func approvedBy(a ApprovalTerms) Terms {
	return Terms{Action: "buy", RequiresApproval: ApprovalRule{Always: true}, Approval: &a}
}

func limitedTo(l Limits) Terms { return Terms{Action: "buy", Limits: l} }

// What a grant leaves to the account is filled in when it is made, so that later
// changes of the account leave it as it is.
func TestGrantFillsInWhatItLeavesToTheAccount(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name        string
		terms, want Terms
	}{
		{
			"the currency of an approval",
			Terms{Action: "buy", RequiresApproval: ApprovalRule{Above: "5"}},
			Terms{Action: "buy", RequiresApproval: ApprovalRule{Above: "5.00"}, Currency: "EUR"},
		},
		{
			"no currency for one that is asked for always",
			Terms{Action: "buy", RequiresApproval: ApprovalRule{Always: true}},
			Terms{Action: "buy", RequiresApproval: ApprovalRule{Always: true}},
		},
		{
			"the longest durations, the most people", approvedBy(ApprovalTerms{Quorum: 16, MinRole: RoleOwner, PendingFor: longest, ValidFor: Duration(time.Second), DenialFor: longest}),
			approvedBy(ApprovalTerms{Quorum: 16, MinRole: RoleOwner, PendingFor: longest, ValidFor: Duration(time.Second), DenialFor: longest}),
		},
		{
			"the currency and the zone of limits",
			limitedTo(Limits{
				Budgets: []Budget{{Amount: "5", Per: PerHour}, {Amount: "6", Per: PerMonth, Currency: "JPY", TimeZone: "UTC"}, {Amount: "7", Per: InTotal}},
				Rates:   []Rate{{Count: 1, Per: PerMinute}, {Count: 2, Per: PerDay, TimeZone: "UTC"}, {Count: 3, Per: InTotal}},
			}),
			limitedTo(Limits{
				Budgets: []Budget{{"5.00", "EUR", PerHour, "Europe/Berlin"}, {"6", "JPY", PerMonth, "UTC"}, {"7.00", "EUR", InTotal, ""}},
				Rates:   []Rate{{1, PerMinute, "Europe/Berlin"}, {2, PerDay, "UTC"}, {3, InTotal, ""}},
			}),
		},
		{
			"the permission's currency before the account's",
			Terms{Action: "buy", MaxAmount: "5", Currency: "USD", Limits: Limits{Budgets: []Budget{{Amount: "5", Per: PerWeek}}}},
			Terms{Action: "buy", MaxAmount: "5.00", Currency: "USD", Limits: Limits{Budgets: []Budget{{"5.00", "USD", PerWeek, "Europe/Berlin"}}}},
		},
		{
			"one period in two zones, and in two currencies",
			limitedTo(Limits{Budgets: []Budget{{"5", "EUR", PerDay, "UTC"}, {"5", "EUR", PerDay, "Asia/Tokyo"}, {"5", "USD", PerDay, "UTC"}}}),
			limitedTo(Limits{Budgets: []Budget{{"5.00", "EUR", PerDay, "UTC"}, {"5.00", "EUR", PerDay, "Asia/Tokyo"}, {"5.00", "USD", PerDay, "UTC"}}}),
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			asGiven := slices.Clone(tt.terms.Budgets)
			got, err := givenAgent(registered).Grant(GrantPermission{PermissionID: "perm_x", Terms: tt.terms, Now: noon, Currency: "EUR", TimeZone: "Europe/Berlin"})
			wantEvents(t, got, err, []Event{PermissionGranted{PermissionID: "perm_x", Terms: tt.want}}, "", "")
			if !slices.Equal(tt.terms.Budgets, asGiven) {
				t.Errorf("got %v written over what the caller gave, want %v", tt.terms.Budgets, asGiven)
			}
			again, err := tt.want.Accept(noon, "JPY", "Asia/Tokyo")
			if err != nil || !reflect.DeepEqual(again, tt.want) {
				t.Errorf("accepted again elsewhere: got %+v, %v, want the same", again, err)
			}
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
