package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const shopFile = `agents:
  - agentId: a
    limits:
      rates: [{count: 3, per: hour}]
    permissions:
      - {key: buy, action: purchase, vendors: shop.example, maxAmount: 50, budgets: [{amount: 60, per: day}]}
      - {key: ask, action: deploy, requiresApproval: true, approval: {quorum: 2, minRole: ADMIN}}
      - {key: old, action: read, expiresAt: 2026-01-01T00:00:00Z}
`

// offline is a console that would notice being connected.
func offline(t *testing.T) *console {
	t.Helper()
	return &console{t: t, env: map[string]string{"BEHALF_URL": "http://127.0.0.1:1", "BEHALF_CONFIG": filepath.Join(t.TempDir(), "none.json")}}
}

// scenarioFile is a directory with a passport and a scenario.
func scenarioFile(t *testing.T, text string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"passport.yaml": shopFile, "s.scenario.yaml": text} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestScenariosPass(t *testing.T) {
	t.Parallel()
	dir := scenarioFile(t, `
passport: passport.yaml
time: 2027-03-02T10:00:00Z
timeZone: Europe/Berlin
currency: EUR
history:
  - ask: {action: purchase, vendor: shop.example, amount: 20}
    at: 2027-03-02T09:00:00+01:00
cases:
  - name: within the budget
    ask: {action: purchase, vendor: shop.example, amount: 40}
    expect: {decision: allowed, reasonCode: ALLOWED, permission: buy}
  - name: beyond it
    ask: {action: purchase, vendor: shop.example, amount: 40.01}
    expect: {decision: denied, reasonCode: BUDGET_EXCEEDED, permission: buy}
  - name: cases don't know of each other
    ask: {action: purchase, vendor: shop.example, amount: 40, currency: EUR}
    expect: {decision: allowed}
  - name: the day ends in Berlin
    time: 2027-03-02T23:00:00Z
    ask: {action: purchase, vendor: shop.example, amount: 50}
    expect: {decision: allowed}
  - name: the agent's own rate
    time: 2027-03-02T10:30:00Z
    history:
      - {ask: {action: purchase, vendor: shop.example, amount: 1}, at: 2027-03-02T10:00:00Z, times: 3}
    ask: {action: purchase, vendor: shop.example, amount: 1}
    expect: {decision: denied, reasonCode: RATE_EXCEEDED}
  - name: two people say yes
    history: [{ask: {action: deploy}, answer: approve}]
    ask: {action: deploy}
    expect: {decision: allowed, permission: ask}
  - name: one says no
    history: [{ask: {action: deploy}, answer: deny}]
    ask: {action: deploy}
    expect: {decision: denied, reasonCode: APPROVAL_DENIED}
  - name: it has ended
    ask: {action: read}
    expect: {decision: denied, reasonCode: PERMISSION_EXPIRED, permission: old}
`)
	offline(t).want(0, "ok   "+dir+"/s.scenario.yaml: 8 as expected\n8 as expected, 0 not\n", "test", dir)
	offline(t).says(0, []string{
		"s.scenario.yaml:13: beyond it\n       denied BUDGET_EXCEEDED by buy: ",
		"       buy  budget  no   the permission has a budget of 60.00 EUR",
	}, "test", "--verbose", dir+"/s.scenario.yaml")
}

func TestScenariosFail(t *testing.T) {
	t.Parallel()
	dir := scenarioFile(t, `
passport: passport.yaml
time: 2027-03-02T10:00:00Z
cases:
  - ask: {action: purchase, vendor: shop.example, amount: 51}
    expect: {decision: allowed, permission: buy}
  - name: fine
    ask: {action: purchase, vendor: shop.example, amount: 50}
    expect: {decision: allowed}
  - name: another reason
    ask: {action: nothing}
    expect: {decision: denied, reasonCode: ACTION_BLOCKED}
  - name: what was before went otherwise
    history: [{ask: {action: purchase, vendor: elsewhere.example, amount: 1}}]
    ask: {action: read}
    expect: {decision: denied}
  - name: backwards
    time: 2027-03-02T09:00:00Z
    history: [{ask: {action: deploy}, at: 2027-03-02T10:00:00Z, expect: {decision: requires_approval}}]
    ask: {action: read}
    expect: {decision: denied}
`)
	file := dir + "/s.scenario.yaml"
	offline(t).want(1, `FAIL `+file+`:5: case 1
  want allowed by buy
  got  denied AMOUNT_EXCEEDS_LIMIT by buy: 51.00 USD exceeds the limit of 50.00 USD
       buy  action  yes  
       buy  vendor  yes  
       buy  amount  no   51.00 USD exceeds the limit of 50.00 USD
       buy  budget  yes  
FAIL `+file+`:10: another reason
  want denied ACTION_BLOCKED
  got  denied NO_PERMISSION: no permission of the agent names the action nothing
       -  active  no  no permission names this action
FAIL `+file+`:14: in the history: want allowed, got denied VENDOR_NOT_ALLOWED by buy: the permission does not cover the vendor "elsewhere.example"
FAIL `+file+`:17: is at 2027-03-02T09:00:00Z, before what came earlier at 2027-03-02T10:00:00Z
1 as expected, 4 not
`, "test", dir)
}

