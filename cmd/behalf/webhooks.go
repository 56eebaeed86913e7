package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/behalf-platform/behalf"
)

func (s *shell) webhooks() *cobra.Command {
	return s.group("webhooks", "Send what happens somewhere, and see what arrived",
		s.createWebhook(), s.listWebhooks(), s.showWebhook(), s.editWebhook(), s.deleteWebhook(),
		s.verifyWebhook(), s.testWebhook(), s.rotateWebhook(),
		s.pauseWebhook(), s.resumeWebhook(), s.disableWebhook(), s.enableWebhook(),
		s.webhookStatus(), s.webhookAttempts(), s.webhookDeadLetters(), s.replayWebhook(), s.webhookReplays())
}

// webhookFlags are a webhook's settings on the command line.
type webhookFlags struct {
	types, agents, headers, signatures, clear []string
	description, ordering, format             string
	rate                                      int
}

// clearable are the settings that can be taken away.
var clearable = []string{"type", "agent", "header", "description", "rate"}

func (w *webhookFlags) flags(f *pflag.FlagSet) {
	f.StringArrayVar(&w.types, "type", nil, `type of event to send, such as approval.requested, "approval.*" or "*" (may be repeated; default all but verification.allowed)`)
	f.StringArrayVar(&w.agents, "agent", nil, "agent whose events to send (may be repeated; default all, and the account's own)")
	f.StringVar(&w.description, "description", "", "what it is for")
	f.StringVar(&w.ordering, "ordering", "", "what waits for what: parallel (nothing; the default), per_agent or strict")
	f.IntVar(&w.rate, "rate", 0, "most events a second, 1 to 1000")
	f.StringArrayVar(&w.headers, "header", nil, "header of every message, as 'Name: value'; never a credential, since it is recorded (may be repeated)")
	f.StringVar(&w.format, "format", "", "shape of the messages: standard (Standard Webhooks; the default) or behalfid")
	f.StringArrayVar(&w.signatures, "signature", nil, "how messages are signed: v1 (HMAC) or v1a (Ed25519) (may be repeated; default both)")
}

// onto puts what was given over settings.
func (w *webhookFlags) onto(s behalf.WebhookSettings, given func(flag string) bool) (behalf.WebhookSettings, error) {
	for _, name := range w.clear {
		switch name {
		case "type":
			s.Types = nil
		case "agent":
			s.Agents = nil
		case "header":
			s.Headers = nil
		case "description":
			s.Description = ""
		case "rate":
			s.RatePerSecond = 0
		default:
			return s, usagef("--clear %q can't be taken away; use %s", name, strings.Join(clearable, ", "))
		}
		if given(name) {
			return s, usagef("--clear %s and --%s can't both be given", name, name)
		}
	}
	for _, set := range []struct {
		flag string
		set  func()
	}{
		{"type", func() { s.Types = w.types }},
		{"agent", func() { s.Agents = w.agents }},
		{"description", func() { s.Description = w.description }},
		{"ordering", func() { s.Ordering = w.ordering }},
		{"rate", func() { s.RatePerSecond = w.rate }},
		{"format", func() { s.Format = w.format }},
		{"signature", func() { s.Signatures = w.signatures }},
	} {
		if given(set.flag) {
			set.set()
		}
	}
	if !given("header") {
		return s, nil
	}
	s.Headers = nil
	for _, text := range w.headers {
		name, value, ok := strings.Cut(text, ":")
		if !ok {
			return s, usagef("--header %q has no colon; write it like 'X-Team: ops'", text)
		}
		s.Headers = append(s.Headers, behalf.WebhookHeader{Name: strings.TrimSpace(name), Value: strings.TrimSpace(value)})
	}
	return s, nil
}

func (s *shell) createWebhook() *cobra.Command {
	var w webhookFlags
	var secretOnly bool
	var cmd *cobra.Command
	cmd = s.command("create URL", "Send events to a URL; shows the secret, once", func(ctx context.Context, r *remote, args []string) error {
		settings, err := w.onto(behalf.WebhookSettings{URL: args[0]}, cmd.Flags().Changed)
		if err != nil {
			return err
		}
		return r.webhook(ctx, secretOnly, func(ctx context.Context) (behalf.Webhook, error) { return r.CreateWebhook(ctx, settings) })
	})
	cmd.Long = `Send events to a URL. Give the secret to whoever answers there: each message is
signed with it. Then "behalf webhooks verify"; nothing is sent before, and what
happens meanwhile is sent then.`
	cmd.Example = `  behalf webhooks create https://example.com/behalf
  behalf webhooks create https://example.com/behalf --type 'approval.*' --type verification.denied \
    --agent agent_ollie --ordering per_agent --rate 50 --header 'X-Team: ops'`
	w.flags(cmd.Flags())
	cmd.Flags().BoolVar(&secretOnly, "secret-only", false, "print the secret and nothing else, for scripts")
	return cmd
}

