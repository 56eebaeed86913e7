package handlers

import (
	"cmp"
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/behalf-platform/behalf/domain"
)

// Moment is a place in an account's past: a time, or a position of the log.
type Moment struct {
	// Time is what is evaluated at. Seq is the last record that counts, 0 for
	// all up to Time.
	Time time.Time
	Seq  uint64
}

// has reports whether a record was there at the moment.
func (m Moment) has(r *domain.Recorded) bool {
	if m.Seq > 0 {
		return r.Position.Seq <= m.Seq
	}
	return !r.At.After(m.Time)
}

// PassportAt is a passport as it was.
type PassportAt struct {
	PassportView `json:",inline"`
	AsOf         time.Time `json:"asOf"`
	Position     string    `json:"position,omitempty"` // if it was asked for by one
}

// PassportAtFor is an agent's passport as it stood at a moment: an agent reads
// its own, a member any of the account.
func (d *Desk) PassportAtFor(ctx context.Context, c Caller, agent domain.AgentID, at string) (PassportAt, error) {
	s, err := c.Reads(agent)
	if err != nil {
		return PassportAt{}, err
	}
	then, err := d.standingAt(ctx, c, s, at)
	if err != nil {
		return PassportAt{}, err
	}
	view := PassportAt{PassportView: ViewPassport(then.Agent, then.Budget, then.Now), AsOf: then.Now}
	if then.moment.Seq > 0 {
		view.Position = then.position.String()
	}
	return view, nil
}

// PreviewAtFor is what a verify would have been answered at a moment.
func (d *Desk) PreviewAtFor(ctx context.Context, c Caller, body []byte, at string) (PreviewView, error) {
	var ask domain.Ask
	if err := Decode(body, &ask); err != nil {
		return PreviewView{}, err
	}
	if ask.AtLeast != "" {
		return PreviewView{}, domain.RejectField(domain.Invalid, "/atLeast", "is for what is to be known now, and at is the past; send one of them")
	}
	s := c.Agent
	switch {
	case c.IsAgent() && ask.AgentID != "" && ask.AgentID != s.Agent:
		return PreviewView{}, ErrCredential
	case c.IsAgent():
	case ask.AgentID == "":
		return PreviewView{}, domain.RejectField(domain.Invalid, "/agentId", "is required with a member token")
	default:
		s = domain.Stream{Account: c.Member.Account, Agent: ask.AgentID}
	}
	then, err := d.standingAt(ctx, c, s, at)
	if err != nil {
		return PreviewView{}, err
	}
	req, err := ask.Request(then.currency)
	if err != nil {
		return PreviewView{}, err
	}
	return ViewPreview(s.Agent, domain.Evaluate(then.Situation, req), then.Situation), nil
}

// pastState is what a decision of an agent would have stood on.
type pastState struct {
	domain.Situation
	moment   Moment
	position domain.Position
	currency domain.Currency
}

// standingAt folds what there was of an agent, and of its account, at a moment.
func (d *Desk) standingAt(ctx context.Context, c Caller, s domain.Stream, at string) (pastState, error) {
	if !domain.ValidID(string(s.Agent)) {
		return pastState{}, domain.Reject(domain.NotFound, "no such agent; an id is 1 to 64 of A-Z a-z 0-9 _ and -")
	}
	if err := d.Still(ctx, c); err != nil {
		return pastState{}, err
	}
	p := pastState{position: domain.Position{Partition: domain.PartitionOf(s.Account, d.Verifier.Log.Partitions())}}
	var err error
	if p.moment, p.position, err = d.moment(ctx, p.position, at); err != nil {
		return pastState{}, err
	}
	agent, err := foldUntil(ctx, d, s, p.moment, domain.Agent.Evolve)
	if err != nil {
		return pastState{}, err
	}
	if !agent.Exists() {
		return pastState{}, d.notYet(ctx, s, p.moment)
	}
	account, err := foldUntil(ctx, d, domain.Stream{Account: s.Account}, p.moment, domain.Account.Evolve)
	if err != nil {
		return pastState{}, err
	}
	var budget domain.SharedBudget
	if agent.Shared {
		if budget, err = foldUntil(ctx, d, domain.Stream{Account: s.Account, Budget: true}, p.moment, domain.SharedBudget.Evolve); err != nil {
			return pastState{}, err
		}
	}
	p.Situation = domain.Situation{Agent: &agent, Budget: &budget, Settings: account.Approvals}
	if err := p.Fault(); err != nil {
		return pastState{}, Unreadable(err)
	}
	p.Now, p.currency = p.Moment(p.moment.Time), account.Currency
	return p, nil
}

