package mcpproxy

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/behalf-platform/behalf"
	"github.com/behalf-platform/behalf/cmd/behalf/before"
)

// Actions are the names that requests are verified under, all with a resource
// mcp://SERVER/NAME, each part percent-encoded. They are stable: passports hold
// them. A hook in an editor names a tool's call the same.
const (
	ActionCall     = "mcp.call"     // NAME: the tool
	ActionRead     = "mcp.read"     // NAME: the resource's URI
	ActionPrompt   = "mcp.prompt"   // NAME: the prompt
	ActionComplete = "mcp.complete" // NAME: the prompt or the URI that is completed
)

// Resource is what the tool, prompt or URI of a server is verified as.
func Resource(server, name string) string {
	return "mcp://" + url.PathEscape(server) + "/" + url.PathEscape(name)
}

// harmless are the methods that only ask what there is, manage the connection,
// or ask after a call that was allowed. All others are verified or refused.
var harmless = map[string]bool{
	"initialize": true, "ping": true, "server/discover": true, "logging/setLevel": true,
	"tools/list": true, "prompts/list": true, "resources/list": true, "resources/templates/list": true,
	"resources/unsubscribe": true,
	"tasks/get":             true, "tasks/result": true, "tasks/list": true, "tasks/cancel": true,
}

// told are the notifications that are passed on.
var told = map[string]bool{
	"notifications/initialized": true, "notifications/cancelled": true, "notifications/progress": true,
	"notifications/roots/list_changed": true, "notifications/tasks/status": true,
}

// guards make asks of the params of the requests that are verified.
var guards = map[string]func(server string, params map[string]jsontext.Value) ([]behalf.Ask, error){
	"tools/call":           named(ActionCall),
	"prompts/get":          named(ActionPrompt),
	"resources/read":       located,
	"resources/subscribe":  located,
	"subscriptions/listen": listened,
	"completion/complete":  completed,
}

// asks are what has to be allowed before a message is passed on; none if it may
// pass as it is. A fault is a message that may not pass at all.
func asks(server string, m *message) ([]behalf.Ask, *fault) {
	guard, guarded := guards[m.method]
	switch {
	case m.method == "": // an answer to a request of the server's
		return nil, nil
	case m.id == nil && told[m.method], m.id != nil && harmless[m.method]:
		return nil, nil
	case m.id == nil:
		return nil, faultf(codeInvalid, "The notification is refused: it is none that is known to do nothing, and nothing that acts may come without an id.")
	case !guarded:
		return nil, faultf(codeUnknownMethod, "The method %q is refused: this proxy doesn't know what it does, so nothing can allow it.", before.Plain(m.method))
	}
	params, err := objectOf(m.params, "name", "arguments", "uri", "ref", "argument", "notifications")
	if err != nil {
		return nil, faultf(codeParams, "The params of %s are refused: %v.", m.method, err)
	}
	list, err := guard(server, params)
	if err != nil {
		return nil, faultf(codeParams, "The params of %s are refused: %v.", m.method, err)
	}
	return list, nil
}

// named is a request for what a name stands for, called with arguments. If
// nothing else is given, the arguments are what is bound; else it is all that is
// given beside the name.
func named(action string) func(string, map[string]jsontext.Value) ([]behalf.Ask, error) {
	return func(server string, params map[string]jsontext.Value) ([]behalf.Ask, error) {
		name, err := text(params, "name")
		if err != nil {
			return nil, err
		}
		arguments := params["arguments"]
		switch {
		case arguments == nil || arguments.Kind() == 'n':
			arguments = jsontext.Value("{}")
		case arguments.Kind() != '{':
			return nil, errors.New("arguments is not an object")
		}
		members, err := membersOf(arguments)
		if err != nil {
			return nil, fmt.Errorf("arguments: %w", err)
		}
		bound := any(arguments)
		if more := rest(params, "name", "arguments"); len(more) > 0 || slices.ContainsFunc(members, standsIn) {
			more["arguments"] = arguments
			bound = more
		}
		return []behalf.Ask{{Action: action, Resource: Resource(server, name), Arguments: bound}}, nil
	}
}

// standsIn reports whether arguments with a member could be taken for what is
// bound in place of arguments: they and more, or the digest of those that are too
// large. Such arguments are bound as part of the former, so that a yes to one
// request is never one to another.
func standsIn(m member) bool { return m.name == "arguments" || m.name == "sha256" }

