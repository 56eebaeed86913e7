package schemas_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers"
	"github.com/behalf-platform/behalf/handlers/hooktest"
	"github.com/behalf-platform/behalf/handlers/httpapi"
	"github.com/behalf-platform/behalf/infra/memlog"
	"github.com/behalf-platform/behalf/infra/memshadow"
	"github.com/behalf-platform/behalf/infra/memvisits"
	"github.com/behalf-platform/behalf/infra/sqlviews"
	"github.com/behalf-platform/behalf/infra/webhooksig"
	"github.com/behalf-platform/behalf/projections"
	"github.com/behalf-platform/behalf/schemas/schematest"
)

// server is the HTTP API over a log in memory. It holds every answer against
// openapi.yaml and remembers which it has seen.
type server struct {
	t *testing.T
	// The same desk behind three doors: a good one, one that lets nobody in
	// twice, and one that can't decide.
	open, limited, closed http.Handler
	// running is the good door while the server is not about to stop.
	running http.Handler
	// unsigned is a good door that signs no receipts.
	unsigned http.Handler
	// hooks is what the good doors have, and deliveries what stands in for what
	// sends.
	hooks      *handlers.Webhooks
	deliveries hooktest.Deliveries
	challenger hooktest.Challenger
	seen       map[string]bool
}

const ownerToken = "bhf_dev_0123456789abcdef0123456789abcdef"

