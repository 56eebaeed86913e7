package domain

import (
	"slices"
	"testing"
	"time"
)

const (
	hook  EndpointID = "whe_01KASF3E5M2B4D6F8H0J2K4N6P"
	other EndpointID = "whe_01KASF3E5M2B4D6F8H0J2K4N6R"
	again ReplayID   = "whr_01KASF9Q7R3C5E7G9J1M3P5R7T"
)

var hookRules = EndpointRules{Types: []string{"approval.approved", "approval.denied", VerificationAllowed, "verification.denied"}, Most: 2}

// hookSettings are the least that is taken, as they are stored.
func hookSettings(change ...func(*EndpointSettings)) EndpointSettings {
	s := EndpointSettings{
		URL: "https://example.com/hook", Ordering: OrderParallel, Format: FormatStandard, Signatures: []Signature{SignHMAC, SignEd25519},
	}
	for _, c := range change {
		c(&s)
	}
	return s
}

func hookAt(url string) func(*EndpointSettings) { return func(s *EndpointSettings) { s.URL = url } }

func TestWebhooks(t *testing.T) {
	t.Parallel()
	opened := AccountOpened{Name: "Home", Currency: "USD", Owner: "mem_owner", Token: HashToken("bhf_dev_owner")}
	created := WebhookCreated{hook, hookSettings()}
	verified := WebhookVerified{hook, "https://example.com/hook"}
	paused := WebhookPaused{EndpointID: hook}
	disabled := WebhookDisabled{EndpointID: hook, Code: DisabledAsGone}
	moved := hookSettings(hookAt("https://example.org/hook"))
	asked := WebhookReplayRequested{EndpointID: hook, ReplayID: again, ReplaySelection: ReplaySelection{DeadLetters: true}, RatePerSecond: 10}
	hour, none, long := Duration(time.Hour), Duration(0), Duration(8*24*time.Hour)
	there := []Event{opened, created}
	ready := []Event{opened, created, verified}
	with := func(given []Event, more ...Event) []Event { return append(slices.Clone(given), more...) }

	create := func(id EndpointID, s EndpointSettings) func(Account) ([]Event, error) {
		return func(a Account) ([]Event, error) { return a.CreateEndpoint(CreateEndpoint{id, s, hookRules}) }
	}
	change := func(version uint64, s EndpointSettings) func(Account) ([]Event, error) {
		return func(a Account) ([]Event, error) {
			return a.ChangeEndpoint(ChangeEndpoint{hook, s, version, hookRules})
		}
	}
	verify := func(url string) func(Account) ([]Event, error) {
		return func(a Account) ([]Event, error) { return a.VerifyEndpoint(VerifyEndpoint{hook, url}) }
	}
	pause := func(a Account) ([]Event, error) { return a.PauseEndpoint(PauseEndpoint{hook, "tonight"}) }
	resume := func(from ResumeFrom) func(Account) ([]Event, error) {
		return func(a Account) ([]Event, error) { return a.ResumeEndpoint(ResumeEndpoint{hook, from}) }
	}
	enable := func(from ResumeFrom) func(Account) ([]Event, error) {
		return func(a Account) ([]Event, error) { return a.EnableEndpoint(ResumeEndpoint{hook, from}) }
	}
	disable := func(cmd DisableEndpoint) func(Account) ([]Event, error) {
		cmd.EndpointID = hook
		return func(a Account) ([]Event, error) { return a.DisableEndpoint(cmd) }
	}
	rotate := func(overlap *Duration) func(Account) ([]Event, error) {
		return func(a Account) ([]Event, error) { return a.RotateSecret(RotateSecret{hook, overlap, noon}) }
	}
	test := func(a Account) ([]Event, error) { return a.TestEndpoint(hook) }
	remove := func(a Account) ([]Event, error) { return a.DeleteEndpoint(hook) }
	replay := func(s ReplaySelection, rate int) func(Account) ([]Event, error) {
		return func(a Account) ([]Event, error) {
			return a.RequestReplay(RequestReplay{hook, again, s, rate, noon})
		}
	}
	ended := EndReplay{EndpointID: hook, ReplayID: again, Delivered: 3, Failed: 1}
	cancel := func(a Account) ([]Event, error) { return a.CancelReplay(ended) }
	finish := func(a Account) ([]Event, error) { return a.FinishReplay(ended) }
	cancelled, finished := WebhookReplayCancelled{hook, again}, WebhookReplayFinished(ended)
	rotated := func(version int) WebhookSecretRotated {
		return WebhookSecretRotated{hook, version, noon.Add(time.Hour)}
	}
	var running []Event
	for i := range mostRunning {
		r := asked
		r.ReplayID += ReplayID(rune('A' + i))
		running = append(running, r)
	}

	for _, tt := range []struct {
		name  string
		given []Event
		when  func(Account) ([]Event, error)
		then  []Event
		code  Code
		field string
	}{
		{name: "create with defaults", given: []Event{opened}, when: create(hook, EndpointSettings{URL: "https://example.com/hook"}), then: []Event{created}},
		{name: "create the same", given: there, when: create(hook, hookSettings()), code: Conflict},
		{name: "create a second", given: there, when: create(other, hookSettings()), then: []Event{WebhookCreated{other, hookSettings()}}},
		{name: "create one more than there may be", given: with(there, WebhookCreated{other, hookSettings()}), when: create("whe_3", hookSettings()), code: Conflict},
		{name: "create after one was deleted", given: with(there, WebhookCreated{other, hookSettings()}, WebhookDeleted{other}), when: create("whe_3", hookSettings()), then: []Event{WebhookCreated{"whe_3", hookSettings()}}},

		{name: "change", given: there, when: change(0, moved), then: []Event{WebhookChanged{hook, moved}}},
		{name: "change what is as it is", given: there, when: change(2, EndpointSettings{URL: "https://example.com/hook"})},
		{name: "change what was looked at", given: ready, when: change(2, moved), then: []Event{WebhookChanged{hook, moved}}},
		{name: "change what has changed since", given: with(there, WebhookChanged{hook, moved}), when: change(2, hookSettings()), code: Stale},
		{name: "change by a version to come", given: there, when: change(9, moved), code: Stale},
		{name: "change to what is not taken", given: there, when: change(0, EndpointSettings{}), code: Invalid, field: "/url"},
		{name: "change what isn't there", given: []Event{opened}, when: change(0, moved), code: NotFound},

		{name: "delete", given: there, when: remove, then: []Event{WebhookDeleted{hook}}},
		{name: "delete again", given: with(there, WebhookDeleted{hook}), when: remove, code: NotFound},

		{name: "verify", given: there, when: verify("https://example.com/hook"), then: []Event{verified}},
		{name: "verify again changes nothing", given: ready, when: verify("https://example.com/hook")},
		{name: "verify another address than there is", given: with(there, WebhookChanged{hook, moved}), when: verify("https://example.com/hook"), code: Conflict},
		{name: "verify a new address", given: with(ready, WebhookChanged{hook, moved}), when: verify("https://example.org/hook"), then: []Event{WebhookVerified{hook, "https://example.org/hook"}}},
		{name: "verify what isn't there", given: []Event{opened}, when: verify("https://example.com/hook"), code: NotFound},

		{name: "pause", given: there, when: pause, then: []Event{WebhookPaused{hook, "tonight"}}},
		{name: "pause again changes nothing", given: with(there, paused), when: pause},
		{name: "pause what is disabled", given: with(there, disabled), when: pause, code: Conflict},
		{name: "pause for a reason that can't be shown", given: there, when: func(a Account) ([]Event, error) { return a.PauseEndpoint(PauseEndpoint{hook, "\u202e"}) }, code: Invalid, field: "/reason"},
		{name: "pause what isn't there", given: []Event{opened}, when: pause, code: NotFound},

		{name: "resume", given: with(there, paused), when: resume(""), then: []Event{WebhookResumed{hook, FromHeld}}},
		{name: "resume from now", given: with(there, paused), when: resume(FromNow), then: []Event{WebhookResumed{hook, FromNow}}},
		{name: "resume from nowhere", given: with(there, paused), when: resume("yesterday"), code: Invalid, field: "/from"},
		{name: "resume what goes on changes nothing", given: there, when: resume(FromNow)},
		{name: "resume what is disabled", given: with(there, paused, disabled), when: resume(""), code: Conflict},
		{name: "resume what isn't there", given: []Event{opened}, when: resume(""), code: NotFound},

		{name: "disable", given: there, when: disable(DisableEndpoint{Code: DisabledByMember, Reason: "noisy"}), then: []Event{WebhookDisabled{hook, DisabledByMember, "noisy"}}},
		{name: "disable what is paused", given: with(there, paused), when: disable(DisableEndpoint{Code: DisabledAsGone}), then: []Event{disabled}},
		{name: "disable again changes nothing", given: with(there, disabled), when: disable(DisableEndpoint{Code: DisabledByMember})},
		{name: "disable for its address", given: there, when: disable(DisableEndpoint{Code: DisabledAsGone, URL: "https://example.com/hook"}), then: []Event{disabled}},
		{name: "disable for an address it had", given: with(there, WebhookChanged{hook, moved}), when: disable(DisableEndpoint{Code: DisabledAsGone, URL: "https://example.com/hook"})},
		{name: "disable what isn't there", given: []Event{opened}, when: disable(DisableEndpoint{Code: DisabledByMember}), code: NotFound},

		{name: "enable", given: with(there, disabled), when: enable(FromHeld), then: []Event{WebhookEnabled{hook, FromHeld}}},
		{name: "enable from now", given: with(there, disabled), when: enable(FromNow), then: []Event{WebhookEnabled{hook, FromNow}}},
		{name: "enable what goes on changes nothing", given: there, when: enable("")},
		{name: "enable what is paused", given: with(there, paused), when: enable(""), code: Conflict},
		{name: "enable from nowhere", given: with(there, disabled), when: enable("x"), code: Invalid, field: "/from"},

		{name: "rotate", given: there, when: rotate(nil), then: []Event{WebhookSecretRotated{hook, 2, noon.Add(24 * time.Hour)}}},
		{name: "rotate within an hour", given: there, when: rotate(&hour), then: []Event{rotated(2)}},
		{name: "rotate at once", given: there, when: rotate(&none), then: []Event{WebhookSecretRotated{EndpointID: hook, Secret: 2}}},
		{name: "rotate for too long", given: there, when: rotate(&long), code: Invalid, field: "/overlap"},
		{name: "rotate a fifth time in an hour", given: with(there, rotated(2), rotated(3), rotated(4)), when: rotate(nil), code: Conflict, field: "/overlap"},
		{name: "rotate a fifth time at once", given: with(there, rotated(2), rotated(3), rotated(4)), when: rotate(&none), then: []Event{WebhookSecretRotated{EndpointID: hook, Secret: 5}}},
		{name: "rotate what isn't there", given: []Event{opened}, when: rotate(nil), code: NotFound},

		{name: "test", given: ready, when: test, then: []Event{WebhookTested{hook}}},
		{name: "test before it is verified", given: there, when: test, code: Conflict},
		{name: "test what is paused", given: with(ready, paused), when: test, code: Conflict},
		{name: "test what isn't there", given: []Event{opened}, when: test, code: NotFound},

		{name: "replay what was given up", given: ready, when: replay(ReplaySelection{DeadLetters: true}, 0), then: []Event{asked}},
		{
			name: "replay a range", given: ready, when: replay(ReplaySelection{Since: noon.Add(-2 * time.Hour), Until: noon.Add(-time.Hour)}, 100),
			then: []Event{WebhookReplayRequested{hook, again, ReplaySelection{Since: noon.Add(-2 * time.Hour), Until: noon.Add(-time.Hour)}, 100}},
		},
		{
			name: "replay one event", given: ready, when: replay(ReplaySelection{EventIDs: []EventID{"evt_01K8M3Z5V1A3C5E7G9J1M3P5R7"}}, 1),
			then: []Event{WebhookReplayRequested{hook, again, ReplaySelection{EventIDs: []EventID{"evt_01K8M3Z5V1A3C5E7G9J1M3P5R7"}}, 1}},
		},
		{name: "replay nothing in particular", given: ready, when: replay(ReplaySelection{}, 0), code: Invalid, field: "/since"},
		{name: "replay up to a time, from none", given: ready, when: replay(ReplaySelection{Until: noon}, 0), code: Invalid, field: "/since"},
		{name: "replay the future", given: ready, when: replay(ReplaySelection{Since: noon.Add(time.Second)}, 0), code: Invalid, field: "/since"},
		{name: "replay into the future", given: ready, when: replay(ReplaySelection{Since: noon.Add(-time.Hour), Until: noon.Add(time.Second)}, 0), code: Invalid, field: "/until"},
		{name: "replay an empty range", given: ready, when: replay(ReplaySelection{Since: noon, Until: noon}, 0), code: Invalid, field: "/until"},
		{name: "replay events and a range", given: ready, when: replay(ReplaySelection{EventIDs: []EventID{"evt_01K8M3Z5V1A3C5E7G9J1M3P5R7"}, Since: noon}, 0), code: Invalid, field: "/eventIds"},
		{name: "replay no events", given: ready, when: replay(ReplaySelection{EventIDs: []EventID{}}, 0), code: Invalid, field: "/eventIds"},
		{name: "replay too many events", given: ready, when: replay(ReplaySelection{EventIDs: make([]EventID, 101)}, 0), code: Invalid, field: "/eventIds"},
		{name: "replay what is no event", given: ready, when: replay(ReplaySelection{EventIDs: []EventID{"evt_1"}}, 0), code: Invalid, field: "/eventIds/0"},
		{
			name: "replay an event twice", given: ready,
			when: replay(ReplaySelection{EventIDs: []EventID{"evt_01K8M3Z5V1A3C5E7G9J1M3P5R7", "evt_01K8M3Z5V1A3C5E7G9J1M3P5R7"}}, 0), code: Invalid, field: "/eventIds/1",
		},
		{name: "replay too fast", given: ready, when: replay(ReplaySelection{DeadLetters: true}, 1001), code: Invalid, field: "/ratePerSecond"},
		{name: "replay to what is not verified", given: there, when: replay(ReplaySelection{DeadLetters: true}, 0), code: Conflict},
		{name: "replay to what is disabled", given: with(ready, disabled), when: replay(ReplaySelection{DeadLetters: true}, 0), code: Conflict},
		{name: "replay one more than may run", given: with(ready, running...), when: replay(ReplaySelection{DeadLetters: true}, 0), code: Conflict},

		{name: "cancel a replay", given: with(ready, asked), when: cancel, then: []Event{cancelled}},
		{name: "cancel a replay again changes nothing", given: with(ready, asked, cancelled), when: cancel},
		{name: "cancel a replay that is over", given: with(ready, asked, finished), when: cancel, code: Conflict},
		{name: "cancel no replay", given: ready, when: cancel, code: NotFound},
		{name: "finish a replay", given: with(ready, asked), when: finish, then: []Event{finished}},
		{name: "finish a replay again changes nothing", given: with(ready, asked, finished), when: finish},
		{name: "finish a replay that was cancelled changes nothing", given: with(ready, asked, cancelled), when: finish},
		{name: "finish the replay of what isn't there", given: []Event{opened}, when: finish, code: NotFound},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := tt.when(givenAccount(tt.given...))
			wantEvents(t, got, err, tt.then, tt.code, tt.field)
		})
	}
}

