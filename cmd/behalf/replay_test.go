package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// replayed runs the command on a directory.
func replayed(t *testing.T, in, dir string, args ...string) (code int, out, errs string) {
	t.Helper()
	var said, wrong strings.Builder
	code = run(context.Background(), append([]string{"replay", "--data", dir}, args...), strings.NewReader(in), &said, &wrong, func(string) string { return "" })
	return code, said.String(), wrong.String()
}

var speeds = regexp.MustCompile(`in \S+ \(\d+ decisions/s\)|"seconds":[0-9.e-]+|"decisionsPerSecond":[0-9.e+]+`)

func TestReplayCommand(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	generate(t, dir, 10, 400)
	code, out, errs := replayed(t, "", dir)
	if code != 0 || !strings.HasPrefix(out, "no difference: 400 decisions decided again, of 461 records") {
		t.Fatalf("got %d, %q, %q", code, out, errs)
	}
	// Again, after a restart of the log: the same.
	if _, again, _ := replayed(t, "", dir); speeds.ReplaceAllString(again, "") != speeds.ReplaceAllString(out, "") {
		t.Errorf("got %q and %q, want the same", out, again)
	}
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"--agent", "agent_3"}, "no difference: 40 decisions"},
		{[]string{"--from", "100", "--through", "199"}, "no difference: 100 decisions"},
		{[]string{"--since", "2026-10-01T00:01:00Z", "--until", "2026-10-01T00:01:10Z"}, "no difference: 40 decisions"},
		{[]string{"--account", "acct_other"}, "no difference: 0 decisions"},
		// No more is read than is needed: an agent's own records, and those
		// that change what an agent may do before a range that begins late.
		{[]string{"--agent", "agent_3", "--account", "acct_home"}, "no difference: 40 decisions decided again, of 46 records"},
		{[]string{"--from", "452"}, "no difference: 10 decisions decided again, of 74 records"},
	} {
		if code, out, errs := replayed(t, "", dir, tt.args...); code != 0 || !strings.HasPrefix(out, tt.want) {
			t.Errorf("%v: got %d, %q, %q, want %q", tt.args, code, out, errs, tt.want)
		}
	}
	code, out, _ = replayed(t, "", dir, "--output", "json")
	var report replayReport
	if err := json.Unmarshal([]byte(out), &report); err != nil || code != 0 || report.Decisions != 400 || report.Different != 0 {
		t.Errorf("got %d, %q, %v", code, out, err)
	}
}

// A release before this one may have written records with their members in
// another order, with blanks between them and other escapes. They are decided
// again as those of this one are.
func TestReplayOfARecordIsTheSameHoweverItWasWritten(t *testing.T) {
	t.Parallel()
	dirs := [2]string{t.TempDir(), t.TempDir()}
	generate(t, dirs[0], 10, 400)
	generateAs(t, dirs[1], 10, 400, func(record []byte) []byte {
		in := json.NewDecoder(bytes.NewReader(record))
		in.UseNumber()
		var members map[string]any
		if err := in.Decode(&members); err != nil {
			t.Error(err)
		}
		written, err := json.MarshalIndent(members, "", "\t")
		if err != nil || bytes.Equal(written, record) {
			t.Errorf("got %s, %v, want it written otherwise", written, err)
		}
		return written
	})
	candidate := `{"agents":{"agent_1":{"replace":{"perm_agent_1_0":{"action":"purchase:0","maxAmount":"100.00"}}}}}`
	for _, args := range [][]string{{"--output", "json"}, {"--agent", "agent_0"}, {"--what-if", "-", "--output", "json"}} {
		var said [2]string
		for i, dir := range dirs {
			code, out, errs := replayed(t, candidate, dir, args...)
			if code > exitFailed {
				t.Fatalf("%v: got %d, %s", args, code, errs)
			}
			said[i] = speeds.ReplaceAllString(out, "")
		}
		if said[0] != said[1] {
			t.Errorf("%v: got\n%s\nof an older release's log, want\n%s", args, said[1], said[0])
		}
	}
}

