// franz-go: franz BOOTSTRAP [CASE...]
package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"millrace.test/clients/suite"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

const wait = 40

// An hour ago: retention spares it.
var base = time.Now().Add(-time.Hour).Truncate(time.Second).UnixMilli()

var all = context.Background()

func client(t *suite.Run, options ...kgo.Opt) *kgo.Client {
	first := []kgo.Opt{kgo.SeedBrokers(t.Bootstrap), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.FetchMaxWait(200 * time.Millisecond)}
	return suite.Get(kgo.NewClient(append(first, options...)...))
}

func admin(t *suite.Run) *kadm.Client {
	return kadm.NewClient(client(t))
}

func create(t *suite.Run, topic string, partitions int32, config ...string) *kadm.Client {
	configs := map[string]*string{}
	for i := 0; i < len(config); i += 2 {
		configs[config[i]] = &config[i+1]
	}
	a := admin(t)
	suite.Get(a.CreateTopic(all, partitions, 1, configs, topic))
	return a
}

func record(topic string, partition int32, value string) *kgo.Record {
	return &kgo.Record{Topic: topic, Partition: partition, Value: []byte(value)}
}

func records(topic string, partitions int, values []string) []*kgo.Record {
	some := []*kgo.Record{}
	for i, v := range values {
		some = append(some, record(topic, int32(i%partitions), v))
	}
	return some
}

func produce(t *suite.Run, some []*kgo.Record, options ...kgo.Opt) []*kgo.Record {
	c := client(t, options...)
	defer c.Close()
	acked := c.ProduceSync(all, some...)
	suite.OK(acked.FirstErr())
	return some // with their offsets
}

func poll(c *kgo.Client, millis int) []*kgo.Record {
	within, cancel := context.WithTimeout(all, time.Duration(millis)*time.Millisecond)
	defer cancel()
	fetches := c.PollFetches(within)
	for _, e := range fetches.Errors() {
		if !errors.Is(e.Err, context.DeadlineExceeded) && !errors.Is(e.Err, context.Canceled) {
			suite.Check(false, "fetching: %v", e)
		}
	}
	return fetches.Records()
}

func take(c *kgo.Client, count int) []*kgo.Record {
	some := []*kgo.Record{}
	suite.Until(fmt.Sprintf("%d records", count), wait, func() bool {
		some = append(some, poll(c, 200)...)
		return len(some) >= count
	})
	return some
}

func readAll(t *suite.Run, topic string, partitions int32, count int, options ...kgo.Opt) []*kgo.Record {
	at := map[int32]kgo.Offset{}
	for p := range partitions {
		at[p] = kgo.NewOffset().AtStart()
	}
	c := client(t, append(options, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: at}))...)
	defer c.Close()
	some := []*kgo.Record{}
	if count > 0 {
		some = take(c, count)
	}
	some = append(some, poll(c, 500)...)
	suite.Expect("records", len(some), count)
	return some
}

func values(some []*kgo.Record) []string {
	found := []string{}
	for _, r := range some {
		found = append(found, string(r.Value))
	}
	return found
}

func sorted(some []string) []string {
	slices.Sort(some)
	return some
}

func refused(what string, err error, wanted ...error) {
	for _, w := range wanted {
		if errors.Is(err, w) {
			return
		}
	}
	suite.Check(false, "%s: refused otherwise: %v", what, err)
}

// ---- produce and consume

func orderAndCounts(t *suite.Run) {
	create(t, t.Topic, 4)
	produce(t, records(t.Topic, 4, suite.Numbers(0, 8000)))
	found := readAll(t, t.Topic, 4, 8000)
	next := map[int32]int64{}
	for _, r := range found {
		suite.Expect("offset", r.Offset, next[r.Partition])
		suite.Expect("value", string(r.Value), fmt.Sprint(next[r.Partition]*4+int64(r.Partition)))
		next[r.Partition]++
	}
}