func TestTheFoldOfAWebhook(t *testing.T) {
	t.Parallel()
	created, verified := WebhookCreated{hook, hookSettings()}, WebhookVerified{hook, "https://example.com/hook"}
	for _, tt := range []struct {
		name  string
		given []Event
		holds func(*Endpoint) bool
	}{
		{"a new one is sent nothing", []Event{created}, func(e *Endpoint) bool {
			return !e.Sends() && e.Status == EndpointActive && e.Secret == 1 && e.Version == 1
		}},
		{"its events begin where it was created", []Event{created, verified}, func(e *Endpoint) bool { return e.From.Seq == 1 }},
		{"one that is verified is sent events", []Event{created, verified}, (*Endpoint).Sends},
		{"an address it had is not verified for another", []Event{created, WebhookChanged{hook, hookSettings(hookAt("https://example.org/"))}, verified}, func(e *Endpoint) bool { return !e.Verified }},
		{"a new address takes the verification away", []Event{created, verified, WebhookChanged{hook, hookSettings(hookAt("https://example.org/"))}}, func(e *Endpoint) bool { return !e.Sends() && e.Version == 3 }},
		{"and the old one doesn't bring it back", []Event{created, verified, WebhookChanged{hook, hookSettings(hookAt("https://example.org/"))}, WebhookChanged{hook, hookSettings()}}, func(e *Endpoint) bool { return !e.Sends() }},
		{"other settings leave the verification", []Event{created, verified, WebhookChanged{hook, hookSettings(func(s *EndpointSettings) { s.Ordering = OrderStrict })}}, func(e *Endpoint) bool { return e.Sends() && e.Ordering == OrderStrict }},
		{"a paused one is sent nothing", []Event{created, verified, WebhookPaused{hook, "x"}}, func(e *Endpoint) bool { return !e.Sends() && e.Reason == "x" }},
		{"a disabled one is sent nothing", []Event{created, verified, WebhookDisabled{hook, DisabledAsFailing, "x"}}, func(e *Endpoint) bool { return !e.Sends() && e.Code == DisabledAsFailing && e.Reason == "x" }},
		{"a resumed one goes on with what was held", []Event{created, verified, WebhookPaused{hook, "x"}, WebhookResumed{hook, FromHeld}}, func(e *Endpoint) bool { return e.Sends() && e.From.Seq == 1 && e.Reason == "" }},
		{"or with what comes", []Event{created, verified, WebhookPaused{hook, "x"}, WebhookResumed{hook, FromNow}}, func(e *Endpoint) bool { return e.Sends() && e.From.Seq == 4 }},
		{"an enabled one goes on with what comes", []Event{created, verified, WebhookDisabled{hook, DisabledAsGone, "x"}, WebhookEnabled{hook, FromNow}}, func(e *Endpoint) bool { return e.Sends() && e.From.Seq == 4 && e.Code == "" && e.Reason == "" }},
		{"two secrets while they overlap", []Event{created, WebhookSecretRotated{hook, 2, noon}}, func(e *Endpoint) bool {
			return slices.Equal(e.Secrets(noon.Add(-1)), []int{2, 1}) && slices.Equal(e.Secrets(noon), []int{2})
		}},
		{"three secrets, each until its end", []Event{created, WebhookSecretRotated{hook, 2, noon}, WebhookSecretRotated{hook, 3, noon.Add(time.Hour)}}, func(e *Endpoint) bool {
			return slices.Equal(e.Secrets(noon.Add(-1)), []int{3, 2, 1}) && slices.Equal(e.Secrets(noon), []int{3, 2})
		}},
		{"a rotation at once ends all before", []Event{created, WebhookSecretRotated{hook, 2, noon}, WebhookSecretRotated{EndpointID: hook, Secret: 3}}, func(e *Endpoint) bool {
			return slices.Equal(e.Secrets(noon.Add(-1)), []int{3})
		}},
		{"a secret that is over is forgotten", []Event{created, WebhookSecretRotated{hook, 2, noon.Add(-2 * time.Hour)}, WebhookSecretRotated{hook, 3, noon}}, func(e *Endpoint) bool {
			return len(e.Older) == 1 && e.Older[0].Version == 2
		}},
		{"a test changes nothing", []Event{created, WebhookTested{hook}}, func(e *Endpoint) bool { return e.Version == 1 }},
		{"an event of another is another's", []Event{created, WebhookPaused{other, "x"}, WebhookDeleted{other}}, func(e *Endpoint) bool { return e.Status == EndpointActive }},
		{"a replay that runs", []Event{created, WebhookReplayRequested{hook, again, ReplaySelection{DeadLetters: true}, 7}}, func(e *Endpoint) bool {
			r, ok := e.Replay(again)
			return ok && r.State == ReplayIsRunning && r.RatePerSecond == 7 && r.DeadLetters && r.Through.Seq == 2 && r.EndedAt.IsZero()
		}},
		{"a replay that is over", []Event{created, WebhookReplayRequested{hook, again, ReplaySelection{DeadLetters: true}, 7}, WebhookReplayFinished{hook, again, 3, 1, "http_410"}}, func(e *Endpoint) bool {
			r, _ := e.Replay(again)
			return r.State == ReplayIsFinished && r.Delivered == 3 && r.Failed == 1 && r.Reason == "http_410" && !r.EndedAt.IsZero()
		}},
		{"a replay that was cancelled", []Event{created, WebhookReplayRequested{hook, again, ReplaySelection{DeadLetters: true}, 7}, WebhookReplayCancelled{hook, again}}, func(e *Endpoint) bool {
			r, _ := e.Replay(again)
			return r.State == ReplayIsCancelled
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e, ok := givenAccount(tt.given...).Endpoint(hook)
			if !ok || !tt.holds(e) {
				t.Errorf("got %+v", e)
			}
		})
	}
}

