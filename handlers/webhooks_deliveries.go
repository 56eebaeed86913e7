package handlers

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers/delivery"
)

// EngineDeliveries is what a delivery engine knows, as members are told it.
type EngineDeliveries struct {
	Engine *delivery.Engine
	Now    func() time.Time
}

var (
	_ Deliveries = (*EngineDeliveries)(nil)
	_ Challenger = (*EngineDeliveries)(nil)
)

// mostDeadLetters is how many are counted, and as many as are kept.
const mostDeadLetters = 10_000

// Status is how sending to an endpoint goes now.
func (d *EngineDeliveries) Status(ctx context.Context, account domain.AccountID, e *domain.Endpoint) (DeliveryStatus, error) {
	s, err := d.Engine.Status(ctx, account, delivery.EndpointID(e.ID))
	if err != nil {
		return DeliveryStatus{}, err
	}
	view := DeliveryStatus{
		State: DeliveryIdle, OldestUndeliveredAt: s.Oldest, Parked: len(s.Parked),
		FailingSince: s.Since, LastError: categoryText(s.Why, s.Status),
	}
	if !s.Oldest.IsZero() {
		view.State = DeliveryDelivering
		view.LagSeconds = int64(max(0, d.Now().Sub(s.Oldest)).Seconds())
	}
	if view.Expiring, err = d.Engine.Expires(ctx, deliveryEndpoint(account, e)); err != nil {
		return DeliveryStatus{}, err
	}
	switch s.State {
	case "held":
		view.State = DeliveryHolding
	case "paused":
		view.State, view.NextTryAt = DeliveryThrottled, s.PausedUntil
	case "stopped":
		view.State = DeliveryStopped
	}
	dead, err := d.Engine.DeadLetters(ctx, account, delivery.EndpointID(e.ID), 0, mostDeadLetters)
	if err != nil {
		return DeliveryStatus{}, err
	}
	view.DeadLetters = len(dead)
	newest, err := d.Engine.Attempts(ctx, delivery.Question{Account: account, Endpoint: delivery.EndpointID(e.ID), Most: 1})
	if err == nil && len(newest) > 0 {
		view.LastAttemptAt = newest[0].At
		newest, err = d.Engine.Attempts(ctx, delivery.Question{
			Account: account, Endpoint: delivery.EndpointID(e.ID), Outcomes: []string{delivery.OutcomeOK}, Most: 1,
		})
	}
	if err == nil && len(newest) > 0 {
		view.LastDeliveryAt = newest[0].At
	}
	return view, err
}

// Attempts is a page of what was tried, the newest first.
func (d *EngineDeliveries) Attempts(ctx context.Context, account domain.AccountID, id domain.EndpointID, q AttemptQuery) (AttemptPage, error) {
	before, err := cursorOf(q.Cursor)
	if err != nil {
		return AttemptPage{}, err
	}
	list, err := d.Engine.Attempts(ctx, delivery.Question{
		Account: account, Endpoint: delivery.EndpointID(id), Outcomes: outcomesOf(q.Outcome),
		Replay: string(q.Replay), Message: string(q.Event), Before: before, Most: q.Limit + 1,
	})
	if err != nil {
		return AttemptPage{}, err
	}
	page := AttemptPage{Attempts: []Attempt{}}
	if len(list) > q.Limit {
		list = list[:q.Limit]
		page.NextCursor = strconv.FormatUint(list[q.Limit-1].Cursor, 10)
	}
	for _, a := range list {
		page.Attempts = append(page.Attempts, attemptView(&a))
	}
	return page, nil
}

func attemptView(a *delivery.Logged) Attempt {
	view := Attempt{
		EventID: domain.EventID(a.Message), Type: a.Type, Number: a.Try, ReplayID: domain.ReplayID(a.Replay), At: a.At,
		Outcome: AttemptFailed, Status: a.Status, LatencyMS: a.Latency.Milliseconds(), Answer: a.Answer, NextTryAt: a.NextTry,
	}
	switch a.Outcome {
	case delivery.OutcomeOK:
		view.Outcome = AttemptDelivered
		return view
	case delivery.OutcomeDead:
		view.Outcome = AttemptGivenUp
	}
	view.Error = categoryText(a.Category, a.Status)
	return view
}

// categoryText is a category as it is shown: that of an answer is its status.
func categoryText(c delivery.Category, status int) string {
	switch {
	case c != delivery.Answered:
		return string(c)
	case status >= 200 && status <= 299:
		return ""
	}
	return "http_" + strconv.Itoa(status)
}

func outcomesOf(o AttemptOutcome) []string {
	switch o {
	case AttemptDelivered:
		return []string{delivery.OutcomeOK}
	case AttemptFailed:
		return []string{delivery.OutcomeFailed}
	case AttemptGivenUp:
		return []string{delivery.OutcomeDead}
	}
	return nil
}

// cursorOf reads the cursor of a list of attempts, 0 if there is none.
func cursorOf(text string) (uint64, error) {
	if text == "" {
		return 0, nil
	}
	seq, err := strconv.ParseUint(text, 10, 64)
	if err != nil || seq == 0 {
		return 0, domain.RejectField(domain.Invalid, "/cursor", "is not one of this list; leave it out to begin at the newest")
	}
	return seq, nil
}

