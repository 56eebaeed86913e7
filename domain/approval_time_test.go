package domain

import (
	"reflect"
	"slices"
	"testing"
	"time"
)

func TestReplacingAndRevokingNameTheApprovalsTheyCancel(t *testing.T) {
	t.Parallel()
	// apr_1 waits, apr_2 is given, apr_3 is denied, apr_4 has expired without an
	// event, apr_5 stands on another permission, apr_6 was used.
	short := Terms{Action: "soon", RequiresApproval: ApprovalRule{Always: true}, Approval: &ApprovalTerms{PendingFor: Duration(time.Minute)}}
	w := newWorld(
		t, granted(Terms{Action: "purchase", RequiresApproval: ApprovalRule{Always: true}}, short),
		gets(ApprovalRequired, buy("1")), gets(ApprovalRequired, buy("2")), gets(ApprovalRequired, buy("3")),
		approved("apr_2", "mem_al"), refused("apr_3", "mem_al", ""),
		gets(ApprovalRequired, Ask{Action: "soon"}),
		gets(ApprovalRequired, buy("6")), approved("apr_5", "mem_al"), gets(Allowed, buy("6")),
		at(time.Minute),
	)
	want := []ApprovalID{"apr_1", "apr_2"}
	replace, err := w.agent.Replace(ReplacePermission{GrantPermission: GrantPermission{PermissionID: "perm_1", Terms: free, Now: w.now, Currency: "USD", TimeZone: "UTC"}})
	wantEvents(t, replace, err, []Event{PermissionReplaced{PermissionID: "perm_1", Terms: free, Cancels: want}}, "", "")
	revoke, err := w.agent.Revoke(RevokePermission{PermissionID: "perm_1"})
	wantEvents(t, revoke, err, []Event{PermissionRevoked{PermissionID: "perm_1", Cancels: want}}, "", "")
	other, err := w.agent.Revoke(RevokePermission{PermissionID: "perm_2"})
	wantEvents(t, other, err, []Event{PermissionRevoked{PermissionID: "perm_2", Cancels: []ApprovalID{"apr_4"}}}, "", "")

	for _, events := range [][]Event{replace, revoke} {
		after := *w
		after.recordAll("member:mem_ada", events, nil)
		for id, want := range map[ApprovalID]ApprovalState{
			"apr_1": ApprovalIsCancelled, "apr_2": ApprovalIsCancelled, "apr_3": ApprovalIsDenied,
			"apr_4": ApprovalHasExpired, "apr_5": ApprovalIsUsed,
		} {
			after.wantState(id, want)
		}
		p, _ := after.agent.Approval("apr_1")
		if p.By != "member:mem_ada" || !p.Resolved.Equal(after.now) {
			t.Errorf("got cancelled by %q at %s, want by who changed the permission, then", p.By, p.Resolved)
		}
		var changed []ApprovalID
		for _, p := range after.agent.Changed(events[0]) {
			changed = append(changed, p.ID)
		}
		if !slices.Equal(changed, want) {
			t.Errorf("got %v changed, want %v", changed, want)
		}
	}
}

func TestExpireAndRemind(t *testing.T) {
	t.Parallel()
	expire := func(w *world) []Event { return w.agent.Expire("apr_1", w.now) }
	remind := func(w *world) []Event { return w.agent.Remind("apr_1", w.now) }
	gone := []Event{ApprovalExpired{ApprovalID: "apr_1"}}
	told := func(count int) []Event { return []Event{ApprovalReminded{ApprovalID: "apr_1", Count: count}} }
	asked := []step{granted(always), asks(buy("1"))}
	given := func(more ...step) []step { return append(slices.Clip(asked), more...) }
	for _, tt := range []struct {
		name  string
		given []step
		when  func(*world) []Event
		then  []Event
	}{
		{"expire too early", given(at(hours(24) - 1)), expire, nil},
		{"expire", given(at(hours(24))), expire, gone},
		{"expire twice", given(at(hours(24)), expired("apr_1")), expire, nil},
		{"expire a yes too early", given(approved("apr_1", "mem_al"), at(minutesAfter(30)-1)), expire, nil},
		{"expire a yes", given(approved("apr_1", "mem_al"), at(minutesAfter(30))), expire, gone},
		{"expire what was used", given(approved("apr_1", "mem_al"), gets(Allowed, buy("1")), at(hours(24))), expire, nil},
		{"expire what was denied", given(refused("apr_1", "mem_al", ""), at(hours(24))), expire, nil},
		{"expire what was cancelled", given(cancelled("apr_1"), at(hours(24))), expire, nil},
		{"expire what never was", []step{at(hours(24))}, expire, nil},

		{"remind too early", given(at(hours(4) - 1)), remind, nil},
		{"remind", given(at(hours(4))), remind, told(1)},
		{"remind twice", given(at(hours(4)), reminded("apr_1")), remind, nil},
		{"remind again", given(at(hours(4)), reminded("apr_1"), at(hours(8))), remind, told(2)},
		{"remind again too early", given(at(hours(4)), reminded("apr_1"), at(hours(8)-1)), remind, nil},
		{"remind of a yes", given(approved("apr_1", "mem_al"), at(minutesAfter(20))), remind, nil},
		{"remind of what was denied", given(refused("apr_1", "mem_al", ""), at(hours(4))), remind, nil},
		{"remind of what has expired", given(at(hours(24))), remind, nil},
		{"remind of what never was", []step{at(hours(4))}, remind, nil},
		{"remind where the account wants none", []step{settings(ChangeApprovals{RemindEvery: ptr(Duration(0))}), granted(always), asks(buy("1")), at(hours(20))}, remind, nil},
		{"remind where the first would be too late", []step{settings(ChangeApprovals{RemindEvery: ptr(Duration(hours(24)))}), granted(always), asks(buy("1")), at(hours(24) - 1)}, remind, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := tt.when(newWorld(t, tt.given...)); !reflect.DeepEqual(got, tt.then) {
				t.Errorf("got %+v, want %+v", got, tt.then)
			}
		})
	}
}

