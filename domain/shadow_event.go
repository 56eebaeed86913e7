package domain

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// ShadowEvent is a fact about a shadow. It is none of the log's: nothing is
// authorized by it, and no fold of the log sees it. The set is closed.
//
//sumtype:decl
type ShadowEvent interface {
	Kind() Kind
	shadowEvent()
}

// Every kind of shadow event ever written. Add; never edit or remove.
const (
	KindShadowStarted Kind = "shadow.started.v1"
	KindShadowDecided Kind = "shadow.decided.v1"
	KindShadowStopped Kind = "shadow.stopped.v1"
)

// ShadowKinds lists every kind of shadow event, oldest first.
func ShadowKinds() []Kind { return []Kind{KindShadowStarted, KindShadowDecided, KindShadowStopped} }

// The facts about one agent's shadow.
type (
	// ShadowStarted begins a shadow and, in the same moment, ends the one that it
	// supersedes.
	ShadowStarted struct {
		ShadowID  ShadowID        `json:"shadowId"`
		Candidate ShadowCandidate `json:"candidate"`
		// CandidateDigest is the SHA-256, in hex, of the candidate as canonical JSON.
		CandidateDigest string `json:"candidateDigest"`
		// Partition, Epoch and After are the newest record of the log when it began:
		// what comes later is followed.
		Partition  uint16    `json:"partition"`
		Epoch      uint32    `json:"epoch"`
		After      uint64    `json:"after"`
		Until      time.Time `json:"until"`
		Note       string    `json:"note,omitempty"`
		Supersedes ShadowID  `json:"supersedes,omitempty"`
	}
	// ShadowDecided is how one request came out under the candidate.
	ShadowDecided struct {
		ShadowID   ShadowID  `json:"shadowId"`
		StartedSeq uint64    `json:"startedSequence"`
		RequestID  RequestID `json:"requestId"`
		// Sequence and DecidedAt are the real decision's.
		Sequence  uint64    `json:"sequence"`
		DecidedAt time.Time `json:"decidedAt"`
		Amount    Decimal   `json:"amount,omitempty"`
		Currency  Currency  `json:"currency,omitempty"`
		Real      Came      `json:"real"`
		// Shadow, PermissionID and Reason are what would have been. Shadow is absent
		// where it couldn't be decided.
		Shadow       Came             `json:"shadow,omitzero"`
		PermissionID PermissionID     `json:"permissionId,omitempty"`
		Reason       string           `json:"reason,omitempty"`
		Difference   ShadowDifference `json:"difference"`
		Totals       ShadowTotals     `json:"totals"`
		// PreviousDifference is where the difference before this event lies among
		// the shadow's events, 0 for none.
		PreviousDifference uint64 `json:"previousDifference,omitzero"`
	}
	// ShadowStopped ends a shadow. It carries the counts, being the newest event.
	ShadowStopped struct {
		ShadowID           ShadowID     `json:"shadowId"`
		StartedSeq         uint64       `json:"startedSequence"`
		Because            ShadowEnd    `json:"because"`
		Note               string       `json:"note,omitempty"`
		Through            uint64       `json:"through"`
		ThroughAt          time.Time    `json:"throughAt"`
		Totals             ShadowTotals `json:"totals"`
		PreviousDifference uint64       `json:"previousDifference,omitzero"`
	}
)

func (ShadowStarted) Kind() Kind { return KindShadowStarted }
func (ShadowDecided) Kind() Kind { return KindShadowDecided }
func (ShadowStopped) Kind() Kind { return KindShadowStopped }

func (ShadowStarted) shadowEvent() {}
func (ShadowDecided) shadowEvent() {}
func (ShadowStopped) shadowEvent() {}

// StartedAtSeq is where the start of the event's shadow lies, 0 for a start
// itself.
func StartedAtSeq(e ShadowEvent) uint64 {
	switch e := e.(type) {
	case ShadowStarted:
		return 0
	case ShadowDecided:
		return e.StartedSeq
	case ShadowStopped:
		return e.StartedSeq
	}
	return 0
}

// ShadowRecord is a shadow's event in the envelope that all events have.
type ShadowRecord struct {
	ID      EventID
	At      time.Time
	Actor   Actor
	Account AccountID
	Agent   AgentID
	Cause   string
	Event   ShadowEvent
}

// Stream is the agent that the shadow is of.
func (r ShadowRecord) Stream() Stream { return Stream{Account: r.Account, Agent: r.Agent} }

// ShadowRecorded is a record that is stored, and where.
type ShadowRecorded struct {
	ShadowRecord
	Seq uint64
}

// Append appends the record's stored form to dst. The same record gives the
// same bytes.
func (r ShadowRecord) Append(dst []byte) ([]byte, error) {
	data, err := json.Marshal(r.Event, json.Deterministic(true))
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", r.Event.Kind(), err)
	}
	b, err := json.Marshal(stored{
		ID: r.ID, Kind: r.Event.Kind(), At: r.At.UTC(), Actor: r.Actor, Account: r.Account, Agent: r.Agent, Cause: r.Cause, Data: data,
	})
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", r.Event.Kind(), err)
	}
	return append(dst, b...), nil
}

// DecodeShadowRecord reads a stored record of a shadow, strictly. It returns
// [ErrUnknownKind] for a kind made later.
func DecodeShadowRecord(b []byte) (ShadowRecord, error) {
	var s stored
	if err := json.Unmarshal(b, &s, strict); err != nil {
		return ShadowRecord{}, fmt.Errorf("decode record of a shadow: %w", err)
	}
	event, err := decodeShadowEvent(s.Kind, s.Data)
	if err != nil {
		return ShadowRecord{}, fmt.Errorf("decode %s %s: %w", s.Kind, s.ID, err)
	}
	return ShadowRecord{ID: s.ID, At: s.At.UTC(), Actor: s.Actor, Account: s.Account, Agent: s.Agent, Cause: s.Cause, Event: event}, nil
}

func decodeShadowEvent(kind Kind, data []byte) (ShadowEvent, error) {
	switch kind {
	case KindShadowStarted:
		return decodeShadowData[ShadowStarted](data)
	case KindShadowDecided:
		return decodeShadowData[ShadowDecided](data)
	case KindShadowStopped:
		return decodeShadowData[ShadowStopped](data)
	}
	return nil, ErrUnknownKind
}

func decodeShadowData[E ShadowEvent](data []byte) (ShadowEvent, error) {
	var e E
	if err := json.Unmarshal(data, &e, strict); err != nil {
		return nil, err
	}
	return e, nil
}

// Digest is the SHA-256, in hex, of the candidate as canonical JSON.
func (c ShadowCandidate) Digest() (string, error) {
	b, err := json.Marshal(c)
	v := jsontext.Value(b)
	if err == nil {
		err = v.Canonicalize()
	}
	if err != nil {
		return "", fmt.Errorf("digest of a candidate: %w", err)
	}
	sum := sha256.Sum256(v)
	return hex.EncodeToString(sum[:]), nil
}
