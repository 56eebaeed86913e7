package handlers

import (
	"maps"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/projections"
)

// ChangeView is an event that changed a passport, as members see it.
type ChangeView struct {
	// PassportVersion is the one it gave the passport.
	PassportVersion uint64         `json:"passportVersion"`
	EventID         domain.EventID `json:"eventId"`
	Kind            domain.Kind    `json:"kind"`
	At              time.Time      `json:"at"`
	Actor           domain.Actor   `json:"actor"`
	Cause           string         `json:"cause,omitempty"`
	Position        string         `json:"position"`
	// Change is what the event says, without the hash of a credential.
	Change map[string]jsontext.Value `json:"change"`
}

// ViewChange shows what changed a passport.
func (q *Queries) ViewChange(row *projections.ChangeRow) (ChangeView, error) {
	var stored struct {
		Data map[string]jsontext.Value `json:"data"`
	}
	if err := json.Unmarshal(row.Record, &stored); err != nil {
		return ChangeView{}, Unreadable(err)
	}
	maps.DeleteFunc(stored.Data, func(name string, _ jsontext.Value) bool { return strings.HasSuffix(name, "Hash") })
	at := domain.Position{Partition: row.Partition, Epoch: q.Log.Epoch(row.Partition), Seq: row.Seq}
	return ChangeView{
		PassportVersion: row.Seq, EventID: row.EventID, Kind: row.Kind, At: row.At, Actor: row.Actor, Cause: row.Cause,
		Position: at.String(), Change: stored.Data,
	}, nil
}
