package sqlviews_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/projections"
)

// What is read of one history is the same whenever and however it was written:
// after a restart, where a release before this one wrote it, and on the other
// store.
func TestReplayedHistoryIsTheSame(t *testing.T) {
	t.Parallel()
	l := mustLog(t, newHistory(41))
	if err := l.grow(t.Context(), 900); err != nil {
		t.Fatal(err)
	}
	events := l.mustScan(t)
	want, kinds := l.mustRows(t, "sqlite", events), map[domain.Kind]bool{}
	for _, r := range events {
		kinds[r.Event.Kind()] = true
	}
	if len(kinds) != len(domain.Kinds())-1 { // but for what gives back to an account's limits
		t.Errorf("got %d kinds of events, want all but one of %d", len(kinds), len(domain.Kinds()))
	}
	older := mustLog(t, nil)
	older.mustCopyAsOlder(t, l)
	found := older.mustScan(t)
	for i := range found { // when it was copied is no part of a record
		found[i].LoggedAt = events[i].LoggedAt
	}
	l.stop()
	l.mustStart(t)
	again := l.mustScan(t)
	for name, got := range map[string]map[projections.Projection]string{
		"on PostgreSQL":                  l.mustRows(t, "postgres", events),
		"after a restart":                l.mustRows(t, "sqlite", again),
		"after a restart, on PostgreSQL": l.mustRows(t, "postgres", again),
		"of an older release":            older.mustRows(t, "sqlite", found),
		"of an older one, on PostgreSQL": older.mustRows(t, "postgres", found),
	} {
		for _, p := range projections.Projections() {
			if got[p] != want[p] {
				t.Errorf("%s, %s: got other rows\n%s", p, name, firstDifference(got[p], want[p]))
			}
		}
	}
}

// mustRows is every row that is made of a log's events.
func (l *liveLog) mustRows(t *testing.T, kind string, events []domain.Recorded) map[projections.Projection]string {
	t.Helper()
	s, rows := mustOpen(t, mustURL(t, kind)), map[projections.Projection]string{}
	l.mustFill(t, s, events)
	for _, p := range projections.Projections() {
		rows[p] = mustDump(t, s, view(p, 1))
	}
	return rows
}

// mustCopyAsOlder copies a log's messages as a release before this one may have
// written them.
func (l *liveLog) mustCopyAsOlder(t *testing.T, from *liveLog) {
	t.Helper()
	reads, err := jetstream.New(from.conn)
	if err != nil {
		t.Fatal(err)
	}
	writes, err := jetstream.New(l.conn)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := reads.Stream(t.Context(), natslogStream)
	if err != nil {
		t.Fatal(err)
	}
	changed := 0
	for seq := uint64(1); seq <= stream.CachedInfo().State.LastSeq; seq++ {
		m, err := stream.GetMsg(t.Context(), seq)
		if err != nil {
			t.Fatal(err)
		}
		data := mustWriteAsOlder(t, m.Data)
		if !bytes.Equal(data, m.Data) {
			changed++
		}
		ack, err := writes.PublishMsg(t.Context(), &nats.Msg{Subject: m.Subject, Header: m.Header, Data: data})
		if err != nil || ack.Sequence != seq {
			t.Fatalf("got %+v and error %v, want it at %d", ack, err, seq)
		}
	}
	if changed == 0 {
		t.Error("nothing was written otherwise")
	}
}

const natslogStream = "BEHALF"

// mustWriteAsOlder writes a record with its members in another order, blanks
// between them, other escapes, and without those that say nothing: what was
// added since has such a value where it is absent.
func mustWriteAsOlder(t *testing.T, record []byte) []byte {
	t.Helper()
	in := json.NewDecoder(bytes.NewReader(record))
	in.UseNumber()
	var members map[string]any
	if err := in.Decode(&members); err != nil {
		t.Fatal(err)
	}
	written, err := json.MarshalIndent(terse(members), "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return written
}

// terse is v without the members that are empty, false or 0.
func terse(v any) any {
	switch v := v.(type) {
	case map[string]any:
		maps.DeleteFunc(v, func(_ string, member any) bool {
			return member == "" || member == false || member == json.Number("0")
		})
		for name, member := range v {
			v[name] = terse(member)
		}
	case []any:
		for i, item := range v {
			v[i] = terse(item)
		}
	}
	return v
}
