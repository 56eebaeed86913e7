package domain

import (
	"strings"
	"unicode/utf8"

	"mvdan.cc/sh/v3/syntax"
)

// shellWord is one word with its quotes resolved.
type shellWord struct {
	text string // of a dynamic word, what is written out of it
	// name is the program that the word names, or is empty if that is not written
	// out. Of a dynamic word it is what ends its path.
	name    string
	dynamic bool // a part is decided when the command runs
	splits  bool // may become several words, or none
	expands bool // dynamic by what a variable or another command says
}

// plainWord is a word that is written out.
func plainWord(text string) shellWord {
	return shellWord{text: text, name: programName(text)}
}

// unknownWords are none, one or many that the text does not tell.
var unknownWords = shellWord{dynamic: true, splits: true}

// programName is the last part of a program's path in lower case, since some
// file systems do not tell case apart.
func programName(s string) string {
	s = strings.TrimRight(s, "/")
	s = s[strings.LastIndexAny(s, `/\`)+1:]
	s = strings.TrimPrefix(s, "=") // zsh looks =rm up in the path
	return strings.TrimSuffix(strings.ToLower(s), ".exe")
}

// unversioned is a program's name without its version: bash-5.2 is bash.
func unversioned(name string) string {
	if base := strings.TrimRight(name, "0123456789.-"); base != "" {
		return base
	}
	return name // . is a program too
}

// readWord resolves the quotes of a word.
func readWord(w *syntax.Word) shellWord {
	if len(w.Parts) == 1 {
		if lit, ok := w.Parts[0].(*syntax.Lit); ok && !strings.ContainsAny(lit.Value, `\*?[{~`) {
			return plainWord(lit.Value) // as most words are
		}
	}
	var b wordBuilder
	b.parts(w.Parts, false)
	b.finish()
	return b.word
}

type wordBuilder struct {
	word    shellWord
	out     strings.Builder
	from    int  // where what follows the last unknown begins
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
	if !b.word.dynamic {
		b.word.name = programName(b.word.text)
	} else if tail := b.word.text[min(b.from, len(b.word.text)):]; strings.Contains(tail, "/") {
		b.word.name = programName(tail) // "$DIR"/rm
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
			b.word.expands = true
		case *syntax.CmdSubst, *syntax.ArithmExp:
			b.unknown(!quoted)
			b.word.expands = true
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

// isCluster reports whether s is short options: -r, -rf.
func isCluster(s string) bool {
	return len(s) > 1 && s[0] == '-' && s[1] != '-'
}

// tokens are the words of a text in whatever language.
func tokens(s string) []string {
	return strings.FieldsFunc(s, func(c rune) bool { return c <= ' ' || strings.ContainsRune("\"'`$()[]{}<>;|&!,=\\", c) })
}
