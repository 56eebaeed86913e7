package behalf

import (
	"context"
	"errors"
	"net/http"
	"strconv"

	"github.com/go-json-experiment/json"
)

// Middleware verifies each request before a handler gets it, by what ask says
// it asks for. What isn't allowed is answered, with a JSON body
// {"allowed": false, "error": {"code", "message"}, "requestId"?, "approvalId"?},
// 403 if it was denied or requires approval, and 503 otherwise; why it was is
// for [OnBlocked]. The handler finds the packet with [PacketOf].
//
// Outcomes are reported by the status it answers with: executed below 400,
// failed below 500, and nothing above or after a panic, since nobody knows what
// was done.
func Middleware(client *Client, ask func(*http.Request) Ask, options ...GuardOption) func(http.Handler) http.Handler {
	g := newGuard(client, options)
	g.shared = true
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked := Ask{} // which asks for nothing, and gets it
			if ask != nil {
				asked = ask(r)
			}
			reached := false
			err := g.do(r.Context(), asked, func(ctx context.Context, p Packet) (ending, error) {
				reached = true
				answer := &answer{ResponseWriter: w, status: http.StatusOK}
				next.ServeHTTP(answer, r.WithContext(context.WithValue(ctx, packetKey{}, p)))
				return endingByStatus(answer.status), nil
			})
			if !reached {
				refuse(w, err)
			}
		})
	}
}

type packetKey struct{}

// PacketOf is the allow by which a [Middleware] let a request through. It allows
// nothing else.
func PacketOf(ctx context.Context) (Packet, bool) {
	p, ok := ctx.Value(packetKey{}).(Packet)
	return p, ok
}

// refuse answers a request that wasn't allowed. It tells whoever sent it nothing
// of what the agent may do.
func refuse(w http.ResponseWriter, err error) {
	type fault struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	}
	status := http.StatusServiceUnavailable
	body := struct {
		Allowed    bool   `json:"allowed"`
		Error      fault  `json:"error"`
		RequestID  string `json:"requestId,omitempty"`
		ApprovalID string `json:"approvalId,omitempty"`
	}{Error: fault{unavailable, "the permission layer is unavailable; nothing was done"}}
	if denied, ok := errors.AsType[*Denied](err); ok {
		status, body.RequestID = http.StatusForbidden, denied.Packet.RequestID
		body.Error = fault{denied.Packet.ReasonCode, "this was denied; nothing was done"}
		if denied.Approval != nil {
			body.Error.Code, body.ApprovalID = "APPROVAL_DENIED", denied.Approval.ApprovalID
		}
	} else if required, ok := errors.AsType[*ApprovalRequired](err); ok {
		status, body.RequestID, body.ApprovalID = http.StatusForbidden, required.Packet.RequestID, required.Packet.ApprovalID
		body.Error = fault{required.Packet.ReasonCode, "a person has to approve this first; nothing was done"}
	} else if refused, ok := errors.AsType[*Error](err); ok && refused.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(refused.RetryAfter.Seconds())))
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.MarshalWrite(w, body) // whoever left doesn't need it
}

// answer remembers the status of an answer.
type answer struct {
	http.ResponseWriter
	status int
	begun  bool
}

func (a *answer) WriteHeader(status int) {
	if !a.begun && status >= 200 {
		a.status, a.begun = status, true
	}
	a.ResponseWriter.WriteHeader(status)
}

func (a *answer) Write(b []byte) (int, error) {
	a.begun = true
	return a.ResponseWriter.Write(b)
}

// Flush sends what was written, if that can be done.
func (a *answer) Flush() {
	_ = http.NewResponseController(a.ResponseWriter).Flush() // else it is sent in the end
}

// Unwrap is for [http.ResponseController].
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }
