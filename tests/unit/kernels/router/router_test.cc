#include "kernels/router/router.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "kernels/reference/moe.h"
#include "tests/unit/kernels/families/comparison.h"
#include "tests/unit/kernels/families/traffic.h"
#include "tests/unit/kernels/simt/closeness.h"
#include "tests/unit/kernels/simt/five_orders.h"

namespace sparkspan::kernels {
namespace {

struct Case {
  int rows;
  int experts;
  int choices;
  bool hashed;
  bool tied;  // logits of few values
};

class Router : public testing::TestWithParam<Case> {};

TEST_P(Router, TakesTheLargestAndWeighsThem) {
  const auto [rows, experts, choices, hashed, tied] = GetParam();
  std::vector<float> logits = RandomFloats(At(rows * experts), 41, 3);
  std::vector<float> bias = RandomFloats(At(experts), 42, 0.3F);
  std::vector<std::int32_t> table(At(rows * choices));
  for (std::size_t i = 0; i < table.size(); ++i) {
    table[i] = static_cast<std::int32_t>((i * 7 + 3) % At(experts));
  }
  if (tied) {
    for (float& logit : logits) {
      logit = std::round(logit / 2);
    }
    std::fill(bias.begin(), bias.end(), 0.25F);
  }
  std::vector<float> weights(At(rows * choices));
  emulator::Report report;
  const auto ids = InFiveOrders<std::int32_t>(
      [&] {
        std::vector<std::int32_t> out(At(rows * choices));
        EmulateRouter({logits.data(),
                       hashed ? nullptr : bias.data(),
                       hashed ? table.data() : nullptr,
                       1.5F,
                       rows,
                       experts,
                       choices,
                       out.data(),
                       weights.data()});
        return out;
      },
      &report);
  ExpectTraffic({"Router"}, report, {});
  std::vector<std::int32_t> expected_ids = table;
  std::vector<float> expected_weights(weights.size());
  for (int row = 0; row < rows; ++row) {
    std::vector<float> scores(logits.begin() + row * experts, logits.begin() + (row + 1) * experts);
    reference::RouterScores(scores);
    const auto chosen = RowOf(expected_ids, row, choices);
    if (!hashed) {
      reference::SelectExperts(scores, bias, chosen);
    }
    reference::RouteWeights(scores, chosen, 1.5F, RowOf(expected_weights, row, choices));
  }
  const Comparison comparison({"Router"}, "RouterScores, SelectExperts, RouteWeights");
  comparison.Equal(ids, expected_ids);
  comparison.RelativeRms(weights, expected_weights);
}

INSTANTIATE_TEST_SUITE_P(Shapes,
                         Router,
                         testing::Values(Case{1, 256, 6, false, false},
                                         Case{9, 256, 6, false, false},
                                         Case{3, 256, 6, false, true},
                                         Case{2, 8, 2, false, false},
                                         Case{2, 384, 6, false, false},
                                         Case{3, 40, 3, true, false}));

}  // namespace
}  // namespace sparkspan::kernels
