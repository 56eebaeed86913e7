package handlers

import (
	"context"
	"encoding/binary"
	"hash/fnv"
	"slices"

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

// Endpoints are those of a partition's accounts.
func (g *WebhookRegistry) Endpoints(ctx context.Context, partition uint16) ([]delivery.Endpoint, error) {
	if err := g.Current(ctx, partition); err != nil {
		return nil, err
	}
	var list []delivery.Endpoint
	for _, id := range g.Passports.Accounts() {
		if domain.PartitionOf(id, g.Partitions) != partition {
			continue
		}
		account, err := g.Passports.Account(id)
		if err != nil {
			return nil, err
		}
		for _, e := range account.Endpoints {
			list = append(list, deliveryEndpoint(id, e))
		}
	}
	return list, nil
}

// Changed is closed when an endpoint changes.
func (g *WebhookRegistry) Changed() <-chan struct{} { return g.Passports.EndpointsChanged() }

// deliveryEndpoint is an endpoint as whoever delivers knows it. How a message is
// written and signed is the sender's to look up.
func deliveryEndpoint(account domain.AccountID, e *domain.Endpoint) delivery.Endpoint {
	return delivery.Endpoint{
		ID: delivery.EndpointID(e.ID), Account: account, URL: e.URL, Types: wantedTypes(e), Agents: e.Agents,
		Ordering: delivery.Ordering(e.Ordering), Rate: float64(e.RatePerSecond), Secret: e.Secret,
		Enabled: e.Status == domain.EndpointActive, Verified: e.Verified, From: e.From.Seq, Revision: revisionOf(e),
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

// revisionOf changes with all that delivering depends on, and is the same on
// every node.
func revisionOf(e *domain.Endpoint) uint64 {
	h := fnv.New64a()
	var number [8]byte
	add := func(v uint64) {
		binary.BigEndian.PutUint64(number[:], v)
		_, _ = h.Write(number[:]) // never fails
	}
	add(e.Version)
	add(e.From.Seq)
	add(uint64(e.Secret))
	add(uint64(len(e.Status))) // each has another length
	if e.Verified {
		add(1)
	}
	return h.Sum64()
}
