package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

const miaFile = `agents:
  - agentId: agent_mia
    name: Mia
    limits:
      rates: [{count: 100, per: hour}]
    permissions:
      - key: tickets
        action: purchase
        vendors: [coachella.com, '*.ticketmaster.com']
        maxAmount: 500
        requiresApproval: 100
        expiresAt: 2099-01-01T00:00:00Z
        notes: |-
          for the festival
          in April
      - key: read
        action: read
        resource: docs/**
      - key: never
        blockedActions: [refund]
`

// applied is a console for a real server, and a file.
func applied(t *testing.T, text string) (*server, *console, string) {
	t.Helper()
	s := startServer(t, t.TempDir())
	c := &console{t: t, env: map[string]string{
		"BEHALF_URL": s.url, "BEHALF_TOKEN": testToken, "BEHALF_CONFIG": filepath.Join(t.TempDir(), "config.json"),
	}}
	return s, c, mustWrite(t, "passport.yaml", text)
}

// says runs a command line, and wants an exit code and parts of what is printed.
func (c *console) says(code int, parts []string, args ...string) string {
	c.t.Helper()
	got, out, errs := c.run(args...)
	if got != code {
		c.t.Fatalf("behalf %s: got %d, want %d\n%s%s", strings.Join(args, " "), got, code, out, errs)
	}
	for _, part := range parts {
		if !strings.Contains(out+errs, part) {
			c.t.Errorf("behalf %s: got\n%s%s\nwant it to say %q", strings.Join(args, " "), out, errs, part)
		}
	}
	return out
}

func TestApply(t *testing.T) {
	t.Parallel()
	s, c, file := applied(t, miaFile)

	c.says(1, []string{"+ agent    registered  Mia", "+ tickets  added", "rates  none → ", "Nothing was done (--dry-run): 1 registered"}, "apply", "-f", file, "--dry-run")
	c.says(1, nil, "agents", "show", "agent_mia")

	out := c.says(0, []string{"Key of agent_mia: bhf_sk_", "Done: 1 registered, 1 set (limits or driver), 3 added."}, "apply", "-f", file)
	if strings.Index(out, "limits") > strings.Index(out, "tickets") {
		t.Errorf("got the permissions before the limits:\n%s", out)
	}
	_, key, _ := strings.Cut(out, "Key of agent_mia: ")
	key, _, _ = strings.Cut(key, "\n")
	for ask, want := range map[string]string{
		`{"action":"purchase","vendor":"coachella.com","amount":99}`:  `"decision":"allowed"`,
		`{"action":"purchase","vendor":"coachella.com","amount":101}`: `"decision":"requires_approval"`,
		`{"action":"purchase","vendor":"coachella.com","amount":501}`: `"AMOUNT_EXCEEDS_LIMIT"`,
		`{"action":"refund"}`: `"ACTION_BLOCKED"`,
	} {
		if got := s.must(200, "POST", "/v1/verify", key, ask); !strings.Contains(got, want) {
			t.Errorf("%s: got %s, want %s", ask, got, want)
		}
	}
	if got := s.must(200, "GET", "/v1/passport", key, ""); strings.Contains(got, "key: ") || strings.Contains(got, "festival") {
		t.Errorf("the agent reads the key or the notes: %s", got)
	}

	c.says(0, []string{"= tickets  unchanged", "Nothing to do: 3 unchanged."}, "apply", "-f", file)
	c.says(0, []string{"Nothing to do"}, "apply", "-f", file, "--dry-run")

	changed := mustWrite(t, "passport.yaml", strings.NewReplacer("maxAmount: 500", "maxAmount: 300", "in April", "in May", "      - key: read\n        action: read\n        resource: docs/**\n", "").Replace(miaFile))
	c.says(1, []string{
		"~ tickets  replaced", "maxAmount  500.00 → 300.00", `"key: tickets\nfor the festival\nin April" → "key: tickets\nfor the festival\nin May"`,
		"? read     not in the file  may read; on docs/**", "1 replaced, 1 unchanged, 1 not in the file and left alone (--prune revokes)",
	}, "apply", "-f", changed, "--dry-run")
	c.says(0, []string{"Done: 1 replaced, 1 unchanged, 1 not in the file"}, "apply", "-f", changed)
	c.says(0, []string{"Nothing to do: 2 unchanged, 1 not in the file"}, "apply", "-f", changed)
	c.says(1, []string{"- read     revoked"}, "apply", "-f", changed, "--prune", "--dry-run")
	c.says(0, []string{"Done: 1 revoked, 2 unchanged."}, "apply", "-f", changed, "--prune")
	c.says(0, []string{"Nothing to do: 2 unchanged."}, "apply", "-f", changed, "--prune")
	if got := s.must(200, "POST", "/v1/verify", key, `{"action":"read","resource":"docs/a"}`); !strings.Contains(got, "PERMISSION_REVOKED") {
		t.Errorf("got %s, want it revoked", got)
	}

	bare := mustWrite(t, "passport.yaml", "agents:\n  - agentId: agent_mia\n")
	c.says(0, []string{"Nothing to do: 2 not in the file"}, "apply", "-f", bare)
	c.says(0, []string{"rates", "→ none", "Done: 1 set (limits or driver), 2 revoked."}, "apply", "-f", bare, "--prune")
	c.says(0, []string{"Nothing to do: the agents are as the file has them."}, "apply", "-f", bare, "--prune")
}

