#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/io/env.h"
#include "log/detail/segment.h"

namespace millrace::log::detail {

/// Which closed segments a compaction may work on, and whether it is worth it.
struct Dirty {
  size_t segments = 0;  // from the front
  Offset end = 0;       // of them
  bool worth = false;
};

/// Segments that make way for one. From the moment that its file has the name `.swap`, the new one
/// is what the log holds, whatever happens next; until then the old ones are.
struct Swap {
  std::unique_ptr<Segment> fresh;
  std::vector<std::unique_ptr<Reading>> sources;  // in place until they have made way
  size_t count = 0;                               // of them
  Offset end = 0;                                 // of them
};

/// Takes whole batches off a file, from its start on, in pieces that bound what is done at once.
class BatchChunks {
 public:
  BatchChunks(io::File& file, uint64_t size) : file_(file), size_(size) {}
  /// The next whole batches, good until the next call; empty at the end. Errors: kCorruptRecord
  /// when the file ends inside a batch, kIo.
  io::Task<Result<std::string_view>> next();

 private:
  io::File& file_;
  uint64_t size_;
  uint64_t position_ = 0;  // of what is read next
  std::string bytes_;
  size_t given_ = 0;
};

std::string cleaned_name(const std::string& folder, Offset base);
std::string swap_name(const std::string& folder, Offset base, Offset end, std::string_view suffix);
/// Puts the segment that stands in a `.swap` file into the place of those from `base` up to `end`.
/// What a crash or a failure has interrupted goes on where it stood.
Result<> finish_swap_files(io::FileSystem& files, const std::string& folder, Offset base,
                           Offset end);
/// At open: finishes the swaps that were begun, removes what a compaction left unfinished.
Result<> recover_swaps(io::FileSystem& files, const std::string& folder);

}  // namespace millrace::log::detail
