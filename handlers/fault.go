package handlers

import (
	"errors"
	"math"
	"strconv"
	"time"

	"github.com/behalf-platform/behalf/domain"
)

// Fault is an error as every surface shows it.
type Fault struct {
	// Status is an HTTP status; other protocols map it.
	Status  int
	Code    string
	Message string
	Field   string
	// Retry is how long to wait, or 0.
	Retry time.Duration
}

// RetryAfter is Retry in whole seconds, as the header of that name has it.
func (f Fault) RetryAfter() string { return strconv.Itoa(int(math.Ceil(f.Retry.Seconds()))) }

// FaultOf is how an error is shown. One that is no rule's is ours: it is shown
// as the permission layer being unavailable, and its text is not shown.
func FaultOf(err error) Fault {
	if rule, ok := errors.AsType[*domain.RuleError](err); ok {
		f := Fault{Status: statusOf(rule.Code), Code: string(rule.Code), Message: rule.Message, Field: rule.Field}
		if rule.Code == domain.RateLimited {
			f.Retry = time.Second
		}
		return f
	}
	if l, ok := errors.AsType[*Limited](err); ok {
		return Fault{Status: 429, Code: string(domain.RateLimited), Message: l.Error(), Retry: l.Wait}
	}
	f := Fault{Status: 503, Code: string(domain.Unavailable), Message: "the permission layer is unavailable; nothing is allowed; try again", Retry: time.Second}
	if u, ok := errors.AsType[*Unavailable](err); ok {
		f.Message = u.Public
		f.Retry = max(f.Retry, u.Retry)
	}
	return f
}

func statusOf(c domain.Code) int {
	switch c {
	case domain.Invalid, domain.NotSupported:
		return 400
	case domain.Unauthorized:
		return 401
	case domain.Forbidden:
		return 403
	case domain.NotFound:
		return 404
	case domain.Conflict, domain.KeyReused:
		return 409
	case domain.Stale:
		return 412
	case domain.TooLarge:
		return 413
	case domain.MediaType:
		return 415
	case domain.RateLimited:
		return 429
	}
	return 503
}

// EncodeFault writes an error body. When the permission layer is unavailable it
// is also a packet that denies, for clients that read nothing else.
func EncodeFault(f Fault) ([]byte, error) {
	type inner struct {
		Code    string `json:"code"`
		Message string `json:"message"`
		Field   string `json:"field,omitempty"`
	}
	body := struct {
		Allowed    *bool             `json:"allowed,omitempty"`
		Decision   domain.Outcome    `json:"decision,omitempty"`
		ReasonCode domain.ReasonCode `json:"reasonCode,omitempty"`
		Reason     string            `json:"reason,omitempty"`
		Error      inner             `json:"error"`
	}{Error: inner{f.Code, f.Message, f.Field}}
	if f.Code == string(domain.Unavailable) {
		body.Allowed, body.Decision, body.ReasonCode, body.Reason = new(bool), domain.OutcomeDenied, domain.Unavailable, f.Message
	}
	return Encode(body)
}
