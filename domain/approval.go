package domain

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// ApprovalRule says when an action needs a person's yes: always, or only above
// an amount. The zero rule is never. In JSON it is a boolean or a decimal.
type ApprovalRule struct {
	Always bool
	// Above is in the currency of the terms it belongs to.
	Above Decimal
}

// UnmarshalJSONFrom takes a boolean, or an amount as a string or a number.
func (a *ApprovalRule) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	switch dec.PeekKind() {
	case 't', 'f':
		t, err := dec.ReadToken()
		if err != nil {
			return err
		}
		*a = ApprovalRule{Always: t.Bool()}
		return nil
	case '0', '"':
		*a = ApprovalRule{}
		return a.Above.UnmarshalJSONFrom(dec)
	}
	return fmt.Errorf("want true, false, or the amount above which a person is asked, got %s", dec.PeekKind())
}

// MarshalJSONTo is the inverse of UnmarshalJSONFrom.
func (a ApprovalRule) MarshalJSONTo(enc *jsontext.Encoder) error {
	if a.Above != "" {
		return enc.WriteToken(jsontext.String(string(a.Above)))
	}
	return enc.WriteToken(jsontext.Bool(a.Always))
}

// ApprovalTerms narrow, for one permission, what the account's settings say of
// approvals: a duration can be shorter, never longer.
type ApprovalTerms struct {
	// MinRole is the least role of whoever says yes, APPROVER if empty.
	MinRole Role `json:"minRole,omitempty"`
	// Quorum is how many distinct people have to say yes, 1 if 0.
	Quorum     int      `json:"quorum,omitzero"`
	PendingFor Duration `json:"pendingFor,omitzero"`
	ValidFor   Duration `json:"validFor,omitzero"`
	DenialFor  Duration `json:"denialFor,omitzero"`
}

// mostQuorum bounds a quorum: more people than that never agree in time.
const mostQuorum = 16

func (t *ApprovalTerms) check() error {
	switch {
	case *t == ApprovalTerms{}:
		return RejectField(Invalid, "/approval", "is empty; leave it out for the account's settings")
	case t.MinRole != "" && !t.MinRole.AtLeast(RoleApprover):
		return RejectField(Invalid, "/approval/minRole", "%q can't approve; use APPROVER, ADMIN or OWNER", t.MinRole)
	case t.Quorum < 0 || t.Quorum > mostQuorum:
		return RejectField(Invalid, "/approval/quorum", "is %d; use 1 to %d", t.Quorum, mostQuorum)
	}
	return cmp.Or(
		checkDuration("/approval/pendingFor", t.PendingFor, true),
		checkDuration("/approval/validFor", t.ValidFor, true),
		checkDuration("/approval/denialFor", t.DenialFor, true),
	)
}

// longest bounds every duration of an approval.
const longest = Duration(30 * 24 * time.Hour)

func checkDuration(field string, d Duration, zero bool) error {
	if d > longest || d < Duration(time.Second) && (d != 0 || !zero) {
		return RejectField(Invalid, field, "is %s; use 1s to %s", d, longest)
	}
	return nil
}

// ApprovalSettings are what an account says of approvals. A decision that opens
// one records what it used, so that later changes leave it as it is.
type ApprovalSettings struct {
	// PendingFor is how long an approval waits for people; ValidFor how long
	// their yes can be used; DenialFor how long a no answers the same request.
	PendingFor Duration `json:"pendingFor"`
	ValidFor   Duration `json:"validFor"`
	DenialFor  Duration `json:"denialFor"`
	// RemindEvery is how often reviewers are told again, never if 0.
	RemindEvery Duration `json:"remindEvery"`
	// MostPending bounds the open approvals of one agent, so that it can't tire
	// its reviewers.
	MostPending int `json:"mostPending"`
	// SelfApproval lets the driver of an agent say yes to it, recorded as such.
	SelfApproval bool `json:"selfApproval"`
	// ShareComments lets the agent read why it was denied.
	ShareComments bool `json:"shareComments"`
}

