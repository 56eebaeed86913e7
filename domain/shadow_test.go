package domain

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
)

var shadowStart = time.Date(2026, 10, 28, 9, 0, 0, 0, time.UTC)

func shadowBegun(id ShadowID) ShadowStarted {
	return ShadowStarted{ShadowID: id, After: 10, Until: shadowStart.Add(time.Hour), Epoch: 7}
}

func madeAgain(seq uint64, real, shadow Outcome) ShadowVerdict {
	code := map[Outcome]ReasonCode{OutcomeAllowed: "ALLOWED", OutcomeDenied: "AMOUNT_EXCEEDS_LIMIT", OutcomeRequiresApproval: "APPROVAL_REQUIRED"}
	v := ShadowVerdict{
		RequestID: "req_1", Sequence: seq, At: shadowStart.Add(time.Minute), Amount: "300.50", Currency: "USD",
		Real: Came{real, code[real]},
	}
	if shadow != "" {
		v.Shadow = Came{shadow, code[shadow]}
	}
	return v
}

// shadowOf folds events one second apart, the first at sequence 1.
func shadowOf(events ...ShadowEvent) (s Shadow) {
	for i, e := range events {
		s = s.Evolve(ShadowRecorded{ShadowRecord{At: shadowStart.Add(time.Duration(i) * time.Second), Actor: "member:mem_1", Event: e}, uint64(i + 1)})
	}
	return s
}

func shadowRun(vs ...ShadowVerdict) []ShadowEvent {
	events := []ShadowEvent{shadowBegun("shd_1")}
	for _, v := range vs {
		events = append(events, shadowOf(events...).Record(v)...)
	}
	return events
}

