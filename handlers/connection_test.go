package handlers_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/behalf-platform/behalf/handlers/httpapi"
)

// pipes is a listener whose connections are in memory, so that their deadlines
// are of a bubble's time.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	conn, ok := <-p
	if !ok {
		return nil, net.ErrClosed
	}
	return conn, nil
}
func (p pipes) Close() error   { close(p); return nil } // a server does once
func (p pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

// serve serves a node over connections with the deadlines that the program has.
func (n *node) serve(t *testing.T) *http.Client {
	t.Helper()
	listener := make(pipes)
	server := &http.Server{
		Handler:     httpapi.New(t.Context(), n.Desk, slog.New(slog.DiscardHandler)).Handler(),
		ReadTimeout: 30 * time.Second, WriteTimeout: 30 * time.Second, ReadHeaderTimeout: 5 * time.Second,
	}
	transport := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		here, there := net.Pipe()
		listener <- there
		return here, nil
	}}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		_ = server.Close()
		synctest.Wait()
	})
	return &http.Client{Transport: transport}
}

func get(t *testing.T, client *http.Client, path, token string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://behalf.invalid"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	answer, err := client.Do(r)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return answer
}

// A wait outlasts the deadlines that other answers have.
func TestWaitOutlastsTheDeadlines(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		o := b.office(t, asks)
		path := o.asked(purchase)
		client := o.n.serve(t)
		for range 2 { // over one connection
			began := time.Now()
			answer := get(t, client, path+"?wait=60s", o.key)
			body, err := io.ReadAll(answer.Body)
			_ = answer.Body.Close()
			if took := time.Since(began); err != nil || answer.StatusCode != 200 || !strings.Contains(string(body), `"pending"`) || took < time.Minute {
				t.Errorf("got %d %s, %v after %s, want it pending after a minute", answer.StatusCode, body, err, took)
			}
		}
	})
}

// A caller who has gone is not waited for.
func TestWaitEndsWithItsCaller(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		o := b.office(t, asks)
		path := o.asked(purchase)
		client := o.n.serve(t)
		for range 40 { // more than may wait at once
			gone, leave := context.WithTimeout(t.Context(), time.Second)
			r, err := http.NewRequestWithContext(gone, http.MethodGet, "http://behalf.invalid"+path+"?wait=60s", nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Authorization", "Bearer "+o.key)
			if answer, err := client.Do(r); err == nil {
				t.Errorf("got %d, want no answer", answer.StatusCode)
				_ = answer.Body.Close()
			}
			leave()
		}
		synctest.Wait()
		o.must(200, "GET", path+"?wait=1s", o.key, "")
	})
}

// A stream of decisions has no end of its own.
func TestStreamOutlastsTheDeadlines(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		o := b.office(t, `{"action":"purchase"}`)
		answer := get(t, o.n.serve(t), "/v1/decisions?follow=true", o.key)
		lines := make(chan string)
		go func() {
			defer close(lines)
			buffer := make([]byte, 4096)
			for {
				n, err := answer.Body.Read(buffer)
				if text := strings.TrimSpace(string(buffer[:n])); text != "" {
					lines <- text
				}
				if err != nil {
					return
				}
			}
		}()
		time.Sleep(2 * time.Minute)
		o.verified(`{"action":"purchase"}`, "ALLOWED")
		select {
		case line, open := <-lines:
			if !open || !strings.Contains(line, `"ALLOWED"`) {
				t.Errorf("got %q, want the decision", line)
			}
		case <-time.After(time.Minute):
			t.Error("got nothing, want the decision")
		}
		_ = answer.Body.Close()
		for range lines {
		}
	})
}
