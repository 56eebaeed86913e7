package domain

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// How much of a command is read. Past any of these it is refused, since what is
// not read can't be vouched for.
const (
	mostShell      = 32 << 10  // bytes of one command
	mostShellWords = 4096      // in all its simple commands
	mostShellWork  = 128 << 10 // in bytes parsed, code within code included
	mostBrackets   = 200       // open at a time, quoted or not: the parser recurses
	mostShellDepth = 1000      // levels of syntax
	mostShellNests = 6         // levels of code within code: sh -c "sh -c '…'"
)

// What reading costs, in bytes parsed.
const (
	costOfParse = 128 // beyond the text
	costOfSign  = 2   // of each sign that may begin a node of syntax
	costOfStep  = 8   // from one word to the next
)

// costOfParsing is the work of parsing s, which grows with its text and with the
// nodes that this may become.
func costOfParsing(s string) int {
	signs := 0
	for i := range len(s) {
		if !isWordByte(s[i]) {
			signs++
		}
	}
	return costOfParse + len(s) + signs*costOfSign
}

const tooManyWords = "it holds too many words"

// commandLine is a shell command as far as it can be known before it runs: each
// simple command in it, however deep. It is read the way bash does. It says what
// the text runs, not what the programs that it names do once they run.
type commandLine struct {
	// invocations are in order of their program, so that a rule need look only at
	// those of its own.
	invocations []invocation
	// arguments are those of every simple command, one command after another.
	arguments []argument
	// unknown says why what runs can't be told from the text, or is empty. An
	// unknown command falls under every rule.
	unknown string
}

// invocation is a word that may run a program on the words after it.
type invocation struct {
	program string
	// command and word are where it stands.
	command, word int
	// from and to bound its arguments among the line's.
	from, to int
	// dynamic is set when an argument is decided when the command runs.
	dynamic bool
	// verb is the word after it if, of git, it does only what it says.
	verb string
}

// argument is a written word, or a part of one, made ready to be held against
// rules.
type argument struct {
	text string // in lower case
	// option is what stands behind the hyphens of an option, up to its =.
	option  string
	long    bool      // the option has two hyphens
	letters letterSet // of short options

	path  string // text as a path
	below string // path without the leading .. of a relative one
}

// simpleCommand is a program and its arguments.
type simpleCommand struct {
	words []shellWord
	// inert is set for programs that print or store their arguments, so that
	// text among these is not searched for commands.
	inert bool
	// wraps is set when a word may run the words after it, so that an option may
	// carry a program: env -Srm.
	wraps bool
}

// parseCommand reads a shell command. Its errors are safe to show.
func parseCommand(s string) (commandLine, error) {
	switch {
	case strings.TrimSpace(s) == "":
		return commandLine{}, errors.New("the command is empty")
	case len(s) > mostShell:
		return commandLine{}, fmt.Errorf("the command is %d bytes long; at most %d are read", len(s), mostShell)
	case strings.ContainsAny(s, "\x00\r"):
		// Shells and parsers disagree on what these end.
		return commandLine{}, errors.New("the command holds a NUL or a carriage return")
	}
	var r shellReader
	if err := r.read(s); err != nil {
		return commandLine{}, fmt.Errorf("the command can't be read as shell: %w", err)
	}
	if len(r.commands) == 0 && r.line.unknown == "" && !r.assigns {
		return commandLine{}, errors.New("the command runs nothing")
	}
	if r.line.unknown == "" {
		r.line.index(r.commands, r.words)
	}
	return r.line, nil
}

var errTooDeep = errors.New("it is nested too deep")

// parseShell is the one door to the parser. The parser is not ours, and a panic
// in it must end in a refusal.
func parseShell(s string) (file *syntax.File, err error) {
	if tooNested(s) {
		return nil, errTooDeep
	}
	defer func() {
		if recover() != nil {
			file, err = nil, errors.New("the parser gave up")
		}
	}()
	file, err = syntax.NewParser(syntax.Variant(syntax.LangBash)).Parse(strings.NewReader(s), "")
	if parse, ok := errors.AsType[syntax.ParseError](err); ok {
		text := parse.Text
		if len(text) > 100 {
			text = strings.ToValidUTF8(text[:100], "") + "…"
		}
		err = fmt.Errorf("line %d, column %d: %s", parse.Pos.Line(), parse.Pos.Col(), text)
	}
	return file, err
}

