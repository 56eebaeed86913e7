package domain

import (
	"errors"
	"reflect"
	"testing"
	"time"

	_ "time/tzdata" // the same zones on every machine
)

// noon is a Monday, at noon.
var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// history records events of one stream, one after another from sequence 1. A
// decision that changes nothing has a sequence and no place in the chain: it
// stands on the newest event that does, and nothing stands on it.
func history(s Stream, events ...Event) []Recorded {
	var records []Recorded
	last := uint64(0)
	for i, e := range events {
		r := Recorded{
			Record:   Record{ID: "evt_test", At: noon.Add(-time.Hour), Account: s.Account, Agent: s.Agent, Event: e},
			Position: Position{Seq: uint64(i + 1)},
			Last:     last,
		}
		if r.Moves() {
			last = r.Position.Seq
		}
		records = append(records, r)
	}
	return records
}

var ollie = Stream{Account: "acct_home", Agent: "agent_ollie"}

func givenAgent(events ...Event) Agent {
	var a Agent
	for _, r := range history(ollie, events...) {
		a = a.Evolve(r)
	}
	return a
}

func givenAccount(events ...Event) Account {
	var a Account
	for _, r := range history(Stream{Account: "acct_home"}, events...) {
		a = a.Evolve(r)
	}
	return a
}

// wantEvents compares what a verb returned with what was expected: events, or
// a rejection with a code and the field it points to.
func wantEvents(t *testing.T, got []Event, err error, want []Event, code Code, field string) {
	t.Helper()
	if code != "" {
		rule, ok := errors.AsType[*RuleError](err)
		if !ok || rule.Code != code || rule.Field != field {
			t.Errorf("got %v, %v, want %s at %q", got, err, code, field)
		}
		if len(got) > 0 {
			t.Errorf("got events %v beside a rejection, want none", got)
		}
		return
	}
	if err != nil {
		t.Fatalf("got %v, want none", err)
	}
	if len(got)+len(want) > 0 && !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
