package domain

import (
	"encoding/base64"
	"encoding/binary"
	"hash/fnv"
)

// PartitionOf is the partition, out of n, of everything an account owns. It
// must never change: the log's subjects were written with it.
func PartitionOf(account AccountID, n int) uint16 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(account)) // a hash.Hash never fails
	return uint16(h.Sum32() % uint32(n))
}

// Position is a place in the log.
type Position struct {
	Partition uint16
	// Epoch changes when a log is made anew, so that a position of one log is
	// never taken for one of another.
	Epoch uint32
	Seq   uint64
}

// String is the opaque token clients see.
func (p Position) String() string { return string(p.Append(nil)) }

// Append appends the token to dst.
func (p Position) Append(dst []byte) []byte {
	var raw [16]byte
	b := binary.BigEndian.AppendUint16(raw[:0], p.Partition)
	b = binary.BigEndian.AppendUint32(b, p.Epoch)
	b = binary.AppendUvarint(b, p.Seq)
	return base64.RawURLEncoding.AppendEncode(dst, b)
}

// ParsePosition is the inverse of [Position.String].
func ParsePosition(token string) (Position, error) {
	if len(token) > 24 {
		return Position{}, Reject(Invalid, "not a position: too long")
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(b) < 7 {
		return Position{}, Reject(Invalid, "not a position; send one that a packet carried")
	}
	p := Position{Partition: binary.BigEndian.Uint16(b), Epoch: binary.BigEndian.Uint32(b[2:])}
	seq, n := binary.Uvarint(b[6:])
	p.Seq = seq
	// One place has one token: padded and overlong forms are refused.
	if n != len(b)-6 || p.String() != token {
		return Position{}, Reject(Invalid, "not a position; send one that a packet carried")
	}
	return p, nil
}
