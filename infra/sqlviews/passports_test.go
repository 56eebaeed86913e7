package sqlviews_test

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/infra/sqlviews"
	"github.com/behalf-platform/behalf/projections"
)

// folded is the history as verify's read model has it.
func folded(t *testing.T, h *history) *projections.Passports {
	t.Helper()
	var p projections.Passports
	for _, r := range h.events {
		if err := p.Apply(r, nil); err != nil {
			t.Fatal(err)
		}
	}
	return &p
}

// shown is text as a column has it.
func shown(s string) string { return strings.ReplaceAll(s, "\x00", "\uFFFD") }

func TestPassportsAreAsTheyAreFolded(t *testing.T) {
	onBoth(t, func(t *testing.T, open func(testing.TB) *sqlviews.Store) {
		s, h := open(t), newHistory(31).grow(1500)
		mustProject(t, s, view(projections.ProjectionPassports, 1), h, 37)
		passports := folded(t, h)
		var rows []projections.AgentRow
		for after := domain.AgentID(""); ; after = rows[len(rows)-1].Agent {
			page, err := s.Agents(t.Context(), ours, 3, after)
			if err != nil {
				t.Fatal(err)
			}
			if rows = append(rows, page...); len(page) < 3 {
				break
			}
		}
		agents := passports.Agents(ours)
		if len(rows) != len(agents) {
			t.Fatalf("got %d agents, want %d", len(rows), len(agents))
		}
		for i, want := range agents {
			if want.Fault() != nil {
				t.Fatal(want.Fault())
			}
			got := rows[i]
			var limits domain.Limits
			if len(got.Limits) > 0 {
				if err := json.Unmarshal(got.Limits, &limits); err != nil {
					t.Fatal(err)
				}
			}
			same := projections.AgentRow{
				Account: ours, Agent: want.ID, Name: want.Name, Type: want.Type, Status: want.Status, Driver: want.Driver,
				HasKey: want.Key != "", Shared: want.Shared, Limits: got.Limits, Version: want.Version,
				RegisteredAt: want.Registered, UpdatedAt: want.Updated,
			}
			if !reflect.DeepEqual(got, same) || !reflect.DeepEqual(limits, want.Limits) {
				t.Errorf("got %+v, want %+v", got, same)
			}
			if one, err := s.Agent(t.Context(), ours, want.ID); err != nil || !reflect.DeepEqual(one, got) {
				t.Errorf("got %+v and error %v, want %+v", one, err, got)
			}
			checkPermissions(t, s, want)
		}
		checkMembers(t, s, passports)
		if _, err := s.Agent(t.Context(), "acct_other", "agent_1"); !isNotFound(err) {
			t.Errorf("got error %v, want that there is none in another account", err)
		}
	})
}

func checkPermissions(t *testing.T, s *sqlviews.Store, want *domain.Agent) {
	t.Helper()
	rows, err := s.Permissions(t.Context(), ours, want.ID)
	if err != nil {
		t.Fatal(err)
	}
	newest := map[domain.PermissionID]projections.PermissionRow{}
	for _, p := range rows {
		if old, ok := newest[p.PermissionID]; ok && (old.EndedBy != p.Version || old.Revoked || !old.EndedAt.Equal(p.Since)) {
			t.Errorf("got %+v before %+v, want the one to end where the other begins", old, p)
		}
		newest[p.PermissionID] = p
	}
	if len(newest) != len(want.Permissions) {
		t.Errorf("got %d permissions, want %d", len(newest), len(want.Permissions))
	}
	for _, p := range want.Permissions {
		got := newest[p.ID]
		var terms domain.Terms
		if err := json.Unmarshal(got.Terms, &terms); err != nil {
			t.Fatal(err)
		}
		if got.Revoked != !p.Revoked.IsZero() || !got.EndedAt.Equal(p.Revoked) || !got.Since.Equal(p.Granted) ||
			max(got.Version, got.EndedBy) != p.Version || !reflect.DeepEqual(terms, p.Terms) {
			t.Errorf("got %+v, want %+v", got, *p)
		}
	}
}

