package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// pendingPacket requires approval.
func pendingPacket() string {
	return strings.NewReplacer(`"allowed","allowed":true`, `"requires_approval","allowed":false`, `"approvalRequired":false`, `"approvalRequired":true`,
		`"ALLOWED"`, `"APPROVAL_REQUIRED"`, `"permissionId"`, `"approvalId":"apr_1","permissionId"`).Replace(allowedPacket)
}

func approvalIn(state string) string {
	return `{"approvalId":"apr_1","state":"` + state + `","agentId":"ollie","agentName":"Ollie's\u001b[2J agent","requestId":"req_1","permissionId":"perm_1","riskLevel":"medium",` +
		`"action":"purchase","vendor":"coachella.com","amount":"120.00","currency":"USD","context":{"branch":"main"},"argumentsDigest":"` + argumentsOfTest + `",` +
		`"digest":"d1","minRole":"ADMIN","quorum":2,"saidYes":1,"votes":[{"memberId":"mem_1","at":"2026-11-23T12:01:00Z","comment":"fine"}],` +
		`"openedAt":"2026-11-23T12:00:00Z","expiresAt":"2999-11-24T12:00:00Z","comment":"too much"}`
}

// reviewed is a server where the first verify asks a person, whose answer is a
// state, and the next is answered with a packet. It keeps what it was sent.
type reviewed struct {
	state, packet string

	mu   sync.Mutex
	sent []string // guarded by mu
}

func (s *reviewed) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.sent)
	s.sent = append(s.sent, strings.TrimSpace(r.URL.RequestURI()+" "+string(body)))
	switch {
	case r.URL.Path != "/v1/verify" && r.URL.RawQuery == "":
		_, _ = io.WriteString(w, approvalIn("pending"))
	case r.URL.Path != "/v1/verify" && s.state == "":
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = io.WriteString(w, `{"error":{"code":"UNAVAILABLE","message":"stopping"}}`)
	case r.URL.Path != "/v1/verify":
		_, _ = io.WriteString(w, approvalIn(s.state))
	case n == 0:
		_, _ = io.WriteString(w, pendingPacket())
	default:
		_, _ = io.WriteString(w, s.packet)
	}
}

var waiting = []string{"verify", "--action", "purchase", "--vendor", "coachella.com", "--amount", "120", "--wait"}

func TestVerifyWaitsForAPersonAndExitsWithTheDecision(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, state, packet string
		code                int
		verifies            int
		says                string
	}{
		{"approved and allowed", "approved", allowedPacket, 0, 2, "ALLOWED"},
		{"approved and denied all the same", "approved", deniedPacket(), 1, 2, "DENIED AMOUNT_EXCEEDS_LIMIT"},
		{"approved, but the permission was replaced", "approved", pendingPacket(), 2, 2, "REQUIRES APPROVAL"},
		{"used by another run", "used", deniedPacket(), 1, 2, "DENIED"},
		{"denied", "denied", allowedPacket, 1, 1, "DENIED: approval apr_1 is denied: too much"},
		{"expired", "expired", allowedPacket, 1, 1, "DENIED: approval apr_1 is expired"},
		{"withdrawn", "cancelled", allowedPacket, 1, 1, "DENIED: approval apr_1 is cancelled"},
		{"in a state nobody knows", "sure", allowedPacket, 3, 1, ""},
		{"unavailable", "", allowedPacket, 3, 1, ""},
		{"approved, and the answer contradicts itself", "approved", strings.Replace(allowedPacket, `"decision":"allowed"`, `"decision":"denied"`, 1), 3, 2, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for _, output := range []string{"table", "json"} {
				server := &reviewed{state: c.state, packet: c.packet}
				code, out, errs := newConsole(t, server.ServeHTTP).run(append(waiting, "-o", output)...)
				if code != c.code {
					t.Errorf("got the exit code %d, want %d\n%s%s", code, c.code, out, errs)
				}
				if got := strings.Count(strings.Join(server.sent, "\n"), "/v1/verify"); got != c.verifies {
					t.Errorf("got %d verifies, want %d\n%s", got, c.verifies, server.sent)
				}
				if !strings.Contains(errs, "Waiting for approval apr_1: it needs 2 people's yes by ADMIN or higher, 1 given, until 2999-11-24T12:00:00Z") {
					t.Errorf("got the notes\n%s\nwant whom it waits for", errs)
				}
				if c.code == 3 && (out != "" || !strings.Contains(errs, "behalf: not allowed: ")) {
					t.Errorf("got %q and %q, want only an error", out, errs)
				}
				if output == "table" && !strings.HasPrefix(out, c.says) {
					t.Errorf("got\n%s\nwant %s", out, c.says)
				}
				if output == "json" && c.code != 3 && !json.Valid([]byte(out)) {
					t.Errorf("got %q, want one document", out)
				}
			}
		})
	}
}

