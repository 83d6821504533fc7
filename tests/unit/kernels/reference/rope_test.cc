#include "kernels/reference/rope.h"

#include "tests/unit/kernels/reference/ops_golden.h"

namespace sparkspan::kernels::reference {
namespace {

struct Case {
  std::string name;
  float theta;
  float factor;
  std::int64_t original;
};

const Case kCases[] = {{"real_main", 10000.0f, 0.0f, 0},
                       {"real_compress", 160000.0f, 16.0f, 65536},
                       {"tiny_a_compress", 160000.0f, 16.0f, 512},
                       {"tiny_b_compress", 40000.0f, 8.0f, 256},
                       {"low_eq_high", 10000.0f, 4.0f, 40}};

Rope MakeRope(const Case& c) {
  const Yarn yarn{c.factor, c.original, 32.0f, 1.0f};
  return Rope(64, c.theta, c.factor > 0.0f ? &yarn : nullptr);
}

TEST_F(OpsGolden, RopeTables) {
  const auto positions = Tensor("rope/positions").As<std::int32_t>();
  for (const Case& c : kCases) {
    const Rope rope = MakeRope(c);
    std::vector<float> cosines(positions.size() * 32), sines(positions.size() * 32);
    for (std::size_t i = 0; i < positions.size(); ++i) {
      rope.Table(positions[i], Row(cosines, i, 32), Row(sines, i, 32));
    }
    // The reference's own fp32 table, at every position up to a million.
    ExpectClose(c.name + " cos", cosines, Floats("rope/" + c.name + ".cos_ref_f32"), 1e-6);
    ExpectClose(c.name + " sin", sines, Floats("rope/" + c.name + ".sin_ref_f32"), 1e-6);
    if (golden_->Has("rope/" + c.name + ".inv_freq_f64formula")) {
      ExpectClose(c.name, rope.frequencies(), Floats("rope/" + c.name + ".inv_freq_f64formula"));
    }
  }
}

TEST_F(OpsGolden, ApplyRope) {
  const auto positions = Tensor("rope/apply.positions").As<std::int32_t>();
  const Rope rope = MakeRope(kCases[2]);
  for (const bool inverse : {false, true}) {
    std::vector<float> x = Floats("rope/apply.x");
    std::vector<float> cosines(32), sines(32);
    for (std::size_t t = 0; t < positions.size(); ++t) {
      rope.Table(positions[t], cosines, sines);
      for (std::size_t h = 0; h < 3; ++h) {
        ApplyRope(Row(x, t * 3 + h, 64), cosines, sines, inverse, false);
      }
    }
    const std::string name = inverse ? "rope/apply.inverse" : "rope/apply.forward";
    ExpectClose(name, x, Floats(name));
  }
}

}  // namespace
}  // namespace sparkspan::kernels::reference
