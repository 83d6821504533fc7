#include "kernels/numerics/formats.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "tests/golden_path.h"
#include "tests/golden_tensors.h"

namespace sparkspan::kernels::numerics {
namespace {

// The values by definition, through ldexp rather than bit fields.
double E4m3ByDefinition(int code) {
  const int exponent = code >> 3 & 15;
  const int mantissa = code & 7;
  const double magnitude =
      exponent == 0 ? std::ldexp(mantissa, -9) : std::ldexp(8 + mantissa, exponent - 10);
  return code >= 128 ? -magnitude : magnitude;
}

constexpr float kE2m1Values[] = {0.0f, 0.5f, 1.0f, 1.5f, 2.0f, 3.0f, 4.0f, 6.0f};

TEST(E4m3, EveryCodeDecodesAndReturns) {
  for (int code = 0; code < 256; ++code) {
    const float value = FloatOfE4m3(static_cast<std::uint8_t>(code));
    if ((code & 0x7F) == 0x7F) {
      EXPECT_TRUE(std::isnan(value)) << code;
      continue;
    }
    EXPECT_EQ(value, E4m3ByDefinition(code)) << code;
    EXPECT_EQ(std::signbit(value), code >= 128) << code;
    EXPECT_EQ(E4m3OfFloat(value), code);
  }
}

TEST(E4m3, MidpointsGoToTheEvenCodeAndNeighboursToTheNearest) {
  for (int code = 0; code < 0x7E; ++code) {
    const auto low = static_cast<float>(E4m3ByDefinition(code));
    const auto high = static_cast<float>(E4m3ByDefinition(code + 1));
    const float middle = (low + high) / 2.0f;  // exact in fp32
    for (const int sign : {0, 0x80}) {
      const float factor = sign != 0 ? -1.0f : 1.0f;
      EXPECT_EQ(E4m3OfFloat(factor * middle), sign | (code + (code & 1)));
      EXPECT_EQ(E4m3OfFloat(factor * std::nextafter(middle, 0.0f)), sign | code);
      EXPECT_EQ(E4m3OfFloat(factor * std::nextafter(middle, 1e9f)), sign | (code + 1));
    }
  }
}

TEST(E4m3, SaturatesAndKeepsNan) {
  for (const float large : {449.0f, 464.0f, 1e30f, std::numeric_limits<float>::infinity()}) {
    EXPECT_EQ(E4m3OfFloat(large), 0x7E);
    EXPECT_EQ(E4m3OfFloat(-large), 0xFE);
  }
  EXPECT_EQ(E4m3OfFloat(std::nanf("")), 0x7F);
}

TEST(E2m1, EveryCodeDecodesAndReturns) {
  for (std::uint32_t code = 0; code < 16; ++code) {
    const float expected = code >= 8 ? -kE2m1Values[code - 8] : kE2m1Values[code];
    EXPECT_EQ(FloatOfE2m1(code), expected) << code;
    EXPECT_EQ(E2m1OfFloat(FloatOfE2m1(code)), code);
  }
}

TEST(E2m1, MidpointsGoToTheEvenCodeAndNeighboursToTheNearest) {
  for (std::uint32_t code = 0; code < 7; ++code) {
    const float middle = (kE2m1Values[code] + kE2m1Values[code + 1]) / 2.0f;
    for (const std::uint32_t sign : {0u, 8u}) {
      const float factor = sign != 0 ? -1.0f : 1.0f;
      EXPECT_EQ(E2m1OfFloat(factor * middle), sign | (code + (code & 1)));
      EXPECT_EQ(E2m1OfFloat(factor * std::nextafter(middle, 0.0f)), sign | code);
      EXPECT_EQ(E2m1OfFloat(factor * std::nextafter(middle, 1e9f)), sign | (code + 1));
    }
  }
  EXPECT_EQ(E2m1OfFloat(1e30f), 7u);
  EXPECT_EQ(E2m1OfFloat(-std::numeric_limits<float>::infinity()), 15u);
}

TEST(Bf16, EveryCodeReturnsAndMidpointsGoToEven) {
  for (std::uint32_t code = 0; code < 65536; ++code) {
    const float value = FloatOfBf16(static_cast<std::uint16_t>(code));
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(RoundToBf16(value))) << code;
      continue;
    }
    ASSERT_EQ(Bf16OfFloat(value), code);
    if (std::isinf(value) || (code & 0x7FFFu) >= 0x7F7Fu) {
      continue;
    }
    const float middle = FloatOfBits(code << 16 | 0x8000u);
    ASSERT_EQ(Bf16OfFloat(middle), code + (code & 1u)) << code;
    ASSERT_EQ(Bf16OfFloat(FloatOfBits(code << 16 | 0x7FFFu)), code) << code;
    ASSERT_EQ(Bf16OfFloat(FloatOfBits(code << 16 | 0x8001u)), code + 1) << code;
  }
}

TEST(Bf16, NanWithLowPayloadStaysNan) {
  EXPECT_TRUE(std::isnan(RoundToBf16(FloatOfBits(0x7F800001u))));
}

TEST(Ue8m0, EveryCodeIsItsPowerOfTwo) {
  for (std::uint32_t code = 0; code < 255; ++code) {
    EXPECT_EQ(FloatOfUe8m0(code),
              static_cast<float>(std::ldexp(1.0, static_cast<int>(code) - 127)));
  }
  EXPECT_TRUE(std::isnan(FloatOfUe8m0(255)));
  for (std::uint32_t code = 1; code < 254; ++code) {
    EXPECT_EQ(Ue8m0InverseOf(code) * FloatOfUe8m0(code), 1.0f);
  }
}

TEST(Formats, AgreeWithTheReference) {
  const auto folder = tests::GoldenPath("ops");
  if (!folder) {
    GTEST_SKIP() << "no golden data 'ops'";
  }
  const tests::GoldenTensors golden(*folder / "ops.safetensors");
  const auto rounds = [&](const std::string& name, auto encode) {
    const auto x = golden.Floats("formats/" + name + ".x");
    const auto codes = golden["formats/" + name + ".code"].As<std::uint8_t>();
    for (std::size_t i = 0; i < x.size(); ++i) {
      EXPECT_EQ(encode(x[i]), codes[i]) << name << " of " << x[i];
    }
  };
  rounds("e4m3_round", [](float x) { return E4m3OfFloat(x); });
  rounds("e2m1_round", [](float x) { return E2m1OfFloat(x); });
  const auto bf16_x = golden.Floats("formats/bf16_round.x");
  const auto bf16_y = golden["formats/bf16_round.y"].As<std::uint16_t>();
  for (std::size_t i = 0; i < bf16_x.size(); ++i) {
    EXPECT_EQ(Bf16OfFloat(bf16_x[i]), bf16_y[i]) << bf16_x[i];
  }
  const auto scales = [&](const std::string& name, float floor, float largest) {
    const auto amax = golden.Floats("formats/" + name + ".amax");
    const auto codes = golden["formats/" + name + ".e8m0"].As<std::uint8_t>();
    for (std::size_t i = 0; i < amax.size(); ++i) {
      EXPECT_EQ(Ue8m0ScaleOf(std::max(amax[i], floor), largest), codes[i]) << name << amax[i];
    }
  };
  scales("scale_fp8", kE4m3AmaxMin, kE4m3Max);
  scales("scale_fp4", kE2m1AmaxMin, kE2m1Max);
}

}  // namespace
}  // namespace sparkspan::kernels::numerics
