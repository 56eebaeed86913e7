package natsalarm_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/infra/embedded"
	"github.com/behalf-platform/behalf/infra/natsalarm"
	"github.com/behalf-platform/behalf/infra/natslog"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must come. It is more than a
// message takes that was lost on its way to a node.
const patience = 45 * time.Second

func TestAlarms(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]func(*testing.T, *embedded.Server){
		"one rings at its time":                             ringsAtItsTime,
		"one that is past rings at once":                    ringsAtOnce,
		"a later set takes the place of an earlier one":     setTwice,
		"the same one set again rings once":                 setAgain,
		"one comes again until it is rung":                  comesAgain,
		"one that can't be read is dropped":                 dropsUnreadable,
		"none rings before its time by this node's clock":   waitsForItsClock,
		"a ring that is cut short goes to another node":     handsOver,
		"each rings on one node at a time":                  sharesNodes,
		"no more than a few ring at once":                   ringsAFew,
		"run goes on when its consumer is removed":          losesConsumer,
		"run goes on when the stream is removed":            losesStream,
		"run waits for what it rings":                       waitsForRings,
		"ids that are none are refused":                     refusesIDs,
		"times that can't be kept are refused":              refusesTimes,
		"any number of nodes open it at the same time":      opensTogether,
		"the log can still not be purged":                   leavesTheLog,
		"a stream that is not as it must be is refused":     refusesStream,
		"a configuration that makes no sense is refused":    refusesConfig,
		"neither a set nor an open goes on after its ctx":   listens,
		"a set fails when the stream is not there any more": setsNothing,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, mustStart(t, embedded.Config{Dir: t.TempDir(), Durability: embedded.OS}))
		})
	}
}

func ringsAtItsTime(t *testing.T, s *embedded.Server) {
	a := mustOpen(t, mustConnect(t, s))
	b := mustRun(t, a)
	for i := range 3 {
		want := alarm(i, time.Now().Add(time.Duration(300+i*100)*time.Millisecond))
		mustSet(t, a, want)
		b.mustRing(t, want)
		if early := time.Until(want.At); early > 0 {
			t.Errorf("it rang %s early", early)
		}
	}
	mustBeEmpty(t, s)
}

func ringsAtOnce(t *testing.T, s *embedded.Server) {
	a := mustOpen(t, mustConnect(t, s))
	b := mustRun(t, a)
	for i, at := range []time.Time{
		{},
		time.Now(), time.Now().Add(-time.Hour), time.Unix(0, 0),
		time.Date(1500, 1, 1, 0, 0, 0, 0, time.UTC), // too long ago to be counted in nanoseconds
	} {
		want := alarm(i, at)
		mustSet(t, a, want)
		b.mustRing(t, want)
	}
	mustBeEmpty(t, s)
}

func setTwice(t *testing.T, s *embedded.Server) {
	a := mustOpen(t, mustConnect(t, s))
	b := mustRun(t, a)
	at := time.Now().Add(3 * time.Second)
	var want []domain.Alarm
	for i, first := range []time.Duration{-time.Second, time.Hour, 100 * 365 * 24 * time.Hour} {
		mustSet(t, a, alarm(i, at.Add(first)))
		want = append(want, alarm(i, at.Add(time.Duration(i)*300*time.Millisecond)))
		mustSet(t, a, want[i])
	}
	if n := mustCount(t, s); n != 3 {
		t.Errorf("got %d messages, want 3", n)
	}
	for _, one := range want {
		b.mustRing(t, one)
	}
	mustBeEmpty(t, s)
	b.mustBeQuiet(t)
}

func setAgain(t *testing.T, s *embedded.Server) {
	a := mustOpen(t, mustConnect(t, s))
	want := alarm(0, time.Now().Add(time.Second))
	for range 10 {
		mustSet(t, a, want)
	}
	b := mustRun(t, a)
	b.mustRing(t, want)
	mustBeEmpty(t, s)
	b.mustBeQuiet(t)
}

