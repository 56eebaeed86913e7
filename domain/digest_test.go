package domain

import (
	"reflect"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
)

// everything is an ask with a value in each field.
var everything = Ask{
	AgentID: "agent_ollie", Action: "purchase", Vendor: "a.com", Resource: "r/1", Amount: "120.00", Currency: "USD",
	Path: "/d/x", Command: "ls", Cwd: "/d", Context: Facts{Branch: "main", Environment: "staging", Repository: "acme/site"},
	Arguments: jsontext.Value(`{"to":"Ada","n":9007199254740992}`), IdempotencyKey: "key", AtLeast: "position",
}

// notAsked are the fields of an ask that an approval is not bound to.
var notAsked = map[string]string{
	"AgentID":        "must be the agent's that the credential belongs to, and approvals are an agent's own",
	"IdempotencyKey": "names one attempt, and what is used after a yes is another attempt",
	"AtLeast":        "says what the decision must have seen, and nothing of what is asked",
}

// askChanges is, for each field of an ask, the ask changed in it alone, by as
// little as can be.
func askChanges(t *testing.T) map[string]Ask {
	t.Helper()
	changes := map[string]Ask{}
	var walk func(name string, index []int, typ reflect.Type)
	walk = func(name string, index []int, typ reflect.Type) {
		for i := range typ.NumField() {
			f, at := typ.Field(i), append(index[:len(index):len(index)], i)
			ask := everything
			ask.Arguments = everything.Arguments.Clone()
			v := reflect.ValueOf(&ask).Elem().FieldByIndex(at)
			switch {
			case v.IsZero():
				t.Fatalf("everything has no %s%s; give it a value", name, f.Name)
			case f.Type.Kind() == reflect.Struct:
				walk(f.Name+".", at, f.Type)
				continue
			case f.Type == reflect.TypeFor[Decimal]():
				v.SetString("120.01") // by one minor unit
			case f.Type == reflect.TypeFor[Currency]():
				v.SetString("EUR")
			case f.Type == reflect.TypeFor[jsontext.Value]():
				v.SetBytes([]byte(`{"to":"Ade","n":9007199254740992}`)) // by one byte
			case f.Type.Kind() == reflect.String:
				v.SetString(v.String()[:v.Len()-1] + "z") // by one byte
			default:
				t.Fatalf("%s%s is of type %s, which this test can't change; teach it", name, f.Name, f.Type)
			}
			changes[name+f.Name] = ask
		}
	}
	walk("", nil, reflect.TypeFor[Ask]())
	return changes
}

// An approval is good for the request it was given to and for no other: an ask
// that differs in any one field finds none, be it open or given.
func TestAnApprovalIsBoundToEveryFieldOfTheAsk(t *testing.T) {
	t.Parallel()
	changes := askChanges(t)
	for name := range notAsked {
		if _, ok := changes[name]; !ok {
			t.Errorf("%s is not a field of an ask", name)
		}
	}
	// Each action and currency the changes come to is allowed, so that only the
	// approval can make the difference.
	terms := Terms{AllowedActions: []Action{"purchase", changes["Action"].Action}, RequiresApproval: ApprovalRule{Always: true}}
	for name, ask := range changes {
		for _, state := range []ApprovalState{ApprovalPending, ApprovalIsApproved, ApprovalIsDenied} {
			t.Run(name+" when it is "+string(state), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, granted(terms), gets(ApprovalRequired, everything))
				same := ApprovalRequired
				switch state {
				case ApprovalIsApproved:
					w.do(approved("apr_1", "mem_al"))
					same = Allowed
				case ApprovalIsDenied:
					w.do(refused("apr_1", "mem_al", ""))
					same = ApprovalDeniedCode
				}
				d := w.verify(ask)
				if reason, ok := notAsked[name]; ok {
					if d.ApprovalID != "apr_1" || d.ReasonCode != same {
						t.Errorf("got %s by %q, want %s by apr_1: the field %s", d.ReasonCode, d.ApprovalID, same, reason)
					}
					return
				}
				if d.ApprovalID != "apr_2" || d.ReasonCode != ApprovalRequired {
					t.Errorf("got %s by %q, want another approval to be asked for", d.ReasonCode, d.ApprovalID)
				}
				if d := w.verify(everything); d.ApprovalID != "apr_1" || d.ReasonCode != same {
					t.Errorf("the ask as it was: got %s by %q, want %s by apr_1", d.ReasonCode, d.ApprovalID, same)
				}
			})
		}
	}
}

