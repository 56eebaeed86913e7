package httpapi

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers"
	"github.com/behalf-platform/behalf/projections"
)

// export streams every decision that matches, newest first. It may take as long
// as the reader does, as long as the reader takes something.
func (c *call) export(f projections.DecisionFilter, format string, values url.Values) error {
	for _, name := range []string{"limit", "cursor"} {
		if values.Get(name) != "" {
			return domain.RejectField(domain.Invalid, "/"+name, "does not go together with format: an export has no pages")
		}
	}
	out := &exported{c: c}
	switch format {
	case "csv":
		out.kind, out.row = "text/csv; charset=utf-8", out.asCSV
	case "ndjson":
		out.kind, out.row = "application/x-ndjson", out.asJSON
	default:
		return domain.RejectField(domain.Invalid, "/format", "must be csv or ndjson")
	}
	leave, err := c.api.enter(c.caller.Hash)
	if err != nil {
		return err
	}
	defer leave()
	ctx, cancel := context.WithCancel(c.r.Context())
	defer cancel()
	defer context.AfterFunc(c.api.stopping, cancel)()
	err = c.Queries.Export(ctx, f, values.Get("atLeast"), func(r domain.Recorded, row *projections.DecisionRow) error {
		return out.add(ctx, r, row)
	})
	if err == nil {
		err = out.end()
	}
	switch {
	case err == nil, errors.Is(err, errGone):
		return nil
	case !out.begun:
		return err
	}
	c.Faults.Tell(ctx, "http", err)
	// The header is out, so the error can't be shown; breaking off can.
	panic(http.ErrAbortHandler)
}

// exported is the body of an export.
type exported struct {
	c    *call
	kind string
	row  func(r domain.Recorded, row *projections.DecisionRow) error

	rc    *http.ResponseController
	buf   bytes.Buffer
	csv   *csv.Writer
	begun bool // the header is out
	seen  time.Time
}

// exportBlock is how much is sent at once.
const exportBlock = 32 << 10

func (e *exported) add(ctx context.Context, r domain.Recorded, row *projections.DecisionRow) error {
	if err := e.begin(); err != nil {
		return err
	}
	if err := e.row(r, row); err != nil {
		return err
	}
	if e.buf.Len() < exportBlock {
		return nil
	}
	if now := e.c.Writer.Now(); now.Sub(e.seen) > heartbeat { // a credential may be gone before the end
		if err := e.c.Still(ctx, e.c.caller); errors.Is(err, handlers.ErrCredential) {
			return err
		}
		e.seen = now
	}
	return e.flush()
}

// begin sends what comes before the first row.
func (e *exported) begin() error {
	if e.begun {
		return nil
	}
	e.begun, e.seen, e.rc = true, e.c.Writer.Now(), http.NewResponseController(e.c.w)
	e.c.w.Header().Set("Content-Type", e.kind)
	e.c.w.Header().Set("Cache-Control", "no-store")
	if strings.HasPrefix(e.kind, "text/csv") {
		e.c.w.Header().Set("Content-Disposition", `attachment; filename="decisions.csv"`)
		e.csv = csv.NewWriter(&e.buf)
		return e.csv.Write(csvColumns)
	}
	return nil
}

func (e *exported) end() error {
	if err := e.begin(); err != nil {
		return err
	}
	return e.flush()
}

func (e *exported) flush() error {
	if e.csv != nil {
		e.csv.Flush() // into memory
	}
	// A reader that takes nothing for this long is gone.
	_ = e.rc.SetWriteDeadline(e.c.Writer.Now().Add(3 * heartbeat))
	if _, err := e.c.w.Write(e.buf.Bytes()); err != nil {
		return errGone
	}
	e.buf.Reset()
	if err := e.rc.Flush(); err != nil {
		return errGone
	}
	return nil
}

func (e *exported) asJSON(r domain.Recorded, _ *projections.DecisionRow) error {
	packet, err := handlers.EncodePacket(e.buf.AvailableBuffer(), r)
	if err != nil {
		return err
	}
	e.buf.Write(packet)
	e.buf.WriteByte('\n')
	return nil
}

// csvColumns are the packet's, what else was asked, and what came of it.
var csvColumns = []string{
	"requestId", "decidedAt", "agentId", "decision", "reasonCode", "reason", "riskLevel", "action", "vendor", "resource",
	"amount", "currency", "path", "command", "permissionId", "approvalId", "passportVersion", "position",
	"outcome", "outcomeAmount", "outcomeAt",
}

func (e *exported) asCSV(r domain.Recorded, row *projections.DecisionRow) error {
	p, err := domain.PacketOf(r)
	if err != nil {
		return err
	}
	settled := ""
	if !row.SettledAt.IsZero() {
		settled = row.SettledAt.UTC().Format(time.RFC3339Nano)
	}
	cells := []string{
		string(p.RequestID), p.DecidedAt.Format(time.RFC3339Nano), string(p.AgentID), string(p.Decision), string(p.ReasonCode),
		p.Reason, string(p.RiskLevel), string(p.Action), p.Vendor, p.Resource, string(p.Amount), string(p.Currency),
		row.Path, row.Command, string(p.PermissionID), string(p.ApprovalID), strconv.FormatUint(p.PassportVersion, 10), p.Position,
		string(row.Settled), string(row.SettledAmount), settled,
	}
	for i := range cells {
		cells[i] = inert(cells[i])
	}
	if err := e.csv.Write(cells); err != nil {
		return err
	}
	if e.csv.Flush(); e.csv.Error() != nil {
		return e.csv.Error()
	}
	return nil
}

// inert is text that no spreadsheet takes for a formula: agents choose some of it.
func inert(s string) string {
	if s != "" && strings.IndexByte("=+-@\t\r\n", s[0]) >= 0 {
		return "'" + s
	}
	return s
}
