package domain

import (
	"slices"
	"time"
)

// endpointChange is which endpoint an event changes, and how. It must not write
// to what the endpoint's slices hold: the account before has them too.
func endpointChange(r Recorded) (EndpointID, func(*Endpoint)) {
	switch e := r.Event.(type) {
	case WebhookChanged:
		return e.EndpointID, func(p *Endpoint) {
			p.Verified = p.Verified && p.URL == e.URL
			p.EndpointSettings, p.Version = e.EndpointSettings, r.Position.Seq
		}
	case WebhookVerified:
		return e.EndpointID, func(p *Endpoint) { p.Verified = p.URL == e.URL }
	case WebhookPaused:
		return e.EndpointID, func(p *Endpoint) { p.Status, p.Reason = EndpointPaused, e.Reason }
	case WebhookResumed:
		return e.EndpointID, func(p *Endpoint) { p.activate(r, e.From) }
	case WebhookDisabled:
		return e.EndpointID, func(p *Endpoint) { p.Status, p.Code, p.Reason = EndpointDisabled, e.Code, e.Reason }
	case WebhookEnabled:
		return e.EndpointID, func(p *Endpoint) { p.activate(r, e.From) }
	case WebhookSecretRotated:
		return e.EndpointID, func(p *Endpoint) { p.rotate(r, e) }
	case WebhookReplayRequested:
		return e.EndpointID, func(p *Endpoint) { p.replay(r, e) }
	case WebhookReplayCancelled:
		return e.EndpointID, func(p *Endpoint) {
			p.endReplay(e.ReplayID, func(replay *Replay) { replay.State, replay.EndedAt = ReplayIsCancelled, r.At })
		}
	case WebhookReplayFinished:
		return e.EndpointID, func(p *Endpoint) {
			p.endReplay(e.ReplayID, func(replay *Replay) {
				replay.State, replay.EndedAt, replay.Delivered, replay.Failed = ReplayIsFinished, r.At, e.Delivered, e.Failed
				replay.Reason = e.Reason
			})
		}
	case WebhookFailing:
		return e.EndpointID, func(p *Endpoint) { p.FailingSince, p.WarnedAt, p.Warning = e.Since, r.At, e.Reason }
	case WebhookRecovered:
		return e.EndpointID, func(p *Endpoint) { p.FailingSince, p.WarnedAt, p.Warning = time.Time{}, time.Time{}, "" }
	case WebhookSkipped:
		return e.EndpointID, func(p *Endpoint) { p.Skipped = max(p.Skipped, e.Through) }
	case WebhookCreated, WebhookDeleted, WebhookTested,
		AccountOpened, AccountSettingsChanged, MemberAdded, MemberRoleChanged, MemberTokenRotated, MemberRemoved,
		AgentRegistered, AgentDisabled, AgentEnabled, AgentKeyRotated, AgentDriverChanged, AgentLimitsSet, AgentBudgetShared,
		PermissionGranted, PermissionReplaced, PermissionRevoked, DecisionMade, DecisionSettled,
		ApprovalVoted, ApprovalApproved, ApprovalDenied, ApprovalCancelled, ApprovalReminded, ApprovalExpired,
		BudgetSet, BudgetCharged, BudgetReleased, ReceiptKeyRotated, DecisionConsumed,
		PassportLinkCreated, PassportLinkRevoked:
		// They change nothing of an endpoint that is there.
	}
	return "", nil
}

func (e *Endpoint) activate(r Recorded, from ResumeFrom) {
	e.Status, e.Code, e.Reason = EndpointActive, "", ""
	if from == FromNow {
		e.From = r.Position
	}
}

func (e *Endpoint) rotate(r Recorded, rotated WebhookSecretRotated) {
	var older []OlderSecret
	if !rotated.OverlapUntil.IsZero() {
		for _, o := range e.Older {
			if r.At.Before(o.Until) {
				older = append(older, o)
			}
		}
		older = append(older, OlderSecret{e.Secret, rotated.OverlapUntil})
	}
	e.Secret, e.Older = rotated.Secret, older
}

func (e *Endpoint) replay(r Recorded, asked WebhookReplayRequested) {
	replays := append(slices.Clone(e.Replays), Replay{
		ID: asked.ReplayID, ReplaySelection: asked.ReplaySelection, RatePerSecond: asked.RatePerSecond,
		State: ReplayIsRunning, By: r.Actor, Through: r.Position, RequestedAt: r.At,
	})
	for len(replays) > rememberedReplays {
		over := slices.IndexFunc(replays, func(p Replay) bool { return p.State != ReplayIsRunning })
		if over < 0 {
			break
		}
		replays = slices.Delete(replays, over, over+1)
	}
	e.Replays = replays
}

func (e *Endpoint) endReplay(id ReplayID, end func(*Replay)) {
	if i := slices.IndexFunc(e.Replays, func(r Replay) bool { return r.ID == id }); i >= 0 {
		e.Replays = slices.Clone(e.Replays)
		end(&e.Replays[i])
	}
}
