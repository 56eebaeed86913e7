package httpapi

import (
	"net/http"
	"net/url"
	"time"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/projections"
)

const (
	usualDays = 30
	mostDays  = 366
)

// usageView is a total of one agent and one day.
type usageView struct {
	Day       string         `json:"day"`
	AgentID   domain.AgentID `json:"agentId"`
	totalView `json:",inline"`
}

// usage sends a page of what was decided per day, agent and outcome.
func usage(c *call) error {
	values, err := c.query("agentId", "outcome", "currency", "since", "until", "limit", "cursor", "atLeast")
	if err != nil {
		return err
	}
	s, err := c.caller.Reads(domain.AgentID(values.Get("agentId")))
	if err != nil {
		return err
	}
	f := projections.UsageFilter{
		Account: s.Account, Agent: s.Agent, Outcome: domain.Outcome(values.Get("outcome")), Currency: domain.Currency(values.Get("currency")),
	}
	if err := checkOutcome(f.Outcome); err != nil {
		return err
	}
	if f.Since, f.Until, err = c.daysOf(values); err != nil {
		return err
	}
	limit, err := limitOf(values)
	if err != nil {
		return err
	}
	if err := c.Still(c.r.Context(), c.caller); err != nil {
		return err
	}
	list, next, err := c.Queries.Usage(c.r.Context(), f, limit, values.Get("cursor"), values.Get("atLeast"))
	if err != nil {
		return err
	}
	v := struct {
		Since string      `json:"since"`
		Until string      `json:"until"`
		Usage []usageView `json:"usage"`
		Next  string      `json:"nextCursor,omitempty"`
	}{f.Since.Format(time.DateOnly), f.Until.Format(time.DateOnly), []usageView{}, next}
	for _, u := range list {
		v.Usage = append(v.Usage, usageView{Day: u.Day.UTC().Format(time.DateOnly), AgentID: u.Agent, totalView: viewTotal(u.Total)})
	}
	return c.answer(http.StatusOK, v)
}

// daysOf reads a range of days (UTC): since is included, until is not. By
// default it ends with today and is 30 days long.
func (c *call) daysOf(values url.Values) (since, until time.Time, err error) {
	y, m, d := c.Writer.Now().UTC().Date()
	until = time.Date(y, m, d+1, 0, 0, 0, 0, time.UTC)
	if until, err = dayOf(values, "until", until); err != nil {
		return since, until, err
	}
	if since, err = dayOf(values, "since", until.AddDate(0, 0, -usualDays)); err != nil {
		return since, until, err
	}
	switch days := until.Sub(since) / (24 * time.Hour); {
	case days < 1:
		return since, until, domain.RejectField(domain.Invalid, "/until", "is not after since; since is included, until is not")
	case days > mostDays:
		return since, until, domain.RejectField(domain.Invalid, "/since", "is %d days before until; ask for at most %d", days, mostDays)
	}
	return since, until, nil
}

func dayOf(values url.Values, name string, otherwise time.Time) (time.Time, error) {
	text := values.Get(name)
	if text == "" {
		return otherwise, nil
	}
	day, err := time.Parse(time.DateOnly, text)
	if err != nil || day.Year() < 1970 {
		return day, domain.RejectField(domain.Invalid, "/"+name, "%q is not a day after 1970; send one like 2027-01-31", text)
	}
	return day, nil
}
