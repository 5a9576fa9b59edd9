#pragma once

#include <limits>
#include <optional>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

#include "kafka/detail/wire.h"

namespace millrace::kafka {

/// Gives random values to a message's fields; the generated fill() functions walk the fields.
class Filler {
 public:
  explicit Filler(uint32_t seed) : random_(seed) {}

  uint64_t below(uint64_t n) { return random_() % n; }

  void fill(bool& to, int16_t, bool) { to = below(2); }
  template <typename T>
    requires std::is_integral_v<T>
  void fill(T& to, int16_t, bool) {
    // Small values, extremes, and anything.
    const uint64_t choice = below(4);
    to = choice == 0   ? std::numeric_limits<T>::min()
         : choice == 1 ? std::numeric_limits<T>::max()
                       : static_cast<T>(below(choice == 2 ? 100 : UINT64_MAX));
  }
  void fill(double& to, int16_t, bool) { to = static_cast<double>(below(1000)) / 8; }
  void fill(Uuid& to, int16_t, bool) {
    for (auto& byte : to.bytes) byte = static_cast<uint8_t>(below(256));
  }
  void fill(std::string& to, int16_t, bool) {
    to.resize(below(10) == 0 ? below(400) : below(12));
    for (auto& c : to) c = static_cast<char>(below(256));
  }
  void fill(Records& to, int16_t, bool) {
    to.owned.resize(below(4) == 0 ? below(3 * Writer::kAsideBytes) : below(100));
    for (auto& c : to.owned) c = static_cast<char>(below(256));
  }
  template <typename T>
  void fill(std::vector<T>& to, int16_t version, bool) {
    to.resize(below(4));
    for (auto& each : to) fill(each, version, false);
  }
  template <typename T>
  void fill(std::optional<T>& to, int16_t version, bool null_allowed) {
    if (null_allowed && below(3) == 0) {
      to.reset();
    } else {
      fill(to.emplace(), version, false);
    }
  }
  /// A struct: the generated function walks its fields.
  template <typename T>
    requires requires(T t, Reader r) { t.read(r, 0); }
  void fill(T& to, int16_t version, bool) {
    fill_fields(to, *this, version);
  }

 private:
  std::mt19937_64 random_;
};

}  // namespace millrace::kafka
