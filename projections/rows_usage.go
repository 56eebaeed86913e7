package projections

import (
	"time"

	"github.com/behalf-platform/behalf/domain"
)

// UsageRow is what the events of a batch add to the usage of one agent on one
// day.
type UsageRow struct {
	Account domain.AccountID
	Agent   domain.AgentID
	// Day is midnight UTC.
	Day     time.Time
	Outcome domain.Outcome
	// Currency is empty for decisions about no amount.
	Currency domain.Currency
	Count    int64
	// Billions and Rest together are the amount, Billions of 10^9 minor units
	// each: a sum of amounts soon is more than 64 bits hold.
	Billions, Rest int64
}

type usageKey struct {
	stream   domain.Stream
	day      int64
	outcome  domain.Outcome
	currency domain.Currency
}

const (
	billion = 1_000_000_000
)

func (b *Batch) addUsage(r *domain.Recorded) error {
	d, ok := r.Event.(domain.DecisionMade)
	if !ok {
		return nil
	}
	minor, err := minorOf(d.Request.Amount, d.Request.Currency)
	if err != nil {
		return err
	}
	at := r.At.UTC()
	key := usageKey{stream: domain.Stream{Account: text(r.Account), Agent: text(r.Agent)}, outcome: text(d.Outcome)}
	key.day = time.Date(at.Year(), at.Month(), at.Day(), 0, 0, 0, 0, time.UTC).Unix()
	if d.Request.Amount != "" {
		key.currency = text(d.Request.Currency)
	}
	i, ok := b.usage[key]
	if !ok {
		i = len(b.Usage)
		b.usage[key] = i
		b.Usage = append(b.Usage, UsageRow{
			Account: key.stream.Account, Agent: key.stream.Agent, Day: time.Unix(key.day, 0).UTC(),
			Outcome: key.outcome, Currency: key.currency,
		})
	}
	row := &b.Usage[i]
	row.Count++
	row.Billions += minor / billion
	row.Rest += minor % billion
	return nil
}
