package httpapi

import (
	"net/http"
	"net/url"
	"time"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers"
)

func approvals(c *call) error {
	values, err := c.query("state", "agentId", "permissionId", "limit", "cursor")
	if err != nil {
		return err
	}
	limit, err := limitOf(values)
	if err != nil {
		return err
	}
	page, err := c.ApprovalsFor(c.r.Context(), c.caller, handlers.ApprovalQuery{
		Agent: domain.AgentID(values.Get("agentId")), State: domain.ApprovalState(values.Get("state")),
		PermissionID: domain.PermissionID(values.Get("permissionId")),
		Limit:        limit, After: domain.ApprovalID(values.Get("cursor")),
	})
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, page)
}

func approval(c *call) error {
	values, err := c.query("wait")
	if err != nil {
		return err
	}
	wait, err := waitOf(values)
	if err != nil {
		return err
	}
	c.allow(min(wait, handlers.MostWait))
	view, err := c.ApprovalFor(c.r.Context(), c.api.stopping, c.caller, c.approvalID(), wait)
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, view)
}

func waitOf(query url.Values) (time.Duration, error) {
	text := query.Get("wait")
	if text == "" {
		return 0, nil
	}
	var wait domain.Duration
	if err := wait.UnmarshalText([]byte(text)); err != nil {
		return 0, domain.RejectField(domain.Invalid, "/wait", "%v", err)
	}
	return time.Duration(wait), nil
}

// allow gives an answer that waits as much more time to be written.
func (c *call) allow(wait time.Duration) {
	if wait > 0 {
		// Where there is no connection, there is no deadline.
		_ = http.NewResponseController(c.w).SetWriteDeadline(c.Writer.Now().Add(wait + 3*heartbeat))
	}
}

// approvalID is the approval of the path.
func (c *call) approvalID() domain.ApprovalID { return domain.ApprovalID(c.r.PathValue("approval")) }

// comment is what the caller has to say.
func (c *call) comment() (string, error) {
	var in struct {
		Comment string `json:"comment"`
	}
	err := handlers.DecodeGrant(c.optional().body, &in)
	return in.Comment, err
}

func approve(c *call) error { return c.review((*handlers.Writer).Approve) }

func deny(c *call) error { return c.review((*handlers.Writer).Deny) }

func (c *call) review(say handlers.Verdict) error {
	if _, err := c.caller.AsMember(domain.RoleApprover); err != nil {
		return err
	}
	comment, err := c.comment()
	if err != nil {
		return err
	}
	view, err := c.ReviewFor(c.r.Context(), c.caller, c.approvalID(), say, comment)
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, view)
}

// cancel takes an approval back, for a member or for the agent that asked.
func cancel(c *call) error {
	comment, err := c.comment()
	if err != nil {
		return err
	}
	view, err := c.CancelFor(c.r.Context(), c.caller, c.approvalID(), comment)
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, view)
}
