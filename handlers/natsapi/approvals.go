package natsapi

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers"
)

// mostListed bounds a page, and usualListed is one that names no limit.
const mostListed, usualListed = 500, 50

// approvalAsked is the body of a request for an approval.
type approvalAsked struct {
	ApprovalID domain.ApprovalID `json:"approvalId"`
	Wait       domain.Duration   `json:"wait"`
}

// waits reports whether a request for an approval waits. One that can't be read
// doesn't: it is refused at once.
func waits(body []byte) bool {
	var in approvalAsked
	return handlers.Decode(body, &in) == nil && in.Wait > 0
}

func approval(ctx context.Context, s *Service, c handlers.Caller, body []byte) (*nats.Msg, error) {
	var in approvalAsked
	if err := handlers.Decode(body, &in); err != nil {
		return nil, err
	}
	return encoded(s.Desk.ApprovalFor(ctx, s.stopping, c, in.ApprovalID, time.Duration(in.Wait)))
}

func approvals(ctx context.Context, s *Service, c handlers.Caller, body []byte) (*nats.Msg, error) {
	in := struct {
		State  domain.ApprovalState `json:"state"`
		Limit  int                  `json:"limit"`
		Cursor domain.ApprovalID    `json:"cursor"`
	}{Limit: usualListed}
	if len(body) > 0 {
		if err := handlers.Decode(body, &in); err != nil {
			return nil, err
		}
	}
	if in.Limit < 1 || in.Limit > mostListed {
		return nil, domain.RejectField(domain.Invalid, "/limit", "must be a number from 1 to %d", mostListed)
	}
	return encoded(s.Desk.ApprovalsFor(ctx, c, handlers.ApprovalQuery{State: in.State, Limit: in.Limit, After: in.Cursor}))
}

func cancel(ctx context.Context, s *Service, c handlers.Caller, body []byte) (*nats.Msg, error) {
	var in struct {
		ApprovalID domain.ApprovalID `json:"approvalId"`
	}
	if err := handlers.DecodeGrant(body, &in); err != nil {
		return nil, err
	}
	return encoded(s.Desk.CancelFor(ctx, c, in.ApprovalID, ""))
}

func outcome(ctx context.Context, s *Service, c handlers.Caller, body []byte) (*nats.Msg, error) {
	var in struct {
		RequestID domain.RequestID     `json:"requestId"`
		Outcome   domain.ActionOutcome `json:"outcome"`
		Amount    domain.Decimal       `json:"amount"`
	}
	if err := handlers.DecodeGrant(body, &in); err != nil {
		return nil, err
	}
	return encoded(s.Desk.SettleFor(ctx, c, domain.SettleDecision{RequestID: in.RequestID, Outcome: in.Outcome, Amount: in.Amount}))
}
