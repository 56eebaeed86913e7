package domain

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestLinks(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	made := func(id LinkID, agent AgentID, expires time.Duration) PassportLinkCreated {
		return PassportLinkCreated{LinkID: id, AgentID: agent, Token: HashToken(string(id)), ExpiresAt: now.Add(expires)}
	}
	create := func(id LinkID, in Duration, label string) func(Account) ([]Event, error) {
		return func(a Account) ([]Event, error) {
			return a.CreateLink(CreateLink{LinkID: id, AgentID: "ollie", Label: label, Token: HashToken(string(id)), ExpiresIn: in, Now: now})
		}
	}
	revoke := func(agent AgentID, id LinkID) func(Account) ([]Event, error) {
		return func(a Account) ([]Event, error) { return a.RevokeLink(agent, id) }
	}
	first := made("lnk_1", "ollie", time.Hour)
	revoked := PassportLinkRevoked{LinkID: "lnk_1", AgentID: "ollie"}
	var full, past []Event
	for i := range mostLinks {
		full = append(full, made(LinkID("lnk_"+strconv.Itoa(i)), "ollie", time.Hour))
		past = append(past, made(LinkID("lnk_"+strconv.Itoa(i)), "ollie", 0))
	}
	labelled := made("lnk_2", "ollie", 90*time.Minute)
	labelled.Label = "travel assistant"
	for _, c := range []struct {
		name  string
		given []Event
		when  func(Account) ([]Event, error)
		then  []Event
		code  Code
		field string
	}{
		{name: "create", when: create("lnk_1", Duration(time.Hour), ""), then: []Event{first}},
		{name: "create one that lasts as usual", when: create("lnk_1", 0, ""), then: []Event{made("lnk_1", "ollie", 30*24*time.Hour)}},
		{name: "create another", given: []Event{first}, when: create("lnk_2", Duration(90*time.Minute), "travel assistant"), then: []Event{labelled}},
		{name: "an id that is taken", given: []Event{first}, when: create("lnk_1", 0, ""), code: Conflict},
		{name: "too short", when: create("lnk_1", Duration(time.Second), ""), code: Invalid, field: "/expiresIn"},
		{name: "too long", when: create("lnk_1", mostLink+Duration(time.Second), ""), code: Invalid, field: "/expiresIn"},
		{name: "a label that is an address", when: create("lnk_1", 0, "ada@example.com"), code: Invalid, field: "/label"},
		{name: "a label that is too long", when: create("lnk_1", 0, strings.Repeat("x", 129)), code: Invalid, field: "/label"},
		{name: "one too many", given: full, when: create("lnk_x", 0, ""), code: Conflict},
		{name: "those that expired do not count", given: past, when: create("lnk_x", Duration(time.Hour), ""), then: []Event{made("lnk_x", "ollie", time.Hour)}},
		{name: "another agent's do not count", given: []Event{made("lnk_0", "dora", time.Hour)}, when: create("lnk_1", Duration(time.Hour), ""), then: []Event{first}},
		{name: "revoke", given: []Event{first}, when: revoke("ollie", "lnk_1"), then: []Event{revoked}},
		{name: "revoke again changes nothing", given: []Event{first, revoked}, when: revoke("ollie", "lnk_1")},
		{name: "revoke what was never made", when: revoke("ollie", "lnk_1"), code: NotFound},
		{name: "revoke another agent's", given: []Event{first}, when: revoke("dora", "lnk_1"), code: NotFound},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, err := c.when(linkedTo(now, c.given))
			var rule *RuleError
			if errors.As(err, &rule) != (c.code != "") || rule != nil && (rule.Code != c.code || c.field != "" && rule.Field != c.field) {
				t.Fatalf("got %v, want the code %q of %q", err, c.code, c.field)
			}
			if !slices.Equal(got, c.then) {
				t.Errorf("got %+v, want %+v", got, c.then)
			}
		})
	}
}

func TestALinkStandsWhereItShould(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	created := PassportLinkCreated{LinkID: "lnk_1", AgentID: "ollie", Token: HashToken("x"), ExpiresAt: now.Add(time.Hour)}
	before := linkedTo(now, []Event{created})
	l, ok := before.Link("lnk_1")
	if !ok || l.StatusAt(now.Add(time.Hour-1)) != LinkActive || l.StatusAt(now.Add(time.Hour)) != LinkHasExpired {
		t.Errorf("got %+v, want it good up to but not including its end", l)
	}
	after := linkedTo(now, []Event{created, PassportLinkRevoked{LinkID: "lnk_1", AgentID: "ollie"}})
	if l, _ := after.Link("lnk_1"); l.StatusAt(now) != LinkIsRevoked {
		t.Errorf("got %q, want it revoked", l.StatusAt(now))
	}
	if l.StatusAt(now) != LinkActive {
		t.Error("what was folded before was written to")
	}
}

func TestOfTheLinksThatAreOverOnlyTheNewestAreKnown(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	events := []Event{PassportLinkCreated{LinkID: "lnk_other", AgentID: "dora", ExpiresAt: now}}
	for i := range rememberedLinks + 5 {
		events = append(events, PassportLinkCreated{LinkID: LinkID("lnk_" + strconv.Itoa(i)), AgentID: "ollie", ExpiresAt: now})
	}
	a := linkedTo(now, events)
	links := a.LinksOf("ollie")
	if len(links) != rememberedLinks+1 || links[len(links)-1].ID != "lnk_24" || links[0].ID != "lnk_4" {
		t.Errorf("got %d links, the oldest %s, want the newest %d", len(links), links[0].ID, rememberedLinks+1)
	}
	if len(a.LinksOf("dora")) != 1 {
		t.Error("another agent's link was forgotten")
	}
}

// linkedTo is an account with events folded in, each recorded at one moment.
func linkedTo(at time.Time, events []Event) Account {
	var a Account
	for i, e := range events {
		a = a.Evolve(Recorded{Record: Record{At: at, Event: e}, Position: Position{Seq: uint64(i + 1)}})
	}
	return a
}
