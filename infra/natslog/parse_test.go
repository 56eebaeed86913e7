package natslog

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/behalf-platform/behalf/domain"
)

func TestSubjects(t *testing.T) {
	s := newSubjects(7)
	for _, c := range []struct {
		stream          domain.Stream
		state, decision string
	}{
		{domain.Stream{Account: "a"}, "behalf.7.account.a", "behalf.7.decision.a.*"},
		{domain.Stream{Account: "a", Agent: "b"}, "behalf.7.agent.a.b", "behalf.7.decision.a.b"},
	} {
		state, err := s.state(c.stream)
		decision, err2 := s.decision(c.stream)
		if err != nil || err2 != nil || state != c.state || decision != c.decision {
			t.Errorf("%s: got %s, %s and errors %v, %v, want %s and %s", c.stream, state, decision, err, err2, c.state, c.decision)
		}
		if got, isDecision, ok := s.parse(state); got != c.stream || isDecision || !ok {
			t.Errorf("parse %s: got %s, %v, %v", state, got, isDecision, ok)
		}
	}
	if got, isDecision, ok := s.parse("behalf.7.decision.a.b"); got != (domain.Stream{Account: "a", Agent: "b"}) || !isDecision || !ok {
		t.Errorf("parse a decision: got %s, %v, %v", got, isDecision, ok)
	}
}

func FuzzSubject(f *testing.F) {
	for _, subject := range []string{
		"behalf.7.account.a", "behalf.7.agent.a.b", "behalf.7.decision.a.b", "behalf.7.decision.a.*", "behalf.7.agent.>", "behalf.7.agent.a",
		"behalf.7.decision.a", "behalf.7.agent.a.b.c", "behalf.7.account.a.b", "behalf.7.account.", "behalf.7.agent..b", "behalf.8.account.a", "",
	} {
		f.Add(subject)
	}
	s := newSubjects(7)
	f.Fuzz(func(t *testing.T, subject string) {
		of, decision, ok := s.parse(subject)
		if !ok {
			return
		}
		name := s.state
		if decision {
			name = s.decision
		}
		if got, err := name(of); err != nil || got != subject {
			t.Errorf("%q is parsed as %+v, which is %q, with error %v", subject, of, got, err)
		}
	})
}

func TestAcknowledgements(t *testing.T) {
	p := &partition{acked: []byte(`{"stream":"BEHALF","seq":`)}
	for answer, want := range map[string]ack{
		`{"stream":"BEHALF","seq":12}`:                   {Seq: 12},
		`{"stream":"BEHALF","seq":18446744073709551615}`: {Seq: 1<<64 - 1},
		`{"stream":"BEHALF","seq":12,"duplicate": true}`: {Seq: 12, Duplicate: true},
		`{"stream":"BEHALF","domain":"hub","seq":12}`:    {Seq: 12},
		`{"error":{"code":400,"err_code":10071,"description":"wrong last sequence: 8"},"stream":"BEHALF","seq":0}`: {},
		`{"error":{"code":400,"err_code":10164,"description":"wrong last sequence"},"stream":"BEHALF","seq":0}`:    {},
		`{"error":{"code":409,"err_code":10158,"description":"duplicate"},"stream":"BEHALF","seq":0}`:              {},
	} {
		got, err := p.parseAck([]byte(answer))
		if got != want || want == (ack{}) != errors.Is(err, domain.ErrMoved) {
			t.Errorf("%s: got %+v and error %v, want %+v", answer, got, err, want)
		}
	}
	for _, answer := range []string{
		"", "+OK", "{}", `{"stream":"BEHALF","seq":}`, `{"stream":"BEHALF","seq":-1}`, `{"stream":"BEHALF","seq":0,"duplicate":true}`,
		`{"stream":"BEHALF","seq":12`, `{"error":{"code":503,"err_code":10077,"description":"store failed"},"stream":"BEHALF","seq":12}`,
	} {
		if got, err := p.parseAck([]byte(answer)); err == nil || errors.Is(err, domain.ErrMoved) || got != (ack{}) {
			t.Errorf("%s: got %+v and error %v, want an error", answer, got, err)
		}
	}
	var api *jetstream.APIError
	if _, err := p.parseAck([]byte(`{"error":{"code":503,"err_code":10077}}`)); !errors.As(err, &api) || api.ErrorCode != 10077 {
		t.Errorf("got %v, want the server's error", err)
	}
}

func TestTheQueueLetsOneInAtATime(t *testing.T) {
	t.Parallel()
	q := newQueue()
	var inside [2]int // guarded by the queue, by its guard
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			leave, err := q.enter(t.Context(), fmt.Sprint(i%2))
			if err != nil {
				t.Error(err)
				return
			}
			if inside[i%2]++; inside[i%2] != 1 {
				t.Errorf("%d are inside", inside[i%2])
			}
			inside[i%2]--
			leave()
		})
	}
	wg.Wait()

	leave, err := q.enter(t.Context(), "guard")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	wg.Go(func() {
		if _, err := q.enter(ctx, "guard"); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want %v", err, context.Canceled)
		}
	})
	stop()
	wg.Wait()
	leave()
	if len(q.lines) > 0 {
		t.Errorf("got %d lines that nobody stands in", len(q.lines))
	}
}
