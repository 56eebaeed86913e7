package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestReceipts has an agent get a receipt, and a service check and take it, as
// they would from a shell.
func TestReceipts(t *testing.T) {
	t.Parallel()
	s := startServer(t, t.TempDir(), "--receipts", "20m", "--dedupe-window", "40m")
	key := s.agent("agent_ollie")
	env := map[string]string{"BEHALF_URL": s.url, "BEHALF_TOKEN": testToken}
	with := func(token string) map[string]string {
		return map[string]string{"BEHALF_URL": s.url, "BEHALF_TOKEN": token, "BEHALF_CONFIG": filepath.Join(t.TempDir(), "none")}
	}
	behalf := func(env map[string]string, in string, want int, args ...string) string {
		t.Helper()
		var out, errs bytes.Buffer
		code := run(t.Context(), args, strings.NewReader(in), &out, &errs, func(name string) string { return env[name] })
		if code != want || (code == 0) != (errs.Len() == 0) {
			t.Fatalf("behalf %s: got %d, %s%s, want %d", strings.Join(args, " "), code, &out, &errs, want)
		}
		return out.String() + errs.String()
	}
	asked := func() (request, receipt string) {
		t.Helper()
		var packet struct{ RequestID, Receipt string }
		out := behalf(with(key), "", 0, "verify", "--action", "purchase", "--vendor", "coachella.com", "--amount", "120", "-o", "json")
		if err := json.Unmarshal([]byte(out), &packet); err != nil || packet.Receipt == "" {
			t.Fatalf("got %s, %v, want a receipt", out, err)
		}
		return packet.RequestID, packet.Receipt
	}
	if out := behalf(with(key), "", 0, "verify", "--action", "purchase", "--vendor", "coachella.com", "--amount", "1"); !strings.Contains(out, "Receipt") {
		t.Errorf("got %s, want the receipt in it", out)
	}
	var account struct{ AccountID string }
	if err := json.Unmarshal([]byte(s.must(200, "GET", "/v1/account", testToken, "")), &account); err != nil {
		t.Fatal(err)
	}
	request, receipt := asked()
	checks := func(more ...string) []string {
		return append([]string{
			"receipts", "verify", "--account", account.AccountID, "--agent", "agent_ollie", "--action", "purchase",
			"--audience", "coachella.com", "--amount", "120.00", "--currency", "USD",
		}, more...)
	}
	if out := behalf(with(""), receipt+"\n", 0, checks()...); !strings.Contains(out, "GOOD until") || !strings.Contains(out, request) {
		t.Errorf("got %s, want it good", out)
	}
	if out := behalf(with(""), "", 0, checks(receipt, "--max-age", "15m", "-o", "json")...); !strings.Contains(out, `"jti":"`+request+`"`) {
		t.Errorf("got %s, want what it says", out)
	}
	keys := filepath.Join(t.TempDir(), "jwks.json")
	if err := os.WriteFile(keys, []byte(behalf(with(""), "", 0, "receipts", "keys")), 0o600); err != nil {
		t.Fatal(err)
	}
	offline := map[string]string{"BEHALF_URL": "http://127.0.0.1:1"}
	behalf(offline, receipt, 0, checks("--keys", keys, "-")...)
	behalf(offline, receipt, 3, checks()...)
	for _, c := range []struct {
		receipt string
		want    int
		more    []string
	}{
		{receipt[:len(receipt)-4] + "AAAA", 1, nil},
		{receipt + "x", 1, nil},
		{"", 2, nil},
		{receipt, 1, []string{"--account", "acct_other"}},
		{receipt, 1, []string{"--agent", "agent_other"}},
		{receipt, 1, []string{"--action", "sell"}},
		{receipt, 1, []string{"--audience", "evil.example.com"}},
		{receipt, 1, []string{"--amount", "12.00"}},
		{receipt, 1, []string{"--currency", "EUR"}},
		{receipt, 2, []string{"--account", ""}},
		{receipt, 2, []string{"--audience", ""}},
		{receipt, 2, []string{"--amount", ""}},
		{receipt, 2, []string{"--keys", ""}},
		{receipt, 2, []string{"--keys", keys + ".none"}},
		{receipt, 2, []string{"--max-age", "soon"}},
	} {
		behalf(with(""), c.receipt, c.want, checks(c.more...)...)
	}

	takes := func(request string, more ...string) []string {
		return append([]string{
			"receipts", "consume", request, "--agent", "agent_ollie", "--action", "purchase", "--audience", "coachella.com",
			"--amount", "120", "--currency", "USD",
		}, more...)
	}
	behalf(env, "", 2, "receipts", "consume")
	behalf(env, "", 2, takes(request, "--action", "")...)
	behalf(env, "", 2, takes(request, "--amount", "ten")...)
	behalf(env, "", 2, "receipts", "consume", request, "--amount", "120")
	behalf(env, "", 1, takes(request, "--amount", "121")...)
	behalf(with(key), "", 1, takes(request)...)
	behalf(with(""), "", 2, takes(request)...)
	behalf(map[string]string{"BEHALF_URL": "http://127.0.0.1:1", "BEHALF_TOKEN": testToken}, "", 3, takes(request)...)
	if out := behalf(env, "", 0, takes(request)...); !strings.Contains(out, "CONSUMED") {
		t.Errorf("got %s, want it taken", out)
	}
	behalf(env, "", 1, takes(request)...)

	behalf(with(key), "", 1, "receipts", "rotate")
	behalf(env, "", 1, "receipts", "rotate", "--overlap", "8d")
	behalf(env, "", 2, "receipts", "rotate", "--overlap", "soon")
	if out := behalf(env, "", 0, "receipts", "rotate", "--overlap", "24h"); !strings.Contains(out, "2 published") {
		t.Errorf("got %s, want the one before it good too", out)
	}
	_, next := asked()
	behalf(with(""), receipt, 0, checks()...)
	behalf(with(""), next, 0, checks()...)
	behalf(offline, next, 1, checks("--keys", keys)...) // the file is of before
	behalf(env, "", 0, "receipts", "rotate", "--overlap", "0s", "-o", "json")
	behalf(with(""), next, 1, checks()...)

	for _, typ := range []string{"receipt_key.rotated", "decision.consumed"} {
		told := func() bool {
			return strings.Contains(s.must(200, "GET", "/v1/events?type="+typ, testToken, ""), `"type":"`+typ+`"`)
		}
		ctx, stop := context.WithTimeout(t.Context(), time.Minute)
		if err := waitUntil(ctx, told); err != nil {
			t.Errorf("got no %s among the events", typ)
		}
		stop()
	}
	plain := startServer(t, t.TempDir())
	off := map[string]string{"BEHALF_URL": plain.url, "BEHALF_TOKEN": testToken}
	behalf(off, receipt, 1, checks()...)
	behalf(off, "", 1, "receipts", "rotate")
	behalf(off, "", 1, "receipts", "keys")
}

