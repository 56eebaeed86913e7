package webhooksig_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/behalf-platform/behalf/infra/webhooksig"
)

// A derived key may never change: customers have it. And no two things that
// differ in anything may have the same one.
func TestDerivation(t *testing.T) {
	t.Parallel()
	ring := mustRing(t, 1)
	secret, err := ring.Secret("acct_1", "whe_1", 1)
	if err != nil {
		t.Fatal(err)
	}
	const want = "whsec_6OBJD4gAeTRGGj+09FIzUPOCR9qUwyoXshANBAsCf3E="
	if string(secret) != want {
		t.Errorf("got secret %s, want %s", string(secret), want)
	}
	seen := map[string]string{}
	for _, master := range []byte{1, 2} {
		ring := mustRing(t, master)
		for _, id := range [][2]string{{"acct_1", "whe_1"}, {"acct_1w", "he_1"}, {"acct_", "1whe_1"}, {"whe_1", "acct_1"}, {"acct_1", "whe_2"}} {
			for _, version := range []int{1, 2, 256} {
				secret, err := ring.Secret(id[0], id[1], version)
				if err != nil {
					t.Fatal(err)
				}
				public, err := ring.PublicKey(id[0], id[1], version)
				if err != nil {
					t.Fatal(err)
				}
				from := fmt.Sprint(master, id, version)
				for _, key := range []string{strings.TrimPrefix(string(secret), "whsec_"), strings.TrimPrefix(public, "whpk_")} {
					if other, ok := seen[key]; ok {
						t.Errorf("%s and %s have the same key", from, other)
					}
					seen[key] = from
					if raw, err := base64.StdEncoding.DecodeString(key); err != nil || len(raw) != 32 {
						t.Errorf("%s: got %q (%v), want 32 bytes in base64", from, key, err)
					}
				}
			}
		}
	}
}

func TestFingerprint(t *testing.T) {
	t.Parallel()
	first, err := mustRing(t, 1).Fingerprint()
	again, _ := mustRing(t, 1).Fingerprint()
	other, _ := mustRing(t, 2).Fingerprint()
	if err != nil || len(first) != 16 || first != again || first == other {
		t.Errorf("got %q, %q, %q (%v), want two alike and one not, of 16", first, again, other, err)
	}
	if _, err := new(webhooksig.Keyring).Fingerprint(); err == nil {
		t.Error("an empty keyring has a fingerprint")
	}
}

func TestNothingPrintsAKey(t *testing.T) {
	t.Parallel()
	ring := mustRing(t, 0xAB)
	secret, err := ring.Secret("acct_1", "whe_1", 1)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ring.Signer("acct_1", "whe_1", both|webhooksig.Reference, 1)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(string(secret), "whsec_"))
	if err != nil {
		t.Fatal(err)
	}
	type holder struct {
		Ring   webhooksig.Keyring
		ring   *webhooksig.Keyring
		hidden webhooksig.Keyring
		Secret webhooksig.Secret
		Signer *webhooksig.Signer
		signer webhooksig.Signer
	}
	all := holder{*ring, ring, *ring, secret, signer, *signer}
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, nil))
	for _, v := range []any{ring, *ring, secret, signer, *signer, all, &all} {
		log.Info("x", "v", v)
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d", "%x", "%X", "%q"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
	}
	printed := strings.ToLower(out.String())
	for what, piece := range map[string]string{
		"the master key in hex":     "abababab",
		"the master key in bytes":   "171 171 171",
		"the master key in Go":      "0xab, 0xab",
		"the secret":                strings.ToLower(string(secret)[6:20]),
		"the secret in hex":         hex.EncodeToString(raw[:6]),
		"the secret's text in hex":  hex.EncodeToString([]byte(secret)[6:20]),
		"the secret's bytes":        strings.Trim(fmt.Sprint(raw[:4]), "[]"),
		"the secret's bytes in Go ": strings.Trim(strings.TrimPrefix(fmt.Sprintf("%#v", raw[:4]), "[]byte{"), "}"),
	} {
		if strings.Contains(printed, piece) {
			t.Errorf("%s was printed: %s", what, printed)
		}
	}
}

func TestMasterFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "webhook.key")
	if _, err := webhooksig.OpenMaster(path); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("open what is not there: got %v, want fs.ErrNotExist", err)
	}
	prints := make([]string, 8)
	var wg sync.WaitGroup
	for i := range prints {
		wg.Go(func() {
			ring, err := webhooksig.OpenOrMakeMaster(path)
			if err != nil {
				t.Error(err)
				return
			}
			prints[i], _ = ring.Fingerprint()
		})
	}
	wg.Wait()
	if len(slices.Compact(prints)) != 1 || prints[0] == "" {
		t.Errorf("got keys %q, want one, made once", prints)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if mode := info.Mode().Perm(); mode != 0o600 && runtime.GOOS != "windows" {
		t.Errorf("got mode %04o, want 0600", mode)
	}
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) != 1 {
		t.Errorf("got files %v (%v), want the key's only", left, err)
	}
}

func TestMasterFileIsRefused(t *testing.T) {
	t.Parallel()
	key := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32))
	for _, test := range []struct {
		name, text string
		mode       fs.FileMode
		says       string
	}{
		{"open to the group", key, 0o640, "chmod 600"},
		{"open to all", key, 0o604, "chmod 600"},
		{"empty", "", 0o600, "0 bytes"},
		{"cut off", key[:40], 0o600, "30 bytes"},
		{"two keys", key + key, 0o600, "not base64"},
		{"not base64", strings.Repeat("!", 44), 0o600, "not base64"},
		{"zeros", base64.StdEncoding.EncodeToString(make([]byte, 32)), 0o600, "zeros"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "webhook.key")
			if err := os.WriteFile(path, []byte(test.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, test.mode); err != nil {
				t.Fatal(err)
			}
			_, err := webhooksig.OpenOrMakeMaster(path)
			if err == nil || !strings.Contains(err.Error(), test.says) || test.text != "" && strings.Contains(err.Error(), test.text[:8]) {
				t.Errorf("got %v, want it to say %q and nothing of the key", err, test.says)
			}
			if got, _ := os.ReadFile(path); string(got) != test.text {
				t.Errorf("the file was changed")
			}
		})
	}
	if _, err := webhooksig.OpenOrMakeMaster(t.TempDir()); err == nil || !strings.Contains(err.Error(), "plain file") {
		t.Errorf("a directory: got %v, want it to ask for a plain file", err)
	}
	if _, err := webhooksig.OpenOrMakeMaster(filepath.Join(t.TempDir(), "none", "webhook.key")); err == nil {
		t.Error("a directory that is not there: got no error")
	}
}
