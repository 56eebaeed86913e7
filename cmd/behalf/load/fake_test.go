package load

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/behalf-platform/behalf"
)

// fake is as much of a Behalf server as the load generator uses. It can lie.
type fake struct {
	// lie may change a packet, or replace the answer when it returns a body.
	lie func(p *answer) (status int, body string)
	// forgetful makes it ignore revocations.
	forgetful bool

	mu sync.Mutex
	// agents, permissions and made are guarded by mu.
	agents      map[string]string // by key
	permissions map[string][]*fakePermission
	made        int
}

type fakePermission struct {
	ID        string          `json:"permissionId"`
	Action    string          `json:"action"`
	Resource  behalf.Patterns `json:"resource"`
	MaxAmount string          `json:"maxAmount"`
	Currency  string          `json:"currency"`
	ExpiresAt string          `json:"expiresAt"`
	max       float64         // exact for the amounts here
	revoked   bool
}

func (f *fake) start(t *testing.T) string {
	t.Helper()
	f.agents, f.permissions = map[string]string{}, map[string][]*fakePermission{}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/me", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"kind":"member","id":"mem_1"}`)
	})
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "# HELP x\nprocess_cpu_seconds_total 1.5\nprocess_start_time_seconds 1.7e+09\n")
	})
	mux.HandleFunc("POST /v1/agents", f.register)
	mux.HandleFunc("POST /v1/agents/{agent}/permissions", f.grant)
	mux.HandleFunc("POST /v1/agents/{agent}/permissions/{permission}/revoke", f.revoke)
	answer := func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		status, answer := f.answer(r.Header.Get("Authorization"), body, strings.HasSuffix(r.URL.Path, "preview"))
		w.WriteHeader(status)
		_, _ = io.WriteString(w, answer)
	}
	mux.HandleFunc("POST /v1/verify", answer)
	mux.HandleFunc("POST /v1/preview", answer)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}

func (f *fake) register(w http.ResponseWriter, r *http.Request) {
	var in struct {
		AgentID string `json:"agentId"`
	}
	if err := json.UnmarshalRead(r.Body, &in); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	key := "key-" + in.AgentID
	f.agents["Bearer "+key] = in.AgentID
	w.WriteHeader(http.StatusCreated)
	_, _ = fmt.Fprintf(w, `{"agentId":%q,"apiKey":%q}`, in.AgentID, key)
}

func (f *fake) grant(w http.ResponseWriter, r *http.Request) {
	var p fakePermission
	err := json.UnmarshalRead(r.Body, &p, json.RejectUnknownMembers(true))
	if err == nil {
		p.max, err = strconv.ParseFloat(p.MaxAmount, 64)
	}
	if err != nil || p.Currency != "USD" || p.ExpiresAt == "" {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.made++
	p.ID = "perm_" + strconv.Itoa(f.made)
	id := r.PathValue("agent")
	f.permissions[id] = append(f.permissions[id], &p)
	w.WriteHeader(http.StatusCreated)
	_, _ = fmt.Fprintf(w, `{"permissionId":%q}`, p.ID)
}

func (f *fake) revoke(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.permissions[r.PathValue("agent")] {
		if p.ID == r.PathValue("permission") {
			p.revoked = true
		}
	}
	_, _ = io.WriteString(w, `{}`)
}

// answer verifies or previews.
func (f *fake) answer(authorization string, body []byte, preview bool) (int, string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var in struct {
		AgentID  string `json:"agentId"`
		Action   string `json:"action"`
		Resource string `json:"resource"`
		Amount   string `json:"amount"`
		Currency string `json:"currency"`
	}
	if err := json.Unmarshal(body, &in, json.RejectUnknownMembers(true)); err != nil {
		return http.StatusBadRequest, err.Error()
	}
	if f.agents[authorization] != in.AgentID {
		return http.StatusUnauthorized, ""
	}
	p := answer{
		RequestID: "req_1", AgentID: in.AgentID, Action: in.Action, Resource: in.Resource,
		Amount: in.Amount, Currency: in.Currency,
	}
	p.Decision, p.ReasonCode, p.PermissionID = f.decide(in.AgentID, in.Action, in.Resource, in.Amount)
	p.Allowed = p.Decision == "allowed"
	if preview {
		p.WouldBe, p.Decision, p.Allowed, p.RequestID = p.Decision, "", false, ""
	}
	if f.lie != nil {
		if status, body := f.lie(&p); status != 0 {
			return status, body
		}
	}
	encoded, err := json.Marshal(p)
	if err != nil {
		return http.StatusInternalServerError, err.Error()
	}
	return http.StatusOK, string(encoded)
}

// decide is called with mu held.
func (f *fake) decide(agent, action, resource, amount string) (outcome, code, permission string) {
	outcome, code = "denied", "NO_PERMISSION"
	for _, p := range slices.Backward(f.permissions[agent]) {
		asked, err := strconv.ParseFloat(amount, 64)
		switch {
		case p.Action != action:
			continue
		case p.revoked && !f.forgetful:
			return "denied", "PERMISSION_REVOKED", p.ID
		case !slices.Contains(p.Resource, resource):
			return "denied", "RESOURCE_NOT_ALLOWED", p.ID
		case err != nil || asked > p.max:
			return "denied", "AMOUNT_EXCEEDS_LIMIT", p.ID
		}
		return "allowed", "ALLOWED", p.ID
	}
	return outcome, code, permission
}

// options is a short run against nodes.
func options(urls ...string) Options {
	return Options{
		Target: TargetHTTP, URLs: urls, Token: "bhf_dev_x", Agents: 3, Permissions: 2, Concurrency: 4,
		Duration: 150 * time.Millisecond, Timeout: 5 * time.Second, Seed: 1, Progress: io.Discard,
	}
}
