package natslog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/behalf-platform/behalf/domain"
)

// What a stream's metadata says, fixed when it is made.
const (
	metaPartitions   = "behalf-partitions"
	metaEpoch        = "behalf-epoch"
	metaFirstAccount = "behalf-first-account" // of partition 0 only
)

// StreamNames are the names of the streams of a log.
func StreamNames(partitions int) []string {
	if partitions == 1 {
		return []string{"BEHALF"}
	}
	names := make([]string, partitions)
	for i := range names {
		names[i] = "BEHALF_" + strconv.Itoa(i)
	}
	return names
}

// Open opens the log, and makes what isn't there yet. Any number of nodes may
// open it at the same time. A log that is not as it must be is an error that
// says what to do.
func Open(ctx context.Context, c Config) (*Log, error) {
	c.DedupeWindow = cmp.Or(c.DedupeWindow, defaultDedupeWindow)
	if err := c.validate(); err != nil {
		return nil, fmt.Errorf("open the log: %w", err)
	}
	js, err := jetstream.New(c.Conn)
	if err != nil {
		return nil, fmt.Errorf("open the log: %w", err)
	}
	for {
		o := opener{Config: c, js: js}
		l, err := o.tryOpen(ctx)
		// A stream that another node is making is there and not there for a moment.
		busy := errors.Is(err, context.DeadlineExceeded) || errors.Is(err, jetstream.ErrStreamNotFound)
		if busy && !c.ReadOnly && ctx.Err() == nil {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("open the log: %w", err)
		}
		return l, nil
	}
}

// tryOpen opens the log within a time in which a healthy server answers. A
// cluster that is busy with the same stream for another node, or with electing
// a leader, may never answer a request, and answers the next one.
func (o *opener) tryOpen(ctx context.Context) (*Log, error) {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	return o.open(ctx)
}

const openTimeout = 3 * time.Second

// opener opens one log.
type opener struct {
	Config
	js jetstream.JetStream
}

func (o *opener) open(ctx context.Context) (*Log, error) {
	if err := o.settlePartitions(ctx); err != nil {
		return nil, err
	}
	l := &Log{conn: o.Conn, bulk: o.Bulk, readOnly: o.ReadOnly, barrier: o.Barrier, now: o.Now, logger: o.Logger}
	if l.now == nil {
		l.now = time.Now
	}
	if l.logger == nil {
		l.logger = slog.New(slog.DiscardHandler)
	}
	var err error
	if l.readers, err = jetstream.New(o.Bulk); err != nil {
		return nil, err
	}
	replicas := 1
	for number, name := range StreamNames(o.Partitions) {
		stream, err := o.stream(ctx, uint16(number), name)
		if err != nil {
			return nil, fmt.Errorf("stream %s: %w", name, err)
		}
		info := stream.CachedInfo()
		epoch, err := strconv.ParseUint(info.Config.Metadata[metaEpoch], 10, 32)
		if err != nil {
			return nil, fmt.Errorf("stream %s: %s in its metadata: %w", name, metaEpoch, err)
		}
		if number == 0 {
			l.firstAccount = domain.AccountID(info.Config.Metadata[metaFirstAccount])
		}
		replicas = max(replicas, info.Config.Replicas)
		l.partitions = append(l.partitions, &partition{
			subjects: newSubjects(uint16(number)),
			name:     name,
			epoch:    uint32(epoch),
			stream:   stream,
			acked:    fmt.Appendf(nil, `{"stream":%q,"seq":`, name),
			batches:  make(chan struct{}, mostBatches),
		})
	}
	if !domain.ValidID(string(l.firstAccount)) || domain.PartitionOf(l.firstAccount, o.Partitions) != 0 {
		return nil, fmt.Errorf("stream %s: the first account %q in its metadata does not lie in partition 0", l.partitions[0].name, l.firstAccount)
	}
	if replicas > 1 {
		l.queue = newQueue()
	}
	if !o.ReadOnly { // to read a damaged log, and say where, is what it may be opened for
		for _, p := range l.partitions {
			if err := l.whole(ctx, p); err != nil {
				return nil, fmt.Errorf("stream %s: %w", p.name, err)
			}
		}
	}
	if o.Barrier != nil { // the streams may be new
		return l, o.Barrier(ctx)
	}
	return l, nil
}

// settlePartitions finds out how many partitions the log was made with, and
// refuses any other number: accounts would be looked for where they are not.
func (o *opener) settlePartitions(ctx context.Context) error {
	for _, names := range [][]string{StreamNames(1), StreamNames(2)} {
		stream, err := o.js.Stream(ctx, names[0])
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			continue
		}
		if err != nil {
			return fmt.Errorf("stream %s: %w", names[0], err)
		}
		said := stream.CachedInfo().Config.Metadata[metaPartitions]
		made, err := strconv.Atoi(said)
		if err != nil || made < 1 || made > maxPartitions || StreamNames(made)[0] != names[0] {
			return fmt.Errorf("stream %s: %q in its metadata as %s; it was not made by Behalf: remove or rename it", names[0], said, metaPartitions)
		}
		if o.ReadOnly {
			o.Partitions = made
		}
		if made != o.Partitions {
			return fmt.Errorf("the log was made with %d partitions and can't be opened with %d: open it with %d, or make another log", made, o.Partitions, made)
		}
		return nil
	}
	if o.ReadOnly {
		return errors.New("there is none on this server")
	}
	return nil
}

