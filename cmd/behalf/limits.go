package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/behalf-platform/behalf"
)

// limitFlags are limits on the command line.
type limitFlags struct{ budgets, rates []string }

const (
	budgetHelp = "most that may be spent in a window, as AMOUNT[CURRENCY]/PERIOD[@ZONE], such as 100.00/day, 2000EUR/month or 50/week@Europe/Berlin; periods: hour, day, week, month, total"
	rateHelp   = "most allows in a window, as COUNT/PERIOD[@ZONE], such as 10/minute or 200/day; periods: minute, hour, day, total"

	limitsText = `Windows are those of the calendar in the account's time zone, unless the limit
names one. A budget that names no currency is in the account's.`
)

func (l *limitFlags) flags(f *pflag.FlagSet) {
	f.StringArrayVar(&l.budgets, "budget", nil, budgetHelp+" (may be repeated)")
	f.StringArrayVar(&l.rates, "rate", nil, rateHelp+" (may be repeated)")
}

func (l *limitFlags) given() bool { return len(l.budgets)+len(l.rates) > 0 }

func (l *limitFlags) read() (limits behalf.Limits, err error) {
	for _, text := range l.budgets {
		b, err := readBudget(text)
		if err != nil {
			return limits, err
		}
		limits.Budgets = append(limits.Budgets, b)
	}
	for _, text := range l.rates {
		r, err := readRate(text)
		if err != nil {
			return limits, err
		}
		limits.Rates = append(limits.Rates, r)
	}
	return limits, nil
}

var (
	budgetPeriods = []string{"hour", "day", "week", "month", "total"}
	ratePeriods   = []string{"minute", "hour", "day", "total"}
)

func readBudget(text string) (b behalf.Budget, err error) {
	most, per, zone, err := cutLimit("budget", text, "100.00/day or 100.00USD/day", budgetPeriods)
	if err != nil {
		return b, err
	}
	digits := len(most) - len(strings.TrimLeft(most, "0123456789."))
	b = behalf.Budget{Amount: most[:digits], Currency: most[digits:], Per: per, TimeZone: zone}
	if !isAmount(b.Amount) {
		return b, usagef("--budget %q: %q is not an amount; write it like 100.00/day or 100.00USD/day", text, most)
	}
	if b.Currency != "" && !isCurrency(b.Currency) {
		return b, usagef("--budget %q: %q is not a currency of three capital letters; write it like 100.00USD/day", text, b.Currency)
	}
	return b, nil
}

func readRate(text string) (r behalf.Rate, err error) {
	most, per, zone, err := cutLimit("rate", text, "10/minute", ratePeriods)
	if err != nil {
		return r, err
	}
	count, err := strconv.ParseInt(most, 10, 32)
	if err != nil || count < 1 {
		return r, usagef("--rate %q: %q is not a count of 1 or more; write it like 10/minute", text, most)
	}
	return behalf.Rate{Count: count, Per: per, TimeZone: zone}, nil
}

// cutLimit takes MOST/PERIOD[@ZONE] apart.
func cutLimit(flag, text, like string, periods []string) (most, per, zone string, err error) {
	most, rest, ok := strings.Cut(text, "/")
	if !ok {
		return "", "", "", usagef("--%s %q has no period; write it like %s", flag, text, like)
	}
	per, zone, named := strings.Cut(rest, "@")
	switch {
	case !slices.Contains(periods, per):
		return "", "", "", usagef("--%s %q: %q is not a period of a %s; use %s", flag, text, per, flag, strings.Join(periods, ", "))
	case named && zone == "":
		return "", "", "", usagef("--%s %q names no time zone after the @; leave the @ out for the account's", flag, text)
	}
	return most, per, zone, nil
}

// isAmount reports whether a text is a decimal number without a sign.
func isAmount(text string) bool {
	whole, part, ok := strings.Cut(text, ".")
	return whole != "" && (!ok || part != "") && strings.Trim(whole+part, "0123456789") == ""
}

