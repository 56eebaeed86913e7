package handlers_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers"
)

var errBroken = errors.New("broken on request")

func TestVerifyRecordsBeforeItAnswers(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		n := b.node()
		key, permission := n.agent("agent_ollie")
		r, err := n.Verify(t.Context(), key, ask())
		if err != nil {
			t.Fatalf("verify: %v", err)
		}
		d := r.Event.(domain.DecisionMade)
		if d.Outcome != domain.OutcomeAllowed || d.PermissionID != permission {
			t.Errorf("got %s by %s, want allowed by %s", d.Outcome, d.PermissionID, permission)
		}
		stored, err := b.log.Read(t.Context(), r.Position)
		if err != nil {
			t.Fatalf("read what was recorded: %v", err)
		}
		if got, want := b.mustPacket(r), b.mustPacket(stored); got != want {
			t.Errorf("got the packet\n%s, want the recorded one\n%s", got, want)
		}
	})
}

// Whatever breaks, the action does not happen: each way a verify can break has
// a line here that breaks it.
func TestVerifyFailsClosed(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		// breaks makes the node unable to decide, and returns what mends it.
		breaks func(*node) func()
		// recorded says that the decision is in the log all the same.
		recorded bool
	}{
		{name: "the append fails before it writes", breaks: func(n *node) func() {
			n.log.BeforeAppend(func(domain.Record) error { return errBroken })
			return func() { n.log.BeforeAppend(nil) }
		}},
		{name: "the append fails after it wrote", recorded: true, breaks: func(n *node) func() {
			n.log.AfterAppend(func(domain.Record) error { return errBroken })
			return func() { n.log.AfterAppend(nil) }
		}},
		{name: "the append takes too long before it writes", breaks: func(n *node) func() { return n.log.HoldBefore() }},
		{name: "the append takes too long after it wrote", recorded: true, breaks: func(n *node) func() { return n.log.HoldAfter() }},
		{name: "the passport never stops moving", breaks: func(n *node) func() {
			n.log.Moved(1000)
			return func() { n.log.Moved(0) }
		}},
		{name: "the passport moved and can't be read", breaks: func(n *node) func() {
			n.log.Moved(1)
			n.log.FailLoad(errBroken)
			return func() { n.log.FailLoad(nil) }
		}},
		{name: "the log has not been read yet", breaks: func(n *node) func() {
			ready := n.Verifier.Ready
			n.Verifier.Ready = (&handlers.Gate{}).MayDecide
			return func() { n.Verifier.Ready = ready }
		}},
		{name: "the node's clock is ahead of the log's", breaks: func(n *node) func() {
			n.offset.Store(int64(3 * time.Second))
			time.Sleep(time.Second)
			return func() { n.offset.Store(0); time.Sleep(time.Second) }
		}},
		{name: "the node's clock is behind the log's", breaks: func(n *node) func() {
			n.log.Skew(3 * time.Second)
			time.Sleep(time.Second)
			return func() { n.log.Skew(0); time.Sleep(time.Second) }
		}},
		{name: "the clocks can't be compared any more", breaks: func(n *node) func() {
			n.blind.Store(true)
			time.Sleep(10 * time.Second)
			return func() { n.blind.Store(false); time.Sleep(time.Second) }
		}},
		{name: "the log's server is not healthy", breaks: func(n *node) func() {
			n.sick.Store(true)
			time.Sleep(time.Second)
			return func() { n.sick.Store(false); time.Sleep(time.Second) }
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			lie(t, func(t *testing.T, b *bed) {
				n := b.node()
				key, _ := n.agent("agent_ollie")
				mend := tt.breaks(n)
				_, err := n.verify(key, ask())
				wantCode(t, err, "UNAVAILABLE")
				want := 0
				if tt.recorded {
					want = 1
				}
				if got := b.decided(); got != want {
					t.Errorf("got %d decisions in the log, want %d", got, want)
				}
				mend()
				if d, err := n.verify(key, ask()); err != nil || d.Outcome != domain.OutcomeAllowed {
					t.Errorf("mended: got %q, %v, want allowed", d.Outcome, err)
				}
			})
		})
	}
}

