#pragma once
// Smart modules in C++: docs/modules.md. A filter is
//
//     #include <millrace/module.h>
//     MILLRACE_FILTER(errors, [](const millrace::Record& record) {
//       return record.value().find("error") != std::string_view::npos;
//     });
//
// The second argument is any object that can be called so, with what else it keeps from its
// parameters:
//
//     filter      (const Record&) -> bool or Result<bool>: whether the record stays
//     map         (const Record&, Output&) -> void or Status: changes the copy that it is given
//     filter_map  (const Record&, Output&) -> bool or Result<bool>
//     expand      (const Record&, Emit&) -> void or Status: emit() begins each record of the result
//     aggregate   (const Record&, State&, Emit&) -> void or Status
//     scalar      (arguments...) -> T or Result<T>; std::string_view, int64_t, double, bool, or an
//     optional of one
//
//     Status init(const Parameters&)            once, before the first record; without it no
//     parameter is allowed Status look_back(const Record&)           for each last record of the
//     topic; with MILLRACE_LOOK_BACK(name)
//
// A record that fails leaves nothing behind: neither what it emitted, nor its state.
#include <bit>
#include <tuple>
#include <type_traits>

#include "millrace/json.h"
#include "millrace/record.h"

namespace millrace {

namespace detail {

constexpr bool is_name(std::string_view name) {
  for (const char c : name) {
    if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '_') return false;
  }
  return !name.empty() && name.find("__") == std::string_view::npos;
}

/// The batch that a call gives back, built record by record.
class Builder {
 public:
  Builder(const abi::Batch& in, uint32_t room) : in_(in), room_(room) {
    batch_ = abi::take_array<abi::Batch>(1);
    *batch_ = {};
    batch_->version = 1;
    batch_->records = abi::take_array<abi::Record>(room);
    batch_->state_count = in.state_count;
    batch_->states = in.states;
  }
  abi::Record& add(uint32_t input) {
    if (batch_->count == room_) {
      auto* more = abi::take_array<abi::Record>(room_ * 2 + 16);
      std::memcpy(more, batch_->records, room_ * sizeof(abi::Record));
      batch_->records = more;
      room_ = room_ * 2 + 16;
    }
    abi::Record& record = batch_->records[batch_->count++] = in_.records[input];
    record.input = input;
    return record;
  }
  void error(uint32_t input, Failure why) {
    if (batch_->errors == nullptr) batch_->errors = abi::take_array<abi::Error>(in_.count);
    batch_->errors[batch_->error_count++] = {input, why.message.data(),
                                             static_cast<uint32_t>(why.message.size())};
  }
  uint32_t count() const { return batch_->count; }
  void cut(uint32_t count) { batch_->count = count; }
  abi::Batch* done() { return batch_; }

 private:
  const abi::Batch& in_;
  uint32_t room_;
  abi::Batch* batch_;
};

/// What a call gave: whether to keep, and the failure if it is one.
template <typename Call>
Result<bool> kept(Call&& call) {
  using T = decltype(call());
  if constexpr (std::is_void_v<T>) {
    call();
    return true;
  } else if constexpr (std::is_same_v<T, Status>) {
    const Status status = call();
    if (!status) return status.why();
    return true;
  } else {
    return call();
  }
}

}  // namespace detail

/// Where expand and aggregate put their records.
class Emit {
 public:
  Emit(detail::Builder& to, uint32_t input) : to_(to), input_(input) {}
  /// Begins a record of the result, as the one it comes from; to be changed until the next is
  /// begun.
  Output operator()() { return Output(to_.add(input_)); }

 private:
  detail::Builder& to_;
  uint32_t input_;
};

namespace kinds {

template <typename T>
abi::Batch* filter(T& transform, const abi::Batch& in) {
  detail::Builder out(in, in.count);
  for (uint32_t i = 0; i < in.count; ++i) {
    const abi::Record& record = in.records[i];
    const Result<bool> keep = transform(Record(record));
    if (!keep) {
      out.error(i, keep.why());
    } else if (*keep) {
      out.add(i);
    }
  }
  return out.done();
}

/// filter_map, and map, which always keeps.
template <typename T>
abi::Batch* filter_map(T& transform, const abi::Batch& in) {
  detail::Builder out(in, in.count);
  for (uint32_t i = 0; i < in.count; ++i) {
    const abi::Record& record = in.records[i];
    const uint32_t before = out.count();
    Output output(out.add(i));
    const Result<bool> keep = detail::kept([&] { return transform(Record(record), output); });
    if (!keep || !*keep) out.cut(before);
    if (!keep) out.error(i, keep.why());
  }
  return out.done();
}

template <typename T>
abi::Batch* map(T& transform, const abi::Batch& in) {
  return filter_map(transform, in);
}

template <typename T>
abi::Batch* expand(T& transform, const abi::Batch& in) {
  detail::Builder out(in, in.count);
  for (uint32_t i = 0; i < in.count; ++i) {
    const abi::Record& record = in.records[i];
    const uint32_t before = out.count();
    Emit emit(out, i);
    const Result<bool> done = detail::kept([&] { return transform(Record(record), emit); });
    if (done) continue;
    out.cut(before);
    out.error(i, done.why());
  }
  return out.done();
}

template <typename T>
abi::Batch* aggregate(T& transform, const abi::Batch& in) {
  detail::Builder out(in, in.count);
  for (uint32_t i = 0; i < in.count; ++i) {
    const abi::Record& record = in.records[i];
    const uint32_t before = out.count();
    abi::State& known = in.states[record.state];
    const abi::State as_it_was = known;
    State state(known);
    Emit emit(out, i);
    const Result<bool> done = detail::kept([&] { return transform(Record(record), state, emit); });
    if (done) continue;
    known = as_it_was;
    out.cut(before);
    out.error(i, done.why());
  }
  return out.done();
}

}  // namespace kinds

