package behalf

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Guard verifies an ask, and calls run, once, only if it was allowed: with the
// packet that was recorded for this very ask, by this call. Whatever else comes
// of it is an error, and run is not called: [*Denied], [*ApprovalRequired] or
// [*Unavailable]. An error of run's is returned as it is.
//
// When the packet says Reserved, what came of it is reported: executed if run
// returns nil, failed, which gives back what it spent, if it returns an error,
// and nothing if the error Is [ErrOutcomeUnknown] or of a context, or if run
// panics, as nobody knows then. A report that fails is an [*Unreported].
//
// Guard asks again, a few times, with the idempotency key it makes for the call,
// only if it is open whether the server decided; so the ask may have no key of
// its own, with which two calls would run on one allow. A decision may take ten
// seconds; what waits for people, and run itself, only ctx bounds.
func (c *Client) Guard(ctx context.Context, ask Ask, run func(context.Context, Packet) error, options ...GuardOption) error {
	if run == nil {
		return &Unavailable{Err: errors.New("there is nothing to run")}
	}
	return newGuard(c, options).do(ctx, ask, func(ctx context.Context, p Packet) (ending, error) {
		err := run(ctx, p)
		return endingOf(err), err
	})
}

// GuardOption is how [Client.Guard], a [Middleware] or a [Transport] differs
// from the usual.
type GuardOption func(*guard)

// WaitForApproval waits for a person if one is required, at most so long, or
// with 0 as long as ctx and the approval last, and verifies the same again when
// they said yes. Only that decision can allow. Less than 0 doesn't wait: it is a
// time that is over.
func WaitForApproval(most time.Duration) GuardOption {
	return func(g *guard) { g.waits, g.most = most >= 0, most }
}

// ReportSpent has *amount reported as what was executed, when run has returned:
// a decimal number, at most what was allowed, or "" for all of it. It is about
// one call: a [Middleware] or [Transport] that has it blocks everything.
func ReportSpent(amount *string) GuardOption {
	return func(g *guard) { g.spent = amount }
}

// WithoutReport leaves it to the caller to report, with [Client.Outcome], what
// came of the action.
func WithoutReport() GuardOption {
	return func(g *guard) { g.silent = true }
}

// OnBlocked is told of each ask that was not allowed, and of what could not be
// reported, such as to log it. It can't change anything.
func OnBlocked(tell func(context.Context, error)) GuardOption {
	return func(g *guard) {
		if tell != nil {
			g.tell = tell
		}
	}
}

// ending is what came of an action, as far as it is known.
type ending int

const (
	unknown ending = iota
	executed
	failed
)

func endingOf(err error) ending {
	switch {
	case err == nil:
		return executed
	case errors.Is(err, ErrOutcomeUnknown), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return unknown
	}
	return failed
}

// guard is one call of Guard, or what many of a transport have in common.
type guard struct {
	client *Client
	waits  bool
	most   time.Duration
	spent  *string
	silent bool
	// shared is whether it is of many calls.
	shared bool
	tell   func(context.Context, error)
}

func newGuard(c *Client, options []GuardOption) *guard {
	g := &guard{client: c, tell: func(context.Context, error) {}}
	for _, o := range options {
		o(g)
	}
	return g
}

// do is the only way to an act: there is an allow of this call's, or an error.
func (g *guard) do(ctx context.Context, ask Ask, act func(context.Context, Packet) (ending, error)) error {
	packet, err := g.allowed(ctx, ask)
	if err != nil {
		g.tell(ctx, err)
		return err
	}
	return g.act(ctx, packet, act)
}

// allowed is the packet of an allow, or an error.
func (g *guard) allowed(ctx context.Context, ask Ask) (Packet, error) {
	if err := g.ready(&ask); err != nil {
		return Packet{}, &Unavailable{Err: err}
	}
	packet, err := g.verify(ctx, ask)
	if err != nil {
		return Packet{}, err
	}
	if g.waits && packet.Decision == OutcomeRequiresApproval && packet.ApprovalID != "" {
		if err := g.await(ctx, packet); err != nil {
			return Packet{}, err
		}
		// The answer has to be about the same agent, and a new one.
		ask.AgentID, ask.IdempotencyKey = packet.AgentID, ask.IdempotencyKey+"/"+packet.ApprovalID
		if packet, err = g.verify(ctx, ask); err != nil {
			return Packet{}, err
		}
	}
	if err := blocked(packet); err != nil {
		return Packet{}, err
	}
	return packet, nil
}

