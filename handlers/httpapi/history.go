package httpapi

import (
	"net/http"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers"
)

// agentHistory sends what ever changed an agent's passport, newest first.
func agentHistory(c *call) error {
	m, err := c.caller.AsMember(domain.RoleViewer)
	if err != nil {
		return err
	}
	id, err := c.agentID()
	if err != nil {
		return err
	}
	values, err := c.query("limit", "cursor", "atLeast")
	if err != nil {
		return err
	}
	limit, err := limitOf(values)
	if err != nil {
		return err
	}
	if _, err := c.found(); err != nil {
		return err
	}
	page, next, err := c.Queries.Changes(c.r.Context(), domain.Stream{Account: m.Account, Agent: id}, limit, values.Get("cursor"), values.Get("atLeast"))
	if err != nil {
		return err
	}
	v := struct {
		Changes    []handlers.ChangeView `json:"changes"`
		NextCursor string                `json:"nextCursor,omitempty"`
	}{[]handlers.ChangeView{}, next}
	for i := range page {
		change, err := c.Queries.ViewChange(&page[i])
		if err != nil {
			return err
		}
		v.Changes = append(v.Changes, change)
	}
	return c.answer(http.StatusOK, v)
}
