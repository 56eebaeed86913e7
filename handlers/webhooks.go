package handlers

import (
	"cmp"
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/behalf-platform/behalf/domain"
)

// Secrets derives what messages to endpoints are signed with. It keeps nothing:
// the same endpoint and version give the same secret, as long as the operator's
// master key stays. Both give an error for a version below 1.
type Secrets interface {
	// Secret is the secret of one version, "whsec_" and base64.
	Secret(account domain.AccountID, endpoint domain.EndpointID, version int) (string, error)
	// PublicKey is what the Ed25519 signatures of that version are checked with,
	// "whpk_" and base64. It may be shown to everybody.
	PublicKey(account domain.AccountID, endpoint domain.EndpointID, version int) (string, error)
}

// Challenger asks whoever answers at an address whether they want the events.
type Challenger interface {
	// Challenge posts a webhook.challenge to the endpoint's URL once: a message
	// as every other, signed as every other, whose data is {"challenge": nonce}.
	// It returns what was answered. That nothing was, or not before ctx ended, is
	// no error but a Fault.
	Challenge(ctx context.Context, account domain.AccountID, e *domain.Endpoint, nonce string) (ChallengeAnswer, error)
}

// ChallengeAnswer is what came of a challenge.
type ChallengeAnswer struct {
	// Status is HTTP's, 0 if there was no answer.
	Status int
	// Body is the beginning of the answer, at most 1 KiB.
	Body []byte
	// Fault says why there was no answer, in words that may be shown and name no
	// address, such as "the certificate is not valid". It is empty if there was.
	Fault string
}

// Webhooks manages where an account's events are sent to. What is nil is not
// offered on this node, and says so.
type Webhooks struct {
	Writer *Writer
	Rules  domain.EndpointRules
	// CheckURL says why nothing is sent to an address, in words that may be shown.
	CheckURL   func(ctx context.Context, url string) error
	Secrets    Secrets
	Challenger Challenger
	Deliveries Deliveries
	// Challenges bounds, by account, how often addresses are challenged or sent
	// a test: else a member could have them knocked at.
	Challenges *Limiter
}

// mostChallenge is how long an address may take to answer a challenge, which
// somebody waits for.
const mostChallenge = 8 * time.Second

// errOff is the answer of a node that can't sign: its operator gave it no key.
var errOff = domain.Reject(domain.NotSupported, "webhooks are off on this server; its operator has to set a key for them first")

// Create creates an endpoint, whose secret is in the answer and can't be asked
// for again.
func (h *Webhooks) Create(ctx context.Context, by Member, settings domain.EndpointSettings) (WebhookView, error) {
	if err := h.check(ctx, by.Account, settings); err != nil {
		return WebhookView{}, err
	}
	id := domain.EndpointID(domain.EndpointPrefix + NewULID(h.Writer.Now()))
	account, err := h.do(ctx, by, func(a domain.Account, _ time.Time) ([]domain.Event, error) {
		return a.CreateEndpoint(domain.CreateEndpoint{EndpointID: id, Settings: settings, Rules: h.Rules})
	})
	if err != nil {
		return WebhookView{}, err
	}
	return h.viewWithSecret(account, id)
}

// Change gives an endpoint other settings, if they have not changed since the
// version ifVersion (0: whatever it is).
func (h *Webhooks) Change(ctx context.Context, by Member, id domain.EndpointID, settings domain.EndpointSettings, ifVersion uint64) (WebhookView, error) {
	if err := h.check(ctx, by.Account, settings); err != nil {
		return WebhookView{}, err
	}
	return h.act(ctx, by, id, func(a domain.Account, _ time.Time) ([]domain.Event, error) {
		return a.ChangeEndpoint(domain.ChangeEndpoint{EndpointID: id, Settings: settings, IfVersion: ifVersion, Rules: h.Rules})
	})
}

// check looks at settings as far as the account's state doesn't matter. The
// address is looked at last, since that may take a while.
func (h *Webhooks) check(ctx context.Context, account domain.AccountID, settings domain.EndpointSettings) error {
	if h.Secrets == nil || h.CheckURL == nil {
		return errOff
	}
	if _, err := settings.Complete(h.Rules); err != nil {
		return err
	}
	for i, agent := range settings.Agents {
		stream := domain.Stream{Account: account, Agent: agent}
		if !h.Writer.Passports.Agent(stream).Exists() {
			// It may be new, and not known here yet.
			if err := catchUp(ctx, h.Writer.Log, h.Writer.Passports, stream); err != nil {
				return err
			}
		}
		if !h.Writer.Passports.Agent(stream).Exists() {
			return domain.RejectField(domain.Invalid, fmt.Sprintf("/agents/%d", i), "no agent %s; register it first", agent)
		}
	}
	if err := h.CheckURL(ctx, settings.URL); err != nil {
		return domain.RejectField(domain.Invalid, "/url", "%s", plainly(err))
	}
	return nil
}

