package domain

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// EndpointSettings is what a member decides about an endpoint. What Complete
// returned has its defaults filled in.
type EndpointSettings struct {
	// URL is where the events are posted to.
	URL string `json:"url"`
	// Types are the types of events it wants: exact ones, "approval.*" for all
	// that begin so, "*" for all. None is all but verification.allowed.
	Types []string `json:"types,omitzero"`
	// Agents are whose events it wants. None is everybody's, and the account's own.
	Agents      []AgentID `json:"agents,omitzero"`
	Description string    `json:"description,omitempty"`
	Ordering    Ordering  `json:"ordering"`
	// RatePerSecond is the most events a second, 0 for no bound of its own.
	RatePerSecond int              `json:"ratePerSecond,omitzero"`
	Headers       []EndpointHeader `json:"headers,omitzero"`
	Format        EndpointFormat   `json:"format"`
	Signatures    []Signature      `json:"signatures"`
}

// EndpointHeader is a header that every message to an endpoint carries. It is
// recorded, and so never a secret.
type EndpointHeader struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Ordering is which events an endpoint gets one after another.
type Ordering string

// What waits for what.
const (
	OrderParallel Ordering = "parallel"  // nothing waits
	OrderPerAgent Ordering = "per_agent" // an event waits for those of its agent before it
	OrderStrict   Ordering = "strict"    // an event waits for all before it
)

// EndpointFormat is the shape of the messages.
type EndpointFormat string

// The shapes there are.
const (
	FormatStandard EndpointFormat = "standard" // {type, timestamp, data} of Standard Webhooks
	FormatBehalfID EndpointFormat = "behalfid" // the reference API's
)

// Signature is a scheme of Standard Webhooks.
type Signature string

// The schemes there are.
const (
	SignHMAC    Signature = "v1"  // HMAC-SHA256 with the endpoint's secret
	SignEd25519 Signature = "v1a" // Ed25519, checked with a key that may be public
)

// VerificationAllowed is the type of nearly all events, which an endpoint gets
// only if it names it.
const VerificationAllowed = "verification.allowed"

// EndpointStatus is whether an endpoint is sent anything.
//
//	created -> active <-> paused
//	             ^ |        |
//	             | v        |
//	           disabled <---+      any of them -> deleted
//
// An active endpoint is sent events once its address is verified.
type EndpointStatus string

// What an endpoint can be.
const (
	EndpointActive   EndpointStatus = "active"
	EndpointPaused   EndpointStatus = "paused"
	EndpointDisabled EndpointStatus = "disabled"
)

// Endpoint is where an account's events are sent to. The zero Endpoint is sent
// nothing.
type Endpoint struct {
	ID EndpointID
	EndpointSettings
	Status EndpointStatus
	// Code and Reason say why it is disabled, or Reason why it is paused.
	Code   DisableCode
	Reason string
	// Verified says that whoever answers at URL wants the events.
	Verified bool
	// Secret is the version of the secret, and Older are those before it that
	// were still good when the endpoint last changed.
	Secret int
	Older  []OlderSecret
	// From is where its events begin: none at or before it is sent.
	From Position
	// Replays are the newest, oldest first. All that are not over are here.
	Replays []Replay
	// FailingSince is when it began to fail, if it was warned of that, and WarnedAt
	// when that was, and Warning of what.
	FailingSince, WarnedAt time.Time
	Warning                string
	// Skipped is up to which sequence it was said that events were skipped.
	Skipped uint64
	Created time.Time
	Updated time.Time
	// Version is the sequence of the event that last said its settings, and
	// Changed of the one that last changed whether, where or how it is sent to.
	Version, Changed uint64
}

// OlderSecret is a secret that was rotated, and is signed with until then.
type OlderSecret struct {
	Version int
	Until   time.Time
}

// Outline is what may be known of the settings by those who can't manage
// endpoints: paths and queries of addresses, and headers, may hold what lets
// others in.
func (s EndpointSettings) Outline() EndpointSettings {
	s.URL, s.Headers = Origin(s.URL), nil
	return s
}

