package load

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/behalf-platform/behalf"
)

func mustRun(t *testing.T, o Options) Report {
	t.Helper()
	report, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if report.Decisions == 0 {
		t.Fatal("nothing was decided")
	}
	return report
}

func TestAnHonestServerPasses(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*Options){
		"verify":  func(*Options) {},
		"preview": func(o *Options) { o.Preview = true },
		"revoke":  func(o *Options) { o.Revoke, o.Duration = true, 500*time.Millisecond },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := options(new(fake).start(t))
			change(&o)
			report := mustRun(t, o)
			if err := report.Err(); err != nil {
				t.Errorf("got %v, %q; want no faults", err, report.Examples)
			}
			if o.Revoke && report.Changes.Revocations == 0 {
				t.Error("nothing was revoked")
			}
		})
	}
}

func TestALiarIsCaught(t *testing.T) {
	t.Parallel()
	for name, lie := range map[string]func(p *answer) (int, string){
		"allows everything": func(p *answer) (int, string) {
			p.Decision, p.Allowed, p.ReasonCode = "allowed", true, "ALLOWED"
			return 0, ""
		},
		"denies everything":  func(p *answer) (int, string) { p.Decision, p.Allowed = "denied", false; return 0, "" },
		"allowed is missing": func(p *answer) (int, string) { p.Allowed = false; return 0, "" },
		"allowed is said of a denial": func(p *answer) (int, string) {
			p.Allowed = true
			return 0, ""
		},
		"another code":       func(p *answer) (int, string) { p.ReasonCode = "OTHER"; return 0, "" },
		"another permission": func(p *answer) (int, string) { p.PermissionID = "perm_0"; return 0, "" },
		"another agent":      func(p *answer) (int, string) { p.AgentID += "x"; return 0, "" },
		"another action":     func(p *answer) (int, string) { p.Action += "x"; return 0, "" },
		"another resource":   func(p *answer) (int, string) { p.Resource += "x"; return 0, "" },
		"another amount":     func(p *answer) (int, string) { p.Amount += "1"; return 0, "" },
		"not recorded":       func(p *answer) (int, string) { p.RequestID = ""; return 0, "" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			report := mustRun(t, options((&fake{lie: lie}).start(t)))
			if report.Wrong == 0 || report.Err() == nil || len(report.Examples) == 0 {
				t.Errorf("got %d wrong answers and %v with the examples %q, want it caught", report.Wrong, report.Err(), report.Examples)
			}
		})
	}
}

func TestAnAllowAfterRevocationIsCaught(t *testing.T) {
	t.Parallel()
	o := options((&fake{forgetful: true}).start(t))
	o.Revoke, o.Duration, o.TolerateUnavailable = true, time.Second, true
	report := mustRun(t, o)
	if report.Violations == 0 || report.Err() == nil || !strings.Contains(report.Err().Error(), "after an acknowledged revocation") {
		t.Errorf("got %d violations and %v, want it caught", report.Violations, report.Err())
	}
}

func TestWhatIsNoDecisionIsAnError(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		status int
		body   string
	}{"cut off": {200, `{"requestId":`}, "a name twice": {200, `{"allowed":true,"allowed":false}`}, "refused": {400, "{}"}, "limited": {429, "{}"}, "broken": {500, ""}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var n atomic.Uint64
			lie := func(*answer) (int, string) {
				if n.Add(1)%2 == 0 {
					return c.status, c.body
				}
				return 0, ""
			}
			report := mustRun(t, options((&fake{lie: lie}).start(t)))
			if report.Errors == 0 || report.Err() == nil {
				t.Errorf("got %d errors and %v, want a failed run", report.Errors, report.Err())
			}
		})
	}
}

func TestUnavailableCountsUnlessItIsTolerated(t *testing.T) {
	t.Parallel()
	var n atomic.Uint64
	url := (&fake{lie: func(*answer) (int, string) {
		if n.Add(1)%2 == 0 {
			return http.StatusServiceUnavailable, `{"allowed":false}`
		}
		return 0, ""
	}}).start(t)
	report := mustRun(t, options(url))
	if report.Unavailable == 0 || report.Err() == nil {
		t.Errorf("got %d unavailable and %v, want a failed run", report.Unavailable, report.Err())
	}
	o := options(url)
	o.TolerateUnavailable = true
	report = mustRun(t, o)
	if report.Unavailable == 0 || report.Err() != nil {
		t.Errorf("got %d unavailable and %v, want it tolerated", report.Unavailable, report.Err())
	}
}

