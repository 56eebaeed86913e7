package domain

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"
)

// AgentType says where an agent comes from.
type AgentType string

const (
	// Native agents hold an API key and ask by themselves.
	Native AgentType = "native"
	// Connected agents live at a provider, which knows them by an id of its
	// own. They have a passport and may have no key.
	Connected AgentType = "connected"
)

// AgentStatus is whether an agent is denied everything. The zero status is that
// of an agent that was never registered.
type AgentStatus string

const (
	AgentActive     AgentStatus = "active"
	AgentIsDisabled AgentStatus = "disabled"
)

// Agent is the fold of one agent's events: its passport. It is a value; what
// Evolve returns shares nothing that is written to later, so that a reader can
// keep it while newer ones appear. The zero Agent may do nothing.
type Agent struct {
	Account    AccountID
	ID         AgentID
	Name       string
	Type       AgentType
	Provider   string
	Label      string
	ExternalID string
	Status     AgentStatus
	Key        TokenHash
	Registered time.Time
	// Version is the passport version: the sequence of the newest event on the
	// agent's subject, whatever it changed.
	Version uint64
	// Permissions are in the order in which their present terms were given, the
	// newest last, those revoked among them.
	Permissions []*Permission

	// byAction holds, for each action that is named, the permissions naming it.
	byAction map[Action][]*Permission
	// fault is why nothing can be decided on this passport.
	fault error
}

// Exists reports whether the agent was registered.
func (a Agent) Exists() bool { return a.Status != "" }

// Fault is why no decision can stand on this passport: it holds something that
// can't be read. Nil is the normal case.
func (a Agent) Fault() error { return a.fault }

// Permission returns the permission with this id, revoked or not.
func (a Agent) Permission(id PermissionID) (*Permission, bool) {
	for _, p := range a.Permissions {
		if p.ID == id {
			return p, true
		}
	}
	return nil, false
}

// Stop marks the passport as unreadable from here on. It stays that way, since
// what follows an event that was skipped can't be trusted.
func (a Agent) Stop(err error) Agent {
	a.fault = cmp.Or(a.fault, err)
	return a
}

// Evolve folds one recorded event of the agent in. Events it has seen, and
// decisions, change nothing. One that doesn't follow on the last one folded
// stops the passport: an event is missing.
func (a Agent) Evolve(r Recorded) Agent {
	if _, ok := r.Event.(DecisionMade); ok || r.Position.Seq <= a.Version {
		return a
	}
	if r.Last != a.Version {
		return a.Stop(fmt.Errorf("event %d follows %d, but %d is the last one known", r.Position.Seq, r.Last, a.Version))
	}
	a.Version = r.Position.Seq
	switch e := r.Event.(type) {
	case AgentRegistered:
		a.Account, a.ID, a.Registered = r.Account, r.Agent, r.At
		a.Name, a.Type, a.Provider, a.Label, a.ExternalID = e.Name, e.Type, e.Provider, e.Label, e.ExternalID
		a.Status, a.Key = AgentActive, e.Key
	case AgentDisabled:
		a.Status = AgentIsDisabled
	case AgentEnabled:
		a.Status = AgentActive
	case AgentKeyRotated:
		a.Key = e.Key
	case PermissionGranted:
		return a.hold(e.PermissionID, e.Terms, r)
	case PermissionReplaced:
		return a.hold(e.PermissionID, e.Terms, r)
	case PermissionRevoked:
		if i := a.index(e.PermissionID); i >= 0 {
			p := *a.Permissions[i]
			p.Revoked, p.Version = r.At, r.Position.Seq
			a.Permissions = slices.Clone(a.Permissions)
			a.Permissions[i] = &p
			return a.reindexed(&p)
		}
	case AccountOpened, AccountSettingsChanged, MemberAdded, MemberRoleChanged,
		MemberTokenRotated, MemberRemoved, DecisionMade:
		// Not the agent's.
	}
	return a
}

