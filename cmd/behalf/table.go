package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
)

// table prints aligned columns.
type table struct{ w *tabwriter.Writer }

func newTable(out io.Writer) *table { return &table{tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)} }

// row adds a line.
func (t *table) row(cells ...string) {
	for i, cell := range cells {
		if i > 0 {
			_, _ = io.WriteString(t.w, "\t") // flush tells what fails here
		}
		_, _ = io.WriteString(t.w, visible(cell))
	}
	t.gap()
}

// field adds a line with a name and a value, unless there is no value.
func (t *table) field(name, value string) {
	if value != "" {
		t.row(name, value)
	}
}

// list adds a line with a name and values, unless there are none.
func (t *table) list(name string, values []string) { t.field(name, strings.Join(values, ", ")) }

// gap ends a line. By itself it makes an empty one, which ends the columns too.
func (t *table) gap() { _, _ = io.WriteString(t.w, "\n") }

func (t *table) flush() error {
	if err := t.w.Flush(); err != nil {
		return fmt.Errorf("write to standard output: %w", err)
	}
	return nil
}

// visible is text that can't move a cursor, break a line or hide another text.
func visible(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05Z")
}

// orDash fills a cell that would be empty, so that columns can be counted.
func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func number(v uint64) string { return strconv.FormatUint(v, 10) }

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// money is an amount with its currency.
func money(amount, currency string) string { return strings.TrimSpace(amount + " " + currency) }
