package natslog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/behalf-platform/behalf/domain"
)

// Load reads the events of a stream after a sequence. It may miss the newest,
// but has no gaps.
//
// It goes from the newest back to the one each was appended on. What is asked
// for is nearly always the last one or two, and every step finds its message at
// once, where a search forward would have the server go through all that was
// stored in between.
func (l *Log) Load(ctx context.Context, s domain.Stream, after uint64) ([]domain.Recorded, error) {
	p := l.partitions[domain.PartitionOf(s.Account, len(l.partitions))]
	subject, err := p.state(s)
	if err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	chain, err := l.chain(ctx, p, subject, after)
	if err != nil {
		return nil, fmt.Errorf("load %s after %d: %w", s, after, err)
	}
	var loaded []domain.Recorded
	for _, m := range slices.Backward(chain) {
		r, err := p.decode(m.Subject, m.Header, m.Data, m.Sequence, m.Time)
		if err != nil {
			return loaded, err
		}
		loaded = append(loaded, r)
	}
	return loaded, nil
}

// chain gets the messages of a subject after a sequence, newest first.
func (l *Log) chain(ctx context.Context, p *partition, subject string, after uint64) ([]*jetstream.RawStreamMsg, error) {
	if err := connected(l.conn); err != nil {
		return nil, err
	}
	m, err := l.newest(ctx, p, subject)
	if errors.Is(err, domain.ErrNotRecorded) {
		return nil, nil
	}
	var chain []*jetstream.RawStreamMsg
	for err == nil && m.Sequence > after {
		chain = append(chain, m)
		last, unreadable := lastOf(m.Header)
		if unreadable != nil || last <= after {
			break // decoding says so
		}
		if m, err = l.get(ctx, p, last); err == nil && (m.Subject != subject || m.Sequence != last) {
			err = domain.ErrNotRecorded
		}
		if errors.Is(err, domain.ErrNotRecorded) {
			return nil, fmt.Errorf("the log is damaged: event %d was appended on %d, which is not there", chain[len(chain)-1].Sequence, last)
		}
	}
	return chain, err
}

// newest gets the newest message of a subject. Of replicated streams the leader
// is asked: any server may answer a direct get, and one that lags would have a
// command that changes nothing answered by what is no longer so.
func (l *Log) newest(ctx context.Context, p *partition, subject string) (*jetstream.RawStreamMsg, error) {
	if l.queue != nil {
		return l.ask(ctx, p, question{Last: subject})
	}
	m, err := p.getNewest(ctx, subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, domain.ErrNotRecorded
	}
	return m, err
}

// Read reads the record at a position, or returns [domain.ErrNotRecorded].
func (l *Log) Read(ctx context.Context, at domain.Position) (domain.Recorded, error) {
	p, err := l.partition(at.Partition)
	if err != nil || at.Epoch != p.epoch || at.Seq == 0 {
		return domain.Recorded{}, domain.ErrNotRecorded
	}
	if err := connected(l.conn); err != nil {
		return domain.Recorded{}, err
	}
	m, err := l.get(ctx, p, at.Seq)
	if err != nil {
		return domain.Recorded{}, fmt.Errorf("read %d of partition %d: %w", at.Seq, at.Partition, err)
	}
	return p.decode(m.Subject, m.Header, m.Data, m.Sequence, m.Time)
}

// requestTimeout bounds the wait for the answer to one request, whatever the
// caller's limit. A cluster that is changing leaders may never answer it, and
// answers the next one.
const requestTimeout = 2 * time.Second

// get gets the message at a sequence from any server that has it. One that lags
// may not have it yet, so only the leader is believed when it says no.
func (l *Log) get(ctx context.Context, p *partition, seq uint64) (*jetstream.RawStreamMsg, error) {
	m, err := p.getDirect(ctx, seq)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return l.ask(ctx, p, question{Seq: seq})
	}
	return m, err
}

func (p *partition) getDirect(ctx context.Context, seq uint64) (*jetstream.RawStreamMsg, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return p.stream.GetMsg(ctx, seq)
}

