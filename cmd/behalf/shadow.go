package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"

	"github.com/behalf-platform/behalf"
	"github.com/behalf-platform/behalf/domain"
)

func (s *shell) shadow() *cobra.Command {
	cmd := s.group("shadow", "Try permissions beside the real ones, on live traffic",
		s.startShadow(), s.shadowStatus(), s.shadowDifferences(), s.stopShadow())
	cmd.Long = `Try permissions beside the real ones, on live traffic. Each request of the agent
is decided once more under the candidate, after it has its answer; what comes of
that is counted, and the agent never sees it.`
	return cmd
}

func (s *shell) startShadow() *cobra.Command {
	var file, long, note string
	cmd := s.command("start AGENT", "Run a candidate beside an agent's permissions", func(ctx context.Context, r *remote, args []string) error {
		if file == "" {
			return usagef("behalf shadow start needs -f with a candidate")
		}
		lasts, err := daysOf(long)
		if err != nil {
			return err
		}
		candidate, err := readShadowCandidate(file, args[0], s.in)
		if err != nil {
			return err
		}
		return r.shadowed(ctx, func(ctx context.Context) (behalf.Shadow, error) {
			return r.StartShadowJSON(ctx, args[0], candidate, behalf.ShadowOptions{For: lasts, Note: note})
		})
	})
	cmd.Long = `Run a candidate beside an agent's permissions, in place of one that runs. The file
has what is otherwise: add, replace (by permission id), remove, only, limits. A
file of "behalf replay --what-if" and a passport file are taken too; of the
latter, what it has for the agent is all the shadow has.`
	cmd.Example = `  behalf shadow start agent_ollie -f candidate.yaml --for 7d --note "lower limit"`
	f := cmd.Flags()
	f.StringVarP(&file, "file", "f", "", `file with the candidate, "-" for standard input`)
	f.StringVar(&long, "for", "7d", "how long it runs, such as 36h or 7d, at most 90d")
	f.StringVar(&note, "note", "", "what it is for, for the record")
	return cmd
}

// daysOf reads a length of time that may be in days.
func daysOf(text string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			return time.Duration(n) * 24 * time.Hour, nil
		}
	}
	var d domain.Duration
	if err := d.UnmarshalText([]byte(text)); err != nil || d == 0 {
		return 0, usagef("--for %q is no length of time; use one such as 36h or 7d", text)
	}
	return time.Duration(d), nil
}

// readShadowCandidate reads a candidate for one agent as JSON, strictly. Faults
// have their lines.
func readShadowCandidate(path, agent string, in io.Reader) ([]byte, error) {
	name, text, err := readText(path, in)
	if err != nil {
		return nil, err
	}
	root, err := readTree(name, text)
	if err == nil {
		var candidate []byte
		if candidate, err = shadowCandidateOf(name, agent, root); err == nil {
			return candidate, nil
		}
	}
	return nil, usagef("%v", err)
}

func shadowCandidateOf(name, agent string, root *written) ([]byte, error) {
	if err := root.isObject(name, "a candidate"); err != nil {
		return nil, err
	}
	agents := root.member("agents")
	switch {
	case agents == nil:
		_, err := agentCandidateOf(name, root)
		return root.json(nil), err
	case agents.kind == '[':
		return shadowOfPassport(name, agent, root)
	}
	c, err := candidateOf(name, root)
	if err != nil {
		return nil, err
	}
	if _, ok := c.Agents[domain.AgentID(agent)]; !ok || len(c.Agents) > 1 {
		return nil, &fileFault{name, agents.line, fmt.Sprintf("must have a candidate for %s, and for no other agent", agent)}
	}
	return agents.items[0].json(nil), nil
}

// shadowOfPassport is all that a passport file has for an agent.
func shadowOfPassport(name, agent string, root *written) ([]byte, error) {
	f, err := passportOf(name, root)
	if err != nil {
		return nil, err
	}
	for _, a := range f.agents {
		if string(a.id) != agent {
			continue
		}
		b := []byte(`{"only":true`)
		for i, p := range a.permissions {
			b = append(b, map[bool]string{true: `,"add":[`, false: `,`}[i == 0]...)
			b = append(b, p.node.json(nil)...)
		}
		if len(a.permissions) > 0 {
			b = append(b, ']')
		}
		if a.limitsNode != nil {
			b = append(append(b, `,"limits":`...), a.limitsNode.json(nil)...)
		}
		b = append(b, '}')
		if !jsontext.Value(b).IsValid() {
			return nil, errors.New(name + " can't be written as a candidate")
		}
		return b, nil
	}
	return nil, &fileFault{name, root.line, "has nothing for agent " + agent}
}

