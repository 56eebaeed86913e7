package domain

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// stored is how a record lies in the log. The names are for ever.
type stored struct {
	ID      EventID        `json:"id"`
	Kind    Kind           `json:"kind"`
	At      time.Time      `json:"at"`
	Actor   Actor          `json:"actor"`
	Account AccountID      `json:"account"`
	Agent   AgentID        `json:"agent,omitempty"`
	Cause   string         `json:"cause,omitempty"`
	Data    jsontext.Value `json:"data"`
}

// Append appends the record's stored form to dst. The same record gives the
// same bytes.
func (r Record) Append(dst []byte) ([]byte, error) {
	dst = append(dst, `{"id":`...)
	dst = appendText(dst, string(r.ID))
	dst = append(dst, `,"kind":`...)
	dst = appendText(dst, string(r.Event.Kind()))
	dst = append(dst, `,"at":`...)
	dst = appendTime(dst, r.At)
	dst = append(dst, `,"actor":`...)
	dst = appendText(dst, string(r.Actor))
	dst = append(dst, `,"account":`...)
	dst = appendText(dst, string(r.Account))
	if r.Agent != "" {
		dst = append(dst, `,"agent":`...)
		dst = appendText(dst, string(r.Agent))
	}
	if r.Cause != "" {
		dst = append(dst, `,"cause":`...)
		dst = appendText(dst, r.Cause)
	}
	dst = append(dst, `,"data":`...)
	if d, ok := r.Event.(DecisionMade); ok { // the hot one does without reflection
		return append(d.append(dst), '}'), nil
	}
	data, err := json.Marshal(r.Event, json.Deterministic(true))
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", r.Event.Kind(), err)
	}
	return append(append(dst, data...), '}'), nil
}

// DecodeRecord reads a stored record of any kind ever written. It returns a
// record or an error, never both; [ErrUnknownKind] for a kind made later.
func DecodeRecord(b []byte) (Record, error) {
	s, ok := scan(b)
	if !ok {
		var read stored // s would be on the heap
		if err := json.Unmarshal(b, &read, strict); err != nil {
			return Record{}, fmt.Errorf("decode record: %w", err)
		}
		if year := read.At.UTC().Year(); year < 0 || year > 9999 {
			return Record{}, fmt.Errorf("decode record %s: the year %d can't be written", read.ID, year)
		}
		s = read
	}
	event, err := decodeEvent(s.Kind, s.Data)
	if err != nil {
		return Record{}, fmt.Errorf("decode %s %s: %w", s.Kind, s.ID, err)
	}
	return Record{ID: s.ID, At: s.At.UTC(), Actor: s.Actor, Account: s.Account, Agent: s.Agent, Cause: s.Cause, Event: event}, nil
}

// strict refuses members that are not known. It is kept because making options
// costs as much as using them.
var strict = json.JoinOptions(json.RejectUnknownMembers(true))

// scan reads a record in just the form that [Record.Append] gives it, which is
// what nearly all have: a node that starts reads hundreds of thousands. What is
// written in another way is left to the decoder, and so is what is wrong.
func scan(b []byte) (s stored, ok bool) {
	in := quick{b: b}
	in.want(`{"id":"`)
	s.ID = EventID(in.text())
	in.want(`,"kind":"`)
	s.Kind = Kind(in.textLike(string(KindDecisionMade)))
	in.want(`,"at":"`)
	s.At = in.time()
	in.want(`,"actor":"`)
	s.Actor = Actor(in.text())
	in.want(`,"account":"`)
	s.Account = AccountID(in.text())
	if in.has(`,"agent":"`) {
		s.Agent = AgentID(in.textLike(strings.TrimPrefix(string(s.Actor), "agent:")))
	}
	if in.has(`,"cause":"`) {
		s.Cause = in.text()
	}
	in.want(`,"data":`)
	// A member after the data is no object, so that what begins with a brace and
	// ends with two has the data at its end.
	data, whole := bytes.CutSuffix(b[in.i:], []byte(`}`))
	if in.other || !whole || !bytes.HasPrefix(data, []byte(`{`)) || !bytes.HasSuffix(data, []byte(`}`)) {
		return stored{}, false
	}
	s.Data = data
	return s, true
}

