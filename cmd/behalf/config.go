package main

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers"
	"github.com/behalf-platform/behalf/infra/embedded"
	"github.com/behalf-platform/behalf/infra/natsshadow"
)

// databaseOff makes a node that keeps no read models and answers no queries.
const databaseOff = "off"

// durabilityReplicated leaves durability to a quorum of an external cluster.
const durabilityReplicated = "replicated"

// serveConfig is everything a server can be told. Each field is a flag, and an
// environment variable of the flag's name: --nats-listen is BEHALF_NATS_LISTEN.
type serveConfig struct {
	Listen string // where HTTP is served
	// PublicURL is where people reach the server, for links; empty for wherever
	// whoever asks for one reached it.
	PublicURL string
	Data      string // where the embedded log and this node's files are kept

	NATS       string // URL of an external NATS; empty for the embedded one
	NATSListen string // where the embedded NATS serves agents and consumers, or "off"
	NATSCreds  string // credentials file for the external NATS
	NATSCA     string // certificate authority the external NATS is checked by
	NATSCert   string // client certificate for the external NATS, and its key
	NATSKey    string

	Durability   string // fsync, os or replicated
	Partitions   int    // fixed when the log is made
	Replicas     int    // of an external NATS
	DedupeWindow time.Duration

	ResetOwner bool // gives the first account's owner a new token

	Currency    string // default currency of the account the first start makes
	AccountName string // and its name

	VerifyTimeout time.Duration
	MaxLag        time.Duration
	MaxSkew       time.Duration

	Events         string // on, or off for a node that neither publishes events nor serves them
	EventsMaxAge   time.Duration
	EventsMaxBytes int64
	EventsFormat   string // of CloudEvents: structured or binary

	Database    string // where queries are answered from: sqlite:PATH or postgres://…
	MaxQueryLag time.Duration

	ShadowAge                          time.Duration // after which what shadows recorded is removed
	MostWebhooks                       int           // of one account
	Webhooks, WebhookKey, WebhookProxy string
	WebhookNetworks                    []string
	AttemptsMaxAge                     time.Duration
	PlainHTTPWebhooks                  bool // takes addresses that are not encrypted, for development

	Receipts time.Duration // how long the receipt of an allow is good; 0 signs none

	RateAgent, RateMember, RateAddress, RateFailures int // each per second; 0 is no limit

	LogFormat, LogLevel string
}

