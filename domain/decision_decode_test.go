package domain

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// purchased is a decision as most are: an allow that eight checks were made for.
var purchased = DecisionMade{
	RequestID:       "req_01K8NPJ1E09B63Q1F9ZYXT69NH",
	RequestDigest:   "f3d6f0d55b053fdeb0116c2eaffd74e9113b2fd19d7d0675fd8c87a430993b8d",
	Request:         Request{Action: "purchase", Vendor: "coachella.com", Amount: "150.00", Currency: "USD"},
	PassportVersion: 138, Outcome: OutcomeAllowed, ReasonCode: Allowed,
	Reason: "allowed by permission perm_01K8NHYYM1EN2K5VXGZGZZADF7", Risk: RiskMedium,
	PermissionID: "perm_01K8NHYYM1EN2K5VXGZGZZADF7", Spends: true, BudgetVersion: 136,
	Checks: []Check{
		{"", RuleActive, true, ""},
		{"perm_01K8NHYYM1EN2K5VXGZGZZADF7", RuleAction, true, ""},
		{"perm_01K8NHYYM1EN2K5VXGZGZZADF7", RuleVendor, true, ""},
		{"perm_01K8NHYYM1EN2K5VXGZGZZADF7", RuleAmount, true, ""},
		{"perm_01K8NHYYM1EN2K5VXGZGZZADF7", RuleRate, true, ""},
		{"perm_01K8NHYYM1EN2K5VXGZGZZADF7", RuleBudget, true, ""},
		{"", RuleAccountRate, true, ""},
		{"", RuleAccountBudget, true, ""},
	},
}

// inFull is data with every member there is.
const inFull = `{"requestId":"req_1","requestDigest":"d1","request":{"action":"deploy","vendor":"v","resource":"r","amount":"1.00",` +
	`"currency":"USD","defaultCurrency":true,"path":"/p","command":"c","cwd":"/","context":{"branch":"main","environment":"prod","repository":"x"},` +
	`"argumentsDigest":"d2"},"passportVersion":7,"outcome":"denied","reasonCode":"RATE_EXCEEDED","reason":"so","riskLevel":"low","permissionId":"perm_1",` +
	`"approvalId":"apr_1","gate":{"digest":"d3","pendingFor":"48h","validFor":"45m","denialFor":"2h30m","remindEvery":"1h0m30s","minRole":"ADMIN",` +
	`"quorum":1,"mostPending":-2},"spends":true,"budgetVersion":8,"windowEndsAt":"2026-10-29T04:00:00.5Z","checks":[` +
	`{"permissionId":"perm_1","rule":"rate","passed":false,"detail":"é \"\\\n\u0001🙂"},{"permissionId":"perm_2","rule":"later","passed":true},{"rule":"time","passed":true}]}`

// mustAgree checks that what the quick way takes, the strict decoder takes, and
// reads as the same. It reports whether the quick way took it.
func mustAgree(tb testing.TB, data []byte) bool {
	tb.Helper()
	got, ok := quickDecision(data)
	if !ok {
		return false
	}
	if want, err := decodeData[DecisionMade](data); err != nil || !reflect.DeepEqual(want, Event(got)) {
		tb.Fatalf("%s\ngot  %#v\nwant %#v, %v", data, got, want, err)
	}
	return true
}

// mustGoldenDecisions are the golden decisions' data, by file name.
func mustGoldenDecisions(tb testing.TB) map[string][]byte {
	tb.Helper()
	decisions := map[string][]byte{}
	for name, golden := range mustGoldens(tb) {
		s, ok := scan(golden)
		if !ok {
			tb.Fatalf("%s isn't read the quick way", name)
		}
		if s.Kind == KindDecisionMade {
			decisions[name] = s.Data
		}
	}
	if len(decisions) == 0 {
		tb.Fatal("no golden file is a decision")
	}
	return decisions
}

func TestEveryGoldenDecisionIsReadTheQuickWay(t *testing.T) {
	for name, data := range mustGoldenDecisions(t) {
		if !mustAgree(t, data) {
			t.Errorf("%s isn't", name)
		}
	}
	if !mustAgree(t, []byte(inFull)) {
		t.Errorf("%s isn't", inFull)
	}
}

