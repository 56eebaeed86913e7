package httpapi

import (
	"net/http"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers"
)

func account(c *call) error {
	m, err := c.caller.AsMember(domain.RoleViewer)
	if err != nil {
		return err
	}
	a, err := c.Identifier.Passports.Account(m.Account)
	if err != nil {
		return handlers.Unreadable(err)
	}
	return c.answer(http.StatusOK, handlers.ViewAccount(a))
}

func changeAccount(c *call) error {
	by, err := c.caller.AsMember(domain.RoleAdmin)
	if err != nil {
		return err
	}
	var in struct {
		Name            *string                `json:"name"`
		DefaultCurrency *domain.Currency       `json:"defaultCurrency"`
		TimeZone        *string                `json:"timeZone"`
		Approvals       domain.ChangeApprovals `json:"approvals"`
		// 0s is for ever.
		DecisionRetention *domain.Duration `json:"decisionRetention"`
	}
	if err := handlers.DecodeGrant(c.body, &in); err != nil {
		return err
	}
	a, err := c.ChangeSettings(c.r.Context(), by, domain.ChangeSettings{
		Name: in.Name, Currency: in.DefaultCurrency, TimeZone: in.TimeZone, Approvals: in.Approvals,
		DecisionRetention: in.DecisionRetention,
	})
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, handlers.ViewAccount(&a))
}

func members(c *call) error {
	m, err := c.caller.AsMember(domain.RoleViewer)
	if err != nil {
		return err
	}
	a, err := c.Identifier.Passports.Account(m.Account)
	if err != nil {
		return handlers.Unreadable(err)
	}
	views := []handlers.MemberView{}
	for _, m := range a.Roster() {
		views = append(views, handlers.ViewMember(m, ""))
	}
	return c.answer(http.StatusOK, struct {
		Members []handlers.MemberView `json:"members"`
	}{views})
}

func addMember(c *call) error {
	by, err := c.caller.AsMember(domain.RoleAdmin)
	if err != nil {
		return err
	}
	var in struct {
		Name string      `json:"name"`
		Role domain.Role `json:"role"`
	}
	if err := handlers.DecodeGrant(c.body, &in); err != nil {
		return err
	}
	m, token, err := c.AddMember(c.r.Context(), by, in.Name, in.Role)
	if err != nil {
		return err
	}
	return c.answer(http.StatusCreated, handlers.ViewMember(m, token))
}

// memberID is the member of the path.
func (c *call) memberID() domain.MemberID { return domain.MemberID(c.r.PathValue("member")) }

func changeRole(c *call) error {
	by, err := c.caller.AsMember(domain.RoleAdmin)
	if err != nil {
		return err
	}
	var in struct {
		Role domain.Role `json:"role"`
	}
	if err := handlers.DecodeGrant(c.body, &in); err != nil {
		return err
	}
	m, err := c.ChangeRole(c.r.Context(), by, c.memberID(), in.Role)
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, handlers.ViewMember(m, ""))
}

func rotateToken(c *call) error {
	by, err := c.caller.AsMember(domain.RoleViewer) // everybody their own
	if err != nil {
		return err
	}
	if err := handlers.DecodeGrant(c.optional().body, &struct{}{}); err != nil {
		return err
	}
	m, token, err := c.RotateToken(c.r.Context(), by, c.memberID())
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, handlers.ViewMember(m, token))
}

func removeMember(c *call) error {
	by, err := c.caller.AsMember(domain.RoleAdmin)
	if err != nil {
		return err
	}
	if err := c.RemoveMember(c.r.Context(), by, c.memberID()); err != nil {
		return err
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}
