// Package webhooksig signs webhooks, derives the keys they are signed with, and
// writes their bodies. The signatures are those of Standard Webhooks 1.0.0, v1
// and v1a, and those of the reference API. It sends nothing and keeps nothing.
package webhooksig

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Headers that a signature is sent in, as they are spelt.
const (
	HeaderID        = "webhook-id"
	HeaderTimestamp = "webhook-timestamp" // Unix seconds
	HeaderSignature = "webhook-signature" // "v1,<base64> v1a,<base64> …"

	HeaderReferenceID        = "BehalfID-Event-ID"
	HeaderReferenceTimestamp = "BehalfID-Timestamp" // Unix seconds
	HeaderReferenceSignature = "BehalfID-Signature" // "v1=<hex>"
)

// Scheme is a set of ways to sign.
type Scheme uint8

// The ways to sign. A signature by each, and each key, goes along.
const (
	V1        Scheme = 1 << iota // HMAC-SHA256 with the secret's bytes
	V1a                          // Ed25519: who can check it can't make it
	Reference                    // the reference API's own three headers
)

// Key is what one version of an endpoint's key signs with.
type Key struct {
	Secret Secret
	// Private signs for V1a; without that scheme it may be missing.
	Private ed25519.PrivateKey
}

// Message is what is signed.
type Message struct {
	// ID is the event's; it stays the same when a delivery is repeated.
	ID string
	// At is when this attempt is made: receivers refuse what is minutes off.
	At   time.Time
	Body []byte
}

// Field is a header and its value.
type Field struct{ Name, Value string }

// Signer holds the keys of one endpoint. It may be used by many goroutines at
// once, and prints as nothing but its name.
type Signer struct{ parts func() *signerParts } // a function for the reason a Keyring has

type signerParts struct {
	schemes Scheme
	v1      []*macs
	v1a     []ed25519.PrivateKey
	// reference has one key even during a rotation: its header holds one
	// signature, and whoever rotates puts the new secret in next.
	reference *macs
}

// NewSigner makes a signer for keys, the newest first.
func NewSigner(schemes Scheme, keys ...Key) (*Signer, error) {
	if schemes&(V1|V1a|Reference) == 0 || schemes&^(V1|V1a|Reference) != 0 {
		return nil, errors.New("sign webhooks: no known scheme")
	}
	if len(keys) == 0 {
		return nil, errors.New("sign webhooks: no key")
	}
	parts := &signerParts{schemes: schemes}
	for _, key := range keys {
		raw, err := key.Secret.bytes()
		if err != nil {
			return nil, err
		}
		if schemes&V1 != 0 {
			parts.v1 = append(parts.v1, newMACs(raw))
		}
		if schemes&V1a == 0 {
			continue
		}
		if len(key.Private) != ed25519.PrivateKeySize {
			return nil, errors.New("sign webhooks: a key has no Ed25519 part")
		}
		parts.v1a = append(parts.v1a, key.Private)
	}
	if schemes&Reference != 0 {
		parts.reference = newMACs(referenceKey(keys[0].Secret))
	}
	return &Signer{parts: func() *signerParts { return parts }}, nil
}

// Sign appends the headers of a delivery. Its id must be a [ValidID].
func (s *Signer) Sign(to []Field, m Message) ([]Field, error) {
	if !ValidID(m.ID) {
		return nil, fmt.Errorf("sign a webhook: %q is not an event id", m.ID[:min(len(m.ID), 64)])
	}
	parts, at := s.parts(), strconv.FormatInt(m.At.Unix(), 10)
	w := works.Get().(*work)
	defer works.Put(w)
	if parts.schemes&(V1|V1a) != 0 {
		w.standard(parts, m, at)
		to = append(to, Field{HeaderID, m.ID}, Field{HeaderTimestamp, at}, Field{HeaderSignature, string(w.out)})
	}
	if parts.reference != nil {
		w.signed = append(append(w.signed[:0], at...), '.')
		w.out = append(w.out[:0], "v1="...)
		w.out = hex.AppendEncode(w.out, parts.reference.sum(w, m.Body))
		to = append(to, Field{HeaderReferenceID, m.ID}, Field{HeaderReferenceTimestamp, at}, Field{HeaderReferenceSignature, string(w.out)})
	}
	return to, nil
}

// work is what signing once needs, to be used again.
type work struct {
	signed, out []byte
	hash        [sha256.Size]byte
}

var works = sync.Pool{New: func() any { return new(work) }}

// standard leaves the value of webhook-signature in out.
func (w *work) standard(parts *signerParts, m Message, at string) {
	w.out = w.out[:0]
	w.signed = append(append(append(append(w.signed[:0], m.ID...), '.'), at...), '.')
	for _, mac := range parts.v1 {
		w.next("v1,")
		w.out = base64.StdEncoding.AppendEncode(w.out, mac.sum(w, m.Body))
	}
	if len(parts.v1a) == 0 {
		return
	}
	w.signed = append(w.signed, m.Body...)
	for _, private := range parts.v1a {
		w.next("v1a,")
		w.out = base64.StdEncoding.AppendEncode(w.out, ed25519.Sign(private, w.signed))
	}
	if cap(w.signed) > 64<<10 {
		w.signed = nil // one large body is no reason to keep its size
	}
}

func (w *work) next(version string) {
	if len(w.out) > 0 {
		w.out = append(w.out, ' ')
	}
	w.out = append(w.out, version...)
}

// macs makes MACs with one key. A used one is kept: it knows the key's blocks.
type macs struct{ pool sync.Pool }

func newMACs(key []byte) *macs {
	return &macs{sync.Pool{New: func() any { return hmac.New(sha256.New, key) }}}
}

// sum is the MAC over what w has in signed, and body.
func (m *macs) sum(w *work, body []byte) []byte {
	mac := m.pool.Get().(hash.Hash)
	defer m.pool.Put(mac)
	mac.Reset()
	_, _ = mac.Write(w.signed)
	_, _ = mac.Write(body)
	return mac.Sum(w.hash[:0])
}

func (s Secret) bytes() ([]byte, error) {
	text, ok := strings.CutPrefix(string(s), SecretPrefix)
	if !ok {
		return nil, errors.New("sign webhooks: a secret does not begin with " + SecretPrefix)
	}
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(raw) < 24 || len(raw) > 64 {
		return nil, errors.New("sign webhooks: a secret is not 24 to 64 bytes in base64")
	}
	return raw, nil
}

// referenceKey is the reference API's: the hash of the secret as it is shown,
// and then not the hash's bytes but its hexadecimal text.
func referenceKey(secret Secret) []byte {
	sum := sha256.Sum256([]byte(secret))
	return hex.AppendEncode(nil, sum[:])
}

// ValidID reports whether id can be signed: 1 to 128 letters, digits, "_", "-".
// A dot in it would let what is signed be read in two ways.
func ValidID(id string) bool {
	if id == "" || len(id) > 128 {
		return false
	}
	for i := range len(id) {
		c := id[i]
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

// String is the name of the type.
func (Signer) String() string { return "webhooksig.Signer" }

// GoString is the name of the type.
func (s Signer) GoString() string { return s.String() }