// DefaultApprovals are the settings of an account that has set none.
func DefaultApprovals() ApprovalSettings {
	return ApprovalSettings{
		PendingFor: Duration(24 * time.Hour), ValidFor: Duration(30 * time.Minute), DenialFor: Duration(time.Hour),
		RemindEvery: Duration(4 * time.Hour), MostPending: 20,
	}
}

func (s ApprovalSettings) check() error {
	if s.MostPending < 1 || s.MostPending > 1000 {
		return RejectField(Invalid, "/approvals/mostPending", "is %d; use 1 to 1000", s.MostPending)
	}
	return cmp.Or(
		checkDuration("/approvals/pendingFor", s.PendingFor, false),
		checkDuration("/approvals/validFor", s.ValidFor, false),
		checkDuration("/approvals/denialFor", s.DenialFor, false),
		checkReminder(s.RemindEvery),
	)
}

// checkReminder refuses reminders that nobody could keep up with: each is an
// event on the agent's own stream.
func checkReminder(d Duration) error {
	if d != 0 && (d < Duration(time.Minute) || d > longest) {
		return RejectField(Invalid, "/approvals/remindEvery", "is %s; use 1m to %s, or 0s for none", d, longest)
	}
	return nil
}

// Gate is what a decision that asked for a new approval went by: the account's
// settings, narrowed by the permission. A recorded gate is not changed by what
// the settings become.
type Gate struct {
	// Digest is over the whole request, and the permissions that ask, each at its
	// version. An approval is good for what has the same digest and for nothing
	// else.
	Digest      string   `json:"digest"`
	PendingFor  Duration `json:"pendingFor"`
	ValidFor    Duration `json:"validFor"`
	DenialFor   Duration `json:"denialFor"`
	RemindEvery Duration `json:"remindEvery"`
	MinRole     Role     `json:"minRole"`
	Quorum      int      `json:"quorum"`
	MostPending int      `json:"mostPending"`
	// With are the permissions that ask too, beside the decision's own.
	With []PermissionID `json:"with,omitzero"`
}

// gateOf is the gate for a request that passes p, the strictest of those that
// ask. What any of them asks for has to be met.
func gateOf(p *Permission, asking []*Permission, s ApprovalSettings, digest string) *Gate {
	g := &Gate{
		Digest: digest, PendingFor: s.PendingFor, ValidFor: s.ValidFor, DenialFor: s.DenialFor,
		RemindEvery: s.RemindEvery, MostPending: s.MostPending, MinRole: p.minRole(), Quorum: p.quorum(),
	}
	for _, q := range asking {
		if q.minRole().rank() > g.MinRole.rank() {
			g.MinRole = q.minRole()
		}
		g.Quorum = max(g.Quorum, q.quorum())
		if t := q.Terms.Approval; t != nil {
			g.PendingFor = narrower(g.PendingFor, t.PendingFor)
			g.ValidFor = narrower(g.ValidFor, t.ValidFor)
			g.DenialFor = narrower(g.DenialFor, t.DenialFor)
		}
		if q != p {
			g.With = append(g.With, q.ID)
		}
	}
	return g
}

// settings are those that lead to the same gate again.
func (g *Gate) settings() ApprovalSettings {
	return ApprovalSettings{
		PendingFor: g.PendingFor, ValidFor: g.ValidFor, DenialFor: g.DenialFor,
		RemindEvery: g.RemindEvery, MostPending: g.MostPending,
	}
}

func narrower(setting, terms Duration) Duration {
	if terms == 0 {
		return setting
	}
	return min(setting, terms)
}

func (p *Permission) minRole() Role {
	if t := p.Terms.Approval; t != nil && t.MinRole != "" {
		return t.MinRole
	}
	return RoleApprover
}

func (p *Permission) quorum() int {
	if t := p.Terms.Approval; t != nil && t.Quorum > 0 {
		return t.Quorum
	}
	return 1
}

// strictest is the index of the permission that asks for most: the highest role,
// then the most people, then the newest.
func strictest(asking []*Permission) (most int) {
	for i, p := range asking {
		if !asking[most].stricter(p) {
			most = i
		}
	}
	return most
}

