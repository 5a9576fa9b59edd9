#include "pgwire/detail/numeric.h"

#include <fmt/format.h>

#include <vector>

#include "pgwire/detail/wire.h"

namespace millrace::pgwire::detail {
namespace {

constexpr uint16_t kNegative = 0x4000, kNaN = 0xC000, kInfinity = 0xD000, kMinusInfinity = 0xF000;

int16_t group_value(std::string_view four) {
  int value = 0;
  for (char c : four) value = value * 10 + (c - '0');
  return static_cast<int16_t>(value);
}

}  // namespace

void numeric_to_binary(std::string_view decimal, std::string& out) {
  if (decimal == "NaN") {
    put<int32_t>(out, 0);
    put<uint16_t>(out, kNaN);
    put<int16_t>(out, 0);
    return;
  }
  bool negative = decimal.starts_with('-');
  if (negative) decimal.remove_prefix(1);
  size_t point = std::min(decimal.find('.'), decimal.size());
  std::string whole(decimal.substr(0, point));
  std::string fraction(point < decimal.size() ? decimal.substr(point + 1) : "");
  size_t scale = fraction.size();
  // Groups of four digits count from the point, to both sides.
  whole.insert(0, (4 - whole.size() % 4) % 4, '0');
  fraction.append((4 - fraction.size() % 4) % 4, '0');
  std::vector<int16_t> groups;
  for (std::string_view part : {std::string_view(whole), std::string_view(fraction)}) {
    for (size_t i = 0; i < part.size(); i += 4) groups.push_back(group_value(part.substr(i, 4)));
  }
  auto weight = static_cast<int>(whole.size() / 4) - 1;
  size_t first = 0;
  while (first < groups.size() && groups[first] == 0) first++, weight--;
  while (groups.size() > first && groups.back() == 0) groups.pop_back();
  bool zero = first == groups.size();
  put<int16_t>(out, static_cast<int16_t>(groups.size() - first));
  put<int16_t>(out, static_cast<int16_t>(zero ? 0 : weight));
  put<uint16_t>(out, negative && !zero ? kNegative : 0);
  put<int16_t>(out, static_cast<int16_t>(scale));
  for (size_t i = first; i < groups.size(); i++) put<int16_t>(out, groups[i]);
}

Result<std::string> numeric_from_binary(std::string_view bytes) {
  Reader reader(bytes);
  auto count = reader.integer<int16_t>();
  auto weight = reader.integer<int16_t>();
  auto sign = reader.integer<uint16_t>();
  auto scale = reader.integer<int16_t>();
  Error bad{ErrorCode::kProtocol, "a binary numeric is malformed"};
  if (!reader.ok() || count < 0 || reader.left() != static_cast<size_t>(count) * 2) return bad;
  if (sign == kNaN) return std::string("NaN");
  if (sign == kInfinity) return std::string("Infinity");
  if (sign == kMinusInfinity) return std::string("-Infinity");
  // Numbers that DECIMAL and DOUBLE can hold have far fewer digits; this bounds what we build.
  if ((sign != 0 && sign != kNegative) || scale < 0 || scale > 1000 || weight > 250 ||
      weight < -250) {
    return bad;
  }
  std::vector<int16_t> groups;
  for (int i = 0; i < count; i++) {
    groups.push_back(reader.integer<int16_t>());
    if (groups.back() < 0 || groups.back() > 9999) return bad;
  }
  auto group = [&](int power) {  // the group worth 10000^power
    int index = weight - power;
    return index >= 0 && index < count ? groups[static_cast<size_t>(index)] : int16_t{0};
  };
  std::string digits = sign == kNegative ? "-" : "";
  digits += fmt::format("{}", group(std::max<int>(weight, 0)));
  for (int power = std::max<int>(weight, 0) - 1; power >= 0; power--) {
    digits += fmt::format("{:04}", group(power));
  }
  if (scale == 0) return digits;
  std::string fraction;
  for (int power = -1; fraction.size() < static_cast<size_t>(scale); power--) {
    fraction += fmt::format("{:04}", group(power));
  }
  return digits + "." + fraction.substr(0, static_cast<size_t>(scale));
}

}  // namespace millrace::pgwire::detail
