#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "head/status/histogram.h"

namespace sparkspan::head::status {

using Labels = std::vector<std::pair<std::string, std::string>>;

// Writes Prometheus text format 0.0.4, one family after the other.
class PrometheusText {
 public:
  // `base` goes on every sample.
  explicit PrometheusText(Labels base) : base_(std::move(base)) {}

  // Begins a family: HELP and TYPE. `type` is "counter", "gauge" or "histogram".
  void Family(std::string_view name, std::string_view type, std::string_view help);
  // A sample of the family begun last.
  void Sample(double value, const Labels& labels = {});
  void Sample(const Histogram& histogram, const Labels& labels = {});

  const std::string& text() const { return text_; }

 private:
  void Line(std::string_view suffix, const Labels& labels, double value);

  const Labels base_;
  std::string name_;
  std::string text_;
};

// A float as Prometheus clients print it: 0.001, 1.0, 1e+06, +Inf.
std::string PrometheusNumber(double value);

}  // namespace sparkspan::head::status
