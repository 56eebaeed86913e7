package domain

import "testing"

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
