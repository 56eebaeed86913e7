package domain

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestGlob(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, pattern, text string
		want                bool
	}{
		{"the same text", "github.com/acme/app", "github.com/acme/app", true},
		{"another case", "github.com/acme/app", "github.com/Acme/app", false},
		{"a prefix", "github.com/acme", "github.com/acme/app", false},
		{"a longer one", "github.com/acme/app", "github.com/acme", false},

		{"a star for a segment", "acme/*", "acme/app", true},
		{"a star stops at a slash", "acme/*", "acme/app/main.go", false},
		{"a star wants something", "acme/*", "acme/", false},
		{"a star is not the segment above", "acme/*", "acme", false},
		{"a star and a trailing slash", "acme/*", "acme/app/", false},
		{"a star for a leading slash", "*/app", "/app", false},
		{"a star in a name", "release-*", "release-1.2", true},
		{"a star in a name may be nothing", "release-*", "release-", true},
		{"a star in a name stops at a slash", "release-*", "release-1/2", false},
		{"stars around", "*main*", "domain-x", true},
		{"stars that go back", "*ab*ab*c", "ababxabc", true},
		{"stars that can't", "*ab*ab*ab", "ababxa", false},
		{"stars may meet but not overlap", "ab*ba", "aba", false},
		{"a star alone", "*", "main", true},
		{"a star alone for two segments", "*", "a/b", false},
		{"a star before a suffix", "*.go", "main.go", true},
		{"a suffix that goes on", "*.go", "main.gox", false},

		{"one character", "v?", "v1", true},
		{"one character is not none", "v?", "v", false},
		{"one character is not two", "v?", "v12", false},
		{"one character is not a slash", "a?b", "a/b", false},
		{"one character of several bytes", "?", "€", true},
		{"one of several bytes is not two", "??", "€", false},
		{"nor after a star", "*??", "€", false},
		{"a star and one of several bytes", "*?", "a€", true},
		{"as many as there are", "???", "aé€", true},

		{"all below", "acme/**", "acme/app", true},
		{"all further below", "acme/**", "acme/a/b/c", true},
		{"all below is not it", "acme/**", "acme", false},
		{"all below is not it with a slash", "acme/**", "acme/", false},
		{"all below with a slash at the end", "acme/**", "acme/app/", true},
		{"all below is not beside", "acme/**", "acme-evil/app", false},
		{"everything", "**", "a/b/c", true},
		{"everything is one segment too", "**", "a", true},
		{"everything is the root too", "**", "/", true},
		{"everything is absolute too", "**", "/a", true},
		{"everything is a URL too", "**", "s3://b/", true},
		{"all below the root", "/**", "/a/b", true},
		{"all below the root is not the root", "/**", "/", false},
		{"something above", "**/app", "acme/app", true},
		{"much above", "**/app", "a/b/app", true},
		{"nothing above", "**/app", "app", false},
		{"nothing above but a slash", "**/app", "/app", false},
		{"something between", "a/**/z", "a/b/z", true},
		{"much between", "a/**/z", "a/b/c/d/z", true},
		{"nothing between", "a/**/z", "a/z", false},
		{"something after what is between", "a/**/z", "a/b/z/c", false},
		{"z between too", "a/**/z", "a/z/z", true},
		{"two between", "a/**/m/**/z", "a/m/m/m/z", true},
		{"two between with too little", "a/**/m/**/z", "a/m/m/z", false},
		{"two at once are two segments", "**/**", "a", false},
		{"two at once", "**/**", "a/b", true},
		{"a name below", "**/*.go", "a/b/main.go", true},
		{"two stars are not one within a segment", "a/**", "ab", false},

		{"a URL", "s3://backup/2026", "s3://backup/2026", true},
		{"below a URL", "s3://backup/**", "s3://backup/2026/x", true},
		{"another bucket", "s3://backup/**", "s3://backup-evil/2026", false},
		{"another scheme", "s3://backup/**", "s4://backup/2026", false},
		{"a bucket by pattern", "s3://*/x", "s3://backup/x", true},
		{"no bucket", "s3://*/x", "s3:///x", false},

		{"brackets are text", "a[bc]", "a[bc]", true},
		{"brackets are no class", "a[bc]", "ab", false},
		{"nor beside a star", "*[bc]", "xb", false},
		{"braces are text", "{a,b}*", "{a,b}c", true},
		{"braces are no choice", "{a,b}*", "ac", false},
		{"an exclamation mark is text", "!a*", "b", false},
		{"a dot is text", "a.b*", "axb", false},
		{"a plus is text", "a+*", "aa", false},
		{"an escaped space stays as it is", "a%20b*", "a%20bc", true},
		{"a space within", "a b*", "a bc", true},
		{"letters beyond ASCII", "straße/*", "straße/7", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			g, err := compileGlob(tt.pattern)
			if err != nil {
				t.Fatal(err)
			}
			if got := g.match(tt.text); got != tt.want {
				t.Errorf("%s against %q: got %v, want %v", tt.pattern, tt.text, got, tt.want)
			}
		})
	}
}

