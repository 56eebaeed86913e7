package schemas_test

import (
	"bytes"
	"encoding/json"
	"net/http/httptest"
	"os"
	"os/exec"
	"reflect"
	"slices"
	"testing"
)

// referenceClient is what a program written for the reference API does: fetch,
// and look at a few members of the answer. It prints what it saw.
const referenceClient = `
const { URL: base, KEY: key, OWNER: owner } = process.env;
const post = async (path, token, body) => {
  const response = await fetch(base + path, {
    method: "POST",
    headers: { "Content-Type": "application/json", Authorization: "Bearer " + token },
    body: JSON.stringify(body),
  });
  return { status: response.status, ...(await response.json()) };
};
const verify = async (request, token = key) => {
  const { status, requestId, allowed, approvalRequired, approvalId, reason, risk, error } = await post("/api/verify", token, request);
  if (status !== 200) return [status, allowed ?? null, error.code, error.field ?? null];
  const whole = /^req_/.test(requestId) && typeof reason === "string" && reason !== "" && ["low", "medium", "high"].includes(risk);
  return { whole, allowed, approvalRequired, approvalId };
};
const agentId = "agent_ollie";
const buy = { agentId, action: "purchase", vendor: "coachella.com", amount: 120 };
const run = { agentId, action: "shell.run", metadata: { cwd: "/srv", branch: "dev", environment: "ci", repository: "a/b", run: 7 } };
const tool = (toolInput) => ({ ...run, policyContext: { toolName: "Bash", toolInput } });
const send = { agentId, action: "mail.send", vendor: "example.com", metadata: { subject: "Hello" } };
const say = (name, got) => console.log(JSON.stringify([name, got]));

say("allow", await verify(buy));
say("deny", await verify({ ...buy, amount: 742 }));
say("tool", await verify(tool({ command: "ls -l", file_path: "/srv/a" })));
say("tool denied", await verify(tool({ command: "rm  -rf  /" })));
say("file denied", await verify(tool({ command: "ls", file_path: "/etc/passwd" })));
say("branch denied", await verify({ ...tool({ command: "ls", file_path: "/srv/a" }), metadata: { ...run.metadata, branch: "main" } }));
const asked = await verify(send);
say("asked", { ...asked, approvalId: /^apr_/.test(asked.approvalId) });
say("asked again", (await verify(send)).approvalId === asked.approvalId);
await post("/v1/approvals/" + asked.approvalId + "/approve", owner, {});
say("another text", (await verify({ ...send, metadata: { subject: "Bye" } })).allowed);
say("approved", (await verify(send)).allowed);
say("shadow", await verify({ ...buy, shadow: true }));
say("mode", await verify({ ...buy, mode: "shadow" }));
say("conflict", await verify({ ...tool({ command: "rm -rf /" }), command: "ls" }));
say("too large", await verify({ ...buy, metadata: { note: "a".repeat(16 * 1024) } }));
say("unknown field", await verify({ ...buy, dryRun: true }));
say("no action", await verify({ agentId }));
say("another's key", await verify({ ...buy, agentId: "agent_other" }));
say("bad key", await verify(buy, "bhf_sk_" + "a".repeat(43)));
say("strict elsewhere", (await post("/v1/verify", key, run)).status);
`

func TestClientOfTheReferenceAPIInNode(t *testing.T) {
	t.Parallel()
	node := findNode(t)
	s := mustServe(t)
	member := func(target, body string) map[string]any {
		t.Helper()
		route := "POST /v1/agents"
		if target != "/v1/agents" {
			route = "POST /v1/agents/{agent}/permissions"
		}
		return s.do(201, ask{route: route, target: target, token: ownerToken, body: body})
	}
	key, _ := member("/v1/agents", `{"agentId":"agent_ollie","name":"Ollie"}`)["apiKey"].(string)
	member("/v1/agents", `{"agentId":"agent_other","name":"Other"}`)
	const grants = "/v1/agents/agent_ollie/permissions"
	member(grants, `{"action":"purchase","vendors":["coachella.com"],"maxAmount":"500.00","currency":"USD"}`)
	member(grants, `{"action":"shell.run","deniedCommands":["rm -rf"],"paths":["/srv"],"context":{"branch":"dev","environment":"ci","repository":"a/b"}}`)
	member(grants, `{"action":"mail.send","requiresApproval":true}`)
	web := httptest.NewServer(s.running)
	defer web.Close()

	run := exec.CommandContext(t.Context(), node, "--input-type=module", "-e", referenceClient)
	run.Env = append(os.Environ(), "URL="+web.URL, "KEY="+key, "OWNER="+ownerToken)
	var faults bytes.Buffer
	run.Stderr = &faults
	output, err := run.Output()
	if err != nil {
		t.Fatalf("node: %v\n%s\n%s", err, output, faults.String())
	}
	yes := map[string]any{"whole": true, "allowed": true, "approvalRequired": false}
	no := map[string]any{"whole": true, "allowed": false, "approvalRequired": false}
	refused := func(status float64, code string, field any) any { return []any{status, nil, code, field} }
	want := [][2]any{
		{"allow", yes},
		{"deny", no},
		{"tool", yes},
		{"tool denied", no},
		{"file denied", no},
		{"branch denied", no},
		{"asked", map[string]any{"whole": true, "allowed": false, "approvalRequired": true, "approvalId": true}},
		{"asked again", true},
		{"another text", false},
		{"approved", true},
		{"shadow", refused(400, "INVALID_REQUEST", "/shadow")},
		{"mode", refused(400, "INVALID_REQUEST", "/mode")},
		{"conflict", refused(400, "INVALID_REQUEST", "/policyContext/toolInput/command")},
		{"too large", refused(400, "INVALID_REQUEST", "/metadata")},
		{"unknown field", refused(400, "INVALID_REQUEST", "/dryRun")},
		{"no action", refused(400, "INVALID_REQUEST", "/action")},
		{"another's key", refused(401, "UNAUTHENTICATED", nil)},
		{"bad key", refused(401, "UNAUTHENTICATED", nil)},
		{"strict elsewhere", 400.0},
	}
	lines := slices.Collect(bytes.Lines(output))
	if len(lines) != len(want) {
		t.Fatalf("got %d results, want %d:\n%s", len(lines), len(want), output)
	}
	for i, line := range lines {
		var got [2]any
		if err := json.Unmarshal(line, &got); err != nil || !reflect.DeepEqual(got, want[i]) {
			t.Errorf("got %s (%v), want %v", line, err, want[i])
		}
	}
}
