package domain

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// program reads the arguments of the word at i as those of a program.
func (r *shellReader) program(words []shellWord, i int, seen []bool) {
	if seen[i] || !r.spend(costOfStep) {
		return
	}
	seen[i] = true
	w, args := words[i], words[i+1:]
	if w.dynamic {
		r.unknown("the name of a program in it is not written out")
		return
	}
	name := unversioned(w.name)
	switch {
	case shells[name]:
		r.shell(args)
	case tongues[name]:
		r.tongue(name, args)
	case editors[name]:
		r.editor(name, args)
	case name == "find":
		r.find(words, i, seen)
	case name == "awk" || name == "gawk" || name == "mawk" || name == "nawk":
		r.awk(args)
		r.wrapper(words, i, wrapper{}, seen)
	case name == "sed" || name == "gsed":
		r.sed(args)
	case makers[name]:
		r.maker(name, args)
	default:
		if spec, ok := wrappers[name]; ok {
			r.wrapper(words, i, spec, seen)
		}
	}
}

func isInert(words []shellWord) bool {
	if words[0].dynamic {
		return false
	}
	name, verb := words[0].name, ""
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
		switch w.name {
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
		words = append(words, unknownWords)
	}
	return words
}

// wrapper follows a wrapper to the program that it runs. Which options take a
// value is not always known, so a word after an option may or may not be the
// program: it is read as one, and so is the next.
func (r *shellReader) wrapper(words []shellWord, i int, spec wrapper, seen []bool) {
	name, args := unversioned(words[i].name), words[i+1:]
	if spec.verbs && len(args) > 0 && !args[0].dynamic && quietVerbs[args[0].text] {
		return
	}
	need, afterOption := spec.operands+1, false
	for j, a := range args {
		if need <= 0 && !spec.loose && !spec.code || !r.spend(costOfStep) {
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
			r.assign(variable, plainWord(value))
		default:
			if !spec.loose || !builtins[a.name] {
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

func isWrapper(w shellWord) bool {
	_, ok := wrappers[unversioned(w.name)]
	return ok && !w.dynamic
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
	option, _, _ := strings.Cut(arg, "=")
	return slices.ContainsFunc(opaque, func(o string) bool {
		switch {
		case o == "*" || o == arg:
			return true
		case strings.HasPrefix(o, "--"): // abbreviated
			return len(option) > 2 && strings.HasPrefix(o, option)
		}
		return isCluster(arg) && strings.ContainsRune(arg[1:], rune(o[1]))
	})
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

// maker reads the arguments of make and its like. The file that it is told to
// read is a program like any other, but not if that is its input.
func (r *shellReader) maker(name string, args []shellWord) {
	file, number := false, false // what the option before it says of a word
	for _, a := range args {
		text := a.text
		attached := false
		if option, value, ok := strings.Cut(text, "="); ok && (strings.HasPrefix(option, "--f") || strings.HasPrefix(option, "--m")) {
			attached, text = true, value
		} else if _, value, ok := strings.Cut(text, "f"); ok && isCluster(text) && (value != "" || a.dynamic) {
			attached, text = true, value
		}
		switch named := file || attached; {
		case strings.HasPrefix(a.text, "--ev"):
			r.unknown("what " + name + " runs in it can't be read")
			return
		case text == "-", named && (a.dynamic || strings.HasPrefix(text, "/dev/") || strings.HasPrefix(text, "/proc/")),
			a.dynamic && text == "" && !number: // it may be -f-
			r.unknown("what " + name + " runs in it comes from its input")
			return
		}
		file = a.text == "--file" || a.text == "--makefile" || isCluster(a.text) && strings.HasSuffix(a.text, "f")
		number = a.text == "-j" || a.text == "-l" || a.text == "-C"
	}
}

// isScripted reports whether a program reads its arguments as a language of its
// own, in which ! and = are not followed by a program: awk '!seen[$0]++'.
func isScripted(words []shellWord) bool {
	if len(words) > 1 && isWrapper(words[0]) {
		words = words[1:]
	}
	switch unversioned(words[0].name) {
	case "awk", "gawk", "mawk", "nawk", "sed", "gsed":
		return !words[0].dynamic
	}
	return false
}

// gitVerbs spells out the programs that are verbs of git: git-push.
func gitVerbs(words []shellWord) []shellWord {
	var spelled []shellWord
	for i, w := range words {
		verb, ok := strings.CutPrefix(w.name, "git-")
		if ok && verb != "" && !w.dynamic {
			if spelled == nil {
				spelled = slices.Clone(words[:i])
			}
			spelled = append(spelled, plainWord("git"), plainWord(verb))
		} else if spelled != nil {
			spelled = append(spelled, w)
		}
	}
	if spelled == nil {
		return words
	}
	return spelled
}

// editor reads the arguments of an editor.
func (r *shellReader) editor(name string, args []shellWord) {
	if len(args) != 1 || args[0].text != "--help" && args[0].text != "--version" {
		r.unknown("what " + name + " runs in it comes from its input")
	}
}

// valued are find's tests that take a value, which is never run.
var valued = map[string]bool{
	"-name": true, "-iname": true, "-path": true, "-ipath": true, "-wholename": true, "-regex": true, "-iregex": true, "-newer": true,
	"-mtime": true, "-mmin": true, "-size": true, "-user": true, "-group": true, "-type": true, "-perm": true, "-maxdepth": true, "-mindepth": true,
}

// find reads the arguments of find, which may be told to run something by any
// word that is not written out.
func (r *shellReader) find(words []shellWord, i int, seen []bool) {
	for j := i + 1; j < len(words) && r.spend(costOfStep); j++ {
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
		if !r.spend(costOfStep + len(a.text)) {
			return
		}
		t := strings.ReplaceAll(a.text, "||", "")
		if strings.Contains(t, "system") || strings.Contains(t, "getline") || strings.Contains(t, "@") ||
			strings.Contains(t, "|") && strings.Contains(t, "{") || strings.HasPrefix(t, "-f") || strings.HasPrefix(t, "-i") ||
			strings.HasPrefix(t, "-l") || strings.HasPrefix(t, "-E") || strings.HasPrefix(t, "--") {
			r.unknown("an awk program in it may run commands")
		}
	}
}

func (r *shellReader) sed(args []shellWord) {
	for _, a := range args {
		if r.spend(costOfStep+len(a.text)) && sedOption(a.text) {
			r.unknown("a sed script in it runs commands")
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
