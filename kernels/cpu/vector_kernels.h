#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/cpu/arithmetic.h"

// The dispatched entry points of the vectorised kernels; contracts in arithmetic.h.
namespace sparkspan::kernels::cpu {

// Rows of a weight that are computed together, and the unit in which they are dealt to threads.
inline constexpr std::int64_t kWeightTileRows = 4;

// The bit of the instruction set that is dispatched to, or 0.
std::int64_t VectorTarget();

// The bits of all that this processor could be dispatched to, best first; and a dispatch to one of
// them from now on, 0 for the best again. For tests, before threads start.
std::vector<std::int64_t> VectorTargets();
void ForceVectorTarget(std::int64_t target);

// Rows [first, end) of one product.
void VectorLinear(const LinearTask& task, std::int64_t first, std::int64_t end);

double VectorSumOfSquares(std::span<const float> x);
// y = x * scale * gain.
void VectorScale(std::span<const float> x,
                 float scale,
                 std::span<const float> gain,
                 bool round,
                 std::span<float> y);
// The mean square of x where the reference's chain of bf16 operations rounds each square.
double VectorSumOfRoundedSquares(std::span<const float> x);
void VectorMixStreams(std::span<const float> h,
                      std::span<const float> pre,
                      bool round,
                      std::span<float> u);
void VectorReturnToStreams(std::span<const float> y,
                           std::span<const float> post,
                           std::span<const float> comb,
                           bool round,
                           std::span<float> h);
void VectorSwiGlu(
    std::span<float> gate, std::span<const float> up, float limit, float weight, bool round);
void VectorRoundThroughE4m3(std::span<float> x, int group);

// out[i] = decoded codes[i] * scale; codes.size() is a multiple of 16, of out's for e2m1 of 32.
void VectorDecodeE4m3(std::span<const std::uint8_t> codes, float scale, float* out);
void VectorDecodeE2m1(std::span<const std::uint8_t> bytes, float scale, float* out);

void VectorAttend(std::span<const float> q,
                  std::span<const float> entries,
                  std::span<const std::int32_t> slots,
                  std::span<const float> sinks,
                  float scale,
                  bool round,
                  std::span<float> out);
void VectorIndexScores(std::span<const float> queries,
                       std::span<const float> weights,
                       std::span<const float> keys,
                       bool round,
                       std::span<float> scores);

}  // namespace sparkspan::kernels::cpu
