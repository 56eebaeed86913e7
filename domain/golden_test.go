package domain

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// mustGoldens reads the golden files: records as they were written, by file
// name. One is never edited; a kind that gets a new shape gets a new file.
func mustGoldens(tb testing.TB) map[string][]byte {
	tb.Helper()
	paths, err := filepath.Glob("testdata/events/*.json")
	if err != nil || len(paths) == 0 {
		tb.Fatalf("no golden files: %v", err)
	}
	goldens := map[string][]byte{}
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			tb.Fatal(err)
		}
		goldens[filepath.Base(path)] = bytes.TrimSuffix(b, []byte("\n")) // the file's, not the record's
	}
	return goldens
}

func mustDecode(tb testing.TB, b []byte) Record {
	tb.Helper()
	r, err := DecodeRecord(b)
	if err != nil {
		tb.Fatalf("decode %s: %v", b, err)
	}
	return r
}

func TestEveryGoldenRecordDecodesAndEncodesByteForByte(t *testing.T) {
	for name, golden := range mustGoldens(t) {
		t.Run(name, func(t *testing.T) {
			r := mustDecode(t, golden)
			if !strings.HasPrefix(name, string(r.Event.Kind())+".") {
				t.Errorf("got a record of kind %s, want the kind the file is named for", r.Event.Kind())
			}
			got, err := r.Append(nil)
			if err != nil || !bytes.Equal(got, golden) {
				t.Errorf("got  %s, %v\nwant %s", got, err, golden)
			}
			if r.At.Location() != time.UTC {
				t.Errorf("got the time in %s, want it in UTC", r.At.Location())
			}
		})
	}
}

func TestEveryKindAndEveryMemberHasAGoldenFile(t *testing.T) {
	seen := map[Kind]map[string]bool{} // the members, by kind
	types := map[Kind]reflect.Type{}
	for _, golden := range mustGoldens(t) {
		e := mustDecode(t, golden).Event
		if seen[e.Kind()] == nil {
			seen[e.Kind()] = map[string]bool{}
		}
		types[e.Kind()] = reflect.TypeOf(e)
		var record map[string]any
		if err := json.Unmarshal(golden, &record); err != nil {
			t.Fatal(err)
		}
		collectMembers(record["data"], "", seen[e.Kind()])
	}
	for _, kind := range Kinds() {
		if seen[kind] == nil {
			t.Errorf("%s has no golden file", kind)
			continue
		}
		for _, member := range declaredMembers(types[kind], "") {
			if !seen[kind][member] {
				t.Errorf("no golden file of %s has the member %s", kind, member)
			}
		}
	}
}

// collectMembers notes the path of every member in a value, through lists.
func collectMembers(v any, path string, into map[string]bool) {
	switch v := v.(type) {
	case map[string]any:
		for name, member := range v {
			into[path+"/"+name] = true
			collectMembers(member, path+"/"+name, into)
		}
	case []any:
		for _, item := range v {
			collectMembers(item, path, into)
		}
	}
}

// declaredMembers is the path of every member a type can have, those of
// embedded structs included.
func declaredMembers(t reflect.Type, path string) (members []string) {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return nil
	}
	for f := range t.Fields() {
		switch name, _, _ := strings.Cut(f.Tag.Get("json"), ","); {
		case name != "":
			members = append(members, path+"/"+name)
			members = append(members, declaredMembers(f.Type, path+"/"+name)...)
		case f.Anonymous:
			members = append(members, declaredMembers(f.Type, path)...)
		}
	}
	return members
}

func TestEveryGoldenRecordFolds(t *testing.T) {
	for name, golden := range mustGoldens(t) {
		r := Recorded{Record: mustDecode(t, golden), Position: Position{Seq: 1}}
		var (
			folded uint64
			fault  error
		)
		switch s := r.Stream(); {
		case s.Budget:
			b := (SharedBudget{}).Evolve(r)
			folded, fault = b.Version, b.Fault()
		case s.Agent == "":
			folded = Account{}.Evolve(r).Version
		default:
			a := (Agent{}).Evolve(r)
			folded, fault = a.Version, a.Fault()
		}
		if fault != nil || (folded == 1) != r.Moves() {
			t.Errorf("%s: got the version %d and the fault %v, want it folded: %t", name, folded, fault, r.Moves())
		}
	}
}

