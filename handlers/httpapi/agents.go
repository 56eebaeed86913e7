package httpapi

import (
	"net/http"
	"slices"

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
		Driver     domain.MemberID  `json:"driver"`
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
		Driver: in.Driver,
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
	if after != "" && !domain.ValidID(string(after)) {
		return domain.RejectField(domain.Invalid, "/cursor", "is not one of this list; leave it out to begin at the first")
	}
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

// drive says which member's work an agent does.
func drive(c *call) error {
	var in struct {
		Driver *domain.MemberID `json:"driver"`
	}
	by, id, err := c.managed(&in)
	if err != nil {
		return err
	}
	if in.Driver == nil {
		return domain.RejectField(domain.Invalid, "/driver", `is required; send "" for nobody`)
	}
	a, err := c.Drive(c.r.Context(), by, id, *in.Driver)
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, handlers.ViewAgent(&a, ""))
}