func TestVerifyFailsClosedForGood(t *testing.T) {
	t.Parallel()
	unknown := []byte(`{"id":"evt_x","kind":"agent.promoted.v9","at":"2026-01-01T00:00:00Z","actor":"member:mem_owner","account":"acct_home","agent":"agent_ollie","data":{}}`)
	t.Run("an event of an unknown kind stops its agent and no other", func(t *testing.T) {
		lie(t, func(t *testing.T, b *bed) {
			n := b.node()
			key, _ := n.agent("agent_ollie")
			other, _ := n.agent("agent_other")
			b.log.Inject(domain.Stream{Account: home, Agent: "agent_ollie"}, unknown)
			synctest.Wait()
			_, err := n.verify(key, ask())
			wantCode(t, err, "UNAVAILABLE")
			if d, err := n.verify(other, ask()); err != nil || d.Outcome != domain.OutcomeAllowed {
				t.Errorf("the other agent: got %q, %v, want allowed", d.Outcome, err)
			}
		})
	})
	t.Run("also when the node learns of it only from the fence", func(t *testing.T) {
		lie(t, func(t *testing.T, b *bed) {
			n := b.node()
			key, _ := n.agent("agent_ollie")
			defer n.log.HoldFollow()()
			b.log.Inject(domain.Stream{Account: home, Agent: "agent_ollie"}, unknown)
			_, err := n.verify(key, ask())
			wantCode(t, err, "UNAVAILABLE")
		})
	})
	t.Run("an account that can't be read", func(t *testing.T) {
		lie(t, func(t *testing.T, b *bed) {
			n := b.node()
			key, _ := n.agent("agent_ollie")
			b.log.Inject(domain.Stream{Account: home}, []byte(`not JSON`))
			synctest.Wait()
			_, err := n.verify(key, ask())
			wantCode(t, err, "UNAVAILABLE")
		})
	})
	t.Run("a node that is stopping", func(t *testing.T) {
		lie(t, func(t *testing.T, b *bed) {
			n := b.node()
			key, _ := n.agent("agent_ollie")
			n.gate.Stop()
			_, err := n.verify(key, ask())
			wantCode(t, err, "UNAVAILABLE")
		})
	})
	t.Run("a caller who has gone", func(t *testing.T) {
		lie(t, func(t *testing.T, b *bed) {
			n := b.node()
			key, _ := n.agent("agent_ollie")
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			_, err := n.Verify(ctx, key, ask())
			wantCode(t, err, "UNAVAILABLE")
		})
	})
}

// A node that lags decides on what the log holds, not on what it has folded.
func TestVerifyOnANodeThatLags(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		then func(n *node, permission domain.PermissionID) error
		want domain.ReasonCode // empty: the credential is refused
	}{
		{"a revocation", func(n *node, p domain.PermissionID) error {
			_, err := n.Revoke(context.Background(), n.bed.owner, "agent_ollie", domain.RevokePermission{PermissionID: p})
			return err
		}, domain.PermissionRevokedCode},
		{"a disablement", func(n *node, _ domain.PermissionID) error {
			_, err := n.DisableAgent(context.Background(), n.bed.owner, "agent_ollie", "")
			return err
		}, domain.AgentDisabledCode},
		{"a lower limit", func(n *node, p domain.PermissionID) error {
			_, err := n.Replace(context.Background(), n.bed.owner, "agent_ollie", p, domain.Terms{Action: "purchase", MaxAmount: "1.00"}, 0)
			return err
		}, domain.AmountExceedsLimit},
		{"a rotated key", func(n *node, _ domain.PermissionID) error {
			_, _, err := n.RotateKey(context.Background(), n.bed.owner, "agent_ollie")
			return err
		}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			lie(t, func(t *testing.T, b *bed) {
				ahead, behind := b.node(), b.node()
				key, permission := ahead.agent("agent_ollie")
				synctest.Wait()
				defer behind.log.HoldFollow()()
				if err := tt.then(ahead, permission); err != nil {
					t.Fatalf("on the other node: %v", err)
				}
				d, err := behind.verify(key, ask())
				if tt.want == "" {
					wantCode(t, err, "UNAUTHENTICATED")
					return
				}
				if err != nil || d.ReasonCode != tt.want || d.Outcome != domain.OutcomeDenied {
					t.Errorf("got %s %s, %v, want denied %s", d.Outcome, d.ReasonCode, err, tt.want)
				}
			})
		})
	}
}

