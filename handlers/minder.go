package handlers

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/projections"
)

// Alarms keeps alarms, and rings them by itself.
type Alarms interface {
	// Set makes an alarm ring at its time, or at once if that is past. An
	// approval has one alarm: a later Set takes the place of an earlier one.
	Set(ctx context.Context, a domain.Alarm) error
}

// Minder looks after approvals while nobody asks for them: it sets alarms for
// those that are open, records that one has expired or that its reviewers are to
// be reminded when an alarm rings, and wakes who waits for an answer. Nothing
// that is decided relies on it.
type Minder struct {
	Passports *projections.Passports
	Writer    *Writer
	Alarms    Alarms
	// Ready says why this node has not read the log yet, or nil.
	Ready func() error
	// Wake tells whoever waits that an approval has changed. It may be nil.
	Wake func(*domain.Approval)
	Now  func() time.Time
	Logs *slog.Logger

	mu sync.Mutex
	// due are the alarms to be set, guarded by mu; noted has a token when there
	// are some.
	due   map[domain.ApprovalID]domain.Alarm
	noted chan struct{}
	once  sync.Once
}

func (m *Minder) init() { m.once.Do(func() { m.noted = make(chan struct{}, 1) }) }

// fresh is how old an event may be that somebody is woken for. What is older was
// read from the log by a node that starts.
const fresh = 30 * time.Second

// Apply sees one event, after it was folded. It has the shape a follower calls,
// and never waits.
func (m *Minder) Apply(r domain.Recorded, err error) error {
	if err != nil || r.Agent == "" || r.Stream().Budget {
		return nil
	}
	for _, a := range m.Passports.Agent(r.Stream()).Changed(r.Event) {
		m.note(a)
		if m.Wake != nil && m.Now().Sub(r.At) < fresh {
			m.Wake(a)
		}
	}
	return nil
}

// note remembers to set an approval's alarm, or that it needs none any more.
func (m *Minder) note(a *domain.Approval) {
	m.init()
	m.mu.Lock()
	defer m.mu.Unlock()
	alarm, open := a.Alarm()
	if !open {
		delete(m.due, a.ID)
		return
	}
	if m.due == nil {
		m.due = map[domain.ApprovalID]domain.Alarm{}
	}
	m.due[a.ID] = alarm
	m.again()
}

// again makes Run look. It doesn't wait.
func (m *Minder) again() {
	select {
	case m.noted <- struct{}{}:
	default:
	}
}

// Run sets alarms until ctx ends.
func (m *Minder) Run(ctx context.Context) error {
	m.init()
	for pause := time.Duration(0); ; {
		if err := sleep(ctx, pause); err != nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-m.noted:
		}
		if m.set(ctx) {
			pause = 0
			continue
		}
		pause = min(max(2*pause, 100*time.Millisecond), 5*time.Second)
		m.again()
	}
}

// set sets what is due, and reports whether nothing is left.
func (m *Minder) set(ctx context.Context) bool {
	if m.Ready() != nil { // most of what was opened is closed by the end of the log
		return false
	}
	m.mu.Lock()
	due := maps.Clone(m.due)
	m.mu.Unlock()
	for id, alarm := range due {
		if err := m.Alarms.Set(ctx, alarm); err != nil {
			m.Logs.WarnContext(ctx, "set an alarm", slog.String("approval_id", string(id)), slog.Any("error", err))
			return false
		}
		m.mu.Lock()
		if m.due[id] == alarm {
			delete(m.due, id)
		}
		m.mu.Unlock()
	}
	return true
}

// Ring looks at the approval an alarm is for, records what its time has brought,
// and sets its next alarm. An error means that it should ring again.
func (m *Minder) Ring(ctx context.Context, alarm domain.Alarm) error {
	if err := m.Ready(); err != nil {
		return err
	}
	a := act{by: domain.BySystem("clock"), stream: domain.Stream{Account: alarm.Account, Agent: alarm.Agent}}
	agent, err := m.Writer.agentAt(ctx, a, func(agent domain.Agent, _ domain.Account, now time.Time) ([]domain.Event, error) {
		if expired := agent.Expire(alarm.ApprovalID, now); expired != nil {
			return expired, nil
		}
		return agent.Remind(alarm.ApprovalID, now), nil
	})
	if err != nil {
		return err
	}
	if p, ok := agent.Approval(alarm.ApprovalID); ok {
		m.note(p)
	}
	return nil
}
