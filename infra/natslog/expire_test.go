package natslog_test

import (
	"testing"
	"time"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/infra/embedded"
	"github.com/behalf-platform/behalf/infra/logtest"
)

func TestAStreamOfBeforeLetsDecisionsExpireAndKeepsItsPromises(t *testing.T) {
	t.Parallel()
	s := mustServe(t)
	mustOpenConfig(t, s.config(1))
	js := mustJetStream(t, s.conn)
	made, err := js.Stream(t.Context(), "BEHALF")
	if err != nil {
		t.Fatal(err)
	}
	before := made.CachedInfo().Config
	if err := js.DeleteStream(t.Context(), "BEHALF"); err != nil {
		t.Fatal(err)
	}
	before.AllowMsgTTL = false
	if _, err := js.CreateStream(t.Context(), before); err != nil {
		t.Fatal(err)
	}
	reading := s.config(1)
	reading.ReadOnly = true
	mustOpenConfig(t, reading) // as it is
	if info, err := js.Stream(t.Context(), "BEHALF"); err != nil || info.CachedInfo().Config.AllowMsgTTL {
		t.Fatalf("after reading: got error %v, want the stream as it was", err)
	}
	l := mustOpenConfig(t, s.config(1))
	stream, err := js.Stream(t.Context(), "BEHALF")
	if err != nil {
		t.Fatal(err)
	}
	c := stream.CachedInfo().Config
	if !c.AllowMsgTTL || !c.DenyDelete || !c.DenyPurge || !c.AllowDirect || !c.AllowAtomicPublish || c.AllowRollup || c.SubjectDeleteMarkerTTL != 0 {
		t.Errorf("got %+v, want it as before but for AllowMsgTTL", c)
	}
	if got := c.Metadata["behalf-epoch"]; got != before.Metadata["behalf-epoch"] {
		t.Errorf("got epoch %s, want %s", got, before.Metadata["behalf-epoch"])
	}
	r := denied("evt_1")
	r.Keep = time.Second
	if _, err := logtest.Put(t.Context(), l, r); err != nil {
		t.Fatal(err)
	}
	for { // that it goes is what is waited for; that nothing comes in its place, what is looked at
		info, err := stream.Info(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if info.State.Msgs == 0 {
			if info.State.LastSeq != 1 {
				t.Errorf("the stream is at %d, want 1: a marker came", info.State.LastSeq)
			}
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func denied(id domain.EventID) domain.Record {
	return domain.Record{
		ID: id, At: time.Now(), Actor: domain.ByAgent("agent_a"), Account: "acct_a", Agent: "agent_a",
		Event: domain.DecisionMade{RequestID: domain.RequestID("req_" + id), Outcome: domain.OutcomeDenied, Request: domain.Request{Action: "buy"}},
	}
}

// A hole is a loss where no account ever let its decisions go.
func TestAHoleThatNothingExplainsIsRefused(t *testing.T) {
	t.Parallel()
	for name, keep := range map[string]domain.Duration{"none ever let go": 0, "one lets go": domain.LeastRetention} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := node{config: embedded.Config{Dir: t.TempDir(), Durability: embedded.OS}, partitions: 1}
			l := mustRun(t, n)
			settings := denied("evt_settings")
			settings.Agent, settings.Event = "", domain.AccountSettingsChanged{Name: "Home", Currency: "USD", DecisionRetention: keep}
			brief := denied("evt_brief")
			brief.Keep = time.Second
			for _, r := range []domain.Record{settings, brief, denied("evt_2")} {
				if _, err := logtest.Put(t.Context(), l, r); err != nil {
					t.Fatal(err)
				}
			}
			stream, err := mustJetStream(t, l.conn).Stream(t.Context(), "BEHALF")
			if err != nil {
				t.Fatal(err)
			}
			for left := uint64(3); left > 2; {
				info, err := stream.Info(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				left = info.State.Msgs
				time.Sleep(20 * time.Millisecond)
			}
			if keep > 0 {
				mustOpenConfig(t, l.config(1))
				return
			}
			refuses(t, l.config(1), "does not have all records", "2 messages from sequence 1 to 3")
		})
	}
}