func comesAgain(t *testing.T, s *embedded.Server) {
	a := mustOpen(t, mustConnect(t, s))
	tries := make(chan time.Time, 10)
	b := mustRunWith(t, a, func(_ context.Context, got domain.Alarm) error {
		if got.ApprovalID == "apr_0" {
			if tries <- time.Now(); len(tries) < 3 {
				return errors.New("not now")
			}
		}
		return nil
	})
	failing, other := alarm(0, time.Time{}), alarm(1, time.Time{})
	mustSet(t, a, failing)
	b.mustRing(t, failing)
	mustSet(t, a, other)
	b.mustRing(t, other) // it needn't wait for the one that fails
	b.mustRing(t, failing)
	b.mustRing(t, failing)
	mustBeEmpty(t, s)
	one, two, three := <-tries, <-tries, <-tries
	if two.Sub(one) < 900*time.Millisecond || three.Sub(two) < 1900*time.Millisecond {
		t.Errorf("got pauses of %s and %s, want one second and two", two.Sub(one), three.Sub(two))
	}
}

func dropsUnreadable(t *testing.T, s *embedded.Server) {
	nc := mustConnect(t, s)
	a := mustOpen(t, nc)
	js := mustJetStream(t, nc)
	for subject, data := range map[string]string{
		"behalf.alarm.ring.acct.agent.a":  "",
		"behalf.alarm.ring.acct.agent.b":  "tomorrow",
		"behalf.alarm.ring.acct.agent.c$": "2026-01-01T00:00:00Z",
		"behalf.alarm.ring.a/b.agent.d":   "2026-01-01T00:00:00Z",
	} {
		if _, err := js.Publish(t.Context(), subject, []byte(data)); err != nil {
			t.Fatal(err)
		}
	}
	b := mustRun(t, a)
	want := alarm(0, time.Time{})
	mustSet(t, a, want)
	b.mustRing(t, want)
	mustBeEmpty(t, s)
	b.mustBeQuiet(t)
}

