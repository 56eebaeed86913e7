package handlers

import (
	"context"
	"slices"
	"time"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers/delivery"
	"github.com/behalf-platform/behalf/projections"
)

// WebhookRegistry is the endpoints of all accounts, as they are known here. It
// may lag behind the log: what was paused a moment ago may be sent to once more.
type WebhookRegistry struct {
	Passports  *projections.Passports
	Partitions int
	// Current returns when what is known here is as new as the log was when it was
	// called: before that, endpoints would seem not to be there, and what is kept
	// of them would be dropped.
	Current func(ctx context.Context, partition uint16) error
}

var _ delivery.Registry = (*WebhookRegistry)(nil)

// Endpoints are those of a partition's accounts. Nothing is sent to those of an
// account that can't be read, which is no reason to leave others waiting.
func (g *WebhookRegistry) Endpoints(ctx context.Context, partition uint16) ([]delivery.Endpoint, error) {
	if err := g.Current(ctx, partition); err != nil {
		return nil, err
	}
	var list []delivery.Endpoint
	for _, id := range g.Passports.Accounts() {
		if domain.PartitionOf(id, g.Partitions) != partition {
			continue
		}
		account, fault := g.Passports.Account(id)
		for _, e := range account.Endpoints {
			known := deliveryEndpoint(id, e)
			known.Enabled = known.Enabled && fault == nil // whether it still is can't be read
			list = append(list, known)
		}
	}
	return list, nil
}

// Changed is closed when an endpoint changes.
func (g *WebhookRegistry) Changed() <-chan struct{} { return g.Passports.EndpointsChanged() }

// fleeting are the types of events of decisions, which leave the log after a time
// that the account may set.
var fleeting = []projections.PublicType{
	projections.VerificationAllowed, projections.VerificationDenied, projections.VerificationRequiresApproval,
}

// Whole is the time from which on the log holds, at a moment, all the decisions of
// an account, if the endpoint wants any.
func (g *WebhookRegistry) Whole(e delivery.Endpoint, at time.Time) time.Time {
	for _, t := range fleeting {
		m := delivery.Message{Type: string(t)}
		if len(e.Agents) > 0 {
			m.Agent = e.Agents[0]
		}
		if e.Wants(&m) {
			account, _ := g.Passports.Account(e.Account) // nothing is sent while it can't be read
			return account.Retention.Start(at)
		}
	}
	return time.Time{}
}

// deliveryEndpoint is an endpoint as whoever delivers knows it. How a message is
// written and signed is the sender's to look up.
func deliveryEndpoint(account domain.AccountID, e *domain.Endpoint) delivery.Endpoint {
	return delivery.Endpoint{
		ID: delivery.EndpointID(e.ID), Account: account, URL: e.URL, Types: wantedTypes(e), Agents: e.Agents,
		Ordering: delivery.Ordering(e.Ordering), Rate: float64(e.RatePerSecond), Secret: e.Secret,
		Enabled: e.Status == domain.EndpointActive, Verified: e.Verified, From: e.From.Seq, Revision: e.Changed,
		Warned: !e.FailingSince.IsZero(),
	}
}

// wantedTypes spells out what no filter means.
func wantedTypes(e *domain.Endpoint) []string {
	if len(e.Types) > 0 {
		return e.Types
	}
	var types []string
	for _, t := range projections.PublicTypes() {
		if e.Wants(string(t), "") || len(e.Agents) > 0 && t != projections.VerificationAllowed {
			types = append(types, string(t))
		}
	}
	return slices.Clip(types)
}
