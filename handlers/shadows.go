package handlers

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/behalf-platform/behalf/domain"
)

// ShadowLog is where shadows are recorded. It is none of the log's streams.
type ShadowLog interface {
	// Append stores r on condition that the newest record of its agent is at last
	// (0: none), and returns where. [domain.ErrMoved] means that nothing was
	// written. After any other error the outcome is unknown.
	Append(ctx context.Context, last uint64, r domain.ShadowRecord) (uint64, error)
	// Newest is the newest record of an agent, or [domain.ErrNotRecorded].
	Newest(ctx context.Context, of domain.Stream) (domain.ShadowRecorded, error)
	// Read is the record of an agent at a sequence, or [domain.ErrNotRecorded].
	Read(ctx context.Context, of domain.Stream, seq uint64) (domain.ShadowRecorded, error)
	// Follow calls see with the kind of the newest record of each agent, then of
	// each that is stored, until ctx ends. It may skip all but the newest, and
	// show one again or an older one, but never last.
	Follow(ctx context.Context, see func(domain.Stream, domain.Kind)) error
}

// FollowedLog is what following real decisions needs of the event log.
type FollowedLog interface {
	DecisionLog
	// Epoch is the epoch of the positions of a partition.
	Epoch(partition uint16) uint32
}

// Shadows runs candidate permissions beside the real ones. Members start and
// stop them here, on any node; [Shadows.Run] decides, on whichever node comes
// first. It stands beside verify and after it: it reads what was recorded, has no
// part in it, and takes its time.
type Shadows struct {
	Log       ShadowLog
	Decisions FollowedLog
	Writer    *Writer // whose rights members act by
	Now       func() time.Time
	Logs      *slog.Logger
	// Busy and Idle are the pauses between two looks at the log while there is
	// more to decide, and while there is not. Aside is how long a node leaves a
	// shadow to another that records it. Batch is how many of an agent's records
	// are read at a time. Each has a default.
	Busy, Idle, Aside time.Duration
	Batch             int

	once  sync.Once
	lanes *Lanes
	// noted has a token when running has changed.
	noted chan struct{}
	mu    sync.Mutex
	// running are the agents that have a shadow, guarded by mu; the value says
	// that it may be another one than was known.
	running map[domain.Stream]bool
}

func (s *Shadows) init() {
	s.once.Do(func() {
		s.lanes, s.noted, s.running = NewLanes(), make(chan struct{}, 1), map[domain.Stream]bool{}
		s.Busy = cmp.Or(s.Busy, 10*time.Millisecond)
		s.Idle = cmp.Or(s.Idle, 500*time.Millisecond)
		s.Aside = cmp.Or(s.Aside, 5*time.Second)
		s.Batch = cmp.Or(s.Batch, 512)
	})
}

// mostShadowsOfAccount bounds what one account can have a node do beside its work.
const mostShadowsOfAccount = 50

// ShadowRequest is what a member wants to see the effect of.
type ShadowRequest struct {
	Candidate domain.ShadowCandidate `json:"candidate"`
	For       domain.Duration        `json:"for"`
	Note      string                 `json:"note"`
}

// ShadowStop ends a shadow.
type ShadowStop struct {
	Note string `json:"note"`
}

