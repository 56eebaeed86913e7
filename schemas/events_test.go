package schemas_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/schemas"
)

func TestEveryKindHasASchemaAndEverySchemaAKind(t *testing.T) {
	files, err := fs.Glob(schemas.Files, "events/*.json")
	if err != nil {
		t.Fatal(err)
	}
	var got, want []string
	for _, file := range files {
		kind := strings.TrimSuffix(strings.TrimPrefix(file, "events/"), ".json")
		got = append(got, kind)
		if stored := mustContract(t, file).at("/properties/kind/const"); stored != kind {
			t.Errorf("%s: got the kind %v, want the one the file is named for", file, stored)
		}
	}
	for _, kind := range slices.Concat(domain.Kinds(), domain.ShadowKinds()) {
		want = append(want, string(kind))
	}
	wantSame(t, "kinds with a schema", got, want)
}

// mustSchemaFiles is the schemas of the events, and what they share.
func mustSchemaFiles(t *testing.T) []string {
	t.Helper()
	files, err := fs.Glob(schemas.Files, "events/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no schemas: %v", err)
	}
	return append(files, "types.json")
}

// mustValidators compiles the schema of every kind.
func mustValidators(t *testing.T) map[domain.Kind]*jsonschema.Schema {
	t.Helper()
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	ids := map[string]string{}
	for _, file := range mustSchemaFiles(t) {
		c := mustContract(t, file)
		ids[file] = c.at("/$id").(string)
		if !strings.HasSuffix(ids[file], "/schemas/"+file) {
			t.Errorf("%s: got the $id %s, want one that ends with the file's path", file, ids[file])
		}
		if err := compiler.AddResource(ids[file], c.root); err != nil {
			t.Fatal(err)
		}
	}
	validators := map[domain.Kind]*jsonschema.Schema{}
	for _, kind := range slices.Concat(domain.Kinds(), domain.ShadowKinds()) {
		var err error
		if validators[kind], err = compiler.Compile(ids["events/"+string(kind)+".json"]); err != nil {
			t.Fatal(err)
		}
	}
	return validators
}

// mustGoldens reads the golden records of domain.
func mustGoldens(t *testing.T) map[string]any {
	t.Helper()
	return mustRecords(t, "events")
}

func mustRecords(t *testing.T, folder string) map[string]any {
	t.Helper()
	paths, err := filepath.Glob("../domain/testdata/" + folder + "/*.json")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no golden records: %v", err)
	}
	goldens := map[string]any{}
	for _, path := range paths {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if goldens[filepath.Base(path)], err = jsonschema.UnmarshalJSON(bytes.NewReader(raw)); err != nil {
			t.Fatal(err)
		}
	}
	return goldens
}

func kindOf(record any) domain.Kind {
	return domain.Kind(record.(map[string]any)["kind"].(string))
}

