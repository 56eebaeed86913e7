package domain

import (
	"encoding/binary"
	"math"
	"math/bits"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// quick reads JSON in just the form that this package writes it in, which is
// what nearly all of the log has: no blanks, the members in order, each at most
// once. It takes nothing that the strict decoder refuses.
type quick struct {
	b []byte
	i int // b is read up to here
	// other is set where the form is another. What is read from then on means
	// nothing.
	other bool
}

// done reports whether all was read, and was in the form.
func (q *quick) done() bool { return !q.other && q.i == len(q.b) }

// has takes what is next if it is s.
func (q *quick) has(s string) bool {
	if end := q.i + len(s); end <= len(q.b) && string(q.b[q.i:end]) == s {
		q.i = end
		return true
	}
	return false
}

// want takes what is next, which must be s.
func (q *quick) want(s string) {
	if !q.has(s) {
		q.other = true
	}
}

// member takes a member's name, and the comma before it unless it is at first.
func (q *quick) member(name string, first int) bool {
	from := q.i
	if (from == first || q.has(`,`)) && q.has(name) {
		return true
	}
	q.i = from
	return false
}

// string takes a string whose opening quote is taken, and returns what it says.
// That is good until the bytes that are read change.
func (q *quick) string() []byte {
	if q.other {
		return nil
	}
	begin := q.i
	q.i = plain(q.b, begin)
	if q.has(`"`) {
		return q.b[begin : q.i-1]
	}
	for q.i < len(q.b) && q.b[q.i] != '"' {
		if q.b[q.i] == '\\' {
			q.i++
		}
		q.i++
	}
	if q.i >= len(q.b) {
		q.i, q.other = len(q.b), true
		return nil
	}
	q.i++
	said, err := jsontext.AppendUnquote(nil, q.b[begin-1:q.i])
	if err != nil {
		q.other = true
	}
	return said
}

// text takes a string. Each is a copy of its own. Parts of one copy of all the
// bytes are no faster, and whatever is kept of them, such as an id, keeps all.
func (q *quick) text() string { return string(q.string()) }

// textLike takes a string that is likely to be like, and then is not copied.
func (q *quick) textLike(like string) string {
	if s := q.string(); string(s) != like {
		return string(s)
	}
	return like
}

// uint takes a number without a sign.
func (q *quick) uint() (v uint64) {
	begin := q.i
	for q.i < len(q.b) && '0' <= q.b[q.i] && q.b[q.i] <= '9' {
		v = v*10 + uint64(q.b[q.i]-'0')
		q.i++
	}
	digits := q.i - begin
	if digits == 0 || digits > 19 || digits > 1 && q.b[begin] == '0' {
		q.other = true // of 20 digits not all fit
	}
	return v
}

// int takes a number that may be below zero.
func (q *quick) int() int {
	negative := q.has(`-`)
	v := q.uint()
	if v > math.MaxInt || negative && v == 0 {
		q.other = true
	}
	if negative {
		return -int(v)
	}
	return int(v)
}

func (q *quick) duration() (d Duration) {
	if d.UnmarshalText(q.string()) != nil {
		q.other = true
	}
	return d
}

// time takes a time in UTC. The parser is quick enough; by itself it is laxer
// than the strict decoder.
func (q *quick) time() (t time.Time) {
	s := q.string()
	const hour, seconds = len("2006-01-02T"), len("2006-01-02T15:04:05")
	if len(s) <= seconds || s[hour+1] == ':' || s[seconds] == ',' || s[len(s)-1] != 'Z' || t.UnmarshalText(s) != nil {
		q.other = true
	}
	return t
}

// plain is the first byte of b, from i on, that doesn't mean itself in a string: a
// quote, a backslash, a control character, or more than ASCII. It looks at eight
// at a time and sets the high bit of those that don't.
func plain(b []byte, i int) int {
	const (
		each      = 0x0101010101010101
		high      = 0x80 * each
		quote     = '"' * each
		backslash = '\\' * each
		space     = ' ' * each
	)
	for ; i+8 <= len(b); i += 8 {
		eight := binary.LittleEndian.Uint64(b[i:])
		odd := (eight | (eight - space) | ((eight ^ quote) - each) | ((eight ^ backslash) - each)) & high
		if odd != 0 { // the lowest is right; a borrow may set one above it
			return i + bits.TrailingZeros64(odd)/8
		}
	}
	for i < len(b) && ' ' <= b[i] && b[i] < 0x80 && b[i] != '"' && b[i] != '\\' {
		i++
	}
	return i
}
