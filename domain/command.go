package domain

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"mvdan.cc/sh/v3/syntax"
)

// How much of a command is read. Past any of these it is refused, since what is
// not read can't be vouched for.
const (
	mostShell      = 32 << 10  // bytes of one command
	mostShellWork  = 256 << 10 // bytes parsed in all, code within code included
	costOfParse    = 128       // bytes that a parse costs beyond its text
	mostBrackets   = 200       // open at a time, quoted or not: the parser recurses
	mostShellDepth = 1000      // levels of syntax
	mostShellNests = 8         // levels of code within code: sh -c "sh -c '…'"
)

// commandLine is a shell command as far as it can be known before it runs: each
// simple command in it, however deep. It is read the way bash does. It says what
// the text runs, not what the programs that it names do once they run.
type commandLine struct {
	commands []simpleCommand
	// unknown says why what runs can't be told from the text, or is empty. An
	// unknown command falls under every rule.
	unknown string
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

// shellWord is one word with its quotes resolved.
type shellWord struct {
	text    string // of a dynamic word, what is written out of it
	tail    string // of a dynamic word, what is written after its last unknown
	dynamic bool   // a part is decided when the command runs
	splits  bool   // may become several words, or none
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
	if len(r.line.commands) == 0 && r.line.unknown == "" && !r.assigns {
		return commandLine{}, errors.New("the command runs nothing")
	}
	return r.line, nil
}

// shellReader gathers what a command runs.
type shellReader struct {
	line    commandLine
	assigns bool // the text sets a variable or tests something
	work    int  // bytes parsed and words followed so far
	nests   int  // levels of code within code above this one
	guess   bool // the text may not be code: what it hides is not held against it

	body *syntax.Word // the here-document at hand: text for a program to read
	raw  *syntax.Lit  // its text, if none of it is expanded
}

// spend reports whether there is work left to spend on this command.
func (r *shellReader) spend(work int) bool {
	if r.work += work; r.work > mostShellWork {
		r.line.unknown = "it holds too much code within code"
	}
	return r.line.unknown == ""
}

func (r *shellReader) unknown(why string) {
	if r.line.unknown == "" && !r.guess {
		r.line.unknown = why
	}
}

// parseShell is the one door to the parser. The parser is not ours, and a panic
// in it must end in a refusal.
func parseShell(s string) (file *syntax.File, err error) {
	open := 0
	for i := range len(s) {
		switch s[i] {
		case '(', '[', '{':
			open++
		case ')', ']', '}':
			open = max(0, open-1)
		}
		if open > mostBrackets {
			return nil, errors.New("it is nested too deep")
		}
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

// read adds what s runs.
func (r *shellReader) read(s string) (err error) {
	if !r.spend(len(s) + costOfParse) {
		return nil // unknown as it is
	}
	file, err := parseShell(s)
	if err != nil {
		return err
	}
	defer func() {
		if recover() != nil { // a node that Walk does not know
			err = errors.New("it holds syntax that is not understood")
		}
	}()
	depth, deep := 0, false
	syntax.Walk(file, func(n syntax.Node) bool {
		if n == nil {
			depth--
			return true
		}
		if depth++; depth > mostShellDepth {
			deep = true
		}
		if !deep && r.line.unknown == "" {
			r.node(n, s)
		}
		return true
	})
	if deep {
		return errors.New("it is nested too deep")
	}
	return nil
}

func (r *shellReader) node(n syntax.Node, source string) {
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
		words := []shellWord{{text: "[["}}
		syntax.Walk(n.X, func(n syntax.Node) bool {
			if w, ok := n.(*syntax.Word); ok {
				words = append(words, readWord(w))
				return false
			}
			return true
		})
		r.line.commands = append(r.line.commands, simpleCommand{words: words, inert: true})
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
		if w := readWord(n); n != r.body && (strings.Contains(w.text, "$(") || strings.Contains(w.text, "`")) {
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
	at := len(r.line.commands)
	quiet := isInert(words)
	r.line.commands = append(r.line.commands, simpleCommand{words: words, inert: quiet})
	if !r.guess {
		seen := make([]bool, len(words))
		r.program(words, 0, seen)
		for i, w := range words {
			// A shell is a shell wherever it stands, as what may run it is endless.
			if !w.dynamic && !quiet && shells[w.name()] {
				r.program(words, i, seen)
			}
		}
	}
	r.line.commands[at].wraps = slices.ContainsFunc(words, func(w shellWord) bool {
		_, ok := wrappers[w.name()]
		return ok && !w.dynamic
	})
	if quiet {
		return
	}
	for _, w := range words[1:] {
		if strings.ContainsAny(w.text, codeSigns) {
			r.mention(w)
		}
	}
}

// program reads the arguments of the word at i as those of a program.
func (r *shellReader) program(words []shellWord, i int, seen []bool) {
	if seen[i] || r.line.unknown != "" {
		return
	}
	seen[i] = true
	w, args := words[i], words[i+1:]
	if w.dynamic {
		r.unknown("the name of a program in it is not written out")
		return
	}
	name := w.name()
	switch {
	case shells[name]:
		r.shell(args)
	case tongues[strings.TrimRight(name, "0123456789.")]:
		r.tongue(name, args)
	case name == "find":
		r.find(words, i, seen)
	case name == "awk" || name == "gawk" || name == "mawk" || name == "nawk":
		r.awk(args)
		r.wrapper(words, i, wrapper{}, seen)
	case name == "sed" || name == "gsed":
		for _, a := range args {
			if sedOption(a.text) {
				r.unknown("a sed script in it runs commands")
			}
		}
	default:
		if spec, ok := wrappers[name]; ok {
			r.wrapper(words, i, spec, seen)
		}
	}
}

// wrapper is a program that runs another one, named by its arguments.
type wrapper struct {
	// flags are the short options that take no value.
	flags string
	// operands is how many words that are no options come before the program.
	operands int
	// loose is set when the program may be any of the arguments.
	loose bool
	// code is set when the arguments are shell code, alone and joined.
	code bool
	// bare is set when, without a program, it runs a shell.
	bare bool
	// verbs is set when the first argument may say that no program is run.
	verbs bool
	// opaque lists the options that make it run what can't be known; "*" is any
	// argument at all.
	opaque []string
}

var wrappers = map[string]wrapper{
	".": {opaque: []string{"*"}}, "source": {opaque: []string{"*"}}, "fc": {opaque: []string{"*"}},
	// An alias gives a new meaning to words further on.
	"alias": {opaque: []string{"*"}}, "hash": {opaque: []string{"-p"}}, "enable": {opaque: []string{"-f"}},
	"bind": {opaque: []string{"-x"}}, "mapfile": {opaque: []string{"-C"}}, "readarray": {opaque: []string{"-C"}},
	"complete": {opaque: []string{"-C", "-F"}}, "compgen": {opaque: []string{"-C", "-F"}},
	"eval": {code: true}, "trap": {code: true},
	"exec": {flags: "cl"}, "command": {flags: "pvV"}, "builtin": {}, "noglob": {}, "nocorrect": {},

	"at": {opaque: []string{"*"}, bare: true}, "batch": {opaque: []string{"*"}, bare: true},
	"crontab": {opaque: []string{"*"}, bare: true}, "expect": {opaque: []string{"*"}, bare: true},
	"parallel": {opaque: []string{"*"}, bare: true}, "sem": {opaque: []string{"*"}, bare: true},
	"ssh": {flags: "46AaCfGgKkMNnqsTtVvXxYy", code: true, operands: 1, bare: true}, "watch": {flags: "bcdegtwx", code: true},
	"su": {code: true, loose: true}, "runuser": {code: true, loose: true}, "script": {code: true, loose: true},
	"flock": {flags: "esnuxoF", code: true, operands: 1}, "tmux": {loose: true, code: true}, "screen": {loose: true, code: true},
	"nix-shell": {loose: true, code: true},

	"sudo": {flags: "AbEHknPSK", opaque: []string{"-s", "-i", "--shell", "--login"}}, "doas": {flags: "nL", opaque: []string{"-s"}},
	"env": {flags: "i0v", opaque: []string{"-S", "--split-string"}}, "xargs": {flags: "0rtpxo"},
	"pkexec": {bare: true}, "nohup": {}, "nice": {}, "ionice": {flags: "t"}, "chrt": {operands: 1}, "stdbuf": {}, "unbuffer": {flags: "p"},
	"time": {flags: "pvaq"}, "gtime": {flags: "pvaq"}, "timeout": {flags: "pfv", operands: 1}, "gtimeout": {flags: "pfv", operands: 1},
	"setsid": {flags: "cfw"}, "setarch": {loose: true}, "taskset": {flags: "a", operands: 1}, "strace": {}, "ltrace": {},
	"chroot": {operands: 1, bare: true}, "fakeroot": {bare: true}, "caffeinate": {flags: "dimsu"}, "busybox": {}, "toybox": {},
	"catchsegv": {}, "valgrind": {}, "dbus-run-session": {}, "unshare": {loose: true, bare: true}, "nsenter": {loose: true, bare: true},
	"bwrap": {loose: true}, "firejail": {loose: true, bare: true}, "systemd-run": {loose: true}, "proxychains": {loose: true},
	"proxychains4": {loose: true}, "torsocks": {loose: true, bare: true}, "entr": {loose: true}, "fd": {loose: true}, "fdfind": {loose: true},
	"docker": {loose: true, verbs: true}, "podman": {loose: true, verbs: true}, "nerdctl": {loose: true, verbs: true}, "kubectl": {loose: true, verbs: true}, "ip": {loose: true, verbs: true},
	"npx": {loose: true}, "bunx": {loose: true}, "uv": {loose: true, verbs: true}, "uvx": {loose: true}, "poetry": {loose: true, verbs: true}, "pipenv": {loose: true, verbs: true},
	"conda": {loose: true, verbs: true}, "sg": {loose: true, code: true}, "capsh": {opaque: []string{"*"}}, "setpriv": {loose: true}, "gosu": {loose: true},
	"su-exec": {loose: true}, "sshpass": {loose: true}, "rlwrap": {loose: true}, "dumb-init": {loose: true}, "tini": {loose: true},
	"direnv": {loose: true}, "nix": {loose: true}, "rsync": {loose: true},
}

// quietVerbs run no program.
var quietVerbs = map[string]bool{
	"build": true, "ps": true, "images": true, "logs": true, "pull": true, "push": true, "tag": true, "inspect": true, "stop": true,
	"get": true, "describe": true, "apply": true, "rollout": true, "version": true, "info": true, "install": true, "add": true, "sync": true,
	"lock": true, "pip": true, "addr": true, "link": true, "route": true, "list": true, "show": true,
}

// builtins are run by the shell alone, so that among the arguments of another
// program they are mere words: docker build .
var builtins = map[string]bool{
	".": true, "source": true, "fc": true, "alias": true, "hash": true, "enable": true, "bind": true, "mapfile": true, "readarray": true,
	"complete": true, "compgen": true, "eval": true, "trap": true, "exec": true, "command": true, "builtin": true,
}

// shells read their program from -c, a file or their input.
var shells = map[string]bool{
	"sh": true, "bash": true, "dash": true, "zsh": true, "ksh": true, "ksh93": true, "mksh": true, "pdksh": true,
	"oksh": true, "ash": true, "rbash": true, "rksh": true, "rzsh": true, "yash": true, "posh": true, "hush": true,
}

// tongues run languages that are not read here. Versions are cut off: python3.
var tongues = map[string]bool{
	"python": true, "pythonw": true, "pypy": true, "ipython": true, "perl": true, "ruby": true, "irb": true, "node": true, "nodejs": true,
	"deno": true, "bun": true, "php": true, "lua": true, "luajit": true, "rscript": true, "osascript": true, "tclsh": true, "wish": true,
	"guile": true, "fish": true, "csh": true, "tcsh": true, "pwsh": true, "powershell": true, "elvish": true, "nu": true, "xonsh": true,
	"cmd": true, "jshell": true, "groovy": true, "ghci": true, "erl": true, "elixir": true, "iex": true, "gdb": true, "lldb": true,
}

// inert programs print, store or look at their arguments and never run one.
var inert = map[string]bool{
	"echo": true, "printf": true, "ls": true, "cat": true, "head": true, "tail": true, "wc": true, "grep": true, "egrep": true,
	"fgrep": true, "rg": true, "which": true, "whereis": true, "type": true, "man": true, "whatis": true, "apropos": true,
	"stat": true, "file": true, "du": true, "df": true, "mkdir": true, "rmdir": true, "touch": true, "cd": true, "pwd": true,
	"test": true, "[": true, "[[": true, "true": true, "false": true, ":": true, "sleep": true, "basename": true,
	"dirname": true, "realpath": true, "readlink": true, "sort": true, "uniq": true, "cut": true, "tr": true, "jq": true, "tee": true,
}

func isInert(words []shellWord) bool {
	if words[0].dynamic {
		return false
	}
	name, verb := words[0].name(), ""
	if len(words) > 1 && !words[1].dynamic {
		verb = words[1].text
	}
	switch name {
	case "rg": // --pre names a program
		return !slices.ContainsFunc(words, func(w shellWord) bool { return w.dynamic || strings.HasPrefix(w.text, "--pre") })
	case "man": // -P and -H name one
		return !slices.ContainsFunc(words[1:], func(w shellWord) bool { return w.dynamic || strings.HasPrefix(w.text, "-") })
	case "sort": // --compress-program names one
		return !slices.ContainsFunc(words, func(w shellWord) bool { return w.dynamic || strings.HasPrefix(w.text, "--c") })
	case "git":
		return verb == "commit" || verb == "tag"
	case "gh":
		return verb == "pr" || verb == "issue" || verb == "release"
	}
	return inert[name]
}

// placeholders marks what find, xargs and their like fill in.
func placeholders(words []shellWord) []shellWord {
	holder, appends := "", false
	for i, w := range words {
		if w.dynamic {
			continue
		}
		switch w.name() {
		case "find", "fd", "fdfind":
			holder = "{}"
		case "entr":
			holder = "/_"
		case "xargs":
			holder, appends = "{}", true
		}
		if holder == "" || i == 0 {
			continue
		}
		option := words[i-1].text
		switch {
		case option == "-I" || option == "-J" || option == "--replace":
			holder = w.text
		case appends && strings.HasPrefix(w.text, "--replace="):
			holder = w.text[len("--replace="):]
		case appends && len(w.text) > 2 && (strings.HasPrefix(w.text, "-I") || strings.HasPrefix(w.text, "-i") || strings.HasPrefix(w.text, "-J")):
			holder = w.text[2:]
		case holder != "" && strings.Contains(w.text, holder) || strings.Contains(w.text, "{}"):
			words[i] = shellWord{text: w.text, dynamic: true, splits: true}
		}
	}
	if appends {
		words = append(words, shellWord{dynamic: true, splits: true})
	}
	return words
}

// wrapper follows a wrapper to the program that it runs. Which options take a
// value is not always known, so a word after an option may or may not be the
// program: it is read as one, and so is the next.
func (r *shellReader) wrapper(words []shellWord, i int, spec wrapper, seen []bool) {
	name, args := words[i].name(), words[i+1:]
	if spec.verbs && len(args) > 0 && !args[0].dynamic && quietVerbs[args[0].text] {
		return
	}
	need, afterOption := spec.operands+1, false
	for j, a := range args {
		if !r.spend(1) {
			return
		}
		if need <= 0 && !spec.loose && !spec.code {
			return
		}
		if a.dynamic {
			if name == "xargs" && need > 0 && j == len(args)-1 && !slices.ContainsFunc(args[:j], isOperand) {
				return // it echoes
			}
			if need > 0 || spec.loose || spec.code {
				r.unknown("what " + name + " runs in it is not written out")
			}
			continue
		}
		if isOpaque(spec.opaque, a.text) {
			r.unknown("what " + name + " runs in it can't be known")
		}
		if spec.code {
			r.nested(a.text, false)
			if _, value, ok := strings.Cut(a.text, "c"); ok && isCluster(a.text) { // -c'rm -rf /'
				r.nested(value, false)
			} else if _, value, ok := strings.Cut(a.text, "="); ok && strings.HasPrefix(a.text, "--") {
				r.nested(value, false)
			}
		}
		variable, value, ok := strings.Cut(a.text, "=")
		switch {
		case a.text == "--":
			afterOption = false
		case strings.HasPrefix(a.text, "-"):
			afterOption = !complete(a.text, spec.flags)
		case ok && isName(variable):
			r.assign(variable, shellWord{text: value})
		default:
			if !spec.loose || !builtins[a.name()] {
				r.program(words, i+1+j, seen)
			}
			if !afterOption {
				need--
			}
			afterOption = false
		}
	}
	if spec.code {
		r.joined(args)
	}
	if spec.bare && need > 0 || (name == "su" || name == "runuser" || name == "script") && !slices.ContainsFunc(args, takesCode) {
		r.unknown("what " + name + " runs in it comes from its input")
	}
}

func isOperand(w shellWord) bool { return w.dynamic || !strings.HasPrefix(w.text, "-") }

// complete reports whether an option surely takes nothing from the next word:
// its letters are flags, or it ends in a number or has an =.
func complete(option, flags string) bool {
	if strings.HasPrefix(option, "--") {
		return strings.Contains(option, "=")
	}
	if number := strings.TrimLeft(option[1:], flags); number == "" {
		return len(option) > 1
	} else if strings.Trim(number, "0123456789") == "" {
		return true
	}
	return len(option) > 2 && strings.Trim(option[2:], "0123456789") == ""
}

func (r *shellReader) joined(args []shellWord) {
	var texts []string
	for _, a := range args {
		texts = append(texts, a.text)
	}
	r.nested(strings.Join(texts, " "), false)
	// Options come before the code.
	for len(texts) > 0 && strings.HasPrefix(texts[0], "-") && r.line.unknown == "" {
		texts = texts[1:]
		r.nested(strings.Join(texts, " "), false)
	}
}

func isOpaque(opaque []string, arg string) bool {
	return slices.ContainsFunc(opaque, func(o string) bool {
		switch {
		case o == "*" || o == arg:
			return true
		case strings.HasPrefix(o, "--"): // abbreviated
			return len(arg) > 2 && strings.HasPrefix(o, arg)
		}
		return isCluster(arg) && strings.ContainsRune(arg[1:], rune(o[1]))
	})
}

// isCluster reports whether s is short options: -r, -rf.
func isCluster(s string) bool {
	return len(s) > 1 && s[0] == '-' && s[1] != '-'
}

func takesCode(w shellWord) bool {
	return !w.dynamic && (isCluster(w.text) && strings.Contains(w.text, "c") || strings.HasPrefix(w.text, "--c"))
}

// shell reads the arguments of a shell. Only code after -c can be read; a file
// and the input can't.
func (r *shellReader) shell(args []shellWord) {
	for i, a := range args {
		switch {
		case a.dynamic:
			r.unknown("what a shell runs in it is not written out")
			return
		case isCluster(a.text) && strings.Contains(a.text, "c"):
			if strings.Contains(a.text, "r") { // -rcfile
				r.unknown("what a shell runs in it comes from a file")
				return
			}
			r.shellCode(args[i+1:], strings.ContainsAny(a.text, "oO"))
			return
		case isCluster(a.text), a.text == "--posix", a.text == "--norc", a.text == "--noprofile", a.text == "--login",
			strings.HasPrefix(a.text, "+"):
		case i > 0 && (strings.HasSuffix(args[i-1].text, "o") || strings.HasSuffix(args[i-1].text, "O")):
			// The value of -o: pipefail.
		default:
			r.unknown("what a shell runs in it comes from a file")
			return
		}
	}
	r.unknown("what a shell runs in it comes from its input")
}

// shellCode reads the arguments after -c. Options may still come before the
// code, so each argument is read.
func (r *shellReader) shellCode(args []shellWord, afterOption bool) {
	found := false
	for _, a := range args {
		if a.dynamic {
			if !found {
				r.unknown("what a shell runs in it is not written out")
				return
			}
			continue
		}
		r.nested(a.text, false)
		option := !found && len(a.text) > 1 && (a.text[0] == '-' || a.text[0] == '+')
		found = found || !option && !afterOption
		afterOption = option && a.text != "--"
	}
	if !found {
		r.unknown("what a shell runs in it comes from its input")
	}
}

// tongue reads the arguments of an interpreter. A file that it runs is a program
// like any other; code on the command line or from its input can't be read.
func (r *shellReader) tongue(name string, args []shellWord) {
	for i, a := range args {
		switch {
		case a.dynamic:
			r.unknown("what " + name + " runs in it is not written out")
			return
		case a.text == "-m" && strings.HasPrefix(name, "py") && i+1 < len(args) && !args[i+1].dynamic:
			return
		case len(args) == 1 && slices.Contains([]string{"-h", "--help", "-V", "--version", "-v"}, a.text):
			return
		case slices.Contains([]string{"-u", "-B", "-O", "-s", "--test", "--check"}, a.text):
		case strings.HasPrefix(a.text, "-"), strings.HasPrefix(a.text, "/dev/"), strings.HasPrefix(a.text, "/proc/"),
			a.text == "eval", a.text == "repl":
			r.unknown("what " + name + " runs in it can't be read")
			return
		default:
			return
		}
	}
	r.unknown("what " + name + " runs in it comes from its input")
}

// valued are find's tests that take a value, which is never run.
var valued = map[string]bool{
	"-name": true, "-iname": true, "-path": true, "-ipath": true, "-wholename": true, "-regex": true, "-iregex": true, "-newer": true,
	"-mtime": true, "-mmin": true, "-size": true, "-user": true, "-group": true, "-type": true, "-perm": true, "-maxdepth": true, "-mindepth": true,
}

// find reads the arguments of find, which may be told to run something by any
// word that is not written out.
func (r *shellReader) find(words []shellWord, i int, seen []bool) {
	for j := i + 1; j < len(words); j++ {
		w, before := words[j], words[j-1]
		switch {
		case slices.Contains([]string{"-exec", "-execdir", "-ok", "-okdir"}, before.text) && !before.dynamic:
			r.program(words, j, seen)
		case !w.dynamic, strings.Contains(w.text, "{}"):
		case !w.splits && (j == i+1 || !before.dynamic && valued[before.text]):
		default:
			r.unknown("what find runs in it is not written out")
		}
	}
}

func (r *shellReader) awk(args []shellWord) {
	for _, a := range args {
		t := strings.ReplaceAll(a.text, "||", "")
		if strings.Contains(t, "system") || strings.Contains(t, "getline") || strings.Contains(t, "@") ||
			strings.Contains(t, "|") && strings.Contains(t, "{") || strings.HasPrefix(t, "-f") || strings.HasPrefix(t, "-i") ||
			strings.HasPrefix(t, "-l") || strings.HasPrefix(t, "-E") || strings.HasPrefix(t, "--") {
			r.unknown("an awk program in it may run commands")
		}
	}
}

// sedOption reports whether an argument of sed may make it run a command.
func sedOption(arg string) bool {
	if !strings.HasPrefix(arg, "-") {
		return sedRuns(arg)
	}
	if script, ok := strings.CutPrefix(arg, "--expression="); ok {
		return sedRuns(script)
	}
	if strings.HasPrefix(arg, "--f") || isCluster(arg) && strings.Contains(arg, "f") {
		return true
	}
	_, script, ok := strings.Cut(arg, "e")
	return ok && isCluster(arg) && sedRuns(script)
}

// sedRuns reports whether a sed script may run a command: e after no address or
// a number, or as a flag at the end of s.
func sedRuns(script string) bool {
	for part := range strings.FieldsFuncSeq(script, func(c rune) bool { return c == ';' || c == '\n' || c == '{' || c == '}' }) {
		part = strings.TrimSpace(part)
		rest := strings.TrimLeft(part, "0123456789$,!~+ ")
		if strings.HasPrefix(rest, "e") && (rest != part || rest == "e" || strings.HasPrefix(rest, "e ")) {
			return true
		}
		body := strings.TrimRight(part, "gpiImMe0123456789")
		if body == "" || !strings.Contains(part[len(body):], "e") {
			continue
		}
		if end := body[len(body)-1]; !isWordByte(end) && strings.Count(body, string(rune(end))) > 2 {
			return true
		}
	}
	return false
}

func isWordByte(c byte) bool {
	return c == '_' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c >= utf8.RuneSelf
}

func isName(s string) bool {
	for i := range len(s) {
		if !isWordByte(s[i]) {
			return false
		}
	}
	return s != ""
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
	if strings.TrimSpace(code) == "" || r.line.unknown != "" {
		return
	}
	if r.nests >= mostShellNests {
		r.line.unknown = "it holds code within code within code"
		return
	}
	before := r.guess
	r.nests, r.guess = r.nests+1, r.guess || guess
	err := r.read(code)
	r.nests, r.guess = r.nests-1, before
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
		words = append(words, shellWord{text: t})
	}
	if len(words) == 0 {
		return
	}
	if w.dynamic {
		words = append(words, shellWord{dynamic: true, splits: true})
	}
	r.line.commands = append(r.line.commands, simpleCommand{words: words, inert: true})
}

// tokens are the words of a text in whatever language.
func tokens(s string) []string {
	return strings.FieldsFunc(s, func(c rune) bool { return c <= ' ' || strings.ContainsRune("\"'`$()[]{}<>;|&!,=\\", c) })
}

// readWord resolves the quotes of a word.
func readWord(w *syntax.Word) shellWord {
	var b wordBuilder
	b.parts(w.Parts, false)
	b.finish()
	return b.word
}

type wordBuilder struct {
	word    shellWord
	out     strings.Builder
	from    int  // where the tail begins
	brace   bool // an unquoted { was met
	bracket bool // an unquoted [ was met
}

func (b *wordBuilder) unknown(splits bool) {
	b.word.dynamic = true
	b.word.splits = b.word.splits || splits
	b.from = b.out.Len()
}

func (b *wordBuilder) finish() {
	b.word.text = b.out.String()
	if b.brace && (strings.Contains(b.word.text, ",") || strings.Contains(b.word.text, "..")) || b.bracket && len(b.word.text) > 1 {
		b.word.dynamic, b.word.splits = true, true
	}
	if b.word.dynamic {
		b.word.tail = b.word.text[min(b.from, len(b.word.text)):]
	}
}

func (b *wordBuilder) parts(parts []syntax.WordPart, quoted bool) {
	for _, p := range parts {
		switch p := p.(type) {
		case *syntax.Lit:
			if quoted {
				b.quotedLit(p.Value)
			} else {
				b.lit(p.Value)
			}
		case *syntax.SglQuoted:
			if p.Dollar {
				b.ansi(p.Value)
			} else {
				b.out.WriteString(p.Value)
			}
		case *syntax.DblQuoted:
			b.parts(p.Parts, true)
		case *syntax.ParamExp:
			// "$@" and "${a[@]}" are many words even in quotes.
			many := p.Param == nil || p.Param.Value == "@" || p.Index != nil || p.Excl || p.Exp != nil || p.Slice != nil || p.Repl != nil
			b.unknown(!quoted || many)
		case *syntax.CmdSubst, *syntax.ArithmExp:
			b.unknown(!quoted)
		default:
			b.unknown(true)
		}
	}
}

func (b *wordBuilder) lit(s string) {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case '\\':
			if i++; i < len(s) && s[i] != '\n' {
				b.out.WriteByte(s[i])
			}
			continue
		case '*', '?':
			b.out.WriteByte(c)
			b.unknown(true)
			continue
		case '[':
			b.bracket = true
		case '{':
			b.brace = true
		case '~':
			if t := b.out.String(); t == "" || t[len(t)-1] == ':' || t[len(t)-1] == '=' {
				b.out.WriteByte(c)
				b.unknown(false)
				continue
			}
		}
		b.out.WriteByte(s[i])
	}
}

func (b *wordBuilder) quotedLit(s string) {
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) && strings.IndexByte("$`\"\\\n", s[i+1]) >= 0 {
			if i++; s[i] == '\n' {
				continue
			}
		}
		b.out.WriteByte(s[i])
	}
}

