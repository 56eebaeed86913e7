package handlers

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/behalf-platform/behalf/domain"
)

// RegisterAgent registers an agent and returns its key, which is not kept and
// can't be shown again. An agent without an id gets one; a connected agent gets
// a key only if withKey says so.
func (w *Writer) RegisterAgent(ctx context.Context, by Member, cmd domain.RegisterAgent, withKey bool) (domain.Agent, string, error) {
	if cmd.AgentID == "" {
		cmd.AgentID = domain.AgentID(domain.AgentPrefix + NewULID(w.Now()))
	}
	var key string
	if withKey {
		key = newSecret(domain.AgentKeyPrefix)
		cmd.Key = domain.HashToken(key)
	}
	if !domain.ValidID(string(cmd.AgentID)) { // before it names a stream
		_, err := domain.Agent{}.Register(cmd)
		return domain.Agent{}, "", err
	}
	agent, err := w.agentAt(ctx, by.on(cmd.AgentID), func(a domain.Agent, account domain.Account, _ time.Time) ([]domain.Event, error) {
		if err := drives(account, cmd.Driver); err != nil {
			return nil, err
		}
		return a.Register(cmd)
	})
	if err != nil {
		return agent, "", err
	}
	// Either the log has the account's limits before the agent, and they are known
	// here once the agent's own place in it is, or it has them after, and whoever
	// set them finds the agent.
	if err := w.reach(ctx, agent.Position); err != nil {
		return agent, "", unavailable(err, "agent %s is registered and can't be used yet; give it a new key with rotate-key", agent.ID)
	}
	agent, err = w.share(ctx, by.on(agent.ID), agent)
	return agent, key, err
}

// reach returns once everything up to a position has been folded here. It is as
// patient as an act may be: what it waits for was recorded a moment ago.
func (w *Writer) reach(ctx context.Context, p domain.Position) error {
	ctx, cancel := context.WithTimeout(ctx, w.Timeout)
	defer cancel()
	for {
		err := w.CatchUp(ctx, p)
		if err == nil || sleep(ctx, 50*time.Millisecond) != nil {
			return err
		}
	}
}

// drives is the rule that whoever drives an agent is a member.
func drives(account domain.Account, driver domain.MemberID) error {
	if _, ok := account.Member(driver); driver != "" && !ok {
		return domain.RejectField(domain.Invalid, "/driver", "%q is not a member of the account", driver)
	}
	return nil
}

// Drive says which member's work an agent does, or nobody's. That member can't
// approve what the agent asks.
func (w *Writer) Drive(ctx context.Context, by Member, id domain.AgentID, driver domain.MemberID) (domain.Agent, error) {
	return w.agentAt(ctx, by.on(id), func(a domain.Agent, account domain.Account, _ time.Time) ([]domain.Event, error) {
		if err := drives(account, driver); err != nil {
			return nil, err
		}
		return a.Drive(driver)
	})
}

// SetLimits limits all permissions of an agent together.
func (w *Writer) SetLimits(ctx context.Context, by Member, id domain.AgentID, limits domain.Limits) (domain.Agent, error) {
	return w.agentAt(ctx, by.on(id), func(a domain.Agent, account domain.Account, _ time.Time) ([]domain.Event, error) {
		return a.SetLimits(limits, account)
	})
}

// SetAccountLimits limits all agents of an account together. It returns when
// each of them is under the limits: from then on no allow anywhere is given
// without being counted. When it fails half-way, repeat it.
func (w *Writer) SetAccountLimits(ctx context.Context, by Member, limits domain.Limits) (domain.SharedBudget, error) {
	a := by.on("")
	a.stream.Budget = true
	budget, err := w.budget(ctx, a, func(b domain.SharedBudget, account domain.Account) ([]domain.Event, error) {
		return b.SetLimits(limits, account)
	})
	if err != nil || budget.Set.Seq == 0 {
		return budget, err
	}
	// An agent registered before is known once this has been folded; one that
	// comes later looks at the limits itself before its key is given out.
	if err := w.reach(ctx, budget.Set); err != nil {
		return budget, unavailable(err, "the limits are set, and not all agents are under them yet; repeat the request")
	}
	return budget, w.shareAll(ctx, by.on(""))
}

