// The kinds of transforms. Each is a class with `run`, and for transforms without parameters a function.
import { RawBatch, RawError, failCall, take } from "./abi";
import { Output, Parameters, Record, State, View, fail, failed, hasFailed, utf8, view } from "./record";

const RECORD: usize = 48;

/** The batch that a call gives back, built record by record; where expand and aggregate put theirs. */
export class Emit {
  private from: RawBatch;
  private batch: RawBatch;
  private room: u32 = 0;
  private input: u32 = 0;

  constructor() {
    this.from = changetype<RawBatch>(0);
    this.batch = changetype<RawBatch>(0);
  }
  begin(at: usize): void {
    this.from = changetype<RawBatch>(at);
    this.batch = changetype<RawBatch>(take(40));
    memory.fill(changetype<usize>(this.batch), 0, 40);
    this.batch.version = 1;
    this.room = this.from.count;
    this.batch.records = take(<usize>this.room * RECORD);
    this.batch.stateCount = this.from.stateCount;
    this.batch.states = this.from.states;
  }
  get count(): u32 {
    return this.from.count;
  }
  get size(): u32 {
    return this.batch.count;
  }
  /** The record of the call at `input`, which those that follow come from. */
  at(input: u32): Record {
    this.input = input;
    return changetype<Record>(this.from.records + <usize>input * RECORD);
  }
  stateOf(record: Record): State {
    return changetype<State>(this.from.states + <usize>record.state * 16);
  }
  /** Begins a record of the result, as the one it comes from; to be changed until the next is begun. */
  record(): Output {
    const count = this.batch.count;
    if (count == this.room) {
      this.room = this.room * 2 + 16;
      const more = take(<usize>this.room * RECORD);
      memory.copy(more, this.batch.records, <usize>count * RECORD);
      this.batch.records = more;
    }
    const made = this.batch.records + <usize>count * RECORD;
    memory.copy(made, this.from.records + <usize>this.input * RECORD, RECORD);
    const output = changetype<Output>(made);
    output.input = this.input;
    this.batch.count = count + 1;
    return output;
  }
  /** Ends an input: what came since `before` goes where it is not kept, and the reason is told where it failed. */
  end(before: u32, kept: bool): void {
    const why = failed();
    if (!kept || why !== null) this.batch.count = before;
    if (why === null) return;
    if (this.batch.errors == 0) this.batch.errors = take(<usize>this.from.count * 12);
    const error = changetype<RawError>(this.batch.errors + <usize>this.batch.errorCount * 12);
    const message = utf8(why);
    error.input = this.input;
    error.message = message.at;
    error.messageSize = message.length;
    ++this.batch.errorCount;
  }
  done(): usize {
    return changetype<usize>(this.batch);
  }
}

const emit = new Emit();

export abstract class Transform {
  /** Once, before the first record. A parameter that it does not ask for is an error. */
  init(_parameters: Parameters): void {}
  /** Each last record of the topic, once at the start, where millrace__look_back__NAME is exported. */
  lookBack(_record: Record): void {}

  /** What millrace__init__NAME gives. */
  start(at: usize): bool {
    const given = changetype<RawBatch>(at);
    const record = changetype<Record>(given.records);
    const parameters = new Parameters(given.count == 0 ? 0 : record.headerCount, record);
    this.init(parameters);
    if (!hasFailed()) parameters.checkAllAsked();
    return told();
  }
  /** What millrace__look_back__NAME gives. */
  look(at: usize): bool {
    emit.begin(at);
    for (let i: u32 = 0; i < emit.count && !hasFailed(); ++i) this.lookBack(emit.at(i));
    return told();
  }
}

function told(): bool {
  const why = failed();
  if (why === null) return true;
  failCall(why);
  return false;
}

export abstract class Filter extends Transform {
  /** Whether the record stays. */
  abstract filter(record: Record): bool;
  run(at: usize): usize {
    emit.begin(at);
    for (let i: u32 = 0; i < emit.count; ++i) {
      const before = emit.size;
      const kept = this.filter(emit.at(i));
      if (kept) emit.record();
      emit.end(before, kept);
    }
    return emit.done();
  }
}

export abstract class FilterMap extends Transform {
  /** Changes `out`, which is a copy of the record; whether it stays. */
  abstract filterMap(record: Record, out: Output): bool;
  run(at: usize): usize {
    emit.begin(at);
    for (let i: u32 = 0; i < emit.count; ++i) {
      const before = emit.size;
      const record = emit.at(i);
      emit.end(before, this.filterMap(record, emit.record()));
    }
    return emit.done();
  }
}

