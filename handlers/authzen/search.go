package authzen

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers"
)

// Bounds of a page of results. A page ends early when mostTried were tried, so
// that no search takes long because little is found.
const (
	usualResults = 50
	mostResults  = 500
	mostTried    = 2000
)

// searching is a request for what an evaluation would allow.
type searching struct {
	evaluation `json:",inline"`
	Page       struct {
		Token string `json:"token"`
		Limit *int   `json:"limit"`
	} `json:"page"`
}

// Found is a page of results.
type Found struct {
	Results []Match `json:"results"`
	Page    Page    `json:"page"`
}

// Match is an entity, with type and id, or an action, with name.
type Match struct {
	Type string `json:"type,omitempty"`
	ID   string `json:"id,omitempty"`
	Name string `json:"name,omitempty"`
}

// Page says how to go on. NextToken is empty at the end.
type Page struct {
	NextToken string `json:"next_token"`
	Count     int    `json:"count"`
}

// try is one result that may be, and what would have to be allowed for it.
type try struct {
	key    string // that results are in the order of
	result Match
	agent  domain.Stream
	ask    domain.Ask
}

// Subjects finds the agents that may do an action on a resource: of a key, only
// its own; of a member, any of the account's.
func (p PDP) Subjects(ctx context.Context, c handlers.Caller, body []byte) (Found, error) {
	return p.search(ctx, c, body, needs{action: true, resourceID: true}, func(a asked, _ entity) ([]try, error) {
		if a.subject.Type != subjectType {
			return nil, nil
		}
		var list []try
		for _, agent := range p.agents(c) {
			s := domain.Stream{Account: agent.Account, Agent: agent.ID}
			list = append(list, try{key: string(agent.ID), result: Match{Type: subjectType, ID: string(agent.ID)}, agent: s, ask: a.ask})
		}
		return list, nil
	})
}

func (p PDP) agents(c handlers.Caller) []*domain.Agent {
	passports := p.Desk.Identifier.Passports
	if c.IsAgent() {
		return []*domain.Agent{passports.Agent(c.Agent)}
	}
	return passports.Agents(c.Member.Account)
}

// Resources finds the resources of a type that an agent may do an action on, as
// far as its passport names them: what a pattern covers can't be listed.
func (p PDP) Resources(ctx context.Context, c handlers.Caller, body []byte) (Found, error) {
	return p.search(ctx, c, body, needs{subjectID: true, action: true}, func(a asked, resource entity) ([]try, error) {
		s, err := agentOf(c, a.subject)
		if isNotFound(err) { // whom nobody knows may do nothing
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		var list []try
		for _, id := range names(p.Desk.Identifier.Passports.Agent(s), func(t *domain.Terms) []string { return namedResources(t, resource.Type) }) {
			found := try{key: id, result: Match{Type: resource.Type, ID: id}, agent: s, ask: a.ask}
			target(&found.ask, entity{Type: resource.Type, ID: id})
			list = append(list, found)
		}
		return list, nil
	})
}

// Actions finds the actions that an agent may do on a resource, of those that
// its passport names.
func (p PDP) Actions(ctx context.Context, c handlers.Caller, body []byte) (Found, error) {
	return p.search(ctx, c, body, needs{subjectID: true, resourceID: true}, func(a asked, _ entity) ([]try, error) {
		s, err := agentOf(c, a.subject)
		if isNotFound(err) { // whom nobody knows may do nothing
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		var list []try
		for _, name := range names(p.Desk.Identifier.Passports.Agent(s), namedActions) {
			found := try{key: name, result: Match{Name: name}, agent: s, ask: a.ask}
			found.ask.Action = domain.Action(name)
			list = append(list, found)
		}
		return list, nil
	})
}

// names is what the permissions of an agent name, in order.
func names(agent *domain.Agent, of func(*domain.Terms) []string) []string {
	var list []string
	for _, p := range agent.Permissions {
		if p.Revoked.IsZero() {
			list = append(list, of(&p.Terms)...)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

func namedActions(t *domain.Terms) []string {
	var list []string
	for _, a := range append([]domain.Action{t.Action}, t.AllowedActions...) {
		if a != "" {
			list = append(list, string(a))
		}
	}
	return list
}

// namedResources is what terms name of a type and is no pattern.
func namedResources(t *domain.Terms, kind string) []string {
	var from []string
	prefix := ""
	switch kind {
	case "vendor", "host":
		from = t.Vendors
	case "path", "file":
		from = t.Paths
	case "command": // terms name only those that are denied
	default:
		from, prefix = t.Resource, prefixOf(kind)
	}
	var list []string
	for _, name := range from {
		if id, ok := strings.CutPrefix(name, prefix); ok && id != "" && !strings.ContainsAny(name, "*?") {
			list = append(list, id)
		}
	}
	return list
}

// search answers a page of what would be allowed now. It records nothing, and
// so permits nothing.
func (p PDP) search(
	ctx context.Context, c handlers.Caller, body []byte, n needs, candidates func(asked, entity) ([]try, error),
) (Found, error) {
	found := Found{Results: []Match{}}
	var in searching
	if err := handlers.DecodeOpen(body, &in); err != nil {
		return found, err
	}
	limit, after, err := in.page()
	if err != nil {
		return found, err
	}
	a, err := in.understand(n)
	if err != nil {
		return found, err
	}
	a.ask.AgentID = ""
	var resource entity
	if err := readObject("/resource", in.Resource, &resource); err != nil {
		return found, err
	}
	if err := p.Desk.Still(ctx, c); err != nil {
		return found, err
	}
	list, err := candidates(a, resource)
	if err != nil {
		return found, err
	}
	tries, last := 0, ""
	for _, t := range list {
		if t.key <= after {
			continue
		}
		if len(found.Results) == limit || tries == mostTried {
			found.Page.NextToken = in.token(last)
			break
		}
		tries, last = tries+1, t.key
		d, _, err := p.Desk.Preview(ctx, t.agent, &t.ask)
		if err != nil {
			return Found{}, err
		}
		if d.Outcome == domain.OutcomeAllowed {
			found.Results = append(found.Results, t.result)
		}
	}
	found.Page.Count = len(found.Results)
	return found, nil
}

// page reads where to begin, and how many results are wanted.
func (s *searching) page() (limit int, after string, err error) {
	limit = usualResults
	if s.Page.Limit != nil {
		limit = *s.Page.Limit
	}
	if limit < 1 || limit > mostResults {
		return 0, "", domain.RejectField(domain.Invalid, "/page/limit", "must be a number from 1 to %d", mostResults)
	}
	if s.Page.Token == "" {
		return limit, "", nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(s.Page.Token)
	if err != nil || len(raw) <= markSize || string(raw[:markSize]) != s.mark() {
		return 0, "", domain.RejectField(domain.Invalid, "/page/token", "is not a token of this search; send the next_token of the page before, and all else as it was")
	}
	return limit, string(raw[markSize:]), nil
}

// token goes on behind a key, in this search and no other.
func (s *searching) token(key string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(s.mark() + key))
}

const markSize = 8

// mark tells searches apart.
func (s *searching) mark() string {
	h := sha256.New()
	for _, part := range []jsontext.Value{s.Subject, s.Action, s.Resource, s.Context} {
		part = part.Clone()
		_ = part.Canonicalize() // what is no JSON was refused before
		b, _ := json.Marshal(string(part))
		h.Write(b)
	}
	return string(h.Sum(nil)[:markSize])
}
