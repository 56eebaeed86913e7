package natsevents

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/behalf-platform/behalf/projections"
)

const (
	headerCursor      = "Behalf-Cursor"
	headerContentType = "Content-Type"
	cloudEventJSON    = "application/cloudevents+json"
	plainJSON         = "application/json"
)

// errMoved says that the stream's newest event is another than the one that was
// to be followed: somebody else publishes, or an earlier publish of ours did
// land. Nothing was stored out of order.
var errMoved = errors.New("the public stream has moved")

// append stores events in order after the stream's newest, which is at sequence
// last, and returns the sequence of the newest then. After an error some of the
// first of them may have been stored, and none of the others ever will be.
func (e *Events) append(ctx context.Context, last uint64, events []projections.PublicEvent) (uint64, error) {
	if !e.Conn.IsConnected() { // the client would keep them, and send them much later
		return 0, fmt.Errorf("nats is %s: %w", e.Conn.Status(), nats.ErrDisconnected)
	}
	for len(events) > 0 {
		some := events[:min(len(events), mostInFlight)]
		acks := make([]jetstream.PubAckFuture, 0, len(some))
		for i := range some {
			ack, err := e.js.PublishMsgAsync(e.message(&some[i]),
				jetstream.WithMsgID(some[i].ID()), jetstream.WithExpectLastSequence(last+uint64(i)), jetstream.WithExpectStream(StreamName))
			if err != nil {
				return 0, err
			}
			acks = append(acks, ack)
		}
		stored, skipped := len(some), 0
		for i, ack := range acks {
			err := acked(ctx, ack, last+uint64(i)+1)
			if errors.Is(err, errThere) { // those after it are refused
				stored, skipped = i, 1
				break
			}
			if err != nil {
				return 0, fmt.Errorf("publish %s: %w", some[i].ID(), err)
			}
		}
		last, events = last+uint64(stored), events[stored+skipped:]
	}
	return last, nil
}

// errThere says that the event was published before, though the stream doesn't
// say so any more: its end was removed, by its limits, before the checkpoint.
var errThere = errors.New("it was published before")

// acked waits for the acknowledgement of a message that was to be stored at seq.
func acked(ctx context.Context, ack jetstream.PubAckFuture, seq uint64) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case err := <-ack.Err():
		if moved(err) {
			return errMoved
		}
		return err
	case ok := <-ack.Ok():
		if ok.Duplicate {
			return errThere
		}
		if ok.Sequence != seq {
			return errMoved
		}
		return nil
	}
}

// moved reports whether the server refused a write because the stream has a
// newer message. Replicated streams answer with a code of their own.
func moved(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) &&
		(api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}

// message is an event as it is published.
func (e *Events) message(p *projections.PublicEvent) *nats.Msg {
	m := nats.NewMsg(p.Subject())
	m.Header[headerCursor] = []string{p.Cursor().String()}
	if !e.Binary {
		m.Header[headerContentType] = []string{cloudEventJSON}
		m.Data = p.AppendCloudEvent(make([]byte, 0, len(p.Data)+512))
		return m
	}
	m.Header[headerContentType] = []string{plainJSON}
	m.Data = p.Data
	for _, a := range attributes(p) {
		// Names as the binding has them, and values percent-encoded.
		m.Header["ce-"+a.name] = []string{url.PathEscape(a.value)}
	}
	return m
}

type attribute struct{ name, value string }

// attributes are those of the CloudEvent, in the order of its structured form,
// but for the type of the data.
func attributes(p *projections.PublicEvent) []attribute {
	list := []attribute{
		{"specversion", "1.0"},
		{"id", p.ID()},
		{"source", p.Source()},
		{"type", string(p.Type)},
		{"subject", string(p.Agent)},
		{"time", p.At.UTC().Format(time.RFC3339Nano)},
		{"dataschema", p.DataSchema()},
		{"sequence", p.Sequence()},
		{"cursor", p.Cursor().String()},
	}
	if p.Agent == "" {
		list = append(list[:4], list[5:]...)
	}
	return list
}

// structured is a published event as structured JSON, in whichever mode it was
// published.
func structured(header nats.Header, data []byte) ([]byte, error) {
	if len(header["ce-specversion"]) == 0 {
		return data, nil
	}
	out := []byte{'{'}
	for _, name := range []string{"specversion", "id", "source", "type", "subject", "time", "", "dataschema", "sequence", "cursor"} {
		if name == "" {
			out = append(out, `"datacontenttype":"application/json",`...)
			continue
		}
		values := header["ce-"+name]
		if len(values) == 0 {
			continue
		}
		value, err := url.PathUnescape(values[0])
		if err != nil || strings.ContainsAny(value, "\"\\\x00") {
			return nil, fmt.Errorf("the attribute %s is %q", name, values[0])
		}
		out = append(append(append(append(append(out, '"'), name...), `":"`...), value...), `",`...)
	}
	out = append(append(out, `"data":`...), data...)
	return append(out, '}'), nil
}
