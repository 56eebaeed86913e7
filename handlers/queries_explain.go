package handlers

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/behalf-platform/behalf/domain"
)

type (
	// ExplanationView says how a decision came about, from what is recorded.
	ExplanationView struct {
		// Passport is the agent's as it was when it was decided, revoked
		// permissions left out.
		Passport PassportView `json:"passport"`
		// Permissions are those that were looked at, in the order of their checks.
		Permissions []JudgedView `json:"permissions"`
		// Checks are those of the agent as a whole.
		Checks []domain.Check `json:"checks,omitzero"`
		// Approval is the one that was opened, awaited or used, as it stands now.
		Approval *ApprovalView `json:"approval,omitzero"`
		// ToAllow says what would have had to be otherwise. It is empty for an allow.
		ToAllow []string `json:"toAllow"`
	}
	// JudgedView is a permission as it was, and how it was judged.
	JudgedView struct {
		PermissionID domain.PermissionID     `json:"permissionId"`
		Status       domain.PermissionStatus `json:"status"`
		Summary      string                  `json:"summary"`
		// Decided says that the outcome and its code are by this one.
		Decided bool           `json:"decided"`
		Checks  []domain.Check `json:"checks"`
	}
)

// mostExplain bounds how long the log is read for one explanation.
const mostExplain = 15 * time.Second

// Explain says how a decision the caller may read came about. It goes by the
// log alone.
func (d *Desk) Explain(ctx context.Context, c Caller, r domain.Recorded) (ExplanationView, error) {
	made, ok := r.Event.(domain.DecisionMade)
	if !ok {
		return ExplanationView{}, fmt.Errorf("event %d is %s, not a decision", r.Position.Seq, r.Event.Kind())
	}
	ctx, cancel := context.WithTimeout(ctx, mostExplain)
	defer cancel()
	agent, err := d.passportOn(ctx, domain.Stream{Account: r.Account, Agent: r.Agent}, made.PassportVersion)
	if err != nil {
		return ExplanationView{}, err
	}
	budget, err := d.budgetOn(ctx, r.Account, made.BudgetVersion)
	if err != nil {
		return ExplanationView{}, err
	}
	view := ExplanationView{Passport: ViewPassport(agent, budget, r.At), Permissions: []JudgedView{}, ToAllow: []string{}}
	if !c.IsAgent() {
		for i := range view.Passport.Permissions {
			if p, ok := agent.Permission(view.Passport.Permissions[i].PermissionID); ok {
				view.Passport.Permissions[i].Notes = p.Terms.Notes
			}
		}
	}
	view.judge(agent, &made, r.At)
	if made.Outcome != domain.OutcomeAllowed {
		view.ToAllow = toAllow(agent, &made)
	}
	if made.ApprovalID != "" {
		if a := d.Identifier.Passports.Approval(made.ApprovalID); a != nil && a.Account == r.Account {
			shown, err := d.viewApproval(c, a)
			if err != nil {
				return ExplanationView{}, err
			}
			view.Approval = &shown
		}
	}
	return view, nil
}

// passportOn is an agent's passport as it was at a version.
func (d *Desk) passportOn(ctx context.Context, s domain.Stream, version uint64) (*domain.Agent, error) {
	if known := d.Identifier.Passports.Agent(s); known.Version == version && known.Fault() == nil {
		return known, nil
	}
	agent, err := foldUntil(ctx, d, s, Moment{Seq: version}, domain.Agent.Evolve)
	if err != nil {
		return nil, err
	}
	if err := agent.Fault(); err != nil {
		return nil, Unreadable(err)
	}
	if agent.Version != version {
		return nil, Unreadable(fmt.Errorf("%s has no version %d", s, version))
	}
	return &agent, nil
}

// budgetOn is what an account's agents had spent together at a version, which
// is 0 for a decision that did not look at it.
func (d *Desk) budgetOn(ctx context.Context, account domain.AccountID, version uint64) (*domain.SharedBudget, error) {
	if version == 0 {
		return &domain.SharedBudget{}, nil
	}
	if known := d.Identifier.Passports.Budget(account); known.Version == version && known.Fault() == nil {
		return known, nil
	}
	budget, err := foldUntil(ctx, d, domain.Stream{Account: account, Budget: true}, Moment{Seq: version}, domain.SharedBudget.Evolve)
	if err != nil {
		return nil, err
	}
	if err := budget.Fault(); err != nil {
		return nil, Unreadable(err)
	}
	return &budget, nil
}

// judge sorts a decision's checks by the permissions they are of.
func (v *ExplanationView) judge(agent *domain.Agent, made *domain.DecisionMade, at time.Time) {
	for _, c := range made.Checks {
		if c.PermissionID == "" {
			v.Checks = append(v.Checks, c)
			continue
		}
		i := slices.IndexFunc(v.Permissions, func(j JudgedView) bool { return j.PermissionID == c.PermissionID })
		if i < 0 {
			i = len(v.Permissions)
			j := JudgedView{PermissionID: c.PermissionID, Decided: c.PermissionID == made.PermissionID}
			if p, ok := agent.Permission(c.PermissionID); ok {
				j.Status, j.Summary = p.StatusAt(at), p.Terms.Summary()
			}
			v.Permissions = append(v.Permissions, j)
		}
		v.Permissions[i].Checks = append(v.Permissions[i].Checks, c)
	}
}

