package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/behalf-platform/behalf/domain"
)

const presetFiles = "../../schemas/presets"

func TestPresets(t *testing.T) {
	t.Parallel()
	names := presetNames()
	if want := []string{"coding", "crm", "email", "research", "scheduling", "shopping"}; !slices.Equal(names, want) {
		t.Errorf("got the presets %q, want %q", names, want)
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(presetFiles, name)
			out := offline(t).says(0, []string{" 0 not\n"}, "test", file+".scenario.yaml")
			if strings.HasPrefix(out, "0") {
				t.Errorf("got no case: %s", out)
			}

			// With a clock of its own, for what is here ends one day.
			s := &shell{now: func() time.Time { return time.Date(2027, 3, 2, 10, 0, 0, 0, time.UTC) }}
			f, err := readPassport(file+".yaml", nil)
			if err != nil {
				t.Fatal(err)
			}
			for i := range f.agents {
				for _, found := range f.agents[i].lint(s) {
					t.Errorf("%s.yaml:%d: %s %s", file, f.agents[i].permissions[found.Draft].node.find(found.Field), found.Code, found.Message)
				}
				sc, err := readScenario(file + ".scenario.yaml")
				if err != nil {
					t.Fatal(err)
				}
				for _, p := range f.agents[i].permissions {
					if !slices.ContainsFunc(sc.cases, func(c scenarioCase) bool { return c.expect.Permission == domain.PermissionID(p.key) }) {
						t.Errorf("no case shows what the permission %s is for", p.key)
					}
				}
			}
		})
	}
}

func TestPresetsAreShown(t *testing.T) {
	t.Parallel()
	c := offline(t)
	c.says(0, []string{"PRESET", "shopping    Shopping agent: buys"}, "presets", "list")
	for _, kind := range []string{"", ".scenario"} {
		want, err := os.ReadFile(filepath.Join(presetFiles, "coding"+kind+".yaml"))
		if err != nil {
			t.Fatal(err)
		}
		args := []string{"presets", "show", "coding", "--scenario"}
		c.want(0, string(want), args[:3+len(kind)/9]...)
	}
	out := c.says(0, nil, "presets", "show", "coding", "--expires", "2028-05-01")
	if strings.Contains(out, "2030") || strings.Count(out, "expiresAt: 2028-05-01T00:00:00Z") != 8 {
		t.Errorf("got\n%s\nwant eight that end in May", out)
	}

	// What is shown with another end is tested by the same scenario.
	dir := t.TempDir()
	for file, args := range map[string][]string{"coding.yaml": {"--expires", "1d"}, "coding.scenario.yaml": {"--scenario"}} {
		text := c.says(0, nil, append([]string{"presets", "show", "coding"}, args...)...)
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c.says(0, []string{"23 as expected, 0 not"}, "test", dir)
	c.says(0, []string{"0 errors, 0 warnings"}, "lint", "--strict", dir)

	c.wantError(2, []string{`there is no preset "codng"; there are coding, crm`}, "presets", "show", "codng")
	c.wantError(2, []string{"there is no preset"}, "presets", "show", "../presets/coding")
	c.wantError(2, []string{"--expires"}, "presets", "show", "coding", "--expires", "soon")
	c.wantError(2, []string{"needs NAME"}, "presets", "show")
}

func TestPresetsAreApplied(t *testing.T) {
	t.Parallel()
	_, c, _ := applied(t, miaFile)
	for _, name := range presetNames() {
		file := filepath.Join(presetFiles, name+".yaml")
		c.says(0, []string{"Done: 1 registered"}, "apply", "-f", file)
		c.says(0, []string{"Nothing to do"}, "apply", "-f", file, "--prune")
	}
}
