// Package hook stands before each tool call of a coding agent: it reads the call
// from the editor, asks a Behalf server about everything the call touches, and
// answers the editor in its own terms. It also writes itself into the editor's
// settings.
//
// It fails closed. The one way to let a call through is a recorded allow for
// each target of the call; whatever else happens ends with exit code 2, which
// every editor here takes for a no, and a text that says whether it was a
// denial, an approval that is awaited, or the permission layer not answering.
//
// It imports nothing of the server's: it is started for each step of an agent.
package hook

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"github.com/behalf-platform/behalf"
	"github.com/behalf-platform/behalf/cmd/behalf/access"
)

// Exit codes, as the editors read them.
const (
	exitAllowed = 0
	exitBlocked = 2
)

// mostInput bounds what is read of a call, in bytes. A file that is written is
// part of it.
const mostInput = 32 << 20

// Process is what a hook has of the outside world.
type Process struct {
	In        io.Reader
	Out, Errs io.Writer
	Getenv    func(string) string
}

// Run decides one call and returns the exit code. It returns within the time o
// gives it, even if the editor never ends its input; what then still runs ends
// with the program.
func Run(ctx context.Context, o Options, p Process) int {
	ctx, cancel := context.WithTimeout(ctx, o.Timeout+o.Wait)
	defer cancel()
	decided := make(chan verdict, 1)
	go func() {
		defer func() {
			if fault := recover(); fault != nil {
				decided <- broken(fmt.Errorf("the hook failed: %v", fault))
			}
		}()
		decided <- decide(ctx, o, p)
	}()
	select {
	case v := <-decided:
		return answer(v, o, p)
	case <-ctx.Done():
	}
	select {
	case v := <-decided: // it noticed as well, and knows more
		return answer(v, o, p)
	case <-time.After(grace):
		return answer(broken(outOfTime(ctx, o)), o, p)
	}
}

// grace is how long a decision that was interrupted may take to say so.
const grace = 100 * time.Millisecond

func outOfTime(ctx context.Context, o Options) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return errors.New("the hook was interrupted")
	}
	return fmt.Errorf("there was no whole answer within %s", o.Timeout+o.Wait)
}

// decide reads the call and asks about all that it touches.
func decide(ctx context.Context, o Options, p Process) verdict {
	call, err := readCall(o.Editor, p.In)
	if err != nil {
		return broken(err)
	}
	asks, err := call.asks()
	if err != nil {
		return broken(err)
	}
	if file := cmp.Or(o.Config, p.Getenv("BEHALF_CONFIG")); file != "" && !filepath.IsAbs(file) {
		// It would be looked for where the agent works, and might be the agent's.
		return broken(fmt.Errorf("the file with the settings, %s, is not named from the root on", file))
	}
	s, err := access.Find(access.Given{URL: o.URL, File: o.Config}, p.Getenv)
	switch {
	case err != nil:
		return broken(err)
	case s.Token == "":
		return broken(errors.New(`no agent key is set: keep one with "behalf config set token", or start the editor with BEHALF_TOKEN`))
	}
	facts := factsOf(call.Cwd, o)
	c := client{
		Client: &behalf.Client{BaseURL: s.URL, Token: s.Token, HTTPClient: &http.Client{Timeout: o.Timeout + o.Wait}},
		o:      o, from: s,
	}
	for i := range asks {
		asks[i].AgentID, asks[i].Context = o.agent(p.Getenv), facts
		asks[i].IdempotencyKey = call.key(i)
		if err := fit(&asks[i]); err != nil {
			return broken(err)
		}
	}
	return c.all(ctx, asks)
}

// client asks the server.
type client struct {
	*behalf.Client
	o    Options
	from access.Settings
}

// all asks about every target of a call. It looks first which of several need a
// person, and asks for all of these at once: a yes that was used for one of them
// is gone by the time the next one is given.
func (c client) all(ctx context.Context, asks []behalf.Ask) verdict {
	if len(asks) == 0 {
		return broken(errors.New("the call touches nothing that could be asked about"))
	}
	var no []string
	for _, ask := range asks {
		if len(asks) == 1 {
			break
		}
		look := ask
		look.IdempotencyKey = ""
		p, err := c.look(ctx, look)
		if err != nil {
			return c.failed(ctx, err)
		}
		if p.WouldBe == behalf.OutcomeAllowed {
			continue
		}
		if v := c.verify(ctx, ask); !v.allowed {
			no = append(no, v.text)
		}
	}
	if len(no) > 0 {
		return verdict{text: strings.Join(no, " ")}
	}
	for _, ask := range asks {
		if v := c.verify(ctx, ask); !v.allowed {
			return v
		}
	}
	return verdict{allowed: true}
}

// verify asks about one target, and waits for a person if it was told to.
func (c client) verify(ctx context.Context, ask behalf.Ask) verdict {
	packet, err := c.ask(ctx, ask)
	if err != nil {
		return c.failed(ctx, err)
	}
	if packet.Decision != behalf.OutcomeRequiresApproval || packet.ApprovalID == "" || c.o.Wait == 0 {
		return decided(packet)
	}
	waiting, cancel := context.WithTimeout(ctx, c.o.Wait)
	defer cancel()
	a, err := c.WaitApproval(waiting, packet.ApprovalID)
	switch {
	case err != nil && ctx.Err() == nil && waiting.Err() != nil: // nobody has answered in time
		return decided(packet)
	case err != nil:
		return c.failed(ctx, err)
	case a.State != behalf.ApprovalApproved && a.State != behalf.ApprovalUsed:
		return refused(packet, a) // not asked again: that could open another one
	}
	if ask.IdempotencyKey != "" {
		ask.IdempotencyKey += "/" + a.ApprovalID // or the answer were the first packet
	}
	if packet, err = c.ask(ctx, ask); err != nil {
		return c.failed(ctx, err)
	}
	return decided(packet)
}

// ask asks once, within the time that one answer may take.
func (c client) ask(ctx context.Context, ask behalf.Ask) (behalf.Packet, error) {
	ctx, cancel := context.WithTimeout(ctx, c.o.Timeout)
	defer cancel()
	return c.Verify(ctx, ask)
}

// failed is an error of the client's in words that help.
func (c client) failed(ctx context.Context, err error) verdict {
	refusal, isRefusal := errors.AsType[*behalf.Error](err)
	switch {
	case ctx.Err() != nil:
		return broken(outOfTime(ctx, c.o))
	case errors.Is(err, context.DeadlineExceeded):
		return broken(fmt.Errorf("no whole answer from %s within %s", c.from.URL, c.o.Timeout))
	case isRefusal && refusal.Status == http.StatusUnauthorized:
		return broken(fmt.Errorf("the server at %s doesn't take the agent key, which is from %s: %w", c.from.URL, c.from.TokenFrom, refusal))
	case isRefusal && refusal.RetryAfter > 0:
		return broken(fmt.Errorf("%w; wait %s", err, refusal.RetryAfter))
	case isRefusal && !errors.Is(err, behalf.ErrUnavailable):
		return broken(fmt.Errorf("the server refused the question as it was: %w", refusal))
	}
	return broken(err)
}

func (c client) look(ctx context.Context, ask behalf.Ask) (behalf.Preview, error) {
	ctx, cancel := context.WithTimeout(ctx, c.o.Timeout)
	defer cancel()
	return c.Preview(ctx, ask)
}
