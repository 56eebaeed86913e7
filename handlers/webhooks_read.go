package handlers

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/behalf-platform/behalf/domain"
)

// WebhookView is an endpoint as members see it.
type WebhookView struct {
	WebhookID               domain.EndpointID `json:"webhookId"`
	Secret                  string            `json:"secret,omitempty"` // only when it was just made
	domain.EndpointSettings `json:",inline"`
	Status                  domain.EndpointStatus `json:"status"`
	Disabled                bool                  `json:"disabled"`
	DisabledCode            domain.DisableCode    `json:"disabledCode,omitempty"`
	Reason                  string                `json:"reason,omitempty"`
	Verified                bool                  `json:"verified"`
	// Keys are the secrets that messages are signed with now, newest first, by
	// what may be known of them.
	Keys      []WebhookKeyView `json:"keys"`
	CreatedAt time.Time        `json:"createdAt"`
	UpdatedAt time.Time        `json:"updatedAt"`
	Version   uint64           `json:"version"` // for If-Match
}

// WebhookKeyView is what may be known of a secret.
type WebhookKeyView struct {
	Version int `json:"version"`
	// PublicKey checks v1a signatures. Empty on a node that can't sign.
	PublicKey string `json:"publicKey,omitempty"`
	// GoodUntil is when it ends, zero for the newest.
	GoodUntil time.Time `json:"goodUntil,omitzero"`
}

// WebhookPage is a page of endpoints, oldest first.
type WebhookPage struct {
	Webhooks   []WebhookView     `json:"webhooks"`
	NextCursor domain.EndpointID `json:"nextCursor,omitempty"`
}

// WebhookReplayView is a replay as members see it.
type WebhookReplayView struct {
	ReplayID               domain.ReplayID    `json:"replayId"`
	State                  domain.ReplayState `json:"state"`
	domain.ReplaySelection `json:",inline"`
	RatePerSecond          int          `json:"ratePerSecond"`
	RequestedBy            domain.Actor `json:"requestedBy"`
	RequestedAt            time.Time    `json:"requestedAt"`
	EndedAt                time.Time    `json:"endedAt,omitzero"`
	// Reason is why it ended before all was sent, such as gone, if it did.
	Reason string `json:"reason,omitempty"`
	// Progress is not there if it isn't known how far a cancelled one got.
	Progress *ReplayProgress `json:"progress,omitempty"`
}

// Get shows an endpoint.
func (h *Webhooks) Get(by Member, id domain.EndpointID) (WebhookView, error) {
	e, err := h.find(by, id)
	if err != nil {
		return WebhookView{}, err
	}
	return h.view(by.Account, e)
}

// List is a page of the account's endpoints, those after one of them.
func (h *Webhooks) List(by Member, limit int, after domain.EndpointID) (WebhookPage, error) {
	page := WebhookPage{Webhooks: []WebhookView{}}
	if after != "" && (!domain.ValidID(string(after)) || !strings.HasPrefix(string(after), domain.EndpointPrefix)) {
		return page, domain.RejectField(domain.Invalid, "/cursor", "is not one of this list; leave it out to begin at the oldest")
	}
	account, err := h.Writer.Passports.Account(by.Account)
	if err != nil {
		return page, Unreadable(err)
	}
	list := account.Endpoints
	first, _ := slices.BinarySearchFunc(list, after, func(e *domain.Endpoint, id domain.EndpointID) int {
		if e.ID <= id {
			return -1
		}
		return 1
	})
	for i, e := range list[first:] {
		if i == limit {
			page.NextCursor = list[first+i-1].ID
			break
		}
		view, err := h.view(by.Account, e)
		if err != nil {
			return page, err
		}
		page.Webhooks = append(page.Webhooks, view)
	}
	return page, nil
}

func (h *Webhooks) view(account domain.AccountID, e *domain.Endpoint) (WebhookView, error) {
	v := WebhookView{
		WebhookID: e.ID, EndpointSettings: e.EndpointSettings, Status: e.Status, Disabled: e.Status == domain.EndpointDisabled,
		DisabledCode: e.Code, Reason: e.Reason, Verified: e.Verified, Keys: []WebhookKeyView{},
		CreatedAt: e.Created, UpdatedAt: e.Updated, Version: e.Version,
	}
	for _, version := range e.Secrets(h.Writer.Now()) {
		key := WebhookKeyView{Version: version}
		if i := slices.IndexFunc(e.Older, func(o domain.OlderSecret) bool { return o.Version == version }); i >= 0 {
			key.GoodUntil = e.Older[i].Until
		}
		if h.Secrets != nil {
			var err error
			if key.PublicKey, err = h.Secrets.PublicKey(account, e.ID, version); err != nil {
				return v, unavailable(err, "the keys of the webhook could not be derived")
			}
		}
		v.Keys = append(v.Keys, key)
	}
	return v, nil
}

