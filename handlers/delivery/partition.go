package delivery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// partition is the lanes of a partition while this node owns them.
type partition struct {
	*Engine
	number uint16
	epoch  uint64
	ring   *ring
	chunks *chunks

	mu sync.Mutex
	// runners are the lanes that run, by the key of their state. Guarded by mu.
	runners map[string]*runner
	// expires are the endpoints that are about to lose something fleeting. Guarded by mu.
	expires map[EndpointID]bool

	// The rest is of the goroutine that tends the lanes.
	replays map[string]Replay // that were asked for, by the key of their lane
	ended   map[string]bool   // of replays
	known   map[string]Endpoint
	running sync.WaitGroup
}

func newPartition(e *Engine, number uint16, epoch uint64) *partition {
	return &partition{
		Engine: e, number: number, epoch: epoch, chunks: newChunks(e.Source, number),
		runners: map[string]*runner{}, expires: map[EndpointID]bool{}, replays: map[string]Replay{}, ended: map[string]bool{}, known: map[string]Endpoint{},
	}
}

// run runs the lanes until life ends or, in good order, until done is closed,
// which is [errEnded].
func (p *partition) run(life context.Context, done <-chan struct{}) error {
	newest, err := p.newest(life)
	if err != nil {
		return err
	}
	p.ring = newRing(newest, p.rules.Ring)
	p.Engine.mu.Lock()
	p.partitions[p.number] = p
	p.Engine.mu.Unlock()
	defer func() {
		p.Engine.mu.Lock()
		defer p.Engine.mu.Unlock()
		if p.partitions[p.number] == p {
			delete(p.partitions, p.number)
		}
	}()

	reading, stop := context.WithCancel(life)
	var readers sync.WaitGroup
	defer readers.Wait()
	defer stop()
	asked := make(chan Replay)
	lost := make(chan error, 1)
	readers.Go(func() { p.read(reading) })
	readers.Go(func() { p.watch(reading, asked) })
	readers.Go(func() { p.warn(reading) })
	return p.tend(life, done, asked, lost)
}

// newest is the newest record of the log.
func (p *partition) newest(ctx context.Context) (uint64, error) {
	var retry pause
	for {
		_, newest, err := p.Source.Bounds(ctx, p.number)
		if err == nil {
			return newest, nil
		}
		p.Logs.WarnContext(ctx, "find the end of the log", slog.Any("error", err))
		if err := retry.wait(ctx); err != nil {
			return 0, err
		}
	}
}

// read puts what comes into the ring.
func (p *partition) read(ctx context.Context) {
	var retry pause
	for {
		_, newest := p.ring.bounds()
		err := p.Source.Scan(ctx, Stretch{Partition: p.number, From: newest + 1, Live: true}, func(s Step) error {
			retry = pause{}
			p.ring.add(s)
			return nil
		})
		if retry.wait(ctx) != nil {
			return
		}
		p.Logs.WarnContext(ctx, "read the log to deliver", slog.Any("error", err))
	}
}

