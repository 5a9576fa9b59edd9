// JSON as records hold it, read where it stands: nothing is built, and what is found are views of the text.
import { take } from "./abi";
import { Text, View, fail, keep, view } from "./record";

export enum Kind {
  Object,
  Array,
  String,
  Number,
  Boolean,
  Null,
}

function hexDigit(c: u8): i32 {
  return c <= 0x39 ? <i32>c - 0x30 : (<i32>c | 32) - 0x57;
}
function hex4(at: usize): u32 {
  let code: u32 = 0;
  for (let i: usize = 0; i < 4; ++i) code = code * 16 + <u32>hexDigit(load<u8>(at + i));
  return code;
}

/** The text that a string's raw content (between its quotes) stands for. Only one with escapes is copied. */
export function decode(raw: View): View {
  let i = raw.at;
  const end = i + <usize>raw.length;
  while (i < end && load<u8>(i) != 0x5c) ++i;
  if (i == end) return raw;
  const text = take(<usize>raw.length); // an escape is never shorter than what it stands for
  let out = text;
  for (i = raw.at; i < end; ++i) {
    let c = load<u8>(i);
    if (c != 0x5c) {
      store<u8>(out++, c);
      continue;
    }
    c = load<u8>(++i);
    if (c != 0x75) {
      switch (c) {
        case 0x62: { c = 8; break; }
        case 0x66: { c = 12; break; }
        case 0x6e: { c = 10; break; }
        case 0x72: { c = 13; break; }
        case 0x74: { c = 9; break; }
      }
      store<u8>(out++, c);
      continue;
    }
    let code = hex4(i + 1);
    i += 4;
    if (code >= 0xd800 && code < 0xdc00 && i + 6 < end && load<u8>(i + 1) == 0x5c && load<u8>(i + 2) == 0x75) {
      const low = hex4(i + 3);
      if (low >= 0xdc00 && low < 0xe000) {
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
        i += 6;
      }
    }
    if (code >= 0xd800 && code < 0xe000) code = 0xfffd; // half of a pair stands for nothing
    if (code < 0x80) {
      store<u8>(out++, <u8>code);
      continue;
    }
    const more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    store<u8>(out++, <u8>(((0xff00 >> (more + 1)) & 0xff) | (code >> (6 * more))));
    for (let k = more - 1; k >= 0; --k) store<u8>(out++, <u8>(0x80 | ((code >> (6 * k)) & 0x3f)));
  }
  return view(text, <i32>(out - text));
}

enum Step {
  Value,
  Other,
  End,
}

const DEPTH = 64;

/**
 * Walks an object's values in the order of the text, those within values too, and checks the whole of it as it goes:
 *
 *     const walker = new Walker();            // once
 *     walker.begin(record.value);
 *     while (walker.next()) if (walker.depth == 1 && walker.named(LEVEL)) level = walker.take();
 *     if (walker.failed()) return false;      // the record has failed, with the reason
 */
export class Walker {
  private textAt: usize = 0;
  private size: i32 = 0;
  private nameAt: usize = 0;
  private nameSize: i32 = 0;
  private at: i32 = 0;
  /** Where the value begins in the text. */
  start: i32 = 0;
  private end: i32 = 0;
  private stack: u64 = 0; // of the open objects (1) and arrays (0)
  private open: i32 = 0;
  /** 1: a member of the document itself. */
  depth: i32 = 0;
  kind: Kind = Kind.Null;
  private begun: bool = false;
  private fresh: bool = false;
  private member: bool = false;
  private taken: bool = false;
  private wrong: bool = false;

  begin(text: View): void {
    this.textAt = text.at;
    this.size = text.length;
    this.at = 0;
    this.stack = 0;
    this.open = 0;
    this.begun = false;
    this.wrong = false;
  }

  /** To the next value; false at the end, or where the text is no JSON object. */
  next(): bool {
    let step: Step;
    do step = this.advance();
    while (step == Step.Other);
    return step == Step.Value;
  }
  /** Whether the text is no JSON object; then what it is called for fails. */
  failed(): bool {
    if (this.wrong) fail("not a JSON object: byte " + this.at.toString());
    return this.wrong;
  }

  /** Of a member its name, as it stands between its quotes. */
  name(): View {
    return view(this.nameAt, this.nameSize);
  }
  /** Whether it is a member of that name. */
  named(name: View): bool {
    if (!this.member) return false;
    if (this.nameSize == name.length && memory.compare(this.nameAt, name.at, <usize>this.nameSize) == 0) return true;
    for (let i = 0; i < this.nameSize; ++i) {
      if (load<u8>(this.nameAt + <usize>i) == 0x5c) return decode(this.name()).same(name);
    }
    return false;
  }
  /** The value's text. Of an object or array the walk goes on behind it, not into it. */
  take(): View {
    if (this.kind <= Kind.Array && !this.taken) {
      const start = this.start;
      const depth = this.depth;
      const kind = this.kind;
      const nameAt = this.nameAt;
      const nameSize = this.nameSize;
      const member = this.member;
      while (this.open > depth && this.advance() != Step.End) {}
      this.start = start;
      this.depth = depth;
      this.kind = kind;
      this.nameAt = nameAt;
      this.nameSize = nameSize;
      this.member = member;
      this.taken = true;
      this.end = this.at;
    }
    return view(this.textAt + <usize>this.start, this.end - this.start);
  }

