package schemas_test

import (
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// parameters are the names of what may be behind the ? of an operation.
func parameters(c contract, route string, operation map[string]any) (list []string) {
	_, path, _ := strings.Cut(route, " ")
	both, _ := operation["parameters"].([]any)
	shared, _ := c.object("/paths")[path].(map[string]any)["parameters"].([]any)
	for _, p := range append(shared, both...) {
		p := p.(map[string]any)
		if ref, ok := p["$ref"].(string); ok {
			p = c.at(strings.TrimPrefix(ref, "#")).(map[string]any)
		}
		if p["in"] == "query" {
			list = append(list, p["name"].(string))
		}
	}
	return list
}

// TestEveryRouteRefusesParametersItDoesNotKnow and knows those that are promised.
func TestEveryRouteRefusesParametersItDoesNotKnow(t *testing.T) {
	s := mustServe(t)
	c := mustContract(t, "openapi.yaml")
	made := s.do(201, ask{route: "POST /v1/agents", target: "/v1/agents", token: ownerToken, body: `{"agentId":"agent_ollie","name":"Ollie"}`})
	w := world{ids: map[string]string{"agent": "agent_ollie"}, agentKey: made["apiKey"].(string)}
	for id, name := range w.unknown().ids {
		if w.ids[id] == "" {
			w.ids[id] = name
		}
	}
	send := func(route, query string) (int, string) {
		method, path, _ := strings.Cut(route, " ")
		r := httptest.NewRequestWithContext(t.Context(), method, w.fill(path)+"?"+query, strings.NewReader("{}"))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Authorization", "Bearer "+ownerToken)
		if path == "/v1/passport" || strings.HasSuffix(path, "/verify") && !strings.Contains(path, "webhook") {
			r.Header.Set("Authorization", "Bearer "+w.agentKey)
		}
		answer := httptest.NewRecorder()
		s.open.ServeHTTP(answer, r)
		return answer.Code, answer.Body.String()
	}
	known := 0
	for route, operation := range operations(c) {
		if !strings.Contains(route, " /v1/") && !strings.Contains(route, " /api/") && !strings.Contains(route, "/access/") && !strings.Contains(route, "/.well-known/") {
			continue // what operators ask
		}
		for _, query := range []string{"zzz=1", "zzz", "zzz=1&zzz=2"} {
			if status, body := send(route, query); status != 400 || !strings.Contains(body, "zzz") {
				t.Errorf("%s?%s: got %d %s, want 400 and which parameter it is", route, query, status, body)
			}
		}
		for _, name := range parameters(c, route, operation) {
			known++
			if _, body := send(route, name+"=%20&"+name+"=1"); !strings.Contains(body, "is given twice") || !strings.Contains(body, name) {
				t.Errorf("%s?%s=: got %s, want it known", route, url.QueryEscape(name), body)
			}
		}
	}
	for _, list := range []string{"/v1/webhooks?cursor=zzz", "/v1/agents?cursor=a%20b", "/v1/webhooks?limit=0"} {
		path, _, _ := strings.Cut(list, "?")
		s.do(400, ask{route: "GET " + path, target: list, token: ownerToken})
	}
	if known < 40 {
		t.Errorf("got %d parameters, want those of openapi.yaml", known)
	}
}
