package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/spf13/cobra"

	"github.com/behalf-platform/behalf"
)

func (s *shell) apply() *cobra.Command {
	var file string
	var dryRun, prune bool
	cmd := s.command("apply", "Make agents and permissions what a file says", func(ctx context.Context, r *remote, _ []string) error {
		if file == "" {
			return usagef("behalf apply needs --file, such as -f passport.yaml")
		}
		f, err := readPassport(file, s.in)
		if err != nil {
			return usageError(err.Error())
		}
		plan, err := r.compare(ctx, f, prune)
		if err != nil {
			return err
		}
		if dryRun || len(plan.Changes) == 0 {
			plan.DryRun = dryRun
			return plan.tell(r)
		}
		if !r.json {
			if err := plan.show(r); err != nil {
				return err
			}
		}
		return errors.Join(r.carryOut(ctx, &plan), plan.close(r))
	})
	cmd.Long = `Make agents and permissions what a file says. The difference to what the server
has is shown, and then done; where there is none, nothing is done. Agents that are
not there are registered, and their keys shown, once. Agents that the file doesn't
name are left alone.

  agents:
    - agentId: agent_mia
      name: Mia                        # may be left out, as driver and limits may
      limits: {budgets: [{amount: 100, currency: USD, per: day}]}
      permissions:
        - key: tickets                 # your name for it; all else as the API has it
          action: purchase
          vendors: [coachella.com]
          maxAmount: 50
          expiresAt: 2099-01-01T00:00:00Z

A permission of the file is known by its key, which the server keeps as the first
line of the permission's notes ("key: NAME"), where agents don't see it; a key that
is the id of a permission means that one. What an agent has beyond the file is left
alone too, and said; with --prune it is ended: permissions are revoked, and limits
and the driver go if the file has none.

What adds no right is done first: limits and blocks, then revocations, replacements
and grants. A permission that somebody changed after it was compared is not
replaced, and nothing more is done; apply again to see the new difference.

Exit codes: 0 done, or nothing to do; with --dry-run 1 if there are differences;
else as for all commands.`
	cmd.Example = `  behalf apply -f passport.yaml --dry-run
  behalf apply -f passport.yaml --prune
  behalf presets show coding | behalf apply -f -`
	cmd.Flags().StringVarP(&file, "file", "f", "", "the passport file, YAML or JSON, or - for standard input")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "show the difference and do nothing; exit code 1 if there is one")
	cmd.Flags().BoolVar(&prune, "prune", false, "end what the agents of the file have beyond it")
	return cmd
}

// carryOut does the changes in their order, and stops at the first that fails.
func (r *remote) carryOut(ctx context.Context, p *plan) error {
	for i := range p.Changes {
		c := &p.Changes[i]
		if err := r.change(ctx, c); err != nil {
			return p.failure(c, err)
		}
		c.Done = true
		if c.APIKey != "" && !r.json {
			// At once: if a later change fails, the key must have been seen.
			if err := r.print([]byte("Key of " + c.AgentID + ": " + c.APIKey + "\nKeep it now: it is not shown again.")); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *remote) change(ctx context.Context, c *change) error {
	ctx, cancel := r.once(ctx)
	defer cancel()
	switch c.Do {
	case doRegister:
		a, err := r.RegisterAgent(ctx, behalf.NewAgent{AgentID: c.AgentID, Name: c.Name, Driver: c.driver})
		c.APIKey = a.APIKey
		return err
	case doDriver:
		_, err := r.SetDriver(ctx, c.AgentID, c.driver)
		return err
	case doLimits:
		_, err := r.SetAgentLimits(ctx, c.AgentID, c.limits)
		return err
	case doRevoke:
		_, err := r.Revoke(ctx, c.AgentID, c.PermissionID, "not in the passport file")
		return err
	}
	terms, err := json.Marshal(c.terms)
	if err != nil {
		return fmt.Errorf("write the terms of %s: %w", c.Key, err)
	}
	if c.Do == doReplace {
		_, err = r.ReplaceJSON(ctx, c.AgentID, c.PermissionID, terms, c.version)
		return err
	}
	granted, err := r.GrantJSON(ctx, c.AgentID, terms)
	c.PermissionID = granted.PermissionID
	return err
}

// failure says what was done before a change failed, and what to do.
func (p *plan) failure(c *change, err error) error {
	place := p.file
	if c.node != nil {
		place = fmt.Sprintf("%s:%d", p.file, c.node.line)
	}
	todo := "apply again to do the rest"
	refused, isRefusal := errors.AsType[*behalf.Error](err)
	switch {
	case isRefusal && refused.Code == "VERSION_MISMATCH":
		todo = "somebody changed it since it was compared; apply again to see the difference"
	case isRefusal && refused.Field != "" && c.node != nil:
		place = fmt.Sprintf("%s:%d", p.file, c.node.find(refused.Field))
	case !isRefusal && errors.Is(err, behalf.ErrUnavailable):
		todo = "this one may have been done as well; apply again, which looks first"
	}
	return fmt.Errorf("%s: %s: %w\n%d of %d changes were made; %s", place, c, err, p.done(), len(p.Changes), todo)
}
