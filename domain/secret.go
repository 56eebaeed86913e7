package domain

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"strings"
)

// Prefixes of the secrets. 32 random bytes in base64url follow.
const (
	AgentKeyPrefix    = "bhf_sk_"
	MemberTokenPrefix = "bhf_dev_"
	LinkTokenPrefix   = "bhf_pass_"
)

// TokenHash is the SHA-256 of a secret, in lower-case hex. Secrets have 256
// random bits, so a plain hash can't be searched. The empty hash matches nothing.
type TokenHash string

// HashToken is the hash that is kept of a secret.
func HashToken(secret string) TokenHash {
	sum := sha256.Sum256([]byte(secret))
	return TokenHash(hex.EncodeToString(sum[:]))
}

// Equal compares in constant time. An empty hash equals nothing, itself included.
func (h TokenHash) Equal(other TokenHash) bool {
	return h != "" && subtle.ConstantTimeCompare([]byte(h), []byte(other)) == 1
}

// ValidMemberToken reports whether s may be given as a member's token: the
// prefix and at least 32 characters of the base64url alphabet behind it.
func ValidMemberToken(s string) bool {
	rest, ok := strings.CutPrefix(s, MemberTokenPrefix)
	return ok && len(rest) >= 32 && len(rest) <= 128 && strings.Trim(rest, tokenAlphabet) == ""
}

const tokenAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
