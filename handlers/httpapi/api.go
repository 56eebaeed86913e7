// Package httpapi is Behalf over HTTP. It translates; what may be done is
// decided by the handlers it calls.
package httpapi

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"sync"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers"
)

// API serves a desk over HTTP.
type API struct {
	desk *handlers.Desk
	logs *slog.Logger
	// stopping ends answers that would otherwise go on for ever.
	stopping context.Context
	mux      http.ServeMux
	replays  *handlers.Replays

	mu sync.Mutex
	// streams is guarded by mu: how many answers that don't end each credential has.
	streams map[domain.TokenHash]int
}

// New makes the API of a desk. Streaming answers end when stopping is done.
func New(stopping context.Context, desk *handlers.Desk, logs *slog.Logger) *API {
	a := &API{desk: desk, logs: logs, stopping: stopping, streams: map[domain.TokenHash]int{}}
	a.replays = &handlers.Replays{Log: desk.History.Log, Now: desk.Verifier.Now, Stopping: stopping}
	held := heldRoutes()
	for pattern, to := range routes() {
		to.held = held[pattern]
		a.mux.Handle(pattern, a.serve(to))
	}
	a.servePages()
	a.mux.HandleFunc("/", a.noRoute)
	return a
}

// Routes lists the patterns that are served, as net/http writes them.
func Routes() []string { return slices.Sorted(maps.Keys(routes())) }

// route is how one pattern is served.
type route struct {
	serve func(*call) error
	// asks says that it takes parameters behind the ?, and reads them by query.
	// Every other route takes none.
	asks bool
	// reads says that agents read it while they wait for people: it takes nothing
	// of what they may verify.
	reads bool
	// open needs no credential: what it tells is public.
	open bool
	// fail shows an error where it isn't shown as everywhere.
	fail func(*API, http.ResponseWriter, *http.Request, error)
	// held serves whoever holds a link's token instead, or nobody such if nil.
	held func(*call, handlers.Holder) error
}

// routes is how each pattern is served.
func routes() map[string]route {
	all := deskRoutes()
	maps.Copy(all, webhookRoutes())
	maps.Copy(all, authzenRoutes())
	maps.Copy(all, receiptRoutes())
	return all
}

