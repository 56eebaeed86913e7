package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// asServer, in the environment, makes the test binary a server that can be killed.
const asServer = "BEHALF_TEST_AS_SERVER"

func TestMain(m *testing.M) {
	if os.Getenv(asServer) != "" {
		main()
		return
	}
	if file := os.Getenv(asConsumer); file != "" {
		consume(file)
		return
	}
	if os.Getenv(asReceiver) != "" {
		receiveUntilKilled()
		return
	}
	if dir := os.Getenv(asNATS); dir != "" {
		serveNATSUntilKilled(dir)
		return
	}
	os.Exit(m.Run())
}

const testToken = "bhf_dev_the-owner-of-the-tests-0123456789"

// server is a running server, in this process or in one of its own.
type server struct {
	t    testing.TB
	url  string
	nats string
	// stop ends it as SIGTERM does, and returns how it ended.
	stop func() error
	// kill ends it as SIGKILL does.
	kill func()
	said *said
}

// said collects what a server prints.
type said struct {
	mu sync.Mutex
	// text is guarded by mu.
	text bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// serverArgs serve on free ports, with their data in dir.
func serverArgs(dir string, more ...string) []string {
	return append([]string{"serve", "--data", dir, "--listen", "127.0.0.1:0", "--nats-listen", "127.0.0.1:0", "--log-level", "error"}, more...)
}

// startServer runs a server in this process.
func startServer(t *testing.T, dir string, more ...string) *server {
	t.Helper()
	return startServerWith(t, testToken, dir, more...)
}

func startServerWith(t *testing.T, token, dir string, more ...string) *server {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	out, in := io.Pipe()
	s := &server{t: t, said: &said{}}
	ended := make(chan error, 1)
	go func() {
		code := run(ctx, serverArgs(dir, more...), strings.NewReader(""), in, s.said, func(name string) string {
			return map[string]string{"BEHALF_OWNER_TOKEN": token}[name]
		})
		_ = in.Close()
		if code != 0 {
			ended <- fmt.Errorf("exit code %d: %s", code, s.said)
			return
		}
		ended <- nil
	}()
	stop := sync.OnceValue(func() error { cancel(); return <-ended })
	s.stop = stop
	s.wait(out)
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("the server ended with %v", err)
		}
	})
	return s
}

// spawnServer runs a server in a process of its own.
func spawnServer(t testing.TB, dir string, more ...string) *server {
	t.Helper()
	s := &server{t: t, said: &said{}}
	cmd := exec.Command(os.Args[0], serverArgs(dir, more...)...)
	cmd.Env = append(os.Environ(), asServer+"=1", "BEHALF_OWNER_TOKEN="+testToken)
	cmd.Stderr = s.said
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	reap := sync.OnceValue(cmd.Wait)
	s.stop = func() error { return errors.Join(cmd.Process.Signal(os.Interrupt), reap()) }
	s.kill = func() { _ = cmd.Process.Kill(); _ = reap() }
	t.Cleanup(s.kill)
	s.wait(out)
	return s
}

var (
	httpAddress = regexp.MustCompile(`on (http://\S+),`)
	natsAddress = regexp.MustCompile(`on nats://(\S+)`)
)

// wait reads the server's first lines until it is known where it serves.
func (s *server) wait(out io.Reader) {
	s.t.Helper()
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		_, _ = s.said.Write([]byte(lines.Text() + "\n"))
		if m := httpAddress.FindStringSubmatch(lines.Text()); m != nil {
			s.url = m[1]
			if strings.Contains(lines.Text(), "log at nats://") {
				s.nats = "outside"
				break
			}
		}
		if m := natsAddress.FindStringSubmatch(lines.Text()); m != nil {
			s.nats = m[1]
			break
		}
	}
	if s.url == "" || s.nats == "" {
		s.t.Fatalf("the server did not say where it serves; it said:\n%s", s.said)
	}
	go func() { // what it says later is kept too, so that it never waits for us
		for lines.Scan() {
			_, _ = s.said.Write([]byte(lines.Text() + "\n"))
		}
	}()
}

// do sends one request and returns its status and its body.
func (s *server) do(method, path, token, body string) (int, string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, s.url+path, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	return answer.StatusCode, string(b), err
}

func (s *server) must(status int, method, path, token, body string) string {
	s.t.Helper()
	got, text, err := s.do(method, path, token, body)
	if err != nil || got != status {
		s.t.Fatalf("%s %s: got %d %s, %v, want %d", method, path, got, text, err, status)
	}
	return text
}

