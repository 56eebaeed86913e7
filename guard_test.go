package behalf_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/behalf-platform/behalf"
)

// overBoth runs a test over each transport, with an agent that may purchase for
// 100 dollars in all.
func overBoth(t *testing.T, test func(t *testing.T, s *stand, permission string)) {
	t.Parallel()
	for _, transport := range transports {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			s := mustStand(t, transport)
			test(t, s, s.grant(behalf.Terms{Action: "purchase", Limits: behalf.Limits{
				Budgets: []behalf.Budget{{Amount: "100.00", Currency: "USD", Per: "total"}},
			}}))
		})
	}
}

func buy(amount string) behalf.Ask {
	return behalf.Ask{Action: "purchase", Amount: amount, Currency: "USD"}
}

var errDeclined = errors.New("the card was declined")

func TestGuardReportsWhatCameOfIt(t *testing.T) {
	overBoth(t, func(t *testing.T, s *stand, permission string) {
		spent, left := "30.00", "100.00"
		for _, c := range []struct {
			name       string
			err        error
			options    []behalf.GuardOption
			left       string
			unreported int
		}{
			{"executed", nil, nil, "60.00", 0},
			{"failed", errDeclined, nil, "60.00", 0},
			{"executed for less", nil, []behalf.GuardOption{behalf.ReportSpent(&spent)}, "30.00", 0},
			{"unknown", fmt.Errorf("the line went dead: %w", behalf.ErrOutcomeUnknown), []behalf.GuardOption{}, "20.00", 1},
			{"timed out", context.DeadlineExceeded, nil, "10.00", 2},
			{"left to the caller", nil, []behalf.GuardOption{behalf.WithoutReport()}, "0.00", 3},
		} {
			amount := "40.00"
			if left == "30.00" || c.unreported > 1 {
				amount = "10.00"
			}
			left = c.left
			ran := 0
			err := s.agent.Guard(t.Context(), buy(amount), func(_ context.Context, p behalf.Packet) error {
				if ran++; !p.Allowed || p.AgentID != "ollie" || p.Amount != amount || !p.Reserved {
					t.Errorf("%s: got the packet %+v", c.name, p)
				}
				return c.err
			}, c.options...)
			if ran != 1 || err != c.err { //nolint:errorlint // as it is
				t.Errorf("%s: ran %d times, got %v; want once, %v", c.name, ran, err, c.err)
			}
			if got, n := s.left(permission), s.unreported(); got != c.left || n != c.unreported {
				t.Errorf("%s: got %s left and %d unreported, want %s and %d", c.name, got, n, c.left, c.unreported)
			}
		}
		wantDenied(t, s, buy("0.01"), "BUDGET_EXCEEDED")
		wantDenied(t, s, behalf.Ask{Action: "refund"}, "NO_PERMISSION")
		if err := s.wrong.Guard(t.Context(), buy("1"), neverRun(t)); !isUnavailable(err) || !isA[*behalf.Error](err) {
			t.Errorf("got %v, want the refused credential as unavailable", err)
		}
	})
}

// neverRun is an executor that must not be reached.
func neverRun(t *testing.T) func(context.Context, behalf.Packet) error {
	return func(_ context.Context, p behalf.Packet) error {
		t.Errorf("it was run on %+v", p)
		return nil
	}
}

func wantDenied(t *testing.T, s *stand, asked behalf.Ask, code string) {
	t.Helper()
	denied, ok := errors.AsType[*behalf.Denied](s.agent.Guard(t.Context(), asked, neverRun(t)))
	if !ok || denied.Packet.ReasonCode != code {
		t.Errorf("got %+v, want it denied as %s", denied, code)
	}
}

func TestGuardReportsNothingAfterAPanicAndLetsItGoOn(t *testing.T) {
	overBoth(t, func(t *testing.T, s *stand, permission string) {
		func() {
			defer func() {
				if bug := recover(); bug != errDeclined { //nolint:errorlint // the very same
					t.Errorf("recovered %v, want the panic itself", bug)
				}
			}()
			_ = s.agent.Guard(t.Context(), buy("40"), func(context.Context, behalf.Packet) error { panic(errDeclined) })
		}()
		if left, n := s.left(permission), s.unreported(); left != "60.00" || n != 1 {
			t.Errorf("got %s left and %d unreported, want it to stay spent: it may have been done", left, n)
		}
	})
}

