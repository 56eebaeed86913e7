package domain

import (
	"slices"
	"time"
)

// The facts about links to a passport. They are the account's and not the
// agent's: a link changes nothing of what its agent may do, and must not move
// the version of the very passport that it shows.
type (
	// PassportLinkCreated lets whoever holds a token read one agent's passport,
	// and preview on it, until it expires.
	PassportLinkCreated struct {
		LinkID    LinkID    `json:"linkId"`
		AgentID   AgentID   `json:"agentId"`
		Label     string    `json:"label,omitempty"` // whom it was given to; kept for ever
		Token     TokenHash `json:"tokenHash"`
		ExpiresAt time.Time `json:"expiresAt"`
	}
	// PassportLinkRevoked makes the link's token worthless.
	PassportLinkRevoked struct {
		LinkID  LinkID  `json:"linkId"`
		AgentID AgentID `json:"agentId"`
	}
)

func (PassportLinkCreated) Kind() Kind { return KindPassportLinkCreated }
func (PassportLinkRevoked) Kind() Kind { return KindPassportLinkRevoked }

func (PassportLinkCreated) event() {}
func (PassportLinkRevoked) event() {}

const (
	// UsualLink is how long a link lasts unless whoever makes it says otherwise.
	UsualLink = Duration(30 * 24 * time.Hour)
	leastLink = Duration(time.Minute)
	mostLink  = Duration(366 * 24 * time.Hour)
	// mostLinks is how many links of one agent may be good at once, and
	// rememberedLinks how many of those that are over are known besides.
	mostLinks       = 20
	rememberedLinks = 20
)

// LinkStatus is whether a link still shows its passport.
type LinkStatus string

// What a link can be. The zero status is that of one that was never made.
const (
	LinkActive     LinkStatus = "active"
	LinkHasExpired LinkStatus = "expired"
	LinkIsRevoked  LinkStatus = "revoked"
)

// Link lets whoever holds its token read a passport. The zero Link shows
// nothing. It is not written to after it can be seen by others.
type Link struct {
	ID        LinkID
	AgentID   AgentID
	Label     string
	Token     TokenHash
	By        Actor
	CreatedAt time.Time
	ExpiresAt time.Time
	// RevokedAt is zero unless it was revoked.
	RevokedAt time.Time
}

// StatusAt is where the link stands at a moment. It is good up to but not
// including the time it expires.
func (l *Link) StatusAt(now time.Time) LinkStatus {
	switch {
	case !l.RevokedAt.IsZero():
		return LinkIsRevoked
	case !now.Before(l.ExpiresAt):
		return LinkHasExpired
	}
	return LinkActive
}

// Link is a link of the account, if it is known still.
func (a Account) Link(id LinkID) (*Link, bool) {
	i := slices.IndexFunc(a.Links, func(l *Link) bool { return l.ID == id })
	if i < 0 {
		return nil, false
	}
	return a.Links[i], true
}

// LinksOf are the links of an agent, the newest last.
func (a Account) LinksOf(agent AgentID) []*Link {
	var list []*Link
	for _, l := range a.Links {
		if l.AgentID == agent {
			list = append(list, l)
		}
	}
	return list
}

// linked is the account with a link more. Of the agent's that are over, the
// oldest are forgotten then: an account must not grow by what nobody can use.
func (a Account) linked(e PassportLinkCreated, r Recorded) Account {
	over := 0
	for _, l := range a.Links {
		if l.AgentID == e.AgentID && l.StatusAt(r.At) != LinkActive {
			over++
		}
	}
	links := make([]*Link, 0, len(a.Links)+1)
	for _, l := range a.Links {
		if l.AgentID == e.AgentID && l.StatusAt(r.At) != LinkActive && over > rememberedLinks {
			over--
			continue
		}
		links = append(links, l)
	}
	a.Links = append(links, &Link{
		ID: e.LinkID, AgentID: e.AgentID, Label: e.Label, Token: e.Token, By: r.Actor, CreatedAt: r.At, ExpiresAt: e.ExpiresAt,
	})
	return a
}

func (a Account) unlinked(id LinkID, r Recorded) Account {
	i := slices.IndexFunc(a.Links, func(l *Link) bool { return l.ID == id })
	if i < 0 {
		return a
	}
	l := *a.Links[i]
	l.RevokedAt = r.At
	a.Links = slices.Clone(a.Links)
	a.Links[i] = &l
	return a
}

// CreateLink makes a link to an agent's passport. That there is such an agent is
// for the caller to see to.
type CreateLink struct {
	LinkID  LinkID
	AgentID AgentID
	Label   string
	Token   TokenHash
	// ExpiresIn is how long it lasts, UsualLink if 0.
	ExpiresIn Duration
	Now       time.Time
}

// CreateLink decides on a CreateLink.
func (a Account) CreateLink(cmd CreateLink) ([]Event, error) {
	if cmd.ExpiresIn == 0 {
		cmd.ExpiresIn = UsualLink
	}
	if cmd.ExpiresIn < leastLink || cmd.ExpiresIn > mostLink {
		return nil, RejectField(Invalid, "/expiresIn", "%s is no time a link can last; use %s to %s", cmd.ExpiresIn, leastLink, mostLink)
	}
	if err := checkWords("/label", cmd.Label, 0, 128); err != nil {
		return nil, err
	}
	if _, taken := a.Link(cmd.LinkID); taken {
		return nil, Reject(Conflict, "link %s exists already", cmd.LinkID)
	}
	good := 0
	for _, l := range a.LinksOf(cmd.AgentID) {
		if l.StatusAt(cmd.Now) == LinkActive {
			good++
		}
	}
	if good >= mostLinks {
		return nil, Reject(Conflict, "agent %s has %d links that are good, which is the most; revoke one first", cmd.AgentID, good)
	}
	return []Event{PassportLinkCreated{
		LinkID: cmd.LinkID, AgentID: cmd.AgentID, Label: cmd.Label, Token: cmd.Token,
		ExpiresAt: cmd.Now.Add(time.Duration(cmd.ExpiresIn)).UTC(),
	}}, nil
}

// RevokeLink ends a link of an agent. Again it changes nothing.
func (a Account) RevokeLink(agent AgentID, id LinkID) ([]Event, error) {
	l, ok := a.Link(id)
	switch {
	case !ok || l.AgentID != agent:
		return nil, Reject(NotFound, "no such link of agent %s", agent)
	case !l.RevokedAt.IsZero():
		return nil, nil
	}
	return []Event{PassportLinkRevoked{LinkID: id, AgentID: agent}}, nil
}
