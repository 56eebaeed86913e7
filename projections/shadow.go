package projections

import (
	"github.com/behalf-platform/behalf/domain"
)

// Shadow decides the requests of one agent once more, under a candidate, as they
// are recorded: a [WhatIf] that follows the consequences and doesn't end. What it
// keeps is one agent, really and as supposed, so that it doesn't grow with what
// it has read.
type Shadow struct {
	whatIf  WhatIf
	seq     uint64
	verdict *domain.ShadowVerdict
}

// NewShadow begins a shadow, which is then to be handed the records of the agent,
// of its account, and of what the account's agents spend together, in the order
// of the log and from the first on: the candidate's limits count what was spent
// before it began.
func NewShadow(agent domain.Stream, began domain.ShadowStarted) *Shadow {
	s := &Shadow{whatIf: WhatIf{
		Range:     Range{Account: agent.Account, Agent: agent.Agent, From: began.After + 1, Until: began.Until},
		Candidate: Candidate{Agents: map[domain.AgentID]AgentCandidate{agent.Agent: AgentCandidate(began.Candidate)}},
		Mode:      Consequences, accounts: map[domain.AccountID]*supposedAccount{}, agents: map[domain.Stream]*supposedAgent{},
		named: map[domain.AgentID][]*accepted{}, tally: newWhatIfTally(0), alone: true,
	}}
	s.whatIf.see = func(made *supposition) { s.verdict = verdictOf(made) }
	return s
}

// Seq is the sequence of the newest record that was taken.
func (s *Shadow) Seq() uint64 { return s.seq }

// Take takes the next record, and returns how it comes out if it is a decision
// that the shadow covers. A candidate that can't be decided under is a
// [*CandidateError].
func (s *Shadow) Take(r *domain.Recorded) (domain.ShadowVerdict, bool, error) {
	if r.Position.Seq <= s.seq {
		return domain.ShadowVerdict{}, false, nil
	}
	s.seq, s.verdict = r.Position.Seq, nil
	s.whatIf.follow(r)
	if failed := s.whatIf.failed.Load(); failed != nil {
		return domain.ShadowVerdict{}, false, failed
	}
	if s.verdict == nil {
		return domain.ShadowVerdict{}, false, nil
	}
	return *s.verdict, true, nil
}

func verdictOf(s *supposition) *domain.ShadowVerdict {
	recorded, _ := s.r.Event.(domain.DecisionMade) // whoever shows one saw that it is
	v := &domain.ShadowVerdict{
		RequestID: recorded.RequestID, Sequence: s.r.Position.Seq, At: s.r.At,
		Amount: recorded.Request.Amount, Currency: recorded.Request.Currency,
		Real: domain.Came{Outcome: recorded.Outcome, ReasonCode: recorded.ReasonCode},
	}
	if s.why == nil {
		v.Shadow = domain.Came{Outcome: s.made.Outcome, ReasonCode: s.made.ReasonCode}
		v.PermissionID, v.Reason = s.made.PermissionID, s.made.Reason
	}
	return v
}
