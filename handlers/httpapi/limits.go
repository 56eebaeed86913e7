package httpapi

import (
	"net/http"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers"
)

func agentLimits(c *call) error {
	a, err := c.found()
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, handlers.ViewAgentLimits(a, c.Writer.Now()))
}

func limitAgent(c *call) error {
	var limits domain.Limits
	by, id, err := c.managed(&limits)
	if err != nil {
		return err
	}
	a, err := c.SetLimits(c.r.Context(), by, id, limits)
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, handlers.ViewAgentLimits(&a, c.Writer.Now()))
}

func accountLimits(c *call) error {
	view, err := c.AccountLimitsFor(c.caller)
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, view)
}

func limitAccount(c *call) error {
	by, err := c.caller.AsMember(domain.RoleAdmin)
	if err != nil {
		return err
	}
	var limits domain.Limits
	if err := handlers.DecodeGrant(c.body, &limits); err != nil {
		return err
	}
	b, err := c.SetAccountLimits(c.r.Context(), by, limits)
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, handlers.ViewAccountLimits(&b, c.Writer.Now()))
}
