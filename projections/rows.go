package projections

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/behalf-platform/behalf/domain"
)

// Projection names one of the read models kept in SQL. Each has tables, a
// version and checkpoints of its own, and can be dropped and made again from the
// first event.
type Projection string

// The projections there are.
const (
	// ProjectionDecisions is one row per decision, with what was reported of it.
	ProjectionDecisions Projection = "decisions"
	// ProjectionPassports is agents, permissions, members, and everything that
	// ever changed them.
	ProjectionPassports Projection = "passports"
	// ProjectionApprovals is approvals and the votes on them.
	ProjectionApprovals Projection = "approvals"
	// ProjectionUsage is counts and amounts per agent, day and outcome.
	ProjectionUsage Projection = "usage"
)

// Projections lists every projection, in the order in which they are shown.
func Projections() []Projection {
	return []Projection{ProjectionDecisions, ProjectionPassports, ProjectionApprovals, ProjectionUsage}
}

// Valid reports whether there is such a projection.
func (p Projection) Valid() bool {
	switch p {
	case ProjectionDecisions, ProjectionPassports, ProjectionApprovals, ProjectionUsage:
		return true
	}
	return false
}

// Batch is the rows that a stretch of one partition of the log makes in one
// projection: what is new, and what changes in rows that are there already. Its
// slices are in the order of the log and hold no row twice, except for Votes: a
// person's first yes is the one that stays.
type Batch struct {
	Projection Projection
	// Events is how many events were added, those that make no row among them.
	Events int

	Decisions   []DecisionRow
	Settlements []Settlement // of decisions that aren't in the batch

	Agents           []AgentRow
	AgentChanges     []AgentChange // of agents that aren't in the batch
	Permissions      []PermissionRow
	PermissionEnds   []PermissionEnd // of permissions that aren't in the batch
	Members          []MemberRow
	MemberChanges    []MemberChange // of members that aren't in the batch
	Changes          []ChangeRow
	Approvals        []ApprovalRow
	ApprovalChanges  []ApprovalChange // of approvals that aren't in the batch
	Votes            []VoteRow
	Usage            []UsageRow
	last             uint64
	decisions        map[decisionKey]int
	agents           map[domain.Stream]int
	agentChanges     map[domain.Stream]int
	permissions      map[permissionKey]int
	members          map[memberRef]int
	memberChanges    map[memberRef]int
	approvals        map[approvalKey]int
	approvalChanges  map[approvalKey]int
	usage            map[usageKey]int
	records, scratch []byte
}

// NewBatch is an empty batch of a projection.
func NewBatch(p Projection) *Batch {
	b := &Batch{Projection: p}
	b.Reset()
	return b
}

// Reset empties the batch and keeps its memory. What was read from it is no
// longer good.
func (b *Batch) Reset() {
	*b = Batch{
		Projection: b.Projection, Decisions: b.Decisions[:0], Changes: b.Changes[:0],
		decisions: cleared(b.decisions), agents: cleared(b.agents), agentChanges: cleared(b.agentChanges),
		permissions: cleared(b.permissions), members: cleared(b.members), memberChanges: cleared(b.memberChanges),
		approvals: cleared(b.approvals), approvalChanges: cleared(b.approvalChanges), usage: cleared(b.usage),
		records: b.records[:0],
	}
}

func cleared[K comparable, V any](m map[K]V) map[K]V {
	if m == nil {
		return map[K]V{}
	}
	clear(m)
	return m
}

// Add adds what the next event makes. An event that was added before, by its
// sequence, adds nothing. An error says that the event can't be applied: nothing
// after it may be, and the projection has to stop there.
func (b *Batch) Add(r domain.Recorded) error {
	if r.Position.Seq <= b.last {
		return nil
	}
	var err error
	switch b.Projection {
	case ProjectionDecisions:
		err = b.addDecision(&r)
	case ProjectionPassports:
		err = b.addPassport(&r)
	case ProjectionApprovals:
		err = b.addApproval(&r)
	case ProjectionUsage:
		err = b.addUsage(&r)
	default:
		err = fmt.Errorf("no projection %q", b.Projection)
	}
	if err != nil {
		return &Inapplicable{Seq: r.Position.Seq, Err: err}
	}
	b.last = r.Position.Seq
	b.Events++
	return nil
}

// stored is the event in its stored form, in memory of the batch's own.
func (b *Batch) stored(r *domain.Recorded) ([]byte, error) {
	var err error
	if b.scratch, err = r.Append(b.scratch[:0]); err != nil {
		return nil, err
	}
	if cap(b.records)-len(b.records) < len(b.scratch) {
		b.records = make([]byte, 0, max(1<<20, len(b.scratch)))
	}
	start := len(b.records)
	b.records = append(b.records, b.scratch...)
	return b.records[start:len(b.records):len(b.records)], nil
}

// text is what a column of text can hold: no NUL, nothing but UTF-8. The record
// beside it says what was there.
func text[S ~string](s S) S {
	if strings.IndexByte(string(s), 0) < 0 && utf8.ValidString(string(s)) {
		return s
	}
	return S(strings.ReplaceAll(strings.ToValidUTF8(string(s), "\uFFFD"), "\x00", "\uFFFD"))
}
