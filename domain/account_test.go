package domain

import (
	"testing"
	"time"
)

func TestAccount(t *testing.T) {
	t.Parallel()
	opened := AccountOpened{Name: "Home", Currency: "USD", Owner: "mem_owner", Token: HashToken("bhf_dev_owner")}
	admin := MemberAdded{MemberID: "mem_admin", Name: "Ada", Role: RoleAdmin, Token: "hash"}
	viewer := MemberAdded{MemberID: "mem_viewer", Name: "Vi", Role: RoleViewer, Token: "hash2"}
	second := MemberAdded{MemberID: "mem_second", Name: "Zwei", Role: RoleOwner, Token: "hash3"}
	by := func(role Role) Member { return Member{ID: "mem_by", Role: role} }
	name, euro, bad := "Away", Currency("EUR"), Currency("eur")

	for _, tt := range []struct {
		name  string
		given []Event
		when  func(Account) ([]Event, error)
		then  []Event
		code  Code
		field string
	}{
		{name: "open", when: func(a Account) ([]Event, error) { return a.Open(OpenAccount(opened)) }, then: []Event{opened}},
		{name: "open again", given: []Event{opened}, when: func(a Account) ([]Event, error) { return a.Open(OpenAccount(opened)) }, code: Conflict},
		{
			name: "open with an unknown currency",
			when: func(a Account) ([]Event, error) {
				return a.Open(OpenAccount{Name: "Home", Currency: "usd", Owner: "mem_owner"})
			}, code: Invalid, field: "/defaultCurrency",
		},
		{
			name: "change the currency", given: []Event{opened},
			when: func(a Account) ([]Event, error) { return a.Change(ChangeSettings{Currency: &euro}) },
			then: []Event{AccountSettingsChanged{Name: "Home", Currency: "EUR"}},
		},
		{
			name: "change the name", given: []Event{opened},
			when: func(a Account) ([]Event, error) { return a.Change(ChangeSettings{Name: &name}) },
			then: []Event{AccountSettingsChanged{Name: "Away", Currency: "USD"}},
		},
		{name: "change nothing", given: []Event{opened}, when: func(a Account) ([]Event, error) { return a.Change(ChangeSettings{}) }},
		{name: "change to an unknown currency", given: []Event{opened}, when: func(a Account) ([]Event, error) { return a.Change(ChangeSettings{Currency: &bad}) }, code: Invalid, field: "/defaultCurrency"},

		{
			name: "an admin adds an admin", given: []Event{opened},
			when: func(a Account) ([]Event, error) {
				return a.Add(AddMember{by(RoleAdmin), "mem_admin", "Ada", RoleAdmin, "hash"})
			},
			then: []Event{admin},
		},
		{name: "an admin adds an owner", given: []Event{opened}, when: func(a Account) ([]Event, error) { return a.Add(AddMember{by(RoleAdmin), "mem_x", "X", RoleOwner, "h"}) }, code: Forbidden},
		{name: "an approver adds a viewer", given: []Event{opened}, when: func(a Account) ([]Event, error) {
			return a.Add(AddMember{by(RoleApprover), "mem_x", "X", RoleViewer, "h"})
		}, code: Forbidden},
		{name: "someone removed meanwhile adds a viewer", given: []Event{opened}, when: func(a Account) ([]Event, error) { return a.Add(AddMember{Member{}, "mem_x", "X", RoleViewer, "h"}) }, code: Forbidden},
		{name: "an unknown role", given: []Event{opened}, when: func(a Account) ([]Event, error) { return a.Add(AddMember{by(RoleOwner), "mem_x", "X", "owner", "h"}) }, code: Invalid, field: "/role"},

		{
			name: "an owner makes an admin an approver", given: []Event{opened, admin},
			when: func(a Account) ([]Event, error) {
				return a.ChangeRole(ChangeRole{by(RoleOwner), "mem_admin", RoleApprover})
			},
			then: []Event{MemberRoleChanged{"mem_admin", RoleApprover}},
		},
		{name: "an admin makes themselves an owner", given: []Event{opened, admin}, when: func(a Account) ([]Event, error) {
			return a.ChangeRole(ChangeRole{by(RoleAdmin), "mem_admin", RoleOwner})
		}, code: Forbidden},
		{name: "an admin demotes an owner", given: []Event{opened, second}, when: func(a Account) ([]Event, error) {
			return a.ChangeRole(ChangeRole{by(RoleAdmin), "mem_second", RoleViewer})
		}, code: Forbidden},
		{name: "the same role changes nothing", given: []Event{opened, admin}, when: func(a Account) ([]Event, error) {
			return a.ChangeRole(ChangeRole{by(RoleOwner), "mem_admin", RoleAdmin})
		}},
		{name: "the last owner steps down", given: []Event{opened, admin}, when: func(a Account) ([]Event, error) {
			return a.ChangeRole(ChangeRole{by(RoleOwner), "mem_owner", RoleAdmin})
		}, code: Conflict},
		{
			name: "one of two owners steps down", given: []Event{opened, second},
			when: func(a Account) ([]Event, error) {
				return a.ChangeRole(ChangeRole{by(RoleOwner), "mem_owner", RoleAdmin})
			},
			then: []Event{MemberRoleChanged{"mem_owner", RoleAdmin}},
		},
		{name: "the role of nobody", given: []Event{opened}, when: func(a Account) ([]Event, error) { return a.ChangeRole(ChangeRole{by(RoleOwner), "mem_x", RoleAdmin}) }, code: NotFound},

		{
			name: "a viewer rotates their own token", given: []Event{opened, viewer},
			when: func(a Account) ([]Event, error) {
				return a.RotateToken(RotateToken{Member{ID: "mem_viewer", Role: RoleViewer}, "mem_viewer", "new"})
			},
			then: []Event{MemberTokenRotated{"mem_viewer", "new"}},
		},
		{name: "a viewer rotates another's token", given: []Event{opened, admin, viewer}, when: func(a Account) ([]Event, error) {
			return a.RotateToken(RotateToken{Member{ID: "mem_viewer", Role: RoleViewer}, "mem_admin", "new"})
		}, code: Forbidden},
		{name: "an admin rotates an owner's token", given: []Event{opened, admin}, when: func(a Account) ([]Event, error) {
			return a.RotateToken(RotateToken{by(RoleAdmin), "mem_owner", "new"})
		}, code: Forbidden},

		{name: "remove", given: []Event{opened, viewer}, when: func(a Account) ([]Event, error) { return a.Remove(RemoveMember{by(RoleAdmin), "mem_viewer"}) }, then: []Event{MemberRemoved{"mem_viewer"}}},
		{name: "remove again changes nothing", given: []Event{opened, viewer, MemberRemoved{"mem_viewer"}}, when: func(a Account) ([]Event, error) { return a.Remove(RemoveMember{by(RoleAdmin), "mem_viewer"}) }},
		{name: "remove the last owner", given: []Event{opened}, when: func(a Account) ([]Event, error) { return a.Remove(RemoveMember{by(RoleOwner), "mem_owner"}) }, code: Conflict},
		{name: "remove nobody", given: []Event{opened}, when: func(a Account) ([]Event, error) { return a.Remove(RemoveMember{by(RoleOwner), "mem_x"}) }, code: NotFound},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := tt.when(givenAccount(tt.given...))
			wantEvents(t, got, err, tt.then, tt.code, tt.field)
		})
	}
}

