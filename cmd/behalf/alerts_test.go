package main

import (
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/behalf-platform/behalf"
)

// alertRules are as much of Prometheus's rules as there is in ours.
type alertRules struct {
	Groups []struct {
		Name  string
		Rules []struct {
			Alert, Expr, For    string
			Labels, Annotations map[string]string
		}
	}
}

var (
	metricName = regexp.MustCompile(`\bbehalf_[a-z_]+`)
	labelMatch = regexp.MustCompile(`(behalf_[a-z_]+)\{([a-z_]+)="([^"]*)"\}`)
	labelNamed = regexp.MustCompile(`\$labels\.([a-z_]+)|by \(([a-z_]+)\)`)
)

// The rules are about metrics and labels that there are: of a server of which
// something is late, so that there is something to be late.
func TestAlertsAreAboutMetricsThatThereAre(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("../../schemas/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file alertRules
	if err := yaml.Load(raw, &file, yaml.WithKnownFields()); err != nil {
		t.Fatal(err)
	}
	metrics := metricsWithAWebhook(t)
	series := regexp.MustCompile(`(?m)^(behalf_[a-z_]+)(?:_bucket|_sum|_count)?(\{[^}]*\})? `)
	labels := map[string]string{} // all of a metric's, one after another
	for _, m := range series.FindAllStringSubmatch(metrics, -1) {
		labels[m[1]] += m[2]
	}
	names := map[string]bool{}
	for _, group := range file.Groups {
		for _, r := range group.Rules {
			used := metricName.FindAllString(r.Expr, -1)
			if names[r.Alert] || len(used) == 0 || r.Annotations["summary"] == "" || r.Labels["severity"] == "" {
				t.Errorf("%s: got %+v, want one of the name, about our metrics, with a summary and a severity", r.Alert, r)
			}
			names[r.Alert] = true
			if d, err := time.ParseDuration(r.For); r.For != "" && (err != nil || d <= 0) {
				t.Errorf("%s: for %s: %v", r.Alert, r.For, err)
			}
			all := ""
			for _, name := range used {
				have, there := labels[name]
				if !there && !strings.Contains(metrics, "# TYPE "+name+" ") {
					t.Errorf("%s: there is no metric %s", r.Alert, name)
				}
				all += have
			}
			for _, m := range labelMatch.FindAllStringSubmatch(r.Expr, -1) {
				if !strings.Contains(labels[m[1]], m[2]+`="`+m[3]+`"`) {
					t.Errorf("%s: %s has no label %s that is %s", r.Alert, m[1], m[2], m[3])
				}
			}
			for _, m := range labelNamed.FindAllStringSubmatch(r.Expr+r.Annotations["summary"], -1) {
				if name := m[1] + m[2]; name != "instance" && !strings.Contains(all, name+`="`) { // Prometheus adds that one
					t.Errorf("%s: %q have no label %s", r.Alert, used, name)
				}
			}
		}
	}
	if want := []string{"BehalfNotReady", "BehalfProjectionLag", "BehalfEventsLag", "BehalfWebhookLag"}; slices.ContainsFunc(want, func(n string) bool { return !names[n] }) {
		t.Errorf("got %v, want %v among them", names, want)
	}
}

// metricsWithAWebhook are the metrics of a server with a webhook that is behind.
func metricsWithAWebhook(t *testing.T) (metrics string) {
	t.Helper()
	s := startServer(t, t.TempDir(), hookFlags()...)
	r := &hookReceiver{
		t: t, name: "busy", times: map[string]int{}, forms: map[string]int{},
		ill: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) },
	}
	r.mustListen()
	client := &behalf.Client{BaseURL: s.url, Token: testToken}
	var err error
	if r.webhook, err = client.CreateWebhook(t.Context(), behalf.WebhookSettings{URL: "http://" + r.addr}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.VerifyWebhook(t.Context(), r.webhook.WebhookID); err != nil {
		t.Fatal(err)
	}
	s.asked(s.agent("agent_ollie"), `{"action":"fly"}`)
	if err := waitUntil(t.Context(), func() bool {
		metrics = s.must(200, "GET", "/metrics", "", "")
		return strings.Contains(metrics, "behalf_webhook_attempts_total{") && strings.Contains(metrics, "behalf_webhook_oldest_undelivered_seconds{")
	}); err != nil {
		t.Fatal(err)
	}
	return metrics
}
