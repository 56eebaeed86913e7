package schemas_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/schemas"
)

func TestEveryKindHasASchemaAndEverySchemaAKind(t *testing.T) {
	files, err := fs.Glob(schemas.Files, "events/*.json")
	if err != nil {
		t.Fatal(err)
	}
	var got, want []string
	for _, file := range files {
		kind := strings.TrimSuffix(strings.TrimPrefix(file, "events/"), ".json")
		got = append(got, kind)
		if stored := mustContract(t, file).at("/properties/kind/const"); stored != kind {
			t.Errorf("%s: got the kind %v, want the one the file is named for", file, stored)
		}
	}
	for _, kind := range domain.Kinds() {
		want = append(want, string(kind))
	}
	wantSame(t, "kinds with a schema", got, want)
}

// mustValidators compiles the schema of every kind.
func mustValidators(t *testing.T) map[domain.Kind]*jsonschema.Schema {
	t.Helper()
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	files, err := fs.Glob(schemas.Files, "events/*.json")
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]string{}
	for _, file := range append(files, "types.json") {
		c := mustContract(t, file)
		ids[file] = c.at("/$id").(string)
		if !strings.HasSuffix(ids[file], "/schemas/"+file) {
			t.Errorf("%s: got the $id %s, want one that ends with the file's path", file, ids[file])
		}
		if err := compiler.AddResource(ids[file], c.root); err != nil {
			t.Fatal(err)
		}
	}
	validators := map[domain.Kind]*jsonschema.Schema{}
	for _, kind := range domain.Kinds() {
		if validators[kind], err = compiler.Compile(ids["events/"+string(kind)+".json"]); err != nil {
			t.Fatal(err)
		}
	}
	return validators
}

// mustGoldens reads the golden records of domain.
func mustGoldens(t *testing.T) map[string]any {
	t.Helper()
	paths, err := filepath.Glob("../domain/testdata/events/*.json")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no golden records: %v", err)
	}
	goldens := map[string]any{}
	for _, path := range paths {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if goldens[filepath.Base(path)], err = jsonschema.UnmarshalJSON(bytes.NewReader(raw)); err != nil {
			t.Fatal(err)
		}
	}
	return goldens
}

func kindOf(record any) domain.Kind {
	return domain.Kind(record.(map[string]any)["kind"].(string))
}

