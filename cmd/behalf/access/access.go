// Package access finds out where the server is and with which credential it is
// asked: from flags, the environment and a file, in that order. It sends
// nothing, and imports nothing of the server's, so that a hook that runs before
// each step of an agent starts fast.
package access

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// UsualURL is where a server is served that was told nothing else.
const UsualURL = "http://127.0.0.1:8080"

// Fault is a setting that can't be used, for whoever set it to mend.
type Fault string

func (f Fault) Error() string { return string(f) }

func faultf(format string, args ...any) error { return Fault(fmt.Sprintf(format, args...)) }

// Given is what the command line says. Empty is nothing.
type Given struct {
	URL, Token string
	// File is where the stored settings are, if not where they usually are.
	File string
}

// Settings say where the server is and who asks, and where that was said. An
// empty Token was said nowhere.
type Settings struct {
	URL, Token         string
	URLFrom, TokenFrom string
}

// Find chooses each setting from the command line, the environment or the file,
// in that order. The file is read only if something is still missing.
func Find(given Given, getenv func(string) string) (Settings, error) {
	s := Settings{
		URL: given.URL, URLFrom: "the flag --url",
		Token: given.Token, TokenFrom: "the flag --token",
	}
	if s.URL == "" {
		s.URL, s.URLFrom = getenv("BEHALF_URL"), "BEHALF_URL"
	}
	if s.Token == "" {
		s.Token, s.TokenFrom = getenv("BEHALF_TOKEN"), "BEHALF_TOKEN"
	}
	if s.URL == "" || s.Token == "" {
		path, err := Path(given.File, getenv)
		if err != nil {
			return s, err
		}
		stored, err := Read(path)
		if err != nil {
			return s, err
		}
		if s.URL == "" {
			s.URL, s.URLFrom = stored.URL, path
		}
		if s.Token == "" {
			s.Token, s.TokenFrom = stored.Token, path
		}
	}
	if s.URL == "" {
		s.URL, s.URLFrom = UsualURL, "the default"
	}
	s.URL = strings.TrimRight(s.URL, "/")
	return s, CheckURL(s.URL, s.URLFrom)
}

// CheckURL refuses what is not a server's address. from says who said it.
func CheckURL(text, from string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return faultf("the server's address %q, from %s, is not a URL; write it like %s", text, from, UsualURL)
	case u.User != nil:
		return faultf("the server's address, from %s, holds a password; a credential belongs into BEHALF_TOKEN", from)
	case u.RawQuery != "" || u.Fragment != "":
		return faultf("the server's address %q, from %s, has more than a path; write it like %s", text, from, UsualURL)
	}
	return nil
}

// Stored is the file that "behalf config" writes.
type Stored struct {
	URL   string `json:"url,omitempty"`
	Token string `json:"token,omitempty"`
}

// Path is where the file is: the one given, or BEHALF_CONFIG, or the usual one.
func Path(given string, getenv func(string) string) (string, error) {
	if path := cmp.Or(given, getenv("BEHALF_CONFIG")); path != "" {
		return path, nil
	}
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", fmt.Errorf("find the directory for settings: %w; name a file with --config or BEHALF_CONFIG", err)
	}
	return filepath.Join(dir, "behalf", "config.json"), nil
}

// Read reads the file, or nothing if there is none. One that others can read is
// refused, not used: whoever could read the token can act with it.
func Read(path string) (c Stored, err error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return c, fmt.Errorf("read the settings: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return c, fmt.Errorf("read the settings: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 && runtime.GOOS != "windows" {
		return c, faultf("%s is open to others (mode %04o), and a token in it would be too; close it with: chmod 600 %s", path, mode, path)
	}
	if err := json.UnmarshalRead(file, &c, json.RejectUnknownMembers(true)); err != nil {
		return c, faultf("%s can't be read: %v; mend it, or remove it and use \"behalf config set\"", path, err)
	}
	return c, nil
}

// Write replaces the file as a whole, so that no reader meets half of it, and
// with a mode that keeps others out from its first byte.
func Write(path string, c Stored) (err error) {
	body, err := json.Marshal(c, jsontext.WithIndent("  "))
	if err != nil {
		return fmt.Errorf("encode the settings: %w", err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("write the settings: %w", err)
		}
	}()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	file, err := os.CreateTemp(filepath.Dir(path), ".config-*") // with mode 0600
	if err != nil {
		return err
	}
	_, err = file.Write(append(body, '\n'))
	if err = errors.Join(err, file.Close()); err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		_ = os.Remove(file.Name()) // it is of no use to anybody
	}
	return err
}