func TestVerifyAsksTheSameAgainUnderAnotherKey(t *testing.T) {
	t.Parallel()
	server := &reviewed{state: "approved", packet: allowedPacket}
	c := newConsole(t, server.ServeHTTP)
	if code, _, errs := c.run(append(waiting, "--idempotency-key", "k", "--arguments", `{"n":1.10}`)...); code != 0 {
		t.Fatalf("got %d\n%s", code, errs)
	}
	want := `/v1/verify {"action":"purchase","vendor":"coachella.com","amount":"120","arguments":{"n":1.10},"idempotencyKey":"k"}
/v1/approvals/apr_1
/v1/approvals/apr_1
/v1/approvals/apr_1?wait=30s
/v1/verify {"action":"purchase","vendor":"coachella.com","amount":"120","arguments":{"n":1.10},"idempotencyKey":"k/apr_1"}`
	if got := strings.Join(server.sent, "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	c.wantError(3, []string{"--idempotency-key is 224 bytes long; with --wait at most 223"}, append(waiting, "--idempotency-key", strings.Repeat("k", 224))...)
}

func TestVerifyWaitsNoLongerThanItIsTold(t *testing.T) {
	t.Parallel()
	server := func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/v1/verify":
			_, _ = io.WriteString(w, pendingPacket())
		case r.URL.RawQuery == "":
			_, _ = io.WriteString(w, approvalIn("pending"))
		default:
			<-r.Context().Done()
		}
	}
	args := append(waiting[:len(waiting)-1:len(waiting)-1], "--wait=50ms")
	code, out, errs := newConsole(t, server).run(args...)
	if code != 2 || !strings.HasPrefix(out, "REQUIRES APPROVAL") || !strings.Contains(errs, "Nobody has answered within 50ms. Approval apr_1 stays open until 2999-11-24T12:00:00Z") {
		t.Errorf("got %d\n%s%s\nwant 2, the packet, and that the approval stays open", code, out, errs)
	}
	if code, out, _ := newConsole(t, server).run(append(args, "-o", "json")...); code != 2 || out != pendingPacket()+"\n" {
		t.Errorf("got %d\n%s\nwant 2 and the packet", code, out)
	}
	ctx, cancel := context.WithCancel(t.Context())
	interrupted := newConsole(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RawQuery != "" {
			cancel()
		}
		server(w, r)
	})
	if code, out, errs := interrupted.runIn(ctx, waiting...); code != 3 || out != "" || !strings.Contains(errs, "not allowed: interrupted") {
		t.Errorf("got %d\n%s%s\nwant 3, interrupted", code, out, errs)
	}
	// Without --wait nothing waits, and a packet without an approval can't.
	c := newConsole(t, answering(200, strings.Replace(pendingPacket(), `"approvalId":"apr_1",`, "", 1)))
	if code, _, errs := c.run(waiting...); code != 2 || !strings.Contains(errs, "names no approval") {
		t.Errorf("got %d\n%s\nwant 2, and that there is nothing to wait for", code, errs)
	}
}

func TestWaitTakesADurationBehindAnEqualsSign(t *testing.T) {
	t.Parallel()
	c := newConsole(t, func(_ http.ResponseWriter, r *http.Request) { t.Errorf("sent %s", r.URL) })
	c.wantError(3, []string{"write --wait=10m"}, append(waiting, "10m")...)
	c.wantError(3, []string{`"x" is too much`}, append(waiting, "x")...)
	for _, text := range []string{"soon", "0s", "-1m", ""} {
		c.wantError(3, []string{"--wait=10m"}, "verify", "--action", "a", fmt.Sprintf("--wait=%s", text))
	}
}
