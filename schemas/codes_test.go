package schemas_test

import (
	"errors"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers"
	"github.com/behalf-platform/behalf/schemas"
)

// surfaceCodes are the codes of errors that no rule gives: there is no such
// method, and the permission layer can't be asked.
var surfaceCodes = map[string]int{"METHOD_NOT_ALLOWED": 405, string(domain.Unavailable): 503}

// statuses is every error code and its HTTP status.
func statuses(t *testing.T) map[string]int {
	t.Helper()
	all := map[string]int{}
	for code, status := range surfaceCodes {
		all[code] = status
	}
	for _, code := range constants(t, "errors.go", "Code") {
		all[code] = handlers.FaultOf(domain.Reject(domain.Code(code), "no")).Status
	}
	if got := handlers.FaultOf(errors.New("broken")); got.Code != string(domain.Unavailable) || got.Status != 503 {
		t.Errorf("got %s with %d for what broke, want UNAVAILABLE with 503", got.Code, got.Status)
	}
	return all
}

var row = regexp.MustCompile("(?m)^\\| `([A-Z_]+)` \\| ([^|]+) \\| ([^|]+) \\| ([^|]+) \\|$")

// mustTable is the rows of the table under a heading of REASONS.md: for each
// code, its second column.
func mustTable(t *testing.T, heading string) map[string]string {
	t.Helper()
	text, err := schemas.Files.ReadFile("REASONS.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(text), "\n## "+heading+"\n")
	if !ok {
		t.Fatalf("REASONS.md has no heading %q", heading)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	rows := map[string]string{}
	for _, cells := range row.FindAllStringSubmatch(section, -1) {
		if _, twice := rows[cells[1]]; twice {
			t.Errorf("%s is listed twice", cells[1])
		}
		rows[cells[1]] = cells[2]
	}
	if lines := strings.Count(section, "\n| `"); lines != len(rows) {
		t.Errorf("%s: got %d rows, of which %d have four columns", heading, lines, len(rows))
	}
	return rows
}

func TestREASONSExplainsEveryReasonCode(t *testing.T) {
	rows := mustTable(t, "Reason codes")
	var got, want []string
	for code, outcome := range rows {
		got = append(got, code)
		should := domain.OutcomeDenied
		switch domain.ReasonCode(code) {
		case domain.Allowed:
			should = domain.OutcomeAllowed
		case domain.ApprovalRequired:
			should = domain.OutcomeRequiresApproval
		}
		if outcome != string(should) {
			t.Errorf("%s: got the outcome %s, want %s", code, outcome, should)
		}
	}
	for _, code := range domain.ReasonCodes() {
		want = append(want, string(code))
	}
	wantSame(t, "reason codes", got, want)
	wantSame(t, "domain.ReasonCodes", want, constants(t, "reason.go", "ReasonCode"))
}

func TestREASONSExplainsEveryErrorCode(t *testing.T) {
	rows := mustTable(t, "Error codes")
	var got, want []string
	for code, status := range statuses(t) {
		want = append(want, code)
		if rows[code] != strconv.Itoa(status) {
			t.Errorf("%s: got the status %q, want %d", code, rows[code], status)
		}
	}
	for code := range rows {
		got = append(got, code)
	}
	wantSame(t, "error codes", got, want)
}

func TestTheEnumsOfTheContractsAreTheDomains(t *testing.T) {
	reasons := constants(t, "reason.go", "ReasonCode")
	var recorded, errorCodes []string
	for _, code := range reasons {
		if code != string(domain.Unavailable) { // it is no decision
			recorded = append(recorded, code)
		}
	}
	for code := range statuses(t) {
		errorCodes = append(errorCodes, code)
	}
	documents := mustContract(t, "types.json")
	compared := map[string]bool{}
	for _, c := range []struct {
		document, pointer string
		want              []string
	}{
		{"types.json", "/$defs/role/enum", constants(t, "account.go", "Role")},
		{"types.json", "/$defs/reviewerRole/enum", reviewers(t)},
		{"types.json", "/$defs/budget/properties/per/enum", periods(t, func(p domain.Period) domain.Limits {
			return domain.Limits{Budgets: []domain.Budget{{Amount: "1", Per: p}}}
		})},
		{"types.json", "/$defs/rate/properties/per/enum", periods(t, func(p domain.Period) domain.Limits {
			return domain.Limits{Rates: []domain.Rate{{Count: 1, Per: p}}}
		})},
		{"types.json", "/$defs/window/properties/days/items/enum", weekdays()},
		{"types.json", "/$defs/check/properties/rule/enum", constants(t, "decision.go", "Rule")},
		{"events/agent.registered.v1.json", "/properties/data/properties/type/enum", constants(t, "agent.go", "AgentType")},
		{"events/decision.made.v1.json", "/properties/data/properties/outcome/enum", constants(t, "decision.go", "Outcome")},
		{"events/decision.settled.v1.json", "/properties/data/properties/outcome/enum", constants(t, "settlement.go", "ActionOutcome")},
		{"events/decision.made.v1.json", "/properties/data/properties/riskLevel/enum", constants(t, "decision.go", "Risk")},
		{"events/decision.made.v1.json", "/properties/data/properties/reasonCode/enum", recorded},
		{"types.json", "/$defs/came/properties/outcome/enum", constants(t, "decision.go", "Outcome")},
		{"events/shadow.decided.v1.json", "/properties/data/properties/difference/enum", constants(t, "shadow_totals.go", "ShadowDifference")},
		{"events/shadow.stopped.v1.json", "/properties/data/properties/because/enum", constants(t, "shadow.go", "ShadowEnd")},
		{"openapi.yaml", "/components/schemas/ShadowDifferenceKind/enum", constants(t, "shadow_totals.go", "ShadowDifference")},
		{"openapi.yaml", "/components/schemas/ShadowEnd/enum", constants(t, "shadow.go", "ShadowEnd")},
		{"openapi.yaml", "/components/schemas/ShadowState/enum", constants(t, "shadow.go", "ShadowState")},
		{"events/webhook.created.v1.json", "/properties/data/properties/ordering/enum", constants(t, "webhook.go", "Ordering")},
		{"events/webhook.created.v1.json", "/properties/data/properties/format/enum", constants(t, "webhook.go", "EndpointFormat")},
		{"events/webhook.created.v1.json", "/properties/data/properties/signatures/items/enum", constants(t, "webhook.go", "Signature")},
		{"events/webhook.changed.v1.json", "/properties/data/properties/ordering/enum", constants(t, "webhook.go", "Ordering")},
		{"events/webhook.changed.v1.json", "/properties/data/properties/format/enum", constants(t, "webhook.go", "EndpointFormat")},
		{"events/webhook.changed.v1.json", "/properties/data/properties/signatures/items/enum", constants(t, "webhook.go", "Signature")},
		{"events/webhook.disabled.v1.json", "/properties/data/properties/code/enum", constants(t, "webhook_event.go", "DisableCode")},
		{"events/webhook.resumed.v1.json", "/properties/data/properties/from/enum", constants(t, "webhook_event.go", "ResumeFrom")},
		{"events/webhook.enabled.v1.json", "/properties/data/properties/from/enum", constants(t, "webhook_event.go", "ResumeFrom")},
		{"openapi.yaml", "/components/schemas/Role/enum", constants(t, "account.go", "Role")},
		{"openapi.yaml", "/components/schemas/AgentType/enum", constants(t, "agent.go", "AgentType")},
		{"openapi.yaml", "/components/schemas/AgentStatus/enum", constants(t, "agent.go", "AgentStatus")},
		{"openapi.yaml", "/components/schemas/PermissionStatus/enum", constants(t, "permission.go", "PermissionStatus")},
		{"openapi.yaml", "/components/schemas/Check/properties/rule/enum", constants(t, "decision.go", "Rule")},
		{"openapi.yaml", "/components/schemas/Outcome/enum", constants(t, "decision.go", "Outcome")},
		{"openapi.yaml", "/components/schemas/Risk/enum", constants(t, "decision.go", "Risk")},
		{"openapi.yaml", "/components/schemas/ApprovalState/enum", constants(t, "approval.go", "ApprovalState")},
		{"openapi.yaml", "/components/schemas/ActionOutcome/enum", constants(t, "settlement.go", "ActionOutcome")},
		{"openapi.yaml", "/components/schemas/Left/properties/per/enum", constants(t, "period.go", "Period")},
		{"openapi.yaml", "/components/schemas/ApprovalTerms/properties/minRole/enum", reviewers(t)},
		{"openapi.yaml", "/components/schemas/Ordering/enum", constants(t, "webhook.go", "Ordering")},
		{"openapi.yaml", "/components/schemas/WebhookFormat/enum", constants(t, "webhook.go", "EndpointFormat")},
		{"openapi.yaml", "/components/schemas/SignatureScheme/enum", constants(t, "webhook.go", "Signature")},
		{"openapi.yaml", "/components/schemas/WebhookStatus/enum", constants(t, "webhook.go", "EndpointStatus")},
		{"openapi.yaml", "/components/schemas/DisableCode/enum", constants(t, "webhook_event.go", "DisableCode")},
		{"openapi.yaml", "/components/schemas/ResumeIn/properties/from/enum", constants(t, "webhook_event.go", "ResumeFrom")},
		{"openapi.yaml", "/components/schemas/WebhookReplayState/enum", constants(t, "webhook_replay.go", "ReplayState")},
		{"openapi.yaml", "/components/schemas/ReasonCode/enum", reasons},
		{"openapi.yaml", "/components/schemas/ErrorCode/enum", errorCodes},
	} {
		compared[c.document+c.pointer] = true
		wantSame(t, c.document+c.pointer, names(documents.beside(c.document).at(c.pointer)), c.want)
	}
	for _, document := range mustSchemaFiles(t) {
		eachEnum(documents.beside(document).root, "", func(pointer string) {
			if !compared[document+pointer] {
				t.Errorf("%s%s is compared with nothing", document, pointer)
			}
		})
	}
	wantSame(t, "outcomes that decisions are told apart by", outcomes(documents.beside("events/decision.made.v1.json")), constants(t, "decision.go", "Outcome"))
}

// eachEnum visits the enums that say what a value may be. Those of a condition
// only pick from such a one.
func eachEnum(v any, path string, visit func(pointer string)) {
	switch v := v.(type) {
	case map[string]any:
		for name, member := range v {
			switch name {
			case "enum":
				visit(path + "/enum")
			case "if", "not":
			default:
				eachEnum(member, path+"/"+name, visit)
			}
		}
	case []any:
		for i, item := range v {
			eachEnum(item, path+"/"+strconv.Itoa(i), visit)
		}
	}
}

// outcomes is the outcome of each way a decision can be, one way for each.
func outcomes(c contract) (list []string) {
	for _, way := range c.at("/properties/data/oneOf").([]any) {
		list = append(list, way.(map[string]any)["properties"].(map[string]any)["outcome"].(map[string]any)["const"].(string))
	}
	return list
}

// reviewers is the roles that can say yes.
func reviewers(t *testing.T) (roles []string) {
	t.Helper()
	for _, role := range constants(t, "account.go", "Role") {
		if domain.Role(role).AtLeast(domain.RoleApprover) {
			roles = append(roles, role)
		}
	}
	return roles
}

// periods is the periods that a limit of some kind can count in.
func periods(t *testing.T, limit func(domain.Period) domain.Limits) (list []string) {
	t.Helper()
	for _, p := range constants(t, "period.go", "Period") {
		if _, err := limit(domain.Period(p)).Accept("USD", "UTC"); err == nil {
			list = append(list, p)
		}
	}
	return list
}

func weekdays() (days []string) {
	for d := range time.Saturday + 1 {
		days = append(days, strings.ToLower(d.String()[:3]))
	}
	return days
}
