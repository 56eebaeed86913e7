package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/behalf-platform/behalf/infra/sqlviews/pgtest"
)

// projected waits until queries answer all that the log holds now.
func (s *server) projected() {
	s.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		status, text, err := s.do("GET", "/v1/projections", testToken, "")
		if err == nil && status == 200 && strings.Count(text, `"state":"serving"`) == 4 && strings.Count(text, `"behind":0`) == 4 {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("the projections don't catch up: %d %s %v", status, text, err)
		}
	}
}

// ready is the status of /readyz, or of what is below it.
func (s *server) ready(path string) int {
	s.t.Helper()
	answer, err := http.Get(s.url + "/readyz" + path)
	if err != nil {
		s.t.Fatal(err)
	}
	_ = answer.Body.Close()
	return answer.StatusCode
}

// tell runs a client command against the server, and returns what it prints.
func (s *server) tell(want int, args ...string) string {
	s.t.Helper()
	var out, errs bytes.Buffer
	env := map[string]string{"BEHALF_URL": s.url, "BEHALF_TOKEN": testToken}
	if code := run(context.Background(), args, strings.NewReader(""), &out, &errs, func(name string) string { return env[name] }); code != want {
		s.t.Errorf("behalf %s: got %d, want %d: %s%s", strings.Join(args, " "), code, want, &out, &errs)
	}
	return out.String() + errs.String()
}

func TestVerifyNeedsNoDatabase(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "views.db")
	if err := os.MkdirAll(filepath.Join(file, "in the way"), 0o700); err != nil {
		t.Fatal(err)
	}
	s := startServer(t, dir)
	key := s.agent("agent_ollie")
	allowed := s.must(200, "POST", "/v1/verify", key, `{"action":"purchase","amount":"120"}`)
	s.must(200, "POST", "/v1/verify", key, `{"action":"purchase","amount":"742"}`)
	for _, path := range []string{"/v1/decisions", "/v1/decisions?format=csv", "/v1/usage", "/v1/agents/agent_ollie/history", "/v1/projections"} {
		if text := s.must(503, "GET", path, testToken, ""); !strings.Contains(text, "deciding is not affected") {
			t.Errorf("%s: got %s, want it to say that deciding is not affected", path, text)
		}
	}
	if ready, queries := s.ready(""), s.ready("/queries"); ready != 200 || queries != 503 {
		t.Errorf("got %d for deciding and %d for queries, want 200 and 503", ready, queries)
	}
	var packet struct{ RequestID, Position string }
	if err := json.Unmarshal([]byte(allowed), &packet); err != nil {
		t.Fatal(err)
	}
	s.must(200, "GET", "/v1/decisions/"+packet.RequestID+"?explain=true", key, "") // from the log

	if err := os.RemoveAll(file); err != nil {
		t.Fatal(err)
	}
	for s.ready("/queries") != 200 {
		time.Sleep(20 * time.Millisecond)
	}
	s.queries(key, allowed, packet.RequestID)
}

// queries tries every query on an allow and a denial.
func (s *server) queries(key, allowed, request string) {
	t := s.t
	t.Helper()
	s.projected()
	list := s.must(200, "GET", "/v1/decisions", key, "")
	if !strings.Contains(list, strings.TrimSuffix(strings.TrimSpace(allowed), "}")) {
		t.Errorf("got %s, want the packet byte for byte in it: %s", list, allowed)
	}
	rows, err := csv.NewReader(strings.NewReader(s.must(200, "GET", "/v1/decisions?format=csv&reasonCode=AMOUNT_EXCEEDS_LIMIT", testToken, ""))).ReadAll()
	if err != nil || len(rows) != 2 || rows[1][4] != "AMOUNT_EXCEEDS_LIMIT" || rows[1][10] != "742.00" {
		t.Errorf("got %v, %v, want a line of names and the denial", rows, err)
	}
	for _, c := range []struct {
		args []string
		want []string
	}{
		{[]string{"decisions"}, []string{"AMOUNT_EXCEEDS_LIMIT", request}},
		{[]string{"decisions", "--min", "100", "--max", "200", "--currency", "USD"}, []string{request}},
		{[]string{"decisions", "--format", "ndjson", "--outcome", "allowed"}, []string{`"requestId":"` + request}},
		{[]string{"decisions", "totals"}, []string{"allowed", "120.00 USD", "742.00 USD", "all"}},
		{[]string{"usage"}, []string{"agent_ollie", "120.00 USD", "742.00 USD"}},
		{[]string{"usage", "--limit", "1"}, []string{"120.00 USD", "There are more: --all, or --cursor "}},
		{[]string{"usage", "--limit", "1", "--all"}, []string{"120.00 USD", "742.00 USD"}},
		{[]string{"agents", "history", "agent_ollie"}, []string{"permission.granted.v1", "agent.registered.v1", "member:"}},
		{[]string{"decisions", "show", request, "--explain"}, []string{"ALLOWED", "PASSPORT AS IT WAS", "which decided"}},
		{[]string{"projections", "list"}, []string{"decisions", "passports", "approvals", "usage", "serving"}},
		{[]string{"projections", "status", "usage"}, []string{"usage"}},
		{[]string{"projections", "rebuild", "decisions", "--wait"}, []string{"serving"}},
	} {
		got := s.tell(0, c.args...)
		for _, want := range c.want {
			if !strings.Contains(got, want) {
				t.Errorf("behalf %s: got\n%s\nwant %q in it", strings.Join(c.args, " "), got, want)
			}
		}
	}
	s.tell(2, "projections", "status", "everything")
	s.tell(2, "decisions", "--min", "3")
	s.tell(1, "projections", "rebuild", "everything")
	s.projected()
	if again := s.must(200, "GET", "/v1/decisions", key, ""); again != list {
		t.Errorf("rebuilt: got %s, want what was there before: %s", again, list)
	}
}

