//go:build !unix

package main

import "os"

// caught are the signals that end a command, and not the program that waits for
// it.
func caught() []os.Signal { return []os.Signal{os.Interrupt} }

// passOn has nothing to do: an interrupt reaches the command by the console.
func passOn(*os.Process, os.Signal) {}

// ending is how a command ended.
func ending(state *os.ProcessState) int { return state.ExitCode() }
