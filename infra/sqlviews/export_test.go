package sqlviews

import (
	"context"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/behalf-platform/behalf/projections"
)

// aside is what stands in a definition beside the columns.
var aside = regexp.MustCompile(`--.*|(?m)^PARTITION.*$`)

// BareDecisions is a table for decisions without an index or partitions.
func BareDecisions(table string) string {
	sql, err := definition("decisions")
	if err != nil {
		panic(err)
	}
	sql, _, _ = strings.Cut(aside.ReplaceAllString(sql, ""), ";")
	return strings.Replace(sql, "decisions_v0", table, 1) + "; ALTER TABLE " + table + " SET (toast_tuple_target = 8160)"
}

// CopyDecisions is a bare COPY.
func CopyDecisions(ctx context.Context, conn *pgx.Conn, table string, rows []projections.DecisionRow) error {
	_, err := conn.PgConn().CopyFrom(ctx, &decisionReader{rows: rows}, "COPY "+table+" ("+strings.Join(decisionColumns, ", ")+") FROM STDIN BINARY")
	return err
}
