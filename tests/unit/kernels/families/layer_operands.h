#pragma once

// What the kernels of a golden model's layer take: its sizes, prepared weights, activations, rope.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/compressor/compressor.h"
#include "kernels/linear/linear.h"
#include "tests/unit/kernels/simt/closeness.h"

namespace sparkspan::kernels {

// Sizes of both models; ratios, rope and index dimensions are the real model's.
constexpr int kHidden = 256;
constexpr int kQRank = 128;
constexpr int kGroups = 2;
constexpr int kORank = 128;
constexpr int kExperts = 16;
constexpr int kChoices = 6;
constexpr int kIntermediate = 128;
constexpr int kIndexHeads = 8;
constexpr int kTopK = 32;
constexpr int kWindow = 128;
constexpr int kLayers = 7;
constexpr float kEpsilon = 1e-6F;
constexpr float kRouteScale = 1.5F;
constexpr float kLimit = 10;

// A prepared weight.
struct Weight {
  WeightFormat format;
  int n;
  int k;
  std::vector<std::byte> data;
  std::vector<std::uint8_t> scale;
};

// The angles of a position, each step rounded to fp32 as the reference does it.
inline void AddRope(std::vector<float>& rope, bool compressed, int position) {
  const float theta = compressed ? 160000 : 10000;
  const auto correction = [&](double turns) {
    return kRopeDim * std::log(512 / (turns * 2 * M_PI)) / (2 * std::log(160000.0));
  };
  const double low = std::max(std::floor(correction(32)), 0.0);
  const double high = std::min(std::ceil(correction(1)), kRopeDim - 1.0);
  std::vector<float> sines;
  for (int i = 0; i < kRopePairs; ++i) {
    float frequency = 1 / std::pow(theta, static_cast<float>(2 * i) / kRopeDim);
    if (compressed) {
      const auto ramp = static_cast<float>(std::clamp((i - low) / (high - low), 0.0, 1.0));
      frequency = frequency * (1 - ramp) + frequency / 16 * ramp;
    }
    const float angle = static_cast<float>(position) * frequency;
    rope.push_back(std::cos(angle));
    sines.push_back(std::sin(angle));
  }
  rope.insert(rope.end(), sines.begin(), sines.end());
}

// Activations in bf16 and as the FP8 products take them.
struct Activation {
  std::vector<std::uint16_t> bf16;
  std::vector<std::uint8_t> codes;
  std::vector<std::uint8_t> scales;

  Activation(int rows, int width)
      : bf16(At(rows * width)), codes(At(rows * width)), scales(At(rows * width / 128)) {}
};

// What a compressor needs beside its projections, of the first rows of a sequence.
struct CompressorInputs {
  int ratio = 0;
  int width = 0;
  std::vector<float> ape;
  std::vector<std::uint16_t> gain;
  std::vector<std::int32_t> zeros;
  std::vector<float> ring;
  std::vector<std::int32_t> boundaries;
  std::vector<std::int32_t> slots;
  std::vector<float> rope;

  CompressArguments Arguments(const float* projected,
                              const std::int32_t* positions,
                              std::uint8_t* stored) {
    CompressArguments c{};
    c.rows = {projected,
              ape.data(),
              positions,
              zeros.data(),
              zeros.data(),
              ring.data(),
              0,
              2 * ratio,
              ratio,
              width};
    c.boundary_rows = boundaries.data();
    c.slots = slots.data();
    c.entries = static_cast<int>(boundaries.size());
    c.gain = gain.data();
    c.rope = rope.data();
    c.epsilon = kEpsilon;
    c.pages = {stored, 0, 1 << 20};
    c.index = {stored, 0, 1 << 20};
    return c;
  }
};

}  // namespace sparkspan::kernels
