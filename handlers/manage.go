package handlers

import (
	"context"

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
	agent, err := w.agent(ctx, by.on(cmd.AgentID), func(a domain.Agent) ([]domain.Event, error) { return a.Register(cmd) })
	return agent, key, err
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
	return agent, key, err
}

// Grant adds a permission to an agent's passport.
func (w *Writer) Grant(ctx context.Context, by Member, id domain.AgentID, terms domain.Terms) (domain.Agent, domain.PermissionID, error) {
	permission := domain.PermissionID(domain.PermissionPrefix + NewULID(w.Now()))
	agent, err := w.agent(ctx, by.on(id), func(a domain.Agent) ([]domain.Event, error) {
		return a.Grant(w.grant(by, permission, terms))
	})
	return agent, permission, err
}

// Replace gives a permission other terms, if it has not changed since the
// passport version ifVersion (0: whatever it is).
func (w *Writer) Replace(ctx context.Context, by Member, id domain.AgentID, p domain.PermissionID, terms domain.Terms, ifVersion uint64) (domain.Agent, error) {
	return w.agent(ctx, by.on(id), func(a domain.Agent) ([]domain.Event, error) {
		return a.Replace(domain.ReplacePermission{GrantPermission: w.grant(by, p, terms), IfVersion: ifVersion})
	})
}

func (w *Writer) grant(by Member, p domain.PermissionID, terms domain.Terms) domain.GrantPermission {
	account, _ := w.Passports.Account(by.Account) // by was found in it a moment ago
	return domain.GrantPermission{PermissionID: p, Terms: terms, Now: w.Now(), Currency: account.Currency}
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
		if err := mayManage(a, by.on("")); err != nil {
			return nil, err
		}
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
