#pragma once

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "tests/unit/kernels/simt/closeness.h"
#include "tests/unit/kernels/simt/five_orders.h"

namespace sparkspan::kernels {

// Sums of products in fp32 against exact ones; a tensor core, which keeps fewer bits, is allowed
// more.
constexpr double kProductLimit = kOnGpu ? 1e-3 : 1e-6;

// Launch, truth and measure.
using ComparisonKey = std::array<std::string, 3>;
struct Closeness {
  double worst = 0;
  double limit = 0;
};
// All comparisons of this program so far.
std::map<ComparisonKey, Closeness>& Ledger();

// What a launch wrote beside what kernels/reference makes of the same inputs. Every comparison
// prints how close it came and enters the ledger, of which kernels_families_test makes
// docs/performance/closeness.csv (SPARKSPAN_CLOSENESS_WRITE names a file to write the table to).
// When all its tests have run, a launch that nothing compared fails it, and so does a table that
// lists other comparisons.
class Comparison {
 public:
  // `launches` without their Launch. `truth`: functions of kernels/reference, or where those say
  // nothing the rule that the test follows, or the launches whose bits a fused one has.
  Comparison(std::vector<std::string> launches, std::string truth)
      : launches_(std::move(launches)), truth_(std::move(truth)) {}

  // Values rounded to bf16: each within two units in the last place of the reference's.
  void Bf16(std::span<const std::uint16_t> actual, std::span<const float> expected) const;

  // The error's root mean square over the expected values'.
  void RelativeRms(std::span<const float> actual,
                   std::span<const float> expected,
                   double limit = kProductLimit) const;

  // The error beside exact values, over that of the reference with its roundings: where the two
  // round other numbers, each must be as near as the other.
  void AsNearAsTheReference(std::span<const float> actual,
                            std::span<const float> rounded,
                            std::span<const float> exact) const;

  // Groups of codes with a scale each, one code a byte: the scales are those of the expected
  // values, and each code is what some value within two bf16 units of the expected one rounds to.
  void E4m3(std::span<const std::uint8_t> codes,
            std::span<const std::uint8_t> scales,
            std::span<const float> expected,
            int group) const;
  // The same of stored attention entries [count, kEntryBytes] and of index keys [count,
  // kIndexKeyBytes]; expected: [count, kHeadDim] and [count, kIndexDim].
  void Entries(std::span<const std::uint8_t> stored, std::span<const float> expected) const;
  void Keys(std::span<const std::uint8_t> stored, std::span<const float> expected) const;

  // Integers and copies.
  template <class T>
  void Equal(const std::vector<T>& actual, const std::vector<T>& expected) const {
    EXPECT_EQ(actual, expected);
    Record("unequal", actual == expected ? 0 : 1, 0);
  }

 private:
  void Record(const std::string& measure, double error, double limit) const;

  std::vector<std::string> launches_;
  std::string truth_;
};

// bf16 as the reference takes it.
inline std::vector<float> Widened(std::span<const std::uint16_t> values) {
  std::vector<float> floats;
  for (const std::uint16_t value : values) {
    floats.push_back(simt::bf16_to_float(value));
  }
  return floats;
}

// e4m3 with a scale a group, as the reference takes it.
inline std::vector<float> Decoded(std::span<const std::uint8_t> codes,
                                  std::span<const std::uint8_t> scales,
                                  std::size_t group = 128) {
  std::vector<float> floats;
  for (std::size_t i = 0; i < codes.size(); ++i) {
    floats.push_back(simt::e4m3_to_float(codes[i]) * simt::ue8m0_to_float(scales[i / group]));
  }
  return floats;
}

// Row r of a matrix [rows, width].
template <class T>
std::span<T> RowOf(std::vector<T>& matrix, int r, int width) {
  return std::span<T>(matrix).subspan(At(r * width), At(width));
}
template <class T>
std::span<const T> RowOf(const std::vector<T>& matrix, int r, int width) {
  return std::span<const T>(matrix).subspan(At(r * width), At(width));
}

}  // namespace sparkspan::kernels
