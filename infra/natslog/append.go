package natslog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/behalf-platform/behalf/domain"
)

// The headers of a record. The guard's are the server's own; it stores them.
const (
	headerKind  = "Behalf-Kind"
	headerID    = "Behalf-Id"
	headerLast  = jetstream.ExpectedLastSubjSeqHeader
	headerGuard = jetstream.ExpectedLastSubjSeqSubjHeader
	headerName  = jetstream.MsgIDHeader
	headerKeep  = jetstream.MsgTTLHeader
)

// duplicateInFlight is the server's code for a name whose first append it has
// not finished yet. The client has no constant for it.
const duplicateInFlight jetstream.ErrorCode = 10158

// ackTimeout bounds the wait for an acknowledgement. While nobody leads a
// stream a request may never be answered, and a caller with more time than this
// uses it better by looking what became of it.
const ackTimeout = 3 * time.Second

// errReadOnly is an append to a log that was opened to be read.
var errReadOnly = errors.New("the log was opened to be read only")

// Append stores r if the newest event of its stream is at last, otherwise it
// returns [domain.ErrMoved]. A dedupe that is not empty names the append: while
// the name is remembered, a second one stores nothing and gets the first one's
// receipt. After any other error the outcome is unknown.
func (l *Log) Append(ctx context.Context, last uint64, r domain.Record, dedupe string) (domain.Receipt, error) {
	if l.readOnly {
		return domain.Receipt{}, fmt.Errorf("append: %w", errReadOnly)
	}
	p := l.partitions[domain.PartitionOf(r.Account, len(l.partitions))]
	at, err := p.place(r, last, dedupe)
	if err != nil {
		return domain.Receipt{}, fmt.Errorf("append: %w", err)
	}
	receipt, err := l.append(ctx, p, r, at)
	if err != nil && !errors.Is(err, domain.ErrMoved) {
		return domain.Receipt{}, fmt.Errorf("append to %s: %w", at.subject, err)
	}
	return receipt, err
}

// placed is what an append needs besides the record: where it goes, what guards
// it at which sequence, what it is called, and how long it stays.
type placed struct {
	guard, subject, id string
	last               uint64
	name               string // or empty
	keep               string // in seconds, or empty for ever
}

func (s subjects) place(r domain.Record, last uint64, name string) (placed, error) {
	at := placed{last: last, name: name, id: string(r.ID)}
	if r.Event == nil {
		return placed{}, fmt.Errorf("record %s has no event", r.ID)
	}
	of := r.Stream()
	var err error
	if at.guard, err = s.state(of); err != nil {
		return placed{}, err
	}
	at.subject = at.guard
	if d, ok := r.Event.(domain.DecisionMade); ok {
		if at.id = string(d.RequestID); r.Agent == "" {
			return placed{}, fmt.Errorf("decision %s is of no agent", r.ID)
		}
	}
	if !r.Moves() {
		at.subject, err = s.decision(of)
		at.keep = keepText(r.Keep)
	}
	return at, err
}

// keepText is how the server is told how long to keep a message, in seconds.
func keepText(keep time.Duration) string {
	if keep <= 0 {
		return ""
	}
	return strconv.FormatInt(int64((keep+time.Second-1)/time.Second), 10)
}

func (l *Log) append(ctx context.Context, p *partition, r domain.Record, at placed) (domain.Receipt, error) {
	ctx, cancel := context.WithTimeout(ctx, ackTimeout)
	defer cancel()
	if l.queue != nil {
		leave, err := l.queue.enter(ctx, at.guard)
		if err != nil {
			return domain.Receipt{}, err
		}
		defer leave()
	}
	ack, err := l.publish(ctx, p, r, at)
	if errors.Is(err, domain.ErrMoved) && at.name != "" && at.subject == at.guard {
		// It may have moved by this very append, made before. A single server
		// looks at the guard first and then doesn't look at the name.
		ack, err = p.newestNamed(ctx, at)
	}
	if err != nil {
		return domain.Receipt{}, err
	}
	if err := l.Settle(ctx); err != nil {
		return domain.Receipt{}, fmt.Errorf("make %d durable: %w", ack.Seq, err)
	}
	return domain.Receipt{Position: p.position(ack.Seq), Duplicate: ack.Duplicate}, nil
}

