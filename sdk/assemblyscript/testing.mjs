#!/usr/bin/env node
// Runs a module's transforms on records without a node: the module as it will be deployed, whatever language it is of.
//
//     millrace-test MODULE.wasm CASES.jsonl [NAME]      a line of JSON a case; only those of module NAME
//
//     import { load } from "millrace";                  or by hand, in a test of your own
//     const started = load("errors.wasm").start("errors", { fields: "a" });
//     started.run([{ key: "k", value: "an error" }])    -> { records, errors, states }
//
// docs/modules.md says what stands in a case.
import fs from "node:fs";
import process from "node:process";
import { pathToFileURL } from "node:url";

const KINDS = ["filter", "map", "filter_map", "expand", "aggregate", "scalar"];
const text = (value) => (value === undefined || value === null ? null : Buffer.isBuffer(value) ? value : Buffer.from(String(value)));

/** Why a call failed, in the module's words. */
export class Failure extends Error {}

class Started {
  constructor(module, name, kind) {
    this.name = name;
    this.kind = kind;
    this.logged = [];
    this.failure = "";
    const imports = {
      millrace: {
        log: (level, at, size) => this.logged.push([level, this.bytes(at, size).toString()]),
        fail: (at, size) => (this.failure = this.bytes(at, size).toString()),
      },
      env: { abort: (message) => this.abort(message) },
    };
    // WASI is there, and empty; what is random is always the same.
    for (const { module: from, name: call } of WebAssembly.Module.imports(module)) {
      if (from === "wasi_snapshot_preview1") (imports[from] ??= {})[call] = () => (call === "random_get" ? 0 : 76);
    }
    this.exports = new WebAssembly.Instance(module, imports).exports;
    this.exports._initialize?.();
  }

  get memory() {
    return new DataView(this.exports.memory.buffer);
  }
  bytes(at, size) {
    return Buffer.from(this.exports.memory.buffer.slice(at, at + size));
  }
  abort(message) {
    const size = message === 0 ? 0 : this.memory.getUint32(message - 4, true);
    throw new Failure(this.bytes(message, size).toString("utf16le"));
  }

  /** Writes a batch as the host does; gives its address. */
  write(records, states) {
    const pieces = [];
    let size = 0;
    const put = (bytes) => {
      const at = size;
      pieces.push([at, bytes]);
      size = (size + bytes.length + 7) & ~7;
      return at;
    };
    const field = (out, at, value, base) => {
      out.writeUInt32LE(value === null ? 0 : base + put(value), at);
      out.writeInt32LE(value === null ? -1 : value.length, at + 4);
    };
    const build = (base) => {
      pieces.length = size = 0;
      const batch = Buffer.alloc(40);
      put(batch);
      const table = Buffer.alloc(records.length * 48);
      batch.writeUInt32LE(1, 0);
      batch.writeUInt32LE(records.length, 4);
      batch.writeUInt32LE(base + put(table), 8);
      records.forEach((record, i) => {
        const headers = Object.entries(record.headers ?? {}).map(([name, value]) => [record.arguments ? "" : name, value]);
        const own = Buffer.alloc(headers.length * 16);
        const at = i * 48;
        table.writeBigInt64LE(BigInt(record.timestamp ?? 0), at);
        table.writeBigInt64LE(-1n, at + 8);
        field(table, at + 16, text(record.key), base);
        field(table, at + 24, text(record.value), base);
        table.writeUInt32LE(base + put(own), at + 32);
        table.writeUInt32LE(headers.length, at + 36);
        table.writeUInt32LE(record.state ?? 0, at + 44);
        headers.forEach(([name, value], h) => {
          field(own, h * 16, Buffer.from(name), base);
          field(own, h * 16 + 8, text(value), base);
        });
      });
      const kept = Buffer.alloc(states.length * 16);
      batch.writeUInt32LE(states.length, 20);
      batch.writeUInt32LE(base + put(kept), 24);
      states.forEach(([key, value], i) => {
        field(kept, i * 16, text(key), base);
        field(kept, i * 16 + 8, text(value), base);
      });
      return size;
    };
    const base = this.exports.millrace_alloc(build(0));
    if (base === 0) throw new Failure("out of memory");
    build(base);
    const memory = Buffer.from(this.exports.memory.buffer);
    for (const [at, bytes] of pieces) bytes.copy(memory, base + at);
    return base;
  }

  call(name, records, states = []) {
    this.failure = "";
    const gave = this.exports[name](this.write(records, states));
    if (gave === 0) throw new Failure(this.failure);
    return gave;
  }

  field(at) {
    const size = this.memory.getInt32(at + 4, true);
    return size < 0 ? null : this.bytes(this.memory.getUint32(at, true), size);
  }

  /** Gives a batch to the transform. */
  run(records, known = {}) {
    const states = [];
    if (this.kind === "aggregate") {
      const index = new Map();
      records = records.map((record) => {
        const key = record.key ?? null;
        if (!index.has(key)) index.set(key, states.push([key, known[key]]) - 1);
        return { ...record, state: index.get(key) };
      });
    }
    const batch = this.call(`millrace__${this.kind}__${this.name}`, records, states);
    const u32 = (at) => this.memory.getUint32(at, true);
    const out = { records: [], errors: [], states: {} };
    for (let i = 0; i < u32(batch + 4); ++i) {
      const at = u32(batch + 8) + i * 48;
      const headers = [];
      for (let h = 0; h < u32(at + 36); ++h) headers.push([this.field(u32(at + 32) + h * 16), this.field(u32(at + 32) + h * 16 + 8)]);
      const timestamp = Number(this.memory.getBigInt64(at, true));
      out.records.push({ key: this.field(at + 16), value: this.field(at + 24), headers, timestamp, input: u32(at + 40) });
    }
    for (let i = 0; i < u32(batch + 12); ++i) {
      const at = u32(batch + 16) + i * 12;
      out.errors.push({ input: u32(at), error: this.bytes(u32(at + 4), u32(at + 8)).toString() });
    }
    for (let i = 0; i < u32(batch + 20); ++i) {
      const at = u32(batch + 24) + i * 16;
      out.states[String(this.field(at))] = this.field(at + 8);
    }
    return out;
  }
}