func deskRoutes() map[string]route {
	return map[string]route{
		"POST /v1/verify":   {serve: verify},
		"POST /api/verify":  {serve: verifyReference},
		"POST /v1/preview":  {serve: preview, asks: true},
		"POST /v1/replays":  {serve: startReplay},
		"GET /v1/passport":  {serve: passport},
		"GET /v1/me":        {serve: me},
		"GET /v1/decisions": {serve: decisions, asks: true},

		"GET /v1/decisions/{request}": {serve: decision, asks: true},
		"GET /v1/decisions/totals":    {serve: decisionTotals, asks: true},
		"GET /v1/usage":               {serve: usage, asks: true},
		"GET /v1/events":              {serve: events, asks: true},

		"POST /v1/agents":                    {serve: registerAgent},
		"GET /v1/agents":                     {serve: agents, asks: true},
		"GET /v1/agents/{agent}":             {serve: agent},
		"GET /v1/agents/{agent}/passport":    {serve: agentPassport, asks: true},
		"GET /v1/agents/{agent}/history":     {serve: agentHistory, asks: true},
		"POST /v1/agents/{agent}/disable":    {serve: disableAgent},
		"POST /v1/agents/{agent}/enable":     {serve: enableAgent},
		"POST /v1/agents/{agent}/rotate-key": {serve: rotateKey},

		"GET /v1/agents/{agent}/permissions":                      {serve: permissions},
		"POST /v1/agents/{agent}/permissions":                     {serve: grant},
		"GET /v1/agents/{agent}/permissions/{permission}":         {serve: permission},
		"PUT /v1/agents/{agent}/permissions/{permission}":         {serve: replace},
		"POST /v1/agents/{agent}/permissions/{permission}/revoke": {serve: revoke},

		"POST /v1/agents/{agent}/links":               {serve: createLink},
		"GET /v1/agents/{agent}/links":                {serve: links},
		"POST /v1/agents/{agent}/links/{link}/revoke": {serve: revokeLink},
		"GET /v1/agents/{agent}/text":                 {serve: agentText, asks: true},

		"POST /v1/agents/{agent}/shadow":            {serve: startShadow},
		"GET /v1/agents/{agent}/shadow":             {serve: shadow},
		"GET /v1/agents/{agent}/shadow/differences": {serve: shadowDifferences, asks: true},
		"POST /v1/agents/{agent}/shadow/stop":       {serve: stopShadow},

		"GET /v1/approvals":                     {serve: approvals, reads: true, asks: true},
		"GET /v1/approvals/{approval}":          {serve: approval, reads: true, asks: true},
		"POST /v1/approvals/{approval}/approve": {serve: approve},
		"POST /v1/approvals/{approval}/deny":    {serve: deny},
		"POST /v1/approvals/{approval}/cancel":  {serve: cancel},

		"POST /v1/decisions/{request}/outcome": {serve: outcome},
		"GET /v1/reservations":                 {serve: reservations, reads: true, asks: true},

		"GET /v1/agents/{agent}/limits": {serve: agentLimits},
		"PUT /v1/agents/{agent}/limits": {serve: limitAgent},
		"PUT /v1/agents/{agent}/driver": {serve: drive},
		"GET /v1/account/limits":        {serve: accountLimits},
		"PUT /v1/account/limits":        {serve: limitAccount},

		"GET /v1/projections":                       {serve: projectionList},
		"POST /v1/projections/{projection}/rebuild": {serve: rebuildProjection},

		"GET /v1/replays/{replay}": {serve: replay},

		"GET /v1/account":   {serve: account},
		"PATCH /v1/account": {serve: changeAccount},

		"GET /v1/members":                        {serve: members},
		"POST /v1/members":                       {serve: addMember},
		"PATCH /v1/members/{member}":             {serve: changeRole},
		"POST /v1/members/{member}/rotate-token": {serve: rotateToken},
		"DELETE /v1/members/{member}":            {serve: removeMember},
	}
}

// Handler is the API as an http.Handler.
func (a *API) Handler() http.Handler { return &a.mux }

// call is one request on its way through.
type call struct {
	*handlers.Desk
	api    *API
	caller handlers.Caller
	w      http.ResponseWriter
	r      *http.Request
	body   []byte
}

var bodies = sync.Pool{New: func() any { b := make([]byte, 0, 4096); return &b }}

// serve admits the caller, reads the body, and shows what error there is.
func (a *API) serve(to route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := &call{Desk: a.desk, api: a, w: w, r: r}
		buffer := bodies.Get().(*[]byte)
		defer bodies.Put(buffer)
		var err error
		switch {
		case to.held != nil && handlers.HasLinkToken(r.Header.Get("Authorization")):
			err = c.held(buffer, to.held)
		default:
			if !to.open {
				err = c.admit(buffer, to.reads)
			}
			if err == nil && !to.asks {
				err = c.plain()
			}
			if err == nil {
				err = to.serve(c)
			}
		}
		switch {
		case err == nil:
		case to.fail != nil:
			to.fail(a, w, r, err)
		default:
			a.fail(w, r, err)
		}
	})
}

// admit reads the body before it asks whose the credential is: a body can be
// made to take its time, and what was true before it came is no longer.
func (c *call) admit(buffer *[]byte, reads bool) error {
	if err := c.read(buffer); err != nil {
		return err
	}
	admit := c.Admit
	if reads {
		admit = c.AdmitReader
	}
	var err error
	c.caller, err = admit(c.r.Context(), addressOf(c.r), c.r.Header.Get("Authorization"))
	return err
}

