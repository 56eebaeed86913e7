package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/behalf-platform/behalf/domain"
)

func (s *shell) lint() *cobra.Command {
	var strict bool
	cmd := &cobra.Command{
		Use: "lint PATH…", Short: "Look passport files over for mistakes",
		Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			files, err := filesOf(args, "agents")
			if err != nil {
				return err
			}
			return s.lintFiles(files, strict)
		},
	}
	var codes []string
	for _, c := range domain.LintCodes() {
		codes = append(codes, string(c))
	}
	cmd.Long = `Look passport files, or all of a directory, over for mistakes: permissions that
never allow, contradict or shadow each other, or reach too far. What is said is
certain; what can't be known from the file alone is not said. An amount without a
currency is compared only with others without one.

Errors are wrong whatever was meant. Warnings are for you to judge; --strict makes
them fail too. The codes are stable: ` + strings.Join(codes, ", ") + `.

Exit codes: 0 nothing wrong, 1 errors (with --strict, or warnings), 2 the command
line is wrong.`
	cmd.Example = `  behalf lint passport.yaml
  behalf lint --strict passports/`
	cmd.Flags().BoolVar(&strict, "strict", false, "fail for warnings too")
	return cmd
}

func (s *shell) lintFiles(files []string, strict bool) error {
	errs, warnings := 0, 0
	for _, file := range files {
		f, err := readPassport(file, nil)
		if err != nil {
			errs++
			_, _ = fmt.Fprintln(s.out, visibleLines(err.Error()))
			continue
		}
		for i := range f.agents {
			a := &f.agents[i]
			if a.limits != nil {
				if _, err := a.limits.Accept(a.standIn(), "UTC"); err != nil {
					errs++
					_, _ = fmt.Fprintln(s.out, visibleLines(faultAt(file, a.limitsNode, err).Error()))
				}
			}
			for _, found := range a.lint(s) {
				severity := "warning"
				if found.Error {
					severity = "error"
					errs++
				} else {
					warnings++
				}
				p := &a.permissions[found.Draft]
				_, _ = fmt.Fprintf(s.out, "%s:%d: %s: %s/%s: %s; %s [%s]\n", file, p.node.find(found.Field), severity,
					a.id, p.key, visible(found.Message), visible(found.Todo), found.Code)
			}
		}
	}
	if _, err := fmt.Fprintf(s.out, "%s, %s in %s\n", counted(errs, "error"), counted(warnings, "warning"), counted(len(files), "file")); err != nil {
		return fmt.Errorf("write to standard output: %w", err)
	}
	if errs > 0 || strict && warnings > 0 {
		return exitCode(exitFailed)
	}
	return nil
}

func counted(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// lint looks an agent of a file over.
func (a *agentEntry) lint(s *shell) []domain.Finding {
	var drafts []domain.Draft
	for _, p := range a.permissions {
		drafts = append(drafts, domain.Draft{Key: domain.PermissionID(p.key), Terms: p.terms})
	}
	var limits domain.Limits
	if a.limits != nil {
		limits = *a.limits
	}
	return domain.Lint(drafts, limits, domain.Account{Currency: a.standIn()}, s.now())
}

// standIn is a currency for amounts that name none, one that no other amount
// has: what the account's is isn't known here.
func (a *agentEntry) standIn() domain.Currency {
	all := []domain.Currency{"USD", "EUR", "GBP", "CHF", "CAD", "AUD", "NZD", "SEK", "NOK", "DKK", "PLN", "CZK"}
	i := slices.IndexFunc(all, func(c domain.Currency) bool {
		return !slices.ContainsFunc(a.permissions, func(p permissionEntry) bool { return p.terms.Currency == c })
	})
	return all[max(i, 0)]
}