// plainly is what an error says, without the field that a rule says it of.
func plainly(err error) string {
	if rule, ok := errors.AsType[*domain.RuleError](err); ok {
		return rule.Message
	}
	return err.Error()
}

// Delete forgets an endpoint.
func (h *Webhooks) Delete(ctx context.Context, by Member, id domain.EndpointID) error {
	_, err := h.do(ctx, by, func(a domain.Account, _ time.Time) ([]domain.Event, error) { return a.DeleteEndpoint(id) })
	return err
}

// Pause holds what there is to send, until Resume.
func (h *Webhooks) Pause(ctx context.Context, by Member, cmd domain.PauseEndpoint) (WebhookView, error) {
	return h.act(ctx, by, cmd.EndpointID, func(a domain.Account, _ time.Time) ([]domain.Event, error) { return a.PauseEndpoint(cmd) })
}

// Resume ends a Pause.
func (h *Webhooks) Resume(ctx context.Context, by Member, cmd domain.ResumeEndpoint) (WebhookView, error) {
	return h.act(ctx, by, cmd.EndpointID, func(a domain.Account, _ time.Time) ([]domain.Event, error) { return a.ResumeEndpoint(cmd) })
}

// Disable has a member end sending, until Enable.
func (h *Webhooks) Disable(ctx context.Context, by Member, id domain.EndpointID, reason string) (WebhookView, error) {
	return h.act(ctx, by, id, func(a domain.Account, _ time.Time) ([]domain.Event, error) {
		return a.DisableEndpoint(domain.DisableEndpoint{EndpointID: id, Code: domain.DisabledByMember, Reason: reason})
	})
}

// Enable ends a Disable, whoever did it.
func (h *Webhooks) Enable(ctx context.Context, by Member, cmd domain.ResumeEndpoint) (WebhookView, error) {
	return h.act(ctx, by, cmd.EndpointID, func(a domain.Account, _ time.Time) ([]domain.Event, error) { return a.EnableEndpoint(cmd) })
}

// Rotate gives an endpoint a new secret, which is in the answer and can't be
// asked for again. With overlap nil those before it are good for a day more.
func (h *Webhooks) Rotate(ctx context.Context, by Member, id domain.EndpointID, overlap *domain.Duration) (WebhookView, error) {
	if h.Secrets == nil {
		return WebhookView{}, errOff
	}
	account, err := h.do(ctx, by, func(a domain.Account, at time.Time) ([]domain.Event, error) {
		return a.RotateSecret(domain.RotateSecret{EndpointID: id, Overlap: overlap, Now: at})
	})
	if err != nil {
		return WebhookView{}, err
	}
	return h.viewWithSecret(account, id)
}

// Test has a message sent that says nothing but that it is a test. It returns
// the id the message has.
func (h *Webhooks) Test(ctx context.Context, by Member, id domain.EndpointID) (domain.EventID, error) {
	if err := h.Challenges.Pass("test " + string(by.Account)); err != nil {
		return "", err
	}
	event := domain.EventID(domain.EventPrefix + NewULID(h.Writer.Now()))
	a := by.on("")
	a.id = event
	_, err := h.Writer.accountAt(ctx, a, func(account domain.Account, _ time.Time) ([]domain.Event, error) {
		return account.TestEndpoint(id)
	})
	return event, err
}

// Verify challenges whoever answers at the endpoint's address, and records that
// they want the events. What is verified already is not challenged again.
func (h *Webhooks) Verify(ctx context.Context, by Member, id domain.EndpointID) (WebhookView, error) {
	e, err := h.find(by, id)
	if err != nil {
		return WebhookView{}, err
	}
	if e.Verified {
		return h.view(by.Account, e)
	}
	if h.Challenger == nil || h.CheckURL == nil {
		return WebhookView{}, errOff
	}
	if err := h.Challenges.Pass(string(by.Account)); err != nil {
		return WebhookView{}, err
	}
	if err := h.CheckURL(ctx, e.URL); err != nil { // where a name leads may have changed
		return WebhookView{}, domain.RejectField(domain.Conflict, "/url", "%s", plainly(err))
	}
	nonce := newSecret("")
	challenging, cancel := context.WithTimeout(ctx, mostChallenge)
	defer cancel()
	answer, err := h.Challenger.Challenge(challenging, by.Account, e, nonce)
	if err != nil {
		return WebhookView{}, unavailable(err, "the challenge could not be sent; try again")
	}
	if err := answer.echoes(nonce); err != nil {
		return WebhookView{}, err
	}
	return h.act(ctx, by, id, func(a domain.Account, _ time.Time) ([]domain.Event, error) {
		return a.VerifyEndpoint(domain.VerifyEndpoint{EndpointID: id, URL: e.URL})
	})
}