// Origin is the scheme and host of an address, and nothing else of it.
func Origin(address string) string {
	scheme, rest, _ := strings.Cut(address, "://")
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		rest = rest[:i]
	}
	return scheme + "://" + rest
}

// Sends reports whether the endpoint is sent events.
func (e *Endpoint) Sends() bool { return e.Status == EndpointActive && e.Verified }

// Wants reports whether events of a type are for the endpoint. The agent is
// empty for an event of the account itself.
func (e *Endpoint) Wants(kind string, agent AgentID) bool {
	if len(e.Agents) > 0 && !slices.Contains(e.Agents, agent) {
		return false
	}
	if len(e.Types) == 0 {
		return kind != VerificationAllowed
	}
	return slices.ContainsFunc(e.Types, func(filter string) bool { return covers(filter, kind) })
}

// covers reports whether a filter names a type, or all that begin as it does.
func covers(filter, kind string) bool {
	if begin, ok := strings.CutSuffix(filter, "*"); ok {
		return strings.HasPrefix(kind, begin)
	}
	return filter == kind
}

// Secrets are the versions to sign with at a moment, newest first.
func (e *Endpoint) Secrets(now time.Time) []int {
	versions := []int{e.Secret}
	for _, older := range slices.Backward(e.Older) {
		if now.Before(older.Until) {
			versions = append(versions, older.Version)
		}
	}
	return versions
}

// sentAs reports whether it is sent the same in the same way as before.
func (e *Endpoint) sentAs(before *Endpoint) bool {
	return e.Version == before.Version && e.Status == before.Status && e.Verified == before.Verified && e.Secret == before.Secret
}

// Replay returns a replay that is remembered.
func (e *Endpoint) Replay(id ReplayID) (Replay, bool) {
	if i := slices.IndexFunc(e.Replays, func(r Replay) bool { return r.ID == id }); i >= 0 {
		return e.Replays[i], true
	}
	return Replay{}, false
}

// Endpoint returns an endpoint that was not deleted. It is never written to.
func (a Account) Endpoint(id EndpointID) (*Endpoint, bool) {
	if i, ok := a.indexOf(id); ok {
		return a.Endpoints[i], true
	}
	return nil, false
}

// indexOf is where an endpoint is, or would have to be.
func (a Account) indexOf(id EndpointID) (int, bool) {
	return slices.BinarySearchFunc(a.Endpoints, id, func(e *Endpoint, id EndpointID) int { return cmp.Compare(e.ID, id) })
}

// evolveEndpoint folds an event of an endpoint in. One that isn't known is left
// alone: it was deleted, and an event about it is none. What is changed is a
// copy, of pointers: an account may have thousands of endpoints, and events.
func (a Account) evolveEndpoint(r Recorded) Account {
	if e, ok := r.Event.(WebhookCreated); ok {
		return a.withEndpoint(&Endpoint{
			ID: e.EndpointID, EndpointSettings: e.EndpointSettings, Status: EndpointActive, Secret: 1,
			From: r.Position, Created: r.At, Updated: r.At, Version: r.Position.Seq, Changed: r.Position.Seq,
		})
	}
	if e, ok := r.Event.(WebhookDeleted); ok {
		if i, ok := a.indexOf(e.EndpointID); ok {
			a.Endpoints = slices.Delete(slices.Clone(a.Endpoints), i, i+1)
		}
		return a
	}
	id, evolve := endpointChange(r)
	before, ok := a.Endpoint(id)
	if !ok || evolve == nil {
		return a
	}
	after := *before
	after.Updated = Later(after.Updated, r.At)
	evolve(&after)
	if !after.sentAs(before) {
		after.Changed = r.Position.Seq
	}
	return a.withEndpoint(&after)
}

func (a Account) withEndpoint(e *Endpoint) Account {
	i, there := a.indexOf(e.ID)
	a.Endpoints = slices.Clone(a.Endpoints)
	if there {
		a.Endpoints[i] = e
	} else {
		a.Endpoints = slices.Insert(a.Endpoints, i, e)
	}
	return a
}