func TestAlarm(t *testing.T) {
	t.Parallel()
	asked := []step{granted(always), asks(buy("1"))}
	given := func(more ...step) []step { return append(slices.Clip(asked), more...) }
	for _, tt := range []struct {
		name  string
		given []step
		want  time.Duration // after noon, none if 0
	}{
		{"the first reminder", given(), hours(4)},
		{"the next reminder", given(at(hours(4)), reminded("apr_1")), hours(8)},
		{"no reminder when it expires", []step{settings(ChangeApprovals{RemindEvery: ptr(Duration(hours(12)))}), granted(always), asks(buy("1")), at(hours(12)), reminded("apr_1")}, hours(24)},
		{"no reminder after it expires", []step{settings(ChangeApprovals{RemindEvery: ptr(Duration(hours(13)))}), granted(always), asks(buy("1")), at(hours(13)), reminded("apr_1")}, hours(24)},
		{"no reminders", []step{settings(ChangeApprovals{RemindEvery: ptr(Duration(0))}), granted(always), asks(buy("1"))}, hours(24)},
		{"the end of a yes", given(approved("apr_1", "mem_al")), minutesAfter(30)},
		{"nothing after its use", given(approved("apr_1", "mem_al"), gets(Allowed, buy("1"))), 0},
		{"nothing after a no", given(refused("apr_1", "mem_al", "")), 0},
		{"nothing after a cancellation", given(cancelled("apr_1")), 0},
		{"nothing after the event of its end", given(at(hours(24)), expired("apr_1")), 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p, ok := newWorld(t, tt.given...).agent.Approval("apr_1")
			if !ok {
				t.Fatal("got no approval")
			}
			want := Alarm{At: noon.Add(tt.want), Account: "acct_home", Agent: "agent_ollie", ApprovalID: "apr_1"}
			if tt.want == 0 {
				want = Alarm{}
			}
			if got, ok := p.Alarm(); got != want || ok != (tt.want != 0) {
				t.Errorf("got %+v, %v, want %+v", got, ok, want)
			}
		})
	}
}

// A passport must not grow by every approval there ever was, nor forget one that
// still answers.
func TestApprovalsThatDecideNothingAreLetGo(t *testing.T) {
	t.Parallel()
	ids := func(w *world) (list []ApprovalID) {
		for _, p := range w.agent.Approvals() {
			list = append(list, p.ID)
		}
		return list
	}
	w := newWorld(
		t, granted(always),
		asks(buy("1")), refused("apr_1", "mem_al", ""), // answers until 13:00
		asks(buy("2")), approved("apr_2", "mem_al"), gets(Allowed, buy("2")), // until 12:30
		asks(buy("4")), cancelled("apr_4"), // counts for a day
		asks(buy("5")), withdrawn("apr_5", "mem_al"), // is over
		asks(buy("6")),
		at(time.Hour-1), asks(buy("7")),
	)
	if got, want := ids(w), []ApprovalID{"apr_1", "apr_4", "apr_6", "apr_7"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	w.do(at(hours(24)), asks(buy("8")))
	if got, want := ids(w), []ApprovalID{"apr_6", "apr_7", "apr_8"}; !slices.Equal(got, want) {
		t.Errorf("a day later: got %v, want %v, of which the first waits for its event", got, want)
	}
	w.do(expired("apr_6"), asks(buy("9")))
	if got, want := ids(w), []ApprovalID{"apr_7", "apr_8", "apr_9"}; !slices.Equal(got, want) {
		t.Errorf("after the event: got %v, want %v", got, want)
	}
}

// An event about an approval that is not there any more changes nothing but the
// version.
func TestEventsOfAnApprovalThatWasLetGo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, granted(always))
	for _, e := range []Event{
		ApprovalVoted{ApprovalID: "apr_9", MemberID: "mem_al"},
		ApprovalApproved{ApprovalID: "apr_9", MemberID: "mem_al", ExpiresAt: noon},
		ApprovalDenied{ApprovalID: "apr_9", MemberID: "mem_al", StickyUntil: noon},
		ApprovalCancelled{ApprovalID: "apr_9"},
		ApprovalReminded{ApprovalID: "apr_9", Count: 1},
		ApprovalExpired{ApprovalID: "apr_9"},
		DecisionSettled{RequestID: "req_9", Outcome: Executed, Amount: "1.00", Currency: "USD"},
	} {
		before := w.agent
		w.record("system:test", e)
		before.Version = w.agent.Version
		if got, want := dump(w.agent), dump(before); got != want {
			t.Errorf("%s: got\n%s\nwant\n%s", e.Kind(), got, want)
		}
		if got := w.agent.Changed(e); len(got) > 0 {
			t.Errorf("%s: got %d approvals changed, want none", e.Kind(), len(got))
		}
	}
}
