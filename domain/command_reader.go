package domain

import (
	"errors"
	"slices"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// shellReader gathers what a command runs.
type shellReader struct {
	line     commandLine
	commands []simpleCommand
	words    int  // in all of commands
	assigns  bool // the text sets a variable or tests something
	work     int  // done so far, in bytes parsed
	nests    int  // levels of code within code above this one
	guess    bool // the text may not be code: what it hides is not held against it
	// runs is set in a guess at what would run if the guess is right: what is in
	// $(…), or is named by an option. A program that is not written out is then
	// held against it.
	runs bool
	// known is the code within code that was met, and how surely it is code.
	known map[string]certainty

	body *syntax.Word // the here-document at hand: text for a program to read
	raw  *syntax.Lit  // its text, if none of it is expanded
}

// certainty is how surely a text is code.
type certainty int

const (
	guessed certainty = iota + 1
	runnable
	certain
)

// spend reports whether there is work left to spend on this command, and does.
func (r *shellReader) spend(work int) bool {
	if r.line.unknown == "" && r.work+work > mostShellWork {
		r.line.unknown = "it holds too much code"
	}
	if r.line.unknown != "" {
		return false
	}
	r.work += work
	return true
}

// keep adds a simple command to what rules are held against.
func (r *shellReader) keep(c simpleCommand) {
	if r.words += len(c.words); r.words > mostShellWords && r.line.unknown == "" {
		r.line.unknown = tooManyWords
	}
	if r.line.unknown == "" {
		r.commands = append(r.commands, c)
	}
}

func (r *shellReader) unknown(why string) {
	if r.line.unknown == "" && !r.guess {
		r.line.unknown = why
	}
}

// read adds what s runs.
func (r *shellReader) read(s string) error {
	if !r.spend(costOfParsing(s)) {
		return nil // unknown as it is
	}
	file, err := parseShell(s)
	if err != nil {
		return err
	}
	return r.walk(file, s)
}

// readText adds what is in the substitutions of a text that is not shell but may
// be expanded, as a term of arithmetic is: (1)+a[$(x)].
func (r *shellReader) readText(s string) {
	if !strings.Contains(s, "$(") && !strings.Contains(s, "`") || !r.spend(costOfParsing(s)) {
		return
	}
	if text, err := parseText(s); err == nil && text != nil {
		_ = r.walk(text, s) // a guess is none if it can't be walked
	}
}

// walk adds what the syntax of source runs.
func (r *shellReader) walk(root syntax.Node, source string) (err error) {
	defer func() {
		if recover() != nil { // a node that Walk does not know
			err = errors.New("it holds syntax that is not understood")
		}
	}()
	depth, deep, expands := 0, false, strings.ContainsAny(source, "$`")
	within := 0 // the depth of the substitution that set runs
	syntax.Walk(root, func(n syntax.Node) bool {
		if n == nil {
			if depth == within {
				r.runs, within = false, 0
			}
			depth--
			return true
		}
		if depth++; depth > mostShellDepth {
			deep = true
		}
		if r.guess && !r.runs && isSubstitution(n) {
			r.runs, within = true, depth
		}
		if !deep && r.line.unknown == "" {
			r.node(n, source, expands)
		}
		return true
	})
	if deep {
		return errTooDeep
	}
	return nil
}

func isSubstitution(n syntax.Node) bool {
	switch n.(type) {
	case *syntax.CmdSubst, *syntax.ProcSubst:
		return true
	}
	return false
}

// node reads a node of source's syntax. Where nothing expands, no word need be
// searched for it.
func (r *shellReader) node(n syntax.Node, source string, expands bool) {
	switch n := n.(type) {
	case *syntax.CallExpr:
		if len(n.Args) > 0 {
			words := make([]shellWord, len(n.Args))
			for i, w := range n.Args {
				words[i] = readWord(w)
			}
			r.command(words)
		}
	case *syntax.Assign:
		r.assigns = true
		if n.Value == nil {
			break
		}
		v := readWord(n.Value)
		if n.Name != nil {
			r.assign(n.Name.Value, v)
		} else if name, value, ok := strings.Cut(v.text, "="); ok { // export "A=b"
			v.text = value
			r.assign(name, v)
		}
	case *syntax.Redirect:
		r.body = n.Hdoc
	case *syntax.TestClause:
		// A shell without [[ takes && and || in it for the end of a command.
		r.assigns = true
		words := []shellWord{plainWord("[[")}
		syntax.Walk(n.X, func(n syntax.Node) bool {
			if w, ok := n.(*syntax.Word); ok {
				words = append(words, readWord(w))
				return false
			}
			return true
		})
		r.keep(simpleCommand{words: words, inert: true})
	case *syntax.ArithmCmd:
		// A shell without (( takes it for two subshells.
		r.assigns = true
		from, to := int(n.Left.Offset())+2, int(n.Right.Offset())
		if from <= to && to <= len(source) {
			inner := source[from:to]
			r.nested(inner, !strings.ContainsAny(inner, "$`"))
		}
	case *syntax.LetClause:
		r.assigns = true
	case *syntax.Lit:
		// The parser leaves some text as it is: that of @($(ls)), for one.
		if n != r.raw && hidesCode(n.Value) {
			r.unknown("it holds syntax that is not understood")
		}
	case *syntax.Word:
		if n == r.body && len(n.Parts) == 1 {
			r.raw, _ = n.Parts[0].(*syntax.Lit)
		}
		// Arithmetic, test -v and others expand what is in their operands, even
		// if quoted.
		if !expands || n == r.body {
			break
		}
		if w := readWord(n); strings.Contains(w.text, "$(") || strings.Contains(w.text, "`") {
			r.mention(w)
		}
	}
}

// hidesCode reports whether text that should be plain has a substitution in it.
func hidesCode(s string) bool {
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\':
			i++
		case s[i] == '`', i+1 < len(s) && s[i+1] == '(' && strings.IndexByte("$<>", s[i]) >= 0:
			return true
		}
	}
	return false
}