func TestEveryGoldenRecordFitsItsSchema(t *testing.T) {
	validators := mustValidators(t)
	for name, record := range mustGoldens(t) {
		if err := validators[kindOf(record)].Validate(record); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTheSchemasNameWhatTheCodeStores(t *testing.T) {
	// Accept refuses these, so no record holds them.
	never := map[string]bool{"/terms/requiresApproval": true, "/terms/budgets": true, "/terms/rates": true}
	done := map[domain.Kind]bool{}
	for name, record := range mustGoldens(t) {
		kind := kindOf(record)
		if done[kind] {
			continue
		}
		done[kind] = true
		r, err := domain.DecodeRecord(mustJSON(t, record))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		c := mustContract(t, "events/"+string(kind)+".json")
		c.wantFits(c.object("/properties/data"), reflect.TypeOf(r.Event), "", never)
	}
}

func TestEverySchemaOfAnObjectIsClosed(t *testing.T) {
	files, err := fs.Glob(schemas.Files, "events/*.json")
	if err != nil {
		t.Fatal(err)
	}
	var look func(file, path string, v any)
	look = func(file, path string, v any) {
		switch v := v.(type) {
		case map[string]any:
			if v["type"] == "object" && v["additionalProperties"] != false {
				t.Errorf("%s: %s takes members it doesn't name", file, path)
			}
			for name, member := range v {
				look(file, path+"/"+name, member)
			}
		case []any:
			for i, item := range v {
				look(file, path+"/"+strconv.Itoa(i), item)
			}
		}
	}
	for _, file := range append(files, "types.json") {
		look(file, "", mustContract(t, file).root)
	}
}

// mutation is a golden record with one thing changed.
type mutation struct {
	kind domain.Kind
	path string
	// old is what was there, nil for a member that was added; now is what
	// stands there instead.
	old, now any
	record   any
}

// missing stands for a member that was taken away.
type missing struct{}

// lenient is what a schema refuses and the decoder takes. This program alone
// writes the log, and writes nothing like it; an exception is one less check
// against another that does.
var lenient = []struct {
	name string
	is   func(mutation) bool
}{
	{
		// No field's zero value allows anything: no hash that equals a key, no
		// action, no agent, a moment long past.
		name: "a required member that is missing reads as its zero value",
		is:   func(m mutation) bool { return m.now == any(missing{}) && m.path != "/kind" && m.path != "/data" },
	},
	{
		name: "null reads as missing",
		is:   func(m mutation) bool { return m.now == nil && m.path != "/kind" },
	},
	{
		// It is read as text either way, and never as a float.
		name: "an amount may be a number",
		is: func(m mutation) bool {
			_, number := m.now.(json.Number)
			return number && (strings.HasSuffix(m.path, "/amount") || strings.HasSuffix(m.path, "/maxAmount"))
		},
	},
	{
		// Accept refuses it before it is stored.
		name: "a list may be empty",
		is: func(m mutation) bool {
			list, ok := m.now.([]any)
			return ok && len(list) == 0 && m.path != "/data"
		},
	},
	{
		// It is recorded only where it is true.
		name: "the mark of a default currency may be false",
		is:   func(m mutation) bool { return m.now == false && strings.HasSuffix(m.path, "/defaultCurrency") },
	},
	{
		// Which checks have a detail is a promise of the schema alone.
		name: "a check that passed may say why it did not, and one that did not may be silent",
		is: func(m mutation) bool {
			_, boolean := m.now.(bool)
			return boolean && strings.HasSuffix(m.path, "/passed")
		},
	},
}

func TestWhatASchemaRefusesTheDecoderRefuses(t *testing.T) {
	validators := mustValidators(t)
	used := map[string]int{}
	refused := 0
	for name, record := range mustGoldens(t) {
		for _, m := range mutations(kindOf(record), record) {
			schema := validators[m.kind].Validate(m.record)
			_, decoder := domain.DecodeRecord(mustJSON(t, m.record))
			switch {
			case schema == nil && decoder != nil:
				t.Errorf("%s: %s made %v: the schema takes it, the decoder doesn't: %v", name, m.path, m.now, decoder)
			case schema != nil && decoder != nil:
				refused++
			case schema != nil && decoder == nil:
				if why := exception(m); why != "" {
					used[why]++
				} else {
					t.Errorf("%s: %s made %v: the decoder takes it, the schema doesn't: %v", name, m.path, m.now, schema)
				}
			case m.old == nil:
				t.Errorf("%s: the unknown member %s is taken", name, m.path)
			}
		}
	}
	for _, e := range lenient {
		if used[e.name] == 0 {
			t.Errorf("the exception %q is never made use of; delete it", e.name)
		}
	}
	if refused < 1000 {
		t.Errorf("only %d mutations were refused by both", refused)
	}
}

func exception(m mutation) string {
	for _, e := range lenient {
		if e.is(m) {
			return e.name
		}
	}
	return ""
}

// mutations drops each member, adds an unknown one to each object, gives each
// value every other type of JSON, and turns true and false around.
func mutations(kind domain.Kind, record any) (all []mutation) {
	var walk func(v any, path string, with func(any) any)
	walk = func(v any, path string, with func(any) any) {
		for _, other := range []any{nil, v != true, json.Number("7"), "x", []any{}, map[string]any{}} {
			if fmt.Sprintf("%T", other) != fmt.Sprintf("%T", v) || reflect.TypeOf(v) == reflect.TypeFor[bool]() {
				all = append(all, mutation{kind, path, v, other, with(other)})
			}
		}
		switch v := v.(type) {
		case map[string]any:
			unknown := maps.Clone(v)
			unknown["unknownMember"] = "x"
			all = append(all, mutation{kind, path + "/unknownMember", nil, "x", with(unknown)})
			for name, old := range v {
				less := maps.Clone(v)
				delete(less, name)
				all = append(all, mutation{kind, path + "/" + name, old, missing{}, with(less)})
				walk(old, path+"/"+name, func(now any) any {
					changed := maps.Clone(v)
					changed[name] = now
					return with(changed)
				})
			}
		case []any:
			for i, old := range v {
				walk(old, path+"/"+strconv.Itoa(i), func(now any) any {
					changed := append([]any{}, v...)
					changed[i] = now
					return with(changed)
				})
			}
		}
	}
	walk(record, "", func(now any) any { return now })
	return all
}

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