// stricter reports whether p asks for more than q before an action is allowed.
func (p *Permission) stricter(q *Permission) bool {
	return cmp.Or(cmp.Compare(p.minRole().rank(), q.minRole().rank()), cmp.Compare(p.quorum(), q.quorum())) > 0
}

// approvalDigest binds an approval to a request in the form it is evaluated and
// recorded in, every field of it, and to the permissions that ask, each at its
// version: where one comes or goes or changes, other people may have to agree.
func approvalDigest(p *Permission, asking []*Permission, req *Request) string {
	b := append(make([]byte, 0, 512), "approval\x00"...)
	b = append(append(b, p.ID...), 0)
	for _, q := range asking {
		b = append(append(b, q.ID...), 0)
		b = append(strconv.AppendUint(b, q.Version, 10), 0)
	}
	sum := sha256.Sum256(req.append(b))
	return hex.EncodeToString(sum[:])
}

// ApprovalState is where an approval stands. The zero state is none, and allows
// nothing.
//
//	             +--> used
//	             |
//	pending --> approved --> expired, cancelled
//	   |
//	   +--> denied, expired, cancelled
type ApprovalState string

const (
	ApprovalPending     ApprovalState = "pending"
	ApprovalIsApproved  ApprovalState = "approved"
	ApprovalIsUsed      ApprovalState = "used"
	ApprovalIsDenied    ApprovalState = "denied"
	ApprovalHasExpired  ApprovalState = "expired"
	ApprovalIsCancelled ApprovalState = "cancelled"
)

// usedFor is how long at least a use answers the same request, so that those
// who asked at the same time are told of it, and ask nobody anew.
const usedFor = time.Minute

// Open reports whether people are still asked, or their yes can still be used.
func (s ApprovalState) Open() bool { return s == ApprovalPending || s == ApprovalIsApproved }

// Vote is one person's yes.
type Vote struct {
	MemberID MemberID  `json:"memberId"`
	At       time.Time `json:"at"`
	Comment  string    `json:"comment,omitempty"`
	Self     bool      `json:"selfApproval,omitzero"`
}

// Approval is a person's answer, awaited or given, to one request. It is never
// written to once it can be seen by others.
type Approval struct {
	ID      ApprovalID
	Account AccountID
	Agent   AgentID
	Gate    Gate
	// RequestID is the decision that opened it; UsedBy the allow that used it.
	RequestID    RequestID
	UsedBy       RequestID
	PermissionID PermissionID
	// PermissionVersion is the one the terms had, and withVersions those of the
	// permissions that ask too, in the order of Gate.With.
	PermissionVersion uint64
	withVersions      []uint64
	Request           Request
	Risk              Risk
	// Drivers are all who have driven the agent since it was opened.
	Drivers []MemberID
	Opened  time.Time
	// ExpiresAt is when it stops waiting, or, once it is approved, when the yes
	// ends. StickyUntil is until when what became of it answers the same request.
	ExpiresAt   time.Time
	StickyUntil time.Time
	Votes       []Vote
	// Resolved is when it last changed its state; By is who did it, empty for
	// the time's being over. Comment is theirs.
	Resolved time.Time
	By       Actor
	Comment  string
	// Shared says that the agent may read the comment.
	Shared    bool
	Reminders int

	state ApprovalState // as recorded
}

// StateAt is the state at a moment: what was recorded, or that its time is over.
func (a *Approval) StateAt(now time.Time) ApprovalState {
	if a.state.Open() && !now.Before(a.ExpiresAt) {
		return ApprovalHasExpired
	}
	return a.state
}

// Recorded is the state the log holds, whatever the time.
func (a *Approval) Recorded() ApprovalState { return a.state }

// answers reports whether the approval decides on the same request at a moment.
func (a *Approval) answers(now time.Time) bool {
	switch a.StateAt(now) {
	case ApprovalPending, ApprovalIsApproved:
		return true
	case ApprovalIsDenied, ApprovalIsUsed:
		return now.Before(a.StickyUntil)
	case ApprovalHasExpired, ApprovalIsCancelled:
	}
	return false
}

