// convert(rates => 'EUR=1.08,GBP=1.27' [, into => 'USD'] [, amount => 'amount'] [, currency => 'currency']): the amount of
// a JSON document, in another currency: one unit of EUR is 1.08 of those that it is to be in. Rounded to two decimals.
// exchange(rates => … [, into => 'USD']) is the same as a function of SQL: exchange(currency, amount).
import { Map, Output, Parameters, Record, Result, Row, Text, Transform, View, Walker, cents, fail, jsonText, keep, number, quote, scalar, split, trim, utf8, view } from "../assembly";
export { millrace_abi_1, millrace_alloc } from "../assembly";

class Rates extends Transform {
  private codes: Array<View> = [];
  private rates: Array<f64> = [];
  into: View = utf8("");

  init(parameters: Parameters): void {
    this.codes = [];
    this.rates = [];
    const parts = split(parameters.require("rates"), 0x2c);
    for (let i = 0; i < parts.length; ++i) {
      const equals = parts[i].indexOf(utf8("="));
      const rate = equals < 0 ? NaN : number(trim(parts[i].slice(equals + 1)));
      if (isNaN(rate)) {
        fail("parameter 'rates' is not like EUR=1.08,GBP=1.27: '" + parts[i].text() + "'");
        return;
      }
      this.codes.push(keep(trim(parts[i].slice(0, equals))));
      this.rates.push(rate);
    }
    this.into = parameters.getOr("into", "USD");
  }

  /** Fails, and gives NaN, for a currency that it does not know. */
  of(currency: View): f64 {
    if (currency.same(this.into)) return 1;
    for (let i = 0; i < this.codes.length; ++i) {
      if (this.codes[i].same(currency)) return this.rates[i];
    }
    fail("no rate for '" + currency.text() + "'");
    return NaN;
  }
}

class Convert extends Map {
  private rates: Rates = new Rates();
  private amount: View = utf8("");
  private currency: View = utf8("");
  private walker: Walker = new Walker();

  init(parameters: Parameters): void {
    this.rates.init(parameters);
    this.amount = parameters.getOr("amount", "amount");
    this.currency = parameters.getOr("currency", "currency");
  }

  map(record: Record, out: Output): void {
    if (record.value.isNull) return;
    const document = record.value;
    const walker = this.walker;
    let amount = view(document.at, 0);
    let code = view(document.at, 0);
    walker.begin(document);
    while (walker.next()) {
      if (walker.depth != 1) continue;
      if (walker.named(this.amount)) {
        amount = walker.take();
      } else if (walker.named(this.currency)) {
        code = walker.take();
      }
    }
    if (walker.failed()) return;
    const from = jsonText(code);
    if (from.same(this.rates.into)) return;
    const value = number(amount);
    if (isNaN(value)) {
      fail("field '" + this.amount.text() + "' is no number");
      return;
    }
    const rate = this.rates.of(from);
    if (isNaN(rate)) return;
    const converted = cents(value * rate);
    if (converted === null) {
      fail("field '" + this.amount.text() + "' is too large");
    } else {
      out.setValue(this.replaced(document, amount, converted, code));
    }
  }

  /** The document with another amount and currency; both are views of it. */
  private replaced(document: View, amount: View, converted: View, code: View): View {
    const amountFirst = amount.at < code.at;
    const first = amountFirst ? amount : code;
    const second = amountFirst ? code : amount;
    const text = new Text();
    text.add(document.slice(0, <i32>(first.at - document.at)));
    this.put(text, amountFirst, converted);
    const between = first.at + <usize>first.length;
    text.add(view(between, <i32>(second.at - between)));
    this.put(text, !amountFirst, converted);
    return text.add(document.slice(<i32>(second.at - document.at) + second.length)).view();
  }
  private put(text: Text, amount: bool, converted: View): void {
    if (amount) {
      text.add(converted);
    } else {
      quote(text, this.rates.into);
    }
  }
}

const convert = new Convert();
export function millrace__init__convert(parameters: usize): bool {
  return convert.start(parameters);
}
export function millrace__map__convert(batch: usize): usize {
  return convert.run(batch);
}

const rates = new Rates();
export function millrace__init__exchange(parameters: usize): bool {
  return rates.start(parameters);
}
export function millrace__scalar__exchange(batch: usize): usize {
  return scalar(batch, 2, (row: Row, result: Result) => {
    result.setDouble(row.double(1) * rates.of(row.text(0)));
  });
}
