package load

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// barePacket is what the bare server answers to everything.
const barePacket = `{"requestId":"req_01KAR8ZV6K3Q8S4B4V1YQX7M9J","agentId":"bare","decision":"allowed","allowed":true,` +
	`"reasonCode":"ALLOWED","reason":"allowed by permission perm_01KAR8ZV6K3Q8S4B4V1YQX7M9J","riskLevel":"low",` +
	`"permissionId":"perm_01KAR8ZV6K3Q8S4B4V1YQX7M9J","action":"bare","resource":"bare","amount":"1.00","currency":"USD",` +
	`"passportVersion":1,"position":"AAAAAAAB","decidedAt":"2026-01-01T00:00:00Z","approvalRequired":false,"risk":"low"}`

// ServeBare is the least an HTTP server could do in Behalf's place: look a key up
// in a map and answer a fixed packet. It writes its address to out, and serves
// until in ends, so that it never outlives the process that holds the other end.
func ServeBare(agents int, in io.Reader, out io.Writer) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	server := &http.Server{Handler: bareHandler(agents), ReadHeaderTimeout: 5 * time.Second}
	if _, err := fmt.Fprintf(out, "http://%s\n", listener.Addr()); err != nil {
		return fmt.Errorf("write the address: %w", err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	_, _ = io.Copy(io.Discard, in) // however it ends, it ends
	err = server.Close()
	<-served
	return err
}

func bareHandler(agents int) http.Handler {
	keys := make(map[string]int, agents)
	for i := range agents {
		keys["Bearer "+bareKey(i)] = i
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("POST /v1/verify", func(w http.ResponseWriter, r *http.Request) {
		if _, ok := keys[r.Header.Get("Authorization")]; !ok {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = io.Copy(io.Discard, r.Body) // a body that breaks off breaks the connection too
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, barePacket) // the caller has gone; there is nobody to tell
	})
	return mux
}

func bareKey(i int) string { return "bhf_sk_bare_" + strconv.Itoa(i) }

// runBare drives a bare server in a process of its own with the client that
// drives the real one.
func (o *Options) runBare(ctx context.Context) (Report, error) {
	url, stop, err := o.StartBare(ctx, o.Agents)
	if err != nil {
		return Report{}, fmt.Errorf("start the bare server: %w", err)
	}
	bare := *o
	bare.Target, bare.URLs, bare.Preview, bare.Revoke = TargetBare, []string{url}, false, false
	bare.Packets = nil
	p := newPlan("bare", o.Agents, o.Permissions)
	p.bare = &wanted{"allowed", "ALLOWED", "perm_01KAR8ZV6K3Q8S4B4V1YQX7M9J"}
	for i, a := range p.agents {
		a.key = bareKey(i)
	}
	report, err := bare.drive(ctx, p, func(_ context.Context, worker int) (caller, error) {
		return newHTTPCaller(bare.URLs, worker, "/v1/verify", o.Timeout)
	})
	if stopErr := stop(); err == nil && stopErr != nil {
		err = fmt.Errorf("stop the bare server: %w", stopErr)
	}
	return report, err
}
