package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/pem"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"github.com/behalf-platform/behalf/infra/clustertest"
)

// soak is how long the nodes are under load: BEHALF_SOAK, or what is enough to
// meet each race a few hundred times.
func soak(t *testing.T, enough string) string {
	t.Helper()
	text := os.Getenv("BEHALF_SOAK")
	if text == "" {
		return enough
	}
	if _, err := time.ParseDuration(text); err != nil {
		t.Fatalf("BEHALF_SOAK: %v", err)
	}
	return text
}

// Two nodes share one server. Whichever acknowledges a revocation, neither
// allows after it.
func TestTwoNodesOnOneServer(t *testing.T) {
	t.Parallel()
	url := startNATS(t)
	nodes := startNodes(t, url, "--durability", "os")
	out := mustLoad(t, nodes, func() {}, "--duration", soak(t, "3s"))
	if !strings.Contains(out, "0 allows after an acknowledged revocation") {
		t.Errorf("got %s, want no allow after a revocation", out)
	}
	mustCheck(t, url)
}

// startNATS runs a NATS server as an operator would.
func startNATS(t *testing.T, change ...func(*natsserver.Options)) (url string) {
	t.Helper()
	options := &natsserver.Options{
		Host: "127.0.0.1", Port: natsserver.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true,
	}
	for _, c := range change {
		c(options)
	}
	s, err := natsserver.NewServer(options)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the NATS server is not ready")
	}
	return s.ClientURL()
}

// An outside server is believed only with the certificate that was asked for,
// and lets in only who has its credentials.
func TestOutsideServerWithTLSAndCredentials(t *testing.T) {
	t.Parallel()
	issued := httptest.NewTLSServer(nil) // for its certificate, which is good for 127.0.0.1
	t.Cleanup(issued.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: issued.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	url := startNATS(t, func(o *natsserver.Options) {
		o.TLS, o.TLSConfig = true, &tls.Config{Certificates: issued.TLS.Certificates, MinVersion: tls.VersionTLS12}
		o.Username, o.Password = "behalf", "not-for-everyone"
	})
	address := url[strings.LastIndex(url, "/")+1:]
	for name, args := range map[string][]string{
		"no authority":   {"--nats", "tls://behalf:not-for-everyone@" + address},
		"wrong password": {"--nats", "tls://behalf:wrong@" + address, "--nats-ca", ca},
	} {
		code, _, errs := command(t, nil, append(serverArgs(t.TempDir()), args...)...)
		if code == 0 || strings.Contains(errs, "not-for-everyone") {
			t.Errorf("%s: got exit code %d and %q, want a failure without the password", name, code, errs)
		}
	}
	s := startServer(t, t.TempDir(), "--nats", "nats://behalf:not-for-everyone@"+address, "--nats-ca", ca)
	key := s.agent("agent_ollie")
	s.must(200, "POST", "/v1/verify", key, purchase)
}

// Two nodes share a cluster that loses its leader, twice.
func TestTwoNodesOnAClusterThatFailsOver(t *testing.T) {
	t.Parallel()
	cluster := clustertest.Start(t, 3)
	nodes := startNodes(t, cluster.URL(), "--durability", "replicated", "--replicas", "3")
	ctx, stop := context.WithTimeout(t.Context(), 5*time.Minute)
	defer stop()
	asking := make(chan struct{})
	var failing sync.WaitGroup
	failing.Go(func() {
		<-asking
		err := waitUntil(ctx, func() bool {
			_, text, err := nodes[0].do("GET", "/metrics", "", "")
			return err == nil && strings.Contains(text, "behalf_decisions_total{")
		})
		if err != nil {
			t.Errorf("wait for the first decision: %v", err)
			return
		}
		for range 2 {
			node, err := cluster.StopLeader("BEHALF")
			if err == nil {
				err = cluster.Restart(ctx, node)
			}
			if err == nil {
				err = cluster.WaitHealthy(ctx)
			}
			if err != nil {
				t.Errorf("fail over: %v", err)
				return
			}
		}
	})
	out := mustLoad(t, nodes, sync.OnceFunc(func() { close(asking) }), "--duration", soak(t, "10s"), "--tolerate-unavailable")
	failing.Wait()
	if !strings.Contains(out, "0 allows after an acknowledged revocation") {
		t.Errorf("got %s, want no allow after a revocation", out)
	}
	mustCheck(t, cluster.URL())
}

// startNodes starts two nodes at once on a log that is not there yet: one of
// them makes it, and the account.
func startNodes(t *testing.T, url string, more ...string) []*server {
	t.Helper()
	nodes := make([]*server, 2)
	var starting sync.WaitGroup
	for i := range nodes {
		starting.Go(func() {
			nodes[i] = startServer(t, t.TempDir(), append(slices.Clone(more), "--nats", url, "--rate-agent", "0")...)
		})
	}
	starting.Wait()
	if t.Failed() {
		t.FailNow()
	}
	for _, n := range nodes {
		n.must(200, "GET", "/v1/me", testToken, "") // one account, whoever opened it
	}
	return nodes
}

// mustLoad runs the load command and returns what it prints. It calls asking
// once everything is set up.
func mustLoad(t *testing.T, nodes []*server, asking func(), more ...string) string {
	t.Helper()
	args := []string{"load", "--revoke", "--agents", "50", "--permissions", "4", "--concurrency", "16"}
	for _, n := range nodes {
		args = append(args, "--url", n.url)
	}
	var out bytes.Buffer
	errs := &said{}
	progress := writer(func(p []byte) (int, error) {
		if bytes.Contains(p, []byte("asking")) {
			asking()
		}
		return errs.Write(p)
	})
	code := run(t.Context(), append(args, more...), strings.NewReader(""), &out, progress, func(name string) string {
		return map[string]string{"BEHALF_TOKEN": testToken}[name]
	})
	asking() // however it went, nobody waits for it any more
	if code != 0 {
		t.Fatalf("load: got exit code %d, %s%s", code, out.String(), errs)
	}
	t.Log(out.String())
	return out.String()
}

// writer is a function that writes.
type writer func(p []byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }

func mustCheck(t *testing.T, url string) {
	t.Helper()
	var out, errs bytes.Buffer
	code := run(t.Context(), []string{"log", "check", "--nats", url}, strings.NewReader(""), &out, &errs, func(string) string { return "" })
	if code != 0 {
		t.Errorf("log check: got exit code %d, %s%s", code, out.String(), errs.String())
	}
	t.Log(out.String())
}