func codecs(t *suite.Run) {
	create(t, t.Topic, 1)
	wanted := []string{}
	for name, codec := range map[string]kgo.CompressionCodec{"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression()} {
		some := []string{}
		for i := range 500 {
			some = append(some, strings.Repeat(fmt.Sprintf("%s %d ", name, i), 20))
		}
		produce(t, records(t.Topic, 1, some), kgo.ProducerBatchCompression(codec))
		wanted = append(wanted, some...)
	}
	suite.Expect("values", values(readAll(t, t.Topic, 1, len(wanted))), wanted)
}

func headersAndTimestamps(t *suite.Run) {
	a := create(t, t.Topic, 1)
	some := []*kgo.Record{}
	for i := range 10 {
		r := record(t.Topic, 0, fmt.Sprint(i))
		r.Timestamp = time.UnixMilli(base + int64(i)*1000)
		r.Headers = []kgo.RecordHeader{{Key: "a", Value: []byte("1")}, {Key: "a", Value: []byte("2")}, {Key: "empty", Value: []byte{}}, {Key: "null"}}
		some = append(some, r)
	}
	produce(t, some)
	for i, r := range readAll(t, t.Topic, 1, 10) {
		suite.Expect("timestamp", r.Timestamp.UnixMilli(), base+int64(i)*1000)
		suite.Expect("headers", fmt.Sprintf("%q", r.Headers), `[{"a" "1"} {"a" "2"} {"empty" ""} {"null" ""}]`)
	}
	found := suite.Get(a.ListOffsetsAfterMilli(all, base+4500, t.Topic))
	at, _ := found.Lookup(t.Topic, 0)
	suite.Expect("offset for a time between", at.Offset, int64(5))
	found = suite.Get(a.ListMaxTimestampOffsets(all, t.Topic))
	at, _ = found.Lookup(t.Topic, 0)
	suite.Expect("offset of the greatest timestamp", at.Offset, int64(9))
}

func nullAndEmpty(t *suite.Run) {
	create(t, t.Topic, 1)
	pairs := [][2][]byte{{nil, nil}, {{}, nil}, {nil, {}}, {{}, {}}, {[]byte("k"), nil}, {nil, []byte("v")}}
	some := []*kgo.Record{}
	for _, p := range pairs {
		some = append(some, &kgo.Record{Topic: t.Topic, Key: p[0], Value: p[1]})
	}
	produce(t, some)
	for i, r := range readAll(t, t.Topic, 1, len(pairs)) {
		suite.Expect("key and value", [2][]byte{r.Key, r.Value}, pairs[i])
	}
}

func largeRecords(t *suite.Run) {
	create(t, t.Topic, 1)
	some := []string{strings.Repeat("a", 900_000), strings.Repeat("b", 900_000), strings.Repeat("c", 900_000)}
	produce(t, records(t.Topic, 1, some))
	suite.Check(slices.Equal(values(readAll(t, t.Topic, 1, 3)), some), "the values differ")
	small := t.Topic + "-small"
	create(t, small, 1, "max.message.bytes", "10000")
	c := client(t, kgo.ProducerBatchCompression(kgo.NoCompression()))
	defer c.Close()
	refused("too large for the topic", c.ProduceSync(all, record(small, 0, strings.Repeat("x", 50_000))).FirstErr(), kerr.MessageTooLarge)
	suite.OK(c.ProduceSync(all, record(small, 0, "x")).FirstErr())
}

func everyKindOfAck(t *suite.Run) {
	create(t, t.Topic, 1)
	for _, acks := range []kgo.Acks{kgo.NoAck(), kgo.LeaderAck(), kgo.AllISRAcks()} {
		produce(t, records(t.Topic, 1, suite.Numbers(0, 100)), kgo.RequiredAcks(acks), kgo.DisableIdempotentWrite())
	}
	readAll(t, t.Topic, 1, 300)
}

func idempotentProducer(t *suite.Run) {
	create(t, t.Topic, 3)
	for i, r := range produce(t, records(t.Topic, 3, suite.Numbers(0, 9000))) {
		suite.Expect("offset", r.Offset, int64(i/3))
	}
}

// ---- groups

