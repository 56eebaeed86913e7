package domain

import "time"

// The facts about where an account's events are sent to. They share the
// account's subject. None has a secret in it: secrets are derived from their
// version, and are kept nowhere.
type (
	// WebhookCreated begins an endpoint, whose first secret has version 1. What
	// happens from here on is for it, once its address is verified.
	WebhookCreated struct {
		EndpointID EndpointID `json:"webhookId"`
		EndpointSettings
	}
	// WebhookChanged carries the settings as they stand afterwards. An address
	// that is another has to be verified again.
	WebhookChanged struct {
		EndpointID EndpointID `json:"webhookId"`
		EndpointSettings
	}
	// WebhookVerified says that whoever answers at the address wants the events.
	WebhookVerified struct {
		EndpointID EndpointID `json:"webhookId"`
		URL        string     `json:"url"`
	}
	// WebhookPaused holds what there is to send, until it is resumed.
	WebhookPaused struct {
		EndpointID EndpointID `json:"webhookId"`
		Reason     string     `json:"reason,omitempty"`
	}
	WebhookResumed struct {
		EndpointID EndpointID `json:"webhookId"`
		From       ResumeFrom `json:"from"`
	}
	// WebhookDisabled ends sending until a member enables the endpoint.
	WebhookDisabled struct {
		EndpointID EndpointID  `json:"webhookId"`
		Code       DisableCode `json:"code"`
		Reason     string      `json:"reason,omitempty"`
	}
	WebhookEnabled struct {
		EndpointID EndpointID `json:"webhookId"`
		From       ResumeFrom `json:"from"`
	}
	// WebhookSecretRotated has everything signed with a new secret, and with
	// those before it until OverlapUntil, or not at all if that is zero.
	WebhookSecretRotated struct {
		EndpointID   EndpointID `json:"webhookId"`
		Secret       int        `json:"secretVersion"`
		OverlapUntil time.Time  `json:"overlapUntil,omitzero"`
	}
	WebhookDeleted struct {
		EndpointID EndpointID `json:"webhookId"`
	}
	// WebhookTested asks for a message that says nothing but that it is a test.
	// It has the id of this event.
	WebhookTested struct {
		EndpointID EndpointID `json:"webhookId"`
	}
	// WebhookReplayRequested asks for events to be sent once more, to this
	// endpoint alone and beside what is sent to it anyway.
	WebhookReplayRequested struct {
		EndpointID EndpointID `json:"webhookId"`
		ReplayID   ReplayID   `json:"replayId"`
		ReplaySelection
		RatePerSecond int `json:"ratePerSecond"`
	}
	WebhookReplayCancelled struct {
		EndpointID EndpointID `json:"webhookId"`
		ReplayID   ReplayID   `json:"replayId"`
	}
	// WebhookReplayFinished counts what was sent again: what arrived, and what
	// was given up.
	WebhookReplayFinished struct {
		EndpointID EndpointID `json:"webhookId"`
		ReplayID   ReplayID   `json:"replayId"`
		Delivered  int        `json:"delivered"`
		Failed     int        `json:"failed"`
		// Reason is why it ended before all was sent, if it did.
		Reason string `json:"reason,omitzero"`
	}
)

// The facts about how sending to an endpoint goes, for whoever has to mend it.
type (
	// WebhookFailing warns: nothing could be delivered for a while, and what there
	// is to send is kept no longer than the log is.
	WebhookFailing struct {
		EndpointID EndpointID `json:"webhookId"`
		Since      time.Time  `json:"since"`
		// Reason is what came of the newest attempt, such as "timeout" or "http_503".
		Reason string `json:"reason,omitempty"`
	}
	// WebhookRecovered ends what WebhookFailing warned of.
	WebhookRecovered struct {
		EndpointID EndpointID `json:"webhookId"`
		Since      time.Time  `json:"since"`
	}
	// WebhookSkipped says that events were not sent, and won't be: the log did not
	// hold them any more, or a member asked to go on after them.
	WebhookSkipped struct {
		EndpointID EndpointID `json:"webhookId"`
		// From and Through are sequences of the account's partition of the log.
		From    uint64 `json:"from"`
		Through uint64 `json:"through"`
	}
)

// ResumeFrom says what becomes of the events that were held.
type ResumeFrom string

// Where sending goes on.
const (
	FromHeld ResumeFrom = "held" // with the oldest that was not delivered
	FromNow  ResumeFrom = "now"  // with what happens after; what was held is never sent
)

// DisableCode is why an endpoint was disabled.
type DisableCode string

// Every reason to disable an endpoint. Only the first is a member's.
const (
	DisabledByMember  DisableCode = "member"
	DisabledAsGone    DisableCode = "gone"    // it answered 410, or asked for it
	DisabledAsFailing DisableCode = "failing" // for days nothing could be delivered
	DisabledAsRefused DisableCode = "refused" // its address is one that nothing is sent to
)

func (WebhookCreated) Kind() Kind         { return KindWebhookCreated }
func (WebhookChanged) Kind() Kind         { return KindWebhookChanged }
func (WebhookVerified) Kind() Kind        { return KindWebhookVerified }
func (WebhookPaused) Kind() Kind          { return KindWebhookPaused }
func (WebhookResumed) Kind() Kind         { return KindWebhookResumed }
func (WebhookDisabled) Kind() Kind        { return KindWebhookDisabled }
func (WebhookEnabled) Kind() Kind         { return KindWebhookEnabled }
func (WebhookSecretRotated) Kind() Kind   { return KindWebhookSecretRotated }
func (WebhookDeleted) Kind() Kind         { return KindWebhookDeleted }
func (WebhookTested) Kind() Kind          { return KindWebhookTested }
func (WebhookReplayRequested) Kind() Kind { return KindWebhookReplayRequested }
func (WebhookReplayCancelled) Kind() Kind { return KindWebhookReplayCancelled }
func (WebhookReplayFinished) Kind() Kind  { return KindWebhookReplayFinished }
func (WebhookFailing) Kind() Kind         { return KindWebhookFailing }
func (WebhookRecovered) Kind() Kind       { return KindWebhookRecovered }
func (WebhookSkipped) Kind() Kind         { return KindWebhookSkipped }

func (WebhookCreated) event()         {}
func (WebhookChanged) event()         {}
func (WebhookVerified) event()        {}
func (WebhookPaused) event()          {}
func (WebhookResumed) event()         {}
func (WebhookDisabled) event()        {}
func (WebhookEnabled) event()         {}
func (WebhookSecretRotated) event()   {}
func (WebhookDeleted) event()         {}
func (WebhookTested) event()          {}
func (WebhookReplayRequested) event() {}
func (WebhookReplayCancelled) event() {}
func (WebhookReplayFinished) event()  {}
func (WebhookFailing) event()         {}
func (WebhookRecovered) event()       {}
func (WebhookSkipped) event()         {}
