#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

namespace sparkspan::deploy::cli {

// The smallest value that at least the fraction `q` (0 to 1) of the values do not exceed; 0 of
// none.
inline double Quantile(std::vector<double> values, double q) {
  if (values.empty()) {
    return 0.0;
  }
  const auto rank = static_cast<std::size_t>(std::ceil(q * static_cast<double>(values.size())));
  const auto place =
      values.begin() + static_cast<std::ptrdiff_t>(std::max<std::size_t>(rank, 1) - 1);
  std::nth_element(values.begin(), place, values.end());
  return *place;
}

inline double Median(std::vector<double> values) {
  return Quantile(std::move(values), 0.5);
}

}  // namespace sparkspan::deploy::cli
