package main

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/behalf-platform/behalf"
)

func atFlag(f *pflag.FlagSet, at *string) {
	f.StringVar(at, "at", "", "as it was: a time such as 2027-01-01T14:02:00Z, a date (UTC), a time back such as 12h or 30d, a position that a packet carried, or a passport version")
}

// momentOf is what --at says, as the server takes it. What is no time is a
// position or a version, which the server knows.
func (s *shell) momentOf(at string) (string, error) {
	at = strings.TrimSpace(at)
	if at == "" {
		return "", usagef("--at is empty; leave it out for now")
	}
	if t, err := momentFlag("at", at, s.now(), back); err == nil {
		return t.UTC().Format(time.RFC3339Nano), nil
	}
	return at, nil
}

// passportAt shows a passport as it was. An agent's key names its own agent.
func (r *remote) passportAt(ctx context.Context, args []string, at string) error {
	at, err := r.shell.momentOf(at)
	if err != nil {
		return err
	}
	if len(args) == 0 {
		me, err := r.Me(ctx)
		if err != nil {
			return err
		}
		args = []string{me.ID}
	}
	p, err := r.PassportAt(ctx, args[0], at)
	if err != nil {
		return err
	}
	return r.show(func(t *table) {
		t.field("As of", stamp(p.AsOf))
		t.field("Position", p.Position)
		showPassport(t, p.Passport)
	})
}

// preview asks for now, or for a moment of the past.
func (r *remote) preview(ctx context.Context, ask behalf.Ask, at string) (behalf.Preview, error) {
	if at == "" {
		return r.Preview(ctx, ask)
	}
	at, err := r.shell.momentOf(at)
	if err != nil {
		return behalf.Preview{}, err
	}
	return r.PreviewAt(ctx, ask, at)
}
