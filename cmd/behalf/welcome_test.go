package main

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/behalf-platform/behalf/domain"
)

// A node that could decide has nobody to decide for until the first start has
// made the owner.
func TestANodeIsNotReadyBeforeItHasAnOwner(t *testing.T) {
	t.Parallel()
	n := &node{logs: slog.New(slog.DiscardHandler), rechecks: newRechecks()}
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	n.cfg.flags(flags)
	if err := flags.Parse([]string{"--data", t.TempDir(), "--nats-listen", "off"}); err != nil {
		t.Fatal(err)
	}
	n.cfg.settle()
	n.wire()
	var err error
	if n.broker, err = connect(n.cfg, n.authenticate, n.logs); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := n.broker.close(); err != nil {
			t.Error(err)
		}
	}()
	ctx, stop := context.WithTimeout(t.Context(), 30*time.Second)
	defer stop()
	if err := n.open(ctx); err != nil {
		t.Fatal(err)
	}
	reading, stopReading := context.WithCancel(ctx)
	var parts sync.WaitGroup
	defer parts.Wait()
	defer stopReading()
	parts.Go(func() { _ = n.log.Follow(reading, 0, 0, n.fold) })
	parts.Go(func() { _ = n.gate.Run(reading) })
	if err := waitUntil(ctx, func() bool { return n.gate.IsReady() == nil }); err != nil {
		t.Fatal(err)
	}
	ask := func() (int, string) {
		w := httptest.NewRecorder()
		n.routes(http.NotFoundHandler()).ServeHTTP(w, httptest.NewRequest("GET", "/readyz", nil))
		return w.Code, w.Body.String()
	}
	if status, text := ask(); status != 503 || !strings.Contains(text, "account is not open yet") {
		t.Errorf("before there is an owner: got %d %q, want that it is not ready", status, text)
	}
	if err := n.welcome(ctx, &net.TCPAddr{}, testToken, io.Discard); err != nil {
		t.Fatal(err)
	}
	if _, _, known := n.passports.ByToken(domain.HashToken(testToken)); !known {
		t.Error("the owner is not known")
	}
	if status, text := ask(); status != 200 {
		t.Errorf("with an owner: got %d %q, want it ready", status, text)
	}
}