func (c *serveConfig) flags(f *pflag.FlagSet) {
	f.StringVar(&c.Listen, "listen", "127.0.0.1:8080", "address HTTP is served on")
	f.StringVar(&c.PublicURL, "public-url", "", "where people reach this server, such as https://behalf.example.com, for links to passports (default: where the link was asked for)")
	f.StringVar(&c.Data, "data", "./behalf-data", "directory of the embedded log and of this node's files")
	f.StringVar(&c.NATS, "nats", "", "URL of an external NATS server or cluster; without it one runs inside")
	f.StringVar(&c.NATSListen, "nats-listen", "127.0.0.1:4222", `address the embedded NATS serves agents and consumers on, or "off"`)
	f.StringVar(&c.NATSCreds, "nats-creds", "", "credentials file for the external NATS")
	f.StringVar(&c.NATSCA, "nats-ca", "", "file of the certificate authority that signed the external NATS's certificate")
	f.StringVar(&c.NATSCert, "nats-cert", "", "file of the client certificate for the external NATS")
	f.StringVar(&c.NATSKey, "nats-key", "", "file of that certificate's key")
	f.StringVar(&c.Durability, "durability", "", "what an acknowledged decision survives: fsync (embedded; loss of power), os (end of the process), replicated (external; loss of a minority of servers)")
	f.IntVar(&c.Partitions, "partitions", 1, "how many streams the accounts are spread over; fixed when the log is made")
	f.IntVar(&c.Replicas, "replicas", 0, "copies of the log an external cluster keeps: 1, 3 or 5 (default 3 with --durability replicated, else 1)")
	f.DurationVar(&c.DedupeWindow, "dedupe-window", 2*time.Minute, "how long an idempotency key is remembered")
	f.BoolVar(&c.ResetOwner, "reset-owner-token", false, "give the account's owner a new token and print it, when the old one is lost")
	f.StringVar(&c.Currency, "currency", "USD", "default currency of the account that the first start makes")
	f.StringVar(&c.AccountName, "account-name", "Behalf", "name of the account that the first start makes")
	f.DurationVar(&c.VerifyTimeout, "verify-timeout", 5*time.Second, "longest a verify may take before it is denied as unavailable")
	f.DurationVar(&c.MaxLag, "max-lag", 5*time.Second, "how old what this node knows may be before /readyz says no")
	f.DurationVar(&c.MaxSkew, "max-skew", 2*time.Second, "how far this node's clock may be off the log's before it stops deciding")
	f.StringVar(&c.Database, "database", "", "where queries are answered from: sqlite:PATH or postgres://USER:PASSWORD@HOST/NAME or off for a node that only decides (default sqlite:views.db in --data); deciding needs none")
	f.DurationVar(&c.MaxQueryLag, "max-query-lag", 10*time.Second, "how far queries may be behind the log before /readyz/queries says no")
	f.DurationVar(&c.ShadowAge, "shadow-age", 180*24*time.Hour, "how long what shadows recorded is kept, 2184h (91 days) to 87600h")
	f.IntVar(&c.MostWebhooks, "most-webhooks", 100, "how many webhooks an account may have")
	f.BoolVar(&c.PlainHTTPWebhooks, "plain-http-webhooks", false, "take webhooks whose URL begins with http://, for development; what is sent can be read on the way")
	f.StringVar(&c.Webhooks, "webhooks", "on", "webhooks: on, or off for a node that neither sends nor manages them")
	f.StringVar(&c.WebhookKey, "webhook-key", "", "file of the master key that the secrets of webhooks are derived from, which all nodes need; made if there is none and the log is embedded (default webhooks.key in --data)")
	f.StringSliceVar(&c.WebhookNetworks, "webhook-network", nil, "private network that webhooks may be sent to, such as 10.1.0.0/16; may be repeated")
	f.StringVar(&c.WebhookProxy, "webhook-proxy", "", "URL of the proxy that all webhooks are sent through; it then judges where they may go")
	f.DurationVar(&c.AttemptsMaxAge, "webhook-attempts-max-age", 30*24*time.Hour, "how long attempts to deliver are kept")
	f.StringVar(&c.Events, "events", "on", "public events: on, or off for a node that neither publishes nor serves them")
	f.DurationVar(&c.EventsMaxAge, "events-max-age", 30*24*time.Hour, "how long public events are kept; 0 is no limit")
	f.Int64Var(&c.EventsMaxBytes, "events-max-bytes", 0, "how many bytes of public events are kept; 0 is no limit")
	f.StringVar(&c.EventsFormat, "events-format", "structured", "how public events are published on NATS: structured (one JSON document) or binary (attributes in headers)")
	f.DurationVar(&c.Receipts, "receipts", 0, "sign a receipt of each allow that is good for this long, such as 1m; 0 signs none. Its keys follow from the master key (--webhook-key)")
	f.IntVar(&c.RateAgent, "rate-agent", 1000, "requests a second one agent key may make, with a burst of twice that; 0 is no limit")
	f.IntVar(&c.RateMember, "rate-member", 5000, "requests a second one member token may make; 0 is no limit")
	f.IntVar(&c.RateAddress, "rate-address", 0, "requests a second one address may make; 0 is no limit")
	f.IntVar(&c.RateFailures, "rate-failures", 20, "bad credentials a second one address may send before it is told to wait; 0 is no limit")
	f.StringVar(&c.LogFormat, "log-format", "text", "how logs are written: text or json")
	f.StringVar(&c.LogLevel, "log-level", "info", "least level that is logged: debug, info, warn or error")
}

// settle fills in what depends on other settings.
func (c *serveConfig) settle() {
	if c.Durability == "" {
		c.Durability = string(embedded.Fsync)
		if c.NATS != "" {
			c.Durability = string(embedded.OS)
			if c.Replicas > 1 {
				c.Durability = durabilityReplicated
			}
		}
	}
	if c.Database == "" {
		c.Database = "sqlite:" + filepath.Join(c.Data, "views.db")
	}
	if c.WebhookKey == "" {
		c.WebhookKey = filepath.Join(c.Data, "webhooks.key")
	}
	if c.Replicas == 0 {
		c.Replicas = 1
		if c.Durability == durabilityReplicated {
			c.Replicas = 3
		}
	}
}

