package projections

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/behalf-platform/behalf/domain"
)

// Candidate is permissions to decide recorded requests under, in place of those
// that agents had.
type Candidate struct {
	Agents map[domain.AgentID]AgentCandidate `json:"agents"`
}

// AgentCandidate is what is otherwise for one agent. What it doesn't name is as
// it was.
type AgentCandidate struct {
	// Add are granted when the range begins, or with the agent if it is
	// registered later. They go by the ids new_1, new_2 and so on.
	Add []domain.Terms `json:"add,omitzero"`
	// Replace has terms for as long as a permission was there, whichever it had.
	Replace map[domain.PermissionID]domain.Terms `json:"replace,omitzero"`
	// Remove are revoked as soon as they are granted.
	Remove []domain.PermissionID `json:"remove,omitzero"`
	// Only says that what is added and replaced is all there is. Every other
	// permission is revoked as soon as it is granted.
	Only bool `json:"only,omitzero"`
	// Limits are the agent's own, from its registration on. The zero Limits are
	// none.
	Limits *domain.Limits `json:"limits,omitzero"`
}

// CandidateError is a candidate that can't be decided under.
type CandidateError struct {
	Agent domain.AgentID
	// Field is a JSON pointer into the candidate.
	Field string
	Text  string
}

func (e *CandidateError) Error() string {
	if e.Agent == "" {
		return "the candidate " + e.Text
	}
	return fmt.Sprintf("the candidate for %s: %s", e.Agent, e.Text)
}

// Check looks at what can be judged without the log.
func (c *Candidate) Check() error {
	if len(c.Agents) == 0 {
		return &CandidateError{Field: "/agents", Text: "names no agents; put what is to change under agents"}
	}
	for _, id := range slices.Sorted(maps.Keys(c.Agents)) {
		field := "/agents/" + string(id)
		a := c.Agents[id]
		fault := func(text string, args ...any) error { return &CandidateError{id, field, fmt.Sprintf(text, args...)} }
		if !domain.ValidID(string(id)) {
			return fault("%q is not an id of an agent", id)
		}
		if len(a.Add) == 0 && len(a.Replace) == 0 && len(a.Remove) == 0 && !a.Only && a.Limits == nil {
			return fault("changes nothing; give add, replace, remove, only or limits")
		}
		if len(a.Add) > domain.MostPermissions {
			return fault("adds %d permissions; at most %d are taken", len(a.Add), domain.MostPermissions)
		}
		for i, p := range a.Remove {
			if _, both := a.Replace[p]; both || slices.Contains(a.Remove[:i], p) {
				return fault("names %s twice", p)
			}
		}
		for p := range a.Replace {
			if !domain.ValidID(string(p)) {
				return fault("%q is not an id of a permission", p)
			}
		}
	}
	return nil
}

// accepted is what a candidate says of an agent, with the account's defaults
// filled in.
type accepted struct {
	id      domain.AgentID
	add     []domain.Terms
	replace map[domain.PermissionID]domain.Terms
	remove  map[domain.PermissionID]bool
	only    bool
	limits  *domain.Limits
	// met are the permissions it names that were granted.
	met map[domain.PermissionID]bool
}

// accept checks terms as a grant would, except that they may have ended by now.
func (c AgentCandidate) accept(id domain.AgentID, account domain.Account) (*accepted, error) {
	a := &accepted{id: id, replace: map[domain.PermissionID]domain.Terms{}, remove: map[domain.PermissionID]bool{}, only: c.Only, met: map[domain.PermissionID]bool{}}
	fault := func(err error, field string, args ...any) error {
		return &CandidateError{Agent: id, Field: fmt.Sprintf("/agents/%s/"+field, append([]any{id}, args...)...), Text: err.Error()}
	}
	for i, terms := range c.Add {
		terms, err := terms.Accept(time.Time{}, account.Currency, account.Zone())
		if err != nil {
			return nil, fault(err, "add/%d", i)
		}
		a.add = append(a.add, terms)
	}
	for _, p := range slices.Sorted(maps.Keys(c.Replace)) {
		terms := c.Replace[p]
		terms, err := terms.Accept(time.Time{}, account.Currency, account.Zone())
		if err != nil {
			return nil, fault(err, "replace/%s", p)
		}
		a.replace[p] = terms
	}
	for _, p := range c.Remove {
		a.remove[p] = true
	}
	if c.Limits != nil {
		limits, err := c.Limits.Accept(account.Currency, account.Zone())
		if err != nil {
			return nil, fault(err, "limits")
		}
		a.limits = &limits
	}
	return a, nil
}

// removes reports whether the candidate does without a permission.
func (a *accepted) removes(id domain.PermissionID) bool {
	_, replaced := a.replace[id]
	return a.remove[id] || a.only && !replaced
}

// unmet is what the candidate names and the log doesn't have: a misspelt id must
// not pass for no change.
func (a *accepted) unmet() error {
	for _, p := range slices.Sorted(maps.Keys(a.replace)) {
		if !a.met[p] {
			return &CandidateError{a.id, "/agents/" + string(a.id) + "/replace/" + string(p), fmt.Sprintf("replaces permission %s, which the agent never had", p)}
		}
	}
	for _, p := range slices.Sorted(maps.Keys(a.remove)) {
		if !a.met[p] {
			return &CandidateError{a.id, "/agents/" + string(a.id) + "/remove", fmt.Sprintf("removes permission %s, which the agent never had", p)}
		}
	}
	return nil
}
