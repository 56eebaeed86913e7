//go:build !unix

package mcpproxy

import "os"

// caught are the signals that end a server, and not the program that waits for
// it.
func caught() []os.Signal { return []os.Signal{os.Interrupt} }

// passOn has nothing to do: an interrupt reaches the server by the console.
func passOn(*os.Process, os.Signal) {}

// ending is how a server ended.
func ending(state *os.ProcessState) int { return state.ExitCode() }