// watch hands on the replays that are asked for, and those that were.
func (p *partition) watch(ctx context.Context, asked chan<- Replay) {
	var retry pause
	for {
		err := p.Store.Values(ctx, fmt.Sprintf("replay.%d", p.number), true, func(key string, raw []byte, _ uint64) error {
			retry = pause{}
			var r Replay
			if raw == nil { // it was forgotten
				r.ID, r.Cancelled = key, true
			} else if err := json.Unmarshal(raw, &r); err != nil {
				p.Logs.WarnContext(ctx, "read a replay", slog.String("key", key), slog.Any("error", err))
				return nil
			}
			select {
			case asked <- r:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		if retry.wait(ctx) != nil {
			return
		}
		p.Logs.WarnContext(ctx, "watch for replays", slog.Any("error", err))
	}
}

// tend starts and ends lanes as the endpoints and replays change.
func (p *partition) tend(life context.Context, done <-chan struct{}, asked <-chan Replay, lost chan error) error {
	defer p.running.Wait()
	life, end := context.WithCancel(life) // one lane that is lost ends all, or they would be waited for
	defer end()
	sweep := time.NewTicker(p.rules.IdleEvery)
	defer sweep.Stop()
	gone := make(chan *runner)
	var again <-chan time.Time
	for look := true; ; {
		changed := p.Registry.Changed()
		if look {
			look, again = false, nil
			if err := p.sync(life, gone, lost); err != nil {
				p.Logs.WarnContext(life, "read the endpoints", slog.Any("error", err))
				again = time.After(time.Second)
			}
		}
		select {
		case <-changed:
			look = true
		case <-again:
			look = true
		case r := <-asked:
			if r.Account == "" {
				p.drop(r.ID)
				continue
			}
			p.replays[laneKey(p.number, Endpoint{Account: r.Account, ID: r.Endpoint}, r.ID)] = r
			look = true
		case r := <-gone:
			p.ended[r.key] = p.ended[r.key] || r.saved.Ended
			look = true
		case <-sweep.C:
			p.sweep(life)
		case err := <-lost:
			return err
		case <-done:
			p.end(gone)
			return errEnded
		case <-life.Done():
			return context.Cause(life)
		}
	}
}

// drop forgets a replay that was removed, by the key under which it was asked for.
func (p *partition) drop(asked string) {
	for key, r := range p.replays {
		if replayKey(p.number, r) == asked {
			delete(p.replays, key)
			delete(p.ended, key)
		}
	}
}

// sync makes the lanes that run those that should. A lane whose endpoint has
// changed ends in good order, and begins again.
func (p *partition) sync(life context.Context, gone chan<- *runner, lost chan<- error) error {
	list, err := p.Registry.Endpoints(life, p.number)
	if err != nil {
		return err
	}
	wanted := map[string]Endpoint{}
	stands := map[string]Endpoint{}
	for _, e := range list {
		key := laneKey(p.number, e, "")
		if stands[key] = e; e.Runs() {
			wanted[key] = e
		}
	}
	for key, r := range p.replays {
		if e, ok := wanted[laneKey(p.number, Endpoint{Account: r.Account, ID: r.Endpoint}, "")]; ok && !r.Cancelled && !p.ended[key] {
			wanted[key] = e
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for key, r := range p.runners {
		if e, ok := wanted[key]; !ok || e.Revision != r.endpoint.Revision {
			r.end()
		}
	}
	for key, e := range wanted {
		if p.runners[key] != nil { // one that ends is begun again when it has
			continue
		}
		var replay *Replay
		if r, is := p.replays[key]; is {
			replay = &r
		}
		p.begin(life, newRunner(p, e, replay), gone, lost)
	}
	p.forget(life, stands)
	return nil
}

// begin starts a lane. The caller holds mu.
func (p *partition) begin(life context.Context, r *runner, gone chan<- *runner, lost chan<- error) {
	p.runners[r.key] = r
	p.running.Go(func() {
		err := r.run(life)
		p.mu.Lock()
		delete(p.runners, r.key)
		p.mu.Unlock()
		close(r.done)
		if errors.Is(err, errLost) {
			select {
			case lost <- err:
			default:
			}
		}
		select {
		case gone <- r:
		case <-life.Done():
		}
	})
}

// forget removes what is kept of endpoints that were removed. The caller holds mu.
func (p *partition) forget(life context.Context, stands map[string]Endpoint) {
	for key, e := range p.known {
		if _, still := stands[key]; still {
			continue
		}
		if p.runs(key) { // it would be written again
			stands[key] = e
			continue
		}
		p.Metrics.forget(e.ID)
		if err := p.Store.Remove(life, key); err != nil {
			p.Logs.WarnContext(life, "remove the state of a lane", slog.String("lane", key), slog.Any("error", err))
		}
		for replay, r := range p.replays {
			if strings.HasPrefix(replay, key+".") {
				_ = p.Store.Remove(life, replay) // nobody looks at it any more
				_ = p.Store.Remove(life, replayKey(p.number, r))
				delete(p.replays, replay)
			}
		}
	}
	p.known = stands
}

// runs reports whether a lane or one of its replays still runs. The caller holds mu.
func (p *partition) runs(key string) bool {
	for running := range p.runners {
		if running == key || strings.HasPrefix(running, key+".") {
			return true
		}
	}
	return false
}

// end ends all lanes in good order and waits for them.
func (p *partition) end(gone <-chan *runner) {
	p.mu.Lock()
	for _, r := range p.runners {
		r.end()
	}
	p.mu.Unlock()
	ended := make(chan struct{})
	go func() {
		p.running.Wait()
		close(ended)
	}()
	for {
		select {
		case <-gone:
		case <-ended:
			return
		}
	}
}

// end tells the runner to end in good order. It can be called more than once, by
// the one who tends the lanes.
func (r *runner) end() {
	select {
	case <-r.quit:
	default:
		close(r.quit)
	}
}

// expiringPart is the oldest part of a log, 1 in so many records, where lanes are
// warned that the log removes what they have not delivered.
const expiringPart = 10

// sweep has idle lanes write how far they are, and all look whether the log will
// go on to hold what they have not delivered.
func (p *partition) sweep(life context.Context) {
	ctx, cancel := context.WithTimeout(life, p.patience())
	defer cancel()
	edge := uint64(0)
	if first, newest, err := p.Source.Bounds(ctx, p.number); err == nil && first > 1 {
		edge = first + (newest-min(newest, first))/expiringPart
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.runners {
		r.edge.Store(edge)
		r.tidy.Store(true)
		r.nudge()
	}
}