// command adds a simple command and what its program makes of its arguments.
func (r *shellReader) command(words []shellWord) {
	words = placeholders(words)
	spelled := gitVerbs(words)
	quiet := isInert(spelled)
	wraps := slices.ContainsFunc(words, isWrapper)
	r.keep(simpleCommand{words: words, inert: quiet, wraps: wraps})
	if len(spelled) > len(words) {
		r.keep(simpleCommand{words: spelled, inert: quiet, wraps: wraps})
	}
	if !r.guess || r.runs && hidesProgram(words) {
		before := r.guess
		r.guess = false
		r.programs(words, quiet)
		r.guess = before
	}
	if quiet {
		return
	}
	scripted := isScripted(words)
	for _, w := range words[1:] {
		if !strings.ContainsAny(w.text, codeSigns) {
			continue
		}
		r.mention(w)
		if !scripted {
			r.option(w.text)
		}
	}
}

// programs reads the arguments of each word that is a program.
func (r *shellReader) programs(words []shellWord, quiet bool) {
	seen := make([]bool, len(words))
	r.program(words, 0, seen)
	for i, w := range words {
		// A shell is a shell wherever it stands, as what may run it is endless.
		if !w.dynamic && !quiet && shells[unversioned(w.name)] {
			r.program(words, i, seen)
		}
	}
}

// hidesProgram reports whether the program of what may be code may not be written
// out. A lone glob or brace is more often the name of some files.
func hidesProgram(words []shellWord) bool {
	if slices.ContainsFunc(words, func(w shellWord) bool { return w.expands }) {
		return true
	}
	first := words[0]
	return first.dynamic && len(words) > 1 && !strings.HasPrefix(first.text, "*.") && !strings.HasPrefix(first.text, "{") &&
		(!strings.HasPrefix(first.text, "[") || strings.Contains(first.text, "]"))
}

