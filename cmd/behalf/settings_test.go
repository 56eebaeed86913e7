package main

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/behalf-platform/behalf/cmd/behalf/access"
)

func TestSettingsComeFromFlagThenEnvironmentThenFile(t *testing.T) {
	t.Parallel()
	var credential string
	c := newConsole(t, func(w http.ResponseWriter, r *http.Request) {
		credential = r.Header.Get("Authorization")
		_, _ = io.WriteString(w, "{}")
	})
	url := c.env["BEHALF_URL"]
	c.want(0, "", "config", "set", "url", url)
	c.in = "bhf_dev_stored\n"
	c.want(0, "", "config", "set", "token")

	c.want(0, "{}\n", "account", "show", "-o", "json", "--token", "bhf_dev_flag")
	if credential != "Bearer bhf_dev_flag" {
		t.Errorf("got %s, want the flag's", credential)
	}
	c.want(0, "{}\n", "account", "show", "-o", "json")
	if credential != "Bearer "+secret {
		t.Errorf("got %s, want the environment's", credential)
	}
	c.env["BEHALF_URL"], c.env["BEHALF_TOKEN"] = "", ""
	c.want(0, "{}\n", "account", "show", "-o", "json")
	if credential != "Bearer bhf_dev_stored" {
		t.Errorf("got %s, want the file's", credential)
	}
	c.want(0, "", "config", "unset", "token")
	c.wantError(2, []string{"needs a credential"}, "account", "show")
	c.want(0, "", "config", "unset", "url")
	if _, out, _ := c.run("config", "show"); !strings.Contains(out, access.UsualURL) || !strings.Contains(out, "the default") {
		t.Errorf("got\n%s\nwant the default address", out)
	}
	c.env["BEHALF_URL"] = "http://x"
	if _, out, _ := c.run("config", "show", "--server", url); !strings.Contains(out, url) {
		t.Errorf("got\n%s\nwant --server to mean --url", out)
	}
}

func TestConfigShowsNoToken(t *testing.T) {
	t.Parallel()
	c := newConsole(t, nil)
	c.env["BEHALF_URL"], c.env["BEHALF_TOKEN"] = "", ""
	c.in = secret
	c.want(0, "", "config", "set", "token")
	code, out, _ := c.run("config", "show") // which fails if it prints the secret
	if code != 0 || !strings.Contains(out, "bhf_sk_…") || !strings.Contains(out, c.env["BEHALF_CONFIG"]) {
		t.Errorf("got %d\n%s\nwant what kind of token there is, and where", code, out)
	}
	c.want(0, c.env["BEHALF_CONFIG"]+"\n", "config", "path")
}

func TestTheConfigFileIsForItsOwnerOnly(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("there are no such modes")
	}
	c := newConsole(t, nil)
	c.env["BEHALF_URL"], c.env["BEHALF_TOKEN"] = "", ""
	path := c.env["BEHALF_CONFIG"]
	c.want(0, "", "config", "set", "token", "bhf_dev_x")
	for name, want := range map[string]os.FileMode{path: 0o600, filepath.Dir(path): 0o700} {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: got %v, %v; want the mode %o", name, info, err, want)
		}
	}
	for _, mode := range []os.FileMode{0o640, 0o604, 0o660} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		c.wantError(2, []string{"is open to others", "chmod 600 " + path}, "account", "show")
		c.wantError(3, []string{"is open to others"}, "verify", "--action", "a")
		c.wantError(2, []string{"is open to others"}, "config", "set", "url", "http://x")
	}
}

func TestABrokenConfigFileIsNotUsed(t *testing.T) {
	t.Parallel()
	c := newConsole(t, nil)
	c.env["BEHALF_TOKEN"] = ""
	path := c.env["BEHALF_CONFIG"]
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"", "{", `{"tokn":"x"}`, `{"token":"a","token":"b"}`, `{"token":1}`} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c.wantError(2, []string{path, "can't be read"}, "account", "show")
	}
}

func TestAddressesAreChecked(t *testing.T) {
	t.Parallel()
	c := newConsole(t, nil)
	for _, url := range []string{"localhost:8080", "ftp://x", "http://", "http://a b", "http://u:" + secret + "@x", "http://x/?a=b"} {
		c.wantError(2, []string{"the flag --url"}, "account", "show", "--url", url)
	}
	c.wantError(2, []string{"the command line"}, "config", "set", "url", "x")
	c.wantError(2, []string{"url or token"}, "config", "set", "color", "x")
	c.wantError(2, []string{"there is no value"}, "config", "set", "token")
}