func TestAnAccountThatWasHandedOutKeepsItsWebhooks(t *testing.T) {
	t.Parallel()
	events := []Event{
		WebhookCreated{hook, hookSettings()},
		WebhookSecretRotated{hook, 2, noon},
		WebhookSecretRotated{hook, 3, noon},
		WebhookReplayRequested{hook, again, ReplaySelection{DeadLetters: true}, 7},
		WebhookReplayCancelled{hook, again},
		WebhookDeleted{hook},
	}
	var handed []Account
	var a Account
	for _, r := range history(Stream{Account: "acct_home"}, events...) {
		a = a.Evolve(r)
		handed = append(handed, a)
	}
	if r, _ := handed[3].Endpoints[0].Replay(again); r.State != ReplayIsRunning {
		t.Errorf("got the replay %s, want it running in what was handed out before it was cancelled", r.State)
	}
	if len(handed[1].Endpoints[0].Older) != 1 || len(handed[4].Endpoints) != 1 || len(a.Endpoints) != 0 {
		t.Errorf("got an account that changed after it was handed out: %+v", handed)
	}
}

func TestOnlyTheNewestReplaysAreRemembered(t *testing.T) {
	t.Parallel()
	events := []Event{WebhookCreated{hook, hookSettings()}, WebhookReplayRequested{hook, again, ReplaySelection{DeadLetters: true}, 7}}
	for i := range 2 * rememberedReplays {
		id := again + ReplayID(rune('A'+i))
		events = append(events, WebhookReplayRequested{hook, id, ReplaySelection{DeadLetters: true}, 7}, WebhookReplayFinished{hook, id, 1, 0, ""})
	}
	e, _ := givenAccount(events...).Endpoint(hook)
	if r, ok := e.Replay(again); !ok || r.State != ReplayIsRunning || len(e.Replays) != rememberedReplays {
		t.Errorf("got %d replays, the one that runs among them: %t; want %d", len(e.Replays), ok, rememberedReplays)
	}
}