// hostile is what no pattern may be, and no pattern may match.
var hostile = []struct{ name, text string }{
	{"nothing", ""},
	{"a space", " "},
	{"a leading space", " a"},
	{"a trailing space", "a "},
	{"a trailing no-break space", "a\u00a0"},
	{"a leading ideographic space", "\u3000a"},
	{"a NUL", "a\x00b"},
	{"a newline", "a\nb"},
	{"a trailing newline", "a\n"},
	{"an escape", "a\x1b[2Jb"},
	{"a delete", "a\x7f"},
	{"a C1 control", "a\u0085b"},
	{"a soft hyphen", "a\u00adb"},
	{"a zero-width space", "a\u200bb"},
	{"a zero-width joiner", "a\u200db"},
	{"a direction override", "a\u202eb"},
	{"a byte order mark", "\ufeffa"},
	{"a line separator", "a\u2028b"},
	{"a Hangul filler", "a\u3164b"},
	{"a variation selector", "a\ufe0fb"},
	{"a tag character", "a\U000e0041b"},
	{"broken UTF-8", "a\xffb"},
	{"overlong UTF-8", "a\xc0\xafb"},
	{"a surrogate", "a\xed\xa0\x80b"},
	{"the replacement character", "a\ufffdb"},
	{"a dot", "."},
	{"two dots", ".."},
	{"a dot segment", "a/./b"},
	{"a leading dot segment", "./a"},
	{"a trailing dot segment", "a/."},
	{"a climb", "a/../b"},
	{"a leading climb", "../a"},
	{"a trailing climb", "a/.."},
	{"a climb from the root", "/../a"},
	{"a climb in a URL", "s3://backup/../secret"},
	{"an escaped climb", "a/%2e%2e/b"},
	{"an escaped climb in capitals", "a/%2E%2E/b"},
	{"a half escaped climb", "a/.%2e/b"},
	{"an escaped slash", "a%2fb"},
	{"an escaped slash in capitals", "a%2Fb"},
	{"an escaped backslash", "a%5cb"},
	{"an escaped backslash in capitals", "a%5Cb"},
	{"an escaped NUL", "a%00"},
	{"a backslash", `a\b`},
	{"a climb by backslash", `a\..\b`},
	{"two slashes", "a//b"},
	{"two leading slashes", "//a"},
	{"two trailing slashes", "a//"},
	{"three slashes after a scheme", "file:///etc"},
	{"two slashes after what is no scheme", "1a://b"},
	{"two slashes after a colon", "://b"},
	{"two slashes after a later scheme", "a/s3://b"},
}

func TestWhatIsHostileMatchesNothing(t *testing.T) {
	t.Parallel()
	for _, tt := range hostile {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if plainTarget(tt.text) {
				t.Errorf("%q is plain, want it not to be", tt.text)
			}
			if _, err := compileGlob(tt.text); err == nil {
				t.Errorf("got a pattern of %q, want it refused", tt.text)
			}
			for _, pattern := range []string{"**", "*", "a/**", "a*b", "a?b", "s3://backup/**", "*/b", "/**"} {
				g, err := compileGlob(pattern)
				if err != nil {
					t.Fatal(err)
				}
				if g.match(tt.text) {
					t.Errorf("%s matches %q, want it not to", pattern, tt.text)
				}
			}
		})
	}
}

func TestGlobRefuses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, text string }{
		{"two stars beside text", "a**b"},
		{"two stars before text", "a/**b"},
		{"two stars after text", "a**/b"},
		{"three stars", "a/***"},
		{"four stars", "****"},
		{"two stars beside a question mark", "a/**?"},
		{"a wildcard scheme", "*://b/x"},
		{"part of a scheme", "s?://b/x"},
		{"a dot beside a wildcard segment", "**/../a"},
		{"513 bytes", strings.Repeat("a", 513)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if g, err := compileGlob(tt.text); err == nil || g.text != "" {
				t.Errorf("got %+v, %v, want it refused", g, err)
			}
		})
	}
}

func TestGlobBounds(t *testing.T) {
	t.Parallel()
	if _, err := compileGlob(strings.Repeat("a", 512)); err != nil {
		t.Errorf("512 bytes: %v", err)
	}
	all, err := compileGlob("**")
	if err != nil {
		t.Fatal(err)
	}
	if !all.match(strings.Repeat("a", 2048)) {
		t.Error("2048 bytes: got no match, want one")
	}
	if long := strings.Repeat("a", 2049); all.match(long) || plainTarget(long) {
		t.Error("2049 bytes: got a match, want none")
	}
	if (glob{}).match("") || (glob{}).match("a") {
		t.Error("the zero glob: got a match, want none")
	}
}

