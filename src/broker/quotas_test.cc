#include "broker/quotas.h"

#include "broker/broker_test_util.h"

namespace millrace::broker {

namespace {

using std::chrono::milliseconds;

class QuotasTest : public BrokerTest {
 protected:
  QuotasTest() { open_quotas(); }
  ~QuotasTest() override { shard().block_on(quotas_->close()); }

  void open_quotas() {
    auto opened = shard().block_on(Quotas::open(runtime_, env_, *broker_));
    ASSERT_TRUE(opened) << opened.error().text;
    quotas_ = std::move(*opened);
  }
  Result<> alter(QuotaEntity entity, std::string name, std::optional<double> value,
                 bool validate_only = false) {
    return shard().block_on(
        quotas_->alter(std::move(entity), {{std::move(name), value}}, validate_only));
  }
  milliseconds produced(std::string_view client, double bytes) {
    return quotas_->charge(QuotaKind::kProducerByteRate, "ANONYMOUS", client, bytes);
  }

  std::unique_ptr<Quotas> quotas_;
};

TEST_F(QuotasTest, AClientWaitsForWhatItHasOverdrawn) {
  ASSERT_TRUE(alter({{"client-id", "a"}}, "producer_byte_rate", 1000));
  EXPECT_EQ(produced("a", 10'000), milliseconds(0));  // what ten seconds allow
  EXPECT_EQ(produced("a", 500), milliseconds(500));
  EXPECT_EQ(produced("b", 1e9), milliseconds(0));
  EXPECT_EQ(quotas_->charge(QuotaKind::kConsumerByteRate, "ANONYMOUS", "a", 1e9), milliseconds(0));
}

TEST_F(QuotasTest, TheWaitIsBounded) {
  ASSERT_TRUE(alter({{"client-id", std::nullopt}}, "producer_byte_rate", 1));
  EXPECT_EQ(produced("a", 1e9), milliseconds(Quotas::kBurst));
}

TEST_F(QuotasTest, TheMostSpecificEntityIsInForce) {
  ASSERT_TRUE(alter({{"client-id", "a"}}, "producer_byte_rate", 1));
  ASSERT_TRUE(alter({{"user", std::nullopt}}, "producer_byte_rate", 1e9));
  EXPECT_EQ(produced("a", 1000), milliseconds(0));
  ASSERT_TRUE(alter({{"user", "ANONYMOUS"}, {"client-id", "a"}}, "producer_byte_rate", 100));
  EXPECT_EQ(produced("a", 1100), milliseconds(1000));
}

TEST_F(QuotasTest, ADefaultCountsForEachNameAlone) {
  ASSERT_TRUE(alter({{"client-id", std::nullopt}}, "producer_byte_rate", 100));
  EXPECT_EQ(produced("a", 1000), milliseconds(0));
  EXPECT_EQ(produced("b", 1000), milliseconds(0));
  EXPECT_EQ(produced("a", 10), milliseconds(100));
}

TEST_F(QuotasTest, SurvivesARestart) {
  ASSERT_TRUE(alter({{"user", "u"}}, "request_percentage", 50));
  ASSERT_TRUE(alter({{"user", "u"}}, "producer_byte_rate", 5));
  ASSERT_TRUE(alter({{"client-id", "gone"}}, "producer_byte_rate", 5));
  ASSERT_TRUE(alter({{"client-id", "gone"}}, "producer_byte_rate", std::nullopt));
  shard().block_on(quotas_->close());
  quotas_.reset();
  reopen();
  open_quotas();
  const auto rows = quotas_->list();
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].entity, (QuotaEntity{{"user", "u"}}));
  EXPECT_EQ(rows[0].values,
            (std::map<std::string, double>{{"producer_byte_rate", 5}, {"request_percentage", 50}}));
}

TEST_F(QuotasTest, RefusesWhatIsNoQuota) {
  for (const auto& refused :
       {alter({}, "producer_byte_rate", 5), alter({{"team", "a"}}, "producer_byte_rate", 5),
        alter({{"user", "a"}}, "producer_byte_rat", 5),
        alter({{"user", "a"}}, "producer_byte_rate", 0),
        alter({{"user", ""}}, "producer_byte_rate", 1)}) {
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::kInvalidArgument);
  }
  EXPECT_EQ(alter({{"user", "a"}}, "producer_byte_rat", 5).error().hint,
            "Did you mean 'producer_byte_rate'?");
  ASSERT_TRUE(alter({{"user", "a"}}, "producer_byte_rate", 5, true));
  EXPECT_TRUE(quotas_->list().empty());
}

}  // namespace

}  // namespace millrace::broker