// located is a request for a resource.
func located(server string, params map[string]jsontext.Value) ([]behalf.Ask, error) {
	uri, err := text(params, "uri")
	if err != nil {
		return nil, err
	}
	if err := checkURI(uri); err != nil {
		return nil, err
	}
	return []behalf.Ask{{Action: ActionRead, Resource: Resource(server, uri), Arguments: rest(params)}}, nil
}

// listened is a request to be told of changes; of resources, as if each were
// read.
func listened(server string, params map[string]jsontext.Value) (list []behalf.Ask, err error) {
	which, err := objectOf(params["notifications"])
	if err != nil {
		return nil, fmt.Errorf("notifications: %w", err)
	}
	for name := range which {
		if !slices.Contains([]string{"toolsListChanged", "promptsListChanged", "resourcesListChanged", "resourceSubscriptions"}, name) {
			return nil, fmt.Errorf("notifications has %q, which is unknown to this proxy", before.Plain(name))
		}
	}
	uris := which["resourceSubscriptions"]
	if uris == nil || uris.Kind() == 'n' {
		return nil, nil
	}
	var each []string
	if err := json.Unmarshal(uris, &each); err != nil || len(each) > mostURIs {
		return nil, fmt.Errorf("resourceSubscriptions is not a list of at most %d URIs", mostURIs)
	}
	for _, uri := range each {
		if err := checkURI(uri); err != nil {
			return nil, err
		}
		list = append(list, behalf.Ask{Action: ActionRead, Resource: Resource(server, uri), Arguments: map[string]string{"uri": uri}})
	}
	return list, nil
}

// mostURIs bounds the resources of one request.
const mostURIs = 32

// completed is a request to complete an argument of a prompt or a URI template.
func completed(server string, params map[string]jsontext.Value) ([]behalf.Ask, error) {
	ref, err := objectOf(params["ref"], "type", "name", "uri")
	if err != nil {
		return nil, fmt.Errorf("ref: %w", err)
	}
	_, hasName := ref["name"]
	_, hasURI := ref["uri"]
	what := "name"
	switch {
	case hasName && hasURI:
		return nil, errors.New("ref has both a name and a uri")
	case hasURI:
		what = "uri"
	}
	name, err := text(ref, what)
	if err == nil && hasURI {
		err = checkURI(name)
	}
	if err != nil {
		return nil, fmt.Errorf("ref: %w", err)
	}
	return []behalf.Ask{{Action: ActionComplete, Resource: Resource(server, name), Arguments: rest(params)}}, nil
}

// rest are the params without those named, and without _meta, which is new in
// each request.
func rest(params map[string]jsontext.Value, without ...string) map[string]jsontext.Value {
	more := map[string]jsontext.Value{}
	for name, value := range params {
		if name != "_meta" && !slices.Contains(without, name) {
			more[name] = value
		}
	}
	return more
}

func text(params map[string]jsontext.Value, name string) (s string, err error) {
	value := params[name]
	if value.Kind() != '"' || json.Unmarshal(value, &s) != nil || s == "" {
		return "", fmt.Errorf("%s is not a text that says something", name)
	}
	return s, nil
}

// encodedPlain is a letter, digit, or one of -._~ that is percent-encoded, which
// makes no other URI of it.
var encodedPlain = regexp.MustCompile(`%(?i:2[de]|3[0-9]|4[1-9a-f]|5[0-9af]|6[1-9a-f]|7[0-9ae])`)

// checkURI refuses a URI that leads elsewhere than it reads: a rule is about how
// it reads. Many parsers drop the control characters in it and the space around
// it, so that a tab can hide between two dots.
func checkURI(uri string) error {
	if strings.ContainsFunc(uri, unicode.IsControl) || strings.TrimSpace(uri) != uri || strings.Contains(uri, "%00") {
		return errors.New("the URI has a control character, or space around it")
	}
	if scheme, _, _ := strings.Cut(uri, ":"); scheme != strings.ToLower(scheme) {
		return errors.New("the URI's scheme has capitals, which stand for small letters; write those")
	}
	if plain := encodedPlain.FindString(uri); plain != "" {
		return fmt.Errorf("the URI has %s for a character that needs no encoding; write it as it is", plain)
	}
	path, _, _ := strings.Cut(strings.ToLower(uri), "#")
	path, _, _ = strings.Cut(path, "?")
	path = strings.NewReplacer("%2e", ".", "%2f", "/", "%5c", `\`).Replace(path)
	if strings.Contains(path, `\`) {
		return errors.New("the URI has a backslash; write it with slashes")
	}
	for segment := range strings.SplitSeq(path, "/") {
		if segment == "." || segment == ".." {
			return errors.New("the URI has a . or .. in its path; write where it leads")
		}
	}
	return nil
}
