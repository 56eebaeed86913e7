package hook

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/spf13/pflag"
)

// Early is the program "behalf hook EDITOR …" from its first step to its end, if
// args are that, without what the other commands need. It reports whether they
// are; help it leaves to those.
func Early(args []string) (code int, mine bool) {
	if len(args) < 2 || args[0] != "hook" || !Editor(args[1]).Known() {
		return 0, false
	}
	if slices.ContainsFunc(args, func(arg string) bool { return arg == "--help" || arg == "-h" }) {
		return 0, false
	}
	p := Process{In: os.Stdin, Out: os.Stdout, Errs: os.Stderr, Getenv: os.Getenv}
	o := Options{Editor: Editor(args[1])}
	f := pflag.NewFlagSet("behalf hook", pflag.ContinueOnError)
	f.SetOutput(discard{})
	o.Flags(f)
	err := f.Parse(args[2:])
	if err == nil && f.NArg() > 0 {
		err = errors.New("an argument is too much: " + f.Arg(0))
	}
	return Main(o, err, p), true
}

// Main decides a call and returns the exit code, of a program that editors may
// end by a signal. err is what was wrong with the command line.
func Main(o Options, err error, p Process) int {
	if err == nil {
		err = o.Check()
	}
	if err != nil {
		return answer(broken(err), o, p)
	}
	// A signal must not end the program with a code that lets the call through,
	// nor must an editor that reads no answer.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	defer stop()
	signal.Ignore(syscall.SIGPIPE)
	return Run(ctx, o, p)
}

type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }
