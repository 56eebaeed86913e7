package main

import (
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"
)

// String says what the change is about to do.
func (c *change) String() string {
	key := listed{Key: c.Key, PermissionID: c.PermissionID}.called()
	switch c.Do {
	case doRegister:
		return "register agent " + c.AgentID
	case doDriver, doLimits:
		return "set the " + string(c.Do) + " of agent " + c.AgentID
	case doGrant:
		return "grant " + key + " to agent " + c.AgentID
	case doReplace, doRevoke:
	}
	return string(c.Do) + " " + key + " of agent " + c.AgentID
}

// tell shows a plan that is not carried out.
func (p *plan) tell(r *remote) error {
	if r.json {
		if err := p.print(r); err != nil {
			return err
		}
	} else if err := p.show(r); err != nil {
		return err
	}
	if len(p.Changes) == 0 {
		return p.sum(r, "Nothing to do: ")
	}
	if err := p.sum(r, "Nothing was done (--dry-run): "); err != nil {
		return err
	}
	return exitCode(exitFailed)
}

// close shows what came of a plan, whole or not.
func (p *plan) close(r *remote) error {
	if r.json {
		return p.print(r)
	}
	if p.done() < len(p.Changes) {
		return nil // the error says how far it came
	}
	return p.sum(r, "Done: ")
}

func (p *plan) print(r *remote) error {
	b, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("write the plan: %w", err)
	}
	return r.print(b)
}

func (p *plan) done() (n int) {
	for _, c := range p.Changes {
		if c.Done {
			n++
		}
	}
	return n
}

// show prints the difference, agent by agent.
func (p *plan) show(r *remote) error {
	t := newTable(r.shell.out)
	for _, id := range p.agents() {
		t.row(id)
		for _, c := range p.Changes {
			if c.AgentID == id {
				c.show(t)
			}
		}
		for _, u := range p.Unchanged {
			if u.AgentID == id {
				t.row("  = "+u.Key, "unchanged")
			}
		}
		for _, e := range p.Extra {
			if e.AgentID == id {
				t.row("  ? "+e.called(), "not in the file", e.Summary)
			}
		}
		t.gap()
	}
	return t.flush()
}

// agents are those that something is said of, in the order of the file.
func (p *plan) agents() (ids []string) {
	seen := map[string]bool{}
	add := func(id string) {
		if !seen[id] {
			seen[id] = true
			ids = append(ids, id)
		}
	}
	for _, c := range p.Changes {
		add(c.AgentID)
	}
	for _, u := range p.Unchanged {
		add(u.AgentID)
	}
	for _, e := range p.Extra {
		add(e.AgentID)
	}
	return ids
}

func (c *change) show(t *table) {
	switch c.Do {
	case doRegister:
		t.row("  + agent", "registered", c.Name)
		return
	case doGrant:
		t.row("  + "+c.Key, "added", c.Summary)
		return
	case doRevoke:
		t.row("  - "+listed{Key: c.Key, PermissionID: c.PermissionID}.called(), "revoked", c.Summary)
		return
	case doReplace:
		t.row("  ~ "+c.Key, "replaced", c.Summary)
	case doDriver, doLimits:
		t.row("  ~ agent", string(c.Do))
	}
	for _, f := range c.Fields {
		t.row("", "  "+f.Field, orNone(f.From)+" → "+orNone(f.To))
	}
}

func (l listed) called() string {
	if l.Key == "" {
		return l.PermissionID
	}
	return l.Key
}

func orNone(text string) string {
	if text == "" {
		return "none"
	}
	return text
}

// sum counts the changes in a line, for people.
func (p *plan) sum(r *remote, lead string) error {
	if r.json {
		return nil
	}
	var parts []string
	say := func(n int, what string) {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, what))
		}
	}
	count := func(do deed) (n int) {
		for _, c := range p.Changes {
			if c.Do == do {
				n++
			}
		}
		return n
	}
	say(count(doRegister), "registered")
	say(count(doDriver)+count(doLimits), "set (limits or driver)")
	say(count(doGrant), "added")
	say(count(doReplace), "replaced")
	say(count(doRevoke), "revoked")
	say(len(p.Unchanged), "unchanged")
	say(len(p.Extra), "not in the file and left alone")
	if len(p.Extra) > 0 {
		parts[len(parts)-1] += " (--prune revokes)"
	}
	if parts == nil {
		parts = []string{"the agents are as the file has them"}
	}
	return r.print([]byte(lead + strings.Join(parts, ", ") + "."))
}
