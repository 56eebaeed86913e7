package handlers

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/behalf-platform/behalf/domain"
)

// MaxBody bounds every message from outside, in bytes.
const MaxBody = 64 << 10

// strict is kept because making options costs as much as using them.
var strict = json.JoinOptions(
	json.RejectUnknownMembers(true),
	json.WithUnmarshalers(json.UnmarshalFromFunc(readTime)),
)

// readTime reads a time, but not the zero one: programs send that for a time
// that was never set, and here it would mean one that never comes.
func readTime(dec *jsontext.Decoder, t *time.Time) error {
	token, err := dec.ReadToken()
	if err != nil {
		return err
	}
	if token.Kind() != '"' || t.UnmarshalText([]byte(token.String())) != nil {
		return errors.New("is not a time; send RFC 3339, such as 2027-01-01T00:00:00Z")
	}
	if year := t.UTC().Year(); year < 1970 || year > 9999 {
		return fmt.Errorf("is in the year %d; send one from 1970 to 9999, or leave it out", year)
	}
	return nil
}

// Decode reads one JSON object from outside. It is the only door: duplicate
// and unknown names, names in another case, bad UTF-8 and trailing data are
// refused with the field's JSON pointer, and nothing of the message is used.
func Decode(body []byte, into any) error {
	if len(body) > MaxBody {
		return ErrTooLarge
	}
	return refusal(json.Unmarshal(body, into, strict))
}

// mostDepth bounds how deep what is read openly may nest.
const mostDepth = 32

// open is how what may grow is read: names that aren't known are passed over.
var open = json.JoinOptions(json.WithUnmarshalers(json.UnmarshalFromFunc(readTime)))

// DecodeOpen is [Decode] for contracts that tell a receiver to pass over what it
// doesn't know. All else is as strict, and nothing may nest too deep.
func DecodeOpen(body []byte, into any) error {
	if len(body) > MaxBody {
		return ErrTooLarge
	}
	dec := jsontext.NewDecoder(bytes.NewReader(body))
	for {
		if _, err := dec.ReadToken(); err != nil {
			break // the end; what is wrong is found below
		}
		if dec.StackDepth() > mostDepth {
			return domain.RejectField(domain.Invalid, "", "the body nests more than %d deep", mostDepth)
		}
	}
	return refusal(json.Unmarshal(body, into, open))
}

// DecodePart reads what is known of a value that was read with a body and
// stands at a field of it.
func DecodePart(field string, value jsontext.Value, into any) error {
	err := refusal(json.Unmarshal(value, into, open))
	if rule, ok := errors.AsType[*domain.RuleError](err); ok {
		at := *rule
		at.Field = field + at.Field
		return &at
	}
	return err
}

// refusal is an error of the decoder as callers are told of it.
func refusal(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*domain.RuleError](err); ok {
		return err
	}
	if s, ok := errors.AsType[*json.SemanticError](err); ok {
		return domain.RejectField(domain.Invalid, string(s.JSONPointer), "%s", semantic(s))
	}
	if s, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		return domain.RejectField(domain.Invalid, string(s.JSONPointer), "the body is not one JSON object: %s at byte %d", plain(s.Err), s.ByteOffset)
	}
	return domain.Reject(domain.Invalid, "the body is not one JSON object")
}

// DecodeGrant is [Decode] for what loosens or configures: null is refused too.
// Elsewhere it means the same as leaving the field out, but someone who writes
// "expiresAt": null must not find out later what was made of it.
func DecodeGrant(body []byte, into any) error {
	if err := Decode(body, into); err != nil {
		return err
	}
	dec := jsontext.NewDecoder(strings.NewReader(string(body)))
	for {
		t, err := dec.ReadToken()
		if err != nil {
			return nil // the end; what is wrong was found by Decode
		}
		if t.Kind() == 'n' {
			return domain.RejectField(domain.Invalid, string(dec.StackPointer()), "is null; leave it out")
		}
	}
}

// ErrTooLarge is a message from outside that exceeds [MaxBody].
var ErrTooLarge = domain.Reject(domain.TooLarge, "the body is over %d bytes", MaxBody)

func semantic(s *json.SemanticError) string {
	switch {
	case errors.Is(s.Err, json.ErrUnknownName):
		return "is not a field of this request"
	case s.Err != nil:
		return plain(s.Err)
	case s.JSONKind == '[':
		return "can't be a list"
	case s.JSONKind == '{':
		return "can't be an object"
	case s.JSONKind != 0 && s.GoType != nil:
		return fmt.Sprintf("can't be %s", s.JSONKind)
	}
	return "has the wrong type"
}

// plain is an error of the decoder without its package names.
func plain(err error) string {
	if err == nil {
		return "syntax error"
	}
	text := err.Error()
	for _, prefix := range []string{"json: ", "jsontext: "} {
		text = strings.TrimPrefix(text, prefix)
	}
	return text
}
