// convert(rates => 'EUR=1.08,GBP=1.27' [, into => 'USD'] [, amount => 'amount'] [, currency =>
// 'currency']): the amount of a JSON document, in another currency: one unit of EUR is 1.08 of
// those that it is to be in. Rounded to two decimals.
// exchange(rates => …[, into => 'USD']) is the same as a function of SQL: exchange(currency, amount).
#include <millrace/module.h>

#include "list.h"

using namespace millrace;

struct Rates {
  struct Rate {
    std::string_view currency;
    double rate;
  };
  std::vector<Rate> rates;
  std::string_view into;

  Status init(const Parameters& parameters) {
    const auto given = parameters.require("rates");
    if (!given) return given.why();
    for (const auto part : split(*given, ',')) {
      const size_t equals = part.find('=');
      const auto rate =
          equals == part.npos ? std::nullopt : json::number(trim(part.substr(equals + 1)));
      if (!rate) return failure("parameter 'rates' is not like EUR=1.08,GBP=1.27: '", part, "'");
      rates.push_back({trim(part.substr(0, equals)), *rate});
    }
    into = parameters.get("into", "USD");
    return {};
  }

  Result<double> of(std::string_view currency) const {
    if (currency == into) return 1.0;
    for (const auto& [name, rate] : rates) {
      if (name == currency) return rate;
    }
    return failure("no rate for '", currency, "'");
  }
};

struct Convert {
  Rates rates;
  std::string_view amount, currency;

  Status init(const Parameters& parameters) {
    if (const Status read = rates.init(parameters); !read) return read;
    amount = parameters.get("amount", "amount");
    currency = parameters.get("currency", "currency");
    return {};
  }

  Status operator()(const Record& record, Output& out) const {
    if (!record.has_value()) return {};
    const std::string_view document = record.value();
    json::Walker walker(document);
    std::string_view number, code;
    while (walker.next()) {
      if (walker.depth() != 1) continue;
      if (walker.named(amount)) {
        number = walker.take();
      } else if (walker.named(currency)) {
        code = walker.take();
      }
    }
    if (walker.failed()) return walker.why();
    const auto from = json::text(code);
    if (from == rates.into) return {};
    const auto value = json::number(number);
    if (!value) return failure("field '", amount, "' is no number");
    const auto rate = rates.of(from);
    if (!rate) return rate.why();
    const auto converted = json::cents(*value * *rate);
    if (!converted) return failure("field '", amount, "' is too large");
    replace(document, number, *converted, code, out);
    return {};
  }

 private:
  /// The document with another amount and currency; both are views of it.
  void replace(std::string_view document, std::string_view number, std::string_view converted,
               std::string_view code, Output& out) const {
    const bool number_first = number.data() < code.data();
    const auto first = number_first ? number : code, second = number_first ? code : number;
    const auto put = [&](Text& text, std::string_view which) {
      if (which.data() == number.data()) {
        text << converted;
      } else {
        json::quote(text, rates.into);
      }
    };
    const auto at = [&](std::string_view part) {
      return static_cast<size_t>(part.data() - document.data());
    };
    Text text;
    text << document.substr(0, at(first));
    put(text, first);
    const size_t between = at(first) + first.size();
    text << document.substr(between, at(second) - between);
    put(text, second);
    text << document.substr(at(second) + second.size());
    out.set_value(text);
  }
};

MILLRACE_MAP(convert, Convert{});

struct Exchange : Rates {
  Result<double> operator()(std::string_view currency, double amount) const {
    const auto rate = of(currency);
    if (!rate) return rate.why();
    return amount * *rate;
  }
};

MILLRACE_SCALAR(exchange, Exchange{});
