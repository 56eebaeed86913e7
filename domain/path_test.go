package domain

import (
	"path"
	"strings"
	"testing"
)

func TestCleanPath(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, path, cwd, want string }{
		{"a clean path", "/data/a.txt", "", "/data/a.txt"},
		{"the root", "/", "", "/"},
		{"a trailing slash", "/data/", "", "/data"},
		{"double slashes", "//data//a", "", "/data/a"},
		{"dots", "/./data/./a/.", "", "/data/a"},
		{"a climb that stays below the root", "/data/../etc/passwd", "", "/etc/passwd"},
		{"a climb to the root", "/data/..", "", "/"},
		{"names that begin with dots", "/data/.../..a/.b", "", "/data/.../..a/.b"},
		{"an absolute path does not look at cwd", "/data/a", "not absolute", "/data/a"},
		{"a relative path", "a/b.txt", "/data", "/data/a/b.txt"},
		{"a relative path and a trailing slash", "a/", "/data/", "/data/a"},
		{"a relative path at the root", "a", "/", "/a"},
		{"here", ".", "/data", "/data"},
		{"a climb that stays below cwd", "a/../b", "/data", "/data/b"},
		{"a climb back to cwd", "a/..", "/data", "/data"},
		{"a cwd to be cleaned", "a", "/data/../srv/./x", "/srv/x/a"},
		{"a tilde that is not the first", "a/~b", "/data", "/data/a/~b"},
		{"a tilde below the root", "/~root", "", "/~root"},
		{"a percent sign", "/data/100%", "", "/data/100%"},
		{"an escaped space is a name", "/data/a%20b", "", "/data/a%20b"},
		{"spaces", "/data/a b ", "", "/data/a b "},
		{"a dollar sign is a name", "$HOME/a", "/data", "/data/$HOME/a"},
		{"letters beyond ASCII", "/data/straße", "", "/data/straße"},
		{"4096 bytes", "/" + strings.Repeat("a", 4095), "", "/" + strings.Repeat("a", 4095)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := cleanPath(tt.path, tt.cwd)
			if err != nil || got != tt.want {
				t.Errorf("got %q, %v, want %q", got, err, tt.want)
			}
		})
	}
}

