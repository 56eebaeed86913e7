package outbound

import (
	"net/http"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/behalf-platform/behalf/domain"
)

const (
	mostHeaders     = 16
	mostHeaderBytes = 4096 // names and values together
)

// ownHeaders are what a customer can't set, in lower case: they say what is
// sent, by whom, and how the connection goes on.
var ownHeaders = []string{
	"accept-encoding", "connection", "content-encoding", "content-length", "content-type", "cookie", "expect",
	"forwarded", "host", "idempotency-key", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "user-agent", "x-idempotency-key",
}

// ownPrefixes are the same, for all names that begin so.
var ownPrefixes = []string{"webhook-", "behalfid-", "proxy-", "sec-", "x-forwarded-", ":"}

// CheckHeader refuses custom headers that can't be sent, with a
// [*domain.RuleError] that names the header and never its value.
func CheckHeader(header http.Header) error {
	count, size := 0, 0
	for name, values := range header {
		if err := checkHeader(name, values); err != nil {
			return err
		}
		for _, value := range values {
			count++
			size += len(name) + len(value)
		}
	}
	if count > mostHeaders || size > mostHeaderBytes {
		return domain.RejectField(domain.Invalid, "/headers", "there are %d headers with %d bytes; at most %d with %d bytes are taken", count, size, mostHeaders, mostHeaderBytes)
	}
	return nil
}

func checkHeader(name string, values []string) error {
	lower := strings.ToLower(name)
	switch {
	case !httpguts.ValidHeaderFieldName(name):
		return domain.RejectField(domain.Invalid, "/headers", "%+q is not the name of a header", name[:min(len(name), 64)])
	case slices.Contains(ownHeaders, lower),
		slices.ContainsFunc(ownPrefixes, func(p string) bool { return strings.HasPrefix(lower, p) }):
		return domain.RejectField(domain.Invalid, "/headers", "the header %s is set by the sender", name)
	case !slices.ContainsFunc(values, func(v string) bool { return !httpguts.ValidHeaderFieldValue(v) }):
		return nil
	}
	return domain.RejectField(domain.Invalid, "/headers", "the value of the header %s can't be sent", name)
}
