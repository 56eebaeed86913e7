package behalf_test

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/behalf-platform/behalf"

// mayImport says which of our folders the packages of a folder may import.
// "" is the module's root, the Go client.
var mayImport = map[string][]string{
	"":            nil,
	"domain":      nil,
	"projections": {"domain", "projections"},
	"handlers":    {"domain", "projections", "handlers"},
	"infra":       {"domain", "projections", "schemas", "infra"},
	"schemas":     {"schemas"},
	"cmd":         {"", "domain", "projections", "handlers", "infra", "schemas", "cmd"},
}

// refused are the packages, with all below them, that a folder must do without.
var refused = map[string][]string{
	"domain": {"crypto/rand", "database/sql", "io/fs", "log", "math/rand", "net", "os", "syscall"},
}

// harmless are packages below a refused one that only parse.
var harmless = []string{"net/netip", "net/url"}

// clocks are the functions that ask for the time. Outside cmd it is an
// argument, or the same history would not give the same answer.
var clocks = map[string][]string{
	"time":                     {"Now", "Since", "Until"},
	"github.com/oklog/ulid/v2": {"Now", "Make"},
}

// timeless are the folders that get the time as an argument. infra is not one:
// its fakes stand in for a server, which has a clock.
var timeless = []string{"domain", "projections", "handlers"}

// vague are names that say nothing of what is inside, or only which pattern it
// follows.
var vague = []string{
	"util", "common", "shared", "types", "models", "interfaces",
	"repository", "service", "usecase", "adapter",
}

// topLevel is all that stands at the root, beside the Go client's own files and
// the hidden ones.
var topLevel = []string{
	"cmd", "domain", "projections", "handlers", "infra", "schemas",
	"go.mod", "go.sum", "Taskfile.yml", "README.md", "CHANGELOG.md", "LICENSE",
}

