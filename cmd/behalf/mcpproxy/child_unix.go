//go:build unix

package mcpproxy

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// caught are the signals that end a server, and not the program that waits for
// it.
func caught() []os.Signal {
	return []os.Signal{syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2}
}

// passOn sends a signal on to a server. One that was typed at the terminal has
// reached it already.
func passOn(to *os.Process, sig os.Signal) {
	if sig == syscall.SIGINT || sig == syscall.SIGQUIT {
		if group, err := unix.IoctlGetInt(int(os.Stderr.Fd()), unix.TIOCGPGRP); err == nil && group == unix.Getpgrp() {
			return
		}
	}
	_ = to.Signal(sig) // one that has ended needs none
}

// ending is how a server ended, as a shell has it.
func ending(state *os.ProcessState) int {
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return state.ExitCode()
}