func TestRoles(t *testing.T) {
	t.Parallel()
	order := []Role{"", RoleViewer, RoleApprover, RoleAdmin, RoleOwner}
	for i, r := range order {
		for j, least := range order {
			if got, want := r.AtLeast(least), i >= j && i > 0; got != want {
				t.Errorf("%q at least %q: got %v, want %v", r, least, got, want)
			}
		}
	}
}

func TestTokenHash(t *testing.T) {
	t.Parallel()
	one := HashToken("bhf_sk_one")
	if !one.Equal(HashToken("bhf_sk_one")) || one.Equal(HashToken("bhf_sk_two")) || TokenHash("").Equal("") {
		t.Error("got a hash that equals another's, or the empty one, or not itself")
	}
	for token, want := range map[string]bool{
		"bhf_dev_0123456789abcdef0123456789abcdef": true,
		"bhf_dev_short": false,
		"bhf_sk_0123456789abcdef0123456789abcdef":  false,
		"bhf_dev_0123456789abcdef0123456789abcde ": false,
	} {
		if got := ValidMemberToken(token); got != want {
			t.Errorf("%q: got %v, want %v", token, got, want)
		}
	}
}

func TestPosition(t *testing.T) {
	t.Parallel()
	for _, p := range []Position{{}, {1, 2, 3}, {65535, 1<<32 - 1, 1<<64 - 1}} {
		if got, err := ParsePosition(p.String()); err != nil || got != p {
			t.Errorf("%v: got %v, %v, want itself", p, got, err)
		}
	}
}

