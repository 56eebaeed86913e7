package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers"
	"github.com/behalf-platform/behalf/infra/natslog"
	"github.com/behalf-platform/behalf/projections"
)

// replayFlags are what is replayed, and how it is shown.
type replayFlags struct {
	log            serveConfig
	agent, account string
	since, until   string
	from, through  string
	output         string
	examples       int
	whatIf, mode   string
}

func (s *shell) replay() *cobra.Command {
	var given replayFlags
	cmd := &cobra.Command{
		Use: "replay", Short: "Decide recorded decisions again, as they were or under other permissions", Args: cobra.NoArgs,
		Long: `Read the log itself, as "behalf log check" does, fold every passport from its
first event on, and decide the decisions of a range again. Each must come out as
it was recorded; where one doesn't, both sides are shown.

With --what-if, the requests of the range are decided under the permissions of a
candidate file instead, and what changes is reported. Nothing is recorded. There
are two modes:

  consequences    (default) what is decided counts: an allow that would not have
                  been spends nothing, one that would have been does, and an
                  approval is there if it would have been asked for. What people
                  answered is taken as given where it would have been asked; where
                  nobody was asked in fact, nobody answers. What was allowed only
                  now is taken to have spent all it asked for.
  recorded-state  each decision by itself, on what had really been spent and
                  really been approved by then.

Before the range all is as it was, except that the candidate's limits count what
was really spent, from the day their permission was granted.

A candidate file is YAML or JSON:

  agents:
    agent_ollie:
      replace:
        perm_01…:                 # terms as in "behalf permissions grant --file"
          action: purchase
          maxAmount: "100.00"
      remove: [perm_02…]          # as if revoked when it was granted
      add:                        # granted when the range begins
        - action: refund
      limits:                     # of the agent, {} for none
        budgets: [{amount: "500.00", per: day}]

A replaced permission has the candidate's terms for as long as it was there: it is
revoked when it was revoked. Permissions that the file does not name stay as they
were.

Exit codes: 0 nothing differs or changes, 1 something does, 2 the command line or
the candidate is wrong, 3 the log could not be read.`,
		Example: `  behalf replay --since 24h
  behalf replay --agent agent_ollie --from AAAAAAABAg --nats nats://127.0.0.1:4222
  behalf replay --what-if candidate.yaml --since 30d
  behalf replay --what-if candidate.yaml --since 30d --mode recorded-state --output json`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := fromEnv(cmd.Flags(), s.getenv); err != nil {
				return usagef("%v", err)
			}
			return s.runReplay(cmd.Context(), &given)
		},
	}
	given.flags(cmd.Flags())
	return cmd
}

func (g *replayFlags) flags(f *pflag.FlagSet) {
	f.StringVar(&g.agent, "agent", "", "only this agent's decisions")
	f.StringVar(&g.account, "account", "", "only this account's decisions")
	f.StringVar(&g.since, "since", "", "from when on: a duration back such as 90m, 12h or 30d, a time such as 2027-01-01T00:00:00Z, or a date (UTC)")
	f.StringVar(&g.until, "until", "", "up to when, written as for --since")
	f.StringVar(&g.from, "from", "", "position of the first record, as packets carry it, or its sequence")
	f.StringVar(&g.through, "through", "", "position of the last record, written as for --from")
	f.StringVar(&g.whatIf, "what-if", "", "file of a candidate to decide under, or - for standard input")
	f.StringVar(&g.mode, "mode", string(projections.Consequences), "with --what-if: consequences or recorded-state")
	f.IntVar(&g.examples, "examples", 10, "how many differences are shown, or, with --what-if, requests for each change")
	f.StringVarP(&g.output, "output", "o", "table", "how to print: table for people, or json")
	f.StringVar(&g.log.Data, "data", "./behalf-data", "directory of the embedded log")
	f.StringVar(&g.log.NATS, "nats", "", "URL of the external NATS that holds the log")
	f.StringVar(&g.log.NATSCreds, "nats-creds", "", "credentials file for the external NATS")
	f.StringVar(&g.log.NATSCA, "nats-ca", "", "file of the certificate authority that signed its certificate")
	f.StringVar(&g.log.NATSCert, "nats-cert", "", "file of the client certificate")
	f.StringVar(&g.log.NATSKey, "nats-key", "", "file of that certificate's key")
}

// replayRange is what the flags choose, and, where a position does, the one
// partition it is of.
type replayRange struct {
	projections.Range
	partition int // -1 for all
	epoch     uint32
}