func mustServe(t *testing.T) *server {
	t.Helper()
	const account = "acct_01K8M3Z5V0QX4T7R9WBYDAFC2E"
	log := memlog.New(memlog.Config{FirstAccount: account})
	passports := &projections.Passports{}
	stopped, stop := context.WithCancel(t.Context())
	stop() // a stream of decisions ends at once
	lanes := handlers.NewLanes()
	shadows := &memshadow.Log{}
	watcher := &handlers.Watcher{Log: log, Now: time.Now, MostLag: time.Minute, Logs: slog.New(slog.DiscardHandler), Every: 10 * time.Millisecond}
	ring, err := webhooksig.NewKeyring(bytes.Repeat([]byte{7}, webhooksig.MasterSize))
	if err != nil {
		t.Fatal(err)
	}
	queries := &handlers.Queries{Log: log, Watcher: watcher}
	mustProject(t, log, queries, watcher)
	caughtUp := func(context.Context, domain.Position) error { return nil }
	s := &server{t: t, seen: map[string]bool{}}
	door := func(limits handlers.Limits, ready error) (*handlers.Desk, http.Handler) {
		desk := &handlers.Desk{
			Faults:     handlers.Faults{Logs: slog.New(slog.DiscardHandler), Now: time.Now},
			Identifier: &handlers.Identifier{Log: log, Passports: passports},
			Verifier: &handlers.Verifier{
				Log: log, Passports: passports, Lanes: lanes, Now: time.Now, Timeout: time.Minute,
				Ready:   func() error { return ready },
				CatchUp: caughtUp,
			},
			Writer: &handlers.Writer{
				Log: log, Passports: passports, Lanes: lanes, Now: time.Now, CatchUp: caughtUp, Timeout: time.Minute,
			},
			History: &handlers.History{Log: log},
			Events:  told{log},
			Queries: queries,
			Approvals: &handlers.Approvals{
				Passports: passports, Now: time.Now, Partitions: log.Partitions,
				Current: func(context.Context, uint16) error { return nil },
			},
			Limits: limits,
			Receipts: &handlers.Receipts{
				Passports: passports, Lifetime: time.Minute,
				Key: func(account domain.AccountID, version int) (ed25519.PrivateKey, error) {
					return ring.ReceiptKey(string(account), version)
				},
			},
		}
		desk.Shadows = &handlers.Shadows{Log: shadows, Decisions: log, Writer: desk.Writer, Now: time.Now, Logs: slog.New(slog.DiscardHandler)}
		desk.Links = &handlers.Links{Writer: desk.Writer, Visits: &memvisits.Counters{}, Logs: slog.New(slog.DiscardHandler)}
		desk.Webhooks = &handlers.Webhooks{
			Writer: desk.Writer, Rules: domain.EndpointRules{Types: []string{"approval.denied", "verification.denied"}, Most: 2},
			CheckURL: func(context.Context, string) error { return nil },
			Secrets:  &hooktest.Secrets{}, Challenger: &s.challenger, Deliveries: &s.deliveries,
		}
		return desk, httpapi.New(stopped, desk, slog.New(slog.DiscardHandler)).Handler()
	}
	// A clock that stands still never fills a limit again.
	still := handlers.NewLimiter(1, func() time.Time { return time.Unix(0, 0) })
	desk, open := door(handlers.Limits{}, nil)
	s.open, s.hooks = open, desk.Webhooks
	s.running = httpapi.New(t.Context(), desk, slog.New(slog.DiscardHandler)).Handler()
	mustShadow(t, desk.Shadows)
	plain, unsigned := door(handlers.Limits{}, nil)
	plain.Receipts, s.unsigned = nil, unsigned
	_, s.limited = door(handlers.Limits{Addresses: still}, nil)
	_, s.closed = door(handlers.Limits{}, errors.New("it is still reading the log"))
	for still.Pass("192.0.2.1") == nil { // where httptest's requests come from
	}
	_, err = desk.OpenAccount(t.Context(), account, domain.OpenAccount{
		Name: "Behalf", Currency: "USD", Owner: "mem_01K8M3Z5V0J6N8P1S3T5V7X9ZA", Token: domain.HashToken(ownerToken),
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// told is the public events of a log, without a stream. It has forgotten the
// oldest.
type told struct{ log *memlog.Log }

func (e told) Read(ctx context.Context, q projections.EventQuery, see func([]byte) error) error {
	if q.After.Position.Seq == 1 {
		return domain.RejectField(domain.Conflict, "/after", "is not kept any more")
	}
	return e.log.Scan(ctx, domain.Scan{}, func(r domain.Recorded, err error) error {
		if err != nil || q.New {
			return err
		}
		events, err := projections.Public(nil, &r)
		for i := range events {
			if err == nil && r.Position.Seq > 1 {
				err = see(events[i].AppendCloudEvent(nil))
			}
		}
		return err
	})
}

// mustProject answers queries from a database of the test's own, once it is there.
func mustProject(t *testing.T, log *memlog.Log, queries *handlers.Queries, watcher *handlers.Watcher) {
	t.Helper()
	store, err := sqlviews.Open(t.Context(), sqlviews.Config{URL: "sqlite:" + t.TempDir() + "/views.db", Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	queries.Use(store)
	projector := &handlers.Projector{Log: log, Store: store, Logs: slog.New(slog.DiscardHandler)}
	ctx, stop := context.WithCancel(context.Background())
	var parts sync.WaitGroup
	parts.Go(func() { _ = projector.Run(ctx) })
	parts.Go(func() { _ = watcher.Run(ctx, store) })
	t.Cleanup(func() {
		stop()
		parts.Wait()
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	for watcher.Ready() != nil {
		select {
		case <-t.Context().Done():
			t.Fatal(watcher.Ready())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// mustShadow decides under candidates until the test ends.
func mustShadow(t *testing.T, shadows *handlers.Shadows) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	shadows.Idle = time.Millisecond
	var run sync.WaitGroup
	run.Go(func() {
		if err := shadows.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { stop(); run.Wait() })
}

// ask is one request.
type ask struct {
	route, target string // the pattern, and what it is filled with
	token, body   string
	header        [2]string
	door          http.Handler // the open one if nil
}

// do sends a request, and fails unless it is answered with the status, and as
// openapi.yaml has it.
func (s *server) do(want int, a ask) map[string]any {
	s.t.Helper()
	method, _, _ := strings.Cut(a.route, " ")
	r := httptest.NewRequestWithContext(s.t.Context(), method, a.target, strings.NewReader(a.body))
	if a.body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if a.token != "" {
		r.Header.Set("Authorization", "Bearer "+a.token)
	}
	if a.header[0] != "" {
		r.Header.Set(a.header[0], a.header[1])
	}
	door := a.door
	if door == nil {
		door = s.open
	}
	w := httptest.NewRecorder()
	door.ServeHTTP(w, r)
	if w.Code != want {
		s.t.Errorf("%s %s: got %d, want %d: %s", method, a.target, w.Code, want, w.Body)
	}
	schematest.Answer(s.t, method, a.target, w.Code, w.Header(), w.Body.Bytes())
	s.seen[a.route+" "+strconv.Itoa(w.Code)] = true
	var answer map[string]any
	_ = json.Unmarshal(w.Body.Bytes(), &answer) // a stream, or nothing, is no object
	return answer
}