func TestApplyAsJSON(t *testing.T) {
	t.Parallel()
	_, c, file := applied(t, miaFile)
	var plan struct {
		Changes []struct {
			Do, Key, APIKey string
			Done            bool
		}
		Unchanged []struct{ Key string }
		DryRun    bool
	}
	for _, step := range []struct {
		args      []string
		code      int
		changes   int
		unchanged int
	}{
		{[]string{"--dry-run"}, 1, 5, 0},
		{nil, 0, 5, 0},
		{nil, 0, 0, 3},
	} {
		_ = json.Unmarshal([]byte(`{"Changes":null,"Unchanged":null,"DryRun":false}`), &plan)
		out := c.says(step.code, nil, append([]string{"apply", "-f", file, "-o", "json"}, step.args...)...)
		if err := json.Unmarshal([]byte(out), &plan); err != nil {
			t.Fatalf("%v: got %s: %v", step.args, out, err)
		}
		if len(plan.Changes) != step.changes || len(plan.Unchanged) != step.unchanged || plan.DryRun != (step.args != nil) {
			t.Errorf("%v: got %s", step.args, out)
		}
		for _, ch := range plan.Changes {
			if ch.Done == plan.DryRun {
				t.Errorf("%v: got %+v", step.args, ch)
			}
			if (ch.APIKey != "") != (ch.Do == "register" && ch.Done) {
				t.Errorf("%v: got the key %q of %s", step.args, ch.APIKey, ch.Do)
			}
		}
	}
}

func TestExportIsApplied(t *testing.T) {
	t.Parallel()
	s, c, file := applied(t, miaFile)
	c.says(0, nil, "apply", "-f", file)
	s.agent("agent_byhand") // its permission has no key
	grant := func(agent, terms string) {
		s.must(201, "POST", "/v1/agents/"+agent+"/permissions", testToken, terms)
	}
	grant("agent_byhand", `{"action":"a","notes":"key: same"}`)
	grant("agent_byhand", `{"action":"b","notes":"key: same","description":"yes","context":{"branch":["no","1.0"]},"timeWindows":[{"days":["mon"],"from":"09:00","to":"24:00","timeZone":"UTC"}]}`)
	grant("agent_byhand", `{"action":"c","notes":"key: not a key\n- [x]: #y","approval":{"quorum":2,"validFor":"90m"},"requiresApproval":true,"deniedCommands":["rm -rf *"]}`)
	grant("agent_byhand", `{"action":"d","budgets":[{"amount":"5","per":"day","timeZone":"Europe/Berlin"}],"notes":"key: d\nwith more"}`)
	grant("agent_byhand", `{"action":"d","notes":"key: e\n\nwith a gap"}`)
	gone := s.must(201, "POST", "/v1/agents/agent_byhand/permissions", testToken, `{"action":"e"}`)
	var p struct {
		PermissionID string `json:"permissionId"`
	}
	if err := json.Unmarshal([]byte(gone), &p); err != nil {
		t.Fatal(err)
	}
	s.must(200, "POST", "/v1/agents/agent_byhand/permissions/"+p.PermissionID+"/revoke", testToken, `{}`)

	for _, output := range []string{"table", "json"} {
		all := c.says(0, nil, "export", "-o", output)
		if strings.Contains(all, p.PermissionID) {
			t.Errorf("got the permission that was revoked:\n%s", all)
		}
		path := mustWrite(t, "passport."+map[string]string{"table": "yaml", "json": "json"}[output], all)
		for _, more := range []string{"--dry-run", "--prune"} {
			c.says(0, []string{"Nothing to do: 9 unchanged."}, "apply", "-f", path, more)
		}
	}
	if one := c.says(0, []string{"agent_mia", "key: tickets"}, "export", "agent_mia"); strings.Contains(one, "byhand") {
		t.Errorf("got another agent:\n%s", one)
	}
	c.wantError(1, []string{"no agent agent_none"}, "export", "agent_none")

	// On a server that has none of it, the same file makes the same passport.
	file = mustWrite(t, "passport.yaml", c.says(0, nil, "export"))
	_, other, _ := applied(t, miaFile)
	other.says(0, []string{"9 added"}, "apply", "-f", file)
	other.says(0, []string{"Nothing to do: 9 unchanged."}, "apply", "-f", file, "--prune")
}

