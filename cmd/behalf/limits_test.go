package main

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// sending is a server that answers with a body and keeps what it was sent.
func sending(sent *string, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		*sent = strings.TrimSpace(r.Method + " " + r.URL.RequestURI() + " " + string(b))
		if strings.HasSuffix(r.URL.Path, "/permissions") || r.URL.Path == "/v1/agents" {
			w.WriteHeader(http.StatusCreated)
		}
		_, _ = io.WriteString(w, body)
	}
}

func TestFlagsOfLimitsAndApprovals(t *testing.T) {
	t.Parallel()
	var sent string
	c := newConsole(t, sending(&sent, `{}`))
	for _, s := range []struct {
		args string
		want string
	}{
		{
			"permissions grant x --action a --requires-approval --budget 100.00/day --budget 50USD/total --rate 10/minute --rate 5/day@Europe/Berlin",
			`POST /v1/agents/x/permissions {"action":"a","requiresApproval":true,"budgets":[{"amount":"100.00","per":"day"},{"amount":"50","currency":"USD","per":"total"}],` +
				`"rates":[{"count":10,"per":"minute"},{"count":5,"per":"day","timeZone":"Europe/Berlin"}]}`,
		},
		{
			"permissions grant x --action a --requires-approval=100.00 --approval-quorum 2 --approval-min-role ADMIN --approval-pending-for 2h --approval-valid-for 90s --approval-denial-for 1d",
			`POST /v1/agents/x/permissions {"action":"a","requiresApproval":"100.00","approval":{"minRole":"ADMIN","quorum":2,"pendingFor":"2h","validFor":"1m30s","denialFor":"24h"}}`,
		},
		{"agents limits x", `GET /v1/agents/x/limits`},
		{"agents limits x --budget 2000EUR/month@Europe/Berlin --rate 3/total", `PUT /v1/agents/x/limits {"budgets":[{"amount":"2000","currency":"EUR","per":"month","timeZone":"Europe/Berlin"}],"rates":[{"count":3,"per":"total"}]}`},
		{"agents limits x --none", `PUT /v1/agents/x/limits {}`},
		{"agents driver x mem_1", `PUT /v1/agents/x/driver {"driver":"mem_1"}`},
		{"agents driver x none", `PUT /v1/agents/x/driver {"driver":""}`},
		{"agents register --id x --driver mem_1", `POST /v1/agents {"agentId":"x","name":"x","driver":"mem_1"}`},
		{"account limits", `GET /v1/account/limits`},
		{"account limits --budget 5/week", `PUT /v1/account/limits {"budgets":[{"amount":"5","per":"week"}]}`},
		{"account limits --none", `PUT /v1/account/limits {}`},
		{"account set --time-zone Europe/Berlin", `PATCH /v1/account {"timeZone":"Europe/Berlin"}`},
		{
			"account set --pending-for 2d --valid-for 10m --denial-for 90s --remind-every 0s --most-pending 5 --self-approval=false --share-comments",
			`PATCH /v1/account {"approvals":{"pendingFor":"48h","validFor":"10m","denialFor":"1m30s","remindEvery":"0s","mostPending":5,"selfApproval":false,"shareComments":true}}`,
		},
		{"reservations --agent x --limit 7", `GET /v1/reservations?agentId=x&limit=7`},
	} {
		if code, _, errs := c.run(strings.Fields(s.args)...); code != 0 || sent != s.want {
			t.Errorf("behalf %s: got %d and\n%s\nwant\n%s\n%s", s.args, code, sent, s.want, errs)
		}
	}
	sent = ""
	for _, s := range []struct{ args, says string }{
		{"agents limits x --budget 100", `--budget "100" has no period; write it like 100.00/day`},
		{"agents limits x --budget 100/minute", `"minute" is not a period of a budget; use hour, day, week, month, total`},
		{"agents limits x --budget USD:100/day", `"USD:100" is not an amount`},
		{"agents limits x --budget -5/day", `"-5" is not an amount`},
		{"agents limits x --budget 1.2.3/day", `is not an amount`},
		{"agents limits x --budget 5usd/day", `"usd" is not a currency of three capital letters`},
		{"agents limits x --budget 5/day@", `names no time zone`},
		{"agents limits x --rate 10/week", `"week" is not a period of a rate; use minute, hour, day, total`},
		{"agents limits x --rate 0/day", `"0" is not a count of 1 or more`},
		{"agents limits x --rate 1.5/day", `"1.5" is not a count`},
		{"agents limits x --none --rate 1/day", `--none ends all limits`},
		{"agents driver x", `needs MEMBER|none`},
		{"permissions grant x --action a --requires-approval=some", `--requires-approval=some is not an amount`},
		{"permissions grant x --action a --approval-quorum 2", `add --requires-approval`},
		{"permissions grant x --action a --requires-approval --approval-quorum -2", `--approval-quorum -2`},
		{"permissions grant x --action a --requires-approval --approval-valid-for 0s", `--approval-valid-for can't be 0`},
		{"permissions grant x --action a --requires-approval --approval-valid-for soon", `90s, 30m, 24h or 7d`},
		{"permissions grant x --action a --requires-approval 100.00", `"100.00" is too much`},
		{"permissions grant x --file f --rate 1/day", `leave out --rate`},
		{"account set", `--time-zone`},
		{"account set --pending-for 1500ms", `in whole seconds`},
		{"outcome req_1 done", `"done" is unknown; use executed or failed`},
		{"outcome req_1 failed --amount 5", `one that failed spent nothing`},
		{"outcome req_1 executed --amount 5USD", `without a currency`},
		{"outcome req_1", `needs executed|failed`},
		{"reservations --limit 0", `--limit`},
	} {
		c.wantError(2, []string{s.says}, strings.Fields(s.args)...)
	}
	if sent != "" {
		t.Errorf("a wrong command line sent %s", sent)
	}
}

