package domain

import (
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
)

func TestDuration(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		text string
		want time.Duration
		back string
	}{
		{"0s", 0, "0s"},
		{"0", 0, "0s"},
		{"1s", time.Second, "1s"},
		{"90s", 90 * time.Second, "1m30s"},
		{"60s", time.Minute, "1m"},
		{"30m", 30 * time.Minute, "30m"},
		{"10m", 10 * time.Minute, "10m"},
		{"100m", 100 * time.Minute, "1h40m"},
		{"60m", time.Hour, "1h"},
		{"24h", 24 * time.Hour, "24h"},
		{"10h", 10 * time.Hour, "10h"},
		{"1h30m", 90 * time.Minute, "1h30m"},
		{"1h10m", 70 * time.Minute, "1h10m"},
		{"1h0m5s", time.Hour + 5*time.Second, "1h0m5s"},
		{"20h20m20s", 20*time.Hour + 20*time.Minute + 20*time.Second, "20h20m20s"},
		{"720h", 720 * time.Hour, "720h"},
	} {
		var d Duration
		if err := d.UnmarshalText([]byte(tt.text)); err != nil || time.Duration(d) != tt.want {
			t.Errorf("%q: got %s, %v, want %s", tt.text, time.Duration(d), err, tt.want)
		}
		if got := d.String(); got != tt.back {
			t.Errorf("%q: got %q written, want %q", tt.text, got, tt.back)
		}
	}
	for _, text := range []string{
		"", " ", "1", "1d", "-1s", "+1s", "-0s", "1.5h", ".5h", "0.1s", "1ms", "1500ms", "1000ms", "3600000000us", "1s1ns", "1e3s", "1h 30m", "1h\n", "h", "٣s", "9999999h", "P1D", "1H",
	} {
		d := Duration(7)
		if err := d.UnmarshalText([]byte(text)); err == nil || d != 7 {
			t.Errorf("%q: got %s, %v, want it refused and nothing written", text, d, err)
		}
	}
	b, err := json.Marshal(ApprovalTerms{PendingFor: Duration(time.Hour)})
	if want := `{"pendingFor":"1h"}`; err != nil || string(b) != want {
		t.Errorf("got %s, %v, want %s", b, err, want)
	}
	var terms ApprovalTerms
	if err := json.Unmarshal([]byte(`{"pendingFor":3600}`), &terms); err == nil {
		t.Error("a number: got none, want it refused")
	}
}

func FuzzDuration(f *testing.F) {
	for _, s := range []string{"", "0", "24h", "1h30m", "90s", "1000ms", "2562047h47m16s", "9223372036s", "-1s", "1h0m0s", "0h0m0s", "1.0s"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var d Duration
		if err := d.UnmarshalText([]byte(s)); err != nil {
			return
		}
		if d < 0 || d%Duration(time.Second) != 0 || strings.Trim(s, "0123456789hms") != "" || strings.Contains(s, "ms") {
			t.Errorf("%q is read as %s", s, time.Duration(d))
		}
		var again Duration
		text := d.String()
		if err := again.UnmarshalText([]byte(text)); err != nil || again != d {
			t.Errorf("%q is written as %q, which is read as %s, %v", s, text, time.Duration(again), err)
		}
	})
}

func TestApprovalRuleJSON(t *testing.T) {
	t.Parallel()
	type terms struct {
		Rule ApprovalRule `json:"rule,omitzero"`
	}
	for _, tt := range []struct {
		text string
		want ApprovalRule
		back string
	}{
		{`{"rule":true}`, ApprovalRule{Always: true}, `{"rule":true}`},
		{`{"rule":false}`, ApprovalRule{}, `{}`},
		{`{}`, ApprovalRule{}, `{}`},
		{`{"rule":100}`, ApprovalRule{Above: "100"}, `{"rule":"100"}`},
		{`{"rule":"100.00"}`, ApprovalRule{Above: "100.00"}, `{"rule":"100.00"}`},
		{`{"rule":0}`, ApprovalRule{Above: "0"}, `{"rule":"0"}`},
		{`{"rule":9007199254740993}`, ApprovalRule{Above: "9007199254740993"}, `{"rule":"9007199254740993"}`},
	} {
		got := terms{Rule: ApprovalRule{Always: true, Above: "7"}} // what was there does not stay
		if tt.text == `{}` {
			got = terms{}
		}
		if err := json.Unmarshal([]byte(tt.text), &got); err != nil || got.Rule != tt.want {
			t.Errorf("%s: got %+v, %v, want %+v", tt.text, got.Rule, err, tt.want)
		}
		if b, err := json.Marshal(got); err != nil || string(b) != tt.back {
			t.Errorf("%s: got %s written, %v, want %s", tt.text, b, err, tt.back)
		}
	}
	for _, text := range []string{`null`, `""`, `[]`, `[true]`, `{}`, `{"above":1}`} {
		var rule ApprovalRule
		if err := json.Unmarshal([]byte(text), &rule); err == nil {
			t.Errorf("%s: got %+v, want it refused", text, rule)
		}
	}
	// These are amounts by their type, and refused as amounts when they are granted.
	for _, text := range []string{`-1`, `1e3`, `"true"`, `"always"`, `"1.001"`, `1.001`} {
		var rule ApprovalRule
		if err := json.Unmarshal([]byte(text), &rule); err != nil {
			continue
		}
		got, err := givenAgent(registered).Grant(GrantPermission{PermissionID: "perm_x", Terms: Terms{Action: "buy", RequiresApproval: rule}, Now: noon, Currency: "USD", TimeZone: "UTC"})
		if wantEvents(t, got, err, nil, Invalid, "/requiresApproval"); t.Failed() {
			t.Fatal(text)
		}
	}
}

func FuzzApprovalRule(f *testing.F) {
	for _, s := range []string{"true", "false", "100", `"100.00"`, `""`, "null", "[]", "{}", "-1", "1e9", `"\u0031"`, "tru", `"a`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var rule ApprovalRule
		if err := json.Unmarshal(b, &rule); err != nil {
			return
		}
		if rule.Always && rule.Above != "" {
			t.Errorf("%s is read as %+v, which is two rules", b, rule)
		}
		back, err := json.Marshal(rule)
		if err != nil {
			t.Fatalf("%s is read as %+v, which can't be written: %v", b, rule, err)
		}
		var again ApprovalRule
		if err := json.Unmarshal(back, &again); err != nil || again != rule {
			t.Errorf("%s is written as %s, which is read as %+v, %v", b, back, again, err)
		}
	})
}
