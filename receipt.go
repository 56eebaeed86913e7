package behalf

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
)

// ErrReceipt is a receipt that proves nothing: forged, expired, for somebody
// else, or of another action. Test for it with [errors.Is].
var ErrReceipt = errors.New("the receipt is no proof")

// Receipt is an allow, signed by the server, that an agent takes to a service.
type Receipt struct {
	RequestID string
	AccountID string
	AgentID   string
	// Audience is whom it is for: the vendor that was allowed, or else the
	// resource.
	Audience string
	Action   string
	Vendor   string
	Resource string
	// Amount is in full scale ("742.00"), and empty where none was asked for.
	Amount   string
	Currency string
	// ArgumentsDigest is the SHA-256, in hex, of the arguments that were allowed.
	ArgumentsDigest string
	PermissionID    string
	ApprovalID      string
	PassportVersion uint64
	DecidedAt       time.Time // to the second
	ExpiresAt       time.Time
}

// Expected is what a receipt has to say. AccountID, AgentID, Action and Audience
// are required: what a service doesn't look at, it takes from anybody.
type Expected struct {
	AccountID string
	AgentID   string
	Action    string
	Audience  string
	// Amount and Currency are compared as they are written, such as "742.00" and
	// "USD". Both are empty for what costs nothing.
	Amount   string
	Currency string
	// MaxAge bounds the age, if it is not 0. No receipt is good after it expired.
	MaxAge time.Duration
}

// ReceiptKeys are what a server's receipts are checked with. The zero
// ReceiptKeys take none.
type ReceiptKeys struct {
	keys map[string]ed25519.PublicKey
}

// ParseReceiptKeys reads a JWK set, as the server has it at
// /.well-known/jwks.json. Keys of other kinds are passed over.
func ParseReceiptKeys(jwks []byte) (ReceiptKeys, error) {
	var set jwkSet
	if err := json.Unmarshal(jwks, &set); err != nil {
		return ReceiptKeys{}, fmt.Errorf("read the keys of receipts: %w", err)
	}
	return set.keys()
}

type jwkSet struct {
	Keys []struct {
		KeyType string `json:"kty"`
		Curve   string `json:"crv"`
		X       string `json:"x"`
		KeyID   string `json:"kid"`
	} `json:"keys"`
}

func (s jwkSet) keys() (ReceiptKeys, error) {
	set := ReceiptKeys{keys: map[string]ed25519.PublicKey{}}
	for _, k := range s.Keys {
		if k.KeyType != "OKP" || k.Curve != "Ed25519" {
			continue
		}
		x, err := base64.RawURLEncoding.Strict().DecodeString(k.X)
		if err != nil || len(x) != ed25519.PublicKeySize || k.KeyID == "" {
			return ReceiptKeys{}, errors.New("read the keys of receipts: one of them is broken")
		}
		set.keys[k.KeyID] = x
	}
	return set, nil
}

// ReceiptKeys reads the keys that the server publishes. It needs no token. Keep
// them, and read them again when a receipt names one that is not there, at most
// once in a while: keys are rotated, and one that was ended proves nothing.
func (c *Client) ReceiptKeys(ctx context.Context) (ReceiptKeys, error) {
	var set jwkSet
	err := c.call(ctx, request{method: http.MethodGet, path: []string{".well-known", "jwks.json"}, outside: true, want: http.StatusOK}, &set)
	if err != nil {
		return ReceiptKeys{}, err
	}
	return set.keys()
}

// ReceiptKey is the key that an account's receipts are signed with.
type ReceiptKey struct {
	KeyID   string `json:"keyId"` // its kid
	Version int    `json:"version"`
	// Good is how many keys are published, this one among them.
	Good int `json:"good"`
}

// RotateReceiptKey signs the account's receipts with a new key, with the token of
// an administrator. Those before it are good for overlap too, for an hour if it is
// nil; 0 ends them, and each receipt they signed, at once.
func (c *Client) RotateReceiptKey(ctx context.Context, overlap *Duration) (ReceiptKey, error) {
	var key ReceiptKey
	err := c.call(ctx, post(struct {
		Overlap *Duration `json:"overlap,omitempty"`
	}{overlap}, "receipt-keys", "rotate"), &key)
	return key, err
}

// mostReceipt bounds a receipt, in bytes.
const mostReceipt = 16 << 10

// clockLeeway is how far a service's clock may be behind the server's.
const clockLeeway = 5 * time.Second

// lastMoment is the end of the year 9999, beyond which sums of times overflow.
const lastMoment = 253402300799

// VerifyReceipt checks a receipt without asking the server: that it was signed
// with one of the keys, and says what is expected, at this time. It can't tell
// whether the receipt was shown before: for that, use [Client.Consume], or
// remember each RequestID until its ExpiresAt. Every error Is [ErrReceipt].
func VerifyReceipt(receipt string, keys ReceiptKeys, want Expected, now time.Time) (Receipt, error) {
	claims, err := opened(receipt, keys)
	if err != nil {
		return Receipt{}, fmt.Errorf("%w: %w", ErrReceipt, err)
	}
	r := claims.receipt()
	if err := want.fits(r, now); err != nil {
		return Receipt{}, fmt.Errorf("%w: %w", ErrReceipt, err)
	}
	return r, nil
}

// receiptClaims are what a receipt says.
type receiptClaims struct {
	Issuer          string `json:"iss"`
	Subject         string `json:"sub"`
	Audience        string `json:"aud"`
	ID              string `json:"jti"`
	IssuedAt        int64  `json:"iat"`
	Expires         int64  `json:"exp"`
	Action          string `json:"action"`
	Vendor          string `json:"vendor"`
	Resource        string `json:"resource"`
	Amount          string `json:"amount"`
	Currency        string `json:"currency"`
	ArgumentsDigest string `json:"argumentsDigest"`
	PermissionID    string `json:"permissionId"`
	ApprovalID      string `json:"approvalId"`
	PassportVersion uint64 `json:"passportVersion"`
}

