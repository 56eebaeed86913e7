package main

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestLintSaysWhereAndWhat(t *testing.T) {
	t.Parallel()
	file := mustWrite(t, "p.yaml", `agents:
  - agentId: a
    permissions:
      - key: all
        action: read
        resource:
          - docs/*
          - "**"
        expiresAt: 2099-01-01T00:00:00Z
      - key: buy
        action: purchase
        expiresAt: 2099-01-01T00:00:00Z
      - key: old
        action: list
        expiresAt: 2020-01-01T00:00:00Z
      - key: never
        blockedActions: [read]
`)
	c := offline(t)
	c.want(1, file+":8: warning: a/all: \"**\" matches everything; name what is meant, or leave the list out so that everybody sees there is no limit [wide-pattern]\n"+
		file+":5: error: a/all: never blocks all that it allows; narrow the block, or remove this permission [blocked]\n"+
		file+":11: warning: a/buy: purchase moves money, and nothing says how much; set maxAmount, a budget, or requiresApproval: true [no-money-limit]\n"+
		file+":15: error: a/old: it ended 2020-01-01T00:00:00Z; set a later expiresAt, or remove the permission [expired]\n"+
		"2 errors, 2 warnings in 1 file\n", "lint", file)
}

func TestLintExitCodes(t *testing.T) {
	t.Parallel()
	c := offline(t)
	const head = "agents:\n  - agentId: a\n    permissions:\n"
	warned := mustWrite(t, "p.yaml", head+"      - {key: k, action: read}\n")
	clean := mustWrite(t, "p.yaml", head+"      - {key: k, action: read, expiresAt: 2099-01-01T00:00:00Z}\n")
	broken := mustWrite(t, "p.yaml", head+"      - {key: k, acton: read}\n")
	c.want(0, "0 errors, 0 warnings in 1 file\n", "lint", clean)
	c.want(0, "0 errors, 0 warnings in 1 file\n", "lint", "--strict", filepath.Dir(clean))
	c.says(0, []string{"p.yaml:4: warning: a/k: it never expires; set expiresAt [no-expiry]", "0 errors, 1 warning"}, "lint", warned)
	c.says(1, []string{"0 errors, 1 warning in 2 files"}, "lint", "--strict", warned, clean)
	c.says(1, []string{"p.yaml:4: /acton: is not a field", "1 error, "}, "lint", broken)
	limits := mustWrite(t, "p.yaml", "agents:\n  - agentId: a\n    limits:\n      rates: [{count: 0, per: day}]\n")
	c.says(1, []string{"p.yaml:4: /rates/0: has the count 0", "1 error, "}, "lint", limits)
	c.wantError(2, []string{"requires at least 1 arg"}, "lint")
}

// An amount that names no currency is in the account's, which isn't known.
func TestLintComparesNoUnknownCurrency(t *testing.T) {
	t.Parallel()
	c := offline(t)
	const file = "agents:\n  - agentId: a\n    permissions:\n" +
		"      - {key: k, action: tip, maxAmount: 50, expiresAt: 2099-01-01T00:00:00Z}\n" +
		"      - {key: l, action: tip, maxAmount: 5, CURRENCYexpiresAt: 2099-01-01T00:00:00Z}\n"
	c.says(0, []string{"a/l: k allows all of it anyway"}, "lint", mustWrite(t, "p.yaml", strings.Replace(file, "CURRENCY", "", 1)))
	c.want(0, "0 errors, 0 warnings in 1 file\n", "lint", mustWrite(t, "p.yaml", strings.Replace(file, "CURRENCY", "currency: USD, ", 1)))
}
