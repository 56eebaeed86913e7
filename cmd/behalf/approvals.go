package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"

	"github.com/behalf-platform/behalf"
	"github.com/behalf-platform/behalf/domain"
)

func (s *shell) approvals() *cobra.Command {
	cmd := s.group("approvals", "See what agents ask people, and answer",
		s.listApprovals(), s.showApproval(), s.approve(), s.deny(), s.withdraw(), s.watchApprovals())
	cmd.Long = `See what agents ask people, and answer. A permission with requiresApproval opens an
approval for each request it would allow; one that is approved allows exactly
that request, once.`
	return cmd
}

// approvalStates are what --state takes, beside any.
var approvalStates = []behalf.ApprovalState{
	behalf.ApprovalPending, behalf.ApprovalApproved, behalf.ApprovalUsed,
	behalf.ApprovalDenied, behalf.ApprovalExpired, behalf.ApprovalCancelled,
}

func stateFlag(text string) (behalf.ApprovalState, error) {
	if text == "any" {
		return "", nil
	}
	var names []string
	for _, state := range approvalStates {
		if text == string(state) {
			return state, nil
		}
		names = append(names, string(state))
	}
	return "", usagef("--state %q is unknown; use %s or any", text, strings.Join(names, ", "))
}

func (s *shell) listApprovals() *cobra.Command {
	var p paging
	var q behalf.ApprovalQuery
	var state string
	var idOnly bool
	cmd := s.command("list", "List approvals that wait for a person, newest first", func(ctx context.Context, r *remote, _ []string) (err error) {
		if state == "" && p.all {
			state = "any"
		}
		if state == "" {
			state = string(behalf.ApprovalPending)
		}
		if q.State, err = stateFlag(state); err != nil {
			return err
		}
		return r.pages(&p, func(limit int, cursor string) (int, string, error) {
			ctx, cancel := r.once(ctx)
			defer cancel()
			q.Limit, q.Cursor = limit, cursor
			page, err := r.Approvals(ctx, q)
			if err != nil {
				return 0, "", err
			}
			if idOnly {
				for _, a := range page.Approvals {
					if _, err := fmt.Fprintln(s.out, a.ApprovalID); err != nil {
						return 0, "", fmt.Errorf("write to standard output: %w", err)
					}
				}
				return len(page.Approvals), page.NextCursor, nil
			}
			if len(page.Approvals) == 0 && !p.headed && page.NextCursor == "" {
				r.note("Nothing is %s. List those of other states with --state, or everything with --all.", visible(state))
			}
			return len(page.Approvals), page.NextCursor, r.show(func(t *table) {
				p.head(t, "APPROVAL", "STATE", "AGENT", "ACTION", "TARGET", "AMOUNT", "AGE", "EXPIRES IN")
				for _, a := range page.Approvals {
					t.row(a.ApprovalID, stateText(a), a.AgentID, a.Action, orDash(target(a)), orDash(money(a.Amount, a.Currency)),
						ago(s.now().Sub(a.OpenedAt)), orDash(expiresIn(a, s.now())))
				}
			})
		})
	})
	cmd.Long = `List approvals that wait for a person, the newest first. A member's token lists the
account's, an agent's key its own.`
	f := cmd.Flags()
	f.StringVar(&state, "state", "", "only these: pending, approved, used, denied, expired, cancelled or any (default pending)")
	f.BoolVar(&idOnly, "id-only", false, "print the ids and nothing else, for scripts")
	f.StringVar(&q.AgentID, "agent", "", "only this agent's")
	f.StringVar(&q.PermissionID, "permission", "", "only those that stand on this permission")
	p.flags(f)
	f.Lookup("all").Usage = "list everything, in any state unless --state says which; with --output json, one page a line"
	return cmd
}

