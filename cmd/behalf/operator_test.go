package main

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Whoever may read the log can't have the server write into it: NATS sends its
// answers to whatever subject they are asked for at, without looking at rights.
func TestTheOperatorReadsTheLogAndWritesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := startServer(t, dir)
	key := s.agent("agent_ollie")
	for range 5 {
		s.must(200, "POST", "/v1/verify", key, purchase)
	}
	var o operator
	raw, err := os.ReadFile(operatorFile(dir))
	if err == nil {
		err = json.Unmarshal(raw, &o)
	}
	if err != nil {
		t.Fatal(err)
	}
	nc, err := nats.Connect(o.URL, nats.UserInfo(operatorName, o.Password), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	stream, err := js.Stream(ctx, "BEHALF")
	if err != nil {
		t.Fatal(err)
	}
	head := stream.CachedInfo().State.LastSeq
	if head == 0 {
		t.Fatal("the log is empty")
	}
	consumer, err := stream.CreateConsumer(ctx, jetstream.ConsumerConfig{AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true})
	if err != nil {
		t.Fatal(err)
	}
	// What would be stored if it came where it is sent to.
	target := "behalf.0.decision.acct_x.agent_x"
	for subject, body := range map[string]string{
		"$JS.API.CONSUMER.MSG.NEXT.BEHALF." + consumer.CachedInfo().Name: `{"batch":1,"no_wait":true}`,
		"$JS.API.CONSUMER.INFO.BEHALF." + consumer.CachedInfo().Name:     ``,
		"$JS.API.STREAM.INFO.BEHALF":                                     ``,
		"$JS.API.STREAM.MSG.GET.BEHALF":                                  `{"seq":1}`,
		"$JS.API.DIRECT.GET.BEHALF":                                      `{"seq":1}`,
		"$JS.API.INFO":                                                   ``,
	} {
		if err := nc.PublishRequest(subject, target, []byte(body)); err != nil {
			t.Fatal(err)
		}
		// In order behind it comes an answer, so it has been served by then.
		if m, err := nc.RequestWithContext(ctx, subject, []byte(body)); err != nil || len(m.Data) == 0 && m.Header == nil {
			t.Errorf("%s: got no answer at an inbox: %v", subject, err)
		}
	}
	if _, err := stream.CreateConsumer(ctx, jetstream.ConsumerConfig{DeliverSubject: target, AckPolicy: jetstream.AckNonePolicy}); err == nil {
		t.Error("a consumer may push into the log")
	}
	for _, subject := range []string{target, "$JS.API.STREAM.DELETE.BEHALF", "$JS.API.CONSUMER.CREATE.BEHALF_EVENTS.x"} {
		if mayPublishAs(t, nc, subject) {
			t.Errorf("it may publish to %s", subject)
		}
	}
	info, err := stream.Info(ctx)
	if err != nil || info.State.LastSeq != head {
		t.Errorf("the log reaches to %d, %v, want %d", info.State.LastSeq, err, head)
	}
	if code, out, errs := command(t, nil, "log", "check", "--data", dir); code != 0 || !strings.Contains(out, "the log is sound") {
		t.Errorf("log check: got exit code %d, %s%s", code, out, errs)
	}
}

func mayPublishAs(t *testing.T, nc *nats.Conn, subject string) bool {
	t.Helper()
	before := nc.LastError()
	if err := nc.Publish(subject, nil); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	return nc.LastError() == before // each violation is an error of its own
}