func isCurrency(text string) bool {
	return len(text) == 3 && strings.Trim(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
}

// limitsCommand is a command that shows limits, or gives others with the flags.
func (s *shell) limitsCommand(use, short string, do func(ctx context.Context, r *remote, args []string, set *behalf.Limits) error) *cobra.Command {
	var given limitFlags
	var none bool
	cmd := s.command(use, short, func(ctx context.Context, r *remote, args []string) error {
		limits, err := given.read()
		if err != nil {
			return err
		}
		ctx, cancel := r.once(ctx)
		defer cancel()
		switch {
		case none && given.given():
			return usagef("--none ends all limits; leave it out, or leave out --budget and --rate")
		case none || given.given():
			return do(ctx, r, args, &limits)
		}
		return do(ctx, r, args, nil)
	})
	given.flags(cmd.Flags())
	cmd.Flags().BoolVar(&none, "none", false, "end all of them")
	return cmd
}

func (s *shell) agentLimits() *cobra.Command {
	cmd := s.limitsCommand("limits AGENT", "Show or set an agent's own limits, over all its permissions",
		func(ctx context.Context, r *remote, args []string, set *behalf.Limits) (err error) {
			var l behalf.AgentLimits
			if set == nil {
				l, err = r.AgentLimits(ctx, args[0])
			} else {
				l, err = r.SetAgentLimits(ctx, args[0], *set)
			}
			if err != nil {
				return err
			}
			return r.show(func(t *table) {
				t.field("Agent", l.AgentID)
				t.field("Passport", "version "+number(l.PassportVersion))
				showLimits(t, l.Limits, l.Left)
			})
		})
	cmd.Long = `Show an agent's own limits, which hold over all its permissions together, or give
it others. What is given replaces all there was, in one step.

` + limitsText
	cmd.Example = `  behalf agents limits agent_ollie
  behalf agents limits agent_ollie --budget 100.00USD/day --budget 1000.00USD/month --rate 10/minute
  behalf agents limits agent_ollie --none`
	return cmd
}

func (s *shell) accountLimits() *cobra.Command {
	cmd := s.limitsCommand("limits", "Show or set the account's limits, over all its agents",
		func(ctx context.Context, r *remote, _ []string, set *behalf.Limits) (err error) {
			var l behalf.AccountLimits
			if set == nil {
				l, err = r.AccountLimits(ctx)
			} else {
				l, err = r.SetAccountLimits(ctx, *set)
			}
			if err != nil {
				return err
			}
			return r.show(func(t *table) { showLimits(t, l.Limits, l.Left) })
		})
	cmd.Long = `Show the account's limits, which hold over all its agents together, or set others.
What is given replaces all there was, in one step. Every allow of every agent is
then counted in one place, which costs speed.

` + limitsText
	cmd.Example = `  behalf account limits --budget 5000.00EUR/month
  behalf account limits --none`
	return cmd
}

func showLimits(t *table, l behalf.Limits, left []behalf.Left) {
	if len(l.Budgets)+len(l.Rates) == 0 {
		t.field("Limits", "none")
		return
	}
	listLimits(t, l)
	showLeft(t, "LIMIT", left)
}

// listLimits adds a line for each limit, as the flags take them.
func listLimits(t *table, l behalf.Limits) {
	for _, b := range l.Budgets {
		t.field("Budget", b.Amount+b.Currency+"/"+b.Per+atZone(b.TimeZone))
	}
	for _, r := range l.Rates {
		t.field("Rate", strconv.FormatInt(r.Count, 10)+"/"+r.Per+atZone(r.TimeZone))
	}
}

func atZone(zone string) string {
	if zone == "" {
		return ""
	}
	return "@" + zone
}

// showLeft adds a table of what is left, under a heading, if there is any.
func showLeft(t *table, heading string, left []behalf.Left) {
	if len(left) == 0 {
		return
	}
	t.gap()
	t.row(heading, "MOST", "USED", "LEFT", "WINDOW ENDS")
	for _, l := range left {
		t.row(cmp.Or(l.Currency, "allows")+"/"+l.Per, l.Most, l.Used, l.Left, orDash(stamp(l.WindowEndsAt)))
	}
}

// span is a flag that holds a length of time, with days.
type span struct{ into **behalf.Duration }

func (s span) String() string {
	if s.into == nil || *s.into == nil {
		return ""
	}
	return (*s.into).String()
}

func (span) Type() string { return "duration" }

func (s span) Set(text string) error {
	d, err := duration(text)
	if err != nil || d < 0 || d%time.Second != 0 {
		return fmt.Errorf("write a length of time such as 90s, 30m, 24h or 7d, in whole seconds")
	}
	*s.into = new(behalf.Duration(d))
	return nil
}