func TestEveryDecisionThatIsWrittenIsReadTheQuickWay(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 2000 {
		var d DecisionMade
		randomize(random, reflect.ValueOf(&d).Elem())
		d.PassportVersion >>= 1 // of the highest, not all are
		d.BudgetVersion >>= 1
		if g := d.Gate; g != nil { // as whole seconds they are read, and as no others
			for _, length := range []*Duration{&g.PendingFor, &g.ValidFor, &g.DenialFor, &g.RemindEvery} {
				*length = Duration(time.Duration(*length).Abs().Truncate(time.Second))
			}
		}
		data := d.append(nil)
		if !mustAgree(t, data) {
			t.Fatalf("%s isn't", data)
		}
		read, _ := quickDecision(data)
		if again := read.append(nil); !bytes.Equal(again, data) {
			t.Fatalf("got  %s\nwant %s", again, data)
		}
	}
}

func TestEveryRuleIsReadAsItself(t *testing.T) {
	d := purchased
	d.Checks = nil
	for _, rule := range []Rule{
		RuleAgent, RuleActive, RuleBlocked, RuleAction, RuleResource, RuleVendor, RuleAmount, RuleContext, RulePath,
		RuleCommand, RuleTime, RuleRate, RuleBudget, RuleAccountRate, RuleAccountBudget, RuleApproval, "", "one made later",
	} {
		d.Checks = append(d.Checks, Check{Rule: rule})
	}
	if got, ok := quickDecision(d.append(nil)); !ok || !reflect.DeepEqual(got, d) {
		t.Errorf("got  %v, %t\nwant %v", got.Checks, ok, d.Checks)
	}
}

