package domain

import (
	"reflect"
	"time"
)

// EndpointRules bound what endpoints an account may have. The operator decides.
type EndpointRules struct {
	// Types are the types of events there are to send.
	Types []string
	// Most is how many endpoints an account may have.
	Most int
	// PlainHTTP takes addresses that are not encrypted too, for development.
	PlainHTTP bool
}

const (
	// UsualOverlap is how long an old secret is signed with beside a new one,
	// unless whoever rotates it says otherwise.
	UsualOverlap = Duration(24 * time.Hour)
	mostOverlap  = Duration(7 * 24 * time.Hour)
	// mostSecrets is how many secrets a message may be signed with at once.
	mostSecrets = 4
)

// CreateEndpoint creates an endpoint.
type CreateEndpoint struct {
	EndpointID EndpointID
	Settings   EndpointSettings
	Rules      EndpointRules
}

// CreateEndpoint decides on a CreateEndpoint.
func (a Account) CreateEndpoint(cmd CreateEndpoint) ([]Event, error) {
	if _, taken := a.Endpoint(cmd.EndpointID); taken {
		return nil, Reject(Conflict, "webhook %s exists already", cmd.EndpointID)
	}
	settings, err := cmd.Settings.Complete(cmd.Rules)
	if err != nil {
		return nil, err
	}
	if len(a.Endpoints) >= cmd.Rules.Most {
		return nil, Reject(Conflict, "the account has %d webhooks, which is the most; delete one first", len(a.Endpoints))
	}
	return []Event{WebhookCreated{cmd.EndpointID, settings}}, nil
}

// ChangeEndpoint gives an endpoint other settings.
type ChangeEndpoint struct {
	EndpointID EndpointID
	Settings   EndpointSettings
	// IfVersion, when not 0, is the version the caller looked at: the act is
	// refused if the settings have changed since.
	IfVersion uint64
	Rules     EndpointRules
}

// ChangeEndpoint decides on a ChangeEndpoint.
func (a Account) ChangeEndpoint(cmd ChangeEndpoint) ([]Event, error) {
	e, err := a.endpoint(cmd.EndpointID)
	if err != nil {
		return nil, err
	}
	if v := cmd.IfVersion; v != 0 && v != e.Version {
		return nil, Reject(Stale, "webhook %s is at version %d, not %d; read it again and repeat", e.ID, e.Version, v)
	}
	settings, err := cmd.Settings.Complete(cmd.Rules)
	if err != nil || reflect.DeepEqual(settings, e.EndpointSettings) {
		return nil, err
	}
	return []Event{WebhookChanged{e.ID, settings}}, nil
}

// DeleteEndpoint decides to forget an endpoint. It is not remembered after, so
// that to delete it again is to delete what isn't there.
func (a Account) DeleteEndpoint(id EndpointID) ([]Event, error) {
	e, err := a.endpoint(id)
	if err != nil {
		return nil, err
	}
	return []Event{WebhookDeleted{e.ID}}, nil
}

// VerifyEndpoint says that the challenge sent to URL was answered.
type VerifyEndpoint struct {
	EndpointID EndpointID
	URL        string
}

// VerifyEndpoint decides on a VerifyEndpoint.
func (a Account) VerifyEndpoint(cmd VerifyEndpoint) ([]Event, error) {
	e, err := a.endpoint(cmd.EndpointID)
	switch {
	case err != nil:
		return nil, err
	case e.URL != cmd.URL:
		return nil, Reject(Conflict, "webhook %s has got another URL meanwhile; verify it again", e.ID)
	case e.Verified:
		return nil, nil
	}
	return []Event{WebhookVerified(cmd)}, nil
}

// PauseEndpoint holds what there is to send.
type PauseEndpoint struct {
	EndpointID EndpointID
	Reason     string
}

// PauseEndpoint decides on a PauseEndpoint.
func (a Account) PauseEndpoint(cmd PauseEndpoint) ([]Event, error) {
	e, err := a.endpoint(cmd.EndpointID)
	switch {
	case err != nil:
		return nil, err
	case e.Status == EndpointPaused:
		return nil, nil
	case e.Status != EndpointActive:
		return nil, Reject(Conflict, "webhook %s is %s; nothing is sent that could be paused", e.ID, e.Status)
	}
	if err := checkText("/reason", cmd.Reason, 0, 512); err != nil {
		return nil, err
	}
	return []Event{WebhookPaused(cmd)}, nil
}

// ResumeEndpoint has an endpoint sent events again.
type ResumeEndpoint struct {
	EndpointID EndpointID
	// From is FromHeld if it is empty.
	From ResumeFrom
}

