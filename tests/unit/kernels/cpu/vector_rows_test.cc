#include <numeric>

#include "kernels/numerics/formats.h"
#include "kernels/reference/quantise.h"
#include "tests/unit/kernels/cpu/arithmetic_cases.h"

namespace sparkspan::kernels::cpu {
namespace {

constexpr double kTolerance = 2e-6;
constexpr double kRounded = 8e-3;  // one unit of bf16 in the largest value

class VectorRows : public ::testing::TestWithParam<bool> {
 protected:
  bool round() const { return GetParam(); }
  double tolerance() const { return round() ? kRounded : kTolerance; }
  std::vector<float> Inputs(std::size_t count, std::uint32_t seed) const {
    std::vector<float> values = RandomFloats(count, seed);
    for (float& value : values) {
      value = round() ? numerics::RoundToBf16(value) : value;
    }
    return values;
  }

  // Computes with both, compares, and compares the instruction sets with each other.
  template <typename Body>
  void Check(const std::string& what, const Body& body) const {
    ExpectClose(what, body(*vector_), body(*reference_), tolerance());
    ExpectEqualOnEveryTarget([&] { return body(*vector_); });
  }

  const std::unique_ptr<Arithmetic> vector_ = MakeVectorArithmetic();
  const std::unique_ptr<Arithmetic> reference_ = MakeReferenceArithmetic();
};

TEST_P(VectorRows, Norms) {
  for (const std::size_t width : {16, 128, 1040}) {
    const std::vector<float> x = Inputs(width, 1);
    const std::vector<float> gain = RandomFloats(width, 2);
    Check("rms norm of " + std::to_string(width), [&](const Arithmetic& arithmetic) {
      std::vector<float> y(width);
      arithmetic.RmsNorm(x, gain, 1e-6f, round(), y);
      return y;
    });
    Check("head norm of " + std::to_string(width), [&](const Arithmetic& arithmetic) {
      std::vector<float> y = x;
      arithmetic.HeadRmsNorm(y, 1e-6f, round());
      return y;
    });
  }
}

TEST_P(VectorRows, Streams) {
  const std::vector<float> h = Inputs(4 * 272, 3);
  const std::vector<float> y = Inputs(272, 4);
  const std::vector<float> pre = RandomFloats(4, 5);
  const std::vector<float> comb = RandomFloats(16, 6);
  Check("mixing streams", [&](const Arithmetic& arithmetic) {
    std::vector<float> u(272);
    arithmetic.MixStreams(h, pre, round(), u);
    return u;
  });
  Check("returning to streams", [&](const Arithmetic& arithmetic) {
    std::vector<float> out = h;
    arithmetic.ReturnToStreams(y, pre, comb, round(), out);
    return out;
  });
}

TEST_P(VectorRows, SwiGlu) {
  const std::vector<float> gate = RandomFloats(1040, 7, 8.0f);
  const std::vector<float> up = RandomFloats(1040, 8, 8.0f);
  for (const float limit : {0.0f, 10.0f}) {
    Check("swiglu", [&](const Arithmetic& arithmetic) {
      std::vector<float> out = gate;
      arithmetic.SwiGlu(out, up, limit, 0.7f, round());
      return out;
    });
  }
}

TEST_P(VectorRows, Attention) {
  for (const std::size_t count : {1, 2, 63, 129, 200}) {
    for (const std::size_t heads : {1, 3}) {
      const std::vector<float> q = Inputs(heads * 128, 9);
      const std::vector<float> entries = Inputs(count * 128, 10);
      const std::vector<float> sinks = RandomFloats(heads, 11);
      std::vector<std::int32_t> slots(count);
      std::iota(slots.begin(), slots.end(), 5);
      Check("attention over " + std::to_string(count), [&](const Arithmetic& arithmetic) {
        std::vector<float> out(heads * 128);
        arithmetic.AttendHeads(q, entries, slots, sinks, 0.3f, round(), out);
        return out;
      });
    }
  }
}

TEST_P(VectorRows, IndexScores) {
  for (const std::size_t count : {1, 15, 33}) {
    const std::vector<float> queries = Inputs(5 * 128, 12);
    const std::vector<float> weights = Inputs(5, 13);
    const std::vector<float> keys = Inputs(count * 128, 14);
    Check("index scores of " + std::to_string(count), [&](const Arithmetic& arithmetic) {
      std::vector<float> scores(count);
      arithmetic.IndexScores(queries, weights, keys, round(), scores);
      return scores;
    });
  }
}

INSTANTIATE_TEST_SUITE_P(Rounding, VectorRows, ::testing::Bool(), [](const auto& tested) {
  return tested.param ? "Rounded" : "Plain";
});

TEST(VectorQuantisation, IsTheReferencesBitForBit) {
  const auto vector = MakeVectorArithmetic();
  for (const float scale : {1e-6f, 1e-3f, 1.0f, 300.0f}) {
    std::vector<float> x = RandomFloats(1024, 15, scale);
    x[3] = 0.0f;
    x[200] = -0.0f;
    std::vector<float> expected = x;
    vector->RoundThroughE4m3(x, 128);
    reference::RoundThroughE4m3(expected, 128);
    EXPECT_TRUE(SameBits(x, expected)) << scale;
  }
  // Every midpoint of the grid, both signs.
  std::vector<float> ties;
  for (int code = 0; code < 0x7E; ++code) {
    for (const float sign : {1.0f, -1.0f}) {
      ties.push_back(sign *
                     (numerics::FloatOfE4m3(static_cast<std::uint8_t>(code)) +
                      numerics::FloatOfE4m3(static_cast<std::uint8_t>(code + 1))) /
                     2.0f);
    }
  }
  ties.resize(256, 448.0f);  // Scale one: the largest of each group is 448.
  std::swap(ties[0], ties[255]);
  std::vector<float> expected = ties;
  vector->RoundThroughE4m3(ties, 128);
  reference::RoundThroughE4m3(expected, 128);
  EXPECT_TRUE(SameBits(ties, expected));
}

TEST(VectorEntries, DecodeAsTheReferenceDoes) {
  const auto vector = MakeVectorArithmetic();
  for (const auto& profile : {numerics::kUnquantised, numerics::kQuantised}) {
    std::vector<std::byte> stored(4096);
    std::vector<float> x = RandomFloats(512, 16), actual(512), expected(512);
    reference::EncodeEntry(profile, x, 64, stored.data() + 1);
    vector->DecodeEntry(profile, stored.data() + 1, 64, actual);
    reference::DecodeEntry(profile, stored.data() + 1, 64, expected);
    EXPECT_TRUE(SameBits(actual, expected));
    x.resize(128);
    actual.resize(128);
    expected.resize(128);
    reference::EncodeKey(profile, x, stored.data() + 1);
    vector->DecodeKey(profile, stored.data() + 1, actual);
    reference::DecodeKey(profile, stored.data() + 1, expected);
    EXPECT_TRUE(SameBits(actual, expected));
  }
}

}  // namespace
}  // namespace sparkspan::kernels::cpu
