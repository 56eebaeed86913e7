package mcpserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// Serve serves the tools over in and out until in ends or ctx is done. What came
// before in ended is answered, but for what takes longer than Timeout.
func (t *Tools) Serve(ctx context.Context, in io.Reader, out io.Writer) error {
	err := t.Server().Run(ctx, &stdio{in, out, t.Timeout})
	if ctx.Err() != nil || err == nil || errors.Is(err, io.EOF) {
		return nil // it was told to end
	}
	return fmt.Errorf("read what the client sends: %w", err)
}

// stdio is a transport that ends once all is answered.
type stdio struct {
	in   io.Reader
	out  io.Writer
	last time.Duration
}

// Connect is the one connection over it.
func (s *stdio) Connect(ctx context.Context) (mcp.Connection, error) {
	conn, err := (&mcp.IOTransport{Reader: io.NopCloser(s.in), Writer: unclosed{s.out}}).Connect(ctx)
	if err != nil {
		return nil, err
	}
	return &lingering{Connection: conn, last: s.last, answered: make(chan struct{}, 1), closed: make(chan struct{})}, nil
}

// unclosed is a writer that is not ours to close.
type unclosed struct{ io.Writer }

func (unclosed) Close() error { return nil }

// lingering is a connection whose input ends only once what came is answered:
// its end stops the calls that are under way, and a client that has sent all it
// had still reads.
type lingering struct {
	mcp.Connection
	last     time.Duration // to wait for answers
	answered chan struct{} // told, if there is room, after each
	closed   chan struct{}
	close    sync.Once

	mu sync.Mutex
	// open is guarded by mu: how many requests have no answer yet.
	open int
}

func (c *lingering) count(by int) (open int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open += by
	return c.open
}

// Read reads a message.
func (c *lingering) Read(ctx context.Context) (jsonrpc.Message, error) {
	message, err := c.Connection.Read(ctx)
	if r, ok := message.(*jsonrpc.Request); err == nil && ok && r.IsCall() {
		c.count(1)
	}
	if !errors.Is(err, io.EOF) {
		return message, err
	}
	late := time.NewTimer(c.last)
	defer late.Stop()
	for c.count(0) > 0 {
		select {
		case <-c.answered:
		case <-late.C:
			return message, err
		case <-c.closed:
			return message, err
		case <-ctx.Done():
			return message, err
		}
	}
	return message, err
}

// Write writes a message.
func (c *lingering) Write(ctx context.Context, message jsonrpc.Message) error {
	err := c.Connection.Write(ctx, message)
	if _, ok := message.(*jsonrpc.Response); ok {
		c.count(-1)
		select {
		case c.answered <- struct{}{}:
		default: // it is told already
		}
	}
	return err
}

// Close ends the connection.
func (c *lingering) Close() error {
	c.close.Do(func() { close(c.closed) })
	return c.Connection.Close()
}
