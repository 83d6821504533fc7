#include "kernels/reference/attention.h"

#include "tests/unit/kernels/reference/ops_golden.h"

namespace sparkspan::kernels::reference {
namespace {

TEST_F(OpsGolden, SinkAttention) {
  const std::vector<float> q = Floats("attn/q");
  const std::vector<float> kv = Floats("attn/kv");
  const std::vector<float> sink = Floats("attn/sink");
  const auto index = Tensor("attn/idx").As<std::int32_t>();
  const std::size_t rows = 5, heads = 4, dim = 512, slots = 150;
  for (const bool round : {false, true}) {
    std::vector<float> out(rows * heads * dim);
    for (std::size_t t = 0; t < rows; ++t) {
      std::vector<float> entries;
      std::vector<std::int32_t> slots_used;
      for (std::size_t s = 0; s < slots; ++s) {
        const std::int32_t entry = index[t * slots + s];
        if (entry >= 0) {
          const auto row = Row(kv, static_cast<std::size_t>(entry), dim);
          entries.insert(entries.end(), row.begin(), row.end());
          slots_used.push_back(static_cast<std::int32_t>(s));
        }
      }
      for (std::size_t h = 0; h < heads; ++h) {
        Attend(Row(q, t * heads + h, dim),
               entries,
               slots_used,
               sink[h],
               0.04419417382415922f,
               round,
               Row(out, t * heads + h, dim));
      }
    }
    if (round) {
      ExpectRelativeRms("attention, rounded", out, Floats("attn/rf.out"));
    } else {
      ExpectClose("attention", out, Floats("attn/hp.out"));
    }
  }
}

TEST(SinkAttention, AnOverwhelmingSinkLeavesNothing) {
  const std::vector<float> q(8, 1.0f);
  const std::vector<std::int32_t> slots = {0};
  std::vector<float> out(8, 7.0f);
  Attend(q, q, slots, 1e30f, 1.0f, false, out);
  for (const float value : out) {
    EXPECT_NEAR(value, 0.0f, 1e-30f);
  }
}

TEST(SinkAttention, OfNothingButTheSinkIsZero) {
  const std::vector<float> q(8, 1.0f);
  std::vector<float> out(8, 7.0f);
  Attend(q, {}, {}, 3.0f, 1.0f, false, out);
  EXPECT_EQ(out, std::vector<float>(8, 0.0f));
}

}  // namespace
}  // namespace sparkspan::kernels::reference