func decodeEvent(kind Kind, data []byte) (Event, error) {
	switch kind {
	case KindAccountOpened:
		return decodeData[AccountOpened](data)
	case KindAccountSettingsChanged:
		return decodeData[AccountSettingsChanged](data)
	case KindMemberAdded:
		return decodeData[MemberAdded](data)
	case KindMemberRoleChanged:
		return decodeData[MemberRoleChanged](data)
	case KindMemberTokenRotated:
		return decodeData[MemberTokenRotated](data)
	case KindMemberRemoved:
		return decodeData[MemberRemoved](data)
	case KindAgentRegistered:
		return decodeData[AgentRegistered](data)
	case KindAgentDisabled:
		return decodeData[AgentDisabled](data)
	case KindAgentEnabled:
		return decodeData[AgentEnabled](data)
	case KindAgentKeyRotated:
		return decodeData[AgentKeyRotated](data)
	case KindPermissionGranted:
		return decodeData[PermissionGranted](data)
	case KindPermissionReplaced:
		return decodeData[PermissionReplaced](data)
	case KindPermissionRevoked:
		return decodeData[PermissionRevoked](data)
	case KindDecisionMade:
		if d, ok := quickDecision(data); ok {
			return d, nil
		}
		return decodeData[DecisionMade](data)
	case KindDecisionSettled:
		return decodeData[DecisionSettled](data)
	case KindAgentDriverChanged:
		return decodeData[AgentDriverChanged](data)
	case KindAgentLimitsSet:
		return decodeData[AgentLimitsSet](data)
	case KindAgentBudgetShared:
		return decodeData[AgentBudgetShared](data)
	case KindApprovalVoted:
		return decodeData[ApprovalVoted](data)
	case KindApprovalApproved:
		return decodeData[ApprovalApproved](data)
	case KindApprovalDenied:
		return decodeData[ApprovalDenied](data)
	case KindApprovalCancelled:
		return decodeData[ApprovalCancelled](data)
	case KindApprovalReminded:
		return decodeData[ApprovalReminded](data)
	case KindApprovalExpired:
		return decodeData[ApprovalExpired](data)
	case KindBudgetSet:
		return decodeData[BudgetSet](data)
	case KindBudgetCharged:
		return decodeData[BudgetCharged](data)
	case KindBudgetReleased:
		return decodeData[BudgetReleased](data)
	case KindWebhookCreated:
		return decodeData[WebhookCreated](data)
	case KindWebhookChanged:
		return decodeData[WebhookChanged](data)
	case KindWebhookVerified:
		return decodeData[WebhookVerified](data)
	case KindWebhookPaused:
		return decodeData[WebhookPaused](data)
	case KindWebhookResumed:
		return decodeData[WebhookResumed](data)
	case KindWebhookDisabled:
		return decodeData[WebhookDisabled](data)
	case KindWebhookEnabled:
		return decodeData[WebhookEnabled](data)
	case KindWebhookSecretRotated:
		return decodeData[WebhookSecretRotated](data)
	case KindWebhookDeleted:
		return decodeData[WebhookDeleted](data)
	case KindReceiptKeyRotated:
		return decodeData[ReceiptKeyRotated](data)
	case KindDecisionConsumed:
		return decodeData[DecisionConsumed](data)
	case KindWebhookTested:
		return decodeData[WebhookTested](data)
	case KindWebhookReplayRequested:
		return decodeData[WebhookReplayRequested](data)
	case KindWebhookReplayCancelled:
		return decodeData[WebhookReplayCancelled](data)
	case KindWebhookReplayFinished:
		return decodeData[WebhookReplayFinished](data)
	case KindWebhookFailing:
		return decodeData[WebhookFailing](data)
	case KindWebhookRecovered:
		return decodeData[WebhookRecovered](data)
	case KindWebhookSkipped:
		return decodeData[WebhookSkipped](data)
	case KindPassportLinkCreated:
		return decodeData[PassportLinkCreated](data)
	case KindPassportLinkRevoked:
		return decodeData[PassportLinkRevoked](data)
	}
	return nil, ErrUnknownKind
}

func decodeData[E Event](data []byte) (Event, error) {
	var e E
	if err := json.Unmarshal(data, &e, strict); err != nil {
		return nil, err
	}
	return e, nil
}

// appendText appends s as a JSON string. Whatever isn't UTF-8 was refused at
// the door; here it would be replaced, never written.
func appendText[S ~string](dst []byte, s S) []byte {
	dst, _ = jsontext.AppendQuote(dst, s)
	return dst
}

func appendTime(dst []byte, t time.Time) []byte {
	dst = append(dst, '"')
	dst = t.UTC().AppendFormat(dst, time.RFC3339Nano)
	return append(dst, '"')
}

func appendMember(dst []byte, name, value string) []byte {
	if value == "" {
		return dst
	}
	dst = append(dst, ',', '"')
	dst = append(dst, name...)
	dst = append(dst, '"', ':')
	return appendText(dst, value)
}

func appendUint(dst []byte, name string, v uint64) []byte {
	dst = append(dst, ',', '"')
	dst = append(dst, name...)
	dst = append(dst, '"', ':')
	return strconv.AppendUint(dst, v, 10)
}
