package natsapi

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers"
)

// A replay sends a member all that was recorded about their account, in order,
// and goes on with what comes. Each message is a record as the log keeps it,
// without secrets, with these headers. Of some a reply is wanted, which is how
// the consumer says that it is there and keeps up; an empty one will do.
const (
	headerReplay   = "Behalf-Replay"   // the id of the replay
	headerPosition = "Behalf-Position" // of the record
	headerSequence = "Behalf-Sequence"
	headerLast     = "Behalf-Last" // the version of its stream that it was appended on
	headerStatus   = "Behalf-Status"

	// What headerStatus says on a message without a record.
	statusLive      = "live"      // all that was recorded when it began was sent
	statusHeartbeat = "heartbeat" // nothing was recorded for a while
	statusEnd       = "end"       // the replay is over; Behalf-Reason says why
	headerReason    = "Behalf-Reason"
)

const (
	// ackEvery is after how many records a reply is wanted, and window how many
	// may be on their way without one.
	ackEvery = 256
	window   = 4 * ackEvery
	// replayBeat is how often a quiet replay asks whether anyone is there, and
	// replayPatience how long it waits for a reply.
	replayBeat     = 10 * time.Second
	replayPatience = 30 * time.Second

	mostReplays          = 64 // on a node
	mostReplaysOfAccount = 8
	mostInbox            = 255
)

// replays counts the replays of a node.
type replays struct {
	mu sync.Mutex
	// accounts is guarded by mu, and so is all.
	accounts map[domain.AccountID]int
	all      int
}

func (r *replays) enter(id domain.AccountID) (leave func(), err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.accounts[id] >= mostReplaysOfAccount:
		return nil, domain.Reject(domain.RateLimited, "the account has %d replays on this node already; end one first", mostReplaysOfAccount)
	case r.all >= mostReplays:
		return nil, domain.Reject(domain.RateLimited, "this node has %d replays already; try again", mostReplays)
	}
	if r.accounts == nil {
		r.accounts = map[domain.AccountID]int{}
	}
	r.accounts[id]++
	r.all++
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.all--
		if r.accounts[id]--; r.accounts[id] == 0 {
			delete(r.accounts, id)
		}
	}, nil
}

// replay begins a replay and answers before its first message.
func replay(ctx context.Context, s *Service, c handlers.Caller, body []byte) (*nats.Msg, error) {
	var in struct {
		// Deliver is an inbox of the caller's. From is a position, Since a time;
		// with neither, all is sent.
		Deliver string    `json:"deliver"`
		From    string    `json:"from"`
		Since   time.Time `json:"since"`
	}
	if err := handlers.DecodeGrant(body, &in); err != nil {
		return nil, err
	}
	m, err := c.AsMember(domain.RoleViewer)
	if err != nil {
		return nil, err
	}
	if !deliverable(in.Deliver) {
		return nil, domain.RejectField(domain.Invalid, "/deliver", "is not an inbox; send a subject below _INBOX that you listen to, without wildcards")
	}
	partition := domain.PartitionOf(m.Account, s.Desk.History.Log.Partitions())
	from, err := s.from(ctx, partition, in.From, in.Since)
	if err != nil {
		return nil, err
	}
	r := &replaying{
		Service: s, caller: c, account: m.Account, partition: partition, next: from, deliver: in.Deliver,
		id: "rpl_" + rand.Text(), heard: make(chan struct{}, 1),
	}
	if r.leave, err = s.replays.enter(m.Account); err != nil {
		return nil, err
	}
	running, end := context.WithCancelCause(s.stopping)
	r.end = end
	// Replies come to this node, whoever else serves.
	r.control = "behalf.v1.replay." + r.id
	if r.replies, err = s.Conn.Subscribe(r.control+".*", r.reply); err == nil {
		err = s.aside(func() { r.run(running) })
	} else {
		err = &handlers.Unavailable{Public: "the replay could not begin; try again", Err: err}
	}
	if err != nil {
		r.close()
		return nil, err
	}
	type view struct {
		ReplayID string `json:"replayId"`
		From     uint64 `json:"fromSequence"`
		AckEvery int    `json:"ackEvery"`
		Stop     string `json:"stop"`
	}
	return encoded(view{ReplayID: r.id, From: from, AckEvery: ackEvery, Stop: r.control + ".stop"}, nil)
}

// deliverable reports whether a subject is one inbox, to which this service may
// be made to publish.
func deliverable(subject string) bool {
	if !answerable(subject) || len(subject) > mostInbox || strings.ContainsAny(subject, " \t\r\n*>") {
		return false
	}
	for token := range strings.SplitSeq(subject, ".") {
		if token == "" {
			return false
		}
	}
	return true
}

