package handlers

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/projections"
)

// Replays decides an account's history again, or under other permissions, while
// its members wait. It may read the whole partition, so that few run at a time. What
// it knows is this node's, and gone with it.
type Replays struct {
	Log DecisionLog
	Now func() time.Time
	// Stopping ends those that run.
	Stopping context.Context

	running sync.WaitGroup
	mu      sync.Mutex
	// jobs is guarded by mu: the oldest first.
	jobs []*replayJob
}

// Bounds of replays: how many run for one account and on the node, how many of
// an account are remembered, and how many examples each shows.
const (
	mostReplaysOfAccount = 1
	mostReplays          = 2
	mostReplaysKept      = 10
	replayExamples       = 10
)

// ReplayRequest is what a member wants to have decided again.
type ReplayRequest struct {
	// WhatIf is what to decide under; without it, decisions are only checked.
	WhatIf  *projections.Candidate `json:"whatIf"`
	Mode    projections.WhatIfMode `json:"mode"`
	AgentID domain.AgentID         `json:"agentId"`
	Since   time.Time              `json:"since"`
	Until   time.Time              `json:"until"`
}

// ReplayState is where a replay stands.
type ReplayState string

const (
	ReplayRuns      ReplayState = "running"
	ReplayDone      ReplayState = "done"
	ReplayFailed    ReplayState = "failed"
	ReplayCancelled ReplayState = "cancelled"
)

// ReplayView is a replay as members see it.
type ReplayView struct {
	ReplayID string      `json:"replayId"`
	State    ReplayState `json:"state"`
	// Read of Records are done.
	Read      uint64    `json:"recordsRead"`
	Records   uint64    `json:"records"`
	StartedAt time.Time `json:"startedAt"`
	EndedAt   time.Time `json:"endedAt,omitzero"`
	// Report is there when it is done, Checked for one without a candidate.
	Report  *projections.WhatIfReport `json:"report,omitzero"`
	Checked *CheckedView              `json:"checked,omitzero"`
	Error   string                    `json:"error,omitempty"`
}

// CheckedView is the outcome of deciding again without a candidate.
type CheckedView struct {
	Decisions   uint64                   `json:"decisions"`
	Different   uint64                   `json:"different"`
	Differences []projections.Difference `json:"differences"`
}

// replayJob is one replay.
type replayJob struct {
	id      string
	account domain.AccountID
	request ReplayRequest
	started time.Time
	through uint64
	read    atomic.Uint64

	mu sync.Mutex
	// view is guarded by mu: how it ended.
	view ReplayView
}

// Start begins a replay of the member's account.
func (r *Replays) Start(ctx context.Context, c Caller, body []byte) (ReplayView, error) {
	m, err := c.AsMember(domain.RoleAdmin)
	if err != nil {
		return ReplayView{}, err
	}
	var in ReplayRequest
	if err := DecodeGrant(body, &in); err != nil {
		return ReplayView{}, err
	}
	if err := in.check(); err != nil {
		return ReplayView{}, err
	}
	status, err := r.Log.Status(ctx, domain.PartitionOf(m.Account, r.Log.Partitions()))
	if err != nil {
		return ReplayView{}, unread(err)
	}
	j := &replayJob{id: "rpl_" + NewULID(r.Now()), account: m.Account, request: in, started: r.Now().UTC(), through: status.Head}
	j.view = ReplayView{State: ReplayRuns}
	if err := r.admit(j); err != nil {
		return ReplayView{}, err
	}
	return j.show(), nil
}

func (in *ReplayRequest) check() error {
	switch {
	case in.Mode == "" && in.WhatIf != nil:
		in.Mode = projections.Consequences
	case in.Mode != "" && in.WhatIf == nil:
		return domain.RejectField(domain.Invalid, "/mode", "is for whatIf, and there is none")
	case in.WhatIf != nil && in.Mode != projections.Consequences && in.Mode != projections.RecordedState:
		return domain.RejectField(domain.Invalid, "/mode", "must be %s or %s", projections.Consequences, projections.RecordedState)
	case in.AgentID != "" && !domain.ValidID(string(in.AgentID)):
		return domain.RejectField(domain.Invalid, "/agentId", "is not an id of an agent")
	case !in.Until.IsZero() && !in.Since.Before(in.Until):
		return domain.RejectField(domain.Invalid, "/until", "is not after since")
	}
	if in.WhatIf == nil {
		return nil
	}
	if fault, ok := errors.AsType[*projections.CandidateError](in.WhatIf.Check()); ok {
		return domain.RejectField(domain.Invalid, "/whatIf"+fault.Field, "%s", fault.Text)
	}
	return nil
}