// What a golden decision is to its agent's stream, by what it says.
func TestEveryWayADecisionMovesHasAGoldenFile(t *testing.T) {
	seen := map[string]bool{}
	for name, golden := range mustGoldens(t) {
		d, ok := mustDecode(t, golden).Event.(DecisionMade)
		if !ok {
			continue
		}
		seen[string(d.ReasonCode)] = true
		for way, is := range map[string]bool{
			"opens": d.Opens(), "uses": d.Uses(), "spends": d.Spends, "only recorded": !d.Moves(),
			"shares the account's limits": d.BudgetVersion != 0,
			"waits for what is asked":     d.Outcome == OutcomeRequiresApproval && d.Gate == nil,
			"would have opened":           d.Outcome == OutcomeDenied && d.Gate != nil,
			"waits for a window":          !d.WindowEndsAt.IsZero(),
		} {
			seen[way] = seen[way] || is
			if !is {
				seen["not "+way] = true
			}
		}
		if moves := d.Spends || d.Opens() || d.Uses(); d.Outcome == OutcomeDenied && moves {
			t.Errorf("%s: a denial moves its agent's stream", name)
		}
	}
	for _, way := range []string{
		"opens", "uses", "spends", "only recorded", "shares the account's limits", "waits for what is asked", "would have opened",
		"waits for a window",
	} {
		if !seen[way] || !seen["not "+way] {
			t.Errorf("no golden decision %s, or all do", way)
		}
	}
	for _, code := range []ReasonCode{RateExceeded, BudgetExceeded, ApprovalRequired, ApprovalDeniedCode, ApprovalUsed, TooManyPending} {
		if !seen[string(code)] {
			t.Errorf("no golden decision has the code %s", code)
		}
	}
}

func TestARecordThatCanNotBeReadInFullIsRefused(t *testing.T) {
	const envelope = `"id":"evt_1","at":"2026-10-28T09:15:02Z","actor":"system:setup","account":"acct_1"`
	for _, c := range []struct {
		name, record string
		unknownKind  bool
	}{
		{name: "a kind made later", record: `{` + envelope + `,"kind":"agent.renamed.v1","data":{}}`, unknownKind: true},
		{name: "a version made later", record: `{` + envelope + `,"kind":"agent.enabled.v2","data":{}}`, unknownKind: true},
		{name: "a kind in other case", record: `{` + envelope + `,"kind":"Agent.Enabled.v1","data":{}}`, unknownKind: true},
		{name: "no kind", record: `{` + envelope + `,"data":{}}`, unknownKind: true},
		{name: "no data", record: `{` + envelope + `,"kind":"agent.enabled.v1"}`},
		{name: "an unknown member beside the data", record: `{` + envelope + `,"kind":"agent.enabled.v1","data":{},"more":1}`},
		{name: "an unknown member in the data", record: `{` + envelope + `,"kind":"agent.enabled.v1","data":{"more":1}}`},
		{name: "an unknown member in the terms", record: `{` + envelope + `,"kind":"permission.granted.v1","data":{"permissionId":"p","terms":{"action":"a","maxAmounts":"1"}}}`},
		{name: "an unknown member in a budget", record: `{` + envelope + `,"kind":"budget.set.v1","data":{"budgets":[{"amounts":"1"}]}}`},
		{name: "an unknown member in a gate", record: `{` + envelope + `,"kind":"decision.made.v1","data":{"gate":{"digests":"1"}}}`},
		{name: "a length of time in days", record: `{` + envelope + `,"kind":"account.settings_changed.v1","data":{"approvals":{"pendingFor":"1d"}}}`},
		{name: "a length of time below nothing", record: `{` + envelope + `,"kind":"account.settings_changed.v1","data":{"approvals":{"pendingFor":"-1h"}}}`},
		{name: "a length of time as a number", record: `{` + envelope + `,"kind":"account.settings_changed.v1","data":{"approvals":{"pendingFor":3600}}}`},
		{name: "approval that is null", record: `{` + envelope + `,"kind":"permission.granted.v1","data":{"terms":{"action":"a","requiresApproval":null}}}`},
		{name: "a member in other case", record: `{` + envelope + `,"kind":"agent.disabled.v1","data":{"Reason":"x"}}`},
		{name: "a member twice", record: `{` + envelope + `,"kind":"agent.disabled.v1","data":{"reason":"x","reason":"y"}}`},
		{name: "a wrong type", record: `{` + envelope + `,"kind":"agent.disabled.v1","data":{"reason":1}}`},
		{name: "bad UTF-8", record: `{` + envelope + `,"kind":"agent.disabled.v1","data":{"reason":"` + "\xff" + `"}}`},
		{name: "trailing data", record: `{` + envelope + `,"kind":"agent.enabled.v1","data":{}}{}`},
		{name: "a record cut short", record: `{` + envelope + `,"kind":"agent.enabled.v1","da`},
		{name: "nothing", record: ``},
		{name: "null", record: `null`, unknownKind: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := DecodeRecord([]byte(c.record))
			if err == nil || errors.Is(err, ErrUnknownKind) != c.unknownKind {
				t.Errorf("got the error %v, want one that is ErrUnknownKind: %t", err, c.unknownKind)
			}
			if r != (Record{}) {
				t.Errorf("got %+v beside an error, want nothing", r)
			}
		})
	}
}