// ansi resolves $'…'. What shells differ on is left unknown.
func (b *wordBuilder) ansi(s string) {
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.out.WriteByte(s[i])
			continue
		}
		i++
		digits, base := 0, rune(16)
		switch s[i] {
		case 'x':
			digits = 2
		case 'u':
			digits = 4
		case 'U':
			digits = 8
		case '0', '1', '2', '3', '4', '5', '6', '7':
			digits, base, i = 3, 8, i-1
		case 'n':
			b.out.WriteByte('\n')
			continue
		case 't':
			b.out.WriteByte('\t')
			continue
		case '\\', '\'', '"', '?':
			b.out.WriteByte(s[i])
			continue
		default:
			b.unknown(false)
			continue
		}
		var c rune
		n := 0
		for ; n < digits && i+1 < len(s); n++ {
			d := rune(strings.IndexByte("0123456789abcdefABCDEF", s[i+1]))
			if d > 0xf {
				d -= 6
			}
			if d < 0 || d >= base {
				break
			}
			c, i = c*base+d, i+1
		}
		if n == 0 || c <= 0 || c > utf8.MaxRune || base == 8 && c > 0xff {
			b.unknown(false)
		} else if digits < 4 {
			b.out.WriteByte(byte(c))
		} else {
			b.out.WriteRune(c)
		}
	}
}

