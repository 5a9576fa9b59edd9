// Sarama: sarama BOOTSTRAP [CASE...]
package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"millrace.test/clients/suite"

	"github.com/IBM/sarama"
)

const wait = 40

// An hour ago: retention spares it.
var base = time.Now().Add(-time.Hour).Truncate(time.Second).UnixMilli()

func config(changes ...func(*sarama.Config)) *sarama.Config {
	c := sarama.NewConfig()
	c.Version = sarama.MaxVersion
	c.Producer.Return.Successes = true
	c.Producer.Partitioner = sarama.NewManualPartitioner
	c.Producer.RequiredAcks = sarama.WaitForAll
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	c.Consumer.MaxWaitTime = 200 * time.Millisecond
	c.Consumer.Group.Heartbeat.Interval = 300 * time.Millisecond
	c.Consumer.Group.Session.Timeout = 6 * time.Second
	c.Metadata.Retry.Backoff = 100 * time.Millisecond
	for _, change := range changes {
		change(c)
	}
	return c
}

func admin(t *suite.Run) sarama.ClusterAdmin {
	return suite.Get(sarama.NewClusterAdmin([]string{t.Bootstrap}, config()))
}

func create(t *suite.Run, topic string, partitions int32, entries ...string) sarama.ClusterAdmin {
	configs := map[string]*string{}
	for i := 0; i < len(entries); i += 2 {
		configs[entries[i]] = &entries[i+1]
	}
	a := admin(t)
	suite.OK(a.CreateTopic(topic, &sarama.TopicDetail{NumPartitions: partitions, ReplicationFactor: 1, ConfigEntries: configs}, false))
	return a
}

func message(topic string, partition int32, value string) *sarama.ProducerMessage {
	return &sarama.ProducerMessage{Topic: topic, Partition: partition, Value: sarama.StringEncoder(value)}
}

func messages(topic string, partitions int, values []string) []*sarama.ProducerMessage {
	some := []*sarama.ProducerMessage{}
	for i, v := range values {
		some = append(some, message(topic, int32(i%partitions), v))
	}
	return some
}

func producer(t *suite.Run, changes ...func(*sarama.Config)) sarama.SyncProducer {
	return suite.Get(sarama.NewSyncProducer([]string{t.Bootstrap}, config(changes...)))
}

func produce(t *suite.Run, some []*sarama.ProducerMessage, changes ...func(*sarama.Config)) []*sarama.ProducerMessage {
	p := producer(t, changes...)
	defer p.Close()
	suite.OK(p.SendMessages(some))
	return some
}

func idempotent(c *sarama.Config) {
	c.Producer.Idempotent = true
	c.Net.MaxOpenRequests = 1
}

func committedOnly(c *sarama.Config) {
	c.Consumer.IsolationLevel = sarama.ReadCommitted
}

// readAll reads `count` records, and for a while to see that there are no more.
func readAll(t *suite.Run, topic string, partitions int32, count int, changes ...func(*sarama.Config)) []*sarama.ConsumerMessage {
	c := suite.Get(sarama.NewConsumer([]string{t.Bootstrap}, config(changes...)))
	defer c.Close()
	found := make(chan *sarama.ConsumerMessage, 10)
	for p := range partitions {
		pc := suite.Get(c.ConsumePartition(topic, p, sarama.OffsetOldest))
		defer pc.AsyncClose()
		go func() {
			for m := range pc.Messages() {
				found <- m
			}
		}()
	}
	some := []*sarama.ConsumerMessage{}
	for {
		patience := 500 * time.Millisecond
		if len(some) < count {
			patience = wait * time.Second
		}
		select {
		case m := <-found:
			some = append(some, m)
		case <-time.After(patience):
			suite.Expect("records", len(some), count)
			return some
		}
	}
}

func values(some []*sarama.ConsumerMessage) []string {
	found := []string{}
	for _, m := range some {
		found = append(found, string(m.Value))
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
	produce(t, messages(t.Topic, 4, suite.Numbers(0, 4000)))
	next := map[int32]int64{}
	for _, m := range readAll(t, t.Topic, 4, 4000) {
		suite.Expect("offset", m.Offset, next[m.Partition])
		suite.Expect("value", string(m.Value), fmt.Sprint(next[m.Partition]*4+int64(m.Partition)))
		next[m.Partition]++
	}
}

func codecs(t *suite.Run) {
	create(t, t.Topic, 1)
	wanted := []string{}
	for _, codec := range []sarama.CompressionCodec{sarama.CompressionNone, sarama.CompressionGZIP, sarama.CompressionSnappy, sarama.CompressionLZ4, sarama.CompressionZSTD} {
		some := []string{}
		for i := range 300 {
			some = append(some, strings.Repeat(fmt.Sprintf("%s %d ", codec, i), 20))
		}
		produce(t, messages(t.Topic, 1, some), func(c *sarama.Config) { c.Producer.Compression = codec })
		wanted = append(wanted, some...)
	}
	suite.Expect("values", values(readAll(t, t.Topic, 1, len(wanted))), wanted)
}

func headersAndTimestamps(t *suite.Run) {
	create(t, t.Topic, 1)
	some := messages(t.Topic, 1, suite.Numbers(0, 10))
	for i, m := range some {
		m.Timestamp = time.UnixMilli(base + int64(i)*1000)
		m.Headers = []sarama.RecordHeader{{Key: []byte("a"), Value: []byte("1")}, {Key: []byte("a"), Value: []byte("2")}, {Key: []byte("empty"), Value: []byte{}}}
	}
	produce(t, some)
	for i, m := range readAll(t, t.Topic, 1, 10) {
		suite.Expect("timestamp", m.Timestamp.UnixMilli(), base+int64(i)*1000)
		found := ""
		for _, h := range m.Headers {
			found += string(h.Key) + "=" + string(h.Value) + ";"
		}
		suite.Expect("headers", found, "a=1;a=2;empty=;")
	}
	c := suite.Get(sarama.NewClient([]string{t.Bootstrap}, config()))
	defer c.Close()
	suite.Expect("offset for a time between", suite.Get(c.GetOffset(t.Topic, 0, base+4500)), int64(5))
	suite.Expect("newest", suite.Get(c.GetOffset(t.Topic, 0, sarama.OffsetNewest)), int64(10))
}

func nullAndEmpty(t *suite.Run) {
	create(t, t.Topic, 1)
	encoded := func(b []byte) sarama.Encoder {
		if b == nil {
			return nil
		}
		return sarama.ByteEncoder(b)
	}
	pairs := [][2][]byte{{nil, nil}, {{}, nil}, {nil, {}}, {{}, {}}, {[]byte("k"), nil}, {nil, []byte("v")}}
	some := []*sarama.ProducerMessage{}
	for _, p := range pairs {
		some = append(some, &sarama.ProducerMessage{Topic: t.Topic, Key: encoded(p[0]), Value: encoded(p[1])})
	}
	produce(t, some)
	for i, m := range readAll(t, t.Topic, 1, len(pairs)) {
		suite.Expect("key", string(m.Key), string(pairs[i][0]))
		suite.Expect("value", string(m.Value), string(pairs[i][1]))
		suite.Expect("null", []bool{m.Key == nil, m.Value == nil}, []bool{pairs[i][0] == nil, pairs[i][1] == nil})
	}
}

func largeRecords(t *suite.Run) {
	create(t, t.Topic, 1)
	some := []string{strings.Repeat("a", 900_000), strings.Repeat("b", 900_000), strings.Repeat("c", 900_000)}
	produce(t, messages(t.Topic, 1, some))
	suite.Check(slices.Equal(values(readAll(t, t.Topic, 1, 3)), some), "the values differ")
	small := t.Topic + "-small"
	create(t, small, 1, "max.message.bytes", "10000")
	p := producer(t)
	defer p.Close()
	_, _, err := p.SendMessage(message(small, 0, strings.Repeat("x", 50_000)))
	refused("too large for the topic", err, sarama.ErrMessageSizeTooLarge)
}

func everyKindOfAck(t *suite.Run) {
	create(t, t.Topic, 1)
	for _, acks := range []sarama.RequiredAcks{sarama.NoResponse, sarama.WaitForLocal, sarama.WaitForAll} {
		produce(t, messages(t.Topic, 1, suite.Numbers(0, 100)), func(c *sarama.Config) { c.Producer.RequiredAcks = acks })
	}
	readAll(t, t.Topic, 1, 300)
}

func idempotentProducer(t *suite.Run) {
	create(t, t.Topic, 3)
	for i, m := range produce(t, messages(t.Topic, 3, suite.Numbers(0, 3000)), idempotent) {
		suite.Expect("offset", m.Offset, int64(i/3))
	}
}

// An older client's requests are still answered.
func olderVersions(t *suite.Run) {
	create(t, t.Topic, 1)
	for i, version := range []sarama.KafkaVersion{sarama.V1_0_0_0, sarama.V2_1_0_0, sarama.V2_8_0_0} {
		use := func(c *sarama.Config) { c.Version = version }
		produce(t, messages(t.Topic, 1, suite.Numbers(i*10, i*10+10)), use)
		suite.Expect("values", values(readAll(t, t.Topic, 1, i*10+10, use)), suite.Numbers(0, i*10+10))
	}
}

// ---- groups

// member consumes in a goroutine of its own until left; it marks what it saw, and Sarama commits the marks when it is revoked.
type member struct {
	mutex    sync.Mutex
	seen     []string
	assigned map[int32]bool
	failure  error
	cancel   context.CancelFunc
	done     chan struct{}
}

func (m *member) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (m *member) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (m *member) own(partition int32, owned bool) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	if owned {
		m.assigned[partition] = true
	} else {
		delete(m.assigned, partition)
	}
}

