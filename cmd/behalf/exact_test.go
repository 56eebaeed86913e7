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

// What a limit leaves is given out to the last unit and not beyond, what is given
// back is given out again, and an approval is used once, however many ask at once
// and wherever.
func TestLimitsAndApprovalsAreExact(t *testing.T) {
	t.Parallel()
	setups := map[string]func(t *testing.T) (nodes []*server, check func()){
		"embedded": func(t *testing.T) ([]*server, func()) {
			dir := t.TempDir()
			s := startServer(t, dir, "--durability", "os", "--rate-agent", "0", "--verify-timeout", "8s")
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
			r := newRace(t, nodes)
			for i := range repeats(t, 1) {
				r.budget(i)
				r.rate(i)
				r.approval(i)
				r.accountBudget(i)
				r.givenBack(i)
			}
			check()
			t.Logf("%d answers were UNAVAILABLE", r.unavailable.Load())
			if name == "embedded" && r.unavailable.Load() > 0 { // nobody else writes there
				t.Errorf("got %d answers UNAVAILABLE, want none", r.unavailable.Load())
			}
		})
	}
}

// race asks much at once of all nodes.
type race struct {
	t      *testing.T
	nodes  []*server
	client http.Client
	// unavailable counts the answers after which the same was asked again.
	unavailable atomic.Int64
}

func newRace(t *testing.T, nodes []*server) *race {
	r := &race{t: t, nodes: nodes, client: http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 500}}}
	t.Cleanup(r.client.CloseIdleConnections)
	return r
}