func (s *shell) listWebhooks() *cobra.Command {
	var p paging
	cmd := s.command("list", "List the webhooks, oldest first", func(ctx context.Context, r *remote, _ []string) error {
		return r.pages(&p, func(limit int, cursor string) (int, string, error) {
			ctx, cancel := r.once(ctx)
			defer cancel()
			page, err := r.Webhooks(ctx, behalf.Page{Limit: limit, Cursor: cursor})
			if err != nil {
				return 0, "", err
			}
			return len(page.Webhooks), page.NextCursor, r.show(func(t *table) {
				p.head(t, "WEBHOOK", "STATUS", "VERIFIED", "TYPES", "URL")
				for _, w := range page.Webhooks {
					t.row(w.WebhookID, w.Status, yesNo(w.Verified), orDash(strings.Join(w.Types, ",")), w.URL)
				}
			})
		})
	})
	p.flags(cmd.Flags())
	return cmd
}

func (s *shell) showWebhook() *cobra.Command {
	return s.command("show WEBHOOK", "Show a webhook", func(ctx context.Context, r *remote, args []string) error {
		return r.webhook(ctx, false, func(ctx context.Context) (behalf.Webhook, error) { return r.Webhook(ctx, args[0]) })
	})
}

func (s *shell) editWebhook() *cobra.Command {
	var w webhookFlags
	var cmd *cobra.Command
	cmd = s.command("edit WEBHOOK [URL]", "Change what is given of a webhook's settings", func(ctx context.Context, r *remote, args []string) error {
		return r.webhook(ctx, false, func(ctx context.Context) (behalf.Webhook, error) {
			now, err := r.Webhook(ctx, args[0])
			if err != nil {
				return now, err
			}
			if len(args) > 1 {
				now.URL = args[1]
			}
			settings, err := w.onto(now.WebhookSettings, cmd.Flags().Changed)
			if err != nil {
				return now, err
			}
			return r.ChangeWebhook(ctx, args[0], settings, now.Version)
		})
	})
	cmd.Long = `Change what is given of a webhook's settings; the rest stays. Another URL has to be
verified again. It is refused if somebody else changed the webhook at the same time.`
	w.flags(cmd.Flags())
	cmd.Flags().StringArrayVar(&w.clear, "clear", nil, "take a setting away: "+strings.Join(clearable, ", ")+" (may be repeated)")
	return cmd
}

func (s *shell) deleteWebhook() *cobra.Command {
	return s.command("delete WEBHOOK", "Send nothing there any more, and forget it", func(ctx context.Context, r *remote, args []string) error {
		ctx, cancel := r.once(ctx)
		defer cancel()
		if err := r.DeleteWebhook(ctx, args[0]); err != nil {
			return err
		}
		return r.show(func(t *table) {
			t.field("Webhook", args[0])
			t.field("Status", "deleted")
		})
	})
}

func (s *shell) verifyWebhook() *cobra.Command {
	cmd := s.command("verify WEBHOOK", "Ask the address whether it wants the events", func(ctx context.Context, r *remote, args []string) error {
		return r.webhook(ctx, false, func(ctx context.Context) (behalf.Webhook, error) { return r.VerifyWebhook(ctx, args[0]) })
	})
	cmd.Long = `Ask the address whether it wants the events. It is sent a message of type
webhook.challenge, signed as every other, and has to answer with 2xx and
{"challenge": "…"}, repeating the challenge in the message's data.`
	return cmd
}

func (s *shell) testWebhook() *cobra.Command {
	return s.command("test WEBHOOK", "Send a message that is only a test", func(ctx context.Context, r *remote, args []string) error {
		ctx, cancel := r.once(ctx)
		defer cancel()
		event, err := r.TestWebhook(ctx, args[0])
		if err != nil {
			return err
		}
		r.note("See what came of it: behalf webhooks attempts %s --event %s", args[0], event)
		return r.show(func(t *table) { t.field("Event", event) })
	})
}

