#include "broker/quotas.h"

namespace millrace::broker {

namespace {

class QuotasImpl final : public Quotas {
 public:
  io::Task<void> close() override { co_return; }
};

}  // namespace

io::Task<Result<std::unique_ptr<Quotas>>> Quotas::open(io::Runtime&, io::Env&, Broker&) {
  co_return std::unique_ptr<Quotas>(std::make_unique<QuotasImpl>());
}

}  // namespace millrace::broker