func TestLimitTables(t *testing.T) {
	t.Parallel()
	const limited = `"budgets":[{"amount":"100.00","currency":"USD","per":"day","timeZone":"UTC"}],"rates":[{"count":3,"per":"total"}],
		"left":[{"per":"total","most":"3","used":"1","left":"2"},{"per":"day","currency":"USD","most":"100.00","used":"40.00","left":"60.00","windowEndsAt":"2026-11-24T00:00:00Z"}]`
	newConsole(t, answering(200, `{"agentId":"ollie","passportVersion":5,`+limited+`}`)).want(0, `Agent     ollie
Passport  version 5
Budget    100.00USD/day@UTC
Rate      3/total

LIMIT         MOST    USED   LEFT   WINDOW ENDS
allows/total  3       1      2      -
USD/day       100.00  40.00  60.00  2026-11-24T00:00:00Z
`, "agents", "limits", "ollie")
	newConsole(t, answering(200, `{}`)).want(0, "Limits  none\n", "account", "limits")

	newConsole(t, answering(200, `{"permissionId":"perm_1","status":"active","passportVersion":5,"version":4,"action":"buy","currency":"USD","requiresApproval":"100.00",
		"approval":{"quorum":2,"minRole":"ADMIN","pendingFor":"2h"},"summary":"may buy","grantedAt":"2026-01-02T03:04:05Z",`+limited+`}`)).want(0, `Permission  perm_1
Status      active
Summary     may buy
Action      buy
Approval    above 100.00 USD, by 2 people, by ADMIN or higher, waits 2h
Budget      100.00USD/day@UTC
Rate        3/total
Granted     2026-01-02T03:04:05Z
Version     4
Passport    version 5

LIMIT         MOST    USED   LEFT   WINDOW ENDS
allows/total  3       1      2      -
USD/day       100.00  40.00  60.00  2026-11-24T00:00:00Z
`, "permissions", "show", "ollie", "perm_1")

	newConsole(t, answering(200, `{"agentId":"ollie","name":"Ollie","type":"native","status":"active","passportVersion":5,`+limited+`,
		"accountLeft":[{"per":"month","currency":"USD","most":"9.00","used":"9.00","left":"0.00","windowEndsAt":"2026-12-01T00:00:00Z"}],
		"permissions":[{"permissionId":"perm_1","status":"active","summary":"may buy","left":[{"per":"day","most":"7","used":"0","left":"7","windowEndsAt":"2026-11-24T00:00:00Z"}]}]}`)).want(0, `Agent     ollie
Name      Ollie
Type      native
Status    active
Passport  version 5
Budget    100.00USD/day@UTC
Rate      3/total

AGENT'S LIMIT  MOST    USED   LEFT   WINDOW ENDS
allows/total   3       1      2      -
USD/day        100.00  40.00  60.00  2026-11-24T00:00:00Z

ACCOUNT'S LIMIT  MOST  USED  LEFT  WINDOW ENDS
USD/month        9.00  9.00  0.00  2026-12-01T00:00:00Z

PERMISSION  STATUS  EXPIRES  SUMMARY
perm_1      active  -        may buy

LIMIT OF perm_1  MOST  USED  LEFT  WINDOW ENDS
allows/day       7     0     7     2026-11-24T00:00:00Z
`, "passport")

	newConsole(t, answering(200, `{"accountId":"acct_1","name":"A","defaultCurrency":"USD","timeZone":"UTC","version":3,"approvals":{"pendingFor":"24h","validFor":"30m",
		"denialFor":"1h","remindEvery":"0s","mostPending":20,"selfApproval":false,"shareComments":true}}`)).want(0, `Account           acct_1
Name              A
Default currency  USD
Time zone         UTC
Approvals wait    24h
A yes is valid    30m
A no is valid     1h
Remind every      never
Most pending      20 an agent
Self-approval     no
Share comments    yes
Decisions kept    for ever
Version           3
`, "account", "show")

	newConsole(t, answering(200, strings.Replace(deniedPacket(), `"position"`, `"windowEndsAt":"2026-11-24T00:00:00Z","position"`, 1))).want(1, `DENIED AMOUNT_EXCEEDS_LIMIT: 120.00 USD exceeds the limit of 50.00 USD

Request      req_1
Agent        ollie
Action       purchase
Vendor       coachella.com
Amount       120.00 USD
Risk         low
Permission   perm_1
Passport     version 7
Decided      2026-11-23T12:00:00Z
Window ends  2026-11-24T00:00:00Z
Position     AAAAAAAJ
`, "verify", "--action", "purchase", "--vendor", "coachella.com", "--amount", "120")
}

