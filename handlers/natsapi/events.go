package natsapi

import (
	"bytes"
	"context"

	"github.com/nats-io/nats.go"

	"github.com/behalf-platform/behalf/handlers"
)

// waitsForEvents reports whether a request for events waits. One that can't be
// read doesn't: it is refused at once.
func waitsForEvents(body []byte) bool {
	var in handlers.EventsAsk
	return handlers.DecodeGrant(body, &in) == nil && in.Wait > 0
}

// readEvents answers with a page of public events. Members pull them here, not
// from JetStream: it sends what is pulled, and every other answer, to whatever
// subject is asked, the log's own among them.
func readEvents(ctx context.Context, s *Service, c handlers.Caller, body []byte) (*nats.Msg, error) {
	var in handlers.EventsAsk
	if len(body) > 0 {
		if err := handlers.DecodeGrant(body, &in); err != nil {
			return nil, err
		}
	}
	// It ends when the service stops; who waits is answered with nothing then.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.stopping, cancel)()
	events, err := s.Desk.EventPageFor(ctx, c, in)
	if s.stopping.Err() != nil {
		err = errStopping
	}
	if err != nil {
		return nil, err
	}
	reply := append([]byte(`{"events":[`), bytes.Join(events, []byte{','})...)
	return &nats.Msg{Data: append(reply, `]}`...)}, nil
}
