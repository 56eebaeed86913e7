package schemas_test

import (
	"errors"
	"regexp"
	"strconv"
	"strings"
	"testing"

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
		if code == string(domain.Allowed) {
			should = domain.OutcomeAllowed
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
	for _, c := range []struct {
		document, pointer string
		want              []string
	}{
		{"types.json", "/$defs/role/enum", constants(t, "account.go", "Role")},
		{"types.json", "/$defs/check/properties/rule/enum", constants(t, "decision.go", "Rule")},
		{"events/agent.registered.v1.json", "/properties/data/properties/type/enum", constants(t, "agent.go", "AgentType")},
		{"events/decision.made.v1.json", "/properties/data/properties/outcome/enum", constants(t, "decision.go", "Outcome")},
		{"events/decision.made.v1.json", "/properties/data/properties/riskLevel/enum", constants(t, "decision.go", "Risk")},
		{"events/decision.made.v1.json", "/properties/data/properties/reasonCode/enum", recorded},
		{"openapi.yaml", "/components/schemas/Role/enum", constants(t, "account.go", "Role")},
		{"openapi.yaml", "/components/schemas/AgentType/enum", constants(t, "agent.go", "AgentType")},
		{"openapi.yaml", "/components/schemas/AgentStatus/enum", constants(t, "agent.go", "AgentStatus")},
		{"openapi.yaml", "/components/schemas/PermissionStatus/enum", constants(t, "permission.go", "PermissionStatus")},
		{"openapi.yaml", "/components/schemas/Check/properties/rule/enum", constants(t, "decision.go", "Rule")},
		{"openapi.yaml", "/components/schemas/Outcome/enum", constants(t, "decision.go", "Outcome")},
		{"openapi.yaml", "/components/schemas/Risk/enum", constants(t, "decision.go", "Risk")},
		{"openapi.yaml", "/components/schemas/ReasonCode/enum", reasons},
		{"openapi.yaml", "/components/schemas/ErrorCode/enum", errorCodes},
	} {
		wantSame(t, c.document+c.pointer, names(documents.beside(c.document).at(c.pointer)), c.want)
	}
}
