package main

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/behalf-platform/behalf"
)

// An approval as two people at two terminals see it, on a real server.
func TestAnApprovalFromVerifyToOutcome(t *testing.T) {
	t.Parallel()
	s := startServer(t, t.TempDir())
	person := &console{t: t, env: map[string]string{"BEHALF_URL": s.url, "BEHALF_TOKEN": testToken}}
	must := func(c *console, args ...string) string {
		t.Helper()
		code, out, errs := c.run(args...)
		if code != 0 {
			t.Fatalf("behalf %s: got %d\n%s%s", strings.Join(args, " "), code, out, errs)
		}
		return out
	}
	key := strings.TrimSpace(must(person, "agents", "register", "--id", "ollie", "--key-only"))
	agent := &console{t: t, env: map[string]string{"BEHALF_URL": s.url, "BEHALF_TOKEN": key}}
	must(person, "permissions", "grant", "ollie", "--action", "purchase", "--max-amount", "500", "--currency", "USD",
		"--requires-approval=100", "--approval-valid-for", "10m", "--budget", "600.00USD/month", "--rate", "20/day@Europe/Berlin")

	client := behalf.Client{BaseURL: s.url, Token: testToken}
	for _, answer := range []string{"approve", "deny", "withdraw"} {
		type end struct {
			code      int
			out, errs string
		}
		ended := make(chan end, 1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		go func() {
			code, out, errs := agent.runIn(ctx, "verify", "--action", "purchase", "--amount", "120", "--arguments", fmt.Sprintf("%q", answer), "--wait", "--idempotency-key", answer)
			ended <- end{code, out, errs}
		}()
		id := mustFindPending(ctx, t, &client)
		person.in = fmt.Sprintf("%q", answer)
		if code, out, errs := person.run("approvals", "show", id, "--arguments", "-"); code != 0 || !strings.Contains(out, "120.00 USD") {
			t.Errorf("got %d\n%s%s\nwant what is asked, with these arguments", code, out, errs)
		}
		must(person, "approvals", answer, id, "--comment", "as said")
		got := <-ended
		want := map[string]int{"approve": 0, "deny": 1, "withdraw": 1}[answer]
		if got.code != want {
			t.Errorf("%s: got %d, want %d\n%s%s", answer, got.code, want, got.out, got.errs)
		}
		if answer != "approve" {
			continue
		}
		if _, again, _ := agent.run("verify", "--action", "purchase", "--amount", "120", "--arguments", fmt.Sprintf("%q", answer), "--wait", "--idempotency-key", answer); again != got.out {
			t.Errorf("the same again: got\n%s\nwant the same packet\n%s", again, got.out)
		}
	}

	page, err := client.Reservations(t.Context(), behalf.ReservationQuery{AgentID: "ollie"})
	if err != nil || len(page.Reservations) != 1 {
		t.Fatalf("got %+v, %v; want one reservation", page, err)
	}
	out := must(agent, "outcome", page.Reservations[0].RequestID, "executed", "--amount", "100")
	if !strings.Contains(out, "20.00 USD") {
		t.Errorf("got\n%s\nwant 20.00 USD given back", out)
	}
	if out := must(agent, "passport"); !strings.Contains(out, "600.00  100.00  500.00") {
		t.Errorf("got\n%s\nwant 500.00 left", out)
	}
	must(person, "agents", "limits", "ollie", "--rate", "1/total")
	must(person, "account", "limits", "--budget", "50EUR/week")
	must(person, "account", "set", "--time-zone", "Europe/Berlin", "--pending-for", "2h", "--self-approval")
	if out := must(person, "account", "show"); !strings.Contains(out, "Europe/Berlin") {
		t.Errorf("got\n%s\nwant the time zone", out)
	}
	me, err := client.Me(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if out := must(person, "agents", "driver", "ollie", me.ID); !strings.Contains(out, me.ID) {
		t.Errorf("got\n%s\nwant the driver", out)
	}
	for _, args := range [][]string{{"agents", "limits", "ollie", "--none"}, {"account", "limits", "--none"}} {
		if out := must(person, args...); !strings.Contains(out, "none") {
			t.Errorf("behalf %s: got\n%s\nwant no limits", strings.Join(args, " "), out)
		}
	}
}

// mustFindPending returns the one approval that waits, once there is one.
func mustFindPending(ctx context.Context, t *testing.T, client *behalf.Client) string {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		page, err := client.Approvals(ctx, behalf.ApprovalQuery{State: behalf.ApprovalPending})
		if err != nil {
			t.Fatal(err)
		}
		if len(page.Approvals) == 1 {
			return page.Approvals[0].ApprovalID
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("got %d approvals that wait, want one", len(page.Approvals))
		}
	}
}
