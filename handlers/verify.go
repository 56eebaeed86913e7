package handlers

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/projections"
)

// Verifier decides on what agents ask, and records each decision before it is
// answered.
type Verifier struct {
	Log       Log
	Passports *projections.Passports
	Lanes     *Lanes
	// Now is the node's clock, read once per attempt.
	Now func() time.Time
	// Ready says why this node must not decide now: it is still reading the
	// log, its clock is off, it is stopping. Nil means that it may.
	Ready func() error
	// CatchUp returns once everything up to a position has been folded here.
	CatchUp func(ctx context.Context, p domain.Position) error
	// Timeout bounds one verify, all attempts together.
	Timeout time.Duration
	Metrics *Metrics
	// Crowd counts who is being answered. It may be nil.
	Crowd *Crowd
}

// attempts is how often a decision is made anew because the passport moved
// under it. Those of one process wait for each other after the first, so this
// many are lost only to other nodes that write to the same passport all the time.
const attempts = 25

// Verify decides on an ask by the agent that holds key, and returns the decision
// as it was recorded. Every error is no: [*domain.RuleError] for an ask that can't
// be taken or a credential that isn't one, [*Unavailable] for whatever broke.
func (v *Verifier) Verify(ctx context.Context, key domain.TokenHash, ask *domain.Ask) (domain.Recorded, error) {
	v.Crowd.enter()
	defer v.Crowd.leave()
	ctx, cancel := context.WithTimeout(ctx, v.Timeout)
	defer cancel()
	s, err := v.begin(ctx, key, ask)
	if err != nil {
		return domain.Recorded{}, err
	}
	var digest, dedupe string
	if ask.IdempotencyKey != "" {
		if digest, err = ask.Digest(); err != nil {
			return domain.Recorded{}, domain.RejectField(domain.Invalid, "/arguments", "can't be put into canonical form: %v", err)
		}
		dedupe = dedupeID(s, ask.IdempotencyKey)
	}
	var leave func() // the lane, once it was entered
	defer func() {
		if leave != nil {
			leave()
		}
	}()
	for attempt := range attempts {
		if attempt > 0 {
			if err := v.refold(ctx, s, attempt); err != nil {
				return domain.Recorded{}, err
			}
		}
		d, err := v.decide(s, key, ask, digest)
		if err != nil {
			return domain.Recorded{}, err
		}
		if leave == nil && (attempt > 0 || d.record.Moves()) {
			if leave, err = v.Lanes.enter(ctx, d.lane()); err != nil {
				return domain.Recorded{}, unavailable(err, "too much was asked of this passport at once; try again")
			}
			if d, err = v.decide(s, key, ask, digest); err != nil { // what was decided before the wait is old news
				return domain.Recorded{}, err
			}
		}
		began := v.Now()
		receipt, err := v.append(ctx, d, dedupe)
		v.Metrics.appended(v.Now().Sub(began), err)
		switch {
		case errors.Is(err, domain.ErrMoved):
			v.Metrics.conflict()
			continue
		case err != nil:
			return domain.Recorded{}, unavailable(err, "the decision could not be recorded in time, so nothing is allowed; ask again, with the same idempotencyKey if you sent one")
		case receipt.Duplicate:
			return v.earlier(ctx, s, key, receipt.Position, digest)
		}
		return domain.Recorded{Record: d.record, Position: receipt.Position, Last: d.version}, nil
	}
	return domain.Recorded{}, unavailable(domain.ErrMoved, "the passport kept changing while it was read; try again")
}

// decision is one that was made and is to be recorded.
type decision struct {
	record  domain.Record
	version uint64
	// charge is what it takes of the account's limits, if the agent shares them.
	charge *domain.Guarded
}

// lane is what the decision changes that most others change too.
func (d *decision) lane() domain.Stream {
	if d.charge != nil {
		return d.charge.Stream()
	}
	return d.record.Stream()
}

