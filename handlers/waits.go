package handlers

import (
	"sync"

	"github.com/behalf-platform/behalf/domain"
)

// waits bounds how much each credential waits for at once, over all surfaces:
// what waits costs memory, and reading has a limit of its own.
type waits struct {
	mu sync.Mutex
	// open is guarded by mu.
	open map[domain.TokenHash]int
}

// MostWaits is how many waits one credential can have open on a node: enough to
// wait for each approval an agent can have open by default.
const MostWaits = 32

// enter counts a wait in, and returns what counts it out.
func (w *waits) enter(credential domain.TokenHash) (leave func(), err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.open[credential] >= MostWaits {
		return nil, domain.Reject(domain.RateLimited, "this credential waits for %d approvals already; end one wait first", MostWaits)
	}
	if w.open == nil {
		w.open = map[domain.TokenHash]int{}
	}
	w.open[credential]++
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.open[credential]--; w.open[credential] == 0 {
			delete(w.open, credential)
		}
	}, nil
}
