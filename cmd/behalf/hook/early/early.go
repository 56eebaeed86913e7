// Package early runs "behalf hook EDITOR" before the packages of the server are
// set up. The program that imports it is the server too, and setting that up
// takes longer than a hook does; a hook is started for each step of an agent.
//
// Go sets up packages as soon as what they import is, in the order of their
// paths. Should that order change, hooks are slower and nothing else: the
// command is there as well. It refuses to do anything but this.
package early

import (
	"os"

	"github.com/behalf-platform/behalf/cmd/behalf/hook"
)

func init() {
	if code, mine := hook.Early(os.Args[1:]); mine {
		os.Exit(code)
	}
}
