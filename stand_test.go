package behalf_test

import (
	"context"
	"log/slog"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/behalf-platform/behalf"
	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers"
	"github.com/behalf-platform/behalf/handlers/httpapi"
	"github.com/behalf-platform/behalf/handlers/natsapi"
	"github.com/behalf-platform/behalf/infra/memlog"
	"github.com/behalf-platform/behalf/projections"
)

// stand is a server over a log in memory, with a member of its account, and an
// agent that asks over one of the transports.
type stand struct {
	t     *testing.T
	owner *behalf.Client
	agent *behalf.Client
	// wrong is an agent's client with a key nobody has.
	wrong *behalf.Client
}

const (
	home       = "acct_01K8M3Z5V0QX4T7R9WBYDAFC2E"
	ownerToken = "bhf_dev_0123456789abcdef0123456789abcdef"
	wrongKey   = "bhf_sk_0123456789abcdef0123456789abcdef"
)

// transports are the ways to a server.
var transports = []string{"HTTP", "NATS"}

func mustStand(t *testing.T, transport string) *stand {
	t.Helper()
	desk, logs := mustDesk(t), slog.New(slog.DiscardHandler)
	web := httptest.NewServer(httpapi.New(t.Context(), desk, logs).Handler())
	t.Cleanup(web.Close)
	s := &stand{t: t, owner: &behalf.Client{BaseURL: web.URL, Token: ownerToken, HTTPClient: web.Client()}}
	agent, err := s.owner.RegisterAgent(t.Context(), behalf.NewAgent{AgentID: "ollie", Name: "Ollie"})
	if err != nil {
		t.Fatal(err)
	}
	if transport == "HTTP" {
		s.agent = &behalf.Client{BaseURL: web.URL, Token: agent.APIKey, HTTPClient: web.Client()}
		s.wrong = &behalf.Client{BaseURL: web.URL, Token: wrongKey, HTTPClient: web.Client()}
		return s
	}
	srv := mustNATS(t)
	conn := mustConnectNATS(t, srv)
	service, err := natsapi.Start(t.Context(), natsapi.Config{Conn: conn, Desk: desk, Logs: logs, Version: "0.0.1", MostInFlight: 16, MostWaits: 16})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = service.Stop() })
	if err := conn.Flush(); err != nil { // the subscriptions are there
		t.Fatal(err)
	}
	if s.agent, err = behalf.ConnectNATS(nats.DefaultURL, "ollie", agent.APIKey, nats.InProcessServer(srv)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.agent.NATS.Close)
	s.wrong = &behalf.Client{NATS: s.agent.NATS, Token: wrongKey}
	return s
}

// mustDesk is a desk with an account, until the test ends.
func mustDesk(t *testing.T) *handlers.Desk {
	t.Helper()
	log, passports, lanes := memlog.New(memlog.Config{FirstAccount: home}), &projections.Passports{}, handlers.NewLanes()
	logs := slog.New(slog.DiscardHandler)
	caughtUp := func(context.Context, domain.Position) error { return nil }
	desk := &handlers.Desk{
		Faults:     handlers.Faults{Logs: logs, Now: time.Now},
		Identifier: &handlers.Identifier{Log: log, Passports: passports},
		Verifier: &handlers.Verifier{
			Log: log, Passports: passports, Lanes: lanes, Now: time.Now, Timeout: time.Minute,
			Ready: func() error { return nil }, CatchUp: caughtUp,
		},
		Writer:  &handlers.Writer{Log: log, Passports: passports, Lanes: lanes, Now: time.Now, CatchUp: caughtUp, Timeout: time.Minute},
		History: &handlers.History{Log: log},
		Approvals: &handlers.Approvals{
			Passports: passports, Now: time.Now, Partitions: log.Partitions,
			Current: func(context.Context, uint16) error { return nil },
		},
	}
	minder := &handlers.Minder{Passports: passports, Now: time.Now, Logs: logs, Wake: func(*domain.Approval) {}}
	following, stop := context.WithCancel(context.Background())
	var follower sync.WaitGroup
	follower.Go(func() {
		_ = log.Follow(following, 0, 0, func(r domain.Recorded, err error) error {
			_ = passports.Apply(r, err)
			return minder.Apply(r, err)
		})
	})
	t.Cleanup(func() { stop(); follower.Wait() })
	_, err := desk.OpenAccount(t.Context(), home, domain.OpenAccount{Name: "Home", Currency: "USD", Owner: "mem_owner", Token: domain.HashToken(ownerToken)})
	if err != nil {
		t.Fatal(err)
	}
	return desk
}

// grant grants the agent something, and returns the permission's id.
func (s *stand) grant(terms behalf.Terms) string {
	s.t.Helper()
	p, err := s.owner.Grant(s.t.Context(), "ollie", terms)
	if err != nil {
		s.t.Fatal(err)
	}
	return p.PermissionID
}

// unreported is how many allows nobody reported on.
func (s *stand) unreported() int {
	s.t.Helper()
	page, err := s.owner.Reservations(s.t.Context(), behalf.ReservationQuery{})
	if err != nil {
		s.t.Fatal(err)
	}
	return len(page.Reservations)
}

// left is what is left of the only budget of a permission.
func (s *stand) left(permissionID string) string {
	s.t.Helper()
	p, err := s.owner.Permission(s.t.Context(), "ollie", permissionID)
	if err != nil || len(p.Left) != 1 {
		s.t.Fatalf("got %+v left, %v; want one limit", p.Left, err)
	}
	return p.Left[0].Left
}