// Whether it is right or wrong: the strict decoder knows.
func TestADecisionWrittenInAnotherWayIsNotReadTheQuickWay(t *testing.T) {
	for _, c := range []struct{ name, is, was string }{
		{"a blank", `, "outcome"`, `,"outcome"`},
		{"a blank at the end", `}]} `, `}]}`},
		{"another order", `"denied","reason":"so","reasonCode":"RATE_EXCEEDED"`, `"denied","reasonCode":"RATE_EXCEEDED","reason":"so"`},
		{"an unknown member", `"so","more":1`, `"so"`},
		{"an unknown member in the request", `"v","more":1`, `"v"`},
		{"an unknown member in a check", `"rule":"time","more":1`, `"rule":"time"`},
		{"a member twice", `"reason":"so","reason":"so"`, `"reason":"so"`},
		{"a fact twice", `"branch":"main","branch":"main"`, `"branch":"main"`},
		{"a member in other case", `"Outcome"`, `"outcome"`},
		{"a member written with an escape", `"\u006futcome"`, `"outcome"`},
		{"no comma", `"so""riskLevel"`, `"so","riskLevel"`},
		{"no comma between facts", `"main""environment"`, `"main","environment"`},
		{"no comma after an empty fact", `"branch":"""environment"`, `"branch":"main","environment"`},
		{"a comma before the first fact", `{,"branch"`, `{"branch"`},
		{"a comma after the last fact", `"x",}`, `"x"}`},
		{"no comma between checks", `}{"rule"`, `},{"rule"`},
		{"a comma after the last check", `,]}`, `]}`},
		{"more after the end", `]}}`, `]}`},
		{"null", `"reason":null`, `"reason":"so"`},
		{"no checks but null", `"checks":null}`, inFull[strings.Index(inFull, `"checks"`):]},
		{"a number for a string", `"vendor":1`, `"vendor":"v"`},
		{"a string for a number", `"passportVersion":"7"`, `"passportVersion":7`},
		{"a sign where there is none", `"passportVersion":-7`, `"passportVersion":7`},
		{"a fraction", `"passportVersion":7.0`, `"passportVersion":7`},
		{"an exponent", `"passportVersion":7e0`, `"passportVersion":7`},
		{"a zero in front", `"passportVersion":07`, `"passportVersion":7`},
		{"no digits", `"passportVersion":`, `"passportVersion":7`},
		{"more than fits", `"passportVersion":18446744073709551616`, `"passportVersion":7`},
		{"more than fits a signed number", `"quorum":9223372036854775808`, `"quorum":1`},
		{"two signs", `"quorum":--1`, `"quorum":1`},
		{"a zero with a sign", `"quorum":-0`, `"quorum":1`},
		{"false where it is left out", `"spends":false`, `"spends":true`},
		{"true in other case", `"passed":True`, `"passed":true`},
		{"an amount that is a number", `"amount":1.00`, `"amount":"1.00"`},
		{"an amount that is empty", `"amount":""`, `"amount":"1.00"`},
		{"a length of time in days", `"pendingFor":"2d"`, `"pendingFor":"48h"`},
		{"a length of time that is null", `"pendingFor":null`, `"pendingFor":"48h"`},
		{"an hour of one digit", `T4:00:00Z`, `T04:00:00.5Z`},
		{"an hour that is none", `T24:00:00Z`, `T04:00:00.5Z`},
		{"a day that is none", `2026-02-29`, `2026-10-29`},
		{"a fraction after a comma", `00,5Z`, `00.5Z`},
		{"another zone", `00.5+02:00`, `00.5Z`},
		{"a time that is empty", `"windowEndsAt":""`, `"windowEndsAt":"2026-10-29T04:00:00.5Z"`},
		{"bad UTF-8", "\"s\xff\"", `"so"`},
		{"half a surrogate pair", `"\ud83d"`, `"so"`},
		{"an escape that is none", `"\x"`, `"so"`},
		{"a control character", "\"s\n\"", `"so"`},
		{"NUL", "\"s\x00\"", `"so"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			data := strings.Replace(inFull, c.was, c.is, 1)
			if data == inFull {
				t.Fatalf("nothing is %s", c.was)
			}
			if d, ok := quickDecision([]byte(data)); ok {
				t.Errorf("%s was read as %+v", data, d)
			}
		})
	}
}

func TestADecisionWithAnyByteChangedIsReadAlike(t *testing.T) {
	data := []byte(inFull)
	for i := range data {
		if mustAgree(t, data[:i]) {
			t.Fatalf("the first %d bytes are read as all", i)
		}
		mustAgree(t, slices.Concat(data[:i], data[i+1:]))
		for _, c := range []byte("\x1f 0-9,:{}]\"\\ua\x80") {
			mustAgree(t, slices.Concat(data[:i], []byte{c}, data[i+1:]))
			mustAgree(t, slices.Concat(data[:i], []byte{c}, data[i:]))
		}
	}
}

func TestARecordWithAMemberAfterItsDataIsRead(t *testing.T) {
	record := `{"id":"evt_1","kind":"decision.made.v1","at":"2026-10-28T09:15:02Z","actor":"system:x","account":"acct_1","data":` + inFull + `,"agent":"a"}`
	if r := mustDecode(t, []byte(record)); r.Agent != "a" {
		t.Errorf("got the agent %q, want a", r.Agent)
	}
}

func TestAPlainByteIsOneThatMeansItself(t *testing.T) {
	text := []byte("abcdefghijklmnopqrst")
	for c := range 256 {
		plainly := c >= ' ' && c < 0x80 && c != '"' && c != '\\'
		for at := range text {
			for after := at; after < len(text); after++ { // one that must not hide the first
				b := bytes.Clone(text)
				b[after], b[at] = '"', byte(c)
				want := at
				if plainly {
					if want = after; after == at {
						want = len(text)
					}
				}
				if got := plain(b, 0); got != want {
					t.Fatalf("%q: got %d, want %d", b, got, want)
				}
			}
		}
	}
}

// What the quick way takes, data or record, is read as the strict decoder reads
// it.
func FuzzDecodeDecision(f *testing.F) {
	for name, data := range mustGoldenDecisions(f) {
		f.Add(data)
		f.Add(mustGoldens(f)[name])
	}
	f.Add([]byte(inFull))
	f.Add([]byte(strings.ReplaceAll(inFull, "main", `\ud83d\ude42\/`)))
	f.Fuzz(func(t *testing.T, b []byte) {
		mustAgree(t, b)
		if s, ok := scan(b); ok {
			mustAgree(t, s.Data)
		}
	})
}

func BenchmarkDecodeADecision(b *testing.B) {
	for _, checks := range []int{2, 8} {
		d := purchased
		d.Checks = d.Checks[:checks]
		record, err := Record{
			ID: "evt_01K8NPJ1E09B63Q1F9ZYXT69NH", At: noon.Add(453808024), Actor: "agent:agent_hedy",
			Account: "acct_01K8M3Z5V0QX4T7R9WBYDAFC2E", Agent: "agent_hedy", Event: d,
		}.Append(nil)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("%d checks", checks), func(b *testing.B) {
			b.SetBytes(int64(len(record)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := DecodeRecord(record); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
