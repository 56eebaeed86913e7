package main

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers"
	"github.com/behalf-platform/behalf/handlers/natsapi"
	"github.com/behalf-platform/behalf/infra/embedded"
	"github.com/behalf-platform/behalf/infra/natsalarm"
	"github.com/behalf-platform/behalf/infra/natsevents"
	"github.com/behalf-platform/behalf/infra/natslanes"
	"github.com/behalf-platform/behalf/infra/natslog"
	"github.com/behalf-platform/behalf/infra/natsshadow"
	"github.com/behalf-platform/behalf/infra/natsvisits"
	"github.com/behalf-platform/behalf/projections"
)

// broker is this node's NATS: connections, and the server if it runs inside.
type broker struct {
	conn, bulk *nats.Conn
	// The rest is for the embedded server only.
	server   *embedded.Server
	barrier  func(context.Context) error
	operator string // path of the operator's file, or empty
}

// connect starts the embedded server, or connects to the external one.
func connect(cfg serveConfig, auth authenticate, logs *slog.Logger) (*broker, error) {
	if cfg.NATS != "" {
		return dial(cfg, logs)
	}
	return embed(cfg, auth, logs)
}

// authenticate says what a NATS client with these credentials may do.
type authenticate func(user, password string) (embedded.Access, bool)

func embed(cfg serveConfig, auth authenticate, logs *slog.Logger) (_ *broker, err error) {
	listen := cfg.NATSListen
	if listen == "off" {
		listen = ""
	}
	operator := newOperator()
	b := &broker{}
	b.server, err = embedded.Start(embedded.Config{
		Dir: filepath.Join(cfg.Data, "nats"), Durability: embedded.Durability(cfg.Durability), Listen: listen,
		// What is lost of these is made again; and both remove messages.
		Unsynced: []string{natsalarm.StreamName, natsshadow.StreamName, natsvisits.StreamName, natsevents.StreamName, natsevents.StateName, natslanes.StateStream, natslanes.AttemptsStream},
		Authenticate: func(user, password string) (embedded.Access, bool) {
			if user == operatorName {
				return operator.access(cfg.Partitions, password)
			}
			return auth(user, password)
		},
		Logger: logs,
	})
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.close())
		}
	}()
	if b.conn, err = b.server.Connect(); err != nil {
		return nil, err
	}
	if b.bulk, err = b.server.Bulk(); err != nil {
		return nil, err
	}
	if cfg.Durability == string(embedded.Fsync) {
		b.barrier = b.server.Sync
	}
	if listen == "" {
		return b, nil
	}
	b.operator = operatorFile(cfg.Data)
	operator.URL = "nats://" + b.server.Addr().String()
	return b, operator.save(b.operator)
}

func dial(cfg serveConfig, logs *slog.Logger) (*broker, error) {
	options := natsErrors(logs)
	options = append(options, nats.Name("behalf"), nats.Timeout(5*time.Second))
	if cfg.NATSCreds != "" {
		options = append(options, nats.UserCredentials(cfg.NATSCreds))
	}
	if cfg.NATSCA != "" {
		options = append(options, nats.RootCAs(cfg.NATSCA))
	}
	if cfg.NATSCert != "" {
		options = append(options, nats.ClientCert(cfg.NATSCert, cfg.NATSKey))
	}
	b := &broker{}
	for _, c := range []**nats.Conn{&b.conn, &b.bulk} {
		conn, err := nats.Connect(cfg.NATS, options...)
		if err != nil {
			err = fmt.Errorf("connect to NATS at %s: %w; check --nats, and --nats-creds, --nats-ca, --nats-cert if it asks for them", redact(cfg.NATS), err)
			return nil, errors.Join(err, b.close())
		}
		*c = conn
	}
	return b, nil
}

// redact is a NATS URL, or a list of them, without passwords.
func redact(urls string) string {
	list := strings.Split(urls, ",")
	for i, u := range list {
		if scheme, rest, ok := strings.Cut(u, "://"); ok {
			if at := strings.LastIndex(rest, "@"); at >= 0 {
				list[i] = scheme + "://…@" + rest[at+1:]
			}
		} else if at := strings.LastIndex(u, "@"); at >= 0 {
			list[i] = "…@" + u[at+1:]
		}
	}
	return strings.Join(list, ",")
}

