package httpapi

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers"
	"github.com/behalf-platform/behalf/projections"
)

func decision(c *call) error {
	values, err := c.query("explain")
	if err != nil {
		return err
	}
	explain, err := boolOf(values, "explain")
	if err != nil {
		return err
	}
	if err := c.Still(c.r.Context(), c.caller); err != nil {
		return err
	}
	r, err := c.Find(c.r.Context(), c.caller.Scope(), domain.RequestID(c.r.PathValue("request")))
	if err != nil {
		return err
	}
	body, err := handlers.EncodeDetail(nil, r)
	if err != nil {
		return err
	}
	if explain {
		view, err := c.Explain(c.r.Context(), c.caller, r)
		if err != nil {
			return err
		}
		explanation, err := handlers.Encode(view)
		if err != nil {
			return err
		}
		body = append(append(body[:len(body)-1], `,"explanation":`...), explanation...)
		body = append(body, '}')
	}
	send(c.w, http.StatusOK, body)
	return nil
}

// filters are the parameters that choose decisions.
var filters = []string{
	"agentId", "outcome", "reasonCode", "action", "vendor", "resource", "permissionId", "approvalId", "riskLevel",
	"amountMin", "amountMax", "currency", "passportVersion", "since", "until", "text",
}

func decisions(c *call) error {
	values, err := c.query(slices.Concat(filters, []string{"limit", "cursor", "atLeast", "follow", "format", "totals"})...)
	if err != nil {
		return err
	}
	f, err := c.decisionFilter(values)
	if err != nil {
		return err
	}
	if err := c.Still(c.r.Context(), c.caller); err != nil {
		return err
	}
	follow, err := boolOf(values, "follow")
	if err != nil {
		return err
	}
	counts, err := boolOf(values, "totals")
	if err != nil {
		return err
	}
	format := values.Get("format")
	for name, other := range map[string]bool{"totals": follow || format != "", "format": follow} {
		if values.Get(name) != "" && other {
			return domain.RejectField(domain.Invalid, "/"+name, "does not go together with follow or format")
		}
	}
	switch {
	case follow:
		return c.follow(f)
	case counts:
		return c.totals(f, values.Get("atLeast"))
	case format != "":
		return c.export(f, format, values)
	}
	return c.page(f, values)
}

// page sends a page of decisions.
func (c *call) page(f projections.DecisionFilter, values url.Values) error {
	limit, err := limitOf(values)
	if err != nil {
		return err
	}
	page, err := c.Queries.Decisions(c.r.Context(), f, limit, values.Get("cursor"), values.Get("atLeast"))
	if err != nil {
		return err
	}
	type view struct {
		Decisions  []jsontext.Value `json:"decisions"`
		NextCursor string           `json:"nextCursor,omitempty"`
	}
	v := view{Decisions: []jsontext.Value{}, NextCursor: page.NextCursor}
	for _, r := range page.Decisions {
		packet, err := handlers.EncodePacket(nil, r)
		if err != nil {
			return err
		}
		v.Decisions = append(v.Decisions, packet)
	}
	return c.answer(http.StatusOK, v)
}

