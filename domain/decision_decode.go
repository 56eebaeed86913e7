package domain

import "bytes"

// quickDecision reads the data of a decision in just the form that append gives
// it. For any other, right or wrong, it is not ok: the strict decoder says what
// that is. What is taken here, that one takes, and makes the same of it.
func quickDecision(data []byte) (d DecisionMade, ok bool) {
	in := quick{b: data}
	in.want(`{"requestId":"`)
	d.RequestID = RequestID(in.text())
	if in.has(`,"requestDigest":"`) {
		d.RequestDigest = in.text()
	}
	in.want(`,"request":`)
	d.Request = quickRequest(&in)
	in.want(`,"passportVersion":`)
	d.PassportVersion = in.uint()
	in.want(`,"outcome":"`)
	d.Outcome = Outcome(in.textLike(string(OutcomeAllowed)))
	in.want(`,"reasonCode":"`)
	d.ReasonCode = ReasonCode(in.textLike(string(Allowed)))
	in.want(`,"reason":"`)
	d.Reason = in.text()
	in.want(`,"riskLevel":"`)
	d.Risk = Risk(in.textLike(string(RiskLow)))
	if in.has(`,"permissionId":"`) {
		d.PermissionID = PermissionID(in.text())
	}
	if in.has(`,"approvalId":"`) {
		d.ApprovalID = ApprovalID(in.text())
	}
	if in.has(`,"gate":`) {
		d.Gate = quickGate(&in)
	}
	d.Spends = in.has(`,"spends":true`)
	if in.has(`,"budgetVersion":`) {
		d.BudgetVersion = in.uint()
	}
	if in.has(`,"windowEndsAt":"`) {
		d.WindowEndsAt = in.time()
	}
	in.want(`,"checks":[`)
	d.Checks = quickChecks(&in, d.PermissionID)
	in.want(`}`)
	return d, in.done()
}

func quickGate(in *quick) *Gate {
	var g Gate
	in.want(`{"digest":"`)
	g.Digest = in.text()
	in.want(`,"pendingFor":"`)
	g.PendingFor = in.duration()
	in.want(`,"validFor":"`)
	g.ValidFor = in.duration()
	in.want(`,"denialFor":"`)
	g.DenialFor = in.duration()
	in.want(`,"remindEvery":"`)
	g.RemindEvery = in.duration()
	in.want(`,"minRole":"`)
	g.MinRole = Role(in.textLike(string(RoleApprover)))
	in.want(`,"quorum":`)
	g.Quorum = in.int()
	in.want(`,"mostPending":`)
	g.MostPending = in.int()
	if in.has(`,"with":[`) {
		for g.With = []PermissionID{}; !in.other && !in.has(`]`); {
			if len(g.With) > 0 {
				in.want(`,`)
			}
			in.want(`"`)
			g.With = append(g.With, PermissionID(in.text()))
		}
	}
	in.want(`}`)
	return &g
}

func quickRequest(in *quick) (r Request) {
	in.want(`{"action":"`)
	r.Action = Action(in.text())
	if in.has(`,"vendor":"`) {
		r.Vendor = in.text()
	}
	if in.has(`,"resource":"`) {
		r.Resource = in.text()
	}
	if in.has(`,"amount":"`) {
		r.Amount = Decimal(in.text())
		in.other = in.other || r.Amount == "" // which the strict decoder refuses
	}
	if in.has(`,"currency":"`) {
		r.Currency = Currency(in.textLike("USD"))
	}
	r.DefaultCurrency = in.has(`,"defaultCurrency":true`)
	if in.has(`,"path":"`) {
		r.Path = in.text()
	}
	if in.has(`,"command":"`) {
		r.Command = in.text()
	}
	if in.has(`,"cwd":"`) {
		r.Cwd = in.text()
	}
	if in.has(`,"context":`) {
		r.Context = quickFacts(in)
	}
	if in.has(`,"argumentsDigest":"`) {
		r.ArgumentsDigest = in.text()
	}
	in.want(`}`)
	return r
}

func quickFacts(in *quick) (f Facts) {
	in.want(`{`)
	first := in.i
	if in.member(`"branch":"`, first) {
		f.Branch = in.text()
	}
	if in.member(`"environment":"`, first) {
		f.Environment = in.text()
	}
	if in.member(`"repository":"`, first) {
		f.Repository = in.text()
	}
	in.want(`}`)
	return f
}

// quickChecks reads a list whose bracket is open. Most checks are of the
// permission that decided, and share its id.
func quickChecks(in *quick, of PermissionID) []Check {
	if in.has(`]`) {
		return []Check{}
	}
	// Each has one brace, and a detail seldom any.
	checks := make([]Check, 0, min(bytes.Count(in.b[in.i:], []byte(`{`)), 32))
	for !in.other {
		var c Check
		in.want(`{`)
		if in.has(`"permissionId":"`) {
			of = PermissionID(in.textLike(string(of)))
			c.PermissionID = of
			in.want(`,`)
		}
		in.want(`"rule":"`)
		c.Rule = quickRule(in)
		if c.Passed = in.has(`,"passed":true`); !c.Passed {
			in.want(`,"passed":false`)
		}
		if in.has(`,"detail":"`) {
			c.Detail = in.text()
		}
		in.want(`}`)
		checks = append(checks, c)
		if in.has(`]`) {
			break
		}
		in.want(`,`)
	}
	return checks
}

// quickRule reads the name of a rule. There is one in every check, which is worth
// having them all here; one that is missing is only copied.
func quickRule(in *quick) Rule {
	switch s := in.string(); string(s) {
	case string(RuleAgent):
		return RuleAgent
	case string(RuleActive):
		return RuleActive
	case string(RuleBlocked):
		return RuleBlocked
	case string(RuleAction):
		return RuleAction
	case string(RuleResource):
		return RuleResource
	case string(RuleVendor):
		return RuleVendor
	case string(RuleAmount):
		return RuleAmount
	case string(RuleContext):
		return RuleContext
	case string(RulePath):
		return RulePath
	case string(RuleCommand):
		return RuleCommand
	case string(RuleTime):
		return RuleTime
	case string(RuleRate):
		return RuleRate
	case string(RuleBudget):
		return RuleBudget
	case string(RuleAccountRate):
		return RuleAccountRate
	case string(RuleAccountBudget):
		return RuleAccountBudget
	case string(RuleApproval):
		return RuleApproval
	default:
		return Rule(s)
	}
}
