package outbound_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/behalf-platform/behalf/infra/outbound"
)

// Each receiver is as bad as it can be. The attempt must end, with the right
// category, and cost little memory.
func TestNastyReceivers(t *testing.T) {
	zeros := bytes.Repeat([]byte("0"), 1<<20)
	bomb := gzipped(t, 100<<20)
	for _, test := range []struct {
		name   string
		answer func(net.Conn)
		want   outbound.Result
		any    bool // how much of the answer's body arrives is chance
	}{
		{
			name: "100 MB body",
			answer: func(c net.Conn) {
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n")
				for range 100 {
					if _, err := c.Write(zeros); err != nil {
						return
					}
				}
			},
			want: outbound.Result{Category: outbound.OK, Status: 200, Answer: strings.Repeat("0", 1024)},
		},
		{
			name: "endless chunks",
			answer: func(c net.Conn) {
				_, err := io.WriteString(c, "HTTP/1.1 500 X\r\nTransfer-Encoding: chunked\r\n\r\n")
				for err == nil {
					_, err = io.WriteString(c, "1\r\n0\r\n")
				}
			},
			want: outbound.Result{Category: outbound.Failed, Status: 500, Answer: strings.Repeat("0", 1024)},
		},
		{
			name: "a body that never comes",
			answer: func(c net.Conn) {
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345")
				untilClosed(c)
			},
			want: outbound.Result{Category: outbound.OK, Status: 200, Answer: "12345"},
		},
		{
			name:   "a body of a byte each moment",
			answer: func(c net.Conn) { drip(c, "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", "0") },
			want:   outbound.Result{Category: outbound.OK, Status: 200},
			any:    true,
		},
		{
			name:   "a header of a byte each moment",
			answer: func(c net.Conn) { drip(c, "", "HTTP/1.1 200 OK\r\nX: "+strings.Repeat("0", 30<<10)) },
			want:   outbound.Result{Category: outbound.Timeout},
		},
		{
			name: "gzip bomb",
			answer: func(c net.Conn) {
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n")
				_, _ = c.Write(bomb)
			},
			want: outbound.Result{Category: outbound.OK, Status: 200},
		},
		{
			name: "10 MB header",
			answer: func(c net.Conn) {
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nX: ")
				for range 10 {
					if _, err := c.Write(zeros); err != nil {
						return
					}
				}
			},
			want: outbound.Result{Category: outbound.Protocol},
		},
		{
			name: "endless header lines",
			answer: func(c net.Conn) {
				_, err := io.WriteString(c, "HTTP/1.1 200 OK\r\n")
				for err == nil {
					_, err = io.WriteString(c, "A: b\r\n")
				}
			},
			want: outbound.Result{Category: outbound.Protocol},
		},
		{
			name: "a flood of interim answers",
			answer: func(c net.Conn) {
				var err error
				for err == nil {
					_, err = io.WriteString(c, "HTTP/1.1 102 Processing\r\n\r\n")
				}
			},
			want: outbound.Result{Category: outbound.Protocol},
		},
		{
			name: "switching protocols",
			answer: func(c net.Conn) {
				_, _ = io.WriteString(c, "HTTP/1.1 101 X\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")
				untilClosed(c)
			},
			want: outbound.Result{Category: outbound.Protocol, Status: 101},
		},
		{
			name: "reset in the body",
			answer: func(c net.Conn) {
				_, _ = io.WriteString(c, "HTTP/1.1 422 X\r\nContent-Length: 100\r\n\r\nwrong")
				_ = c.(*net.TCPConn).SetLinger(0)
			},
			want: outbound.Result{Category: outbound.Refused, Status: 422},
			any:  true,
		},
		{
			name:   "reset before the answer",
			answer: func(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0) },
			want:   outbound.Result{Category: outbound.Dropped},
		},
		{name: "closed without an answer", answer: func(net.Conn) {}, want: outbound.Result{Category: outbound.Dropped}},
		{
			name:   "closed in the header",
			answer: func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nX: y") },
			want:   outbound.Result{Category: outbound.Dropped},
		},
		{name: "no answer", answer: untilClosed, want: outbound.Result{Category: outbound.Timeout}},
		{
			name:   "another protocol",
			answer: func(c net.Conn) { _, _ = io.WriteString(c, "220 mail.example.com ESMTP\r\n") },
			want:   outbound.Result{Category: outbound.Protocol},
		},
		{
			name: "two lengths",
			answer: func(c net.Conn) {
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab")
			},
			want: outbound.Result{Category: outbound.Protocol},
		},
		{
			name: "what a terminal would obey",
			answer: func(c net.Conn) {
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 19\r\n\r\na\x00b\x1b[2J\xff\u202e\u00e9\n\t\r\x7fé")
			},
			want: outbound.Result{Category: outbound.OK, Status: 200, Whole: true, Answer: "a\ufffdb\ufffd[2J\ufffd\ufffd\u00e9\n\t\ufffd\ufffdé"},
		},
		{
			name: "a character cut in two",
			answer: func(c net.Conn) {
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 1025\r\n\r\n"+strings.Repeat("x", 1023)+"é")
			},
			want: outbound.Result{Category: outbound.OK, Status: 200, Whole: true, Answer: strings.Repeat("x", 1023)},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			// One after the other, or the memory of one would be another's.
			address := listen(t, test.answer)
			client := mustClient(t, patience(test.want.Category))
			before := allocated()
			got := client.Send(t.Context(), delivery(t, "http://"+address))
			used := allocated() - before
			if got.Category != test.want.Category || got.Status != test.want.Status || got.Whole != test.want.Whole {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
			if !test.any && got.Answer != test.want.Answer {
				t.Errorf("got answer %q, want %q", got.Answer, test.want.Answer)
			}
			if (got.Err == nil) != (got.Status != 0) || got.Category == outbound.Cancelled {
				t.Errorf("got error %v with status %d", got.Err, got.Status)
			}
			if used > 4<<20 {
				t.Errorf("%d bytes were allocated, want a few hundred thousand at most", used)
			}
		})
	}
}

