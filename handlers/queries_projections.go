package handlers

import (
	"context"
	"time"

	"github.com/behalf-platform/behalf/projections"
)

type (
	// ProjectionView is one version of a read model, as those who run the server
	// see it.
	ProjectionView struct {
		Name    projections.Projection `json:"name"`
		Version int                    `json:"version"`
		// State is serving, making (beside the one that serves), stopped, or
		// replaced (and about to be dropped).
		State string `json:"state"`
		// Events is how many events it has taken in, of how many there are.
		Events     uint64          `json:"events"`
		Of         uint64          `json:"of"`
		Behind     uint64          `json:"behind"`
		MovedAt    time.Time       `json:"movedAt,omitzero"`
		Partitions []PartitionView `json:"partitions"`
	}
	// PartitionView is how far a read model is in one partition of the log.
	PartitionView struct {
		Partition uint16 `json:"partition"`
		Seq       uint64 `json:"seq"`
		Head      uint64 `json:"head"`
		// StoppedAt is the event that can't be applied, and Reason why.
		StoppedAt uint64 `json:"stoppedAt,omitzero"`
		Reason    string `json:"reason,omitempty"`
	}
)

// States of a [ProjectionView].
const (
	stateServing  = "serving"
	stateMaking   = "making"
	stateStopped  = "stopped"
	stateReplaced = "replaced"
)

// Projections is every version of every read model there is.
func (q *Queries) Projections(ctx context.Context) ([]ProjectionView, error) {
	views, ctx, done, err := q.manage(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	heads := make([]uint64, q.Log.Partitions())
	for i := range heads {
		status, err := q.Log.Status(ctx, uint16(i))
		if err != nil {
			return nil, unread(err)
		}
		heads[i] = status.Head
	}
	list, err := views.Status(ctx)
	if err != nil {
		return nil, failedQuery("", err)
	}
	serving := map[projections.Projection]int{}
	for _, c := range list {
		if c.Serving {
			serving[c.Projection] = c.Version
		}
	}
	shown := []ProjectionView{}
	for _, name := range projections.Projections() {
		for i := range list {
			if c := &list[i]; c.Projection == name {
				shown = q.show(shown, c, serving[name], heads)
			}
		}
	}
	return shown, nil
}

// show adds a checkpoint to the views shown, which are in the order of the checkpoints.
func (q *Queries) show(shown []ProjectionView, c *projections.Checkpoint, serving int, heads []uint64) []ProjectionView {
	n := len(shown)
	if n == 0 || shown[n-1].Name != c.Projection || shown[n-1].Version != c.Version {
		v := ProjectionView{Name: c.Projection, Version: c.Version, State: stateServing}
		switch {
		case c.Version < serving:
			v.State = stateReplaced
		case c.Version > serving:
			v.State = stateMaking
		}
		shown = append(shown, v)
		n++
	}
	v := &shown[n-1]
	p := PartitionView{Partition: c.Partition, Seq: c.Seq, StoppedAt: c.StoppedAt, Reason: c.Reason}
	if int(c.Partition) < len(heads) {
		p.Head = max(heads[c.Partition], c.Seq)
		if c.Epoch != q.Log.Epoch(c.Partition) {
			p.Head, p.StoppedAt, p.Reason = heads[c.Partition], c.Seq, "the rows are of another log; rebuild the projection"
		}
	}
	if p.StoppedAt != 0 || p.Reason != "" {
		v.State = stateStopped
	}
	v.Events, v.Of, v.Behind = v.Events+c.Seq, v.Of+p.Head, v.Behind+p.Head-min(p.Head, c.Seq)
	if c.MovedAt.After(v.MovedAt) {
		v.MovedAt = c.MovedAt
	}
	v.Partitions = append(v.Partitions, p)
	return shown
}

// Rebuild has a read model made again from the first event, beside the one that
// serves. To ask again while it is being made changes nothing.
func (q *Queries) Rebuild(ctx context.Context, name projections.Projection) (ProjectionView, error) {
	views, ctx, done, err := q.manage(ctx)
	if err != nil {
		return ProjectionView{}, err
	}
	defer done()
	v, err := Rebuild(ctx, q.Log, views, name)
	if err != nil {
		return ProjectionView{}, failedQuery(name, err)
	}
	list, err := q.Projections(ctx)
	if err != nil {
		return ProjectionView{}, err
	}
	for _, shown := range list {
		if shown.Name == name && shown.Version == v.Version {
			return shown, nil
		}
	}
	return ProjectionView{Name: name, Version: v.Version, State: stateMaking, Partitions: []PartitionView{}}, nil
}

// manage is ask for what is about the read models themselves.
func (q *Queries) manage(ctx context.Context) (Views, context.Context, context.CancelFunc, error) {
	views := q.views.Load()
	if views == nil {
		return nil, nil, nil, unavailable(errNotOpen, "the database can't be opened%s", unaffected)
	}
	ctx, cancel := context.WithTimeout(ctx, usualTimeout)
	return views, ctx, cancel, nil
}
