#include "broker/transactions.h"

namespace millrace::broker {

namespace {

Error absent() { return {ErrorCode::kNotSupported, "transactions are not supported yet"}; }

class TransactionsImpl final : public Transactions {
 public:
  io::Task<void> close() override { co_return; }
  io::Task<Result<Producer>> init(std::string, int32_t, std::optional<Producer>) override {
    co_return absent();
  }
  io::Task<Result<>> add_partitions(std::string, Producer, std::vector<TopicPartition>) override {
    co_return absent();
  }
  io::Task<Result<std::vector<Result<>>>> verify_partitions(std::string, Producer,
                                                            std::vector<TopicPartition>) override {
    co_return absent();
  }
  io::Task<Result<>> add_group(std::string, Producer, std::string) override { co_return absent(); }
  io::Task<Result<std::vector<Result<>>>> stage_offsets(std::string, Producer, std::string,
                                                        GroupCaller, std::vector<OffsetToCommit>,
                                                        bool) override {
    co_return absent();
  }
  io::Task<Result<Producer>> end(std::string, Producer, bool, bool) override { co_return absent(); }
  std::optional<Admission> try_admit(Producer, std::span<Partition* const>) override {
    return std::nullopt;
  }
  io::Task<Result<Admitted>> admit(std::string, Producer, std::vector<std::shared_ptr<Partition>>,
                                   bool) override {
    co_return absent();
  }
  io::Task<Result<>> recorded(Admission&) override { co_return absent(); }
  io::Task<Result<std::vector<TransactionInfo>>> list(TransactionFilter) override {
    co_return std::vector<TransactionInfo>();
  }
  io::Task<Result<TransactionInfo>> describe(std::string) override { co_return absent(); }
  io::Task<void> expire() override { co_return; }
};

}  // namespace

namespace detail {
class OpenTransaction {};
}  // namespace detail

Transactions::Admission::Admission(std::shared_ptr<detail::OpenTransaction> transaction,
                                   uint64_t awaited)
    : transaction_(std::move(transaction)), awaited_(awaited) {}
Transactions::Admission& Transactions::Admission::operator=(Admission&&) noexcept = default;
Transactions::Admission::~Admission() = default;

io::Task<Result<std::unique_ptr<Transactions>>> Transactions::open(io::Runtime&, io::Env&, Broker&,
                                                                   Groups&, TransactionOptions) {
  co_return std::unique_ptr<Transactions>(std::make_unique<TransactionsImpl>());
}

}  // namespace millrace::broker
