#pragma once

namespace millrace {

/// The deleter of a std::unique_ptr for what a C library gives out: calls `kFree`.
template <auto kFree>
struct Frees {
  template <typename T>
  void operator()(T* thing) const {
    kFree(thing);
  }
};

}  // namespace millrace
