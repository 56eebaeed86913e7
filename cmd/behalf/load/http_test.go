package load

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

var someone = &agent{id: "x", key: "k"}

func mustCaller(t *testing.T, urls ...string) *httpCaller {
	t.Helper()
	c, err := newHTTPCaller(urls, 0, "/v1/verify", 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.close)
	return c
}

// scripted is a server that sends each connection the same bytes, for each
// request it reads.
func scripted(t *testing.T, answer string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				in := bufio.NewReader(conn)
				for {
					r, err := http.ReadRequest(in)
					if err != nil {
						return
					}
					_, _ = io.Copy(io.Discard, r.Body)
					if _, err := io.WriteString(conn, answer); err != nil || !strings.HasPrefix(answer, "HTTP/1.1 200") {
						return
					}
				}
			}()
		}
	}()
	return "http://" + listener.Addr().String()
}

func TestCallerReadsWhatServersSend(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{
		"with a length":        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nCONTENT-length:  2 \r\n\r\nok",
		"in chunks":            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n",
		"in chunks, a trailer": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX: y\r\n\r\n",
		"and closes":           "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
		"with bare newlines":   "HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := mustCaller(t, scripted(t, answer))
			for range 3 {
				status, body, err := c.call(someone, []byte("{}"))
				if err != nil || status != 200 || string(body) != "ok" {
					t.Fatalf("got %d %q %v, want 200 ok", status, body, err)
				}
			}
		})
	}
}

func TestCallerTakesNothingBroken(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{
		"nothing":             "",
		"not HTTP":            "hello\r\n\r\n",
		"HTTP/1.0":            "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
		"no length":           "HTTP/1.1 200 OK\r\n\r\nok",
		"half a body":         "HTTP/1.1 500 X\r\nContent-Length: 20\r\n\r\nok",
		"a negative length":   "HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok",
		"a huge length":       "HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\nok",
		"an interim answer":   "HTTP/1.1 100 Continue\r\n\r\n",
		"an endless head":     "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 10_000) + "\r\n\r\n",
		"a status of letters": "HTTP/1.1 abc OK\r\n\r\n",
		"broken chunks":       "HTTP/1.1 500 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, _, err := mustCaller(t, scripted(t, answer)).call(someone, nil); err == nil {
				t.Error("got an answer, want an error")
			}
		})
	}
}

func TestCallerGoesOnWithTheNextNode(t *testing.T) {
	t.Parallel()
	live := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer k" || r.Header.Get("Content-Type") != "application/json" || r.URL.Path != "/base/v1/verify" {
			t.Errorf("got %s with %v", r.URL, r.Header)
		}
		_, _ = io.WriteString(w, "ok")
	}))
	t.Cleanup(live.Close)
	dead := httptest.NewServer(nil)
	dead.Close()
	c := mustCaller(t, dead.URL, live.URL+"/base/")
	if _, _, err := c.call(someone, nil); err == nil {
		t.Fatal("a dead node answers")
	}
	if status, body, err := c.call(someone, []byte("{}")); err != nil || status != 200 || string(body) != "ok" {
		t.Errorf("got %d %q %v, want 200 ok", status, body, err)
	}
}
