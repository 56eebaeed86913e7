package main

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/behalf-platform/behalf"
)

func (s *shell) receipts() *cobra.Command {
	return s.group("receipts", "Check what an agent brings: the signed receipt of an allow",
		s.verifyReceipt(), s.consumeReceipt(), s.receiptKeys(), s.rotateReceiptKey())
}

// given refuses a flag that is there and empty: in a script, a variable that was
// not set.
func given(f *pflag.FlagSet, names ...string) error {
	for _, name := range names {
		if flag := f.Lookup(name); flag.Changed && flag.Value.String() == "" {
			return usagef("--%s is empty; say what it must be, or leave it out", name)
		}
	}
	return nil
}

func (s *shell) verifyReceipt() *cobra.Command {
	var want behalf.Expected
	var keys string
	var age *behalf.Duration
	var cmd *cobra.Command
	cmd = s.openCommand("verify [RECEIPT]", "Check a receipt without asking about it; the exit code is the answer", func(ctx context.Context, r *remote, args []string) error {
		if err := given(cmd.Flags(), "amount", "currency", "keys"); err != nil {
			return err
		}
		for _, must := range []struct{ flag, value string }{
			{"account", want.AccountID}, {"agent", want.AgentID}, {"action", want.Action}, {"audience", want.Audience},
		} {
			if must.value == "" {
				return usagef("say what the receipt must be for with --%s; what is not looked at is taken from anybody", must.flag)
			}
		}
		if age != nil {
			want.MaxAge = time.Duration(*age)
		}
		return r.verifyReceipt(ctx, args, keys, want)
	})
	cmd.Long = `Check a receipt: that it was signed with a key of the server, and is of this
account, agent and action, for this audience and amount, and neither expired nor
too old. It comes from the argument, or better from standard input, as others can
see the command line. The keys are those of --keys, or else the server's, for
which no credential is needed.

It can't tell whether the receipt was shown before: "behalf receipts consume" does.

Exit codes: 0 it is good, 1 it proves nothing, 2 the command line is wrong, 3 the
keys can't be read. Go on only after 0.`
	cmd.Example = `  behalf receipts keys > jwks.json
  behalf receipts verify --keys jwks.json --account acct_01J… --agent agent_ollie \
    --action purchase --audience coachella.com --amount 120.00 --currency USD < receipt`
	f := cmd.Flags()
	f.StringVar(&want.AccountID, "account", "", "account it must be of")
	f.StringVar(&want.AgentID, "agent", "", "agent it must be of")
	f.StringVar(&want.Action, "action", "", "action that must have been allowed")
	f.StringVar(&want.Audience, "audience", "", "whom it must be for: the vendor that was allowed, or else the resource")
	f.StringVar(&want.Amount, "amount", "", "amount that must have been allowed, in full, such as 120.00; none if it is left out")
	f.StringVar(&want.Currency, "currency", "", "currency of --amount")
	f.Var(span{&age}, "max-age", "the oldest it may be, such as 30s (default: until it expires)")
	f.StringVar(&keys, "keys", "", "file with the server's keys, a JWK set (default: ask the server)")
	return cmd
}

// verifyReceipt checks the receipt of the argument or of standard input.
func (r *remote) verifyReceipt(ctx context.Context, args []string, keys string, want behalf.Expected) error {
	receipt, err := r.receiptGiven(args)
	if err != nil {
		return err
	}
	set, err := r.keysOf(ctx, keys)
	if err != nil {
		return err
	}
	got, err := behalf.VerifyReceipt(receipt, set, want, r.shell.now())
	if err != nil {
		return err
	}
	if r.json {
		claims, err := base64.RawURLEncoding.DecodeString(strings.Split(receipt, ".")[1])
		if err != nil {
			return err
		}
		return r.print(claims)
	}
	return r.show(func(t *table) { showReceipt(t, got) })
}

const mostReceiptRead = 64 << 10

func (r *remote) receiptGiven(args []string) (string, error) {
	if len(args) > 0 && args[0] != "-" {
		return args[0], nil
	}
	text, err := io.ReadAll(io.LimitReader(r.shell.in, mostReceiptRead))
	if err != nil {
		return "", fmt.Errorf("read the receipt: %w", err)
	}
	receipt := strings.TrimSpace(string(text))
	if receipt == "" {
		return "", usagef("there is no receipt: give it as the argument or on standard input")
	}
	return receipt, nil
}

// keysOf are the keys of a file, or the server's.
func (r *remote) keysOf(ctx context.Context, path string) (behalf.ReceiptKeys, error) {
	if path == "" {
		ctx, cancel := r.once(ctx)
		defer cancel()
		return r.ReceiptKeys(ctx)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return behalf.ReceiptKeys{}, usagef("read the keys: %v", err)
	}
	set, err := behalf.ParseReceiptKeys(text)
	if err != nil {
		return behalf.ReceiptKeys{}, usagef("%s: %v", path, err)
	}
	return set, nil
}

