#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>

namespace sparkspan::tests {

// How far draws lie from their distribution: the chi-square statistic in standard deviations above
// its mean, by Wilson and Hilferty's cube root; above 4 is one in 30,000. `counts` and
// `probabilities` have the same cells, of sum 1 in the latter. Cells below 5 expected draws are
// taken together. Infinite where something was drawn that cannot be, or what is all but impossible
// came often.
template <typename Count>
double ChiSquareDeviation(std::span<const Count> counts, std::span<const double> probabilities) {
  double draws = 0;
  for (const Count count : counts) {
    draws += static_cast<double>(count);
  }
  double statistic = 0;
  int cells = 0;
  const auto add = [&](double counted, double expected) {
    statistic += (counted - expected) * (counted - expected) / expected;
    ++cells;
  };
  constexpr double kCellLeast = 5;
  constexpr double kPooledLeast = 0.5;
  constexpr double kPooledOften = 8;
  double rare_counted = 0;
  double rare_expected = 0;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    const auto counted = static_cast<double>(counts[i]);
    const double expected = probabilities[i] * draws;
    if (expected == 0 && counted > 0) {
      return std::numeric_limits<double>::infinity();
    }
    if (expected < kCellLeast) {
      rare_counted += counted;
      rare_expected += expected;
    } else {
      add(counted, expected);
    }
  }
  if (rare_expected > kPooledLeast) {
    add(rare_counted, rare_expected);
  } else if (rare_counted >= kPooledOften) {
    return std::numeric_limits<double>::infinity();
  }
  const double freedom = std::max(1, cells - 1);
  const double spread = 2 / (9 * freedom);
  return (std::cbrt(statistic / freedom) - (1 - spread)) / std::sqrt(spread);
}

}  // namespace sparkspan::tests