// from is the sequence to begin at.
func (s *Service) from(ctx context.Context, partition uint16, position string, since time.Time) (uint64, error) {
	log := s.Desk.History.Log
	switch {
	case position != "" && !since.IsZero():
		return 0, domain.RejectField(domain.Invalid, "/since", "is given beside from; send one of them")
	case position != "":
		p, err := domain.ParsePosition(position)
		if err != nil || p.Partition != partition {
			return 0, domain.RejectField(domain.Invalid, "/from", "is not a position of this account's log; send one that a message or packet carried")
		}
		return max(p.Seq, 1), nil
	case !since.IsZero():
		seq, err := log.SeqAt(ctx, partition, since)
		if err != nil {
			return 0, &handlers.Unavailable{Public: "the log could not be read; try again", Err: err}
		}
		return max(seq, 1), nil
	}
	return 1, nil
}

// replaying is one replay on its way.
type replaying struct {
	*Service
	caller    handlers.Caller
	account   domain.AccountID
	partition uint16
	id        string
	deliver   string
	control   string
	replies   *nats.Subscription
	leave     func()
	end       context.CancelCauseFunc
	// heard says that something was replied.
	heard chan struct{}

	next uint64 // sequence; only the one that sends touches it

	mu sync.Mutex
	// All below are guarded by mu: the records sent, and how many of them the
	// consumer has told of; whether a reply is wanted, and since when; whether
	// anything was sent since the last beat.
	sent, acked uint64
	asked       bool
	askedAt     time.Time
	busy        bool
}

func (r *replaying) close() {
	r.end(nil)
	if r.replies != nil {
		_ = r.replies.Unsubscribe() // the connection is gone, and it with it
	}
	r.leave()
}

// reply takes a reply, or what is sent to the subject that stops.
func (r *replaying) reply(m *nats.Msg) {
	last := m.Subject[strings.LastIndexByte(m.Subject, '.')+1:]
	if last == "stop" {
		r.end(errStopped)
		return
	}
	n, err := strconv.ParseUint(last, 10, 64)
	if err != nil {
		return
	}
	r.mu.Lock()
	r.acked = max(r.acked, min(n, r.sent))
	r.asked = r.sent/ackEvery*ackEvery > r.acked // another one may be on its way
	r.askedAt = r.Desk.Verifier.Now()
	r.mu.Unlock()
	select {
	case r.heard <- struct{}{}:
	default: // it was said
	}
}

// Why a replay ends, as its consumer is told.
var (
	errFull       = errors.New("the window is full")
	errStopped    = errors.New("the consumer stopped it")
	errGone       = errors.New("the consumer did not reply")
	errCredential = errors.New("the credential is not good any more")
	errNode       = errors.New("the node stops")
	errLog        = errors.New("the log could not be read")
)

func (r *replaying) run(ctx context.Context) {
	defer r.close()
	var beside sync.WaitGroup
	defer beside.Wait()
	defer r.end(nil)
	beside.Go(func() { r.beat(ctx) })
	err := r.send(ctx)
	cause := context.Cause(ctx)
	switch {
	case r.stopping.Err() != nil:
		cause = errNode
	case cause == nil:
		cause = errLog
		r.Logs.WarnContext(ctx, "replay ends", slog.String("replay_id", r.id), slog.Any("error", err))
	}
	m := r.message(statusEnd)
	m.Header.Set(headerReason, cause.Error())
	_ = r.Conn.PublishMsg(m) // it is a courtesy; the consumer may have gone
}

// send sends what there is and what comes, until ctx ends.
func (r *replaying) send(ctx context.Context) error {
	for live := false; ; {
		if err := r.room(ctx); err != nil {
			return err
		}
		status, err := r.Desk.History.Log.Status(ctx, r.partition)
		if err != nil {
			return err
		}
		q := domain.Scan{Partition: r.partition, From: r.next, Through: min(status.Head, r.next+window-1)}
		if r.next > status.Head {
			if !live {
				live = true
				if err := r.Conn.PublishMsg(r.message(statusLive)); err != nil {
					return err
				}
			}
			q.Live, q.Through = true, 0
		}
		if err := r.Desk.History.Log.Scan(ctx, q, r.take); err != nil && !errors.Is(err, errFull) {
			return err
		}
		if q.Through > 0 && r.next == q.From && !r.full() {
			r.next = q.Through + 1 // nothing of it is there any more
		}
	}
}

// take sends a record of the account, if the window has room.
func (r *replaying) take(rec domain.Recorded, err error) error {
	if err != nil {
		return err
	}
	if rec.Account == r.account {
		if r.full() {
			return errFull
		}
		if err := r.publish(&rec); err != nil {
			return err
		}
	}
	r.next = rec.Position.Seq + 1
	return nil
}

