package projections

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/behalf-platform/behalf/domain"
)

var update = flag.Bool("update", false, "write the golden public events that are missing")

// mustRecords reads domain's golden records, by file name, as if each lay at
// one place of a log.
func mustRecords(tb testing.TB) map[string]domain.Recorded {
	tb.Helper()
	paths, err := filepath.Glob("../domain/testdata/events/*.json")
	if err != nil || len(paths) == 0 {
		tb.Fatalf("no golden records: %v", err)
	}
	records := map[string]domain.Recorded{}
	for _, path := range paths {
		raw, err := os.ReadFile(path)
		if err != nil {
			tb.Fatal(err)
		}
		r, err := domain.DecodeRecord(bytes.TrimSuffix(raw, []byte("\n")))
		if err != nil {
			tb.Fatalf("%s: %v", path, err)
		}
		records[filepath.Base(path)] = domain.Recorded{
			Record: r, Position: domain.Position{Partition: 3, Epoch: 77, Seq: 1001}, Last: 998, LoggedAt: r.At,
		}
	}
	return records
}

func mustPublic(tb testing.TB, r domain.Recorded) []PublicEvent {
	tb.Helper()
	events, err := Public(nil, &r)
	if err != nil {
		tb.Fatal(err)
	}
	return events
}

// A golden file has the public events of the record it is named for, one a line.
// Like the records, it is never edited.
func TestEveryRecordIsMadePublicByteForByte(t *testing.T) {
	records := mustRecords(t)
	seen := map[PublicType]bool{}
	for name, r := range records {
		var got []byte
		for i, e := range mustPublic(t, r) {
			if e.Index != i {
				t.Errorf("%s: got the index %d, want %d", name, e.Index, i)
			}
			seen[e.Type] = true
			got = append(e.AppendCloudEvent(got), '\n')
		}
		golden := filepath.Join("testdata/public", name)
		want, err := os.ReadFile(golden)
		if os.IsNotExist(err) && *update {
			want, err = got, os.WriteFile(golden, got, 0o644)
		}
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %v\ngot  %s\nwant %s", name, err, got, want)
		}
	}
	for _, typ := range PublicTypes() {
		if !seen[typ] {
			t.Errorf("no golden file has a %s", typ)
		}
		delete(seen, typ)
	}
	for typ := range seen {
		t.Errorf("%s is not listed", typ)
	}
	files, err := filepath.Glob("testdata/public/*.json")
	if err != nil || len(files) != len(records) {
		t.Errorf("got %d golden files, %v; want one for each of %d records", len(files), err, len(records))
	}
}

func TestWhatARecordSays(t *testing.T) {
	records := mustRecords(t)
	for _, c := range []struct {
		record string
		want   []PublicType
	}{
		{"decision.made.v1.allowed.json", []PublicType{VerificationAllowed}},
		{"decision.made.v1.no_permission.json", []PublicType{VerificationDenied}},
		{"decision.made.v1.opens.json", []PublicType{VerificationRequiresApproval, ApprovalRequested}},
		{"decision.made.v1.pending.json", []PublicType{VerificationRequiresApproval}},
		{"decision.made.v1.too_many_pending.json", []PublicType{VerificationDenied}},
		{"decision.made.v1.uses.json", []PublicType{VerificationAllowed, ApprovalUsed}},
		{"decision.made.v1.spends.json", []PublicType{VerificationAllowed}},
		{"decision.made.v1.budget_exceeded.json", []PublicType{VerificationDenied, BudgetExhausted}},
		{"decision.made.v1.rate_exceeded.json", []PublicType{VerificationDenied}},
		{"permission.replaced.v1.json", []PublicType{PermissionReplaced}},
		{"permission.replaced.v1.cancels.json", []PublicType{PermissionReplaced, ApprovalCancelled, ApprovalCancelled, ApprovalCancelled}},
		{"decision.consumed.v1.json", []PublicType{DecisionConsumed}},
		{"receipt_key.rotated.v1.json", []PublicType{ReceiptKeyRotated}},
		{"budget.charged.v1.json", nil},
		{"budget.released.v1.json", nil},
	} {
		r := records[c.record]
		var got []PublicType
		for _, e := range mustPublic(t, r) {
			got = append(got, e.Type)
			if e.Type == VerificationDenied && strings.Contains(string(e.Data), `"allowed":true`) {
				t.Errorf("%s: a denial says it is an allow", c.record)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.record, got, c.want)
		}
	}
}

