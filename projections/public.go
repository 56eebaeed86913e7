package projections

import (
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/behalf-platform/behalf/domain"
)

// PublicEvent is what an account's members, and whatever they connect, are told
// of an event of the log. The log itself is never shown to them: public events
// have no hash of a token, no notes, and a form that doesn't change with it.
type PublicEvent struct {
	Type    PublicType
	Account domain.AccountID
	Agent   domain.AgentID // empty for what concerns the account itself
	At      time.Time
	// Position is where the event of the log is. Several public events can come
	// of one; Index tells them apart, from 0 on.
	Position domain.Position
	Index    int
	// Webhook is the endpoint that it is about, if it is.
	Webhook domain.EndpointID
	// Data is one JSON object, as the schema of the type has it.
	Data []byte

	record domain.EventID
}

// ID is the id of the event of the log, and of any but the first that comes of
// it that id and "-1", "-2" and so on. The same history gives the same ids.
func (e *PublicEvent) ID() string { return string(e.appendID(nil)) }

func (e *PublicEvent) appendID(dst []byte) []byte {
	dst = append(dst, e.record...)
	if e.Index == 0 {
		return dst
	}
	return strconv.AppendInt(append(dst, '-'), int64(e.Index), 10)
}

// Public appends what is public of an event of the log, in order. Most make
// one; one that is only bookkeeping makes none. It depends on the event and on
// nothing else.
func Public(dst []PublicEvent, r *domain.Recorded) ([]PublicEvent, error) {
	p := publisher{made: dst, r: r}
	p.add()
	return p.made, p.err
}

// publisher makes the public events of one record.
type publisher struct {
	made []PublicEvent
	r    *domain.Recorded
	next int // index of the next one
	err  error
}

// event adds an event with the data as it is.
func (p *publisher) event(t PublicType, data []byte) {
	p.made = append(p.made, PublicEvent{
		Type: t, Account: p.r.Account, Agent: p.r.Agent, At: p.r.At, Position: p.r.Position, Index: p.next, Data: data, record: p.r.ID,
	})
	p.next++
}

// say adds an event with the data encoded.
func (p *publisher) say(t PublicType, data any) {
	// Bad UTF-8 was refused at the door; here it would be replaced.
	b, err := json.Marshal(data, json.Deterministic(true), jsontext.AllowInvalidUTF8(true))
	if err != nil {
		p.err = err
		return
	}
	p.event(t, b)
}

