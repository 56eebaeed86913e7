package domain

import "time"

// Event is a fact that was recorded. The set is closed: only this package adds
// to it, and a switch over Event must name every member.
//
//sumtype:decl
type Event interface {
	Kind() Kind
	event()
}

// Kind is the stored name of an event: noun.verb_past.vN.
type Kind string

// Every kind ever written. Add; never edit or remove.
const (
	KindAccountOpened          Kind = "account.opened.v1"
	KindAccountSettingsChanged Kind = "account.settings_changed.v1"
	KindMemberAdded            Kind = "member.added.v1"
	KindMemberRoleChanged      Kind = "member.role_changed.v1"
	KindMemberTokenRotated     Kind = "member.token_rotated.v1"
	KindMemberRemoved          Kind = "member.removed.v1"
	KindAgentRegistered        Kind = "agent.registered.v1"
	KindAgentDisabled          Kind = "agent.disabled.v1"
	KindAgentEnabled           Kind = "agent.enabled.v1"
	KindAgentKeyRotated        Kind = "agent.key_rotated.v1"
	KindPermissionGranted      Kind = "permission.granted.v1"
	KindPermissionReplaced     Kind = "permission.replaced.v1"
	KindPermissionRevoked      Kind = "permission.revoked.v1"
	KindDecisionMade           Kind = "decision.made.v1"
)

// Kinds lists every kind, oldest first.
func Kinds() []Kind {
	return []Kind{
		KindAccountOpened, KindAccountSettingsChanged,
		KindMemberAdded, KindMemberRoleChanged, KindMemberTokenRotated, KindMemberRemoved,
		KindAgentRegistered, KindAgentDisabled, KindAgentEnabled, KindAgentKeyRotated,
		KindPermissionGranted, KindPermissionReplaced, KindPermissionRevoked,
		KindDecisionMade,
	}
}

// The facts about an account and its members. They share the account's subject.
type (
	// AccountOpened begins an account, together with its owner: one event, so
	// that no account exists that nobody can manage.
	AccountOpened struct {
		Name     string    `json:"name"`
		Currency Currency  `json:"currency"` // default for requests that name none
		Owner    MemberID  `json:"owner"`
		Token    TokenHash `json:"tokenHash"`
	}
	// AccountSettingsChanged carries the settings as they stand afterwards.
	AccountSettingsChanged struct {
		Name     string   `json:"name"`
		Currency Currency `json:"currency"`
	}
	// MemberAdded lets a person or a tool of theirs act for the account.
	MemberAdded struct {
		MemberID MemberID  `json:"memberId"`
		Name     string    `json:"name"` // a handle for the audit trail; it is kept for ever
		Role     Role      `json:"role"`
		Token    TokenHash `json:"tokenHash"`
	}
	MemberRoleChanged struct {
		MemberID MemberID `json:"memberId"`
		Role     Role     `json:"role"`
	}
	// MemberTokenRotated makes the token before it worthless.
	MemberTokenRotated struct {
		MemberID MemberID  `json:"memberId"`
		Token    TokenHash `json:"tokenHash"`
	}
	MemberRemoved struct {
		MemberID MemberID `json:"memberId"`
	}
)

// The facts about one agent: all that decides what it may do next. They share
// the agent's subject, which is the fence of its decisions.
type (
	// AgentRegistered begins an agent with an empty passport.
	AgentRegistered struct {
		Name       string    `json:"name"`
		Type       AgentType `json:"type"`
		Provider   string    `json:"provider,omitempty"`
		Label      string    `json:"label,omitempty"`
		ExternalID string    `json:"externalId,omitempty"`
		// Key is empty for a connected agent that has no key.
		Key TokenHash `json:"keyHash,omitempty"`
	}
	// AgentDisabled denies whatever the agent asks, until it is enabled.
	AgentDisabled struct {
		Reason string `json:"reason,omitempty"`
	}
	AgentEnabled struct{}
	// AgentKeyRotated makes the key before it worthless.
	AgentKeyRotated struct {
		Key TokenHash `json:"keyHash"`
	}
	PermissionGranted struct {
		PermissionID PermissionID `json:"permissionId"`
		Terms        Terms        `json:"terms"`
	}
	// PermissionReplaced is one event, so that no moment exists in which both
	// or neither of the terms hold.
	PermissionReplaced struct {
		PermissionID PermissionID `json:"permissionId"`
		Terms        Terms        `json:"terms"`
	}
	PermissionRevoked struct {
		PermissionID PermissionID `json:"permissionId"`
		Reason       string       `json:"reason,omitempty"`
	}
)