func TestApplyRefuses(t *testing.T) {
	t.Parallel()
	s, c, _ := applied(t, miaFile)
	s.agent("agent_ollie") // named Ollie
	for _, bad := range []struct {
		text string
		says string
	}{
		{"agents:\n  - agentId: agent_ollie\n    name: Olli\n", `:3: agent agent_ollie is registered as "Ollie", and names can't be changed`},
		{"agents:\n  - agentId: agent_new\n    permissions:\n      - {key: k, action: x, expiresAt: 2020-01-01T00:00:00Z}\n", ":4: /expiresAt: 2020-01-01T00:00:00Z is past"},
		{"agents:\n  - agentId: agent_new\n    permissions:\n      - key: k\n        action: x\n        maxAmount: 5.001\n", ":6: /maxAmount: "},
		{"agents:\n  - agentId: agent_new\n    limits:\n      budgets:\n        - {amount: 0, per: day}\n", ":5: /budgets/0: is nothing at all"},
	} {
		c.wantError(2, []string{bad.says}, "apply", "-f", mustWrite(t, "p.yaml", bad.text))
	}
	c.says(1, nil, "agents", "show", "agent_new")
	c.wantError(2, []string{"needs --file"}, "apply")
	c.wantError(2, []string{"no such file"}, "apply", "-f", filepath.Join(t.TempDir(), "none.yaml"))
	driven := mustWrite(t, "p.yaml", "agents:\n  - agentId: agent_ollie\n    driver: mem_nobody\n")
	c.says(1, []string{":3: set the driver of agent agent_ollie: ", "0 of 1 changes were made"}, "apply", "-f", driven)

	// What expired as it stands is no difference, and no reason to complain.
	c.in = "agents:\n  - agentId: agent_new\n    permissions:\n      - {key: k, action: x}\n"
	c.says(0, []string{"1 added"}, "apply", "-f", "-")
	c.says(0, []string{"Nothing to do"}, "apply", "-f", "-")
}

