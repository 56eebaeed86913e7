package httpapi

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers"
)

// managed is an act of a member's on the agent of the path, with its body read.
func (c *call) managed(into any) (handlers.Member, domain.AgentID, error) {
	by, err := c.caller.AsMember(domain.RoleAdmin)
	if err != nil {
		return by, "", err
	}
	id, err := c.agentID()
	if err != nil {
		return by, "", err
	}
	return by, id, handlers.DecodeGrant(c.body, into)
}

// optional makes a body that was left out an empty object.
func (c *call) optional() *call {
	if len(c.body) == 0 {
		c.body = []byte(`{}`)
	}
	return c
}

func registerAgent(c *call) error {
	by, err := c.caller.AsMember(domain.RoleAdmin)
	if err != nil {
		return err
	}
	var in struct {
		AgentID    domain.AgentID   `json:"agentId"`
		Name       string           `json:"name"`
		Type       domain.AgentType `json:"type"`
		Provider   string           `json:"provider"`
		Label      string           `json:"label"`
		ExternalID string           `json:"externalId"`
		WithKey    *bool            `json:"withKey"`
	}
	if err := handlers.DecodeGrant(c.body, &in); err != nil {
		return err
	}
	if in.Type == "" {
		in.Type = domain.Native
	}
	withKey := in.Type == domain.Native
	if in.WithKey != nil {
		withKey = *in.WithKey
	}
	agent, key, err := c.RegisterAgent(c.r.Context(), by, domain.RegisterAgent{
		AgentID: in.AgentID, Name: in.Name, Type: in.Type, Provider: in.Provider, Label: in.Label, ExternalID: in.ExternalID,
	}, withKey)
	if err != nil {
		return err
	}
	return c.answer(http.StatusCreated, handlers.ViewAgent(&agent, key))
}

func agents(c *call) error {
	m, err := c.caller.AsMember(domain.RoleViewer)
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
	all := c.Identifier.Passports.Agents(m.Account)
	after := domain.AgentID(query.Get("cursor"))
	first, _ := slices.BinarySearchFunc(all, after, func(a *domain.Agent, id domain.AgentID) int {
		if a.ID <= id {
			return -1
		}
		return 1
	})
	type page struct {
		Agents     []handlers.AgentView `json:"agents"`
		NextCursor string               `json:"nextCursor,omitempty"`
	}
	var p page
	for i, a := range all[first:] {
		if i == limit {
			p.NextCursor = string(all[first+i-1].ID)
			break
		}
		p.Agents = append(p.Agents, handlers.ViewAgent(a, ""))
	}
	return c.answer(http.StatusOK, p)
}

// found is the agent of the path as a member reads it.
func (c *call) found() (*domain.Agent, error) {
	m, err := c.caller.AsMember(domain.RoleViewer)
	if err != nil {
		return nil, err
	}
	id, err := c.agentID()
	if err != nil {
		return nil, err
	}
	a := c.Identifier.Passports.Agent(domain.Stream{Account: m.Account, Agent: id})
	if err := a.Fault(); err != nil {
		return nil, handlers.Unreadable(err)
	}
	if !a.Exists() {
		return nil, domain.Reject(domain.NotFound, "no agent %s", id)
	}
	return a, nil
}

func agent(c *call) error {
	a, err := c.found()
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, handlers.ViewAgent(a, ""))
}

func agentPassport(c *call) error {
	a, err := c.found()
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, handlers.ViewPassport(a, c.Writer.Now()))
}

type reasonIn struct {
	Reason string `json:"reason"`
}

func disableAgent(c *call) error {
	var in reasonIn
	by, id, err := c.optional().managed(&in)
	if err != nil {
		return err
	}
	a, err := c.DisableAgent(c.r.Context(), by, id, in.Reason)
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, handlers.ViewAgent(&a, ""))
}

func enableAgent(c *call) error {
	by, id, err := c.optional().managed(&struct{}{})
	if err != nil {
		return err
	}
	a, err := c.EnableAgent(c.r.Context(), by, id)
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, handlers.ViewAgent(&a, ""))
}

func rotateKey(c *call) error {
	by, id, err := c.optional().managed(&struct{}{})
	if err != nil {
		return err
	}
	a, key, err := c.RotateKey(c.r.Context(), by, id)
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, handlers.ViewAgent(&a, key))
}

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
		Name            *string          `json:"name"`
		DefaultCurrency *domain.Currency `json:"defaultCurrency"`
	}
	if err := handlers.DecodeGrant(c.body, &in); err != nil {
		return err
	}
	a, err := c.ChangeSettings(c.r.Context(), by, domain.ChangeSettings{Name: in.Name, Currency: in.DefaultCurrency})
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

// query reads a query string strictly: a misspelt filter would otherwise
// silently show more than was asked for.
func (c *call) query(names ...string) (url.Values, error) {
	query, err := url.ParseQuery(c.r.URL.RawQuery)
	if err != nil {
		return nil, domain.Reject(domain.Invalid, "the query string can't be read")
	}
	for name, values := range query {
		if !slices.Contains(names, name) {
			return nil, domain.RejectField(domain.Invalid, "/"+name, "is not a parameter of this path")
		}
		if len(values) != 1 {
			return nil, domain.RejectField(domain.Invalid, "/"+name, "is given twice")
		}
	}
	return query, nil
}

func limitOf(query url.Values) (int, error) {
	const usual, most = 50, 500
	text := query.Get("limit")
	if text == "" {
		return usual, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > most {
		return 0, domain.RejectField(domain.Invalid, "/limit", "must be a number from 1 to %d", most)
	}
	return n, nil
}
