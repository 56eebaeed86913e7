package delivery_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers/delivery"
	"github.com/behalf-platform/behalf/infra/embedded"
	"github.com/behalf-platform/behalf/infra/natslanes"
)

// counting counts what is delivered by another sender, or by nobody.
type counting struct {
	to        delivery.Sender
	delivered atomic.Int64
	down      func(delivery.Endpoint) bool
}

func (c *counting) Send(ctx context.Context, e delivery.Endpoint, m delivery.Message, replay string) delivery.Result {
	if c.down != nil && c.down(e) {
		return delivery.Result{Category: delivery.Connect}
	}
	r := delivery.Result{Status: 204, Category: delivery.Answered}
	if c.to != nil {
		r = c.to.Send(ctx, e, m, replay)
	}
	if r.Status/100 == 2 {
		c.delivered.Add(1)
	}
	return r
}

// signing signs what it sends.
type signing struct{ poster }

func (s signing) Send(ctx context.Context, e delivery.Endpoint, m delivery.Message, replay string) delivery.Result {
	mac := hmac.New(sha256.New, []byte("a secret of thirty-two bytes, so"))
	fmt.Fprintf(mac, "%s.%d.", m.ID, m.At.Unix())
	_, _ = mac.Write(m.Data) // a hash never fails
	e.Headers = map[string]string{"webhook-signature": "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))}
	return s.poster.Send(ctx, e, m, replay)
}

func mustStartLanes(b *testing.B) delivery.Store {
	b.Helper()
	s, err := embedded.Start(embedded.Config{
		Dir: b.TempDir(), Durability: embedded.OS, Listen: "127.0.0.1:0",
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.Shutdown(); err != nil {
			b.Error(err)
		}
	})
	nc, err := s.Bulk()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(nc.Close)
	store, err := natslanes.Open(b.Context(), natslanes.Config{Conn: nc, Replicas: 1})
	if err != nil {
		b.Fatal(err)
	}
	return store
}

// benchDeliver delivers b.N messages to endpoints of one account, of which each gets its
// part: with attempts and state in JetStream.
func benchDeliver(b *testing.B, endpoints int, send *counting, url string, alive int) {
	store := mustStartLanes(b)
	book, endpointsRoll := &book{}, &roll{}
	for i := range endpoints {
		e := endpoint(delivery.EndpointID(fmt.Sprintf("whe_%d", i)))
		e.URL = url
		endpointsRoll.set(e)
	}
	engine := &delivery.Engine{
		Source: book, Registry: endpointsRoll, Sender: send, Reporter: silent{}, Store: store, Node: "bench",
		Logs: slog.New(slog.DiscardHandler), Now: time.Now,
	}
	events := max(b.N/alive, 1)
	for i := range events {
		book.write(account, domain.AgentID(fmt.Sprintf("agent_%d", i%50)), "decision.allowed")
	}
	b.ResetTimer()
	stop := start(b, engine)
	for send.delivered.Load() < int64(events*alive) {
		time.Sleep(time.Millisecond)
	}
	b.StopTimer()
	stop()
	b.ReportMetric(float64(events*alive)/b.Elapsed().Seconds(), "deliveries/s")
}

func BenchmarkNobody(b *testing.B) {
	for _, endpoints := range []int{1, 20, 200} {
		b.Run(fmt.Sprintf("endpoints=%d", endpoints), func(b *testing.B) {
			benchDeliver(b, endpoints, &counting{}, "http://127.0.0.1:1", endpoints)
		})
	}
}

func BenchmarkHalfDead(b *testing.B) {
	b.Run("endpoints=100", func(b *testing.B) { benchDeliver(b, 100, &counting{}, "http://127.0.0.1:1", 100) })
	b.Run("endpoints=200/dead=100", func(b *testing.B) {
		down := func(e delivery.Endpoint) bool { return (e.ID[len(e.ID)-1]-'0')%2 == 1 }
		benchDeliver(b, 200, &counting{down: down}, "http://127.0.0.1:1", 100)
	})
}

func BenchmarkLoopback(b *testing.B) {
	for _, endpoints := range []int{1, 20} {
		b.Run(fmt.Sprintf("endpoints=%d", endpoints), func(b *testing.B) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body) // the sender will say so
				w.WriteHeader(http.StatusNoContent)
			}))
			defer s.Close()
			p := newPoster(10 * time.Second)
			defer p.client.CloseIdleConnections()
			benchDeliver(b, endpoints, &counting{to: signing{p}}, s.URL, endpoints)
		})
	}
}

// BenchmarkIdle is what a thousand endpoints cost that nothing happens to.
func BenchmarkIdle(b *testing.B) {
	const lanes = 1000
	for range 1 { // it is what it costs, not how long it takes
		store := mustStartLanes(b)
		endpoints := &roll{}
		runtime.GC()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for i := range lanes {
			e := endpoint(delivery.EndpointID(fmt.Sprintf("whe_%d", i)))
			e.Account = domain.AccountID(fmt.Sprintf("acct_%d", i))
			endpoints.set(e)
		}
		log := &book{}
		engine := &delivery.Engine{
			Source: log, Registry: endpoints, Sender: &counting{}, Reporter: silent{}, Store: store, Node: "bench",
			Logs: slog.New(slog.DiscardHandler), Now: time.Now,
		}
		stop := start(b, engine)
		time.Sleep(2 * time.Second) // until all are claimed
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapInuse+after.StackInuse-before.HeapInuse-before.StackInuse)/lanes, "B/lane")
		stop()
	}
}
