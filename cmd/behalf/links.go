package main

import (
	"context"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/behalf-platform/behalf"
)

// linkFlags are what a link is made with.
type linkFlags struct {
	label   string
	expires *behalf.Duration
}

func (l *linkFlags) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&l.label, "label", "", "whom the link is for; it is kept for ever")
	cmd.Flags().Var(span{&l.expires}, "expires", "how long the link lasts, such as 36h or 90d, at most 366d (default 30d)")
}

func (l *linkFlags) link() behalf.NewLink {
	n := behalf.NewLink{Label: l.label}
	if l.expires != nil {
		n.ExpiresIn = *l.expires
	}
	return n
}

func (s *shell) linkPassport() *cobra.Command {
	var made linkFlags
	var urlOnly bool
	cmd := s.command("link AGENT", "Make a link to an agent's passport, and show it once", func(ctx context.Context, r *remote, args []string) error {
		ctx, cancel := r.once(ctx)
		defer cancel()
		l, err := r.CreateLink(ctx, args[0], made.link())
		if err != nil {
			return err
		}
		if urlOnly {
			return r.print([]byte(l.URL))
		}
		return r.show(func(t *table) {
			t.field("Link", l.LinkID)
			t.field("Agent", l.AgentID)
			t.field("Label", l.Label)
			t.field("Expires", stamp(l.ExpiresAt))
			t.field("URL", l.URL)
			t.row("", "Keep it now: it is not shown again. Whoever has it can read the passport.")
		})
	})
	made.flags(cmd)
	cmd.Flags().BoolVar(&urlOnly, "url-only", false, "print the URL and nothing else, for scripts")
	return cmd
}

func (s *shell) listLinks() *cobra.Command {
	return s.command("links AGENT", "List the links to an agent's passport, and how often each was opened", func(ctx context.Context, r *remote, args []string) error {
		ctx, cancel := r.once(ctx)
		defer cancel()
		links, err := r.Links(ctx, args[0])
		if err != nil {
			return err
		}
		return r.show(func(t *table) {
			t.row("LINK", "STATUS", "EXPIRES", "VIEWS", "LAST VIEWED", "LABEL")
			for _, l := range links {
				views := "-"
				if l.Views != nil {
					views = strconv.FormatUint(*l.Views, 10)
				}
				t.row(l.LinkID, l.Status, stamp(l.ExpiresAt), views, orDash(stamp(l.LastViewedAt)), l.Label)
			}
		})
	})
}

func (s *shell) unlinkPassport() *cobra.Command {
	return s.command("unlink AGENT LINK", "Make a link show nothing any more, at once", func(ctx context.Context, r *remote, args []string) error {
		ctx, cancel := r.once(ctx)
		defer cancel()
		l, err := r.RevokeLink(ctx, args[0], args[1])
		if err != nil {
			return err
		}
		return r.show(func(t *table) {
			t.field("Link", l.LinkID)
			t.field("Status", l.Status)
		})
	})
}

func (s *shell) passportText() *cobra.Command {
	var made linkFlags
	var kind string
	cmd := s.command("text AGENT", "Write a passport as a text for an agent that can't ask by itself", func(ctx context.Context, r *remote, args []string) error {
		ctx, cancel := r.once(ctx)
		defer cancel()
		var text string
		switch kind {
		case "link":
			l, err := r.CreateLink(ctx, args[0], made.link())
			if err != nil {
				return err
			}
			text = l.Text
		case "memory", "task":
			if made.label != "" || made.expires != nil {
				return usagef("--label and --expires are for --kind link")
			}
			t, err := r.PassportText(ctx, args[0], kind)
			if err != nil {
				return err
			}
			text = t.Text
		default:
			return usagef("behalf passport text needs --kind: memory, task or link, not %q", kind)
		}
		if r.json {
			return r.print(r.wire.said.Bytes())
		}
		return r.print([]byte(text))
	})
	cmd.Long = `Write a passport as a text for an agent that can't ask by itself: memory, for what
it keeps between tasks; task, to put before one; link, which makes a link and says
what to do with it. Each has the version and the date of the passport. A text
enforces nothing.`
	cmd.Flags().StringVar(&kind, "kind", "", "memory, task or link")
	made.flags(cmd)
	return cmd
}
