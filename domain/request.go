package domain

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Ask is what an agent sends to be verified, as it was decoded.
type Ask struct {
	AgentID  AgentID `json:"agentId,omitempty"`
	Action   Action  `json:"action"`
	Vendor   string  `json:"vendor,omitempty"`
	Resource string  `json:"resource,omitempty"`
	// Amount is a JSON number or string, read as text.
	Amount   Decimal  `json:"amount,omitempty"`
	Currency Currency `json:"currency,omitempty"`
	Path     string   `json:"path,omitempty"`
	Command  string   `json:"command,omitempty"`
	Cwd      string   `json:"cwd,omitempty"`
	Context  Facts    `json:"context,omitzero"`
	// Arguments are what the action will be called with. They are not
	// evaluated; only their digest is kept.
	Arguments jsontext.Value `json:"arguments,omitzero"`

	// IdempotencyKey makes a repeat of this request answer the same packet.
	IdempotencyKey string `json:"idempotencyKey,omitempty"`
	// AtLeast is a position the decision must have seen.
	AtLeast string `json:"atLeast,omitempty"`
}

// Facts are what the caller asserts about where it works. They never loosen
// anything.
type Facts struct {
	Branch      string `json:"branch,omitempty"`
	Environment string `json:"environment,omitempty"`
	Repository  string `json:"repository,omitempty"`
}

// Request is an ask in the form it is evaluated and recorded in.
type Request struct {
	Action   Action `json:"action"`
	Vendor   string `json:"vendor,omitempty"`
	Resource string `json:"resource,omitempty"`
	// Amount is in full scale ("742.00"). Currency is the one used, be it the
	// request's or, with DefaultCurrency, the account's.
	Amount          Decimal  `json:"amount,omitempty"`
	Currency        Currency `json:"currency,omitempty"`
	DefaultCurrency bool     `json:"defaultCurrency,omitzero"`
	Path            string   `json:"path,omitempty"`
	Command         string   `json:"command,omitempty"`
	Cwd             string   `json:"cwd,omitempty"`
	Context         Facts    `json:"context,omitzero"`
	ArgumentsDigest string   `json:"argumentsDigest,omitempty"`

	money Money // Amount, parsed
}

// Bounds of the fields of an ask, in bytes.
const (
	mostTarget  = 2048
	mostPath    = 4096
	mostCommand = 32 << 10
	mostFact    = 512
	mostKey     = 255
)

// Request checks an ask and puts it into the form that is evaluated. What can't
// be taken as it is, is refused: it never becomes a decision.
func (a *Ask) Request(fallback Currency) (Request, error) {
	if !a.Action.Valid() {
		if a.Action == "" {
			return Request{}, RejectField(Invalid, "/action", "is required")
		}
		return Request{}, RejectField(Invalid, "/action", "is not an action; %s", actionHelp)
	}
	for _, f := range [...]struct {
		field, value string
		most         int
	}{
		{"/vendor", a.Vendor, mostTarget},
		{"/resource", a.Resource, mostTarget},
		{"/path", a.Path, mostPath},
		{"/cwd", a.Cwd, mostPath},
		{"/context/branch", a.Context.Branch, mostFact},
		{"/context/environment", a.Context.Environment, mostFact},
		{"/context/repository", a.Context.Repository, mostFact},
		{"/idempotencyKey", a.IdempotencyKey, mostKey},
	} {
		if err := checkPlain(f.field, f.value, f.most, ""); err != nil {
			return Request{}, err
		}
	}
	if err := checkPlain("/command", a.Command, mostCommand, "\n\t"); err != nil {
		return Request{}, err
	}
	r := Request{
		Action: a.Action, Vendor: a.Vendor, Resource: a.Resource,
		Path: a.Path, Command: a.Command, Cwd: a.Cwd, Context: a.Context,
	}
	if err := a.price(&r, fallback); err != nil {
		return Request{}, err
	}
	if len(a.Arguments) > 0 && string(a.Arguments) != "null" {
		digest, err := digestJSON(a.Arguments)
		if err != nil {
			return Request{}, RejectField(Invalid, "/arguments", "can't be put into canonical form: %v", err)
		}
		r.ArgumentsDigest = digest
	}
	return r, nil
}

// price sets the amount and the currency it is in.
func (a *Ask) price(r *Request, fallback Currency) error {
	if a.Currency != "" {
		if _, err := ParseCurrency(string(a.Currency)); err != nil {
			return RejectField(Invalid, "/currency", "%v", err)
		}
		r.Currency = a.Currency
	}
	if a.Amount == "" {
		return nil
	}
	if r.Currency == "" {
		r.Currency, r.DefaultCurrency = fallback, true
	}
	money, err := ParseMoney(string(a.Amount), r.Currency)
	if err != nil {
		return RejectField(Invalid, "/amount", "%v", err)
	}
	r.money, r.Amount = money, Decimal(money.String())
	return nil
}

// restore makes a recorded request fit to evaluate again.
func (r *Request) restore() error {
	if r.Amount == "" {
		return nil
	}
	money, err := ParseMoney(string(r.Amount), r.Currency)
	r.money = money
	return err
}

// Digest is a SHA-256, in hex, over every field that says what is asked: all
// but the idempotency key and the position. Two asks that differ in one byte of
// any of them, arguments included, have different digests.
func (a *Ask) Digest() (string, error) {
	asked := *a
	asked.AgentID, asked.IdempotencyKey, asked.AtLeast = "", "", ""
	b, err := json.Marshal(&asked)
	if err != nil {
		return "", fmt.Errorf("encode ask: %w", err)
	}
	return digestJSON(b)
}

// digestJSON hashes the canonical form of RFC 8785, except that numbers keep
// the text they were written in: rounding them to doubles, as the RFC has it,
// would give two different amounts one digest.
func digestJSON(v jsontext.Value) (string, error) {
	v = v.Clone()
	if err := v.Canonicalize(jsontext.CanonicalizeRawInts(false), jsontext.CanonicalizeRawFloats(false)); err != nil {
		return "", err
	}
	sum := sha256.Sum256(v)
	return hex.EncodeToString(sum[:]), nil
}

// checkPlain refuses what no target or fact has a use for: control characters,
// NUL among them, and invisible ones that hide what a person would read. Those
// in but are taken all the same.
func checkPlain(field, s string, most int, but string) error {
	if len(s) > most {
		return RejectField(Invalid, field, "is %d bytes long; at most %d are taken", len(s), most)
	}
	for i, c := range s {
		if (c < 0x20 || c == 0x7f) && !strings.ContainsRune(but, c) {
			return RejectField(Invalid, field, "has a control character at byte %d", i)
		}
		if c >= 0x80 && (c == utf8.RuneError || unicode.IsControl(c) || unicode.In(c, unicode.Cf, unicode.Zl, unicode.Zp)) {
			return RejectField(Invalid, field, "has the invisible or broken character %U at byte %d", c, i)
		}
	}
	return nil
}