// toAllow says, for each check that stood in the way, what would have had to be
// otherwise: for those of the permission that got furthest, of the agent where
// no permission did, and for every block.
func toAllow(agent *domain.Agent, made *domain.DecisionMade) []string {
	sentences := []string{}
	for _, c := range made.Checks {
		blocks := made.ReasonCode == domain.ActionBlocked && c.Rule == domain.RuleBlocked
		if c.Passed || c.PermissionID != made.PermissionID && !blocks {
			continue
		}
		p, _ := agent.Permission(c.PermissionID)
		sentences = append(sentences, wanted(c, p, made))
	}
	return sentences
}

// wanted is what one check wanted. The permission is nil for one of the agent's,
// or of the account's.
func wanted(c domain.Check, p *domain.Permission, made *domain.DecisionMade) string {
	terms, of := &domain.Terms{}, "the agent"
	if p != nil {
		terms, of = &p.Terms, "permission "+string(p.ID)
	}
	q := &made.Request
	switch c.Rule {
	case domain.RuleAgent:
		return "The agent would have had to be enabled."
	case domain.RuleActive:
		return wantedActive(p, made)
	case domain.RuleBlocked:
		return fmt.Sprintf("The %s would have had not to block %s for this vendor and resource.", of, q.Action)
	case domain.RuleAction:
		return fmt.Sprintf("The %s would have had to list %s among its allowedActions; it lists %s.", of, q.Action, several(terms.AllowedActions))
	case domain.RuleResource:
		return fmt.Sprintf("The request would have had to name a resource that the %s covers: %s.", of, several(terms.Resource))
	case domain.RuleVendor:
		return fmt.Sprintf("The request would have had to name a vendor that the %s covers: %s.", of, several(terms.Vendors))
	case domain.RuleAmount:
		return fmt.Sprintf("The amount would have had to be %s %s or less; the request said %s.", terms.MaxAmount, terms.Currency, amountText(q))
	case domain.RuleContext:
		return fmt.Sprintf("The request would have had to come from a context that the %s covers (%s).", of, c.Detail)
	case domain.RulePath:
		return fmt.Sprintf("The request would have had to name a path that the %s allows (%s).", of, c.Detail)
	case domain.RuleCommand:
		return fmt.Sprintf("The request would have had to name a command that the %s does not deny (%s).", of, c.Detail)
	case domain.RuleTime:
		return fmt.Sprintf("It would have had to be asked in one of the time windows of the %s.", of)
	case domain.RuleRate, domain.RuleAccountRate:
		return fmt.Sprintf("Fewer requests would have had to be allowed before it%s (%s).", untilText(made), c.Detail)
	case domain.RuleBudget, domain.RuleAccountBudget:
		return fmt.Sprintf("More would have had to be left of the budget%s (%s).", untilText(made), c.Detail)
	case domain.RuleApproval:
		return wantedApproval(c, terms, made)
	}
	return "This check would have had to pass: " + c.Detail + "."
}

func wantedActive(p *domain.Permission, made *domain.DecisionMade) string {
	if p == nil {
		return fmt.Sprintf("A permission of the agent would have had to allow the action %s.", made.Request.Action)
	}
	switch made.ReasonCode {
	case domain.PermissionRevokedCode:
		return fmt.Sprintf("Permission %s would have had not to be revoked.", p.ID)
	case domain.PermissionExpired:
		return fmt.Sprintf("Permission %s would have had to hold for longer than until %s.", p.ID, p.Terms.ExpiresAt.Format(time.RFC3339))
	case domain.PermissionNotYet:
		return fmt.Sprintf("Permission %s would have had to hold before %s.", p.ID, p.Terms.NotBefore.Format(time.RFC3339))
	}
	return fmt.Sprintf("Permission %s would have had to be active.", p.ID)
}

func wantedApproval(c domain.Check, terms *domain.Terms, made *domain.DecisionMade) string {
	switch made.ReasonCode {
	case domain.ApprovalRequired:
		return fmt.Sprintf("A person would have had to approve it (approval %s).", made.ApprovalID)
	case domain.ApprovalDeniedCode:
		return fmt.Sprintf("A person would have had to approve approval %s, which was denied.", made.ApprovalID)
	case domain.ApprovalUsed:
		return fmt.Sprintf("It would have had to be asked later, or otherwise: approval %s was used already.", made.ApprovalID)
	case domain.TooManyPending:
		return "Fewer approvals of the agent would have had to be open (" + c.Detail + ")."
	}
	return fmt.Sprintf("The request would have had to name an amount in %s, so that it can be compared with the one above which a person is asked.", terms.Currency)
}

func amountText(q *domain.Request) string {
	if q.Amount == "" {
		return "none"
	}
	return string(q.Amount) + " " + string(q.Currency)
}

func untilText(made *domain.DecisionMade) string {
	if made.WindowEndsAt.IsZero() {
		return ""
	}
	return ", or it would have had to be asked after " + made.WindowEndsAt.UTC().Format(time.RFC3339)
}

// several is a list in words.
func several[S ~string](list []S) string {
	const most = 8
	texts := make([]string, 0, most+1)
	for i, s := range list {
		if i == most {
			texts = append(texts, fmt.Sprintf("and %d more", len(list)-most))
			break
		}
		texts = append(texts, string(s))
	}
	return strings.Join(texts, ", ")
}
