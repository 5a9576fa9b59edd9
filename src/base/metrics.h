#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace millrace {

/// Numbers that a node reports, in Prometheus form. One per node, handed down through io::Env. Any
/// thread. Names follow Prometheus: millrace_<room>_<what>_<unit>, counters end in _total.
class Metrics {
 public:
  using Labels = std::map<std::string, std::string>;

  /// A number that only grows. Cheap: one atomic add.
  class Counter {
   public:
    virtual ~Counter() = default;
    virtual void add(double n = 1) = 0;
    virtual double value() const = 0;
  };
  class Gauge {
   public:
    virtual ~Gauge() = default;
    virtual void set(double v) = 0;
    virtual void add(double n) = 0;
  };
  class Histogram {
   public:
    virtual ~Histogram() = default;
    virtual void observe(double v) = 0;
  };

  Metrics();
  ~Metrics();

  /// The same name and labels give the same instrument, which lives as long as this.
  Counter& counter(const std::string& name, const std::string& help, const Labels& labels = {});
  Gauge& gauge(const std::string& name, const std::string& help, const Labels& labels = {});
  /// `bounds`: upper bounds of the buckets, ascending.
  Histogram& histogram(const std::string& name, const std::string& help,
                       const std::vector<double>& bounds, const Labels& labels = {});
  /// Forgets a gauge or counter whose thing is gone.
  void remove(const std::string& name, const Labels& labels);
  /// Called before each render(), to set gauges that are cheap to compute and dear to keep.
  void before_render(std::function<void()> f);

  /// The text exposition format, version 0.0.4.
  std::string render();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace millrace
