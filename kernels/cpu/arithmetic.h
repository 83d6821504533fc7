#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "kernels/numerics/profile.h"
#include "kernels/stored_weight.h"
#include "kernels/task_team.h"

namespace sparkspan::kernels::cpu {

// y[r, n] = sum_k W[n, k] x[row(r), k]; row(r) is x_index[r], or r without an index.
struct LinearTask {
  StoredWeight weight;
  const float* x = nullptr;
  std::int64_t x_stride = 0;
  const std::int32_t* x_index = nullptr;
  int rows = 0;
  float* y = nullptr;
  std::int64_t y_stride = 0;
};

// What a phase on the host is composed of, where the order of additions or the speed matters. One
// implementation sums in double and is written plainly; the other is vectorised. In both, the
// result for a row does not depend on the other rows, nor on the team.
class Arithmetic {
 public:
  virtual ~Arithmetic() = default;

  // Independent products, shared among the team; every weight is read once for all its rows.
  virtual void Linears(std::span<const LinearTask> tasks, TaskTeam& team) const = 0;

  virtual double SumOfSquares(std::span<const float> x) const = 0;

  // The contracts of the following are those of the functions of that name in kernels/reference.
  virtual void RmsNorm(std::span<const float> x,
                       std::span<const float> gain,
                       float epsilon,
                       bool round,
                       std::span<float> y) const = 0;
  virtual void HeadRmsNorm(std::span<float> x, float epsilon, bool round) const = 0;
  virtual void MixStreams(std::span<const float> h,
                          std::span<const float> pre,
                          bool round,
                          std::span<float> u) const = 0;
  virtual void ReturnToStreams(std::span<const float> y,
                               std::span<const float> post,
                               std::span<const float> comb,
                               bool round,
                               std::span<float> h) const = 0;
  virtual void SwiGlu(std::span<float> gate,
                      std::span<const float> up,
                      float limit,
                      float weight,
                      bool round) const = 0;
  virtual void RoundThroughE4m3(std::span<float> x, int group) const = 0;
  virtual void DecodeEntry(const numerics::NumericsProfile& profile,
                           const std::byte* entry,
                           int rope_dim,
                           std::span<float> x) const = 0;
  virtual void DecodeKey(const numerics::NumericsProfile& profile,
                         const std::byte* key,
                         std::span<float> x) const = 0;

  // Attention of several heads over the same entries: q, out [heads, dim]; sinks [heads].
  virtual void AttendHeads(std::span<const float> q,
                           std::span<const float> entries,
                           std::span<const std::int32_t> slots,
                           std::span<const float> sinks,
                           float scale,
                           bool round,
                           std::span<float> out) const = 0;

  // Scores of several keys for one row: queries [heads, dim]; keys [scores.size(), dim].
  virtual void IndexScores(std::span<const float> queries,
                           std::span<const float> weights,
                           std::span<const float> keys,
                           bool round,
                           std::span<float> scores) const = 0;

  // out[i] += in[i].
  virtual void Add(std::span<const float> in, std::span<float> out) const = 0;
};

std::unique_ptr<Arithmetic> MakeReferenceArithmetic();

// Highway, compiled for several instruction sets and dispatched to the best. Sums run in 16
// interleaved partial sums (element i joins sum i mod 16, in ascending order, by fused
// multiply-add) that are then added in one fixed tree, whatever the width of a vector.
// Null on a processor with none of them (x86-64 needs AVX2 and FMA).
std::unique_ptr<Arithmetic> MakeVectorArithmetic();

// The instruction set that MakeVectorArithmetic dispatches to here, for example "AVX2", or "none".
const char* VectorTargetName();

}  // namespace sparkspan::kernels::cpu
