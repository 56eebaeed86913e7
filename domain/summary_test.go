package domain

import (
	"testing"
	"time"
)

func TestSummary(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		terms Terms
		want  string
	}{
		{Terms{Action: "purchase", RequiresApproval: ApprovalRule{Always: true}}, "may purchase; with approval"},
		{Terms{Action: "purchase", MaxAmount: "500.00", Currency: "USD", RequiresApproval: ApprovalRule{Above: "100.00"}}, "may purchase; up to 500.00 USD each time; with approval above 100.00 USD"},
		{within(budgets(Budget{"50.00", "USD", PerDay, "UTC"}, Budget{"900", "JPY", InTotal, ""})), "may purchase; 50.00 USD per day; 900 JPY in total"},
		{within(rates(Rate{1, PerHour, "Europe/Berlin"}, Rate{20, InTotal, ""})), "may purchase; once per hour (Europe/Berlin); 20 times in total"},
		{Terms{Action: "read", ExpiresAt: noon.Add(time.Hour)}, "may read; until 2026-11-23T13:00:00Z"},
	} {
		if got := tt.terms.Summary(); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}