  private peek(): u8 {
    return this.at < this.size ? load<u8>(this.textAt + <usize>this.at) : 0;
  }
  private space(): void {
    while (this.at < this.size) {
      const c = this.peek();
      if (c != 0x20 && c != 0x0a && c != 0x09 && c != 0x0d) return;
      ++this.at;
    }
  }
  private fail(): Step {
    this.wrong = true;
    return Step.End;
  }
  private enter(object: bool): void {
    this.stack = (this.stack << 1) | (object ? 1 : 0);
    ++this.open;
    ++this.at;
    this.fresh = true;
  }

  private advance(): Step {
    if (this.wrong) return Step.End;
    this.space();
    if (this.open == 0) {
      if (this.begun) return this.at == this.size ? Step.End : this.fail();
      this.begun = true;
      if (this.peek() != 0x7b) return this.fail();
      this.enter(true);
      return Step.Other;
    }
    const object = (this.stack & 1) != 0;
    if (this.peek() == <u8>(object ? 0x7d : 0x5d)) {
      this.stack >>= 1;
      --this.open;
      ++this.at;
      this.fresh = false;
      return Step.Other;
    }
    if (!this.fresh) {
      if (this.peek() != 0x2c) return this.fail();
      ++this.at;
      this.space();
    }
    this.fresh = false;
    this.member = object;
    if (object && !this.memberName()) return this.fail();
    this.start = this.at;
    this.taken = false;
    this.depth = this.open;
    return this.value() ? Step.Value : this.fail();
  }

  private memberName(): bool {
    const from = this.at + 1;
    if (this.peek() != 0x22 || !this.string()) return false;
    this.nameAt = this.textAt + <usize>from;
    this.nameSize = this.at - 1 - from;
    this.space();
    if (this.peek() != 0x3a) return false;
    ++this.at;
    this.space();
    return true;
  }

  private value(): bool {
    const c = this.peek();
    if (c == 0x7b || c == 0x5b) {
      this.kind = c == 0x7b ? Kind.Object : Kind.Array;
      if (this.open == DEPTH) return false;
      this.enter(c == 0x7b);
      return true;
    }
    let good: bool;
    if (c == 0x22) {
      this.kind = Kind.String;
      good = this.string();
    } else if (c == 0x74) {
      this.kind = Kind.Boolean;
      good = this.word(0x65757274, 4); // true
    } else if (c == 0x66) {
      this.kind = Kind.Boolean;
      ++this.at;
      good = this.word(0x65736c61, 4); // alse
      if (!good) --this.at;
    } else if (c == 0x6e) {
      this.kind = Kind.Null;
      good = this.word(0x6c6c756e, 4); // null
    } else {
      this.kind = Kind.Number;
      good = this.number();
    }
    this.end = this.at;
    return good;
  }

  private word(letters: u32, count: i32): bool {
    if (this.at + count > this.size || load<u32>(this.textAt + <usize>this.at) != letters) return false;
    this.at += count;
    return true;
  }

  private string(): bool {
    for (++this.at; this.at < this.size; ++this.at) {
      const c = this.peek();
      if (c == 0x22) {
        ++this.at;
        return true;
      }
      if (c < 0x20) return false;
      if (c != 0x5c) continue;
      ++this.at;
      switch (this.peek()) {
        case 0x75: {
          for (let i = 0; i < 4; ++i) {
            ++this.at;
            const h = this.peek();
            const letter = h | 32;
            if (!(h >= 0x30 && h <= 0x39) && !(letter >= 0x61 && letter <= 0x66)) return false;
          }
          break;
        }
        case 0x22:
        case 0x5c:
        case 0x2f:
        case 0x62:
        case 0x66:
        case 0x6e:
        case 0x72:
        case 0x74:
          break;
        default:
          return false;
      }
    }
    return false;
  }

  private digits(): bool {
    const from = this.at;
    while (this.peek() >= 0x30 && this.peek() <= 0x39) ++this.at;
    return this.at > from;
  }
  private number(): bool {
    if (this.peek() == 0x2d) ++this.at;
    if (this.peek() == 0x30) {
      ++this.at;
    } else if (!this.digits()) {
      return false;
    }
    if (this.peek() == 0x2e) {
      ++this.at;
      if (!this.digits()) return false;
    }
    if ((this.peek() | 32) == 0x65) {
      ++this.at;
      if (this.peek() == 0x2b || this.peek() == 0x2d) ++this.at;
      if (!this.digits()) return false;
    }
    return true;
  }
}

