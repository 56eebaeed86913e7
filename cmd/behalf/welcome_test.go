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

// mustNode is a node whose log is new, and without an owner.
func mustNode(t *testing.T) *node {
	t.Helper()
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
	t.Cleanup(func() {
		if err := n.broker.close(); err != nil {
			t.Error(err)
		}
	})
	if err := n.open(t.Context()); err != nil {
		t.Fatal(err)
	}
	reading, stop := context.WithCancel(t.Context())
	var parts sync.WaitGroup
	t.Cleanup(parts.Wait)
	t.Cleanup(stop)
	parts.Go(func() { _ = n.log.Follow(reading, 0, 0, n.fold) })
	parts.Go(func() { _ = n.gate.Run(reading) })
	if err := waitUntil(t.Context(), func() bool { return n.gate.IsReady() == nil }); err != nil {
		t.Fatal(err)
	}
	return n
}

// A node that could decide has nobody to decide for until the first start has
// made the owner.
func TestANodeIsNotReadyBeforeItHasAnOwner(t *testing.T) {
	t.Parallel()
	n := mustNode(t)
	ask := func() (int, string) {
		w := httptest.NewRecorder()
		n.routes(http.NotFoundHandler()).ServeHTTP(w, httptest.NewRequest("GET", "/readyz", nil))
		return w.Code, w.Body.String()
	}
	if status, text := ask(); status != 503 || !strings.Contains(text, "account is not open yet") {
		t.Errorf("before there is an owner: got %d %q, want that it is not ready", status, text)
	}
	if err := n.welcome(t.Context(), &net.TCPAddr{}, testToken, io.Discard); err != nil {
		t.Fatal(err)
	}
	if _, _, known := n.passports.ByToken(domain.HashToken(testToken)); !known {
		t.Error("the owner is not known")
	}
	if status, text := ask(); status != 200 {
		t.Errorf("with an owner: got %d %q, want it ready", status, text)
	}
}

// An agent of an older log may be called what nobody may by now. It is read, and
// may do over HTTP what it might; over NATS it would be taken for somebody else.
func TestAnAgentOfAnOlderLogIsNotTakenForSomebodyElse(t *testing.T) {
	t.Parallel()
	n := mustNode(t)
	if err := n.welcome(t.Context(), &net.TCPAddr{}, testToken, io.Discard); err != nil {
		t.Fatal(err)
	}
	account, _, _ := n.passports.ByToken(domain.HashToken(testToken))
	for _, tt := range []struct {
		id  domain.AgentID
		may bool
	}{
		{"agent_ollie", true},
		{"behalf-operator", false},
		{"_BEHALF", false},
		{"mem_01JZ0000000000000000000000", false},
	} {
		key := "key of " + string(tt.id)
		_, err := n.log.Append(t.Context(), 0, domain.Record{
			ID: domain.EventID("evt_" + tt.id), At: time.Now(), Actor: domain.ByMember("mem_old"), Account: account, Agent: tt.id,
			Event: domain.AgentRegistered{Name: "Old", Type: domain.Native, Key: domain.HashToken(key)},
		}, "")
		if err != nil {
			t.Fatal(err)
		}
		s := domain.Stream{Account: account, Agent: tt.id}
		if err := waitUntil(t.Context(), func() bool { return n.passports.Agent(s).Status == domain.AgentActive }); err != nil {
			t.Fatalf("%s is not read: %v", tt.id, err)
		}
		if err := waitUntil(t.Context(), func() bool { return n.gate.MayDecide() == nil }); err != nil {
			t.Fatal(err)
		}
		may := func() bool { _, may := n.authenticate("", key); return may }
		if tt.may { // unless the gate doubts its clock just then
			err = waitUntil(t.Context(), may)
		}
		if err != nil || !tt.may && may() {
			t.Errorf("%s: got that it may use NATS: %t, want %t", tt.id, !tt.may, tt.may)
		}
	}
}
