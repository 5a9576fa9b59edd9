// What a transform sees and makes. Nothing here copies a record's bytes: a View is of the batch that the host wrote, and
// lives until the call returns.
import { take } from "./abi";

/** Bytes, somewhere in memory. As JavaScript would, text is taken for UTF-8. */
@unmanaged
export class View {
  at: usize;
  size: i32; // -1: null

  get length(): i32 {
    return max(this.size, 0);
  }
  get isNull(): bool {
    return this.size < 0;
  }
  @operator("[]")
  byte(i: i32): u8 {
    return load<u8>(this.at + <usize>i);
  }
  /** A part of it; not checked. */
  slice(from: i32, to: i32 = this.length): View {
    return view(this.at + <usize>from, to - from);
  }
  same(other: View): bool {
    return this.length == other.length && memory.compare(this.at, other.at, <usize>this.length) == 0;
  }
  equals(text: string): bool {
    return this.same(utf8(text));
  }
  /** Where `part` begins, from `from` on; -1: nowhere. */
  indexOf(part: View, from: i32 = 0): i32 {
    const last = this.length - part.length;
    if (part.length == 0) return from <= last ? from : -1;
    const first = part[0];
    for (let i = from; i <= last; ++i) {
      if (load<u8>(this.at + <usize>i) == first && memory.compare(this.at + <usize>i, part.at, <usize>part.length) == 0) return i;
    }
    return -1;
  }
  contains(text: string): bool {
    return this.indexOf(utf8(text)) >= 0;
  }
  text(): string {
    return String.UTF8.decodeUnsafe(this.at, <usize>this.length);
  }
}

export function view(at: usize, size: i32): View {
  const made = changetype<View>(take(8));
  made.at = at;
  made.size = size;
  return made;
}

/** The text as bytes, for this batch. */
export function utf8(text: string): View {
  const at = take(<usize>text.length * 3);
  return view(at, <i32>String.UTF8.encodeUnsafe(changetype<usize>(text), text.length, at));
}

/** The bytes, for the module's life. */
export function keep(bytes: View): View {
  const kept = changetype<View>(heap.alloc(8 + <usize>bytes.length));
  kept.at = changetype<usize>(kept) + 8;
  kept.size = bytes.size;
  memory.copy(kept.at, bytes.at, <usize>bytes.length);
  return kept;
}

/** Text that grows; what view() gives may be put into results. */
export class Text {
  private at: usize = 0;
  private size: i32 = 0;
  private room: i32 = 0;

  private more(count: i32): usize {
    if (this.size + count > this.room) {
      this.room = (this.size + count) * 2 + 64;
      const next = take(this.room);
      memory.copy(next, this.at, this.size);
      this.at = next;
    }
    const end = this.at + <usize>this.size;
    this.size += count;
    return end;
  }
  add(bytes: View): Text {
    memory.copy(this.more(bytes.length), bytes.at, <usize>bytes.length);
    return this;
  }
  addByte(byte: u8): Text {
    store<u8>(this.more(1), byte);
    return this;
  }
  addText(text: string): Text {
    return this.add(utf8(text));
  }
  addNumber(number: i64): Text {
    return this.addText(number.toString());
  }
  view(): View {
    return view(this.at, this.size);
  }
}

@unmanaged
class Header {
  name: usize;
  nameSize: i32;
  value: usize;
  valueSize: i32;
}

/** One record of the batch. */
@unmanaged
export class Record {
  timestamp: i64; // milliseconds
  offset: i64; // -1: none yet
  protected keyAt: usize;
  protected keySize: i32;
  protected valueAt: usize;
  protected valueSize: i32;
  protected headersAt: usize;
  headerCount: i32;
  input: u32; // of a result: the index in the call's batch of the record that it comes from
  state: u32; // which of the batch's states is its key's

