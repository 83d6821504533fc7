// The golden vectors of single operations, made with the reference model's code, against kernels.
// Attention, compressors and the indexer have their golden data in layer_test.cc: here their
// entries are unquantised or hang on rope tables.

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <set>
#include <string>
#include <vector>

#include "kernels/hyper_connection/hyper_connection.h"
#include "kernels/linear/linear.h"
#include "kernels/moe/moe.h"
#include "kernels/norm/rms_norm.h"
#include "kernels/router/router.h"
#include "tests/golden_path.h"
#include "tests/unit/kernels/families/golden_tensors.h"
#include "tests/unit/kernels/simt/closeness.h"
#include "tests/unit/kernels/simt/five_orders.h"

namespace sparkspan::kernels {
namespace {

class GoldenOps : public testing::Test {
 protected:
  void SetUp() override {
    const auto folder = tests::GoldenPath("ops");
    if (!folder) {
      GTEST_SKIP() << "the golden data of ops is not here";
    }
    tensors_.Load(*folder / "ops.safetensors");
  }
  void TearDown() override {
    EXPECT_TRUE(emulation_.report().findings.empty()) << emulation_.report().ToString();
  }

  template <class T>
  std::vector<T> Get(const std::string& name) const {
    return tensors_.Get<T>(name);
  }
  std::vector<double> Doubles(const std::string& name) const {
    const auto values = Get<float>(name);
    return {values.begin(), values.end()};
  }

  // y = W x with x quantised as the products take it; W of linear_fp8 or linear_fp4.
  std::vector<float> Product(const std::string& name, WeightFormat format, int n, int k, int rows) {
    const auto x = Get<std::uint16_t>(name + "/x");
    std::vector<std::uint8_t> codes(x.size());
    std::vector<std::uint8_t> scales(x.size() / 128);
    EmulateQuantize({x.data(), rows, k, codes.data(), scales.data()});
    std::vector<std::byte> weight(PreparedBytes(format, n, k));
    std::vector<std::byte> weight_scale(PreparedScaleBytes(format, n, k));
    const auto stored_scale = Get<std::uint8_t>(name + "/scale");
    if (format == WeightFormat::kE4m3) {
      PrepareE4m3(Get<std::uint8_t>(name + "/weight"), n, k, weight);
      std::transform(
          stored_scale.begin(), stored_scale.end(), weight_scale.begin(), [](std::uint8_t byte) {
            return std::byte{byte};
          });
    } else {
      PrepareE2m1(Get<std::uint8_t>(name + "/weight"), n, k, weight);
      PrepareE2m1Scales(stored_scale, n, k, weight_scale);
    }
    std::vector<float> y(At(rows * n));
    EmulateLinear({.weight_format = format,
                   .activation_format = ActivationFormat::kE4m3,
                   .output_format = OutputFormat::kFloat,
                   .weight = weight.data(),
                   .weight_scale = weight_scale.data(),
                   .n = n,
                   .k = k,
                   .activation = codes.data(),
                   .activation_scale = scales.data(),
                   .groups = 1,
                   .output = y.data(),
                   .rows = rows});
    return y;
  }

