package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/behalf-platform/behalf/domain"
)

// stage plays a scenario: an agent that is folded from events, as everywhere.
type stage struct {
	sc      *scenario
	account domain.Account
	agent   domain.Agent
	budget  domain.SharedBudget
	seq     uint64
	asked   int
	now     time.Time
}

// decide plays what was before a case, and decides on its ask.
func (sc *scenario) decide(c *scenarioCase) (domain.DecisionMade, error) {
	s := &stage{sc: sc}
	if err := s.open(); err != nil {
		return domain.DecisionMade{}, err
	}
	for i := range sc.history {
		if err := s.play(&sc.history[i], sc.time); err != nil {
			return domain.DecisionMade{}, err
		}
	}
	for i := range c.history {
		if err := s.play(&c.history[i], c.time); err != nil {
			return domain.DecisionMade{}, err
		}
	}
	if err := s.moveTo(c.time, c.line); err != nil {
		return domain.DecisionMade{}, err
	}
	return s.ask(&c.ask, c.line)
}

// begin is when all permissions of a scenario are granted: before everything, so
// that one which ends before the scenario's time can be shown to have ended.
var begin = time.Unix(0, 0).UTC()

// open makes the account and the agent with its passport.
func (s *stage) open() error {
	s.account = domain.Account{Currency: s.sc.currency, TimeZone: s.sc.zone}
	reviewers := []domain.Event{domain.AccountOpened{Name: "scenario", Currency: s.sc.currency, Owner: reviewer(0)}}
	for i := 1; i < mostReviewers; i++ {
		reviewers = append(reviewers, domain.MemberAdded{MemberID: reviewer(i), Name: string(reviewer(i)), Role: domain.RoleOwner})
	}
	for _, e := range reviewers {
		s.seq++
		s.account = s.account.Evolve(s.recorded(e, begin, ""))
	}
	s.account.TimeZone = s.sc.zone

	a := s.sc.agent
	if err := s.act(a.node)(s.agent.Register(a.registration())); err != nil {
		return err
	}
	if a.limits != nil {
		if err := s.act(a.limitsNode)(s.agent.SetLimits(*a.limits, s.account)); err != nil {
			return err
		}
	}
	for _, p := range a.permissions {
		err := s.act(p.node)(s.agent.Grant(domain.GrantPermission{
			PermissionID: domain.PermissionID(p.key), Terms: p.terms, Now: begin, Currency: s.account.Currency, TimeZone: s.account.Zone(),
		}))
		if err != nil {
			return err
		}
	}
	return s.agent.Fault()
}

// mostReviewers is the largest quorum there can be.
const mostReviewers = 16

func reviewer(i int) domain.MemberID { return domain.MemberID(fmt.Sprintf("mem_reviewer%d", i)) }

// act folds what a verb decided, or says where the file has it refused.
func (s *stage) act(n *written) func([]domain.Event, error) error {
	return func(events []domain.Event, err error) error {
		if err != nil {
			return faultAt(s.sc.passport, n, err)
		}
		s.fold(begin, events...)
		return nil
	}
}

func (s *stage) recorded(e domain.Event, at time.Time, agent domain.AgentID) domain.Recorded {
	return domain.Recorded{
		Record:   domain.Record{At: at, Account: "acct_scenario", Agent: agent, Event: e},
		Position: domain.Position{Seq: s.seq}, Last: s.agent.Version,
	}
}

func (s *stage) fold(at time.Time, events ...domain.Event) {
	for _, e := range events {
		s.seq++
		s.agent = s.agent.Evolve(s.recorded(e, at, s.sc.agent.id))
	}
}

// moveTo sets the clock, which runs only forwards.
func (s *stage) moveTo(at time.Time, line int) error {
	if at.Before(s.now) {
		return &fileFault{s.sc.name, line, fmt.Sprintf("is at %s, before what came earlier at %s", at.Format(time.RFC3339), s.now.Format(time.RFC3339))}
	}
	s.now = at
	return nil
}

// ask decides on an ask as a verify does, and folds the decision in.
func (s *stage) ask(ask *domain.Ask, line int) (domain.DecisionMade, error) {
	req, err := ask.Request(s.sc.currency)
	if err != nil {
		return domain.DecisionMade{}, &fileFault{s.sc.name, line, err.Error()}
	}
	situation := domain.Situation{Agent: &s.agent, Budget: &s.budget, Settings: domain.DefaultApprovals()}
	situation.Now = situation.Moment(s.now)
	d := domain.Evaluate(situation, req)
	s.asked++
	d.Name(fmt.Sprintf("%026d", s.asked))
	s.fold(situation.Now, d)
	return d, s.agent.Fault()
}

// play asks what was asked before, and goes on with what came of it. What says
// no time of its own was at the usual one.
func (s *stage) play(h *past, usual time.Time) error {
	at := h.at
	if at.IsZero() {
		at = usual
	}
	if err := s.moveTo(at, h.line); err != nil {
		return err
	}
	for range h.times {
		d, err := s.ask(&h.ask, h.line)
		if err != nil {
			return err
		}
		if h.expect.misses(&d) {
			return &fileFault{s.sc.name, h.line, fmt.Sprintf("in the history: want %s, got %s: %s", h.expect, expectation{d.Outcome, d.ReasonCode, d.PermissionID}, d.Reason)}
		}
		if err := errors.Join(s.answer(h, &d), s.report(h, &d)); err != nil {
			return err
		}
	}
	return nil
}

// answer is what people say to an approval that was asked for.
func (s *stage) answer(h *past, d *domain.DecisionMade) error {
	if h.answer == "" {
		return nil
	}
	for i := range mostReviewers {
		approval, ok := s.agent.Approval(d.ApprovalID)
		if !ok || approval.StateAt(s.now) != domain.ApprovalPending {
			break
		}
		verb := s.agent.Approve
		if h.answer == "deny" {
			verb = s.agent.Deny
		}
		events, err := verb(domain.Review{ApprovalID: d.ApprovalID, By: reviewer(i), Account: s.account, Now: s.now})
		if err != nil {
			return &fileFault{s.sc.name, h.line, "answer: " + err.Error()}
		}
		for _, e := range events {
			s.fold(s.now, e)
		}
	}
	return nil
}

// report is the outcome that the agent reports of an allow.
func (s *stage) report(h *past, d *domain.DecisionMade) error {
	if h.outcome == "" {
		return nil
	}
	events, _, err := s.agent.Settle(domain.SettleDecision{RequestID: d.RequestID, Outcome: h.outcome, Amount: h.amount})
	if err != nil {
		return &fileFault{s.sc.name, h.line, "outcome: " + err.Error()}
	}
	s.fold(s.now, events...)
	return nil
}
