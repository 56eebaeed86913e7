package projections

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/behalf-platform/behalf/domain"
)

// PublicSubjects is what the subjects of public events begin with; account, the
// two tokens of the type, and agent follow.
const PublicSubjects = "behalf.events"

// SchemaBase is what the dataschema of a public event begins with; type and
// version follow.
const SchemaBase = "https://github.com/behalf-platform/behalf/raw/main/schemas/public/"

// Subject is where the event is published:
// behalf.events.<account>.<type>.<agent>, with "_" for no agent.
func (e *PublicEvent) Subject() string {
	agent := string(e.Agent)
	if agent == "" {
		agent = NoAgent
	}
	return PublicSubjects + "." + string(e.Account) + "." + string(e.Type) + "." + agent
}

// NoAgent stands in a subject for the agent of an event that concerns none.
const NoAgent = "_"

// Sequence orders the events of one account as text. It has gaps: what isn't
// public, and other accounts' events, count too.
func (e *PublicEvent) Sequence() string { return string(e.appendSequence(nil)) }

func (e *PublicEvent) appendSequence(dst []byte) []byte {
	dst = padded(dst, e.Position.Seq, 20)
	return padded(append(dst, '-'), uint64(e.Index), 6)
}

func padded(dst []byte, n uint64, width int) []byte {
	var digits [20]byte
	text := strconv.AppendUint(digits[:0], n, 10)
	for range width - len(text) {
		dst = append(dst, '0')
	}
	return append(dst, text...)
}

// AppendCloudEvent appends the event as a CloudEvent 1.0 in structured JSON.
// Besides what that defines it has the extensions sequence, which orders the
// events of a source as text, and cursor, from where to go on reading after it.
func (e *PublicEvent) AppendCloudEvent(dst []byte) []byte {
	dst = append(dst, `{"specversion":"1.0","id":"`...)
	dst = e.appendID(dst)
	dst = append(dst, `","source":"`...)
	dst = append(dst, e.Source()...)
	dst = append(dst, `","type":"`...)
	dst = append(dst, e.Type...)
	if e.Agent != "" {
		dst = append(dst, `","subject":"`...)
		dst = append(dst, e.Agent...)
	}
	dst = append(dst, `","time":"`...)
	dst = e.At.UTC().AppendFormat(dst, time.RFC3339Nano)
	dst = append(dst, `","datacontenttype":"application/json","dataschema":"`...)
	dst = append(dst, e.DataSchema()...)
	dst = append(dst, `","sequence":"`...)
	dst = e.appendSequence(dst)
	dst = append(dst, `","cursor":"`...)
	dst = e.Cursor().append(dst)
	dst = append(dst, `","data":`...)
	dst = append(dst, e.Data...)
	return append(dst, '}')
}

// Source is the CloudEvent's source: the account.
func (e *PublicEvent) Source() string { return "/accounts/" + string(e.Account) }

// DataSchema is the URI of the JSON Schema of the data.
func (e *PublicEvent) DataSchema() string { return SchemaBase + string(e.Type) + ".v1.json" }

// Cursor is the place of the event.
func (e *PublicEvent) Cursor() PublicCursor { return PublicCursor{e.Position, e.Index} }

// PublicCursor is a place among the public events: those that come after it have a
// later position, or the same one and a higher index.
type PublicCursor struct {
	Position domain.Position
	Index    int
}

// String is the opaque token clients see: the position's, and with an index
// above 0 a dot and that.
func (c PublicCursor) String() string { return string(c.append(nil)) }

func (c PublicCursor) append(dst []byte) []byte {
	dst = c.Position.Append(dst)
	if c.Index == 0 {
		return dst
	}
	return strconv.AppendInt(append(dst, '.'), int64(c.Index), 10)
}

// ParsePublicCursor is the inverse of [PublicCursor.String]. The position that a packet
// carries is a cursor too.
func ParsePublicCursor(token string) (PublicCursor, error) {
	position, index, more := strings.Cut(token, ".")
	p, err := domain.ParsePosition(position)
	c := PublicCursor{Position: p}
	if err == nil && more {
		c.Index, err = strconv.Atoi(index)
	}
	if err == nil && (c.Index < 0 || c.String() != token) {
		err = fmt.Errorf("%q is not how it is written", token)
	}
	if err != nil {
		return PublicCursor{}, domain.Reject(domain.Invalid, "not a cursor; send one that an event carried")
	}
	return c, nil
}

// After reports whether c comes after d, both of one partition.
func (c PublicCursor) After(d PublicCursor) bool {
	return c.Position.Seq > d.Position.Seq || c.Position.Seq == d.Position.Seq && c.Index > d.Index
}
