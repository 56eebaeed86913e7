package domain

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"
)

// world is an account with one agent, moved on by steps. Every event is stored
// and read back before it is folded, every decision is derived again from its
// record, and no agent that was handed out may change afterwards.
type world struct {
	t       testing.TB
	now     time.Time
	seq     uint64
	account Account
	agent   Agent
	budget  SharedBudget
	// granted and asked count the permissions and requests: perm_1 is the first
	// permission, req_1 the first request, apr_1 the approval it opened.
	granted, asked int
	last           DecisionMade
	handed         []handedOut
}

// handedOut is an agent, and what it looked like then.
type handedOut struct {
	agent Agent
	dump  string
}

// step is something that happened before.
type step func(*world)

// The members of a world's account.
var roster = []MemberAdded{
	{MemberID: "mem_ada", Name: "Ada", Role: RoleAdmin},
	{MemberID: "mem_al", Name: "Al", Role: RoleApprover},
	{MemberID: "mem_bo", Name: "Bo", Role: RoleApprover},
	{MemberID: "mem_cy", Name: "Cy", Role: RoleApprover},
	{MemberID: "mem_vi", Name: "Vi", Role: RoleViewer},
}

// newWorld is at noon, in an account that counts in USD and UTC.
func newWorld(t testing.TB, given ...step) *world {
	t.Helper()
	w := &world{t: t, now: noon}
	w.record("member:mem_owner", AccountOpened{Name: "Home", Currency: "USD", Owner: "mem_owner", Token: "hash"})
	for _, m := range roster {
		w.record("member:mem_owner", m)
	}
	w.record("member:mem_owner", registered)
	w.do(given...)
	t.Cleanup(func() {
		for i, h := range w.handed {
			if got := dump(h.agent); got != h.dump {
				t.Errorf("the agent handed out as number %d changed afterwards: got\n%s\nwant\n%s", i, got, h.dump)
			}
		}
	})
	return w
}

func (w *world) do(steps ...step) {
	w.t.Helper()
	for _, s := range steps {
		s(w)
	}
}

// record stores an event, reads it back, and folds it.
func (w *world) record(by Actor, e Event) {
	w.t.Helper()
	w.seq++
	r := Record{ID: "evt_test", At: w.now, Actor: by, Account: "acct_home", Agent: "agent_ollie", Event: e}
	switch e.(type) {
	case AccountOpened, AccountSettingsChanged, MemberAdded, MemberRoleChanged, MemberRemoved:
		r.Agent = ""
	}
	b, err := r.Append(nil)
	if err != nil {
		w.t.Fatalf("store %T: %v", e, err)
	}
	if r, err = DecodeRecord(b); err != nil {
		w.t.Fatalf("read %s back: %v", b, err)
	}
	in := Recorded{Record: r, Position: Position{Seq: w.seq}}
	switch s := r.Stream(); {
	case s.Budget:
		in.Last = w.budget.Version
		w.budget = w.budget.Evolve(in)
	case s.Agent == "":
		w.account = w.account.Evolve(in)
	default:
		if len(w.handed) < 64 { // enough of them, where there are thousands
			w.handed = append(w.handed, handedOut{w.agent, dump(w.agent)})
		}
		in.Last = w.agent.Version
		w.agent = w.agent.Evolve(in)
	}
	if err := (&Situation{Agent: &w.agent, Budget: &w.budget}).Fault(); err != nil {
		w.t.Fatalf("after %T: %v", e, err)
	}
}

// recordAll stores what a verb decided.
func (w *world) recordAll(by Actor, events []Event, err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatalf("given: %v", err)
	}
	for _, e := range events {
		w.record(by, e)
	}
}

// dump is everything an agent holds, in words.
func dump(a Agent) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %s key %s driver %s version %d at %s\nlimits %+v shared %v %d\n",
		a.ID, a.Name, a.Status, a.Key, a.Driver, a.Version, a.Updated, a.limits, a.Shared, a.Budget)
	for _, p := range a.Permissions {
		fmt.Fprintf(&b, "permission %+v\n", *p)
	}
	fmt.Fprintf(&b, "by action %v\n", a.byAction)
	for _, t := range a.tallies {
		fmt.Fprintf(&b, "tally of %q: %+v\n", t.permission, t.tally)
	}
	for _, p := range a.approvals {
		fmt.Fprintf(&b, "approval %+v\n", *p)
	}
	for n, i := a.reserved.newest, 0; n != nil && i < 16; n, i = n.older, i+1 {
		r := n.Reservation
		settled := "not settled"
		if r.Settled != nil {
			settled = fmt.Sprintf("%+v", *r.Settled)
		}
		r.Settled = nil
		fmt.Fprintf(&b, "reservation %+v %s\n", r, settled)
	}
	fmt.Fprintf(&b, "of %d", a.reserved.length)
	return b.String()
}

