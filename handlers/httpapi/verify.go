package httpapi

import (
	"net/http"

	"github.com/behalf-platform/behalf/domain"
)

func verify(c *call) error {
	r, err := c.VerifyFor(c.r.Context(), c.caller, c.body)
	if err != nil {
		return err
	}
	return c.answerDecision(r)
}

// verifyReference is verify for clients of the reference API.
func verifyReference(c *call) error {
	r, err := c.VerifyReferenceFor(c.r.Context(), c.caller, c.body)
	if err != nil {
		return err
	}
	return c.answerDecision(r)
}

func (c *call) answerDecision(r domain.Recorded) error {
	buffer := bodies.Get().(*[]byte)
	defer bodies.Put(buffer)
	body, retryAfter, err := c.EncodeAnswer((*buffer)[:0], r)
	if err != nil {
		return err
	}
	*buffer = body
	if retryAfter != "" {
		c.w.Header().Set("Retry-After", retryAfter)
	}
	send(c.w, http.StatusOK, body)
	return nil
}

func passport(c *call) error {
	view, err := c.PassportFor(c.r.Context(), c.caller)
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, view)
}

// me says whose credential this is.
func me(c *call) error {
	if err := c.Still(c.r.Context(), c.caller); err != nil {
		return err
	}
	type view struct {
		Kind      string           `json:"kind"`
		ID        string           `json:"id"`
		AccountID domain.AccountID `json:"accountId"`
		Role      domain.Role      `json:"role,omitempty"`
	}
	if c.caller.IsAgent() {
		s := c.caller.Agent
		return c.answer(http.StatusOK, view{Kind: "agent", ID: string(s.Agent), AccountID: s.Account})
	}
	m := c.caller.Member
	return c.answer(http.StatusOK, view{Kind: "member", ID: string(m.ID), AccountID: m.Account, Role: m.Role})
}
