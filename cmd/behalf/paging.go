package main

import "github.com/spf13/pflag"

// paging is the flags of a list, and where it stands.
type paging struct {
	limit  int
	cursor string
	all    bool

	headed bool
}

// mostOnPage is the most a server gives at once.
const mostOnPage = 500

func (p *paging) flags(f *pflag.FlagSet) {
	f.IntVar(&p.limit, "limit", 50, "how many to list at most")
	f.StringVar(&p.cursor, "cursor", "", "go on where a list ended")
	f.BoolVar(&p.all, "all", false, "list everything; with --output json, one page a line")
}

// head prints the column names over the first page.
func (p *paging) head(t *table, names ...string) {
	if !p.headed {
		t.row(names...)
	}
	p.headed = true
}

// pages shows page after page until there are enough. A page may be short, or
// empty, without being the last, because the server bounds the work of one. For
// a program one page is one document, unless it asks for all.
func (r *remote) pages(p *paging, show func(limit int, cursor string) (shown int, next string, err error)) error {
	if p.limit < 1 {
		return usagef("--limit must be 1 or more")
	}
	for left := p.limit; ; {
		limit := min(left, mostOnPage)
		if p.all {
			limit = mostOnPage
		}
		n, next, err := show(limit, p.cursor)
		if err != nil || next == "" {
			return err
		}
		p.cursor = next
		left -= n
		if !p.all && (left <= 0 || r.json) {
			r.note("There are more: --all, or --cursor %s", next)
			return nil
		}
	}
}
