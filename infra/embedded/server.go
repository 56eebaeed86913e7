// Package embedded runs the NATS server that holds the log inside this process,
// so that one program is a whole installation. It keeps its data in one
// directory, which no other process may open meanwhile, and takes no options of
// NATS from outside. It is a single server: a log that survives the loss of a
// machine needs a cluster of its own.
package embedded

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/behalf-platform/behalf/infra/internal/filelock"
)

// Durability says what an acknowledged append survives.
type Durability string

const (
	// Fsync survives the loss of power: [Server.Sync] waits for the disk.
	Fsync Durability = "fsync"
	// OS survives the end of this process. When the machine stops, what was
	// acknowledged in the last second or so may be gone.
	OS Durability = "os"
)

// errInUse is the data directory being that of a process that runs.
var errInUse = errors.New("another process is using it; stop that one or choose another directory")

// Limits of the server. They bound what a client from outside can cost.
const (
	maxPayload     = 1 << 20 // a decision holds its request, 64 KiB at most, and every check of up to 256 permissions
	maxConnections = 4096
	maxMemory      = 256 << 20 // of streams in memory, of which the log has none
	maxStore       = 1 << 62   // only the disk limits the log
	flushInterval  = time.Second
	startTimeout   = 10 * time.Second
)

// Config is how the server runs.
type Config struct {
	// Dir holds the data. It is made if it isn't there, for this user alone.
	Dir string
	// Durability is Fsync if empty.
	Durability Durability
	// Unsynced are the names of streams that take no part in Fsync: messages are
	// deleted from them, and what they lose can be made again.
	Unsynced []string
	// Listen is the host:port for clients from outside, port 0 for any that is
	// free. If empty, there are none.
	Listen string
	// Authenticate says what a client from outside may do, or false if it is
	// nobody. A client that sends a token has it as its password and no name.
	// It is called from several goroutines. If nil, every such client is refused.
	Authenticate func(user, password string) (Access, bool)
	// Logger gets what the server reports, or nobody if nil.
	Logger *slog.Logger
}

func (c Config) validate() error {
	var errs []error
	if c.Dir == "" {
		errs = append(errs, errors.New("no directory for the log's data"))
	}
	if c.Durability != Fsync && c.Durability != OS {
		errs = append(errs, fmt.Errorf("durability %q: want %q or %q", c.Durability, Fsync, OS))
	}
	return errors.Join(errs...)
}

// Server is a running server.
type Server struct {
	nats     *server.Server
	store    string // where the server keeps its data
	logger   *slog.Logger
	password string
	gate     *gate
	barrier  *barrier // nil unless appends are synced
	unlock   func() error
}

// Start starts the server and returns when it takes clients and has recovered
// all streams.
func Start(c Config) (*Server, error) {
	c.Durability = cmp.Or(c.Durability, Fsync)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if err := c.validate(); err != nil {
		return nil, err
	}
	if err := makeDir(c.Dir); err != nil {
		return nil, fmt.Errorf("make the data directory %s: %w", c.Dir, err)
	}
	unlock, err := filelock.Lock(filepath.Join(c.Dir, "behalf.lock"))
	if errors.Is(err, filelock.ErrHeld) {
		err = errInUse
	}
	if err != nil {
		return nil, fmt.Errorf("lock the data directory %s: %w", c.Dir, err)
	}
	s, err := start(c)
	if err != nil {
		return nil, errors.Join(err, unlock())
	}
	s.unlock = unlock
	return s, nil
}

// makeDir makes a directory that outlives a loss of power.
func makeDir(dir string) error {
	var parents []string
	for d := filepath.Clean(dir); ; d = filepath.Dir(d) {
		if _, err := os.Stat(d); err == nil {
			break
		}
		parents = append(parents, filepath.Dir(d))
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for _, d := range parents {
		if err := syncPath(d, (*os.File).Sync); err != nil {
			return err
		}
	}
	return nil
}

func start(c Config) (*Server, error) {
	password := rand.Text()
	gate := &gate{password: password, outside: c.Authenticate}
	opts, err := options(c, gate)
	if err != nil {
		return nil, err
	}
	s := &Server{store: filepath.Join(c.Dir, server.JetStreamStoreDir), logger: c.Logger, password: password, gate: gate}
	if s.nats, err = server.NewServer(opts); err != nil {
		return nil, fmt.Errorf("configure the NATS server: %w", err)
	}
	gate.nats = s.nats
	log := &logger{to: c.Logger}
	s.nats.SetLoggerV2(log, false, false, false)
	s.nats.Start()
	if err := s.check(c, log); err != nil {
		stop(s.nats)
		return nil, err
	}
	if c.Durability == Fsync {
		if s.barrier, err = newBarrier(s.streams(), c.Unsynced, s.holds, (*os.File).Sync); err != nil {
			stop(s.nats)
			return nil, fmt.Errorf("sync the data directory %s: %w", c.Dir, err)
		}
	}
	return s, nil
}

func options(c Config, gate *gate) (*server.Options, error) {
	opts := &server.Options{
		DontListen:                 c.Listen == "",
		CustomClientAuthentication: gate,
		MaxConn:                    maxConnections,
		MaxPayload:                 maxPayload,
		JetStream:                  true,
		StoreDir:                   c.Dir,
		// Without limits of our own the server makes some up, from what is free
		// when it starts.
		JetStreamMaxMemory: maxMemory,
		JetStreamMaxStore:  maxStore,
		SyncInterval:       flushInterval,
		NoSigs:             true,
	}
	if c.Listen == "" {
		return opts, nil
	}
	host, port, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen on %q: %w", c.Listen, err)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("listen on %q: port: %w", c.Listen, err)
	}
	opts.Host, opts.Port = host, int(n)
	if n == 0 {
		opts.Port = server.RANDOM_PORT
	}
	return opts, nil
}

