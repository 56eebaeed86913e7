package domain

import (
	"fmt"
	"iter"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Shown is text fit to be shown to a person who has to decide on it: nothing in
// it is invisible, stands in for something else, or is a secret. What a person
// can't see is written as \u{202E}, a byte that is no text as \x{FF}, and a
// secret as [redacted 32 characters].
//
// Where it is unclear whether a word is a secret, it is shown. A reviewer who
// learns a secret is a smaller harm than one who approves what was hidden.
func Shown(s string) string {
	s = visible(s)
	return redacted(s, namedSecrets(s), urlSecrets(s), shapedSecrets(s), keyBodies(s))
}

// ShownTarget is [Shown] for what names a place: a path, a host, a resource. All
// of it says what is acted on, so nothing is redacted but tokens that say
// themselves that they are.
func ShownTarget(s string) string {
	s = visible(s)
	return redacted(s, urlSecrets(s), shapedSecrets(s))
}

// redacted is a text with runs of it redacted.
func redacted(s string, found ...[]span) string {
	var b strings.Builder
	end := 0
	for _, hidden := range apart(slices.Concat(found...)) {
		b.WriteString(s[end:hidden.from])
		plural := "s"
		if hidden.until-hidden.from == 1 {
			plural = ""
		}
		fmt.Fprintf(&b, "[redacted %d character%s]", hidden.until-hidden.from, plural)
		end = hidden.until
	}
	b.WriteString(s[end:])
	return b.String()
}

// visible escapes what a person could not tell from nothing, from a blank, or
// from its neighbor. No two texts look the same: backslashes before an escape,
// or before what reads as one, are doubled.
func visible(s string) string {
	var b strings.Builder
	backslashes := 0 // written, with nothing after them yet
	marks := noBase
	for i := 0; i < len(s); {
		c, size := utf8.DecodeRuneInString(s[i:])
		text := s[i : i+size]
		i += size
		if c == '\\' {
			b.WriteByte('\\')
			backslashes++
			marks = noBase
			continue
		}
		broken := c == utf8.RuneError && size == 1
		marks = marksAfter(c, marks)
		escaped := broken || marks == noBase && (unicode.IsMark(c) || hides(c))
		if escaped || (c == 'u' || c == 'x') && strings.HasPrefix(s[i:], "{") {
			b.WriteString(strings.Repeat(`\`, backslashes))
		}
		backslashes = 0
		switch {
		case broken:
			fmt.Fprintf(&b, `\x{%X}`, text)
		case escaped:
			fmt.Fprintf(&b, `\u{%X}`, c)
		default:
			b.WriteString(text)
		}
	}
	return b.String()
}

// A combining mark is shown on a letter or digit, up to mostMarks of them: more
// would be painted over the lines around it.
const (
	mostMarks = 4
	noBase    = -1
)

// marksAfter is how many marks stand on the last letter once c is written, if
// there were so many before. It is noBase if c can't bear a mark, or is one
// that has to be escaped.
func marksAfter(c rune, marks int) int {
	switch {
	case hides(c):
		return noBase
	case unicode.IsLetter(c) || unicode.IsNumber(c):
		return 0
	case unicode.IsMark(c) && marks != noBase && marks < mostMarks:
		return marks + 1
	}
	return noBase
}

// hides reports whether c has no form of its own to see, passes for an ASCII
// blank, strikes out the letter before it, or takes the place of what is not
// there. What is not assigned yet may turn out to.
func hides(c rune) bool {
	if c < 0x80 {
		return c < 0x20 || c == 0x7f
	}
	return !unicode.IsPrint(c) || unicode.In(c, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector, blank)
}

// blank are the characters that Unicode calls printable all the same.
var blank = &unicode.RangeTable{
	R16: []unicode.Range16{
		{0x0334, 0x0338, 1}, // strokes through a letter
		{0x17b4, 0x17b5, 1}, // vowels that are not written
		{0x180b, 0x180f, 1}, // Mongolian selectors
		{0x20d0, 0x20ff, 1}, // strokes, circles and boxes around a letter
		{0x2800, 0x2800, 1}, // a pattern of no dots
		{0x2d7f, 0x2d7f, 1}, // a joiner
		{0xfffc, 0xfffd, 1}, // in place of an object, of a character
	},
	R32: []unicode.Range32{
		{0x1107f, 0x1107f, 1}, // a joiner
		{0x13441, 0x13442, 1}, // blanks of hieroglyphs
		{0x16fe4, 0x16fe4, 1}, // a filler
		{0x1d159, 0x1d159, 1}, // a note without a head
	},
}

// span is a run of a secret's characters in a text.
type span struct{ from, until int }

// apart are the runs in order, and apart from one another. They are of the
// secret alphabet alone, so no operator, quote or blank of a command is ever in
// one.
func apart(found []span) []span {
	slices.SortFunc(found, func(a, b span) int { return a.from - b.from })
	var runs []span
	for _, f := range found {
		if last := len(runs) - 1; last >= 0 && f.from <= runs[last].until {
			runs[last].until = max(runs[last].until, f.until)
			continue
		}
		runs = append(runs, f)
	}
	return runs
}

// inSecret reports whether a secret may have c in it.
func inSecret(c byte) bool {
	return inToken(c) || strings.IndexByte(".~+/=", c) >= 0
}

// inToken is the alphabet of names and tokens.
func inToken(c byte) bool {
	return 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || c == '_' || c == '-'
}

// run is where the characters that are in end, from from on.
func run(s string, from int, in func(byte) bool) int {
	for from < len(s) && in(s[from]) {
		from++
	}
	return from
}

// looksRandom reports whether a word can't be a program, a path or a branch
// that somebody named.
func looksRandom(s string) bool {
	path := s != "" && strings.IndexByte(".~", s[0]) >= 0 || strings.Contains(s, "/") || strings.Contains(s, "..")
	return !path && mixed(s)
}

// mixed reports whether digits stand among letters as they do in few words.
func mixed(s string) bool {
	var upper, lower, digit bool
	for i := range len(s) {
		upper = upper || 'A' <= s[i] && s[i] <= 'Z'
		lower = lower || 'a' <= s[i] && s[i] <= 'z'
		digit = digit || '0' <= s[i] && s[i] <= '9'
	}
	return digit && (upper && lower && len(s) >= 8 || (upper || lower) && len(s) >= 16)
}

// secretNames are the ends of the names whose value is a secret, in lower case
// and without - and _: DB_PASSWORD, X-Api-Key, clientSecret.
var secretNames = []string{
	"password", "passwd", "passphrase", "secret", "token", "apikey", "accesskey", "secretkey", "privatekey",
	"auth", "authorization", "credential", "credentials", "cookie",
}

// longestSecret bounds what is looked at behind each of many names; what goes on
// longer is shown from there on.
const longestSecret = 512

const longestName = 16 // of secretNames, with some - and _

func secretName(s string) bool {
	s = strings.Map(func(c rune) rune {
		if c == '-' || c == '_' {
			return -1
		}
		return unicode.ToLower(c)
	}, s[max(0, len(s)-longestName):])
	return slices.ContainsFunc(secretNames, func(name string) bool { return strings.HasSuffix(s, name) })
}

// namedSecrets are values after a name: name=value, name: value, --name value.
func namedSecrets(s string) []span {
	var found []span
	for i := 0; i < len(s); i++ {
		if s[i] != '=' && s[i] != ':' && s[i] != ' ' {
			continue
		}
		n, ok := naming(s, i)
		if !ok {
			continue
		}
		from := skip(s, n.after, " ")
		from = skip(s, from, `\`)
		from = skip(s, from, `"'`)
		scheme := schemeAt(s, from)
		from += scheme
		until := run(s[:min(len(s), from+longestSecret)], from, inSecret)
		if n.hides(s, s[from:until], s[until:], scheme > 0) {
			found = append(found, span{from, until})
			i = until - 1
		}
	}
	return found
}

// named is a secret's name in a text and the sign after it, which says that a
// value follows.
type named struct {
	from   int // where the name begins
	after  int // where the sign ends
	sign   byte
	quoted bool // a quote stands between name and sign
	before bool // a blank stands before the sign
	behind bool // a blank stands behind it
}

// naming is the name before the sign at i, if it is that of a secret.
func naming(s string, i int) (named, bool) {
	n := named{after: i + 1, sign: s[i]}
	until := i
	if n.sign == '=' && until > 0 && s[until-1] == ':' {
		until-- // name := value
	}
	if n.sign != ' ' {
		colon := until
		for until > 0 && s[until-1] == ' ' {
			until--
		}
		n.before, n.behind = until < colon, strings.HasPrefix(s[n.after:], " ")
		if until > 0 && isQuote(s[until-1]) {
			n.quoted = true
			until--
			for until > 0 && s[until-1] == '\\' {
				until--
			}
		}
	}
	n.from = until
	for n.from > 0 && inToken(s[n.from-1]) {
		n.from--
	}
	return n, n.from < until && secretName(s[n.from:until])
}

// hides reports whether the value of the name is to be redacted, with rest after
// it. Whoever asks writes the name, and would hide what they are up to by it:
// "AUTH=reboot; $AUTH" and "sudo -p password: reboot" run reboot, and "git push
// origin token:main" pushes to main. So a value has to look like a secret, or to
// stand where no shell takes it for a word of its own, and is never a path.
func (n named) hides(s, value, rest string, scheme bool) bool {
	before, spaced := s[:n.from], n.before || n.behind
	switch {
	case strings.Trim(value, "_.~+/=-") == "", strings.Contains(value, "/"):
		return false
	case n.sign == ' ':
		return s[n.from] == '-' && looksRandom(value)
	case n.sign == '=' && n.behind && !n.before: // "token= reboot" runs reboot
		return false
	case looksRandom(value):
		return true
	case n.sign == '=':
		return false
	}
	if before == "" || !isQuote(before[len(before)-1]) {
		return !n.quoted && spaced && beginsLine(before)
	}
	quote := before[len(before)-1]
	before = strings.TrimRight(before[:len(before)-1], `\`)
	switch {
	case !n.quoted: // "X-Api-Key: value"
		return spaced && closes(rest, quote, ` \);|&,]}`)
	case opensField(before): // {"password":"value"}
		return !spaced || closes(rest, quote, ",}")
	}
	return beginsLine(before)
}

// closes reports whether s begins with the quote, and what follows is among
// then or nothing. Then the quote is a closing one, or a word of the shell goes
// on behind it.
func closes(s string, quote byte, then string) bool {
	s = strings.TrimLeft(s, `\`)
	return s != "" && s[0] == quote && (len(s) == 1 && then[0] == ' ' || len(s) > 1 && strings.IndexByte(then, s[1]) >= 0)
}

func opensField(s string) bool {
	s = strings.TrimRight(s, " ")
	return strings.HasSuffix(s, "{") || strings.HasSuffix(s, ",")
}

// beginsLine reports whether s ends with a line, but for the indent of the next.
func beginsLine(s string) bool {
	s = strings.TrimRight(s, " ")
	line, ok := strings.CutSuffix(s, `\u{A}`)
	return s == "" || ok && !strings.HasSuffix(line, `\`)
}

// schemeAt is the length of a scheme of authorization and the blank after it.
func schemeAt(s string, from int) int {
	for _, scheme := range []string{"bearer ", "basic "} {
		if len(s)-from > len(scheme) && strings.EqualFold(s[from:from+len(scheme)], scheme) {
			return skip(s, from+len(scheme), " ") - from
		}
	}
	return 0
}

func isQuote(c byte) bool { return c == '"' || c == '\'' }

// skip is where the characters out of set end, from from on.
func skip(s string, from int, set string) int {
	return run(s, from, func(c byte) bool { return strings.IndexByte(set, c) >= 0 })
}

// urlSecrets are passwords in URLs: https://user:password@host.
func urlSecrets(s string) []span {
	inUser := func(c byte) bool { return inSecret(c) && c != '/' || c == '%' }
	var found []span
	for at := range places(s, "://") {
		from := at + len("://")
		until := run(s, from, inUser)
		switch {
		case strings.HasPrefix(s[until:], ":"):
			from = until + 1
			until = run(s, from, inUser)
		case !looksRandom(s[from:until]):
			continue
		}
		if !strings.HasPrefix(s[until:], "@") {
			continue
		}
		for from < until { // a % is not of the alphabet, and is shown
			end := run(s[:until], from, inSecret)
			if end > from {
				found = append(found, span{from, end})
			}
			from = end + 1
		}
	}
	return found
}

// shapes are the tokens that say themselves what they are, by what they begin
// with and how many characters follow at the least.
var shapes = []struct {
	prefix string
	least  int
}{
	{"bhf_sk_", 8},
	{"bhf_dev_", 8},
	{"bhf_pass_", 8},
	{"whsec_", 16},
	{"sk_live_", 8},
	{"sk_test_", 8},
	{"rk_live_", 8},
	{"ghp_", 16},
	{"gho_", 16},
	{"ghu_", 16},
	{"ghs_", 16},
	{"ghr_", 16},
	{"github_pat_", 16},
	{"glpat-", 16},
	{"xoxa-", 10},
	{"xoxb-", 10},
	{"xoxe-", 10},
	{"xoxp-", 10},
	{"xoxr-", 10},
	{"xoxs-", 10},
	{"AKIA", 16},
	{"ASIA", 16},
	{"sk-", 16},
	{"eyJ", 16},
}

// shapedSecrets are tokens of a known shape. What they begin with is shown.
func shapedSecrets(s string) []span {
	var found []span
	for _, shape := range shapes {
		in := func(c byte) bool { return inSecret(c) && c != '/' }
		if shape.prefix == "whsec_" {
			in = inSecret // its base64 may have a slash
		}
		next := 0
		for at := range places(s, shape.prefix) {
			if at < next || at > 0 && inToken(s[at-1]) {
				continue
			}
			from := at + len(shape.prefix)
			next = run(s, from, in)
			if next-from >= shape.least && shaped(shape.prefix, s[from:next]) {
				found = append(found, span{from, next})
			}
		}
	}
	return found
}

// shaped asks more of the tokens that begin as a word or a file might.
func shaped(prefix, rest string) bool {
	switch prefix {
	case "AKIA", "ASIA":
		return len(rest) == 16 && strings.Trim(rest, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") == ""
	case "sk-":
		return looksRandom(rest)
	case "eyJ":
		return strings.Contains(rest, ".")
	}
	return true
}

// keyBodies are the lines of private keys between BEGIN and END.
func keyBodies(s string) []span {
	const begin, dashes = "-----BEGIN ", "-----"
	var found []span
	for at := range places(s, begin) {
		from := at + len(begin)
		from = run(s, from, func(c byte) bool { return 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == ' ' })
		if !strings.Contains(s[at:from], "PRIVATE KEY") || !strings.HasPrefix(s[from:], dashes) {
			continue
		}
		from = skipLines(s, from+len(dashes))
		for {
			until := run(s, from, func(c byte) bool { return inToken(c) && c != '_' && c != '-' || c == '+' || c == '/' || c == '=' })
			after := skipLines(s, until)
			if after == until || !keyLine(s[from:until]) {
				break
			}
			found = append(found, span{from, until})
			from = after
		}
	}
	return found
}

// keyLine reports whether a line is of a key. A command could stand on a line
// of its own, too, but has blanks or is shorter.
func keyLine(s string) bool {
	switch {
	case len(s) >= 60:
		return mixed(s) || !strings.Contains(s, "/")
	case strings.HasSuffix(s, "="):
		return true
	}
	return mixed(s) && s[0] != '/'
}

// skipLines is where the ends of lines end, be they real or written as \n.
func skipLines(s string, from int) int {
	for {
		was := from
		for _, end := range []string{`\u{A}`, `\u{D}`, `\n`, `\r`} {
			if strings.HasPrefix(s[from:], end) {
				from += len(end)
			}
		}
		if from == was {
			return from
		}
	}
}

// places are the indexes at which sub begins in s, one after the other.
func places(s, sub string) iter.Seq[int] {
	return func(yield func(int) bool) {
		for at := 0; ; at += len(sub) {
			next := strings.Index(s[at:], sub)
			if next < 0 {
				return
			}
			at += next
			if !yield(at) {
				return
			}
		}
	}
}
