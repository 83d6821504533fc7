// The golden vectors of single operations, made with the reference model's code, against kernels.
// Those of caches are in cache_ops_test.cc.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>
#include <string>
#include <vector>

#include "kernels/hyper_connection/hyper_connection.h"
#include "kernels/moe/moe.h"
#include "kernels/norm/rms_norm.h"
#include "kernels/router/router.h"
#include "tests/unit/kernels/families/comparison.h"
#include "tests/unit/kernels/families/golden_ops.h"
#include "tests/unit/kernels/simt/closeness.h"
#include "tests/unit/kernels/simt/five_orders.h"

namespace sparkspan::kernels {
namespace {

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
  const auto product = [&](const std::string& name, WeightFormat format, int n, int k) {
    return Product(
        format, name + "/weight", name + "/scale", n, k, Get<std::uint16_t>(name + "/x"));
  };
  ExpectRelativeRms(product("linear_fp8", WeightFormat::kE4m3, 192, 384),
                    Doubles("linear_fp8/y_exact_quantised_x"),
                    tolerance);
  ExpectRelativeRms(product("linear_fp4", WeightFormat::kE2m1, 160, 256),
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
  const auto logits =
      Product(Get<std::uint16_t>("router/weight"), 128, Get<std::uint16_t>("router/x"));
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

// Gate and up as products that yield the stored inputs: a bf16 value is the sum of two e4m3 ones.
TEST_F(GoldenOps, SwiGlu) {
  constexpr int kSize = 128;
  const auto gate = Get<float>("swiglu/gate");
  const auto up = Get<float>("swiglu/up");
  const std::vector<std::uint8_t> one = {127};
  const auto weight = [&](const std::vector<float>& values) {
    std::vector<std::uint8_t> stored(kSize * kSize, 0);
    for (std::size_t n = 0; n < values.size(); ++n) {
      const float value = simt::round_to_bf16(values[n]);
      const std::uint8_t high = simt::float_to_e4m3(value);
      stored[n * kSize] = high;
      stored[n * kSize + 1] = simt::float_to_e4m3(value - simt::e4m3_to_float(high));
    }
    std::vector<std::byte> prepared(PreparedBytes(WeightFormat::kE4m3, kSize, kSize));
    PrepareE4m3(stored, kSize, kSize, prepared);
    return prepared;
  };
  const auto w1 = weight(gate);
  const auto w3 = weight(up);
  std::vector<std::uint8_t> x(kSize, 0);
  x[0] = x[1] = simt::float_to_e4m3(1);
  const std::vector<std::int32_t> offsets = {0, 1}, zero = {0}, active_count = {1};
  for (const bool limited : {true, false}) {
    std::vector<std::uint8_t> t(kSize), t_scale(1);
    EmulateGateUp({WeightFormat::kE4m3,
                   w1.data(),
                   one.data(),
                   w3.data(),
                   one.data(),
                   kSize,
                   kSize,
                   {offsets.data(), zero.data(), zero.data(), active_count.data(), 1},
                   x.data(),
                   one.data(),
                   nullptr,
                   limited ? 10.0F : 0.0F,
                   1,
                   1,
                   t.data(),
                   t_scale.data()});
    // The kernel's inputs are the stored ones rounded to bf16.
    std::vector<float> expected = Get<float>(limited ? "swiglu/out_limit10" : "swiglu/out_nolimit");
    expected.resize(kSize, 0);
    Comparison({"GateUp"}, "the golden swiglu").E4m3(t, t_scale, expected, kSize);
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
      // The stored output is rounded to bf16, as Combine rounds each expert's.
      std::transform(y.begin(), y.end(), y.begin(), simt::round_to_bf16);
      ExpectRelativeRms(y, Doubles("expert/rf." + format + "_" + kind), 1e-3);
    }
  }
}

}  // namespace
}  // namespace sparkspan::kernels