// decisionFilter reads which decisions the caller wants, of those it may read.
func (c *call) decisionFilter(values url.Values) (f projections.DecisionFilter, err error) {
	s, err := c.caller.Reads(domain.AgentID(values.Get("agentId")))
	if err != nil {
		return f, err
	}
	f = projections.DecisionFilter{
		Account: s.Account, Agent: s.Agent,
		Outcome: domain.Outcome(values.Get("outcome")), ReasonCode: domain.ReasonCode(values.Get("reasonCode")),
		Action: domain.Action(values.Get("action")), Vendor: values.Get("vendor"), Resource: values.Get("resource"),
		PermissionID: domain.PermissionID(values.Get("permissionId")), ApprovalID: domain.ApprovalID(values.Get("approvalId")),
		Risk: domain.Risk(values.Get("riskLevel")), Currency: domain.Currency(values.Get("currency")), Text: values.Get("text"),
	}
	if err := checkOutcome(f.Outcome); err != nil {
		return f, err
	}
	switch f.Risk {
	case "", domain.RiskLow, domain.RiskMedium, domain.RiskHigh:
	default:
		return f, domain.RejectField(domain.Invalid, "/riskLevel", "must be low, medium or high")
	}
	if f.ReasonCode != "" && !slices.Contains(domain.ReasonCodes(), f.ReasonCode) {
		return f, domain.RejectField(domain.Invalid, "/reasonCode", "is none of the reason codes; they are upper case, such as AMOUNT_EXCEEDS_LIMIT")
	}
	if version := values.Get("passportVersion"); version != "" {
		if f.PassportVersion, err = strconv.ParseUint(version, 10, 63); err != nil || f.PassportVersion == 0 {
			return f, domain.RejectField(domain.Invalid, "/passportVersion", "must be a number above 0")
		}
	}
	if err := amountsOf(&f, values); err != nil {
		return f, err
	}
	f.Since, f.Until, err = spanOf(values)
	return f, err
}

func checkOutcome(o domain.Outcome) error {
	switch o {
	case "", domain.OutcomeAllowed, domain.OutcomeDenied, domain.OutcomeRequiresApproval:
		return nil
	}
	return domain.RejectField(domain.Invalid, "/outcome", "must be allowed, denied or requires_approval")
}

// amountsOf reads a range of amounts, which means nothing without a currency.
func amountsOf(f *projections.DecisionFilter, values url.Values) error {
	if f.Currency != "" {
		currency, err := domain.ParseCurrency(string(f.Currency))
		if err != nil {
			return domain.RejectField(domain.Invalid, "/currency", "is not a currency; send an ISO 4217 code, such as USD")
		}
		f.Currency = currency
	}
	for _, bound := range []struct {
		name string
		into **int64
	}{{"amountMin", &f.AmountMin}, {"amountMax", &f.AmountMax}} {
		text := values.Get(bound.name)
		if text == "" {
			continue
		}
		if f.Currency == "" {
			return domain.RejectField(domain.Invalid, "/currency", "is required with amountMin and amountMax")
		}
		money, err := domain.ParseMoney(text, f.Currency)
		if err != nil {
			return domain.RejectField(domain.Invalid, "/"+bound.name, "is not an amount in %s; send one like 500.00", f.Currency)
		}
		*bound.into = &money.Minor
	}
	if f.AmountMin != nil && f.AmountMax != nil && *f.AmountMin > *f.AmountMax {
		return domain.RejectField(domain.Invalid, "/amountMax", "is less than amountMin")
	}
	return nil
}

// spanOf reads since and until.
func spanOf(values url.Values) (since, until time.Time, err error) {
	if since, err = timeOf(values, "since"); err != nil {
		return since, until, err
	}
	until, err = timeOf(values, "until")
	return since, until, err
}

func boolOf(values url.Values, name string) (bool, error) {
	switch values.Get(name) {
	case "true":
		return true, nil
	case "", "false":
		return false, nil
	}
	return false, domain.RejectField(domain.Invalid, "/"+name, "must be true or false")
}

// decisionTotals counts decisions.
func decisionTotals(c *call) error {
	values, err := c.query(append(slices.Clone(filters), "atLeast")...)
	if err != nil {
		return err
	}
	f, err := c.decisionFilter(values)
	if err != nil {
		return err
	}
	if err := c.Still(c.r.Context(), c.caller); err != nil {
		return err
	}
	return c.totals(f, values.Get("atLeast"))
}

// totalView is how many decisions had an outcome, and what they asked for.
type totalView struct {
	Decision domain.Outcome  `json:"decision"`
	Count    int64           `json:"count"`
	Amount   domain.Decimal  `json:"amount,omitempty"`
	Currency domain.Currency `json:"currency,omitempty"`
}