// name is the program that a word names: the last part of its path in lower
// case, since some file systems do not tell case apart.
func (w shellWord) name() string {
	return programName(w.text)
}

func programName(s string) string {
	s = strings.TrimRight(s, "/")
	s = s[strings.LastIndexAny(s, `/\`)+1:]
	s = strings.TrimPrefix(s, "=") // zsh looks =rm up in the path
	return strings.TrimSuffix(strings.ToLower(s), ".exe")
}

// commandRule is a simple command that is denied, along with everything that
// says at least as much.
type commandRule struct {
	program string
	shorts  string // letters of the short options
	longs   []string
	others  []string
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
		if r.program = w.name(); r.program == "" || strings.HasPrefix(w.text, "-") || strings.Contains(w.text, "*") {
			return commandRule{}, errors.New("must begin with the name of a program")
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

// synonyms are other spellings of short options, per program.
var synonyms = map[string]map[string]string{
	"rm":  {"recursive": "r", "force": "f", "dir": "d", "verbose": "v", "interactive": "i"},
	"git": {"force": "f"},
}

func (r *commandRule) add(word string) {
	switch {
	case word == "--":
	case strings.HasPrefix(word, "--"):
		name, _, _ := strings.Cut(word[2:], "=")
		if short, ok := synonyms[r.program][name]; ok {
			r.shorts += short
		} else {
			r.longs = append(r.longs, name)
		}
	case isCluster(word):
		letters := strings.ReplaceAll(word[1:], "*", "")
		if letters == "" {
			r.longs = append(r.longs, "*")
		}
		r.shorts += r.fold(letters)
	default:
		r.others = append(r.others, word)
	}
}

// fold takes -R for -r where they are one.
func (r *commandRule) fold(letters string) string {
	if r.program == "rm" {
		return strings.ReplaceAll(letters, "R", "r")
	}
	return letters
}

// denies reports whether the rule covers any command of the line, or what the
// line runs can't be known.
func (r commandRule) denies(c commandLine) bool {
	return c.unknown != "" || slices.ContainsFunc(c.commands, r.matches)
}

func (r commandRule) matches(c simpleCommand) bool {
	for i, w := range c.words {
		args := c.words[i+1:]
		if !r.names(w, c.wraps && i > 0) || r.isOtherVerb(args) {
			continue
		}
		// The words after a later mention are among these.
		return r.covers(args, c.inert)
	}
	return false
}

// names reports whether a word is the rule's program.
func (r commandRule) names(w shellWord, wrapped bool) bool {
	if w.dynamic {
		return strings.Contains(w.tail, "/") && programName(w.tail) == r.program
	}
	if w.name() == r.program {
		return true
	}
	if wrapped && isCluster(w.text) {
		for k := 2; k < min(len(w.text), 6); k++ {
			if programName(w.text[k:]) == r.program {
				return true
			}
		}
	}
	return false
}

// verbs of git do only what they say. An alias can't take their names.
var verbs = map[string]bool{
	"add": true, "branch": true, "checkout": true, "commit": true, "diff": true, "fetch": true, "log": true, "ls-files": true, "merge": true,
	"restore": true, "rev-parse": true, "show": true, "stash": true, "status": true, "switch": true, "tag": true,
}

// isOtherVerb spares git checkout "$branch" under a rule about git push.
func (r commandRule) isOtherVerb(args []shellWord) bool {
	return r.program == "git" && len(r.others) > 0 && !strings.Contains(r.others[0], "*") &&
		len(args) > 0 && !args[0].dynamic && verbs[args[0].text] && !strings.EqualFold(args[0].text, r.others[0])
}

// covers reports whether the arguments have all that the rule names. A dynamic
// one may be whatever is still missing.
func (r commandRule) covers(args []shellWord, inert bool) bool {
	var texts []string
	for _, a := range args {
		if a.dynamic {
			return true
		}
		texts = append(texts, a.text)
		// Options may carry words of their own: git -c alias.p='push --force' p.
		if !inert && strings.ContainsAny(a.text, " =\t\n") {
			texts = append(texts, tokens(a.text)...)
		}
	}
	return r.hasOptions(texts) && r.hasOthers(texts)
}

func (r commandRule) hasOptions(texts []string) bool {
	var shorts string
	var longs []string
	for _, t := range texts {
		switch {
		case strings.HasPrefix(t, "--") && len(t) > 2:
			name, _, _ := strings.Cut(t[2:], "=")
			longs = append(longs, name)
			for long, short := range synonyms[r.program] {
				if name != "" && strings.HasPrefix(long, name) { // abbreviated
					shorts += short
				}
			}
		case isCluster(t):
			shorts += r.fold(t[1:])
			longs = append(longs, t[1:])
		case r.program == "git" && strings.HasPrefix(t, "+"):
			shorts += "f" // +main is a forced main
		}
	}
	for _, c := range r.shorts {
		if !strings.ContainsRune(shorts, c) {
			return false
		}
	}
	for _, want := range r.longs {
		if !slices.ContainsFunc(longs, func(got string) bool { return got != "" && strings.HasPrefix(want, got) || wild(want, got) }) {
			return false
		}
	}
	return true
}

func (r commandRule) hasOthers(texts []string) bool {
	left := r.others
	for _, t := range texts {
		if len(left) > 0 && sameWord(left[0], t) {
			left = left[1:]
		}
	}
	return len(left) == 0
}

// sameWord compares an argument with a word of a rule, as paths if that is what
// they look like. The working directory is not known here, so a relative path
// that the rule's may end in counts.
func sameWord(rule, word string) bool {
	if wild(strings.ToLower(rule), strings.ToLower(word)) {
		return true
	}
	if !strings.Contains(rule, "/") && rule != "." && rule != ".." || word == "" {
		return false
	}
	rule, word = strings.ToLower(path.Clean(rule)), strings.ToLower(path.Clean(word))
	if wild(rule, word) {
		return true
	}
	if path.IsAbs(rule) == path.IsAbs(word) {
		return false
	}
	if path.IsAbs(word) {
		return wild("*/"+rule, word)
	}
	for word == ".." || strings.HasPrefix(word, "../") {
		word = strings.TrimPrefix(word[2:], "/")
	}
	return word == "" || word == "." || wild("*/"+word, rule) || wild(rule, "/"+word)
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