export abstract class Map extends FilterMap {
  /** Changes `out`, which is a copy of the record. */
  abstract map(record: Record, out: Output): void;
  filterMap(record: Record, out: Output): bool {
    this.map(record, out);
    return true;
  }
}

export abstract class Expand extends Transform {
  /** emit.record() begins each record of the result. */
  abstract expand(record: Record, emit: Emit): void;
  run(at: usize): usize {
    emit.begin(at);
    for (let i: u32 = 0; i < emit.count; ++i) {
      const before = emit.size;
      this.expand(emit.at(i), emit);
      emit.end(before, true);
    }
    return emit.done();
  }
}

export abstract class Aggregate extends Transform {
  abstract aggregate(record: Record, state: State, emit: Emit): void;
  run(at: usize): usize {
    emit.begin(at);
    for (let i: u32 = 0; i < emit.count; ++i) {
      const before = emit.size;
      const record = emit.at(i);
      const state = emit.stateOf(record);
      const valueAt = state.value.at;
      const valueSize = state.value.size;
      this.aggregate(record, state, emit);
      if (hasFailed()) {
        state.value.at = valueAt;
        state.value.size = valueSize;
      }
      emit.end(before, true);
    }
    return emit.done();
  }
}

/** A row of a scalar's arguments. */
@unmanaged
export class Row extends Record {
  isNull(i: i32): bool {
    return this.headerValue(i).isNull;
  }
  text(i: i32): View {
    return this.headerValue(i);
  }
  private fixed(i: i32, size: i32): usize {
    const value = this.headerValue(i);
    if (value.size == size) return value.at;
    fail("an argument is of another type");
    return take(8);
  }
  bigint(i: i32): i64 {
    return load<i64>(this.fixed(i, 8));
  }
  double(i: i32): f64 {
    return load<f64>(this.fixed(i, 8));
  }
  boolean(i: i32): bool {
    return load<u8>(this.fixed(i, 1)) != 0;
  }
}

/** A scalar's result. */
@unmanaged
export class Result extends Output {
  setText(value: View): void {
    this.setValue(value);
  }
  setBigint(value: i64): void {
    const at = take(8);
    store<i64>(at, value);
    this.setValue(view(at, 8));
  }
  setDouble(value: f64): void {
    const at = take(8);
    store<f64>(at, value);
    this.setValue(view(at, 8));
  }
  setBoolean(value: bool): void {
    const at = take(8);
    store<u8>(at, value ? 1 : 0);
    this.setValue(view(at, 1));
  }
  setNull(): void {
    this.clearValue();
  }
}

/**
 * A SQL function of `count` arguments. Null of null is SQL's rule, and so it is here for the arguments whose bits are set
 * in `strict`; the others it sees as nulls.
 */
export function scalar(at: usize, count: i32, call: (row: Row, result: Result) => void, strict: u32 = 0xffffffff): usize {
  emit.begin(at);
  for (let i: u32 = 0; i < emit.count; ++i) {
    const before = emit.size;
    const row = changetype<Row>(emit.at(i));
    const result = changetype<Result>(emit.record());
    result.clearHeaders();
    if (row.headerCount != count) {
      fail("it takes " + count.toString() + " arguments, not " + row.headerCount.toString());
    } else {
      let missing = false;
      for (let a = 0; a < count; ++a) missing = missing || (row.isNull(a) && ((strict >> a) & 1) != 0);
      if (missing) {
        result.setNull();
      } else {
        call(row, result);
      }
    }
    emit.end(before, true);
  }
  return emit.done();
}

export function filter(at: usize, call: (record: Record) => bool): usize {
  emit.begin(at);
  for (let i: u32 = 0; i < emit.count; ++i) {
    const before = emit.size;
    const kept = call(emit.at(i));
    if (kept) emit.record();
    emit.end(before, kept);
  }
  return emit.done();
}

export function filterMap(at: usize, call: (record: Record, out: Output) => bool): usize {
  emit.begin(at);
  for (let i: u32 = 0; i < emit.count; ++i) {
    const before = emit.size;
    const record = emit.at(i);
    emit.end(before, call(record, emit.record()));
  }
  return emit.done();
}

export function map(at: usize, call: (record: Record, out: Output) => void): usize {
  emit.begin(at);
  for (let i: u32 = 0; i < emit.count; ++i) {
    const before = emit.size;
    const record = emit.at(i);
    call(record, emit.record());
    emit.end(before, true);
  }
  return emit.done();
}

export function expand(at: usize, call: (record: Record, emit: Emit) => void): usize {
  emit.begin(at);
  for (let i: u32 = 0; i < emit.count; ++i) {
    const before = emit.size;
    call(emit.at(i), emit);
    emit.end(before, true);
  }
  return emit.done();
}
