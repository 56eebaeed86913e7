package main

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers"
)

// scenario is a passport, what was asked before, and asks with what should be
// decided on them.
type scenario struct {
	name     string
	agent    *agentEntry
	passport string // the file the agent is in
	time     time.Time
	currency domain.Currency
	zone     string
	history  []past
	cases    []scenarioCase
}

type scenarioCase struct {
	line    int
	name    string
	time    time.Time
	ask     domain.Ask
	expect  expectation
	history []past
}

// past is an ask before, and what came of it.
type past struct {
	line    int
	at      time.Time
	times   int
	ask     domain.Ask
	expect  expectation
	answer  string // of a person: approve, deny, or none
	outcome domain.ActionOutcome
	amount  domain.Decimal
}

// expectation is a decision; what is empty may be anything.
type expectation struct {
	Decision   domain.Outcome      `json:"decision"`
	ReasonCode domain.ReasonCode   `json:"reasonCode"`
	Permission domain.PermissionID `json:"permission"`
}

func (e expectation) misses(d *domain.DecisionMade) bool {
	return e.Decision != d.Outcome ||
		e.ReasonCode != "" && e.ReasonCode != d.ReasonCode ||
		e.Permission != "" && e.Permission != d.PermissionID
}

func (e expectation) String() string {
	text := string(e.Decision)
	if e.ReasonCode != "" {
		text += " " + string(e.ReasonCode)
	}
	if e.Permission != "" {
		text += " by " + string(e.Permission)
	}
	return text
}

// check refuses what could never be met, such as a code that is misspelled.
func (e expectation) check(a *agentEntry) error {
	switch {
	case e.Decision != domain.OutcomeAllowed && e.Decision != domain.OutcomeDenied && e.Decision != domain.OutcomeRequiresApproval:
		return domain.RejectField(domain.Invalid, "/decision", "%q is not a decision; use allowed, denied or requires_approval", e.Decision)
	case e.ReasonCode != "" && !slices.Contains(domain.ReasonCodes(), e.ReasonCode):
		return domain.RejectField(domain.Invalid, "/reasonCode", "%q is not a reason code", e.ReasonCode)
	case e.Permission != "" && !slices.ContainsFunc(a.permissions, func(p permissionEntry) bool { return p.key == string(e.Permission) }):
		return domain.RejectField(domain.Invalid, "/permission", "%q is the key of no permission of agent %s", e.Permission, a.id)
	}
	return nil
}

// readScenario reads a scenario and the passport it names.
func readScenario(file string) (scenario, error) {
	sc := scenario{name: file}
	_, text, err := readText(file, nil)
	if err != nil {
		return sc, err
	}
	root, err := readTree(file, text)
	if err != nil {
		return sc, err
	}
	if err := root.only(file, "a scenario", "passport", "agent", "time", "currency", "timeZone", "history", "cases"); err != nil {
		return sc, err
	}
	var head struct {
		Agent    domain.AgentID  `json:"agent"`
		Time     time.Time       `json:"time"`
		Currency domain.Currency `json:"currency"`
		TimeZone string          `json:"timeZone"`
	}
	if err := decodeNode(file, root.without("passport", "history", "cases"), &head); err != nil {
		return sc, err
	}
	if head.Time.IsZero() {
		return sc, &fileFault{file, root.line, "has no time; say at what time the cases are asked, such as time: 2027-03-01T12:00:00Z"}
	}
	if head.Currency == "" {
		head.Currency = "USD"
	}
	sc.time, sc.currency, sc.zone = head.Time, head.Currency, domain.Account{TimeZone: head.TimeZone}.Zone()
	if err := sc.readAgent(root, head.Agent); err != nil {
		return sc, err
	}
	var fault error
	if sc.history, fault = sc.readHistory(root); fault != nil {
		return sc, fault
	}
	return sc, sc.readCases(root)
}

// readAgent finds the agent in the passport of the scenario or the one it names.
func (sc *scenario) readAgent(root *written, id domain.AgentID) error {
	var f passportFile
	var err error
	switch p := root.member("passport"); {
	case p == nil:
		return &fileFault{sc.name, root.line, "has no passport; name a file, or write one here"}
	case p.kind == '"':
		path := p.string()
		if !filepath.IsAbs(path) {
			path = filepath.Join(filepath.Dir(sc.name), path)
		}
		f, err = readPassport(path, nil)
	default:
		f, err = passportOf(sc.name, p)
	}
	if err != nil {
		return err
	}
	sc.passport = f.name
	for i := range f.agents {
		if f.agents[i].id == id || id == "" && len(f.agents) == 1 {
			sc.agent = &f.agents[i]
			return nil
		}
	}
	if id == "" {
		return &fileFault{sc.name, root.line, "the passport has several agents; name the one that asks with agent"}
	}
	return &fileFault{sc.name, root.find("/agent"), fmt.Sprintf("the passport has no agent %s", id)}
}

