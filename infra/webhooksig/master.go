package webhooksig

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// ParseMaster reads a master key as it stands in a setting or a file: 32 random
// bytes in standard base64.
func ParseMaster(text string) (*Keyring, error) {
	master, err := base64.StdEncoding.Strict().DecodeString(strings.TrimSpace(text))
	if err != nil {
		// The decoder's error would tell where, and so a little of what.
		return nil, errors.New("the master key of webhooks is not base64; make one with: openssl rand -base64 32")
	}
	return NewKeyring(master)
}

// OpenMaster reads the master key from a file, which must be a plain file that
// only its owner can read. It returns [fs.ErrNotExist] if there is none.
func OpenMaster(path string) (*Keyring, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open the master key of webhooks: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	switch {
	case err != nil:
		return nil, fmt.Errorf("open the master key of webhooks: %w", err)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("the master key of webhooks, %s, is not a plain file", path)
	case info.Mode().Perm()&0o077 != 0 && runtime.GOOS != "windows":
		return nil, fmt.Errorf("the master key of webhooks, %s, is open to others (mode %04o); close it with: chmod 600 %s", path, info.Mode().Perm(), path)
	}
	text, err := io.ReadAll(io.LimitReader(file, 1024))
	if err != nil {
		return nil, fmt.Errorf("read the master key of webhooks: %w", err)
	}
	ring, err := ParseMaster(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return ring, nil
}

// OpenOrMakeMaster reads the master key from a file, and makes the file with a
// new key if there is none. Of several that make it at once one wins, and all
// return its key. It never writes over a file.
func OpenOrMakeMaster(path string) (*Keyring, error) {
	ring, err := OpenMaster(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return ring, err
	}
	if err := makeMaster(path); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("make the master key of webhooks: %w", err)
	}
	return OpenMaster(path)
}

// makeMaster gives the file its name only when it is whole and on disk.
func makeMaster(path string) (err error) {
	master := make([]byte, MasterSize)
	_, _ = rand.Read(master) // never fails
	dir := filepath.Dir(path)
	file, err := os.CreateTemp(dir, ".master-*") // with mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	_, err = file.WriteString(base64.StdEncoding.EncodeToString(master) + "\n")
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	if err := os.Link(file.Name(), path); err != nil {
		return err
	}
	return syncDir(dir)
}

// syncDir makes a new name in a directory last through a loss of power.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil // has no such thing
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
