package domain

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	// wary asks a person above 100.00, and allows no more than 500.00.
	wary = Terms{Action: "purchase", MaxAmount: "500", RequiresApproval: ApprovalRule{Above: "100"}}
	// always asks a person for everything.
	always = Terms{Action: "purchase", RequiresApproval: ApprovalRule{Always: true}}
	// free asks nobody.
	free = Terms{Action: "purchase"}
)

func buy(amount Decimal) Ask { return Ask{Action: "purchase", Amount: amount} }

func hours(n int) time.Duration { return time.Duration(n) * time.Hour }

func minutesAfter(n int) time.Duration { return time.Duration(n) * time.Minute }

func TestGate(t *testing.T) {
	t.Parallel()
	asked := []step{granted(wary), gets(ApprovalRequired, buy("150"))}
	yes := append(slices.Clip(asked), approved("apr_1", "mem_al"))
	given := func(before []step, more ...step) []step { return append(slices.Clip(before), more...) }
	terms := func(t Terms, a ApprovalTerms) Terms { t.Approval = &a; return t }
	daily := Limits{Budgets: []Budget{{Amount: "200", Per: PerDay}}}
	budgeted := func(t Terms, l Limits) Terms { t.Limits = l; return t }

	for _, tt := range []struct {
		name     string
		given    []step
		ask      Ask
		want     ReasonCode
		by       PermissionID
		approval ApprovalID
	}{
		{"always", []step{granted(always)}, buy("1"), ApprovalRequired, "perm_1", "apr_1"},
		{"always, without an amount", []step{granted(always)}, buy(""), ApprovalRequired, "perm_1", "apr_1"},
		{"above the amount", []step{granted(wary)}, buy("100.01"), ApprovalRequired, "perm_1", "apr_1"},
		{"the very amount", []step{granted(wary)}, buy("100.00"), Allowed, "perm_1", ""},
		{"no amount, where it counts", []step{granted(wary)}, buy(""), AmountRequired, "perm_1", ""},
		{"no amount, where only approval depends on it", []step{granted(Terms{Action: "purchase", RequiresApproval: ApprovalRule{Above: "100"}})}, buy(""), AmountRequired, "perm_1", ""},
		{"another currency, where only approval depends on it", []step{granted(Terms{Action: "purchase", RequiresApproval: ApprovalRule{Above: "100"}})}, Ask{Action: "purchase", Amount: "1", Currency: "JPY"}, CurrencyMismatch, "perm_1", ""},
		{"above nothing at all, a cent", []step{granted(Terms{Action: "purchase", RequiresApproval: ApprovalRule{Above: "0"}})}, buy("0.01"), ApprovalRequired, "perm_1", "apr_1"},
		{"above nothing at all, nothing", []step{granted(Terms{Action: "purchase", RequiresApproval: ApprovalRule{Above: "0"}})}, buy("0"), Allowed, "perm_1", ""},

		{"more than the limit is not for people to decide", []step{granted(wary)}, buy("500.01"), AmountExceedsLimit, "perm_1", ""},
		{"nor is another vendor", []step{granted(Terms{Action: "purchase", Vendors: Patterns{"a.com"}, RequiresApproval: ApprovalRule{Always: true}})}, Ask{Action: "purchase", Vendor: "b.com"}, VendorNotAllowed, "perm_1", ""},
		{"nor is a block", []step{granted(always, Terms{BlockedActions: []Action{"purchase"}})}, buy("1"), ActionBlocked, "perm_2", ""},
		{"nor is a budget of the permission", []step{granted(budgeted(always, daily))}, buy("200.01"), BudgetExceeded, "perm_1", ""},
		{"nor is a budget of the agent", []step{granted(always), limited(daily)}, buy("200.01"), BudgetExceeded, "", ""},
		{"nor is a budget of the account", []step{granted(always), sharing(daily)}, buy("200.01"), BudgetExceeded, "", ""},
		{"nor is a disabled agent", []step{granted(always), disabled}, buy("1"), AgentDisabledCode, "", ""},

		{"one that asks wins over a newer one that does not", []step{granted(always, free)}, buy("1"), ApprovalRequired, "perm_1", "apr_1"},
		{"one that asks wins over an older one that does not", []step{granted(free, always)}, buy("1"), ApprovalRequired, "perm_2", "apr_1"},
		{"one that would ask for more money does not ask for this", []step{granted(wary, free)}, buy("100"), Allowed, "perm_2", ""},
		{"of two that ask the newer wins", []step{granted(always, always)}, buy("1"), ApprovalRequired, "perm_2", "apr_1"},
		{"the higher role wins over a newer one", []step{granted(terms(always, ApprovalTerms{MinRole: RoleAdmin}), always)}, buy("1"), ApprovalRequired, "perm_1", "apr_1"},
		{"the higher role wins over an older one", []step{granted(always, terms(always, ApprovalTerms{MinRole: RoleAdmin}))}, buy("1"), ApprovalRequired, "perm_2", "apr_1"},
		{"the higher role wins over more people", []step{granted(terms(always, ApprovalTerms{MinRole: RoleOwner}), terms(always, ApprovalTerms{Quorum: 3}))}, buy("1"), ApprovalRequired, "perm_1", "apr_1"},
		{"of one role more people win", []step{granted(terms(always, ApprovalTerms{Quorum: 2}), always)}, buy("1"), ApprovalRequired, "perm_1", "apr_1"},
		{"of one role and as many people the newer wins", []step{granted(terms(always, ApprovalTerms{Quorum: 2}), terms(always, ApprovalTerms{Quorum: 2, MinRole: RoleApprover}))}, buy("1"), ApprovalRequired, "perm_2", "apr_1"},
		{"a newer one that does not apply hides none", []step{granted(always, Terms{Action: "purchase", Vendors: Patterns{"a.com"}})}, buy("1"), ApprovalRequired, "perm_1", "apr_1"},
		{"one that asks and does not apply is not asked", []step{granted(free, Terms{Action: "purchase", Vendors: Patterns{"a.com"}, RequiresApproval: ApprovalRule{Always: true}})}, buy("1"), Allowed, "perm_1", ""},
		{"one whose budget is spent does not hide one that passes", []step{granted(free, budgeted(always, daily))}, buy("300"), Allowed, "perm_1", ""},
		{"one that asks and was revoked does not ask", []step{granted(free, always), revoked("perm_2")}, buy("1"), Allowed, "perm_1", ""},

		{"the same again gets the same approval", asked, buy("150"), ApprovalRequired, "perm_1", "apr_1"},
		{"the same in other digits is the same", asked, buy("150.00"), ApprovalRequired, "perm_1", "apr_1"},
		{"a moment before it expires it is still awaited", given(asked, at(hours(24)-1)), buy("150"), ApprovalRequired, "perm_1", "apr_1"},
		{"when it has expired another is opened, event or none", given(asked, at(hours(24))), buy("150"), ApprovalRequired, "perm_1", "apr_2"},
		{"when it has expired another is opened, after the event too", given(asked, at(hours(24)), expired("apr_1")), buy("150"), ApprovalRequired, "perm_1", "apr_2"},
		{"a permission may wait for less long", []step{granted(terms(always, ApprovalTerms{PendingFor: Duration(time.Hour)})), asks(buy("1")), at(time.Hour)}, buy("1"), ApprovalRequired, "perm_1", "apr_2"},
		{"a permission may not wait for longer", []step{granted(terms(always, ApprovalTerms{PendingFor: Duration(hours(48))})), asks(buy("1")), at(hours(24))}, buy("1"), ApprovalRequired, "perm_1", "apr_2"},
		{"what the account says later does not change one that is open", given(asked, settings(ChangeApprovals{PendingFor: ptr(Duration(time.Minute))}), at(time.Hour)), buy("150"), ApprovalRequired, "perm_1", "apr_1"},

		{"a yes", yes, buy("150"), Allowed, "perm_1", "apr_1"},
		{"a yes, a moment before it ends", given(yes, at(minutesAfter(30)-1)), buy("150"), Allowed, "perm_1", "apr_1"},
		{"a yes that has ended, without an event", given(yes, at(minutesAfter(30))), buy("150"), ApprovalRequired, "perm_1", "apr_2"},
		{"a yes that has ended, with one", given(yes, at(minutesAfter(30)), expired("apr_1")), buy("150"), ApprovalRequired, "perm_1", "apr_2"},
		{"a yes to something else", given(yes, asks(buy("151"))), buy("151"), ApprovalRequired, "perm_1", "apr_2"},
		{"a yes is used once", given(yes, gets(Allowed, buy("150"))), buy("150"), ApprovalUsed, "perm_1", "apr_1"},
		{"a yes that was used answers until it would have ended", given(yes, gets(Allowed, buy("150")), at(minutesAfter(30)-1)), buy("150"), ApprovalUsed, "perm_1", "apr_1"},
		{"then the same can be asked again", given(yes, gets(Allowed, buy("150")), at(minutesAfter(30))), buy("150"), ApprovalRequired, "perm_1", "apr_3"},
		{"a yes may be good for less long", []step{granted(terms(always, ApprovalTerms{ValidFor: Duration(time.Minute)})), asks(buy("1")), approved("apr_1", "mem_al"), at(time.Minute)}, buy("1"), ApprovalRequired, "perm_1", "apr_2"},

		{"a no", given(asked, refused("apr_1", "mem_al", "")), buy("150"), ApprovalDeniedCode, "perm_1", "apr_1"},
		{"a no, a moment before it is over", given(asked, refused("apr_1", "mem_al", ""), at(time.Hour-1)), buy("150"), ApprovalDeniedCode, "perm_1", "apr_1"},
		{"a no that is over", given(asked, refused("apr_1", "mem_al", ""), at(time.Hour)), buy("150"), ApprovalRequired, "perm_1", "apr_2"},
		{"a no to something else", given(asked, refused("apr_1", "mem_al", "")), buy("151"), ApprovalRequired, "perm_1", "apr_2"},
		{"a no may be over sooner", []step{granted(terms(always, ApprovalTerms{DenialFor: Duration(time.Minute)})), asks(buy("1")), refused("apr_1", "mem_al", ""), at(time.Minute)}, buy("1"), ApprovalRequired, "perm_1", "apr_2"},

		{"withdrawn while it waited", given(asked, withdrawn("apr_1", "mem_al")), buy("150"), ApprovalRequired, "perm_1", "apr_2"},
		{"withdrawn when it was given", given(yes, withdrawn("apr_1", "mem_al")), buy("150"), ApprovalRequired, "perm_1", "apr_2"},
		{"cancelled by the agent", given(asked, cancelled("apr_1")), buy("150"), ApprovalRequired, "perm_1", "apr_2"},

		{"a yes, and the permission is revoked", given(yes, revoked("perm_1")), buy("150"), PermissionRevokedCode, "perm_1", ""},
		{"a yes, and the permission has expired", []step{granted(Terms{Action: "purchase", RequiresApproval: ApprovalRule{Always: true}, ExpiresAt: noon.Add(time.Minute)}), asks(buy("1")), approved("apr_1", "mem_al"), at(time.Minute)}, buy("1"), PermissionExpired, "perm_1", ""},
		{"a yes, and the agent is disabled", given(yes, disabled), buy("150"), AgentDisabledCode, "", ""},
		{"a yes, and the agent is enabled again", given(yes, disabled, enabled), buy("150"), Allowed, "perm_1", "apr_1"},
		{"a yes, and the permission is replaced by the same terms", given(yes, replaced("perm_1", wary)), buy("150"), ApprovalRequired, "perm_1", "apr_2"},
		{"a yes, and the limit is lowered", given(yes, replaced("perm_1", Terms{Action: "purchase", MaxAmount: "149.99", RequiresApproval: ApprovalRule{Above: "100"}})), buy("150"), AmountExceedsLimit, "perm_1", ""},
		{"a yes, and a block", given(yes, granted(Terms{BlockedActions: []Action{"purchase"}})), buy("150"), ActionBlocked, "perm_2", ""},
		{"a yes, and a stricter permission", given(yes, granted(terms(always, ApprovalTerms{MinRole: RoleOwner}))), buy("150"), ApprovalRequired, "perm_2", "apr_2"},
		{"a yes, and the permission's budget is spent", []step{granted(budgeted(wary, daily)), asks(buy("150")), approved("apr_1", "mem_al"), gets(Allowed, buy("100"))}, buy("150"), BudgetExceeded, "perm_1", ""},
		{"a yes, and the agent's budget is spent", given(yes, limited(daily), gets(Allowed, buy("100"))), buy("150"), BudgetExceeded, "", ""},
		{"a yes, and the account's budget is spent", given(yes, sharing(daily), charged("50.01", "USD")), buy("150"), BudgetExceeded, "", ""},
		{"a yes, and just enough of the account's budget", given(yes, sharing(daily), charged("50", "USD")), buy("150"), Allowed, "perm_1", "apr_1"},
		{"a yes, and the agent's rate is spent", given(yes, limited(Limits{Rates: []Rate{{Count: 1, Per: PerDay}}}), gets(Allowed, buy("1"))), buy("150"), RateExceeded, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := newWorld(t, tt.given...).verify(tt.ask)
			if d.ReasonCode != tt.want || d.PermissionID != tt.by {
				t.Errorf("got %s by %q (%s), want %s by %q", d.ReasonCode, d.PermissionID, d.Reason, tt.want, tt.by)
			}
			if d.ApprovalID != tt.approval {
				t.Errorf("got the approval %q, want %q", d.ApprovalID, tt.approval)
			}
		})
	}
}

