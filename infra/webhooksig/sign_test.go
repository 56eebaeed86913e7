package webhooksig_test

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	official "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/behalf-platform/behalf/infra/webhooksig"
)

// What the specification and the reference server were published with.
const (
	vectorSecret  = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	vectorSeed    = "6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbc="
	vectorPublic  = "1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="
	vectorV1      = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
	vectorV1a     = "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg=="
	vectorID      = "msg_p5jXN8AQM9LWM0D4loKWxJek"
	vectorSeconds = 1614265330
)

var vector = webhooksig.Message{ID: vectorID, At: time.Unix(vectorSeconds, 0), Body: []byte(`{"test": 2432232314}`)}

const both = webhooksig.V1 | webhooksig.V1a

func TestPublishedVectors(t *testing.T) {
	t.Parallel()
	seed, err := base64.StdEncoding.DecodeString(vectorSeed)
	if err != nil {
		t.Fatal(err)
	}
	private := ed25519.NewKeyFromSeed(seed)
	if got := base64.StdEncoding.EncodeToString(private.Public().(ed25519.PublicKey)); got != vectorPublic {
		t.Fatalf("got public key %s, want %s", got, vectorPublic)
	}
	signer, err := webhooksig.NewSigner(both, webhooksig.Key{Secret: vectorSecret, Private: private})
	if err != nil {
		t.Fatal(err)
	}
	want := []webhooksig.Field{
		{Name: "webhook-id", Value: vectorID},
		{Name: "webhook-timestamp", Value: "1614265330"},
		{Name: "webhook-signature", Value: vectorV1 + " " + vectorV1a},
	}
	if got := mustSign(t, signer, vector); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// The reference API hashes the secret as text, and keys with the hash as text.
func TestReferenceHeaders(t *testing.T) {
	t.Parallel()
	signer, err := webhooksig.NewSigner(webhooksig.Reference, webhooksig.Key{Secret: vectorSecret})
	if err != nil {
		t.Fatal(err)
	}
	hashed := sha256.Sum256([]byte(vectorSecret))
	mac := hmac.New(sha256.New, []byte(strings.ToLower(hex.EncodeToString(hashed[:]))))
	mac.Write([]byte("1614265330." + string(vector.Body)))
	want := []webhooksig.Field{
		{Name: "BehalfID-Event-ID", Value: vectorID},
		{Name: "BehalfID-Timestamp", Value: "1614265330"},
		{Name: "BehalfID-Signature", Value: "v1=" + hex.EncodeToString(mac.Sum(nil))},
	}
	if got := mustSign(t, signer, vector); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A receiver with the official library takes what is signed while both the old
// key and the new one sign, whichever it has; and then only the new one.
func TestRotation(t *testing.T) {
	t.Parallel()
	ring := mustRing(t, 1)
	m := webhooksig.Message{ID: "evt_01", At: time.Now(), Body: []byte(`{"type":"x"}`)}
	for _, test := range []struct {
		name     string
		versions []int
		takes    map[int]bool
	}{
		{"before", []int{1}, map[int]bool{1: true, 2: false, 3: false}},
		{"during", []int{2, 1}, map[int]bool{1: true, 2: true, 3: false}},
		{"after", []int{2}, map[int]bool{1: false, 2: true, 3: false}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			fields, err := ring.Sign("acct_1", "whe_1", both|webhooksig.Reference, test.versions, m)
			if err != nil {
				t.Fatal(err)
			}
			header := headerOf(fields)
			for version, want := range test.takes {
				if got := officialTakes(t, ring, version, header, m.Body); got != want {
					t.Errorf("the official library with secret %d takes it: got %t, want %t", version, got, want)
				}
				if got := ed25519Takes(t, ring, version, header, m); got != want {
					t.Errorf("public key %d takes it: got %t, want %t", version, got, want)
				}
			}
			if officialTakes(t, ring, test.versions[0], header, []byte(`{"type":"y"}`)) {
				t.Error("the official library takes another body")
			}
		})
	}
}

func TestSignRefuses(t *testing.T) {
	t.Parallel()
	signer, err := webhooksig.NewSigner(webhooksig.V1, webhooksig.Key{Secret: vectorSecret})
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"", "a.b", "a b", "a\r\nb", "é", strings.Repeat("a", 129)} {
		if got, err := signer.Sign(nil, webhooksig.Message{ID: id}); err == nil {
			t.Errorf("id %q: got %q, want an error", id, got)
		}
	}
	good := webhooksig.Key{Secret: vectorSecret}
	for name, make := range map[string]func() (*webhooksig.Signer, error){
		"no key":           func() (*webhooksig.Signer, error) { return webhooksig.NewSigner(webhooksig.V1) },
		"no scheme":        func() (*webhooksig.Signer, error) { return webhooksig.NewSigner(0, good) },
		"unknown scheme":   func() (*webhooksig.Signer, error) { return webhooksig.NewSigner(1<<7|webhooksig.V1, good) },
		"no private key":   func() (*webhooksig.Signer, error) { return webhooksig.NewSigner(both, good) },
		"no prefix":        func() (*webhooksig.Signer, error) { return mustNot(vectorSecret[len("whsec_"):]) },
		"not base64":       func() (*webhooksig.Signer, error) { return mustNot("whsec_" + strings.Repeat("!", 40)) },
		"too short":        func() (*webhooksig.Signer, error) { return mustNot("whsec_AAAA") },
		"too long":         func() (*webhooksig.Signer, error) { return mustNot("whsec_" + strings.Repeat("AAAA", 22)) },
		"no such version":  func() (*webhooksig.Signer, error) { return mustRing(t, 1).Signer("a", "e", webhooksig.V1, 0) },
		"an empty keyring": func() (*webhooksig.Signer, error) { return new(webhooksig.Keyring).Signer("a", "e", webhooksig.V1, 1) },
	} {
		if got, err := make(); err == nil {
			t.Errorf("%s: got %v, want an error", name, got)
		}
	}
}

