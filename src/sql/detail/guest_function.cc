#include "sql/detail/guest_function.h"

#include <fmt/format.h>

#include <cstring>
#include <duckdb/execution/expression_executor.hpp>
#include <duckdb/planner/expression/bound_function_expression.hpp>

#include "broker/transforms.h"
#include "catalog/function.h"
#include "sql/detail/errors.h"
#include "sql/detail/lexer.h"
#include "sql/format.h"
#include "wasm/chain.h"

namespace millrace::sql {
namespace {

using duckdb::LogicalTypeId;

struct Info : duckdb::ScalarFunctionInfo {
  Info(Core& c, const catalog::Object& function, bool p)
      : core(c), name(function.name), signature(catalog::scalar_signature(function)), planning(p) {}
  Core& core;
  const std::string name;
  const std::string signature;
  const bool planning;
};

/// One chunk's rows as the guest gets them; kept between chunks for its room.
struct Rows : duckdb::FunctionLocalState {
  std::vector<wasm::HeaderView> arguments;  // row by row
  std::vector<wasm::RecordView> records;
};

[[noreturn]] void fail(const Info& info, std::string_view why) {
  throw CarriedError(Error{ErrorCode::kGuestFailed,
                           fmt::format("function {} failed: {}", quoted(info.name), why)});
}

/// For what no row is to blame for: a view must not set its rows aside, and stops.
[[noreturn]] void give_up(const Info& info, const Error& error) {
  throw CarriedError(error, info.planning ? duckdb::ExceptionType::OUT_OF_MEMORY
                                          : duckdb::ExceptionType::INVALID_INPUT);
}

/// The bytes of a value, where they lie in the vector.
std::string_view bytes_at(const duckdb::UnifiedVectorFormat& format, LogicalTypeId type,
                          size_t at) {
  switch (type) {
    case LogicalTypeId::BOOLEAN:
      return {reinterpret_cast<const char*>(format.data) + at, 1};
    case LogicalTypeId::BIGINT:
    case LogicalTypeId::DOUBLE:
      return {reinterpret_cast<const char*>(format.data) + at * 8, 8};
    default: {
      const auto& text = duckdb::UnifiedVectorFormat::GetData<duckdb::string_t>(format)[at];
      return {text.GetData(), text.GetSize()};
    }
  }
}

void take_rows(duckdb::DataChunk& chunk, size_t count, Rows& rows) {
  const size_t width = chunk.ColumnCount();
  rows.arguments.assign(count * width, {});
  rows.records.assign(count, {});
  for (size_t c = 0; c < width; ++c) {
    duckdb::UnifiedVectorFormat format;
    chunk.data[c].ToUnifiedFormat(count, format);
    const auto type = chunk.data[c].GetType().id();
    for (size_t i = 0; i < count; ++i) {
      const auto at = format.sel->get_index(i);
      if (format.validity.RowIsValid(at)) {
        rows.arguments[i * width + c].value = bytes_at(format, type, at);
      }
    }
  }
  for (size_t i = 0; i < count; ++i) {
    rows.records[i].headers = std::span(rows.arguments).subspan(i * width, width);
  }
}

void put_result(const Info& info, const wasm::RecordView& record, size_t row,
                duckdb::Vector& result) {
  if (!record.value) return duckdb::FlatVector::SetNull(result, row, true);
  const auto bytes = *record.value;
  const auto type = result.GetType().id();
  if (type == LogicalTypeId::VARCHAR || type == LogicalTypeId::BLOB) {
    if (type == LogicalTypeId::VARCHAR &&
        !duckdb::Value::StringIsValid(bytes.data(), bytes.size())) {
      fail(info, "its result is no UTF-8 text");
    }
    duckdb::FlatVector::GetData<duckdb::string_t>(result)[row] =
        duckdb::StringVector::AddStringOrBlob(result, bytes.data(), bytes.size());
    return;
  }
  const size_t size = type == LogicalTypeId::BOOLEAN ? 1 : 8;
  if (bytes.size() != size) {
    fail(info, fmt::format("its result has {} bytes; {} has {}", bytes.size(),
                           result.GetType().ToString(), size));
  }
  auto* to = duckdb::FlatVector::GetData(result) + row * size;
  if (type == LogicalTypeId::BOOLEAN) {
    *to = bytes[0] != 0 ? 1 : 0;
  } else {
    std::memcpy(to, bytes.data(), size);
  }
}

void call(duckdb::DataChunk& chunk, duckdb::ExpressionState& state, duckdb::Vector& result) {
  const auto& info = state.expr.Cast<duckdb::BoundFunctionExpression>()
                         .function.GetExtraFunctionInfo()
                         .Cast<Info>();
  auto* transforms = info.core.broker.transforms();
  if (!transforms) {
    throw CarriedError(Error{ErrorCode::kNotSupported, "functions in wasm cannot be run here"});
  }
  const auto guests =
      transforms->scalar(info.name, info.signature,
                         info.planning ? broker::ScalarPlace::kView : broker::ScalarPlace::kQuery);
  if (!guests) give_up(info, guests.error());
  const bool constant = chunk.AllConstant();
  const size_t count = constant ? 1 : chunk.size();
  auto& rows = duckdb::ExecuteFunctionState::GetFunctionState(state)->Cast<Rows>();
  take_rows(chunk, count, rows);
  const auto output = (*guests)->apply({.records = rows.records});
  if (!output) {
    const bool paused = (*guests)->options().steps.front().module->paused();
    if (paused || output.error().code != ErrorCode::kGuestFailed) give_up(info, output.error());
    throw CarriedError(output.error());
  }
  if (!output->errors().empty()) fail(info, output->errors().front().message);
  for (const auto& record : output->records()) put_result(info, record, record.input, result);
  if (constant) result.SetVectorType(duckdb::VectorType::CONSTANT_VECTOR);
}

duckdb::unique_ptr<duckdb::FunctionLocalState> make_rows(duckdb::ExpressionState&,
                                                         const duckdb::BoundFunctionExpression&,
                                                         duckdb::FunctionData*) {
  return duckdb::make_uniq<Rows>();
}

duckdb::LogicalType type_of(const std::string& sql) { return parse_type(sql).value(); }

}  // namespace

duckdb::ScalarFunction make_guest_function(Core& core, const catalog::Object& function,
                                           bool planning) {
  duckdb::vector<duckdb::LogicalType> arguments;
  for (const auto& each : function.columns) arguments.push_back(type_of(each.type));
  duckdb::ScalarFunction made(function.name, std::move(arguments),
                              type_of(function.options.at(catalog::kReturns)), call);
  made.SetInitStateCallback(make_rows);
  // Whether null of null is null, the guest says.
  made.SetNullHandling(duckdb::FunctionNullHandling::SPECIAL_HANDLING);
  made.SetFallible();
  made.SetExtraFunctionInfo<Info>(core, function, planning);
  return made;
}

}  // namespace millrace::sql