// add makes the events. What is not for the public is said by another event:
// each charge of a shared budget is a verification that was allowed, each
// release one that was settled; that a test was asked for is told to the endpoint
// that is tested.
func (p *publisher) add() {
	switch e := p.r.Event.(type) {
	case domain.DecisionMade:
		p.decision(&e)
	case domain.DecisionSettled:
		p.say(VerificationSettled, settledData{p.about(), e.RequestID, e.Outcome, e.Amount, e.Currency})
	case domain.ApprovalVoted:
		p.say(ApprovalVoted, votedData{p.approval(e.ApprovalID), e.MemberID, e.Comment, e.Self})
	case domain.ApprovalApproved:
		p.say(ApprovalApproved, approvedData{p.approval(e.ApprovalID), e.MemberID, e.Comment, e.Self, e.Voters, e.SelfVoters, e.ExpiresAt})
	case domain.ApprovalDenied:
		p.say(ApprovalDenied, deniedData{p.approval(e.ApprovalID), e.MemberID, e.Comment, e.StickyUntil})
	case domain.ApprovalCancelled:
		p.say(ApprovalCancelled, cancelledData{p.approval(e.ApprovalID), BecauseWithdrawn, e.MemberID, e.Comment, ""})
	case domain.ApprovalReminded:
		p.say(ApprovalReminded, remindedData{p.approval(e.ApprovalID), e.Count})
	case domain.ApprovalExpired:
		p.say(ApprovalExpired, p.approval(e.ApprovalID))
	case domain.PermissionGranted:
		p.say(PermissionGranted, permissionData{p.about(), e.PermissionID, publicTerms(e.Terms), nil})
	case domain.PermissionReplaced:
		p.say(PermissionReplaced, permissionData{p.about(), e.PermissionID, publicTerms(e.Terms), e.Cancels})
		p.cancelled(e.PermissionID, BecauseReplaced, e.Cancels)
	case domain.PermissionRevoked:
		p.say(PermissionRevoked, revokedData{p.about(), e.PermissionID, e.Reason, e.Cancels})
		p.cancelled(e.PermissionID, BecauseRevoked, e.Cancels)
	case domain.AgentRegistered:
		p.say(AgentRegistered, registeredData{p.about(), e.Name, e.Type, e.Provider, e.Label, e.ExternalID, e.Driver, e.Key != ""})
	case domain.AgentDisabled:
		p.say(AgentDisabled, reasonData{p.about(), e.Reason})
	case domain.AgentEnabled:
		p.say(AgentEnabled, p.about())
	case domain.AgentKeyRotated:
		p.say(AgentKeyRotated, p.about())
	case domain.AgentDriverChanged:
		p.say(AgentDriverChanged, driverData{p.about(), e.Driver})
	case domain.AgentLimitsSet:
		p.say(AgentLimitsSet, limitsData{p.about(), e.Limits})
	case domain.AgentBudgetShared:
		p.say(AgentBudgetShared, sharedData{p.about(), e.Shared})
	case domain.AccountOpened:
		p.say(AccountOpened, openedData{p.about(), e.Name, e.Currency, e.Owner})
	case domain.AccountSettingsChanged:
		p.say(AccountSettingsChanged, settingsData{p.about(), e.Name, e.Currency, e.TimeZone, e.Approvals, e.DecisionRetention})
	case domain.BudgetSet:
		p.say(BudgetSet, limitsData{p.about(), e.Limits})
	case domain.MemberAdded:
		p.say(MemberAdded, memberData{p.about(), e.MemberID, e.Name, e.Role})
	case domain.MemberRoleChanged:
		p.say(MemberRoleChanged, memberData{p.about(), e.MemberID, "", e.Role})
	case domain.MemberTokenRotated:
		p.say(MemberTokenRotated, memberData{p.about(), e.MemberID, "", ""})
	case domain.MemberRemoved:
		p.say(MemberRemoved, memberData{p.about(), e.MemberID, "", ""})
	case domain.WebhookCreated:
		p.webhook(WebhookCreated, e.EndpointID, webhookSettingsData{p.webhookOf(e.EndpointID), e.Outline()})
	case domain.WebhookChanged:
		p.webhook(WebhookChanged, e.EndpointID, webhookSettingsData{p.webhookOf(e.EndpointID), e.Outline()})
	case domain.WebhookVerified:
		p.webhook(WebhookVerified, e.EndpointID, webhookVerifiedData{p.webhookOf(e.EndpointID), domain.Origin(e.URL)})
	case domain.WebhookPaused:
		p.webhook(WebhookPaused, e.EndpointID, webhookReasonData{p.webhookOf(e.EndpointID), e.Reason})
	case domain.WebhookResumed:
		p.webhook(WebhookResumed, e.EndpointID, webhookResumedData{p.webhookOf(e.EndpointID), e.From})
	case domain.WebhookDisabled:
		p.webhook(WebhookDisabled, e.EndpointID, webhookDisabledData{p.webhookOf(e.EndpointID), e.Code, e.Reason})
	case domain.WebhookEnabled:
		p.webhook(WebhookEnabled, e.EndpointID, webhookResumedData{p.webhookOf(e.EndpointID), e.From})
	case domain.WebhookSecretRotated:
		p.webhook(WebhookSecretRotated, e.EndpointID, webhookRotatedData{p.webhookOf(e.EndpointID), e.Secret, e.OverlapUntil})
	case domain.WebhookDeleted:
		p.webhook(WebhookDeleted, e.EndpointID, p.webhookOf(e.EndpointID))
	case domain.WebhookReplayRequested:
		p.webhook(WebhookReplayRequested, e.EndpointID, webhookReplayData{p.webhookOf(e.EndpointID), e.ReplayID, e.ReplaySelection, e.RatePerSecond})
	case domain.WebhookReplayCancelled:
		p.webhook(WebhookReplayCancelled, e.EndpointID, webhookReplayEndedData{p.webhookOf(e.EndpointID), e.ReplayID, 0, 0, ""})
	case domain.WebhookReplayFinished:
		p.webhook(WebhookReplayFinished, e.EndpointID, webhookReplayEndedData{p.webhookOf(e.EndpointID), e.ReplayID, e.Delivered, e.Failed, e.Reason})
	case domain.WebhookFailing:
		p.webhook(WebhookFailing, e.EndpointID, webhookFailingData{p.webhookOf(e.EndpointID), e.Since, e.Reason})
	case domain.WebhookRecovered:
		p.webhook(WebhookRecovered, e.EndpointID, webhookFailingData{p.webhookOf(e.EndpointID), e.Since, ""})
	case domain.WebhookSkipped:
		p.webhook(WebhookSkipped, e.EndpointID, webhookSkippedData{p.webhookOf(e.EndpointID), e.From, e.Through})
	case domain.PassportLinkCreated:
		p.say(PassportLinkCreated, linkData{p.aboutOf(e.AgentID), e.LinkID, e.Label, e.ExpiresAt})
	case domain.PassportLinkRevoked:
		p.say(PassportLinkRevoked, linkData{p.aboutOf(e.AgentID), e.LinkID, "", time.Time{}})
	case domain.DecisionConsumed:
		about := p.about()
		about.PassportVersion = 0 // it is not at the place of this event, which moves no passport
		p.say(DecisionConsumed, consumedData{about, e.RequestID})
	case domain.ReceiptKeyRotated:
		p.say(ReceiptKeyRotated, receiptKeyData{p.about(), e.Version, e.OverlapUntil})
	case domain.BudgetCharged, domain.BudgetReleased, domain.WebhookTested:
	}
}

