package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/behalf-platform/behalf"
	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers"
)

// plan is the difference between a file and the server.
type plan struct {
	Changes []change `json:"changes"`
	// Unchanged are the permissions that are as the file has them; Extra those
	// that it doesn't have, and that stay.
	Unchanged []listed `json:"unchanged,omitempty"`
	Extra     []listed `json:"notInFile,omitempty"`
	DryRun    bool     `json:"dryRun,omitzero"`

	file string
}

type listed struct {
	AgentID      string `json:"agentId"`
	Key          string `json:"key,omitempty"`
	PermissionID string `json:"permissionId"`
	Summary      string `json:"summary"`
}

// change is one act on the server.
type change struct {
	AgentID string `json:"agentId"`
	Do      deed   `json:"do"`
	// Name is the agent's, when it is registered.
	Name         string        `json:"name,omitempty"`
	APIKey       string        `json:"apiKey,omitempty"`
	Key          string        `json:"key,omitempty"`
	PermissionID string        `json:"permissionId,omitempty"`
	Summary      string        `json:"summary,omitempty"`
	Fields       []fieldChange `json:"fields,omitempty"`
	Done         bool          `json:"done"`

	driver  string
	limits  behalf.Limits
	terms   domain.Terms
	version uint64 // what the terms that are replaced had
	node    *written
}

// deed is what a change does.
type deed string

const (
	doRegister deed = "register"
	doDriver   deed = "driver"
	doLimits   deed = "limits"
	doGrant    deed = "grant"
	doReplace  deed = "replace"
	doRevoke   deed = "revoke"
)

// rank orders the changes of an agent so that, wherever they stop, it may not
// do more than before or after. Only a block gives way last.
func (c *change) rank() int {
	blocks := c.terms.BlockedActions != nil
	switch {
	case c.Do == doRegister:
		return 0
	case c.Do == doDriver || c.Do == doLimits:
		return 1
	case c.Do == doGrant && blocks:
		return 2
	case c.Do == doRevoke && !blocks:
		return 3
	case c.Do == doReplace:
		return 4
	case c.Do == doGrant:
		return 5
	}
	return 6
}

// standing is what the server has of an agent.
type standing struct {
	agent       behalf.Agent
	limits      domain.Limits
	permissions []handlers.PermissionView // those that were not revoked
}

// compare reads what the server has of the file's agents. Nothing is changed
// while anything of the file can't be done.
func (r *remote) compare(ctx context.Context, f passportFile, prune bool) (plan, error) {
	p := plan{file: f.name, Changes: []change{}}
	account, err := r.defaults(ctx)
	if err != nil {
		return p, err
	}
	var faults []error
	for i := range f.agents {
		a := &f.agents[i]
		has, err := r.standing(ctx, string(a.id))
		if err != nil {
			return p, err
		}
		d := difference{plan: &p, file: f.name, entry: a, has: has, account: account, prune: prune, now: r.shell.now()}
		faults = append(faults, d.agent()...)
	}
	if err := errors.Join(faults...); err != nil {
		return p, usageError(err.Error())
	}
	return p, nil
}

// defaults are the account's, as terms need them.
func (r *remote) defaults(ctx context.Context) (domain.Account, error) {
	ctx, cancel := r.once(ctx)
	defer cancel()
	a, err := r.Account(ctx)
	return domain.Account{Currency: domain.Currency(a.DefaultCurrency), TimeZone: a.TimeZone}, err
}

// standing reads an agent; the AgentID is empty if there is none.
func (r *remote) standing(ctx context.Context, id string) (s standing, err error) {
	ctx, cancel := r.once(ctx)
	defer cancel()
	if s.agent, err = r.Agent(ctx, id); err != nil {
		if refused, ok := errors.AsType[*behalf.Error](err); ok && refused.Code == string(domain.NotFound) {
			return standing{}, nil
		}
		return s, err
	}
	if _, err := r.AgentLimits(ctx, id); err != nil {
		return s, err
	}
	var limits handlers.AgentLimitsView
	if err := r.whole(&limits); err != nil {
		return s, err
	}
	if _, err := r.Permissions(ctx, id); err != nil {
		return s, err
	}
	var list struct {
		PassportVersion uint64                    `json:"passportVersion"`
		Permissions     []handlers.PermissionView `json:"permissions"`
	}
	if err := r.whole(&list); err != nil {
		return s, err
	}
	s.limits = limits.Limits
	s.permissions = slices.DeleteFunc(list.Permissions, func(p handlers.PermissionView) bool { return p.Status == domain.PermissionIsRevoked })
	return s, nil
}

// whole reads the newest answer, all of it: what this program doesn't know must
// not be lost when the answer is compared, or written down.
func (r *remote) whole(into any) error {
	if err := json.Unmarshal(r.wire.said.Bytes(), into, json.RejectUnknownMembers(true)); err != nil {
		return fmt.Errorf("%w: the answer says what this version of behalf can't read, use one as new as the server: %w", behalf.ErrUnavailable, err)
	}
	return nil
}

