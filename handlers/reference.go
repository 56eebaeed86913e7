package handlers

import (
	"context"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/behalf-platform/behalf/domain"
)

// mostAsserted bounds each of the two objects that a client of the reference API
// may send beside an ask, in bytes as sent.
const mostAsserted = 16 << 10

// referenceAsk is an ask as clients of the reference API send it. What they put
// into the two objects is asserted by the caller, like every other fact of an ask.
type referenceAsk struct {
	domain.Ask    `json:",inline"`
	Metadata      jsontext.Value `json:"metadata,omitzero"`
	PolicyContext jsontext.Value `json:"policyContext,omitzero"`
	// Shadow and Mode would have a verify decide without it being meant.
	Shadow jsontext.Value `json:"shadow,omitzero"`
	Mode   jsontext.Value `json:"mode,omitzero"`
}

// placeFacts say where the caller works.
type placeFacts struct {
	Cwd         string `json:"cwd"`
	Branch      string `json:"branch"`
	Environment string `json:"environment"`
	Repository  string `json:"repository"`
}

// policyFacts are what is read of a policyContext. Editors' hooks name the file
// of a tool in more than one way.
type policyFacts struct {
	placeFacts `json:",inline"`
	ToolInput  struct {
		Command      string `json:"command"`
		FilePath     string `json:"file_path"`
		FilePathToo  string `json:"filePath"`
		NotebookPath string `json:"notebook_path"`
		Path         string `json:"path"`
	} `json:"toolInput"`
}

// DecodeReferenceAsk reads an ask of a client of the reference API. Of metadata
// and policyContext the facts that permissions know are evaluated, and the whole
// of both is digested with the arguments, so that an approval is bound to all of
// it: the arguments are then {"arguments", "metadata", "policyContext"}, each
// where it was sent. A fact that is given twice must be the same.
func DecodeReferenceAsk(body []byte, ask *domain.Ask) error {
	var in referenceAsk
	if err := Decode(body, &in); err != nil {
		return err
	}
	*ask = in.Ask
	switch {
	case len(in.Shadow) > 0:
		return domain.RejectField(domain.Invalid, "/shadow", notChosen)
	case len(in.Mode) > 0:
		return domain.RejectField(domain.Invalid, "/mode", notChosen)
	}
	var place placeFacts
	var policy policyFacts
	if err := readAsserted("/metadata", &in.Metadata, &place); err != nil {
		return err
	}
	if err := readAsserted("/policyContext", &in.PolicyContext, &policy); err != nil {
		return err
	}
	if in.Metadata == nil && in.PolicyContext == nil {
		return nil
	}
	tool := policy.ToolInput
	for _, fact := range []struct {
		into         *string
		field, value string
	}{
		{&ask.Cwd, "/metadata/cwd", place.Cwd},
		{&ask.Context.Branch, "/metadata/branch", place.Branch},
		{&ask.Context.Environment, "/metadata/environment", place.Environment},
		{&ask.Context.Repository, "/metadata/repository", place.Repository},
		{&ask.Cwd, "/policyContext/cwd", policy.Cwd},
		{&ask.Context.Branch, "/policyContext/branch", policy.Branch},
		{&ask.Context.Environment, "/policyContext/environment", policy.Environment},
		{&ask.Context.Repository, "/policyContext/repository", policy.Repository},
		{&ask.Command, "/policyContext/toolInput/command", tool.Command},
		{&ask.Path, "/policyContext/toolInput/file_path", tool.FilePath},
		{&ask.Path, "/policyContext/toolInput/filePath", tool.FilePathToo},
		{&ask.Path, "/policyContext/toolInput/notebook_path", tool.NotebookPath},
		{&ask.Path, "/policyContext/toolInput/path", tool.Path},
	} {
		if err := AssertFact(fact.into, fact.field, fact.value); err != nil {
			return err
		}
	}
	return digestWhole(ask, in.Metadata, in.PolicyContext)
}

const notChosen = "can't be chosen by a request: every verify counts; leave it out, or use /v1/preview to record nothing"

// readAsserted reads the facts of an object that may hold anything else, too.
// One that is null is as if it were not there.
func readAsserted(field string, value *jsontext.Value, into any) error {
	if string(*value) == "null" {
		*value = nil
	}
	switch {
	case *value == nil:
		return nil
	case len(*value) > mostAsserted:
		return domain.RejectField(domain.Invalid, field, "is %d bytes long; at most %d are taken", len(*value), mostAsserted)
	case value.Kind() != '{':
		return domain.RejectField(domain.Invalid, field, "must be an object")
	}
	return DecodePart(field, *value, into)
}

// AssertFact sets a fact of an ask that may be given in more than one place. All
// that give it must agree: one that is decided on must not differ from one that
// is acted on.
func AssertFact[T ~string](into *T, field string, value T) error {
	switch {
	case value == "" || *into == value:
		return nil
	case *into != "":
		return domain.RejectField(domain.Invalid, field, "says something else than another field of this request does; give it once")
	}
	*into = value
	return nil
}

// digestWhole makes all that was asserted part of what is digested.
func digestWhole(ask *domain.Ask, metadata, policyContext jsontext.Value) error {
	whole := struct {
		Arguments     jsontext.Value `json:"arguments,omitzero"`
		Metadata      jsontext.Value `json:"metadata,omitzero"`
		PolicyContext jsontext.Value `json:"policyContext,omitzero"`
	}{ask.Arguments, metadata, policyContext}
	b, err := json.Marshal(&whole)
	ask.Arguments = b
	return err
}

// VerifyReferenceFor is [Desk.VerifyFor] for clients of the reference API.
func (d *Desk) VerifyReferenceFor(ctx context.Context, c Caller, body []byte) (domain.Recorded, error) {
	var ask domain.Ask
	err := DecodeReferenceAsk(body, &ask)
	if _, agent := c.AsAgent(); agent != nil { // told first, as everywhere
		err = agent
	}
	if err != nil {
		d.Metrics.Answered(domain.Recorded{}, err)
		return domain.Recorded{}, err
	}
	return d.VerifyAsk(ctx, c, &ask)
}

// VerifyAsk is [Desk.VerifyFor] of an ask that was read already.
func (d *Desk) VerifyAsk(ctx context.Context, c Caller, ask *domain.Ask) (domain.Recorded, error) {
	var r domain.Recorded
	_, err := c.AsAgent()
	if err == nil {
		r, err = d.Verify(ctx, c.Hash, ask)
	}
	d.Metrics.Answered(r, err)
	return r, err
}