// agent registers an agent that may buy, and returns its key.
func (s *server) agent(id string) string {
	s.t.Helper()
	var view struct {
		APIKey string `json:"apiKey"`
	}
	if err := json.Unmarshal([]byte(s.must(201, "POST", "/v1/agents", testToken, `{"agentId":"`+id+`","name":"Ollie"}`)), &view); err != nil {
		s.t.Fatal(err)
	}
	s.must(201, "POST", "/v1/agents/"+id+"/permissions", testToken, `{"action":"purchase","maxAmount":"500.00"}`)
	return view.APIKey
}

// command runs a command as a user would.
func command(t testing.TB, env map[string]string, args ...string) (code int, out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	code = run(t.Context(), args, strings.NewReader(""), &o, &e, func(name string) string { return env[name] })
	return code, o.String(), e.String()
}

const purchase = `{"action":"purchase","amount":120}`

func TestServe(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := startServer(t, dir)
	key := s.agent("agent_ollie")
	repeated := `{"action":"purchase","amount":120,"idempotencyKey":"k1"}`
	first := s.must(200, "POST", "/v1/verify", key, repeated)
	if !strings.Contains(first, `"allowed":true`) {
		t.Fatalf("got %s, want allowed", first)
	}
	for path, want := range map[string]string{
		"/healthz": "ok", "/readyz": "ready", "/metrics": `behalf_decisions_total{outcome="allowed",reason_code="ALLOWED"} 1`,
	} {
		if got := s.must(200, "GET", path, "", ""); !strings.Contains(got, want) {
			t.Errorf("%s: got %s, want %s in it", path, got, want)
		}
	}

	t.Run("a second server on the same directory says so", func(t *testing.T) {
		code, _, errs := command(t, nil, serverArgs(dir)...)
		if code == 0 || !strings.Contains(errs, dir) {
			t.Errorf("got exit code %d and %q, want a failure naming %s", code, errs, dir)
		}
	})
	t.Run("the log is checked while the server runs", func(t *testing.T) {
		if code, out, errs := command(t, nil, "log", "check", "--data", dir); code != 0 || !strings.Contains(out, "1 decisions") {
			t.Errorf("got exit code %d, %q, %q, want 1 sound decision", code, out, errs)
		}
	})

	if err := s.stop(); err != nil {
		t.Fatalf("stop: %v", err)
	}
	t.Run("and when it has stopped", func(t *testing.T) {
		if code, out, errs := command(t, nil, "log", "check", "--data", dir); code != 0 || !strings.Contains(out, "1 decisions") {
			t.Errorf("got exit code %d, %q, %q, want 1 sound decision", code, out, errs)
		}
	})
	again := startServer(t, dir)
	if got := again.must(200, "POST", "/v1/verify", key, repeated); got != first {
		t.Errorf("repeated after a restart: got %s, want %s", got, first)
	}
	if got := again.said.String(); strings.Contains(got, "BEHALF_TOKEN=") {
		t.Errorf("the second start shows how to begin again: %s", got)
	}
}