// healthy asks the embedded server; an external one shows in the connection.
func (b *broker) healthy() error {
	if !b.conn.IsConnected() {
		return errors.New("not connected to NATS")
	}
	if b.server != nil {
		return b.server.Healthy()
	}
	return nil
}

func (b *broker) close() error {
	for _, c := range []*nats.Conn{b.conn, b.bulk} {
		if c != nil {
			c.Close()
		}
	}
	if b.operator != "" {
		_ = os.Remove(b.operator) // it is good for this run only, whether it stays or not
	}
	if b.server != nil {
		return b.server.Shutdown()
	}
	return nil
}

// authenticate lets agents and members use the embedded NATS with the same
// credential as everywhere: it is the password, or the token, of their
// connection. They may ask for the service's operations and read their own
// inbox, whose prefix is theirs alone, so that nobody reads another's answers,
// and be woken when a person has answered what they may read. An agent that is
// disabled is nobody here; over HTTP it is told so. Members hear the public
// events of their account. Nobody has a right on JetStream, not even on a
// consumer of their own: it sends what is pulled to whatever subject is asked.
func (n *node) authenticate(_, password string) (embedded.Access, bool) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if n.gate.MayDecide() != nil {
		return embedded.Access{}, false
	}
	caller, err := n.desk.Identify(ctx, domain.HashToken(password))
	if err != nil {
		return embedded.Access{}, false
	}
	if domain.ReservedAgentID(caller.Agent.Agent) != "" {
		return embedded.Access{}, false // of a log from before it was; over HTTP it goes on
	}
	if caller.IsAgent() && n.passports.Agent(caller.Agent).Status == domain.AgentIsDisabled {
		return embedded.Access{}, false
	}
	id, hears := string(caller.Agent.Agent), []string{natsapi.WakeSubject(caller.Agent) + ".>"}
	if !caller.IsAgent() {
		account := caller.Member.Account
		id, hears = string(caller.Member.ID), []string{
			natsapi.WakeSubject(domain.Stream{Account: account}) + ".>", projections.PublicSubjects + "." + string(account) + ".>",
		}
	}
	return embedded.Access{Name: id, Publish: []string{"behalf.v1.>"}, Subscribe: append(hears, "_INBOX_"+id+".>")}, true
}

// operator is whoever may read the data directory. While the embedded server
// runs, the file in it lets the commands that read the log connect; all they
// may do is read.
type operator struct {
	URL      string `json:"url"`
	Password string `json:"password"`
}

const operatorName = "behalf-operator" // no agent may have it: domain.ReservedAgentID

func operatorFile(data string) string { return filepath.Join(data, "operator.json") }

func newOperator() *operator {
	return &operator{Password: rand.Text()}
}

func (o *operator) save(path string) error {
	b, err := json.Marshal(o)
	if err != nil {
		return fmt.Errorf("encode %s: %w", path, err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("replace %s: %w", path, err)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// access is the right to read the log's streams, and to follow them. Answers go to
// where no stream listens; a consumer that is told to push can't name a subject of
// the stream it reads.
func (o *operator) access(partitions int, password string) (embedded.Access, bool) {
	if subtle.ConstantTimeCompare([]byte(password), []byte(o.Password)) != 1 {
		return embedded.Access{}, false
	}
	a := embedded.Access{Name: operatorName, Publish: []string{"$JS.API.INFO"}, Subscribe: []string{"_INBOX.>"}, Apart: true}
	for _, stream := range natslog.StreamNames(partitions) {
		for _, subject := range []string{
			"STREAM.INFO.%s", "STREAM.MSG.GET.%s", "DIRECT.GET.%s", "DIRECT.GET.%s.>",
			"CONSUMER.CREATE.%s.>", "CONSUMER.INFO.%s.>", "CONSUMER.MSG.NEXT.%s.>", "CONSUMER.DELETE.%s.>",
		} {
			a.Publish = append(a.Publish, "$JS.API."+fmt.Sprintf(subject, stream))
		}
	}
	return a, true
}

// firstAccount makes an id that lies in partition 0, where the log keeps it.
func firstAccount(partitions int) domain.AccountID {
	for {
		id := domain.AccountID(domain.AccountPrefix + handlers.NewULID(time.Now()))
		if domain.PartitionOf(id, partitions) == 0 {
			return id
		}
	}
}
