#include "kernels/indexer/top_k.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>
#include <vector>

#include "kernels/reference/indexer.h"
#include "tests/unit/kernels/families/comparison.h"
#include "tests/unit/kernels/families/traffic.h"
#include "tests/unit/kernels/simt/five_orders.h"

namespace sparkspan::kernels {
namespace {

// Of all rows [rows, row_stride].
std::vector<std::int32_t> Expected(const std::vector<float>& scores,
                                   int row_stride,
                                   const std::vector<std::int32_t>& visible,
                                   int k) {
  std::vector<std::int32_t> chosen(visible.size() * At(k));
  for (int row = 0; row < static_cast<int>(visible.size()); ++row) {
    reference::SelectTopK(RowOf(scores, row, row_stride).first(At(visible[At(row)])),
                          RowOf(chosen, row, k));
  }
  return chosen;
}

const Comparison kComparison({"TopK"}, "SelectTopK");

struct Case {
  const char* name;
  int visible;
  int k;
  int distinct;  // how many score values there are: few mean many ties
};

class TopK : public testing::TestWithParam<Case> {};

TEST_P(TopK, TakesTheBestAndBreaksTiesByIndex) {
  const auto [name, visible, k, distinct] = GetParam();
  const int stride = visible + 3;
  std::mt19937 random(static_cast<unsigned>(visible * 31 + k));
  constexpr int kRows = 2;
  std::vector<float> scores(static_cast<std::size_t>(stride * kRows));
  std::generate(scores.begin(), scores.end(), [&] {
    const auto value = static_cast<float>(
        static_cast<int>(random() % static_cast<unsigned>(distinct)) - distinct / 2);
    return value == 0 && random() % 2 == 0 ? -0.0F : value * 0.37F;
  });
  // The second row sees less, and what it does not see is tempting.
  const std::vector<std::int32_t> seen = {visible, visible - visible / 3};
  for (int i = seen[1]; i < stride; ++i) {
    scores[static_cast<std::size_t>(stride + i)] = 1e30F;
  }
  emulator::Report report;
  const auto indices = InFiveOrders<std::int32_t>(
      [&] {
        std::vector<std::int32_t> out(static_cast<std::size_t>(k * kRows), 77);
        EmulateTopK({scores.data(), stride, seen.data(), out.data(), kRows, k});
        return out;
      },
      &report);
  ExpectTraffic({"TopK"}, report, {});
  kComparison.Equal(indices, Expected(scores, stride, seen, k));
}

// The same indices wherever rows are cut, by blocks in any order.
TEST(TopKParts, OfManyPartsIsThatOfOne) {
  struct Cut {
    int k;
    int part_keys;
    int distinct;
  };
  constexpr int kStride = 452;
  // Whole parts, parts and a bit, less than k, and nothing.
  const std::vector<std::int32_t> seen = {448, 130, 31, 0};
  const auto rows = static_cast<int>(seen.size());
  for (const Cut& cut : {Cut{40, 128, 1 << 20}, {100, 64, 3}, {1, 224, 9}}) {
    std::mt19937 random(static_cast<unsigned>(cut.k));
    std::vector<float> scores(static_cast<std::size_t>(kStride * rows));
    std::generate(scores.begin(), scores.end(), [&] {
      return static_cast<float>(random() % static_cast<unsigned>(cut.distinct)) - 2;
    });
    const std::size_t size = static_cast<std::size_t>(cut.k * rows);
    std::vector<std::int32_t> arrivals(seen.size());
    const auto indices = InFiveOrders<std::int32_t>([&] {
      std::vector<std::int32_t> out(size, 77);
      TopKArguments arguments{scores.data(), kStride, seen.data(), out.data(), rows, cut.k};
      arguments.part_keys = cut.part_keys;
      std::vector<std::int32_t> candidates(
          static_cast<std::size_t>(rows * TopKCandidates(arguments)));
      std::vector<float> candidate_scores(candidates.size());
      arguments.candidates = candidates.data();
      arguments.candidate_scores = candidate_scores.data();
      arguments.arrivals = arrivals.data();
      EmulateTopK(arguments);
      return out;
    });
    kComparison.Equal(indices, Expected(scores, kStride, seen, cut.k));
    EXPECT_EQ(arrivals, std::vector<std::int32_t>(seen.size(), 0));
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes,
                         TopK,
                         testing::Values(Case{"none", 0, 4, 3},
                                         Case{"fewer_than_k", 5, 8, 3},
                                         Case{"exactly_k", 8, 8, 100},
                                         Case{"one_more", 9, 8, 100},
                                         Case{"all_equal", 700, 33, 1},
                                         Case{"few_values", 1500, 512, 7},
                                         Case{"many_values", 2100, 512, 1 << 20},
                                         Case{"k_is_one", 1025, 1, 1 << 20}),
                         [](const auto& each) { return each.param.name; });

}  // namespace
}  // namespace sparkspan::kernels
