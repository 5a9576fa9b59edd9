// {{name}}(text => 'error'): keeps the records whose value contains that text.
import { Filter, Parameters, Record, View, utf8 } from "./sdk/assembly";
export { millrace_abi_1, millrace_alloc } from "./sdk/assembly";

class Contains extends Filter {
  private text: View = utf8("");

  init(parameters: Parameters): void {
    this.text = parameters.require("text");
  }
  filter(record: Record): bool {
    return record.value.indexOf(this.text) >= 0;
  }
}

const transform = new Contains();
export function millrace__init__{{name}}(parameters: usize): bool {
  return transform.start(parameters);
}
export function millrace__filter__{{name}}(batch: usize): usize {
  return transform.run(batch);
}