// decide evaluates an ask as it stands, and derives the decision again from its
// record.
func (w *world) decide(ask Ask) (DecisionMade, time.Time) {
	w.t.Helper()
	req, err := ask.Request(w.account.Currency)
	if err != nil {
		w.t.Fatalf("ask: %v", err)
	}
	s := Situation{Agent: &w.agent, Settings: w.account.Approvals}
	if w.agent.Shared {
		s.Budget = &w.budget
	}
	s.Now = s.Moment(w.now)
	d := Evaluate(s, req)
	d.Name(strconv.Itoa(w.asked + 1))
	mustDeriveAgain(w.t, s, d)
	mustBeWhole(w.t, &w.agent, d)
	return d, s.Now
}

// mustDeriveAgain stores a decision, reads it back, and makes it again.
func mustDeriveAgain(t testing.TB, s Situation, d DecisionMade) {
	t.Helper()
	want := string(d.append(nil))
	stored, err := Record{ID: "evt_test", At: s.Now, Account: "acct_home", Agent: "agent_ollie", Event: d}.Append(nil)
	if err != nil {
		t.Fatalf("store the decision: %v", err)
	}
	r, err := DecodeRecord(stored)
	if err != nil {
		t.Fatalf("read the decision back: %v", err)
	}
	again, err := Derive(s.Agent, s.Budget, Recorded{Record: r})
	if err != nil {
		t.Fatalf("derive again: %v", err)
	}
	if got := string(again.append(nil)); got != want {
		t.Errorf("derived again\n%s, want\n%s", got, want)
	}
}

// mustBeWhole holds a decision against what every decision must be.
func mustBeWhole(t testing.TB, a *Agent, d DecisionMade) {
	t.Helper()
	want := map[ReasonCode]Outcome{Allowed: OutcomeAllowed, ApprovalRequired: OutcomeRequiresApproval}[d.ReasonCode]
	if want == "" {
		want = OutcomeDenied
	}
	if d.Outcome != want {
		t.Errorf("got %s with %s", d.Outcome, d.ReasonCode)
	}
	if len(d.Checks) == 0 || d.Reason == "" || d.Risk == "" || d.PassportVersion != a.Version {
		t.Errorf("got an incomplete record: %+v", d)
	}
	failed := 0
	for _, c := range d.Checks {
		if !c.Passed {
			failed++
		}
	}
	if d.Outcome != OutcomeAllowed && failed == 0 {
		t.Errorf("%s, but every check passed: %+v", d.ReasonCode, d.Checks)
	}
	if d.Outcome == OutcomeAllowed && d.PermissionID == "" {
		t.Errorf("allowed by no permission: %+v", d)
	}
	if d.Outcome != OutcomeAllowed && d.Spends {
		t.Errorf("%s, and it spends", d.ReasonCode)
	}
}

// verify decides and records, as the write path does: with the allow of an
// agent that shares the account's limits goes the charge.
func (w *world) verify(ask Ask) DecisionMade {
	w.t.Helper()
	d, at := w.decide(ask)
	w.asked++
	w.now, w.last = at, d
	shared, before := w.agent.Shared, w.open()
	w.record("agent:agent_ollie", d)
	if shared && d.Outcome == OutcomeAllowed {
		w.record("agent:agent_ollie", BudgetCharged{RequestID: d.RequestID, Amount: d.Request.Amount, Currency: d.Request.Currency})
	}
	switch {
	case d.Opens():
		before++
	case d.Uses():
		before--
	}
	if got := w.open(); got != before {
		w.t.Errorf("%s left %d approvals open, want %d", d.ReasonCode, got, before)
	}
	return d
}

// open is how many approvals of the agent are waited for, or can be used.
func (w *world) open() (n int) {
	for _, p := range w.agent.Approvals() {
		if p.StateAt(w.now).Open() {
			n++
		}
	}
	return n
}

// asks is a verify, however it comes out.
func asks(a Ask) step { return func(w *world) { w.t.Helper(); w.verify(a) } }

// gets is a verify that comes out with a code.
func gets(want ReasonCode, a Ask) step {
	return func(w *world) {
		w.t.Helper()
		if d := w.verify(a); d.ReasonCode != want {
			w.t.Fatalf("given: got %s (%s), want %s", d.ReasonCode, d.Reason, want)
		}
	}
}

// at is so long after noon.
func at(d time.Duration) step { return func(w *world) { w.now = noon.Add(d) } }

// on is a moment, in RFC 3339.
func on(text string) step { return func(w *world) { w.now = mustTime(w.t, text) } }

func granted(terms ...Terms) step {
	return func(w *world) {
		w.t.Helper()
		for _, t := range terms {
			events, err := w.agent.Grant(GrantPermission{
				PermissionID: permissionAt(w.granted), Terms: t, Now: w.now,
				Currency: w.account.Currency, TimeZone: w.account.Zone(),
			})
			w.recordAll("member:mem_owner", events, err)
			w.granted++
		}
	}
}

