// Package wait waits for a time to pass.
package wait

import (
	"context"
	"time"
)

// For waits so long, or returns the error of ctx when that ends first.
func For(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
