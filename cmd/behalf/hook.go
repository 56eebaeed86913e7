package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/behalf-platform/behalf/cmd/behalf/access"
	"github.com/behalf-platform/behalf/cmd/behalf/hook"
	_ "github.com/behalf-platform/behalf/cmd/behalf/hook/early" // runs the hooks themselves, without the rest
)

func (s *shell) hook() *cobra.Command {
	cmd := s.group("hook", "Ask before each tool call of a coding agent", s.installHook(), s.uninstallHook())
	for _, editor := range hook.Editors {
		cmd.AddCommand(s.runHook(editor))
	}
	cmd.Long = `Ask before each tool call of a coding agent. "behalf hook install EDITOR" writes
the hook into the editor's settings; the editor then starts "behalf hook EDITOR"
before each call. A call goes through only after a recorded allow.

A tool call is verified as one of these actions:

  shell.exec      Bash, Shell: command, cwd
  powershell.exec PowerShell: command, cwd; rules for bash don't fit it
  file.read       Read: path
  file.write      Write, Edit, MultiEdit, NotebookEdit, apply_patch: path
  file.delete     Delete, apply_patch: path
  file.search     Glob, Grep, LS: path of the directory; what lies below is read
  web.fetch       WebFetch: vendor is the host, resource the URL without its query
  web.search      WebSearch
  agent.spawn     Task, Agent: resource agent://TYPE
  mcp.call        mcp__SERVER__TOOL: resource mcp://SERVER/TOOL
  tool.NAME       every other tool

The whole input of the tool is the arguments, of which the record keeps a digest.
Where a verify would be over 64 KiB, {"sha256": …, "bytes": …} of the input in
canonical form stands for them. A path that leads through links is asked about
twice, as it is written and where it leads. Branch and repository are what git
has checked out in the agent's directory.`
	return cmd
}

// runHook is the hook itself, for the help and for where the program was not
// asked early enough.
func (s *shell) runHook(editor hook.Editor) *cobra.Command {
	o := hook.Options{Editor: editor}
	cmd := &cobra.Command{
		Use: string(editor), Short: "Decide one call of " + editorName(editor) + "; the editor starts this",
		Args: arguments,
		RunE: func(*cobra.Command, []string) error {
			code := hook.Main(o, nil, hook.Process{In: s.in, Out: s.out, Errs: s.errs, Getenv: s.getenv})
			if code == exitOK {
				return nil
			}
			return exitCode(code)
		},
	}
	cmd.Long = `Decide one tool call, which the editor writes to standard input as JSON.

Exit codes: 0 the call goes through, 2 it doesn't: it was denied, or waits for
approval, or the permission layer is unavailable, as the text on standard error
says. Whatever goes wrong is 2.

The agent's key is in BEHALF_TOKEN or kept by "behalf config set token".`
	o.Flags(cmd.Flags())
	return cmd
}

func editorName(editor hook.Editor) string {
	return map[hook.Editor]string{hook.ClaudeCode: "Claude Code", hook.Cursor: "Cursor", hook.Codex: "Codex"}[editor]
}

// placeFlags say which settings are meant.
type placeFlags struct {
	scope  string
	dryRun bool
}

func (p *placeFlags) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&p.scope, "scope", "user", "whose settings: user, project, or local (yours, in this project; Claude Code only)")
	cmd.Flags().BoolVar(&p.dryRun, "dry-run", false, "show the difference, and write nothing")
}

// find is the settings file of an editor.
func (p *placeFlags) find(s *shell, editor hook.Editor) (string, error) {
	home, err := os.UserHomeDir()
	if given := s.getenv("HOME"); given != "" {
		home, err = given, nil
	}
	if err != nil {
		return "", fmt.Errorf("find your settings: %w", err)
	}
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the project: %w", err)
	}
	path, err := hook.SettingsFile(editor, p.scope, hook.Places{Home: home, Project: dir, Getenv: s.getenv})
	if err != nil {
		return "", usagef("%v", err)
	}
	return path, nil
}

func (s *shell) installHook() *cobra.Command {
	var place placeFlags
	var program string
	var o hook.Options
	cmd := &cobra.Command{
		Use: "install EDITOR", Short: "Write the hook into an editor's settings: claude-code, cursor or codex",
		Args: arguments,
		RunE: func(_ *cobra.Command, args []string) error {
			o.Editor = hook.Editor(args[0])
			if err := o.Check(); err != nil {
				return usagef("%v", err)
			}
			path, err := place.find(s, o.Editor)
			if err != nil {
				return err
			}
			program, err := hook.Program(program)
			if err != nil {
				return usagef("%v", err)
			}
			change, err := hook.Install(path, program, o)
			if err != nil {
				return err
			}
			if err := s.makeChange(change, place.dryRun); err != nil {
				return err
			}
			return s.warn(o)
		},
	}
	cmd.Long = `Write the hook into an editor's settings and show the difference. The rest of the
file stays as it is; a file that can't be read as JSON is left alone. Doing it
again changes nothing, or brings the entry up to date. The flags of the hook
itself are written with it; a credential is not.`
	cmd.Example = `  behalf hook install claude-code --dry-run
  behalf hook install claude-code --scope project --wait=5m
  behalf hook uninstall claude-code`
	place.flags(cmd)
	cmd.Flags().StringVar(&program, "program", "", "the behalf that the editor starts (default: this one)")
	o.Flags(cmd.Flags())
	return cmd
}

func (s *shell) uninstallHook() *cobra.Command {
	var place placeFlags
	cmd := &cobra.Command{
		Use: "uninstall EDITOR", Short: "Take the hook out of an editor's settings", Args: arguments,
		RunE: func(_ *cobra.Command, args []string) error {
			editor := hook.Editor(args[0])
			path, err := place.find(s, editor)
			if err != nil {
				return err
			}
			change, err := hook.Uninstall(path, editor)
			if err != nil {
				return err
			}
			return s.makeChange(change, place.dryRun)
		},
	}
	place.flags(cmd)
	return cmd
}

// makeChange shows a change and, unless it is only to be shown, makes it.
func (s *shell) makeChange(c hook.Change, dryRun bool) error {
	var text string
	switch {
	case !c.Any():
		text = "Nothing to do: " + c.Path + " is as it should be.\n"
	case dryRun:
		text = c.Diff() + "Nothing was written.\n"
	default:
		if err := c.Make(); err != nil {
			return err
		}
		text = c.Diff() + "Written to " + c.Path + ".\n"
	}
	if _, err := fmt.Fprint(s.out, visibleLines(text)); err != nil {
		return fmt.Errorf("write to standard output: %w", err)
	}
	return nil
}

// warn says what the hook can't stop, and whether it can ask at all.
func (s *shell) warn(o hook.Options) error {
	var b strings.Builder
	for _, w := range hook.Limits(o) {
		b.WriteString("* " + w + "\n")
	}
	if used, err := access.Find(access.Given{URL: o.URL, File: o.Config}, s.getenv); err != nil || used.Token == "" {
		b.WriteString("* No agent key is set here. Until one is (\"behalf config set token\", or BEHALF_TOKEN where the editor is started), every call is blocked.\n")
	} else if !strings.HasPrefix(used.Token, "bhf_sk_") {
		b.WriteString("* The credential from " + used.TokenFrom + " is not an agent's key (bhf_sk_…); with it every call is blocked.\n")
	}
	_, err := fmt.Fprint(s.errs, "What to know:\n"+b.String())
	return err
}