  GoldenTensors tensors_;
  emulator::Emulation emulation_;
};

TEST_F(GoldenOps, ActivationQuantisation) {
  const auto x = Get<std::uint16_t>("act_quant_128/x");
  std::vector<std::uint8_t> codes(x.size());
  std::vector<std::uint8_t> scales(x.size() / 128);
  EmulateQuantize({x.data(), 12, 256, codes.data(), scales.data()});
  EXPECT_EQ(codes, Get<std::uint8_t>("act_quant_128/code"));
  EXPECT_EQ(scales, Get<std::uint8_t>("act_quant_128/scale"));
}

TEST_F(GoldenOps, Products) {
  const double tolerance = kOnGpu ? 1e-3 : 1e-6;
  ExpectRelativeRms(Product("linear_fp8", WeightFormat::kE4m3, 192, 384, 9),
                    Doubles("linear_fp8/y_exact_quantised_x"),
                    tolerance);
  ExpectRelativeRms(Product("linear_fp4", WeightFormat::kE2m1, 160, 256, 9),
                    Doubles("linear_fp4/y_exact_quantised_x"),
                    tolerance);
}

TEST_F(GoldenOps, RmsNorm) {
  const auto x = Get<std::uint16_t>("rmsnorm/x");
  const auto gain = Get<std::uint16_t>("rmsnorm/weight");
  std::vector<std::uint16_t> y(x.size());
  EmulateRmsNorm({x.data(), gain.data(), 1e-6F, 6, 256, y.data(), nullptr, nullptr});
  ExpectBf16Close(y, Doubles("rmsnorm/rf.y"), 1);
}

TEST_F(GoldenOps, HyperConnections) {
  constexpr int kRows = 10;
  constexpr int kHidden = 128;
  const auto x = Get<float>("hc/x");
  std::vector<std::uint16_t> streams(x.size());
  std::transform(x.begin(), x.end(), streams.begin(), simt::float_to_bf16);
  const std::vector<std::uint16_t> ones(kHidden, simt::float_to_bf16(1));
  std::vector<float> post(kRows * 4);
  std::vector<float> comb(kRows * 16);
  for (const bool head : {false, true}) {
    const auto fn = Get<float>(head ? "hc/head_fn" : "hc/fn");
    const auto base = Get<float>(head ? "hc/head_base" : "hc/base");
    const auto scale = Get<float>(head ? "hc/head_scale" : "hc/scale");
    const int mixes = head ? kHeadMixes : kMixes;
    std::vector<float> partial(kRows * 2 * kMixPartials);
    std::vector<std::uint16_t> normalized(kRows * kHidden);
    EmulateMix({streams.data(), fn.data(), kRows, kHidden, mixes, partial.data()});
    EmulatePre({streams.data(),
                partial.data(),
                base.data(),
                scale.data(),
                mixes,
                20,
                1e-6F,
                {nullptr, ones.data(), 1e-6F, kRows, kHidden, normalized.data(), nullptr, nullptr},
                head ? nullptr : post.data(),
                head ? nullptr : comb.data()});
    // The kernel hands on the norm of the mixed input, so the stored input is normalised too.
    auto expected = Doubles(head ? "hc/rf.head_out" : "hc/rf.pre_out");
    for (int row = 0; row < kRows; ++row) {
      double* u = expected.data() + row * kHidden;
      const double squares = std::inner_product(u, u + kHidden, u, 0.0);
      std::for_each(u, u + kHidden, [&](double& v) { v /= std::sqrt(squares / kHidden + 1e-6); });
    }
    ExpectBf16Close(normalized, expected);
  }
  ExpectRelativeRms(post, Doubles("hc/rf.post"), 1e-5);
  ExpectRelativeRms(comb, Doubles("hc/rf.comb"), 1e-5);
  const auto branch = Get<float>("hc/branch_out");
  std::vector<std::uint16_t> out(streams.size());
  EmulatePost(
      {streams.data(), branch.data(), 1, post.data(), comb.data(), kRows, kHidden, out.data()});
  std::vector<float> actual(out.size());
  std::transform(out.begin(), out.end(), actual.begin(), simt::bf16_to_float);
  ExpectRelativeRms(actual, Doubles("hc/rf.post_out"), 4e-3);
}

TEST_F(GoldenOps, Router) {
  constexpr int kRows = 16;
  constexpr int kExperts = 12;
  constexpr int kChoices = 6;
  const auto x = Get<std::uint16_t>("router/x");
  std::vector<std::byte> weight(PreparedBytes(WeightFormat::kBf16, kExperts, 128));
  PrepareBf16(Get<std::uint16_t>("router/weight"), kExperts, 128, weight);
  std::vector<float> logits(kRows * kExperts);
  EmulateLinear({.weight_format = WeightFormat::kBf16,
                 .activation_format = ActivationFormat::kBf16,
                 .output_format = OutputFormat::kFloat,
                 .weight = weight.data(),
                 .weight_scale = nullptr,
                 .n = kExperts,
                 .k = 128,
                 .activation = x.data(),
                 .activation_scale = nullptr,
                 .groups = 1,
                 .output = logits.data(),
                 .rows = kRows});
  const auto bias = Get<float>("router/bias");
  std::vector<std::int32_t> table;
  const auto tid2eid = Get<std::int64_t>("router/tid2eid");
  for (const std::int32_t token : Get<std::int32_t>("router/input_ids")) {
    for (int choice = 0; choice < kChoices; ++choice) {
      table.push_back(static_cast<std::int32_t>(tid2eid[At(token * kChoices + choice)]));
    }
  }
  for (const std::string kind : {"scored", "hashed"}) {
    const bool hashed = kind == "hashed";
    std::vector<std::int32_t> ids(kRows * kChoices);
    std::vector<float> weights(kRows * kChoices);
    EmulateRouter({logits.data(),
                   hashed ? nullptr : bias.data(),
                   hashed ? table.data() : nullptr,
                   1.5F,
                   kRows,
                   kExperts,
                   kChoices,
                   ids.data(),
                   weights.data()});
    const auto stored_ids = Get<std::int32_t>("router/rf." + kind + "_idx");
    const auto stored_weights = Get<float>("router/rf." + kind + "_weights");
    for (int row = 0; row < kRows; ++row) {
      for (int i = row * kChoices; i < (row + 1) * kChoices; ++i) {
        const auto begin = stored_ids.begin() + row * kChoices;
        const auto found = std::find(begin, begin + kChoices, ids[At(i)]);
        ASSERT_NE(found, begin + kChoices) << kind << " row " << row << " expert " << ids[At(i)];
        EXPECT_NEAR(
            weights[At(i)], stored_weights[At(static_cast<int>(found - stored_ids.begin()))], 1e-5);
      }
    }
  }
}

TEST_F(GoldenOps, Experts) {
  constexpr int kRows = 6;
  constexpr int kSize = 128;  // hidden and intermediate
  const auto x = Get<std::uint16_t>("expert/x");
  std::vector<std::uint8_t> codes(x.size());
  std::vector<std::uint8_t> scales(x.size() / 128);
  EmulateQuantize({x.data(), kRows, kSize, codes.data(), scales.data()});
  const auto route_weight = Get<float>("expert/route_weight");
  const std::vector<std::int32_t> offsets = {0, kRows};
  std::vector<std::int32_t> order(kRows);
  std::iota(order.begin(), order.end(), 0);
  const std::vector<std::int32_t> active = {0};
  const std::vector<std::int32_t> active_count = {1};
  const Grouping grouping{offsets.data(), order.data(), active.data(), active_count.data(), 1};
  for (const std::string format : {"fp4", "fp8"}) {
    const WeightFormat stored = format == "fp4" ? WeightFormat::kE2m1 : WeightFormat::kE4m3;
    std::vector<std::vector<std::byte>> weights, weight_scales;
    for (const std::string name : {"w1", "w3", "w2"}) {
      const auto weight = Get<std::uint8_t>("expert/" + format + "." + name + ".weight");
      const auto scale = Get<std::uint8_t>("expert/" + format + "." + name + ".scale");
      auto& data = weights.emplace_back(PreparedBytes(stored, kSize, kSize));
      auto& data_scale = weight_scales.emplace_back(PreparedScaleBytes(stored, kSize, kSize));
      if (stored == WeightFormat::kE2m1) {
        PrepareE2m1(weight, kSize, kSize, data);
        PrepareE2m1Scales(scale, kSize, kSize, data_scale);
      } else {
        PrepareE4m3(weight, kSize, kSize, data);
        data_scale[0] = std::byte{scale[0]};
      }
    }
    for (const std::string kind : {"plain", "weighted"}) {
      std::vector<std::uint8_t> t(kRows * kSize);
      std::vector<std::uint8_t> t_scale(kRows);
      std::vector<float> y(kRows * kSize);
      EmulateGateUp({stored,
                     weights[0].data(),
                     weight_scales[0].data(),
                     weights[1].data(),
                     weight_scales[1].data(),
                     kSize,
                     kSize,
                     grouping,
                     codes.data(),
                     scales.data(),
                     kind == "weighted" ? route_weight.data() : nullptr,
                     10,
                     kRows,
                     1,
                     t.data(),
                     t_scale.data()});
      EmulateDown({stored,
                   weights[2].data(),
                   weight_scales[2].data(),
                   kSize,
                   kSize,
                   grouping,
                   t.data(),
                   t_scale.data(),
                   kRows,
                   1,
                   y.data()});
      // The stored output is rounded to bf16.
      ExpectRelativeRms(y, Doubles("expert/rf." + format + "_" + kind), 4e-3);
    }
  }
}

}  // namespace
}  // namespace sparkspan::kernels
