// One small transform of each kind: what an SDK offers, at a glance.
import * as millrace from "../assembly";
import { Emit, Output, Record, Result, Row, Text, fail, number, trim, utf8, view } from "../assembly";
export { millrace_abi_1, millrace_alloc } from "../assembly";

export function millrace__filter__has_error(batch: usize): usize {
  return millrace.filter(batch, (record: Record) => record.value.contains("error"));
}

// A header says how long the value is, and the key loses its case.
export function millrace__map__label(batch: usize): usize {
  return millrace.map(batch, (record: Record, out: Output) => {
    const key = new Text();
    for (let i = 0; i < record.key.length; ++i) {
      const c = record.key[i];
      key.addByte(c >= 0x41 && c <= 0x5a ? c + 32 : c);
    }
    if (!record.key.isNull) out.setKey(key.view());
    out.addHeader(utf8("bytes"), utf8(record.value.length.toString()));
  });
}

export function millrace__filter_map__trim(batch: usize): usize {
  return millrace.filterMap(batch, (record: Record, out: Output) => {
    out.setValue(trim(record.value));
    return out.value.length != 0;
  });
}

// What stands before the first ':' is the topic that the record goes to, in a pipeline of several.
export function millrace__map__route(batch: usize): usize {
  return millrace.map(batch, (record: Record, out: Output) => {
    const value = record.value;
    const colon = value.indexOf(utf8(":"), 0);
    if (colon < 0) return;
    out.addHeader(utf8("millrace.output"), value.slice(0, colon));
    out.setValue(value.slice(colon + 1, value.length));
  });
}

export function millrace__expand__lines(batch: usize): usize {
  return millrace.expand(batch, (record: Record, emit: Emit) => {
    const value = record.value;
    for (let from = 0; from < value.length; ) {
      let to = value.indexOf(utf8("\n"), from);
      if (to < 0) to = value.length;
      const line = value.slice(from, to);
      if (line.equals("stop")) {
        fail("line 'stop'");
        return;
      }
      emit.record().setValue(line);
      from = to + 1;
    }
  });
}

class Count extends millrace.Aggregate {
  aggregate(record: Record, state: millrace.State, emit: Emit): void {
    if (record.value.equals("forget")) {
      state.clear();
      return;
    }
    const known = state.exists ? number(state.value) : 0;
    const text = utf8((<i64>known + 1).toString());
    state.set(text);
    emit.record().setValue(text);
    if (record.value.equals("fail")) fail("as asked");
  }
}
const count = new Count();
export function millrace__aggregate__count(batch: usize): usize {
  return count.run(batch);
}

// The last characters of a text, stars for the rest.
export function millrace__scalar__mask(batch: usize): usize {
  return millrace.scalar(batch, 2, (row: Row, result: Result) => {
    const text = row.text(0);
    const shown = row.bigint(1);
    if (shown < 0) fail("mask shows at least 0, not " + shown.toString());
    const masked = new Text();
    for (let i = 0; i < text.length; ++i) masked.addByte(<i64>(text.length - i) > shown ? 0x2a : text[i]);
    result.setText(masked.view());
  });
}

// The second argument may be null.
export function millrace__scalar__area(batch: usize): usize {
  return millrace.scalar(
    batch,
    2,
    (row: Row, result: Result) => {
      result.setDouble(row.double(0) * (row.isNull(1) ? 1 : row.double(1)));
    },
    0b01,
  );
}

export function millrace__scalar__even(batch: usize): usize {
  return millrace.scalar(batch, 1, (row: Row, result: Result) => {
    result.setBoolean(row.bigint(0) % 2 == 0);
  });
}

/** Drops records whose keys were among the topic's last when the module began. */
class Unseen extends millrace.Filter {
  private seen: Set<string> = new Set<string>();
  lookBack(record: Record): void {
    this.seen.add(record.key.text());
  }
  filter(record: Record): bool {
    return !this.seen.has(record.key.text());
  }
}
const unseen = new Unseen();
export function millrace__look_back__unseen(batch: usize): bool {
  return unseen.look(batch);
}
export function millrace__filter__unseen(batch: usize): usize {
  return unseen.run(batch);
}
