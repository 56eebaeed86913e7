package httpapi

import (
	"net/http"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers"
)

// at is the moment of the past that a request is about, empty for now.
func (c *call) at() (string, error) {
	if c.r.URL.RawQuery == "" {
		return "", nil
	}
	query, err := c.query("at")
	if err != nil {
		return "", err
	}
	if query.Get("at") == "" {
		return "", domain.RejectField(domain.Invalid, "/at", "is empty; send a time, a position or a passport version, or leave it out")
	}
	return query.Get("at"), nil
}

func preview(c *call) error {
	at, err := c.at()
	if err != nil {
		return err
	}
	var view handlers.PreviewView
	if at == "" {
		view, err = c.PreviewFor(c.r.Context(), c.caller, c.body)
	} else {
		view, err = c.PreviewAtFor(c.r.Context(), c.caller, c.body, at)
	}
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, view)
}

func agentPassport(c *call) error {
	at, err := c.at()
	if err != nil {
		return err
	}
	if at != "" {
		id, err := c.agentID()
		if err != nil {
			return err
		}
		view, err := c.PassportAtFor(c.r.Context(), c.caller, id, at)
		if err != nil {
			return err
		}
		return c.answer(http.StatusOK, view)
	}
	a, err := c.found()
	if err != nil {
		return err
	}
	view, err := c.PassportOf(a)
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, view)
}
