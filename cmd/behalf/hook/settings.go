package hook

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Places are where settings can be.
type Places struct {
	Home, Project string
	Getenv        func(string) string
}

// SettingsFile is the file of an editor's settings of a scope: user, project, or
// local.
func SettingsFile(e Editor, scope string, p Places) (string, error) {
	files := map[Editor]map[string]string{
		ClaudeCode: {
			"user":    filepath.Join(cmp.Or(p.Getenv("CLAUDE_CONFIG_DIR"), filepath.Join(p.Home, ".claude")), "settings.json"),
			"project": filepath.Join(p.Project, ".claude", "settings.json"),
			"local":   filepath.Join(p.Project, ".claude", "settings.local.json"),
		},
		Cursor: {
			"user":    filepath.Join(p.Home, ".cursor", "hooks.json"),
			"project": filepath.Join(p.Project, ".cursor", "hooks.json"),
		},
		Codex: {
			"user":    filepath.Join(cmp.Or(p.Getenv("CODEX_HOME"), filepath.Join(p.Home, ".codex")), "hooks.json"),
			"project": filepath.Join(p.Project, ".codex", "hooks.json"),
		},
	}
	switch {
	case files[e] == nil:
		return "", fmt.Errorf("there is no editor %q; there are %s, %s and %s", string(e), ClaudeCode, Cursor, Codex)
	case files[e][scope] == "" && scope == "local":
		return "", fmt.Errorf("%s has no local settings; use --scope user or project", e)
	case files[e][scope] == "":
		return "", fmt.Errorf("--scope %q is unknown; use user, project or local", scope)
	}
	return files[e][scope], nil
}

// Program is the absolute path of the behalf that an editor starts: the one
// given, or this one.
func Program(given string) (string, error) {
	path := given
	if path == "" {
		self, err := os.Executable()
		if err != nil {
			return "", fmt.Errorf("find this program: %w; name it with --program", err)
		}
		if strings.Contains(filepath.ToSlash(self), "/go-build") {
			return "", fmt.Errorf("this program, %s, is gone when it ends; install behalf first, or name it with --program", self)
		}
		path = self
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("find %s: %w", given, err)
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return "", fmt.Errorf("--program: %w", err)
	case info.IsDir() || info.Mode().Perm()&0o111 == 0 && filepath.Ext(path) != ".exe":
		return "", fmt.Errorf("--program %s can't be run", path)
	}
	return path, nil
}

// editorPatience is how long an editor waits for a hook that has to have
// answered before: an editor that gives up may let the call through.
func editorPatience(o Options) int { return int((o.Timeout + o.Wait + 20*time.Second) / time.Second) }

// Keys on the way to the list of hooks that stand before a tool call.
var listOf = map[Editor][2]string{
	ClaudeCode: {"hooks", "PreToolUse"}, Codex: {"hooks", "PreToolUse"}, Cursor: {"hooks", "preToolUse"},
}

type claudeGroup struct {
	Matcher string          `json:"matcher"`
	Hooks   []claudeHandler `json:"hooks"`
}

// claudeHandler is in exec form: no shell reads it. onFailure is known to
// version 2.1.295 and newer; older ones pass over it.
type claudeHandler struct {
	Type      string   `json:"type"`
	Command   string   `json:"command"`
	Args      []string `json:"args"`
	Timeout   int      `json:"timeout"`
	OnFailure string   `json:"onFailure"`
}

type cursorEntry struct {
	Command    string `json:"command"`
	Timeout    int    `json:"timeout"`
	FailClosed bool   `json:"failClosed"`
}

type codexGroup struct {
	Hooks []codexHandler `json:"hooks"`
}

type codexHandler struct {
	Type    string `json:"type"`
	Command string `json:"command"`
	Timeout int    `json:"timeout"`
}

// entry is what stands in an editor's list.
func entry(program string, o Options) ([]byte, error) {
	var v any
	switch o.Editor {
	case ClaudeCode:
		v = claudeGroup{"*", []claudeHandler{{"command", program, o.arguments(), editorPatience(o), "block"}}}
	case Cursor:
		v = cursorEntry{quoted(program, o.arguments()), editorPatience(o), true}
	case Codex:
		v = codexGroup{[]codexHandler{{"command", quoted(program, o.arguments()), editorPatience(o)}}}
	}
	return json.Marshal(v, jsontext.EscapeForHTML(false))
}

// quoted is a command line for an editor that gives it to a shell.
func quoted(program string, args []string) string {
	line := quote(program)
	for _, arg := range args {
		line += " " + quote(arg)
	}
	return line
}

func quote(word string) string {
	plain := func(r rune) bool {
		return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("-_./=:@,+", r)
	}
	if word != "" && strings.IndexFunc(word, func(r rune) bool { return !plain(r) }) < 0 {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// ours reports whether a handler is a hook of ours for an editor.
func (n *node) ours(e Editor) bool {
	program, args := n.word("command"), ""
	if list := n.child("args"); list != nil {
		for _, arg := range list.elements {
			args += " " + arg.text
		}
	} else if at := strings.LastIndex(program, " hook "+string(e)); at >= 0 {
		program, args = strings.Trim(program[:at], "'"), program[at:]
	}
	if args != " hook "+string(e) && !strings.HasPrefix(args, " hook "+string(e)+" ") {
		return false
	}
	name := strings.ToLower(filepath.Base(strings.ReplaceAll(program, `\`, "/")))
	return strings.HasPrefix(name, "behalf")
}