func (g *replayFlags) read(now time.Time) (r replayRange, err error) {
	r.partition = -1
	r.Account, r.Agent = domain.AccountID(g.account), domain.AgentID(g.agent)
	switch {
	case g.agent != "" && !domain.ValidID(g.agent):
		return r, usagef("--agent %q is not an id of an agent", g.agent)
	case g.account != "" && !domain.ValidID(g.account):
		return r, usagef("--account %q is not an id of an account", g.account)
	case g.output != "table" && g.output != "json":
		return r, usagef("--output %q is unknown; use table or json", g.output)
	case g.examples < 0:
		return r, usagef("--examples can't be below 0")
	}
	if r.Since, err = momentFlag("since", g.since, now, back); err != nil {
		return r, err
	}
	if r.Until, err = momentFlag("until", g.until, now, back); err != nil {
		return r, err
	}
	if r.From, err = r.position("from", g.from); err != nil {
		return r, err
	}
	r.Through, err = r.position("through", g.through)
	return r, err
}

// position reads a token or a sequence.
func (r *replayRange) position(flag, text string) (uint64, error) {
	if text == "" {
		return 0, nil
	}
	if seq, err := strconv.ParseUint(text, 10, 64); err == nil && seq > 0 {
		return seq, nil
	}
	p, err := domain.ParsePosition(text)
	if err != nil {
		return 0, usagef("--%s %q is neither a position, as packets carry it, nor a sequence such as 42", flag, text)
	}
	if r.partition >= 0 && (r.partition != int(p.Partition) || r.epoch != p.Epoch) {
		return 0, usagef("--from and --through are positions of two logs, or of two partitions of one")
	}
	r.partition, r.epoch = int(p.Partition), p.Epoch
	return p.Seq, nil
}

func (s *shell) runReplay(ctx context.Context, given *replayFlags) (err error) {
	chosen, err := given.read(s.now())
	if err != nil {
		return err
	}
	var candidate *projections.Candidate
	if given.whatIf != "" {
		if candidate, err = readCandidate(given.whatIf, s.in); err != nil {
			return err
		}
	}
	if os.Getenv("GOGC") == "" {
		defer debug.SetGCPercent(debug.SetGCPercent(200)) // little that is read lives long
	}
	logs := slog.New(slog.NewTextHandler(s.errs, &slog.HandlerOptions{Level: slog.LevelWarn}))
	b, err := connectToRead(given.log, logs)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	log, err := natslog.Open(ctx, natslog.Config{Conn: b.conn, Bulk: b.bulk, ReadOnly: true, Logger: logs})
	if err != nil {
		return err
	}
	if given.log.NATS == "" {
		if err := newAnchor(given.log.Data, log, logs).check(ctx); err != nil {
			return &cutLog{err}
		}
	}
	if chosen.partition >= log.Partitions() || chosen.partition >= 0 && log.Epoch(uint16(chosen.partition)) != chosen.epoch {
		return usagef("--from or --through is a position of another log")
	}
	if candidate != nil {
		return s.whatIf(ctx, log, chosen, candidate, given)
	}
	return s.replayAll(ctx, log, chosen, given)
}

// replayReport is the outcome of a replay, as JSON.
type replayReport struct {
	Records            uint64                   `json:"records"`
	Decisions          uint64                   `json:"decisions"`
	Different          uint64                   `json:"different"`
	Seconds            float64                  `json:"seconds"`
	DecisionsPerSecond float64                  `json:"decisionsPerSecond"`
	Differences        []projections.Difference `json:"differences"`
}

func (s *shell) replayAll(ctx context.Context, log *natslog.Log, chosen replayRange, given *replayFlags) error {
	report := replayReport{Differences: []projections.Difference{}}
	began := time.Now()
	for _, p := range chosen.partitions(log) {
		replay := projections.Replay{Range: chosen.Range, MostShown: given.examples}
		err := replay.Run(func(take func(domain.Recorded, error) error) error {
			return readNeeded(ctx, log, p, chosen.Range, s.errs, take)
		})
		if err != nil {
			return fmt.Errorf("read partition %d of the log: %w", p, err)
		}
		report.Records += replay.Records
		report.Decisions += replay.Decisions
		report.Different += replay.Different
		report.Differences = append(report.Differences, replay.Shown()...)
	}
	report.Differences = report.Differences[:min(len(report.Differences), given.examples)]
	report.Seconds = time.Since(began).Seconds()
	report.DecisionsPerSecond = float64(report.Decisions) / report.Seconds
	if err := s.showReplay(&report, given.output); err != nil {
		return err
	}
	if report.Different > 0 {
		return exitCode(exitFailed)
	}
	return nil
}