func TestTooManyPending(t *testing.T) {
	t.Parallel()
	two := []step{settings(ChangeApprovals{MostPending: ptr(2)}), granted(always), gets(ApprovalRequired, buy("1")), gets(ApprovalRequired, buy("2"))}
	given := func(more ...step) []step { return append(slices.Clip(two), more...) }
	for _, tt := range []struct {
		name  string
		given []step
		ask   Ask
		want  ReasonCode
	}{
		{"the last that may be opened", two[:3], buy("2"), ApprovalRequired},
		{"one more", two, buy("3"), TooManyPending},
		{"one that waits already", two, buy("1"), ApprovalRequired},
		{"one more, another time", given(gets(TooManyPending, buy("3"))), buy("3"), TooManyPending},
		{"one more after a yes, which waits no longer", given(approved("apr_1", "mem_al")), buy("3"), ApprovalRequired},
		{"one more after a no", given(refused("apr_1", "mem_al", "")), buy("3"), ApprovalRequired},
		{"one more after a member took one back", given(withdrawn("apr_1", "mem_al")), buy("3"), ApprovalRequired},
		{"one more after its permission was replaced", given(replaced("perm_1", always)), buy("3"), ApprovalRequired},
		{"one more after the agent took one back", given(cancelled("apr_1")), buy("3"), TooManyPending},
		{"the same after the agent took it back", given(cancelled("apr_1")), buy("1"), TooManyPending},
		{"one more after the agent took all back", given(cancelled("apr_1"), cancelled("apr_2")), buy("3"), TooManyPending},
		{"one more, a moment before what the agent took back would have expired", given(cancelled("apr_1"), at(hours(24)-1)), buy("3"), TooManyPending},
		{"one more, when what the agent took back would have expired", given(cancelled("apr_1"), at(hours(24))), buy("3"), ApprovalRequired},
		{"one more, when they have expired without an event", given(at(hours(24))), buy("3"), ApprovalRequired},
		{"what needs nobody", given(granted(Terms{Action: "read"})), Ask{Action: "read"}, Allowed},
		{"one that the account allows by now", given(settings(ChangeApprovals{MostPending: ptr(3)})), buy("3"), ApprovalRequired},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, tt.given...)
			d := w.verify(tt.ask)
			if d.ReasonCode != tt.want {
				t.Errorf("got %s (%s), want %s", d.ReasonCode, d.Reason, tt.want)
			}
			if tt.want == TooManyPending && (d.ApprovalID != "" || d.Gate == nil || d.Moves()) {
				t.Errorf("got the approval %q, the gate %v, want no approval, and the gate it was judged by", d.ApprovalID, d.Gate)
			}
		})
	}
}