func TestEveryGoldenRecordFitsItsSchema(t *testing.T) {
	validators := mustValidators(t)
	for name, record := range mustGoldens(t) {
		if err := validators[kindOf(record)].Validate(record); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTheSchemasNameWhatTheCodeStores(t *testing.T) {
	// A rule of approval is written as a boolean or an amount, not as its fields.
	never := map[string]bool{"/terms/requiresApproval/": true}
	done := map[domain.Kind]bool{}
	for name, record := range mustGoldens(t) {
		kind := kindOf(record)
		if done[kind] {
			continue
		}
		done[kind] = true
		r, err := domain.DecodeRecord(mustJSON(t, record))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		c := mustContract(t, "events/"+string(kind)+".json")
		c.wantFits(c.object("/properties/data"), reflect.TypeOf(r.Event), "", never)
	}
}

func TestEverySchemaOfAnObjectIsClosed(t *testing.T) {
	var look func(file, path string, v any)
	look = func(file, path string, v any) {
		switch v := v.(type) {
		case map[string]any:
			if v["type"] == "object" && v["additionalProperties"] != false {
				t.Errorf("%s: %s takes members it doesn't name", file, path)
			}
			for name, member := range v {
				look(file, path+"/"+name, member)
			}
		case []any:
			for i, item := range v {
				look(file, path+"/"+strconv.Itoa(i), item)
			}
		}
	}
	for _, file := range mustSchemaFiles(t) {
		look(file, "", mustContract(t, file).root)
	}
}

// mutation is a golden record with one thing changed.
type mutation struct {
	kind domain.Kind
	path string
	// old is what was there, nil for a member that was added; now is what
	// stands there instead.
	old, now any
	record   any
}

// missing stands for a member that was taken away.
type missing struct{}

// lenient is what a schema refuses and the decoder takes. This program alone
// writes the log, and writes nothing like it; an exception is one less check
// against another that does.
var lenient = []struct {
	name string
	is   func(mutation) bool
}{
	{
		// No field's zero value allows anything: no hash that equals a key, no
		// action, no agent, a moment long past.
		name: "a required member that is missing reads as its zero value",
		is:   func(m mutation) bool { return m.now == any(missing{}) && m.path != "/kind" && m.path != "/data" },
	},
	{
		name: "null reads as missing",
		is:   func(m mutation) bool { return m.now == nil && m.path != "/kind" },
	},
	{
		// It is read as text either way, and never as a float.
		name: "an amount may be a number",
		is: func(m mutation) bool {
			_, number := m.now.(json.Number)
			return number && (strings.HasSuffix(m.path, "/amount") || strings.HasSuffix(m.path, "/maxAmount"))
		},
	},
	{
		// Accept refuses it before it is stored.
		name: "a list may be empty",
		is: func(m mutation) bool {
			list, ok := m.now.([]any)
			return ok && len(list) == 0 && m.path != "/data"
		},
	},
	{
		// It is recorded only where it is true.
		name: "a mark may be false",
		is: func(m mutation) bool {
			return m.now == false && slices.Contains([]string{"defaultCurrency", "spends", "self", "shared", "deadLetters"}, path.Base(m.path))
		},
	},
	{
		// The fold reads the terms in full, and stops at what they can't mean.
		name: "when a person is asked may be said in a way that means nothing, or goes with no currency",
		is: func(m mutation) bool {
			switch m.now.(type) {
			case bool, string, json.Number:
				return path.Base(m.path) == "requiresApproval"
			}
			return false
		},
	},
	{
		// Which checks have a detail is a promise of the schema alone.
		name: "a check that passed may say why it did not, and one that did not may be silent",
		is: func(m mutation) bool {
			_, boolean := m.now.(bool)
			return boolean && strings.HasSuffix(m.path, "/passed")
		},
	},
}

func TestWhatASchemaRefusesTheDecoderRefuses(t *testing.T) {
	validators := mustValidators(t)
	used := map[string]int{}
	refused := 0
	for name, record := range mustGoldens(t) {
		for _, m := range mutations(kindOf(record), record) {
			schema := validators[m.kind].Validate(m.record)
			_, decoder := domain.DecodeRecord(mustJSON(t, m.record))
			switch {
			case schema == nil && decoder != nil:
				t.Errorf("%s: %s made %v: the schema takes it, the decoder doesn't: %v", name, m.path, m.now, decoder)
			case schema != nil && decoder != nil:
				refused++
			case schema != nil && decoder == nil:
				if why := exception(m); why != "" {
					used[why]++
				} else {
					t.Errorf("%s: %s made %v: the decoder takes it, the schema doesn't: %v", name, m.path, m.now, schema)
				}
			case m.old == nil:
				t.Errorf("%s: the unknown member %s is taken", name, m.path)
			}
		}
	}
	for _, e := range lenient {
		if used[e.name] == 0 {
			t.Errorf("the exception %q is never made use of; delete it", e.name)
		}
	}
	if refused < 1000 {
		t.Errorf("only %d mutations were refused by both", refused)
	}
}

func exception(m mutation) string {
	for _, e := range lenient {
		if e.is(m) {
			return e.name
		}
	}
	return ""
}

// mutations drops each member, adds an unknown one to each object, gives each
// value every other type of JSON, and turns true and false around.
func mutations(kind domain.Kind, record any) (all []mutation) {
	var walk func(v any, path string, with func(any) any)
	walk = func(v any, path string, with func(any) any) {
		for _, other := range []any{nil, v != true, json.Number("7"), "x", []any{}, map[string]any{}} {
			if fmt.Sprintf("%T", other) != fmt.Sprintf("%T", v) || reflect.TypeOf(v) == reflect.TypeFor[bool]() {
				all = append(all, mutation{kind, path, v, other, with(other)})
			}
		}
		switch v := v.(type) {
		case map[string]any:
			unknown := maps.Clone(v)
			unknown["unknownMember"] = "x"
			all = append(all, mutation{kind, path + "/unknownMember", nil, "x", with(unknown)})
			for name, old := range v {
				less := maps.Clone(v)
				delete(less, name)
				all = append(all, mutation{kind, path + "/" + name, old, missing{}, with(less)})
				walk(old, path+"/"+name, func(now any) any {
					changed := maps.Clone(v)
					changed[name] = now
					return with(changed)
				})
			}
		case []any:
			for i, old := range v {
				walk(old, path+"/"+strconv.Itoa(i), func(now any) any {
					changed := append([]any{}, v...)
					changed[i] = now
					return with(changed)
				})
			}
		}
	}
	walk(record, "", func(now any) any { return now })
	return all
}

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// accepted is an event as a command would have it stored, or why it would not.
func accepted(e domain.Event) (domain.Event, error) {
	account := domain.Account{Name: "Home", Currency: "USD", TimeZone: "Europe/Zurich", Approvals: domain.DefaultApprovals()}
	only := func(events []domain.Event, err error) (domain.Event, error) {
		if err != nil {
			return nil, err
		}
		return events[0], nil
	}
	switch e := e.(type) {
	case domain.PermissionGranted:
		terms, err := e.Terms.Accept(time.Time{}, account.Currency, account.Zone())
		return domain.PermissionGranted{PermissionID: e.PermissionID, Terms: terms}, err
	case domain.AccountSettingsChanged:
		s := e.Approvals
		return only(account.Change(domain.ChangeSettings{
			By: domain.Member{Role: domain.RoleOwner}, Name: &e.Name, TimeZone: &e.TimeZone, DecisionRetention: &e.DecisionRetention,
			Approvals: domain.ChangeApprovals{
				PendingFor: &s.PendingFor, ValidFor: &s.ValidFor, DenialFor: &s.DenialFor, RemindEvery: &s.RemindEvery,
				MostPending: &s.MostPending, SelfApproval: &s.SelfApproval, ShareComments: &s.ShareComments,
			},
		}))
	case domain.BudgetSet:
		limits, err := e.Accept(account.Currency, account.Zone())
		return domain.BudgetSet{Limits: limits}, err
	}
	return nil, fmt.Errorf("%T is not tried here", e)
}

// stores reports whether the code takes an event and stores it just as it is.
func stores(t *testing.T, record []byte) bool {
	t.Helper()
	r, err := domain.DecodeRecord(record)
	if err != nil {
		return false
	}
	if r.Event, err = accepted(r.Event); err != nil {
		return false
	}
	again, err := r.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Equal(again, record)
}

// What only the code knows is not tried: which currencies and zones there are,
// the scale of an amount, and how one member compares with another.
func TestTheSchemasBoundWhatTheCodeBounds(t *testing.T) {
	const (
		envelope = `"at":"2026-10-28T09:15:02Z","actor":"member:mem_01K8M3Z5V0J6N8P1S3T5V7X9ZA","account":"acct_01K8M3Z5V0QX4T7R9WBYDAFC2E"`
		terms    = `{"id":"evt_01K8M3Z5V1A3C5E7G9J1M3P5R7","kind":"permission.granted.v1",` + envelope + `,"agent":"a","data":{"permissionId":"perm_01K8M4QF3G7H9J1K3M5N7P9Q1R","terms":{"action":"buy",%s}}}`
		settings = `{"id":"evt_01K8M3Z5V1A3C5E7G9J1M3P5R7","kind":"account.settings_changed.v1",` + envelope + `,"data":{"name":"Behalf","currency":"USD","timeZone":%s,"approvals":{"pendingFor":%s,"validFor":%s,"denialFor":%s,"remindEvery":%s,"mostPending":%s,"selfApproval":true,"shareComments":true}}}`
		limits   = `{"id":"evt_01K8M3Z5V1A3C5E7G9J1M3P5R7","kind":"budget.set.v1",` + envelope + `,"data":{%s}}`
	)
	validators := mustValidators(t)
	try := func(record string) (takes bool) {
		t.Helper()
		value, err := jsonschema.UnmarshalJSON(strings.NewReader(record))
		if err != nil {
			t.Fatal(err)
		}
		refusal := validators[kindOf(value)].Validate(value)
		code := stores(t, []byte(record))
		if code != (refusal == nil) {
			t.Errorf("%s: the code stores it: %t; the schema says %v", record, code, refusal)
		}
		return code
	}
	both := map[bool]int{}
	defaults := []any{`"UTC"`, `"24h"`, `"30m"`, `"1h"`, `"4h"`, `7`}
	setting := func(i int, value string) {
		t.Helper()
		values := slices.Clone(defaults)
		values[i] = value
		both[try(fmt.Sprintf(settings, values...))]++
	}
	for _, zone := range []string{
		"UTC", "Europe/Zurich", "Etc/GMT+3", "America/Argentina/Buenos_Aires", "", "Local", "localtime", "posixrules", "Factory",
		"posix/UTC", "right/UTC", "/UTC", "Europe//Zurich", "Europe/", "Europe/Zürich", "../UTC", strings.Repeat("a", 65),
	} {
		setting(0, strconv.Quote(zone))
		both[try(fmt.Sprintf(limits, `"rates":[{"count":1,"per":"day","timeZone":`+strconv.Quote(zone)+`}]`))]++
		both[try(fmt.Sprintf(terms, `"timeWindows":[{"days":["mon"],"from":"00:00","to":"24:00","timeZone":`+strconv.Quote(zone)+`}]`))]++
	}
	for _, d := range []string{
		"1s", "59s", "60s", "1m", "1m30s", "59m59s", "60m", "1h", "1h0m1s", "1h1m", "1h1m1s", "1h0m", "1h1s", "1h01m", "90m", "719h59m59s",
		"720h", "720h0m1s", "720h1m", "721h", "1000h", "0s", "0", "", "1", "1d", "1.5h", "500ms", "1000ms", "-1h", "+1h", "1h ", " 1h", "1H",
		"h", "1h1h", "01h", "0h1m", "1µs",
	} {
		for i := 1; i <= 4; i++ {
			setting(i, strconv.Quote(d))
		}
		both[try(fmt.Sprintf(terms, `"requiresApproval":true,"approval":{"denialFor":`+strconv.Quote(d)+`}`))]++
	}
	for _, d := range []string{
		"24h", "25h", "720h", "999h", "1000h", "79999h", "80000h", "86999h", "87000h", "87599h", "87600h", "87601h", "88000h", "100000h", "23h", "1h",
		"0s", "0", "", "24h30m", "24h0m", "1440m", "024h", "30d", "-24h", "24h ", "24H", "24", "24.5h",
	} {
		both[try(`{"id":"evt_01K8M3Z5V1A3C5E7G9J1M3P5R7","kind":"account.settings_changed.v1",`+envelope+
			`,"data":{"name":"Behalf","currency":"USD","timeZone":"UTC","approvals":{"pendingFor":"24h","validFor":"30m","denialFor":"1h","remindEvery":"4h","mostPending":7,"selfApproval":true,"shareComments":true},"decisionRetention":`+strconv.Quote(d)+`}}`)]++
	}
	for _, n := range []string{"-1", "0", "1", "1000", "1001", "1.5", `"1"`} {
		setting(5, n)
	}
	for _, quorum := range []string{"-1", "0", "1", "2", "16", "17", `"2"`, "null"} {
		both[try(fmt.Sprintf(terms, `"requiresApproval":true,"approval":{"quorum":`+quorum+`}`))]++
	}
	for _, role := range append(constants(t, "account.go", "Role"), "", "approver", "NOBODY") {
		both[try(fmt.Sprintf(terms, `"requiresApproval":true,"approval":{"minRole":`+strconv.Quote(role)+`}`))]++
	}
	for _, part := range []string{
		`"requiresApproval":true`, `"requiresApproval":false`, `"requiresApproval":null`, `"requiresApproval":"yes"`, `"requiresApproval":1`,
		`"currency":"USD","requiresApproval":"100.00"`, `"currency":"USD","requiresApproval":"0.00"`,
		`"currency":"USD","requiresApproval":100.00`, `"currency":"USD","requiresApproval":true`, `"currency":"USD","requiresApproval":"-1.00"`,
		`"requiresApproval":"100.00"`, `"maxAmount":"100.00","requiresApproval":"50.00"`,
		`"maxAmount":"100.00","currency":"USD","requiresApproval":"50.00"`, `"maxAmount":"100.00","currency":"USD","requiresApproval":true`,
		`"requiresApproval":true,"approval":{}`, `"requiresApproval":true,"approval":null`, `"approval":{"quorum":2}`,
		`"requiresApproval":true,"approval":{"remindEvery":"1h"}`, `"budgets":[],"rates":[]`,
		`"maxAmount":"1.00","currency":"USD","budgets":[{"amount":"5.00","currency":"USD","per":"total"}],"rates":[{"count":1,"per":"total"}]`,
		`"budgets":[{"amount":"5.00","currency":"EUR","per":"day","timeZone":"UTC"}]`, `"timeZone":"UTC"`,
	} {
		both[try(fmt.Sprintf(terms, part))]++
	}
	for _, per := range append(constants(t, "period.go", "Period"), "", "year", "Day") {
		for _, zone := range []string{"", `,"timeZone":"Asia/Tokyo"`} {
			both[try(fmt.Sprintf(limits, `"rates":[{"count":1,"per":`+strconv.Quote(per)+zone+`}]`))]++
			both[try(fmt.Sprintf(limits, `"budgets":[{"amount":"1.00","currency":"USD","per":`+strconv.Quote(per)+zone+`}]`))]++
		}
	}
	for _, count := range []string{"-1", "0", "1", "2147483647", "2147483648", "1.5", `"1"`, "null"} {
		both[try(fmt.Sprintf(limits, `"rates":[{"count":`+count+`,"per":"total"}]`))]++
	}
	for _, amount := range []string{
		`"0.00"`, `"0.01"`, `"1.00"`, `"10.00"`, `"1.0"`, `"01.00"`, `"-1.00"`, `"9999999999999999.99"`, `"99999999999999999.99"`, `1.00`, `""`, "null",
	} {
		both[try(fmt.Sprintf(limits, `"budgets":[{"amount":`+amount+`,"currency":"USD","per":"total"}]`))]++
	}
	for n := range 34 {
		zones := []string{"UTC", "GMT", "EST", "MST", "HST", "CET", "EET", "MET", "WET"}
		for i := range 14 {
			zones = append(zones, fmt.Sprintf("Etc/GMT+%d", i%13), fmt.Sprintf("Etc/GMT-%d", i))
		}
		slices.Sort(zones)
		zones = slices.Compact(zones)[:n]
		rates, budgets := []string{}, []string{}
		for _, zone := range zones {
			rates = append(rates, `{"count":1,"per":"day","timeZone":"`+zone+`"}`)
			budgets = append(budgets, `{"amount":"1.00","currency":"USD","per":"day","timeZone":"`+zone+`"}`)
		}
		both[try(fmt.Sprintf(limits, `"rates":[`+strings.Join(rates, ",")+`]`))]++
		both[try(fmt.Sprintf(limits, `"budgets":[`+strings.Join(budgets, ",")+`]`))]++
	}
	if both[true] < 100 || both[false] < 100 {
		t.Errorf("%d were stored and %d were not; both should be many", both[true], both[false])
	}
}

func TestTheSchemaOfADurationTakesWhatTheCodeWrites(t *testing.T) {
	const longest = 720 * time.Hour
	compiler := jsonschema.NewCompiler()
	types := mustContract(t, "types.json")
	if err := compiler.AddResource("https://behalf.invalid/types.json", types.root); err != nil {
		t.Fatal(err)
	}
	duration, err := compiler.Compile("https://behalf.invalid/types.json#/$defs/duration")
	if err != nil {
		t.Fatal(err)
	}
	for d := time.Duration(0); d < longest+2*time.Hour; d += time.Second {
		if d > 2*time.Hour && d < longest-time.Hour {
			d += 996 * time.Second // prime to 60 with the one above
		}
		err := duration.Validate(domain.Duration(d).String())
		if want := d >= time.Second && d <= longest; (err == nil) != want {
			t.Errorf("%s: got %v, want it taken: %t", domain.Duration(d), err, want)
		}
	}
}
