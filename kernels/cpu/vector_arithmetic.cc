#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/cpu/arithmetic.h"
#include "kernels/cpu/vector_kernels.h"
#include "kernels/numerics/formats.h"
#include "kernels/reference/quantise.h"

namespace sparkspan::kernels::cpu {
namespace {

constexpr int kEntryScaleGroup = 64;
constexpr int kKeyScaleGroup = 32;

// What a task costs, to deal equal work: bytes streamed, or arithmetic when many rows share them.
std::int64_t RowCost(const LinearTask& task) {
  return task.weight.row_bytes() + task.weight.columns * task.rows / 2;
}

class VectorArithmetic final : public Arithmetic {
 public:
  void Linears(std::span<const LinearTask> tasks, TaskTeam& team) const override {
    std::int64_t total = 0;
    for (const LinearTask& task : tasks) {
      total += task.rows > 0 ? RowCost(task) * task.weight.rows : 0;
    }
    team.Run(team.threads(), 1, [&](std::int64_t begin, std::int64_t end, int) {
      const std::int64_t first = total * begin / team.threads();
      const std::int64_t last = total * end / team.threads();
      std::int64_t at = 0;
      for (const LinearTask& task : tasks) {
        if (task.rows == 0 || task.weight.rows == 0) {
          continue;
        }
        // Boundaries fall on whole tiles, the same one seen from both sides.
        const std::int64_t unit = RowCost(task) * kWeightTileRows;
        const auto boundary = [&](std::int64_t cost) {
          const std::int64_t tiles = std::max<std::int64_t>(0, cost - at + unit - 1) / unit;
          return std::min(task.weight.rows, tiles * kWeightTileRows);
        };
        const std::int64_t row = boundary(first);
        const std::int64_t row_end = end == team.threads() ? task.weight.rows : boundary(last);
        if (row < row_end) {
          VectorLinear(task, row, row_end);
        }
        at += RowCost(task) * task.weight.rows;
      }
    });
  }

  double SumOfSquares(std::span<const float> x) const override { return VectorSumOfSquares(x); }

  void RmsNorm(std::span<const float> x,
               std::span<const float> gain,
               float epsilon,
               bool round,
               std::span<float> y) const override {
    const double mean = VectorSumOfSquares(x) / static_cast<double>(x.size());
    VectorScale(x, static_cast<float>(1.0 / std::sqrt(mean + epsilon)), gain, round, y);
  }

  void HeadRmsNorm(std::span<float> x, float epsilon, bool round) const override {
    if (!round) {
      RmsNorm(x, {}, epsilon, false, x);
      return;
    }
    using numerics::RoundToBf16;
    const double squares = VectorSumOfRoundedSquares(x);
    const float mean = RoundToBf16(static_cast<float>(squares / static_cast<double>(x.size())));
    const float shifted = RoundToBf16(mean + epsilon);
    const float scale = RoundToBf16(static_cast<float>(1.0 / std::sqrt(double{shifted})));
    VectorScale(x, scale, {}, true, x);
  }

  void MixStreams(std::span<const float> h,
                  std::span<const float> pre,
                  bool round,
                  std::span<float> u) const override {
    VectorMixStreams(h, pre, round, u);
  }

  void ReturnToStreams(std::span<const float> y,
                       std::span<const float> post,
                       std::span<const float> comb,
                       bool round,
                       std::span<float> h) const override {
    VectorReturnToStreams(y, post, comb, round, h);
  }

  void SwiGlu(std::span<float> gate,
              std::span<const float> up,
              float limit,
              float weight,
              bool round) const override {
    VectorSwiGlu(gate, up, limit, weight, round);
  }

  void RoundThroughE4m3(std::span<float> x, int group) const override {
    VectorRoundThroughE4m3(x, group);
  }

  void DecodeEntry(const numerics::NumericsProfile& profile,
                   const std::byte* entry,
                   int rope_dim,
                   std::span<float> x) const override {
    if (profile.cache == numerics::CacheFormat::kF32) {
      std::memcpy(x.data(), entry, x.size_bytes());
      return;
    }
    const auto rope = static_cast<std::size_t>(rope_dim);
    const std::size_t plain = x.size() - rope;
    const auto* codes = reinterpret_cast<const std::uint8_t*>(entry);
    for (std::size_t i = 0; i < plain; i += kEntryScaleGroup) {
      VectorDecodeE4m3({codes + i, kEntryScaleGroup},
                       numerics::FloatOfUe8m0(codes[plain + i / kEntryScaleGroup]),
                       &x[i]);
    }
    const std::size_t padded = (plain + plain / kEntryScaleGroup + 7) / 8 * 8;
    for (std::size_t i = 0; i < rope; ++i) {
      std::uint16_t code;
      std::memcpy(&code, entry + padded + 2 * i, sizeof(code));
      x[plain + i] = numerics::FloatOfBf16(code);
    }
  }

  void DecodeKey(const numerics::NumericsProfile& profile,
                 const std::byte* key,
                 std::span<float> x) const override {
    if (profile.index == numerics::IndexFormat::kF32) {
      std::memcpy(x.data(), key, x.size_bytes());
      return;
    }
    const auto* bytes = reinterpret_cast<const std::uint8_t*>(key);
    for (std::size_t i = 0; i < x.size(); i += kKeyScaleGroup) {
      VectorDecodeE2m1({bytes + i / 2, kKeyScaleGroup / 2},
                       numerics::FloatOfUe8m0(bytes[x.size() / 2 + i / kKeyScaleGroup]),
                       &x[i]);
    }
  }

  void AttendHeads(std::span<const float> q,
                   std::span<const float> entries,
                   std::span<const std::int32_t> slots,
                   std::span<const float> sinks,
                   float scale,
                   bool round,
                   std::span<float> out) const override {
    VectorAttend(q, entries, slots, sinks, scale, round, out);
  }

  void IndexScores(std::span<const float> queries,
                   std::span<const float> weights,
                   std::span<const float> keys,
                   bool round,
                   std::span<float> scores) const override {
    VectorIndexScores(queries, weights, keys, round, scores);
  }

  void Add(std::span<const float> in, std::span<float> out) const override {
    for (std::size_t i = 0; i < out.size(); ++i) {
      out[i] += in[i];
    }
  }
};

}  // namespace

std::unique_ptr<Arithmetic> MakeVectorArithmetic() {
  return VectorTarget() == 0 ? nullptr : std::make_unique<VectorArithmetic>();
}

}  // namespace sparkspan::kernels::cpu