// shareAll puts every agent of an account under its limits as they stand.
func (w *Writer) shareAll(ctx context.Context, a act) error {
	const atOnce = 32
	var (
		group sync.WaitGroup
		once  sync.Once
		fault error
	)
	agents := make(chan *domain.Agent)
	for range atOnce {
		group.Go(func() {
			for agent := range agents {
				a := a
				a.stream.Agent = agent.ID
				if _, err := w.share(ctx, a, *agent); err != nil {
					once.Do(func() { fault = err })
				}
			}
		})
	}
	for _, agent := range w.Passports.Agents(a.stream.Account) {
		agents <- agent
	}
	close(agents)
	group.Wait()
	return fault
}

// Share goes on, until ctx ends, with putting agents under their account's limits
// where whoever set these could not finish: the node may have stopped half-way.
func (w *Writer) Share(ctx context.Context, ready func() error, logs *slog.Logger) error {
	const every = 5 * time.Second
	for {
		if err := sleep(ctx, every); err != nil {
			return nil
		}
		if ready() != nil {
			continue
		}
		for _, id := range w.Passports.Accounts() {
			budget := w.Passports.Budget(id)
			behind := budget.Set.Seq > 0 && slices.ContainsFunc(w.Passports.Agents(id), func(a *domain.Agent) bool { return len(a.Share(*budget)) > 0 })
			if !behind {
				continue
			}
			if err := w.shareAll(ctx, act{by: domain.BySystem("limits"), stream: domain.Stream{Account: id}}); err != nil && ctx.Err() == nil {
				logs.WarnContext(ctx, "put agents under their account's limits", slog.String("account_id", string(id)), slog.Any("error", err))
			}
		}
	}
}

// share puts an agent under the account's limits, or takes it out from under
// them, as they stand in the log.
func (w *Writer) share(ctx context.Context, a act, agent domain.Agent) (domain.Agent, error) {
	stream := domain.Stream{Account: a.stream.Account, Budget: true}
	if err := catchUp(ctx, w.Log, w.Passports, stream); err != nil {
		return agent, err
	}
	if len(agent.Share(*w.Passports.Budget(stream.Account))) == 0 {
		return agent, nil
	}
	return w.agent(ctx, a, func(a domain.Agent) ([]domain.Event, error) {
		if err := catchUp(ctx, w.Log, w.Passports, stream); err != nil {
			return nil, err
		}
		budget := w.Passports.Budget(stream.Account)
		if err := budget.Fault(); err != nil {
			return nil, Unreadable(err)
		}
		return a.Share(*budget), nil
	})
}

// DisableAgent denies an agent everything. Once it returns, no verify that
// starts anywhere can allow.
func (w *Writer) DisableAgent(ctx context.Context, by Member, id domain.AgentID, reason string) (domain.Agent, error) {
	return w.agent(ctx, by.on(id), func(a domain.Agent) ([]domain.Event, error) { return a.Disable(reason) })
}

// EnableAgent ends a DisableAgent.
func (w *Writer) EnableAgent(ctx context.Context, by Member, id domain.AgentID) (domain.Agent, error) {
	return w.agent(ctx, by.on(id), domain.Agent.Enable)
}

// RotateKey gives an agent a new key and returns it. The old one is dead once
// it returns.
func (w *Writer) RotateKey(ctx context.Context, by Member, id domain.AgentID) (domain.Agent, string, error) {
	key := newSecret(domain.AgentKeyPrefix)
	agent, err := w.agent(ctx, by.on(id), func(a domain.Agent) ([]domain.Event, error) {
		return a.RotateKey(domain.HashToken(key))
	})
	if err == nil { // a registration may have ended before it got there
		agent, err = w.share(ctx, by.on(agent.ID), agent)
	}
	return agent, key, err
}

// Grant adds a permission to an agent's passport.
func (w *Writer) Grant(ctx context.Context, by Member, id domain.AgentID, terms domain.Terms) (domain.Agent, domain.PermissionID, error) {
	permission := domain.PermissionID(domain.PermissionPrefix + NewULID(w.Now()))
	agent, err := w.agentAt(ctx, by.on(id), func(a domain.Agent, account domain.Account, now time.Time) ([]domain.Event, error) {
		return a.Grant(grant(account, now, permission, terms))
	})
	return agent, permission, err
}

// Replace gives a permission other terms, if it has not changed since the
// passport version ifVersion (0: whatever it is).
func (w *Writer) Replace(ctx context.Context, by Member, id domain.AgentID, p domain.PermissionID, terms domain.Terms, ifVersion uint64) (domain.Agent, error) {
	return w.agentAt(ctx, by.on(id), func(a domain.Agent, account domain.Account, now time.Time) ([]domain.Event, error) {
		return a.Replace(domain.ReplacePermission{GrantPermission: grant(account, now, p, terms), IfVersion: ifVersion})
	})
}