func (sc *scenario) readCases(root *written) error {
	list, err := root.list(sc.name, "cases")
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return &fileFault{sc.name, root.line, "has no cases; list at least one"}
	}
	var faults []error
	for i, n := range list {
		c := scenarioCase{line: n.line}
		var head struct {
			Name   string      `json:"name"`
			Time   time.Time   `json:"time"`
			Expect expectation `json:"expect"`
		}
		if err := sc.readAsk(n, &head, &c.ask, "history"); err != nil {
			faults = append(faults, err)
			continue
		}
		c.name, c.time, c.expect = head.Name, head.Time, head.Expect
		if c.name == "" {
			c.name = fmt.Sprintf("case %d", i+1)
		}
		if c.time.IsZero() {
			c.time = sc.time
		}
		if err := c.expect.check(sc.agent); err != nil {
			faults = append(faults, faultAt(sc.name, cmp.Or(n.member("expect"), n), err))
		}
		c.history, err = sc.readHistory(n)
		faults = append(faults, err)
		sc.cases = append(sc.cases, c)
	}
	return errors.Join(faults...)
}

// readAsk reads an item that asks: the ask as a verify reads it, the rest as
// what configures.
func (sc *scenario) readAsk(n *written, head any, ask *domain.Ask, also ...string) error {
	if err := n.isObject(sc.name, "a case"); err != nil {
		return err
	}
	if err := decodeNode(sc.name, n.without(append(also, "ask")...), head); err != nil {
		return err
	}
	asked := n.member("ask")
	if asked == nil {
		return &fileFault{sc.name, n.line, "asks nothing; write ask: {action: …}"}
	}
	err := handlers.Decode(asked.json(nil), ask)
	if err == nil && ask.AgentID != "" && ask.AgentID != sc.agent.id {
		err = domain.RejectField(domain.Invalid, "/agentId", "is not %s, whose passport this is", sc.agent.id)
	}
	if err == nil {
		_, err = ask.Request(sc.currency)
	}
	return faultAt(sc.name, asked, err)
}

func (sc *scenario) readHistory(of *written) (history []past, err error) {
	list, err := of.list(sc.name, "history")
	if err != nil {
		return nil, err
	}
	for _, n := range list {
		h := past{line: n.line}
		var head struct {
			At      time.Time            `json:"at"`
			Times   *int                 `json:"times"`
			Expect  *expectation         `json:"expect"`
			Answer  string               `json:"answer"`
			Outcome domain.ActionOutcome `json:"outcome"`
			Amount  domain.Decimal       `json:"amount"`
		}
		if err := sc.readAsk(n, &head, &h.ask); err != nil {
			return nil, err
		}
		h.at, h.times, h.answer, h.outcome, h.amount = head.At, 1, head.Answer, head.Outcome, head.Amount
		if head.Times != nil {
			h.times = *head.Times
		}
		h.expect = expectation{Decision: domain.OutcomeAllowed}
		if h.answer != "" {
			h.expect.Decision = domain.OutcomeRequiresApproval
		}
		if head.Expect != nil {
			h.expect = *head.Expect
			err = h.expect.check(sc.agent)
		}
		switch {
		case err != nil:
			return nil, faultAt(sc.name, n.member("expect"), err)
		case h.times < 1 || h.times > mostTimes:
			return nil, &fileFault{sc.name, n.find("/times"), fmt.Sprintf("times is %d; use 1 to %d", h.times, mostTimes)}
		case h.answer != "" && h.answer != "approve" && h.answer != "deny":
			return nil, &fileFault{sc.name, n.find("/answer"), fmt.Sprintf("%q is not an answer; use approve or deny", h.answer)}
		case h.amount != "" && h.outcome == "":
			return nil, &fileFault{sc.name, n.find("/amount"), "amount is what was spent in fact; say outcome: executed with it"}
		}
		history = append(history, h)
	}
	return history, nil
}

// mostTimes bounds how often an ask of a history is repeated.
const mostTimes = 10_000
