// Package domain is the rules: what events there are, what state they fold to,
// and what is decided on it. It does no I/O, reads no clock and draws no random
// number, so that whoever has the same events gets the same decisions.
package domain

import "fmt"

// Code names the kind of refusal a [RuleError] is. It is part of the public
// contract: the error body of every surface carries it.
type Code string

// Every refusal a rule can give. The status in brackets is HTTP's.
const (
	Invalid      Code = "INVALID_REQUEST"        // what was sent can't be taken as it is [400]
	NotSupported Code = "NOT_SUPPORTED"          // understood, but not offered yet [400]
	Unauthorized Code = "UNAUTHENTICATED"        // no credential, or not a good one [401]
	Forbidden    Code = "FORBIDDEN"              // known, but not allowed to do this [403]
	NotFound     Code = "NOT_FOUND"              // no such thing in this account [404]
	Conflict     Code = "CONFLICT"               // what there is stands against the act [409]
	KeyReused    Code = "IDEMPOTENCY_KEY_REUSED" // the key belongs to another request [409]
	Stale        Code = "VERSION_MISMATCH"       // If-Match names an older version [412]
	TooLarge     Code = "TOO_LARGE"              // over 64 KiB [413]
	MediaType    Code = "UNSUPPORTED_MEDIA_TYPE" // not JSON [415]
	RateLimited  Code = "RATE_LIMITED"           // wait for Retry-After [429]
)

// RuleError is a rule saying no. Its message is safe to show to the caller;
// any other error is ours and is not.
type RuleError struct {
	Code    Code
	Message string
	// Field is a JSON pointer (RFC 6901) to what was wrong, or empty.
	Field string
}

func (e *RuleError) Error() string {
	if e.Field == "" {
		return e.Message
	}
	return e.Field + ": " + e.Message
}

// Reject is a [RuleError] about no field in particular.
func Reject(code Code, format string, args ...any) error {
	return &RuleError{Code: code, Message: fmt.Sprintf(format, args...)}
}

// RejectField is a [RuleError] about the field that the JSON pointer names.
func RejectField(code Code, field, format string, args ...any) error {
	return &RuleError{Code: code, Message: fmt.Sprintf(format, args...), Field: field}
}
