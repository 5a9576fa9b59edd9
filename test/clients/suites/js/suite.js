// kafkajs: node suite.js BOOTSTRAP [CASE...]
'use strict'
const {
  AssignerProtocol, CompressionCodecs, CompressionTypes, ConfigResourceTypes, Kafka, logLevel,
} = require('kafkajs')
const assert = require('node:assert')
const lz4 = require('lz4js')
const {hash: xxh32} = require('lz4js/xxh32')
const SnappyCodec = require('kafkajs-snappy')
const {ZstdCodec} = require('zstd-codec')

const CASE_SECONDS = 120
const TOGETHER = 8 // most of a case is waiting: for a rebalance, a heartbeat, a timeout
const CODECS = {none: CompressionTypes.None, gzip: CompressionTypes.GZIP, snappy: CompressionTypes.Snappy, lz4: CompressionTypes.LZ4, zstd: CompressionTypes.ZSTD}
const BASE = Math.floor(Date.now() / 1000) * 1000 - 3_600_000 // retention spares it
const bootstrap = process.argv[2]
const cases = new Map()

function test(name, body) {
  cases.set(name, body)
}

class Run {
  constructor(name) {
    this.topic = `kafkajs-${name}-${process.pid}`.replaceAll('_', '-')
    this.group = `${this.topic}-group`
    this.transactionalId = `${this.topic}-tx`
    this.kafka = new Kafka({clientId: this.topic, brokers: [bootstrap], logLevel: logLevel.NOTHING})
    this.open = []
  }

  async connected(client) {
    await client.connect()
    this.open.push(client)
    return client
  }

  admin() {
    return this.connected(this.kafka.admin())
  }

  producer(config) {
    return this.connected(this.kafka.producer({allowAutoTopicCreation: false, ...config}))
  }

  consumer(config) {
    return this.connected(this.kafka.consumer({groupId: this.group, sessionTimeout: 6000, heartbeatInterval: 300, maxWaitTimeInMs: 200, ...config}))
  }

  async create(partitions = 1, topic = this.topic, configEntries = []) {
    const admin = await this.admin()
    await admin.createTopics({waitForLeaders: true, topics: [{topic, numPartitions: partitions, replicationFactor: 1, configEntries}]})
    return admin
  }

  async produce(messages, {topic = this.topic, compression, ...config} = {}) {
    const producer = await this.producer(config)
    return producer.send({topic, messages, compression, acks: -1})
  }

  /// Reads, in a group of its own, what is between the beginning and the ends that the broker tells; kafkajs tells the end of what is
  /// uncommitted, so `count` says how many records there are to see.
  async readAll(count, topic = this.topic, config = {}) {
    const found = []
    const consumer = await this.consumer({groupId: `${this.group}-${Math.random()}`, ...config})
    await consumer.subscribe({topic, fromBeginning: true})
    await consumer.run({eachMessage: async ({partition, message}) => void found.push({partition, ...message})})
    await until(`${count} records of ${topic}`, () => found.length >= count)
    await consumer.disconnect()
    assert.equal(found.length, count, 'records')
    return found
  }

  async close() {
    for (const client of this.open.reverse()) await client.disconnect().catch(() => {})
  }
}

const sleep = ms => new Promise(resolve => setTimeout(resolve, ms))
const numbers = (from, to, partitions = 1) => [...Array(to - from).keys()].map(i => ({partition: (from + i) % partitions, value: `${from + i}`}))
const values = records => records.map(r => r.value?.toString())
const sorted = some => [...some].sort()

async function until(what, condition, seconds = 40) {
  const end = Date.now() + seconds * 1000
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`${what} did not come true in ${seconds} s`)
    await sleep(50)
  }
}

/// The protocol error's type, through what kafkajs wraps around it.
function typeOf(error) {
  for (let e = error; e; e = e.errors?.[0] ?? e.cause) if (e.type) return e.type
  return `${error.name}: ${error.message}`
}

async function refused(type, promise) {
  const error = await promise.then(() => assert.fail(`not refused with ${type}`), e => e)
  assert.match(typeOf(error), type instanceof RegExp ? type : new RegExp(`^${type}$`))
}

// ---- produce and consume

