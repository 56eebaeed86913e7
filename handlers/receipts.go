package handlers

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/projections"
)

// Receipts signs what was allowed, for services that an agent takes it to. A nil
// Receipts signs nothing.
type Receipts struct {
	Passports *projections.Passports
	// Key derives a version of an account's key.
	Key func(account domain.AccountID, version int) (ed25519.PrivateKey, error)
	// Lifetime is how long a receipt is good.
	Lifetime time.Duration

	signers sync.Map // receiptKey to *receiptSigner
}

// receiptType is what a receipt says it is, so that it is taken for no other token.
const receiptType = "behalf-receipt+jwt"

type receiptKey struct {
	account domain.AccountID
	version int
}

// receiptSigner is a key, and the first part of all it signs.
type receiptSigner struct {
	private ed25519.PrivateKey
	jwk     JWK
	header  string
}

// JWK is a public key as RFC 8037 has it.
type JWK struct {
	KeyType   string `json:"kty"`
	Curve     string `json:"crv"`
	X         string `json:"x"`
	KeyID     string `json:"kid"`
	Algorithm string `json:"alg"`
	Use       string `json:"use"`
}

// JWKS is every public key that receipts are checked with.
type JWKS struct {
	Keys []JWK `json:"keys"`
}

// receiptClaims are what a receipt says. All of it is in the record of the
// decision, so that a repeat gets the same.
type receiptClaims struct {
	Issuer          domain.AccountID    `json:"iss"`
	Subject         domain.AgentID      `json:"sub"`
	Audience        string              `json:"aud,omitempty"`
	ID              domain.RequestID    `json:"jti"`
	IssuedAt        int64               `json:"iat"` // rounded down
	Expires         int64               `json:"exp"`
	Action          domain.Action       `json:"action"`
	Vendor          string              `json:"vendor,omitempty"`
	Resource        string              `json:"resource,omitempty"`
	Amount          domain.Decimal      `json:"amount,omitempty"`
	Currency        domain.Currency     `json:"currency,omitempty"`
	ArgumentsDigest string              `json:"argumentsDigest,omitempty"`
	PermissionID    domain.PermissionID `json:"permissionId"`
	ApprovalID      domain.ApprovalID   `json:"approvalId,omitempty"`
	PassportVersion uint64              `json:"passportVersion"`
}

// Sign makes the receipt of a recorded allow: a compact JWS. For all else, and
// where receipts are off, it is empty.
func (s *Receipts) Sign(r domain.Recorded) (string, error) {
	d, ok := r.Event.(domain.DecisionMade)
	if s == nil || !ok || d.Outcome != domain.OutcomeAllowed {
		return "", nil
	}
	account, err := s.Passports.Account(r.Account)
	if err != nil {
		return "", Unreadable(err)
	}
	signer, err := s.signer(r.Account, account.Receipts.Version())
	if err != nil {
		return "", err
	}
	q := &d.Request
	claims, err := json.Marshal(&receiptClaims{
		Issuer: r.Account, Subject: r.Agent, Audience: q.Audience(), ID: d.RequestID,
		IssuedAt: r.At.Unix(), Expires: r.At.Add(s.Lifetime).Unix(),
		Action: q.Action, Vendor: q.Vendor, Resource: q.Resource, Amount: q.Amount, Currency: q.Currency,
		ArgumentsDigest: q.ArgumentsDigest, PermissionID: d.PermissionID, ApprovalID: d.ApprovalID, PassportVersion: d.PassportVersion,
	})
	if err != nil {
		return "", err
	}
	signed := base64.RawURLEncoding.AppendEncode(append([]byte(signer.header), '.'), claims)
	signature := ed25519.Sign(signer.private, signed)
	return string(base64.RawURLEncoding.AppendEncode(append(signed, '.'), signature)), nil
}

