#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sparkspan::head::status {

// Counts observations under ascending upper bounds; the last bucket is +Inf. Not thread-safe.
class Histogram {
 public:
  explicit Histogram(std::vector<double> bounds)
      : bounds_(std::move(bounds)), counts_(bounds_.size() + 1, 0) {}

  void Observe(double value, std::uint64_t times = 1);

  // For a sum that is known better than from the observations.
  void AddToSum(double value) { sum_ += value; }

  std::span<const double> bounds() const { return bounds_; }
  std::span<const std::uint64_t> counts() const { return counts_; }  // Not cumulative.
  double sum() const { return sum_; }

 private:
  std::vector<double> bounds_;
  std::vector<std::uint64_t> counts_;
  double sum_ = 0;
};

// Bounds that vLLM's dashboards expect.
std::vector<double> TimeToFirstTokenBounds();
std::vector<double> InterTokenBounds();
std::vector<double> LatencyBounds();
// 1, 2, 5, 10, ... up to `max`.
std::vector<double> OneTwoFiveBounds(std::int64_t max);

}  // namespace sparkspan::head::status