func TestCleanPathRefuses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, path, cwd string }{
		{"nothing", "", "/data"},
		{"a climb above the root", "/..", ""},
		{"a climb above the root and down", "/../etc", ""},
		{"a climb above the root on the way", "/a/../../b", ""},
		{"a relative path without cwd", "a", ""},
		{"a relative path with a relative cwd", "a", "data"},
		{"a relative path with a cwd from home", "a", "~/data"},
		{"a cwd above the root", "a", "/.."},
		{"a cwd with a backslash", "a", `/data\b`},
		{"a cwd with a NUL", "a", "/data\x00"},
		{"a cwd with an escaped climb", "a", "/data/%2e%2e"},
		{"a climb out of cwd", "..", "/data"},
		{"a climb out of cwd and back", "../data/a", "/data"},
		{"a climb out of cwd on the way", "a/../../data/b", "/data"},
		{"a climb after a dot", "./../a", "/data"},
		{"home", "~", "/data"},
		{"below home", "~/a", "/data"},
		{"another's home", "~root/a", "/data"},
		{"a drive", "C:/a", "/data"},
		{"a drive's own directory", "c:a", "/data"},
		{"an escaped climb", "/data/%2e%2e/etc", ""},
		{"an escaped climb in capitals", "/data/%2E%2E/etc", ""},
		{"a half escaped climb", "/data/.%2e/etc", ""},
		{"an escaped slash", "/data%2fa", ""},
		{"an escaped backslash", "/data%5Ca", ""},
		{"an escaped NUL", "/data/a%00.txt", ""},
		{"a backslash", `/data\..\etc`, ""},
		{"a backslash alone", `\`, "/data"},
		{"a NUL", "/data/a\x00.txt", ""},
		{"a newline", "/data/a\nb", ""},
		{"a delete", "/data/a\x7f", ""},
		{"broken UTF-8", "/data/\xff", ""},
		{"an overlong slash", "/data\xc0\xaf..", ""},
		{"a zero-width space", "/data/\u200b../a", ""},
		{"4097 bytes", "/" + strings.Repeat("a", 4096), ""},
		{"too long with its cwd", strings.Repeat("a", 2048), "/" + strings.Repeat("a", 2048)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got, err := cleanPath(tt.path, tt.cwd); err == nil || got != "" {
				t.Errorf("got %q, %v, want it refused", got, err)
			}
		})
	}
}

func TestPathRule(t *testing.T) {
	t.Parallel()
	deep := "/data" + strings.Repeat("/"+strings.Repeat("a", 99), 40)
	for _, tt := range []struct {
		name, rule, path string
		want             bool
	}{
		{"itself", "/data", "/data", true},
		{"below", "/data", "/data/a/b", true},
		{"beside", "/data", "/database", false},
		{"beside with a dot", "/data", "/data.txt", false},
		{"above", "/data/a", "/data", false},
		{"another case", "/data", "/Data", false},
		{"all", "/", "/etc/passwd", true},
		{"the root itself", "/", "/", true},

		{"a star", "/home/*/src", "/home/ada/src", true},
		{"below a star", "/home/*/src", "/home/ada/src/main.go", true},
		{"beside a star", "/home/*/src", "/home/ada/src2", false},
		{"a star stops at a slash", "/home/*/src", "/home/a/b/src", false},
		{"above a star", "/home/*", "/home", false},
		{"a star at the end", "/home/*", "/home/ada/src", true},
		{"a star at the root", "/*", "/etc/passwd", true},
		{"a star at the root is not the root", "/*", "/", false},
		{"a name", "/data/*.key", "/data/a.key", true},
		{"below a name", "/data/*.key", "/data/a.key/b", true},
		{"part of a name", "/data/*.key", "/data/a.keys", false},
		{"one character", "/data/v?", "/data/v1/x", true},
		{"anywhere below", "/data/**/.env", "/data/a/b/.env", true},
		{"below anywhere below", "/data/**/.env", "/data/a/.env/x", true},
		{"anywhere below is at least one down", "/data/**/.env", "/data/.env", false},
		{"all below", "/data/**", "/data/a", true},
		{"all below is not it", "/data/**", "/data", false},
		{"all below is not beside", "/data/**", "/database/a", false},
		{"all below the root", "/**", "/a", true},
		{"a path longer than a target may be", "/d*", deep, true},
		{"all below, and such a path", "/data/**", deep, true},
		{"brackets are text", "/data/[ab]", "/data/a", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r, err := compilePathRule(tt.rule)
			if err != nil {
				t.Fatal(err)
			}
			clean, err := cleanPath(tt.path, "")
			if err != nil {
				t.Fatal(err)
			}
			if got := r.covers(clean); got != tt.want {
				t.Errorf("%s and %s: got %v, want %v", tt.rule, clean, got, tt.want)
			}
		})
	}
}

func TestPathRuleRefuses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, rule string }{
		{"nothing", ""},
		{"a relative path", "data"},
		{"a wildcard alone", "**"},
		{"home", "~/data"},
		{"a trailing slash", "/data/"},
		{"double slashes", "/data//a"},
		{"two leading slashes", "//data"},
		{"a dot", "/data/./a"},
		{"a climb", "/data/../a"},
		{"a climb above the root", "/../a"},
		{"a climb after a wildcard", "/data/*/../a"},
		{"an escaped climb", "/data/%2e%2e"},
		{"a backslash", `/data\a`},
		{"a NUL", "/data\x00"},
		{"a newline", "/data\n"},
		{"broken UTF-8", "/data\xff"},
		{"a zero-width space", "/data\u200b"},
		{"a leading space", " /data"},
		{"a trailing space", "/data "},
		{"two stars beside text", "/data/a**"},
		{"three stars", "/data/***"},
		{"513 bytes", "/" + strings.Repeat("a", 512)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if r, err := compilePathRule(tt.rule); err == nil || r.text != "" {
				t.Errorf("got %+v, %v, want it refused", r, err)
			}
		})
	}
	if (pathRule{}).covers("/") || (pathRule{}).covers("") {
		t.Error("the zero rule covers a path, want none")
	}
}

func TestAnUncleanRuleIsToldItsCleanForm(t *testing.T) {
	t.Parallel()
	_, err := compilePathRule("/data/")
	want := `"/data/" is not clean; write "/data", which covers all below it too`
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestCoveringPathsDoesNotAllocate(t *testing.T) {
	for _, rule := range []string{"/data", "/home/*/src", "/data/**/.env"} {
		r, err := compilePathRule(rule)
		if err != nil {
			t.Fatal(err)
		}
		if n := testing.AllocsPerRun(100, func() { r.covers("/data/a/b/c.txt") }); n != 0 {
			t.Errorf("%s: got %v allocations, want 0", rule, n)
		}
	}
}

func FuzzCleanPath(f *testing.F) {
	for _, p := range []string{
		"/data/a", "a/../b", "../a", "..", "/..", "%2e%2e/a", "/%2E%2e", "a\x00b", `a\..\b`, "~/a", "~root", "./a", "a//b", "",
		"C:/a", "\xff", "a/./../../b", strings.Repeat("../", 50), strings.Repeat("a/", 2500), "...", "/a/...", "a\u200b",
	} {
		for _, cwd := range []string{"", "/", "/data", "/data/../srv", "data", "/..", "/data/%2e%2e"} {
			f.Add(p, cwd)
		}
	}
	f.Fuzz(func(t *testing.T, p, cwd string) {
		clean, err := cleanPath(p, cwd)
		if err != nil {
			if clean != "" {
				t.Fatalf("got %q with an error, want nothing", clean)
			}
			return
		}
		if !path.IsAbs(clean) || path.Clean(clean) != clean || len(clean) > mostPath {
			t.Fatalf("got %q, want it absolute and clean", clean)
		}
		if strings.ContainsAny(clean, "\x00\\") || strings.Contains(clean+"/", "/../") {
			t.Fatalf("got %q", clean)
		}
		if again, err := cleanPath(clean, "/elsewhere"); err != nil || again != clean {
			t.Fatalf("got %q (%v) from %q", again, err, clean)
		}
		if !path.IsAbs(p) {
			base, err := cleanPath(cwd, "")
			if err != nil {
				t.Fatalf("got %q from the cwd %q: %v", clean, cwd, err)
			}
			if base != "/" && clean != base && !strings.HasPrefix(clean, base+"/") {
				t.Fatalf("got %q, want it under %q", clean, base)
			}
		}
		r, err := compilePathRule(clean)
		if err != nil {
			return
		}
		if !strings.Contains(clean, "**") && !r.covers(clean) {
			t.Fatalf("the rule %q does not cover itself", clean)
		}
		below := path.Join(clean, "x")
		if !r.covers(below) {
			t.Fatalf("the rule %q does not cover %q", clean, below)
		}
		if beside := clean + "x"; !strings.ContainsAny(clean, "*?") && clean != "/" && r.covers(beside) {
			t.Fatalf("the rule %q covers %q", clean, beside)
		}
	})
}

func BenchmarkCleanPath(b *testing.B) {
	for _, p := range []string{"/data/a/b/c.txt", "a/../b/./c.txt", "../etc/passwd"} {
		b.Run(p, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = cleanPath(p, "/data")
			}
		})
	}
}

func BenchmarkPathRule(b *testing.B) {
	for _, rule := range []string{"/data", "/home/*/src", "/**/.env"} {
		b.Run(rule, func(b *testing.B) {
			r, err := compilePathRule(rule)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				r.covers("/home/ada/src/cmd/main.go")
			}
		})
	}
}