func grant(account domain.Account, now time.Time, p domain.PermissionID, terms domain.Terms) domain.GrantPermission {
	return domain.GrantPermission{PermissionID: p, Terms: terms, Now: now, Currency: account.Currency, TimeZone: account.Zone()}
}

// Revoke ends a permission. Once it returns, no verify that starts anywhere can
// allow by it. Revoking again changes nothing.
func (w *Writer) Revoke(ctx context.Context, by Member, id domain.AgentID, cmd domain.RevokePermission) (domain.Agent, error) {
	return w.agent(ctx, by.on(id), func(a domain.Agent) ([]domain.Event, error) { return a.Revoke(cmd) })
}

// OpenAccount opens an account. The token is the owner's.
func (w *Writer) OpenAccount(ctx context.Context, id domain.AccountID, cmd domain.OpenAccount) (domain.Account, error) {
	a := act{by: domain.BySystem("setup"), stream: domain.Stream{Account: id}}
	return w.account(ctx, a, func(a domain.Account) ([]domain.Event, error) { return a.Open(cmd) })
}

// ResetOwner gives an account's owner a token, a new one if it is empty, and
// returns it. It is for whoever runs the server, and says so in the log.
func (w *Writer) ResetOwner(ctx context.Context, id domain.AccountID, token string) (string, error) {
	if token == "" {
		token = NewMemberToken()
	}
	a := act{by: domain.BySystem("reset"), stream: domain.Stream{Account: id}}
	_, err := w.account(ctx, a, func(a domain.Account) ([]domain.Event, error) {
		for _, m := range a.Roster() {
			if m.Role == domain.RoleOwner {
				return a.RotateToken(domain.RotateToken{By: m, MemberID: m.ID, Token: domain.HashToken(token)})
			}
		}
		return nil, domain.Reject(domain.NotFound, "account %s has no owner", id)
	})
	return token, err
}

// ChangeSettings changes an account's defaults.
func (w *Writer) ChangeSettings(ctx context.Context, by Member, cmd domain.ChangeSettings) (domain.Account, error) {
	return w.account(ctx, by.on(""), func(a domain.Account) ([]domain.Event, error) {
		if err := mayAct(a, by.on("")); err != nil {
			return nil, err
		}
		cmd.By = by.in(a)
		return a.Change(cmd)
	})
}

// AddMember adds a member and returns the token, which is not kept.
func (w *Writer) AddMember(ctx context.Context, by Member, name string, role domain.Role) (domain.Member, string, error) {
	id := domain.MemberID(domain.MemberPrefix + NewULID(w.Now()))
	token := NewMemberToken()
	account, err := w.account(ctx, by.on(""), func(a domain.Account) ([]domain.Event, error) {
		return a.Add(domain.AddMember{By: by.in(a), MemberID: id, Name: name, Role: role, Token: domain.HashToken(token)})
	})
	return account.Members[id], token, err
}

// ChangeRole gives a member another role.
func (w *Writer) ChangeRole(ctx context.Context, by Member, id domain.MemberID, role domain.Role) (domain.Member, error) {
	account, err := w.account(ctx, by.on(""), func(a domain.Account) ([]domain.Event, error) {
		return a.ChangeRole(domain.ChangeRole{By: by.in(a), MemberID: id, Role: role})
	})
	return account.Members[id], err
}

// RotateToken gives a member a new token and returns it.
func (w *Writer) RotateToken(ctx context.Context, by Member, id domain.MemberID) (domain.Member, string, error) {
	token := NewMemberToken()
	account, err := w.account(ctx, by.on(""), func(a domain.Account) ([]domain.Event, error) {
		return a.RotateToken(domain.RotateToken{By: by.in(a), MemberID: id, Token: domain.HashToken(token)})
	})
	return account.Members[id], token, err
}

// RemoveMember ends a member's rights.
func (w *Writer) RemoveMember(ctx context.Context, by Member, id domain.MemberID) error {
	_, err := w.account(ctx, by.on(""), func(a domain.Account) ([]domain.Event, error) {
		return a.Remove(domain.RemoveMember{By: by.in(a), MemberID: id})
	})
	return err
}