func TestReadModelsOutliveTheProcess(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	made := 0
	for range 4 {
		s := spawnServer(t, dir)
		if made == 0 {
			s.agent("agent_ollie")
		}
		key := s.rotated("agent_ollie")
		for range 150 {
			if status, _, err := s.do("POST", "/v1/verify", key, `{"action":"purchase","amount":"1"}`); err != nil || status != 200 {
				t.Fatalf("verify: got %d, %v", status, err)
			}
			made++
		}
		s.kill()
	}
	s := startServer(t, dir)
	s.projected()
	var totals struct{ Count int }
	if err := json.Unmarshal([]byte(s.must(200, "GET", "/v1/decisions/totals", testToken, "")), &totals); err != nil {
		t.Fatal(err)
	}
	if totals.Count != made {
		t.Errorf("got %d decisions in the read model, want the %d that were made", totals.Count, made)
	}
	exported := s.must(200, "GET", "/v1/decisions?format=ndjson", testToken, "")
	seen := map[string]bool{}
	for line := range strings.Lines(exported) {
		var p struct{ RequestID string }
		if err := json.Unmarshal([]byte(line), &p); err != nil || seen[p.RequestID] {
			t.Fatalf("got %q again, or %v", p.RequestID, err)
		}
		seen[p.RequestID] = true
	}
	if len(seen) != made {
		t.Errorf("got %d decisions exported, want %d", len(seen), made)
	}
}

// rotated gives an agent a new key.
func (s *server) rotated(id string) string {
	s.t.Helper()
	var view struct{ APIKey string }
	if err := json.Unmarshal([]byte(s.must(200, "POST", "/v1/agents/"+id+"/rotate-key", testToken, `{}`)), &view); err != nil {
		s.t.Fatal(err)
	}
	return view.APIKey
}

func TestTheDatabaseGoesAndComesBack(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	pg, err := pgtest.Start(ctx)
	if errors.Is(err, pgtest.ErrNotInstalled) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := pg.Close(); err != nil {
			t.Error(err)
		}
	})
	url, err := pg.Database(ctx)
	if err != nil {
		t.Fatal(err)
	}
	s := startServer(t, t.TempDir(), "--database", url)
	key := s.agent("agent_ollie")
	ask := func() string { return s.must(200, "POST", "/v1/verify", key, `{"action":"purchase","amount":"120"}`) }
	allowed := ask()
	s.must(200, "POST", "/v1/verify", key, `{"action":"purchase","amount":"742"}`)
	var packet struct{ RequestID string }
	if err := json.Unmarshal([]byte(allowed), &packet); err != nil {
		t.Fatal(err)
	}
	s.queries(key, allowed, packet.RequestID)

	if err := pg.Stop(); err != nil {
		t.Fatal(err)
	}
	last := ""
	for range 50 {
		last = ask()
	}
	if text := s.must(503, "GET", "/v1/decisions", key, ""); !strings.Contains(text, "deciding is not affected") {
		t.Errorf("got %s, want it to say that deciding is not affected", text)
	}
	for s.ready("/queries") != 503 {
		time.Sleep(20 * time.Millisecond)
	}
	if got := s.ready(""); got != 200 {
		t.Errorf("got %d for deciding, want 200", got)
	}
	if err := pg.Start(ctx); err != nil {
		t.Fatal(err)
	}
	for s.ready("/queries") != 200 {
		time.Sleep(20 * time.Millisecond)
	}
	s.projected()
	var at struct{ Position string }
	if err := json.Unmarshal([]byte(last), &at); err != nil {
		t.Fatal(err)
	}
	var totals struct{ Count int }
	if err := json.Unmarshal([]byte(s.must(200, "GET", "/v1/decisions/totals?atLeast="+at.Position, key, "")), &totals); err != nil || totals.Count != 52 {
		t.Errorf("got %d decisions, %v, want 52", totals.Count, err)
	}
}

// A projection can be seen to have stopped, and says so to whoever asks.
func TestTheLagIsMeasured(t *testing.T) {
	t.Parallel()
	s := startServer(t, t.TempDir())
	s.agent("agent_ollie")
	s.projected()
	answer, err := http.Get(s.url + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var text bytes.Buffer
	if _, err := text.ReadFrom(answer.Body); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"decisions", "passports", "approvals", "usage"} {
		for _, want := range []string{
			fmt.Sprintf(`behalf_projection_lag_seconds{projection=%q} `, name),
			fmt.Sprintf(`behalf_projection_stopped{projection=%q} 0`, name),
		} {
			if !strings.Contains(text.String(), want) {
				t.Errorf("got no metric %s", want)
			}
		}
	}
}
