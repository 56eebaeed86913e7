package natsevents

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/projections"
)

// mustAsk reads what a query wants.
func mustAsk(t *testing.T, e *Events, q projections.EventQuery) (got [][]byte) {
	t.Helper()
	if err := e.Read(t.Context(), q, func(event []byte) error { got = append(got, bytes.Clone(event)); return nil }); err != nil {
		t.Fatalf("%+v: %v", q, err)
	}
	return got
}

func TestWhatAQueryWants(t *testing.T) {
	t.Parallel()
	in := mustInstall(t, 3, nil)
	in.mustPut(t, "acct_1", "acct_2", "acct_3")
	run(t, in.events)
	all := in.mustSettle(t)
	binary := in.mustOpen(t, "reader", nil) // reading is the same on any node
	for _, account := range []domain.AccountID{"acct_1", "acct_2", "acct_3"} {
		var want [][]byte
		for _, m := range all[domain.PartitionOf(account, 3)] {
			if bytes.Contains(m.data, []byte(`"/accounts/`+account+`"`)) {
				want = append(want, m.data)
			}
		}
		same := func(name string, got, want [][]byte) {
			t.Helper()
			if !bytes.Equal(bytes.Join(got, []byte("\n")), bytes.Join(want, []byte("\n"))) {
				t.Errorf("%s, %s: got %d events, want %d\ngot  %s\nwant %s", account, name, len(got), len(want), got, want)
			}
		}
		same("all", mustAsk(t, binary, projections.EventQuery{Account: account}), want)
		same("what comes", mustAsk(t, binary, projections.EventQuery{Account: account, New: true}), nil)
		for i, event := range want {
			cursor := field(t, event, "cursor")
			after, err := projections.ParsePublicCursor(cursor)
			if err != nil {
				t.Fatal(err)
			}
			same("after "+cursor, mustAsk(t, binary, projections.EventQuery{Account: account, After: after}), want[i+1:])
		}
		var denied [][]byte
		for _, event := range want {
			if field(t, event, "type") == "verification.denied" && field(t, event, "subject") == "agent_b" {
				denied = append(denied, event)
			}
		}
		if len(denied) != 1 {
			t.Fatalf("got %d denials", len(denied))
		}
		same("one type of one agent", mustAsk(t, binary, projections.EventQuery{
			Account: account, Types: []string{"verification.denied"}, Agents: []domain.AgentID{"agent_b"},
		}), denied)
	}
}

// field is the text of a member of a CloudEvent.
func field(t *testing.T, event []byte, name string) string {
	t.Helper()
	_, rest, _ := bytes.Cut(event, []byte(`"`+name+`":"`))
	text, _, ok := bytes.Cut(rest, []byte{'"'})
	if !ok {
		t.Fatalf("%s has no %s", event, name)
	}
	return string(text)
}

// A reader that follows goes on where it was when its consumer is lost.
func TestAReaderOutlivesItsConsumer(t *testing.T) {
	t.Parallel()
	in := mustInstall(t, 1, nil)
	run(t, in.events)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	seen, ended := make(chan string, 1000), make(chan error, 1)
	go func() {
		ended <- in.events.Read(ctx, projections.EventQuery{Account: "acct_1", Follow: true}, func(event []byte) error {
			seen <- field(t, event, "id")
			return nil
		})
	}()
	stream, err := in.events.js.Stream(ctx, StreamName)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for range 5 {
		in.mustPut(t, "acct_1")
		want := in.mustSettle(t)[0]
		for len(got) < len(want) {
			select {
			case id := <-seen:
				got = append(got, id)
			case <-ctx.Done():
				t.Fatalf("got %d of %d events", len(got), len(want))
			}
		}
		if fmt.Sprint(got) != "["+ids(want)+"]" {
			t.Fatalf("got  %s\nwant [%s]", got, ids(want))
		}
		for name := range stream.ConsumerNames(ctx).Name() {
			if err := stream.DeleteConsumer(ctx, name); err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
				t.Fatal(err)
			}
		}
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}

func TestACursorThatIsNoneOrTooOldIsRefused(t *testing.T) {
	t.Parallel()
	in := mustInstall(t, 2, nil)
	in.mustPut(t, "acct_1", "acct_2", "acct_3", "acct_4")
	stop := run(t, in.events)
	all := in.mustSettle(t)
	stop()
	first, err := projections.ParsePublicCursor(all[0][0].cursor)
	if err != nil {
		t.Fatal(err)
	}
	account := domain.AccountID("")
	for _, a := range []domain.AccountID{"acct_1", "acct_2", "acct_3", "acct_4"} {
		if domain.PartitionOf(a, 2) == 0 {
			account = a
		}
	}
	code := func(c projections.PublicCursor) domain.Code {
		t.Helper()
		err := in.events.Read(t.Context(), projections.EventQuery{Account: account, After: c}, func([]byte) error { return nil })
		var refused *domain.RuleError
		if err != nil && !errors.As(err, &refused) {
			t.Fatal(err)
		}
		if err == nil {
			return ""
		}
		return refused.Code
	}
	other, foreign, future := first, first, first
	other.Position.Epoch++
	foreign.Position.Partition = 1
	future.Position.Seq = 1 << 40
	for name, c := range map[string]projections.PublicCursor{"of another log": other, "of another account's partition": foreign, "of what isn't there": future} {
		if got := code(c); got != domain.Invalid {
			t.Errorf("a cursor %s: got %q, want %s", name, got, domain.Invalid)
		}
	}
	if got := code(first); got != "" {
		t.Errorf("a good cursor: got %q", got)
	}
	config := in.events.wanted()
	config.MaxBytes = 4096 // a few events fit
	if _, err := in.events.js.UpdateStream(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	if got := code(first); got != domain.Conflict {
		t.Errorf("after events that are gone: got %q, want %s", got, domain.Conflict)
	}
}

func TestAReaderThatHasEnoughEndsIt(t *testing.T) {
	t.Parallel()
	in := mustInstall(t, 1, nil)
	in.mustPut(t, "acct_1")
	run(t, in.events)
	in.mustSettle(t)
	enough := errors.New("enough")
	for _, follow := range []bool{false, true} {
		err := in.events.Read(t.Context(), projections.EventQuery{Account: "acct_1", Follow: follow}, func([]byte) error { return enough })
		if !errors.Is(err, enough) || errors.As(err, new(refusedBy)) {
			t.Errorf("got %v, want %v", err, enough)
		}
	}
}
