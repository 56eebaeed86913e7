// Package before has what all share that stand before what an agent does: how a
// question is made small enough to be asked, and how a refusal is put into
// words. It needs nothing of the server's, since a hook is started for each call.
package before

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"unicode"

	"github.com/go-json-experiment/json/jsontext"
)

// MostBody is the most of a question that the server takes, in bytes, as JSON.
const MostBody = 64 << 10

// Digest stands for arguments that are too large to send. SHA256 is, in hex, the
// digest that they would have had as arguments: of their canonical form by RFC
// 8785, numbers kept as written.
type Digest struct {
	SHA256 string `json:"sha256"`
	Bytes  int    `json:"bytes"` // of the canonical form
}

// DigestOf is the digest of arguments, which stay as they are.
func DigestOf(arguments jsontext.Value) (Digest, error) {
	form := arguments.Clone()
	if err := form.Canonicalize(jsontext.CanonicalizeRawInts(false), jsontext.CanonicalizeRawFloats(false)); err != nil {
		return Digest{}, fmt.Errorf("can't be put into canonical form: %w", err)
	}
	sum := sha256.Sum256(form)
	return Digest{SHA256: hex.EncodeToString(sum[:]), Bytes: len(form)}, nil
}

// Sentence is text without the end of its last sentence, to be put into another.
func Sentence(text string) string { return strings.TrimRight(text, ". \n") }

// mostText bounds what is told, in bytes; editors cut off much more.
const mostText = 4 << 10

// Plain is text without what could move the cursor or hide something.
func Plain(text string) string {
	text = strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp):
			return unicode.ReplacementChar
		}
		return r
	}, text)
	if len(text) > mostText {
		text = strings.ToValidUTF8(text[:mostText], "") + "…"
	}
	return text
}
