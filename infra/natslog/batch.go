package natslog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/behalf-platform/behalf/domain"
)

// The headers of a message of an atomic batch, which the server stores too. The
// client has no publisher of batches yet, and these have no constants.
const (
	headerBatch       = "Nats-Batch-Id"
	headerBatchSeq    = "Nats-Batch-Sequence"
	headerBatchCommit = "Nats-Batch-Commit"
	commit            = "1"
)

// The server's codes for a batch that it has not written.
const (
	// batchIncomplete is a batch that lacks a message: the leader changed in
	// between, or the first one was one batch too many.
	batchIncomplete jetstream.ErrorCode = 10176
	tooManyBatches  jetstream.ErrorCode = 10210
	// batchNamedBefore is a batch with a message of a name that is remembered.
	batchNamedBefore jetstream.ErrorCode = 10201
	// rollUpRefused is a message that would remove others.
	rollUpRefused jetstream.ErrorCode = 10111
)

// mostBatches bounds the batches that are open at a time for a partition. The
// server holds fifty for a stream, those of all nodes and those that a lost
// connection left behind, and refuses more.
const mostBatches = 16

// AppendAll stores all records or none, in order and with nothing in between,
// each if the newest event of its own stream is at its Last, otherwise it
// returns [domain.ErrMoved]. They are of one account and of different streams.
// A dedupe that is not empty names the first: while the name is remembered, a
// second append of it stores nothing and gets one receipt, the first one's.
// After any other error the outcome is unknown. A single record is appended as
// by Append.
func (l *Log) AppendAll(ctx context.Context, records []domain.Guarded, dedupe string) ([]domain.Receipt, error) {
	if len(records) == 1 {
		receipt, err := l.Append(ctx, records[0].Last, records[0].Record, dedupe)
		if err != nil {
			return nil, err
		}
		return []domain.Receipt{receipt}, nil
	}
	if l.readOnly {
		return nil, fmt.Errorf("append all: %w", errReadOnly)
	}
	p, at, err := l.placeAll(records, dedupe)
	if err != nil {
		return nil, fmt.Errorf("append all: %w", err)
	}
	receipts, err := l.appendAll(ctx, p, records, at)
	if err != nil && !errors.Is(err, domain.ErrMoved) {
		return nil, fmt.Errorf("append %d from %s on: %w", len(records), at[0].subject, err)
	}
	return receipts, err
}

// placeAll places all records of a batch, or says why they are none.
func (l *Log) placeAll(records []domain.Guarded, name string) (*partition, []placed, error) {
	if len(records) == 0 {
		return nil, nil, errors.New("there is no record")
	}
	p := l.partitions[domain.PartitionOf(records[0].Account, len(l.partitions))]
	all := make([]placed, len(records))
	for i, r := range records {
		at, err := p.place(r.Record, r.Last, name)
		switch {
		case err != nil:
			return nil, nil, err
		case r.Account != records[0].Account:
			return nil, nil, fmt.Errorf("record %s is of another account than %s", r.ID, records[0].ID)
		case slices.ContainsFunc(all[:i], func(o placed) bool { return o.guard == at.guard }):
			return nil, nil, fmt.Errorf("record %s is the second one of %s", r.ID, r.Stream())
		}
		all[i], name = at, "" // it names the first
	}
	return p, all, nil
}

func (l *Log) appendAll(ctx context.Context, p *partition, records []domain.Guarded, at []placed) ([]domain.Receipt, error) {
	ctx, cancel := context.WithTimeout(ctx, ackTimeout)
	defer cancel()
	if l.queue != nil {
		leave, err := l.queue.enterAll(ctx, guards(at))
		if err != nil {
			return nil, err
		}
		defer leave()
	}
	select {
	case p.batches <- struct{}{}:
		defer func() { <-p.batches }()
	case <-ctx.Done():
	}
	if err := ctx.Err(); err != nil { // both may have been ready
		return nil, err
	}
	ack, err := l.publishAll(ctx, p, records, at)
	var api *jetstream.APIError
	if errors.As(err, &api) && api.ErrorCode == batchNamedBefore {
		ack, err = l.named(ctx, p, at[0])
	}
	if err != nil {
		return nil, err
	}
	if err := l.Settle(ctx); err != nil {
		return nil, fmt.Errorf("make %d durable: %w", ack.Seq, err)
	}
	if ack.Duplicate {
		return []domain.Receipt{{Position: p.position(ack.Seq), Duplicate: true}}, nil
	}
	receipts := make([]domain.Receipt, len(records))
	for i := range receipts {
		receipts[i].Position = p.position(ack.Seq - uint64(len(records)-1-i))
	}
	return receipts, nil
}

func guards(at []placed) []string {
	names := make([]string, len(at))
	for i := range at {
		names[i] = at[i].guard
	}
	return names
}

// publishAll sends the records once, as one batch, and waits for the answer to
// the last, which commits them. Only that one is answered at all: the server
// counts, and refuses a batch that it doesn't have in full.
func (l *Log) publishAll(ctx context.Context, p *partition, records []domain.Guarded, at []placed) (ack, error) {
	if err := connected(l.conn); err != nil {
		return ack{}, err
	}
	id := nuid.Next()
	batch := make([]*message, len(records)) // made before any is sent
	for i, r := range records {
		m := newMessage()
		if err := m.write(r.Record, at[i]); err != nil {
			return ack{}, err
		}
		m.Header[headerBatch] = []string{id}
		m.Header[headerBatchSeq] = []string{strconv.Itoa(i + 1)}
		batch[i] = m
	}
	last := batch[len(batch)-1]
	last.Header[headerBatchCommit] = []string{commit}
	for _, m := range batch[:len(batch)-1] {
		if err := l.conn.PublishMsg(&m.Msg); err != nil {
			return ack{}, err
		}
	}
	// Sent whatever becomes of the caller: a batch that is begun and not ended
	// stays open at the server, which has room for few.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), ackTimeout)
	defer cancel()
	reply, err := l.conn.RequestMsgWithContext(ctx, &last.Msg)
	if err != nil {
		return ack{}, err
	}
	a, err := p.parseAck(reply.Data)
	if err != nil {
		return ack{}, err
	}
	if a.Batch != id || a.Count != len(records) || a.Seq < uint64(a.Count) {
		return ack{}, fmt.Errorf("the server's answer is not for a batch of %d: %q", len(records), reply.Data)
	}
	return a, nil
}

// named finds the append that a name is remembered for. The server says that it
// remembers the name of a batch, but not where. It does for a single message,
// which it would store, though, if it had forgotten the name meanwhile. So this
// message asks for the ones before it to be removed: that is what the server
// looks at next, and this stream denies it.
func (l *Log) named(ctx context.Context, p *partition, at placed) (ack, error) {
	reply, err := l.conn.RequestMsgWithContext(ctx, &nats.Msg{
		Subject: at.subject,
		Header:  nats.Header{headerName: {at.name}, jetstream.MsgRollup: {jetstream.MsgRollupSubject}},
	})
	if err != nil {
		return ack{}, err
	}
	a, err := p.parseAck(reply.Data)
	var api *jetstream.APIError
	switch {
	case errors.As(err, &api) && api.ErrorCode == rollUpRefused:
		return ack{}, domain.ErrMoved // it is forgotten: the next attempt stores it
	case err == nil && !a.Duplicate:
		return ack{}, fmt.Errorf("the server stored at %d what asked for the name %q", a.Seq, at.name)
	}
	return a, err
}
