package handlers_test

import (
	"strings"
	"testing"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers"
)

func TestAskOfTheReferenceAPI(t *testing.T) {
	t.Parallel()
	const big = 16 << 10
	padded := func(n int) string { return `{"note":"` + strings.Repeat("a", n-len(`{"note":""}`)) + `"}` }
	for _, c := range []struct {
		name, body string
		want       domain.Ask // but for the arguments
		arguments  string
		field      string // that is refused
		says       string // why
	}{
		{
			name: "the plain form", body: `{"agentId":"agent_a","action":"buy","vendor":"x.com","amount":742}`,
			want: domain.Ask{AgentID: "agent_a", Action: "buy", Vendor: "x.com", Amount: "742"},
		},
		{name: "nothing of what may be there", body: `{"action":"buy","metadata":null,"policyContext":null}`, want: domain.Ask{Action: "buy"}},
		{
			name: "where it works", body: `{"action":"push","metadata":{"cwd":"/srv","branch":"main","environment":"prod","repository":"a/b","more":[1]}}`,
			want:      domain.Ask{Action: "push", Cwd: "/srv", Context: domain.Facts{Branch: "main", Environment: "prod", Repository: "a/b"}},
			arguments: `{"metadata":{"cwd":"/srv","branch":"main","environment":"prod","repository":"a/b","more":[1]}}`,
		},
		{
			name: "what a tool would do", body: `{"action":"edit","policyContext":{"toolInput":{"command":"ls","file_path":"/a"},"cwd":"/srv"},"arguments":1}`,
			want:      domain.Ask{Action: "edit", Command: "ls", Path: "/a", Cwd: "/srv"},
			arguments: `{"arguments":1,"policyContext":{"toolInput":{"command":"ls","file_path":"/a"},"cwd":"/srv"}}`,
		},
		{
			name: "a fact that is given twice, and the same", body: `{"action":"run","command":"ls","policyContext":{"toolInput":{"command":"ls"}}}`,
			want:      domain.Ask{Action: "run", Command: "ls"},
			arguments: `{"policyContext":{"toolInput":{"command":"ls"}}}`,
		},
		{name: "as large as may be", body: `{"action":"run","metadata":` + padded(big) + `}`, want: domain.Ask{Action: "run"}, arguments: `{"metadata":` + padded(big) + `}`},

		{name: "two commands", body: `{"action":"run","command":"ls","policyContext":{"toolInput":{"command":"rm -rf /"}}}`, field: "/policyContext/toolInput/command"},
		{name: "two files", body: `{"action":"run","path":"/a","policyContext":{"toolInput":{"filePath":"/b"}}}`, field: "/policyContext/toolInput/filePath"},
		{name: "two names for a file", body: `{"action":"run","policyContext":{"toolInput":{"file_path":"/a","path":"/b"}}}`, field: "/policyContext/toolInput/path"},
		{name: "two branches", body: `{"action":"run","context":{"branch":"dev"},"metadata":{"branch":"main"}}`, field: "/metadata/branch"},
		{name: "two directories", body: `{"action":"run","metadata":{"cwd":"/a"},"policyContext":{"cwd":"/b"}}`, field: "/policyContext/cwd"},
		{name: "a command that is no text", body: `{"action":"run","policyContext":{"toolInput":{"command":["ls"]}}}`, field: "/policyContext/toolInput/command", says: "can't be a list"},
		{name: "a file that is no text", body: `{"action":"run","policyContext":{"toolInput":{"path":{}}}}`, field: "/policyContext/toolInput/path", says: "can't be an object"},
		{name: "a branch that is no text", body: `{"action":"run","metadata":{"branch":1}}`, field: "/metadata/branch"},
		{name: "metadata that is no object", body: `{"action":"run","metadata":"x"}`, field: "/metadata"},
		{name: "too large", body: `{"action":"run","policyContext":` + padded(big+1) + `}`, field: "/policyContext"},
		{name: "a name twice inside", body: `{"action":"run","metadata":{"branch":"dev","branch":"main"}}`, field: "/metadata/branch"},
		{name: "shadow", body: `{"action":"run","shadow":false}`, field: "/shadow"},
		{name: "mode", body: `{"action":"run","mode":null}`, field: "/mode"},
		{name: "anything else", body: `{"action":"run","dryRun":true}`, field: "/dryRun"},
		{name: "a name in another case", body: `{"action":"run","Metadata":{}}`, field: "/Metadata"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var got domain.Ask
			err := handlers.DecodeReferenceAsk([]byte(c.body), &got)
			if c.field != "" {
				if f := handlers.FaultOf(err); err == nil || f.Status != 400 || f.Field != c.field || !strings.Contains(f.Message, c.says) {
					t.Errorf("got %+v (%v), want 400 at %s: %s", f, err, c.field, c.says)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if string(got.Arguments) != c.arguments {
				t.Errorf("got the arguments %s, want %s", got.Arguments, c.arguments)
			}
			digest, err := got.Digest()
			got.Arguments = nil
			if bare, _ := got.Digest(); err != nil || (bare == digest) != (c.arguments == "") {
				t.Errorf("got the digest %s (%v), %s without what was asserted", digest, err, bare)
			}
			if bare, _ := got.Digest(); bare != mustDigest(t, c.want) {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

func mustDigest(t *testing.T, a domain.Ask) string {
	t.Helper()
	digest, err := a.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return digest
}

// What a client asserts narrows and never widens, and an approval is good for
// exactly what was asserted.
func TestClientOfTheReferenceAPI(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		w := b.node().web(t)
		key := w.register(b.token, "agent_ollie")
		w.register(b.token, "agent_other")
		const grants = "/v1/agents/agent_ollie/permissions"
		w.must(201, "POST", grants, b.token, `{"action":"shell.run","deniedCommands":["rm -rf"],"context":{"branch":"dev"}}`)
		w.must(201, "POST", grants, b.token, `{"action":"repo.merge","requiresApproval":true}`)
		verify := func(status int, body string) reply {
			t.Helper()
			return w.must(status, "POST", "/api/verify", key, body)
		}
		const dev = `{"agentId":"agent_ollie","action":"shell.run","metadata":{"branch":"dev"},"policyContext":{"toolInput":{"command":"ls"}}}`
		if got := verify(200, dev); got.body["allowed"] != true {
			t.Errorf("got %s, want an allow", got.text)
		}
		for body, code := range map[string]string{
			strings.Replace(dev, "dev", "main", 1):               "CONTEXT_NOT_ALLOWED",
			strings.Replace(dev, "ls", "rm -rf /", 1):            "COMMAND_NOT_ALLOWED",
			`{"action":"shell.run","metadata":{"branch":"dev"}}`: "COMMAND_NOT_ALLOWED",
		} {
			if got := verify(200, body); got.body["allowed"] != false || got.body["reasonCode"] != code {
				t.Errorf("%s: got %s, want %s", body, got.text, code)
			}
		}
		w.must(400, "POST", "/v1/verify", key, dev)
		w.must(401, "POST", "/api/verify", key, strings.Replace(dev, "ollie", "other", 1))
		w.must(403, "POST", "/api/verify", b.token, dev)

		const merge = `{"action":"repo.merge","metadata":{"pull":7}}`
		asked := verify(200, merge)
		if asked.body["approvalRequired"] != true || asked.body["allowed"] != false {
			t.Fatalf("got %s, want a person to be asked", asked.text)
		}
		approval, _ := asked.body["approvalId"].(string)
		w.must(200, "POST", "/v1/approvals/"+approval+"/approve", b.token, `{}`)
		for _, other := range []string{`{"action":"repo.merge","metadata":{"pull":8}}`, `{"action":"repo.merge","metadata":{"pull":7,"x":1}}`, `{"action":"repo.merge"}`} {
			if got := verify(200, other); got.body["allowed"] != false || got.body["approvalId"] == approval {
				t.Errorf("%s: got %s, want another approval", other, got.text)
			}
		}
		if got := verify(200, merge); got.body["allowed"] != true || got.body["approvalId"] != approval {
			t.Errorf("got %s, want the allow that uses %s", got.text, approval)
		}
	})
}
