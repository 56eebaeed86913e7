package schemas_test

import (
	"bytes"
	"io/fs"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/behalf-platform/behalf/projections"
	"github.com/behalf-platform/behalf/schemas"
)

// mustPublicSchema compiles the schema of a public event, with those of its data.
func mustPublicSchema(t *testing.T) (compile func(file string) *jsonschema.Schema) {
	t.Helper()
	files, err := fs.Glob(schemas.Files, "public/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no schemas: %v", err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	for _, file := range append(files, "types.json") {
		c := mustContract(t, file)
		id := c.at("/$id").(string)
		if !strings.HasSuffix(id, "/schemas/"+file) {
			t.Errorf("%s: got the $id %s, want one that ends with the file's path", file, id)
		}
		if err := compiler.AddResource(id, c.root); err != nil {
			t.Fatal(err)
		}
	}
	return func(file string) *jsonschema.Schema {
		t.Helper()
		s, err := compiler.Compile(projections.SchemaBase + file)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
}

func TestEveryPublicTypeHasASchemaAndEverySchemaAType(t *testing.T) {
	files, err := fs.Glob(schemas.Files, "public/*.json")
	if err != nil {
		t.Fatal(err)
	}
	var got, want []string
	for _, file := range files {
		got = append(got, strings.TrimPrefix(file, "public/"))
	}
	want = append(want, "event.json")
	for _, typ := range projections.PublicTypes() {
		want = append(want, string(typ)+".v1.json")
	}
	wantSame(t, "schemas of public events", got, want)
	var types []string
	for _, typ := range projections.PublicTypes() {
		types = append(types, string(typ))
	}
	wantSame(t, "types of public events", names(mustContract(t, "public/event.json").at("/properties/type/enum")), types)
}

// mustPublicGoldens reads the golden public events of projections, by type.
func mustPublicGoldens(t *testing.T) map[string][]any {
	t.Helper()
	paths, err := filepath.Glob("../projections/testdata/public/*.json")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no golden events: %v", err)
	}
	goldens := map[string][]any{}
	for _, path := range paths {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for line := range bytes.Lines(raw) {
			event, err := jsonschema.UnmarshalJSON(bytes.NewReader(line))
			if err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			typ := event.(map[string]any)["type"].(string)
			goldens[typ] = append(goldens[typ], event)
		}
	}
	return goldens
}

func TestEveryPublicGoldenFitsItsSchema(t *testing.T) {
	compile := mustPublicSchema(t)
	event, cloudEvent := compile("event.json"), mustCloudEvent(t)
	for typ, examples := range mustPublicGoldens(t) {
		schema := mustContract(t, "public/"+typ+".v1.json")
		seen := map[string]bool{}
		for _, example := range examples {
			if err := event.Validate(example); err != nil {
				t.Errorf("%s: %v", typ, err)
			}
			if err := cloudEvent.Validate(example); err != nil {
				t.Errorf("%s is no CloudEvent: %v", typ, err)
			}
			for name := range example.(map[string]any)["data"].(map[string]any) {
				seen[name] = true
			}
		}
		for name := range schema.object("/properties") {
			if !seen[name] {
				t.Errorf("no golden %s has the member %s", typ, name)
			}
		}
	}
}

// Each member of a golden event, dropped or made another type, is refused by the
// schema, unless it may be left out.
func TestThePublicSchemasRefuseWhatIsElse(t *testing.T) {
	compile := mustPublicSchema(t)
	event := compile("event.json")
	refused := 0
	for typ, examples := range mustPublicGoldens(t) {
		data := mustContract(t, "public/"+typ+".v1.json")
		required := map[string]bool{}
		for _, name := range names(data.at("/required")) {
			required["/data/"+name] = true
		}
		for _, name := range names(mustContract(t, "public/event.json").at("/required")) {
			required["/"+name] = true
		}
		for _, example := range examples {
			for _, m := range mutations("", example) {
				err := event.Validate(m.record)
				_, dropped := m.now.(missing)
				switch {
				case err != nil:
					refused++
				case m.old == nil && strings.Count(m.path, "/") <= 2:
					t.Errorf("%s: the unknown member %s is taken", typ, m.path)
				case dropped && required[m.path]:
					t.Errorf("%s is taken without %s", typ, m.path)
				}
			}
		}
	}
	if refused < 1000 {
		t.Errorf("only %d mutations were refused", refused)
	}
}

// What is served is what the schemas say.
func TestTheEventsThatAreServedFitTheirSchema(t *testing.T) {
	s := mustServe(t)
	s.settle()
	event := mustPublicSchema(t)("event.json")
	r := httptest.NewRequestWithContext(t.Context(), "GET", "/v1/events", nil)
	r.Header.Set("Authorization", "Bearer "+ownerToken)
	w := httptest.NewRecorder()
	s.running.ServeHTTP(w, r)
	count := 0
	for line := range bytes.Lines(w.Body.Bytes()) {
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(line))
		if err == nil {
			err = event.Validate(v)
		}
		if err != nil {
			t.Errorf("%s: %v", line, err)
		}
		count++
	}
	if count < 30 {
		t.Errorf("got %d events, want many", count)
	}
}

// mustCloudEvent compiles what the specification of CloudEvents 1.0 says of its
// JSON format: which attributes there are, and what may be in them.
func mustCloudEvent(t *testing.T) *jsonschema.Schema {
	t.Helper()
	raw, err := os.ReadFile("testdata/cloudevents-1.0.json")
	if err != nil {
		t.Fatal(err)
	}
	root, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	if err := compiler.AddResource("https://behalf.invalid/cloudevents.json", root); err != nil {
		t.Fatal(err)
	}
	s, err := compiler.Compile("https://behalf.invalid/cloudevents.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestAsyncAPIHasEveryPublicType(t *testing.T) {
	c := mustContract(t, "asyncapi.yaml")
	var want []string
	for _, typ := range projections.PublicTypes() {
		want = append(want, string(typ))
		_, message := c.resolve(c.object("/channels/events/messages/" + string(typ)))
		parts := message["payload"].(map[string]any)["schema"].(map[string]any)["allOf"].([]any)
		properties := parts[1].(map[string]any)["properties"].(map[string]any)
		if properties["type"].(map[string]any)["const"] != string(typ) || properties["data"].(map[string]any)["$ref"] != "public/"+string(typ)+".v1.json" {
			t.Errorf("%s: got the payload %v", typ, parts)
		}
	}
	wantSame(t, "types of public events", names(c.object("/channels/events/messages")), want)
	checkParameters(t, c.object("/channels/events"))
	e := projections.PublicEvent{Account: "{account}", Type: "{type}", Agent: "{agent}"}
	if got := c.at("/channels/events/address"); got != e.Subject() {
		t.Errorf("got the address %v, want %s", got, e.Subject())
	}
}
