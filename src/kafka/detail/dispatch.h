#pragma once

#include "kafka/detail/services.h"

namespace millrace::kafka {

/// Whether requests of this key have a handler.
bool is_answered(int16_t api_key);

/// Decodes the body that `in` stands before, has it handled, encodes the answer with its header and
/// length; nullopt when none is sent (Produce with acks=0). `in`'s bytes outlive the task. Errors:
/// what the connection must be closed for: kProtocol, kUnsupportedVersion, kInternal.
io::Task<Result<std::optional<Encoded>>> dispatch(Context& context, Reader in);

}  // namespace millrace::kafka
