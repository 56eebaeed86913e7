package outbound_test

import (
	"io"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/behalf-platform/behalf/infra/outbound"
)

// BenchmarkSend delivers to a receiver in this same process, 64 at once: half of
// what it takes is the receiver's.
func BenchmarkSend(b *testing.B) {
	const inFlight = 64
	server := serve(b, func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
	client := mustClient(b)
	d := delivery(b, server.URL)
	var failed atomic.Int64
	var left atomic.Int64
	send := func(n int) {
		left.Store(int64(n))
		var wg sync.WaitGroup
		for range inFlight {
			wg.Go(func() {
				for left.Add(-1) >= 0 {
					if client.Send(b.Context(), d).Category != outbound.OK {
						failed.Add(1)
					}
				}
			})
		}
		wg.Wait()
	}
	send(10 * inFlight) // connections are there, as they are in a server that runs
	runtime.GC()
	b.ReportAllocs()
	b.ResetTimer()
	start := time.Now()
	send(b.N)
	b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "deliveries/s")
	if failed.Load() > 0 {
		b.Errorf("%d of %d failed", failed.Load(), b.N)
	}
}