func FuzzParsePosition(f *testing.F) {
	for _, s := range []string{"", "AAAAAAAAAA", Position{1, 2, 3}.String(), "AAAAAAAAgAA", "*", "%00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if p, err := ParsePosition(s); err == nil && p.String() != s {
			t.Errorf("%q is read as %v, whose token is %q", s, p, p.String())
		}
	})
}

func TestAccountSettings(t *testing.T) {
	t.Parallel()
	opened := AccountOpened{Name: "Home", Currency: "USD", Owner: "mem_owner", Token: "hash"}
	owner, admin := Member{ID: "mem_owner", Role: RoleOwner}, Member{ID: "mem_admin", Role: RoleAdmin}
	with := func(change func(*ApprovalSettings)) AccountSettingsChanged {
		s := DefaultApprovals()
		change(&s)
		return AccountSettingsChanged{Name: "Home", Currency: "USD", Approvals: &s}
	}
	d := func(d time.Duration) *Duration { return ptr(Duration(d)) }
	yes, no := ptr(true), ptr(false)
	self := with(func(s *ApprovalSettings) { s.SelfApproval = true })
	month := AccountSettingsChanged{Name: "Home", Currency: "USD", DecisionRetention: Duration(720 * time.Hour)}
	berlin := AccountSettingsChanged{Name: "Home", Currency: "USD", TimeZone: "Europe/Berlin"}

	for _, tt := range []struct {
		name  string
		given []Event
		when  ChangeSettings
		then  []Event
		code  Code
		field string
	}{
		{name: "a time zone", when: ChangeSettings{By: admin, TimeZone: ptr("Europe/Berlin")}, then: []Event{berlin}},
		{name: "the same time zone", given: []Event{berlin}, when: ChangeSettings{By: admin, TimeZone: ptr("Europe/Berlin")}},
		{name: "a time zone that isn't one", when: ChangeSettings{By: admin, TimeZone: ptr("Berlin")}, code: Invalid, field: "/timeZone"},
		{name: "a time zone that each machine has another of", when: ChangeSettings{By: admin, TimeZone: ptr("Local")}, code: Invalid, field: "/timeZone"},
		{name: "no time zone", when: ChangeSettings{By: admin, TimeZone: ptr("")}, code: Invalid, field: "/timeZone"},

		{
			name: "how long to wait", when: ChangeSettings{By: admin, Approvals: ChangeApprovals{PendingFor: d(time.Hour)}},
			then: []Event{with(func(s *ApprovalSettings) { s.PendingFor = Duration(time.Hour) })},
		},
		{
			name: "everything at once",
			when: ChangeSettings{By: owner, Approvals: ChangeApprovals{d(time.Second), d(time.Minute), d(time.Hour), d(0), ptr(1000), yes, yes}},
			then: []Event{with(func(s *ApprovalSettings) {
				*s = ApprovalSettings{Duration(time.Second), Duration(time.Minute), Duration(time.Hour), 0, 1000, true, true}
			})},
		},
		{name: "the defaults, where they hold", when: ChangeSettings{By: admin, Approvals: ChangeApprovals{PendingFor: d(24 * time.Hour), SelfApproval: no}}},
		{name: "back to the defaults", given: []Event{self}, when: ChangeSettings{By: owner, Approvals: ChangeApprovals{SelfApproval: no}}, then: []Event{AccountSettingsChanged{Name: "Home", Currency: "USD"}}},
		{name: "another name keeps them", given: []Event{self}, when: ChangeSettings{By: admin, Name: ptr("Away")}, then: []Event{AccountSettingsChanged{Name: "Away", Currency: "USD", Approvals: self.Approvals}}},
		{name: "an admin allows self-approval", when: ChangeSettings{By: admin, Approvals: ChangeApprovals{SelfApproval: yes}}, code: Forbidden, field: "/approvals/selfApproval"},
		{name: "an owner allows self-approval", when: ChangeSettings{By: owner, Approvals: ChangeApprovals{SelfApproval: yes}}, then: []Event{self}},

		{name: "how long to keep decisions", when: ChangeSettings{By: admin, DecisionRetention: d(720 * time.Hour)}, then: []Event{month}},
		{name: "to keep them as long as it is", given: []Event{month}, when: ChangeSettings{By: admin, DecisionRetention: d(720 * time.Hour)}},
		{name: "to keep them for ever again", given: []Event{month}, when: ChangeSettings{By: admin, DecisionRetention: d(0)}, then: []Event{AccountSettingsChanged{Name: "Home", Currency: "USD"}}},
		{name: "another name keeps how long they are kept", given: []Event{month}, when: ChangeSettings{By: admin, Name: ptr("Home"), Currency: ptr(Currency("EUR"))}, then: []Event{AccountSettingsChanged{Name: "Home", Currency: "EUR", DecisionRetention: month.DecisionRetention}}},
		{name: "to keep them for less than a day", when: ChangeSettings{By: admin, DecisionRetention: d(23 * time.Hour)}, code: Invalid, field: "/decisionRetention"},
		{name: "to keep them for more than ten years", when: ChangeSettings{By: admin, DecisionRetention: d(87601 * time.Hour)}, code: Invalid, field: "/decisionRetention"},
		{name: "to keep them for a part of an hour", when: ChangeSettings{By: admin, DecisionRetention: d(24*time.Hour + time.Second)}, code: Invalid, field: "/decisionRetention"},

		{name: "not to wait at all", when: ChangeSettings{By: admin, Approvals: ChangeApprovals{PendingFor: d(0)}}, code: Invalid, field: "/approvals/pendingFor"},
		{name: "a yes that can't be used", when: ChangeSettings{By: admin, Approvals: ChangeApprovals{ValidFor: d(0)}}, code: Invalid, field: "/approvals/validFor"},
		{name: "a no that answers nothing", when: ChangeSettings{By: admin, Approvals: ChangeApprovals{DenialFor: d(0)}}, code: Invalid, field: "/approvals/denialFor"},
		{name: "to wait too long", when: ChangeSettings{By: admin, Approvals: ChangeApprovals{PendingFor: d(721 * time.Hour)}}, code: Invalid, field: "/approvals/pendingFor"},
		{name: "to remind at every moment", when: ChangeSettings{By: admin, Approvals: ChangeApprovals{RemindEvery: d(1)}}, code: Invalid, field: "/approvals/remindEvery"},
		{name: "no approvals open at all", when: ChangeSettings{By: admin, Approvals: ChangeApprovals{MostPending: ptr(0)}}, code: Invalid, field: "/approvals/mostPending"},
		{name: "too many open approvals", when: ChangeSettings{By: admin, Approvals: ChangeApprovals{MostPending: ptr(1001)}}, code: Invalid, field: "/approvals/mostPending"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a := givenAccount(append([]Event{opened}, tt.given...)...)
			got, err := a.Change(tt.when)
			wantEvents(t, got, err, tt.then, tt.code, tt.field)
		})
	}
	a := givenAccount(opened)
	if a.Approvals != DefaultApprovals() || a.Zone() != "UTC" {
		t.Errorf("got %+v in %s, want the defaults in UTC", a.Approvals, a.Zone())
	}
	if err := a.Approvals.check(); err != nil {
		t.Errorf("the defaults: got %v, want none", err)
	}
	a = givenAccount(opened, self, AccountSettingsChanged{Name: "Home", Currency: "USD"})
	if a.Approvals != DefaultApprovals() {
		t.Errorf("settings recorded without approvals: got %+v, want the defaults", a.Approvals)
	}
}

