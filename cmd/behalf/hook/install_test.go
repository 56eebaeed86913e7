package hook

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func mustWrite(t *testing.T, text string, mode fs.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "settings.json")
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func mustMake(t *testing.T, c Change, err error) {
	t.Helper()
	if err == nil {
		err = c.Make()
	}
	if err != nil {
		t.Fatal(err)
	}
}

func usual(e Editor) Options { return Options{Editor: e, Timeout: usualTimeout} }

const program = "/opt/my tools/behalf"

// list are the elements of an editor's list of hooks.
func list(t *testing.T, e Editor, text []byte) []json.RawMessage {
	t.Helper()
	var file struct {
		Hooks map[string][]json.RawMessage `json:"hooks"`
	}
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return file.Hooks[listOf[e][1]]
}

func TestInstallWritesTheEntryOfEachEditor(t *testing.T) {
	t.Parallel()
	for editor, want := range map[Editor]string{
		ClaudeCode: `{
  "hooks": {
    "PreToolUse": [
      {
        "matcher": "*",
        "hooks": [
          {
            "type": "command",
            "command": "/opt/my tools/behalf",
            "args": [
              "hook",
              "claude-code",
              "--agent=agent_coder",
              "--wait=5m0s"
            ],
            "timeout": 330,
            "onFailure": "block"
          }
        ]
      }
    ]
  }
}
`,
		Cursor: `{
  "version": 1,
  "hooks": {
    "preToolUse": [
      {
        "command": "'/opt/my tools/behalf' hook cursor --agent=agent_coder --wait=5m0s",
        "timeout": 330,
        "failClosed": true
      }
    ]
  }
}
`,
		Codex: `{
  "hooks": {
    "PreToolUse": [
      {
        "hooks": [
          {
            "type": "command",
            "command": "'/opt/my tools/behalf' hook codex --agent=agent_coder --wait=5m0s",
            "timeout": 330
          }
        ]
      }
    ]
  }
}
`,
	} {
		o := usual(editor)
		o.Agent, o.Wait = "agent_coder", 5*time.Minute
		path := filepath.Join(t.TempDir(), "new", "settings.json")
		c, err := Install(path, program, o)
		mustMake(t, c, err)
		got, err := os.ReadFile(path)
		if err != nil || string(got) != want {
			t.Errorf("%s: got %v\n%s\nwant\n%s", editor, err, got, want)
		}
	}
}

