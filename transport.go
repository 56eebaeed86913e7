package behalf

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/net/http/httpguts"
	"golang.org/x/net/idna"
)

// Transport is an [http.RoundTripper] that verifies each request before it is
// sent, each redirect that is followed included. What isn't allowed isn't sent,
// and ends with [*Denied], [*ApprovalRequired] or [*Unavailable], within the
// [*url.Error] of an [http.Client].
//
// Outcomes are reported by the status: executed below 400, failed below 500, and
// above, or without an answer, nothing, since nobody knows what was done. What
// the Client itself asks passes, should it come this way.
type Transport struct {
	Client *Client
	// Base sends what was allowed; nil stands for [http.DefaultTransport].
	Base http.RoundTripper
	// Ask says what to ask before a request is sent; nil stands for [AskOf]. It
	// gets what will be sent, a copy of the caller's request: an Ask that reads
	// the body has to close it and put another in its place. After an error
	// nothing is sent.
	Ask     func(*http.Request) (Ask, error)
	Options []GuardOption
}

// RoundTrip verifies a request, and sends it if it was allowed.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	base := t.Base
	if base == nil {
		base = http.DefaultTransport
	}
	if t.Client.asks(r) && base != t {
		return base.RoundTrip(r)
	}
	r = r.Clone(r.Context()) // whatever becomes of the caller's while a person is asked
	var resp *http.Response
	sent, done := false, false
	g := newGuard(t.Client, t.Options)
	g.shared = true
	ask, err := t.ask(r, base)
	if err != nil {
		err = &Unavailable{Err: err}
		g.tell(r.Context(), err)
	} else {
		err = g.do(r.Context(), ask, func(context.Context, Packet) (end ending, err error) {
			sent = true
			resp, err = base.RoundTrip(r)
			done = err == nil
			return answered(resp, err), err
		})
	}
	if !sent && r.Body != nil {
		_ = r.Body.Close() // nobody else does
	}
	if done {
		return resp, nil // it was done, even if that could not be reported
	}
	return nil, err
}

func (t *Transport) ask(r *http.Request, base http.RoundTripper) (Ask, error) {
	switch {
	case base == http.RoundTripper(t):
		return Ask{}, errors.New("the Transport has itself as its Base")
	case t.Ask != nil:
		return t.Ask(r)
	}
	return AskOf(r)
}

func answered(resp *http.Response, err error) ending {
	switch {
	case err != nil && unsent(err):
		return failed
	case err != nil:
		return unknown
	}
	return endingByStatus(resp.StatusCode)
}

func endingByStatus(status int) ending {
	switch {
	case status >= 500:
		return unknown
	case status >= 400:
		return failed
	}
	return executed
}

// AskOf is what is asked before an outbound request: the action is http. and the
// method in lower case ("http.get"), the vendor the host, with its port unless it
// is the usual one, and the resource the URL without user information, query and
// fragment ("https://api.example.com/v1/orders"). A query is in the arguments, as
// a digest, so that an approval is good for that query only; header and body are
// in nothing that is asked: say more with an Ask of your own where they matter.
//
// What could reach another place than the one it names is an error: a Host that
// is not the URL's, an opaque URL, and dot segments, however they are written.
func AskOf(r *http.Request) (Ask, error) {
	u := r.URL
	if u == nil || u.Opaque != "" || u.Scheme != "http" && u.Scheme != "https" {
		return Ask{}, errors.New("the request has no http or https URL with a host")
	}
	host, err := vendorOf(u.Scheme, u.Host)
	if err != nil {
		return Ask{}, err
	}
	if r.Host != "" {
		if named, err := vendorOf(u.Scheme, r.Host); err != nil || named != host {
			return Ask{}, fmt.Errorf("the request is for the host %q and sent to %q", r.Host, u.Host)
		}
	}
	path := u.EscapedPath()
	if path == "" {
		path = "/"
	}
	if !strings.HasPrefix(path, "/") || strays(u.Path) {
		return Ask{}, fmt.Errorf("the path %q has dot segments, or doesn't begin at the root", path)
	}
	ask := Ask{
		Action: "http." + strings.ToLower(orGet(r.Method)), Vendor: host,
		Resource: u.Scheme + "://" + host + path,
	}
	if u.RawQuery != "" {
		sum := sha256.Sum256([]byte(u.RawQuery))
		ask.Arguments = map[string]string{"querySha256": hex.EncodeToString(sum[:])}
	}
	return ask, nil
}

func orGet(method string) string {
	if method == "" {
		return http.MethodGet
	}
	return method
}

// vendorOf is a host without the usual port. Where net/http would look up another
// name than it sends, there is none.
func vendorOf(scheme, host string) (string, error) {
	ascii, err := httpguts.PunycodeHostPort(host)
	if err != nil {
		return "", fmt.Errorf("the host %q: %w", host, err)
	}
	if ascii != host {
		looked, err := idna.Lookup.ToASCII((&url.URL{Host: host}).Hostname())
		if err != nil || looked != (&url.URL{Host: ascii}).Hostname() {
			return "", fmt.Errorf("the host %q can be read in more than one way; write it as xn--…", host)
		}
	}
	ascii = strings.TrimSuffix(strings.ToLower(ascii), ":")
	usual := ":80"
	if scheme == "https" {
		usual = ":443"
	}
	if ascii = strings.TrimSuffix(ascii, usual); ascii == "" {
		return "", errors.New("the request has no host")
	}
	return ascii, nil
}

// strays reports whether a server could take a path, once it has decoded it, be
// it twice, for one that lies elsewhere.
func strays(path string) bool {
	for segment := range strings.FieldsFuncSeq(path, func(c rune) bool { return c == '/' || c == '\\' }) {
		segment, _, _ = strings.Cut(segment, ";")
		if segment == "." || segment == ".." {
			return true
		}
	}
	again, err := url.PathUnescape(path)
	return err == nil && again != path && strays(again)
}
