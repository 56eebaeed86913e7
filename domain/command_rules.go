package domain

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// commandRule is a simple command that is denied, along with everything that
// says at least as much.
type commandRule struct {
	program string
	letters letterSet // of the short options
	longs   []string
	others  []ruleWord
	// spellings are the long options that stand for any of the letters.
	spellings []spelling
}

// ruleWord is a word of a rule that is no option. A * in it is anything.
type ruleWord struct {
	text string // in lower case
	path string // text as a path, if it looks like one
	tail string // what ends in path, if that is relative
}

// compileCommandRule reads a rule: a program, options and other words, where *
// in a word after the first stands for anything.
func compileCommandRule(s string) (commandRule, error) {
	plain := errors.New("must be one plain command, such as rm -rf or git push --force, without pipes, variables, redirections or quotes left open")
	if len(s) > mostShell || strings.ContainsAny(s, "\x00\r\n") {
		return commandRule{}, plain
	}
	file, err := parseShell(s)
	if err != nil || len(file.Stmts) != 1 {
		return commandRule{}, plain
	}
	st := file.Stmts[0]
	call, ok := st.Cmd.(*syntax.CallExpr)
	if !ok || st.Negated || st.Background || st.Coprocess || st.Semicolon.IsValid() || len(st.Redirs) > 0 || len(call.Assigns) > 0 || len(call.Args) == 0 {
		return commandRule{}, plain
	}
	var r commandRule
	for i, arg := range call.Args {
		w := readWord(arg)
		if w.dynamic && !onlyStars(arg) {
			return commandRule{}, fmt.Errorf("word %d is not spelled out: only * may stand for something else; write other signs in quotes", i+1)
		}
		if i > 0 {
			r.add(w.text)
			continue
		}
		if r.program = w.name; r.program == "" || strings.HasPrefix(w.text, "-") || strings.Contains(w.text, "*") {
			return commandRule{}, errors.New("must begin with the name of a program")
		}
		if verb, ok := strings.CutPrefix(r.program, "git-"); ok && verb != "" {
			r.program = "git"
			r.add(verb)
		}
	}
	for _, s := range spellings[r.program] {
		if !r.letters.lacks(lettersOf(s.short)) {
			r.spellings = append(r.spellings, s)
		}
	}
	return r, nil
}

// onlyStars reports whether a word is written out but for its stars.
func onlyStars(w *syntax.Word) bool {
	for _, p := range w.Parts {
		switch p := p.(type) {
		case *syntax.Lit:
			p.Value = strings.ReplaceAll(p.Value, "*", "\\*")
		case *syntax.SglQuoted:
		case *syntax.DblQuoted:
		default:
			return false
		}
	}
	return !readWord(w).dynamic
}

// spelling is a long option that does what a short one does.
type spelling struct {
	long, short string
	// more is set when it is not the same but does that too. A rule about it is
	// then no rule about the short one.
	more bool
}

// spellings are by program. For git, all that may overwrite a branch elsewhere
// count as forced: a lease is taken on what was fetched last, which says nothing
// of whose work it is, and a mirror overwrites and deletes every branch.
var spellings = map[string][]spelling{
	"rm": {
		{long: "recursive", short: "r"},
		{long: "force", short: "f"},
		{long: "dir", short: "d"},
		{long: "verbose", short: "v"},
		{long: "interactive", short: "i"},
	},
	"git": {
		{long: "force", short: "f"},
		{long: "force-with-lease", short: "f", more: true},
		{long: "force-if-includes", short: "f", more: true},
		{long: "mirror", short: "f", more: true},
	},
}

func (r *commandRule) add(word string) {
	switch {
	case word == "--":
	case strings.HasPrefix(word, "--"):
		name, _, _ := strings.Cut(word[2:], "=")
		same := func(s spelling) bool { return s.long == name && !s.more }
		if i := slices.IndexFunc(spellings[r.program], same); i >= 0 {
			r.letters.add(spellings[r.program][i].short)
		} else {
			r.longs = append(r.longs, name)
		}
	case isCluster(word):
		letters := strings.ReplaceAll(word[1:], "*", "")
		if letters == "" {
			r.longs = append(r.longs, "*")
		}
		if r.program == "rm" { // -R is -r
			letters = strings.ReplaceAll(letters, "R", "r")
		}
		r.letters.add(letters)
	default:
		w := ruleWord{text: strings.ToLower(word)}
		if strings.Contains(word, "/") || word == "." || word == ".." {
			if w.path = path.Clean(w.text); !path.IsAbs(w.path) {
				w.tail = "*/" + w.path
			}
		}
		r.others = append(r.others, w)
	}
}

