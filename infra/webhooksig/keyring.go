package webhooksig

import (
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
)

// Prefixes of what a customer is shown; standard base64 follows.
const (
	SecretPrefix    = "whsec_" // of the HMAC secret, shown once
	PublicKeyPrefix = "whpk_"  // of the Ed25519 public key, shown to whoever asks
)

// MasterSize is the length of a master key, in bytes.
const MasterSize = 32

// Purposes keep keys that are derived for one thing from being used as another.
const (
	purposeSecret      = "hmac-secret"
	purposeEd25519     = "ed25519-seed"
	purposeFingerprint = "fingerprint"
	purposeReceipt     = "receipt-seed"
)

// Keyring derives every endpoint's keys from one master key, so that no
// endpoint's secret is stored anywhere. The zero Keyring derives nothing. It
// prints as nothing but its name.
type Keyring struct {
	// master is inside a function for the sake of what prints a Keyring that is
	// inside of something else: it follows pointers, and finds no method.
	master func() []byte
}

// NewKeyring takes the master key of an installation: MasterSize random bytes.
func NewKeyring(master []byte) (*Keyring, error) {
	if len(master) != MasterSize {
		return nil, fmt.Errorf("the master key has %d bytes; it needs %d", len(master), MasterSize)
	}
	set := byte(0)
	for _, b := range master {
		set |= b
	}
	if set == 0 {
		return nil, errors.New("the master key is all zeros; it must be random")
	}
	master = slices.Clone(master)
	return &Keyring{master: func() []byte { return master }}, nil
}

// Secret is what the customer verifies with: whsec_ and 32 bytes in base64. It
// prints as its prefix alone; convert it to a string where it is to be shown.
type Secret string

// Secret derives a version of an endpoint's secret.
func (k *Keyring) Secret(account, endpoint string, version int) (Secret, error) {
	raw, err := k.derive(purposeSecret, account, endpoint, version)
	if err != nil {
		return "", err
	}
	return Secret(SecretPrefix + base64.StdEncoding.EncodeToString(raw)), nil
}

// PublicKey derives what checks a version of an endpoint's v1a signatures:
// whpk_ and 32 bytes in base64. It is no secret.
func (k *Keyring) PublicKey(account, endpoint string, version int) (string, error) {
	private, err := k.private(account, endpoint, version)
	if err != nil {
		return "", err
	}
	return PublicKeyPrefix + base64.StdEncoding.EncodeToString(private.Public().(ed25519.PublicKey)), nil
}

// Signer derives the keys of the given versions, the newest first. More than
// one is for the time of a rotation, when receivers may still have the old key.
func (k *Keyring) Signer(account, endpoint string, schemes Scheme, versions ...int) (*Signer, error) {
	keys := make([]Key, len(versions))
	for i, version := range versions {
		secret, err := k.Secret(account, endpoint, version)
		if err != nil {
			return nil, err
		}
		keys[i].Secret = secret
		if schemes&V1a == 0 {
			continue
		}
		if keys[i].Private, err = k.private(account, endpoint, version); err != nil {
			return nil, err
		}
	}
	return NewSigner(schemes, keys...)
}

// Sign signs one delivery. Whoever sends more than one keeps a [Signer].
func (k *Keyring) Sign(account, endpoint string, schemes Scheme, versions []int, m Message) ([]Field, error) {
	signer, err := k.Signer(account, endpoint, schemes, versions...)
	if err != nil {
		return nil, err
	}
	return signer.Sign(nil, m)
}

// Fingerprint tells master keys apart, and nothing about them. Every node of an
// installation must have the same one, and keep it: another master key is
// another secret for every endpoint.
func (k *Keyring) Fingerprint() (string, error) {
	raw, err := k.derive(purposeFingerprint, "-", "-", 1)
	return hex.EncodeToString(raw)[:min(16, 2*len(raw))], err
}

// ReceiptKey derives a version of the key that an account's receipts are signed
// with. No endpoint's key is ever the same.
func (k *Keyring) ReceiptKey(account string, version int) (ed25519.PrivateKey, error) {
	seed, err := k.derive(purposeReceipt, account, "-", version)
	if err != nil {
		return nil, err
	}
	return ed25519.NewKeyFromSeed(seed), nil
}

func (k *Keyring) private(account, endpoint string, version int) (ed25519.PrivateKey, error) {
	seed, err := k.derive(purposeEd25519, account, endpoint, version)
	if err != nil {
		return nil, err
	}
	return ed25519.NewKeyFromSeed(seed), nil
}

func (k *Keyring) derive(purpose, account, endpoint string, version int) ([]byte, error) {
	switch {
	case k == nil || k.master == nil:
		return nil, errors.New("derive a webhook key: there is no master key")
	case account == "" || endpoint == "":
		return nil, errors.New("derive a webhook key: the account or the endpoint has no id")
	case version < 1:
		return nil, fmt.Errorf("derive a webhook key: version %d; they count from 1", version)
	}
	// Each part says how long it is, so that no two lists of parts read alike.
	info := []byte("behalf webhook keys 1")
	for _, part := range []string{purpose, account, endpoint} {
		info = binary.BigEndian.AppendUint32(info, uint32(len(part)))
		info = append(info, part...)
	}
	info = binary.BigEndian.AppendUint64(info, uint64(version))
	return hkdf.Key(sha256.New, k.master(), nil, string(info), MasterSize)
}

// String is the name of the type.
func (Keyring) String() string { return "webhooksig.Keyring" }

// Format prints the name of the type, whatever the verb.
func (k Keyring) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, k.String()) }

// LogValue is the name of the type.
func (k Keyring) LogValue() slog.Value { return slog.StringValue(k.String()) }

// String is the prefix and nothing else.
func (Secret) String() string { return SecretPrefix + "…" }

// Format prints String, whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// LogValue is String.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }
