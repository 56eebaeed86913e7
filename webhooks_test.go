package behalf_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/behalf-platform/behalf"
)

func TestWebhooksAreAskedForAsTheServerExpects(t *testing.T) {
	t.Parallel()
	hour, none := behalf.Duration(time.Hour), behalf.Duration(0)
	settings := behalf.WebhookSettings{URL: "https://example.com/", Types: []string{"*"}}
	page := behalf.Page{Limit: 2, Cursor: "c"}
	since := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		want   string
		status int
		call   func(ctx context.Context, c *behalf.Client) error
	}{
		{"GET /v1/webhooks?cursor=c&limit=2  ", 200, func(ctx context.Context, c *behalf.Client) error { _, err := c.Webhooks(ctx, page); return err }},
		{"GET /v1/webhooks/w  ", 200, func(ctx context.Context, c *behalf.Client) error { _, err := c.Webhook(ctx, "w"); return err }},
		{`POST /v1/webhooks {"url":"https://example.com/","types":["*"]} `, 201, func(ctx context.Context, c *behalf.Client) error {
			_, err := c.CreateWebhook(ctx, settings)
			return err
		}},
		{`PUT /v1/webhooks/w {"url":"https://example.com/","types":["*"]} "7"`, 200, func(ctx context.Context, c *behalf.Client) error {
			_, err := c.ChangeWebhook(ctx, "w", settings, 7)
			return err
		}},
		{`PUT /v1/webhooks/w {"url":"https://example.com/","types":["*"]} `, 200, func(ctx context.Context, c *behalf.Client) error {
			_, err := c.ChangeWebhook(ctx, "w", settings, 0)
			return err
		}},
		{"DELETE /v1/webhooks/w  ", 204, func(ctx context.Context, c *behalf.Client) error { return c.DeleteWebhook(ctx, "w") }},
		{`POST /v1/webhooks/w/pause {"reason":"x"} `, 200, func(ctx context.Context, c *behalf.Client) error { _, err := c.PauseWebhook(ctx, "w", "x"); return err }},
		{`POST /v1/webhooks/w/resume {"from":"now"} `, 200, func(ctx context.Context, c *behalf.Client) error {
			_, err := c.ResumeWebhook(ctx, "w", behalf.FromNow)
			return err
		}},
		{`POST /v1/webhooks/w/disable {} `, 200, func(ctx context.Context, c *behalf.Client) error {
			_, err := c.DisableWebhook(ctx, "w", "")
			return err
		}},
		{`POST /v1/webhooks/w/enable {} `, 200, func(ctx context.Context, c *behalf.Client) error { _, err := c.EnableWebhook(ctx, "w", ""); return err }},
		{`POST /v1/webhooks/w/rotate-secret {} `, 200, func(ctx context.Context, c *behalf.Client) error {
			_, err := c.RotateWebhookSecret(ctx, "w", nil)
			return err
		}},
		{`POST /v1/webhooks/w/rotate-secret {"overlap":"1h"} `, 200, func(ctx context.Context, c *behalf.Client) error {
			_, err := c.RotateWebhookSecret(ctx, "w", &hour)
			return err
		}},
		{`POST /v1/webhooks/w/rotate-secret {"overlap":"0s"} `, 200, func(ctx context.Context, c *behalf.Client) error {
			_, err := c.RotateWebhookSecret(ctx, "w", &none)
			return err
		}},
		{`POST /v1/webhooks/w/verify {} `, 200, func(ctx context.Context, c *behalf.Client) error { _, err := c.VerifyWebhook(ctx, "w"); return err }},
		{`POST /v1/webhooks/w/test {} `, 202, func(ctx context.Context, c *behalf.Client) error { _, err := c.TestWebhook(ctx, "w"); return err }},
		{"GET /v1/webhooks/w/status  ", 200, func(ctx context.Context, c *behalf.Client) error { _, err := c.WebhookStatus(ctx, "w"); return err }},
		{"GET /v1/webhooks/w/attempts?cursor=c&eventId=e&limit=2&outcome=failed&replayId=r  ", 200, func(ctx context.Context, c *behalf.Client) error {
			_, err := c.WebhookAttempts(ctx, "w", behalf.AttemptQuery{Outcome: "failed", EventID: "e", ReplayID: "r", Page: page})
			return err
		}},
		{"GET /v1/webhooks/w/dead-letters?cursor=c&limit=2  ", 200, func(ctx context.Context, c *behalf.Client) error { _, err := c.DeadLetters(ctx, "w", page); return err }},
		{`POST /v1/webhooks/w/replays {"since":"2026-11-23T12:00:00Z","deadLetters":true,"ratePerSecond":5} `, 202, func(ctx context.Context, c *behalf.Client) error {
			_, err := c.RequestWebhookReplay(ctx, "w", behalf.ReplaySelection{Since: since, DeadLetters: true}, 5)
			return err
		}},
		{`POST /v1/webhooks/w/replays {"eventIds":["e"]} `, 202, func(ctx context.Context, c *behalf.Client) error {
			_, err := c.RequestWebhookReplay(ctx, "w", behalf.ReplaySelection{EventIDs: []string{"e"}}, 0)
			return err
		}},
		{"GET /v1/webhooks/w/replays  ", 200, func(ctx context.Context, c *behalf.Client) error { _, err := c.WebhookReplays(ctx, "w"); return err }},
		{"GET /v1/webhooks/w/replays/r  ", 200, func(ctx context.Context, c *behalf.Client) error {
			_, err := c.WebhookReplay(ctx, "w", "r")
			return err
		}},
		{"DELETE /v1/webhooks/w/replays/r  ", 200, func(ctx context.Context, c *behalf.Client) error {
			_, err := c.CancelWebhookReplay(ctx, "w", "r")
			return err
		}},
	} {
		var got string
		status := c.status
		client := handledBy(t, func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			got = fmt.Sprintf("%s %s %s %s", r.Method, r.URL.RequestURI(), body, r.Header.Get("If-Match"))
			w.WriteHeader(status)
			_, _ = io.WriteString(w, "{}")
		})
		if err := c.call(t.Context(), client); err != nil || got != c.want {
			t.Errorf("got  %s, %v\nwant %s", got, err, c.want)
		}
		status = 503
		if err := c.call(t.Context(), client); err == nil {
			t.Errorf("%s: got no error of a server that is unavailable", c.want)
		}
	}
}