func TestWhatAWebhookWants(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		types  []string
		agents []AgentID
		kind   string
		agent  AgentID
		want   bool
	}{
		{kind: "verification.denied", agent: "a", want: true},
		{kind: "member.added", want: true},
		{kind: VerificationAllowed, agent: "a"},
		{types: []string{"*"}, kind: VerificationAllowed, agent: "a", want: true},
		{types: []string{"verification.*"}, kind: VerificationAllowed, agent: "a", want: true},
		{types: []string{"verification.denied"}, kind: VerificationAllowed, agent: "a"},
		{types: []string{"approval.*", "verification.denied"}, kind: "verification.denied", agent: "a", want: true},
		{types: []string{"approval.*"}, kind: "approvals.x", agent: "a"},
		{agents: []AgentID{"a"}, kind: "verification.denied", agent: "a", want: true},
		{agents: []AgentID{"a"}, kind: "verification.denied", agent: "b"},
		{agents: []AgentID{"a"}, kind: "member.added"},
		{types: []string{"*"}, agents: []AgentID{"a", "b"}, kind: VerificationAllowed, agent: "b", want: true},
	} {
		e := Endpoint{EndpointSettings: EndpointSettings{Types: tt.types, Agents: tt.agents}}
		if got := e.Wants(tt.kind, tt.agent); got != tt.want {
			t.Errorf("%v %v: got %t for %s of %q, want %t", tt.types, tt.agents, got, tt.kind, tt.agent, tt.want)
		}
	}
}

func TestEndpointsAreInTheOrderTheyWereMade(t *testing.T) {
	t.Parallel()
	var events []Event
	for _, id := range []EndpointID{"whe_2", "whe_1", "whe_4", "whe_3"} { // two nodes, whose clocks differ
		events = append(events, WebhookCreated{id, hookSettings()})
	}
	a := givenAccount(append(events, WebhookDeleted{"whe_3"}, WebhookDeleted{"whe_3"}, WebhookPaused{"whe_2", "x"})...)
	var got []EndpointID
	for _, e := range a.Endpoints {
		got = append(got, e.ID)
	}
	if e, ok := a.Endpoint("whe_2"); !ok || e.Status != EndpointPaused || !slices.Equal(got, []EndpointID{"whe_1", "whe_2", "whe_4"}) {
		t.Errorf("got %q, and %+v", got, e)
	}
}
