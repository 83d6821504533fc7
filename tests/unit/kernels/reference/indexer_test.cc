#include "kernels/reference/indexer.h"

#include <set>

#include "kernels/numerics/formats.h"
#include "kernels/reference/linear.h"
#include "kernels/reference/norm.h"
#include "kernels/reference/quantise.h"
#include "kernels/reference/rope.h"
#include "tests/unit/kernels/reference/ops_golden.h"

namespace sparkspan::kernels::reference {
namespace {

TEST_F(OpsGolden, IndexScoresAndChoices) {
  const std::vector<float> x = Floats("indexer/x");
  const std::vector<float> qr = Floats("indexer/qr");
  const Yarn yarn{16.0f, 512, 32.0f, 1.0f};
  const Rope rope(64, 160000.0f, &yarn);
  for (const bool round : {false, true}) {
    const std::string mode = round ? "indexer/rf." : "indexer/hp.";
    const std::vector<float> keys = Floats(mode + "k_cache");
    const std::vector<float> expected_scores = Floats(mode + "scores");
    const auto expected_choice = Tensor(mode + "topk").As<std::int32_t>();
    std::vector<float> visible_scores, visible_expected;
    for (std::size_t t = 0; t < 60; ++t) {
      std::vector<float> input(Row(qr, t, 128).begin(), Row(qr, t, 128).end());
      std::vector<float> queries(512), weights(4), cosines(32), sines(32);
      if (round) {
        RoundThroughE4m3(input, 128);
      }
      Linear(Weight("indexer/wq_b.weight", "indexer/wq_b.scale"), input, queries);
      Linear(Weight("indexer/weights_proj.weight"), Row(x, t, 128), weights);
      rope.Table(static_cast<std::int64_t>(t), cosines, sines);
      for (std::size_t h = 0; h < 4; ++h) {
        const auto query = Row(queries, h, 128);
        for (float& value : query) {
          value = round ? numerics::RoundToBf16(value) : value;
        }
        ApplyRope(query.last(64), cosines, sines, false, round);
        Hadamard(query, round);
        if (round) {
          RoundThroughE2m1(query, 32);
        }
      }
      ScaleIndexWeights(weights, 128, round);
      std::vector<float> scores;
      for (std::size_t j = 0; j < (t + 1) / 4; ++j) {
        scores.push_back(IndexScore(queries, weights, Row(keys, j, 128), round));
        visible_scores.push_back(scores.back());
        visible_expected.push_back(expected_scores[t * 15 + j]);
      }
      std::vector<std::int32_t> chosen(8);
      SelectTopK(scores, chosen);
      const std::span<const std::int32_t> expected(&expected_choice[t * 8], 8);
      EXPECT_EQ(std::set(chosen.begin(), chosen.end()), std::set(expected.begin(), expected.end()))
          << "row " << t << (round ? " rounded" : "");
    }
    if (round) {
      ExpectRelativeRms(mode + "scores", visible_scores, visible_expected);
    } else {
      ExpectClose(mode + "scores", visible_scores, visible_expected);
    }
  }
}

TEST(SelectTopK, TiesGoToTheLowestIndexAndTheRestIsEmpty) {
  const std::vector<float> scores{0.0f, 5.0f, 0.0f, 5.0f, 0.0f};
  std::vector<std::int32_t> chosen(3);
  EXPECT_EQ(SelectTopK(scores, chosen), 3);
  EXPECT_EQ(chosen, (std::vector<std::int32_t>{0, 1, 3}));
  std::vector<std::int32_t> roomy(7);
  EXPECT_EQ(SelectTopK(scores, roomy), 5);
  EXPECT_EQ(roomy, (std::vector<std::int32_t>{0, 1, 2, 3, 4, -1, -1}));
  EXPECT_EQ(SelectTopK({}, roomy), 0);
}

}  // namespace
}  // namespace sparkspan::kernels::reference