// DeadLetters is a page of what was given up, the newest first.
func (d *EngineDeliveries) DeadLetters(ctx context.Context, account domain.AccountID, id domain.EndpointID, q PageQuery) (DeadLetterPage, error) {
	before, err := cursorOf(q.Cursor)
	if err != nil {
		return DeadLetterPage{}, err
	}
	list, err := d.Engine.DeadLetters(ctx, account, delivery.EndpointID(id), before, q.Limit+1)
	if err != nil {
		return DeadLetterPage{}, err
	}
	page := DeadLetterPage{DeadLetters: []DeadLetter{}}
	if len(list) > q.Limit {
		list = list[:q.Limit]
		page.NextCursor = strconv.FormatUint(list[q.Limit-1].Cursor, 10)
	}
	for _, a := range list {
		page.DeadLetters = append(page.DeadLetters, DeadLetter{
			EventID: domain.EventID(a.Message), Type: a.Type, At: a.At, Attempts: a.Try, LastError: categoryText(a.Category, a.Status),
		})
	}
	return page, nil
}

// Progress is how far replays got.
func (d *EngineDeliveries) Progress(ctx context.Context, account domain.AccountID, id domain.EndpointID, replays []domain.ReplayID) (map[domain.ReplayID]ReplayProgress, error) {
	list, err := d.Engine.Replays(ctx, account, delivery.EndpointID(id))
	if err != nil {
		return nil, err
	}
	found := map[domain.ReplayID]ReplayProgress{}
	for _, p := range list {
		progress := ReplayProgress{Delivered: int(p.Totals.Delivered), Failed: int(p.Totals.Dead)}
		if n := len(p.Places); n > 0 {
			left := max(0, n-progress.Delivered-progress.Failed-int(p.Totals.Refused))
			progress.Left = &left
		}
		found[domain.ReplayID(p.ID)] = progress
	}
	maps.DeleteFunc(found, func(id domain.ReplayID, _ ReplayProgress) bool { return !slices.Contains(replays, id) })
	return found, nil
}

// The types of messages that no filter is about.
const (
	typeChallenge = "webhook.challenge"
	typeTest      = "webhook.test"
)

// Challenge posts a nonce to an endpoint, once.
func (d *EngineDeliveries) Challenge(ctx context.Context, account domain.AccountID, e *domain.Endpoint, nonce string) (ChallengeAnswer, error) {
	data, err := json.Marshal(struct {
		Challenge string `json:"challenge"`
	}{nonce})
	if err != nil {
		return ChallengeAnswer{}, err
	}
	now := d.Now()
	result, err := d.Engine.Challenge(ctx, deliveryEndpoint(account, e), delivery.Message{
		ID: domain.EventPrefix + NewULID(now), Type: typeChallenge, At: now, Data: data,
	})
	if err != nil {
		return ChallengeAnswer{}, err
	}
	answer := ChallengeAnswer{Status: result.Status, Body: result.Answer}
	if result.Status == 0 {
		answer.Fault = faultText(result.Category)
	}
	return answer, nil
}

// faultText says why there was no answer, to those who chose the address.
func faultText(c delivery.Category) string {
	switch c {
	case delivery.DNS:
		return "its name has no address, or could not be looked up"
	case delivery.Connect:
		return "the connection was refused, or there is nothing at its address and port"
	case delivery.TLS:
		return "no secure connection could be made; its certificate must be valid for its name, and it must speak TLS 1.2 or later"
	case delivery.Timeout:
		return "it did not answer in time"
	case delivery.Broken:
		return "it closed the connection, or answered in no proper HTTP"
	case delivery.Blocked:
		return "its name leads to an address that is not public, and events are sent to public addresses only; its operator may allow networks with --webhook-network"
	case delivery.Unready:
		return "this server could not send; ask its operator"
	case delivery.Answered, delivery.Gone, delivery.Aborted, delivery.Expired, delivery.Skipped:
	}
	return "it could not be sent to"
}

// reasonExpiring is the reason of a warning that what was not delivered is about
// to leave the log.
const reasonExpiring = "expiring"

// WebhookReporter records what became of sending as events of the account.
type WebhookReporter struct{ Webhooks *Webhooks }

var _ delivery.Reporter = (*WebhookReporter)(nil)

// Report records a report.
func (w *WebhookReporter) Report(ctx context.Context, r delivery.Report) error {
	id := domain.EndpointID(r.Endpoint)
	why := categoryText(r.Why, r.Status)
	var err error
	switch r.Kind {
	case delivery.Disable:
		err = w.Webhooks.DisableFor(ctx, r.Account, domain.DisableEndpoint{EndpointID: id, Code: disableCode(r.Why), Reason: why, URL: r.URL})
	case delivery.Expiring:
		err = w.Webhooks.FailingFor(ctx, r.Account, domain.FailEndpoint{EndpointID: id, Since: r.Since, Reason: reasonExpiring})
	case delivery.Failing:
		err = w.Webhooks.FailingFor(ctx, r.Account, domain.FailEndpoint{EndpointID: id, Since: r.Since, Reason: why})
	case delivery.Recovered:
		err = w.Webhooks.RecoveredFor(ctx, r.Account, id)
	case delivery.Gap:
		err = w.Webhooks.SkippedFor(ctx, r.Account, domain.SkipEvents{EndpointID: id, From: r.From, Through: r.Through})
	case delivery.Exhausted: // is in the log of attempts, and may be many
	}
	if rule, ok := errors.AsType[*domain.RuleError](err); ok && rule.Code == domain.NotFound {
		return nil // deleted meanwhile
	}
	return err
}

func disableCode(c delivery.Category) domain.DisableCode {
	switch c {
	case delivery.Gone:
		return domain.DisabledAsGone
	case delivery.Blocked:
		return domain.DisabledAsRefused
	}
	return domain.DisabledAsFailing
}
