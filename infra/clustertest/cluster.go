// Package clustertest runs a cluster of NATS servers inside this process, for
// tests of what only a replicated log does. Servers can be stopped and started
// again one by one. It is no way to run Behalf: one crash takes all replicas.
package clustertest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nuid"
)

// Cluster is a number of servers that replicate streams to each other. Its
// methods may be called from several goroutines.
type Cluster struct {
	name  string
	dir   string
	nodes []string // the servers' names, in the order they were first started

	mu sync.Mutex
	// running is guarded by mu.
	running map[string]*server.Server
}

// New starts n servers, an odd number of three or more, that keep their data
// below dir. It returns when they are healthy. Close ends them.
func New(ctx context.Context, dir string, n int) (*Cluster, error) {
	if n < 3 || n%2 == 0 {
		return nil, fmt.Errorf("a cluster of %d servers: want an odd number of three or more", n)
	}
	c := &Cluster{name: "test-" + nuid.Next(), dir: dir, running: map[string]*server.Server{}}
	for i := range n {
		c.nodes = append(c.nodes, fmt.Sprintf("node-%d", i+1))
	}
	for _, node := range c.nodes {
		if err := c.start(node); err != nil {
			c.Close()
			return nil, err
		}
	}
	if err := c.WaitHealthy(ctx); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// nowhere is a route that nobody listens at.
var nowhere = &url.URL{Scheme: "nats-route", Host: "127.0.0.1:1"}

// start starts a server. It lets the system choose its ports, so that clusters
// that run at the same time don't meet, and joins it to those that run already.
func (c *Cluster) start(node string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running[node] != nil {
		return fmt.Errorf("%s is running", node)
	}
	var routes []*url.URL
	for _, s := range c.running {
		routes = append(routes, &url.URL{Scheme: "nats-route", Host: s.ClusterAddr().String()})
	}
	// JetStream gathers as many servers as it has routes before it elects a
	// leader, and doesn't form a cluster without any. The routes to servers that
	// are still to come have no address yet.
	for len(routes) < len(c.nodes) {
		routes = append(routes, nowhere)
	}
	s, err := server.NewServer(&server.Options{
		ServerName: node,
		Host:       "127.0.0.1",
		Port:       server.RANDOM_PORT,
		Cluster:    server.ClusterOpts{Name: c.name, Host: "127.0.0.1", Port: server.RANDOM_PORT},
		Routes:     routes,
		JetStream:  true,
		StoreDir:   filepath.Join(c.dir, node),
		NoLog:      true,
		NoSigs:     true,
	})
	if err != nil {
		return fmt.Errorf("start %s: %w", node, err)
	}
	s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		stop(s)
		return fmt.Errorf("start %s: it does not listen", node)
	}
	c.running[node] = s
	return nil
}

func stop(s *server.Server) {
	s.Shutdown()
	s.WaitForShutdown()
}

// Restart starts a server that was stopped, with the data it had but on other
// ports. It returns when the cluster is healthy.
func (c *Cluster) Restart(ctx context.Context, node string) error {
	if !slices.Contains(c.nodes, node) {
		return fmt.Errorf("no server %s", node)
	}
	if err := c.start(node); err != nil {
		return err
	}
	return c.WaitHealthy(ctx)
}

// StopLeader stops the server that leads a stream, and returns its name.
func (c *Cluster) StopLeader(stream string) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for node, s := range c.running {
		if s.JetStreamIsStreamLeader(server.DEFAULT_GLOBAL_ACCOUNT, stream) {
			delete(c.running, node)
			stop(s)
			return node, nil
		}
	}
	return "", fmt.Errorf("stop the leader of %s: it has none", stream)
}

// Close stops all servers and waits for them.
func (c *Cluster) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	var wg sync.WaitGroup
	for _, s := range c.running {
		wg.Go(func() { stop(s) })
	}
	wg.Wait()
	clear(c.running)
}

// URL is the addresses of the servers that run, as a client takes them.
func (c *Cluster) URL() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var urls []string
	for _, node := range c.nodes {
		if s := c.running[node]; s != nil {
			urls = append(urls, s.ClientURL())
		}
	}
	return strings.Join(urls, ",")
}

// WaitHealthy waits until every server that runs has all it should have, and
// knows a leader that can place streams on all of them.
func (c *Cluster) WaitHealthy(ctx context.Context) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := c.unhealthy()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("wait for the cluster: %w", context.Cause(ctx)), err)
		}
	}
}

// unhealthy is what is wrong with the cluster.
func (c *Cluster) unhealthy() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	peers := 0
	for node, s := range c.running {
		if h := s.Healthz(nil); h.Status != "ok" {
			return fmt.Errorf("%s: %s", node, h.Error)
		}
		peers = max(peers, len(s.JetStreamClusterPeers())) // only the leader has any
	}
	if peers < len(c.running) {
		return fmt.Errorf("%d of %d servers take streams", peers, len(c.running))
	}
	return nil
}