// moment reads a time or a position. A position is evaluated at the time of its
// record.
func (d *Desk) moment(ctx context.Context, in domain.Position, at string) (Moment, domain.Position, error) {
	fault := func(format string, args ...any) (Moment, domain.Position, error) {
		return Moment{}, in, domain.RejectField(domain.Invalid, "/at", format, args...)
	}
	if t, err := time.Parse(time.RFC3339, at); err == nil {
		if t.After(d.Verifier.Now()) {
			return fault("%s is not over yet; leave at out for now", t.Format(time.RFC3339))
		}
		return Moment{Time: t.UTC()}, in, nil
	}
	if seq, err := strconv.ParseUint(at, 10, 64); err == nil && seq > 0 {
		in.Seq = seq
	} else if p, err := domain.ParsePosition(at); err != nil {
		return fault("%q is neither a time such as 2027-01-01T00:00:00Z, nor a position that a packet carried, nor a passport version", at)
	} else if in.Epoch, in.Seq = p.Epoch, p.Seq; p.Partition != in.Partition {
		return fault("is a position of another account's log")
	}
	var found domain.Recorded
	err := d.History.Log.Scan(ctx, domain.Scan{Partition: in.Partition, From: in.Seq, Through: in.Seq}, func(r domain.Recorded, err error) error {
		found = r
		return err
	})
	_, unreadable := errors.AsType[*domain.Unreadable](err)
	switch {
	case unreadable:
		return Moment{}, in, Unreadable(err)
	case err != nil:
		return Moment{}, in, unread(err)
	case found.Position.Seq != in.Seq:
		return fault("is a position that the log has not reached, or does not have any more")
	case in.Epoch != 0 && in.Epoch != found.Position.Epoch:
		return fault("is a position of another log")
	}
	return Moment{Time: found.At.UTC(), Seq: in.Seq}, found.Position, nil
}

// notYet says that there was no agent, and whether there is one now.
func (d *Desk) notYet(ctx context.Context, s domain.Stream, m Moment) error {
	now := d.Identifier.Passports.Agent(s)
	if !now.Exists() {
		return domain.Reject(domain.NotFound, "no agent %s", s.Agent)
	}
	return domain.Reject(domain.NotFound, "there was no agent %s at %s; it was registered %s", s.Agent, m.Time.Format(time.RFC3339), now.Registered.Format(time.RFC3339))
}

// foldUntil folds a stream from its first event up to a moment. A read may miss
// the newest, but not what this node has folded already.
func foldUntil[S any](ctx context.Context, d *Desk, s domain.Stream, m Moment, evolve func(S, domain.Recorded) S) (state S, err error) {
	known := version(d.Identifier.Passports, s)
	for attempt, after := 0, uint64(0); ; attempt++ {
		events, err := d.Verifier.Log.Load(ctx, s, after)
		for i := range events {
			if !m.has(&events[i]) {
				return state, nil
			}
			state, after = evolve(state, events[i]), events[i].Position.Seq
		}
		if unreadable, ok := errors.AsType[*domain.Unreadable](err); ok {
			if m.Seq > 0 && unreadable.Position.Seq > m.Seq {
				return state, nil
			}
			return state, Unreadable(err)
		}
		if err != nil {
			return state, unread(err)
		}
		if after >= known {
			return state, nil
		}
		if attempt == attempts {
			return state, unavailable(nil, "the log could not be read up to what is known here; try again")
		}
		if err := giveWay(ctx, cmp.Or(attempt, 1)+1); err != nil {
			return state, unread(err)
		}
	}
}
