package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/behalf-platform/behalf/infra/clustertest"
)

// repeats is how often a race is run: BEHALF_REPEAT, or what is enough for every
// change.
func repeats(t *testing.T, enough int) int {
	t.Helper()
	text := os.Getenv("BEHALF_REPEAT")
	if text == "" {
		return enough
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("BEHALF_REPEAT: %v", err)
	}
	return n
}

// What a limit leaves is given out to the last unit and not beyond, and an
// approval is used once, however many ask at once and wherever.
func TestLimitsAndApprovalsAreExact(t *testing.T) {
	t.Parallel()
	setups := map[string]func(t *testing.T) (nodes []*server, check func()){
		"embedded": func(t *testing.T) ([]*server, func()) {
			dir := t.TempDir()
			s := startServer(t, dir, "--durability", "os", "--rate-agent", "0")
			return []*server{s}, func() {
				if err := s.stop(); err != nil {
					t.Errorf("stop: %v", err)
				}
				if code, out, errs := command(t, nil, "log", "check", "--data", dir); code != 0 {
					t.Errorf("log check: got exit code %d, %s%s", code, out, errs)
				}
			}
		},
		"two nodes": func(t *testing.T) ([]*server, func()) {
			url := startNATS(t)
			return startNodes(t, url, "--durability", "os"), func() { mustCheck(t, url) }
		},
		"three servers": func(t *testing.T) ([]*server, func()) {
			c := clustertest.Start(t, 3)
			return startNodes(t, c.URL(), "--durability", "replicated", "--replicas", "3"), func() { mustCheck(t, c.URL()) }
		},
	}
	for name, start := range setups {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nodes, check := start(t)
			r := &race{t: t, nodes: nodes}
			for i := range repeats(t, 2) {
				r.budget(i)
				r.rate(i)
				r.approval(i)
				r.accountBudget(i)
			}
			check()
		})
	}
}

// race asks much at once of all nodes.
type race struct {
	t      *testing.T
	nodes  []*server
	client http.Client
}

// answers counts answers by their reason.
type answers struct {
	mu     sync.Mutex
	counts map[string]int
}

func (a *answers) add(code string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.counts == nil {
		a.counts = map[string]int{}
	}
	a.counts[code]++
}

// ask sends n verifies at once, in turn to each node, and counts the answers.
func (r *race) ask(n int, key, body string) map[string]int {
	r.t.Helper()
	r.client.Transport = &http.Transport{MaxIdleConnsPerHost: n}
	defer r.client.CloseIdleConnections()
	var (
		all     answers
		group   sync.WaitGroup
		started = make(chan struct{})
		run     = runs.Add(1)
	)
	for i := range n {
		group.Go(func() {
			<-started
			all.add(r.persist(r.nodes[i%len(r.nodes)], key, fmt.Sprintf(`%s,"idempotencyKey":"%d-%d"}`, strings.TrimSuffix(body, "}"), run, i)))
		})
	}
	close(started)
	group.Wait()
	return all.counts
}

// runs tells the idempotency keys of one run from those of the next.
var runs atomic.Int64

// persist verifies until there is a decision. A node that is asked more than it
// can work on in time says that it is unavailable; whoever asks again with the
// same key gets the decision that was recorded, if one was.
func (r *race) persist(node *server, key, body string) (code string) {
	for range 20 {
		if code = r.verify(node, key, body); code != "UNAVAILABLE" {
			break
		}
	}
	return code
}