// counts reports whether the approval is one of the open ones an agent may have
// so many of. One that the agent cancelled itself counts until it would have
// expired: opening and cancelling must not be a way to ask without end.
func (a *Approval) counts(now time.Time) bool {
	return a.StateAt(now) == ApprovalPending ||
		a.state == ApprovalIsCancelled && a.By == ByAgent(a.Agent) && now.Before(a.StickyUntil)
}

// done reports whether nothing that is decided from a moment on looks at it.
func (a *Approval) done(now time.Time) bool {
	return !a.state.Open() && !now.Before(a.StickyUntil)
}

// NextReminder is when reviewers should be told again, or zero.
func (a *Approval) NextReminder() time.Time {
	if a.state != ApprovalPending || a.Gate.RemindEvery == 0 {
		return time.Time{}
	}
	at := a.Opened.Add(time.Duration(a.Gate.RemindEvery) * time.Duration(a.Reminders+1))
	if !at.Before(a.ExpiresAt) {
		return time.Time{}
	}
	return at
}

// Approval returns an approval that still decides something.
func (a Agent) Approval(id ApprovalID) (*Approval, bool) {
	i := slices.IndexFunc(a.approvals, func(p *Approval) bool { return p.ID == id })
	if i < 0 {
		return nil, false
	}
	return a.approvals[i], true
}

// Approvals are those that still decide something, or are recorded as open, the
// oldest first.
func (a Agent) Approvals() []*Approval { return a.approvals }

// answering is the approval that decides on a request with a digest, or nil.
func (a *Agent) answering(digest string, now time.Time) *Approval {
	for _, p := range slices.Backward(a.approvals) {
		if p.Gate.Digest == digest && p.answers(now) {
			return p
		}
	}
	return nil
}

func (a *Agent) pending(now time.Time) (n int) {
	for _, p := range a.approvals {
		if p.counts(now) {
			n++
		}
	}
	return n
}

// opened is the agent with the approval that a decision opens.
func (a Agent) opened(d DecisionMade, r Recorded) Agent {
	p := &Approval{
		ID: d.ApprovalID, Account: r.Account, Agent: r.Agent, Gate: *d.Gate, RequestID: d.RequestID,
		PermissionID: d.PermissionID, Request: d.Request, Risk: d.Risk, Drivers: []MemberID{a.Driver},
		Opened: r.At, ExpiresAt: r.At.Add(time.Duration(d.Gate.PendingFor)), state: ApprovalPending,
	}
	if granted, ok := a.Permission(d.PermissionID); ok {
		p.PermissionVersion = granted.Version
	}
	for _, id := range d.Gate.With {
		version := uint64(0)
		if granted, ok := a.Permission(id); ok {
			version = granted.Version
		}
		p.withVersions = append(p.withVersions, version)
	}
	next := make([]*Approval, 0, len(a.approvals)+1)
	for _, old := range a.approvals {
		if !old.done(r.At) {
			next = append(next, old)
		}
	}
	a.approvals = append(next, p)
	return a
}

// resolved is the agent with one approval changed. One that it doesn't have any
// more changes nothing.
func (a Agent) resolved(id ApprovalID, r Recorded, change func(*Approval)) Agent {
	i := slices.IndexFunc(a.approvals, func(p *Approval) bool { return p.ID == id })
	if i < 0 {
		return a
	}
	p := *a.approvals[i]
	before := p.state
	change(&p)
	if p.state != before {
		p.Resolved, p.By = r.At, r.Actor
	}
	a.approvals = slices.Clone(a.approvals)
	a.approvals[i] = &p
	return a
}

// cancelled is the agent with approvals cancelled by a change of what they stood on.
func (a Agent) cancelled(ids []ApprovalID, r Recorded, why string) Agent {
	for _, id := range ids {
		a = a.resolved(id, r, func(p *Approval) { p.state, p.StickyUntil, p.Comment = ApprovalIsCancelled, r.At, why })
	}
	return a
}

// driven is the agent with another driver, whom its open approvals remember.
func (a Agent) driven(by MemberID) Agent {
	a.Driver = by
	a.approvals = slices.Clone(a.approvals)
	for i, p := range a.approvals {
		if p.state == ApprovalPending {
			next := *p
			next.Drivers = append(slices.Clip(p.Drivers), by)
			a.approvals[i] = &next
		}
	}
	return a
}