func (s *shell) rotateWebhook() *cobra.Command {
	var overlap string
	var secretOnly bool
	cmd := s.command("rotate-secret WEBHOOK", "Sign with a new secret, and show it, once", func(ctx context.Context, r *remote, args []string) error {
		var both *behalf.Duration
		if overlap != "" {
			both = new(behalf.Duration)
			if err := both.UnmarshalText([]byte(overlap)); err != nil {
				return usagef("--overlap %q is not a length of time; write it like 24h, 90m or 0s", overlap)
			}
		}
		return r.webhook(ctx, secretOnly, func(ctx context.Context) (behalf.Webhook, error) {
			return r.RotateWebhookSecret(ctx, args[0], both)
		})
	})
	cmd.Flags().StringVar(&overlap, "overlap", "", "how long messages are signed with the old secret too, up to 168h; 0s ends it at once (default 24h)")
	cmd.Flags().BoolVar(&secretOnly, "secret-only", false, "print the secret and nothing else, for scripts")
	return cmd
}

func (s *shell) pauseWebhook() *cobra.Command {
	return s.stopWebhook("pause WEBHOOK", "Hold what there is to send", (*remote).PauseWebhook)
}

func (s *shell) disableWebhook() *cobra.Command {
	return s.stopWebhook("disable WEBHOOK", "Send nothing until it is enabled", (*remote).DisableWebhook)
}

func (s *shell) stopWebhook(use, short string, stop func(*remote, context.Context, string, string) (behalf.Webhook, error)) *cobra.Command {
	var reason string
	cmd := s.command(use, short, func(ctx context.Context, r *remote, args []string) error {
		return r.webhook(ctx, false, func(ctx context.Context) (behalf.Webhook, error) { return stop(r, ctx, args[0], reason) })
	})
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the record")
	return cmd
}

func (s *shell) resumeWebhook() *cobra.Command {
	return s.goOnWebhook("resume WEBHOOK", "End a pause", (*remote).ResumeWebhook)
}

func (s *shell) enableWebhook() *cobra.Command {
	return s.goOnWebhook("enable WEBHOOK", "Send to it again, whoever disabled it", (*remote).EnableWebhook)
}

func (s *shell) goOnWebhook(use, short string, goOn func(*remote, context.Context, string, behalf.ResumeFrom) (behalf.Webhook, error)) *cobra.Command {
	var skip bool
	cmd := s.command(use, short, func(ctx context.Context, r *remote, args []string) error {
		from := behalf.FromHeld
		if skip {
			from = behalf.FromNow
		}
		return r.webhook(ctx, false, func(ctx context.Context) (behalf.Webhook, error) { return goOn(r, ctx, args[0], from) })
	})
	cmd.Flags().BoolVar(&skip, "skip-held", false, "never send what was held; only what happens from now on")
	return cmd
}

// webhook does something with a webhook and shows it, or its new secret alone.
func (r *remote) webhook(ctx context.Context, secretOnly bool, do func(context.Context) (behalf.Webhook, error)) error {
	ctx, cancel := r.once(ctx)
	defer cancel()
	w, err := do(ctx)
	switch {
	case err != nil:
		return err
	case secretOnly && w.Secret == "":
		return fmt.Errorf("the answer holds no secret for webhook %s", w.WebhookID)
	case secretOnly:
		return r.print([]byte(w.Secret))
	}
	if !w.Verified {
		r.note("Nothing is sent before its address is verified: behalf webhooks verify %s", w.WebhookID)
	}
	return r.show(func(t *table) { showWebhook(t, w) })
}

func showWebhook(t *table, w behalf.Webhook) {
	t.field("Webhook", w.WebhookID)
	t.field("URL", w.URL)
	status := w.Status
	if w.DisabledCode != "" {
		status += " (" + w.DisabledCode + ")"
	}
	t.field("Status", status)
	t.field("Reason", w.Reason)
	t.field("Verified", yesNo(w.Verified))
	t.field("Description", w.Description)
	t.list("Types", slices.Clone(w.Types))
	t.list("Agents", slices.Clone(w.Agents))
	t.field("Ordering", w.Ordering)
	if w.RatePerSecond > 0 {
		t.field("Rate", fmt.Sprintf("%d a second", w.RatePerSecond))
	}
	for _, h := range w.Headers {
		t.field("Header", h.Name+": "+h.Value)
	}
	t.field("Format", w.Format)
	t.list("Signatures", w.Signatures)
	for _, k := range w.Keys {
		text := fmt.Sprintf("%d", k.Version)
		if k.PublicKey != "" {
			text += ", public key " + k.PublicKey
		}
		if !k.GoodUntil.IsZero() {
			text += ", good until " + stamp(k.GoodUntil)
		}
		t.field("Secret version", text)
	}
	t.field("Created", stamp(w.CreatedAt))
	t.field("Version", number(w.Version))
	if w.Secret != "" {
		t.field("Secret", w.Secret)
		t.row("", "Keep it now: it is not shown again.")
	}
}