namespace detail {

/// One SQL type: how an argument of it is read, and a result written.
template <typename T>
struct Sql {
  static_assert(
      std::is_same_v<T, int64_t> || std::is_same_v<T, double> || std::is_same_v<T, bool>,
      "a scalar takes and gives std::string_view, int64_t, double, bool, or optionals of them");
  static bool reads(const abi::Header& argument) { return argument.value_size == sizeof(T); }
  static T read(const abi::Header& argument) {
    T value;
    std::memcpy(&value, argument.value, sizeof(T));
    return value;
  }
  static void write(Output& out, T value) {
    char* at = abi::take(sizeof(T));
    std::memcpy(at, &value, sizeof(T));
    out.set_value(std::string_view(at, sizeof(T)));
  }
};
template <>
struct Sql<std::string_view> {
  static bool reads(const abi::Header&) { return true; }
  static std::string_view read(const abi::Header& a) { return view(a.value, a.value_size); }
  static void write(Output& out, std::string_view value) { out.set_value(value); }
};
template <typename T>
struct Sql<std::optional<T>> {
  static bool reads(const abi::Header& a) { return a.value_size < 0 || Sql<T>::reads(a); }
  static std::optional<T> read(const abi::Header& a) {
    if (a.value_size < 0) return std::nullopt;
    return Sql<T>::read(a);
  }
  static void write(Output& out, const std::optional<T>& value) {
    if (value) {
      Sql<T>::write(out, *value);
    } else {
      out.clear_value();
    }
  }
};
template <typename T>
constexpr bool is_optional = false;
template <typename T>
constexpr bool is_optional<std::optional<T>> = true;

template <typename T>
Status write_result(Output& out, const Result<T>& value) {
  if (!value) return value.why();
  Sql<T>::write(out, *value);
  return {};
}
template <typename T>
Status write_result(Output& out, const T& value) {
  Sql<T>::write(out, value);
  return {};
}

template <typename T>
struct Scalar : Scalar<decltype(&T::operator())> {};
template <typename C, typename R, typename... A>
struct Scalar<R (C::*)(A...)> : Scalar<R (C::*)(A...) const> {};
template <typename C, typename R, typename... A>
struct Scalar<R (C::*)(A...) const> {
  template <typename T>
  static Status call(T& transform, const abi::Record& row, Output& out) {
    return call(transform, row, out, std::index_sequence_for<A...>());
  }
  template <typename T, size_t... i>
  static Status call(T& transform, const abi::Record& row, Output& out, std::index_sequence<i...>) {
    if (row.header_count != sizeof...(A)) {
      return failure("it takes ", sizeof...(A), " arguments, not ", row.header_count);
    }
    // SQL's rule: null of null, save where the function says that it looks at nulls.
    if ((... || (row.headers[i].value_size < 0 && !is_optional<std::decay_t<A>>))) {
      out.clear_value();
      return {};
    }
    if (!(... && Sql<std::decay_t<A>>::reads(row.headers[i])))
      return failure("an argument is of another type");
    return write_result(out, transform(Sql<std::decay_t<A>>::read(row.headers[i])...));
  }
};

}  // namespace detail

namespace kinds {

template <typename T>
abi::Batch* scalar(T& transform, const abi::Batch& in) {
  const auto row = [&](const Record& record, Output& out) {
    out.clear_headers();
    return detail::Scalar<T>::call(transform, record.raw(), out);
  };
  return filter_map(row, in);
}

}  // namespace kinds

