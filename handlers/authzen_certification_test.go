package handlers_test

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The certification scenario, by its numbers.
func TestAuthzenCertification(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		file, err := os.ReadFile("testdata/authzen_certification.tsv")
		if err != nil {
			t.Fatal(err)
		}
		w := b.node().web(t)
		keys := map[string]string{"owner": b.token}
		requests := 0
		for line := range strings.Lines(string(file)) {
			f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
			switch f[0] {
			case "passport":
				if keys[f[1]] == "" {
					keys[f[1]] = w.register(b.token, f[1])
				}
				w.must(201, "POST", "/v1/agents/"+f[1]+"/permissions", b.token, f[2])
			case "request":
				requests++
				w.certify(f[1], "/access/v1/"+f[2], keys[f[3]], f[4], f[5], f[6])
			}
		}
		if requests != 49 {
			t.Errorf("got %d requests, want 49", requests)
		}
		w.certifyPages(b.token)
		w.certifyRest(keys["alice"])
	})
}

// certify sends one request, twice: the answer must be the same.
func (w *web) certify(number, path, token, body, status, expected string) {
	w.t.Helper()
	for range 2 {
		r := w.authzen("POST", path, token, body, "X-Request-ID", number)
		if strconv.Itoa(r.status) != status || r.header.Get("X-Request-ID") != number {
			w.t.Errorf("%s: got %d %s, want %s", number, r.status, r.text, status)
			return
		}
		if r.status != 200 {
			continue
		}
		got, want := outcomesOf(r), strings.Fields(expected)
		if r.body["results"] != nil && r.body["page"].(map[string]any)["next_token"] != "" {
			w.t.Errorf("%s: got %s, want all of it", number, r.text)
		}
		for i := range want {
			if want[i] == "?" && i < len(got) { // either
				want[i] = got[i]
			}
		}
		if !slices.Equal(got, want) || r.header.Get("Content-Type") != "application/json" {
			w.t.Errorf("%s: got %s, want %s", number, r.text, expected)
		}
	}
}

// outcomesOf are the decisions of an answer, or what it found, "-" for nothing.
func outcomesOf(r reply) []string {
	var list []string
	one := func(item any) {
		m, _ := item.(map[string]any)
		if decision, ok := m["decision"].(bool); ok {
			list = append(list, strconv.FormatBool(decision))
		}
		for _, name := range []string{"id", "name"} {
			if text, ok := m[name].(string); ok {
				list = append(list, text)
			}
		}
	}
	many, ok := r.body["evaluations"].([]any)
	found, searched := r.body["results"].([]any)
	switch {
	case ok:
		for _, item := range many {
			one(item)
		}
	case searched && len(found) == 0:
		return []string{"-"}
	case searched:
		for _, item := range found {
			one(item)
		}
	default:
		one(r.body)
	}
	return list
}

// certifyPages is c-4-5.
func (w *web) certifyPages(token string) {
	w.t.Helper()
	const search = `{"subject":{"type":"agent"},"action":{"name":"read"},"resource":{"type":"record","id":"record-1"},"page":`
	first := w.authzen("POST", "/access/v1/search/subject", token, search+`{"limit":1}}`)
	page, _ := first.body["page"].(map[string]any)
	next, _ := page["next_token"].(string)
	second := w.authzen("POST", "/access/v1/search/subject", token, search+`{"token":"`+next+`"}}`)
	last, _ := second.body["page"].(map[string]any)
	if got := append(outcomesOf(first), outcomesOf(second)...); next == "" || last["next_token"] != "" || !slices.Equal(got, []string{"alice", "bob"}) {
		w.t.Errorf("c-4-5: got %s and %s, want two pages", first.text, second.text)
	}
}

// certifyRest is c-2-4-3, c-2-5-2 and c-6.
func (w *web) certifyRest(key string) {
	w.t.Helper()
	const reads = `{"subject":{"type":"agent","id":"alice"},"action":{"name":"read"},"resource":{"type":"record","id":"record-1"}}`
	for _, path := range []string{evaluationPath, evaluationsPath, "/access/v1/search/action"} {
		if r := w.authzen("POST", path, key, reads, "Content-Type", "text/plain"); r.status != 400 {
			w.t.Errorf("c-2-4-3: got %d %s, want 400", r.status, r.text)
		}
	}
	if r := w.authzen("POST", evaluationPath, key, reads); r.status != 200 || r.header.Get("X-Request-ID") != "" {
		w.t.Errorf("c-2-5-2: got %d %v, want none", r.status, r.header)
	}
	r := w.authzen("GET", "/.well-known/authzen-configuration", "", "", "X-Forwarded-Proto", "https")
	const base = "https://pdp.example.com"
	for name, want := range map[string]string{
		"policy_decision_point": base, "access_evaluation_endpoint": base + evaluationPath, "access_evaluations_endpoint": base + evaluationsPath,
		"search_subject_endpoint": base + "/access/v1/search/subject", "search_resource_endpoint": base + "/access/v1/search/resource",
		"search_action_endpoint": base + "/access/v1/search/action",
	} {
		if r.status != 200 || r.header.Get("Content-Type") != "application/json" || r.body[name] != want {
			w.t.Errorf("c-6: got %s, want %s at %s", r.text, want, name)
		}
	}
}
