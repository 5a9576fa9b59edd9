#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace millrace::connect {

/// How a body holds records. kArray: a JSON array, each element one; kLines: each line that is not
/// empty; kJson: one JSON value; kWhole: the bytes as they are.
enum class BodyFormat { kArray, kLines, kJson, kWhole };
BodyFormat body_format(std::string_view name);  // one that Options::one_of() has passed

/// The records' values in `body`, as they stand there. Errors: kInvalidRecord.
Result<std::vector<std::string>> values_of(BodyFormat format, std::string_view body);

/// `value` as an element of a JSON array: itself when it is JSON, else as a JSON string.
std::string json_element(std::string_view value);

}  // namespace millrace::connect
