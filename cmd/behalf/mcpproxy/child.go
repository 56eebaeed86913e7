package mcpproxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"time"

	"github.com/behalf-platform/behalf/cmd/behalf/before"
)

// Run starts the server, passes on between it and the client until it ends, and
// returns its exit code. When the client ends, or ctx is done, the server's
// standard input is closed, which tells it to end. A client that ctx ends may
// still be read from when Run returns: reading can't be interrupted.
func (p *Proxy) Run(ctx context.Context, server *exec.Cmd, in io.Reader, out io.Writer) (code int, err error) {
	asking, stop := context.WithCancel(context.WithoutCancel(ctx)) // the server may outlive a signal
	defer stop()
	toServer, err := server.StdinPipe()
	if err != nil {
		return 0, fmt.Errorf("start the server: %w", err)
	}
	s := p.open(asking, toServer, out)
	from := &fromServer{session: s, broken: make(chan error, 1)}
	server.Stdout = from
	server.WaitDelay = stragglers
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, caught()...)
	defer signal.Stop(signals)
	if err := server.Start(); err != nil {
		return 0, fmt.Errorf("start the server: %w", err)
	}
	client, ended := make(chan error, 1), make(chan error, 1)
	go func() { client <- s.read(in) }()
	go func() { ended <- server.Wait() }()
	done := ctx.Done()
	finished := make(chan struct{})
	defer func() { <-finished }()
	var finishing bool
	finish := func() { // once the client sends no more, and what it sent is decided
		if !finishing {
			finishing = true
			go func() { defer close(finished); s.end(); _ = toServer.Close() }()
		}
	}
	for {
		select {
		case sig := <-signals:
			passOn(server.Process, sig)
		case err := <-client:
			if err != nil {
				p.tell(err)
			}
			finish()
		case err := <-from.broken: // it may not notice by itself, and the client wait for ever
			p.tell(err)
			finish()
		case <-done:
			done = nil
			finish()
		case err := <-ended:
			stop()
			finish()
			from.flush()
			s.listing.Wait()
			_, failed := errors.AsType[*exec.ExitError](err)
			if err != nil && !failed && !errors.Is(err, exec.ErrWaitDelay) {
				return 0, fmt.Errorf("pass on what the server says: %w", err)
			}
			return ending(server.ProcessState), nil
		}
	}
}

// tell tells a person what went wrong.
func (p *Proxy) tell(err error) {
	if p.Notes != nil {
		_, _ = fmt.Fprintln(p.Notes, "behalf:", before.Plain(err.Error())) // it is not worth failing for
	}
}

// stragglers is how long what a server started may hold on to its output.
const stragglers = 2 * time.Second

// Environment is what a server inherits: all but our credentials, which are not
// its to use.
func Environment(all []string) (kept []string) {
	for _, variable := range all {
		name, _, _ := strings.Cut(variable, "=")
		if !strings.EqualFold(name, "BEHALF_TOKEN") && !strings.EqualFold(name, "BEHALF_OWNER_TOKEN") {
			kept = append(kept, variable)
		}
	}
	return kept
}
