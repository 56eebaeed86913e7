package projections

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/behalf-platform/behalf/domain"
)

// keeping is a log in which decisions are kept for a day from its third record
// on:
//
//	1 registered  2 granted  3 kept for a day  4 allowed  5 denied  6 disabled
//	7 denied  8 enabled  9 allowed  10 kept for a week  11 allowed  12 revoked
//	13 denied  14 denied
func keeping() []domain.Recorded {
	w := newWriter()
	keep := func(d time.Duration) {
		w.add("", "member:mem_owner", domain.AccountSettingsChanged{Name: "Home", Currency: "USD", DecisionRetention: domain.Duration(d)})
	}
	decide := func(amount domain.Decimal) {
		w.decide(ollie.Agent, amount)
		w.records[len(w.records)-1].Keep = w.account.Retention.Keep()
		w.now = w.now.Add(time.Minute)
	}
	w.event(domain.AgentRegistered{Name: "Ollie", Type: domain.Native, Key: "hash"})
	w.event(domain.PermissionGranted{PermissionID: "perm_buy", Terms: domain.Terms{Action: "purchase", MaxAmount: "500.00", Currency: "USD"}})
	keep(day)
	decide("120")
	decide("700")
	w.event(domain.AgentDisabled{})
	decide("120")
	w.event(domain.AgentEnabled{})
	decide("120")
	w.now = w.now.Add(time.Hour)
	keep(7 * day)
	decide("120")
	w.event(domain.PermissionRevoked{PermissionID: "perm_buy"})
	decide("120")
	decide("120")
	return w.records
}

const day = 24 * time.Hour

func TestOnlyWhatHasExpiredMayBeMissing(t *testing.T) {
	t.Parallel()
	const head = 14
	aDay, aWeek := noon.Add(day+10*time.Minute), noon.Add(8*day)
	for _, tt := range []struct {
		name     string
		missing  []uint64
		now      time.Time // none if zero
		marks    []Mark
		at       uint64 // where the promise is broken, 0 if it isn't
		promise  string
		unproven []Hole
	}{
		{name: "nothing", now: aWeek},
		{name: "a decision whose time is over", missing: []uint64{4}, now: aDay},
		{name: "all whose time is over", missing: []uint64{4, 5, 7, 9}, now: aDay, unproven: []Hole{{9, 9}}},
		{name: "all there were", missing: []uint64{4, 5, 7, 9, 11, 13, 14}, now: aWeek, unproven: []Hole{{13, 14}}},
		{name: "the newest", missing: []uint64{13, 14}, now: aWeek, unproven: []Hole{{13, 14}}},

		{name: "all whose time is over, and a mark says so", missing: []uint64{4, 5, 7, 9}, now: aDay, marks: []Mark{{9, noon.Add(4 * time.Minute)}}},
		{name: "the newest, and a mark says that they are too young", missing: []uint64{13, 14}, now: noon.Add(8*day + time.Hour), marks: []Mark{{12, noon.Add(3 * day)}}, at: 13, promise: promiseWhole},
		{name: "the newest, and a mark says that one is too young", missing: []uint64{13, 14}, now: noon.Add(8*day + time.Hour), marks: []Mark{{13, noon.Add(3 * day)}}, at: 14, promise: promiseWhole},

		{name: "a decision, and no clock says that its time is over", missing: []uint64{4}, at: 4, promise: promiseWhole},
		{name: "a decision whose time isn't over", missing: []uint64{4}, now: noon.Add(day), at: 4, promise: promiseWhole},
		{name: "one of a later setting whose time isn't over", missing: []uint64{11}, now: aDay, at: 11, promise: promiseWhole},
		{name: "the newest before its time", missing: []uint64{14}, now: aDay, at: 14, promise: promiseWhole},
		{name: "what was recorded before anything could expire", missing: []uint64{1}, now: aWeek, at: 1, promise: promiseWhole},
		{name: "a permission", missing: []uint64{2}, now: aWeek, at: 2, promise: promiseWhole},
		{name: "what says that decisions expire", missing: []uint64{3, 4}, now: aWeek, at: 3, promise: promiseWhole},
		{name: "a disablement among decisions that have expired", missing: []uint64{4, 5, 6, 7}, now: aWeek, at: 8, promise: promiseFence},
		{name: "a disablement and what follows, up to a decision", missing: []uint64{6, 7, 8}, now: aWeek, at: 9, promise: promiseFence},
		{name: "a revocation and a decision, up to a decision", missing: []uint64{12, 13}, now: aWeek, at: 14, promise: promiseFence},
		{name: "a setting among decisions that have expired", missing: []uint64{9, 10}, now: aWeek, at: 11, promise: promiseKept},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a := Audit{MostSkew: time.Second, Marks: tt.marks}
			if !tt.now.IsZero() {
				a.Clock = func() time.Time { return tt.now }
			}
			err := func() error {
				for _, r := range keeping() {
					if slices.Contains(tt.missing, r.Position.Seq) {
						continue
					}
					if err := a.Check(r, nil); err != nil {
						return err
					}
				}
				return a.End(head)
			}()
			wantFault(t, err, tt.at, tt.promise)
			if err == nil && a.Expired != uint64(len(tt.missing)) {
				t.Errorf("%d have expired, want %d", a.Expired, len(tt.missing))
			}
			if err == nil && !slices.Equal(a.Holes, tt.unproven) {
				t.Errorf("not proven to have expired are %v, want %v", a.Holes, tt.unproven)
			}
		})
	}
}

func TestNothingIsLetGoBeforeItsTime(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		seq     uint64
		keep    time.Duration
		promise string
	}{
		{name: "a decision that is kept for ever all the same", seq: 4},
		{name: "a decision that is kept for less", seq: 4, keep: time.Hour, promise: promiseKept},
		{name: "a decision that is kept for what is set later", seq: 4, keep: 7*day + domain.RetentionMargin, promise: promiseKept},
		{name: "a decision that is kept for what was set long before", seq: 14, keep: day + domain.RetentionMargin, promise: promiseKept},
		{name: "a decision that is kept for what was set a moment ago", seq: 11, keep: day + domain.RetentionMargin},
		{name: "a permission that goes", seq: 2, keep: day + domain.RetentionMargin, promise: promiseKept},
		{name: "a revocation that goes", seq: 12, keep: 7*day + domain.RetentionMargin, promise: promiseKept},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			records := keeping()
			records[tt.seq-1].Keep = tt.keep
			_, err := check(records)
			at := tt.seq
			if tt.promise == "" {
				at = 0
			}
			wantFault(t, err, at, tt.promise)
		})
	}
}

func TestAWholePartitionCanNotBeMissing(t *testing.T) {
	t.Parallel()
	a := Audit{Clock: func() time.Time { return noon }}
	if err := a.End(0); err != nil {
		t.Errorf("an empty partition: got %v, want none", err)
	}
	wantFault(t, a.End(3), 1, promiseWhole)
}

func wantFault(t *testing.T, err error, at uint64, promise string) {
	t.Helper()
	if at == 0 {
		if err != nil {
			t.Errorf("got %v, want none", err)
		}
		return
	}
	if fault, ok := errors.AsType[*AuditFault](err); !ok || fault.Seq != at || fault.Promise != promise {
		t.Errorf("got %v, want %q broken at %d", err, promise, at)
	}
}