// The patterns that make a matcher which goes back to every wildcard take
// longer than the universe has been there.
func TestGlobIsBoundedOnHostilePatterns(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ pattern, text string }{
		{strings.Repeat("*a", 255), strings.Repeat("a", 2047) + "b"},
		{strings.Repeat("a*", 255) + "c", strings.Repeat("a", 2047) + "b"},
		{strings.Repeat("*?", 255), strings.Repeat("a", 254)},
		{strings.Repeat("**/a/", 100) + "b", strings.Repeat("a/", 1023) + "c"},
		{strings.Repeat("**/*/", 100) + "b", strings.Repeat("a/", 1023) + "c"},
		{"**/" + strings.Repeat("*a", 200) + "b", strings.Repeat("a", 1000) + "/" + strings.Repeat("a", 1000)},
	} {
		g, err := compileGlob(tt.pattern)
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if g.match(tt.text) {
			t.Errorf("%s matches", tt.pattern)
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("%s took %s", tt.pattern, took)
		}
	}
}

func TestMatchingGlobsDoesNotAllocate(t *testing.T) {
	for _, pattern := range []string{"s3://backup/2026/a.tar", "s3://backup/*/?.tar", "s3://**", "**/x/**"} {
		g, err := compileGlob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		if n := testing.AllocsPerRun(100, func() { g.match("s3://backup/2026/a.tar") }); n != 0 {
			t.Errorf("%s: got %v allocations, want 0", pattern, n)
		}
	}
}

// globSlowly says the rules as plainly as they can be said.
func globSlowly(pattern, text []string) bool {
	if len(pattern) == 0 || len(text) == 0 {
		return len(pattern) == 0 && len(text) == 0
	}
	if pattern[0] != "**" {
		return segmentSlowly([]rune(pattern[0]), []rune(text[0])) && globSlowly(pattern[1:], text[1:])
	}
	for n := 1; n <= len(text); n++ {
		if strings.Join(text[:n], "/") != "" && globSlowly(pattern[1:], text[n:]) {
			return true
		}
	}
	return false
}

func segmentSlowly(pattern, text []rune) bool {
	if len(text) == 0 || len(pattern) == 0 {
		return len(pattern) == len(text)
	}
	return runesSlowly(pattern, text)
}

func runesSlowly(pattern, text []rune) bool {
	switch {
	case len(pattern) == 0:
		return len(text) == 0
	case pattern[0] == '*':
		for n := range len(text) + 1 {
			if runesSlowly(pattern[1:], text[n:]) {
				return true
			}
		}
		return false
	}
	return len(text) > 0 && (pattern[0] == '?' || pattern[0] == text[0]) && runesSlowly(pattern[1:], text[1:])
}

func FuzzGlob(f *testing.F) {
	for _, pattern := range []string{
		"**", "*", "a/**", "**/a", "a/**/z", "s3://b/x", "s3://*/**", "*.go", "?", "*??", "[a-z]*", "{a,b}", "a**b", `a\*`,
		"../a", "%2e%2e/a", "a\x00", "\xff*", strings.Repeat("*a", 200), "**/*/**", "a*b*a?*",
	} {
		for _, text := range []string{
			"a", "a/b/c", "/", "a/", "s3://b/x", "file:///etc", "main.go", "€", "ab", "../a", "%2e%2E", "a\x00", "\xff", "a//b",
			strings.Repeat("a", 300), "a/z/z", "a\u200bb",
		} {
			f.Add(pattern, text)
		}
	}
	all, err := compileGlob("**")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, pattern, text string) {
		plain := plainTarget(text)
		if all.match(text) != plain {
			t.Fatalf("got %v for ** and %q, want %v", !plain, text, plain)
		}
		if plain && (!utf8.ValidString(text) || strings.ContainsAny(text, "\x00\\\n") || strings.Contains("/"+text+"/", "/../")) {
			t.Fatalf("%q is plain", text)
		}
		g, err := compileGlob(pattern)
		if err != nil {
			return
		}
		if !strings.ContainsAny(pattern, "*?") && !g.match(pattern) {
			t.Fatalf("%q does not match itself", pattern)
		}
		got := g.match(text)
		if got && !plain {
			t.Fatalf("%q matches %q, which is not plain", pattern, text)
		}
		if len(pattern) > 24 || len(text) > 48 || strings.Count(pattern, "*") > 4 {
			return // slowly is too slow
		}
		if want := plain && globSlowly(strings.Split(pattern, "/"), strings.Split(text, "/")); got != want {
			t.Fatalf("got %v for %q and %q, want %v", got, pattern, text, want)
		}
	})
}

func BenchmarkGlob(b *testing.B) {
	for _, bb := range []struct{ name, pattern, text string }{
		{"exact", "s3://backup/2026/a.tar", "s3://backup/2026/a.tar"},
		{"below", "s3://backup/**", "s3://backup/2026/10/a.tar"},
		{"miss", "s3://other/**", "s3://backup/2026/10/a.tar"},
		{"stars", "s3://*/20??/*/*.tar", "s3://backup/2026/10/a.tar"},
		{"hostile", strings.Repeat("*a", 255), strings.Repeat("a", 2047) + "b"},
	} {
		b.Run(bb.name, func(b *testing.B) {
			g, err := compileGlob(bb.pattern)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				g.match(bb.text)
			}
		})
	}
}
