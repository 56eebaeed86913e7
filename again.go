package behalf

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"time"

	"github.com/nats-io/nats.go"
)

// certain is what ended a request such that its outcome is no question: asking
// again would be of no use.
type certain struct{ error }

func (c *certain) Unwrap() error { return c.error }

// mostTries bounds how often the same is asked, and askPause is about how long
// it takes until the second time; the third takes longer. A server that wants a
// pause of more than mostPause is not asked again.
const (
	mostTries = 3
	askPause  = 50 * time.Millisecond
	mostPause = time.Minute
)

// again asks the same until there is an answer, but only after errors that leave
// it open whether the server did what it was asked.
func again(ctx context.Context, ask func() error) error {
	for try, pause := 1, askPause; ; try++ {
		err := ask()
		if err == nil || try == mostTries || !open(err) {
			return err
		}
		wait := pause/2 + rand.N(pause)
		if refused, ok := errors.AsType[*Error](err); ok {
			wait = max(wait, refused.RetryAfter)
		}
		if deadline, ok := ctx.Deadline(); wait > mostPause || ok && time.Until(deadline) < wait {
			return err
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return err
		}
		pause *= 3
	}
}

// open reports whether it is not known if the server did what it was asked.
func open(err error) bool {
	if refused, ok := errors.AsType[*Error](err); ok {
		return refused.Status >= 500
	}
	_, known := errors.AsType[*certain](err)
	return !known && !unsent(err) && errors.Is(err, ErrUnavailable)
}

// unsent reports whether a request surely never left.
func unsent(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "dial" || errors.Is(err, nats.ErrReconnectBufExceeded)
}