func (s *shell) showApproval() *cobra.Command {
	var file string
	cmd := s.command("show APPROVAL", "Show everything about an approval that a reviewer needs", func(ctx context.Context, r *remote, args []string) error {
		var own string // the digest of the file
		if file != "" {
			var err error
			if own, err = s.argumentsDigest(file); err != nil {
				return err
			}
		}
		ctx, cancel := r.once(ctx)
		defer cancel()
		a, err := r.Approval(ctx, args[0])
		if err != nil {
			return err
		}
		if err := r.show(func(t *table) { s.showOne(t, a) }); err != nil || file == "" {
			return err
		}
		switch a.ArgumentsDigest {
		case own:
			_, _ = fmt.Fprintf(s.errs, "%s holds the arguments that are asked for.\n", visible(file))
			return nil
		case "":
			return fmt.Errorf("the request of approval %s has no arguments, so %q is not what is asked; look at the rest of it", a.ApprovalID, file)
		}
		return fmt.Errorf("%q does not hold the arguments that are asked for: its digest is %s, theirs is %s; don't approve for what is in the file", file, own, a.ArgumentsDigest)
	})
	cmd.Long = `Show everything about an approval that a reviewer needs. Characters that can't be
seen are escaped and secrets left out; the digest covers the request as it was.

The arguments of a request are recorded as a digest: the SHA-256 of their JSON in
the canonical form of RFC 8785, numbers as they were written. With --arguments it
is compared with that of a file, and the exit code is 1 if they differ.`
	cmd.Flags().StringVar(&file, "arguments", "", "file with the arguments as JSON, or - for standard input, to compare with what is asked for")
	return cmd
}

// argumentsDigest is the digest a request with the JSON of a file as its
// arguments has.
func (s *shell) argumentsDigest(path string) (string, error) {
	text, err := readJSON("arguments", path, s.in)
	if err != nil {
		return "", err
	}
	ask := domain.Ask{Action: "compare", Arguments: jsontext.Value(text)}
	request, err := ask.Request("")
	if err != nil {
		return "", usagef("%s: %v", path, err)
	}
	if request.ArgumentsDigest == "" {
		return "", usagef("%s holds no arguments: null is as good as none", path)
	}
	return request.ArgumentsDigest, nil
}

func (s *shell) approve() *cobra.Command {
	return s.review("approve APPROVAL", "Say yes to what an agent asks", "why, for the record",
		func(ctx context.Context, r *remote, id, comment string) (behalf.Approval, error) {
			return r.Approve(ctx, id, comment)
		})
}

func (s *shell) deny() *cobra.Command {
	return s.review("deny APPROVAL", "Say no to what an agent asks; one no is enough", "why, for the record; the agent reads it if the account shares comments",
		func(ctx context.Context, r *remote, id, comment string) (behalf.Approval, error) {
			return r.Deny(ctx, id, comment)
		})
}

func (s *shell) withdraw() *cobra.Command {
	return s.review("withdraw APPROVAL", "Take an approval back, awaited or given, before it is used", "why, for the record; not with an agent's key",
		func(ctx context.Context, r *remote, id, comment string) (behalf.Approval, error) {
			return r.Cancel(ctx, id, comment)
		})
}

// review is a command that answers an approval and shows it.
func (s *shell) review(use, short, help string, do func(ctx context.Context, r *remote, id, comment string) (behalf.Approval, error)) *cobra.Command {
	var comment string
	cmd := s.command(use, short, func(ctx context.Context, r *remote, args []string) error {
		ctx, cancel := r.once(ctx)
		defer cancel()
		a, err := do(ctx, r, args[0], comment)
		if err != nil {
			return err
		}
		if a.State == behalf.ApprovalPending {
			r.note("Recorded. It needs %s.", visible(needs(a)))
		}
		return r.show(func(t *table) { s.showOne(t, a) })
	})
	cmd.Flags().StringVar(&comment, "comment", "", help)
	return cmd
}

