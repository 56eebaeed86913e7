package natsshadow

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/behalf-platform/behalf/domain"
)

const (
	headerKind = "Behalf-Kind"
	headerID   = "Behalf-Id"
)

// Append stores r if the newest record of its agent is at last (0: none),
// otherwise it returns [domain.ErrMoved]. After any other error the outcome is
// unknown. It survives the end of the process at once, and a loss of power once
// the server has synced its files: what was decided and is lost is decided again.
func (l *Log) Append(ctx context.Context, last uint64, r domain.ShadowRecord) (uint64, error) {
	subject, err := subjectOf(r.Stream())
	if err != nil {
		return 0, fmt.Errorf("append: %w", err)
	}
	if r.Event == nil {
		return 0, fmt.Errorf("append: record %s has no event", r.ID)
	}
	if err := l.connected(); err != nil {
		return 0, fmt.Errorf("append to %s: %w", subject, err)
	}
	m := nats.NewMsg(subject)
	m.Header.Set(headerKind, string(r.Event.Kind()))
	m.Header.Set(headerID, string(r.ID))
	if m.Data, err = r.Append(nil); err != nil {
		return 0, fmt.Errorf("append: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	ack, err := l.js.PublishMsg(ctx, m, jetstream.WithExpectStream(StreamName),
		jetstream.WithExpectLastSequenceForSubject(last, subject), jetstream.WithRetryAttempts(0))
	if moved(err) {
		return 0, domain.ErrMoved
	}
	if err != nil {
		return 0, fmt.Errorf("append to %s: %w", subject, err)
	}
	return ack.Sequence, nil
}

// moved reports whether the server refused a write because the subject has a
// newer message, or because another one is in flight.
func moved(err error) bool {
	api, ok := errors.AsType[*jetstream.APIError](err)
	return ok && (api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence ||
		api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}

// Newest is the newest record of an agent, or [domain.ErrNotRecorded].
func (l *Log) Newest(ctx context.Context, of domain.Stream) (domain.ShadowRecorded, error) {
	subject, err := subjectOf(of)
	if err != nil {
		return domain.ShadowRecorded{}, fmt.Errorf("read: %w", err)
	}
	return l.get(ctx, of, subject, func(ctx context.Context) (*jetstream.RawStreamMsg, error) {
		return l.stream.GetLastMsgForSubject(ctx, subject)
	})
}

// Read is the record of an agent at a sequence, or [domain.ErrNotRecorded].
func (l *Log) Read(ctx context.Context, of domain.Stream, seq uint64) (domain.ShadowRecorded, error) {
	subject, err := subjectOf(of)
	if err != nil {
		return domain.ShadowRecorded{}, fmt.Errorf("read: %w", err)
	}
	if seq == 0 {
		return domain.ShadowRecorded{}, domain.ErrNotRecorded
	}
	return l.get(ctx, of, subject, func(ctx context.Context) (*jetstream.RawStreamMsg, error) {
		return l.stream.GetMsg(ctx, seq)
	})
}

// get asks the leader of the stream for a message.
func (l *Log) get(ctx context.Context, of domain.Stream, subject string, ask func(context.Context) (*jetstream.RawStreamMsg, error)) (domain.ShadowRecorded, error) {
	if err := l.connected(); err != nil {
		return domain.ShadowRecorded{}, fmt.Errorf("read %s: %w", subject, err)
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	m, err := ask(ctx)
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound), err == nil && m.Subject != subject:
		return domain.ShadowRecorded{}, domain.ErrNotRecorded
	case err != nil:
		return domain.ShadowRecorded{}, fmt.Errorf("read %s: %w", subject, err)
	}
	r, err := domain.DecodeShadowRecord(m.Data)
	if err == nil && r.Stream() != of {
		err = fmt.Errorf("a record of %s was stored there", r.Stream())
	}
	if err != nil {
		return domain.ShadowRecorded{}, fmt.Errorf("read %d of %s: %w", m.Sequence, subject, err)
	}
	return domain.ShadowRecorded{ShadowRecord: r, Seq: m.Sequence}, nil
}

// connected reports an error when a request could not be sent now. Without it
// the client would keep an append, and send it when its caller has long gone.
func (l *Log) connected() error {
	if !l.conn.IsConnected() {
		return fmt.Errorf("nats is %s: %w", l.conn.Status(), nats.ErrDisconnected)
	}
	return nil
}

// subjectOf is an agent's subject. It refuses what is no id, so that nothing is
// ever published to, or guarded by, a wildcard.
func subjectOf(s domain.Stream) (string, error) {
	if s.Budget || !domain.ValidID(string(s.Account)) || !domain.ValidID(string(s.Agent)) {
		return "", fmt.Errorf("%q is not an agent", s)
	}
	return prefix + string(s.Account) + "." + string(s.Agent), nil
}

// parse is the inverse of subjectOf.
func parse(subject string) (domain.Stream, bool) {
	ids, ok := strings.CutPrefix(subject, prefix)
	account, agent, _ := strings.Cut(ids, ".")
	return domain.Stream{Account: domain.AccountID(account), Agent: domain.AgentID(agent)},
		ok && domain.ValidID(account) && domain.ValidID(agent)
}
