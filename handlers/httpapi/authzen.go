package httpapi

import (
	"context"
	"errors"
	"net/http"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers"
	"github.com/behalf-platform/behalf/handlers/authzen"
)

// authzenRoutes is how AuthZEN is served. Its errors are texts.
func authzenRoutes() map[string]route {
	post := func(answer func(authzen.PDP, context.Context, handlers.Caller, []byte) (any, error), reads bool) route {
		return route{reads: reads, fail: (*API).failAuthzen, serve: func(c *call) error {
			view, err := answer(c.pdp(), c.r.Context(), c.caller, c.body)
			if err != nil {
				return err
			}
			return c.answerAuthzen(http.StatusOK, view)
		}}
	}
	return map[string]route{
		"POST " + authzen.EvaluationPath: post(func(p authzen.PDP, ctx context.Context, c handlers.Caller, body []byte) (any, error) {
			return p.Evaluate(ctx, c, body)
		}, false),
		"POST " + authzen.EvaluationsPath: post(authzen.PDP.EvaluateAll, false),
		"POST " + authzen.SubjectSearchPath: post(func(p authzen.PDP, ctx context.Context, c handlers.Caller, body []byte) (any, error) {
			return p.Subjects(ctx, c, body)
		}, true),
		"POST " + authzen.ResourceSearchPath: post(func(p authzen.PDP, ctx context.Context, c handlers.Caller, body []byte) (any, error) {
			return p.Resources(ctx, c, body)
		}, true),
		"POST " + authzen.ActionSearchPath: post(func(p authzen.PDP, ctx context.Context, c handlers.Caller, body []byte) (any, error) {
			return p.Actions(ctx, c, body)
		}, true),
		"POST " + authzen.RequestsPath:                {serve: requestAccess, reads: true, fail: (*API).failAuthzen},
		"GET " + authzen.RequestsPath + "/{approval}": {serve: accessTask, reads: true, fail: (*API).failAuthzen},
		"GET " + authzen.ConfigurationPath:            {serve: authzenConfiguration, open: true, fail: (*API).failAuthzen},
	}
}

// pdp answers under the address that the caller used. Behind a proxy with TLS,
// that is what the proxy says of it; a lie would reach nobody but the liar.
func (c *call) pdp() authzen.PDP {
	scheme := "http"
	if c.r.TLS != nil || c.r.Header.Get("X-Forwarded-Proto") == "https" {
		scheme = "https"
	}
	return authzen.PDP{Desk: c.Desk, Base: scheme + "://" + c.r.Host}
}

func (c *call) answerAuthzen(status int, view any) error {
	echo(c.w, c.r)
	return c.answer(status, view)
}

// echo gives a request's own id back.
func echo(w http.ResponseWriter, r *http.Request) {
	if id := r.Header.Get("X-Request-ID"); id != "" {
		w.Header().Set("X-Request-ID", id)
	}
}

func requestAccess(c *call) error {
	view, err := c.pdp().Request(c.r.Context(), c.caller, c.body)
	if err != nil {
		return err
	}
	c.w.Header().Set("Location", view.Task.StatusEndpoint)
	return c.answerAuthzen(http.StatusCreated, view)
}

func accessTask(c *call) error {
	view, err := c.pdp().Task(c.r.Context(), c.caller, domain.ApprovalID(c.r.PathValue("approval")))
	if err != nil {
		return err
	}
	return c.answerAuthzen(http.StatusOK, view)
}

func authzenConfiguration(c *call) error {
	return c.answerAuthzen(http.StatusOK, c.pdp().Configuration())
}

var (
	textType    = []string{"text/plain; charset=utf-8"}
	problemType = []string{"application/problem+json"}
)

// failAuthzen shows an error as AuthZEN has it: a text, or one of the problems
// that the profile for approvals names. Neither has a decision in it.
func (a *API) failAuthzen(w http.ResponseWriter, r *http.Request, err error) {
	echo(w, r)
	if p, ok := errors.AsType[*authzen.Problem](err); ok {
		body, err := handlers.Encode(p)
		if err == nil {
			sendAs(w, problemType, p.Status, body)
			return
		}
	}
	f := a.fault(w, r, err)
	if f.Status == http.StatusUnsupportedMediaType { // which AuthZEN has no place for
		f.Status = http.StatusBadRequest
	}
	sendAs(w, textType, f.Status, []byte(authzen.Message(f)+"\n"))
}