// append records a decision, and folds it in here, if it changes what is
// decided next: whoever is next in the lane builds on it.
func (v *Verifier) append(ctx context.Context, d decision, dedupe string) (domain.Receipt, error) {
	if d.charge == nil {
		receipt, err := v.Log.Append(ctx, d.version, d.record, dedupe)
		if err == nil && !receipt.Duplicate && d.record.Moves() {
			_ = v.Passports.Apply(domain.Recorded{Record: d.record, Position: receipt.Position, Last: d.version}, nil) // is always nil
		}
		return receipt, err
	}
	both := []domain.Guarded{{Record: d.record, Last: d.version}, *d.charge}
	receipts, err := v.Log.AppendAll(ctx, both, dedupe)
	if err != nil || receipts[0].Duplicate {
		return first(receipts), err
	}
	for i, g := range both {
		_ = v.Passports.Apply(domain.Recorded{Record: g.Record, Position: receipts[i].Position, Last: g.Last}, nil) // is always nil
	}
	return receipts[0], nil
}

func first(receipts []domain.Receipt) domain.Receipt {
	if len(receipts) == 0 {
		return domain.Receipt{}
	}
	return receipts[0]
}

// Preview decides as Verify would now, and records nothing. It returns what the
// decision stands on, too.
func (v *Verifier) Preview(ctx context.Context, s domain.Stream, ask *domain.Ask) (domain.DecisionMade, domain.Situation, error) {
	ctx, cancel := context.WithTimeout(ctx, v.Timeout)
	defer cancel()
	if err := v.settled(ctx, s, ask); err != nil {
		return domain.DecisionMade{}, domain.Situation{}, err
	}
	agent := v.Passports.Agent(s)
	if !agent.Exists() {
		return domain.DecisionMade{}, domain.Situation{}, domain.Reject(domain.NotFound, "no agent %s", s.Agent)
	}
	known := v.situation(agent, s)
	e, err := v.evaluate(known, s, ask)
	known.Now = e.at
	return e.made, known, err
}

// begin finds the agent a key belongs to. An unknown key and one of another
// agent than the ask names take the same way out.
func (v *Verifier) begin(ctx context.Context, key domain.TokenHash, ask *domain.Ask) (domain.Stream, error) {
	s, ok := v.Passports.ByKey(key)
	if !ok || ask.AgentID != "" && ask.AgentID != s.Agent {
		return domain.Stream{}, ErrCredential
	}
	return s, v.settled(ctx, s, ask)
}

// mayDecide is Ready as callers are told of it.
func (v *Verifier) mayDecide() error {
	if err := v.Ready(); err != nil {
		return unavailable(nil, "this node can't decide now: %v", err)
	}
	return nil
}

// settled returns once this node may decide and has seen what the ask wants seen.
func (v *Verifier) settled(ctx context.Context, s domain.Stream, ask *domain.Ask) error {
	if err := v.mayDecide(); err != nil {
		return err
	}
	if ask.AtLeast == "" {
		return nil
	}
	p, err := domain.ParsePosition(ask.AtLeast)
	if err != nil {
		return domain.RejectField(domain.Invalid, "/atLeast", "%v", err)
	}
	if p.Partition != domain.PartitionOf(s.Account, v.Log.Partitions()) {
		return domain.RejectField(domain.Invalid, "/atLeast", "is a position of another account's log")
	}
	if err := v.CatchUp(ctx, p); err != nil {
		return unavailable(err, "this node has not seen the position atLeast names; try again")
	}
	return nil
}

// decide makes the record of a decision on the passport as it is known now. The
// credential is judged again each time: it is part of the passport.
func (v *Verifier) decide(s domain.Stream, key domain.TokenHash, ask *domain.Ask, digest string) (decision, error) {
	agent := v.Passports.Agent(s)
	if agent.Fault() == nil && !agent.Key.Equal(key) {
		return decision{}, ErrCredential
	}
	known := v.situation(agent, s)
	e, err := v.evaluate(known, s, ask)
	if err != nil {
		return decision{}, err
	}
	d, at := e.made, e.at
	id := NewULID(at)
	d.Name(id)
	d.RequestDigest = digest
	made := decision{version: agent.Version, record: domain.Record{
		ID: domain.EventID(domain.EventPrefix + id), At: at, Actor: domain.ByAgent(s.Agent),
		Account: s.Account, Agent: s.Agent, Event: d,
	}}
	if !d.Moves() {
		made.record.Keep = e.keep
	}
	if agent.Shared && d.Outcome == domain.OutcomeAllowed {
		charge := made.record
		charge.ID = domain.EventID(domain.EventPrefix + NewULID(at))
		charge.Cause = string(d.RequestID)
		charge.Event = domain.BudgetCharged{RequestID: d.RequestID, Amount: d.Request.Amount, Currency: d.Request.Currency}
		made.charge = &domain.Guarded{Record: charge, Last: known.Budget.Version}
	}
	return made, nil
}