test('order_and_counts', async t => {
  await t.create(4)
  await t.produce(numbers(0, 4000, 4))
  const records = await t.readAll(4000)
  for (let partition = 0; partition < 4; partition++) {
    const mine = records.filter(r => r.partition === partition)
    assert.deepEqual(mine.map(r => r.offset), [...Array(1000).keys()].map(String))
    assert.deepEqual(values(mine), [...Array(1000).keys()].map(i => `${i * 4 + partition}`))
  }
})

test('codecs', async t => {
  await t.create()
  const wanted = []
  for (const [codec, compression] of Object.entries(CODECS)) {
    const some = [...Array(300).keys()].map(i => `${codec} ${i} `.repeat(20))
    await t.produce(some.map(value => ({value})), {compression})
    wanted.push(...some)
  }
  assert.deepEqual(values(await t.readAll(wanted.length)), wanted)
})

test('headers', async t => {
  await t.create()
  await t.produce([{value: 'v', headers: {a: ['1', '2'], empty: '', bytes: Buffer.from([0, 1, 255])}}, {value: 'none'}])
  const [one, none] = await t.readAll(2)
  assert.deepEqual(one.headers.a.map(String), ['1', '2'])
  assert.equal(one.headers.empty.length, 0)
  assert.deepEqual([...one.headers.bytes], [0, 1, 255])
  assert.deepEqual(none.headers, {})
})

test('timestamps', async t => {
  const admin = await t.create()
  await t.produce([...Array(10).keys()].map(i => ({value: `${i}`, timestamp: `${BASE + i * 1000}`})))
  assert.deepEqual((await t.readAll(10)).map(r => Number(r.timestamp)), [...Array(10).keys()].map(i => BASE + i * 1000))
  assert.deepEqual(await admin.fetchTopicOffsetsByTimestamp(t.topic, BASE + 4500), [{partition: 0, offset: '5'}])
})

test('null_and_empty', async t => {
  await t.create()
  const pairs = [[null, null], ['', null], [null, ''], ['', ''], ['k', null], [null, 'v']]
  await t.produce(pairs.map(([key, value]) => ({key, value, partition: 0})))
  const text = bytes => bytes?.toString() ?? null
  assert.deepEqual((await t.readAll(pairs.length)).map(r => [text(r.key), text(r.value)]), pairs)
})

test('large_records', async t => {
  await t.create()
  const some = [...'abc'].map(letter => letter.repeat(900000))
  for (const value of some) await t.produce([{value}])
  assert.ok(values(await t.readAll(3)).every((v, i) => v === some[i]))
  const small = `${t.topic}-small`
  await t.create(1, small, [{name: 'max.message.bytes', value: '10000'}])
  await refused('MESSAGE_TOO_LARGE', t.produce([{value: 'x'.repeat(50000)}], {topic: small}))
})

test('idempotent_producer', async t => {
  await t.create(2)
  const producer = await t.producer({idempotent: true, maxInFlightRequests: 1})
  for (let i = 0; i < 20; i++) {
    const acked = await producer.send({topic: t.topic, messages: numbers(i * 100, i * 100 + 100, 2)})
    assert.deepEqual(acked.map(a => a.baseOffset), [`${i * 50}`, `${i * 50}`])
  }
  assert.deepEqual(values(await t.readAll(2000)).map(Number).sort((a, b) => a - b), [...Array(2000).keys()])
})

test('every_kind_of_ack', async t => {
  await t.create()
  const producer = await t.producer()
  for (const acks of [0, 1, -1]) await producer.send({topic: t.topic, acks, messages: numbers(0, 100)})
  await t.readAll(300)
})

// ---- groups

class Member {
  static async start(t, config = {}) {
    const member = new Member()
    member.records = []
    member.assigned = []
    member.consumer = await t.consumer(config)
    member.consumer.on(member.consumer.events.GROUP_JOIN, ({payload}) => void (member.assigned = payload.memberAssignment[t.topic] ?? []))
    member.consumer.on(member.consumer.events.CRASH, ({payload}) => void (member.failure = payload.error))
    await member.consumer.subscribe({topic: t.topic, fromBeginning: true})
    await member.consumer.run({
      autoCommitInterval: 200,
      eachMessage: async ({partition, message}) => void member.records.push({partition, ...message}),
    })
    return member
  }

  async left() {
    await this.consumer.disconnect()
    this.assigned = []
  }
}