// denies reports whether the rule covers any command of the line, or what the
// line runs can't be known.
func (r commandRule) denies(c commandLine) bool {
	denied, _ := r.weigh(&c)
	return denied
}

// weigh is denies, and counts the words that it looked at: what a rule costs.
func (r *commandRule) weigh(c *commandLine) (denied bool, looked int) {
	if c.unknown != "" {
		return true, 0
	}
	first, _ := slices.BinarySearchFunc(c.invocations, r.program, func(at invocation, program string) int {
		return strings.Compare(at.program, program)
	})
	judged := -1
	for i := first; i < len(c.invocations) && c.invocations[i].program == r.program; i++ {
		at := &c.invocations[i]
		looked++
		if at.command == judged || r.isOtherVerb(at.verb) {
			continue
		}
		judged = at.command // the words after a later mention are among these
		arguments := c.arguments[at.from:at.to]
		looked += len(arguments)
		// What is dynamic may be whatever is still missing.
		if at.dynamic || r.hasOptions(arguments) && r.hasOthers(arguments) {
			return true, looked
		}
	}
	return false, looked
}

// verbs of git do only what they say. An alias can't take their names.
var verbs = map[string]bool{
	"add": true, "branch": true, "checkout": true, "commit": true, "diff": true, "fetch": true, "log": true, "ls-files": true, "merge": true,
	"restore": true, "rev-parse": true, "show": true, "stash": true, "status": true, "switch": true, "tag": true,
}

// isOtherVerb spares git checkout "$branch" under a rule about git push.
func (r *commandRule) isOtherVerb(verb string) bool {
	return verb != "" && r.program == "git" && len(r.others) > 0 &&
		verb != r.others[0].text && !strings.Contains(r.others[0].text, "*")
}

func (r *commandRule) hasOptions(arguments []argument) bool {
	var got letterSet
	for i := range arguments {
		a := &arguments[i]
		got.join(a.letters)
		switch {
		case a.long:
			for _, s := range r.spellings {
				if a.option != "" && strings.HasPrefix(s.long, a.option) { // abbreviated
					got.add(s.short)
				}
			}
		case r.program == "git" && strings.HasPrefix(a.text, "+"):
			got.add("f") // +main is a forced main
		}
	}
	if r.program == "rm" && !got.lacks(lettersOf("R")) {
		got.add("r")
	}
	return !got.lacks(r.letters) && !slices.ContainsFunc(r.longs, func(want string) bool { return !hasLong(arguments, want) })
}

// hasLong reports whether an option is the wanted one, or short for it.
func hasLong(arguments []argument, want string) bool {
	for i := range arguments {
		switch got := arguments[i].option; {
		case got == "" && !arguments[i].long:
		case got != "" && strings.HasPrefix(want, got), wild(want, got):
			return true
		}
	}
	return false
}

func (r *commandRule) hasOthers(arguments []argument) bool {
	left := r.others
	for i := 0; i < len(arguments) && len(left) > 0; i++ {
		if left[0].is(&arguments[i]) {
			left = left[1:]
		}
	}
	return len(left) == 0
}

// is compares a word with an argument, as paths if that is what it looks like.
// The working directory is not known here, so a relative path that the rule's
// may end in counts.
func (w *ruleWord) is(a *argument) bool {
	switch {
	case wild(w.text, a.text):
		return true
	case w.path == "" || a.text == "":
		return false
	case wild(w.path, a.path):
		return true
	case path.IsAbs(w.path) == path.IsAbs(a.path):
		return false
	case path.IsAbs(a.path):
		return wild(w.tail, a.path)
	case a.below == "" || a.below == ".":
		return true
	case strings.Contains(a.below, "*"): // it may be a glob
		return wild("*/"+a.below, w.path) || wild(w.path[1:], a.below)
	}
	above, ok := strings.CutSuffix(w.path, a.below)
	return ok && strings.HasSuffix(above, "/") || wild(w.path[1:], a.below)
}

// wild reports whether s is what the pattern says, where * is anything. It is
// linear in s for each star.
func wild(pattern, s string) bool {
	first, rest, ok := strings.Cut(pattern, "*")
	if !ok {
		return pattern == s
	}
	if !strings.HasPrefix(s, first) {
		return false
	}
	s = s[len(first):]
	for {
		part, more, ok := strings.Cut(rest, "*")
		if !ok {
			return strings.HasSuffix(s, part)
		}
		i := strings.Index(s, part)
		if i < 0 {
			return false
		}
		s, rest = s[i+len(part):], more
	}
}
