package logtest

import (
	"context"
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/behalf-platform/behalf/domain"
)

// Maker makes the logs that the suite is run on. Only Open is required; cases
// that need another one are skipped without it.
type Maker struct {
	// Open makes an empty log, which ends with the test.
	Open func(t *testing.T) Log
	// Join opens the log that l is a client of for another node.
	Join func(t *testing.T, l Log) Log
	// Restart ends l and opens what it has stored.
	Restart func(t *testing.T, l Log) Log
	// Inject puts bytes on a stream as its newest event.
	Inject func(t *testing.T, l Log, s domain.Stream, raw []byte)
}

// Run runs the cases that need nothing but an empty log.
func Run(t *testing.T, open func(t *testing.T) Log) {
	t.Helper()
	Maker{Open: open}.Run(t)
}

// Run runs every case, each on a log of its own. Cases that can tell what
// became of a write whose outcome is unknown run three times: with the first
// attempt at each write answered, lost before the write, and lost after it.
func (m Maker) Run(t *testing.T) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if !c.unsure {
				m.run(t, c, answered)
				return
			}
			for _, f := range []fate{answered, notWritten, written} {
				t.Run(string(f), func(t *testing.T) {
					t.Parallel()
					m.run(t, c, f)
				})
			}
		})
	}
}

func (m Maker) run(t *testing.T, c testCase, f fate) {
	if c.joins && m.Join == nil || c.restarts && m.Restart == nil || c.injects && m.Inject == nil {
		t.Skip("this log can't be made to do that")
	}
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	c.run(ctx, t, &bench{maker: m, fate: f})
}

// testCase is one promise. The other fields say what it needs.
type testCase struct {
	name                     string
	run                      func(context.Context, *testing.T, *bench)
	unsure                   bool
	joins, restarts, injects bool
}

var cases = []testCase{
	{name: "what is appended is loaded", run: appendAndLoad, unsure: true},
	{name: "the first event expects none before it", run: firstExpectsNone},
	{name: "an append to a stream that has moved writes nothing", run: movedWritesNothing},
	{name: "the guard is one literal stream", run: guardIsLiteral, unsure: true},
	{name: "what is no id is refused", run: badIDsAreRefused},
	{name: "a decision is guarded by its stream and doesn't move it", run: decisionsDoNotMove},
	{name: "one append wins each version", run: oneWins},
	{name: "decisions of one agent all land", run: decisionsAllLand, unsure: true},
	{name: "an append that was given up is found out", run: givenUp},
	{name: "a name is stored once", run: nameStoredOnce, unsure: true},
	{name: "a name is one for all streams of an account", run: nameAcrossStreams},
	{name: "no name is no duplicate", run: noName},
	{name: "a name is known when the stream has moved", run: nameAfterMove},
	{name: "a decision that changes something moves its stream", run: someDecisionsMove, unsure: true},
	{name: "the budget of an account is a stream of its own", run: budgetsAreApart},
	{name: "records are appended all or none", run: allOrNone},
	{name: "records that don't belong together are refused", run: allMustBelongTogether},
	{name: "a name is one for records that are appended together", run: namedTogether},
	{name: "a name of several records is stored once", run: nameTogetherOnce, unsure: true},
	{name: "one append of several records wins each version", run: oneOfAllWins},
	{name: "records land together among single ones", run: batchesAgainstSingles, unsure: true},
	{name: "many callers append records together", run: manyTogether},
	{name: "an append of several records that was given up is found out", run: allGivenUp},
	{name: "what was read settles", run: settles, unsure: true},
	{name: "a record is read at its position", run: readAtPosition, unsure: true},
	{name: "no record is read where there is none", run: readNothing},
	{name: "a follower sees each stream in order and goes on", run: followInOrder, unsure: true},
	{name: "a follower begins after a sequence", run: followAfter, unsure: true},
	{name: "a follower ends with the error of apply", run: followEndsWithError},
	{name: "a follower ends with its context", run: followEndsWithContext},
	{name: "an empty log is followed", run: followEmpty},
	{name: "followed means handed over", run: followedMeansHandedOver},
	{name: "followed is never early", run: followedIsNeverEarly},
	{name: "a scan sees every record", run: scanEverything, unsure: true},
	{name: "a scan keeps its bounds", run: scanBounds},
	{name: "a scan of an account sees its decisions", run: scanAccount},
	{name: "a scan sees only what it is for", run: scanOnly},
	{name: "a live scan goes on", run: scanLive},
	{name: "a scan ends with the error of yield", run: scanEndsWithError},
	{name: "a sequence is found by time", run: sequenceByTime},
	{name: "what is no partition is refused", run: badPartitionsAreRefused},
	{name: "the first account lies in the first partition", run: firstAccount},
	{name: "what can't be read is named", run: unreadableIsNamed, injects: true},
	{name: "a log is the same after a restart", run: sameAfterRestart, unsure: true, restarts: true},
	{name: "a name is known after a restart", run: nameAfterRestart, restarts: true},
	{name: "a decision is consumed once, beside its agent's events", run: consumedOnce, restarts: true, joins: true},
	{name: "records that were appended together are after a restart", run: togetherAfterRestart, restarts: true},
	{name: "decisions go when their time is over, and nothing else", run: decisionsGo},
	{name: "what has gone is gone after a restart", run: goneStaysGone, restarts: true},
	{name: "a name outlives its decision", run: nameOutlives},
	{name: "two nodes append records together", run: twoNodesSpend, unsure: true, joins: true},
	{name: "two nodes write one chain", run: twoNodes, unsure: true, joins: true},
	{name: "two nodes find the same log", run: sameForBoth, joins: true},
}