func TestWordsOfPeopleHaveNoAddresses(t *testing.T) {
	t.Parallel()
	for text, taken := range map[string]bool{
		"ada": true, "Ada L.": true, "see @ada": true, "mail to *@acme.com": true, "at 5@noon": true, "3@4.": true, "a@b": true,
		"ada@example.com": false, "ask ada.l+x@mail.example.com first": false, "<ada@example.com>": false, "ada@b\u00fccher.de": false, "\u00e4da@example.com": false,
	} {
		owner := Member{ID: "mem_owner", Role: RoleOwner}
		a := givenAccount(AccountOpened{Name: "Home", Currency: "USD", Owner: owner.ID, Token: "hash"})
		_, member := a.Add(AddMember{By: owner, MemberID: "mem_1", Name: text, Role: RoleViewer, Token: "hash"})
		_, agent := Agent{}.Register(RegisterAgent{AgentID: "agent_1", Name: text, Type: Native, Key: "hash"})
		_, terms := Terms{Action: "buy", Notes: text}.Accept(time.Time{}, "USD", "UTC")
		for what, err := range map[string]error{"a member's name": member, "an agent's name": agent, "notes": terms} {
			if (err == nil) != taken {
				t.Errorf("%q as %s: got %v, want it taken: %t", text, what, err, taken)
			}
		}
	}
}
