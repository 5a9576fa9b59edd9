#include "flow/detail/ranked_rows.h"

#include "base/check.h"

namespace millrace::flow {

bool RankedRows::is_before(std::string_view key, uint64_t number, const Node& other) const {
  ++comparisons_;
  const int order = key.compare(other.key());
  return order != 0 ? order < 0 : number < other.row->number;
}

void RankedRows::insert(Root& root, std::string_view key, Row& row, int64_t weight) {
  auto* made = std::construct_at(static_cast<Node*>(slab_.allocate(sizeof(Node) + key.size())));
  made->total = weight;
  made->row = &row;
  made->key_bytes = static_cast<uint32_t>(key.size());
  // Numbers come in order, so they are mixed well to serve as random.
  uint64_t mixed = (row.number + 1) * 0x9e3779b97f4a7c15ull;
  mixed = (mixed ^ mixed >> 32) * 0xd6e8feb86659fd93ull;
  made->priority = static_cast<uint32_t>(mixed >> 32);
  if (!key.empty()) std::memcpy(made + 1, key.data(), key.size());
  put(root, slab_.handle_of(made));
}

void RankedRows::put(Root& root, Root fresh) {
  Node& made = node(fresh);
  Root* at = &root;
  while (*at != 0 && node(*at).priority >= made.priority) {
    Node& passed = node(*at);
    passed.total += made.total;
    at = is_before(made.key(), made.row->number, passed) ? &passed.left : &passed.right;
  }
  std::tie(made.left, made.right) = split(*at, made.key(), made.row->number);
  made.total += weight(made.left) + weight(made.right);
  *at = fresh;
}

/// What stands before the key and number, and what stands behind.
std::pair<RankedRows::Root, RankedRows::Root> RankedRows::split(Root at, std::string_view key,
                                                                uint64_t number) {
  if (at == 0) return {0, 0};
  Node& one = node(at);
  const int64_t mine = own(one);
  if (is_before(key, number, one)) {
    const auto [before, behind] = split(one.left, key, number);
    one.left = behind;
    one.total = mine + weight(one.left) + weight(one.right);
    return {before, at};
  }
  const auto [before, behind] = split(one.right, key, number);
  one.right = before;
  one.total = mine + weight(one.left) + weight(one.right);
  return {at, behind};
}

/// All of `left` stands before all of `right`.
RankedRows::Root RankedRows::merge(Root left, Root right) {
  if (left == 0 || right == 0) return left + right;
  Node &before = node(left), &behind = node(right);
  if (before.priority >= behind.priority) {
    before.total += behind.total;
    before.right = merge(before.right, right);
    return left;
  }
  behind.total += before.total;
  behind.left = merge(left, behind.left);
  return right;
}

void RankedRows::take_out(Root& at) {
  Node& gone = node(at);
  at = merge(gone.left, gone.right);
  slab_.release(&gone, bytes_of(gone));
}

void RankedRows::change(Root& root, std::string_view key, const Row& row, int64_t change) {
  Root* at = &root;
  for (;;) {
    MR_CHECK(*at != 0);
    Node& one = node(*at);
    one.total += change;
    if (one.row == &row) break;
    at = is_before(key, row.number, one) ? &one.left : &one.right;
  }
  if (own(node(*at)) == 0) take_out(*at);
}

RankedRows::Row* RankedRows::at(Root root, int64_t rank) const {
  while (root != 0) {
    const Node& one = node(root);
    const int64_t before = weight(one.left), mine = own(one);
    if (rank < before) {
      root = one.left;
      continue;
    }
    if (rank < before + mine) return one.row;
    rank -= before + mine;
    root = one.right;
  }
  return nullptr;
}

void RankedRows::keep_first(Root& root) {
  while (node(root).left != 0) {
    const Root before = std::exchange(node(root).left, 0);
    clear(root);
    root = before;
  }
  Node& first = node(root);
  first.total = own(first);
  clear(first.right);
}

void RankedRows::clear(Root& root) {
  if (root == 0) return;
  Node& gone = node(root);
  clear(gone.left);
  clear(gone.right);
  slab_.release(&gone, bytes_of(gone));
  root = 0;
}

}  // namespace millrace::flow
