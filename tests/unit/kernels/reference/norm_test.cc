#include "kernels/reference/norm.h"

#include "tests/unit/kernels/reference/ops_golden.h"

namespace sparkspan::kernels::reference {
namespace {

TEST_F(OpsGolden, RmsNorm) {
  const std::vector<float> x = Floats("rmsnorm/x");
  const std::vector<float> gain = Floats("rmsnorm/weight");
  for (const bool round : {false, true}) {
    std::vector<float> y(x.size());
    for (std::size_t t = 0; t < 6; ++t) {
      RmsNorm(Row(x, t, 256), gain, 1e-6f, round, Row(y, t, 256));
    }
    if (round) {
      ExpectRelativeRms("rmsnorm, rounded", y, Floats("rmsnorm/rf.y"));
    } else {
      ExpectClose("rmsnorm", y, Floats("rmsnorm/hp.y"));
    }
  }
}

TEST_F(OpsGolden, Hadamard) {
  for (const bool round : {false, true}) {
    std::vector<float> x = Floats("hadamard/x");
    for (std::size_t t = 0; t < 4; ++t) {
      Hadamard(Row(x, t, 128), round);
    }
    if (round) {
      ExpectRelativeRms("hadamard, rounded", x, Floats("hadamard/rf.y"));
    } else {
      ExpectClose("hadamard", x, Floats("hadamard/hp.y"));
    }
  }
}

TEST(HeadRmsNorm, GivesUnitMeanSquare) {
  std::vector<float> x{3.0f, -4.0f, 12.0f, 1.0f};
  std::vector<float> rounded = x;
  HeadRmsNorm(x, 0.0f, false);
  double squares = 0.0;
  for (const float value : x) {
    squares += static_cast<double>(value) * value;
  }
  EXPECT_NEAR(squares, 4.0, 1e-6);
  // Squares 9 + 16 + 144 + 1 = 170, mean 42.5, root 6.519..: 1/root rounds to 0.1533203125 in bf16.
  HeadRmsNorm(rounded, 0.0f, true);
  EXPECT_EQ(rounded[1], -0.61328125f);
}

}  // namespace
}  // namespace sparkspan::kernels::reference
