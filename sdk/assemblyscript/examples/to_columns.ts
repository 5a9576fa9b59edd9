// to_columns(fields => 'id,amount' [, delimiter => ','] [, into => 'line' | 'headers']): fields of a JSON document become
// a delimited line (with CSV's quotes where they are needed), or headers beside the document.
import { Kind, Map, Output, Parameters, Record, Text, View, Walker, fail, jsonText, keepAll, split, utf8 } from "../assembly";
export { millrace_abi_1, millrace_alloc } from "../assembly";

class ToColumns extends Map {
  private fields: Array<View> = [];
  private found: StaticArray<View | null> = [];
  private delimiter: View = utf8("");
  private headers: bool = false;
  private walker: Walker = new Walker();

  init(parameters: Parameters): void {
    this.fields = keepAll(split(parameters.require("fields"), 0x2c));
    this.found = new StaticArray<View | null>(this.fields.length);
    this.delimiter = parameters.getOr("delimiter", ",");
    const into = parameters.getOr("into", "line");
    this.headers = into.equals("headers");
    if (!this.headers && !into.equals("line")) fail("parameter 'into' is line or headers, not '" + into.text() + "'");
  }

  map(record: Record, out: Output): void {
    if (record.value.isNull) return;
    const count = this.fields.length;
    for (let i = 0; i < count; ++i) this.found[i] = null;
    const walker = this.walker;
    walker.begin(record.value);
    while (walker.next()) {
      if (walker.depth != 1) continue;
      for (let i = 0; i < count; ++i) {
        if (!walker.named(this.fields[i])) continue;
        this.found[i] = walker.kind == Kind.Null ? null : walker.take();
        break;
      }
    }
    if (walker.failed()) return;
    const line = new Text();
    for (let i = 0; i < count; ++i) {
      const value = this.found[i];
      if (this.headers) {
        if (value !== null) out.addHeader(this.fields[i], jsonText(value));
        continue;
      }
      if (i != 0) line.add(this.delimiter);
      if (value !== null) this.column(line, jsonText(value));
    }
    if (!this.headers) out.setValue(line.view());
  }

  private column(line: Text, text: View): void {
    let plain = text.indexOf(this.delimiter) < 0;
    for (let i = 0; i < text.length; ++i) plain = plain && text[i] != 0x22 && text[i] != 0x0d && text[i] != 0x0a;
    if (plain) {
      line.add(text);
      return;
    }
    line.addByte(0x22);
    for (let i = 0; i < text.length; ++i) {
      if (text[i] == 0x22) line.addByte(0x22);
      line.addByte(text[i]);
    }
    line.addByte(0x22);
  }
}

const columns = new ToColumns();
export function millrace__init__to_columns(parameters: usize): bool {
  return columns.start(parameters);
}
export function millrace__map__to_columns(batch: usize): usize {
  return columns.run(batch);
}
