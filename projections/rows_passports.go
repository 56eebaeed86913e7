package projections

import (
	"time"

	"github.com/go-json-experiment/json"

	"github.com/behalf-platform/behalf/domain"
)

// AgentRow is an agent as its events leave it.
type AgentRow struct {
	Account    domain.AccountID
	Agent      domain.AgentID
	Name       string
	Type       domain.AgentType
	Provider   string
	Label      string
	ExternalID string
	Status     domain.AgentStatus
	Driver     domain.MemberID
	HasKey     bool
	Shared     bool
	// Limits is domain.Limits as JSON, empty for none.
	Limits []byte
	// Version is the passport version, and UpdatedAt the time of that event.
	Version                 uint64
	RegisteredAt, UpdatedAt time.Time
}

// AgentChange is what events change of an agent. Nil is no change.
type AgentChange struct {
	Seq       uint64 // of the newest of them
	Account   domain.AccountID
	Agent     domain.AgentID
	Status    *domain.AgentStatus
	Driver    *domain.MemberID
	HasKey    *bool
	Shared    *bool
	Limits    *[]byte
	UpdatedAt time.Time
}

// PermissionRow is one wording of a permission, from the event that gave it to
// the one that ended it.
type PermissionRow struct {
	Account      domain.AccountID
	Agent        domain.AgentID
	PermissionID domain.PermissionID
	// Version is the sequence of the event that gave the terms.
	Version uint64
	Since   time.Time
	// Terms is domain.Terms as JSON.
	Terms []byte
	// EndedBy is the sequence of the event that replaced or revoked them, 0 while
	// they stand.
	EndedBy uint64
	EndedAt time.Time
	Revoked bool
}

// PermissionEnd ends the wording of a permission that stands.
type PermissionEnd struct {
	Account      domain.AccountID
	Agent        domain.AgentID
	PermissionID domain.PermissionID
	Seq          uint64
	At           time.Time
	Revoked      bool
}

// MemberRow is a member of an account, removed ones among them.
type MemberRow struct {
	Account  domain.AccountID
	MemberID domain.MemberID
	Name     string
	Role     domain.Role
	Removed  bool
	AddedAt  time.Time
	// Version is the sequence of the event that last changed the row.
	Version uint64
}

// MemberChange is what events change of a member. Nil is no change.
type MemberChange struct {
	Seq      uint64 // of the newest of them
	Account  domain.AccountID
	MemberID domain.MemberID
	Role     *domain.Role
	Removed  *bool
}

// ChangeRow is an event that changed a passport or an account: every event but
// decisions and what is charged to budgets.
type ChangeRow struct {
	Account domain.AccountID
	// Agent is empty for an event of the account itself.
	Agent     domain.AgentID
	Partition uint16
	Seq       uint64
	EventID   domain.EventID
	Kind      domain.Kind
	At        time.Time
	Actor     domain.Actor
	Cause     string
	// Record is the event as it lies in the log, to the byte.
	Record []byte
}

type permissionKey struct {
	stream     domain.Stream
	permission domain.PermissionID
}

func (b *Batch) addPassport(r *domain.Recorded) error {
	switch r.Event.(type) {
	case domain.DecisionMade:
		if r.Moves() {
			b.agent(r)
		}
		return nil
	case domain.BudgetCharged, domain.BudgetReleased, domain.DecisionConsumed:
		return nil
	case domain.AccountOpened, domain.AccountSettingsChanged, domain.AgentBudgetShared, domain.AgentDisabled,
		domain.AgentDriverChanged, domain.AgentEnabled, domain.AgentKeyRotated, domain.AgentLimitsSet,
		domain.AgentRegistered, domain.ApprovalApproved, domain.ApprovalCancelled, domain.ApprovalDenied,
		domain.ApprovalExpired, domain.ApprovalReminded, domain.ApprovalVoted, domain.BudgetSet, domain.DecisionSettled,
		domain.MemberAdded, domain.MemberRemoved, domain.MemberRoleChanged, domain.MemberTokenRotated,
		domain.PermissionGranted, domain.PermissionReplaced, domain.PermissionRevoked,
		domain.WebhookCreated, domain.WebhookChanged, domain.WebhookVerified, domain.WebhookPaused, domain.WebhookResumed,
		domain.WebhookDisabled, domain.WebhookEnabled, domain.WebhookSecretRotated, domain.WebhookDeleted,
		domain.WebhookTested, domain.WebhookReplayRequested, domain.WebhookReplayCancelled, domain.WebhookReplayFinished,
		domain.WebhookFailing, domain.WebhookRecovered, domain.WebhookSkipped, domain.ReceiptKeyRotated,
		domain.PassportLinkCreated, domain.PassportLinkRevoked:
		// All others are taken as below.
	}
	if s := r.Stream(); !s.Budget && s.Agent == "" {
		b.account(r)
	} else if err := b.passport(r); err != nil {
		return err
	}
	record, err := b.stored(r)
	b.Changes = append(b.Changes, ChangeRow{
		Account: text(r.Account), Agent: text(r.Agent), Partition: r.Position.Partition, Seq: r.Position.Seq,
		EventID: text(r.ID), Kind: r.Event.Kind(), At: r.At, Actor: text(r.Actor), Cause: text(r.Cause), Record: record,
	})
	return err
}

