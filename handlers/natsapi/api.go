// Package natsapi is Behalf as a NATS micro service: the same operations, the
// same JSON, errors by the service's error headers.
package natsapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/behalf-platform/behalf/handlers"
)

// Config says what to serve, and where.
type Config struct {
	Conn *nats.Conn
	Desk *handlers.Desk
	Logs *slog.Logger
	// Version is shown by service discovery, as major.minor.patch.
	Version string
	// MostInFlight bounds the requests that are worked on at once. One above it
	// is answered as unavailable at once, which beats a place in a queue whose
	// end its caller won't wait for.
	MostInFlight int
}

// Service answers requests until it is stopped.
type Service struct {
	Config
	service micro.Service
	// jobs hands requests to workers that are waiting for one.
	jobs    chan func()
	stopped chan struct{}
	workers sync.WaitGroup
}

// operation answers one request's body for a caller.
type operation func(ctx context.Context, d *handlers.Desk, c handlers.Caller, body []byte) ([]byte, error)

// Start begins to serve. Requests in flight see ctx, and are waited for by Stop.
func Start(ctx context.Context, cfg Config) (*Service, error) {
	s := &Service{Config: cfg, jobs: make(chan func()), stopped: make(chan struct{})}
	service, err := micro.AddService(cfg.Conn, micro.Config{
		Name: "behalf", Version: cfg.Version,
		Description: "Permission passports for agents: asks whether an agent may do an action now.",
	})
	if err != nil {
		return nil, fmt.Errorf("add the NATS service behalf: %w", err)
	}
	s.service = service
	// Workers that stay keep the stacks that a request once made them grow.
	for range cfg.MostInFlight {
		s.workers.Go(s.work)
	}
	group := service.AddGroup("behalf.v1")
	for name, op := range map[string]operation{"verify": verify, "preview": preview, "passport": passport} {
		handle := micro.HandlerFunc(func(r micro.Request) { s.take(ctx, op, r) })
		if err := group.AddEndpoint(name, handle); err != nil {
			return nil, errors.Join(fmt.Errorf("add the NATS endpoint %s: %w", name, err), s.Stop())
		}
	}
	return s, nil
}

// Stop takes no more requests and waits until those in flight are answered.
func (s *Service) Stop() error {
	err := s.service.Stop()
	close(s.stopped)
	s.workers.Wait()
	return err
}

func (s *Service) work() {
	for {
		select {
		case job := <-s.jobs:
			job()
		case <-s.stopped:
			return
		}
	}
}

// take hands a request to a worker: the subscription calls it for one request
// after another.
func (s *Service) take(ctx context.Context, op operation, r micro.Request) {
	if !answerable(r.Reply()) {
		return
	}
	select {
	case s.jobs <- func() { s.answer(ctx, op, r) }:
	case <-s.stopped: // it was on its way when the subscription ended
		s.fail(ctx, r.Reply(), &handlers.Unavailable{Public: "this node is shutting down; try again"})
	default:
		s.fail(ctx, r.Reply(), &handlers.Unavailable{Public: "this node has more requests than it can work on; try again"})
	}
}

func (s *Service) answer(ctx context.Context, op operation, r micro.Request) {
	caller, err := s.Desk.Admit(ctx, address, r.Headers().Get("Authorization"))
	var body []byte
	if err == nil {
		body, err = op(ctx, s.Desk, caller, r.Data())
	}
	if err != nil {
		s.fail(ctx, r.Reply(), err)
		return
	}
	// Not through the request: it notes a failed answer where the subscription
	// reads it without a lock.
	if err := s.Conn.Publish(r.Reply(), body); err != nil {
		s.Logs.WarnContext(ctx, "answer a request", slog.Any("error", err))
	}
}

// address is not known: NATS doesn't tell a service where a message came from.
const address = ""

func (s *Service) fail(ctx context.Context, reply string, err error) {
	f := handlers.FaultOf(err)
	if f.Status >= 500 {
		s.Desk.Faults.Tell(ctx, "nats", err)
	}
	body, err := handlers.EncodeFault(f)
	if err != nil {
		s.Logs.ErrorContext(ctx, "encode error body", slog.Any("error", err))
	}
	answer := nats.NewMsg(reply)
	answer.Header.Set(micro.ErrorHeader, f.Code)
	answer.Header.Set(micro.ErrorCodeHeader, strconv.Itoa(f.Status))
	if f.Retry > 0 {
		answer.Header.Set("Retry-After", f.RetryAfter())
	}
	answer.Data = body
	if err := s.Conn.PublishMsg(answer); err != nil {
		s.Logs.WarnContext(ctx, "answer a request", slog.Any("error", err))
	}
}

// answerable reports whether a reply subject is an inbox. The caller chooses
// it, and this service may publish to subjects the caller may not, the log's
// own among them.
func answerable(reply string) bool {
	return strings.HasPrefix(reply, "_INBOX.") || strings.HasPrefix(reply, "_INBOX_") || strings.HasPrefix(reply, "_R_.")
}

func verify(ctx context.Context, d *handlers.Desk, c handlers.Caller, body []byte) ([]byte, error) {
	r, err := d.VerifyFor(ctx, c, body)
	if err != nil {
		return nil, err
	}
	return handlers.EncodePacket(nil, r)
}

func preview(ctx context.Context, d *handlers.Desk, c handlers.Caller, body []byte) ([]byte, error) {
	view, err := d.PreviewFor(ctx, c, body)
	if err != nil {
		return nil, err
	}
	return handlers.Encode(view)
}

func passport(ctx context.Context, d *handlers.Desk, c handlers.Caller, body []byte) ([]byte, error) {
	if len(body) > 0 {
		if err := handlers.Decode(body, &struct{}{}); err != nil {
			return nil, err
		}
	}
	view, err := d.PassportFor(ctx, c)
	if err != nil {
		return nil, err
	}
	return handlers.Encode(view)
}
