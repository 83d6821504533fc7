#include "kernels/reference/moe.h"

#include <set>

#include "kernels/numerics/formats.h"
#include "kernels/reference/linear.h"
#include "kernels/reference/quantise.h"
#include "tests/unit/kernels/reference/ops_golden.h"

namespace sparkspan::kernels::reference {
namespace {

TEST_F(OpsGolden, Router) {
  const std::vector<float> x = Floats("router/x");
  const std::vector<float> bias = Floats("router/bias");
  const auto tokens = Tensor("router/input_ids").As<std::int32_t>();
  const auto table = Tensor("router/tid2eid").As<std::int64_t>();
  for (const std::string mode : {"router/hp.", "router/rf."}) {
    const auto scored = Tensor(mode + "scored_idx").As<std::int32_t>();
    const auto hashed = Tensor(mode + "hashed_idx").As<std::int32_t>();
    std::vector<float> scored_weights(16 * 6), hashed_weights(16 * 6), scored_expected(16 * 6);
    for (std::size_t t = 0; t < 16; ++t) {
      std::vector<float> scores(12);
      Linear(Weight("router/weight"), Row(x, t, 128), scores);
      RouterScores(scores);
      std::vector<std::int32_t> experts(6);
      SelectExperts(scores, bias, experts);
      const std::span<const std::int32_t> expected(&scored[t * 6], 6);
      EXPECT_EQ(std::set(experts.begin(), experts.end()),
                std::set(expected.begin(), expected.end()));
      RouteWeights(scores, expected, 1.5f, Row(scored_weights, t, 6));
      for (std::size_t i = 0; i < 6; ++i) {
        experts[i] = static_cast<std::int32_t>(table[static_cast<std::size_t>(tokens[t]) * 6 + i]);
        EXPECT_EQ(experts[i], hashed[t * 6 + i]);
      }
      RouteWeights(scores, experts, 1.5f, Row(hashed_weights, t, 6));
    }
    ExpectClose(mode + "scored", scored_weights, Floats(mode + "scored_weights"));
    ExpectClose(mode + "hashed", hashed_weights, Floats(mode + "hashed_weights"));
  }
}

TEST(SelectExperts, TiesGoToTheLowestId) {
  const std::vector<float> scores{1.0f, 2.0f, 2.0f, 1.0f, 2.0f};
  const std::vector<float> bias(5, 0.0f);
  std::vector<std::int32_t> experts(4);
  SelectExperts(scores, bias, experts);
  EXPECT_EQ(experts, (std::vector<std::int32_t>{1, 2, 4, 0}));
}

TEST_F(OpsGolden, SwiGlu) {
  const std::vector<float> up = Floats("swiglu/up");
  std::vector<float> limited = Floats("swiglu/gate");
  std::vector<float> unlimited = limited;
  SwiGlu(limited, up, 10.0f, 1.0f, false);
  SwiGlu(unlimited, up, 0.0f, 1.0f, false);
  ExpectClose("swiglu, limit 10", limited, Floats("swiglu/out_limit10"));
  ExpectClose("swiglu", unlimited, Floats("swiglu/out_nolimit"));
}

TEST_F(OpsGolden, Expert) {
  const std::vector<float> x = Floats("expert/x");
  const std::vector<float> route = Floats("expert/route_weight");
  for (const bool round : {false, true}) {
    for (const std::string form : {"fp4", "fp8"}) {
      for (const bool weighted : {false, true}) {
        const auto weight = [&](const std::string& name) {
          return Weight("expert/" + form + "." + name + ".weight",
                        "expert/" + form + "." + name + ".scale");
        };
        std::vector<float> out(6 * 128);
        const auto linear = [&](const std::string& name, std::vector<float> input) {
          std::vector<float> y(128);
          if (round) {
            RoundThroughE4m3(input, 128);
          }
          Linear(weight(name), input, y);
          for (float& value : y) {
            value = round ? numerics::RoundToBf16(value) : value;
          }
          return y;
        };
        for (std::size_t t = 0; t < 6; ++t) {
          const auto row = Row(x, t, 128);
          std::vector<float> gate = linear("w1", {row.begin(), row.end()});
          const std::vector<float> up = linear("w3", {row.begin(), row.end()});
          SwiGlu(gate, up, 10.0f, weighted ? route[t] : 1.0f, round);
          const std::vector<float> y = linear("w2", gate);
          std::copy(y.begin(), y.end(), Row(out, t, 128).begin());
        }
        const std::string name = "expert/" + std::string(round ? "rf." : "hp.") + form +
                                 (weighted ? "_weighted" : "_plain");
        if (round) {
          ExpectRelativeRms(name, out, Floats(name));
        } else {
          ExpectClose(name, out, Floats(name));
        }
      }
    }
  }
}

}  // namespace
}  // namespace sparkspan::kernels::reference
