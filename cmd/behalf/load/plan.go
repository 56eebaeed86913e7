package load

import (
	"slices"
	"sync/atomic"
)

// plan is what there is to ask about.
type plan struct {
	agents []*agent
	// spending says that every ask is right, and spends.
	spending bool
	// bare, when set, is what every answer says, whatever was asked.
	bare *wanted
	// hot are slots that are being changed. Asking about them is the point of
	// changing them.
	hot []atomic.Pointer[slot]
}

// agent is one that was registered for the run.
type agent struct {
	id, key string
	slots   []*slot
}

// slot is a place for a permission: one action on one resource up to a limit.
// The permission in it may be revoked, and another one granted.
type slot struct {
	agent            *agent
	action, resource string
	limit            int // in cents
	phase            atomic.Pointer[phase]
}

// step is where a slot stands.
type step int

// A slot goes from step to step, and round. What was sent and not yet
// acknowledged may have taken effect or not.
//
//	granted --send revoke--> revoking --ack--> revoked --send grant--> granting --ack--> granted
const (
	granted step = iota
	revoking
	revoked
	granting
)

// phase is a slot's state. It is never changed, only followed by another, so
// that two reads of the same pointer mean that nothing happened in between.
type phase struct {
	step step
	// id is the permission granted last.
	id string
	// dead are the permissions whose revocation was acknowledged.
	dead []string
}

// kind is what is done wrong in an ask, if anything.
type kind int

const (
	right kind = iota
	overLimit
	otherResource
	unknownAction
)

// wanted is what an answer must say.
type wanted struct{ outcome, code, permission string }

// standing is the answer while the slot's permission stands.
func (k kind) standing(id string) wanted {
	switch k {
	case right:
		return wanted{"allowed", "ALLOWED", id}
	case overLimit:
		return wanted{"denied", "AMOUNT_EXCEEDS_LIMIT", id}
	case otherResource:
		return wanted{"denied", "RESOURCE_NOT_ALLOWED", id}
	case unknownAction:
	}
	return wanted{"denied", "NO_PERMISSION", ""}
}

// gone is the answer while the slot's permission is revoked.
func (k kind) gone(id string) wanted {
	if k == unknownAction {
		return k.standing("")
	}
	return wanted{"denied", "PERMISSION_REVOKED", id}
}

// judgement is what an answer was.
type judgement int

const (
	correct judgement = iota
	wrong
	// violation is an allow by a permission whose revocation had been
	// acknowledged before the ask was sent.
	violation
)

// judge compares an answer with what was known when the ask was sent, and when
// the answer had come. If nothing changed in between, there is one right answer.
// Else the ask may have met any state on the way, but never a permission that
// was dead before.
func judge(k kind, before, after *phase, got wanted) judgement {
	id := got.permission
	settled := before == after && before.step == revoked
	switch {
	case got.outcome == "allowed" && (slices.Contains(before.dead, id) || settled):
		return violation
	case k == unknownAction && got == k.standing(""):
		return correct
	case k == unknownAction:
		return wrong
	case got == k.standing(id) && mayStand(id, before, after), got == k.gone(id) && mayBeGone(id, before, after):
		return correct
	}
	return wrong
}

// mayStand reports whether a permission may have stood at some time between two
// phases. One whose grant is under way has an id that is not known yet.
func mayStand(id string, before, after *phase) bool {
	return !slices.Contains(before.dead, id) &&
		(id == before.id || id == after.id || slices.Contains(after.dead, id) || after.step == granting && id != "")
}

// mayBeGone reports whether a permission may have been the newest of its slot,
// and revoked, at some time between two phases.
func mayBeGone(id string, before, after *phase) bool {
	switch id {
	case before.id:
		return before.step != granted || before != after
	case after.id:
		return after.step != granted
	}
	return slices.Contains(after.dead, id) && !slices.Contains(before.dead, id)
}
