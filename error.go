package behalf

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
)

// ErrUnavailable is the permission layer not answering as it must: a timeout,
// no connection, a fault or a limit of the server's, an answer that is broken,
// contradicts itself or is about something else. It is not a denial, and allows
// nothing. Test for it with [errors.Is].
var ErrUnavailable = errors.New("the permission layer is unavailable")

// Error is a request the server refused. It Is [ErrUnavailable] when that was
// not for the request's own sake.
type Error struct {
	// Status is the HTTP status, or 0 if it was refused before it was sent.
	Status int
	// Code is stable, such as "INVALID_REQUEST"; it is empty when the answer was
	// not one of Behalf's.
	Code    string
	Message string
	// Field is a JSON pointer to what was wrong, or empty.
	Field string
	// RetryAfter is how long to wait before trying again, or 0.
	RetryAfter time.Duration
}

// invalid is the server's code for what can't be taken as it is.
const invalid = "INVALID_REQUEST"

func (e *Error) Error() string {
	text := e.Message
	if e.Field != "" {
		text = e.Field + ": " + text
	}
	if e.Code != "" {
		text += " (" + e.Code + ")"
	}
	return text
}

// Is reports whether target is [ErrUnavailable] and this refusal is one.
func (e *Error) Is(target error) bool {
	return target == ErrUnavailable && (e.Code == "" || e.Status >= 500 || e.Status == http.StatusTooManyRequests)
}

// refusal reads an answer that is not a success.
func refusal(resp *http.Response, body []byte) error {
	e := &Error{Status: resp.StatusCode}
	e.setRetry(resp.Header.Get("Retry-After"))
	switch {
	case e.read(body):
	case resp.StatusCode/100 == 3:
		e.Message = "the server redirects to " + strconv.Quote(resp.Header.Get("Location")) + ", which is not followed; use the address it means"
	default:
		e.Message = "the answer, " + resp.Status + ", is not one of a Behalf server's"
	}
	return e
}

// read takes what the body of an error says, and reports whether it is one.
func (e *Error) read(body []byte) bool {
	var answer struct {
		Error struct {
			Code    string `json:"code"`
			Message string `json:"message"`
			Field   string `json:"field"`
		} `json:"error"`
	}
	if err := json.Unmarshal(body, &answer); err != nil || answer.Error.Code == "" {
		return false
	}
	e.Code, e.Message, e.Field = answer.Error.Code, answer.Error.Message, answer.Error.Field
	return true
}

func (e *Error) setRetry(text string) {
	if seconds, err := strconv.ParseInt(text, 10, 32); err == nil && seconds > 0 { // more of them than 32 bits is no time
		e.RetryAfter = time.Duration(seconds) * time.Second
	}
}