func (c *call) read(buffer *[]byte) (err error) {
	switch c.r.Method {
	case http.MethodGet, http.MethodHead, http.MethodDelete:
		return nil
	}
	if c.r.ContentLength == 0 {
		return nil // some acts need no more than their path
	}
	if kind := c.r.Header.Get("Content-Type"); kind != "application/json" {
		if media, _, err := mime.ParseMediaType(kind); err != nil || media != "application/json" {
			return domain.Reject(domain.MediaType, "the body must be JSON; send the header Content-Type: application/json")
		}
	}
	if c.r.Header.Get("Content-Encoding") != "" {
		return domain.Reject(domain.MediaType, "the body must not be compressed; leave the header Content-Encoding out")
	}
	c.body, err = readAll((*buffer)[:0], c.r.Body)
	*buffer = c.body
	return err
}

// readAll reads a body into a buffer, up to one byte more than is taken.
func readAll(b []byte, body io.Reader) ([]byte, error) {
	for {
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
		n, err := body.Read(b[len(b):min(cap(b), handlers.MaxBody+1)])
		b = b[:len(b)+n]
		switch {
		case len(b) > handlers.MaxBody:
			return b[:0], handlers.ErrTooLarge
		case errors.Is(err, io.EOF):
			return b, nil
		case err != nil:
			return b[:0], domain.Reject(domain.Invalid, "the body could not be read to its end")
		}
	}
}

// fail shows an error. What a rule says is for the caller; what broke is for
// our logs, and the caller learns only that nothing is allowed.
func (a *API) fail(w http.ResponseWriter, r *http.Request, err error) {
	f := a.fault(w, r, err)
	body, err := handlers.EncodeFault(f)
	if err != nil {
		a.logs.ErrorContext(r.Context(), "encode error body", slog.Any("error", err))
		body = []byte(`{"allowed":false}`)
	}
	send(w, f.Status, body)
}

// fault is how an error is shown, with the headers that go with it, and told to
// the operator if it is ours.
func (a *API) fault(w http.ResponseWriter, r *http.Request, err error) handlers.Fault {
	f := handlers.FaultOf(err)
	if f.Status >= 500 {
		a.desk.Faults.Tell(r.Context(), "http", err)
	}
	if f.Retry > 0 {
		w.Header().Set("Retry-After", f.RetryAfter())
	}
	if f.Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="behalf"`)
	}
	return f
}

// noRoute answers in the shape of every other error what the mux would answer
// in plain text.
func (a *API) noRoute(w http.ResponseWriter, r *http.Request) {
	for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE"} {
		probe := r.Clone(r.Context())
		probe.Method = method
		if _, pattern := a.mux.Handler(probe); pattern != "/" {
			w.Header().Add("Allow", method)
		}
	}
	f := handlers.Fault{Status: http.StatusNotFound, Code: string(domain.NotFound), Message: "there is nothing at this path"}
	if allow := w.Header().Values("Allow"); len(allow) > 0 {
		f = handlers.Fault{Status: http.StatusMethodNotAllowed, Code: "METHOD_NOT_ALLOWED", Message: "this path does not take " + r.Method + "; see the header Allow"}
	}
	body, err := handlers.EncodeFault(f)
	if err != nil {
		a.logs.ErrorContext(r.Context(), "encode error body", slog.Any("error", err))
	}
	send(w, f.Status, body)
}

func send(w http.ResponseWriter, status int, body []byte) { sendAs(w, jsonType, status, body) }

func sendAs(w http.ResponseWriter, kind []string, status int, body []byte) {
	h := w.Header()
	h["Content-Type"] = kind
	h["Cache-Control"] = noStore
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(status)
	_, _ = w.Write(body) // the caller has gone; there is nobody to tell
}

var (
	jsonType = []string{"application/json"}
	noStore  = []string{"no-store"}
)

// answer sends a view.
func (c *call) answer(status int, view any) error {
	body, err := handlers.Encode(view)
	if err != nil {
		return err
	}
	send(c.w, status, body)
	return nil
}

// agentID is the agent of the path. One that can't be an id is like one that is
// not there.
func (c *call) agentID() (domain.AgentID, error) {
	id := c.r.PathValue("agent")
	if !domain.ValidID(id) {
		return "", domain.Reject(domain.NotFound, "no such agent; an id is 1 to 64 of A-Z a-z 0-9 _ and -")
	}
	return domain.AgentID(id), nil
}