func checkMembers(t *testing.T, s *sqlviews.Store, passports *projections.Passports) {
	t.Helper()
	rows, err := s.Members(t.Context(), ours)
	if err != nil {
		t.Fatal(err)
	}
	account, err := passports.Account(ours)
	if err != nil {
		t.Fatal(err)
	}
	ids := slices.Sorted(maps.Keys(account.Members))
	if len(rows) != len(ids) {
		t.Fatalf("got %d members, want %d", len(rows), len(ids))
	}
	for i, id := range ids {
		got, want := rows[i], account.Members[id]
		if got.MemberID != id || got.Name != want.Name || got.Role != want.Role || got.Removed != want.Removed || got.AddedAt.IsZero() {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
}

func TestChangesAreEveryEventButDecisions(t *testing.T) {
	onBoth(t, func(t *testing.T, open func(testing.TB) *sqlviews.Store) {
		s, h := open(t), newHistory(32).grow(1000)
		mustProject(t, s, view(projections.ProjectionPassports, 1), h, 100)
		for _, agent := range []domain.AgentID{"", "agent_1", "agent_%"} {
			var want, got []string
			for _, r := range slices.Backward(h.events) {
				switch r.Event.(type) {
				case domain.DecisionMade, domain.DecisionConsumed, domain.BudgetCharged, domain.BudgetReleased:
					continue
				}
				if r.Account == ours && (agent == "" || r.Agent == agent) {
					stored, err := r.Append(nil)
					if err != nil {
						t.Fatal(err)
					}
					want = append(want, fmt.Sprint(r.Position.Seq, r.Agent, r.Event.Kind(), r.Actor, r.Cause, r.ID, r.At.Truncate(time.Microsecond), string(stored)))
				}
			}
			for next, first := (projections.Cursor{}), true; first || next != (projections.Cursor{}); first = false {
				page, after, err := s.Changes(t.Context(), ours, agent, 10, next)
				if err != nil {
					t.Fatal(err)
				}
				for _, c := range page {
					got = append(got, fmt.Sprint(c.Seq, c.Agent, c.Kind, c.Actor, c.Cause, c.EventID, c.At, string(c.Record)))
				}
				next = after
			}
			if !slices.Equal(got, want) {
				t.Errorf("%q: got %d changes, want %d\n%s", agent, len(got), len(want), firstDifference(strings.Join(got, "\n"), strings.Join(want, "\n")))
			}
		}
	})
}

func TestApprovalsAreAsTheyAreFolded(t *testing.T) {
	onBoth(t, func(t *testing.T, open func(testing.TB) *sqlviews.Store) {
		s, h := open(t), newHistory(33).grow(1500)
		mustProject(t, s, view(projections.ProjectionApprovals, 1), h, 41)
		passports := folded(t, h)
		states := map[domain.ApprovalState]int{}
		for _, now := range []time.Time{start.Add(30 * time.Minute), h.at.Add(-30 * time.Minute), h.at.Add(24 * time.Hour)} {
			for _, state := range []domain.ApprovalState{
				"", domain.ApprovalPending, domain.ApprovalIsApproved, domain.ApprovalIsUsed, domain.ApprovalIsDenied,
				domain.ApprovalHasExpired, domain.ApprovalIsCancelled, "odd'\x00",
			} {
				var want []*domain.Approval
				for a := range passports.Approvals(ours) {
					if state == "" || a.StateAt(now) == state {
						want = append(want, a)
					}
				}
				states[state] += len(want)
				checkApprovals(t, s, projections.ApprovalFilter{Account: ours, State: state, Now: now}, want)
			}
		}
		if len(states) != 8 || states[domain.ApprovalPending] == 0 || states[domain.ApprovalIsApproved] == 0 || states[domain.ApprovalIsUsed] == 0 {
			t.Errorf("got states %v, want some of each", states)
		}
		for a := range passports.Approvals(ours) {
			if one, err := s.Approval(t.Context(), ours, a.Agent, a.ID); err != nil || one.ApprovalID != a.ID || len(one.Votes) == 0 != (len(a.Votes) == 0) {
				t.Errorf("got %+v and error %v, want %+v", one, err, a)
			}
			for _, other := range []domain.Stream{{Account: foreign}, {Account: ours, Agent: "agent_other"}} {
				if _, err := s.Approval(t.Context(), other.Account, other.Agent, a.ID); !isNotFound(err) {
					t.Errorf("got error %v, want that %s has none", err, other)
				}
			}
		}
	})
}

func checkApprovals(t *testing.T, s *sqlviews.Store, f projections.ApprovalFilter, want []*domain.Approval) {
	t.Helper()
	var rows []projections.ApprovalRow
	for next, first := (projections.Cursor{}), true; first || next != (projections.Cursor{}); first = false {
		page, after, err := s.Approvals(t.Context(), f, 9, next)
		if err != nil {
			t.Fatal(err)
		}
		rows, next = append(rows, page...), after
	}
	if len(rows) != len(want) {
		t.Fatalf("%+v: got %d approvals, want %d", f, len(rows), len(want))
	}
	for i, a := range want {
		r := rows[i]
		got := fmt.Sprintln(
			r.ApprovalID, r.Agent, r.RequestID, r.UsedBy, r.State, r.StateAt(f.Now), r.ExpiresAt, r.OpenedAt, r.ResolvedAt, r.ResolvedBy,
			r.Comment, r.Shared, r.Reminders, r.Digest, r.MinRole, r.Quorum)
		want := fmt.Sprintln(
			a.ID, a.Agent, a.RequestID, a.UsedBy, a.Recorded(), a.StateAt(f.Now), a.ExpiresAt, a.Opened, a.Resolved, a.By,
			shown(a.Comment), a.Shared, a.Reminders, a.Gate.Digest, a.Gate.MinRole, a.Gate.Quorum)
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		first := map[domain.MemberID]bool{} // the fold keeps every vote it is told, the rows a person's first
		for _, v := range a.Votes {
			if first[v.MemberID] {
				continue
			}
			first[v.MemberID] = true
			if !slices.ContainsFunc(r.Votes, func(row projections.VoteRow) bool {
				return row.MemberID == v.MemberID && row.At.Equal(v.At) && row.Comment == shown(v.Comment) && row.Self == v.Self
			}) {
				t.Errorf("%s: got votes %+v, want %+v", a.ID, r.Votes, v)
			}
		}
		if len(r.Votes) != len(first) {
			t.Errorf("%s: got %d votes, want %d", a.ID, len(r.Votes), len(first))
		}
	}
}