func (s *shell) showOne(t *table, a behalf.Approval) {
	now := s.now()
	t.row(strings.ToUpper(string(a.State)) + ": " + a.AgentID + " asks to " + a.Action)
	t.gap()
	t.field("Approval", a.ApprovalID)
	t.field("Agent", named(a.AgentID, a.AgentName))
	t.asked(a.Action, a.Vendor, a.Resource, a.Amount, a.Currency)
	t.field("Path", a.Path)
	t.field("Command", a.Command)
	t.field("Working directory", a.Cwd)
	t.field("Branch", a.Context.Branch)
	t.field("Environment", a.Context.Environment)
	t.field("Repository", a.Context.Repository)
	t.field("Arguments", digestText(a.ArgumentsDigest))
	t.field("Risk", a.RiskLevel)
	t.field("Needs", needs(a))
	t.field("Opened", momentText(a.OpenedAt, now))
	switch a.State {
	case behalf.ApprovalPending:
		t.field("Waits until", momentText(a.ExpiresAt, now))
	case behalf.ApprovalApproved:
		t.field("Can be used until", momentText(a.ExpiresAt, now))
	case behalf.ApprovalUsed, behalf.ApprovalDenied, behalf.ApprovalExpired, behalf.ApprovalCancelled:
	}
	t.field("Resolved", momentText(a.ResolvedAt, now))
	t.field("Resolved by", a.ResolvedBy)
	t.field("Comment", a.Comment)
	t.field("Request", a.RequestID)
	t.field("Used by", a.UsedBy)
	t.field("Permission", a.PermissionID)
	t.field("Digest", a.Digest)
	if len(a.Votes) == 0 {
		return
	}
	t.gap()
	t.row("APPROVED BY", "AT", "OWN AGENT", "COMMENT")
	for _, v := range a.Votes {
		t.row(v.MemberID, stamp(v.At), yesNo(v.SelfApproval), orDash(v.Comment))
	}
}

func digestText(digest string) string {
	if digest == "" {
		return ""
	}
	return "sha256 " + digest + " (compare a file with --arguments)"
}

// named is an id with the name that goes with it.
func named(id, name string) string {
	if name == "" || name == id {
		return id
	}
	return id + " (" + name + ")"
}

// needs is whose yes an approval waits for.
func needs(a behalf.Approval) string {
	quorum := max(a.Quorum, 1)
	text := plural(quorum, "one yes", strconv.Itoa(quorum)+" people's yes")
	if a.MinRole != "" {
		text += " by " + a.MinRole + " or higher"
	}
	if quorum > 1 {
		text += ", " + strconv.Itoa(a.SaidYes) + " given"
	}
	return text
}

func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// stateText is the state, with how many have agreed where that takes several.
func stateText(a behalf.Approval) string {
	if a.State == behalf.ApprovalPending && a.Quorum > 1 {
		return fmt.Sprintf("%s %d/%d", a.State, a.SaidYes, a.Quorum)
	}
	return string(a.State)
}

// longestTarget keeps a table narrow. show has the whole text.
const longestTarget = 40

// target is the most telling thing the action is done to.
func target(a behalf.Approval) string {
	for _, text := range []string{a.Resource, a.Vendor, a.Path, a.Command} {
		if text == "" {
			continue
		}
		if runes := []rune(text); len(runes) > longestTarget {
			text = string(runes[:longestTarget-1]) + "…"
		}
		return text
	}
	return ""
}

func expiresIn(a behalf.Approval, now time.Time) string {
	if a.State != behalf.ApprovalPending && a.State != behalf.ApprovalApproved {
		return ""
	}
	return ago(a.ExpiresAt.Sub(now))
}

// ago is a length of time in its largest unit.
func ago(d time.Duration) string {
	switch {
	case d <= 0:
		return "0s"
	case d < time.Minute:
		return strconv.Itoa(int(d/time.Second)) + "s"
	case d < time.Hour:
		return strconv.Itoa(int(d/time.Minute)) + "m"
	case d < 48*time.Hour:
		return strconv.Itoa(int(d/time.Hour)) + "h"
	}
	return strconv.Itoa(int(d/(24*time.Hour))) + "d"
}

// momentText is a time, and how far off it is.
func momentText(at, now time.Time) string {
	switch {
	case at.IsZero():
		return ""
	case at.After(now):
		return stamp(at) + " (in " + ago(at.Sub(now)) + ")"
	}
	return stamp(at) + " (" + ago(now.Sub(at)) + " ago)"
}