// validate reports every fault at once.
func (c *serveConfig) validate() error {
	var faults []error
	bad := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	c.checkWebhooks(bad)
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		bad("--listen %q is not host:port; use one like 127.0.0.1:8080", c.Listen)
	}
	if _, _, err := net.SplitHostPort(c.NATSListen); err != nil && c.NATSListen != "off" {
		bad(`--nats-listen %q is not host:port; use one like 127.0.0.1:4222, or "off"`, c.NATSListen)
	}
	if u, err := url.Parse(c.PublicURL); c.PublicURL != "" &&
		(err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.RawQuery != "" || u.Fragment != "") {
		bad("--public-url %q is not a URL that links can begin with; use one like https://behalf.example.com", c.PublicURL)
	}
	switch c.Durability {
	case string(embedded.Fsync):
		if c.NATS != "" {
			bad("--durability fsync is for the embedded log; an external NATS decides itself: set sync_interval: always in its configuration and use --durability os, or use replicated")
		}
	case string(embedded.OS):
	case durabilityReplicated:
		if c.NATS == "" {
			bad("--durability replicated needs a cluster; give its URL with --nats")
		}
		if c.Replicas < 3 {
			bad("--durability replicated needs --replicas 3 or 5, not %d", c.Replicas)
		}
	default:
		bad("--durability %q is unknown; use fsync, os or replicated", c.Durability)
	}
	switch {
	case c.Replicas != 1 && c.Replicas != 3 && c.Replicas != 5:
		bad("--replicas %d: use 1, 3 or 5", c.Replicas)
	case c.Replicas > 1 && c.NATS == "":
		bad("--replicas %d needs a cluster; give its URL with --nats", c.Replicas)
	}
	if c.MostWebhooks < 1 || c.MostWebhooks > 10_000 {
		bad("--most-webhooks %d: use 1 to 10000", c.MostWebhooks)
	}
	if c.Partitions < 1 || c.Partitions > 64 {
		bad("--partitions %d: use 1 to 64", c.Partitions)
	}
	if _, err := domain.ParseCurrency(c.Currency); err != nil {
		bad("--currency: %w", err)
	}
	if (c.NATSCert == "") != (c.NATSKey == "") {
		bad("--nats-cert and --nats-key go together")
	}
	for name, d := range map[string]time.Duration{
		"dedupe-window": c.DedupeWindow, "verify-timeout": c.VerifyTimeout, "max-lag": c.MaxLag, "max-skew": c.MaxSkew,
		"max-query-lag": c.MaxQueryLag,
	} {
		if d < 100*time.Millisecond {
			bad("--%s %s is too short; use 100ms or more", name, d)
		}
	}
	if c.MaxLag > domain.RetentionMargin {
		bad("--max-lag %s is too long; use %s or less, the time within which all nodes go by a new setting", c.MaxLag, domain.RetentionMargin)
	}
	if least := time.Duration(domain.LeastRetention); c.DedupeWindow > least {
		bad("--dedupe-window %s is too long; use %s or less, the least time decisions are kept", c.DedupeWindow, least)
	}
	if c.ShadowAge < natsshadow.LeastAge || c.ShadowAge > 87600*time.Hour {
		bad("--shadow-age %s: use %s to 87600h", c.ShadowAge, domain.Duration(natsshadow.LeastAge))
	}
	if c.VerifyTimeout+c.MaxSkew > handlers.ClockSlack {
		bad("--verify-timeout %s and --max-skew %s are together more than %s, the time within which a decision is looked for in the log; lower one", c.VerifyTimeout, c.MaxSkew, handlers.ClockSlack)
	}
	c.checkReceipts(bad)
	for name, n := range map[string]int{
		"rate-agent": c.RateAgent, "rate-member": c.RateMember, "rate-address": c.RateAddress, "rate-failures": c.RateFailures,
	} {
		if n < 0 {
			bad("--%s %d is negative; use 0 for no limit", name, n)
		}
	}
	if scheme, rest, _ := strings.Cut(c.Database, ":"); c.Database != databaseOff && (scheme != "sqlite" && scheme != "postgres" && scheme != "postgresql" || rest == "") {
		bad("--database must be off, or begin with sqlite: or postgres:; use one like sqlite:/var/lib/behalf/views.db or postgres://behalf@db.example.com/behalf")
	}
	if c.Events != "on" && c.Events != "off" {
		bad("--events %q: use on or off", c.Events)
	}
	if c.EventsMaxAge < 0 || c.EventsMaxAge > 0 && c.EventsMaxAge < time.Minute {
		bad("--events-max-age %s: use 1m or more, or 0 for no limit", c.EventsMaxAge)
	}
	if c.EventsMaxBytes < 0 || c.EventsMaxBytes > 0 && c.EventsMaxBytes < 1<<20 {
		bad("--events-max-bytes %d: use 1048576 or more, or 0 for no limit", c.EventsMaxBytes)
	}
	if c.EventsFormat != "structured" && c.EventsFormat != "binary" {
		bad("--events-format %q: use structured or binary", c.EventsFormat)
	}
	if c.LogFormat != "text" && c.LogFormat != "json" {
		bad("--log-format %q: use text or json", c.LogFormat)
	}
	return errors.Join(faults...)
}