// stream opens the stream of a partition, or makes it.
func (o *opener) stream(ctx context.Context, number uint16, name string) (jetstream.Stream, error) {
	want := o.wanted(number, name)
	stream, err := o.js.Stream(ctx, name)
	if errors.Is(err, jetstream.ErrStreamNotFound) && !o.ReadOnly {
		stream, err = o.js.CreateStream(ctx, want)
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another node was first
			stream, err = o.js.Stream(ctx, name)
		}
	}
	if err != nil {
		return nil, err
	}
	if stream, err = o.letExpire(ctx, stream); err != nil {
		return nil, err
	}
	have := stream.CachedInfo().Config
	if o.ReadOnly { // a log that an older release wrote is one to read
		want.Replicas, want.Duplicates, want.AllowMsgTTL = have.Replicas, have.Duplicates, have.AllowMsgTTL
	}
	if err := differences(have, want); err != nil {
		return nil, err
	}
	if have.Duplicates != want.Duplicates {
		have.Duplicates = want.Duplicates
		return o.js.UpdateStream(ctx, have)
	}
	return stream, nil
}

// letExpire has a stream of before decisions could expire let them. It can't be
// undone, and changes nothing for messages that don't say how long they stay.
func (o *opener) letExpire(ctx context.Context, stream jetstream.Stream) (jetstream.Stream, error) {
	have := stream.CachedInfo().Config
	if o.ReadOnly || have.AllowMsgTTL || have.Metadata[metaPartitions] == "" {
		return stream, nil
	}
	have.AllowMsgTTL = true
	return o.js.UpdateStream(ctx, have)
}

func (o *opener) wanted(number uint16, name string) jetstream.StreamConfig {
	c := jetstream.StreamConfig{
		Name:               name,
		Description:        "Behalf event log",
		Subjects:           []string{newSubjects(number).all},
		Storage:            jetstream.FileStorage,
		Retention:          jetstream.LimitsPolicy,
		Replicas:           o.Replicas,
		Duplicates:         o.DedupeWindow,
		MaxMsgs:            -1,
		MaxBytes:           -1,
		MaxMsgsPerSubject:  -1,
		DenyDelete:         true,
		DenyPurge:          true,
		AllowDirect:        true,
		AllowAtomicPublish: true,
		AllowMsgTTL:        true,
		Metadata: map[string]string{
			metaPartitions: strconv.Itoa(o.Partitions),
			metaEpoch:      strconv.FormatUint(1+uint64(rand.Uint32N(math.MaxUint32)), 10),
		},
	}
	if number == 0 {
		c.Metadata[metaFirstAccount] = string(o.FirstAccount)
	}
	return c
}

// differences says in what way a stream would not keep the log's promises.
func differences(have, want jetstream.StreamConfig) error {
	var found []string
	for _, fault := range []struct {
		is   bool
		what string
	}{
		{have.Metadata[metaPartitions] != want.Metadata[metaPartitions], fmt.Sprintf("was made for %s partitions", have.Metadata[metaPartitions])},
		{!slices.Equal(have.Subjects, want.Subjects), fmt.Sprintf("holds %s, not %s", have.Subjects, want.Subjects)},
		{have.Replicas < want.Replicas, fmt.Sprintf("has %d replicas, fewer than %d", have.Replicas, want.Replicas)},
		{have.Storage != want.Storage, "is not stored in files"},
		{have.Retention != want.Retention, "removes messages that were consumed"},
		{have.MaxMsgs > 0 || have.MaxBytes > 0 || have.MaxAge > 0 || have.MaxMsgsPerSubject > 0, "removes messages by its limits"},
		{want.AllowMsgTTL && !have.AllowMsgTTL, "does not let decisions expire"},
		{have.SubjectDeleteMarkerTTL > 0, "puts markers where messages expired"},
		{!have.DenyDelete, "allows messages to be deleted"},
		{!have.DenyPurge, "allows messages to be purged"},
		{!have.AllowDirect, "does not allow direct gets"},
		{!have.AllowAtomicPublish, "does not allow atomic batches"},
		{have.PersistMode != want.PersistMode, "acknowledges before it writes"},
		{have.NoAck, "does not acknowledge"},
		{have.Compression != want.Compression, "is compressed, which rewrites what was synced"},
		{have.Sealed, "is sealed"},
		{have.Mirror != nil || len(have.Sources) > 0, "takes messages from other streams"},
		{have.SubjectTransform != nil, "changes subjects"},
	} {
		if fault.is {
			found = append(found, fault.what)
		}
	}
	if found == nil {
		return nil
	}
	return fmt.Errorf("it %s; change that back with `nats stream edit`, or ask for what is there", strings.Join(found, ", "))
}
