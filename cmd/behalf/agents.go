package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/behalf-platform/behalf"
)

func (s *shell) agents() *cobra.Command {
	return s.group("agents", "Register agents, and manage them and their keys",
		s.listAgents(), s.showAgent(), s.registerAgent(), s.disableAgent(), s.enableAgent(), s.rotateKey(),
		s.agentLimits(), s.driver(), s.agentHistory())
}

func (s *shell) listAgents() *cobra.Command {
	var p paging
	cmd := s.command("list", "List the account's agents", func(ctx context.Context, r *remote, _ []string) error {
		return r.pages(&p, func(limit int, cursor string) (int, string, error) {
			ctx, cancel := r.once(ctx)
			defer cancel()
			page, err := r.Agents(ctx, behalf.Page{Limit: limit, Cursor: cursor})
			if err != nil {
				return 0, "", err
			}
			if len(page.Agents) == 0 {
				r.note("There are no agents. Register one with: behalf agents register --name NAME")
			}
			return len(page.Agents), page.NextCursor, r.show(func(t *table) {
				p.head(t, "AGENT", "NAME", "TYPE", "STATUS", "KEY", "PASSPORT", "REGISTERED")
				for _, a := range page.Agents {
					t.row(a.AgentID, a.Name, a.Type, a.Status, yesNo(a.HasKey), number(a.PassportVersion), stamp(a.RegisteredAt))
				}
			})
		})
	})
	p.flags(cmd.Flags())
	return cmd
}

func (s *shell) showAgent() *cobra.Command {
	return s.command("show AGENT", "Show an agent", func(ctx context.Context, r *remote, args []string) error {
		return r.agent(ctx, func(ctx context.Context) (behalf.Agent, error) { return r.Agent(ctx, args[0]) })
	})
}

func (s *shell) registerAgent() *cobra.Command {
	var a behalf.NewAgent
	var withKey, keyOnly bool
	cmd := s.command("register", "Register an agent and show its key, once", func(ctx context.Context, r *remote, _ []string) error {
		if a.Name == "" {
			a.Name = a.AgentID
		}
		if a.Name == "" {
			return usagef("behalf agents register needs --name, or --id")
		}
		if a.Type == "" && a.Provider != "" {
			a.Type = "connected"
		}
		if withKey {
			a.WithKey = &withKey
		}
		return r.keyed(ctx, keyOnly, func(ctx context.Context) (behalf.Agent, error) { return r.RegisterAgent(ctx, a) })
	})
	f := cmd.Flags()
	f.StringVar(&a.AgentID, "id", "", "id of the agent, 1 to 64 of A-Z a-z 0-9 _ - (default: the server makes one)")
	f.StringVar(&a.Name, "name", "", "name for people (default: the id)")
	f.StringVar(&a.Type, "type", "", "native: asks by itself; connected: lives at a provider (default native, or connected with --provider)")
	f.StringVar(&a.Provider, "provider", "", "where a connected agent lives")
	f.StringVar(&a.Label, "label", "", "anything that helps to find it")
	f.StringVar(&a.ExternalID, "external-id", "", "a connected agent's id at its provider")
	f.StringVar(&a.Driver, "driver", "", "member it acts for (mem_…), who then may not approve what it asks")
	f.BoolVar(&withKey, "with-key", false, "give a connected agent a key too")
	f.BoolVar(&keyOnly, "key-only", false, "print the key and nothing else, for scripts")
	return cmd
}

func (s *shell) disableAgent() *cobra.Command {
	var reason string
	cmd := s.command("disable AGENT", "Deny an agent everything, at once", func(ctx context.Context, r *remote, args []string) error {
		return r.agent(ctx, func(ctx context.Context) (behalf.Agent, error) { return r.DisableAgent(ctx, args[0], reason) })
	})
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the record")
	return cmd
}

func (s *shell) enableAgent() *cobra.Command {
	return s.command("enable AGENT", "End a disable", func(ctx context.Context, r *remote, args []string) error {
		return r.agent(ctx, func(ctx context.Context) (behalf.Agent, error) { return r.EnableAgent(ctx, args[0]) })
	})
}

func (s *shell) rotateKey() *cobra.Command {
	var keyOnly bool
	cmd := s.command("rotate-key AGENT", "Give an agent a new key; the old one is dead at once", func(ctx context.Context, r *remote, args []string) error {
		return r.keyed(ctx, keyOnly, func(ctx context.Context) (behalf.Agent, error) { return r.RotateKey(ctx, args[0]) })
	})
	cmd.Flags().BoolVar(&keyOnly, "key-only", false, "print the key and nothing else, for scripts")
	return cmd
}

func (s *shell) driver() *cobra.Command {
	cmd := s.command("driver AGENT MEMBER|none", "Record which member an agent acts for", func(ctx context.Context, r *remote, args []string) error {
		member := args[1]
		switch member {
		case "none":
			member = ""
		case "":
			return usagef("name the member that agent %s acts for, such as mem_…, or none", args[0])
		}
		return r.agent(ctx, func(ctx context.Context) (behalf.Agent, error) { return r.SetDriver(ctx, args[0], member) })
	})
	cmd.Long = `Record which member an agent acts for, or with none that it is nobody. Its driver
may not approve what it asks, unless the account allows self-approval.`
	cmd.Example = `  behalf agents driver agent_ollie mem_01J…
  behalf agents driver agent_ollie none`
	return cmd
}

// agent does something with an agent and shows it.
func (r *remote) agent(ctx context.Context, do func(context.Context) (behalf.Agent, error)) error {
	ctx, cancel := r.once(ctx)
	defer cancel()
	a, err := do(ctx)
	if err != nil {
		return err
	}
	return r.show(func(t *table) { showAgent(t, a) })
}

// keyed does something with an agent that makes a key, and shows the agent with
// it, or the key alone.
func (r *remote) keyed(ctx context.Context, only bool, do func(context.Context) (behalf.Agent, error)) error {
	if !only {
		return r.agent(ctx, do)
	}
	ctx, cancel := r.once(ctx)
	defer cancel()
	a, err := do(ctx)
	switch {
	case err != nil:
		return err
	case a.APIKey == "":
		return fmt.Errorf("agent %s has no key; a connected agent gets one with --with-key, or with: behalf agents rotate-key %s", a.AgentID, a.AgentID)
	}
	return r.print([]byte(a.APIKey))
}

func showAgent(t *table, a behalf.Agent) {
	t.field("Agent", a.AgentID)
	t.field("Name", a.Name)
	t.field("Type", a.Type)
	t.field("Provider", a.Provider)
	t.field("Label", a.Label)
	t.field("External id", a.ExternalID)
	t.field("Driver", a.Driver)
	t.field("Status", a.Status)
	if a.SharesAccountLimits {
		t.field("Limits", "shares the account's")
	}
	t.field("Passport", "version "+number(a.PassportVersion))
	t.field("Registered", stamp(a.RegisteredAt))
	switch {
	case a.APIKey != "":
		t.field("Key", a.APIKey)
		t.row("", "Keep it now: it is not shown again.")
	case a.HasKey:
		t.field("Key", "set")
	default:
		t.field("Key", "none")
	}
}