func (r *replaying) full() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sent-r.acked >= window
}

// room waits until the window has room.
func (r *replaying) room(ctx context.Context) error {
	for r.full() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-r.heard:
		}
	}
	return ctx.Err()
}

// beat ends a replay whose consumer doesn't reply, or may not read any more, and
// asks for a reply where nothing else does.
func (r *replaying) beat(ctx context.Context) {
	t := time.NewTicker(replayBeat)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		if errors.Is(r.Desk.Still(ctx, r.caller), handlers.ErrCredential) {
			r.end(errCredential)
			return
		}
		now := r.Desk.Verifier.Now()
		r.mu.Lock()
		gone := r.asked && now.Sub(r.askedAt) > replayPatience
		quiet := !r.busy && !r.asked
		r.busy = false
		if quiet {
			r.asked, r.askedAt = true, now
		}
		sent := r.sent
		r.mu.Unlock()
		if gone {
			r.end(errGone)
			return
		}
		if quiet {
			m := r.message(statusHeartbeat)
			m.Reply = r.control + "." + strconv.FormatUint(sent, 10)
			_ = r.Conn.PublishMsg(m) // if it is lost, no reply comes
		}
	}
}

// publish sends a record.
func (r *replaying) publish(rec *domain.Recorded) error {
	shown := rec.Record
	shown.Event = withoutSecrets(rec.Event)
	data, err := shown.Append(nil)
	if err != nil {
		return err
	}
	m := r.message("")
	m.Data = data
	m.Header.Set(headerPosition, rec.Position.String())
	m.Header.Set(headerSequence, strconv.FormatUint(rec.Position.Seq, 10))
	m.Header.Set(headerLast, strconv.FormatUint(rec.Last, 10))
	r.mu.Lock()
	r.sent++
	r.busy = true
	if r.sent%ackEvery == 0 {
		m.Reply = r.control + "." + strconv.FormatUint(r.sent, 10)
		if !r.asked {
			r.asked, r.askedAt = true, r.Desk.Verifier.Now()
		}
	}
	r.mu.Unlock()
	return r.Conn.PublishMsg(m)
}

func (r *replaying) message(status string) *nats.Msg {
	m := nats.NewMsg(r.deliver)
	m.Header.Set(headerReplay, r.id)
	if status != "" {
		m.Header.Set(headerStatus, status)
	}
	return m
}

// withoutSecrets is an event without the hashes of keys and tokens, and without
// all but the host of where events are sent to. They are no secrets by
// themselves, and still nobody's who reads.
func withoutSecrets(e domain.Event) domain.Event {
	switch e := e.(type) {
	case domain.AccountOpened:
		e.Token = ""
		return e
	case domain.MemberAdded:
		e.Token = ""
		return e
	case domain.MemberTokenRotated:
		e.Token = ""
		return e
	case domain.AgentRegistered:
		e.Key = ""
		return e
	case domain.AgentKeyRotated:
		e.Key = ""
		return e
	case domain.PassportLinkCreated:
		e.Token = ""
		return e
	case domain.WebhookCreated:
		e.EndpointSettings = e.Outline()
		return e
	case domain.WebhookChanged:
		e.EndpointSettings = e.Outline()
		return e
	case domain.WebhookVerified:
		e.URL = domain.Origin(e.URL)
		return e
	case domain.AccountSettingsChanged, domain.MemberRoleChanged, domain.MemberRemoved, domain.AgentDisabled, domain.AgentEnabled,
		domain.AgentDriverChanged, domain.AgentLimitsSet, domain.AgentBudgetShared,
		domain.PermissionGranted, domain.PermissionReplaced, domain.PermissionRevoked, domain.DecisionMade, domain.DecisionSettled,
		domain.ApprovalVoted, domain.ApprovalApproved, domain.ApprovalDenied, domain.ApprovalCancelled, domain.ApprovalReminded,
		domain.ApprovalExpired, domain.BudgetSet, domain.BudgetCharged, domain.BudgetReleased,
		domain.WebhookPaused, domain.WebhookResumed,
		domain.WebhookDisabled, domain.WebhookEnabled, domain.WebhookSecretRotated, domain.WebhookDeleted,
		domain.WebhookTested, domain.WebhookReplayRequested, domain.WebhookReplayCancelled, domain.WebhookReplayFinished,
		domain.WebhookFailing, domain.WebhookRecovered, domain.WebhookSkipped, domain.ReceiptKeyRotated, domain.DecisionConsumed,
		domain.PassportLinkRevoked:
	}
	return e
}
