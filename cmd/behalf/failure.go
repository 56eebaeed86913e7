package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/behalf-platform/behalf"
	"github.com/behalf-platform/behalf/cmd/behalf/access"
)

// What the program exits with. verify has its own meanings for 1 and 2, and
// keeps them free of everything else: whatever goes wrong there is 3.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitUnavailable = 3

	exitDenied        = 1
	exitNeedsApproval = 2
)

// exitCode is an end that has been explained already.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// usageError is a command line that can't be carried out, found by the command
// itself.
type usageError string

func (e usageError) Error() string { return string(e) }

func usagef(format string, args ...any) error { return usageError(fmt.Sprintf(format, args...)) }

func (s *shell) exitCode(cmd *cobra.Command, err error) int {
	if err == nil {
		return exitOK
	}
	if code, ok := errors.AsType[exitCode](err); ok {
		return int(code)
	}
	_, usage := errors.AsType[usageError](err)
	if _, fault := errors.AsType[access.Fault](err); fault {
		usage = true
	}
	_, broken := errors.AsType[*brokenPromise](err)
	_, cut := errors.AsType[*cutLog](err)
	switch {
	case broken || cut:
		return exitFailed
	case s.began && !usage && (cmd.CommandPath() == "behalf log check" || cmd.CommandPath() == "behalf replay"):
		return exitUnavailable // it could not be read, which is not a verdict on it
	case cmd.Annotations[failsClosed] != "":
		return exitUnavailable
	case usage || !s.began:
		return exitUsage
	case errors.Is(err, behalf.ErrUnavailable):
		return exitUnavailable
	}
	return exitFailed
}

// Annotations of commands.
const (
	failsClosed = "fails-closed" // its exit code is a decision
	onlyAsks    = "only-asks"    // it changes nothing
)

// report says what went wrong and what to do.
func (s *shell) report(cmd *cobra.Command, err error) {
	if _, ok := errors.AsType[exitCode](err); err == nil || ok {
		return
	}
	what, todo := err.Error(), fmt.Sprintf("See %q.", cmd.CommandPath()+" --help")
	if s.began {
		what, todo = s.explain(err, cmd.Annotations[onlyAsks] != "")
	}
	if cmd.Annotations[failsClosed] != "" {
		what = "not allowed: " + what
	}
	_, _ = fmt.Fprintln(s.errs, "behalf:", what) // there is nowhere else to say it
	if todo != "" {
		_, _ = fmt.Fprintln(s.errs, todo)
	}
}

// explain is an error in words, and what can be done about it. Asked says that
// the command changes nothing, though it posts.
func (s *shell) explain(err error, asked bool) (what, todo string) {
	refused, isRefusal := errors.AsType[*behalf.Error](err)
	dial, isDial := errors.AsType[*net.OpError](err)
	what = err.Error()
	switch {
	case s.used.URL == "":
		return what, "" // not about a server we ask
	case isRefusal:
		return what, s.remedy(refused)
	case isDial && dial.Op == "dial":
		what = fmt.Sprintf("no server answers at %s: %v", s.used.URL, dial)
		return what, fmt.Sprintf("Start one with %q, or say where it is with --url or BEHALF_URL. (The address is from %s.)", "behalf serve", s.used.URLFrom)
	case errors.Is(err, context.Canceled):
		return "interrupted", ""
	case errors.Is(err, context.DeadlineExceeded):
		what = fmt.Sprintf("no whole answer from %s within %s", s.used.URL, s.given.timeout)
		todo = fmt.Sprintf("See whether %s/readyz is well, or wait longer with --timeout.", s.used.URL)
		if sent, ok := errors.AsType[*url.Error](err); ok && sent.Op != "Get" && !asked {
			todo += " The change may have been made: look before you repeat it."
		}
		return what, todo
	}
	return what, ""
}

// remedy is what to do about a refusal whose message doesn't say it.
func (s *shell) remedy(e *behalf.Error) string {
	switch {
	case e.Code == "" && e.Status > 0:
		return fmt.Sprintf("Check the address; it is from %s.", s.used.URLFrom)
	case e.Status == 401:
		return fmt.Sprintf("The credential that was sent is from %s.", s.used.TokenFrom)
	case e.RetryAfter > 0 && e.Status == 429:
		return fmt.Sprintf("Wait %s.", e.RetryAfter.Round(time.Second))
	}
	return ""
}