// member polls in a goroutine of its own until left; it commits what it saw when it is revoked, now and then, and when it leaves.
type member struct {
	c        *kgo.Client
	mutex    sync.Mutex
	seen     []string
	assigned map[string]bool
	failure  any
	leaving  atomic.Bool
	done     chan struct{}
}

func (m *member) change(partitions map[string][]int32, owned bool) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	for topic, numbers := range partitions {
		for _, p := range numbers {
			at := fmt.Sprintf("%s/%d", topic, p)
			if owned {
				m.assigned[at] = true
			} else {
				delete(m.assigned, at)
			}
		}
	}
}

func join(t *suite.Run, options ...kgo.Opt) *member {
	m := &member{assigned: map[string]bool{}, done: make(chan struct{})}
	m.c = client(t, append([]kgo.Opt{
		kgo.ConsumerGroup(t.Group), kgo.ConsumeTopics(t.Topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit(),
		kgo.HeartbeatInterval(300 * time.Millisecond), kgo.SessionTimeout(6 * time.Second), kgo.BlockRebalanceOnPoll(),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, p map[string][]int32) { m.change(p, true) }),
		kgo.OnPartitionsRevoked(func(ctx context.Context, c *kgo.Client, p map[string][]int32) {
			_ = c.CommitUncommittedOffsets(ctx) // where it fails, the next one reads those records once more
			m.change(p, false)
		}),
		kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, p map[string][]int32) { m.change(p, false) }),
	}, options...)...)
	go func() {
		defer close(m.done)
		defer func() { m.failure = recover() }()
		for !m.leaving.Load() {
			found := values(poll(m.c, 100))
			m.mutex.Lock()
			m.seen = append(m.seen, found...)
			m.mutex.Unlock()
			m.c.AllowRebalance()
		}
		m.c.CloseAllowingRebalance()
	}()
	return m
}

func (m *member) left() {
	m.leaving.Store(true)
	<-m.done
	suite.Check(m.failure == nil, "a member failed: %v", m.failure)
}

func shares(members []*member, sizes ...int) bool {
	owned, found := map[string]bool{}, []int{}
	for _, m := range members {
		m.mutex.Lock()
		for at := range m.assigned {
			owned[at] = true
		}
		found = append(found, len(m.assigned))
		m.mutex.Unlock()
	}
	sum := 0
	for _, n := range found {
		sum += n
	}
	slices.Sort(found)
	slices.Sort(sizes)
	return slices.Equal(found, sizes) && len(owned) == sum
}

func allSeen(members []*member) map[string]bool {
	seen := map[string]bool{}
	for _, m := range members {
		m.mutex.Lock()
		for _, v := range m.seen {
			seen[v] = true
		}
		m.mutex.Unlock()
	}
	return seen
}

func committedSum(t *suite.Run, a *kadm.Client) int64 {
	committed, sum := suite.Get(a.FetchOffsets(all, t.Group)), int64(0)
	committed.Each(func(o kadm.OffsetResponse) { sum += o.At })
	return sum
}

