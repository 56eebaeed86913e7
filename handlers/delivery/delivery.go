// Package delivery brings what happened to those who asked to be told: each
// endpoint has a lane of its own along the log, and goes along it at its own
// pace. One reader of the log serves all lanes; an endpoint that is slow or
// down falls behind it, and delays nobody else. What is not delivered yet is not
// copied anywhere, because it is in the log.
//
// A message comes at least once. After a crash some come again, under the same
// id, and none is lost, because nothing is forgotten before what became of it
// is stored: first the attempt, then, in one write, how far the lane is and what
// is parked beside it.
//
// It decides nothing about events, sends nothing by itself (see [Sender]), and
// delivers nothing to an endpoint that has not proved that it wants it.
package delivery

import (
	"cmp"
	"context"
	"math"
	"strings"
	"time"

	"github.com/behalf-platform/behalf/domain"
)

// EndpointID names an endpoint. It is a token of a NATS subject.
type EndpointID string

// Ordering says which messages of an endpoint wait for which.
type Ordering string

const (
	// Parallel has several on their way at once, in any order.
	Parallel Ordering = "parallel"
	// PerAgent has one of each agent on its way. What an agent did comes in the
	// order in which it did it; when one is parked, the agent's later ones wait
	// behind it.
	PerAgent Ordering = "per_agent"
	// Strict has one on its way. When it is refused, all others wait.
	Strict Ordering = "strict"
)

// Endpoint is a place that wants to be told of what happens in an account.
type Endpoint struct {
	ID      EndpointID
	Account domain.AccountID
	URL     string
	// Types are the types of messages it wants: whole ones, "decision.*" for all
	// that begin with "decision.", or "*". No types are no messages.
	Types []string
	// Agents narrows it to messages about these. Empty is any, or none.
	Agents   []domain.AgentID
	Ordering Ordering
	// Parallel bounds what is on its way at once, 8 if 0. Ordering may narrow it.
	Parallel int
	// Rate bounds the messages per second, or doesn't if 0.
	Rate float64
	// Format, the versions of the secret, and the headers are for the sender.
	Format            string
	Secret, Previous  int
	PreviousUntil     time.Time
	Headers           map[string]string
	Enabled, Verified bool
	// From is the record after which it begins. When it moves beyond what was
	// delivered, what lies between is skipped, and reported as a gap.
	From uint64
	// Revision changes with everything above.
	Revision uint64
	// Warned is that it was reported as failing, or as losing what it waits for,
	// and not as recovered.
	Warned bool
}

// Runs reports whether messages may be sent to the endpoint.
func (e Endpoint) Runs() bool { return e.Enabled && e.Verified }

// Wants reports whether the endpoint is to be told of a message of its account.
func (e Endpoint) Wants(m *Message) bool {
	if m.To != "" {
		return m.To == e.ID
	}
	if m.About != "" && m.About == e.ID {
		return false
	}
	return e.wantsAgent(m.Agent) && e.wantsType(m.Type)
}

func (e Endpoint) wantsAgent(agent domain.AgentID) bool {
	for _, a := range e.Agents {
		if a == agent {
			return true
		}
	}
	return len(e.Agents) == 0
}

func (e Endpoint) wantsType(t string) bool {
	for _, pattern := range e.Types {
		prefix, open := strings.CutSuffix(pattern, "*")
		if pattern == t || open && (prefix == "" || strings.HasSuffix(prefix, ".") && strings.HasPrefix(t, prefix)) {
			return true
		}
	}
	return false
}

// Message is what an endpoint is told. Nobody changes one that was made.
type Message struct {
	// ID is the same each time the message is sent.
	ID    string
	Type  string
	Agent domain.AgentID
	// To is the only endpoint that is told, whatever it wants, and About one that
	// is not told, because it is about that. Empty is nothing of the kind.
	To, About EndpointID
	At        time.Time
	// Seq is the record of which it was made, and Index which one of those.
	Seq   uint64
	Index uint16
	Data  []byte
	// Fleeting is that the log lets it go after a time that the account has set.
	Fleeting bool
}

// Place is where the message stands.
func (m *Message) Place() Place { return Place{m.Seq, m.Index} }

// Place is where a message stands in its partition of the log.
type Place struct {
	Seq   uint64 `json:"seq"`
	Index uint16 `json:"index,omitzero"`
}

// whole is the index of the last message that a record can have.
const whole = math.MaxUint16

// through is the place of the end of a record.
func through(seq uint64) Place { return Place{seq, whole} }

// Compare is negative when p is before o, and positive when it is after it.
func (p Place) Compare(o Place) int {
	return cmp.Or(cmp.Compare(p.Seq, o.Seq), cmp.Compare(p.Index, o.Index))
}

// before is the place before p, whether there is a message or not.
func (p Place) before() Place {
	if p.Index > 0 {
		return Place{p.Seq, p.Index - 1}
	}
	return through(p.Seq - 1)
}

// Category says what became of an attempt, coarsely. It is safe to show.
type Category string

const (
	// Answered is an answer; its status says which.
	Answered Category = "answered"
	// DNS, Connect, TLS, Timeout and Broken are no answer, and at what it failed.
	DNS     Category = "dns"
	Connect Category = "connect"
	TLS     Category = "tls"
	Timeout Category = "timeout"
	Broken  Category = "broken"
	// Blocked is an address that nothing may be sent to, such as a private one,
	// or one that is not safe.
	Blocked Category = "blocked"
	// Gone and Aborted are what the endpoint asked for by its answer: to be told
	// nothing any more, or not to be told this again.
	Gone    Category = "gone"
	Aborted Category = "aborted"
	// Unready is this side not being able to send, as without the secret.
	Unready Category = "unready"
	// Expired is a message that the log does not hold any more.
	Expired Category = "expired"
	// Skipped is a stretch of the log that was passed over.
	Skipped Category = "skipped"
)

