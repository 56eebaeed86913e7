package behalf_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/behalf-platform/behalf"
)

// losing loses answers that were given: the outcome of the first few requests to
// a path is open.
type losing struct {
	base http.RoundTripper
	path string
	left atomic.Int32
	sent []string // bodies of those requests; not for use at the same time
}

func (l *losing) RoundTrip(r *http.Request) (*http.Response, error) {
	if !strings.HasSuffix(r.URL.Path, l.path) {
		return l.base.RoundTrip(r)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	l.sent = append(l.sent, string(body))
	r.Body = io.NopCloser(strings.NewReader(string(body)))
	resp, err := l.base.RoundTrip(r)
	if err == nil && l.left.Add(-1) >= 0 {
		resp.Body.Close()
		return nil, errors.New("the line went dead")
	}
	return resp, err
}

// lose has a stand's agent lose the first answers to what it asks.
func lose(s *stand, path string, answers int32) *losing {
	l := &losing{base: s.agent.HTTPClient.Transport, path: path}
	l.left.Store(answers)
	s.agent.HTTPClient = &http.Client{Transport: l}
	return l
}

var keySent = regexp.MustCompile(`"idempotencyKey":"([A-Z0-9]{26})"`)

func TestAnAnswerThatIsLostIsAskedForAgainAndSpendsOnce(t *testing.T) {
	t.Parallel()
	for answers, runs := range map[int32]int{2: 1, 3: 0} {
		s := mustStand(t, "HTTP")
		permission := s.grant(behalf.Terms{Action: "purchase", Limits: behalf.Limits{Budgets: []behalf.Budget{{Amount: "100.00", Currency: "USD", Per: "total"}}}})
		l := lose(s, "/verify", answers)
		ran := 0
		err := s.agent.Guard(t.Context(), buy("40"), func(context.Context, behalf.Packet) error { ran++; return nil })
		if ran != runs || (err == nil) != (runs == 1) || err != nil && !isUnavailable(err) {
			t.Errorf("%d answers lost: ran %d times, got %v; want %d", answers, ran, err, runs)
		}
		if left := s.left(permission); left != "60.00" || len(l.sent) != 3 {
			t.Errorf("%d answers lost: got %s left after %d asks, want it spent once, after 3", answers, left, len(l.sent))
		}
		keys := map[string]bool{}
		for _, body := range l.sent {
			key := keySent.FindStringSubmatch(body)
			if key == nil {
				t.Fatalf("got %s, want an idempotency key of Guard's", body)
			}
			keys[key[1]] = true
		}
		if len(keys) != 1 {
			t.Errorf("got the keys %v, want one for the call", keys)
		}
		// The next call is another one, and has another key.
		_ = s.agent.Guard(t.Context(), buy("10"), func(context.Context, behalf.Packet) error { return nil })
		if key := keySent.FindStringSubmatch(l.sent[3]); key == nil || keys[key[1]] {
			t.Errorf("the next call: got %s, want another key", l.sent[3])
		}
	}
}

// What surely never arrived is no open question.
func TestWhatWasNeverSentIsAskedOnce(t *testing.T) {
	t.Parallel()
	var dialled atomic.Int32
	client := &behalf.Client{BaseURL: "http://127.0.0.1:1", Token: "bhf_sk_x", HTTPClient: &http.Client{Transport: &http.Transport{
		DialContext: func(context.Context, string, string) (net.Conn, error) {
			dialled.Add(1)
			return nil, &net.OpError{Op: "dial", Err: errors.New("nobody is there")}
		},
	}}}
	if err := client.Guard(t.Context(), ask, neverRun(t)); !isUnavailable(err) || dialled.Load() != 1 {
		t.Errorf("got %v after %d tries, want unavailable after one", err, dialled.Load())
	}
}

// late cancels when an answer has come.
type late struct {
	base   http.RoundTripper
	cancel context.CancelFunc
}

func (l late) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := l.base.RoundTrip(r)
	if err != nil || !strings.HasSuffix(r.URL.Path, "/verify") {
		return resp, err
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	resp.Body = io.NopCloser(strings.NewReader(string(body)))
	l.cancel()
	return resp, err
}

func TestAnAllowThatComesTooLateIsNotRunAndGivenBack(t *testing.T) {
	t.Parallel()
	s := mustStand(t, "HTTP")
	permission := s.grant(behalf.Terms{Action: "purchase", Limits: behalf.Limits{Budgets: []behalf.Budget{{Amount: "100.00", Currency: "USD", Per: "total"}}}})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s.agent.HTTPClient = &http.Client{Transport: late{s.agent.HTTPClient.Transport, cancel}}
	err := s.agent.Guard(ctx, buy("40"), neverRun(t))
	if !isUnavailable(err) || !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "allowed too late") {
		t.Errorf("got %v, want that it came too late", err)
	}
	if left, n := s.left(permission), s.unreported(); left != "100.00" || n != 0 {
		t.Errorf("got %s left and %d unreported, want it given back", left, n)
	}
}

func TestAReportThatIsLostIsRepeated(t *testing.T) {
	t.Parallel()
	for answers, want := range map[int32]bool{2: true, 3: false} {
		s := mustStand(t, "HTTP")
		s.grant(behalf.Terms{Action: "purchase", Limits: behalf.Limits{Budgets: []behalf.Budget{{Amount: "100.00", Currency: "USD", Per: "total"}}}})
		lose(s, "/outcome", answers)
		ran, told := 0, 0
		err := s.agent.Guard(t.Context(), buy("40"), func(context.Context, behalf.Packet) error { ran++; return nil },
			behalf.OnBlocked(func(context.Context, error) { told++ }))
		if ran != 1 || (err == nil) != want {
			t.Errorf("%d answers lost: ran %d times, got %v", answers, ran, err)
		}
		if want {
			continue
		}
		unreported, ok := errors.AsType[*behalf.Unreported](err)
		if !ok || unreported.Report.Outcome != behalf.Executed || told != 1 {
			t.Errorf("got %v, told %d times; want what could not be reported, once", err, told)
		}
		// It must not look like something that may be done again.
		if errors.Is(err, behalf.ErrUnavailable) || isUnavailable(err) || isDenied(err) {
			t.Errorf("%v looks as if it was not done", err)
		}
	}
}

// A server can't have a wait last longer than the approval does.
func TestAWaitIsNotHeldUpByTheServer(t *testing.T) {
	t.Parallel()
	required := packetWith(`"allowed","allowed":true`, `"requires_approval","approvalId":"apr_1","allowed":false`)
	for _, pause := range []string{"86400", "9223372037", "99999999999999999999"} {
		client := handledBy(t, func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/verify") {
				_, _ = io.WriteString(w, required)
				return
			}
			w.Header().Set("Retry-After", pause)
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = io.WriteString(w, `{"error":{"code":"UNAVAILABLE","message":"later"}}`)
		})
		err := client.Guard(t.Context(), ask, neverRun(t), behalf.WaitForApproval(0))
		if refused, ok := errors.AsType[*behalf.Error](err); !isUnavailable(err) || !ok || refused.RetryAfter < 0 {
			t.Errorf("%s: got %v, want unavailable", pause, err)
		}
	}
}
