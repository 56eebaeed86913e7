package httpapi

import (
	"net/http"

	"github.com/behalf-platform/behalf/domain"
)

// startShadow runs a candidate beside the real permissions of an agent.
func startShadow(c *call) error {
	if _, err := c.caller.AsMember(domain.RoleAdmin); err != nil {
		return err
	}
	id, err := c.agentID()
	if err != nil {
		return err
	}
	view, err := c.Shadows.Start(c.r.Context(), c.caller, id, c.body)
	if err != nil {
		return err
	}
	return c.answer(http.StatusCreated, view)
}

func stopShadow(c *call) error {
	if _, err := c.caller.AsMember(domain.RoleAdmin); err != nil {
		return err
	}
	id, err := c.agentID()
	if err != nil {
		return err
	}
	view, err := c.Shadows.Stop(c.r.Context(), c.caller, id, c.optional().body)
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, view)
}

func shadow(c *call) error {
	a, err := c.found()
	if err != nil {
		return err
	}
	view, err := c.Shadows.Find(c.r.Context(), c.caller, a.ID)
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, view)
}

// shadowDifferences sends what came out otherwise, newest first.
func shadowDifferences(c *call) error {
	a, err := c.found()
	if err != nil {
		return err
	}
	query, err := c.query("limit", "cursor")
	if err != nil {
		return err
	}
	limit, err := limitOf(query)
	if err != nil {
		return err
	}
	page, err := c.Shadows.Differences(c.r.Context(), c.caller, a.ID, limit, query.Get("cursor"))
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, page)
}
