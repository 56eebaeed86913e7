package domain

import "strings"

// Ids have types, so that two of them can't be swapped. An id is
// [A-Za-z0-9_-]{1,64}, because it is a token of a NATS subject.
type (
	AccountID    string
	AgentID      string
	MemberID     string
	PermissionID string
	RequestID    string
	EventID      string
	ApprovalID   string
	EndpointID   string
	ReplayID     string
	LinkID       string
)

// Prefixes of the ids that Behalf makes; a ULID follows.
const (
	AccountPrefix    = "acct_"
	AgentPrefix      = "agent_"
	MemberPrefix     = "mem_"
	PermissionPrefix = "perm_"
	RequestPrefix    = "req_"
	EventPrefix      = "evt_"
	ApprovalPrefix   = "apr_"
	EndpointPrefix   = "whe_"
	ReplayPrefix     = "whr_" // of a replay to an endpoint
	LinkPrefix       = "lnk_" // of a link to a passport
)

// ValidID reports whether s may be an id: one subject token, no separators, no
// wildcards.
func ValidID(s string) bool {
	if len(s) == 0 || len(s) > 64 {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}

// ReservedAgentID says, in words for people, why an agent may not be called by an
// id, or is empty. Over NATS an agent is known by its id, and its inbox is named
// after it, so it must not be called like somebody else there.
func ReservedAgentID(id AgentID) string {
	switch {
	case id == "behalf-operator":
		return "it is the name of whoever reads the log over NATS"
	case id == "_BEHALF":
		return "it is the server's own name in NATS"
	case strings.HasPrefix(string(id), MemberPrefix):
		return "ids that begin with " + MemberPrefix + " are members', and name their inboxes in NATS"
	}
	return ""
}

// validPublicID reports whether s is the id of a public event: that of an event
// of the log, and behind it "-1", "-2" and so on for the second that came of it,
// and the third.
func validPublicID(s string) bool {
	id, index, more := strings.Cut(s, "-")
	return validULID(EventPrefix, id) &&
		(!more || len(index) > 0 && len(index) < 10 && index[0] != '0' && strings.Trim(index, "0123456789") == "")
}

// validULID reports whether s is an id that Behalf made: the prefix, and a ULID.
func validULID(prefix, s string) bool {
	id, ok := strings.CutPrefix(s, prefix)
	return ok && len(id) == 26 && id[0] <= '7' && strings.Trim(id, "0123456789ABCDEFGHJKMNPQRSTVWXYZ") == ""
}

// Action is what an agent asks to do, such as "purchase" or "repo:push". It is
// compared exactly.
type Action string

// Valid reports whether a follows the grammar of an action,
// [A-Za-z0-9][A-Za-z0-9._:/-]{0,127}.
func (a Action) Valid() bool {
	if len(a) == 0 || len(a) > 128 {
		return false
	}
	for i := range len(a) {
		switch c := a[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case i > 0 && (c == '.' || c == '_' || c == ':' || c == '/' || c == '-'):
		default:
			return false
		}
	}
	return true
}
