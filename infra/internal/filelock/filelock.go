// Package filelock has one process at a time hold a file. It does not write to
// it, and leaves it there.
package filelock

import "errors"

// ErrHeld says that another process holds the file, or this one does already.
var ErrHeld = errors.New("another process has the lock")