func TestLayout(t *testing.T) {
	t.Parallel()
	read := map[string]int{}
	err := fs.WalkDir(os.DirFS("."), ".", func(file string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (entry.Name() == "testdata" || strings.HasPrefix(entry.Name(), ".") && file != "."):
			return fs.SkipDir
		case entry.IsDir(), !strings.HasSuffix(file, ".go"), strings.HasSuffix(file, "_test.go"):
			return nil
		}
		src, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		read[folderOf(path.Dir(file))]++
		for _, b := range mustFindBreaches(t, file, src) {
			t.Error(b)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for folder := range mayImport {
		if read[folder] == 0 {
			t.Errorf("read no file of %q; is the test run elsewhere?", folder)
		}
	}
}

func TestTopLevel(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat(".git"); errors.Is(err, fs.ErrNotExist) {
		t.Skip("not a checkout: what is ours and what lies about can't be told apart")
	}
	out, err := exec.Command("git", "ls-files", "--cached", "--others", "--exclude-standard").Output()
	if err != nil {
		t.Fatalf("list the files of the checkout: %v", err)
	}
	var entries []string
	for file := range strings.Lines(string(out)) {
		entry, _, _ := strings.Cut(strings.TrimSpace(file), "/")
		entries = append(entries, entry)
	}
	slices.Sort(entries)
	for _, entry := range strays(slices.Compact(entries)) {
		t.Errorf("%s has no place at the root; put it in one of the folders", entry)
	}
}

// A checker that finds nothing looks like code that is in order, so here is
// code that is not.
func TestLayoutFindsBreaches(t *testing.T) {
	t.Parallel()
	ours := func(folder string) string { return `import "` + module + `/` + folder + `"` }
	for _, test := range []struct {
		name, file, src string
		want            []string // a piece of each breach
	}{
		{name: "domain imports nothing of ours", file: "domain/a.go", src: ours("schemas"), want: []string{"domain may not import schemas"}},
		{name: "projections import the domain", file: "projections/a.go", src: ours("domain")},
		{name: "projections do not import handlers", file: "projections/a.go", src: ours("handlers"), want: []string{"projections may not import handlers"}},
		{name: "handlers import what is further in, and each other", file: "handlers/natsapi/a.go", src: ours("handlers") + ";" + ours("domain")},
		{name: "handlers do not import a log", file: "handlers/httpapi/a.go", src: ours("infra/natslog"), want: []string{"handlers may not import infra"}},
		{name: "infra imports schemas", file: "infra/natslog/a.go", src: ours("schemas") + ";" + ours("infra/memlog")},
		{name: "infra does not import handlers", file: "infra/natslog/a.go", src: ours("handlers/httpapi"), want: []string{"infra may not import handlers"}},
		{name: "schemas import nothing further out", file: "schemas/a.go", src: ours("domain"), want: []string{"schemas may not import domain"}},
		{name: "the client imports nothing of ours", file: "client.go", src: ours("domain"), want: []string{"the client may not import domain"}},
		{name: "nothing imports cmd", file: "infra/a.go", src: ours("cmd/behalf"), want: []string{"infra may not import cmd"}},
		{name: "nothing further in imports the client", file: "handlers/a.go", src: `import "` + module + `"`, want: []string{"handlers may not import the client"}},
		{name: "cmd imports everything", file: "cmd/behalf/a.go", src: `import "` + module + `";` + ours("infra/natslog") + ";" + ours("cmd/x")},
		{name: "a neighbour's name is not ours", file: "domain/a.go", src: `import "` + module + `-sdk/domain"`},
		{name: "a new folder", file: "plugins/a.go", want: []string{"plugins is no folder of ours"}},
		{name: "a file that is not built here", file: "domain/a_windows.go", src: ours("infra"), want: []string{"domain may not import infra"}},

		{name: "domain reads the clock", file: "domain/a.go", src: `import "time"; var t = time.Now()`, want: []string{"domain/a.go:2: asks for the time with time.Now"}},
		{name: "domain hands the clock on", file: "domain/a.go", src: `import "time"; var now = time.Now`, want: []string{"time.Now"}},
		{name: "projections read the clock under another name", file: "projections/a.go", src: `import clock "time"; var d = clock.Since(clock.Time{})`, want: []string{"time.Since"}},
		{name: "handlers read the clock through an id", file: "handlers/a.go", src: `import "github.com/oklog/ulid/v2"; var id = ulid.Make()`, want: []string{"ulid.Make"}},
		{name: "a dot hides where a name is from", file: "handlers/a.go", src: `import . "time"; var t = Now()`, want: []string{`dot import of "time"`}},
		{name: "handlers may wait", file: "handlers/a.go", src: `import "time"; var after = time.After`},
		{name: "a method of that name is no clock", file: "handlers/a.go", src: `type h struct{ Now func() int }; func (h h) at() int { return h.Now() }`},
		{name: "cmd reads the clock", file: "cmd/behalf/a.go", src: `import "time"; var t = time.Now()`},

		{name: "domain draws lots", file: "domain/a.go", src: `import "math/rand/v2"`, want: []string{"domain must do without math/rand/v2"}},
		{name: "domain reaches outside", file: "domain/a.go", src: `import ("os"; "net/http"; "crypto/rand")`, want: []string{"without os", "without net/http", "without crypto/rand"}},
		{name: "domain reads an address", file: "domain/a.go", src: `import ("net/netip"; "net/url")`},
		{name: "handlers serve", file: "handlers/httpapi/a.go", src: `import "net/http"`},

		{name: "a vague folder", file: "handlers/util/a.go", want: []string{"util says nothing"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := mustFindBreaches(t, test.file, []byte("package p\n"+test.src))
			if len(got) != len(test.want) {
				t.Fatalf("got %d breaches %q, want %d like %q", len(got), got, len(test.want), test.want)
			}
			for i, want := range test.want {
				if !strings.Contains(got[i], want) {
					t.Errorf("got %q, want it to say %q", got[i], want)
				}
			}
		})
	}
}

func TestTopLevelFindsStrays(t *testing.T) {
	t.Parallel()
	entries := []string{".ci", ".gitignore", "LICENSE", "client.go", "cmd", "domain", "go.mod", "notes.md", "pkg", "tools.mod"}
	want := []string{"notes.md", "pkg", "tools.mod"}
	if got := strays(entries); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// strays returns the entries that have no place at the root.
func strays(entries []string) []string {
	return slices.DeleteFunc(slices.Clone(entries), func(entry string) bool {
		return slices.Contains(topLevel, entry) || strings.HasPrefix(entry, ".") || strings.HasSuffix(entry, ".go")
	})
}

// mustFindBreaches reads a file as if it stood at the given path below the
// module's root, and says where it leaves its place.
func mustFindBreaches(t *testing.T, file string, src []byte) (found []string) {
	t.Helper()
	fset := token.NewFileSet()
	tree, err := parser.ParseFile(fset, file, src, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	breach := func(at token.Pos, format string, args ...any) {
		position := fset.Position(at)
		found = append(found, fmt.Sprintf("%s:%d: %s", position.Filename, position.Line, fmt.Sprintf(format, args...)))
	}

	dir := path.Dir(file)
	folder := folderOf(dir)
	if _, known := mayImport[folder]; !known {
		breach(tree.Package, "%s is no folder of ours", folder)
	}
	for _, name := range slices.Compact([]string{path.Base(dir), tree.Name.Name}) {
		if slices.Contains(vague, name) {
			breach(tree.Package, "%s says nothing of what is inside", name)
		}
	}

	clockOf := map[string]string{} // the name a file has for a package with a clock
	for _, spec := range tree.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		if inner, ours := strings.CutPrefix(imported+"/", module+"/"); ours {
			if to := folderOf(inner); !slices.Contains(mayImport[folder], to) {
				breach(spec.Pos(), "%s may not import %s", called(folder), called(to))
			}
		}
		for _, prefix := range refused[folder] {
			if strings.HasPrefix(imported+"/", prefix+"/") && !slices.Contains(harmless, imported) {
				breach(spec.Pos(), "%s must do without %s", folder, imported)
			}
		}
		if clocks[imported] == nil || !slices.Contains(timeless, folder) {
			continue
		}
		switch {
		case spec.Name == nil:
			clockOf[packageName(imported)] = imported
		case spec.Name.Name == ".":
			breach(spec.Pos(), "dot import of %q", imported)
		default:
			clockOf[spec.Name.Name] = imported
		}
	}

	ast.Inspect(tree, func(n ast.Node) bool {
		selector, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if x, ok := selector.X.(*ast.Ident); ok && slices.Contains(clocks[clockOf[x.Name]], selector.Sel.Name) {
			breach(selector.Pos(), "asks for the time with %s.%s; take it as an argument", packageName(clockOf[x.Name]), selector.Sel.Name)
		}
		return true
	})
	return found
}

// folderOf returns the first element of a directory below the root, and "" for
// the root itself.
func folderOf(dir string) string {
	folder, _, _ := strings.Cut(dir, "/")
	return strings.TrimPrefix(folder, ".")
}

// called is what to call a folder in a sentence.
func called(folder string) string {
	if folder == "" {
		return "the client"
	}
	return folder
}

// packageName guesses a package's name from its path, past a major version.
func packageName(imported string) string {
	name := path.Base(imported)
	if len(name) > 1 && name[0] == 'v' && strings.Trim(name[1:], "0123456789") == "" {
		name = path.Base(path.Dir(imported))
	}
	return name
}
