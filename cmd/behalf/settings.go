package main

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
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/pflag"
)

// connection is the flags of every command that speaks to a server.
type connection struct {
	url, token, config string
	output             string
	timeout            time.Duration
}

func (c *connection) flags(f *pflag.FlagSet) {
	f.StringVar(&c.url, "url", "", "where the server is (BEHALF_URL; default "+usualURL+"); --server means the same")
	c.otherFlags(f)
}

func (c *connection) otherFlags(f *pflag.FlagSet) {
	f.StringVar(&c.token, "token", "", "agent key or member token; others can see it on the command line, so BEHALF_TOKEN is safer")
	f.StringVar(&c.config, "config", "", `file with the settings of "behalf config" (BEHALF_CONFIG)`)
	f.StringVarP(&c.output, "output", "o", "table", "table for people, or json as the server sent it")
	f.DurationVar(&c.timeout, "timeout", 10*time.Second, "how long to wait for an answer")
	f.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		if name == "server" {
			name = "url"
		}
		return pflag.NormalizedName(name)
	})
}

const usualURL = "http://127.0.0.1:8080"

// settings say where the server is and who asks, and where that was said.
type settings struct {
	URL, Token         string
	urlFrom, tokenFrom string
}

// settle chooses each setting from the flag, the environment or the file, in
// that order. The file is read only if something is still missing.
func (s *shell) settle() (settings, error) {
	given := settings{
		URL: s.given.url, urlFrom: "the flag --url",
		Token: s.given.token, tokenFrom: "the flag --token",
	}
	if given.URL == "" {
		given.URL, given.urlFrom = s.getenv("BEHALF_URL"), "BEHALF_URL"
	}
	if given.Token == "" {
		given.Token, given.tokenFrom = s.getenv("BEHALF_TOKEN"), "BEHALF_TOKEN"
	}
	if given.URL == "" || given.Token == "" {
		path, err := s.configPath()
		if err != nil {
			return given, err
		}
		stored, err := readConfig(path)
		if err != nil {
			return given, err
		}
		if given.URL == "" {
			given.URL, given.urlFrom = stored.URL, path
		}
		if given.Token == "" {
			given.Token, given.tokenFrom = stored.Token, path
		}
	}
	if given.URL == "" {
		given.URL, given.urlFrom = usualURL, "the default"
	}
	given.URL = strings.TrimRight(given.URL, "/")
	return given, checkURL(given.URL, given.urlFrom)
}

func checkURL(text, from string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return usagef("the server's address %q, from %s, is not a URL; write it like %s", text, from, usualURL)
	case u.User != nil:
		return usagef("the server's address, from %s, holds a password; a credential belongs into BEHALF_TOKEN", from)
	case u.RawQuery != "" || u.Fragment != "":
		return usagef("the server's address %q, from %s, has more than a path; write it like %s", text, from, usualURL)
	}
	return nil
}

// storedConfig is the file that "behalf config" writes.
type storedConfig struct {
	URL   string `json:"url,omitempty"`
	Token string `json:"token,omitempty"`
}

func (s *shell) configPath() (string, error) {
	if path := cmp.Or(s.given.config, s.getenv("BEHALF_CONFIG")); path != "" {
		return path, nil
	}
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", fmt.Errorf("find the directory for settings: %w; name a file with --config or BEHALF_CONFIG", err)
	}
	return filepath.Join(dir, "behalf", "config.json"), nil
}

// readConfig reads the file, or nothing if there is none. One that others can
// read is refused, not used: whoever could read the token can act with it.
func readConfig(path string) (c storedConfig, err error) {
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
		return c, usagef("%s is open to others (mode %04o), and a token in it would be too; close it with: chmod 600 %s", path, mode, path)
	}
	if err := json.UnmarshalRead(file, &c, json.RejectUnknownMembers(true)); err != nil {
		return c, usagef("%s can't be read: %v; mend it, or remove it and use \"behalf config set\"", path, err)
	}
	return c, nil
}

// writeConfig replaces the file as a whole, so that no reader meets half of it,
// and with a mode that keeps others out from its first byte.
func writeConfig(path string, c storedConfig) (err error) {
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