// resting are the open approvals that stand on a permission.
func (a Agent) resting(id PermissionID) (ids []ApprovalID) {
	for _, p := range a.approvals {
		if p.state.Open() && (p.PermissionID == id || slices.Contains(p.Gate.With, id)) {
			ids = append(ids, p.ID)
		}
	}
	return ids
}

// touched are the ids of the approvals an event may change.
func touched(e Event) []ApprovalID {
	switch e := e.(type) {
	case DecisionMade:
		if e.ApprovalID != "" {
			return []ApprovalID{e.ApprovalID}
		}
	case ApprovalVoted:
		return []ApprovalID{e.ApprovalID}
	case ApprovalApproved:
		return []ApprovalID{e.ApprovalID}
	case ApprovalDenied:
		return []ApprovalID{e.ApprovalID}
	case ApprovalCancelled:
		return []ApprovalID{e.ApprovalID}
	case ApprovalReminded:
		return []ApprovalID{e.ApprovalID}
	case ApprovalExpired:
		return []ApprovalID{e.ApprovalID}
	case PermissionReplaced:
		return e.Cancels
	case PermissionRevoked:
		return e.Cancels
	case AccountOpened, AccountSettingsChanged, MemberAdded, MemberRoleChanged, MemberTokenRotated, MemberRemoved,
		AgentRegistered, AgentDisabled, AgentEnabled, AgentKeyRotated, AgentDriverChanged, AgentLimitsSet, AgentBudgetShared,
		PermissionGranted, DecisionSettled, BudgetSet, BudgetCharged, BudgetReleased,
		WebhookCreated, WebhookChanged, WebhookVerified, WebhookPaused, WebhookResumed, WebhookDisabled, WebhookEnabled,
		WebhookSecretRotated, WebhookDeleted, WebhookTested, WebhookReplayRequested, WebhookReplayCancelled,
		WebhookReplayFinished, WebhookFailing, WebhookRecovered, WebhookSkipped, ReceiptKeyRotated, DecisionConsumed,
		PassportLinkCreated, PassportLinkRevoked:
	}
	return nil
}

// Changed are the approvals of the agent that an event, already folded in, has
// changed.
func (a Agent) Changed(e Event) (list []*Approval) {
	for _, id := range touched(e) {
		if p, ok := a.Approval(id); ok {
			list = append(list, p)
		}
	}
	return list
}

// Review is what a person says to an approval.
type Review struct {
	ApprovalID ApprovalID
	By         MemberID
	Comment    string
	// Account is the reviewer's, as it stands: who may review is decided on it.
	Account Account
	Now     time.Time
}

// Approve decides on a yes.
func (a Agent) Approve(cmd Review) ([]Event, error) {
	p, err := a.reviewed(cmd)
	if err != nil {
		return nil, err
	}
	voted := slices.ContainsFunc(p.Votes, func(v Vote) bool { return v.MemberID == cmd.By })
	switch state := p.StateAt(cmd.Now); {
	case state == ApprovalIsApproved && voted:
		return nil, nil
	case state != ApprovalPending:
		return nil, p.conflict("approved", state)
	}
	if err := a.stillStands(p, cmd.Now); err != nil {
		return nil, err
	}
	self, err := p.mayApprove(cmd.Account, cmd.By)
	if err != nil {
		return nil, err
	}
	voters, selves := p.counting(cmd.Account, cmd.By, self)
	if len(voters) >= p.Gate.Quorum {
		return []Event{ApprovalApproved{
			ApprovalID: p.ID, MemberID: cmd.By, Comment: cmd.Comment, Self: self, Voters: voters, SelfVoters: selves,
			ExpiresAt: cmd.Now.Add(time.Duration(p.Gate.ValidFor)),
		}}, nil
	}
	if voted {
		return nil, nil
	}
	return []Event{ApprovalVoted{ApprovalID: p.ID, MemberID: cmd.By, Comment: cmd.Comment, Self: self}}, nil
}