// fake answers as a server with one agent does, and notes what is changed.
type fake struct {
	mu sync.Mutex
	// changes and permissions are guarded by mu.
	changes     []string
	permissions []string
	// answer, if not nil, answers a change.
	answer func(w http.ResponseWriter, change string) bool
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	if r.Method != http.MethodGet {
		change := strings.TrimSpace(r.Method + " " + r.URL.Path + " " + r.Header.Get("If-Match"))
		f.changes = append(f.changes, change)
		if f.answer != nil && f.answer(w, change) {
			return
		}
		if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/permissions") {
			w.WriteHeader(http.StatusCreated)
		}
		_, _ = w.Write(body)
		return
	}
	switch r.URL.Path {
	case "/v1/account":
		_, _ = io.WriteString(w, `{"accountId":"acct","defaultCurrency":"USD","timeZone":"UTC"}`)
	case "/v1/agents/a":
		_, _ = io.WriteString(w, `{"agentId":"a","name":"A","type":"native"}`)
	case "/v1/agents/a/limits":
		_, _ = io.WriteString(w, `{"agentId":"a","passportVersion":9,"left":[]}`)
	case "/v1/agents/a/permissions":
		_, _ = io.WriteString(w, `{"passportVersion":9,"permissions":[`+strings.Join(f.permissions, ",")+`]}`)
	default:
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{"error":{"code":"NOT_FOUND","message":"no"}}`)
	}
}

func held(id string, version int, terms string) string {
	return fmt.Sprintf(`{"permissionId":%q,"status":"active","passportVersion":9,"version":%d,%s,"summary":"s","grantedAt":"2026-01-01T00:00:00Z"}`, id, version, terms)
}

const threeChanges = `agents:
  - agentId: a
    permissions:
      - {key: grown, action: x, resource: y}
      - {key: added, action: z}
      - {key: block, blockedActions: [q]}
`

func TestApplyStopsWhenSomebodyElseChangesIt(t *testing.T) {
	t.Parallel()
	f := &fake{permissions: []string{
		held("perm_1", 7, `"action":"x","notes":"key: grown"`),
		held("perm_2", 8, `"action":"gone"`),
		held("perm_3", 9, `"blockedActions":["gone"]`),
	}}
	f.answer = func(w http.ResponseWriter, change string) bool {
		if strings.HasPrefix(change, "PUT") {
			w.WriteHeader(http.StatusPreconditionFailed)
			_, _ = io.WriteString(w, `{"error":{"code":"VERSION_MISMATCH","message":"permission perm_1 is at version 12, not 7"}}`)
			return true
		}
		return false
	}
	c := newConsole(t, f.ServeHTTP)
	file := mustWrite(t, "p.yaml", threeChanges)
	c.says(1, []string{
		"p.yaml:4: replace grown of agent a: ", "at version 12, not 7 (VERSION_MISMATCH)",
		"2 of 5 changes were made; somebody changed it since it was compared; apply again to see the difference",
	}, "apply", "-f", file, "--prune")
	want := "POST /v1/agents/a/permissions\nPOST /v1/agents/a/permissions/perm_2/revoke\nPUT /v1/agents/a/permissions/perm_1 \"7\""
	if got := strings.Join(f.changes, "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	f.answer, f.changes = nil, nil
	c.says(0, []string{"Done: 2 added, 1 replaced, 2 revoked."}, "apply", "-f", file, "--prune")
	want += "\nPOST /v1/agents/a/permissions\nPOST /v1/agents/a/permissions/perm_3/revoke"
	if got := strings.Join(f.changes, "\n"); got != want {
		t.Errorf("got\n%s\nwant the blocks to come first and to go last:\n%s", got, want)
	}
}

func TestApplySaysWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	f := &fake{answer: func(w http.ResponseWriter, _ string) bool {
		w.WriteHeader(http.StatusBadGateway)
		return true
	}}
	c := newConsole(t, f.ServeHTTP)
	file := mustWrite(t, "p.yaml", threeChanges)
	c.says(3, []string{"grant block to agent a", "0 of 3 changes were made"}, "apply", "-f", file)

	f.permissions = []string{held("perm_1", 7, `"action":"x","onlyOnFridays":true`)}
	c.says(3, []string{"can't read", "onlyOnFridays"}, "apply", "-f", file)
	c.says(3, []string{"onlyOnFridays"}, "export", "a")
}

func TestApplyKeepsTheOlderOfTwoWithOneKey(t *testing.T) {
	t.Parallel()
	f := &fake{permissions: []string{
		held("perm_1", 7, `"action":"z","notes":"key: added"`),
		held("perm_2", 8, `"action":"z","notes":"key: added"`),
	}}
	c := newConsole(t, f.ServeHTTP)
	file := mustWrite(t, "p.yaml", "agents:\n  - agentId: a\n    permissions:\n      - {key: added, action: z}\n")
	c.says(0, []string{"Nothing to do: 1 unchanged, 1 not in the file"}, "apply", "-f", file)
	c.says(0, []string{"Done: 1 revoked, 1 unchanged."}, "apply", "-f", file, "--prune")
	if got := strings.Join(f.changes, "\n"); got != "POST /v1/agents/a/permissions/perm_2/revoke" {
		t.Errorf("got %s", got)
	}
	exported := c.says(0, []string{"key: added", "key: perm_2"}, "export", "a")
	c.says(0, []string{"Nothing to do: 2 unchanged."}, "apply", "-f", mustWrite(t, "p.yaml", exported), "--prune")
}
