package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/behalf-platform/behalf"
)

// waitFlag is whether to wait for a person, and how long at most; 0 is as long
// as the approval does.
type waitFlag struct {
	set  bool
	most time.Duration
}

// withoutLimit is what --wait alone stands for.
const withoutLimit = "unlimited"

func (w *waitFlag) flag(f *pflag.FlagSet) {
	f.Var(w, "wait", "if it requires approval, wait until a person has answered, or with =DURATION at most so long, such as --wait=10m")
	f.Lookup("wait").NoOptDefVal = withoutLimit
}

func (w *waitFlag) String() string { return "" }

// Type names what the flag takes.
func (w *waitFlag) Type() string { return "duration" }

// Set reads the flag.
func (w *waitFlag) Set(text string) error {
	w.set, w.most = true, 0
	if text == withoutLimit {
		return nil
	}
	d, err := duration(text)
	if err != nil || d <= 0 {
		return fmt.Errorf("write how long to wait, such as --wait=90s, --wait=10m or --wait=12h, or --wait alone for as long as it takes")
	}
	w.most = d
	return nil
}

const (
	// mostKey is the longest idempotency key a server takes, in bytes.
	mostKey = 255
	// mostApprovalID is more than the id of an approval is long.
	mostApprovalID = 31
)

// check refuses what could not be asked again once a person has said yes.
func (w *waitFlag) check(ask behalf.Ask) error {
	if most := mostKey - mostApprovalID - 1; w.set && len(ask.IdempotencyKey) > most {
		return usagef("--idempotency-key is %d bytes long; with --wait at most %d are taken, since what is asked again gets /APPROVAL behind it", len(ask.IdempotencyKey), most)
	}
	return nil
}

// awaited waits for a person's answer to what a packet says requires one, and
// ends with the decision that follows from it, which it shows. Without an error
// the packet is an allow.
func (r *remote) awaited(ctx context.Context, ask behalf.Ask, first behalf.Packet, most time.Duration) (behalf.Packet, error) {
	asked := r.wire.said.String()
	a, err := r.await(ctx, first.ApprovalID, most)
	switch {
	case ctx.Err() != nil:
		return first, fmt.Errorf("wait for approval %s: %w", first.ApprovalID, ctx.Err())
	case err != nil:
		return first, err
	}
	switch a.State {
	case behalf.ApprovalPending:
		r.tell("Nobody has answered within %s. Approval %s stays open until %s; the same command keeps waiting.", most, a.ApprovalID, stamp(a.ExpiresAt))
		r.wire.said.Reset()
		_, _ = r.wire.said.WriteString(asked) // what is shown is the packet, not the approval
		if err := r.show(func(t *table) { showPacket(t, first) }); err != nil {
			return first, err
		}
		return first, exitCode(exitNeedsApproval)
	case behalf.ApprovalApproved, behalf.ApprovalUsed:
		// A yes that another run used answers this one as the server sees fit: with
		// the same idempotency key by the same packet, or else by a denial.
		if ask.IdempotencyKey != "" {
			ask.IdempotencyKey += "/" + a.ApprovalID
		}
		r.tell("Approval %s is %s; asking again.", a.ApprovalID, string(a.State))
		packet, err := r.verify(ctx, ask)
		if err != nil {
			return packet, err
		}
		if err := r.show(func(t *table) { showPacket(t, packet) }); err != nil {
			return packet, err
		}
		return packet, verdict(packet)
	case behalf.ApprovalDenied, behalf.ApprovalExpired, behalf.ApprovalCancelled:
	}
	// Not asked again: that could open another approval.
	if err := r.show(func(t *table) { showRefusal(t, first, a) }); err != nil {
		return first, err
	}
	return first, exitCode(exitDenied)
}

// await says whom it waits for, and waits. A pending approval is not an error:
// the time is over.
func (r *remote) await(ctx context.Context, id string, most time.Duration) (behalf.Approval, error) {
	one, cancel := r.once(ctx)
	a, err := r.Approval(one, id)
	cancel()
	if err != nil || a.State != behalf.ApprovalPending {
		return a, err
	}
	r.tell("Waiting for approval %s: it needs %s, until %s. A reviewer answers with: behalf approvals approve %s", id, needs(a), stamp(a.ExpiresAt), id)
	if most > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(ctx, most)
		defer stop()
	}
	answered, err := r.WaitApproval(ctx, id)
	switch {
	case err == nil:
		return answered, nil
	case ctx.Err() != nil:
		return a, nil // as it was; the caller knows whether it was interrupted
	case errors.Is(err, context.DeadlineExceeded): // not by --timeout, which it would be taken for
		return behalf.Approval{}, fmt.Errorf("wait for approval %s: %w: the server at %s stopped answering; the same command keeps waiting", id, behalf.ErrUnavailable, r.BaseURL)
	}
	return behalf.Approval{}, err
}

// tell tells a person what goes on while a command waits, for a program's
// commands too.
func (r *remote) tell(format string, args ...any) {
	for i, arg := range args {
		if text, ok := arg.(string); ok {
			args[i] = visible(text)
		}
	}
	_, _ = fmt.Fprintf(r.shell.errs, format+"\n", args...) // it is not worth failing for
}

// showRefusal shows what became of an approval that was not given.
func showRefusal(t *table, p behalf.Packet, a behalf.Approval) {
	text := "DENIED: approval " + a.ApprovalID + " is " + string(a.State)
	if a.Comment != "" {
		text += ": " + a.Comment
	}
	t.row(text)
	t.gap()
	t.field("Request", p.RequestID)
	t.field("Agent", p.AgentID)
	t.asked(p.Action, p.Vendor, p.Resource, p.Amount, p.Currency)
	t.field("Permission", p.PermissionID)
	t.field("Approval", strings.TrimSpace(a.ApprovalID+" "+string(a.State)))
	t.field("Resolved", stamp(a.ResolvedAt))
}
