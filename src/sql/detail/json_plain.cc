#include "sql/detail/json_plain.h"

#include <emmintrin.h>

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cstring>
#include <limits>

#include "sql/detail/json_scalar.h"

namespace millrace::sql {
namespace {

constexpr size_t kFieldsMax = 64;  // a bit each
constexpr int kDepthMax = 32;      // of values that no column has
constexpr size_t kPauseMax = 256;
constexpr int kDigitsMax = 18;  // always an int64

bool is_digit(char c) { return c >= '0' && c <= '9'; }
/// How many of the eight bytes are digits from the first on, and their number.
struct Digits {
  int count = 0;
  uint64_t number = 0;
};
inline Digits leading_digits(const char* at) {
  uint64_t bytes = 0;
  std::memcpy(&bytes, at, 8);
  // The lowest byte that is no digit has its high bit set in one of the two; no digit has.
  const uint64_t values = bytes - 0x3030303030303030;
  const uint64_t odd = ((bytes + 0x4646464646464646) | values) & 0x8080808080808080;
  const int count = odd == 0 ? 8 : std::countr_zero(odd) / 8;
  if (count == 0) return {};
  // To the end, with zeros in front; then neighbours are put together, three times.
  uint64_t digits = values << (64 - 8 * count);
  digits = digits * 10 + (digits >> 8);
  const uint64_t low = (digits & 0x000000ff000000ff) * 0x000f424000000064;
  const uint64_t high = ((digits >> 16) & 0x000000ff000000ff) * 0x0000271000000001;
  return {count, (low + high) >> 32};
}
constexpr std::array<uint64_t, 9> kPowersOfTen = {
    1, 10, 100, 1'000, 10'000, 100'000, 1'000'000, 10'000'000, 100'000'000};

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

bool names_itself(std::string_view name) {
  return std::ranges::all_of(
      name, [](char c) { return static_cast<uint8_t>(c) >= 0x20 && c != '"' && c != '\\'; });
}

}  // namespace

PlainReader::PlainReader(const std::vector<JsonReader::Column>& columns) {
  record_.parser_only = columns.size() > kFieldsMax;
  for (const auto& column : columns) {
    Node node = make_node(column.shape);
    node.not_null = column.not_null;
    for (const auto& asked : column.asked) add_asked(node, asked);
    record_.field_names.push_back(column.name);
    record_.fields.push_back(std::move(node));
  }
  finish(record_);
}

PlainReader::Node PlainReader::make_node(const Shape& shape) {
  Node node;
  node.shape = &shape;
  node.form = shape.form;
  if (shape.form == Form::kStruct) {
    node.parser_only = shape.children.size() > kFieldsMax;
    node.field_names = shape.names;
    for (const Shape& child : shape.children) node.fields.push_back(make_node(child));
  } else {
    node.parser_only = shape.form > Form::kStruct || shape.form == Form::kNull;
  }
  return node;
}

void PlainReader::add_asked(Node& node, const JsonReader::Asked& asked) {
  Node* at = &node;
  const size_t target = targets_.size();
  at->below.push_back(target);
  for (const size_t field : asked.path) {
    at = &at->fields[field];
    at->below.push_back(target);
  }
  // A struct that is wanted whole, or a column that goes to two places.
  if (at->shape->form == Form::kStruct || at->target != kNone) at->parser_only = true;
  at->target = target;
  targets_.push_back({.column = asked.target});
}

void PlainReader::finish(Node& node) {
  for (size_t i = 0; i < node.fields.size(); ++i) {
    Node& field = node.fields[i];
    finish(field);
    if (i < kFieldsMax && (field.not_null || !field.below.empty())) node.wanted |= uint64_t{1} << i;
    add_name(node, node.field_names[i], i);
  }
}

void PlainReader::add_name(Node& node, std::string_view text, size_t field) {
  if (!names_itself(text)) return;
  Name name;
  name.text = text;
  name.text += '"';
  const size_t head = std::min(name.text.size(), name.head.size());
  std::memcpy(name.head.data(), name.text.data(), head);
  name.mask = (uint32_t{1} << head) - 1;
  name.field = field;
  name.next = node.names.size() + 1;
  node.names.push_back(std::move(name));
}

void PlainReader::begin(duckdb::DataChunk& out) {
  for (Target& target : targets_) {
    target.vector = &out.data[target.column];
    target.data = duckdb::FlatVector::GetData(*target.vector);
    target.validity = &duckdb::FlatVector::Validity(*target.vector);
    target.alone = !target.vector->GetType().IsNested();
  }
}

bool PlainReader::read(std::string_view json, size_t row) {
  if (pause_ > 0) {
    --pause_;
    return false;
  }
  end_ = json.data() + json.size();
  const char* at = skip_space(json.data());
  if (!record_.parser_only && *at == '{') {
    at = read_object(record_, at, row);
    if (at != nullptr && skip_space(at) == end_) {
      pause_next_ = 1;
      return true;
    }
  }
  pause_ = pause_next_;
  pause_next_ = std::min(2 * pause_next_, kPauseMax);
  return false;
}

inline const char* PlainReader::skip_space(const char* at) const {
  if (static_cast<uint8_t>(*at) > ' ') return at;
  while (at < end_ && is_space(*at)) ++at;
  return at;
}

const char* PlainReader::read_object(Node& node, const char* at, size_t row) {
  uint64_t seen = 0;
  if (const char* first = skip_space(at + 1); *first == '}') {
    at = first + 1;
  } else {
    at = read_fields(node, at, row, seen);
    if (at == nullptr) return nullptr;
  }
  for (uint64_t missing = node.wanted & ~seen; missing != 0; missing &= missing - 1)
    if (!put_nulls(node.fields[static_cast<size_t>(std::countr_zero(missing))], row))
      return nullptr;
  return at;
}

/// What stands at a name's place in a record, 16 bytes of it, against the name and its quote.
inline bool PlainReader::Name::stands_at(const char* at) const {
  const __m128i there = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
  const __m128i wanted = _mm_loadu_si128(reinterpret_cast<const __m128i*>(head.data()));
  const auto equal = static_cast<uint32_t>(_mm_movemask_epi8(_mm_cmpeq_epi8(there, wanted)));
  return (equal & mask) == mask;
}

// What a field goes through is one function, but for what is rare: a call each time costs as much
// as the work.
[[gnu::always_inline]] inline const char* PlainReader::take_name(Node& node, const char* at,
                                                                 size_t& likely,
                                                                 const Name*& name) {
  // As most producers spell it, without spaces: {"name": or ,"name":
  if (likely < node.names.size()) {
    name = &node.names[likely];
    const size_t size = name->text.size();
    if (at[1] == '"' && name->stands_at(at + 2) && size <= name->head.size() &&
        at[size + 2] == ':' && static_cast<ptrdiff_t>(size) + 2 < end_ - at)
      return at + size + 3;
  }
  return find_name_at(node, skip_space(at + 1), likely, name);
}

[[gnu::noinline]] const char* PlainReader::find_name_at(Node& node, const char* at, size_t& likely,
                                                        const Name*& name) {
  if (*at != '"') return nullptr;
  ++at;
  const auto is = [&](const Name& other) {
    const size_t size = other.text.size();
    return other.stands_at(at) && static_cast<ptrdiff_t>(size) <= end_ - at &&
           (size <= 16 || std::memcmp(at + 16, other.text.data() + 16, size - 16) == 0);
  };
  if (likely >= node.names.size() || !is(node.names[likely])) {
    const auto found = std::ranges::find_if(node.names, is);
    likely = static_cast<size_t>(found - node.names.begin());
  }
  if (likely < node.names.size()) {
    name = &node.names[likely];
    at += name->text.size();
  } else {
    at = learn_name(node, at, name);
    if (at == nullptr) return nullptr;
  }
  at = skip_space(at);
  return *at == ':' ? at + 1 : nullptr;
}

[[gnu::always_inline]] inline const char* PlainReader::read_value(Node& node, const char* at,
                                                                  size_t row) {
  if (*at == 'n') return read_null(node, at, row);
  if (node.parser_only) return nullptr;
  switch (node.form) {
    case Form::kStruct:
      return *at == '{' ? read_object(node, at, row) : nullptr;
    case Form::kBool:
      return read_bool(node, at, row);
    case Form::kInt8:
    case Form::kInt16:
    case Form::kInt32:
    case Form::kInt64:
    case Form::kUint8:
    case Form::kUint16:
    case Form::kUint32:
    case Form::kUint64:
      return read_integer(node, at, row);
    case Form::kFloat:
    case Form::kDouble:
    case Form::kDecimal:
      return read_real(node, at, row);
    case Form::kHuge:
    case Form::kUhuge:
      return nullptr;
    case Form::kJson:
      return read_json(node, at, row);
    case Form::kText:
      return *at != '"' && node.target == kNone ? skip_value(at, 0) : read_text(node, at, row);
    case Form::kTimestamp:
    case Form::kTimestampTz:
      return *at != '"' ? read_integer(node, at, row) : read_text(node, at, row);
    default:
      return read_text(node, at, row);
  }
}

const char* PlainReader::read_fields(Node& node, const char* at, size_t row, uint64_t& seen) {
  size_t* likely = &node.first;
  while (true) {  // `at` is the brace, or the comma before the next name
    const Name* name = nullptr;
    at = take_name(node, at, *likely, name);
    if (at == nullptr) return nullptr;
    at = skip_space(at);
    const size_t field = name->field;
    likely = name == &unlearned_ ? &node.first : &node.names[*likely].next;
    if (field == kNone) {
      at = skip_value(at, 0);
    } else {
      const uint64_t bit = uint64_t{1} << field;
      if ((seen & bit) != 0) return nullptr;  // of two the last counts
      seen |= bit;
      at = read_value(node.fields[field], at, row);
    }
    if (at == nullptr) return nullptr;
    at = skip_space(at);
    if (at >= end_) return nullptr;
    if (*at == '}') return at + 1;
    if (*at != ',') return nullptr;
  }
}

const char* PlainReader::learn_name(Node& node, const char* at, const Name*& name) {
  std::string_view text;
  at = take_string(at, &text);
  if (at == nullptr) return nullptr;
  unlearned_.field = find_name(node.field_names, text, 0);
  if (unlearned_.field == node.field_names.size()) unlearned_.field = kNone;
  // A record with thousands of unknown fields teaches nothing.
  if (node.names.size() < 2 * node.fields.size() + 16) add_name(node, text, unlearned_.field);
  name = &unlearned_;
  return at;
}

template <typename T>
bool PlainReader::put_whole(const Node& node, size_t row, int64_t value) {
  if (!std::in_range<T>(value)) return false;
  if (node.target != kNone) targets_[node.target].put<T>(row, static_cast<T>(value));
  return true;
}

const char* PlainReader::read_integer(const Node& node, const char* at, size_t row) {
  int64_t number = 0;
  at = take_integer(at, &number);
  if (at == nullptr) return nullptr;
  const auto put = [&] {
    switch (node.form) {
      case Form::kInt8:
        return put_whole<int8_t>(node, row, number);
      case Form::kInt16:
        return put_whole<int16_t>(node, row, number);
      case Form::kInt32:
        return put_whole<int32_t>(node, row, number);
      case Form::kInt64:
        return put_whole<int64_t>(node, row, number);
      case Form::kUint8:
        return put_whole<uint8_t>(node, row, number);
      case Form::kUint16:
        return put_whole<uint16_t>(node, row, number);
      case Form::kUint32:
        return put_whole<uint32_t>(node, row, number);
      case Form::kUint64:
        return put_whole<uint64_t>(node, row, number);
      default:  // milliseconds since 1970
        return !__builtin_mul_overflow(number, 1000, &number) &&
               put_whole<int64_t>(node, row, number);
    }
  };
  return put() ? at : nullptr;
}

const char* PlainReader::read_real(const Node& node, const char* at, size_t row) {
  std::string_view token;
  at = take_number(at, &token);
  if (at == nullptr) return nullptr;
  const auto read = [&]<typename T>(T number) {
    const auto [end, error] = std::from_chars(token.data(), at, number);
    if (error != std::errc() || end != at) return false;
    if (node.target != kNone) targets_[node.target].put(row, number);
    return true;
  };
  bool fits = false;
  if (node.form == Form::kDouble) {
    fits = read(double{0});
  } else if (node.form == Form::kFloat) {
    fits = read(float{0});
  } else if (node.target == kNone) {
    fits = values_.check_decimal(*node.shape, token);
  } else {
    fits = values_.read_decimal(*node.shape, token, *targets_[node.target].vector, row);
  }
  return fits ? at : nullptr;
}

const char* PlainReader::read_bool(const Node& node, const char* at, size_t row) {
  const bool truth = *at == 't';
  const std::string_view literal = truth ? "true" : "false";
  if (std::memcmp(at, literal.data(), literal.size()) != 0) return nullptr;
  if (node.target != kNone) targets_[node.target].put(row, truth);
  return at + literal.size();
}

const char* PlainReader::read_text(const Node& node, const char* at, size_t row) {
  if (*at != '"') return nullptr;
  std::string_view text;
  at = take_string(at + 1, &text);
  if (at == nullptr) return nullptr;
  if (node.form != Form::kText) {
    const bool fits =
        node.target == kNone
            ? values_.check_string(*node.shape, text)
            : values_.read_string(*node.shape, text, *targets_[node.target].vector, row);
    return fits ? at : nullptr;
  }
  if (node.target != kNone) put_string(*targets_[node.target].vector, row, text);
  return at;
}

const char* PlainReader::read_json(const Node& node, const char* at, size_t row) {
  const char* end = skip_value(at, 0);
  if (end != nullptr && node.target != kNone)
    put_string(*targets_[node.target].vector, row, {at, static_cast<size_t>(end - at)});
  return end;
}

const char* PlainReader::read_null(const Node& node, const char* at, size_t row) {
  return std::memcmp(at, "null", 4) == 0 && put_nulls(node, row) ? at + 4 : nullptr;
}

bool PlainReader::put_nulls(const Node& node, size_t row) {
  if (node.not_null) return false;
  for (const size_t target : node.below) {
    const Target& to = targets_[target];
    if (to.alone) {
      to.validity->SetInvalid(row);
    } else {
      put_null(*to.vector, row);
    }
  }
  return true;
}

const char* PlainReader::take_string(const char* at, std::string_view* text) const {
  const char* begin = at;
  const __m128i quote = _mm_set1_epi8('"'), escape = _mm_set1_epi8('\\');
  const __m128i space = _mm_set1_epi8(' ');
  bool ascii = true;
  const auto special = [&](const char* block) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(block));
    // As signed numbers, bytes past ASCII are below the space, as control characters are.
    const __m128i odd = _mm_cmplt_epi8(bytes, space);
    const __m128i stop = _mm_or_si128(_mm_cmpeq_epi8(bytes, quote), _mm_cmpeq_epi8(bytes, escape));
    return static_cast<uint64_t>(static_cast<uint32_t>(_mm_movemask_epi8(_mm_or_si128(odd, stop))));
  };
  while (at < end_) {
    uint64_t found = special(at);
    if (found == 0) {  // a long one: fewer turns, whose number is easier to foresee
      at += 16;
      if (at >= end_) break;
      found = special(at) | special(at + 16) << 16 | special(at + 32) << 32;
      if (found == 0) {
        at += 48;
        continue;
      }
    }
    at += std::countr_zero(found);
    if (*at == '"') break;
    if (*at == '\\' || static_cast<uint8_t>(*at) < 0x80) return nullptr;
    ascii = false;
    ++at;
  }
  if (at >= end_) return nullptr;
  *text = {begin, static_cast<size_t>(at - begin)};
  return ascii || simdjson::validate_utf8(*text) ? at + 1 : nullptr;
}

