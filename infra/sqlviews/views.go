package sqlviews

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/behalf-platform/behalf/projections"
)

// install makes the tables that all views need.
func (s *Store) install(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.installed {
		return nil
	}
	sql, err := definition("store")
	if err != nil {
		return err
	}
	err = s.engine.write(ctx, func(w writer) error {
		if err := s.alone(ctx, w); err != nil {
			return err
		}
		return w.script(ctx, sql)
	})
	if err != nil {
		return fmt.Errorf("install read models: %w", err)
	}
	s.installed = true
	return nil
}

// alone waits until no other transaction makes or drops tables.
func (s *Store) alone(ctx context.Context, w writer) error {
	if s.engine.kind() == "sqlite" {
		return nil // its transactions are one at a time
	}
	return w.script(ctx, "SELECT pg_advisory_xact_lock(hashtextextended('behalf tables ' || current_schema(), 0))")
}

func (s *Store) begin(ctx context.Context, v projections.View, partition uint16, epoch uint32) (c projections.Checkpoint, err error) {
	if err := s.install(ctx); err != nil {
		return c, err
	}
	err = s.engine.write(ctx, func(w writer) error {
		if err := s.alone(ctx, w); err != nil {
			return err
		}
		if err := s.first(ctx, w, v); err != nil {
			return err
		}
		_, err := w.exec(ctx, `
			INSERT INTO checkpoints (projection, version, partition, epoch, seq, moved_at) VALUES ($1, $2, $3, $4, 0, $5)
			ON CONFLICT (projection, version, partition) DO NOTHING`,
			string(v.Projection), v.Version, int(partition), int64(epoch), s.now())
		if err != nil {
			return err
		}
		found, err := checkpointsOf(ctx, w, &v)
		for i := range found {
			if found[i].Partition == partition {
				c = found[i]
			}
		}
		if err == nil && c.Epoch != epoch {
			return projections.ErrAnotherLog
		}
		return err
	})
	if err != nil {
		return projections.Checkpoint{}, fmt.Errorf("begin %s: %w", v, err)
	}
	return c, nil
}

// first makes a projection's first view if it has none, and checks that there
// is the one asked for.
func (s *Store) first(ctx context.Context, w writer, v projections.View) error {
	any, found := false, false
	err := w.read(ctx, func(scan scan) error {
		var version int
		err := scan(&version)
		any, found = true, found || version == v.Version
		return err
	}, "SELECT version FROM views WHERE projection = $1", string(v.Projection))
	switch {
	case err != nil:
		return err
	case any && !found, v.Version < 1:
		return projections.ErrNoView
	case any:
		return nil
	}
	return s.make(ctx, w, v, true)
}

// make makes a view's tables.
func (s *Store) make(ctx context.Context, w writer, v projections.View, serving bool) error {
	if !v.Projection.Valid() {
		return fmt.Errorf("%w: %s", projections.ErrNoView, v)
	}
	sql, err := definition(string(v.Projection))
	if err != nil {
		return err
	}
	if err := w.script(ctx, of(v, sql)); err != nil {
		return err
	}
	_, err = w.exec(ctx, "INSERT INTO views (projection, version, serving) VALUES ($1, $2, $3)", string(v.Projection), v.Version, serving)
	return err
}

// reads is what both a reader and a writer do.
type reads interface {
	read(ctx context.Context, row func(scan) error, sql string, args ...any) error
}

// checkpointsOf is the checkpoints of one view, or of all.
func checkpointsOf(ctx context.Context, r reads, v *projections.View) (list []projections.Checkpoint, err error) {
	sql := `SELECT c.projection, c.version, v.serving, c.partition, c.epoch, c.seq, c.moved_at, c.stopped_at, c.reason
		FROM checkpoints c JOIN views v ON v.projection = c.projection AND v.version = c.version`
	var args []any
	if v != nil {
		sql += " WHERE c.projection = $1 AND c.version = $2"
		args = []any{string(v.Projection), v.Version}
	}
	err = r.read(ctx, func(scan scan) error {
		var c projections.Checkpoint
		err := scan(&c.Projection, &c.Version, &c.Serving, &c.Partition, &c.Epoch, &c.Seq, moment{&c.MovedAt}, &c.StoppedAt, &c.Reason)
		list = append(list, c)
		return err
	}, sql+" ORDER BY c.projection, c.version, c.partition", args...)
	return list, err
}

