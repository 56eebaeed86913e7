package schemas_test

import (
	"strings"
	"time"
)

// evaluate brings what AuthZEN has to its success.
func (s *server) evaluate() {
	s.t.Helper()
	send := func(want int, token, route, target, body string) map[string]any {
		s.t.Helper()
		return s.do(want, ask{route: route, target: target, token: token, body: body, header: [2]string{"X-Request-ID", "one"}})
	}
	post := func(want int, token, path, body string) map[string]any {
		s.t.Helper()
		return send(want, token, "POST "+path, path, body)
	}
	// One that no limits of the others bind.
	key, _ := send(201, ownerToken, "POST /v1/agents", "/v1/agents", `{"agentId":"agent_page","name":"Page"}`)["apiKey"].(string)
	send(201, ownerToken, "POST /v1/agents/{agent}/permissions", "/v1/agents/agent_page/permissions",
		`{"allowedActions":["page.read","page.edit"],"resource":"page:one"}`)
	send(201, ownerToken, "POST /v1/agents/{agent}/permissions", "/v1/agents/agent_page/permissions",
		`{"action":"page.drop","resource":"page:*","requiresApproval":true,"approval":{"pendingFor":"1s","minRole":"ADMIN"}}`)
	const reads = `{"subject":{"type":"agent","id":"agent_page"},"action":{"name":"page.read"},"resource":{"type":"page","id":"one"}}`
	drops := strings.Replace(reads, "read", "drop", 1)
	const evaluation, evaluations, requests = "/access/v1/evaluation", "/access/v1/evaluations", "/access/v1/requests"
	if got := post(200, key, evaluation, reads); got["decision"] != true {
		s.t.Errorf("got %v, want yes", got)
	}
	post(200, ownerToken, evaluation, reads)
	post(200, key, evaluations, strings.TrimSuffix(reads, "}")+`,"evaluations":[{},{"action":{}},{"resource":{"type":"page","id":"two"}}]}`)
	post(200, key, evaluations, reads)
	for _, kind := range []string{"subject", "resource", "action"} {
		for _, token := range []string{key, ownerToken} {
			got := post(200, token, "/access/v1/search/"+kind, reads)
			if list, _ := got["results"].([]any); len(list) == 0 {
				s.t.Errorf("%s: got %v, want some", kind, got)
			}
		}
	}
	open := func(id string) (body, task string) {
		body = strings.Replace(drops, "one", id, 1)
		context := post(200, key, evaluation, body)["context"].(map[string]any)
		body = strings.TrimSuffix(body, "}") + `,"denial":{"evaluation_id":"` + context["evaluation_id"].(string) + `"}}`
		return body, context["approvalId"].(string)
	}
	const task = "GET /access/v1/requests/{approval}"
	body, id := open("one")
	post(201, key, requests, body)
	post(400, key, requests, strings.Replace(body, "one", "two", 1))
	for s.do(200, ask{route: task, target: requests + "/" + id, token: key})["task"].(map[string]any)["status"] == "pending" {
		time.Sleep(50 * time.Millisecond)
	}
	post(410, key, requests, body)
	_, id = open("two")
	send(200, ownerToken, "POST /v1/approvals/{approval}/approve", "/v1/approvals/"+id+"/approve", `{}`)
	send(200, key, task, requests+"/"+id, "")
	send(200, "", "GET /.well-known/authzen-configuration", "/.well-known/authzen-configuration", "")
}

// consume brings receipts to their success.
func (s *server) consume(w *world) {
	s.t.Helper()
	const consume, rotate, jwks = "POST /v1/decisions/{request}/consume", "POST /v1/receipt-keys/rotate", "GET /.well-known/jwks.json"
	if got := s.do(200, ask{route: "POST /v1/verify", target: "/v1/verify", token: w.agentKey, body: fullAsk}); got["receipt"] == nil {
		s.t.Errorf("got %v, want a receipt", got)
	}
	target := "/v1/decisions/" + w.ids["request"] + "/consume"
	s.do(409, ask{route: consume, target: target, token: ownerToken, body: `{"agentId":"agent_other"}`})
	s.do(200, ask{route: consume, target: target, token: ownerToken, body: `{"agentId":"agent_ollie","action":"repo:push","audience":"github.com","amount":"12.5","currency":"BHD"}`})
	s.do(409, ask{route: consume, target: target, token: ownerToken, body: `{}`})
	for range 3 {
		s.do(200, ask{route: rotate, target: "/v1/receipt-keys/rotate", token: ownerToken, body: `{"overlap":"1h"}`})
	}
	s.do(409, ask{route: rotate, target: "/v1/receipt-keys/rotate", token: ownerToken, body: `{}`})
	if keys, _ := s.do(200, ask{route: jwks, target: "/.well-known/jwks.json"})["keys"].([]any); len(keys) != 4 {
		s.t.Errorf("got %v, want four keys", keys)
	}
	s.do(404, ask{route: jwks, target: "/.well-known/jwks.json", door: s.unsigned})
}
