#pragma once

#include <string>
#include <string_view>

#include "log/record_batch.h"

namespace millrace::log {

// A batch of which filters or compaction have left no record is a head alone, which tells a reader
// that there is nothing at its offsets.

/// Whether `batches` may be nothing but such heads, by their length.
inline bool may_be_bare(size_t bytes) { return bytes > 0 && bytes % BatchHeader::kBytes == 0; }
/// Whether `batches` are nothing but such heads.
bool all_bare(std::string_view batches);
/// Puts a control record of no known type at the offsets of the last head: every client passes it
/// over, and has met something. librdkafka takes a fetch of heads alone for one of a message that
/// is too large, asks for twice as much, and after ten of them reports an error. `batches` are
/// all_bare().
void end_in_control(std::string& batches);

}  // namespace millrace::log