// counting are those whose yes counts, by last, and those among them who drive
// the agent. Who said yes before, and may not any more, doesn't count any more.
func (a *Approval) counting(account Account, by MemberID, self bool) (voters, selves []MemberID) {
	for _, v := range a.Votes {
		if v.MemberID == by {
			continue
		}
		self, err := a.mayApprove(account, v.MemberID)
		if err != nil {
			continue
		}
		if voters = append(voters, v.MemberID); self {
			selves = append(selves, v.MemberID)
		}
	}
	if voters = append(voters, by); self {
		selves = append(selves, by)
	}
	return voters, selves
}

// Deny decides on a no. One is enough.
func (a Agent) Deny(cmd Review) ([]Event, error) {
	p, err := a.reviewed(cmd)
	if err != nil {
		return nil, err
	}
	switch state := p.StateAt(cmd.Now); {
	case state == ApprovalIsDenied && p.By == ByMember(cmd.By):
		return nil, nil
	case state != ApprovalPending:
		return nil, p.conflict("denied", state)
	}
	if err := p.mayReview(cmd.Account, cmd.By); err != nil {
		return nil, err
	}
	return []Event{ApprovalDenied{
		ApprovalID: p.ID, MemberID: cmd.By, Comment: cmd.Comment, Shared: cmd.Account.Approvals.ShareComments,
		StickyUntil: cmd.Now.Add(time.Duration(p.Gate.DenialFor)),
	}}, nil
}

// Withdraw decides on a member taking an approval back, open or given, before
// it is used.
func (a Agent) Withdraw(cmd Review) ([]Event, error) {
	p, err := a.reviewed(cmd)
	if err != nil {
		return nil, err
	}
	if err := p.mayReview(cmd.Account, cmd.By); err != nil {
		return nil, err
	}
	return p.cancel(ApprovalCancelled{ApprovalID: p.ID, MemberID: cmd.By, Comment: cmd.Comment}, cmd.Now)
}

// Cancel decides on the agent taking back what it asked for.
func (a Agent) Cancel(id ApprovalID, now time.Time) ([]Event, error) {
	p, ok := a.Approval(id)
	if !ok {
		return nil, errNoApproval(id)
	}
	return p.cancel(ApprovalCancelled{ApprovalID: id}, now)
}

func (a *Approval) cancel(e ApprovalCancelled, now time.Time) ([]Event, error) {
	switch state := a.StateAt(now); state {
	case ApprovalPending, ApprovalIsApproved:
		return []Event{e}, nil
	case ApprovalIsCancelled:
		return nil, nil
	case ApprovalIsUsed, ApprovalIsDenied, ApprovalHasExpired:
		return nil, a.conflict("withdrawn", state)
	}
	return nil, errNoApproval(a.ID)
}

// Expire records that the time of an approval is over, if it is.
func (a Agent) Expire(id ApprovalID, now time.Time) []Event {
	p, ok := a.Approval(id)
	if !ok || !p.state.Open() || now.Before(p.ExpiresAt) {
		return nil
	}
	return []Event{ApprovalExpired{ApprovalID: id}}
}

// Remind records that reviewers are told again, if it is time to.
func (a Agent) Remind(id ApprovalID, now time.Time) []Event {
	p, ok := a.Approval(id)
	if !ok || p.StateAt(now) != ApprovalPending {
		return nil
	}
	if at := p.NextReminder(); at.IsZero() || now.Before(at) {
		return nil
	}
	// The one that is due now, and not those that were missed before it.
	due := int(now.Sub(p.Opened) / time.Duration(p.Gate.RemindEvery))
	return []Event{ApprovalReminded{ApprovalID: id, Count: due}}
}

func (a Agent) reviewed(cmd Review) (*Approval, error) {
	p, ok := a.Approval(cmd.ApprovalID)
	if !ok {
		return nil, errNoApproval(cmd.ApprovalID)
	}
	return p, checkWords("/comment", cmd.Comment, 0, 1024)
}

// mayReview is the rule that a reviewer is a member with the role that is asked
// for.
func (a *Approval) mayReview(account Account, by MemberID) error {
	m, ok := account.Member(by)
	if !ok || !m.Role.AtLeast(a.Gate.MinRole) {
		return Reject(Forbidden, "approval %s needs the role %s or higher, which %s does not have", a.ID, a.Gate.MinRole, by)
	}
	return nil
}