// signer derives a key, once.
func (s *Receipts) signer(account domain.AccountID, version int) (*receiptSigner, error) {
	key := receiptKey{account, version}
	if known, ok := s.signers.Load(key); ok {
		return known.(*receiptSigner), nil
	}
	private, err := s.Key(account, version)
	if err != nil {
		return nil, err
	}
	signer := &receiptSigner{private: private, jwk: JWK{
		KeyType: "OKP", Curve: "Ed25519", Algorithm: "EdDSA", Use: "sig",
		X: base64.RawURLEncoding.EncodeToString(private.Public().(ed25519.PublicKey)),
	}}
	// Named after what it is, as RFC 7638 does.
	thumb := sha256.Sum256([]byte(`{"crv":"Ed25519","kty":"OKP","x":"` + signer.jwk.X + `"}`))
	signer.jwk.KeyID = base64.RawURLEncoding.EncodeToString(thumb[:])
	header := `{"alg":"EdDSA","kid":"` + signer.jwk.KeyID + `","typ":"` + receiptType + `"}`
	signer.header = base64.RawURLEncoding.EncodeToString([]byte(header))
	s.signers.Store(key, signer)
	return signer, nil
}

var errNoReceipts = domain.Reject(domain.NotFound, "this server signs no receipts; see behalf serve --receipts")

// Published is every key whose signatures are good now, of all accounts.
func (s *Receipts) Published(now time.Time) (JWKS, error) {
	set := JWKS{Keys: []JWK{}}
	if s == nil {
		return set, errNoReceipts
	}
	for _, id := range s.Passports.Accounts() {
		account, err := s.Passports.Account(id)
		if err != nil {
			return JWKS{}, Unreadable(err)
		}
		for _, version := range account.Receipts.Good(now) {
			signer, err := s.signer(id, version)
			if err != nil {
				return JWKS{}, err
			}
			set.Keys = append(set.Keys, signer.jwk)
		}
	}
	return set, nil
}

// ReceiptKeyView is an account's key for receipts after a rotation.
type ReceiptKeyView struct {
	KeyID   string `json:"keyId"`
	Version int    `json:"version"`
	// Good is how many keys are published, this one among them.
	Good int `json:"good"`
}

// RotateReceiptKeyFor signs the receipts of a member's account with a new key.
func (d *Desk) RotateReceiptKeyFor(ctx context.Context, by Member, overlap *domain.Duration) (ReceiptKeyView, error) {
	if d.Receipts == nil {
		return ReceiptKeyView{}, errNoReceipts
	}
	account, err := d.accountAt(ctx, by.on(""), func(a domain.Account, at time.Time) ([]domain.Event, error) {
		return a.RotateReceiptKey(domain.RotateReceiptKey{Overlap: overlap, Now: at})
	})
	if err != nil {
		return ReceiptKeyView{}, err
	}
	keys := account.Receipts
	signer, err := d.Receipts.signer(by.Account, keys.Version())
	if err != nil {
		return ReceiptKeyView{}, err
	}
	return ReceiptKeyView{KeyID: signer.jwk.KeyID, Version: keys.Version(), Good: len(keys.Good(d.Writer.Now()))}, nil
}

// ConsumptionView is a receipt that was taken.
type ConsumptionView struct {
	RequestID  domain.RequestID `json:"requestId"`
	AgentID    domain.AgentID   `json:"agentId"`
	Action     domain.Action    `json:"action"`
	Vendor     string           `json:"vendor,omitempty"`
	Resource   string           `json:"resource,omitempty"`
	Amount     domain.Decimal   `json:"amount,omitempty"`
	Currency   domain.Currency  `json:"currency,omitempty"`
	ConsumedAt time.Time        `json:"consumedAt"`
}

// DecodeConsumption reads what must be so of an allow that is consumed. What is
// there and empty is refused: a service whose variable was not set must not find
// that it looked at nothing.
func DecodeConsumption(body []byte) (domain.ConsumeDecision, error) {
	var in struct {
		AgentID  *domain.AgentID  `json:"agentId"`
		Action   *domain.Action   `json:"action"`
		Audience *string          `json:"audience"`
		Amount   domain.Decimal   `json:"amount"` // takes no empty one
		Currency *domain.Currency `json:"currency"`
	}
	if err := DecodeGrant(body, &in); err != nil {
		return domain.ConsumeDecision{}, err
	}
	cmd := domain.ConsumeDecision{Amount: in.Amount}
	err := cmp.Or(said(&cmd.AgentID, in.AgentID, "/agentId"), said(&cmd.Action, in.Action, "/action"),
		said(&cmd.Audience, in.Audience, "/audience"), said(&cmd.Currency, in.Currency, "/currency"))
	return cmd, err
}