// echoes is the rule that an answer repeats the nonce, which only someone who
// read the message can. Of what else was answered, nothing is told: an address
// that is not verified may be anybody's.
func (a ChallengeAnswer) echoes(nonce string) error {
	const want = `answer the POST of type webhook.challenge with 2xx and {"challenge": the one in its data}, and verify again`
	switch {
	case a.Fault != "":
		return domain.RejectField(domain.Conflict, "/url", "could not be reached: %s", a.Fault)
	case a.Status < 200 || a.Status > 299:
		return domain.RejectField(domain.Conflict, "/url", "answered %d; %s", a.Status, want)
	}
	var echo struct {
		Challenge string `json:"challenge"`
	}
	if err := json.Unmarshal(a.Body, &echo); err != nil || subtle.ConstantTimeCompare([]byte(echo.Challenge), []byte(nonce)) != 1 {
		return domain.RejectField(domain.Conflict, "/url", "did not repeat the challenge; %s", want)
	}
	return nil
}

// DisableFor ends sending to an endpoint for what came of sending to it. It is
// for whoever sends; a URL in the command keeps it from a newer one.
func (h *Webhooks) DisableFor(ctx context.Context, account domain.AccountID, cmd domain.DisableEndpoint) error {
	return h.bySystem(ctx, account, func(a domain.Account) ([]domain.Event, error) { return a.DisableEndpoint(cmd) })
}

// FinishReplay says that all of a replay was sent or given up. It is for whoever
// sends.
func (h *Webhooks) FinishReplay(ctx context.Context, account domain.AccountID, cmd domain.EndReplay) error {
	return h.bySystem(ctx, account, func(a domain.Account) ([]domain.Event, error) { return a.FinishReplay(cmd) })
}

// FailingFor warns that nothing can be delivered to an endpoint. It is for
// whoever sends.
func (h *Webhooks) FailingFor(ctx context.Context, account domain.AccountID, cmd domain.FailEndpoint) error {
	cmd.Now = h.Writer.Now()
	return h.bySystem(ctx, account, func(a domain.Account) ([]domain.Event, error) { return a.FailEndpoint(cmd) })
}

// RecoveredFor ends what FailingFor warned of. It is for whoever sends.
func (h *Webhooks) RecoveredFor(ctx context.Context, account domain.AccountID, id domain.EndpointID) error {
	return h.bySystem(ctx, account, func(a domain.Account) ([]domain.Event, error) { return a.RecoverEndpoint(id) })
}

// SkippedFor says that events were not sent to an endpoint, and won't be. It is
// for whoever sends.
func (h *Webhooks) SkippedFor(ctx context.Context, account domain.AccountID, cmd domain.SkipEvents) error {
	return h.bySystem(ctx, account, func(a domain.Account) ([]domain.Event, error) { return a.SkipEvents(cmd) })
}

func (h *Webhooks) bySystem(ctx context.Context, account domain.AccountID, decide func(domain.Account) ([]domain.Event, error)) error {
	a := act{by: domain.BySystem("webhooks"), stream: domain.Stream{Account: account}}
	_, err := h.Writer.account(ctx, a, decide)
	return err
}

// do executes a member's command on the account.
func (h *Webhooks) do(ctx context.Context, by Member, decide func(domain.Account, time.Time) ([]domain.Event, error)) (domain.Account, error) {
	return h.Writer.accountAt(ctx, by.on(""), decide)
}

// act is do for one endpoint, and shows it.
func (h *Webhooks) act(
	ctx context.Context, by Member, id domain.EndpointID, decide func(domain.Account, time.Time) ([]domain.Event, error),
) (WebhookView, error) {
	account, err := h.do(ctx, by, decide)
	if err != nil {
		return WebhookView{}, err
	}
	e, ok := account.Endpoint(id)
	if !ok { // deleted since
		return WebhookView{}, noWebhook(id)
	}
	return h.view(by.Account, e)
}

// find is an endpoint as it is known here: whoever was identified as a member
// has had the account folded up to date.
func (h *Webhooks) find(by Member, id domain.EndpointID) (*domain.Endpoint, error) {
	account, err := h.Writer.Passports.Account(by.Account)
	if err != nil {
		return nil, Unreadable(err)
	}
	e, ok := account.Endpoint(id)
	if !ok {
		return nil, noWebhook(id)
	}
	return e, nil
}

func noWebhook(id domain.EndpointID) error {
	return domain.Reject(domain.NotFound, "no webhook %q", cmp.Or(strings.ToValidUTF8(string(id), "?"), "?"))
}
