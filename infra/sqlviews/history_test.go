package sqlviews_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/behalf-platform/behalf/domain"
)

// history makes up a log: events as they could be recorded, with everything
// that rows are made of. The same seed makes the same.
type history struct {
	rand   *rand.Rand
	seq    uint64
	at     time.Time
	events []domain.Recorded

	open    []domain.Recorded        // what opened approvals that are open
	last    map[domain.Stream]uint64 // the newest event of each stream
	spent   []domain.Recorded        // allows that can be settled
	granted map[domain.AgentID][]domain.PermissionID
}

const (
	ours    domain.AccountID = "acct_ours"
	foreign domain.AccountID = "acct_foreign"
)

var start = time.Date(2026, 10, 31, 18, 0, 0, 123456000, time.UTC)

func newHistory(seed uint64) *history {
	return &history{rand: rand.New(rand.NewPCG(seed, 1)), at: start, granted: map[domain.AgentID][]domain.PermissionID{}, last: map[domain.Stream]uint64{}}
}

func pick[T any](h *history, of ...T) T { return of[h.rand.IntN(len(of))] }

func (h *history) record(account domain.AccountID, agent domain.AgentID, e domain.Event) domain.Recorded {
	h.seq++
	h.at = h.at.Add(time.Duration(h.rand.IntN(90_000)) * time.Millisecond)
	r := domain.Recorded{
		Record: domain.Record{
			ID: domain.EventID(fmt.Sprintf("evt_%06d", h.seq)), At: h.at.Add(-time.Duration(h.rand.IntN(1500)) * time.Millisecond),
			Actor: "member:mem_ada", Account: account, Agent: agent, Cause: pick(h, "", "req_cause"), Event: e,
		},
		Position: domain.Position{Epoch: 7, Seq: h.seq}, LoggedAt: h.at,
	}
	r.Last = h.last[r.Stream()]
	if d, ok := e.(domain.DecisionMade); ok {
		d.PassportVersion = r.Last
		r.Event = d
	}
	if r.Moves() {
		h.last[r.Stream()] = h.seq
	}
	h.events = append(h.events, r)
	return r
}

// grow adds n events or a few more.
func (h *history) grow(n int) *history {
	if h.seq == 0 {
		for _, account := range []domain.AccountID{ours, foreign} {
			h.record(account, "", domain.AccountOpened{Name: "Account", Currency: "USD", Owner: "mem_ada", Token: "t"})
			for i := range 4 {
				h.record(account, domain.AgentID(fmt.Sprint("agent_", i)), domain.AgentRegistered{Name: "Ollie", Type: domain.Native, Key: "k"})
			}
		}
	}
	for end := h.seq + uint64(n); h.seq < end; {
		account := pick(h, ours, ours, ours, foreign)
		agent := domain.AgentID(fmt.Sprint("agent_", h.rand.IntN(4)))
		if h.rand.IntN(4) > 0 {
			h.decide(account, agent)
		} else {
			h.change(account, agent)
		}
	}
	return h
}

