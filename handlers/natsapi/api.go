// Package natsapi is Behalf as a NATS micro service: the same operations, the
// same JSON, errors by the service's error headers.
package natsapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/behalf-platform/behalf/domain"
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
	// MostWaits bounds the requests that wait for people, none of which keeps a
	// worker. One caller has at most [handlers.MostWaits] of them.
	MostWaits int
}

// Service answers requests until it is stopped.
type Service struct {
	Config
	service micro.Service
	// jobs hands requests to workers that are waiting for one.
	jobs    chan func()
	workers sync.WaitGroup
	// stopping is done when the service stops, which ends what waits for people.
	stopping context.Context
	stop     context.CancelFunc
	// waiting are the goroutines of requests that may wait for people: none of
	// them keeps a worker.
	waiting sync.WaitGroup

	mu sync.Mutex
	// All below are guarded by mu: how many requests wait, of all callers and of
	// each, and that no more may.
	waits   int
	waitsOf map[waiter]int
	stopped bool

	replays replays
}

// waiter is who waits, whatever their credential is by then.
type waiter struct {
	agent  domain.Stream
	member domain.MemberID
}

// operation is how one kind of request is answered.
type operation struct {
	// answer is the reply to a request's body.
	answer func(ctx context.Context, s *Service, c handlers.Caller, body []byte) (*nats.Msg, error)
	// reads says that it decides nothing, and takes nothing of what an agent may
	// verify.
	reads bool
	// waits reports whether a request with such a body may take until people have
	// answered. If it is nil, none does.
	waits func(body []byte) bool
}

// Start begins to serve. Requests in flight see ctx, and are waited for by Stop.
func Start(ctx context.Context, cfg Config) (*Service, error) {
	s := &Service{Config: cfg, jobs: make(chan func()), waitsOf: map[waiter]int{}}
	s.stopping, s.stop = context.WithCancel(ctx)
	service, err := micro.AddService(cfg.Conn, micro.Config{
		Name: "behalf", Version: cfg.Version,
		Description: "Permission passports for agents: asks whether an agent may do an action now.",
	})
	if err != nil {
		s.stop()
		return nil, fmt.Errorf("add the NATS service behalf: %w", err)
	}
	s.service = service
	// Workers that stay keep the stacks that a request once made them grow.
	for range cfg.MostInFlight {
		s.workers.Go(s.work)
	}
	group := service.AddGroup("behalf.v1")
	for name, op := range map[string]operation{
		"verify":           {answer: verify},
		"preview":          {answer: preview},
		"passport":         {answer: passport},
		"outcome":          {answer: outcome},
		"approvals.get":    {answer: approval, reads: true, waits: waits},
		"approvals.list":   {answer: approvals, reads: true},
		"approvals.cancel": {answer: cancel},
		"replay":           {answer: replay, reads: true},
		"events.read":      {answer: readEvents, reads: true, waits: waitsForEvents},
	} {
		handle := micro.HandlerFunc(func(r micro.Request) { s.take(ctx, op, r) })
		// A name has no dots.
		if err := group.AddEndpoint(strings.ReplaceAll(name, ".", "-"), handle, micro.WithEndpointSubject(name)); err != nil {
			return nil, errors.Join(fmt.Errorf("add the NATS endpoint %s: %w", name, err), s.Stop())
		}
	}
	return s, nil
}

// Stop takes no more requests and waits until those in flight are answered;
// those that wait for people are answered at once.
func (s *Service) Stop() error {
	err := s.service.Stop()
	s.mu.Lock()
	s.stopped = true
	s.mu.Unlock()
	s.stop()
	s.workers.Wait()
	s.waiting.Wait()
	return err
}

func (s *Service) work() {
	for {
		select {
		case job := <-s.jobs:
			job()
		case <-s.stopping.Done():
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
	case <-s.stopping.Done():
		s.fail(ctx, r.Reply(), errStopping)
	default:
		s.fail(ctx, r.Reply(), errBusy)
	}
}

var (
	// errStopping is for what was on its way when the subscription ended.
	errStopping = &handlers.Unavailable{Public: "this node is shutting down; try again"}
	errBug      = &handlers.Unavailable{Public: "this node met a fault of its own; nothing is allowed; try again"}
	errBusy     = &handlers.Unavailable{Public: "this node has more requests than it can work on; try again"}
)

// aside does a job in a goroutine of its own.
func (s *Service) aside(job func()) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return errStopping
	}
	s.waiting.Go(job)
	return nil
}

