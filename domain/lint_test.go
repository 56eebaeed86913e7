package domain

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var (
	lintNow   = time.Date(2027, 3, 2, 10, 0, 0, 0, time.UTC)
	lintUntil = lintNow.AddDate(1, 0, 0)
)

func TestLint(t *testing.T) {
	t.Parallel()
	hours := func(day, from, to string) []Window {
		return []Window{{Days: []string{day}, From: from, To: to, TimeZone: "UTC"}}
	}
	always := ApprovalRule{Always: true}
	for _, test := range []struct {
		name   string
		drafts []Terms // d0, d1, …; they expire unless they say when
		limits Limits
		want   []string // severity, draft, code and field of each
	}{
		{name: "nothing wrong", drafts: []Terms{{Action: "read", Resource: Patterns{"docs/**"}}}},
		{name: "no drafts"},

		{name: "refused", drafts: []Terms{{Action: "read", Resource: Patterns{"a/../b"}}}, want: []string{"error d0 refused /resource/0"}},
		{name: "refused for naming nothing", drafts: []Terms{{}}, want: []string{"error d0 refused /action"}},
		{name: "allowed and blocked", drafts: []Terms{{AllowedActions: []Action{"a", "b"}, BlockedActions: []Action{"b"}}}, want: []string{"error d0 contradiction /blockedActions/0"}},
		{name: "expired", drafts: []Terms{{Action: "read", ExpiresAt: lintNow}}, want: []string{"error d0 expired /expiresAt"}},
		{name: "never valid", drafts: []Terms{{Action: "read", NotBefore: lintUntil, ExpiresAt: lintUntil}}, want: []string{"error d0 never-valid /notBefore"}},
		{name: "empty window", drafts: []Terms{{Action: "read", TimeWindows: hours("mon", "09:00", "09:00")}}, want: []string{"error d0 empty-window /timeWindows/0"}},
		{name: "no windows", drafts: []Terms{{Action: "read", TimeWindows: []Window{}}}, want: []string{"error d0 empty-window /timeWindows"}},
		{name: "hours that never come", drafts: []Terms{{Action: "read", TimeWindows: hours("mon", "09:00", "17:00"), ExpiresAt: lintNow.AddDate(0, 0, 3)}}, want: []string{"error d0 empty-window /timeWindows"}},
		{name: "hours that come once", drafts: []Terms{{Action: "read", TimeWindows: hours("fri", "09:00", "09:01"), ExpiresAt: lintNow.AddDate(0, 0, 3)}}},
		{name: "action not listed", drafts: []Terms{{Action: "read", AllowedActions: []Action{"list"}}}, want: []string{"error d0 action-unlisted /action"}},
		{name: "paths denied", drafts: []Terms{{Action: "read", Paths: []string{"/data/x", "/data/*/y"}, DeniedPaths: []string{"/data"}}}, want: []string{"error d0 paths-denied /deniedPaths"}},
		{name: "paths denied in part", drafts: []Terms{{Action: "read", Paths: []string{"/data"}, DeniedPaths: []string{"/data/x"}}}},

		{name: "blocked", drafts: []Terms{{Action: "read"}, {BlockedActions: []Action{"read"}}}, want: []string{"error d0 blocked /action"}},
		{name: "blocked in its scope", drafts: []Terms{{Action: "read", Resource: Patterns{"a/b/*"}}, {BlockedActions: []Action{"read"}, Resource: Patterns{"a/**"}}}, want: []string{"error d0 blocked /action"}},
		{name: "blocked elsewhere", drafts: []Terms{{Action: "read", Resource: Patterns{"a/**"}}, {BlockedActions: []Action{"read"}, Resource: Patterns{"a/b/*"}}}},
		{name: "blocked until it begins", drafts: []Terms{{Action: "read"}, {BlockedActions: []Action{"read"}, ExpiresAt: lintNow.AddDate(0, 1, 0)}}},
		{name: "blocked by a vendor it doesn't name", drafts: []Terms{{Action: "read"}, {BlockedActions: []Action{"read"}, Vendors: Patterns{"*.example.com"}}}},
		{name: "blocked with a vendor below", drafts: []Terms{{Action: "read", Vendors: Patterns{"a.example.com", "*.b.example.com"}}, {BlockedActions: []Action{"read"}, Vendors: Patterns{"*.example.com"}}}, want: []string{"error d0 blocked /action"}},
		{name: "partly blocked", drafts: []Terms{{AllowedActions: []Action{"read", "list"}}, {BlockedActions: []Action{"list"}}}, want: []string{"warning d0 partly-blocked /allowedActions/1"}},

		{name: "shadowed by an older one", drafts: []Terms{{Action: "read"}, {Action: "read", Resource: Patterns{"a/*"}, Limits: Limits{Rates: []Rate{{Count: 1, Per: PerDay}}}}}, want: []string{"warning d1 shadowed "}},
		{name: "shadowed by a newer one", drafts: []Terms{{Action: "read", Resource: Patterns{"a/*"}}, {AllowedActions: []Action{"list", "read"}}}, want: []string{"warning d0 shadowed "}},
		{name: "the second of two that are the same", drafts: []Terms{{Action: "read"}, {Action: "read"}}, want: []string{"warning d1 shadowed "}},
		{name: "a wider one with a limit shadows nothing", drafts: []Terms{{Action: "read", Limits: Limits{Rates: []Rate{{Count: 1, Per: PerDay}}}}, {Action: "read", Resource: Patterns{"a/*"}}}},
		{name: "a wider one that wants an amount", drafts: []Terms{{Action: "read", MaxAmount: "5", Currency: "USD"}, {Action: "read", Resource: Patterns{"a/*"}}}},
		{name: "a wider one that ends sooner", drafts: []Terms{{Action: "read", ExpiresAt: lintNow.AddDate(0, 1, 0)}, {Action: "read", Resource: Patterns{"a/*"}}}},
		{name: "amounts compare", drafts: []Terms{{Action: "tip", MaxAmount: "50", Currency: "USD"}, {Action: "tip", MaxAmount: "5", Currency: "USD"}}, want: []string{"warning d1 shadowed "}},
		{name: "amounts in two currencies don't", drafts: []Terms{{Action: "tip", MaxAmount: "50", Currency: "USD"}, {Action: "tip", MaxAmount: "5", Currency: "EUR"}}},
		{name: "always asked", drafts: []Terms{{Action: "read", RequiresApproval: always}, {Action: "read", Resource: Patterns{"a/*"}}}, want: []string{"warning d1 always-asked "}},
		{name: "one that asks is not shadowed by one that doesn't", drafts: []Terms{{Action: "read"}, {Action: "read", Resource: Patterns{"a/*"}, RequiresApproval: always}}},
		{name: "two that ask: the newer decides", drafts: []Terms{{Action: "read", Resource: Patterns{"a/*"}, RequiresApproval: always}, {Action: "read", RequiresApproval: always}}, want: []string{"warning d0 shadowed "}},
		{name: "two that ask: the stricter decides", drafts: []Terms{{Action: "read", RequiresApproval: always, Approval: &ApprovalTerms{Quorum: 2}}, {Action: "read", Resource: Patterns{"a/*"}, RequiresApproval: always}}, want: []string{"warning d1 shadowed "}},
		{name: "approval escaped by amount", drafts: []Terms{{Action: "tip", MaxAmount: "5", Currency: "USD", RequiresApproval: always}, {Action: "tip"}}, want: []string{"error d0 approval-escaped /maxAmount"}},
		{name: "approval escaped by rate", drafts: []Terms{{Action: "read", RequiresApproval: always, Limits: Limits{Rates: []Rate{{Count: 1, Per: PerDay}}}}, {Action: "read"}}, want: []string{"error d0 approval-escaped /rates"}},
		{name: "approval escaped by hour", drafts: []Terms{{Action: "read", RequiresApproval: always, TimeWindows: hours("mon", "09:00", "17:00")}, {Action: "read"}}, want: []string{"error d0 approval-escaped /timeWindows"}},
		{name: "approval escaped by command", drafts: []Terms{{Action: "exec", RequiresApproval: always, DeniedCommands: []string{"rm -rf"}}, {Action: "exec"}}, want: []string{"error d0 approval-escaped /deniedCommands"}},

		{name: "matches everything", drafts: []Terms{{Action: "read", Resource: Patterns{"a", "**"}, Paths: []string{"/"}, Context: &Condition{Branch: Patterns{"*"}}}}, want: []string{
			"warning d0 wide-pattern /resource/1", "warning d0 wide-pattern /context/branch/0", "warning d0 wide-pattern /paths/0",
		}},
		{name: "a whole top-level domain", drafts: []Terms{{Action: "read", Vendors: Patterns{"*.com"}}}, want: []string{"error d0 wide-vendor /vendors/0"}},
		{name: "a public suffix", drafts: []Terms{{Action: "read", Vendors: Patterns{"*.co.uk", "*.github.io", "*.example.com", "co.uk"}}}, want: []string{"warning d0 wide-vendor /vendors/0", "warning d0 wide-vendor /vendors/1"}},
		{name: "a block may be wide", drafts: []Terms{{BlockedActions: []Action{"read"}, Resource: Patterns{"**"}, Vendors: Patterns{"*.co.uk"}}}},
		{name: "money without a limit", drafts: []Terms{{AllowedActions: []Action{"look", "shop:purchase"}}}, want: []string{"warning d0 no-money-limit /allowedActions/1"}},
		{name: "money with a limit", drafts: []Terms{
			{Action: "purchase", MaxAmount: "5"}, {Action: "pay", RequiresApproval: always}, {Action: "buy", RequiresApproval: ApprovalRule{Above: "5"}, Limits: Limits{Budgets: []Budget{{Amount: "5", Per: PerDay}}}},
		}},
		{name: "money with a limit of the agent's", drafts: []Terms{{Action: "purchase"}}, limits: Limits{Budgets: []Budget{{Amount: "5", Per: PerDay}}}},
		{name: "no way back, anywhere", drafts: []Terms{{Action: "db:drop"}}, want: []string{"warning d0 no-target /action"}},
		{name: "no way back, somewhere", drafts: []Terms{{Action: "db:drop", Resource: Patterns{"scratch/*"}}}},
		{name: "no expiry", drafts: []Terms{{Action: "read", ExpiresAt: time.Unix(1, 0)}}, want: []string{"warning d0 no-expiry "}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var drafts []Draft
			for i, terms := range test.drafts {
				switch {
				case terms.ExpiresAt.Equal(time.Unix(1, 0)):
					terms.ExpiresAt = time.Time{}
				case terms.ExpiresAt.IsZero() && terms.BlockedActions == nil:
					terms.ExpiresAt = lintUntil
				}
				drafts = append(drafts, Draft{Key: PermissionID(fmt.Sprintf("d%d", i)), Terms: terms})
			}
			var got []string
			for _, f := range Lint(drafts, test.limits, Account{Currency: "USD"}, lintNow) {
				severity := "warning"
				if f.Error {
					severity = "error"
				}
				got = append(got, fmt.Sprintf("%s d%d %s %s", severity, f.Draft, f.Code, f.Field))
				if f.Message == "" || f.Todo == "" || !slices.Contains(LintCodes(), f.Code) {
					t.Errorf("got %+v, want it to say what is so and what to do, with a code that is listed", f)
				}
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(test.want, "\n"))
			}
		})
	}
}

