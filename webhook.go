package behalf

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Why a webhook is not taken. Test for them with [errors.Is].
var (
	// ErrWebhookKey is a key of the receiver's own that can't be used: the
	// receiver must be mended, and should answer 500 until it is.
	ErrWebhookKey = errors.New("a key that webhooks are checked with is not usable")
	// ErrWebhookUnsigned is a request without the headers of a signature, or with
	// broken ones. Answer 400.
	ErrWebhookUnsigned = errors.New("the webhook is not signed as it must be")
	// ErrWebhookForged is a signature by none of the keys. Answer 401.
	ErrWebhookForged = errors.New("the webhook's signature is by none of the keys")
	// ErrWebhookStale is a good signature of another time: a recording, or one of
	// the two clocks is wrong. Answer 400.
	ErrWebhookStale = errors.New("the webhook was signed too long ago, or in the future")
	// ErrWebhookBody is a good signature over what is no event. Answer 400.
	ErrWebhookBody = errors.New("the webhook's body is not an event")
)

// WebhookEvent is what a verified webhook tells.
type WebhookEvent struct {
	// ID is the event's. A delivery may come more than once, and each time with
	// the same one: keep the ids that were handled, and pass over the rest.
	ID   string
	Type string
	// At is when it happened, SentAt when this delivery was signed.
	At, SentAt time.Time
	// Data is one JSON value; what is in it depends on Type.
	Data []byte
}

// WebhookVerifier checks that webhooks come from Behalf. The zero verifier takes
// none. It may be used by many goroutines at once.
type WebhookVerifier struct {
	// Keys are the endpoint's: the secret (whsec_…), or the public key (whpk_…)
	// that can check and not sign. While a key is rotated, give both.
	Keys []string
	// Tolerance is how far the time of the signature may be off, either way; 0
	// stands for 5 minutes.
	Tolerance time.Duration
	// Now is the clock; nil stands for the system's.
	Now func() time.Time
}

// VerifyWebhook checks a webhook with an endpoint's keys. body is what was
// received, to the byte: not decoded and encoded again.
func VerifyWebhook(header http.Header, body []byte, keys ...string) (WebhookEvent, error) {
	return WebhookVerifier{Keys: keys}.Verify(header, body)
}

// Verify checks a webhook. It looks at the headers of Standard Webhooks
// (webhook-id and so on), and only if there are none at the reference API's
// (BehalfID-Event-ID and so on). It never returns an event with an error.
func (v WebhookVerifier) Verify(header http.Header, body []byte) (WebhookEvent, error) {
	keys, err := readWebhookKeys(v.Keys)
	if err != nil {
		return WebhookEvent{}, err
	}
	names := standardWebhook
	if len(header.Values(names.id))+len(header.Values(names.at))+len(header.Values(names.signature)) == 0 {
		names = referenceWebhook
	}
	signed, err := names.read(header)
	if err != nil {
		return WebhookEvent{}, err
	}
	if !signed.by(keys, body) {
		return WebhookEvent{}, ErrWebhookForged
	}
	if err := v.checkAge(signed.sentAt); err != nil {
		return WebhookEvent{}, err
	}
	return signed.event(body)
}

func (v WebhookVerifier) checkAge(sentAt time.Time) error {
	now, tolerance := time.Now, 5*time.Minute
	if v.Now != nil {
		now = v.Now
	}
	if v.Tolerance > 0 {
		tolerance = v.Tolerance
	}
	// Compared as seconds: a Duration can't hold the distance of any two times.
	off := now().Unix() - sentAt.Unix()
	if limit := int64(tolerance / time.Second); off > limit || off < -limit {
		return fmt.Errorf("%w: it is off by more than %s", ErrWebhookStale, tolerance)
	}
	return nil
}

// webhookNames are the headers of one way to sign.
type webhookNames struct{ id, at, signature string }

var (
	standardWebhook  = webhookNames{"Webhook-Id", "Webhook-Timestamp", "Webhook-Signature"}
	referenceWebhook = webhookNames{"BehalfID-Event-ID", "BehalfID-Timestamp", "BehalfID-Signature"}
)

// webhookSignature is what the headers say, not believed yet.
type webhookSignature struct {
	names      webhookNames
	id, at     string
	sentAt     time.Time
	signatures []string
}

const (
	mostSignatures     = 16
	mostSignatureBytes = 4096
)

