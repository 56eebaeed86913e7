package httpapi

import (
	"net/http"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers"
	"github.com/behalf-platform/behalf/projections"
)

// projectionList sends how far each read model is. It is about the whole
// server, so it is for those who run things.
func projectionList(c *call) error {
	if _, err := c.caller.AsMember(domain.RoleAdmin); err != nil {
		return err
	}
	list, err := c.Queries.Projections(c.r.Context())
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, struct {
		Projections []handlers.ProjectionView `json:"projections"`
	}{list})
}

// rebuildProjection has a read model made again.
func rebuildProjection(c *call) error {
	if _, err := c.caller.AsMember(domain.RoleAdmin); err != nil {
		return err
	}
	name := projections.Projection(c.r.PathValue("projection"))
	if !name.Valid() {
		return domain.Reject(domain.NotFound, "no such projection; there are decisions, passports, approvals and usage")
	}
	if err := handlers.DecodeGrant(c.optional().body, &struct{}{}); err != nil {
		return err
	}
	view, err := c.Queries.Rebuild(c.r.Context(), name)
	if err != nil {
		return err
	}
	return c.answer(http.StatusAccepted, view)
}
