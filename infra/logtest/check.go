package logtest

import (
	"errors"
	"fmt"

	"github.com/behalf-platform/behalf/domain"
)

// Check is the promise of the guard over the whole of a partition, read from
// its first record on: each record was appended on the newest version of its
// stream there was before it, and none is there twice. It returns all it finds.
func Check(records []domain.Recorded) error {
	var faults []error
	newest := map[domain.Stream]uint64{}
	seen := map[domain.EventID]uint64{}
	var before domain.Position
	for i, r := range records {
		at := r.Position
		if i > 0 && (at.Partition != before.Partition || at.Epoch != before.Epoch || at.Seq <= before.Seq) {
			faults = append(faults, fmt.Errorf("%+v comes after %+v", at, before))
		}
		before = at
		if first, ok := seen[r.ID]; ok {
			faults = append(faults, fmt.Errorf("%s is at %d and at %d", r.ID, first, at.Seq))
		}
		seen[r.ID] = at.Seq
		if last := newest[r.Stream()]; r.Last != last {
			faults = append(faults, fmt.Errorf("%d was appended to %s at %d, which was at %d then", at.Seq, r.Stream(), r.Last, last))
		}
		if r.Moves() {
			newest[r.Stream()] = at.Seq
		}
	}
	return errors.Join(faults...)
}
