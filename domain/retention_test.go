package domain

import (
	"testing"
	"time"
)

func TestWhatIsKeptGoesByWhatWasSetThen(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	at := func(days int) time.Time {
		return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(days) * day)
	}
	type term struct{ since, keep int } // in days
	for _, tt := range []struct {
		name  string
		terms []term
		now   int
		start time.Time
		keep  time.Duration
	}{
		{name: "nothing was ever set", now: 100},
		{name: "it is set", terms: []term{{10, 30}}, now: 100, start: at(70), keep: 30*day + RetentionMargin},
		{name: "it goes for what was made before it, too", terms: []term{{10, 30}}, now: 20, start: at(-10), keep: 30*day + RetentionMargin},
		{name: "it is made shorter", terms: []term{{10, 30}, {50, 7}}, now: 51, start: at(44), keep: 7*day + RetentionMargin},
		{name: "it is made longer, and what was made before keeps its time", terms: []term{{10, 7}, {50, 30}}, now: 55, start: at(48), keep: 30*day + RetentionMargin},
		{name: "it was made longer, and what was made before is gone", terms: []term{{10, 7}, {50, 30}}, now: 60, start: at(50).Add(RetentionMargin), keep: 30*day + RetentionMargin},
		{name: "it was made longer long ago", terms: []term{{10, 7}, {50, 30}}, now: 100, start: at(70), keep: 30*day + RetentionMargin},
		{name: "it was set for a moment, in which nothing has gone", terms: []term{{10, 7}, {11, 0}}, now: 16},
		{name: "it is for ever again, and what was made before goes", terms: []term{{10, 7}, {50, 0}}, now: 52, start: at(45)},
		{name: "it has been for ever for long", terms: []term{{10, 7}, {50, 0}}, now: 100, start: at(50).Add(RetentionMargin)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a := Account{}
			for i, set := range tt.terms {
				a = a.Evolve(Recorded{
					Record:   Record{At: at(set.since), Account: "acct_a", Event: AccountSettingsChanged{DecisionRetention: Duration(time.Duration(set.keep) * day)}},
					Position: Position{Seq: uint64(i + 1)},
				})
			}
			if got := a.Retention.Start(at(tt.now)); !got.Equal(tt.start) {
				t.Errorf("kept from %s, want %s", got, tt.start)
			}
			if got := a.Retention.Keep(); got != tt.keep {
				t.Errorf("the log keeps for %s, want %s", got, tt.keep)
			}
		})
	}
}