func TestShadow(t *testing.T) {
	agent := &Agent{ID: "agent_a", Status: AgentActive}
	account := &Account{Currency: "USD"}
	add := ShadowCandidate{Add: []Terms{{Action: "mail.read"}}}
	command := func(change func(*StartShadow)) func(Shadow) ([]ShadowEvent, error) {
		cmd := StartShadow{ShadowID: "shd_2", Candidate: add, From: Position{Epoch: 7, Seq: 20}, Agent: agent, Account: account, Now: shadowStart}
		change(&cmd)
		return func(s Shadow) ([]ShadowEvent, error) { return s.Start(cmd) }
	}
	plain := func(*StartShadow) {}
	stop := func(s Shadow) ([]ShadowEvent, error) { return s.Stop(ShadowEndedByMember, "seen enough") }
	expire := func(s Shadow) ([]ShadowEvent, error) { return s.Stop(ShadowExpired, "") }
	record := func(v ShadowVerdict) func(Shadow) ([]ShadowEvent, error) {
		return func(s Shadow) ([]ShadowEvent, error) { return s.Record(v), nil }
	}
	digest, err := add.Digest()
	if err != nil {
		t.Fatal(err)
	}
	started := ShadowStarted{
		ShadowID: "shd_2", Candidate: add, CandidateDigest: digest, Epoch: 7, After: 20, Until: shadowStart.Add(7 * 24 * time.Hour),
	}
	superseding := started
	superseding.Supersedes = "shd_1"
	allowed := madeAgain(11, OutcomeAllowed, OutcomeDenied)
	stopped := ShadowStopped{ShadowID: "shd_1", StartedSeq: 1, Because: ShadowEndedByMember, Note: "seen enough", Through: 10, ThroughAt: shadowStart}
	expired := stopped
	expired.Because, expired.Note = ShadowExpired, ""
	late := allowed
	late.At = shadowStart.Add(time.Hour)

	for _, c := range []struct {
		name  string
		given []ShadowEvent
		when  func(Shadow) ([]ShadowEvent, error)
		then  []ShadowEvent
		code  Code
		field string
	}{
		{name: "start", when: command(plain), then: []ShadowEvent{started}},
		{name: "start again takes the place of the one that runs", given: shadowRun(), when: command(plain), then: []ShadowEvent{superseding}},
		{name: "start after an end", given: append(shadowRun(), stopped), when: command(plain), then: []ShadowEvent{started}},
		{name: "start for no agent", when: command(func(c *StartShadow) { c.Agent = &Agent{} }), code: NotFound},
		{name: "start for one that is disabled", when: command(func(c *StartShadow) { c.Agent = &Agent{ID: "agent_a", Status: AgentIsDisabled} }), code: Conflict},
		{name: "start for too short", when: command(func(c *StartShadow) { c.For = time.Second }), code: Invalid, field: "/for"},
		{name: "start for too long", when: command(func(c *StartShadow) { c.For = MostShadow + 1 }), code: Invalid, field: "/for"},
		{name: "start with a long note", when: command(func(c *StartShadow) { c.Note = strings.Repeat("é", 501) }), code: Invalid, field: "/note"},
		{name: "start with nothing", when: command(func(c *StartShadow) { c.Candidate = ShadowCandidate{} }), code: Invalid, field: "/candidate"},
		{
			name: "start with terms that no grant takes", code: Invalid, field: "/candidate/add/0/maxAmount",
			when: command(func(c *StartShadow) {
				c.Candidate = ShadowCandidate{Add: []Terms{{Action: "purchase", MaxAmount: "-1"}}}
			}),
		},
		{
			name: "start with terms that ended", code: Invalid, field: "/candidate/add/0/expiresAt",
			when: command(func(c *StartShadow) {
				c.Candidate = ShadowCandidate{Add: []Terms{{Action: "purchase", ExpiresAt: shadowStart}}}
			}),
		},
		{
			name: "start without a permission that isn't there", code: Invalid, field: "/candidate/remove/0",
			when: command(func(c *StartShadow) { c.Candidate = ShadowCandidate{Remove: []PermissionID{"perm_x"}} }),
		},
		{
			name: "start with another one in the place of none", code: Invalid, field: "/candidate/replace/perm_x",
			when: command(func(c *StartShadow) { c.Candidate = ShadowCandidate{Replace: map[PermissionID]Terms{"perm_x": {}}} }),
		},
		{name: "stop", given: shadowRun(), when: stop, then: []ShadowEvent{stopped}},
		{name: "stop again changes nothing", given: append(shadowRun(), stopped), when: stop},
		{name: "stop what never was", when: stop, code: NotFound},
		{name: "expire", given: shadowRun(), when: expire, then: []ShadowEvent{expired}},
		{name: "record", given: shadowRun(), when: record(allowed), then: shadowRun(allowed)[1:]},
		{name: "record again changes nothing", given: shadowRun(allowed), when: record(allowed)},
		{name: "record what was before it", given: shadowRun(), when: record(madeAgain(10, OutcomeAllowed, OutcomeDenied))},
		{name: "record what was after it", given: shadowRun(), when: record(late)},
		{name: "record after an end", given: append(shadowRun(), stopped), when: record(allowed)},
		{name: "record for none", when: record(allowed)},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := c.when(shadowOf(c.given...))
			rule, _ := errors.AsType[*RuleError](err)
			if c.code != "" && (rule == nil || rule.Code != c.code || rule.Field != c.field) {
				t.Fatalf("got %v, %#v, want %s at %q", got, err, c.code, c.field)
			}
			if c.code == "" && (err != nil || !reflect.DeepEqual(got, c.then)) {
				t.Errorf("got  %+v, %v\nwant %+v", got, err, c.then)
			}
		})
	}
}

