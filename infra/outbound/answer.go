package outbound

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"unicode/utf8"
)

// read says what an answer means. Its status and header settle that: a body that
// is cut off, late or endless changes nothing about what the receiver said, and
// costs it the connection.
func (c *Client) read(answer *http.Response) Result {
	r := Result{Status: answer.StatusCode, Hint: hint(answer.Header)}
	wait, told := retryAfter(answer.Header.Get("Retry-After"), c.now())
	r.Category = ofStatus(answer.StatusCode, told)
	switch r.Category {
	case Throttled:
		r.RetryAfter = wait
	case Redirected:
		r.RedirectHost = redirectHost(answer.Header.Get("Location"))
	case Protocol:
		return r // its body may be the raw connection
	}
	buffer := buffers.Get().(*[4 << 10]byte)
	defer buffers.Put(buffer)
	shown, err := 0, error(nil)
	for n := 0; err == nil && shown < shownAnswer; shown += n {
		n, err = answer.Body.Read(buffer[shown:shownAnswer])
	}
	if encoding := answer.Header.Get("Content-Encoding"); encoding == "" || strings.EqualFold(encoding, "identity") {
		r.Answer = clean(buffer[:shown])
	}
	for n, read := 0, shown; err == nil && read < mostAnswer; read += n {
		n, err = answer.Body.Read(buffer[:])
	}
	r.Whole = err == io.EOF
	return r
}

var buffers = sync.Pool{New: func() any { return new([4 << 10]byte) }}

func ofStatus(status int, wait bool) Category {
	switch {
	case status/100 == 2:
		return OK
	case status/100 == 3:
		return Redirected
	case status == http.StatusGone:
		return Gone
	case status == http.StatusTooManyRequests, status == http.StatusServiceUnavailable && wait:
		return Throttled
	case status/100 == 4:
		return Refused
	case status/100 == 5:
		return Failed
	}
	return Protocol
}

func hint(header http.Header) Hint {
	switch asked := Hint(strings.ToLower(strings.TrimSpace(header.Get("Webhook-Delivery")))); asked {
	case Disable, AbortMessage:
		return asked
	}
	return NoHint
}

func redirectHost(location string) string {
	u, err := url.Parse(location)
	if err != nil || len(u.Host) > 255 {
		return ""
	}
	return clean([]byte(u.Host))
}

// clean makes text of what a receiver sent: valid UTF-8, and nothing in it that
// a terminal would obey or a database refuse. A character that was cut in two at
// the end is left out.
func clean(b []byte) string {
	for i := 1; i < utf8.UTFMax && i <= len(b); i++ {
		if tail := b[len(b)-i:]; utf8.RuneStart(tail[0]) {
			if !utf8.FullRune(tail) {
				b = b[:len(b)-i]
			}
			break
		}
	}
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || r >= ' ' && r < 0x7f || r > 0x9f && !turns(r) {
			return r
		}
		return utf8.RuneError
	}, string(b))
}

// turns reports whether a character turns the direction of the text around them.
func turns(r rune) bool {
	return r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 || r == 0x200e || r == 0x200f
}