// difference compares one agent.
type difference struct {
	*plan
	file    string
	entry   *agentEntry
	has     standing
	account domain.Account
	prune   bool
	now     time.Time
}

func (d *difference) agent() (faults []error) {
	first := len(d.Changes)
	if d.has.agent.AgentID == "" {
		d.add(change{Do: doRegister, Name: d.entry.called(), driver: string(d.entry.driver), node: d.entry.node})
	} else {
		faults = append(faults, d.profile())
	}
	faults = append(faults, d.limits(), d.permissions())
	slices.SortStableFunc(d.Changes[first:], func(a, b change) int { return cmp.Compare(a.rank(), b.rank()) })
	return faults
}

func (d *difference) add(c change) {
	c.AgentID = string(d.entry.id)
	d.Changes = append(d.Changes, c)
}

// profile compares the name, which is for ever, and the driver.
func (d *difference) profile() error {
	a, has := d.entry, &d.has.agent
	if a.name != "" && a.name != has.Name {
		return &fileFault{d.file, a.node.find("/name"), fmt.Sprintf("agent %s is registered as %q, and names can't be changed; write that, or leave name out", a.id, has.Name)}
	}
	if to := string(a.driver); to != has.Driver && (to != "" || d.prune) {
		d.add(change{Do: doDriver, driver: to, Fields: []fieldChange{{"driver", has.Driver, to}}, node: a.node})
	}
	return nil
}

func (d *difference) limits() error {
	a := d.entry
	if a.limits == nil && !d.prune {
		return nil
	}
	var want domain.Limits
	n := a.node
	if a.limits != nil {
		var err error
		n = a.limitsNode
		if want, err = a.limits.Accept(d.account.Currency, d.account.Zone()); err != nil {
			return faultAt(d.file, n, err)
		}
	}
	fields, err := fieldsOf(d.has.limits, want)
	if err != nil || len(fields) == 0 {
		return err
	}
	c := change{Do: doLimits, Fields: fields, node: n}
	for _, b := range want.Budgets {
		c.limits.Budgets = append(c.limits.Budgets, behalf.Budget{Amount: string(b.Amount), Currency: string(b.Currency), Per: string(b.Per), TimeZone: b.TimeZone})
	}
	for _, r := range want.Rates {
		c.limits.Rates = append(c.limits.Rates, behalf.Rate{Count: r.Count, Per: string(r.Per), TimeZone: r.TimeZone})
	}
	d.add(c)
	return nil
}

func (d *difference) permissions() error {
	var faults []error
	left := d.has.permissions
	for i := range d.entry.permissions {
		p := &d.entry.permissions[i]
		at, byID := match(left, p.key)
		var old *handlers.PermissionView
		if at >= 0 {
			old = &left[at]
			left = slices.Delete(slices.Clone(left), at, at+1)
		}
		faults = append(faults, d.permission(p, old, byID))
	}
	for _, p := range left {
		key, _, _ := keyOf(p.Notes)
		if !d.prune {
			d.Extra = append(d.Extra, listed{string(d.entry.id), key, string(p.PermissionID), p.Summary})
			continue
		}
		d.add(change{Do: doRevoke, Key: key, PermissionID: string(p.PermissionID), Summary: p.Summary, terms: p.Terms})
	}
	return errors.Join(faults...)
}

// match finds the permission that a key means: the one whose id it is, or that
// carries it. Of two that carry one key, which take two people at once to make,
// it is the older.
func match(list []handlers.PermissionView, key string) (at int, byID bool) {
	at = slices.IndexFunc(list, func(p handlers.PermissionView) bool { return string(p.PermissionID) == key })
	if at >= 0 {
		return at, true
	}
	return slices.IndexFunc(list, func(p handlers.PermissionView) bool {
		carried, _, ok := keyOf(p.Notes)
		return ok && carried == key
	}), false
}

func (d *difference) permission(p *permissionEntry, old *handlers.PermissionView, byID bool) error {
	// What stands is compared as it is, be it past; only what is sent must hold.
	terms, err := p.accepted(byID, time.Time{}, d.account.Currency, d.account.Zone())
	if err != nil {
		return faultAt(d.file, p.node, err)
	}
	c := change{Do: doGrant, Key: p.key, Summary: terms.Summary(), terms: terms, node: p.node}
	if old != nil {
		c.Do, c.PermissionID, c.version = doReplace, string(old.PermissionID), old.Version
		if c.Fields, err = fieldsOf(old.Terms, terms); err != nil {
			return err
		}
		if len(c.Fields) == 0 {
			d.Unchanged = append(d.Unchanged, listed{string(d.entry.id), p.key, c.PermissionID, c.Summary})
			return nil
		}
	}
	if _, err := p.accepted(byID, d.now, d.account.Currency, d.account.Zone()); err != nil {
		return faultAt(d.file, p.node, err)
	}
	d.add(c)
	return nil
}
