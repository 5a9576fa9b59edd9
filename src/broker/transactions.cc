#include "broker/transactions.h"

namespace millrace::broker {

namespace {

class TransactionsImpl final : public Transactions {
 public:
  io::Task<void> close() override { co_return; }
};

}  // namespace

io::Task<Result<std::unique_ptr<Transactions>>> Transactions::open(io::Runtime&, io::Env&, Broker&,
                                                                   Groups&) {
  co_return std::unique_ptr<Transactions>(std::make_unique<TransactionsImpl>());
}

}  // namespace millrace::broker