// Start begins a shadow of an agent, in place of one that runs.
func (s *Shadows) Start(ctx context.Context, c Caller, agent domain.AgentID, body []byte) (ShadowView, error) {
	by, err := c.AsMember(domain.RoleAdmin)
	if err != nil {
		return ShadowView{}, err
	}
	var in ShadowRequest
	if err := DecodeGrant(body, &in); err != nil {
		return ShadowView{}, err
	}
	s.init()
	of := domain.Stream{Account: by.Account, Agent: agent}
	if err := s.room(of); err != nil {
		return ShadowView{}, err
	}
	id := domain.ShadowID(domain.ShadowPrefix + NewULID(s.Now()))
	return s.execute(ctx, by.on(agent), func(known domain.Shadow, account *domain.Account) ([]domain.ShadowEvent, error) {
		if known.ID == id {
			return nil, nil // an attempt whose outcome was not known
		}
		if err := catchUp(ctx, s.Writer.Log, s.Writer.Passports, of); err != nil {
			return nil, err
		}
		a := s.Writer.Passports.Agent(of)
		if err := a.Fault(); err != nil {
			return nil, Unreadable(err)
		}
		if !a.Exists() {
			return nil, domain.Reject(domain.NotFound, "no agent %s", agent)
		}
		from := domain.Position{Partition: domain.PartitionOf(of.Account, s.Decisions.Partitions())}
		status, err := s.Decisions.Status(ctx, from.Partition)
		if err != nil {
			return nil, unread(err)
		}
		from.Epoch, from.Seq = s.Decisions.Epoch(from.Partition), status.Head
		return known.Start(domain.StartShadow{
			ShadowID: id, Candidate: in.Candidate, For: time.Duration(in.For), Note: in.Note, From: from,
			Agent: a, Account: account, Now: s.Now().UTC().Round(0),
		})
	})
}

// Stop ends the shadow of an agent. Again, it changes nothing.
func (s *Shadows) Stop(ctx context.Context, c Caller, agent domain.AgentID, body []byte) (ShadowView, error) {
	by, err := c.AsMember(domain.RoleAdmin)
	if err != nil {
		return ShadowView{}, err
	}
	var in ShadowStop
	if err := DecodeGrant(body, &in); err != nil {
		return ShadowView{}, err
	}
	s.init()
	return s.execute(ctx, by.on(agent), func(known domain.Shadow, _ *domain.Account) ([]domain.ShadowEvent, error) {
		return known.Stop(domain.ShadowEndedByMember, in.Note)
	})
}

// mostShadowAttempts is how often an act decides again. Whoever records what is
// decided on another node moves the shadow with every decision.
const mostShadowAttempts = 20

// execute brings a member's act and the shadow it is about together until what
// comes of it is recorded.
func (s *Shadows) execute(ctx context.Context, a act, decide func(domain.Shadow, *domain.Account) ([]domain.ShadowEvent, error)) (ShadowView, error) {
	ctx, cancel := context.WithTimeout(ctx, s.Writer.Timeout)
	defer cancel()
	leave, err := s.lanes.enter(ctx, a.stream)
	if err != nil {
		return ShadowView{}, unavailable(err, unknownOutcome)
	}
	defer leave()
	for attempt := range mostShadowAttempts {
		if err := giveWay(ctx, min(attempt, attempts-1)); err != nil {
			return ShadowView{}, unavailable(err, unknownOutcome)
		}
		account, err := s.Writer.rights(ctx, a)
		if err != nil {
			return ShadowView{}, err
		}
		known, err := s.load(ctx, a.stream)
		if err != nil {
			return ShadowView{}, err
		}
		events, err := decide(known, account)
		if err != nil {
			return ShadowView{}, err
		}
		if len(events) == 0 {
			return s.view(ctx, a.stream, known)
		}
		known, err = s.append(ctx, a.stream, known, a.by, "", events[0])
		if err == nil {
			return s.view(ctx, a.stream, known)
		}
		if ctx.Err() != nil {
			break
		}
	}
	return ShadowView{}, unavailable(domain.ErrMoved, unknownOutcome)
}

// append records an event on the shadow that it was decided on. The caller has
// the agent's lane.
func (s *Shadows) append(ctx context.Context, of domain.Stream, known domain.Shadow, by domain.Actor, cause string, e domain.ShadowEvent) (domain.Shadow, error) {
	now := s.Now().UTC().Round(0)
	r := domain.ShadowRecord{
		ID: domain.EventID(domain.EventPrefix + NewULID(now)), At: now, Actor: by, Account: of.Account, Agent: of.Agent, Cause: cause, Event: e,
	}
	seq, err := s.Log.Append(ctx, known.Version, r)
	if err != nil {
		return known, err
	}
	return known.Evolve(domain.ShadowRecorded{ShadowRecord: r, Seq: seq}), nil
}

