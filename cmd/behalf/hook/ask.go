package hook

import (
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/behalf-platform/behalf"
	"github.com/behalf-platform/behalf/cmd/behalf/before"
)

// Actions are the names that calls are verified under; an unknown tool's is
// "tool." and its name. They are stable: passports hold them.
const (
	ShellExec      = "shell.exec"      // command, read as bash
	PowerShellExec = "powershell.exec" // command; rules for bash don't fit it
	FileRead       = "file.read"       // path
	FileWrite      = "file.write"      // path
	FileDelete     = "file.delete"     // path
	FileSearch     = "file.search"     // path of the directory; what is below is read
	WebFetch       = "web.fetch"       // vendor: the host; resource: the URL without its query
	WebSearch      = "web.search"
	AgentSpawn     = "agent.spawn" // resource: agent://TYPE
	MCPCall        = "mcp.call"    // resource: mcp://SERVER/TOOL
	otherTool      = "tool."
	unnamedTool    = "tool:unnamed" // resource: tool://NAME, of a name that no action can have
)

// mostCommand bounds a command that is judged, in bytes.
const mostCommand = 32 << 10

// fit makes an ask small enough to be sent. What is judged stays as it is; the
// arguments, which are digested anyway, become their digest.
func fit(ask *behalf.Ask) error {
	if len(ask.Command) > mostCommand {
		return fmt.Errorf("the command is %d bytes long and at most %d are judged; put it into a script file", len(ask.Command), mostCommand)
	}
	body, err := json.Marshal(ask)
	if err != nil {
		return fmt.Errorf("the call can't be written as JSON: %w", err)
	}
	input, large := ask.Arguments.(jsontext.Value)
	if len(body) <= before.MostBody || !large {
		return nil
	}
	digest, err := before.DigestOf(input)
	if err != nil {
		return fmt.Errorf("the call's input %w", err)
	}
	ask.Arguments = digest
	return nil
}