func (b *Batch) passport(r *domain.Recorded) error {
	switch e := r.Event.(type) {
	case domain.AgentRegistered:
		b.agents[r.Stream()] = len(b.Agents)
		b.Agents = append(b.Agents, AgentRow{
			Account: text(r.Account), Agent: text(r.Agent), Name: text(e.Name), Type: text(e.Type), Provider: text(e.Provider),
			Label: text(e.Label), ExternalID: text(e.ExternalID), Status: domain.AgentActive, Driver: text(e.Driver),
			HasKey: e.Key != "", Version: r.Position.Seq, RegisteredAt: r.At, UpdatedAt: r.At,
		})
	case domain.AgentDisabled:
		b.agent(r).status(domain.AgentIsDisabled)
	case domain.AgentEnabled:
		b.agent(r).status(domain.AgentActive)
	case domain.AgentKeyRotated:
		b.agent(r).key(e.Key != "")
	case domain.AgentDriverChanged:
		b.agent(r).driver(text(e.Driver))
	case domain.AgentBudgetShared:
		b.agent(r).shared(e.Shared)
	case domain.AgentLimitsSet:
		limits, err := json.Marshal(e.Limits, json.Deterministic(true))
		if err != nil {
			return err
		}
		b.agent(r).limits(limits)
	case domain.PermissionGranted:
		b.agent(r)
		return b.grant(r, e.PermissionID, e.Terms)
	case domain.PermissionReplaced:
		b.agent(r)
		b.end(r, e.PermissionID, false)
		return b.grant(r, e.PermissionID, e.Terms)
	case domain.PermissionRevoked:
		b.agent(r)
		b.end(r, e.PermissionID, true)
	case domain.DecisionSettled, domain.ApprovalVoted, domain.ApprovalApproved, domain.ApprovalDenied,
		domain.ApprovalCancelled, domain.ApprovalReminded, domain.ApprovalExpired:
		b.agent(r)
	case domain.AccountOpened, domain.AccountSettingsChanged, domain.MemberAdded, domain.MemberRoleChanged,
		domain.MemberTokenRotated, domain.MemberRemoved, domain.DecisionMade, domain.BudgetSet, domain.BudgetCharged,
		domain.BudgetReleased,
		domain.WebhookCreated, domain.WebhookChanged, domain.WebhookVerified, domain.WebhookPaused, domain.WebhookResumed,
		domain.WebhookDisabled, domain.WebhookEnabled, domain.WebhookSecretRotated, domain.WebhookDeleted,
		domain.WebhookTested, domain.WebhookReplayRequested, domain.WebhookReplayCancelled, domain.WebhookReplayFinished,
		domain.WebhookFailing, domain.WebhookRecovered, domain.WebhookSkipped, domain.ReceiptKeyRotated, domain.DecisionConsumed,
		domain.PassportLinkCreated, domain.PassportLinkRevoked:
		// Not the agent's.
	}
	return nil
}

// agentEdit changes an agent, be it a row of the batch or one from before it.
type agentEdit struct {
	row    *AgentRow
	change *AgentChange
}

// agent is the agent of an event, moved to its version.
func (b *Batch) agent(r *domain.Recorded) agentEdit {
	s := domain.Stream{Account: r.Account, Agent: r.Agent}
	if i, ok := b.agents[s]; ok {
		row := &b.Agents[i]
		row.Version, row.UpdatedAt = r.Position.Seq, domain.Later(row.UpdatedAt, r.At)
		return agentEdit{row: row}
	}
	i, ok := b.agentChanges[s]
	if !ok {
		i = len(b.AgentChanges)
		b.agentChanges[s] = i
		b.AgentChanges = append(b.AgentChanges, AgentChange{Account: text(r.Account), Agent: text(r.Agent)})
	}
	change := &b.AgentChanges[i]
	change.Seq, change.UpdatedAt = r.Position.Seq, domain.Later(change.UpdatedAt, r.At)
	return agentEdit{change: change}
}

func (e agentEdit) status(v domain.AgentStatus) {
	if e.row != nil {
		e.row.Status = v
		return
	}
	e.change.Status = &v
}

func (e agentEdit) key(v bool) {
	if e.row != nil {
		e.row.HasKey = v
		return
	}
	e.change.HasKey = &v
}

func (e agentEdit) driver(v domain.MemberID) {
	if e.row != nil {
		e.row.Driver = v
		return
	}
	e.change.Driver = &v
}