func TestInstallAndUninstallKeepTheRest(t *testing.T) {
	t.Parallel()
	for name, before := range map[string]string{
		"an empty object": "{}",
		"other settings":  "{\n    \"model\":   \"opus\",\n    \"permissions\": {\"deny\": [ \"Read(.env)\" ]}\n}\n",
		"tabs":            "{\n\t\"env\": {\n\t\t\"A\": \"\\u00e9 1.10\"\n\t}\n}",
		"one line":        `{"model":"opus","n":1.10}`,
		"other hooks":     "{\n  \"hooks\": {\n    \"Stop\": [{\"hooks\": [{\"type\": \"command\", \"command\": \"say done\"}]}],\n    \"PreToolUse\": [\n      {\"matcher\": \"Bash\", \"hooks\": [{\"type\": \"command\", \"command\": \"guard.sh hook claude-code\"}]}\n    ],\n    \"preToolUse\": [{\"command\": \"x\"}]\n  },\n  \"z\": 1\n}\n",
		"Windows lines":   "{\r\n  \"model\": \"opus\"\r\n}\r\n",
	} {
		for _, editor := range Editors {
			t.Run(name+" of "+string(editor), func(t *testing.T) {
				t.Parallel()
				path := mustWrite(t, before, 0o640)
				c, err := Install(path, program, usual(editor))
				mustMake(t, c, err)
				if !json.Valid(c.After) {
					t.Fatalf("got no JSON\n%s", c.After)
				}
				if got := list(t, editor, c.After); !strings.Contains(string(got[len(got)-1]), "hook") || len(got) != 1+len(list(t, editor, []byte(before))) {
					t.Errorf("got the list %s", got)
				}
				for line := range strings.Lines(before) {
					if word := strings.Trim(line, " \t\r\n,{}[]"); !strings.Contains(string(c.After), word) {
						t.Errorf("%q is gone from\n%s", word, c.After)
					}
				}
				if diff := c.Diff(); strings.Count(diff, "\n-")+strings.Count(diff, "\n+") < 2 || !strings.Contains(diff, "--- "+path) {
					t.Errorf("got the difference\n%s", diff)
				}
				if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o640 {
					t.Errorf("got %v %v, want the mode it had", info.Mode(), err)
				}

				again, err := Install(path, program, usual(editor))
				if err != nil || again.Any() {
					t.Errorf("the second time changes the file: %v\n%s", err, again.Diff())
				}
				o := usual(editor)
				o.Agent = "agent_other"
				moved, err := Install(path, "/usr/bin/behalf", o)
				mustMake(t, moved, err)
				if got := list(t, editor, moved.After); len(got) != 1+len(list(t, editor, []byte(before))) || strings.Contains(string(moved.After), program) {
					t.Errorf("got the list %s, want the entry brought up to date", got)
				}

				gone, err := Uninstall(path, editor)
				mustMake(t, gone, err)
				want := before
				if editor == Cursor && !strings.Contains(before, "version") { // it needs one, whoever wrote it
					var got, had map[string]json.RawMessage
					if json.Unmarshal(gone.After, &got) != nil || json.Unmarshal([]byte(before), &had) != nil || len(got) != len(had)+1 {
						t.Errorf("got\n%s\nwant what was there before, and a version\n%s", gone.After, before)
					}
				} else if string(gone.After) != want {
					t.Errorf("got\n%q\nwant what was there before\n%q", gone.After, want)
				}
				none, err := Uninstall(path, editor)
				if err != nil || none.Any() {
					t.Errorf("got %v, want nothing to take out", err)
				}
				if files, err := os.ReadDir(filepath.Dir(path)); err != nil || len(files) != 1 {
					t.Errorf("got %v, %v, want nothing left behind", files, err)
				}
			})
		}
	}
}

func TestInstallNamesTheSettingsFromTheRootOn(t *testing.T) {
	t.Parallel()
	o := usual(ClaudeCode)
	o.Config = "behalf.json"
	want, err := filepath.Abs(o.Config)
	if err != nil {
		t.Fatal(err)
	}
	c, err := Install(filepath.Join(t.TempDir(), "settings.json"), program, o)
	if err != nil || !strings.Contains(string(c.After), `"--config=`+want+`"`) {
		t.Errorf("got %v\n%s\nwant %s", err, c.After, want)
	}
}

func TestUninstallTakesOnlyOurHandlerFromAGroup(t *testing.T) {
	t.Parallel()
	path := mustWrite(t, `{"hooks":{"PreToolUse":[{"matcher":"*","hooks":[{"type":"command","command":"a"},{"type":"command","command":"/x/behalf","args":["hook","claude-code"]},{"type":"command","command":"b"}]}]}}`, 0o600)
	c, err := Uninstall(path, ClaudeCode)
	mustMake(t, c, err)
	if want := `{"hooks":{"PreToolUse":[{"matcher":"*","hooks":[{"type":"command","command":"a"},{"type":"command","command":"b"}]}]}}`; string(c.After) != want {
		t.Errorf("got\n%s\nwant\n%s", c.After, want)
	}
}

