package projections

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/behalf-platform/behalf/domain"
)

// reader hands records over as a log does.
func reader(records []domain.Recorded) func(func(domain.Recorded, error) error) error {
	return func(take func(domain.Recorded, error) error) error {
		for _, r := range records {
			if err := take(r, nil); err != nil {
				return err
			}
		}
		return nil
	}
}

func mustReplay(t *testing.T, p *Replay, records []domain.Recorded) {
	t.Helper()
	p.MostShown = 10
	if err := p.Run(reader(records)); err != nil {
		t.Fatalf("replay: %v", err)
	}
}

// spending is a history with a budget of the permission, and one of the account.
func spending() *writer {
	w := newWriter()
	w.add("", "member:mem_owner", domain.AccountOpened{Name: "Home", Currency: "USD", Owner: "mem_owner", Token: "hash"})
	w.add("", "member:mem_owner", domain.BudgetSet{Limits: domain.Limits{Budgets: []domain.Budget{{Amount: "1000.00", Currency: "USD", Per: domain.InTotal}}}})
	set := uint64(len(w.records))
	for _, id := range []domain.AgentID{"agent_ollie", "agent_polly"} {
		w.add(id, "member:mem_owner", domain.AgentRegistered{Name: "Ollie", Type: domain.Native, Key: "hash"})
		w.add(id, "member:mem_owner", domain.AgentBudgetShared{Shared: true, Budget: set})
		w.add(id, "member:mem_owner", domain.PermissionGranted{PermissionID: "perm_buy", Terms: domain.Terms{
			Action: "purchase", MaxAmount: "500.00", Currency: "USD",
		}})
	}
	return w
}

func TestReplayFindsNoDifferenceInASoundLog(t *testing.T) {
	t.Parallel()
	w := spending()
	for range 12 {
		w.now = w.now.Add(time.Second)
		w.decide("agent_ollie", "70")
		w.decide("agent_polly", "600")
		w.decide("agent_polly", "110")
	}
	for name, records := range map[string][]domain.Recorded{"plain": sound(), "spending": w.records} {
		p := Replay{}
		mustReplay(t, &p, records)
		if p.Different != 0 || p.Decisions == 0 || p.Records != uint64(len(records)) {
			t.Errorf("%s: got %d different of %d decisions, %d records: %+v", name, p.Different, p.Decisions, p.Records, p.Shown())
		}
	}
}

// What has expired changes nothing of what is left: what counts lies on streams
// of its own.
func TestWhatHasExpiredChangesNothingOfTheRest(t *testing.T) {
	t.Parallel()
	w := spending()
	for range 12 {
		w.now = w.now.Add(time.Second)
		w.decide("agent_ollie", "70")
		w.decide("agent_polly", "600")
		w.decide("agent_polly", "110")
	}
	isPlain := func(r domain.Recorded) bool {
		d, ok := r.Event.(domain.DecisionMade)
		return ok && !d.Moves()
	}
	left := slices.DeleteFunc(slices.Clone(w.records), isPlain)
	spent := 0
	for _, r := range left {
		if _, ok := r.Event.(domain.DecisionMade); ok {
			spent++
		}
	}
	p := Replay{}
	mustReplay(t, &p, left)
	if p.Different != 0 || p.Decisions != uint64(spent) || spent == 0 || len(left) > len(w.records)-12 {
		t.Errorf("got %d different of %d decisions, want none of %d: %+v", p.Different, p.Decisions, spent, p.Shown())
	}
	candidate := Candidate{Agents: map[domain.AgentID]AgentCandidate{"agent_polly": {Remove: []domain.PermissionID{"perm_buy"}}}}
	var stopped [2]string
	for i, records := range [][]domain.Recorded{w.records, left} {
		report, err := (&WhatIf{Candidate: candidate, MostExamples: 1}).Run(reader(records))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range report.Money {
			stopped[i] += fmt.Sprintf("%s %s", m.Stopped, m.Currency)
		}
	}
	if stopped != [2]string{"550.00 USD", "550.00 USD"} {
		t.Errorf("what would have been stopped: got %s of all and %s of what is left, want the 550.00 USD that were spent", stopped[0], stopped[1])
	}
}

