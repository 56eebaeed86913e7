package sqlviews_test

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/behalf-platform/behalf/handlers"
	"github.com/behalf-platform/behalf/infra/natslog"
	"github.com/behalf-platform/behalf/infra/sqlviews"
	"github.com/behalf-platform/behalf/projections"
)

// projectorLog and projectorURL tell a process of this test which log to
// project, and where to, until it is killed.
const (
	projectorLog = "BEHALF_TEST_PROJECTOR_LOG"
	projectorURL = "BEHALF_TEST_PROJECTOR_URL"
)

// TestProjectorProcess is not a test: it is the process that the next one kills.
func TestProjectorProcess(t *testing.T) {
	url := os.Getenv(projectorLog)
	if url == "" {
		t.Skip("it is run by another test")
	}
	conn, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	log, err := natslog.Open(t.Context(), natslog.Config{Conn: conn, Bulk: conn, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	p := &handlers.Projector{
		Log: log, Store: mustOpen(t, os.Getenv(projectorURL)), Logs: slog.New(slog.NewTextHandler(os.Stderr, nil)),
		Linger: time.Millisecond, MostEvents: 40, Every: 20 * time.Millisecond, // many batches, so that there is much to kill
	}
	if err := p.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// kills is how often the projector is killed on each kind of store. In the
// first ones there is one view; later another is always made beside it.
// For each so many events are recorded, so that a slow machine isn't left with
// more to do than a fast one.
const kills, killsAlone, eventsEach = 20, 6, 120

func TestAKilledProjectorLeavesTheRowsOfACleanOne(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"sqlite", "postgres"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			url := mustURL(t, kind)
			k := &killing{t: t, log: mustLog(t, newHistory(31)), store: mustOpen(t, url), url: url}
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			k.run(ctx)
			k.compare()
			t.Logf("killed %d times, %d of them before the end of the log, %d while a view was made; %d decisions, %d views; asked %d times",
				kills, k.midway, k.making, len(k.log.decisions), k.views, k.asked)
			if k.midway < kills/4 || k.making < 3 || k.views <= len(projections.Projections()) {
				t.Error("it was killed where there was nothing to be done")
			}
		})
	}
}

// run has the projector killed while decisions are recorded and asked for, and
// then lets it go on to the end.
func (k *killing) run(ctx context.Context) {
	k.t.Helper()
	asking, stop := context.WithCancel(ctx)
	var parts sync.WaitGroup
	defer parts.Wait()
	defer stop()
	k.wanted.Store(2 * eventsEach)
	parts.Go(func() { k.record(asking) })
	k.spawn()
	k.until(ctx, "every projection has begun", func() bool {
		list := k.status(ctx)
		return len(list) == len(projections.Projections()) && !slices.ContainsFunc(list, func(c projections.Checkpoint) bool { return c.Seq == 0 })
	})
	parts.Go(func() { k.ask(asking) })
	for i := range kills {
		k.kill(ctx, i >= killsAlone)
	}
	stop()
	parts.Wait()
	k.spawn()
	k.until(ctx, "the projector is done", func() bool { return k.done(ctx) })
}

// killing is a projector that is killed again and again, and what happened.
type killing struct {
	t     *testing.T
	log   *liveLog
	store *sqlviews.Store
	url   string

	child *exec.Cmd
	// wanted is how many events are to be recorded by now.
	wanted         atomic.Int64
	midway, making int
	views, asked   int
}

// spawn starts a projector in a process of its own, unless one runs.
func (k *killing) spawn() {
	k.t.Helper()
	if k.child != nil {
		return
	}
	k.child = exec.CommandContext(k.t.Context(), os.Args[0], "-test.run=^TestProjectorProcess$", "-test.count=1")
	k.child.Env = append(os.Environ(), projectorLog+"="+k.log.url, projectorURL+"="+k.url)
	k.child.Stderr = k.t.Output()
	if err := k.child.Start(); err != nil {
		k.t.Fatal(err)
	}
	k.t.Cleanup(k.end)
}

// end kills the process that runs, if one does.
func (k *killing) end() {
	if k.child == nil {
		return
	}
	_ = k.child.Process.Kill() // if it has ended, Wait says so
	if err := k.child.Wait(); err == nil {
		k.t.Error("the projector ended before it was killed")
	}
	k.child = nil
}

