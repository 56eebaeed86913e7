package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/behalf-platform/behalf"
)

// shadowOf waits until a shadow has decided so much, and returns its view.
func (s *server) shadowOf(agent string, decided uint64) (v behalf.Shadow) {
	s.t.Helper()
	for {
		text := s.must(200, "GET", "/v1/agents/"+agent+"/shadow", testToken, "")
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			s.t.Fatal(err)
		}
		if v.Counts.Decided >= decided && v.Lag.Waiting == 0 || s.t.Context().Err() != nil {
			return v
		}
		time.Sleep(20 * time.Millisecond)
	}
}

const halved = `{"candidate":{"only":true,"add":[{"action":"purchase","maxAmount":"200"},{"action":"mail.read"}]}}`

// askRounds sends one request that comes out as it did, one stricter, one looser,
// over and over, and returns how many were answered.
func (s *server) askRounds(key string, rounds int) (answered int) {
	for range rounds {
		for _, body := range []string{purchase, `{"action":"purchase","amount":300}`, `{"action":"mail.read"}`} {
			if status, _, err := s.do("POST", "/v1/verify", key, body); err == nil && status == 200 {
				answered++
			}
		}
	}
	return answered
}

func wantCounts(t *testing.T, v behalf.Shadow, rounds uint64) {
	t.Helper()
	c := v.Counts
	if c.Decided != 3*rounds || c.Same != rounds || c.Stricter != rounds || c.Looser != rounds || len(c.Money) != 1 ||
		c.Money[0] != (behalf.ShadowMoney{Currency: "USD", Allowed: "0.00", Stopped: fmt.Sprintf("%d.00", 300*rounds)}) {
		t.Errorf("got %+v, want %d rounds", c, rounds)
	}
}

// A server is killed while it records; the next one goes on, and counts each
// decision once.
func TestAShadowThroughAKill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := spawnServer(t, dir, "--rate-agent", "0")
	key := s.agent("agent_ollie")
	s.askRounds(key, 1) // not of the shadow
	s.must(201, "POST", "/v1/agents/agent_ollie/shadow", testToken, halved)
	for range 2 {
		if got := s.askRounds(key, 40); got != 120 {
			t.Fatalf("got %d answers, want 120", got)
		}
		s.kill()
		s = spawnServer(t, dir, "--rate-agent", "0")
	}
	s.askRounds(key, 5)
	wantCounts(t, s.shadowOf("agent_ollie", 255), 85)
	packet := s.must(200, "POST", "/v1/verify", key, purchase)
	if passport := s.must(200, "GET", "/v1/passport", key, ""); strings.Contains(packet+passport, "shadow") || strings.Contains(passport, "mail.read") {
		t.Errorf("the agent sees the shadow: %s %s", packet, passport)
	}
	s.must(403, "GET", "/v1/agents/agent_ollie/shadow", key, "")
	s.must(403, "POST", "/v1/agents/agent_ollie/shadow", key, halved)
	s.must(400, "POST", "/v1/verify", key, `{"action":"purchase","amount":120,"shadow":true}`)
	s.kill()
	if code, out, errs := command(t, nil, "log", "check", "--data", dir); code != 0 {
		t.Errorf("log check: got exit code %d, %s%s", code, out, errs)
	}
}

// Two nodes on an outside server, with several partitions, both ask and both
// record. One stops, and the other goes on.
func TestAShadowOnTwoNodes(t *testing.T) {
	t.Parallel()
	url := startNATS(t)
	nodes := startNodes(t, url, "--durability", "os", "--partitions", "3")
	var keys []string
	for _, agent := range []string{"agent_a", "agent_b"} {
		keys = append(keys, nodes[0].agent(agent))
		nodes[1].must(201, "POST", "/v1/agents/"+agent+"/shadow", testToken, halved)
	}
	var asking sync.WaitGroup
	for _, n := range nodes {
		for _, key := range keys {
			asking.Go(func() { n.askRounds(key, 20) })
		}
	}
	asking.Wait()
	if err := nodes[0].stop(); err != nil {
		t.Error(err)
	}
	nodes[1].askRounds(keys[0], 5)
	wantCounts(t, nodes[1].shadowOf("agent_a", 135), 45)
	wantCounts(t, nodes[1].shadowOf("agent_b", 120), 40)
	mustCheck(t, url)
}

