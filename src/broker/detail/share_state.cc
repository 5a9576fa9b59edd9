#include "broker/detail/share_state.h"

#include <fmt/format.h>

#include <charconv>
#include <limits>

namespace millrace::broker::detail {

namespace {

constexpr char kVersion = 1;
constexpr std::string_view kGroupPrefix = "group/";
constexpr std::string_view kStatePrefix = "state/";

Error corrupt(std::string_view what) {
  return Error{ErrorCode::kCorruptRecord, fmt::format("share group state: {}", what)};
}

void put_number(std::string& out, uint64_t n) {
  for (; n >= 0x80; n >>= 7) out.push_back(static_cast<char>(n | 0x80));
  out.push_back(static_cast<char>(n));
}

/// Reads numbers; the first fault sticks.
class Numbers {
 public:
  explicit Numbers(std::string_view bytes) : bytes_(bytes) {}
  uint64_t next() {
    uint64_t n = 0;
    for (int shift = 0; shift < 63; shift += 7) {
      if (bytes_.empty()) break;
      const auto byte = static_cast<unsigned char>(bytes_.front());
      bytes_.remove_prefix(1);
      n |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) return n;
    }
    ok_ = false;
    bytes_ = {};
    return 0;
  }
  bool ok() const { return ok_; }
  size_t left() const { return bytes_.size(); }

 private:
  std::string_view bytes_;
  bool ok_ = true;
};

/// Cuts `text` at the next slash; nullopt when there is none.
std::optional<std::string_view> cut(std::string_view& text) {
  const size_t slash = text.find('/');
  if (slash == text.npos) return std::nullopt;
  const auto part = text.substr(0, slash);
  text.remove_prefix(slash + 1);
  return part;
}

template <typename T>
bool to_number(std::string_view text, T& out) {
  const auto* end = text.data() + text.size();
  const auto [stop, failed] = std::from_chars(text.data(), end, out);
  return failed == std::errc() && stop == end;
}

}  // namespace

std::string share_group_key(std::string_view group) {
  return fmt::format("{}{}", kGroupPrefix, group);
}

std::string share_state_key(std::string_view group, const SharePartitionId& id, uint32_t slot) {
  return fmt::format("{}{}/{}/{}/{}", kStatePrefix, slot, id.topic.to_string(), id.partition,
                     group);
}

Result<ShareStateKey> parse_share_key(std::string_view key) {
  if (key.starts_with(kGroupPrefix))
    return ShareStateKey{std::string(key.substr(kGroupPrefix.size())), std::nullopt, 0};
  if (!key.starts_with(kStatePrefix)) return corrupt("a key of no kind");
  key.remove_prefix(kStatePrefix.size());
  const auto slot = cut(key);
  const auto topic = cut(key);
  const auto partition = cut(key);
  ShareStateKey out;
  SharePartitionId id;
  if (!slot || !topic || !partition || !to_number(*slot, out.slot) ||
      !to_number(*partition, id.partition))
    return corrupt("a key of a partition");
  MR_TRY(id.topic, Uuid::parse(*topic));
  out.id = id;
  out.group = key;
  return out;
}

std::string write_share_state(const ShareStateValue& value) {
  std::string out(1, kVersion);
  put_number(out, value.epoch);
  put_number(out, static_cast<uint64_t>(value.delta.start));
  put_number(out, value.delta.ranges.size());
  Offset end = value.delta.start;
  for (const auto& range : value.delta.ranges) {
    put_number(out, static_cast<uint64_t>(range.first - end));
    put_number(out, static_cast<uint64_t>(range.last - range.first + 1));
    put_number(out, static_cast<uint64_t>(range.state));
    put_number(out, static_cast<uint64_t>(range.deliveries));
    end = range.last + 1;
  }
  return out;
}

Result<ShareStateValue> parse_share_state(std::string_view bytes) {
  if (bytes.empty() || bytes.front() != kVersion) return corrupt("a version that is not known");
  Numbers in(bytes.substr(1));
  ShareStateValue value;
  value.epoch = in.next();
  value.delta.start = static_cast<Offset>(in.next());
  const uint64_t count = in.next();
  constexpr uint64_t kRangeBytesMin = 4;
  if (!in.ok() || count > in.left() / kRangeBytesMin) return corrupt("a value that is cut short");
  constexpr auto kEnd = static_cast<uint64_t>(std::numeric_limits<Offset>::max() / 2);
  auto end = static_cast<uint64_t>(value.delta.start);
  for (uint64_t i = 0; i < count; ++i) {
    const uint64_t gap = in.next();
    const uint64_t length = in.next();
    const uint64_t state = in.next();
    const uint64_t deliveries = in.next();
    if (!in.ok() || gap > kEnd || length == 0 || length > kEnd || end > kEnd ||
        state > static_cast<uint64_t>(RecordState::kArchived) ||
        deliveries > std::numeric_limits<int16_t>::max())
      return corrupt("a range that cannot be");
    value.delta.ranges.push_back(
        {static_cast<Offset>(end + gap), static_cast<Offset>(end + gap + length - 1),
         static_cast<RecordState>(state), static_cast<int16_t>(deliveries)});
    end += gap + length;
  }
  return value;
}

}  // namespace millrace::broker::detail
