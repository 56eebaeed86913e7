package httpapi

import (
	"net/http"
	"strconv"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers"
)

func permissions(c *call) error {
	a, err := c.found()
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, struct {
		PassportVersion uint64                    `json:"passportVersion"`
		Permissions     []handlers.PermissionView `json:"permissions"`
	}{a.Version, handlers.ViewPermissions(a, c.Writer.Now())})
}

func permission(c *call) error {
	a, err := c.found()
	if err != nil {
		return err
	}
	return c.answerPermission(http.StatusOK, a, c.permissionID())
}

func (c *call) permissionID() domain.PermissionID {
	return domain.PermissionID(c.r.PathValue("permission"))
}

func (c *call) answerPermission(status int, a *domain.Agent, id domain.PermissionID) error {
	p, ok := a.Permission(id)
	if !ok {
		return domain.Reject(domain.NotFound, "no permission %q", id)
	}
	c.w.Header().Set("ETag", `"`+strconv.FormatUint(p.Version, 10)+`"`)
	return c.answer(status, handlers.ViewPermission(a, p, c.Writer.Now()))
}

func grant(c *call) error {
	var terms domain.Terms
	by, agentID, err := c.managed(&terms)
	if err != nil {
		return err
	}
	a, id, err := c.Grant(c.r.Context(), by, agentID, terms)
	if err != nil {
		return err
	}
	return c.answerPermission(http.StatusCreated, &a, id)
}

func replace(c *call) error {
	var terms domain.Terms
	by, agentID, err := c.managed(&terms)
	if err != nil {
		return err
	}
	version, err := handlers.VersionOf(c.r.Header.Get("If-Match"))
	if err != nil {
		return err
	}
	a, err := c.Replace(c.r.Context(), by, agentID, c.permissionID(), terms, version)
	if err != nil {
		return err
	}
	return c.answerPermission(http.StatusOK, &a, c.permissionID())
}

func revoke(c *call) error {
	var in reasonIn
	by, agentID, err := c.optional().managed(&in)
	if err != nil {
		return err
	}
	version, err := handlers.VersionOf(c.r.Header.Get("If-Match"))
	if err != nil {
		return err
	}
	a, err := c.Revoke(c.r.Context(), by, agentID, domain.RevokePermission{
		PermissionID: c.permissionID(), Reason: in.Reason, IfVersion: version,
	})
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, struct {
		PermissionID    domain.PermissionID     `json:"permissionId"`
		Status          domain.PermissionStatus `json:"status"`
		PassportVersion uint64                  `json:"passportVersion"`
	}{c.permissionID(), domain.PermissionIsRevoked, a.Version})
}
