package main

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/pflag"

	"github.com/behalf-platform/behalf"
)

// termsFlags are the terms of a permission on the command line: in flags, or as
// JSON in a file.
type termsFlags struct {
	terms              behalf.Terms
	context            behalf.Condition
	asks               approvalFlags
	limits             limitFlags
	notBefore, expires string
	file               string

	own *pflag.FlagSet // all but file
}

func (t *termsFlags) flags(f *pflag.FlagSet) {
	own := pflag.NewFlagSet("", pflag.ContinueOnError)
	list := func(into *[]string, name, help string) {
		own.StringArrayVar(into, name, nil, help+" (may be repeated)")
	}
	own.StringVar(&t.terms.Action, "action", "", "action that is allowed, such as purchase or repo:push")
	list(&t.terms.AllowedActions, "allowed-action", "further action that is allowed")
	list(&t.terms.BlockedActions, "blocked-action", "action that is denied, whatever else allows it")
	list((*[]string)(&t.terms.Resource), "resource", "resource it is for; * within a segment, ** across")
	list((*[]string)(&t.terms.Vendors), "vendor", "host it is for; *.example.com is what lies below, not the apex")
	own.StringVar(&t.terms.MaxAmount, "max-amount", "", "most that one request may move, such as 500.00")
	own.StringVar(&t.terms.Currency, "currency", "", "currency of --max-amount, --requires-approval and --budget (default: the account's)")
	t.asks.flags(own)
	t.limits.flags(own)
	list(&t.terms.Paths, "path", "directory or file it is for")
	list(&t.terms.DeniedPaths, "denied-path", "directory or file it is not for")
	list(&t.terms.DeniedCommands, "denied-command", "command that is never run, such as 'git push --force'")
	list((*[]string)(&t.context.Branch), "branch", "branch it is for")
	list((*[]string)(&t.context.Environment), "environment", "environment it is for")
	list((*[]string)(&t.context.Repository), "repository", "repository it is for")
	own.StringVar(&t.notBefore, "not-before", "", "when it begins: a time such as 2027-01-01T00:00:00Z, a date (UTC), or a time from now such as 12h or 30d")
	own.StringVar(&t.expires, "expires", "", "when it ends, written as for --not-before")
	own.StringVar(&t.terms.Description, "description", "", "what it is for")
	own.StringVar(&t.terms.Notes, "notes", "", "notes for members; the agent never sees them")
	own.VisitAll(f.AddFlag)
	t.own = own
	f.StringVarP(&t.file, "file", "f", "", "terms as JSON in a file, or - for standard input, instead of the flags; holds everything, time windows too")
}

// json is the terms as they are sent. A file's text goes to the server as it
// is: what this version doesn't know must be refused there, not dropped here.
func (t *termsFlags) json(in io.Reader, now time.Time) (_ []byte, err error) {
	var given []string
	t.own.VisitAll(func(f *pflag.Flag) {
		if f.Changed {
			given = append(given, "--"+f.Name)
		}
	})
	switch {
	case t.file != "" && len(given) > 0:
		return nil, usagef("--file holds all the terms; leave out %s, or write it into the file", strings.Join(given, ", "))
	case t.file != "":
		return readJSON("terms", t.file, in)
	case len(given) == 0:
		return nil, usagef("say what to allow with flags such as --action and --vendor, or with --file")
	}
	terms := t.terms
	if t.context.Branch != nil || t.context.Environment != nil || t.context.Repository != nil {
		terms.Context = &t.context
	}
	if err := t.asks.read(&terms); err != nil {
		return nil, err
	}
	if terms.Limits, err = t.limits.read(); err != nil {
		return nil, err
	}
	if terms.NotBefore, err = momentFlag("not-before", t.notBefore, now, ahead); err != nil {
		return nil, err
	}
	if terms.ExpiresAt, err = momentFlag("expires", t.expires, now, ahead); err != nil {
		return nil, err
	}
	b, err := json.Marshal(terms)
	if err != nil {
		return nil, usagef("the terms can't be written as JSON: %v", err)
	}
	return b, nil
}