// What the linter says has no effect can be left out: nothing is decided in
// another way. Requests are drawn at random, and so are passports, from so few
// words that they meet often.
func TestLintIsCertain(t *testing.T) {
	t.Parallel()
	claims := map[LintCode]int{}
	rapid.Check(t, func(t *rapid.T) {
		var drafts []Draft
		for i := range rapid.IntRange(2, 4).Draw(t, "drafts") {
			drafts = append(drafts, Draft{Key: PermissionID(fmt.Sprintf("d%d", i)), Terms: drawTerms(t)})
		}
		for _, f := range Lint(drafts, Limits{}, Account{Currency: "USD"}, lintNow) {
			idle := f.Code == LintShadowed || f.Code == LintBlocked || f.Code == LintAlwaysAsked || f.Code == LintPathsDenied
			if !idle || drafts[f.Draft].Terms.BlockedActions != nil {
				continue
			}
			claims[f.Code]++
			with := mustHold(t, drafts)
			without := mustHold(t, slices.Delete(slices.Clone(drafts), f.Draft, f.Draft+1))
			for range 20 {
				ask := drawAsk(t)
				req, err := ask.Request("USD")
				if err != nil {
					t.Fatal(err)
				}
				s := Situation{Budget: &SharedBudget{}, Settings: DefaultApprovals(), Now: lintNow}
				s.Agent = &with
				a := Evaluate(s, req)
				s.Agent = &without
				if b := Evaluate(s, req); a.Outcome != b.Outcome {
					t.Fatalf("%s is said to be %s (%s), but %+v is %s with it and %s without", drafts[f.Draft].Key, f.Code, f.Message, ask, a.Outcome, b.Outcome)
				}
			}
		}
	})
	for _, code := range []LintCode{LintShadowed, LintBlocked, LintAlwaysAsked} {
		if claims[code] == 0 {
			t.Errorf("%s was never drawn; the test shows nothing", code)
		}
	}
}

