package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/spf13/cobra"

	"github.com/behalf-platform/behalf/cmd/behalf/access"
)

func (s *shell) config() *cobra.Command {
	cmd := s.group("config", "Keep the server's address and a credential in a file",
		s.setConfig(), s.unsetConfig(), s.showConfig(), s.configPathCommand())
	cmd.Long = `Keep the server's address and a credential in a file, for when neither flags nor
environment give them. The file is made readable by you alone, and refused when
it is not.`
	return cmd
}

// local is a command that works on the file, not on a server.
func (s *shell) local(use, short string, do func(args []string, path string) error) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short, Args: arguments,
		RunE: func(_ *cobra.Command, args []string) error {
			path, err := s.configPath()
			if err != nil {
				return err
			}
			return do(args, path)
		},
	}
	cmd.Flags().StringVar(&s.given.config, "config", "", "the file (BEHALF_CONFIG)")
	return cmd
}

func (s *shell) setConfig() *cobra.Command {
	cmd := s.local("set KEY [VALUE]", "Keep a setting: url or token", func(args []string, path string) error {
		key := args[0]
		if key != "url" && key != "token" {
			return usagef("there is no setting %q; use url or token", key)
		}
		value, err := s.value(args)
		if err != nil {
			return err
		}
		stored, err := access.Read(path)
		if err != nil {
			return err
		}
		if key == "url" {
			if err := access.CheckURL(value, "the command line"); err != nil {
				return err
			}
			stored.URL = value
		} else {
			stored.Token = value
		}
		return access.Write(path, stored)
	})
	cmd.Long = `Keep a setting: url or token. Without VALUE it is read from standard input, which
keeps a token out of the shell's history:

  behalf config set token < token.txt`
	return cmd
}

// value is the second argument, or a line of standard input.
func (s *shell) value(args []string) (string, error) {
	if len(args) == 2 {
		return args[1], nil
	}
	if file, ok := s.in.(*os.File); ok {
		if info, err := file.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			_, _ = fmt.Fprintf(s.errs, "%s: ", args[0]) // somebody is waiting to type
		}
	}
	line, err := bufio.NewReader(s.in).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("read standard input: %w", err)
	}
	if line = strings.TrimSpace(line); line == "" {
		return "", usagef("there is no value for %s, neither on the command line nor on standard input", args[0])
	}
	return line, nil
}

func (s *shell) unsetConfig() *cobra.Command {
	return s.local("unset KEY", "Forget a setting: url or token", func(args []string, path string) error {
		stored, err := access.Read(path)
		if err != nil {
			return err
		}
		switch args[0] {
		case "url":
			stored.URL = ""
		case "token":
			stored.Token = ""
		default:
			return usagef("there is no setting %q; use url or token", args[0])
		}
		return access.Write(path, stored)
	})
}

func (s *shell) configPathCommand() *cobra.Command {
	return s.local("path", "Print where the file is", func(_ []string, path string) error {
		_, err := fmt.Fprintln(s.out, path)
		return err
	})
}

func (s *shell) showConfig() *cobra.Command {
	cmd := &cobra.Command{
		Use: "show", Short: "Show the settings in use and where each is from; never the token itself", Args: arguments,
		RunE: func(*cobra.Command, []string) error {
			used, err := s.settle()
			if err != nil {
				return err
			}
			if used.Token == "" {
				used.TokenFrom = "nowhere"
			}
			if s.given.output == "json" {
				b, err := json.Marshal(map[string]string{
					"url": used.URL, "urlFrom": used.URLFrom, "token": mask(used.Token), "tokenFrom": used.TokenFrom,
				}, json.Deterministic(true))
				if err != nil {
					return err
				}
				_, err = fmt.Fprintf(s.out, "%s\n", b)
				return err
			}
			t := newTable(s.out)
			t.row("SETTING", "VALUE", "FROM")
			t.row("url", used.URL, used.URLFrom)
			t.row("token", mask(used.Token), used.TokenFrom)
			return t.flush()
		},
	}
	s.given.flags(cmd.Flags())
	return cmd
}

// mask says what kind of credential there is, and nothing of its secret.
func mask(token string) string {
	for _, prefix := range []string{"bhf_sk_", "bhf_dev_", "bhf_pass_"} {
		if strings.HasPrefix(token, prefix) {
			return prefix + "…"
		}
	}
	if token == "" {
		return "not set"
	}
	return "set"
}
