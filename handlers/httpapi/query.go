package httpapi

import (
	"net/url"
	"slices"
	"strconv"

	"github.com/behalf-platform/behalf/domain"
)

// query reads a query string strictly: a misspelt filter would otherwise
// silently show more than was asked for.
func (c *call) query(names ...string) (url.Values, error) {
	query, err := url.ParseQuery(c.r.URL.RawQuery)
	if err != nil {
		return nil, domain.Reject(domain.Invalid, "the query string can't be read")
	}
	for name, values := range query {
		if !slices.Contains(names, name) {
			return nil, domain.RejectField(domain.Invalid, "/"+name, "is not a parameter of this path")
		}
		if len(values) != 1 {
			return nil, domain.RejectField(domain.Invalid, "/"+name, "is given twice")
		}
	}
	return query, nil
}

// plain refuses what is behind the ?, where nothing is read of it.
func (c *call) plain() error {
	if c.r.URL.RawQuery == "" {
		return nil
	}
	_, err := c.query()
	return err
}

func limitOf(query url.Values) (int, error) {
	const usual, most = 50, 500
	text := query.Get("limit")
	if text == "" {
		return usual, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > most {
		return 0, domain.RejectField(domain.Invalid, "/limit", "must be a number from 1 to %d", most)
	}
	return n, nil
}
