package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/infra/embedded"
	"github.com/behalf-platform/behalf/infra/natslog"
	"github.com/behalf-platform/behalf/projections"
)

func newLogCommand(getenv func(string) string) *cobra.Command {
	cmd := &cobra.Command{Use: "log", Short: "Look after the log", Args: cobra.NoArgs}
	var cfg serveConfig
	check := &cobra.Command{
		Use:   "check",
		Short: "Read the whole log and prove that it keeps its promises",
		Long: `Read the whole log and prove that

  - nothing that was acknowledged is missing, but decisions that have expired;
    where some have, and those around tell too little, it names the gap,
  - each decision was made on the newest passport version before it,
  - nothing was allowed after a revocation, a disablement or an expiry,
  - each decision, derived again from the log alone, is identical,
  - each request was decided once.

Without --nats it reads the embedded log in --data: through the server if one
runs on it, else from the files. It exits with 0 when all is well, 1 when a
promise is broken, naming the first faulty sequence, and 3 when the log could
not be read.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := fromEnv(cmd.Flags(), getenv); err != nil {
				return err
			}
			return checkLog(cmd.Context(), cfg, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := check.Flags()
	f.StringVar(&cfg.Data, "data", "./behalf-data", "directory of the embedded log")
	f.StringVar(&cfg.NATS, "nats", "", "URL of the external NATS that holds the log")
	f.StringVar(&cfg.NATSCreds, "nats-creds", "", "credentials file for the external NATS")
	f.StringVar(&cfg.NATSCA, "nats-ca", "", "file of the certificate authority that signed its certificate")
	f.StringVar(&cfg.NATSCert, "nats-cert", "", "file of the client certificate")
	f.StringVar(&cfg.NATSKey, "nats-key", "", "file of that certificate's key")
	cmd.AddCommand(check)
	return cmd
}

// checkLog reads every partition and reports.
func checkLog(ctx context.Context, cfg serveConfig, out, errs io.Writer) (err error) {
	logs := slog.New(slog.NewTextHandler(errs, &slog.HandlerOptions{Level: slog.LevelWarn}))
	b, err := connectToRead(cfg, logs)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	log, err := natslog.Open(ctx, natslog.Config{Conn: b.conn, Bulk: b.bulk, ReadOnly: true, Logger: logs})
	if err != nil {
		return err
	}
	known := marks{Partitions: make([][]projections.Mark, log.Partitions())}
	if cfg.NATS == "" {
		if known, err = anchoredMarks(ctx, cfg.Data, log, logs); err != nil {
			return err
		}
	}
	began := time.Now()
	var total projections.Audit
	for p := range log.Partitions() {
		audit, err := checkPartition(ctx, log, uint16(p), known.Partitions[p], errs)
		if fault, ok := errors.AsType[*projections.AuditFault](err); ok {
			return &brokenPromise{partition: p, fault: fault}
		}
		if err != nil {
			return fmt.Errorf("read partition %d of the log: %w", p, err)
		}
		total.Records += audit.Records
		total.Decisions += audit.Decisions
		total.Allowed += audit.Allowed
		total.Expired += audit.Expired
		total.Unproven += audit.Unproven
		for _, h := range audit.Holes {
			_, _ = fmt.Fprintf(errs, "partition %d: records %d to %d are gone; the oldest of them could have expired, and nothing tells when the last were written\n", p, h.First, h.Last)
		}
	}
	took := time.Since(began)
	expired := ""
	if total.Expired > 0 {
		expired = fmt.Sprintf(" (%d more have expired)", total.Expired)
		if total.Unproven > 0 {
			expired = fmt.Sprintf(" (%d more have expired, of which %d can't be told from lost ones)", total.Expired, total.Unproven)
		}
	}
	_, err = fmt.Fprintf(out, "the log is sound: %d records, %d decisions%s of which %d allowed, in %s (%.0f records/s)\n",
		total.Records, total.Decisions, expired, total.Allowed, took.Round(time.Millisecond), float64(total.Records)/took.Seconds())
	return err
}

// anchoredMarks compares the embedded log with its anchor, and reads what is
// beside it.
func anchoredMarks(ctx context.Context, data string, log *natslog.Log, logs *slog.Logger) (marks, error) {
	a := newAnchor(data, log, logs)
	if err := a.check(ctx); err != nil {
		return marks{}, &cutLog{err}
	}
	now, err := a.heads(ctx)
	if err != nil {
		return marks{}, err
	}
	known, err := readMarks(a.marks, now)
	if err != nil {
		logs.WarnContext(ctx, "marks of the log", slog.Any("error", err))
	}
	return known, nil
}

// cutLog is a log that doesn't reach as far as it did. Its exit code is 1.
type cutLog struct{ error }

func (e *cutLog) Error() string { return "the log is NOT sound: " + e.error.Error() }

// brokenPromise is a log that can't be trusted. Its exit code is 1.
type brokenPromise struct {
	partition int
	fault     *projections.AuditFault
}

func (e *brokenPromise) Error() string {
	return fmt.Sprintf("the log is NOT sound: partition %d, %v", e.partition, e.fault)
}

func checkPartition(ctx context.Context, log *natslog.Log, partition uint16, known []projections.Mark, errs io.Writer) (*projections.Audit, error) {
	status, err := log.Status(ctx, partition)
	if err != nil {
		return nil, err
	}
	ahead := status.Clock.Sub(status.Answered)
	audit := &projections.Audit{MostSkew: mostSkew, Clock: func() time.Time { return time.Now().Add(ahead) }, Marks: known}
	began, shown := time.Now(), time.Now()
	err = log.Scan(ctx, domain.Scan{Partition: partition, Through: status.Head}, func(r domain.Recorded, err error) error {
		if err := audit.Check(r, err); err != nil {
			return err
		}
		if audit.Records%4096 == 0 && time.Since(shown) > time.Second {
			shown = time.Now()
			_, _ = fmt.Fprintf(errs, "partition %d: %d of %d records (%.0f%%), %.0f/s\n", partition, audit.Records, status.Head,
				100*float64(audit.Records)/float64(status.Head), float64(audit.Records)/time.Since(began).Seconds())
		}
		return nil
	})
	if errors.Is(err, natslog.ErrMissing) {
		return nil, &projections.AuditFault{Seq: audit.Records + 1, Promise: "nothing that was acknowledged is missing", Detail: fmt.Sprintf("the log's head is %d", status.Head)}
	}
	return audit, cmp.Or(err, audit.End(status.Head))
}

// mostSkew is the bound on a node's clock and the longest an append may take.
const mostSkew = 15 * time.Second

// connectToRead finds the log: at an external NATS, at the embedded server that
// runs on the data directory, or in its files.
func connectToRead(cfg serveConfig, logs *slog.Logger) (*broker, error) {
	if cfg.NATS != "" {
		return dial(cfg, logs)
	}
	if _, err := os.Stat(filepath.Join(cfg.Data, "nats")); err != nil {
		return nil, fmt.Errorf("there is no log in %s: %w; name its directory with --data", cfg.Data, err)
	}
	if b, err := connectAsOperator(cfg, logs); err == nil {
		return b, nil
	}
	b := &broker{}
	var err error
	if b.server, err = embedded.Start(embedded.Config{
		Dir: filepath.Join(cfg.Data, "nats"), Durability: embedded.OS, Logger: logs,
	}); err != nil {
		return nil, err
	}
	if b.conn, err = b.server.Connect(); err == nil {
		b.bulk, err = b.server.Bulk()
	}
	if err != nil {
		return nil, errors.Join(err, b.close())
	}
	return b, nil
}

// connectAsOperator connects to the embedded server that runs on the directory.
func connectAsOperator(cfg serveConfig, logs *slog.Logger) (*broker, error) {
	raw, err := os.ReadFile(operatorFile(cfg.Data))
	if err != nil {
		return nil, err
	}
	var o operator
	if err := json.Unmarshal(raw, &o); err != nil {
		return nil, fmt.Errorf("read %s: %w", operatorFile(cfg.Data), err)
	}
	conn, err := nats.Connect(o.URL, append(natsErrors(logs), nats.UserInfo(operatorName, o.Password), nats.Name("behalf log check"))...)
	if err != nil {
		return nil, err
	}
	return &broker{conn: conn, bulk: conn}, nil
}
