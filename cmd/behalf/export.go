package main

import (
	"context"
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v4"

	"github.com/behalf-platform/behalf"
	"github.com/behalf-platform/behalf/domain"
)

func (s *shell) export() *cobra.Command {
	cmd := s.command("export [AGENT…]", "Write what agents may do as a file to apply", func(ctx context.Context, r *remote, args []string) error {
		ids := args
		if len(ids) == 0 {
			var err error
			if ids, err = r.agentIDs(ctx); err != nil {
				return err
			}
		}
		var out struct {
			Agents []exportedAgent `json:"agents"`
		}
		for _, id := range ids {
			has, err := r.standing(ctx, id)
			if err != nil {
				return err
			}
			if has.agent.AgentID == "" {
				return fmt.Errorf("no agent %s", id)
			}
			out.Agents = append(out.Agents, has.exported())
		}
		if len(out.Agents) == 0 {
			return fmt.Errorf("there are no agents to export")
		}
		text, err := json.Marshal(out)
		if err != nil {
			return fmt.Errorf("write the agents: %w", err)
		}
		if r.json {
			return r.print(indented(text))
		}
		return r.printYAML(text)
	})
	cmd.Args = cobra.ArbitraryArgs
	cmd.Long = `Write what agents may do as a passport file: of those named, or of all. Applied to
the same server, it changes nothing. What was revoked is left out.

A permission that "behalf apply" made has its key there; any other has its id for a
key. Keys of agents, their status, and where connected ones live are not in the file.

With --output json it is JSON, which can be applied too.`
	cmd.Example = `  behalf export agent_mia > passport.yaml
  behalf apply -f passport.yaml --dry-run`
	return cmd
}

// agentIDs are all agents there are.
func (r *remote) agentIDs(ctx context.Context) (ids []string, err error) {
	for cursor := ""; ; {
		page, err := r.agentPage(ctx, cursor)
		if err != nil {
			return nil, err
		}
		for _, a := range page.Agents {
			ids = append(ids, a.AgentID)
		}
		if cursor = page.NextCursor; cursor == "" {
			return ids, nil
		}
	}
}

func (r *remote) agentPage(ctx context.Context, cursor string) (behalf.AgentPage, error) {
	ctx, cancel := r.once(ctx)
	defer cancel()
	return r.Agents(ctx, behalf.Page{Limit: mostOnPage, Cursor: cursor})
}

// exportedAgent is an agent as a passport file has it.
type exportedAgent struct {
	AgentID     string               `json:"agentId"`
	Name        string               `json:"name"`
	Driver      string               `json:"driver,omitempty"`
	Limits      domain.Limits        `json:"limits,omitzero"`
	Permissions []exportedPermission `json:"permissions,omitempty"`
}

type exportedPermission struct {
	Key          string `json:"key"`
	domain.Terms `json:",inline"`
}

// exported is what a file says of the agent.
func (s *standing) exported() exportedAgent {
	a := exportedAgent{AgentID: s.agent.AgentID, Name: s.agent.Name, Driver: s.agent.Driver, Limits: s.limits}
	for i, p := range s.permissions {
		e := exportedPermission{Key: string(p.PermissionID), Terms: p.Terms}
		if key, rest, ok := keyOf(p.Notes); ok && s.means(key, i) {
			e.Key, e.Notes = key, rest
		}
		a.Permissions = append(a.Permissions, e)
	}
	return a
}

// means reports whether apply takes a key for this permission. Where it would
// not, the permission goes by its id.
func (s *standing) means(key string, at int) bool {
	first, byID := match(s.permissions, key)
	return first == at && !byID
}

func indented(text []byte) []byte {
	v := jsontext.Value(text)
	if v.Indent(jsontext.WithIndent("  ")) != nil {
		return text
	}
	return v
}

// printYAML writes JSON as YAML.
func (r *remote) printYAML(text []byte) error {
	root, err := readJSONTree("", text)
	if err != nil {
		return fmt.Errorf("write YAML: %w", err)
	}
	out, err := yaml.Dump(root.yaml())
	if err != nil {
		return fmt.Errorf("write YAML: %w", err)
	}
	return r.print(out)
}