func showReceipt(t *table, r behalf.Receipt) {
	t.row("GOOD until " + stamp(r.ExpiresAt) + ", if it was not shown before")
	t.gap()
	t.field("Request", r.RequestID)
	t.field("Account", r.AccountID)
	t.field("Agent", r.AgentID)
	t.field("Audience", r.Audience)
	t.asked(r.Action, r.Vendor, r.Resource, r.Amount, r.Currency)
	t.field("Arguments", r.ArgumentsDigest)
	t.field("Permission", r.PermissionID)
	t.field("Approval", r.ApprovalID)
	t.field("Passport", "version "+number(r.PassportVersion))
	t.field("Decided", stamp(r.DecidedAt))
}

func (s *shell) consumeReceipt() *cobra.Command {
	var want behalf.Consumption
	var cmd *cobra.Command
	cmd = s.command("consume REQUEST", "Take the receipt of an allow, once; the exit code is the answer", func(ctx context.Context, r *remote, args []string) error {
		if err := given(cmd.Flags(), "agent", "action", "audience", "amount", "currency"); err != nil {
			return err
		}
		switch {
		case want.Amount != "" && !isAmount(want.Amount):
			return usagef("--amount %q is not a decimal number; write it like 99.50, without a currency", want.Amount)
		case want.Amount != "" && want.Currency == "":
			return usagef("--amount needs --currency: an amount says nothing without it")
		}
		ctx, cancel := r.once(ctx)
		defer cancel()
		got, err := r.Consume(ctx, args[0], want)
		if err != nil {
			return err
		}
		return r.show(func(t *table) {
			t.row("CONSUMED by this call, and by no other")
			t.gap()
			t.field("Request", got.RequestID)
			t.field("Agent", got.AgentID)
			t.asked(got.Action, got.Vendor, got.Resource, got.Amount, got.Currency)
			t.field("Consumed", stamp(got.ConsumedAt))
		})
	})
	cmd.Long = `Take the receipt of an allow, with a member's token: a viewer's is enough. REQUEST
is the request id of the allow, the jti of its receipt. Of all who do it, anywhere,
one succeeds, and only that one may act. It fails once the receipt has expired, and
once what allowed it was revoked or changed. What a flag says must be so; say all
that you know.

Exit codes: 0 taken by this call, 1 it was not, 2 the command line is wrong, 3 the
server is unavailable. Go on only after 0.`
	cmd.Example = `  behalf receipts consume req_01J… --agent agent_ollie --action purchase --audience coachella.com \
    --amount 120 --currency USD && ship`
	f := cmd.Flags()
	f.StringVar(&want.AgentID, "agent", "", "agent that must have been allowed")
	f.StringVar(&want.Action, "action", "", "action that must have been allowed")
	f.StringVar(&want.Audience, "audience", "", "whom it must have been allowed for: the vendor, or else the resource")
	f.StringVar(&want.Amount, "amount", "", "amount that must have been allowed; needs --currency")
	f.StringVar(&want.Currency, "currency", "", "currency that it must have been allowed in")
	return cmd
}

func (s *shell) receiptKeys() *cobra.Command {
	cmd := s.openCommand("keys", "Print the public keys of receipts, as a JWK set", func(ctx context.Context, r *remote, _ []string) error {
		ctx, cancel := r.once(ctx)
		defer cancel()
		if _, err := r.ReceiptKeys(ctx); err != nil {
			return err
		}
		return r.print(r.wire.said.Bytes())
	})
	cmd.Long = `Print the public keys that receipts are checked with, as the server has them at
/.well-known/jwks.json. No credential is needed.`
	return cmd
}

func (s *shell) rotateReceiptKey() *cobra.Command {
	var overlap *behalf.Duration
	cmd := s.command("rotate", "Sign the account's receipts with a new key", func(ctx context.Context, r *remote, _ []string) error {
		ctx, cancel := r.once(ctx)
		defer cancel()
		key, err := r.RotateReceiptKey(ctx, overlap)
		if err != nil {
			return err
		}
		return r.show(func(t *table) {
			t.field("Key", key.KeyID)
			t.field("Version", fmt.Sprint(key.Version))
			t.field("Good", fmt.Sprintf("%d published, this one among them", key.Good))
		})
	})
	cmd.Long = `Sign the account's receipts with a new key, with the token of an administrator.
Services that keep the keys have to read them again: "behalf receipts keys".`
	cmd.Flags().Var(span{&overlap}, "overlap", "how long those before it are good too, up to 7d; 0s ends them, and what they signed, at once (default 1h)")
	return cmd
}
