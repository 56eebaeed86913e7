package schemas_test

import (
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers"
	"github.com/behalf-platform/behalf/schemas/schematest"
)

// world is what the routes are tried on.
type world struct {
	ids      map[string]string // what fills the parameters of a path
	agentKey string
}

// settle brings every operation to its success once, and leaves an agent with
// permissions, a member and a decision.
func (s *server) settle() world {
	s.t.Helper()
	w := world{ids: map[string]string{"agent": "agent_ollie"}}
	member := func(want int, route, target, body string) map[string]any {
		s.t.Helper()
		return s.do(want, ask{route: route, target: target, token: ownerToken, body: body})
	}
	ollie := member(201, "POST /v1/agents", "/v1/agents", `{"agentId":"agent_ollie","name":"Ollie","label":"shopping"}`)
	w.agentKey = ollie["apiKey"].(string)
	member(201, "POST /v1/agents", "/v1/agents", `{"name":"Travel desk","type":"connected","provider":"openai","externalId":"asst_1"}`)
	member(200, "GET /v1/agents", "/v1/agents?limit=1", "")
	member(200, "GET /v1/agents/{agent}", "/v1/agents/agent_ollie", "")
	member(200, "POST /v1/agents/{agent}/disable", "/v1/agents/agent_ollie/disable", `{"reason":"a test"}`)
	member(200, "POST /v1/agents/{agent}/enable", "/v1/agents/agent_ollie/enable", `{}`)
	w.agentKey = member(200, "POST /v1/agents/{agent}/rotate-key", "/v1/agents/agent_ollie/rotate-key", `{}`)["apiKey"].(string)

	const permissions = "/v1/agents/agent_ollie/permissions"
	full := member(201, "POST /v1/agents/{agent}/permissions", permissions, fullTerms)
	w.ids["permission"] = full["permissionId"].(string)
	one := permissions + "/" + w.ids["permission"]
	member(200, "GET /v1/agents/{agent}/permissions/{permission}", one, "")
	member(200, "PUT /v1/agents/{agent}/permissions/{permission}", one, fullTerms)
	gone := member(201, "POST /v1/agents/{agent}/permissions", permissions, `{"blockedActions":["payout"],"requiresApproval":false}`)
	revoked := permissions + "/" + gone["permissionId"].(string)
	member(200, "POST /v1/agents/{agent}/permissions/{permission}/revoke", revoked+"/revoke", `{"reason":"a test"}`)
	member(409, "PUT /v1/agents/{agent}/permissions/{permission}", revoked, fullTerms)
	s.do(412, ask{
		route: "PUT /v1/agents/{agent}/permissions/{permission}", target: one, token: ownerToken, body: fullTerms,
		header: [2]string{"If-Match", `"1"`},
	})
	s.do(412, ask{
		route: "POST /v1/agents/{agent}/permissions/{permission}/revoke", target: one + "/revoke", token: ownerToken, body: `{}`,
		header: [2]string{"If-Match", `"1"`},
	})
	member(200, "GET /v1/agents/{agent}/permissions", permissions, "")
	member(200, "GET /v1/agents/{agent}/passport", "/v1/agents/agent_ollie/passport", "")

	w.ids["member"] = member(201, "POST /v1/members", "/v1/members", `{"name":"Ada","role":"ADMIN"}`)["memberId"].(string)
	ada := "/v1/members/" + w.ids["member"]
	member(200, "PATCH /v1/members/{member}", ada, `{"role":"VIEWER"}`)
	member(200, "POST /v1/members/{member}/rotate-token", ada+"/rotate-token", `{}`)
	member(200, "GET /v1/members", "/v1/members", "")
	member(204, "DELETE /v1/members/{member}", ada, "")
	member(200, "GET /v1/account", "/v1/account", "")
	member(200, "PATCH /v1/account", "/v1/account", `{"name":"Behalf Zürich","defaultCurrency":"CHF"}`)
	member(200, "GET /v1/me", "/v1/me", "")
	s.ask(&w)
	return w
}

