package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers/delivery"
	"github.com/behalf-platform/behalf/infra/outbound"
	"github.com/behalf-platform/behalf/infra/webhooksig"
)

// hookSender writes, signs and sends the messages of lanes.
type hookSender struct {
	client *outbound.Client
	keys   *webhooksig.Keyring
	// endpoint is an endpoint as it is known now, if it is.
	endpoint func(domain.AccountID, domain.EndpointID) (*domain.Endpoint, bool)
	now      func() time.Time
	logs     *slog.Logger

	signers sync.Map // signerKey to *cachedSigner
}

var _ delivery.Sender = (*hookSender)(nil)

// Send sends a message once.
func (s *hookSender) Send(ctx context.Context, to delivery.Endpoint, m delivery.Message, replay string) delivery.Result {
	now := s.now()
	e, ok := s.endpoint(to.Account, domain.EndpointID(to.ID))
	if !ok || e.URL != to.URL { // changed meanwhile; the lane will hear of it
		return delivery.Result{Category: delivery.Unready}
	}
	signer, err := s.signer(to.Account, e, now)
	if err != nil {
		return s.unready(ctx, e, err)
	}
	body := webhooksig.Body{ID: m.ID, Type: m.Type, At: m.At, Data: m.Data}
	form := webhooksig.Standard
	if e.Format == domain.FormatBehalfID {
		form = webhooksig.ReferenceForm
	}
	raw, err := body.Append(make([]byte, 0, len(m.Data)+192), form)
	if err != nil {
		return s.unready(ctx, e, err)
	}
	d := outbound.Delivery{URL: e.URL, Signer: signer, ID: m.ID, At: now, Body: raw, Replay: replay}
	if len(e.Headers) > 0 {
		d.Header = make(http.Header, len(e.Headers))
		for _, h := range e.Headers {
			d.Header[h.Name] = append(d.Header[h.Name], h.Value)
		}
	}
	r := s.client.Send(ctx, d)
	if r.Category == outbound.Blocked || r.Category == outbound.Invalid {
		s.logs.WarnContext(ctx, "an endpoint can't be sent to", slog.String("endpoint", string(e.ID)), slog.Any("error", r.Err))
	}
	return delivery.Result{
		Status: r.Status, Category: laneCategory(r), RetryAfter: r.RetryAfter, Latency: r.Latency, Answer: []byte(r.Answer), Key: e.Secret,
	}
}

func (s *hookSender) unready(ctx context.Context, e *domain.Endpoint, err error) delivery.Result {
	s.logs.ErrorContext(ctx, "a message can't be signed", slog.String("endpoint", string(e.ID)), slog.Any("error", err))
	return delivery.Result{Category: delivery.Unready}
}

// laneCategory is a result as a lane takes it. What an answer means is the
// lane's to say, but for what it asks for beside its status.
func laneCategory(r outbound.Result) delivery.Category {
	switch r.Hint {
	case outbound.Disable:
		return delivery.Gone
	case outbound.AbortMessage:
		return delivery.Aborted
	case outbound.NoHint:
	}
	switch r.Category {
	case outbound.OK, outbound.Refused, outbound.Throttled, outbound.Redirected, outbound.Failed:
		return delivery.Answered
	case outbound.Gone:
		return delivery.Gone
	case outbound.Timeout:
		return delivery.Timeout
	case outbound.Connect:
		return delivery.Connect
	case outbound.TLS:
		return delivery.TLS
	case outbound.DNS:
		return delivery.DNS
	case outbound.Dropped, outbound.Protocol:
		return delivery.Broken
	case outbound.Blocked, outbound.Invalid:
		return delivery.Blocked
	case outbound.Cancelled:
		return delivery.Unready
	}
	return delivery.Broken
}

type signerKey struct {
	account domain.AccountID
	id      domain.EndpointID
}

// cachedSigner is a signer of some versions of a key, in some ways.
type cachedSigner struct {
	versions []int
	schemes  webhooksig.Scheme
	signer   *webhooksig.Signer
}

// signer derives the keys of an endpoint, or takes those it has derived before.
func (s *hookSender) signer(account domain.AccountID, e *domain.Endpoint, now time.Time) (*webhooksig.Signer, error) {
	versions, schemes := e.Secrets(now), schemesOf(e)
	if schemes == 0 {
		return nil, errors.New("the endpoint has no signature")
	}
	key := signerKey{account, e.ID}
	if found, ok := s.signers.Load(key); ok {
		if c := found.(*cachedSigner); c.schemes == schemes && slices.Equal(c.versions, versions) {
			return c.signer, nil
		}
	}
	signer, err := s.keys.Signer(string(account), string(e.ID), schemes, versions...)
	if err != nil {
		return nil, err
	}
	s.signers.Store(key, &cachedSigner{versions, schemes, signer})
	return signer, nil
}

func schemesOf(e *domain.Endpoint) (schemes webhooksig.Scheme) {
	for _, sign := range e.Signatures {
		switch sign {
		case domain.SignHMAC:
			schemes |= webhooksig.V1
		case domain.SignEd25519:
			schemes |= webhooksig.V1a
		}
	}
	if e.Format == domain.FormatBehalfID {
		schemes |= webhooksig.Reference
	}
	return schemes
}