// approvalFlags say when a permission asks a person, and whom.
type approvalFlags struct {
	rule                            string
	minRole                         string
	quorum                          int
	pendingFor, validFor, denialFor *behalf.Duration
}

func (a *approvalFlags) flags(f *pflag.FlagSet) {
	f.StringVar(&a.rule, "requires-approval", "", "ask a person before it allows: always, or with =AMOUNT only above that amount")
	f.Lookup("requires-approval").NoOptDefVal = "always"
	f.StringVar(&a.minRole, "approval-min-role", "", "least role of who may approve: APPROVER, ADMIN or OWNER (default APPROVER)")
	f.IntVar(&a.quorum, "approval-quorum", 0, "how many people have to approve (default 1)")
	f.Var(span{&a.pendingFor}, "approval-pending-for", "how long it waits for them, such as 2h; at most what the account says")
	f.Var(span{&a.validFor}, "approval-valid-for", "how long their yes can be used, such as 10m; at most what the account says")
	f.Var(span{&a.denialFor}, "approval-denial-for", "how long their no answers the same request, such as 30m; at most what the account says")
}

// read puts the flags into the terms.
func (a *approvalFlags) read(terms *behalf.Terms) error {
	approval := behalf.ApprovalTerms{MinRole: a.minRole, Quorum: a.quorum}
	for _, d := range []struct {
		name        string
		into, given *behalf.Duration
	}{
		{"pending", &approval.PendingFor, a.pendingFor},
		{"valid", &approval.ValidFor, a.validFor},
		{"denial", &approval.DenialFor, a.denialFor},
	} {
		if d.given == nil {
			continue
		}
		if *d.into = *d.given; *d.into == 0 {
			return usagef("--approval-%s-for can't be 0; give 1s or more, or leave it out for what the account says", d.name)
		}
	}
	if a.quorum < 0 {
		return usagef("--approval-quorum %d is no number of people; give 1 or more", a.quorum)
	}
	if approval != (behalf.ApprovalTerms{}) {
		if a.rule == "" {
			return usagef("the flags --approval-… say how to approve, and nothing asks for it; add --requires-approval, or --requires-approval=AMOUNT")
		}
		terms.Approval = &approval
	}
	switch {
	case a.rule == "":
	case a.rule == "always":
		terms.RequiresApproval.Always = true
	case isAmount(a.rule):
		terms.RequiresApproval.Above = a.rule
	default:
		return usagef("--requires-approval=%s is not an amount; write --requires-approval, or the amount above which a person is asked, such as --requires-approval=100.00", a.rule)
	}
	return nil
}

// readJSON reads one JSON value from a file, or from standard input for "-".
func readJSON(what, path string, in io.Reader) (text []byte, err error) {
	name := path
	if path == "-" {
		name = "standard input"
		text, err = io.ReadAll(in)
	} else {
		text, err = os.ReadFile(path)
	}
	switch {
	case err != nil:
		return nil, usagef("read the %s: %v", what, err)
	case !jsontext.Value(text).IsValid():
		return nil, usagef("%s is not one JSON value, or has a name twice", name)
	}
	return text, nil
}

// direction is which way of now a duration points.
type direction int

const (
	ahead direction = 1
	back  direction = -1
)

// momentFlag reads a time, a date, or a duration from now. Empty is no time.
func momentFlag(flag, text string, now time.Time, way direction) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	d, err := duration(text)
	if err != nil || d <= 0 {
		return time.Time{}, usagef("--%s %q is neither a time such as 2027-01-01T00:00:00Z, nor a date, nor a duration such as 90m, 12h or 30d", flag, text)
	}
	return now.Add(time.Duration(way) * d), nil
}

// duration is time.ParseDuration with days.
func duration(text string) (time.Duration, error) {
	days, ok := strings.CutSuffix(text, "d")
	if !ok {
		return time.ParseDuration(text)
	}
	n, err := strconv.Atoi(days)
	if err != nil || n > 100_000 {
		return 0, fmt.Errorf("%q is not a number of days", text)
	}
	return time.Duration(n) * 24 * time.Hour, nil
}
