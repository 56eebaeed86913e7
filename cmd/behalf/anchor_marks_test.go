package main

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/behalf-platform/behalf/projections"
)

func TestMarksAreAnHourApartAndADayAfterAMonth(t *testing.T) {
	t.Parallel()
	began := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	m := marks{Epochs: []uint32{7}, Partitions: make([][]projections.Mark, 1)}
	now := began
	for i := range 60 * 24 * 4 {
		now = began.Add(time.Duration(i) * 15 * time.Minute)
		m.add(anchored{Epochs: []uint32{7}, Heads: []uint64{uint64(i)}, clocks: []time.Time{now}})
	}
	list := m.Partitions[0]
	if n := len(list); n < 31*24 || n > 31*24+31 {
		t.Errorf("got %d marks after 60 days, want one an hour of the last 31 and one a day of the rest", n)
	}
	for i, mark := range list {
		if want := uint64(mark.At.Sub(began) / (15 * time.Minute)); mark.Seq != want {
			t.Errorf("got %d at %s, want %d", mark.Seq, mark.At, want)
		}
		if i == 0 {
			continue
		}
		apart := mark.At.Sub(list[i-1].At)
		if young := now.Sub(mark.At) < 30*24*time.Hour; young && apart != time.Hour || !young && apart > 24*time.Hour+time.Hour {
			t.Errorf("%s and %s are %s apart", list[i-1].At, mark.At, apart)
		}
	}
}

func TestMarksOfAnotherLogAreLeftOut(t *testing.T) {
	t.Parallel()
	at := func(h int) time.Time { return time.Date(2026, 1, 1, h, 0, 0, 0, time.UTC) }
	saved := marks{Epochs: []uint32{7, 8}, Partitions: [][]projections.Mark{{{Seq: 3, At: at(1)}, {Seq: 9, At: at(2)}}, {{Seq: 5, At: at(1)}}}}
	path := filepath.Join(t.TempDir(), "marks.json")
	if err := replaceFile(path, saved); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		now  anchored
		want [][]projections.Mark
	}{
		{"the same", anchored{Epochs: []uint32{7, 8}, Heads: []uint64{9, 9}}, saved.Partitions},
		{"another log", anchored{Epochs: []uint32{6, 8}, Heads: []uint64{9, 9}}, [][]projections.Mark{nil, saved.Partitions[1]}},
		{"one that lost its end", anchored{Epochs: []uint32{7, 8}, Heads: []uint64{8, 4}}, [][]projections.Mark{saved.Partitions[0][:1], nil}},
		{"fewer partitions", anchored{Epochs: []uint32{7}, Heads: []uint64{9}}, saved.Partitions[:1]},
	} {
		if got, err := readMarks(path, tt.now); err != nil || !reflect.DeepEqual(got.Partitions, tt.want) {
			t.Errorf("%s: got %v, %v, want %v", tt.name, got.Partitions, err, tt.want)
		}
	}
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := readMarks(path, anchored{Epochs: []uint32{7}, Heads: []uint64{9}}); err == nil || len(got.Partitions) != 1 || got.Partitions[0] != nil {
		t.Errorf("a broken file: got %v, %v, want no marks and an error", got, err)
	}
	if got, err := readMarks(path+"x", anchored{Epochs: []uint32{7}, Heads: []uint64{9}}); err != nil || len(got.Partitions) != 1 {
		t.Errorf("no file: got %v, %v, want no marks", got, err)
	}
}
