#pragma once

#include <coroutine>
#include <deque>

#include "base/check.h"
#include "base/io/shard.h"

namespace millrace::broker::detail {

/// Lets what was begun in an order go on in that order, though the work in between ends in any:
/// each takes a ticket at its beginning and awaits its turn later. Belongs to one shard.
class InOrder {
 public:
  explicit InOrder(io::Shard& shard) : shard_(shard) {}
  InOrder(const InOrder&) = delete;
  InOrder& operator=(const InOrder&) = delete;
  ~InOrder() { MR_CHECK(places_.empty()); }

  /// Those behind go on when it is gone.
  class Ticket {
   public:
    explicit Ticket(InOrder& order) : order_(order), number_(order.first_ + order.places_.size()) {
      order.places_.emplace_back();
    }
    Ticket(const Ticket&) = delete;
    Ticket& operator=(const Ticket&) = delete;
    ~Ticket() { end(); }
    /// Once; nobody need wait for this one any more.
    void end() {
      if (!std::exchange(ended_, true)) order_.end(number_);
    }
    /// `co_await ticket.turn()`: when all before it have ended.
    auto turn() {
      struct Wait {
        Ticket& ticket;
        bool await_ready() const noexcept { return ticket.number_ == ticket.order_.first_; }
        void await_suspend(std::coroutine_handle<> h) const {
          ticket.order_.place(ticket.number_).waiting = h;
        }
        void await_resume() const noexcept {}
      };
      return Wait{*this};
    }

   private:
    InOrder& order_;
    const uint64_t number_;
    bool ended_ = false;
  };

 private:
  struct Place {
    std::coroutine_handle<> waiting = nullptr;
    bool ended = false;
  };
  Place& place(uint64_t number) { return places_[number - first_]; }
  void end(uint64_t number) {
    place(number).ended = true;
    while (!places_.empty() && places_.front().ended) {
      places_.pop_front();
      ++first_;
    }
    if (places_.empty()) return;
    // Later: who ends a turn may be in a destructor.
    if (const auto next = std::exchange(places_.front().waiting, nullptr)) {
      shard_.post([next] { next.resume(); });
    }
  }

  io::Shard& shard_;
  uint64_t first_ = 0;
  std::deque<Place> places_;
};

}  // namespace millrace::broker::detail
