package main

import (
	"time"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers"
)

// wireWebhooks makes what manages webhooks. What sends gets it its secrets, its
// challenges and what is known of deliveries; without them webhooks are off.
func (n *node) wireWebhooks() {
	n.desk.Webhooks = &handlers.Webhooks{
		Writer: n.desk.Writer, Challenges: handlers.NewLimiter(1, time.Now),
		Rules: domain.EndpointRules{Types: eventTypes(), Most: n.cfg.MostWebhooks, PlainHTTP: n.cfg.PlainHTTPWebhooks},
	}
}

// eventTypes are the types of public events.
func eventTypes() []string {
	return []string{
		domain.VerificationAllowed, "verification.denied", "verification.requires_approval", "verification.settled",
		"approval.requested", "approval.voted", "approval.approved", "approval.denied", "approval.cancelled",
		"approval.reminded", "approval.expired", "approval.used",
		"permission.granted", "permission.replaced", "permission.revoked",
		"agent.registered", "agent.disabled", "agent.enabled", "agent.key_rotated", "agent.driver_changed",
		"agent.limits_set", "agent.budget_shared",
		"budget.set", "budget.exhausted",
		"account.opened", "account.settings_changed",
		"member.added", "member.role_changed", "member.token_rotated", "member.removed",
	}
}