// verify is one verify, and the reason code of its answer.
func (r *race) verify(node *server, key, body string) string {
	ctx, cancel := context.WithTimeout(r.t.Context(), 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "POST", node.url+"/v1/verify", strings.NewReader(body))
	if err != nil {
		return err.Error()
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Content-Type", "application/json")
	resp, err := r.client.Do(req)
	if err != nil {
		return "NO_ANSWER"
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	var packet struct {
		Allowed    bool   `json:"allowed"`
		ReasonCode string `json:"reasonCode"`
	}
	if err != nil || json.Unmarshal(text, &packet) != nil {
		return "NO_ANSWER"
	}
	if packet.Allowed != (packet.ReasonCode == "ALLOWED") {
		return fmt.Sprintf("contradiction: %s", text)
	}
	return packet.ReasonCode
}

func (r *race) want(what string, got, want map[string]int) {
	r.t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		r.t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// grant registers an agent with one permission and returns its key.
func (r *race) grant(id, terms string) (key string) {
	r.t.Helper()
	body := r.nodes[0].must(201, "POST", "/v1/agents", testToken, fmt.Sprintf(`{"agentId":%q,"name":"Racer"}`, id))
	var made struct{ APIKey string }
	if err := json.Unmarshal([]byte(body), &made); err != nil {
		r.t.Fatal(err)
	}
	granted := r.nodes[0].must(201, "POST", "/v1/agents/"+id+"/permissions", testToken, terms)
	var permission struct{ PassportVersion uint64 }
	if err := json.Unmarshal([]byte(granted), &permission); err != nil {
		r.t.Fatal(err)
	}
	for _, n := range r.nodes { // a node that has not read so far says that it doesn't know the key
		if err := waitUntil(r.t.Context(), func() bool {
			status, _, err := n.do("GET", "/v1/passport", made.APIKey, "")
			return err == nil && status == 200
		}); err != nil {
			r.t.Fatal(err)
		}
	}
	return made.APIKey
}

func (r *race) budget(i int) {
	r.t.Helper()
	key := r.grant(fmt.Sprintf("agent_budget_%d", i), `{"action":"purchase","budgets":[{"amount":"100.00","currency":"USD","per":"month"}]}`)
	r.want("500 of 1.00 against 100.00", r.ask(500, key, `{"action":"purchase","amount":"1.00","currency":"USD"}`),
		map[string]int{"ALLOWED": 100, "BUDGET_EXCEEDED": 400})
}

func (r *race) rate(i int) {
	r.t.Helper()
	key := r.grant(fmt.Sprintf("agent_rate_%d", i), `{"action":"mail:send","rates":[{"count":100,"per":"total"}]}`)
	r.want("500 against 100 allows", r.ask(500, key, `{"action":"mail:send"}`),
		map[string]int{"ALLOWED": 100, "RATE_EXCEEDED": 400})
}

func (r *race) approval(i int) {
	r.t.Helper()
	key := r.grant(fmt.Sprintf("agent_approval_%d", i), `{"action":"deploy","requiresApproval":true}`)
	const body = `{"action":"deploy","resource":"production"}`
	opened := r.nodes[0].must(200, "POST", "/v1/verify", key, body)
	var packet struct{ ApprovalID, Decision string }
	if err := json.Unmarshal([]byte(opened), &packet); err != nil || packet.ApprovalID == "" {
		r.t.Fatalf("got %s, %v, want an approval that is asked for", opened, err)
	}
	r.want("200 while it is pending", r.ask(200, key, body), map[string]int{"APPROVAL_REQUIRED": 200})
	r.nodes[len(r.nodes)-1].must(200, "POST", "/v1/approvals/"+packet.ApprovalID+"/approve", testToken, `{}`)
	r.want("200 once it is approved", r.ask(200, key, body), map[string]int{"ALLOWED": 1, "APPROVAL_USED": 199})
	all := r.nodes[0].must(200, "GET", fmt.Sprintf("/v1/approvals?agentId=agent_approval_%d", i), testToken, "")
	if n := strings.Count(all, `"approvalId":`); n != 1 {
		r.t.Errorf("got %d approvals, want the one: %s", n, all)
	}
}

// accountCurrencies are one for each repetition: what was spent in total stays.
var accountCurrencies = strings.Fields("EUR GBP CHF SEK NOK DKK PLN CZK HUF RON CAD AUD NZD SGD HKD ZAR MXN BRL INR THB")

func (r *race) accountBudget(i int) {
	r.t.Helper()
	currency := accountCurrencies[i%len(accountCurrencies)]
	r.nodes[0].must(200, "PUT", "/v1/account/limits", testToken, fmt.Sprintf(`{"budgets":[{"amount":"20.00","currency":%q,"per":"total"}]}`, currency))
	body := fmt.Sprintf(`{"action":"purchase","amount":"1.00","currency":%q}`, currency)
	var keys []string
	for k := range 2 {
		keys = append(keys, r.grant(fmt.Sprintf("agent_shared_%d_%d", i, k), `{"action":"purchase"}`))
	}
	var (
		counts [2]map[string]int
		group  sync.WaitGroup
	)
	for k, key := range keys {
		group.Go(func() { counts[k] = (&race{t: r.t, nodes: r.nodes}).ask(50, key, body) })
	}
	group.Wait()
	sum := map[string]int{}
	for _, c := range counts {
		for code, n := range c {
			sum[code] += n
		}
	}
	r.want("100 of 1.00 by two agents against the account's 20.00", sum, map[string]int{"ALLOWED": 20, "BUDGET_EXCEEDED": 80})
	r.nodes[0].must(200, "PUT", "/v1/account/limits", testToken, `{}`)
}

// A cluster that loses its leader in between gives out no more than there is,
// and in the end all of it.
func TestLimitsAreExactWhileTheLeaderStops(t *testing.T) {
	t.Parallel()
	cluster := clustertest.Start(t, 3)
	nodes := startNodes(t, cluster.URL(), "--durability", "replicated", "--replicas", "3")
	r := &race{t: t, nodes: nodes}
	for i := range repeats(t, 1) {
		id := fmt.Sprintf("agent_failing_%d", i)
		key := r.grant(id, `{"action":"purchase","budgets":[{"amount":"100.00","currency":"USD","per":"total"}]}`)
		const body = `{"action":"purchase","amount":"1.00","currency":"USD"}`
		var asking sync.WaitGroup
		var got map[string]int
		asking.Go(func() { got = r.ask(150, key, body) })
		node, err := cluster.StopLeader("BEHALF")
		if err == nil {
			err = cluster.Restart(t.Context(), node)
		}
		if err == nil {
			err = cluster.WaitHealthy(t.Context())
		}
		if err != nil {
			t.Fatalf("fail over: %v", err)
		}
		asking.Wait()
		given := got["ALLOWED"]
		if given > 100 {
			t.Errorf("got %d allows, want 100 at most", given)
		}
		// What was cut off may have been recorded without its answer.
		if err := waitUntil(t.Context(), func() bool { return r.verify(nodes[0], key, body) == "BUDGET_EXCEEDED" }); err != nil {
			t.Fatal(err)
		}
		if n := allowed(t, nodes[0], id); n != 100 {
			t.Errorf("got %d allows in the log, want 100", n)
		}
	}
	mustCheck(t, cluster.URL())
}

// allowed is how many allows of an agent the log holds.
func allowed(t *testing.T, s *server, agent string) (n int) {
	t.Helper()
	for cursor := ""; ; {
		text := s.must(200, "GET", "/v1/decisions?outcome=allowed&limit=500&agentId="+agent+"&cursor="+cursor, testToken, "")
		var page struct {
			Decisions  []struct{}
			NextCursor string
		}
		if err := json.Unmarshal([]byte(text), &page); err != nil {
			t.Fatal(err)
		}
		n += len(page.Decisions)
		if cursor = page.NextCursor; cursor == "" {
			return n
		}
	}
}

// A process that is killed leaves no approval used without its allow, and no
// allow without its use.
func TestKilledWhileApprovalsAreUsed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for i := range repeats(t, 3) {
		s := spawnServer(t, dir, "--durability", "os", "--rate-agent", "0")
		r := &race{t: t, nodes: []*server{s}}
		var asking sync.WaitGroup
		used := make(chan struct{}, 1000)
		for k := range 4 {
			key := r.grant(fmt.Sprintf("agent_killed_%d_%d", i, k), `{"action":"deploy","requiresApproval":true}`)
			asking.Go(func() {
				for n := 0; ; n++ { // ask, have it approved, use it, until nobody answers
					body := fmt.Sprintf(`{"action":"deploy","resource":"production/%d"}`, n)
					status, text, err := s.do("POST", "/v1/verify", key, body)
					var packet struct{ ApprovalID string }
					if err != nil || status != 200 || json.Unmarshal([]byte(text), &packet) != nil {
						return
					}
					if status, _, err := s.do("POST", "/v1/approvals/"+packet.ApprovalID+"/approve", testToken, `{}`); err != nil || status != 200 {
						return
					}
					if r.verify(s, key, body) != "ALLOWED" {
						return
					}
					used <- struct{}{}
				}
			})
		}
		for range 5 + 3*i {
			<-used
		}
		s.kill()
		asking.Wait()
	}
	if code, out, errs := command(t, nil, "log", "check", "--data", dir); code != 0 {
		t.Errorf("log check: got exit code %d, %s%s", code, out, errs)
	}
}