func TestServeNATS(t *testing.T) {
	t.Parallel()
	s := startServer(t, t.TempDir())
	key, other := s.agent("agent_ollie"), s.agent("agent_other")
	connect := func(password string, options ...nats.Option) (*nats.Conn, error) {
		return nats.Connect("nats://"+s.nats, append(options, nats.UserInfo("me", password), nats.MaxReconnects(0))...)
	}
	nc, err := connect(key, nats.CustomInboxPrefix("_INBOX_agent_ollie"))
	if err != nil {
		t.Fatalf("connect with an agent's key: %v", err)
	}
	defer nc.Close()
	ask := func(subject, key, body string) *nats.Msg {
		t.Helper()
		m := nats.NewMsg(subject)
		m.Header.Set("Authorization", "Bearer "+key)
		m.Data = []byte(body)
		answer, err := nc.RequestMsg(m, 10*time.Second)
		if err != nil {
			t.Fatalf("%s: %v", subject, err)
		}
		return answer
	}
	if got := ask("behalf.v1.verify", key, purchase); !strings.Contains(string(got.Data), `"allowed":true`) {
		t.Errorf("verify: got %s, want allowed", got.Data)
	}
	if got := ask("behalf.v1.preview", key, `{"action":"purchase","amount":742}`); !strings.Contains(string(got.Data), `"wouldBe":"denied"`) {
		t.Errorf("preview: got %s, want denied", got.Data)
	}
	if got := ask("behalf.v1.passport", key, ""); !strings.Contains(string(got.Data), `"agentId":"agent_ollie"`) {
		t.Errorf("passport: got %s, want agent_ollie's", got.Data)
	}
	for _, tt := range []struct{ name, key, body, code, status string }{
		{"a wrong key", "bhf_sk_wrong", purchase, "UNAUTHENTICATED", "401"},
		{"no key", "", purchase, "UNAUTHENTICATED", "401"},
		{"bad JSON", key, `{`, "INVALID_REQUEST", "400"},
		{"another agent's name", key, `{"agentId":"agent_other","action":"purchase"}`, "UNAUTHENTICATED", "401"},
		{"too much", key, strings.Repeat(" ", 70<<10), "TOO_LARGE", "413"},
	} {
		got := ask("behalf.v1.verify", tt.key, tt.body)
		if got.Header.Get("Nats-Service-Error") != tt.code || got.Header.Get("Nats-Service-Error-Code") != tt.status {
			t.Errorf("%s: got %v %s, want %s", tt.name, got.Header, got.Data, tt.code)
		}
	}

	t.Run("a client has no rights on the log", func(t *testing.T) {
		refused := make(chan error, 16)
		nc, err := connect(other, nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refused <- err }))
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		for name, try := range map[string]func() error{
			"publish to the log":     func() error { return nc.Publish("behalf.0.agent.acct_x.agent_x", []byte("{}")) },
			"ask JetStream":          func() error { return nc.PublishRequest("$JS.API.STREAM.NAMES", "_INBOX_agent_other.x", nil) },
			"read another's answers": func() error { _, err := nc.SubscribeSync("_INBOX_agent_ollie.>"); return err },
			"read everyone's":        func() error { _, err := nc.SubscribeSync("_INBOX.>"); return err },
			"read the requests":      func() error { _, err := nc.SubscribeSync("behalf.v1.verify"); return err },
		} {
			if err := errors.Join(try(), nc.Flush()); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if err := <-refused; !errors.Is(err, nats.ErrPermissionViolation) {
				t.Errorf("%s: got %v, want a violation", name, err)
			}
		}
	})
	t.Run("nobody gets in without a credential", func(t *testing.T) {
		for _, password := range []string{"", "bhf_sk_wrong", "bhf_dev_wrong"} {
			if nc, err := connect(password); err == nil {
				nc.Close()
				t.Errorf("%q: got in", password)
			}
		}
	})
	t.Run("an answer goes to an inbox or nowhere", func(t *testing.T) {
		m := nats.NewMsg("behalf.v1.verify")
		m.Header.Set("Authorization", "Bearer "+key)
		m.Reply, m.Data = "behalf.0.agent.acct_x.agent_x", []byte(purchase)
		if err := errors.Join(nc.PublishMsg(m), nc.Flush()); err != nil {
			t.Fatal(err)
		}
		ask("behalf.v1.verify", key, purchase) // served after it
		s.projected()
		if got := s.must(200, "GET", "/v1/decisions", testToken, ""); strings.Count(got, `"requestId"`) != 2 {
			t.Errorf("got %s, want the two that could be answered", got)
		}
	})
}

// Every packet a client got is in the log, however the server ended.
func TestKilledUnderLoad(t *testing.T) {
	t.Parallel()
	for _, durability := range []string{"fsync", "os"} {
		t.Run(durability, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			s := spawnServer(t, dir, "--durability", durability, "--rate-agent", "0")
			key := s.agent("agent_ollie")
			for range 2 {
				packets := s.loadUntilKilled(key, 200)
				s = spawnServer(t, dir, "--durability", durability, "--rate-agent", "0")
				for id, packet := range packets {
					got := s.must(200, "GET", "/v1/decisions/"+id, key, "")
					// Read again, it has its checks, before the last two members.
					if want, _, _ := strings.Cut(packet, `,"approvalRequired"`); !strings.HasPrefix(got, want) {
						t.Fatalf("got %s, want %s", got, packet)
					}
				}
			}
			s.kill()
			if code, out, errs := command(t, nil, "log", "check", "--data", dir); code != 0 {
				t.Errorf("log check: got exit code %d, %s%s", code, out, errs)
			}
		})
	}
}

// loadUntilKilled verifies from several goroutines, kills the server in the
// middle, and returns the packets that were received, by request id.
func (s *server) loadUntilKilled(key string, after int) map[string]string {
	s.t.Helper()
	var (
		mu      sync.Mutex
		packets = map[string]string{}
		workers sync.WaitGroup
		enough  = make(chan struct{})
	)
	for range 8 {
		workers.Go(func() {
			for {
				status, text, err := s.do("POST", "/v1/verify", key, purchase)
				if err != nil {
					return // it was killed
				}
				var p struct {
					RequestID string `json:"requestId"`
				}
				if status != 200 || json.Unmarshal([]byte(text), &p) != nil {
					continue
				}
				mu.Lock()
				packets[p.RequestID] = text
				if len(packets) == after {
					close(enough)
				}
				mu.Unlock()
			}
		})
	}
	<-enough
	s.kill()
	workers.Wait()
	return packets
}

