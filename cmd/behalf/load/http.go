package load

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// httpCaller asks over one HTTP/1.1 connection that it keeps alive. It is not
// net/http's client because that takes about as much processor time for a
// request as the server, which is to be measured on the same machine.
type httpCaller struct {
	urls    []*url.URL
	node    int // which of urls is asked
	path    string
	timeout time.Duration

	conn net.Conn // nil when the next call must connect
	in   *bufio.Reader
	out  []byte
	body []byte
}

// mostAnswer bounds an answer, in bytes.
const mostAnswer = 1 << 20

func newHTTPCaller(urls []string, worker int, path string, timeout time.Duration) (*httpCaller, error) {
	c := &httpCaller{node: worker % len(urls), path: path, timeout: timeout, in: bufio.NewReaderSize(nil, 4096)}
	for _, text := range urls {
		u, err := url.Parse(text)
		if err != nil {
			return nil, fmt.Errorf("the address of a node: %w", err)
		}
		c.urls = append(c.urls, u)
	}
	return c, nil
}

func (c *httpCaller) close() {
	if c.conn != nil {
		_ = c.conn.Close() // nothing is in flight
		c.conn = nil
	}
}

// call asks the caller's node. After a failure the next one is asked.
func (c *httpCaller) call(a *agent, body []byte) (status int, answer []byte, err error) {
	if c.conn == nil {
		if err := c.connect(); err != nil {
			c.node = (c.node + 1) % len(c.urls)
			return 0, nil, err
		}
	}
	keep := false
	defer func() {
		if err != nil {
			c.node = (c.node + 1) % len(c.urls)
		}
		if err != nil || !keep {
			c.close()
		}
	}()
	if err := c.conn.SetDeadline(time.Now().Add(c.timeout)); err != nil {
		return 0, nil, err
	}
	if _, err := c.conn.Write(c.request(a, body)); err != nil {
		return 0, nil, err
	}
	if status, keep, err = c.read(); err != nil {
		return 0, nil, err
	}
	return status, c.body, nil
}

func (c *httpCaller) connect() error {
	u := c.urls[c.node]
	ctx, cancel := context.WithTimeout(context.Background(), c.timeout)
	defer cancel()
	address, err := u.Host, error(nil)
	if u.Port() == "" {
		address = net.JoinHostPort(u.Hostname(), map[string]string{"http": "80", "https": "443"}[u.Scheme])
	}
	if u.Scheme == "https" {
		c.conn, err = new(tls.Dialer).DialContext(ctx, "tcp", address)
	} else {
		c.conn, err = new(net.Dialer).DialContext(ctx, "tcp", address)
	}
	if err != nil {
		c.conn = nil // not a nil of a type
		return err
	}
	c.in.Reset(c.conn)
	return nil
}

func (c *httpCaller) request(a *agent, body []byte) []byte {
	u := c.urls[c.node]
	b := append(c.out[:0], "POST "...)
	b = append(b, strings.TrimRight(u.Path, "/")...)
	b = append(b, c.path...)
	b = append(b, " HTTP/1.1\r\nHost: "...)
	b = append(b, u.Host...)
	b = append(b, "\r\nAuthorization: Bearer "...)
	b = append(b, a.key...)
	b = append(b, "\r\nContent-Type: application/json\r\nContent-Length: "...)
	b = strconv.AppendInt(b, int64(len(body)), 10)
	b = append(b, "\r\n\r\n"...)
	c.out = append(b, body...)
	return c.out
}

var errProtocol = errors.New("the answer is not HTTP/1.1 as expected")

// read reads one answer, and reports whether the connection can be used again.
func (c *httpCaller) read() (status int, keep bool, err error) {
	line, err := c.line()
	if err != nil {
		return 0, false, err
	}
	if len(line) < 12 || string(line[:9]) != "HTTP/1.1 " {
		return 0, false, errProtocol
	}
	if status, err = strconv.Atoi(string(line[9:12])); err != nil || status < 200 {
		return 0, false, errProtocol
	}
	length, chunked, keep := -1, false, true
	for {
		if line, err = c.line(); err != nil {
			return 0, false, err
		}
		if len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimSpace(value)
		switch {
		case is(name, "content-length"):
			if length, err = strconv.Atoi(string(value)); err != nil || length < 0 || length > mostAnswer {
				return 0, false, errProtocol
			}
		case is(name, "transfer-encoding"):
			chunked = is(value, "chunked")
		case is(name, "connection"):
			keep = !is(value, "close")
		}
	}
	switch {
	case chunked:
		return status, keep, c.readChunks()
	case length < 0:
		return 0, false, errProtocol
	}
	c.body = append(c.body[:0], make([]byte, length)...)
	_, err = io.ReadFull(c.in, c.body)
	return status, keep, err
}

// is reports whether a header's text is a word, in any case.
func is(text []byte, word string) bool { return bytes.EqualFold(text, []byte(word)) }

func (c *httpCaller) readChunks() (err error) {
	if c.body, err = io.ReadAll(io.LimitReader(httputil.NewChunkedReader(c.in), mostAnswer)); err != nil {
		return err
	}
	for { // the trailer, up to the empty line
		line, err := c.line()
		if err != nil || len(line) == 0 {
			return err
		}
	}
}

// line reads a line of the head, valid until the next read.
func (c *httpCaller) line() ([]byte, error) {
	line, err := c.in.ReadSlice('\n')
	if err != nil {
		return nil, err // a line over the buffer's size too
	}
	line = line[:len(line)-1]
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	return line, nil
}
