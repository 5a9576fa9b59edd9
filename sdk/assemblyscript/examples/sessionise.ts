// sessionise(gap => '30m'): the sessions of each key. A session ends when its key was silent for longer than the gap; it
// comes out with the record that begins the next one. A record that comes late counts in the session that is open.
import { Aggregate, Emit, Parameters, Record, State, Text, fail, number, split } from "../assembly";
export { millrace_abi_1, millrace_alloc } from "../assembly";

class Sessionise extends Aggregate {
  private gap: i64 = 0; // milliseconds

  init(parameters: Parameters): void {
    const text = parameters.require("gap").text();
    let digits = 0;
    while (digits < text.length && text.charCodeAt(digits) >= 0x30 && text.charCodeAt(digits) <= 0x39) ++digits;
    const unit = text.substring(digits);
    const ms: i64 = unit == "ms" ? 1 : unit == "s" ? 1000 : unit == "m" ? 60000 : unit == "h" ? 3600000 : 0;
    if (digits == 0 || digits > 9 || ms == 0) fail("parameter 'gap' is not like 500ms, 30s, 30m or 1h: '" + text + "'");
    this.gap = I64.parseInt(text.substring(0, digits)) * ms;
  }

  aggregate(record: Record, state: State, emit: Emit): void {
    const now = record.timestamp;
    let start = now;
    let last = now;
    let events: i64 = 0;
    if (state.exists) {
      // The state of a key: start, last and events.
      const parts = split(state.value, 0x2c);
      if (parts.length != 3 || isNaN(number(parts[0])) || isNaN(number(parts[1])) || isNaN(number(parts[2]))) {
        fail("the state is not a session's: '" + state.value.text() + "'");
        return;
      }
      start = <i64>number(parts[0]);
      last = <i64>number(parts[1]);
      events = <i64>number(parts[2]);
      if (now - last > this.gap) {
        const closed = emit.record();
        const value = new Text().addText('{"start":').addNumber(start).addText(',"end":').addNumber(last);
        closed.clearHeaders();
        closed.setTimestamp(last);
        closed.setValue(value.addText(',"events":').addNumber(events).addText("}").view());
        start = now;
        last = now;
        events = 0;
      }
    }
    const known = new Text().addNumber(min(start, now)).addText(",").addNumber(max(last, now));
    state.set(known.addText(",").addNumber(events + 1).view());
  }
}

const sessionise = new Sessionise();
export function millrace__init__sessionise(parameters: usize): bool {
  return sessionise.start(parameters);
}
export function millrace__aggregate__sessionise(batch: usize): usize {
  return sessionise.run(batch);
}