func drawTerms(t *rapid.T) Terms {
	some := func(name string, of ...string) []string {
		if rapid.Bool().Draw(t, name) {
			return nil
		}
		return rapid.SliceOfNDistinct(rapid.SampledFrom(of), 1, 2, rapid.ID).Draw(t, name)
	}
	terms := Terms{
		Resource: some("resource", "**", "a/**", "a/*", "a/b", "*/b", "a/?", "https://x/**"),
		Vendors:  some("vendors", "example.com", "*.example.com", "*.a.example.com", "b.example.com"),
		Paths:    some("paths", "/a", "/a/b", "/a/*", "/**"),
	}
	switch rapid.IntRange(0, 5).Draw(t, "kind") {
	case 0:
		terms.BlockedActions, terms.Paths = []Action{"x"}, nil
		return terms
	case 1:
		terms.AllowedActions = []Action{"x", "y"}
	default:
		terms.Action = "x"
	}
	if rapid.IntRange(0, 3).Draw(t, "denied") == 0 {
		terms.DeniedPaths = some("denied paths", "/a/b", "/a/b/c", "/a/*/c")
		if terms.DeniedPaths != nil && slices.ContainsFunc(terms.DeniedPaths, func(p string) bool { return slices.Contains(terms.Paths, p) }) {
			terms.DeniedPaths = nil
		}
	}
	if rapid.IntRange(0, 2).Draw(t, "asks") == 0 {
		terms.RequiresApproval.Always = true
	}
	if rapid.IntRange(0, 2).Draw(t, "priced") == 0 {
		terms.MaxAmount = Decimal(rapid.SampledFrom([]string{"5", "10"}).Draw(t, "most"))
	}
	return terms
}