func (s *shell) showReplay(r *replayReport, output string) error {
	if output == "json" {
		return s.printJSON(r)
	}
	for _, d := range r.Differences {
		if _, err := fmt.Fprintf(s.out, "DIFFERENT: %s of %s at sequence %d, %s\n  recorded      %s\n", d.RequestID, d.Agent, d.Sequence, stamp(d.At), d.Recorded); err != nil {
			return err
		}
		decided := string(d.Decided)
		if d.Why != "" {
			decided = "not at all: " + d.Why
		}
		if _, err := fmt.Fprintf(s.out, "  decided again %s\n", decided); err != nil {
			return err
		}
	}
	verdict := "no difference"
	if r.Different > 0 {
		verdict = fmt.Sprintf("%d DIFFERENT", r.Different)
	}
	_, err := fmt.Fprintf(s.out, "%s: %d decisions decided again, of %d records, in %s (%.0f decisions/s)\n",
		verdict, r.Decisions, r.Records, seconds(r.Seconds), r.DecisionsPerSecond)
	return err
}

func seconds(s float64) time.Duration {
	return time.Duration(s * float64(time.Second)).Round(time.Millisecond)
}

func (s *shell) printJSON(v any) error {
	b, err := json.Marshal(v, json.Deterministic(true))
	if err != nil {
		return fmt.Errorf("encode the report: %w", err)
	}
	_, err = fmt.Fprintf(s.out, "%s\n", b)
	return err
}

// partitions are those that the range is in.
func (r *replayRange) partitions(log *natslog.Log) []uint16 {
	switch {
	case r.partition >= 0:
		return []uint16{uint16(r.partition)}
	case r.Account != "":
		return []uint16{domain.PartitionOf(r.Account, log.Partitions())}
	}
	list := make([]uint16, log.Partitions())
	for i := range list {
		list[i] = uint16(i)
	}
	return list
}

// readNeeded reads what deciding the range again needs, and tells of its progress.
func readNeeded(ctx context.Context, log *natslog.Log, partition uint16, g projections.Range, errs io.Writer, take func(domain.Recorded, error) error) error {
	through, err := endOf(ctx, log, partition, g)
	if err != nil || through == 0 {
		return err
	}
	begins := uint64(0)
	if !g.Since.IsZero() { // a log that was copied says later times, and then more is read
		if begins, err = log.SeqAt(ctx, partition, g.Since.Add(-handlers.ClockSlack)); err != nil {
			return err
		}
	}
	return g.Read(ctx, log.Scan, partition, begins, through, telling(partition, through, errs, take))
}

// readPartition reads from the first record on as far as the range's positions
// go, and tells of its progress. Its times bound nothing: they are the records'
// own, which a log that was copied doesn't know.
func readPartition(ctx context.Context, log *natslog.Log, partition uint16, g projections.Range, errs io.Writer, take func(domain.Recorded, error) error) error {
	through, err := endOf(ctx, log, partition, g)
	if err != nil || through == 0 {
		return err
	}
	return log.Scan(ctx, domain.Scan{Partition: partition, Through: through}, telling(partition, through, errs, take))
}

// endOf is the last sequence of a partition that may be in the range, 0 if there
// is none.
func endOf(ctx context.Context, log *natslog.Log, partition uint16, g projections.Range) (uint64, error) {
	status, err := log.Status(ctx, partition)
	if err != nil || g.Through == 0 {
		return status.Head, err
	}
	return min(status.Head, g.Through), nil
}

// telling is take, which tells how far it is now and then.
func telling(partition uint16, through uint64, errs io.Writer, take func(domain.Recorded, error) error) func(domain.Recorded, error) error {
	read, began, shown := uint64(0), time.Now(), time.Now()
	return func(r domain.Recorded, err error) error {
		if read++; read%8192 == 0 && err == nil && time.Since(shown) > time.Second {
			shown = time.Now()
			_, _ = fmt.Fprintf(errs, "partition %d: at %d of %d (%.0f%%), %d records, %.0f/s\n", partition, r.Position.Seq, through,
				100*float64(r.Position.Seq)/float64(through), read, float64(read)/time.Since(began).Seconds())
		}
		return take(r, err)
	}
}
