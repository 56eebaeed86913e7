package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/behalf-platform/behalf/domain"
)

func (s *shell) test() *cobra.Command {
	var verbose bool
	cmd := &cobra.Command{
		Use: "test PATH…", Short: "Run scenario files: what would be decided, without a server",
		Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			files, err := filesOf(args, "cases")
			if err != nil {
				return err
			}
			return s.runScenarios(files, verbose)
		},
	}
	cmd.Long = `Run scenario files, or all of a directory: asks with the decisions they should
get. They are decided here by the rules that the server has, without a server.

  passport: ../passport.yaml        # or the passport itself
  agent: agent_mia                  # if the passport has several
  time: 2027-03-01T12:00:00Z
  currency: USD                     # the account's; so is timeZone (UTC)
  history:                          # what was asked before, for limits and approvals
    - ask: {action: purchase, vendor: coachella.com, amount: 40}
      at: 2027-03-01T09:00:00Z      # else at time
      times: 2
      expect: {decision: allowed}   # what else it may be has to be said
      answer: approve               # or deny: what a person says to it
      outcome: executed             # or failed; with amount, less than was reserved
  cases:                            # each by itself, after the history
    - name: too dear
      ask: {action: purchase, vendor: coachella.com, amount: 742}
      expect: {decision: denied, reasonCode: AMOUNT_EXCEEDS_LIMIT, permission: tickets}

A case may have a time and a further history of its own, which is then at that time. Exit codes: 0 all as
expected, 1 not, or a file can't be read.`
	cmd.Example = `  behalf test scenarios/
  behalf test schemas/presets/shopping.scenario.yaml --verbose`
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "list every case, with all checks")
	return cmd
}

// runScenarios runs files and says how each came out.
func (s *shell) runScenarios(files []string, verbose bool) error {
	passed, failed := 0, 0
	for _, file := range files {
		sc, err := readScenario(file)
		if err != nil {
			failed++
			_, _ = fmt.Fprintln(s.out, "FAIL", visibleLines(err.Error()))
			continue
		}
		wrong := 0
		for i := range sc.cases {
			c := &sc.cases[i]
			d, err := sc.decide(c)
			miss := c.expect.misses(&d)
			switch {
			case err != nil:
				wrong++
				_, _ = fmt.Fprintln(s.out, "FAIL", visibleLines(err.Error()))
				continue
			case miss:
				wrong++
				_, _ = fmt.Fprintf(s.out, "FAIL %s:%d: %s\n  want %s\n", sc.name, c.line, visible(c.name), c.expect)
			case verbose:
				_, _ = fmt.Fprintf(s.out, "ok   %s:%d: %s\n", sc.name, c.line, visible(c.name))
			}
			if miss || verbose {
				if err := s.explainCase(&d, miss); err != nil {
					return err
				}
			}
		}
		passed, failed = passed+len(sc.cases)-wrong, failed+wrong
		if wrong == 0 && !verbose {
			_, _ = fmt.Fprintf(s.out, "ok   %s: %d as expected\n", sc.name, len(sc.cases))
		}
	}
	if _, err := fmt.Fprintf(s.out, "%d as expected, %d not\n", passed, failed); err != nil {
		return fmt.Errorf("write to standard output: %w", err)
	}
	if failed > 0 {
		return exitCode(exitFailed)
	}
	return nil
}

// explainCase says what was decided, and by which checks.
func (s *shell) explainCase(d *domain.DecisionMade, missed bool) error {
	lead := "  got  "
	if !missed {
		lead = "       "
	}
	if _, err := fmt.Fprintf(s.out, "%s%s: %s\n", lead, expectation{d.Outcome, d.ReasonCode, d.PermissionID}, visible(d.Reason)); err != nil {
		return fmt.Errorf("write to standard output: %w", err)
	}
	t := newTable(s.out)
	for _, c := range d.Checks {
		sign := "yes"
		if !c.Passed {
			sign = "no"
		}
		t.row("       "+orDash(string(c.PermissionID)), string(c.Rule), sign, c.Detail)
	}
	return t.flush()
}

// visibleLines is visible for a text of several lines.
func visibleLines(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = visible(line)
	}
	return strings.Join(lines, "\n")
}

// filesOf are the files that paths name, and those of directories that have a
// field: a directory may hold passports and scenarios side by side.
func filesOf(paths []string, field string) (files []string, err error) {
	for _, path := range paths {
		info, err := os.Stat(path)
		switch {
		case err != nil:
			return nil, usagef("%v", err)
		case !info.IsDir():
			files = append(files, path)
			continue
		}
		err = filepath.WalkDir(path, func(file string, entry fs.DirEntry, err error) error {
			if err == nil && entry.IsDir() && file != path && strings.HasPrefix(entry.Name(), ".") {
				return fs.SkipDir
			}
			if err != nil || entry.IsDir() || !slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(file)) {
				return err
			}
			has, err := hasField(file, field)
			if has {
				files = append(files, file)
			}
			return err
		})
		if err != nil {
			return nil, usagef("%v", err)
		}
	}
	if len(files) == 0 {
		return nil, usagef("found no file with %s in %s", field, strings.Join(paths, ", "))
	}
	return files, nil
}

// hasField reports whether a file has a field at its top. One that can't be read
// may have it: whoever reads it next says what is wrong. One that is neither a
// passport nor a scenario is no business of ours to pass over in silence.
func hasField(file, field string) (bool, error) {
	name, text, err := readText(file, nil)
	if err != nil {
		return false, err
	}
	root, err := readTree(name, text)
	if err != nil {
		return true, nil
	}
	if root.member("agents") == nil && root.member("cases") == nil {
		return false, usagef("%s is neither a passport (agents) nor a scenario (cases); keep it elsewhere", file)
	}
	return root.member(field) != nil, nil
}