  get key(): View {
    return changetype<View>(changetype<usize>(this) + 16);
  }
  get value(): View {
    return changetype<View>(changetype<usize>(this) + 24);
  }
  headerName(i: i32): View {
    return changetype<View>(this.headersAt + <usize>i * 16);
  }
  headerValue(i: i32): View {
    return changetype<View>(this.headersAt + <usize>i * 16 + 8);
  }
  /** The value of the first header of that name. */
  header(name: string): View | null {
    const wanted = utf8(name);
    for (let i = 0; i < this.headerCount; ++i) {
      if (this.headerName(i).same(wanted)) return this.headerValue(i);
    }
    return null;
  }
}

/** A record of the result: begins as the one it comes from. */
@unmanaged
export class Output extends Record {
  setTimestamp(milliseconds: i64): void {
    this.timestamp = milliseconds;
  }
  setKey(key: View): void {
    this.keyAt = key.at;
    this.keySize = key.size;
  }
  clearKey(): void {
    this.keySize = -1;
  }
  setValue(value: View): void {
    this.valueAt = value.at;
    this.valueSize = value.size;
  }
  clearValue(): void {
    this.valueSize = -1;
  }
  clearHeaders(): void {
    this.headerCount = 0;
  }
  addHeader(name: View, value: View): void {
    const headers = take(<usize>(this.headerCount + 1) * 16);
    memory.copy(headers, this.headersAt, <usize>this.headerCount * 16);
    const added = changetype<Header>(headers + <usize>this.headerCount * 16);
    added.name = name.at;
    added.nameSize = name.length;
    added.value = value.at;
    added.valueSize = value.size;
    this.headersAt = headers;
    ++this.headerCount;
  }
}

/** What an aggregate knows of a key: bytes of its own making, kept by the host with the outputs, exactly once. */
@unmanaged
export class State {
  private keyAt: usize;
  private keySize: i32;
  private valueAt: usize;
  private valueSize: i32;

  get exists(): bool {
    return this.valueSize >= 0;
  }
  get value(): View {
    return changetype<View>(changetype<usize>(this) + 8);
  }
  set(value: View): void {
    this.valueAt = value.at;
    this.valueSize = value.size;
  }
  clear(): void {
    this.valueSize = -1;
  }
}

/** What the SQL that uses a transform gave it, by name. The views live as long as the module. */
export class Parameters {
  private asked: StaticArray<bool>;
  private values: StaticArray<View>;

  constructor(private count: i32, private record: Record) {
    this.asked = new StaticArray<bool>(count);
    this.values = new StaticArray<View>(count);
    for (let i = 0; i < count; ++i) this.values[i] = keep(record.headerValue(i));
  }
  get(name: string): View | null {
    const wanted = utf8(name);
    for (let i = 0; i < this.count; ++i) {
      if (!this.record.headerName(i).same(wanted)) continue;
      this.asked[i] = true;
      return this.values[i];
    }
    return null;
  }
  getOr(name: string, otherwise: string): View {
    const value = this.get(name);
    return value === null ? keep(utf8(otherwise)) : value;
  }
  /** Fails, and gives what is empty, where it is missing. */
  require(name: string): View {
    const value = this.get(name);
    if (value !== null) return value;
    fail("parameter '" + name + "' is missing");
    return keep(utf8(""));
  }
  /** A parameter that nobody asked for is a mistake. */
  checkAllAsked(): void {
    for (let i = 0; i < this.count; ++i) {
      if (!this.asked[i]) fail("there is no parameter '" + this.record.headerName(i).text() + "'");
    }
  }
}

let failure: string | null = null;

/** What it is called for fails: the record, or the start. The first reason counts. Gives false, to be returned. */
export function fail(why: string): bool {
  if (failure === null) failure = why;
  return false;
}
export function hasFailed(): bool {
  return failure !== null;
}
/** The reason, once. */
export function failed(): string | null {
  const why = failure;
  failure = null;
  return why;
}