[[gnu::always_inline]] inline const char* PlainReader::take_integer(const char* at,
                                                                    int64_t* number) const {
  const bool negative = *at == '-';
  const char* begin = at + (negative ? 1 : 0);
  auto [digits, value] = leading_digits(begin);
  for (int more = 8; digits == more && digits < kDigitsMax; more += 8) {
    const auto [count, number_of] = leading_digits(begin + digits);
    value = value * kPowersOfTen[static_cast<size_t>(count)] + number_of;
    digits += count;
  }
  if (digits == 0 || digits > kDigitsMax || (*begin == '0' && digits > 1)) return nullptr;
  at = begin + digits;
  *number = negative ? -static_cast<int64_t>(value) : static_cast<int64_t>(value);
  return at;
}

const char* PlainReader::take_number(const char* at, std::string_view* token) const {
  const char* begin = at;
  const auto part = [](char c) {
    return is_digit(c) || c == '.' || c == '-' || c == '+' || c == 'e' || c == 'E';
  };
  while (at < end_ && part(*at)) ++at;
  *token = {begin, static_cast<size_t>(at - begin)};
  return is_json_number(*token) ? at : nullptr;
}

const char* PlainReader::skip_value(const char* at, int depth) const {
  std::string_view text;
  switch (*at) {
    case '"':
      return take_string(at + 1, &text);
    case 't':
      return std::memcmp(at, "true", 4) == 0 ? at + 4 : nullptr;
    case 'f':
      return std::memcmp(at, "false", 5) == 0 ? at + 5 : nullptr;
    case 'n':
      return std::memcmp(at, "null", 4) == 0 ? at + 4 : nullptr;
    case '{':
    case '[':
      break;
    default:
      return take_number(at, &text);
  }
  if (depth == kDepthMax) return nullptr;
  const char close = *at == '{' ? '}' : ']';
  at = skip_space(at + 1);
  if (*at == close) return at + 1;
  while (true) {
    if (close == '}') {
      if (*at != '"') return nullptr;
      at = take_string(at + 1, &text);
      if (at == nullptr) return nullptr;
      at = skip_space(at);
      if (*at != ':') return nullptr;
      at = skip_space(at + 1);
    }
    at = skip_value(at, depth + 1);
    if (at == nullptr) return nullptr;
    at = skip_space(at);
    if (at >= end_) return nullptr;
    const char c = *at++;
    if (c == close) return at;
    if (c != ',') return nullptr;
    at = skip_space(at);
  }
}

}  // namespace millrace::sql