func TestNoConnection(t *testing.T) {
	t.Parallel()
	closed := listen(t, func(net.Conn) {})
	// The near end of a connection is a port that is taken, and not listened on.
	taken, err := net.Dial("tcp", listen(t, untilClosed))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { taken.Close() })
	plain := serve(t, func(http.ResponseWriter, *http.Request) {})
	secure := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	secure.Config.ErrorLog = quiet
	secure.StartTLS()
	t.Cleanup(secure.Close)
	old := httptest.NewUnstartedServer(nil)
	old.TLS = &tls.Config{MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}
	old.Config.ErrorLog = quiet
	old.StartTLS()
	t.Cleanup(old.Close)
	nobody := taken.LocalAddr().String()
	_, port, _ := net.SplitHostPort(secure.Listener.Addr().String())
	for _, test := range []struct {
		name, url string
		set       func(*outbound.Config)
		want      outbound.Category
	}{
		{"nobody listens", "http://" + nobody, usual, outbound.Connect},
		{"nobody listens with TLS", "https://" + nobody, usual, outbound.Connect},
		{"a certificate of nobody known", secure.URL, usual, outbound.TLS},
		{"a certificate for another name", "https://localhost:" + port, trust(secure), outbound.TLS},
		{"plain text", strings.Replace(plain.URL, "http:", "https:", 1), usual, outbound.TLS},
		{"TLS that is too old", old.URL, trust(old), outbound.TLS},
		{"closed while shaking hands", "https://" + closed, usual, outbound.TLS},
		{"no handshake", "https://" + listen(t, untilClosed), usual, outbound.Timeout},
		{"an address that was not opened", "http://127.0.0.1:9", func(c *outbound.Config) { c.Policy.Networks = networks("127.0.0.2/32") }, outbound.Blocked},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			client := mustClient(t, patience(test.want), test.set)
			got := client.Send(t.Context(), delivery(t, test.url))
			if got.Category != test.want || got.Status != 0 || got.Err == nil {
				t.Errorf("got %+v, want %s", got, test.want)
			}
			if strings.Contains(got.Category.Text(), "127.0.0.1") || got.Answer != "" {
				t.Errorf("got %q, which names an address", got.Category.Text())
			}
		})
	}
}

