// Package hooktest has stand-ins for what sends to endpoints. They keep every
// promise of the real ones, send nothing, and can be told to fail. It is for
// tests.
package hooktest

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"sync"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers"
)

// Secrets derives secrets from nothing but their names.
type Secrets struct {
	mu sync.Mutex
	// err is guarded by mu.
	err error
}

// Fail has every call fail from now on, none if err is nil.
func (s *Secrets) Fail(err error) { s.mu.Lock(); defer s.mu.Unlock(); s.err = err }

// Secret is of the form of the real ones.
func (s *Secrets) Secret(account domain.AccountID, endpoint domain.EndpointID, version int) (string, error) {
	return s.derive("whsec_", account, endpoint, version)
}

// PublicKey is of the form of the real ones.
func (s *Secrets) PublicKey(account domain.AccountID, endpoint domain.EndpointID, version int) (string, error) {
	return s.derive("whpk_", account, endpoint, version)
}

func (s *Secrets) derive(prefix string, account domain.AccountID, endpoint domain.EndpointID, version int) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return "", s.err
	}
	if version < 1 {
		return "", fmt.Errorf("no secret has the version %d", version)
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %s %s %d", prefix, account, endpoint, version))
	return prefix + base64.StdEncoding.EncodeToString(sum[:]), nil
}

// Challenger answers a challenge as Answer says, by repeating it if that is nil.
type Challenger struct {
	// Answer is called with what is challenged.
	Answer func(e *domain.Endpoint, nonce string) (handlers.ChallengeAnswer, error)

	mu sync.Mutex
	// nonces is guarded by mu.
	nonces []string
}

// Challenge is as [handlers.Challenger] has it.
func (c *Challenger) Challenge(ctx context.Context, _ domain.AccountID, e *domain.Endpoint, nonce string) (handlers.ChallengeAnswer, error) {
	c.mu.Lock()
	c.nonces = append(c.nonces, nonce)
	c.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return handlers.ChallengeAnswer{}, err
	}
	if c.Answer != nil {
		return c.Answer(e, nonce)
	}
	return Echo(nonce), nil
}

// Nonces are what was sent, in order.
func (c *Challenger) Nonces() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.nonces)
}

// Echo is the answer of whoever wants the events.
func Echo(nonce string) handlers.ChallengeAnswer {
	return handlers.ChallengeAnswer{Status: 200, Body: fmt.Appendf(nil, `{"challenge":%q,"more":1}`, nonce)}
}

// Deliveries tells what it was given. It pages by counting.
type Deliveries struct {
	mu sync.Mutex
	// All are guarded by mu.
	err      error
	status   handlers.DeliveryStatus
	attempts []handlers.Attempt
	dead     []handlers.DeadLetter
	progress map[domain.ReplayID]handlers.ReplayProgress
}

// Fail has every call fail from now on, none if err is nil.
func (d *Deliveries) Fail(err error) { d.mu.Lock(); defer d.mu.Unlock(); d.err = err }

// Goes says how sending goes.
func (d *Deliveries) Goes(s handlers.DeliveryStatus) { d.mu.Lock(); defer d.mu.Unlock(); d.status = s }

// Tried adds an attempt, and a dead letter if it was the last.
func (d *Deliveries) Tried(a handlers.Attempt) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.attempts = append(d.attempts, a)
	if a.Outcome == handlers.AttemptGivenUp {
		d.dead = append(d.dead, handlers.DeadLetter{EventID: a.EventID, Type: a.Type, At: a.At, Attempts: a.Number, LastError: a.Error})
	}
}

// Got says how far a replay got.
func (d *Deliveries) Got(id domain.ReplayID, p handlers.ReplayProgress) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.progress == nil {
		d.progress = map[domain.ReplayID]handlers.ReplayProgress{}
	}
	d.progress[id] = p
}

// Status is as [handlers.Deliveries] has it.
func (d *Deliveries) Status(context.Context, domain.AccountID, *domain.Endpoint) (handlers.DeliveryStatus, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.status, d.err
}

// Attempts is as [handlers.Deliveries] has it.
func (d *Deliveries) Attempts(_ context.Context, _ domain.AccountID, _ domain.EndpointID, q handlers.AttemptQuery) (handlers.AttemptPage, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var found []handlers.Attempt
	for _, a := range d.attempts {
		if (q.Outcome == "" || q.Outcome == a.Outcome) && (q.Event == "" || q.Event == a.EventID) && (q.Replay == "" || q.Replay == a.ReplayID) {
			found = append(found, a)
		}
	}
	var p handlers.AttemptPage
	var err error
	p.Attempts, p.NextCursor, err = page(found, q.PageQuery)
	if d.err != nil {
		err = d.err
	}
	return p, err
}

// DeadLetters is as [handlers.Deliveries] has it.
func (d *Deliveries) DeadLetters(_ context.Context, _ domain.AccountID, _ domain.EndpointID, q handlers.PageQuery) (handlers.DeadLetterPage, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var p handlers.DeadLetterPage
	var err error
	p.DeadLetters, p.NextCursor, err = page(d.dead, q)
	if d.err != nil {
		err = d.err
	}
	return p, err
}

// Progress is as [handlers.Deliveries] has it.
func (d *Deliveries) Progress(_ context.Context, _ domain.AccountID, _ domain.EndpointID, replays []domain.ReplayID) (map[domain.ReplayID]handlers.ReplayProgress, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	known := map[domain.ReplayID]handlers.ReplayProgress{}
	for _, id := range replays {
		if p, ok := d.progress[id]; ok {
			known[id] = p
		}
	}
	return known, d.err
}

// page is one page of a list, the newest first.
func page[T any](oldestFirst []T, q handlers.PageQuery) ([]T, string, error) {
	list := slices.Clone(oldestFirst)
	slices.Reverse(list)
	from := 0
	if q.Cursor != "" {
		var err error
		if from, err = strconv.Atoi(q.Cursor); err != nil || from < 0 || from > len(list) {
			return nil, "", domain.RejectField(domain.Invalid, "/cursor", "is not a cursor of this list; send the nextCursor of the page before")
		}
	}
	through := min(from+q.Limit, len(list))
	if through < len(list) {
		return list[from:through], strconv.Itoa(through), nil
	}
	return list[from:], "", nil
}