func (e agentEdit) shared(v bool) {
	if e.row != nil {
		e.row.Shared = v
		return
	}
	e.change.Shared = &v
}

func (e agentEdit) limits(v []byte) {
	if e.row != nil {
		e.row.Limits = v
		return
	}
	e.change.Limits = &v
}

func (b *Batch) grant(r *domain.Recorded, id domain.PermissionID, terms domain.Terms) error {
	t, err := json.Marshal(terms, json.Deterministic(true))
	if err != nil {
		return err
	}
	b.permissions[permissionKey{r.Stream(), id}] = len(b.Permissions)
	b.Permissions = append(b.Permissions, PermissionRow{
		Account: text(r.Account), Agent: text(r.Agent), PermissionID: text(id), Version: r.Position.Seq, Since: r.At, Terms: t,
	})
	return nil
}

func (b *Batch) end(r *domain.Recorded, id domain.PermissionID, revoked bool) {
	key := permissionKey{r.Stream(), id}
	if i, ok := b.permissions[key]; ok {
		p := &b.Permissions[i]
		p.EndedBy, p.EndedAt, p.Revoked = r.Position.Seq, r.At, revoked
		delete(b.permissions, key)
		return
	}
	b.PermissionEnds = append(b.PermissionEnds, PermissionEnd{
		Account: text(r.Account), Agent: text(r.Agent), PermissionID: text(id), Seq: r.Position.Seq, At: r.At, Revoked: revoked,
	})
}

// account takes an event of the account itself.
func (b *Batch) account(r *domain.Recorded) {
	switch e := r.Event.(type) {
	case domain.AccountOpened:
		b.member(r, e.Owner, "owner", domain.RoleOwner)
	case domain.MemberAdded:
		b.member(r, e.MemberID, e.Name, e.Role)
	case domain.MemberRoleChanged:
		b.changeMember(r, e.MemberID, &e.Role, nil)
	case domain.MemberRemoved:
		removed := true
		b.changeMember(r, e.MemberID, nil, &removed)
	case domain.MemberTokenRotated:
		b.changeMember(r, e.MemberID, nil, nil)
	case domain.AccountSettingsChanged,
		domain.WebhookCreated, domain.WebhookChanged, domain.WebhookVerified, domain.WebhookPaused, domain.WebhookResumed,
		domain.WebhookDisabled, domain.WebhookEnabled, domain.WebhookSecretRotated, domain.WebhookDeleted,
		domain.WebhookTested, domain.WebhookReplayRequested, domain.WebhookReplayCancelled, domain.WebhookReplayFinished,
		domain.WebhookFailing, domain.WebhookRecovered, domain.WebhookSkipped, domain.ReceiptKeyRotated, domain.DecisionConsumed,
		domain.PassportLinkCreated, domain.PassportLinkRevoked:
		// In the history; the settings themselves are no row.
	case domain.AgentRegistered, domain.AgentDisabled, domain.AgentEnabled, domain.AgentKeyRotated,
		domain.AgentDriverChanged, domain.AgentLimitsSet, domain.AgentBudgetShared, domain.PermissionGranted,
		domain.PermissionReplaced, domain.PermissionRevoked, domain.DecisionMade, domain.DecisionSettled,
		domain.ApprovalVoted, domain.ApprovalApproved, domain.ApprovalDenied, domain.ApprovalCancelled,
		domain.ApprovalReminded, domain.ApprovalExpired, domain.BudgetSet, domain.BudgetCharged, domain.BudgetReleased:
		// Not the account's.
	}
}

func (b *Batch) member(r *domain.Recorded, id domain.MemberID, name string, role domain.Role) {
	b.members[memberRef{r.Account, id}] = len(b.Members)
	b.Members = append(b.Members, MemberRow{
		Account: text(r.Account), MemberID: text(id), Name: text(name), Role: text(role), AddedAt: r.At, Version: r.Position.Seq,
	})
}

func (b *Batch) changeMember(r *domain.Recorded, id domain.MemberID, role *domain.Role, removed *bool) {
	ref := memberRef{r.Account, id}
	if i, ok := b.members[ref]; ok {
		m := &b.Members[i]
		m.Version = r.Position.Seq
		set(&m.Role, role)
		set(&m.Removed, removed)
		return
	}
	i, ok := b.memberChanges[ref]
	if !ok {
		i = len(b.MemberChanges)
		b.memberChanges[ref] = i
		b.MemberChanges = append(b.MemberChanges, MemberChange{Account: text(r.Account), MemberID: text(id)})
	}
	c := &b.MemberChanges[i]
	c.Seq = r.Position.Seq
	if role != nil {
		c.Role = role
	}
	if removed != nil {
		c.Removed = removed
	}
}

func set[T any](into, from *T) {
	if from != nil {
		*into = *from
	}
}
