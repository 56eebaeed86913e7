package behalf

import (
	"errors"
	"fmt"
	"strings"
)

// Denied is a recorded no: by a decision, or by the approval it required, which
// was denied, expired or was cancelled.
type Denied struct {
	Packet Packet
	// Approval is the one that was waited for and not given, or nil.
	Approval *Approval
}

func (e *Denied) Error() string {
	if a := e.Approval; a != nil {
		return withReason(fmt.Sprintf("denied: approval %s is %s (request %s)", a.ApprovalID, a.State, e.Packet.RequestID), a.Comment)
	}
	return withReason(fmt.Sprintf("denied: %s may not %s: %s (request %s)", e.Packet.AgentID, e.Packet.Action, e.Packet.ReasonCode, e.Packet.RequestID), e.Packet.Reason)
}

// ApprovalRequired is a recorded decision that a person has to approve first,
// and nobody has so far. Asking the same again keeps waiting for the same one.
type ApprovalRequired struct {
	// Packet names the ApprovalID to wait for.
	Packet Packet
	// Approval is how it stood when it was waited for no more, or nil.
	Approval *Approval
}

func (e *ApprovalRequired) Error() string {
	return withReason(fmt.Sprintf("approval required: %s may %s once a person approves %s (request %s)",
		e.Packet.AgentID, e.Packet.Action, orUnnamed(e.Packet.ApprovalID), e.Packet.RequestID), e.Packet.Reason)
}

// Unavailable is that there is no decision to act on, which is no denial: no
// answer, one that can't be trusted, a credential or a request that the server
// didn't take, no configuration, a context that was done. It Is
// [ErrUnavailable], and wraps the cause, an [*Error] if the server refused.
type Unavailable struct {
	Err error
}

func (e *Unavailable) Error() string {
	return "unavailable, not denied: there is no decision to act on: " + e.Err.Error()
}

func (e *Unavailable) Unwrap() error { return e.Err }

// Is reports whether target is [ErrUnavailable].
func (e *Unavailable) Is(target error) bool { return target == ErrUnavailable }

// Unreported is that something was allowed, and what came of it could not be
// reported: what it spent stays spent, as [Client.Reservations] lists, until
// [Client.Outcome] is called with it. It doesn't wrap Err, which says nothing of
// whether the thing was done: look at the Report, and don't do it again.
type Unreported struct {
	RequestID string
	Report    Report
	Err       error
}

func (e *Unreported) Error() string {
	return fmt.Sprintf("request %s was allowed and %s, which could not be reported, so it stays spent: %v", e.RequestID, e.Report.Outcome, e.Err)
}

// ErrOutcomeUnknown is for executors to wrap when they can't tell whether the
// action happened: it is reported neither as executed nor as failed, and stays
// spent. A context that was done counts as that by itself.
var ErrOutcomeUnknown = errors.New("it is unknown whether the action happened")

// blocked is why a packet is no allow, nil if it is one.
func blocked(p Packet) error {
	switch {
	case p.Allowed && p.Decision == OutcomeAllowed:
		return nil
	case p.Decision == OutcomeRequiresApproval:
		return &ApprovalRequired{Packet: p}
	case p.Decision == OutcomeDenied && p.ReasonCode != unavailable:
		return &Denied{Packet: p}
	}
	return &Unavailable{Err: fmt.Errorf("%w: %s", ErrUnavailable, p.Reason)}
}

// unavailable is the reason code of what is no decision.
const unavailable = "UNAVAILABLE"

func withReason(text, reason string) string {
	if reason = strings.TrimSpace(reason); reason != "" {
		text += ": " + reason
	}
	return text
}

func orUnnamed(id string) string {
	if id == "" {
		return "it"
	}
	return id
}