// Result is what became of one attempt.
type Result struct {
	// Status is that of the answer, or 0 without one.
	Status   int
	Category Category
	// RetryAfter is how long the endpoint asked to be left alone, or 0.
	RetryAfter time.Duration
	Latency    time.Duration
	// Answer is the beginning of the answer's body.
	Answer []byte
	// Key is the version of the secret it was signed with.
	Key int
}

// Sender sends a message to an endpoint once, signed. The id of a replay is
// empty when it is none. It returns within a bound of its own, also when ctx
// doesn't end.
type Sender interface {
	Send(ctx context.Context, e Endpoint, m Message, replay string) Result
}

// Step is one record of the log, as messages. Most records are none.
type Step struct {
	Account  domain.AccountID
	Seq      uint64
	Messages []*Message
}

// Stretch says which records to read: of a partition, From to Through, both
// inclusive. Live goes on with those that are stored later, and has no end.
type Stretch struct {
	Partition     uint16
	From, Through uint64
	Live          bool
}

// Source is the log as messages. What it yields is as durable as what the log
// acknowledges: what was told can't be untold.
type Source interface {
	// Scan yields a step for every record of a stretch, oldest first. It begins
	// later when the log doesn't hold the first ones any more. Stretches of one
	// record are asked for often, and should cost little.
	Scan(ctx context.Context, s Stretch, yield func(Step) error) error
	// Bounds are the oldest record that the log holds and the newest. An empty
	// log has a first that is one more than the newest.
	Bounds(ctx context.Context, partition uint16) (first, newest uint64, err error)
	// SeqAt is the oldest record at or after a time, or one after the newest.
	SeqAt(ctx context.Context, partition uint16, t time.Time) (uint64, error)
	// Partitions is how many partitions the accounts are spread over.
	Partitions() int
}

// Registry knows the endpoints.
type Registry interface {
	// Endpoints are those of the accounts of a partition, also the ones that
	// don't run. One that is not among them any more was removed.
	Endpoints(ctx context.Context, partition uint16) ([]Endpoint, error)
	// Changed is closed when Endpoints may answer something else.
	Changed() <-chan struct{}
	// Whole is the time from which on the log holds, at a moment, all that an
	// endpoint wants of what is fleeting: some of what is older may have gone. It
	// is zero when nothing of that ever goes.
	Whole(e Endpoint, at time.Time) time.Time
}

// ReportKind is what a report is about.
type ReportKind string

const (
	// Failing is nothing having been delivered for a while.
	Failing ReportKind = "failing"
	// Recovered is the end of that.
	Recovered ReportKind = "recovered"
	// Disable is an endpoint to be disabled.
	Disable ReportKind = "disable"
	// Exhausted is a message that is not tried again by itself.
	Exhausted ReportKind = "exhausted"
	// Expiring is what is not delivered yet being among the oldest that the log
	// still holds, of which it removes some, or goes on to.
	Expiring ReportKind = "expiring"
	// Gap is a stretch of the log that was not delivered and won't be.
	Gap ReportKind = "gap"
)

// Report is what an account should know about one of its endpoints.
type Report struct {
	Kind     ReportKind
	Account  domain.AccountID
	Endpoint EndpointID
	// URL is where it was sent to.
	URL string
	At  time.Time
	// Why is the category of the last attempt, Status its status.
	Why    Category
	Status int
	// Since is when it began to fail.
	Since time.Time
	// Message is the id of the message, where it is about one.
	Message string
	// From and Through are the records of a gap, and From the first one that
	// expires.
	From, Through uint64
}

// Reporter records reports as events of the account. The same report may come
// more than once. One that fails is made again.
type Reporter interface {
	Report(ctx context.Context, r Report) error
}

// Store keeps what lanes must not forget: values, each written on condition that
// it is still the one that was read, and attempts, which are only added. Keys
// are subject tokens with dots between them.
type Store interface {
	// Values calls yield with each value whose key begins with the given tokens,
	// and its revision. With live it goes on with what is written until ctx ends;
	// a nil value is one that was removed.
	Values(ctx context.Context, prefix string, live bool, yield func(key string, value []byte, revision uint64) error) error
	// Value reads the newest value. [domain.ErrNotRecorded] is none.
	Value(ctx context.Context, key string) (value []byte, revision uint64, err error)
	// Put writes a value on condition that the newest one has the revision (0:
	// there is none). [domain.ErrMoved] means that it hasn't, and nothing was
	// written. After any other error the outcome is unknown.
	Put(ctx context.Context, key string, value []byte, revision uint64) (uint64, error)
	// Remove removes a value, if there is one.
	Remove(ctx context.Context, key string) error

	// Attempt begins to store an attempt of an endpoint that came out as ok,
	// failed or dead, and returns what waits until it is stored, however often
	// that has to be tried. Two of the same name within a few seconds are one.
	Attempt(account domain.AccountID, endpoint, outcome, name string, value []byte) (stored func(context.Context) error)
	// Attempts yields the newest attempts of an endpoint that came out in one of
	// the ways, newest first, of those older than a sequence (0: all), at most
	// so many.
	Attempts(ctx context.Context, account domain.AccountID, endpoint string, outcomes []string, before uint64, most int,
		yield func(seq uint64, outcome string, value []byte) error) error
}
