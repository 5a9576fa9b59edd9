// Smart modules for Millrace, in AssemblyScript: docs/modules.md. A filter is
//
//     import { Record, filter } from "millrace";
//     export { millrace_abi_1, millrace_alloc } from "millrace";
//     export function millrace__filter__errors(batch: usize): usize {
//       return filter(batch, (record: Record) => record.value.contains("error"));
//     }
//
// One with parameters is a class (Filter, Map, FilterMap, Expand, Aggregate) with init(), whose object's start() and run()
// are what millrace__init__NAME and millrace__KIND__NAME give. fail("why") makes the record, or the start, fail; a record
// that fails leaves nothing behind: neither what it emitted, nor its state.
export { millrace_abi_1, millrace_alloc, logDebug, logInfo, logWarning, logError } from "./abi";
export { Output, Parameters, Record, State, Text, View, fail, keep, utf8, view } from "./record";
export { Aggregate, Emit, Expand, Filter, FilterMap, Map, Result, Row, Transform, expand, filter, filterMap, map, scalar } from "./kinds";
export { Kind, Walker, cents, decode, find, jsonText, keepAll, number, quote, split, trim } from "./json";
