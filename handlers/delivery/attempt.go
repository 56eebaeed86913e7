package delivery

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"time"
	"unicode/utf8"
)

// Attempt is one attempt to deliver a message, as it is kept. It is an event of
// its own, in a stream that nobody is told of: an endpoint that was told of its
// own attempts would never come to an end.
type Attempt struct {
	// Message is the id of the message, empty for a gap: the records from Seq to
	// Through.
	Message string `json:"message,omitzero"`
	Type    string `json:"type,omitzero"`
	Seq     uint64 `json:"seq,omitzero"`
	Index   uint16 `json:"index,omitzero"`
	Through uint64 `json:"through,omitzero"`
	// Try counts the attempts of the message from 1.
	Try      int       `json:"try,omitzero"`
	At       time.Time `json:"at"`
	Status   int       `json:"status,omitzero"`
	Category Category  `json:"category"`
	// Latency and RetryAfter are in nanoseconds.
	Latency    time.Duration `json:"latency,omitzero"`
	RetryAfter time.Duration `json:"retryAfter,omitzero"`
	// NextTry is when the message is sent again, if it was put aside.
	NextTry time.Time `json:"nextTry,omitzero"`
	// Answer is the first KiB of the answer, as text, of a verified endpoint.
	Answer string `json:"answer,omitzero"`
	// Key is the version of the secret that signed it.
	Key    int    `json:"key,omitzero"`
	Replay string `json:"replay,omitzero"`
	// Kind is "test" or "challenge" for what is no message of the log.
	Kind string `json:"kind,omitzero"`
}

// mostAnswer bounds what is kept of an answer, in bytes.
const mostAnswer = 1024

// attempt begins to store an attempt, and returns what waits for it.
func (e *Engine) attempt(to Endpoint, a Attempt, answer []byte, outcome string) func(context.Context) error {
	if to.Verified {
		a.Answer = excerpt(answer)
	}
	raw, err := json.Marshal(a)
	if err != nil { // a time beyond the year 9999
		return func(context.Context) error { return fmt.Errorf("encode an attempt: %w", err) }
	}
	name := fmt.Sprintf("%s:%s:%d:%d:%d:%s:%s:%d", to.ID, a.Message, a.Seq, a.Index, a.Try, a.Replay, a.Kind, a.At.UnixNano())
	return e.Store.Attempt(to.Account, string(to.ID), outcome, name, raw)
}

// excerpt is the beginning of an answer, as text that can be kept.
func excerpt(answer []byte) string {
	cut := answer[:min(len(answer), mostAnswer)]
	for len(cut) > 0 && len(cut) < len(answer) && !utf8.RuneStart(answer[len(cut)]) {
		cut = cut[:len(cut)-1] // not half a letter
	}
	text := strings.ToValidUTF8(string(cut), "\uFFFD")
	for len(text) > mostAnswer {
		_, size := utf8.DecodeLastRuneInString(text)
		text = text[:len(text)-size]
	}
	return text
}

// mostReporting bounds how long a lane's state waits for a report.
const mostReporting = time.Minute

// tell makes a report, again and again for a while.
func (e *Engine) tell(ctx context.Context, rep Report) {
	ctx, cancel := context.WithTimeout(ctx, mostReporting)
	defer cancel()
	var retry pause
	for {
		err := e.Reporter.Report(ctx, rep)
		if err == nil {
			return
		}
		if retry.wait(ctx) != nil {
			e.Logs.WarnContext(ctx, "report on an endpoint", slog.String("endpoint", string(rep.Endpoint)),
				slog.String("report", string(rep.Kind)), slog.Any("error", err))
			return
		}
	}
}
