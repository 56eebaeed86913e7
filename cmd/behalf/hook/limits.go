package hook

import "slices"

// Limits are what a hook can't stop in an editor, for whoever installs it.
func Limits(o Options) []string {
	return append(slices.Clone(limits[o.Editor]),
		"What a command does once it runs is not seen: the rules judge its text. A sandbox holds what it can reach.",
		"Whoever can write the settings file can take the hook out. Deny the agent to write it, or let your administrator manage it.",
	)
}

var limits = map[Editor][]string{
	ClaudeCode: {
		"Files named with @ in a prompt are read without asking the hook. Keep secrets from them by Read rules in permissions.deny.",
		`Before version 2.1.295 "onFailure": "block" is not understood: a hook that can't be started, or is killed, lets the call through there. Keep this program where it is.`,
		`"env" in any settings, a project's too, is the hook's environment. What env must not change is written into the entry: --url, --config and --agent.`,
		`"disableAllHooks" and --bare turn it off, except in managed settings, where "allowManagedHooksOnly" keeps it.`,
	},
	Cursor: {
		"It asks by the event preToolUse. A version that doesn't know that event never asks, and lets every call through.",
		`Without "failClosed", which is written, Cursor lets a call through when a hook can't be started or is killed. Versions that don't know it do so all the same.`,
		"Cursor has no answer that leaves a call to its own questions: an allow here may skip them.",
		"Of an MCP call Cursor doesn't say which server it is for; it is asked about as mcp://unknown/TOOL.",
	},
	Codex: {
		"Codex fails open: a hook that can't be started, is killed or takes too long lets the call through, and no setting changes that. Don't rely on it alone.",
		"Codex runs no hook that you have not trusted: look at it with /hooks and trust it, and again after each change. Until then every call goes through.",
		"A session whose directory was removed runs no hook, and neither do tools that are hosted.",
	},
}