/** A module of a file. */
export function load(file) {
  const module = new WebAssembly.Module(fs.readFileSync(file));
  const names = new Set(WebAssembly.Module.exports(module).map((one) => one.name));
  if (!names.has("millrace_abi_1")) throw new Failure(`${file} does not export millrace_abi_1`);
  return {
    /** An instance of its own for transform `name`, with parameters and the topic's last records. */
    start(name, parameters = {}, lookBack = []) {
      const kind = KINDS.find((one) => names.has(`millrace__${one}__${name}`));
      if (kind === undefined) throw new Failure(`${file} has no transform ${name}`);
      const started = new Started(module, name, kind);
      const given = Object.keys(parameters);
      if (names.has(`millrace__init__${name}`)) {
        started.call(`millrace__init__${name}`, [{ headers: parameters }]);
      } else if (given.length !== 0) {
        throw new Failure(`takes no parameters, and was given "${given[0]}"`);
      }
      if (lookBack.length !== 0) {
        if (!names.has(`millrace__look_back__${name}`)) throw new Failure("it does not look back");
        started.call(`millrace__look_back__${name}`, lookBack);
      }
      return started;
    },
  };
}

/** A SQL value as the host gives it, of {"VARCHAR": "x"}, {"BIGINT": 1}, {"DOUBLE": 0.5}, {"BOOLEAN": true} or null. */
function sql(from) {
  const [type, value] = Object.entries(from ?? {}).at(-1) ?? [];
  if (value === undefined || value === null) return null;
  const eight = Buffer.alloc(8);
  if (type === "BIGINT") eight.writeBigInt64LE(BigInt(value));
  if (type === "DOUBLE") eight.writeDoubleLE(value);
  if (type === "BIGINT" || type === "DOUBLE") return eight;
  return type === "BOOLEAN" ? Buffer.from([value ? 1 : 0]) : Buffer.from(value);
}

const show = (bytes) => (bytes === null ? "null" : `'${bytes}'`);

function describe({ records, errors, states }) {
  const lines = records.map(({ key, value, headers, timestamp, input }) => {
    const more = headers.map(([name, header]) => `, header ${name}=${show(header)}`).join("");
    return `  record of ${input}: key ${show(key)}, value ${show(value)}, timestamp ${timestamp}${more}`;
  });
  lines.push(...errors.map(({ input, error }) => `  error of ${input}: ${error}`));
  lines.push(...Object.keys(states).sort().map((key) => `  state of '${key}': ${show(states[key])}`));
  return lines.join("\n");
}

function expected(expect) {
  const records = (expect.records ?? []).map((record, i) => ({
    key: text(record.key),
    value: text(record.value),
    headers: Object.entries(record.headers ?? {}).map(([name, value]) => [name, text(value)]),
    timestamp: record.timestamp ?? 0,
    input: record.input ?? i,
  }));
  (expect.results ?? []).forEach((result, i) => {
    records.push({ key: null, value: sql(result), headers: [], timestamp: 0, input: result?.input ?? i });
  });
  const states = Object.fromEntries(Object.entries(expect.states ?? {}).map(([key, value]) => [key, text(value)]));
  return describe({ records, errors: expect.errors ?? [], states });
}

/** Nothing when a case holds; else what was expected and what came. */
export function check(module, test) {
  const expect = test.expect ?? {};
  const want = expect.failure === undefined ? expected(expect) : `  failed: ${expect.failure}`;
  let have;
  try {
    const started = module.start(test.transform, test.parameters, test.look_back);
    const rows = test.rows?.map((row) => ({ headers: row.map(sql), arguments: true }));
    have = describe(started.run(rows ?? test.records ?? [], test.states));
  } catch (why) {
    have = `  failed: ${why.message}`;
  }
  return want === have ? undefined : `${test.transform}: ${test.case}\n expected\n${want}\n but got\n${have}`;
}

/** Checks the cases of a file that are of module `name`; the exit code: 0 when there are some and all hold. */
export function checkFile(wasm, cases, name) {
  const module = load(wasm);
  let passed = 0;
  let failed = 0;
  for (const line of fs.readFileSync(cases, "utf8").split("\n")) {
    if (line === "") continue;
    // A BIGINT may be more than a JavaScript number holds.
    const test = JSON.parse(line.replace(/"BIGINT":(-?\d+)/g, '"BIGINT":"$1"'));
    if (name !== undefined && test.module !== name) continue;
    const wrong = check(module, test);
    if (wrong !== undefined) console.error(wrong);
    wrong === undefined ? ++passed : ++failed;
  }
  console.log(`${wasm}: ${passed} passed, ${failed} failed`);
  return failed === 0 && passed !== 0 ? 0 : 1;
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(fs.realpathSync(process.argv[1])).href) {
  const [wasm, cases, name] = process.argv.slice(2);
  if (cases === undefined) {
    console.error("usage: millrace-test MODULE.wasm CASES.jsonl [NAME]");
    process.exit(2);
  }
  process.exit(checkFile(wasm, cases, name));
}