/** What a value's text stands for: a string's content; else the text itself. */
export function jsonText(value: View): View {
  return value.length >= 2 && value[0] == 0x22 ? decode(value.slice(1, value.length - 1)) : value;
}

const finder = new Walker();

/** A member of the document; of two with the same name the last. Where the document is none, the record fails. */
export function find(document: View, name: View): View | null {
  let found: View | null = null;
  finder.begin(document);
  while (finder.next()) {
    if (finder.depth == 1 && finder.named(name)) found = finder.take();
  }
  return finder.failed() ? null : found;
}

/** Appends `text` as a JSON string. */
export function quote(out: Text, text: View): void {
  out.addByte(0x22);
  for (let i = 0; i < text.length; ++i) {
    const c = text[i];
    if (c == 0x22 || c == 0x5c) {
      out.addByte(0x5c).addByte(c);
    } else if (c == 0x0a) {
      out.addByte(0x5c).addByte(0x6e);
    } else if (c < 0x20) {
      const low = c & 15;
      out.addText("\\u00").addByte(0x30 + (c >> 4)).addByte(low < 10 ? 0x30 + low : 0x57 + low);
    } else {
      out.addByte(c);
    }
  }
  out.addByte(0x22);
}

function powerOfTen(count: i64): f64 {
  let by: f64 = 1;
  for (let i: i64 = 0; i < count; ++i) by *= 10;
  return by;
}
function digitAt(text: View, at: i32): i32 {
  if (at >= text.length) return -1;
  const digit = <i32>text[at] - 0x30;
  return digit >= 0 && digit <= 9 ? digit : -1;
}

/** The number that a text is, as JSON writes numbers; NaN when it is none. Exact up to 15 digits. */
export function number(text: View): f64 {
  let at = 0;
  const negative = text.length > 0 && text[0] == 0x2d;
  if (negative) ++at;
  if (digitAt(text, at) < 0) return NaN;
  let mantissa: u64 = 0;
  let exponent: i64 = 0;
  for (let fraction = false; ; fraction = true) {
    for (let digit = digitAt(text, at); digit >= 0; digit = digitAt(text, ++at)) {
      if (mantissa < 100000000000000000) {
        mantissa = mantissa * 10 + <u64>digit;
        if (fraction) --exponent;
      } else if (!fraction) {
        ++exponent;
      }
    }
    if (fraction || at >= text.length || text[at] != 0x2e) break;
    if (digitAt(text, ++at) < 0) return NaN;
  }
  if (at < text.length && (text[at] | 32) == 0x65) {
    ++at;
    const down = at < text.length && text[at] == 0x2d;
    if (at < text.length && (text[at] == 0x2d || text[at] == 0x2b)) ++at;
    if (digitAt(text, at) < 0) return NaN;
    let power: i64 = 0;
    for (let digit = digitAt(text, at); digit >= 0; digit = digitAt(text, ++at)) {
      if (power < 10000) power = power * 10 + digit;
    }
    exponent += down ? -power : power;
  }
  if (at != text.length) return NaN;
  let value = <f64>mantissa;
  for (; exponent > 0 && value < 1e308 && mantissa != 0; exponent -= min(exponent, 22)) value *= powerOfTen(min(exponent, 22));
  for (; exponent < 0 && value > 0; exponent += min(-exponent, 22)) value /= powerOfTen(min(-exponent, 22));
  return negative ? -value : value;
}

/** A number with two decimals, half a cent away from zero; null past 2^53 cents. */
export function cents(value: f64): View | null {
  const scaled = abs(value) * 100 + 0.5;
  if (!(scaled < 9007199254740992)) return null;
  const whole = <i64>scaled;
  const text = new Text();
  if (value < 0 && whole != 0) text.addByte(0x2d);
  text.addNumber(whole / 100).addByte(0x2e).addByte(0x30 + <u8>((whole / 10) % 10)).addByte(0x30 + <u8>(whole % 10));
  return text.view();
}

/** The parts of a list, without the blanks around them; empty ones do not count. */
export function split(list: View, by: u8): Array<View> {
  const parts = new Array<View>();
  for (let from = 0; from <= list.length; ) {
    let to = from;
    while (to < list.length && list[to] != by) ++to;
    const part = trim(list.slice(from, to));
    if (part.length != 0) parts.push(part);
    from = to + 1;
  }
  return parts;
}
export function trim(text: View): View {
  let from = 0;
  let to = text.length;
  while (from < to && text[from] == 0x20) ++from;
  while (to > from && text[to - 1] == 0x20) --to;
  return text.slice(from, to);
}
/** The same views for the module's life. */
export function keepAll(views: Array<View>): Array<View> {
  for (let i = 0; i < views.length; ++i) views[i] = keep(views[i]);
  return views;
}
