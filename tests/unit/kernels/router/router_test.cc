#include "kernels/router/router.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

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

double Score(double logit) {
  return std::sqrt(std::log1p(std::exp(logit)));
}

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
  const auto ids = InFiveOrders<std::int32_t>([&] {
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
  });
  double worst = 0;
  for (int row = 0; row < rows; ++row) {
    std::vector<bool> taken(At(experts));
    double sum = 0;
    for (int choice = 0; choice < choices; ++choice) {
      const int got = ids[At(row * choices + choice)];
      int best = -1;
      for (int expert = 0; !hashed && expert < experts; ++expert) {
        // In fp32, because equal scores must be equal here too.
        const auto biased = [&](int e) {
          return static_cast<float>(Score(logits[At(row * experts + e)])) + bias[At(e)];
        };
        if (!taken[At(expert)] && (best < 0 || biased(expert) > biased(best))) {
          best = expert;
        }
      }
      ASSERT_EQ(got, hashed ? table[At(row * choices + choice)] : best) << row << " " << choice;
      taken[At(got)] = true;
      sum += Score(logits[At(row * experts + got)]);
    }
    for (int choice = 0; choice < choices; ++choice) {
      const int at = row * choices + choice;
      const double expected = 1.5 * Score(logits[At(row * experts + ids[At(at)])]) / sum;
      worst = std::max(worst, std::fabs(weights[At(at)] / expected - 1));
    }
  }
  std::printf("worst relative weight error %.2g of 1e-6\n", worst);
  EXPECT_LT(worst, 1e-6);
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
