package authzen

import (
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers"
)

// subjectType is the one type of subject that has a passport.
const subjectType = "agent"

// entity is a subject or a resource.
type entity struct {
	Type       string         `json:"type"`
	ID         string         `json:"id"`
	Properties jsontext.Value `json:"properties"`
}

// action is what the subject would do.
type action struct {
	Name       string         `json:"name"`
	Properties jsontext.Value `json:"properties"`
}

// facts are what is evaluated of properties and context. All else is digested.
type facts struct {
	Amount      *domain.Decimal `json:"amount"`
	Currency    domain.Currency `json:"currency"`
	Cwd         string          `json:"cwd"`
	Command     string          `json:"command"`
	Branch      string          `json:"branch"`
	Environment string          `json:"environment"`
	Repository  string          `json:"repository"`
}

// asked is an evaluation that was understood.
type asked struct {
	subject entity
	ask     domain.Ask
	// approval is the id of the approval that was sent with it, if one was.
	approval domain.ApprovalID
}

// needs say which parts a request has to have in full.
type needs struct{ subjectID, action, resourceID bool }

var whole = needs{subjectID: true, action: true, resourceID: true}

// understand makes an ask of an evaluation. Its arguments are the four parts as
// they were sent, so that an approval is good for exactly them.
func (e evaluation) understand(n needs) (asked, error) {
	var a asked
	var act action
	var resource entity
	if err := readEntity("/subject", e.Subject, n.subjectID, &a.subject); err != nil {
		return a, err
	}
	if err := readAction(e.Action, n.action, &act); err != nil {
		return a, err
	}
	if err := readEntity("/resource", e.Resource, n.resourceID, &resource); err != nil {
		return a, err
	}
	context, approval, err := withoutApproval(e.Context)
	if err != nil {
		return a, err
	}
	a.approval = approval
	a.ask = domain.Ask{AgentID: domain.AgentID(a.subject.ID), Action: domain.Action(act.Name)}
	if n.resourceID {
		target(&a.ask, resource)
	}
	for _, part := range []struct {
		field string
		value jsontext.Value
	}{{"/action/properties", act.Properties}, {"/resource/properties", resource.Properties}, {"/context", context}} {
		if err := assert(&a.ask, part.field, part.value); err != nil {
			return a, err
		}
	}
	a.ask.Arguments, err = json.Marshal(&struct {
		Subject  jsontext.Value `json:"subject"`
		Action   jsontext.Value `json:"action,omitzero"`
		Resource jsontext.Value `json:"resource"`
		Context  jsontext.Value `json:"context,omitzero"`
	}{e.Subject, e.Action, e.Resource, context})
	return a, err
}

func readEntity(field string, value jsontext.Value, id bool, into *entity) error {
	if err := readObject(field, value, into); err != nil {
		return err
	}
	switch {
	case into.Type == "":
		return domain.RejectField(domain.Invalid, field+"/type", "is required")
	case id && into.ID == "":
		return domain.RejectField(domain.Invalid, field+"/id", "is required")
	}
	return nil
}

func readAction(value jsontext.Value, needed bool, into *action) error {
	if !needed {
		return nil
	}
	if err := readObject("/action", value, into); err != nil {
		return err
	}
	if into.Name == "" {
		return domain.RejectField(domain.Invalid, "/action/name", "is required")
	}
	return nil
}

func readObject(field string, value jsontext.Value, into any) error {
	switch {
	case absent(value):
		return domain.RejectField(domain.Invalid, field, "is required")
	case value.Kind() != '{':
		return domain.RejectField(domain.Invalid, field, "must be an object")
	}
	return handlers.DecodePart(field, value, into)
}

// withoutApproval takes the approval out of a context: it is about the
// evaluation, and no part of it.
func withoutApproval(context jsontext.Value) (jsontext.Value, domain.ApprovalID, error) {
	if absent(context) {
		return nil, "", nil
	}
	var members map[string]jsontext.Value
	if err := readObject("/context", context, &members); err != nil {
		return nil, "", err
	}
	sent, ok := members["approval"]
	if !ok {
		return context, "", nil
	}
	var approval struct {
		ID domain.ApprovalID `json:"id"`
	}
	if err := readObject("/context/approval", sent, &approval); err != nil {
		return nil, "", err
	}
	if approval.ID == "" {
		return nil, "", domain.RejectField(domain.Invalid, "/context/approval/id", "is required")
	}
	delete(members, "approval")
	if len(members) == 0 {
		return nil, approval.ID, nil
	}
	rest, err := json.Marshal(members, json.Deterministic(true))
	return rest, approval.ID, err
}

// target sets what the ask is about. The types vendor and host, path and file,
// command, and resource name a target of their kind by its id alone; of any
// other type the resource is called "type:id".
func target(ask *domain.Ask, r entity) {
	switch r.Type {
	case "vendor", "host":
		ask.Vendor = r.ID
	case "path", "file":
		ask.Path = r.ID
	case "command":
		ask.Command = r.ID
	default:
		ask.Resource = prefixOf(r.Type) + r.ID
	}
}

// prefixOf is what the names of resources of a type begin with. It holds one
// colon, so that no two types and ids make the same name.
func prefixOf(kind string) string {
	if kind == "resource" {
		return ""
	}
	return strings.NewReplacer("%", "%25", ":", "%3A").Replace(kind) + ":"
}

// assert sets the facts that are found at a field.
func assert(ask *domain.Ask, field string, value jsontext.Value) error {
	if absent(value) {
		return nil
	}
	var f facts
	if err := readObject(field, value, &f); err != nil {
		return err
	}
	var amount domain.Decimal
	if f.Amount != nil {
		amount = *f.Amount
	}
	if err := handlers.AssertFact(&ask.Amount, field+"/amount", amount); err != nil {
		return err
	}
	if err := handlers.AssertFact(&ask.Currency, field+"/currency", f.Currency); err != nil {
		return err
	}
	for _, fact := range []struct {
		into        *string
		name, value string
	}{
		{&ask.Cwd, "/cwd", f.Cwd},
		{&ask.Command, "/command", f.Command},
		{&ask.Context.Branch, "/branch", f.Branch},
		{&ask.Context.Environment, "/environment", f.Environment},
		{&ask.Context.Repository, "/repository", f.Repository},
	} {
		if err := handlers.AssertFact(fact.into, field+fact.name, fact.value); err != nil {
			return err
		}
	}
	return nil
}
