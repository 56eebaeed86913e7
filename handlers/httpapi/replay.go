package httpapi

import "net/http"

// startReplay begins a replay, which goes on after the answer.
func startReplay(c *call) error {
	view, err := c.api.replays.Start(c.r.Context(), c.caller, c.body)
	if err != nil {
		return err
	}
	c.w.Header().Set("Location", "/v1/replays/"+view.ReplayID)
	return c.answer(http.StatusAccepted, view)
}

func replay(c *call) error {
	view, err := c.api.replays.Find(c.caller, c.r.PathValue("replay"))
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, view)
}

// Wait returns when nothing runs that outlives its request. It is for after
// stopping is done.
func (a *API) Wait() { a.replays.Wait() }