func rebalanceWhileProducing(t *suite.Run, options ...kgo.Opt) {
	a := create(t, t.Topic, 6)
	var produced atomic.Int64
	var stop atomic.Bool
	pumped := make(chan error, 1)
	go func() {
		c := client(t)
		defer c.Close()
		for !stop.Load() {
			some := []*kgo.Record{}
			for range 20 {
				n := produced.Add(1) - 1
				some = append(some, record(t.Topic, int32(n%6), fmt.Sprint(n)))
			}
			if err := c.ProduceSync(all, some...).FirstErr(); err != nil {
				pumped <- err
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
		pumped <- nil
	}()
	members := []*member{join(t, options...)}
	suite.Until("the first assignment", wait, func() bool { return shares(members, 6) })
	members = append(members, join(t, options...))
	suite.Until("the assignment of two", wait, func() bool { return shares(members, 3, 3) })
	members[0].left()
	suite.Until("the assignment of the one that stays", wait, func() bool { return shares(members[1:], 6) })
	stop.Store(true)
	suite.OK(<-pumped)
	suite.Until("all records", wait, func() bool { return len(allSeen(members)) == int(produced.Load()) })
	members[1].left()
	suite.Expect("committed", committedSum(t, a), produced.Load())
}

func rebalanceWhileProducingEager(t *suite.Run) {
	rebalanceWhileProducing(t, kgo.Balancers(kgo.RangeBalancer()))
}

func rebalanceWhileProducingCooperative(t *suite.Run) {
	rebalanceWhileProducing(t, kgo.Balancers(kgo.CooperativeStickyBalancer()))
}

func kip848RebalanceWhileProducing(t *suite.Run) {
	rebalanceWhileProducing(t, kgo.ServerSideBalancer())
	found := suite.Get(admin(t).DescribeConsumerGroups(all, t.Group))
	suite.OK(found.Error())
}

func kip848Regex(t *suite.Run) {
	create(t, t.Topic+"-one", 2)
	create(t, t.Topic+"-other", 1)
	m := join(t, kgo.ServerSideBalancer(), kgo.ConsumeRegex(), kgo.ConsumeTopics("^"+t.Topic+"-o.e$"), kgo.MetadataMinAge(500*time.Millisecond),
		kgo.MetadataMaxAge(time.Second))
	suite.Until("the topic that matches", wait, func() bool { return shares([]*member{m}, 2) })
	create(t, t.Topic+"-ole", 1)
	suite.Until("a topic that matches and came later", 90, func() bool { return shares([]*member{m}, 3) })
	m.left()
}

func staticMembers(t *suite.Run) {
	create(t, t.Topic, 4)
	static := func(id string) *member { return join(t, kgo.InstanceID(id), kgo.SessionTimeout(20*time.Second)) }
	one, two := static("one"), static("two")
	suite.Until("the assignment", wait, func() bool { return shares([]*member{one, two}, 2, 2) })
	had := fmt.Sprint(one.assigned)
	one.left()
	again := static("one")
	suite.Until("the assignment of the one that came back", wait, func() bool {
		again.mutex.Lock()
		defer again.mutex.Unlock()
		return fmt.Sprint(again.assigned) == had
	})
	again.left()
	two.left()
}

func commitAndResume(t *suite.Run) {
	a := create(t, t.Topic, 2)
	produce(t, records(t.Topic, 2, suite.Numbers(0, 100)))
	first := join(t)
	suite.Until("the records", wait, func() bool { return len(allSeen([]*member{first})) == 100 })
	first.left()
	produce(t, records(t.Topic, 2, suite.Numbers(100, 120)))
	second := join(t)
	suite.Until("what came since", wait, func() bool { return len(allSeen([]*member{second})) == 20 })
	second.left()
	suite.OK(a.CommitAllOffsets(all, t.Group, kadm.OffsetsFromRecords(kgo.Record{Topic: t.Topic, Partition: 0, Offset: 41})))
	found, _ := suite.Get(a.FetchOffsets(all, t.Group)).Lookup(t.Topic, 0)
	suite.Expect("committed", found.At, int64(42))
}

func pause(t *suite.Run) {
	create(t, t.Topic, 2)
	produce(t, records(t.Topic, 2, suite.Numbers(0, 100)))
	c := client(t, kgo.ConsumerGroup(t.Group), kgo.ConsumeTopics(t.Topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer c.Close()
	take(c, 100)
	c.PauseFetchPartitions(map[string][]int32{t.Topic: {0}})
	produce(t, records(t.Topic, 2, []string{"paused", "goes on"}))
	suite.Expect("while the other is paused", values(take(c, 1)), []string{"goes on"})
	suite.Expect("from a paused partition", len(poll(c, 500)), 0)
	c.ResumeFetchPartitions(map[string][]int32{t.Topic: {0}})
	suite.Expect("after resume", values(take(c, 1)), []string{"paused"})
	c.SetOffsets(map[string]map[int32]kgo.EpochOffset{t.Topic: {0: {Epoch: -1, Offset: 49}}})
	suite.Expect("after the seek", values(take(c, 2)), []string{"98", "paused"})
}

// ---- share groups

func shareGroup(t *suite.Run) {
	a := create(t, t.Topic, 1)
	c := client(t, kgo.ShareGroup(t.Group), kgo.ConsumeTopics(t.Topic))
	defer c.Close()
	suite.Until("the group", wait, func() bool {
		poll(c, 200)
		found, err := a.DescribeShareGroups(all, t.Group)
		return err == nil && found[t.Group].Err == nil && len(found[t.Group].Members) == 1 && len(found[t.Group].Members[0].Assignment) == 1
	})
	seen := map[string]int{}
	suite.Until("all records", wait, func() bool {
		if len(seen) == 0 { // a share group begins at the end, whenever it comes to this partition
			produce(t, records(t.Topic, 1, suite.Numbers(0, 10)))
		}
		for _, r := range poll(c, 500) {
			seen[string(r.Value)]++
			if seen[string(r.Value)] == 1 && string(r.Value) == "3" {
				c.MarkAcks(kgo.AckRelease, r)
			} else {
				c.MarkAcks(kgo.AckAccept, r)
			}
		}
		suite.OK(c.FlushAcks(all))
		return len(seen) == 10 && seen["3"] >= 2
	})
}

// ---- transactions

func transactional(t *suite.Run, options ...kgo.Opt) *kgo.Client {
	return client(t, append(options, kgo.TransactionalID(t.TransactionalID))...)
}

var committedOnly = kgo.FetchIsolationLevel(kgo.ReadCommitted())

func transactionCommitAndAbort(t *suite.Run) {
	create(t, t.Topic, 2)
	c := transactional(t)
	defer c.Close()
	for number := range 4 {
		suite.OK(c.BeginTransaction())
		suite.OK(c.ProduceSync(all, records(t.Topic, 2, suite.Numbers(number*10, number*10+10))...).FirstErr())
		suite.OK(c.EndTransaction(all, kgo.TransactionEndTry(number%2 == 0)))
	}
	wanted := append(suite.Numbers(0, 10), suite.Numbers(20, 30)...)
	suite.Expect("read_committed", sorted(values(readAll(t, t.Topic, 2, 20, committedOnly))), sorted(wanted))
	readAll(t, t.Topic, 2, 40)
}

func openTransactionHoldsReadersBack(t *suite.Run) {
	a := create(t, t.Topic, 1)
	c := transactional(t)
	defer c.Close()
	suite.OK(c.BeginTransaction())
	suite.OK(c.ProduceSync(all, record(t.Topic, 0, "open")).FirstErr())
	produce(t, []*kgo.Record{record(t.Topic, 0, "after")})
	readAll(t, t.Topic, 1, 0, committedOnly)
	readAll(t, t.Topic, 1, 2)
	stable, _ := suite.Get(a.ListCommittedOffsets(all, t.Topic)).Lookup(t.Topic, 0)
	suite.Expect("last stable offset", stable.Offset, int64(0))
	suite.OK(c.EndTransaction(all, kgo.TryCommit))
	suite.Expect("read_committed after", values(readAll(t, t.Topic, 1, 2, committedOnly)), []string{"open", "after"})
}

func secondProducerFencesTheFirst(t *suite.Run) {
	create(t, t.Topic, 1)
	zombie, heir := transactional(t), transactional(t)
	defer zombie.Close()
	defer heir.Close()
	suite.OK(zombie.BeginTransaction())
	suite.OK(zombie.ProduceSync(all, record(t.Topic, 0, "zombie")).FirstErr())
	suite.OK(heir.BeginTransaction())
	suite.OK(heir.ProduceSync(all, record(t.Topic, 0, "heir")).FirstErr())
	err := zombie.ProduceSync(all, record(t.Topic, 0, "zombie again")).FirstErr()
	if err == nil {
		err = zombie.EndTransaction(all, kgo.TryCommit)
	}
	refused("the zombie", err, kerr.InvalidProducerEpoch, kerr.ProducerFenced)
	suite.OK(heir.EndTransaction(all, kgo.TryCommit))
	suite.Expect("read_committed", values(readAll(t, t.Topic, 1, 1, committedOnly)), []string{"heir"})
}

func transactionTimeoutAborts(t *suite.Run) {
	create(t, t.Topic, 1)
	c := transactional(t, kgo.TransactionTimeout(1500*time.Millisecond))
	defer c.Close()
	suite.OK(c.BeginTransaction())
	suite.OK(c.ProduceSync(all, record(t.Topic, 0, "late")).FirstErr())
	produce(t, []*kgo.Record{record(t.Topic, 0, "after")})
	suite.Expect("read_committed", values(readAll(t, t.Topic, 1, 1, committedOnly)), []string{"after"})
	suite.Check(c.EndTransaction(all, kgo.TryCommit) != nil, "the late commit was taken")
}

func consumeTransformProduce(t *suite.Run) {
	out := t.Topic + "-out"
	create(t, t.Topic, 2)
	a := create(t, out, 2)
	produce(t, records(t.Topic, 2, suite.Numbers(0, 200)))
	done := 0
	for attempt := 0; done < 200; attempt++ {
		session := suite.Get(kgo.NewGroupTransactSession(kgo.SeedBrokers(t.Bootstrap), kgo.RecordPartitioner(kgo.ManualPartitioner()),
			kgo.TransactionalID(t.TransactionalID), kgo.ConsumerGroup(t.Group), kgo.ConsumeTopics(t.Topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
			committedOnly, kgo.RequireStableFetchOffsets(), kgo.FetchMaxWait(200*time.Millisecond)))
		for round := 0; done < 200; round++ {
			found := session.PollRecords(all, 20).Records()
			if len(found) == 0 {
				continue
			}
			suite.OK(session.Begin())
			for _, r := range found {
				session.Produce(all, record(out, r.Partition, "done "+string(r.Value)), func(_ *kgo.Record, err error) {
					if err != nil {
						fmt.Println(err)
					}
				})
			}
			if round == 2 && attempt < 3 { // the third round of the first attempts is lost
				suite.Get(session.End(all, kgo.TryAbort))
				break
			}
			if suite.Get(session.End(all, kgo.TryCommit)) {
				done += len(found)
			}
		}
		session.Close()
	}
	wanted := []string{}
	for _, n := range suite.Numbers(0, 200) {
		wanted = append(wanted, "done "+n)
	}
	suite.Expect("output", sorted(values(readAll(t, out, 2, 200, committedOnly))), sorted(wanted))
	suite.Until("the committed offsets", wait, func() bool { return committedSum(t, a) == 200 }) // the broker ends a transaction by and by
}

// ---- admin

func adminTopics(t *suite.Run) {
	a := create(t, t.Topic, 2, "retention.ms", "1000000")
	text := func(s string) *string { return &s }
	option := func(name string) string {
		found := suite.Get(suite.Get(a.DescribeTopicConfigs(all, t.Topic)).On(t.Topic, nil))
		for _, c := range found.Configs {
			if c.Key == name {
				return c.MaybeValue()
			}
		}
		return "(none)"
	}
	_, err := a.CreateTopic(all, 1, 1, nil, t.Topic)
	refused("a second one", err, kerr.TopicAlreadyExists)
	_, err = a.CreateTopic(all, 1, 3, nil, t.Topic+"-bad")
	refused("three replicas", err, kerr.InvalidReplicationFactor)
	suite.Expect("retention.ms", option("retention.ms"), "1000000")
	alter := func(value string) error {
		found, err := suite.Get(a.AlterTopicConfigs(all, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "retention.ms", Value: text(value)}}, t.Topic)).On(t.Topic, nil)
		suite.OK(err)
		return found.Err
	}
	suite.OK(alter("2000000"))
	suite.Until("the new value", wait, func() bool { return option("retention.ms") == "2000000" })
	refused("a bad value", alter("soon"), kerr.InvalidConfig)
	updated := suite.Get(a.UpdatePartitions(all, 3, t.Topic))
	suite.OK(updated.Error())
	produce(t, records(t.Topic, 1, suite.Numbers(0, 100)))
	deleted := suite.Get(a.DeleteRecords(all, kadm.OffsetsFromRecords(kgo.Record{Topic: t.Topic, Offset: 59})))
	suite.OK(deleted.Error())
	starts := suite.Get(a.ListStartOffsets(all, t.Topic))
	start, _ := starts.Lookup(t.Topic, 0)
	suite.Expect("earliest", start.Offset, int64(60))
	suite.Expect("partitions", len(starts[t.Topic]), 3)
	dirs := suite.Get(a.DescribeAllLogDirs(all, nil))
	suite.Check(strings.Contains(fmt.Sprint(dirs), t.Topic), "the topic is in no log dir")
	suite.Get(a.DeleteTopic(all, t.Topic))
	suite.Until("the deletion", wait, func() bool { return !suite.Get(a.ListTopics(all)).Has(t.Topic) })
}

func adminGroups(t *suite.Run) {
	a := create(t, t.Topic, 2)
	produce(t, records(t.Topic, 2, suite.Numbers(0, 100)))
	m := join(t)
	suite.Until("the records", wait, func() bool { return len(allSeen([]*member{m})) == 100 })
	group := suite.Get(a.DescribeGroups(all, t.Group))[t.Group]
	suite.Expect("state", group.State, "Stable")
	suite.Expect("assignment", len(group.AssignedPartitions()[t.Topic]), 2)
	_, listed := suite.Get(a.ListGroups(all))[t.Group]
	suite.Check(listed, "not listed")
	_, err := a.DeleteGroup(all, t.Group)
	refused("delete while it has members", err, kerr.NonEmptyGroup)
	m.left()
	lag := suite.Get(a.Lag(all, t.Group))
	suite.Expect("lag", lag[t.Group].Lag.Total(), int64(0))
	suite.Get(a.DeleteGroup(all, t.Group))
	_, err = a.DeleteGroup(all, t.Group)
	refused("delete it again", err, kerr.GroupIDNotFound)
}

func adminTransactions(t *suite.Run) {
	a := create(t, t.Topic, 1)
	c := transactional(t)
	defer c.Close()
	suite.OK(c.BeginTransaction())
	suite.OK(c.ProduceSync(all, record(t.Topic, 0, "x")).FirstErr())
	described := suite.Get(a.DescribeTransactions(all, t.TransactionalID))[t.TransactionalID]
	suite.Expect("state", described.State, "Ongoing")
	id, _, err := c.ProducerID(all)
	suite.OK(err)
	suite.Expect("producer", described.ProducerID, id)
	_, listed := suite.Get(a.ListTransactions(all, []int64{id}, []string{"Ongoing"}))[t.TransactionalID]
	suite.Check(listed, "not listed")
	suite.OK(c.EndTransaction(all, kgo.TryAbort))
}

func main() {
	suite.Main("franz", []suite.Case{
		{"order_and_counts", orderAndCounts},
		{"codecs", codecs},
		{"headers_and_timestamps", headersAndTimestamps},
		{"null_and_empty", nullAndEmpty},
		{"large_records", largeRecords},
		{"every_kind_of_ack", everyKindOfAck},
		{"idempotent_producer", idempotentProducer},
		{"rebalance_while_producing_eager", rebalanceWhileProducingEager},
		{"rebalance_while_producing_cooperative", rebalanceWhileProducingCooperative},
		{"kip848_rebalance_while_producing", kip848RebalanceWhileProducing},
		{"kip848_regex", kip848Regex},
		{"static_members", staticMembers},
		{"commit_and_resume", commitAndResume},
		{"seek_and_pause", pause},
		{"share_group", shareGroup},
		{"transaction_commit_and_abort", transactionCommitAndAbort},
		{"open_transaction_holds_readers_back", openTransactionHoldsReadersBack},
		{"second_producer_fences_the_first", secondProducerFencesTheFirst},
		{"transaction_timeout_aborts", transactionTimeoutAborts},
		{"consume_transform_produce", consumeTransformProduce},
		{"admin_topics", adminTopics},
		{"admin_groups", adminGroups},
		{"admin_transactions", adminTransactions},
	})
}