// hold puts a permission last, in place of the one it replaces.
func (a Agent) hold(id PermissionID, terms Terms, r Recorded) Agent {
	rules, err := terms.compile()
	if err != nil {
		return a.Stop(fmt.Errorf("permission %s: %w", id, err))
	}
	p := &Permission{ID: id, Terms: terms, Granted: r.At, Version: r.Position.Seq, rules: rules}
	permissions := make([]*Permission, 0, len(a.Permissions)+1)
	for _, old := range a.Permissions {
		if old.ID != id {
			permissions = append(permissions, old)
		} else {
			a = a.unindexed(old)
		}
	}
	a.Permissions = append(permissions, p)
	return a.reindexed(p)
}

// reindexed is the agent with p, new or changed, found by the actions it names.
// Of the revoked permissions of an action only the newest is: it is what a
// denial tells of, and a passport that has seen thousands of short ones must
// not get slower by each.
func (a Agent) reindexed(p *Permission) Agent {
	a.byAction = maps.Clone(a.byAction)
	if a.byAction == nil {
		a.byAction = map[Action][]*Permission{}
	}
	for _, action := range p.Terms.named() {
		var kept []*Permission
		placed := false
		for _, old := range a.byAction[action] {
			switch {
			case old.ID == p.ID: // it was revoked where it stood
				kept, placed = append(kept, p), true
			case old.Revoked.IsZero() || p.Revoked.IsZero():
				kept = append(kept, old)
			}
		}
		if !placed {
			kept = append(kept, p)
		}
		a.byAction[action] = kept
	}
	return a
}

// unindexed is the agent with p not found by any action.
func (a Agent) unindexed(p *Permission) Agent {
	a.byAction = maps.Clone(a.byAction)
	for _, action := range p.Terms.named() {
		a.byAction[action] = slices.DeleteFunc(slices.Clone(a.byAction[action]), func(old *Permission) bool { return old.ID == p.ID })
		if len(a.byAction[action]) == 0 {
			delete(a.byAction, action)
		}
	}
	return a
}

func (a Agent) index(id PermissionID) int {
	return slices.IndexFunc(a.Permissions, func(p *Permission) bool { return p.ID == id })
}

// RegisterAgent begins an agent.
type RegisterAgent struct {
	AgentID    AgentID
	Name       string
	Type       AgentType
	Provider   string
	Label      string
	ExternalID string
	Key        TokenHash
}

// Register decides on a RegisterAgent.
func (a Agent) Register(cmd RegisterAgent) ([]Event, error) {
	switch {
	case !ValidID(string(cmd.AgentID)):
		return nil, RejectField(Invalid, "/agentId", "an id is 1 to 64 of A-Z a-z 0-9 _ and -")
	case cmd.Type != Native && cmd.Type != Connected:
		return nil, RejectField(Invalid, "/type", `%q is not a type; use "native" or "connected"`, cmd.Type)
	case cmd.Type == Native && (cmd.Provider != "" || cmd.ExternalID != ""):
		return nil, RejectField(Invalid, "/type", "provider and externalId are for connected agents")
	case cmd.Type == Native && cmd.Key == "":
		return nil, RejectField(Invalid, "/apiKey", "a native agent always has a key; only a connected one can do without")
	case cmd.Type == Connected && cmd.Provider == "":
		return nil, RejectField(Invalid, "/provider", "a connected agent needs the provider it lives at")
	}
	if err := cmp.Or(
		checkText("/name", cmd.Name, 1, 128),
		checkText("/provider", cmd.Provider, 0, 128),
		checkText("/label", cmd.Label, 0, 128),
		checkText("/externalId", cmd.ExternalID, 0, 256),
	); err != nil {
		return nil, err
	}
	if a.Version > 0 {
		return nil, Reject(Conflict, "agent %s exists already", cmd.AgentID)
	}
	return []Event{AgentRegistered{
		Name: cmd.Name, Type: cmd.Type, Provider: cmd.Provider, Label: cmd.Label,
		ExternalID: cmd.ExternalID, Key: cmd.Key,
	}}, nil
}

// Disable denies the agent everything until it is enabled.
func (a Agent) Disable(reason string) ([]Event, error) {
	if !a.Exists() {
		return nil, errNoAgent
	}
	if err := checkText("/reason", reason, 0, 512); err != nil {
		return nil, err
	}
	if a.Status == AgentIsDisabled {
		return nil, nil
	}
	return []Event{AgentDisabled{Reason: reason}}, nil
}

