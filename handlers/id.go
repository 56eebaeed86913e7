package handlers

import (
	"crypto/rand"
	"encoding/base64"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/behalf-platform/behalf/domain"
)

// NewULID makes the part of an id behind its prefix. It begins with the time,
// so that ids sort, and where to look for one in the log is known.
func NewULID(at time.Time) string {
	return ulid.MustNew(ulid.Timestamp(at), rand.Reader).String()
}

// newSecret makes a secret: its prefix and 32 random bytes.
func newSecret(prefix string) string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails; it ends the program instead
	return prefix + base64.RawURLEncoding.EncodeToString(b[:])
}

// NewMemberToken makes a member's token.
func NewMemberToken() string { return newSecret(domain.MemberTokenPrefix) }
