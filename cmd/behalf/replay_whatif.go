package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/infra/natslog"
	"github.com/behalf-platform/behalf/projections"
)

// readCandidate reads a candidate file, strictly, and checks what can be checked
// without the log. Faults have their lines.
func readCandidate(path string, in io.Reader) (*projections.Candidate, error) {
	name, text, err := readText(path, in)
	if err != nil {
		return nil, err
	}
	root, err := readTree(name, text)
	if err == nil {
		var c *projections.Candidate
		if c, err = candidateOf(name, root); err == nil {
			return c, nil
		}
	}
	return nil, usagef("%v", err)
}

func candidateOf(name string, root *written) (*projections.Candidate, error) {
	c := &projections.Candidate{Agents: map[domain.AgentID]projections.AgentCandidate{}}
	if err := root.only(name, "a candidate", "agents"); err != nil {
		return nil, err
	}
	agents := root.member("agents")
	if agents == nil {
		return nil, &fileFault{name, root.line, "names no agents; put what is to change under agents"}
	}
	if err := agents.isObject(name, "agents"); err != nil {
		return nil, err
	}
	var faults []error
	for i, id := range agents.names {
		a, err := agentCandidateOf(name, agents.items[i])
		faults = append(faults, err)
		c.Agents[domain.AgentID(id)] = a
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	if fault, ok := errors.AsType[*projections.CandidateError](c.Check()); ok {
		return nil, &fileFault{name, root.find(fault.Field), fault.Error()}
	}
	return c, nil
}

func agentCandidateOf(name string, n *written) (a projections.AgentCandidate, err error) {
	if err := n.only(name, "an agent of a candidate", "add", "replace", "remove", "only", "limits"); err != nil {
		return a, err
	}
	list, err := n.list(name, "add")
	faults := []error{err}
	for _, item := range list {
		var terms domain.Terms
		faults = append(faults, decodeNode(name, item, &terms))
		a.Add = append(a.Add, terms)
	}
	if replaced := n.member("replace"); replaced != nil {
		faults = append(faults, replaced.isObject(name, "replace"))
		a.Replace = map[domain.PermissionID]domain.Terms{}
		for i, id := range replaced.names {
			var terms domain.Terms
			faults = append(faults, decodeNode(name, replaced.items[i], &terms))
			a.Replace[domain.PermissionID(id)] = terms
		}
	}
	if removed := n.member("remove"); removed != nil {
		faults = append(faults, decodeNode(name, removed, &a.Remove))
	}
	if only := n.member("only"); only != nil {
		faults = append(faults, decodeNode(name, only, &a.Only))
	}
	if limits := n.member("limits"); limits != nil {
		a.Limits = new(domain.Limits)
		faults = append(faults, decodeNode(name, limits, a.Limits))
	}
	return a, errors.Join(faults...)
}

// whatIfReport is the outcome of a what-if, as JSON.
type whatIfReport struct {
	projections.WhatIfReport
	Seconds            float64 `json:"seconds"`
	DecisionsPerSecond float64 `json:"decisionsPerSecond"`
}

func (s *shell) whatIf(ctx context.Context, log *natslog.Log, chosen replayRange, candidate *projections.Candidate, given *replayFlags) error {
	mode := projections.WhatIfMode(given.mode)
	if mode != projections.Consequences && mode != projections.RecordedState {
		return usagef("--mode %q is unknown; use %s or %s", given.mode, projections.Consequences, projections.RecordedState)
	}
	report := whatIfReport{WhatIfReport: projections.WhatIfReport{Mode: mode, Changes: []projections.Change{}, Money: []projections.MoneyChange{}}}
	began := time.Now()
	var met []domain.AgentID
	for _, p := range chosen.partitions(log) {
		w := projections.WhatIf{Range: chosen.Range, Candidate: *candidate, Mode: mode, MostExamples: given.examples}
		of, err := w.Run(func(take func(domain.Recorded, error) error) error {
			return readPartition(ctx, log, p, chosen.Range, s.errs, take)
		})
		if err == nil {
			var here []domain.AgentID
			here, err = w.Met()
			met = append(met, here...)
		}
		if fault, ok := errors.AsType[*projections.CandidateError](err); ok {
			return usagef("%s: %v", given.whatIf, fault)
		}
		if err != nil {
			return fmt.Errorf("read partition %d of the log: %w", p, err)
		}
		report.Add(of)
	}
	for id := range candidate.Agents {
		if !slices.Contains(met, id) {
			return usagef("%s: names agent %s, which the log does not have there", given.whatIf, id)
		}
		if given.agent != "" && given.agent != string(id) {
			return usagef("%s: names agent %s, and --agent %s leaves it out", given.whatIf, id, given.agent)
		}
	}
	report.Seconds = time.Since(began).Seconds()
	report.DecisionsPerSecond = float64(report.Decisions) / report.Seconds
	if err := s.showWhatIf(&report, given.output); err != nil {
		return err
	}
	if report.Changed > 0 || report.Unreadable > 0 {
		return exitCode(exitFailed)
	}
	return nil
}

func (s *shell) showWhatIf(r *whatIfReport, output string) error {
	if output == "json" {
		return s.printJSON(r)
	}
	t := newTable(s.out)
	if len(r.Changes) > 0 {
		t.row("AGENT", "DECISIONS", "WAS", "WOULD BE")
		for _, c := range r.Changes {
			t.row(string(c.Agent), number(c.Count), cameText(c.From), cameText(c.To))
		}
		t.gap()
		t.row("REQUEST", "AT", "AGENT", "ACTION", "AMOUNT", "WOULD BE", "BECAUSE")
		for _, c := range r.Changes {
			for _, e := range c.Examples {
				t.row(string(e.RequestID), stamp(e.At), string(c.Agent), string(e.Action),
					orDash(money(string(e.Amount), string(e.Currency))), cameText(c.To), e.Reason)
			}
		}
		t.gap()
	}
	for _, m := range r.Money {
		t.row("Money now allowed: "+money(string(m.Allowed), string(m.Currency)), "now stopped: "+money(string(m.Stopped), string(m.Currency)))
	}
	if r.Asked > 0 {
		t.row(fmt.Sprintf("People would have been asked %d times more than they were; nobody answers those.", r.Asked))
	}
	if r.Moot > 0 {
		t.row(fmt.Sprintf("%d answers of people are to what they would not have been asked.", r.Moot))
	}
	if r.Unreadable > 0 {
		t.row(fmt.Sprintf("%d decisions could NOT be made: the log holds what this version can't read.", r.Unreadable))
	}
	verdict := "nothing changes"
	if r.Changed > 0 {
		verdict = fmt.Sprintf("%d CHANGE", r.Changed)
	}
	t.row(fmt.Sprintf("%s: %d decisions under the candidate (%s), of %d records, in %s (%.0f decisions/s)",
		verdict, r.Decisions, r.Mode, r.Records, seconds(r.Seconds), r.DecisionsPerSecond))
	return t.flush()
}

// cameText is how a decision came out, its code only where it adds something.
func cameText(c projections.Came) string {
	if strings.EqualFold(string(c.Outcome), string(c.ReasonCode)) {
		return string(c.Outcome)
	}
	return string(c.Outcome) + " " + string(c.ReasonCode)
}