// bench is where one case works: it opens logs and makes records.
type bench struct {
	maker Maker
	fate  fate
	made  atomic.Int64
}

func (b *bench) open(t *testing.T) Log           { return b.lose(b.maker.Open(t)) }
func (b *bench) join(t *testing.T, l Log) Log    { return b.lose(b.maker.Join(t, sure(l))) }
func (b *bench) restart(t *testing.T, l Log) Log { return b.lose(b.maker.Restart(t, sure(l))) }

// Two agents of one account, the account itself, and what its agents spend.
var (
	agent   = domain.Stream{Account: "acct_a", Agent: "agent_a"}
	other   = domain.Stream{Account: "acct_a", Agent: "agent_b"}
	account = domain.Stream{Account: "acct_a"}
	budget  = domain.Stream{Account: "acct_a", Budget: true}
)

// partitionOf is where a stream lies.
func partitionOf(l Log, s domain.Stream) uint16 {
	return domain.PartitionOf(s.Account, l.Partitions())
}

// neighbour is an agent of another account in the same partition.
func neighbour(l Log) domain.Stream {
	for i := 0; ; i++ {
		s := domain.Stream{Account: domain.AccountID("acct_" + strconv.Itoa(i)), Agent: agent.Agent}
		if partitionOf(l, s) == partitionOf(l, agent) {
			return s
		}
	}
}

// event is a new event of a stream.
func (b *bench) event(s domain.Stream) domain.Record {
	r := b.record(s)
	switch {
	case s.Budget:
		r.Agent = agent.Agent // which spent
		r.Event = domain.BudgetCharged{RequestID: domain.RequestID("req_" + string(r.ID)), Amount: "1.00", Currency: "USD"}
	case s.Agent == "":
		r.Event = domain.AccountSettingsChanged{Name: "name of " + string(r.ID), Currency: "USD", DecisionRetention: domain.LeastRetention}
	default:
		r.Event = domain.AgentDisabled{Reason: "because of <" + string(r.ID) + ">"}
	}
	return r
}

// spending is a new decision of an agent that changes what it may do next.
func (b *bench) spending(s domain.Stream) domain.Record {
	r := b.decision(s)
	d := r.Event.(domain.DecisionMade)
	d.Outcome, d.ReasonCode, d.Reason, d.Spends = domain.OutcomeAllowed, "ALLOWED", "it is allowed", true
	r.Event = d
	return r
}

// decision is a new decision of an agent that changes nothing.
func (b *bench) decision(s domain.Stream) domain.Record {
	r := b.record(s)
	r.Event = domain.DecisionMade{
		RequestID: domain.RequestID("req_" + string(r.ID)),
		Request:   domain.Request{Action: "purchase", Resource: "books"},
		Outcome:   domain.OutcomeDenied, ReasonCode: "NO_PERMISSION", Reason: "nothing allows it", Risk: domain.RiskLow,
		Checks: []domain.Check{{Rule: domain.RuleAction, Detail: "no"}},
	}
	return r
}

// consumption is a new consumption of an agent's decision. It changes nothing.
func (b *bench) consumption(s domain.Stream) domain.Record {
	r := b.record(s)
	r.Event = domain.DecisionConsumed{RequestID: domain.RequestID(r.Cause)}
	return r
}

func (b *bench) record(s domain.Stream) domain.Record {
	n := b.made.Add(1)
	return domain.Record{
		ID:      domain.EventID(domain.EventPrefix + strconv.FormatInt(n, 10)),
		At:      time.Date(2026, 1, 2, 3, 4, 5, int(n)*1000, time.UTC),
		Actor:   domain.BySystem("logtest"),
		Account: s.Account, Agent: s.Agent,
		Cause: fmt.Sprintf("req_%d", n),
	}
}