func drawAsk(t *rapid.T) Ask {
	one := func(name string, of ...string) string { return rapid.SampledFrom(of).Draw(t, name) }
	return Ask{
		Action:   Action(one("action", "x", "x", "y")),
		Resource: one("of", "", "a/b", "a/c", "a/b/c", "c/b", "a", "/a/b", "https://x/y", "a/ä"),
		Vendor:   one("at", "", "example.com", "b.example.com", "c.a.example.com", "example.org", "not a host"),
		Path:     one("under", "", "/a", "/a/b", "/a/b/c", "/b"),
		Amount:   Decimal(one("costs", "", "4", "7", "11")),
	}
}

// mustHold is an agent that holds drafts.
func mustHold(t *rapid.T, drafts []Draft) Agent {
	var a Agent
	fold := func(e Event) {
		a = a.Evolve(Recorded{Record: Record{At: lintNow, Account: "acct", Agent: "agent", Event: e}, Position: Position{Seq: a.Version + 1}, Last: a.Version})
	}
	fold(AgentRegistered{Name: "Agent", Type: Native, Key: "hash"})
	for _, d := range drafts {
		events, err := a.Grant(GrantPermission{PermissionID: d.Key, Terms: d.Terms, Now: lintNow, Currency: "USD", TimeZone: "UTC"})
		if err != nil {
			t.Fatalf("grant %+v: %v", d.Terms, err)
		}
		fold(events[0])
	}
	if err := a.Fault(); err != nil {
		t.Fatal(err)
	}
	return a
}

// A pattern that is said to cover another matches whatever that one does.
func TestCoveringIsCertain(t *testing.T) {
	t.Parallel()
	segment := rapid.StringOfN(rapid.RuneFrom([]rune("ab*?")), 1, 3, -1).Filter(func(s string) bool { return !strings.Contains(s, "**") })
	pattern := rapid.Custom(func(t *rapid.T) string {
		return strings.Join(rapid.SliceOfN(rapid.OneOf(segment, rapid.Just("**"), rapid.Just("*")), 1, 4).Draw(t, "segments"), "/")
	})
	text := rapid.Custom(func(t *rapid.T) string {
		return strings.Join(rapid.SliceOfN(rapid.StringMatching(`[ab]{1,3}`), 1, 5).Draw(t, "text"), "/")
	})
	covered := 0
	rapid.Check(t, func(t *rapid.T) {
		wide, err := compileGlob(pattern.Draw(t, "wide"))
		if err != nil {
			t.Skip(err)
		}
		narrow, err := compileGlob(pattern.Draw(t, "narrow"))
		if err != nil {
			t.Skip(err)
		}
		widePath, err := compilePathRule("/" + wide.text)
		if err != nil {
			t.Fatal(err)
		}
		narrowPath, err := compilePathRule("/" + narrow.text)
		if err != nil {
			t.Fatal(err)
		}
		globs, paths := wide.coversGlob(narrow), widePath.coversPath(narrowPath)
		if globs {
			covered++
		}
		for range 30 {
			s := text.Draw(t, "target")
			if globs && narrow.match(s) && !wide.match(s) {
				t.Fatalf("%q is said to cover %q, but not %q", wide.text, narrow.text, s)
			}
			if paths && narrowPath.covers("/"+s) && !widePath.covers("/"+s) {
				t.Fatalf("%q is said to cover %q, but not %q", widePath.text, narrowPath.text, "/"+s)
			}
		}
	})
	if covered == 0 {
		t.Error("nothing covered anything; the test shows nothing")
	}
}