// ResumeEndpoint decides on a ResumeEndpoint that ends a pause.
func (a Account) ResumeEndpoint(cmd ResumeEndpoint) ([]Event, error) {
	e, err := a.endpoint(cmd.EndpointID)
	if err != nil {
		return nil, err
	}
	from, err := cmd.from()
	switch {
	case err != nil || e.Status == EndpointActive:
		return nil, err
	case e.Status != EndpointPaused:
		return nil, Reject(Conflict, "webhook %s is %s; enable it", e.ID, e.Status)
	}
	return []Event{WebhookResumed{e.ID, from}}, nil
}

// EnableEndpoint decides on a ResumeEndpoint that ends a DisableEndpoint.
func (a Account) EnableEndpoint(cmd ResumeEndpoint) ([]Event, error) {
	e, err := a.endpoint(cmd.EndpointID)
	if err != nil {
		return nil, err
	}
	from, err := cmd.from()
	switch {
	case err != nil || e.Status == EndpointActive:
		return nil, err
	case e.Status != EndpointDisabled:
		return nil, Reject(Conflict, "webhook %s is %s; resume it", e.ID, e.Status)
	}
	return []Event{WebhookEnabled{e.ID, from}}, nil
}

func (cmd ResumeEndpoint) from() (ResumeFrom, error) {
	switch cmd.From {
	case "":
		return FromHeld, nil
	case FromHeld, FromNow:
		return cmd.From, nil
	}
	return "", RejectField(Invalid, "/from", `%s is not known; send "held" to go on with what was held, or "now" to leave it out`, quote(string(cmd.From)))
}

// DisableEndpoint ends sending until a member enables the endpoint.
type DisableEndpoint struct {
	EndpointID EndpointID
	Code       DisableCode
	Reason     string
	// URL, when not empty, is the address it is disabled for. It stays as it is
	// if it has got another meanwhile.
	URL string
}

// DisableEndpoint decides on a DisableEndpoint.
func (a Account) DisableEndpoint(cmd DisableEndpoint) ([]Event, error) {
	e, err := a.endpoint(cmd.EndpointID)
	if err != nil {
		return nil, err
	}
	if e.Status == EndpointDisabled || cmd.URL != "" && cmd.URL != e.URL {
		return nil, nil
	}
	if err := checkText("/reason", cmd.Reason, 0, 512); err != nil {
		return nil, err
	}
	return []Event{WebhookDisabled{e.ID, cmd.Code, cmd.Reason}}, nil
}

// RotateSecret gives an endpoint a new secret.
type RotateSecret struct {
	EndpointID EndpointID
	// Overlap is how long those before it are good too: nil for the default, 0 to
	// end all of them at once.
	Overlap *Duration
	Now     time.Time
}

// RotateSecret decides on a RotateSecret.
func (a Account) RotateSecret(cmd RotateSecret) ([]Event, error) {
	e, err := a.endpoint(cmd.EndpointID)
	if err != nil {
		return nil, err
	}
	overlap := UsualOverlap
	set(&overlap, cmd.Overlap)
	rotated := WebhookSecretRotated{EndpointID: e.ID, Secret: e.Secret + 1}
	switch {
	case overlap < 0 || overlap > mostOverlap:
		return nil, RejectField(Invalid, "/overlap", "is %s; send 0s to %s", overlap, mostOverlap)
	case overlap == 0:
		return []Event{rotated}, nil
	case len(e.Secrets(cmd.Now)) >= mostSecrets:
		return nil, RejectField(Conflict, "/overlap", "%d secrets are good already; wait until one is not, or end all but the new one with 0s", mostSecrets)
	}
	rotated.OverlapUntil = cmd.Now.Add(time.Duration(overlap))
	return []Event{rotated}, nil
}

// TestEndpoint decides to send an endpoint a message that is only a test.
func (a Account) TestEndpoint(id EndpointID) ([]Event, error) {
	e, err := a.sending(id, "be sent a test")
	if err != nil {
		return nil, err
	}
	return []Event{WebhookTested{e.ID}}, nil
}

func (a Account) endpoint(id EndpointID) (*Endpoint, error) {
	if e, ok := a.Endpoint(id); ok {
		return e, nil
	}
	return nil, Reject(NotFound, "no webhook %s", id)
}

// sending is an endpoint that is sent events, or why it can't be done.
func (a Account) sending(id EndpointID, what string) (*Endpoint, error) {
	e, err := a.endpoint(id)
	switch {
	case err != nil:
		return nil, err
	case !e.Verified:
		return nil, Reject(Conflict, "webhook %s has to be verified before it can %s", e.ID, what)
	case e.Status != EndpointActive:
		return nil, Reject(Conflict, "webhook %s is %s, and can't %s", e.ID, e.Status, what)
	}
	return e, nil
}