// ready says what keeps an ask from being asked, and readies it to be asked more
// than once.
func (g *guard) ready(ask *Ask) error {
	switch {
	case g.client == nil:
		return errors.New("there is no client")
	case g.client.Token == "":
		return errors.New("the client has no Token")
	case g.shared && g.spent != nil:
		return errors.New("ReportSpent is about one call, and this is for many")
	case ask.Action == "":
		return &Error{Code: invalid, Field: "/action", Message: "is required"}
	case ask.IdempotencyKey != "":
		return &Error{Code: invalid, Field: "/idempotencyKey", Message: "must be left out: each guarded call makes its own, so that no allow is used twice"}
	}
	ask.IdempotencyKey = rand.Text()
	if ask.Arguments == nil {
		return nil
	}
	arguments, err := json.Marshal(ask.Arguments)
	if err != nil {
		return &Error{Code: invalid, Field: "/arguments", Message: "can't be written as JSON: " + err.Error()}
	}
	ask.Arguments = jsontext.Value(arguments) // whatever becomes of them meanwhile
	return nil
}

// verify decides, by an error if there is no decision.
func (g *guard) verify(ctx context.Context, ask Ask) (packet Packet, err error) {
	ctx, cancel := context.WithTimeout(ctx, usualTimeout)
	defer cancel()
	err = again(ctx, func() error {
		packet, err = g.client.Verify(ctx, ask)
		return err
	})
	if err != nil {
		return Packet{}, &Unavailable{Err: err}
	}
	return packet, nil
}

// await waits for people. It returns nil if they said yes.
func (g *guard) await(ctx context.Context, packet Packet) error {
	waiting, cancel := ctx, context.CancelFunc(func() {})
	if g.most > 0 {
		waiting, cancel = context.WithTimeout(ctx, g.most)
	}
	defer cancel()
	var a Approval
	err := again(waiting, func() (err error) {
		a, err = g.client.WaitApproval(waiting, packet.ApprovalID)
		return err
	})
	switch {
	case err != nil && ctx.Err() == nil && waiting.Err() != nil:
		pending := &ApprovalRequired{Packet: packet}
		if a.ApprovalID != "" {
			pending.Approval = &a
		}
		return pending
	case err != nil:
		return &Unavailable{Err: err}
	case a.State == ApprovalApproved, a.State == ApprovalUsed: // the server says whether it can still be used
		return nil
	}
	return &Denied{Packet: packet, Approval: &a}
}

// act acts on an allow, unless it is too late, and reports what came of it.
func (g *guard) act(ctx context.Context, p Packet, act func(context.Context, Packet) (ending, error)) (err error) {
	end := unknown // what panics may have done it
	defer func() {
		if report := g.report(ctx, p, end); report != nil {
			g.tell(ctx, report)
			err = errors.Join(err, report)
		}
	}()
	if ctx.Err() != nil {
		end = failed
		err := &Unavailable{Err: fmt.Errorf("it was allowed too late, and not run: %w", ctx.Err())}
		g.tell(ctx, err)
		return err
	}
	end, err = act(ctx, p)
	return err
}

// report says what came of an allow that spent. Reporting the same again is
// harmless.
func (g *guard) report(ctx context.Context, p Packet, end ending) error {
	if !p.Reserved || g.silent || end == unknown {
		return nil
	}
	report := Report{Outcome: Failed}
	if end == executed {
		report.Outcome = Executed
		if g.spent != nil {
			report.Amount = *g.spent
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), usualTimeout) // it happened, whoever waits for it
	defer cancel()
	err := again(ctx, func() error {
		_, err := g.client.Outcome(ctx, p.RequestID, report)
		return err
	})
	if err != nil {
		return &Unreported{RequestID: p.RequestID, Report: report, Err: err}
	}
	return nil
}