// check waits until the server is up. It reports its failures only to its log,
// and goes on without a stream that it can't recover; we do not.
func (s *Server) check(c Config, log *logger) error {
	if reason := log.fatal(); reason != "" {
		return fmt.Errorf("start the NATS server on %q with its data in %s: %s; free the address or the directory, or choose another",
			c.Listen, c.Dir, reason)
	}
	if !s.nats.ReadyForConnections(startTimeout) {
		return fmt.Errorf("start the NATS server on %q with its data in %s: not ready after %s", c.Listen, c.Dir, startTimeout)
	}
	if err := s.Healthy(); err != nil {
		return fmt.Errorf("recover the log in %s: %w; restore the directory from a backup", c.Dir, err)
	}
	return nil
}

func stop(s *server.Server) {
	s.Shutdown()
	s.WaitForShutdown()
}

// streams is the directory in which the server keeps the streams of the one
// account there is.
func (s *Server) streams() string {
	return filepath.Join(s.store, server.DEFAULT_GLOBAL_ACCOUNT, "streams")
}

// holds reports whether any stream has a message on disk.
func (s *Server) holds() bool { return s.nats.GlobalAccount().JetStreamUsage().Store > 0 }

// Connect connects to the server inside the process, with all rights. The
// caller closes the connection.
func (s *Server) Connect() (*nats.Conn, error) {
	return s.connect("", nats.InProcessServer(s.nats))
}

// Bulk connects with all rights for reading much at once. It goes through the
// loopback interface when the server listens, because the pipe inside the
// process has no buffer. The caller closes the connection.
func (s *Server) Bulk() (*nats.Conn, error) {
	addr, ok := s.nats.Addr().(*net.TCPAddr)
	if !ok {
		return s.Connect()
	}
	host := addr.IP.String()
	if addr.IP.IsUnspecified() {
		host = "127.0.0.1"
	}
	return s.connect("nats://" + net.JoinHostPort(host, strconv.Itoa(addr.Port)))
}

func (s *Server) connect(url string, opts ...nats.Option) (*nats.Conn, error) {
	nc, err := nats.Connect(url, append(opts,
		nats.UserInfo(internalUser, s.password),
		// Not the prefix everyone uses: who may subscribe to that one must not
		// read the answers we get.
		nats.CustomInboxPrefix(internalUser),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(100*time.Millisecond),
		// What can't be sent now is an error now, not a message later.
		nats.ReconnectBufSize(-1),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			s.logger.LogAttrs(context.Background(), slog.LevelError, "nats connection", slog.Any("error", err))
		}),
	)...)
	if err != nil {
		return nil, fmt.Errorf("connect to the embedded NATS server: %w", err)
	}
	return nc, nil
}

// Addr is where the server listens, or nil.
func (s *Server) Addr() net.Addr { return s.nats.Addr() }

// Sync returns when everything that was acknowledged before the call is on
// disk, or at once if the durability doesn't ask for it. After it has failed it
// fails for ever, because what the disk refused once is lost to later tries.
// When ctx ends first, the outcome is unknown.
func (s *Server) Sync(ctx context.Context) error {
	if s.barrier == nil {
		return nil
	}
	return s.barrier.wait(ctx)
}

// Healthy reports why the log can't be written any more, such as a stream that
// stopped after an error of the disk. Only a restart heals it.
func (s *Server) Healthy() error {
	if s.barrier != nil {
		if err := s.barrier.failed(); err != nil {
			return err
		}
	}
	// The server gives itself a millisecond to find out, which passes by itself
	// on a busy machine. What is really wrong is wrong each time.
	var fault string
	for range healthTries {
		if fault = s.nats.Healthz(nil).Error; fault == "" {
			return nil
		}
	}
	return errors.New(fault)
}

const healthTries = 10

// Shutdown stops the server and waits for it. All that was acknowledged is on
// disk when it returns without an error.
func (s *Server) Shutdown() error {
	stop(s.nats)
	if s.barrier != nil {
		s.barrier.close()
	}
	// The server writes its files when it stops, but does not sync them.
	since := time.Now().Add(-time.Minute)
	return errors.Join(syncTree(s.store, since, (*os.File).Sync), s.unlock())
}
