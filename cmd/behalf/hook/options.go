package hook

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/pflag"
)

// Editor is a program whose agent is asked about, by the name it has on the
// command line.
type Editor string

// The editors there are.
const (
	ClaudeCode Editor = "claude-code"
	Cursor     Editor = "cursor"
	Codex      Editor = "codex"
)

// Editors are all of them.
var Editors = []Editor{ClaudeCode, Cursor, Codex}

// Known reports whether there is such an editor.
func (e Editor) Known() bool { return slices.Contains(Editors, e) }

// Options are what a hook is told on its command line. They are a part of the
// editor's settings, which others may read: the credential is no option.
type Options struct {
	Editor      Editor
	URL, Config string
	// Agent is whose packets are taken; empty leaves it to the credential.
	Agent string
	// Timeout is how long one answer may take. Wait is how long a person's may,
	// on top of it; 0 doesn't wait.
	Timeout, Wait time.Duration
	// AutoAllow answers an allow that skips the editor's own rules.
	AutoAllow bool

	Branch, Environment, Repository string
}

// Bounds of the times, so that a hook ends long before an editor gives up on it
// and lets the call through.
const (
	usualTimeout = 10 * time.Second
	mostTimeout  = time.Minute
	usualWait    = "2m"
	mostWait     = 8 * time.Minute
)

// Flags makes the options flags.
func (o *Options) Flags(f *pflag.FlagSet) {
	f.StringVar(&o.URL, "url", "", "where the server is (BEHALF_URL)")
	f.StringVar(&o.Config, "config", "", `file with the settings of "behalf config" (BEHALF_CONFIG)`)
	f.StringVar(&o.Agent, "agent", "", "the one agent whose packets are taken (BEHALF_AGENT; default: the key's)")
	f.DurationVar(&o.Timeout, "timeout", usualTimeout, "how long to wait for an answer of the server; the call is blocked then")
	f.DurationVar(&o.Wait, "wait", 0, "if it requires approval, wait so long for a person, such as --wait=5m; alone "+usualWait)
	f.Lookup("wait").NoOptDefVal = usualWait
	f.BoolVar(&o.AutoAllow, "auto-allow", false, "answer an allow that skips the editor's own questions; without it the user's rules still apply")
	f.StringVar(&o.Branch, "branch", "", "branch the agent works on (default: what is checked out)")
	f.StringVar(&o.Environment, "environment", "", "environment the agent works in")
	f.StringVar(&o.Repository, "repository", "", "repository the agent works in (default: owner/name of the remote origin)")
}

// Check refuses options that can't be kept.
func (o *Options) Check() error {
	switch {
	case !o.Editor.Known():
		return fmt.Errorf("there is no editor %q; there are %s, %s and %s", string(o.Editor), ClaudeCode, Cursor, Codex)
	case o.Timeout <= 0 || o.Timeout > mostTimeout:
		return fmt.Errorf("--timeout %s: use more than 0 and at most %s", o.Timeout, mostTimeout)
	case o.Wait < 0 || o.Wait > mostWait:
		return fmt.Errorf("--wait %s: use at most %s, or the editor gives up first", o.Wait, mostWait)
	case o.AutoAllow && o.Editor == Codex:
		return fmt.Errorf("--auto-allow: %s has no such answer", Codex)
	}
	return nil
}

func (o *Options) agent(getenv func(string) string) string {
	return cmp.Or(o.Agent, getenv("BEHALF_AGENT"))
}

// arguments are the command line that means these options.
func (o *Options) arguments() []string {
	args := []string{"hook", string(o.Editor)}
	for _, flag := range []struct{ name, value string }{
		{"url", o.URL},
		{"config", o.Config},
		{"agent", o.Agent},
		{"branch", o.Branch},
		{"environment", o.Environment},
		{"repository", o.Repository},
	} {
		if flag.value != "" {
			args = append(args, "--"+flag.name+"="+flag.value)
		}
	}
	if o.Timeout != usualTimeout {
		args = append(args, "--timeout="+o.Timeout.String())
	}
	if o.Wait > 0 {
		args = append(args, "--wait="+o.Wait.String())
	}
	if o.AutoAllow {
		args = append(args, "--auto-allow")
	}
	return args
}