func (c receiptClaims) receipt() Receipt {
	return Receipt{
		RequestID: c.ID, AccountID: c.Issuer, AgentID: c.Subject, Audience: c.Audience, Action: c.Action, Vendor: c.Vendor, Resource: c.Resource,
		Amount: c.Amount, Currency: c.Currency, ArgumentsDigest: c.ArgumentsDigest, PermissionID: c.PermissionID, ApprovalID: c.ApprovalID,
		PassportVersion: c.PassportVersion, DecidedAt: time.Unix(c.IssuedAt, 0).UTC(), ExpiresAt: time.Unix(c.Expires, 0).UTC(),
	}
}

// opened is what a receipt says, if one of the keys has signed it. The header
// chooses among the keys, and nothing else: there is one algorithm.
func opened(receipt string, keys ReceiptKeys) (receiptClaims, error) {
	var none receiptClaims
	if len(receipt) > mostReceipt || strings.ContainsAny(receipt, "\r\n") { // which base64 would pass over
		return none, errors.New("it is not one")
	}
	parts := strings.Split(receipt, ".")
	if len(parts) != 3 {
		return none, errors.New("it is not one")
	}
	var raw [3][]byte
	for i, part := range parts {
		var err error
		if raw[i], err = base64.RawURLEncoding.Strict().DecodeString(part); err != nil {
			return none, errors.New("it is not one")
		}
	}
	var header struct {
		Algorithm string `json:"alg"`
		Type      string `json:"typ"`
		KeyID     string `json:"kid"`
	}
	if err := json.Unmarshal(raw[0], &header, json.RejectUnknownMembers(true)); err != nil || header.Algorithm != "EdDSA" || header.Type != "behalf-receipt+jwt" {
		return none, errors.New("it is not one")
	}
	key, ok := keys.keys[header.KeyID]
	if !ok {
		return none, errors.New("it is signed with a key that is not known")
	}
	if !ed25519.Verify(key, []byte(parts[0]+"."+parts[1]), raw[2]) {
		return none, errors.New("its signature is wrong")
	}
	var claims receiptClaims
	if err := json.Unmarshal(raw[1], &claims); err != nil {
		return none, errors.New("what it says can't be read")
	}
	if claims.IssuedAt <= 0 || claims.IssuedAt > claims.Expires || claims.Expires > lastMoment {
		return none, errors.New("its times can't be")
	}
	return claims, nil
}

// fits says why a receipt is not what is expected.
func (e Expected) fits(r Receipt, now time.Time) error {
	if e.AccountID == "" || e.AgentID == "" || e.Action == "" || e.Audience == "" {
		return errors.New("AccountID, AgentID, Action and Audience have to be expected")
	}
	for _, is := range []struct{ what, got, want string }{
		{"account", r.AccountID, e.AccountID},
		{"agent", r.AgentID, e.AgentID},
		{"action", r.Action, e.Action},
		{"audience", r.Audience, e.Audience},
		{"amount", r.Amount, e.Amount},
		{"currency", r.Currency, e.Currency},
	} {
		if is.got != is.want {
			return fmt.Errorf("its %s is %q, not %q", is.what, is.got, is.want)
		}
	}
	switch age := now.Sub(r.DecidedAt); {
	case r.RequestID == "":
		return errors.New("it names no request")
	case !now.Before(r.ExpiresAt):
		return fmt.Errorf("it expired at %s", r.ExpiresAt.Format(time.RFC3339))
	case age < -clockLeeway:
		return fmt.Errorf("it is of %s, which is in the future", r.DecidedAt.Format(time.RFC3339))
	case e.MaxAge > 0 && age > e.MaxAge:
		return fmt.Errorf("it is %s old", age.Truncate(time.Second))
	}
	return nil
}

// Consumption says what must be so of the allow that is consumed. What is empty
// is not looked at. An Amount needs its Currency.
type Consumption struct {
	AgentID  string `json:"agentId,omitempty"`
	Action   string `json:"action,omitempty"`
	Audience string `json:"audience,omitempty"`
	Amount   string `json:"amount,omitempty"`
	Currency string `json:"currency,omitempty"`
}

// Consumed is an allow that was consumed.
type Consumed struct {
	RequestID  string    `json:"requestId"`
	AgentID    string    `json:"agentId"`
	Action     string    `json:"action"`
	Vendor     string    `json:"vendor,omitempty"`
	Resource   string    `json:"resource,omitempty"`
	Amount     string    `json:"amount,omitempty"`
	Currency   string    `json:"currency,omitempty"`
	ConsumedAt time.Time `json:"consumedAt"`
}

// Consume takes the receipt of an allow, with a member's token. Of all who do it,
// anywhere, one gets no error; only that one may act. It fails once the receipt
// has expired, and once what allowed it was revoked.
func (c *Client) Consume(ctx context.Context, requestID string, want Consumption) (Consumed, error) {
	var got Consumed
	if err := c.call(ctx, post(want, "decisions", requestID, "consume"), &got); err != nil {
		return Consumed{}, err
	}
	if got.RequestID != requestID || got.ConsumedAt.IsZero() ||
		want.AgentID != "" && got.AgentID != want.AgentID || want.Action != "" && got.Action != want.Action {
		return Consumed{}, fmt.Errorf("%w: the answer is about %q, not about %q", ErrUnavailable, got.RequestID, requestID)
	}
	return got, nil
}
