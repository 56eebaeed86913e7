package domain

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// Who may say yes or no, and what comes of it.
func TestReview(t *testing.T) {
	t.Parallel()
	approve := func(id ApprovalID, by MemberID) func(*world) ([]Event, error) {
		return func(w *world) ([]Event, error) { return w.agent.Approve(w.review(id, by)) }
	}
	deny := func(id ApprovalID, by MemberID) func(*world) ([]Event, error) {
		return func(w *world) ([]Event, error) { return w.agent.Deny(w.review(id, by)) }
	}
	withdraw := func(id ApprovalID, by MemberID) func(*world) ([]Event, error) {
		return func(w *world) ([]Event, error) { return w.agent.Withdraw(w.review(id, by)) }
	}
	yes := func(now time.Time, self bool, voters ...MemberID) []Event {
		e := ApprovalApproved{ApprovalID: "apr_1", MemberID: voters[len(voters)-1], Self: self, Voters: voters, ExpiresAt: now.Add(30 * time.Minute)}
		if self {
			e.SelfVoters = voters[len(voters)-1:]
		}
		return []Event{e}
	}
	voted := func(by MemberID) []Event { return []Event{ApprovalVoted{ApprovalID: "apr_1", MemberID: by}} }
	no := func(by MemberID) []Event {
		return []Event{ApprovalDenied{ApprovalID: "apr_1", MemberID: by, StickyUntil: noon.Add(time.Hour)}}
	}
	with := func(t Terms, a ApprovalTerms) Terms { t.Approval = &a; return t }
	asked := []step{granted(always), asks(buy("1"))}
	admins := []step{granted(with(always, ApprovalTerms{MinRole: RoleAdmin})), asks(buy("1"))}
	three := []step{granted(with(always, ApprovalTerms{Quorum: 3})), asks(buy("1"))}
	both := []step{granted(Terms{Action: "purchase", RequiresApproval: ApprovalRule{Always: true}, ExpiresAt: noon.Add(time.Minute)}, always), asks(buy("1")), at(time.Minute)}
	mine := []step{driven("mem_al"), granted(always), asks(buy("1"))}
	self := settings(ChangeApprovals{SelfApproval: ptr(true)})
	given := func(before []step, more ...step) []step { return append(slices.Clip(before), more...) }

	for _, tt := range []struct {
		name  string
		given []step
		when  func(*world) ([]Event, error)
		then  []Event
		code  Code
		says  string
	}{
		{name: "an approver says yes", given: asked, when: approve("apr_1", "mem_al"), then: yes(noon, false, "mem_al")},
		{name: "an owner says yes", given: asked, when: approve("apr_1", "mem_owner"), then: yes(noon, false, "mem_owner")},
		{name: "a viewer says yes", given: asked, when: approve("apr_1", "mem_vi"), code: Forbidden, says: "APPROVER"},
		{name: "a viewer says no", given: asked, when: deny("apr_1", "mem_vi"), code: Forbidden},
		{name: "a viewer takes one back", given: asked, when: withdraw("apr_1", "mem_vi"), code: Forbidden},
		{name: "a stranger says yes", given: asked, when: approve("apr_1", "mem_x"), code: Forbidden},
		{name: "nobody says yes", given: asked, when: approve("apr_1", ""), code: Forbidden},
		{name: "the agent itself says yes", given: asked, when: approve("apr_1", "agent_ollie"), code: Forbidden},
		{name: "someone who left says yes", given: given(asked, left("mem_al")), when: approve("apr_1", "mem_al"), code: Forbidden},
		{name: "someone who was demoted says no", given: given(asked, role("mem_al", RoleViewer)), when: deny("apr_1", "mem_al"), code: Forbidden},
		{name: "an approval that isn't one", given: asked, when: approve("apr_2", "mem_al"), code: NotFound, says: "apr_2"},
		{name: "a no to an approval that isn't one", given: asked, when: deny("apr_2", "mem_al"), code: NotFound},
		{name: "one that isn't one taken back", given: asked, when: withdraw("apr_2", "mem_al"), code: NotFound},
		{name: "a request that had to ask nobody", given: []step{granted(free), asks(buy("1"))}, when: approve("apr_1", "mem_al"), code: NotFound},

		{name: "an approver, where an admin is needed", given: admins, when: approve("apr_1", "mem_al"), code: Forbidden, says: "ADMIN"},
		{name: "an approver's no, where an admin is needed", given: admins, when: deny("apr_1", "mem_al"), code: Forbidden},
		{name: "an admin, where one is needed", given: admins, when: approve("apr_1", "mem_ada"), then: yes(noon, false, "mem_ada")},
		{name: "an owner, where an admin is needed", given: admins, when: approve("apr_1", "mem_owner"), then: yes(noon, false, "mem_owner")},

		{name: "the driver says yes", given: mine, when: approve("apr_1", "mem_al"), code: Forbidden, says: "selfApproval"},
		{name: "another than the driver says yes", given: mine, when: approve("apr_1", "mem_bo"), then: yes(noon, false, "mem_bo")},
		{name: "the driver says no", given: mine, when: deny("apr_1", "mem_al"), then: no("mem_al")},
		{name: "the driver takes it back", given: mine, when: withdraw("apr_1", "mem_al"), then: []Event{ApprovalCancelled{ApprovalID: "apr_1", MemberID: "mem_al"}}},
		{name: "the driver when it was asked, who isn't any more", given: given(mine, driven("mem_bo")), when: approve("apr_1", "mem_al"), code: Forbidden},
		{name: "the driver by now, who wasn't when it was asked", given: given(mine, driven("mem_bo")), when: approve("apr_1", "mem_bo"), code: Forbidden},
		{name: "the driver of an agent that nobody drives now", given: given(mine, driven("")), when: approve("apr_1", "mem_al"), code: Forbidden},
		{name: "an owner who drives", given: []step{driven("mem_owner"), granted(always), asks(buy("1"))}, when: approve("apr_1", "mem_owner"), code: Forbidden},
		{name: "the driver, where the account allows it", given: given(mine, self), when: approve("apr_1", "mem_al"), then: yes(noon, true, "mem_al")},
		{name: "the driver, where the account allowed it until now", given: given(mine, self, settings(ChangeApprovals{SelfApproval: ptr(false)})), when: approve("apr_1", "mem_al"), code: Forbidden},
		{name: "another than the driver, where the account allows it", given: given(mine, self), when: approve("apr_1", "mem_bo"), then: yes(noon, false, "mem_bo")},
		{name: "a driver without the role, where the account allows it", given: []step{driven("mem_vi"), self, granted(always), asks(buy("1"))}, when: approve("apr_1", "mem_vi"), code: Forbidden, says: "APPROVER"},

		{name: "the first of three", given: three, when: approve("apr_1", "mem_al"), then: voted("mem_al")},
		{name: "the first of three, twice", given: given(three, approved("apr_1", "mem_al")), when: approve("apr_1", "mem_al")},
		{name: "the second of three", given: given(three, approved("apr_1", "mem_al")), when: approve("apr_1", "mem_bo"), then: voted("mem_bo")},
		{name: "the third of three", given: given(three, approved("apr_1", "mem_al", "mem_bo")), when: approve("apr_1", "mem_cy"), then: yes(noon, false, "mem_al", "mem_bo", "mem_cy")},
		{name: "the third of three was the first", given: given(three, approved("apr_1", "mem_al", "mem_bo")), when: approve("apr_1", "mem_al")},
		{name: "the third of three was the second", given: given(three, approved("apr_1", "mem_al", "mem_bo")), when: approve("apr_1", "mem_bo")},
		{name: "one person twice are not two", given: []step{granted(with(always, ApprovalTerms{Quorum: 2})), asks(buy("1")), approved("apr_1", "mem_al")}, when: approve("apr_1", "mem_al")},
		{name: "the third of three, but one has left", given: given(three, approved("apr_1", "mem_al", "mem_bo"), left("mem_al")), when: approve("apr_1", "mem_cy"), then: voted("mem_cy")},
		{name: "the third of three, but one was demoted", given: given(three, approved("apr_1", "mem_al", "mem_bo"), role("mem_al", RoleViewer)), when: approve("apr_1", "mem_cy"), then: voted("mem_cy")},
		{name: "the third of three, but one drives the agent by now", given: given(three, approved("apr_1", "mem_al", "mem_bo"), driven("mem_al")), when: approve("apr_1", "mem_cy"), then: voted("mem_cy")},
		{name: "a fourth in place of one who has left", given: given(three, approved("apr_1", "mem_al", "mem_bo"), left("mem_al"), approved("apr_1", "mem_cy")), when: approve("apr_1", "mem_ada"), then: yes(noon, false, "mem_bo", "mem_cy", "mem_ada")},
		{name: "the second of three says no", given: given(three, approved("apr_1", "mem_al")), when: deny("apr_1", "mem_bo"), then: no("mem_bo")},
		{name: "the first of three says no after all", given: given(three, approved("apr_1", "mem_al")), when: deny("apr_1", "mem_al"), then: no("mem_al")},
		{name: "the third of three is too late", given: given(three, approved("apr_1", "mem_al", "mem_bo"), at(hours(24))), when: approve("apr_1", "mem_cy"), code: Conflict, says: "expired"},

		{name: "the same yes again", given: given(asked, approved("apr_1", "mem_al")), when: approve("apr_1", "mem_al")},
		{name: "another's yes after a yes", given: given(asked, approved("apr_1", "mem_al")), when: approve("apr_1", "mem_bo"), code: Conflict, says: "approved"},
		{name: "a no after a yes", given: given(asked, approved("apr_1", "mem_al")), when: deny("apr_1", "mem_al"), code: Conflict, says: "approved"},
		{name: "the same no again", given: given(asked, refused("apr_1", "mem_al", "")), when: deny("apr_1", "mem_al")},
		{name: "another's no after a no", given: given(asked, refused("apr_1", "mem_al", "")), when: deny("apr_1", "mem_bo"), code: Conflict, says: "denied"},
		{name: "a yes after a no", given: given(asked, refused("apr_1", "mem_al", "")), when: approve("apr_1", "mem_bo"), code: Conflict, says: "denied"},
		{name: "a yes after the use", given: given(asked, approved("apr_1", "mem_al"), gets(Allowed, buy("1"))), when: approve("apr_1", "mem_bo"), code: Conflict, says: "used"},
		{name: "a yes after a cancellation", given: given(asked, cancelled("apr_1")), when: approve("apr_1", "mem_al"), code: Conflict, says: "cancelled"},
		{name: "a no after a cancellation", given: given(asked, cancelled("apr_1")), when: deny("apr_1", "mem_al"), code: Conflict, says: "cancelled"},
		{name: "a yes a moment before it expires", given: given(asked, at(hours(24)-1)), when: approve("apr_1", "mem_al"), then: yes(noon.Add(hours(24)-1), false, "mem_al")},
		{name: "a yes when it has expired, without an event", given: given(asked, at(hours(24))), when: approve("apr_1", "mem_al"), code: Conflict, says: "expired"},
		{name: "a yes when it has expired, after the event", given: given(asked, at(hours(24)), expired("apr_1")), when: approve("apr_1", "mem_al"), code: Conflict, says: "expired"},
		{name: "a no when it has expired", given: given(asked, at(hours(24))), when: deny("apr_1", "mem_al"), code: Conflict, says: "expired"},
		{name: "the same yes again, when that has ended", given: given(asked, approved("apr_1", "mem_al"), at(minutesAfter(30))), when: approve("apr_1", "mem_al"), code: Conflict, says: "expired"},

		{name: "a yes to what a revoked permission asked", given: given(asked, revoked("perm_1")), when: approve("apr_1", "mem_al"), code: Conflict, says: "cancelled (the permission it stands on was revoked)"},
		{name: "a yes to what a replaced permission asked", given: given(asked, replaced("perm_1", always)), when: approve("apr_1", "mem_al"), code: Conflict, says: "cancelled (the permission it stands on was replaced)"},
		{name: "a yes to what a permission asked that was replaced by an event that cancels nothing", given: given(asked, func(w *world) {
			w.record("member:mem_owner", PermissionReplaced{PermissionID: "perm_1", Terms: always})
		}), when: approve("apr_1", "mem_al"), code: Conflict, says: "was replaced"},
		{name: "a yes to what a permission asked that was revoked by an event that cancels nothing", given: given(asked, func(w *world) { w.record("member:mem_owner", PermissionRevoked{PermissionID: "perm_1"}) }), when: approve("apr_1", "mem_al"), code: Conflict, says: "is revoked"},
		{name: "a yes to what an expired permission asked", given: []step{granted(Terms{Action: "purchase", RequiresApproval: ApprovalRule{Always: true}, ExpiresAt: noon.Add(time.Minute)}), asks(buy("1")), at(time.Minute)}, when: approve("apr_1", "mem_al"), code: Conflict, says: "perm_1 that approval apr_1 stands on is expired"},
		{name: "a yes, when one of two that asked has expired", given: both, when: approve("apr_1", "mem_al"), code: Conflict, says: "perm_1 that approval apr_1 stands on is expired"},
		{name: "a yes, a moment before one of two that asked expires", given: append(slices.Clip(both[:2]), at(time.Minute-1)), when: approve("apr_1", "mem_al"), then: yes(noon.Add(time.Minute-1), false, "mem_al")},
		{name: "a yes, when one of two that asked was revoked", given: given(both[:2], revoked("perm_1")), when: approve("apr_1", "mem_al"), code: Conflict, says: "cancelled (the permission it stands on was revoked)"},
		{name: "a yes, when one of two that asked was replaced by an event that cancels nothing", given: given(both[:2], func(w *world) {
			w.record("member:mem_owner", PermissionReplaced{PermissionID: "perm_1", Terms: always})
		}), when: approve("apr_1", "mem_al"), code: Conflict, says: "perm_1 that approval apr_1 stands on was replaced"},
		{name: "a yes to what is blocked by now", given: given(asked, granted(Terms{BlockedActions: []Action{"purchase"}})), when: approve("apr_1", "mem_al"), code: Conflict, says: "perm_2 blocks"},
		{name: "a yes, and a block of something else", given: given(asked, granted(Terms{BlockedActions: []Action{"sell"}})), when: approve("apr_1", "mem_al"), then: yes(noon, false, "mem_al")},
		{name: "a yes to what was blocked for a while", given: given(asked, granted(Terms{BlockedActions: []Action{"purchase"}}), revoked("perm_2")), when: approve("apr_1", "mem_al"), then: yes(noon, false, "mem_al")},
		{name: "a yes to what a budget has no room for now", given: given(asked, limited(Limits{Budgets: []Budget{{Amount: "0.50", Per: PerDay}}})), when: approve("apr_1", "mem_al"), then: yes(noon, false, "mem_al")},
		{name: "a yes to what a disabled agent asked", given: given(asked, disabled), when: approve("apr_1", "mem_al"), code: Conflict, says: "disabled"},
		{name: "a no to what a disabled agent asked", given: given(asked, disabled), when: deny("apr_1", "mem_al"), then: no("mem_al")},
		{name: "a yes to what an enabled agent asked", given: given(asked, disabled, enabled), when: approve("apr_1", "mem_al"), then: yes(noon, false, "mem_al")},

		{name: "a yes taken back before it is used", given: given(asked, approved("apr_1", "mem_al")), when: withdraw("apr_1", "mem_bo"), then: []Event{ApprovalCancelled{ApprovalID: "apr_1", MemberID: "mem_bo"}}},
		{name: "a yes taken back twice", given: given(asked, approved("apr_1", "mem_al"), withdrawn("apr_1", "mem_al")), when: withdraw("apr_1", "mem_al")},
		{name: "a yes taken back after it was used", given: given(asked, approved("apr_1", "mem_al"), gets(Allowed, buy("1"))), when: withdraw("apr_1", "mem_al"), code: Conflict, says: "used"},
		{name: "a yes taken back when it has ended", given: given(asked, approved("apr_1", "mem_al"), at(minutesAfter(30))), when: withdraw("apr_1", "mem_al"), code: Conflict, says: "expired"},
		{name: "a no taken back", given: given(asked, refused("apr_1", "mem_al", "")), when: withdraw("apr_1", "mem_al"), code: Conflict, says: "denied"},
		{name: "the agent takes back what waits", given: asked, when: func(w *world) ([]Event, error) { return w.agent.Cancel("apr_1", w.now) }, then: []Event{ApprovalCancelled{ApprovalID: "apr_1"}}},
		{name: "the agent takes back a yes", given: given(asked, approved("apr_1", "mem_al")), when: func(w *world) ([]Event, error) { return w.agent.Cancel("apr_1", w.now) }, then: []Event{ApprovalCancelled{ApprovalID: "apr_1"}}},
		{name: "the agent takes it back twice", given: given(asked, cancelled("apr_1")), when: func(w *world) ([]Event, error) { return w.agent.Cancel("apr_1", w.now) }},
		{name: "the agent takes back a no", given: given(asked, refused("apr_1", "mem_al", "")), when: func(w *world) ([]Event, error) { return w.agent.Cancel("apr_1", w.now) }, code: Conflict, says: "denied"},
		{name: "the agent takes back what it never asked", given: asked, when: func(w *world) ([]Event, error) { return w.agent.Cancel("apr_9", w.now) }, code: NotFound},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, tt.given...)
			got, err := tt.when(w)
			wantEvents(t, got, err, tt.then, tt.code, "")
			if err != nil && !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %q, want it to say %q", err, tt.says)
			}
		})
	}
}