// Answers in flight are finished when the server is told to stop.
func TestStopUnderLoad(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := startServer(t, dir, "--rate-agent", "0", "--durability", "os")
	key := s.agent("agent_ollie")
	var workers sync.WaitGroup
	var stopping sync.WaitGroup
	begun := make(chan struct{}, 64)
	for range 8 {
		workers.Go(func() {
			for {
				status, text, err := s.do("POST", "/v1/verify", key, purchase)
				if err != nil {
					return // it takes no more
				}
				if status != 200 && status != 503 {
					t.Errorf("got %d %s, want an answer or a denial", status, text)
				}
				select {
				case begun <- struct{}{}:
				default:
				}
			}
		})
	}
	for range cap(begun) {
		<-begun
	}
	stopping.Go(func() {
		if err := s.stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	stopping.Wait()
	workers.Wait()
	if code, out, errs := command(t, nil, "log", "check", "--data", dir); code != 0 {
		t.Errorf("log check: got exit code %d, %s%s", code, out, errs)
	}
}

// A log that lost its end is not served: what was revoked there would hold again.
func TestServeRefusesALogThatWasCut(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := startServer(t, dir)
	key := s.agent("agent_ollie")
	for range 5 {
		s.must(200, "POST", "/v1/verify", key, purchase)
	}
	if err := waitUntil(t.Context(), func() bool {
		b, err := os.ReadFile(filepath.Join(dir, "anchor.json"))
		return err == nil && strings.Contains(string(b), `"heads":[8]`)
	}); err != nil {
		t.Fatal(err)
	}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	blocks, err := filepath.Glob(filepath.Join(dir, "nats/jetstream/*/streams/BEHALF/msgs/*"))
	if err != nil || len(blocks) == 0 {
		t.Fatalf("found no files of the log: %v", err)
	}
	for _, file := range blocks {
		if !strings.HasSuffix(file, "/1.blk") {
			if err := os.Remove(file); err != nil { // the index, as a kill would leave it
				t.Fatal(err)
			}
			continue
		}
		info, err := os.Stat(file)
		if err == nil {
			err = os.Truncate(file, info.Size()-100)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	code, _, errs := command(t, nil, serverArgs(dir)...)
	if code == 0 || !strings.Contains(errs, "records are lost") {
		t.Errorf("got exit code %d and %q, want a refusal", code, errs)
	}
	if code, _, errs := command(t, nil, "log", "check", "--data", dir); code != 1 || !strings.Contains(errs, "NOT sound") {
		t.Errorf("log check: got exit code %d and %q, want 1", code, errs)
	}
}

// A lost owner's token is replaced by whoever runs the server.
func TestResetOwnerToken(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := startServer(t, dir)
	first.must(200, "GET", "/v1/me", testToken, "")
	if err := first.stop(); err != nil {
		t.Fatal(err)
	}
	const other = "bhf_dev_another-token-of-the-owner-0123456789"
	again := startServerWith(t, other, dir, "--reset-owner-token")
	again.must(200, "GET", "/v1/me", other, "")
	again.must(401, "GET", "/v1/me", testToken, "")
}

func TestServeRefusesSettings(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, flags, want string }{
		{"an address without a port", "--listen localhost", "--listen"},
		{"fsync outside", "--nats nats://127.0.0.1:1 --durability fsync", "sync_interval"},
		{"replicated inside", "--durability replicated", "--nats"},
		{"two replicas", "--nats nats://127.0.0.1:1 --replicas 2", "--replicas"},
		{"no partitions", "--partitions 0", "--partitions"},
		{"an unknown durability", "--durability maybe", "--durability"},
		{"an unknown level", "--log-level loud", "--log-level"},
		{"a negative rate", "--rate-agent -1", "--rate-agent"},
		{"attempts that are gone at once", "--webhook-attempts-max-age 1s", "--webhook-attempts-max-age"},
		{"no network", "--webhook-network 10.1.0.0", "--webhook-network"},
		{"no proxy", "--webhook-proxy ftp://u:secret@proxy", "--webhook-proxy"},
		{"nobody at the URL", "--nats nats://u:secret@127.0.0.1:1", "127.0.0.1:1"},
	} {
		code, _, errs := command(t, nil, append([]string{"serve", "--data", filepath.Join(t.TempDir(), "d")}, strings.Fields(tt.flags)...)...)
		if code == 0 || !strings.Contains(errs, tt.want) || strings.Contains(errs, "secret") {
			t.Errorf("%s: got exit code %d and %q, want a failure about %s", tt.name, code, errs, tt.want)
		}
	}
}
