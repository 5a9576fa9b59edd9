// by_field(field => 'level', equals => 'error') or by_field(field => 'amount', op => '>', value =>
// '100'): keeps the JSON documents whose field compares so. op is one of = != < <= > >= contains;
// the four orders are of numbers. A document without the field, or with null there, is kept by !=
// alone.
#include <millrace/module.h>

using namespace millrace;

struct ByField {
  std::string_view field, op, value;
  double number = 0;

  Status init(const Parameters& parameters) {
    const auto given = parameters.require("field");
    if (!given) return given.why();
    field = *given;
    if (const auto equals = parameters.get("equals")) {
      op = "=";
      value = *equals;
      return {};
    }
    const auto with = parameters.require("value");
    if (!with) return with.why();
    value = *with;
    op = parameters.get("op", "=");
    if (op == "=" || op == "!=" || op == "contains") return {};
    if (op != "<" && op != "<=" && op != ">" && op != ">=")
      return failure("parameter 'op' is none of = != < <= > >= contains: '", op, "'");
    const auto limit = json::number(value);
    if (!limit) return failure("parameter 'value' is no number: '", value, "'");
    number = *limit;
    return {};
  }

  Result<bool> operator()(const Record& record) const {
    if (!record.has_value()) return false;
    const auto found = json::find(record.value(), field);
    if (!found) return found.why();
    if (!*found || **found == "null") return op == "!=";
    const auto text = json::text(**found);
    if (op == "=") return text == value;
    if (op == "!=") return text != value;
    if (op == "contains") return text.find(value) != text.npos;
    const auto have = json::number(text);
    if (!have) return false;
    if (op == "<") return *have < number;
    if (op == "<=") return *have <= number;
    if (op == ">") return *have > number;
    return *have >= number;
  }
};

MILLRACE_FILTER(by_field, ByField{});