function shares(members, sizes) {
  for (const member of members) if (member.failure) throw member.failure
  const owned = members.flatMap(m => m.assigned)
  return sorted(members.map(m => m.assigned.length)).join() === sorted(sizes).join() && new Set(owned).size === owned.length
}

test('rebalance_while_producing', async t => {
  const admin = await t.create(6)
  let produced = 0
  let stop = false
  const pump = (async () => {
    const producer = await t.producer({idempotent: true, maxInFlightRequests: 1})
    while (!stop) {
      await producer.send({topic: t.topic, messages: numbers(produced, produced + 20, 6)})
      produced += 20
      await sleep(20)
    }
  })()
  const members = [await Member.start(t)]
  try {
    await until('the first assignment', () => shares(members, [6]))
    members.push(await Member.start(t))
    await until('the assignment of two', () => shares(members, [3, 3]))
    await members[0].left()
    await until('the assignment of the one that stays', () => shares(members.slice(1), [6]))
  } finally {
    stop = true
    await pump
  }
  await until('all records', () => new Set(members.flatMap(m => values(m.records))).size === produced)
  await members[1].left()
  const [{partitions}] = await admin.fetchOffsets({groupId: t.group, topics: [t.topic]})
  assert.equal(partitions.reduce((sum, p) => sum + Number(p.offset), 0), produced, 'committed offsets')
})

test('commit_and_resume', async t => {
  const admin = await t.create(2)
  await t.produce(numbers(0, 100, 2))
  const first = await Member.start(t)
  await until('the records', () => first.records.length === 100)
  await first.left()
  await t.produce(numbers(100, 120, 2))
  const second = await Member.start(t)
  await until('what came since', () => second.records.length === 20)
  assert.deepEqual(sorted(values(second.records)), sorted(values(numbers(100, 120))))
  await second.consumer.commitOffsets([{topic: t.topic, partition: 0, offset: '42', metadata: 'where I was'}])
  const [{partitions}] = await admin.fetchOffsets({groupId: t.group, topics: [t.topic]})
  const zero = partitions.find(p => p.partition === 0)
  assert.deepEqual([zero.offset, zero.metadata], ['42', 'where I was'])
})

test('seek_and_pause', async t => {
  await t.create(2)
  await t.produce(numbers(0, 100, 2))
  const member = await Member.start(t)
  await until('the records', () => member.records.length === 100)
  member.records.length = 0
  member.consumer.seek({topic: t.topic, partition: 0, offset: '48'})
  await until('after the seek', () => member.records.length === 2)
  assert.deepEqual(member.records.map(r => r.offset), ['48', '49'])
  member.consumer.pause([{topic: t.topic, partitions: [0]}])
  await sleep(500) // a fetch that is under way may still bring what it brings
  await t.produce([{partition: 0, value: 'paused'}, {partition: 1, value: 'goes on'}])
  await until('what is not paused', () => member.records.length === 3)
  await sleep(500)
  assert.deepEqual(values(member.records.slice(2)), ['goes on'])
  member.consumer.resume([{topic: t.topic, partitions: [0]}])
  await until('after resume', () => member.records.length === 4)
  assert.equal(values(member.records)[3], 'paused')
})

// ---- transactions

test('transaction_commit_and_abort', async t => {
  await t.create(2)
  const producer = await t.producer({transactionalId: t.transactionalId, maxInFlightRequests: 1, idempotent: true})
  for (let number = 0; number < 4; number++) {
    const transaction = await producer.transaction()
    await transaction.send({topic: t.topic, messages: numbers(number * 10, number * 10 + 10, 2)})
    await (number % 2 ? transaction.abort() : transaction.commit())
  }
  const committed = await t.readAll(20, t.topic, {readUncommitted: false})
  assert.deepEqual(sorted(values(committed)), sorted(values([...numbers(0, 10), ...numbers(20, 30)])))
  await t.readAll(40, t.topic, {readUncommitted: true})
})

test('second_producer_fences_the_first', async t => {
  await t.create()
  const config = {transactionalId: t.transactionalId, maxInFlightRequests: 1, idempotent: true}
  const zombie = await (await t.producer(config)).transaction()
  await zombie.send({topic: t.topic, messages: [{value: 'zombie'}]})
  const heir = await (await t.producer(config)).transaction()
  await refused(/INVALID_PRODUCER_EPOCH|PRODUCER_FENCED/, zombie.send({topic: t.topic, messages: [{value: 'zombie again'}]}))
  await heir.send({topic: t.topic, messages: [{value: 'heir'}]})
  await heir.commit()
  assert.deepEqual(values(await t.readAll(1, t.topic, {readUncommitted: false})), ['heir'])
})

