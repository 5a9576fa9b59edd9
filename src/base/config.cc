#include "base/config.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <fstream>

#include "base/nearest.h"

namespace millrace::config {

namespace {

Error invalid(std::string text) { return Error{ErrorCode::kInvalidConfig, std::move(text)}; }

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

std::string_view trim(std::string_view text) {
  constexpr std::string_view kBlank = " \t\r\n";
  const size_t first = text.find_first_not_of(kBlank);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlank) - first + 1);
}

/// Splits "1.5GiB" into 1.5 and "gib"; false when it does not begin with a number.
bool split_unit(std::string_view text, double* number, std::string* unit) {
  text = trim(text);
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), *number, std::chars_format::fixed);
  if (error != std::errc() || !std::isfinite(*number) || *number < 0) return false;
  *unit = lower(trim(text.substr(static_cast<size_t>(end - text.data()))));
  return true;
}

struct Unit {
  std::string_view name;
  double factor;
};

const Unit* find_unit(std::span<const Unit> units, std::string_view name) {
  auto at = std::ranges::find(units, name, &Unit::name);
  return at == units.end() ? nullptr : &*at;
}

std::string environment_name(std::string_view option) {
  std::string name = "MILLRACE_";
  for (char c : option) {
    name += c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  }
  return name;
}

Result<> check(const Option& option, const std::string& value) {
  switch (option.type) {
    case Type::kText:
      return {};
    case Type::kPath:
      if (value.find('\0') != std::string::npos) return invalid("a path holds no NUL byte");
      return {};
    case Type::kAddress:
      MR_TRY(parse_address(value));
      return {};
    case Type::kBytes:
      MR_TRY(parse_bytes(value));
      return {};
    case Type::kDuration:
      MR_TRY(parse_duration(value));
      return {};
    case Type::kBool:
      MR_TRY(parse_bool(value));
      return {};
    case Type::kInteger: {
      MR_TRY(const int64_t n, parse_integer(value));
      if (n < option.min || n > option.max) {
        return invalid(fmt::format("allowed: {} to {}", option.min, option.max));
      }
      return {};
    }
    case Type::kChoice:
      if (std::ranges::find(option.choices, value) != option.choices.end()) return {};
      return invalid(fmt::format("allowed: {}", fmt::join(option.choices, ", ")));
  }
  return invalid("the option has no type");
}

/// The text between the quotes that it begins with; `rest` is what follows them.
Result<std::string> unquote(std::string_view text, std::string_view* rest) {
  const char quote = text.front();
  std::string out;
  for (size_t i = 1; i < text.size(); ++i) {
    if (text[i] == quote) {
      *rest = trim(text.substr(i + 1));
      return out;
    }
    if (quote == '"' && text[i] == '\\' && i + 1 < text.size()) {
      const char c = text[++i];
      out += c == 'n' ? '\n' : c == 't' ? '\t' : c;
    } else {
      out += text[i];
    }
  }
  return invalid("the value's quotation mark is not closed");
}

Result<std::string> file_value(std::string_view text) {
  if (!text.empty() && (text.front() == '"' || text.front() == '\'')) {
    std::string_view rest;
    MR_TRY(std::string value, unquote(text, &rest));
    if (!rest.empty() && rest.front() != '#') {
      return invalid("something follows the quoted value");
    }
    return value;
  }
  const size_t comment = text.find(" #");
  return std::string(trim(text.substr(0, comment)));
}

}  // namespace

std::string Address::to_string() const {
  return host.find(':') == std::string::npos ? fmt::format("{}:{}", host, port)
                                             : fmt::format("[{}]:{}", host, port);
}

Result<Address> parse_address(std::string_view text) {
  const Error error = invalid("allowed: host:port, with a port from 0 to 65535");
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos || colon == 0) return error;
  Address address;
  address.host = text.substr(0, colon);
  if (address.host.front() == '[') {
    if (address.host.size() < 3 || address.host.back() != ']') return error;
    address.host = address.host.substr(1, address.host.size() - 2);
  } else if (address.host.find(':') != std::string::npos) {
    return invalid("allowed: an IPv6 address stands in brackets, as in [::1]:9092");
  }
  if (address.host.find_first_of(" \t/@[]") != std::string::npos) return error;
  const auto port = text.substr(colon + 1);
  const auto [end, problem] = std::from_chars(port.data(), port.data() + port.size(), address.port);
  if (problem != std::errc() || end != port.data() + port.size()) return error;
  return address;
}

Result<uint64_t> parse_bytes(std::string_view text) {
  static constexpr Unit kUnits[] = {
      {"", 1},          {"b", 1},      {"k", 1024.0},      {"kb", 1e3},     {"kib", 1024.0},
      {"m", 1048576.0}, {"mb", 1e6},   {"mib", 1048576.0}, {"g", 0x1p30},   {"gb", 1e9},
      {"gib", 0x1p30},  {"t", 0x1p40}, {"tb", 1e12},       {"tib", 0x1p40},
  };
  double number = 0;
  std::string unit;
  const Unit* found = split_unit(text, &number, &unit) ? find_unit(kUnits, unit) : nullptr;
  if (!found || number * found->factor >= 0x1p62) {
    return invalid("allowed: bytes with or without a unit, as in 1048576, 512MB, 2GiB");
  }
  return static_cast<uint64_t>(std::llround(number * found->factor));
}

Result<std::chrono::milliseconds> parse_duration(std::string_view text) {
  static constexpr Unit kUnits[] = {{"ms", 1},     {"s", 1e3},    {"m", 60e3},
                                    {"min", 60e3}, {"h", 3600e3}, {"d", 24 * 3600e3}};
  double number = 0;
  std::string unit;
  const bool is_number = split_unit(text, &number, &unit);
  if (is_number && number == 0 && unit.empty()) return std::chrono::milliseconds(0);
  const Unit* found = is_number ? find_unit(kUnits, unit) : nullptr;
  if (!found || number * found->factor >= 0x1p62) {
    return invalid("allowed: a number with its unit (ms, s, m, h, d), as in 250ms, 30s, 7d");
  }
  return std::chrono::milliseconds(std::llround(number * found->factor));
}

