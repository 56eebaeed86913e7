package behalf

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// WebhookSettings say where events are sent to, and which. What is empty is the
// server's default.
type WebhookSettings struct {
	// URL is where messages are posted to.
	URL string `json:"url"`
	// Types are the types of events: exact ones, "approval.*" for all of a noun,
	// "*" for all. Nil is all but verification.allowed.
	Types []string `json:"types,omitzero"`
	// Agents are whose events are sent. Nil is everybody's, and the account's own.
	Agents      []string `json:"agents,omitzero"`
	Description string   `json:"description,omitempty"`
	// Ordering is "parallel", "per_agent" or "strict".
	Ordering string `json:"ordering,omitempty"`
	// RatePerSecond is the most events a second.
	RatePerSecond int             `json:"ratePerSecond,omitzero"`
	Headers       []WebhookHeader `json:"headers,omitzero"`
	// Format is "standard" or "behalfid".
	Format string `json:"format,omitempty"`
	// Signatures are "v1" (HMAC) and "v1a" (Ed25519).
	Signatures []string `json:"signatures,omitzero"`
}

// WebhookHeader is a header that every message carries. Headers are recorded, so
// the server refuses those that look like credentials.
type WebhookHeader struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Webhook is where events are sent to.
type Webhook struct {
	WebhookID string `json:"webhookId"`
	// Secret is there when it was just made, and never again.
	Secret string `json:"secret,omitempty"`
	WebhookSettings
	// Status is "active", "paused" or "disabled".
	Status   string `json:"status"`
	Disabled bool   `json:"disabled"`
	// DisabledCode is "member", "gone", "failing" or "refused".
	DisabledCode string `json:"disabledCode,omitempty"`
	Reason       string `json:"reason,omitempty"`
	// Verified says that the address answered a challenge. Nothing is sent before.
	Verified bool `json:"verified"`
	// Keys are the secrets that messages are signed with now, newest first, by
	// what may be known of them.
	Keys      []WebhookKey `json:"keys"`
	CreatedAt time.Time    `json:"createdAt"`
	UpdatedAt time.Time    `json:"updatedAt"`
	// Version is what [Client.ChangeWebhook] takes as the version looked at.
	Version uint64 `json:"version"`
}

// WebhookKey is what may be known of a secret.
type WebhookKey struct {
	Version int `json:"version"`
	// PublicKey ("whpk_…") checks v1a signatures.
	PublicKey string `json:"publicKey,omitempty"`
	// GoodUntil is zero for the newest.
	GoodUntil time.Time `json:"goodUntil,omitzero"`
}

// WebhookPage is some webhooks, oldest first.
type WebhookPage struct {
	Webhooks []Webhook `json:"webhooks"`
	// NextCursor is empty on the last page.
	NextCursor string `json:"nextCursor,omitempty"`
}

// Webhooks lists the account's webhooks.
func (c *Client) Webhooks(ctx context.Context, p Page) (WebhookPage, error) {
	r := get("webhooks")
	r.query = p.values()
	var page WebhookPage
	err := c.call(ctx, r, &page)
	return page, err
}

func (p Page) values() url.Values {
	v := url.Values{}
	setPage(v, p.Limit, p.Cursor)
	return v
}

// Webhook reads one webhook.
func (c *Client) Webhook(ctx context.Context, id string) (Webhook, error) {
	return c.webhook(ctx, get("webhooks", id))
}

// CreateWebhook sends events somewhere, once the address is verified. The Secret
// is shown this once.
func (c *Client) CreateWebhook(ctx context.Context, s WebhookSettings) (Webhook, error) {
	r := post(s, "webhooks")
	r.want = http.StatusCreated
	return c.webhook(ctx, r)
}

// ChangeWebhook gives a webhook other settings; what they leave out is the
// default. With a version other than 0 it is refused if the settings have changed
// since that version.
func (c *Client) ChangeWebhook(ctx context.Context, id string, s WebhookSettings, version uint64) (Webhook, error) {
	r := request{method: http.MethodPut, path: []string{"webhooks", id}, body: s, want: http.StatusOK}
	if version != 0 {
		r.ifMatch = `"` + strconv.FormatUint(version, 10) + `"`
	}
	return c.webhook(ctx, r)
}

// DeleteWebhook ends a webhook.
func (c *Client) DeleteWebhook(ctx context.Context, id string) error {
	return c.call(ctx, request{method: http.MethodDelete, path: []string{"webhooks", id}, want: http.StatusNoContent}, nil)
}

// PauseWebhook holds what there is to send.
func (c *Client) PauseWebhook(ctx context.Context, id, reason string) (Webhook, error) {
	return c.webhook(ctx, post(reasoned{reason}, "webhooks", id, "pause"))
}

// ResumeFrom says what becomes of the events that were held.
type ResumeFrom string

// What becomes of the events that were held.
const (
	FromHeld ResumeFrom = "held" // they are sent
	FromNow  ResumeFrom = "now"  // they never are
)

type resume struct {
	From ResumeFrom `json:"from,omitempty"`
}

// ResumeWebhook ends a pause.
func (c *Client) ResumeWebhook(ctx context.Context, id string, from ResumeFrom) (Webhook, error) {
	return c.webhook(ctx, post(resume{from}, "webhooks", id, "resume"))
}

// DisableWebhook sends nothing until EnableWebhook.
func (c *Client) DisableWebhook(ctx context.Context, id, reason string) (Webhook, error) {
	return c.webhook(ctx, post(reasoned{reason}, "webhooks", id, "disable"))
}

// EnableWebhook sends events to a webhook again, whoever disabled it.
func (c *Client) EnableWebhook(ctx context.Context, id string, from ResumeFrom) (Webhook, error) {
	return c.webhook(ctx, post(resume{from}, "webhooks", id, "enable"))
}

// RotateWebhookSecret signs with a new Secret, shown this once. Those before it
// are signed with too for overlap: a day if it is nil; 0 ends them at once.
func (c *Client) RotateWebhookSecret(ctx context.Context, id string, overlap *Duration) (Webhook, error) {
	return c.webhook(ctx, post(struct {
		Overlap *Duration `json:"overlap,omitempty"`
	}{overlap}, "webhooks", id, "rotate-secret"))
}

// VerifyWebhook asks the address whether it wants the events. An error says what
// it answered instead of the challenge.
func (c *Client) VerifyWebhook(ctx context.Context, id string) (Webhook, error) {
	return c.webhook(ctx, post(struct{}{}, "webhooks", id, "verify"))
}

// TestWebhook has a message sent that is only a test, and returns its event id.
func (c *Client) TestWebhook(ctx context.Context, id string) (eventID string, err error) {
	r := post(struct{}{}, "webhooks", id, "test")
	r.want = http.StatusAccepted
	var out struct {
		EventID string `json:"eventId"`
	}
	err = c.call(ctx, r, &out)
	return out.EventID, err
}

func (c *Client) webhook(ctx context.Context, r request) (Webhook, error) {
	var w Webhook
	err := c.call(ctx, r, &w)
	return w, err
}
