package schemas_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/micro"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers"
)

// mustEndpoints is the endpoints natsapi adds to its group, read from its
// source: the keys of its table of operations.
func mustEndpoints(t *testing.T) (group string, endpoints []string) {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), "../handlers/natsapi/api.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CompositeLit:
			table, ok := n.Type.(*ast.MapType)
			if !ok {
				return true
			}
			if of, ok := table.Value.(*ast.Ident); ok && of.Name == "operation" {
				for _, e := range n.Elts {
					endpoints = append(endpoints, mustUnquote(t, e.(*ast.KeyValueExpr).Key))
				}
			}
		case *ast.CallExpr:
			if f, ok := n.Fun.(*ast.SelectorExpr); ok && f.Sel.Name == "AddGroup" {
				group = mustUnquote(t, n.Args[0])
			}
		}
		return true
	})
	if group == "" || len(endpoints) == 0 {
		t.Fatal("handlers/natsapi/api.go has no table of operations, or no group, where this test looks for them")
	}
	return group, endpoints
}

func TestAsyncAPIHasEveryEndpointAndNoOther(t *testing.T) {
	c := mustContract(t, "asyncapi.yaml")
	group, endpoints := mustEndpoints(t)
	wantSame(t, "operations", names(c.object("/operations")), endpoints)
	var got, want []string
	for name := range c.object("/operations") {
		operation := c.object("/operations/" + name)
		if operation["action"] != "receive" {
			t.Errorf("%s: got the action %v, want receive", name, operation["action"])
		}
		_, channel := c.resolve(operation["channel"].(map[string]any))
		got = append(got, channel["address"].(string))
		want = append(want, group+"."+name)
		if replies := len(operation["reply"].(map[string]any)["messages"].([]any)); replies != 2 {
			t.Errorf("%s: got %d replies, want an answer and an error", name, replies)
		}
	}
	wantSame(t, "subjects", got, want)
}

func TestEveryReferenceOfAsyncAPILeadsSomewhere(t *testing.T) {
	c := mustContract(t, "asyncapi.yaml")
	used := map[string]bool{}
	eachRef(c.root, func(ref string) {
		used[ref] = true
		c.resolve(map[string]any{"$ref": ref})
	})
	for _, section := range []string{"messages", "schemas", "parameters", "replyAddresses", "securitySchemes"} {
		for name := range c.object("/components/" + section) {
			if !used["#/components/"+section+"/"+name] {
				t.Errorf("/components/%s/%s is not used", section, name)
			}
		}
	}
}

// logSubjects are the channels of the log.
var logSubjects = []string{"account", "agent", "budget", "decision"}

// subjectOf is the channel a record lies on.
func subjectOf(r domain.Record) string {
	switch s := r.Stream(); {
	case s.Budget:
		return "budget"
	case s.Agent == "":
		return "account"
	case !r.Moves():
		return "decision"
	}
	return "agent"
}

func TestEveryKindIsOnTheSubjectsItsRecordsLieOn(t *testing.T) {
	c := mustContract(t, "asyncapi.yaml")
	want := map[string]bool{}
	for name, record := range mustGoldens(t) {
		r, err := domain.DecodeRecord(mustJSON(t, record))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		want[subjectOf(r)+": "+string(r.Event.Kind())] = true
	}
	var got []string
	for _, subject := range logSubjects {
		for kind := range c.object("/channels/" + subject + "/messages") {
			got = append(got, subject+": "+kind)
			_, message := c.resolve(c.object("/channels/" + subject + "/messages/" + kind))
			payload := message["payload"].(map[string]any)["schema"].(map[string]any)
			if payload["$ref"] != "events/"+kind+".json" {
				t.Errorf("%s: got the payload %v", kind, payload["$ref"])
			}
			_, schema := c.resolve(payload)
			hasAgent := schema["properties"].(map[string]any)["agent"] != nil
			if subject != "budget" && hasAgent != (subject != "account") {
				t.Errorf("%s is on a subject of the wrong stream", kind)
			}
		}
		checkParameters(t, c.object("/channels/"+subject))
	}
	wantSame(t, "kinds by subject", got, slices.Collect(maps.Keys(want)))
}

