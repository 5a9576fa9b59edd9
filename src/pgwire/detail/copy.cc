#include "pgwire/detail/copy.h"

#include "pgwire/detail/wire.h"

namespace millrace::pgwire::detail {
namespace {

constexpr std::string_view kSignature("PGCOPY\n\377\r\n\0", 11);

void escaped_text(std::string_view value, char delimiter, std::string& out) {
  for (char c : value) {
    switch (c) {
      case '\b':
        out += "\\b";
        break;
      case '\f':
        out += "\\f";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      case '\v':
        out += "\\v";
        break;
      default:
        if (c == '\\' || c == delimiter) out += '\\';
        out += c;
    }
  }
}

void quoted_csv(std::string_view value, const CopyOptions& options, std::string& out) {
  out += options.quote;
  for (char c : value) {
    if (c == options.quote || c == options.escape) out += options.escape;
    out += c;
  }
  out += options.quote;
}

}  // namespace

CopyWriter::CopyWriter(CopyOptions options, const std::vector<duckdb::LogicalType>& types)
    : options_(std::move(options)),
      rows_(types, {options_.format == CopyFormat::kBinary ? Format::kBinary : Format::kText}) {}

void CopyWriter::put_field(std::string_view value, bool only, std::string& out) const {
  if (options_.format == CopyFormat::kText) return escaped_text(value, options_.delimiter, out);
  const char special[] = {options_.delimiter, options_.quote, '\n', '\r'};
  bool quote = value == options_.null || (only && value == "\\.") ||
               value.find_first_of(std::string_view(special, sizeof special)) != value.npos;
  if (quote) {
    quoted_csv(value, options_, out);
  } else {
    out += value;
  }
}

void CopyWriter::start(const std::vector<std::string>& names, std::string& out) const {
  if (!options_.header || options_.format == CopyFormat::kBinary) return;
  Message message(out, 'd');
  for (size_t i = 0; i < names.size(); i++) {
    if (i > 0) out += options_.delimiter;
    put_field(names[i], names.size() == 1, out);
  }
  out += '\n';
}

/// PostgreSQL puts the signature into one message with the first row, and a client relies on it.
void CopyWriter::put_signature(std::string& out) {
  if (std::exchange(signed_, true)) return;
  out += kSignature;
  put<int32_t>(out, 0);  // flags
  put<int32_t>(out, 0);  // header extension
}

void CopyWriter::write(size_t row, std::string& out) {
  Message message(out, 'd');
  const auto& columns = rows_.columns();
  if (options_.format == CopyFormat::kBinary) {
    put_signature(out);
    put<int16_t>(out, static_cast<int16_t>(columns.size()));
    for (const ColumnEncoder& column : columns) put_sized(column, row, out);
    return;
  }
  for (size_t i = 0; i < columns.size(); i++) {
    if (i > 0) out += options_.delimiter;
    value_.clear();
    if (columns[i].append(row, value_)) {
      put_field(value_, columns.size() == 1, out);
    } else {
      out += options_.null;
    }
  }
  out += '\n';
}

void CopyWriter::finish(std::string& out) {
  if (options_.format != CopyFormat::kBinary) return;
  Message message(out, 'd');
  put_signature(out);
  put<int16_t>(out, -1);
}

}  // namespace millrace::pgwire::detail