// mayApprove is mayReview, and the rule that nobody says yes to their own agent.
// It reports whether they do, where the account lets them.
func (a *Approval) mayApprove(account Account, by MemberID) (self bool, err error) {
	if err := a.mayReview(account, by); err != nil {
		return false, err
	}
	self = slices.Contains(a.Drivers, by)
	if self && !account.Approvals.SelfApproval {
		return self, Reject(Forbidden, "%s drives agent %s, or did since it asked, and nobody approves their own agent; ask another member, or have an owner allow selfApproval", by, a.Agent)
	}
	return self, nil
}

// stillStands is the rule that a yes is not given to what could not be used: each
// permission that asked is there as it was, and none blocks the action by now. What
// comes and goes by itself, a budget, a rate or an hour of the week, may be there
// again when the yes is used, and is looked at then.
func (a Agent) stillStands(p *Approval, now time.Time) error {
	if a.Status != AgentActive {
		return Reject(Conflict, "agent %s is disabled; enable it before you approve what it asks", a.ID)
	}
	if err := a.holdsStill(p, p.PermissionID, p.PermissionVersion, now); err != nil {
		return err
	}
	for i, id := range p.Gate.With {
		if err := a.holdsStill(p, id, p.withVersions[i], now); err != nil {
			return err
		}
	}
	e := evaluation{Situation: Situation{Agent: &a, Now: now}, req: p.Request}
	if e.blocked(e.active(a.byAction[p.Request.Action])) {
		return Reject(Conflict, "the permission %s blocks what approval %s is for; nothing can be approved until it is revoked", e.made.PermissionID, p.ID)
	}
	return nil
}

func (a Agent) holdsStill(p *Approval, id PermissionID, version uint64, now time.Time) error {
	held, ok := a.Permission(id)
	if !ok {
		return Reject(Conflict, "the permission %s that approval %s stands on is gone", id, p.ID)
	}
	if status := held.StatusAt(now); status != PermissionActive {
		return Reject(Conflict, "the permission %s that approval %s stands on is %s; nothing can be approved by it", held.ID, p.ID, status)
	}
	if held.Version != version {
		return Reject(Conflict, "the permission %s that approval %s stands on was replaced; the agent has to ask again", held.ID, p.ID)
	}
	return nil
}

// refusal says why a request is denied by a no that was given before.
func (a *Approval) refusal() string {
	text := "approval " + string(a.ID) + " was denied; the same can be asked again after " + a.StickyUntil.Format(time.RFC3339)
	if a.Shared && a.Comment != "" {
		text += ": " + a.Comment
	}
	return text
}

func (a *Approval) conflict(verb string, state ApprovalState) error {
	if state == ApprovalIsCancelled && a.Comment != "" {
		return Reject(Conflict, "approval %s is cancelled (%s) and can't be %s", a.ID, a.Comment, verb)
	}
	return Reject(Conflict, "approval %s is %s and can't be %s", a.ID, state, verb)
}

// Closed is the refusal of an act on an approval that has come to its end.
func (a *Approval) Closed(now time.Time) error { return a.conflict("changed", a.StateAt(now)) }

func errNoApproval(id ApprovalID) error { return Reject(NotFound, "no approval %s", id) }

// Alarm is a time at which somebody has to look at an approval: it expires, or
// its reviewers are to be reminded. Truth is the clock and what was recorded; an
// alarm that rings early, twice or never changes no decision.
type Alarm struct {
	At         time.Time
	Account    AccountID
	Agent      AgentID
	ApprovalID ApprovalID
}

// Alarm is the next time to look at the approval, if there is one.
func (a *Approval) Alarm() (Alarm, bool) {
	if !a.state.Open() {
		return Alarm{}, false
	}
	at := a.ExpiresAt
	if r := a.NextReminder(); !r.IsZero() {
		at = r
	}
	return Alarm{At: at, Account: a.Account, Agent: a.Agent, ApprovalID: a.ID}, true
}
