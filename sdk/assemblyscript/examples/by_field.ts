// by_field(field => 'level', equals => 'error') or by_field(field => 'amount', op => '>', value => '100'): keeps the JSON
// documents whose field compares so. op is one of = != < <= > >= contains; the four orders are of numbers.
// A document without the field, or with null there, is kept by != alone.
import { Filter, Parameters, Record, View, fail, find, jsonText, keep, number, utf8 } from "../assembly";
export { millrace_abi_1, millrace_alloc } from "../assembly";

const OPS: StaticArray<string> = ["=", "!=", "contains", "<", "<=", ">", ">="];
const NULL = keep(utf8("null"));

class ByField extends Filter {
  private field: View = utf8("");
  private op: i32 = 0;
  private value: View = utf8("");
  private limit: f64 = 0;

  init(parameters: Parameters): void {
    this.field = parameters.require("field");
    const equals = parameters.get("equals");
    this.value = equals !== null ? equals : parameters.require("value");
    if (equals !== null) return;
    const op = parameters.getOr("op", "=").text();
    this.op = OPS.indexOf(op);
    if (this.op < 0) fail("parameter 'op' is none of = != < <= > >= contains: '" + op + "'");
    if (this.op < 3) return;
    this.limit = number(this.value);
    if (isNaN(this.limit)) fail("parameter 'value' is no number: '" + this.value.text() + "'");
  }

  filter(record: Record): bool {
    if (record.value.isNull) return false;
    const found = find(record.value, this.field);
    if (found === null || found.same(NULL)) return this.op == 1;
    const text = jsonText(found);
    if (this.op == 0) return text.same(this.value);
    if (this.op == 1) return !text.same(this.value);
    if (this.op == 2) return text.indexOf(this.value) >= 0;
    const have = number(text); // what is none compares with nothing
    if (this.op == 3) return have < this.limit;
    if (this.op == 4) return have <= this.limit;
    if (this.op == 5) return have > this.limit;
    return have >= this.limit;
  }
}

const byField = new ByField();
export function millrace__init__by_field(parameters: usize): bool {
  return byField.start(parameters);
}
export function millrace__filter__by_field(batch: usize): usize {
  return byField.run(batch);
}