func (s *Store) checkpoints(ctx context.Context, v *projections.View) (list []projections.Checkpoint, err error) {
	if err := s.install(ctx); err != nil {
		return nil, err
	}
	err = s.engine.snapshot(ctx, func(r reader) error {
		list, err = checkpointsOf(ctx, r, v)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read checkpoints: %w", err)
	}
	return list, nil
}

func (s *Store) stop(ctx context.Context, v projections.View, partition uint16, seq uint64, reason string) error {
	reason = strings.ToValidUTF8(strings.ReplaceAll(reason, "\x00", "\uFFFD"), "\uFFFD")
	err := s.engine.write(ctx, func(w writer) error {
		n, err := w.exec(ctx, `
			UPDATE checkpoints SET stopped_at = $4, reason = $5 WHERE projection = $1 AND version = $2 AND partition = $3 AND seq < $4`,
			string(v.Projection), v.Version, int(partition), int64(seq), reason)
		if err == nil && n == 0 {
			return projections.ErrStale
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("stop %s at %d: %w", v, seq, err)
	}
	return nil
}

func (s *Store) serving(ctx context.Context, p projections.Projection) (v projections.View, err error) {
	err = s.engine.snapshot(ctx, func(r reader) error {
		v, err = servingOf(ctx, r, p)
		return err
	})
	return v, asNoView(p, err)
}

// asNoView is an error that says so when nothing was ever made.
func asNoView(p projections.Projection, err error) error {
	if errors.Is(err, errDropped) || errors.Is(err, projections.ErrNoView) {
		return fmt.Errorf("%s: %w", p, projections.ErrNoView)
	}
	return err
}

// servingOf is the view that serves, unless it was stopped.
func servingOf(ctx context.Context, r reads, p projections.Projection) (projections.View, error) {
	v := projections.View{Projection: p}
	var stopped *projections.Stopped
	err := r.read(ctx, func(scan scan) error {
		c := projections.Checkpoint{Serving: true}
		err := scan(&v.Version, &c.Partition, &c.Seq, &c.StoppedAt, &c.Reason)
		if c.StoppedAt != 0 && stopped == nil {
			c.View = v
			stopped = &projections.Stopped{Checkpoint: c}
		}
		return err
	}, `SELECT v.version, COALESCE(c.partition, 0), COALESCE(c.seq, 0), COALESCE(c.stopped_at, 0), COALESCE(c.reason, '')
		FROM views v LEFT JOIN checkpoints c ON c.projection = v.projection AND c.version = v.version
		WHERE v.projection = $1 AND v.serving ORDER BY c.partition`, string(p))
	switch {
	case err != nil:
		return v, err
	case stopped != nil:
		return v, stopped
	case v.Version == 0:
		return v, projections.ErrNoView
	}
	return v, nil
}

func (s *Store) startRebuild(ctx context.Context, p projections.Projection) (v projections.View, err error) {
	if err := s.install(ctx); err != nil {
		return v, err
	}
	err = s.engine.write(ctx, func(w writer) error {
		if err := s.alone(ctx, w); err != nil {
			return err
		}
		v = projections.View{Projection: p}
		var newest, serving int
		err := w.read(ctx, func(scan scan) error {
			return scan(&newest, &serving)
		}, "SELECT COALESCE(MAX(version), 0), COALESCE(MAX(CASE WHEN serving THEN version END), 0) FROM views WHERE projection = $1", string(p))
		if err != nil {
			return err
		}
		if v.Version = newest; newest > serving {
			return nil
		}
		v.Version++
		return s.make(ctx, w, v, newest == 0)
	})
	if err != nil {
		return projections.View{}, fmt.Errorf("rebuild %s: %w", p, err)
	}
	return v, nil
}

func (s *Store) switchTo(ctx context.Context, v projections.View) error {
	err := s.engine.write(ctx, func(w writer) error {
		if err := s.alone(ctx, w); err != nil {
			return err
		}
		// Whoever moves a checkpoint meanwhile waits, and finds another view serving.
		if _, err := w.exec(ctx, "UPDATE checkpoints SET seq = seq WHERE projection = $1", string(v.Projection)); err != nil {
			return err
		}
		var exists, behind int
		err := w.read(ctx, func(scan scan) error { return scan(&exists, &behind) }, `
			SELECT (SELECT COUNT(*) FROM views WHERE projection = $1 AND version = $2),
				(SELECT COUNT(*) FROM views s
					JOIN checkpoints o ON o.projection = s.projection AND o.version = s.version
					LEFT JOIN checkpoints n ON n.projection = o.projection AND n.partition = o.partition AND n.version = $2
					WHERE s.projection = $1 AND s.serving AND s.version <> $2
						AND (n.seq IS NULL OR n.stopped_at <> 0 OR (n.epoch = o.epoch AND n.seq < o.seq)))`,
			string(v.Projection), v.Version)
		switch {
		case err != nil:
			return err
		case exists == 0:
			return projections.ErrNoView
		case behind > 0:
			return projections.ErrBehind
		}
		_, err = w.exec(ctx, "UPDATE views SET serving = (version = $2) WHERE projection = $1", string(v.Projection), v.Version)
		return err
	})
	if err != nil {
		return fmt.Errorf("switch to %s: %w", v, err)
	}
	return nil
}

func (s *Store) drop(ctx context.Context, v projections.View) error {
	err := s.engine.write(ctx, func(w writer) error {
		if err := s.alone(ctx, w); err != nil {
			return err
		}
		serving := false
		err := w.read(ctx, func(scan scan) error { return scan(&serving) },
			"SELECT serving FROM views WHERE projection = $1 AND version = $2", string(v.Projection), v.Version)
		if err != nil {
			return err
		}
		if serving {
			return projections.ErrServing
		}
		for _, table := range []string{"checkpoints", "views"} {
			if _, err := w.exec(ctx, "DELETE FROM "+table+" WHERE projection = $1 AND version = $2", string(v.Projection), v.Version); err != nil {
				return err
			}
		}
		tables := tablesOf(v.Projection)
		for i := range tables {
			tables[i] = of(v, tables[i])
		}
		return w.drop(ctx, tables)
	})
	if err != nil {
		return fmt.Errorf("drop %s: %w", v, err)
	}
	return nil
}
