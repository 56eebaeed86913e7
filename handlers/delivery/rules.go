package delivery

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Rules are how patient lanes are. The zero Rules are not usable; see [Usual].
type Rules struct {
	// Window is how many messages of a lane are looked at ahead of the oldest
	// that is not settled, and Parallel how many of these are on their way.
	Window, Parallel int
	// FirstPause doubles up to LongestPause while an endpoint is down.
	FirstPause, LongestPause time.Duration
	// LongestRetryAfter bounds what an endpoint may ask for.
	LongestRetryAfter time.Duration
	// Schedule is when a message that was refused is sent again, each counted
	// from the time before. After the last one it is a dead letter.
	Schedule []time.Duration
	// Parked bounds the messages that are put aside. With more than that refused,
	// the lane waits.
	Parked int
	// Strikes is after how many failures in a row an endpoint counts as down, and
	// after how many a message as the reason.
	Strikes int
	// Sample is how many messages are looked at to tell an endpoint that refuses
	// everything, which is when more than Guard of them were refused.
	Sample int
	Guard  float64
	// Warnings are after how long down it is reported, and DisableAfter when the
	// endpoint is disabled. BlockedAfter is after how many attempts in a row at
	// an address that nothing may be sent to.
	Warnings     []time.Duration
	DisableAfter time.Duration
	BlockedAfter int

	// CommitEvery and CommitAfter bound what comes again after a crash: a lane's
	// state is written when so much time has passed, or so much was settled.
	CommitEvery time.Duration
	CommitAfter int
	// Uncommitted bounds what is settled while the state can't be written.
	Uncommitted int
	// IdleEvery is how often the state of lanes with nothing to do is written.
	IdleEvery time.Duration

	// Beat is how often the owner of a partition says that it is there, and
	// Lapse how long after the last time another one takes over. An owner that
	// isn't sure of its lease stops in good time before that.
	Beat, Lapse time.Duration

	// Ring is about how many messages of a partition are kept in memory.
	Ring int
	// ReplayShare is what a replay gets of an endpoint's rate, and ReplayRate is
	// its rate where the endpoint has none.
	ReplayShare, ReplayRate float64
	// ReplaySchedule is the Schedule of replays.
	ReplaySchedule []time.Duration
}

// Usual are the rules unless somebody sets others.
func Usual() Rules {
	return Rules{
		Window: 128, Parallel: 8,
		FirstPause: time.Second, LongestPause: 5 * time.Minute,
		LongestRetryAfter: time.Hour,
		Schedule: []time.Duration{
			5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour,
			10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour,
		},
		Parked: 1000, Strikes: 5, Sample: 50, Guard: 0.2,
		Warnings:     []time.Duration{time.Hour, 24 * time.Hour, 72 * time.Hour},
		DisableAfter: 5 * 24 * time.Hour, BlockedAfter: 3,
		CommitEvery: 100 * time.Millisecond, CommitAfter: 256, Uncommitted: 512, IdleEvery: time.Minute,
		Beat: 2 * time.Second, Lapse: 8 * time.Second,
		Ring: 4096, ReplayShare: 0.2, ReplayRate: 50,
		ReplaySchedule: []time.Duration{5 * time.Second, 5 * time.Minute, 30 * time.Minute},
	}
}

// Validate says what makes no sense, all of it.
func (r Rules) Validate() error {
	var errs []error
	for _, fault := range []struct {
		is   bool
		what string
	}{
		{r.Window < 1 || r.Parallel < 1 || r.Window < r.Parallel, "the window is smaller than what is on its way"},
		{r.FirstPause <= 0 || r.LongestPause < r.FirstPause, "the pauses don't grow"},
		{r.LongestRetryAfter <= 0, "no bound for Retry-After"},
		{len(r.Schedule) == 0 || slices.Min(r.Schedule) <= 0, "no schedule for refused messages"},
		{len(r.ReplaySchedule) == 0 || slices.Min(r.ReplaySchedule) <= 0, "no schedule for refused messages of replays"},
		{r.Parked < 1 || r.Strikes < 1 || r.Sample < 1 || r.Guard <= 0 || r.BlockedAfter < 1, "a bound that is not positive"},
		{!slices.IsSorted(r.Warnings), "the warnings are not in order"},
		{r.DisableAfter <= 0, "no time after which an endpoint is disabled"},
		{r.CommitEvery <= 0 || r.CommitAfter < 1 || r.Uncommitted < r.CommitAfter || r.IdleEvery <= 0, "state would not be written"},
		{r.Beat <= 0 || r.Lapse < 3*r.Beat, "a lease must outlast three beats"},
		{r.Ring < 1, "no ring"},
		{r.ReplayShare <= 0 || r.ReplayShare > 1 || r.ReplayRate <= 0, "no rate for replays"},
	} {
		if fault.is {
			errs = append(errs, errors.New(fault.what))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("rules of delivery: %w", err)
	}
	return nil
}