func replaced(id PermissionID, terms Terms) step {
	return func(w *world) {
		w.t.Helper()
		events, err := w.agent.Replace(ReplacePermission{GrantPermission: GrantPermission{
			PermissionID: id, Terms: terms, Now: w.now, Currency: w.account.Currency, TimeZone: w.account.Zone(),
		}})
		w.recordAll("member:mem_owner", events, err)
	}
}

func revoked(id PermissionID) step {
	return func(w *world) {
		w.t.Helper()
		events, err := w.agent.Revoke(RevokePermission{PermissionID: id})
		w.recordAll("member:mem_owner", events, err)
	}
}

func disabled(w *world) { w.record("member:mem_owner", AgentDisabled{}) }
func enabled(w *world)  { w.record("member:mem_owner", AgentEnabled{}) }

func driven(by MemberID) step {
	return func(w *world) {
		events, err := w.agent.Drive(by)
		w.recordAll("member:mem_owner", events, err)
	}
}

func role(id MemberID, r Role) step {
	return func(w *world) { w.record("member:mem_owner", MemberRoleChanged{MemberID: id, Role: r}) }
}

func left(id MemberID) step {
	return func(w *world) { w.record("member:mem_owner", MemberRemoved{MemberID: id}) }
}

func settings(c ChangeApprovals) step {
	return func(w *world) {
		w.t.Helper()
		events, err := w.account.Change(ChangeSettings{By: Member{ID: "mem_owner", Role: RoleOwner}, Approvals: c})
		w.recordAll("member:mem_owner", events, err)
	}
}

// limited sets the agent's own limits.
func limited(l Limits) step {
	return func(w *world) {
		w.t.Helper()
		events, err := w.agent.SetLimits(l, w.account)
		w.recordAll("member:mem_owner", events, err)
	}
}

// sharing sets the account's limits, and lets the agent share them.
func sharing(l Limits) step {
	return func(w *world) {
		w.t.Helper()
		events, err := w.budget.SetLimits(l, w.account)
		w.recordAll("member:mem_owner", events, err)
		w.recordAll("system:sharing", w.agent.Share(w.budget), nil)
	}
}

// charged is an allow of another agent of the account.
func charged(amount Decimal, c Currency) step {
	return func(w *world) {
		w.record("agent:agent_other", BudgetCharged{RequestID: "req_other", Amount: amount, Currency: c})
	}
}

func (w *world) review(id ApprovalID, by MemberID) Review {
	return Review{ApprovalID: id, By: by, Account: w.account, Now: w.now}
}

func approved(id ApprovalID, by ...MemberID) step {
	return func(w *world) {
		w.t.Helper()
		for _, m := range by {
			events, err := w.agent.Approve(w.review(id, m))
			w.recordAll(ByMember(m), events, err)
		}
	}
}

func refused(id ApprovalID, by MemberID, comment string) step {
	return func(w *world) {
		w.t.Helper()
		cmd := w.review(id, by)
		cmd.Comment = comment
		events, err := w.agent.Deny(cmd)
		w.recordAll(ByMember(by), events, err)
	}
}

func withdrawn(id ApprovalID, by MemberID) step {
	return func(w *world) {
		w.t.Helper()
		events, err := w.agent.Withdraw(w.review(id, by))
		w.recordAll(ByMember(by), events, err)
	}
}

func cancelled(id ApprovalID) step {
	return func(w *world) {
		w.t.Helper()
		events, err := w.agent.Cancel(id, w.now)
		w.recordAll("agent:agent_ollie", events, err)
	}
}

// expired is the event that follows when an approval's time is over.
func expired(id ApprovalID) step {
	return func(w *world) { w.recordAll("system:alarms", w.agent.Expire(id, w.now), nil) }
}

func reminded(id ApprovalID) step {
	return func(w *world) { w.recordAll("system:alarms", w.agent.Remind(id, w.now), nil) }
}

// settled reports an outcome, and gives back what comes back.
func settled(id RequestID, o ActionOutcome, amount Decimal) step {
	return func(w *world) {
		w.t.Helper()
		events, back, err := w.agent.Settle(SettleDecision{id, o, amount})
		w.recordAll("agent:agent_ollie", events, err)
		if back != nil {
			w.record("agent:agent_ollie", *back)
		}
	}
}

// wantState compares where an approval stands.
func (w *world) wantState(id ApprovalID, want ApprovalState) {
	w.t.Helper()
	got := ApprovalState("")
	if p, ok := w.agent.Approval(id); ok {
		got = p.StateAt(w.now)
	}
	if got != want {
		w.t.Errorf("%s: got %q, want %q", id, got, want)
	}
}

// used is what was used of limits, one figure each, as text.
func used(list []Left) string {
	var text []string
	for _, l := range list {
		text = append(text, string(l.Used))
	}
	return strings.Join(text, " ")
}

func ptr[T any](v T) *T { return &v }
