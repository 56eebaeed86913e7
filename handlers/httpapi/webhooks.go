package httpapi

import (
	"net/http"
	"strconv"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers"
)

// webhookRoutes is how what is about endpoints is served. All of it is for who
// manages the account: addresses, headers and answers may let others in.
func webhookRoutes() map[string]route {
	return map[string]route{
		"GET /v1/webhooks":              {serve: webhooks, asks: true},
		"POST /v1/webhooks":             {serve: createWebhook},
		"GET /v1/webhooks/{webhook}":    {serve: webhook},
		"PUT /v1/webhooks/{webhook}":    {serve: changeWebhook},
		"DELETE /v1/webhooks/{webhook}": {serve: deleteWebhook},

		"POST /v1/webhooks/{webhook}/pause":         {serve: pauseWebhook},
		"POST /v1/webhooks/{webhook}/resume":        {serve: resumeWebhook},
		"POST /v1/webhooks/{webhook}/disable":       {serve: disableWebhook},
		"POST /v1/webhooks/{webhook}/enable":        {serve: enableWebhook},
		"POST /v1/webhooks/{webhook}/rotate-secret": {serve: rotateWebhook},
		"POST /v1/webhooks/{webhook}/verify":        {serve: verifyWebhook},
		"POST /v1/webhooks/{webhook}/test":          {serve: testWebhook},

		"GET /v1/webhooks/{webhook}/status":       {serve: webhookStatus},
		"GET /v1/webhooks/{webhook}/attempts":     {serve: webhookAttempts, asks: true},
		"GET /v1/webhooks/{webhook}/dead-letters": {serve: webhookDeadLetters, asks: true},

		"POST /v1/webhooks/{webhook}/replays":                   {serve: requestWebhookReplay},
		"GET /v1/webhooks/{webhook}/replays":                    {serve: webhookReplays},
		"GET /v1/webhooks/{webhook}/replays/{webhookReplay}":    {serve: webhookReplay},
		"DELETE /v1/webhooks/{webhook}/replays/{webhookReplay}": {serve: cancelWebhookReplay},
	}
}

// webhookID is the endpoint of the path.
func (c *call) webhookID() domain.EndpointID { return domain.EndpointID(c.r.PathValue("webhook")) }

func (c *call) webhookReplayID() domain.ReplayID {
	return domain.ReplayID(c.r.PathValue("webhookReplay"))
}

// hooking is a member who may manage endpoints, with the body read.
func (c *call) hooking(into any) (handlers.Member, error) {
	by, err := c.caller.AsMember(domain.RoleAdmin)
	if err != nil {
		return by, err
	}
	return by, handlers.DecodeGrant(c.body, into)
}

// looking is a member who may manage endpoints, and reads one page of something.
func (c *call) looking(filters ...string) (by handlers.Member, query map[string]string, limit int, err error) {
	if by, err = c.caller.AsMember(domain.RoleAdmin); err != nil {
		return by, nil, 0, err
	}
	values, err := c.query(append(filters, "limit", "cursor")...)
	if err != nil {
		return by, nil, 0, err
	}
	query = map[string]string{}
	for name := range values {
		query[name] = values.Get(name)
	}
	limit, err = limitOf(values)
	return by, query, limit, err
}

// answerWebhook shows an endpoint, or what went wrong.
func (c *call) answerWebhook(status int, v handlers.WebhookView, err error) error {
	if err != nil {
		return err
	}
	c.w.Header().Set("ETag", `"`+strconv.FormatUint(v.Version, 10)+`"`)
	return c.answer(status, v)
}

// answerView shows a view, or what went wrong.
func (c *call) answerView(status int, view any, err error) error {
	if err != nil {
		return err
	}
	return c.answer(status, view)
}

func webhooks(c *call) error {
	by, query, limit, err := c.looking()
	if err != nil {
		return err
	}
	page, err := c.Webhooks.List(by, limit, domain.EndpointID(query["cursor"]))
	return c.answerView(http.StatusOK, page, err)
}

func webhook(c *call) error {
	by, err := c.caller.AsMember(domain.RoleAdmin)
	if err != nil {
		return err
	}
	view, err := c.Webhooks.Get(by, c.webhookID())
	return c.answerWebhook(http.StatusOK, view, err)
}

func createWebhook(c *call) error {
	var settings domain.EndpointSettings
	by, err := c.hooking(&settings)
	if err != nil {
		return err
	}
	view, err := c.Webhooks.Create(c.r.Context(), by, settings)
	return c.answerWebhook(http.StatusCreated, view, err)
}

func changeWebhook(c *call) error {
	var settings domain.EndpointSettings
	by, err := c.hooking(&settings)
	if err != nil {
		return err
	}
	version, err := handlers.VersionOf(c.r.Header.Get("If-Match"))
	if err != nil {
		return err
	}
	view, err := c.Webhooks.Change(c.r.Context(), by, c.webhookID(), settings, version)
	return c.answerWebhook(http.StatusOK, view, err)
}

