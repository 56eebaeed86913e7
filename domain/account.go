package domain

import (
	"cmp"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Role is what a member may do. The zero Role may do nothing.
type Role string

// Each role may do what the ones below it may.
const (
	RoleOwner    Role = "OWNER"    // everything, members of every role included
	RoleAdmin    Role = "ADMIN"    // agents, permissions, settings, members below owner
	RoleApprover Role = "APPROVER" // reads; says yes or no where a person is asked
	RoleViewer   Role = "VIEWER"   // reads
)

func (r Role) rank() int {
	switch r {
	case RoleOwner:
		return 4
	case RoleAdmin:
		return 3
	case RoleApprover:
		return 2
	case RoleViewer:
		return 1
	}
	return 0
}

// Valid reports whether r is one of the roles.
func (r Role) Valid() bool { return r.rank() > 0 }

// AtLeast reports whether r may do what least may.
func (r Role) AtLeast(least Role) bool { return r.Valid() && r.rank() >= least.rank() }

// Member is a person of an account, or a tool that acts for one.
type Member struct {
	ID      MemberID
	Name    string
	Role    Role
	Token   TokenHash
	Removed bool
}

// Account is the fold of an account's own events: who may manage it, and the
// settings that only give defaults. The zero Account has no members.
type Account struct {
	ID       AccountID
	Name     string
	Currency Currency
	// TimeZone is the IANA name of the zone whose calendar limits count in,
	// unless they name one; UTC if it is empty.
	TimeZone  string
	Approvals ApprovalSettings
	// Retention is for how long decisions are kept, and was.
	Retention Retention
	// Members holds the removed ones too, for the audit trail. It is never
	// written to after the Account is handed out.
	Members map[MemberID]Member
	// Endpoints are where its events are sent to, by id and so the oldest first;
	// deleted ones are forgotten. They are not written to either.
	Endpoints []*Endpoint
	// Receipts are the keys that its receipts are signed with.
	Receipts ReceiptKeys
	// Links are to passports of its agents, the newest last. They are not written
	// to either.
	Links []*Link
	// Version is the sequence of the newest event folded.
	Version uint64
}

// Zone is the account's time zone.
func (a Account) Zone() string { return cmp.Or(a.TimeZone, "UTC") }

// Opened reports whether the account exists.
func (a Account) Opened() bool { return a.Version > 0 }

// Member returns a member who was not removed.
func (a Account) Member(id MemberID) (Member, bool) {
	m, ok := a.Members[id]
	return m, ok && !m.Removed
}

// Roster is every member who was not removed, by id.
func (a Account) Roster() []Member {
	var roster []Member
	for _, m := range a.Members {
		if !m.Removed {
			roster = append(roster, m)
		}
	}
	slices.SortFunc(roster, func(x, y Member) int { return cmp.Compare(x.ID, y.ID) })
	return roster
}

// Evolve folds one recorded event of the account in. It never refuses: the
// event already happened. Events it has seen, and an agent's, change nothing.
func (a Account) Evolve(r Recorded) Account {
	if r.Agent != "" || r.Position.Seq <= a.Version {
		return a
	}
	a.Version = r.Position.Seq
	switch e := r.Event.(type) {
	case AccountOpened:
		a.ID, a.Name, a.Currency, a.Approvals = r.Account, e.Name, e.Currency, DefaultApprovals()
		return a.with(Member{ID: e.Owner, Name: "owner", Role: RoleOwner, Token: e.Token})
	case AccountSettingsChanged:
		a.Name, a.Currency, a.TimeZone, a.Approvals = e.Name, e.Currency, e.TimeZone, DefaultApprovals()
		if e.Approvals != nil {
			a.Approvals = *e.Approvals
		}
		a.Retention = a.Retention.change(r.At, e.DecisionRetention)
	case MemberAdded:
		return a.with(Member{ID: e.MemberID, Name: e.Name, Role: e.Role, Token: e.Token})
	case MemberRoleChanged:
		m := a.Members[e.MemberID]
		m.Role = e.Role
		return a.with(m)
	case MemberTokenRotated:
		m := a.Members[e.MemberID]
		m.Token = e.Token
		return a.with(m)
	case MemberRemoved:
		m := a.Members[e.MemberID]
		m.Removed, m.Token = true, ""
		return a.with(m)
	case ReceiptKeyRotated:
		a.Receipts = a.Receipts.rotated(r, e)
	case WebhookCreated, WebhookChanged, WebhookVerified, WebhookPaused, WebhookResumed, WebhookDisabled, WebhookEnabled,
		WebhookSecretRotated, WebhookDeleted, WebhookTested, WebhookReplayRequested, WebhookReplayCancelled,
		WebhookReplayFinished, WebhookFailing, WebhookRecovered, WebhookSkipped:
		return a.evolveEndpoint(r)
	case PassportLinkCreated:
		return a.linked(e, r)
	case PassportLinkRevoked:
		return a.unlinked(e.LinkID, r)
	case AgentRegistered, AgentDisabled, AgentEnabled, AgentKeyRotated, AgentDriverChanged, AgentLimitsSet, AgentBudgetShared,
		PermissionGranted, PermissionReplaced, PermissionRevoked, DecisionMade, DecisionSettled,
		ApprovalVoted, ApprovalApproved, ApprovalDenied, ApprovalCancelled, ApprovalReminded, ApprovalExpired,
		BudgetSet, BudgetCharged, BudgetReleased, DecisionConsumed:
		// An agent's or the budget's, not the account's.
	}
	return a
}

func (a Account) with(m Member) Account {
	members := maps.Clone(a.Members)
	if members == nil {
		members = map[MemberID]Member{}
	}
	members[m.ID] = m
	a.Members = members
	return a
}

// OpenAccount begins an account.
type OpenAccount struct {
	Name     string
	Currency Currency
	Owner    MemberID
	Token    TokenHash
}

// Open decides on an OpenAccount.
func (a Account) Open(cmd OpenAccount) ([]Event, error) {
	if a.Opened() {
		return nil, Reject(Conflict, "account %s is open already", a.ID)
	}
	if _, err := ParseCurrency(string(cmd.Currency)); err != nil {
		return nil, RejectField(Invalid, "/defaultCurrency", "%v", err)
	}
	if err := checkWords("/name", cmd.Name, 1, 128); err != nil {
		return nil, err
	}
	return []Event{AccountOpened(cmd)}, nil
}

// ChangeSettings changes what is not nil. By is who asks.
type ChangeSettings struct {
	By        Member
	Name      *string
	Currency  *Currency
	TimeZone  *string
	Approvals ChangeApprovals
	// DecisionRetention is 0 for ever.
	DecisionRetention *Duration
}

// ChangeApprovals changes what is not nil of an account's approval settings.
type ChangeApprovals struct {
	PendingFor    *Duration `json:"pendingFor,omitzero"`
	ValidFor      *Duration `json:"validFor,omitzero"`
	DenialFor     *Duration `json:"denialFor,omitzero"`
	RemindEvery   *Duration `json:"remindEvery,omitzero"`
	MostPending   *int      `json:"mostPending,omitzero"`
	SelfApproval  *bool     `json:"selfApproval,omitzero"`
	ShareComments *bool     `json:"shareComments,omitzero"`
}

func (c ChangeApprovals) of(s ApprovalSettings) ApprovalSettings {
	set(&s.PendingFor, c.PendingFor)
	set(&s.ValidFor, c.ValidFor)
	set(&s.DenialFor, c.DenialFor)
	set(&s.RemindEvery, c.RemindEvery)
	set(&s.MostPending, c.MostPending)
	set(&s.SelfApproval, c.SelfApproval)
	set(&s.ShareComments, c.ShareComments)
	return s
}

func set[T any](into, from *T) {
	if from != nil {
		*into = *from
	}
}

// Change decides on a ChangeSettings.
func (a Account) Change(cmd ChangeSettings) ([]Event, error) {
	next := AccountSettingsChanged{Name: a.Name, Currency: a.Currency, TimeZone: a.TimeZone, DecisionRetention: a.Retention.Now()}
	if cmd.Name != nil {
		if err := checkWords("/name", *cmd.Name, 1, 128); err != nil {
			return nil, err
		}
		next.Name = *cmd.Name
	}
	if cmd.Currency != nil {
		if _, err := ParseCurrency(string(*cmd.Currency)); err != nil {
			return nil, RejectField(Invalid, "/defaultCurrency", "%v", err)
		}
		next.Currency = *cmd.Currency
	}
	if cmd.TimeZone != nil {
		if _, err := loadZone(*cmd.TimeZone); err != nil {
			return nil, RejectField(Invalid, "/timeZone", "%v", err)
		}
		next.TimeZone = *cmd.TimeZone
	}
	set(&next.DecisionRetention, cmd.DecisionRetention)
	if err := checkRetention(next.DecisionRetention); err != nil {
		return nil, err
	}
	approvals := cmd.Approvals.of(a.Approvals)
	if err := approvals.check(); err != nil {
		return nil, err
	}
	if approvals.SelfApproval != a.Approvals.SelfApproval && cmd.By.Role != RoleOwner {
		return nil, RejectField(Forbidden, "/approvals/selfApproval", "only an owner decides whether people may approve their own agents")
	}
	if next.Name == a.Name && next.Currency == a.Currency && next.TimeZone == a.TimeZone && approvals == a.Approvals &&
		next.DecisionRetention == a.Retention.Now() {
		return nil, nil
	}
	if approvals != DefaultApprovals() {
		next.Approvals = &approvals
	}
	return []Event{next}, nil
}

// AddMember adds a member. By is who asks.
type AddMember struct {
	By       Member
	MemberID MemberID
	Name     string
	Role     Role
	Token    TokenHash
}

// Add decides on an AddMember.
func (a Account) Add(cmd AddMember) ([]Event, error) {
	if !cmd.Role.Valid() {
		return nil, RejectField(Invalid, "/role", "%q is not a role; use OWNER, ADMIN, APPROVER or VIEWER", cmd.Role)
	}
	if err := checkWords("/name", cmd.Name, 1, 128); err != nil {
		return nil, err
	}
	if err := outranks(cmd.By, cmd.Role); err != nil {
		return nil, err
	}
	if _, taken := a.Members[cmd.MemberID]; taken {
		return nil, Reject(Conflict, "member %s exists already", cmd.MemberID)
	}
	return []Event{MemberAdded{MemberID: cmd.MemberID, Name: cmd.Name, Role: cmd.Role, Token: cmd.Token}}, nil
}

// ChangeRole gives a member another role.
type ChangeRole struct {
	By       Member
	MemberID MemberID
	Role     Role
}

// ChangeRole decides on a ChangeRole.
func (a Account) ChangeRole(cmd ChangeRole) ([]Event, error) {
	m, ok := a.Member(cmd.MemberID)
	switch {
	case !cmd.Role.Valid():
		return nil, RejectField(Invalid, "/role", "%q is not a role; use OWNER, ADMIN, APPROVER or VIEWER", cmd.Role)
	case !ok:
		return nil, Reject(NotFound, "no member %s", cmd.MemberID)
	case m.Role == cmd.Role:
		return nil, nil
	}
	if err := cmp.Or(outranks(cmd.By, m.Role), outranks(cmd.By, cmd.Role), a.keepsOwner(m)); err != nil {
		return nil, err
	}
	return []Event{MemberRoleChanged{MemberID: m.ID, Role: cmd.Role}}, nil
}

// RotateToken gives a member a new token. Everybody may rotate their own.
type RotateToken struct {
	By       Member
	MemberID MemberID
	Token    TokenHash
}

// RotateToken decides on a RotateToken.
func (a Account) RotateToken(cmd RotateToken) ([]Event, error) {
	m, ok := a.Member(cmd.MemberID)
	if !ok {
		return nil, Reject(NotFound, "no member %s", cmd.MemberID)
	}
	if cmd.By.ID != m.ID {
		if err := outranks(cmd.By, m.Role); err != nil {
			return nil, err
		}
	}
	return []Event{MemberTokenRotated{MemberID: m.ID, Token: cmd.Token}}, nil
}

// RemoveMember ends a member's rights. The name stays for the audit trail.
type RemoveMember struct {
	By       Member
	MemberID MemberID
}

// Remove decides on a RemoveMember.
func (a Account) Remove(cmd RemoveMember) ([]Event, error) {
	m, known := a.Members[cmd.MemberID]
	switch {
	case !known:
		return nil, Reject(NotFound, "no member %s", cmd.MemberID)
	case m.Removed:
		return nil, nil
	}
	if err := cmp.Or(outranks(cmd.By, m.Role), a.keepsOwner(m)); err != nil {
		return nil, err
	}
	return []Event{MemberRemoved{MemberID: m.ID}}, nil
}

// outranks is the rule that owners deal with owners, and admins with the rest.
func outranks(by Member, role Role) error {
	if by.Role.AtLeast(RoleAdmin) && by.Role.AtLeast(role) {
		return nil
	}
	return Reject(Forbidden, "a member with the role %s can't manage one with the role %s", by.Role, role)
}

// keepsOwner refuses to take the last owner away, which would leave an account
// nobody can manage.
func (a Account) keepsOwner(leaving Member) error {
	if leaving.Role != RoleOwner {
		return nil
	}
	for _, m := range a.Members {
		if m.ID != leaving.ID && m.Role == RoleOwner && !m.Removed {
			return nil
		}
	}
	return Reject(Conflict, "%s is the last owner; make another member OWNER first", leaving.ID)
}

// checkWords is checkText for what people write in their own words. It is kept
// for ever, so that what is plainly somebody's address is refused.
func checkWords(field, s string, least, most int) error {
	if err := checkText(field, s, least, most); err != nil {
		return err
	}
	if mailAddress.MatchString(s) {
		return RejectField(Invalid, field, "has an e-mail address; this is kept for ever, so name people by a handle or their member id")
	}
	return nil
}

var mailAddress = regexp.MustCompile(`[\pL\pN._%+-]@[\pL\pN-]+\.[\pL\pN]`)

// checkText refuses what can't be shown safely: control, bidirectional and
// other invisible characters, blanks around it, or a length out of bounds.
func checkText(field, s string, least, most int) error {
	switch n := utf8.RuneCountInString(s); {
	case n < least:
		return RejectField(Invalid, field, "is required")
	case n > most:
		return RejectField(Invalid, field, "is %d characters long; at most %d are taken", n, most)
	case !utf8.ValidString(s):
		return RejectField(Invalid, field, "is not UTF-8")
	case strings.TrimSpace(s) != s:
		return RejectField(Invalid, field, "begins or ends with blanks")
	}
	for _, r := range s {
		if r != '\n' && r != '\t' && (unicode.IsControl(r) || unicode.In(r, unicode.Cf)) {
			return RejectField(Invalid, field, "has the invisible character %U", r)
		}
	}
	return nil
}