func TestAShadowCounts(t *testing.T) {
	vs := []ShadowVerdict{
		madeAgain(11, OutcomeAllowed, OutcomeAllowed), madeAgain(12, OutcomeAllowed, OutcomeDenied), madeAgain(13, OutcomeAllowed, OutcomeRequiresApproval),
		madeAgain(14, OutcomeDenied, OutcomeAllowed), madeAgain(15, OutcomeRequiresApproval, OutcomeDenied), madeAgain(16, OutcomeAllowed, ""),
		madeAgain(17, OutcomeAllowed, OutcomeDenied), madeAgain(18, OutcomeDenied, OutcomeDenied),
	}
	vs[7].Shadow.ReasonCode = "NO_PERMISSION"
	vs[3].Amount, vs[6].Amount = "999999999999999.99", "999999999999999.99"
	events := shadowRun(vs...)
	got := shadowOf(events...).Totals
	allowed, denied := Came{OutcomeAllowed, "ALLOWED"}, Came{OutcomeDenied, "AMOUNT_EXCEEDS_LIMIT"}
	asked := Came{OutcomeRequiresApproval, "APPROVAL_REQUIRED"}
	want := ShadowTotals{
		Decided: 8, Same: 1, Stricter: 4, Looser: 1, OtherReason: 1, Undecided: 1,
		Changes: []ShadowChange{
			{allowed, denied, 2}, {allowed, asked, 1}, {denied, allowed, 1}, {denied, Came{OutcomeDenied, "NO_PERMISSION"}, 1}, {asked, denied, 1},
		},
		Money: []ShadowMoney{{"USD", "999999999999999.99", "1000000000000600.99"}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	// The differences lead from each to the one before it.
	var walked []uint64
	for seq := shadowOf(events...).Difference; seq > 0; seq = events[seq-1].(ShadowDecided).PreviousDifference {
		walked = append(walked, seq)
	}
	if want := []uint64{9, 8, 7, 6, 5, 4, 3}; !reflect.DeepEqual(walked, want) {
		t.Errorf("differences: got %v, want %v", walked, want)
	}
}

func TestTheStartAndTheNewestEventAreTheWholeFold(t *testing.T) {
	events := shadowRun(madeAgain(11, OutcomeAllowed, OutcomeDenied), madeAgain(12, OutcomeDenied, OutcomeDenied), madeAgain(14, OutcomeDenied, OutcomeAllowed))
	end, err := shadowOf(events...).Stop(ShadowExpired, "")
	if err != nil {
		t.Fatal(err)
	}
	events = append(events, end...)
	for n := 1; n <= len(events); n++ {
		whole := shadowOf(events[:n]...)
		short := shadowOf(events[0])
		short = short.Evolve(ShadowRecorded{ShadowRecord{At: shadowStart.Add(time.Duration(n-1) * time.Second), Actor: "member:mem_1", Event: events[n-1]}, uint64(n)})
		if !reflect.DeepEqual(short, whole) {
			t.Errorf("after %d events: got  %+v\nwant %+v", n, short, whole)
		}
		if at := StartedAtSeq(events[n-1]); n > 1 && at != 1 {
			t.Errorf("event %d: got the start at %d, want 1", n, at)
		}
	}
}

func TestEveryGoldenRecordOfAShadowDecodesAndEncodesByteForByte(t *testing.T) {
	paths, err := filepath.Glob("testdata/shadows/*.json")
	if err != nil {
		t.Fatal(err)
	}
	seen, types := map[Kind]map[string]bool{}, map[Kind]reflect.Type{}
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		golden := bytes.TrimSuffix(b, []byte("\n"))
		r, err := DecodeShadowRecord(golden)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if got, err := r.Append(nil); err != nil || !bytes.Equal(got, golden) {
			t.Errorf("%s:\ngot  %s, %v\nwant %s", path, got, err, golden)
		}
		kind := r.Event.Kind()
		if !strings.HasPrefix(filepath.Base(path), string(kind)+".") {
			t.Errorf("%s: got a record of kind %s", path, kind)
		}
		if seen[kind] == nil {
			seen[kind] = map[string]bool{}
		}
		types[kind] = reflect.TypeOf(r.Event)
		collectMembers(mustTree(t, golden)["data"], "", seen[kind])
		for _, bad := range []string{
			strings.Replace(string(golden), `{"id":`, `{"extra":1,"id":`, 1),
			strings.Replace(string(golden), `"shadowId":`, `"extra":1,"shadowId":`, 1),
			string(golden) + "{}",
		} {
			if _, err := DecodeShadowRecord([]byte(bad)); err == nil {
				t.Errorf("decoded %s", bad)
			}
		}
		later := strings.Replace(string(golden), ".v1", ".v9", 1)
		if _, err := DecodeShadowRecord([]byte(later)); !errors.Is(err, ErrUnknownKind) {
			t.Errorf("a later kind: got %v, want %v", err, ErrUnknownKind)
		}
		if _, err := DecodeRecord(golden); !errors.Is(err, ErrUnknownKind) {
			t.Errorf("the log reads a shadow's event: got %v, want %v", err, ErrUnknownKind)
		}
	}
	for _, kind := range ShadowKinds() {
		if seen[kind] == nil {
			t.Errorf("%s has no golden file", kind)
			continue
		}
		for _, member := range declaredMembers(types[kind], "") {
			// Terms have golden files of their own; a map's keys are ids.
			if !seen[kind][member] && !strings.HasPrefix(member, "/candidate/") {
				t.Errorf("no golden file of %s has the member %s", kind, member)
			}
		}
	}
}

func mustTree(t *testing.T, b []byte) map[string]any {
	t.Helper()
	var tree map[string]any
	if err := json.Unmarshal(b, &tree); err != nil {
		t.Fatal(err)
	}
	return tree
}