func deleteWebhook(c *call) error {
	by, err := c.caller.AsMember(domain.RoleAdmin)
	if err != nil {
		return err
	}
	if err := c.Webhooks.Delete(c.r.Context(), by, c.webhookID()); err != nil {
		return err
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

func pauseWebhook(c *call) error {
	var in reasonIn
	by, err := c.optional().hooking(&in)
	if err != nil {
		return err
	}
	view, err := c.Webhooks.Pause(c.r.Context(), by, domain.PauseEndpoint{EndpointID: c.webhookID(), Reason: in.Reason})
	return c.answerWebhook(http.StatusOK, view, err)
}

func disableWebhook(c *call) error {
	var in reasonIn
	by, err := c.optional().hooking(&in)
	if err != nil {
		return err
	}
	view, err := c.Webhooks.Disable(c.r.Context(), by, c.webhookID(), in.Reason)
	return c.answerWebhook(http.StatusOK, view, err)
}

type resumeIn struct {
	From domain.ResumeFrom `json:"from"`
}

func resumeWebhook(c *call) error {
	var in resumeIn
	by, err := c.optional().hooking(&in)
	if err != nil {
		return err
	}
	view, err := c.Webhooks.Resume(c.r.Context(), by, domain.ResumeEndpoint{EndpointID: c.webhookID(), From: in.From})
	return c.answerWebhook(http.StatusOK, view, err)
}

func enableWebhook(c *call) error {
	var in resumeIn
	by, err := c.optional().hooking(&in)
	if err != nil {
		return err
	}
	view, err := c.Webhooks.Enable(c.r.Context(), by, domain.ResumeEndpoint{EndpointID: c.webhookID(), From: in.From})
	return c.answerWebhook(http.StatusOK, view, err)
}

func rotateWebhook(c *call) error {
	var in struct {
		Overlap *domain.Duration `json:"overlap"`
	}
	by, err := c.optional().hooking(&in)
	if err != nil {
		return err
	}
	view, err := c.Webhooks.Rotate(c.r.Context(), by, c.webhookID(), in.Overlap)
	return c.answerWebhook(http.StatusOK, view, err)
}

func verifyWebhook(c *call) error {
	by, err := c.optional().hooking(&struct{}{})
	if err != nil {
		return err
	}
	view, err := c.Webhooks.Verify(c.r.Context(), by, c.webhookID())
	return c.answerWebhook(http.StatusOK, view, err)
}

func testWebhook(c *call) error {
	by, err := c.optional().hooking(&struct{}{})
	if err != nil {
		return err
	}
	event, err := c.Webhooks.Test(c.r.Context(), by, c.webhookID())
	return c.answerView(http.StatusAccepted, struct {
		EventID domain.EventID `json:"eventId"`
	}{event}, err)
}

func webhookStatus(c *call) error {
	by, err := c.caller.AsMember(domain.RoleAdmin)
	if err != nil {
		return err
	}
	view, err := c.Webhooks.Status(c.r.Context(), by, c.webhookID())
	return c.answerView(http.StatusOK, view, err)
}

func webhookAttempts(c *call) error {
	by, query, limit, err := c.looking("outcome", "eventId", "replayId")
	if err != nil {
		return err
	}
	page, err := c.Webhooks.Attempts(c.r.Context(), by, c.webhookID(), handlers.AttemptQuery{
		PageQuery: handlers.PageQuery{Limit: limit, Cursor: query["cursor"]},
		Outcome:   handlers.AttemptOutcome(query["outcome"]), Event: domain.EventID(query["eventId"]), Replay: domain.ReplayID(query["replayId"]),
	})
	return c.answerView(http.StatusOK, page, err)
}

func webhookDeadLetters(c *call) error {
	by, query, limit, err := c.looking()
	if err != nil {
		return err
	}
	page, err := c.Webhooks.DeadLetters(c.r.Context(), by, c.webhookID(), handlers.PageQuery{Limit: limit, Cursor: query["cursor"]})
	return c.answerView(http.StatusOK, page, err)
}

func requestWebhookReplay(c *call) error {
	var in struct {
		domain.ReplaySelection
		RatePerSecond int `json:"ratePerSecond"`
	}
	by, err := c.hooking(&in)
	if err != nil {
		return err
	}
	view, err := c.Webhooks.RequestReplay(c.r.Context(), by, domain.RequestReplay{
		EndpointID: c.webhookID(), ReplaySelection: in.ReplaySelection, RatePerSecond: in.RatePerSecond,
	})
	if err != nil {
		return err
	}
	c.w.Header().Set("Location", "/v1/webhooks/"+string(c.webhookID())+"/replays/"+string(view.ReplayID))
	return c.answer(http.StatusAccepted, view)
}

func webhookReplays(c *call) error {
	by, err := c.caller.AsMember(domain.RoleAdmin)
	if err != nil {
		return err
	}
	views, err := c.Webhooks.Replays(c.r.Context(), by, c.webhookID())
	return c.answerView(http.StatusOK, struct {
		Replays []handlers.WebhookReplayView `json:"replays"`
	}{views}, err)
}

func webhookReplay(c *call) error {
	by, err := c.caller.AsMember(domain.RoleAdmin)
	if err != nil {
		return err
	}
	view, err := c.Webhooks.Replay(c.r.Context(), by, c.webhookID(), c.webhookReplayID())
	return c.answerView(http.StatusOK, view, err)
}

func cancelWebhookReplay(c *call) error {
	by, err := c.caller.AsMember(domain.RoleAdmin)
	if err != nil {
		return err
	}
	view, err := c.Webhooks.CancelReplay(c.r.Context(), by, c.webhookID(), c.webhookReplayID())
	return c.answerView(http.StatusOK, view, err)
}
