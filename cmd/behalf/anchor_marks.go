package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/projections"
)

// marks are where each partition reached at times that are some way apart, the
// oldest first. By them `log check` tells decisions that expired from ones that
// were lost. They lie beside the anchor, in a file of their own that is seldom
// written; without it less can be told, and nothing else changes.
type marks struct {
	Epochs     []uint32             `json:"epochs"`
	Partitions [][]projections.Mark `json:"partitions"`
}

const (
	// A mark is made each hour. After a month one a day is kept, which is a
	// thirtieth of what is still undecided then, and none that is older than
	// decisions can be kept for.
	markEvery     = time.Hour
	markThinAfter = 31 * 24 * time.Hour
	markThin      = 24 * time.Hour
	markMost      = time.Duration(domain.MostRetention) + markThinAfter
)

func marksFile(data string) string { return filepath.Join(data, "anchor-marks.json") }

// readMarks reads the marks of a log that stands where now says. Those of another
// log, or of an end that this one has lost, are left out.
func readMarks(path string, now anchored) (marks, error) {
	m := marks{Epochs: now.Epochs, Partitions: make([][]projections.Mark, len(now.Heads))}
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil
	}
	if err != nil {
		return m, fmt.Errorf("read %s: %w", path, err)
	}
	var was marks
	if err := json.Unmarshal(raw, &was); err != nil || len(was.Partitions) != len(was.Epochs) {
		return m, fmt.Errorf("%s can't be read; remove it, and `log check` can tell less of what has expired", path)
	}
	for p, list := range was.Partitions {
		if p >= len(now.Heads) || was.Epochs[p] != now.Epochs[p] {
			continue
		}
		for i, mark := range list {
			if mark.Seq > now.Heads[p] || i > 0 && (mark.Seq < list[i-1].Seq || !mark.At.After(list[i-1].At)) {
				break // the log went on without what was there then
			}
			m.Partitions[p] = append(m.Partitions[p], mark)
		}
	}
	return m, nil
}

// add marks where the log was, if it is time to, and reports whether it was.
func (m *marks) add(at anchored) (added bool) {
	for p := range at.Heads {
		mark := projections.Mark{Seq: at.Heads[p], At: at.clocks[p]}
		list := m.Partitions[p]
		if n := len(list); n > 0 && (mark.At.Sub(list[n-1].At) < markEvery || mark.Seq < list[n-1].Seq) {
			continue
		}
		m.Partitions[p] = append(thin(list, mark.At), mark)
		added = true
	}
	return added
}

// thin keeps fewer marks of what is long ago.
func thin(list []projections.Mark, now time.Time) []projections.Mark {
	var kept []projections.Mark
	for _, mark := range list {
		age, n := now.Sub(mark.At), len(kept)
		if age > markMost || age > markThinAfter && n > 0 && mark.At.Sub(kept[n-1].At) < markThin {
			continue
		}
		kept = append(kept, mark)
	}
	return kept
}