// answers counts answers by their reason.
type answers struct {
	mu sync.Mutex
	// counts is guarded by mu.
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

func (a *answers) of(code string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.counts[code]
}

// ask sends n verifies at once, in turn to each node and with each key, and
// counts the answers.
func (r *race) ask(n int, body string, keys ...string) map[string]int {
	r.t.Helper()
	var (
		all     answers
		group   sync.WaitGroup
		started = make(chan struct{})
	)
	for i := range n {
		group.Go(func() {
			<-started
			code, _ := r.persist(r.nodes[i%len(r.nodes)], keys[i/len(r.nodes)%len(keys)], body)
			all.add(code)
		})
	}
	close(started)
	group.Wait()
	return all.counts
}

// asked tells the idempotency key of one verify from those of all others.
var asked atomic.Int64

// persist verifies until there is a decision. A node that is asked more than it
// can work on in time, or has no leader to ask, says that it is unavailable;
// whoever asks again with the same key gets the decision that was recorded, if
// one was.
func (r *race) persist(node *server, key, body string) (code, request string) {
	body = fmt.Sprintf(`%s,"idempotencyKey":"race-%d"}`, strings.TrimSuffix(body, "}"), asked.Add(1))
	r.until(func() bool {
		code, request = r.verify(node, key, body)
		return code != "UNAVAILABLE"
	})
	return code, request
}

// until asks again where a node is unavailable, for a minute at most.
func (r *race) until(answered func() bool) {
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
	defer cancel()
	_ = waitUntil(ctx, func() bool { // what the last answer was says how it ended
		if answered() {
			return true
		}
		r.unavailable.Add(1)
		return false
	})
}

// verify is one verify, the reason code of its answer, and its id.
func (r *race) verify(node *server, key, body string) (code, request string) {
	status, text, err := r.post(node, "/v1/verify", key, body)
	if err != nil {
		return "NO_ANSWER", ""
	}
	var packet struct {
		Allowed    bool   `json:"allowed"`
		ReasonCode string `json:"reasonCode"`
		RequestID  string `json:"requestId"`
	}
	if err := json.Unmarshal(text, &packet); err != nil {
		return fmt.Sprintf("%d %s", status, text), ""
	}
	if packet.Allowed != (packet.ReasonCode == "ALLOWED") {
		return fmt.Sprintf("contradiction: %s", text), ""
	}
	return packet.ReasonCode, packet.RequestID
}

// fail reports that what was allowed has failed, until that is recorded.
func (r *race) fail(node *server, key, request string) {
	var status int
	var text []byte
	var err error
	r.until(func() bool {
		status, text, err = r.post(node, "/v1/decisions/"+request+"/outcome", key, `{"outcome":"failed"}`)
		return err != nil || status != 503
	})
	if err != nil || status != 200 {
		r.t.Errorf("report %s: got %d %s, %v, want 200", request, status, text, err)
	}
}

func (r *race) post(node *server, path, key, body string) (status int, text []byte, err error) {
	ctx, cancel := context.WithTimeout(r.t.Context(), 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "POST", node.url+path, strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Content-Type", "application/json")
	resp, err := r.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err = io.ReadAll(resp.Body)
	return resp.StatusCode, text, err
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
	r.want("500 of 1.00 against 100.00", r.ask(500, `{"action":"purchase","amount":"1.00","currency":"USD"}`, key),
		map[string]int{"ALLOWED": 100, "BUDGET_EXCEEDED": 400})
}

func (r *race) rate(i int) {
	r.t.Helper()
	key := r.grant(fmt.Sprintf("agent_rate_%d", i), `{"action":"mail:send","rates":[{"count":100,"per":"total"}]}`)
	r.want("500 against 100 allows", r.ask(500, `{"action":"mail:send"}`, key),
		map[string]int{"ALLOWED": 100, "RATE_EXCEEDED": 400})
}

func (r *race) approval(i int) {
	r.t.Helper()
	id := fmt.Sprintf("agent_approval_%d", i)
	key := r.grant(id, `{"action":"deploy","requiresApproval":true}`)
	opened := r.opens(key)
	r.want("200 while it is pending", r.ask(200, deploy, key), map[string]int{"APPROVAL_REQUIRED": 200})
	r.approve(opened)
	r.want("200 once it is approved", r.ask(200, deploy, key), map[string]int{"ALLOWED": 1, "APPROVAL_USED": 199})
	r.wantOneApproval(id)
}

const deploy = `{"action":"deploy","resource":"production"}`

// opens asks for an approval and returns its id.
func (r *race) opens(key string) string {
	r.t.Helper()
	text := r.nodes[0].must(200, "POST", "/v1/verify", key, deploy)
	var packet struct{ ApprovalID string }
	if err := json.Unmarshal([]byte(text), &packet); err != nil || packet.ApprovalID == "" {
		r.t.Fatalf("got %s, %v, want an approval that is asked for", text, err)
	}
	return packet.ApprovalID
}

func (r *race) approve(id string) {
	r.t.Helper()
	r.nodes[len(r.nodes)-1].must(200, "POST", "/v1/approvals/"+id+"/approve", testToken, `{}`)
}

func (r *race) wantOneApproval(agent string) {
	r.t.Helper()
	all := r.nodes[0].must(200, "GET", "/v1/approvals?agentId="+agent, testToken, "")
	if n := strings.Count(all, `"approvalId":`); n != 1 {
		r.t.Errorf("got %d approvals, want the one: %s", n, all)
	}
}

// accountCurrencies are one for each repetition: what was spent in total stays.
var accountCurrencies = strings.Fields("EUR GBP CHF SEK NOK DKK PLN CZK HUF RON CAD AUD NZD SGD HKD ZAR MXN BRL INR THB")

// limitAccount gives the account a budget that nothing was spent of, and returns
// a verify of 1.00 of it.
func (r *race) limitAccount(i int, amount string) (body string) {
	r.t.Helper()
	currency := accountCurrencies[i%len(accountCurrencies)]
	r.unlimitAccount() // what was spent of one that stood before is forgotten
	r.nodes[0].must(200, "PUT", "/v1/account/limits", testToken, fmt.Sprintf(`{"budgets":[{"amount":%q,"currency":%q,"per":"total"}]}`, amount, currency))
	return fmt.Sprintf(`{"action":"purchase","amount":"1.00","currency":%q}`, currency)
}

func (r *race) unlimitAccount() {
	r.t.Helper()
	r.nodes[0].must(200, "PUT", "/v1/account/limits", testToken, `{}`)
}

func (r *race) accountBudget(i int) {
	r.t.Helper()
	body := r.limitAccount(i, "40.00")
	keys := []string{
		r.grant(fmt.Sprintf("agent_shared_%d_0", i), `{"action":"purchase"}`),
		r.grant(fmt.Sprintf("agent_shared_%d_1", i), `{"action":"purchase"}`),
	}
	r.want("200 of 1.00 by two agents against the account's 40.00", r.ask(200, body, keys...),
		map[string]int{"ALLOWED": 40, "BUDGET_EXCEEDED": 160})
	r.unlimitAccount()
}

// givenBack has 50 workers take of 10.00 and give back at once: of a permission's
// by one agent, and of the account's by two.
func (r *race) givenBack(i int) {
	r.t.Helper()
	key := r.grant(fmt.Sprintf("agent_returns_%d", i), `{"action":"purchase","budgets":[{"amount":"10.00","currency":"USD","per":"total"}]}`)
	r.takeAndReturn("a permission's", `{"action":"purchase","amount":"1.00","currency":"USD"}`, key)
	body := r.limitAccount(i, "10.00")
	r.takeAndReturn("the account's", body,
		r.grant(fmt.Sprintf("agent_returns_%d_0", i), `{"action":"purchase"}`),
		r.grant(fmt.Sprintf("agent_returns_%d_1", i), `{"action":"purchase"}`))
	r.unlimitAccount()
}

func (r *race) takeAndReturn(whose, body string, keys ...string) {
	r.t.Helper()
	var group sync.WaitGroup
	var given answers
	var out, most atomic.Int64 // what is certainly not given back yet
	for worker := range 50 {
		node, key := r.nodes[worker%len(r.nodes)], keys[worker/len(r.nodes)%len(keys)]
		group.Go(func() {
			for range 4 {
				code, request := r.persist(node, key, body)
				given.add(code)
				if code != "ALLOWED" {
					continue
				}
				n := out.Add(1)
				for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
				}
				out.Add(-1)
				r.fail(node, key, request)
			}
		})
	}
	group.Wait()
	if n := most.Load(); n > 10 {
		r.t.Errorf("%s: got %d.00 out at once, want 10.00 at most", whose, n)
	}
	allowed := given.of("ALLOWED")
	if allowed <= 10 || allowed+given.of("BUDGET_EXCEEDED") != 200 {
		r.t.Errorf("%s: got %v, want more than 10 allows, and nothing but them and BUDGET_EXCEEDED", whose, given.counts)
	}
	r.want("50 against "+whose+" 10.00, of which all was given back", r.ask(50, body, keys...),
		map[string]int{"ALLOWED": 10, "BUDGET_EXCEEDED": 40})
}

// A cluster that loses its leader in between gives out no more than there is,
// and in the end all of it.
func TestLimitsAndApprovalsAreExactWhileTheLeaderStops(t *testing.T) {
	t.Parallel()
	cluster := clustertest.Start(t, 3)
	r := newRace(t, startNodes(t, cluster.URL(), "--durability", "replicated", "--replicas", "3", "--verify-timeout", "2s"))
	for i := range repeats(t, 1) {
		r.failOver(i, cluster)
	}
	mustCheck(t, cluster.URL())
	t.Logf("%d answers were UNAVAILABLE", r.unavailable.Load())
}

// failing is what is asked for while the leader stops, until there is no more.
type failing struct {
	what, body string
	agents     []string
	keys       []string
	most       int    // allows
	spent      string // the answer when there is no more
	workers    int
	late       bool // begins only as the leader stops

	answers
	asking atomic.Int64 // who wait for an answer now
}

func (r *race) failOver(i int, cluster *clustertest.Cluster) {
	r.t.Helper()
	agent := func(what, terms string) (ids, keys []string) {
		id := fmt.Sprintf("agent_failing_%s_%d", what, i)
		return []string{id}, []string{r.grant(id, terms)}
	}
	budget := &failing{what: "a budget", body: `{"action":"purchase","amount":"1.00","currency":"USD"}`, most: 100, spent: "BUDGET_EXCEEDED", workers: 25}
	budget.agents, budget.keys = agent("budget", `{"action":"purchase","budgets":[{"amount":"100.00","currency":"USD","per":"total"}]}`)
	rate := &failing{what: "a rate", body: `{"action":"mail:send"}`, most: 100, spent: "RATE_EXCEEDED", workers: 25}
	rate.agents, rate.keys = agent("rate", `{"action":"mail:send","rates":[{"count":100,"per":"total"}]}`)
	approval := &failing{what: "an approval", body: deploy, most: 1, spent: "APPROVAL_USED", workers: 50, late: true}
	approval.agents, approval.keys = agent("approval", `{"action":"deploy","requiresApproval":true}`)
	r.approve(r.opens(approval.keys[0]))
	r.whileTheLeaderStops(cluster, budget, rate, approval)
	r.wantOneApproval(approval.agents[0])

	// By themselves, for these limit every agent of the account.
	account := &failing{what: "the account's budget", body: r.limitAccount(i, "100.00"), most: 100, spent: "BUDGET_EXCEEDED", workers: 50}
	for k := range 2 {
		ids, keys := agent(fmt.Sprintf("account_%d", k), `{"action":"purchase"}`)
		account.agents, account.keys = append(account.agents, ids...), append(account.keys, keys...)
	}
	r.whileTheLeaderStops(cluster, account)
	r.unlimitAccount()
}

// whileTheLeaderStops asks, stops the leader once something was allowed, and
// compares what was given out in the end.
func (r *race) whileTheLeaderStops(cluster *clustertest.Cluster, all ...*failing) {
	r.t.Helper()
	var asking sync.WaitGroup
	stopping, gone := make(chan struct{}), make(chan struct{})
	for _, f := range all {
		for worker := range f.workers {
			node, key := r.nodes[worker%len(r.nodes)], f.keys[worker/len(r.nodes)%len(f.keys)]
			asking.Go(func() {
				if f.late {
					<-stopping
				}
				f.ask(r, node, key, gone)
			})
		}
	}
	for _, f := range all {
		if err := waitUntil(r.t.Context(), func() bool { return f.late || f.of("ALLOWED") >= 10 }); err != nil {
			r.t.Errorf("%s: wait for the first allows: %v", f.what, err)
		}
	}
	close(stopping)
	node, err := cluster.StopLeader("BEHALF")
	for _, f := range all {
		waiting, given := f.asking.Load(), f.of("ALLOWED")
		r.t.Logf("%s: %d of %d were allowed when the leader had stopped, and %d asked", f.what, given, f.most, waiting)
		if waiting == 0 || given == f.most && !f.late {
			r.t.Errorf("%s: got %d of %d allows and %d in flight when the leader had stopped, want some to come and some in flight", f.what, given, f.most, waiting)
		}
	}
	close(gone)
	if err == nil {
		err = cluster.Restart(r.t.Context(), node)
	}
	if err == nil {
		err = cluster.WaitHealthy(r.t.Context())
	}
	if err != nil {
		r.t.Fatalf("fail over: %v", err)
	}
	asking.Wait()
	for _, f := range all {
		for code, n := range f.counts {
			if code != "ALLOWED" && code != f.spent && code != "UNAVAILABLE" {
				r.t.Errorf("%s: got %s %d times", f.what, code, n)
			}
		}
		// What was cut off may have been recorded without its answer.
		recorded := 0
		for _, id := range f.agents {
			recorded += allowed(r.t, r.nodes[0], id)
		}
		if n := f.counts["ALLOWED"]; n > f.most || recorded != f.most {
			r.t.Errorf("%s: got %d allows, and %d in the log, want %d", f.what, n, recorded, f.most)
		}
	}
}

// ask goes on until there is no more, and at least until the leader is gone.
func (f *failing) ask(r *race, node *server, key string, gone <-chan struct{}) {
	for over := false; !over; {
		f.asking.Add(1)
		code, _ := r.persist(node, key, f.body)
		f.asking.Add(-1)
		f.add(code)
		switch code {
		case f.spent:
			select {
			case <-gone:
				over = true
			case <-r.t.Context().Done():
				over = true
			default:
			}
		case "ALLOWED", "UNAVAILABLE":
		default:
			return // and the answer says why
		}
	}
}

// allowed is how many allows of an agent the log holds.
func allowed(t *testing.T, s *server, agent string) (n int) {
	t.Helper()
	s.projected()
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
		r := newRace(t, []*server{s})
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
					if code, _ := r.verify(s, key, body); code != "ALLOWED" {
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