// option reads an argument whose value a program may run: !code, --exec=code,
// alias.x=!code.
func (r *shellReader) option(text string) {
	before := r.runs
	defer func() { r.runs = before }()
	r.runs = true
	if strings.HasPrefix(text, "!") {
		r.nested(strings.TrimLeft(text, "! \t\n"), true)
		return
	}
	for range 4 {
		key, value, ok := strings.Cut(text, "=")
		if !ok || !isName(strings.NewReplacer("-", "", ".", "").Replace(key)) {
			return
		}
		r.nested(strings.TrimLeft(value, "! \t\n"), true)
		text = value
	}
}

// assign reads the value of a variable. Some variables name what programs run.
func (r *shellReader) assign(name string, value shellWord) {
	switch {
	case name == "BASH_ENV", name == "LD_PRELOAD", name == "LD_AUDIT", strings.HasPrefix(name, "DYLD_INSERT"),
		strings.HasPrefix(name, "GIT_CONFIG"), name == "GIT_EXEC_PATH", name == "PERL5OPT", name == "RUBYOPT", name == "PYTHONSTARTUP":
		r.unknown("the variable " + name + " in it changes what programs run")
	case strings.HasSuffix(name, "PAGER"), strings.HasSuffix(name, "EDITOR"), strings.HasSuffix(name, "_COMMAND"),
		strings.HasSuffix(name, "_ASKPASS"), strings.HasSuffix(name, "_RSH"), name == "VISUAL", name == "BROWSER", name == "SHELL",
		name == "GIT_SSH", name == "GIT_EXTERNAL_DIFF", name == "LESSOPEN", name == "LESSCLOSE":
		if value.dynamic {
			r.unknown("what the variable " + name + " makes programs run is not written out")
		}
		r.nested(value.text, false)
	default:
		r.mention(value)
	}
}

// nested reads code that a command carries. A guess at code need not be any.
func (r *shellReader) nested(code string, guess bool) {
	if strings.TrimSpace(code) == "" || !r.spend(costOfStep) {
		return
	}
	as := certain
	if guess = guess || r.guess; guess && r.runs {
		as = runnable
	} else if guess {
		as = guessed
	}
	if r.known[code] >= as {
		return // eval x, where x is the first argument and all of them
	}
	if r.nests >= mostShellNests {
		r.line.unknown = "it holds code within code within code"
		return
	}
	before, runs := r.guess, r.runs
	r.nests, r.guess = r.nests+1, guess
	if r.known == nil {
		r.known = map[string]certainty{}
	}
	r.known[code] = as
	err := r.read(code)
	if err != nil && guess && !errors.Is(err, errTooDeep) {
		r.runs = runs
		r.readText(code)
	}
	r.nests, r.guess, r.runs = r.nests-1, before, runs
	if err != nil && !guess {
		r.unknown("code that it holds can't be read as shell")
	}
}

// codeSigns are what tells shell code from a plain word.
const codeSigns = " \t\n;|&!(){}<>\"'`$\\"

// mention reads text that may or may not be run: a command in it counts, read as
// shell or as bare words, but nothing else is held against it.
func (r *shellReader) mention(w shellWord) {
	if strings.ContainsAny(w.text, codeSigns) {
		r.nested(w.text, true)
		_, value, ok := strings.Cut(w.text, "=") // --exec=code, core.pager=code
		for tries := 0; ok && tries < 3; tries++ {
			r.nested(value, true)
			_, value, ok = strings.Cut(value, "=")
		}
	}
	var words []shellWord
	for _, t := range tokens(w.text) {
		words = append(words, plainWord(t))
	}
	if len(words) == 0 {
		return
	}
	if w.dynamic {
		words = append(words, unknownWords)
	}
	r.keep(simpleCommand{words: words, inert: true})
}
