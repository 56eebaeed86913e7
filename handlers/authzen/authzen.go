// Package authzen speaks the OpenID AuthZEN Authorization API 1.0, and its Access
// Request and Approval profile, over the desk that every surface serves. An
// evaluation by an agent's key is a verify; nothing else is ever answered with
// decision true. It knows no rules of its own.
package authzen

import (
	"errors"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers"
)

// Where the API is served, below the address of the server.
const (
	EvaluationPath     = "/access/v1/evaluation"
	EvaluationsPath    = "/access/v1/evaluations"
	SubjectSearchPath  = "/access/v1/search/subject"
	ResourceSearchPath = "/access/v1/search/resource"
	ActionSearchPath   = "/access/v1/search/action"
	RequestsPath       = "/access/v1/requests"
	ConfigurationPath  = "/.well-known/authzen-configuration"
)

// PDP is a policy decision point for one request.
type PDP struct {
	Desk *handlers.Desk
	// Base is the address that the request was sent to, such as
	// https://behalf.example.com; URLs in answers begin with it.
	Base string
}

// Configuration is what a client discovers.
type Configuration struct {
	PolicyDecisionPoint string   `json:"policy_decision_point"`
	Evaluation          string   `json:"access_evaluation_endpoint"`
	Evaluations         string   `json:"access_evaluations_endpoint"`
	SubjectSearch       string   `json:"search_subject_endpoint"`
	ResourceSearch      string   `json:"search_resource_endpoint"`
	ActionSearch        string   `json:"search_action_endpoint"`
	Requests            string   `json:"access_request_endpoint"`
	Capabilities        []string `json:"capabilities"`
}

// Configuration says where what is.
func (p PDP) Configuration() Configuration {
	return Configuration{
		PolicyDecisionPoint: p.Base,
		Evaluation:          p.Base + EvaluationPath, Evaluations: p.Base + EvaluationsPath,
		SubjectSearch: p.Base + SubjectSearchPath, ResourceSearch: p.Base + ResourceSearchPath, ActionSearch: p.Base + ActionSearchPath,
		Requests:     p.Base + RequestsPath,
		Capabilities: []string{"urn:openid:authzen:capability:access-request"},
	}
}

// Decision is the answer to an evaluation. The zero Decision denies.
type Decision struct {
	Decision bool     `json:"decision"`
	Context  *Context `json:"context,omitempty"`
}

// Context says what a decision stands on.
type Context struct {
	// Reason is for people, but where the profile for approvals has a code:
	// approval_required, and those that answer an approval that was sent.
	Reason          string            `json:"reason,omitempty"`
	ReasonCode      domain.ReasonCode `json:"reasonCode,omitempty"`
	RequestID       domain.RequestID  `json:"requestId,omitempty"`
	Risk            domain.Risk       `json:"risk,omitempty"`
	PassportVersion uint64            `json:"passportVersion,omitzero"`
	ApprovalID      domain.ApprovalID `json:"approvalId,omitempty"`
	// EvaluationID is RequestID under the name that the profile has.
	EvaluationID  domain.RequestID `json:"evaluation_id,omitempty"`
	EvaluatedAt   time.Time        `json:"evaluated_at,omitzero"`
	Receipt       string           `json:"receipt,omitempty"` // where they are signed
	AccessRequest *AccessRequest   `json:"access_request,omitempty"`
	// NextAction is what to do about an approval that did not help: request, retry
	// or none. RetryAfter is in seconds.
	NextAction string `json:"next_action,omitempty"`
	RetryAfter int    `json:"retry_after,omitzero"`
	// Preview says that nothing was recorded, and so nothing is allowed, whatever
	// WouldBe says.
	Preview bool           `json:"preview,omitzero"`
	WouldBe domain.Outcome `json:"wouldBe,omitempty"`
	Error   *Failure       `json:"error,omitempty"`
}

// Failure is why one evaluation of many could not be made.
type Failure struct {
	Status  int    `json:"status"` // as HTTP would have it
	Message string `json:"message"`
}

// AccessRequest says how to ask for what needs a person's yes.
type AccessRequest struct {
	Endpoint  string    `json:"endpoint"`
	ExpiresAt time.Time `json:"expires_at"`
	Display   Display   `json:"display"`
}

// Display is for people.
type Display struct {
	Title       string `json:"title"`
	Description string `json:"description"`
}

// Message is a fault as a text, the one thing that a client is told of it: it
// says where it is, and whether it is no denial at all.
func Message(f handlers.Fault) string {
	switch {
	case f.Field != "":
		return f.Field + " " + f.Message
	case f.Code == string(domain.Unavailable):
		return "the permission layer is unavailable, which is not a denial: " + strings.TrimPrefix(f.Message, "the permission layer is unavailable; ")
	}
	return f.Message
}

// failed is an evaluation of many that could not be made.
func failed(err error) Decision {
	f := handlers.FaultOf(err)
	c := &Context{Error: &Failure{Status: f.Status, Message: Message(f)}}
	if f.Code == string(domain.Unavailable) {
		c.ReasonCode = domain.Unavailable
	}
	return Decision{Context: c}
}

// evaluation is what is evaluated, its four parts as they were sent.
type evaluation struct {
	Subject  jsontext.Value `json:"subject"`
	Action   jsontext.Value `json:"action"`
	Resource jsontext.Value `json:"resource"`
	Context  jsontext.Value `json:"context"`
}

// orElse fills the parts that are missing from another evaluation, each whole.
// Of one that is there only what a part can't be without is filled: its type, id
// or name.
func (e evaluation) orElse(other evaluation) (evaluation, error) {
	for _, part := range []struct {
		into, from *jsontext.Value
		needs      []string
	}{
		{&e.Subject, &other.Subject, []string{"type", "id"}},
		{&e.Action, &other.Action, []string{"name"}},
		{&e.Resource, &other.Resource, []string{"type", "id"}},
		{&e.Context, &other.Context, nil},
	} {
		var err error
		switch {
		case absent(*part.into):
			*part.into = *part.from
		case part.into.Kind() == '{' && part.from.Kind() == '{':
			*part.into, err = filled(*part.into, *part.from, part.needs)
		}
		if err != nil {
			return e, err
		}
	}
	return e, nil
}

// filled is an object with the members it lacks of those that are needed. One
// that lacks none stays as it was sent.
func filled(object, from jsontext.Value, needs []string) (jsontext.Value, error) {
	var members, others map[string]jsontext.Value
	if err := errors.Join(handlers.DecodePart("", object, &members), handlers.DecodePart("", from, &others)); err != nil {
		return nil, err
	}
	lacks := false
	for _, name := range needs {
		if value := others[name]; absent(members[name]) && !absent(value) {
			members[name], lacks = value, true
		}
	}
	if !lacks {
		return object, nil
	}
	return json.Marshal(members, json.Deterministic(true))
}

func absent(v jsontext.Value) bool { return len(v) == 0 || v.Kind() == 'n' }
