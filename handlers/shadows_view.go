package handlers

import (
	"context"
	"errors"
	"time"

	"github.com/behalf-platform/behalf/domain"
)

// ShadowView is a shadow as members see it.
type ShadowView struct {
	ShadowID        domain.ShadowID        `json:"shadowId"`
	AgentID         domain.AgentID         `json:"agentId"`
	State           domain.ShadowState     `json:"state"`
	Candidate       domain.ShadowCandidate `json:"candidate"`
	CandidateDigest string                 `json:"candidateDigest"`
	Note            string                 `json:"note,omitempty"`
	StartedAt       time.Time              `json:"startedAt"`
	StartedBy       domain.Actor           `json:"startedBy"`
	Until           time.Time              `json:"until"`
	Supersedes      domain.ShadowID        `json:"supersedes,omitempty"`
	// Because and what follows are of one that has stopped.
	Because   domain.ShadowEnd `json:"stoppedBecause,omitempty"`
	StopNote  string           `json:"stopNote,omitempty"`
	StoppedAt time.Time        `json:"stoppedAt,omitzero"`
	StoppedBy domain.Actor     `json:"stoppedBy,omitempty"`

	Counts domain.ShadowTotals `json:"counts"`
	// Lag is of one that runs.
	Lag *ShadowLag `json:"lag,omitzero"`
}

// ShadowLag is how far a shadow is behind the real decisions.
type ShadowLag struct {
	// Waiting are decisions that were not decided again yet, counted up to 1000.
	Waiting int `json:"waiting"`
	// Since is when the oldest of them was made, Seconds how long ago that is.
	Since   time.Time `json:"since,omitzero"`
	Seconds float64   `json:"seconds"`
}

// mostWaiting is how far decisions that wait are counted.
const mostWaiting = 1000

// view shows a shadow and, if it runs, how far it is behind.
func (s *Shadows) view(ctx context.Context, of domain.Stream, known domain.Shadow) (ShadowView, error) {
	v := ShadowView{
		ShadowID: known.ID, AgentID: of.Agent, State: known.State, Candidate: known.Begun.Candidate,
		CandidateDigest: known.Begun.CandidateDigest, Note: known.Begun.Note, StartedAt: known.StartedAt, StartedBy: known.StartedBy,
		Until: known.Begun.Until, Supersedes: known.Begun.Supersedes,
		Because: known.End, StopNote: known.EndNote, StoppedAt: known.StoppedAt, StoppedBy: known.StoppedBy, Counts: known.Totals,
	}
	if known.State != domain.ShadowIsRunning {
		return v, nil
	}
	v.Lag = &ShadowLag{}
	err := s.Decisions.Scan(ctx, domain.Scan{
		Partition: known.Begun.Partition, Account: of.Account, Agent: of.Agent, From: known.Through + 1,
	}, func(r domain.Recorded, err error) error {
		if err != nil {
			return err
		}
		if !known.Covers(r.Position.Seq, r.At) {
			return nil
		}
		if v.Lag.Waiting++; v.Lag.Waiting == 1 {
			v.Lag.Since, v.Lag.Seconds = r.At, max(0, s.Now().Sub(r.At).Seconds())
		}
		if v.Lag.Waiting == mostWaiting {
			return errFound
		}
		return nil
	})
	if err != nil && !errors.Is(err, errFound) {
		return ShadowView{}, unread(err)
	}
	return v, nil
}

// ShadowDifferencePage is some of what came out otherwise, newest first.
type ShadowDifferencePage struct {
	ShadowID    domain.ShadowID        `json:"shadowId"`
	Differences []ShadowDifferenceView `json:"differences"`
	NextCursor  string                 `json:"nextCursor,omitempty"`
}

// ShadowDifferenceView is one request that comes out otherwise. It has nothing
// of a packet, and no member says that anything is allowed.
type ShadowDifferenceView struct {
	EventID    domain.EventID          `json:"eventId"`
	RequestID  domain.RequestID        `json:"requestId"`
	DecidedAt  time.Time               `json:"decidedAt"`
	Difference domain.ShadowDifference `json:"difference"`
	Real       domain.Came             `json:"real"`
	// Shadow is absent where it couldn't be decided under the candidate.
	Shadow       domain.Came         `json:"shadow,omitzero"`
	PermissionID domain.PermissionID `json:"permissionId,omitempty"`
	Reason       string              `json:"reason,omitempty"`
	Amount       domain.Decimal      `json:"amount,omitempty"`
	Currency     domain.Currency     `json:"currency,omitempty"`
}

func viewShadowDifference(r *domain.ShadowRecorded, d *domain.ShadowDecided) ShadowDifferenceView {
	return ShadowDifferenceView{
		EventID: r.ID, RequestID: d.RequestID, DecidedAt: d.DecidedAt, Difference: d.Difference, Real: d.Real, Shadow: d.Shadow,
		PermissionID: d.PermissionID, Reason: d.Reason, Amount: d.Amount, Currency: d.Currency,
	}
}