// record records decisions, and what else happens, in bursts until ctx ends.
func (k *killing) record(ctx context.Context) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for ctx.Err() == nil {
		if int64(len(k.log.history.events)) < k.wanted.Load() {
			if err := k.log.grow(context.WithoutCancel(ctx), 8); err != nil {
				k.t.Error(err)
				return
			}
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

// ask reads all the time. Whatever it is answered by has to be what the log
// held once: all decisions up to one, and each once.
func (k *killing) ask(ctx context.Context) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	least, used := 0, int64(0)
	for ; ctx.Err() == nil; k.asked++ {
		before, err1 := k.total()
		seqs, err2 := k.decisions()
		after, err3 := k.total()
		usage, _, err4 := k.store.Usage(k.t.Context(), projections.UsageFilter{Account: ours}, 10_000, projections.UsageCursor{})
		most := k.log.begun()
		if err := errors.Join(err1, err2, err3, err4); err != nil {
			k.t.Errorf("got error %v, want an answer whoever was killed", err)
			return
		}
		if n := len(seqs); before < least || n < before || after < n || most < after {
			k.t.Errorf("got %d decisions in total, then %d in rows, then %d in total, after %d and of %d: want them to grow, and no more than there are", before, n, after, least, most)
			return
		}
		if n := len(seqs); n > 0 {
			if want := k.log.through(seqs[n-1]); !slices.Equal(seqs, want) {
				k.t.Errorf("got %d decisions up to event %d, want the %d that the log has up to it, each once", n, seqs[n-1], len(want))
				return
			}
		}
		n := int64(0)
		for _, u := range usage {
			n += u.Count
		}
		if n < used || n > int64(most) {
			k.t.Errorf("got %d decisions used, after %d and of %d", n, used, most)
			return
		}
		least, used = after, n
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

func (k *killing) total() (n int, err error) {
	totals, err := k.store.Totals(k.t.Context(), projections.DecisionFilter{Account: ours})
	for _, t := range totals {
		n += int(t.Count)
	}
	return n, err
}

// decisions is the sequences of the decisions there are, oldest first.
func (k *killing) decisions() (seqs []uint64, err error) {
	err = k.store.EachDecision(k.t.Context(), projections.DecisionFilter{Account: ours}, func(d projections.DecisionRow) error {
		seqs = append(seqs, d.Seq)
		return nil
	})
	slices.Reverse(seqs)
	return seqs, err
}

// kill has a projector work for a while and kills it.
func (k *killing) kill(ctx context.Context, rebuild bool) {
	k.t.Helper()
	k.spawn()
	if rebuild {
		for _, p := range projections.Projections() {
			if _, err := handlers.Rebuild(ctx, k.log, k.store, p); err != nil {
				k.t.Fatal(err)
			}
		}
	}
	aim := k.aim(ctx, rebuild)
	k.wanted.Add(eventsEach)
	k.until(ctx, "the projector goes on", func() bool {
		return !slices.ContainsFunc(k.status(ctx), func(c projections.Checkpoint) bool { return c.View == aim.View && c.Seq == aim.Seq })
	})
	select {
	case <-time.After(rand.N(50 * time.Millisecond)):
	case <-ctx.Done():
	}
	k.end()
	status, err := k.log.Status(ctx, 0)
	if err != nil {
		k.t.Fatal(err)
	}
	midway, making := false, false
	for _, c := range k.status(ctx) {
		midway, making = midway || c.Seq < status.Head, making || !c.Serving && c.Seq > 0
	}
	if midway {
		k.midway++
	}
	if making {
		k.making++
	}
}

func (k *killing) status(ctx context.Context) []projections.Checkpoint {
	k.t.Helper()
	list, err := k.store.Status(ctx)
	if err != nil {
		k.t.Fatal(err)
	}
	for _, c := range list {
		if c.StoppedAt != 0 {
			k.t.Fatalf("%s stopped at event %d: %s", c.View, c.StoppedAt, c.Reason)
		}
	}
	return list
}

// aim is a view, one that is being made if there should be one, and where it is.
// To wait for any of them would always be to wait for the quickest.
func (k *killing) aim(ctx context.Context, made bool) projections.Checkpoint {
	k.t.Helper()
	list := k.status(ctx)
	some := slices.DeleteFunc(slices.Clone(list), func(c projections.Checkpoint) bool { return c.Serving == made })
	if len(some) == 0 { // all are made already
		some = list
	}
	return some[rand.IntN(len(some))]
}

// done reports whether all of the log is in the rows, and nothing is being made.
func (k *killing) done(ctx context.Context) bool {
	k.t.Helper()
	list := k.status(ctx)
	status, err := k.log.Status(ctx, 0)
	if err != nil {
		k.t.Fatal(err)
	}
	for _, c := range list {
		if c.Seq < status.Head || !c.Serving {
			return false
		}
	}
	return len(list) == len(projections.Projections())
}

// until waits for what the process does.
func (k *killing) until(ctx context.Context, what string, met func() bool) {
	k.t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !met() {
		select {
		case <-ctx.Done():
			k.t.Fatalf("%s: %v", what, context.Cause(ctx))
		case <-tick.C:
		}
	}
}

// compare compares the rows with those of a store that was filled in one go.
func (k *killing) compare() {
	k.t.Helper()
	clean := mustOpen(k.t, mustURL(k.t, "sqlite"))
	k.log.mustFill(k.t, clean, k.log.mustScan(k.t))
	for _, p := range projections.Projections() {
		serving := mustServe(k.t, k.store, p)
		k.views += serving.Version
		if got, want := mustDump(k.t, k.store, serving), mustDump(k.t, clean, view(p, 1)); got != want {
			k.t.Errorf("%s: got other rows than those of a clean rebuild\n%s", serving, firstDifference(got, want))
		}
	}
}