// Settle returns when all that can be read is as durable as what Append
// acknowledges.
func (l *Log) Settle(ctx context.Context) error {
	if l.barrier == nil {
		return nil
	}
	return l.barrier(ctx)
}

// publish sends the record once and waits for the answer.
func (l *Log) publish(ctx context.Context, p *partition, r domain.Record, at placed) (ack, error) {
	if err := connected(l.conn); err != nil {
		return ack{}, err
	}
	m := messages.Get().(*message)
	defer messages.Put(m) // the client copies it before it waits
	if err := m.write(r, at); err != nil {
		return ack{}, err
	}
	reply, err := l.conn.RequestMsgWithContext(ctx, &m.Msg)
	if err != nil {
		return ack{}, err
	}
	return p.parseAck(reply.Data)
}

// message is what is published, made to be used again: the header's values are
// in one array.
type message struct {
	nats.Msg
	values [6]string
}

var messages = sync.Pool{New: func() any { return newMessage() }}

func newMessage() *message {
	m := &message{}
	m.Header = make(nats.Header, len(m.values))
	for i, key := range [...]string{headerKind, headerID, headerLast, headerGuard} {
		m.Header[key] = m.values[i : i+1]
	}
	return m
}

func (m *message) write(r domain.Record, at placed) (err error) {
	m.Subject = at.subject
	m.values = [...]string{string(r.Event.Kind()), at.id, strconv.FormatUint(at.last, 10), at.guard, at.name, at.keep}
	m.optional(headerName, 4)
	m.optional(headerKeep, 5)
	m.Data, err = r.Append(m.Data[:0])
	return err
}

// optional has the header say a value if there is one.
func (m *message) optional(key string, i int) {
	if m.values[i] == "" {
		delete(m.Header, key)
	} else {
		m.Header[key] = m.values[i : i+1]
	}
}

// ack is how the server answers an append. Batch and Count are of a batch, whose
// last sequence Seq is.
type ack struct {
	Seq       uint64              `json:"seq"`
	Duplicate bool                `json:"duplicate"`
	Batch     string              `json:"batch"`
	Count     int                 `json:"count"`
	Error     *jetstream.APIError `json:"error"`
}

func (p *partition) parseAck(b []byte) (ack, error) {
	// Nearly all look like this.
	if rest, ok := bytes.CutPrefix(b, p.acked); ok {
		if digits, ok := bytes.CutSuffix(rest, []byte("}")); ok {
			if seq, err := strconv.ParseUint(string(digits), 10, 64); err == nil {
				return ack{Seq: seq}, nil
			}
		}
	}
	var a ack
	if err := json.Unmarshal(b, &a); err != nil {
		return ack{}, fmt.Errorf("the server's answer: %w", err)
	}
	if a.Error != nil {
		return ack{}, refused(a.Error)
	}
	if a.Seq == 0 {
		return ack{}, fmt.Errorf("the server's answer has no sequence: %q", b)
	}
	return a, nil
}

// refused turns the server's refusal into ours. A stream says that it has moved
// in two ways: that the newest message is another one, and, if it is
// replicated, that it doesn't know because another append is in flight. A batch
// that is not whole says nothing about the stream, but it wasn't written either.
func refused(err *jetstream.APIError) error {
	switch err.ErrorCode {
	case jetstream.JSErrCodeStreamWrongLastSequence, jetstream.JSErrCodeStreamWrongLastSequenceConstant, duplicateInFlight,
		batchIncomplete, tooManyBatches:
		return domain.ErrMoved
	}
	return err
}

// newestNamed answers an append of a name that the newest event has.
func (p *partition) newestNamed(ctx context.Context, at placed) (ack, error) {
	newest, err := p.getNewest(ctx, at.guard)
	if errors.Is(err, jetstream.ErrMsgNotFound) || err == nil && newest.Header.Get(headerName) != at.name {
		return ack{}, domain.ErrMoved
	}
	if err != nil {
		return ack{}, err
	}
	return ack{Seq: newest.Sequence, Duplicate: true}, nil
}
