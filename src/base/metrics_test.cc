#include "base/metrics.h"

#include <gmock/gmock.h>

namespace millrace {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(Metrics, SameNameAndLabelsGiveTheSameInstrument) {
  Metrics metrics;
  auto& a = metrics.counter("millrace_test_total", "help", {{"topic", "a"}});
  auto& again = metrics.counter("millrace_test_total", "help", {{"topic", "a"}});
  auto& b = metrics.counter("millrace_test_total", "help", {{"topic", "b"}});
  EXPECT_EQ(&a, &again);
  EXPECT_NE(&a, &b);
  a.add();
  a.add(2);
  EXPECT_EQ(a.value(), 3);
  EXPECT_EQ(b.value(), 0);
}

TEST(Metrics, RendersTheTextExpositionFormat) {
  Metrics metrics;
  metrics.counter("millrace_test_records_total", "Records in.", {{"topic", "a\"b"}}).add(7);
  metrics.gauge("millrace_test_bytes", "Bytes.").set(1.5);
  auto& histogram = metrics.histogram("millrace_test_seconds", "Time.", {0.1, 1});
  histogram.observe(0.05);
  histogram.observe(0.5);
  const auto text = metrics.render();
  EXPECT_THAT(text, HasSubstr("# HELP millrace_test_records_total Records in.\n"
                              "# TYPE millrace_test_records_total counter\n"
                              "millrace_test_records_total{topic=\"a\\\"b\"} 7\n"));
  EXPECT_THAT(text, HasSubstr("# TYPE millrace_test_bytes gauge\nmillrace_test_bytes 1.5\n"));
  EXPECT_THAT(text, HasSubstr("millrace_test_seconds_bucket{le=\"1\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("millrace_test_seconds_count 2\n"));
}

TEST(Metrics, ForgetsWhatIsRemovedAndLetsItsHolderGoOn) {
  Metrics metrics;
  auto& gone = metrics.counter("millrace_test_total", "help", {{"topic", "a"}});
  metrics.remove("millrace_test_total", {{"topic", "a"}});
  gone.add();
  EXPECT_THAT(metrics.render(), Not(HasSubstr("millrace_test_total")));
  EXPECT_EQ(metrics.counter("millrace_test_total", "help", {{"topic", "a"}}).value(), 0);
}

TEST(Metrics, CallsHooksBeforeEachRender) {
  Metrics metrics;
  int calls = 0;
  metrics.before_render([&] { metrics.gauge("millrace_test_calls", "help").set(++calls); });
  EXPECT_THAT(metrics.render(), HasSubstr("millrace_test_calls 1\n"));
  EXPECT_THAT(metrics.render(), HasSubstr("millrace_test_calls 2\n"));
}

}  // namespace
}  // namespace millrace