// A denial that answers again, and so notifies nobody, says what the person said
// if the account lets it.
func TestDenialGivesTheCommentIfItIsShared(t *testing.T) {
	t.Parallel()
	const comment = "not this month"
	for _, shared := range []bool{false, true} {
		w := newWorld(t,
			settings(ChangeApprovals{ShareComments: &shared}), granted(always), asks(buy("1")),
			refused("apr_1", "mem_al", comment),
			settings(ChangeApprovals{ShareComments: ptr(!shared)})) // too late to change what was said
		d := w.verify(buy("1"))
		if d.ReasonCode != ApprovalDeniedCode || d.Gate != nil || d.Moves() {
			t.Errorf("got %s, which moves: %v, want %s and nothing opened", d.ReasonCode, d.Moves(), ApprovalDeniedCode)
		}
		if got := strings.Contains(d.Reason, comment); got != shared {
			t.Errorf("shared %v: got the reason %q", shared, d.Reason)
		}
		p, _ := w.agent.Approval("apr_1")
		if p.Comment != comment || p.Shared != shared {
			t.Errorf("got %q, shared %v, want %q, %v", p.Comment, p.Shared, comment, shared)
		}
	}
}

// The gate that a decision records is the account's settings as they were,
// narrowed by the permission.
func TestGateIsTheSettingsNarrowedByThePermission(t *testing.T) {
	t.Parallel()
	narrow := always
	narrow.Approval = &ApprovalTerms{MinRole: RoleAdmin, Quorum: 3, PendingFor: Duration(time.Hour), ValidFor: Duration(hours(9)), DenialFor: Duration(time.Minute)}
	w := newWorld(t, settings(ChangeApprovals{RemindEvery: ptr(Duration(0)), MostPending: ptr(7)}), granted(narrow), asks(buy("1")))
	want := Gate{
		PendingFor: Duration(time.Hour), ValidFor: Duration(30 * time.Minute), DenialFor: Duration(time.Minute),
		MinRole: RoleAdmin, Quorum: 3, MostPending: 7,
	}
	want.Digest = w.last.Gate.Digest
	if len(want.Digest) != 64 || !reflect.DeepEqual(*w.last.Gate, want) {
		t.Errorf("got %+v, want %+v", *w.last.Gate, want)
	}
	p, ok := w.agent.Approval("apr_1")
	if !ok || !reflect.DeepEqual(p.Gate, want) || p.RequestID != "req_1" || p.PermissionID != "perm_1" || p.PermissionVersion != w.agent.Permissions[0].Version ||
		p.Request.Amount != "1.00" || !p.Opened.Equal(noon) || !p.ExpiresAt.Equal(noon.Add(time.Hour)) || p.Recorded() != ApprovalPending {
		t.Errorf("got %+v", p)
	}
}
