package main

import (
	"time"

	"github.com/spf13/pflag"

	"github.com/behalf-platform/behalf/cmd/behalf/access"
)

// connection is the flags of every command that speaks to a server.
type connection struct {
	url, token, config string
	output             string
	timeout            time.Duration
}

func (c *connection) flags(f *pflag.FlagSet) {
	f.StringVar(&c.url, "url", "", "where the server is (BEHALF_URL; default "+access.UsualURL+"); --server means the same")
	c.otherFlags(f)
}

func (c *connection) otherFlags(f *pflag.FlagSet) {
	f.StringVar(&c.token, "token", "", "agent key or member token; others can see it on the command line, so BEHALF_TOKEN is safer")
	f.StringVar(&c.config, "config", "", `file with the settings of "behalf config" (BEHALF_CONFIG)`)
	f.StringVarP(&c.output, "output", "o", "table", "table for people, or json as the server sent it")
	f.DurationVar(&c.timeout, "timeout", 10*time.Second, "how long to wait for an answer")
	f.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		if name == "server" {
			name = "url"
		}
		return pflag.NormalizedName(name)
	})
}

// settle chooses each setting from the flag, the environment or the file.
func (s *shell) settle() (access.Settings, error) {
	return access.Find(access.Given{URL: s.given.url, Token: s.given.token, File: s.given.config}, s.getenv)
}

func (s *shell) configPath() (string, error) { return access.Path(s.given.config, s.getenv) }
