package hook

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// call is one tool call, as an editor tells it.
type call struct {
	editor Editor
	// Tool is the editor's name for it, and Input all that the tool is called
	// with, one JSON object.
	Tool  string
	Input jsontext.Value
	// Cwd is the agent's directory, or empty.
	Cwd string
	// id is the same when the same call is told again, or empty.
	id string
}

// told is what the editors send. What else they send is not looked at: newer
// versions add to it.
type told struct {
	Event string         `json:"hook_event_name"`
	Cwd   string         `json:"cwd"`
	Tool  string         `json:"tool_name"`
	Input jsontext.Value `json:"tool_input"`
	UseID string         `json:"tool_use_id"`

	SessionID string `json:"session_id"` // Claude Code, Codex
	TurnID    string `json:"turn_id"`    // Codex

	ConversationID string   `json:"conversation_id"` // Cursor
	GenerationID   string   `json:"generation_id"`
	Roots          []string `json:"workspace_roots"`
}

// events are what stands before a tool call.
var events = map[Editor]string{ClaudeCode: "PreToolUse", Codex: "PreToolUse", Cursor: "preToolUse"}

// readCall reads a call. It takes one JSON object, strictly: a name twice, bad
// UTF-8 or anything after it are refused, since the editor might read it
// otherwise than we do.
func readCall(e Editor, in io.Reader) (call, error) {
	text, err := io.ReadAll(io.LimitReader(in, mostInput+1))
	switch {
	case err != nil:
		return call{}, fmt.Errorf("read the call from the editor: %w", err)
	case len(text) > mostInput:
		return call{}, fmt.Errorf("the call is over %d bytes", mostInput)
	}
	return decodeCall(e, text)
}

func decodeCall(e Editor, text []byte) (call, error) {
	var t told
	if err := json.Unmarshal(text, &t); err != nil {
		// The error may quote the call, which may hold secrets.
		return call{}, errors.New("what the editor sent on standard input is not one JSON object of a call; is this command started by the editor?")
	}
	switch {
	case t.Event != events[e]:
		return call{}, fmt.Errorf("the editor sent the event %q, and this hook is for %s only", t.Event, events[e])
	case t.Tool == "":
		return call{}, errors.New("the editor's call names no tool_name")
	case t.Input.Kind() != '{':
		return call{}, errors.New("the editor's call has no tool_input that is an object")
	}
	c := call{editor: e, Tool: t.Tool, Input: t.Input, Cwd: t.Cwd}
	if c.Cwd == "" && len(t.Roots) > 0 {
		c.Cwd = t.Roots[0]
	}
	if session := t.SessionID + t.ConversationID; session != "" && t.UseID != "" {
		c.id = strings.Join([]string{string(e), session, t.TurnID, t.GenerationID, t.UseID}, "\x00")
	}
	return c, nil
}

// key makes asking about the call's target n again safe: the same call gets the
// same packet. A call without an id has none, and is asked about anew.
func (c *call) key(n int) string {
	if c.id == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(c.id))
	key := "hook-" + hex.EncodeToString(sum[:16])
	if n > 0 {
		key += fmt.Sprintf("-%d", n)
	}
	return key
}