func TestShadowCommands(t *testing.T) {
	t.Parallel()
	const view = `{"shadowId":"shd_1","agentId":"ollie","state":"running","candidate":{"only":true},"candidateDigest":"00","note":"half",
"startedAt":"2026-11-23T12:00:00Z","startedBy":"member:mem_1","until":"2026-11-30T12:00:00Z","counts":{"decided":3,"same":1,"stricter":1,"looser":1,
"otherReason":0,"undecided":0,"changes":[{"from":{"outcome":"allowed","reasonCode":"ALLOWED"},"to":{"outcome":"denied","reasonCode":"AMOUNT_EXCEEDS_LIMIT"},"count":1}],
"money":[{"currency":"USD","nowAllowed":"0.00","nowStopped":"300.00"}]},"lag":{"waiting":2,"since":"2026-11-23T12:00:00Z","seconds":1.5}}`
	const shown = `Shadow   shd_1
Agent    ollie
State    running
Note     half
Started  2026-11-23T12:00:00Z by member:mem_1
Until    2026-11-30T12:00:00Z
Lag      2 decisions, the oldest 1.5 s
Decided  3: 1 same, 1 stricter, 1 looser, 0 for another reason
Money    now allowed 0.00 USD, now stopped 300.00 USD

DECISIONS  WAS      WOULD BE
1          allowed  denied AMOUNT_EXCEEDS_LIMIT
`
	var asked []string
	server := func(status int, body string) *console {
		return newConsole(t, func(w http.ResponseWriter, r *http.Request) {
			var sent json.RawMessage
			_ = json.NewDecoder(r.Body).Decode(&sent)
			asked = append(asked, fmt.Sprintf("%s %s %s", r.Method, r.URL.RequestURI(), sent))
			answering(status, body)(w, r)
		})
	}
	started, found := server(201, view), server(200, view)
	write := func(text string) string {
		path := filepath.Join(t.TempDir(), "candidate.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	started.want(0, shown, "shadow", "start", "ollie", "-f", write("replace:\n  perm_1: { action: purchase, maxAmount: 200 }\nadd: [{ action: mail.read }]\n"), "--for", "2d", "--note", "half")
	started.want(0, shown, "shadow", "start", "ollie", "-f", write("agents:\n  ollie: { only: true }\n"), "--for", "90m")
	started.want(0, shown, "shadow", "start", "ollie", "-f", write("agents:\n- agentId: other\n- agentId: ollie\n  limits: { rates: [{ count: 1, per: day }] }\n  permissions:\n  - { key: mail, action: mail.read }\n  - { key: buy, action: purchase }\n"))
	started.want(0, shown, "shadow", "start", "ollie", "-f", write("agents:\n- agentId: ollie\n"))
	found.want(0, shown, "shadow", "status", "ollie")
	found.want(0, strings.TrimSpace(view)+"\n", "shadow", "status", "ollie", "--output", "json")
	found.want(0, shown, "shadow", "stop", "ollie", "--note", "enough")
	list := server(200, `{"shadowId":"shd_1","differences":[{"eventId":"evt_1","requestId":"req_1","decidedAt":"2026-11-23T12:00:00Z","difference":"looser",
"real":{"outcome":"denied","reasonCode":"NO_PERMISSION"},"shadow":{"outcome":"allowed","reasonCode":"ALLOWED"},"permissionId":"new_1","reason":"allowed by permission new_1"}]}`)
	list.want(0, `REQUEST  AT                    DIFFERENCE  AMOUNT  WAS                   WOULD BE  BECAUSE
req_1    2026-11-23T12:00:00Z  looser      -       denied NO_PERMISSION  allowed   allowed by permission new_1
`, "shadow", "differences", "ollie", "--limit", "3")
	for i, want := range []string{
		`POST /v1/agents/ollie/shadow {"candidate":{"replace":{"perm_1":{"action":"purchase","maxAmount":200}},"add":[{"action":"mail.read"}]},"for":"48h0m0s","note":"half"}`,
		`POST /v1/agents/ollie/shadow {"candidate":{"only":true},"for":"1h30m0s"}`,
		`POST /v1/agents/ollie/shadow {"candidate":{"only":true,"add":[{"action":"mail.read"},{"action":"purchase"}],"limits":{"rates":[{"count":1,"per":"day"}]}},"for":"168h0m0s"}`,
		`POST /v1/agents/ollie/shadow {"candidate":{"only":true},"for":"168h0m0s"}`,
		`GET /v1/agents/ollie/shadow `, `GET /v1/agents/ollie/shadow `, `POST /v1/agents/ollie/shadow/stop {"note":"enough"}`,
		`GET /v1/agents/ollie/shadow/differences?limit=3 `,
	} {
		if i >= len(asked) || asked[i] != want {
			t.Errorf("got  %q\nwant %q", asked[min(i, len(asked)-1)], want)
		}
	}
	for text, parts := range map[string][]string{
		"adds: []\n":                        {":1:", `"adds"`, "add, replace, remove, only, limits"},
		"add:\n- action: a\n  amount: 1\n":  {":3:", "amount"},
		"agents: { other: { only: true } }": {":1:", "ollie"},
		"agents:\n- agentId: other\n":       {"has nothing for agent ollie"},
		"- a\n":                             {":1:"},
	} {
		started.wantError(2, parts, "shadow", "start", "ollie", "-f", write(text))
	}
	started.wantError(2, []string{"-f"}, "shadow", "start", "ollie")
	started.wantError(2, []string{"--for"}, "shadow", "start", "ollie", "-f", write("only: true"), "--for", "soon")
	missing := newConsole(t, answering(404, `{"error":{"code":"NOT_FOUND","message":"agent ollie has no shadow"}}`))
	missing.wantError(1, []string{"has no shadow"}, "shadow", "status", "ollie")
}
