package memvisits_test

import (
	"testing"

	"github.com/behalf-platform/behalf/infra/memvisits"
	"github.com/behalf-platform/behalf/infra/visitstest"
)

func TestCounters(t *testing.T) {
	t.Parallel()
	visitstest.Run(t, func(*testing.T) visitstest.Counters { return &memvisits.Counters{} })
}