Result<bool> parse_bool(std::string_view text) {
  const std::string word = lower(text);
  if (word == "true" || word == "yes" || word == "on" || word == "1") return true;
  if (word == "false" || word == "no" || word == "off" || word == "0") return false;
  return invalid("allowed: true or false");
}

Result<int64_t> parse_integer(std::string_view text) {
  int64_t n = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
  if (error != std::errc() || end != text.data() + text.size()) {
    return invalid("allowed: a whole number");
  }
  return n;
}

Result<Config> Config::load(std::vector<Option> options, const Inputs& inputs) {
  Config config;
  for (auto& option : options) {
    std::string text(option.default_value);
    MR_CHECK(text.empty() || check(option, text));
    config.values_.push_back({std::move(option), std::move(text)});
  }
  if (!inputs.file.empty()) MR_TRY(config.read_file(inputs.file));
  MR_TRY(config.read_environment(inputs));
  for (const auto& [name, value] : inputs.flags) {
    MR_TRY(config.set(name, value, Source::kFlag, "--" + name));
  }
  return config;
}

Result<> Config::set(std::string_view name, std::string value, Source source, std::string origin) {
  Value* at = find(name);
  if (!at) return invalid(fmt::format("{}: {}", origin, unknown(name)));
  if (auto good = check(at->option, value); !good) {
    return invalid(fmt::format("option {} ({}): \"{}\" is not allowed; {}", at->option.name, origin,
                               value, good.error().text));
  }
  at->text = std::move(value);
  at->source = source;
  at->origin = std::move(origin);
  return {};
}

Result<> Config::read_environment(const Inputs& inputs) {
  for (size_t i = 0; i < values_.size(); ++i) {
    const std::string variable = environment_name(values_[i].option.name);
    const char* value =
        inputs.environment ? inputs.environment(variable.c_str()) : std::getenv(variable.c_str());
    // An empty variable means: not set, as shells can only leave it so.
    if (!value || !*value) continue;
    MR_TRY(set(values_[i].option.name, value, Source::kEnvironment, variable));
  }
  return {};
}

Result<> Config::read_file(const std::string& path) {
  std::ifstream in(path);
  if (!in) {
    return Error{ErrorCode::kNotFound,
                 fmt::format("configuration file {} cannot be read; check the path", path)};
  }
  std::string line;
  for (size_t number = 1; std::getline(in, line); ++number) {
    MR_TRY(read_line(trim(line), fmt::format("{}:{}", path, number)));
  }
  if (in.bad()) {
    return Error{ErrorCode::kIo, fmt::format("configuration file {} cannot be read", path)};
  }
  return {};
}

Result<> Config::read_line(std::string_view line, const std::string& origin) {
  if (line.empty() || line.front() == '#') return {};
  const size_t equals = line.find('=');
  if (equals == std::string_view::npos || equals == 0) {
    return invalid(fmt::format("{}: \"{}\" is not `option = value`", origin, line));
  }
  std::string name(trim(line.substr(0, equals)));
  std::ranges::replace(name, '_', '-');
  auto value = file_value(trim(line.substr(equals + 1)));
  if (!value) return invalid(fmt::format("{}: {}", origin, value.error().text));
  Value* known = find(name);
  if (known && known->source == Source::kFile) {
    return invalid(
        fmt::format("{}: option {} was given before, at {}", origin, name, known->origin));
  }
  return set(name, std::move(*value), Source::kFile, origin);
}

Config::Value* Config::find(std::string_view name) {
  for (auto& value : values_) {
    if (value.option.name == name) return &value;
  }
  return nullptr;
}

const Config::Value& Config::get(std::string_view name, Type type) const {
  const Value* value = const_cast<Config*>(this)->find(name);
  MR_CHECK(value && value->option.type == type);
  return *value;
}

std::string Config::unknown(std::string_view name) const {
  std::vector<std::string_view> names;
  for (const auto& value : values_) names.push_back(value.option.name);
  const auto near = nearest(name, names);
  return near.empty() ? fmt::format("no option \"{}\"; there are: {}", name, fmt::join(names, ", "))
                      : fmt::format("no option \"{}\"; did you mean \"{}\"?", name, near);
}

const std::string& Config::text(std::string_view name) const {
  const Value* value = const_cast<Config*>(this)->find(name);
  MR_CHECK(value);
  return value->text;
}

Address Config::address(std::string_view name) const {
  const auto& text = get(name, Type::kAddress).text;
  return text.empty() ? Address{} : *parse_address(text);
}

uint64_t Config::bytes(std::string_view name) const {
  const auto& text = get(name, Type::kBytes).text;
  return text.empty() ? 0 : *parse_bytes(text);
}

int64_t Config::integer(std::string_view name) const {
  const auto& text = get(name, Type::kInteger).text;
  return text.empty() ? 0 : *parse_integer(text);
}

std::chrono::milliseconds Config::duration(std::string_view name) const {
  const auto& text = get(name, Type::kDuration).text;
  return text.empty() ? std::chrono::milliseconds(0) : *parse_duration(text);
}

bool Config::boolean(std::string_view name) const {
  const auto& text = get(name, Type::kBool).text;
  return !text.empty() && *parse_bool(text);
}

Source Config::source(std::string_view name) const {
  const Value* value = const_cast<Config*>(this)->find(name);
  MR_CHECK(value);
  return value->source;
}

}  // namespace millrace::config
