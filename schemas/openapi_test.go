package schemas_test

import (
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/pb33f/libopenapi/datamodel"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers"
	"github.com/behalf-platform/behalf/handlers/authzen"
	"github.com/behalf-platform/behalf/handlers/httpapi"
	"github.com/behalf-platform/behalf/projections"
	"github.com/behalf-platform/behalf/schemas/schematest"
)

func TestOpenAPIIsValid(t *testing.T) {
	standard, err := jsonschema.UnmarshalJSON(strings.NewReader(datamodel.OpenAPI31SchemaData))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("https://behalf.invalid/oas31.json", standard); err != nil {
		t.Fatal(err)
	}
	validator, err := compiler.Compile("https://behalf.invalid/oas31.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := validator.Validate(mustContract(t, "openapi.yaml").root); err != nil {
		t.Error(err)
	}
}

// operations is every operation of openapi.yaml, as net/http writes patterns.
func operations(c contract) map[string]map[string]any {
	all := map[string]map[string]any{}
	for path, item := range c.object("/paths") {
		for method, operation := range item.(map[string]any) {
			if method != "parameters" {
				all[strings.ToUpper(method)+" "+path] = operation.(map[string]any)
			}
		}
	}
	return all
}

func TestOpenAPIHasEveryRouteAndNoOther(t *testing.T) {
	// What operators ask is served beside the API.
	want := append(httpapi.Routes(), "GET /healthz", "GET /readyz", "GET /readyz/queries", "GET /metrics")
	var got []string
	ids := map[string]bool{}
	for route, operation := range operations(mustContract(t, "openapi.yaml")) {
		got = append(got, route)
		id, _ := operation["operationId"].(string)
		if id == "" || ids[id] {
			t.Errorf("%s: got the operationId %q, want one of its own", route, id)
		}
		ids[id] = true
	}
	wantSame(t, "routes", got, want)
}

// isOpen reports whether an operation needs no credential.
func isOpen(operation map[string]any) bool {
	security, ok := operation["security"].([]any)
	return ok && len(security) == 0
}

func TestEveryOperationSaysWhatCanComeOfIt(t *testing.T) {
	c := mustContract(t, "openapi.yaml")
	for route, operation := range operations(c) {
		if isOpen(operation) {
			continue
		}
		want := []string{"401", "429", "503"} // whoever asks
		if _, body := operation["requestBody"]; body {
			want = append(want, "400", "413")
			if !slices.Contains(names(operation["tags"]), "authzen") { // which answers 400
				want = append(want, "415")
			}
		}
		for _, status := range want {
			if !slices.Contains(names(operation["responses"]), status) {
				t.Errorf("%s: the status %s is missing", route, status)
			}
		}
	}
	for response, headers := range map[string]string{
		"Unauthenticated": "WWW-Authenticate", "RateLimited": "Retry-After", "Unavailable": "Retry-After", "Permission": "ETag",
	} {
		c.at("/components/responses/" + response + "/headers/" + headers)
	}
}

