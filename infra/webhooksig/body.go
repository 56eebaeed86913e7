package webhooksig

import (
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// Form is the form of a body.
type Form uint8

// The forms of a body.
const (
	// Standard is {"type", "timestamp", "data"}, as Standard Webhooks has it.
	Standard Form = iota
	// ReferenceForm is {"eventId", "type", "createdAt", "data"}, as the
	// reference API has it.
	ReferenceForm
)

// Body is what a delivery tells.
type Body struct {
	ID   string
	Type string
	// At is when what it tells of happened, however late it is sent.
	At time.Time
	// Data is any one JSON value.
	Data []byte
}

// instants is RFC 3339 with milliseconds: what a browser's Date prints and reads.
const instants = "2006-01-02T15:04:05.000Z"

// Append writes the body in a form. What is not one valid JSON value, or not
// valid UTF-8, is refused.
func (b Body) Append(to []byte, form Form) ([]byte, error) {
	if !jsontext.Value(b.Data).IsValid() {
		return nil, errors.New("write a webhook's body: its data is not valid JSON")
	}
	var err error
	timeName := `,"timestamp":"`
	switch form {
	case Standard:
		to = append(to, '{')
	case ReferenceForm:
		if !ValidID(b.ID) {
			return nil, fmt.Errorf("write a webhook's body: %q is not an event id", b.ID[:min(len(b.ID), 64)])
		}
		timeName = `,"createdAt":"`
		to = append(append(append(to, `{"eventId":"`...), b.ID...), `",`...)
	default:
		return nil, fmt.Errorf("write a webhook's body: no form %d", form)
	}
	to = append(to, `"type":`...)
	if to, err = jsontext.AppendQuote(to, b.Type); err != nil {
		return nil, fmt.Errorf("write a webhook's body: its type: %w", err)
	}
	to = append(to, timeName...)
	to = b.At.UTC().AppendFormat(to, instants)
	to = append(to, `","data":`...)
	to = append(to, b.Data...)
	return append(to, '}'), nil
}