// Keys are kept for many deliveries at once: none may see another's state.
func TestSignAtOnce(t *testing.T) {
	t.Parallel()
	ring := mustRing(t, 1)
	signer, err := ring.Signer("acct_1", "whe_1", both|webhooksig.Reference, 2, 1)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 50 {
				m := webhooksig.Message{ID: "evt_" + strconv.Itoa(i), At: time.Unix(int64(j), 0), Body: []byte(strings.Repeat("x", i*j))}
				got, err := signer.Sign(nil, m)
				want, errWant := ring.Sign("acct_1", "whe_1", both|webhooksig.Reference, []int{2, 1}, m)
				if err != nil || errWant != nil || !slices.Equal(got, want) {
					t.Errorf("got %q (%v), want %q (%v)", got, err, want, errWant)
					return
				}
			}
		})
	}
	wg.Wait()
}

func mustNot(secret string) (*webhooksig.Signer, error) {
	return webhooksig.NewSigner(webhooksig.V1, webhooksig.Key{Secret: webhooksig.Secret(secret)})
}

func mustSign(t *testing.T, signer *webhooksig.Signer, m webhooksig.Message) []webhooksig.Field {
	t.Helper()
	got, err := signer.Sign(nil, m)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func mustRing(t *testing.T, fill byte) *webhooksig.Keyring {
	t.Helper()
	ring, err := webhooksig.NewKeyring(slices.Repeat([]byte{fill}, webhooksig.MasterSize))
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

func headerOf(fields []webhooksig.Field) http.Header {
	header := http.Header{}
	for _, f := range fields {
		header.Add(f.Name, f.Value)
	}
	return header
}

func officialTakes(t *testing.T, ring *webhooksig.Keyring, version int, header http.Header, body []byte) bool {
	t.Helper()
	secret, err := ring.Secret("acct_1", "whe_1", version)
	if err != nil {
		t.Fatal(err)
	}
	receiver, err := official.NewWebhook(string(secret))
	if err != nil {
		t.Fatal(err)
	}
	return receiver.Verify(body, header) == nil
}

// ed25519Takes reads the header by itself, with nothing of ours but the key.
func ed25519Takes(t *testing.T, ring *webhooksig.Keyring, version int, header http.Header, m webhooksig.Message) bool {
	t.Helper()
	shown, err := ring.PublicKey("acct_1", "whe_1", version)
	if err != nil {
		t.Fatal(err)
	}
	public, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(shown, "whpk_"))
	if err != nil || len(public) != ed25519.PublicKeySize {
		t.Fatalf("public key %q: %v", shown, err)
	}
	signed := m.ID + "." + strconv.FormatInt(m.At.Unix(), 10) + "." + string(m.Body)
	for _, one := range strings.Fields(header.Get("webhook-signature")) {
		text, ok := strings.CutPrefix(one, "v1a,")
		if signature, err := base64.StdEncoding.DecodeString(text); ok && err == nil && ed25519.Verify(public, []byte(signed), signature) {
			return true
		}
	}
	return false
}
