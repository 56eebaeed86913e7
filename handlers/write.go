package handlers

import (
	"context"
	"errors"
	"time"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/projections"
)

// Writer records what members decide about agents, permissions and each other.
type Writer struct {
	Log       Log
	Passports *projections.Passports
	Now       func() time.Time
	// Timeout bounds one act, all attempts together.
	Timeout time.Duration
}

// act is who does something to which stream, and what led to it.
type act struct {
	by     domain.Actor
	member domain.MemberID // empty for an act of Behalf's own
	stream domain.Stream
	cause  string
}

// execute brings state and command together until what comes of them is
// recorded: fold up to date, decide, append, and again from the start if the
// stream has moved. It returns the state with the event folded in. When decide
// returns no event, the command had taken effect before, and the state is as it is.
func execute[S any](
	ctx context.Context, w *Writer, a act,
	state func() (S, uint64, error), decide func(S) ([]domain.Event, error),
) (S, error) {
	ctx, cancel := context.WithTimeout(ctx, w.Timeout)
	defer cancel()
	var zero S
	id := domain.EventID(domain.EventPrefix + NewULID(w.Now())) // of whichever attempt is recorded
	since := version(w.Passports, a.stream)
	for attempt := range attempts {
		if err := giveWay(ctx, attempt); err != nil {
			return zero, unavailable(err, unknownOutcome)
		}
		// An attempt whose fate is unknown is looked for from where the first was
		// made, not from what is known now: the follower may have folded it.
		recorded := false
		if err := refold(ctx, w.Log, w.Passports, a.stream, since, func(r domain.Recorded) {
			recorded = recorded || r.ID == id
		}); err != nil {
			return zero, err
		}
		before, last, err := state()
		if err != nil {
			return zero, err
		}
		if recorded {
			return before, w.settle(ctx)
		}
		events, err := decide(before)
		if err != nil {
			return zero, err
		}
		if len(events) == 0 {
			return before, w.settle(ctx)
		}
		record := w.record(a, id, events)
		receipt, err := w.Log.Append(ctx, last, record, string(id))
		switch {
		case errors.Is(err, domain.ErrMoved), err == nil && receipt.Duplicate:
			continue // in the latter case an earlier attempt was recorded, and is found now
		case err != nil && ctx.Err() != nil:
			return zero, unavailable(err, unknownOutcome)
		case err != nil:
			continue
		}
		_ = w.Passports.Apply(domain.Recorded{Record: record, Position: receipt.Position, Last: last}, nil) // is always nil
		after, _, err := state()
		return after, err
	}
	return zero, unavailable(domain.ErrMoved, unknownOutcome)
}

// settle makes sure that what is answered from the log, and was not appended by
// this act a moment ago, lasts as long as if it had been.
func (w *Writer) settle(ctx context.Context) error {
	if err := w.Log.Settle(ctx); err != nil {
		return unavailable(err, unknownOutcome)
	}
	return nil
}

const unknownOutcome = "the change could not be confirmed in time; read what is there before you repeat it"

// record makes the record of a command's event. Every command makes one, which
// is what lets an append be all or nothing without a transaction.
func (w *Writer) record(a act, id domain.EventID, events []domain.Event) domain.Record {
	if len(events) != 1 {
		panic("a command makes one event")
	}
	return domain.Record{
		ID: id, At: w.Now().UTC().Round(0), Actor: a.by,
		Account: a.stream.Account, Agent: a.stream.Agent, Cause: a.cause, Event: events[0],
	}
}

// refold folds what a stream has after a sequence. An event that can't be read
// is not an error of it: it marks what it belongs to, and whoever bases
// something on that is told.
func refold(ctx context.Context, log Log, passports *projections.Passports, s domain.Stream, after uint64, see func(domain.Recorded)) error {
	events, err := log.Load(ctx, s, after)
	for _, e := range events {
		see(e)
		_ = passports.Apply(e, nil) // is always nil
	}
	var unreadable *domain.Unreadable
	if errors.As(err, &unreadable) {
		return passports.Apply(domain.Recorded{}, err)
	}
	if err != nil {
		return unread(err)
	}
	return nil
}

// catchUp is refold from what is known here.
func catchUp(ctx context.Context, log Log, passports *projections.Passports, s domain.Stream) error {
	return refold(ctx, log, passports, s, version(passports, s), func(domain.Recorded) {})
}

func version(passports *projections.Passports, s domain.Stream) uint64 {
	if s.Agent != "" {
		return passports.Agent(s).Version
	}
	account, _ := passports.Account(s.Account) // its fault is found when it is used
	return account.Version
}

// agent executes a command on one agent. The right of the member is judged in
// each attempt, by what the log holds then.
func (w *Writer) agent(ctx context.Context, a act, decide func(domain.Agent) ([]domain.Event, error)) (domain.Agent, error) {
	return execute(ctx, w, a, func() (domain.Agent, uint64, error) {
		agent := w.Passports.Agent(a.stream)
		if err := agent.Fault(); err != nil {
			return domain.Agent{}, 0, Unreadable(err)
		}
		return *agent, agent.Version, nil
	}, func(agent domain.Agent) ([]domain.Event, error) {
		if err := catchUp(ctx, w.Log, w.Passports, domain.Stream{Account: a.stream.Account}); err != nil {
			return nil, err
		}
		account, err := w.Passports.Account(a.stream.Account)
		if err != nil {
			return nil, Unreadable(err)
		}
		if err := mayManage(*account, a); err != nil {
			return nil, err
		}
		return decide(agent)
	})
}

// account executes a command on an account.
func (w *Writer) account(ctx context.Context, a act, decide func(domain.Account) ([]domain.Event, error)) (domain.Account, error) {
	return execute(ctx, w, a, func() (domain.Account, uint64, error) {
		account, err := w.Passports.Account(a.stream.Account)
		if err != nil {
			return domain.Account{}, 0, Unreadable(err)
		}
		return *account, account.Version, nil
	}, decide)
}

// mayManage is the rule that a member who acts is still one, and an admin.
func mayManage(account domain.Account, a act) error {
	if m, _ := account.Member(a.member); a.member != "" && !m.Role.AtLeast(domain.RoleAdmin) {
		return domain.Reject(domain.Forbidden, "this needs the role %s or higher, which %s does not have any more", domain.RoleAdmin, a.member)
	}
	return nil
}
