package natslog

import (
	"context"
	"slices"
	"sync"
)

// queue lines up the appends of this process that have the same guard. A
// replicated stream refuses a guarded append while another one with that guard
// is in flight, even if both would be right, so those that run into each other
// would only cost one another time.
type queue struct {
	mu sync.Mutex
	// lines is guarded by mu. There is one for each guard in use.
	lines map[string]*line
}

type line struct {
	turn  chan struct{} // holds a token while one has its turn
	users int           // guarded by queue.mu
}

func newQueue() *queue { return &queue{lines: map[string]*line{}} }

// enter waits for the caller's turn. Whoever gets it must leave.
func (q *queue) enter(ctx context.Context, guard string) (leave func(), err error) {
	q.mu.Lock()
	l := q.lines[guard]
	if l == nil {
		l = &line{turn: make(chan struct{}, 1)}
		q.lines[guard] = l
	}
	l.users++
	q.mu.Unlock()

	select {
	case l.turn <- struct{}{}:
		return func() {
			<-l.turn
			q.quit(guard, l)
		}, nil
	case <-ctx.Done():
		q.quit(guard, l)
		return nil, ctx.Err()
	}
}

// enterAll waits for the caller's turn with each guard. Everyone does so in the
// same order, so that no two wait for each other.
func (q *queue) enterAll(ctx context.Context, guards []string) (leave func(), err error) {
	slices.Sort(guards)
	var entered []func()
	leave = func() {
		for _, leave := range entered {
			leave()
		}
	}
	for _, guard := range guards {
		one, err := q.enter(ctx, guard)
		if err != nil {
			leave()
			return nil, err
		}
		entered = append(entered, one)
	}
	return leave, nil
}

func (q *queue) quit(guard string, l *line) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if l.users--; l.users == 0 {
		delete(q.lines, guard)
	}
}
