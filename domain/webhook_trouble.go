package domain

import "time"

// warnAgain is the least time between two warnings of the same trouble.
const warnAgain = 30 * time.Minute

// FailEndpoint warns that nothing can be delivered to an endpoint.
type FailEndpoint struct {
	EndpointID EndpointID
	Since      time.Time
	Reason     string
	Now        time.Time
}

// FailEndpoint decides on a FailEndpoint. The same warning may come twice.
func (a Account) FailEndpoint(cmd FailEndpoint) ([]Event, error) {
	e, err := a.endpoint(cmd.EndpointID)
	if err != nil {
		return nil, err
	}
	since := cmd.Since.UTC()
	if e.FailingSince.Equal(since) && e.Warning == cmd.Reason && cmd.Now.Sub(e.WarnedAt) < warnAgain {
		return nil, nil
	}
	if err := checkText("/reason", cmd.Reason, 0, 512); err != nil {
		return nil, err
	}
	return []Event{WebhookFailing{e.ID, since, cmd.Reason}}, nil
}

// RecoverEndpoint decides that an endpoint takes events again.
func (a Account) RecoverEndpoint(id EndpointID) ([]Event, error) {
	e, err := a.endpoint(id)
	if err != nil || e.FailingSince.IsZero() {
		return nil, err
	}
	return []Event{WebhookRecovered{e.ID, e.FailingSince}}, nil
}

// SkipEvents says which events an endpoint was not sent, and won't be.
type SkipEvents struct {
	EndpointID    EndpointID
	From, Through uint64
}

// SkipEvents decides on a SkipEvents. It may come twice.
func (a Account) SkipEvents(cmd SkipEvents) ([]Event, error) {
	e, err := a.endpoint(cmd.EndpointID)
	if err != nil || cmd.Through <= e.Skipped || cmd.From > cmd.Through {
		return nil, err
	}
	return []Event{WebhookSkipped(cmd)}, nil
}
