package logtest_test

import (
	"strings"
	"testing"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/infra/logtest"
)

// A check that finds nothing looks like a log that is in order, so here are
// logs that are not.
func TestCheck(t *testing.T) {
	t.Parallel()
	at := func(seq, last uint64, id domain.EventID, e domain.Event) domain.Recorded {
		return domain.Recorded{
			Record:   domain.Record{ID: id, Account: "acct_a", Agent: "agent_a", Event: e},
			Position: domain.Position{Epoch: 7, Seq: seq}, Last: last,
		}
	}
	event, decision := domain.AgentEnabled{}, domain.DecisionMade{}
	other := at(3, 0, "evt_3", event)
	other.Agent = "agent_b"
	foreign := at(3, 1, "evt_3", decision)
	foreign.Position.Epoch = 8

	for _, test := range []struct {
		name    string
		records []domain.Recorded
		want    []string // a piece of each fault
	}{
		{name: "an empty log"},
		{name: "a chain", records: []domain.Recorded{
			at(1, 0, "evt_1", event), at(2, 1, "evt_2", decision), other, at(4, 1, "evt_4", event), at(5, 4, "evt_5", decision),
		}},
		{
			name:    "a decision on an old version",
			records: []domain.Recorded{at(1, 0, "evt_1", event), at(2, 1, "evt_2", event), at(3, 1, "evt_3", decision)},
			want:    []string{"3 was appended to acct_a/agent_a at 1, which was at 2 then"},
		},
		{
			name:    "an event on a decision",
			records: []domain.Recorded{at(1, 0, "evt_1", event), at(2, 1, "evt_2", decision), at(3, 2, "evt_3", event)},
			want:    []string{"3 was appended to acct_a/agent_a at 2, which was at 1 then"},
		},
		{
			name:    "an event that is missing",
			records: []domain.Recorded{at(1, 0, "evt_1", event), at(3, 2, "evt_3", event)},
			want:    []string{"3 was appended to acct_a/agent_a at 2, which was at 1 then"},
		},
		{
			name:    "a record that is there twice, and out of order",
			records: []domain.Recorded{at(2, 0, "evt_1", decision), at(1, 0, "evt_1", decision)},
			want:    []string{"comes after", "evt_1 is at 2 and at 1"},
		},
		{
			name:    "a record of another log",
			records: []domain.Recorded{at(1, 0, "evt_1", event), foreign},
			want:    []string{"comes after"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			var got []string
			if err := logtest.Check(test.records); err != nil {
				got = strings.Split(err.Error(), "\n")
			}
			if len(got) != len(test.want) {
				t.Fatalf("got %q, want %d faults like %q", got, len(test.want), test.want)
			}
			for i, want := range test.want {
				if !strings.Contains(got[i], want) {
					t.Errorf("got %q, want it to say %q", got[i], want)
				}
			}
		})
	}
}