func viewTotal(t projections.Total) totalView {
	return totalView{Decision: t.Outcome, Count: t.Count, Amount: t.Amount, Currency: t.Currency}
}

func (c *call) totals(f projections.DecisionFilter, atLeast string) error {
	totals, err := c.Queries.Totals(c.r.Context(), f, atLeast)
	if err != nil {
		return err
	}
	v := struct {
		Count  int64       `json:"count"`
		Totals []totalView `json:"totals"`
	}{Totals: []totalView{}}
	for _, t := range totals {
		v.Count += t.Count
		v.Totals = append(v.Totals, viewTotal(t))
	}
	return c.answer(http.StatusOK, v)
}

func timeOf(values url.Values, name string) (time.Time, error) {
	text := values.Get(name)
	if text == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil || t.UTC().Year() < 1970 {
		return t, domain.RejectField(domain.Invalid, "/"+name, "%q is not a time after 1970; send RFC 3339, such as 2027-01-01T00:00:00Z", text)
	}
	return t, nil
}

// heartbeat is how often a quiet stream sends an empty line, so that both ends
// notice when the other has gone.
const heartbeat = 10 * time.Second

// mostStreams bounds the streams one credential can have open: each costs the
// log a reader.
const mostStreams = 8

// enter counts a stream in, and returns what counts it out.
func (a *API) enter(credential domain.TokenHash) (leave func(), err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.streams[credential] >= mostStreams {
		return nil, domain.Reject(domain.RateLimited, "this credential follows %d streams already; end one first", mostStreams)
	}
	a.streams[credential]++
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.streams[credential]--; a.streams[credential] == 0 {
			delete(a.streams, credential)
		}
	}, nil
}

// follow streams decisions as they are recorded, one JSON object a line, for as
// long as the caller's credential is good.
func (c *call) follow(f projections.DecisionFilter) error {
	leave, err := c.api.enter(c.caller.Hash)
	if err != nil {
		return err
	}
	defer leave()
	ctx, cancel := context.WithCancel(c.r.Context())
	defer cancel()
	defer context.AfterFunc(c.api.stopping, cancel)()
	out := &lines{rc: http.NewResponseController(c.w), w: c.w, now: c.Writer.Now}
	c.w.Header().Set("Content-Type", "application/x-ndjson")
	c.w.Header().Set("Cache-Control", "no-store")
	if err := out.write(nil); err != nil { // sends the header
		return nil
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() {
		defer cancel()
		out.beat(ctx, func() error { return c.Still(ctx, c.caller) })
	})
	err = c.Tail(ctx, f, func(r domain.Recorded) error {
		packet, err := handlers.EncodePacket(nil, r)
		if err != nil {
			return err
		}
		return out.write(packet)
	})
	if err != nil && ctx.Err() == nil && !errors.Is(err, errGone) {
		// The header is out, so the error can't be shown; breaking off can.
		panic(http.ErrAbortHandler)
	}
	return nil
}

var errGone = errors.New("the reader has gone")

// lines writes whole lines from two goroutines.
type lines struct {
	mu sync.Mutex // one line at a time
	rc *http.ResponseController
	w  http.ResponseWriter

	now func() time.Time
}

func (l *lines) write(line []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	// A reader that takes nothing for this long is gone.
	_ = l.rc.SetWriteDeadline(l.now().Add(3 * heartbeat))
	if _, err := l.w.Write(append(line, '\n')); err != nil {
		return errGone
	}
	if err := l.rc.Flush(); err != nil {
		return errGone
	}
	return nil
}

// beat writes empty lines until the reader has gone or still says that it may
// not read any more.
func (l *lines) beat(ctx context.Context, still func() error) {
	t := time.NewTicker(heartbeat)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			if errors.Is(still(), handlers.ErrCredential) || l.write(nil) != nil {
				return
			}
		}
	}
}