// viewWithSecret shows an endpoint whose newest secret was just made. What could
// not be shown is not lost: another rotation gives another.
func (h *Webhooks) viewWithSecret(account domain.Account, id domain.EndpointID) (WebhookView, error) {
	e, ok := account.Endpoint(id)
	if !ok {
		return WebhookView{}, noWebhook(id)
	}
	v, err := h.view(account.ID, e)
	if err == nil {
		v.Secret, err = h.Secrets.Secret(account.ID, id, e.Secret)
	}
	if err != nil {
		return WebhookView{}, unavailable(err, "webhook %s has a secret that could not be shown; rotate it", id)
	}
	return v, nil
}

// RequestReplay asks for events to be sent once more.
func (h *Webhooks) RequestReplay(ctx context.Context, by Member, cmd domain.RequestReplay) (WebhookReplayView, error) {
	if h.Deliveries == nil {
		return WebhookReplayView{}, errOff
	}
	cmd.ReplayID = domain.ReplayID(domain.ReplayPrefix + NewULID(h.Writer.Now()))
	account, err := h.do(ctx, by, func(a domain.Account, at time.Time) ([]domain.Event, error) {
		cmd.Now = at
		return a.RequestReplay(cmd)
	})
	if err != nil {
		return WebhookReplayView{}, err
	}
	return h.replayOf(ctx, account, cmd.EndpointID, cmd.ReplayID)
}

// CancelReplay has the rest of a replay not sent.
func (h *Webhooks) CancelReplay(ctx context.Context, by Member, id domain.EndpointID, replay domain.ReplayID) (WebhookReplayView, error) {
	account, err := h.do(ctx, by, func(a domain.Account, _ time.Time) ([]domain.Event, error) {
		return a.CancelReplay(domain.EndReplay{EndpointID: id, ReplayID: replay})
	})
	if err != nil {
		return WebhookReplayView{}, err
	}
	return h.replayOf(ctx, account, id, replay)
}

// Replay shows one replay.
func (h *Webhooks) Replay(ctx context.Context, by Member, id domain.EndpointID, replay domain.ReplayID) (WebhookReplayView, error) {
	account, err := h.Writer.Passports.Account(by.Account)
	if err != nil {
		return WebhookReplayView{}, Unreadable(err)
	}
	return h.replayOf(ctx, *account, id, replay)
}

func (h *Webhooks) replayOf(ctx context.Context, account domain.Account, id domain.EndpointID, replay domain.ReplayID) (WebhookReplayView, error) {
	e, ok := account.Endpoint(id)
	if !ok {
		return WebhookReplayView{}, noWebhook(id)
	}
	r, ok := e.Replay(replay)
	if !ok {
		return WebhookReplayView{}, domain.Reject(domain.NotFound, "no replay %q of webhook %s", strings.ToValidUTF8(string(replay), "?"), id)
	}
	views, err := h.viewReplays(ctx, account.ID, id, []domain.Replay{r})
	if err != nil {
		return WebhookReplayView{}, err
	}
	return views[0], nil
}

// Replays are the newest replays of an endpoint, newest first.
func (h *Webhooks) Replays(ctx context.Context, by Member, id domain.EndpointID) ([]WebhookReplayView, error) {
	e, err := h.find(by, id)
	if err != nil {
		return nil, err
	}
	newest := slices.Clone(e.Replays)
	slices.Reverse(newest)
	return h.viewReplays(ctx, by.Account, id, newest)
}

// viewReplays shows replays. How far those got that did not finish is known by
// whoever sends.
func (h *Webhooks) viewReplays(ctx context.Context, account domain.AccountID, id domain.EndpointID, replays []domain.Replay) ([]WebhookReplayView, error) {
	var ask []domain.ReplayID
	for _, r := range replays {
		if r.State != domain.ReplayIsFinished {
			ask = append(ask, r.ID)
		}
	}
	var progress map[domain.ReplayID]ReplayProgress
	if len(ask) > 0 && h.Deliveries != nil {
		var err error
		if progress, err = h.Deliveries.Progress(ctx, account, id, ask); err != nil {
			return nil, unavailable(err, unreadDeliveries)
		}
	}
	views := []WebhookReplayView{}
	for _, r := range replays {
		v := WebhookReplayView{
			ReplayID: r.ID, State: r.State, ReplaySelection: r.ReplaySelection, RatePerSecond: r.RatePerSecond,
			RequestedBy: r.By, RequestedAt: r.RequestedAt, EndedAt: r.EndedAt, Reason: r.Reason,
		}
		if p, ok := progress[r.ID]; ok {
			v.Progress = &p
		}
		if r.State == domain.ReplayIsFinished {
			v.Progress = &ReplayProgress{Delivered: r.Delivered, Failed: r.Failed}
		}
		views = append(views, v)
	}
	return views, nil
}