// ask brings the operations of an agent to their success.
func (s *server) ask(w *world) {
	s.t.Helper()
	agent := func(want int, route, target, body string) map[string]any {
		s.t.Helper()
		return s.do(want, ask{route: route, target: target, token: w.agentKey, body: body})
	}
	allowed := agent(200, "POST /v1/verify", "/v1/verify", fullAsk)
	if allowed["allowed"] != true {
		s.t.Errorf("got %v, want an allow", allowed)
	}
	w.ids["request"] = allowed["requestId"].(string)
	agent(409, "POST /v1/verify", "/v1/verify", `{"action":"mail.read","idempotencyKey":"one"}`)
	agent(200, "POST /api/verify", "/api/verify", `{"action":"mail.read","amount":7,"idempotencyKey":"two"}`)
	agent(409, "POST /api/verify", "/api/verify", `{"action":"mail.read","idempotencyKey":"two"}`)
	agent(200, "POST /v1/preview", "/v1/preview", fullAsk)
	agent(200, "GET /v1/passport", "/v1/passport", "")
	agent(200, "GET /v1/me", "/v1/me", "")
	agent(200, "GET /v1/decisions", "/v1/decisions?limit=1", "")
	agent(200, "GET /v1/decisions", "/v1/decisions?follow=true", "")
	agent(404, "GET /v1/decisions", "/v1/decisions?agentId=agent_nobody", "")
	agent(200, "GET /v1/decisions/{request}", "/v1/decisions/"+w.ids["request"], "")
}

const (
	fullTerms = `{"action":"repo:push","allowedActions":["repo:push","repo:read"],"blockedActions":["repo:delete"],
		"resource":["github.com/behalf/**","git@example.com:behalf/?"],"vendors":"github.com","maxAmount":500,"currency":"BHD",
		"context":{"branch":["main","release/*"],"environment":"staging","repository":"behalf/*"},
		"paths":["/srv/behalf"],"deniedPaths":["/srv/behalf/secrets"],"deniedCommands":["rm -rf"],
		"notBefore":"2020-01-01T02:00:00+02:00","expiresAt":"2999-01-01T00:00:00Z",
		"timeWindows":[{"days":["mon","tue","wed","thu","fri","sat","sun"],"from":"00:00","to":"24:00","timeZone":"UTC"}],
		"description":"all of it","notes":"for members"}`
	fullAsk = `{"agentId":"agent_ollie","action":"repo:push","vendor":"github.com","resource":"github.com/behalf/behalf",
		"amount":"12.5","currency":"BHD","path":"src/main.go","command":"git push origin main","cwd":"/srv/behalf",
		"context":{"branch":"main","environment":"staging","repository":"behalf/behalf"},"arguments":{"n":1},"idempotencyKey":"one"}`
)

// bodies are what the operations take, where an empty object won't do.
var bodies = map[string]string{
	"verify": `{"action":"mail.read"}`, "verifyAlias": `{"action":"mail.read"}`, "preview": `{"action":"mail.read","agentId":"agent_nobody"}`,
	"registerAgent": `{"agentId":"agent_ollie","name":"Ollie"}`, "grantPermission": fullTerms, "replacePermission": fullTerms,
	"addMember": `{"name":"Ada","role":"VIEWER"}`, "changeRole": `{"role":"VIEWER"}`,
}

// TestEveryAnswerIsAsDescribed drives every operation to every status that
// openapi.yaml says it can have.
func TestEveryAnswerIsAsDescribed(t *testing.T) {
	s := mustServe(t)
	w := s.settle()
	s.fillPassport(w)
	c := mustContract(t, "openapi.yaml")
	for route, operation := range operations(c) {
		if slices.Contains(names(operation["tags"]), "operations") {
			continue // served by the program that wires the API
		}
		for _, status := range names(operation["responses"]) {
			s.provoke(w, route, operation, status)
			if !s.seen[route+" "+status] {
				t.Errorf("%s never answered %s, which openapi.yaml says it can", route, status)
			}
		}
	}
}

