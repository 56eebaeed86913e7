package hook

import (
	"fmt"
	"io"

	"github.com/go-json-experiment/json"

	"github.com/behalf-platform/behalf"
	"github.com/behalf-platform/behalf/cmd/behalf/before"
)

// verdict is what came of a call. The zero verdict blocks.
type verdict struct {
	allowed bool
	text    string // why not, for the agent and for whoever watches it
}

// unavailable is the server's own code for not having decided.
const unavailable = "UNAVAILABLE"

// decided is what a packet says. The client has made sure that it is a whole
// decision on what was asked.
func decided(p behalf.Packet) verdict {
	switch {
	case p.Allowed && p.Decision == behalf.OutcomeAllowed:
		return verdict{allowed: true}
	case p.ReasonCode == unavailable:
		return broken(fmt.Errorf("%s (request %s)", p.Reason, p.RequestID))
	case p.Decision == behalf.OutcomeRequiresApproval && p.ApprovalID == "":
		return verdict{text: fmt.Sprintf("Needs approval: %s. Request %s, which names no approval that could be given. Ask the person you work for.", before.Sentence(p.Reason), p.RequestID)}
	case p.Decision == behalf.OutcomeRequiresApproval:
		return verdict{text: fmt.Sprintf("Needs approval: a person has to approve this call first: %s. Approval %s, request %s. "+
			"A reviewer answers with: behalf approvals approve %s. Once it is approved, repeat exactly the same call, its description included; another call needs another approval.",
			before.Sentence(p.Reason), p.ApprovalID, p.RequestID, p.ApprovalID)}
	}
	return verdict{text: fmt.Sprintf("Denied by the agent's passport: %s (%s). Request %s.%s Don't try to reach the same by another way; ask the person you work for.",
		before.Sentence(p.Reason), p.ReasonCode, p.RequestID, approval(p))}
}

func approval(p behalf.Packet) string {
	if p.ApprovalID == "" {
		return ""
	}
	return " Approval " + p.ApprovalID + "."
}

// refused is an approval that was not given.
func refused(p behalf.Packet, a behalf.Approval) verdict {
	text := fmt.Sprintf("Denied: approval %s is %s", a.ApprovalID, a.State)
	if a.Comment != "" {
		text += ": " + before.Sentence(a.Comment)
	}
	return verdict{text: text + ". Request " + p.RequestID + ". Don't try to reach the same by another way; ask the person you work for."}
}

// broken is a call that was not decided.
func broken(err error) verdict {
	return verdict{text: fmt.Sprintf("The permission layer is unavailable, so nothing is allowed; this is not a denial: %s. Tell the person you work for.", before.Sentence(err.Error()))}
}

// answer tells the editor and returns the exit code. A no is said twice, by the
// answer and by the exit code, since each alone has been ignored by some version
// of some editor. A yes that can't be told is a no.
func answer(v verdict, o Options, p Process) int {
	document := refusal(o.Editor, before.Plain(v.text))
	if v.allowed {
		document = permission(o)
	}
	out, err := json.Marshal(document, json.Deterministic(true))
	if err == nil {
		_, err = p.Out.Write(append(out, '\n'))
	}
	if v.allowed && err == nil {
		return exitAllowed
	}
	if v.allowed {
		v = broken(fmt.Errorf("the answer can't be written: %w", err))
	}
	_, _ = io.WriteString(p.Errs, "behalf: "+before.Plain(v.text)+"\n") // the exit code says no as well
	return exitBlocked
}

// object is a JSON object of a few members.
type object map[string]any

// permission is an editor's yes. To Claude Code and Codex an empty object is no
// decision, so that the user's own rules still apply; Cursor takes one for an
// answer that is broken.
func permission(o Options) object {
	switch {
	case o.Editor == Cursor:
		return object{"permission": "allow"}
	case o.AutoAllow && o.Editor == ClaudeCode:
		return object{"hookSpecificOutput": object{
			"hookEventName": "PreToolUse", "permissionDecision": "allow", "permissionDecisionReason": "allowed by the agent's passport",
		}}
	}
	return object{}
}

// refusal is an editor's no.
func refusal(e Editor, text string) object {
	if e == Cursor {
		return object{"permission": "deny", "user_message": text, "agent_message": text}
	}
	return object{"hookSpecificOutput": object{
		"hookEventName": "PreToolUse", "permissionDecision": "deny", "permissionDecisionReason": text,
	}}
}