func (n webhookNames) read(header http.Header) (s webhookSignature, err error) {
	s.names = n
	var list string
	for _, want := range []struct {
		name string
		to   *string
	}{{n.id, &s.id}, {n.at, &s.at}, {n.signature, &list}} {
		values := header.Values(want.name)
		if len(values) != 1 || values[0] == "" || len(values[0]) > mostSignatureBytes {
			return s, fmt.Errorf("%w: the header %s must be there once", ErrWebhookUnsigned, want.name)
		}
		*want.to = values[0]
	}
	seconds, err := strconv.ParseInt(s.at, 10, 64)
	if err != nil || s.at != strconv.FormatInt(seconds, 10) || seconds < 0 || seconds > 1<<40 {
		return s, fmt.Errorf("%w: the header %s must be a plain number of seconds", ErrWebhookUnsigned, n.at)
	}
	s.sentAt = time.Unix(seconds, 0).UTC()
	// With a dot in it, an id could borrow from the time behind it.
	if strings.Contains(s.id, ".") {
		return s, fmt.Errorf("%w: the header %s has a dot in it", ErrWebhookUnsigned, n.id)
	}
	s.signatures = strings.Fields(list)
	if len(s.signatures) > mostSignatures {
		return s, fmt.Errorf("%w: the header %s has more than %d signatures", ErrWebhookUnsigned, n.signature, mostSignatures)
	}
	return s, nil
}

// by reports whether any of the signatures is by any of the keys. It always
// tries all of them.
func (s webhookSignature) by(keys []webhookKey, body []byte) bool {
	signed := append([]byte(s.at+"."), body...)
	if s.names == standardWebhook {
		signed = append([]byte(s.id+"."), signed...)
	}
	good := false
	for _, key := range keys {
		for _, signature := range s.signatures {
			if s.names == standardWebhook {
				good = key.standard(signature, signed) || good
			} else {
				good = key.reference(signature, signed) || good
			}
		}
	}
	return good
}

// event reads the body in either form. The reference API signs the id in it, and
// not the one in the header.
func (s webhookSignature) event(body []byte) (WebhookEvent, error) {
	var read struct {
		EventID   string         `json:"eventId"`
		Type      string         `json:"type"`
		Timestamp time.Time      `json:"timestamp"`
		CreatedAt time.Time      `json:"createdAt"`
		Data      jsontext.Value `json:"data"`
	}
	if err := json.Unmarshal(body, &read); err != nil {
		return WebhookEvent{}, fmt.Errorf("%w: %w", ErrWebhookBody, err)
	}
	at := read.Timestamp
	if at.IsZero() {
		at = read.CreatedAt
	}
	switch {
	case read.Type == "" || at.IsZero() || read.Data == nil:
		return WebhookEvent{}, fmt.Errorf("%w: it lacks a type, a time or data", ErrWebhookBody)
	case read.EventID != s.id && (read.EventID != "" || s.names == referenceWebhook):
		return WebhookEvent{}, fmt.Errorf("%w: its id is not the header's", ErrWebhookBody)
	}
	return WebhookEvent{ID: s.id, Type: read.Type, At: at, SentAt: s.sentAt, Data: read.Data}, nil
}

// webhookKey is a secret or a public key.
type webhookKey struct {
	secret []byte
	text   string // of the secret, as it was shown
	public ed25519.PublicKey
}

func readWebhookKeys(texts []string) ([]webhookKey, error) {
	if len(texts) == 0 {
		return nil, fmt.Errorf("%w: there is none", ErrWebhookKey)
	}
	keys := make([]webhookKey, len(texts))
	for i, text := range texts {
		secret, isSecret := strings.CutPrefix(text, "whsec_")
		public, isPublic := strings.CutPrefix(text, "whpk_")
		raw, err := base64.StdEncoding.DecodeString(secret)
		if isPublic {
			raw, err = base64.StdEncoding.DecodeString(public)
		}
		switch {
		case isSecret && err == nil && len(raw) >= 24 && len(raw) <= 64:
			keys[i] = webhookKey{secret: raw, text: text}
		case isPublic && err == nil && len(raw) == ed25519.PublicKeySize:
			keys[i] = webhookKey{public: raw}
		default: // and not a word of it in the error
			return nil, fmt.Errorf("%w: key %d is neither whsec_… nor whpk_… as Behalf shows them", ErrWebhookKey, i+1)
		}
	}
	return keys, nil
}

func (k webhookKey) standard(signature string, signed []byte) bool {
	version, text, _ := strings.Cut(signature, ",")
	raw, err := base64.StdEncoding.Strict().DecodeString(text)
	switch {
	case err != nil:
		return false
	case version == "v1" && k.secret != nil:
		return hmac.Equal(raw, macOf(k.secret, signed))
	case version == "v1a" && k.public != nil:
		return ed25519.Verify(k.public, signed, raw)
	}
	return false
}

func (k webhookKey) reference(signature string, signed []byte) bool {
	text, ok := strings.CutPrefix(signature, "v1=")
	if !ok || k.secret == nil {
		return false
	}
	hashed := sha256.Sum256([]byte(k.text))
	return hmac.Equal([]byte(text), hex.AppendEncode(nil, macOf(hex.AppendEncode(nil, hashed[:]), signed)))
}

func macOf(key, signed []byte) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write(signed)
	return mac.Sum(nil)
}