// fillPassport grants all an agent can have, so that the next grant stands
// against it.
func (s *server) fillPassport(w world) {
	s.t.Helper()
	route := "POST /v1/agents/{agent}/permissions"
	for range domain.MostPermissions - 1 {
		s.do(201, ask{route: route, target: w.fill("/v1/agents/{agent}/permissions"), token: ownerToken, body: `{"action":"mail.read"}`})
	}
	s.do(409, ask{route: route, target: w.fill("/v1/agents/{agent}/permissions"), token: ownerToken, body: `{"action":"mail.read"}`})
}

// fill puts ids into a path.
func (w world) fill(path string) string {
	for name, id := range w.ids {
		path = strings.ReplaceAll(path, "{"+name+"}", id)
	}
	return path
}

// unknown is a world with the same credentials in which nothing is there.
func (w world) unknown() world {
	w.ids = map[string]string{
		"agent": "agent_nobody", "permission": "perm_01K8M4QF3G7H9J1K3M5N7P9Q1R",
		"member": "mem_01K8M4A7H2B4D6F8G0J2K4M6N8", "request": "req_01K8M5C0W2X4Y6Z8A0B2C4D6E8",
	}
	return w
}

// provoke sends a request that is to be refused with a status.
func (s *server) provoke(w world, route string, operation map[string]any, status string) {
	s.t.Helper()
	_, path, _ := strings.Cut(route, " ")
	id := operation["operationId"].(string)
	a := ask{route: route, target: w.fill(path), token: ownerToken}
	if _, ok := operation["requestBody"]; ok {
		if a.body = bodies[id]; a.body == "" {
			a.body = `{}`
		}
	}
	forAgents := slices.Contains([]string{"verify", "verifyAlias", "passport"}, id)
	if forAgents {
		a.token = w.agentKey
	}
	switch status {
	case "400":
		if a.body == "" {
			a.target += "?unknownParameter=1"
		} else {
			a.body = `{"unknownMember":1}`
		}
	case "401":
		a.token = ""
	case "403":
		a.token = w.agentKey
		if forAgents {
			a.token = ownerToken
		}
	case "404":
		if id == "listDecisions" {
			return // an agent's, and seen
		}
		a.target = w.unknown().fill(path)
	case "409":
		switch id {
		case "registerAgent":
		case "changeRole", "removeMember":
			a.target = strings.ReplaceAll(path, "{member}", "mem_01K8M3Z5V0J6N8P1S3T5V7X9ZA") // the last owner
		default:
			return // seen
		}
	case "413":
		a.body = `{"action":"` + strings.Repeat("a", handlers.MaxBody) + `"}`
	case "415":
		a.header = [2]string{"Content-Type", "text/plain"}
	case "429":
		a.door = s.limited
	case "503":
		a.door = s.closed
	default:
		return // a success, or seen
	}
	want, err := strconv.Atoi(status)
	if err != nil {
		s.t.Fatal(err)
	}
	s.do(want, a)
}

func TestAPathOrMethodThatIsNotThereHasTheBodyOfAnError(t *testing.T) {
	s := mustServe(t)
	for _, c := range []struct {
		method, target string
		want           int
		allow          string
	}{
		{"GET", "/v1/nothing", 404, ""},
		{"DELETE", "/v1/agents", 405, "GET POST"},
	} {
		w := httptest.NewRecorder()
		s.open.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), c.method, c.target, nil))
		if got := strings.Join(w.Header().Values("Allow"), " "); w.Code != c.want || got != c.allow {
			t.Errorf("%s %s: got %d with Allow %q, want %d with %q", c.method, c.target, w.Code, got, c.want, c.allow)
		}
		schematest.Component(t, "Error", w.Body.Bytes())
	}
}
