package delivery_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers/delivery"
)

// natsBook is a log in JetStream: each message of its stream is one.
type natsBook struct {
	js     jetstream.JetStream
	stream jetstream.Stream
}

const bookStream = "BOOK"

// entry is a message of the log, as it is in the stream and as it is sent.
type entry struct {
	ID    string         `json:"id"`
	Agent domain.AgentID `json:"agent"`
	At    time.Time      `json:"at"`
}

func openBook(ctx context.Context, nc *nats.Conn) (natsBook, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return natsBook{}, err
	}
	stream, err := js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{Name: bookStream, Subjects: []string{"book"}})
	return natsBook{js, stream}, err
}

func (b natsBook) Partitions() int { return 1 }

func (b natsBook) Bounds(ctx context.Context, _ uint16) (uint64, uint64, error) {
	info, err := b.stream.Info(ctx)
	if err != nil {
		return 0, 0, err
	}
	return info.State.FirstSeq, info.State.LastSeq, nil
}

func (b natsBook) SeqAt(context.Context, uint16, time.Time) (uint64, error) {
	return 0, errors.New("nobody asks")
}

func (b natsBook) Scan(ctx context.Context, s delivery.Stretch, yield func(delivery.Step) error) error {
	if s.From == s.Through {
		m, err := b.stream.GetMsg(ctx, s.From)
		if err != nil {
			return err
		}
		return yieldEntry(m.Sequence, m.Data, yield)
	}
	consumer, err := b.stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: max(s.From, 1),
	})
	if err != nil {
		return err
	}
	defer func() {
		short, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = b.js.DeleteConsumer(short, bookStream, consumer.CachedInfo().Name) // else the server does
	}()
	messages, err := consumer.Messages()
	if err != nil {
		return err
	}
	defer messages.Stop()
	for {
		next, cancel := context.WithTimeout(ctx, 5*time.Second)
		m, err := messages.Next(jetstream.NextContext(next))
		cancel()
		if err != nil && ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) && s.Live {
			continue
		}
		if err != nil {
			return err
		}
		meta, err := m.Metadata()
		if err != nil {
			return err
		}
		seq := meta.Sequence.Stream
		if !s.Live && seq > s.Through {
			return nil
		}
		err = yieldEntry(seq, m.Data(), yield)
		if err != nil || !s.Live && seq == s.Through {
			return err
		}
	}
}

func yieldEntry(seq uint64, data []byte, yield func(delivery.Step) error) error {
	var e entry
	if err := json.Unmarshal(data, &e); err != nil {
		return err
	}
	return yield(delivery.Step{Account: account, Seq: seq, Messages: []*delivery.Message{
		{ID: e.ID, Type: "decision.allowed", Agent: e.Agent, At: e.At, Seq: seq, Data: data},
	}})
}

// poster sends by plain HTTP.
type poster struct{ client *http.Client }

func newPoster(timeout time.Duration) poster {
	transport := &http.Transport{MaxIdleConnsPerHost: 256, DialContext: (&net.Dialer{Timeout: timeout}).DialContext}
	return poster{&http.Client{
		Transport: transport, Timeout: timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

func (p poster) Send(ctx context.Context, e delivery.Endpoint, m delivery.Message, replay string) delivery.Result {
	began := time.Now()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.URL, strings.NewReader(string(m.Data)))
	if err != nil {
		return delivery.Result{Category: delivery.Blocked}
	}
	req.Header.Set("webhook-id", m.ID)
	if replay != "" {
		req.Header.Set("webhook-replay", replay)
	}
	res, err := p.client.Do(req)
	if err != nil {
		category := delivery.Connect
		var timeout interface{ Timeout() bool }
		if errors.As(err, &timeout) && timeout.Timeout() {
			category = delivery.Timeout
		}
		return delivery.Result{Category: category, Latency: time.Since(began)}
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 1024))
	if err != nil {
		return delivery.Result{Category: delivery.Broken, Latency: time.Since(began)}
	}
	return delivery.Result{
		Status: res.StatusCode, Category: delivery.Answered, Latency: time.Since(began), Answer: body, Key: 1,
	}
}

// silent takes reports and does nothing.
type silent struct{}

func (silent) Report(context.Context, delivery.Report) error { return nil }

// killRules are the usual ones in a hurry.
func killRules() *delivery.Rules {
	r := delivery.Usual()
	r.FirstPause, r.LongestPause = 50*time.Millisecond, 400*time.Millisecond
	r.Schedule = nil
	for range 200 {
		r.Schedule = append(r.Schedule, 300*time.Millisecond)
	}
	r.Beat, r.Lapse = 100*time.Millisecond, 400*time.Millisecond
	return &r
}

func entryID(i int) string { return fmt.Sprintf("evt_%d", i) }