func TestVerifyAgainWhenTheReadWasStale(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		ahead, behind := b.node(), b.node()
		key, permission := ahead.agent("agent_ollie")
		synctest.Wait()
		defer behind.log.HoldFollow()()
		if _, err := ahead.Revoke(t.Context(), b.owner, "agent_ollie", domain.RevokePermission{PermissionID: permission}); err != nil {
			t.Fatalf("revoke: %v", err)
		}
		behind.log.LoadMisses(1)
		time.AfterFunc(5*time.Millisecond, func() { behind.log.LoadMisses(0) })
		d, err := behind.verify(key, ask())
		if err != nil || d.ReasonCode != domain.PermissionRevokedCode {
			t.Errorf("got %s, %v, want %s", d.ReasonCode, err, domain.PermissionRevokedCode)
		}
	})
}

func TestCredentials(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		n := b.node()
		key, _ := n.agent("agent_ollie")
		n.agent("agent_other")
		named := func(id domain.AgentID) *domain.Ask { a := ask(); a.AgentID = id; return a }
		_, wrong := n.verify(domain.HashToken("bhf_sk_wrong"), ask())
		for name, got := range map[string]func() error{
			"an unknown key":        func() error { _, err := n.verify(domain.HashToken("bhf_sk_other"), ask()); return err },
			"no key":                func() error { _, err := n.verify("", ask()); return err },
			"another agent's name":  func() error { _, err := n.verify(key, named("agent_other")); return err },
			"an unknown agent":      func() error { _, err := n.verify(key, named("agent_nobody")); return err },
			"a member's token":      func() error { _, err := n.verify(domain.HashToken(b.token), ask()); return err },
			"an id that is not one": func() error { _, err := n.verify(key, named("agent.*")); return err },
		} {
			if err := got(); err == nil || err.Error() != wrong.Error() {
				t.Errorf("%s: got %v, want the answer to a wrong key: %v", name, err, wrong)
			}
		}
		if got := b.decided(); got != 0 {
			t.Errorf("got %d decisions, want none", got)
		}
	})
}

func TestIdempotencyKey(t *testing.T) {
	keyed := func(key, amount string) *domain.Ask {
		a := ask()
		a.IdempotencyKey, a.Amount = key, domain.Decimal(amount)
		return a
	}
	lie(t, func(t *testing.T, b *bed) {
		one, two := b.node(), b.node()
		key, permission := one.agent("agent_ollie")
		other, _ := one.agent("agent_other")
		synctest.Wait()
		first, err := one.Verify(t.Context(), key, keyed("k1", "120"))
		if err != nil {
			t.Fatalf("verify: %v", err)
		}
		want := b.mustPacket(first)

		for _, n := range []*node{one, two, b.node()} { // the last has just started
			r, err := n.Verify(t.Context(), key, keyed("k1", "120"))
			if err != nil {
				t.Fatalf("repeat: %v", err)
			}
			if got := b.mustPacket(r); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		}
		_, err = one.Verify(t.Context(), key, keyed("k1", "120.01"))
		wantCode(t, err, "IDEMPOTENCY_KEY_REUSED")
		if r, err := one.Verify(t.Context(), other, keyed("k1", "7")); err != nil || r.Agent != "agent_other" {
			t.Errorf("another agent's key of the same text: got %v, %v, want a decision of its own", r.Agent, err)
		}
		if _, err := one.Revoke(t.Context(), b.owner, "agent_ollie", domain.RevokePermission{PermissionID: permission}); err != nil {
			t.Fatalf("revoke: %v", err)
		}
		if r, err := two.Verify(t.Context(), key, keyed("k1", "120")); err != nil || b.mustPacket(r) != want {
			t.Errorf("repeat after a revocation: got %v, want the packet that was given", err)
		}
		two.log.FailRead(errBroken)
		_, err = two.Verify(t.Context(), key, keyed("k1", "120"))
		wantCode(t, err, "UNAVAILABLE")
		two.log.FailRead(nil)
		if _, _, err := one.RotateKey(t.Context(), b.owner, "agent_ollie"); err != nil {
			t.Fatalf("rotate: %v", err)
		}
		_, err = two.Verify(t.Context(), key, keyed("k1", "120"))
		wantCode(t, err, "UNAUTHENTICATED")
		if got := b.decided(); got != 2 {
			t.Errorf("got %d decisions in the log, want 2", got)
		}
	})
}