// getNewest gets the newest message of a subject, which may not be the leader's.
func (p *partition) getNewest(ctx context.Context, subject string) (*jetstream.RawStreamMsg, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return p.stream.GetLastMsgForSubject(ctx, subject)
}

// info asks the leader how the stream stands.
func (p *partition) info(ctx context.Context) (*jetstream.StreamInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return p.stream.Info(ctx)
}

// question is what the leader of a stream can be asked for: the message at a
// sequence, the first one of a subject from a sequence or a time on, or the
// last one of a subject. The subject may be a wildcard.
type question struct {
	Seq   uint64     `json:"seq,omitzero"`
	Since *time.Time `json:"start_time,omitzero"`
	Next  string     `json:"next_by_subj,omitzero"`
	Last  string     `json:"last_by_subj,omitzero"`
}

// answer is the server's. The client decodes it only for streams without direct gets.
type answer struct {
	Message *struct {
		Subject string    `json:"subject"`
		Seq     uint64    `json:"seq"`
		Header  []byte    `json:"hdrs"`
		Data    []byte    `json:"data"`
		Time    time.Time `json:"time"`
	} `json:"message"`
	Error *jetstream.APIError `json:"error"`
}

// ask asks the leader of a stream for a message, or returns [domain.ErrNotRecorded].
func (l *Log) ask(ctx context.Context, p *partition, q question) (*jetstream.RawStreamMsg, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	b, err := json.Marshal(q)
	if err != nil {
		return nil, err
	}
	reply, err := l.conn.RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET."+p.name, b)
	if err != nil {
		return nil, err
	}
	var a answer
	if err := json.Unmarshal(reply.Data, &a); err != nil {
		return nil, fmt.Errorf("the server's answer: %w", err)
	}
	switch {
	case a.Error != nil && a.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound:
		return nil, domain.ErrNotRecorded
	case a.Error != nil:
		return nil, a.Error
	case a.Message == nil:
		return nil, errors.New("the server's answer has no message")
	}
	m := &jetstream.RawStreamMsg{Subject: a.Message.Subject, Sequence: a.Message.Seq, Data: a.Message.Data, Time: a.Message.Time}
	if len(a.Message.Header) > 0 {
		if m.Header, err = nats.DecodeHeadersMsg(a.Message.Header); err != nil {
			return nil, fmt.Errorf("header of %d: %w", m.Sequence, err)
		}
	}
	return m, nil
}

// decode makes a record of a message. What it can't read it names.
func (p *partition) decode(subject string, h nats.Header, data []byte, seq uint64, at time.Time) (domain.Recorded, error) {
	of, moves, ok := p.parse(subject)
	unreadable := func(err error) (domain.Recorded, error) {
		return domain.Recorded{}, &domain.Unreadable{Stream: of, Position: p.position(seq), Err: err}
	}
	if !ok {
		return unreadable(fmt.Errorf("subject %q is none of the log's", subject))
	}
	r, err := domain.DecodeRecord(data)
	if err != nil {
		return unreadable(err)
	}
	if r.Stream() != of || r.Moves() != moves || of.Agent == "" && r.Event.Kind() == domain.KindDecisionMade {
		return unreadable(fmt.Errorf("a %s of %s was stored on %s", r.Event.Kind(), r.Stream(), subject))
	}
	last, err := lastOf(h)
	if err != nil {
		return unreadable(err)
	}
	if keep := h.Get(headerKeep); keep != "" {
		if r.Keep, err = keptFor(keep); err != nil || moves {
			return unreadable(fmt.Errorf("header %s: %q on a %s", headerKeep, keep, r.Event.Kind()))
		}
	}
	return domain.Recorded{Record: r, Position: p.position(seq), Last: last, LoggedAt: at.UTC()}, nil
}

func keptFor(text string) (time.Duration, error) {
	seconds, err := strconv.ParseInt(text, 10, 32)
	if err == nil && seconds <= 0 {
		err = strconv.ErrRange
	}
	return time.Duration(seconds) * time.Second, err
}

// lastOf is the sequence a message was appended on.
func lastOf(h nats.Header) (uint64, error) {
	last, err := strconv.ParseUint(h.Get(headerLast), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("header %s: %w", headerLast, err)
	}
	return last, nil
}
