//go:build !windows

package filelock

import (
	"errors"
	"os"
	"syscall"
)

// Lock takes a file that one process at a time can have, and makes it if it is not
// there. The system gives it back when the process ends, however it ends. It returns
// [ErrHeld] at once when another has it.
func Lock(path string) (unlock func() error, err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = ErrHeld
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f.Close, nil
}
