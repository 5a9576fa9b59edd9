// redact(fields => 'email,ssn' [, with => '***']): in JSON, replaces the values of those fields, wherever they stand.
import { Map, Output, Parameters, Record, Text, View, Walker, keepAll, quote, split, utf8 } from "../assembly";
export { millrace_abi_1, millrace_alloc } from "../assembly";

class Redact extends Map {
  private fields: Array<View> = [];
  private with: View = utf8("");
  private walker: Walker = new Walker();

  init(parameters: Parameters): void {
    this.fields = keepAll(split(parameters.require("fields"), 0x2c));
    this.with = parameters.getOr("with", "***");
  }

  map(record: Record, out: Output): void {
    if (record.value.isNull) return;
    const document = record.value;
    const walker = this.walker;
    const text = new Text();
    let done = 0;
    walker.begin(document);
    while (walker.next()) {
      let secret = false;
      for (let i = 0; i < this.fields.length; ++i) secret = secret || walker.named(this.fields[i]);
      if (!secret) continue;
      const size = walker.take().length;
      text.add(document.slice(done, walker.start));
      quote(text, this.with);
      done = walker.start + size;
    }
    if (walker.failed() || done == 0) return;
    out.setValue(text.add(document.slice(done)).view());
  }
}

const redact = new Redact();
export function millrace__init__redact(parameters: usize): bool {
  return redact.start(parameters);
}
export function millrace__map__redact(batch: usize): usize {
  return redact.run(batch);
}