// TestReceiptsAreConsumedOnceOnTwoNodes has services take one receipt at two nodes
// at the same time, and one of what was revoked at the other node.
func TestReceiptsAreConsumedOnceOnTwoNodes(t *testing.T) {
	t.Parallel()
	key := filepath.Join(t.TempDir(), "master")
	nodes := startNodes(t, startNATS(t), "--durability", "os", "--receipts", "20m", "--dedupe-window", "40m", "--webhook-key", key)
	agent := nodes[0].agent("agent_ollie")
	allowed := func() string {
		t.Helper()
		var packet struct {
			RequestID string
			Allowed   bool
		}
		text := nodes[0].must(200, "POST", "/v1/verify", agent, purchase)
		if err := json.Unmarshal([]byte(text), &packet); err != nil || !packet.Allowed {
			t.Fatalf("got %s, want an allow", text)
		}
		return packet.RequestID
	}
	if one, two := nodes[0].must(200, "GET", "/.well-known/jwks.json", "", ""), nodes[1].must(200, "GET", "/.well-known/jwks.json", "", ""); one != two {
		t.Errorf("got the keys %s and %s, want the same", one, two)
	}
	id := allowed()
	var taken atomic.Int64
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			status, text, err := nodes[i%2].do("POST", "/v1/decisions/"+id+"/consume", testToken, `{"agentId":"agent_ollie","action":"purchase"}`)
			switch {
			case err == nil && status == 200:
				taken.Add(1)
			case err != nil || status != 409:
				t.Errorf("got %d %s, %v, want 200 once and 409", status, text, err)
			}
		})
	}
	all.Wait()
	if taken.Load() != 1 {
		t.Errorf("got it taken %d times, want once", taken.Load())
	}
	id = allowed()
	nodes[0].must(200, "POST", "/v1/agents/agent_ollie/disable", testToken, `{}`)
	nodes[1].must(409, "POST", "/v1/decisions/"+id+"/consume", testToken, `{}`)
}
