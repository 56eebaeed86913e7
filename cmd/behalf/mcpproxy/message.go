package mcpproxy

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Codes of JSON-RPC, and two of our own in the range that it leaves to servers.
const (
	codeParse         = -32700
	codeInvalid       = -32600
	codeUnknownMethod = -32601
	codeParams        = -32602

	CodeDenied      = -32050 // a recorded decision that is no allow; data says which
	CodeUnavailable = -32051 // nothing was decided
)

// fault is a JSON-RPC error. Its text is for the model and whoever watches it.
type fault struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
	Data    any    `json:"data,omitzero"`
}

func (f *fault) Error() string { return f.Message }

func faultf(code int, format string, args ...any) *fault {
	return &fault{Code: code, Message: fmt.Sprintf(format, args...)}
}

// answer is a fault as the response to a request, without the end of the line.
func (f *fault) answer(id jsontext.Value) []byte {
	if id == nil {
		id = jsontext.Value("null")
	}
	line, err := json.Marshal(struct {
		Version string         `json:"jsonrpc"`
		ID      jsontext.Value `json:"id"`
		Error   *fault         `json:"error"`
	}{"2.0", id, f}, json.Deterministic(true))
	if err != nil {
		return []byte(fmt.Sprintf(`{"jsonrpc":"2.0","id":null,"error":{"code":%d,"message":"the answer can't be written"}}`, f.Code))
	}
	return line
}

// message is one JSON-RPC message of the client's.
type message struct {
	text   []byte         // as it came
	id     jsontext.Value // nil if it has none
	method string         // empty for a response
	params jsontext.Value // nil if it has none
}

// key is the same for ids that are the same, however they are written.
func key(id jsontext.Value) string {
	if id.Kind() != '"' {
		return string(id)
	}
	var text string
	if err := json.Unmarshal(id, &text); err != nil {
		return string(id)
	}
	return `"` + text
}

// parse reads a line. Whatever a server could read otherwise than we do is
// refused: a name twice, in another case too, bad UTF-8, and a carriage return,
// which ends a line for some.
func parse(line []byte) (messages []message, batch bool, f *fault) {
	line = bytes.Trim(line, " \t\r")
	switch {
	case bytes.IndexByte(line, '\r') >= 0:
		return nil, false, faultf(codeParse, "The message holds a carriage return, where some servers begin another message. Nothing was passed on.")
	case !jsontext.Value(line).IsValid():
		return nil, false, faultf(codeParse, "The message is not one JSON value, has a name twice, or is not UTF-8. Nothing was passed on.")
	case line[0] != '[':
		m, f := parseOne(line)
		return []message{m}, false, f
	}
	elements, err := elementsOf(line)
	switch {
	case err != nil:
		return nil, true, faultf(codeParse, "The batch can't be read. Nothing was passed on.")
	case len(elements) == 0:
		return nil, true, faultf(codeInvalid, "The batch is empty.")
	case len(elements) > mostBatch:
		return nil, true, faultf(codeInvalid, "The batch has %d messages; at most %d are taken. Nothing was passed on.", len(elements), mostBatch)
	}
	for _, element := range elements {
		m, f := parseOne(element)
		if f != nil {
			f.Message += " Nothing of the batch was passed on."
			return nil, true, f
		}
		messages = append(messages, m)
	}
	return messages, true, nil
}

// mostBatch bounds the messages of a batch.
const mostBatch = 100

// parseOne reads one message. If it can't be taken its id is known all the same,
// where it has one.
func parseOne(text []byte) (message, *fault) {
	m := message{text: text}
	fields, err := objectOf(text, "jsonrpc", "id", "method", "params", "result", "error")
	if err != nil {
		return m, faultf(codeInvalid, "The message is refused: %v.", err)
	}
	id, hasID := fields["id"]
	if hasID && isID(id) {
		m.id = id
	}
	method, hasMethod := fields["method"]
	_, hasResult := fields["result"]
	_, hasError := fields["error"]
	switch {
	case string(fields["jsonrpc"]) != `"2.0"`:
		return m, faultf(codeInvalid, `The message is refused: its jsonrpc is not "2.0".`)
	case hasID && m.id == nil:
		return m, faultf(codeInvalid, "The message is refused: its id is neither a string nor a whole number.")
	case hasMethod && (hasResult || hasError):
		return m, faultf(codeInvalid, "The message is refused: it is both a request and a response.")
	case !hasMethod && (!hasID || hasResult == hasError):
		return m, faultf(codeInvalid, "The message is refused: it is neither a request nor a response.")
	case !hasMethod:
		return m, nil
	}
	if method.Kind() != '"' || json.Unmarshal(method, &m.method) != nil || m.method == "" {
		return m, faultf(codeInvalid, "The message is refused: its method is not a name.")
	}
	m.params = fields["params"]
	return m, nil
}

// isID reports whether an id is one that everybody reads the same way.
func isID(id jsontext.Value) bool {
	switch id.Kind() {
	case '"':
		return true
	case '0':
		return !bytes.ContainsAny(id, ".eE")
	}
	return false
}

// objectOf are the members of an object. Two names that differ in case only are
// refused, and one that differs so from a name that is known: some servers take
// one for the other.
func objectOf(text jsontext.Value, known ...string) (map[string]jsontext.Value, error) {
	if text.Kind() != '{' {
		return nil, errors.New("it is not an object")
	}
	members, err := membersOf(text)
	if err != nil {
		return nil, err
	}
	fields, folded := make(map[string]jsontext.Value, len(members)), make(map[string]bool, len(members))
	for _, m := range members {
		same := fold(m.name)
		if folded[same] {
			return nil, fmt.Errorf("it has the name %q in two cases", m.name)
		}
		for _, name := range known {
			if m.name != name && same == fold(name) {
				return nil, fmt.Errorf("it has the name %q, which some take for %q", m.name, name)
			}
		}
		folded[same], fields[m.name] = true, m.value
	}
	return fields, nil
}

// fold is the same for names that some decoder takes for the same.
func fold(name string) string {
	return strings.Map(func(r rune) rune { return unicode.ToLower(unicode.ToUpper(r)) }, name)
}

// member is a member of an object, its value as it was written.
type member struct {
	name  string
	value jsontext.Value
}

func membersOf(text jsontext.Value) (members []member, err error) {
	dec := jsontext.NewDecoder(bytes.NewReader(text))
	if _, err := dec.ReadToken(); err != nil {
		return nil, err
	}
	for dec.PeekKind() == '"' {
		name, err := dec.ReadToken()
		if err != nil {
			return nil, err
		}
		m := member{name: name.String()} // the token is gone after the next read
		value, err := dec.ReadValue()
		if err != nil {
			return nil, err
		}
		m.value = value.Clone()
		members = append(members, m)
	}
	_, err = dec.ReadToken()
	return members, err
}

func elementsOf(text jsontext.Value) (elements []jsontext.Value, err error) {
	dec := jsontext.NewDecoder(bytes.NewReader(text))
	if _, err := dec.ReadToken(); err != nil {
		return nil, err
	}
	for kind := dec.PeekKind(); kind != ']' && kind != 0; kind = dec.PeekKind() {
		value, err := dec.ReadValue()
		if err != nil {
			return nil, err
		}
		elements = append(elements, value.Clone())
	}
	_, err = dec.ReadToken()
	return elements, err
}
