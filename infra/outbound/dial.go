package outbound

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
)

// stepError says in which step on the way to a connection it failed.
type stepError struct {
	category Category
	err      error
}

func (e *stepError) Error() string { return e.err.Error() }
func (e *stepError) Unwrap() error { return e.err }

// dial connects. Its ctx is not the delivery's own: another delivery may come to
// use the connection, so it is bounded here.
func (c *Client) dial(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	conn, err := c.dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, &stepError{ofDial(err), err}
	}
	return conn, nil
}

func (c *Client) dialTLS(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := c.dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	settings := c.tls.Clone()
	if settings.ServerName, _, err = net.SplitHostPort(address); err != nil {
		_ = conn.Close()
		return nil, &stepError{Connect, err}
	}
	secure := tls.Client(conn, settings)
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		if late(err) {
			return nil, &stepError{Timeout, err}
		}
		return nil, &stepError{TLS, err}
	}
	return secure, nil
}

func ofDial(err error) Category {
	var blocked *BlockedError
	var dns *net.DNSError
	switch {
	case errors.As(err, &blocked):
		return Blocked
	case errors.As(err, &dns):
		return DNS
	case late(err):
		return Timeout
	}
	return Connect
}

// ofExchange says what an error means that came instead of an answer.
func ofExchange(err error) Category {
	var step *stepError
	var op *net.OpError
	switch {
	case errors.As(err, &step):
		return step.category
	case errors.As(err, &op) && op.Op == "proxyconnect":
		return Connect
	case isTLS(err): // through a proxy, where the step is not ours
		return TLS
	case late(err):
		return Timeout
	case op != nil, errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return Dropped
	}
	return Protocol
}

func isTLS(err error) bool {
	var record tls.RecordHeaderError
	var alert tls.AlertError
	var certificate *tls.CertificateVerificationError
	var unknown x509.UnknownAuthorityError
	return errors.As(err, &record) || errors.As(err, &alert) || errors.As(err, &certificate) || errors.As(err, &unknown)
}

// late reports whether time ran out, be it a context's or a connection's.
func late(err error) bool {
	var waited interface{ Timeout() bool }
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) ||
		errors.As(err, &waited) && waited.Timeout()
}
