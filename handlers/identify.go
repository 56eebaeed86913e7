package handlers

import (
	"context"
	"strings"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/projections"
)

// ErrCredential is the one answer to every credential that is not good: a
// missing one, an unknown one, one that was rotated, and the key of another
// agent than the request names. It says nothing of which agents exist.
var ErrCredential = domain.Reject(domain.Unauthorized,
	"the credential is missing, unknown, or not that of the agent named; send Authorization: Bearer with a current agent key (%s…) or member token (%s…)",
	domain.AgentKeyPrefix, domain.MemberTokenPrefix)

// Member is a member who was identified, and the account they act for.
type Member struct {
	Account domain.AccountID
	domain.Member
}

// on is an act of the member's on an agent, or on the account itself.
func (m Member) on(agent domain.AgentID) act {
	return act{by: domain.ByMember(m.ID), member: m.ID, least: domain.RoleAdmin, stream: domain.Stream{Account: m.Account, Agent: agent}}
}

// in is the member as they stand in the state that is decided on: the rights
// that were there when they were identified may be gone.
func (m Member) in(a domain.Account) domain.Member {
	now, _ := a.Member(m.ID)
	return now
}

// Caller is whose credential a message carries: an agent's or a member's.
type Caller struct {
	// Hash is what the credential is limited by and compared by.
	Hash   domain.TokenHash
	Agent  domain.Stream // zero for a member
	Member Member        // zero for an agent
}

// Identifier finds out whose credential a message carries.
type Identifier struct {
	Log       Log
	Passports *projections.Passports
}

// Bearer returns the hash of the credential in an Authorization header.
func Bearer(header string) (domain.TokenHash, error) {
	scheme, secret, ok := strings.Cut(header, " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") || secret == "" || len(secret) > 256 {
		return "", ErrCredential
	}
	return domain.HashToken(secret), nil
}

// Identify finds the caller with this credential. For a member it looks at the
// log, not only at what is folded here: rights taken away on another node are
// gone here too, as soon as the log's leader has them. An agent's key is judged
// as it is known here, since what it is used for most is judged again by the
// fence; see [Identifier.Still] for the rest.
func (i *Identifier) Identify(ctx context.Context, hash domain.TokenHash) (Caller, error) {
	if s, ok := i.Passports.ByKey(hash); ok {
		return Caller{Hash: hash, Agent: s}, nil
	}
	account, id, ok := i.Passports.ByToken(hash)
	if !ok {
		return Caller{}, ErrCredential
	}
	if err := catchUp(ctx, i.Log, i.Passports, domain.Stream{Account: account}); err != nil {
		return Caller{}, err
	}
	state, err := i.Passports.Account(account)
	if err != nil {
		return Caller{}, Unreadable(err)
	}
	m, ok := state.Member(id)
	if !ok || !m.Token.Equal(hash) {
		return Caller{}, ErrCredential
	}
	return Caller{Hash: hash, Member: Member{Account: account, Member: m}}, nil
}

// Still returns an error unless the caller's credential is good by what the log
// holds now.
func (i *Identifier) Still(ctx context.Context, c Caller) error {
	if !c.IsAgent() {
		_, err := i.Identify(ctx, c.Hash)
		return err
	}
	if err := catchUp(ctx, i.Log, i.Passports, c.Agent); err != nil {
		return err
	}
	agent := i.Passports.Agent(c.Agent)
	if err := agent.Fault(); err != nil {
		return Unreadable(err)
	}
	if !agent.Key.Equal(c.Hash) {
		return ErrCredential
	}
	return nil
}