func (s *shell) shadowStatus() *cobra.Command {
	return s.command("status AGENT", "Show an agent's shadow, and what it has counted", func(ctx context.Context, r *remote, args []string) error {
		return r.shadowed(ctx, func(ctx context.Context) (behalf.Shadow, error) { return r.Shadow(ctx, args[0]) })
	})
}

func (s *shell) stopShadow() *cobra.Command {
	var note string
	cmd := s.command("stop AGENT", "Stop an agent's shadow; its counts stay", func(ctx context.Context, r *remote, args []string) error {
		return r.shadowed(ctx, func(ctx context.Context) (behalf.Shadow, error) { return r.StopShadow(ctx, args[0], note) })
	})
	cmd.Flags().StringVar(&note, "note", "", "why, for the record")
	return cmd
}

func (s *shell) shadowDifferences() *cobra.Command {
	var p paging
	cmd := s.command("differences AGENT", "List what comes out otherwise, newest first", func(ctx context.Context, r *remote, args []string) error {
		return r.pages(&p, func(limit int, cursor string) (int, string, error) {
			ctx, cancel := r.once(ctx)
			defer cancel()
			page, err := r.ShadowDifferences(ctx, args[0], behalf.Page{Limit: limit, Cursor: cursor})
			if err != nil {
				return 0, "", err
			}
			if len(page.Differences) == 0 {
				r.note("Nothing comes out otherwise.")
			}
			return len(page.Differences), page.NextCursor, r.show(func(t *table) {
				p.head(t, "REQUEST", "AT", "DIFFERENCE", "AMOUNT", "WAS", "WOULD BE", "BECAUSE")
				for _, d := range page.Differences {
					t.row(d.RequestID, stamp(d.DecidedAt), d.Difference, orDash(money(d.Amount, d.Currency)), shadowCame(d.Real), shadowCame(d.Shadow), orDash(d.Reason))
				}
			})
		})
	})
	p.flags(cmd.Flags())
	return cmd
}

// shadowed does something with a shadow and shows it.
func (r *remote) shadowed(ctx context.Context, do func(context.Context) (behalf.Shadow, error)) error {
	ctx, cancel := r.once(ctx)
	defer cancel()
	v, err := do(ctx)
	if err != nil {
		return err
	}
	return r.show(func(t *table) { showShadow(t, v) })
}

func showShadow(t *table, v behalf.Shadow) {
	t.field("Shadow", v.ShadowID)
	t.field("Agent", v.AgentID)
	t.field("State", v.State)
	t.field("Note", v.Note)
	t.field("Started", stamp(v.StartedAt)+" by "+v.StartedBy)
	if v.State == "running" {
		t.field("Until", stamp(v.Until))
	} else {
		t.field("Stopped", stamp(v.StoppedAt)+" by "+v.StoppedBy+" ("+v.StoppedBecause+")")
		t.field("Because", v.StopNote)
	}
	if v.Lag != nil {
		lag := "none"
		if v.Lag.Waiting > 0 {
			lag = fmt.Sprintf("%d decisions, the oldest %.1f s", v.Lag.Waiting, v.Lag.Seconds)
		}
		t.field("Lag", lag)
	}
	c := v.Counts
	t.field("Decided", fmt.Sprintf("%d: %d same, %d stricter, %d looser, %d for another reason", c.Decided, c.Same, c.Stricter, c.Looser, c.OtherReason))
	if c.Undecided > 0 {
		t.field("Undecided", number(c.Undecided)+" could not be decided under the candidate")
	}
	for _, m := range c.Money {
		t.field("Money", "now allowed "+money(m.Allowed, m.Currency)+", now stopped "+money(m.Stopped, m.Currency))
	}
	if len(c.Changes) == 0 {
		return
	}
	t.gap()
	t.row("DECISIONS", "WAS", "WOULD BE")
	for _, change := range c.Changes {
		t.row(number(change.Count), shadowCame(change.From), shadowCame(change.To))
	}
}

func shadowCame(c behalf.Came) string {
	if c.Outcome == "" {
		return "-"
	}
	return cameText(domain.Came{Outcome: domain.Outcome(c.Outcome), ReasonCode: domain.ReasonCode(c.ReasonCode)})
}