func TestInstallLeavesABrokenFileAlone(t *testing.T) {
	t.Parallel()
	for text, says := range map[string]string{
		"{\"model\": }":                  "is not JSON",
		"// mine\n{}":                    "is not JSON",
		"{\"a\":1,\"a\":2}":              "is not JSON",
		"{} {}":                          "is not JSON",
		"[]":                             "is not one JSON object",
		"{\"hooks\": []}":                "not an object",
		"{\"hooks\": null}":              "not an object",
		`{"hooks": {"PreToolUse": {}}}`:  "not an array",
		`{"hooks": {"PreToolUse": "x"}}`: "not an array",
	} {
		path := mustWrite(t, text, 0o600)
		if _, err := Install(path, program, usual(ClaudeCode)); err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: got %v, want %s", text, err, says)
		}
		if now, err := os.ReadFile(path); err != nil || string(now) != text {
			t.Errorf("%s: the file is now %q, %v", text, now, err)
		}
	}
	path := mustWrite(t, "{}", 0o600)
	c, err := Install(path, program, usual(ClaudeCode))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(`{"model":"opus"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.Make(); err == nil || !strings.Contains(err.Error(), "changed meanwhile") {
		t.Errorf("got %v for a file that somebody else wrote", err)
	}
}

func TestInstallKeepsALink(t *testing.T) {
	t.Parallel()
	real := mustWrite(t, "{}\n", 0o600)
	link := filepath.Join(t.TempDir(), "settings.json")
	if err := os.Symlink(real, link); err != nil {
		t.Fatal(err)
	}
	c, err := Install(link, program, usual(ClaudeCode))
	mustMake(t, c, err)
	if to, err := os.Readlink(link); err != nil || to != real {
		t.Errorf("got %q, %v, want the link as it was", to, err)
	}
	if text, err := os.ReadFile(real); err != nil || !bytes.Contains(text, []byte("claude-code")) {
		t.Errorf("got %s, %v", text, err)
	}
}

func TestSettingsAreWhereTheEditorsHaveThem(t *testing.T) {
	t.Parallel()
	env := map[string]string{}
	p := Places{Home: "/home/u", Project: "/w", Getenv: func(name string) string { return env[name] }}
	for _, c := range []struct {
		editor      Editor
		scope, want string
	}{
		{ClaudeCode, "user", "/home/u/.claude/settings.json"},
		{ClaudeCode, "project", "/w/.claude/settings.json"},
		{ClaudeCode, "local", "/w/.claude/settings.local.json"},
		{Cursor, "user", "/home/u/.cursor/hooks.json"},
		{Cursor, "project", "/w/.cursor/hooks.json"},
		{Codex, "user", "/home/u/.codex/hooks.json"},
		{Codex, "project", "/w/.codex/hooks.json"},
		{Codex, "local", ""},
		{Cursor, "local", ""},
		{ClaudeCode, "managed", ""},
		{"vim", "user", ""},
	} {
		got, err := SettingsFile(c.editor, c.scope, p)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s %s: got %q, %v, want %q", c.editor, c.scope, got, err, c.want)
		}
	}
	env["CLAUDE_CONFIG_DIR"], env["CODEX_HOME"] = "/c", "/x"
	for editor, want := range map[Editor]string{ClaudeCode: "/c/settings.json", Codex: "/x/hooks.json"} {
		if got, _ := SettingsFile(editor, "user", p); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestEditorsWaitLongerThanTheHook(t *testing.T) {
	t.Parallel()
	for _, o := range []Options{{Timeout: usualTimeout}, {Timeout: mostTimeout, Wait: mostWait}} {
		if got, own := editorPatience(o), o.Timeout+o.Wait; time.Duration(got)*time.Second < own+10*time.Second || got > 600 {
			t.Errorf("got %d s for a hook of %s", got, own)
		}
	}
	for _, o := range []Options{{Timeout: 0}, {Timeout: 2 * mostTimeout}, {Timeout: 1, Wait: mostWait + 1}, {Timeout: 1, Wait: -1}} {
		o.Editor = ClaudeCode
		if o.Check() == nil {
			t.Errorf("%+v is not refused", o)
		}
	}
	for _, e := range Editors {
		if len(Limits(usual(e))) < 4 {
			t.Errorf("%s: what it can't stop is not said", e)
		}
	}
}

func TestWordsAreQuotedForAShell(t *testing.T) {
	t.Parallel()
	if got, want := quoted("/a b/behalf", []string{"hook", "cursor", "--agent=x", "--branch=it's; rm -rf $HOME", ""}),
		`'/a b/behalf' hook cursor --agent=x '--branch=it'\''s; rm -rf $HOME' ''`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