// decision is the hot one: its first event is made without reflection.
func (p *publisher) decision(d *domain.DecisionMade) {
	packet, err := domain.PacketOf(*p.r)
	if err != nil {
		p.err = err
		return
	}
	p.event(outcomeType(d.Outcome), packet.Append(make([]byte, 0, 768)))
	switch {
	case d.Opens():
		q := &d.Request
		p.say(ApprovalRequested, requestedData{
			p.approval(d.ApprovalID), d.PermissionID, d.Gate.With, d.Reason, d.Risk, q.Action, q.Vendor, q.Resource, q.Amount, q.Currency,
			d.Gate.Digest, d.Gate.MinRole, d.Gate.Quorum, p.r.At.Add(time.Duration(d.Gate.PendingFor)),
		})
	case d.Uses():
		p.say(ApprovalUsed, usedData{p.approval(d.ApprovalID), d.RequestID})
	case d.ReasonCode == domain.BudgetExceeded:
		q := &d.Request
		about := p.about()
		about.PassportVersion = d.PassportVersion
		p.say(BudgetExhausted, exhaustedData{about, d.RequestID, exhausted(d), d.PermissionID, d.Reason, q.Action, q.Amount, q.Currency, d.WindowEndsAt.UTC()})
	}
}

// outcomeType is the type of a decision. An outcome this program doesn't know is
// never an allow.
func outcomeType(o domain.Outcome) PublicType {
	switch o {
	case domain.OutcomeAllowed:
		return VerificationAllowed
	case domain.OutcomeRequiresApproval:
		return VerificationRequiresApproval
	case domain.OutcomeDenied:
	}
	return VerificationDenied
}

// exhausted is whose budget had not enough left: that of a permission, or the
// first that failed of those that all permissions share.
func exhausted(d *domain.DecisionMade) string {
	if d.PermissionID != "" {
		return "permission"
	}
	for _, c := range d.Checks {
		if !c.Passed && c.Rule == domain.RuleAccountBudget {
			return "account"
		}
		if !c.Passed && c.Rule == domain.RuleBudget && c.PermissionID == "" {
			return "agent"
		}
	}
	return "agent"
}

// cancelled says of each approval that went with a permission that it did.
func (p *publisher) cancelled(id domain.PermissionID, because string, approvals []domain.ApprovalID) {
	for _, a := range approvals {
		p.say(ApprovalCancelled, cancelledData{p.approval(a), because, "", "", id})
	}
}
