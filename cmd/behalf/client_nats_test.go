package main

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/behalf-platform/behalf"
)

// The Go client has all the rights it needs on the server's NATS, and finds back
// to it.
func TestTheGoClientOverNATS(t *testing.T) {
	t.Parallel()
	s := startServer(t, t.TempDir())
	key := s.agent("agent_ollie")
	turnedAway := make(chan error, 100)
	client, err := behalf.ConnectNATS("nats://"+s.nats, "agent_ollie", key, nats.ReconnectWait(10*time.Millisecond), nats.ReconnectJitter(0, 0),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			select {
			case turnedAway <- err:
			default:
			}
		}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.NATS.Close)
	ran := 0
	buy := func(ctx context.Context) error {
		return client.Guard(ctx, behalf.Ask{AgentID: "agent_ollie", Action: "purchase", Amount: "120"}, func(context.Context, behalf.Packet) error {
			ran++
			return nil
		})
	}
	if err := buy(t.Context()); err != nil || ran != 1 {
		t.Fatalf("got %v, run %d times; want it run", err, ran)
	}
	if p, err := client.Passport(t.Context()); err != nil || p.AgentID != "agent_ollie" {
		t.Errorf("passport: got %+v, %v", p, err)
	}

	s.must(200, "POST", "/v1/agents/agent_ollie/disable", testToken, `{}`)
	// While it is disabled it is either told so, or thrown out.
	brief, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond) // an answer that was on its way to the old connection is lost
	defer cancel()
	err = buy(brief)
	if denied, ok := errors.AsType[*behalf.Denied](err); ran != 1 || ok && denied.Packet.ReasonCode != "AGENT_DISABLED" || !ok && !errors.Is(err, behalf.ErrUnavailable) {
		t.Errorf("disabled: got %v, run %d times", err, ran)
	}
	if again, err := behalf.ConnectNATS("nats://"+s.nats, "agent_ollie", key); !errors.Is(err, behalf.ErrUnavailable) || !errors.Is(err, nats.ErrAuthorization) {
		t.Errorf("connect while disabled: got %v, %v; want ErrUnavailable", again, err)
	}
	for range 3 { // once too often for a connection that would give up
		select {
		case err := <-turnedAway:
			if !errors.Is(err, nats.ErrAuthorization) {
				t.Fatalf("got %v, want to be turned away", err)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("its connection was not ended")
		}
	}
	s.must(200, "POST", "/v1/agents/agent_ollie/enable", testToken, `{}`)
	for err = buy(t.Context()); err != nil; err = buy(t.Context()) {
		select {
		case <-t.Context().Done():
			t.Fatal(err)
		case <-time.After(10 * time.Millisecond):
		}
	}
	if ran != 2 {
		t.Errorf("run %d times, want it run once more", ran)
	}
}