func waitsForItsClock(t *testing.T, s *embedded.Server) {
	const behind = time.Second
	now := func() time.Time { return time.Now().Add(-behind) }
	a, err := natsalarm.Open(t.Context(), natsalarm.Config{Conn: mustConnect(t, s), Replicas: 1, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	b := mustRun(t, a)
	want := alarm(0, time.Now())
	mustSet(t, a, want)
	b.mustRing(t, want)
	if early := want.At.Sub(now()); early > 0 {
		t.Errorf("it rang %s early", early)
	}
	mustBeEmpty(t, s)
}

func handsOver(t *testing.T, s *embedded.Server) {
	one, other := mustOpen(t, mustConnect(t, s)), mustOpen(t, mustConnect(t, s))
	stuck := mustRunWith(t, one, func(ctx context.Context, _ domain.Alarm) error {
		<-ctx.Done()
		return ctx.Err()
	})
	want := alarm(0, time.Time{})
	mustSet(t, one, want)
	stuck.mustRing(t, want)
	b := mustRun(t, other)
	b.mustBeQuiet(t)
	stuck.mustStop(t)
	b.mustRing(t, want)
	mustBeEmpty(t, s)
}

func sharesNodes(t *testing.T, s *embedded.Server) {
	const alarms = 60
	var (
		mu      sync.Mutex
		ringing = map[domain.ApprovalID]bool{} // guarded by mu
		rung    = map[domain.ApprovalID]int{}  // guarded by mu
	)
	ring := func(ctx context.Context, got domain.Alarm) error {
		mu.Lock()
		if ringing[got.ApprovalID] {
			t.Errorf("%s rings on two nodes", got.ApprovalID)
		}
		ringing[got.ApprovalID] = true
		mu.Unlock()
		var err error
		select { // long enough to be cut short
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			err = ctx.Err()
		}
		mu.Lock()
		defer mu.Unlock()
		ringing[got.ApprovalID] = false
		if err == nil {
			rung[got.ApprovalID]++
		}
		return err
	}
	a := mustOpen(t, mustConnect(t, s))
	first := mustRunWith(t, a, ring)
	for i := range alarms {
		mustSet(t, a, alarm(i, time.Now().Add(time.Duration(i)*10*time.Millisecond)))
	}
	select {
	case <-first.rang:
	case <-time.After(patience):
		t.Fatal("nothing rings")
	}
	for range 2 {
		mustRunWith(t, mustOpen(t, mustConnect(t, s)), ring)
	}
	first.mustStop(t)
	mustBeEmpty(t, s)
	for i := range alarms {
		if rung[alarm(i, time.Time{}).ApprovalID] == 0 {
			t.Errorf("alarm %d did not ring", i)
		}
	}
}

func ringsAFew(t *testing.T, s *embedded.Server) {
	a := mustOpen(t, mustConnect(t, s))
	for i := range 20 {
		mustSet(t, a, alarm(i, time.Time{}))
	}
	var now, most atomic.Int64
	full, release := make(chan struct{}), make(chan struct{})
	mustRunWith(t, a, func(ctx context.Context, _ domain.Alarm) error {
		n := now.Add(1)
		defer now.Add(-1)
		if n > most.Load() {
			most.Store(n)
		}
		if n == 4 {
			select {
			case <-full:
			default:
				close(full)
			}
		}
		select {
		case <-release:
		case <-ctx.Done():
		}
		return ctx.Err()
	})
	select {
	case <-full:
	case <-time.After(patience):
		t.Fatal("only one rings at a time")
	}
	close(release)
	mustBeEmpty(t, s)
	if n := most.Load(); n != 4 {
		t.Errorf("got %d at once, want 4", n)
	}
}

func losesConsumer(t *testing.T, s *embedded.Server) {
	nc := mustConnect(t, s)
	a, js := mustOpen(t, nc), mustJetStream(t, nc)
	b := mustRun(t, a)
	for i := range 3 {
		want := alarm(i, time.Time{})
		mustSet(t, a, want)
		b.mustRing(t, want)
		mustBeEmpty(t, s)
		if err := js.DeleteConsumer(t.Context(), natsalarm.StreamName, "bell"); err != nil {
			t.Fatal(err)
		}
	}
	want := alarm(9, time.Time{})
	mustSet(t, a, want)
	b.mustRing(t, want)
	mustBeEmpty(t, s)
}

func losesStream(t *testing.T, s *embedded.Server) {
	nc := mustConnect(t, s)
	a, js := mustOpen(t, nc), mustJetStream(t, nc)
	b := mustRun(t, a)
	want := alarm(0, time.Time{})
	mustSet(t, a, want)
	b.mustRing(t, want)
	if err := js.DeleteStream(t.Context(), natsalarm.StreamName); err != nil {
		t.Fatal(err)
	}
	want = alarm(1, time.Time{})
	eventually(t, func() error { return a.Set(t.Context(), want) })
	b.mustRing(t, want)
	mustBeEmpty(t, s)
}

func waitsForRings(t *testing.T, s *embedded.Server) {
	a := mustOpen(t, mustConnect(t, s))
	var ended atomic.Bool
	b := mustRunWith(t, a, func(ctx context.Context, _ domain.Alarm) error {
		<-ctx.Done()
		<-time.After(50 * time.Millisecond)
		ended.Store(true)
		return nil
	})
	want := alarm(0, time.Time{})
	mustSet(t, a, want)
	b.mustRing(t, want)
	b.mustStop(t)
	if !ended.Load() {
		t.Error("run returned before the ring did")
	}
	mustBeEmpty(t, s) // it was rung all the same
}

func refusesIDs(t *testing.T, s *embedded.Server) {
	a := mustOpen(t, mustConnect(t, s))
	for _, id := range []string{"", "*", ">", "a.b", "a b", "a\r\nNats-Schedule: x", "ä", "$", strings.Repeat("a", 65)} {
		for _, bad := range []domain.Alarm{
			{Account: domain.AccountID(id), Agent: "a", ApprovalID: "a"},
			{Account: "a", Agent: domain.AgentID(id), ApprovalID: "a"},
			{Account: "a", Agent: "a", ApprovalID: domain.ApprovalID(id)},
		} {
			if err := a.Set(t.Context(), bad); err == nil {
				t.Errorf("set %+v: got no error", bad)
			}
		}
	}
	mustBeEmpty(t, s)
}

func refusesTimes(t *testing.T, s *embedded.Server) {
	a := mustOpen(t, mustConnect(t, s))
	for _, year := range []int{-5, 2300, 9999, 10000, 200_000} {
		if err := a.Set(t.Context(), alarm(0, time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC))); err == nil {
			t.Errorf("year %d: got no error", year)
		}
	}
	mustBeEmpty(t, s)
}

func opensTogether(t *testing.T, s *embedded.Server) {
	var wg sync.WaitGroup
	for range 10 {
		nc := mustConnect(t, s)
		wg.Go(func() {
			if _, err := natsalarm.Open(t.Context(), natsalarm.Config{Conn: nc, Replicas: 1}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func leavesTheLog(t *testing.T, s *embedded.Server) {
	nc := mustConnect(t, s)
	_, err := natslog.Open(t.Context(), natslog.Config{Conn: nc, Bulk: nc, Partitions: 1, Replicas: 1, FirstAccount: "acct_first"})
	if err != nil {
		t.Fatal(err)
	}
	a := mustOpen(t, nc)
	b := mustRun(t, a)
	mustSet(t, a, alarm(0, time.Time{}))
	b.mustRing(t, alarm(0, time.Time{}))
	log, err := mustJetStream(t, nc).Stream(t.Context(), natslog.StreamNames(1)[0])
	if err != nil {
		t.Fatal(err)
	}
	if c := log.CachedInfo().Config; !c.DenyPurge || c.AllowMsgSchedules {
		t.Errorf("got a log with %+v", c)
	}
	if err := log.Purge(t.Context()); err == nil {
		t.Error("purge the log: got no error")
	}
}

func refusesStream(t *testing.T, s *embedded.Server) {
	nc := mustConnect(t, s)
	if _, err := mustJetStream(t, nc).CreateStream(t.Context(), jetstream.StreamConfig{
		Name: natsalarm.StreamName, Subjects: []string{"behalf.alarm.>"},
	}); err != nil {
		t.Fatal(err)
	}
	_, err := natsalarm.Open(t.Context(), natsalarm.Config{Conn: nc, Replicas: 1})
	if err == nil || !strings.Contains(err.Error(), "keeps no schedules") || !strings.Contains(err.Error(), "keeps what was rung") {
		t.Errorf("got %v, want an error that says what is wrong", err)
	}
}

func refusesConfig(t *testing.T, s *embedded.Server) {
	nc := mustConnect(t, s)
	for _, c := range []natsalarm.Config{{}, {Conn: nc}, {Conn: nc, Replicas: 2}, {Replicas: 1}, {Conn: nc, Replicas: -1}} {
		if _, err := natsalarm.Open(t.Context(), c); err == nil {
			t.Errorf("open with %+v: got no error", c)
		}
	}
}

func listens(t *testing.T, s *embedded.Server) {
	nc := mustConnect(t, s)
	a := mustOpen(t, nc)
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := a.Set(ctx, alarm(0, time.Time{})); !errors.Is(err, context.Canceled) {
		t.Errorf("set: got %v, want %v", err, context.Canceled)
	}
	if _, err := natsalarm.Open(ctx, natsalarm.Config{Conn: nc, Replicas: 1}); !errors.Is(err, context.Canceled) {
		t.Errorf("open: got %v, want %v", err, context.Canceled)
	}
	if err := a.Run(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("run: got %v, want %v", err, context.Canceled)
	}
}

func setsNothing(t *testing.T, s *embedded.Server) {
	nc := mustConnect(t, s)
	a, js := mustOpen(t, nc), mustJetStream(t, nc)
	if err := js.DeleteStream(t.Context(), natsalarm.StreamName); err != nil {
		t.Fatal(err)
	}
	// Another stream that takes the subject must not take the alarm.
	eventually(t, func() error { // the server may still be removing
		_, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "OTHER", Subjects: []string{"behalf.alarm.>"}})
		return err
	})
	if err := a.Set(t.Context(), alarm(0, time.Time{})); err == nil {
		t.Error("got no error")
	}
}

// alarm is the alarm of the approval of a number. Its time is as it comes back.
func alarm(i int, at time.Time) domain.Alarm {
	return domain.Alarm{
		At: at.UTC().Round(0), Account: "acct_a", Agent: "agent_a", ApprovalID: domain.ApprovalID(fmt.Sprintf("apr_%d", i)),
	}
}

// bell is a running node.
type bell struct {
	rang chan domain.Alarm // what it began to ring
	stop context.CancelFunc
	done chan error
}

// mustRun runs a node that rings everything. It ends with the test.
func mustRun(t *testing.T, a *natsalarm.Alarms) *bell {
	t.Helper()
	return mustRunWith(t, a, func(context.Context, domain.Alarm) error { return nil })
}

func mustRunWith(t *testing.T, a *natsalarm.Alarms, ring func(context.Context, domain.Alarm) error) *bell {
	t.Helper()
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context())) // the test's ends before its clean-ups
	b := &bell{rang: make(chan domain.Alarm, 1000), stop: stop, done: make(chan error, 1)}
	go func() {
		b.done <- a.Run(ctx, func(ctx context.Context, got domain.Alarm) error {
			b.rang <- got
			return ring(ctx, got)
		})
	}()
	t.Cleanup(func() { b.mustStop(t) })
	return b
}

// mustStop stops the node and waits for it.
func (b *bell) mustStop(t *testing.T) {
	t.Helper()
	b.stop()
	select {
	case err := <-b.done:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("run: got %v, want %v", err, context.Canceled)
		}
		b.done <- err
	case <-time.After(patience):
		t.Fatal("run does not end")
	}
}

func (b *bell) mustRing(t *testing.T, want domain.Alarm) {
	t.Helper()
	select {
	case got := <-b.rang:
		if got != want {
			t.Fatalf("got %+v, want %+v", got, want)
		}
	case <-time.After(patience):
		t.Fatalf("%+v did not ring", want)
	}
}

func (b *bell) mustBeQuiet(t *testing.T) {
	t.Helper()
	select {
	case got := <-b.rang:
		t.Errorf("%+v rang", got)
	case <-time.After(300 * time.Millisecond):
	}
}

func mustStart(t *testing.T, c embedded.Config) *embedded.Server {
	t.Helper()
	s, err := embedded.Start(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { mustShutdown(t, s) })
	return s
}

func mustShutdown(t *testing.T, s *embedded.Server) {
	t.Helper()
	if err := s.Shutdown(); err != nil {
		t.Error(err)
	}
}

func mustConnect(t *testing.T, s *embedded.Server) *nats.Conn {
	t.Helper()
	nc, err := s.Connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

func mustJetStream(t *testing.T, nc *nats.Conn) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

func mustOpen(t *testing.T, nc *nats.Conn) *natsalarm.Alarms {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	a, err := natsalarm.Open(ctx, natsalarm.Config{Conn: nc, Replicas: 1})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func mustSet(t *testing.T, a *natsalarm.Alarms, alarm domain.Alarm) {
	t.Helper()
	if err := a.Set(t.Context(), alarm); err != nil {
		t.Fatal(err)
	}
}

func mustCount(t *testing.T, s *embedded.Server) uint64 {
	t.Helper()
	nc, err := s.Connect()
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	stream, err := mustJetStream(t, nc).Stream(t.Context(), natsalarm.StreamName)
	if err != nil {
		t.Fatal(err)
	}
	return stream.CachedInfo().State.Msgs
}

// mustBeEmpty waits until the stream holds nothing.
func mustBeEmpty(t *testing.T, s *embedded.Server) {
	t.Helper()
	eventually(t, func() error {
		if n := mustCount(t, s); n > 0 {
			return fmt.Errorf("got %d messages, want none", n)
		}
		return nil
	})
}

func eventually(t *testing.T, try func() error) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for {
		err := try()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal(err)
		}
	}
}