func TestReplayShowsBothSidesOfWhatWasForged(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		forge  func(*domain.DecisionMade)
		differ string // in what is decided again
		why    string
	}{
		{"another reason", func(d *domain.DecisionMade) { d.Reason = "because" }, `"reason":"allowed by permission perm_buy"`, ""},
		{"another amount", func(d *domain.DecisionMade) { d.Request.Amount = "900.00" }, "AMOUNT_EXCEEDS_LIMIT", ""},
		{"a check left out", func(d *domain.DecisionMade) { d.Checks = d.Checks[1:] }, `"rule":"action"`, ""},
		{"no amount at all", func(d *domain.DecisionMade) { d.Request.Amount = "many" }, "", "is not an amount"},
		{"limits there are not", func(d *domain.DecisionMade) { d.BudgetVersion = 77 }, "", "version 77"},
	} {
		records := sound()
		d := records[2].Event.(domain.DecisionMade)
		tt.forge(&d)
		records[2].Event = d
		p := Replay{}
		mustReplay(t, &p, records)
		if p.Different != 1 || len(p.Shown()) != 1 {
			t.Errorf("%s: got %d different, want 1", tt.name, p.Different)
			continue
		}
		shown := p.Shown()[0]
		if shown.Sequence != 3 || shown.RequestID != d.RequestID || len(shown.Recorded) == 0 ||
			!strings.Contains(string(shown.Decided), tt.differ) || !strings.Contains(shown.Why, tt.why) || (shown.Why == "") != (tt.why == "") {
			t.Errorf("%s: got %+v", tt.name, shown)
		}
	}
}

func TestReplayOfARange(t *testing.T) {
	t.Parallel()
	w := spending()
	for range 6 {
		w.now = w.now.Add(time.Minute)
		w.decide("agent_ollie", "70") // with its charge, two records
		w.decide("agent_polly", "600")
	}
	first := uint64(9) // the first decision
	for _, tt := range []struct {
		name string
		in   Range
		want uint64
	}{
		{"all", Range{}, 12},
		{"of an agent", Range{Agent: "agent_polly"}, 6},
		{"of another account", Range{Account: "acct_other"}, 0},
		{"from a position", Range{From: first + 3}, 10},
		{"up to a position", Range{Through: first + 2}, 2},
		{"since a time", Range{Since: noon.Add(5 * time.Minute)}, 4},
		{"until a time", Range{Until: noon.Add(5 * time.Minute)}, 8},
		{"of an agent since a time", Range{Agent: "agent_ollie", Since: noon.Add(5 * time.Minute)}, 2},
	} {
		p := Replay{Range: tt.in}
		mustReplay(t, &p, w.records)
		if p.Decisions != tt.want || p.Different != 0 {
			t.Errorf("%s: got %d decisions, %d different, want %d and 0", tt.name, p.Decisions, p.Different, tt.want)
		}
	}
}

// Whatever of a decision is changed shows, also what is added to it one day.
func TestSameDecisionLooksAtEveryField(t *testing.T) {
	t.Parallel()
	of := reflect.TypeFor[domain.DecisionMade]()
	for i := range of.NumField() {
		name := of.Field(i).Name
		if name == "Request" { // what is decided again is decided on it
			continue
		}
		var a, b domain.DecisionMade
		change(t, reflect.ValueOf(&b).Elem().Field(i))
		if sameDecision(&a, &b) {
			t.Errorf("got no difference in %s, want one", name)
		}
	}
	gate := reflect.TypeFor[domain.Gate]()
	for i := range gate.NumField() {
		a, b := domain.DecisionMade{Gate: &domain.Gate{}}, domain.DecisionMade{Gate: &domain.Gate{}}
		change(t, reflect.ValueOf(b.Gate).Elem().Field(i))
		if sameDecision(&a, &b) {
			t.Errorf("got no difference in a gate's %s, want one", gate.Field(i).Name)
		}
	}
	a := domain.DecisionMade{WindowEndsAt: noon}
	if b := (domain.DecisionMade{WindowEndsAt: noon.In(time.FixedZone("", 3600))}); sameDecision(&a, &b) {
		t.Error("got no difference between a time and the same in another zone, which is written otherwise")
	}
}

// change makes a value another one.
func change(t *testing.T, v reflect.Value) {
	t.Helper()
	switch v.Kind() {
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Uint64:
		v.SetUint(1)
	case reflect.Int, reflect.Int64:
		v.SetInt(1)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
	case reflect.Struct:
		v.Set(reflect.ValueOf(noon)) // the only one there is
	default:
		t.Fatalf("a field of kind %s; say how to change it", v.Kind())
	}
}

// BenchmarkReplay is without the log: what folding, deciding and comparing take.
func BenchmarkReplay(b *testing.B) {
	w := newWriter()
	w.event(domain.AgentRegistered{Name: "Ollie", Type: domain.Native, Key: "hash"})
	for i := range 5 {
		w.event(domain.PermissionGranted{PermissionID: domain.PermissionID(fmt.Sprint("perm_", i)), Terms: domain.Terms{
			Action: "purchase", MaxAmount: "500.00", Currency: "USD", ExpiresAt: noon.Add(time.Hour),
		}})
	}
	for len(w.records) < 10_000 {
		w.decide(ollie.Agent, "120")
		w.decide(ollie.Agent, "700")
	}
	for b.Loop() {
		p := Replay{}
		if err := p.Run(reader(w.records)); err != nil || p.Different > 0 {
			b.Fatal(err, p.Different)
		}
	}
	b.ReportMetric(float64(b.N*len(w.records))/b.Elapsed().Seconds(), "records/s")
}
