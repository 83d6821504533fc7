#include "engine/weights/random_weights.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <vector>

#include "engine/base/hash.h"
#include "kernels/numerics/formats.h"
#include "kernels/stored_weight.h"

namespace sparkspan::engine::weights {
namespace {

// Root mean squares of uniformly drawn codes: e4m3 with the upper exponent bit clear (up to 1.875,
// never a NaN), and all of e2m1.
constexpr double kE4m3Rms = 0.59;
constexpr double kE2m1Rms = 2.93;
constexpr std::uint64_t kE4m3Mask = 0xBFBFBFBFBFBFBFBFu;

// A word of the stream `key` (Steele, Lea, Flood: "Fast splittable pseudorandom number generators",
// OOPSLA 2014).
std::uint64_t Word(std::uint64_t key, std::uint64_t index) {
  std::uint64_t z = key + (index + 1) * 0x9E3779B97F4A7C15u;
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
  z = (z ^ z >> 27) * 0x94D049BB133111EBu;
  return z ^ z >> 31;
}

// Uniform around `mean`, at most `spread` away.
struct Uniform {
  float mean;
  float spread;
};

Uniform DistributionOf(const TensorSpec& spec) {
  const std::string& name = spec.name;
  if (name.ends_with("_scale")) {
    return {0.75f, 0.25f};
  }
  if (name.ends_with("_base") || name.ends_with("attn_sink")) {
    return {0.0f, 0.5f};
  }
  if (name.ends_with("bias") || name.ends_with("ape")) {
    return {0.0f, 0.1f};
  }
  if (spec.shape.size() == 1) {
    return {1.0f, 0.1f};  // norms
  }
  return {0.0f, std::sqrt(3.0f / static_cast<float>(spec.columns))};
}

void FillWords(std::uint64_t key,
               std::uint64_t mask,
               std::uint64_t offset,
               std::span<std::byte> out) {
  std::uint64_t index = offset / 8;
  for (std::size_t i = 0; i < out.size(); i += 8) {
    const std::uint64_t word = Word(key, index++) & mask;
    std::memcpy(&out[i], &word, std::min<std::size_t>(8, out.size() - i));
  }
}

// Scales near the power of two that gives their weight the variance 1 / columns, so that blocks
// differ.
void FillScales(std::uint64_t key,
                const TensorSpec& spec,
                std::uint64_t offset,
                std::span<std::byte> out) {
  const bool nibbles = spec.element_columns == kernels::kNibbleScaleGroup;
  const double rms = nibbles ? kE2m1Rms : kE4m3Rms;
  const double exponent =
      std::round(-std::log2(rms * std::sqrt(static_cast<double>(spec.columns))));
  constexpr int kSteps[] = {-1, 0, 1, 0};
  for (std::size_t i = 0; i < out.size(); ++i) {
    const std::uint64_t at = offset + i;
    const std::uint64_t draw = Word(key, at / 32) >> (2 * (at % 32)) & 3u;
    out[i] = static_cast<std::byte>(127 + static_cast<int>(exponent) + kSteps[draw]);
  }
}

void FillF32(std::uint64_t key, Uniform law, std::uint64_t offset, std::span<std::byte> out) {
  for (std::size_t i = 0; i + 4 <= out.size(); i += 4) {
    const std::uint64_t at = (offset + i) / 4;
    const auto draw = static_cast<std::int32_t>(Word(key, at / 2) >> (32 * (at % 2)));
    const float value = law.mean + law.spread * static_cast<float>(draw) * 0x1p-31f;
    std::memcpy(&out[i], &value, 4);
  }
}

void FillBf16(std::uint64_t key, Uniform law, std::uint64_t offset, std::span<std::byte> out) {
  for (std::size_t i = 0; i < out.size(); i += 8) {
    std::uint64_t word = Word(key, (offset + i) / 8);
    std::array<std::uint16_t, 4> codes{};
    for (std::uint16_t& code : codes) {
      const auto draw = static_cast<std::int16_t>(word);
      code = kernels::numerics::Bf16OfFloat(law.mean +
                                            law.spread * static_cast<float>(draw) * 0x1p-15f);
      word >>= 16;
    }
    std::memcpy(&out[i], codes.data(), std::min<std::size_t>(8, out.size() - i));
  }
}

}  // namespace

void RandomWeights::Fill(const TensorSpec& spec,
                         std::uint64_t offset,
                         std::span<std::byte> out) const {
  const std::uint64_t key = Hash64(spec.name, seed_);
  switch (spec.dtype) {
    case Dtype::kI64:
      return FillTable(spec, offset, out);
    case Dtype::kF32:
      return FillF32(key, DistributionOf(spec), offset, out);
    case Dtype::kBf16:
      return FillBf16(key, DistributionOf(spec), offset, out);
    case Dtype::kE8m0:
      return FillScales(key, spec, offset, out);
    case Dtype::kE4m3:
      return FillWords(key, kE4m3Mask, offset, out);
    case Dtype::kI8:
      return FillWords(key, ~std::uint64_t{0}, offset, out);
  }
}

// Each row names different experts.
void RandomWeights::FillTable(const TensorSpec& spec,
                              std::uint64_t offset,
                              std::span<std::byte> out) const {
  const std::uint64_t key = Hash64(spec.name, seed_);
  const auto width = static_cast<std::uint64_t>(spec.stored_columns());
  std::vector<std::int64_t> row;
  std::uint64_t row_number = ~std::uint64_t{0};
  for (std::size_t i = 0; i + 8 <= out.size(); i += 8) {
    const std::uint64_t at = (offset + i) / 8;
    if (at / width != row_number) {
      row_number = at / width;
      row.clear();
      const std::uint64_t row_key = Word(key, row_number);
      for (std::uint64_t draw = 0; row.size() < width; ++draw) {
        const auto id =
            static_cast<std::int64_t>(Word(row_key, draw) % static_cast<std::uint64_t>(experts_));
        if (std::find(row.begin(), row.end(), id) == row.end()) {
          row.push_back(id);
        }
      }
    }
    std::memcpy(&out[i], &row[static_cast<std::size_t>(at % width)], 8);
  }
}

}  // namespace sparkspan::engine::weights
