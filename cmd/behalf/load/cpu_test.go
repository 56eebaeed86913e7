package load

import "testing"

func TestProcessorTimeIsThatOfOneProcess(t *testing.T) {
	t.Parallel()
	got, err := cpuBetween([]process{{1, 2}, {1, 10}}, []process{{1, 3}, {1, 14}})
	if err != nil || got != 5 {
		t.Errorf("got %g, %v; want 5", got, err)
	}
	if got, err := cpuBetween([]process{{1, 2}}, []process{{9, 3}}); err == nil {
		t.Errorf("got %g of a node that was started anew, want an error", got)
	}
}