// reasons are texts that are hard on whoever looks for them.
var reasons = []string{
	"allowed by permission perm_1", "100% of the budget", "a_b", "aXb", `quote ' and " and \`, "Größe ÄÖ", "NUL \x00 inside", "",
	"'; DROP TABLE decisions_v1; --", "$1 ?1 :name @p", "AMOUNT over LIMIT", "日本語",
}

func (h *history) decide(account domain.AccountID, agent domain.AgentID) {
	d := domain.DecisionMade{
		RequestID: domain.RequestID(fmt.Sprintf("req_%06d", h.seq+1)),
		Outcome:   pick(h, domain.OutcomeAllowed, domain.OutcomeDenied), Risk: pick(h, domain.RiskLow, domain.RiskMedium, domain.RiskHigh),
		ReasonCode: pick(h, domain.ReasonCodes()...), Reason: pick(h, reasons...),
		PermissionID: pick[domain.PermissionID](h, "", "perm_1", "perm_2"),
		Request: domain.Request{
			Action: pick[domain.Action](h, "purchase", "repo:push", "Purchase"), Vendor: pick(h, "", "coachella.com", "a_b", "100%"),
			Resource: pick(h, "", "r/1", "r/'2'"), Path: pick(h, "", "src/main.go"), Command: pick(h, "", "git push\n"),
			ArgumentsDigest: pick(h, "", "abc"),
		},
		Checks: []domain.Check{{Rule: domain.RuleAgent, Passed: true}},
	}
	if h.rand.IntN(3) > 0 {
		d.Request.Currency = pick[domain.Currency](h, "USD", "EUR", "JPY", "BHD")
		d.Request.Amount = domain.Decimal(domain.Money{Minor: int64(h.rand.IntN(100000)), Currency: d.Request.Currency}.String())
		if h.rand.IntN(10) == 0 {
			d.Request.Amount = domain.Decimal(domain.Money{Minor: 999_999_999_999_999_999, Currency: d.Request.Currency}.String())
		}
	}
	switch {
	case d.Outcome == domain.OutcomeAllowed && h.rand.IntN(3) == 0:
		d.Spends = true
		h.spent = append(h.spent, h.record(account, agent, d))
		return
	case d.Outcome == domain.OutcomeDenied && h.rand.IntN(4) == 0:
		d.Outcome, d.ApprovalID = domain.OutcomeRequiresApproval, domain.ApprovalID(fmt.Sprintf("apr_%06d", h.seq+1))
		d.Gate = &domain.Gate{Digest: "digest", PendingFor: domain.Duration(time.Hour), MinRole: domain.RoleApprover, Quorum: 2, MostPending: 10}
		h.open = append(h.open, h.record(account, agent, d))
		return
	}
	h.record(account, agent, d)
}

// change adds an event that is no decision, or one that uses an approval.
func (h *history) change(account domain.AccountID, agent domain.AgentID) {
	if h.rand.IntN(3) == 0 && len(h.open) > 0 {
		h.answer(h.rand.IntN(len(h.open)))
		return
	}
	if h.rand.IntN(3) == 0 && len(h.spent) > 0 {
		r := h.spent[0]
		h.spent = h.spent[1:]
		d := r.Event.(domain.DecisionMade)
		h.record(r.Account, r.Agent, domain.DecisionSettled{
			RequestID: d.RequestID, Outcome: pick(h, domain.Executed, domain.ActionFailed), Amount: d.Request.Amount, Currency: d.Request.Currency,
		})
		return
	}
	terms := domain.Terms{Action: "purchase", Description: pick(h, reasons...)}
	held := h.granted[agent]
	switch h.rand.IntN(15) {
	case 0:
		h.record(account, agent, domain.AgentDisabled{Reason: "why not"})
	case 1:
		h.record(account, agent, domain.AgentEnabled{})
	case 2:
		h.record(account, agent, domain.AgentKeyRotated{Key: pick[domain.TokenHash](h, "", "k2")})
	case 3:
		h.record(account, agent, domain.AgentDriverChanged{Driver: pick[domain.MemberID](h, "", "mem_ada")})
	case 4:
		h.record(account, agent, domain.AgentLimitsSet{Limits: domain.Limits{Rates: []domain.Rate{{Count: 3, Per: domain.PerDay, TimeZone: "UTC"}}}})
	case 5:
		h.record(account, agent, domain.AgentBudgetShared{Shared: h.rand.IntN(2) == 0, Budget: 3})
	case 6:
		id := domain.MemberID(fmt.Sprintf("mem_%06d", h.seq))
		h.record(account, "", domain.MemberAdded{MemberID: id, Name: "Bo", Role: domain.RoleViewer, Token: "t"})
		if h.rand.IntN(2) == 0 {
			h.record(account, "", domain.MemberRoleChanged{MemberID: id, Role: domain.RoleAdmin})
			h.record(account, "", domain.MemberTokenRotated{MemberID: id, Token: "t2"})
		}
		if h.rand.IntN(3) == 0 {
			h.record(account, "", domain.MemberRemoved{MemberID: id})
		}
	case 7:
		h.record(account, "", domain.AccountSettingsChanged{Name: "New", Currency: "EUR"})
	case 8:
		h.record(account, "", domain.BudgetSet{})
		h.record(account, "", domain.BudgetCharged{RequestID: "req_1", Amount: "1.00", Currency: "USD"})
		h.record(account, "", domain.ReceiptKeyRotated{Version: 2})
		h.record(ours, "", domain.PassportLinkCreated{LinkID: "lnk_1", AgentID: agent, Token: "hash", ExpiresAt: h.at})
		h.record(ours, "", domain.PassportLinkRevoked{LinkID: "lnk_1", AgentID: agent})
		h.record(ours, agent, domain.DecisionConsumed{RequestID: "req_1"})
	case 14:
		h.hook(account)
	case 9, 10:
		if len(held) > 0 {
			h.record(ours, agent, domain.PermissionReplaced{PermissionID: held[0], Terms: terms, Cancels: h.cancels(agent)})
		}
	case 11:
		if len(held) > 0 {
			h.record(ours, agent, domain.PermissionRevoked{PermissionID: held[0], Cancels: h.cancels(agent)})
			h.granted[agent] = held[1:]
		}
	default:
		id := domain.PermissionID(fmt.Sprintf("perm_%06d", h.seq))
		h.record(ours, agent, domain.PermissionGranted{PermissionID: id, Terms: terms})
		h.granted[agent] = append(held, id)
	}
}

// hook adds events of an endpoint.
func (h *history) hook(account domain.AccountID) {
	id := domain.EndpointID(fmt.Sprintf("whe_%026d", h.seq))
	settings := domain.EndpointSettings{URL: "https://example.com/", Ordering: domain.OrderStrict, Format: domain.FormatStandard}
	for _, e := range []domain.Event{
		domain.WebhookCreated{EndpointID: id, EndpointSettings: settings},
		domain.WebhookChanged{EndpointID: id, EndpointSettings: settings},
		domain.WebhookVerified{EndpointID: id, URL: settings.URL},
		domain.WebhookTested{EndpointID: id},
		domain.WebhookPaused{EndpointID: id},
		domain.WebhookResumed{EndpointID: id, From: domain.FromNow},
		domain.WebhookDisabled{EndpointID: id, Code: domain.DisabledAsGone},
		domain.WebhookEnabled{EndpointID: id, From: domain.FromHeld},
		domain.WebhookSecretRotated{EndpointID: id, Secret: 2},
		domain.WebhookReplayRequested{EndpointID: id, ReplayID: "whr_1", RatePerSecond: 1},
		domain.WebhookReplayCancelled{EndpointID: id, ReplayID: "whr_1"},
		domain.WebhookReplayFinished{EndpointID: id, ReplayID: "whr_1"},
		domain.WebhookFailing{EndpointID: id, Since: h.at},
		domain.WebhookRecovered{EndpointID: id, Since: h.at},
		domain.WebhookSkipped{EndpointID: id, From: 1, Through: 2},
		domain.WebhookDeleted{EndpointID: id},
	}[:1+h.rand.IntN(16)] {
		h.record(account, "", e)
	}
}

// cancels are open approvals of an agent of ours that a change takes with it.
func (h *history) cancels(agent domain.AgentID) (ids []domain.ApprovalID) {
	h.open = slices.DeleteFunc(h.open, func(r domain.Recorded) bool {
		cancel := r.Account == ours && r.Agent == agent && h.rand.IntN(3) == 0
		if cancel {
			ids = append(ids, r.Event.(domain.DecisionMade).ApprovalID)
		}
		return cancel
	})
	return ids
}

// answer adds what is said to an approval that is open, and may end it.
func (h *history) answer(i int) {
	r := h.open[i]
	d := r.Event.(domain.DecisionMade)
	id, until, ends := d.ApprovalID, h.at.Add(time.Hour), true
	by := pick[domain.MemberID](h, "mem_ada", "mem_bo")
	switch h.rand.IntN(8) {
	case 0, 1:
		ends = false
		h.record(r.Account, r.Agent, domain.ApprovalVoted{ApprovalID: id, MemberID: by, Comment: "yes", Self: h.rand.IntN(2) == 0})
	case 2:
		ends = false
		h.record(r.Account, r.Agent, domain.ApprovalReminded{ApprovalID: id, Count: 1})
	case 3, 4:
		h.record(r.Account, r.Agent, domain.ApprovalApproved{ApprovalID: id, MemberID: by, Comment: pick(h, reasons...), ExpiresAt: until})
		if h.rand.IntN(2) == 0 {
			d.Outcome, d.Gate, d.RequestID = domain.OutcomeAllowed, nil, domain.RequestID(fmt.Sprintf("req_%06d", h.seq+1))
			h.record(r.Account, r.Agent, d)
		}
	case 5:
		h.record(r.Account, r.Agent, domain.ApprovalDenied{ApprovalID: id, MemberID: by, Comment: "no", Shared: true, StickyUntil: until})
	case 6:
		h.record(r.Account, r.Agent, domain.ApprovalExpired{ApprovalID: id})
	case 7:
		h.record(r.Account, r.Agent, domain.ApprovalCancelled{ApprovalID: id, Comment: "never mind"})
	}
	if ends {
		h.open = slices.Delete(h.open, i, i+1)
	}
}