func TestIdempotencyKeyFiftyAtOnce(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		nodes := []*node{b.node(), b.node()}
		key, _ := nodes[0].agent("agent_ollie")
		synctest.Wait()
		packets := make([]string, 50)
		var copies sync.WaitGroup
		for i := range packets {
			copies.Go(func() {
				a := ask()
				a.IdempotencyKey = "all at once"
				r, err := nodes[i%2].Verify(context.Background(), key, a)
				if err != nil {
					t.Errorf("copy %d: %v", i, err)
					return
				}
				packets[i] = b.mustPacket(r)
			})
		}
		copies.Wait()
		for i, got := range packets {
			if got != packets[0] {
				t.Errorf("copy %d: got %s, want %s", i, got, packets[0])
			}
		}
		if got := b.decided(); got != 1 {
			t.Errorf("got %d decisions in the log, want 1", got)
		}
	})
}

// An append whose fate is unknown is found by its idempotency key.
func TestUnknownOutcomeThenRetry(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		n := b.node()
		key, _ := n.agent("agent_ollie")
		a := ask()
		a.IdempotencyKey = "once"
		n.log.AfterAppend(func(domain.Record) error { return errBroken })
		_, err := n.Verify(t.Context(), key, a)
		wantCode(t, err, "UNAVAILABLE")
		n.log.AfterAppend(nil)
		if _, err := n.Verify(t.Context(), key, a); err != nil {
			t.Errorf("repeat: got %v, want the recorded packet", err)
		}
		if got := b.decided(); got != 1 {
			t.Errorf("got %d decisions in the log, want 1", got)
		}
	})
}

func TestAtLeast(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		ahead, behind := b.node(), b.node()
		key, _ := ahead.agent("agent_ollie")
		synctest.Wait()
		release := behind.log.HoldFollow()
		_, _, err := ahead.Grant(t.Context(), b.owner, "agent_ollie", domain.Terms{Action: "read"})
		if err != nil {
			t.Fatalf("grant: %v", err)
		}
		r, err := ahead.Verify(t.Context(), key, ask())
		if err != nil {
			t.Fatalf("verify: %v", err)
		}
		at := func(p domain.Position) *domain.Ask { a := ask(); a.AtLeast = p.String(); return a }
		_, err = behind.verify(key, at(r.Position))
		wantCode(t, err, "UNAVAILABLE")
		time.AfterFunc(100*time.Millisecond, release)
		if d, err := behind.verify(key, at(r.Position)); err != nil || d.Outcome != domain.OutcomeAllowed {
			t.Errorf("once it is seen: got %q, %v, want allowed", d.Outcome, err)
		}
		otherLog := r.Position
		otherLog.Epoch++
		_, err = ahead.verify(key, at(otherLog))
		wantCode(t, err, "UNAVAILABLE")
		otherLog = r.Position
		otherLog.Partition++
		_, err = ahead.verify(key, at(otherLog))
		wantCode(t, err, "INVALID_REQUEST")
		bad := ask()
		bad.AtLeast = "tomorrow"
		_, err = ahead.verify(key, bad)
		wantCode(t, err, "INVALID_REQUEST")
	})
}

func TestPreviewRecordsNothing(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		n := b.node()
		n.agent("agent_ollie")
		over := ask()
		over.Amount = "742"
		d, _, err := n.Preview(t.Context(), domain.Stream{Account: home, Agent: "agent_ollie"}, over)
		if err != nil || d.ReasonCode != domain.AmountExceedsLimit {
			t.Errorf("got %s, %v, want %s", d.ReasonCode, err, domain.AmountExceedsLimit)
		}
		if got := b.decided(); got != 0 {
			t.Errorf("got %d decisions, want none", got)
		}
		_, _, err = n.Preview(t.Context(), domain.Stream{Account: "acct_other", Agent: "agent_ollie"}, ask())
		wantCode(t, err, "NOT_FOUND")
	})
}