// parseText is parseShell for text that is only expanded.
func parseText(s string) (text *syntax.Word, err error) {
	if tooNested(s) {
		return nil, errTooDeep
	}
	defer func() {
		if recover() != nil {
			text, err = nil, errors.New("the parser gave up")
		}
	}()
	return syntax.NewParser(syntax.Variant(syntax.LangBash)).Document(strings.NewReader(s))
}

// tooNested reports whether the parser might recurse too deep on s.
func tooNested(s string) bool {
	open := 0
	for i := range len(s) {
		switch s[i] {
		case '(', '[', '{':
			open++
		case ')', ']', '}':
			open = max(0, open-1)
		}
		if open > mostBrackets {
			return true
		}
	}
	return slices.ContainsFunc([]string{"if", "while", "until"}, func(opens string) bool {
		return strings.Count(s, opens) > mostShellDepth
	})
}

// index readies the commands for the rules. Rules are many and the text may be
// hostile, so what depends only on a word is found out here and not once a rule.
func (c *commandLine) index(commands []simpleCommand, words int) {
	c.invocations = make([]invocation, 0, words)
	c.arguments = make([]argument, 0, words)
	for i, command := range commands {
		first, last := len(c.invocations), len(command.words)-1
		for last >= 0 && !command.words[last].dynamic {
			last--
		}
		for j, w := range command.words {
			if j > 0 && !w.dynamic {
				c.argue(w.text, command.inert)
			}
			if len(c.arguments) > mostShellWords {
				c.unknown = tooManyWords
				return
			}
			at := invocation{program: w.name, command: i, word: j, from: len(c.arguments), dynamic: last > j}
			if after := command.words[j+1:]; w.name == "git" && len(after) > 0 && !after[0].dynamic && verbs[after[0].text] {
				at.verb = after[0].text
			}
			c.invoke(at, w, command.wraps && j > 0)
		}
		for j := range c.invocations[first:] {
			c.invocations[first+j].to = len(c.arguments)
		}
	}
	slices.SortFunc(c.invocations, func(a, b invocation) int {
		return cmp.Or(strings.Compare(a.program, b.program), a.command-b.command, a.word-b.word)
	})
}

// invoke adds the programs that a word may run.
func (c *commandLine) invoke(at invocation, w shellWord, wrapped bool) {
	if at.program != "" {
		c.invocations = append(c.invocations, at)
	}
	if !wrapped || w.dynamic || !isCluster(w.text) {
		return
	}
	for k := 2; k < min(len(w.text), 6); k++ {
		at.program = programName(w.text[k:])
		c.invocations = append(c.invocations, at)
	}
}

// argue adds a word as an argument. Options may carry words of their own:
// git -c alias.p='push --force' p.
func (c *commandLine) argue(word string, inert bool) {
	c.arguments = append(c.arguments, newArgument(word))
	if inert || !strings.ContainsAny(word, " =\t\n") {
		return
	}
	for _, t := range tokens(word) {
		c.arguments = append(c.arguments, newArgument(t))
	}
}

func newArgument(word string) argument {
	a := argument{text: strings.ToLower(word)}
	a.path = path.Clean(a.text)
	for a.below = a.path; a.below == ".." || strings.HasPrefix(a.below, "../"); {
		a.below = strings.TrimPrefix(a.below[2:], "/")
	}
	switch {
	case strings.HasPrefix(word, "--") && len(word) > 2:
		a.long = true
		a.option, _, _ = strings.Cut(word[2:], "=")
	case isCluster(word):
		a.option = word[1:]
		a.letters.add(a.option)
	}
	return a
}

// letterSet holds letters of ASCII. All others count as one.
type letterSet [2]uint64

func lettersOf(option string) (s letterSet) {
	s.add(option)
	return s
}

func (s *letterSet) add(letters string) {
	for _, c := range letters {
		if c > 127 {
			c = 0
		}
		s[c/64] |= 1 << (c % 64)
	}
}

func (s *letterSet) join(t letterSet) {
	s[0], s[1] = s[0]|t[0], s[1]|t[1]
}

// lacks reports whether a letter of t is not in s.
func (s letterSet) lacks(t letterSet) bool {
	return t[0]&^s[0]|t[1]&^s[1] != 0
}