func TestOpenAPINamesWhatTheCodeTakesAndGives(t *testing.T) {
	c := mustContract(t, "openapi.yaml")
	for name, typ := range map[string]reflect.Type{
		"Ask":              reflect.TypeFor[domain.Ask](),
		"Packet":           reflect.TypeFor[domain.Packet](),
		"Preview":          reflect.TypeFor[handlers.PreviewView](),
		"Agent":            reflect.TypeFor[handlers.AgentView](),
		"Member":           reflect.TypeFor[handlers.MemberView](),
		"Account":          reflect.TypeFor[handlers.AccountView](),
		"Permission":       reflect.TypeFor[handlers.PermissionView](),
		"Passport":         reflect.TypeFor[handlers.PassportView](),
		"Approval":         reflect.TypeFor[handlers.ApprovalView](),
		"ApprovalPage":     reflect.TypeFor[handlers.ApprovalPage](),
		"AgentLimits":      reflect.TypeFor[handlers.AgentLimitsView](),
		"AccountLimits":    reflect.TypeFor[handlers.AccountLimitsView](),
		"Reservation":      reflect.TypeFor[handlers.ReservationView](),
		"ReservationPage":  reflect.TypeFor[handlers.ReservationPage](),
		"Settlement":       reflect.TypeFor[handlers.SettlementView](),
		"Explanation":      reflect.TypeFor[handlers.ExplanationView](),
		"Judged":           reflect.TypeFor[handlers.JudgedView](),
		"Change":           reflect.TypeFor[handlers.ChangeView](),
		"Projection":       reflect.TypeFor[handlers.ProjectionView](),
		"PassportAt":       reflect.TypeFor[handlers.PassportAt](),
		"Replay":           reflect.TypeFor[handlers.ReplayView](),
		"Checked":          reflect.TypeFor[handlers.CheckedView](),
		"Difference":       reflect.TypeFor[projections.Difference](),
		"WhatIfReport":     reflect.TypeFor[projections.WhatIfReport](),
		"ApprovalSettings": reflect.TypeFor[domain.ApprovalSettings](),
		"ApprovalTerms":    reflect.TypeFor[domain.ApprovalTerms](),
		"Webhook":          reflect.TypeFor[handlers.WebhookView](),
		"WebhookPage":      reflect.TypeFor[handlers.WebhookPage](),
		"WebhookReplay":    reflect.TypeFor[handlers.WebhookReplayView](),
		"DeliveryStatus":   reflect.TypeFor[handlers.DeliveryStatus](),
		"AttemptPage":      reflect.TypeFor[handlers.AttemptPage](),
		"DeadLetterPage":   reflect.TypeFor[handlers.DeadLetterPage](),

		"Consumption": reflect.TypeFor[domain.ConsumeDecision](),
		"Consumed":    reflect.TypeFor[handlers.ConsumptionView](),
		"ReceiptKey":  reflect.TypeFor[handlers.ReceiptKeyView](),
		"ReceiptKeys": reflect.TypeFor[handlers.JWKS](),

		"AuthzenDecision":      reflect.TypeFor[authzen.Decision](),
		"AuthzenDecisions":     reflect.TypeFor[authzen.Decisions](),
		"AuthzenFound":         reflect.TypeFor[authzen.Found](),
		"AuthzenTaskAnswer":    reflect.TypeFor[authzen.TaskAnswer](),
		"AuthzenProblem":       reflect.TypeFor[authzen.Problem](),
		"AuthzenConfiguration": reflect.TypeFor[authzen.Configuration](),
	} {
		c.wantFits(c.object("/components/schemas/"+name), typ, "", nil)
	}
	// Whoever sets a budget may leave its currency to the account; one that is
	// stored has it.
	budget := c.object("/components/schemas/BudgetsIn/items")
	budget["required"] = append(budget["required"].([]any), "currency")
	c.wantFits(c.object("/components/schemas/Terms"), reflect.TypeFor[domain.Terms](), "", nil)
	c.wantFits(c.object("/components/schemas/LimitsIn"), reflect.TypeFor[domain.Limits](), "", nil)
	c.wantFits(c.object("/components/schemas/Shadow"), reflect.TypeFor[handlers.ShadowView](), "", nil)
	c.wantFits(c.object("/components/schemas/ShadowDifferencePage"), reflect.TypeFor[handlers.ShadowDifferencePage](), "", nil)
}

// TestEveryExampleFits holds the examples against the schemas they stand
// beside, and the codes of errors against the status they come with.
func TestEveryExampleFits(t *testing.T) {
	c := mustContract(t, "openapi.yaml")
	validate := mustValidate(t, c)
	count := 0
	c.eachContent("", c.root, func(pointer string, content map[string]any) {
		examples := []any{}
		if e, ok := content["example"]; ok {
			examples = append(examples, e)
		}
		if list, ok := content["examples"].(map[string]any); ok {
			for _, e := range list {
				_, example := c.resolve(e.(map[string]any))
				examples = append(examples, example["value"])
			}
		}
		for _, e := range examples {
			count++
			if err := validate(pointer+"/schema", e); err != nil {
				t.Errorf("the example of %s: %v", pointer, err)
			}
		}
	})
	if count < 30 {
		t.Errorf("only %d examples were found", count)
	}
}

