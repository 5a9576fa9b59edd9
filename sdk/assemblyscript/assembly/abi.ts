// What the host and a module hand each other: docs/guest-abi.md, version 1; and the memory of one batch.

@external("millrace", "log")
declare function host_log(level: i32, at: usize, size: u32): void;
@external("millrace", "fail")
declare function host_fail(at: usize, size: u32): void;

@unmanaged
export class RawBatch {
  version: u32;
  count: u32;
  records: usize;
  errorCount: u32;
  errors: usize;
  stateCount: u32;
  states: usize;
  reserved0: u32;
  reserved1: u32;
  reserved2: u32;
}

@unmanaged
export class RawError {
  input: u32;
  message: usize;
  messageSize: u32;
}

// Memory for one batch and its result: taken piece by piece, given back at once when the next batch comes. What it once
// needed it keeps, in one block, so that a module at work asks for no memory. A block begins with the one before it and
// its size.
const FIRST: usize = 64 * 1024;
const HEAD: usize = 16;
let block: usize = 0;
let size: usize = 0;
let used: usize = 0;

function grow(least: usize): void {
  const most = max(least, block == 0 ? FIRST : size * 2);
  const next = heap.alloc(HEAD + most);
  store<usize>(next, block);
  store<usize>(next, most, 8);
  block = next;
  size = most;
  used = 0;
}

/** 8-aligned room. Out of memory ends the call. */
export function take(bytes: usize): usize {
  bytes = (bytes + 7) & ~7;
  if (block == 0 || bytes > size - used) grow(bytes);
  const at = block + HEAD + used;
  used += bytes;
  return at;
}

function reset(): void {
  used = 0;
  if (block == 0 || load<usize>(block) == 0) return;
  let all: usize = 0;
  while (block != 0) {
    const before = load<usize>(block);
    all += load<usize>(block, 8);
    heap.free(block);
    block = before;
  }
  grow(all);
}

/** Says which ABI this is; never called. */
export function millrace_abi_1(): void {}

/** Room for the next batch. Nothing runs now, so that what the last one left to the collector can be collected. */
export function millrace_alloc(bytes: usize): usize {
  __collect();
  reset();
  return take(bytes);
}

function utf8(text: string, call: (level: i32, at: usize, size: u32) => void, level: i32): void {
  const bytes = take(<usize>text.length * 3);
  call(level, bytes, <u32>String.UTF8.encodeUnsafe(changetype<usize>(text), text.length, bytes));
}

export function logDebug(text: string): void {
  utf8(text, (level, at, size) => host_log(level, at, size), 0);
}
export function logInfo(text: string): void {
  utf8(text, (level, at, size) => host_log(level, at, size), 1);
}
export function logWarning(text: string): void {
  utf8(text, (level, at, size) => host_log(level, at, size), 2);
}
export function logError(text: string): void {
  utf8(text, (level, at, size) => host_log(level, at, size), 3);
}
export function failCall(why: string): void {
  utf8(why, (level, at, size) => host_fail(at, size), 0);
}