// wait is aside for a caller who waits for people, if there is a place.
func (s *Service) wait(c handlers.Caller, job func()) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	who := waiter{c.Agent, c.Member.ID}
	switch {
	case s.stopped:
		return errStopping
	case s.waitsOf[who] >= handlers.MostWaits:
		return domain.Reject(domain.RateLimited, "you wait for %d approvals already; end one wait first", handlers.MostWaits)
	case s.waits >= s.MostWaits:
		return errBusy
	}
	s.waits++
	s.waitsOf[who]++
	s.waiting.Go(func() {
		defer s.leave(who)
		job()
	})
	return nil
}

func (s *Service) leave(who waiter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waits--
	if s.waitsOf[who]--; s.waitsOf[who] == 0 {
		delete(s.waitsOf, who)
	}
}

func (s *Service) answer(ctx context.Context, op operation, r micro.Request) {
	defer s.recovered(ctx, r)
	admit := s.Desk.Admit
	if op.reads {
		admit = s.Desk.AdmitReader
	}
	caller, err := admit(ctx, address, r.Headers().Get("Authorization"))
	switch {
	case err != nil:
		s.fail(ctx, r.Reply(), err)
	case op.waits != nil && op.waits(r.Data()):
		err := s.wait(caller, func() {
			defer s.recovered(ctx, r)
			s.reply(ctx, op, caller, r)
		})
		if err != nil {
			s.fail(ctx, r.Reply(), err)
		}
	default:
		s.reply(ctx, op, caller, r)
	}
}

// reply answers a caller who was let in.
func (s *Service) reply(ctx context.Context, op operation, caller handlers.Caller, r micro.Request) {
	reply, err := op.answer(ctx, s, caller, r.Data())
	if err != nil {
		s.fail(ctx, r.Reply(), err)
		return
	}
	// Not through the request: it notes a failed answer where the subscription
	// reads it without a lock.
	reply.Subject = r.Reply()
	if err := s.Conn.PublishMsg(reply); err != nil {
		s.Logs.WarnContext(ctx, "answer a request", slog.Any("error", err))
	}
}

// recovered answers a request that met a bug of ours, as net/http outlives one:
// it must not end what everybody else asks. To be deferred.
func (s *Service) recovered(ctx context.Context, r micro.Request) {
	bug := recover()
	if bug == nil {
		return
	}
	s.Logs.ErrorContext(ctx, "panic while a request was answered",
		slog.String("subject", r.Subject()), slog.Any("panic", bug), slog.String("stack", string(debug.Stack())))
	s.refuse(ctx, r.Reply(), handlers.FaultOf(errBug))
}

// address is not known: NATS doesn't tell a service where a message came from.
const address = ""

func (s *Service) fail(ctx context.Context, reply string, err error) {
	f := handlers.FaultOf(err)
	if f.Status >= 500 {
		s.Desk.Faults.Tell(ctx, "nats", err)
	}
	s.refuse(ctx, reply, f)
}

// refuse answers with an error.
func (s *Service) refuse(ctx context.Context, reply string, f handlers.Fault) {
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

// encoded is a reply with a view.
func encoded(view any, err error) (*nats.Msg, error) {
	if err != nil {
		return nil, err
	}
	body, err := handlers.Encode(view)
	return &nats.Msg{Data: body}, err
}

func verify(ctx context.Context, s *Service, c handlers.Caller, body []byte) (*nats.Msg, error) {
	r, err := s.Desk.VerifyFor(ctx, c, body)
	if err != nil {
		return nil, err
	}
	packet, retryAfter, err := s.Desk.EncodeAnswer(nil, r)
	reply := &nats.Msg{Data: packet}
	if retryAfter != "" {
		reply.Header = nats.Header{"Retry-After": []string{retryAfter}}
	}
	return reply, err
}

func preview(ctx context.Context, s *Service, c handlers.Caller, body []byte) (*nats.Msg, error) {
	return encoded(s.Desk.PreviewFor(ctx, c, body))
}

func passport(ctx context.Context, s *Service, c handlers.Caller, body []byte) (*nats.Msg, error) {
	if len(body) > 0 {
		if err := handlers.Decode(body, &struct{}{}); err != nil {
			return nil, err
		}
	}
	return encoded(s.Desk.PassportFor(ctx, c))
}