func TestHelpExplainsWhatIsNew(t *testing.T) {
	t.Parallel()
	c := newConsole(t, nil)
	for command, says := range map[string][]string{
		"":                   {"approvals", "outcome", "reservations"},
		"approvals":          {"list", "show", "approve", "deny", "withdraw", "watch"},
		"approvals list":     {"--state", "--all", "in any state"},
		"approvals show":     {"--arguments", "RFC 8785"},
		"approvals withdraw": {"before it is used"},
		"approvals watch":    {"--every", "each change"},
		"verify":             {"--wait duration", "--wait=10m", "keeps waiting", "Exit codes"},
		"permissions grant":  {"--requires-approval", "The = is needed", "AMOUNT[CURRENCY]/PERIOD[@ZONE]", "COUNT/PERIOD[@ZONE]", "--approval-quorum"},
		"agents limits":      {"--none", "replaces all", "100.00USD/day"},
		"agents driver":      {"none", "self-approval"},
		"account limits":     {"costs speed"},
		"account set":        {"--time-zone", "--self-approval", "for an owner"},
		"outcome":            {"stays spent", "executed|failed"},
		"reservations":       {"behalf outcome"},
	} {
		code, out, errs := c.run(append(strings.Fields(command), "--help")...)
		for _, part := range says {
			if code != 0 || !strings.Contains(out, part) {
				t.Errorf("behalf %s --help: got %d and\n%s%s\nwant it to say %q", command, code, out, errs, part)
			}
		}
	}
}

func TestOutcomesAndReservations(t *testing.T) {
	t.Parallel()
	var sent string
	c := newConsole(t, sending(&sent, `{"requestId":"req_1","outcome":"executed","amount":"99.50","currency":"USD","released":"20.50"}`))
	c.want(0, `Request     req_1
Outcome     executed
Spent       99.50 USD
Given back  20.50 USD
`, "outcome", "req_1", "executed", "--amount", "99.50")
	if want := `POST /v1/decisions/req_1/outcome {"outcome":"executed","amount":"99.50"}`; sent != want {
		t.Errorf("got %s, want %s", sent, want)
	}
	newConsole(t, answering(200, `{"requestId":"req_1","outcome":"failed"}`)).want(0, "Request  req_1\nOutcome  failed\n", "outcome", "req_1", "failed")
	newConsole(t, answering(409, `{"error":{"code":"CONFLICT","message":"request req_1 was reported failed before"}}`)).
		wantError(1, []string{"was reported failed before"}, "outcome", "req_1", "executed")

	newConsole(t, answering(200, `{"reservations":[{"requestId":"req_2","agentId":"ollie","permissionId":"perm_1","amount":"5.00","currency":"USD","decidedAt":"2026-11-23T12:00:00Z"},
		{"requestId":"req_1","agentId":"ollie","permissionId":"perm_2","decidedAt":"2026-11-23T11:00:00Z"}]}`)).want(0, `REQUEST  AGENT  PERMISSION  AMOUNT    DECIDED
req_2    ollie  perm_1      5.00 USD  2026-11-23T12:00:00Z
req_1    ollie  perm_2      -         2026-11-23T11:00:00Z
`, "reservations")
}
