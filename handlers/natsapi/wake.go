package natsapi

import (
	"context"
	"log/slog"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers"
)

// WakeSubject is [handlers.WakeSubject], for those who let clients listen to it.
func WakeSubject(s domain.Stream) string { return handlers.WakeSubject(s) }

// Waker wakes whoever listens for changes of an approval. It is a hint, given at
// most once by each node: what has become of the approval is for the woken to
// read. Ctx is for what it logs.
func Waker(ctx context.Context, conn *nats.Conn, logs *slog.Logger) func(*domain.Approval) {
	type hint struct {
		ApprovalID domain.ApprovalID    `json:"approvalId"`
		State      domain.ApprovalState `json:"state"`
	}
	return func(a *domain.Approval) {
		body, err := json.Marshal(hint{a.ID, a.Recorded()})
		if err == nil {
			err = conn.Publish(WakeSubject(domain.Stream{Account: a.Account, Agent: a.Agent})+"."+string(a.ID), body)
		}
		if err != nil {
			logs.WarnContext(ctx, "wake who waits for an approval", slog.String("approval_id", string(a.ID)), slog.Any("error", err))
		}
	}
}