// load folds an agent's shadow: its start, and the newest event, which holds the
// rest. One whose start is too old to be there any more is no more.
func (s *Shadows) load(ctx context.Context, of domain.Stream) (domain.Shadow, error) {
	newest, err := s.Log.Newest(ctx, of)
	if errors.Is(err, domain.ErrNotRecorded) {
		return domain.Shadow{}, nil
	}
	if err != nil {
		return domain.Shadow{}, unreadShadow(err)
	}
	var known domain.Shadow
	if at := domain.StartedAtSeq(newest.Event); at > 0 {
		begun, err := s.Log.Read(ctx, of, at)
		if errors.Is(err, domain.ErrNotRecorded) {
			return domain.Shadow{Version: newest.Seq}, nil
		}
		if err != nil {
			return domain.Shadow{}, unreadShadow(err)
		}
		known = known.Evolve(begun)
	}
	return known.Evolve(newest), nil
}

func unreadShadow(err error) error {
	if errors.Is(err, domain.ErrUnknownKind) {
		return Unreadable(err)
	}
	return unavailable(err, "what is known of the shadow could not be read; try again")
}

// room refuses a shadow more than an account may have, as far as this node knows.
func (s *Shadows) room(of domain.Stream) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for other := range s.running {
		if other.Account == of.Account && other != of {
			n++
		}
	}
	if n >= mostShadowsOfAccount {
		return domain.Reject(domain.Conflict, "the account has %d shadows, the most there can be; stop one first", n)
	}
	return nil
}

// Find is the shadow of an agent, the one that runs or the last one that did.
func (s *Shadows) Find(ctx context.Context, c Caller, agent domain.AgentID) (ShadowView, error) {
	of, known, err := s.found(ctx, c, agent)
	if err != nil {
		return ShadowView{}, err
	}
	return s.view(ctx, of, known)
}

func (s *Shadows) found(ctx context.Context, c Caller, agent domain.AgentID) (domain.Stream, domain.Shadow, error) {
	m, err := c.AsMember(domain.RoleViewer)
	if err != nil {
		return domain.Stream{}, domain.Shadow{}, err
	}
	of := domain.Stream{Account: m.Account, Agent: agent}
	known, err := s.load(ctx, of)
	if err == nil && known.State == "" {
		err = domain.Reject(domain.NotFound, "agent %s has no shadow", agent)
	}
	return of, known, err
}

// Differences are what came out otherwise in the shadow of an agent, newest
// first, and where the next page begins.
func (s *Shadows) Differences(ctx context.Context, c Caller, agent domain.AgentID, limit int, cursor string) (ShadowDifferencePage, error) {
	of, known, err := s.found(ctx, c, agent)
	if err != nil {
		return ShadowDifferencePage{}, err
	}
	page := ShadowDifferencePage{ShadowID: known.ID, Differences: []ShadowDifferenceView{}}
	next := known.Difference
	if cursor != "" {
		if next, err = strconv.ParseUint(cursor, 10, 64); err != nil || next == 0 {
			return page, errShadowCursor
		}
	}
	for ; next > 0 && len(page.Differences) < limit; cursor = "" {
		r, err := s.Log.Read(ctx, of, next)
		d, decided := r.Event.(domain.ShadowDecided)
		switch {
		case errors.Is(err, domain.ErrNotRecorded) && cursor == "":
			return page, nil // it was too old to be kept
		case err != nil && !errors.Is(err, domain.ErrNotRecorded):
			return page, unreadShadow(err)
		case !decided || d.ShadowID != known.ID || d.Difference == domain.ShadowSame:
			return page, errShadowCursor
		}
		page.Differences = append(page.Differences, viewShadowDifference(&r, &d))
		next = d.PreviousDifference
	}
	if next > 0 {
		page.NextCursor = strconv.FormatUint(next, 10)
	}
	return page, nil
}

var errShadowCursor = domain.RejectField(domain.Invalid, "/cursor", "is not of this shadow; begin again without it")