// Enable ends a Disable.
func (a Agent) Enable() ([]Event, error) {
	if !a.Exists() {
		return nil, errNoAgent
	}
	if a.Status == AgentActive {
		return nil, nil
	}
	return []Event{AgentEnabled{}}, nil
}

// RotateKey gives the agent a new key; the one before is dead once the event is
// recorded. A connected agent without a key gets its first one.
func (a Agent) RotateKey(key TokenHash) ([]Event, error) {
	if !a.Exists() {
		return nil, errNoAgent
	}
	return []Event{AgentKeyRotated{Key: key}}, nil
}

// GrantPermission adds a permission to the passport.
type GrantPermission struct {
	PermissionID PermissionID
	Terms        Terms
	// Now is the time the terms are judged at; Currency is the default for a
	// limit that names none.
	Now      time.Time
	Currency Currency
}

// MostPermissions bounds a passport. It keeps a decision's record, which holds
// every check made, well below a message of the log.
const MostPermissions = 256

// Grant decides on a GrantPermission.
func (a Agent) Grant(cmd GrantPermission) ([]Event, error) {
	if !a.Exists() {
		return nil, errNoAgent
	}
	terms, err := cmd.Terms.Accept(cmd.Now, cmd.Currency)
	if err != nil {
		return nil, err
	}
	if a.unrevoked() >= MostPermissions {
		return nil, Reject(Conflict, "agent %s has %d permissions, the most there can be; revoke one first", a.ID, MostPermissions)
	}
	if a.index(cmd.PermissionID) >= 0 {
		return nil, Reject(Conflict, "permission %s exists already", cmd.PermissionID)
	}
	return []Event{PermissionGranted{PermissionID: cmd.PermissionID, Terms: terms}}, nil
}

func (a Agent) unrevoked() (n int) {
	for _, p := range a.Permissions {
		if p.Revoked.IsZero() {
			n++
		}
	}
	return n
}

// ReplacePermission gives a permission other terms.
type ReplacePermission struct {
	GrantPermission
	// IfVersion, when not 0, is the passport version the caller looked at: the
	// act is refused if the permission has changed since.
	IfVersion uint64
}

// Replace decides on a ReplacePermission.
func (a Agent) Replace(cmd ReplacePermission) ([]Event, error) {
	i := a.index(cmd.PermissionID)
	if i < 0 {
		return nil, Reject(NotFound, "no permission %s", cmd.PermissionID)
	}
	p := a.Permissions[i]
	if err := a.unchanged(p, cmd.IfVersion); err != nil {
		return nil, err
	}
	if !p.Revoked.IsZero() {
		return nil, Reject(Conflict, "permission %s is revoked; grant a new one", p.ID)
	}
	terms, err := cmd.Terms.Accept(cmd.Now, cmd.Currency)
	if err != nil {
		return nil, err
	}
	return []Event{PermissionReplaced{PermissionID: p.ID, Terms: terms}}, nil
}

// RevokePermission ends a permission.
type RevokePermission struct {
	PermissionID PermissionID
	Reason       string
	IfVersion    uint64 // as in ReplacePermission
}

// Revoke decides on a RevokePermission.
func (a Agent) Revoke(cmd RevokePermission) ([]Event, error) {
	i := a.index(cmd.PermissionID)
	if i < 0 {
		return nil, Reject(NotFound, "no permission %s", cmd.PermissionID)
	}
	p := a.Permissions[i]
	if !p.Revoked.IsZero() {
		return nil, nil
	}
	if err := cmp.Or(a.unchanged(p, cmd.IfVersion), checkText("/reason", cmd.Reason, 0, 512)); err != nil {
		return nil, err
	}
	return []Event{PermissionRevoked{PermissionID: p.ID, Reason: cmd.Reason}}, nil
}

func (a Agent) unchanged(p *Permission, since uint64) error {
	if since == 0 || p.Version <= since && since <= a.Version {
		return nil
	}
	return Reject(Stale, "permission %s is at version %d, not %d; read it again and repeat", p.ID, p.Version, since)
}

var errNoAgent = Reject(NotFound, "no such agent")