// admit starts a job if there is room, and forgets the oldest of its account.
func (r *Replays) admit(j *replayJob) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	all, mine, kept := 0, 0, 0
	for _, o := range r.jobs {
		if o.runs() {
			all++
		}
		if o.account == j.account {
			kept++
			if o.runs() {
				mine++
			}
		}
	}
	switch {
	case r.Stopping.Err() != nil:
		return unavailable(nil, "this node is shutting down; try again")
	case mine >= mostReplaysOfAccount:
		return domain.Reject(domain.RateLimited, "a replay of this account runs already; wait for it")
	case all >= mostReplays:
		return domain.Reject(domain.RateLimited, "this node runs %d replays already; try again later", all)
	}
	if kept >= mostReplaysKept {
		oldest := slices.IndexFunc(r.jobs, func(o *replayJob) bool { return o.account == j.account })
		r.jobs = slices.Delete(r.jobs, oldest, oldest+1)
	}
	r.jobs = append(r.jobs, j)
	r.running.Go(func() { r.run(j) })
	return nil
}

// Find is a replay that a member started here, as it stands.
func (r *Replays) Find(c Caller, id string) (ReplayView, error) {
	m, err := c.AsMember(domain.RoleViewer)
	if err != nil {
		return ReplayView{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, j := range r.jobs {
		if j.id == id && j.account == m.Account {
			return j.show(), nil
		}
	}
	return ReplayView{}, domain.Reject(domain.NotFound, "no such replay on this node; each is known only to the node that runs it, and the newest %d are kept", mostReplaysKept)
}

// Wait returns when no replay runs. None starts after Stopping is done.
func (r *Replays) Wait() {
	r.mu.Lock() // nobody is being admitted
	defer r.mu.Unlock()
	r.running.Wait()
}

func (r *Replays) run(j *replayJob) {
	ctx, cancel := context.WithCancel(r.Stopping)
	defer cancel()
	view := ReplayView{State: ReplayDone}
	err := r.decide(ctx, j, &view)
	if fault, ok := errors.AsType[*projections.CandidateError](err); ok {
		view = ReplayView{State: ReplayFailed, Error: fault.Error()}
	} else if err != nil {
		view = ReplayView{State: ReplayFailed, Error: "the log could not be read; try again"}
	}
	if ctx.Err() != nil {
		view = ReplayView{State: ReplayCancelled, Error: "the node stopped"}
	}
	view.EndedAt = r.Now().UTC()
	j.mu.Lock()
	defer j.mu.Unlock()
	j.view = view
}

func (r *Replays) decide(ctx context.Context, j *replayJob, view *ReplayView) error {
	in := j.request
	chosen := projections.Range{Account: j.account, Agent: in.AgentID, Since: in.Since, Until: in.Until}
	partition := domain.PartitionOf(j.account, r.Log.Partitions())
	read := func(take func(domain.Recorded, error) error) error {
		if j.through == 0 {
			return nil
		}
		return r.Log.Scan(ctx, domain.Scan{Partition: partition, Through: j.through}, func(rec domain.Recorded, err error) error {
			j.read.Add(1)
			return take(rec, err)
		})
	}
	if in.WhatIf == nil {
		replay := projections.Replay{Range: chosen, Workers: 1, MostShown: replayExamples}
		err := replay.Run(func(take func(domain.Recorded, error) error) error { return r.needed(ctx, j, partition, &chosen, take) })
		if err != nil {
			return err
		}
		view.Checked = &CheckedView{Decisions: replay.Decisions, Different: replay.Different, Differences: replay.Shown()}
		return nil
	}
	whatIf := projections.WhatIf{Range: chosen, Candidate: *in.WhatIf, Mode: in.Mode, Workers: 1, MostExamples: replayExamples}
	report, err := whatIf.Run(read)
	if err != nil {
		return err
	}
	met, err := whatIf.Met()
	if err != nil {
		return err
	}
	for id := range in.WhatIf.Agents {
		if !slices.Contains(met, id) {
			return &projections.CandidateError{Field: "/agents/" + string(id), Text: "names agent " + string(id) + ", which the account does not have"}
		}
	}
	view.Report = &report
	return nil
}

// needed reads what deciding the range again needs.
func (r *Replays) needed(ctx context.Context, j *replayJob, partition uint16, chosen *projections.Range, take func(domain.Recorded, error) error) error {
	begins, err := uint64(0), error(nil)
	if !chosen.Since.IsZero() {
		if begins, err = r.Log.SeqAt(ctx, partition, chosen.Since.Add(-ClockSlack)); err != nil {
			return err
		}
	}
	if j.through == 0 {
		return nil
	}
	return chosen.Read(ctx, r.Log.Scan, partition, begins, j.through, func(rec domain.Recorded, err error) error {
		j.read.Add(1)
		return take(rec, err)
	})
}

func (j *replayJob) runs() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.view.State == ReplayRuns
}

func (j *replayJob) show() ReplayView {
	j.mu.Lock()
	defer j.mu.Unlock()
	view := j.view
	view.ReplayID, view.StartedAt, view.Records = j.id, j.started, j.through
	view.Read = j.read.Load()
	return view
}
