#include "base/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <mutex>
#include <sstream>

#include "base/check.h"

namespace millrace {

namespace {

/// An instrument as the registry sees it: something that tells its present value.
class Collected {
 public:
  virtual ~Collected() = default;
  virtual prometheus::ClientMetric collect() const = 0;
};

class CounterImpl final : public Metrics::Counter, public Collected {
 public:
  void add(double n) override { counter_.Increment(n); }
  double value() const override { return counter_.Value(); }
  prometheus::ClientMetric collect() const override { return counter_.Collect(); }

 private:
  prometheus::Counter counter_;
};

class GaugeImpl final : public Metrics::Gauge, public Collected {
 public:
  void set(double v) override { gauge_.Set(v); }
  void add(double n) override { gauge_.Increment(n); }
  prometheus::ClientMetric collect() const override { return gauge_.Collect(); }

 private:
  prometheus::Gauge gauge_;
};

class HistogramImpl final : public Metrics::Histogram, public Collected {
 public:
  explicit HistogramImpl(const std::vector<double>& bounds) : histogram_(bounds) {}
  void observe(double v) override { histogram_.Observe(v); }
  prometheus::ClientMetric collect() const override { return histogram_.Collect(); }

 private:
  prometheus::Histogram histogram_;
};

/// All instruments of one name, by their labels.
struct Family {
  std::string help;
  prometheus::MetricType type;
  std::map<Metrics::Labels, std::unique_ptr<Collected>> instruments;
};

}  // namespace

struct Metrics::Impl {
  std::mutex mutex;
  std::map<std::string, Family> families;
  // Instruments that were removed: whoever still holds a reference may go on counting, unseen.
  std::vector<std::unique_ptr<Collected>> retired;
  std::vector<std::function<void()>> hooks;

  template <typename T, typename... Args>
  T& instrument(const std::string& name, const std::string& help, const Labels& labels,
                prometheus::MetricType type, const Args&... args) {
    std::lock_guard lock(mutex);
    auto& family = families.try_emplace(name, help, type).first->second;
    MR_CHECK(family.type == type);
    auto& slot = family.instruments[labels];
    if (!slot) slot = std::make_unique<T>(args...);
    return static_cast<T&>(*slot);
  }

  std::vector<prometheus::MetricFamily> collect() {
    std::lock_guard lock(mutex);
    std::vector<prometheus::MetricFamily> collected;
    collected.reserve(families.size());
    for (const auto& [name, family] : families) {
      if (family.instruments.empty()) continue;
      prometheus::MetricFamily out{name, family.help, family.type, {}};
      for (const auto& [labels, instrument] : family.instruments) {
        auto metric = instrument->collect();
        for (const auto& [label, value] : labels) metric.label.push_back({label, value});
        out.metric.push_back(std::move(metric));
      }
      collected.push_back(std::move(out));
    }
    return collected;
  }
};

Metrics::Metrics() : impl_(std::make_unique<Impl>()) {}
Metrics::~Metrics() = default;

Metrics::Counter& Metrics::counter(const std::string& name, const std::string& help,
                                   const Labels& labels) {
  return impl_->instrument<CounterImpl>(name, help, labels, prometheus::MetricType::Counter);
}

Metrics::Gauge& Metrics::gauge(const std::string& name, const std::string& help,
                               const Labels& labels) {
  return impl_->instrument<GaugeImpl>(name, help, labels, prometheus::MetricType::Gauge);
}

Metrics::Histogram& Metrics::histogram(const std::string& name, const std::string& help,
                                       const std::vector<double>& bounds, const Labels& labels) {
  return impl_->instrument<HistogramImpl>(name, help, labels, prometheus::MetricType::Histogram,
                                          bounds);
}

void Metrics::remove(const std::string& name, const Labels& labels) {
  std::lock_guard lock(impl_->mutex);
  auto family = impl_->families.find(name);
  if (family == impl_->families.end()) return;
  auto node = family->second.instruments.extract(labels);
  if (node) impl_->retired.push_back(std::move(node.mapped()));
}

void Metrics::before_render(std::function<void()> f) {
  std::lock_guard lock(impl_->mutex);
  impl_->hooks.push_back(std::move(f));
}

std::string Metrics::render() {
  std::vector<std::function<void()>> hooks;
  {
    std::lock_guard lock(impl_->mutex);
    hooks = impl_->hooks;
  }
  for (const auto& hook : hooks) hook();  // unlocked: hooks set gauges, which may be new
  std::ostringstream out;
  prometheus::TextSerializer().Serialize(out, impl_->collect());
  return out.str();
}

}  // namespace millrace