// A receiver over HTTP/2 can be as bad.
func TestNastyReceiversOverHTTP2(t *testing.T) {
	t.Parallel()
	over := make(chan struct{})
	for _, test := range []struct {
		name   string
		answer http.HandlerFunc
		want   outbound.Result
	}{
		{"endless body", func(w http.ResponseWriter, _ *http.Request) {
			var err error
			for err == nil {
				_, err = w.Write(make([]byte, 1<<16))
			}
		}, outbound.Result{Category: outbound.OK, Status: 200}},
		{"no answer", func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-r.Context().Done():
			case <-over:
			}
		}, outbound.Result{Category: outbound.Timeout}},
		{"large header", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X", strings.Repeat("0", 1<<20))
		}, outbound.Result{Category: outbound.Protocol}},
		{"a flood of interim answers", func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				w.WriteHeader(http.StatusProcessing)
			}
		}, outbound.Result{Category: outbound.Protocol}},
		{"broken off", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, outbound.Result{Category: outbound.Protocol}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewUnstartedServer(test.answer)
			server.EnableHTTP2, server.Config.ErrorLog = true, quiet
			server.StartTLS()
			t.Cleanup(server.Close)
			client := mustClient(t, patience(test.want.Category), trust(server))
			t.Cleanup(server.CloseClientConnections)
			got := client.Send(t.Context(), delivery(t, server.URL))
			if got.Category != test.want.Category || got.Status != test.want.Status {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
	t.Cleanup(func() { close(over) })
}

// patience is short only where time is what must run out: a busy machine is slow.
func patience(want outbound.Category) func(*outbound.Config) {
	return func(c *outbound.Config) {
		c.Linger = 100 * time.Millisecond
		if want == outbound.Timeout {
			c.Timeout = 500 * time.Millisecond
		}
	}
}

func usual(*outbound.Config) {}

// listen reads one request of each connection, and has it answered by hand.
func listen(t *testing.T, answer func(net.Conn)) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Close()
				// What comes with TLS is no request; the answer is for it all the same.
				if request, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
					_, _ = io.Copy(io.Discard, request.Body)
				}
				answer(conn)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		wg.Wait()
	})
	return l.Addr().String()
}

// quiet is for servers that are meant to have trouble.
var quiet = log.New(io.Discard, "", 0)

func untilClosed(c net.Conn) { _, _ = io.Copy(io.Discard, c) }

// drip writes the rest byte by byte, slowly, until nobody listens.
func drip(c net.Conn, first, rest string) {
	_, err := io.WriteString(c, first)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for i := 0; err == nil; i++ {
		<-tick.C
		_, err = c.Write([]byte{rest[i%len(rest)]})
	}
}

func gzipped(t *testing.T, size int) []byte {
	t.Helper()
	var b bytes.Buffer
	w, _ := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	zeros := make([]byte, 1<<20)
	for range size / len(zeros) {
		_, _ = w.Write(zeros)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// allocated counts all bytes ever allocated, of every goroutine.
func allocated() uint64 {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.TotalAlloc
}

// The rest of an answer is waited for only so long, however much time there is
// for the answer itself.
func TestLinger(t *testing.T) {
	t.Parallel()
	address := listen(t, func(c net.Conn) {
		_, _ = io.WriteString(c, "HTTP/1.1 202 OK\r\nContent-Length: 10\r\n\r\n12345")
		untilClosed(c)
	})
	client := mustClient(t, func(c *outbound.Config) { c.Timeout, c.Linger = time.Hour, 50*time.Millisecond })
	if got := client.Send(t.Context(), delivery(t, "http://"+address)); got.Status != 202 || got.Answer != "12345" || got.Whole {
		t.Errorf("got %+v, want it taken with half of the answer", got)
	}
}