func TestReviewComment(t *testing.T) {
	t.Parallel()
	w := newWorld(t, granted(always), asks(buy("1")))
	cmd := w.review("apr_1", "mem_al")
	cmd.Comment = "fine\u202eby me"
	for name, verb := range map[string]func(Review) ([]Event, error){"approve": w.agent.Approve, "deny": w.agent.Deny, "withdraw": w.agent.Withdraw} {
		got, err := verb(cmd)
		if wantEvents(t, got, err, nil, Invalid, "/comment"); t.Failed() {
			t.Fatal(name)
		}
	}
	cmd.Comment = "fine by me"
	events, err := w.agent.Approve(cmd)
	w.recordAll("member:mem_al", events, err)
	p, _ := w.agent.Approval("apr_1")
	if want := []Vote{{MemberID: "mem_al", At: noon, Comment: "fine by me"}}; p.Comment != "fine by me" || !reflect.DeepEqual(p.Votes, want) || p.By != "member:mem_al" || !p.Resolved.Equal(noon) {
		t.Errorf("got %+v", p)
	}
}

// The one way through each state, by the events that are recorded.
func TestApprovalStates(t *testing.T) {
	t.Parallel()
	asked := []step{granted(always), asks(buy("1"))}
	given := func(more ...step) []step { return append(slices.Clip(asked), more...) }
	for _, tt := range []struct {
		name     string
		given    []step
		at       time.Duration
		want     ApprovalState
		recorded ApprovalState
	}{
		{"pending", given(), 0, ApprovalPending, ApprovalPending},
		{"pending, a moment before its end", given(), hours(24) - 1, ApprovalPending, ApprovalPending},
		{"expired by the clock", given(), hours(24), ApprovalHasExpired, ApprovalPending},
		{"expired by the event", given(at(hours(24)), expired("apr_1")), hours(24), ApprovalHasExpired, ApprovalHasExpired},
		{"approved", given(approved("apr_1", "mem_al")), 0, ApprovalIsApproved, ApprovalIsApproved},
		{"approved late, and good for its own time", given(at(hours(24)-1), approved("apr_1", "mem_al")), hours(24) + minutesAfter(30) - 2, ApprovalIsApproved, ApprovalIsApproved},
		{"approved, and its own time is over", given(approved("apr_1", "mem_al")), minutesAfter(30), ApprovalHasExpired, ApprovalIsApproved},
		{"used", given(approved("apr_1", "mem_al"), gets(Allowed, buy("1"))), 0, ApprovalIsUsed, ApprovalIsUsed},
		{"used, whatever the time", given(approved("apr_1", "mem_al"), gets(Allowed, buy("1"))), hours(99), ApprovalIsUsed, ApprovalIsUsed},
		{"denied", given(refused("apr_1", "mem_al", "")), 0, ApprovalIsDenied, ApprovalIsDenied},
		{"denied, whatever the time", given(refused("apr_1", "mem_al", "")), hours(99), ApprovalIsDenied, ApprovalIsDenied},
		{"cancelled", given(cancelled("apr_1")), hours(99), ApprovalIsCancelled, ApprovalIsCancelled},
		{"withdrawn", given(withdrawn("apr_1", "mem_al")), 0, ApprovalIsCancelled, ApprovalIsCancelled},
		{"its permission is replaced", given(replaced("perm_1", always)), 0, ApprovalIsCancelled, ApprovalIsCancelled},
		{"its permission is revoked", given(revoked("perm_1")), 0, ApprovalIsCancelled, ApprovalIsCancelled},
		{"its agent is disabled", given(disabled), 0, ApprovalPending, ApprovalPending},
		{"another permission is revoked", given(granted(free), revoked("perm_2")), 0, ApprovalPending, ApprovalPending},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, tt.given...)
			p, ok := w.agent.Approval("apr_1")
			if !ok {
				t.Fatal("got no approval")
			}
			if got := p.StateAt(noon.Add(tt.at)); got != tt.want || p.Recorded() != tt.recorded {
				t.Errorf("got %s, recorded as %s, want %s, recorded as %s", got, p.Recorded(), tt.want, tt.recorded)
			}
		})
	}
	if got := (&Approval{}).StateAt(noon); got != "" || got.Open() || (&Approval{}).answers(noon) {
		t.Errorf("the zero approval: got %q, want none", got)
	}
}