func said[S ~string](into, given *S, field string) error {
	switch {
	case given == nil:
	case *given == "":
		return domain.RejectField(domain.Invalid, field, "is empty; say what it must be, or leave it out")
	default:
		*into = *given
	}
	return nil
}

// ConsumeFor takes the receipt of an allow, for a member: a service with a
// viewer's token, who can read the decision anyway. It only ever takes something
// away. Of any number of calls on any nodes one succeeds.
func (d *Desk) ConsumeFor(ctx context.Context, c Caller, id domain.RequestID, cmd domain.ConsumeDecision) (ConsumptionView, error) {
	by, err := c.AsMember(domain.RoleViewer)
	if err != nil {
		return ConsumptionView{}, err
	}
	if d.Receipts == nil {
		return ConsumptionView{}, errNoReceipts
	}
	ctx, cancel := context.WithTimeout(ctx, d.Writer.Timeout)
	defer cancel()
	made, err := d.Find(ctx, domain.Stream{Account: by.Account}, id)
	if err != nil {
		return ConsumptionView{}, err
	}
	at, err := d.consume(ctx, by, made, cmd)
	if err != nil {
		return ConsumptionView{}, err
	}
	decision := made.Event.(domain.DecisionMade) // or it had not been consumed
	q := &decision.Request
	return ConsumptionView{
		RequestID: id, AgentID: made.Agent, Action: q.Action, Vendor: q.Vendor, Resource: q.Resource,
		Amount: q.Amount, Currency: q.Currency, ConsumedAt: at,
	}, nil
}

// consume records the consumption. Its name in the log is the request's: the log
// refuses the second one, for longer than any receipt is good. The guard is the
// agent's stream, which has not moved: what was revoked is not consumed.
func (d *Desk) consume(ctx context.Context, by Member, made domain.Recorded, cmd domain.ConsumeDecision) (time.Time, error) {
	w, s := d.Writer, domain.Stream{Account: made.Account, Agent: made.Agent}
	id := domain.EventID(domain.EventPrefix + NewULID(w.Now()))
	for attempt := range attempts {
		if err := giveWay(ctx, attempt); err != nil {
			return time.Time{}, unavailable(err, unknownOutcome)
		}
		if err := catchUp(ctx, w.Log, w.Passports, s); err != nil {
			return time.Time{}, err
		}
		agent := w.Passports.Agent(s)
		if err := agent.Fault(); err != nil {
			return time.Time{}, Unreadable(err)
		}
		at := w.moment(s)
		events, err := agent.Consume(cmd, made, d.Receipts.Lifetime, at)
		if err != nil {
			return time.Time{}, err
		}
		request := events[0].(domain.DecisionConsumed).RequestID
		record := domain.Record{
			ID: id, At: at, Actor: domain.ByMember(by.ID), Account: s.Account, Agent: s.Agent, Cause: string(request), Event: events[0],
		}
		if made.Keep != 0 { // what is of a decision that goes, goes too
			account, err := w.Passports.Account(s.Account)
			if err != nil {
				return time.Time{}, Unreadable(err)
			}
			record.Keep = account.Retention.Keep()
		}
		receipt, err := w.Log.Append(ctx, agent.Version, record, consumptionID(s, request))
		switch {
		case errors.Is(err, domain.ErrMoved):
			continue
		case err != nil:
			return time.Time{}, unavailable(err, "whether the receipt was taken is not known; don't act on it, and have the agent ask again")
		case receipt.Duplicate:
			return time.Time{}, domain.Reject(domain.Conflict, "the receipt of %s was taken before", request)
		}
		return at, nil
	}
	return time.Time{}, unavailable(domain.ErrMoved, "the passport kept changing while it was read; try again")
}

// consumptionID names the one consumption of a request for the log.
func consumptionID(s domain.Stream, id domain.RequestID) string {
	sum := sha256.Sum256([]byte("consume\x00" + string(s.Account) + "\x00" + string(s.Agent) + "\x00" + string(id)))
	return hex.EncodeToString(sum[:])
}
