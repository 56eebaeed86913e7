package before

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/behalf-platform/behalf"
)

// Owner is whose key a client holds. A key doesn't say it, and a decision about
// another agent is no answer, so that a long connection asks for it once. It may
// be used by many goroutines at once.
type Owner struct{ id atomic.Pointer[string] }

// Of asks the server whose key the client holds, unless it is known. An error is
// not kept; it Is [behalf.ErrUnavailable] if the server didn't say, as it is when
// the credential is no agent's.
func (o *Owner) Of(ctx context.Context, c *behalf.Client) (string, error) {
	if known := o.id.Load(); known != nil {
		return *known, nil
	}
	me, err := c.Me(ctx)
	switch {
	case err != nil:
		return "", err
	case me.Kind != "agent" || me.ID == "":
		return "", fmt.Errorf("%w: the credential is not an agent's key", behalf.ErrUnavailable)
	}
	o.id.Store(&me.ID)
	return me.ID, nil
}
