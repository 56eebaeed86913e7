// Package mcpserver is an MCP server with which a model asks what it may do. It
// advises: a model that doesn't ask is not stopped by it.
//
// It fails closed. Whatever is no whole answer of the permission layer is a tool
// error that says that nothing is allowed.
package mcpserver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/behalf-platform/behalf"
	"github.com/behalf-platform/behalf/cmd/behalf/before"
	"github.com/behalf-platform/behalf/handlers"
)

// Tools are what the server has, on behalf of one agent.
type Tools struct {
	// Client asks with the agent's key; without one Fault says why there is none.
	Client *behalf.Client
	Fault  error
	// Agent is whose packets are taken; empty stands for whose key it is.
	Agent string
	// Timeout is how long one answer of the permission layer may take.
	Timeout time.Duration
	Version string

	owner *before.Owner
}

const instructions = `Behalf records what this agent may do. Call verify_action before each action that spends money, changes, sends, deletes, ` +
	`deploys or publishes something, with exactly what will be done, and do it only if the answer begins with ALLOWED. ` +
	`DENIED and REQUIRES APPROVAL mean: don't do it, and not by another way either. An error means that nothing was decided: don't do it. ` +
	`These tools advise and record; they stop nothing by themselves. What has to be stopped needs a hook, "behalf mcp-proxy", or a check where the action is carried out.`

// Server makes an MCP server of them.
func (t *Tools) Server() *mcp.Server {
	t = t.withOwner()
	s := mcp.NewServer(&mcp.Implementation{Name: "behalf", Title: "Behalf", Version: t.Version}, &mcp.ServerOptions{
		Instructions: instructions,
		Capabilities: &mcp.ServerCapabilities{Tools: &mcp.ToolCapabilities{}}, // which stay the same
	})
	no := false
	for _, tool := range []struct {
		name, title, text string
		schema            schema
		changes           bool
		do                func(ctx context.Context, in []byte) (answer, error)
	}{
		{
			"verify_action", "Ask whether an action is allowed now",
			"Ask whether this agent may do one action now, and have the decision recorded. Advisory: it stops nothing by itself, so act only if the answer begins with ALLOWED. " +
				"Name all that the action touches; arguments are what it will be called with. An allow is for exactly this, once, now.",
			verifySchema, true, t.verify,
		},
		{
			"get_passport", "Read this agent's passport",
			"Read what this agent may do: its permissions, their limits and what is left of them. Reading it allows nothing: ask verify_action.",
			schema{},
			false, t.passport,
		},
		{
			"get_approval", "Look at an approval",
			"Read where an approval of this agent's stands. An approved one allows nothing by itself: repeat verify_action exactly as before.",
			approvalSchema, false, t.approval,
		},
		{
			"wait_for_approval", "Wait for a person's answer",
			"Wait until a person has answered an approval, at most so many seconds, and read it. An approved one allows nothing by itself: repeat verify_action exactly as before.",
			waitSchema, false, t.wait,
		},
	} {
		s.AddTool(&mcp.Tool{
			Name: tool.name, Title: tool.title, Description: tool.text, InputSchema: tool.schema.object(),
			Annotations: &mcp.ToolAnnotations{Title: tool.title, ReadOnlyHint: !tool.changes, DestructiveHint: &no, IdempotentHint: !tool.changes, OpenWorldHint: &no},
		}, t.handler(tool.do))
	}
	return s
}

// answer is what a tool says: a text for the model, and the document it is about.
type answer struct {
	text     string
	document any
}

// handler makes a tool of a function. Whatever it does other than answer is an
// error of the tool's.
func (t *Tools) handler(do func(ctx context.Context, in []byte) (answer, error)) mcp.ToolHandler {
	return func(ctx context.Context, req *mcp.CallToolRequest) (result *mcp.CallToolResult, _ error) {
		defer func() {
			if broken := recover(); broken != nil {
				result = failed(fmt.Errorf("the server failed: %v", broken))
			}
		}()
		if t.Client == nil {
			return failed(t.Fault), nil
		}
		in := []byte(req.Params.Arguments)
		if len(in) == 0 || string(in) == "null" {
			in = []byte("{}")
		}
		a, err := do(ctx, in)
		if err != nil {
			return failed(err), nil
		}
		document, err := json.Marshal(a.document, json.Deterministic(true))
		if err != nil {
			return failed(fmt.Errorf("the answer can't be written: %w", err)), nil
		}
		return &mcp.CallToolResult{
			Content:           []mcp.Content{&mcp.TextContent{Text: a.text + "\n\n" + string(document)}},
			StructuredContent: raw(document),
		}, nil
	}
}

// raw is a document that is written already.
type raw []byte

// MarshalJSON writes it.
func (r raw) MarshalJSON() ([]byte, error) { return r, nil }

// misread is a call that could not be taken as it was.
type misread struct{ error }

func failed(err error) *mcp.CallToolResult {
	why := "there is no server to ask"
	if err != nil {
		why = strings.TrimRight(err.Error(), ". \n")
	}
	text := "NOT ALLOWED: the permission layer was unavailable, so nothing was decided; this is not a denial. The action must not be done: " + why + ". Tell the person you work for."
	if wrong, ok := errors.AsType[misread](err); ok {
		text = "NOT ALLOWED: the question was not taken, so nothing was decided, and the action must not be done: " + strings.TrimRight(wrong.Error(), ". \n") + ". Ask again as it says."
	}
	return &mcp.CallToolResult{IsError: true, Content: []mcp.Content{&mcp.TextContent{Text: text}}}
}

// decode reads the arguments of a call by the same rules as the permission layer
// does.
func decode(in []byte, into any) error {
	if err := handlers.Decode(in, into); err != nil {
		return misread{err}
	}
	return nil
}

// refused makes errors of the client's say whose fault they were.
func (t *Tools) refused(err error) error {
	refusal, ok := errors.AsType[*behalf.Error](err)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("there was no whole answer within %s", t.Timeout)
	case !ok || errors.Is(err, behalf.ErrUnavailable):
		return err
	case refusal.Status == http.StatusUnauthorized || refusal.Status == http.StatusForbidden:
		return fmt.Errorf("the server doesn't take the agent key: %w", refusal)
	}
	return misread{refusal}
}

// withOwner are the same tools, that know whose key it is once they have asked.
func (t *Tools) withOwner() *Tools {
	one := *t
	if one.owner == nil {
		one.owner = &before.Owner{}
	}
	return &one
}

// agent is whose packets are taken.
func (t *Tools) agent(ctx context.Context) (string, error) {
	if t.Agent != "" {
		return t.Agent, nil
	}
	return t.owner.Of(ctx, t.Client)
}

// errOther is an answer that is about somebody else.
var errOther = fmt.Errorf("%w: the answer is about another agent", behalf.ErrUnavailable)

func (t *Tools) once(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, t.Timeout)
}