test('consume_transform_produce', async t => {
  const admin = await t.create(2)
  const out = `${t.topic}-out`
  await t.create(2, out)
  await t.produce(numbers(0, 200, 2))
  const producer = await t.producer({transactionalId: t.transactionalId, maxInFlightRequests: 1, idempotent: true})
  const consumer = await t.consumer({readUncommitted: false, maxBytesPerPartition: 1000})
  await consumer.subscribe({topic: t.topic, fromBeginning: true})
  let done = 0
  let rounds = 0
  await consumer.run({
    autoCommit: false,
    eachBatchAutoResolve: false,
    eachBatch: async ({batch, resolveOffset}) => {
      const transaction = await producer.transaction()
      const messages = batch.messages.map(m => ({partition: batch.partition, value: `done ${m.value}`}))
      await transaction.send({topic: out, messages})
      const offset = `${Number(batch.lastOffset()) + 1}`
      await transaction.sendOffsets({consumerGroupId: t.group, topics: [{topic: batch.topic, partitions: [{partition: batch.partition, offset}]}]})
      if (rounds++ === 1) {
        await transaction.abort() // the same records come again, from the offset that is committed
        consumer.seek({topic: batch.topic, partition: batch.partition, offset: batch.firstOffset()})
        return
      }
      await transaction.commit()
      resolveOffset(batch.lastOffset())
      done += messages.length
    },
  })
  await until('all records', () => done >= 200)
  await consumer.disconnect()
  const found = await t.readAll(200, out, {readUncommitted: false})
  assert.deepEqual(sorted(values(found)), sorted(values(numbers(0, 200)).map(n => `done ${n}`)))
  const [{partitions}] = await admin.fetchOffsets({groupId: t.group, topics: [t.topic]})
  assert.deepEqual(partitions.map(p => p.offset), ['100', '100'])
})

// ---- admin

test('admin_topics_and_configs', async t => {
  const admin = await t.create(2, t.topic, [{name: 'retention.ms', value: '1000000'}])
  const resource = {type: ConfigResourceTypes.TOPIC, name: t.topic}
  const option = async name => (await admin.describeConfigs({resources: [resource], includeSynonyms: false})).resources[0].configEntries
    .find(e => e.configName === name).configValue
  assert.equal(await admin.createTopics({topics: [{topic: t.topic}]}), false) // kafkajs's answer when it is there
  assert.ok((await admin.listTopics()).includes(t.topic))
  assert.equal(await option('retention.ms'), '1000000')
  await admin.alterConfigs({validateOnly: false, resources: [{...resource, configEntries: [{name: 'retention.ms', value: '2000000'}]}]})
  await until('the new value', async () => await option('retention.ms') === '2000000')
  await refused('INVALID_CONFIG', admin.alterConfigs({validateOnly: false, resources: [{...resource, configEntries: [{name: 'retention.ms', value: 'soon'}]}]}))
  await refused('INVALID_REPLICATION_FACTOR', admin.createTopics({topics: [{topic: `${t.topic}-bad`, numPartitions: 1, replicationFactor: 3}]}))
  await admin.createPartitions({topicPartitions: [{topic: t.topic, count: 3}]})
  await until('the partitions', async () => (await admin.fetchTopicMetadata({topics: [t.topic]})).topics[0].partitions.length === 3)
  await t.produce(numbers(0, 100))
  await admin.deleteTopicRecords({topic: t.topic, partitions: [{partition: 0, offset: '60'}]})
  const [zero] = (await admin.fetchTopicOffsets(t.topic)).filter(p => p.partition === 0)
  assert.deepEqual([zero.low, zero.high], ['60', '100'])
  await admin.deleteTopics({topics: [t.topic]})
  await until('the deletion', async () => !(await admin.listTopics()).includes(t.topic))
})

