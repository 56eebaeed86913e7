package natslog_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/infra/embedded"
	"github.com/behalf-platform/behalf/infra/logtest"
)

// envKilledIn tells a process of this test in which directory to keep a log
// until it is killed.
const envKilledIn = "BEHALF_TEST_KILLED_IN"

func TestWhatWasAcknowledgedSurvivesAKill(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	n := node{config: embedded.Config{Dir: t.TempDir()}, partitions: 1}
	acked := map[domain.EventID]uint64{}
	for range 2 { // the second one goes on with what the first one left
		cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestProcessToKill$", "-test.count=1")
		cmd.Env = append(os.Environ(), envKilledIn+"="+n.config.Dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for i := 0; lines.Scan(); i++ {
			var id domain.EventID
			var seq uint64
			if _, err := fmt.Sscan(lines.Text(), &id, &seq); err != nil {
				t.Fatalf("the process says %q", lines.Text())
			}
			acked[id] = seq
			if i == 100 {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := cmd.Wait(); err == nil {
			t.Fatal("the process ended before it was killed")
		}
	}

	records, err := logtest.All(ctx, mustRun(t, n), 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := logtest.Check(records); err != nil {
		t.Error(err)
	}
	for _, r := range records {
		if at, ok := acked[r.ID]; ok && at != r.Position.Seq {
			t.Errorf("%s is at %d, was acknowledged at %d", r.ID, r.Position.Seq, at)
		}
		delete(acked, r.ID)
	}
	for id, at := range acked {
		t.Errorf("%s was acknowledged at %d and is lost", id, at)
	}
	for i, r := range records {
		if r.Event.Kind() == domain.KindDecisionMade && (i+1 == len(records) || records[i+1].Event.Kind() != domain.KindBudgetCharged) {
			t.Errorf("the decision at %d is there without its charge", r.Position.Seq)
		}
	}
}

// TestProcessToKill appends for ever, with several writers, one record or two
// at a time, and says what was acknowledged.
func TestProcessToKill(t *testing.T) {
	dir := os.Getenv(envKilledIn)
	if dir == "" {
		t.Skip("only for processes that another test starts")
	}
	l := mustRun(t, node{config: embedded.Config{Dir: dir}, partitions: 1})
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for j := 0; ; j++ {
				records := []domain.Record{enabled(0)}
				if i%2 == 0 {
					records = spent("", j)
				}
				for k := range records {
					records[k].ID = domain.EventID(fmt.Sprintf("evt_%d_%d_%d_%d", os.Getpid(), i, j, k))
					records[k].Agent = domain.AgentID(fmt.Sprintf("agent_%d", i))
				}
				receipts, err := logtest.PutAll(t.Context(), l, records...)
				if err != nil {
					t.Error(err)
					return
				}
				for k, r := range receipts {
					fmt.Println(records[k].ID, r.Position.Seq)
				}
			}
		})
	}
	wg.Wait()
}
