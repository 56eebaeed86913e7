package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/behalf-platform/behalf"
)

func (s *shell) projections() *cobra.Command {
	return s.group("projections", "See and rebuild what queries are answered from",
		s.listProjections(), s.projectionStatus(), s.rebuildProjection())
}

func (s *shell) listProjections() *cobra.Command {
	return s.command("list", "List the read models and how far each is", func(ctx context.Context, r *remote, _ []string) error {
		list, err := r.projections(ctx)
		if err != nil {
			return err
		}
		return r.show(func(t *table) {
			t.row("PROJECTION", "VERSION", "STATE", "EVENTS", "BEHIND", "MOVED")
			for _, p := range list {
				t.row(p.Name, strconv.Itoa(p.Version), p.State, number(p.Events), number(p.Behind), orDash(stamp(p.MovedAt)))
			}
		})
	})
}

func (s *shell) projectionStatus() *cobra.Command {
	cmd := s.command("status [NAME]", "Show how far each partition of the read models is, and why one stopped", func(ctx context.Context, r *remote, args []string) error {
		list, err := r.projections(ctx)
		if err != nil {
			return err
		}
		name := ""
		if len(args) > 0 {
			name = args[0]
		}
		stopped, found := "", name == ""
		err = r.show(func(t *table) {
			t.row("PROJECTION", "VERSION", "STATE", "PARTITION", "AT", "OF", "STOPPED AT", "WHY")
			for _, p := range list {
				if name != "" && p.Name != name {
					continue
				}
				found = true
				if p.State == "stopped" {
					stopped = p.Name
				}
				for _, at := range p.Partitions {
					why := ""
					if at.Reason != "" {
						why = number(at.StoppedAt)
					}
					t.row(p.Name, strconv.Itoa(p.Version), p.State, strconv.Itoa(int(at.Partition)), number(at.Seq), number(at.Head), orDash(why), at.Reason)
				}
			}
		})
		switch {
		case err != nil:
			return err
		case !found:
			return usagef("there is no projection %q; there are decisions, passports, approvals and usage", name)
		case stopped != "":
			r.note("%s does not go on by itself: upgrade the server if the event is newer than it, or see WHY; then restart it, or run: behalf projections rebuild %s", stopped, stopped)
			return exitCode(exitFailed)
		}
		return nil
	})
	cmd.Long = `Show how far each partition of the read models is, and why one stopped. The exit
code is 1 if one did.`
	return cmd
}

func (s *shell) rebuildProjection() *cobra.Command {
	var wait bool
	cmd := s.command("rebuild NAME", "Make a read model again from the log, beside the one that serves", func(ctx context.Context, r *remote, args []string) error {
		once, cancel := r.once(ctx)
		p, err := r.Rebuild(once, args[0])
		cancel()
		if err != nil {
			return err
		}
		if !wait {
			if err := r.show(func(t *table) { showProjection(t, p) }); err != nil {
				return err
			}
			r.note("It is being made. See how far with: behalf projections list")
			return nil
		}
		if p, err = r.rebuilt(ctx, p); err != nil {
			return err
		}
		return r.show(func(t *table) { showProjection(t, p) })
	})
	cmd.Long = `Make a read model again from the first event of the log. The one there is answers
queries until the new one has caught up with it, and is dropped then.

NAME is decisions, passports, approvals or usage.`
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until it serves, and show how far it is")
	return cmd
}

func showProjection(t *table, p behalf.Projection) {
	t.field("Projection", p.Name)
	t.field("Version", strconv.Itoa(p.Version))
	t.field("State", p.State)
	t.field("Events", number(p.Events)+" of "+number(p.Of))
}

func (r *remote) projections(ctx context.Context) ([]behalf.Projection, error) {
	ctx, cancel := r.once(ctx)
	defer cancel()
	return r.Projections(ctx)
}

// rebuilt waits until a view that is being made serves.
func (r *remote) rebuilt(ctx context.Context, made behalf.Projection) (behalf.Projection, error) {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for shown := ""; ; {
		list, err := r.projections(ctx)
		if err != nil {
			return made, err
		}
		newest := behalf.Projection{}
		for _, p := range list {
			if p.Name == made.Name && p.Version >= made.Version {
				newest = p
			}
		}
		switch newest.State {
		case "serving":
			return newest, nil
		case "stopped":
			return newest, fmt.Errorf("%s version %d stopped; see \"behalf projections status\"", newest.Name, newest.Version)
		case "":
			return newest, fmt.Errorf("%s version %d is not there any more", made.Name, made.Version)
		}
		if progress := progress(newest); progress != shown {
			shown = progress
			r.note("%s version %d: %s", newest.Name, newest.Version, shown)
		}
		select {
		case <-ctx.Done():
			return newest, context.Cause(ctx)
		case <-tick.C:
		}
	}
}

func progress(p behalf.Projection) string {
	part := 100.0
	if p.Of > 0 {
		part = 100 * float64(p.Events) / float64(p.Of)
	}
	return fmt.Sprintf("%d of %d events (%.0f %%)", p.Events, p.Of, part)
}
