package schemas_test

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/schemas"
)

// contract is one of the embedded documents.
type contract struct {
	t    *testing.T
	name string
	root any
	// read holds the documents that were read already, by name.
	read map[string]any
}

func mustContract(t *testing.T, name string) contract {
	t.Helper()
	return contract{t: t, read: map[string]any{}}.beside(name)
}

// beside is another document.
func (c contract) beside(name string) contract {
	c.t.Helper()
	if c.read[name] == nil {
		c.read[name] = mustRead(c.t, name)
	}
	c.name, c.root = name, c.read[name]
	return c
}

// mustRead reads a document, with numbers as the validator wants them.
func mustRead(t *testing.T, name string) any {
	t.Helper()
	raw, err := schemas.Files.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasSuffix(name, ".yaml") {
		var tree any
		if err := yaml.Unmarshal(raw, &tree); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if raw, err = json.Marshal(tree); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	root, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return root
}

// at is what a JSON pointer names.
func (c contract) at(pointer string) any {
	c.t.Helper()
	v := c.root
	for _, name := range strings.Split(pointer, "/")[1:] {
		name = strings.NewReplacer("~1", "/", "~0", "~").Replace(name)
		switch in := v.(type) {
		case map[string]any:
			v = in[name]
		case []any:
			i, err := strconv.Atoi(name)
			if err != nil || i >= len(in) {
				c.t.Fatalf("%s has nothing at %s", c.name, pointer)
			}
			v = in[i]
		}
		if v == nil {
			c.t.Fatalf("%s has nothing at %s", c.name, pointer)
		}
	}
	return v
}

func (c contract) object(pointer string) map[string]any {
	c.t.Helper()
	o, ok := c.at(pointer).(map[string]any)
	if !ok {
		c.t.Fatalf("%s has no object at %s", c.name, pointer)
	}
	return o
}

// resolve follows a schema's reference, into another document if it says so.
func (c contract) resolve(schema map[string]any) (contract, map[string]any) {
	c.t.Helper()
	ref, ok := schema["$ref"].(string)
	if !ok {
		return c, schema
	}
	file, pointer, _ := strings.Cut(ref, "#")
	if file != "" {
		c = c.beside(strings.TrimPrefix(file, "../"))
	}
	if pointer == "" {
		return c.resolve(c.root.(map[string]any))
	}
	return c.resolve(c.object(pointer))
}

// names is the sorted keys of an object, or the sorted strings of a list.
func names(v any) (list []string) {
	switch v := v.(type) {
	case map[string]any:
		for name := range v {
			list = append(list, name)
		}
	case []any:
		for _, item := range v {
			list = append(list, item.(string))
		}
	}
	slices.Sort(list)
	return list
}

// wantSame compares lists of names, in any order.
func wantSame(t *testing.T, what string, got, want []string) {
	t.Helper()
	got, want = slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))
	if !slices.Equal(got, want) {
		t.Errorf("%s:\ngot  %q\nwant %q", what, got, want)
	}
}

// constants is the values of the string constants of a type, as a source file
// of domain declares them.
func constants(t *testing.T, file, typeName string) (values []string) {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), "../domain/"+file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(f, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if id, ok := spec.Type.(*ast.Ident); ok && id.Name == typeName {
			for _, v := range spec.Values {
				values = append(values, mustUnquote(t, v))
			}
		}
		return true
	})
	if len(values) == 0 {
		t.Fatalf("domain/%s has no constants of the type %s", file, typeName)
	}
	return values
}

func mustUnquote(t *testing.T, e ast.Expr) string {
	t.Helper()
	lit, ok := e.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		t.Fatalf("got %T, want a string", e)
	}
	s, err := strconv.Unquote(lit.Value)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// member is one JSON member of a Go struct.
type member struct {
	typ      reflect.Type
	required bool
}

// members is what a struct's tags make of it, embedded structs included.
func members(t reflect.Type) map[string]member {
	all := map[string]member{}
	for f := range t.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case !f.IsExported() || name == "-":
		case name == "" && f.Anonymous:
			for name, m := range members(f.Type) {
				all[name] = m
			}
		default:
			all[name] = member{f.Type, !strings.Contains(options, "omit")}
		}
	}
	return all
}

// wantFits fails unless an object schema names the members of a Go type,
// requires those that are always written, and so on inwards.
func (c contract) wantFits(schema map[string]any, typ reflect.Type, path string, never map[string]bool) {
	c.t.Helper()
	c, schema = c.resolve(schema)
	for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice && typ != reflect.TypeFor[domain.Patterns]() {
		if items, ok := schema["items"].(map[string]any); ok && typ.Kind() == reflect.Slice {
			c, schema = c.resolve(items)
		}
		typ = typ.Elem()
	}
	if typ.Kind() != reflect.Struct || typ == reflect.TypeFor[time.Time]() || typ.Implements(reflect.TypeFor[jsonv2.MarshalerTo]()) {
		return // what it becomes, its members don't tell
	}
	properties, _ := schema["properties"].(map[string]any)
	var want, required []string
	for name, m := range members(typ) {
		if never[path+"/"+name] {
			continue
		}
		want = append(want, name)
		if m.required {
			required = append(required, name)
		}
		if property, ok := properties[name].(map[string]any); ok {
			c.wantFits(property, m.typ, path+"/"+name, never)
		}
	}
	wantSame(c.t, c.name+": members of "+typ.String(), names(properties), want)
	wantSame(c.t, c.name+": required members of "+typ.String(), names(schema["required"]), required)
}
