// Package outbound sends webhooks: one attempt at a time, to a URL that a
// customer chose and nobody here trusts. It guards this server's network from
// where the URL may lead, and this process from what may answer. It queues
// nothing, repeats nothing and remembers nothing of what it sent.
package outbound

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"
)

// Config is what the operator can set. Its zero value is for production.
type Config struct {
	Policy

	// Timeout bounds an attempt, from before the name is looked up until the
	// answer is read; 0 stands for 15 s.
	Timeout time.Duration
	// Linger bounds how long the answer's body may take after its header: what
	// came of the attempt is known by then. 0 stands for 2 s.
	Linger time.Duration
	// Proxy, if set, is what all deliveries go through, http:// or https://, by
	// CONNECT for https receivers. The proxy then looks names up, so addresses
	// can't be judged here: it must keep deliveries out of private networks
	// itself. An address that a URL spells out is still judged. What the
	// environment says of proxies is never used.
	Proxy *url.URL
	// RootCAs are who may sign receivers' certificates; nil stands for those the
	// system trusts.
	RootCAs *x509.CertPool
	// UserAgent is what deliveries are sent by; empty stands for
	// "Behalf-Webhooks/1".
	UserAgent string
	// ConnsPerHost and IdleConns bound connections to one host, and ones that
	// wait to be used again, to all of them; 0 stands for 128 and 1024.
	ConnsPerHost, IdleConns int
	// Resolver looks names up; nil stands for the system's.
	Resolver *net.Resolver
	// Now is the clock that dates in Retry-After are compared with; nil stands
	// for the system's.
	Now func() time.Time
}

const (
	mostAnswer       = 64 << 10 // read of an answer's body, in bytes
	mostAnswerHeader = 32 << 10 // of an answer's header, with all interim ones before it
	shownAnswer      = 1 << 10  // kept of an answer's body
)

// Client sends deliveries. It may be used by many goroutines at once.
type Client struct {
	guard     *Guard
	transport *http.Transport
	dialer    net.Dialer
	tls       *tls.Config
	timeout   time.Duration
	linger    time.Duration
	userAgent string
	now       func() time.Time
}

// New checks the settings. The client is the caller's to close.
func New(cfg Config) (*Client, error) {
	guard, err := NewGuard(cfg.Policy)
	if err != nil {
		return nil, fmt.Errorf("send webhooks: %w", err)
	}
	if cfg.Timeout < 0 || cfg.Linger < 0 || cfg.ConnsPerHost < 0 || cfg.IdleConns < 0 {
		return nil, errors.New("send webhooks: a time or a number of connections is below 0")
	}
	c := &Client{
		guard: guard, timeout: cmp.Or(cfg.Timeout, 15*time.Second), linger: cmp.Or(cfg.Linger, 2*time.Second),
		userAgent: cmp.Or(cfg.UserAgent, "Behalf-Webhooks/1"), now: cfg.Now,
		dialer: net.Dialer{Resolver: cfg.Resolver, ControlContext: guard.control},
		tls: &tls.Config{
			MinVersion: tls.VersionTLS12, RootCAs: cfg.RootCAs,
			NextProtos: []string{"h2", "http/1.1"}, ClientSessionCache: tls.NewLRUClientSessionCache(256),
		},
	}
	if c.now == nil {
		c.now = time.Now
	}
	c.transport = c.newTransport(cfg)
	if cfg.Proxy == nil {
		return c, nil
	}
	if (cfg.Proxy.Scheme != "http" && cfg.Proxy.Scheme != "https") || cfg.Proxy.Host == "" {
		return nil, errors.New("send webhooks: the proxy must be a URL that begins with http:// or https://")
	}
	c.useProxy(cfg.Proxy)
	return c, nil
}

func (c *Client) newTransport(cfg Config) *http.Transport {
	perHost, idle := cmp.Or(cfg.ConnsPerHost, 128), cmp.Or(cfg.IdleConns, 1024)
	return &http.Transport{
		DialContext:            c.dial,
		DialTLSContext:         c.dialTLS,
		TLSClientConfig:        c.tls,
		TLSHandshakeTimeout:    c.timeout,
		ForceAttemptHTTP2:      true,
		DisableCompression:     true, // or a few bytes could become gigabytes
		MaxConnsPerHost:        perHost,
		MaxIdleConnsPerHost:    min(perHost, idle),
		MaxIdleConns:           idle,
		IdleConnTimeout:        time.Minute,
		MaxResponseHeaderBytes: mostAnswerHeader,
		HTTP2: &http.HTTP2Config{
			// What a receiver may have under way towards here, unread.
			MaxReceiveBufferPerStream:     mostAnswer,
			MaxReceiveBufferPerConnection: 1 << 20,
			// A connection that died without a word must not keep its host's
			// deliveries waiting.
			SendPingTimeout: 15 * time.Second,
			PingTimeout:     5 * time.Second,
		},
	}
}

// useProxy has every connection made to the proxy, which the operator chose and
// so needs no guard.
func (c *Client) useProxy(proxy *url.URL) {
	c.dialer.ControlContext = nil
	c.transport.Proxy = http.ProxyURL(proxy)
	c.transport.DialTLSContext = nil // it would skip the proxy's own certificate name
	c.transport.OnProxyConnectResponse = func(_ context.Context, _ *url.URL, _ *http.Request, answer *http.Response) error {
		if answer.StatusCode != http.StatusOK {
			return &stepError{Connect, fmt.Errorf("the proxy refused to connect: %d", answer.StatusCode)}
		}
		return nil
	}
}

// Guard is what judges where deliveries may go.
func (c *Client) Guard() *Guard { return c.guard }

// Close closes the connections that are not in use.
func (c *Client) Close() { c.transport.CloseIdleConnections() }