func TestARunWithoutDecisionsFails(t *testing.T) {
	t.Parallel()
	o := options((&fake{lie: func(*answer) (int, string) { return http.StatusServiceUnavailable, "" }}).start(t))
	o.TolerateUnavailable = true
	report, err := Run(t.Context(), o)
	if err != nil || report.Err() == nil {
		t.Errorf("got %v and %v, want a report of a failure", err, report.Err())
	}
}

func TestSetupFailsWithTheServersWords(t *testing.T) {
	t.Parallel()
	o := options("http://127.0.0.1:1")
	if _, err := Run(t.Context(), o); !errors.Is(err, behalf.ErrUnavailable) {
		t.Errorf("got %v, want ErrUnavailable", err)
	}
}

func TestSetupWaitsForTheRateLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began, calls := time.Now(), 0
		err := patiently(t.Context(), func() error {
			if calls++; calls < 3 {
				return fmt.Errorf("grant: %w", &behalf.Error{Status: 429, Code: "RATE_LIMITED", RetryAfter: 2 * time.Second})
			}
			return nil
		})
		if err != nil || calls != 3 || time.Since(began) < 2*time.Second {
			t.Errorf("got %v after %d calls and %s, want success after waiting twice", err, calls, time.Since(began))
		}
	})
}

func TestABareServerIsDrivenLikeAnyOther(t *testing.T) {
	t.Parallel()
	o := options(new(fake).start(t))
	o.Compare = true
	o.StartBare = func(_ context.Context, agents int) (string, func() error, error) {
		in, stop := io.Pipe()
		address, out := io.Pipe()
		served := make(chan error, 1)
		go func() { served <- ServeBare(agents, in, out) }()
		var url string
		if _, err := fmt.Fscanln(address, &url); err != nil {
			return "", nil, err
		}
		return url, func() error { return errors.Join(stop.Close(), <-served) }, nil
	}
	report := mustRun(t, o)
	if report.Bare == nil || report.Bare.Decisions == 0 || report.Err() != nil || report.OfBare <= 0 {
		t.Errorf("got %+v and %v, want both runs", report, report.Err())
	}
}

func TestNATSIsAskedAndChecked(t *testing.T) {
	t.Parallel()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(s.Shutdown)
	conn, err := nats.Connect(s.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	f := new(fake)
	o := options(f.start(t))
	o.Target, o.NATSURLs = TargetNATS, []string{s.ClientURL()}
	_, err = conn.Subscribe("behalf.v1.verify", func(m *nats.Msg) {
		if !strings.HasPrefix(m.Reply, "_INBOX_mem_1.") {
			t.Errorf("got the reply subject %s, want one of the member's inbox", m.Reply)
		}
		reply := nats.NewMsg(m.Reply)
		status, body := f.answer(m.Header.Get("Authorization"), m.Data, false)
		if status != http.StatusOK {
			reply.Header.Set("Nats-Service-Error-Code", fmt.Sprint(status))
		}
		reply.Data = []byte(body)
		_ = conn.PublishMsg(nats.NewMsg(m.Reply[:strings.LastIndex(m.Reply, ".")] + ".0")) // an answer to an ask that was given up
		_ = conn.PublishMsg(reply)
	})
	if err != nil {
		t.Fatal(err)
	}
	report := mustRun(t, o)
	if err := report.Err(); err != nil {
		t.Errorf("got %v, %q; want no faults", err, report.Examples)
	}

	o.Preview = true // which nobody serves
	report, err = Run(t.Context(), o)
	if err != nil || report.Unavailable == 0 || report.Decisions != 0 {
		t.Errorf("got %+v and %v, want unavailable answers only", report, err)
	}
}

func TestPacketsAreKept(t *testing.T) {
	t.Parallel()
	var kept bytes.Buffer
	o := options(new(fake).start(t))
	o.Packets = &kept
	report := mustRun(t, o)
	if got := bytes.Count(kept.Bytes(), []byte("\n")); uint64(got) != report.Decisions {
		t.Errorf("got %d packets, want %d", got, report.Decisions)
	}
	for line := range bytes.Lines(kept.Bytes()) {
		if !jsontext.Value(line).IsValid() {
			t.Fatalf("got the line %q, want JSON", line)
		}
	}
	full, closed := io.Pipe()
	_ = full.Close()
	o.Packets = closed
	if _, err := Run(t.Context(), o); err == nil {
		t.Error("packets that can't be kept are no error")
	}
}

func TestOptionsAreRefusedAllAtOnce(t *testing.T) {
	t.Parallel()
	o := options("http://x")
	o.Target, o.Agents, o.Duration = "ftp", 0, 0
	err := o.Validate()
	for _, want := range []string{"--target", "--agents", "--duration"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to name %s", err, want)
		}
	}
}