// FuzzDecodeRecord checks that whatever the log holds gives a record or an
// error, never both and never neither, and that what was read is written back
// in a form that is read as the same.
func FuzzDecodeRecord(f *testing.F) {
	for _, golden := range mustGoldens(f) {
		f.Add(golden)
	}
	const envelope = `"id":"evt_1","at":"2026-10-28T09:15:02Z","actor":"agent:a","account":"acct_1","agent":"a"`
	for _, data := range []string{
		`{"gate":{"digest":"","pendingFor":"1h60s","quorum":-1,"mostPending":-9223372036854775808}}`,
		`{"gate":{},"checks":[]}`,
		`{"windowEndsAt":"0000-01-01T00:00:00.5+23:59"}`,
		`{"windowEndsAt":"9999-12-31T23:59:59-00:01"}`,
		`{"windowEndsAt":"0001-01-01T00:00:00Z"}`,
		`{"budgetVersion":18446744073709551615,"spends":false}`,
	} {
		f.Add([]byte(`{` + envelope + `,"kind":"decision.made.v1","data":` + data + `}`))
	}
	f.Add([]byte(`{` + envelope + `,"kind":"budget.released.v1","data":{}}`))
	f.Add([]byte(`{` + envelope + `,"kind":"permission.granted.v1","data":{"terms":{"budgets":[{"per":"day"}]}}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := DecodeRecord(b)
		if err != nil {
			if r != (Record{}) {
				t.Fatalf("got %+v beside %v", r, err)
			}
			return
		}
		if r.Event == nil || !slices.Contains(Kinds(), r.Event.Kind()) {
			t.Fatalf("got neither an event nor an error")
		}
		first, err := r.Append(nil)
		if err != nil {
			t.Fatalf("encode what was decoded: %v", err)
		}
		if lacksAmount(r.Event) {
			return
		}
		again := mustDecode(t, first)
		second, err := again.Append(nil)
		if err != nil || !bytes.Equal(first, second) {
			t.Fatalf("got  %s, %v\nwant %s", second, err, first)
		}
	})
}

// lacksAmount reports whether an event has no amount where it must have one. No
// fold takes it, and it is written with an empty text, which is not read again.
func lacksAmount(e Event) bool {
	empty := func(l Limits) bool {
		return slices.ContainsFunc(l.Budgets, func(b Budget) bool { return b.Amount == "" })
	}
	switch e := e.(type) {
	case BudgetReleased:
		return e.Amount == ""
	case BudgetSet:
		return empty(e.Limits)
	case AgentLimitsSet:
		return empty(e.Limits)
	case PermissionGranted:
		return empty(e.Terms.Limits)
	case PermissionReplaced:
		return empty(e.Terms.Limits)
	}
	return false
}

// TestTheHandWrittenEncodersWriteWhatTheTagsSay holds the encoders without
// reflection against the reflecting one. The values are filled by the types, so
// that a new field is covered, or missed, at once.
func TestTheHandWrittenEncodersWriteWhatTheTagsSay(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	// Bad UTF-8 is refused at the door; the encoders replace it alike.
	marshal := func(v any) []byte {
		t.Helper()
		b, err := json.Marshal(v, json.Deterministic(true), jsontext.AllowInvalidUTF8(true))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for range 500 {
		var (
			r Record
			d DecisionMade
			p Packet
		)
		randomize(random, reflect.ValueOf(&r).Elem())
		randomize(random, reflect.ValueOf(&d).Elem())
		randomize(random, reflect.ValueOf(&p).Elem())
		r.Event = d
		want := marshal(stored{
			ID: r.ID, Kind: KindDecisionMade, At: r.At, Actor: r.Actor,
			Account: r.Account, Agent: r.Agent, Cause: r.Cause, Data: marshal(d),
		})
		if got, err := r.Append(nil); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("record: got  %s, %v\nwant %s", got, err, want)
		}
		if got, want := p.Append(nil), marshal(p); !bytes.Equal(got, want) {
			t.Fatalf("packet: got  %s\nwant %s", got, want)
		}
	}
}

// randomize sets every exported field of v, each to its zero value now and then.
func randomize(random *rand.Rand, v reflect.Value) {
	if random.IntN(4) == 0 && v.Kind() != reflect.Struct {
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(randomText(random))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Uint64:
		v.SetUint(random.Uint64() >> random.IntN(64))
	case reflect.Int, reflect.Int64:
		v.SetInt(random.Int64() >> random.IntN(64))
		if random.IntN(4) == 0 {
			v.SetInt(-v.Int())
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		randomize(random, v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), random.IntN(4), 4))
		for i := range v.Len() {
			randomize(random, v.Index(i))
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(time.Unix(random.Int64N(math.MaxInt32*10), random.Int64N(1e9)).UTC()))
			return
		}
		for f, field := range v.Fields() {
			if f.IsExported() {
				randomize(random, field)
			}
		}
	case reflect.Interface: // an event; the caller sets it
	default:
		panic("randomize does not know " + v.Type().String())
	}
}

// randomText is text with what an encoder can get wrong.
func randomText(random *rand.Rand) string {
	pieces := []string{
		"a", "Z9", " ", `"`, `\`, "/", "<&>", "'", "\n", "\t", "\x00", "\x1f", "\x7f",
		"é", "漢", "\U0001f642", "\u2028", "\u202e", "\ufffd", "\xff", "\xe2\x82",
	}
	var text strings.Builder
	for range random.IntN(6) {
		text.WriteString(pieces[random.IntN(len(pieces))])
	}
	return text.String()
}

// What is read the quick way is read as the decoder reads it.
func FuzzScan(f *testing.F) {
	for _, golden := range mustGoldens(f) {
		f.Add(golden)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		quick, ok := scan(b)
		if !ok {
			return
		}
		var slow stored
		if err := json.Unmarshal(b, &slow, strict); err != nil {
			// Only the data may still be wrong, which is decoded next.
			if _, err := decodeEvent(quick.Kind, quick.Data); err == nil {
				t.Errorf("%s was read, and the decoder refuses it", b)
			}
			return
		}
		if !quick.At.Equal(slow.At) {
			t.Errorf("%s: got the time %s, want %s", b, quick.At, slow.At)
		}
		quick.At = slow.At
		if !reflect.DeepEqual(quick, slow) {
			t.Errorf("%s: got %+v, want %+v", b, quick, slow)
		}
	})
}

func BenchmarkDecodeRecord(b *testing.B) {
	record, err := history(ollie, registered)[0].Append(nil)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodeRecord(record); err != nil {
			b.Fatal(err)
		}
	}
}
