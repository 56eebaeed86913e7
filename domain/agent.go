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
	// Driver is the member whose work the agent does, or empty.
	Driver     MemberID
	Registered time.Time
	// Limits apply to all permissions together.
	Limits Limits
	// Shared says that the account's limits apply too. Budget is the sequence of
	// the event of those limits that it follows.
	Shared bool
	Budget uint64
	// Version is the passport version: the sequence of the newest event on the
	// agent's subject, whatever it changed.
	Version uint64
	// Position is where that event is.
	Position Position
	// Updated is the time of the newest event. Time on a passport never runs
	// back: what is decided next is decided at this moment or later.
	Updated time.Time
	// Permissions are in the order in which their present terms were given, the
	// newest last, those revoked among them.
	Permissions []*Permission

	// byAction holds, for each action that is named, the permissions naming it.
	byAction map[Action][]*Permission
	limits   []limit // Limits, made ready
	// tallies hold what was used of each permission's limits, and, with no
	// permission, of the agent's own.
	tallies   []permissionTally
	approvals []*Approval
	reserved  reservations
	// fault is why nothing can be decided on this passport.
	fault error
}

type permissionTally struct {
	permission PermissionID
	tally
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
// decisions that change nothing, leave it as it is. One that doesn't follow on the last one folded
// stops the passport: an event is missing.
func (a Agent) Evolve(r Recorded) Agent {
	if !r.Moves() || r.Position.Seq <= a.Version {
		return a
	}
	if r.Last != a.Version {
		return a.Stop(fmt.Errorf("event %d follows %d, but %d is the last one known", r.Position.Seq, r.Last, a.Version))
	}
	a.Version, a.Position, a.Updated = r.Position.Seq, r.Position, Later(a.Updated, r.At)
	switch e := r.Event.(type) {
	case DecisionMade:
		return a.decided(e, r)
	case DecisionSettled:
		return a.settled(e)
	case AgentRegistered:
		a.Account, a.ID, a.Registered = r.Account, r.Agent, r.At
		a.Name, a.Type, a.Provider, a.Label, a.ExternalID = e.Name, e.Type, e.Provider, e.Label, e.ExternalID
		a.Status, a.Key, a.Driver = AgentActive, e.Key, e.Driver
	case AgentDisabled:
		a.Status = AgentIsDisabled
	case AgentEnabled:
		a.Status = AgentActive
	case AgentKeyRotated:
		a.Key = e.Key
	case AgentDriverChanged:
		return a.driven(e.Driver)
	case AgentLimitsSet:
		limits, err := e.compile()
		if err != nil {
			return a.Stop(fmt.Errorf("limits: %w", err))
		}
		a.Limits, a.limits = e.Limits, limits
		return a.tallied("", a.tally("").carry(limits))
	case AgentBudgetShared:
		a.Shared, a.Budget = e.Shared, e.Budget
	case PermissionGranted:
		return a.hold(e.PermissionID, e.Terms, r)
	case PermissionReplaced:
		return a.cancelled(e.Cancels, r, "the permission it stands on was replaced").hold(e.PermissionID, e.Terms, r)
	case PermissionRevoked:
		a = a.cancelled(e.Cancels, r, "the permission it stands on was revoked")
		if i := a.index(e.PermissionID); i >= 0 {
			p := *a.Permissions[i]
			p.Revoked, p.Version = r.At, r.Position.Seq
			a.Permissions = slices.Clone(a.Permissions)
			a.Permissions[i] = &p
			return a.tallied(p.ID, nil).reindexed(&p)
		}
	case ApprovalVoted:
		return a.resolved(e.ApprovalID, r, func(p *Approval) {
			p.Votes = append(slices.Clip(p.Votes), Vote{MemberID: e.MemberID, At: r.At, Comment: e.Comment, Self: e.Self})
		})
	case ApprovalApproved:
		return a.resolved(e.ApprovalID, r, func(p *Approval) {
			p.state, p.ExpiresAt, p.StickyUntil, p.Comment = ApprovalIsApproved, e.ExpiresAt, e.ExpiresAt, e.Comment
			if !slices.ContainsFunc(p.Votes, func(v Vote) bool { return v.MemberID == e.MemberID }) {
				p.Votes = append(slices.Clip(p.Votes), Vote{MemberID: e.MemberID, At: r.At, Comment: e.Comment, Self: e.Self})
			}
		})
	case ApprovalDenied:
		return a.resolved(e.ApprovalID, r, func(p *Approval) {
			p.state, p.StickyUntil, p.Comment, p.Shared = ApprovalIsDenied, e.StickyUntil, e.Comment, e.Shared
		})
	case ApprovalCancelled:
		return a.resolved(e.ApprovalID, r, func(p *Approval) {
			p.state, p.Comment = ApprovalIsCancelled, e.Comment
			if p.StickyUntil = r.At; e.MemberID == "" {
				p.StickyUntil = p.ExpiresAt // see counts
			}
		})
	case ApprovalReminded:
		return a.resolved(e.ApprovalID, r, func(p *Approval) { p.Reminders = e.Count })
	case ApprovalExpired:
		return a.resolved(e.ApprovalID, r, func(p *Approval) { p.state, p.StickyUntil = ApprovalHasExpired, r.At })
	case AccountOpened, AccountSettingsChanged, MemberAdded, MemberRoleChanged,
		MemberTokenRotated, MemberRemoved, BudgetSet, BudgetCharged, BudgetReleased,
		WebhookCreated, WebhookChanged, WebhookVerified, WebhookPaused, WebhookResumed, WebhookDisabled, WebhookEnabled,
		WebhookSecretRotated, WebhookDeleted, WebhookTested, WebhookReplayRequested, WebhookReplayCancelled,
		WebhookReplayFinished, WebhookFailing, WebhookRecovered, WebhookSkipped, ReceiptKeyRotated, DecisionConsumed,
		PassportLinkCreated, PassportLinkRevoked:
		// Not the agent's.
	}
	return a
}

// decided is the agent with a decision folded in that changes what it may do next.
func (a Agent) decided(d DecisionMade, r Recorded) Agent {
	if d.Opens() {
		return a.opened(d, r)
	}
	if d.Uses() {
		a = a.resolved(d.ApprovalID, r, func(p *Approval) {
			p.state, p.UsedBy, p.StickyUntil = ApprovalIsUsed, d.RequestID, Later(p.ExpiresAt, r.At.Add(usedFor))
		})
	}
	amount, err := parseAmount(d.Request.Amount, d.Request.Currency)
	if err != nil {
		return a.Stop(fmt.Errorf("amount of %s: %w", d.RequestID, err))
	}
	if d.Spends {
		if p, ok := a.Permission(d.PermissionID); ok && len(p.rules.limits) > 0 {
			a = a.tallied(p.ID, a.tally(p.ID).charge(p.rules.limits, amount, r.At, r.Position.Seq))
		}
		if len(a.limits) > 0 {
			a = a.tallied("", a.tally("").charge(a.limits, amount, r.At, r.Position.Seq))
		}
	}
	a.reserved = a.reserved.add(Reservation{
		RequestID: d.RequestID, PermissionID: d.PermissionID, Amount: amount, At: r.At, Seq: r.Position.Seq,
		BudgetVersion: d.BudgetVersion,
	})
	return a
}

// settled is the agent with an outcome reported, and what it gives back.
func (a Agent) settled(e DecisionSettled) Agent {
	r, ok := a.reserved.find(e.RequestID)
	if !ok {
		return a
	}
	a.reserved = a.reserved.settle(e)
	if back := r.back(e); back.Minor > 0 {
		a = a.tallied(r.PermissionID, a.tally(r.PermissionID).release(back, r.At, r.Seq))
		a = a.tallied("", a.tally("").release(back, r.At, r.Seq))
	}
	return a
}

// tally is what was used of a permission's limits, or, with no permission, of
// the agent's own.
func (a *Agent) tally(of PermissionID) tally {
	for _, t := range a.tallies {
		if t.permission == of {
			return t.tally
		}
	}
	return nil
}

// tallied is the agent with another tally.
func (a Agent) tallied(of PermissionID, t tally) Agent {
	i := slices.IndexFunc(a.tallies, func(old permissionTally) bool { return old.permission == of })
	a.tallies = slices.Clone(a.tallies)
	switch {
	case i >= 0 && len(t) == 0:
		a.tallies = slices.Delete(a.tallies, i, i+1)
	case i >= 0:
		a.tallies[i].tally = t
	case len(t) > 0:
		a.tallies = append(a.tallies, permissionTally{of, t})
	}
	return a
}

// Left is what is left at a moment of the agent's own limits.
func (a Agent) Left(now time.Time) []Left { return a.tally("").left(a.limits, now) }

// LeftOf is what is left at a moment of a permission's limits.
func (a Agent) LeftOf(p *Permission, now time.Time) []Left {
	return a.tally(p.ID).left(p.rules.limits, now)
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
	a = a.tallied(id, a.tally(id).carry(rules.limits))
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
	// Driver is the member whose work the agent does, or empty. That it is one
	// is for the caller to see to.
	Driver MemberID
}

// Register decides on a RegisterAgent.
func (a Agent) Register(cmd RegisterAgent) ([]Event, error) {
	switch {
	case !ValidID(string(cmd.AgentID)):
		return nil, RejectField(Invalid, "/agentId", "an id is 1 to 64 of A-Z a-z 0-9 _ and -")
	case ReservedAgentID(cmd.AgentID) != "" && a.Version == 0:
		return nil, RejectField(Invalid, "/agentId", "%s is reserved: %s; choose another id", cmd.AgentID, ReservedAgentID(cmd.AgentID))
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
		checkWords("/name", cmd.Name, 1, 128),
		checkText("/provider", cmd.Provider, 0, 128),
		checkWords("/label", cmd.Label, 0, 128),
		checkText("/externalId", cmd.ExternalID, 0, 256),
	); err != nil {
		return nil, err
	}
	if a.Version > 0 {
		return nil, Reject(Conflict, "agent %s exists already", cmd.AgentID)
	}
	return []Event{AgentRegistered{
		Name: cmd.Name, Type: cmd.Type, Provider: cmd.Provider, Label: cmd.Label,
		ExternalID: cmd.ExternalID, Key: cmd.Key, Driver: cmd.Driver,
	}}, nil
}

// Drive says whose work the agent does.
func (a Agent) Drive(driver MemberID) ([]Event, error) {
	switch {
	case !a.Exists():
		return nil, errNoAgent
	case a.Driver == driver:
		return nil, nil
	}
	return []Event{AgentDriverChanged{Driver: driver}}, nil
}

// SetLimits decides on the limits of all permissions together. None at all end
// them.
func (a Agent) SetLimits(l Limits, account Account) ([]Event, error) {
	if !a.Exists() {
		return nil, errNoAgent
	}
	l, err := l.Accept(account.Currency, account.Zone())
	if err != nil {
		return nil, err
	}
	if sameLimits(l, a.Limits) {
		return nil, nil
	}
	return []Event{AgentLimitsSet{l}}, nil
}

// Share puts the agent under the account's limits, or takes it out from under
// them, as they stand.
func (a Agent) Share(b SharedBudget) []Event {
	if !a.Exists() || a.Budget >= b.Set.Seq {
		return nil
	}
	return []Event{AgentBudgetShared{Shared: b.Limited(), Budget: b.Set.Seq}}
}

// Disable denies the agent everything until it is enabled.
func (a Agent) Disable(reason string) ([]Event, error) {
	if !a.Exists() {
		return nil, errNoAgent
	}
	if err := checkWords("/reason", reason, 0, 512); err != nil {
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
	// TimeZone is the default for a limit that names none.
	TimeZone string
}

// MostPermissions bounds a passport. It keeps a decision's record, which holds
// every check made, well below a message of the log.
const MostPermissions = 256

// Grant decides on a GrantPermission.
func (a Agent) Grant(cmd GrantPermission) ([]Event, error) {
	if !a.Exists() {
		return nil, errNoAgent
	}
	terms, err := cmd.Terms.Accept(cmd.Now, cmd.Currency, cmd.TimeZone)
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
	terms, err := cmd.Terms.Accept(cmd.Now, cmd.Currency, cmd.TimeZone)
	if err != nil {
		return nil, err
	}
	return []Event{PermissionReplaced{PermissionID: p.ID, Terms: terms, Cancels: a.resting(p.ID)}}, nil
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
	if err := cmp.Or(a.unchanged(p, cmd.IfVersion), checkWords("/reason", cmd.Reason, 0, 512)); err != nil {
		return nil, err
	}
	return []Event{PermissionRevoked{PermissionID: p.ID, Reason: cmd.Reason, Cancels: a.resting(p.ID)}}, nil
}

func (a Agent) unchanged(p *Permission, since uint64) error {
	if since == 0 || p.Version <= since && since <= a.Version {
		return nil
	}
	return Reject(Stale, "permission %s is at version %d, not %d; read it again and repeat", p.ID, p.Version, since)
}

var errNoAgent = Reject(NotFound, "no such agent")