func TestAnOutcomeMadeLaterIsNoAllow(t *testing.T) {
	r := mustRecords(t)["decision.made.v1.allowed.json"]
	d := r.Event.(domain.DecisionMade)
	d.Outcome = "allowed_twice"
	r.Event = d
	if e := mustPublic(t, r)[0]; e.Type != VerificationDenied || !strings.Contains(string(e.Data), `"allowed":false`) {
		t.Errorf("got %s %s, want a denial", e.Type, e.Data)
	}
}

// Neither notes nor any hash of a credential is in a public event, whatever
// record it came of.
func TestNothingSecretIsPublic(t *testing.T) {
	hidden := 0
	for name, r := range mustRecords(t) {
		stored, err := r.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		var secrets []string
		collect(t, stored, func(member, value string) {
			if member == "tokenHash" || member == "keyHash" || member == "notes" || member == "requestDigest" || member == "command" || member == "argumentsDigest" {
				secrets = append(secrets, value)
			}
		})
		hidden += len(secrets)
		for _, e := range mustPublic(t, r) {
			collect(t, e.AppendCloudEvent(nil), func(member, value string) {
				if slices.Contains(secrets, value) || member == "notes" || strings.HasSuffix(member, "Hash") {
					t.Errorf("%s: %s shows %s: %s", name, e.Type, member, value)
				}
			})
		}
	}
	if hidden < 10 {
		t.Errorf("only %d secrets were looked for", hidden)
	}
}

// collect hands over each member of a JSON value whose value is a string.
func collect(t *testing.T, raw []byte, see func(member, value string)) {
	t.Helper()
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	var walk func(name string, v any)
	walk = func(name string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for name, member := range v {
				walk(name, member)
			}
		case []any:
			for _, item := range v {
				walk(name, item)
			}
		case string:
			see(name, v)
		}
	}
	walk("", v)
}

func TestAPublicEventsPlaces(t *testing.T) {
	at := domain.Position{Partition: 1, Epoch: 2, Seq: 300}
	e := PublicEvent{
		Type: BudgetExhausted, Account: "acct_1", Agent: "agent_b", At: time.Unix(0, 0), Position: at, Index: 1, Data: []byte("{}"), record: "evt_1",
	}
	if got := e.ID(); got != "evt_1-1" {
		t.Errorf("got the id %s", got)
	}
	if got := e.Subject(); got != "behalf.events.acct_1.budget.exhausted.agent_b" {
		t.Errorf("got the subject %s", got)
	}
	if got := e.Sequence(); got != "00000000000000000300-000001" {
		t.Errorf("got the sequence %s", got)
	}
	if c, err := ParsePublicCursor(e.Cursor().String()); err != nil || c != e.Cursor() {
		t.Errorf("got the cursor %v, %v, want %v", c, err, e.Cursor())
	}
	e.Agent, e.Index = "", 0
	if got := e.ID(); got != "evt_1" {
		t.Errorf("got the id %s", got)
	}
	if got := e.Subject(); got != "behalf.events.acct_1.budget.exhausted._" {
		t.Errorf("got the subject %s", got)
	}
	if c, err := ParsePublicCursor(at.String()); err != nil || c != e.Cursor() {
		t.Errorf("a packet's position: got %v, %v, want %v", c, err, e.Cursor())
	}
	for _, bad := range []string{"", ".", at.String() + ".", at.String() + ".0", at.String() + ".01", at.String() + ".-1", at.String() + ".+1", at.String() + ".1.1", "." + at.String()} {
		if c, err := ParsePublicCursor(bad); err == nil {
			t.Errorf("%q was read as %v", bad, c)
		}
	}
}

func TestATypeHasTwoTokens(t *testing.T) {
	for _, typ := range PublicTypes() {
		noun, what, ok := strings.Cut(string(typ), ".")
		if !ok || noun == "" || what == "" || strings.ContainsAny(what, ".*> ") {
			t.Errorf("%q is not two tokens of a subject", typ)
		}
	}
}

func TestMakingAVerificationPublicDoesNotReflect(t *testing.T) {
	r := mustRecords(t)["decision.made.v1.allowed.json"]
	var made []PublicEvent
	got := testing.AllocsPerRun(200, func() {
		var err error
		if made, err = Public(made[:0], &r); err != nil {
			t.Fatal(err)
		}
	})
	if got > 6 {
		t.Errorf("got %.0f allocations, want no more than the data, the position and the boxes of the packet", got)
	}
	if !jsontext.Value(made[0].Data).IsValid() {
		t.Errorf("got %s, want JSON", made[0].Data)
	}
}

func BenchmarkPublic(b *testing.B) {
	r := mustRecords(b)["decision.made.v1.allowed.json"]
	var (
		made []PublicEvent
		out  []byte
	)
	b.ReportAllocs()
	for b.Loop() {
		made, _ = Public(made[:0], &r)
		out = made[0].AppendCloudEvent(out[:0])
	}
}
