package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/behalf-platform/behalf"
)

// remote is the server a client command speaks to.
type remote struct {
	*behalf.Client
	shell *shell
	wire  *wire
	json  bool
}

// connect readies a client with the settings of this run. It sends nothing.
func (s *shell) connect(cmd *cobra.Command) (*remote, error) {
	r, err := s.reach()
	if err != nil {
		return nil, err
	}
	if r.Token == "" {
		return nil, usagef("%s needs a credential: set BEHALF_TOKEN to an agent key (bhf_sk_…) or a member token (bhf_dev_…), or keep one with \"behalf config set token\"", cmd.CommandPath())
	}
	return r, nil
}

// reach is connect for what may need no credential.
func (s *shell) reach() (*remote, error) {
	if s.given.output != "table" && s.given.output != "json" {
		return nil, usagef("--output %q is unknown; use table or json", s.given.output)
	}
	if s.given.timeout <= 0 {
		return nil, usagef("--timeout must be more than 0")
	}
	var err error
	if s.used, err = s.settle(); err != nil {
		return nil, err
	}
	w := &wire{next: http.DefaultTransport}
	return &remote{
		Client: &behalf.Client{BaseURL: s.used.URL, Token: s.used.Token, HTTPClient: &http.Client{Transport: w}},
		shell:  s, wire: w, json: s.given.output == "json",
	}, nil
}

// once bounds one exchange by --timeout.
func (r *remote) once(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, r.shell.given.timeout)
}

// show prints the newest answer: as it came with --output json, else as people
// like it.
func (r *remote) show(people func(t *table)) error {
	if r.json {
		return r.print(r.wire.said.Bytes())
	}
	t := newTable(r.shell.out)
	people(t)
	return t.flush()
}

// print writes a document on a line of its own, if there is any.
func (r *remote) print(document []byte) error {
	document = bytes.TrimSpace(document)
	if len(document) == 0 {
		return nil
	}
	if _, err := r.shell.out.Write(append(document, '\n')); err != nil {
		return fmt.Errorf("write to standard output: %w", err)
	}
	return nil
}

// note tells a person something that is not part of the answer.
func (r *remote) note(format string, args ...any) {
	if !r.json {
		_, _ = fmt.Fprintf(r.shell.errs, format+"\n", args...) // it is not worth failing for
	}
}

// wire keeps what the newest answer said, byte for byte, for --output json.
type wire struct {
	next http.RoundTripper
	said bytes.Buffer
}

// RoundTrip sends a request on and listens to the answer's body.
func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := w.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	w.said.Reset()
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.TeeReader(resp.Body, &w.said), resp.Body}
	return resp, nil
}

// line takes the next line of a stream that isn't empty. There is one for each
// value the client yields.
func (w *wire) line() []byte {
	for {
		line, err := w.said.ReadBytes('\n')
		if line = bytes.TrimSpace(line); len(line) > 0 || err != nil {
			return line
		}
	}
}
