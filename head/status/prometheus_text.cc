#include "head/status/prometheus_text.h"

#include <cmath>

#include "absl/strings/str_format.h"

namespace sparkspan::head::status {
namespace {

std::string Escape(std::string_view value) {
  std::string escaped;
  for (const char c : value) {
    if (c == '\\' || c == '"') {
      escaped += '\\';
    }
    if (c == '\n') {
      escaped += "\\n";
    } else {
      escaped += c;
    }
  }
  return escaped;
}

}  // namespace

std::string PrometheusNumber(double value) {
  if (std::isnan(value)) {
    return "NaN";
  }
  if (std::isinf(value)) {
    return value > 0 ? "+Inf" : "-Inf";
  }
  // Shortest of the precisions that reads back as the same number.
  for (const int digits : {6, 9, 12, 15, 17}) {
    std::string text = absl::StrFormat("%.*g", digits, value);
    if (std::stod(text) == value) {
      return text.find_first_of(".e") == std::string::npos ? text + ".0" : text;
    }
  }
  return "NaN";
}

void PrometheusText::Family(std::string_view name, std::string_view type, std::string_view help) {
  name_ = name;
  text_ += absl::StrFormat("# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

void PrometheusText::Sample(double value, const Labels& labels) {
  Line("", labels, value);
}

void PrometheusText::Sample(const Histogram& histogram, const Labels& labels) {
  std::uint64_t below = 0;
  for (std::size_t i = 0; i < histogram.counts().size(); ++i) {
    below += histogram.counts()[i];
    const double bound = i < histogram.bounds().size() ? histogram.bounds()[i] : INFINITY;
    Labels with_bound = labels;
    with_bound.emplace_back("le", PrometheusNumber(bound));
    Line("_bucket", with_bound, static_cast<double>(below));
  }
  Line("_count", labels, static_cast<double>(below));
  Line("_sum", labels, histogram.sum());
}

void PrometheusText::Line(std::string_view suffix, const Labels& labels, double value) {
  text_ += name_;
  text_ += suffix;
  const char* separator = "{";
  for (const Labels* list : {&base_, &labels}) {
    for (const auto& [name, content] : *list) {
      text_ += absl::StrFormat("%s%s=\"%s\"", separator, name, Escape(content));
      separator = ",";
    }
  }
  text_ += *separator == ',' ? "} " : " ";
  text_ += PrometheusNumber(value);
  text_ += '\n';
}

}  // namespace sparkspan::head::status