func TestWhatIfCommand(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	generate(t, dir, 10, 400)
	file := filepath.Join(t.TempDir(), "candidate.yaml")
	const candidate = "agents:\n  agent_1:\n    replace:\n      perm_agent_1_0: {action: 'purchase:0', vendors: shop0.example.com, maxAmount: '100.00'}\n    remove: [perm_agent_1_1]\n"
	if err := os.WriteFile(file, []byte(candidate), 0o600); err != nil {
		t.Fatal(err)
	}
	// Of its 40 decisions each of ten asks comes four times: 120.00 by perm 0 is
	// now too much, and so is what was denied; perm 1 is gone for both amounts.
	for _, mode := range []string{"recorded-state", "consequences"} {
		code, out, errs := replayed(t, "", dir, "--what-if", file, "--mode", mode)
		for _, want := range []string{
			"12 CHANGE: 40 decisions under the candidate (" + mode + ")", "Money now allowed: 0.00 USD", "now stopped: 960.00 USD",
			"allowed", "denied AMOUNT_EXCEEDS_LIMIT", "denied PERMISSION_REVOKED", "req_",
		} {
			if code != 1 || !strings.Contains(out, want) {
				t.Errorf("%s: got %d, %q, %q, want %q", mode, code, out, errs, want)
			}
		}
	}
	asJSON := `{"agents":{"agent_1":{"limits":{}}}}`
	if code, out, errs := replayed(t, asJSON, dir, "--what-if", "-"); code != 0 || !strings.HasPrefix(out, "nothing changes: 40 decisions") {
		t.Errorf("got %d, %q, %q, want nothing to change", code, out, errs)
	}
	code, out, _ := replayed(t, "", dir, "--what-if", file, "--output", "json", "--examples", "2")
	var report whatIfReport
	if err := json.Unmarshal([]byte(out), &report); err != nil || code != 1 || report.Changed != 12 || len(report.Changes) != 3 || len(report.Changes[0].Examples) != 2 {
		t.Errorf("got %d, %q, %v", code, out, err)
	}
}

func TestReplayCommandRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	generate(t, dir, 2, 20)
	for _, tt := range []struct {
		name, in string
		args     []string
		code     int
		want     string
	}{
		{"no such flag value", "", []string{"--output", "xml"}, exitUsage, "xml"},
		{"no position", "", []string{"--from", "soon"}, exitUsage, "neither a position"},
		{"another log's position", "", []string{"--from", "AAAAAAABAg"}, exitUsage, "another log"},
		{"no such mode", `{"agents":{"agent_1":{"limits":{}}}}`, []string{"--what-if", "-", "--mode", "guess"}, exitUsage, "guess"},
		{"an unknown field", "agents:\n  agent_1:\n    addd: []\n", []string{"--what-if", "-"}, exitUsage, "standard input:3:"},
		{"terms that can't be read", "agents:\n  agent_1:\n    add:\n    - acton: x\n", []string{"--what-if", "-"}, exitUsage, "standard input:4:"},
		{"no agents", "{}", []string{"--what-if", "-"}, exitUsage, "names no agents"},
		{"an agent there is not", `{"agents":{"agent_x":{"limits":{}}}}`, []string{"--what-if", "-"}, exitUsage, "agent_x"},
		{"a permission there never was", `{"agents":{"agent_1":{"remove":["perm_x"]}}}`, []string{"--what-if", "-"}, exitUsage, "perm_x"},
		{"terms no grant would take", `{"agents":{"agent_1":{"add":[{"maxAmount":"1"}]}}}`, []string{"--what-if", "-"}, exitUsage, "is required"},
	} {
		if code, out, errs := replayed(t, tt.in, dir, tt.args...); code != tt.code || !strings.Contains(errs, tt.want) {
			t.Errorf("%s: got %d, %q, %q, want %d and %q", tt.name, code, out, errs, tt.code, tt.want)
		}
	}
	if code, _, errs := replayed(t, "", t.TempDir()); code != exitUnavailable || !strings.Contains(errs, "there is no log") {
		t.Errorf("got %d, %q, want that there is no log", code, errs)
	}
}