func TestEveryExampleOfAnErrorHasACodeOfItsStatus(t *testing.T) {
	c := mustContract(t, "openapi.yaml")
	status := statuses(t)
	for route, operation := range operations(c) {
		for want, response := range operation["responses"].(map[string]any) {
			_, response := c.resolve(response.(map[string]any))
			for _, code := range errorCodes(response) {
				if strconv.Itoa(status[code]) != want {
					t.Errorf("%s: %s is given with %s, want %d", route, code, want, status[code])
				}
			}
		}
	}
}

// errorCodes is every error code in the examples of a response.
func errorCodes(v any) (codes []string) {
	switch v := v.(type) {
	case map[string]any:
		if fault, ok := v["error"].(map[string]any); ok {
			if code, ok := fault["code"].(string); ok {
				return []string{code}
			}
		}
		for _, member := range v {
			codes = append(codes, errorCodes(member)...)
		}
	case []any:
		for _, item := range v {
			codes = append(codes, errorCodes(item)...)
		}
	}
	return codes
}

// eachContent calls yield with every media type object of JSON.
func (c contract) eachContent(pointer string, v any, yield func(pointer string, content map[string]any)) {
	object, ok := v.(map[string]any)
	if !ok {
		return
	}
	for name, member := range object {
		at := pointer + "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
		if content, ok := member.(map[string]any); ok && name == "application/json" {
			yield(at, content)
		}
		c.eachContent(at, member, yield)
	}
}

// mustValidate makes a validator of values by the schemas of a document.
func mustValidate(t *testing.T, c contract) func(pointer string, v any) error {
	t.Helper()
	const address = "https://behalf.invalid/openapi.yaml"
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	if err := compiler.AddResource(address, c.root); err != nil {
		t.Fatal(err)
	}
	return func(pointer string, v any) error {
		schema, err := compiler.Compile(address + "#" + pointer)
		if err != nil {
			return err
		}
		return schema.Validate(v)
	}
}

func TestEveryComponentIsASchemaAndIsUsed(t *testing.T) {
	c := mustContract(t, "openapi.yaml")
	validate := mustValidate(t, c)
	used := map[string]bool{}
	eachRef(c.root, func(ref string) { used[ref] = true })
	for _, section := range []string{"schemas", "parameters", "headers", "requestBodies", "responses", "examples"} {
		for name := range c.object("/components/" + section) {
			pointer := "/components/" + section + "/" + name
			if !used["#"+pointer] {
				t.Errorf("%s is not used", pointer)
			}
			if section == "schemas" {
				// Whether the null is valid doesn't matter, only that the schema compiles.
				if err := validate(pointer, nil); err != nil && !isVerdict(err) {
					t.Error(err)
				}
			}
		}
	}
	for ref := range used {
		c.resolve(map[string]any{"$ref": ref})
	}
}

func isVerdict(err error) bool {
	_, ok := err.(*jsonschema.ValidationError)
	return ok
}

// eachRef calls yield with every reference in a document.
func eachRef(v any, yield func(ref string)) {
	switch v := v.(type) {
	case map[string]any:
		for name, member := range v {
			if ref, ok := member.(string); ok && name == "$ref" {
				yield(ref)
			}
			eachRef(member, yield)
		}
	case []any:
		for _, item := range v {
			eachRef(item, yield)
		}
	}
}

func TestPositionsInTheExamplesArePositions(t *testing.T) {
	c := mustContract(t, "openapi.yaml")
	for _, name := range []string{"Allowed", "Denied", "DeniedWithChecks"} {
		packet := c.object("/components/examples/" + name + "/value")
		schematest.Component(t, "Packet", mustJSON(t, packet))
		if _, err := domain.ParsePosition(packet["position"].(string)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