// situation is what is known here that a decision of the agent stands on.
func (v *Verifier) situation(agent *domain.Agent, s domain.Stream) domain.Situation {
	known := domain.Situation{Agent: agent}
	if agent.Shared {
		known.Budget = v.Passports.Budget(s.Account)
	}
	return known
}

// evaluated is a decision, the time it was made at, and how long the log is to
// keep it if it moves nothing.
type evaluated struct {
	made domain.DecisionMade
	at   time.Time
	keep time.Duration
}

func (v *Verifier) evaluate(known domain.Situation, s domain.Stream, ask *domain.Ask) (evaluated, error) {
	if err := known.Fault(); err != nil {
		return evaluated{}, Unreadable(err)
	}
	account, err := v.Passports.Account(s.Account)
	if err != nil {
		return evaluated{}, Unreadable(err)
	}
	req, err := ask.Request(account.Currency)
	if err != nil {
		return evaluated{}, err
	}
	known.Settings = account.Approvals
	known.Now = known.Moment(v.Now().UTC().Round(0)) // as it will be read back
	return evaluated{made: domain.Evaluate(known, req), at: known.Now, keep: account.Retention.Keep()}, nil
}

// refold brings the passport up to date after the log said that it has moved.
func (v *Verifier) refold(ctx context.Context, s domain.Stream, attempt int) error {
	if err := giveWay(ctx, attempt); err != nil {
		return unavailable(err, "the passport kept changing while it was read; try again")
	}
	if err := catchUp(ctx, v.Log, v.Passports, s); err != nil || !v.Passports.Agent(s).Shared {
		return err
	}
	return catchUp(ctx, v.Log, v.Passports, domain.Stream{Account: s.Account, Budget: true})
}

// earlier answers a repeat with the decision the first one got. A replicated
// log finds the repeat before it looks at the guard, so that the credential has
// to be judged again here.
func (v *Verifier) earlier(ctx context.Context, s domain.Stream, key domain.TokenHash, p domain.Position, digest string) (domain.Recorded, error) {
	if err := v.refold(ctx, s, 0); err != nil {
		return domain.Recorded{}, err
	}
	agent := v.Passports.Agent(s)
	if err := agent.Fault(); err != nil {
		return domain.Recorded{}, Unreadable(err)
	}
	if !agent.Key.Equal(key) {
		return domain.Recorded{}, ErrCredential
	}
	r, err := v.Log.Read(ctx, p)
	if errors.Is(err, domain.ErrNotRecorded) {
		return domain.Recorded{}, domain.RejectField(domain.KeyReused, "/idempotencyKey", "was used for a request whose decision is not kept any more; a new request needs a new key")
	}
	if err != nil {
		return domain.Recorded{}, unavailable(err, "this request was decided before, and its packet could not be read; try again")
	}
	d, ok := r.Event.(domain.DecisionMade)
	if !ok || r.Stream() != s {
		return domain.Recorded{}, unavailable(nil, "this request was decided before, and its packet could not be read; try again")
	}
	if d.RequestDigest != digest {
		return domain.Recorded{}, domain.RejectField(domain.KeyReused, "/idempotencyKey",
			"was used for another request, %s; a new request needs a new key", d.RequestID)
	}
	return r, nil
}

// dedupeID names a request for the log. It is a digest, so that no agent can
// choose a name that is another's.
func dedupeID(s domain.Stream, key string) string {
	sum := sha256.Sum256([]byte("verify\x00" + string(s.Account) + "\x00" + string(s.Agent) + "\x00" + key))
	return hex.EncodeToString(sum[:])
}

// giveWay waits a little, longer from attempt to attempt. The first that is
// made anew needs none; after it, another append is in flight or the read was
// stale.
func giveWay(ctx context.Context, attempt int) error {
	if attempt <= 1 {
		return nil
	}
	pause := time.Duration(attempt) * time.Millisecond
	return sleep(ctx, pause/2+rand.N(pause))
}

// sleep waits, unless ctx ends first.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