func TestScenarioRefusals(t *testing.T) {
	t.Parallel()
	const head = "passport: passport.yaml\ntime: 2027-03-02T10:00:00Z\n"
	const asks = "cases:\n  - ask: {action: read}\n    expect: {decision: denied}\n"
	for _, c := range []struct{ name, text, want string }{
		{"no passport", "time: 2027-03-02T10:00:00Z\n" + asks, ":1: has no passport"},
		{"no time", "passport: passport.yaml\n" + asks, ":1: has no time"},
		{"a passport that isn't there", "passport: none.yaml\ntime: 2027-03-02T10:00:00Z\n" + asks, "no such file"},
		{"an agent that isn't there", head + "agent: b\n" + asks, ":3: the passport has no agent b"},
		{"an unknown field", head + "cass: []\n" + asks, `:3: "cass" is not a field of a scenario`},
		{"no cases", head + "cases: []\n", ":1: has no cases"},
		{"a case that asks nothing", head + "cases:\n  - expect: {decision: denied}\n", ":4: asks nothing"},
		{"an unknown field of an ask", head + "cases:\n  - ask: {action: read, target: x}\n    expect: {decision: denied}\n", ":4: /target: is not a field"},
		{"an ask of another agent", head + "cases:\n  - ask:\n      action: read\n      agentId: b\n    expect: {decision: denied}\n", ":6: /agentId: is not a, whose passport this is"},
		{"no expectation", head + "cases:\n  - ask: {action: read}\n", `:4: /decision: "" is not a decision`},
		{"a misspelled decision", head + "cases:\n  - ask: {action: read}\n    expect: {decision: deny}\n", `:5: /decision: "deny" is not a decision`},
		{"a misspelled code", head + "cases:\n  - ask: {action: read}\n    expect: {decision: denied, reasonCode: NO}\n", `:5: /reasonCode: "NO" is not a reason code`},
		{"a key that isn't there", head + "cases:\n  - ask: {action: read}\n    expect: {decision: denied, permission: nix}\n", `:5: /permission: "nix" is the key of no permission of agent a`},
		{"an answer that is none", head + "history:\n  - {ask: {action: deploy}, answer: maybe}\n" + asks, `:4: "maybe" is not an answer`},
		{"too often", head + "history:\n  - {ask: {action: deploy}, times: 100000}\n" + asks, ":4: times is 100000; use 1 to 10000"},
		{"an answer nobody asked for", head + "history:\n  - {ask: {action: read}, answer: approve}\n" + asks, ":4: in the history: want requires_approval, got denied"},
		{"an amount without an outcome", head + "history:\n  - {ask: {action: read}, amount: 5}\n" + asks, ":4: amount is what was spent"},
		{"terms that are refused", "passport: {agents: [{agentId: a, permissions: [{key: k, action: x, resource: a/../b}]}]}\ntime: 2027-03-02T10:00:00Z\n" + asks, ":1: /resource/0: "},
		{"a currency that is none", head + "currency: XXX\ncases:\n  - ask: {action: read, amount: 5}\n    expect: {decision: denied}\n", ":5: /amount: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			out := offline(t).says(1, []string{c.want, "FAIL "}, "test", scenarioFile(t, c.text)+"/s.scenario.yaml")
			if !strings.Contains(out, "0 as expected, 1 not") {
				t.Errorf("got %s", out)
			}
		})
	}
	empty := t.TempDir()
	c := offline(t)
	c.wantError(2, []string{"found no file with cases in " + empty}, "test", empty)
	c.wantError(2, []string{"no such file"}, "test", filepath.Join(empty, "none"))
	c.wantError(2, []string{"requires at least 1 arg"}, "test")
	c.wantError(2, []string{"is neither a passport (agents) nor a scenario (cases)"}, "test", filepath.Dir(mustWrite(t, "compose.yaml", "services: {}\n")))
}
