package sqlviews

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/behalf-platform/behalf/projections"
)

const (
	// silence is how long the server waits for word from the owner before it
	// ends its session, and the lock with it.
	silence = 4 * time.Second
	// beat is how often the owner gives word, and how often others ask.
	beat = 500 * time.Millisecond
)

var errNotOwner = errors.New("another session has the lock")

func (p *postgres) own(ctx context.Context, of projections.Projection) (release func(), lost <-chan struct{}, err error) {
	var conn *pgx.Conn
	for {
		if conn, err = p.session(ctx, conn, of); err == nil {
			break
		}
		if !errors.Is(err, errNotOwner) && ctx.Err() == nil {
			p.log.WarnContext(ctx, "can't ask for the lock of a projection", slog.String("projection", string(of)), slog.Any("error", err))
		}
		select {
		case <-ctx.Done():
			if conn != nil {
				hangUp(conn)
			}
			return nil, nil, context.Cause(ctx)
		case <-time.After(beat):
		}
	}
	gone := make(chan struct{})
	beatCtx, stop := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(gone)
		defer hangUp(conn)
		err := hold(beatCtx, conn)
		if beatCtx.Err() == nil {
			p.log.WarnContext(ctx, "lost the lock of a projection", slog.String("projection", string(of)), slog.Any("error", err))
		}
	})
	return func() { stop(); wg.Wait() }, gone, nil
}

// session asks for the lock, on a connection of its own that is made if there is
// none. It returns [errNotOwner], and the connection, when another has the lock.
func (p *postgres) session(ctx context.Context, conn *pgx.Conn, of projections.Projection) (*pgx.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, silence)
	defer cancel()
	if conn == nil {
		cfg := p.pool.Config().ConnConfig
		cfg.RuntimeParams["application_name"] = "behalf projector"
		cfg.RuntimeParams["idle_session_timeout"] = silence.String()
		var err error
		if conn, err = pgx.ConnectConfig(ctx, cfg); err != nil {
			return nil, err
		}
	}
	var mine bool
	err := conn.QueryRow(ctx, "SELECT pg_try_advisory_lock(hashtextextended('behalf ' || current_schema() || ' ' || $1, 0))", string(of)).Scan(&mine)
	switch {
	case err != nil:
		hangUp(conn)
		return nil, err
	case !mine:
		return conn, errNotOwner
	}
	return conn, nil
}

// hold gives word on a session until that fails or ctx ends.
func hold(ctx context.Context, conn *pgx.Conn) error {
	tick := time.NewTicker(beat)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		pingCtx, cancel := context.WithTimeout(ctx, silence-2*beat)
		err := conn.Ping(pingCtx)
		cancel()
		if err != nil {
			return err
		}
	}
}

// hangUp ends a session, waiting a moment for the server to know.
func hangUp(conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = conn.Close(ctx) // it is closed here whatever the server says
}
