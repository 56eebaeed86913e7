package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/behalf-platform/behalf"
	"github.com/behalf-platform/behalf/infra/webhooksig"
)

// Two nodes share a server on which the log has several partitions. When the one
// goes that sends the webhooks, the other one goes on where it was: every event
// comes, those of an agent in their order.
func TestWebhooksOfTwoNodesWithPartitions(t *testing.T) {
	t.Parallel()
	key := filepath.Join(t.TempDir(), "webhooks.key")
	if _, err := webhooksig.OpenOrMakeMaster(key); err != nil {
		t.Fatal(err)
	}
	nodes := startNodes(t, startNATS(t), hookFlags("--partitions", "3", "--durability", "os", "--webhook-key", key)...)
	tr := &hookTrial{t: t, tickets: make(chan struct{}), answered: map[string]bool{}}
	for _, ordering := range []string{"per_agent", "strict"} {
		r := &hookReceiver{t: t, name: ordering, ordering: ordering, times: map[string]int{}, forms: map[string]int{}}
		r.mustListen()
		tr.receivers = append(tr.receivers, r)
	}
	tr.asked.Store(nodes[0])
	tr.told.Store(nodes[0])
	keys := tr.begin()
	tr.createAll()
	for _, agent := range keys {
		tr.asks.Go(func() { tr.ask(agent) })
	}
	tr.feed(100)
	owner := tr.sender(nodes)
	left := nodes[1-owner]
	tr.asked.Store(left)
	tr.told.Store(left)
	var stopping sync.WaitGroup
	stopping.Go(func() {
		if err := nodes[owner].stop(); err != nil {
			t.Error(err)
		}
	})
	tr.feed(100)
	stopping.Wait()
	tr.feed(50) // to who is alone
	tr.feeding.Wait()
	close(tr.tickets)
	tr.asks.Wait()

	want := tr.wanted()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	_ = waitUntil(ctx, func() bool { // what is missing is told below
		return tr.receivers[0].missing(want)+tr.receivers[1].missing(want) == 0
	})
	for _, r := range tr.receivers {
		r.report(want)
	}
	newest := map[string]behalf.Event{}
	for _, e := range want {
		if e.Sequence <= newest[e.AgentID].Sequence {
			t.Errorf("the event %s of %s was published after %s", e.Sequence, e.AgentID, newest[e.AgentID].Sequence)
		}
		newest[e.AgentID] = e
	}
	if len(want) < 250 {
		t.Errorf("got %d events, want one of each decision", len(want))
	}
}

// sender is the node that delivers to the receivers, once one does.
func (tr *hookTrial) sender(nodes []*server) (i int) {
	tr.t.Helper()
	ctx, cancel := context.WithTimeout(tr.t.Context(), time.Minute)
	defer cancel()
	series := fmt.Sprintf("behalf_webhook_attempts_total{endpoint=%q,result=\"ok\"}", tr.receivers[0].webhook.WebhookID)
	err := waitUntil(ctx, func() bool {
		for i = range nodes {
			if _, text, err := nodes[i].do("GET", "/metrics", "", ""); err == nil && strings.Contains(text, series) {
				return true
			}
		}
		return false
	})
	if err != nil {
		tr.t.Fatalf("no node delivers: %v", err)
	}
	return i
}