func TestWebhooksAreReadAsTheServerAnswers(t *testing.T) {
	t.Parallel()
	w, err := serving(t, 200, `{"webhookId":"whe_1","url":"https://example.com/","ordering":"strict","ratePerSecond":5,"headers":[{"name":"X-A","value":"b"}],
		"format":"standard","signatures":["v1"],"status":"disabled","disabled":true,"disabledCode":"gone","verified":true,
		"keys":[{"version":2,"publicKey":"whpk_x"},{"version":1,"goodUntil":"2026-11-24T12:00:00Z"}],"createdAt":"2026-11-23T12:00:00Z",
		"updatedAt":"2026-11-23T12:00:00Z","version":7,"later":1}`).Webhook(t.Context(), "whe_1")
	if err != nil || w.Version != 7 || w.Headers[0].Value != "b" || w.Keys[1].GoodUntil.Day() != 24 || !w.Disabled || w.Ordering != "strict" {
		t.Errorf("got %+v, %v", w, err)
	}
	r, err := serving(t, 200, `{"replayId":"whr_1","state":"running","deadLetters":true,"ratePerSecond":10,"requestedBy":"member:m",
		"requestedAt":"2026-11-23T12:00:00Z","progress":{"delivered":3,"failed":1,"left":7}}`).WebhookReplay(t.Context(), "whe_1", "whr_1")
	if err != nil || !r.DeadLetters || r.Progress == nil || *r.Progress.Left != 7 {
		t.Errorf("got %+v, %v", r, err)
	}
}
