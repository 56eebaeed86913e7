package natsevents

import (
	"context"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/behalf-platform/behalf/domain"
)

// A batch is work: it is begun before anything is published, and rested from
// afterwards, with nothing held that others wait for.
func TestThePublisherGivesWayAfterEachBatch(t *testing.T) {
	var did []string
	s := &session{}
	s.Events = &Events{Config: Config{Log: settled{}, Work: func() func(context.Context) {
		did = append(did, "work")
		return func(context.Context) {
			if !s.mu.TryLock() {
				t.Error("others wait while the publisher rests")
				return
			}
			s.mu.Unlock()
			did = append(did, "rest")
		}
	}}}
	s.reached.places = map[uint16]place{}
	m := message.NewMessageWithContext(context.WithValue(t.Context(), batchKey{}, &batch{records: []domain.Recorded{
		{Record: domain.Record{ID: "evt_1", Event: domain.BudgetCharged{}}}, // is not public
	}}), "", nil)
	if err := s.publish(m); err != nil {
		t.Fatal(err)
	}
	if len(did) != 2 || did[0] != "work" || did[1] != "rest" {
		t.Errorf("got %v, want work and rest", did)
	}
}

// settled is a log that nobody has to wait for.
type settled struct{ Log }

func (settled) Settle(context.Context) error { return nil }
