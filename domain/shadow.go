package domain

import (
	"errors"
	"maps"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

// ShadowID names one run of a shadow.
type ShadowID string

// ShadowPrefix begins a shadow's id; a ULID follows.
const ShadowPrefix = "shd_"

// ShadowState is where a shadow stands. The empty one means that there is none.
type ShadowState string

const (
	ShadowIsRunning ShadowState = "running"
	ShadowIsStopped ShadowState = "stopped"
)

// ShadowEnd is why a shadow stopped. One that another took the place of has no
// end of its own: the start of the other one names it.
type ShadowEnd string

const (
	ShadowEndedByMember   ShadowEnd = "member"
	ShadowExpired         ShadowEnd = "expired"
	ShadowAgentDisabled   ShadowEnd = "agent_disabled"
	ShadowOfAnotherLog    ShadowEnd = "another_log" // the log it followed was made anew
	ShadowCandidateBroken ShadowEnd = "candidate"   // nothing can be decided under it any more
)

// Bounds of a shadow.
const (
	ShadowUsually    = 7 * 24 * time.Hour
	MostShadow       = 90 * 24 * time.Hour
	leastShadow      = time.Minute
	mostShadowNote   = 500
	mostShadowNaming = 2 * MostPermissions
)

// Shadow is the fold of the events of an agent's shadow: another set of
// permissions that each of its requests is decided under once more, after the
// answer and for members only. Nothing that is allowed rests on it.
//
//	none ── start ──> running ── stop, expire ──> stopped
//	                  │     ^                        │
//	                  └start┘<──────── start ────────┘
//
// The newest event holds all counts, so that the start and the newest give the
// same fold as all of them.
type Shadow struct {
	ID        ShadowID
	State     ShadowState
	Begun     ShadowStarted
	StartedAt time.Time
	StartedBy Actor
	// StartedSeq is where the start lies among the shadow's events.
	StartedSeq uint64

	// End, EndNote, StoppedAt and StoppedBy are of one that has stopped.
	End       ShadowEnd
	EndNote   string
	StoppedAt time.Time
	StoppedBy Actor

	// Through is the sequence of the newest decision that was decided again, and
	// ThroughAt its time; before the first, where the shadow began.
	Through   uint64
	ThroughAt time.Time
	Totals    ShadowTotals
	// Difference is the sequence of the newest event with a difference, 0 for none.
	Difference uint64
	// Version is the sequence of the newest event.
	Version uint64
}

// Evolve folds one recorded event in.
func (s Shadow) Evolve(r ShadowRecorded) Shadow {
	if r.Seq <= s.Version {
		return s
	}
	switch e := r.Event.(type) {
	case ShadowStarted:
		s = Shadow{
			ID: e.ShadowID, State: ShadowIsRunning, Begun: e, StartedAt: r.At, StartedBy: r.Actor, StartedSeq: r.Seq,
			Through: e.After, ThroughAt: r.At,
		}
	case ShadowDecided:
		if e.ShadowID != s.ID {
			return s
		}
		s.Through, s.ThroughAt, s.Totals, s.Difference = e.Sequence, e.DecidedAt, e.Totals, e.PreviousDifference
		if e.Difference != ShadowSame {
			s.Difference = r.Seq
		}
	case ShadowStopped:
		if e.ShadowID != s.ID {
			return s
		}
		s.State, s.End, s.EndNote, s.StoppedAt, s.StoppedBy = ShadowIsStopped, e.Because, e.Note, r.At, r.Actor
		s.Through, s.ThroughAt, s.Totals, s.Difference = e.Through, e.ThroughAt, e.Totals, e.PreviousDifference
	}
	s.Version = r.Seq
	return s
}

// StartShadow begins a shadow, in place of one that runs.
type StartShadow struct {
	ShadowID  ShadowID
	Candidate ShadowCandidate
	// For is how long it is to run, ShadowUsually if 0.
	For  time.Duration
	Note string
	// From is the newest record of the log: what comes after it is followed.
	From    Position
	Agent   *Agent
	Account *Account
	Now     time.Time
}

// Start decides on a StartShadow.
func (s Shadow) Start(cmd StartShadow) ([]ShadowEvent, error) {
	if cmd.For == 0 {
		cmd.For = ShadowUsually
	}
	switch {
	case !cmd.Agent.Exists():
		return nil, Reject(NotFound, "no agent %s", cmd.Agent.ID)
	case cmd.Agent.Status == AgentIsDisabled:
		return nil, Reject(Conflict, "agent %s is disabled, so that everything is denied anyway; enable it first", cmd.Agent.ID)
	case cmd.For < leastShadow || cmd.For > MostShadow:
		return nil, RejectField(Invalid, "/for", "must be from %s to %s", Duration(leastShadow), Duration(MostShadow))
	case utf8.RuneCountInString(cmd.Note) > mostShadowNote:
		return nil, RejectField(Invalid, "/note", "is over %d characters", mostShadowNote)
	}
	candidate, err := cmd.Candidate.Accept(cmd.Agent, cmd.Account, cmd.Now)
	if err != nil {
		return nil, err
	}
	digest, err := candidate.Digest()
	if err != nil {
		return nil, err
	}
	e := ShadowStarted{
		ShadowID: cmd.ShadowID, Candidate: candidate, CandidateDigest: digest, Partition: cmd.From.Partition, Epoch: cmd.From.Epoch,
		After: cmd.From.Seq, Until: cmd.Now.Add(cmd.For), Note: cmd.Note,
	}
	if s.State == ShadowIsRunning {
		e.Supersedes = s.ID
	}
	return []ShadowEvent{e}, nil
}

// Stop ends a shadow. One that has ended already stays as it is.
func (s Shadow) Stop(because ShadowEnd, note string) ([]ShadowEvent, error) {
	switch {
	case s.State == "":
		return nil, Reject(NotFound, "the agent has no shadow")
	case s.State == ShadowIsStopped:
		return nil, nil
	case utf8.RuneCountInString(note) > mostShadowNote:
		return nil, RejectField(Invalid, "/note", "is over %d characters", mostShadowNote)
	}
	return []ShadowEvent{ShadowStopped{
		ShadowID: s.ID, StartedSeq: s.StartedSeq, Because: because, Note: note,
		Through: s.Through, ThroughAt: s.ThroughAt, Totals: s.Totals, PreviousDifference: s.Difference,
	}}, nil
}

// Covers reports whether a decision is one that the shadow decides again.
func (s Shadow) Covers(seq uint64, at time.Time) bool {
	return s.State == ShadowIsRunning && seq > s.Begun.After && at.Before(s.Begun.Until)
}

// ShadowVerdict is a decision, and how it comes out under the candidate.
type ShadowVerdict struct {
	RequestID RequestID
	Sequence  uint64
	At        time.Time
	Amount    Decimal
	Currency  Currency
	Real      Came
	// Shadow is zero where the decision couldn't be made.
	Shadow       Came
	PermissionID PermissionID
	Reason       string
}

// Record decides on a verdict: one that was recorded already, or is not the
// shadow's, changes nothing.
func (s Shadow) Record(v ShadowVerdict) []ShadowEvent {
	if !s.Covers(v.Sequence, v.At) || v.Sequence <= s.Through {
		return nil
	}
	difference := Compare(v.Real, v.Shadow)
	return []ShadowEvent{ShadowDecided{
		ShadowID: s.ID, StartedSeq: s.StartedSeq, RequestID: v.RequestID, Sequence: v.Sequence, DecidedAt: v.At,
		Amount: v.Amount, Currency: v.Currency, Real: v.Real, Shadow: v.Shadow, PermissionID: v.PermissionID, Reason: v.Reason,
		Difference: difference, Totals: s.Totals.add(v, difference), PreviousDifference: s.Difference,
	}}
}

// ShadowCandidate is what is otherwise in a shadow. What it doesn't name is as it is.
type ShadowCandidate struct {
	// Add are permissions that are granted when the shadow begins. They go by
	// the ids new_1, new_2 and so on.
	Add []Terms `json:"add,omitzero"`
	// Replace has terms for permissions that the agent has, whichever those have.
	Replace map[PermissionID]Terms `json:"replace,omitzero"`
	// Remove are permissions that the agent has and the shadow has not.
	Remove []PermissionID `json:"remove,omitzero"`
	// Only says that what is added and replaced is all there is: the shadow has no
	// other permission, and gets none that is granted later.
	Only bool `json:"only,omitzero"`
	// Limits are the agent's own. The zero Limits are none.
	Limits *Limits `json:"limits,omitzero"`
}

// Accept checks a candidate as a grant is checked, and fills in the account's
// defaults.
func (c ShadowCandidate) Accept(agent *Agent, account *Account, now time.Time) (ShadowCandidate, error) {
	fault := func(err error, field string) error {
		rule, ok := errors.AsType[*RuleError](err)
		if !ok {
			return RejectField(Invalid, "/candidate"+field, "%s", err)
		}
		return &RuleError{Code: rule.Code, Message: rule.Message, Field: "/candidate" + field + rule.Field}
	}
	if len(c.Add) == 0 && len(c.Replace) == 0 && len(c.Remove) == 0 && !c.Only && c.Limits == nil {
		return c, RejectField(Invalid, "/candidate", "changes nothing; give add, replace, remove, only or limits")
	}
	if len(c.Add)+len(c.Replace) > MostPermissions || len(c.Remove) > mostShadowNaming {
		return c, RejectField(Invalid, "/candidate", "has more than %d permissions", MostPermissions)
	}
	out := ShadowCandidate{Only: c.Only}
	for i, terms := range c.Add {
		terms, err := terms.Accept(now, account.Currency, account.Zone())
		if err != nil {
			return c, fault(err, "/add/"+strconv.Itoa(i))
		}
		out.Add = append(out.Add, terms)
	}
	for _, id := range slices.Sorted(maps.Keys(c.Replace)) {
		if _, ok := agent.Permission(id); !ok {
			return c, RejectField(Invalid, "/candidate/replace/"+string(id), "the agent has no permission %s", id)
		}
		terms, err := c.Replace[id].Accept(now, account.Currency, account.Zone())
		if err != nil {
			return c, fault(err, "/replace/"+string(id))
		}
		if out.Replace == nil {
			out.Replace = map[PermissionID]Terms{}
		}
		out.Replace[id] = terms
	}
	for i, id := range c.Remove {
		field := "/candidate/remove/" + strconv.Itoa(i)
		if _, both := c.Replace[id]; both || slices.Contains(c.Remove[:i], id) {
			return c, RejectField(Invalid, field, "names %s twice", id)
		}
		if _, ok := agent.Permission(id); !ok {
			return c, RejectField(Invalid, field, "the agent has no permission %s", id)
		}
	}
	out.Remove = slices.Sorted(slices.Values(c.Remove))
	if c.Limits != nil {
		limits, err := c.Limits.Accept(account.Currency, account.Zone())
		if err != nil {
			return c, fault(err, "/limits")
		}
		out.Limits = &limits
	}
	return out, nil
}