namespace detail {

/// The parameters for T's init, kept for the module's life. A name that nobody asked for is an
/// error: it is a typing one.
template <typename T>
bool init(T& transform, const abi::Batch& given) {
  const abi::Record none{};
  const abi::Record& record = given.count == 0 ? none : given.records[0];
  const uint32_t count = record.header_count;
  auto* headers = static_cast<abi::Header*>(std::malloc(count * sizeof(abi::Header) + 1));
  auto* asked = static_cast<bool*>(std::calloc(count + 1, 1));
  if (headers == nullptr || asked == nullptr) __builtin_trap();
  for (uint32_t i = 0; i < count; ++i) {
    headers[i] = record.headers[i];
    headers[i].name = abi::keep(headers[i].name, headers[i].name_size);
    headers[i].value =
        abi::keep(headers[i].value,
                  static_cast<size_t>(headers[i].value_size < 0 ? 0 : headers[i].value_size));
  }
  Status status;
  const Parameters parameters(headers, count, asked);
  if constexpr (requires { transform.init(parameters); }) {
    status = transform.init(parameters);
  } else if (count != 0) {
    const std::string_view name(headers[0].name, headers[0].name_size);
    status = failure("takes no parameters, and was given \"", name, "\"");
  }
  for (uint32_t i = 0; status && i < count; ++i) {
    if (!asked[i])
      status = failure("there is no parameter '",
                       std::string_view(headers[i].name, headers[i].name_size), "'");
  }
  if (!status) abi::fail(status.why().message);
  return status.ok();
}

template <typename T>
bool look_back(T& transform, const abi::Batch& last) {
  for (uint32_t i = 0; i < last.count; ++i) {
    const Status status = transform.look_back(Record(last.records[i]));
    if (status) continue;
    abi::fail(status.why().message);
    return false;
  }
  return true;
}

/// For tests: what is registered, by name.
#if !defined(__wasm__)
struct Registered {
  std::string_view kind, name;
  abi::Batch* (*run)(abi::Batch*);
  bool (*init)(abi::Batch*);
  bool (*look_back)(abi::Batch*);
  void (*restart)();
  Registered* next;
  inline static Registered* first = nullptr;
  Registered(std::string_view k, std::string_view n, abi::Batch* (*r)(abi::Batch*),
             bool (*i)(abi::Batch*), void (*again)())
      : kind(k), name(n), run(r), init(i), look_back(nullptr), restart(again), next(first) {
    first = this;
  }
};
#endif

}  // namespace detail
}  // namespace millrace

#if defined(__wasm__)
extern "C" MILLRACE_EXPORT("millrace_abi_1") inline void millrace_abi_1() {}
extern "C" MILLRACE_EXPORT("millrace_alloc") inline char* millrace_alloc(uint32_t size) {
  millrace::abi::arena.reset();
  return millrace::abi::arena.take(size);
}
#define MILLRACE_REGISTER_(kind, name)
#define MILLRACE_REGISTER_LOOK_BACK_(name)
#else
#define MILLRACE_REGISTER_(kind, name)                              \
  static ::millrace::detail::Registered millrace_registered_##name( \
      #kind, #name, millrace_run_##name, millrace_init_##name,      \
      [] { millrace_transform_##name(true); });
#define MILLRACE_REGISTER_LOOK_BACK_(name)  \
  static const bool millrace_looks_##name = \
      (millrace_registered_##name.look_back = millrace_look_back_##name) != nullptr;
#endif

#define MILLRACE_TRANSFORM_(kind, name, ...)                                                  \
  static_assert(::millrace::detail::is_name(#name),                                           \
                "a transform's name is of a-z, 0-9 and single _");                            \
  static auto& millrace_transform_##name([[maybe_unused]] bool again = false) {               \
    static const auto make = [] { return new auto(__VA_ARGS__); };                            \
    static auto* transform = make();                                                          \
    if (again) transform = make();                                                            \
    return *transform;                                                                        \
  }                                                                                           \
  extern "C" MILLRACE_EXPORT(                                                                 \
      "millrace__" #kind                                                                      \
      "__" #name)::millrace::abi::Batch* millrace_run_##name(::millrace::abi::Batch* batch) { \
    return ::millrace::kinds::kind(millrace_transform_##name(), *batch);                      \
  }                                                                                           \
  extern "C" MILLRACE_EXPORT("millrace__init__" #name) bool millrace_init_##name(             \
      ::millrace::abi::Batch* parameters) {                                                   \
    return ::millrace::detail::init(millrace_transform_##name(), *parameters);                \
  }                                                                                           \
  MILLRACE_REGISTER_(kind, name)                                                              \
  static_assert(true)

#define MILLRACE_FILTER(name, ...) MILLRACE_TRANSFORM_(filter, name, __VA_ARGS__)
#define MILLRACE_MAP(name, ...) MILLRACE_TRANSFORM_(map, name, __VA_ARGS__)
#define MILLRACE_FILTER_MAP(name, ...) MILLRACE_TRANSFORM_(filter_map, name, __VA_ARGS__)
#define MILLRACE_EXPAND(name, ...) MILLRACE_TRANSFORM_(expand, name, __VA_ARGS__)
#define MILLRACE_AGGREGATE(name, ...) MILLRACE_TRANSFORM_(aggregate, name, __VA_ARGS__)
#define MILLRACE_SCALAR(name, ...) MILLRACE_TRANSFORM_(scalar, name, __VA_ARGS__)

/// Besides one of the above: gives the transform the last records of its topic before the first
/// batch.
#define MILLRACE_LOOK_BACK(name)                                                            \
  extern "C" MILLRACE_EXPORT("millrace__look_back__" #name) bool millrace_look_back_##name( \
      ::millrace::abi::Batch* last) {                                                       \
    return ::millrace::detail::look_back(millrace_transform_##name(), *last);               \
  }                                                                                         \
  MILLRACE_REGISTER_LOOK_BACK_(name)                                                        \
  static_assert(true)
