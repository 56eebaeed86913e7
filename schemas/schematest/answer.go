// Package schematest holds answers against the contracts that clients read. It
// is for tests: what a server answers and openapi.yaml doesn't describe fails.
package schematest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"

	"github.com/behalf-platform/behalf/schemas"
)

// Answer fails the test unless openapi.yaml describes the answer: the route and
// its status, every header it promises, and the body, in which no member may be
// that it doesn't name.
func Answer(tb testing.TB, method, target string, status int, header http.Header, body []byte) {
	tb.Helper()
	api, err := load()
	if err != nil {
		tb.Fatal(err)
	}
	if err := api.check(method, target, status, header, body); err != nil {
		tb.Errorf("%s %s: %d: %v\n%s", method, target, status, err, body)
	}
}

// Component fails the test unless the body fits a schema of openapi.yaml's
// components.
func Component(tb testing.TB, name string, body []byte) {
	tb.Helper()
	api, err := load()
	if err != nil {
		tb.Fatal(err)
	}
	if err := api.fits("/components/schemas/"+name, body); err != nil {
		tb.Errorf("%s: %v\n%s", name, err, body)
	}
}

// document is openapi.yaml.
type document struct {
	root map[string]any

	mu sync.Mutex
	// compiler is guarded by mu.
	compiler *jsonschema.Compiler
}

const address = "https://behalf.invalid/openapi.yaml"

var load = sync.OnceValues(func() (*document, error) {
	raw, err := schemas.Files.ReadFile("openapi.yaml")
	if err != nil {
		return nil, err
	}
	var tree any
	if err := yaml.Unmarshal(raw, &tree); err != nil {
		return nil, fmt.Errorf("read openapi.yaml: %w", err)
	}
	if raw, err = json.Marshal(tree); err != nil { // numbers as the validator wants them
		return nil, fmt.Errorf("read openapi.yaml: %w", err)
	}
	if tree, err = jsonschema.UnmarshalJSON(bytes.NewReader(raw)); err != nil {
		return nil, fmt.Errorf("read openapi.yaml: %w", err)
	}
	closeObjects(tree)
	d := &document{root: tree.(map[string]any), compiler: jsonschema.NewCompiler()}
	d.compiler.AssertFormat()
	if err := d.compiler.AddResource(address, d.root); err != nil {
		return nil, fmt.Errorf("read openapi.yaml: %w", err)
	}
	return d, nil
})

// closeObjects refuses what a schema doesn't name. To clients the schemas of
// answers are open, since answers may grow; here growth must be written down.
func closeObjects(v any) {
	switch v := v.(type) {
	case map[string]any:
		_, closed := v["additionalProperties"]
		if _, has := v["properties"]; has && v["type"] == "object" && !closed {
			v["additionalProperties"] = false
		}
		for _, member := range v {
			closeObjects(member)
		}
	case []any:
		for _, item := range v {
			closeObjects(item)
		}
	}
}

func (d *document) check(method, target string, status int, header http.Header, body []byte) error {
	target, _, _ = strings.Cut(target, "?")
	operation := d.operation(method, target)
	if operation == "" {
		return fmt.Errorf("openapi.yaml has no such operation")
	}
	at, answer := d.follow(operation + "/responses/" + strconv.Itoa(status))
	if answer == nil {
		return fmt.Errorf("openapi.yaml has no such status here")
	}
	if err := d.checkHeaders(at, answer, header); err != nil {
		return err
	}
	content, ok := answer["content"].(map[string]any)
	if !ok {
		if len(body) > 0 {
			return fmt.Errorf("got a body, want none")
		}
		return nil
	}
	media, _, err := mime.ParseMediaType(header.Get("Content-Type"))
	if err != nil || content[media] == nil {
		return fmt.Errorf("openapi.yaml has no content of the type %q here", header.Get("Content-Type"))
	}
	if media != "application/json" {
		return nil
	}
	return d.fits(at+"/content/"+escape(media)+"/schema", body)
}

func (d *document) checkHeaders(at string, answer map[string]any, header http.Header) error {
	headers, _ := answer["headers"].(map[string]any)
	for name := range headers {
		value := header.Get(name)
		at, definition := d.follow(at + "/headers/" + escape(name))
		if value == "" {
			if definition["required"] == true {
				return fmt.Errorf("the header %s is missing", name)
			}
			continue
		}
		_, schema := d.follow(at + "/schema")
		if schema["type"] != "integer" {
			value = strconv.Quote(value)
		}
		if err := d.fits(at+"/schema", []byte(value)); err != nil {
			return fmt.Errorf("the header %s: %w", name, err)
		}
	}
	return nil
}

// operation is where a request's operation is, or empty. A path that says a
// segment goes before one that takes any.
func (d *document) operation(method, target string) (found string) {
	paths, _ := d.root["paths"].(map[string]any)
	for template, item := range paths {
		if methods, _ := item.(map[string]any); methods[strings.ToLower(method)] == nil || !matches(template, target) {
			continue
		}
		if at := "/paths/" + escape(template) + "/" + strings.ToLower(method); found == "" || !strings.Contains(template, "{") {
			found = at
		}
	}
	return found
}

// matches takes a parameter of a template for any one segment.
func matches(template, target string) bool {
	return slices.EqualFunc(strings.Split(template, "/"), strings.Split(path.Clean(target), "/"), func(want, got string) bool {
		return want == got || strings.HasPrefix(want, "{") && got != ""
	})
}

// follow finds what a pointer names, through references, and where that is.
func (d *document) follow(pointer string) (at string, found map[string]any) {
	var v any = d.root
	for _, token := range strings.Split(pointer, "/")[1:] {
		object, _ := v.(map[string]any)
		v = object[unescape(token)]
	}
	found, _ = v.(map[string]any)
	if ref, ok := found["$ref"].(string); ok {
		return d.follow(strings.TrimPrefix(ref, "#"))
	}
	return pointer, found
}

// fits validates a value by the schema a pointer names.
func (d *document) fits(pointer string, value []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	schema, err := d.compiler.Compile(address + "#" + pointer)
	if err != nil {
		return fmt.Errorf("compile %s: %w", pointer, err)
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(value))
	if err != nil {
		return fmt.Errorf("the body is not JSON: %w", err)
	}
	return schema.Validate(v)
}

var (
	escapes   = strings.NewReplacer("~", "~0", "/", "~1")
	unescapes = strings.NewReplacer("~1", "/", "~0", "~")
)

func escape(token string) string   { return escapes.Replace(token) }
func unescape(token string) string { return unescapes.Replace(token) }
