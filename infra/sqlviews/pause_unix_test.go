//go:build unix

package sqlviews_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/behalf-platform/behalf/projections"
)

// TestOwnerProcess is not a test: it is the process that the next one pauses. It
// owns a projection, and when it is told to, writes as if it still did.
func TestOwnerProcess(t *testing.T) {
	url := os.Getenv(ownerURL)
	if url == "" {
		t.Skip("it is run by another test")
	}
	s, v := mustOpen(t, url), view(projections.ProjectionDecisions, 1)
	release, lost, err := s.Own(t.Context(), v.Projection)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	fmt.Println("owned")
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	h := newHistory(14).grow(100)
	err = s.Apply(t.Context(), v, span(0, 50), mustBatch(t, v.Projection, h.events[:50]))
	fmt.Println("stale:", errors.Is(err, projections.ErrStale))
	<-lost
	fmt.Println("lost")
}

func TestAPausedOwnerIsReplacedAndWritesNothing(t *testing.T) {
	t.Parallel()
	url := mustURL(t, "postgres")
	s, v, h := mustOpen(t, url), view(projections.ProjectionDecisions, 1), newHistory(14).grow(100)
	mustBegin(t, s, v)
	owner := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestOwnerProcess$")
	owner.Env = append(os.Environ(), ownerURL+"="+url)
	in, err := owner.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := owner.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := owner.Start(); err != nil {
		t.Fatal(err)
	}
	said := bufio.NewScanner(out)
	mustSay := func(want string) {
		t.Helper()
		for said.Scan() {
			if text := said.Text(); strings.HasPrefix(text, want) {
				return
			}
		}
		t.Fatalf("the owner ended, want it to say %q", want)
	}
	mustSay("owned")
	if err := owner.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	release, _, err := s.Own(t.Context(), v.Projection)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	if took := time.Since(begun); took > 15*time.Second {
		t.Errorf("it took %s to take over, want seconds", took)
	}
	mustProject(t, s, v, h, 30)
	want := mustDump(t, s, v)
	if err := owner.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintln(in); err != nil {
		t.Fatal(err)
	}
	mustSay("stale: true")
	mustSay("lost")
	if err := owner.Wait(); err != nil {
		t.Fatal(err)
	}
	if got := mustDump(t, s, v); got != want {
		t.Errorf("got other rows after the paused owner wrote\n%s", firstDifference(got, want))
	}
}