func TestAnApprovalIsBoundToMoreThanTheFields(t *testing.T) {
	t.Parallel()
	base := func(change func(*Ask)) Ask {
		ask := everything
		change(&ask)
		return ask
	}
	always := Terms{Action: "purchase", RequiresApproval: ApprovalRule{Always: true}}
	for _, tt := range []struct {
		name  string
		first Ask
		then  []step
		ask   Ask
		same  bool
	}{
		{name: "a number beyond what a float can tell", first: everything, ask: base(func(a *Ask) { a.Arguments = []byte(`{"to":"Ada","n":9007199254740993}`) })},
		{name: "a number as a string", first: everything, ask: base(func(a *Ask) { a.Arguments = []byte(`{"to":"Ada","n":"9007199254740992"}`) })},
		{name: "one more argument", first: everything, ask: base(func(a *Ask) { a.Arguments = []byte(`{"to":"Ada","n":9007199254740992,"x":null}`) })},
		{name: "no arguments", first: everything, ask: base(func(a *Ask) { a.Arguments = nil })},
		{name: "arguments in another order", first: everything, ask: base(func(a *Ask) { a.Arguments = []byte(`{ "n":9007199254740992,"to":"\u0041da"}`) }), same: true},
		{name: "an amount in other digits", first: everything, ask: base(func(a *Ask) { a.Amount = "120" }), same: true},
		{name: "a value in the next field", first: base(func(a *Ask) { a.Resource = "" }), ask: base(func(a *Ask) { a.Vendor, a.Resource = "", "a.com" })},
		{name: "a fact in the next field", first: base(func(a *Ask) { a.Context = Facts{Branch: "x"} }), ask: base(func(a *Ask) { a.Context = Facts{Environment: "x"} })},
		{name: "a field left out", first: everything, ask: base(func(a *Ask) { a.Cwd = "" })},
		{name: "the currency named that was the default", first: base(func(a *Ask) { a.Currency = "" }), ask: everything},
		{name: "another version of the permission", first: everything, then: []step{replaced("perm_1", always)}, ask: everything},
		{name: "another permission of the same terms", first: everything, then: []step{granted(always)}, ask: everything},
		{name: "the permission, when another was changed", first: everything, then: []step{granted(Terms{Action: "read"}), disabled, enabled, limited(Limits{Rates: []Rate{{Count: 9, Per: PerDay}}})}, ask: everything, same: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, granted(always), gets(ApprovalRequired, tt.first))
			w.do(tt.then...)
			d := w.verify(tt.ask)
			if d.ReasonCode != ApprovalRequired || (d.ApprovalID == "apr_1") != tt.same {
				t.Errorf("got %s by %q, want the same approval: %v", d.ReasonCode, d.ApprovalID, tt.same)
			}
		})
	}
}

// The digest is over the stored form of a request, so no two requests that are
// stored in different forms have one.
func TestEveryFieldOfARequestIsInItsStoredForm(t *testing.T) {
	t.Parallel()
	full := Request{
		Action: "a", Vendor: "b", Resource: "c", Amount: "1.00", Currency: "USD", DefaultCurrency: true, Path: "/d",
		Command: "e", Cwd: "/f", Context: Facts{Branch: "g", Environment: "h", Repository: "i"}, ArgumentsDigest: "j",
	}
	p := &Permission{ID: "perm_1", Version: 1}
	whole := approvalDigest(p, []*Permission{p}, &full)
	for _, index := range [][]int{{0}, {1}, {2}, {3}, {4}, {5}, {6}, {7}, {8}, {9, 0}, {9, 1}, {9, 2}, {10}} {
		without := full
		f := reflect.ValueOf(&without).Elem().FieldByIndex(index)
		if f.IsZero() {
			t.Fatalf("field %v has no value", index)
		}
		f.SetZero()
		if approvalDigest(p, []*Permission{p}, &without) == whole {
			t.Errorf("without field %v: got the same digest, want another", index)
		}
	}
	if n := reflect.TypeFor[Request]().NumField(); n != 12 { // the twelfth is the amount, parsed
		t.Errorf("a request has %d fields; add the new one here", n)
	}
	other := func(id PermissionID, version uint64) string {
		p := &Permission{ID: id, Version: version}
		return approvalDigest(p, []*Permission{p}, &full)
	}
	if approvalDigest(p, []*Permission{p, {ID: "perm_2", Version: 1}}, &full) == whole {
		t.Error("got the same digest when another permission asks too, want another")
	}
	if other("perm_2", 1) == whole || other("perm_1", 2) == whole || other("perm_1\x001", 1) == whole {
		t.Error("got the same digest for another permission, want another")
	}
}