func (AccountOpened) Kind() Kind          { return KindAccountOpened }
func (AccountSettingsChanged) Kind() Kind { return KindAccountSettingsChanged }
func (MemberAdded) Kind() Kind            { return KindMemberAdded }
func (MemberRoleChanged) Kind() Kind      { return KindMemberRoleChanged }
func (MemberTokenRotated) Kind() Kind     { return KindMemberTokenRotated }
func (MemberRemoved) Kind() Kind          { return KindMemberRemoved }
func (AgentRegistered) Kind() Kind        { return KindAgentRegistered }
func (AgentDisabled) Kind() Kind          { return KindAgentDisabled }
func (AgentEnabled) Kind() Kind           { return KindAgentEnabled }
func (AgentKeyRotated) Kind() Kind        { return KindAgentKeyRotated }
func (PermissionGranted) Kind() Kind      { return KindPermissionGranted }
func (PermissionReplaced) Kind() Kind     { return KindPermissionReplaced }
func (PermissionRevoked) Kind() Kind      { return KindPermissionRevoked }
func (DecisionMade) Kind() Kind           { return KindDecisionMade }

func (AccountOpened) event()          {}
func (AccountSettingsChanged) event() {}
func (MemberAdded) event()            {}
func (MemberRoleChanged) event()      {}
func (MemberTokenRotated) event()     {}
func (MemberRemoved) event()          {}
func (AgentRegistered) event()        {}
func (AgentDisabled) event()          {}
func (AgentEnabled) event()           {}
func (AgentKeyRotated) event()        {}
func (PermissionGranted) event()      {}
func (PermissionReplaced) event()     {}
func (PermissionRevoked) event()      {}
func (DecisionMade) event()           {}

// Actor is who did something: "member:" and a member id, "agent:" and an agent
// id, or "system:" and the name of a part of Behalf.
type Actor string

// ByMember is the actor for a member.
func ByMember(id MemberID) Actor { return Actor("member:" + id) }

// ByAgent is the actor for an agent.
func ByAgent(id AgentID) Actor { return Actor("agent:" + id) }

// BySystem is the actor for a part of Behalf itself.
func BySystem(part string) Actor { return Actor("system:" + part) }

// Record is an event with what everyone wants to know of it, on its way into
// the log.
type Record struct {
	ID EventID
	// At is decided once, by the writer, in UTC.
	At      time.Time
	Actor   Actor
	Account AccountID
	Agent   AgentID // empty for events of the account itself
	// Cause is the id of the request or event that led to this one, or empty.
	Cause string
	Event Event
}

// Stream is where the record's state lives, and so the subject that guards it.
func (r Record) Stream() Stream { return Stream{r.Account, r.Agent} }

// Recorded is a record in the log.
type Recorded struct {
	Record
	Position Position
	// Last is the version of its stream the record was appended on: the
	// sequence of the stream's newest event then, 0 for none.
	Last uint64
	// LoggedAt is the log's own clock, the check on At.
	LoggedAt time.Time
}

// Stream names the events that are folded into one state, an account's (Agent
// is empty) or an agent's. Decisions do not belong to it, they are guarded by it.
type Stream struct {
	Account AccountID
	Agent   AgentID
}

func (s Stream) String() string {
	if s.Agent == "" {
		return string(s.Account)
	}
	return string(s.Account) + "/" + string(s.Agent)
}
