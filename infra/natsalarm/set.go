package natsalarm

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/behalf-platform/behalf/domain"
)

const (
	setPrefix  = "behalf.alarm.set."
	ringPrefix = "behalf.alarm.ring."
)

// latest is the last moment the server can tell from others. It takes later ones,
// and rings them at any time.
var latest = time.Unix(0, math.MaxInt64)

// Set makes an alarm ring at its time, or at once if that is past. There is one
// alarm for an approval: a later Set takes the place of an earlier one, and
// setting the same one again changes nothing that matters. After an error,
// which comes within seconds, the alarm may be set or not: set it again.
func (a *Alarms) Set(ctx context.Context, alarm domain.Alarm) error {
	m, err := schedule(alarm, a.now())
	if err != nil {
		return fmt.Errorf("set an alarm: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if _, err := a.js.PublishMsg(ctx, m, jetstream.WithExpectStream(StreamName)); err != nil {
		return fmt.Errorf("set an alarm for approval %s of agent %s: %w", alarm.ApprovalID, alarm.Agent, err)
	}
	return nil
}

// schedule is the message that makes the server ring an alarm.
func schedule(alarm domain.Alarm, now time.Time) (*nats.Msg, error) {
	for _, id := range []string{string(alarm.Account), string(alarm.Agent), string(alarm.ApprovalID)} {
		if !domain.ValidID(id) { // nothing is ever published to a wildcard
			return nil, fmt.Errorf("%q is not an id", id)
		}
	}
	at := alarm.At
	if at.Before(now) { // of times long ago the server takes some for no schedule, or for the future
		at = now
	}
	if at.After(latest) {
		return nil, fmt.Errorf("%s is too far away", at)
	}
	ids := fmt.Sprintf("%s.%s.%s", alarm.Account, alarm.Agent, alarm.ApprovalID)
	m := nats.NewMsg(setPrefix + ids)
	// Not WithScheduleAt of the library, which drops fractions of a second:
	// what rings early is rung in vain.
	m.Header.Set(jetstream.ScheduleHeader, "@at "+at.UTC().Format(time.RFC3339Nano))
	m.Header.Set(jetstream.ScheduleTargetHeader, ringPrefix+ids)
	var err error
	m.Data, err = alarm.At.UTC().MarshalText()
	return m, err
}

// parse reads the alarm in a message that rings.
func parse(subject string, data []byte) (domain.Alarm, error) {
	ids, ok := strings.CutPrefix(subject, ringPrefix)
	tokens := strings.Split(ids, ".")
	if !ok || len(tokens) != 3 {
		return domain.Alarm{}, errors.New("its subject is not of an alarm")
	}
	for _, id := range tokens {
		if !domain.ValidID(id) {
			return domain.Alarm{}, fmt.Errorf("%q in its subject is not an id", id)
		}
	}
	alarm := domain.Alarm{
		Account: domain.AccountID(tokens[0]), Agent: domain.AgentID(tokens[1]), ApprovalID: domain.ApprovalID(tokens[2]),
	}
	if err := alarm.At.UnmarshalText(data); err != nil {
		return domain.Alarm{}, err
	}
	return alarm, nil
}
