package httpapi

import (
	"net/http"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers"
)

// outcome takes what came of an allow.
func outcome(c *call) error {
	if _, err := c.caller.AsAgent(); err != nil {
		return err
	}
	var in struct {
		Outcome domain.ActionOutcome `json:"outcome"`
		Amount  domain.Decimal       `json:"amount"`
	}
	if err := handlers.DecodeGrant(c.body, &in); err != nil {
		return err
	}
	view, err := c.SettleFor(c.r.Context(), c.caller, domain.SettleDecision{
		RequestID: domain.RequestID(c.r.PathValue("request")), Outcome: in.Outcome, Amount: in.Amount,
	})
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, view)
}

func reservations(c *call) error {
	values, err := c.query("agentId", "limit", "cursor")
	if err != nil {
		return err
	}
	limit, err := limitOf(values)
	if err != nil {
		return err
	}
	page, err := c.ReservationsFor(c.r.Context(), c.caller, handlers.ReservationQuery{
		Agent: domain.AgentID(values.Get("agentId")), Limit: limit, After: domain.RequestID(values.Get("cursor")),
	})
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, page)
}
