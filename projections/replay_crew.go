package projections

import (
	"runtime"
	"sync"
)

// crew works on items that come one after another, in batches, several batches
// at a time. What is on its way is bounded: whoever adds waits.
type crew[T any] struct {
	batch   []T
	batches chan []T
	spare   sync.Pool
	workers sync.WaitGroup
}

// crewBatch is how many items are handed over at once. Fewer cost more in
// handing over than in work.
const crewBatch = 256

// hire starts so many workers, or one for each processor if 0. Each batch goes
// to one of them; dismiss waits for them.
func hire[T any](workers int, work func([]T)) *crew[T] {
	if workers == 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	c := &crew[T]{batches: make(chan []T, 2*workers)}
	c.spare.New = func() any { b := make([]T, 0, crewBatch); return &b }
	for range workers {
		c.workers.Go(func() {
			for batch := range c.batches {
				work(batch)
				clear(batch) // what it points to can go
				batch = batch[:0]
				c.spare.Put(&batch)
			}
		})
	}
	return c
}

func (c *crew[T]) add(item T) {
	if c.batch == nil {
		c.batch = (*c.spare.Get().(*[]T))[:0]
	}
	if c.batch = append(c.batch, item); len(c.batch) == crewBatch {
		c.batches <- c.batch
		c.batch = nil
	}
}

// dismiss waits until all that was added is done.
func (c *crew[T]) dismiss() {
	if len(c.batch) > 0 {
		c.batches <- c.batch
		c.batch = nil
	}
	close(c.batches)
	c.workers.Wait()
}
