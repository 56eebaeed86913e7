package main

import (
	"fmt"
	"io/fs"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/behalf-platform/behalf/schemas"
)

func (s *shell) presets() *cobra.Command {
	cmd := s.group("presets", "Passports for common agents, to begin with", s.listPresets(), s.showPreset())
	cmd.Long = `Passports for common agents, to begin with: take one, change what is yours, test
and apply it.

  behalf presets show coding --expires 90d > coding.yaml
  behalf presets show coding --scenario > coding.scenario.yaml
  behalf lint coding.yaml && behalf test coding.scenario.yaml
  behalf apply -f coding.yaml`
	return cmd
}

func (s *shell) listPresets() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the presets", Args: arguments,
		RunE: func(*cobra.Command, []string) error {
			t := newTable(s.out)
			t.row("PRESET", "FOR")
			for _, name := range presetNames() {
				text, err := preset(name, "")
				if err != nil {
					return err
				}
				first, _, _ := strings.Cut(text, "\n")
				t.row(name, strings.TrimPrefix(first, "# "))
			}
			return t.flush()
		},
	}
}

func (s *shell) showPreset() *cobra.Command {
	var scenario bool
	var expires string
	cmd := &cobra.Command{
		Use: "show NAME", Short: "Print a preset", Args: arguments,
		RunE: func(_ *cobra.Command, args []string) error {
			kind := ""
			if scenario {
				kind = ".scenario"
			}
			text, err := preset(args[0], kind)
			if err != nil {
				return usagef("there is no preset %q; there are %s", args[0], strings.Join(presetNames(), ", "))
			}
			until, err := momentFlag("expires", expires, s.now(), ahead)
			if err != nil {
				return err
			}
			if !until.IsZero() {
				text = expiry.ReplaceAllString(text, "${1}"+until.UTC().Format(time.RFC3339))
			}
			if _, err := fmt.Fprint(s.out, text); err != nil {
				return fmt.Errorf("write to standard output: %w", err)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&scenario, "scenario", false, "print its scenario file, which tests it")
	cmd.Flags().StringVar(&expires, "expires", "", "when its permissions end: a time, a date (UTC), or a time from now such as 90d")
	return cmd
}

var expiry = regexp.MustCompile(`(?m)^(\s+expiresAt: )\S+`)

// preset is the text of a preset, or of its scenario.
func preset(name, kind string) (string, error) {
	b, err := fs.ReadFile(schemas.Presets, "presets/"+name+kind+".yaml")
	return string(b), err
}

// presetNames are sorted.
func presetNames() (names []string) {
	entries, _ := fs.ReadDir(schemas.Presets, "presets") // it is embedded
	for _, e := range entries {
		if name := strings.TrimSuffix(e.Name(), ".yaml"); !strings.Contains(name, ".") {
			names = append(names, name)
		}
	}
	return names
}
