package filelock_test

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/behalf-platform/behalf/infra/internal/filelock"
)

func TestOneHoldsAFileAtATime(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "file.lock")
	for range 2 {
		unlock, err := filelock.Lock(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := filelock.Lock(path); !errors.Is(err, filelock.ErrHeld) {
			t.Errorf("got error %v while it is held, want %v", err, filelock.ErrHeld)
		}
		if err := unlock(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := filelock.Lock(filepath.Join(path, "below")); err == nil || errors.Is(err, filelock.ErrHeld) {
		t.Errorf("got error %v for a file that can't be, want another", err)
	}
}
