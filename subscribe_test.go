package behalf_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/behalf-platform/behalf"
)

// telling is a client of a server that has so many events, and breaks off after
// some of them each time it is asked.
func telling(t *testing.T, events, each int) (client *behalf.Client, asked func() []string) {
	t.Helper()
	var queries []string
	client = handledBy(t, func(w http.ResponseWriter, r *http.Request) {
		queries = append(queries, r.URL.RawQuery)
		from := 0
		if after := r.URL.Query().Get("after"); after != "" {
			_, _ = fmt.Sscanf(after, "cursor_%d", &from)
		}
		for i := from + 1; i <= min(events, from+each); i++ {
			_, _ = fmt.Fprintf(w, `{"specversion":"1.0","id":"evt_%d","type":"verification.denied","subject":"ollie","sequence":"%04d","cursor":"cursor_%d","data":%s}`+"\n\n",
				i, i, i, strings.ReplaceAll(packetWith(`"allowed","allowed":true`, `"denied","allowed":false`), "\n", ""))
		}
	})
	return client, func() []string { return queries }
}

// noted is how far somebody has come, in memory.
type noted struct {
	cursor string
	fail   error
}

func (n *noted) Load(context.Context) (string, error) { return n.cursor, nil }

func (n *noted) Save(_ context.Context, cursor string) error {
	n.cursor = cursor
	return n.fail
}

var errDone = errors.New("done")

// until handles events up to one of them, which it refuses.
func until(id string, got *[]string) func(context.Context, behalf.Event) error {
	return func(_ context.Context, e behalf.Event) error {
		if *got = append(*got, e.ID); e.ID == id {
			return errDone
		}
		return nil
	}
}

func TestASubscriptionGoesOnWhereItWas(t *testing.T) {
	t.Parallel()
	client, asked := telling(t, 5, 2)
	var got []string
	kept := &noted{}
	since := time.Date(2027, 1, 1, 0, 0, 0, 5, time.UTC)
	filter := behalf.EventFilter{Types: []string{"verification.denied", "agent.*"}, Agents: []string{"ollie"}}
	err := client.Subscribe(t.Context(), behalf.From{Cursors: kept, Since: since}, filter, until("evt_5", &got))
	if !errors.Is(err, errDone) || strings.Join(got, " ") != "evt_1 evt_2 evt_3 evt_4 evt_5" {
		t.Fatalf("got %v, %v", got, err)
	}
	want := []string{
		"agent=ollie&follow=true&since=2027-01-01T00%3A00%3A00.000000005Z&type=verification.denied%2Cagent.%2A",
		"after=cursor_2&agent=ollie&follow=true&type=verification.denied%2Cagent.%2A",
		"after=cursor_4&agent=ollie&follow=true&type=verification.denied%2Cagent.%2A",
	}
	if strings.Join(asked(), "\n") != strings.Join(want, "\n") {
		t.Errorf("got  %q\nwant %q", asked(), want)
	}
	if kept.cursor != "cursor_4" { // the fifth was not handled
		t.Errorf("got the cursor %s, want cursor_4", kept.cursor)
	}
	got = nil
	err = client.Subscribe(t.Context(), behalf.From{Cursors: kept, Beginning: true}, filter, until("evt_5", &got))
	if !errors.Is(err, errDone) || strings.Join(got, " ") != "evt_5" {
		t.Errorf("begun again: got %v, %v, want the one that was not handled", got, err)
	}
}

// Where it begins is kept before anything comes, or what comes before the first
// event was handled would be missed by the next process.
func TestASubscriptionKeepsWhereItBegins(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		from behalf.From
		want string
	}{
		"now":           {behalf.From{}, "since=2"},
		"the beginning": {behalf.From{Beginning: true}, "since=1970-01-01T00:00:00Z"},
		"a time":        {behalf.From{Since: time.Unix(1, 5)}, "since=1970-01-01T00:00:01.000000005Z"},
		"a cursor":      {behalf.From{After: "cursor_3"}, "cursor_3"},
	} {
		kept := &noted{}
		c.from.Cursors = kept
		client := serving(t, 401, `{"error":{"code":"UNAUTHENTICATED","message":"no"}}`)
		err := client.Subscribe(t.Context(), c.from, behalf.EventFilter{}, until("", new([]string)))
		refused, ok := errors.AsType[*behalf.Error](err)
		if !ok || refused.Code != "UNAUTHENTICATED" || !strings.HasPrefix(kept.cursor, c.want) {
			t.Errorf("%s: got %q, %v; want %s and the refusal", name, kept.cursor, err, c.want)
		}
		var since string
		again := handledBy(t, func(w http.ResponseWriter, r *http.Request) {
			since = "since=" + r.URL.Query().Get("since")
			w.WriteHeader(http.StatusConflict)
			_, _ = io.WriteString(w, `{"error":{"code":"CONFLICT","message":"no"}}`)
		})
		if err := again.Subscribe(t.Context(), behalf.From{Cursors: kept}, behalf.EventFilter{}, nil); err == nil {
			t.Errorf("%s: a refusal is no error", name)
		}
		if strings.HasPrefix(c.want, "since") && since != kept.cursor {
			t.Errorf("%s: begun again with %s, want %s", name, since, kept.cursor)
		}
	}
}

func TestACursorThatCanNotBeKeptEndsASubscription(t *testing.T) {
	t.Parallel()
	client, _ := telling(t, 5, 2)
	full := errors.New("the disk is full")
	err := client.Subscribe(t.Context(), behalf.From{Cursors: &noted{fail: full}}, behalf.EventFilter{}, until("evt_5", new([]string)))
	if !errors.Is(err, full) {
		t.Errorf("got %v, want %v", err, full)
	}
}

func TestASubscriptionEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	client, _ := telling(t, 1, 1)
	err := client.Subscribe(ctx, behalf.From{}, behalf.EventFilter{}, func(context.Context, behalf.Event) error {
		cancel()
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}

func TestACursorFile(t *testing.T) {
	t.Parallel()
	file := behalf.CursorFile(filepath.Join(t.TempDir(), "cursor"))
	if got, err := file.Load(t.Context()); got != "" || err != nil {
		t.Errorf("got %q, %v, want nothing yet", got, err)
	}
	for _, cursor := range []string{"a_long_one", "b"} {
		if err := file.Save(t.Context(), cursor); err != nil {
			t.Fatal(err)
		}
		if got, err := file.Load(t.Context()); got != cursor || err != nil {
			t.Errorf("got %q, %v, want %s", got, err, cursor)
		}
	}
	if left, err := os.ReadDir(filepath.Dir(string(file))); err != nil || len(left) != 1 {
		t.Errorf("got %v, %v, want only the file", left, err)
	}
	if err := behalf.CursorFile(filepath.Join(t.TempDir(), "no", "cursor")).Save(t.Context(), "x"); err == nil {
		t.Error("a file in no directory was written")
	}
}

func TestEventsEndWithTheLastOne(t *testing.T) {
	t.Parallel()
	client, _ := telling(t, 3, 3)
	n := 0
	for e, err := range client.Events(t.Context(), behalf.EventQuery{}) {
		if err != nil {
			t.Fatal(err)
		}
		if p, err := e.Packet(); err != nil || p.Decision != behalf.OutcomeDenied {
			t.Errorf("got %+v, %v, want the denial", p, err)
		}
		n++
	}
	if n != 3 {
		t.Errorf("got %d events, want 3", n)
	}
	other := behalf.Event{Type: "agent.disabled", Data: []byte("{}")}
	if _, err := other.Packet(); err == nil {
		t.Error("an agent that was disabled is no decision")
	}
}