func (m *member) owns() []int32 {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	return slices.Sorted(maps.Keys(m.assigned))
}

func (m *member) ConsumeClaim(s sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	m.own(claim.Partition(), true)
	defer m.own(claim.Partition(), false)
	for {
		select {
		case found, open := <-claim.Messages():
			if !open {
				return nil
			}
			m.mutex.Lock()
			m.seen = append(m.seen, string(found.Value))
			m.mutex.Unlock()
			s.MarkMessage(found, "")
		case <-s.Context().Done():
			return nil
		}
	}
}

func join(t *suite.Run, changes ...func(*sarama.Config)) *member {
	m := &member{assigned: map[int32]bool{}, done: make(chan struct{})}
	group := suite.Get(sarama.NewConsumerGroup([]string{t.Bootstrap}, t.Group, config(changes...)))
	within, cancel := context.WithCancel(context.Background())
	m.cancel = cancel
	go func() {
		defer close(m.done)
		defer group.Close()
		for within.Err() == nil {
			if err := group.Consume(within, []string{t.Topic}, m); err != nil && within.Err() == nil {
				m.failure = err
				return
			}
		}
	}()
	return m
}

func (m *member) left() {
	m.cancel()
	<-m.done
	suite.OK(m.failure)
}

func shares(members []*member, sizes ...int) bool {
	owned, found, sum := map[int32]bool{}, []int{}, 0
	for _, m := range members {
		for _, p := range m.owns() {
			owned[p] = true
		}
		found = append(found, len(m.owns()))
		sum += len(m.owns())
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

func committedSum(t *suite.Run, a sarama.ClusterAdmin) int64 {
	found, sum := suite.Get(a.ListConsumerGroupOffsets(t.Group, nil)), int64(0)
	for _, block := range found.Blocks[t.Topic] {
		sum += block.Offset
	}
	return sum
}

func rebalanceWhileProducing(t *suite.Run, changes ...func(*sarama.Config)) {
	a := create(t, t.Topic, 6)
	var produced atomic.Int64
	var stop atomic.Bool
	pumped := make(chan error, 1)
	go func() {
		p := producer(t, idempotent)
		defer p.Close()
		for !stop.Load() {
			some := []*sarama.ProducerMessage{}
			for range 20 {
				n := produced.Add(1) - 1
				some = append(some, message(t.Topic, int32(n%6), fmt.Sprint(n)))
			}
			if err := p.SendMessages(some); err != nil {
				pumped <- err
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
		pumped <- nil
	}()
	members := []*member{join(t, changes...)}
	suite.Until("the first assignment", wait, func() bool { return shares(members, 6) })
	members = append(members, join(t, changes...))
	suite.Until("the assignment of two", wait, func() bool { return shares(members, 3, 3) })
	members[0].left()
	suite.Until("the assignment of the one that stays", wait, func() bool { return shares(members[1:], 6) })
	stop.Store(true)
	suite.OK(<-pumped)
	suite.Until("all records", wait, func() bool { return len(allSeen(members)) == int(produced.Load()) })
	members[1].left()
	suite.Expect("committed", committedSum(t, a), produced.Load())
}

func rebalanceWhileProducingRange(t *suite.Run) {
	rebalanceWhileProducing(t)
}

func rebalanceWhileProducingSticky(t *suite.Run) {
	rebalanceWhileProducing(t, func(c *sarama.Config) {
		c.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{sarama.NewBalanceStrategySticky()}
	})
}

func rebalanceWhileProducingCooperative(t *suite.Run) {
	rebalanceWhileProducing(t, func(c *sarama.Config) {
		c.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{sarama.NewBalanceStrategyCooperativeSticky()}
	})
}

func staticMembers(t *suite.Run) {
	create(t, t.Topic, 4)
	static := func(id string) *member {
		return join(t, func(c *sarama.Config) {
			c.Consumer.Group.InstanceId = id
			c.Consumer.Group.Session.Timeout = 20 * time.Second
		})
	}
	one, two := static("one"), static("two")
	suite.Until("the assignment", wait, func() bool { return shares([]*member{one, two}, 2, 2) })
	had := one.owns()
	one.left()
	again := static("one")
	suite.Until("the assignment of the one that came back", wait, func() bool { return slices.Equal(again.owns(), had) })
	again.left()
	two.left()
}

func commitAndResume(t *suite.Run) {
	a := create(t, t.Topic, 2)
	produce(t, messages(t.Topic, 2, suite.Numbers(0, 100)))
	first := join(t)
	suite.Until("the records", wait, func() bool { return len(allSeen([]*member{first})) == 100 })
	first.left()
	suite.Expect("committed", committedSum(t, a), int64(100))
	produce(t, messages(t.Topic, 2, suite.Numbers(100, 120)))
	second := join(t)
	suite.Until("what came since", wait, func() bool { return len(allSeen([]*member{second})) == 20 })
	second.left()
}

// ---- transactions

func transactional(t *suite.Run, changes ...func(*sarama.Config)) sarama.SyncProducer {
	return producer(t, append([]func(*sarama.Config){idempotent, func(c *sarama.Config) { c.Producer.Transaction.ID = t.TransactionalID }}, changes...)...)
}

func transactionCommitAndAbort(t *suite.Run) {
	create(t, t.Topic, 2)
	p := transactional(t)
	defer p.Close()
	for number := range 4 {
		suite.OK(p.BeginTxn())
		suite.OK(p.SendMessages(messages(t.Topic, 2, suite.Numbers(number*10, number*10+10))))
		if number%2 == 0 {
			suite.OK(p.CommitTxn())
		} else {
			suite.OK(p.AbortTxn())
		}
	}
	wanted := append(suite.Numbers(0, 10), suite.Numbers(20, 30)...)
	suite.Expect("read_committed", sorted(values(readAll(t, t.Topic, 2, 20, committedOnly))), sorted(wanted))
	readAll(t, t.Topic, 2, 40)
}

func secondProducerFencesTheFirst(t *suite.Run) {
	create(t, t.Topic, 1)
	zombie := transactional(t)
	suite.OK(zombie.BeginTxn())
	_, _, err := zombie.SendMessage(message(t.Topic, 0, "zombie"))
	suite.OK(err)
	heir := transactional(t)
	defer heir.Close()
	_, _, err = zombie.SendMessage(message(t.Topic, 0, "zombie again"))
	if err == nil {
		err = zombie.CommitTxn()
	}
	suite.Check(err != nil, "the zombie was not fenced")
	suite.OK(heir.BeginTxn())
	_, _, err = heir.SendMessage(message(t.Topic, 0, "heir"))
	suite.OK(err)
	suite.OK(heir.CommitTxn())
	suite.Expect("read_committed", values(readAll(t, t.Topic, 1, 1, committedOnly)), []string{"heir"})
}

func consumeTransformProduce(t *suite.Run) {
	out := t.Topic + "-out"
	create(t, t.Topic, 1)
	a := create(t, out, 1)
	produce(t, messages(t.Topic, 1, suite.Numbers(0, 100)))
	p := transactional(t)
	defer p.Close()
	found := readAll(t, t.Topic, 1, 100)
	for begin := 0; begin < 100; begin += 25 {
		for _, commit := range []bool{false, true} {
			suite.OK(p.BeginTxn())
			some := []*sarama.ProducerMessage{}
			for _, m := range found[begin : begin+25] {
				some = append(some, message(out, 0, "done "+string(m.Value)))
			}
			suite.OK(p.SendMessages(some))
			suite.OK(p.AddMessageToTxn(found[begin+24], t.Group, nil))
			if commit {
				suite.OK(p.CommitTxn())
			} else {
				suite.OK(p.AbortTxn())
			}
		}
		suite.Until("the committed offset", wait, func() bool { return committedSum(t, a) == int64(begin+25) }) // the broker ends a transaction by and by
	}
	wanted := []string{}
	for _, n := range suite.Numbers(0, 100) {
		wanted = append(wanted, "done "+n)
	}
	suite.Expect("output", values(readAll(t, out, 1, 100, committedOnly)), wanted)
}

// ---- admin

func adminTopics(t *suite.Run) {
	a := create(t, t.Topic, 2, "retention.ms", "1000000")
	defer a.Close()
	text := func(s string) *string { return &s }
	option := func(name string) string {
		for _, entry := range suite.Get(a.DescribeConfig(sarama.ConfigResource{Type: sarama.TopicResource, Name: t.Topic, ConfigNames: []string{name}})) {
			if entry.Name == name {
				return entry.Value
			}
		}
		return "(none)"
	}
	refused("a second one", a.CreateTopic(t.Topic, &sarama.TopicDetail{NumPartitions: 1, ReplicationFactor: 1}, false), sarama.ErrTopicAlreadyExists)
	refused("three replicas", a.CreateTopic(t.Topic+"-bad", &sarama.TopicDetail{NumPartitions: 1, ReplicationFactor: 3}, false), sarama.ErrInvalidReplicationFactor)
	suite.Expect("retention.ms", option("retention.ms"), "1000000")
	alter := func(value string) error {
		return a.IncrementalAlterConfig(sarama.TopicResource, t.Topic, map[string]sarama.IncrementalAlterConfigsEntry{
			"retention.ms": {Operation: sarama.IncrementalAlterConfigsOperationSet, Value: text(value)}}, false)
	}
	suite.OK(alter("2000000"))
	suite.Until("the new value", wait, func() bool { return option("retention.ms") == "2000000" })
	suite.Check(alter("soon") != nil, "a bad value was taken")
	suite.OK(a.AlterConfig(sarama.TopicResource, t.Topic, map[string]*string{"max.message.bytes": text("20000")}, false))
	suite.Until("what AlterConfigs leaves out is the default", wait, func() bool { return option("retention.ms") == "604800000" && option("max.message.bytes") == "20000" })
	suite.OK(a.CreatePartitions(t.Topic, 3, nil, false))
	produce(t, messages(t.Topic, 1, suite.Numbers(0, 100)))
	suite.OK(a.DeleteRecords(t.Topic, map[int32]int64{0: 60}))
	suite.Expect("what is left", len(readAll(t, t.Topic, 1, 40)), 40)
	brokers, controller, err := a.DescribeCluster()
	suite.OK(err)
	suite.Expect("controller", controller, brokers[0].ID())
	suite.Check(strings.Contains(fmt.Sprint(suite.Get(a.DescribeLogDirs([]int32{controller}))), t.Topic), "the topic is in no log dir")
	suite.OK(a.DeleteTopic(t.Topic))
	suite.Until("the deletion", wait, func() bool { _, there := suite.Get(a.ListTopics())[t.Topic]; return !there })
}

func adminGroups(t *suite.Run) {
	a := create(t, t.Topic, 2)
	defer a.Close()
	produce(t, messages(t.Topic, 2, suite.Numbers(0, 100)))
	m := join(t)
	suite.Until("the records", wait, func() bool { return len(allSeen([]*member{m})) == 100 })
	group := suite.Get(a.DescribeConsumerGroups([]string{t.Group}))[0]
	suite.Expect("group", []string{group.State, group.ProtocolType, group.Protocol}, []string{"Stable", "consumer", "range"})
	_, listed := suite.Get(a.ListConsumerGroups())[t.Group]
	suite.Check(listed, "not listed")
	refused("delete while it has members", a.DeleteConsumerGroup(t.Group), sarama.ErrNonEmptyGroup)
	m.left()
	suite.Expect("committed", committedSum(t, a), int64(100))
	suite.OK(a.DeleteConsumerGroupOffset(t.Group, t.Topic, 0))
	suite.OK(a.DeleteConsumerGroup(t.Group))
	refused("delete it again", a.DeleteConsumerGroup(t.Group), sarama.ErrGroupIDNotFound)
}

func main() {
	suite.Main("sarama", []suite.Case{
		{"order_and_counts", orderAndCounts},
		{"codecs", codecs},
		{"headers_and_timestamps", headersAndTimestamps},
		{"null_and_empty", nullAndEmpty},
		{"large_records", largeRecords},
		{"every_kind_of_ack", everyKindOfAck},
		{"idempotent_producer", idempotentProducer},
		{"older_versions", olderVersions},
		{"rebalance_while_producing_range", rebalanceWhileProducingRange},
		{"rebalance_while_producing_sticky", rebalanceWhileProducingSticky},
		{"rebalance_while_producing_cooperative", rebalanceWhileProducingCooperative},
		{"static_members", staticMembers},
		{"commit_and_resume", commitAndResume},
		{"transaction_commit_and_abort", transactionCommitAndAbort},
		{"second_producer_fences_the_first", secondProducerFencesTheFirst},
		{"consume_transform_produce", consumeTransformProduce},
		{"admin_topics", adminTopics},
		{"admin_groups", adminGroups},
	})
}
