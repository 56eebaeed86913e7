package outbound

import "time"

// Category is what came of an attempt. The set is closed.
type Category string

// Everything that can come of an attempt.
const (
	OK         Category = "ok"         // 2xx
	Refused    Category = "refused"    // 4xx, other than the next two
	Gone       Category = "gone"       // 410: the receiver wants no more
	Throttled  Category = "throttled"  // 429, or 503 that says when to come back
	Redirected Category = "redirected" // 3xx; never followed
	Failed     Category = "failed"     // 5xx, other than such a 503
	Timeout    Category = "timeout"    // no status line and header in time
	Connect    Category = "connect"    // no connection
	TLS        Category = "tls"        // no TLS, or a certificate that is not good
	DNS        Category = "dns"        // the name has no address
	Dropped    Category = "dropped"    // closed or reset before it answered
	Protocol   Category = "protocol"   // the answer is not HTTP as it must be
	Blocked    Category = "blocked"    // the guard said no
	Invalid    Category = "invalid"    // the delivery can't be sent as it is
	Cancelled  Category = "cancelled"  // the caller gave up; says nothing of the receiver
)

// categories says what each means, to the customer whose receiver it is. None
// tells more of where this server stands than what the customer could see.
var categories = map[Category]string{
	OK:         "the receiver took it",
	Refused:    "the receiver refused it",
	Gone:       "the receiver wants no more deliveries",
	Throttled:  "the receiver asked for fewer deliveries",
	Redirected: "the receiver answered with a redirect, which is not followed; use the address it means",
	Failed:     "the receiver failed",
	Timeout:    "the receiver did not answer in time",
	Connect:    "no connection could be made to the receiver",
	TLS:        "no secure connection could be made: the receiver's certificate is not valid for its name, or it does not speak TLS 1.2 or later",
	DNS:        "the receiver's name has no address",
	Dropped:    "the receiver closed the connection before it answered",
	Protocol:   "the receiver's answer is not proper HTTP, or its header is too large",
	Blocked:    "the receiver's address is not public, and deliveries go to public addresses only",
	Invalid:    "the URL, a header or the event can't be sent as it is",
	Cancelled:  "the attempt was given up before there was an answer",
}

// Text says what a category means. It is safe to show.
func (c Category) Text() string { return categories[c] }

// Hint is what a receiver asks for in the header webhook-delivery of its answer.
type Hint string

// What can be asked for; anything else is [NoHint].
const (
	NoHint       Hint = ""
	Disable      Hint = "disable"       // send nothing more to this endpoint
	AbortMessage Hint = "abort-message" // do not repeat this event
)

// Result is what came of one attempt. All of it but Err is safe to show to the
// customer whose receiver it is.
type Result struct {
	Category Category
	// Status is the HTTP status, or 0 if there was none.
	Status int
	// RetryAfter is how long the receiver asked to be left alone, or 0. It may be
	// up to a year: the caller bounds it.
	RetryAfter time.Duration
	Hint       Hint
	// RedirectHost is the host that a redirect points to, or empty.
	RedirectHost string
	// Answer is the beginning of the answer's body, up to 1 KiB, as text. It is
	// empty if the body is compressed: nothing here inflates.
	Answer string
	// Whole reports whether the answer's body was read to its end.
	Whole bool
	// Latency is how long the attempt took.
	Latency time.Duration
	// Err is what went wrong, in full, for the operator's log: it may name
	// addresses of this server's network. It is nil if there is a Status.
	Err error
}
