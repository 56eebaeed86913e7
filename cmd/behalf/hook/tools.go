package hook

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/behalf-platform/behalf"
)

// input are the fields of a tool's input that say what it touches. A field of
// another type than these is refused: the tool might read it all the same. So is
// one that is there twice, be it as Command or filePath.
type input struct {
	Command   string `json:"command"`
	FilePath  string `json:"file_path"`
	Target    string `json:"target_file"`
	Notebook  string `json:"notebook_path"`
	Path      string `json:"path"`
	Dir       string `json:"working_directory"`
	TargetDir string `json:"target_directory"`
	Pattern   string `json:"pattern"`
	Glob      string `json:"glob_pattern"`
	URL       string `json:"url"`
	Agent     string `json:"subagent_type"`
}

// tool makes asks of a call of one tool.
type tool func(c *call, in input) ([]behalf.Ask, error)

// tools are those of all editors. A name means the same in each of them.
var tools = map[string]tool{
	"Bash": shell(ShellExec), "Shell": shell(ShellExec), "PowerShell": shell(PowerShellExec),

	"Read": file(FileRead), "NotebookRead": file(FileRead), "TabRead": file(FileRead),
	"Write": file(FileWrite), "Edit": file(FileWrite), "MultiEdit": file(FileWrite), "NotebookEdit": file(FileWrite),
	"StrReplace": file(FileWrite), "EditNotebook": file(FileWrite), "TabWrite": file(FileWrite),
	"Delete": file(FileDelete), "apply_patch": patch,

	"Glob": search, "Grep": search, "LS": search,

	"WebFetch": fetch, "WebSearch": plainly(WebSearch),
	"Task": spawn, "Agent": spawn,
}

// asks are what has to be allowed for the call to go through: one ask for each
// thing it touches. Each carries the whole input as its arguments.
func (c *call) asks() ([]behalf.Ask, error) {
	of, known := tools[c.Tool]
	if !known {
		return c.whole([]behalf.Ask{c.other()}), nil
	}
	var in input
	if err := json.Unmarshal(c.Input, &in, json.MatchCaseInsensitiveNames(true)); err != nil {
		return nil, fmt.Errorf("the input of the tool %s is not what that tool takes", c.Tool) // the error may quote it
	}
	asks, err := of(c, in)
	if err != nil {
		return nil, err
	}
	return c.whole(asks), nil
}

func (c *call) whole(asks []behalf.Ask) []behalf.Ask {
	for i := range asks {
		asks[i].Arguments = c.Input
		if asks[i].Cwd == "" {
			asks[i].Cwd = c.Cwd
		}
	}
	return asks
}

// plainly is a tool that names nothing a rule could be about.
func plainly(action string) tool {
	return func(*call, input) ([]behalf.Ask, error) { return []behalf.Ask{{Action: action}}, nil }
}

func shell(action string) tool {
	return func(c *call, in input) ([]behalf.Ask, error) {
		if strings.TrimSpace(in.Command) == "" {
			return nil, fmt.Errorf("the tool %s has no command", c.Tool)
		}
		cwd := in.Dir
		if cwd != "" && !filepath.IsAbs(cwd) {
			cwd = filepath.Join(c.Cwd, cwd)
		}
		return []behalf.Ask{{Action: action, Command: in.Command, Cwd: cwd}}, nil
	}
}

// file is a tool that touches one file.
func file(action string) tool {
	return func(c *call, in input) ([]behalf.Ask, error) {
		path, err := only(in.FilePath, in.Notebook, in.Target, in.Path)
		if err != nil {
			return nil, fmt.Errorf("the tool %s %w", c.Tool, err)
		}
		return touch(action, path, c.Cwd)
	}
}

// only is the one path among a tool's fields. Two that differ are refused:
// which of them the tool takes is not for us to guess.
func only(paths ...string) (one string, err error) {
	for _, path := range paths {
		switch {
		case path == "" || path == one:
		case one != "":
			return "", errors.New("names two files")
		default:
			one = path
		}
	}
	if one == "" {
		return "", errors.New("names no file")
	}
	return one, nil
}

// fetch is a tool that reads a URL. Its query and fragment are not asked about,
// since they may hold secrets, and a target is recorded in clear; they are in
// the arguments' digest. What is wrong with a URL is said without it for that
// reason.
func fetch(c *call, in input) ([]behalf.Ask, error) {
	u, err := url.Parse(in.URL)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.Opaque != "":
		return nil, fmt.Errorf("the tool %s has no url that begins with http:// or https://", c.Tool)
	case u.User != nil:
		return nil, fmt.Errorf("the tool %s has a url with a user's name in it", c.Tool)
	}
	ask, err := behalf.AskOf(&http.Request{URL: u})
	if err != nil || strings.Contains(in.URL, `\`) { // which browsers take for a slash
		return nil, fmt.Errorf("the tool %s has a url that can be read in more than one way, by a backslash, a . or .. in its path, or its host; write where it leads", c.Tool)
	}
	return []behalf.Ask{{Action: WebFetch, Vendor: ask.Vendor, Resource: ask.Resource}}, nil
}

func spawn(_ *call, in input) ([]behalf.Ask, error) {
	kind := in.Agent
	if kind == "" {
		kind = "general-purpose"
	}
	return []behalf.Ask{{Action: AgentSpawn, Resource: "agent://" + url.PathEscape(kind)}}, nil
}

// mostName is how long the name of an action may be.
const mostName = 128

// namesAction reports whether a name can be a part of an action's.
func namesAction(name string) bool {
	if name == "" || len(otherTool)+len(name) > mostName {
		return false
	}
	return strings.IndexFunc(name, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("._:/-", r))
	}) < 0
}

// other is a tool of an MCP server, or one that is unknown here.
func (c *call) other() behalf.Ask {
	if rest, ok := strings.CutPrefix(c.Tool, "mcp__"); ok {
		if server, name, ok := strings.Cut(rest, "__"); ok && server != "" && name != "" {
			return behalf.Ask{Action: MCPCall, Resource: mcp(server, name)}
		}
	}
	if name, ok := strings.CutPrefix(c.Tool, "MCP:"); ok && name != "" && c.editor == Cursor {
		return behalf.Ask{Action: MCPCall, Resource: mcp("unknown", name)} // Cursor doesn't say which server
	}
	if !namesAction(c.Tool) {
		return behalf.Ask{Action: unnamedTool, Resource: "tool://" + url.PathEscape(c.Tool)}
	}
	return behalf.Ask{Action: otherTool + c.Tool}
}

func mcp(server, name string) string {
	return "mcp://" + url.PathEscape(server) + "/" + url.PathEscape(name)
}
