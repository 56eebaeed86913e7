package main

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net/netip"
	"net/url"
	"sync"
	"time"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers"
	"github.com/behalf-platform/behalf/handlers/delivery"
	"github.com/behalf-platform/behalf/infra/natslanes"
	"github.com/behalf-platform/behalf/infra/natslog"
	"github.com/behalf-platform/behalf/infra/outbound"
	"github.com/behalf-platform/behalf/infra/webhooksig"
	"github.com/behalf-platform/behalf/projections"
)

// courier is what sends webhooks on this node.
type courier struct {
	client  *outbound.Client
	engine  *delivery.Engine
	steward *handlers.WebhookSteward
}

// wireWebhooks makes what manages webhooks. What sends gets it its secrets, its
// challenges and what is known of deliveries; without them webhooks are off.
func (n *node) wireWebhooks() {
	rules := domain.EndpointRules{Types: eventTypes(), Most: n.cfg.MostWebhooks, PlainHTTP: n.cfg.PlainHTTPWebhooks}
	n.desk.Webhooks = &handlers.Webhooks{Writer: n.desk.Writer, Challenges: handlers.NewLimiter(1, time.Now), Rules: rules}
}

// eventTypes are the types of events there are to send.
func eventTypes() (types []string) {
	for _, t := range projections.PublicTypes() {
		types = append(types, string(t))
	}
	return types
}

// openWebhooks makes what sends webhooks, unless there are to be none.
func (n *node) openWebhooks(ctx context.Context, log *natslog.Log) error {
	if n.cfg.Webhooks == "off" {
		return nil
	}
	keys, err := n.webhookKeys(ctx)
	if keys == nil {
		return err
	}
	client, err := outbound.New(n.outbound())
	if err != nil {
		return err
	}
	store, err := natslanes.Open(ctx, natslanes.Config{Conn: n.broker.bulk, Replicas: n.cfg.Replicas, Keep: n.cfg.AttemptsMaxAge})
	if err != nil {
		return err
	}
	source := &handlers.WebhookSource{Log: log, Crowd: n.desk.Crowd}
	engine := &delivery.Engine{
		Source:   source,
		Registry: &handlers.WebhookRegistry{Passports: &n.passports, Partitions: log.Partitions(), Current: n.gate.Current},
		Sender:   &hookSender{client: client, keys: keys, endpoint: n.endpoint, now: time.Now, logs: n.logs},
		Reporter: &handlers.WebhookReporter{Webhooks: n.desk.Webhooks},
		Store:    store, Node: handlers.NewULID(time.Now()), Alone: n.broker.server != nil, Logs: n.logs, Now: time.Now,
	}
	engine.Metrics = delivery.NewMetrics(n.registry, engine)
	known := &handlers.EngineDeliveries{Engine: engine, Now: time.Now}
	h := n.desk.Webhooks
	h.Secrets, h.Challenger, h.Deliveries = secretsOf{keys}, known, known
	h.CheckURL = func(_ context.Context, address string) error {
		_, err := client.Guard().CheckURL(address)
		return err
	}
	n.courier = &courier{client: client, engine: engine, steward: &handlers.WebhookSteward{
		Passports: &n.passports, Engine: engine, Webhooks: h, Source: source, Current: n.gate.Current, Logs: n.logs,
	}}
	return nil
}

// webhookKeys opens the master key. One is made only where no other node could
// have another; without one webhooks are off here.
func (n *node) webhookKeys(ctx context.Context) (*webhooksig.Keyring, error) {
	if n.broker.server != nil {
		return webhooksig.OpenOrMakeMaster(n.cfg.WebhookKey)
	}
	keys, err := webhooksig.OpenMaster(n.cfg.WebhookKey)
	if errors.Is(err, fs.ErrNotExist) {
		n.logs.WarnContext(ctx, "webhooks are off on this node: there is no master key; make one for all nodes with: (umask 077; openssl rand -base64 32 > webhooks.key), and name it with --webhook-key",
			slog.String("file", n.cfg.WebhookKey))
		return nil, nil
	}
	return keys, err
}

// outbound is how webhooks are sent. What is wrong with it was refused before.
func (n *node) outbound() outbound.Config {
	cfg := outbound.Config{Policy: outbound.Policy{HTTP: n.cfg.PlainHTTPWebhooks}}
	for _, text := range n.cfg.WebhookNetworks {
		if network, err := netip.ParsePrefix(text); err == nil {
			cfg.Networks = append(cfg.Networks, network)
		}
	}
	if n.cfg.WebhookProxy != "" {
		cfg.Proxy, _ = url.Parse(n.cfg.WebhookProxy)
	}
	return cfg
}

func (n *node) endpoint(account domain.AccountID, id domain.EndpointID) (*domain.Endpoint, bool) {
	a, err := n.passports.Account(account)
	if err != nil {
		return nil, false
	}
	return a.Endpoint(id)
}

// sendWebhooks sends webhooks until ctx ends. Nothing that decides waits for it.
func (n *node) sendWebhooks(ctx context.Context) error {
	if n.courier == nil {
		<-ctx.Done()
		return nil
	}
	defer n.courier.client.Close()
	var parts sync.WaitGroup
	var errs [2]error
	parts.Go(func() { errs[0] = n.courier.engine.Run(ctx) })
	parts.Go(func() { errs[1] = n.courier.steward.Run(ctx) })
	parts.Wait()
	return errors.Join(errs[0], errs[1])
}

// secretsOf shows the secrets of endpoints to those who may see them once.
type secretsOf struct{ keys *webhooksig.Keyring }

func (s secretsOf) Secret(account domain.AccountID, endpoint domain.EndpointID, version int) (string, error) {
	secret, err := s.keys.Secret(string(account), string(endpoint), version)
	return string(secret), err
}

func (s secretsOf) PublicKey(account domain.AccountID, endpoint domain.EndpointID, version int) (string, error) {
	return s.keys.PublicKey(string(account), string(endpoint), version)
}

// checkWebhooks is what is wrong with how webhooks are to be sent.
func (c *serveConfig) checkWebhooks(bad func(string, ...any)) {
	if c.Webhooks != "on" && c.Webhooks != "off" {
		bad("--webhooks %q is unknown; use on or off", c.Webhooks)
	}
	for _, text := range c.WebhookNetworks {
		if _, err := netip.ParsePrefix(text); err != nil {
			bad("--webhook-network %q is not a network; write one like 10.1.0.0/16", text)
		}
	}
	if c.AttemptsMaxAge < time.Minute {
		bad("--webhook-attempts-max-age is %s; keep attempts for a minute at least", c.AttemptsMaxAge)
	}
	if c.WebhookProxy == "" {
		return
	}
	if u, err := url.Parse(c.WebhookProxy); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		bad("--webhook-proxy is not a URL; write one like http://proxy.internal:3128")
	}
}
