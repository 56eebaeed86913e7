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
	own.StringVar(&t.terms.Currency, "currency", "", "currency of --max-amount (default: the account's)")
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
		return readTerms(t.file, in)
	case len(given) == 0:
		return nil, usagef("say what to allow with flags such as --action and --vendor, or with --file")
	}
	terms := t.terms
	if t.context.Branch != nil || t.context.Environment != nil || t.context.Repository != nil {
		terms.Context = &t.context
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

func readTerms(path string, in io.Reader) (terms []byte, err error) {
	name := path
	if path == "-" {
		name = "standard input"
		terms, err = io.ReadAll(in)
	} else {
		terms, err = os.ReadFile(path)
	}
	switch {
	case err != nil:
		return nil, usagef("read the terms: %v", err)
	case !jsontext.Value(terms).IsValid():
		return nil, usagef("%s is not one JSON value, or has a name twice", name)
	}
	return terms, nil
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