func TestGuardWaitsForAPerson(t *testing.T) {
	overBoth(t, func(t *testing.T, s *stand, _ string) {
		s.grant(behalf.Terms{Action: "deploy", RequiresApproval: behalf.ApprovalRule{Always: true}})
		deploy := func(resource string) behalf.Ask {
			return behalf.Ask{Action: "deploy", Resource: resource, Arguments: map[string]any{"tag": "v1", "b": 2}}
		}
		var required *behalf.ApprovalRequired
		if err := s.agent.Guard(t.Context(), deploy("x"), neverRun(t)); !errors.As(err, &required) || required.Packet.ApprovalID == "" {
			t.Fatalf("without waiting: got %v, want what to wait for", err)
		}
		first := required.Packet.ApprovalID
		err := s.agent.Guard(t.Context(), deploy("x"), neverRun(t), behalf.WaitForApproval(100*time.Millisecond))
		if !errors.As(err, &required) || required.Packet.ApprovalID != first {
			t.Errorf("waiting too short: got %v, want approval %s required", err, first)
		}
		minute, over := context.WithTimeout(t.Context(), time.Minute) // or a wait for ever would be one
		defer over()
		if err := s.agent.Guard(minute, deploy("x"), neverRun(t), behalf.WaitForApproval(-1)); !isRequired(err) {
			t.Errorf("with a time that is over: got %v, want the approval required at once", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		err = s.agent.Guard(ctx, deploy("x"), neverRun(t), behalf.WaitForApproval(0))
		if !isUnavailable(err) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("with a context that ends: got %v, want unavailable by the deadline", err)
		}

		var ran atomic.Int32
		done := make(chan error, 1)
		go func() {
			done <- s.agent.Guard(t.Context(), deploy("x"), func(_ context.Context, p behalf.Packet) error {
				if ran.Add(1); p.ApprovalID != first || !p.Allowed {
					t.Errorf("got the packet %+v, want the use of %s", p, first)
				}
				return nil
			}, behalf.WaitForApproval(0))
		}()
		if _, err := s.owner.Approve(t.Context(), first, ""); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil || ran.Load() != 1 || s.unreported() != 0 {
			t.Errorf("approved: got %v, run %d times, %d unreported; want once, reported", err, ran.Load(), s.unreported())
		}
		// A yes is good for once.
		wantDenied(t, s, deploy("x"), "APPROVAL_USED")

		if err := s.agent.Guard(t.Context(), deploy("y"), neverRun(t)); !errors.As(err, &required) {
			t.Fatal(err)
		}
		if _, err := s.owner.Deny(t.Context(), required.Packet.ApprovalID, "not today"); err != nil {
			t.Fatal(err)
		}
		denied, ok := errors.AsType[*behalf.Denied](s.agent.Guard(t.Context(), deploy("y"), neverRun(t), behalf.WaitForApproval(0)))
		if !ok || denied.Packet.ReasonCode != "APPROVAL_DENIED" {
			t.Errorf("denied before: got %+v", denied)
		}
		go func() {
			done <- s.agent.Guard(t.Context(), deploy("z"), neverRun(t), behalf.WaitForApproval(0))
		}()
		id := s.mustPending("z")
		if _, err := s.owner.Cancel(t.Context(), id, ""); err != nil {
			t.Fatal(err)
		}
		if denied, ok = errors.AsType[*behalf.Denied](<-done); !ok || denied.Approval == nil || denied.Approval.State != behalf.ApprovalCancelled {
			t.Errorf("cancelled while it waits: got %+v", denied)
		}
	})
}

// mustPending waits until something waits for a person.
func (s *stand) mustPending(resource string) string {
	s.t.Helper()
	for {
		page, err := s.owner.Approvals(s.t.Context(), behalf.ApprovalQuery{State: behalf.ApprovalPending})
		if err != nil {
			s.t.Fatal(err)
		}
		for _, a := range page.Approvals {
			if a.Resource == resource {
				return a.ApprovalID
			}
		}
	}
}

// What is allowed many at once is run as often as it is allowed, and no more.
func TestGuardRunsNoMoreThanIsAllowed(t *testing.T) {
	overBoth(t, func(t *testing.T, s *stand, permission string) {
		var all sync.WaitGroup
		var mu sync.Mutex
		ran := map[string]int{} // by request; guarded by mu
		var denied atomic.Int32
		for range 30 {
			all.Go(func() {
				err := s.agent.Guard(t.Context(), buy("10"), func(_ context.Context, p behalf.Packet) error {
					mu.Lock()
					defer mu.Unlock()
					ran[p.RequestID]++
					return nil
				})
				switch {
				case isDenied(err):
					denied.Add(1)
				case err != nil:
					t.Error(err)
				}
			})
		}
		all.Wait()
		if len(ran) != 10 || denied.Load() != 20 || s.left(permission) != "0.00" || s.unreported() != 0 {
			t.Errorf("got %d runs, %d denials, %s left, %d unreported; want 10, 20, 0.00, 0", len(ran), denied.Load(), s.left(permission), s.unreported())
		}
		for id, n := range ran {
			if n != 1 {
				t.Errorf("%s was run %d times", id, n)
			}
		}
	})
}

func TestGuardRunsNothingForACallerWhoIsGone(t *testing.T) {
	overBoth(t, func(t *testing.T, s *stand, permission string) {
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if err := s.agent.Guard(gone, buy("40"), neverRun(t)); !isUnavailable(err) || !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want unavailable because it was cancelled", err)
		}
		for name, misuse := range map[string]func() error{
			"no executor": func() error { return s.agent.Guard(t.Context(), buy("40"), nil) },
			"nobody to tell": func() error {
				return s.agent.Guard(t.Context(), behalf.Ask{}, neverRun(t), behalf.OnBlocked(nil))
			},
			"no action": func() error { return s.agent.Guard(t.Context(), behalf.Ask{}, neverRun(t)) },
			"a key of its own, which two calls could have": func() error {
				a := buy("40")
				a.IdempotencyKey = "k"
				return s.agent.Guard(t.Context(), a, neverRun(t))
			},
			"arguments that are no JSON": func() error {
				a := buy("40")
				a.Arguments = func() {}
				return s.agent.Guard(t.Context(), a, neverRun(t))
			},
		} {
			if err := misuse(); !isUnavailable(err) {
				t.Errorf("%s: got %v, want unavailable", name, err)
			}
		}
		if left := s.left(permission); left != "100.00" {
			t.Errorf("got %s left, want nothing spent", left)
		}
	})
}
