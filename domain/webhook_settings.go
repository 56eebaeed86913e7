package domain

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
)

const (
	mostURL         = 2048 // bytes
	mostDescription = 256
	mostTypes       = 64
	mostAgents      = 256
	mostHeaders     = 10
	mostHeaderName  = 64
	mostHeaderValue = 512
)

// Complete checks the settings, and returns them as they are stored: defaults
// filled in, headers by name.
func (s EndpointSettings) Complete(rules EndpointRules) (EndpointSettings, error) {
	if s.Ordering == "" {
		s.Ordering = OrderParallel
	}
	if s.Format == "" {
		s.Format = FormatStandard
	}
	if s.Signatures == nil {
		s.Signatures = []Signature{SignHMAC, SignEd25519}
	}
	for _, check := range []func() error{
		func() error { return checkAddress(s.URL, rules.PlainHTTP) },
		func() error { return checkTypes(s.Types, rules.Types) },
		s.checkAgents,
		func() error { return checkText("/description", s.Description, 0, mostDescription) },
		s.checkChoices,
		func() error { return checkHeaders(s.Headers) },
	} {
		if err := check(); err != nil {
			return EndpointSettings{}, err
		}
	}
	s.Headers, s.Signatures = slices.Clone(s.Headers), slices.Clone(s.Signatures)
	slices.SortFunc(s.Headers, func(x, y EndpointHeader) int {
		return strings.Compare(strings.ToLower(x.Name), strings.ToLower(y.Name))
	})
	slices.Sort(s.Signatures)
	return s, nil
}

// checkAddress takes what every program reads as the same address. Where it
// leads is for others to say, when they look the name up.
func checkAddress(s string, plain bool) error {
	const field = "/url"
	if s == "" {
		return RejectField(Invalid, field, "is required")
	}
	if len(s) > mostURL {
		return RejectField(Invalid, field, "is %d bytes long; at most %d are taken", len(s), mostURL)
	}
	if i := strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune("\\\"<>^`{|}", r) }); i >= 0 {
		return RejectField(Invalid, field, "has a character at byte %d that has to be written as %%XX, or a name that has to be written in ASCII", i)
	}
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return RejectField(Invalid, field, "is not a URL; send one such as https://example.com/behalf")
	case u.Scheme != "https" && (u.Scheme != "http" || !plain):
		return RejectField(Invalid, field, "must begin with https://")
	case u.Host == "" || u.Opaque != "":
		return RejectField(Invalid, field, "names no host")
	case u.User != nil:
		return RejectField(Invalid, field, "has a name or password before the host, which would be recorded; leave it out")
	case strings.Contains(s, "#"):
		return RejectField(Invalid, field, "has a fragment, which is never sent; leave it out")
	case strings.HasSuffix(u.Host, ":"):
		return RejectField(Invalid, field, "has a colon and no port")
	}
	if _, err := parseHost(u.Host); err != nil {
		return RejectField(Invalid, field, "%v", err)
	}
	return nil
}

func checkTypes(filters, known []string) error {
	const field = "/types"
	switch n := len(filters); {
	case filters != nil && n == 0:
		return RejectField(Invalid, field, `is empty; leave it out for all but %s, or send ["*"] for all`, VerificationAllowed)
	case n > mostTypes:
		return RejectField(Invalid, field, "has %d entries; at most %d are taken", n, mostTypes)
	}
	for i, filter := range filters {
		begin, open := strings.CutSuffix(filter, "*")
		whole := !open || begin == "" || strings.HasSuffix(begin, ".")
		if !whole || !slices.ContainsFunc(known, func(kind string) bool { return covers(filter, kind) }) {
			return RejectField(Invalid, pointer(field[1:], i), `%s is not a type of event; there are %s, "noun.*" for all of a noun, and "*" for all`,
				quote(filter), strings.Join(known, ", "))
		}
		if slices.Contains(filters[:i], filter) {
			return RejectField(Invalid, pointer(field[1:], i), "%s is there twice", filter)
		}
	}
	return nil
}

func (s EndpointSettings) checkAgents() error {
	const field = "/agents"
	switch n := len(s.Agents); {
	case s.Agents != nil && n == 0:
		return RejectField(Invalid, field, "is empty; leave it out for all agents")
	case n > mostAgents:
		return RejectField(Invalid, field, "has %d entries; at most %d are taken", n, mostAgents)
	}
	for i, id := range s.Agents {
		if !ValidID(string(id)) {
			return RejectField(Invalid, pointer(field[1:], i), "%s is not the id of an agent", quote(string(id)))
		}
		if slices.Contains(s.Agents[:i], id) {
			return RejectField(Invalid, pointer(field[1:], i), "%s is there twice", id)
		}
	}
	return nil
}

