package handlers

import (
	"cmp"
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
	Lanes     *Lanes
	Now       func() time.Time
	// CatchUp returns once everything up to a position has been folded here.
	CatchUp func(ctx context.Context, p domain.Position) error
	// Timeout bounds one act, all attempts together.
	Timeout time.Duration
}

// act is who does something to which stream, and what led to it.
type act struct {
	by     domain.Actor
	member domain.MemberID  // empty for an act of Behalf's own or of an agent's
	least  domain.Role      // that the member has to have
	key    domain.TokenHash // of the agent that acts, or empty
	stream domain.Stream
	cause  string
	id     domain.EventID // of its event, or empty for a new one
}

// execute brings state and command together until what comes of them is
// recorded: fold up to date, decide, append, and again from the start if the
// stream has moved. It returns the state with the event folded in. When decide
// returns no event, the command had taken effect before, and the state is as it is.
func execute[S any](
	ctx context.Context, w *Writer, a act,
	state func() (S, uint64, error), decide func(S, time.Time) ([]domain.Event, error),
) (S, error) {
	ctx, cancel := context.WithTimeout(ctx, w.Timeout)
	defer cancel()
	var zero S
	id := cmp.Or(a.id, domain.EventID(domain.EventPrefix+NewULID(w.Now()))) // of whichever attempt is recorded
	since := version(w.Passports, a.stream)
	leave, err := w.Lanes.enter(ctx, a.stream)
	if err != nil {
		return zero, unavailable(err, unknownOutcome)
	}
	defer leave()
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
		at := w.moment(a.stream)
		events, err := decide(before, at)
		if err != nil {
			return zero, err
		}
		if len(events) == 0 {
			return before, w.settle(ctx)
		}
		duplicate, err := w.append(ctx, w.records(a, id, at, last, events), string(id))
		switch {
		case errors.Is(err, domain.ErrMoved), err == nil && duplicate:
			continue // in the latter case an earlier attempt was recorded, and is found now
		case err != nil && ctx.Err() != nil:
			return zero, unavailable(err, unknownOutcome)
		case err != nil:
			continue
		}
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

// records makes the records of a command's events. Nearly every command makes
// one, which is what lets an append be all or nothing without a transaction. The
// exception gives something back to the account's limits too.
func (w *Writer) records(a act, id domain.EventID, at time.Time, last uint64, events []domain.Event) []domain.Guarded {
	r := domain.Record{
		ID: id, At: at, Actor: a.by, Account: a.stream.Account, Agent: a.stream.Agent, Cause: a.cause, Event: events[0],
	}
	list := []domain.Guarded{{Record: r, Last: last}}
	for _, e := range events[1:] {
		r.ID, r.Event, r.Cause = domain.EventID(domain.EventPrefix+NewULID(at)), e, string(id)
		list = append(list, domain.Guarded{Record: r, Last: version(w.Passports, r.Stream())})
	}
	return list
}

// append stores the records of one act and folds them in here.
func (w *Writer) append(ctx context.Context, records []domain.Guarded, dedupe string) (duplicate bool, err error) {
	receipts := make([]domain.Receipt, 1)
	if len(records) == 1 {
		receipts[0], err = w.Log.Append(ctx, records[0].Last, records[0].Record, dedupe)
	} else {
		receipts, err = w.Log.AppendAll(ctx, records, dedupe)
	}
	if err != nil || receipts[0].Duplicate {
		return err == nil, err
	}
	for i, g := range records {
		_ = w.Passports.Apply(domain.Recorded{Record: g.Record, Position: receipts[i].Position, Last: g.Last}, nil) // is always nil
	}
	return false, nil
}

// moment is the time of what is decided now on a stream, as it will be read
// back. On a passport, and in a budget, it never runs back.
func (w *Writer) moment(s domain.Stream) time.Time {
	now := w.Now().UTC().Round(0)
	switch {
	case s.Budget:
		return domain.Later(now, w.Passports.Budget(s.Account).Updated)
	case s.Agent != "":
		return domain.Later(now, w.Passports.Agent(s).Updated)
	}
	return now
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
	switch {
	case s.Budget:
		return passports.Budget(s.Account).Version
	case s.Agent != "":
		return passports.Agent(s).Version
	}
	account, _ := passports.Account(s.Account) // its fault is found when it is used
	return account.Version
}

// agent executes a command on one agent, as agentAt does.
func (w *Writer) agent(ctx context.Context, a act, decide func(domain.Agent) ([]domain.Event, error)) (domain.Agent, error) {
	return w.agentAt(ctx, a, func(agent domain.Agent, _ domain.Account, _ time.Time) ([]domain.Event, error) {
		return decide(agent)
	})
}

// agentAt executes a command on one agent. The right of whoever acts is judged in
// each attempt, by what the log holds then.
func (w *Writer) agentAt(ctx context.Context, a act, decide func(domain.Agent, domain.Account, time.Time) ([]domain.Event, error)) (domain.Agent, error) {
	return execute(ctx, w, a, func() (domain.Agent, uint64, error) {
		agent := w.Passports.Agent(a.stream)
		if err := agent.Fault(); err != nil {
			return domain.Agent{}, 0, Unreadable(err)
		}
		return *agent, agent.Version, nil
	}, func(agent domain.Agent, at time.Time) ([]domain.Event, error) {
		if a.key != "" && !agent.Key.Equal(a.key) {
			return nil, ErrCredential
		}
		account, err := w.rights(ctx, a)
		if err != nil {
			return nil, err
		}
		return decide(agent, *account, at)
	})
}

// rights is the account as the log holds it, if whoever acts may.
func (w *Writer) rights(ctx context.Context, a act) (*domain.Account, error) {
	if a.member != "" {
		if err := catchUp(ctx, w.Log, w.Passports, domain.Stream{Account: a.stream.Account}); err != nil {
			return nil, err
		}
	}
	account, err := w.Passports.Account(a.stream.Account)
	if err != nil {
		return nil, Unreadable(err)
	}
	return account, mayAct(*account, a)
}

// budget executes a command on what an account's agents spend together.
func (w *Writer) budget(ctx context.Context, a act, decide func(domain.SharedBudget, domain.Account) ([]domain.Event, error)) (domain.SharedBudget, error) {
	return execute(ctx, w, a, func() (domain.SharedBudget, uint64, error) {
		budget := w.Passports.Budget(a.stream.Account)
		if err := budget.Fault(); err != nil {
			return domain.SharedBudget{}, 0, Unreadable(err)
		}
		return *budget, budget.Version, nil
	}, func(budget domain.SharedBudget, _ time.Time) ([]domain.Event, error) {
		account, err := w.rights(ctx, a)
		if err != nil {
			return nil, err
		}
		return decide(budget, *account)
	})
}

// account executes a command on an account.
func (w *Writer) account(ctx context.Context, a act, decide func(domain.Account) ([]domain.Event, error)) (domain.Account, error) {
	return w.executeOn(ctx, a, func(account domain.Account, _ time.Time) ([]domain.Event, error) { return decide(account) })
}

// accountAt executes a command on an account at a time, if whoever acts may.
func (w *Writer) accountAt(ctx context.Context, a act, decide func(domain.Account, time.Time) ([]domain.Event, error)) (domain.Account, error) {
	return w.executeOn(ctx, a, func(account domain.Account, at time.Time) ([]domain.Event, error) {
		if err := mayAct(account, a); err != nil {
			return nil, err
		}
		return decide(account, at)
	})
}

func (w *Writer) executeOn(ctx context.Context, a act, decide func(domain.Account, time.Time) ([]domain.Event, error)) (domain.Account, error) {
	return execute(ctx, w, a, func() (domain.Account, uint64, error) {
		account, err := w.Passports.Account(a.stream.Account)
		if err != nil {
			return domain.Account{}, 0, Unreadable(err)
		}
		return *account, account.Version, nil
	}, decide)
}

// mayAct is the rule that a member who acts is still one, with the role it takes.
func mayAct(account domain.Account, a act) error {
	if m, _ := account.Member(a.member); a.member != "" && !m.Role.AtLeast(a.least) {
		return domain.Reject(domain.Forbidden, "this needs the role %s or higher, which %s does not have any more", a.least, a.member)
	}
	return nil
}