test('admin_groups', async t => {
  const admin = await t.create(2)
  await t.produce(numbers(0, 100, 2))
  const member = await Member.start(t)
  await until('the records', () => member.records.length === 100)
  const {groups: [group]} = await admin.describeGroups([t.group])
  assert.deepEqual([group.state, group.protocolType, group.members.length], ['Stable', 'consumer', 1])
  assert.deepEqual(AssignerProtocol.MemberAssignment.decode(group.members[0].memberAssignment).assignment, {[t.topic]: [0, 1]})
  assert.ok((await admin.listGroups()).groups.some(g => g.groupId === t.group))
  await refused(/NON_EMPTY_GROUP|KafkaJSDeleteGroupsError.*/, admin.deleteGroups([t.group]))
  await member.left()
  await admin.setOffsets({groupId: t.group, topic: t.topic, partitions: [{partition: 0, offset: '7'}]})
  const [{partitions}] = await admin.fetchOffsets({groupId: t.group, topics: [t.topic]})
  assert.deepEqual(partitions.map(p => p.offset), ['7', '50'])
  await admin.deleteGroups([t.group])
  assert.ok(!(await admin.listGroups()).groups.some(g => g.groupId === t.group))
})

test('admin_cluster', async t => {
  const admin = await t.admin()
  const cluster = await admin.describeCluster()
  assert.deepEqual(cluster.brokers.map(b => `${b.host}:${b.port}`), [bootstrap])
  assert.equal(cluster.controller, cluster.brokers[0].nodeId)
})

// ---- running them

/// An LZ4 frame of independent blocks, which is what Kafka reads; lz4js itself makes frames of dependent ones.
function lz4Frame(bytes) {
  const block = 65536
  const descriptor = Buffer.from([0x60, 0x40]) // version 1 with independent blocks; blocks of up to 64 KiB
  const parts = [Buffer.from([0x04, 0x22, 0x4d, 0x18]), descriptor, Buffer.from([(xxh32(0, descriptor, 0, 2) >> 8) & 0xff])]
  for (let at = 0; at < bytes.length; at += block) {
    const raw = bytes.subarray(at, at + block)
    const packed = Buffer.alloc(lz4.compressBound(raw.length))
    const size = lz4.compressBlock(raw, packed, 0, raw.length, new Uint32Array(65536))
    const better = size > 0 && size < raw.length
    const header = Buffer.alloc(4)
    header.writeUInt32LE(better ? size : (raw.length | 0x80000000) >>> 0)
    parts.push(header, better ? packed.subarray(0, size) : raw)
  }
  return Buffer.concat([...parts, Buffer.alloc(4)])
}

async function codecs() {
  CompressionCodecs[CompressionTypes.Snappy] = SnappyCodec
  CompressionCodecs[CompressionTypes.LZ4] = () => ({
    compress: async encoder => lz4Frame(encoder.buffer),
    decompress: async buffer => Buffer.from(lz4.decompress(buffer)),
  })
  const zstd = await new Promise(resolve => ZstdCodec.run(z => resolve(new z.Simple())))
  CompressionCodecs[CompressionTypes.ZSTD] = () => ({
    compress: async encoder => Buffer.from(zstd.compress(encoder.buffer)),
    decompress: async buffer => Buffer.from(zstd.decompress(buffer)),
  })
}

async function runOne(name) {
  const began = Date.now()
  const t = new Run(name)
  let detail = ''
  let timer
  try {
    const late = new Promise((_, reject) => (timer = setTimeout(() => reject(new Error(`not done after ${CASE_SECONDS} s`)), CASE_SECONDS * 1000)))
    await Promise.race([cases.get(name)(t), late])
  } catch (error) {
    detail = `${error.stack}${error.cause ? `\ncaused by ${error.cause.stack}` : ''}`
  }
  clearTimeout(timer)
  process.stdout.write(`${JSON.stringify({case: name, ok: !detail, detail, seconds: (Date.now() - began) / 1000})}\n`)
  await Promise.race([t.close(), sleep(5000)])
}

async function main() {
  await codecs()
  const names = process.argv.length > 3 ? process.argv.slice(3) : [...cases.keys()]
  const worker = async () => {
    while (names.length) await runOne(names.shift())
  }
  await Promise.all([...Array(TOGETHER)].map(worker))
  process.exit(0)
}

process.on('unhandledRejection', error => process.stderr.write(`unhandled: ${error?.stack}\n`))
main()