// checkParameters fails unless a channel explains each parameter of its subject.
func checkParameters(t *testing.T, channel map[string]any) {
	t.Helper()
	var want []string
	for _, p := range regexp.MustCompile(`\{(\w+)\}`).FindAllStringSubmatch(channel["address"].(string), -1) {
		want = append(want, p[1])
	}
	wantSame(t, "parameters of "+channel["address"].(string), names(channel["parameters"]), want)
}

// subject is a line of the list of subjects in natslog's package comment.
var subject = regexp.MustCompile(`(?m)^//\tbehalf\.<p>(\.\S+)`)

func TestTheLogsSubjectsAreDescribed(t *testing.T) {
	source, err := os.ReadFile("../infra/natslog/log.go")
	if err != nil {
		t.Fatal(err)
	}
	var got, want []string
	for _, s := range subject.FindAllStringSubmatch(string(source), -1) {
		want = append(want, "behalf.{partition}"+strings.NewReplacer("<", "{", ">", "}").Replace(s[1]))
	}
	for _, channel := range logSubjects {
		got = append(got, mustContract(t, "asyncapi.yaml").at("/channels/"+channel+"/address").(string))
	}
	wantSame(t, "subjects of the log", got, want)
}

// ownHeader is a header that no package of the client names.
var ownHeader = regexp.MustCompile(`"((?:Behalf|Nats-Batch)-[A-Za-z-]+)"`)

func TestTheHeadersTheLogNamesAreDescribed(t *testing.T) {
	sources, err := filepath.Glob("../infra/natslog/*.go")
	if err != nil {
		t.Fatal(err)
	}
	written := map[string]bool{}
	for _, source := range sources {
		text, err := os.ReadFile(source)
		if err != nil {
			t.Fatal(err)
		}
		for _, header := range ownHeader.FindAllStringSubmatch(string(text), -1) {
			written[header[1]] = true
		}
	}
	var described []string
	for name := range mustContract(t, "asyncapi.yaml").object("/components/schemas/LogHeaders/properties") {
		if strings.HasPrefix(name, "Behalf-") || strings.HasPrefix(name, "Nats-Batch-") {
			described = append(described, name)
		}
	}
	wantSame(t, "headers that infra/natslog names", described, slices.Collect(maps.Keys(written)))
}

func TestTheErrorHeadersAreThoseOfAMicroService(t *testing.T) {
	c := mustContract(t, "asyncapi.yaml")
	headers := c.object("/components/schemas/ErrorHeaders/properties")
	wantSame(t, "error headers", names(headers), []string{micro.ErrorHeader, micro.ErrorCodeHeader})
	status := statuses(t)
	want := map[string]bool{}
	for _, code := range names(headers[micro.ErrorHeader].(map[string]any)["enum"]) {
		if status[code] == 0 {
			t.Errorf("%s is not an error code", code)
		}
		want[strconv.Itoa(status[code])] = true
	}
	wantSame(t, "statuses", names(headers[micro.ErrorCodeHeader].(map[string]any)["enum"]), slices.Collect(maps.Keys(want)))
}

func TestTheExamplesOverNATSFit(t *testing.T) {
	c, openapi := mustContract(t, "asyncapi.yaml"), mustContract(t, "openapi.yaml")
	validate, headers := mustValidate(t, openapi), mustValidate(t, c)
	for _, name := range []string{"Ask", "Error"} {
		message := c.object("/components/messages/" + name)
		for _, e := range message["examples"].([]any) {
			example := e.(map[string]any)
			if err := validate("/components/schemas/"+name, example["payload"]); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			_, pointer, _ := strings.Cut(message["headers"].(map[string]any)["$ref"].(string), "#")
			if err := headers(pointer, example["headers"]); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if handlers.MaxBody != 64<<10 {
		t.Errorf("a body may have %d bytes; the contracts say 64 KiB", handlers.MaxBody)
	}
}

func TestTheWakeUpSubjectIsDescribed(t *testing.T) {
	channel := mustContract(t, "asyncapi.yaml").object("/channels/wake")
	want := handlers.WakeSubject(domain.Stream{Account: "{account}", Agent: "{agent}"}) + ".{approval}"
	if channel["address"] != want {
		t.Errorf("got %v, want %s", channel["address"], want)
	}
	checkParameters(t, channel)
}