func (s EndpointSettings) checkChoices() error {
	switch s.Ordering {
	case OrderParallel, OrderPerAgent, OrderStrict:
	default:
		return RejectField(Invalid, "/ordering", "%s is not known; send parallel, per_agent or strict", quote(string(s.Ordering)))
	}
	switch s.Format {
	case FormatStandard, FormatBehalfID:
	default:
		return RejectField(Invalid, "/format", "%s is not known; send standard or behalfid", quote(string(s.Format)))
	}
	if s.RatePerSecond < 0 || s.RatePerSecond > mostRate {
		return RejectField(Invalid, "/ratePerSecond", "is %d; send 1 to %d events a second, or leave it out", s.RatePerSecond, mostRate)
	}
	if len(s.Signatures) == 0 {
		return RejectField(Invalid, "/signatures", "is empty; every message is signed")
	}
	for i, scheme := range s.Signatures {
		if scheme != SignHMAC && scheme != SignEd25519 {
			return RejectField(Invalid, pointer("signatures", i), "%s is not known; send v1 (HMAC) or v1a (Ed25519)", quote(string(scheme)))
		}
		if slices.Contains(s.Signatures[:i], scheme) {
			return RejectField(Invalid, pointer("signatures", i), "%s is there twice", scheme)
		}
	}
	return nil
}

func checkHeaders(headers []EndpointHeader) error {
	const field = "/headers"
	switch n := len(headers); {
	case headers != nil && n == 0:
		return RejectField(Invalid, field, "is empty; leave it out")
	case n > mostHeaders:
		return RejectField(Invalid, field, "has %d entries; at most %d are taken", n, mostHeaders)
	}
	for i, h := range headers {
		at := field + "/" + strconv.Itoa(i)
		if err := checkHeaderName(at+"/name", h.Name); err != nil {
			return err
		}
		if slices.ContainsFunc(headers[:i], func(other EndpointHeader) bool { return strings.EqualFold(other.Name, h.Name) }) {
			return RejectField(Invalid, at+"/name", "%s is there twice", h.Name)
		}
		if err := checkHeaderValue(at+"/value", h.Value); err != nil {
			return err
		}
	}
	return nil
}

func checkHeaderName(field, name string) error {
	if name == "" || len(name) > mostHeaderName || strings.Trim(name, headerAlphabet) != "" {
		return RejectField(Invalid, field, "%s is not the name of a header of 1 to %d characters", quote(name), mostHeaderName)
	}
	lower := strings.ToLower(name)
	if slices.Contains(ownHeaders, lower) || slices.ContainsFunc(ownPrefixes, func(p string) bool { return strings.HasPrefix(lower, p) }) {
		return RejectField(Invalid, field, "%s is set by Behalf or by the connection; choose another name", name)
	}
	// Any word of a name may say what is in it: X-Api-Key, Ocp-Apim-Subscription-Key.
	for word := range strings.FieldsFuncSeq(lower, func(r rune) bool { return r == '-' || r == '_' || r == '.' }) {
		if slices.ContainsFunc(secretWords, func(secret string) bool { return strings.HasSuffix(word, secret) }) {
			return RejectField(Invalid, field, "%s looks like a credential, and headers are recorded for ever; check the signature of a message to know who sent it", name)
		}
	}
	return nil
}

func checkHeaderValue(field, value string) error {
	switch {
	case value == "" || len(value) > mostHeaderValue:
		return RejectField(Invalid, field, "is %d bytes long; 1 to %d are taken", len(value), mostHeaderValue)
	case strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r > '~' }):
		return RejectField(Invalid, field, "has a character that is not printable ASCII")
	case strings.TrimSpace(value) != value:
		return RejectField(Invalid, field, "begins or ends with blanks")
	}
	lower := strings.ToLower(value)
	for _, p := range []string{"bearer ", "basic ", "bhf_", "whsec_", "whsk_"} {
		if strings.HasPrefix(lower, p) {
			return RejectField(Invalid, field, "looks like a credential, and headers are recorded for ever; check the signature of a message to know who sent it")
		}
	}
	return nil
}

const headerAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-.^_`|~"

// Headers that are not a member's to set, and words that say one is secret. They
// are never written to.
var (
	ownHeaders = []string{
		"host", "connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "expect", "date", "via", "forwarded",
		"user-agent", "accept", "accept-encoding", "http2-settings", "traceparent", "tracestate", "from", "referer", "origin",
	}
	ownPrefixes = []string{"content-", "proxy-", "webhook-", "behalf-", "behalfid-", "x-behalf-", "x-behalfid-", "ce-", "sec-", "x-forwarded-", "if-"}
	secretWords = []string{
		"auth", "authorization", "authentication", "token", "secret", "password", "passwd", "key", "cookie", "cookie2",
		"credential", "credentials", "session", "signature", "jwt", "bearer",
	}
)
